/* Inference of matrix products, plain and quantized, and of einsum. Test: tests/ir/infer_contract.sir */
#include "ir/infer_rules.h"

#include <string.h>

/* NumPy matmul of operands a and b: vectors lose their axis, batch dims broadcast. */
static bool set_product(sinter_infer *infer, uint32_t a, uint32_t b, sinter_dtype dtype) {
    const sinter_type *left = sinter_infer_operand(infer, a),
                      *right = sinter_infer_operand(infer, b);
    if (!sinter_infer_check_rank(infer, a, 1, SINTER_MAX_RANK) ||
        !sinter_infer_check_rank(infer, b, 1, SINTER_MAX_RANK))
        return false;
    sinter_dim k_left = left->dims[left->rank - 1],
               k_right = right->dims[right->rank > 1 ? right->rank - 2 : 0];
    sinter_dim inner, dims[SINTER_MAX_RANK];
    if (!sinter_infer_unify_dim(infer, k_left, k_right, &inner))
        return sinter_infer_error(
            infer, "inner dimensions differ (k = %s and %s): %s and %s [matmul_c1]",
            sinter_infer_dim_text(infer, k_left), sinter_infer_dim_text(infer, k_right),
            sinter_infer_text(infer, a), sinter_infer_text(infer, b));
    uint32_t rank = left->rank > 2 ? left->rank - 2 : 0;
    memcpy(dims, left->dims, rank * sizeof *dims);
    if (!sinter_infer_broadcast_into(infer, dims, &rank, right->dims,
                                     right->rank > 2 ? right->rank - 2 : 0))
        return sinter_infer_error(infer, "batch dims do not broadcast: %s and %s [matmul_c2]",
                                  sinter_infer_text(infer, a), sinter_infer_text(infer, b));
    if (left->rank > 1) dims[rank++] = left->dims[left->rank - 2];
    if (right->rank > 1) dims[rank++] = right->dims[right->rank - 1];
    sinter_infer_set(infer, 0, dtype, rank, dims);
    return true;
}

bool infer_matmul(sinter_infer *infer) {
    return sinter_infer_check_same_dtype(infer, 0, 1) &&
           set_product(infer, 0, 1, sinter_infer_operand(infer, 0)->dtype);
}

/* A scale or zero point of a matrix operand: one for all, a vector of one a row (of b: a column), or of the operand's rank
 * with 1 in place of the axis that is summed over. */
static bool check_parameter(sinter_infer *infer, uint32_t index, uint32_t matrix, bool rows) {
    const sinter_type *type = sinter_infer_operand(infer, index),
                      *x = sinter_infer_operand(infer, matrix);
    size_t count;
    if (!type->kind || (type->rank <= 1 && sinter_infer_count(infer, index, &count) && count == 1))
        return true;
    bool ok = x->rank > 1 && (type->rank == 1 || type->rank == x->rank);
    uint32_t kept = rows ? x->rank - 2 : x->rank - 1;
    for (uint32_t i = 0; ok && i < type->rank; i++) {
        sinter_dim wanted = type->rank == 1 || i == kept ? x->dims[kept]
                            : i + 2 < x->rank            ? x->dims[i]
                                                         : sinter_infer_number(infer, 1);
        ok = sinter_infer_broadcast_dim_to(infer, type->dims[i], wanted);
    }
    return ok ||
           sinter_infer_error(infer, "%s fits neither all of %s nor each %s of it [matmul_c3]",
                              sinter_infer_text(infer, index), sinter_infer_text(infer, matrix),
                              rows ? "row" : "column");
}

bool infer_matmul_integer(sinter_infer *infer) {
    sinter_dtype to = sinter_node_get_dtype(infer->module, infer->node, "to");
    if (to != SINTER_DTYPE_i32 && to != SINTER_DTYPE_i64)
        return sinter_infer_error(infer, "sums are i32 or i64, not %s [matmul_c4]",
                                  sinter_dtype_infos[to].name);
    return sinter_infer_check_same_dtype(infer, 0, 2) &&
           sinter_infer_check_same_dtype(infer, 1, 3) && set_product(infer, 0, 1, to) &&
           check_parameter(infer, 2, 0, true) && check_parameter(infer, 3, 1, false);
}

bool infer_qlinear_matmul(sinter_infer *infer) {
    for (uint32_t i = 1; i < 8; i++) {
        bool fits = i == 3  ? true
                    : i < 6 ? check_parameter(infer, i, i < 3 ? 0 : 3, i < 3)
                            : sinter_infer_check_scalar(infer, i);
        if (!fits) return false;
    }
    return sinter_infer_check_same_dtype(infer, 0, 2) &&
           sinter_infer_check_same_dtype(infer, 3, 5) && sinter_infer_check_integer(infer, 7) &&
           set_product(infer, 0, 3, sinter_infer_operand(infer, 7)->dtype);
}

bool infer_gemm(sinter_infer *infer) {
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_infer_check_rank(infer, i, i < 2 ? 2 : 0, 2) ||
            !sinter_infer_check_same_dtype(infer, 0, i))
            return false;
    const sinter_type *a = sinter_infer_operand(infer, 0), *b = sinter_infer_operand(infer, 1);
    const sinter_type *c = sinter_infer_operand(infer, 2);
    bool a_turned = sinter_node_get_int(infer->module, infer->node, "transA", 0) != 0;
    bool b_turned = sinter_node_get_int(infer->module, infer->node, "transB", 0) != 0;
    sinter_dim dims[2] = {a->dims[a_turned], b->dims[!b_turned]}, inner;
    if (!sinter_infer_unify_dim(infer, a->dims[!a_turned], b->dims[b_turned], &inner))
        return sinter_infer_error(
            infer, "inner dimensions differ (k = %s and %s): %s%s and %s%s [gemm_c1]",
            sinter_infer_dim_text(infer, a->dims[!a_turned]),
            sinter_infer_dim_text(infer, b->dims[b_turned]), sinter_infer_text(infer, 0),
            a_turned ? " transposed" : "", sinter_infer_text(infer, 1),
            b_turned ? " transposed" : "");
    for (uint32_t i = 0; i < c->rank; i++) {
        if (!sinter_infer_broadcast_dim_to(infer, c->dims[c->rank - 1 - i], dims[1 - i]))
            return sinter_infer_error(infer,
                                      "%s does not broadcast to the product of %s and %s [gemm_c2]",
                                      sinter_infer_text(infer, 2), sinter_infer_text(infer, 0),
                                      sinter_infer_text(infer, 1));
    }
    sinter_infer_set(infer, 0, a->dtype, 2, dims);
    return true;
}

/* ---- einsum ---- */

/* What a letter stands for; the dims of the ellipsis are kept apart. */
typedef struct einsum_state {
    sinter_infer *infer;
    const char *text; /* the equation without spaces */
    sinter_dim letters[128];
    uint32_t uses[128];
    sinter_dim ellipsis[SINTER_MAX_RANK];
    uint32_t ellipsis_rank;
} einsum_state;

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool einsum_error(einsum_state *state, const char *what) {
    return sinter_infer_error(state->infer, "equation '%s': %s [einsum_c1]", state->text, what);
}

static bool bind_letter(einsum_state *state, char letter, sinter_dim dim) {
    sinter_dim *slot = &state->letters[(unsigned char)letter];
    state->uses[(unsigned char)letter]++;
    if (!*slot) {
        *slot = dim;
        return true;
    }
    sinter_dim joined;
    if (!sinter_infer_broadcast_dim(state->infer, *slot, dim, &joined))
        return sinter_infer_error(state->infer, "equation '%s': '%c' is both %s and %s [einsum_c2]",
                                  state->text, letter, sinter_infer_dim_text(state->infer, *slot),
                                  sinter_infer_dim_text(state->infer, dim));
    *slot = joined;
    return true;
}

/* One term, "b...ij", against one operand. Returns where the term ends, NULL after an error. */
static const char *bind_term(einsum_state *state, const char *term, uint32_t operand) {
    const sinter_type *type = sinter_infer_operand(state->infer, operand);
    uint32_t letters = 0, axis = 0;
    const char *end = term;
    bool dots = false;
    for (; *end && *end != ',' && *end != '-'; end++) {
        if (strncmp(end, "...", 3) == 0 && !dots)
            dots = true, end += 2;
        else if (is_letter(*end))
            letters++;
        else
            return einsum_error(state, "expected letters, one '...', ',' or '->'"), NULL;
    }
    if (letters > type->rank || (!dots && letters != type->rank)) {
        sinter_infer_error(state->infer, "equation '%s': term %u does not fit %s [einsum_c3]",
                           state->text, operand, sinter_infer_text(state->infer, operand));
        return NULL;
    }
    for (; term < end; term++) {
        if (*term != '.') {
            if (!bind_letter(state, *term, type->dims[axis++])) return NULL;
            continue;
        }
        uint32_t covered = type->rank - letters;
        if (!sinter_infer_broadcast_into(state->infer, state->ellipsis, &state->ellipsis_rank,
                                         type->dims + axis, covered))
            return einsum_error(state, "the dims under '...' do not broadcast"), NULL;
        axis += covered;
        term += 2;
    }
    return end;
}

static bool add_output(einsum_state *state, sinter_dim *dims, uint32_t *rank, char letter) {
    if (!state->letters[(unsigned char)letter])
        return einsum_error(state, "an output letter names no input axis");
    if (!sinter_infer_check_result_rank(state->infer, *rank + UINT64_C(1))) return false;
    dims[(*rank)++] = state->letters[(unsigned char)letter];
    return true;
}

static bool add_ellipsis(einsum_state *state, sinter_dim *dims, uint32_t *rank) {
    if (!sinter_infer_check_result_rank(state->infer, (uint64_t)*rank + state->ellipsis_rank))
        return false;
    memcpy(dims + *rank, state->ellipsis, state->ellipsis_rank * sizeof *dims);
    *rank += state->ellipsis_rank;
    return true;
}

static bool set_einsum_output(einsum_state *state, const char *arrow, sinter_dtype dtype) {
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t rank = 0;
    if (!*arrow) { /* implicit: the ellipsis, then the letters used once, sorted */
        if (!add_ellipsis(state, dims, &rank)) return false;
        for (int c = 'A'; c <= 'z'; c++)
            if (state->uses[c] == 1 && !add_output(state, dims, &rank, (char)c)) return false;
    } else {
        if (strncmp(arrow, "->", 2) != 0) return einsum_error(state, "expected '->'");
        for (const char *c = arrow + 2; *c; c++) {
            bool dots = strncmp(c, "...", 3) == 0;
            if (!dots && !is_letter(*c))
                return einsum_error(state, "expected letters or '...' after '->'");
            if (dots ? !add_ellipsis(state, dims, &rank) : !add_output(state, dims, &rank, *c))
                return false;
            c += dots ? 2 : 0;
        }
    }
    sinter_infer_set(state->infer, 0, dtype, rank, dims);
    return true;
}

bool infer_einsum(sinter_infer *infer) {
    sinter_string equation = sinter_node_get_string(infer->module, infer->node, "equation");
    char *text = SINTER_NEW_ARRAY(infer->arena, char, equation.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < equation.size; i++)
        if (equation.data[i] != ' ') text[size++] = equation.data[i];
    einsum_state *state = SINTER_NEW(infer->arena, einsum_state);
    state->infer = infer;
    state->text = text;
    const char *cursor = text;
    if (infer->info->operand_count == 0) return einsum_error(state, "there are no operands");
    for (uint32_t i = 0; i < infer->info->operand_count; i++) {
        if (!sinter_infer_has(infer, i)) return einsum_error(state, "an operand is absent");
        if (!sinter_infer_check_same_dtype(infer, 0, i)) return false;
        if (i > 0 && *cursor++ != ',')
            return einsum_error(state, "there are more operands than terms");
        cursor = bind_term(state, cursor, i);
        if (!cursor) return false;
    }
    if (*cursor == ',') return einsum_error(state, "there are more terms than operands");
    return set_einsum_output(state, cursor, sinter_infer_operand(infer, 0)->dtype);
}
