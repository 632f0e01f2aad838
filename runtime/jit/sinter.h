/* Sinter as a library: load a model, run it; compress one. Compiles in memory; takes compiled artifacts (.so) just as well.
 *
 *   sinter_model *model;
 *   sinter_status *status = sinter_load("model.onnx", NULL, &model);
 *   ...
 *   status = sinter_run(model, inputs, outputs);
 *
 * Functions that can fail return a sinter_status *: NULL is success, anything else is the caller's to destroy; its message may
 * have several lines. A model may be run by any number of threads at once. Statuses, tensors, pools and what describes a model
 * are those of sinter_runtime.h. Examples: docs/examples/jit.c, docs/examples/compress.c */
#ifndef SINTER_H
#define SINTER_H
#include "runtime/sinter_runtime.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct sinter_model sinter_model;

typedef struct sinter_options {
    uint32_t size;             /* sizeof(sinter_options) */
    const char *target;        /* "cpu[:native|CPU][+FEATURE]..."; NULL: this machine; "cuda[:sm_90]..." with a device */
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
    const char *precision;     /* "bf16": products of operands rounded to bf16, summed in f32; "tf32": to f32 of 10 bits of mantissa, which GPUs
                                  have units for from sm_80 on; "f16": weights rounded to f16,
                                  on a GPU operands, where what is beyond 65504 is infinite; "i8": what is multiplied by weights of 2 or 4 bits rounded to bytes, in blocks
                                  like theirs; NULL or "f32": f32 */
    const char *tuning;        /* file of `sinter tune`, measured for this target: which schedules are fast; NULL: none */
    const char *device;        /* "cuda", "cuda:1": where it runs, and what it is compiled for where target is NULL. There is no
                                  falling back: without driver or device loading fails. NULL or "cpu": the CPU */
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
/* Puts a run into the caller's stream (CUstream; NULL is the driver's default) and returns: for models on a device, whose inputs
 * and outputs are memory there then, at multiples of 16 bytes, outputs with room in `bytes`, which becomes what is used. All of it
 * stays as it is until the stream was waited for. Where shapes depend on what is computed it waits for that. A stream is for one thread at a time and
 * outlives the model. sinter_wait waits for its runs and tells what a kernel found wrong in the data. */
SINTER_API sinter_status *sinter_run_on_stream(sinter_model *model, const sinter_abi_tensor *inputs, sinter_abi_tensor *outputs,
                                               void *stream);
SINTER_API sinter_status *sinter_wait(sinter_model *model, void *stream);
/* The same as sinter_run into the caller's memory: outputs[i].data of outputs[i].bytes, aligned to its elements; bytes becomes what was used.
 * It may not lie in an input, unless that is donated to it (sinter_abi_donation), nor in another output. */
SINTER_API sinter_status *sinter_run_into(sinter_model *model, const sinter_abi_tensor *inputs, sinter_abi_tensor *outputs);

/* ---- compression: docs/compress.md ---- */

typedef struct sinter_compress_options {
    uint32_t size;               /* sizeof(sinter_compress_options) */
    const sinter_options *run;   /* how models are compiled and run; its pool and tuning do nothing here. NULL: the defaults */
    const char *rules;           /* a recipe: "default weights=int8 activations=u8"; NULL: none */
    const char *recipe;          /* file of more rules; NULL: none */
    const char *write_recipe;    /* file for the rules that were followed; NULL: none */
    const char *const *samples;  /* "NAME=FILE" for each input, all samples in one file, or "NAME=DIR", a sample a file
                                    (.pb, .npy); ends with NULL. NULL: none */
    uint64_t calibrate;          /* the first so many calibrate, the others are scored; 0: a tenth */
    const char *mask;            /* input that is 0 where a sample is padding, which is not calibrated with; NULL: none */
    const char *labels;          /* file of integers, one a sample; NULL: none */
    const char *metric;          /* "top1", "top5", ..., "agreement", "cosine", "mse", "perplexity", "command:PROGRAM"; NULL: top1
                                    with labels, mse without */
    const char *output;          /* the one that is scored; NULL: the first */
    const char *max_drop;        /* "1%", "0.01": search for the smallest model that loses no more of the metric; NULL: only
                                    follow the rules */
    const char *goal;            /* of the search: "size" or "latency"; NULL: size */
    const char *settings;        /* that the search chooses from: names with commas; NULL: all */
    double seconds;              /* no candidate of the search begins later; 0: 600 */
    const char *work;            /* folder where a search that is stopped can go on; made when missing. NULL: none */
    const char *report;          /* .html file about the search; NULL: none */
    const char *command;         /* what the report says one must do to get it again; NULL: nothing */
    void (*progress)(void *user, const char *line); /* hears now and then what goes on; NULL: nobody does */
    void *user;
} sinter_compress_options;
#ifdef __cplusplus
static inline sinter_compress_options sinter_compress_options_init(void)
{
    sinter_compress_options options = {};
    options.size = sizeof options;
    return options;
}
#define SINTER_COMPRESS_OPTIONS_INIT sinter_compress_options_init()
#else
#define SINTER_COMPRESS_OPTIONS_INIT {.size = sizeof(sinter_compress_options)}
#endif

/* What was measured of the two files. */
typedef struct sinter_compress_side {
    double bytes, seconds, score; /* of the file; of a run; of the metric, 0 without samples */
} sinter_compress_side;
typedef struct sinter_compress_result {
    sinter_compress_side original, compressed;
    double lost;                          /* how much worse the score is, in the metric's unit */
    uint64_t calibrated_with, scored_on;  /* samples */
    uint64_t candidates;                  /* of the search, those measured before included */
    double seconds, processor_seconds; /* that compression took, a search included: on the clock, and of all processors together; not
                                        * what measuring the result took */
    int32_t over_budget; /* 1: no candidate stayed inside of max_drop; nothing was written, and `lost` is the least there was */
} sinter_compress_result;

/* A model (.onnx or .sir) in, a smaller one (.onnx or .sir) out, both measured. out_result may be NULL. */
SINTER_API sinter_status *sinter_compress(const char *path, const char *out_path, const sinter_compress_options *options,
                                          sinter_compress_result *out_result);

#ifdef __cplusplus
}
#endif
#endif
