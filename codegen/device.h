/* Kernels of a device: how they are launched, what of a program is told to the runtime. Shared by the emitter of their text
 * and by that of the host function. Test: tests/codegen/emit_cuda/ */
#pragma once
#include "codegen/compile.h"
#include "codegen/loop_access.h"

/* A launch has the iterations of the block axes, and of the thread axes as far as their counts are numbers. x is the innermost. */
typedef struct sinter_device_launch {
    sinter_expr grid[3]; /* over the kernel's scalar parameters; NULL: 1 */
    uint32_t block[3];
} sinter_device_launch;
/* False with an error where the axes do not say it: blocks that are nested deeper than three, or have other than one loop side by
 * side, more threads than a block may have. */
bool sinter_device_find_launch(sinter_loop_program *program, sinter_loop_function *kernel,
                               sinter_device_launch *out_launch, sinter_diag *diag);

enum { SINTER_DEVICE_MAX_THREADS = 1024, SINTER_DEVICE_MAX_VALUES = 6 };

/* Code of all kernels of a program; each runs on some architectures. */
typedef struct sinter_device_image {
    uint32_t architecture, kind; /* SINTER_ABI_IMAGE_* */
    sinter_text bytes;
} sinter_device_image;
typedef struct sinter_device_images {
    sinter_device_image items[SINTER_TARGET_MAX_ARCHITECTURES + 1];
    uint32_t count;
} sinter_device_images;
/* Emits the text and has it compiled for the target's architectures; for_later: as PTX as well. */
bool sinter_device_compile(const sinter_loop_program *program, const sinter_target *target,
                           const sinter_codegen_options *options, bool for_later,
                           sinter_device_images *out_images, sinter_diag *diag);
void sinter_device_images_deinit(sinter_device_images *images);

/* The symbol of a kernel in the text of its program. */
const char *sinter_device_symbol(const sinter_loop_program *program, uint32_t kernel, sinter_arena *arena);
/* Some kernel fails: then all of them get the place to say so, and do nothing once one has. */
bool sinter_device_fails(const sinter_loop_program *program);
