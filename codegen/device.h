/* Kernels of a device: how they are launched, what of a program is told to the runtime. Shared by the emitter of their text
 * and by that of the host function. Test: tests/codegen/emit_cuda/ */
#pragma once
#include "codegen/compile.h"
#include "codegen/loops/box.h"

/* What the instruction that copies boxes is told of an input (codegen/loops/box.h), by the host: equal ones are one. */
typedef struct sinter_device_map {
    uint32_t parameter; /* of the kernel's buffers: the input */
    uint32_t rank, element_bytes;
    sinter_expr dims[SINTER_BOX_MAX_RANK], strides[SINTER_BOX_MAX_RANK]; /* over the kernel's scalar parameters, outermost first, in elements */
    uint32_t sizes[SINTER_BOX_MAX_RANK];
} sinter_device_map;

/* A launch has the iterations of the block axes, and of the thread axes as far as their counts are numbers. x is the innermost. */
typedef struct sinter_device_launch {
    sinter_expr grid[3]; /* over the kernel's scalar parameters; NULL: 1 */
    uint32_t block[3];
    uint32_t shared_bytes; /* that the launch asks for: the block's scratch, in the order of its allocations, where it is more than code may
                              declare; else 0 */
    sinter_device_map *maps; /* of boxes that the kernel copies, parameters behind all others; in the arena of the program */
    uint32_t map_count;
} sinter_device_launch;
/* The number of the map that a BOX statement needs. */
uint32_t sinter_device_find_map(sinter_loop_program *program, sinter_loop_function *kernel, const sinter_device_launch *launch,
                                const sinter_loop_stmt *box);
/* Where a buffer of the block's scratch is, behind so many bytes of others: at a multiple of what its layout wants. */
uint64_t sinter_device_place_shared(const sinter_loop_buffer_info *info, uint64_t taken);
enum { SINTER_DEVICE_DECLARED_SHARED = 48 << 10, SINTER_DEVICE_SHARED_ALIGNMENT = 16, SINTER_DEVICE_SWIZZLE_ALIGNMENT = 1024 };
/* False with an error where the axes do not say it: blocks that are nested deeper than three, or have other than one loop side by
 * side, more threads than a block may have. */
bool sinter_device_find_launch(sinter_loop_program *program, sinter_loop_function *kernel,
                               sinter_device_launch *out_launch, sinter_diag *diag);

/* The kernel is no launch but a step of the host: ranks exchange, and nothing else. */
bool sinter_device_is_host_step(const sinter_loop_function *kernel);

enum { SINTER_DEVICE_MAX_THREADS = 1024, SINTER_DEVICE_MAX_VALUES = 6, SINTER_DEVICE_MAX_MAPS = 16 };

/* Code of some kernels of a program for one architecture. */
typedef struct sinter_device_image {
    uint32_t module;
    uint32_t architecture, kind; /* SINTER_ABI_IMAGE_* */
    sinter_text bytes;
} sinter_device_image;
/* The code of a program: a module a kernel, one for kernels of equal text, none for steps of the host that make no sums. */
typedef struct sinter_device_images {
    sinter_arena arena;
    sinter_device_image *items; /* by module, then as the target names its architectures */
    uint32_t count, module_count;
    uint32_t *modules; /* by kernel that has a symbol */
} sinter_device_images;
/* Emits the kernels and has them compiled for the target's architectures, side by side; for_later: as PTX as well. */
bool sinter_device_compile(const sinter_loop_program *program, const sinter_target *target,
                           const sinter_codegen_options *options, bool for_later,
                           sinter_device_images *out_images, sinter_diag *diag);
void sinter_device_images_deinit(sinter_device_images *images); /* zeroed: nothing happens */

/* The symbol of a kernel in its module, the same wherever a kernel of that text is. Of a step of the host that of the kernel which makes
 * its sums; NULL: it makes none. */
const char *sinter_device_symbol(const sinter_loop_program *program, uint32_t kernel, sinter_arena *arena);
/* Messages of failures are numbered through the program: item i is the first of kernel i, the last item is how many there are. 0:
 * no kernel fails. Otherwise all of them get the place to say so, and do nothing once one has; those that fail get their first
 * number as well, for their text must not depend on the kernels before them. */
const uint32_t *sinter_device_number_messages(const sinter_loop_program *program, sinter_arena *arena);
