/* Dimensions and types: canonical forms by example, and by random expressions whose simplified form
 * must have the value of the plain one wherever that has one. */
#include "ir/type.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static sinter_arena arena;
static sinter_dim_table *table;

static sinter_dim parse_in(sinter_dim_table *in, const char *text) {
    const char *cursor = text;
    sinter_dim dim = 0;
    if (!sinter_dim_parse(in, &cursor, text + strlen(text), &dim) || *cursor) return 0;
    return dim;
}

static sinter_dim parse(const char *text) {
    return parse_in(table, text);
}

static const char *print(sinter_dim dim) {
    sinter_text text = {0};
    sinter_dim_print(table, dim, &text);
    char *copy = sinter_arena_copy_string(&arena, text.data, text.size);
    sinter_text_deinit(&text);
    return copy;
}

static void bound(const char *name, int64_t min, int64_t max, int64_t multiple) {
    sinter_dim_symbol *symbol =
        sinter_dim_get_symbol(table, sinter_dim_symbol_named(table, sinter_string_of(name)));
    symbol->min = min;
    symbol->max = max;
    symbol->multiple = multiple;
}

static void test_canonical(void) {
    static const char *const cases[][2] = {
        {"N", "N"},
        {"1 + N", "N + 1"},
        {"N - N", "0"},
        {"N*2 + N", "3*N"},
        {"(N + 1)*(N - 1)", "N*N - 1"},
        {"K*N - N*K", "0"},
        {"-N", "-N"},
        {"3 - 2*N", "-2*N + 3"},
        {"K - N*M", "-M*N + K"},
        {"--N", "N"},
        {"2 + 3*4", "14"},
        {"floordiv(7, 2)", "3"},
        {"floordiv(-7, 2)", "-4"},
        {"floordiv(7, -2)", "-4"},
        {"mod(-7, 3)", "2"},
        {"mod(7, -3)", "-2"},
        {"floordiv(6*N, 3)", "2*N"},
        {"floordiv(4*N, 6)", "floordiv(2*N, 3)"},
        {"floordiv(6*N + 7, 3)", "2*N + 2"},
        {"floordiv(N + 5, 2)", "floordiv(N + 1, 2) + 2"},
        {"floordiv(floordiv(N, 2), 3)", "floordiv(N, 6)"},
        {"floordiv(floordiv(N - 1, 2), 2)", "floordiv(N + 3, 4) - 1"},
        {"ceildiv(N, 2)", "floordiv(N + 1, 2)"},
        {"floordiv(N, 1)", "N"},
        {"floordiv(N, 0)", "floordiv(N, 0)"},
        {"floordiv(P*N + N, P)", "N + floordiv(N, P)"},
        {"floordiv(P*N + 3, P)", "N + floordiv(3, P)"},
        {"floordiv(N*P + K*P, P)", "K + N"},
        {"floordiv(N*K, N)", "floordiv(K*N, N)"}, /* N may be 0 */
        {"floordiv(E, 2)*2", "E"},
        {"floordiv(E, 2) + floordiv(E, 2)", "E"},
        {"floordiv(E + 1, 2)", "floordiv(E, 2)"},
        {"mod(E, 4)", "0"},
        {"mod(E + 1, 2)", "1"},
        {"mod(N, 1)", "0"},
        {"mod(5*N + 7, 3)", "mod(2*N + 1, 3)"},
        {"mod(mod(N, 12), 4)", "mod(N, 4)"},
        {"mod(4*N, 6)", "2*mod(2*N, 3)"},
        {"mod(S, 9)", "S"},
        {"floordiv(S, 9)", "0"},
        {"floordiv(8*Q + S - 1, 8)", "Q"},
        {"mod(P*N, P)", "0"},
        {"min(N, N + 1)", "N"},
        {"max(N, N + 1)", "N + 1"},
        {"min(3, 5)", "3"},
        {"min(min(N, K), min(K, M))", "min(min(K, M), N)"},
        {"max(0, N)", "N"},
        {"max(S, 8)", "8"},
        {"min(N, floordiv(N, 2))", "floordiv(N, 2)"},
        {"max(min(N, 5), 5)", "5"},
        {"min(N, max(N, K))", "N"},
        {"min(10, min(S, K) + 2)", "min(K, S) + 2"},
        {"select(N, K, M)", "K"},
        {"select(-1 - N, K, M)", "M"},
        {"select(N - 3, K, M)", "select(N - 3, K, M)"},
        {"select(N - 3, K, K)", "K"},
        {"\"batch size\" + 1", "\"batch size\" + 1"},
        {"\"a\\\"b\"", "\"a\\\"b\""},
        {"min + 1", "min + 1"},
        {"9223372036854775807 + 1", "1 + 9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"N - 9223372036854775807 - 1", "N + -9223372036854775808"},
        {"4611686018427387904*N*2", "2*(4611686018427387904*N)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sinter_dim dim = parse(cases[i][0]);
        if (!CHECK(dim != 0) || !CHECK_STRING_EQ(print(dim), cases[i][1]))
            printf("  case \"%s\"\n", cases[i][0]);
        CHECK_INT_EQ(parse(cases[i][1]), dim);
    }
}

static void test_parse_errors(void) {
    static const char *const bad[] = {"",       "N +",      "*N",         "floordiv(N)",
                                      "foo(N)", "min(N, K", "(N",         "9223372036854775808",
                                      "\"N",    "$",        "select(N,K)"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!CHECK(parse(bad[i]) == 0)) printf("  case \"%s\"\n", bad[i]);
    char deep[5001];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    CHECK(parse(deep) == 0);
    const char *text = "N + 1] rest", *cursor = text;
    sinter_dim dim;
    CHECK(sinter_dim_parse(table, &cursor, text + strlen(text), &dim));
    CHECK_STRING_EQ(cursor, "] rest");
}

static void check_range(const char *text, int64_t min, int64_t max) {
    int64_t low, high;
    sinter_dim_range(table, parse(text), &low, &high);
    bool low_right = CHECK_INT_EQ(low, min), high_right = CHECK_INT_EQ(high, max);
    if (!low_right || !high_right) printf("  case \"%s\"\n", text);
}

static void test_ranges(void) {
    check_range("N", 0, INT64_MAX);
    check_range("-N + 3", INT64_MIN, 3);
    check_range("2*S + 1", 3, 17);
    check_range("S*S - S", 1 - 8, 64 - 1);
    check_range("floordiv(S + 2, 3)", 1, 3);
    check_range("floordiv(-S, 3)", -3, -1);
    check_range("floordiv(S, N)", 0, 8);
    check_range("mod(N, 5)", 0, 4);
    check_range("mod(S, N)", 0, 8);
    check_range("min(S, N)", 0, 8);
    check_range("max(S, N)", 1, INT64_MAX);
    check_range("select(N - 3, S, 20)", 1, 20);
    check_range("9223372036854775807*S", INT64_MAX, INT64_MAX);
    check_range("9223372036854775807 + 5", INT64_MAX, INT64_MAX);
    CHECK_INT_EQ(sinter_dim_known_multiple(table, parse("6*E + 8*N")), 8);
    CHECK_INT_EQ(sinter_dim_known_multiple(table, parse("0")), 0);
    /* Bounds may be told later. */
    sinter_dim late = parse("Late + 1");
    check_range("Late + 1", 1, INT64_MAX);
    bound("Late", 4, 7, 1);
    int64_t low, high;
    sinter_dim_range(table, late, &low, &high);
    CHECK_INT_EQ(low, 5);
    CHECK_INT_EQ(high, 8);
}

static void test_order(void) {
    CHECK(sinter_dim_known_le(table, parse("floordiv(N + 1, 2)"), parse("N + 1")));
    CHECK(sinter_dim_known_le(table, parse("2*floordiv(N, 2)"), parse("N")));
    CHECK(sinter_dim_known_le(table, parse("N - 1"), parse("2*floordiv(N, 2)")));
    CHECK(!sinter_dim_known_le(table, parse("N"), parse("2*floordiv(N, 2)")));
    CHECK(sinter_dim_known_le(table, parse("min(N, K) + min(N, M)"), parse("2*N")));
    CHECK(sinter_dim_known_le(table, parse("N + K"), parse("max(N, M) + K")));
    CHECK(sinter_dim_known_le(table, parse("N"), parse("select(M - 4, N, N + 2)")));
    CHECK(!sinter_dim_known_le(table, parse("N"), parse("M")));
    CHECK(!sinter_dim_known_le(table, parse("0"), parse("I")));
}

static void test_divide_exact(void) {
    static const char *const cases[][3] = {
        {"6*N", "3", "2*N"},
        {"N*K", "N", "K"},
        {"N*K*4", "2*K", "2*N"},
        {"(N + 1)*(K + 2)", "N + 1", "K + 2"},
        {"N + 1", "2", NULL},
        {"E", "4", "floordiv(E, 4)"},
        {"N", "0", NULL},
        {"N", "K", NULL},
        {"0", "N", "0"},
        {"floordiv(N, 3)*K", "K", "floordiv(N, 3)"},
        {"N*N - K*K", "N - K", "K + N"},
        {"7", "7", "1"},
        {"7", "2", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sinter_dim quotient =
            sinter_dim_divide_exact(table, parse(cases[i][0]), parse(cases[i][1]));
        if (!CHECK_INT_EQ(quotient, cases[i][2] ? parse(cases[i][2]) : 0))
            printf("  case %s / %s: %s\n", cases[i][0], cases[i][1], print(quotient));
    }
}

static void test_symbols(void) {
    CHECK_STRING_EQ(print(sinter_dim_fresh(table, "k")), "k");
    CHECK_STRING_EQ(print(sinter_dim_fresh(table, "k")), "k_1");
    parse("k_2");
    CHECK_STRING_EQ(print(sinter_dim_fresh(table, "k")), "k_3");
    sinter_dim n = parse("N"), k = parse("K");
    CHECK_INT_EQ(sinter_dim_symbol_at(table, sinter_dim_symbol_index(table, k)), k);
    CHECK_INT_EQ(sinter_dim_add(table, n, 0), 0);
    sinter_dim *bindings = calloc(sinter_dim_symbol_count(table), sizeof *bindings);
    bindings[sinter_dim_symbol_index(table, n)] = parse("2*K + 1");
    sinter_dim dim = parse("floordiv(N - 1, 2) + max(N, M)*N");
    CHECK_STRING_EQ(print(sinter_dim_substitute(table, dim, bindings)),
                    print(parse("K + max(2*K + 1, M)*(2*K + 1)")));
    free(bindings);
}

static void test_large(void) {
    /* Sums beyond the canonical size and deep shared structure stay usable. */
    sinter_dim sum = sinter_dim_const(table, 0), product = sinter_dim_const(table, 1);
    char name[16];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "s%d", i);
        sinter_dim symbol = parse(name);
        sum = sinter_dim_add(table, sum, symbol);
        product = sinter_dim_mul(table, product, sinter_dim_add(table, symbol, parse("1")));
    }
    sinter_dim shared = parse("N");
    for (int i = 0; i < 60; i++)
        shared = sinter_dim_max(table, sinter_dim_mod(table, shared, parse("M")),
                                sinter_dim_floordiv(table, shared, parse("K")));
    int64_t *bindings = calloc(sinter_dim_symbol_count(table), sizeof *bindings), value;
    for (size_t i = 0; i < sinter_dim_symbol_count(table); i++) bindings[i] = 1;
    CHECK(sinter_dim_evaluate(table, sum, bindings, &value));
    CHECK_INT_EQ(value, 100);
    CHECK(!sinter_dim_evaluate(table, product, bindings, &value)); /* 2^100 */
    CHECK(sinter_dim_evaluate(table, shared, bindings, &value));
    CHECK(!sinter_dim_evaluate(table, parse("9223372036854775807 + N"), bindings, &value));
    CHECK(sinter_dim_evaluate(table, parse("9223372036854775807 + N - K"), bindings, &value));
    CHECK(!sinter_dim_evaluate(table, parse("floordiv(N, 0)"), bindings, &value));
    CHECK(sinter_dim_evaluate(table, parse("select(N - 2, floordiv(N, 0), 3)"), bindings, &value));
    CHECK_INT_EQ(value, 3);
    CHECK_INT_EQ(parse(print(sum)), sum);
    free(bindings);
}

/* ---- random expressions ---- */

static uint64_t random_state = 88172645463325252u;
static int64_t random_int(int64_t low, int64_t high) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return low + (int64_t)(random_state % (uint64_t)(high - low + 1));
}

static const char *const random_names[] = {"N", "K", "E", "S", "P", "I"};
enum { RANDOM_NAMES = 6, RANDOM_BINDINGS = 12 };
typedef struct random_value {
    bool valid[RANDOM_BINDINGS];
    int64_t value[RANDOM_BINDINGS];
} random_value;
static int64_t random_bindings[RANDOM_BINDINGS][RANDOM_NAMES];

/* The plain meaning, one operation at a time. */
static bool apply(int kind, int64_t a, int64_t b, int64_t c, int64_t *out) {
    switch (kind) {
    case 0:
        *out = a + b;
        return true;
    case 1:
        *out = a - b;
        return true;
    case 2:
        *out = a * b;
        return true;
    case 3:
    case 4:
    case 5:
        if (b == 0) return false;
        *out = a / b - (a % b != 0 && (a < 0) != (b < 0));
        if (kind == 4) *out = a - *out * b;
        if (kind == 5) *out = a / b + (a % b != 0 && (a < 0) == (b < 0));
        return true;
    case 6:
        *out = a < b ? a : b;
        return true;
    case 7:
        *out = a > b ? a : b;
        return true;
    default:
        *out = a >= 0 ? b : c;
        return true;
    }
}

static sinter_dim random_dim(int depth, random_value *out) {
    if (depth == 0 || random_int(0, 5) == 0) {
        int64_t name = random_int(0, RANDOM_NAMES + 2), constant = random_int(-9, 9);
        for (int i = 0; i < RANDOM_BINDINGS; i++) {
            out->valid[i] = true;
            out->value[i] = name < RANDOM_NAMES ? random_bindings[i][name] : constant;
        }
        return name < RANDOM_NAMES ? parse(random_names[name]) : sinter_dim_const(table, constant);
    }
    static sinter_dim (*const make[])(sinter_dim_table *, sinter_dim, sinter_dim) = {
        sinter_dim_add, sinter_dim_sub,     sinter_dim_mul, sinter_dim_floordiv,
        sinter_dim_mod, sinter_dim_ceildiv, sinter_dim_min, sinter_dim_max};
    random_value a, b, c;
    int kind = (int)random_int(0, 8);
    sinter_dim x = random_dim(depth - 1, &a), y = random_dim(depth - 1, &b), z = 0;
    if (kind == 8) z = random_dim(depth - 1, &c);
    for (int i = 0; i < RANDOM_BINDINGS; i++) {
        bool valid = a.valid[i] && b.valid[i] && (kind < 8 || c.valid[i]);
        out->valid[i] = valid && apply(kind, a.value[i], b.value[i], kind == 8 ? c.value[i] : 0,
                                       &out->value[i]);
        if (out->valid[i] && llabs(out->value[i]) > 1 << 20) out->valid[i] = false;
    }
    return kind == 8 ? sinter_dim_select(table, x, y, z) : make[kind](table, x, y);
}

static void bind_randomly(void) {
    for (int i = 0; i < RANDOM_BINDINGS; i++) {
        int64_t *values = random_bindings[i];
        values[0] = random_int(0, 30);
        values[1] = random_int(0, 30);
        values[2] = 4 * random_int(0, 8);
        values[3] = random_int(1, 8);
        values[4] = random_int(1, 12);
        values[5] = random_int(-20, 20);
    }
}

static bool check_random_dim(sinter_dim dim, const random_value *expected, int64_t *bindings) {
    bool good = true;
    int64_t min, max, multiple = sinter_dim_known_multiple(table, dim);
    sinter_dim_range(table, dim, &min, &max);
    for (int i = 0; i < RANDOM_BINDINGS; i++) {
        if (!expected->valid[i]) continue;
        for (int j = 0; j < RANDOM_NAMES; j++)
            bindings[sinter_dim_symbol_index(table, parse(random_names[j]))] =
                random_bindings[i][j];
        int64_t value = -1;
        good &= sinter_dim_evaluate(table, dim, bindings, &value) && value == expected->value[i];
        good &= value >= min && value <= max && (multiple ? value % multiple == 0 : value == 0);
    }
    const char *text = print(dim);
    good &= parse(text) == dim;
    return good;
}

static void test_random(int rounds) {
    int64_t *bindings = calloc(sinter_dim_symbol_count(table), sizeof *bindings);
    int bad = 0;
    for (int i = 0; i < rounds && bad < 5; i++) {
        if (i % 64 == 0) bind_randomly();
        random_value expected, second;
        sinter_dim dim = random_dim((int)random_int(1, 4), &expected);
        if (!check_random_dim(dim, &expected, bindings)) {
            printf("  wrong: %s\n", print(dim));
            bad++;
        }
        /* What is said to be ordered is. */
        sinter_dim other = random_dim(2, &second);
        if (sinter_dim_known_le(table, dim, other))
            for (int j = 0; j < RANDOM_BINDINGS; j++)
                if (expected.valid[j] && second.valid[j] && expected.value[j] > second.value[j]) {
                    printf("  not ordered: %s <= %s\n", print(dim), print(other));
                    bad++;
                    break;
                }
    }
    CHECK_INT_EQ(bad, 0);
    free(bindings);
}

static void test_printing_is_stable(void) {
    /* Order of making differs, the text does not. */
    sinter_dim_table *other = sinter_dim_table_create(&arena);
    parse_in(other, "Z + A*B + floordiv(B, 2)");
    sinter_text first = {0}, second = {0};
    sinter_dim_print(other, parse_in(other, "A + B + Z + floordiv(B, 2) + floordiv(A, 2)"), &first);
    sinter_dim_print(table, parse("floordiv(A, 2) + Z + floordiv(B, 2) + B + A"), &second);
    CHECK_STRING_EQ(first.data, second.data);
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
}

static void test_types(void) {
    sinter_dim dims[] = {parse("N"), sinter_dim_const(table, 3), parse("2*K")};
    sinter_type tensor = sinter_type_tensor(&arena, SINTER_DTYPE_f32, 3, dims);
    sinter_type scalar = sinter_type_tensor(&arena, SINTER_DTYPE_i64, 0, NULL);
    sinter_type sequence = {.kind = SINTER_TYPE_SEQUENCE, .element = &tensor};
    sinter_type optional = {.kind = SINTER_TYPE_OPTIONAL, .element = &sequence};
    sinter_text text = {0};
    sinter_type_print(table, &optional, &text);
    sinter_type_print(table, &scalar, &text);
    CHECK_STRING_EQ(text.data, "opt(seq(f32[N,3,2*K]))i64[]");
    sinter_text_deinit(&text);
    sinter_type same = sinter_type_tensor(&arena, SINTER_DTYPE_f32, 3, dims);
    CHECK(sinter_type_equal(&tensor, &same));
    CHECK(!sinter_type_equal(&tensor, &scalar));
    CHECK(!sinter_type_equal(&optional, &sequence));
    uint64_t count;
    CHECK(!sinter_type_static_count(table, &tensor, &count));
    CHECK(sinter_type_static_count(table, &scalar, &count) && count == 1);
    sinter_dim huge[] = {sinter_dim_const(table, INT64_MAX), sinter_dim_const(table, 4),
                         sinter_dim_const(table, 0)};
    sinter_type overflowing = sinter_type_tensor(&arena, SINTER_DTYPE_u8, 2, huge);
    CHECK(!sinter_type_static_count(table, &overflowing, &count));
    sinter_type empty = sinter_type_tensor(&arena, SINTER_DTYPE_u8, 3, huge);
    CHECK(sinter_type_static_count(table, &empty, &count) && count == 0);
    CHECK_STRING_EQ(print(sinter_type_product(table, &tensor, 1, 3)), "6*K");
    CHECK_INT_EQ(sinter_dtype_find(SINTER_STRING("bf16")), SINTER_DTYPE_bf16);
    CHECK_INT_EQ(sinter_dtype_find(SINTER_STRING("f33")), SINTER_DTYPE_NONE);
    CHECK_INT_EQ(sinter_dtype_from_onnx(7), SINTER_DTYPE_i64);
    CHECK_INT_EQ(sinter_dtype_from_onnx(0), SINTER_DTYPE_NONE);
    uint64_t bytes;
    CHECK(sinter_dtype_bytes(SINTER_DTYPE_u4, 3, &bytes) && bytes == 2);
    CHECK(sinter_dtype_bytes(SINTER_DTYPE_i2, 5, &bytes) && bytes == 2);
    CHECK(sinter_dtype_bytes(SINTER_DTYPE_u2, UINT64_MAX, &bytes) &&
          bytes == (UINT64_MAX >> 2) + 1);
    CHECK(!sinter_dtype_bytes(SINTER_DTYPE_f32, UINT64_MAX / 2, &bytes));
}

/* An expression that uses the one before twice, forty times: its text has a limit, and a shorter one in messages. */
static void test_long_text(void) {
    sinter_dim dim = parse("N");
    for (int i = 0; i < 40; i++)
        dim = sinter_dim_mul(
            table,
            sinter_dim_floordiv(table, sinter_dim_add(table, dim, sinter_dim_const(table, 1)),
                                sinter_dim_const(table, 5)),
            sinter_dim_floordiv(table, sinter_dim_add(table, dim, sinter_dim_const(table, 2)),
                                sinter_dim_const(table, 7)));
    sinter_text all = {0}, brief = {0};
    sinter_dim_print(table, dim, &all);
    sinter_dim_describe(table, dim, &brief);
    CHECK_INT_EQ(all.size, (1 << 16) + 3);
    CHECK_INT_EQ(brief.size, 120 + 3);
    CHECK(memcmp(all.data, brief.data, 120) == 0);
    CHECK_STRING_EQ(brief.data + 120, "...");
    brief.size = 0;
    sinter_dim_describe(table, parse("2*N + 1"), &brief);
    CHECK_STRING_EQ(brief.data, "2*N + 1");
    sinter_text_deinit(&all);
    sinter_text_deinit(&brief);
}

int main(int argc, char **argv) {
    sinter_arena_init(&arena);
    table = sinter_dim_table_create(&arena);
    bound("E", 0, INT64_MAX, 4);
    bound("S", 1, 8, 1);
    bound("P", 1, INT64_MAX, 1);
    bound("I", INT64_MIN, INT64_MAX, 1);
    test_canonical();
    test_parse_errors();
    test_ranges();
    test_order();
    test_divide_exact();
    test_symbols();
    test_large();
    test_random(argc > 1 ? atoi(argv[1]) : 20000); /* more rounds on request */
    test_printing_is_stable();
    test_types();
    test_long_text();
    sinter_arena_deinit(&arena);
    return test_finish();
}
