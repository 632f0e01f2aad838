/* From a graph to something that runs: lower -> schedule -> plan memory -> emit. The steps are separate functions so
 * that every stage can be printed (--emit) and tested. */
#pragma once
#include "codegen/loops/loop.h"
#include "ir/graph.h"
#include "ir/machine.h"

/* What a GPU is: rows of codegen/target.def. */
typedef struct sinter_gpu {
    uint32_t architecture; /* 90 for sm_90 */
    bool has_exact;        /* there is sm_90a */
    bool copies;           /* to shared memory need no thread to wait for them */
    uint32_t multiprocessors, threads, lanes;
    uint32_t matrix_rates[2]; /* multiply-adds a cycle of the units for matrices: of 16 bits, of 8 */
    uint32_t registers, shared_bytes, l2_bytes;
    uint32_t memory; /* gigabytes a second */
    uint32_t clock;  /* MHz */
} sinter_gpu;
enum { SINTER_TARGET_MAX_ARCHITECTURES = 8 };
/* An architecture that code is made for. */
typedef struct sinter_gpu_code {
    uint32_t architecture;
    bool exact; /* sm_90a: runs there and nowhere else */
    const sinter_gpu *gpu;
} sinter_gpu_code;

typedef enum sinter_arch { SINTER_ARCH_x86_64, SINTER_ARCH_aarch64 } sinter_arch; /* of rows of target.def */
#ifdef __aarch64__
#define SINTER_ARCH_HOST SINTER_ARCH_aarch64
#else
#define SINTER_ARCH_HOST SINTER_ARCH_x86_64
#endif
/* What code is for: rows of codegen/target.def; features are LLVM names. */
typedef struct sinter_target {
    const char *text;      /* "cpu:x86-64-v3+avx512vnni" as given, canonical */
    sinter_arch arch;      /* of the CPU, that of the host where kernels run on a GPU */
    const char *triple;    /* "x86_64-pc-linux-gnu", "aarch64-linux-gnu" */
    const char *cpu;       /* LLVM CPU name */
    const char *features;  /* "+avx2,+fma,..." for LLVM */
    const char *required;  /* comma-separated /proc/cpuinfo-style names that the artifact demands */
    uint32_t vector_bytes; /* preferred vector width: 16, 32, 64 */
    uint32_t registers;    /* vector registers */
    uint32_t l1_bytes, l2_bytes, l3_bytes;
    uint32_t l2_ways;
    uint32_t l3_share;     /* of l3_bytes, what one core may count on */
    uint32_t products, loads; /* vectors a cycle: multiplied and added, read from the first cache */
    uint32_t latency;      /* cycles until a sum may be added to again */
    uint32_t near_bytes, memory_bytes; /* a cycle that one core reads from the second cache, and from memory, */
    uint32_t shared_bytes; /* and of what its neighbour has just written */
    uint32_t wake_cycles;  /* until a thread that waits has work and its end is known */
    uint64_t feature_bits; /* FEATURE rows of target.def in order: ask sinter_target_has */
    const sinter_gpu *gpu; /* kernels run there, and the CPU is that of the host; NULL: no GPU */
    sinter_gpu_code gpu_codes[SINTER_TARGET_MAX_ARCHITECTURES]; /* as asked for, in order; schedules are for the first */
    uint32_t gpu_code_count;
} sinter_target;
/* "cpu" and "cpu:native" (this machine), "cpu:x86-64-v3+avx512vnni", "cpu:aarch64"; "cuda" and "cuda:sm_90a+sm_80"; arena owns the strings. Cache
 * sizes of the native target are this machine's. */
bool sinter_target_parse(const char *text, sinter_arena *arena, sinter_target *out_target, sinter_diag *diag);

/* "cuda:sm_90a" for a device of that architecture (90): the best code for it that can be made. NULL: it is older than all. */
const char *sinter_target_of_gpu(uint32_t architecture, sinter_arena *arena);

/* Multiply-adds of a multiprocessor's units for matrices in a cycle, of elements of so many bits: wider ones take as much longer. */
double sinter_gpu_matrix_rate(const sinter_gpu *gpu, uint32_t bits);

#define SINTER_GPU_LAUNCH_SECONDS 2e-6 /* from one kernel of a stream to the next */

/* Blocks by the multiprocessors that take them: below 1 some have none. */
double sinter_gpu_rounds(const sinter_gpu *gpu, double blocks);

/* Bytes of shared memory that a block may ask for on every GPU that may run the code: also on later ones than those of its rows, which are
 * given PTX. */
uint32_t sinter_target_shared_bytes(const sinter_target *target);
/* The same of the GPUs alone that code is made for, not of those that its PTX is for. */
uint32_t sinter_target_own_shared_bytes(const sinter_target *target);
/* All code is for GPUs of that architecture and no others, as sm_90a's is. */
bool sinter_target_is_exactly(const sinter_target *target, uint32_t architecture);

/* What passes may know of it. */
sinter_machine sinter_target_machine(const sinter_target *target);

/* Has it any of the features in "avx512vnni|avxvnni" (names of FEATURE rows)? The empty list is always there. */
bool sinter_target_has(const sinter_target *target, const char *any_of);
/* f16 and f32 become each other by an instruction; elsewhere by arithmetic on bits. */
bool sinter_target_converts_f16(const sinter_target *target);
/* Bytes of a table of 256 are looked up in registers (sinter_loop_looks_up says where a load is of that form). */
bool sinter_target_looks_up(const sinter_target *target);

/* What sums four products of bytes into each i32 here, whose left operand is unsigned or signed; SINTER_INTRINSIC_NONE: nothing does. */
sinter_loop_intrinsic sinter_target_dot(const sinter_target *target);

/* Target-blind: groups and nodes become kernels and a host plan. Every node that can't be lowered is reported, all at
 * once. The program references the module's constants, so the module must outlive it. */
sinter_loop_program *sinter_lower_module(sinter_module *module, sinter_diag *diag);
struct sinter_tuning;
struct sinter_tuning_log;
typedef struct sinter_schedule_options {
    int level;                          /* 0: the loops stay as they are */
    const struct sinter_tuning *tuning; /* measured choices (codegen/tuning.h), for this target; NULL: none */
    struct sinter_tuning_log *log;      /* what was asked; NULL: nobody wants to know */
} sinter_schedule_options;
/* loop -> loop for this CPU: tiles, vector axes, packing, parallel axes. */
bool sinter_schedule_cpu(sinter_loop_program *program, const sinter_target *target,
                         const sinter_schedule_options *options, sinter_diag *diag);
/* loop -> loop for this GPU: kernels are cut into launches of blocks and threads. */
bool sinter_schedule_cuda(sinter_loop_program *program, const sinter_target *target,
                          const sinter_schedule_options *options, sinter_diag *diag);
/* Whichever of the two the target wants. */
bool sinter_schedule_program(sinter_loop_program *program, const sinter_target *target,
                             const sinter_schedule_options *options, sinter_diag *diag);
/* Workspace offsets for the host's heap buffers (static: one constant size; symbolic: computed by plan). */
bool sinter_plan_memory(sinter_loop_program *program, sinter_diag *diag);
/* C17 text of the program that compiles alone (weights as a separate blob or, below a limit, as arrays). */
bool sinter_emit_c(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag);
/* The kernels alone, and the host where there is one: what differs between programs. For tests. */
bool sinter_emit_c_code(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag);
extern const char sinter_c_abi_text[]; /* runtime/abi.h, for headers that stand alone */
/* Whether C text carries weights of this size itself. */
bool sinter_c_embeds_weights(uint64_t weight_bytes);
/* How code is made of loops. */
typedef struct sinter_codegen_options {
    int level;     /* LLVM's, 0..3 */
    uint32_t jobs; /* threads that compile kernels, the caller's included; 0: one a core. The bytes do not depend on it */
    const char *cache; /* folder of kernels that were compiled before (codegen/kernel_cache.h); NULL: none */
    /* Hears how many kernels are compiled, from one thread at a time; NULL: nobody listens. */
    void (*progress)(void *listener, size_t done, size_t total);
    void *listener;
} sinter_codegen_options;

/* LLVM: text of the module (IR or assembly), or an object file in memory. symbol: name of the exported artifact function.
 * weights_in_object: the object ends where the caller writes the blob of sinter_weights_layout, which is its last section and
 * which code finds at the hidden symbol <symbol>_weights. */
typedef enum sinter_llvm_output { SINTER_LLVM_IR, SINTER_LLVM_ASSEMBLY, SINTER_LLVM_OBJECT } sinter_llvm_output;
bool sinter_emit_llvm(const sinter_loop_program *program, const sinter_target *target,
                      const sinter_codegen_options *options, sinter_llvm_output output, const char *symbol,
                      bool weights_in_object, sinter_text *out_bytes, sinter_diag *diag);
/* In-memory code (ORC): the artifact stays valid until the handle is destroyed. */
typedef struct sinter_jit sinter_jit;
sinter_jit *sinter_jit_create(const sinter_loop_program *program, const sinter_target *target,
                              const sinter_codegen_options *options, sinter_diag *diag);
const struct sinter_abi_artifact *sinter_jit_artifact(const sinter_jit *jit);
void sinter_jit_destroy(sinter_jit *jit);
/* The weight blob: constants in order, each 64-byte aligned; offsets are what emitted code uses. */
uint64_t sinter_weights_layout(const sinter_loop_program *program, uint64_t *out_offsets); /* returns total bytes */
/* sinter_abi_hash of the blob; reads all of it. */
uint64_t sinter_weights_hash(const sinter_loop_program *program);
void sinter_weights_copy(const sinter_loop_program *program, void *out_blob); /* memory of the layout's size */
/* The same into fresh storage of that size, constant by constant; each then lives in the blob and lets its old memory go. */
void sinter_weights_move(sinter_loop_program *program, sinter_storage *blob);
struct sinter_file_writer;
void sinter_weights_write(const sinter_loop_program *program, struct sinter_file_writer *writer);
/* Writes the artifact: a shared object linked by the system's cc or ld.lld, with features, weights and trailer behind it
 * (abi.h); an object with the weights in a section of its own, and its header `path` with .h for .o; C text, with the weights
 * in `path` with .weights for .c where they are many. A temporary name in the same folder, then rename: no file is ever
 * there in part. Same program and target, same bytes. */
typedef enum sinter_package_kind { SINTER_PACKAGE_SHARED, SINTER_PACKAGE_OBJECT, SINTER_PACKAGE_C } sinter_package_kind;
bool sinter_package(const sinter_loop_program *program, const sinter_target *target, const sinter_codegen_options *options,
                    sinter_package_kind kind, const char *path, sinter_diag *diag);
