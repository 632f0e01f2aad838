/* See box.h. Test: tests/codegen/loops/box.loops, verify_box.loops */
#include "codegen/loops/box.h"
#include "codegen/loops/linear.h"

#include <string.h>

enum { LISTS = 4 }; /* at, sizes, dims, strides */

sinter_loop_box sinter_loop_box_of(const sinter_loop_stmt *stmt) {
    const uint32_t rank = stmt->box_rank, first = stmt->argument_count - 1 - LISTS * stmt->box_rank;
    const sinter_expr *lists = stmt->arguments + first + 1;
    return (sinter_loop_box){.to = stmt->buffer,
                             .from = stmt->source,
                             .phases = stmt->buffer_arguments[0],
                             .first = stmt->arguments,
                             .phase = stmt->arguments[first],
                             .first_rank = first,
                             .rank = rank,
                             .at = lists,
                             .sizes = lists + rank,
                             .dims = lists + 2 * (size_t)rank,
                             .strides = lists + 3 * (size_t)rank};
}

void sinter_loop_copy_box(sinter_loop_builder *b, const sinter_loop_box *box) {
    const uint32_t first = box->first_rank;
    sinter_expr all[SINTER_MAX_RANK + 1 + LISTS * SINTER_BOX_MAX_RANK];
    const sinter_expr *lists[LISTS] = {box->at, box->sizes, box->dims, box->strides};
    memcpy(all, box->first, first * sizeof *all);
    all[first] = box->phase;
    for (uint32_t i = 0; i < LISTS; i++)
        memcpy(all + first + 1 + (size_t)i * box->rank, lists[i], box->rank * sizeof *all);
    sinter_loop_box_statement(b, box->to, box->from, box->phases, all,
                              first + 1 + LISTS * box->rank, box->rank);
}

uint64_t sinter_loop_box_bytes(const sinter_loop_function *function, const sinter_loop_box *box) {
    int64_t count = 1, size = 0;
    for (uint32_t i = 0; i < box->rank; i++)
        count *= sinter_loop_is_const_int(box->sizes[i], &size) ? size : 0;
    return (uint64_t)count * sinter_dtype_infos[function->buffers.items[box->to].dtype].bits / 8;
}

static bool is_number(sinter_expr expr, int64_t wanted) {
    int64_t number;
    return sinter_loop_is_const_int(expr, &number) && number == wanted;
}

/* Of what memory has behind the first `leading` dims, rows of the last one. */
static int64_t rows_behind(const sinter_loop_function *function, sinter_loop_buffer buffer,
                           uint32_t leading) {
    const sinter_loop_buffer_info *info = &function->buffers.items[buffer];
    int64_t rows = 1, dim;
    for (uint32_t i = leading; i + 1 < info->rank; i++)
        rows *= sinter_loop_is_const_int(info->dims[i], &dim) ? dim : 0;
    return rows;
}

uint32_t sinter_loop_box_leading(const sinter_loop_function *function, const sinter_loop_box *box) {
    uint32_t leading = box->first_rank < 2 ? 0 : box->first_rank - 2;
    int64_t rows = 1, size;
    for (uint32_t i = 0; i + 1 < box->rank; i++)
        rows *= sinter_loop_is_const_int(box->sizes[i], &size) ? size : 0;
    while (leading && rows > rows_behind(function, box->to, leading) &&
           is_number(box->first[leading - 1], 0))
        leading--;
    return leading;
}

bool sinter_loop_is_multiple(sinter_loop_scopes *scopes, sinter_expr expr, int64_t number) {
    sinter_linear sum;
    if (!sinter_linear_of(sinter_loop_map_expr(&scopes->lets, expr), &sum) || sum.constant % number)
        return false;
    for (uint32_t i = 0; i < sum.count; i++)
        if (sum.terms[i].coefficient % number) return false;
    return true;
}

/* Rows of 128 bytes, from the first of one of the last two dims on. */
static const char *check_target(const sinter_loop_function *function, const sinter_loop_box *box) {
    const sinter_loop_buffer_info *to = &function->buffers.items[box->to];
    int64_t rows = 1, size;
    if (to->scope != SINTER_SCOPE_SHARED || to->swizzle != SINTER_LOOP_SWIZZLE || to->rank < 2)
        return "it does not go to swizzled shared memory";
    if (box->first_rank != to->rank) return "it has not as many indices as its memory has dims";
    for (uint32_t i = 0; i < box->rank; i++) {
        if (!sinter_loop_is_const_int(box->sizes[i], &size) || size < 1 || size > SINTER_BOX_MOST)
            return "sizes are numbers of 1 to 256";
        if (i + 1 < box->rank) rows *= size;
    }
    const int64_t row = SINTER_LOOP_SWIZZLE * 8 / sinter_dtype_infos[to->dtype].bits;
    if (size != row) return "its last dim is no row of 128 bytes";
    if (!is_number(box->first[to->rank - 1], 0) || !is_number(box->first[to->rank - 2], 0) ||
        rows > rows_behind(function, box->to, sinter_loop_box_leading(function, box)))
        return "it does not begin with the rows of a tile, and end in it";
    return NULL;
}

/* The elements between the first one and the last one of the view, both included, are inside of the input, where that is known. */
static bool is_inside(const sinter_loop_function *function, const sinter_loop_box *box) {
    const sinter_loop_buffer_info *from = &function->buffers.items[box->from];
    int64_t count = 1, last = 0, dim, stride;
    for (uint32_t i = 0; i < from->rank; i++) {
        if (!sinter_loop_is_const_int(from->dims[i], &dim)) return true;
        count *= dim;
    }
    for (uint32_t i = 0; i < box->rank; i++) {
        if (!sinter_loop_is_const_int(box->dims[i], &dim) ||
            !sinter_loop_is_const_int(box->strides[i], &stride))
            return true;
        last += (dim - 1) * stride;
    }
    return last < count;
}

static const char *check_source(sinter_loop_scopes *scopes, const sinter_loop_box *box) {
    const sinter_loop_function *function = scopes->function;
    const sinter_loop_buffer_info *from = &function->buffers.items[box->from],
                                  *to = &function->buffers.items[box->to];
    const int64_t bytes = sinter_dtype_infos[from->dtype].bits / 8;
    if (from->scope != SINTER_SCOPE_INPUT || from->dtype != to->dtype || !bytes)
        return "it is not of an input of the same type";
    if (!from->alignment || from->alignment % SINTER_BOX_PIECE)
        return "the input is not at a multiple of 16 bytes";
    for (uint32_t i = 0; i < box->rank; i++) {
        sinter_expr stride = sinter_loop_map_expr(&scopes->lets, box->strides[i]),
                    dim = sinter_loop_map_expr(&scopes->lets, box->dims[i]);
        if (!sinter_loop_expr_over_parameters(function, stride) ||
            !sinter_loop_expr_over_parameters(function, dim))
            return "only the kernel knows its dims and strides";
        if (i + 1 == box->rank ? !is_number(stride, 1)
                               : !sinter_loop_is_multiple(scopes, stride, SINTER_BOX_PIECE / bytes))
            return "its strides are no multiples of 16 bytes, the last of 1";
    }
    return is_inside(function, box) ? NULL : "the dims lead out of the input";
}

const char *sinter_loop_check_box(sinter_loop_scopes *scopes, const sinter_loop_stmt *stmt) {
    const sinter_loop_function *function = scopes->function;
    const sinter_loop_box box = sinter_loop_box_of(stmt);
    if (box.rank < SINTER_BOX_MIN_RANK || box.rank > SINTER_BOX_MAX_RANK)
        return "it has 2 to 5 dims";
    if (!function->buffers.items[box.phases].arrivals) return "it is for no phases";
    const char *wrong = check_target(function, &box);
    return wrong ? wrong : check_source(scopes, &box);
}
