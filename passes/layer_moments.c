/* Rows of the reduction of a layer: those of a matrix as they lie, those of a convolution gathered window by window.
 * Test: tests/passes/compress_weights/ */
#include "passes/layer_moments.h"
#include <math.h>
#include <string.h>

enum {
    LEAST_ROWS = 1 << 15, /* of those that there are, and .. */
    ROWS_OF_STEP = 64, /* .. for each step of the reduction: more say nothing new, and take time */
    FEW = 4,           /* of these enough where a guess is wanted */
    BATCH_ROWS = 2048  /* of one product */
};

typedef struct gatherer {
    const sinter_layer *layer;
    const sinter_layer_view *view;
    sinter_moments *moments, *second; /* of all rows, or of the first half; of the second one */
    int64_t half;                     /* rows before it starts, those that are left out included */
    bool is_second;
    const sinter_layer_fit *fit; /* NULL: targets are what they are */
    sinter_patches patches;
    int64_t positions, step; /* of a sample; between rows that are taken */
    float *x, *y;            /* rows gathered */
    float *offsets, *yields; /* of a fit: what is added to each output, and what the layer yields */
    int64_t rows, capacity;
} gatherer;

void sinter_layer_place_windows(const sinter_module *module, const sinter_layer *layer,
                                const sinter_tensor *x, const sinter_tensor *y, sinter_patches *p) {
    sinter_node node = layer->node;
    sinter_string automatic = sinter_node_get_string(module, node, "auto_pad");
    bool upper = sinter_string_is(automatic, "SAME_UPPER"),
         lower = sinter_string_is(automatic, "SAME_LOWER");
    p->dims = x->rank - 2;
    p->channels = layer->weights->dims[1];
    for (uint32_t d = 0; d < p->dims; d++) {
        p->size[d] = x->dims[d + 2];
        p->kernel[d] = layer->weights->dims[d + 2];
        p->stride[d] = sinter_node_get_int_at(module, node, "strides", d, 1);
        p->dilation[d] = sinter_node_get_int_at(module, node, "dilations", d, 1);
        p->before[d] = sinter_node_get_int_at(module, node, "pads", d, 0);
        p->out[d] = y->dims[d + 2];
        int64_t reach = (p->out[d] - 1) * p->stride[d] + (p->kernel[d] - 1) * p->dilation[d] + 1;
        int64_t padding = reach > p->size[d] ? reach - p->size[d] : 0;
        if (upper || lower) p->before[d] = (padding + lower) / 2;
    }
}

/* Beyond a bound any target is as good as another. */
static void bound_targets(gatherer *g, int64_t group) {
    const sinter_layer_fit *fit = g->fit;
    int64_t n = g->moments->inputs, m = g->moments->outputs;
    sinter_blas_product_f32(g->rows, m, n, 1, (sinter_blas_operand){g->x, n, false},
                            (sinter_blas_operand){fit->values + group * m * n, n, true}, 0,
                            g->yields, m);
    for (int64_t i = 0; i < g->rows * m; i++) {
        float bias = fit->bias ? fit->bias[group * m + i % m] : 0, offset = g->offsets[i];
        float yields = g->yields[i] + bias, low = fit->low - offset, high = fit->high - offset;
        if (g->y[i] <= low)
            g->y[i] = fminf(yields, low);
        else if (g->y[i] >= high)
            g->y[i] = fmaxf(yields, high);
    }
}

static void flush(gatherer *g, int64_t group) {
    sinter_moments *to = g->is_second ? g->second : g->moments;
    if (g->rows && g->fit) {
        bound_targets(g, group);
        sinter_moments_add_targets(to, group, g->rows, g->x, g->y);
    } else if (g->rows) {
        sinter_moments_add(to, group, g->rows, g->x, g->y);
    }
    g->rows = 0;
}

/* What comes after so many rows may belong to the second half. */
static void enter_half(gatherer *g, int64_t group, int64_t seen) {
    bool second = g->second && seen >= g->half;
    if (second != g->is_second) flush(g, group);
    g->is_second = second;
}

/* What an output at a position or row ought to be, less what is added to it: of `count` of them, from `index` on and from place `to`
 * on, at those distances. */
static void take_targets(gatherer *g, size_t run, int64_t count, int64_t index, int64_t step,
                         int64_t to, int64_t to_step) {
    const sinter_layer_view *view = g->view;
    const float *targets = (const float *)view->targets[run].data + index;
    const float *offsets = view->offsets ? (const float *)view->offsets[run].data + index : NULL;
    for (int64_t i = 0; i < count; i++) {
        float offset = offsets ? offsets[i * step] : 0;
        g->y[to + i * to_step] = targets[i * step] - offset;
        if (g->fit) g->offsets[to + i * to_step] = offset;
    }
}

static void gather_sample(gatherer *g, int64_t group, size_t run, int64_t sample, int64_t first) {
    const sinter_tensor *x = &g->view->inputs[run];
    const sinter_patches *p = &g->patches;
    int64_t n = g->moments->inputs, m = g->moments->outputs, elements = 1;
    for (uint32_t d = 0; d < p->dims; d++) elements *= p->size[d];
    int64_t channel = sample * x->dims[1] + group * p->channels;
    const float *channels = (const float *)x->data + channel * elements;
    int64_t rows = sinter_patches_gather(p, channels, first, g->step, g->x + g->rows * n);
    for (int64_t o = 0; o < m; o++) {
        int64_t plane = (sample * g->layer->outputs + group * m + o) * g->positions;
        take_targets(g, run, rows, plane + first, g->step, g->rows * m + o, m);
    }
    g->rows += rows;
}

/* Sizes may differ from run to run. */
static int64_t enter_run(const sinter_module *module, gatherer *g, size_t run) {
    const sinter_tensor *y = &g->view->targets[run];
    sinter_layer_place_windows(module, g->layer, &g->view->inputs[run], y, &g->patches);
    g->positions = 1;
    for (uint32_t d = 2; d < y->rank; d++) g->positions *= y->dims[d];
    return g->positions;
}

static void gather_windows(const sinter_module *module, gatherer *g, int64_t group) {
    int64_t seen = 0; /* positions before this sample: distances go on from one to the next */
    for (size_t run = 0; run < g->view->runs; run++) {
        enter_run(module, g, run);
        for (int64_t s = 0; s < g->view->inputs[run].dims[0]; s++, seen += g->positions) {
            int64_t first = (g->step - seen % g->step) % g->step;
            enter_half(g, group, seen);
            gather_sample(g, group, run, s, first);
            if (g->rows + g->positions / g->step + 1 > g->capacity) flush(g, group);
        }
    }
    flush(g, group);
}

const sinter_tensor *sinter_layer_view_mask(const sinter_layer_view *view, size_t run,
                                            int64_t rows) {
    const sinter_tensor *mask = view->masks ? &view->masks[run] : NULL;
    return mask && sinter_tensor_count(mask) == rows ? mask : NULL;
}

static int64_t count_rows(const sinter_layer_view *view, size_t run, int64_t inputs) {
    int64_t rows = sinter_tensor_count(&view->inputs[run]) / inputs, kept = 0;
    const sinter_tensor *mask = sinter_layer_view_mask(view, run, rows);
    if (!mask) return rows;
    for (int64_t r = 0; r < rows; r++) kept += sinter_tensor_get_double(mask, r) != 0;
    return kept;
}

static void gather_rows(gatherer *g) {
    int64_t n = g->moments->inputs, m = g->moments->outputs, seen = 0;
    for (size_t run = 0; run < g->view->runs; run++) {
        const sinter_tensor *x = &g->view->inputs[run];
        int64_t rows = sinter_tensor_count(x) / n;
        const sinter_tensor *mask = sinter_layer_view_mask(g->view, run, rows);
        for (int64_t r = 0; r < rows; r++) {
            if (mask && sinter_tensor_get_double(mask, r) == 0) continue;
            enter_half(g, 0, seen);
            if (seen++ % g->step) continue;
            memcpy(g->x + g->rows * n, (const float *)x->data + r * n, sizeof(float) * (size_t)n);
            take_targets(g, run, m, r * m, 1, g->rows * m, 1);
            if (++g->rows == g->capacity) flush(g, 0);
        }
    }
    flush(g, 0);
}

static int64_t common_divisor(int64_t a, int64_t b) {
    return b ? common_divisor(b, a % b) : a;
}

/* Far enough apart, and not in step with lines of an image. */
static int64_t choose_step(int64_t rows, int64_t reduction, int64_t width, bool few) {
    int64_t most = ROWS_OF_STEP * reduction;
    if (most < LEAST_ROWS) most = LEAST_ROWS;
    if (few) most /= FEW;
    int64_t step = (rows + most - 1) / most;
    while (step > 1 && width > 0 && common_divisor(step, width) != 1) step++;
    return step > 0 ? step : 1;
}

static bool is_window(const sinter_module *module, const sinter_layer *layer) {
    return sinter_op_get_info(sinter_node_op(module, layer->node))->pattern ==
           SINTER_PATTERN_WINDOW;
}

static bool takes(const sinter_module *module, const sinter_layer *layer, sinter_diag *diag) {
    if (!is_window(module, layer)) return true;
    if (layer->weights->rank - 2 > SINTER_PATCH_DIMS)
        return sinter_error(diag, layer->name,
                            "convolutions of more than %d dims are not compensated",
                            SINTER_PATCH_DIMS);
    if (layer->input_axis != 1 || sinter_node_get_int(module, layer->node, "channels_last", 0))
        return sinter_error(
            diag, layer->name,
            "compensation takes no transposed convolutions: ask for rounding=nearest there");
    return true;
}

int64_t sinter_layer_count_rows(const sinter_module *module, const sinter_layer *layer,
                                const sinter_layer_view *view) {
    gatherer g = {.layer = layer, .view = view};
    int64_t rows = 0;
    for (size_t run = 0; run < view->runs; run++)
        rows += is_window(module, layer) ? enter_run(module, &g, run) * view->inputs[run].dims[0]
                                         : count_rows(view, run, layer->reduction);
    return rows;
}

static bool measure(const sinter_module *module, const sinter_layer *layer,
                    const sinter_layer_view *view, const sinter_layer_fit *fit,
                    sinter_moments *moments, sinter_moments *second, sinter_diag *diag) {
    if (!takes(module, layer, diag)) return false;
    sinter_arena arena;
    sinter_arena_init(&arena);
    gatherer g = {.layer = layer, .view = view, .fit = fit, .moments = moments, .second = second};
    int64_t rows = sinter_layer_count_rows(module, layer, view), most = 0;
    for (size_t run = 0; is_window(module, layer) && run < view->runs; run++) {
        int64_t positions = enter_run(module, &g, run);
        if (positions > most) most = positions;
    }
    g.half = rows / 2;
    g.step =
        choose_step(rows, moments->inputs, most ? g.patches.out[g.patches.dims - 1] : 0, view->few);
    g.capacity = BATCH_ROWS + most / g.step + 1;
    g.x = SINTER_NEW_ARRAY(&arena, float, g.capacity * moments->inputs);
    g.y = SINTER_NEW_ARRAY(&arena, float, g.capacity * moments->outputs);
    if (fit) {
        g.offsets = SINTER_NEW_ARRAY(&arena, float, g.capacity * moments->outputs);
        g.yields = SINTER_NEW_ARRAY(&arena, float, g.capacity * moments->outputs);
    }
    for (int64_t group = 0; most && group < moments->groups; group++)
        gather_windows(module, &g, group);
    if (!is_window(module, layer)) gather_rows(&g);
    sinter_arena_deinit(&arena);
    return true;
}

bool sinter_layer_measure(const sinter_module *module, const sinter_layer *layer,
                          const sinter_layer_view *view, sinter_moments *moments,
                          sinter_diag *diag) {
    return measure(module, layer, view, NULL, moments, NULL, diag);
}

bool sinter_layer_measure_halves(const sinter_module *module, const sinter_layer *layer,
                                 const sinter_layer_view *view, sinter_moments halves[2],
                                 sinter_diag *diag) {
    return measure(module, layer, view, NULL, &halves[0], &halves[1], diag);
}

bool sinter_layer_measure_bounded(const sinter_module *module, const sinter_layer *layer,
                                  const sinter_layer_view *view, const sinter_layer_fit *fit,
                                  bool centred, sinter_moments *moments, sinter_diag *diag) {
    sinter_moments_drop_targets(moments);
    return measure(module, layer, view, fit, moments, NULL, diag) &&
           (sinter_moments_finish_targets(moments, centred) ||
            sinter_error(diag, layer->name,
                         "what it ought to yield over the samples is not finite"));
}
