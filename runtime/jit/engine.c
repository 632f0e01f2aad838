/* The engine: passes, lowering, schedule, memory plan and code in the order every compilation takes them, and one run
 * function over all back ends. Test: tests/cli/, the suites */
#include "runtime/jit/engine.h"
#include "codegen/kernel_cache.h"
#include "codegen/tuning.h"
#include "ir/base/file.h"
#include "ir/base/process.h"
#include "ir/eval.h"
#include "ir/verify.h"
#include "runtime/cpu_features.h"
#include "runtime/device.h"
#include "runtime/device_code.h"
#include "runtime/jit/ranks.h"
#include "runtime/jit/stages.h"
#include "runtime/sinter_runtime.h"
#include "runtime/status.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    RANK_SECONDS = 25
}; /* that a rank waits for others where nobody says; all of them have ended 30 seconds after one hangs */

typedef enum backend {
    BACKEND_EVAL,
    BACKEND_LOOPS,
    BACKEND_C,
    BACKEND_JIT,
    BACKEND_ARTIFACT,
    BACKEND_RANKS, /* a folder of artifacts */
    BACKEND_STAGES /* the same of a pipeline */
} backend;

struct sinter_engine {
    backend backend;
    sinter_arena arena;
    sinter_module *module;
    sinter_loop_program *program;
    sinter_jit *jit;
    void *library; /* of the emitted C */
    const sinter_abi_artifact *artifact;
    sinter_storage *weights;       /* blob for artifacts that don't carry it */
    sinter_executable *executable; /* around the artifact, or loaded */
    bool shares;                   /* the executable is another engine's */
    sinter_pool *pool;
    void *context; /* of runs, as large as one needed so far */
    uint64_t context_bytes;
    const sinter_abi_io *inputs, *outputs;
    size_t input_count, output_count;
    const sinter_abi_services *services;
    const sinter_listener *listener;
    sinter_target target;
    sinter_codegen_options codegen;
    sinter_ranks *ranks;
    sinter_stages *stages;
    bool is_on_device;  /* these */
    sinter_owned owned; /* what the runtime made */
};

/* ---- compilation steps ---- */

static backend backend_of(const char *target) {
    return !strcmp(target, "eval")                                     ? BACKEND_EVAL
           : !strcmp(target, "loops") || !strncmp(target, "loops:", 6) ? BACKEND_LOOPS
           : !strcmp(target, "c")                                      ? BACKEND_C
           : !strcmp(target, "so") || !strncmp(target, "so:", 3)       ? BACKEND_ARTIFACT
                                                                       : BACKEND_JIT;
}

/* "so:..." compiles for "cpu:...", "loops:..." schedules for what follows; "loops" and C for this machine. */
static const char *target_of_code(const char *target, sinter_arena *arena) {
    switch (backend_of(target)) {
    case BACKEND_ARTIFACT:
        return sinter_arena_format(arena, "cpu%s", target + 2);
    case BACKEND_LOOPS:
        return target[5] ? target + 6 : "cpu";
    case BACKEND_JIT:
        return target;
    default:
        return "cpu";
    }
}

/* The machine that the code is for; those of the evaluator and of C are this one. */
static bool find_machine(const char *target, sinter_machine *out_machine, sinter_diag *diag) {
    sinter_arena arena;
    sinter_target parsed;
    sinter_arena_init(&arena);
    bool good =
        sinter_target_parse(target ? target_of_code(target, &arena) : "cpu", &arena, &parsed, diag);
    if (good) *out_machine = sinter_target_machine(&parsed);
    sinter_arena_deinit(&arena);
    return good;
}

/* What rounds operands is a pass: without it the answer would be f32's, without a word. */
static bool check_precision(const sinter_engine_options *options, const sinter_pass *const *passes,
                            size_t count, const sinter_machine *machine, sinter_diag *diag) {
    const sinter_pass *lower = sinter_pass_find(SINTER_STRING("lower-precision"));
    const sinter_precision_info *info = &sinter_precision_infos[options->precision];
    if (options->precision == SINTER_PRECISION_f32) return true;
    if (machine && machine->has_device && machine->device_architecture < info->architecture)
        return sinter_error(diag, "precision",
                            "%s needs units for matrices that GPUs have from sm_%u on, and %s has "
                            "code for sm_%u; bf16 and f16 run there [engine_p2]",
                            info->name, info->architecture, options->target,
                            machine->device_architecture);
    for (size_t i = 0; i < count; ++i)
        if (passes[i] == lower) return true;
    return sinter_error(diag, "precision",
                        "%s does nothing here: the pass lower-precision is not among those that "
                        "run; -O1 and up have it, -O0 and eval have not [engine_p1]",
                        info->name);
}

bool sinter_engine_describe_pipeline(const sinter_engine_options *options,
                                     sinter_engine_pipeline *out_pipeline, sinter_diag *diag) {
    if (!find_machine(options->target, &out_pipeline->machine, diag)) return false;
    out_pipeline->options = (sinter_pipeline_options){.verify_each = options->verify_each,
                                                      .print_after = options->print_after,
                                                      .stop_after = options->stop_after,
                                                      .time_passes = options->time_passes,
                                                      .machine = &out_pipeline->machine,
                                                      .precision = options->precision,
                                                      .hardware = options->hardware,
                                                      .output = stderr};
    const sinter_pass **without = out_pipeline->options.without;
    if (options->no_winograd) without[0] = sinter_pass_find(SINTER_STRING("winograd"));
    if (options->no_overlap) without[1] = sinter_pass_find(SINTER_STRING("shard_overlap"));
    out_pipeline->list =
        options->passes ? options->passes : sinter_pipeline_of_level(options->level);
    return true;
}

bool sinter_engine_run_passes(sinter_module *module, const sinter_engine_options *options,
                              sinter_diag *diag) {
    sinter_engine_pipeline how;
    if (!sinter_engine_describe_pipeline(options, &how, diag)) return false;
    sinter_tuning_layers layers = {options->tuning, options->tuning_log, diag};
    const sinter_chooser chooser = sinter_tuning_chooser(&layers);
    if (options->tuning || options->tuning_log) how.options.chooser = &chooser;
    sinter_arena arena;
    sinter_arena_init(&arena);
    const sinter_pass *const *passes = NULL;
    size_t count = 0;
    bool good = sinter_pipeline_parse(how.list, &arena, &passes, &count, diag) &&
                check_precision(options, passes, count, &how.machine, diag) &&
                (module ? sinter_pipeline_run(module, passes, count, &how.options, diag)
                        : sinter_pipeline_check(passes, count, &how.options, diag));
    sinter_arena_deinit(&arena);
    return good;
}

sinter_loop_program *sinter_engine_lower(sinter_module *module, const sinter_target *target,
                                         const sinter_schedule_options *options,
                                         sinter_diag *diag) {
    sinter_loop_program *program = sinter_lower_module(module, diag);
    if (!program) return NULL;
    if (sinter_schedule_program(program, target, options, diag) &&
        sinter_plan_memory(program, diag))
        return program;
    sinter_loop_program_destroy(program);
    return NULL;
}

/* ---- descriptions of inputs and outputs ---- */

static sinter_abi_io describe(sinter_engine *engine, const char *name, const sinter_type *type) {
    sinter_dim_table *dims = sinter_module_dims(engine->module);
    int64_t *numbers = SINTER_NEW_ARRAY(&engine->arena, int64_t, type->rank + 1);
    const char **names = SINTER_NEW_ARRAY(&engine->arena, const char *, type->rank + 1);
    for (uint32_t i = 0; i < type->rank; ++i) {
        if (!sinter_dim_is_const(dims, type->dims[i], &numbers[i])) numbers[i] = -1;
        sinter_text text = {0};
        sinter_dim_print(dims, type->dims[i], &text);
        names[i] = sinter_arena_copy_string(&engine->arena, text.data, text.size);
        sinter_text_deinit(&text);
    }
    return (sinter_abi_io){
        .name = sinter_arena_copy_string(&engine->arena, name, strlen(name)),
        .dtype = type->kind == SINTER_TYPE_TENSOR ? sinter_dtype_infos[type->dtype].onnx_code : 0,
        .rank = (int32_t)type->rank,
        .dims = numbers,
        .dim_names = names};
}

static void describe_module(sinter_engine *engine) {
    sinter_module *module = engine->module;
    sinter_region main = sinter_module_main(module);
    sinter_node yield = sinter_region_get(module, main)->last;
    engine->input_count = sinter_region_get(module, main)->argument_count;
    engine->output_count = sinter_node_get(module, yield)->operand_count;
    sinter_abi_io *inputs =
        SINTER_NEW_ARRAY(&engine->arena, sinter_abi_io, engine->input_count + 1);
    sinter_abi_io *outputs =
        SINTER_NEW_ARRAY(&engine->arena, sinter_abi_io, engine->output_count + 1);
    for (uint32_t i = 0; i < engine->input_count; ++i) {
        sinter_value value = sinter_region_get(module, main)->arguments[i];
        inputs[i] =
            describe(engine, sinter_module_input_name(module, i), sinter_value_type(module, value));
    }
    for (uint32_t i = 0; i < engine->output_count; ++i) {
        sinter_value value = sinter_node_operand(module, yield, i);
        outputs[i] = describe(engine, sinter_module_output_name(module, i),
                              sinter_value_type(module, value));
    }
    engine->inputs = inputs;
    engine->outputs = outputs;
}

/* ---- back ends ---- */

static bool make_weights(sinter_engine *engine, sinter_diag *diag) {
    uint64_t total = sinter_weights_layout(engine->program, NULL);
    engine->weights = sinter_storage_create(total);
    if (!engine->weights)
        return sinter_error(diag, sinter_module_name(engine->module),
                            "no memory for %llu bytes of weights", (unsigned long long)total);
    sinter_weights_move(engine->program, engine->weights);
    return true;
}

bool sinter_engine_report(sinter_status *status, const char *where, sinter_diag *diag) {
    if (!status) return true;
    const char *message = sinter_status_message(status);
    size_t length = strlen(where);
    if (!strncmp(message, where, length) && !strncmp(message + length, ": ", 2))
        message += length + 2;
    sinter_error(diag, where, "%s", message);
    sinter_status_destroy(status);
    return false;
}

static sinter_status *start_pool(sinter_engine *engine, const sinter_engine_options *options) {
    if (options->thread_count <= 1) return NULL;
    sinter_status *status =
        sinter_pool_create((uint32_t)options->thread_count, NULL, &engine->pool);
    engine->services = sinter_pool_services(engine->pool);
    return status;
}

/* By way of the shell, which takes apart what $CC says: a name, and options perhaps. */
static bool run_compiler(const char *folder, const char *source, const char *library, int level,
                         sinter_diag *diag) {
    static const char *const levels[] = {"-O0", "-O1", "-O1", "-O3"};
    const char *const arguments[] = {"/bin/sh",
                                     "-c",
                                     "exec ${CC:-cc} \"$@\"",
                                     "sh",
                                     "-std=c17",
                                     levels[level < 0   ? 0
                                            : level > 3 ? 3
                                                        : level],
                                     "-ffp-contract=off",
                                     "-shared",
                                     "-fPIC",
                                     "-o",
                                     library,
                                     source,
                                     "-lm",
                                     NULL};
    int status = 0, error = sinter_process_run(arguments, folder, NULL, &status);
    if (!error && WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    return sinter_error(diag, source,
                        error || (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                            ? "no C compiler found: neither $CC nor cc"
                            : "the C compiler refused the emitted C");
}

static bool load_c(sinter_engine *engine, const char *folder, sinter_diag *diag) {
    char source[256], library[256];
    snprintf(source, sizeof source, "%s/model.c", folder);
    snprintf(library, sizeof library, "%s/model.so", folder);
    sinter_text text = {0};
    bool good = sinter_emit_c(engine->program, &text, diag) &&
                sinter_file_write(source, text.data, text.size, diag);
    sinter_text_deinit(&text);
    good = good && run_compiler(folder, source, library, engine->codegen.level, diag);
    if (good) {
        engine->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        if (!engine->library) good = sinter_error(diag, library, "%s", dlerror());
    }
    if (good) {
        const sinter_abi_artifact *(*get)(void) = NULL;
        void *symbol = dlsym(engine->library, SINTER_ARTIFACT_SYMBOL);
        memcpy(&get, &symbol, sizeof get); /* ISO C has no cast from object to function pointer */
        if (get)
            engine->artifact = get();
        else
            good = sinter_error(diag, library, "the emitted C has no %s", SINTER_ARTIFACT_SYMBOL);
    }
    return good;
}

static bool load_package(sinter_engine *engine, const char *folder, sinter_diag *diag) {
    char path[256];
    snprintf(path, sizeof path, "%s/model.so", folder);
    bool good =
        sinter_package(engine->program, &engine->target, &engine->codegen, SINTER_PACKAGE_SHARED,
                       path, diag) &&
        sinter_engine_report(sinter_executable_load(path, NULL, &engine->executable), path, diag);
    if (good) engine->artifact = sinter_executable_describe(engine->executable);
    return good;
}

/* Back ends that go through files get a folder of their own for the time. */
static bool compile_in_folder(sinter_engine *engine, sinter_diag *diag) {
    char folder[SINTER_FILE_FOLDER_BYTES];
    if (!sinter_file_make_folder(folder, diag)) return false;
    bool good = engine->backend == BACKEND_C ? load_c(engine, folder, diag)
                                             : load_package(engine, folder, diag);
    sinter_file_remove_folder(folder);
    return good;
}

static bool is_native(backend how) {
    return how == BACKEND_JIT || how == BACKEND_ARTIFACT;
}

static void release_runtime(void *user) {
    sinter_engine *engine = user;
    if (!engine->shares) sinter_executable_destroy(engine->executable);
    sinter_pool_destroy(engine->pool);
    free(engine->context);
}

/* The artifact as something that runs, with its weights and threads. */
static bool make_executable(sinter_engine *engine, const sinter_engine_options *options,
                            sinter_diag *diag) {
    if (!engine->artifact) return true;
    if (!engine->executable && !engine->artifact->weights && !make_weights(engine, diag))
        return false;
    const void *weights = engine->weights ? sinter_storage_data(engine->weights) : NULL;
    if (!engine->executable &&
        !sinter_engine_report(sinter_executable_wrap_on(engine->artifact, weights, options->device,
                                                        NULL, &engine->executable),
                              sinter_module_name(engine->module), diag))
        return false;
    sinter_own(&engine->owned, release_runtime, engine);
    return sinter_engine_report(start_pool(engine, options), "threads", diag);
}

const char *sinter_engine_device_target(const sinter_device *device, sinter_arena *arena,
                                        sinter_diag *diag) {
    const char *target = sinter_target_of_gpu(device->properties.architecture, arena);
    if (!target)
        sinter_error(diag, device->properties.name, "no code can be made for it: it is sm_%u",
                     device->properties.architecture);
    return target;
}

/* Code for another processor may be compiled, not run. */
static bool runs_here(const sinter_target *target, const sinter_device *device, sinter_diag *diag) {
    char missing[512];
    if (!target->gpu != !device)
        return sinter_error(diag, target->text,
                            device ? "runs on the CPU, not on a device"
                                   : "runs on a GPU, and no device is given");
    if (sinter_cpu_has_all(target->required, missing, sizeof missing)) return true;
    return sinter_error(diag, target->text, "can't run here: this CPU lacks %s", missing);
}

static bool check_native(const sinter_engine_options *options, const char *target,
                         sinter_arena *arena, sinter_diag *diag) {
    sinter_target parsed;
    sinter_kernel_cache cache;
    return sinter_target_parse(target, arena, &parsed, diag) &&
           runs_here(&parsed, options->device, diag) &&
           (!options->cache || sinter_kernel_cache_open(&cache, options->cache, arena, diag));
}

bool sinter_engine_check(const sinter_engine_options *options, sinter_diag *diag) {
    const char *target = options->target ? options->target : "cpu";
    backend how = backend_of(target);
    if (how == BACKEND_JIT && strncmp(target, "cpu", 3) && strncmp(target, "cuda", 4))
        return sinter_error(
            diag, target,
            "target: expected cpu[:CPU][+FEATURE]..., cuda[:sm_90], so, c, loops or eval");
    sinter_arena arena;
    sinter_arena_init(&arena);
    bool good = how == BACKEND_EVAL && !options->passes
                    ? check_precision(options, NULL, 0, NULL, diag)
                    : sinter_engine_run_passes(NULL, options, diag);
    good = good &&
           (how != BACKEND_LOOPS || sinter_target_parse(target_of_code(target, &arena), &arena,
                                                        &(sinter_target){0}, diag)) &&
           (!is_native(how) || check_native(options, target_of_code(target, &arena), &arena, diag));
    sinter_arena_deinit(&arena);
    return good;
}

static void drop_names(sinter_loop_program *program) {
    program->name = "program";
    for (size_t i = 0; i < program->inputs.count; i++)
        program->inputs.items[i].name = sinter_arena_format(&program->arena, "input_%zu", i);
    for (size_t i = 0; i < program->outputs.count; i++)
        program->outputs.items[i].name = sinter_arena_format(&program->arena, "output_%zu", i);
    for (size_t i = 0; i < program->kernels.count; i++) program->kernels.items[i]->comment = "";
}

static bool prepare(sinter_engine *engine, const sinter_engine_options *options,
                    const char *target_text, sinter_diag *diag) {
    if (engine->backend != BACKEND_EVAL || options->passes)
        if (!sinter_engine_run_passes(engine->module, options, diag)) return false;
    if (engine->backend == BACKEND_EVAL) return true;
    if (!sinter_target_parse(target_text, &engine->arena, &engine->target, diag)) return false;
    const sinter_schedule_options schedule = {
        .level = options->level, .tuning = options->tuning, .log = options->tuning_log};
    engine->program = sinter_engine_lower(engine->module, &engine->target, &schedule, diag);
    if (!engine->program) return false;
    if (options->nameless) drop_names(engine->program);
    bool good = true;
    if (engine->backend == BACKEND_JIT) {
        engine->jit = sinter_jit_create(engine->program, &engine->target, &engine->codegen, diag);
        if (engine->jit) engine->artifact = sinter_jit_artifact(engine->jit);
        good = engine->jit != NULL;
    } else if (engine->backend != BACKEND_LOOPS) {
        good = compile_in_folder(engine, diag);
    }
    return good && make_executable(engine, options, diag);
}

sinter_engine *sinter_engine_create(sinter_module *module, const sinter_engine_options *options,
                                    sinter_diag *diag) {
    if (!module) return NULL;
    const char *target = options->target ? options->target : "cpu";
    sinter_engine *engine = sinter_heap_alloc(sizeof *engine);
    sinter_arena_init(&engine->arena);
    engine->module = module;
    engine->codegen = (sinter_codegen_options){
        .level = options->level,
        .jobs = (uint32_t)options->jobs,
        .cache = options->cache ? sinter_arena_format(&engine->arena, "%s", options->cache) : NULL};
    engine->backend = backend_of(target);
    describe_module(engine);
    if (sinter_engine_check(options, diag) &&
        prepare(engine, options, target_of_code(target, &engine->arena), diag))
        return engine;
    sinter_engine_destroy(engine);
    return NULL;
}

sinter_engine *sinter_engine_share(const sinter_engine *engine) {
    if (!engine->executable) return NULL;
    sinter_engine *other = sinter_heap_alloc(sizeof *other);
    sinter_arena_init(&other->arena);
    other->backend = engine->backend;
    other->artifact = engine->artifact;
    other->executable = engine->executable;
    other->shares = true;
    other->inputs = engine->inputs;
    other->outputs = engine->outputs;
    other->input_count = engine->input_count;
    other->output_count = engine->output_count;
    sinter_own(&other->owned, release_runtime, other);
    return other;
}

bool sinter_engine_is_folder(const char *path) {
    return sinter_ranks_is_folder(path) || sinter_stages_is_folder(path);
}

bool sinter_engine_is_artifact(const char *path) {
    char head[4] = {0};
    return sinter_string_ends_with(path, ".so") || sinter_engine_is_folder(path) ||
           (sinter_file_peek(path, head, sizeof head) == sizeof head &&
            !memcmp(head, "\177ELF", sizeof head));
}

/* Around one of the two, which becomes the engine's. */
static sinter_engine *wrap_programs(sinter_ranks *ranks, sinter_stages *stages,
                                    const sinter_engine_options *options) {
    sinter_engine *engine = sinter_heap_alloc(sizeof *engine);
    sinter_arena_init(&engine->arena);
    engine->backend = stages ? BACKEND_STAGES : BACKEND_RANKS;
    engine->ranks = ranks;
    engine->stages = stages;
    engine->is_on_device = options->device != NULL;
    engine->inputs = stages ? sinter_stages_inputs(stages, &engine->input_count)
                            : sinter_ranks_inputs(ranks, &engine->input_count);
    engine->outputs = stages ? sinter_stages_outputs(stages, &engine->output_count)
                             : sinter_ranks_outputs(ranks, &engine->output_count);
    sinter_own(&engine->owned, release_runtime, engine);
    return engine;
}

static double rank_seconds(const sinter_engine_options *options) {
    return options->rank_seconds > 0 ? options->rank_seconds : RANK_SECONDS;
}

sinter_engine *sinter_engine_create_ranks(sinter_module *module,
                                          const sinter_engine_options *options, sinter_diag *diag) {
    sinter_ranks *ranks = sinter_ranks_create(module, options, rank_seconds(options), diag);
    return ranks ? wrap_programs(ranks, NULL, options) : NULL;
}

static sinter_engine *load_folder(const char *path, const sinter_engine_options *options,
                                  sinter_diag *diag) {
    const bool is_pipeline = sinter_stages_is_folder(path);
    if (is_pipeline && sinter_ranks_is_folder(path)) {
        sinter_error(diag, path,
                     "has the list of programs of ranks (ranks.txt) and that of stages "
                     "(stages.txt): one of them is of another model");
        return NULL;
    }
    const double seconds = rank_seconds(options);
    sinter_stages *stages = is_pipeline ? sinter_stages_load(path, options, seconds, diag) : NULL;
    sinter_ranks *ranks = is_pipeline ? NULL : sinter_ranks_load(path, options, seconds, diag);
    return ranks || stages ? wrap_programs(ranks, stages, options) : NULL;
}

sinter_status *sinter_engine_load(const char *path, const sinter_engine_options *options,
                                  sinter_engine **out_engine) {
    sinter_engine *engine = sinter_heap_alloc(sizeof *engine);
    sinter_arena_init(&engine->arena);
    engine->backend = BACKEND_ARTIFACT;
    sinter_load_options load = {.size = sizeof load,
                                .verify = options->verify_weights,
                                .copy_weights = options->copy_weights,
                                .device = options->device};
    sinter_status *status = sinter_executable_load(path, &load, &engine->executable);
    sinter_own(&engine->owned, release_runtime, engine);
    if (!status) status = start_pool(engine, options);
    if (status) {
        sinter_engine_destroy(engine);
        return status;
    }
    engine->artifact = sinter_executable_describe(engine->executable);
    engine->input_count = engine->artifact->input_count;
    engine->output_count = engine->artifact->output_count;
    engine->inputs = engine->artifact->inputs;
    engine->outputs = engine->artifact->outputs;
    *out_engine = engine;
    return NULL;
}

sinter_engine *sinter_engine_open(const char *path, const sinter_engine_options *options,
                                  sinter_diag *diag) {
    sinter_engine *engine = NULL;
    if (sinter_engine_is_folder(path)) return load_folder(path, options, diag);
    sinter_engine_report(sinter_engine_load(path, options, &engine), path, diag);
    return engine;
}

void sinter_engine_destroy(sinter_engine *engine) {
    if (!engine) return;
    sinter_disown(&engine->owned);
    release_runtime(engine);
    sinter_ranks_destroy(engine->ranks);
    sinter_stages_destroy(engine->stages);
    if (engine->jit) sinter_jit_destroy(engine->jit);
    if (engine->library) dlclose(engine->library);
    sinter_storage_release_reference(engine->weights);
    if (engine->program) sinter_loop_program_destroy(engine->program);
    if (engine->module) sinter_module_destroy(engine->module);
    sinter_arena_deinit(&engine->arena);
    sinter_heap_free(engine);
}

/* ---- runs ---- */

static void to_abi(const sinter_tensor *tensor, sinter_abi_tensor *out_tensor) {
    memset(out_tensor, 0, sizeof *out_tensor);
    memcpy(&out_tensor->data, &tensor->data,
           sizeof out_tensor->data); /* inputs are const by contract */
    out_tensor->bytes = sinter_tensor_bytes(tensor);
    out_tensor->rank = (int32_t)tensor->rank;
    out_tensor->dtype = sinter_dtype_infos[tensor->dtype].onnx_code;
    memcpy(out_tensor->dims, tensor->dims, sizeof(int64_t) * tensor->rank);
}

/* Tensors of mapped files may lie anywhere, an artifact wants its elements aligned: then a copy, else NULL. */
static void *align_input(sinter_abi_tensor *tensor) {
    if ((uintptr_t)tensor->data % 8 == 0 || !tensor->bytes) return NULL;
    void *copy = sinter_heap_alloc(tensor->bytes);
    memcpy(copy, tensor->data, tensor->bytes);
    tensor->data = copy;
    return copy;
}

static void release_output(void *user, void *data, size_t size) {
    (void)user;
    (void)size;
    free(data);
}

static void take_output(sinter_abi_tensor *from, sinter_tensor *out_tensor) {
    out_tensor->kind = SINTER_TYPE_TENSOR;
    out_tensor->dtype = sinter_dtype_from_onnx(from->dtype);
    out_tensor->rank = (uint32_t)from->rank;
    memcpy(out_tensor->dims, from->dims, sizeof(int64_t) * out_tensor->rank);
    out_tensor->storage = sinter_storage_wrap(from->data, from->bytes, release_output, NULL);
    out_tensor->data = from->data;
}

static bool grow_context(sinter_engine *engine, uint64_t bytes) {
    if (engine->context && bytes <= engine->context_bytes) return true;
    free(engine->context);
    engine->context = aligned_alloc(64, bytes ? bytes : 64);
    engine->context_bytes = engine->context ? bytes : 0;
    return engine->context != NULL;
}

static bool run_native(sinter_engine *engine, const sinter_abi_tensor *inputs,
                       sinter_abi_tensor *outputs, sinter_diag *diag) {
    uint64_t bytes = 0;
    const char *name = engine->artifact->name;
    if (!sinter_engine_report(sinter_executable_plan(engine->executable, inputs, outputs, &bytes),
                              name, diag))
        return false;
    if (!grow_context(engine, bytes))
        return sinter_error(diag, name, "no memory for %llu bytes", (unsigned long long)bytes);
    sinter_trace_services heard;
    const sinter_abi_services *services = engine->services;
    if (engine->listener) services = sinter_trace_wrap(&heard, services, engine->listener);
    return sinter_engine_report(sinter_executable_run(engine->executable, inputs, outputs, services,
                                                      engine->context, engine->context_bytes),
                                name, diag);
}

static bool run_tensors(sinter_engine *engine, const sinter_tensor *inputs,
                        sinter_tensor *out_outputs, sinter_diag *diag) {
    size_t in = engine->input_count, out = engine->output_count;
    sinter_abi_tensor *tensors = sinter_heap_alloc((in + out + 1) * sizeof *tensors);
    void **copies = sinter_heap_alloc((in + 1) * sizeof *copies);
    for (size_t i = 0; i < in; ++i) {
        to_abi(&inputs[i], &tensors[i]);
        copies[i] = align_input(&tensors[i]);
    }
    bool good = run_native(engine, tensors, tensors + in, diag);
    for (size_t i = 0; i < out && good; ++i) take_output(&tensors[in + i], &out_outputs[i]);
    for (size_t i = 0; i < in; ++i) sinter_heap_free(copies[i]);
    sinter_heap_free(copies);
    sinter_heap_free(tensors);
    return good;
}

bool sinter_engine_run(sinter_engine *engine, const sinter_tensor *inputs,
                       sinter_tensor *out_outputs, sinter_diag *diag) {
    if (engine->backend == BACKEND_RANKS)
        return sinter_ranks_run(engine->ranks, inputs, out_outputs, diag);
    if (engine->backend == BACKEND_STAGES)
        return sinter_stages_run(engine->stages, inputs, out_outputs, diag);
    if (engine->backend == BACKEND_EVAL)
        return sinter_eval_module(engine->module, inputs, engine->input_count, out_outputs,
                                  engine->output_count, diag);
    if (engine->backend == BACKEND_LOOPS)
        return sinter_loop_interpret_host(engine->program, inputs, engine->input_count, out_outputs,
                                          engine->output_count, diag);
    return run_tensors(engine, inputs, out_outputs, diag);
}

bool sinter_engine_serves(const sinter_engine *engine) {
    if (engine->backend == BACKEND_STAGES) return sinter_stages_serves(engine->stages);
    return engine->backend == BACKEND_RANKS && sinter_ranks_serves(engine->ranks);
}

bool sinter_engine_serve(sinter_engine *engine, sinter_diag *diag) {
    return engine->backend == BACKEND_STAGES ? sinter_stages_serve(engine->stages, diag)
                                             : sinter_ranks_serve(engine->ranks, diag);
}

void sinter_engine_set_services(sinter_engine *engine, const sinter_abi_services *services) {
    engine->services = services;
}

const sinter_abi_services *sinter_engine_get_services(const sinter_engine *engine) {
    return engine->services;
}

void sinter_engine_set_listener(sinter_engine *engine, const sinter_listener *listener) {
    engine->listener = listener;
}

bool sinter_engine_set_trace(sinter_engine *engine, sinter_trace *trace) {
    bool is_stages = engine->backend == BACKEND_STAGES, is_ranks = engine->backend == BACKEND_RANKS;
    if (engine->is_on_device) return false;
    if (is_stages) sinter_stages_set_trace(engine->stages, trace);
    if (is_ranks) sinter_ranks_set_trace(engine->ranks, trace, "");
    if (is_stages || is_ranks) return true;
    if (!engine->artifact || sinter_artifact_device_code(engine->artifact)) return false;
    engine->listener =
        trace ? &sinter_trace_add_lane(trace, "kernels", engine->artifact)->listener : NULL;
    return true;
}

/* ---- what it is ---- */

size_t sinter_engine_input_count(const sinter_engine *engine) {
    return engine->input_count;
}
size_t sinter_engine_output_count(const sinter_engine *engine) {
    return engine->output_count;
}
const sinter_abi_io *sinter_engine_input(const sinter_engine *engine, size_t index) {
    return &engine->inputs[index];
}
const sinter_abi_io *sinter_engine_output(const sinter_engine *engine, size_t index) {
    return &engine->outputs[index];
}
const sinter_abi_artifact *sinter_engine_artifact(const sinter_engine *engine) {
    return engine->artifact;
}
const sinter_executable *sinter_engine_executable(const sinter_engine *engine) {
    return engine->executable;
}
const char *sinter_engine_exchange(const sinter_engine *engine) {
    return engine->ranks    ? sinter_ranks_exchange(engine->ranks)
           : engine->stages ? sinter_stages_exchange(engine->stages)
                            : NULL;
}
sinter_module *sinter_engine_module(const sinter_engine *engine) {
    return engine->module;
}
bool sinter_engine_package(const sinter_engine *engine, const char *path, sinter_diag *diag) {
    return sinter_package(engine->program, &engine->target, &engine->codegen, SINTER_PACKAGE_SHARED,
                          path, diag);
}
