/* The code of a program's kernels for the architectures of its target: a module a kernel, compiled side by side, one for kernels
 * of equal text. See device.h. Test: tests/codegen/emit_cuda/, tests/unit/sinter_device_test.c */
#include "codegen/crew.h"
#include "codegen/cubin.h"
#include "codegen/device.h"
#include "codegen/emit/cuda.h"
#include "codegen/nvrtc.h"
#include "runtime/abi.h"

typedef struct compilation {
    const char *name;
    const sinter_nvrtc *nvrtc;
    sinter_kernel_cache *cache;       /* NULL: none */
    const sinter_text *texts;         /* by module */
    const char **symbols;             /* by module: of its kernel */
    uint32_t *threads;                /* by module: of a block */
    uint32_t registers;               /* of a multiprocessor */
    const char *const *architectures; /* a run of NVRTC each */
    uint32_t architecture_count;
    uint32_t later; /* the one whose run yields PTX as well; UINT32_MAX: none */
    sinter_device_images *images;
} compilation;

/* One of each architecture, then PTX. */
static uint32_t images_of_module(const compilation *c) {
    return c->architecture_count + (c->later < c->architecture_count);
}

/* One run, with the kernel's registers limited to what lets so many blocks run beside each other; 0: as NVRTC likes. */
typedef struct run {
    const compilation *c;
    const char *architecture;
    uint32_t module;
    bool wants_ptx;
    sinter_text code, ptx;
    sinter_cubin_kernel kernel; /* zeros where the code is no cubin */
} run;

static void deinit_run(run *r) {
    sinter_text_deinit(&r->code);
    sinter_text_deinit(&r->ptx);
}

static bool compile_with(run *r, uint32_t blocks, sinter_diag *diag) {
    const compilation *c = r->c;
    sinter_text text = {0};
    const char *code = c->texts[r->module].data;
    if (blocks) {
        sinter_text_format(&text, "#define SINTER_BLOCKS , %u\n%s", blocks, code);
        code = text.data;
    }
    bool good = sinter_nvrtc_compile(c->nvrtc, c->name, code, r->architecture, c->cache, &r->code,
                                     r->wants_ptx ? &r->ptx : NULL, diag);
    sinter_text_deinit(&text);
    if (good) sinter_cubin_find(r->code.data, r->code.size, c->symbols[r->module], &r->kernel);
    return good;
}

/* NVRTC lets registers spill to memory so that one block more runs beside the others. No kernel is to do that: it is told the most blocks
 * with which none does. What one block alone does not help with are arrays with moving indices, and stays as it was. */
static bool keep_in_registers(run *first, sinter_diag *diag) {
    const uint32_t each = first->kernel.registers * first->c->threads[first->module];
    uint32_t blocks = each ? first->c->registers / each : 0;
    run last = *first, next = *first;
    last.code = last.ptx = (sinter_text){0};
    bool good = compile_with(&last, 1, diag), helps = good && !last.kernel.stack_bytes;
    for (; helps && blocks > 2; blocks--) {
        next.code = next.ptx = (sinter_text){0};
        good = compile_with(&next, blocks - 1, diag);
        if (good && next.kernel.stack_bytes) {
            deinit_run(&next);
            continue;
        }
        deinit_run(&last);
        last = next;
        break;
    }
    if (good && helps) {
        const run before = *first;
        *first = last;
        last = before;
    }
    deinit_run(&last);
    return good;
}

static bool compile_image(void *user, size_t job, void *own, sinter_diag *diag) {
    (void)own;
    const compilation *c = user;
    const uint32_t module = (uint32_t)(job / c->architecture_count),
                   at = (uint32_t)(job % c->architecture_count), each = images_of_module(c);
    sinter_device_image *image = &c->images->items[module * each + at];
    run r = {.c = c,
             .architecture = c->architectures[at],
             .module = module,
             .wants_ptx = at == c->later};
    image->module = module;
    bool good = sinter_nvrtc_architecture(r.architecture, &image->architecture, &image->kind) &&
                compile_with(&r, 0, diag) && (!r.kernel.stack_bytes || keep_in_registers(&r, diag));
    image->bytes = r.code;
    if (r.wants_ptx)
        c->images->items[(module + 1) * each - 1] =
            (sinter_device_image){.module = module,
                                  .architecture = image->architecture,
                                  .kind = SINTER_ABI_IMAGE_TEXT,
                                  .bytes = r.ptx};
    return good;
}

/* "sm_80", "sm_90a" as the target has them. for_later: PTX of the newest as well, of the run for its code; where that is for one
 * architecture alone, of a run for "compute_90". */
static void name_architectures(compilation *c, const sinter_target *target, bool for_later,
                               const char **out_names) {
    uint32_t newest = 0, count = 0;
    bool exact = false;
    c->later = UINT32_MAX;
    for (; count < target->gpu_code_count; count++) {
        const sinter_gpu_code *code = &target->gpu_codes[count];
        if (code->architecture > newest || (code->architecture == newest && !code->exact)) {
            newest = code->architecture;
            exact = code->exact;
            if (for_later) c->later = count;
        }
        out_names[count] = sinter_arena_format(&c->images->arena, "sm_%u%s", code->architecture,
                                               code->exact ? "a" : "");
    }
    if (for_later && exact) {
        out_names[count++] = sinter_arena_format(&c->images->arena, "compute_%u", newest);
        c->later = UINT32_MAX;
    }
    c->architectures = out_names;
    c->architecture_count = count;
}

/* Equal texts become one; the first `module_count` texts are the modules', the rest is empty. */
static void find_modules(sinter_device_images *images, sinter_text *texts, size_t kernel_count) {
    sinter_map seen;
    sinter_map_init(&seen, &images->arena);
    images->modules = SINTER_NEW_ARRAY(&images->arena, uint32_t, kernel_count);
    for (size_t i = 0; i < kernel_count; i++) {
        sinter_string text = {texts[i].data, texts[i].size};
        uint64_t module;
        if (!text.size) continue; /* a step of the host that makes no sums */
        if (sinter_map_find_string(&seen, text, &module)) {
            sinter_text_deinit(&texts[i]);
        } else {
            module = images->module_count++;
            sinter_map_put_string(&seen, text, module);
            sinter_text kept = texts[i];
            texts[i] = (sinter_text){0};
            texts[module] = kept;
        }
        images->modules[i] = (uint32_t)module;
    }
}

/* What is to be known of the kernel of each module. */
static bool describe_modules(compilation *c, const sinter_loop_program *program,
                             sinter_diag *diag) {
    sinter_arena *arena = &c->images->arena;
    c->symbols = SINTER_NEW_ARRAY(arena, const char *, c->images->module_count);
    c->threads = SINTER_NEW_ARRAY(arena, uint32_t, c->images->module_count);
    for (uint32_t i = 0; i < program->kernels.count; i++) {
        const uint32_t module = c->images->modules[i];
        sinter_device_launch launch;
        const char *symbol = sinter_device_symbol(program, i, arena);
        if (!symbol || c->symbols[module]) continue;
        c->symbols[module] = symbol;
        c->threads[module] = SINTER_ABI_COMBINE_THREADS;
        if (sinter_device_is_host_step(program->kernels.items[i])) continue;
        if (!sinter_device_find_launch((sinter_loop_program *)(uintptr_t)program,
                                       program->kernels.items[i], &launch, diag))
            return false;
        c->threads[module] = launch.block[0] * launch.block[1] * launch.block[2];
    }
    return true;
}

static bool compile_modules(compilation *c, const sinter_target *target,
                            const sinter_codegen_options *options, bool for_later,
                            sinter_diag *diag) {
    sinter_device_images *images = c->images;
    sinter_nvrtc nvrtc;
    sinter_kernel_cache cache;
    const char *names[SINTER_TARGET_MAX_ARCHITECTURES + 1];
    if (!sinter_nvrtc_open(&nvrtc, &images->arena, diag) ||
        (options->cache && !sinter_kernel_cache_open(&cache, options->cache, &images->arena, diag)))
        return false;
    c->nvrtc = &nvrtc;
    c->cache = options->cache ? &cache : NULL;
    name_architectures(c, target, for_later, names);
    images->count = images->module_count * images_of_module(c);
    images->items = SINTER_NEW_ARRAY(&images->arena, sinter_device_image, images->count);
    sinter_crew crew = {.count = images->module_count * c->architecture_count,
                        .threads = options->jobs,
                        .work = compile_image,
                        .progress = options->progress,
                        .user = c,
                        .listener = options->listener};
    bool good = sinter_crew_run(&crew, diag);
    if (c->cache) sinter_kernel_cache_trim(&cache, SINTER_KERNEL_CACHE_LIMIT);
    return good;
}

bool sinter_device_compile(const sinter_loop_program *program, const sinter_target *target,
                           const sinter_codegen_options *options, bool for_later,
                           sinter_device_images *out_images, sinter_diag *diag) {
    *out_images = (sinter_device_images){0};
    sinter_arena_init(&out_images->arena);
    const size_t count = program->kernels.count;
    sinter_text *texts = SINTER_NEW_ARRAY(&out_images->arena, sinter_text, count);
    bool good = sinter_emit_cuda_modules(program, texts, diag);
    if (good) {
        find_modules(out_images, texts, count);
        compilation c = {.name = program->name,
                         .texts = texts,
                         .registers = target->gpu->registers,
                         .images = out_images};
        good = describe_modules(&c, program, diag) &&
               compile_modules(&c, target, options, for_later, diag);
    }
    for (size_t i = 0; i < count; i++) sinter_text_deinit(&texts[i]);
    if (!good) sinter_device_images_deinit(out_images);
    return good;
}

void sinter_device_images_deinit(sinter_device_images *images) {
    for (uint32_t i = 0; i < images->count; i++) sinter_text_deinit(&images->items[i].bytes);
    sinter_arena_deinit(&images->arena);
    *images = (sinter_device_images){0};
}
