/* See mma.h. Test: tests/codegen/loops/mma.loops, verify_mma.loops */
#include "codegen/loops/mma.h"
#include "codegen/loops/linear.h"

enum { PAD_BYTES = 16, SUM_RANK = 7, OPERAND_RANK = 6 };

const sinter_loop_mma_info sinter_loop_mma_infos[] = {
    {0},
#define MMA(name, left, right, sum, packed, architecture, warpgroup, factor)                       \
 {#name,     SINTER_DTYPE_##left,   SINTER_DTYPE_##right,     SINTER_DTYPE_##sum,                  \
  packed,    8 * (packed),          PAD_BYTES * (packed) / 4, architecture,                        \
  warpgroup, SINTER_SCALAR_##factor},
#include "codegen/loops/mma.def"
#undef MMA
};

sinter_expr sinter_loop_mma_factor(sinter_loop_builder *b, const sinter_loop_mma_info *info,
                                   sinter_expr element) {
    return info->factor ? sinter_loop_call(b, info->factor, &element)
                        : sinter_loop_cast(b, element, info->sum);
}

sinter_expr sinter_loop_mma_element(const sinter_loop_mma_info *info, sinter_dtype dtype,
                                    sinter_expr factor) {
    const bool is_made = info->factor
                             ? factor->kind == SINTER_LOOP_CALL && factor->function == info->factor
                             : factor->kind == SINTER_LOOP_CAST;
    return is_made && factor->dtype == info->sum && factor->arguments[0]->dtype == dtype
               ? factor->arguments[0]
               : NULL;
}

sinter_loop_mma_indices sinter_loop_mma_index(sinter_loop_builder *b,
                                              const sinter_loop_mma_info *info, sinter_expr r,
                                              sinter_expr c, sinter_expr k, sinter_expr member) {
    sinter_expr packed = sinter_loop_int(b, info->packed), two = sinter_loop_int(b, 2),
                half = sinter_loop_int(b, SINTER_MMA_MEMBERS * info->packed);
    sinter_expr upper = sinter_loop_div(b, k, half);
    return (sinter_loop_mma_indices){
        .member = sinter_loop_div(b, sinter_loop_rem(b, k, half), packed),
        .left_register = sinter_loop_add(b, r, sinter_loop_mul(b, upper, two)),
        .right_group = sinter_loop_add(b, sinter_loop_mul(b, member, two), c),
        .right_register = upper,
        .element = sinter_loop_rem(b, k, packed)};
}

/* ---- recognition ---- */

static const sinter_loop_stmt *only_inner(const sinter_loop_stmt *loop) {
    const sinter_loop_stmt *inner = loop->body;
    return inner && !inner->next ? inner : NULL;
}

typedef struct load_list {
    sinter_loop_buffer sum;
    sinter_expr items[2];
    uint32_t count;
} load_list;

static void list_load(void *user, sinter_expr expr) {
    load_list *list = user;
    if (expr->kind != SINTER_LOOP_LOAD || expr->buffer == list->sum) return;
    for (uint32_t i = 0; i < list->count && i < 2; i++)
        if (list->items[i]->buffer == expr->buffer) return;
    if (list->count < 2) list->items[list->count] = expr;
    list->count++;
}

bool sinter_loop_find_products(const sinter_loop_stmt *loop, int depth, uint32_t rank,
                               sinter_loop_mma_parts *out) {
    const sinter_loop_stmt *stmt = loop;
    for (; depth; depth--) {
        if (!stmt || stmt->kind != SINTER_LOOP_FOR) return false;
        stmt = only_inner(stmt);
    }
    if (!stmt || stmt->kind != SINTER_LOOP_STORE || stmt->argument_count != rank) return false;
    load_list list = {.sum = stmt->buffer};
    sinter_loop_walk_expr(stmt->value, list_load, &list);
    if (list.count != 2) return false;
    *out = (sinter_loop_mma_parts){stmt, list.items[0], list.items[1]};
    return true;
}

bool sinter_loop_find_mma(const sinter_loop_stmt *loop, sinter_loop_mma_parts *out) {
    return sinter_loop_find_products(loop, 3, SUM_RANK, out) &&
           out->left->argument_count == OPERAND_RANK && out->right->argument_count == OPERAND_RANK;
}

/* ---- the very form ---- */

typedef struct form {
    sinter_loop_builder builder;
    const sinter_loop_function *function;
    const sinter_loop_mma_info *info;
    const sinter_loop_stmt *loops[3]; /* r, c, k */
    sinter_loop_mma_parts parts;
} form;

static bool is_same(sinter_expr a, sinter_expr b) {
    sinter_linear sum, other;
    return sinter_linear_of(a, &sum) && sinter_linear_of(b, &other) &&
           sinter_linear_accumulate(&sum, &other, -1) && !sum.count && !sum.constant;
}

static bool runs_to(const sinter_loop_stmt *loop, int64_t count) {
    int64_t lower, trips;
    return loop->step == 1 && sinter_loop_is_const_int(loop->lower, &lower) && lower == 0 &&
           sinter_loop_trip_count(loop, &trips) && trips == count;
}

/* What tells matrices of a thread apart is the same in all of the nest. */
static bool is_fixed(const form *f, sinter_expr expr) {
    for (int i = 0; i < 3; i++)
        if (sinter_loop_expr_uses(expr, f->loops[i]->var)) return false;
    return !sinter_loop_expr_loads(expr, 0);
}

/* Registers, whose dims are these where they are not 0. */
static bool has_dims(const form *f, sinter_loop_buffer buffer, const int64_t *dims, uint32_t rank) {
    const sinter_loop_buffer_info *info = &f->function->buffers.items[buffer];
    int64_t dim;
    if (info->scope != SINTER_SCOPE_REGISTER || info->rank != rank) return false;
    for (uint32_t i = 0; i < rank; i++)
        if (dims[i] && (!sinter_loop_is_const_int(info->dims[i], &dim) || dim != dims[i]))
            return false;
    return true;
}

bool sinter_loop_is_sum_of_products(const sinter_loop_mma_info *info,
                                    const sinter_loop_mma_parts *parts) {
    const sinter_loop_stmt *store = parts->store;
    sinter_expr value = store->value;
    if (store->combine != SINTER_SCALAR_NONE || value->kind != SINTER_LOOP_CALL ||
        value->function != SINTER_SCALAR_add)
        return false;
    sinter_expr sum = value->arguments[0], product = value->arguments[1];
    if (sum->kind != SINTER_LOOP_LOAD || sum->buffer != store->buffer || sum->dtype != info->sum ||
        product->kind != SINTER_LOOP_CALL || product->function != SINTER_SCALAR_mul)
        return false;
    for (uint32_t i = 0; i < store->argument_count; i++)
        if (!is_same(sum->arguments[i], store->arguments[i])) return false;
    const sinter_dtype dtypes[2] = {info->left, info->right};
    const sinter_expr loads[2] = {parts->left, parts->right};
    for (uint32_t i = 0; i < 2; i++)
        if (sinter_loop_mma_element(info, dtypes[i], product->arguments[i]) != loads[i])
            return false;
    return true;
}

static bool has_indices(form *f) {
    const sinter_expr *sum = f->parts.store->arguments, *left = f->parts.left->arguments,
                      *right = f->parts.right->arguments;
    sinter_loop_builder *b = &f->builder;
    sinter_expr r = sinter_loop_var_read(b, f->loops[0]->var),
                c = sinter_loop_var_read(b, f->loops[1]->var),
                k = sinter_loop_var_read(b, f->loops[2]->var);
    sinter_loop_mma_indices at = sinter_loop_mma_index(b, f->info, r, c, k, sum[2]);
    return is_fixed(f, sum[0]) && is_fixed(f, sum[3]) && is_fixed(f, sum[4]) &&
           is_fixed(f, left[3]) && is_fixed(f, right[3]) && is_same(sum[5], r) &&
           is_same(sum[6], c) && is_same(left[0], sum[0]) && is_same(left[1], sum[1]) &&
           is_same(left[2], at.member) && is_same(left[4], at.left_register) &&
           is_same(left[5], at.element) && is_same(right[0], sum[0]) &&
           is_same(right[1], at.right_group) && is_same(right[2], at.member) &&
           is_same(right[4], at.right_register) && is_same(right[5], at.element);
}

const char *sinter_loop_check_mma(sinter_loop_program *program, sinter_loop_function *function,
                                  const sinter_loop_stmt *loop, sinter_loop_var *out_group,
                                  sinter_loop_var *out_member) {
    form f = {.function = function, .info = &sinter_loop_mma_infos[loop->mma]};
    sinter_loop_builder_init(&f.builder, program, function);
    if (loop->mma <= SINTER_MMA_NONE || loop->mma >= SINTER_MMA_COUNT ||
        !sinter_loop_find_mma(loop, &f.parts))
        return "it is no nest of three loops around one sum";
    f.loops[0] = loop;
    f.loops[1] = loop->body;
    f.loops[2] = loop->body->body;
    if (!runs_to(loop, 2) || !runs_to(f.loops[1], 2) || !runs_to(f.loops[2], f.info->depth))
        return "its loops do not run to 2, 2 and the depth of the instruction";
    const int64_t sum_dims[SUM_RANK] = {0, SINTER_MMA_GROUPS, SINTER_MMA_MEMBERS, 0, 0, 2, 2};
    const int64_t left_dims[OPERAND_RANK] = {0, SINTER_MMA_GROUPS,         SINTER_MMA_MEMBERS,
                                             0, SINTER_MMA_LEFT_REGISTERS, f.info->packed};
    const int64_t right_dims[OPERAND_RANK] = {0, SINTER_MMA_GROUPS,          SINTER_MMA_MEMBERS,
                                              0, SINTER_MMA_RIGHT_REGISTERS, f.info->packed};
    if (!has_dims(&f, f.parts.store->buffer, sum_dims, SUM_RANK) ||
        !has_dims(&f, f.parts.left->buffer, left_dims, OPERAND_RANK) ||
        !has_dims(&f, f.parts.right->buffer, right_dims, OPERAND_RANK))
        return "its buffers are no registers of the instruction's matrices";
    if (!sinter_loop_is_sum_of_products(f.info, &f.parts))
        return "it is no sum of products of the instruction's types";
    const sinter_expr *at = f.parts.store->arguments;
    if (at[1]->kind != SINTER_LOOP_VAR || at[2]->kind != SINTER_LOOP_VAR || !has_indices(&f))
        return "its indices are not those of the instruction's registers";
    *out_group = at[1]->var;
    *out_member = at[2]->var;
    return NULL;
}
