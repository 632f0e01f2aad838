/* Recipes and samples of sinter-opt. Test: tests/passes/quantize_weights/, tests/passes/quantize_weights/ */
#include "tools/sinter-opt/compression.h"
#include "frontends/import.h"
#include "ir/random.h"
#include "tools/sinter-opt/loops.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLES_A_RUN = 16 };

static const char *const options[] = {"--recipe", "--compress", "--samples", "--sample"};

static const char *find_option(const char *argument, const char **out_value) {
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if ((*out_value = sinter_opt_value(argument, options[i]))) return options[i];
    return NULL;
}

bool sinter_opt_compression_takes(const char *argument) {
    const char *value = NULL;
    return find_option(argument, &value) != NULL;
}

static bool read_words(sinter_recipe *recipe, const char *words, sinter_diag *diag) {
    sinter_text text = {0};
    sinter_text_format(&text, "default %s", words);
    bool good = sinter_recipe_parse(recipe, "--compress", text.data, text.size, diag);
    sinter_text_deinit(&text);
    return good;
}

bool sinter_opt_compression_read(sinter_opt_compression *c, const char *argument,
                                 sinter_diag *diag) {
    const char *value = NULL;
    c->option = find_option(argument, &value);
    if (!c->recipe) c->recipe = sinter_recipe_create();
    if (!strcmp(c->option, "--recipe")) return sinter_recipe_read_file(c->recipe, value, diag);
    if (!strcmp(c->option, "--compress")) return read_words(c->recipe, value, diag);
    if (!strcmp(c->option, "--samples")) {
        char *end = NULL;
        c->made = strtoll(value, &end, 10);
        return (end != value && !*end && c->made > 0 && c->made < 1 << 20) ||
               sinter_error(diag, "sinter-opt", "--samples: expected a number, found '%s'", value);
    }
    if (!strchr(value, '=') || c->file_count == SINTER_OPT_MAX_SAMPLE_FILES)
        return sinter_error(diag, "sinter-opt", "--sample: expected NAME=FILE, found '%s'", value);
    c->files[c->file_count++] = value;
    return true;
}

/* Standard normal floats, small integers. */
static bool make(sinter_module *module, uint32_t index, int64_t count, sinter_tensor *out,
                 sinter_diag *diag) {
    const sinter_type *type = sinter_value_type(module, sinter_module_input(module, index));
    int64_t dims[SINTER_MAX_RANK + 1] = {count};
    bool stacked = !type->rank || sinter_dim_get_kind(sinter_module_dims(module), type->dims[0]) !=
                                      SINTER_DIM_SYMBOL;
    for (uint32_t i = stacked ? 0 : 1; i < type->rank; i++)
        if (!sinter_dim_is_const(sinter_module_dims(module), type->dims[i], &dims[i + stacked]))
            return sinter_error(diag, "sinter-opt", "--samples: dim %u of input '%s' is no number",
                                i, sinter_module_input_name(module, index));
    if (!sinter_tensor_create(out, type->dtype, type->rank + stacked, dims, diag)) return false;
    for (int64_t i = 0; i < sinter_tensor_count(out); i++) {
        double number = sinter_random_normal(index + 1, (uint64_t)i);
        if (sinter_dtype_is_float(type->dtype))
            sinter_tensor_set_double(out, i, number);
        else
            sinter_tensor_set_int(out, i, number > 0);
    }
    return true;
}

static const char *find_file(const sinter_opt_compression *c, const char *name) {
    for (size_t i = c->file_count; i-- > 0;)
        if (!strncmp(c->files[i], name, strlen(name)) && c->files[i][strlen(name)] == '=')
            return c->files[i] + strlen(name) + 1;
    return NULL;
}

static bool get_input(const sinter_opt_compression *c, sinter_module *module, uint32_t index,
                      sinter_tensor *out, sinter_diag *diag) {
    const char *name = sinter_module_input_name(module, index), *path = find_file(c, name);
    if (path) return sinter_tensor_read_named(path, name, NULL, NULL, out, diag);
    if (c->made) return make(module, index, c->made, out, diag);
    return sinter_error(diag, "sinter-opt", "--sample: no samples of input '%s'", name);
}

bool sinter_opt_compression_prepare(sinter_opt_compression *c, sinter_module *module,
                                    sinter_diag *diag) {
    c->base = (sinter_compression){.recipe = c->recipe, .runner = &sinter_runner_eval};
    if (!c->made && !c->file_count) return true;
    uint32_t count = sinter_module_input_count(module), got = 0;
    sinter_tensor *inputs = sinter_heap_alloc((count + 1) * sizeof *inputs);
    while (got < count && get_input(c, module, got, &inputs[got], diag)) got++;
    if (got == count) c->samples = sinter_samples_create(module, inputs, SAMPLES_A_RUN, diag);
    sinter_tensors_deinit(inputs, got);
    sinter_heap_free(inputs);
    c->base.samples = c->samples;
    return c->samples != NULL;
}

void sinter_opt_compression_deinit(sinter_opt_compression *c) {
    sinter_recipe_destroy(c->recipe);
    sinter_samples_destroy(c->samples);
}
