/* Pairs, and their samples: images as they lie, rows of matrices turned so that they are channel by channel too.
 * Test: tests/passes/prune_channels/ */
#include "passes/layer_pair.h"
#include "passes/solve_pair.h"

#include <math.h>
#include <string.h>

enum {
    MOST_ROWS = 1 << 17, /* of what is between the layers */
    CHUNK_ROWS = 256     /* of a matrix, a sample */
};

static bool is_window(const sinter_module *module, const sinter_layer *layer) {
    return sinter_op_get_info(sinter_node_op(module, layer->node))->pattern ==
           SINTER_PATTERN_WINDOW;
}

/* ---- pairs ---- */

static bool may_be_in_pair(const sinter_module *module, const sinter_layer *layer,
                           const sinter_layer_target *target) {
    if (layer->groups != 1) return false;
    if (!is_window(module, layer)) return true;
    return target->has_bias && layer->input_axis == 1 &&
           layer->weights->rank - 2 <= SINTER_PATCH_DIMS &&
           !sinter_node_get_int(module, layer->node, "channels_last", 0);
}

/* What a relu, or a clip to constants, reads that makes the value; else the value itself. */
static sinter_value before_bounds(const sinter_module *module, sinter_value value) {
    sinter_node node = sinter_value_definition(module, value);
    sinter_op op = node ? sinter_node_op(module, node) : SINTER_OP_constant;
    if (op != SINTER_OP_relu && op != SINTER_OP_clip) return value;
    const sinter_node_info *info = sinter_node_get(module, node);
    for (uint32_t i = 1; i < info->operand_count; i++)
        if (info->operands[i] && !sinter_value_constant(module, info->operands[i])) return value;
    return info->operands[0];
}

bool sinter_layer_pair_find(const sinter_module *module, const sinter_layer_list *layers,
                            const sinter_layer_target *targets, size_t second, size_t *out_first) {
    const sinter_layer *layer = &layers->items[second];
    sinter_value made = before_bounds(module, layer->input);
    if (!may_be_in_pair(module, layer, &targets[second]) ||
        !sinter_value_has_one_use(module, layer->input) || !sinter_value_has_one_use(module, made))
        return false;
    for (size_t i = 0; i < second; i++) {
        const sinter_layer_target *target = &targets[i];
        if (target->value != made || target->sum) continue;
        *out_first = i;
        return may_be_in_pair(module, &layers->items[i], target) &&
               is_window(module, &layers->items[i]) == is_window(module, layer);
    }
    return false;
}

void sinter_layer_read_bias(const sinter_module *module, const sinter_layer *layer,
                            const sinter_layer_target *target, float *out_bias) {
    sinter_node node = target->adder ? target->adder : layer->node;
    uint32_t operand = target->adder ? target->adder_operand : 2;
    memset(out_bias, 0, sizeof *out_bias * (size_t)layer->outputs);
    if (!target->has_bias || operand >= sinter_node_get(module, node)->operand_count) return;
    sinter_value value = sinter_node_operand(module, node, operand);
    const sinter_tensor *bias = value ? sinter_value_constant(module, value) : NULL;
    for (int64_t o = 0; bias && o < layer->outputs; o++)
        out_bias[o] = (float)sinter_tensor_get_double(bias, o);
}

/* ---- samples ---- */

typedef struct sampler {
    const sinter_module *module;
    const sinter_pair_member *first, *second;
    const sinter_tensor *first_inputs;
    const sinter_layer_view *view; /* of the second */
    SINTER_VECTOR(sinter_pair_sample) samples;
    sinter_arena *arena;
} sampler;

static int64_t positions_of(const sinter_tensor *tensor) {
    int64_t count = 1;
    for (uint32_t d = 2; d < tensor->rank; d++) count *= tensor->dims[d];
    return count;
}

static const float *image_of(const sinter_tensor *tensors, size_t run, int64_t image) {
    const sinter_tensor *t = &tensors[run];
    return (const float *)t->data + image * (sinter_tensor_count(t) / t->dims[0]);
}

static void add_image(sampler *s, size_t run, int64_t image) {
    const sinter_tensor *between = &s->view->inputs[run];
    sinter_pair_sample sample = {
        .input = image_of(s->first_inputs, run, image),
        .targets = image_of(s->view->targets, run, image),
        .offsets = s->view->offsets ? image_of(s->view->offsets, run, image) : NULL};
    sinter_layer_place_windows(s->module, s->first->layer, &s->first_inputs[run], between,
                               &sample.first);
    sinter_layer_place_windows(s->module, s->second->layer, between, &s->view->targets[run],
                               &sample.second);
    sinter_vector_push(s->arena, &s->samples, sample);
}

/* About as many images as have that many rows between the layers, at regular distances. */
static void add_images(sampler *s) {
    int64_t rows = 0, images = 0, seen = 0, taken = 0;
    for (size_t run = 0; run < s->view->runs; run++) {
        images += s->view->inputs[run].dims[0];
        rows += s->view->inputs[run].dims[0] * positions_of(&s->view->inputs[run]);
    }
    int64_t wanted = rows > MOST_ROWS ? (images * MOST_ROWS + rows - 1) / rows : images;
    for (size_t run = 0; run < s->view->runs; run++)
        for (int64_t i = 0; i < s->view->inputs[run].dims[0]; i++, seen++) {
            if (taken * images > seen * wanted) continue;
            add_image(s, run, i);
            taken++;
        }
}

/* Rows of a matrix as columns. */
static float *turn(sampler *s, const sinter_tensor *tensor, int64_t width, const int64_t *rows,
                   int64_t count) {
    float *out = SINTER_NEW_ARRAY(s->arena, float, width *count);
    for (int64_t r = 0; r < count; r++)
        for (int64_t i = 0; i < width; i++)
            out[i * count + r] = ((const float *)tensor->data)[rows[r] * width + i];
    return out;
}

static sinter_patches patches_of_rows(int64_t channels, int64_t rows) {
    return (sinter_patches){.dims = 1,
                            .channels = channels,
                            .size = {rows},
                            .kernel = {1},
                            .stride = {1},
                            .dilation = {1},
                            .out = {rows}};
}

static void add_rows(sampler *s, size_t run, const int64_t *rows, int64_t count) {
    int64_t inputs = s->first->layer->reduction, outputs = s->second->layer->outputs;
    if (count == 0) return;
    sinter_pair_sample sample = {
        .first = patches_of_rows(inputs, count),
        .second = patches_of_rows(s->first->layer->outputs, count),
        .input = turn(s, &s->first_inputs[run], inputs, rows, count),
        .targets = turn(s, &s->view->targets[run], outputs, rows, count),
        .offsets = s->view->offsets ? turn(s, &s->view->offsets[run], outputs, rows, count) : NULL};
    sinter_vector_push(s->arena, &s->samples, sample);
}

/* Rows that count, at regular distances where there are very many. */
static void add_matrices(sampler *s) {
    int64_t all = sinter_layer_count_rows(s->module, s->second->layer, s->view), seen = 0;
    int64_t step = (all + MOST_ROWS - 1) / MOST_ROWS, chosen[CHUNK_ROWS];
    for (size_t run = 0; run < s->view->runs; run++) {
        int64_t rows = sinter_tensor_count(&s->view->inputs[run]) / s->second->layer->reduction;
        const sinter_tensor *mask = sinter_layer_view_mask(s->view, run, rows);
        int64_t count = 0;
        for (int64_t r = 0; r < rows; r++) {
            if ((mask && sinter_tensor_get_double(mask, r) == 0) || seen++ % step) continue;
            chosen[count++] = r;
            if (count < CHUNK_ROWS) continue;
            add_rows(s, run, chosen, count);
            count = 0;
        }
        add_rows(s, run, chosen, count);
    }
}

static sinter_pair_layer as_plain(const sinter_pair_member *member) {
    return (sinter_pair_layer){.outputs = member->layer->outputs,
                               .inputs = member->layer->reduction,
                               .has_bias = member->target->has_bias,
                               .weights = member->weights,
                               .bias = member->bias};
}

bool sinter_layer_pair_fit(const sinter_module *module, const sinter_pair_member *first,
                           const sinter_pair_member *second, const sinter_tensor *first_inputs,
                           const sinter_layer_view *view, sinter_diag *diag) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sampler s = {.module = module,
                 .first = first,
                 .second = second,
                 .first_inputs = first_inputs,
                 .view = view,
                 .arena = &scratch};
    if (is_window(module, second->layer))
        add_images(&s);
    else
        add_matrices(&s);
    bool is_bounded = second->layer->input != first->target->value;
    const sinter_pair pair = {.first = as_plain(first),
                              .second = as_plain(second),
                              .low = is_bounded ? first->target->low : -INFINITY,
                              .high = is_bounded ? first->target->high : INFINITY,
                              .target_low = second->target->low,
                              .target_high = second->target->high,
                              .samples = s.samples.items,
                              .sample_count = s.samples.count};
    double errors[2];
    bool good = sinter_solve_pair(&pair, NULL, errors) ||
                sinter_error(diag, second->layer->name,
                             "what it yields over the samples, or ought to yield, is not finite");
    sinter_arena_deinit(&scratch);
    return good;
}
