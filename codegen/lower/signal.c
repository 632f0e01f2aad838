/* Lowering of dft and stft whose lengths only the run knows (ir/decompose_signal.c has the others): the defining sums, in f64, over one table of
 * the roots of unity that is filled once per run.
 * Test: tests/ops/dft.sir, stft.sir */
#include "codegen/lower/write.h"

typedef struct fourier {
    sinter_kernel *k;
    sinter_node node;
    sinter_value x;
    sinter_expr length;                /* of the transform */
    sinter_loop_buffer cosines, sines; /* of 2 pi i / length */
    sinter_loop_var real, imaginary;   /* running sums */
    bool complex;                      /* elements of x may have two parts */
    sinter_expr parts;                 /* how many, where only the run knows */
    bool inverse, onesided;
    uint32_t axis, rank;
    sinter_expr given;               /* elements of x along axis */
    sinter_expr at[SINTER_MAX_RANK]; /* the line of x */
} fourier;

static sinter_expr zero_real(sinter_kernel *k) {
    return sinter_write_number(k, SINTER_DTYPE_f64, 0);
}

/* Reads how many parts the elements of x have: `wanted`, or 0: 1 or 2. What only the run knows is looked at there. */
static void find_parts(fourier *f, int64_t wanted) {
    sinter_kernel *k = f->k;
    const sinter_type type = sinter_write_type(k, f->x);
    const sinter_dim dim = type.dims[type.rank - 1];
    int64_t number = 0;
    const bool is_known = sinter_dim_is_const(k->lower->dims, dim, &number);
    sinter_expr parts = sinter_kernel_dim(k, dim);
    if (!is_known || (wanted ? number != wanted : number < 1 || number > 2))
        sinter_write_check(k,
                           FORMULA(k, "a >= b && a <= c", parts,
                                   sinter_write_int(k, wanted ? wanted : 1),
                                   sinter_write_int(k, wanted ? wanted : 2)),
                           sinter_arena_format(
                               &k->lower->program->arena,
                               wanted ? "%s: the elements have %%0 parts, but it is one-sided"
                                      : "%s: the elements have %%0 parts, not 1 or 2",
                               sinter_op_get_info(sinter_node_op(k->lower->module, f->node))->name),
                           parts);
    if (wanted) number = wanted;
    f->complex = number == 2 || (!is_known && !wanted);
    f->parts = is_known || wanted ? NULL : parts;
}

/* Part 1 of an element whose part 0 or, where it has two, part 1 is `read`: 0 in the first case. */
static sinter_expr second_part(const fourier *f, sinter_expr read) {
    return f->parts ? FORMULA(f->k, "select(a == 2, b, c)", f->parts, read, zero_real(f->k)) : read;
}

/* Where the second part lies, or the last one there is. */
static sinter_expr last_part(const fourier *f) {
    return f->parts ? FORMULA(f->k, "a - 1", f->parts) : sinter_write_int(f->k, 1);
}

static void make_table(fourier *f, sinter_expr host_room) {
    sinter_kernel *k = f->k;
    f->cosines = sinter_kernel_scratch(k, "cosines", SINTER_DTYPE_f64, 1, &host_room);
    f->sines = sinter_kernel_scratch(k, "sines", SINTER_DTYPE_f64, 1, &host_room);
}

static void fill_table(fourier *f) {
    sinter_kernel *k = f->k;
    sinter_expr i = sinter_kernel_begin_for(k, "i", f->length);
    sinter_expr angle = FORMULA(k, "2 * pi * a / b", sinter_write_cast(k, i, SINTER_DTYPE_f64),
                                sinter_write_cast(k, f->length, SINTER_DTYPE_f64));
    angle = sinter_write_let(k, "angle", angle);
    sinter_write_store1(k, f->cosines, i, FORMULA(k, "cos(a)", angle));
    sinter_write_store1(k, f->sines, i, FORMULA(k, "sin(a)", angle));
    sinter_write_end(k);
}

static void begin_sums(fourier *f) {
    f->real = sinter_write_var(f->k, "real", zero_real(f->k));
    f->imaginary = sinter_write_var(f->k, "imaginary", zero_real(f->k));
}

/* sums += (real, imaginary) * root[place] */
static void add_term(fourier *f, sinter_expr place, sinter_expr real, sinter_expr imaginary) {
    sinter_kernel *k = f->k;
    sinter_expr c = sinter_write_let(k, "c", sinter_write_load1(k, f->cosines, place)),
                s = sinter_write_let(k, "s", sinter_write_load1(k, f->sines, place));
    if (!f->inverse) s = FORMULA(k, "-a", s);
    sinter_write_add(k, f->real,
                     imaginary ? FORMULA(k, "a * c - b * d", real, imaginary, c, s)
                               : FORMULA(k, "a * b", real, c));
    sinter_write_add(k, f->imaginary,
                     imaginary ? FORMULA(k, "a * d + b * c", real, imaginary, c, s)
                               : FORMULA(k, "a * b", real, s));
}

/* place = (place + step) mod length, both below it */
static void advance(fourier *f, sinter_loop_var place, sinter_expr step) {
    sinter_expr next = FORMULA(f->k, "a + b", sinter_write_get(f->k, place), step);
    sinter_write_set(f->k, place, FORMULA(f->k, "select(a >= b, a - b, a)", next, f->length));
}

/* ---- dft ---- */

static sinter_expr part_of(fourier *f, sinter_expr position, int part) {
    f->at[f->axis] = position;
    f->at[f->rank - 1] = part ? last_part(f) : sinter_write_int(f->k, 0);
    sinter_expr read =
        sinter_write_cast(f->k, sinter_lower_element(f->k, f->x, f->at), SINTER_DTYPE_f64);
    return part ? second_part(f, read) : read;
}

/* Adds term j. A onesided inverse has only the first half: in[length - j] is the conjugate of in[j]. */
static void add_input(fourier *f, sinter_expr j, sinter_expr place) {
    sinter_kernel *k = f->k;
    if (!(f->inverse && f->onesided)) {
        sinter_expr real = sinter_write_let(k, "x", part_of(f, j, 0));
        add_term(f, place, real, f->complex ? sinter_write_let(k, "y", part_of(f, j, 1)) : NULL);
        return;
    }
    sinter_expr folded =
        sinter_write_let(k, "folded", FORMULA(k, "select(a > b / 2, b - a, a)", j, f->length));
    sinter_loop_var parts[2] = {sinter_write_var(k, "x", zero_real(k)),
                                sinter_write_var(k, "y", zero_real(k))};
    sinter_write_if(k, FORMULA(k, "a < b", folded, f->given));
    sinter_write_set(k, parts[0], part_of(f, folded, 0));
    sinter_write_set(k, parts[1], part_of(f, folded, 1));
    sinter_write_end(k);
    sinter_expr sign =
        sinter_write_cast(k,
                          FORMULA(k, "select(a == 0 || 2 * a == c, 0, select(b > c / 2, -1, 1))",
                                  folded, j, f->length),
                          SINTER_DTYPE_f64);
    add_term(f, place, sinter_write_get(k, parts[0]),
             FORMULA(k, "a * b", sinter_write_get(k, parts[1]), sign));
}

static void transform_axis(fourier *f) {
    sinter_kernel *k = f->k;
    sinter_value y = sinter_write_result(k, f->node, 0);
    sinter_type type = sinter_write_type(k, f->x), out = sinter_write_type(k, y);
    sinter_loop_buffer buffer = sinter_kernel_buffer(k, y);
    sinter_expr to[SINTER_MAX_RANK], scale = zero_real(k);
    fill_table(f);
    uint32_t loops = 0;
    for (uint32_t d = 0; d + 1 < f->rank; ++d) {
        if (d == f->axis) continue;
        to[d] = f->at[d] = sinter_kernel_begin_for(k, "line", sinter_kernel_dim(k, type.dims[d]));
        ++loops;
    }
    sinter_expr bin = to[f->axis] =
        sinter_kernel_begin_for(k, "bin", sinter_kernel_dim(k, out.dims[f->axis]));
    begin_sums(f);
    sinter_loop_var place = sinter_write_var(k, "place", sinter_write_int(k, 0));
    sinter_expr count =
        f->inverse && f->onesided ? f->length : FORMULA(k, "min(a, b)", f->given, f->length);
    sinter_expr j = sinter_kernel_begin_for(k, "j", sinter_write_let(k, "count", count));
    add_input(f, j, sinter_write_get(k, place));
    advance(f, place, bin);
    sinter_write_end(k);
    scale = FORMULA(k, f->inverse ? "1 / a" : "a / a",
                    sinter_write_cast(k, f->length, SINTER_DTYPE_f64));
    sinter_loop_var sums[2] = {f->real, f->imaginary};
    const int64_t parts = f->inverse && f->onesided ? 1 : 2;
    for (int64_t part = 0; part < parts; ++part) {
        to[f->rank - 1] = sinter_write_int(k, part);
        sinter_expr element = FORMULA(k, "a * b", sinter_write_get(k, sums[part]), scale);
        sinter_dtype compute = sinter_dtype_compute(out.dtype);
        sinter_kernel_store(k, buffer, to, sinter_write_cast(k, element, compute));
    }
    sinter_kernel_end_loops(k, loops + 1);
}

/* Transform length along an axis: dft_length, or the size of the axis (of the result of a onesided inverse). */
static sinter_expr transform_length(fourier *f, uint32_t axis) {
    sinter_kernel *k = f->k;
    if (sinter_write_operand(k, f->node, 1))
        return sinter_write_let(k, "length",
                                sinter_write_scalar(k, f->node, 1, SINTER_DTYPE_i64, 0));
    sinter_expr size = sinter_kernel_dim_of(k, f->x, (int)axis);
    return f->inverse && f->onesided ? FORMULA(k, "2 * (a - 1)", size) : size;
}

/* At most so long on the host, whichever axis it is. */
static sinter_expr longest(sinter_lower *lower, sinter_node node, sinter_value x) {
    sinter_value given = sinter_node_operand(lower->module, node, 1);
    sinter_expr zeros[SINTER_MAX_RANK], room = sinter_loop_int(&lower->host, 1);
    for (uint32_t i = 0; i < SINTER_MAX_RANK; ++i) zeros[i] = sinter_loop_int(&lower->host, 0);
    int64_t number = 0;
    size_t count = 0;
    if (given && sinter_value_known_ints(lower->module, given, &number, 1, &count))
        return sinter_loop_int(&lower->host, number);
    if (given) {
        room = sinter_loop_load(&lower->host, sinter_lower_host_buffer(lower, given), zeros);
        room = sinter_loop_max(&lower->host, zeros[0],
                               sinter_loop_cast(&lower->host, room, SINTER_DTYPE_i64));
        return sinter_loop_var_read(&lower->host,
                                    sinter_loop_declare(&lower->host, "length", false, room));
    }
    sinter_type type = *sinter_value_type(lower->module, x);
    for (uint32_t d = 0; d + 1 < type.rank; ++d)
        room = sinter_loop_max(&lower->host, room, sinter_lower_host_dim(lower, type.dims[d]));
    return sinter_loop_mul(&lower->host, room, sinter_loop_int(&lower->host, 2));
}

static fourier begin_dft(sinter_kernel *k, sinter_node node) {
    sinter_module *module = k->lower->module;
    fourier f = {.k = k, .node = node, .x = sinter_write_operand(k, node, 0)};
    f.rank = sinter_write_type(k, f.x).rank;
    f.inverse = sinter_node_get_int(module, node, "inverse", 0) != 0;
    f.onesided = sinter_node_get_int(module, node, "onesided", 0) != 0;
    return f;
}

/* True and the axis where it is known at compile time. */
static bool known_axis(const fourier *f, uint32_t *out_axis) {
    sinter_value axis = sinter_write_operand(f->k, f->node, 2);
    int64_t number = -2;
    size_t count = 0;
    if (axis && !sinter_value_known_ints(f->k->lower->module, axis, &number, 1, &count))
        return false;
    *out_axis = (uint32_t)(number < 0 ? number + f->rank : number);
    return true;
}

static sinter_expr axis_operand(const fourier *f) {
    sinter_expr size = sinter_write_int(f->k, f->rank);
    sinter_expr axis = sinter_kernel_wrap_index(
        f->k, sinter_write_scalar(f->k, f->node, 2, SINTER_DTYPE_i64, -2), size);
    axis = sinter_write_let(f->k, "axis", axis);
    sinter_kernel_check_index(f->k, f->node, axis, sinter_write_int(f->k, f->rank - 1));
    return axis;
}

static void transform_checked(fourier *f, uint32_t axis) {
    f->axis = axis;
    f->given = sinter_kernel_dim_of(f->k, f->x, (int)axis);
    f->length = transform_length(f, axis);
    sinter_write_check(f->k, FORMULA(f->k, "a >= 1", f->length), "dft: the length is %0",
                       f->length);
    transform_axis(f);
}

bool sinter_lower_dft(sinter_kernel *kernel, sinter_node node) {
    fourier f = begin_dft(kernel, node);
    uint32_t axis = 0;
    make_table(&f, longest(kernel->lower, node, f.x));
    find_parts(&f, !f.onesided ? 0 : f.inverse ? 2 : 1);
    if (known_axis(&f, &axis)) {
        transform_checked(&f, axis);
        return true;
    }
    sinter_expr chosen = axis_operand(&f);
    for (axis = 0; axis + 1 < f.rank; ++axis) {
        sinter_write_if(kernel, FORMULA(kernel, "a == b", chosen, sinter_write_int(kernel, axis)));
        transform_checked(&f, axis);
        sinter_write_end(kernel);
    }
    return true;
}

bool sinter_lower_dft_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    sinter_value y = sinter_node_result(lower->module, node, 0);
    uint32_t rank = sinter_value_type(lower->module, y)->rank;
    sinter_late_begin(&late, lower, node, rank);
    fourier f = begin_dft(&late.kernel, node);
    sinter_expr chosen = axis_operand(&f);
    for (uint32_t d = 0; d < rank; ++d) {
        sinter_expr size = sinter_kernel_dim_of(f.k, f.x, (int)d);
        if (d + 1 < rank) {
            sinter_expr length = transform_length(&f, d);
            if (f.onesided && !f.inverse) length = FORMULA(f.k, "a / 2 + 1", length);
            size = FORMULA(f.k, "select(a == b, c, d)", chosen, sinter_write_int(f.k, d), length,
                           size);
        }
        sinter_late_set(&late, d, size);
    }
    bool good = sinter_late_end(&late);
    for (uint32_t d = 0; d < rank; ++d) sinter_late_bind(&late, y, d, d);
    return good;
}

/* ---- stft ---- */

bool sinter_lower_stft(sinter_kernel *kernel, sinter_node node) {
    sinter_lower *lower = kernel->lower;
    fourier f = {.k = kernel, .node = node, .x = sinter_write_operand(kernel, node, 0)};
    sinter_value window = sinter_write_operand(kernel, node, 2),
                 y = sinter_write_result(kernel, node, 0),
                 given = sinter_write_operand(kernel, node, 3);
    const sinter_dim *items = NULL;
    size_t count = 0;
    sinter_dim width = 0;
    if (given && sinter_value_known_dims(lower->module, given, &items, &count)) width = items[0];
    if (!given && window) width = sinter_write_type(kernel, window).dims[0];
    if (!width) return sinter_lower_error(lower, node, "the frame length is not known");
    if (sinter_write_type(kernel, f.x).rank == 3)
        find_parts(&f, sinter_node_get_int(lower->module, node, "onesided", 1) ? 1 : 0);
    f.length = sinter_kernel_dim(kernel, width);
    sinter_expr host = sinter_lower_host_dim(lower, width);
    make_table(&f, host);
    fill_table(&f);
    sinter_expr step =
        sinter_write_let(kernel, "step", sinter_write_scalar(kernel, node, 1, SINTER_DTYPE_i64, 1));
    sinter_expr whole = sinter_kernel_dim_of(kernel, f.x, 1);
    sinter_write_check(kernel, FORMULA(kernel, "a >= 1 && c >= 1 && c <= b", step, whole, f.length),
                       "stft: frames of %0 do not fit the signal", f.length);
    if (window)
        sinter_write_check(
            kernel, FORMULA(kernel, "a == b", f.length, sinter_kernel_dim_of(kernel, window, 0)),
            "stft: the window is not as long as a frame, %0", f.length);
    sinter_expr out[4];
    for (uint32_t d = 0; d < 3; ++d)
        out[d] = sinter_kernel_begin_for(kernel, "i", sinter_kernel_dim_of(kernel, y, (int)d));
    begin_sums(&f);
    sinter_loop_var place = sinter_write_var(kernel, "place", sinter_write_int(kernel, 0));
    sinter_expr first = sinter_write_let(kernel, "first", FORMULA(kernel, "a * b", out[1], step));
    sinter_expr j = sinter_kernel_begin_for(kernel, "j", f.length), parts[2] = {NULL, NULL};
    sinter_expr weight =
        window
            ? sinter_write_let(kernel, "w",
                               sinter_write_cast(kernel, sinter_lower_element(kernel, window, &j),
                                                 SINTER_DTYPE_f64))
            : NULL;
    for (int part = 0; part < (f.complex ? 2 : 1); ++part) {
        sinter_expr at[3] = {out[0], FORMULA(kernel, "a + b", first, j),
                             part ? last_part(&f) : sinter_write_int(kernel, 0)};
        sinter_expr element =
            sinter_write_cast(kernel, sinter_lower_element(kernel, f.x, at), SINTER_DTYPE_f64);
        if (part) element = second_part(&f, element);
        parts[part] = sinter_write_let(
            kernel, "x", weight ? FORMULA(kernel, "a * b", element, weight) : element);
    }
    add_term(&f, sinter_write_get(kernel, place), parts[0], parts[1]);
    advance(&f, place, out[2]);
    sinter_write_end(kernel);
    sinter_loop_var sums[2] = {f.real, f.imaginary};
    sinter_dtype compute = sinter_dtype_compute(sinter_write_type(kernel, y).dtype);
    for (int part = 0; part < 2; ++part) {
        out[3] = sinter_write_int(kernel, part);
        sinter_kernel_store(
            kernel, sinter_kernel_buffer(kernel, y), out,
            sinter_write_cast(kernel, sinter_write_get(kernel, sums[part]), compute));
    }
    sinter_kernel_end_loops(kernel, 3);
    return true;
}
