/* sinter compile: a model in, a file out: an artifact, or any stage on the way to it.
 *
 * The kind of file follows from --emit, or else from the ending of -o. Text may go to standard output. Progress shows on a
 * terminal only. Test: tests/cli/compile.test, tests/cli/compile_object.test */
#include "codegen/emit/cuda.h"
#include "frontends/import.h"
#include "ir/base/file.h"
#include "ir/parse.h"
#include "tools/sinter/command.h"
#include <stdio.h>
#include <string.h>

typedef enum stage { STAGE_GRAPH, STAGE_PROGRAM, STAGE_CODE } stage;

struct job;
typedef struct emission {
    const char *name, *ending;
    stage stage;
    bool is_text; /* may go to standard output */
    bool (*write)(const struct job *j);
    const char *target; /* without --target; NULL: this machine */
} emission;

typedef struct job {
    const emission *kind;
    const char *path; /* of the output; "-": standard output */
    sinter_codegen_options codegen;
    sinter_module *module;
    const sinter_loop_program *program;
    const sinter_target *target;
    sinter_diag *diag;
} job;

/* ---- what can be written ---- */

static bool write_text(const job *j, sinter_text *text, bool good) {
    if (good && strcmp(j->path, "-"))
        good = sinter_file_write(j->path, text->data, text->size, j->diag);
    else if (good)
        fwrite(text->data, 1, text->size, stdout); /* checked at the end of the program */
    sinter_text_deinit(text);
    return good;
}

static bool write_sir(const job *j) {
    sinter_text text = {0};
    sinter_print_module(j->module, NULL, &text);
    return write_text(j, &text, true);
}

static bool write_onnx(const job *j) {
    return sinter_export_onnx(j->module, j->path, j->diag);
}

static bool write_loops(const job *j) {
    sinter_text text = {0};
    sinter_loop_print(j->program, &text);
    return write_text(j, &text, true);
}

static bool write_c(const job *j) {
    if (strcmp(j->path, "-"))
        return sinter_package(j->program, j->target, &j->codegen, SINTER_PACKAGE_C, j->path,
                              j->diag);
    uint64_t bytes = sinter_weights_layout(j->program, NULL);
    if (bytes && !sinter_c_embeds_weights(bytes))
        fprintf(stderr, "note: %llu bytes of weights are left out; -o FILE.c writes FILE.weights\n",
                (unsigned long long)bytes);
    sinter_text text = {0};
    return write_text(j, &text, sinter_emit_c(j->program, &text, j->diag));
}

static bool write_cuda(const job *j) {
    if (!j->target->gpu)
        return sinter_error(j->diag, j->target->text, "--emit=cuda needs --target=cuda[:sm_90]");
    sinter_text text = {0};
    return write_text(j, &text, sinter_emit_cuda(j->program, &text, j->diag));
}

static bool write_llvm_text(const job *j, sinter_llvm_output output) {
    sinter_text text = {0};
    return write_text(j, &text,
                      sinter_emit_llvm(j->program, j->target, &j->codegen, output,
                                       SINTER_ARTIFACT_SYMBOL, false, &text, j->diag));
}
static bool write_llvm(const job *j) {
    return write_llvm_text(j, SINTER_LLVM_IR);
}
static bool write_assembly(const job *j) {
    return write_llvm_text(j, SINTER_LLVM_ASSEMBLY);
}

static bool write_object(const job *j) {
    return sinter_package(j->program, j->target, &j->codegen, SINTER_PACKAGE_OBJECT, j->path,
                          j->diag);
}
static bool write_shared(const job *j) {
    return sinter_package(j->program, j->target, &j->codegen, SINTER_PACKAGE_SHARED, j->path,
                          j->diag);
}

static const emission emissions[] = {
    {"so", ".so", STAGE_CODE, false, write_shared, NULL},
    {"obj", ".o", STAGE_CODE, false, write_object, NULL},
    {"sir", ".sir", STAGE_GRAPH, true, write_sir, NULL},
    {"onnx", ".onnx", STAGE_GRAPH, false, write_onnx, NULL},
    {"loops", ".loops", STAGE_PROGRAM, true, write_loops, NULL},
    /* C is for another compiler, on whatever machine: the text does not depend on this one. */
    {"c", ".c", STAGE_CODE, true, write_c, "cpu:x86-64-v3"},
    {"cuda", ".cu", STAGE_CODE, true, write_cuda, "cuda"},
    {"llvm", ".ll", STAGE_CODE, true, write_llvm, NULL},
    {"asm", ".s", STAGE_CODE, true, write_assembly, NULL},
};
enum { EMISSION_COUNT = sizeof emissions / sizeof *emissions };

static bool find_emission(const char *name, const char *path, const emission **out_kind) {
    size_t length = path ? strlen(path) : 0;
    for (size_t i = 0; i < EMISSION_COUNT; ++i) {
        const emission *e = &emissions[i];
        size_t size = strlen(e->ending);
        bool fits = name ? !strcmp(name, e->name)
                         : length > size && !strcmp(path + length - size, e->ending);
        if (!fits) continue;
        *out_kind = e;
        if (!path && !e->is_text) return usage_error("compile", "--emit=%s needs -o OUT", e->name);
        return true;
    }
    if (name)
        return usage_error(
            "compile", "--emit=%s: expected so, obj, sir, onnx, loops, c, cuda, llvm or asm", name);
    if (!path) return usage_error("compile", "expected -o OUT, or --emit=KIND for text");
    return usage_error(
        "compile",
        "-o %s: its ending says no kind (.so .o .sir .onnx .loops .c .cu .ll .s); add --emit=KIND",
        path);
}

/* ---- the way there ---- */

static bool compile(job *j, const sinter_engine_options *options) {
    sinter_arena arena;
    sinter_target target;
    sinter_loop_program *program = NULL;
    sinter_arena_init(&arena);
    const char *otherwise = j->kind->target ? j->kind->target : "cpu";
    bool good = sinter_target_parse(options->target ? options->target : otherwise, &arena, &target,
                                    j->diag);
    j->target = &target;
    show_progress("graph passes ...");
    good = good && sinter_engine_run_passes(j->module, options, j->diag);
    if (good && j->kind->stage != STAGE_GRAPH) {
        show_progress("loops ...");
        j->program = program = sinter_engine_lower(
            j->module, &target,
            &(sinter_schedule_options){.level = options->level, .tuning = options->tuning},
            j->diag);
        good = program != NULL;
    }
    show_progress("%s", good ? "writing ..." : "");
    good = good && j->kind->write(j);
    show_progress("%s", "");
    if (program) sinter_loop_program_destroy(program);
    sinter_arena_deinit(&arena);
    return good;
}

static const option_spec own_options[] = {
    {.name = "o",
     .value = "FILE",
     .file = WRITES_FILE,
     .doc = "the file to write; '-' is standard output"},
    {.name = "emit",
     .value = "KIND",
     .doc = "so, obj (with a header), sir, onnx, loops, c, cuda, llvm or asm; otherwise the ending "
            "of -o "
            "tells"},
    {.name = "target",
     .value = "TARGET",
     .doc = "cpu[:CPU][+FEATURE]... or cuda[:sm_90[+sm_80]...]; a wrong name lists the known ones "
            "(this machine; of C cpu:x86-64-v3, of cuda sm_80)"},
};

/* Graphs are the same for every target, and the list of passes is all that makes them. */
static bool check_options(const arguments *a, const emission *kind) {
    bool machine_code = kind->stage == STAGE_CODE && !kind->is_text;
    const char *idle = arguments_has(a, "jobs")    ? "jobs"
                       : arguments_has(a, "cache") ? "cache"
                                                   : NULL;
    if (idle && !machine_code)
        return usage_error("compile", "--%s does nothing for %s: it is no machine code", idle,
                           kind->name);
    if (kind->stage != STAGE_GRAPH) return true;
    if (arguments_has(a, "tuning"))
        return usage_error("compile", "--tuning does nothing for %s: it is before any schedule",
                           kind->name);
    if (arguments_has(a, "target"))
        return usage_error("compile", "--target does nothing for %s: it is before any target",
                           kind->name);
    return !arguments_has(a, "passes") || !arguments_has(a, "O") ||
           usage_error("compile", "-O does nothing for %s with --passes", kind->name);
}

static void show_kernels(void *listener, size_t done, size_t total) {
    (void)listener;
    show_progress("%zu of %zu pieces of code ...", done, total);
}

static int compile_model(const arguments *a) {
    sinter_diag diag = stderr_diag();
    sinter_engine_options options;
    const char *path = arguments_find(a, "o");
    if (path && !strcmp(path, "-")) path = NULL;
    job j = {.path = path ? path : "-", .diag = &diag};
    if (!find_emission(arguments_find(a, "emit"), path, &j.kind) || !check_options(a, j.kind) ||
        !engine_options(a, &options))
        return 2;
    j.codegen = (sinter_codegen_options){.level = options.level,
                                         .jobs = (uint32_t)options.jobs,
                                         .cache = options.cache,
                                         .progress = show_kernels};
    show_progress("reading ...");
    j.module = load_model(a->operands[0], a, &diag);
    int status = j.module && compile(&j, &options) ? 0 : 2;
    show_progress("%s", "");
    if (j.module) sinter_module_destroy(j.module);
    return status;
}

const command command_compile = {
    .name = "compile",
    .operands = "MODEL -o OUT",
    .doc = "compile ahead of time: artifact, object, C, or any stage",
    .usage =
        "sinter compile MODEL -o OUT [--target=cpu[:CPU][+FEATURE]...|cuda[:sm_90[+sm_80]...]] "
        "[--emit=KIND]",
    .details =
        "Compiles a model ahead of time: to an artifact, an object with a C header, C, or any "
        "stage before.",
    COMMAND_OPTIONS(own_options),
    .shared =
        "dim passes O precision no-winograd tuning jobs cache verify-each print-after stop-after "
        "time-passes",
    .expected = "one model",
    .least = 1,
    .most = 1,
    .run = compile_model,
};
