/* The contract, version 1, between an artifact (what `sinter compile` makes) and whoever runs it.
 *
 * This header stands alone: C17, no include of ours. An artifact exports one function named
 * SINTER_ARTIFACT_SYMBOL (objects: <model>_artifact) that returns its sinter_abi_artifact. The artifact is immutable
 * and thread-safe: each concurrent run has its own sinter_abi_call and workspace. It imports nothing but libc and
 * libm; services come in through a table and every entry of it may be NULL (serial, malloc, silence).
 * tests/unit/abi_test.c shows by hand what the compiler emits. */
#ifndef SINTER_ABI_H
#define SINTER_ABI_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SINTER_ABI_MAGIC 0x52544e53u /* "SNTR" little-endian */
#define SINTER_ABI_VERSION 1u
#define SINTER_ARTIFACT_SYMBOL "sinter_artifact"
#define SINTER_ABI_MAX_RANK 16
/* On every public function: libraries are built with hidden visibility. */
#if defined(__GNUC__)
#define SINTER_API __attribute__((visibility("default")))
#else
#define SINTER_API
#endif

/* Status of a run; the text is in call->message. */
enum {
    SINTER_ABI_OK = 0,
    SINTER_ABI_BAD_INPUT = 1,     /* shape, dtype or missing tensor */
    SINTER_ABI_OUT_OF_RANGE = 2,  /* an index in the data points outside its axis */
    SINTER_ABI_OUT_OF_MEMORY = 3, /* workspace too small or an allocation failed */
    SINTER_ABI_OVERFLOW = 4,      /* a size computed from dims overflows */
    SINTER_ABI_FAILED = 5         /* anything else, see the message */
};

/* Element types are ONNX TensorProto.DataType codes. */
typedef struct sinter_abi_tensor {
    void *data;     /* inputs: the caller's, const, aligned to its elements. outputs: NULL asks the artifact to take memory from
                       services->allocate (or malloc), which the caller then frees the same way */
    uint64_t bytes; /* inputs: size of data; outputs: capacity, then on return the size used */
    int64_t dims[SINTER_ABI_MAX_RANK]; /* inputs: given; outputs: filled by plan and run (-1: known only after run) */
    int32_t rank, dtype;
} sinter_abi_tensor;

/* What ranks of a mesh do together, elements packed. A group is the ranks that differ along some axes of the mesh only; places in it count through
 * these axes, the last fastest. All of a group call with the same words, in the same order, in different threads or processes. */
enum {
    SINTER_ABI_ALL_REDUCE = 0,     /* target: source combined over the group */
    SINTER_ABI_ALL_GATHER = 1,     /* target: the sources of the group, one after the other */
    SINTER_ABI_REDUCE_SCATTER = 2, /* source: a piece for each place; target: the own piece, combined */
    SINTER_ABI_ALL_TO_ALL = 3,     /* source: a piece for each place; target: the own piece of each source */
    SINTER_ABI_PERMUTE = 4         /* target: source of rank `from`, zeros without; the own one goes to rank `to`. No group: two ranks */
};
#define SINTER_ABI_EXCHANGE_NAMES {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "permute"} /* by kind */
/* Or'ed into the kind: an exchange in two calls of the same words. After the first the rank goes on; until the second returns nobody writes to
 * source, and target is not there. They end in the order in which they begin, and all have ended where one is a single call. */
enum { SINTER_ABI_EXCHANGE_BEGINS = 0x100, SINTER_ABI_EXCHANGE_ENDS = 0x200 };
enum { SINTER_ABI_EXCHANGES_UNDER_WAY = 8 }; /* of a rank, at most */
enum { SINTER_ABI_SUM = 0, SINTER_ABI_PROD = 1, SINTER_ABI_MAX = 2, SINTER_ABI_MIN = 3 };
typedef struct sinter_abi_exchange {
    int32_t kind, reduction, dtype; /* dtype: ONNX code */
    uint32_t index;                 /* which of the program's exchanges, for messages and checks */
    uint64_t over;                  /* axes of the mesh, a byte each: its number + 1, the outermost lowest */
    uint64_t count;                 /* elements of source */
    const void *source;
    void *target;                   /* overlaps no source */
    int32_t from, to;               /* PERMUTE: ranks of the mesh; -1: none. Read for that kind only */
} sinter_abi_exchange;

enum { SINTER_ABI_GRAIN_PARTS = 16 }; /* of an iteration: what is worth a far thread may be several where less than one is for a near one */

struct sinter_abi_call;
typedef struct sinter_abi_services {
    uint32_t size; /* sizeof, for growth */
    uint32_t thread_count; /* how many may run bodies at once, for partitioning; 0 is 1 */
    void *user;
    /* Calls body(environment, first, last) over disjoint ranges that cover [0, count), returns when all are done. Fewer than
     * `grain` iterations, counted in parts of SINTER_ABI_GRAIN_PARTS, are not worth a thread whose core is a neighbour. NULL: the
     * artifact runs body(environment, 0, count). This function and those below are called on the thread of the run, not by bodies. */
    void (*parallel_for)(void *user, int64_t count, int64_t grain,
                         void (*body)(void *environment, int64_t first, int64_t last), void *environment);
    /* Bytes, not 0; alignment is a power of two; NULL where there is no memory. deallocate gets what was asked for. */
    void *(*allocate)(void *user, size_t size, size_t alignment);
    void (*deallocate)(void *user, void *pointer, size_t size, size_t alignment);
    void (*log)(void *user, int32_t level, const char *message); /* level 0: why a run failed */
    /* Called around each kernel where set, for profiling: begin is 1 before it, 0 after it; kernel counts in the artifact's. */
    void (*trace)(void *user, uint32_t kernel, int32_t begin);
    /* Programs of one rank of several (sinter_abi_exchange): what this rank gives and what it gets. Returns SINTER_ABI_OK, or a code
     * after it has put it, and a message, into the call. Only where size says that it is there. */
    int32_t (*exchange)(struct sinter_abi_call *call, const sinter_abi_exchange *exchange);
    /* The runtime's own: how runs on a device exchange without the host; NULL: they do not. Only where size says that it is there. */
    struct sinter_nccl *nccl;
} sinter_abi_services;

typedef struct sinter_abi_call {
    uint32_t size; /* sizeof */
    int32_t code;  /* set on failure */
    const void *weights; /* base of the weight blob, 64-byte aligned at least */
    void *workspace;     /* 64-byte aligned */
    uint64_t workspace_bytes; /* plan says how many are needed; run is told how many there are */
    sinter_abi_tensor *inputs, *outputs;
    const sinter_abi_services *services; /* NULL allowed */
    int64_t *symbols; /* symbol_count of them, filled by plan; caller's memory */
    char message[256];
    /* Artifacts with code for a device; others never look at these. */
    const struct sinter_abi_device *device; /* run: not NULL */
    uint64_t device_workspace_bytes;        /* filled by plan: memory on the device */
} sinter_abi_call;

typedef struct sinter_abi_symbol {
    const char *name;
    int64_t min, max, multiple;
} sinter_abi_symbol;

typedef struct sinter_abi_io {
    const char *name;
    int32_t dtype, rank;
    const int64_t *dims;           /* -1 where symbolic */
    const char *const *dim_names;  /* "N", "2*N + 1", "224" */
} sinter_abi_io;

typedef struct sinter_abi_kernel {
    const char *name, *nodes; /* which graph nodes it computes */
} sinter_abi_kernel;

/* The output may be given the memory of the input (the same data pointer): both have the same size for all shapes, and the
 * input is not read any more when the output is first written, or the output begins as a copy of it, which then is not made: a
 * cache that is updated in place. A run that fails may leave it changed. Each input for one output at most. For state that one
 * run hands to the next. */
typedef struct sinter_abi_donation {
    uint32_t output, input;
} sinter_abi_donation;

/* ---- devices ----
 * An artifact whose kernels run on a device carries their code, and its run, on the host, puts them into a stream by way of the
 * table in call->device. There, call->inputs and call->outputs are the host's view (shapes; data only of what host_inputs
 * names); addresses of memory on the device come from the table and are never followed on the host.
 *
 * A kernel is an entry of a module with C linkage whose parameters are 8 bytes each: addresses of buffers in the order of the
 * kernel, then its 64-bit integers, then, where it may fail, the address of a sinter_abi_device_failure, then maps. */

enum {
    SINTER_ABI_IMAGE_BINARY = 0, /* runs on this architecture and on later ones with the same first number (80 on 86) */
    SINTER_ABI_IMAGE_EXACT = 1,  /* runs on this architecture alone: sm_90a */
    SINTER_ABI_IMAGE_TEXT = 2    /* PTX: runs on this architecture and all later ones */
};

/* Images of one module are alternatives: the best one that the device takes is loaded. */
typedef struct sinter_abi_image {
    uint32_t module;
    uint32_t architecture; /* 90 for sm_90 */
    uint32_t kind;         /* SINTER_ABI_IMAGE_* */
    uint32_t reserved;     /* 0 */
    const void *bytes;
    uint64_t size; /* of text: with its final zero */
} sinter_abi_image;

typedef struct sinter_abi_device_kernel {
    const char *symbol;    /* in its module; NULL, or SINTER_ABI_COMBINE_SYMBOL: a kernel that run calls on the host */
    uint32_t module;
    uint32_t shared_bytes; /* most that a launch asks for, beyond what the code declares */
} sinter_abi_device_kernel;

/* What makes sums of an exchange where ranks need no host for it, by ONNX type and reduction: of `places` terms for each of `count` elements, one
 * behind the other, the tree that neighbours begin. Parameters: target, terms (which it may change), count, places; a thread an element. */
#define SINTER_ABI_COMBINE_SYMBOL "sinter_combine_%d_%d"
enum { SINTER_ABI_COMBINE_THREADS = 256 }; /* of a block */

/* Zero where runs begin, but for one behind a run in the same stream that failed and was not waited for. A kernel that fails writes
 * it if code is still 0 (one atomic exchange decides); others may do nothing once it is not. */
typedef struct sinter_abi_device_failure {
    int32_t code;    /* SINTER_ABI_* */
    int32_t message; /* which of the artifact's */
    int64_t values[6];
} sinter_abi_device_failure;

enum {
    SINTER_ABI_DEVICE_STATIC = 1, /* run puts the same work into the stream whenever shapes and addresses are the same, and waits
                                     for nothing: it may be captured once and replayed */
    SINTER_ABI_DEVICE_PIECES = 2 /* the same holds of its work before, between and behind exchanges of ranks, which are the same, too */
};

typedef struct sinter_abi_device_code {
    uint32_t size; /* sizeof, for growth */
    uint32_t flags;
    uint32_t module_count, image_count;
    const char *device; /* which driver: "cuda" */
    const sinter_abi_image *images;
    const sinter_abi_device_kernel *kernels; /* kernel_count of them */
    const unsigned char *host_inputs; /* by input, 1: plan or run reads its data on the host. NULL: none */
    /* The text for a failure, into call->message. */
    void (*explain)(sinter_abi_call *call, const sinter_abi_device_failure *failure);
} sinter_abi_device_code;

/* How instructions that copy boxes of a tensor see memory (CUDA: cuTensorMapEncodeTiled, with a swizzle of 128 bytes and zeros outside): a
 * parameter of 128 bytes behind all others. Dims are outermost first. */
enum { SINTER_ABI_MAP_RANK = 5, SINTER_ABI_MAP_BYTES = 128, SINTER_ABI_MOST_MAPS = 16 };
typedef struct sinter_abi_map {
    uint64_t address; /* a multiple of 16 */
    uint64_t dims[SINTER_ABI_MAP_RANK];  /* elements */
    uint64_t strides[SINTER_ABI_MAP_RANK]; /* bytes, multiples of 16; the last one: of an element */
    uint32_t sizes[SINTER_ABI_MAP_RANK]; /* of a box, elements */
    uint32_t rank;                       /* 2 to 5 */
} sinter_abi_map;

typedef struct sinter_abi_launch {
    uint32_t kernel; /* in the artifact's */
    uint32_t grid[3], block[3];
    uint32_t shared_bytes; /* beyond what the code declares */
    uint32_t argument_count;
    uint32_t map_count; /* more than 0 only where sinter_abi_device.most_maps is */
    const uint64_t *arguments;
    const sinter_abi_map *maps; /* looked at where there are some */
} sinter_abi_launch;

enum { SINTER_ABI_DEVICE_ALIGNMENT = 16 }; /* of inputs and outputs on a device */
enum { SINTER_ABI_COPY_ON_DEVICE = 0, SINTER_ABI_COPY_TO_DEVICE = 1, SINTER_ABI_COPY_TO_HOST = 2 };

/* What a run on a device works with; made for one run or for one at a time. Functions put work into the run's stream. Where one
 * returns a code that is not SINTER_ABI_OK, or NULL, run returns (what it returned, or SINTER_ABI_OUT_OF_MEMORY), and
 * whoever made the table knows why. */
typedef struct sinter_abi_device {
    uint32_t size; /* sizeof, for growth */
    uint32_t multiprocessors;
    void *user;
    const void *weights; /* the blob, on the device */
    void *workspace;     /* on the device, 256-byte aligned, of device_workspace_bytes at least */
    sinter_abi_device_failure *failure; /* on the device */
    const void *const *inputs;          /* by input, on the device */
    int32_t (*launch)(void *user, const sinter_abi_launch *launch);
    /* SINTER_ABI_COPY_*; to the host: waits until it is there, and tells whether a kernel before it failed. */
    int32_t (*copy)(void *user, void *to, const void *from, uint64_t bytes, int32_t direction);
    /* Memory on the device for an output whose shape is in call->outputs. */
    void *(*output)(void *user, uint32_t index, uint64_t bytes);
    /* Memory whose size is known late: 256-byte aligned, given back in the order of the stream. */
    void *(*allocate)(void *user, uint64_t bytes);
    void (*deallocate)(void *user, void *pointer);
    /* Programs of one rank of several: services->exchange, but that source and target, of so many elements, are on the device. What was
     * put into the stream before is done first. Only where size says that it is there. */
    int32_t (*exchange)(void *user, const sinter_abi_exchange *exchange, uint64_t target_count);
    uint64_t most_maps; /* that a launch may have. Only where size says that it is there */
} sinter_abi_device;

typedef struct sinter_abi_artifact {
    uint32_t magic, version;
    uint32_t size; /* sizeof, for growth */
    uint32_t input_count, output_count, symbol_count, kernel_count, donation_count;
    const char *name;         /* model */
    const char *target;       /* "x86-64-v3+avx512vnni" */
    const char *cpu_features; /* comma-separated names that the CPU must have, NULL for none; the runtime checks them before
                                 any kernel runs, a caller of run checks them itself */
    const sinter_abi_io *inputs, *outputs;
    const sinter_abi_symbol *symbols;
    const sinter_abi_kernel *kernels;
    uint64_t weights_bytes, weights_hash;
    const void *weights; /* where they are linked in; NULL: appended to the file (so) or given by the caller */
    const sinter_abi_donation *donations; /* where an output may take an input's memory */
    /* Checks inputs, binds symbols, fills output dims and call->workspace_bytes. Cheap, no allocation. */
    int32_t (*plan)(sinter_abi_call *call);
    /* plan must have been called for these shapes; runs. Returns call->code. */
    int32_t (*run)(sinter_abi_call *call);
    const sinter_abi_device_code *device; /* NULL: all of it runs on the host. Descriptors of smaller size end before it */
} sinter_abi_artifact;

/* Checksum of code and weights. Chunks of a multiple of 8 bytes may be chained: the result of one is the seed of the
 * next, 0 begins. Bytes that are missing to a multiple of 8 at the end count as zero. */
static inline uint64_t sinter_abi_hash(const void *data, size_t size, uint64_t seed)
{
    const unsigned char *bytes = (const unsigned char *)data;
    uint64_t hash = seed;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + at, size - at < 8 ? size - at : 8); /* little-endian, as all of an artifact */
        hash = ((hash << 29 | hash >> 35) ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    }
    return hash;
}

/* An .so is [ELF shared object | required CPU features as text, ends in a zero byte | zeros | weights | this trailer].
 * Weights of 2 MiB and more start at a multiple of 2 MiB, in the file and, by the loader's doing, in memory, so that huge
 * pages fit; smaller ones at a multiple of 64. The loader checks everything but the weights before it hands the file to
 * dlopen. */
#define SINTER_ABI_HUGE_PAGE (UINT64_C(2) << 20)
static inline uint64_t sinter_abi_weights_alignment(uint64_t weights_bytes)
{
    return weights_bytes < SINTER_ABI_HUGE_PAGE ? 64 : SINTER_ABI_HUGE_PAGE;
}
typedef struct sinter_abi_trailer {
    uint64_t file_bytes;     /* of everything, trailer included */
    uint64_t code_bytes;     /* of the ELF part, from 0 on; the features follow */
    uint64_t features_bytes; /* zero byte included */
    uint64_t head_hash;      /* sinter_abi_hash of [0, weights_offset) */
    uint64_t weights_offset, weights_bytes, weights_hash;
    uint64_t trailer_hash;   /* of the fields before this one, seeded with machine */
    uint32_t machine;        /* e_machine of the ELF part */
    uint32_t reserved;       /* 0 */
    uint32_t version, magic; /* magic last */
} sinter_abi_trailer;

#endif
