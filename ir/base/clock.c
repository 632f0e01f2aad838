/* See clock.h. Test: tests/cli/bench.test */
#include "ir/base/clock.h"

#include <stdlib.h>
#include <time.h>

double sinter_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double sinter_clock_processor_seconds(void) {
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + 1e-9 * (double)spent.tv_nsec;
}

static int compare_seconds(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void sinter_clock_sort(double *seconds, size_t count) {
    qsort(seconds, count, sizeof *seconds, compare_seconds);
}
