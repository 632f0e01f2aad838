/* How one warp of a block has the operands of a contraction copied, box by box, by an instruction that finds them by itself (codegen/loops/box.h): an
 * operand that is an input whose element is a sum of strides by the row (or column), the step of the reduction and what numbers the products. Each of
 * these is a dim of the tensor as which the input is seen, so that what a tile has beyond the last row or step is outside of it, and 0.
 * Part of the verb of block_tile.c. Test: tests/codegen/schedule/block_boxes.loops */
#include "codegen/loops/linear.h"
#include "codegen/schedule/block_tile.h"

/* What a term of the element's place in the input counts. */
typedef struct dim {
    sinter_expr factor, stride, extent;
} dim;

static int64_t bytes_of(const sinter_block_operand *o) {
    return sinter_dtype_infos[o->value->dtype].bits / 8;
}

/* The place of the operand's element in its input, in the order of memory. */
static sinter_expr place_of(sinter_block_tiling *t, const sinter_block_operand *o) {
    sinter_loop_builder *b = t->builder;
    const sinter_loop_buffer_info *info = &b->function->buffers.items[o->value->buffer];
    sinter_expr place = sinter_block_int(t, 0);
    for (uint32_t i = 0; i < info->rank; i++)
        place =
            sinter_loop_add(b, sinter_loop_mul(b, place, info->dims[i]), o->value->arguments[i]);
    return place;
}

/* One factor counts, parameters and the coefficient are its stride. */
static bool split_term(sinter_block_tiling *t, const sinter_linear_term *term, dim *out) {
    sinter_loop_builder *b = t->builder;
    *out = (dim){.stride = sinter_block_int(t, term->coefficient)};
    if (term->coefficient < 0) return false;
    for (uint32_t i = 0; i < term->count; i++) {
        sinter_expr factor = term->factors[i];
        if (sinter_loop_expr_over_parameters(b->function, factor))
            out->stride = sinter_loop_mul(b, out->stride, factor);
        else if (out->factor)
            return false;
        else
            out->factor = factor;
    }
    return true;
}

/* How many values it has, from 0 on: those of a loop, or of the quotient or remainder of one. NULL: that is not known. */
static sinter_expr extent_of(sinter_block_tiling *t, sinter_expr factor) {
    sinter_loop_builder *b = t->builder;
    int64_t lower, divisor;
    if (factor->kind == SINTER_LOOP_VAR) {
        const sinter_loop_stmt *loop = sinter_schedule_get_loop(t->schedule->function, factor->var);
        const bool counts = loop && loop->step == 1 &&
                            sinter_loop_is_const_int(loop->lower, &lower) && !lower &&
                            sinter_loop_expr_over_parameters(b->function, loop->upper);
        return counts ? loop->upper : NULL;
    }
    if (factor->kind != SINTER_LOOP_CALL || factor->argument_count != 2 ||
        !sinter_loop_is_const_int(factor->arguments[1], &divisor) || divisor < 1)
        return NULL;
    sinter_expr extent = extent_of(t, factor->arguments[0]);
    if (!extent || factor->function == SINTER_SCALAR_rem)
        return extent ? factor->arguments[1] : NULL;
    return factor->function == SINTER_SCALAR_div
               ? sinter_loop_div(b, sinter_loop_add(b, extent, sinter_block_int(t, divisor - 1)),
                                 factor->arguments[1])
               : NULL;
}

static bool is_one(sinter_expr expr) {
    int64_t number;
    return sinter_loop_is_const_int(expr, &number) && number == 1;
}

static bool is_multiple(sinter_block_tiling *t, sinter_expr expr, int64_t number) {
    sinter_arena scratch;
    sinter_loop_scopes scopes;
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, t->schedule->program, t->schedule->function, &scratch);
    const bool whole = sinter_loop_is_multiple(&scopes, expr, number);
    sinter_arena_deinit(&scratch);
    return whole;
}

/* A stride is of whole pieces of 16 bytes. */
static bool is_whole(sinter_block_tiling *t, const sinter_block_operand *o, sinter_expr stride) {
    return is_multiple(t, stride, SINTER_BOX_PIECE / bytes_of(o));
}

/* Sorts the terms: what lies together is last, the other of row and step in front of it, and all else before these. */
static bool find_dims(sinter_block_tiling *t, sinter_block_operand *o, const sinter_linear *place) {
    const sinter_loop_var row = o->loop->var, step = t->sum.loops[0];
    uint32_t others = 0;
    dim rows = {0}, steps = {0};
    for (uint32_t i = 0; i < place->count; i++) {
        dim d;
        if (!split_term(t, &place->terms[i], &d) || !d.factor) return false;
        const bool is_var = d.factor->kind == SINTER_LOOP_VAR,
                   is_row = is_var && d.factor->var == row,
                   is_step = is_var && d.factor->var == step;
        if (is_row || is_step) {
            dim *own = is_row ? &rows : &steps;
            if (own->factor) return false;
            *own = d;
            continue;
        }
        if (sinter_loop_expr_uses(d.factor, row) || sinter_loop_expr_uses(d.factor, step) ||
            others + 2 == SINTER_BOX_MAX_RANK || !is_whole(t, o, d.stride) ||
            !(d.extent = extent_of(t, d.factor)))
            return false;
        o->box.factors[others] = d.factor;
        o->box.dims[others] = d.extent;
        o->box.strides[others++] = d.stride;
    }
    const dim *last = o->depth_last ? &steps : &rows, *other = o->depth_last ? &rows : &steps;
    if (!rows.factor || !steps.factor || !is_one(last->stride) || !is_whole(t, o, other->stride))
        return false;
    sinter_expr count = sinter_block_count(t, o);
    if (!sinter_loop_expr_over_parameters(t->builder->function, count)) return false;
    o->box.chunks = !o->depth_last && others + 3 <= SINTER_BOX_MAX_RANK &&
                    o->extent % o->chunk == 0 && is_multiple(t, count, o->chunk);
    if (o->box.chunks) { /* rows of 128 bytes of what lies together */
        o->box.dims[others] = sinter_loop_div(t->builder, count, sinter_block_int(t, o->chunk));
        o->box.strides[others++] = sinter_block_int(t, o->chunk);
        count = sinter_block_int(t, o->chunk);
    }
    o->box.rank = others + 2;
    o->box.strides[others] = other->stride;
    o->box.strides[others + 1] = last->stride;
    o->box.dims[others] = o->depth_last ? count : t->count;
    o->box.dims[others + 1] = o->depth_last ? t->count : count;
    return true;
}

static bool fits(sinter_block_tiling *t, sinter_block_operand *o) {
    const sinter_loop_function *function = t->schedule->function;
    const sinter_expr value = o->value;
    int64_t lower, low, high;
    sinter_linear place;
    if (value->kind != SINTER_LOOP_LOAD || o->condition || t->sum.loop_count != 1 || !o->loop ||
        !sinter_loop_is_const_int(t->sum.lowers[0], &lower) || lower ||
        !sinter_loop_expr_over_parameters(function, t->count) || o->extent > SINTER_BOX_MOST)
        return false;
    sinter_loop_range(function, t->count, &low, &high);
    if (low < 1) return false; /* a tensor without elements has no map */
    const sinter_loop_buffer_info *info = &function->buffers.items[value->buffer];
    return info->scope == SINTER_SCOPE_INPUT && info->alignment &&
           info->alignment % SINTER_BOX_PIECE == 0 && sinter_linear_of(place_of(t, o), &place) &&
           !place.constant && find_dims(t, o, &place);
}

bool sinter_block_fit_boxes(sinter_block_tiling *t) {
    return (fits(t, &t->rows) && fits(t, &t->columns)) ||
           sinter_schedule_refuse(t->schedule, "an operand is no input that is copied by boxes: at "
                                               "a multiple of 16 bytes, and in strides of such");
}

/* One box of so many rows of the tile, 128 bytes each, or of all chunks with so many; what lies together begins `beside` further. */
static void copy_box(sinter_block_tiling *t, const sinter_block_operand *o, sinter_expr start,
                     int64_t rows, int64_t beside, const sinter_expr *first, uint32_t first_rank) {
    sinter_loop_builder *b = t->builder;
    const uint32_t rank = o->box.rank;
    sinter_expr at[SINTER_BOX_MAX_RANK], sizes[SINTER_BOX_MAX_RANK];
    for (uint32_t i = 0; i + 2 + o->box.chunks < rank; i++) {
        at[i] = o->box.factors[i];
        sizes[i] = sinter_block_int(t, 1);
    }
    sinter_expr last = o->depth_last ? start : o->first;
    if (o->box.chunks) {
        at[rank - 3] = sinter_loop_div(b, o->first, sinter_block_int(t, o->chunk));
        sizes[rank - 3] = sinter_block_int(t, o->extent / o->chunk);
        last = sinter_block_int(t, 0);
    }
    at[rank - 2] = o->depth_last ? o->first : start;
    at[rank - 1] = sinter_loop_add(b, last, sinter_block_int(t, beside));
    sizes[rank - 2] = sinter_block_int(t, rows);
    sizes[rank - 1] = sinter_block_int(t, sinter_loop_wgmma_row(o->value->dtype));
    const sinter_loop_box box = {.to = o->tile,
                                 .from = o->value->buffer,
                                 .phases = t->full,
                                 .first = first,
                                 .first_rank = first_rank,
                                 .phase = t->slot,
                                 .rank = rank,
                                 .at = at,
                                 .sizes = sizes,
                                 .dims = o->box.dims,
                                 .strides = o->box.strides};
    sinter_loop_copy_box(b, &box);
}

static void copy_boxes(sinter_block_tiling *t, const sinter_block_operand *o, sinter_expr start) {
    const sinter_expr zero = sinter_block_int(t, 0);
    if (o->depth_last) {
        const sinter_expr first[3] = {t->slot, zero, zero};
        copy_box(t, o, start, o->extent, 0, first, 3);
        return;
    }
    const int64_t most = o->box.chunks ? o->chunk : o->extent;
    for (int64_t at = 0; at < most; at += o->chunk) {
        const sinter_expr first[4] = {t->slot, sinter_block_int(t, at / o->chunk), zero, zero};
        copy_box(t, o, start, t->asked->depth, at, first, 4);
    }
}

void sinter_block_stage_boxes(sinter_block_tiling *t, sinter_expr start) {
    copy_boxes(t, &t->rows, start);
    copy_boxes(t, &t->columns, start);
}
