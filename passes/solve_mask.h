/* Which weights stay: the pattern of a recipe applied to scores. Test: tests/unit/solve_test.c */
#pragma once
#include "ir/base/arena.h"
#include "passes/recipe.h"

/* Writes 1 where a weight stays, 0 where it goes. Scores [outputs, inputs] are not negative; those of a block or of N of M are
 * compared with one another, ties go to the earlier one. Patterns: unstructured (over the whole matrix), N of M (of what the end
 * of a row leaves, the same share, rounded up), blocks (cut at the edges; outputs of one group of `group_outputs` only). */
void sinter_mask_choose(const sinter_layer_recipe *recipe, const float *scores, int64_t outputs, int64_t inputs,
                        int64_t group_outputs, uint8_t *out_mask, sinter_arena *scratch);
/* The score of one weight, as the recipe says: norm is that of the input it meets, inverse the diagonal of the inverse second
 * moments; index counts weights (random). */
float sinter_mask_score(const sinter_layer_recipe *recipe, double weight, double norm, double inverse, uint64_t index);
