/* Matching of pattern texts: the text is read once along the graph, and read again for the other order of operands.
 * A pattern that does not parse is our own bug (asserted). Test: tests/passes/recognize/ */
#include "passes/match.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_space(const char *text) {
    while (*text == ' ') text++;
    return text;
}

static size_t word_size(const char *text) {
    size_t size = 0;
    while (isalnum((unsigned char)text[size]) || text[size] == '_') size++;
    return size;
}

/* Past the pattern that begins here. */
static const char *skip_pattern(const char *text) {
    int depth = 0;
    for (; *text; text++) {
        if (*text == '(') depth++;
        if (*text == ')' && depth-- == 0) return text;
        if (*text == ',' && depth == 0) return text;
    }
    return text;
}

static bool is_name(const char *name, const char *text, size_t size) {
    return word_size(name) == size && memcmp(name, text, size) == 0;
}

/* Binds the name, or checks that it is bound to this value. */
static bool bind(sinter_match *m, const char *text, size_t size, sinter_value value) {
    for (uint32_t i = 0; i < m->name_count; i++)
        if (is_name(m->names[i], text, size)) return m->values[i] == value;
    assert(m->name_count < SINTER_MATCH_NAMES);
    m->names[m->name_count] = text;
    m->values[m->name_count++] = value;
    return true;
}

static const sinter_tensor *one_element(const sinter_module *module, sinter_value value) {
    const sinter_tensor *tensor = sinter_value_constant(module, value);
    return tensor && tensor->kind == SINTER_TYPE_TENSOR && sinter_dtype_is_float(tensor->dtype) &&
                   sinter_tensor_count(tensor) == 1
               ? tensor
               : NULL;
}

static bool is_number(const sinter_module *module, sinter_value value, double expected) {
    const sinter_tensor *tensor = one_element(module, value);
    if (!tensor) return false;
    double precision = sinter_dtype_infos[tensor->dtype].bits < 32 ? 1e-3 : 1e-5;
    return fabs(sinter_tensor_get_double(tensor, 0) - expected) <= precision * fabs(expected);
}

/* Dims kept, axes known, and those of the other reductions. */
static bool match_axes(sinter_match *m, sinter_node node) {
    int64_t axes[SINTER_MAX_RANK];
    size_t count = 0;
    bool reduced[SINTER_MAX_RANK] = {false};
    sinter_value operand = sinter_node_operand(m->module, node, 1);
    uint32_t rank = sinter_value_type(m->module, sinter_node_operand(m->module, node, 0))->rank;
    if (!sinter_node_get_int(m->module, node, "keepdims", 1) || !operand ||
        !sinter_value_known_ints(m->module, operand, axes, SINTER_MAX_RANK, &count) || !count)
        return false;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + (int64_t)rank : axes[i];
        if (axis < 0 || axis >= rank) return false;
        reduced[axis] = true;
    }
    if (m->has_axes) return memcmp(m->axes, reduced, sizeof reduced) == 0;
    m->has_axes = true;
    memcpy(m->axes, reduced, sizeof reduced);
    return true;
}

static bool match_value(sinter_match *m, sinter_value value, const char *pattern);

/* `pattern` stands after the opening parenthesis. */
static bool match_operands(sinter_match *m, sinter_node node, const char *pattern) {
    const sinter_node_info info = *sinter_node_get(m->module, node);
    const char *items[4] = {skip_space(pattern)};
    uint32_t count = 1;
    for (const char *at = skip_pattern(items[0]); *at == ','; at = skip_pattern(items[count - 1])) {
        assert(count < 4);
        items[count++] = skip_space(at + 1);
    }
    if (sinter_op_get_info(info.op)->pattern == SINTER_PATTERN_REDUCE) {
        if (!match_axes(m, node)) return false;
    } else if (info.operand_count != count) {
        return false;
    }
    bool swappable = count == 2 && sinter_op_has_trait(info.op, SINTER_TRAIT_COMMUTATIVE);
    for (uint32_t swap = 0; swap <= swappable; swap++) {
        sinter_match attempt = *m;
        bool good = true;
        for (uint32_t i = 0; good && i < count; i++)
            good = match_value(&attempt, info.operands[swap ? 1 - i : i], items[i]);
        if (!good) continue;
        *m = attempt;
        return true;
    }
    return false;
}

static bool match_value(sinter_match *m, sinter_value value, const char *pattern) {
    if (!value) return false;
    pattern = skip_space(pattern);
    if (*pattern == '?') {
        size_t size = word_size(pattern + 1);
        return one_element(m->module, value) && bind(m, pattern + 1, size, value);
    }
    if (isdigit((unsigned char)*pattern) || *pattern == '-')
        return is_number(m->module, value, strtod(pattern, NULL));
    size_t size = word_size(pattern);
    const char *after = pattern + size;
    assert(size > 0);
    if (*after == ':') return bind(m, pattern, size, value) && match_value(m, value, after + 1);
    if (*after != '(') return bind(m, pattern, size, value);
    sinter_op op = sinter_op_find((sinter_string){pattern, size});
    assert(op != SINTER_OP_NONE);
    sinter_node node = sinter_value_get(m->module, value)->definition;
    if (!node || sinter_node_get(m->module, node)->op != op) return false;
    assert(m->node_count < SINTER_MATCH_NODES);
    m->nodes[m->node_count++] = node;
    return match_operands(m, node, after + 1);
}

static bool is_inside(const sinter_match *m, sinter_node node) {
    for (uint32_t i = 0; i < m->node_count; i++)
        if (m->nodes[i] == node) return true;
    return false;
}

bool sinter_match_node(const sinter_module *module, sinter_node root, const char *pattern,
                       sinter_match *out_match) {
    *out_match = (sinter_match){.module = module, .root = root};
    sinter_value result = sinter_node_result(module, root, 0);
    if (!result || !match_value(out_match, result, pattern)) return false;
    for (uint32_t i = 0; i < out_match->node_count; i++) {
        if (out_match->nodes[i] == root) continue;
        const sinter_value_info *value =
            sinter_value_get(module, sinter_node_result(module, out_match->nodes[i], 0));
        for (size_t u = 0; u < value->uses.count; u++)
            if (!is_inside(out_match, value->uses.items[u].node)) return false;
    }
    return true;
}

sinter_value sinter_match_value(const sinter_match *match, const char *name) {
    for (uint32_t i = 0; i < match->name_count; i++)
        if (is_name(match->names[i], name, strlen(name))) return match->values[i];
    return 0;
}

double sinter_match_number(const sinter_match *match, const char *name) {
    return sinter_tensor_get_double(
        sinter_value_constant(match->module, sinter_match_value(match, name)), 0);
}
