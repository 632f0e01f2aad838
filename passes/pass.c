/* The table of passes and the manager that runs them: verifying, printing and timing in between,
 * stopping early for bisection. Test: tests/passes/manager/ */
#include "passes/pass.h"
#include "ir/base/clock.h"
#include "ir/parse.h"
#include "ir/verify.h"

#include <stdio.h>
#include <string.h>

const sinter_pass sinter_passes[] = {
#define PASS(name, doc) {#name, doc, sinter_pass_##name},
#include "passes/passes.def"
#undef PASS
};
const size_t sinter_pass_count = sizeof sinter_passes / sizeof *sinter_passes;

/* "fold-constants" and "fold_constants" are one name. */
static bool same_name(sinter_string given, const char *name) {
    if (strlen(name) != given.size) return false;
    for (size_t i = 0; i < given.size; i++)
        if ((given.data[i] == '-' ? '_' : given.data[i]) != name[i]) return false;
    return true;
}

const sinter_pass *sinter_pass_find(sinter_string name) {
    for (size_t i = 0; i < sinter_pass_count; i++)
        if (same_name(name, sinter_passes[i].name)) return &sinter_passes[i];
    return NULL;
}

static void visit_region(sinter_module *module, sinter_region region,
                         void (*visit)(void *user, sinter_node node), void *user) {
    SINTER_FOR_NODES (module, region, node) {
        for (uint32_t i = 0; i < sinter_node_get(module, node)->region_count; i++)
            visit_region(module, sinter_node_get(module, node)->regions[i], visit, user);
        visit(user, node);
    }
}

void sinter_pass_visit_nodes(sinter_module *module, void (*visit)(void *user, sinter_node node),
                             void *user) {
    visit_region(module, sinter_module_main(module), visit, user);
}

bool sinter_pass_run(const sinter_pass *pass, sinter_module *module,
                     const sinter_pipeline_options *options, size_t *out_change_count,
                     sinter_diag *diag) {
    static const sinter_machine any = SINTER_MACHINE_ANY;
    sinter_diag silent = {0};
    if (!diag) diag = &silent;
    size_t errors = diag->error_count;
    sinter_pipeline_options known = {.stop_after = -1};
    if (options) known = *options;
    if (!known.machine) known.machine = &any;
    sinter_pass_context context = {.module = module, .options = &known};
    sinter_rewrite_begin(&context.rewrite, module, diag);
    sinter_arena_init(&context.scratch);
    pass->run(&context);
    sinter_arena_deinit(&context.scratch);
    *out_change_count = context.rewrite.change_count;
    return diag->error_count == errors;
}

static void print_after(sinter_module *module, const sinter_pass *pass,
                        const sinter_pipeline_options *options) {
    const char *wanted = options->print_after;
    if (!wanted || !options->output) return;
    if (strcmp(wanted, "all") != 0 && !same_name(sinter_string_of(wanted), pass->name)) return;
    sinter_text text = {0};
    sinter_print_module(module, NULL, &text);
    fprintf(options->output, "// after %s\n%s", pass->name, text.data);
    sinter_text_deinit(&text);
}

static bool is_left_out(const sinter_pass *pass, const sinter_pipeline_options *options) {
    return pass == options->without[0] || pass == options->without[1];
}

/* Printing after a pass that does not run would print nothing. */
bool sinter_pipeline_check(const sinter_pass *const *passes, size_t count,
                           const sinter_pipeline_options *options, sinter_diag *diag) {
    const char *wanted = options->print_after;
    if (!wanted || !strcmp(wanted, "all")) return true;
    const sinter_pass *pass = sinter_pass_find(sinter_string_of(wanted));
    if (!pass)
        return sinter_error(diag, "--print-after",
                            "unknown pass '%s'; sinter-opt --list-passes shows all", wanted);
    for (size_t i = 0; i < count; i++)
        if (passes[i] == pass && !is_left_out(pass, options)) return true;
    return sinter_error(diag, "--print-after", "pass '%s' is not among those that run", wanted);
}

bool sinter_pipeline_run(sinter_module *module, const sinter_pass *const *passes, size_t count,
                         const sinter_pipeline_options *options, sinter_diag *diag) {
    int64_t changing = 0;
    double total = 0;
    if (!sinter_pipeline_check(passes, count, options, diag)) return false;
    for (size_t i = 0; i < count; i++) {
        if (options->stop_after >= 0 && changing >= options->stop_after) break;
        if (is_left_out(passes[i], options)) continue;
        size_t changes = 0;
        double start = sinter_clock_seconds();
        if (!sinter_pass_run(passes[i], module, options, &changes, diag)) return false;
        double seconds = sinter_clock_seconds() - start;
        total += seconds;
        changing += changes > 0;
        if (options->time_passes && options->output)
            fprintf(options->output, "// %-24s %8.3f ms %6zu changes\n", passes[i]->name,
                    1e3 * seconds, changes);
        print_after(module, passes[i], options);
        if (options->verify_each && !sinter_verify_module(module, diag)) {
            sinter_note(diag, sinter_module_name(module), "the graph was broken by pass %s",
                        passes[i]->name);
            return false;
        }
    }
    if (options->time_passes && options->output)
        fprintf(options->output, "// %-24s %8.3f ms\n", "all passes", 1e3 * total);
    return true;
}

bool sinter_pipeline_parse(const char *list, sinter_arena *arena,
                           const sinter_pass *const **out_passes, size_t *out_count,
                           sinter_diag *diag) {
    SINTER_VECTOR(const sinter_pass *) passes = {0};
    while (*list) {
        size_t size = strcspn(list, ",");
        const sinter_pass *pass = sinter_pass_find((sinter_string){list, size});
        if (!pass)
            return sinter_error(diag, "", "unknown pass '%.*s'; sinter-opt --list-passes shows all",
                                (int)size, list);
        sinter_vector_push(arena, &passes, pass);
        list += size + (list[size] == ',');
    }
    *out_passes = passes.items;
    *out_count = passes.count;
    return true;
}

bool sinter_pipeline_run_list(sinter_module *module, const char *list,
                              const sinter_pipeline_options *options, sinter_diag *diag) {
    sinter_arena arena;
    const sinter_pass *const *passes = NULL;
    size_t count = 0;
    sinter_arena_init(&arena);
    bool good = sinter_pipeline_parse(list, &arena, &passes, &count, diag) &&
                sinter_pipeline_run(module, passes, count, options, diag);
    sinter_arena_deinit(&arena);
    return good;
}

bool sinter_goal_parse(const char *text, sinter_goal *out_goal) {
    static const char *const names[] = {"latency", "throughput", "memory"};
    for (int i = 0; i < 3; i++) {
        *out_goal = (sinter_goal)i;
        if (!strcmp(text, names[i])) return true;
    }
    return false;
}

const sinter_precision_info sinter_precision_infos[SINTER_PRECISION_COUNT] = {
#define PRECISION(name, dtype, architecture) {#name, SINTER_DTYPE_##dtype, architecture},
#include "passes/precision.def"
#undef PRECISION
};

bool sinter_precision_parse(const char *text, sinter_precision *out_precision) {
    for (int i = 0; i < SINTER_PRECISION_COUNT; i++) {
        *out_precision = (sinter_precision)i;
        if (!strcmp(text, sinter_precision_infos[i].name)) return true;
    }
    return false;
}
