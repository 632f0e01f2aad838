/* What the files of the verb sinter_schedule_block_tile share. Private to codegen/schedule_block_*.c. */
#pragma once
#include "codegen/loops/box.h"
#include "codegen/loops/wgmma.h"
#include "codegen/schedule/contraction.h"

enum { SINTER_BLOCK_LANES = 32, SINTER_BLOCK_STEP = 4 };

typedef struct sinter_block_operand {
    sinter_expr value;
    sinter_expr condition; /* beside that of the tile's borders; NULL: none */
    const sinter_loop_stmt *loop; /* rows or columns; NULL: one row */
    sinter_expr first;            /* of the tile */
    int64_t extent;               /* of the tile */
    bool along_depth;             /* lanes are neighbours in the reduction as they stage it */
    bool depth_last;              /* dim of the tile in shared memory */
    int64_t pad;                  /* elements that its rows are longer */
    int64_t chunk;                /* its rows or columns lie in chunks of so many; 0: they do not */
    sinter_loop_buffer tile;      /* or the operand itself, */
    bool in_place;                /* which is scratch of the block already; for instructions of warpgroups by steps, [step, row, within] */
    sinter_loop_buffer ahead; /* registers of what is staged by way of them; 0: none */
    struct {
        uint32_t rank;
        bool chunks; /* one box has all chunks of a tile: a dim of them is in front of the last two */
        sinter_expr factors[SINTER_BOX_MAX_RANK], dims[SINTER_BOX_MAX_RANK], strides[SINTER_BOX_MAX_RANK];
    } box; /* the tensor whose boxes are its tiles; factors: where they are in all but the last two dims */
} sinter_block_operand;

typedef struct sinter_block_tiling {
    sinter_schedule *schedule;
    sinter_block_tile *asked;
    const sinter_loop_mma_info *mma; /* NULL: scalar arithmetic */
    sinter_contraction sum;
    sinter_loop_builder *builder;
    sinter_block_operand rows, columns;
    sinter_expr count;       /* of the reduction */
    bool rows_first;         /* of the factors */
    sinter_expr slot;        /* of the ring, that is read or written; NULL: there is none */
    sinter_expr step, start; /* that is multiplied, and where it begins in the reduction */
    bool copies;             /* some operand is copied asynchronously */
    bool stores;             /* some operand is staged otherwise */
    sinter_loop_stmt **before_steps; /* where the loop over the steps of the ring is linked */
    sinter_loop_buffer sums; /* by axes of threads, row and column of the thread */
    int64_t warps;           /* that do what is written: those of the tile, or of a piece */
    sinter_loop_buffer full, empty; /* phases of the ring, where warps of their own copy */
} sinter_block_tiling;

/* The axes of threads, and which of 32 a thread is. */
typedef struct sinter_block_threads {
    sinter_expr axes[3], warp, lane;
    uint32_t count;
} sinter_block_threads;
sinter_block_threads sinter_block_begin_threads(sinter_block_tiling *t);
sinter_expr sinter_block_begin_loop(sinter_block_tiling *t, const char *name, int64_t count, sinter_loop_axis axis);
void sinter_block_end_loops(sinter_block_tiling *t, uint32_t count);
sinter_expr sinter_block_int(sinter_block_tiling *t, int64_t value);
sinter_expr sinter_block_place(sinter_block_tiling *t, sinter_expr a, int64_t scale, sinter_expr c); /* a * scale + c */
/* index < limit, NULL where that is certain. */
sinter_expr sinter_block_below(sinter_loop_builder *b, sinter_expr index, sinter_expr limit);
/* Both conditions, where NULL is what is certain. */
sinter_expr sinter_block_both(sinter_loop_builder *b, sinter_expr a, sinter_expr c);
/* Iterations of the operand's loop. */
sinter_expr sinter_block_count(sinter_block_tiling *t, const sinter_block_operand *o);
/* A map from the nest's loops to an element of the tile. */
void sinter_block_begin_map(sinter_block_tiling *t, sinter_loop_map *map, sinter_expr row, sinter_expr column);
/* The loops of the reduction at its `position`, counted through the box, and `within` (NULL: 0) further in the innermost one, which has so many. */
void sinter_block_map_reduction(sinter_block_tiling *t, sinter_loop_map *map, sinter_expr position, sinter_expr within);
sinter_expr sinter_block_zero(sinter_block_tiling *t, sinter_dtype dtype);

/* ---- block_stage.c ---- */
/* Allocates the operand's tile, or a ring of them. */
void sinter_block_add_tile(sinter_block_tiling *t, sinter_block_operand *operand, const char *name);
/* The operand from this step of the reduction on goes to its tile: where there is a ring by copies under way if they can, or else to registers,
 * from which the second one brings it there. */
void sinter_block_stage(sinter_block_tiling *t, sinter_block_operand *operand, sinter_expr start);
void sinter_block_put(sinter_block_tiling *t, const sinter_block_operand *operand, sinter_expr start);
/* The indices of an element in the operand's tile, `lane` further among rows or columns (NULL: 0) in a chunk; they are in all[], from the first or,
 * without a ring, from the second on. */
const sinter_expr *sinter_block_indices(sinter_block_tiling *t, const sinter_block_operand *operand, sinter_expr depth, sinter_expr at,
                                        sinter_expr lane, sinter_expr all[4]);
/* The staged element of an operand, both places counted from the tile's first. */
sinter_expr sinter_block_load(sinter_block_tiling *t, const sinter_block_operand *operand, sinter_expr depth, sinter_expr at);
/* Allocates registers: a part for each thread, then `rank` more dims. */
sinter_loop_buffer sinter_block_registers(sinter_block_tiling *t, const char *name, sinter_dtype dtype, uint32_t rank,
                                          const int64_t *sizes);

/* ---- block_box.c ---- */
/* Both operands are inputs that an instruction copies by itself; else refused. */
bool sinter_block_fit_boxes(sinter_block_tiling *t);
/* Their tiles from this step of the reduction on, for the phase of the slot. */
void sinter_block_stage_boxes(sinter_block_tiling *t, sinter_expr start);

/* ---- block_mma.c ---- */
/* Registers for the operands of instructions; before the reduction. */
typedef struct sinter_block_fragments {
    sinter_loop_buffer rows, columns;
} sinter_block_fragments;
sinter_block_fragments sinter_block_add_fragments(sinter_block_tiling *t);
/* What has been staged, multiplied and added. */
void sinter_block_multiply(sinter_block_tiling *t, const sinter_block_fragments *fragments);
/* Factors are casts of what the instruction takes; they become what is cast. */
bool sinter_block_fit_mma(sinter_block_tiling *t);

/* ---- block_wgmma.c ---- */
/* Phases for a ring that warps of their own fill; what the tile's warps do beside those, up to an end; the reduction by both. */
void sinter_block_add_phases(sinter_block_tiling *t);
void sinter_block_begin_consumers(sinter_block_tiling *t);
void sinter_block_reduce_by_pieces(sinter_block_tiling *t, sinter_expr steps);
/* The same by instructions of warpgroups, which are begun, and are a group of products. */
void sinter_block_multiply_groups(sinter_block_tiling *t);
/* Sizes and types are those of an instruction of warpgroups, with what sinter_block_fit_mma looks at. */
bool sinter_block_fit_wgmma(sinter_block_tiling *t);
