/* sinter inspect --target=cuda: the kernels that a model becomes, and what each takes of the GPU that the schedule is for. Nothing
 * runs, and no GPU is needed; registers are known where NVRTC is there to compile. Test: tests/cli/inspect_cuda.test */
#include "codegen/cubin.h"
#include "codegen/device_cost.h"
#include "tools/sinter/inspect.h"

#include <stdio.h>
#include <string.h>

typedef struct report {
    sinter_loop_program *program;
    const sinter_target *target;
    sinter_device_images images; /* none where there is no NVRTC */
    uint32_t *calls;             /* by kernel: how often the host has it */
    double seconds;
    bool open, has_bound; /* something is not known before the run, or not but for a bound */
} report;

static void count_calls(uint32_t *calls, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        if (s->kind == SINTER_LOOP_CALL_KERNEL) calls[s->kernel]++;
        count_calls(calls, s->body);
        count_calls(calls, s->else_body);
    }
}

static const char by_size[] = "by size"; /* in place of numbers that only the run can tell */

/* In front of a number that is the most. */
static const char *at_most(const sinter_device_cost *cost) {
    return cost->has_bound ? "<=" : "";
}

/* "132 x 8" of those that are not 1. */
static const char *extent_text(const double extent[3], sinter_arena *arena) {
    const char *text = "";
    for (int i = 2; i >= 0; i--) {
        if (extent[i] == 1 && (i || *text)) continue;
        const char *one = extent[i] < 0 ? by_size : sinter_arena_format(arena, "%.0f", extent[i]);
        text = *text ? sinter_arena_format(arena, "%s x %s", text, one) : one;
    }
    return text;
}

static const char *count_text(double count, void (*print)(double, sinter_text *),
                              const char *before, sinter_arena *arena) {
    sinter_text text = {0};
    if (count < 0) return by_size;
    print(count, &text);
    const char *kept = sinter_arena_format(arena, "%s%s", count > 0 ? before : "", text.data);
    sinter_text_deinit(&text);
    return kept;
}

/* What the compiler made of a kernel, for the first architecture; false where that is not known. */
static bool find_code(const report *r, uint32_t kernel, sinter_arena *arena,
                      sinter_cubin_kernel *out_code) {
    for (uint32_t i = 0; i < r->images.count; i++) {
        const sinter_device_image *image = &r->images.items[i];
        if (image->module == r->images.modules[kernel])
            return sinter_cubin_find(image->bytes.data, image->bytes.size,
                                     sinter_device_symbol(r->program, kernel, arena), out_code);
    }
    return false;
}

static bool put_kernel(report *r, uint32_t index, sinter_arena *arena, sinter_diag *diag) {
    sinter_loop_function *kernel = r->program->kernels.items[index];
    sinter_device_cost cost;
    sinter_cubin_kernel code;
    if (sinter_device_is_host_step(kernel)) {
        const char *none = "-";
        printf("  %5u  %17s  %11s  %11s  %9s  %9s  %9s  %13s  %s, on the host\n", r->calls[index],
               none, none, none, none, none, none, none, kernel->name);
        return true;
    }
    if (!sinter_device_find_cost(r->program, kernel, r->target->gpu, &cost, diag)) return false;
    const bool compiled = find_code(r, index, arena, &code);
    const char *registers = compiled ? sinter_arena_format(arena, "%u", code.registers) : "-";
    if (compiled && code.stack_bytes)
        registers = sinter_arena_format(arena, "%u + %u B", code.registers, code.stack_bytes);
    const char *most = at_most(&cost), *grid = extent_text(cost.grid, arena);
    const char *time = cost.seconds < 0
                           ? by_size
                           : sinter_arena_format(arena, "%s%.2f us", most, cost.seconds * 1e6);
    if (cost.grid[0] >= 0 && cost.grid[1] >= 0 && cost.grid[2] >= 0)
        grid = sinter_arena_format(arena, "%s%s", most, grid);
    const double shared = compiled ? code.shared_bytes + cost.asked_bytes : cost.shared_bytes;
    printf("  %5u  %17s  %11s  %11s  %9s  %9s  %9s  %13s  %s\n", r->calls[index], grid,
           extent_text(cost.block, arena), registers,
           count_text(shared, inspect_print_bytes, "", arena),
           count_text(cost.bytes, inspect_print_bytes, most, arena),
           count_text(cost.operations, inspect_print_count, most, arena), time, kernel->name);
    r->open |= cost.seconds < 0;
    r->has_bound |= cost.seconds >= 0 && cost.has_bound;
    if (cost.seconds > 0) r->seconds += r->calls[index] * cost.seconds;
    return true;
}

static bool put_report(report *r, sinter_arena *arena, sinter_diag *diag) {
    const sinter_gpu *gpu = r->target->gpu;
    printf("kernels on %s: %u multiprocessors of %u threads, %u GB/s\n", r->target->text,
           gpu->multiprocessors, gpu->threads, gpu->memory);
    printf("  %5s  %17s  %11s  %11s  %9s  %9s  %9s  %13s  %s\n", "calls", "grid", "block",
           "registers", "shared", "bytes", "flops", "predicted", "kernel");
    for (uint32_t i = 0; i < r->program->kernels.count; i++)
        if (!put_kernel(r, i, arena, diag)) return false;
    printf("  predicted for a run: %s%.1f us%s\n", r->has_bound ? "at most " : "", r->seconds * 1e6,
           r->open ? ", and kernels whose sizes only the run can tell" : "");
    return true;
}

/* Registers are worth a note where they are missing, not an error. */
static void compile_kernels(report *r, const sinter_engine_options *options) {
    sinter_text said = {0};
    sinter_diag quiet = {.handler = sinter_diag_text_handler, .user = &said};
    const sinter_codegen_options codegen = {.level = options->level, .cache = options->cache};
    if (!sinter_device_compile(r->program, r->target, &codegen, false, &r->images, &quiet))
        fprintf(stderr, "note: registers are not known: %s", said.data ? said.data : "");
    sinter_text_deinit(&said);
}

bool inspect_kernels(sinter_module *module, const sinter_engine_options *options,
                     sinter_diag *diag) {
    sinter_arena arena;
    sinter_target target;
    sinter_arena_init(&arena);
    bool good = sinter_target_parse(options->target, &arena, &target, diag);
    if (good && !target.gpu)
        good = sinter_error(diag, options->target,
                            "inspect shows kernels of cuda[:sm_90]; for those of a CPU see "
                            "sinter bench --per-node");
    report r = {.target = &target};
    const sinter_schedule_options schedule = {.level = options->level};
    if (good) {
        target.gpu_code_count = 1; /* the one that it is scheduled for */
        r.program = sinter_engine_lower(module, &target, &schedule, diag);
        good = r.program != NULL;
    }
    if (good) {
        r.calls = SINTER_NEW_ARRAY(&arena, uint32_t, r.program->kernels.count);
        if (r.program->host) count_calls(r.calls, r.program->host->body);
        compile_kernels(&r, options);
        good = put_report(&r, &arena, diag);
        sinter_device_images_deinit(&r.images);
        sinter_loop_program_destroy(r.program);
    }
    sinter_arena_deinit(&arena);
    return good;
}
