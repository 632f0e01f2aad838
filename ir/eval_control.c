/* Evaluator rules of loops: loop, scan, sequence_map. A region is run once an iteration; what it
 * yields beyond the carried values is kept and stacked at the end. Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <string.h>

/* How many values the region yields. */
static uint32_t yield_count(const sinter_eval *eval, sinter_region region) {
    sinter_node last = sinter_region_get(eval->module, region)->last;
    return last ? sinter_node_get(eval->module, last)->operand_count : 0;
}

/* Takes the tensor, or drops it where nobody wants the result. */
static void give_result(sinter_eval *eval, uint32_t index, sinter_tensor *tensor) {
    if (sinter_eval_wants(eval, index))
        eval->results[index] = *tensor;
    else
        sinter_tensor_deinit(tensor);
    *tensor = (sinter_tensor){0};
}

/* Tensors of one scan output, an iteration each. */
typedef struct stack {
    SINTER_VECTOR(sinter_tensor) parts;
} stack;

static void push_part(sinter_eval *eval, stack *s, sinter_tensor *tensor) {
    sinter_vector_push(eval->scratch, &s->parts, *tensor);
    *tensor = (sinter_tensor){0};
}

/* Where there was no iteration the dims are what the type says, 0 where it does not know. */
static bool create_empty(sinter_eval *eval, uint32_t result, uint32_t axis) {
    const sinter_type *type = sinter_value_type(eval->module, eval->info->results[result]);
    int64_t dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < type->rank; i++)
        if (i == axis || !sinter_eval_find_dim(eval, type->dims[i], &dims[i]) || dims[i] < 0)
            dims[i] = 0;
    return sinter_eval_create(eval, result, type->dtype, type->rank, dims) != NULL;
}

/* The parts as slices along a new axis `axis`, last first where reversed. */
static bool store_stack(sinter_eval *eval, uint32_t result, const stack *s, int64_t wanted_axis,
                        bool reversed) {
    if (!sinter_eval_wants(eval, result)) return true;
    const sinter_type *type = sinter_value_type(eval->module, eval->info->results[result]);
    uint32_t axis, rank = s->parts.count ? s->parts.items[0].rank + 1 : type->rank;
    if (!sinter_eval_axis(eval, wanted_axis, rank, &axis)) return false;
    if (!s->parts.count) return create_empty(eval, result, axis);
    const sinter_tensor *first = &s->parts.items[0];
    int64_t dims[SINTER_MAX_RANK + 1], count = (int64_t)s->parts.count;
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = i < axis ? first->dims[i] : i == axis ? count : first->dims[i - 1];
    sinter_tensor *output = sinter_eval_create(eval, result, first->dtype, rank, dims);
    if (!output) return false;
    sinter_lanes lanes = sinter_eval_lanes(rank, dims, axis);
    for (int64_t n = 0; n < count; n++) {
        const sinter_tensor *part = &s->parts.items[n];
        bool same = part->kind == SINTER_TYPE_TENSOR && part->dtype == first->dtype &&
                    part->rank == first->rank;
        for (uint32_t i = 0; same && i < first->rank; i++) same = part->dims[i] == first->dims[i];
        if (!same)
            return sinter_eval_error(eval, "iteration %" PRId64 " yields %s, the first one %s", n,
                                     sinter_eval_describe(eval, part),
                                     sinter_eval_describe(eval, first));
        int64_t place = reversed ? count - 1 - n : n;
        for (int64_t o = 0; o < lanes.outer; o++)
            sinter_eval_copy_elements(output, (o * count + place) * lanes.inner, part,
                                      o * lanes.inner, lanes.inner);
    }
    return true;
}

static void deinit_stacks(stack *stacks, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        sinter_tensors_deinit(stacks[i].parts.items, stacks[i].parts.count);
}

/* ---- loop ---- */

/* An argument of one element, as the region declares it (rank 0, or 1). */
static bool make_counter(sinter_eval *eval, sinter_value argument, sinter_dtype dtype,
                         int64_t value, sinter_tensor *out_tensor) {
    int64_t one = 1;
    uint32_t rank = sinter_value_type(eval->module, argument)->rank ? 1 : 0;
    if (!sinter_eval_temporary(eval, out_tensor, dtype, rank, &one)) return false;
    sinter_tensor_set_int(out_tensor, 0, value);
    return true;
}

typedef struct loop {
    sinter_region region;
    uint32_t carried, scans;
    int64_t limit; /* -1: none */
    bool has_condition, condition;
    sinter_tensor *arguments; /* counter, condition, carried */
    sinter_tensor *yields;    /* condition, carried, scans */
    stack *stacks;
} loop;

static bool read_loop(sinter_eval *eval, loop *l) {
    if (eval->info->region_count != 1) return sinter_eval_error(eval, "needs one region");
    l->region = eval->info->regions[0];
    const sinter_region_info *region = sinter_region_get(eval->module, l->region);
    uint32_t yields = yield_count(eval, l->region);
    l->carried = eval->info->operand_count > 2 ? eval->info->operand_count - 2 : 0;
    if (region->argument_count != l->carried + 2 || yields < l->carried + 1)
        return sinter_eval_error(eval,
                                 "the body takes %u values and yields %u, expected %u and at "
                                 "least %u",
                                 region->argument_count, yields, l->carried + 2, l->carried + 1);
    l->scans = yields - 1 - l->carried;
    l->limit = -1;
    if (sinter_eval_operand(eval, 0)) {
        if (!sinter_eval_int_scalar(eval, 0, &l->limit)) return false;
        if (l->limit < 0) l->limit = 0;
    }
    l->has_condition = sinter_eval_operand(eval, 1) != NULL;
    int64_t condition = 1;
    if (l->has_condition && !sinter_eval_int_scalar(eval, 1, &condition)) return false;
    l->condition = condition != 0;
    l->arguments = SINTER_NEW_ARRAY(eval->scratch, sinter_tensor, l->carried + 2);
    l->yields = SINTER_NEW_ARRAY(eval->scratch, sinter_tensor, yields);
    l->stacks = SINTER_NEW_ARRAY(eval->scratch, stack, l->scans + 1);
    for (uint32_t i = 0; i < l->carried; i++) {
        if (!eval->operands[i + 2]) return sinter_eval_error(eval, "a carried value is absent");
        sinter_tensor_copy(&l->arguments[i + 2], eval->operands[i + 2]);
    }
    return true;
}

static bool run_iteration(sinter_eval *eval, loop *l, int64_t iteration) {
    const sinter_value *names = sinter_region_get(eval->module, l->region)->arguments;
    if (!make_counter(eval, names[0], SINTER_DTYPE_i64, iteration, &l->arguments[0]) ||
        !make_counter(eval, names[1], SINTER_DTYPE_bool, l->condition, &l->arguments[1]) ||
        !sinter_eval_region(eval, l->region, l->arguments, l->carried + 2, l->yields,
                            1 + l->carried + l->scans))
        return false;
    sinter_tensors_deinit(l->arguments, l->carried + 2);
    if (l->yields[0].kind != SINTER_TYPE_TENSOR || sinter_tensor_count(&l->yields[0]) != 1)
        return sinter_eval_error(eval, "the body's condition is %s",
                                 sinter_eval_describe(eval, &l->yields[0]));
    if (l->has_condition) l->condition = sinter_tensor_get_int(&l->yields[0], 0) != 0;
    sinter_tensor_deinit(&l->yields[0]);
    memcpy(l->arguments + 2, l->yields + 1, l->carried * sizeof *l->yields);
    for (uint32_t i = 0; i < l->scans; i++)
        push_part(eval, &l->stacks[i], &l->yields[1 + l->carried + i]);
    memset(l->yields, 0, (1 + l->carried + l->scans) * sizeof *l->yields);
    return true;
}

bool eval_loop(sinter_eval *eval) {
    loop l = {0};
    bool good = read_loop(eval, &l);
    for (int64_t i = 0; good && l.condition && (l.limit < 0 || i < l.limit); i++)
        good = run_iteration(eval, &l, i);
    for (uint32_t i = 0; good && i < l.carried; i++) give_result(eval, i, &l.arguments[i + 2]);
    for (uint32_t i = 0; good && i < l.scans; i++)
        good = store_stack(eval, l.carried + i, &l.stacks[i], 0, false);
    if (l.arguments) sinter_tensors_deinit(l.arguments, l.carried + 2);
    if (l.yields) sinter_tensors_deinit(l.yields, 1 + l.carried + l.scans);
    if (l.stacks) deinit_stacks(l.stacks, l.scans);
    return good;
}

/* ---- scan ---- */

/* Number `index` of an ints attribute, 0 where absent or short. */
static int64_t attr_at(const sinter_eval *eval, const char *name, size_t index) {
    const int64_t *items;
    return index < sinter_eval_ints_attr(eval, name, &items) ? items[index] : 0;
}

/* Element `index` along `axis`, which goes. */
static bool take_slice(sinter_eval *eval, const sinter_tensor *tensor, uint32_t axis, int64_t index,
                       sinter_tensor *out_slice) {
    int64_t dims[SINTER_MAX_RANK];
    uint32_t rank = 0;
    for (uint32_t i = 0; i < tensor->rank; i++)
        if (i != axis) dims[rank++] = tensor->dims[i];
    if (!sinter_eval_temporary(eval, out_slice, tensor->dtype, rank, dims)) return false;
    sinter_lanes lanes = sinter_eval_lanes(tensor->rank, tensor->dims, axis);
    for (int64_t o = 0; o < lanes.outer; o++)
        sinter_eval_copy_elements(out_slice, o * lanes.inner, tensor,
                                  (o * lanes.count + index) * lanes.inner, lanes.inner);
    return true;
}

typedef struct scan {
    sinter_region region;
    uint32_t states, inputs, outputs, *axes;
    int64_t length;
    sinter_tensor *arguments, *yields; /* states, inputs; states, outputs */
    stack *stacks;
} scan;

static bool read_scan(sinter_eval *eval, scan *s) {
    if (eval->info->region_count != 1) return sinter_eval_error(eval, "needs one region");
    s->region = eval->info->regions[0];
    int64_t inputs = sinter_eval_int(eval, "num_scan_inputs");
    if (inputs < 1 || inputs > eval->info->operand_count)
        return sinter_eval_error(eval, "num_scan_inputs is %" PRId64, inputs);
    s->inputs = (uint32_t)inputs;
    s->states = eval->info->operand_count - s->inputs;
    uint32_t yields = yield_count(eval, s->region);
    if (yields < s->states)
        return sinter_eval_error(eval, "the body yields %u values, there are %u states", yields,
                                 s->states);
    s->outputs = yields - s->states;
    s->axes = SINTER_NEW_ARRAY(eval->scratch, uint32_t, s->inputs);
    s->arguments = SINTER_NEW_ARRAY(eval->scratch, sinter_tensor, eval->info->operand_count + 1);
    s->yields = SINTER_NEW_ARRAY(eval->scratch, sinter_tensor, yields + 1);
    s->stacks = SINTER_NEW_ARRAY(eval->scratch, stack, s->outputs + 1);
    for (uint32_t i = 0; i < s->inputs; i++) {
        const sinter_tensor *input = eval->operands[s->states + i];
        if (!sinter_eval_expect_rank(eval, s->states + i, 1, SINTER_MAX_RANK) ||
            !sinter_eval_axis(eval, attr_at(eval, "scan_input_axes", i), input->rank, &s->axes[i]))
            return false;
        if (i && input->dims[s->axes[i]] != s->length)
            return sinter_eval_error(eval, "scan inputs have %" PRId64 " and %" PRId64 " elements",
                                     s->length, input->dims[s->axes[i]]);
        s->length = input->dims[s->axes[i]];
    }
    for (uint32_t i = 0; i < s->states; i++) {
        if (!eval->operands[i]) return sinter_eval_error(eval, "a state is absent");
        sinter_tensor_copy(&s->arguments[i], eval->operands[i]);
    }
    return true;
}

static bool run_scan_step(sinter_eval *eval, scan *s, int64_t step) {
    for (uint32_t i = 0; i < s->inputs; i++) {
        bool backward = attr_at(eval, "scan_input_directions", i) != 0;
        if (!take_slice(eval, eval->operands[s->states + i], s->axes[i],
                        backward ? s->length - 1 - step : step, &s->arguments[s->states + i]))
            return false;
    }
    if (!sinter_eval_region(eval, s->region, s->arguments, s->states + s->inputs, s->yields,
                            s->states + s->outputs))
        return false;
    sinter_tensors_deinit(s->arguments, s->states + s->inputs);
    memcpy(s->arguments, s->yields, s->states * sizeof *s->yields);
    for (uint32_t i = 0; i < s->outputs; i++)
        push_part(eval, &s->stacks[i], &s->yields[s->states + i]);
    memset(s->yields, 0, (s->states + s->outputs) * sizeof *s->yields);
    return true;
}

bool eval_scan(sinter_eval *eval) {
    scan s = {0};
    bool good = read_scan(eval, &s);
    for (int64_t i = 0; good && i < s.length; i++) good = run_scan_step(eval, &s, i);
    for (uint32_t i = 0; good && i < s.states; i++) give_result(eval, i, &s.arguments[i]);
    for (uint32_t i = 0; good && i < s.outputs; i++)
        good = store_stack(eval, s.states + i, &s.stacks[i], attr_at(eval, "scan_output_axes", i),
                           attr_at(eval, "scan_output_directions", i) != 0);
    if (s.arguments) sinter_tensors_deinit(s.arguments, s.states + s.inputs);
    if (s.yields) sinter_tensors_deinit(s.yields, s.states + s.outputs);
    if (s.stacks) deinit_stacks(s.stacks, s.outputs);
    return good;
}

/* ---- map over sequences ---- */

bool eval_sequence_map(sinter_eval *eval) {
    if (eval->info->region_count != 1) return sinter_eval_error(eval, "needs one region");
    sinter_region region = eval->info->regions[0];
    uint32_t inputs = eval->info->operand_count, outputs = yield_count(eval, region);
    size_t length = eval->operands[0]->item_count;
    for (uint32_t i = 0; i < inputs; i++)
        if (eval->operands[i]->kind == SINTER_TYPE_SEQUENCE &&
            eval->operands[i]->item_count != length)
            return sinter_eval_error(eval, "sequences have %zu and %zu elements", length,
                                     eval->operands[i]->item_count);
    if (eval->operands[0]->kind != SINTER_TYPE_SEQUENCE || outputs != eval->info->result_count)
        return sinter_eval_error(eval, "needs a sequence and a body of %u results",
                                 eval->info->result_count);
    for (uint32_t i = 0; i < outputs; i++) {
        const sinter_type *type = sinter_value_type(eval->module, eval->info->results[i]);
        eval->results[i].kind = SINTER_TYPE_SEQUENCE;
        eval->results[i].dtype = type->element ? type->element->dtype : SINTER_DTYPE_NONE;
        eval->results[i].items = sinter_heap_alloc((length + 1) * sizeof(sinter_tensor));
    }
    sinter_tensor *arguments = SINTER_NEW_ARRAY(eval->scratch, sinter_tensor, inputs + 1);
    sinter_tensor *yields = SINTER_NEW_ARRAY(eval->scratch, sinter_tensor, outputs + 1);
    for (size_t n = 0; n < length; n++) {
        for (uint32_t i = 0; i < inputs; i++) /* borrowed: regions copy their arguments */
            arguments[i] = eval->operands[i]->kind == SINTER_TYPE_SEQUENCE
                               ? eval->operands[i]->items[n]
                               : *eval->operands[i];
        if (!sinter_eval_region(eval, region, arguments, inputs, yields, outputs)) return false;
        for (uint32_t i = 0; i < outputs; i++)
            eval->results[i].items[eval->results[i].item_count++] = yields[i];
    }
    return true;
}
