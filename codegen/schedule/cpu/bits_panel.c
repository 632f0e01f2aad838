/* Products with weights of few bits and many rows: a panel of columns is decoded once to scratch of the thread, and all rows go through
 * it as through a packed operand:
 *   for n { for m { acc = 0; for kb { part = 0; for word { part += x * field }; acc += part * s } } }   ->
 *   for nb { panel = (field - z) * s; for m { for ni { acc = 0; for k { acc += x * panel[k, ni] } } } }
 * So products have the weights that DequantizeLinear makes, and the product with a scale is made once for all rows.
 * Decoding costs as much as some rows; fewer of them decode in registers. Where only the run knows how many there are, both forms are there.
 * Needs: a nest in the form of bits.c. Test: tests/codegen/schedule/bits_panel.loops, tests/suites/contrib_operators.py */
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu/bits.h"
#include "codegen/schedule/cpu/constant.h"
#include "codegen/schedule/cpu/operand.h"
#include "codegen/schedule/internal.h"

enum {
    LEAST_ROWS = 24, /* that a panel pays for */
    FEW_PANELS = 8,  /* for all threads that there may be */
    LEAST_PANELS = 4
};

/* Rows of the nest: the product of those that are numbers, and the loop of the others. */
typedef struct row_count {
    int64_t known;
    sinter_loop_var unknown; /* 0: none */
} row_count;

static bool uses(const sinter_cpu_bits *b, sinter_loop_var var) {
    return sinter_loop_expr_uses(b->weight, var) || sinter_loop_expr_uses(b->scale, var) ||
           (b->zero && sinter_loop_expr_uses(b->zero, var));
}

/* All loops but the columns' go through the same weights. */
static bool count_rows(const sinter_cpu_bits *b, const sinter_cpu_nest *nest, row_count *out) {
    *out = (row_count){.known = 1};
    for (uint32_t i = 0; i + 1 < nest->loop_count; i++) {
        int64_t count = sinter_cpu_trips(b->state, nest->loops[i]);
        if (uses(b, nest->loops[i]) || (count < 0 && out->unknown)) return false;
        if (count < 0)
            out->unknown = nest->loops[i];
        else if (out->known < LEAST_ROWS)
            out->known *= count;
    }
    return out->unknown || out->known >= LEAST_ROWS;
}

/* Columns of a panel that has room in the second cache, and of which there are enough; 0: there is none. */
static int64_t panel_columns(const sinter_cpu_bits *b, int64_t columns, sinter_cpu_tile tile) {
    const int64_t room = sinter_cpu_panel_room(b->state->target);
    int64_t width = tile.columns;
    while (width > tile.lanes && (b->steps * (int64_t)sizeof(float) > room / width ||
                                  (columns / width < FEW_PANELS && width > 2 * tile.lanes)))
        width -= tile.lanes;
    bool fits = width % tile.lanes == 0 && b->steps * (int64_t)sizeof(float) <= room / width;
    return fits && columns / width >= LEAST_PANELS ? width : 0;
}

/* ---- the loops ---- */

static const sinter_loop_stmt *first_loop(const sinter_loop_stmt *stmt) {
    while (stmt && stmt->kind != SINTER_LOOP_FOR) stmt = stmt->next;
    return stmt;
}

bool sinter_cpu_find_bit_nest(const sinter_loop_function *function, sinter_loop_var outermost,
                              sinter_cpu_nest *out) {
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(function, outermost), *stmt;
    *out = (sinter_cpu_nest){.dtype = SINTER_DTYPE_f32};
    for (; loop && out->loop_count < SINTER_MAX_RANK; loop = loop->body) {
        out->loops[out->loop_count++] = loop->var;
        if (!loop->body || loop->body->kind != SINTER_LOOP_FOR || loop->body->next) break;
    }
    if (!loop) return false;
    for (stmt = loop->body; stmt && stmt->kind != SINTER_LOOP_FOR; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_DECLARE && function->vars.items[stmt->var].is_mutable)
            out->accumulator = stmt->var;
    out->reduction = stmt;
    const sinter_loop_stmt *words = stmt ? first_loop(stmt->body) : NULL;
    if (!words || !out->accumulator) return false;
    out->reductions[out->reduction_count++] = stmt->var;
    out->reductions[out->reduction_count++] = words->var;
    return true;
}

/* for nb { for rows { for ni } }, and a nest of the columns that are left; out_inner: ni. */
static bool split_columns(sinter_cpu_bits *b, const sinter_cpu_nest *nest,
                          sinter_cpu_bit_panels *out, sinter_loop_var *out_blocks,
                          sinter_loop_var *out_inner) {
    sinter_schedule *schedule = &b->state->schedule;
    sinter_loop_var column = nest->loops[nest->loop_count - 1], order[SINTER_MAX_RANK + 1];
    uint32_t outside = sinter_cpu_depth(schedule, nest->loops[0]), used = 0;
    if (!sinter_cpu_order_nest(schedule, nest, out->row) ||
        !sinter_schedule_split(schedule, column, out->tile.columns, SINTER_TAIL_PEEL, out_blocks,
                               out_inner, &out->narrow) ||
        (out->narrow && !sinter_cpu_isolate(schedule, out->narrow, outside)))
        return false;
    sinter_loop_var first = sinter_cpu_outermost(schedule, out->row, outside);
    sinter_cpu_nest main;
    if (!sinter_cpu_find_bit_nest(schedule->function, first, &main)) return false;
    order[used++] = *out_blocks;
    for (uint32_t i = 0; i < main.loop_count; i++)
        if (main.loops[i] != *out_blocks && main.loops[i] != *out_inner)
            order[used++] = main.loops[i];
    if (!sinter_schedule_reorder(schedule, order, used)) return false;
    if (out->narrow) out->narrow = sinter_cpu_outermost(schedule, out->narrow, outside);
    out->outside = outside + 1;
    return true;
}

/* The outermost loop of the other branch. */
static sinter_loop_var other_branch(const sinter_schedule *schedule, sinter_loop_var blocks) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, blocks)->body;
    while (stmt && stmt->kind != SINTER_LOOP_IF) stmt = stmt->next;
    const sinter_loop_stmt *loop = stmt ? first_loop(stmt->else_body) : NULL;
    return loop ? loop->var : 0;
}

/* panel[k, j] = weight[k, block * columns + j], all fields of a word at once, in lanes of j. */
static bool write_decoding(sinter_cpu_bits *b, sinter_loop_var column, sinter_loop_var blocks,
                           sinter_loop_buffer panel, sinter_cpu_tile tile) {
    sinter_loop_builder *build = &b->build;
    sinter_loop_var loops[2];
    sinter_expr indices[SINTER_MAX_RANK], zero = sinter_loop_int(build, 0);
    int64_t words = b->block / b->fields;
    sinter_expr block = sinter_loop_var_read(
        build, sinter_loop_begin_for(build, "kb", zero, sinter_loop_int(build, b->steps / b->block),
                                     1, SINTER_AXIS_SERIAL));
    sinter_expr word = sinter_loop_var_read(
        build, sinter_loop_begin_for(build, "word", zero, sinter_loop_int(build, words), 1,
                                     SINTER_AXIS_SERIAL));
    loops[0] =
        sinter_loop_begin_for(build, "jo", zero, sinter_loop_int(build, tile.columns / tile.lanes),
                              1, SINTER_AXIS_SERIAL);
    loops[1] = sinter_loop_begin_for(build, "ji", zero, sinter_loop_int(build, tile.lanes), 1,
                                     SINTER_AXIS_SERIAL);
    sinter_expr at = sinter_loop_add(build,
                                     sinter_loop_mul(build, sinter_loop_var_read(build, loops[0]),
                                                     sinter_loop_int(build, tile.lanes)),
                                     sinter_loop_var_read(build, loops[1]));
    sinter_expr start = sinter_loop_mul(build, sinter_loop_var_read(build, blocks),
                                        sinter_loop_int(build, tile.columns));
    sinter_expr step = sinter_loop_mul(build, block, sinter_loop_int(build, b->block));
    sinter_loop_map map;
    sinter_loop_map_init(&map, b->state->program, b->state->schedule.function);
    sinter_loop_map_var(&map, column, sinter_loop_add(build, start, at));
    for (uint32_t i = 0; i < b->weight->argument_count; i++)
        indices[i] = sinter_loop_map_expr(&map, b->weight->arguments[i]);
    indices[b->dim] =
        sinter_loop_add(build, sinter_loop_mul(build, block, sinter_loop_int(build, words)), word);
    sinter_loop_var bits = sinter_loop_declare(build, "word", false,
                                               sinter_loop_load(build, b->weight->buffer, indices));
    sinter_expr origin = sinter_cpu_bits_zero(b, step);
    sinter_loop_var scale = sinter_loop_declare(
        build, "scale", false, sinter_loop_map_expr(&map, sinter_cpu_bits_scale(b, step)));
    if (origin) origin = sinter_loop_map_expr(&map, origin);
    step = sinter_loop_add(build, step,
                           sinter_loop_mul(build, word, sinter_loop_int(build, b->fields)));
    for (int64_t f = 0; f < b->fields; f++) {
        sinter_expr value = sinter_cpu_bits_field(b, sinter_loop_var_read(build, bits), origin, f);
        const sinter_expr place[2] = {sinter_loop_add(build, step, sinter_loop_int(build, f)), at};
        sinter_loop_store(build, panel, place,
                          sinter_loop_mul(build, value, sinter_loop_var_read(build, scale)));
    }
    for (int i = 0; i < 4; i++) sinter_loop_end(build);
    return sinter_schedule_vectorize(&b->state->schedule, loops[1]) &&
           sinter_schedule_unroll(&b->state->schedule, loops[0]);
}

/* for kb { ... } -> for k { acc = acc + x * panel[k, ni] } */
static bool write_products(sinter_cpu_bits *b, sinter_loop_buffer panel, sinter_loop_var inner) {
    sinter_loop_builder *build = &b->build;
    sinter_loop_stmt **link =
        sinter_schedule_find_link(&b->state->schedule, SINTER_LOOP_FOR, b->step);
    sinter_loop_var acc = b->assign->var;
    if (!link) return false;
    build->tail = link;
    sinter_expr k = sinter_loop_var_read(
        build, sinter_loop_begin_for(build, "k", sinter_loop_int(build, 0),
                                     sinter_loop_int(build, b->steps), 1, SINTER_AXIS_SERIAL));
    const sinter_expr place[2] = {k, sinter_loop_var_read(build, inner)};
    sinter_expr product = sinter_loop_mul(build, sinter_cpu_bits_at(b, b->x, k),
                                          sinter_loop_load(build, panel, place));
    sinter_loop_assign(build, acc,
                       sinter_loop_add(build, sinter_loop_var_read(build, acc), product));
    sinter_loop_end(build);
    (*link)->next = (*link)->next->next;
    return true;
}

static bool make_panels(sinter_cpu_bits *b, const sinter_cpu_nest *nest, const row_count *rows,
                        sinter_cpu_bit_panels *out) {
    sinter_schedule *schedule = &b->state->schedule;
    sinter_loop_var column = nest->loops[nest->loop_count - 1], blocks, inner;
    if (!split_columns(b, nest, out, &blocks, &inner)) return false;
    if (rows->unknown && rows->known < LEAST_ROWS) {
        int64_t least = rows->known > 0 ? (LEAST_ROWS + rows->known - 1) / rows->known : 1;
        if (!sinter_schedule_fork(schedule, blocks, rows->unknown, least)) return false;
        out->few = other_branch(schedule, blocks);
    }
    const sinter_expr dims[2] = {sinter_loop_int(&b->build, b->steps),
                                 sinter_loop_int(&b->build, out->tile.columns)};
    sinter_loop_buffer panel =
        sinter_loop_add_buffer(&b->build, "panel", SINTER_DTYPE_f32, 2, dims, SINTER_SCOPE_STACK);
    b->build.tail = sinter_schedule_find_link(
        schedule, SINTER_LOOP_FOR, sinter_cpu_outermost(schedule, out->row, out->outside));
    sinter_loop_alloc(&b->build, panel);
    return write_decoding(b, column, blocks, panel, out->tile) && write_products(b, panel, inner) &&
           sinter_cpu_fits_stack(schedule->function);
}

bool sinter_cpu_use_bit_panels(sinter_cpu_bits *b, const sinter_cpu_nest *nest,
                               const sinter_target *target, sinter_cpu_bit_panels *out) {
    static const sinter_cpu_answer answers[] = {{"panels"}, {"registers"}};
    sinter_schedule_cpu_state *state = b->state;
    sinter_loop_var column = nest->loops[nest->loop_count - 1];
    row_count rows;
    *out = (sinter_cpu_bit_panels){.row = sinter_cpu_find_row(state, nest)};
    int64_t columns = sinter_cpu_trips(state, column), lower;
    if (b->digits || !out->row || columns < 0 || sinter_loop_expr_uses(b->x, column) ||
        !sinter_loop_is_const_int(sinter_schedule_get_loop(state->schedule.function, column)->lower,
                                  &lower) ||
        lower != 0 || !count_rows(b, nest, &rows))
        return false;
    sinter_cpu_extent extent = sinter_cpu_measure(state, nest, out->row);
    bool always = rows.known >= LEAST_ROWS;
    sinter_cpu_extent words = extent;
    extent.steps = b->steps;
    out->tile =
        sinter_cpu_choose_tile(state, always ? state->target : target, nest->dtype, &extent);
    out->tile.columns = panel_columns(b, columns, out->tile);
    if (!out->tile.columns || sinter_cpu_choose(state, "decode", answers, 2)) return false;
    out->tile = sinter_cpu_choose_rows(target, out->tile, &words);
    sinter_cpu_plan_packing(state, nest, &out->packing);
    sinter_loop_function *saved =
        sinter_loop_clone_function(state->program, state->schedule.function);
    if (make_panels(b, nest, &rows, out)) return true;
    *state->schedule.function = *saved;
    return false;
}
