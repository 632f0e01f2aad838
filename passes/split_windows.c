/* A maximum or mean over large windows goes along one axis after the other: of k x k elements k maxima of k each are as good, and 2 k in place
 * of k * k. What lies in between has as many positions as the input along the axes that are still to come, so strides count. So does an
 * interpolation that the innermost axis takes part in: along the others whole rows are added up, and only what is left is gathered.
 *
 * Maxima keep every bit; means and interpolations (of f32 and f64, whose results in between are as exact as sums are) round once more. Windows
 * of one axis, small ones and those whose places are asked for stay, as do interpolations by scales that the run alone knows.
 * Test: tests/passes/split_windows/ */
#include "ir/decompose.h"
#include "passes/pass.h"

#include <string.h>

/* ---- maxima and means ---- */

/* The steps saved are worth writing and reading what lies between, and more: windows of 3 x 3 stay. */
enum { GAIN = 2 };

typedef struct window_axes {
    uint32_t spatial;
    const int64_t *kernel, *strides, *pads, *dilations; /* NULL: 1, or 0 for pads */
} window_axes;

static int64_t at(const int64_t *items, uint32_t i, int64_t otherwise) {
    return items ? items[i] : otherwise;
}

static bool splits(const sinter_module *module, sinter_node node, const sinter_type *type) {
    sinter_op op = sinter_node_op(module, node);
    bool is_exact = type->dtype == SINTER_DTYPE_f32 || type->dtype == SINTER_DTYPE_f64;
    return (op == SINTER_OP_max_pool && !sinter_node_result(module, node, 1)) ||
           (op == SINTER_OP_average_pool && is_exact);
}

static void describe(const sinter_module *module, sinter_node node, window_axes *out) {
    out->spatial = (uint32_t)sinter_node_get_ints(module, node, "kernel_shape", &out->kernel);
    sinter_node_get_ints(module, node, "strides", &out->strides);
    sinter_node_get_ints(module, node, "pads", &out->pads);
    sinter_node_get_ints(module, node, "dilations", &out->dilations);
}

/* Steps for each result, all at once and one axis after the other. */
static bool is_worth_it(const window_axes *w) {
    double all = 1, apart = 0, later = 1;
    for (uint32_t i = w->spatial; i-- > 0;) {
        all *= (double)w->kernel[i];
        if (w->kernel[i] > 1 || at(w->strides, i, 1) > 1) apart += (double)w->kernel[i] * later;
        later *= (double)at(w->strides, i, 1);
    }
    return all >= GAIN * apart;
}

/* The same node with a window along one axis alone. */
static sinter_value build_axis(sinter_rewrite *rewrite, sinter_node node, const window_axes *w,
                               uint32_t axis, sinter_value x) {
    const sinter_module *module = rewrite->build.module;
    static const char *const kept[] = {"count_include_pad", "ceil_mode", "channels_last"};
    enum { KEPT = sizeof kept / sizeof *kept, OWN = 5 };
    int64_t kernel[SINTER_MAX_RANK], strides[SINTER_MAX_RANK], dilations[SINTER_MAX_RANK],
        pads[2 * SINTER_MAX_RANK];
    sinter_attr attributes[KEPT + OWN];
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->spatial; i++) {
        bool own = i == axis;
        kernel[i] = own ? w->kernel[i] : 1;
        strides[i] = own ? at(w->strides, i, 1) : 1;
        dilations[i] = own ? at(w->dilations, i, 1) : 1;
        pads[i] = own ? at(w->pads, i, 0) : 0;
        pads[i + w->spatial] = own ? at(w->pads, i + w->spatial, 0) : 0;
    }
    attributes[count++] = sinter_attr_ints("kernel_shape", kernel, w->spatial);
    attributes[count++] = sinter_attr_ints("strides", strides, w->spatial);
    attributes[count++] = sinter_attr_ints("dilations", dilations, w->spatial);
    if (w->pads) attributes[count++] = sinter_attr_ints("pads", pads, 2 * (size_t)w->spatial);
    attributes[count++] =
        sinter_attr_string("auto_pad", sinter_node_get_string(module, node, "auto_pad"));
    for (uint32_t i = 0; i < KEPT; i++)
        if (sinter_node_find_attr(module, node, kept[i]))
            attributes[count++] =
                sinter_attr_int(kept[i], sinter_node_get_int(module, node, kept[i], 0));
    return sinter_build(&rewrite->build, sinter_node_op(module, node), &x, 1, attributes, count);
}

/* ---- interpolations ---- */

typedef struct resized_axes {
    uint32_t count;
    int64_t axes[SINTER_MAX_RANK];
    double scales[SINTER_MAX_RANK];
    int64_t sizes[SINTER_MAX_RANK];
    bool by_scales;
} resized_axes;

/* The axes that change, and how; false where that is not known, or goes for all of them together. */
static bool find_resized(const sinter_module *module, sinter_node node, const sinter_type *type,
                         resized_axes *out) {
    const int64_t *items = NULL;
    size_t named = sinter_node_get_ints(module, node, "axes", &items);
    int64_t asked[SINTER_MAX_RANK], from, to;
    sinter_value scales = sinter_node_operand(module, node, 2),
                 sizes = sinter_node_operand(module, node, 3);
    const sinter_tensor *known = scales ? sinter_value_constant(module, scales) : NULL;
    const sinter_type *result = sinter_value_type(module, sinter_node_result(module, node, 0));
    const sinter_dim_table *dims = sinter_module_dims(module);
    size_t count = known ? (size_t)sinter_tensor_count(known) : 0;
    out->by_scales = count != 0;
    if (scales && !known) return false;
    if (!out->by_scales &&
        (!sizes || !sinter_value_known_ints(module, sizes, asked, SINTER_MAX_RANK, &count)))
        return false;
    if (count > SINTER_MAX_RANK || count != (named ? named : type->rank)) return false;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = named ? items[i] : (int64_t)i;
        if (axis < 0) axis += type->rank;
        double scale = out->by_scales ? sinter_tensor_get_double(known, (int64_t)i) : 0;
        bool same = sinter_dim_is_const(dims, type->dims[axis], &from) &&
                    sinter_dim_is_const(dims, result->dims[axis], &to) && from == to;
        if (scale == 1 || (!out->by_scales && same)) continue;
        uint32_t at = out->count++; /* by axis, the outermost first */
        for (; at && out->axes[at - 1] > axis; at--) {
            out->axes[at] = out->axes[at - 1];
            out->scales[at] = out->scales[at - 1];
            out->sizes[at] = out->sizes[at - 1];
        }
        out->axes[at] = axis;
        out->scales[at] = scale;
        out->sizes[at] = out->by_scales ? 0 : asked[i];
    }
    return true;
}

/* A size that only the run knows, which this result says. */
static bool is_own_dim(const sinter_module *module, sinter_value result, sinter_dim dim) {
    sinter_dim_table *dims = sinter_module_dims(module);
    return sinter_dim_get_kind(dims, dim) == SINTER_DIM_SYMBOL &&
           sinter_dim_reads(dims, dim, result);
}

/* One word for the sizes of two axes, which a chain would say twice. */
static bool shares_dims(const sinter_module *module, sinter_value result, const resized_axes *r) {
    const sinter_dim *dims = sinter_value_type(module, result)->dims;
    for (uint32_t i = 0; i < r->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (dims[r->axes[i]] == dims[r->axes[j]] &&
                is_own_dim(module, result, dims[r->axes[i]]))
                return true;
    return false;
}

/* The node along one axis alone. What the run says of that axis is said by this step from now on. */
static sinter_value build_resized(sinter_rewrite *rewrite, sinter_node node, const resized_axes *r,
                                  uint32_t which, sinter_value x) {
    sinter_module *module = rewrite->build.module;
    const sinter_value whole = sinter_node_result(module, node, 0);
    const sinter_dim size = sinter_value_type(module, whole)->dims[r->axes[which]];
    sinter_builder *build = &rewrite->build;
    const int64_t one = 1;
    sinter_value operands[4] = {x};
    if (r->by_scales) {
        sinter_tensor scale;
        if (!sinter_tensor_create(&scale, SINTER_DTYPE_f32, 1, &one, build->diag)) return 0;
        sinter_tensor_set_double(&scale, 0, r->scales[which]);
        operands[2] = sinter_build_constant(build, scale);
    } else {
        operands[3] = sinter_build_ints(build, &r->sizes[which], 1);
    }
    const sinter_attr attributes[] = {
        sinter_attr_ints("axes", &r->axes[which], 1),
        sinter_attr_int("antialias", sinter_node_get_int(module, node, "antialias", 0)),
        sinter_attr_int("exclude_outside", sinter_node_get_int(module, node, "exclude_outside", 0)),
        sinter_attr_float("cubic_coeff_a",
                          sinter_node_get_float(module, node, "cubic_coeff_a", -0.75)),
        sinter_attr_string("mode", sinter_node_get_string(module, node, "mode")),
        sinter_attr_string("coordinate_transformation_mode",
                           sinter_node_get_string(module, node, "coordinate_transformation_mode"))};
    const sinter_node_spec spec = {.op = SINTER_OP_resize,
                                   .operands = operands,
                                   .attributes = attributes,
                                   .operand_count = r->by_scales ? 3 : 4,
                                   .attribute_count = sizeof attributes / sizeof *attributes,
                                   .result_count = 1};
    const sinter_type from = *sinter_value_type(module, x);
    sinter_dim dims[SINTER_MAX_RANK];
    memcpy(dims, from.dims, from.rank * sizeof *dims);
    dims[r->axes[which]] = size;
    const sinter_type type =
        sinter_type_tensor(sinter_module_arena(module), from.dtype, from.rank, dims);
    const sinter_node step = sinter_build_node_as(build, &spec, &type);
    const sinter_value result = step ? sinter_node_result(module, step, 0) : 0;
    if (result && is_own_dim(module, whole, size))
        sinter_dim_get_symbol(sinter_module_dims(module), size)->value = result;
    return result;
}

static void visit_resize(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_node_operand(module, node, 0);
    const sinter_type *type = sinter_value_type(module, x);
    resized_axes r = {0};
    if ((type->dtype != SINTER_DTYPE_f32 && type->dtype != SINTER_DTYPE_f64) ||
        sinter_string_is(sinter_node_get_string(module, node, "mode"), "nearest") ||
        sinter_string_is(sinter_node_get_string(module, node, "coordinate_transformation_mode"),
                         "tf_crop_and_resize") ||
        !sinter_string_is(sinter_node_get_string(module, node, "keep_aspect_ratio_policy"),
                          "stretch") ||
        !find_resized(module, node, type, &r) || r.count < 2 ||
        r.axes[r.count - 1] + 1 != type->rank ||
        shares_dims(module, sinter_node_result(module, node, 0), &r))
        return;
    const sinter_type result = *sinter_value_type(module, sinter_node_result(module, node, 0));
    sinter_rewrite_at(rewrite, node);
    for (uint32_t i = 0; i < r.count && x; i++) x = build_resized(rewrite, node, &r, i, x);
    sinter_compose_replace(rewrite, node, x, &result);
}

/* ---- the pass ---- */

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_node_operand(module, node, 0);
    window_axes w = {0};
    if (sinter_node_op(module, node) == SINTER_OP_resize) visit_resize(rewrite, node);
    if (!x || !splits(module, node, sinter_value_type(module, x))) return;
    describe(module, node, &w);
    if (!is_worth_it(&w)) return;
    const sinter_type type = *sinter_value_type(module, sinter_node_result(module, node, 0));
    sinter_rewrite_at(rewrite, node);
    for (uint32_t i = 0; i < w.spatial && x; i++)
        if (w.kernel[i] > 1 || at(w.strides, i, 1) > 1) x = build_axis(rewrite, node, &w, i, x);
    sinter_compose_replace(rewrite, node, x, &type);
}

void sinter_pass_split_windows(sinter_pass_context *context) {
    /* A launch more costs a GPU more than this gains, as a rule. */
    if (context->options->machine->has_device) return;
    sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
}
