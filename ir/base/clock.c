/* See clock.h. Test: tests/cli/bench.test */
#include "ir/base/clock.h"

#include <time.h>

double sinter_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
