/* Random graphs through random passes: every graph that comes out is sound and gives the values that it gave before, in the
 * evaluator after the passes and, compiled, after the default pipeline.
 *
 *   random_graph_test [COUNT [FIRST_SEED [FOLDER]]]     COUNT graphs, default 250; a failure prints its seed, the passes and
 *                                                       the graph
 * FOLDER gets each graph as SEED.onnx with its inputs, SEED.in0.npy, and what the evaluator makes of them, SEED.out0.npy,
 * for the opinion of another: tests/suites/long/random_graphs.py. */
#include "frontends/import.h"
#include "ir/eval.h"
#include "ir/parse.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "runtime/jit/engine.h"
#include "tests/unit/random_graph.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { MAX_PASSES = 10, MAX_IO = 256, NATIVE_EVERY = 10 };

typedef struct trial {
    uint64_t seed;
    random_graph graph;
    sinter_module *module;
    sinter_tensor inputs[4], expected[MAX_IO];
    uint32_t input_count, output_count;
    sinter_diag diag;
} trial;

static void show_module(sinter_module *module) {
    sinter_text text = {0};
    sinter_print_module(module, NULL, &text);
    printf("%s", text.data);
    sinter_text_deinit(&text);
}

static bool fail(trial *t, const char *what) {
    printf("seed %llu: %s\n", (unsigned long long)t->seed, what);
    show_module(t->module);
    return CHECK(!"the same values");
}

/* By law 12: errors are relative to the largest element of the tensor. What is quantized may have been rounded the other
 * way, by a step that later operators make larger. */
static bool same_values(const random_graph *graph, const sinter_tensor *a, const sinter_tensor *b) {
    double largest = 0, worst = 0;
    if (a->rank != b->rank || a->dtype != b->dtype ||
        memcmp(a->dims, b->dims, a->rank * sizeof *a->dims) != 0)
        return false;
    if (!sinter_dtype_is_float(a->dtype))
        return memcmp(a->data, b->data, sinter_tensor_bytes(a)) == 0;
    for (int64_t i = 0; i < sinter_tensor_count(a); i++) {
        double x = sinter_tensor_get_double(a, i), y = sinter_tensor_get_double(b, i);
        if (isnan(x) || isnan(y)) {
            if (isnan(x) != isnan(y)) return false;
            continue;
        }
        if (fabs(y) > largest) largest = fabs(y);
        if (fabs(x - y) > worst) worst = fabs(x - y);
    }
    double relative = graph->quantizes                ? 0.15
                      : a->dtype == SINTER_DTYPE_bf16 ? 0.2
                      : a->dtype == SINTER_DTYPE_f16  ? 0.03
                                                      : 2e-4;
    return worst <= relative * (largest + (graph->quantizes ? 0.7 : 0.1));
}

static void release(sinter_tensor *tensors, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) sinter_tensor_deinit(&tensors[i]);
}

static bool all_same(trial *t, sinter_tensor *got) {
    bool same = true;
    for (uint32_t i = 0; i < t->output_count; i++)
        same &= same_values(&t->graph, &got[i], &t->expected[i]);
    release(got, t->output_count);
    return same;
}

static bool evaluates_the_same(trial *t, sinter_module *module) {
    sinter_tensor got[MAX_IO] = {0};
    return sinter_eval_module(module, t->inputs, t->input_count, got, t->output_count, &t->diag) &&
           all_same(t, got);
}

static bool start(trial *t, uint64_t seed) {
    *t = (trial){.seed = seed, .diag = {.handler = sinter_diag_print_handler, .user = stdout}};
    t->module = random_graph_make(&t->graph, seed, 3 + (int)(seed % 23), &t->diag);
    if (!CHECK(t->module != NULL)) return false;
    t->input_count = sinter_module_input_count(t->module);
    t->output_count = sinter_module_output_count(t->module);
    if (!CHECK(t->output_count <= MAX_IO)) return false;
    for (uint32_t i = 0; i < t->input_count; i++) {
        sinter_type type = type_of(&t->graph, sinter_module_input(t->module, i));
        int64_t dims[SINTER_MAX_RANK];
        for (uint32_t k = 0; k < type.rank; k++) dims[k] = dim_at(&t->graph, &type, k);
        t->inputs[i] = sinter_dtype_is_float(type.dtype)
                           ? random_tensor(&t->graph, type.rank, dims, -2, 2)
                           : random_integers(&t->graph, type.dtype, type.rank, dims,
                                             is_signed(type.dtype) ? -90 : 0, 90);
    }
    return CHECK(sinter_eval_module(t->module, t->inputs, t->input_count, t->expected,
                                    t->output_count, &t->diag));
}

static void finish(trial *t) {
    release(t->inputs, t->input_count);
    release(t->expected, t->output_count);
    sinter_module_destroy(t->module);
}

static uint32_t changed_graphs[64]; /* by pass */

static bool run_pass(trial *t, sinter_module *module, const sinter_pass *pass) {
    size_t changes = 0;
    bool good = sinter_pass_run(pass, module, NULL, &changes, &t->diag) &&
                sinter_verify_module(module, &t->diag);
    changed_graphs[pass - sinter_passes] += changes > 0;
    return good;
}

/* After each pass, to name the one that is wrong. */
static bool blame(trial *t, const sinter_pass *const *passes, size_t count) {
    sinter_module *module = sinter_module_clone(t->module);
    const char *name = "(none alone)";
    for (size_t i = 0; i < count; i++) {
        printf("  %s\n", passes[i]->name);
        if (run_pass(t, module, passes[i]) && evaluates_the_same(t, module)) continue;
        name = passes[i]->name;
        break;
    }
    printf("after pass %s:\n", name);
    show_module(module);
    sinter_module_destroy(module);
    return fail(t, "passes change the values");
}

/* They refuse to run where none is described: tests/passes/. */
static bool wants_hardware(const char *pass) {
    return strcmp(pass, "shard_auto") == 0 || strcmp(pass, "pipeline_split") == 0;
}

/* These graphs have no sequences, no convolution large enough for Winograd's (tests/codegen/lower/winograd.sir) or wide enough to go
 * along the width (tests/passes/split_padding/), no map large enough to be added up by rows, nothing as regular as attention, and the precision of their types. */
static bool is_elsewhere(const char *pass) {
    static const char *const names[] = {
        "fold_sequences", "winograd", "split_reductions", "recognize_attention", "tile_attention",
        "lower_precision", "split_padding",
        /* No recipe asks for these: tests/passes/, tests/suites/compressed_models.py. */
        "cut_blocks", "prune_channels", "smooth_activations", "quantize_activations",
        "quantize_weights", "compress_weights", "quantize_tables", "quantize_biases",
        "widen_weights", "rotate_channels",
        /* Graphs with shardings have properties of their own: tests/suites/shard_values.py. */
        "shard_propagate", "shard_partition", "shard_simplify", "shard_hierarchy", "shard_overlap",
        "shard_localize"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(pass, names[i]) == 0) return true;
    return wants_hardware(pass);
}

static bool test_passes(trial *t) {
    const sinter_pass *passes[MAX_PASSES];
    size_t count = 1 + (size_t)random_below(&t->graph, MAX_PASSES);
    for (size_t i = 0; i < count; i++) do
            passes[i] = &sinter_passes[random_below(&t->graph, (int64_t)sinter_pass_count)];
        while (wants_hardware(passes[i]->name) ||
               (is_elsewhere(passes[i]->name) && random_below(&t->graph, 4)));
    sinter_module *module = sinter_module_clone(t->module);
    bool good = true;
    for (size_t i = 0; good && i < count; i++) good = run_pass(t, module, passes[i]);
    good = good && evaluates_the_same(t, module);
    sinter_module_destroy(module);
    return good || blame(t, passes, count);
}

/* A pass by itself, for which chance had no graph that it changes. */
static bool test_alone(const sinter_pass *pass, uint64_t seed) {
    trial t;
    bool good = start(&t, seed);
    sinter_module *module = good ? sinter_module_clone(t.module) : NULL;
    good = good && run_pass(&t, module, pass) && evaluates_the_same(&t, module);
    if (module) sinter_module_destroy(module);
    finish(&t);
    return good;
}

static bool test_compiled(trial *t, const char *target) {
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    options.target = target;
    options.verify_each = true;
    sinter_tensor got[MAX_IO] = {0};
    sinter_engine *engine =
        sinter_engine_create(sinter_module_clone(t->module), &options, &t->diag);
    bool good = engine && sinter_engine_run(engine, t->inputs, got, &t->diag);
    good = good && all_same(t, got);
    sinter_engine_destroy(engine);
    return good || fail(t, target);
}

static bool write_tensors(trial *t, const char *folder, const char *kind,
                          const sinter_tensor *tensors, uint32_t count) {
    bool good = true;
    for (uint32_t i = 0; good && i < count; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%llu.%s%u.npy", folder, (unsigned long long)t->seed, kind,
                 i);
        good = sinter_tensor_write_file(path, &tensors[i], &t->diag);
    }
    return good;
}

static bool write_case(trial *t, const char *folder) {
    if (t->graph.dtype == SINTER_DTYPE_bf16) return true; /* has no .npy */
    char path[512];
    snprintf(path, sizeof path, "%s/%llu.onnx", folder, (unsigned long long)t->seed);
    sinter_module *module = sinter_module_clone(t->module);
    bool good = sinter_export_onnx(module, path, &t->diag) &&
                write_tensors(t, folder, "in", t->inputs, t->input_count) &&
                write_tensors(t, folder, "out", t->expected, t->output_count);
    sinter_module_destroy(module);
    return good || fail(t, "not written as ONNX");
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0); /* a crash must not hide the seed */
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 0) : 250;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    const char *folder = argc > 3 ? argv[3] : NULL;
    uint32_t failures = 0;
    for (uint64_t seed = first; seed < first + count && failures < 5; seed++) {
        trial t;
        bool good = start(&t, seed) && test_passes(&t) && test_compiled(&t, "eval") &&
                    test_compiled(&t, "loops") &&
                    (seed % NATIVE_EVERY != 0 || test_compiled(&t, "cpu")) &&
                    (!folder || write_case(&t, folder));
        CHECK(good);
        failures += !good;
        finish(&t);
    }
    /* What never changed a graph was not tested. */
    for (size_t i = 0; i < sinter_pass_count && count >= 250; i++) {
        for (uint64_t seed = first;
             seed < first + 8 * count && !changed_graphs[i] && !is_elsewhere(sinter_passes[i].name);
             seed++)
            CHECK(test_alone(&sinter_passes[i], seed));
        printf("%-20s changed %u graphs\n", sinter_passes[i].name, changed_graphs[i]);
        if (!is_elsewhere(sinter_passes[i].name)) CHECK(changed_graphs[i] > 0);
    }
    return test_finish();
}
