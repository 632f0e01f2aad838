/* The generic path: operands by position, attributes by name, both edited as the node's row in ops.def says, then
 * one IR node. Rules whose nodes differ in a detail begin a draft, change it and finish it.
 * Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One word of a row's edits; the grammar is in ops.def. */
typedef struct edit {
    char kind; /* '-' drop, '>' to an operand, '=' default, '?' rename a value */
    sinter_string name, value, replacement;
} edit;

static bool next_edit(const char **cursor, edit *out) {
    const char *at = *cursor;
    while (*at == ' ') at++;
    if (!*at) return false;
    size_t size = strcspn(at, " ");
    *cursor = at + size;
    *out = (edit){.kind = '-'};
    if (*at == '-') {
        out->name = (sinter_string){at + 1, size - 1};
        return true;
    }
    size_t name = strcspn(at, "=>?");
    out->kind = at[name];
    out->name = (sinter_string){at, name};
    out->value = (sinter_string){at + name + 1, size - name - 1};
    if (out->kind == '?') {
        size_t old = strcspn(out->value.data, "=");
        out->replacement = (sinter_string){out->value.data + old + 1, out->value.size - old - 1};
        out->value.size = old;
    }
    return true;
}

static bool find_edit(const sinter_onnx_node *node, sinter_string name, char kind, edit *out) {
    const char *cursor = node->row->edits;
    while (next_edit(&cursor, out))
        if (out->kind == kind && sinter_string_equal(out->name, name)) return true;
    return false;
}

/* ---- changes ---- */

void sinter_onnx_draft_set_operand(sinter_onnx_node *node, sinter_onnx_draft *draft, uint32_t index,
                                   sinter_value value) {
    while (draft->operands.count <= index)
        sinter_vector_push(&node->importer->scratch, &draft->operands, 0);
    draft->operands.items[index] = value;
}

void sinter_onnx_draft_set_attr(sinter_onnx_node *node, sinter_onnx_draft *draft,
                                sinter_attr attr) {
    for (size_t i = 0; i < draft->attributes.count; i++)
        if (sinter_string_equal(draft->attributes.items[i].name, attr.name)) {
            draft->attributes.items[i] = attr;
            return;
        }
    sinter_vector_push(&node->importer->scratch, &draft->attributes, attr);
}

/* ---- from the node ---- */

/* An attribute that became an operand: a list is a vector, a number a scalar (or, marked with v, a vector of one);
 * floats take the element type of operand 0. */
static sinter_value constant_of(sinter_onnx_node *node, const Onnx__AttributeProto *a,
                                bool as_vector) {
    sinter_builder *build = &node->build;
    switch (sinter_onnx_attr_type_of(a)) {
    case SINTER_ONNX_INTS:
        return sinter_build_ints(build, a->ints, a->n_ints);
    case SINTER_ONNX_INT:
        return as_vector ? sinter_build_ints(build, &a->i, 1) : sinter_build_int(build, a->i);
    case SINTER_ONNX_FLOAT: {
        sinter_value first = sinter_onnx_operand(node, 0);
        sinter_dtype dtype = first ? sinter_onnx_type_of(node, first)->dtype : SINTER_DTYPE_f32;
        return sinter_build_scalar(build, dtype, (double)a->f);
    }
    default:
        sinter_onnx_fail(node, "attribute '%s' has an unexpected type", a->name);
        return 0;
    }
}

static bool move_attr(sinter_onnx_node *node, sinter_onnx_draft *draft,
                      const Onnx__AttributeProto *a, const edit *move) {
    bool as_vector = move->value.data[move->value.size - 1] == 'v';
    sinter_value value = constant_of(node, a, as_vector);
    sinter_onnx_draft_set_operand(node, draft, (uint32_t)atoi(move->value.data), value);
    return value != 0;
}

static void replace_value(sinter_onnx_node *node, sinter_attr *attr) {
    const char *cursor = node->row->edits;
    edit e;
    while (next_edit(&cursor, &e))
        if (e.kind == '?' && attr->kind == SINTER_ATTR_STRING &&
            sinter_string_equal(e.name, attr->name) &&
            sinter_string_equal(e.value, attr->string_value)) {
            attr->string_value = e.replacement;
            return;
        }
}

static bool add_attr(sinter_onnx_node *node, sinter_onnx_draft *draft,
                     const Onnx__AttributeProto *own) {
    const char *name = own->name ? own->name : "";
    const Onnx__AttributeProto *a = sinter_onnx_resolve(node->scope->call, own);
    const sinter_op_info *info = sinter_op_get_info(draft->op);
    edit e;
    if (!a || find_edit(node, sinter_string_of(name), '-', &e)) return true;
    if (find_edit(node, sinter_string_of(name), '>', &e)) return move_attr(node, draft, a, &e);
    if (info->pattern == SINTER_PATTERN_CONTROL && sinter_onnx_attr_type_of(a) == SINTER_ONNX_GRAPH)
        return true;
    int index = sinter_op_find_attribute(draft->op, sinter_string_of(name));
    if (index < 0) return sinter_onnx_fail(node, "unknown attribute '%s'", name);
    sinter_attr attr;
    bool given;
    if (!sinter_onnx_convert_attr(node, a, &info->attributes[index], &attr, &given)) return false;
    replace_value(node, &attr);
    if (given) sinter_vector_push(&node->importer->scratch, &draft->attributes, attr);
    return true;
}

/* A default that differs from the schema's, in the row's words. */
static bool add_default(sinter_onnx_node *node, sinter_onnx_draft *draft, const edit *e) {
    const char *name =
        sinter_arena_copy_string(&node->importer->scratch, e->name.data, e->name.size);
    const char *text =
        sinter_arena_copy_string(&node->importer->scratch, e->value.data, e->value.size);
    if (sinter_onnx_has(node, name)) return true;
    edit move;
    if (find_edit(node, e->name, '>', &move)) {
        Onnx__AttributeProto a = ONNX__ATTRIBUTE_PROTO__INIT;
        a.has_i = 1;
        a.i = atoll(text);
        return move_attr(node, draft, &a, &move);
    }
    int index = sinter_op_find_attribute(draft->op, e->name);
    const sinter_attr_info *schema = &sinter_op_get_info(draft->op)->attributes[index];
    sinter_attr attr = {.name = schema->name, .kind = schema->kind};
    if (schema->kind == SINTER_ATTR_INT)
        attr.int_value = atoll(text);
    else if (schema->kind == SINTER_ATTR_FLOAT)
        attr.float_value = strtod(text, NULL);
    else
        attr.string_value = sinter_string_of(text);
    sinter_onnx_draft_set_attr(node, draft, attr);
    return true;
}

bool sinter_onnx_draft_begin(sinter_onnx_node *node, sinter_onnx_draft *draft) {
    *draft = (sinter_onnx_draft){.op = node->row->op};
    for (uint32_t i = 0; i < node->operand_count; i++)
        sinter_onnx_draft_set_operand(node, draft, i, node->operands[i]);
    bool ok = true;
    for (size_t i = 0; i < node->proto->n_attribute; i++)
        ok &= add_attr(node, draft, node->proto->attribute[i]);
    const char *cursor = node->row->edits;
    edit e;
    while (ok && next_edit(&cursor, &e))
        if (e.kind == '=') ok = add_default(node, draft, &e);
    return ok;
}

/* ---- to the IR ---- */

static uint32_t count_results(const sinter_onnx_node *node) {
    size_t count = node->proto->n_output;
    while (count > 1 && !*node->proto->output[count - 1]) count--;
    return (uint32_t)count;
}

bool sinter_onnx_draft_finish(sinter_onnx_node *node, sinter_onnx_draft *draft) {
    sinter_module *module = node->importer->module;
    const sinter_op_info *info = sinter_op_get_info(draft->op);
    while (draft->operands.count && !draft->operands.items[draft->operands.count - 1])
        draft->operands.count--;
    sinter_node_spec spec = {.op = draft->op,
                             .operands = draft->operands.items,
                             .operand_count = (uint32_t)draft->operands.count,
                             .attributes = draft->attributes.items,
                             .attribute_count = (uint32_t)draft->attributes.count,
                             .regions = draft->regions.items,
                             .region_count = (uint32_t)draft->regions.count,
                             .result_count = count_results(node)};
    sinter_node built = sinter_build_node(&node->build, &spec);
    if (!built) return false;
    for (uint32_t i = 0; i < spec.result_count; i++) {
        bool optional = i < info->result_count && info->results[i].arity == SINTER_ARITY_OPTIONAL;
        if (optional && !sinter_onnx_wants(node, i))
            sinter_node_drop_result(module, built, i);
        else
            node->results[i] = sinter_node_result(module, built, i);
    }
    return true;
}

bool sinter_onnx_rule_generic(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    return sinter_onnx_draft_begin(node, &draft) && sinter_onnx_draft_finish(node, &draft);
}
