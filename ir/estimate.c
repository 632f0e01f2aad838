/* Times of modules on described hardware. Test: tests/unit/estimate_test.c, tests/cli/plan.test */
#include "ir/estimate.h"
#include "ir/base/map.h"
#include "ir/cost.h"
#include "ir/link_clock.h"
#include "ir/scalar.h"

#include <math.h>
#include <string.h>

const char *const sinter_bound_names[SINTER_BOUND_COUNT] = {"compute", "memory", "launches",
                                                            "links"};

/* Of an element. Between pixels of an image: four products with weights and their sums, and as many for where it lies and the weights;
 * calibration prices the kernels that it measures by the same number. Of ops whose rows have no expression: a guess. */
enum { SAMPLE_OPERATIONS = 16, OPAQUE_OPERATIONS = 8 };
static const double BRANCH_TIMES = 0.5; /* one of the two runs, either as likely */

typedef struct estimator {
    sinter_module *module;
    sinter_dim_table *dims;
    const sinter_hardware *hardware;
    sinter_arena *arena;
    const int64_t *bindings;
    sinter_estimate *out;
    double weight_bytes;
    double times; /* that the region runs */
    sinter_link_clock *clock;
} estimator;

/* ---- numbers ---- */

static double number(const estimator *e, sinter_dim dim) {
    int64_t value = 0;
    return dim && sinter_dim_evaluate(e->dims, dim, e->bindings, &value) && value > 0
               ? (double)value
               : 0;
}

static double elements_of(const estimator *e, sinter_value value) {
    const sinter_type *type = value ? sinter_value_type(e->module, value) : NULL;
    if (!type || type->kind != SINTER_TYPE_TENSOR) return 0;
    double count = 1;
    for (uint32_t i = 0; i < type->rank; i++) count *= number(e, type->dims[i]);
    return count;
}

static double bytes_of(const estimator *e, sinter_value value) {
    return value ? number(e, sinter_cost_value_bytes(e->module, value)) : 0;
}

/* ---- scalar expressions ---- */

double sinter_estimate_operations(sinter_op op) {
    sinter_scalar_body body;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    double operations =
        sinter_op_parse_body(op, &scratch, &body) ? sinter_scalar_body_operations(&body) : 0;
    sinter_arena_deinit(&scratch);
    return operations > 1 ? operations : 1;
}

/* ---- one kernel ---- */

static sinter_work work_of_filter(const estimator *e, sinter_node node, const sinter_cost *cost) {
    int64_t depth = 0;
    if (sinter_node_find_attr(e->module, node, "winograd")) return SINTER_WORK_winograd;
    if (sinter_dim_is_const(e->dims, cost->depth, &depth) && depth == cost->taps)
        return SINTER_WORK_depthwise;
    return cost->taps > 1 ? SINTER_WORK_window : SINTER_WORK_product;
}

/* Products of a node: the largest of a step says what kind of work it is. */
static void add_products(const estimator *e, sinter_node node, const sinter_cost *cost,
                         sinter_estimate_step *step) {
    double work = number(e, cost->multiply_adds), columns = number(e, cost->columns),
           depth = number(e, cost->depth);
    step->multiply_adds += work;
    if (work <= 0 || columns <= 0 || depth <= 0 || step->multiply_adds > 2 * work) return;
    const sinter_type *type = sinter_value_type(e->module, sinter_node_operand(e->module, node, 0));
    step->work = cost->form == SINTER_COST_FILTER      ? work_of_filter(e, node, cost)
                 : cost->form == SINTER_COST_ATTENTION ? SINTER_WORK_attention
                 : cost->form == SINTER_COST_RECURRENT ? SINTER_WORK_recurrent
                                                       : SINTER_WORK_product;
    step->dtype = type->dtype;
    step->sizes[0] = work / (columns * depth);
    step->sizes[1] = columns;
    step->sizes[2] = depth;
    if (step->work ==
        SINTER_WORK_recurrent) { /* one step after the other: what counts is the batch */
        uint32_t axis = sinter_node_get_int(e->module, node, "layout", 0) ? 0 : 1;
        step->sizes[0] = number(e, type->dims[axis]);
    }
    if (step->work == SINTER_WORK_depthwise) {
        step->sizes[0] = work / depth;
        step->sizes[1] = elements_of(e, sinter_node_operand(e->module, node, 1)) / depth;
    }
}

static void set_work(sinter_estimate_step *step, sinter_work work, double elements, double each,
                     double row) {
    if (step->multiply_adds > 0) return;
    /* A reduction is what a kernel with one is bound by, whatever else is in it. */
    if (step->work < work && step->sizes[0] > 0) return;
    step->work = work;
    step->sizes[0] = elements;
    step->sizes[1] = each;
    step->sizes[2] = row;
}

/* What takes more than one element of an image for each of the result. */
static bool interpolates(const estimator *e, sinter_node node) {
    sinter_op op = sinter_node_op(e->module, node);
    return (op == SINTER_OP_resize || op == SINTER_OP_grid_sample) &&
           !sinter_string_is(sinter_node_get_string(e->module, node, "mode"), "nearest");
}

static void add_operations(const estimator *e, sinter_node node, const sinter_cost *cost,
                           sinter_estimate_step *step) {
    sinter_op op = sinter_node_op(e->module, node);
    double elements = number(e, cost->elements),
           result = elements_of(e, sinter_node_result(e->module, node, 0));
    switch (sinter_op_get_info(op)->pattern) {
    case SINTER_PATTERN_ELEMENTWISE:
        step->operations += elements * sinter_estimate_operations(op);
        set_work(step, SINTER_WORK_elements, elements, 1, 1);
        break;
    case SINTER_PATTERN_REDUCE:
        step->operations += elements;
        set_work(step, SINTER_WORK_rows, elements, 1, result > 0 ? elements / result : 1);
        break;
    case SINTER_PATTERN_WINDOW:
        step->operations += elements;
        set_work(step, SINTER_WORK_pool, result, result > 0 ? elements / result : 1, 1);
        break;
    case SINTER_PATTERN_GATHER:
        if (interpolates(e, node)) {
            step->operations += SAMPLE_OPERATIONS * result;
            set_work(step, SINTER_WORK_sample, result, 1, 1);
            break;
        } /* fall through */
    case SINTER_PATTERN_VIEW:
    case SINTER_PATTERN_SCATTER:
        set_work(step, SINTER_WORK_move, elements, 4, 1);
        break;
    default:
        step->operations += OPAQUE_OPERATIONS * elements;
        set_work(step, SINTER_WORK_rows, elements, OPAQUE_OPERATIONS, 1);
    }
}

static bool takes_part(const estimator *e, const sinter_use *use) {
    sinter_pattern pattern = sinter_op_get_info(sinter_node_op(e->module, use->node))->pattern;
    return use->operand == 0 &&
           (pattern == SINTER_PATTERN_VIEW || pattern == SINTER_PATTERN_GATHER);
}

/* Bytes of an operand that a group reads: where only views and gathers take it, no more than these yield. */
static double inner_bytes(const estimator *e, sinter_value argument) {
    double all = bytes_of(e, argument), taken = 0;
    const sinter_value_info *info = sinter_value_get(e->module, argument);
    for (size_t i = 0; i < info->uses.count; i++) {
        if (!takes_part(e, &info->uses.items[i])) return all;
        taken += bytes_of(e, sinter_node_result(e->module, info->uses.items[i].node, 0));
    }
    return taken < all ? taken : all;
}

static double outer_bytes(const estimator *e, sinter_node node, uint32_t operand) {
    const sinter_use use = {node, operand};
    double all = bytes_of(e, sinter_node_operand(e->module, node, operand)), taken = 0;
    uint32_t results = sinter_node_get(e->module, node)->result_count;
    if (!takes_part(e, &use)) return all;
    for (uint32_t i = 0; i < results; i++)
        taken += bytes_of(e, sinter_node_result(e->module, node, i));
    return taken < all ? taken : all;
}

static void add_traffic(const estimator *e, sinter_node node, sinter_estimate_step *step) {
    sinter_node_info info = *sinter_node_get(e->module, node);
    const sinter_region_info *body =
        info.op == SINTER_OP_group ? sinter_region_get(e->module, info.regions[0]) : NULL;
    for (uint32_t i = 0; i < info.operand_count; i++) {
        bool seen = false;
        for (uint32_t k = 0; k < i; k++) seen |= info.operands[k] == info.operands[i];
        if (!info.operands[i] || seen) continue;
        double bytes = body ? inner_bytes(e, body->arguments[i]) : outer_bytes(e, node, i);
        if (sinter_value_constant(e->module, info.operands[i]))
            step->weight_bytes += bytes;
        else
            step->moved_bytes += bytes;
    }
    for (uint32_t i = 0; i < info.result_count; i++)
        step->moved_bytes += bytes_of(e, info.results[i]);
}

static void add_work(const estimator *e, sinter_node node, sinter_estimate_step *step) {
    sinter_cost cost = sinter_cost_node(e->module, node);
    if (cost.form)
        add_products(e, node, &cost, step);
    else
        add_operations(e, node, &cost, step);
}

static double efficiency(const estimator *e, sinter_work work, const sinter_estimate_step *step) {
    return sinter_hardware_efficiency(e->hardware, work, step->dtype, step->sizes);
}

static void set_seconds(const estimator *e, sinter_estimate_step *step) {
    const sinter_hardware *h = e->hardware;
    double sizes[SINTER_WORK_SIZES] = {step->operations, 1, 1};
    step->launch_seconds = h->launch;
    step->memory_seconds = step->weight_bytes / sinter_hardware_bandwidth(h, e->weight_bytes) +
                           step->moved_bytes / sinter_hardware_bandwidth(h, step->moved_bytes);
    double products = 2 * step->multiply_adds / sinter_hardware_rate(h, step->dtype);
    double own = efficiency(e, step->work, step);
    /* What is fused to products runs as well as where it stands alone. */
    double other = step->multiply_adds > 0 ? sinter_hardware_efficiency(h, SINTER_WORK_elements,
                                                                        SINTER_DTYPE_f32, sizes)
                                           : own;
    step->compute_seconds =
        products / own + 2 * step->operations / sinter_hardware_rate(h, SINTER_DTYPE_f32) / other;
    step->memory_seconds /= own;
    double longer =
        step->compute_seconds > step->memory_seconds ? step->compute_seconds : step->memory_seconds;
    step->seconds = e->times * (longer + step->launch_seconds);
}

static void keep_step(const estimator *e, const sinter_estimate_step *step) {
    sinter_estimate *out = e->out;
    sinter_bound bound = step->link_seconds > 0                         ? SINTER_BOUND_LINK
                         : step->compute_seconds > step->memory_seconds ? SINTER_BOUND_COMPUTE
                                                                        : SINTER_BOUND_MEMORY;
    double launch = e->times * step->launch_seconds;
    sinter_vector_push(e->arena, &out->steps, *step);
    out->seconds += step->seconds;
    out->bound_seconds[SINTER_BOUND_LAUNCH] += launch;
    out->bound_seconds[bound] += step->seconds - launch;
    out->exchanged_bytes += e->times * step->exchanged_bytes;
    if (sinter_node_op(e->module, step->node) != SINTER_OP_collective_wait)
        sinter_link_clock_work(e->clock, step->seconds);
}

static sinter_estimate_step describe_step(const estimator *e, sinter_node node) {
    sinter_node_info info = *sinter_node_get(e->module, node);
    sinter_estimate_step step = {.node = node, .work = SINTER_WORK_move, .dtype = SINTER_DTYPE_f32};
    if (info.op == SINTER_OP_group) {
        SINTER_FOR_NODES (e->module, info.regions[0], inside) {
            sinter_op what = sinter_node_op(e->module, inside);
            if (what != SINTER_OP_constant && !sinter_op_has_trait(what, SINTER_TRAIT_TERMINATOR))
                add_work(e, inside, &step);
        }
    } else {
        add_work(e, node, &step);
    }
    add_traffic(e, node, &step);
    if (step.multiply_adds <= 0 && step.sizes[0] > 0 && step.work != SINTER_WORK_move &&
        step.work != SINTER_WORK_pool && step.work != SINTER_WORK_sample)
        step.sizes[1] = step.operations / step.sizes[0];
    set_seconds(e, &step);
    return step;
}

/* ---- exchanges ---- */

static double find_rounds(const estimator *e, sinter_node node, sinter_hardware_rounds *out) {
    const sinter_mesh *mesh = sinter_module_mesh(e->module);
    sinter_op op = sinter_node_op(e->module, node);
    sinter_mesh_axes over;
    if (!sinter_node_get_mesh_axes(e->module, node, &over))
        over = sinter_mesh_axes_of((1u << mesh->axis_count) - 1);
    double bytes = bytes_of(e, sinter_node_operand(e->module, node, 0));
    double ranks = (double)sinter_mesh_axes_product(mesh, &over);
    if (op == SINTER_OP_all_gather) bytes *= ranks;
    if (op ==
        SINTER_OP_shard_window) { /* what it has of others, padding for the most part of none */
        double all = bytes_of(e, sinter_node_result(e->module, node, 0));
        bytes = all > bytes ? all - bytes : 0;
    }
    const int64_t *pairs = NULL;
    size_t count = sinter_node_get_ints(e->module, node, "pairs", &pairs);
    if (count)
        sinter_hardware_permute_rounds(e->hardware, pairs, count, bytes, out);
    else
        sinter_hardware_exchange_rounds(e->hardware, mesh, &over, op, bytes, out);
    return bytes;
}

/* One that is under way costs nothing where it begins, and where it ends what is left of it. */
static void add_exchange(const estimator *e, sinter_node node) {
    sinter_estimate_step step = {.node = node, .work = SINTER_WORK_move, .dtype = SINTER_DTYPE_f32};
    sinter_hardware_rounds rounds;
    step.exchanged_bytes = find_rounds(e, node, &rounds);
    for (uint32_t i = 0; i < rounds.count; i++) step.link_seconds += rounds.seconds[i];
    step.seconds = e->times * step.link_seconds;
    if (sinter_node_find_wait(e->module, node) && e->clock->count < SINTER_EXCHANGES_UNDER_WAY) {
        sinter_link_clock_begin(e->clock, node, &rounds);
        e->out->hidden_seconds += step.seconds;
        step.link_seconds = step.seconds = 0;
    }
    keep_step(e, &step);
}

static void add_wait(const estimator *e, sinter_node node) {
    sinter_estimate_step step = {.node = node, .work = SINTER_WORK_move, .dtype = SINTER_DTYPE_f32};
    sinter_value begun = sinter_node_operand(e->module, node, 0);
    step.link_seconds =
        sinter_link_clock_wait(e->clock, sinter_value_get(e->module, begun)->definition);
    step.seconds = e->times * step.link_seconds;
    e->out->hidden_seconds -= step.seconds;
    keep_step(e, &step);
}

/* A node that exchanges while it runs. */
static void add_inner_exchange(const estimator *e, sinter_node node, sinter_estimate_step *step) {
    const sinter_mesh *mesh = sinter_module_mesh(e->module);
    sinter_cost_exchange exchange = sinter_cost_node_exchange(e->module, node);
    double count = number(e, exchange.count), bytes = number(e, exchange.bytes);
    sinter_mesh_axes over;
    if (!sinter_node_get_mesh_axes(e->module, node, &over)) return;
    step->exchanged_bytes = count * bytes;
    step->link_seconds =
        count * sinter_hardware_exchange(e->hardware, mesh, &over, SINTER_OP_all_gather, bytes);
    step->seconds += e->times * step->link_seconds;
}

/* ---- regions ---- */

static void add_region(const estimator *e, sinter_region region);

/* Loops of a known length run so often; of branches, each counts for its share. */
static double times_of(const estimator *e, const sinter_node_info *info) {
    int64_t trips = 0;
    size_t count = 0;
    if (info->op == SINTER_OP_if) return BRANCH_TIMES;
    if (info->op == SINTER_OP_loop && info->operands[0] &&
        sinter_value_known_ints(e->module, info->operands[0], &trips, 1, &count) && count == 1 &&
        trips > 0)
        return (double)trips;
    e->out->unknown++;
    return 1;
}

/* Other names for elements that lie there, and what the host knows without looking. */
static bool is_free(const estimator *e, sinter_node node, const sinter_node_info *info) {
    const sinter_op_info *op = sinter_op_get_info(info->op);
    if (op->pattern == SINTER_PATTERN_SOURCE || op->pattern == SINTER_PATTERN_SEQUENCE ||
        sinter_op_has_trait(info->op, SINTER_TRAIT_TERMINATOR) || info->op == SINTER_OP_shape ||
        info->op == SINTER_OP_size)
        return true;
    sinter_cost cost = sinter_cost_node(e->module, node);
    return op->pattern == SINTER_PATTERN_VIEW && number(e, cost.read_bytes) == 0;
}

static void add_node(const estimator *e, sinter_node node) {
    sinter_node_info info = *sinter_node_get(e->module, node);
    if (is_free(e, node, &info)) return;
    if (info.op == SINTER_OP_collective_wait) {
        add_wait(e, node);
        return;
    }
    if (sinter_op_sends(info.op)) {
        add_exchange(e, node);
        return;
    }
    if (info.region_count && info.op != SINTER_OP_group) {
        estimator inner = *e;
        inner.times *= times_of(e, &info);
        for (uint32_t i = 0; i < info.region_count; i++) add_region(&inner, info.regions[i]);
        return;
    }
    sinter_estimate_step step = describe_step(e, node);
    if (sinter_node_exchanges(e->module, node)) add_inner_exchange(e, node, &step);
    keep_step(e, &step);
}

static void add_region(const estimator *e, sinter_region region) {
    SINTER_FOR_NODES (e->module, region, node) add_node(e, node);
}

/* ---- memory ---- */

/* Values live from their node, or the start, to their last use in the main region. Other names for the same elements live as
 * long as these. */
static double peak_bytes(const estimator *e) {
    uint32_t limit = sinter_module_value_limit(e->module), place = 1;
    uint32_t *last = SINTER_NEW_ARRAY(e->arena, uint32_t, limit),
             *root = SINTER_NEW_ARRAY(e->arena, uint32_t, limit);
    sinter_region main = sinter_module_main(e->module);
    double now = 0, peak = 0;
    for (sinter_value value = 1; value < limit; value++) root[value] = value;
    SINTER_FOR_NODES (e->module, main, node) {
        sinter_node_info info = *sinter_node_get(e->module, node);
        bool renames = info.result_count == 1 && info.operand_count &&
                       info.op != SINTER_OP_constant &&
                       (info.op == SINTER_OP_collective_wait || is_free(e, node, &info));
        if (renames && info.results[0] && info.operands[0])
            root[info.results[0]] = root[info.operands[0]];
        for (uint32_t i = 0; i < info.operand_count; i++)
            if (info.operands[i]) last[root[info.operands[i]]] = place;
        place++;
    }
    for (uint32_t i = 0; i < sinter_module_input_count(e->module); i++)
        now += bytes_of(e, sinter_module_input(e->module, i));
    peak = now;
    place = 1;
    SINTER_FOR_NODES (e->module, main, node) {
        sinter_node_info info = *sinter_node_get(e->module, node);
        for (uint32_t i = 0; i < info.result_count && info.op != SINTER_OP_constant; i++)
            if (info.results[i] && root[info.results[i]] == info.results[i])
                now += bytes_of(e, info.results[i]);
        if (now > peak) peak = now;
        for (uint32_t i = 0; i < info.operand_count; i++) {
            sinter_value value = info.operands[i] ? root[info.operands[i]] : 0;
            if (!value || last[value] != place || sinter_value_constant(e->module, value)) continue;
            now -= bytes_of(e, value);
            last[value] = 0;
        }
        place++;
    }
    return peak;
}

/* Symbols count as 1. */
static estimator estimator_of(sinter_module *module, const sinter_hardware *hardware,
                              sinter_arena *arena) {
    sinter_dim_table *dims = sinter_module_dims(module);
    return (estimator){.module = module,
                       .dims = dims,
                       .hardware = hardware,
                       .arena = arena,
                       .bindings = sinter_dim_assume(dims, arena, 1),
                       .times = 1};
}

void sinter_estimate_module(sinter_module *module, const sinter_hardware *hardware,
                            sinter_arena *arena, sinter_estimate *out_estimate) {
    sinter_link_clock clock = {0};
    *out_estimate = (sinter_estimate){0};
    estimator e = estimator_of(module, hardware, arena);
    e.clock = &clock;
    e.out = out_estimate;
    e.weight_bytes = out_estimate->weight_bytes = sinter_cost_weight_bytes(module);
    add_region(&e, sinter_module_main(module));
    out_estimate->activation_bytes = peak_bytes(&e);
}

sinter_estimate_step sinter_estimate_node(sinter_module *module, sinter_node node,
                                          const sinter_hardware *hardware, double weight_bytes,
                                          sinter_arena *arena) {
    estimator e = estimator_of(module, hardware, arena);
    e.weight_bytes = weight_bytes;
    return describe_step(&e, node);
}

void sinter_estimate_rounds(sinter_module *module, sinter_node node,
                            const sinter_hardware *hardware, sinter_arena *arena,
                            sinter_hardware_rounds *out_rounds) {
    const estimator e = estimator_of(module, hardware, arena);
    find_rounds(&e, node, out_rounds);
}

sinter_bound sinter_estimate_bound(const sinter_estimate *estimate) {
    int best = 0;
    for (int i = 1; i < SINTER_BOUND_COUNT; i++)
        if (estimate->bound_seconds[i] > estimate->bound_seconds[best]) best = i;
    return (sinter_bound)best;
}
