/* Shared by the files of the C emitter; nobody else includes it.
 *
 * Needs a program legalized for no target. Gives C17 text that compiles alone. Axes are plain loops, which a C compiler
 * unrolls and vectorizes as it sees fit. Test: tests/unit/emit_test.c, tests/codegen/emit_c/ */
#pragma once
#include "codegen/compile.h"
#include "codegen/loops/uses.h"

/* What the dialects of C spell in their own ways: rows in c.c and cuda.c. */
typedef struct sinter_c_dialect {
    bool device;           /* kernels run on a device: one function a kernel, axes of blocks and threads, no calls */
    const char *input;     /* of a parameter, with its type and name */
    const char *output;
    const char *scratch;   /* of memory of a thread, with its type, name and count */
    const char *shared;    /* the same of a block */
    const char *swizzled;  /* the same in rows of 128 bytes whose pieces wgmma reads in its order */
    const char *vector;    /* in front of loops, or NULL */
    const char *unroll;
    const char *barrier;
} sinter_c_dialect;
extern const sinter_c_dialect sinter_c_plain;

typedef struct sinter_c_emitter {
    const sinter_loop_program *program;
    const sinter_c_dialect *dialect;
    const sinter_loop_function *function; /* being written */
    sinter_text *text;                    /* where statements go */
    sinter_text *bodies;                  /* functions of parallel loops, before the kernel */
    sinter_loop_uses uses;                   /* of the function's body */
    sinter_arena *arena;
    sinter_diag *diag;
    const char **vars, **buffers; /* C names by id */
    sinter_map temporaries;       /* expression -> number of its temporary, in the current statement */
    uint32_t temporary_count;
    uint32_t body_count;
    int indent;
    bool *kernel_fails; /* by kernel */
    bool is_host, in_parallel, fails;
    bool in_thread;       /* device: inside of a thread axis, or there is one thread */
    uint32_t threads[3];  /* device: of a block, x y z */
    const struct sinter_device_launch *launch; /* device: of the kernel */
    bool asks_shared;     /* device: the launch gives the block's memory, of which so many bytes are taken */
    bool asks_swizzled;   /* device: some of it is swizzled, so that all of it begins at a multiple of what that needs */
    uint64_t shared_taken;
    bool *spread;         /* device: by buffer, registers that are declared outside of the thread axis */
    uint32_t piece_first, piece_count; /* device: the warps whose pieces are written; none: what is for all of a block */
    uint32_t *piece_warps; /* device: by buffer, how many warps the pieces have that touch it, 0: none do; NULL: there are no pieces */
    uint32_t fail_count;  /* device: failures in the kernel so far, each with a message of its own */
    bool alone;           /* device: the text of one kernel alone */
    sinter_loop_var lane; /* device: of the vector axis whose accesses are wide; 0: none */
    sinter_map wide;      /* device: load or store in it -> number of what is read before and written after all lanes */
    uint32_t wide_count;
    bool checked; /* i64 arithmetic notes overflows */
    bool overflows, jumps; /* host: the text mentions `overflow`, `failure` */
    bool *printed;         /* variables that the text mentions, so far */
    const bool *mentioned; /* those that all of it does; NULL at first */
    uint32_t *owned;       /* host: which memory taken during the run is the buffer's, from 1 */
    uint32_t owned_count;
    const uint64_t *weight_offsets;
    uint64_t weight_bytes;
    bool broken;
} sinter_c_emitter;

/* ---- c_expr.c ---- */
const char *sinter_c_type(sinter_dtype dtype);   /* of a value */
const char *sinter_c_memory(sinter_dtype dtype); /* of an element */
void sinter_c_line(sinter_c_emitter *e);         /* indentation */
void sinter_c_error(sinter_c_emitter *e, const char *message);
/* Declares temporaries for what the expressions of the coming statement share; NULLs are skipped. */
void sinter_c_share(sinter_c_emitter *e, const sinter_loop_expr *const *exprs, size_t count);
void sinter_c_expr(sinter_c_emitter *e, const sinter_loop_expr *expr, sinter_text *text);
/* An index or bound: overflow is no concern. */
void sinter_c_index(sinter_c_emitter *e, const sinter_loop_expr *expr, sinter_text *text);
/* "buffer[i * 4 + j]" */
void sinter_c_element(sinter_c_emitter *e, sinter_loop_buffer buffer, const sinter_loop_expr *const *indices,
                      sinter_text *text);
/* "i * 4 + j", which lives in the emitter's arena. */
const char *sinter_c_position(sinter_c_emitter *e, sinter_loop_buffer buffer, const sinter_loop_expr *const *indices);
/* "function(a, b)" for operand texts, as in an update. */
void sinter_c_apply(sinter_c_emitter *e, sinter_scalar_function function, sinter_dtype dtype, const char *const *operands,
                    sinter_text *text);
const char *sinter_c_strip(sinter_c_emitter *e, const char *text);
void sinter_c_string(sinter_text *text, const char *string); /* a C literal */
/* What may stand in a comment: names come from models. */
const char *sinter_c_comment(sinter_arena *arena, const char *string);

/* ---- c.c ---- */
extern const char sinter_c_scalars[]; /* text of c_scalars.h */
void sinter_c_begin_function(sinter_c_emitter *e, const sinter_loop_function *function);
void sinter_c_statements(sinter_c_emitter *e, const sinter_loop_stmt *first);
void sinter_c_write(sinter_c_emitter *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes a kernel with `write`, twice: the first time tells which variables the text mentions. */
void sinter_c_kernel(sinter_c_emitter *e, uint32_t index, sinter_text *out,
                     void (*write)(sinter_c_emitter *e, uint32_t index));
/* Buffers and scalars of the kernel; a separator before the first. */
void sinter_c_parameters(sinter_c_emitter *e, const char *separator);
/* Each thread has the part of the registers that its axes, the first dims, index: how many dims these are. */
uint32_t sinter_c_spread_dims(const sinter_c_emitter *e, sinter_loop_buffer buffer);
const char *sinter_c_index_text(sinter_c_emitter *e, const sinter_loop_expr *expr);
const char *sinter_c_condition_text(sinter_c_emitter *e, const sinter_loop_expr *expr);

/* ---- cuda.c ---- */
void sinter_cuda_for(sinter_c_emitter *e, const sinter_loop_stmt *loop); /* a block or thread axis */
void sinter_cuda_fail(sinter_c_emitter *e, const sinter_loop_stmt *fail);
void sinter_cuda_shared(sinter_c_emitter *e, const sinter_loop_stmt *alloc, int64_t count);
void sinter_cuda_mma(sinter_c_emitter *e, const sinter_loop_stmt *loop);
void sinter_cuda_ldmatrix(sinter_c_emitter *e, const sinter_loop_stmt *loop);
void sinter_cuda_wgmma(sinter_c_emitter *e, const sinter_loop_stmt *loop);
void sinter_cuda_order(sinter_c_emitter *e, const sinter_loop_stmt *s); /* commit, wait, fence, arrive and await */
void sinter_cuda_box(sinter_c_emitter *e, const sinter_loop_stmt *box);
void sinter_cuda_phases(sinter_c_emitter *e, const sinter_loop_stmt *alloc); /* behind the memory of them */
/* Statements from here on, of a kernel that has pieces of warps: for the warps of each piece all that is for them. False: there is no piece among them. */
bool sinter_cuda_pieces(sinter_c_emitter *e, const sinter_loop_stmt *first);
/* What is written is for other warps than the statement, a piece or one that has pieces. */
bool sinter_cuda_is_for_others(const sinter_c_emitter *e, const sinter_loop_stmt *s);
void sinter_cuda_update(sinter_c_emitter *e, const sinter_loop_stmt *store); /* atomic */
/* ---- cuda_vector.c ---- */
void sinter_cuda_vector(sinter_c_emitter *e, const sinter_loop_stmt *loop);
void sinter_cuda_copy(sinter_c_emitter *e, const sinter_loop_stmt *store); /* asynchronous, of one element */
/* A branch that copies, or else writes zeros to the same place under way, is one copy. False: it is another branch. */
bool sinter_cuda_copy_or_zero(sinter_c_emitter *e, const sinter_loop_stmt *branch);

void sinter_cuda_reduce(sinter_c_emitter *e, const sinter_loop_stmt *reduce);

/* ---- c_parallel.c ---- */
/* The loop and those that are joined to it; the last of them. */
const sinter_loop_stmt *sinter_c_parallel_for(sinter_c_emitter *e, const sinter_loop_stmt *first);

/* ---- c_host.c ---- */
void sinter_c_jump(sinter_c_emitter *e, const char *condition); /* "if (...) " or "" */
void sinter_c_host_statement(sinter_c_emitter *e, const sinter_loop_stmt *statement);
void sinter_c_host_end_block(sinter_c_emitter *e, const sinter_loop_stmt *first);
void sinter_c_emit_host(sinter_c_emitter *e);
