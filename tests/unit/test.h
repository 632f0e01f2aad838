/* Checks for the unit tests: each prints where and what on failure and counts; a test program ends
 * with `return test_finish();`. One program a module, named <module>_test.c. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int test_passed, test_failed;

static inline bool test_check(bool holds, const char *file, int line, const char *text) {
    if (holds)
        test_passed++;
    else
        test_failed++, printf("%s:%d: failed: %s\n", file, line, text);
    return holds;
}

static inline bool test_check_int(int64_t got, int64_t expected, const char *file, int line,
                                  const char *text) {
    bool holds = test_check(got == expected, file, line, text);
    if (!holds) printf("  got %lld, expected %lld\n", (long long)got, (long long)expected);
    return holds;
}

static inline bool test_check_string(const char *got, const char *expected, const char *file,
                                     int line, const char *text) {
    bool holds = got && strcmp(got, expected) == 0;
    test_check(holds, file, line, text);
    if (!holds) printf("  got      \"%s\"\n  expected \"%s\"\n", got ? got : "(null)", expected);
    return holds;
}

/* NaN equals NaN, and the sign of zero counts. */
static inline bool test_check_double(double got, double expected, const char *file, int line,
                                     const char *text) {
    bool holds = memcmp(&got, &expected, sizeof got) == 0 || (got != got && expected != expected);
    test_check(holds, file, line, text);
    if (!holds) printf("  got %.17g (%a), expected %.17g (%a)\n", got, got, expected, expected);
    return holds;
}

#define CHECK(condition) test_check((condition), __FILE__, __LINE__, #condition)
#define CHECK_INT_EQ(got, expected)                                                                \
 test_check_int((int64_t)(got), (int64_t)(expected), __FILE__, __LINE__, #got " == " #expected)
#define CHECK_STRING_EQ(got, expected)                                                             \
 test_check_string((got), (expected), __FILE__, __LINE__, #got)
#define CHECK_DOUBLE_EQ(got, expected)                                                             \
 test_check_double((got), (expected), __FILE__, __LINE__, #got " == " #expected)

static inline int test_finish(void) {
    printf("%d passed, %d failed\n", test_passed, test_failed);
    return test_failed != 0 || test_passed == 0;
}
