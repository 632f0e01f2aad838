/* Decompositions of dft and stft of known lengths: products with cosines and sines that are known at compile time. A long transform
 * is cut into shorter ones (Cooley and Tukey 1965), whose factors of the next step are in the tables of the one before; frames of a
 * signal are a convolution (the tables are its weights), or, where they are long and of known number, lines that are cut. Other
 * lengths stay, for lowering to sum as they are defined.
 * Needs inferred types. Test: tests/passes/decompose/signal.sir, tests/ops/dft.sir, tests/ops/stft.sir */
#include "ir/decompose.h"

#include <math.h>

enum {
    MAX_TABLE = 1 << 22, /* elements */
    MAX_RADIX = 64,
    MAX_PIECES = 64, /* that a frame is put together of */
    /* Products that take as long as a step of a cut takes to move an element: an estimate, a cycle and a half where 32 are done in one. One
     * number serves all targets, for the cost is flat around it: where a target has 24 or 96, the cuts for 48 of lengths from 128 to 65,536 are
     * by this estimate at most 1.25 times as dear as its own. */
    MOVE = 48
};

typedef struct transform {
    sinter_rewrite *rewrite;
    sinter_module *module;
    sinter_dim_table *dims;
    sinter_dtype dtype; /* that is computed in */
    bool inverse, onesided;
    int64_t length, bins;
    int64_t parts_in, parts_out; /* 2: real and imaginary */
    double scale;                /* of the result */
} transform;

/* ---- tables ---- */

/* e^(+-2 pi i at / length) times a real (a = 0) or imaginary number (a = 1): its real (b = 0) or imaginary part. */
static double root(const transform *t, int64_t at, int64_t length, int a, int b) {
    double angle = 2 * acos(-1.0) * (double)(at % length) / (double)length;
    double imaginary = t->inverse ? sin(angle) : -sin(angle);
    return a == b ? cos(angle) : b ? imaginary : -imaginary;
}

static bool create(const transform *t, uint32_t rank, const int64_t *dims, sinter_tensor *out) {
    return sinter_tensor_create(out, t->dtype, rank, dims, t->rewrite->build.diag);
}

/* What part a of x[j] adds to part b of bin k. A onesided inverse has the first half of the spectrum: x[length - j] is the conjugate of
 * x[j], and what is its own conjugate is real. */
static double weight_of(const transform *t, int64_t j, int a, int64_t k, int b) {
    double weight = root(t, j * k, t->length, a, b) * t->scale;
    if (!t->inverse || !t->onesided) return weight;
    bool alone = j == 0 || 2 * j == t->length;
    return 2 * j > t->length || (alone && a) ? 0 : alone ? weight : 2 * weight;
}

/* Elements of the table of a whole transform of so many numbers; as many products a line. */
static double table_size(const transform *t, int64_t given) {
    return (double)given * (double)t->parts_in * (double)t->bins * (double)t->parts_out;
}

/* [given, parts_in][bins, parts_out] */
static sinter_value whole_table(const transform *t, int64_t given) {
    const int64_t dims[2] = {given * t->parts_in, t->bins * t->parts_out};
    sinter_tensor table;
    if (!create(t, 2, dims, &table)) return 0;
    for (int64_t i = 0; i < dims[0] * dims[1]; i++) {
        int64_t row = i / dims[1], column = i % dims[1];
        sinter_tensor_set_double(&table, i,
                                 weight_of(t, row / t->parts_in, (int)(row % t->parts_in),
                                           column / t->parts_out, (int)(column % t->parts_out)));
    }
    return sinter_build_constant(&t->rewrite->build, table);
}

/* ---- long transforms ---- */

/* Products for a line of so many numbers, by the best cuts; *out_radix: of the first one, 0: none. HUGE_VAL: `limit` or more, or tables
 * would be too large. */
static double line_cost(int64_t length, int64_t parts, double limit, int64_t *out_radix) {
    double whole = 2.0 * (double)length * (double)length * (double)parts, best = HUGE_VAL;
    *out_radix = 0;
    if (whole <= MAX_TABLE && whole < limit) best = limit = whole;
    for (int64_t radix = 2; radix <= MAX_RADIX && radix * 2 <= length; radix++) {
        int64_t next;
        double table = 2.0 * (double)length * (double)radix * (double)parts;
        double own = table + 2.0 * MOVE * (double)length;
        if (length % radix || table > MAX_TABLE || own >= limit) continue;
        double cost = own + (double)radix *
                                line_cost(length / radix, 2, (limit - own) / (double)radix, &next);
        if (cost >= limit) continue;
        best = limit = cost;
        *out_radix = radix;
    }
    return best;
}

/* [rest][radix, parts][radix, 2]: number j1 * rest + j2 of a line, for all j1, to the part of bins k1 + radix * k2 that depends on j2 and k1. */
static sinter_value step_table(const transform *t, int64_t length, int64_t radix, int64_t parts) {
    const int64_t rest = length / radix, dims[3] = {rest, radix * parts, radix * 2};
    sinter_tensor table;
    if (!create(t, 3, dims, &table)) return 0;
    for (int64_t i = 0; i < rest * dims[1] * dims[2]; i++) {
        int64_t column = i % dims[2], row = i / dims[2] % dims[1], j2 = i / dims[2] / dims[1];
        int64_t place = (row / parts * rest + j2) * (column / 2);
        sinter_tensor_set_double(&table, i,
                                 root(t, place, length, (int)(row % parts), (int)(column % 2)));
    }
    return sinter_build_constant(&t->rewrite->build, table);
}

static sinter_dim number(const transform *t, int64_t value) {
    return sinter_dim_const(t->dims, value);
}

static sinter_value reshape(const transform *t, sinter_value x, sinter_dim a, sinter_dim b,
                            sinter_dim c, sinter_dim d) {
    const sinter_dim dims[4] = {a, b, c, d};
    return sinter_compose_reshape(t->rewrite, x, dims, d ? 4 : c ? 3 : 2);
}

static sinter_value permute(const transform *t, sinter_value x, const int64_t *perm) {
    return sinter_compose_transpose(t->rewrite, x, perm, 4);
}

/* x [lines, given, parts_in] to [lines, bins, parts_out] by one product. */
static sinter_value transform_whole(const transform *t, sinter_value x, sinter_dim lines,
                                    int64_t given) {
    x = reshape(t, x, lines, number(t, given * t->parts_in), 0, 0);
    x = sinter_compose_binary(t->rewrite, SINTER_OP_matmul, x, whole_table(t, given));
    return reshape(t, x, lines, number(t, t->bins), number(t, t->parts_out), 0);
}

/* x [lines, length, parts] to [lines, length, 2]. The last products scale. */
static sinter_value transform_lines(const transform *t, sinter_value x, sinter_dim lines,
                                    int64_t length, int64_t parts) {
    static const int64_t apart[4] = {2, 0, 1, 3}, inner[4] = {1, 2, 0, 3}, back[4] = {0, 2, 1, 3};
    const sinter_dim two = number(t, 2);
    int64_t radix;
    line_cost(length, parts, HUGE_VAL, &radix);
    if (!radix) {
        transform whole = *t;
        whole.length = whole.bins = length;
        whole.parts_in = parts;
        whole.parts_out = 2;
        whole.onesided = false;
        return transform_whole(&whole, x, lines, length);
    }
    const sinter_dim first = number(t, radix), rest = number(t, length / radix);
    x = permute(t, reshape(t, x, lines, first, rest, number(t, parts)), apart);
    x = reshape(t, x, rest, lines, number(t, radix * parts), 0);
    x = sinter_compose_binary(t->rewrite, SINTER_OP_matmul, x, step_table(t, length, radix, parts));
    x = permute(t, reshape(t, x, rest, lines, first, two), inner);
    x = transform_lines(t, reshape(t, x, sinter_dim_mul(t->dims, lines, first), rest, two, 0),
                        sinter_dim_mul(t->dims, lines, first), length / radix, 2);
    x = permute(t, reshape(t, x, lines, first, rest, two), back);
    return reshape(t, x, lines, number(t, length), two, 0);
}

/* ---- dft ---- */

/* Operand i, a number that is known now; `otherwise` where it is absent. */
static bool read_number(const transform *t, sinter_node node, uint32_t i, int64_t otherwise,
                        int64_t *out) {
    sinter_value value = sinter_node_operand(t->module, node, i);
    size_t count = 0;
    *out = otherwise;
    return !value || (sinter_value_known_ints(t->module, value, out, 1, &count) && count == 1);
}

static transform begin(sinter_rewrite *rewrite, sinter_node node, const sinter_type *x) {
    sinter_module *module = rewrite->build.module;
    return (transform){.rewrite = rewrite,
                       .module = module,
                       .dims = sinter_module_dims(module),
                       .dtype = x->dtype == SINTER_DTYPE_f64 ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32,
                       .scale = 1,
                       .inverse = sinter_node_get_int(module, node, "inverse", 0) != 0,
                       .onesided = sinter_node_get_int(module, node, "onesided", 0) != 0};
}

/* The axis goes to the place in front of the parts, or back from there. */
static sinter_value move_axis(const transform *t, sinter_value x, uint32_t rank, uint32_t axis,
                              bool back) {
    int64_t perm[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t from = i < axis || i + 1 == rank ? i : i + 2 == rank ? axis : i + 1;
        perm[back ? from : i] = back ? i : from;
    }
    return axis + 2 == rank ? x : sinter_compose_transpose(t->rewrite, x, perm, rank);
}

/* x [lines, given, parts_in] to [lines, bins, parts_out]. */
static sinter_value transform_all(transform *t, sinter_value x, sinter_dim lines, int64_t given) {
    int64_t radix = 0;
    bool may_cut = given == t->length && t->parts_out == 2;
    if (may_cut) line_cost(t->length, t->parts_in, HUGE_VAL, &radix);
    if (!radix) return transform_whole(t, x, lines, given);
    x = transform_lines(t, x, lines, t->length, t->parts_in);
    if (t->bins == t->length) return x;
    sinter_builder *build = &t->rewrite->build;
    const int64_t zero = 0;
    return sinter_compose_slice(t->rewrite, x, 1, sinter_build_ints(build, &zero, 1),
                                sinter_build_ints(build, &t->bins, 1));
}

/* Tables have room. */
static bool is_possible(const transform *t, int64_t given) {
    int64_t radix;
    return table_size(t, given) <= MAX_TABLE ||
           (given == t->length && t->parts_out == 2 &&
            line_cost(t->length, t->parts_in, HUGE_VAL, &radix) < HUGE_VAL);
}

bool sinter_decompose_dft(sinter_rewrite *rewrite, sinter_node node, sinter_value *out_results) {
    sinter_value x = sinter_node_operand(rewrite->build.module, node, 0);
    const sinter_type type = *sinter_compose_type(rewrite, x);
    transform t = begin(rewrite, node, &type);
    const uint32_t last = type.rank - 1;
    int64_t axis, given;
    if (!read_number(&t, node, 2, -2, &axis)) return true;
    if (axis < 0) axis += type.rank;
    if (axis < 0 || axis >= last || !sinter_dim_is_const(t.dims, type.dims[axis], &given) ||
        !sinter_dim_is_const(t.dims, type.dims[last], &t.parts_in) || t.parts_in < 1 ||
        t.parts_in > 2 ||
        !read_number(&t, node, 1, t.inverse && t.onesided ? 2 * (given - 1) : given, &t.length) ||
        given < 1 || t.length < 1 || t.length > INT32_MAX)
        return true;
    t.bins = t.onesided && !t.inverse ? t.length / 2 + 1 : t.length;
    t.parts_out = t.onesided && t.inverse ? 1 : 2;
    if (t.inverse) t.scale = 1 / (double)t.length;
    const int64_t used = given < t.length ? given : t.length;
    if ((t.onesided && t.parts_in != (t.inverse ? 2 : 1)) || !is_possible(&t, used)) return true;
    sinter_builder *build = &rewrite->build;
    sinter_dim lines = number(&t, 1), dims[SINTER_MAX_RANK];
    if (used < given) {
        const int64_t zero = 0;
        x = sinter_compose_slice(rewrite, x, axis, sinter_build_ints(build, &zero, 1),
                                 sinter_build_ints(build, &used, 1));
    }
    x = move_axis(&t, sinter_compose_cast(rewrite, x, t.dtype), type.rank, (uint32_t)axis, false);
    uint32_t count = 0;
    for (uint32_t i = 0; i < last; i++) {
        if (i == axis) continue;
        lines = sinter_dim_mul(t.dims, lines, type.dims[i]);
        dims[count++] = type.dims[i];
    }
    dims[count++] = number(&t, t.bins);
    dims[count++] = number(&t, t.parts_out);
    x = reshape(&t, x, lines, number(&t, used), number(&t, t.parts_in), 0);
    x = sinter_compose_reshape(rewrite, transform_all(&t, x, lines, used), dims, count);
    x = move_axis(&t, x, type.rank, (uint32_t)axis, true);
    out_results[0] = sinter_compose_cast(rewrite, x, type.dtype);
    return out_results[0] != 0;
}

/* ---- stft ---- */

/* Weights [bins, parts_out][parts_in][length] of a convolution over frames. */
static sinter_value frame_table(const transform *t) {
    const int64_t dims[3] = {t->bins * 2, t->parts_in, t->length};
    sinter_tensor table;
    if (!create(t, 3, dims, &table)) return 0;
    for (int64_t i = 0; i < dims[0] * dims[1] * dims[2]; i++) {
        int64_t j = i % t->length, a = i / t->length % t->parts_in, k = i / t->length / t->parts_in;
        sinter_tensor_set_double(&table, i, weight_of(t, j, (int)a, k / 2, (int)(k % 2)));
    }
    return sinter_build_constant(&t->rewrite->build, table);
}

/* How many frames there are, if they become lines of their own, whose transforms can be cut: that takes the fewer products the longer they
 * are. Each is a row of pieces as long as the step. 0: they don't. */
static int64_t count_lines(const transform *t, sinter_dim frames, int64_t step) {
    int64_t radix, count;
    double whole = table_size(t, t->length);
    if (t->length % step || t->length / step > MAX_PIECES ||
        !sinter_dim_is_const(t->dims, frames, &count) || count < 1)
        return 0;
    double cut = line_cost(t->length, t->parts_in, HUGE_VAL, &radix) + MOVE * (double)t->length;
    return radix && (whole > MAX_TABLE || whole > cut) ? count : 0;
}

/* x [batch, samples, parts_in] to [batch * frames, length, parts_in]. */
static sinter_value take_frames(const transform *t, sinter_value x, sinter_dim batch,
                                int64_t frames, int64_t step) {
    sinter_builder *build = &t->rewrite->build;
    const int64_t pieces = t->length / step, rows = frames + pieces - 1, zero = 0,
                  used = rows * step;
    sinter_value items[MAX_PIECES];
    x = sinter_compose_slice(t->rewrite, x, 1, sinter_build_ints(build, &zero, 1),
                             sinter_build_ints(build, &used, 1));
    x = reshape(t, x, batch, number(t, rows), number(t, step * t->parts_in), 0);
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t end = i + frames;
        items[i] = sinter_compose_slice(t->rewrite, x, 1, sinter_build_ints(build, &i, 1),
                                        sinter_build_ints(build, &end, 1));
    }
    x = pieces > 1 ? sinter_compose_concat(t->rewrite, items, (size_t)pieces, 2) : items[0];
    return reshape(t, x, sinter_dim_mul(t->dims, batch, number(t, frames)), number(t, t->length),
                   number(t, t->parts_in), 0);
}

/* The result, of t's dtype, frame by frame. window: 0 where there is none. */
static sinter_value transform_frames(transform *t, sinter_value x, sinter_value window,
                                     const sinter_type *result, int64_t frames, int64_t step) {
    x = take_frames(t, x, result->dims[0], frames, step);
    if (window) {
        const sinter_dim dims[2] = {number(t, t->length), number(t, 1)};
        window = sinter_compose_reshape(t->rewrite, window, dims, 2);
        x = sinter_compose_binary(t->rewrite, SINTER_OP_mul, x, window);
    }
    sinter_dim lines = sinter_dim_mul(t->dims, result->dims[0], result->dims[1]);
    x = transform_all(t, x, lines, t->length);
    return sinter_compose_reshape(t->rewrite, x, result->dims, result->rank);
}

/* The same by a convolution over the signal. */
static sinter_value convolve_frames(transform *t, sinter_value x, sinter_value window,
                                    const sinter_type *result, int64_t step) {
    sinter_value operands[2] = {x, frame_table(t)};
    if (window) operands[1] = sinter_compose_binary(t->rewrite, SINTER_OP_mul, operands[1], window);
    if (!operands[0] || !operands[1]) return 0;
    const sinter_attr attributes[2] = {sinter_attr_ints("strides", &step, 1),
                                       sinter_attr_int("channels_last", 1)};
    x = sinter_build(&t->rewrite->build, SINTER_OP_conv, operands, 2, attributes, 2);
    return sinter_compose_reshape(t->rewrite, x, result->dims, result->rank);
}

bool sinter_decompose_stft(sinter_rewrite *rewrite, sinter_node node, sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_node_operand(module, node, 0),
                 window = sinter_node_operand(module, node, 2);
    const sinter_type type = *sinter_compose_type(rewrite, x),
                      result = *sinter_value_type(module, sinter_node_result(module, node, 0));
    transform t = begin(rewrite, node, &type);
    int64_t step;
    t.onesided = sinter_node_get_int(module, node, "onesided", 1) != 0;
    t.parts_out = 2;
    if (type.rank != 3 || !read_number(&t, node, 1, 0, &step) || step < 1 ||
        !sinter_dim_is_const(t.dims, type.dims[2], &t.parts_in) || t.parts_in < 1 ||
        t.parts_in > (t.onesided ? 1 : 2) || !read_number(&t, node, 3, 0, &t.length) ||
        (!t.length &&
         (!window ||
          !sinter_dim_is_const(t.dims, sinter_compose_type(rewrite, window)->dims[0], &t.length))))
        return true;
    t.bins = t.onesided ? t.length / 2 + 1 : t.length;
    if (t.length < 1) return true;
    const int64_t frames = count_lines(&t, result.dims[1], step);
    if (!frames && table_size(&t, t.length) > MAX_TABLE) return true;
    x = sinter_compose_cast(rewrite, x, t.dtype);
    if (window) window = sinter_compose_cast(rewrite, window, t.dtype);
    x = frames ? transform_frames(&t, x, window, &result, frames, step)
               : convolve_frames(&t, x, window, &result, step);
    out_results[0] = sinter_compose_cast(rewrite, x, type.dtype);
    return out_results[0] != 0;
}
