/* Contractions on CUDA: matrix products and convolutions as tiles that a block of threads shares (sinter_schedule_block_tile). The free
 * loops are sorted by the factors that use them: columns are the innermost ones, rows those of the other factor, the
 * others number independent products. A convolution is a product whose columns are the places of the window and whose reduction runs over
 * channels and taps; what lies beyond the border is 0 as it is staged.
 *
 * The tile is the cheapest by a model of the GPU (tile.c). Few rows have warps share the reduction; where there are too few tiles
 * for the multiprocessors, blocks make parts of the sums, and a second launch adds them up.
 * Test: tests/codegen/schedule/cuda_contraction.loops, tests/codegen/emit_cuda/contraction.sir */
#include "codegen/schedule/contraction.h"
#include "codegen/schedule/cuda.h"

#include <math.h>

enum {
    LANES = 32,
    MAX_BLOCKS = 65535, /* of the second and third axis of a grid */
    MIN_DEPTH = 16,     /* of a reduction; below, staging costs more than it saves */
    MIN_ELEMENTS = 256, /* of a product */
    LEAST_INSIDE =
        16, /* rows and columns of one in a block: of fewer tiles would be mostly empty */
    GUESSED_SIZE = 1024, /* of what only the run knows */
    MAX_SLICED_ROWS = 16,
    MAX_PARTS = 64,       /* of a sum */
    CYCLES_OF_PART = 125, /* until it is read, four at once */
    MAX_COPY = 16         /* bytes of a copy under way */
};

/* What a sum in parts takes at most of the time without, so that what the model does not know does not make it a loss. */
static const double WORTH_A_LAUNCH = 0.75;

/* What the blocks of a wave read at most of what they do without groups of rows, so that these are worth it. */
static const double WORTH_A_GROUP = 0.875;

/* That tf32 makes of a number. */
static const float LARGEST_ROUNDING = 1.001f;

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

/* One row by columns that lie along the reduction: each is a row of its own to sum up (rows.c). */
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
    /* Of zeros, and of NaN where an element is none or infinite, also once it is rounded to tf32: without branches. */
    float sum = 0;
    for (int64_t i = 0; tensor->dtype == SINTER_DTYPE_f32 && i < count; i++)
        sum += items[i] * LARGEST_ROUNDING * 0;
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

sinter_expr sinter_schedule_cuda_strip_rounding(sinter_expr factor) {
    while (factor->kind == SINTER_LOOP_CAST ||
           (factor->kind == SINTER_LOOP_CALL && factor->function == SINTER_SCALAR_round_tf32))
        factor = factor->arguments[0];
    return factor;
}

/* An element of a constant, perhaps cast, that has no infinity and no NaN; or integers, whose product with 0 is 0. */
static bool is_finite_factor(const product *p, sinter_expr factor) {
    const sinter_loop_program *program = p->state->program;
    const sinter_loop_function *kernel = p->schedule->function;
    if (!sinter_dtype_is_float(factor->dtype)) return true;
    factor = sinter_schedule_cuda_strip_rounding(factor);
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

/* ---- sizes ---- */

/* The number of iterations, or what to reckon with. */
static int64_t size_of(const product *p, const loop_run *run, bool *known) {
    int64_t size = 1;
    for (uint32_t i = 0; i < run->count; i++) {
        int64_t count;
        const sinter_loop_stmt *stmt =
            sinter_schedule_get_loop(p->schedule->function, run->loops[i]);
        if (!sinter_loop_trip_count(stmt, &count)) {
            *known = false;
            return GUESSED_SIZE;
        }
        size *= count;
    }
    return size;
}

/* The instruction that multiplies such factors, if all that code is made for have it. */
static sinter_loop_mma find_mma(const product *p) {
    const sinter_target *target = p->state->target;
    const sinter_expr left = p->sum.factors[1 - p->column_factor],
                      right = p->sum.factors[p->column_factor];
    for (int mma = 1; mma < SINTER_MMA_COUNT; mma++) {
        const sinter_loop_mma_info *info = &sinter_loop_mma_infos[mma];
        bool there = info->sum == p->sum.assign->value->dtype && p->rows.count &&
                     sinter_loop_mma_element(info, info->left, left) &&
                     sinter_loop_mma_element(info, info->right, right);
        for (uint32_t i = 0; i < target->gpu_code_count; i++)
            there &= target->gpu_codes[i].architecture >= info->architecture;
        if (there) return (sinter_loop_mma)mma;
    }
    return SINTER_MMA_NONE;
}

/* All that code is made for are of the architecture whose own code has the instruction for warpgroups. */
static bool has_warpgroups(const product *p, sinter_loop_mma mma) {
    return mma && sinter_loop_mma_infos[mma].warpgroup &&
           sinter_target_is_exactly(p->state->target, sinter_loop_mma_infos[mma].warpgroup);
}

/* False: it is too small to gain. out_known: the run has no say in them. */
static bool find_sizes(const product *p, sinter_schedule_cuda_product *out, bool *out_known) {
    bool known_rows = true, known_columns = true, known_batch = true, known_depth = true;
    int64_t count;
    *out = (sinter_schedule_cuda_product){.depth = 1, .has_rows = p->rows.count > 0};
    out->batch = size_of(p, &p->batch, &known_batch);
    out->rows = size_of(p, &p->rows, &known_rows);
    out->columns = size_of(p, &p->columns, &known_columns);
    for (uint32_t i = 0; i < p->sum.loop_count; i++) {
        known_depth &= sinter_loop_is_const_int(p->sum.counts[i], &count);
        out->depth *= known_depth ? count : 1;
    }
    if (!known_depth) out->depth = GUESSED_SIZE;
    *out_known = known_rows && known_columns && known_batch && known_depth;
    out->sliced = !out->has_rows || (known_rows && out->rows <= MAX_SLICED_ROWS);
    out->mma = find_mma(p);
    out->warpgroups = has_warpgroups(p, out->mma);
    out->element = out->mma ? 4 / sinter_loop_mma_infos[out->mma].packed
                            : sinter_dtype_infos[p->sum.assign->value->dtype].bits / 8;
    bool few = out->rows * out->columns < MIN_ELEMENTS;
    return (out->has_rows || out->sliced) && out->depth >= MIN_DEPTH &&
           (!few || (out->sliced && out->columns >= LANES));
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

/* ---- the order of blocks ---- */

/* Rows and columns that the blocks of a wave read, as many as multiprocessors, which begin in groups of so many tiles of rows: down a group first, then
 * along the columns. */
static double read_by_wave(const sinter_schedule_cuda_product *n, const sinter_gpu *gpu,
                           int64_t row_tiles, int64_t column_tiles, int64_t group) {
    const int64_t blocks = gpu->multiprocessors, along = (blocks + group - 1) / group;
    const bool inside = along <= column_tiles; /* of one group */
    const int64_t columns = inside ? along : column_tiles,
                  down = inside ? group : (blocks + columns - 1) / columns,
                  most = blocks < row_tiles ? blocks : row_tiles, rows = down < most ? down : most;
    return (double)rows * (double)n->rows / (double)row_tiles +
           (double)columns * (double)n->columns / (double)column_tiles;
}

/* Blocks begin in the order of the launch's axes, columns first. Where the second cache has no room for both operands, blocks that run at the same time
 * share more of them if they are a square of the product: tiles of rows in groups, each of which goes through all columns. */
static bool group_rows(product *p, const sinter_schedule_cuda_product *n, loop_run *tiles) {
    const sinter_gpu *gpu = p->state->target->gpu;
    const int64_t bytes = (n->rows + n->columns) * n->depth * n->element;
    int64_t row_tiles, column_tiles, best = 1;
    if (p->batch.count || tiles->count != 2 || bytes <= gpu->l2_bytes ||
        !sinter_loop_trip_count(sinter_schedule_get_loop(p->schedule->function, tiles->loops[0]),
                                &row_tiles) ||
        !sinter_loop_trip_count(sinter_schedule_get_loop(p->schedule->function, tiles->loops[1]),
                                &column_tiles))
        return true;
    double least = WORTH_A_GROUP * read_by_wave(n, gpu, row_tiles, column_tiles, 1);
    for (int64_t group = 2; group <= row_tiles; group++) {
        const double read = read_by_wave(n, gpu, row_tiles, column_tiles, group);
        if (row_tiles % group || read >= least) continue;
        best = group;
        least = read;
    }
    sinter_loop_var outer, inner, tail;
    if (best == 1) return true;
    if (!sinter_schedule_split(p->schedule, tiles->loops[0], best, SINTER_TAIL_EXACT, &outer,
                               &inner, &tail))
        return false;
    *tiles = (loop_run){.loops = {outer, tiles->loops[1], inner}, .count = 3};
    return sinter_schedule_reorder(p->schedule, tiles->loops, tiles->count);
}

/* ---- parts of a sum ---- */

/* Of a reduction's loop that parts are made of, and how many. */
typedef struct split_choice {
    sinter_loop_var loop;
    int64_t parts;
    double cycles;
} split_choice;

/* What tiles cost, staged as well as the GPUs can. */
static double cycles_of(const sinter_target *target, const sinter_schedule_cuda_product *n) {
    sinter_schedule_cuda_tile tile;
    for (int how = 0; how < SINTER_STAGING_COUNT; how++)
        if (sinter_schedule_cuda_choose_tile(target, n, (sinter_schedule_cuda_staging)how, &tile))
            return tile.cycles;
    return INFINITY;
}

/* What the launch costs that adds the parts up, which are written and read, by memory's pace. */
static double cycles_of_total(const sinter_gpu *gpu, const sinter_schedule_cuda_product *n,
                              int64_t parts, int64_t bytes) {
    const double results = (double)(n->batch * n->rows * n->columns * parts);
    const double seconds =
        SINTER_GPU_LAUNCH_SECONDS + 2 * results * (double)bytes / ((double)gpu->memory * 1e9);
    return seconds * gpu->clock * 1e6 + (double)parts * CYCLES_OF_PART;
}

/* The cheapest number of parts, each of so many whole elements that copies are as wide as without. */
static void choose_parts(const product *p, const sinter_schedule_cuda_product *n,
                         split_choice *best) {
    const sinter_target *target = p->state->target;
    const int64_t bytes = sinter_dtype_infos[p->sum.assign->value->dtype].bits / 8;
    for (uint32_t i = 0; i < p->sum.loop_count; i++) {
        int64_t count, least = i + 1 == p->sum.loop_count ? MAX_COPY / n->element : 1;
        if (!sinter_loop_is_const_int(p->sum.counts[i], &count)) continue;
        for (int64_t parts = 2; parts <= MAX_PARTS && parts <= count; parts++) {
            if (count % parts || count / parts % least || n->depth / parts < MIN_DEPTH) continue;
            sinter_schedule_cuda_product part = *n;
            part.batch *= parts;
            part.depth /= parts;
            const double cycles =
                cycles_of(target, &part) + cycles_of_total(target->gpu, n, parts, bytes);
            if (cycles < best->cycles) *best = (split_choice){p->sum.loops[i], parts, cycles};
        }
    }
}

/* ---- together ---- */

/* Finds the product, and which of its loops are what. */
static bool find_product(product *p, sinter_loop_var nest, sinter_schedule_chain *c) {
    *c = sinter_schedule_chain_of(p->schedule, nest);
    return sinter_schedule_find_contraction(p->schedule, c->loops[c->depth - 1], &p->sum) &&
           sort_loops(p, c) && !reads_rows(p);
}

bool sinter_schedule_cuda_split(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    product p = {.state = state, .schedule = &state->schedule};
    sinter_schedule_chain c;
    sinter_schedule_cuda_product n;
    bool known;
    if (!find_product(&p, nest, &c) || !find_sizes(&p, &n, &known) || !known) return false;
    if (p.sum.condition && !is_finite_factor(&p, p.sum.factors[p.bare_factor])) return false;
    split_choice best = {.cycles = WORTH_A_LAUNCH * cycles_of(state->target, &n)};
    choose_parts(&p, &n, &best);
    return best.parts &&
           sinter_schedule_split_sum(p.schedule, nest, best.loop, best.parts, p.columns.loops[0]);
}

static bool tile_nest(product *p, const sinter_schedule_cuda_tile *best, bool boxes,
                      sinter_block_tile *out) {
    *out = (sinter_block_tile){.rows = p->rows.count ? p->rows.loops[0] : 0,
                               .columns = p->columns.loops[0],
                               .warps = best->warps,
                               .thread_rows = best->thread_rows,
                               .thread_columns = best->thread_columns,
                               .depth = best->depth,
                               .stages = best->stages,
                               .slices = best->slices,
                               .mma = best->mma,
                               .warpgroup = best->warpgroup,
                               .producers = best->producers,
                               .boxes = boxes,
                               .finite = p->sum.condition &&
                                         is_finite_factor(p, p->sum.factors[p->bare_factor])};
    return sinter_schedule_block_tile(p->schedule, out);
}

/* The tile that costs least of those that are staged as well as can be. Smaller ones have room for what comes by way of registers. */
static bool make_tiles(product *p, sinter_schedule_cuda_product n, sinter_block_tile *out) {
    sinter_schedule_cuda_tile best;
    for (int how = 0; how < SINTER_STAGING_COUNT; how++) {
        const sinter_schedule_cuda_staging staging = (sinter_schedule_cuda_staging)how;
        n.most_sums = 0;
        while (sinter_schedule_cuda_choose_tile(p->state->target, &n, staging, &best)) {
            if ((best.producers && tile_nest(p, &best, true, out)) ||
                tile_nest(p, &best, false, out))
                return true;
            if (best.producers) {
                best.producers = 0;
                if (tile_nest(p, &best, false, out)) return true;
            }
            if (best.warpgroup) {
                n.warpgroups = false;
                continue;
            }
            n.most_sums = best.thread_rows * best.thread_columns - 1;
            if (staging != SINTER_STAGING_SHORT_RING || !n.most_sums) break;
        }
    }
    return false;
}

bool sinter_schedule_cuda_contraction(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    product p = {.state = state, .schedule = &state->schedule};
    sinter_schedule_flatten_all(p.schedule);
    sinter_schedule_chain c = sinter_schedule_chain_of(p.schedule, nest);
    sinter_schedule_chain_collapse(p.schedule, &c);
    sinter_schedule_cuda_product n;
    sinter_block_tile tile;
    bool known;
    if (!find_product(&p, c.loops[0], &c) || !order_loops(&p, &c) || !find_sizes(&p, &n, &known) ||
        !make_tiles(&p, n, &tile))
        return false;
    loop_run tiles = {0};
    if (p.batch.count) push(&tiles, p.batch.loops[0]);
    if (tile.out_rows) push(&tiles, tile.out_rows);
    push(&tiles, tile.out_columns);
    return group_rows(&p, &n, &tiles) && bind_blocks(&p, &tiles);
}

/* ---- in a block ---- */

/* An element of the block's scratch, perhaps cast. */
static bool is_in_block(const product *p, sinter_expr factor) {
    const sinter_expr element = sinter_schedule_cuda_strip_rounding(factor);
    return element->kind == SINTER_LOOP_LOAD &&
           p->schedule->function->buffers.items[element->buffer].scope == SINTER_SCOPE_SHARED;
}

static bool make_tiles_inside(product *p, sinter_loop_var nest,
                              const sinter_schedule_cuda_around *around, sinter_block_tile *out) {
    sinter_schedule_chain c;
    sinter_schedule_cuda_product n;
    bool known;
    if (!find_product(p, nest, &c) || !p->rows.count || !order_loops(p, &c) ||
        !find_sizes(p, &n, &known) || n.rows < LEAST_INSIDE || n.columns < LEAST_INSIDE ||
        (around->warps && around->grouped != (n.mma != SINTER_MMA_NONE)))
        return false;
    n.sliced = false;
    n.blocks = around->blocks;
    n.warps = around->warps;
    n.kept = around->kept;
    n.divides = true;
    n.rows_in_place = is_in_block(p, p->sum.factors[1 - p->column_factor]);
    n.warpgroups &= n.rows_in_place; /* by steps of 128 bytes */
    if (make_tiles(p, n, out)) return true;
    n.divides = n.rows_in_place = n.warpgroups = false;
    return make_tiles(p, n, out);
}

bool sinter_schedule_cuda_contraction_inside(sinter_schedule_cuda_state *state,
                                             sinter_loop_var nest,
                                             sinter_schedule_cuda_around *around,
                                             sinter_loop_var *out_outer) {
    product p = {.state = state, .schedule = &state->schedule};
    sinter_loop_function *saved =
        sinter_loop_clone_function(state->program, state->schedule.function);
    sinter_block_tile tile;
    if (!make_tiles_inside(&p, nest, around, &tile)) {
        *state->schedule.function = *saved;
        return false;
    }
    around->warps = tile.warps;
    around->grouped = tile.mma != SINTER_MMA_NONE;
    *out_outer = p.batch.count ? p.batch.loops[0] : tile.out_rows;
    return true;
}
