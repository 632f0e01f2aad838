/* Sliding windows on CPUs: convolutions and pools whose taps are clipped at the borders. The loop over one axis of the
 * output is cut where the taps are all inside; there it can be the rows of register tiles, or their columns. At the
 * borders another axis takes its place, or, where columns themselves meet them and lanes can be masked, a vector of columns has
 * lanes for which some taps are not there. Test: tests/codegen/schedule/window.loops, window_masks.loops */
#include "codegen/schedule/cpu/constant.h"
#include "codegen/schedule/cpu/dot.h"
#include "codegen/schedule/cpu/tile.h"

/* ---- where the taps are all there ---- */

/* The bounds of the reduction loops with `var` = value, where they depend on nothing else; false otherwise. */
static bool bounds_at(sinter_loop_map *map, const sinter_cpu_nest *nest, sinter_loop_var var,
                      int64_t value, int64_t *out_bounds) {
    const sinter_loop_stmt *loop = nest->reduction;
    sinter_loop_map_var(map, var, sinter_loop_int(&map->builder, value));
    for (uint32_t i = 0; i < nest->reduction_count; i++, loop = loop->body) {
        bool depends =
            sinter_loop_expr_uses(loop->lower, var) || sinter_loop_expr_uses(loop->upper, var);
        out_bounds[2 * i] = out_bounds[2 * i + 1] = 0;
        if (depends && (!sinter_loop_is_const_int(sinter_loop_map_expr(map, loop->lower),
                                                  &out_bounds[2 * i]) ||
                        !sinter_loop_is_const_int(sinter_loop_map_expr(map, loop->upper),
                                                  &out_bounds[2 * i + 1])))
            return false;
    }
    return true;
}

static bool same_bounds(const int64_t *a, const int64_t *b, uint32_t count) {
    for (uint32_t i = 0; i < 2 * count; i++)
        if (a[i] != b[i]) return false;
    return true;
}

/* The iterations around the middle one in which the taps are the same. */
static bool find_interior(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                          sinter_loop_var var, int64_t *out_first, int64_t *out_end) {
    enum { MAX_TRIPS = 1 << 14 };
    int64_t lower, count, middle[2 * SINTER_MAX_RANK], other[2 * SINTER_MAX_RANK];
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(state->schedule.function, var);
    if (!sinter_loop_trip_count(loop, &count) || count < 1 || count > MAX_TRIPS ||
        !sinter_loop_is_const_int(loop->lower, &lower))
        return false;
    sinter_loop_map map;
    sinter_loop_map_init(&map, state->program, state->schedule.function);
    int64_t at = lower + count / 2;
    if (!bounds_at(&map, nest, var, at, middle)) return false;
    for (*out_first = at; *out_first > lower; --*out_first)
        if (!bounds_at(&map, nest, var, *out_first - 1, other) ||
            !same_bounds(middle, other, nest->reduction_count))
            break;
    for (*out_end = at + 1; *out_end < lower + count; ++*out_end)
        if (!bounds_at(&map, nest, var, *out_end, other) ||
            !same_bounds(middle, other, nest->reduction_count))
            break;
    return true;
}

/* ---- what whole vectors leave over ---- */

/* Of so many columns; 0: nothing, or what fills one or two smaller vectors that are not tiny. One column alone takes those before it along. */
static int64_t find_rest(int64_t columns, int64_t lanes) {
    int64_t rest = columns > 1 ? columns % lanes : 0;
    if (rest == 1) return columns < lanes ? columns : rest + lanes;
    int parts = __builtin_popcountll((uint64_t)rest);
    return parts > 2 || (parts == 2 && rest & 3) ? rest : 0;
}

bool sinter_cpu_masks_rest(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest) {
    enum { MOST_STEPS = 64 }; /* a sum of many wants several vectors at a time */
    int64_t steps = 1, columns = sinter_cpu_trips(state, nest->loops[nest->loop_count - 1]);
    for (uint32_t i = 0; i < nest->reduction_count; i++) {
        int64_t own = sinter_cpu_trips(state, nest->reductions[i]);
        if (own < 1 || own > MOST_STEPS || (steps *= own) > MOST_STEPS) return false;
    }
    return nest->reduction_count > 1 && !nest->part &&
           sinter_schedule_cpu_has_masks(state->target) &&
           find_rest(columns, sinter_schedule_cpu_lanes(state->target, nest->dtype)) &&
           !sinter_cpu_broadcasts(nest) && !sinter_cpu_find_row(state, nest);
}

/* ---- parts ---- */

typedef struct window {
    sinter_schedule_cpu_state *state;
    sinter_cpu_tile tile;
    uint32_t outside; /* loops around the nest */
    uint32_t done;
    bool
        narrow; /* one vector of columns: what is loaded is made of several loads, and all rows share it */
} window;

/* Cuts the loop at the borders of its interior; *out_parts: interior first, 1 to 3 of them. 0 where it can't be cut. lanes: what is cut off
 * at both ends has whole vectors of so many, from the loop's first iteration on, but for the last; so has the interior. */
static uint32_t cut_interior(window *w, const sinter_cpu_nest *nest, sinter_loop_var loop,
                             int64_t lanes, sinter_loop_var *out_parts) {
    sinter_schedule *schedule = &w->state->schedule;
    int64_t first, end, lower;
    if (!find_interior(w->state, nest, loop, &first, &end)) return 0;
    uint32_t count = 1;
    out_parts[0] = loop;
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, loop);
    int64_t upper = sinter_cpu_trips(w->state, loop);
    if (!sinter_loop_is_const_int(stmt->lower, &lower)) return 0;
    upper += lower;
    first = lower + (first - lower + lanes - 1) / lanes * lanes;
    end = lower + (end - lower) / lanes * lanes;
    if (first >= end) return 0;
    if (first > lower) {
        if (!sinter_schedule_cut(schedule, loop, first, &out_parts[1], &out_parts[0])) return 0;
        count++;
    }
    if (end < upper) {
        if (!sinter_schedule_cut(schedule, out_parts[0], end, &out_parts[0], &out_parts[count]))
            return 0;
        count++;
    }
    for (uint32_t i = 0; i < count; i++)
        if (!sinter_cpu_isolate(schedule, out_parts[i], w->outside)) return 0;
    return count;
}

static void choose(window *w, const sinter_cpu_nest *nest, sinter_loop_var row) {
    sinter_schedule_cpu_state *state = w->state;
    int64_t lanes = sinter_schedule_cpu_lanes(state->target, nest->dtype);
    sinter_cpu_extent extent = sinter_cpu_measure(state, nest, row);
    if (w->narrow && extent.columns > lanes) extent.columns = lanes;
    w->tile = w->done && w->tile.lanes
                  ? sinter_cpu_choose_rows(state->target, w->tile, &extent)
                  : sinter_cpu_choose_tile(state, state->target, nest->dtype, &extent);
}

/* The nest from this loop inwards, which may be inside of others and of conditions. */
static void tile_inside(window *w, sinter_loop_var loop, sinter_loop_var row) {
    sinter_cpu_nest nest;
    if (!sinter_cpu_find_nest(w->state->schedule.function, loop, &nest)) return;
    choose(w, &nest, row);
    w->done += sinter_cpu_tile_nest(w->state, &nest, row, 0, w->tile);
}

/* A loop of unknown length: blocks of rows, each of which asks whether it meets a border. */
static bool tile_blocks(window *w, const sinter_cpu_nest *nest, sinter_loop_var loop) {
    sinter_schedule *schedule = &w->state->schedule;
    sinter_loop_var column = nest->loops[nest->loop_count - 1];
    sinter_loop_var outer, inner, rest = 0, general;
    if (loop == column || !sinter_cpu_order_nest(schedule, nest, loop)) return false;
    sinter_cpu_extent extent = sinter_cpu_measure(w->state, nest, loop);
    sinter_cpu_tile tile = sinter_cpu_choose_tile(w->state, w->state->target, nest->dtype, &extent);
    if (tile.rows < 2 ||
        !sinter_schedule_split(schedule, loop, tile.rows, SINTER_TAIL_PEEL, &outer, &inner, &rest))
        return false;
    if (!sinter_schedule_specialize(schedule, inner, &general)) return false;
    tile_inside(w, inner, inner);
    if (!w->done) return false;
    tile_inside(w, general, 0);
    if (rest && sinter_cpu_isolate(schedule, rest, w->outside)) tile_inside(w, rest, 0);
    return true;
}

/* Iterations of a band: best a number that divides all of them into an even number of bands, which two threads share. */
static int64_t choose_band(sinter_schedule_cpu_state *state, int64_t count) {
    enum { LEAST = 4, MOST = 16 };
    sinter_cpu_answer answers[MOST];
    int64_t sizes[MOST], best = count;
    uint32_t used = 0;
    for (int64_t size = LEAST; size <= MOST && size < count; size++) {
        bool is_even = count / size % 2 == 0, best_is_even = best < count && count / best % 2 == 0;
        if (count % size == 0 && (is_even || !best_is_even)) best = size;
    }
    sizes[used++] = best;
    for (int64_t size = LEAST; size <= MOST && size < count; size++)
        if (count % size == 0 && size != best) sizes[used++] = size;
    if (best != count) sizes[used++] = count;
    for (uint32_t i = 0; i < used; i++)
        answers[i] = sinter_cpu_answer_make("%lld", (long long)sizes[i]);
    return sizes[used > 1 ? sinter_cpu_choose(state, "band", answers, used) : 0];
}

/* Where each column has a window of its own, as in depthwise convolutions, neighbouring iterations of the loop around rows
 * read most of the same elements. A block of columns takes a band of such iterations before the next block comes: what it
 * reads again is in the first cache then, and a thread still has all columns of its bands. Borders, whose iterations are
 * `across`, have the bands of what lies between them: they are done with it, where their input is near, and by the same thread.
 * The loop within the band; 0: there is none. */
static sinter_loop_var cut_bands(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                                 sinter_loop_var across) {
    sinter_loop_var around = 0, inner = 0;
    for (uint32_t i = 0; i + 1 < nest->loop_count && across; i++)
        if (nest->loops[i] != across) around = nest->loops[i];
    int64_t count = sinter_cpu_trips(state, around);
    if (count < 2) return 0;
    int64_t size = choose_band(state, count);
    if (size == count) return around;
    return sinter_schedule_split(&state->schedule, around, size, SINTER_TAIL_EXACT, NULL, &inner,
                                 NULL)
               ? inner
               : 0;
}

/* Columns in lanes, of which each asks for every tap whether it is there. */
static bool mask_lanes(window *w, sinter_loop_var column) {
    enum { MOST_UNROLLED = 16, MOST_VECTORS = 4 };
    sinter_schedule *schedule = &w->state->schedule;
    sinter_loop_var outermost = sinter_cpu_outermost(schedule, column, w->outside), outer, inner;
    sinter_cpu_nest nest;
    int64_t count = sinter_cpu_trips(w->state, column), lanes;
    if (!outermost || !sinter_cpu_find_nest(schedule->function, outermost, &nest) ||
        nest.loops[nest.loop_count - 1] != column || count < 2)
        return false;
    lanes = sinter_schedule_cpu_lanes(w->state->target, nest.dtype);
    while (lanes / 2 >= count) lanes /= 2;
    for (uint32_t i = 0; i < nest.reduction_count; i++) {
        const sinter_loop_stmt *loop =
            sinter_schedule_get_loop(schedule->function, nest.reductions[i]);
        bool clipped = sinter_loop_expr_uses(loop->lower, column) ||
                       sinter_loop_expr_uses(loop->upper, column);
        if (clipped && !sinter_schedule_guard(schedule, loop->var)) return false;
        int64_t taps = sinter_cpu_trips(w->state, loop->var);
        bool innermost = i + 1 == nest.reduction_count && taps > 0;
        if ((clipped || innermost) && taps <= MOST_UNROLLED)
            sinter_schedule_unroll(schedule, loop->var);
    }
    sinter_schedule_tail tail = count % lanes ? SINTER_TAIL_GUARD : SINTER_TAIL_EXACT;
    if (!sinter_schedule_split(schedule, column, lanes, tail, &outer, &inner, NULL) ||
        !sinter_schedule_vectorize(schedule, inner))
        return false;
    /* Of vectors one after the other, the masks are numbers. */
    if (sinter_cpu_trips(w->state, outer) <= MOST_VECTORS) sinter_schedule_unroll(schedule, outer);
    return true;
}

static void mask_part(window *w, sinter_loop_var column) {
    sinter_schedule *schedule = &w->state->schedule;
    sinter_loop_function *saved = sinter_loop_clone_function(w->state->program, schedule->function);
    if (mask_lanes(w, column))
        w->done++;
    else
        *schedule->function = *saved;
}

/* What whole vectors leave over of these columns would fall into several smaller ones, or be done one by one: they are masked lanes instead.
 * The columns that are left; 0: none. */
static sinter_loop_var mask_rest(window *w, sinter_loop_var column, int64_t lanes) {
    sinter_schedule *schedule = &w->state->schedule;
    const int64_t count = sinter_cpu_trips(w->state, column), rest = find_rest(count, lanes);
    const uint32_t done = w->done;
    sinter_loop_var first = 0, second = column;
    sinter_loop_function *saved = sinter_loop_clone_function(w->state->program, schedule->function);
    if (rest == count || (sinter_schedule_cut_end(schedule, column, rest, &first, &second) &&
                          sinter_cpu_isolate(schedule, first, w->outside) &&
                          sinter_cpu_isolate(schedule, second, w->outside)))
        mask_part(w, second);
    if (w->done > done) return first;
    *schedule->function = *saved;
    return column;
}

static void tile_part(window *w, sinter_loop_var inside, uint32_t depth) {
    sinter_schedule_cpu_state *state = w->state;
    sinter_schedule *schedule = &state->schedule;
    sinter_cpu_nest nest;
    sinter_loop_var parts[3];
    sinter_loop_var outermost = sinter_cpu_outermost(schedule, inside, w->outside);
    if (!outermost || !sinter_cpu_find_nest(schedule->function, outermost, &nest)) return;
    sinter_loop_var column = nest.loops[nest.loop_count - 1];
    sinter_loop_var row = sinter_cpu_find_row(state, &nest);
    /* The innermost loop that could do more if the window did not meet a border in it. Borders are worth another cut only
     * where rows share loads that are not their own. */
    bool shares = sinter_cpu_broadcasts(&nest);
    sinter_loop_var cut = 0;
    for (uint32_t i = nest.loop_count; i-- > 0 && !cut && depth < 3;)
        if (sinter_cpu_bounds_use(&nest, nest.loops[i]) &&
            (nest.loops[i] == column || (!row && shares) || depth == 0))
            cut = nest.loops[i];
    bool masks = cut == column && !w->narrow && sinter_schedule_cpu_has_masks(state->target);
    int64_t lanes = masks ? sinter_schedule_cpu_lanes(state->target, nest.dtype) : 1;
    uint32_t count = cut ? cut_interior(w, &nest, cut, lanes, parts) : 0;
    if (count > 1) {
        for (uint32_t i = 0; i < count; i++)
            if (i && masks)
                mask_part(w, parts[i]);
            else
                tile_part(w, parts[i], depth + 1);
        return;
    }
    if (masks) {
        mask_part(w, column);
        return;
    }
    if (sinter_cpu_bounds_use(&nest, column)) return;
    if (cut && sinter_cpu_trips(state, cut) < 0 && depth == 0 && !w->done) {
        sinter_loop_function *saved =
            sinter_loop_clone_function(state->program, schedule->function);
        if (tile_blocks(w, &nest, cut)) return;
        *schedule->function = *saved;
        sinter_cpu_find_nest(schedule->function, outermost, &nest);
    }
    if (!cut && depth == 0 && !w->narrow && sinter_cpu_masks_rest(state, &nest)) {
        sinter_loop_var left =
            mask_rest(w, column, sinter_schedule_cpu_lanes(state->target, nest.dtype));
        if (left && left != column) tile_part(w, left, depth);
        if (left != column) return;
        sinter_cpu_find_nest(schedule->function, outermost, &nest);
    }
    if (row && sinter_cpu_trips(state, row) < 0 && cut) row = 0; /* more images than one are rare */
    choose(w, &nest, row);
    bool blocks = !shares && sinter_cpu_trips(state, column) > w->tile.columns;
    sinter_loop_var across = row ? row : depth ? inside : 0;
    if (blocks && across && !row) sinter_schedule_start_at_zero(schedule, across);
    sinter_loop_var band = blocks ? cut_bands(state, &nest, across) : 0;
    if (band && !sinter_cpu_find_nest(schedule->function,
                                      sinter_cpu_outermost(schedule, across, w->outside), &nest))
        return;
    w->done += sinter_cpu_tile_nest(state, &nest, row, band, w->tile);
}

bool sinter_schedule_cpu_window(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    sinter_cpu_nest found;
    sinter_cpu_pack_plan packing;
    sinter_schedule *schedule = &state->schedule;
    window w = {.state = state, .outside = sinter_cpu_depth(schedule, nest)};
    if (!sinter_cpu_find_nest(schedule->function, nest, &found) || found.part) return false;
    bool dots = sinter_cpu_use_dots(state, &found);
    w.narrow = !dots && sinter_cpu_use_tap_dots(state, &found);
    sinter_cpu_start_with_sums(state, &found);
    sinter_cpu_plan_packing(state, &found, &packing);
    if (!dots && !w.narrow) sinter_cpu_plan_inputs(state, nest, &packing);
    sinter_loop_function *before = sinter_loop_clone_function(state->program, schedule->function);
    tile_part(&w, nest, 0);
    if (!w.done) {
        *schedule->function = *before;
        return false;
    }
    if (w.tile.columns) sinter_cpu_apply_packing(state, &packing, w.tile.columns);
    sinter_schedule_simplify(schedule);
    sinter_cpu_prefetch(state);
    sinter_cpu_run_in_parallel(state, before, nest);
    return true;
}
