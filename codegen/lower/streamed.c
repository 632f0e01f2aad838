/* Lowering of a chain of convolutions in one group, each of which reads what the one before it makes: a depthwise convolution after
 * the one that made its channels, as a rule, and the one that takes its channels together. What lies between is larger than a
 * cache, and nobody else wants it: it exists as the few rows that are read next, in scratch.
 *
 *   for unit (a part of the rows of y, a block of channels) { for n {
 *     scratch [row, column, channel] of each value between, with the zeros that windows read around it
 *     each stage but the last: all rows of its value -> scratch
 *     for y of the part { the last stage's row y, from scratch } } }
 *
 * Then compute-at moves each stage into the loop over the part, where it makes the rows that are new: the scratch becomes a ring of
 * rows of the unit's channels. Blocks of channels are for chains that end in windows of one channel each; others need all channels
 * at once. Parts begin with rows that the part before has computed too; they are long enough for that to be little. Sums are those
 * of the convolutions on their own. Needs: fixed dims but the first, channels last, two spatial axes, which the pass fuse
 * sees to. Test: tests/codegen/lower/streamed.sir, tests/suites/window_chains.py */
#include "codegen/lower/window.h"
#include "codegen/schedule/schedule.h"
#include "ir/ring.h"

#include <assert.h>

enum {
    LEAST_REUSE = 12, /* rows of a part for each that is computed twice */
    ROW = 1,
    COLUMN = 2,
    CHANNEL = 3
};

static_assert(SINTER_RING_STAGES <= SINTER_KERNEL_BETWEEN_MAX + 1, "room for what is between");

/* A convolution of the chain. */
typedef struct stage {
    sinter_node node;
    sinter_lower_kernel_rule lower;
    sinter_value x, y;               /* what it reads of the stage before, and its result */
    sinter_window window;            /* over x */
    int64_t rows, columns, channels; /* of y */
    int64_t taps, stride;            /* rows of x that a row of y reads, and what it moves on by */
    bool is_depthwise;
} stage;

typedef struct streamed {
    sinter_kernel *k;
    stage stages[SINTER_RING_STAGES];
    uint32_t count;
    int64_t block, part, parts; /* channels of a block, rows of y of a part, how many such parts */
    sinter_expr batch, first_channel, first_row; /* of the unit */
} streamed;

/* The nodes of the region that have a kernel rule and no element rule; out_stages has room for as many as there may be. */
static uint32_t find_stages(sinter_module *module, sinter_region region, stage *out_stages) {
    uint32_t count = 0;
    SINTER_FOR_NODES (module, region, node) {
        sinter_lower_kernel_rule rule = sinter_lower_find_anchor(module, node);
        if (!rule) continue;
        if (count < SINTER_RING_STAGES)
            out_stages[count] = (stage){.node = node,
                                        .lower = rule,
                                        .x = sinter_node_operand(module, node, 0),
                                        .y = sinter_node_result(module, node, 0)};
        count++;
    }
    return count;
}

bool sinter_lower_is_streamed(sinter_kernel *kernel, sinter_region region) {
    stage stages[SINTER_RING_STAGES];
    return find_stages(kernel->lower->module, region, stages) > 1;
}

static int64_t number(sinter_expr expr) {
    int64_t value = 0;
    sinter_loop_is_const_int(expr, &value);
    return value;
}

static int64_t dim_of(const streamed *s, sinter_value value, int axis) {
    return number(sinter_kernel_dim_of(s->k, value, axis));
}

static const stage *last_stage(const streamed *s) {
    uint32_t most = SINTER_RING_STAGES;
    return &s->stages[(s->count < most ? s->count : most) - 1];
}

static void measure(streamed *s, stage *at) {
    sinter_module *module = s->k->lower->module;
    if (sinter_write_type(s->k, at->x).rank != 4 || sinter_write_type(s->k, at->y).rank != 4)
        return;
    at->window = sinter_lower_describe_conv(s->k, at->node);
    at->rows = dim_of(s, at->y, ROW);
    at->columns = dim_of(s, at->y, COLUMN);
    at->channels = dim_of(s, at->y, CHANNEL);
    at->taps = (number(at->window.kernel[0]) - 1) * at->window.dilation[0] + 1;
    at->stride = at->window.stride[0];
    at->is_depthwise = at->channels == dim_of(s, at->x, CHANNEL) &&
                       sinter_node_get_int(module, at->node, "group", 1) == at->channels;
}

/* What the pass fuse makes: known dims but the first, windows that leave out no row, each of what the stage before makes. */
static bool is_sound(const streamed *s) {
    sinter_module *module = s->k->lower->module;
    bool sound = s->count <= SINTER_RING_STAGES;
    for (uint32_t i = 0; i < s->count && sound; i++) {
        const stage *at = &s->stages[i];
        sound = at->rows > 0 && at->columns > 0 && at->channels > 0 && at->window.space == ROW &&
                at->window.spatial == 2;
        if (i == 0) continue;
        const stage *before = &s->stages[i - 1];
        sound &= at->taps >= at->stride && sinter_value_definition(module, at->x) != 0 &&
                 dim_of(s, at->x, ROW) == before->rows &&
                 dim_of(s, at->x, COLUMN) == before->columns &&
                 dim_of(s, at->x, CHANNEL) == before->channels &&
                 (at->is_depthwise || sinter_node_get_int(module, at->node, "group", 1) == 1);
    }
    return sound;
}

/* ---- units ---- */

/* Rows of the first value that one part makes and the part before has made too. */
static int64_t rows_twice(const streamed *s) {
    int64_t rows = 0;
    for (uint32_t i = s->count; i-- > 1;)
        rows = rows * s->stages[i].stride + s->stages[i].taps - s->stages[i].stride;
    return rows;
}

/* Parts enough for some threads to share the units, unless too many rows were computed twice. Of equal length where the rows
 * can be divided. */
static int64_t choose_part(const streamed *s) {
    int64_t rows = last_stage(s)->rows, blocks = last_stage(s)->channels / s->block, stride = 1;
    for (uint32_t i = 1; i < s->count; i++) stride *= s->stages[i].stride;
    int64_t parts = (SINTER_LOWER_UNITS + blocks - 1) / blocks, length = (rows + parts - 1) / parts;
    int64_t least = (LEAST_REUSE * rows_twice(s) + stride - 1) / stride;
    if (length < least) length = least;
    for (int64_t part = length; part < 2 * length && part < rows; part++)
        if (rows % part == 0) return part;
    return length < rows ? length : rows;
}

/* Every value between has the channels of y, each made of one of the value before. */
static bool has_blocks(const streamed *s) {
    for (uint32_t i = 1; i < s->count; i++)
        if (!s->stages[i].is_depthwise) return false;
    return true;
}

static bool choose_units(streamed *s) {
    const stage *last = last_stage(s), *first = &s->stages[1];
    int64_t columns = first->window.spatial
                          ? number(first->window.pad_before[1]) + s->stages[0].columns +
                                number(first->window.pad_after[1])
                          : 0;
    s->block = has_blocks(s)
                   ? sinter_ring_channels(last->channels, sinter_ring_rows(first->taps), columns)
                   : last->channels;
    if (!s->block) return false;
    s->part = choose_part(s);
    s->parts = (last->rows + s->part - 1) / s->part;
    return true;
}

/* ---- scratch ---- */

/* The scratch between stage i and the one that reads it, all rows of it. */
static void allocate(streamed *s, uint32_t i) {
    sinter_kernel *k = s->k;
    const stage *reader = &s->stages[i + 1];
    int64_t top = number(reader->window.pad_before[0]), left = number(reader->window.pad_before[1]);
    int64_t right = number(reader->window.pad_after[1]);
    const sinter_expr dims[3] = {
        sinter_write_int(k, (reader->rows - 1) * reader->stride + reader->taps),
        sinter_write_int(k, left + s->stages[i].columns + right),
        sinter_write_int(k, s->stages[i].channels)};
    sinter_dtype dtype = sinter_dtype_compute(sinter_write_type(k, reader->x).dtype);
    sinter_kernel_between *between = &k->between[k->between_count++];
    *between = (sinter_kernel_between){
        .value = reader->x,
        .top = top,
        .left = left,
        .buffer = sinter_loop_add_buffer(&k->build, "ring", dtype, 3, dims, SINTER_SCOPE_STACK)};
    sinter_loop_alloc(&k->build, between->buffer);
}

/* Columns from..to of this row of what is between: what a window reads where there is nothing. */
static void write_zeros(streamed *s, const sinter_kernel_between *between, sinter_expr row,
                        int64_t channels, int64_t from, int64_t to) {
    sinter_kernel *k = s->k;
    if (from == to) return;
    sinter_expr column =
        sinter_write_for(k, "column", sinter_write_int(k, from), sinter_write_int(k, to));
    sinter_expr channel = sinter_kernel_begin_for(k, "channel", sinter_write_int(k, channels));
    const sinter_expr at[3] = {row, column, FORMULA(k, "a + b", s->first_channel, channel)};
    sinter_dtype dtype = k->build.function->buffers.items[between->buffer].dtype;
    sinter_kernel_store(k, between->buffer, at, sinter_write_number(k, dtype, 0));
    sinter_kernel_end_loops(k, 2);
}

/* ---- rows ---- */

/* The stage's loops go through one row of the unit's channels. */
static bool write_row(streamed *s, const stage *at, sinter_expr row) {
    sinter_kernel *k = s->k;
    sinter_expr zero = sinter_write_int(k, 0), one = sinter_write_int(k, 1);
    int64_t channels = has_blocks(s) ? s->block : at->channels;
    k->part = (sinter_kernel_part){
        .value = at->y,
        .first = {s->batch, row, zero, s->first_channel},
        .count = {one, one, sinter_write_int(k, at->columns), sinter_write_int(k, channels)}};
    /* The only element of an axis is 0 in the very form that elementwise rules read it by. */
    for (int i = 0; i < 4; i++)
        if (dim_of(s, at->y, i) == 1) k->part.first[i] = zero;
    bool good = at->lower(k, at->node);
    k->part.value = 0;
    return good;
}

/* All rows of stage i, to scratch. Rows that are above the first or below the last are zeros. */
static bool write_stage(streamed *s, uint32_t i) {
    sinter_kernel *k = s->k;
    const stage *at = &s->stages[i], *reader = at + 1;
    allocate(s, i);
    sinter_kernel_between *between = &k->between[i];
    int64_t height = (reader->rows - 1) * reader->stride + reader->taps;
    int64_t channels = has_blocks(s) ? s->block : at->channels;
    int64_t end = between->left + at->columns;
    sinter_expr row = sinter_write_for(k, "row", sinter_write_int(k, -between->top),
                                       sinter_write_int(k, height - between->top));
    sinter_expr place = FORMULA(k, "a + b", row, sinter_write_int(k, between->top));
    bool has_borders = between->top || height > at->rows;
    if (has_borders)
        sinter_write_if(k, FORMULA(k, "0 <= a && a < b", row, sinter_write_int(k, at->rows)));
    size_t count = k->outputs.count;
    sinter_value *outputs = k->outputs.items, value = reader->x;
    k->outputs.items = &value;
    k->outputs.count = 1;
    bool good = write_row(s, at, row);
    k->outputs.items = outputs;
    k->outputs.count = count;
    if (has_borders) {
        sinter_write_else(k);
        write_zeros(s, between, place, channels, between->left, end);
        sinter_write_end(k);
    }
    write_zeros(s, between, place, channels, 0, between->left);
    write_zeros(s, between, place, channels, end, end + number(reader->window.pad_after[1]));
    sinter_write_end(k);
    between->is_made = true;
    return good;
}

/* The stages one after the other; the last goes through the rows of the unit's part, by the loop that is returned. */
static bool write_stages(streamed *s, sinter_loop_var *out_step) {
    sinter_kernel *k = s->k;
    sinter_expr rows = sinter_write_int(k, last_stage(s)->rows),
                part = sinter_write_int(k, s->part);
    bool good = true;
    for (uint32_t i = 0; i + 1 < s->count; i++) good = write_stage(s, i) && good;
    sinter_expr steps = last_stage(s)->rows % s->part
                            ? FORMULA(k, "min(a, b - c)", part, rows, s->first_row)
                            : part;
    *out_step = sinter_loop_begin_for(&k->build, "step", sinter_write_int(k, 0), steps, 1,
                                      SINTER_AXIS_SERIAL);
    sinter_expr step = sinter_loop_var_read(&k->build, *out_step);
    good = write_row(s, last_stage(s), FORMULA(k, "a + b", s->first_row, step)) && good;
    sinter_write_end(k);
    return good;
}

/* Each stage to where its rows are read, the last first: what it reads follows it. */
static bool move_stages(streamed *s, sinter_loop_var step) {
    sinter_kernel *k = s->k;
    sinter_schedule schedule;
    sinter_schedule_init(&schedule, k->build.program, k->build.function);
    bool good = true;
    for (uint32_t i = s->count - 1; i-- > 0 && good;)
        good = sinter_schedule_compute_at(&schedule, k->between[i].buffer, step) ||
               sinter_lower_error(k->lower, s->stages[i].node, "can't be made by rows: %s",
                                  schedule.reason.data);
    sinter_schedule_deinit(&schedule);
    return good;
}

bool sinter_lower_streamed(sinter_kernel *kernel, sinter_region region) {
    sinter_kernel *k = kernel;
    streamed s = {.k = kernel};
    s.count = find_stages(kernel->lower->module, region, s.stages);
    for (uint32_t i = 0; i < s.count && i < SINTER_RING_STAGES; i++) measure(&s, &s.stages[i]);
    if (!is_sound(&s) || !choose_units(&s))
        return sinter_lower_error(k->lower, last_stage(&s)->node,
                                  "no such window reads by rows what is made in its group");
    const stage *last = last_stage(&s);
    sinter_expr blocks = sinter_write_int(k, last->channels / s.block);
    sinter_expr unit =
        sinter_kernel_begin_for(k, "unit", sinter_write_int(k, last->channels / s.block * s.parts));
    /* Blocks of a part follow each other: they read the same rows, and a thread has the rows that it has in other kernels, which
     * then need not come from the cache of another core. */
    s.first_channel = FORMULA(k, "a % b * c", unit, blocks, sinter_write_int(k, s.block));
    s.first_row = FORMULA(k, "a / b * c", unit, blocks, sinter_write_int(k, s.part));
    s.batch = sinter_kernel_begin_for(k, "n", sinter_kernel_dim_of(k, last->y, 0));
    sinter_loop_var step;
    bool good = write_stages(&s, &step);
    sinter_kernel_end_loops(k, 2);
    k->between_count = 0;
    return good && move_stages(&s, step);
}
