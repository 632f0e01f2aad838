/* Fuses elementwise nodes with each other and with the contraction, window or reduction that feeds them, as `group`
 * nodes: one kernel, one pass over memory. Decides by the pattern column of ops.def.
 *
 * A group has at most one anchor (contraction, window, reduction), or a chain where windows read by rows what others make
 * (fuse_windows.c). Two products with rows in between that are made of the
 * first are one group as well (fuse_products.c).
 * Every result depends on it, at the anchor's own result shape; elementwise nodes that feed a reduction join it when nobody
 * else wants their values. Reductions over the same last axes are the exception: with the elementwise nodes before, between
 * and after them (softmax, normalisations) they are one group, which works through its rows. The group stands where its
 * last node stood, so no value of it may be used before that. Needs inferred types; nested regions are fused on their own.
 * Constants of few elements are copied into the group, where the kernel sees their values. Elements that are widened
 * between two groups, as dequantized ones are, lie in memory as they were before.
 * Test: tests/passes/fuse/ */
#include "passes/fuse.h"
#include "passes/packed_weight.h"

#include <stdlib.h>
#include <string.h>

enum { SMALL_CONSTANT = 16, LONG_ROW = 16384 };

sinter_pattern sinter_fuse_pattern(const sinter_fusion *f, sinter_node node) {
    return sinter_op_get_info(sinter_node_get(f->module, node)->op)->pattern;
}

static bool all_numeric(const sinter_fusion *f, const sinter_value *values, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        if (!values[i]) continue;
        const sinter_type *type = sinter_value_type(f->module, values[i]);
        sinter_dtype_class class = sinter_dtype_infos[type->dtype].class;
        if (type->kind != SINTER_TYPE_TENSOR || class == SINTER_CLASS_STRING ||
            class == SINTER_CLASS_COMPLEX)
            return false;
    }
    return true;
}

/* Whether shapes are made of what the node computes, of its results' extents or of their elements, which the host reads: it then
 * needs to stand alone. */
static bool makes_shapes(const sinter_fusion *f, const sinter_node_info *info) {
    uint64_t known;
    for (uint32_t i = 0; i < info->result_count; ++i)
        if (info->results[i] && sinter_map_find(&f->shapes, info->results[i], &known)) return true;
    return false;
}

static void find_shapes(sinter_fusion *f) {
    sinter_dim_table *dims = sinter_module_dims(f->module);
    sinter_map_init(&f->shapes, f->scratch);
    for (size_t i = 0; i < sinter_dim_symbol_count(dims); ++i) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(dims, sinter_dim_symbol_at(dims, i));
        if (symbol->origin != SINTER_DIM_ORIGIN_INPUT) sinter_map_put(&f->shapes, symbol->value, 1);
    }
}

static bool is_fusable(const sinter_fusion *f, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(f->module, node);
    return !makes_shapes(f, info) && all_numeric(f, info->operands, info->operand_count) &&
           all_numeric(f, info->results, info->result_count);
}

bool sinter_fuse_is_elementwise(const sinter_fusion *f, sinter_node node) {
    return sinter_fuse_pattern(f, node) == SINTER_PATTERN_ELEMENTWISE &&
           sinter_node_get(f->module, node)->op != SINTER_OP_identity && is_fusable(f, node);
}

static bool is_anchor(const sinter_fusion *f, sinter_node node) {
    sinter_pattern pattern = sinter_fuse_pattern(f, node);
    return (pattern == SINTER_PATTERN_CONTRACT || pattern == SINTER_PATTERN_WINDOW ||
            pattern == SINTER_PATTERN_REDUCE) &&
           is_fusable(f, node);
}

bool sinter_fuse_same_shape(const sinter_fusion *f, sinter_value a, sinter_value b) {
    const sinter_type *x = sinter_value_type(f->module, a), *y = sinter_value_type(f->module, b);
    if (x->rank != y->rank) return false;
    for (uint32_t i = 0; i < x->rank; ++i)
        if (x->dims[i] != y->dims[i]) return false;
    return true;
}

/* Position, in this region, of a node here or in a region nested below. */
static uint32_t position_here(const sinter_fusion *f, sinter_node node) {
    node = sinter_node_within(f->module, node, f->region);
    return node ? f->position[node] : UINT32_MAX;
}

uint32_t sinter_fuse_first_outside_use(const sinter_fusion *f, uint32_t group, uint32_t other) {
    uint32_t first = UINT32_MAX;
    const sinter_fusion_group *members = &f->groups.items[group];
    for (size_t i = 0; i < members->nodes.count; ++i) {
        const sinter_node_info *info = sinter_node_get(f->module, members->nodes.items[i]);
        for (uint32_t r = 0; r < info->result_count; ++r) {
            if (!info->results[r]) continue;
            const sinter_value_info *value = sinter_value_get(f->module, info->results[r]);
            for (size_t u = 0; u < value->uses.count; ++u) {
                sinter_node user = value->uses.items[u].node;
                uint32_t of = f->group_of[user];
                if (of == group + 1 || of == other + 1) continue;
                uint32_t at = position_here(f, user);
                if (at < first) first = at;
            }
        }
    }
    return first;
}

void sinter_fuse_merge(sinter_fusion *f, uint32_t into, uint32_t from) {
    sinter_fusion_group *a = &f->groups.items[into], *b = &f->groups.items[from];
    for (size_t i = 0; i < b->nodes.count; ++i) {
        sinter_vector_push(f->scratch, &a->nodes, b->nodes.items[i]);
        f->group_of[b->nodes.items[i]] = into + 1;
    }
    if (b->anchor) a->anchor = b->anchor;
    if (b->row) {
        a->row = b->row;
        a->row_axis = b->row_axis;
    }
    b->dead = true;
}

bool sinter_fuse_comes_by_rows(const sinter_fusion *f, const sinter_node *nodes, uint32_t count,
                               bool model) {
    const sinter_chooser_answer rows[] = {{"rows"}, {"apart"}}, apart[] = {{"apart"}, {"rows"}};
    uint32_t answer =
        sinter_chooser_ask(f->chooser, f->module, nodes, count, "fuse", model ? rows : apart, 2);
    return model == (answer == 0);
}

/* ---- rows ---- */

/* One long row alone would leave all threads but one without work. */
static bool has_rows(const sinter_fusion *f, const sinter_type *type, uint32_t axis) {
    const sinter_dim_table *dims = sinter_module_dims(f->module);
    int64_t rows = 1, length = 1, low, high;
    for (uint32_t i = 0; i < type->rank; ++i) {
        sinter_dim_range(dims, type->dims[i], &low, &high);
        int64_t *product = i < axis ? &rows : &length;
        if (high > LONG_ROW || *product > LONG_ROW)
            high = *product = LONG_ROW + 1;
        else
            *product *= high;
    }
    return rows > 1 || length <= LONG_ROW;
}

/* A reduction over known last axes that keeps its dims. */
static bool reduces_rows(const sinter_fusion *f, sinter_node node, uint32_t *out_axis) {
    sinter_module *module = f->module;
    const sinter_op_info *op = sinter_op_get_info(sinter_node_get(module, node)->op);
    if (op->pattern != SINTER_PATTERN_REDUCE || !strchr(op->body, ';') ||
        !sinter_node_get_int(module, node, "keepdims", 1))
        return false;
    const sinter_type *type = sinter_value_type(module, sinter_node_operand(module, node, 0));
    sinter_value axes = sinter_node_operand(module, node, 1);
    int64_t items[SINTER_MAX_RANK];
    size_t count = 0;
    if (axes && !sinter_value_known_ints(module, axes, items, SINTER_MAX_RANK, &count))
        return false;
    uint32_t reduced = 0;
    for (size_t i = 0; i < count; ++i)
        reduced |= 1u << (items[i] < 0 ? items[i] + type->rank : items[i]);
    if (!reduced) return false;
    uint32_t axis = (uint32_t)__builtin_ctz(reduced);
    if (reduced != (1u << type->rank) - (1u << axis) || !has_rows(f, type, axis)) return false;
    *out_axis = axis;
    return true;
}

/* May the two be one group that works through rows? `own` ends in node, the newest of all. */
static bool may_join_rows(const sinter_fusion *f, uint32_t own, uint32_t producer,
                          sinter_node node) {
    const sinter_fusion_group *a = &f->groups.items[own], *b = &f->groups.items[producer];
    if (a->nodes.count + b->nodes.count > SINTER_FUSE_LIMIT) return false;
    if ((a->anchor && !a->row) || (b->anchor && !b->row) || (!a->row && !b->row)) return false;
    if (a->row && b->row &&
        (a->row_axis != b->row_axis || !sinter_fuse_same_shape(f, a->row, b->row)))
        return false;
    /* Values of a group are as large as a row, or one for each row. */
    sinter_value row = a->row ? a->row : b->row;
    const sinter_fusion_group *other = a->row ? b : a;
    for (size_t i = 0; i < other->nodes.count && !other->row; ++i) {
        const sinter_node_info *info = sinter_node_get(f->module, other->nodes.items[i]);
        for (uint32_t r = 0; r < info->result_count; ++r)
            if (info->results[r] && !sinter_fuse_same_shape(f, info->results[r], row)) return false;
    }
    return sinter_fuse_first_outside_use(f, producer, own) > f->position[node];
}

/* The groups that make operands of the node, which is elementwise at the shape of the rows or reduces them. */
static void join_rows(sinter_fusion *f, sinter_node node, uint32_t own) {
    const sinter_node_info *info = sinter_node_get(f->module, node);
    for (int round = 0; round < 2; ++round) { /* the first operand may become a row by the second */
        for (uint32_t i = 0; i < info->operand_count; ++i) {
            sinter_node definition = sinter_value_definition(f->module, info->operands[i]);
            if (!definition || sinter_node_get(f->module, definition)->parent != f->region)
                continue;
            uint32_t producer = f->group_of[definition];
            if (!producer || producer - 1 == own || f->groups.items[producer - 1].dead) continue;
            if (may_join_rows(f, own, producer - 1, node)) sinter_fuse_merge(f, own, producer - 1);
        }
    }
}

/* `own` holds node (its newest member) and whatever joined it so far; `producer` made one of node's operands. */
static bool may_join(const sinter_fusion *f, uint32_t own, uint32_t producer, sinter_node node) {
    const sinter_fusion_group *a = &f->groups.items[own], *b = &f->groups.items[producer];
    if (a->nodes.count + b->nodes.count > SINTER_FUSE_LIMIT || (a->anchor && b->anchor))
        return false;
    if (a->closed || b->closed) return false;
    if (sinter_fuse_first_outside_use(f, producer, own) <= f->position[node]) return false;
    /* Results that do not depend on the anchor would have no loop to be stored in. */
    bool anchored = a->anchor || b->anchor;
    if (anchored && !b->anchor && sinter_fuse_first_outside_use(f, producer, own) != UINT32_MAX)
        return false;
    if (anchored && !a->anchor && a->nodes.count > 1) return false;
    return true;
}

static uint32_t new_group(sinter_fusion *f, sinter_node node, bool anchor) {
    sinter_fusion_group group = {.anchor = anchor ? node : 0};
    sinter_vector_push(f->scratch, &group.nodes, node);
    sinter_vector_push(f->scratch, &f->groups, group);
    f->group_of[node] = (uint32_t)f->groups.count;
    return (uint32_t)f->groups.count - 1;
}

static void join_producers(sinter_fusion *f, sinter_node node, uint32_t own, sinter_value shape) {
    const sinter_node_info *info = sinter_node_get(f->module, node);
    for (uint32_t i = 0; i < info->operand_count; ++i) {
        if (!info->operands[i] || !sinter_fuse_same_shape(f, info->operands[i], shape)) continue;
        sinter_node definition = sinter_value_get(f->module, info->operands[i])->definition;
        if (!definition || sinter_node_get(f->module, definition)->parent != f->region) continue;
        uint32_t producer = f->group_of[definition];
        if (!producer || producer - 1 == own || f->groups.items[producer - 1].dead) continue;
        if (may_join(f, own, producer - 1, node)) sinter_fuse_merge(f, own, producer - 1);
    }
}

/* A reduction takes in the elementwise nodes that only it reads: each element is computed once anyway. */
static void join_reduced(sinter_fusion *f, sinter_node node, uint32_t own) {
    sinter_value operand = sinter_node_operand(f->module, node, 0);
    sinter_node definition = sinter_value_get(f->module, operand)->definition;
    if (!definition || sinter_node_get(f->module, definition)->parent != f->region) return;
    uint32_t producer = f->group_of[definition];
    if (!producer || f->groups.items[producer - 1].anchor) return;
    if (sinter_fuse_first_outside_use(f, producer - 1, own) == UINT32_MAX)
        sinter_fuse_merge(f, own, producer - 1);
}

/* The transposition leaves neighbours neighbours. */
static bool keeps_last_axis(const sinter_fusion *f, sinter_node transpose) {
    const int64_t *perm = NULL;
    size_t rank = sinter_node_get_ints(f->module, transpose, "perm", &perm);
    return rank && perm[rank - 1] == (int64_t)rank - 1;
}

/* The matrix, the second factor of a contraction, is multiplied by at most so many rows. */
static bool has_few_rows(const sinter_fusion *f, sinter_node contraction, int64_t most) {
    const sinter_dim_table *dims = sinter_module_dims(f->module);
    const sinter_type *rows = sinter_value_type(f->module,
                                                sinter_node_operand(f->module, contraction, 0)),
                      *matrix = sinter_value_type(f->module,
                                                  sinter_node_operand(f->module, contraction, 1));
    int64_t total = 1, count;
    for (uint32_t i = 2; i <= rows->rank; i++) { /* from the right */
        bool has_own =
            i > 2 && i <= matrix->rank && !sinter_dim_is(dims, matrix->dims[matrix->rank - i], 1);
        if (has_own) continue;
        if (!sinter_dim_is_const(dims, rows->dims[rows->rank - i], &count) || count > most)
            return false;
        total *= count;
        if (total > most) return false;
    }
    return true;
}

/* A few rows times a transposed matrix, each of whose elements they use along the axis that was last; or one such matrix, the first factor,
 * times a single column: its rows are next to each other. A GPU's blocks read any operand as it lies: their tiles of it are staged in shared
 * memory along whichever axis has its elements next to each other (codegen/schedule/block_stage.c). */
static bool is_read_in_order(const sinter_fusion *f, sinter_node contraction, uint32_t operand,
                             sinter_node transpose) {
    /* 2 and 4 rows by a matrix of 2048 x 1024 as it lies take 0.16 and 0.32 ms of a Zen 4, 0.72 and 0.82 by one put in order first
     * (docs/benchmarks.md); a row more costs more this way, and more of them were not measured. The schedule that has all rows take a row of the
     * matrix before the next one comes is of CPUs alone (codegen/schedule/cpu/reduce.c). */
    enum { FEW_ROWS = 4 };
    const int64_t *perm = NULL;
    size_t rank = sinter_node_get_ints(f->module, transpose, "perm", &perm);
    if (rank < 2 || perm[rank - 2] != (int64_t)rank - 1) return false;
    if (f->machine->has_device) return true;
    if (operand) {
        const sinter_type *row =
            sinter_value_type(f->module, sinter_node_operand(f->module, contraction, 0));
        return row->rank < 2 ||
               sinter_dim_is(sinter_module_dims(f->module), row->dims[row->rank - 2], 1) ||
               has_few_rows(f, contraction, FEW_ROWS);
    }
    const sinter_type *column =
        sinter_value_type(f->module, sinter_node_operand(f->module, contraction, 1));
    return sinter_node_op(f->module, contraction) == SINTER_OP_matmul &&
           perm[rank - 1] == (int64_t)rank - 2 &&
           (column->rank == 1 ||
            sinter_dim_is(sinter_module_dims(f->module), column->dims[column->rank - 1], 1));
}

/* A reshape that adds or removes axes of size 1 alone, not the last one, of what nobody else wants. */
static bool is_thin_view(const sinter_fusion *f, sinter_node node) {
    const sinter_dim_table *dims = sinter_module_dims(f->module);
    const sinter_node_info *info = sinter_node_get(f->module, node);
    if (info->op != SINTER_OP_reshape || info->parent != f->region || f->group_of[node] ||
        sinter_value_get(f->module, info->operands[0])->uses.count != 1)
        return false;
    const sinter_type *from = sinter_value_type(f->module, info->operands[0]),
                      *to = sinter_value_type(f->module, info->results[0]);
    uint32_t i = 0, k = 0;
    for (;;) {
        while (i < from->rank && sinter_dim_is(dims, from->dims[i], 1)) i++;
        while (k < to->rank && sinter_dim_is(dims, to->dims[k], 1)) k++;
        if (i == from->rank || k == to->rank || from->dims[i] != to->dims[k]) break;
        i++, k++;
    }
    return i == from->rank && k == to->rank && from->rank && to->rank &&
           from->dims[from->rank - 1] == to->dims[to->rank - 1];
}

/* Contractions, windows and recurrent layers read narrow floats as they are, and units for matrices round by themselves: the casts of what they multiply, which nobody else wants, come
 * out of the groups that they are in. */
static void join_widened(sinter_fusion *f, sinter_node node, uint32_t own) {
    const sinter_node_info *info = sinter_node_get(f->module, node);
    uint32_t factors = sinter_op_factor_count(info->op);
    for (uint32_t i = 0; i < factors && i < info->operand_count; ++i) {
        sinter_value operand = info->operands[i];
        sinter_node cast = sinter_value_definition(f->module, operand);
        if (!cast || !f->group_of[cast] || !sinter_value_has_one_use(f->module, operand) ||
            sinter_node_get(f->module, cast)->parent != f->region ||
            !sinter_node_makes_factor(f->module, cast, f->machine->has_device))
            continue;
        sinter_fusion_group *from = &f->groups.items[f->group_of[cast] - 1];
        size_t kept = 0;
        for (size_t k = 0; k < from->nodes.count; ++k)
            if (from->nodes.items[k] != cast) from->nodes.items[kept++] = from->nodes.items[k];
        from->nodes.count = kept;
        from->dead |= kept == 0;
        sinter_vector_push(f->scratch, &f->groups.items[own].nodes, cast);
        f->group_of[cast] = own + 1;
    }
}

/* A contraction reads through the transpositions that only it wants: of constants, which are packed for it anyway, of
 * axes other than the last, and where that is the order in which few rows read, a single column, or tiles of a GPU.
 * Axes of size 1 may come or go in between. */
static void join_transposed(sinter_fusion *f, sinter_node node, uint32_t own) {
    for (uint32_t i = 0; i < sinter_node_get(f->module, node)->operand_count; ++i) {
        sinter_value operand = sinter_node_operand(f->module, node, i);
        if (!operand) continue;
        sinter_node cast = sinter_value_definition(f->module, operand);
        if (cast && f->group_of[cast] == own + 1 &&
            sinter_node_makes_factor(f->module, cast, f->machine->has_device))
            operand = sinter_node_operand(f->module, cast, 0);
        const sinter_value_info *info = sinter_value_get(f->module, operand);
        sinter_node definition = info->definition;
        if (!definition || info->uses.count != 1 || f->group_of[definition] ||
            !is_fusable(f, definition))
            continue;
        sinter_node view = is_thin_view(f, definition) ? definition : 0;
        if (view) {
            sinter_value source = sinter_node_operand(f->module, view, 0);
            definition = sinter_value_get(f->module, source)->definition;
            if (!definition || f->group_of[definition] || !is_fusable(f, definition)) continue;
        }
        const sinter_node_info *made = sinter_node_get(f->module, definition);
        if (made->op != SINTER_OP_transpose || made->parent != f->region) continue;
        if (!sinter_value_constant(f->module, made->operands[0]) &&
            !keeps_last_axis(f, definition) &&
            !(i < 2 && !view && is_read_in_order(f, node, i, definition)))
            continue;
        if (view) {
            sinter_vector_push(f->scratch, &f->groups.items[own].nodes, view);
            f->group_of[view] = own + 1;
        }
        sinter_vector_push(f->scratch, &f->groups.items[own].nodes, definition);
        f->group_of[definition] = own + 1;
    }
}

/* In a group of its own, which a product in this region takes in. */
static bool stands_alone(const sinter_fusion *f, sinter_node node) {
    return sinter_node_get(f->module, node)->parent == f->region && f->group_of[node] &&
           f->groups.items[f->group_of[node] - 1].nodes.count == 1 &&
           sinter_value_has_one_use(f->module, sinter_node_result(f->module, node, 0));
}

/* A contraction reads weights of few bits as they are, through a transposition too, and what they are multiplied by, where
 * that is in bytes and blocks. */
static void join_packed_weight(sinter_fusion *f, sinter_node node, uint32_t own) {
    sinter_packed_weight weight;
    if (!sinter_find_packed_weight(f->module, node, &weight) || !stands_alone(f, weight.dequantize))
        return;
    if (weight.view) {
        if (sinter_node_get(f->module, weight.view)->parent != f->region) return;
        sinter_vector_push(f->scratch, &f->groups.items[own].nodes, weight.view);
        f->group_of[weight.view] = own + 1;
    }
    sinter_fuse_merge(f, own, f->group_of[weight.dequantize] - 1);
    sinter_node rounded =
        sinter_value_definition(f->module, sinter_node_operand(f->module, node, 0));
    if (sinter_node_op(f->module, rounded) == SINTER_OP_dequantize_linear &&
        stands_alone(f, rounded) && sinter_node_get_int(f->module, rounded, "block_size", 0))
        sinter_fuse_merge(f, own, f->group_of[rounded] - 1);
}

/* ---- what lies between two groups ---- */

/* Makes wider elements of those of its first operand, and of constants. */
static bool widens(const sinter_fusion *f, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(f->module, node);
    if (!sinter_fuse_is_elementwise(f, node) || info->result_count != 1 || !info->operand_count ||
        !sinter_fuse_same_shape(f, info->operands[0], info->results[0]))
        return false;
    for (uint32_t i = 1; i < info->operand_count; ++i)
        if (info->operands[i] && !sinter_value_constant(f->module, info->operands[i])) return false;
    return sinter_dtype_infos[sinter_value_type(f->module, info->operands[0])->dtype].bits <
           sinter_dtype_infos[sinter_value_type(f->module, info->results[0])->dtype].bits;
}

/* The one other group, plus 1, whose nodes read the value element by element; 0: there is none, or someone else reads it. */
static uint32_t only_reader(const sinter_fusion *f, sinter_value value, uint32_t own) {
    const sinter_value_info *info = sinter_value_get(f->module, value);
    uint32_t reader = 0;
    for (size_t u = 0; u < info->uses.count; ++u) {
        sinter_node user = info->uses.items[u].node;
        uint32_t of = f->group_of[user];
        sinter_pattern pattern = sinter_fuse_pattern(f, user);
        bool once = pattern == SINTER_PATTERN_REDUCE ||
                    (sinter_fuse_is_elementwise(f, user) &&
                     sinter_fuse_same_shape(f, sinter_node_result(f->module, user, 0), value));
        if (!of || of == own + 1 || (reader && of != reader) || !once) return 0;
        reader = of;
    }
    return reader;
}

/* Memory between two groups holds the narrow elements: the node that widens them moves to the reader. */
static void widen_late(sinter_fusion *f, uint32_t own) {
    sinter_fusion_group *group = &f->groups.items[own];
    for (size_t i = 0; i < group->nodes.count; ++i) {
        sinter_node node = group->nodes.items[i];
        if (group->nodes.count < 2 || node == group->anchor || !widens(f, node)) continue;
        sinter_value operand = sinter_node_operand(f->module, node, 0);
        sinter_node definition = sinter_value_get(f->module, operand)->definition;
        uint32_t reader = only_reader(f, sinter_node_result(f->module, node, 0), own);
        if (!reader || !definition || f->group_of[definition] != own + 1 ||
            f->groups.items[reader - 1].closed ||
            f->groups.items[reader - 1].nodes.count >= SINTER_FUSE_LIMIT)
            continue;
        sinter_vector_push(f->scratch, &f->groups.items[reader - 1].nodes, node);
        f->group_of[node] = reader;
        group->nodes.items[i--] = group->nodes.items[--group->nodes.count];
    }
}

static void copy_small_constants(sinter_fusion *f, sinter_fusion_group *group) {
    size_t count = group->nodes.count;
    for (size_t n = 0; n < count; ++n) {
        sinter_node node = group->nodes.items[n];
        for (uint32_t i = 0; i < sinter_node_get(f->module, node)->operand_count; ++i) {
            sinter_value operand = sinter_node_operand(f->module, node, i);
            const sinter_tensor *tensor =
                operand ? sinter_value_constant(f->module, operand) : NULL;
            if (!tensor || sinter_tensor_count(tensor) > SMALL_CONSTANT) continue;
            sinter_rewrite_at(f->rewrite, node);
            sinter_tensor copy;
            sinter_tensor_copy(&copy, tensor);
            sinter_value fresh = sinter_build_constant(&f->rewrite->build, copy);
            if (!fresh) continue;
            sinter_rewrite_set_operand(f->rewrite, node, i, fresh);
            sinter_node copied = sinter_value_get(f->module, fresh)->definition;
            sinter_map_put(&f->copies, copied, f->position[node]);
            sinter_vector_push(f->scratch, &group->nodes, copied);
        }
    }
}

typedef struct place {
    uint64_t position;
    sinter_node node;
} place;

static int compare_places(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->position != y->position) return x->position < y->position ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

/* Members in the order of the region; copied constants stand right before the node they are for. */
static void sort_nodes(sinter_fusion *f, sinter_fusion_group *group) {
    size_t count = group->nodes.count;
    place *places = SINTER_NEW_ARRAY(f->scratch, place, count);
    for (size_t i = 0; i < count; ++i) {
        sinter_node node = group->nodes.items[i];
        uint64_t reader = 0;
        bool copied = sinter_map_find(&f->copies, node, &reader);
        places[i] = (place){copied ? 2 * reader - 1 : 2 * (uint64_t)f->position[node], node};
    }
    qsort(places, count, sizeof *places, compare_places);
    for (size_t i = 0; i < count; ++i) group->nodes.items[i] = places[i].node;
}

static void fuse_region(sinter_fusion *f, sinter_region region) {
    uint32_t at = 0;
    f->region = region;
    f->groups.count = 0;
    uint32_t nodes = sinter_module_node_limit(f->module);
    f->position = SINTER_NEW_ARRAY(f->scratch, uint32_t, nodes);
    f->group_of = SINTER_NEW_ARRAY(f->scratch, uint32_t, nodes);
    SINTER_FOR_NODES (f->module, region, numbered) f->position[numbered] = ++at;
    SINTER_FOR_NODES (f->module, region, node) {
        if (sinter_fuse_is_elementwise(f, node)) {
            uint32_t own = new_group(f, node, false);
            join_rows(f, node, own);
            join_producers(f, node, own, sinter_node_result(f->module, node, 0));
        } else if (is_anchor(f, node)) {
            uint32_t own = new_group(f, node, true);
            if (sinter_fuse_pattern(f, node) != SINTER_PATTERN_REDUCE) join_widened(f, node, own);
            sinter_fusion_group *group = &f->groups.items[own];
            if (reduces_rows(f, node, &group->row_axis)) {
                group->row = sinter_node_operand(f->module, node, 0);
                join_rows(f, node, own);
            } else if (sinter_fuse_pattern(f, node) == SINTER_PATTERN_REDUCE) {
                join_reduced(f, node, own);
            } else if (sinter_fuse_pattern(f, node) == SINTER_PATTERN_CONTRACT) {
                join_packed_weight(f, node, own);
                join_transposed(f, node, own);
            } else {
                sinter_fuse_windows(f, node, own);
            }
        } else if (sinter_op_factor_count(sinter_node_op(f->module, node)) && is_fusable(f, node)) {
            uint32_t own = new_group(f, node, true);
            f->groups.items[own].closed = true;
            join_widened(f, node, own);
        }
    }
    for (uint32_t i = 0; i < f->groups.count; ++i)
        if (!f->groups.items[i].dead) sinter_fuse_products(f, i);
    for (uint32_t i = 0; i < f->groups.count; ++i)
        if (!f->groups.items[i].dead) widen_late(f, i);
    for (size_t i = 0; i < f->groups.count; ++i) {
        sinter_fusion_group *group = &f->groups.items[i];
        if (group->dead || group->nodes.count < 2) continue;
        copy_small_constants(f, group);
        sort_nodes(f, group);
        sinter_rewrite_outline(f->rewrite, group->nodes.items, group->nodes.count);
    }
}

void sinter_pass_fuse(sinter_pass_context *context) {
    sinter_module *module = context->module;
    sinter_fusion f = {.module = module,
                       .machine = context->options->machine,
                       .chooser = context->options->chooser,
                       .scratch = &context->scratch,
                       .rewrite = &context->rewrite};
    sinter_map_init(&f.copies, f.scratch);
    find_shapes(&f);
    uint32_t regions = sinter_module_region_limit(module);
    for (sinter_region region = 1; region < regions; ++region) {
        const sinter_region_info *info = sinter_region_get(module, region);
        bool in_group = info->owner && sinter_node_get(module, info->owner)->op == SINTER_OP_group;
        bool erased = info->owner && sinter_node_get(module, info->owner)->erased;
        if (info->first && !in_group && !erased) fuse_region(&f, region);
    }
}
