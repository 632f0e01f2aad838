/* Sinter as a library: load a model, run it. Compiles in memory; takes compiled artifacts (.so) just as well.
 *
 *   sinter_model *model;
 *   sinter_status *status = sinter_load("model.onnx", NULL, &model);
 *   ...
 *   status = sinter_run(model, inputs, outputs);
 *
 * Functions that can fail return a sinter_status *: NULL is success, anything else is the caller's to destroy; its message may
 * have several lines. A model may be run by any number of threads at once. Statuses, tensors, pools and what describes a model
 * are those of sinter_runtime.h. Example: docs/examples/jit.c */
#ifndef SINTER_H
#define SINTER_H
#include "runtime/sinter_runtime.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct sinter_model sinter_model;

typedef struct sinter_options {
    uint32_t size;             /* sizeof(sinter_options) */
    const char *target;        /* "cpu[:native|CPU][+FEATURE]..."; NULL: this machine */
    const char *passes;        /* comma-separated passes instead of the pipeline of `level`; NULL: the pipeline */
    const char *const *dims;   /* "N=8" or "N=1..2048": binds or bounds symbolic dims; ends with NULL; NULL: none */
    int32_t level;             /* of optimization, 0 to 3 */
    uint32_t thread_count;     /* of the model's own pool; 1: no thread is started */
    uint32_t compile_threads;  /* threads that sinter_load compiles with, gone when it returns; 0: one a core */
    const char *cache_folder;  /* where compiled kernels are kept from load to load; made when missing. NULL: nowhere */
    sinter_pool *pool;         /* the caller's pool instead; its allocator gives contexts and outputs of all runs; must
                                  outlive the model */
    int32_t no_winograd;       /* 1: 3x3 convolutions stay sums of the products that define them: slower, and rounded as any
                                  order of such sums is, about ten times less than the quick way */
    int32_t copy_weights;      /* 1: an artifact's weights are copied into memory that asks for huge pages: sinter_load_options */
    const char *precision;     /* "bf16": products of operands rounded to bf16, summed in f32; "f16": weights rounded to f16;
                                  "i8": what is multiplied by weights of 2 or 4 bits rounded to bytes, in blocks
                                  like theirs; NULL or "f32": f32 */
    const char *tuning;        /* file of `sinter tune`, measured for this target: which schedules are fast; NULL: none */
} sinter_options;
#ifdef __cplusplus
static inline sinter_options sinter_options_init(void)
{
    sinter_options options = {};
    options.size = sizeof options;
    options.level = 2;
    options.thread_count = 1;
    return options;
}
#define SINTER_OPTIONS_INIT sinter_options_init()
#else
#define SINTER_OPTIONS_INIT {.size = sizeof(sinter_options), .level = 2, .thread_count = 1}
#endif

/* .onnx, .sir (both are compiled) or .so (an artifact: giving target, passes, dims, precision or tuning for it is an error, level does
 * nothing). options: NULL for none. Nothing is left behind by a load that fails, for lack of memory as well; only LLVM, which
 * makes the code, ends the process where it gets no memory. What is wrong with an artifact is in the status' code. */
SINTER_API sinter_status *sinter_load(const char *path, const sinter_options *options, sinter_model **out_model);
SINTER_API void sinter_destroy(sinter_model *model); /* no run may be under way; NULL allowed */

/* Names, element types (ONNX codes: 1 is float), ranks and dims (-1: symbolic, named in dim_names) of inputs and outputs;
 * symbols with their bounds; the target. Lives as long as the model. */
SINTER_API const sinter_abi_artifact *sinter_describe(const sinter_model *model); /* NULL for NULL */

/* Runs from now on use a pool of so many threads of the model's own; waits for the runs under way. */
SINTER_API sinter_status *sinter_set_threads(sinter_model *model, uint32_t thread_count);

/* A row-major tensor over the caller's memory of `bytes`. */
static inline sinter_abi_tensor sinter_tensor_over(const void *data, uint64_t bytes, int32_t dtype, int32_t rank,
                                                   const int64_t *dims)
{
    sinter_abi_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.data = (void *)(uintptr_t)data;
    tensor.bytes = bytes;
    tensor.dtype = dtype;
    tensor.rank = rank;
    for (int32_t i = 0; i < rank && i < SINTER_ABI_MAX_RANK; i++) tensor.dims[i] = dims[i];
    return tensor;
}

/* Runs on inputs in the model's order. outputs, one per output, are filled: shape, type and fresh memory, which the caller
 * gives back with sinter_outputs_free. Nothing is left behind by a run that fails. */
SINTER_API sinter_status *sinter_run(sinter_model *model, const sinter_abi_tensor *inputs, sinter_abi_tensor *outputs);
SINTER_API void sinter_outputs_free(const sinter_model *model, sinter_abi_tensor *outputs); /* NULLs allowed */
/* The same into the caller's memory: outputs[i].data of outputs[i].bytes, aligned to its elements; bytes becomes what was used.
 * It may not lie in an input, unless that is donated to it (sinter_abi_donation), nor in another output. */
SINTER_API sinter_status *sinter_run_into(sinter_model *model, const sinter_abi_tensor *inputs, sinter_abi_tensor *outputs);

#ifdef __cplusplus
}
#endif
#endif
