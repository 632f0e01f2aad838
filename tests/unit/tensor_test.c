/* Tensors: narrow floats (every code, every midpoint between neighbours), packed integers, hostile
 * sizes, storage, strings, comparison. */
#include "ir/tensor.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const sinter_dtype narrow[] = {
    SINTER_DTYPE_f16,    SINTER_DTYPE_bf16,       SINTER_DTYPE_f8e4m3fn, SINTER_DTYPE_f8e4m3fnuz,
    SINTER_DTYPE_f8e5m2, SINTER_DTYPE_f8e5m2fnuz, SINTER_DTYPE_f4e2m1,
};

static void test_known_codes(void) {
    static const struct {
        sinter_dtype dtype;
        uint64_t bits;
        double value;
    } cases[] = {
        {SINTER_DTYPE_f16, 0x3c00, 1.0},
        {SINTER_DTYPE_f16, 0x0001, 0x1p-24},
        {SINTER_DTYPE_f16, 0x7bff, 65504.0},
        {SINTER_DTYPE_f16, 0xfc00, -INFINITY},
        {SINTER_DTYPE_bf16, 0x4049, 3.140625},
        {SINTER_DTYPE_bf16, 0x0001, 0x1p-133},
        {SINTER_DTYPE_f8e4m3fn, 0x7e, 448.0},
        {SINTER_DTYPE_f8e4m3fn, 0x01, 0x1p-9},
        {SINTER_DTYPE_f8e4m3fn, 0x80, -0.0},
        {SINTER_DTYPE_f8e4m3fn, 0xff, NAN},
        {SINTER_DTYPE_f8e4m3fnuz, 0x7f, 240.0},
        {SINTER_DTYPE_f8e4m3fnuz, 0x01, 0x1p-10},
        {SINTER_DTYPE_f8e4m3fnuz, 0x80, NAN},
        {SINTER_DTYPE_f8e5m2, 0x7b, 57344.0},
        {SINTER_DTYPE_f8e5m2, 0x7c, INFINITY},
        {SINTER_DTYPE_f8e5m2, 0x7d, NAN},
        {SINTER_DTYPE_f8e5m2, 0x01, 0x1p-16},
        {SINTER_DTYPE_f8e5m2fnuz, 0x7f, 57344.0},
        {SINTER_DTYPE_f8e5m2fnuz, 0x01, 0x1p-17},
        {SINTER_DTYPE_f8e5m2fnuz, 0x80, NAN},
        {SINTER_DTYPE_f4e2m1, 0x7, 6.0},
        {SINTER_DTYPE_f4e2m1, 0x1, 0.5},
        {SINTER_DTYPE_f4e2m1, 0xb, -1.5},
        {SINTER_DTYPE_f8e8m0, 0x00, 0x1p-127},
        {SINTER_DTYPE_f8e8m0, 0x7f, 1.0},
        {SINTER_DTYPE_f8e8m0, 0xfe, 0x1p127},
        {SINTER_DTYPE_f8e8m0, 0xff, NAN},
        {SINTER_DTYPE_f32, 0x3f800001, 1.00000011920928955078125},
        {SINTER_DTYPE_f64, 0x3ff0000000000000, 1.0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_DOUBLE_EQ(sinter_float_decode(cases[i].dtype, cases[i].bits), cases[i].value);
        if (!isnan(cases[i].value))
            CHECK_INT_EQ(sinter_float_encode(cases[i].dtype, cases[i].value, false), cases[i].bits);
    }
}

/* Every code comes back, and between neighbours the rounding is to nearest, ties to even. */
static bool check_rounding(sinter_dtype dtype) {
    uint32_t width = sinter_dtype_infos[dtype].bits;
    uint64_t sign = UINT64_C(1) << (width - 1);
    bool good = true;
    for (uint64_t bits = 0; bits < sign * 2; bits++) {
        double value = sinter_float_decode(dtype, bits);
        if (isnan(value)) continue;
        good &= sinter_float_encode(dtype, value, false) == bits || isinf(value);
        if ((bits & (sign - 1)) == sign - 1) continue;
        double next = sinter_float_decode(dtype, bits + 1);
        if (isnan(next) || isinf(next) || isinf(value)) continue;
        double middle = (value + next) / 2;
        uint64_t even = bits & 1 ? bits + 1 : bits;
        good &= sinter_float_encode(dtype, middle, false) == even;
        good &= sinter_float_encode(dtype, nextafter(middle, value), false) == bits;
        good &= sinter_float_encode(dtype, nextafter(middle, next), false) == bits + 1;
    }
    return good;
}

static void check_special(sinter_dtype dtype, double value, double saturated, double other) {
    uint64_t yes = sinter_float_encode(dtype, value, true);
    uint64_t no = sinter_float_encode(dtype, value, false);
    if (!CHECK_DOUBLE_EQ(sinter_float_decode(dtype, yes), saturated) ||
        !CHECK_DOUBLE_EQ(sinter_float_decode(dtype, no), other))
        printf("  %s of %g\n", sinter_dtype_infos[dtype].name, value);
}

static void test_narrow_floats(void) {
    test_known_codes();
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++) CHECK(check_rounding(narrow[i]));
    /* The tables of ONNX Cast. */
    check_special(SINTER_DTYPE_f8e4m3fn, INFINITY, 448, NAN);
    check_special(SINTER_DTYPE_f8e4m3fn, -1e9, -448, NAN);
    check_special(SINTER_DTYPE_f8e4m3fn, 464, 448, 448); /* a tie, to even */
    check_special(SINTER_DTYPE_f8e4m3fn, 464.1, 448, NAN);
    check_special(SINTER_DTYPE_f8e4m3fn, NAN, NAN, NAN);
    check_special(SINTER_DTYPE_f8e4m3fnuz, -INFINITY, -240, NAN);
    check_special(SINTER_DTYPE_f8e4m3fnuz, -0.0, 0, 0);
    check_special(SINTER_DTYPE_f8e4m3fnuz, -1e-9, 0, 0);
    check_special(SINTER_DTYPE_f8e5m2, INFINITY, 57344, INFINITY);
    check_special(SINTER_DTYPE_f8e5m2, -1e9, -57344, -INFINITY);
    check_special(SINTER_DTYPE_f8e5m2, -0.0, -0.0, -0.0);
    check_special(SINTER_DTYPE_f8e5m2fnuz, INFINITY, 57344, NAN);
    check_special(SINTER_DTYPE_f4e2m1, INFINITY, 6, 6);
    check_special(SINTER_DTYPE_f4e2m1, -100, -6, -6);
    check_special(SINTER_DTYPE_f4e2m1, NAN, -0.0, -0.0);
    check_special(SINTER_DTYPE_f16, 65519.99, 65504, 65504);
    check_special(SINTER_DTYPE_f16, 65520, INFINITY, INFINITY);
    check_special(SINTER_DTYPE_bf16, -1e300, -INFINITY, -INFINITY);
    check_special(SINTER_DTYPE_f32, 1e300, INFINITY, INFINITY);
    check_special(SINTER_DTYPE_f8e8m0, 0, 0x1p-127, NAN);
    check_special(SINTER_DTYPE_f8e8m0, 1e300, 0x1p127, NAN);
    check_special(SINTER_DTYPE_f8e8m0, 2.9, 2, 2);
    check_special(SINTER_DTYPE_f8e8m0, 3.0, 4, 4);
    check_special(SINTER_DTYPE_f8e8m0, 0.2, 0.25, 0.25);
    check_special(SINTER_DTYPE_f8e8m0, -1, NAN, NAN);
    CHECK_INT_EQ(sinter_float_encode(SINTER_DTYPE_f16, (double)-NAN, false) >> 9, 0xfe00 >> 9);
}

/* Many at once: normal and subnormal numbers of the format, ties, both ends, zeros, infinities, NaN. */
static void test_encode_all(void) {
    static const sinter_dtype dtypes[] = {SINTER_DTYPE_f16, SINTER_DTYPE_bf16};
    enum { COUNT = 1 << 14 };
    static float values[COUNT];
    static uint16_t bits[COUNT];
    for (int i = 0; i < COUNT; i++) {
        /* Every exponent and sign, with fractions at and beside the middle of two numbers of either format. */
        static const uint32_t fractions[] = {
            0,      1,      0x7fff,   0x8000,   0x8001,   0x18000,  0x1000,   0x0fff,
            0x1001, 0x3000, 0x7fffff, 0x7f8000, 0x7ff000, 0x123456, 0x654321, 0x2000};
        uint32_t word = (uint32_t)(i >> 5 & 0xff) << 23 | (uint32_t)(i & 1) << 31 |
                        (fractions[i >> 1 & 15] ^ (uint32_t)(i >> 13) << 16);
        memcpy(&values[i], &word, sizeof word);
    }
    for (int d = 0; d < 2; d++) {
        int64_t wrong = 0;
        sinter_float_encode_all(dtypes[d], values, COUNT, bits);
        for (int i = 0; i < COUNT; i++)
            wrong += bits[i] != sinter_float_encode(dtypes[d], (double)values[i], false);
        CHECK_INT_EQ(wrong, 0);
    }
}

static void test_integers(void) {
    static const struct {
        sinter_dtype dtype;
        double value;
        int64_t expected;
    } cases[] = {
        {SINTER_DTYPE_i8, -3.9, -3},
        {SINTER_DTYPE_u8, -3, 253},
        {SINTER_DTYPE_i8, 300, 44},
        {SINTER_DTYPE_u4, -9, 7},
        {SINTER_DTYPE_i4, 8, -8},
        {SINTER_DTYPE_i32, 1e10, INT32_MAX},
        {SINTER_DTYPE_i32, -INFINITY, INT32_MIN},
        {SINTER_DTYPE_u32, 4e9, 4000000000},
        {SINTER_DTYPE_i64, 1e30, INT64_MAX},
        {SINTER_DTYPE_i64, NAN, 0},
        {SINTER_DTYPE_u64, 0x1p63, INT64_MIN},
        {SINTER_DTYPE_u64, 1e30, -1},
        {SINTER_DTYPE_u64, -1.5, -1},
        {SINTER_DTYPE_bool, NAN, 1},
        {SINTER_DTYPE_bool, -0.0, 0},
        {SINTER_DTYPE_bool, 0.25, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_INT_EQ(sinter_integer_from_double(cases[i].dtype, cases[i].value), cases[i].expected);
    CHECK_INT_EQ(sinter_integer_wrap(SINTER_DTYPE_i8, 200), -56);
    CHECK_INT_EQ(sinter_integer_wrap(SINTER_DTYPE_u2, -1), 3);
    CHECK_INT_EQ(sinter_integer_wrap(SINTER_DTYPE_u64, -1), -1);
    CHECK_INT_EQ(sinter_integer_wrap(SINTER_DTYPE_bool, 256), 1);
}

/* Writes every element of a few, in an order that shows clobbered neighbours. */
static void test_elements(void) {
    for (sinter_dtype dtype = 1; dtype < SINTER_DTYPE_COUNT; dtype++) {
        sinter_dtype_class class = sinter_dtype_infos[dtype].class;
        if (class == SINTER_CLASS_STRING || class == SINTER_CLASS_COMPLEX) continue;
        sinter_tensor tensor;
        if (!CHECK(sinter_tensor_create(&tensor, dtype, 1, (int64_t[]){7}, NULL))) continue;
        for (int64_t i = 6; i >= 0; i--) sinter_tensor_set_int(&tensor, i, 1 + i % 2);
        for (int64_t i = 0; i < 7; i++) {
            int64_t expected = class == SINTER_CLASS_BOOL ? 1
                               : dtype == SINTER_DTYPE_i2 ? (i % 2 ? -2 : 1)
                                                          : 1 + i % 2;
            CHECK_INT_EQ(sinter_tensor_get_int(&tensor, i), expected);
            CHECK_DOUBLE_EQ(sinter_tensor_get_double(&tensor, i), (double)expected);
        }
        sinter_tensor_deinit(&tensor);
    }
    sinter_tensor tensor;
    CHECK(sinter_tensor_create(&tensor, SINTER_DTYPE_u4, 1, (int64_t[]){3}, NULL));
    for (int64_t i = 0; i < 3; i++) sinter_tensor_set_int(&tensor, i, i + 1);
    CHECK_INT_EQ(((const uint8_t *)tensor.data)[0], 0x21); /* low bits first */
    CHECK_INT_EQ(sinter_tensor_bytes(&tensor), 2);
    sinter_tensor_deinit(&tensor);
    CHECK(sinter_tensor_create(&tensor, SINTER_DTYPE_u64, 0, NULL, NULL));
    sinter_tensor_set_int(&tensor, 0, -1);
    CHECK_DOUBLE_EQ(sinter_tensor_get_double(&tensor, 0), 0x1p64);
    CHECK_INT_EQ(sinter_tensor_get_int(&tensor, 0), -1);
    CHECK_INT_EQ((uintptr_t)tensor.data % 64, 0);
    sinter_tensor_deinit(&tensor);
}

static void check_refused(sinter_dtype dtype, uint32_t rank, const int64_t *dims,
                          const char *expected) {
    sinter_text message = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &message};
    sinter_tensor tensor;
    CHECK(!sinter_tensor_create(&tensor, dtype, rank, dims, &diag));
    CHECK_INT_EQ(tensor.kind, SINTER_TYPE_NONE);
    CHECK_STRING_EQ(message.data, expected);
    sinter_text_deinit(&message);
}

static void test_hostile_sizes(void) {
    check_refused(SINTER_DTYPE_f32, 2, (int64_t[]){INT64_MAX, 2},
                  "error: tensor f32[9223372036854775807,2]: its size overflows 64 bits\n");
    check_refused(SINTER_DTYPE_f64, 1, (int64_t[]){INT64_MAX},
                  "error: tensor f64[9223372036854775807]: its size overflows 64 bits\n");
    check_refused(SINTER_DTYPE_f32, 2, (int64_t[]){1 << 30, 1 << 22},
                  "error: tensor f32[1073741824,4194304]: 18014398509481984 bytes are more than "
                  "can be had\n");
    check_refused(SINTER_DTYPE_string, 1, (int64_t[]){INT64_C(1) << 50},
                  "error: tensor string[1125899906842624]: 18014398509481984 bytes are more than "
                  "can be had\n");
    check_refused(SINTER_DTYPE_f32, 2, (int64_t[]){3, -1},
                  "error: tensor f32[3,-1]: a dim is negative\n");
    check_refused(SINTER_DTYPE_f32, 17, (int64_t[17]){0},
                  "error: a tensor of rank 17: at most 16 dims are supported\n");
    check_refused(SINTER_DTYPE_NONE, 0, NULL, "error: a tensor needs an element type\n");
    sinter_tensor tensor;
    CHECK(sinter_tensor_create(&tensor, SINTER_DTYPE_f32, 3, (int64_t[]){INT64_MAX, INT64_MAX, 0},
                               NULL));
    CHECK_INT_EQ(sinter_tensor_count(&tensor), 0);
    CHECK_INT_EQ(sinter_tensor_bytes(&tensor), 0);
    CHECK(tensor.data != NULL);
    sinter_tensor_deinit(&tensor);
}

static int released;
static void count_release(void *user, void *data, size_t size) {
    CHECK(user == &released && size == 4 && *(int *)data == 42);
    released++;
}

static void test_storage(void) {
    int number = 42;
    sinter_tensor a = {.kind = SINTER_TYPE_TENSOR, .dtype = SINTER_DTYPE_i32}, b;
    a.storage = sinter_storage_wrap(&number, sizeof number, count_release, &released);
    a.data = sinter_storage_data(a.storage);
    sinter_tensor_copy(&b, &a);
    sinter_tensor_deinit(&a);
    CHECK_INT_EQ(released, 0);
    CHECK_INT_EQ(sinter_tensor_get_int(&b, 0), 42);
    sinter_tensor_deinit(&b);
    CHECK_INT_EQ(released, 1);

    char path[] = "/tmp/sinter_tensor_test_XXXXXX";
    int file = mkstemp(path);
    if (!CHECK(file >= 0)) return;
    CHECK(write(file, "sinter", 6) == 6);
    sinter_storage *mapped = sinter_storage_map_file(path, NULL);
    CHECK(mapped && sinter_storage_size(mapped) == 6 &&
          memcmp(sinter_storage_data(mapped), "sinter", 6) == 0);
    sinter_storage_release_reference(mapped);
    CHECK(ftruncate(file, 0) == 0);
    mapped = sinter_storage_map_file(path, NULL);
    CHECK(mapped && sinter_storage_size(mapped) == 0);
    sinter_storage_release_reference(mapped);
    close(file);
    unlink(path);
    sinter_diag diag = {0};
    CHECK(!sinter_storage_map_file(path, &diag));
    CHECK(!sinter_storage_map_file("/tmp", &diag));
    CHECK_INT_EQ(diag.error_count, 2);
    sinter_storage_release_reference(NULL);
}

static void test_strings(void) {
    sinter_tensor tensor, copy;
    CHECK(sinter_tensor_create(&tensor, SINTER_DTYPE_string, 1, (int64_t[]){2}, NULL));
    CHECK(sinter_string_is(sinter_tensor_get_string(&tensor, 1), ""));
    sinter_tensor_set_string(&tensor, 0, SINTER_STRING("one"));
    sinter_tensor_set_string(&tensor, 0, SINTER_STRING("two\0x"));
    sinter_tensor_set_string(&tensor, 1, sinter_tensor_get_string(&tensor, 0));
    sinter_tensor_copy(&copy, &tensor);
    sinter_tensor_deinit(&tensor);
    CHECK_INT_EQ(sinter_tensor_get_string(&copy, 1).size, 5);
    sinter_tensor_deinit(&copy);
}

static sinter_tensor make(sinter_dtype dtype, int64_t rows, int64_t columns, const double *values) {
    sinter_tensor tensor;
    CHECK(sinter_tensor_create(&tensor, dtype, 2, (int64_t[]){rows, columns}, NULL));
    for (int64_t i = 0; i < rows * columns; i++) sinter_tensor_set_double(&tensor, i, values[i]);
    return tensor;
}

/* Takes both tensors; expected NULL: they are to compare equal. */
static void check_compare(sinter_tensor got, sinter_tensor expected, double rtol, double atol,
                          const char *message) {
    sinter_text text = {0};
    CHECK(sinter_tensor_compare(&got, &expected, rtol, atol, &text) == (message == NULL));
    if (message)
        CHECK_STRING_EQ(text.data, message);
    else
        CHECK(text.size == 0);
    sinter_text_deinit(&text);
    sinter_tensor_deinit(&got);
    sinter_tensor_deinit(&expected);
}

static void test_compare(void) {
    const double a[] = {1, 2, 3, 4, NAN, INFINITY}, b[] = {1, 2.5, 3, 4.75, NAN, INFINITY};
    const double c[] = {1, 2, 3, 4, NAN, -INFINITY}, d[] = {1, 2, 3, 4, 5, 1e30};
    sinter_dtype f32 = SINTER_DTYPE_f32, i64 = SINTER_DTYPE_i64;
    check_compare(make(f32, 2, 3, a), make(f32, 2, 3, a), 0, 0, NULL);
    check_compare(make(f32, 2, 3, a), make(f32, 2, 3, b), 0.1, 0.3, NULL);
    check_compare(make(f32, 2, 3, a), make(f32, 2, 3, b), 0, 0,
                  "[0,1]: got 2.0, expected 2.5; 2 of 6 elements differ, at most by 0.75 at [1,0]; "
                  "relative error 0.158");
    check_compare(make(f32, 2, 3, a), make(f32, 2, 3, c), 1, 1,
                  "[1,2]: got inf, expected -inf; 1 of 6 elements differ, at most by inf at [1,2]; "
                  "relative error inf");
    check_compare(make(f32, 2, 3, d), make(f32, 2, 3, a), 1, 1,
                  "[1,1]: got 5.0, expected nan; 2 of 6 elements differ, at most by inf at [1,1]; "
                  "relative error inf");
    check_compare(make(f32, 2, 3, a), make(f32, 3, 2, a), 0, 0, "got f32[2,3], expected f32[3,2]");
    check_compare(make(f32, 2, 3, a), make(i64, 2, 3, d), 0, 0, "got f32[2,3], expected i64[2,3]");
    sinter_tensor x = make(i64, 1, 1, a), y = make(i64, 1, 1, a);
    sinter_tensor_set_int(&x, 0, (INT64_C(1) << 60) + 1);
    sinter_tensor_set_int(&y, 0, INT64_C(1) << 60);
    check_compare(x, y, 0, 0,
                  "[0,0]: got 1152921504606846977, expected 1152921504606846976; 1 of 1 elements "
                  "differ, at most by 1 at [0,0]; relative error 8.67e-19");
    sinter_tensor complex_a, complex_b;
    CHECK(sinter_tensor_create(&complex_a, SINTER_DTYPE_c64, 0, NULL, NULL));
    CHECK(sinter_tensor_create(&complex_b, SINTER_DTYPE_c64, 0, NULL, NULL));
    ((float *)sinter_tensor_mutable(&complex_b))[1] = 2;
    check_compare(
        complex_a, complex_b, 0, 0,
        "[1]: got 0.0, expected 2.0; 1 of 2 elements differ, at most by 2 at [1]; relative "
        "error 1");
    sinter_tensor s, t;
    CHECK(sinter_tensor_create(&s, SINTER_DTYPE_string, 0, NULL, NULL));
    sinter_tensor_copy(&t, &s);
    check_compare(s, t, 0, 0, NULL);
    CHECK(sinter_tensor_create(&s, SINTER_DTYPE_string, 0, NULL, NULL));
    CHECK(sinter_tensor_create(&t, SINTER_DTYPE_string, 0, NULL, NULL));
    sinter_tensor_set_string(&t, 0, SINTER_STRING("x"));
    check_compare(s, t, 0, 0, "[]: got \"\", expected \"x\"; 1 of 1 elements differ");
}

static sinter_tensor sequence_of(size_t count, double value) {
    sinter_tensor sequence = {.kind = SINTER_TYPE_SEQUENCE, .item_count = count};
    sequence.items = sinter_heap_alloc(count * sizeof *sequence.items);
    for (size_t i = 0; i < count; i++) sequence.items[i] = make(SINTER_DTYPE_f32, 1, 1, &value);
    return sequence;
}

static void test_sequences(void) {
    check_compare(sequence_of(2, 1), sequence_of(2, 1), 0, 0, NULL);
    check_compare(sequence_of(2, 1), sequence_of(1, 1), 0, 0, "got 2 elements, expected 1");
    check_compare(sequence_of(2, 1), sequence_of(2, 2), 0, 0,
                  "element 0: [0,0]: got 1.0, expected 2.0; 1 of 1 elements differ, at most by 1 "
                  "at [0,0]; relative error 0.5");
    sinter_tensor sequence = sequence_of(2, 1), copy;
    sinter_tensor_copy(&copy, &sequence);
    check_compare(sequence, copy, 0, 0, NULL);
    double one = 1;
    check_compare(sequence_of(1, 1), make(SINTER_DTYPE_f32, 1, 1, &one), 0, 0,
                  "got a sequence, expected f32[1,1]");
}

/* The worst of the elements; infinite where one has no counterpart. */
static void test_relative_error(void) {
    const double got[] = {1, 2, 3}, expected[] = {1, 2.5, 4}, damaged[] = {1, NAN, 4};
    sinter_tensor items[] = {make(SINTER_DTYPE_f32, 1, 3, got),
                             make(SINTER_DTYPE_f32, 1, 3, expected),
                             make(SINTER_DTYPE_f32, 1, 3, damaged)};
    CHECK_DOUBLE_EQ(sinter_tensor_relative_error(&items[0], &items[1]), 0.25);
    CHECK(isinf(sinter_tensor_relative_error(&items[2], &items[1])));
    CHECK(isinf(sinter_tensor_relative_error(&items[1], &items[2])));
    sinter_tensor a[] = {items[1], items[0]}, b[] = {items[1], items[1]},
                  c[] = {items[1], items[2]};
    sinter_tensor left = {.kind = SINTER_TYPE_SEQUENCE, .items = a, .item_count = 2};
    sinter_tensor right = {.kind = SINTER_TYPE_SEQUENCE, .items = b, .item_count = 2};
    CHECK_DOUBLE_EQ(sinter_tensor_relative_error(&left, &left), 0);
    CHECK_DOUBLE_EQ(sinter_tensor_relative_error(&left, &right), 0.25);
    left.items = c;
    CHECK(isinf(sinter_tensor_relative_error(&left, &right)));
    CHECK(isinf(sinter_tensor_relative_error(&left, &items[0])));
    right.item_count = 1;
    CHECK(isinf(sinter_tensor_relative_error(&right, &left)));
    for (size_t i = 0; i < 3; i++) sinter_tensor_deinit(&items[i]);
}

int main(void) {
    test_narrow_floats();
    test_encode_all();
    test_integers();
    test_elements();
    test_hostile_sizes();
    test_storage();
    test_strings();
    test_compare();
    test_relative_error();
    test_sequences();
    return test_finish();
}
