/* The reader of recipes on any bytes: no crash, no refusal without a word, what it accepts prints to text that reads back and
 * prints the same, and says something of a layer or why it can't. */
#include "passes/recipe.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print_layer(const sinter_recipe *recipe, sinter_text *text) {
    sinter_layer_recipe layer;
    sinter_diag diag = {0};
    if (sinter_recipe_find(recipe, "/layer1/conv", &layer, &diag))
        sinter_layer_recipe_print(&layer, text);
    else if (diag.error_count == 0)
        abort();
    sinter_text_append_string(text, "\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sinter_diag diag = {0};
    sinter_text first = {0}, second = {0};
    sinter_recipe *recipe = sinter_recipe_create(), *again = sinter_recipe_create();
    if (sinter_recipe_parse(recipe, "fuzz", (const char *)data, size, &diag)) {
        print_layer(recipe, &first);
        sinter_recipe_print(recipe, &first);
        size_t start = (size_t)(strchr(first.data, '\n') + 1 - first.data);
        if (!sinter_recipe_parse(again, "again", first.data + start, first.size - start, NULL))
            abort();
        print_layer(again, &second);
        sinter_recipe_print(again, &second);
        if (strcmp(first.data, second.data) != 0) abort();
    } else if (diag.error_count == 0) {
        abort();
    }
    sinter_recipe_destroy(again);
    sinter_recipe_destroy(recipe);
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
    return 0;
}
