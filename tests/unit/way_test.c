/* passes/way.h: memory first, then the goal; more ranks have to make a difference. */
#include "passes/way.h"
#include "tests/unit/test.h"

static const double memory = 100;

static void test_way__fits(void) {
    const sinter_way one = {.seconds = 1, .bytes = 150, .ranks = 1};
    const sinter_way two = {.seconds = 5, .bytes = 90, .ranks = 2};
    const sinter_way three = {.seconds = 9, .bytes = 120, .ranks = 3};
    for (int goal = SINTER_GOAL_LATENCY; goal <= SINTER_GOAL_MEMORY; goal++) {
        CHECK(sinter_way_is_better(&two, &one, memory, (sinter_goal)goal));
        CHECK(!sinter_way_is_better(&one, &two, memory, (sinter_goal)goal));
        /* neither fits: the one that is nearer to it */
        CHECK(sinter_way_is_better(&three, &one, memory, (sinter_goal)goal));
    }
}

static void test_way__goal(void) {
    const sinter_way one = {.seconds = 1, .bytes = 80, .ranks = 1};
    const sinter_way two = {.seconds = 0.6, .bytes = 40, .ranks = 2};
    CHECK(sinter_way_is_better(&two, &one, memory, SINTER_GOAL_LATENCY));
    CHECK(sinter_way_is_better(&two, &one, memory, SINTER_GOAL_MEMORY));
    /* two ranks are 1.2 seconds of devices */
    CHECK(!sinter_way_is_better(&two, &one, memory, SINTER_GOAL_THROUGHPUT));
}

static void test_way__difference(void) {
    const sinter_way one = {.seconds = 1, .bytes = 80, .ranks = 1};
    const sinter_way little = {.seconds = 0.96, .bytes = 80, .ranks = 2};
    const sinter_way enough = {.seconds = 0.94, .bytes = 80, .ranks = 2};
    CHECK(!sinter_way_is_better(&little, &one, memory, SINTER_GOAL_LATENCY));
    CHECK(sinter_way_is_better(&enough, &one, memory, SINTER_GOAL_LATENCY));
    /* as many bytes: the time says it */
    CHECK(sinter_way_is_better(&enough, &one, memory, SINTER_GOAL_MEMORY));
}

int main(void) {
    test_way__fits();
    test_way__goal();
    test_way__difference();
    return test_finish();
}
