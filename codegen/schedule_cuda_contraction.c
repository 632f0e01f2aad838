/* Contractions on CUDA: matrix products and convolutions as tiles that a block of threads shares (sinter_schedule_block_tile). The free
 * loops are sorted by the factors that use them: columns are the innermost ones, rows those of the other factor, the
 * others number independent products. A convolution is a product whose columns are the places of the window and whose reduction runs over
 * channels and taps; what lies beyond the border is 0 as it is staged.
 *
 * The tile is the cheapest by a model of rounds of blocks over the multiprocessors. Few rows have warps share the reduction.
 * Test: tests/codegen/schedule/cuda_contraction.loops, tests/codegen/emit_cuda/contraction.sir */
#include "codegen/loop_mma.h"
#include "codegen/schedule_contraction.h"
#include "codegen/schedule_cuda.h"

#include <math.h>

enum {
    LANES = 32,
    DEPTH = 32,
    SLICED_DEPTH = 128,
    SHARED_LIMIT = 48 << 10,
    MAX_BLOCKS = 65535,  /* of the second and third axis of a grid */
    MIN_DEPTH = 16,      /* of a reduction; below, staging costs more than it saves */
    MIN_ELEMENTS = 256,  /* of a product */
    GUESSED_SIZE = 1024, /* of what only the run knows */
    MAX_SLICED_ROWS = 16,
    LARGE_TILE = 64, /* sums of a thread */
    LARGE_TILE_ARCHITECTURE = 80,
    CYCLES_OF_STEP = 500, /* until staged elements are there */
    CYCLES_OF_TRIP = 60,  /* of a barrier and what is around it */
    MAX_STAGES = 4,
    RESERVED_SHARED = 1 << 10, /* of each block, for the driver */
    COPIED_ROW = 128           /* bytes: of 8 lanes that copy 16 each, which then meet in no bank */
};

typedef struct loop_run {
    sinter_loop_var loops[SINTER_SCHEDULE_CHAIN_MAX];
    uint32_t count;
} loop_run;

typedef struct product {
    sinter_schedule_cuda_state *state;
    sinter_schedule *schedule;
    sinter_contraction sum;
    uint32_t column_factor;
    uint32_t bare_factor; /* the one that the sum's condition is not of */
    loop_run batch, rows, columns;
} product;

/* ---- which loops are what ---- */

static void push(loop_run *run, sinter_loop_var loop) {
    run->loops[run->count++] = loop;
}

/* Columns are the last loops of the chain that one factor alone uses, rows the last ones of the other that stand together. */
static bool sort_loops(product *p, const sinter_schedule_chain *c) {
    bool uses[2][SINTER_SCHEDULE_CHAIN_MAX], column[SINTER_SCHEDULE_CHAIN_MAX],
        row[SINTER_SCHEDULE_CHAIN_MAX];
    for (uint32_t i = 0; i < c->depth; i++)
        for (uint32_t k = 0; k < 2; k++)
            uses[k][i] = sinter_loop_expr_uses(p->sum.factors[k], c->loops[i]);
    uint32_t last = c->depth - 1;
    if (uses[0][last] == uses[1][last]) return false;
    p->column_factor = uses[1][last];
    for (uint32_t i = 0; i < c->depth; i++) {
        column[i] = uses[p->column_factor][i] && !uses[1 - p->column_factor][i];
        row[i] = uses[1 - p->column_factor][i] && !uses[p->column_factor][i];
    }
    p->bare_factor = 1 - p->column_factor;
    for (uint32_t i = 0; i < c->depth && p->sum.condition; i++)
        if (row[i] && sinter_loop_expr_uses(p->sum.condition, c->loops[i]))
            p->bare_factor = p->column_factor;
    uint32_t first_column = last, first_row, end_row;
    while (first_column > 0 && column[first_column - 1]) first_column--;
    for (end_row = first_column; end_row > 0 && !row[end_row - 1];) end_row--;
    for (first_row = end_row; first_row > 0 && row[first_row - 1];) first_row--;
    for (uint32_t i = 0; i < c->depth; i++)
        push(i >= first_column               ? &p->columns
             : i >= first_row && i < end_row ? &p->rows
                                             : &p->batch,
             c->loops[i]);
    return true;
}

/* One row by columns that lie along the reduction: each is a row of its own to sum up (schedule_cuda_rows.c). */
static bool reads_rows(const product *p) {
    return !p->rows.count &&
           sinter_schedule_reading(p->schedule, p->sum.factors[p->column_factor],
                                   p->sum.loops[p->sum.loop_count - 1]) == SINTER_READING_NEXT;
}

/* The loops of a run become one, which takes their place. */
static bool fuse(product *p, loop_run *run) {
    while (run->count > 1) {
        if (!sinter_schedule_fuse(p->schedule, run->loops[0], run->loops[1], &run->loops[0]))
            return false;
        run->count--;
        for (uint32_t i = 1; i < run->count; i++) run->loops[i] = run->loops[i + 1];
    }
    return true;
}

static bool order_loops(product *p, const sinter_schedule_chain *c) {
    sinter_loop_var order[SINTER_SCHEDULE_CHAIN_MAX];
    const loop_run *runs[3] = {&p->batch, &p->rows, &p->columns};
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->depth; i++)
        if (!sinter_schedule_cuda_is_independent(p->schedule, c->loops[i])) return false;
    for (uint32_t r = 0; r < 3; r++)
        for (uint32_t i = 0; i < runs[r]->count; i++) order[count++] = runs[r]->loops[i];
    return sinter_schedule_reorder(p->schedule, order, count) && fuse(p, &p->batch) &&
           fuse(p, &p->rows) && fuse(p, &p->columns);
}

/* ---- factors that are finite ---- */

typedef struct finite_search {
    const product *p;
    uint32_t kernel, parameter;
    bool found, finite;
} finite_search;

static bool is_finite(const sinter_tensor *tensor) {
    if (!tensor->data) return false;
    if (!sinter_dtype_is_float(tensor->dtype)) return true;
    const int64_t count = sinter_tensor_count(tensor);
    const float *items = tensor->data;
    float sum = 0; /* of zeros, and of NaN where an element is none or infinite: without branches */
    for (int64_t i = 0; tensor->dtype == SINTER_DTYPE_f32 && i < count; i++) sum += items[i] * 0;
    if (tensor->dtype == SINTER_DTYPE_f32) return sum == 0;
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(sinter_tensor_get_double(tensor, i))) return false;
    return true;
}

static bool look_at_call(void *user, sinter_loop_stmt *stmt) {
    finite_search *search = user;
    const sinter_loop_program *program = search->p->state->program;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL || stmt->kernel != search->kernel) return true;
    const sinter_loop_buffer_info *info =
        &program->host->buffers.items[stmt->buffer_arguments[search->parameter]];
    search->found = true;
    search->finite = search->finite && info->scope == SINTER_SCOPE_CONSTANT &&
                     is_finite(&program->constants.items[info->constant].tensor);
    return search->finite;
}

/* An element of a constant, perhaps cast, that has no infinity and no NaN; or integers, whose product with 0 is 0. */
static bool is_finite_factor(const product *p, sinter_expr factor) {
    const sinter_loop_program *program = p->state->program;
    const sinter_loop_function *kernel = p->schedule->function;
    if (!sinter_dtype_is_float(factor->dtype)) return true;
    while (factor->kind == SINTER_LOOP_CAST) factor = factor->arguments[0];
    if (factor->kind != SINTER_LOOP_LOAD || !program->host) return false;
    finite_search search = {.p = p, .finite = true};
    while (program->kernels.items[search.kernel] != kernel) search.kernel++;
    while (search.parameter < kernel->buffer_parameters.count &&
           kernel->buffer_parameters.items[search.parameter] != factor->buffer)
        search.parameter++;
    if (search.parameter == kernel->buffer_parameters.count) return false;
    sinter_loop_walk(program->host->body, look_at_call, &search);
    return search.found && search.finite;
}

/* ---- the choice of a tile ---- */

typedef struct candidate {
    int64_t warps, thread_rows, thread_columns;
    bool slices;
    sinter_loop_mma mma;
    int64_t stages; /* of a ring that copies under way fill; 1: there is none */
} candidate;

/* Warps, rows and columns of a thread; those of instructions below. */
static const int64_t scalar_tiles[][3] = {{8, 16, 4}, {8, 8, 4}, {8, 8, 2}, {8, 4, 2},
                                          {4, 8, 2},  {4, 4, 2}, {4, 4, 1}, {8, 2, 1}};
static const int64_t mma_tiles[][3] = {{8, 2, 8}, {4, 2, 8}, {4, 1, 8}, {4, 1, 4}, {2, 1, 4}};
enum {
    SCALAR_TILE_COUNT = sizeof scalar_tiles / sizeof *scalar_tiles,
    MMA_TILE_COUNT = sizeof mma_tiles / sizeof *mma_tiles
};

static int64_t rows_of(const candidate *c) {
    return c->thread_rows * (c->slices ? 1 : c->warps) * (c->mma ? SINTER_MMA_ROWS : 1);
}

static int64_t columns_of(const candidate *c) {
    return c->thread_columns * (c->mma ? SINTER_MMA_COLUMNS : LANES);
}

static int64_t depth_of(const candidate *c) {
    const sinter_loop_mma_info *info = &sinter_loop_mma_infos[c->mma];
    if (c->mma) return c->stages > 1 ? COPIED_ROW / 4 * info->packed : 2 * info->depth;
    return c->slices ? SLICED_DEPTH : DEPTH;
}

/* The number of iterations, or what to reckon with. */
static int64_t size_of(const product *p, sinter_loop_var loop, bool *out_known) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(p->schedule->function, loop);
    int64_t count;
    *out_known = stmt && sinter_loop_trip_count(stmt, &count);
    return !stmt ? 1 : *out_known ? count : GUESSED_SIZE;
}

static int64_t rounded_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t shared_bytes(const candidate *c, int64_t element) {
    int64_t depth = depth_of(c), rows = rows_of(c), columns = columns_of(c),
            slices = c->slices ? c->warps * rows * columns : 0, pad = c->mma ? 16 / element : 1;
    return element *
           (c->stages * ((depth + pad) * (rows + columns) + (rows + columns) * pad) + slices);
}

/* Cycles of a multiprocessor for one element of the reduction: four multiply-adds of a warp, or one access to shared memory of one,
 * a cycle each; instructions of matrices are about as fast as they are on the smallest of the GPUs that have them. */
static double work_of(const candidate *c) {
    double rows = (double)c->thread_rows, columns = (double)c->thread_columns,
           warps = c->slices ? 1 : (double)c->warps;
    double stages = (double)(rows_of(c) + columns_of(c)) / 8;
    if (c->mma) {
        const sinter_loop_mma_info *info = &sinter_loop_mma_infos[c->mma];
        double reads = (rows * SINTER_MMA_LEFT_REGISTERS + columns * SINTER_MMA_RIGHT_REGISTERS) /
                       (double)info->depth;
        double products = rows * columns * 4 / (double)info->depth;
        return warps * (products > reads ? products : reads) + stages;
    }
    double products = rows * columns / 4, reads = rows / 4 + columns;
    return warps * (products > reads ? products : reads) + stages;
}

typedef struct sizes {
    int64_t batch, rows, columns, depth, element;
    bool sliced; /* warps may share the reduction */
} sizes;

/* Cycles until all blocks are done. What is copied meanwhile costs the time by which it is later than the work. */
static double cost_of(const candidate *c, const sinter_gpu *gpu, const sizes *n) {
    double blocks = (double)n->batch * (double)rounded_up(n->rows, rows_of(c)) *
                    (double)rounded_up(n->columns, columns_of(c));
    double rounds = ceil(sinter_gpu_rounds(gpu, blocks));
    int64_t step = depth_of(c), steps = rounded_up(n->depth, step);
    double work = work_of(c) * (double)step;
    if (c->stages < 2) return rounds * (double)steps * (work + CYCLES_OF_STEP);
    double trip = work + CYCLES_OF_TRIP, late = (double)CYCLES_OF_STEP / (double)(c->stages - 1);
    return rounds * ((double)steps * (trip > late ? trip : late) + CYCLES_OF_STEP);
}

/* False: it is too small to gain. */
static bool find_sizes(const product *p, sizes *out) {
    bool known, known_rows, known_depth = true;
    int64_t count;
    *out = (sizes){.depth = 1};
    out->batch = size_of(p, p->batch.count ? p->batch.loops[0] : 0, &known);
    out->rows = size_of(p, p->rows.count ? p->rows.loops[0] : 0, &known_rows);
    out->columns = size_of(p, p->columns.loops[0], &known);
    for (uint32_t i = 0; i < p->sum.loop_count; i++) {
        known_depth &= sinter_loop_is_const_int(p->sum.counts[i], &count);
        out->depth *= known_depth ? count : 1;
    }
    if (!known_depth) out->depth = GUESSED_SIZE;
    out->sliced = p->rows.count ? known_rows && out->rows <= MAX_SLICED_ROWS : !p->batch.count;
    bool few = out->rows * out->columns < MIN_ELEMENTS;
    return (p->rows.count || out->sliced) && out->depth >= MIN_DEPTH &&
           (!few || (out->sliced && out->columns >= LANES));
}

/* The instruction whose types the factors are casts of, if all that code is made for have it. */
static sinter_loop_mma find_mma(const product *p) {
    const sinter_target *target = p->state->target;
    sinter_dtype under[2] = {SINTER_DTYPE_NONE, SINTER_DTYPE_NONE};
    for (uint32_t i = 0; i < 2; i++) {
        sinter_expr factor = p->sum.factors[i ? p->column_factor : 1 - p->column_factor];
        if (factor->kind == SINTER_LOOP_CAST) under[i] = factor->arguments[0]->dtype;
    }
    for (int mma = 1; mma < SINTER_MMA_COUNT; mma++) {
        const sinter_loop_mma_info *info = &sinter_loop_mma_infos[mma];
        bool there = info->left == under[0] && info->right == under[1] &&
                     info->sum == p->sum.assign->value->dtype && p->rows.count;
        for (uint32_t i = 0; i < target->gpu_code_count; i++)
            there &= target->gpu_codes[i].architecture >= info->architecture;
        if (there) return (sinter_loop_mma)mma;
    }
    return SINTER_MMA_NONE;
}

/* Threads of the oldest GPU that code is made for have no registers for the largest tile beside what else they keep. */
static bool has_registers(const product *p, const candidate *c) {
    const sinter_target *target = p->state->target;
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
    const int64_t steps = rounded_up(n->depth, depth_of(&c));
    for (c.stages = MAX_STAGES; c.stages > 1; c.stages--) {
        const int64_t taken = shared_bytes(&c, n->element) + RESERVED_SHARED;
        const bool fits = 2 * taken <= bytes + RESERVED_SHARED ||
                          (c.stages == 2 && taken <= bytes + RESERVED_SHARED);
        if (fits && (c.stages == 2 || c.stages <= steps)) return c.stages;
    }
    return 1;
}

static void try_candidate(const product *p, const sizes *n, const candidate *c, double *least,
                          candidate *best) {
    double cost = cost_of(c, p->state->target->gpu, n);
    const bool fits = c->stages > 1 || shared_bytes(c, n->element) <= SHARED_LIMIT;
    if (!fits || !has_registers(p, c) || cost >= *least) return;
    *least = cost;
    *best = *c;
}

/* copies: a ring is allowed. */
static bool choose(const product *p, bool copies, candidate *out) {
    sizes n;
    if (!find_sizes(p, &n)) return false;
    double least = INFINITY;
    const sinter_loop_mma mma = find_mma(p);
    n.element = mma ? 4 / sinter_loop_mma_infos[mma].packed
                    : sinter_dtype_infos[p->sum.assign->value->dtype].bits / 8;
    const int64_t ring = ring_bytes(p->state->target);
    const int64_t(*tiles)[3] = mma ? mma_tiles : scalar_tiles;
    for (size_t i = 0; p->rows.count && i < (mma ? MMA_TILE_COUNT : SCALAR_TILE_COUNT); i++) {
        candidate c = {tiles[i][0], tiles[i][1], tiles[i][2], false, mma, 1};
        if (copies) c.stages = choose_stages(c, &n, ring);
        try_candidate(p, &n, &c, &least, out);
    }
    candidate slices = {8, n.rows, 1, true, SINTER_MMA_NONE, 1};
    if (copies) slices.stages = choose_stages(slices, &n, ring);
    if (n.sliced && n.depth >= SLICED_DEPTH && !mma) try_candidate(p, &n, &slices, &least, out);
    return least < INFINITY;
}

/* ---- blocks ---- */

/* No more iterations than an axis has room for. */
static bool is_short(const product *p, sinter_loop_var loop) {
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, p->schedule->program, p->schedule->function);
    int64_t low, high;
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(p->schedule->function, loop);
    sinter_loop_range(p->schedule->function, sinter_schedule_count(&b, stmt), &low, &high);
    return high <= MAX_BLOCKS;
}

/* The loop that may be the longest is the innermost: that axis has room for all. */
static bool bind_blocks(product *p, loop_run *tiles) {
    uint32_t longs = 0, at = tiles->count - 1;
    for (uint32_t i = 0; i < tiles->count; i++) {
        if (is_short(p, tiles->loops[i])) continue;
        longs++;
        at = i;
    }
    if (longs > 1) {
        if (!fuse(p, tiles)) return false;
    } else if (at + 1 < tiles->count) {
        sinter_loop_var longest = tiles->loops[at];
        for (uint32_t i = at; i + 1 < tiles->count; i++) tiles->loops[i] = tiles->loops[i + 1];
        tiles->loops[tiles->count - 1] = longest;
        if (!sinter_schedule_reorder(p->schedule, tiles->loops, tiles->count)) return false;
    }
    for (uint32_t i = 0; i < tiles->count; i++)
        if (!sinter_schedule_bind(p->schedule, tiles->loops[i], SINTER_AXIS_BLOCK)) return false;
    return true;
}

/* ---- together ---- */

/* The tile that costs least, with copies under way or without. */
static bool tile_nest(product *p, bool copies, sinter_block_tile *out) {
    candidate best = {0};
    if (!choose(p, copies, &best) || (copies && best.stages < 2)) return false;
    *out = (sinter_block_tile){.rows = p->rows.count ? p->rows.loops[0] : 0,
                               .columns = p->columns.loops[0],
                               .warps = best.warps,
                               .thread_rows = best.thread_rows,
                               .thread_columns = best.thread_columns,
                               .depth = depth_of(&best),
                               .stages = best.stages,
                               .slices = best.slices,
                               .mma = best.mma,
                               .finite = p->sum.condition &&
                                         is_finite_factor(p, p->sum.factors[p->bare_factor])};
    return sinter_schedule_block_tile(p->schedule, out);
}

bool sinter_schedule_cuda_contraction(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    product p = {.state = state, .schedule = &state->schedule};
    sinter_schedule_flatten_all(p.schedule);
    sinter_schedule_chain c = sinter_schedule_chain_of(p.schedule, nest);
    sinter_schedule_chain_collapse(p.schedule, &c);
    if (!sinter_schedule_find_contraction(p.schedule, c.loops[c.depth - 1], &p.sum) ||
        !sort_loops(&p, &c) || reads_rows(&p) || !order_loops(&p, &c))
        return false;
    sinter_block_tile tile;
    if (!tile_nest(&p, true, &tile) && !tile_nest(&p, false, &tile)) return false;
    loop_run tiles = {0};
    if (p.batch.count) push(&tiles, p.batch.loops[0]);
    if (tile.out_rows) push(&tiles, tile.out_rows);
    push(&tiles, tile.out_columns);
    return bind_blocks(&p, &tiles);
}
