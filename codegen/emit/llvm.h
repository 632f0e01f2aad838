/* Shared by the files of the LLVM emitter; nobody else includes it.
 *
 * Needs a legalized program (codegen/emit/legalize.h): every expression has an instruction, an LLVM intrinsic or a libm
 * function on the target. Gives an LLVM module with one exported function that returns the artifact descriptor.
 * Inside a vector axis an expression is a scalar where all lanes agree and a vector where they may not.
 * Test: tests/unit/emit_test.c */
#pragma once
#include "codegen/compile.h"
#include "codegen/device.h"
#include <llvm-c/Core.h>
#include <llvm-c/Error.h>
#include <llvm-c/TargetMachine.h>

typedef struct sinter_llvm_module {
    const sinter_loop_program *program;
    const sinter_target *target;
    sinter_diag *diag;
    sinter_arena *arena; /* scratch of the emission */
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMTypeRef void_type, i1, i8, i16, i32, i64, f32, f64, pointer;
    LLVMTypeRef dtypes[SINTER_DTYPE_COUNT]; /* in memory; NULL: not a type of emitted code */
    const char *const *kernel_names;        /* by index in the program, each once; NULL: the only one is nameless (object.h) */
    LLVMValueRef *kernels;                  /* by index; NULL: not in this module */
    bool *kernel_fails;                     /* by index: it returns a code (it fails, exchanges, or is launched) */
    const uint32_t *messages;               /* sinter_device_number_messages; NULL: kernels run here */
    const uint64_t *weight_offsets;
    uint64_t weight_bytes, weights_hash;
    LLVMValueRef weights; /* linked in; NULL: given with the call */
    const sinter_device_images *images; /* code of the kernels, which run on a device; NULL: they run here */
    bool broken;          /* an error was reported */
} sinter_llvm_module;

typedef struct sinter_llvm_var {
    LLVMValueRef value; /* or the slot of a mutable one */
    LLVMTypeRef type;   /* of what a slot holds */
    const sinter_loop_expr *definition; /* of a let inside the current vector axis */
    bool is_slot;
    bool inside; /* declared inside the current vector axis */
} sinter_llvm_var;

typedef struct sinter_llvm_memo_slot {
    const sinter_loop_expr *key;
    LLVMValueRef value;
    uint32_t generation;
    bool lane_zero;
} sinter_llvm_memo_slot;

/* The function being emitted. */
typedef struct sinter_llvm_function {
    sinter_llvm_module *module;
    const sinter_loop_function *function;
    bool is_host;
    LLVMBuilderRef builder;
    sinter_owned owned_builder;
    LLVMValueRef value;
    LLVMBasicBlockRef entry;       /* holds allocas only */
    LLVMValueRef call;             /* sinter_abi_call * */
    sinter_llvm_var *vars;         /* by variable id */
    LLVMValueRef *buffers;         /* by buffer id: the base; on the host the slot that holds it */
    LLVMBasicBlockRef failure;     /* where a FAIL goes; NULL: return the code */
    bool in_parallel;              /* the body of a parallel loop, returns nothing */
    LLVMValueRef overflow;         /* i1 slot: i64 arithmetic is checked into it where set */
    uint32_t lanes;                /* of the current vector axis, at most SINTER_LOOP_MOST_LANES; 0 outside */
    sinter_loop_var lane_var;
    bool lane_zero;                /* evaluate for lane 0 only, as a scalar */
    LLVMValueRef mask;             /* active lanes; NULL: all */
    struct {
        sinter_llvm_memo_slot *slots;
        size_t count, capacity;
        uint32_t generation;
    } memo;
    struct sinter_llvm_host *host;
} sinter_llvm_function;

struct sinter_kernel_cache;

/* What of a program a module holds. Kernels are hidden symbols, so that the host finds those of other modules. */
typedef struct sinter_llvm_part {
    uint32_t first_kernel, kernel_count;
    bool host;
} sinter_llvm_part;

/* What the modules of one program share. */
typedef struct sinter_llvm_emission {
    const sinter_loop_program *program; /* legalized */
    const sinter_target *target;
    int level;
    const char *symbol; /* of the artifact function */
    const char *weights_symbol; /* of the blob in the same object; NULL: it is given with the call */
    const char *const *kernel_names; /* NULL, for a part of one kernel: it is nameless (object.h) */
    const uint64_t *weight_offsets;
    uint64_t weight_bytes, weights_hash;
    const sinter_device_images *images; /* NULL: kernels run on the host */
} sinter_llvm_emission;

/* ---- llvm.c ---- */
bool sinter_llvm_emit_module(sinter_llvm_module *module, sinter_llvm_part part, const char *symbol);
const char *sinter_llvm_kernel_symbol(sinter_arena *arena, const char *name); /* of the kernel of that name */
void sinter_llvm_fail(sinter_llvm_module *module, const char *format, ...) __attribute__((format(printf, 2, 3)));
LLVMValueRef sinter_llvm_add_function(sinter_llvm_module *module, const char *name, LLVMTypeRef type);
void sinter_llvm_attribute(sinter_llvm_module *module, LLVMValueRef function, unsigned index, const char *name, uint64_t value);
/* Keeps optimization away: host code is long, runs once a call and would take most of the compile time. */
void sinter_llvm_leave_plain(sinter_llvm_module *module, LLVMValueRef function);
/* Begins a body: entry block for allocas, a block after it where the builder stands. */
void sinter_llvm_begin(sinter_llvm_function *f, sinter_llvm_module *module, const sinter_loop_function *function,
                       LLVMValueRef value);
void sinter_llvm_end(sinter_llvm_function *f); /* closes the entry block */
LLVMValueRef sinter_llvm_int(sinter_llvm_module *module, int64_t value); /* i64 */
LLVMValueRef sinter_llvm_int32(sinter_llvm_module *module, int32_t value);
LLVMValueRef sinter_llvm_entry_alloca(sinter_llvm_function *f, LLVMTypeRef type, const char *name);
LLVMBasicBlockRef sinter_llvm_block(sinter_llvm_function *f, const char *name);
/* The intrinsic (overloaded by types) or libc function called; arguments are scalars or vectors as it wants them. */
LLVMValueRef sinter_llvm_intrinsic(sinter_llvm_function *f, const char *name, LLVMTypeRef *types, unsigned type_count,
                                   LLVMValueRef *arguments, unsigned count);
LLVMValueRef sinter_llvm_library(sinter_llvm_function *f, const char *name, LLVMTypeRef result, LLVMValueRef *arguments,
                                 unsigned count);
/* Field of a struct of abi.h by its byte offset. */
LLVMValueRef sinter_llvm_field(sinter_llvm_function *f, LLVMValueRef base, size_t offset);
LLVMValueRef sinter_llvm_load_field(sinter_llvm_function *f, LLVMTypeRef type, LLVMValueRef base, size_t offset);
/* Loads services->entry (an offset in sinter_abi_services) of f->call; the builder ends up where it is there,
 * *out_otherwise is where it is not: no services, or older ones, or an empty entry. */
LLVMValueRef sinter_llvm_load_service(sinter_llvm_function *f, size_t entry, LLVMValueRef *out_user,
                                      LLVMBasicBlockRef *out_otherwise);
void sinter_llvm_store_field(sinter_llvm_function *f, LLVMValueRef value, LLVMValueRef base, size_t offset);

/* ---- llvm_expr.c ---- */
LLVMTypeRef sinter_llvm_value_type(sinter_llvm_module *module, sinter_dtype dtype); /* bool is i1 in values */
bool sinter_llvm_is_vector(LLVMValueRef value);
LLVMValueRef sinter_llvm_splat(sinter_llvm_function *f, LLVMValueRef value, uint32_t lanes); /* a scalar to so many lanes */
LLVMValueRef sinter_llvm_widen(sinter_llvm_function *f, LLVMValueRef value); /* a scalar to all lanes */
LLVMTypeRef sinter_llvm_like(LLVMValueRef like, LLVMTypeRef scalar);         /* with the lanes of `like` */
void sinter_llvm_forget(sinter_llvm_function *f); /* loads and mutable reads may differ from here on */
LLVMValueRef sinter_llvm_expr(sinter_llvm_function *f, const sinter_loop_expr *expr);
/* Coefficient of the lane in an index expression; false where it is not affine. */
bool sinter_llvm_lane_stride(const sinter_llvm_function *f, const sinter_loop_expr *expr, int64_t *out_stride);
LLVMValueRef sinter_llvm_load(sinter_llvm_function *f, sinter_loop_buffer buffer, const sinter_loop_expr *const *indices);
void sinter_llvm_store(sinter_llvm_function *f, sinter_loop_buffer buffer, const sinter_loop_expr *const *indices,
                       LLVMValueRef value);
/* Address of one element, indices taken at lane 0. */
LLVMValueRef sinter_llvm_address(sinter_llvm_function *f, sinter_loop_buffer buffer, const sinter_loop_expr *const *indices);
void sinter_llvm_prefetch(sinter_llvm_function *f, sinter_loop_buffer buffer, const sinter_loop_expr *const *indices);
LLVMValueRef sinter_llvm_buffer_base(sinter_llvm_function *f, sinter_loop_buffer buffer);

/* ---- llvm_scalar.c: operands of one lane count ---- */
LLVMValueRef sinter_llvm_call(sinter_llvm_function *f, sinter_scalar_function function, sinter_dtype dtype,
                              LLVMValueRef *arguments, uint32_t count); /* dtype: of the operands */
/* within: a float that no i32 saturates from, if it is a number. */
LLVMValueRef sinter_llvm_cast(sinter_llvm_function *f, LLVMValueRef value, sinter_dtype from, sinter_dtype to, bool within);
/* cast(i32, min(max(round_even(v) + z, low), high)), as such or in an 8-bit type that holds it; NULL: not of that form, or
 * the target has no instruction for it. */
LLVMValueRef sinter_llvm_round(sinter_llvm_function *f, const sinter_loop_expr *cast);
/* Four of these that fill a byte each, put together as one i32; NULL as above. */
LLVMValueRef sinter_llvm_round_word(sinter_llvm_function *f, const sinter_loop_expr *expr);
/* Four bytes put together, as one load; NULL: not of that form. */
LLVMValueRef sinter_llvm_word(sinter_llvm_function *f, const sinter_loop_expr *expr);
/* The stores from this one on that take a word apart, as one: the last of them; NULL: not of that form. */
const sinter_loop_stmt *sinter_llvm_store_word(sinter_llvm_function *f, const sinter_loop_stmt *first);
/* A load whose lanes lie `stride` elements apart, as shuffles of rows of scratch; NULL: not of that form (llvm_turn.c). */
LLVMValueRef sinter_llvm_turn(sinter_llvm_function *f, sinter_loop_buffer buffer, const sinter_loop_expr *const *indices,
                              int64_t stride);
/* A load whose lanes lie `stride` elements apart, as shuffles of vectors, and with a mask of vectors of what its lanes read alone; NULL: too far apart, or
 * elements of less than a byte. */
LLVMValueRef sinter_llvm_apart(sinter_llvm_function *f, sinter_loop_buffer buffer, const sinter_loop_expr *const *indices,
                               int64_t stride);
/* The i32 whose value the 8-bit expression has, because it was clamped; otherwise the expression. */
const sinter_loop_expr *sinter_llvm_wide_form(const sinter_loop_expr *expr);
/* ---- llvm_instruction.c: operands are vectors, scalars or both ---- */
LLVMValueRef sinter_llvm_dot(sinter_llvm_function *f, sinter_loop_intrinsic intrinsic, LLVMValueRef *arguments);
LLVMValueRef sinter_llvm_scale(sinter_llvm_function *f, LLVMValueRef *arguments); /* f32; needs avx512vl */
/* f32: which of 16 numbers the last four bits choose. */
LLVMValueRef sinter_llvm_entry(sinter_llvm_function *f, const float *numbers, LLVMValueRef value);
/* The bytes of a table of 256 at the places that a vector of bytes says; needs avx512vbmi. */
LLVMValueRef sinter_llvm_lookup(sinter_llvm_function *f, LLVMValueRef table, LLVMValueRef bytes);

/* ---- llvm_stmt.c ---- */
void sinter_llvm_statements(sinter_llvm_function *f, const sinter_loop_stmt *first);
void sinter_llvm_bind_var(sinter_llvm_function *f, sinter_loop_var var, LLVMValueRef value);

/* ---- llvm_parallel.c ---- */
/* The loop and those that are joined to it; the last of them. */
const sinter_loop_stmt *sinter_llvm_parallel_for(sinter_llvm_function *f, const sinter_loop_stmt *first);
/* snprintf(target, size, format, arguments...) */
void sinter_llvm_print(sinter_llvm_function *f, LLVMValueRef target, LLVMValueRef size, const char *format,
                       const LLVMValueRef *arguments, uint32_t count);
/* Records the failure in the call, first one wins. */
void sinter_llvm_record_failure(sinter_llvm_function *f, int32_t code, const char *message, LLVMValueRef *arguments,
                                uint32_t count);

/* ---- llvm_host.c ---- */
void sinter_llvm_host_statement(sinter_llvm_function *f, const sinter_loop_stmt *statement);
bool sinter_llvm_emit_host(sinter_llvm_module *module, const char *symbol);

/* ---- llvm_plan.c ---- */
LLVMValueRef sinter_llvm_constant(sinter_llvm_module *module, LLVMValueRef value); /* the address of one */
LLVMValueRef sinter_llvm_text(sinter_llvm_module *module, const char *text);       /* NULL allowed */
LLVMValueRef sinter_llvm_rows(sinter_llvm_module *module, LLVMValueRef *rows, size_t count); /* of a table: all of one type */

/* ---- llvm_device.c ---- */
/* Body of the function on the host of a kernel that is launched; the caller returns 0 after it. */
void sinter_llvm_emit_launch(sinter_llvm_function *f, uint32_t kernel);
/* device->exchange(device->user, words, elements of the target); where the table ends before it the run fails. */
void sinter_llvm_device_exchange(sinter_llvm_function *f, LLVMValueRef words, const sinter_loop_buffer_info *target);
/* An element on the device, which the host waits for. */
LLVMValueRef sinter_llvm_device_read(sinter_llvm_function *f, LLVMValueRef address, LLVMTypeRef type, uint32_t bytes);

/* ---- llvm_object.c ---- */
LLVMTargetMachineRef sinter_llvm_machine_create(const sinter_target *target, int level, sinter_diag *diag);
/* Reports what is not success; false then. */
bool sinter_llvm_take_error(LLVMErrorRef error, const char *where, sinter_diag *diag);
/* Emits, verifies, optimizes and writes one module. The machine may be used again, by one thread at a time. cache: where an object of
 * the same module is looked for once it is emitted, and is put; NULL: nowhere. */
bool sinter_llvm_write_part(const sinter_llvm_emission *emission, sinter_llvm_part part, LLVMTargetMachineRef machine,
                            struct sinter_kernel_cache *cache, sinter_llvm_output output, sinter_text *out_bytes,
                            sinter_diag *diag);

/* ---- llvm_program.c ---- */
/* with_hash: hash the weights for the descriptor, which takes reading them. */
bool sinter_llvm_write(const sinter_loop_program *program, const sinter_target *target,
                       const sinter_codegen_options *options, sinter_llvm_output output, const char *symbol,
                       bool weights_in_object, bool with_hash, sinter_text *out_bytes, sinter_diag *diag);
