/* The driver of compression. Test: tests/cli/compress.test, tests/suites/compressed_models.py */
#include "runtime/jit/compress.h"
#include "ir/cost.h"
#include "ir/verify.h"
#include "passes/keep.h"
#include "passes/layer.h"
#include "passes/pass.h"
#include "runtime/jit/runner.h"

enum { VALUES_BYTES = 16 << 20, MOST_SAMPLES = 8 };

/* Blocks and channels first: there is less of everything then. Activations next: what changes weights sees rounded inputs. */
static const char compression_passes[] = "cut-blocks,"
                                         "prune-channels,"
                                         "rotate-channels,"
                                         "smooth-activations,"
                                         "quantize-activations,"
                                         "quantize-weights,"
                                         "compress-weights,"
                                         "quantize-tables,"
                                         "quantize-biases,"
                                         "widen-weights,"
                                         "eliminate-common,"
                                         "eliminate-dead";

static bool run_list(sinter_module *module, const char *list, const sinter_compression *compression,
                     sinter_diag *diag) {
    const sinter_pipeline_options options = {.stop_after = -1, .compression = compression};
    return sinter_pipeline_run_list(module, list, &options, diag);
}

bool sinter_compress_prepare(sinter_module *module, sinter_diag *diag) {
    return run_list(module, sinter_pipeline_of_preparation(), NULL, diag);
}

/* Rules that name no layer are mistakes, and so are words that do not go together. */
static bool check_recipe(sinter_module *module, const sinter_recipe *recipe, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_layer_list layers = sinter_layer_find_with_recurrent(module, &arena);
    sinter_table_list tables = sinter_table_find_all(module, &arena);
    size_t count = layers.count + tables.count;
    const char **names = SINTER_NEW_ARRAY(&arena, const char *, count + 1);
    for (size_t i = 0; i < layers.count; i++) names[i] = layers.items[i].name;
    for (size_t i = 0; i < tables.count; i++) names[layers.count + i] = tables.items[i].name;
    bool good = layers.count ||
                sinter_error(diag, sinter_module_name(module),
                             "has no convolution or matrix product with constant f32 weights");
    good = good && sinter_recipe_check_names(recipe, names, count, diag);
    for (size_t i = 0; i < count && good; i++) {
        sinter_layer_recipe layer;
        good = sinter_recipe_find(recipe, names[i], &layer, diag);
    }
    sinter_arena_deinit(&arena);
    return good;
}

size_t sinter_compress_batch(sinter_module *module) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_dim_table *dims = sinter_module_dims(module);
    const int64_t *ones = sinter_dim_assume(dims, &arena, 1);
    uint64_t bytes = 1;
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        const sinter_node_info *info = sinter_node_get(module, node);
        for (uint32_t i = 0; i < info->result_count && info->op != SINTER_OP_constant; i++) {
            int64_t size = 0;
            sinter_dim dim =
                info->results[i] ? sinter_cost_value_bytes(module, info->results[i]) : 0;
            if (dim && sinter_dim_evaluate(dims, dim, ones, &size) && size > 0)
                bytes += (uint64_t)size;
        }
    }
    sinter_arena_deinit(&arena);
    uint64_t batch = VALUES_BYTES / bytes;
    return batch < 1 ? 1 : batch > MOST_SAMPLES ? MOST_SAMPLES : (size_t)batch;
}

bool sinter_compress_module(sinter_module *module, const sinter_compress_plan *plan,
                            sinter_diag *diag) {
    sinter_engine_runner runner;
    if (!sinter_compress_prepare(module, diag) || !check_recipe(module, plan->recipe, diag))
        return false;
    if (!sinter_engine_runner_init(&runner, plan->engine, diag)) return false;
    const sinter_compression compression = {.recipe = plan->recipe,
                                            .runner = &runner.base,
                                            .samples = plan->samples,
                                            .progress = plan->progress,
                                            .progress_user = plan->progress_user};
    bool good = (!plan->kept || sinter_keep_sensitive(module, &compression, plan->kept, diag)) &&
                run_list(module, compression_passes, &compression, diag) &&
                sinter_verify_module(module, diag);
    sinter_engine_runner_deinit(&runner);
    return good;
}
