/* Part of fuse: a matrix product, rows that are made of it by reductions and elementwise nodes, and the product of these rows become one
 * group, where the matrix in between takes much of a cache: it comes by blocks of rows then (codegen/lower/blocked.c), and memory never sees it.
 * Quantized attention is the usual case; attention of floats is an operator of its own by then.
 *
 * What stands around may not be wanted elsewhere. Groups of other rows of the same matrix (sums for zero points), and of what is made of
 * those one for each row, come along where nobody else wants them either.
 * Test: tests/passes/fuse/products.sir */
#include "ir/ring.h"
#include "passes/fuse.h"

#include <string.h>

/* The groups that become one: the second product's, the rows', the first product's, and what comes along. */
enum { SECOND, ROWS, FIRST, MOST_PARTS = 8 };
typedef struct chain {
    sinter_fusion *f;
    uint32_t parts[MOST_PARTS];
    uint32_t count;
    sinter_value x; /* what the second product multiplies: the rows */
} chain;

static sinter_fusion_group *part_of(const chain *c, uint32_t i) {
    return &c->f->groups.items[c->parts[i]];
}

static const sinter_type *type_of(const chain *c, sinter_value value) {
    return sinter_value_type(c->f->module, value);
}

static sinter_value result_of(const chain *c, sinter_node node) {
    return sinter_node_result(c->f->module, node, 0);
}

/* y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n] */
static bool is_product(const chain *c, sinter_node node) {
    return node && sinter_fuse_pattern(c->f, node) == SINTER_PATTERN_CONTRACT &&
           !strcmp(sinter_op_get_info(sinter_node_op(c->f->module, node))->body,
                   "...mk,...kn->...mn");
}

/* The group in this region that makes the value, and 1; 0: none. */
static uint32_t maker_of(const chain *c, sinter_value value) {
    sinter_node node = value ? sinter_value_definition(c->f->module, value) : 0;
    if (!node || sinter_node_get(c->f->module, node)->parent != c->f->region) return 0;
    return c->f->group_of[node];
}

static bool is_part(const chain *c, uint32_t group_and_1) {
    for (uint32_t i = 0; i < c->count; i++)
        if (c->parts[i] + 1 == group_and_1) return true;
    return false;
}

static bool has_rows_of(const chain *c, const sinter_fusion_group *group) {
    return group->row && group->row_axis + 1 == type_of(c, group->row)->rank &&
           sinter_fuse_same_shape(c->f, group->row, c->x);
}

/* ---- the three ---- */

/* The one product that the rows are made of; false: there is none. */
static bool find_first(chain *c) {
    const sinter_fusion_group *rows = part_of(c, ROWS);
    for (size_t i = 0; i < rows->nodes.count; i++) {
        const sinter_node_info *info = sinter_node_get(c->f->module, rows->nodes.items[i]);
        for (uint32_t k = 0; k < info->operand_count; k++) {
            uint32_t maker = maker_of(c, info->operands[k]);
            if (!maker || is_part(c, maker)) continue;
            const sinter_fusion_group *group = &c->f->groups.items[maker - 1];
            if (group->closed || !is_product(c, group->anchor) ||
                !sinter_fuse_same_shape(c->f, result_of(c, group->anchor), c->x))
                continue;
            c->parts[c->count++] = maker - 1;
            return true;
        }
    }
    return false;
}

/* Of the same rows of the same matrices, as many as the second product makes. */
static bool has_rows_of_second(const chain *c) {
    const sinter_type *x = type_of(c, c->x),
                      *y = type_of(c, result_of(c, part_of(c, SECOND)->anchor));
    if (x->rank < 2 || y->rank != x->rank) return false;
    for (uint32_t i = 0; i + 1 < x->rank; i++)
        if (x->dims[i] != y->dims[i]) return false;
    return true;
}

static bool find_three(chain *c, uint32_t own) {
    c->parts[c->count++] = own;
    if (!is_product(c, part_of(c, SECOND)->anchor)) return false;
    c->x = sinter_node_operand(c->f->module, part_of(c, SECOND)->anchor, 0);
    uint32_t rows = maker_of(c, c->x);
    if (!rows || is_part(c, rows) || !has_rows_of_second(c)) return false;
    c->parts[c->count++] = rows - 1;
    return has_rows_of(c, part_of(c, ROWS)) && find_first(c);
}

/* ---- what comes along ---- */

/* Nodes outside of the chain and of the group read a value of the group. */
static bool is_wanted_elsewhere(const chain *c, uint32_t group) {
    const sinter_fusion_group *members = &c->f->groups.items[group];
    for (size_t i = 0; i < members->nodes.count; i++) {
        const sinter_node_info *info = sinter_node_get(c->f->module, members->nodes.items[i]);
        for (uint32_t r = 0; r < info->result_count; r++) {
            if (!info->results[r]) continue;
            const sinter_value_info *value = sinter_value_get(c->f->module, info->results[r]);
            for (size_t u = 0; u < value->uses.count; u++) {
                uint32_t user = c->f->group_of[value->uses.items[u].node];
                if (user != group + 1 && !is_part(c, user)) return true;
            }
        }
    }
    return false;
}

/* A group that reads the value, is wanted by the chain alone, and can be made with its rows. */
static void take_along(chain *c, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(c->f->module, value);
    for (size_t u = 0; u < info->uses.count && c->count < MOST_PARTS; u++) {
        uint32_t user = c->f->group_of[info->uses.items[u].node];
        if (!user || is_part(c, user)) continue;
        const sinter_fusion_group *group = &c->f->groups.items[user - 1];
        if (!group->dead && !group->closed && (!group->anchor || has_rows_of(c, group)) &&
            !is_wanted_elsewhere(c, user - 1))
            c->parts[c->count++] = user - 1;
    }
}

static void find_companions(chain *c) {
    for (uint32_t i = ROWS; i < c->count; i++) {
        if (i == FIRST) continue;
        const sinter_fusion_group *group = part_of(c, i);
        for (size_t n = 0; n < group->nodes.count; n++) {
            const sinter_node_info *info = sinter_node_get(c->f->module, group->nodes.items[n]);
            for (uint32_t r = 0; r < info->result_count; r++)
                if (info->results[r]) take_along(c, info->results[r]);
        }
    }
}

/* Rows give what is behind them the elements to multiply, and what there is one of for each row. */
static bool gives_rows_alone(const chain *c, uint32_t part) {
    const sinter_fusion_group *group = part_of(c, part);
    for (size_t i = 0; i < group->nodes.count; i++) {
        sinter_value value = result_of(c, group->nodes.items[i]);
        if (!value || value == c->x || !sinter_fuse_same_shape(c->f, value, c->x)) continue;
        const sinter_value_info *info = sinter_value_get(c->f->module, value);
        for (size_t u = 0; u < info->uses.count; u++) {
            uint32_t user = c->f->group_of[info->uses.items[u].node];
            if (user == 0 || !c->f->groups.items[user - 1].row) return false;
        }
    }
    return true;
}

/* Something of the parts before the second product's is in the value. */
static bool is_of_rows(const chain *c, sinter_value value) {
    uint32_t maker = maker_of(c, value);
    if (!maker || !is_part(c, maker)) return false;
    if (maker != c->parts[SECOND] + 1) return true;
    const sinter_node_info *info =
        sinter_node_get(c->f->module, sinter_value_definition(c->f->module, value));
    for (uint32_t i = 0; i < info->operand_count; i++)
        if (is_of_rows(c, info->operands[i])) return true;
    return false;
}

/* The second product has all that it reads but its rows before the first block: it wants all of that for each row. */
static bool reads_rows_as_rows(const chain *c) {
    const sinter_node_info *info = sinter_node_get(c->f->module, part_of(c, SECOND)->anchor);
    for (uint32_t i = 1; i < info->operand_count; i++)
        if (is_of_rows(c, info->operands[i])) return false;
    return true;
}

/* As many as a kernel keeps for a row. */
static bool has_few_reductions(const chain *c) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count; i++)
        for (size_t n = 0; n < part_of(c, i)->nodes.count; n++)
            count +=
                sinter_fuse_pattern(c->f, part_of(c, i)->nodes.items[n]) == SINTER_PATTERN_REDUCE;
    return count <= SINTER_RING_REDUCTIONS;
}

/* All of it is wanted here alone, and nothing of it by other rows. */
static bool is_closed(const chain *c) {
    uint32_t nodes = 0;
    if (!reads_rows_as_rows(c) || !has_few_reductions(c)) return false;
    for (uint32_t i = 0; i < c->count; i++) {
        nodes += (uint32_t)part_of(c, i)->nodes.count;
        bool is_row = part_of(c, i)->row != 0;
        if (i != SECOND && is_wanted_elsewhere(c, c->parts[i])) return false;
        if (is_row && !gives_rows_alone(c, i)) return false;
    }
    const sinter_fusion_group *first = part_of(c, FIRST);
    for (size_t i = 0; i < first->nodes.count; i++) {
        sinter_value value = result_of(c, first->nodes.items[i]);
        const sinter_value_info *info = value ? sinter_value_get(c->f->module, value) : NULL;
        for (size_t u = 0; info && u < info->uses.count; u++) {
            uint32_t user = c->f->group_of[info->uses.items[u].node];
            if (user != c->parts[FIRST] + 1 && !c->f->groups.items[user - 1].row) return false;
        }
    }
    return nodes <= SINTER_FUSE_LIMIT;
}

/* ---- where it pays ---- */

/* Of an element in scratch: narrow floats lie there as what is computed with. */
static int64_t scratch_bits(const chain *c, sinter_value value) {
    return sinter_dtype_infos[sinter_dtype_compute(type_of(c, value)->dtype)].bits;
}

/* The least that an element needs between the first product and the rows: of what follows it alone. */
static int64_t least_bits(const chain *c) {
    sinter_value value = result_of(c, part_of(c, FIRST)->anchor);
    int64_t least = scratch_bits(c, value);
    while (sinter_value_has_one_use(c->f->module, value)) {
        sinter_node user = sinter_value_get(c->f->module, value)->uses.items[0].node;
        if (!is_part(c, c->f->group_of[user]) ||
            sinter_fuse_pattern(c->f, user) != SINTER_PATTERN_ELEMENTWISE || value == c->x)
            break;
        value = result_of(c, user);
        if (!sinter_fuse_same_shape(c->f, value, c->x)) break;
        int64_t bits = scratch_bits(c, value);
        if (bits < least) least = bits;
    }
    return least;
}

/* Of a core's cache: matrices that take less stay there between the products, beside what is read with them. */
enum { CACHE_SHARE = 4 };

/* At most; very many where nobody knows. */
static double most_of(const chain *c, sinter_dim dim) {
    int64_t low = 0, high = 0;
    sinter_dim_range(sinter_module_dims(c->f->module), dim, &low, &high);
    return high > 0 ? (double)high : 0;
}

/* The matrices would take more of a core's cache, or may: of symbolic dims the largest size counts for rows and columns, since that is
 * where it matters, and one matrix for the others. */
static bool pays(const chain *c) {
    const sinter_dim_table *dims = sinter_module_dims(c->f->module);
    const sinter_type *type = type_of(c, c->x);
    int64_t rows = 0, columns = 0, size;
    if ((sinter_dim_is_const(dims, type->dims[type->rank - 2], &rows) && rows < SINTER_RING_STEP) ||
        (sinter_dim_is_const(dims, type->dims[type->rank - 1], &columns) && columns < 1))
        return false;
    int64_t bits = least_bits(c) + scratch_bits(c, c->x);
    double bytes = most_of(c, type->dims[type->rank - 2]) * most_of(c, type->dims[type->rank - 1]) *
                   (double)bits / 8;
    for (uint32_t i = 0; i + 2 < type->rank; i++)
        if (sinter_dim_is_const(dims, type->dims[i], &size)) bytes *= (double)size;
    bool model = bytes > (double)c->f->machine->l2_bytes / CACHE_SHARE;
    /* All of it is timed together, whatever kernels it is. */
    sinter_node nodes[SINTER_FUSE_LIMIT];
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->count; i++)
        for (size_t n = 0; n < part_of(c, i)->nodes.count && count < SINTER_FUSE_LIMIT; n++)
            nodes[count++] = part_of(c, i)->nodes.items[n];
    return sinter_fuse_comes_by_rows(c->f, nodes, count, model);
}

void sinter_fuse_products(sinter_fusion *f, uint32_t own) {
    chain c = {.f = f};
    const sinter_fusion_group *group = &f->groups.items[own];
    if (f->machine->has_device || group->closed || !group->anchor || !find_three(&c, own)) return;
    find_companions(&c);
    if (!is_closed(&c) || !pays(&c)) return;
    sinter_node anchor = part_of(&c, SECOND)->anchor;
    for (uint32_t i = ROWS; i < c.count; i++) sinter_fuse_merge(f, own, c.parts[i]);
    f->groups.items[own].anchor = anchor;
    f->groups.items[own].row = 0;
    f->groups.items[own].closed = true;
}
