/* See wgmma.h. Test: tests/codegen/loops/wgmma.loops, verify_wgmma.loops */
#include "codegen/loops/wgmma.h"
#include "codegen/loops/linear.h"

enum { LOOPS = 4, SUM_RANK = 7, GROUP_ROWS = SINTER_LOOP_SWIZZLE_ROWS };

typedef struct form {
    sinter_loop_scopes *scopes;
    const sinter_loop_mma_info *info;
    const sinter_loop_stmt *loops[LOOPS]; /* j, r, c, k */
    sinter_loop_mma_parts parts;
    sinter_loop_wgmma *out;
} form;

int64_t sinter_loop_wgmma_row(sinter_dtype dtype) {
    return SINTER_LOOP_SWIZZLE * 8 / sinter_dtype_infos[dtype].bits;
}

bool sinter_loop_wgmma_has_columns(const sinter_loop_mma_info *info, int64_t columns) {
    const bool whole =
        columns > 0 && columns % SINTER_MMA_COLUMNS == 0 && columns <= SINTER_WGMMA_MAX_COLUMNS;
    const int64_t pairs = 2 * SINTER_MMA_COLUMNS;
    return whole &&
           (sinter_dtype_is_float(info->sum) || columns <= 2 * pairs || columns % pairs == 0);
}

static sinter_loop_builder *builder_of(const form *f) {
    return &f->scopes->builder;
}

static sinter_expr number(const form *f, int64_t value) {
    return sinter_loop_int(builder_of(f), value);
}

static sinter_expr read(const form *f, sinter_loop_var var) {
    return sinter_loop_var_read(builder_of(f), var);
}

/* a * scale + c */
static sinter_expr place(sinter_loop_builder *b, sinter_expr a, int64_t scale, sinter_expr c) {
    return sinter_loop_add(b, sinter_loop_mul(b, a, sinter_loop_int(b, scale)), c);
}

sinter_expr sinter_loop_wgmma_left(sinter_loop_builder *b, sinter_expr warp, sinter_expr r,
                                   sinter_expr group) {
    return place(b, sinter_loop_rem(b, warp, sinter_loop_int(b, SINTER_WGMMA_WARPS)),
                 SINTER_MMA_ROWS, place(b, r, SINTER_MMA_GROUPS, group));
}

sinter_expr sinter_loop_wgmma_right(sinter_loop_builder *b, sinter_expr j, sinter_expr member,
                                    sinter_expr c, int64_t chunk, sinter_expr *out_chunk) {
    sinter_expr each = sinter_loop_int(b, chunk / SINTER_MMA_COLUMNS);
    *out_chunk = chunk ? sinter_loop_div(b, j, each) : sinter_loop_int(b, 0);
    if (chunk) j = sinter_loop_rem(b, j, each);
    return place(b, j, SINTER_MMA_COLUMNS, place(b, member, 2, c));
}

/* ---- loops and sums ---- */

static bool has_loops(form *f, const sinter_loop_stmt *loop) {
    const int64_t trips[LOOPS] = {0, 2, 2, f->info->depth};
    int64_t lower, count;
    for (int i = 0; i < LOOPS; i++, loop = loop->body) {
        f->loops[i] = loop;
        if (loop->step != 1 || !sinter_loop_is_const_int(loop->lower, &lower) || lower ||
            !sinter_loop_trip_count(loop, &count) || (i && count != trips[i]))
            return false;
        if (!i) f->out->columns = count * SINTER_MMA_COLUMNS;
    }
    return sinter_loop_wgmma_has_columns(f->info, f->out->columns);
}

static bool is_dim(const sinter_loop_buffer_info *info, uint32_t dim, int64_t wanted) {
    int64_t count;
    return sinter_loop_is_const_int(info->dims[dim], &count) && count == wanted;
}

static bool uses_loops(const form *f, sinter_expr expr) {
    for (int i = 0; i < LOOPS; i++)
        if (sinter_loop_expr_uses(expr, f->loops[i]->var)) return true;
    return false;
}

/* Registers of lanes: those of an instruction follow each other. */
static bool has_sums(form *f) {
    const sinter_loop_stmt *store = f->parts.store;
    const sinter_loop_buffer_info *info = &f->scopes->function->buffers.items[store->buffer];
    const sinter_expr *at = store->arguments;
    const int64_t dims[SUM_RANK] = {
        0, SINTER_MMA_GROUPS, SINTER_MMA_MEMBERS, 0, f->out->columns / SINTER_MMA_COLUMNS, 2, 2};
    if (info->scope != SINTER_SCOPE_REGISTER || info->rank != SUM_RANK) return false;
    for (uint32_t i = 0; i < SUM_RANK; i++)
        if (dims[i] && !is_dim(info, i, dims[i])) return false;
    for (uint32_t i = 0; i < 3; i++)
        if (at[i]->kind != SINTER_LOOP_VAR) return false;
    if (uses_loops(f, at[3])) return false;
    for (uint32_t i = 0; i < 3; i++)
        if (at[4 + i]->kind != SINTER_LOOP_VAR || at[4 + i]->var != f->loops[i]->var) return false;
    f->out->warp = at[0]->var;
    f->out->group = at[1]->var;
    f->out->member = at[2]->var;
    sinter_expr *first = SINTER_NEW_ARRAY(builder_of(f)->arena, sinter_expr, SUM_RANK);
    for (uint32_t i = 0; i < SUM_RANK; i++) first[i] = i < 4 ? at[i] : number(f, 0);
    f->out->first = first;
    return true;
}

/* ---- operands ---- */

/* All lanes of the warpgroup have the same value: which warpgroup it is is all that it knows of them. */
static bool is_uniform(const form *f, sinter_expr expr) {
    int64_t divisor;
    if (expr->kind == SINTER_LOOP_LOAD) return false;
    if (expr->kind == SINTER_LOOP_VAR)
        return expr->var != f->out->warp && expr->var != f->out->group &&
               expr->var != f->out->member && !uses_loops(f, expr);
    const bool numbers =
        expr->kind == SINTER_LOOP_CALL && expr->function == SINTER_SCALAR_div &&
        expr->arguments[0]->kind == SINTER_LOOP_VAR && expr->arguments[0]->var == f->out->warp &&
        sinter_loop_is_const_int(expr->arguments[1], &divisor) && divisor % SINTER_WGMMA_WARPS == 0;
    for (uint32_t i = 0; !numbers && i < expr->argument_count; i++)
        if (!is_uniform(f, expr->arguments[i])) return false;
    return true;
}

/* The index is `counted` and something that all lanes have alike, a multiple of a number: *out_start. */
static bool starts_at(const form *f, sinter_expr index, sinter_expr counted, int64_t multiple,
                      sinter_expr *out_start) {
    sinter_linear rest, other;
    if (!sinter_linear_of(sinter_loop_map_expr(&f->scopes->lets, index), &rest) ||
        !sinter_linear_of(counted, &other) || !sinter_linear_accumulate(&rest, &other, -1) ||
        rest.constant % multiple)
        return false;
    for (uint32_t i = 0; i < rest.count; i++) {
        if (rest.terms[i].coefficient % multiple) return false;
        for (uint32_t k = 0; k < rest.terms[i].count; k++)
            if (!is_uniform(f, rest.terms[i].factors[k])) return false;
    }
    *out_start = sinter_linear_build(builder_of(f)->arena, &rest);
    return true;
}

static sinter_expr counted_of(const form *f, bool left, int64_t chunk, sinter_expr *out_chunk) {
    *out_chunk = number(f, 0);
    if (left)
        return sinter_loop_wgmma_left(builder_of(f), read(f, f->out->warp),
                                      read(f, f->loops[1]->var), read(f, f->out->group));
    return sinter_loop_wgmma_right(builder_of(f), read(f, f->loops[0]->var),
                                   read(f, f->out->member), read(f, f->loops[2]->var), chunk,
                                   out_chunk);
}

/* The last dims are rows or columns, and the reduction; or chunks of the former, the reduction, and what is in a chunk. */
static bool has_operand(form *f, bool left, sinter_loop_wgmma_operand *out) {
    const sinter_expr load = left ? f->parts.left : f->parts.right;
    const sinter_loop_buffer_info *info = &f->scopes->function->buffers.items[load->buffer];
    const int64_t row = sinter_loop_wgmma_row(info->dtype);
    const uint32_t rank = info->rank;
    const sinter_expr k = read(f, f->loops[3]->var);
    int64_t steps;
    if (info->scope != SINTER_SCOPE_SHARED || info->swizzle != SINTER_LOOP_SWIZZLE || rank < 2 ||
        !is_dim(info, rank - 1, row) || !sinter_loop_is_const_int(info->dims[rank - 2], &steps))
        return false;
    sinter_expr *first = SINTER_NEW_ARRAY(builder_of(f)->arena, sinter_expr, rank), chunk;
    *out = (sinter_loop_wgmma_operand){.buffer = load->buffer, .first = first};
    sinter_expr counted = counted_of(f, left, 0, &chunk);
    const sinter_expr *at = load->arguments;
    uint32_t leading = rank - 2;
    bool fits = starts_at(f, at[rank - 1], k, f->info->depth, &first[rank - 1]) &&
                starts_at(f, at[rank - 2], counted, GROUP_ROWS, &first[rank - 2]);
    if (!fits && rank > 2 && f->info->packed == 2) {
        counted = counted_of(f, left, row, &chunk);
        leading = rank - 3;
        fits = starts_at(f, at[rank - 1], counted, row, &first[rank - 1]) &&
               starts_at(f, at[rank - 2], k, GROUP_ROWS, &first[rank - 2]) &&
               starts_at(f, at[rank - 3], chunk, 1, &first[rank - 3]);
        out->across = true;
        out->chunk = steps * row;
    }
    for (uint32_t i = 0; fits && i < leading; i++)
        fits = starts_at(f, at[i], number(f, 0), 1, &first[i]);
    return fits;
}

const char *sinter_loop_check_wgmma(sinter_loop_scopes *scopes, const sinter_loop_stmt *loop,
                                    bool is_legal, sinter_loop_wgmma *out) {
    *out = (sinter_loop_wgmma){0};
    form f = {.scopes = scopes, .out = out};
    if (!sinter_loop_find_products(loop, LOOPS, SUM_RANK, &f.parts))
        return "it is no nest of four loops around one sum";
    if (loop->mma <= SINTER_MMA_NONE || loop->mma >= SINTER_MMA_COUNT ||
        !sinter_loop_mma_infos[loop->mma].warpgroup)
        return "there is no such instruction of a warpgroup";
    f.info = &sinter_loop_mma_infos[loop->mma];
    out->store = f.parts.store;
    if (!has_loops(&f, loop))
        return "its loops do not run to the instruction's columns, 2, 2 and its depth";
    if (!has_sums(&f))
        return "its sums are no registers of a warpgroup's lanes, one after the other";
    if (!is_legal && !sinter_loop_is_sum_of_products(f.info, &f.parts))
        return "it is no sum of products of the instruction's types";
    if (!has_operand(&f, true, &out->left) || !has_operand(&f, false, &out->right))
        return "its operands are not in rows of 128 bytes of swizzled shared memory, as the "
               "instruction reads them";
    return NULL;
}
