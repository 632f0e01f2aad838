/* What pads a convolution becomes a copy of its input, where lanes go along the width: there every vector at a border would have to ask for
 * each lane whether it is inside. That is so for convolutions to very few channels, as the last ones of nets that make pictures are, which
 * have most lanes empty where these go along channels; propagate-layouts asks here, and leaves their channels in front. 9 x 9 taps of 16
 * channels to 3 channels of 256 x 256: 30 ms with channels last, 9.7 with channels in front, 4.9 with the copy (one core, 16 lanes).
 *
 * Needs layouts settled, and that nobody joins paddings afterwards; results do not change but for the order of sums.
 * Test: tests/passes/split_padding/, tests/ops/conv.sir */
#include "passes/split_padding.h"
#include "ir/axes.h"
#include "ir/machine.h"
#include "passes/window_borders.h"

#include <string.h>

enum {
    MOST_CHANNELS = 4,
    LEAST_WIDTH = 32, /* with 28 half of the lanes wait for the tail */
    LEAST_TAPS = 5    /* with one, moving the input costs more than is won */
};

typedef struct window {
    uint32_t spatial;
    int64_t taps; /* all of them */
    int64_t channels;
    bool is_minimal; /* Winograd's filtering has a form for it, with channels last */
} window;

static bool read_window(const sinter_module *module, sinter_node node, window *out) {
    const sinter_type *w = sinter_value_type(module, sinter_node_operand(module, node, 1));
    const sinter_dim_table *dims = sinter_module_dims(module);
    *out = (window){.spatial = w->rank - 2, .taps = 1, .is_minimal = w->rank == 4};
    if (!sinter_dim_is_const(dims, w->dims[0], &out->channels)) return false;
    for (uint32_t i = 0; i < out->spatial; i++) {
        int64_t kernel;
        if (!sinter_dim_is_const(dims, w->dims[i + 2], &kernel)) return false;
        out->taps *= kernel;
        out->is_minimal &= kernel == 3 &&
                           sinter_node_get_int_at(module, node, "strides", i, 1) == 1 &&
                           sinter_node_get_int_at(module, node, "dilations", i, 1) == 1;
    }
    return true;
}

bool sinter_conv_goes_along_width(const sinter_pass_context *context, sinter_node node,
                                  const int64_t *bindings) {
    const sinter_module *module = context->module;
    window w;
    int64_t width;
    if (sinter_node_op(module, node) != SINTER_OP_conv || context->options->machine->has_device ||
        context->options->precision != SINTER_PRECISION_f32 ||
        sinter_node_get_int(module, node, "channels_last", 0) != 0 ||
        sinter_node_get_int(module, node, "group", 1) != 1 || !read_window(module, node, &w))
        return false;
    const sinter_type *y = sinter_value_type(module, sinter_node_result(module, node, 0));
    if (y->dtype != SINTER_DTYPE_f32 || w.channels > MOST_CHANNELS || w.taps < LEAST_TAPS ||
        sinter_node_get_int_at(module, node, "strides", w.spatial - 1, 1) != 1 ||
        !sinter_dim_evaluate(sinter_module_dims(module), y->dims[y->rank - 1], bindings, &width) ||
        width < LEAST_WIDTH)
        return false;
    /* One column is a dot product of all channels, four fill a small vector: both are as good in Winograd's way. */
    return !w.is_minimal || (w.channels > 1 && w.channels < MOST_CHANNELS);
}

typedef struct splitter {
    sinter_pass_context *context;
    const int64_t *bindings;
} splitter;

static void visit(void *user, sinter_node node) {
    const splitter *s = user;
    sinter_rewrite *rewrite = &s->context->rewrite;
    sinter_window_borders borders;
    bool axes[SINTER_MAX_RANK];
    if (!sinter_conv_goes_along_width(s->context, node, s->bindings) ||
        !sinter_window_read_borders(s->context->module, node, &borders) || !borders.any)
        return;
    memset(axes, true, sizeof axes);
    sinter_rewrite_at(rewrite, node);
    sinter_value x = sinter_node_operand(s->context->module, node, 0);
    x = sinter_window_pad(rewrite, x, &borders, 0);
    if (!x || !sinter_axes_unpad(rewrite, node, axes)) return;
    sinter_rewrite_set_operand(rewrite, node, 0, x);
}

void sinter_pass_split_padding(sinter_pass_context *context) {
    sinter_dim_table *dims = sinter_module_dims(context->module);
    splitter s = {context, sinter_dim_assume(dims, &context->scratch, SINTER_ASSUMED_DIM)};
    sinter_pass_visit_nodes(context->module, visit, &s);
}
