/* The verb that makes a contraction work of blocks of threads: operands are staged in shared memory, step by step of the reduction, and
 * each thread keeps a tile of sums in registers (schedule.h has the form). What operands, starts and uses are stays what the nest
 * says: they are its expressions, evaluated elsewhere.
 *
 * Lanes are neighbours in columns, so uses touch neighbouring elements; warps have rows of their own, so all lanes read the same
 * element of the rows' tile. Each tile is staged along what lies together in memory: the rows' as it comes, the columns'
 * turned, with rows of shared memory one element longer, so that no two lanes meet in a bank.
 * Needs: the nest of contraction.h in two loops. Guarantees: each sum adds in the order it did; with slices, sums of slices are
 * added in the order of warps. Test: tests/codegen/schedule/block_tile.loops */
#include "codegen/schedule/block_tile.h"

enum {
    LANES = SINTER_BLOCK_LANES,
    STEP = SINTER_BLOCK_STEP,
    MAX_WARPS = 32,
    MAX_SUMS = 128,
    MAX_STAGES = 8,
    ROW_BYTES = 16 /* of a matrix that a warp loads */
};

typedef sinter_block_tiling tiling;
typedef sinter_block_operand operand;
typedef sinter_block_threads threads;

/* ---- conditions ---- */

sinter_expr sinter_block_below(sinter_loop_builder *b, sinter_expr index, sinter_expr limit) {
    int64_t low, high, known;
    sinter_loop_range(b->function, sinter_loop_sub(b, limit, index), &low, &high);
    if (low >= 1) return NULL;
    sinter_expr condition = sinter_loop_compare(b, SINTER_SCALAR_lt, index, limit);
    return sinter_loop_is_const_int(condition, &known) && known ? NULL : condition;
}

sinter_expr sinter_block_both(sinter_loop_builder *b, sinter_expr a, sinter_expr c) {
    return !a ? c : !c ? a : sinter_loop_and(b, a, c);
}

static sinter_expr number(tiling *t, int64_t value) {
    return sinter_block_int(t, value);
}

sinter_expr sinter_block_int(tiling *t, int64_t value) {
    return sinter_loop_int(t->builder, value);
}

sinter_expr sinter_block_begin_loop(tiling *t, const char *name, int64_t count,
                                    sinter_loop_axis axis) {
    return sinter_loop_var_read(t->builder, sinter_loop_begin_for(t->builder, name, number(t, 0),
                                                                  number(t, count), 1, axis));
}

/* Lanes are one axis, or 8 x 4 as instructions see them. */
threads sinter_block_begin_threads(tiling *t) {
    threads found = {.count = t->mma ? 3 : 2};
    found.axes[0] = found.warp = sinter_block_begin_loop(t, "warp", t->warps, SINTER_AXIS_THREAD);
    if (t->mma) {
        found.axes[1] = sinter_block_begin_loop(t, "g", SINTER_MMA_GROUPS, SINTER_AXIS_THREAD);
        found.axes[2] = sinter_block_begin_loop(t, "t", SINTER_MMA_MEMBERS, SINTER_AXIS_THREAD);
        found.lane = sinter_block_place(t, found.axes[1], SINTER_MMA_MEMBERS, found.axes[2]);
    } else {
        found.axes[1] = found.lane = sinter_block_begin_loop(t, "lane", LANES, SINTER_AXIS_THREAD);
    }
    return found;
}

void sinter_block_end_loops(tiling *t, uint32_t count) {
    while (count--) sinter_loop_end(t->builder);
}

sinter_expr sinter_block_place(tiling *t, sinter_expr a, int64_t scale, sinter_expr c) {
    return sinter_loop_add(t->builder, sinter_loop_mul(t->builder, a, number(t, scale)), c);
}

/* ---- what is where ---- */

sinter_expr sinter_block_count(tiling *t, const operand *o) {
    return o->loop ? sinter_schedule_count(t->builder, o->loop) : number(t, 1);
}

void sinter_block_begin_map(tiling *t, sinter_loop_map *map, sinter_expr row, sinter_expr column) {
    sinter_loop_map_init(map, t->schedule->program, t->schedule->function);
    if (t->rows.loop && row) sinter_loop_map_var(map, t->rows.loop->var, row);
    if (column) sinter_loop_map_var(map, t->columns.loop->var, column);
}

void sinter_block_map_reduction(tiling *t, sinter_loop_map *map, sinter_expr position,
                                sinter_expr within) {
    const sinter_contraction *c = &t->sum;
    for (uint32_t i = c->loop_count; i-- > 0;) {
        sinter_expr digit = i ? sinter_loop_rem(t->builder, position, c->counts[i]) : position;
        if (i) position = sinter_loop_div(t->builder, position, c->counts[i]);
        if (within && i + 1 == c->loop_count) digit = sinter_loop_add(t->builder, digit, within);
        sinter_loop_map_var(map, c->loops[i], sinter_loop_add(t->builder, c->lowers[i], digit));
    }
}

sinter_expr sinter_block_zero(tiling *t, sinter_dtype dtype) {
    return sinter_dtype_is_float(dtype) ? sinter_loop_const(t->builder, dtype, 0)
                                        : sinter_loop_const_int(t->builder, dtype, 0);
}

/* ---- sums ---- */

/* Or which rows of an instruction's 16; of a warpgroup's 64, a quarter is each warp's. */
static sinter_expr row_in_tile(tiling *t, sinter_expr warp, sinter_expr row) {
    sinter_loop_builder *b = t->builder;
    sinter_expr warps = number(t, SINTER_WGMMA_WARPS);
    if (t->asked->warpgroup && t->asked->thread_rows > 1)
        return sinter_block_place(
            t, sinter_block_place(t, sinter_loop_div(b, warp, warps), t->asked->thread_rows, row),
            SINTER_WGMMA_WARPS, sinter_loop_rem(b, warp, warps));
    return t->asked->slices ? row : sinter_block_place(t, warp, t->asked->thread_rows, row);
}

/* One of a thread's sums: its loops, where it is in registers, its place in the tile. */
typedef struct element {
    threads own;
    sinter_expr indices[7], row, column;
    uint32_t rank, loops;
} element;

static sinter_expr begin_index(tiling *t, element *e, const char *name, int64_t count,
                               sinter_loop_axis axis) {
    e->loops++;
    return e->indices[e->rank++] = sinter_block_begin_loop(t, name, count, axis);
}

/* Opens the loops over all that a thread has. pairs: the axis of two columns side by side, where units for matrices leave such. */
static element begin_elements(tiling *t, sinter_loop_axis pairs) {
    element e = {.own = sinter_block_begin_threads(t)};
    for (; e.rank < e.own.count; e.rank++) e.indices[e.rank] = e.own.axes[e.rank];
    e.loops = e.rank;
    sinter_expr i = begin_index(t, &e, "i", t->asked->thread_rows, SINTER_AXIS_UNROLL),
                j = begin_index(t, &e, "j", t->asked->thread_columns, SINTER_AXIS_UNROLL);
    e.row = row_in_tile(t, e.own.warp, i);
    e.column = sinter_block_place(t, j, LANES, e.own.lane);
    if (!t->mma) return e;
    sinter_expr r = begin_index(t, &e, "r", 2, SINTER_AXIS_UNROLL),
                c = begin_index(t, &e, "c", 2, pairs);
    e.row = sinter_block_place(t, e.row, SINTER_MMA_ROWS,
                               sinter_block_place(t, r, SINTER_MMA_GROUPS, e.own.axes[1]));
    e.column =
        sinter_block_place(t, j, SINTER_MMA_COLUMNS, sinter_block_place(t, e.own.axes[2], 2, c));
    return e;
}

static sinter_expr load_sum(tiling *t, const element *e) {
    return sinter_loop_load(t->builder, t->sums, e->indices);
}

static void store_sum(tiling *t, const element *e, sinter_expr value) {
    sinter_loop_store(t->builder, t->sums, e->indices, value);
}

static void start_sums(tiling *t) {
    sinter_loop_builder *b = t->builder;
    element e = begin_elements(t, SINTER_AXIS_UNROLL);
    sinter_expr row = sinter_loop_add(b, t->rows.first, e.row),
                column = sinter_loop_add(b, t->columns.first, e.column);
    sinter_loop_map map;
    sinter_block_begin_map(t, &map, row, column);
    sinter_expr start = sinter_loop_map_expr(&t->sum.lets, t->sum.declare->value);
    sinter_expr zero = sinter_block_zero(t, start->dtype), condition = NULL;
    bool plain = start->kind == SINTER_LOOP_CONST;
    if (!plain)
        condition =
            sinter_block_both(b, sinter_block_below(b, row, sinter_block_count(t, &t->rows)),
                              sinter_block_below(b, column, sinter_block_count(t, &t->columns)));
    bool is_zero = sinter_loop_expr_equal(start, zero);
    if (t->asked->slices && !is_zero)
        condition = sinter_block_both(
            b, sinter_loop_compare(b, SINTER_SCALAR_eq, e.own.warp, number(t, 0)), condition);
    if (condition) sinter_loop_begin_if(b, condition);
    store_sum(t, &e, sinter_loop_map_expr(&map, start));
    if (condition) {
        sinter_loop_end(b);
        sinter_loop_begin_else(b);
        store_sum(t, &e, zero);
        sinter_loop_end(b);
    }
    sinter_block_end_loops(t, e.loops);
}

/* sum + a * b, in the nest's own words. */
static sinter_expr add_product(tiling *t, sinter_expr sum, sinter_expr row, sinter_expr column) {
    sinter_expr product[3] = {t->rows_first ? row : column, t->rows_first ? column : row, sum};
    if (t->sum.fused) return sinter_loop_call(t->builder, SINTER_SCALAR_fma, product);
    sinter_expr value = sinter_loop_mul(t->builder, product[0], product[1]);
    return t->sum.product_first ? sinter_loop_add(t->builder, value, sum)
                                : sinter_loop_add(t->builder, sum, value);
}

static sinter_loop_buffer allocate(tiling *t, const char *name, sinter_dtype dtype, uint32_t rank,
                                   const int64_t *sizes) {
    sinter_expr dims[7];
    for (uint32_t i = 0; i < rank; i++) dims[i] = number(t, sizes[i]);
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(t->builder, name, dtype, rank, dims, SINTER_SCOPE_REGISTER);
    sinter_loop_alloc(t->builder, buffer);
    return buffer;
}

sinter_loop_buffer sinter_block_registers(tiling *t, const char *name, sinter_dtype dtype,
                                          uint32_t rank, const int64_t *sizes) {
    int64_t all[7] = {t->asked->warps, t->mma ? SINTER_MMA_GROUPS : LANES, SINTER_MMA_MEMBERS};
    uint32_t axes = t->mma ? 3 : 2;
    for (uint32_t i = 0; i < rank; i++) all[axes + i] = sizes[i];
    return allocate(t, name, dtype, axes + rank, all);
}

/* The products of a few elements of the reduction from `depth` on: those of columns are read once for all rows. */
static void add_products(tiling *t, const threads *own, sinter_expr depth) {
    sinter_loop_builder *b = t->builder;
    const int64_t wide[2] = {STEP, t->asked->thread_columns};
    sinter_loop_buffer columns = allocate(t, "column_part", t->columns.value->dtype, 2, wide);
    sinter_expr k = sinter_block_begin_loop(t, "kk", STEP, SINTER_AXIS_UNROLL),
                j = sinter_block_begin_loop(t, "j", wide[1], SINTER_AXIS_UNROLL);
    sinter_expr at[2] = {k, j};
    sinter_loop_store(b, columns, at,
                      sinter_block_load(t, &t->columns, sinter_loop_add(b, depth, k),
                                        sinter_block_place(t, j, LANES, own->lane)));
    sinter_block_end_loops(t, 2);
    sinter_expr i = sinter_block_begin_loop(t, "i", t->asked->thread_rows, SINTER_AXIS_UNROLL);
    sinter_loop_buffer rows = allocate(t, "row_part", t->rows.value->dtype, 1, wide);
    k = sinter_block_begin_loop(t, "kk", STEP, SINTER_AXIS_UNROLL);
    sinter_loop_store(
        b, rows, &k,
        sinter_block_load(t, &t->rows, sinter_loop_add(b, depth, k), row_in_tile(t, own->warp, i)));
    sinter_block_end_loops(t, 1);
    at[0] = k = sinter_block_begin_loop(t, "kk", STEP, SINTER_AXIS_UNROLL);
    at[1] = j = sinter_block_begin_loop(t, "j", wide[1], SINTER_AXIS_UNROLL);
    sinter_expr place[4] = {own->warp, own->lane, i, j};
    sinter_loop_store(b, t->sums, place,
                      add_product(t, sinter_loop_load(b, t->sums, place),
                                  sinter_loop_load(b, rows, &k), sinter_loop_load(b, columns, at)));
    sinter_block_end_loops(t, 3);
}

static void multiply(tiling *t) {
    const int64_t depth = t->asked->depth,
                  share = t->asked->slices ? depth / t->asked->warps : depth;
    threads own = sinter_block_begin_threads(t);
    sinter_expr k = sinter_block_begin_loop(t, "k", share / STEP, SINTER_AXIS_SERIAL);
    sinter_expr first = sinter_block_place(t, k, STEP, number(t, 0));
    if (t->asked->slices) first = sinter_block_place(t, own.warp, share, first);
    add_products(t, &own, first);
    sinter_block_end_loops(t, own.count + 1);
}

/* Reads and writes tile `number` of the ring. */
static void turn_ring(tiling *t, sinter_expr at) {
    t->slot = sinter_loop_rem(t->builder, at, number(t, t->asked->stages));
}

static void multiply_staged(tiling *t, sinter_expr step, const sinter_block_fragments *fragments) {
    t->step = step;
    t->start = sinter_loop_mul(t->builder, step, number(t, t->asked->depth));
    if (t->asked->warpgroup)
        sinter_block_multiply_groups(t);
    else if (t->mma)
        sinter_block_multiply(t, fragments);
    else
        multiply(t);
}

static sinter_expr begin_steps(tiling *t, sinter_expr count) {
    return sinter_loop_var_read(t->builder, sinter_loop_begin_for(t->builder, "stage", number(t, 0),
                                                                  count, 1, SINTER_AXIS_SERIAL));
}

/* One step is staged while none is multiplied. */
static void reduce_by_turns(tiling *t, sinter_expr steps, const sinter_block_fragments *fragments) {
    sinter_expr step = begin_steps(t, steps),
                start = sinter_loop_mul(t->builder, step, number(t, t->asked->depth));
    sinter_block_stage(t, &t->rows, start);
    sinter_block_stage(t, &t->columns, start);
    sinter_loop_barrier(t->builder);
    multiply_staged(t, step, fragments);
    sinter_loop_barrier(t->builder);
    sinter_block_end_loops(t, 1);
}

/* Steps are multiplied `ahead` trips after their copies began, so that these are under way meanwhile. What a trip copies takes the place of
 * what the trip before multiplied, behind the one barrier. What goes by way of registers is read where copies begin, and gets there in
 * the same trip, behind what is multiplied: the next barrier is before it is used, since `ahead` is at least one.
 * Products of warpgroups are under way themselves, while the trip after theirs begins: what it copies takes the place of those before, which
 * a trip waits for when its own have begun. */
static void reduce_by_ring(tiling *t, sinter_expr steps, const sinter_block_fragments *fragments) {
    sinter_loop_builder *b = t->builder;
    const bool groups = t->asked->warpgroup;
    const int64_t behind = groups ? 2 : 1, ahead = t->asked->stages - behind;
    t->before_steps = b->tail;
    sinter_expr step = begin_steps(t, sinter_loop_add(b, steps, number(t, ahead)));
    sinter_loop_wait(b, (uint32_t)ahead - 1);
    if (groups) sinter_loop_fence(b);
    sinter_loop_barrier(b);
    const sinter_expr is_step = sinter_loop_compare(b, SINTER_SCALAR_lt, step, steps);
    sinter_loop_begin_if(b, is_step);
    turn_ring(t, step);
    sinter_expr start = sinter_loop_mul(b, step, number(t, t->asked->depth));
    sinter_block_stage(t, &t->rows, start);
    sinter_block_stage(t, &t->columns, start);
    sinter_loop_end(b);
    sinter_loop_commit(b);
    sinter_loop_begin_if(b, sinter_loop_compare(b, SINTER_SCALAR_lt, number(t, ahead - 1), step));
    turn_ring(t, sinter_loop_add(b, step, number(t, behind))); /* (step - ahead) mod stages */
    multiply_staged(t, sinter_loop_sub(b, step, number(t, ahead)), fragments);
    if (groups) {
        sinter_loop_commit_products(b);
        sinter_loop_wait_products(b, 1); /* where there are none NVIDIA's compiler makes some up */
    }
    sinter_loop_end(b);
    if (t->rows.ahead || t->columns.ahead) {
        sinter_loop_begin_if(b, is_step);
        turn_ring(t, step);
        sinter_block_put(t, &t->rows, start);
        sinter_block_put(t, &t->columns, start);
        sinter_loop_end(b);
    }
    sinter_block_end_loops(t, 1);
    if (groups) sinter_loop_wait_products(b, 0);
}

static void reduce(tiling *t) {
    sinter_loop_builder *b = t->builder;
    sinter_expr depth = number(t, t->asked->depth);
    sinter_block_fragments fragments = {0};
    if (t->mma && !t->asked->warpgroup) fragments = sinter_block_add_fragments(t);
    sinter_expr steps = sinter_loop_div(
        b, sinter_loop_add(b, t->count, sinter_loop_sub(b, depth, number(t, 1))), depth);
    if (t->asked->producers)
        sinter_block_reduce_by_pieces(t, steps);
    else if (t->asked->stages > 1)
        reduce_by_ring(t, steps, &fragments);
    else
        reduce_by_turns(t, steps, &fragments);
}

/* ---- uses ---- */

/* The uses of one sum, where there is an element for it. */
static void use_sum(tiling *t, sinter_expr row, sinter_expr column, sinter_expr sum) {
    sinter_loop_builder *b = t->builder;
    const sinter_contraction *c = &t->sum;
    if (!c->uses) return;
    sinter_loop_map map;
    sinter_block_begin_map(t, &map, row, column);
    for (size_t i = 0; i < c->lets.vars.count; i++)
        if (c->lets.vars.items[i])
            sinter_loop_map_var(&map, c->lets.first_var + (sinter_loop_var)i,
                                sinter_loop_map_expr(&map, c->lets.vars.items[i]));
    sinter_expr condition =
        sinter_block_both(b, sinter_block_below(b, row, sinter_block_count(t, &t->rows)),
                          sinter_block_below(b, column, sinter_block_count(t, &t->columns)));
    if (condition) sinter_loop_begin_if(b, condition);
    bool changes = sinter_loop_list_assigns(c->uses, c->declare->var);
    const char *name = sinter_schedule_var_name(t->schedule, c->declare->var);
    sinter_loop_var value = sinter_loop_declare(b, name, changes, sum);
    sinter_loop_map_var(&map, c->declare->var, sinter_loop_var_read(b, value));
    *b->tail = sinter_loop_clone_list(&map, c->uses);
    while (*b->tail) b->tail = &(*b->tail)->next;
    if (condition) sinter_loop_end(b);
}

/* The uses compute and store, so that lanes of a vector may do it side by side; what lies so is stored at once. */
static bool uses_as_lanes(const tiling *t) {
    const sinter_loop_function *function = t->schedule->function;
    for (const sinter_loop_stmt *s = t->sum.uses; s; s = s->next) {
        bool computes = s->kind == SINTER_LOOP_DECLARE && !function->vars.items[s->var].is_mutable;
        bool stores = s->kind == SINTER_LOOP_STORE && !s->combine;
        if (!computes && !stores && s->kind != SINTER_LOOP_COMMENT) return false;
    }
    return true;
}

static void use_sums(tiling *t) {
    element e = begin_elements(t, uses_as_lanes(t) ? SINTER_AXIS_VECTOR : SINTER_AXIS_UNROLL);
    use_sum(t, sinter_loop_add(t->builder, t->rows.first, e.row),
            sinter_loop_add(t->builder, t->columns.first, e.column), load_sum(t, &e));
    sinter_block_end_loops(t, e.loops);
}

/* Each warp has sums over its slices: they meet in shared memory, and warps share out the columns. */
static void use_slices(tiling *t) {
    sinter_loop_builder *b = t->builder;
    const int64_t warps = t->asked->warps, rows = t->asked->thread_rows;
    sinter_expr dims[3] = {number(t, warps), number(t, rows), number(t, t->columns.extent)};
    sinter_loop_buffer slices = sinter_loop_add_buffer(b, "slices", t->sum.assign->value->dtype, 3,
                                                       dims, SINTER_SCOPE_SHARED);
    sinter_loop_alloc(b, slices);
    element e = begin_elements(t, SINTER_AXIS_UNROLL);
    sinter_expr at[3] = {e.own.warp, e.row, e.column};
    sinter_loop_store(b, slices, at, load_sum(t, &e));
    sinter_block_end_loops(t, e.loops);
    sinter_loop_barrier(b);
    threads own = {.warp = sinter_block_begin_loop(t, "warp", warps, SINTER_AXIS_THREAD)};
    const int64_t share = t->columns.extent / warps;
    own.lane = sinter_block_begin_loop(t, "lane", share, SINTER_AXIS_THREAD);
    at[1] = sinter_block_begin_loop(t, "i", rows, SINTER_AXIS_UNROLL);
    at[2] = sinter_block_place(t, own.warp, share, own.lane);
    sinter_expr total = NULL;
    for (int64_t i = 0; i < warps; i++) {
        at[0] = number(t, i);
        sinter_expr part = sinter_loop_load(b, slices, at);
        total = total ? sinter_loop_add(b, total, part) : part;
    }
    use_sum(t, sinter_loop_add(b, t->rows.first, at[1]),
            sinter_loop_add(b, t->columns.first, at[2]), total);
    sinter_block_end_loops(t, 3);
}

/* ---- whether it fits ---- */

static bool check_loop(sinter_schedule *schedule, const sinter_loop_stmt *loop) {
    int64_t lower;
    bool fits = loop && loop->axis == SINTER_AXIS_SERIAL && loop->step == 1 &&
                sinter_loop_is_const_int(loop->lower, &lower) && lower == 0 &&
                sinter_schedule_bounds_fixed(loop, loop->body);
    if (!fits) return sinter_schedule_refuse(schedule, "these are no serial loops from 0");
    return sinter_schedule_is_independent(schedule, loop);
}

static bool check_sizes(sinter_schedule *schedule, const sinter_block_tile *asked) {
    bool powers = asked->warps >= 2 && asked->warps <= MAX_WARPS &&
                  !(asked->warps & (asked->warps - 1)) && asked->depth >= LANES &&
                  asked->depth <= 1024 && asked->depth % LANES == 0;
    if (!powers || (asked->slices && (asked->depth % (asked->warps * STEP) ||
                                      LANES * asked->thread_columns < 2 * asked->warps)))
        return sinter_schedule_refuse(
            schedule, "expected 2 to %d warps, a power of two, and a depth of whole warps",
            MAX_WARPS);
    if (asked->thread_rows < 1 || asked->thread_columns < 1 || asked->thread_rows > MAX_SUMS ||
        asked->thread_columns > MAX_SUMS || asked->thread_rows * asked->thread_columns > MAX_SUMS)
        return sinter_schedule_refuse(schedule, "a thread has 1 to %d sums", MAX_SUMS);
    if (asked->stages < 0 || asked->stages > MAX_STAGES)
        return sinter_schedule_refuse(schedule, "a ring has up to %d stages", MAX_STAGES);
    return asked->rows || (asked->slices && asked->thread_rows == 1) ||
           sinter_schedule_refuse(schedule, "one row needs slices and one row a thread");
}

/* Every load is inside of its buffer wherever the loops are, without a condition. */
static void check_load(void *user, sinter_expr expr) {
    tiling *t = user;
    const sinter_loop_function *function = t->schedule->function;
    if (expr->kind != SINTER_LOOP_LOAD) return;
    for (uint32_t i = 0; i < expr->argument_count; i++) {
        sinter_expr dim = function->buffers.items[expr->buffer].dims[i];
        if (sinter_block_below(t->builder, expr->arguments[i], dim)) t->asked = NULL;
    }
}

static bool always_inside(tiling *t, sinter_expr value) {
    sinter_block_tile *asked = t->asked;
    sinter_loop_walk_expr(value, check_load, t);
    bool inside = t->asked != NULL;
    t->asked = asked;
    return inside;
}

/* A condition of the sum is one of the operand that has it: where it does not hold, that one is 0. */
static bool place_condition(tiling *t) {
    sinter_expr condition = t->sum.condition;
    if (!condition) return true;
    bool by_row = t->rows.loop && sinter_loop_expr_uses(condition, t->rows.loop->var);
    bool by_column = sinter_loop_expr_uses(condition, t->columns.loop->var);
    if (by_row && by_column)
        return sinter_schedule_refuse(t->schedule, "its condition is of rows and columns");
    sinter_loop_builder *b = t->builder;
    if (by_row || !by_column)
        t->rows.condition = sinter_block_both(b, t->rows.condition, condition);
    if (by_column || !by_row)
        t->columns.condition = sinter_block_both(b, t->columns.condition, condition);
    if (by_row == by_column) return true;
    if (!t->asked->finite)
        return sinter_schedule_refuse(
            t->schedule, "0 takes the place of what a condition leaves out: the other operand "
                         "must be finite");
    return always_inside(t, by_row ? t->columns.value : t->rows.value) ||
           sinter_schedule_refuse(t->schedule, "an operand is read outside of its condition");
}

static bool place_factors(tiling *t) {
    const sinter_contraction *c = &t->sum;
    bool row[2], column[2];
    for (uint32_t i = 0; i < 2; i++) {
        row[i] = t->rows.loop && sinter_loop_expr_uses(c->factors[i], t->rows.loop->var);
        column[i] = sinter_loop_expr_uses(c->factors[i], t->columns.loop->var);
    }
    t->rows_first = !column[0];
    uint32_t first = t->rows_first ? 0 : 1;
    if (column[first] || row[1 - first] || !column[1 - first])
        return sinter_schedule_refuse(t->schedule,
                                      "no factor is of rows alone with one of columns alone");
    t->rows.value = c->factors[first];
    t->columns.value = c->factors[1 - first];
    t->rows.condition = c->present[first];
    t->columns.condition = c->present[1 - first];
    return true;
}

static bool is_var(sinter_expr expr, sinter_loop_var var) {
    return expr->kind == SINTER_LOOP_VAR && expr->var == var;
}

/* The operand is scratch of the block, [rows, steps] or the other way round, in whole tiles: it is read where it lies. Matrices are loaded
 * as rows of 16 bytes: in scratch these get an odd number of them, so that eight meet in no bank. */
static void find_in_place(tiling *t, operand *o) {
    const sinter_contraction *c = &t->sum;
    sinter_loop_buffer_info *info = &t->schedule->function->buffers.items[o->value->buffer];
    int64_t count, steps, lower, length;
    if (o->value->kind != SINTER_LOOP_LOAD || info->scope != SINTER_SCOPE_SHARED ||
        info->rank != 2 || o->condition || c->loop_count != 1 || !o->loop ||
        !sinter_loop_trip_count(o->loop, &count) || count % o->extent ||
        !sinter_loop_is_const_int(c->counts[0], &steps) || steps % t->asked->depth ||
        !sinter_loop_is_const_int(c->lowers[0], &lower) || lower ||
        !sinter_loop_is_const_int(info->dims[1], &length))
        return;
    const bool straight = is_var(o->value->arguments[0], o->loop->var) &&
                          is_var(o->value->arguments[1], c->loops[0]),
               turned = is_var(o->value->arguments[1], o->loop->var) &&
                        is_var(o->value->arguments[0], c->loops[0]);
    if (!straight && !turned) return;
    if (t->asked->warpgroup && !straight) return;
    o->tile = o->value->buffer;
    o->depth_last = straight;
    o->in_place = true;
    if (!t->mma || t->asked->warpgroup) return;
    const int64_t unit = ROW_BYTES * 8 / sinter_dtype_infos[info->dtype].bits,
                  units = (length + unit - 1) / unit;
    sinter_expr dims[2] = {info->dims[0], number(t, (units + 1 - units % 2) * unit)};
    info->dims = sinter_arena_copy(t->builder->arena, dims, sizeof dims);
}

/* How each operand is staged. */
static void place_lanes(tiling *t) {
    const sinter_contraction *c = &t->sum;
    sinter_loop_var inner = c->loops[c->loop_count - 1];
    operand *rows = &t->rows, *columns = &t->columns;
    bool turned =
        rows->loop &&
        sinter_schedule_reading(t->schedule, rows->value, rows->loop->var) == SINTER_READING_NEXT &&
        sinter_schedule_reading(t->schedule, rows->value, inner) != SINTER_READING_NEXT;
    /* lanes of a warp side by side along the rows: of several steps, where a tile has fewer rows than a warp lanes */
    const bool in_lanes = rows->extent % LANES == 0 || LANES % rows->extent == 0;
    rows->along_depth = !turned || !in_lanes;
    rows->depth_last = rows->along_depth;
    columns->along_depth =
        sinter_schedule_reading(t->schedule, columns->value, columns->loop->var) ==
            SINTER_READING_APART &&
        sinter_schedule_reading(t->schedule, columns->value, inner) == SINTER_READING_NEXT;
    columns->pad = columns->along_depth;
    if (!t->mma) return;
    columns->depth_last = columns->along_depth;
    if (t->asked->warpgroup) {
        const int64_t chunk = sinter_loop_wgmma_row(t->mma->left);
        rows->chunk = rows->depth_last ? 0 : chunk;
        columns->chunk = columns->depth_last ? 0 : chunk;
        columns->pad = 0;
        return;
    }
    rows->pad = rows->depth_last ? t->mma->pad : SINTER_MMA_GROUPS;
    columns->pad = columns->depth_last ? t->mma->pad : SINTER_MMA_GROUPS;
}

static bool prepare(tiling *t) {
    sinter_block_tile *asked = t->asked;
    t->columns.loop = sinter_schedule_get_loop(t->schedule->function, asked->columns);
    if (asked->rows) {
        t->rows.loop = sinter_schedule_get_loop(t->schedule->function, asked->rows);
        if (!t->rows.loop || t->rows.loop->body != t->columns.loop || t->columns.loop->next ||
            sinter_loop_expr_uses(t->columns.loop->upper, t->rows.loop->var))
            return sinter_schedule_refuse(t->schedule, "these are not perfectly nested loops");
        if (!check_loop(t->schedule, t->rows.loop)) return false;
    }
    if (!check_loop(t->schedule, t->columns.loop) || !check_sizes(t->schedule, asked) ||
        !sinter_schedule_find_contraction(t->schedule, asked->columns, &t->sum))
        return false;
    t->builder = &t->sum.lets.builder;
    t->rows.extent =
        (asked->slices ? 1 : asked->warps) * asked->thread_rows * (t->mma ? SINTER_MMA_ROWS : 1);
    t->columns.extent = asked->thread_columns * (t->mma ? SINTER_MMA_COLUMNS : LANES);
    t->count = number(t, 1);
    for (uint32_t i = 0; i < t->sum.loop_count; i++)
        t->count = sinter_loop_mul(t->builder, t->count, t->sum.counts[i]);
    if (!place_factors(t) || !place_condition(t) || (t->mma && !sinter_block_fit_mma(t)))
        return false;
    place_lanes(t);
    if (asked->boxes && !asked->warpgroup)
        return sinter_schedule_refuse(t->schedule, "boxes are for instructions of warpgroups");
    find_in_place(t, &t->rows);
    if (asked->warpgroup) return sinter_block_fit_wgmma(t);
    find_in_place(t, &t->columns);
    return true;
}

/* ---- scratch as warpgroups read it ---- */

static uint32_t index_by_steps(void *user, sinter_loop_buffer buffer, sinter_expr *indices) {
    tiling *t = user;
    sinter_expr depth = number(t, t->asked->depth);
    (void)buffer;
    const sinter_expr row = indices[0], step = indices[1];
    indices[0] = sinter_loop_div(t->builder, step, depth);
    indices[1] = row;
    indices[2] = sinter_loop_rem(t->builder, step, depth);
    return 3;
}

/* [rows, steps] becomes [step, row, within], rows of 128 bytes with their swizzle. */
static void regroup(tiling *t, const operand *o) {
    sinter_loop_function *function = t->schedule->function;
    sinter_loop_buffer_info *info = &function->buffers.items[o->tile];
    sinter_expr dims[3] = {
        sinter_loop_div(t->builder, t->sum.counts[0], number(t, t->asked->depth)), info->dims[0],
        number(t, t->asked->depth)};
    sinter_loop_change_indices(t->builder->arena, function->body, o->tile, index_by_steps, t);
    info->dims = sinter_arena_copy(t->builder->arena, dims, sizeof dims);
    info->rank = 3;
    info->swizzle = SINTER_LOOP_SWIZZLE;
}

/* ---- together ---- */

static sinter_expr begin_tiles(tiling *t, operand *o, sinter_loop_var *out_loop) {
    sinter_loop_builder *b = t->builder;
    sinter_expr tiles =
        sinter_loop_div(b, sinter_loop_add(b, sinter_block_count(t, o), number(t, o->extent - 1)),
                        number(t, o->extent));
    const char *name =
        sinter_arena_format(b->arena, "%so", sinter_schedule_var_name(t->schedule, o->loop->var));
    *out_loop = sinter_loop_begin_for(b, name, number(t, 0), tiles, 1, SINTER_AXIS_SERIAL);
    return sinter_loop_mul(b, sinter_loop_var_read(b, *out_loop), number(t, o->extent));
}

static void build(tiling *t) {
    sinter_block_tile *asked = t->asked;
    t->rows.first = number(t, 0);
    asked->out_rows = 0;
    if (t->rows.loop) t->rows.first = begin_tiles(t, &t->rows, &asked->out_rows);
    t->columns.first = begin_tiles(t, &t->columns, &asked->out_columns);
    const int64_t sizes[4] = {asked->thread_rows, asked->thread_columns, 2, 2};
    t->sums = sinter_block_registers(t, sinter_schedule_var_name(t->schedule, t->sum.declare->var),
                                     t->sum.assign->value->dtype, t->mma ? 4 : 2, sizes);
    sinter_block_add_tile(t, &t->rows, "row_tile");
    sinter_block_add_tile(t, &t->columns, "column_tile");
    const bool pieces = asked->producers > 0;
    if (pieces) {
        sinter_block_add_phases(t);
        sinter_block_begin_consumers(t);
    }
    start_sums(t);
    if (pieces) sinter_loop_end(t->builder);
    reduce(t);
    if (pieces) {
        sinter_block_begin_consumers(t);
        sinter_loop_wait_products(t->builder, 0);
    }
    if (asked->slices)
        use_slices(t);
    else
        use_sums(t);
    sinter_block_end_loops(t, 1 + (t->rows.loop != NULL) + pieces);
}

bool sinter_schedule_block_tile(sinter_schedule *schedule, sinter_block_tile *asked) {
    tiling t = {.schedule = schedule, .asked = asked, .warps = asked->warps};
    if (asked->mma) t.mma = &sinter_loop_mma_infos[asked->mma];
    if (asked->boxes) asked->producers = 1;
    if (!sinter_schedule_get_loop(schedule->function, asked->columns))
        return sinter_schedule_refuse(schedule, "there is no such loop");
    if (!prepare(&t)) return false;
    sinter_loop_function *saved = sinter_loop_clone_function(schedule->program, schedule->function);
    if (asked->warpgroup && t.rows.in_place) regroup(&t, &t.rows);
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR,
                                                        asked->rows ? asked->rows : asked->columns);
    *link = (*link)->next;
    t.builder->tail = link;
    build(&t);
    const bool waits =
        !(t.rows.ahead || t.rows.in_place) || !(t.columns.ahead || t.columns.in_place);
    if (asked->stages > 1 && !t.copies && waits) {
        *schedule->function = *saved;
        return sinter_schedule_refuse(schedule,
                                      "no operand is an input that is copied as it is, and not "
                                      "both of them fit into registers");
    }
    if (asked->producers && t.stores) {
        *schedule->function = *saved;
        return sinter_schedule_refuse(schedule, "warps of their own copy operands as they are");
    }
    return sinter_schedule_keeps_marks(schedule, saved);
}
