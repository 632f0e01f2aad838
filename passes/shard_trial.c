/* Programs made to be priced. Test: tests/passes/shard_auto/overlap.sir */
#include "passes/shard_trial.h"
#include "ir/estimate.h"
#include "ir/sharding.h"

/* That of rank 0, which has the largest parts. */
static bool make_program(sinter_module *module, const sinter_pipeline_options *options,
                         sinter_diag *diag) {
    return !sinter_module_mesh(module)->axis_count ||
           (sinter_pipeline_run_list(module, "shard-propagate", options, diag) &&
            sinter_pipeline_run_list(module, sinter_pipeline_of_partition(), options, diag) &&
            sinter_pipeline_run_rank(module, 0, options, diag));
}

typedef struct exchange_check {
    sinter_module *module;
    sinter_diag *diag;
    bool good;
} exchange_check;

static void check_exchange(void *user, sinter_node node) {
    exchange_check *check = user;
    check->good = check->good && sinter_sharding_check_send(check->module, node, check->diag);
}

/* As lowering will have it. */
static bool check_exchanges(sinter_module *module, sinter_diag *diag) {
    exchange_check check = {.module = module, .diag = diag, .good = true};
    sinter_pass_visit_nodes(module, check_exchange, &check);
    return check.good;
}

bool sinter_shard_try(const sinter_pass_context *context, sinter_module *module,
                      sinter_shard_trial *out_trial, sinter_diag *diag) {
    const char *programs = context->options->programs;
    sinter_pipeline_options options = *context->options;
    options.stop_after = -1;
    options.explain = options.time_passes = false; /* what is tried is not told */
    options.print_after = NULL;
    options.output = NULL;
    sinter_estimate estimate;
    sinter_arena arena;
    bool good = make_program(module, &options, diag) && check_exchanges(module, diag) &&
                sinter_pipeline_run_list(module, programs ? programs : sinter_pipeline_of_level(1),
                                         &options, diag);
    sinter_arena_init(&arena);
    if (good) {
        sinter_estimate_module(module, context->options->hardware, &arena, &estimate);
        *out_trial = (sinter_shard_trial){estimate.seconds, estimate.hidden_seconds};
    }
    sinter_arena_deinit(&arena);
    sinter_module_destroy(module);
    return good;
}
