/* The code of a program's kernels for the architectures of its target. See device.h. Test: tests/codegen/emit_cuda/ */
#include "codegen/device.h"
#include "codegen/emit_cuda.h"
#include "codegen/nvrtc.h"
#include "runtime/abi.h"

#include <string.h>

static bool compile_image(const sinter_nvrtc *nvrtc, const char *name, const char *text,
                          const char *architecture, const sinter_kernel_cache *cache,
                          sinter_device_images *images, sinter_diag *diag) {
    sinter_device_image *image = &images->items[images->count++];
    *image = (sinter_device_image){0};
    return sinter_nvrtc_architecture(architecture, &image->architecture, &image->kind) &&
           sinter_nvrtc_compile(nvrtc, name, text, architecture, cache, &image->bytes, diag);
}

bool sinter_device_compile(const sinter_loop_program *program, const sinter_target *target,
                           const sinter_codegen_options *options, bool for_later,
                           sinter_device_images *out_images, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_text text = {0};
    sinter_nvrtc nvrtc;
    sinter_kernel_cache cache;
    out_images->count = 0;
    bool good = sinter_emit_cuda(program, &text, diag) && sinter_nvrtc_open(&nvrtc, &arena, diag) &&
                (!options->cache || sinter_kernel_cache_open(&cache, options->cache, &arena, diag));
    const sinter_kernel_cache *kept = options->cache ? &cache : NULL;
    uint32_t newest = 0;
    for (uint32_t i = 0; i < target->gpu_code_count && good; i++) {
        const sinter_gpu_code *code = &target->gpu_codes[i];
        if (code->architecture > newest) newest = code->architecture;
        good = compile_image(
            &nvrtc, program->name, text.data,
            sinter_arena_format(&arena, "sm_%u%s", code->architecture, code->exact ? "a" : ""),
            kept, out_images, diag);
    }
    if (good && for_later)
        good = compile_image(&nvrtc, program->name, text.data,
                             sinter_arena_format(&arena, "compute_%u", newest), kept, out_images,
                             diag);
    sinter_text_deinit(&text);
    sinter_arena_deinit(&arena);
    if (!good) sinter_device_images_deinit(out_images);
    return good;
}

void sinter_device_images_deinit(sinter_device_images *images) {
    for (uint32_t i = 0; i < images->count; i++) sinter_text_deinit(&images->items[i].bytes);
    images->count = 0;
}
