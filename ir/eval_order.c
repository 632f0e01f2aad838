/* Evaluator rules of ops that order, select or run along an axis: top_k, unique, non_zero, cum_sum,
 * cum_prod. Ties go to the lower index; NaN is above every number. Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>

/* ---- top k ---- */

typedef struct lane {
    const sinter_tensor *tensor;
    int64_t first, step;
    bool descending;
} lane;

static int compare_in_lane(const void *context, int64_t a, int64_t b) {
    const lane *l = context;
    int order =
        sinter_eval_compare(l->tensor, l->first + a * l->step, l->tensor, l->first + b * l->step);
    return l->descending ? -order : order;
}

bool eval_top_k(sinter_eval *eval) {
    const sinter_tensor *x = eval->operands[0];
    uint32_t axis;
    int64_t k, dims[SINTER_MAX_RANK];
    if (!sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), x->rank, &axis) ||
        !sinter_eval_int_scalar(eval, 1, &k))
        return false;
    if (k < 0 || k > x->dims[axis])
        return sinter_eval_error(eval, "k is %" PRId64 ", the axis has %" PRId64 " elements", k,
                                 x->dims[axis]);
    for (uint32_t i = 0; i < x->rank; i++) dims[i] = i == axis ? k : x->dims[i];
    sinter_tensor *values = sinter_eval_create(eval, 0, x->dtype, x->rank, dims);
    sinter_tensor *indices = sinter_eval_create(eval, 1, SINTER_DTYPE_i64, x->rank, dims);
    if (!values || !indices) return false;
    sinter_lanes lanes = sinter_eval_lanes(x->rank, x->dims, axis);
    int64_t *order = SINTER_NEW_ARRAY(eval->scratch, int64_t, lanes.count + 1);
    lane l = {
        .tensor = x, .step = lanes.inner, .descending = sinter_eval_int(eval, "largest") != 0};
    for (int64_t n = 0; n < lanes.outer * lanes.inner; n++) {
        int64_t o = n / lanes.inner, i = n % lanes.inner;
        l.first = o * lanes.count * lanes.inner + i;
        for (int64_t j = 0; j < lanes.count; j++) order[j] = j;
        sinter_eval_sort(eval, order, lanes.count, compare_in_lane, &l);
        for (int64_t j = 0; j < k; j++) {
            int64_t target = (o * k + j) * lanes.inner + i;
            sinter_eval_copy_element(values, target, x, l.first + order[j] * l.step);
            sinter_tensor_set_int(indices, target, order[j]);
        }
    }
    return true;
}

/* ---- unique ---- */

/* What is compared: slices at positions along an axis, or single elements (outer = inner = 1). */
typedef struct slices {
    const sinter_tensor *tensor;
    sinter_lanes lanes;
} slices;

static int compare_slices(const void *context, int64_t a, int64_t b) {
    const slices *s = context;
    for (int64_t o = 0; o < s->lanes.outer; o++) {
        for (int64_t i = 0; i < s->lanes.inner; i++) {
            int64_t row = o * s->lanes.count * s->lanes.inner + i;
            int order = sinter_eval_compare(s->tensor, row + a * s->lanes.inner, s->tensor,
                                            row + b * s->lanes.inner);
            if (order) return order;
        }
    }
    return 0;
}

static int compare_numbers(const void *context, int64_t a, int64_t b) {
    const int64_t *keys = context;
    return (keys[a] > keys[b]) - (keys[a] < keys[b]);
}

/* Groups of equal slices: which group each is in, the first of each group, its size. */
typedef struct groups {
    int64_t *of, *first, *size, *order; /* order: the groups as the result lists them */
    int64_t count;
} groups;

static groups find_groups(sinter_eval *eval, const slices *s) {
    int64_t n = s->lanes.count;
    groups g = {.of = SINTER_NEW_ARRAY(eval->scratch, int64_t, n + 1),
                .first = SINTER_NEW_ARRAY(eval->scratch, int64_t, n + 1),
                .size = SINTER_NEW_ARRAY(eval->scratch, int64_t, n + 1),
                .order = SINTER_NEW_ARRAY(eval->scratch, int64_t, n + 1)};
    int64_t *sorted = SINTER_NEW_ARRAY(eval->scratch, int64_t, n + 1);
    for (int64_t i = 0; i < n; i++) sorted[i] = i;
    sinter_eval_sort(eval, sorted, n, compare_slices, s);
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || compare_slices(s, sorted[i - 1], sorted[i]) != 0)
            g.first[g.count++] = sorted[i]; /* the sort is stable: the lowest index */
        g.of[sorted[i]] = g.count - 1;
        g.size[g.count - 1]++;
    }
    for (int64_t i = 0; i < g.count; i++) g.order[i] = i;
    if (!sinter_eval_int(eval, "sorted"))
        sinter_eval_sort(eval, g.order, g.count, compare_numbers, g.first);
    return g;
}

static bool store_integers(sinter_eval *eval, uint32_t result, const int64_t *items,
                           int64_t count) {
    if (!sinter_eval_wants(eval, result)) return true;
    sinter_tensor *tensor = sinter_eval_create(eval, result, SINTER_DTYPE_i64, 1, &count);
    for (int64_t i = 0; tensor && i < count; i++) sinter_tensor_set_int(tensor, i, items[i]);
    return tensor != NULL;
}

bool eval_unique(sinter_eval *eval) {
    const sinter_tensor *x = eval->operands[0];
    slices s = {x, {.outer = 1, .count = sinter_tensor_count(x), .inner = 1}};
    int64_t dims[SINTER_MAX_RANK];
    uint32_t axis = 0, rank = 1;
    if (sinter_eval_has(eval, "axis")) {
        rank = x->rank;
        if (!sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), rank, &axis)) return false;
        s.lanes = sinter_eval_lanes(rank, x->dims, axis);
        for (uint32_t i = 0; i < rank; i++) dims[i] = x->dims[i];
    }
    groups g = find_groups(eval, &s);
    dims[axis] = g.count;
    sinter_tensor *y = sinter_eval_create(eval, 0, x->dtype, rank, dims);
    if (!y) return false;
    int64_t *first = SINTER_NEW_ARRAY(eval->scratch, int64_t, g.count + 1);
    int64_t *size = SINTER_NEW_ARRAY(eval->scratch, int64_t, g.count + 1);
    int64_t *place = SINTER_NEW_ARRAY(eval->scratch, int64_t, g.count + 1);
    int64_t *inverse = SINTER_NEW_ARRAY(eval->scratch, int64_t, s.lanes.count + 1);
    for (int64_t i = 0; i < g.count; i++) {
        first[i] = g.first[g.order[i]];
        size[i] = g.size[g.order[i]];
        place[g.order[i]] = i;
        for (int64_t o = 0; o < s.lanes.outer; o++)
            sinter_eval_copy_elements(y, (o * g.count + i) * s.lanes.inner, x,
                                      (o * s.lanes.count + first[i]) * s.lanes.inner,
                                      s.lanes.inner);
    }
    for (int64_t i = 0; i < s.lanes.count; i++) inverse[i] = place[g.of[i]];
    return store_integers(eval, 1, first, g.count) &&
           store_integers(eval, 2, inverse, s.lanes.count) &&
           store_integers(eval, 3, size, g.count);
}

/* ---- non zero ---- */

static bool is_zero(const sinter_tensor *tensor, int64_t index) {
    if (tensor->dtype == SINTER_DTYPE_string)
        return sinter_tensor_get_string(tensor, index).size == 0;
    if (sinter_dtype_is_float(tensor->dtype)) return sinter_tensor_get_double(tensor, index) == 0;
    return sinter_tensor_get_int(tensor, index) == 0;
}

bool eval_non_zero(sinter_eval *eval) {
    const sinter_tensor *x = eval->operands[0];
    int64_t dims[2] = {x->rank, 0}, found = 0;
    for (int64_t i = 0; i < sinter_tensor_count(x); i++) dims[1] += !is_zero(x, i);
    sinter_tensor *y = sinter_eval_create(eval, 0, SINTER_DTYPE_i64, 2, dims);
    if (!y) return false;
    for (int64_t i = 0; i < sinter_tensor_count(x); i++) {
        int64_t at[SINTER_MAX_RANK];
        if (is_zero(x, i)) continue;
        sinter_eval_unravel(x->rank, x->dims, i, at);
        for (uint32_t axis = 0; axis < x->rank; axis++)
            sinter_tensor_set_int(y, axis * dims[1] + found, at[axis]);
        found++;
    }
    return true;
}

/* ---- running sums and products ---- */

static bool cumulate(sinter_eval *eval, bool product) {
    const sinter_tensor *x = eval->operands[0];
    int64_t wanted;
    uint32_t axis;
    if (!sinter_eval_int_scalar(eval, 1, &wanted) ||
        !sinter_eval_axis(eval, wanted, x->rank, &axis))
        return false;
    sinter_tensor *y = sinter_eval_create_like(eval, 0, x);
    if (!y) return false;
    bool exclusive = sinter_eval_int(eval, "exclusive") != 0;
    bool reverse = sinter_eval_int(eval, "reverse") != 0, real = sinter_dtype_is_float(x->dtype);
    sinter_lanes lanes = sinter_eval_lanes(x->rank, x->dims, axis);
    for (int64_t n = 0; n < lanes.outer * lanes.inner; n++) {
        double sum = product;
        uint64_t whole = product;
        for (int64_t k = 0; k < lanes.count; k++) {
            int64_t position = reverse ? lanes.count - 1 - k : k;
            int64_t i = (n / lanes.inner * lanes.count + position) * lanes.inner + n % lanes.inner;
            double before = sum;
            uint64_t whole_before = whole;
            if (real) {
                double item = sinter_tensor_get_double(x, i);
                sum = product ? sum * item : sum + item;
                sinter_tensor_set_double(y, i, exclusive ? before : sum);
            } else {
                uint64_t item = (uint64_t)sinter_tensor_get_int(x, i);
                whole = product ? whole * item : whole + item;
                sinter_tensor_set_int(y, i, (int64_t)(exclusive ? whole_before : whole));
            }
        }
    }
    return true;
}

bool eval_cum_sum(sinter_eval *eval) {
    return cumulate(eval, false);
}

bool eval_cum_prod(sinter_eval *eval) {
    return cumulate(eval, true);
}
