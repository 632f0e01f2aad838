/* Inference of the ops that own regions, and of the sources. A rule types its regions' arguments, infers the regions
 * and joins what they yield. Dims that belong to a region do not leave it: a result has symbols of its own there. A
 * loop's carried values are widened, dim by dim, until one more round changes nothing.
 * Test: tests/ir/infer_control.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>
#include <string.h>

/* ---- what control rules share ---- */

/* Sets the type of a region argument unless it is equal already; true where it changed. */
static bool set_argument(sinter_module *module, sinter_value argument, const sinter_type *type) {
    if (sinter_type_equal(sinter_value_type(module, argument), type)) return false;
    sinter_value_set_type(module, argument,
                          sinter_infer_copy_type(sinter_module_arena(module), type));
    return true;
}

static uint32_t yield_count(const sinter_module *module, sinter_region region) {
    sinter_node last = sinter_region_get(module, region)->last;
    return last ? sinter_node_get(module, last)->operand_count : 0;
}

/* Operand k of the region's yield, 0 past the end. */
static sinter_value yielded(const sinter_module *module, sinter_region region, uint32_t k) {
    sinter_node last = sinter_region_get(module, region)->last;
    return last ? sinter_node_operand(module, last, k) : 0;
}

bool sinter_infer_join(sinter_infer *infer, const sinter_type *a, const sinter_type *b,
                       sinter_type *out_type) {
    *out_type = *a;
    if (a->kind == SINTER_TYPE_NONE && !a->dtype) { /* a sequence that has no element yet */
        *out_type = *b;
        return true;
    }
    if (b->kind == SINTER_TYPE_NONE && !b->dtype) return true;
    if ((a->kind == SINTER_TYPE_NONE || a->kind == SINTER_TYPE_TENSOR) &&
        (b->kind == SINTER_TYPE_NONE || b->kind == SINTER_TYPE_TENSOR)) {
        if (a->dtype != b->dtype) return false;
        if (a->kind != b->kind || a->rank != b->rank) {
            *out_type = (sinter_type){.kind = SINTER_TYPE_NONE, .dtype = a->dtype};
            return true;
        }
        sinter_dim *dims = SINTER_NEW_ARRAY(infer->arena, sinter_dim, a->rank);
        for (uint32_t i = 0; i < a->rank; i++) dims[i] = a->dims[i] == b->dims[i] ? a->dims[i] : 0;
        out_type->dims = dims;
        return true;
    }
    if (a->kind != b->kind || !a->element || !b->element) return false;
    sinter_type *element = SINTER_NEW(infer->arena, sinter_type);
    out_type->element = element;
    return sinter_infer_join(infer, a->element, b->element, element);
}

/* Dims of 0, and dims made of symbols of the region, become symbols of the value. Elements of sequences share the
 * numbering after the value's own. */
static void name_dims(sinter_infer *infer, sinter_type *type, sinter_region region,
                      sinter_value value, uint32_t base, const char *prefix) {
    sinter_module *module = infer->module;
    if (type->kind == SINTER_TYPE_TENSOR) {
        sinter_dim *dims = SINTER_NEW_ARRAY(infer->arena, sinter_dim, type->rank);
        for (uint32_t i = 0; i < type->rank; i++) {
            dims[i] = type->dims[i];
            if (!dims[i] || (region && sinter_infer_dim_mentions_region(module, dims[i], region)))
                dims[i] = sinter_infer_own_symbol(module, SINTER_DIM_ORIGIN_NODE, value, base + i,
                                                  prefix);
        }
        type->dims = dims;
    } else if (type->element) {
        sinter_type *element = SINTER_NEW(infer->arena, sinter_type);
        *element = *type->element;
        name_dims(infer, element, region, value, base + SINTER_MAX_RANK, prefix);
        type->element = element;
    }
}

/* A joined type as result `result`. A tensor of unknown rank is refused. */
static bool set_joined(sinter_infer *infer, uint32_t result, sinter_type type, sinter_region region,
                       const char *prefix) {
    sinter_value value = result < infer->info->result_count ? infer->info->results[result] : 0;
    if (!value) return true;
    if (type.kind == SINTER_TYPE_NONE)
        return sinter_infer_error(
            infer,
            "the rank of result %" PRIu32
            " is not known: it differs between ways to get there [control_c1]",
            result);
    if (type.kind == SINTER_TYPE_TENSOR) { /* declared dims are taken over where they are needed */
        sinter_dim dims[SINTER_MAX_RANK];
        for (uint32_t i = 0; i < type.rank; i++) {
            bool leaves =
                !type.dims[i] ||
                (region && sinter_infer_dim_mentions_region(infer->module, type.dims[i], region));
            dims[i] = leaves ? sinter_infer_node_dim(infer, result, i, prefix) : type.dims[i];
        }
        sinter_infer_set(infer, result, type.dtype, type.rank, dims);
        return true;
    }
    name_dims(infer, &type, region, value, 0, prefix);
    sinter_infer_set_type(infer, result, type);
    return true;
}

static bool check_region_count(sinter_infer *infer, uint32_t count) {
    return infer->info->region_count == count ||
           sinter_infer_error(infer, "expected %" PRIu32 " region(s), got %" PRIu32 "", count,
                              infer->info->region_count);
}

static bool check_signature(sinter_infer *infer, sinter_region region, uint32_t arguments,
                            uint32_t yields) {
    uint32_t have = sinter_region_get(infer->module, region)->argument_count;
    uint32_t found = yield_count(infer->module, region);
    if (have == arguments && found >= yields) return true;
    return sinter_infer_error(infer,
                              "the region takes %" PRIu32 " and yields %" PRIu32
                              " values, expected %" PRIu32 " and %" PRIu32 " [control_c3]",
                              have, found, arguments, yields);
}

/* ---- structure ---- */

bool infer_yield(sinter_infer *infer) {
    (void)infer; /* no results */
    return true;
}

bool infer_group(sinter_infer *infer) {
    if (!check_region_count(infer, 1)) return false;
    sinter_region region = infer->info->regions[0];
    if (!check_signature(infer, region, infer->info->operand_count, infer->info->result_count))
        return false;
    for (uint32_t i = 0; i < infer->info->operand_count; i++) {
        const sinter_value_info *operand =
            sinter_value_get(infer->module, infer->info->operands[i]);
        sinter_value argument = sinter_region_get(infer->module, region)->arguments[i];
        set_argument(infer->module, argument, &operand->type);
        if (operand->content_count)
            sinter_value_set_content(infer->module, argument, operand->content,
                                     operand->content_count);
    }
    if (!sinter_infer_region(infer->module, region, infer->diag)) return false;
    for (uint32_t r = 0; r < infer->info->result_count; r++)
        if (!set_joined(infer, r,
                        *sinter_value_type(infer->module, yielded(infer->module, region, r)),
                        region, "fused"))
            return false;
    return true;
}

bool infer_if(sinter_infer *infer) {
    size_t count;
    if (!check_region_count(infer, 2)) return false;
    if (sinter_infer_count(infer, 0, &count) && count != 1)
        return sinter_infer_error(infer, "the condition must be one bool, got %s [if_c1]",
                                  sinter_infer_text(infer, 0));
    const sinter_region *regions = infer->info->regions;
    for (uint32_t k = 0; k < 2; k++)
        if (!check_signature(infer, regions[k], 0, infer->info->result_count) ||
            !sinter_infer_region(infer->module, regions[k], infer->diag))
            return false;
    for (uint32_t r = 0; r < infer->info->result_count; r++) {
        const sinter_type *types[2];
        sinter_type joined;
        for (uint32_t k = 0; k < 2; k++)
            types[k] = sinter_value_type(infer->module, yielded(infer->module, regions[k], r));
        if (!sinter_infer_join(infer, types[0], types[1], &joined) ||
            (joined.kind == SINTER_TYPE_NONE && infer->info->results[r]))
            return sinter_infer_error(infer,
                                      "the branches yield %s and %s for result %" PRIu32 " [if_c2]",
                                      sinter_infer_type_text(infer, types[0]),
                                      sinter_infer_type_text(infer, types[1]), r);
        if (!set_joined(infer, r, joined, regions[0], "either")) return false;
    }
    return true;
}

/* ---- carried values ---- */

/* A carried argument starts as its initial value is, or wider, as an earlier round left it: a dim that is the
 * argument's own symbol stays one. */
static void start_argument(sinter_infer *infer, sinter_value argument, const sinter_type *initial) {
    const sinter_type *before = sinter_value_type(infer->module, argument);
    sinter_type type = *initial;
    sinter_dim dims[SINTER_MAX_RANK];
    if (before->kind == SINTER_TYPE_TENSOR && initial->kind == SINTER_TYPE_TENSOR &&
        before->rank == initial->rank) {
        for (uint32_t i = 0; i < type.rank; i++) {
            dims[i] = initial->dims[i];
            if (sinter_dim_get_kind(infer->dims, before->dims[i]) != SINTER_DIM_SYMBOL) continue;
            const sinter_dim_symbol *symbol = sinter_dim_get_symbol(infer->dims, before->dims[i]);
            if (symbol->origin == SINTER_DIM_ORIGIN_NODE && symbol->value == argument)
                dims[i] = before->dims[i];
        }
        type.dims = dims;
    } else if (before->element && initial->element) {
        sinter_type joined;
        if (sinter_infer_join(infer, before, initial, &joined)) {
            name_dims(infer, &joined, 0, argument, 0, "carried");
            type = joined;
        }
    }
    set_argument(infer->module, argument, &type);
}

/* Argument `argument` also takes the type of `next`; true in *changed where that widened it. */
static bool widen_argument(sinter_infer *infer, sinter_region region, sinter_value argument,
                           sinter_value next, bool *changed) {
    const sinter_type *type = sinter_value_type(infer->module, argument),
                      *yielded = sinter_value_type(infer->module, next);
    sinter_type joined;
    if (!sinter_infer_join(infer, type, yielded, &joined) ||
        (joined.kind == SINTER_TYPE_NONE && type->kind == SINTER_TYPE_TENSOR))
        return sinter_infer_error(
            infer, "a carried value starts as %s and comes back as %s [loop_c1]",
            sinter_infer_type_text(infer, type), sinter_infer_type_text(infer, yielded));
    (void)region;
    name_dims(infer, &joined, 0, argument, 0, "carried");
    *changed |= set_argument(infer->module, argument, &joined);
    return true;
}

/* Arguments first..first+count-1 carry what the yield gives from `yield_first` on. Infers the region until stable. */
static bool infer_carried(sinter_infer *infer, sinter_region region, uint32_t first, uint32_t count,
                          uint32_t yield_first) {
    for (;;) {
        bool changed = false;
        if (!sinter_infer_region(infer->module, region, infer->diag)) return false;
        for (uint32_t i = 0; i < count; i++) {
            sinter_value argument = sinter_region_get(infer->module, region)->arguments[first + i];
            if (!widen_argument(infer, region, argument,
                                yielded(infer->module, region, yield_first + i), &changed))
                return false;
        }
        if (!changed) return true;
        sinter_infer_forget_region(infer->module, region);
    }
}

/* The final value: the initial one after no round at all, else what the region yields. */
static bool set_final(sinter_infer *infer, sinter_region region, uint32_t result,
                      const sinter_type *initial, sinter_value yielded) {
    sinter_type joined;
    if (!sinter_infer_join(infer, initial, sinter_value_type(infer->module, yielded), &joined))
        return sinter_infer_error(
            infer, "a carried value starts as %s and comes back as %s [loop_c1]",
            sinter_infer_type_text(infer, initial),
            sinter_infer_type_text(infer, sinter_value_type(infer->module, yielded)));
    return set_joined(infer, result, joined, region, "carried");
}

/* Slices of the yielded tensor stacked `trips` times along axis. */
static bool set_stacked(sinter_infer *infer, sinter_region region, uint32_t result,
                        sinter_value yielded, int64_t axis, sinter_dim trips) {
    const sinter_type *slice = sinter_value_type(infer->module, yielded);
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t place;
    if (result >= infer->info->result_count || !infer->info->results[result]) return true;
    if (slice->kind != SINTER_TYPE_TENSOR)
        return sinter_infer_error(infer, "only tensors are stacked, not %s [loop_c2]",
                                  sinter_infer_type_text(infer, slice));
    if (!sinter_infer_check_result_rank(infer, slice->rank + UINT64_C(1)) ||
        !sinter_infer_axis(infer, axis, slice->rank + 1, &place))
        return false;
    for (uint32_t i = 0, from = 0; i <= slice->rank; i++) {
        sinter_dim dim = i == place ? trips : slice->dims[from++];
        bool unknown = !dim || sinter_infer_dim_mentions_region(infer->module, dim, region);
        dims[i] = unknown
                      ? sinter_infer_node_dim(infer, result, i, i == place ? "trips" : "stacked")
                      : dim;
    }
    sinter_infer_set(infer, result, slice->dtype, slice->rank + 1, dims);
    return true;
}

/* ---- loop ---- */

static bool is_true(const sinter_module *module, sinter_value value) {
    int64_t item;
    size_t count;
    return sinter_value_known_ints(module, value, &item, 1, &count) && count == 1 && item != 0;
}

/* Whether the condition can't end the loop: it is true before and in each round. */
static bool runs_all_trips(const sinter_infer *infer, sinter_region region) {
    const sinter_module *module = infer->module;
    sinter_value initial = sinter_node_operand(module, infer->node, 1),
                 next = yielded(module, region, 0);
    if (initial && !is_true(module, initial)) return false;
    for (;;) { /* through identities to the argument itself */
        sinter_node definition = sinter_value_get(module, next)->definition;
        if (!definition || sinter_node_get(module, definition)->op != SINTER_OP_identity) break;
        next = sinter_node_operand(module, definition, 0);
    }
    return next == sinter_region_get(module, region)->arguments[1] || is_true(module, next);
}

bool infer_loop(sinter_infer *infer) {
    sinter_module *module = infer->module;
    if (!check_region_count(infer, 1)) return false;
    sinter_region region = infer->info->regions[0];
    uint32_t carried = infer->info->operand_count > 2 ? infer->info->operand_count - 2 : 0;
    uint32_t yields = yield_count(module, region);
    if (!check_signature(infer, region, carried + 2, carried + 1)) return false;
    if (!sinter_infer_check_scalar(infer, 0) || !sinter_infer_check_scalar(infer, 1)) return false;
    if (infer->info->result_count > yields - 1)
        return sinter_infer_error(infer,
                                  "%" PRIu32
                                  " results, but the region yields a condition and %" PRIu32
                                  " values [loop_c3]",
                                  infer->info->result_count, yields - 1);
    sinter_type iteration = sinter_infer_scalar_type(SINTER_DTYPE_i64),
                condition = sinter_infer_scalar_type(SINTER_DTYPE_bool);
    const sinter_value *arguments = sinter_region_get(module, region)->arguments;
    set_argument(module, arguments[0], &iteration);
    set_argument(module, arguments[1], &condition);
    for (uint32_t i = 0; i < carried; i++)
        start_argument(infer, arguments[i + 2], sinter_infer_operand(infer, i + 2));
    if (!infer_carried(infer, region, 2, carried, 1)) return false;
    for (uint32_t i = 0; i < carried && i < infer->info->result_count; i++)
        if (!set_final(infer, region, i, sinter_infer_operand(infer, i + 2),
                       yielded(module, region, i + 1)))
            return false;
    if (infer->info->result_count <= carried) return true;
    sinter_dim trips = 0;
    if (sinter_infer_has(infer, 0) && runs_all_trips(infer, region)) {
        trips = sinter_infer_demand_scalar(infer, 0);
        if (trips) trips = sinter_infer_not_negative(infer, trips);
    }
    for (uint32_t r = carried; r < infer->info->result_count; r++) {
        if (!set_stacked(infer, region, r, yielded(module, region, r + 1), 0, trips)) return false;
        if (!trips && infer->info->results[r]) trips = infer->results[r].dims[0];
    }
    return true;
}

/* ---- scan ---- */

/* The element of scan input `operand`, without its scanned axis. */
static bool set_scanned(sinter_infer *infer, sinter_value argument, uint32_t operand, int64_t axis,
                        sinter_dim *trips) {
    const sinter_type *type = sinter_infer_operand(infer, operand);
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t place, rank = 0;
    if (!sinter_infer_check_rank(infer, operand, 1, SINTER_MAX_RANK) ||
        !sinter_infer_axis(infer, axis, type->rank, &place))
        return false;
    for (uint32_t i = 0; i < type->rank; i++)
        if (i != place) dims[rank++] = type->dims[i];
    if (!*trips)
        *trips = type->dims[place];
    else if (!sinter_infer_unify_dim(infer, *trips, type->dims[place], trips))
        return sinter_infer_error(infer, "the scanned lengths differ: %s and that of %s [scan_c1]",
                                  sinter_infer_dim_text(infer, *trips),
                                  sinter_infer_text(infer, operand));
    sinter_type slice = sinter_type_tensor(infer->arena, type->dtype, rank, dims);
    set_argument(infer->module, argument, &slice);
    return true;
}

bool infer_scan(sinter_infer *infer) {
    sinter_module *module = infer->module;
    int64_t scans = sinter_node_get_int(module, infer->node, "num_scan_inputs", 0);
    uint32_t operands = infer->info->operand_count;
    const int64_t *axes;
    if (!check_region_count(infer, 1)) return false;
    sinter_region region = infer->info->regions[0];
    if (scans < 1 || scans > operands)
        return sinter_infer_error(
            infer, "num_scan_inputs is %" PRId64 " of %" PRIu32 " operands [scan_c2]", scans,
            operands);
    uint32_t states = operands - (uint32_t)scans;
    if (!check_signature(infer, region, operands, states)) return false;
    if (infer->info->result_count > yield_count(module, region))
        return sinter_infer_error(infer, "there are more results than the region yields [scan_c3]");
    const sinter_value *arguments = sinter_region_get(module, region)->arguments;
    size_t axis_count = sinter_node_get_ints(module, infer->node, "scan_input_axes", &axes);
    sinter_dim trips = 0;
    for (uint32_t i = 0; i < states; i++)
        start_argument(infer, arguments[i], sinter_infer_operand(infer, i));
    for (uint32_t i = states; i < operands; i++)
        if (!set_scanned(infer, arguments[i], i, i - states < axis_count ? axes[i - states] : 0,
                         &trips))
            return false;
    if (!infer_carried(infer, region, 0, states, 0)) return false;
    for (uint32_t i = 0; i < states; i++)
        if (!set_final(infer, region, i, sinter_infer_operand(infer, i),
                       yielded(module, region, i)))
            return false;
    axis_count = sinter_node_get_ints(module, infer->node, "scan_output_axes", &axes);
    for (uint32_t r = states; r < infer->info->result_count; r++) {
        int64_t axis = r - states < axis_count ? axes[r - states] : 0;
        if (!set_stacked(infer, region, r, yielded(module, region, r), axis, trips)) return false;
    }
    return true;
}

/* ---- sequence_map ---- */

bool infer_sequence_map(sinter_infer *infer) {
    sinter_module *module = infer->module;
    if (!check_region_count(infer, 1)) return false;
    sinter_region region = infer->info->regions[0];
    if (!check_signature(infer, region, infer->info->operand_count, infer->info->result_count))
        return false;
    if (sinter_infer_operand(infer, 0)->kind != SINTER_TYPE_SEQUENCE)
        return sinter_infer_error(
            infer, "operand 'input_sequence' must be a sequence, not %s [sequence_c1]",
            sinter_infer_text(infer, 0));
    for (uint32_t i = 0; i < infer->info->operand_count; i++) {
        sinter_value argument = sinter_region_get(module, region)->arguments[i];
        const sinter_type *type = sinter_infer_operand(infer, i);
        sinter_type element = *type;
        if (type->kind == SINTER_TYPE_SEQUENCE) {
            element = *type->element;
            if (element.kind == SINTER_TYPE_NONE)
                return sinter_infer_error(
                    infer, "the rank of the elements of %s is not known [sequence_c2]",
                    sinter_infer_text(infer, i));
            if (element.kind ==
                SINTER_TYPE_TENSOR) { /* each element has symbols for what is not a number */
                sinter_dim dims[SINTER_MAX_RANK];
                int64_t value;
                for (uint32_t d = 0; d < element.rank; d++) {
                    bool known = sinter_dim_is_const(infer->dims, element.dims[d], &value);
                    dims[d] = known ? element.dims[d]
                                    : sinter_infer_own_symbol(module, SINTER_DIM_ORIGIN_NODE,
                                                              argument, d, "element");
                }
                element = sinter_type_tensor(infer->arena, element.dtype, element.rank, dims);
            }
        }
        set_argument(module, argument, &element);
    }
    if (!sinter_infer_region(module, region, infer->diag)) return false;
    for (uint32_t r = 0; r < infer->info->result_count; r++) {
        sinter_type *element = SINTER_NEW(infer->arena, sinter_type);
        *element = *sinter_value_type(module, yielded(module, region, r));
        if (!set_joined(infer, r, (sinter_type){.kind = SINTER_TYPE_SEQUENCE, .element = element},
                        region, "element"))
            return false;
    }
    return true;
}

/* ---- sources ---- */

bool infer_constant(sinter_infer *infer) {
    const sinter_tensor *value = sinter_node_find_attr(infer->module, infer->node, "value")->tensor;
    sinter_dim dims[SINTER_MAX_RANK];
    if (value->kind != SINTER_TYPE_TENSOR)
        return sinter_infer_error(infer, "the value is not a tensor");
    for (uint32_t i = 0; i < value->rank; i++) dims[i] = sinter_infer_number(infer, value->dims[i]);
    sinter_infer_set(infer, 0, value->dtype, value->rank, dims);
    return true;
}

bool infer_dim_vector(sinter_infer *infer) {
    const int64_t *items;
    sinter_dim count = sinter_infer_number(
        infer, (int64_t)sinter_node_get_ints(infer->module, infer->node, "dims", &items));
    sinter_infer_set(infer, 0, SINTER_DTYPE_i64, 1, &count);
    return true;
}
