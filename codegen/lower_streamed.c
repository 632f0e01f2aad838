/* Lowering of a window that reads the result of a convolution in the same group: a depthwise convolution after the one that
 * made its channels, as a rule. The result between the two is larger than a cache, and nobody else wants it: it exists as the
 * few rows that the window reaches, in scratch.
 *
 *   for unit (a block of channels, a part of the rows of y) { for n {
 *     ring [rows, columns with padding, channels of the block]
 *     for y of the part {
 *       for the rows of x that are new { convolution, or zeros where the window meets the border -> ring }
 *       the window's row y, from the ring } } }
 *
 * Parts begin with rows that the part before has computed too; they are long enough for that to be little. Sums are those
 * of the two convolutions on their own. Needs: fixed dims but the first, channels last, two spatial axes, which the pass fuse
 * sees to. Test: tests/codegen/lower/streamed.sir */
#include "codegen/lower_window.h"
#include "ir/ring.h"

enum {
    UNITS = 8,        /* that divide well among threads */
    LEAST_REUSE = 12, /* rows of a part for each that is computed twice */
    ROW = 1,
    COLUMN = 2,
    CHANNEL = 3
};

typedef struct streamed {
    sinter_kernel *k;
    sinter_node producer, consumer;
    sinter_lower_kernel_rule produce, consume;
    sinter_value x, y; /* of the consumer; x is the value between */
    sinter_window window;
    int64_t height, width, channels; /* of x */
    int64_t rows;                    /* of y */
    int64_t taps, stride, pad_row, pad_left, pad_right;
    int64_t block, part, parts; /* channels of a block, rows of y of a part, how many such parts */
    int64_t ring_columns;
    sinter_expr batch, first_channel, first_row; /* of the unit */
} streamed;

/* The nodes of the region that have a kernel rule and no element rule. */
static uint32_t find_anchors(sinter_module *module, sinter_region region, streamed *s) {
    uint32_t count = 0;
    SINTER_FOR_NODES (module, region, node) {
        sinter_lower_kernel_rule rule = sinter_lower_find_anchor(module, node);
        if (!rule) continue;
        s->producer = s->consumer;
        s->produce = s->consume;
        s->consumer = node;
        s->consume = rule;
        count++;
    }
    return count;
}

bool sinter_lower_is_streamed(sinter_kernel *kernel, sinter_region region) {
    streamed s = {0};
    return find_anchors(kernel->lower->module, region, &s) == 2;
}

static int64_t number(sinter_expr expr) {
    int64_t value = 0;
    sinter_loop_is_const_int(expr, &value);
    return value;
}

static int64_t dim_of(const streamed *s, sinter_value value, int axis) {
    return number(sinter_kernel_dim_of(s->k, value, axis));
}

/* Parts enough for some threads to share the units, unless too many rows were computed twice. Of equal length where the rows
 * can be divided. */
static int64_t choose_part(const streamed *s) {
    int64_t blocks = s->channels / s->block, twice = s->taps - s->stride;
    int64_t parts = (UNITS + blocks - 1) / blocks, length = (s->rows + parts - 1) / parts;
    int64_t least = (LEAST_REUSE * twice + s->stride - 1) / s->stride;
    if (length < least) length = least;
    for (int64_t part = length; part < 2 * length && part < s->rows; part++)
        if (s->rows % part == 0) return part;
    return length < s->rows ? length : s->rows;
}

static void measure(streamed *s) {
    sinter_window *w = &s->window;
    *w = sinter_lower_describe_conv(s->k, s->consumer);
    s->height = dim_of(s, s->x, ROW);
    s->width = dim_of(s, s->x, COLUMN);
    s->channels = dim_of(s, s->x, CHANNEL);
    s->rows = dim_of(s, s->y, ROW);
    s->taps = (number(w->kernel[0]) - 1) * w->dilation[0] + 1;
    s->stride = w->stride[0];
    s->pad_row = number(w->pad_before[0]);
    s->pad_left = number(w->pad_before[1]);
    s->pad_right = number(w->pad_after[1]);
    s->ring_columns = s->pad_left + s->width + s->pad_right;
}

/* What the pass fuse makes: known dims but the first, and a window of its own for each channel. */
static bool is_sound(const streamed *s) {
    sinter_module *module = s->k->lower->module;
    return sinter_write_type(s->k, s->x).rank == 4 && sinter_write_type(s->k, s->y).rank == 4 &&
           sinter_value_definition(module, s->x) && s->window.space == ROW &&
           s->window.spatial == 2 && s->height > 0 && s->width > 0 && s->channels > 0 &&
           s->rows > 0 && s->taps >= s->stride && dim_of(s, s->y, COLUMN) > 0 &&
           dim_of(s, s->y, CHANNEL) == s->channels &&
           sinter_node_get_int(module, s->consumer, "group", 1) == s->channels &&
           sinter_node_get_int(module, s->producer, "channels_last", 0);
}

/* ---- the ring ---- */

static bool begin_ring(streamed *s) {
    sinter_kernel *k = s->k;
    sinter_kernel_ring *ring = &k->ring;
    ring->value = s->x;
    ring->rows = sinter_ring_rows(s->taps);
    ring->row_shift = (s->pad_row + ring->rows - 1) / ring->rows * ring->rows;
    ring->column_shift = s->pad_left;
    s->block = sinter_ring_channels(s->channels, ring->rows, s->ring_columns);
    if (!s->block) return false;
    s->part = choose_part(s);
    s->parts = (s->rows + s->part - 1) / s->part;
    return true;
}

static void allocate_ring(streamed *s) {
    sinter_kernel *k = s->k;
    sinter_expr dims[3] = {sinter_write_int(k, k->ring.rows), sinter_write_int(k, s->ring_columns),
                           sinter_write_int(k, s->block)};
    k->ring.first_channel = s->first_channel;
    k->ring.buffer = sinter_loop_add_buffer(
        &k->build, "ring", sinter_lower_compute_dtype(sinter_write_type(k, s->x).dtype), 3, dims,
        SINTER_SCOPE_STACK);
    sinter_loop_alloc(&k->build, k->ring.buffer);
}

/* Columns from..to of this row of the ring. */
static void write_zeros(streamed *s, sinter_expr row, int64_t from, int64_t to) {
    sinter_kernel *k = s->k;
    if (from == to) return;
    sinter_expr column =
        sinter_write_for(k, "column", sinter_write_int(k, from), sinter_write_int(k, to));
    sinter_expr channel = sinter_kernel_begin_for(k, "channel", sinter_write_int(k, s->block));
    const sinter_expr at[3] = {row, column, channel};
    sinter_dtype dtype = k->build.function->buffers.items[k->ring.buffer].dtype;
    sinter_kernel_store(k, k->ring.buffer, at, sinter_write_number(k, dtype, 0));
    sinter_kernel_end_loops(k, 2);
}

static void write_margins(streamed *s) {
    sinter_kernel *k = s->k;
    if (!s->pad_left && !s->pad_right) return;
    sinter_expr row = sinter_kernel_begin_for(k, "row", sinter_write_int(k, k->ring.rows));
    write_zeros(s, row, 0, s->pad_left);
    write_zeros(s, row, s->pad_left + s->width, s->ring_columns);
    sinter_write_end(k);
}

/* ---- rows ---- */

/* Loops over the value go through one row of the unit's channels. */
static void take_row(streamed *s, sinter_value value, sinter_expr row, int64_t width) {
    sinter_kernel *k = s->k;
    sinter_expr zero = sinter_write_int(k, 0), one = sinter_write_int(k, 1);
    k->part = (sinter_kernel_part){
        .value = value,
        .first = {s->batch, row, zero, s->first_channel},
        .count = {one, one, sinter_write_int(k, width), sinter_write_int(k, s->block)}};
    /* The only element of an axis is 0 in the very form that elementwise rules read it by. */
    for (int i = 0; i < 4; i++)
        if (dim_of(s, value, i) == 1) k->part.first[i] = zero;
}

/* Row `row` of x, which may be above the first or below the last. */
static bool write_row(streamed *s, sinter_expr row) {
    sinter_kernel *k = s->k;
    sinter_expr height = sinter_write_int(k, s->height);
    bool has_borders = s->pad_row || (s->rows - 1) * s->stride - s->pad_row + s->taps > s->height;
    if (has_borders) sinter_write_if(k, FORMULA(k, "0 <= a && a < b", row, height));
    take_row(s, sinter_node_result(k->lower->module, s->producer, 0), row, s->width);
    if (!s->produce(k, s->producer)) return false;
    if (!has_borders) return true;
    sinter_write_else(k);
    sinter_expr place = FORMULA(k, "(a + b) % c", row, sinter_write_int(k, k->ring.row_shift),
                                sinter_write_int(k, k->ring.rows));
    write_zeros(s, place, s->pad_left, s->pad_left + s->width);
    sinter_write_end(k);
    return true;
}

static bool write_rows(streamed *s) {
    sinter_kernel *k = s->k;
    sinter_expr last = sinter_write_int(k, s->rows), part = sinter_write_int(k, s->part);
    sinter_expr step = sinter_kernel_begin_for(
        k, "step",
        s->rows % s->part ? FORMULA(k, "min(a, b - c)", part, last, s->first_row) : part);
    sinter_expr y = FORMULA(k, "a + b", s->first_row, step);
    sinter_expr top =
        FORMULA(k, "a * b - c", y, sinter_write_int(k, s->stride), sinter_write_int(k, s->pad_row));
    sinter_expr known =
        FORMULA(k, "select(a == 0, 0, b)", step, sinter_write_int(k, s->taps - s->stride));
    /* outputs of the kernel: what is between, then what there is to store */
    k->ring.is_read = false;
    size_t count = k->outputs.count;
    sinter_value *outputs = k->outputs.items;
    k->outputs.items = &s->x;
    k->outputs.count = 1;
    sinter_expr row = sinter_write_for(k, "row", FORMULA(k, "a + b", top, known),
                                       FORMULA(k, "a + b", top, sinter_write_int(k, s->taps)));
    bool good = write_row(s, row);
    sinter_write_end(k);
    k->outputs.items = outputs;
    k->outputs.count = count;
    k->ring.is_read = true;
    take_row(s, s->y, y, dim_of(s, s->y, COLUMN));
    good = good && s->consume(k, s->consumer);
    k->part.value = 0;
    sinter_write_end(k);
    return good;
}

bool sinter_lower_streamed(sinter_kernel *kernel, sinter_region region) {
    sinter_module *module = kernel->lower->module;
    sinter_kernel *k = kernel;
    streamed s = {.k = kernel};
    find_anchors(module, region, &s);
    s.x = sinter_node_operand(module, s.consumer, 0);
    s.y = sinter_node_result(module, s.consumer, 0);
    if (sinter_write_type(k, s.x).rank == 4) measure(&s);
    if (!is_sound(&s) || !begin_ring(&s))
        return sinter_lower_error(k->lower, s.consumer,
                                  "no such window reads by rows what is made in its group");
    sinter_expr parts = sinter_write_int(k, s.parts);
    sinter_expr unit =
        sinter_kernel_begin_for(k, "unit", sinter_write_int(k, s.channels / s.block * s.parts));
    s.first_channel = FORMULA(k, "a / b * c", unit, parts, sinter_write_int(k, s.block));
    s.first_row = FORMULA(k, "a % b * c", unit, parts, sinter_write_int(k, s.part));
    s.batch = sinter_kernel_begin_for(k, "n", sinter_kernel_dim_of(k, s.y, 0));
    allocate_ring(&s);
    write_margins(&s);
    bool good = write_rows(&s);
    sinter_kernel_end_loops(k, 2);
    k->ring.value = 0;
    return good;
}
