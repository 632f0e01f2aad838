/* Moves the differences in size of the channels that layers read into the layers' weights, where a recipe rounds what they read and
 * says smooth=S: channel j is divided by s_j = max|x_j|^S / max|w_j|^(1-S), and row j of the weights is multiplied by it, so
 * that one scale serves all channels (Xiao et al., SmoothQuant, arXiv 2211.10438). The division goes into what makes the channels,
 * where nothing else reads them: a layer normalisation, or a product with its bias and relu; otherwise it is a product of its own,
 * which runs where the channels are rounded. Lossy by float rounding alone. Needs: layers exposed, a runner and samples.
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

static bool find_groups(smoother *s) {
    sinter_arena *arena = &s->context->scratch;
    sinter_map_init(&s->by_value, arena);
    s->layers = sinter_layer_find_all(s->module, arena);
    for (size_t i = 0; i < s->layers.count; i++) {
        const sinter_layer *layer = &s->layers.items[i];
        sinter_layer_recipe recipe;
        uint64_t index;
        if (!sinter_recipe_find(s->context->compression->recipe, layer->name, &recipe,
                                s->rewrite->build.diag))
            return false;
        if (recipe.smooth <= 0 || recipe.activations == SINTER_DTYPE_NONE ||
            sinter_node_op(s->module, layer->node) != SINTER_OP_matmul)
            continue;
        if (!sinter_map_find(&s->by_value, layer->input, &index)) {
            group one = {.value = layer->input,
                         .strength = recipe.smooth,
                         .channels = layer->reduction,
                         .largest = SINTER_NEW_ARRAY(arena, float, layer->reduction)};
            index = s->groups.count;
            sinter_map_put(&s->by_value, layer->input, index);
            sinter_vector_push(arena, &s->groups, one);
        }
        sinter_vector_push(arena, &s->groups.items[index].layers, i);
    }
    return true;
}

static bool see(void *user, const sinter_tensor *tensors, const sinter_tensor *mask) {
    smoother *s = user;
    for (size_t i = 0; i < s->groups.count; i++) {
        group *g = &s->groups.items[i];
        int64_t width = 0;
        bool masked = sinter_stream_is_masked(&tensors[i], mask, &width);
        const float *values = tensors[i].data;
        for (int64_t r = 0; r < sinter_tensor_count(&tensors[i]) / g->channels; r++) {
            if (masked && sinter_tensor_get_double(mask, r) == 0) continue;
            for (int64_t c = 0; c < g->channels; c++)
                g->largest[c] = fmaxf(g->largest[c], fabsf(values[r * g->channels + c]));
        }
    }
    return true;
}

static bool observe(smoother *s) {
    sinter_value *values = SINTER_NEW_ARRAY(&s->context->scratch, sinter_value, s->groups.count);
    for (size_t i = 0; i < s->groups.count; i++) values[i] = s->groups.items[i].value;
    return sinter_stream_values(s->module, s->context->compression, "smoothing activations", values,
                                s->groups.count, see, s, s->rewrite->build.diag);
}

/* What each channel is divided by; 1 where there is nothing to go by. */
static float *find_divisors(smoother *s, const group *g) {
    sinter_arena *arena = &s->context->scratch;
    float *divisors = SINTER_NEW_ARRAY(arena, float, g->channels);
    float *weights = SINTER_NEW_ARRAY(arena, float, g->channels);
    for (size_t i = 0; i < g->layers.count; i++) {
        const sinter_layer *layer = &s->layers.items[g->layers.items[i]];
        for (int64_t o = 0; o < layer->outputs; o++)
            for (int64_t c = 0; c < g->channels; c++) {
                const float *w = layer->weights->data;
                weights[c] = fmaxf(weights[c], fabsf(w[sinter_layer_index(layer, o, c)]));
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

/* Operand `index` of the node, whose last axis are the channels, divided. */
static bool divide_operand(smoother *s, const group *g, sinter_node node, uint32_t index,
                           const float *divisors) {
    const sinter_tensor *old =
        sinter_value_constant(s->module, sinter_node_operand(s->module, node, index));
    sinter_tensor tensor;
    if (!sinter_tensor_create(&tensor, SINTER_DTYPE_f32, old->rank, old->dims,
                              s->rewrite->build.diag))
        return false;
    float *to = sinter_tensor_mutable(&tensor);
    const float *from = old->data;
    for (int64_t i = 0; i < sinter_tensor_count(old); i++)
        to[i] = from[i] / divisors[i % g->channels];
    sinter_rewrite_at(s->rewrite, node);
    sinter_value value = sinter_build_constant(&s->rewrite->build, tensor);
    if (value) sinter_rewrite_set_operand(s->rewrite, node, index, value);
    return value != 0;
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

/* Into the columns of a product and its bias; a relu between is the same of positive multiples. */
static bool divide_projection(smoother *s, const group *g, sinter_node node,
                              const float *divisors) {
    sinter_module *module = s->module;
    sinter_node add = 0;
    uint32_t bias = 0;
    if (sinter_node_op(module, node) == SINTER_OP_relu) {
        sinter_value value = sinter_node_operand(module, node, 0);
        if (!sinter_value_has_one_use(module, value)) return false;
        node = sinter_value_definition(module, value);
    }
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
            for (int64_t c = 0; c < layer.reduction; c++) {
                int64_t at = sinter_layer_index(&layer, o, c);
                to[at] = from[at] * divisors[c];
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
    bool folded =
        node && only_group_reads(s, g, g->value) &&
        (divide_normalisation(s, g, node, divisors) || divide_projection(s, g, node, divisors));
    return (folded || divide_apart(s, g, divisors)) && multiply_weights(s, g, divisors);
}

void sinter_pass_smooth_activations(sinter_pass_context *context) {
    const sinter_compression *compression = context->compression;
    smoother s = {.context = context, .module = context->module, .rewrite = &context->rewrite};
    if (!compression || !compression->recipe || !find_groups(&s) || !s.groups.count) return;
    if (!sinter_compression_has_data(compression, "smooth-activations",
                                     context->rewrite.build.diag) ||
        !observe(&s))
        return;
    for (size_t i = 0; i < s.groups.count; i++)
        if (!smooth(&s, &s.groups.items[i])) return;
}
