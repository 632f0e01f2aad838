/* Histograms that grow, and the ranges that observers choose from them. */
#include "passes/observe.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>

enum { COUNT = 20000 };
static float values[COUNT];

static sinter_range observe(const sinter_histogram *h, sinter_observer observer,
                            sinter_dtype dtype) {
    sinter_layer_recipe recipe = {.observer = observer, .percentile = 99.9};
    return sinter_observe_range(h, &recipe, dtype);
}

/* Bell-shaped, with one value far off. */
static void fill(void) {
    uint32_t state = 1;
    for (int i = 0; i < COUNT; i++) {
        double sum = 0;
        for (int k = 0; k < 12; k++) {
            state = state * 1664525u + 1013904223u;
            sum += (double)(state >> 8) / (1 << 24);
        }
        values[i] = (float)(sum - 6);
    }
    values[77] = 20;
}

static void test_histogram(void) {
    sinter_histogram *all = calloc(3, sizeof *all), *one = all + 1, *two = all + 2;
    CHECK(sinter_histogram_add(all, values, COUNT));
    CHECK(sinter_histogram_add(one, values, 50));
    CHECK(sinter_histogram_add(two, values + 50, COUNT - 50));
    sinter_histogram_merge(one, two);
    CHECK(memcmp(all, one, sizeof *all) == 0);
    CHECK_DOUBLE_EQ(all->largest, 20);
    CHECK_DOUBLE_EQ(all->reach, 32);
    CHECK_INT_EQ(all->count, COUNT);
    float odd[3] = {1, NAN, 2};
    CHECK(!sinter_histogram_add(two, odd, 3));
    free(all);
}

static void test_ranges(void) {
    sinter_histogram *h = calloc(1, sizeof *h);
    CHECK(sinter_histogram_add(h, values, COUNT));
    double width = h->largest - h->least;
    sinter_range r = observe(h, SINTER_OBSERVE_MIN_MAX, SINTER_DTYPE_u8);
    CHECK(fabs((double)r.scale - width / 255) < 1e-6);
    CHECK_INT_EQ(r.zero_point, (int)rint(-h->least / (double)r.scale));
    sinter_range p = observe(h, SINTER_OBSERVE_PERCENTILE, SINTER_DTYPE_u8);
    CHECK(p.scale > 0.02f && p.scale < 0.03f); /* about 3 sigmas to both sides */
    CHECK(p.zero_point > 120 && p.zero_point < 136);
    sinter_range m = observe(h, SINTER_OBSERVE_SQUARED_ERROR, SINTER_DTYPE_u8);
    CHECK(m.scale < r.scale && m.scale > p.scale / 2); /* the outlier is cut */
    sinter_range e = observe(h, SINTER_OBSERVE_ENTROPY, SINTER_DTYPE_u8);
    CHECK(e.scale < r.scale && e.scale > p.scale / 2);
    sinter_range s = observe(h, SINTER_OBSERVE_MIN_MAX, SINTER_DTYPE_i8);
    CHECK(s.zero_point == 0 && fabs((double)s.scale - 20.0 / 127) < 1e-6);
    s = observe(h, SINTER_OBSERVE_SQUARED_ERROR, SINTER_DTYPE_i16);
    CHECK(s.zero_point == 0 && fabs((double)s.scale - 20.0 / 32767) < 1e-6);
    free(h);
}

/* Dead, constant, one-sided. */
static void test_corners(void) {
    sinter_histogram *h = calloc(1, sizeof *h);
    float zeros[4] = {0}, sevens[3] = {7, 7, 7};
    static const sinter_observer observers[] = {SINTER_OBSERVE_MIN_MAX, SINTER_OBSERVE_PERCENTILE,
                                                SINTER_OBSERVE_SQUARED_ERROR,
                                                SINTER_OBSERVE_ENTROPY};
    for (int i = 0; i < 4; i++) {
        *h = (sinter_histogram){0};
        CHECK(sinter_histogram_add(h, zeros, 4));
        sinter_range r = observe(h, observers[i], SINTER_DTYPE_u8);
        CHECK(r.scale == 1 && r.zero_point == 0);
        CHECK(sinter_histogram_add(h, sevens, 3));
        CHECK_INT_EQ(h->count, 7);
        r = observe(h, observers[i], SINTER_DTYPE_u8);
        CHECK_INT_EQ(r.zero_point, 0);
        CHECK(fabsf(r.scale * 255 - 7) < 0.03f * 7);
    }
    free(h);
}

int main(void) {
    fill();
    test_histogram();
    test_ranges();
    test_corners();
    return test_finish();
}
