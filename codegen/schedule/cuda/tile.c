/* The choice of a contraction's tile on CUDA: the cheapest by a model of a multiprocessor, from the GPU's row in target.def. What its units
 * multiply in a cycle, what shared memory and the second cache give in one, what waits for what, and how many blocks are there to
 * fill these waits: the blocks of a launch come in waves of as many as run side by side.
 * Test: tests/codegen/schedule/cuda_contraction.loops */
#include "codegen/loops/wgmma.h"
#include "codegen/schedule/cuda.h"

#include <math.h>

enum {
    LANES = 32,
    DEPTH = 32,
    SLICED_DEPTH = 128,
    SHARED_LIMIT = 48 << 10, /* bytes that a block has without asking */
    LARGE_TILE = 64,         /* sums of a thread */
    LARGE_TILE_ARCHITECTURE = 80,
    CYCLES_OF_STEP = 500, /* until staged elements are there */
    CYCLES_OF_TRIP = 60,  /* of a barrier and what is around it */
    MAX_STAGES = 4,
    MAX_GROUP_STAGES = 6, /* where products are under way as well */
    MIN_GROUP_STAGES = 3,
    GROUP_STAGES = 4,          /* that let another block run beside it */
    RESERVED_SHARED = 1 << 10, /* of each block, for the driver */
    COPIED_ROW = 128,          /* bytes: of 8 lanes that copy 16 each, which then meet in no bank */
    SCHEDULERS = 4, /* of a multiprocessor: each has its part of the units, and warps of its own */
    SHARED_BYTES = 128,     /* of shared memory in a cycle */
    CACHE_BYTES = 64,       /* of the second cache in a cycle of one multiprocessor, if all ask */
    OTHER_REGISTERS = 64,   /* of a thread, beside its sums */
    CONSUMER_REGISTERS = 40 /* the same of one that only multiplies */
};

typedef sinter_schedule_cuda_tile candidate;
typedef sinter_schedule_cuda_product sizes;

/* Of their units' rate, what instructions of single warps reach on a GPU that has those of warpgroups: 63 to 65 percent were measured. */
static const double RATE_OF_WARPS = 0.64;

/* Warps, rows and columns of a thread; those of instructions below. */
static const int64_t scalar_tiles[][3] = {{8, 16, 4}, {8, 8, 4}, {8, 8, 2}, {8, 4, 2},
                                          {4, 8, 2},  {4, 4, 2}, {4, 4, 1}, {8, 2, 1}};
static const int64_t mma_tiles[][3] = {{8, 2, 8}, {4, 2, 8}, {4, 1, 8}, {4, 1, 4}, {2, 1, 4}};
static const int64_t group_tiles[][3] = {{8, 1, 32}, {8, 2, 16}, {8, 1, 24}, {8, 1, 16},
                                         {4, 1, 32}, {4, 1, 16}, {4, 1, 8}};
enum {
    GROUP_TILE_COUNT = sizeof group_tiles / sizeof *group_tiles,
    SCALAR_TILE_COUNT = sizeof scalar_tiles / sizeof *scalar_tiles,
    MMA_TILE_COUNT = sizeof mma_tiles / sizeof *mma_tiles
};

static int64_t rows_of(const candidate *c) {
    return c->thread_rows * (c->slices ? 1 : c->warps) * (c->mma ? SINTER_MMA_ROWS : 1);
}

static int64_t columns_of(const candidate *c) {
    return c->thread_columns * (c->mma ? SINTER_MMA_COLUMNS : LANES);
}

/* Elements of the reduction that are staged at once. */
static int64_t choose_depth(const candidate *c, sinter_schedule_cuda_staging staging) {
    const sinter_loop_mma_info *info = &sinter_loop_mma_infos[c->mma];
    if (c->warpgroup) return sinter_loop_wgmma_row(info->left);
    if (c->mma && staging == SINTER_STAGING_RING) return COPIED_ROW / 4 * info->packed;
    if (c->mma) return 2 * info->depth > DEPTH ? 2 * info->depth : DEPTH;
    return c->slices ? SLICED_DEPTH : DEPTH;
}

static int64_t rounded_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Of a block: its tiles, and what it keeps beside them. */
static int64_t shared_bytes(const candidate *c, const sizes *n) {
    const int64_t element = n->element;
    int64_t depth = c->depth, columns = columns_of(c),
            slices = c->slices ? c->warps * rows_of(c) * columns : 0, pad = 1;
    const int64_t rows = n->rows_in_place ? 0 : rows_of(c);
    if (c->warpgroup)
        pad = 0;
    else if (c->mma)
        pad = 16 / element > SINTER_MMA_GROUPS ? 16 / element : SINTER_MMA_GROUPS;
    return n->kept +
           element *
               (c->stages * ((depth + pad) * (rows + columns) + (rows + columns) * pad) + slices);
}

/* ---- cycles ---- */

/* Multiply-adds of a multiprocessor in a cycle. */
static double rate_of(const candidate *c, const sinter_gpu *gpu, const sizes *n) {
    if (!c->mma) return gpu->lanes;
    const sinter_loop_mma_info *info = &sinter_loop_mma_infos[c->mma];
    const double rate = sinter_gpu_matrix_rate(gpu, sinter_dtype_infos[info->left].bits);
    return n->warpgroups && !c->warpgroup ? RATE_OF_WARPS * rate : rate;
}

/* A multiprocessor's cycles for one element of a block's reduction, if nothing waits: multiply-adds, and what reads from shared memory and
 * brings elements there. Schedulers issue both, so they count as if one was done after the other. */
typedef struct element_cycles {
    double products, memory;
} element_cycles;

static element_cycles cycles_of(const candidate *c, const sinter_gpu *gpu, const sizes *n) {
    const double rows = (double)c->thread_rows, columns = (double)c->thread_columns,
                 warps = c->slices ? 1 : (double)c->warps, element = (double)n->element,
                 staged = (double)((n->rows_in_place ? 0 : rows_of(c)) + columns_of(c));
    double reads = rows / 4 + columns; /* of a warp: of rows four elements at once */
    if (c->mma)
        reads = (rows * SINTER_MMA_LEFT_REGISTERS + columns * SINTER_MMA_RIGHT_REGISTERS) /
                (double)sinter_loop_mma_infos[c->mma].depth;
    if (c->warpgroup) /* each instruction reads its rows and all columns */
        reads = rows * (double)(SINTER_WGMMA_ROWS + columns_of(c)) * element /
                (SINTER_WGMMA_WARPS * SHARED_BYTES);
    /* threads store one element each; copies go by themselves, 16 bytes each */
    const double stores = c->stages > 1 ? staged * element / SHARED_BYTES : staged / 8;
    return (element_cycles){.products = (double)(rows_of(c) * columns_of(c)) / rate_of(c, gpu, n),
                            .memory = fmax(warps * reads + stores, staged * element / CACHE_BYTES)};
}

/* Blocks that have room on a multiprocessor. */
static double room_for(const candidate *c, const sinter_gpu *gpu, const sizes *n) {
    const double threads = (double)((c->warps + c->producers) * LANES),
                 sums = (double)(c->thread_rows * c->thread_columns) * (c->mma ? 4 : 1),
                 shared = (double)(gpu->shared_bytes + RESERVED_SHARED) /
                          (double)(shared_bytes(c, n) + RESERVED_SHARED);
    const double room =
        fmin(fmin(gpu->threads / threads, gpu->registers / (threads * (sums + OTHER_REGISTERS))),
             shared);
    return fmax(floor(room), 1);
}

/* Cycles until all blocks are done. A block alone leaves units idle: for few warps, and while it waits for what it stages; another one runs
 * meanwhile, if there is one. */
static double cost_of(const candidate *c, const sinter_gpu *gpu, const sizes *n) {
    const double tiles = (double)n->batch * (double)rounded_up(n->rows, rows_of(c)) *
                         (double)rounded_up(n->columns, columns_of(c)),
                 blocks = n->blocks ? (double)n->blocks : tiles,
                 turns = n->blocks ? tiles : 1; /* tiles of a block, one after the other */
    const double each = ceil(sinter_gpu_rounds(gpu, blocks)),
                 beside = fmin(each, room_for(c, gpu, n)), waves = ceil(each / beside) * turns;
    const int64_t step = c->depth, steps = rounded_up(n->depth, step);
    const element_cycles cycles = cycles_of(c, gpu, n);
    if (c->warpgroup) { /* they read while they multiply, and are under way meanwhile */
        const double busy = fmax(cycles.products, cycles.memory) * (double)step,
                     behind = fmax(c->producers ? 0 : CYCLES_OF_TRIP,
                                   (double)CYCLES_OF_STEP / (double)(c->stages - 2));
        return waves * ((double)steps * fmax(beside * busy, behind) + CYCLES_OF_STEP);
    }
    const double full = (cycles.products + cycles.memory) * (double)step,
                 idle = fmax(1, SCHEDULERS / (double)c->warps),
                 alone = (cycles.products * idle + cycles.memory) * (double)step,
                 late = (double)CYCLES_OF_STEP / (double)(c->stages > 1 ? c->stages - 1 : 1);
    const double trip = c->stages > 1 ? fmax(alone + CYCLES_OF_TRIP, late) : alone + late;
    return waves * ((double)steps * fmax(beside * full, trip) + CYCLES_OF_STEP);
}

/* ---- candidates ---- */

/* Threads of the oldest GPU that code is made for have no registers for the largest tile beside what else they keep. */
static bool has_registers(const sinter_target *target, const candidate *c) {
    bool large = !c->mma && c->thread_rows * c->thread_columns >= LARGE_TILE;
    for (uint32_t i = 0; i < target->gpu_code_count; i++)
        if (large && target->gpu_codes[i].architecture < LARGE_TILE_ARCHITECTURE) return false;
    return true;
}

/* Of shared memory that a ring may have; 0: some code is for a GPU that knows no copies under way. */
static int64_t ring_bytes(const sinter_target *target) {
    for (uint32_t i = 0; i < target->gpu_code_count; i++)
        if (!target->gpu_codes[i].gpu->copies) return 0;
    return sinter_target_shared_bytes(target);
}

/* As many as fit twice, so that another block runs where one waits, or else two; no more than there are steps, but for the two without
 * which nothing is copied under way. */
static int64_t choose_stages(candidate c, const sizes *n, int64_t bytes) {
    const int64_t steps = rounded_up(n->depth, c.depth);
    if (c.warpgroup) {
        const int64_t most = steps + 2 < MAX_GROUP_STAGES ? steps + 2 : MAX_GROUP_STAGES;
        c.stages = most < GROUP_STAGES ? most : GROUP_STAGES;
        if (2 * (shared_bytes(&c, n) + RESERVED_SHARED) <= bytes + RESERVED_SHARED) return c.stages;
        for (c.stages = most; c.stages >= MIN_GROUP_STAGES; c.stages--)
            if (shared_bytes(&c, n) <= bytes) return c.stages;
        return 1;
    }
    c.stages = MAX_STAGES;
    for (; c.stages > 1; c.stages--) {
        const int64_t taken = shared_bytes(&c, n) + RESERVED_SHARED;
        const bool fits = 2 * taken <= bytes + RESERVED_SHARED ||
                          (c.stages == 2 && taken <= bytes + RESERVED_SHARED);
        if (fits && (c.stages == 2 || c.stages <= steps)) return c.stages;
    }
    return 1;
}

/* A block that is alone on its multiprocessor has warps that copy for those that multiply, if there are registers for their threads: nothing
 * else runs while these wait at a barrier, and begin copies. */
static int64_t choose_producers(const candidate *c, const sinter_gpu *gpu, const sizes *n) {
    candidate with = *c;
    with.producers = SINTER_WGMMA_WARPS;
    const int64_t sums = c->thread_rows * c->thread_columns * 4,
                  threads = (c->warps + with.producers) * LANES;
    const bool fits = threads * (sums + CONSUMER_REGISTERS) <= gpu->registers;
    return c->warpgroup && !n->blocks && c->warps >= 2 * SINTER_WGMMA_WARPS && fits &&
                   room_for(c, gpu, n) < 2
               ? with.producers
               : 0;
}

typedef struct search {
    const sinter_target *target;
    const sizes *n;
    sinter_schedule_cuda_staging staging;
    int64_t ring; /* bytes that a ring may have; 0: there is none */
    int64_t
        own_ring; /* the same where the code is for these GPUs alone, as that of warpgroups is */
    candidate *best;
} search;

static void try_candidate(const search *s, candidate c) {
    const int64_t most = s->n->most_sums;
    const int64_t limit = s->n->blocks ? sinter_target_shared_bytes(s->target) : SHARED_LIMIT;
    c.depth = choose_depth(&c, s->staging);
    if ((most && c.thread_rows * c.thread_columns > most) ||
        (s->n->warps && c.warps != s->n->warps) || (s->n->divides && s->n->rows % rows_of(&c)) ||
        (s->n->rows_in_place && s->n->depth % c.depth) ||
        (c.warpgroup && s->n->blocks && columns_of(&c) >= 2 * s->n->columns) || /* half empty */
        (s->staging == SINTER_STAGING_SHORT_RING &&
         c.depth == choose_depth(&c, SINTER_STAGING_RING)))
        return;
    if (s->ring) c.stages = choose_stages(c, s->n, c.warpgroup ? s->own_ring : s->ring);
    const bool fits = s->ring ? c.stages > 1 : shared_bytes(&c, s->n) <= limit;
    if (!fits || !has_registers(s->target, &c)) return;
    c.producers = choose_producers(&c, s->target->gpu, s->n);
    c.cycles = cost_of(&c, s->target->gpu, s->n);
    if (c.cycles < s->best->cycles) *s->best = c;
}

bool sinter_schedule_cuda_choose_tile(const sinter_target *target, const sizes *n,
                                      sinter_schedule_cuda_staging staging, candidate *out) {
    const bool turns = staging == SINTER_STAGING_TURNS,
               groups = n->warpgroups && staging == SINTER_STAGING_RING;
    const search s = {.target = target,
                      .n = n,
                      .staging = staging,
                      .ring = turns ? 0 : ring_bytes(target),
                      .own_ring = sinter_target_own_shared_bytes(target),
                      .best = out};
    const int64_t(*tiles)[3] = n->mma ? mma_tiles : scalar_tiles;
    *out = (candidate){.cycles = INFINITY};
    if (!turns && !s.ring) return false;
    for (size_t i = 0; n->has_rows && i < (n->mma ? MMA_TILE_COUNT : SCALAR_TILE_COUNT); i++)
        try_candidate(&s, (candidate){.warps = tiles[i][0],
                                      .thread_rows = tiles[i][1],
                                      .thread_columns = tiles[i][2],
                                      .mma = n->mma,
                                      .stages = 1});
    for (size_t i = 0; n->has_rows && groups && i < GROUP_TILE_COUNT; i++)
        try_candidate(&s, (candidate){.warps = group_tiles[i][0],
                                      .thread_rows = group_tiles[i][1],
                                      .thread_columns = group_tiles[i][2],
                                      .mma = n->mma,
                                      .warpgroup = true,
                                      .stages = 1});
    if (n->sliced && n->depth >= SLICED_DEPTH && !n->mma)
        try_candidate(&s, (candidate){.warps = 8,
                                      .thread_rows = n->rows,
                                      .thread_columns = 1,
                                      .slices = true,
                                      .stages = 1});
    return out->cycles < INFINITY;
}
