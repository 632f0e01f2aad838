/* The code of a program's kernels for the architectures of its target: a module a kernel, compiled side by side, one for kernels
 * of equal text. See device.h. Test: tests/codegen/emit_cuda/, tests/unit/sinter_device_test.c */
#include "codegen/crew.h"
#include "codegen/device.h"
#include "codegen/emit_cuda.h"
#include "codegen/nvrtc.h"
#include "runtime/abi.h"

typedef struct compilation {
    const char *name;
    const sinter_nvrtc *nvrtc;
    sinter_kernel_cache *cache;       /* NULL: none */
    const sinter_text *texts;         /* by module */
    const char *const *architectures; /* a run of NVRTC each */
    uint32_t architecture_count;
    uint32_t later; /* the one whose run yields PTX as well; UINT32_MAX: none */
    sinter_device_images *images;
} compilation;

/* One of each architecture, then PTX. */
static uint32_t images_of_module(const compilation *c) {
    return c->architecture_count + (c->later < c->architecture_count);
}

static bool compile_image(void *user, size_t job, void *own, sinter_diag *diag) {
    (void)own;
    const compilation *c = user;
    const uint32_t module = (uint32_t)(job / c->architecture_count),
                   at = (uint32_t)(job % c->architecture_count), each = images_of_module(c);
    sinter_device_image *image = &c->images->items[module * each + at],
                        *later = at == c->later ? &c->images->items[(module + 1) * each - 1] : NULL;
    const char *architecture = c->architectures[at];
    image->module = module;
    if (!sinter_nvrtc_architecture(architecture, &image->architecture, &image->kind)) return false;
    if (later)
        *later = (sinter_device_image){
            .module = module, .architecture = image->architecture, .kind = SINTER_ABI_IMAGE_TEXT};
    return sinter_nvrtc_compile(c->nvrtc, c->name, c->texts[module].data, architecture, c->cache,
                                &image->bytes, later ? &later->bytes : NULL, diag);
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
        compilation c = {.name = program->name, .texts = texts, .images = out_images};
        good = compile_modules(&c, target, options, for_later, diag);
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
