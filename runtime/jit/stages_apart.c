/* Whether the requests of a pipeline are apart: rows of a run that meet in a node, in a sum over the batch or a
 * normalisation along it, would give other values where each request runs by itself. Who cuts a model over ranks knows that of every op:
 * the whole model is cut along the batch over as many ranks as there are requests, and where these have to exchange something, rows
 * meet. What a model makes of the number of rows alone, a division by it, rows' numbers, is seen where the model of a run and that of a
 * request have other constants than parts of one another. Test: tests/cli/pipeline_rows.sir */
#include "ir/sharding_tensor.h"
#include "passes/pass.h"
#include "runtime/jit/stages_internal.h"

#include <string.h>

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

/* ---- numbers of rows ---- */

typedef struct comparison {
    sinter_module *whole, *request;
    int64_t requests;
    sinter_diag *diag;
} comparison;

static bool same_bytes(const sinter_tensor *a, const sinter_tensor *b) {
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    if (a->dtype != SINTER_DTYPE_string)
        return memcmp(a->data, b->data, sinter_tensor_bytes(a)) == 0;
    sinter_text message = {0};
    bool same = sinter_tensor_compare(a, b, 0, 0, &message);
    sinter_text_deinit(&message);
    return same;
}

/* Whether each request has its part of the constant, along an axis that is longer by the number of requests; or all of it. */
static bool is_part(const comparison *c, const sinter_tensor *whole, const sinter_tensor *own) {
    const sinter_mesh mesh = {.axes = {{.name = SINTER_STRING("request"), .size = c->requests}},
                              .axis_count = 1,
                              .rank = -1};
    sinter_shard_dim dims[SINTER_MAX_RANK];
    memset(dims, 0, sizeof dims);
    const sinter_sharding words = {.dims = dims, .rank = whole->rank};
    uint32_t axis = 0;
    if (whole->rank != own->rank) return false;
    while (axis < whole->rank && whole->dims[axis] == own->dims[axis]) axis++;
    if (axis == whole->rank) return same_bytes(whole, own);
    if (whole->dims[axis] != c->requests * own->dims[axis]) return false;
    sinter_mesh_axes_add(&dims[axis].axes, 0);
    bool good = true;
    for (int64_t i = 0; good && i < c->requests; i++) {
        sinter_tensor part;
        sinter_diag quiet = {0};
        if (!sinter_sharding_cut_tensor(&mesh, &words, i, whole, &part, &quiet)) return false;
        good = same_bytes(&part, own);
        sinter_tensor_deinit(&part);
    }
    return good;
}

static bool has_content(const sinter_module *module, sinter_value value) {
    return value && sinter_value_get(module, value)->content_count > 0;
}

/* Whether the value is made of numbers that only the whole has: constants that are no parts, contents that are other expressions. */
static bool differs(const comparison *c, sinter_value whole, sinter_value request) {
    if (!whole || !request) return whole != request;
    const sinter_tensor *a = sinter_value_constant(c->whole, whole),
                        *b = sinter_value_constant(c->request, request);
    if (a && b) return !is_part(c, a, b);
    const sinter_value_info *x = sinter_value_get(c->whole, whole),
                            *y = sinter_value_get(c->request, request);
    if (x->content_count != y->content_count) return (a != NULL) != (b != NULL);
    sinter_text texts[2] = {{0}, {0}};
    for (uint32_t i = 0; i < x->content_count; i++) {
        sinter_dim_print(sinter_module_dims(c->whole), x->content[i], &texts[0]);
        sinter_dim_print(sinter_module_dims(c->request), y->content[i], &texts[1]);
        sinter_text_append_string(&texts[0], ",");
        sinter_text_append_string(&texts[1], ",");
    }
    bool same = !x->content_count || !strcmp(texts[0].data, texts[1].data);
    for (int i = 0; i < 2; i++) sinter_text_deinit(&texts[i]);
    return !same || (a != NULL) != (b != NULL);
}

/* Sizes may be those of a request where they say the shape of a view, or are on their way there. */
static bool is_shape(const comparison *c, sinter_node node, uint32_t operand) {
    sinter_pattern pattern = sinter_op_get_info(sinter_node_op(c->whole, node))->pattern;
    return (pattern == SINTER_PATTERN_VIEW && operand > 0) ||
           has_content(c->whole, sinter_node_result(c->whole, node, 0));
}

static bool check_node(const comparison *c, sinter_node node) {
    const sinter_node_info *a = sinter_node_get(c->whole, node),
                           *b = sinter_node_get(c->request, node);
    if (a->erased || b->erased || a->op == SINTER_OP_constant) return true;
    for (uint32_t i = 0; a->op == b->op && i < a->operand_count && i < b->operand_count; i++)
        if (!is_shape(c, node, i) && differs(c, a->operands[i], b->operands[i]))
            return sinter_error(c->diag, a->location ? a->location : sinter_module_name(c->whole),
                                "a pipeline runs each request by itself, and this has another "
                                "number of rows, or other rows, in the whole run than in a "
                                "request: leave --micro out, or cut the model over ranks with "
                                "--mesh");
    return true;
}

/* What is known of sizes becomes numbers, and what nobody needs is gone. */
static bool fold(sinter_module *module, sinter_diag *diag) {
    static const char *const names[] = {"eliminate-dead", "fold-constants", "eliminate-dead"};
    size_t changes;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!sinter_pass_run(sinter_pass_find(sinter_string_of(names[i])), module, NULL, &changes,
                             diag))
            return false;
    return true;
}

/* Nodes that both models have are the same, as both are of one file. */
static bool check_numbers(const sinter_module *whole, const sinter_module *request,
                          int64_t requests, sinter_diag *diag) {
    comparison c = {sinter_module_clone(whole), sinter_module_clone(request), requests, diag};
    bool good = fold(c.whole, diag) && fold(c.request, diag);
    const uint32_t limit = sinter_module_node_limit(whole);
    for (sinter_node node = 1; good && node < limit && node < sinter_module_node_limit(request);
         node++)
        good = check_node(&c, node);
    sinter_module_destroy(c.whole);
    sinter_module_destroy(c.request);
    return good;
}

bool sinter_stages_check_apart(const sinter_module *whole, const sinter_module *request,
                               int64_t requests, sinter_diag *diag) {
    const sinter_ranks_options how = {0};
    sinter_arena arena;
    if (requests == 1) return true;
    if (requests && !check_numbers(whole, request, requests, diag)) return false;
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
