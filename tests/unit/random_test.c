/* The generators against published vectors, and their distributions by their first moments. */
#include "ir/random.h"
#include "tests/unit/test.h"
#include <math.h>

/* Known answers of Random123 for philox4x32-10, and of the authors' mt19937ar.c seeded with 5489. */
static void test_vectors(void) {
    uint32_t words[4];
    sinter_random_block(0, 0, words);
    CHECK(words[0] == 0x6627e8d5 && words[1] == 0xe169c58d);
    CHECK(words[2] == 0xbc57ac4c && words[3] == 0x9b00dbd8);
    sinter_twister twister;
    sinter_twister_init(&twister, 5489);
    CHECK(sinter_twister_next(&twister) == 3499211612u);
    for (int i = 2; i < 10000; i++) sinter_twister_next(&twister);
    CHECK(sinter_twister_next(&twister) == 4123659995u);
}

static void test_moments(void) {
    double uniform = 0, mean = 0, square = 0;
    enum { COUNT = 20000 };
    for (uint64_t i = 0; i < COUNT; i++) {
        double u = sinter_random_uniform(7, i, i % 2), n = sinter_random_normal(7, i);
        CHECK(u >= 0 && u < 1 && isfinite(n));
        uniform += u / COUNT;
        mean += n / COUNT;
        square += n * n / COUNT;
    }
    CHECK(fabs(uniform - 0.5) < 0.01);
    CHECK(fabs(mean) < 0.03 && fabs(square - 1) < 0.05);
}

int main(void) {
    test_vectors();
    test_moments();
    return test_finish();
}
