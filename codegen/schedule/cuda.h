/* What the files of the CUDA schedule share. Private to codegen/schedule/cuda/. */
#pragma once
#include "codegen/compile.h"
#include "codegen/loops/access.h"
#include "codegen/loops/mma.h"
#include "codegen/schedule/promise.h"
#include "codegen/schedule/schedule.h"

typedef struct sinter_schedule_cuda_state {
    sinter_loop_program *program;
    const sinter_target *target;
    sinter_schedule schedule; /* of the kernel at hand */
    sinter_arena scratch;
    sinter_schedule_promises promises; /* kept when all kernels are scheduled */
} sinter_schedule_cuda_state;

/* A block for each row, whose elements its threads share. `nest`: the loop at the top level of a kernel. True: it is scheduled;
 * false: the kernel may be in pieces, and the caller puts it back. */
bool sinter_schedule_cuda_rows(sinter_schedule_cuda_state *state, sinter_loop_var nest);
/* Tiles of a contraction, which a block's threads share (schedule/cuda/contraction.c); like sinter_schedule_cuda_rows. */
bool sinter_schedule_cuda_contraction(sinter_schedule_cuda_state *state, sinter_loop_var nest);
/* What is around a contraction that stands in a block: warps of 32 lanes, or of 8 groups of 4, as instructions for matrices see them. */
typedef struct sinter_schedule_cuda_around {
    int64_t warps; /* 0: nobody has chosen yet */
    bool grouped;
    int64_t blocks; /* of the launch, about */
    int64_t kept;   /* bytes of shared memory that the block has beside what is to come */
} sinter_schedule_cuda_around;
/* Tiles of such a contraction, one after the other. The first one chooses the threads of the block. out_outer: the outermost loop over them.
 * False: the function is as it was. */
bool sinter_schedule_cuda_contraction_inside(sinter_schedule_cuda_state *state, sinter_loop_var nest, sinter_schedule_cuda_around *around,
                                             sinter_loop_var *out_outer);
/* A sum that few blocks would make is cut into parts (`split-sum`), where that is worth a second launch: the kernel is not one nest any more, and
 * has to be cut again. */
bool sinter_schedule_cuda_split(sinter_schedule_cuda_state *state, sinter_loop_var nest);
/* What is cast or rounded before it is multiplied, or the factor itself. */
sinter_expr sinter_schedule_cuda_strip_rounding(sinter_expr factor);

/* ---- schedule/cuda/weights.c ---- */
/* Constants that the kernel's contraction multiplies by are promised in the order of its reduction, where that is better. state->schedule is of
 * this kernel. */
void sinter_schedule_cuda_order_weights(sinter_schedule_cuda_state *state, uint32_t kernel, sinter_loop_var nest);

/* ---- schedule/cuda/tile.c ---- */
/* A contraction as the choice of its tile sees it. */
typedef struct sinter_schedule_cuda_product {
    int64_t batch, rows, columns, depth; /* products, their sizes, steps of the reduction */
    int64_t element;                     /* bytes of what is staged */
    bool has_rows;                       /* false: one row, without a loop */
    bool sliced;                         /* warps may share the reduction */
    sinter_loop_mma mma;                 /* its factors are of this instruction, or NONE */
    bool warpgroups;                     /* all code that is made has this instruction for four warps (codegen/loops/wgmma.h), too */
    int64_t most_sums;                   /* that a thread may have, or instructions of them; 0: any */
    int64_t blocks;                      /* that make all tiles each, one after the other; 0: a tile is a block's */
    int64_t kept;                        /* bytes of shared memory that a block has beside the tiles */
    int64_t warps;                       /* of a block; 0: any number */
    bool divides;                        /* rows of a tile divide those of the product */
    bool rows_in_place;                  /* they are in shared memory already, in whole steps */
} sinter_schedule_cuda_product;
typedef struct sinter_schedule_cuda_tile {
    int64_t warps, thread_rows, thread_columns, depth;
    bool slices;
    sinter_loop_mma mma;
    bool warpgroup; /* the instruction of four warps */
    int64_t producers; /* warps that copy and do nothing else */
    int64_t stages; /* of a ring that copies under way fill; 1: there is none */
    double cycles;  /* of the GPU, until all blocks are done */
} sinter_schedule_cuda_tile;
/* How operands get to shared memory; the first is the best, where operands can be staged so. */
typedef enum sinter_schedule_cuda_staging {
    SINTER_STAGING_RING,       /* a ring of tiles that copies under way fill */
    SINTER_STAGING_SHORT_RING, /* the same in steps that are short enough for what comes by way of registers */
    SINTER_STAGING_TURNS,      /* staging and multiplying take turns */
    SINTER_STAGING_COUNT
} sinter_schedule_cuda_staging;
/* False: there is no such tile, or it would not differ from what comes before it. */
bool sinter_schedule_cuda_choose_tile(const sinter_target *target, const sinter_schedule_cuda_product *product,
                                      sinter_schedule_cuda_staging staging, sinter_schedule_cuda_tile *out_tile);

/* ---- schedule/cuda/block.c ---- */
/* A block for each iteration that keeps scratch between several nests (schedule/cuda/block.c); likewise. */
bool sinter_schedule_cuda_block(sinter_schedule_cuda_state *state, sinter_loop_var nest);
/* One block for a kernel whose iterations follow each other, with threads for what is independent in them; likewise. */
bool sinter_schedule_cuda_one_block(sinter_schedule_cuda_state *state, sinter_loop_var nest);
bool sinter_schedule_cuda_is_independent(const sinter_schedule *schedule, sinter_loop_var loop);

/* Rows of scratch are as much longer as it takes that lanes meet in no bank: those of instructions for matrices, which are in 8 rows, and those
 * that stand in several rows, `abreast` in each. */
void sinter_schedule_cuda_pad_rows(const sinter_schedule *schedule, sinter_loop_buffer buffer, int64_t abreast);

/* ---- schedule/cuda/fragment.c ---- */
typedef SINTER_VECTOR(sinter_loop_buffer) sinter_schedule_buffers;
/* Memory of a block that is a matrix of what sums of these instructions are: words. */
bool sinter_schedule_cuda_may_be_fragment(const sinter_loop_buffer_info *info);
/* Scratch of a block that its tiles fill with sums of instructions for matrices, as much as threads of so many warps have registers for. before: the
 * function when rows of scratch were no longer than they need to be. */
void sinter_schedule_cuda_find_fragments(const sinter_schedule *schedule, const sinter_loop_function *before, const sinter_loop_stmt *first, int64_t warps, sinter_arena *scratch,
                                         sinter_schedule_buffers *out);
bool sinter_schedule_cuda_touches(const sinter_schedule *schedule, sinter_loop_var nest, const sinter_schedule_buffers *buffers);
/* The nest's work is shared as the results of instructions are. out_reduces: its rows were reduced, in parts, and the nest combines these: it is
 * not shared yet. False: the function may be in pieces. */
bool sinter_schedule_cuda_share_fragment(sinter_schedule *schedule, sinter_loop_var nest, int64_t warps, bool *out_reduces);

/* Barriers in a list of statements that the threads of a block run (schedule/cuda/barrier.c), where one meets what another did. done: loops
 * that have all that they need. */
void sinter_schedule_cuda_put_barriers(sinter_schedule *schedule, sinter_loop_stmt **first, const sinter_loop_var *done, size_t done_count);

/* ---- schedule/cuda/cut.c ---- */
/* One nest a kernel, as far as that is possible, and one exchange of ranks; before any kernel is scheduled. exchanges_alone: only kernels
 * in which ranks exchange. */
void sinter_schedule_cuda_cut(sinter_loop_program *program, bool exchanges_alone);
/* The same of one kernel, if the host's calls of it allow that. */
void sinter_schedule_cuda_cut_kernel(sinter_loop_program *program, uint32_t kernel);
bool sinter_schedule_cuda_can_cut(const sinter_loop_program *program, uint32_t kernel);
/* Where a kernel is a loop in which ranks exchange, the host has the loop and calls what is in it (schedule/cuda/lift.c). False: it is none. */
bool sinter_schedule_cuda_lift(sinter_loop_program *program, uint32_t kernel);

/* ---- schedule/cuda/vector.c ---- */
/* What the host gives kernels lies at multiples of so many bytes. After the cut. */
void sinter_schedule_cuda_align(sinter_loop_program *program);
/* The loop, innermost in an elementwise nest, becomes one over vectors of up to 16 bytes with a vector axis in it, whose memory is
 * read and written as such; out_outer: the former. alone: nothing of the nest is around it, so that a last vector may be in part. False: the
 * function is as it was. */
bool sinter_schedule_cuda_vectorize(sinter_schedule *schedule, sinter_loop_var loop, bool alone, sinter_loop_var *out_outer);

/* ---- schedule/cuda/transpose.c ---- */
/* A nest that reads along one of its loops and writes along another goes through tiles in shared memory. As sinter_schedule_cuda_rows. */
bool sinter_schedule_cuda_transpose(sinter_schedule_cuda_state *state, sinter_loop_var nest);
/* The loop may be an axis of blocks outside of another, of which a launch takes fewer than of the innermost. */
bool sinter_schedule_cuda_fits_axis(const sinter_schedule *schedule, sinter_loop_var loop);
/* Independent loops of the chain go to the outside; how many there are. */
uint32_t sinter_schedule_cuda_gather_independent(sinter_schedule *schedule, sinter_schedule_chain *chain);

/* ---- schedule/cuda/keep.c ---- */
typedef SINTER_VECTOR(sinter_loop_var) sinter_schedule_loops;
/* What several loops over the elements of a row read of an input comes into scratch in front of them; where a block has several
 * rows (row != outer), so does what is the same for all of them, in front of the rows. out_copies: the loops of the latter. */
void sinter_schedule_cuda_keep(sinter_schedule *schedule, sinter_loop_var outer, sinter_loop_var row, int64_t lanes,
                               sinter_arena *scratch, sinter_schedule_loops *out_copies);
/* Shared buffers that the list allocates become registers where each of `lanes` threads touches its own elements alone. */
void sinter_schedule_cuda_own(sinter_schedule *schedule, sinter_loop_stmt *first, int64_t lanes);
