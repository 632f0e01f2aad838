/* Sequences and optionals whose length is known at compile time are only a way to write a list of values: this pass keeps
 * the lists and lets those that read them (sequence_at, sequence_length, concat_from_sequence, ...) read the values. A
 * position that is data is fine where all elements have one type: the element is chosen in the run. Left alone: sequences
 * that enter or leave the model, that a branch or a loop yields, and lengths that only the run knows.
 * Needs inferred types; what becomes unused is erased. Test: tests/passes/fold_sequences/ */
#include "passes/pass.h"

enum { LENGTH_LIMIT = 1024 };

/* What is known of a value of sequence or optional type. */
typedef struct sequence {
    sinter_value *items;
    size_t count;
    bool is_optional;
} sequence;

typedef struct folder {
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_arena *scratch;
    sinter_map known; /* value -> address of its sequence */
} folder;

static const sequence *find_sequence(const folder *f, sinter_value value) {
    uint64_t found = 0;
    if (!value || !sinter_map_find(&f->known, value, &found)) return NULL;
    return (const sequence *)(uintptr_t)found;
}

/* A list of room for `count` items that `value` stands for. */
static sequence *add_sequence(folder *f, sinter_value value, size_t count) {
    sequence *s = SINTER_NEW(f->scratch, sequence);
    s->items = SINTER_NEW_ARRAY(f->scratch, sinter_value, count + 1);
    s->count = count;
    sinter_map_put(&f->known, value, (uint64_t)(uintptr_t)s);
    return s;
}

static sinter_value operand(const folder *f, sinter_node node, uint32_t i) {
    return sinter_node_operand(f->module, node, i);
}
static sinter_value result(const folder *f, sinter_node node) {
    return sinter_node_result(f->module, node, 0);
}
static const sinter_type *type_of(const folder *f, sinter_value value) {
    return sinter_value_type(f->module, value);
}

/* ---- positions ---- */

/* A position that is known: true and the index, which may be outside of [0, count). */
static bool known_position(const folder *f, sinter_value position, size_t count, int64_t otherwise,
                           int64_t *out_index) {
    size_t given = 0;
    *out_index = otherwise;
    if (position &&
        (!sinter_value_known_ints(f->module, position, out_index, 1, &given) || given != 1))
        return false;
    if (*out_index < 0) *out_index += (int64_t)count;
    return true;
}

static bool one_type(const folder *f, const sinter_value *items, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        const sinter_type *a = type_of(f, items[0]), *b = type_of(f, items[i]);
        if (a->kind != SINTER_TYPE_TENSOR || b->kind != SINTER_TYPE_TENSOR ||
            a->dtype != b->dtype || a->rank != b->rank)
            return false;
        for (uint32_t d = 0; d < a->rank; ++d)
            if (a->dims[d] != b->dims[d]) return false;
    }
    return count > 0;
}

static sinter_value two(folder *f, sinter_op op, sinter_value a, sinter_value b) {
    return a && b ? sinter_build_binary(&f->rewrite->build, op, a, b) : 0;
}
static sinter_value number(folder *f, int64_t value) {
    return sinter_build_int(&f->rewrite->build, value);
}
static sinter_value choose(folder *f, sinter_value condition, sinter_value a, sinter_value b) {
    sinter_value operands[3] = {condition, a, b};
    return condition && a && b
               ? sinter_build(&f->rewrite->build, SINTER_OP_where, operands, 3, NULL, 0)
               : 0;
}

/* A position that is data, as an i64 scalar in [0, limit): read from 0, 1, ..., so that the run fails where it is
 * outside. Negative ones count from `count`. */
static sinter_value checked_position(folder *f, sinter_value position, size_t count, size_t limit) {
    int64_t *places = SINTER_NEW_ARRAY(f->scratch, int64_t, limit + 1);
    for (size_t i = 0; i < limit; ++i) places[i] = (int64_t)i;
    if (type_of(f, position)->rank)
        position = sinter_build_reshape(&f->rewrite->build, position, NULL, 0);
    if (position) position = sinter_build_cast(&f->rewrite->build, position, SINTER_DTYPE_i64);
    sinter_value wrapped = two(f, SINTER_OP_add, position, number(f, (int64_t)count));
    sinter_value at = choose(f, two(f, SINTER_OP_less, position, number(f, 0)), wrapped, position);
    at = choose(f, two(f, SINTER_OP_less, at, number(f, 0)), number(f, (int64_t)limit), at);
    return two(f, SINTER_OP_gather, sinter_build_ints(&f->rewrite->build, places, limit), at);
}

/* ---- what makes sequences ---- */

static bool know_construct(folder *f, sinter_node node) {
    uint32_t count = sinter_node_get(f->module, node)->operand_count;
    sequence *s = add_sequence(f, result(f, node), count);
    for (uint32_t i = 0; i < count; ++i) s->items[i] = operand(f, node, i);
    return true;
}

static bool know_insert(folder *f, sinter_node node) {
    const sequence *from = find_sequence(f, operand(f, node, 0));
    sinter_value item = operand(f, node, 1), position = operand(f, node, 2);
    int64_t index = 0;
    if (!from || from->count >= LENGTH_LIMIT) return true;
    bool fixed = known_position(f, position, from->count, (int64_t)from->count, &index);
    if (fixed && (index < 0 || index > (int64_t)from->count)) return true; /* fails in the run */
    sinter_value at = 0;
    if (!fixed) {
        sinter_value both[2] = {item, from->count ? from->items[0] : item};
        if (!one_type(f, both, 2) || (from->count && !one_type(f, from->items, from->count)))
            return true;
        at = checked_position(f, position, from->count, from->count + 1);
        if (!at) return false;
    }
    sequence *s = add_sequence(f, result(f, node), from->count + 1);
    for (size_t i = 0; i < s->count; ++i) {
        sinter_value before = i ? from->items[i - 1] : item,
                     here = i < from->count ? from->items[i] : item;
        if (fixed) {
            s->items[i] = (int64_t)i == index ? item : (int64_t)i < index ? here : before;
            continue;
        }
        sinter_value place = number(f, (int64_t)i);
        sinter_value rest = choose(f, two(f, SINTER_OP_less, place, at), here, before);
        s->items[i] = choose(f, two(f, SINTER_OP_equal, place, at), item, rest);
        if (!s->items[i]) return false;
    }
    return true;
}

static bool know_erase(folder *f, sinter_node node) {
    const sequence *from = find_sequence(f, operand(f, node, 0));
    int64_t index = 0;
    if (!from || !from->count) return true;
    bool fixed = known_position(f, operand(f, node, 1), from->count, -1, &index);
    if (fixed && (index < 0 || index >= (int64_t)from->count)) return true;
    sinter_value at = 0;
    if (!fixed) {
        if (!one_type(f, from->items, from->count)) return true;
        at = checked_position(f, operand(f, node, 1), from->count, from->count);
        if (!at) return false;
    }
    sequence *s = add_sequence(f, result(f, node), from->count - 1);
    for (size_t i = 0; i < s->count; ++i) {
        sinter_value here = from->items[i], after = from->items[i + 1];
        s->items[i] =
            fixed ? ((int64_t)i < index ? here : after)
                  : choose(f, two(f, SINTER_OP_less, number(f, (int64_t)i), at), here, after);
        if (!s->items[i]) return false;
    }
    return true;
}

/* Sizes of the pieces of split_to_sequence as a value, and their number; 0 pieces where that is not known. */
static sinter_value piece_sizes(folder *f, sinter_node node, sinter_dim size, size_t *out_pieces) {
    sinter_value given = operand(f, node, 1);
    const sinter_dim_table *dims = sinter_module_dims(f->module);
    int64_t have = 0, step = 1, count = 0;
    size_t known = 0;
    *out_pieces = 0;
    if (given && type_of(f, given)->rank == 1) {
        if (sinter_dim_is_const(dims, type_of(f, given)->dims[0], &count) && count <= LENGTH_LIMIT)
            *out_pieces = (size_t)count;
        return given;
    }
    if (!sinter_dim_is_const(dims, size, &have) ||
        (given && (!sinter_value_known_ints(f->module, given, &step, 1, &known) || known != 1)) ||
        step < 1 || have / step >= LENGTH_LIMIT)
        return 0;
    int64_t *sizes = SINTER_NEW_ARRAY(f->scratch, int64_t, have / step + 2);
    for (; have > 0; have -= step) sizes[(*out_pieces)++] = have < step ? have : step;
    return sinter_build_ints(&f->rewrite->build, sizes, *out_pieces);
}

static bool know_split(folder *f, sinter_node node) {
    sinter_value x = operand(f, node, 0);
    sinter_type type = *type_of(f, x);
    int64_t axis = sinter_node_get_axis(f->module, node, 0, type.rank);
    size_t pieces = 0;
    sinter_value sizes = piece_sizes(f, node, type.dims[axis], &pieces);
    if (!pieces || !sizes) return true;
    sinter_value operands[2] = {x, sizes};
    sinter_attr attribute = sinter_attr_int("axis", axis);
    sinter_node split = sinter_build_node(&f->rewrite->build,
                                          &(sinter_node_spec){.op = SINTER_OP_split,
                                                              .operands = operands,
                                                              .operand_count = 2,
                                                              .attributes = &attribute,
                                                              .attribute_count = 1,
                                                              .result_count = (uint32_t)pieces});
    if (!split) return false;
    bool keep = operand(f, node, 1) || sinter_node_get_int(f->module, node, "keepdims", 1) != 0;
    sequence *s = add_sequence(f, result(f, node), pieces);
    for (size_t i = 0; i < pieces; ++i) {
        s->items[i] = sinter_node_result(f->module, split, (uint32_t)i);
        if (!keep)
            s->items[i] = two(f, SINTER_OP_squeeze, s->items[i],
                              sinter_build_ints(&f->rewrite->build, &axis, 1));
        if (!s->items[i]) return false;
    }
    return true;
}

static bool know_optional(folder *f, sinter_node node) {
    sinter_value item = operand(f, node, 0);
    sequence *s = add_sequence(f, result(f, node), item != 0);
    s->is_optional = true;
    s->items[0] = item;
    return true;
}

static bool know_identity(folder *f, sinter_node node) {
    const sequence *from = find_sequence(f, operand(f, node, 0));
    if (from) sinter_map_put(&f->known, result(f, node), (uint64_t)(uintptr_t)from);
    return true;
}

/* ---- what reads them ---- */

static bool replace(folder *f, sinter_node node, sinter_value value) {
    /* An element may be of another rank than the file says. */
    if (!value || !sinter_rewrite_fits(f->rewrite, result(f, node), value)) return false;
    sinter_rewrite_replace(f->rewrite, result(f, node), value);
    return true;
}

static bool fold_at(folder *f, sinter_node node) {
    const sequence *s = find_sequence(f, operand(f, node, 0));
    int64_t index = 0;
    if (!s || !s->count) return true;
    if (known_position(f, operand(f, node, 1), s->count, 0, &index))
        return index < 0 || index >= (int64_t)s->count || replace(f, node, s->items[index]);
    if (!one_type(f, s->items, s->count)) return true;
    int64_t first = 0;
    sinter_value axis = sinter_build_ints(&f->rewrite->build, &first, 1);
    sinter_value *stacked = SINTER_NEW_ARRAY(f->scratch, sinter_value, s->count + 1);
    for (size_t i = 0; i < s->count; ++i)
        if (!(stacked[i] = two(f, SINTER_OP_unsqueeze, s->items[i], axis))) return false;
    sinter_attr attribute = sinter_attr_int("axis", 0);
    sinter_value whole = sinter_build(&f->rewrite->build, SINTER_OP_concat, stacked,
                                      (uint32_t)s->count, &attribute, 1);
    sinter_value at = checked_position(f, operand(f, node, 1), s->count, s->count);
    return replace(f, node, two(f, SINTER_OP_gather, whole, at));
}

static bool fold_length(folder *f, sinter_node node) {
    const sequence *s = find_sequence(f, operand(f, node, 0));
    return !s || replace(f, node, number(f, (int64_t)s->count));
}

static bool fold_concat(folder *f, sinter_node node) {
    const sequence *s = find_sequence(f, operand(f, node, 0));
    if (!s || !s->count) return true;
    int64_t axis = sinter_node_get_int(f->module, node, "axis", 0);
    bool is_new = sinter_node_get_int(f->module, node, "new_axis", 0) != 0;
    if (axis < 0) axis += type_of(f, s->items[0])->rank + is_new;
    sinter_value *items = SINTER_NEW_ARRAY(f->scratch, sinter_value, s->count + 1);
    for (size_t i = 0; i < s->count; ++i) {
        items[i] = is_new ? two(f, SINTER_OP_unsqueeze, s->items[i],
                                sinter_build_ints(&f->rewrite->build, &axis, 1))
                          : s->items[i];
        if (!items[i]) return false;
    }
    sinter_attr attribute = sinter_attr_int("axis", axis);
    return replace(f, node,
                   sinter_build(&f->rewrite->build, SINTER_OP_concat, items, (uint32_t)s->count,
                                &attribute, 1));
}

static bool fold_get_element(folder *f, sinter_node node) {
    const sequence *s = find_sequence(f, operand(f, node, 0));
    if (type_of(f, operand(f, node, 0))->kind != SINTER_TYPE_OPTIONAL)
        return replace(f, node, operand(f, node, 0));
    return !s || !s->count || replace(f, node, s->items[0]);
}

static bool fold_has_element(folder *f, sinter_node node) {
    sinter_value x = operand(f, node, 0);
    const sequence *s = find_sequence(f, x);
    if (x && type_of(f, x)->kind == SINTER_TYPE_OPTIONAL && !s) return true;
    bool has = x && (!s || !s->is_optional || s->count);
    return replace(f, node, sinter_build_scalar(&f->rewrite->build, SINTER_DTYPE_bool, has));
}

/* ---- the walk ---- */

static const struct {
    sinter_op op;
    bool (*fold)(folder *f, sinter_node node);
} rules[] = {{SINTER_OP_sequence_construct, know_construct},
             {SINTER_OP_sequence_empty, know_construct},
             {SINTER_OP_sequence_insert, know_insert},
             {SINTER_OP_sequence_erase, know_erase},
             {SINTER_OP_split_to_sequence, know_split},
             {SINTER_OP_optional, know_optional},
             {SINTER_OP_identity, know_identity},
             {SINTER_OP_sequence_at, fold_at},
             {SINTER_OP_sequence_length, fold_length},
             {SINTER_OP_concat_from_sequence, fold_concat},
             {SINTER_OP_optional_get_element, fold_get_element},
             {SINTER_OP_optional_has_element, fold_has_element}};

static bool fold_region(folder *f, sinter_region region) {
    SINTER_FOR_NODES (f->module, region, node) {
        sinter_op op = sinter_node_get(f->module, node)->op;
        sinter_rewrite_at(f->rewrite, node);
        for (size_t i = 0; i < sizeof rules / sizeof *rules; ++i)
            if (rules[i].op == op && result(f, node) && !rules[i].fold(f, node)) return false;
        for (uint32_t i = 0; i < sinter_node_get(f->module, node)->region_count; ++i)
            if (!fold_region(f, sinter_node_get(f->module, node)->regions[i])) return false;
    }
    return true;
}

/* From the end, so that what a node reads is looked at after it. */
static void erase_unused(folder *f, sinter_region region) {
    sinter_node node = sinter_region_get(f->module, region)->last;
    while (node) {
        sinter_node previous = sinter_node_get(f->module, node)->previous;
        sinter_op op = sinter_node_get(f->module, node)->op;
        for (uint32_t i = 0; i < sinter_node_get(f->module, node)->region_count; ++i)
            erase_unused(f, sinter_node_get(f->module, node)->regions[i]);
        for (size_t i = 0; i < sizeof rules / sizeof *rules; ++i)
            if (rules[i].op == op && result(f, node) && op != SINTER_OP_identity &&
                !sinter_value_get(f->module, result(f, node))->uses.count) {
                sinter_rewrite_at(f->rewrite, node);
                sinter_rewrite_erase(f->rewrite, node);
                previous = sinter_region_get(f->module, region)->last;
                break;
            }
        node = previous;
    }
}

void sinter_pass_fold_sequences(sinter_pass_context *context) {
    sinter_module *module = context->module;
    folder f = {.module = module, .scratch = &context->scratch, .rewrite = &context->rewrite};
    sinter_map_init(&f.known, &context->scratch);
    bool good = fold_region(&f, sinter_module_main(module));
    if (good) erase_unused(&f, sinter_module_main(module));
}
