/* Evaluator rules of ops that put elements elsewhere: bitcast, col2im, max_unpool.
 * Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <string.h>

bool eval_bitcast(sinter_eval *eval) {
    const sinter_tensor *input = eval->operands[0];
    sinter_dtype to = sinter_eval_dtype(eval, "to");
    if (to == SINTER_DTYPE_string || input->dtype == SINTER_DTYPE_string ||
        sinter_dtype_infos[to].bits != sinter_dtype_infos[input->dtype].bits)
        return sinter_eval_error(eval, "%s can't be seen as %s",
                                 sinter_dtype_infos[input->dtype].name,
                                 sinter_dtype_infos[to].name);
    if (!sinter_eval_share(eval, 0, input, input->rank, input->dims)) return false;
    eval->results[0].dtype = to;
    return true;
}

/* ---- windows, backwards ---- */

/* Strides, dilations and pads of windows over `rank` spatial axes; defaults 1, 1, 0. */
typedef struct windows {
    uint32_t rank;
    int64_t strides[SINTER_MAX_RANK], dilations[SINTER_MAX_RANK], pads[2 * SINTER_MAX_RANK];
} windows;

static bool read_windows(sinter_eval *eval, uint32_t rank, windows *w) {
    const struct {
        const char *name;
        int64_t *items, otherwise, least;
        size_t count;
    } parts[] = {{"strides", w->strides, 1, 1, rank},
                 {"dilations", w->dilations, 1, 1, rank},
                 {"pads", w->pads, 0, -INT32_MAX, 2 * (size_t)rank}};
    w->rank = rank;
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        const int64_t *given;
        size_t count = sinter_eval_ints_attr(eval, parts[p].name, &given);
        if (count && count != parts[p].count)
            return sinter_eval_error(eval, "%s has %zu numbers, expected %zu", parts[p].name, count,
                                     parts[p].count);
        for (size_t i = 0; i < parts[p].count; i++) {
            parts[p].items[i] = count ? given[i] : parts[p].otherwise;
            if (parts[p].items[i] < parts[p].least || parts[p].items[i] > INT32_MAX)
                return sinter_eval_error(eval, "%s holds %" PRId64, parts[p].name,
                                         parts[p].items[i]);
        }
    }
    return true;
}

/* How many windows of `block` there are along each axis of `image`. */
static bool count_blocks(sinter_eval *eval, const windows *w, const int64_t *image,
                         const int64_t *block, int64_t *out_blocks) {
    for (uint32_t i = 0; i < w->rank; i++) {
        if (image[i] < 1 || block[i] < 1 || image[i] > INT32_MAX || block[i] > INT32_MAX)
            return sinter_eval_error(eval, "image_shape and block_shape must be positive");
        int64_t room =
            image[i] + w->pads[i] + w->pads[w->rank + i] - w->dilations[i] * (block[i] - 1);
        if (room < 1) return sinter_eval_error(eval, "the block is larger than the image");
        out_blocks[i] = (room - 1) / w->strides[i] + 1;
    }
    return true;
}

bool eval_col2im(sinter_eval *eval) {
    int64_t image[SINTER_MAX_RANK], block[SINTER_MAX_RANK], blocks[SINTER_MAX_RANK];
    size_t rank, block_rank;
    windows w;
    if (!sinter_eval_expect_rank(eval, 0, 3, 3) ||
        !sinter_eval_ints(eval, 1, image, SINTER_MAX_RANK - 2, &rank) ||
        !sinter_eval_ints(eval, 2, block, SINTER_MAX_RANK - 2, &block_rank))
        return false;
    if (rank != block_rank)
        return sinter_eval_error(eval, "image_shape has %zu axes, block_shape %zu", rank,
                                 block_rank);
    if (!read_windows(eval, (uint32_t)rank, &w) || !count_blocks(eval, &w, image, block, blocks))
        return false;
    const sinter_tensor *input = eval->operands[0];
    int64_t block_size = 0, positions = 0, dims[SINTER_MAX_RANK] = {input->dims[0]};
    if (!sinter_eval_product(block, (uint32_t)rank, &block_size) ||
        !sinter_eval_product(blocks, (uint32_t)rank, &positions) || block_size == 0 ||
        input->dims[1] % block_size != 0 || input->dims[2] != positions)
        return sinter_eval_error(eval,
                                 "%s does not hold %" PRId64 " blocks of %" PRId64 " elements",
                                 sinter_eval_describe(eval, input), positions, block_size);
    dims[1] = input->dims[1] / block_size;
    memcpy(dims + 2, image, rank * sizeof *dims);
    sinter_tensor *output = sinter_eval_create(eval, 0, input->dtype, (uint32_t)rank + 2, dims);
    if (!output) return false;
    const double *items = sinter_eval_doubles(eval, input);
    double *sums = SINTER_NEW_ARRAY(eval->scratch, double, sinter_tensor_count(output) + 1);
    for (int64_t i = 0; i < sinter_tensor_count(input); i++) {
        int64_t in_block[SINTER_MAX_RANK], at[SINTER_MAX_RANK], target = i / positions / block_size;
        bool inside = true;
        sinter_eval_unravel((uint32_t)rank, block, i / positions % block_size, in_block);
        sinter_eval_unravel((uint32_t)rank, blocks, i % positions, at);
        for (uint32_t d = 0; d < rank; d++) {
            int64_t position = at[d] * w.strides[d] - w.pads[d] + in_block[d] * w.dilations[d];
            inside = inside && position >= 0 && position < image[d];
            target = target * image[d] + position;
        }
        if (inside) sums[target] += items[i];
    }
    sinter_eval_store_doubles(output, sums);
    return true;
}

bool eval_max_unpool(sinter_eval *eval) {
    if (!sinter_eval_expect_rank(eval, 0, 3, SINTER_MAX_RANK)) return false;
    const sinter_tensor *x = eval->operands[0], *indices = eval->operands[1];
    const int64_t *kernel;
    int64_t pooled[SINTER_MAX_RANK] = {x->dims[0], x->dims[1]}, dims[SINTER_MAX_RANK], count;
    int64_t strides[SINTER_MAX_RANK];
    size_t dim_count;
    windows w;
    if (!sinter_eval_expect_dims(eval, 1, x->rank, x->dims) || !read_windows(eval, x->rank - 2, &w))
        return false;
    if (sinter_eval_ints_attr(eval, "kernel_shape", &kernel) != w.rank)
        return sinter_eval_error(eval, "kernel_shape should have %u numbers", w.rank);
    for (uint32_t i = 0; i < w.rank; i++)
        if (kernel[i] < 1 || kernel[i] > INT32_MAX)
            return sinter_eval_error(eval, "kernel_shape holds %" PRId64, kernel[i]);
    for (uint32_t i = 0; i < w.rank; i++)
        pooled[i + 2] =
            (x->dims[i + 2] - 1) * w.strides[i] - w.pads[i] - w.pads[w.rank + i] + kernel[i];
    memcpy(dims, pooled, sizeof dims);
    if (sinter_eval_operand(eval, 2)) {
        if (!sinter_eval_ints(eval, 2, dims, SINTER_MAX_RANK, &dim_count)) return false;
        bool fits = dim_count == x->rank;
        for (uint32_t i = 0; fits && i < x->rank; i++) fits = dims[i] >= pooled[i];
        if (!fits) return sinter_eval_error(eval, "output_shape is smaller than what was pooled");
    }
    if (!sinter_eval_product(pooled, x->rank, &count))
        return sinter_eval_error(eval, "the kernel, strides and pads give no shape");
    sinter_tensor *output = sinter_eval_create(eval, 0, x->dtype, x->rank, dims);
    if (!output) return false;
    /* indices count through the shape that was pooled, which is the corner of a larger output_shape */
    sinter_eval_strides(x->rank, dims, strides);
    for (int64_t i = 0; i < sinter_tensor_count(x); i++) {
        int64_t index = sinter_tensor_get_int(indices, i), at[SINTER_MAX_RANK];
        if (index < 0 || index >= count)
            return sinter_eval_error(
                eval, "index %" PRId64 " is out of range for %" PRId64 " elements", index, count);
        sinter_eval_unravel(x->rank, pooled, index, at);
        sinter_eval_copy_element(output, sinter_eval_offset(x->rank, at, strides), x, i);
    }
    return true;
}
