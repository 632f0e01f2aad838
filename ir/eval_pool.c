/* Pools of the reference evaluator: average, maximum with indices, p-norm. Test: tests/suites/onnx_suite.py */
#include "ir/eval_window.h"
#include <math.h>
#include <string.h>

/* What one window becomes; taps are positions in the plane, `apart` elements from one to the next. */
typedef struct pool_cell {
    const double *plane;
    int64_t apart;
    const int64_t *taps;
    int64_t tap_count;
    int64_t padded_count; /* cells of the window on the input or its padding */
} pool_cell;
typedef struct pool_state pool_state;
typedef double (*pool_function)(pool_state *pool, const pool_cell *cell);
struct pool_state {
    pool_function function;
    double p;         /* of p-norm */
    double lowest;    /* of maximum: that of no element at all */
    bool include_pad; /* of average */
    int64_t chosen;   /* offset of the last maximum */
};

/* Cells of the window at[] that lie on the input or its padding (ceil_mode may reach beyond). */
static int64_t count_padded(const sinter_window *window, const int64_t *at) {
    int64_t count = 1;
    for (uint32_t i = 0; i < window->rank; i++) {
        int64_t start = at[i] * window->strides[i],
                limit = window->input[i] + window->begin[i] + window->end[i];
        int64_t cells = (limit - start + window->dilations[i] - 1) / window->dilations[i];
        count *= cells < window->kernel[i] ? cells : window->kernel[i];
    }
    return count;
}

static double pool_average(pool_state *pool, const pool_cell *cell) {
    double sum = 0;
    for (int64_t t = 0; t < cell->tap_count; t++) sum += cell->plane[cell->taps[t] * cell->apart];
    int64_t count = pool->include_pad ? cell->padded_count : cell->tap_count;
    return count ? sum / (double)count : 0;
}

/* NaN wins; of equals the first. */
static double pool_maximum(pool_state *pool, const pool_cell *cell) {
    double best = pool->lowest;
    pool->chosen = cell->tap_count ? cell->taps[0] : 0;
    for (int64_t t = 0; t < cell->tap_count; t++) {
        double value = cell->plane[cell->taps[t] * cell->apart];
        if (isnan(best) || (!isnan(value) && !(value > best))) continue;
        best = value;
        pool->chosen = cell->taps[t];
    }
    return best;
}

static double pool_norm(pool_state *pool, const pool_cell *cell) {
    double sum = 0;
    for (int64_t t = 0; t < cell->tap_count; t++)
        sum += pow(fabs(cell->plane[cell->taps[t] * cell->apart]), pool->p);
    return pow(sum, 1 / pool->p);
}

/* Index of an element of x[N,C,...] as max_pool tells it: row-major, or spatial axes column-major. */
static int64_t element_index(const sinter_window *window, int64_t plane, int64_t offset,
                             bool column_major) {
    if (!column_major) return plane * window->input_count + offset;
    int64_t at[SINTER_MAX_RANK], index = 0;
    sinter_eval_unravel(window->rank, window->input, offset, at);
    for (uint32_t i = window->rank; i-- > 0;) index = index * window->input[i] + at[i];
    return plane * window->input_count + index;
}

static bool run_pool(sinter_eval *eval, pool_state *pool, bool with_indices) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0);
    sinter_window window;
    const int64_t *kernel;
    int64_t dims[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK)) return false;
    if (sinter_eval_ints_attr(eval, "kernel_shape", &kernel) != x->rank - 2)
        return sinter_eval_error(eval, "kernel_shape does not fit %s",
                                 sinter_eval_describe(eval, x));
    sinter_window_layout layout = sinter_window_get_layout(eval, x->rank);
    if (!sinter_window_init(eval, &window, x->rank - 2, x->dims + layout.space, kernel))
        return false;
    int64_t channels = x->dims[layout.channel], batch = x->dims[0];
    dims[0] = batch;
    dims[layout.channel] = channels;
    memcpy(dims + layout.space, window.output, window.rank * sizeof *dims);
    sinter_tensor *result = sinter_eval_create(eval, 0, x->dtype, x->rank, dims), *indices = NULL;
    if (!result) return false;
    if (with_indices && sinter_eval_wants(eval, 1)) {
        indices = sinter_eval_create(eval, 1, SINTER_DTYPE_i64, x->rank, dims);
        if (!indices) return false;
    }
    const sinter_dtype_info *info = &sinter_dtype_infos[x->dtype];
    pool->lowest = info->class == SINTER_CLASS_FLOAT ? -INFINITY
                   : info->class == SINTER_CLASS_INT ? -ldexp(1, (int)info->bits - 1)
                                                     : 0;
    const double *xs = sinter_eval_doubles(eval, x);
    double *y = SINTER_NEW_ARRAY(eval->scratch, double, sinter_tensor_count(result) + 1);
    int64_t *cells = SINTER_NEW_ARRAY(eval->scratch, int64_t, window.kernel_count);
    int64_t *taps = SINTER_NEW_ARRAY(eval->scratch, int64_t, window.kernel_count);
    bool column_major = indices && sinter_eval_int(eval, "storage_order") != 0;
    for (int64_t o = 0; o < window.output_count; o++) {
        pool_cell cell = {.taps = taps, .apart = layout.channels_last ? channels : 1};
        cell.tap_count = sinter_window_taps(&window, window.input, at, cells, taps);
        cell.padded_count = count_padded(&window, at);
        for (int64_t plane = 0; plane < batch * channels; plane++) {
            int64_t item = plane / channels, c = plane % channels;
            cell.plane =
                xs + sinter_window_index(&layout, channels, window.input_count, item, c, 0);
            int64_t n = sinter_window_index(&layout, channels, window.output_count, item, c, o);
            y[n] = pool->function(pool, &cell);
            if (indices)
                sinter_tensor_set_int(indices, n,
                                      element_index(&window, plane, pool->chosen, column_major));
        }
        sinter_eval_next(window.rank, window.output, at);
    }
    sinter_eval_store_doubles(result, y);
    return true;
}

bool eval_average_pool(sinter_eval *eval) {
    pool_state pool = {.function = pool_average,
                       .include_pad = sinter_eval_int(eval, "count_include_pad") != 0};
    return run_pool(eval, &pool, false);
}

bool eval_max_pool(sinter_eval *eval) {
    pool_state pool = {.function = pool_maximum};
    return run_pool(eval, &pool, true);
}

bool eval_lp_pool(sinter_eval *eval) {
    pool_state pool = {.function = pool_norm, .p = (double)sinter_eval_int(eval, "p")};
    return run_pool(eval, &pool, false);
}
