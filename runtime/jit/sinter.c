/* The public facade over engine and runtime: diagnostics become statuses, runs get contexts that are kept for the next one.
 *
 * A lock that runs take for reading keeps the pool in place while they use it. Test: tests/unit/sinter_test.c,
 * docs/examples/jit.c by tests/suites/install.py */
#include "runtime/jit/sinter.h"
#include "codegen/tuning.h"
#include "frontends/import.h"
#include "runtime/allocator.h"
#include "runtime/jit/compress_file.h"
#include "runtime/status.h"

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SPARE_COUNT = 8, CONTEXT_ALIGNMENT = 64 };

typedef struct spare {
    void *memory;
    uint64_t bytes;
} spare;

struct sinter_model {
    sinter_engine *engine;
    sinter_device *device; /* NULL: the CPU */
    const sinter_executable *executable;
    sinter_pool *own_pool, *pool; /* pool: what runs use; the own one or the caller's */
    const sinter_abi_services
        *memory; /* whose allocator all runs use: the caller's pool, or NULL for malloc */
    pthread_rwlock_t pool_lock;
    pthread_mutex_t spare_lock;
    spare spares[SPARE_COUNT]; /* contexts of runs that ended */
};

/* ---- memory of runs ---- */

/* That of the caller's pool, or one that says malloc. */
static sinter_allocator get_allocator(const sinter_model *model) {
    const sinter_abi_services *memory = model->memory;
    if (!memory) return (sinter_allocator){NULL, NULL, NULL};
    return (sinter_allocator){memory->user, memory->allocate, memory->deallocate};
}

static void free_context(const sinter_model *model, spare context) {
    sinter_allocator allocator = get_allocator(model);
    sinter_deallocate(&allocator, context.memory, context.bytes, CONTEXT_ALIGNMENT);
}

/* ---- loading ---- */

/* What sinter_load does under a guard. */
typedef struct loading {
    const char *path;
    const sinter_options *options;
    sinter_diag diag;
    sinter_text text;      /* of the messages */
    sinter_device *device; /* NULL: the CPU */
    sinter_status *status; /* of an artifact that can't be loaded, instead of messages */
    sinter_engine *engine; /* NULL after errors */
} loading;

/* What options say of the engine, whatever they are for. */
static sinter_engine_options engine_options(const sinter_options *options) {
    sinter_engine_options engine = SINTER_ENGINE_OPTIONS_INIT;
    engine.target = options->target;
    engine.passes = options->passes;
    engine.level = options->level;
    engine.cache = options->cache_folder;
    engine.jobs = (int)(options->compile_threads < 64 ? options->compile_threads : 64);
    engine.no_winograd = options->no_winograd != 0;
    engine.copy_weights = options->copy_weights != 0;
    if (options->precision) sinter_precision_parse(options->precision, &engine.precision);
    return engine;
}

/* Options that say how to compile would do nothing. */
static sinter_status *check_options_of_artifact(const char *path, const sinter_options *options) {
    const char *of_compilation = options->target      ? "target"
                                 : options->passes    ? "passes"
                                 : options->dims      ? "dims"
                                 : options->precision ? "precision"
                                 : options->tuning    ? "tuning"
                                                      : NULL;
    if (!of_compilation) return NULL;
    return SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                       "%s: is compiled already: sinter_options.%s does not apply", path,
                       of_compilation);
}

static void open_engine(void *user) {
    loading *l = user;
    const sinter_options *options = l->options;
    sinter_engine_options engine = engine_options(options);
    engine.device = l->device;
    if (sinter_engine_is_artifact(l->path)) {
        l->status = check_options_of_artifact(l->path, options);
        if (l->status) return;
        if (sinter_engine_is_folder(l->path))
            l->engine = sinter_engine_open(l->path, &engine, &l->diag);
        else
            l->status = sinter_engine_load(l->path, &engine, &l->engine);
        return;
    }
    sinter_module *module = sinter_import_file_bound(l->path, options->dims, &l->diag);
    sinter_tuning *tuning = NULL;
    if (module && options->tuning && !(tuning = sinter_tuning_read(options->tuning, &l->diag))) {
        sinter_module_destroy(module);
        return;
    }
    engine.tuning = tuning;
    sinter_arena names;
    sinter_arena_init(&names);
    bool good = module != NULL;
    if (good && l->device && (!engine.target || !strcmp(engine.target, "cuda"))) {
        engine.target = sinter_engine_device_target(l->device, &names, &l->diag);
        good = engine.target != NULL;
    }
    if (good)
        l->engine = sinter_engine_create(module, &engine, &l->diag);
    else
        sinter_module_destroy(module);
    sinter_arena_deinit(&names);
    sinter_tuning_destroy(tuning);
}

static sinter_status *null_argument(const char *name) {
    return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "%s: expected an address, found NULL", name);
}

static bool is_on_device(const sinter_options *options) {
    return options->device && strcmp(options->device, "cpu") != 0;
}

static sinter_status *check_options(const sinter_options *options) {
    if (options->size < sizeof *options)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                           "sinter_options.size is %u, expected %zu: use SINTER_OPTIONS_INIT",
                           options->size, sizeof *options);
    if (options->level < 0 || options->level > 3)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "sinter_options.level is %d, expected 0 to 3",
                           (int)options->level);
    const char *kind = is_on_device(options) ? "cuda" : "cpu";
    if (options->target && strncmp(options->target, kind, strlen(kind)) != 0)
        return SINTER_FAIL(
            SINTER_STATUS_BAD_INPUT, "sinter_options.target is '%s', expected %s", options->target,
            is_on_device(options) ? "cuda[:sm_90], for the device" : "cpu[:CPU][+FEATURE]...");
    sinter_precision precision;
    if (options->precision && !sinter_precision_parse(options->precision, &precision))
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                           "sinter_options.precision is '%s', expected " SINTER_PRECISION_NAMES,
                           options->precision);
    return NULL;
}

/* Runs body(work) as a caller of the library may have it: what it took when memory ran out is given back, which is a status.
 * Compiler code reads and writes numbers as the C locale has them, whatever the program's locale is. */
static sinter_status *run_guarded(void (*body)(void *work), void *work, const char *path) {
    size_t wanted = 0;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "%s: no memory for a locale", path);
    locale_t callers = uselocale(plain); /* of this thread */
    bool finished = sinter_heap_guard(body, work, &wanted);
    uselocale(callers);
    freelocale(plain);
    if (finished) return NULL;
    return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "%s: out of memory: no %zu bytes", path,
                       wanted);
}

/* Messages as a status, and their end. */
static sinter_status *take_messages(sinter_text *text, sinter_status_code code,
                                    const char *otherwise) {
    while (text->size && text->data[text->size - 1] == '\n') text->data[--text->size] = '\0';
    sinter_status *status = SINTER_FAIL(code, "%s", text->size ? text->data : otherwise);
    sinter_text_deinit(text);
    return status;
}

/* The engine, or why there is none. */
static sinter_status *load_engine(const char *path, const sinter_options *options,
                                  sinter_device *device, sinter_engine **out_engine) {
    loading l = {.path = path, .options = options, .device = device};
    l.diag = (sinter_diag){.handler = sinter_diag_text_handler, .user = &l.text};
    sinter_status *status = run_guarded(open_engine, &l, path);
    if (status) return status;
    *out_engine = l.engine;
    if (!l.engine && !l.status)
        return take_messages(&l.text,
                             sinter_engine_is_folder(path) ? SINTER_STATUS_BAD_ARTIFACT
                                                           : SINTER_STATUS_BAD_MODEL,
                             "the model can't be loaded");
    sinter_text_deinit(&l.text);
    return l.status;
}

sinter_status *sinter_load(const char *path, const sinter_options *options,
                           sinter_model **out_model) {
    sinter_options defaults = SINTER_OPTIONS_INIT;
    if (!path || !out_model) return null_argument(path ? "out_model" : "path");
    *out_model = NULL;
    if (!options) options = &defaults;
    sinter_status *status = check_options(options);
    if (status) return status;
    sinter_model *model = calloc(1, sizeof *model);
    if (!model) return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "%s: no memory for a model", path);
    pthread_rwlock_init(&model->pool_lock, NULL);
    pthread_mutex_init(&model->spare_lock, NULL);
    if (is_on_device(options)) status = sinter_device_open(options->device, NULL, &model->device);
    if (!status) status = load_engine(path, options, model->device, &model->engine);
    if (!status) {
        model->executable = sinter_engine_executable(model->engine);
        if (!model->executable)
            status = SINTER_FAIL(SINTER_STATUS_BAD_MODEL,
                                 "%s: programs of several ranks, which `sinter run` runs", path);
    }
    if (!status) {
        model->pool = options->pool;
        model->memory = sinter_pool_services(options->pool);
        if (!model->pool) status = sinter_set_threads(model, options->thread_count);
    }
    if (!status) {
        *out_model = model;
        return NULL;
    }
    sinter_destroy(model);
    return status;
}

void sinter_destroy(sinter_model *model) {
    if (!model) return;
    sinter_engine_destroy(model->engine);
    sinter_device_close(model->device);
    sinter_pool_destroy(model->own_pool);
    for (int i = 0; i < SPARE_COUNT; i++) free_context(model, model->spares[i]);
    pthread_rwlock_destroy(&model->pool_lock);
    pthread_mutex_destroy(&model->spare_lock);
    free(model);
}

const sinter_abi_artifact *sinter_describe(const sinter_model *model) {
    return model ? sinter_executable_describe(model->executable) : NULL;
}

sinter_status *sinter_set_threads(sinter_model *model, uint32_t thread_count) {
    if (!model) return null_argument("model");
    sinter_pool *fresh = NULL;
    sinter_allocator allocator = get_allocator(model);
    if (thread_count != 1 || model->memory) { /* one thread and malloc need no pool */
        sinter_status *status =
            sinter_pool_create(thread_count, model->memory ? &allocator : NULL, &fresh);
        if (status) return status;
    }
    pthread_rwlock_wrlock(&model->pool_lock);
    sinter_pool *before = model->own_pool;
    model->pool = model->own_pool = fresh;
    pthread_rwlock_unlock(&model->pool_lock);
    sinter_pool_destroy(before);
    return NULL;
}

/* ---- contexts ---- */

/* A spare one that is large enough, or the memory of a smaller one replaced. */
static spare take_context(sinter_model *model, uint64_t bytes) {
    spare found = {NULL, 0};
    pthread_mutex_lock(&model->spare_lock);
    for (int i = 0; i < SPARE_COUNT; i++) {
        if (!model->spares[i].memory || (found.memory && found.bytes >= bytes)) continue;
        spare here = model->spares[i];
        model->spares[i] = found; /* the one held so far goes back */
        found = here;
    }
    pthread_mutex_unlock(&model->spare_lock);
    if (found.memory && found.bytes >= bytes) return found;
    free_context(model, found);
    sinter_allocator allocator = get_allocator(model);
    found.bytes = bytes ? bytes : CONTEXT_ALIGNMENT;
    found.memory = sinter_allocate(&allocator, found.bytes, CONTEXT_ALIGNMENT);
    return found;
}

static void give_context(sinter_model *model, spare context) {
    pthread_mutex_lock(&model->spare_lock);
    for (int i = 0; i < SPARE_COUNT && context.memory; i++)
        if (!model->spares[i].memory) {
            model->spares[i] = context;
            context.memory = NULL;
        }
    pthread_mutex_unlock(&model->spare_lock);
    free_context(model, context);
}

/* ---- runs ---- */

static sinter_status *run(sinter_model *model, const sinter_abi_tensor *inputs,
                          sinter_abi_tensor *outputs) {
    uint64_t bytes = 0;
    sinter_status *status = sinter_executable_plan(model->executable, inputs, outputs, &bytes);
    if (status) return status;
    spare context = take_context(model, bytes);
    if (!context.memory)
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for %llu bytes",
                           (unsigned long long)bytes);
    pthread_rwlock_rdlock(&model->pool_lock);
    status =
        sinter_executable_run(model->executable, inputs, outputs, sinter_pool_services(model->pool),
                              context.memory, context.bytes);
    pthread_rwlock_unlock(&model->pool_lock);
    give_context(model, context);
    return status;
}

sinter_status *sinter_run(sinter_model *model, const sinter_abi_tensor *inputs,
                          sinter_abi_tensor *outputs) {
    if (!model) return null_argument("model");
    uint32_t count = sinter_describe(model)->output_count;
    if (count && !outputs) return null_argument("outputs");
    if (count) memset(outputs, 0, count * sizeof *outputs);
    return run(model, inputs, outputs);
}

void sinter_outputs_free(const sinter_model *model, sinter_abi_tensor *outputs) {
    for (uint32_t i = 0; model && outputs && i < sinter_describe(model)->output_count; i++)
        sinter_output_free(&outputs[i], model->memory);
}

sinter_status *sinter_run_into(sinter_model *model, const sinter_abi_tensor *inputs,
                               sinter_abi_tensor *outputs) {
    if (!model) return null_argument("model");
    const sinter_abi_artifact *artifact = sinter_describe(model);
    if (artifact->output_count && !outputs) return null_argument("outputs");
    for (uint32_t i = 0; i < artifact->output_count; i++)
        if (!outputs[i].data)
            return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "output '%s' has no memory",
                               artifact->outputs[i].name);
    return run(model, inputs, outputs);
}

sinter_status *sinter_run_on_stream(sinter_model *model, const sinter_abi_tensor *inputs,
                                    sinter_abi_tensor *outputs, void *stream) {
    if (!model) return null_argument("model");
    pthread_rwlock_rdlock(&model->pool_lock);
    sinter_status *status = sinter_executable_run_on_stream(
        model->executable, inputs, outputs, sinter_pool_services(model->pool), stream);
    pthread_rwlock_unlock(&model->pool_lock);
    return status;
}

sinter_status *sinter_wait(sinter_model *model, void *stream) {
    return model ? sinter_executable_wait(model->executable, stream) : null_argument("model");
}

/* ---- compression ---- */

typedef struct compressing {
    const char *path, *out_path;
    const sinter_compress_options *options;
    sinter_compress_result *result;
    sinter_diag diag;
    sinter_text text; /* of the messages */
    bool good;
} compressing;

static void compress(void *user) {
    compressing *c = user;
    const sinter_options *run_options = c->options->run;
    sinter_engine_options engine = SINTER_ENGINE_OPTIONS_INIT;
    if (run_options) engine = engine_options(run_options);
    engine.thread_count = run_options ? (int)run_options->thread_count : 1;
    c->good = sinter_compress_file(c->path, c->out_path, c->options, &engine,
                                   run_options ? run_options->dims : NULL, c->result, &c->diag);
}

sinter_status *sinter_compress(const char *path, const char *out_path,
                               const sinter_compress_options *options,
                               sinter_compress_result *out_result) {
    sinter_compress_options defaults = SINTER_COMPRESS_OPTIONS_INIT;
    sinter_compress_result ignored;
    if (!path || !out_path) return null_argument(path ? "out_path" : "path");
    if (!options) options = &defaults;
    if (!out_result) out_result = &ignored;
    *out_result = (sinter_compress_result){0};
    if (options->size < sizeof *options)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                           "sinter_compress_options.size is %u, expected %zu: use "
                           "SINTER_COMPRESS_OPTIONS_INIT",
                           options->size, sizeof *options);
    sinter_status *status = options->run ? check_options(options->run) : NULL;
    if (status) return status;
    compressing c = {.path = path, .out_path = out_path, .options = options, .result = out_result};
    c.diag = (sinter_diag){.handler = sinter_diag_text_handler, .user = &c.text};
    status = run_guarded(compress, &c, path);
    if (status) return status;
    if (!c.good)
        return take_messages(
            &c.text, out_result->over_budget ? SINTER_STATUS_OVER_BUDGET : SINTER_STATUS_BAD_MODEL,
            "the model can't be compressed");
    sinter_text_deinit(&c.text);
    return NULL;
}
