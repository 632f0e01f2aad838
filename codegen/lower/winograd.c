/* Lowering of convolutions by Winograd's minimal filtering (Lavin, Gray: Fast Algorithms for Convolutional Neural Networks):
 * y = A^T [(G w G^T) * (B^T x B)] A over tiles of m x m outputs, which read (m + 2) x (m + 2) inputs. What the elements at
 * one place of all tiles and channels make is a matrix product, (m + 2)^2 of them instead of 9 m^2 taps.
 *
 * A block of tiles, or a group of images, goes through all three steps before the next one begins, so that what lies between
 * them stays in a cache. Weights are transformed here, once. Needs: a conv that the pass `winograd` marked, its weights constant.
 * Test: tests/codegen/lower/winograd.sir */
#include "codegen/lower/winograd.h"
#include "ir/stack.h"
#include "ir/winograd.h"

#include <string.h>

enum { TAPS = SINTER_WINOGRAD_TAPS, MAX_EDGE = 6, MAX_STEPS = 10 };
enum { FILTERS = 16 }; /* that are transformed together: a cache line of weights */
enum { MOST_IMAGES = 1 << 20, MOST_TILES = 4096 }; /* of a plan */

/* A transform of one line: inputs are a, b, c, ...; each step's value takes the next letter; results by their letters. */
typedef struct line_transform {
    const char *steps[MAX_STEPS + 1], *results;
} line_transform;

typedef struct winograd_form {
    int64_t tile;
    line_transform input, output;
    double weights[MAX_EDGE][TAPS];
} winograd_form;

/* Points 0, 1, -1, infinity, and 2, -2 for tiles of 4. */
static const winograd_form forms[] = {
    {.tile = 2,
     .input = {{"a - c", "b + c", "c - b", "b - d"}, "efgh"},
     .output = {{"a + b + c", "b - c - d"}, "ef"},
     .weights = {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}}},
    {.tile = 4,
     .input = {{"fma(-4, c, e)", "fma(-4, b, d)", "e - c", "2 * (d - b)",
                "fma(4, a, fma(-5, c, e))", "g + h", "g - h", "i + j", "i - j",
                "fma(4, b, fma(-5, d, f))"},
               "klmnop"},
     .output = {{"b + c", "b - c", "d + e", "d - e", "a + g + i", "fma(2, j, h)", "fma(4, i, g)",
                 "fma(8, j, f + h)"},
                "klmn"},
     .weights = {{.25, 0, 0},
                 {-1. / 6, -1. / 6, -1. / 6},
                 {-1. / 6, 1. / 6, -1. / 6},
                 {1. / 24, 1. / 12, 1. / 6},
                 {1. / 24, -1. / 12, 1. / 6},
                 {0, 0, 1}}},
};

static const winograd_form *find_form(int64_t tile) {
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].tile == tile) return &forms[i];
    return NULL;
}

typedef struct winograd {
    sinter_kernel *k;
    const winograd_form *form;
    int64_t edge;              /* of the input tile */
    int64_t panel;             /* output channels of a block */
    int64_t channels, filters; /* of input and output */
    int64_t pad_top, pad_left;
    sinter_value x, weight, bias, y;
    sinter_loop_buffer weights;          /* [filters / panel, edge^2, channels, panel] */
    sinter_loop_buffer inputs, products; /* [edge^2, tiles, channels] and [edge^2, tiles, panel] */
    int64_t group;                       /* images that go through a step together; 0: all */
    sinter_expr images, rows, columns;   /* of tiles: in a block, or in a group */
    sinter_expr first_image;             /* of the group */
    sinter_expr image, first_row, first_column; /* where the block begins; image NULL: a group */
} winograd;

/* ---- weights ---- */

/* G w G^T of so many filters, for one channel each: out[place][filter]. Lanes that no filter has are zeros. */
static void transform_filters(const winograd_form *form, double taps[TAPS * TAPS][FILTERS],
                              double out[MAX_EDGE * MAX_EDGE][FILTERS]) {
    int64_t edge = form->tile + TAPS - 1;
    double half[MAX_EDGE][TAPS][FILTERS];
    for (int64_t i = 0; i < edge; i++)
        for (int64_t j = 0; j < TAPS; j++)
            for (int64_t l = 0; l < FILTERS; l++)
                half[i][j][l] = form->weights[i][0] * taps[j][l] +
                                form->weights[i][1] * taps[TAPS + j][l] +
                                form->weights[i][2] * taps[2 * TAPS + j][l];
    for (int64_t i = 0; i < edge; i++)
        for (int64_t j = 0; j < edge; j++)
            for (int64_t l = 0; l < FILTERS; l++)
                out[i * edge + j][l] = half[i][0][l] * form->weights[j][0] +
                                       half[i][1][l] * form->weights[j][1] +
                                       half[i][2][l] * form->weights[j][2];
}

/* Filters `first` and following, as many as are neighbours in a panel and in a line; returns how many. */
static int64_t transform_line_of_filters(const winograd *w, const char *source, int64_t first,
                                         float *out) {
    int64_t places = w->edge * w->edge, count = w->panel - first % w->panel;
    double taps[TAPS * TAPS][FILTERS] = {{0}}, made[MAX_EDGE * MAX_EDGE][FILTERS];
    if (count > FILTERS) count = FILTERS;
    float *at = out + first / w->panel * places * w->channels * w->panel + first % w->panel;
    for (int64_t c = 0; c < w->channels; c++, at += w->panel) {
        for (int64_t l = 0; l < count; l++) {
            float filter[TAPS * TAPS]; /* a mapped file aligns nothing */
            memcpy(filter, source + ((first + l) * w->channels + c) * (int64_t)sizeof filter,
                   sizeof filter);
            for (int64_t t = 0; t < TAPS * TAPS; t++) taps[t][l] = filter[t];
        }
        transform_filters(w->form, taps, made);
        for (int64_t p = 0; p < places; p++)
            for (int64_t l = 0; l < count; l++)
                at[p * w->channels * w->panel + l] = (float)made[p][l];
    }
    return count;
}

/* The same weights of the same dims (a reshape shares their bytes), transformed the same way, are one constant. */
static bool find_transformed(const winograd *w, const sinter_tensor *source, sinter_text *out_key,
                             uint64_t *out_index) {
    sinter_text_format(out_key, "%p %lld %lld %lld %lld", source->data, (long long)w->filters,
                       (long long)w->channels, (long long)w->form->tile, (long long)w->panel);
    return sinter_map_find_string(&w->k->lower->transformed,
                                  (sinter_string){out_key->data, out_key->size}, out_index);
}

static bool transform_weights(winograd *w) {
    sinter_lower *lower = w->k->lower;
    const sinter_tensor *source = sinter_kernel_constant(w->k, w->weight);
    int64_t dims[4] = {w->filters / w->panel, w->edge * w->edge, w->channels, w->panel};
    sinter_text key = {0};
    sinter_tensor made;
    uint64_t known;
    bool good = true;
    if (find_transformed(w, source, &key, &known)) {
        sinter_tensor_copy(&made, &lower->program->constants.items[known].tensor);
    } else {
        good = sinter_tensor_create(&made, SINTER_DTYPE_f32, 4, dims, lower->diag);
        for (int64_t o = 0; good && o < w->filters;)
            o += transform_line_of_filters(w, source->data, o, sinter_tensor_mutable(&made));
        sinter_storage_drop_pages(source->storage, source->data, sinter_tensor_bytes(source));
        if (good)
            sinter_map_put_string(&lower->transformed, (sinter_string){key.data, key.size},
                                  lower->program->constants.count);
    }
    sinter_text_deinit(&key);
    if (!good) return false;
    w->weights = sinter_write_table(w->k, "transformed", &made);
    sinter_tensor_deinit(&made);
    return true;
}

/* ---- lines and tiles ---- */

/* out[i] = transform of in[i], as lets. */
static void transform_line(winograd *w, const line_transform *transform, uint32_t count,
                           const sinter_expr *in, sinter_expr *out) {
    static const char letters[] = "abcdefghijklmnop";
    sinter_string names[MAX_EDGE + MAX_STEPS];
    sinter_expr values[MAX_EDGE + MAX_STEPS];
    for (uint32_t i = 0; i < MAX_EDGE + MAX_STEPS; i++) names[i] = (sinter_string){letters + i, 1};
    memcpy(values, in, count * sizeof *values);
    /* tiles of 2 have fewer inputs: their steps begin earlier in the alphabet */
    for (uint32_t i = 0; transform->steps[i]; i++, count++)
        values[count] = sinter_write_let(w->k, "t",
                                         sinter_lower_scalar_text(w->k, transform->steps[i], names,
                                                                  values, count, SINTER_DTYPE_f32));
    for (uint32_t i = 0; transform->results[i]; i++)
        out[i] = values[transform->results[i] - letters[0]];
}

/* in: edge x edge, row-major; out: as many lines and columns as the transform has results. */
static void transform_tile(winograd *w, const line_transform *transform, sinter_expr *tile) {
    uint32_t edge = (uint32_t)w->edge, size = (uint32_t)strlen(transform->results);
    sinter_expr in[MAX_EDGE], half[MAX_EDGE][MAX_EDGE]; /* by result, by column */
    for (uint32_t j = 0; j < edge; j++) {
        sinter_expr out[MAX_EDGE];
        for (uint32_t i = 0; i < edge; i++) in[i] = tile[i * edge + j];
        transform_line(w, transform, edge, in, out);
        for (uint32_t i = 0; i < size; i++) half[i][j] = out[i];
    }
    for (uint32_t i = 0; i < size; i++)
        transform_line(w, transform, edge, half[i], tile + i * size);
}

static sinter_expr at_offset(winograd *w, sinter_expr base, int64_t offset) {
    return sinter_loop_add(&w->k->build, base, sinter_loop_int(&w->k->build, offset));
}

static sinter_expr all_of(winograd *w, sinter_expr a, sinter_expr b) {
    return sinter_loop_and(&w->k->build, a, b);
}

/* 0 <= position < size */
static sinter_expr is_inside(winograd *w, sinter_expr position, sinter_expr size) {
    return FORMULA(w->k, "a >= 0 && a < b", position, size);
}

/* ---- the three steps ---- */

typedef struct tile_loops {
    sinter_expr tile;               /* number in the block */
    sinter_expr image, row, column; /* of its first output */
    uint32_t depth;                 /* loops that are open */
} tile_loops;

/* Loops over the tiles of the block. */
static tile_loops begin_tiles(winograd *w) {
    sinter_kernel *k = w->k;
    sinter_expr size = sinter_write_int(k, w->form->tile);
    tile_loops at = {.image = w->image, .depth = w->image ? 2 : 3};
    sinter_expr n = w->image ? NULL : sinter_kernel_begin_for(k, "n", w->images);
    if (n) at.image = sinter_loop_add(&k->build, w->first_image, n);
    sinter_expr r = sinter_kernel_begin_for(k, "r", w->rows);
    sinter_expr s = sinter_kernel_begin_for(k, "s", w->columns);
    sinter_expr row = w->image ? r : FORMULA(k, "a * b + c", n, w->rows, r);
    at.tile = FORMULA(k, "a * b + c", row, w->columns, s);
    at.row = FORMULA(k, "(a + b) * c", w->first_row, r, size);
    at.column = FORMULA(k, "(a + b) * c", w->first_column, s, size);
    return at;
}

/* One tile of all channels; at the border what is outside is 0. */
static void transform_inputs(winograd *w, const tile_loops *at, bool border) {
    sinter_kernel *k = w->k;
    sinter_expr tile[MAX_EDGE * MAX_EDGE], row[MAX_EDGE], column[MAX_EDGE], row_in[MAX_EDGE],
        column_in[MAX_EDGE];
    sinter_expr height = sinter_kernel_dim_of(k, w->x, 1), width = sinter_kernel_dim_of(k, w->x, 2);
    for (int64_t i = 0; i < w->edge; i++) {
        row[i] = at_offset(w, at->row, i - w->pad_top);
        column[i] = at_offset(w, at->column, i - w->pad_left);
        if (!border) continue;
        row_in[i] = sinter_write_let(k, "row_in", is_inside(w, row[i], height));
        column_in[i] = sinter_write_let(k, "column_in", is_inside(w, column[i], width));
        row[i] = sinter_write_let(k, "row", FORMULA(k, "max(min(a, b - 1), 0)", row[i], height));
        column[i] =
            sinter_write_let(k, "column", FORMULA(k, "max(min(a, b - 1), 0)", column[i], width));
    }
    sinter_expr c = sinter_kernel_begin_for(k, "c", sinter_write_int(k, w->channels));
    sinter_expr zero = sinter_write_number(k, SINTER_DTYPE_f32, 0);
    for (int64_t i = 0; i < w->edge; i++)
        for (int64_t j = 0; j < w->edge; j++) {
            sinter_expr index[4] = {at->image, row[i], column[j], c};
            sinter_expr element = sinter_lower_element(k, w->x, index);
            if (border)
                element = sinter_loop_select(&k->build, all_of(w, row_in[i], column_in[j]), element,
                                             zero);
            tile[i * w->edge + j] = sinter_write_let(k, "x", element);
        }
    transform_tile(w, &w->form->input, tile);
    for (int64_t p = 0; p < w->edge * w->edge; p++) {
        sinter_expr index[3] = {sinter_write_int(k, p), at->tile, c};
        sinter_kernel_store(k, w->inputs, index, tile[p]);
    }
    sinter_write_end(k);
}

static void input_step(winograd *w) {
    sinter_kernel *k = w->k;
    tile_loops at = begin_tiles(w);
    sinter_expr edge = sinter_write_int(k, w->edge);
    sinter_expr top = at_offset(w, at.row, -w->pad_top),
                left = at_offset(w, at.column, -w->pad_left);
    sinter_expr rows =
        FORMULA(k, "a >= 0 && a + c <= b", top, sinter_kernel_dim_of(k, w->x, 1), edge);
    sinter_expr columns =
        FORMULA(k, "a >= 0 && a + c <= b", left, sinter_kernel_dim_of(k, w->x, 2), edge);
    sinter_write_if(k, all_of(w, rows, columns));
    transform_inputs(w, &at, false);
    sinter_write_else(k);
    transform_inputs(w, &at, true);
    sinter_write_end(k);
    sinter_kernel_end_loops(k, at.depth);
}

static void product_step(winograd *w, sinter_expr panel) {
    sinter_kernel *k = w->k;
    sinter_expr p = sinter_kernel_begin_for(k, "place", sinter_write_int(k, w->edge * w->edge));
    sinter_expr t =
        sinter_kernel_begin_for(k, "t", FORMULA(k, "a * b * c", w->images, w->rows, w->columns));
    sinter_expr o = sinter_kernel_begin_for(k, "o", sinter_write_int(k, w->panel));
    sinter_loop_var sum = sinter_write_var(k, "acc", sinter_write_number(k, SINTER_DTYPE_f32, 0));
    sinter_expr c = sinter_kernel_begin_for(k, "c", sinter_write_int(k, w->channels));
    sinter_expr from[3] = {p, t, c}, weight[4] = {panel, p, c, o}, to[3] = {p, t, o};
    sinter_write_add(k, sum,
                     sinter_loop_mul(&k->build, sinter_kernel_load(k, w->inputs, from),
                                     sinter_kernel_load(k, w->weights, weight)));
    sinter_write_end(k);
    sinter_kernel_store(k, w->products, to, sinter_write_get(k, sum));
    sinter_kernel_end_loops(k, 3);
}

/* Tiles may reach over the lower and right edge of the result. */
static void output_step(winograd *w, sinter_expr panel) {
    sinter_kernel *k = w->k;
    tile_loops at = begin_tiles(w);
    sinter_expr height = sinter_kernel_dim_of(k, w->y, 1), width = sinter_kernel_dim_of(k, w->y, 2);
    sinter_expr o = sinter_kernel_begin_for(k, "o", sinter_write_int(k, w->panel));
    sinter_expr channel = FORMULA(k, "a * b + c", panel, sinter_write_int(k, w->panel), o);
    sinter_expr tile[MAX_EDGE * MAX_EDGE];
    for (int64_t p = 0; p < w->edge * w->edge; p++) {
        sinter_expr index[3] = {sinter_write_int(k, p), at.tile, o};
        tile[p] = sinter_write_let(k, "p", sinter_kernel_load(k, w->products, index));
    }
    transform_tile(w, &w->form->output, tile);
    sinter_expr bias =
        w->bias ? sinter_write_let(k, "bias", sinter_lower_element(k, w->bias, &channel)) : NULL;
    for (int64_t i = 0; i < w->form->tile; i++)
        for (int64_t j = 0; j < w->form->tile; j++) {
            sinter_expr index[4] = {at.image, at_offset(w, at.row, i), at_offset(w, at.column, j),
                                    channel};
            sinter_expr element = tile[i * w->form->tile + j];
            if (bias) element = sinter_loop_add(&k->build, element, bias);
            sinter_write_if(k, all_of(w, FORMULA(k, "a < b", index[1], height),
                                      FORMULA(k, "a < b", index[2], width)));
            sinter_lower_store(k, w->y, index, element);
            sinter_write_end(k);
        }
    sinter_kernel_end_loops(k, at.depth + 1);
}

/* ---- the whole ---- */

/* Scratch (ir/winograd.h) of a block is on the stack; of a group, in the workspace. There is room for a symbolic number of tiles and no
 * more, odd or not: the kernel knows its loops by the scalar that is this dim, and a rounded one would be another. */
static sinter_loop_buffer scratch(winograd *w, const char *name, int64_t width) {
    sinter_kernel *k = w->k;
    sinter_loop_builder *build = w->image ? &k->build : &k->lower->host;
    int64_t tiles;
    sinter_expr dims[3] = {sinter_loop_int(build, w->edge * w->edge), NULL,
                           sinter_loop_int(build, sinter_winograd_row(width))};
    if (!w->image) {
        sinter_expr sizes[3];
        for (int i = 0; i < 3; i++)
            sizes[i] = sinter_lower_host_dim(k->lower, sinter_write_type(k, w->y).dims[i]);
        sinter_expr tile = sinter_loop_int(build, w->form->tile),
                    rest = sinter_loop_int(build, w->form->tile - 1);
        for (int i = 1; i < 3; i++)
            sizes[i] = sinter_loop_div(build, sinter_loop_add(build, sizes[i], rest), tile);
        if (w->group) sizes[0] = sinter_loop_min(build, sizes[0], sinter_loop_int(build, w->group));
        dims[1] = sinter_loop_mul(build, sizes[0], sinter_loop_mul(build, sizes[1], sizes[2]));
        if (sinter_loop_is_const_int(dims[1], &tiles))
            dims[1] = sinter_loop_int(build, sinter_winograd_tiles(tiles));
        return sinter_kernel_scratch(k, name, SINTER_DTYPE_f32, 3, dims);
    }
    dims[1] = FORMULA(k, "a * b", w->rows, w->columns);
    if (sinter_loop_is_const_int(dims[1], &tiles))
        dims[1] = sinter_loop_int(build, sinter_winograd_tiles(tiles));
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(build, name, SINTER_DTYPE_f32, 3, dims, SINTER_SCOPE_STACK);
    sinter_loop_alloc(build, buffer);
    return buffer;
}

static sinter_expr count_of(winograd *w, sinter_expr size, sinter_expr step) {
    return FORMULA(w->k, "(a + b - 1) / b", size, step);
}

/* Block by block. Images inside: one is common, and the blocks are what threads share. */
static void emit_blocks(winograd *w, int64_t rows, int64_t columns) {
    sinter_kernel *k = w->k;
    sinter_expr tile_rows = w->rows, tile_columns = w->columns, images = w->images;
    w->images = sinter_write_int(k, 1);
    w->rows = sinter_write_int(k, rows);
    w->columns = sinter_write_int(k, columns);
    sinter_expr down = sinter_kernel_begin_for(k, "down", count_of(w, tile_rows, w->rows));
    sinter_expr across =
        sinter_kernel_begin_for(k, "across", count_of(w, tile_columns, w->columns));
    w->image = sinter_kernel_begin_for(k, "n", images);
    w->first_row = sinter_loop_mul(&k->build, down, w->rows);
    w->first_column = sinter_loop_mul(&k->build, across, w->columns);
    w->inputs = scratch(w, "inputs", w->channels);
    input_step(w);
    sinter_expr panel =
        sinter_kernel_begin_for(k, "panel", sinter_write_int(k, w->filters / w->panel));
    w->products = scratch(w, "products", w->panel);
    product_step(w, panel);
    output_step(w, panel);
    sinter_kernel_end_loops(k, 4);
}

/* The images of a group are those of one call of the kernel. */
static void begin_group(winograd *w) {
    sinter_kernel *k = w->k;
    sinter_loop_builder *host = &k->lower->host;
    sinter_expr all = sinter_lower_host_dim(k->lower, sinter_write_type(k, w->y).dims[0]);
    sinter_expr group = sinter_loop_int(host, w->group), one = sinter_loop_int(host, 1);
    int64_t images = -1;
    w->first_image = sinter_write_int(k, 0);
    if (!w->group || (sinter_loop_is_const_int(all, &images) && images <= w->group)) return;
    sinter_expr calls =
        sinter_loop_div(host, sinter_loop_add(host, all, sinter_loop_sub(host, group, one)), group);
    sinter_expr first = sinter_loop_mul(host, sinter_kernel_call_often(k, calls), group);
    w->first_image = sinter_kernel_bind_scalar(k, first, "first");
    if (images >= 0 && images % w->group == 0) {
        w->images = sinter_write_int(k, w->group);
        return;
    }
    sinter_expr rest = sinter_loop_min(host, sinter_loop_sub(host, all, first), group);
    w->images = sinter_kernel_bind_scalar(k, rest, "images");
    sinter_loop_set_range(&k->build, w->images->var, 1, w->group);
}

/* All tiles of a group go through one step after the other; in each, threads share them. */
static void emit_groups(winograd *w) {
    sinter_expr zero = sinter_write_int(w->k, 0);
    begin_group(w);
    w->first_row = w->first_column = zero;
    w->inputs = scratch(w, "inputs", w->channels);
    w->products = scratch(w, "products", w->filters);
    input_step(w);
    product_step(w, zero);
    output_step(w, zero);
}

static void find_pads(winograd *w, sinter_node node) {
    sinter_module *module = w->k->lower->module;
    const int64_t *pads = NULL;
    sinter_string mode = sinter_node_get_string(module, node, "auto_pad");
    if (sinter_string_is(mode, "SAME_UPPER") || sinter_string_is(mode, "SAME_LOWER")) {
        w->pad_top = w->pad_left = 1;
    } else if (!sinter_string_is(mode, "VALID") &&
               sinter_node_get_ints(module, node, "pads", &pads) == 4) {
        w->pad_top = pads[0];
        w->pad_left = pads[1];
    }
}

/* [tile], [tile, images] or [tile, rows, columns, channels], whose scratch is no more than a stack has. */
static bool read_plan(winograd *w, const int64_t *plan, size_t count) {
    w->form = count == 1 || count == 2 || count == 4 ? find_form(plan[0]) : NULL;
    if (!w->form) return false;
    w->edge = w->form->tile + TAPS - 1;
    w->panel = count == 4 ? plan[3] : w->filters;
    w->group = count == 2 ? plan[1] : 0;
    if (w->panel < 1 || w->filters % w->panel) return false;
    if (count == 2) return plan[1] >= 1 && plan[1] <= MOST_IMAGES;
    if (count != 4) return true;
    bool counts = plan[1] >= 1 && plan[1] <= MOST_TILES && plan[2] >= 1 && plan[2] <= MOST_TILES;
    double bytes = counts ? sinter_winograd_bytes(plan[0], plan[1] * plan[2], w->channels) +
                                sinter_winograd_bytes(plan[0], plan[1] * plan[2], w->panel)
                          : 0;
    return counts && bytes <= SINTER_STACK_ASKED;
}

bool sinter_lower_winograd(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    const int64_t *plan = NULL;
    size_t count = sinter_node_get_ints(module, node, "winograd", &plan);
    winograd w = {.k = kernel,
                  .x = sinter_node_operand(module, node, 0),
                  .weight = sinter_node_operand(module, node, 1),
                  .bias = sinter_node_operand(module, node, 2),
                  .y = sinter_node_result(module, node, 0)};
    const sinter_tensor *taps = sinter_kernel_constant(kernel, w.weight);
    bool fits = taps && sinter_winograd_takes(module, node, taps);
    w.filters = fits ? taps->dims[0] : 1;
    w.channels = fits ? taps->dims[1] : 1;
    if (!fits || !read_plan(&w, plan, count))
        return sinter_lower_error(
            kernel->lower, node,
            "winograd: expected channels last, constant f32 weights of 3 x 3 "
            "taps, strides and dilations "
            "of 1, pads of 0 or 1, and a plan: the edge of a tile, 2 or 4, then "
            "the images of a group, or the rows and columns of tiles of a "
            "block and its channels, with scratch that a stack holds");
    find_pads(&w, node);
    if (!transform_weights(&w)) {
        kernel->lower->failed = true;
        return false;
    }
    sinter_expr tile = sinter_write_int(kernel, w.form->tile);
    w.images = sinter_kernel_dim_of(kernel, w.y, 0);
    w.rows = count_of(&w, sinter_kernel_dim_of(kernel, w.y, 1), tile);
    w.columns = count_of(&w, sinter_kernel_dim_of(kernel, w.y, 2), tile);
    if (count == 4)
        emit_blocks(&w, plan[1], plan[2]);
    else
        emit_groups(&w);
    return true;
}
