/* Philox4x32-10 and MT19937; see ir/random.h for how nodes use them. Test: tests/unit/random_test.c */
#include "ir/random.h"
#include <math.h>
#include <string.h>

void sinter_random_block(uint64_t key, uint64_t index, uint32_t out_words[4]) {
    uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);
    uint32_t c[4] = {(uint32_t)index, (uint32_t)(index >> 32), 0, 0};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53 * c[0], b = (uint64_t)0xCD9E8D57 * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ low, (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ high, (uint32_t)a};
        memcpy(c, next, sizeof c);
        low += 0x9E3779B9;
        high += 0xBB67AE85;
    }
    memcpy(out_words, c, sizeof c);
}

double sinter_random_uniform(uint64_t key, uint64_t index, bool wide) {
    uint32_t words[4];
    sinter_random_block(key, index, words);
    if (wide) return ((words[0] >> 5) * 67108864.0 + (words[1] >> 6)) / 9007199254740992.0;
    return (words[0] >> 8) / 16777216.0;
}

double sinter_random_normal(uint64_t key, uint64_t index) {
    uint32_t words[4];
    sinter_random_block(key, index, words);
    double u = ((words[0] >> 8) + 1) / 16777216.0, v = (words[1] >> 8) / 16777216.0;
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}

uint64_t sinter_random_key(sinter_module *module, sinter_node node) {
    const sinter_attr *seed = sinter_node_find_attr(module, node, "seed");
    if (seed && seed->kind == SINTER_ATTR_INT) return (uint64_t)seed->int_value;
    if (seed) {
        float value = (float)seed->float_value;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        return bits;
    }
    const char *label = sinter_value_label(module, sinter_node_result(module, node, 0));
    return sinter_hash(label, strlen(label), 0);
}

void sinter_twister_init(sinter_twister *twister, uint32_t seed) {
    twister->state[0] = seed;
    for (uint32_t i = 1; i < 624; i++) {
        uint32_t previous = twister->state[i - 1];
        twister->state[i] = 1812433253u * (previous ^ (previous >> 30)) + i;
    }
    twister->position = 624;
}

uint32_t sinter_twister_next(sinter_twister *twister) {
    uint32_t *state = twister->state;
    if (twister->position == 624) {
        for (uint32_t i = 0; i < 624; i++) {
            uint32_t joined = (state[i] & 0x80000000u) | (state[(i + 1) % 624] & 0x7fffffffu);
            state[i] = state[(i + 397) % 624] ^ (joined >> 1) ^ (joined & 1 ? 0x9908b0dfu : 0);
        }
        twister->position = 0;
    }
    uint32_t y = state[twister->position++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

double sinter_twister_uniform(sinter_twister *twister) {
    uint32_t a = sinter_twister_next(twister) >> 5, b = sinter_twister_next(twister) >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
}
