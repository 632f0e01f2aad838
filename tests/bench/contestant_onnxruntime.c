/* ONNX Runtime as a contestant, through its C API: a table of function pointers that only ever grows at its end, so that a
 * position in it is a contract and its header is not needed. All optimisations are on; inputs and outputs are bound to memory
 * that stays. Test: tests/cli/beside.test */
#include "ir/base/heap.h"
#include "tests/bench/contestant.h"
#include <stdio.h>
#include <string.h>

enum {
    API_VERSION = 11,
    LOG_FATAL = 4,
    OPTIMIZE_ALL = 99,
    DEVICE_ALLOCATOR = 0,
    MEMORY_DEFAULT = 0
};
enum { MAX_NAMES = 64 };

/* Objects of the library, and its results: NULL for success. */
typedef struct object object;
typedef struct api_base {
    const any_function *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} api_base;

/* Positions in the table, and what is there. */
#define API_FUNCTIONS(row)                                                                         \
 row(2, get_error_message, const char *, (const object *status))                                   \
     row(3, create_environment, object *, (int level, const char *id, object **out)) row(          \
         7, create_session, object *,                                                              \
         (const object *environment, const char *path, const object *options, object **out))       \
         row(9, run, object *,                                                                     \
             (object * session, const object *options, const char *const *input_names,             \
              const object *const *inputs, size_t input_count, const char *const *output_names,    \
              size_t output_count, object **outputs)) row(10, create_session_options, object *,    \
                                                          (object * *out))                         \
             row(23, set_optimization_level, object *, (object * options, int level)) row(         \
                 24, set_intra_threads, object *, (object * options, int count))                   \
                 row(25, set_inter_threads, object *, (object * options, int count)) row(          \
                     30, input_count, object *, (const object *session, size_t *out))              \
                     row(31, output_count, object *, (const object *session, size_t *out)) row(    \
                         36, input_name, object *,                                                 \
                         (const object *session, size_t index, object *allocator, char **out))     \
                         row(37, output_name, object *,                                            \
                             (const object *session, size_t index, object *allocator, char **out)) \
                             row(49, create_tensor, object *,                                      \
                                 (const object *memory, void *data, size_t bytes,                  \
                                  const int64_t *dims, size_t rank, int type, object **out))       \
                                 row(51, tensor_data, object *, (object * value, void **out)) row( \
                                     60, element_type, object *,                                   \
                                     (const object *info, int *out)) row(61, rank_of, object *,    \
                                                                         (const object *info,      \
                                                                          size_t *out))            \
                                     row(62, dims_of, object *,                                    \
                                         (const object *info, int64_t *out,                        \
                                          size_t rank)) row(65, tensor_info, object *,             \
                                                            (const object *value, object **out))   \
                                         row(69, create_memory_info, object *,                     \
                                             (int allocator, int memory, object **out))            \
                                             row(76, free_memory, object *,                        \
                                                 (object * allocator, void *pointer))              \
                                                 row(78, default_allocator, object *,              \
                                                     (object * *out)) row(92, release_environment, \
                                                                          void,                    \
                                                                          (object * environment))  \
                                                     row(93, release_status, void,                 \
                                                         (object *                                 \
                                                          status)) row(94, release_memory_info,    \
                                                                       void, (object * memory))    \
                                                         row(95, release_session, void,            \
                                                             (object * session))                   \
                                                             row(96, release_value, void,          \
                                                                 (object * value))                 \
                                                                 row(99, release_tensor_info,      \
                                                                     void, (object * info))        \
                                                                     row(100,                      \
                                                                         release_session_options,  \
                                                                         void, (object * options))

#define MEMBER(index, name, result, parameters) result(*name) parameters;
typedef struct api {
    API_FUNCTIONS(MEMBER)
} api;

static void read_table(const any_function *table, api *out) {
#define READ(index, name, result, parameters) out->name = (result(*) parameters)table[index];
    API_FUNCTIONS(READ)
}

typedef struct session_run {
    api api;
    object *environment, *options, *session, *memory, *allocator; /* the last one is not ours */
    char *input_names[MAX_NAMES], *output_names[MAX_NAMES];
    object *inputs[MAX_NAMES], *outputs[MAX_NAMES];
    size_t input_count, output_count;
} session_run;

static bool fine(const session_run *r, object *status) {
    if (!status) return true;
    fprintf(stderr, "beside: error: ONNX Runtime: %s\n", r->api.get_error_message(status));
    r->api.release_status(status);
    return false;
}

static bool run(void *state) {
    session_run *r = state;
    return fine(r, r->api.run(r->session, NULL, (const char *const *)r->input_names,
                              (const object *const *)r->inputs, r->input_count,
                              (const char *const *)r->output_names, r->output_count, r->outputs));
}

static bool output(void *state, size_t index, sinter_tensor *out_tensor) {
    session_run *r = state;
    object *info = NULL;
    int type = 0;
    size_t rank = 0;
    void *data = NULL;
    *out_tensor = (sinter_tensor){0};
    if (index >= r->output_count || !fine(r, r->api.tensor_info(r->outputs[index], &info)))
        return false;
    bool good = fine(r, r->api.element_type(info, &type)) && fine(r, r->api.rank_of(info, &rank)) &&
                rank <= SINTER_MAX_RANK && fine(r, r->api.dims_of(info, out_tensor->dims, rank)) &&
                fine(r, r->api.tensor_data(r->outputs[index], &data));
    r->api.release_tensor_info(info);
    out_tensor->dtype = sinter_dtype_from_onnx(type);
    out_tensor->rank = (uint32_t)rank;
    out_tensor->data = data;
    return good;
}

static void destroy(void *state) {
    session_run *r = state;
    for (size_t i = 0; i < MAX_NAMES; i++) {
        if (r->inputs[i]) r->api.release_value(r->inputs[i]);
        if (r->outputs[i]) r->api.release_value(r->outputs[i]);
        if (r->input_names[i]) r->api.free_memory(r->allocator, r->input_names[i]);
        if (r->output_names[i]) r->api.free_memory(r->allocator, r->output_names[i]);
    }
    if (r->memory) r->api.release_memory_info(r->memory);
    if (r->session) r->api.release_session(r->session);
    if (r->options) r->api.release_session_options(r->options);
    if (r->environment) r->api.release_environment(r->environment);
    sinter_heap_free(r);
}

static bool open_session(session_run *r, const char *model, int threads) {
    const api *a = &r->api;
    return fine(r, a->create_environment(LOG_FATAL, "beside", &r->environment)) &&
           fine(r, a->create_session_options(&r->options)) &&
           fine(r, a->set_optimization_level(r->options, OPTIMIZE_ALL)) &&
           fine(r, a->set_intra_threads(r->options, threads)) &&
           fine(r, a->set_inter_threads(r->options, 1)) &&
           fine(r, a->create_session(r->environment, model, r->options, &r->session)) &&
           fine(r, a->default_allocator(&r->allocator)) &&
           fine(r, a->create_memory_info(DEVICE_ALLOCATOR, MEMORY_DEFAULT, &r->memory)) &&
           fine(r, a->input_count(r->session, &r->input_count)) &&
           fine(r, a->output_count(r->session, &r->output_count));
}

static bool bind_inputs(session_run *r, const feeds *inputs) {
    if (r->input_count > inputs->count || r->input_count > MAX_NAMES ||
        r->output_count > MAX_NAMES) {
        fprintf(stderr, "beside: error: ONNX Runtime takes %zu inputs, %zu are given\n",
                r->input_count, inputs->count);
        return false;
    }
    bool good = true;
    for (size_t i = 0; i < r->output_count && good; i++)
        good = fine(r, r->api.output_name(r->session, i, r->allocator, &r->output_names[i]));
    for (size_t i = 0; i < r->input_count && good; i++) {
        const sinter_tensor *one = &inputs->items[i];
        good =
            fine(r, r->api.input_name(r->session, i, r->allocator, &r->input_names[i])) &&
            fine(r, r->api.create_tensor(r->memory, (void *)(uintptr_t)one->data,
                                         sinter_tensor_bytes(one), one->dims, one->rank,
                                         sinter_dtype_infos[one->dtype].onnx_code, &r->inputs[i]));
    }
    return good;
}

/* The first run gives the outputs their memory, which later ones fill again. */
bool contestant_open_onnxruntime(const char *what, int threads, const feeds *inputs,
                                 contestant *out) {
    char library[1024];
    const char *model = split_at_colon(what, library, sizeof library);
    session_run *r = sinter_heap_alloc(sizeof *r);
    *out = (contestant){r, run, output, destroy};
    if (!model) return fprintf(stderr, "beside: error: onnxruntime:%s\n", what), false;
    any_function get_base = find_function(library, "OrtGetApiBase");
    if (!get_base) return false;
    const api_base *base = ((const api_base *(*)(void))get_base)();
    const any_function *table = base->get_api(API_VERSION);
    if (!table) return fprintf(stderr, "beside: error: %s is too old\n", library), false;
    read_table(table, &r->api);
    return open_session(r, model, threads) && bind_inputs(r, inputs) && run(r);
}
