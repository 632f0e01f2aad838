/* Moves the differences in size of the channels that layers read into the layers' weights, where a recipe rounds what they read and
 * says smooth=S: channel j is divided by s_j = max|x_j|^S / max|w_j|^(1-S), and row j of the weights is multiplied by it, so
 * that one scale serves all channels (Xiao et al., SmoothQuant, arXiv 2211.10438). The division goes into what makes the channels,
 * where nothing else reads them: a layer normalisation, or a product with its bias and relu; otherwise it is a product of its own,
 * which runs where the channels are rounded. Of convolutions it goes into the convolution before, through a relu, or there is none:
 * cross-layer equalisation (Nagel et al., arXiv 1906.04721), by what was seen. Lossy by float rounding alone. Needs: layers exposed, a runner and samples.
 * Test: tests/passes/smooth_activations/ */
#include "passes/layer.h"
#include "passes/pass.h"
#include "passes/stream.h"

#include <math.h>
#include <string.h>

/* A value, and the layers that read it. */
typedef struct group {
    sinter_value value;
    double strength;
    int64_t channels;
    bool windows; /* of convolutions: channels are axis 1, not the last */
    SINTER_VECTOR(size_t) layers;
    float *largest; /* by channel */
} group;

typedef struct smoother {
    sinter_pass_context *context;
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_layer_list layers;
    SINTER_VECTOR(group) groups;
    sinter_map by_value; /* index of a group */
} smoother;

/* ---- what is read, and how large it is ---- */

/* The channel of what the layer reads that a weight meets. */
static int64_t channel_of(const sinter_layer *layer, int64_t output, int64_t step) {
    int64_t channels = layer->weights->dims[layer->input_axis]; /* of a group */
    int64_t which = output / (layer->outputs / layer->groups);
    return which * channels + step / (layer->reduction / channels);
}

/* A product, or a convolution over channels along axis 1. */
static bool is_smoothed(const smoother *s, const sinter_layer *layer, bool *out_windows) {
    sinter_op op = sinter_node_op(s->module, layer->node);
    *out_windows = op == SINTER_OP_conv;
    return op == SINTER_OP_matmul ||
           (op == SINTER_OP_conv &&
            !sinter_node_get_int(s->module, layer->node, "channels_last", 0));
}

static bool find_groups(smoother *s) {
    sinter_arena *arena = &s->context->scratch;
    sinter_map_init(&s->by_value, arena);
    s->layers = sinter_layer_find_all(s->module, arena);
    for (size_t i = 0; i < s->layers.count; i++) {
        const sinter_layer *layer = &s->layers.items[i];
        sinter_layer_recipe recipe;
        uint64_t index;
        if (!sinter_recipe_find(s->context->options->compression->recipe, layer->name, &recipe,
                                s->rewrite->build.diag))
            return false;
        bool windows;
        int64_t channels = layer->weights->dims[layer->input_axis] * layer->groups;
        if (recipe.smooth <= 0 || recipe.activations == SINTER_DTYPE_NONE ||
            !is_smoothed(s, layer, &windows))
            continue;
        if (!sinter_map_find(&s->by_value, layer->input, &index)) {
            group one = {.value = layer->input,
                         .strength = recipe.smooth,
                         .channels = channels,
                         .windows = windows,
                         .largest = SINTER_NEW_ARRAY(arena, float, channels)};
            index = s->groups.count;
            sinter_map_put(&s->by_value, layer->input, index);
            sinter_vector_push(arena, &s->groups, one);
        }
        if (s->groups.items[index].windows == windows) /* else others read it */
            sinter_vector_push(arena, &s->groups.items[index].layers, i);
    }
    return true;
}

static bool see(void *user, const sinter_tensor *tensors, const sinter_tensor *mask) {
    smoother *s = user;
    for (size_t i = 0; i < s->groups.count; i++) {
        group *g = &s->groups.items[i];
        int64_t width = 0, inner = 1; /* elements of a channel that lie together */
        bool masked = !g->windows && sinter_stream_is_masked(&tensors[i], mask, &width);
        const float *values = tensors[i].data;
        for (uint32_t d = 2; d < tensors[i].rank && g->windows; d++) inner *= tensors[i].dims[d];
        for (int64_t r = 0; r < sinter_tensor_count(&tensors[i]) / inner / g->channels; r++) {
            if (masked && sinter_tensor_get_double(mask, r) == 0) continue;
            for (int64_t k = 0; k < g->channels * inner; k++) {
                float *largest = &g->largest[k / inner];
                *largest = fmaxf(*largest, fabsf(values[r * g->channels * inner + k]));
            }
        }
    }
    return true;
}

static bool observe(smoother *s) {
    sinter_value *values = SINTER_NEW_ARRAY(&s->context->scratch, sinter_value, s->groups.count);
    for (size_t i = 0; i < s->groups.count; i++) values[i] = s->groups.items[i].value;
    return sinter_stream_values(s->module, s->context->options->compression,
                                "smoothing activations", values, s->groups.count, see, s,
                                s->rewrite->build.diag);
}

/* What each channel is divided by; 1 where there is nothing to go by. */
static float *find_divisors(smoother *s, const group *g) {
    sinter_arena *arena = &s->context->scratch;
    float *divisors = SINTER_NEW_ARRAY(arena, float, g->channels);
    float *weights = SINTER_NEW_ARRAY(arena, float, g->channels);
    for (size_t i = 0; i < g->layers.count; i++) {
        const sinter_layer *layer = &s->layers.items[g->layers.items[i]];
        for (int64_t o = 0; o < layer->outputs; o++)
            for (int64_t step = 0; step < layer->reduction; step++) {
                const float *w = layer->weights->data;
                int64_t c = channel_of(layer, o, step);
                weights[c] = fmaxf(weights[c], fabsf(w[sinter_layer_index(layer, o, step)]));
            }
    }
    for (int64_t c = 0; c < g->channels; c++) {
        double divisor =
            pow((double)g->largest[c], g->strength) / pow((double)weights[c], 1 - g->strength);
        bool sound = divisor > 1e-6 && divisor < 1e6; /* false of NaN */
        divisors[c] = sound ? (float)divisor : 1;
    }
    return divisors;
}

/* ---- where the division goes ---- */

static bool only_group_reads(const smoother *s, const group *g, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(s->module, value);
    return info->uses.count == g->layers.count;
}

/* A constant of the channels alone, or NULL. */
static const sinter_tensor *vector_of(const smoother *s, const group *g, sinter_value value) {
    const sinter_tensor *tensor = value ? sinter_value_constant(s->module, value) : NULL;
    bool fits = tensor && tensor->kind == SINTER_TYPE_TENSOR && tensor->dtype == SINTER_DTYPE_f32 &&
                tensor->rank > 0 && sinter_tensor_count(tensor) == g->channels &&
                tensor->dims[tensor->rank - 1] == g->channels;
    return fits ? tensor : NULL;
}

/* Operand `index` of the node, of which an axis are the channels, divided. */
static bool divide_axis(smoother *s, const group *g, sinter_node node, uint32_t index,
                        uint32_t axis, const float *divisors) {
    const sinter_tensor *old =
        sinter_value_constant(s->module, sinter_node_operand(s->module, node, index));
    sinter_tensor tensor;
    if (!sinter_tensor_create(&tensor, SINTER_DTYPE_f32, old->rank, old->dims,
                              s->rewrite->build.diag))
        return false;
    float *to = sinter_tensor_mutable(&tensor);
    const float *from = old->data;
    int64_t inner = 1;
    for (uint32_t d = axis + 1; d < old->rank; d++) inner *= old->dims[d];
    for (int64_t i = 0; i < sinter_tensor_count(old); i++)
        to[i] = from[i] / divisors[i / inner % g->channels];
    sinter_rewrite_at(s->rewrite, node);
    sinter_value value = sinter_build_constant(&s->rewrite->build, tensor);
    if (value) sinter_rewrite_set_operand(s->rewrite, node, index, value);
    return value != 0;
}

static bool divide_operand(smoother *s, const group *g, sinter_node node, uint32_t index,
                           const float *divisors) {
    const sinter_tensor *old =
        sinter_value_constant(s->module, sinter_node_operand(s->module, node, index));
    return divide_axis(s, g, node, index, old->rank - 1, divisors);
}

/* Into scale and shift of a normalisation over the channels. */
static bool divide_normalisation(smoother *s, const group *g, sinter_node node,
                                 const float *divisors) {
    sinter_value bias = sinter_node_operand(s->module, node, 2);
    if (sinter_node_op(s->module, node) != SINTER_OP_layer_normalization ||
        !vector_of(s, g, sinter_node_operand(s->module, node, 1)) ||
        (bias && !vector_of(s, g, bias)))
        return false;
    return divide_operand(s, g, node, 1, divisors) &&
           (!bias || divide_operand(s, g, node, 2, divisors));
}

/* What is before a relu, which is the same of positive multiples; 0: others read it. */
static sinter_node before_relu(const smoother *s, sinter_node node) {
    if (sinter_node_op(s->module, node) != SINTER_OP_relu) return node;
    sinter_value value = sinter_node_operand(s->module, node, 0);
    return sinter_value_has_one_use(s->module, value) ? sinter_value_definition(s->module, value)
                                                      : 0;
}

/* Into the outputs of a convolution and its bias. */
static bool divide_convolution(smoother *s, const group *g, sinter_node node,
                               const float *divisors) {
    sinter_layer layer;
    bool windows;
    node = before_relu(s, node);
    if (!node || !sinter_layer_describe(s->module, node, &layer) ||
        !is_smoothed(s, &layer, &windows) || !windows || layer.outputs != g->channels)
        return false;
    sinter_value bias = sinter_node_operand(s->module, node, 2);
    if (bias && !vector_of(s, g, bias)) return false;
    return divide_axis(s, g, node, layer.operand, layer.output_axis, divisors) &&
           (!bias || divide_operand(s, g, node, 2, divisors));
}

/* Into the columns of a product and its bias. */
static bool divide_projection(smoother *s, const group *g, sinter_node node,
                              const float *divisors) {
    sinter_module *module = s->module;
    sinter_node add = 0;
    uint32_t bias = 0;
    node = before_relu(s, node);
    if (!node) return false;
    if (sinter_node_op(module, node) == SINTER_OP_add) {
        add = node;
        bias = vector_of(s, g, sinter_node_operand(module, add, 1)) ? 1 : 0;
        sinter_value value = sinter_node_operand(module, add, 1 - bias);
        if (!vector_of(s, g, sinter_node_operand(module, add, bias)) ||
            !sinter_value_has_one_use(module, value))
            return false;
        node = sinter_value_definition(module, value);
    }
    sinter_layer layer;
    if (!node || sinter_node_op(module, node) != SINTER_OP_matmul ||
        !sinter_layer_describe(module, node, &layer) || layer.outputs != g->channels)
        return false;
    return divide_operand(s, g, node, layer.operand, divisors) &&
           (!add || divide_operand(s, g, add, bias, divisors));
}

/* A product right behind the value, for the layers alone. */
static bool divide_apart(smoother *s, const group *g, const float *divisors) {
    sinter_node node = sinter_value_definition(s->module, g->value);
    sinter_node next = node ? sinter_node_get(s->module, node)->next
                            : sinter_region_get(s->module, sinter_module_main(s->module))->first;
    sinter_tensor tensor;
    sinter_rewrite_at(s->rewrite, next);
    s->rewrite->build.location = NULL;
    if (!sinter_tensor_create(&tensor, SINTER_DTYPE_f32, 1, &g->channels, s->rewrite->build.diag))
        return false;
    float *items = sinter_tensor_mutable(&tensor);
    for (int64_t c = 0; c < g->channels; c++) items[c] = 1 / divisors[c];
    sinter_value factors = sinter_build_constant(&s->rewrite->build, tensor);
    sinter_value product =
        factors ? sinter_build_binary(&s->rewrite->build, SINTER_OP_mul, g->value, factors) : 0;
    for (size_t i = 0; product && i < g->layers.count; i++)
        sinter_rewrite_set_operand(s->rewrite, s->layers.items[g->layers.items[i]].node, 0,
                                   product);
    return product != 0;
}

static bool multiply_weights(smoother *s, const group *g, const float *divisors) {
    for (size_t i = 0; i < g->layers.count; i++) {
        sinter_layer layer; /* its weights may have been divided for those that read its result */
        sinter_tensor tensor;
        sinter_node node = s->layers.items[g->layers.items[i]].node;
        if (!sinter_layer_describe(s->module, node, &layer)) continue;
        if (!sinter_tensor_create(&tensor, SINTER_DTYPE_f32, layer.weights->rank,
                                  layer.weights->dims, s->rewrite->build.diag))
            return false;
        const float *from = layer.weights->data;
        float *to = sinter_tensor_mutable(&tensor);
        for (int64_t o = 0; o < layer.outputs; o++)
            for (int64_t step = 0; step < layer.reduction; step++) {
                int64_t at = sinter_layer_index(&layer, o, step);
                to[at] = from[at] * divisors[channel_of(&layer, o, step)];
            }
        sinter_rewrite_at(s->rewrite, node);
        s->rewrite->build.location = NULL;
        sinter_value value = sinter_build_constant(&s->rewrite->build, tensor);
        if (!value) return false;
        sinter_rewrite_set_operand(s->rewrite, node, layer.operand, value);
    }
    return true;
}

static bool smooth(smoother *s, const group *g) {
    const float *divisors = find_divisors(s, g);
    sinter_node node = sinter_value_definition(s->module, g->value);
    bool alone = node && only_group_reads(s, g, g->value);
    if (g->windows)
        return !alone || !divide_convolution(s, g, node, divisors) ||
               multiply_weights(s, g, divisors);
    bool folded = alone && (divide_normalisation(s, g, node, divisors) ||
                            divide_projection(s, g, node, divisors));
    return (folded || divide_apart(s, g, divisors)) && multiply_weights(s, g, divisors);
}

void sinter_pass_smooth_activations(sinter_pass_context *context) {
    const sinter_compression *compression = context->options->compression;
    smoother s = {.context = context, .module = context->module, .rewrite = &context->rewrite};
    if (!compression || !compression->recipe || !find_groups(&s) || !s.groups.count) return;
    if (!sinter_compression_has_data(compression, "smooth-activations",
                                     context->rewrite.build.diag) ||
        !observe(&s))
        return;
    for (size_t i = 0; i < s.groups.count; i++)
        if (!smooth(&s, &s.groups.items[i])) return;
}
