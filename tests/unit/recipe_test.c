/* Recipes: what a text says of each layer, that printing gives the same recipe back, and where errors are. */
#include "passes/recipe.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static sinter_text messages;
static sinter_diag diag;

static sinter_recipe *parse(const char *text) {
    sinter_text_deinit(&messages);
    messages = (sinter_text){0};
    diag = (sinter_diag){.handler = sinter_diag_text_handler, .user = &messages};
    sinter_recipe *recipe = sinter_recipe_create();
    if (sinter_recipe_parse(recipe, "r", text, strlen(text), &diag)) return recipe;
    sinter_recipe_destroy(recipe);
    return NULL;
}

static sinter_layer_recipe find(const sinter_recipe *recipe, const char *layer) {
    sinter_layer_recipe out;
    CHECK(sinter_recipe_find(recipe, layer, &out, &diag));
    return out;
}

static void test_rules(void) {
    sinter_recipe *recipe =
        parse("default weights=int8 activations=u8 // all\n"
              "\"/a/*/conv\" weights=uint4\n  per=group:32 prune=2:4\n"
              "\"/a/b/conv\" activations=none rounding=nearest \"*c\" weights=bf16");
    CHECK(recipe != NULL);
    sinter_layer_recipe l = find(recipe, "x");
    CHECK(l.grid == SINTER_WEIGHT_GRID_INTEGER && l.bits == 8 && !l.asymmetric);
    CHECK(l.group == SINTER_PER_CHANNEL && l.pattern == SINTER_PRUNE_NONE && l.clip == 1);
    CHECK(l.activations == SINTER_DTYPE_u8 && l.observer == SINTER_OBSERVE_SQUARED_ERROR);
    CHECK(l.rounding == SINTER_ROUND_COMPENSATED && l.score == SINTER_SCORE_SECOND_ORDER);
    l = find(recipe, "/a/q/conv");
    CHECK(l.bits == 4 && l.asymmetric && l.group == 32 && l.keep == 2 && l.of == 4);
    CHECK(l.activations == SINTER_DTYPE_u8 && l.rounding == SINTER_ROUND_COMPENSATED);
    l = find(recipe, "/a/b/conv");
    CHECK(l.bits == 4 && l.activations == SINTER_DTYPE_NONE && l.rounding == SINTER_ROUND_NEAREST);
    l = find(recipe, "abc");
    CHECK(l.grid == SINTER_WEIGHT_GRID_FLOAT && l.storage == SINTER_DTYPE_bf16);
    CHECK(find(recipe, "/a/conv").bits == 8);
    const char *names[] = {"/a/b/conv", "abc"};
    CHECK(sinter_recipe_check_names(recipe, names, 2, &diag));
    CHECK(!sinter_recipe_check_names(recipe, names, 1, &diag));
    CHECK(strstr(messages.data, "r:4:47: error: the model has no layer '*c'") != NULL);
    sinter_recipe_destroy(recipe);
}

static void test_values(void) {
    sinter_recipe *recipe =
        parse("default weights=power_of_two prune=block4x8:0.75 score=random:7 clip=0.999 "
              "observe=percentile:99.9 activations=i16 schedule=gradual:4\n"
              "\"t\" weights=ternary per=tensor prune=0.5 schedule=one_shot\n\"d\" "
              "activations=dynamic prune=channels:0.3"
              "\n\"p\" weights=power_of_two:5 prune=none\n\"b\" weights=binary prune=none");
    CHECK(recipe != NULL);
    sinter_layer_recipe l = find(recipe, "x");
    CHECK(l.grid == SINTER_WEIGHT_GRID_POWER_OF_TWO && l.bits == 4);
    CHECK(l.pattern == SINTER_PRUNE_BLOCK && l.block_rows == 4 && l.block_columns == 8);
    CHECK_DOUBLE_EQ(l.ratio, 0.75);
    CHECK(l.score == SINTER_SCORE_RANDOM && l.seed == 7);
    CHECK_INT_EQ(l.rounds, 4);
    CHECK_INT_EQ(find(recipe, "t").rounds, 1);
    CHECK_DOUBLE_EQ(l.clip, 0.999);
    CHECK_DOUBLE_EQ(l.percentile, 99.9);
    CHECK(l.activations == SINTER_DTYPE_i16 && l.observer == SINTER_OBSERVE_PERCENTILE);
    l = find(recipe, "t");
    CHECK(l.grid == SINTER_WEIGHT_GRID_TERNARY && l.group == SINTER_PER_TENSOR);
    CHECK(l.pattern == SINTER_PRUNE_UNSTRUCTURED && l.ratio == 0.5);
    l = find(recipe, "d");
    CHECK(l.dynamic && l.activations == SINTER_DTYPE_u8 && l.pattern == SINTER_PRUNE_CHANNELS);
    CHECK_INT_EQ(find(recipe, "p").bits, 5);
    CHECK(find(recipe, "b").grid == SINTER_WEIGHT_GRID_BINARY);

    sinter_text first = {0}, second = {0}, words = {0};
    sinter_recipe_print(recipe, &first);
    sinter_recipe *again = parse(first.data);
    CHECK(again != NULL);
    sinter_recipe_print(again, &second);
    CHECK_STRING_EQ(second.data, first.data);
    l = find(again, "x");
    sinter_layer_recipe_print(&l, &words);
    CHECK_STRING_EQ(words.data,
                    "weights=power_of_two:4 per=channel rounding=compensated clip=0.999 "
                    "prune=block4x8:0.75 score=random:7 schedule=gradual:4 activations=i16 "
                    "observe=percentile:99.9");
    sinter_text_deinit(&words);
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
    sinter_recipe_destroy(again);
    sinter_recipe_destroy(recipe);
}

static void test_errors(void) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"weights=int8", "r:1:1: error: expected 'default' or the name of a layer in quotes"},
        {"default", "r:1:8: error: expected weights, per,"},
        {"default\n speed=9", "r:2:2: error: expected weights, per,"},
        {"default weights=int9", "r:1:17: error: expected none, int2 to int8"},
        {"default weights=int44", "r:1:17: error: expected none, int2 to int8"},
        {"default weights=power_of_two:9", "r:1:30: error: expected a whole number from 2 to 5"},
        {"default per=group:0", "r:1:19: error: expected a whole number from 2"},
        {"default prune=1.5", "r:1:15: error: prune: expected a ratio between 0 and 1"},
        {"default prune=4:4", "r:1:15: error: prune: expected a whole number below 4"},
        {"default prune=block4x:0.5", "r:1:15: error: expected a block"},
        {"default prune=block0x4:0.5", "r:1:15: error: expected a block"},
        {"default prune=channels", "r:1:23: error: expected ':'"},
        {"default clip=0", "r:1:14: error: clip: expected a quantile"},
        {"default clip=nan", "r:1:14: error: clip: expected a quantile"},
        {"default schedule=gradual:1", "r:1:26: error: expected a whole number from 2 to 64"},
        {"default schedule=slow", "r:1:18: error: expected one_shot or gradual:ROUNDS"},
        {"default score=best", "r:1:15: error: expected magnitude, square,"},
        {"default weights=int8 weights=int4", "r:1:22: error: 'weights' is said twice"},
        {"default observe=percentile:100", "r:1:28: error: expected a number between 50 and 100"},
        {"default weights = int8 \"a\"", "r:1:27: error: expected weights, per,"},
        {"default weights=int8 $", "r:1:22: error: expected weights, per,"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(parse(cases[i].text) == NULL);
        if (!CHECK(messages.data && strstr(messages.data, cases[i].expected)))
            printf("  %s\n  gives %s", cases[i].text, messages.data ? messages.data : "nothing\n");
    }
}

static void test_flags(void) {
    sinter_recipe *recipe = parse("");
    CHECK(recipe != NULL);
    CHECK_INT_EQ(find(recipe, "x").grid, SINTER_WEIGHT_GRID_NONE);
    CHECK(sinter_recipe_set(recipe, NULL, "weights", "int4", "--quantize=int4", &diag));
    CHECK(sinter_recipe_set(recipe, "odd \"name\"", "weights", "none", "--keep", &diag));
    CHECK_INT_EQ(find(recipe, "x").bits, 4);
    CHECK_INT_EQ(find(recipe, "odd \"name\"").grid, SINTER_WEIGHT_GRID_NONE);
    CHECK(!sinter_recipe_set(recipe, NULL, "weights", "int1", "--quantize=int1", &diag));
    CHECK(strstr(messages.data, "--quantize=int1: error: expected none, int2") != NULL);
    CHECK(!sinter_recipe_set(recipe, NULL, "prune", "0.5 default prune=0.7", "--prune", &diag));
    CHECK(strstr(messages.data, "--prune: error: expected one value") != NULL);
    CHECK(sinter_recipe_set(recipe, NULL, "weights", "binary", "--quantize=binary", &diag));
    CHECK(sinter_recipe_set(recipe, NULL, "prune", "2:4", "--prune=2:4", &diag));
    sinter_layer_recipe l;
    CHECK(!sinter_recipe_find(recipe, "x", &l, &diag));
    CHECK(strstr(messages.data, "--prune=2:4: error: layer 'x': binary weights") != NULL);
    sinter_recipe_destroy(recipe);
}

int main(void) {
    test_rules();
    test_values();
    test_errors();
    test_flags();
    sinter_text_deinit(&messages);
    return test_finish();
}
