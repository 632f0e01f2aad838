/* Comparison of values within a tolerance, and the sentence that says how they differ.
 * Test: tests/unit/tensor_test.c */
#include "ir/tensor.h"

#include <math.h>

typedef struct comparison {
    const sinter_tensor *got, *expected; /* complex ones seen as pairs of floats */
    double rtol, atol;
    int64_t count, bad_count, first_bad, worst; /* element indices */
    double worst_difference, largest_expected;
} comparison;

/* "[1,0,2]" of a linear index. */
static void append_place(sinter_text *text, const sinter_tensor *tensor, int64_t index) {
    int64_t place[SINTER_MAX_RANK];
    for (uint32_t i = tensor->rank; i-- > 0;) {
        place[i] = index % tensor->dims[i];
        index /= tensor->dims[i];
    }
    sinter_text_append_string(text, "[");
    for (uint32_t i = 0; i < tensor->rank; i++)
        sinter_text_format(text, "%s%lld", i ? "," : "", (long long)place[i]);
    sinter_text_append_string(text, "]");
}

static void append_type(sinter_text *text, const sinter_tensor *tensor) {
    static const char *const kinds[] = {
        [SINTER_TYPE_NONE] = "no value",
        [SINTER_TYPE_SEQUENCE] = "a sequence",
        [SINTER_TYPE_OPTIONAL] = "an optional",
        [SINTER_TYPE_MAP] = "a map",
    };
    if (tensor->kind != SINTER_TYPE_TENSOR) {
        sinter_text_append_string(text, kinds[tensor->kind]);
        return;
    }
    sinter_text_format(text, "%s[", sinter_dtype_infos[tensor->dtype].name);
    for (uint32_t i = 0; i < tensor->rank; i++)
        sinter_text_format(text, "%s%lld", i ? "," : "", (long long)tensor->dims[i]);
    sinter_text_append_string(text, "]");
}

static void append_element(sinter_text *text, const sinter_tensor *tensor, int64_t index) {
    switch (sinter_dtype_infos[tensor->dtype].class) {
    case SINTER_CLASS_STRING:
        sinter_text_quote(text, sinter_tensor_get_string(tensor, index));
        return;
    case SINTER_CLASS_FLOAT:
        if (tensor->dtype == SINTER_DTYPE_f64)
            sinter_text_double(text, sinter_tensor_get_double(tensor, index));
        else
            sinter_text_float(text, (float)sinter_tensor_get_double(tensor, index));
        return;
    default:
        if (tensor->dtype == SINTER_DTYPE_u64)
            sinter_text_format(text, "%llu",
                               (unsigned long long)sinter_tensor_get_int(tensor, index));
        else
            sinter_text_format(text, "%lld", (long long)sinter_tensor_get_int(tensor, index));
    }
}

static bool mismatch_of_types(const sinter_tensor *got, const sinter_tensor *expected,
                              sinter_text *out_message) {
    sinter_text_append_string(out_message, "got ");
    append_type(out_message, got);
    sinter_text_append_string(out_message, ", expected ");
    append_type(out_message, expected);
    return false;
}

/* |got - expected|, infinite where one is NaN or only one is infinite. */
static double difference(const comparison *c, int64_t index) {
    if (!sinter_dtype_is_float(c->got->dtype)) {
        int64_t a = sinter_tensor_get_int(c->got, index);
        if (a == sinter_tensor_get_int(c->expected, index)) return 0;
    }
    double a = sinter_tensor_get_double(c->got, index);
    double b = sinter_tensor_get_double(c->expected, index);
    if (a == b) /* 64-bit integers that differ may meet in double */
        return sinter_dtype_is_float(c->got->dtype) ? 0 : 1;
    if (isnan(a) && isnan(b)) return 0;
    double distance = fabs(a - b);
    return isnan(distance) ? (double)INFINITY : distance;
}

static void compare_number(comparison *c, int64_t index) {
    double distance = difference(c, index);
    double scale = fabs(sinter_tensor_get_double(c->expected, index));
    if (isfinite(scale) && scale > c->largest_expected) c->largest_expected = scale;
    double allowed = isfinite(scale) ? c->atol + c->rtol * scale : 0;
    if (distance > allowed && c->bad_count++ == 0) c->first_bad = index;
    if (distance > c->worst_difference) {
        c->worst_difference = distance;
        c->worst = index;
    }
}

static void compare_string(comparison *c, int64_t index) {
    if (sinter_string_equal(sinter_tensor_get_string(c->got, index),
                            sinter_tensor_get_string(c->expected, index)))
        return;
    if (c->bad_count++ == 0) c->first_bad = index;
}

static void describe(const comparison *c, sinter_text *out_message) {
    append_place(out_message, c->got, c->first_bad);
    sinter_text_append_string(out_message, ": got ");
    append_element(out_message, c->got, c->first_bad);
    sinter_text_append_string(out_message, ", expected ");
    append_element(out_message, c->expected, c->first_bad);
    sinter_text_format(out_message, "; %lld of %lld elements differ", (long long)c->bad_count,
                       (long long)c->count);
    if (c->got->dtype == SINTER_DTYPE_string) return;
    sinter_text_format(out_message, ", at most by %.6g at ", c->worst_difference);
    append_place(out_message, c->got, c->worst);
    if (c->largest_expected > 0)
        sinter_text_format(out_message, "; relative error %.3g",
                           c->worst_difference / c->largest_expected);
}

/* Fills the comparison; a and b see complex tensors as pairs. False where types or shapes differ. */
static bool compare_all(comparison *c, sinter_tensor *a, sinter_tensor *b) {
    bool same = a->kind == b->kind && a->dtype == b->dtype && a->rank == b->rank;
    for (uint32_t i = 0; same && i < a->rank; i++) same = a->dims[i] == b->dims[i];
    if (!same) return false;
    if (sinter_dtype_infos[a->dtype].class == SINTER_CLASS_COMPLEX && a->rank < SINTER_MAX_RANK) {
        a->dtype = b->dtype = a->dtype == SINTER_DTYPE_c64 ? SINTER_DTYPE_f32 : SINTER_DTYPE_f64;
        a->dims[a->rank++] = b->dims[b->rank++] = 2;
    }
    c->got = a;
    c->expected = b;
    c->count = sinter_tensor_count(a);
    for (int64_t i = 0; i < c->count; i++) {
        if (a->dtype == SINTER_DTYPE_string)
            compare_string(c, i);
        else
            compare_number(c, i);
    }
    return true;
}

static bool compare_tensors(const sinter_tensor *got, const sinter_tensor *expected, double rtol,
                            double atol, sinter_text *out_message) {
    sinter_tensor a = *got, b = *expected;
    comparison c = {.rtol = rtol, .atol = atol};
    if (!compare_all(&c, &a, &b)) return mismatch_of_types(got, expected, out_message);
    if (c.bad_count) describe(&c, out_message);
    return c.bad_count == 0;
}

static double relative_error_of_items(const sinter_tensor *got, const sinter_tensor *expected) {
    double worst = 0;
    if (got->item_count != expected->item_count) return (double)INFINITY;
    for (size_t i = 0; i < got->item_count; i++) {
        double error = sinter_tensor_relative_error(&got->items[i], &expected->items[i]);
        if (error > worst) worst = error;
    }
    return worst;
}

double sinter_tensor_relative_error(const sinter_tensor *got, const sinter_tensor *expected) {
    if (got->kind != expected->kind) return (double)INFINITY;
    if (got->kind != SINTER_TYPE_TENSOR) return relative_error_of_items(got, expected);
    sinter_tensor a = *got, b = *expected;
    comparison c = {0};
    if (!compare_all(&c, &a, &b)) return (double)INFINITY;
    if (c.bad_count == 0) return 0;
    bool numbers = a.dtype != SINTER_DTYPE_string;
    return numbers && c.largest_expected > 0 ? c.worst_difference / c.largest_expected
                                             : (double)INFINITY;
}

bool sinter_tensor_compare(const sinter_tensor *got, const sinter_tensor *expected, double rtol,
                           double atol, sinter_text *out_message) {
    if (got->kind != expected->kind) return mismatch_of_types(got, expected, out_message);
    if (got->kind == SINTER_TYPE_TENSOR)
        return compare_tensors(got, expected, rtol, atol, out_message);
    if (got->item_count != expected->item_count) {
        sinter_text_format(out_message, "got %zu elements, expected %zu", got->item_count,
                           expected->item_count);
        return false;
    }
    for (size_t i = 0; i < got->item_count; i++) {
        sinter_text inner = {0};
        bool good = sinter_tensor_compare(&got->items[i], &expected->items[i], rtol, atol, &inner);
        if (!good) sinter_text_format(out_message, "element %zu: %s", i, inner.data);
        sinter_text_deinit(&inner);
        if (!good) return false;
    }
    return true;
}
