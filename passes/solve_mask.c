/* Masks. Scores are ranked by the bits of their f32, which order as the numbers do, so that a rank is found by counting.
 * Test: tests/unit/solve_test.c */
#include "passes/solve_mask.h"
#include "ir/random.h"
#include <assert.h>
#include <math.h>
#include <string.h>

static uint32_t bits_of(float score) {
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits;
}

/* The smallest bits that are among the `stay` largest of those whose upper half is in [first, first + span), by histogram:
 * shift says which half is counted. *stay becomes how many of the result's own bucket stay. */
static uint32_t find_bucket(const float *scores, int64_t count, bool upper, uint32_t prefix,
                            int64_t *stay, int64_t *histogram) {
    memset(histogram, 0, sizeof *histogram << 16);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = bits_of(scores[i]);
        if (upper)
            histogram[bits >> 16]++;
        else if (bits >> 16 == prefix)
            histogram[bits & 0xffff]++;
    }
    uint32_t bucket = 0xffff;
    while (bucket > 0 && histogram[bucket] < *stay) *stay -= histogram[bucket--];
    return bucket;
}

static void keep_largest(const float *scores, int64_t count, int64_t stay, uint8_t *out_mask,
                         sinter_arena *scratch) {
    memset(out_mask, 0, (size_t)count);
    if (stay <= 0) return;
    int64_t *histogram = SINTER_NEW_ARRAY(scratch, int64_t, 1 << 16);
    uint32_t high = find_bucket(scores, count, true, 0, &stay, histogram);
    uint32_t least = high << 16 | find_bucket(scores, count, false, high, &stay, histogram);
    for (int64_t i = 0; i < count; i++) out_mask[i] = bits_of(scores[i]) > least;
    for (int64_t i = 0; i < count && stay > 0; i++)
        if (bits_of(scores[i]) == least) out_mask[i] = 1, stay--;
}

static int64_t count_to_keep(double ratio, int64_t count) {
    return count - (int64_t)floor(ratio * (double)count + 1e-9);
}

static void keep_n_of_m(const sinter_layer_recipe *recipe, const float *row, int64_t inputs,
                        uint8_t *mask) {
    memset(mask, 0, (size_t)inputs);
    for (int64_t first = 0; first < inputs; first += recipe->of) {
        int64_t size = inputs - first < recipe->of ? inputs - first : recipe->of;
        int64_t stay = (size * recipe->keep + recipe->of - 1) / recipe->of;
        for (; stay > 0; stay--) {
            int64_t best = -1;
            for (int64_t i = first; i < first + size; i++)
                if (!mask[i] && (best < 0 || row[i] > row[best])) best = i;
            mask[best] = 1;
        }
    }
}

static void keep_blocks(const sinter_layer_recipe *recipe, const float *scores, int64_t outputs,
                        int64_t inputs, int64_t group_outputs, uint8_t *mask,
                        sinter_arena *scratch) {
    int64_t tall = recipe->block_rows, wide = recipe->block_columns;
    int64_t down = (group_outputs + tall - 1) / tall, across = (inputs + wide - 1) / wide;
    int64_t count = outputs / group_outputs * down * across;
    float *sums = SINTER_NEW_ARRAY(scratch, float, count);
    uint8_t *stay = SINTER_NEW_ARRAY(scratch, uint8_t, count);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t o = 0; o < outputs; o++)
            for (int64_t i = 0; i < inputs; i++) {
                int64_t row = o / group_outputs * down + o % group_outputs / tall;
                int64_t block = row * across + i / wide;
                if (pass == 0)
                    sums[block] += scores[o * inputs + i];
                else
                    mask[o * inputs + i] = stay[block];
            }
        if (pass == 0)
            keep_largest(sums, count, count_to_keep(recipe->ratio, count), stay, scratch);
    }
}

void sinter_mask_choose(const sinter_layer_recipe *recipe, const float *scores, int64_t outputs,
                        int64_t inputs, int64_t group_outputs, uint8_t *out_mask,
                        sinter_arena *scratch) {
    int64_t count = outputs * inputs;
    switch (recipe->pattern) {
    case SINTER_PRUNE_UNSTRUCTURED:
        keep_largest(scores, count, count_to_keep(recipe->ratio, count), out_mask, scratch);
        return;
    case SINTER_PRUNE_N_OF_M:
        for (int64_t o = 0; o < outputs; o++)
            keep_n_of_m(recipe, scores + o * inputs, inputs, out_mask + o * inputs);
        return;
    case SINTER_PRUNE_BLOCK:
        keep_blocks(recipe, scores, outputs, inputs, group_outputs, out_mask, scratch);
        return;
    case SINTER_PRUNE_NONE:
    case SINTER_PRUNE_CHANNELS:
        break;
    }
    memset(out_mask, 1, (size_t)count);
}

float sinter_mask_score(const sinter_layer_recipe *recipe, double weight, double norm,
                        double inverse, uint64_t index) {
    double size = fabs(weight);
    switch (recipe->score) {
    case SINTER_SCORE_MAGNITUDE:
        return (float)size;
    case SINTER_SCORE_SQUARE:
        return (float)(size * size);
    case SINTER_SCORE_RANDOM:
        return (float)sinter_random_uniform(recipe->seed, index, false);
    case SINTER_SCORE_ACTIVATION:
        return (float)(size * norm);
    case SINTER_SCORE_SECOND_ORDER:
        return (float)(size * size / inverse);
    }
    assert(!"a score");
    return 0;
}
