/* The loop IR: the one language between lowering and the emitters, for CPU and CUDA. Emitters, schedules and the
 * interpreter know nothing of neural-network ops.
 *
 * A program is a list of kernels, constants, and one host function that binds dims, plans memory and calls kernels.
 * Expressions are immutable and live in the program's arena; statements are lists that rewrites rebuild or edit.
 * Every variable and buffer is an id in its function's tables. Index arithmetic is i64.
 *
 * Axis kinds: serial; unroll (constant bounds, copied at emission); vector (lower 0, constant upper, a power of two: iterations run in
 * lockstep, loads and stores with stride 1 in it become vector accesses, ifs on it become masks); parallel (on the
 * caller's pool; only as the outermost loop of a kernel's top-level statements; iterations must not conflict);
 * block / thread (CUDA grid and block axes); mma (three loops that one instruction of a warp does: codegen/loops/mma.h); wgmma (four that one of
 * four warps does, in its own time: codegen/loops/wgmma.h).
 * A buffer of scope register must be indexed by constants, unrolled and vector axes only once unrolled; it becomes registers.
 *
 * Narrow floats (f16, bf16, f8*, f4) are storage: only loads, stores and casts touch them; lowering computes in f32.
 * Sub-byte integers likewise are cast to i32/i8 on load. Stores to sub-byte buffers are read-modify-write of a byte, so they must not
 * run in parallel or vector axes.
 *
 * Text (parse and print round-trip; docs/loops.md):
 *   kernel @matmul_3(%a: f32[M,384] in, %w: f32[6,384,64] in, %y: f32[M,384] out, M: i64) {
 *     for i in 0..M parallel {
 *       alloc %acc: f32[4,16] register
 *       for j in 0..4 unroll { for v in 0..16 vector { %acc[j,v] = 0.0:f32 } }
 *       for k in 0..384 { ... %acc[j,v] = fma(%a[i,k], %w[0,k,j * 16 + v], %acc[j,v]) ... }
 *       if i < M - 1 { ... } else { ... }
 *       let t: f32 = exp(%a[i,0])      // immutable
 *       var s: i64 = 0:i64             // mutable; s = s + 1:i64
 *       while s < 10:i64 { s = s + 1:i64 }
 *     }
 *   }
 * Test: tests/codegen/loops/, tests/unit/loop_test.c */
#pragma once
#include "ir/scalar.h"
#include "ir/tensor.h"

typedef uint32_t sinter_loop_var, sinter_loop_buffer; /* 0: none */

typedef enum sinter_loop_expr_kind {
    SINTER_LOOP_CONST,
    SINTER_LOOP_VAR,
    SINTER_LOOP_LOAD,
    SINTER_LOOP_CALL,     /* scalar function of ir/scalar.def */
    SINTER_LOOP_CAST,     /* numeric conversion; float to int truncates and saturates (NaN -> 0), int to int wraps */
    SINTER_LOOP_INTRINSIC /* row of codegen/loops/intrinsic.def: dot-accumulate, ... */
} sinter_loop_expr_kind;

typedef enum sinter_loop_intrinsic {
    SINTER_INTRINSIC_NONE,
#define INTRINSIC(name, arity, result, feature, doc) SINTER_INTRINSIC_##name,
#include "codegen/loops/intrinsic.def"
#undef INTRINSIC
    SINTER_INTRINSIC_COUNT
} sinter_loop_intrinsic;

typedef struct sinter_loop_intrinsic_info {
    const char *name;
    uint32_t arity;
    sinter_dtype result;
    const char *feature, *doc;
} sinter_loop_intrinsic_info;
extern const sinter_loop_intrinsic_info sinter_loop_intrinsic_infos[]; /* by sinter_loop_intrinsic */

typedef struct sinter_loop_expr {
    sinter_loop_expr_kind kind;
    sinter_dtype dtype; /* of the value */
    union {
        double float_value;
        int64_t int_value; /* integers and bool */
        sinter_loop_var var;
        sinter_loop_buffer buffer; /* LOAD: arguments are the indices, one per dim */
        sinter_scalar_function function;
        sinter_loop_intrinsic intrinsic;
        bool saturate; /* CAST to f8: saturate (default true) */
    };
    const struct sinter_loop_expr *const *arguments;
    uint32_t argument_count;
} sinter_loop_expr;

typedef enum sinter_loop_mma {
    SINTER_MMA_NONE,
#define MMA(name, left, right, sum, packed, architecture, warpgroup, factor) SINTER_MMA_##name,
#include "codegen/loops/mma.def"
#undef MMA
    SINTER_MMA_COUNT
} sinter_loop_mma;

typedef enum sinter_loop_axis {
    SINTER_AXIS_SERIAL,
    SINTER_AXIS_UNROLL,
    SINTER_AXIS_VECTOR,
    SINTER_AXIS_PARALLEL,
    SINTER_AXIS_BLOCK,
    SINTER_AXIS_THREAD,
    SINTER_AXIS_LDMATRIX,
    SINTER_AXIS_MMA,
    SINTER_AXIS_WGMMA
} sinter_loop_axis;

typedef enum sinter_loop_stmt_kind {
    SINTER_LOOP_FOR,     /* var, lower, upper (exclusive), step > 0, axis, body */
    SINTER_LOOP_IF,      /* condition, body, else_body */
    SINTER_LOOP_WHILE,   /* condition, body */
    SINTER_LOOP_STORE,   /* buffer, indices, value; combine != NONE: buffer[i] = combine(buffer[i], value); atomic. asynchronous: a
                            copy to shared memory that is under way until a WAIT says otherwise */
    SINTER_LOOP_DECLARE, /* var, value: let or var by the variable's `is_mutable` */
    SINTER_LOOP_ASSIGN,  /* var, value */
    SINTER_LOOP_ALLOC,   /* buffer, until the end of the enclosing block (heap: see below) */
    SINTER_LOOP_CALL_KERNEL, /* host: kernel, buffer_arguments, arguments (its scalar parameters in order) */
    SINTER_LOOP_FAIL,    /* host or kernel: stop the run with status `code` and text `message`; arguments (i64) fill %0 %1 */
    SINTER_LOOP_BARRIER, /* CUDA block barrier */
    SINTER_LOOP_COMMIT,  /* CUDA: the copies that a thread began since the last one are a group; products: what it began to multiply is */
    SINTER_LOOP_WAIT,    /* CUDA: until all groups of the thread but the last `pending` are done; what other threads copied is there
                            after a barrier behind it. products: of those, after which sums may be read, and operands, behind a
                            barrier, be overwritten */
    SINTER_LOOP_FENCE,   /* CUDA: what a thread wrote to shared memory, and a copy of its own that is done, is there for a wgmma axis
                            behind a barrier */
    SINTER_LOOP_WARPS,   /* CUDA: body is for the block's warps [first_warp, first_warp + warp_count) alone, which thread axes in it number from 0; pieces
                            of other warps go on meanwhile, as far as phases let them. Pieces follow each other in one of the orders that are right */
    SINTER_LOOP_BOX,     /* CUDA: a box of input `source` is copied to shared memory `buffer`, until a phase of buffer_arguments[0] is over; asynchronous.
                            codegen/loops/box.h has its arguments */
    SINTER_LOOP_ARRIVE,  /* CUDA: each warp of the piece has arrived at phases buffer[arguments]: what its threads did before, those see who await it, and
                            the boxes that it copies for these phases are there */
    SINTER_LOOP_AWAIT,   /* CUDA: until phase number `value` of buffer[arguments] is over, for which all arrivals have come; the one before the first is */
    SINTER_LOOP_REDUCE,  /* CUDA: var = combine(var, the elements of register buffer `buffer`, one of each thread of the block),
                            in a tree: those at distances of 16, 8, 4, 2 and 1 within each 32, then the results of these so too */
    SINTER_LOOP_EXCHANGE, /* kernel: buffer gets what ranks of a mesh make of buffer `source`; runtime/abi.h has the kinds */
    SINTER_LOOP_PREFETCH, /* hint: buffer[arguments] is wanted in the cache soon; the element need not exist */
    SINTER_LOOP_COMMENT,
    SINTER_LOOP_FREE,    /* host: heap buffer is dead */
    SINTER_LOOP_BIND,    /* host: buffer (scope alias) = other buffer's memory from element offset `value`, new shape */
    SINTER_LOOP_TAKE     /* host: heap buffer gives its memory back and takes that of heap buffer `source`, which has none
                            then; its dims are what they are now. What grows from round to round of a loop lives so. The
                            memory of both comes from the allocator, never from the workspace */
} sinter_loop_stmt_kind;

/* Of EXCHANGE: fields of sinter_abi_exchange. */
typedef struct sinter_loop_exchange {
    int32_t kind, reduction, dtype;
    uint32_t index;
    uint64_t over;
    int32_t from, to; /* -1: none */
    int32_t phase;    /* 0: all of it; SINTER_ABI_EXCHANGE_BEGINS: buffer is written until the statement with _ENDS, of the same words, is done,
                         and source is read */
} sinter_loop_exchange;

typedef struct sinter_loop_stmt {
    sinter_loop_stmt_kind kind;
    sinter_loop_axis axis;
    sinter_loop_mma mma; /* FOR, axis mma or wgmma: the instruction */
    sinter_loop_var var;
    sinter_loop_buffer buffer, source;
    const sinter_loop_expr *lower, *upper, *value; /* value doubles as condition */
    int64_t step;
    const sinter_loop_expr *const *arguments; /* indices of a store, scalars of a call */
    uint32_t argument_count;
    const sinter_loop_buffer *buffer_arguments;
    uint32_t buffer_argument_count;
    uint32_t kernel; /* index in program */
    int32_t code;    /* of FAIL: SINTER_ABI_* */
    sinter_scalar_function combine;
    sinter_loop_exchange exchange;
    bool atomic, asynchronous;
    uint32_t pending; /* WAIT: groups that may still be under way */
    bool products;    /* COMMIT, WAIT: of wgmma axes, not of copies */
    uint32_t first_warp, warp_count; /* WARPS */
    uint32_t box_rank; /* BOX: dims of what it sees the input as */
    bool copies;      /* CALL_KERNEL: makes the second buffer what the first is, and nothing else; not needed where both are
                         in one memory */
    int64_t grain;    /* FOR, parallel, not joined: iterations that are worth a thread, in parts of SINTER_ABI_GRAIN_PARTS, of the
                         longest of those that are joined to it; 0: nobody said, one is */
    bool joined;      /* FOR, parallel: may run at the same time as the parallel loops right before it */
    const char *text; /* comment, fail message; of a call the nodes that it computes, where the kernel may fail; NULL: not said */
    struct sinter_loop_stmt *body, *else_body; /* first of a list */
    struct sinter_loop_stmt *next;
} sinter_loop_stmt;

typedef enum sinter_loop_scope {
    SINTER_SCOPE_INPUT,    /* parameter, read only */
    SINTER_SCOPE_OUTPUT,   /* parameter, written before it is read */
    SINTER_SCOPE_INOUT,    /* parameter */
    SINTER_SCOPE_CONSTANT, /* host: constant of the program, by index */
    SINTER_SCOPE_REGISTER, /* small, constant shape */
    SINTER_SCOPE_STACK,    /* thread-local scratch; of bounded size once a schedule has moved the rest to memory of the plan */
    SINTER_SCOPE_SHARED,   /* CUDA block memory */
    SINTER_SCOPE_HEAP,     /* host: planned into the workspace (or allocated where the size is known late) */
    SINTER_SCOPE_ALIAS     /* host: bound by SINTER_LOOP_BIND */
} sinter_loop_scope;

enum { SINTER_LOOP_SWIZZLE = 128, SINTER_LOOP_SWIZZLE_ROWS = 8 };
typedef struct sinter_loop_buffer_info {
    const char *name;
    sinter_dtype dtype;
    uint32_t rank;
    const sinter_loop_expr *const *dims; /* row-major, packed */
    sinter_loop_scope scope;
    uint32_t constant; /* index in program constants */
    int32_t io_index;  /* host: which model input/output, -1 otherwise */
    uint32_t alignment; /* parameter: bytes that its address is a multiple of, as the host sees to; 0: those of an element */
    uint32_t swizzle;   /* shared: SINTER_LOOP_SWIZZLE where rows of that many bytes have their 16-byte pieces in another order, as wgmma
                           reads them: piece p of row r is the (p ^ r % 8)th. Indices know nothing of it. 0: as they come */
    uint32_t arrivals;  /* shared: its elements count phases, each of so many warps' arrivals, and are neither read nor written; 0: it is memory */
} sinter_loop_buffer_info;

typedef struct sinter_loop_var_info {
    const char *name;
    sinter_dtype dtype;
    bool is_mutable;
    bool is_parameter;
    int64_t min, max; /* integers: what is known, inclusive. Loop variables have it from their bounds, lets from their
                         value, parameters from sinter_loop_set_range */
} sinter_loop_var_info;

typedef struct sinter_loop_function {
    const char *name;
    const char *comment; /* nodes it computes, for dumps */
    SINTER_VECTOR(sinter_loop_var_info) vars;       /* [0] unused */
    SINTER_VECTOR(sinter_loop_buffer_info) buffers; /* [0] unused */
    SINTER_VECTOR(sinter_loop_buffer) buffer_parameters;
    SINTER_VECTOR(sinter_loop_var) scalar_parameters;
    sinter_loop_stmt *body;
} sinter_loop_function;

typedef struct sinter_loop_io {
    const char *name;
    sinter_dtype dtype;
    uint32_t rank;
    const char *const *dim_names; /* printed dims */
    const int64_t *dims;          /* number, or -1 where symbolic */
    const sinter_loop_expr *const *dim_exprs; /* outputs: over symbols; NULL entries are known only during the run */
} sinter_loop_io;

typedef struct sinter_loop_constant {
    sinter_tensor tensor; /* references the module's storage where unpacked */
} sinter_loop_constant;

/* A dim that is bound on entry, before the host function runs: from an input's dims, or (content) from element `index` of a
 * small integer input's data. These are the host's first scalar parameters, in this order. */
typedef struct sinter_loop_symbol {
    const char *name;
    int64_t min, max, multiple;
    uint32_t input, index;
    bool content;
} sinter_loop_symbol;

/* Checked on entry: inputs[input].dims[axis] == expected (over symbols). */
typedef struct sinter_loop_check {
    uint32_t input, axis;
    const sinter_loop_expr *expected;
} sinter_loop_check;

/* The output may take the memory of the input; see sinter_abi_donation. */
typedef struct sinter_loop_donation {
    uint32_t output, input;
} sinter_loop_donation;

typedef struct sinter_loop_program {
    sinter_arena arena; /* owns everything but constant storage */
    const char *name;
    SINTER_VECTOR(sinter_loop_function *) kernels;
    sinter_loop_function *host;
    SINTER_VECTOR(sinter_loop_constant) constants;
    SINTER_VECTOR(sinter_loop_io) inputs;
    SINTER_VECTOR(sinter_loop_io) outputs;
    SINTER_VECTOR(sinter_loop_symbol) symbols;
    SINTER_VECTOR(sinter_loop_check) checks;
    const sinter_loop_expr *workspace_bytes; /* over symbols; set by plan_memory, NULL before */
    SINTER_VECTOR(sinter_loop_donation) donations; /* set by plan_memory */
} sinter_loop_program;

/* The host function: scalar_parameters are the symbols; its buffers of scope INPUT/OUTPUT are the model's (io_index),
 * CONSTANT the weights. Symbols that only the run can tell are declared variables, loaded from buffers after the kernel that
 * makes them. ALLOC of a HEAP buffer: value is its byte offset in the workspace, or NULL (before planning, and
 * where the size depends on a late variable: then memory comes from services->allocate until FREE, the next ALLOC of the
 * same buffer or the end of the run, not of the block: an alias may carry it out).
 * ALLOC of an OUTPUT: its dims are known now; the caller's memory is checked or memory is taken. */

sinter_loop_program *sinter_loop_program_create(const char *name);
void sinter_loop_program_destroy(sinter_loop_program *program);

/* A loop that nothing is said of yet; false for NULL. */
static inline bool sinter_loop_is_serial(const sinter_loop_stmt *stmt) {
    return stmt && stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_SERIAL;
}

/* The statement gives its variable, which was declared before, a new value. */
static inline bool sinter_loop_assigns(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_ASSIGN || stmt->kind == SINTER_LOOP_REDUCE;
}

/* The expression is a call of this function. */
static inline bool sinter_loop_is_call(const sinter_loop_expr *expr, sinter_scalar_function function) {
    return expr->kind == SINTER_LOOP_CALL && expr->function == function;
}

/* ---- building: expressions fold constants and simplify index arithmetic as they are made ---- */
/* A body that is open: its address names the block while the arena lives. */
struct sinter_loop_open {
    struct sinter_loop_open *outer;
    sinter_loop_stmt *stmt;
};
typedef struct sinter_loop_builder {
    sinter_loop_program *program;
    sinter_arena *arena;
    sinter_loop_function *function;
    sinter_loop_stmt **tail; /* where the next statement is linked, before what is there already */
    sinter_loop_stmt *last;  /* appended or closed last, for begin_else */
    struct sinter_loop_open *open; /* innermost open body */
} sinter_loop_builder;
typedef const sinter_loop_expr *sinter_expr;
/* All operands of an expression are evaluated, those of select and and too: a load that must not happen needs an if. */

/* The caller pushes it to program->kernels or makes it program->host. Names of functions, variables and buffers become
 * identifiers: other characters turn into '_'. They need not be unique, printing takes care of it. */
sinter_loop_function *sinter_loop_function_create(sinter_loop_program *program, const char *name);
/* Appends to what the function has already. */
void sinter_loop_builder_init(sinter_loop_builder *builder, sinter_loop_program *program, sinter_loop_function *function);
sinter_loop_var sinter_loop_add_var(sinter_loop_builder *builder, const char *name, sinter_dtype dtype, bool is_mutable);
sinter_loop_var sinter_loop_add_parameter(sinter_loop_builder *builder, const char *name, sinter_dtype dtype);
/* A promise of the caller (the interpreter checks parameters), inclusive; simplification of / % < min max relies on it. */
void sinter_loop_set_range(sinter_loop_builder *builder, sinter_loop_var var, int64_t min, int64_t max);
/* Where the range of a parameter ends whose size nobody bounds: no tensor that has elements has a dim beyond. */
#define SINTER_LOOP_OPEN_SIZE (INT64_C(1) << 40)
/* The range of a loop's variable from its bounds, again after they changed. */
void sinter_loop_take_range(sinter_loop_builder *builder, const sinter_loop_stmt *loop);
/* The same where the bounds only became tighter: what the range said before stays true. */
void sinter_loop_narrow_range(sinter_loop_builder *builder, const sinter_loop_stmt *loop);
/* What the ranges of its variables imply; false (and the whole range) where nothing is known or it may wrap. */
bool sinter_loop_range(const sinter_loop_function *function, const sinter_loop_expr *expr, int64_t *out_min, int64_t *out_max);
/* Parameters (INPUT, OUTPUT, INOUT) are appended to buffer_parameters. dims are copied. */
sinter_loop_buffer sinter_loop_add_buffer(sinter_loop_builder *builder, const char *name, sinter_dtype dtype,
                                          uint32_t rank, const sinter_expr *dims, sinter_loop_scope scope);

sinter_expr sinter_loop_int(sinter_loop_builder *builder, int64_t value);                        /* i64 */
sinter_expr sinter_loop_const(sinter_loop_builder *builder, sinter_dtype dtype, double value);   /* converted */
sinter_expr sinter_loop_const_int(sinter_loop_builder *builder, sinter_dtype dtype, int64_t value);
sinter_expr sinter_loop_var_read(sinter_loop_builder *builder, sinter_loop_var var);
sinter_expr sinter_loop_load(sinter_loop_builder *builder, sinter_loop_buffer buffer, const sinter_expr *indices);
sinter_expr sinter_loop_call(sinter_loop_builder *builder, sinter_scalar_function function, const sinter_expr *arguments);
sinter_expr sinter_loop_cast(sinter_loop_builder *builder, sinter_expr value, sinter_dtype dtype);
/* To f8: saturate = false gives infinity or NaN past the largest value, as ONNX Cast does with saturate = 0. */
sinter_expr sinter_loop_cast_saturating(sinter_loop_builder *builder, sinter_expr value, sinter_dtype dtype, bool saturate);
sinter_expr sinter_loop_intrinsic_call(sinter_loop_builder *builder, sinter_loop_intrinsic intrinsic,
                                       const sinter_expr *arguments);
/* Shorthands over sinter_loop_call; operands of one dtype. */
sinter_expr sinter_loop_call2(sinter_loop_builder *builder, sinter_scalar_function function, sinter_expr a, sinter_expr b);
sinter_expr sinter_loop_add(sinter_loop_builder *builder, sinter_expr a, sinter_expr b);
sinter_expr sinter_loop_sub(sinter_loop_builder *builder, sinter_expr a, sinter_expr b);
sinter_expr sinter_loop_mul(sinter_loop_builder *builder, sinter_expr a, sinter_expr b);
sinter_expr sinter_loop_div(sinter_loop_builder *builder, sinter_expr a, sinter_expr b); /* i64: truncating */
sinter_expr sinter_loop_rem(sinter_loop_builder *builder, sinter_expr a, sinter_expr b);
sinter_expr sinter_loop_min(sinter_loop_builder *builder, sinter_expr a, sinter_expr b);
sinter_expr sinter_loop_max(sinter_loop_builder *builder, sinter_expr a, sinter_expr b);
sinter_expr sinter_loop_select(sinter_loop_builder *builder, sinter_expr condition, sinter_expr a, sinter_expr b);
sinter_expr sinter_loop_compare(sinter_loop_builder *builder, sinter_scalar_function comparison, sinter_expr a, sinter_expr b);
sinter_expr sinter_loop_and(sinter_loop_builder *builder, sinter_expr a, sinter_expr b); /* bool */
sinter_expr sinter_loop_or(sinter_loop_builder *builder, sinter_expr a, sinter_expr b);
/* An exact copy of *pattern and its argument list, nothing simplified: for the parser and for rebuilding. */
sinter_expr sinter_loop_expr_make(sinter_arena *arena, const sinter_loop_expr *pattern);
/* What a scalar function yields on operands of these types. */
sinter_dtype sinter_loop_result_dtype(sinter_scalar_function function, const sinter_expr *arguments);
bool sinter_loop_is_const_int(sinter_expr expr, int64_t *out_value);
bool sinter_loop_expr_equal(sinter_expr a, sinter_expr b);
/* Bytes of a buffer where its dims are numbers. */
bool sinter_loop_static_bytes(const sinter_loop_buffer_info *buffer, uint64_t *out_bytes);
/* Elements at most, by the dims from `first` on, as far as ranges tell; false where they don't. */
bool sinter_loop_most_elements(const sinter_loop_function *function, const sinter_loop_buffer_info *buffer, uint32_t first,
                               int64_t *out_count);
enum { SINTER_LOOP_MOST_SCRATCH = 1 << 28 }; /* elements of one buffer that an emitter lays out in a kernel */
/* Iterations of a vector axis that become lanes, and partial results that a verb makes of a reduction; longer vector axes run one by one. */
enum { SINTER_LOOP_MOST_LANES = 256 };

/* Statements are appended at the builder's position. begin_* opens a body, end closes the innermost open one. */
sinter_loop_var sinter_loop_begin_for(sinter_loop_builder *builder, const char *name, sinter_expr lower,
                                      sinter_expr upper, int64_t step, sinter_loop_axis axis);
/* The same over a variable that is there already, and no loop's. */
void sinter_loop_begin_for_var(sinter_loop_builder *builder, sinter_loop_var var, sinter_expr lower, sinter_expr upper,
                               int64_t step, sinter_loop_axis axis);
void sinter_loop_begin_if(sinter_loop_builder *builder, sinter_expr condition);
void sinter_loop_begin_else(sinter_loop_builder *builder); /* right after the if's end */
void sinter_loop_begin_while(sinter_loop_builder *builder, sinter_expr condition);
void sinter_loop_end(sinter_loop_builder *builder);
void sinter_loop_store(sinter_loop_builder *builder, sinter_loop_buffer buffer, const sinter_expr *indices, sinter_expr value);
void sinter_loop_store_combine(sinter_loop_builder *builder, sinter_loop_buffer buffer, const sinter_expr *indices,
                               sinter_scalar_function combine, sinter_expr value, bool atomic);
sinter_loop_var sinter_loop_declare(sinter_loop_builder *builder, const char *name, bool is_mutable, sinter_expr value);
void sinter_loop_assign(sinter_loop_builder *builder, sinter_loop_var var, sinter_expr value);
void sinter_loop_alloc(sinter_loop_builder *builder, sinter_loop_buffer buffer);
void sinter_loop_free(sinter_loop_builder *builder, sinter_loop_buffer buffer);
void sinter_loop_bind(sinter_loop_builder *builder, sinter_loop_buffer buffer, sinter_loop_buffer source, sinter_expr offset);
void sinter_loop_take(sinter_loop_builder *builder, sinter_loop_buffer buffer, sinter_loop_buffer source);
void sinter_loop_barrier(sinter_loop_builder *builder);
void sinter_loop_commit(sinter_loop_builder *builder);
void sinter_loop_wait(sinter_loop_builder *builder, uint32_t pending);
/* The same of what wgmma axes began. */
void sinter_loop_commit_products(sinter_loop_builder *builder);
void sinter_loop_wait_products(sinter_loop_builder *builder, uint32_t pending);
void sinter_loop_fence(sinter_loop_builder *builder);
void sinter_loop_begin_warps(sinter_loop_builder *builder, uint32_t first, uint32_t count);
/* SINTER_LOOP_BOX with its arguments as box.h has them; sinter_loop_copy_box makes these. */
void sinter_loop_box_statement(sinter_loop_builder *builder, sinter_loop_buffer buffer, sinter_loop_buffer source, sinter_loop_buffer phases,
                               const sinter_expr *arguments, uint32_t count, uint32_t box_rank);
void sinter_loop_arrive(sinter_loop_builder *builder, sinter_loop_buffer phases, sinter_expr index);
void sinter_loop_await(sinter_loop_builder *builder, sinter_loop_buffer phases, sinter_expr index, sinter_expr phase);
void sinter_loop_reduce(sinter_loop_builder *builder, sinter_loop_var var, sinter_scalar_function combine,
                        sinter_loop_buffer buffer);
/* Of all elements of both, which are packed. Those of less than a byte are exchanged as bytes, which both are a whole number of. */
void sinter_loop_exchange_with(sinter_loop_builder *builder, sinter_loop_buffer buffer, sinter_loop_buffer source,
                               const sinter_loop_exchange *exchange);
void sinter_loop_comment(sinter_loop_builder *builder, const char *text);
void sinter_loop_prefetch(sinter_loop_builder *builder, sinter_loop_buffer buffer, const sinter_expr *indices);
/* The message's %0, %1 ... become the arguments' values, %% a percent sign. */
void sinter_loop_fail(sinter_loop_builder *builder, int32_t code, const char *message, const sinter_expr *arguments, uint32_t count);
/* ", in NODES" for the end of a failure's message, shortened; "" where nodes is NULL. */
const char *sinter_loop_failure_place(sinter_arena *arena, const char *nodes);
/* As a part of a message of sinter_loop_fail. */
const char *sinter_loop_fail_text(sinter_arena *arena, const char *text);
void sinter_loop_call_kernel(sinter_loop_builder *builder, uint32_t kernel, const sinter_loop_buffer *buffers,
                             uint32_t buffer_count, const sinter_expr *scalars, uint32_t scalar_count);

/* ---- the four things that run on every program in tests ---- */
void sinter_loop_print(const sinter_loop_program *program, sinter_text *text);
/* program: NULL for a kernel that stands alone. */
void sinter_loop_print_function(const sinter_loop_program *program, const sinter_loop_function *function, sinter_text *text);
/* NULL after errors ("path:line:column: error: ..."). The caller destroys the program. */
sinter_loop_program *sinter_loop_parse(const char *path, const char *text, size_t size, sinter_diag *diag);
/* Bounds where they can be proven or refuted, conflicting writes on parallel and vector axes, scratch read before it
 * is written, types, scopes. Labels [loop_c1]... */
bool sinter_loop_verify(const sinter_loop_program *program, sinter_diag *diag);
/* Runs one function: buffers[i] for buffer_parameters[i] (data mutable for outputs), scalars for scalar_parameters.
 * Checks every access. */
bool sinter_loop_interpret(const sinter_loop_program *program, const sinter_loop_function *function,
                           sinter_tensor *buffers, const int64_t *scalars, sinter_diag *diag);
/* Runs the host function on model inputs; outputs are created. */
bool sinter_loop_interpret_host(const sinter_loop_program *program, const sinter_tensor *inputs, size_t input_count,
                                sinter_tensor *out_outputs, size_t output_count, sinter_diag *diag);
