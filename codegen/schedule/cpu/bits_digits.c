/* Products of floats with weights of few bits, as sums of integers: the floats of a block become numbers in fixed point, in units of a power of two,
 * and these four bytes, their digits to the base 256, so that a block has four sums by dot-accumulate, whose weights are unpacked once:
 *   for kb { most = max |x|; unit = 2^e by most; n[k] = i32(x[k] / unit); digits[0..3, k] = the bytes of n[k], of either sign;
 *            scales[kb] = unit; sums[0..1, kb] = -z * the sums of n's lower and upper halves }
 *   for kb { part[0..3] = 0; for word { part[d] += dot4(word >> field & mask, digits[d]) }
 *            acc += (f32(part[3] * 256 + part[2] + sums[1]) * 65536 + f32(part[1] * 256 + part[0] + sums[0])) * unit * s }
 * Decoding floats one by one takes three instructions a weight beside the product, this a third of one for four steps, and a digit of
 * four steps takes one product. n has 30 bits and a sign: what is larger than a 64th of the block's largest number is exact, the rest
 * cut off at 2^-29 of it, a 32nd of what the largest number is rounded to itself; and nothing else is rounded until the block's sum is. A
 * block with NaN has no number for a result; in one with infinities these count as 2^30 units, which are infinite, and the others as nothing.
 * Few rows share what is unpacked; from some on there is more to add up than to unpack.
 * Needs: an instruction for dots, x along the reduction. Test: tests/codegen/schedule/bits_digits.loops, tests/suites/few_bits_values.py */
#include "codegen/schedule/cpu/bits.h"
#include "codegen/schedule/cpu/scratch.h"
#include "codegen/schedule/internal.h"

#include <math.h>
#include <string.h>

enum {
    MOST_ROWS = 4,
    LEAST_COLUMNS = 128, /* that making digits pays for */
    MOST_STEPS = 256,    /* of a block: 32 bits hold 15 * 2^15 times as many */
    BYTE_BITS = 8,
    HALF = SINTER_CPU_BITS_DIGITS / 2, /* digits that one i32 adds up */
    PRECISION = 29,                    /* bits below the largest number's first */
    MANTISSA = 23,
    EXPONENT_MASK = 0x7f800000,
    EXPONENT_BIAS = 127,
    LEAST_EXPONENT = 7, /* as stored: its unit is the least number that there is */
    SECOND = 24         /* of two factors, since the unit's reciprocal may be no number */
};

/* x is a load along the reduction, of few rows; blocks may be cut to a length whose sums have room. */
bool sinter_cpu_bits_find_digits(sinter_cpu_bits *b, const sinter_cpu_nest *nest) {
    static const sinter_cpu_answer answers[] = {{"digits"}, {"floats"}};
    const sinter_loop_function *function = b->state->schedule.function;
    int64_t columns = sinter_cpu_trips(b->state, nest->loops[nest->loop_count - 1]), rows = 1, dim;
    if (b->dot == SINTER_INTRINSIC_NONE || b->x->kind != SINTER_LOOP_LOAD ||
        b->x->dtype != SINTER_DTYPE_f32 || columns < LEAST_COLUMNS ||
        !sinter_target_has(b->state->target, sinter_loop_intrinsic_infos[b->dot].feature) ||
        !sinter_cpu_bits_lies_along(b, b->x))
        return false;
    const sinter_loop_buffer_info *info = &function->buffers.items[b->x->buffer];
    if (info->rank == SINTER_MAX_RANK) return false;
    for (uint32_t i = 0; i + 1 < info->rank; i++)
        if (!sinter_loop_is_const_int(info->dims[i], &dim) || (rows *= dim) > MOST_ROWS)
            return false;
    int64_t steps = b->block < MOST_STEPS ? b->block : MOST_STEPS / b->fields * b->fields;
    while (steps > 0 && (b->block % steps || steps == b->steps)) steps -= b->fields;
    if (steps <= 0) return false;
    if (sinter_cpu_choose(b->state, "digits", answers, 2)) return false;
    b->block = steps;
    return true;
}

/* ---- the digits ---- */

typedef struct digits {
    sinter_cpu_bits *bits;
    sinter_loop_builder build;
    const sinter_loop_buffer_info *x;
    sinter_loop_buffer digits, scales, sums;
    sinter_expr row[SINTER_MAX_RANK]; /* indices of x but for the last */
    sinter_expr block;
} digits;

static sinter_expr word(digits *d, int64_t value) {
    return sinter_loop_const_int(&d->build, SINTER_DTYPE_i32, (int32_t)(uint32_t)value);
}

static sinter_expr call(digits *d, sinter_scalar_function function, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(&d->build, function, a, b);
}

static sinter_expr from_bits(digits *d, sinter_expr value) {
    return sinter_loop_call(&d->build, SINTER_SCALAR_from_bits, &value);
}

/* 2^exponent */
static sinter_expr power(digits *d, int exponent) {
    return sinter_loop_const(&d->build, SINTER_DTYPE_f32, ldexp(1, exponent));
}

/* Scratch with `middle` elements (0: no such dim) of `last` elements for each row of x. */
static sinter_loop_buffer scratch(digits *d, const char *name, sinter_dtype dtype, int64_t middle,
                                  int64_t last) {
    sinter_expr dims[SINTER_MAX_RANK];
    uint32_t rank = d->x->rank - 1;
    memcpy(dims, d->x->dims, rank * sizeof *dims);
    if (middle) dims[rank++] = sinter_loop_int(&d->build, middle);
    dims[rank++] = sinter_loop_int(&d->build, last);
    return sinter_cpu_add_scratch(d->bits->state, name, dtype, rank, dims);
}

/* An element of such scratch, its row given by these indices of x. */
static sinter_expr *place(digits *d, sinter_expr *to, const sinter_expr *row, int64_t middle,
                          sinter_expr last) {
    uint32_t rank = d->x->rank - 1;
    memcpy(to, row, rank * sizeof *to);
    if (middle >= 0) to[rank++] = sinter_loop_int(&d->build, middle);
    to[rank] = last;
    return to;
}

/* Opens the loop over the steps of the block. */
static sinter_expr begin_steps(digits *d) {
    sinter_loop_builder *build = &d->build;
    sinter_loop_var k =
        sinter_loop_begin_for(build, "k", sinter_loop_int(build, 0),
                              sinter_loop_int(build, d->bits->block), 1, SINTER_AXIS_SERIAL);
    sinter_expr first = sinter_loop_mul(build, d->block, sinter_loop_int(build, d->bits->block));
    return sinter_loop_add(build, first, sinter_loop_var_read(build, k));
}

static sinter_expr load_x(digits *d, sinter_expr step) {
    sinter_expr indices[SINTER_MAX_RANK];
    return sinter_loop_load(&d->build, d->bits->x->buffer, place(d, indices, d->row, -1, step));
}

/* The largest magnitude of the block, as bits: those of NaN are the largest. */
static sinter_expr find_most(digits *d) {
    sinter_loop_builder *build = &d->build;
    sinter_loop_var most = sinter_loop_declare(build, "most", true, word(d, 0));
    sinter_expr x = load_x(d, begin_steps(d));
    sinter_expr magnitude = call(
        d, SINTER_SCALAR_and, sinter_loop_call(build, SINTER_SCALAR_bits, &x), word(d, INT32_MAX));
    sinter_loop_assign(build, most,
                       sinter_loop_max(build, sinter_loop_var_read(build, most), magnitude));
    sinter_loop_end(build);
    return sinter_loop_var_read(build, most);
}

static sinter_expr let(digits *d, const char *name, sinter_expr value) {
    return sinter_loop_var_read(&d->build, sinter_loop_declare(&d->build, name, false, value));
}

/* scales[kb] = unit; what x is multiplied by for it, in two steps. Where the largest is no number, the unit is that, and what is one
 * becomes 0. */
static void write_scale(digits *d, sinter_expr most, sinter_expr *out_factors) {
    sinter_loop_builder *build = &d->build;
    sinter_expr indices[SINTER_MAX_RANK], mask = word(d, EXPONENT_MASK);
    sinter_expr exponent = let(d, "exponent",
                               sinter_loop_max(build, call(d, SINTER_SCALAR_and, most, mask),
                                               word(d, LEAST_EXPONENT << MANTISSA)));
    sinter_expr is_infinite = sinter_loop_compare(build, SINTER_SCALAR_eq, exponent, mask);
    sinter_expr largest = from_bits(d, sinter_loop_select(build, is_infinite, most, exponent));
    sinter_loop_store(build, d->scales, place(d, indices, d->row, -1, d->block),
                      sinter_loop_mul(build, largest, power(d, -PRECISION)));
    sinter_expr first =
        call(d, SINTER_SCALAR_sub,
             word(d, (int64_t)(2 * EXPONENT_BIAS + PRECISION - SECOND) << MANTISSA), exponent);
    /* 2^-130 makes less than one of any number */
    sinter_expr least = word(d, INT64_C(1) << (MANTISSA - 4));
    first = from_bits(d, sinter_loop_select(build, is_infinite, least, first));
    out_factors[0] = let(d, "factor", first);
    out_factors[1] =
        let(d, "second", sinter_loop_select(build, is_infinite, power(d, 0), power(d, SECOND)));
}

/* n, and its digits: each is what the low byte is, of either sign, and the rest is less by it. */
static void write_digits(digits *d, const sinter_expr *factors) {
    sinter_loop_builder *build = &d->build;
    sinter_expr indices[SINTER_MAX_RANK], step = begin_steps(d);
    sinter_expr number = load_x(d, step);
    for (int i = 0; i < 2; i++) number = sinter_loop_mul(build, number, factors[i]);
    number = sinter_loop_cast(build, number, SINTER_DTYPE_i32);
    sinter_expr most = word(d, INT64_C(1) << (PRECISION + 1)),
                least = word(d, -(INT64_C(1) << (PRECISION + 1)));
    number = let(d, "n", sinter_loop_max(build, sinter_loop_min(build, number, most), least));
    for (int64_t i = 0; i < SINTER_CPU_BITS_DIGITS; i++) {
        sinter_loop_store(build, d->digits, place(d, indices, d->row, i, step),
                          sinter_loop_cast(build, number, SINTER_DTYPE_i8));
        if (i + 1 == SINTER_CPU_BITS_DIGITS) break;
        number = call(d, SINTER_SCALAR_add, number, word(d, 1 << (BYTE_BITS - 1)));
        number = let(d, "n", call(d, SINTER_SCALAR_shr, number, word(d, BYTE_BITS)));
    }
    sinter_loop_end(build);
}

/* lower + upper * 256 */
static sinter_expr join(sinter_loop_builder *build, sinter_expr lower, sinter_expr upper) {
    sinter_expr bits = sinter_loop_const_int(build, SINTER_DTYPE_i32, BYTE_BITS);
    return sinter_loop_add(build, lower, sinter_loop_call2(build, SINTER_SCALAR_shl, upper, bits));
}

/* sums[half, kb] = the sum of so many digits of all numbers, times the zero point where there is one for all. */
static void write_sums(digits *d) {
    sinter_loop_builder *build = &d->build;
    for (int64_t half = 0; half < HALF; half++) {
        sinter_expr indices[SINTER_MAX_RANK], parts[2];
        sinter_loop_var sum = sinter_loop_declare(build, "sum", true, word(d, 0));
        sinter_expr step = begin_steps(d);
        for (int64_t i = 0; i < 2; i++)
            parts[i] = sinter_loop_cast(
                build,
                sinter_loop_load(build, d->digits, place(d, indices, d->row, 2 * half + i, step)),
                SINTER_DTYPE_i32);
        sinter_loop_assign(build, sum,
                           sinter_loop_add(build, sinter_loop_var_read(build, sum),
                                           join(build, parts[0], parts[1])));
        sinter_loop_end(build);
        sinter_expr value = sinter_loop_var_read(build, sum);
        if (d->bits->same_zero)
            value = sinter_loop_mul(build, value, word(d, -d->bits->zero_value));
        sinter_loop_store(build, d->sums, place(d, indices, d->row, half, d->block), value);
    }
}

void sinter_cpu_bits_write_digits(sinter_cpu_bits *b) {
    sinter_loop_function *function = b->state->schedule.function;
    const sinter_loop_buffer_info x = function->buffers.items[b->x->buffer];
    digits d = {.bits = b, .x = &x};
    sinter_loop_builder *build = &d.build;
    int64_t blocks = b->steps / b->block, size;
    sinter_expr indices[SINTER_MAX_RANK], factors[2];
    sinter_loop_var outermost = 0;
    uint32_t depth = 0;
    sinter_loop_builder_init(build, b->state->program, function);
    build->tail = &function->body;
    d.digits = scratch(&d, "digits", SINTER_DTYPE_i8, SINTER_CPU_BITS_DIGITS, b->steps);
    d.scales = scratch(&d, "scales", SINTER_DTYPE_f32, 0, blocks);
    if (!b->same_zero || b->zero_value)
        b->sums = d.sums = scratch(&d, "sums", SINTER_DTYPE_i32, HALF, blocks);
    for (uint32_t i = 0; i < x.rank; i++) {
        bool is_row = i + 1 < x.rank;
        sinter_expr count = is_row ? x.dims[i] : sinter_loop_int(build, blocks);
        d.row[i] = sinter_loop_int(build, 0);
        if (is_row && sinter_loop_is_const_int(count, &size) && size == 1) continue;
        sinter_loop_var var = sinter_loop_begin_for(build, is_row ? "m" : "kb", d.row[i], count, 1,
                                                    SINTER_AXIS_SERIAL);
        *(is_row ? &d.row[i] : &d.block) = sinter_loop_var_read(build, var);
        if (!outermost) outermost = var;
        depth++;
    }
    write_scale(&d, find_most(&d), factors);
    write_digits(&d, factors);
    if (d.sums) write_sums(&d);
    while (depth--) sinter_loop_end(build);
    /* scheduled with what is left */
    sinter_vector_push(&b->state->scratch, &b->state->copies, outermost);
    sinter_expr k = sinter_loop_var_read(build, b->loop->var);
    b->items = sinter_loop_load(build, d.digits, place(&d, indices, b->x->arguments, 0, k));
    sinter_expr block = sinter_loop_div(build, k, sinter_loop_int(build, b->block));
    b->x_scale = sinter_loop_load(build, d.scales, place(&d, indices, b->x->arguments, -1, block));
}

/* ---- the sums of a block ---- */

/* What zero points take away from half of the digits' sum. */
static sinter_expr start_of_half(sinter_cpu_bits *b, int64_t half, sinter_expr block,
                                 sinter_expr zero) {
    sinter_expr indices[SINTER_MAX_RANK];
    uint32_t rank = b->items->argument_count - 2;
    memcpy(indices, b->items->arguments, rank * sizeof *indices);
    indices[rank] = sinter_loop_int(&b->build, half);
    indices[rank + 1] = block;
    sinter_expr sum = sinter_loop_load(&b->build, b->sums, indices);
    return zero ? sinter_loop_mul(&b->build, sum, zero) : sum;
}

sinter_expr sinter_cpu_bits_join_digits(sinter_cpu_bits *b, const sinter_loop_var *parts,
                                        sinter_expr block, sinter_expr zero) {
    sinter_loop_builder *build = &b->build;
    sinter_expr halves[HALF];
    for (int64_t i = 0; i < HALF; i++) {
        halves[i] = join(build, sinter_loop_var_read(build, parts[2 * i]),
                         sinter_loop_var_read(build, parts[2 * i + 1]));
        if (b->sums)
            halves[i] = sinter_loop_add(build, halves[i], start_of_half(b, i, block, zero));
        halves[i] = sinter_loop_cast(build, halves[i], SINTER_DTYPE_f32);
    }
    const sinter_expr arguments[3] = {
        halves[1], sinter_loop_const(build, SINTER_DTYPE_f32, 1 << 2 * BYTE_BITS), halves[0]};
    return sinter_loop_call(build, SINTER_SCALAR_fma, arguments);
}
