/* Whether the requests of a pipeline are apart: rows of a run that meet in a node, in a sum over the batch or a
 * normalisation along it, would give other values where each request runs by itself. Who cuts a model over ranks knows that of every op:
 * the whole model is cut along the batch over as many ranks as there are requests, and where these have to exchange something, rows
 * meet. What a node makes of the number of rows alone is not seen. Test: tests/cli/pipeline_rows.sir */
#include "runtime/jit/stages_internal.h"

/* Says of a value of the whole that it is cut along its first axis, where a request has another size of it. */
static void cut_value(sinter_module *ranks, sinter_value value, const sinter_type *request,
                      const sinter_dim_table *request_dims, sinter_arena *arena) {
    const sinter_type *type = sinter_value_type(ranks, value);
    if (type->kind != SINTER_TYPE_TENSOR || !type->rank) return;
    sinter_text texts[2] = {{0}, {0}};
    sinter_dim_print(sinter_module_dims(ranks), type->dims[0], &texts[0]);
    sinter_dim_print(request_dims, request->dims[0], &texts[1]);
    sinter_sharding words = sinter_sharding_whole(arena, type->rank, false);
    if (strcmp(texts[0].data, texts[1].data)) sinter_mesh_axes_add(&words.dims[0].axes, 0);
    sinter_value_set_sharding(ranks, value, &words);
    for (int i = 0; i < 2; i++) sinter_text_deinit(&texts[i]);
}

static void cut_along_batch(sinter_module *ranks, const sinter_module *request, int64_t requests,
                            sinter_arena *arena) {
    const sinter_mesh mesh = {.axes = {{.name = SINTER_STRING("request"), .size = requests}},
                              .axis_count = 1,
                              .rank = -1};
    const sinter_dim_table *dims = sinter_module_dims(request);
    for (sinter_value value = 1; value < sinter_module_value_limit(ranks); value++)
        if (!sinter_value_get(ranks, value)->erased) sinter_value_set_sharding(ranks, value, NULL);
    sinter_module_set_mesh(ranks, &mesh);
    for (uint32_t i = 0; i < sinter_module_input_count(ranks); i++)
        cut_value(ranks, sinter_module_input(ranks, i),
                  sinter_value_type(request, sinter_module_input(request, i)), dims, arena);
    for (uint32_t i = 0; i < sinter_module_output_count(ranks); i++)
        cut_value(ranks, sinter_module_output(ranks, i),
                  sinter_value_type(request, sinter_module_output(request, i)), dims, arena);
}

static const sinter_node_info *find_exchange(const sinter_module *module) {
    const uint32_t limit = sinter_module_node_limit(module);
    for (sinter_node node = 1; node < limit; node++) {
        const sinter_node_info *info = sinter_node_get(module, node);
        if (!info->erased && sinter_node_exchanges(module, node)) return info;
    }
    return NULL;
}

/* What can't be cut is told with what it is for. */
static void tell(void *user, sinter_severity severity, const char *where, const char *message) {
    if (severity == SINTER_SEVERITY_ERROR)
        sinter_error(user, where,
                     "a pipeline runs each request by itself, and whether rows of the batch meet "
                     "here is not known: %s",
                     message);
}

bool sinter_stages_check_apart(const sinter_module *whole, const sinter_module *request,
                               int64_t requests, sinter_diag *diag) {
    const sinter_ranks_options how = {0};
    sinter_arena arena;
    if (requests == 1) return true;
    sinter_module *ranks = sinter_module_clone(whole);
    sinter_arena_init(&arena);
    cut_along_batch(ranks, request, requests ? requests : 2, &arena);
    sinter_diag errors = {.handler = tell, .user = diag};
    bool good = sinter_ranks_partition(ranks, &how, &errors);
    const sinter_node_info *met = good ? find_exchange(ranks) : NULL;
    if (met)
        good = sinter_error(diag, met->location ? met->location : sinter_module_name(whole),
                            "a pipeline runs each request by itself, and rows of the batch meet "
                            "here: leave --micro out, or cut the model over ranks with --mesh");
    sinter_module_destroy(ranks);
    sinter_arena_deinit(&arena);
    return good;
}
