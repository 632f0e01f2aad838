/* The front of a budget: hulls, their order, estimates. */
#include "runtime/jit/budget_front.h"
#include "tests/unit/test.h"

#include <math.h>

static sinter_arena arena;

static sinter_front_point point(double gain, double loss) {
    return (sinter_front_point){SINTER_FRONT_MEASURED, gain, loss};
}

static void test_moves(void) {
    sinter_front_point points[] = {
        /* the second lies above the line from the first to the third; the fourth gains nothing */
        point(10, 1),
        point(20, 9),
        point(30, 5),
        point(0, 0),
        /* cheaper throughout, the first at no loss at all; the second loses more for less */
        point(40, 0),
        point(30, 2),
        point(50, 1),
        {SINTER_FRONT_REFUSED, 90, 0}};
    sinter_front_table table = {points, 2, 4};
    int32_t choices[2] = {SINTER_FRONT_AS_IT_IS, SINTER_FRONT_AS_IT_IS};
    sinter_front_move *moves;
    CHECK_INT_EQ(sinter_front_moves(&table, choices, &arena, &moves), 4);
    static const struct {
        size_t layer;
        int32_t setting;
    } expected[] = {{1, 0}, {0, 0}, {1, 2}, {0, 2}};
    for (int i = 0; i < 4; i++) {
        CHECK_INT_EQ(moves[i].layer, expected[i].layer);
        CHECK_INT_EQ(moves[i].setting, expected[i].setting);
    }
    CHECK_DOUBLE_EQ(moves[3].gain, 20);
    CHECK_DOUBLE_EQ(moves[3].loss, 4);
    /* from where a layer is, and a point that no hull has */
    choices[0] = 1;
    choices[1] = 2;
    CHECK_INT_EQ(sinter_front_moves(&table, choices, &arena, &moves), 1);
    CHECK_INT_EQ(moves[0].setting, 2);
    CHECK_DOUBLE_EQ(moves[0].loss, -4);
    double gain, loss;
    sinter_front_sum(&table, choices, &gain, &loss);
    CHECK_DOUBLE_EQ(gain, 70);
    CHECK_DOUBLE_EQ(loss, 10);
    /* no layers */
    sinter_front_table empty = {points, 0, 4};
    CHECK_INT_EQ(sinter_front_moves(&empty, choices, &arena, &moves), 0);
}

static void test_estimate(void) {
    sinter_front_point points[9] = {0};
    sinter_front_table table = {points, 3, 3};
    points[0] = point(10, 0.1);
    points[1] = point(20, 0.4);
    points[3] = point(30, 0.3);
    points[5] = (sinter_front_point){SINTER_FRONT_REFUSED, 0, 0};
    sinter_front_estimate(&table);
    /* the second layer is thrice the first */
    CHECK_INT_EQ(points[4].state, SINTER_FRONT_ESTIMATED);
    CHECK(points[4].gain > 20 && points[4].gain < 60.0001);
    CHECK(points[4].loss > 0.4 && points[4].loss < 1.2001);
    CHECK_INT_EQ(points[5].state, SINTER_FRONT_REFUSED);
    CHECK_INT_EQ(points[2].state, SINTER_FRONT_UNKNOWN); /* nothing is known of the third */
    CHECK(fabs(points[6].gain - sqrt(300)) < 1e-9);      /* nor of the layer: the mean */
    CHECK_DOUBLE_EQ(points[0].loss, 0.1);
}

int main(void) {
    sinter_arena_init(&arena);
    test_moves();
    test_estimate();
    sinter_arena_deinit(&arena);
    return test_finish();
}
