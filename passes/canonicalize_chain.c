/* Rule of canonicalize: a chain of reshapes and transposes with two transposes or more is one reshape, one transpose and one
 * reshape at most. The dims are cut into factors that no step of the chain cuts further; what the chain does is an
 * order of the factors. Test: tests/passes/canonicalize/chain.sir */
#include "passes/canonicalize.h"

enum { MAX_CHAIN = 12, MAX_FACTORS = 32 };

/* The tensor as a sequence of factors, in the order of its elements; each factor is known by its place in `sizes`. */
typedef struct factors {
    sinter_dim_table *table;
    sinter_dim sizes[MAX_FACTORS];
    uint32_t source[MAX_FACTORS]; /* factors in the order of the chain's source */
    uint32_t order[MAX_FACTORS];  /* ... and of the tensor reached so far */
    uint32_t count;
    uint32_t first[SINTER_MAX_RANK +
                   1]; /* by axis of the tensor reached: its first place in order; then the end */
    uint32_t rank;
} factors;

static void insert_after(uint32_t *items, uint32_t count, uint32_t wanted, uint32_t added) {
    uint32_t at = 0;
    while (items[at] != wanted) at++;
    for (uint32_t i = count; i > at + 1; i--) items[i] = items[i - 1];
    items[at + 1] = added;
}

/* The factor at a place of the order becomes two, the first of that size. */
static bool cut(factors *f, uint32_t place, sinter_dim size, sinter_dim rest) {
    uint32_t id = f->order[place], added = f->count;
    if (f->count == MAX_FACTORS) return false;
    f->sizes[id] = size;
    f->sizes[added] = rest;
    insert_after(f->source, f->count, id, added);
    insert_after(f->order, f->count, id, added);
    f->count++;
    return true;
}

static void begin(factors *f, sinter_dim_table *table, const sinter_type *type) {
    *f = (factors){.table = table, .rank = type->rank};
    for (uint32_t i = 0; i < type->rank; i++) {
        f->first[i] = f->count;
        if (sinter_dim_is(table, type->dims[i], 1)) continue;
        f->sizes[f->count] = type->dims[i];
        f->source[f->count] = f->order[f->count] = f->count;
        f->count++;
    }
    f->first[type->rank] = f->count;
}

static void apply_transpose(factors *f, const int64_t *perm) {
    factors old = *f;
    uint32_t at = 0;
    for (uint32_t i = 0; i < f->rank; i++) {
        f->first[i] = at;
        for (uint32_t k = old.first[perm[i]]; k < old.first[perm[i] + 1]; k++)
            f->order[at++] = old.order[k];
    }
    f->first[f->rank] = at;
}

/* False where a dim is not a product of factors or a part of one. */
static bool apply_reshape(factors *f, const sinter_type *type) {
    uint32_t at = 0;
    f->rank = type->rank;
    for (uint32_t i = 0; i < type->rank; i++) {
        sinter_dim wanted = type->dims[i];
        f->first[i] = at;
        while (!sinter_dim_is(f->table, wanted, 1)) {
            if (at == f->count) return false;
            sinter_dim size = f->sizes[f->order[at]], quotient = 0;
            if (size == wanted) {
                wanted = sinter_dim_const(f->table, 1);
            } else if ((quotient = sinter_dim_divide_exact(f->table, wanted, size)) != 0) {
                wanted = quotient;
            } else if ((quotient = sinter_dim_divide_exact(f->table, size, wanted)) != 0) {
                if (!cut(f, at, wanted, quotient)) return false;
                wanted = sinter_dim_const(f->table, 1);
            } else {
                return false;
            }
            at++;
        }
    }
    f->first[type->rank] = at;
    return at == f->count;
}

static bool has_empty_dim(const sinter_dim_table *table, const sinter_type *type) {
    int64_t size = 0;
    for (uint32_t i = 0; i < type->rank; i++)
        if (sinter_dim_is_const(table, type->dims[i], &size) && size < 1) return true;
    return false;
}

/* The factors after nodes[count - 1], ..., nodes[0], which work on source. */
static bool follow(sinter_module *module, sinter_value source, const sinter_node *nodes,
                   size_t count, factors *f) {
    sinter_dim_table *table = sinter_module_dims(module);
    const sinter_type *type = sinter_value_type(module, source);
    if (has_empty_dim(table, type)) return false;
    begin(f, table, type);
    for (size_t i = count; i-- > 0;) {
        type = sinter_value_type(module, sinter_node_result(module, nodes[i], 0));
        if (sinter_node_get(module, nodes[i])->op == SINTER_OP_transpose) {
            int64_t perm[SINTER_MAX_RANK];
            sinter_canonicalize_perm(module, nodes[i], type->rank, perm);
            apply_transpose(f, perm);
        } else if (has_empty_dim(table, type) || !apply_reshape(f, type)) {
            return false;
        }
    }
    return true;
}

/* Factors that stay neighbours become one; the dims to reshape to and the order to bring them into. */
static uint32_t join_neighbours(const factors *f, sinter_dim *out_dims, int64_t *out_perm) {
    uint32_t place[MAX_FACTORS], joined[MAX_FACTORS], count = 0, used = 0;
    for (uint32_t i = 0; i < f->count; i++) place[f->order[i]] = i;
    for (uint32_t i = 0; i < f->count; i++) {
        uint32_t id = f->source[i];
        bool follows = i > 0 && place[id] == place[f->source[i - 1]] + 1;
        if (follows) {
            out_dims[count - 1] = sinter_dim_mul(f->table, out_dims[count - 1], f->sizes[id]);
            joined[id] = UINT32_MAX;
        } else {
            out_dims[count] = f->sizes[id];
            joined[id] = count++;
        }
    }
    for (uint32_t i = 0; i < f->count; i++)
        if (joined[f->order[i]] != UINT32_MAX) out_perm[used++] = joined[f->order[i]];
    return count;
}

static sinter_value reshape_to(sinter_rewrite *rewrite, sinter_value x, const sinter_dim *dims,
                               uint32_t count) {
    sinter_value operands[2] = {x, sinter_build_dims(&rewrite->build, dims, count)};
    sinter_attr allow_zero = sinter_attr_int("allowzero", 1);
    return operands[1]
               ? sinter_build(&rewrite->build, SINTER_OP_reshape, operands, 2, &allow_zero, 1)
               : 0;
}

static bool replace_chain(sinter_rewrite *rewrite, sinter_node node, sinter_value source,
                          const factors *f) {
    sinter_module *module = rewrite->build.module;
    sinter_type type = *sinter_value_type(module, sinter_node_result(module, node, 0));
    sinter_dim dims[MAX_FACTORS];
    int64_t perm[MAX_FACTORS];
    uint32_t count = join_neighbours(f, dims, perm);
    if (count > SINTER_MAX_RANK) return false;
    sinter_value value = source;
    if (count > 1) {
        value = reshape_to(rewrite, value, dims, count);
        if (value) value = sinter_build_transpose(&rewrite->build, value, perm, count);
    }
    if (value) value = reshape_to(rewrite, value, type.dims, type.rank);
    return sinter_canonicalize_replace(rewrite, node, value);
}

/* From the longest chain down to two transposes. */
bool sinter_canonicalize_chain(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_node nodes[MAX_CHAIN] = {0};
    size_t count = 0, transposes[MAX_CHAIN + 1] = {0};
    for (sinter_node at = node; at && count < MAX_CHAIN;) {
        sinter_op op = sinter_node_get(module, at)->op;
        if (op != SINTER_OP_transpose && op != SINTER_OP_reshape) break;
        nodes[count++] = at;
        transposes[count] = transposes[count - 1] + (op == SINTER_OP_transpose);
        at = sinter_value_get(module, sinter_node_operand(module, at, 0))->definition;
    }
    for (; count > 2 && transposes[count] >= 2; count--) {
        factors f;
        if (sinter_node_get(module, nodes[count - 1])->op != SINTER_OP_transpose) continue;
        sinter_value source = sinter_node_operand(module, nodes[count - 1], 0);
        if (follow(module, source, nodes, count, &f))
            return replace_chain(rewrite, node, source, &f);
    }
    return false;
}
