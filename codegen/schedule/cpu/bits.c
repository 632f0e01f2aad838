/* Products with weights of few bits that share scales in blocks along the reduction:
 *   acc += x[k] * (f32(q[k, n] - z[k / B, n]) * s[k / B, n])
 * The weights become words of a constant that replaces them, each with the bits of consecutive k, so that columns are lanes of i32
 * as with any other element type, and the loop becomes one over blocks with a sum of its own:
 *   for kb { part = 0; for word { for each field: part += x * (q - z) }; acc += part * s }
 * A field becomes a float without shift or conversion: under the exponent at which the lowest bit of the field counts one,
 * its bits are the number 2^e + q, and taking 2^e + z away is exact. Fields above the mantissa are shifted down first,
 * all at once.
 * Products with a scale become the product of a sum with it: rounding differs, by less than summing in another order does.
 * Scales that are floats of 16 bits, whatever their type, become such where the target converts them.
 * Signed weights are stored 2^(bits - 1) higher, and so are their zero points.
 * Where x is bytes with scales in the same blocks, f32(i[k]) * t[k / B], a block's sum is one of integers, four steps at a time by
 * dot-accumulate:
 *   for kb { sums[kb] = sum of i }
 *   for kb { part = -z * sums[kb]; for word { for each field: part += dot4(word >> field & mask, i) }; acc += f32(part) * t * s }
 * The sums come first, for all rows: columns and threads share them.
 * Then byte j of a word has the steps j, j + 4, ... of its own, so that a mask leaves four steps in a row, as bytes. Floats of few rows
 * become bytes, four digits each, where that takes less time (bits_digits.c): a block has four such sums.
 * Needs: constants, whole blocks of whole words. Test: tests/codegen/schedule/bits.loops, bits_bytes.loops,
 * tests/suites/contrib_operators.py */
#include "codegen/schedule/cpu/bits.h"
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu/constant.h"
#include "codegen/schedule/cpu/dot.h"
#include "codegen/schedule/cpu/scratch.h"

#include <string.h>

enum { WORD = 32, BYTES = 4, MANTISSA = 23, EXPONENT_BIAS = 127, MOST_BITS = 4 };

typedef sinter_cpu_bits bits;

/* ---- recognition ---- */

/* The load below conversions between integers. */
static sinter_expr integer_load(sinter_expr expr) {
    while (expr->kind == SINTER_LOOP_CAST && !sinter_dtype_is_float(expr->dtype))
        expr = expr->arguments[0];
    return expr->kind == SINTER_LOOP_LOAD && !sinter_dtype_is_float(expr->dtype) ? expr : NULL;
}

/* f32(q - z) or f32(q) */
static bool match_difference(bits *b, sinter_expr expr) {
    if (expr->kind != SINTER_LOOP_CAST || expr->dtype != SINTER_DTYPE_f32) return false;
    expr = expr->arguments[0];
    b->zero = NULL;
    if (sinter_loop_is_call(expr, SINTER_SCALAR_sub)) {
        if (!(b->zero = integer_load(expr->arguments[1]))) return false;
        expr = expr->arguments[0];
    }
    if (!(b->weight = integer_load(expr))) return false;
    const sinter_dtype_info *info = &sinter_dtype_infos[b->weight->dtype];
    b->width = info->bits;
    b->is_signed = info->class == SINTER_CLASS_INT;
    b->fields = WORD / b->width;
    return b->width <= MOST_BITS && WORD % b->width == 0 &&
           (!b->zero || b->zero->dtype == b->weight->dtype);
}

static bool match_weight(bits *b, sinter_expr expr) {
    if (!sinter_loop_is_call(expr, SINTER_SCALAR_mul)) return false;
    for (int i = 0; i < 2; i++) {
        b->scale = expr->arguments[1 - i];
        if (match_difference(b, expr->arguments[i])) return true;
    }
    return false;
}

/* acc = acc + x * weight */
static bool match_sum(bits *b, const sinter_cpu_nest *nest) {
    sinter_expr sum = b->assign->value;
    if (b->assign->kind != SINTER_LOOP_ASSIGN || b->assign->next ||
        b->assign->var != nest->accumulator || !sinter_loop_is_call(sum, SINTER_SCALAR_add))
        return false;
    for (int i = 0; i < 2; i++) {
        sinter_expr acc = sum->arguments[i], product = sum->arguments[1 - i];
        if (acc->kind != SINTER_LOOP_VAR || acc->var != nest->accumulator ||
            !sinter_loop_is_call(product, SINTER_SCALAR_mul))
            continue;
        for (int k = 0; k < 2; k++) {
            b->x = product->arguments[k];
            if (match_weight(b, product->arguments[1 - k])) return true;
        }
    }
    return false;
}

typedef struct divisor_search {
    sinter_loop_var var;
    int64_t divisor; /* 0: none */
    bool other;      /* the variable is used in another way */
} divisor_search;

static void search_divisor(divisor_search *s, sinter_expr expr) {
    int64_t divisor;
    if (sinter_loop_is_call(expr, SINTER_SCALAR_div) &&
        expr->arguments[0]->kind == SINTER_LOOP_VAR && expr->arguments[0]->var == s->var &&
        sinter_loop_is_const_int(expr->arguments[1], &divisor)) {
        s->other |= s->divisor && s->divisor != divisor;
        s->divisor = divisor;
        return;
    }
    s->other |= expr->kind == SINTER_LOOP_VAR && expr->var == s->var;
    for (uint32_t i = 0; i < expr->argument_count; i++) search_divisor(s, expr->arguments[i]);
}

/* The last index of the load, of what nobody writes, is the loop's variable; the others do not depend on it. */
bool sinter_cpu_bits_lies_along(const sinter_cpu_bits *b, sinter_expr load) {
    const sinter_loop_buffer_info *info = &b->state->schedule.function->buffers.items[load->buffer];
    uint32_t last = load->argument_count - 1;
    int64_t size;
    if (!load->argument_count || info->scope != SINTER_SCOPE_INPUT ||
        load->arguments[last]->kind != SINTER_LOOP_VAR ||
        load->arguments[last]->var != b->loop->var ||
        !sinter_loop_is_const_int(info->dims[last], &size) || size != b->steps)
        return false;
    for (uint32_t i = 0; i < last; i++)
        if (sinter_loop_expr_uses(load->arguments[i], b->loop->var)) return false;
    return true;
}

static int64_t block_of(const bits *b, const divisor_search *s) {
    return s->divisor ? s->divisor : b->steps;
}

static bool has_blocks(const bits *b, const divisor_search *s) {
    int64_t block = block_of(b, s);
    return !s->other && block > 0 && b->steps % block == 0 && block % b->fields == 0;
}

/* x is f32(items) * x_scale: bytes, in blocks as long as those of the weights, or in any where these have none, which are the search's then. */
static void match_bytes(bits *b, divisor_search *search) {
    b->dot = sinter_target_dot(b->state->target); /* fields are small enough to be signed */
    if (b->dot == SINTER_INTRINSIC_NONE || !sinter_loop_is_call(b->x, SINTER_SCALAR_mul)) return;
    for (int i = 0; i < 2; i++) {
        sinter_expr items = b->x->arguments[i], scale = b->x->arguments[1 - i];
        divisor_search s = *search;
        if (items->kind != SINTER_LOOP_CAST || items->dtype != SINTER_DTYPE_f32 ||
            !(items = integer_load(items->arguments[0])) || items->dtype != SINTER_DTYPE_i8 ||
            !sinter_cpu_bits_lies_along(b, items))
            continue;
        search_divisor(&s, scale);
        if (!has_blocks(b, &s) || scale->kind != SINTER_LOOP_LOAD) continue;
        b->items = items;
        b->x_scale = scale;
        b->digits = 1;
        *search = s;
        return;
    }
}

/* Scales and zero points change every `block` steps, or never. */
static bool find_block(bits *b) {
    divisor_search s = {.var = b->loop->var};
    search_divisor(&s, b->scale);
    if (b->zero) search_divisor(&s, b->zero);
    match_bytes(b, &s);
    b->block = block_of(b, &s);
    return has_blocks(b, &s);
}

static bool match(bits *b, const sinter_cpu_nest *nest) {
    int64_t lower, size;
    const sinter_loop_function *function = b->state->schedule.function;
    if (nest->dtype != SINTER_DTYPE_f32 || nest->reduction_count != 1) return false;
    b->loop = sinter_schedule_get_loop(function, nest->reductions[0]);
    b->step = nest->reductions[0];
    b->assign = b->loop->body;
    if (!match_sum(b, nest) || !sinter_loop_is_const_int(b->loop->lower, &lower) || lower != 0 ||
        !sinter_loop_trip_count(b->loop, &b->steps) || b->loop->step != 1 ||
        !sinter_loop_find_axis(b->weight->arguments, b->weight->argument_count, b->loop->var,
                               &b->dim))
        return false;
    const sinter_loop_buffer_info *info = &function->buffers.items[b->weight->buffer];
    return sinter_loop_is_const_int(info->dims[b->dim], &size) && size == b->steps &&
           find_block(b) && sinter_cpu_is_own_constant(b->state, b->weight->buffer) &&
           (!b->zero || sinter_cpu_is_own_constant(b->state, b->zero->buffer));
}

/* ---- constants ---- */

/* Bits of element `index`; what is signed moves up. */
static uint32_t stored(const bits *b, const sinter_tensor *source, int64_t index) {
    const uint8_t *bytes = source->data;
    int64_t at = index * b->width;
    uint32_t mask = (1u << b->width) - 1, value = (uint32_t)bytes[at / 8] >> at % 8 & mask;
    return b->is_signed ? value ^ 1u << (b->width - 1) : value;
}

/* Rows of words as they lie in memory already. */
static void copy_words(const bits *b, const sinter_tensor *source, uint8_t *to, size_t size) {
    uint8_t flip = 0;
    for (int64_t at = b->width - 1; b->is_signed && at < 8; at += b->width)
        flip |= (uint8_t)(1u << at);
    const uint8_t *from = source->data;
    for (size_t i = 0; i < size; i++) to[i] = from[i] ^ flip;
}

/* The place in a word of its step `index`. */
static int64_t shift_of(const bits *b, int64_t index) {
    if (!b->digits) return index * b->width;
    return index % BYTES * (WORD / BYTES) + index / BYTES * b->width;
}

/* The fields of a word lie along the reduction. */
static bool make_words(void *user, const sinter_tensor *source, sinter_tensor *out_words,
                       sinter_diag *diag) {
    const bits *b = user;
    int64_t dims[SINTER_MAX_RANK], stride = 1;
    memcpy(dims, source->dims, source->rank * sizeof *dims);
    dims[b->dim] /= b->fields;
    if (!sinter_tensor_create(out_words, SINTER_DTYPE_i32, source->rank, dims, diag)) return false;
    uint8_t *to = sinter_tensor_mutable(out_words);
    for (uint32_t i = b->dim + 1; i < source->rank; i++) stride *= source->dims[i];
    if (stride == 1 && !b->digits) {
        copy_words(b, source, to, sinter_tensor_bytes(out_words));
        return true;
    }
    int64_t words = sinter_tensor_count(out_words);
    for (int64_t w = 0; w < words; w++) {
        int64_t first = w / stride * stride * b->fields + w % stride;
        uint32_t word = 0;
        for (int64_t f = 0; f < b->fields; f++)
            word |= stored(b, source, first + f * stride) << shift_of(b, f);
        for (int i = 0; i < 4; i++) to[4 * w + i] = (uint8_t)(word >> 8 * i);
    }
    return true;
}

static bool make_zeros(void *user, const sinter_tensor *source, sinter_tensor *out_zeros,
                       sinter_diag *diag) {
    const bits *b = user;
    if (!sinter_tensor_create(out_zeros, SINTER_DTYPE_u8, source->rank, source->dims, diag))
        return false;
    uint8_t *to = sinter_tensor_mutable(out_zeros);
    int64_t count = sinter_tensor_count(out_zeros);
    for (int64_t i = 0; i < count; i++) to[i] = (uint8_t)stored(b, source, i);
    return true;
}

/* A scale is a float of half the bits, where that changes none: then they are read as such. */
static bool make_scales(void *user, const sinter_tensor *source, sinter_tensor *out_scales,
                        sinter_diag *diag) {
    (void)user;
    if (!sinter_tensor_create(out_scales, SINTER_DTYPE_f16, source->rank, source->dims, diag))
        return false;
    int64_t count = sinter_tensor_count(out_scales);
    for (int64_t i = 0; i < count; i++)
        sinter_tensor_set_double(out_scales, i, sinter_tensor_get_double(source, i));
    return true;
}

static bool keeps_scales(const sinter_tensor *source) {
    sinter_tensor one;
    const int64_t dim = 1;
    bool same = true;
    if (!sinter_tensor_create(&one, SINTER_DTYPE_f16, 1, &dim, NULL)) return false;
    int64_t count = sinter_tensor_count(source);
    for (int64_t i = 0; i < count && same; i++) {
        double scale = sinter_tensor_get_double(source, i);
        sinter_tensor_set_double(&one, 0, scale);
        same = sinter_tensor_get_double(&one, 0) == scale;
    }
    sinter_tensor_deinit(&one);
    return same;
}

static bool halves_scales(const bits *b) {
    const uint32_t *constants;
    if (b->scale->kind != SINTER_LOOP_LOAD || b->scale->dtype != SINTER_DTYPE_f32 ||
        !sinter_target_converts_f16(b->state->target) ||
        !sinter_cpu_is_own_constant(b->state, b->scale->buffer))
        return false;
    size_t count = sinter_cpu_list_constants(b->state, b->scale->buffer, &constants);
    for (size_t i = 0; i < count; i++)
        if (!keeps_scales(&b->state->program->constants.items[constants[i]].tensor)) return false;
    return true;
}

/* Nobody reads it any more. */
static bool make_nothing(void *user, const sinter_tensor *source, sinter_tensor *out_nothing,
                         sinter_diag *diag) {
    const int64_t dim = 1;
    (void)user, (void)source;
    return sinter_tensor_create(out_nothing, SINTER_DTYPE_u8, 1, &dim, diag);
}

/* One zero point for all blocks of all constants that are passed. */
static void find_same_zero(bits *b) {
    const uint32_t *constants;
    b->same_zero = true;
    b->zero_value = b->is_signed ? 1 << (b->width - 1) : 0;
    if (!b->zero) return;
    size_t count = sinter_cpu_list_constants(b->state, b->zero->buffer, &constants);
    for (size_t i = 0; i < count; i++) {
        const sinter_tensor *tensor = &b->state->program->constants.items[constants[i]].tensor;
        int64_t elements = sinter_tensor_count(tensor);
        if (!i && elements) b->zero_value = stored(b, tensor, 0);
        for (int64_t k = 0; k < elements && b->same_zero; k++)
            b->same_zero = stored(b, tensor, k) == b->zero_value;
    }
}

/* A conversion to elements of this type, of the shape that the parameter has. */
static sinter_cpu_conversion conversion(bits *b, sinter_loop_buffer buffer, sinter_dtype dtype) {
    const sinter_loop_buffer_info *info = &b->state->schedule.function->buffers.items[buffer];
    sinter_cpu_conversion c = {.user = b, .dtype = dtype, .rank = info->rank};
    for (uint32_t i = 0; i < info->rank; i++) sinter_loop_is_const_int(info->dims[i], &c.dims[i]);
    return c;
}

static bool convert_constants(bits *b) {
    find_same_zero(b);
    b->half_scales = halves_scales(b);
    sinter_cpu_conversion words = conversion(b, b->weight->buffer, SINTER_DTYPE_i32);
    words.convert = make_words;
    words.dims[b->dim] /= b->fields;
    if (!sinter_cpu_convert_constants(b->state, b->weight->buffer, &words)) return false;
    if (b->half_scales) {
        sinter_cpu_conversion scales = conversion(b, b->scale->buffer, SINTER_DTYPE_f16);
        scales.convert = make_scales;
        if (!sinter_cpu_convert_constants(b->state, b->scale->buffer, &scales)) return false;
    }
    if (!b->zero) return true;
    sinter_cpu_conversion zeros = conversion(b, b->zero->buffer, SINTER_DTYPE_u8);
    zeros.convert = b->same_zero ? make_nothing : make_zeros;
    if (b->same_zero) zeros.rank = 1;
    if (b->same_zero) zeros.dims[0] = 1;
    return sinter_cpu_convert_constants(b->state, b->zero->buffer, &zeros);
}

/* ---- the loops ---- */

static sinter_expr integer(bits *b, int64_t value) {
    return sinter_loop_const_int(&b->build, SINTER_DTYPE_i32, value);
}

sinter_expr sinter_cpu_bits_at(sinter_cpu_bits *b, sinter_expr expr, sinter_expr step) {
    sinter_loop_map map;
    sinter_loop_map_init(&map, b->state->program, b->state->schedule.function);
    sinter_loop_map_var(&map, b->step, step);
    return sinter_loop_map_expr(&map, expr);
}

sinter_expr sinter_cpu_bits_field(sinter_cpu_bits *b, sinter_expr word, sinter_expr zero,
                                  int64_t index) {
    int64_t group = MANTISSA / b->width, place = index % group * b->width;
    int64_t exponent = MANTISSA - place;
    sinter_loop_builder *build = &b->build;
    if (index >= group)
        word = sinter_loop_call2(build, SINTER_SCALAR_shr, word,
                                 integer(b, index / group * group * b->width));
    sinter_expr masked = sinter_loop_call2(build, SINTER_SCALAR_and, word,
                                           integer(b, ((INT64_C(1) << b->width) - 1) << place));
    sinter_expr number = sinter_loop_call2(build, SINTER_SCALAR_or, masked,
                                           integer(b, (exponent + EXPONENT_BIAS) << MANTISSA));
    number = sinter_loop_call(build, SINTER_SCALAR_from_bits, &number);
    double origin = (double)(INT64_C(1) << exponent);
    if (!zero)
        return sinter_loop_sub(
            build, number,
            sinter_loop_const(build, SINTER_DTYPE_f32, origin + (double)b->zero_value));
    return sinter_loop_sub(
        build, number,
        sinter_loop_add(build, zero, sinter_loop_const(build, SINTER_DTYPE_f32, origin)));
}

/* Loads of what the constants are now. */
sinter_expr sinter_cpu_bits_scale(sinter_cpu_bits *b, sinter_expr step) {
    sinter_expr scale = sinter_cpu_bits_at(b, b->scale, step);
    if (!b->half_scales) return scale;
    return sinter_loop_cast(&b->build, sinter_loop_load(&b->build, scale->buffer, scale->arguments),
                            SINTER_DTYPE_f32);
}

sinter_expr sinter_cpu_bits_zero(sinter_cpu_bits *b, sinter_expr step) {
    if (b->same_zero) return NULL;
    sinter_expr load = sinter_cpu_bits_at(b, b->zero, step);
    return sinter_loop_cast(&b->build, sinter_loop_load(&b->build, load->buffer, load->arguments),
                            SINTER_DTYPE_f32);
}

/* part = part + x * field, for all fields of a word. */
static void write_word(bits *b, sinter_loop_var part, sinter_expr index, sinter_expr zero) {
    sinter_loop_builder *build = &b->build;
    sinter_expr indices[SINTER_MAX_RANK];
    memcpy(indices, b->weight->arguments, b->weight->argument_count * sizeof *indices);
    indices[b->dim] = index;
    sinter_loop_var word = sinter_loop_declare(build, "word", false,
                                               sinter_loop_load(build, b->weight->buffer, indices));
    sinter_expr first = sinter_loop_mul(build, index, sinter_loop_int(build, b->fields));
    for (int64_t f = 0; f < b->fields; f++) {
        sinter_expr x =
            sinter_cpu_bits_at(b, b->x, sinter_loop_add(build, first, sinter_loop_int(build, f)));
        sinter_expr value = sinter_cpu_bits_field(b, sinter_loop_var_read(build, word), zero, f);
        sinter_loop_assign(build, part,
                           sinter_loop_add(build, sinter_loop_var_read(build, part),
                                           sinter_loop_mul(build, x, value)));
    }
}

/* ---- sums of integers ---- */

/* Four bytes of x from this item on, as one i32; emitters make that one load. */
static sinter_expr load_bytes(bits *b, const sinter_expr *first) {
    sinter_loop_builder *build = &b->build;
    sinter_expr bytes[BYTES], indices[SINTER_MAX_RANK];
    uint32_t last = b->items->argument_count - 1;
    memcpy(indices, first, last * sizeof *indices);
    for (int64_t k = 0; k < BYTES; k++) {
        indices[last] = sinter_loop_add(build, first[last], sinter_loop_int(build, k));
        bytes[k] = sinter_loop_load(build, b->items->buffer, indices);
    }
    return sinter_cpu_join_bytes(build, bytes);
}

/* The number whose bytes all are this one. */
static sinter_expr in_bytes(bits *b, int64_t byte) {
    return integer(b, (int32_t)((uint32_t)byte * 0x01010101u));
}

static sinter_expr dot(bits *b, sinter_expr sum, sinter_expr fields, sinter_expr bytes) {
    const sinter_expr arguments[3] = {sum, fields, bytes};
    return sinter_loop_intrinsic_call(&b->build, b->dot, arguments);
}

/* part = part + four products, for all fields of a word, and all digits of an item. */
static void write_dots(bits *b, const sinter_loop_var *parts, sinter_expr index) {
    sinter_loop_builder *build = &b->build;
    sinter_expr indices[SINTER_MAX_RANK], items[SINTER_MAX_RANK];
    uint32_t last = b->items->argument_count - 1;
    memcpy(items, b->items->arguments, last * sizeof *items);
    memcpy(indices, b->weight->arguments, b->weight->argument_count * sizeof *indices);
    indices[b->dim] = index;
    sinter_loop_var word = sinter_loop_declare(build, "word", false,
                                               sinter_loop_load(build, b->weight->buffer, indices));
    sinter_expr first = sinter_loop_mul(build, index, sinter_loop_int(build, b->fields));
    for (int64_t f = 0; f < b->fields; f += BYTES) {
        sinter_expr fields = sinter_loop_var_read(build, word);
        if (f)
            fields =
                sinter_loop_call2(build, SINTER_SCALAR_shr, fields, integer(b, shift_of(b, f)));
        fields = sinter_loop_call2(build, SINTER_SCALAR_and, fields,
                                   in_bytes(b, (INT64_C(1) << b->width) - 1));
        if (b->digits > 1)
            fields =
                sinter_loop_var_read(build, sinter_loop_declare(build, "fields", false, fields));
        items[last] = sinter_loop_add(build, first, sinter_loop_int(build, f));
        for (int64_t d = 0; d < b->digits; d++) {
            if (b->digits > 1) items[last - 1] = sinter_loop_int(build, d);
            sinter_expr sum = sinter_loop_var_read(build, parts[d]);
            sinter_loop_assign(build, parts[d], dot(b, sum, fields, load_bytes(b, items)));
        }
    }
}

/* sums[.., kb] = the sum of the items of a block, in front of everything else. */
static void write_sums(bits *b) {
    sinter_loop_function *function = b->state->schedule.function;
    const sinter_loop_buffer_info info = function->buffers.items[b->items->buffer];
    sinter_loop_builder build;
    sinter_expr dims[SINTER_MAX_RANK], indices[SINTER_MAX_RANK], items[SINTER_MAX_RANK];
    uint32_t last = info.rank - 1;
    sinter_loop_var outermost = 0;
    sinter_loop_builder_init(&build, b->state->program, function);
    build.tail = &function->body;
    for (uint32_t i = 0; i < last; i++) dims[i] = info.dims[i];
    dims[last] = sinter_loop_int(&build, b->steps / b->block);
    b->sums = sinter_cpu_add_scratch(b->state, "sums", SINTER_DTYPE_i32, info.rank, dims);
    for (uint32_t i = 0; i < info.rank; i++) {
        sinter_loop_var var =
            sinter_loop_begin_for(&build, i < last ? "m" : "kb", sinter_loop_int(&build, 0),
                                  dims[i], 1, SINTER_AXIS_SERIAL);
        indices[i] = items[i] = sinter_loop_var_read(&build, var);
        if (!outermost) outermost = var;
    }
    sinter_expr sum = integer(b, 0),
                first = sinter_loop_mul(&build, indices[last], sinter_loop_int(&build, b->block));
    for (int64_t k = 0; k < b->block; k += BYTES) {
        items[last] = sinter_loop_add(&build, first, sinter_loop_int(&build, k));
        sum = dot(b, sum, in_bytes(b, 1), load_bytes(b, items));
    }
    sinter_loop_store(&build, b->sums, indices, sum);
    for (uint32_t i = 0; i < info.rank; i++) sinter_loop_end(&build);
    sinter_schedule_chain chain = sinter_schedule_chain_of(&b->state->schedule, outermost);
    sinter_schedule_cpu_parallelize(b->state, &chain, 0);
}

/* The zero point from this step on, i32, below zero. */
static sinter_expr negative_zero(bits *b, sinter_expr step) {
    sinter_loop_builder *build = &b->build;
    if (b->same_zero) return integer(b, -b->zero_value);
    sinter_expr load = sinter_cpu_bits_at(b, b->zero, step);
    load = sinter_loop_cast(build, sinter_loop_load(build, load->buffer, load->arguments),
                            SINTER_DTYPE_i32);
    return sinter_loop_call(build, SINTER_SCALAR_neg, &load);
}

/* What zero points take away from a block's sum. */
static sinter_expr start_of(bits *b, sinter_expr step) {
    sinter_loop_builder *build = &b->build;
    sinter_expr indices[SINTER_MAX_RANK];
    uint32_t last = b->items->argument_count - 1;
    if (!b->sums) return integer(b, 0);
    memcpy(indices, b->items->arguments, last * sizeof *indices);
    indices[last] = sinter_loop_var_read(build, b->loop->var);
    return sinter_loop_mul(build, sinter_loop_load(build, b->sums, indices),
                           negative_zero(b, step));
}

/* ---- blocks ---- */

/* Sums of a block, each of which an iteration begins with. */
static void declare_parts(bits *b, sinter_expr step, sinter_loop_var *out_parts) {
    sinter_loop_builder *build = &b->build;
    sinter_expr start = !b->digits      ? sinter_loop_const(build, SINTER_DTYPE_f32, 0)
                        : b->digits > 1 ? integer(b, 0)
                                        : start_of(b, step);
    out_parts[0] = sinter_loop_declare(build, "part", true, start);
    for (int64_t d = 1; d < b->digits; d++)
        out_parts[d] = sinter_loop_declare(build, "part", true, start);
}

/* What they come to, in units of x. */
static sinter_expr join_parts(bits *b, const sinter_loop_var *parts, sinter_expr block,
                              sinter_expr step) {
    sinter_loop_builder *build = &b->build;
    if (b->digits > 1)
        return sinter_cpu_bits_join_digits(b, parts, block,
                                           b->same_zero ? NULL : negative_zero(b, step));
    return sinter_loop_cast(build, sinter_loop_var_read(build, parts[0]), SINTER_DTYPE_f32);
}

/* The loop goes over blocks; the loop over words inside of it. */
static sinter_loop_var write_loops(bits *b) {
    sinter_loop_builder *build = &b->build;
    int64_t words = b->block / b->fields;
    sinter_loop_stmt *loop = b->loop;
    sinter_loop_var parts[SINTER_CPU_BITS_DIGITS];
    sinter_expr block = sinter_loop_var_read(build, loop->var);
    sinter_expr step = sinter_loop_mul(build, block, sinter_loop_int(build, b->block));
    loop->upper = sinter_loop_int(build, b->steps / b->block);
    loop->body = NULL;
    sinter_loop_take_range(build, loop);
    sinter_expr scale = sinter_cpu_bits_scale(b, step);
    sinter_expr zero = b->digits ? NULL : sinter_cpu_bits_zero(b, step);
    build->tail = &loop->body;
    declare_parts(b, step, parts);
    sinter_loop_var inner =
        sinter_loop_begin_for(build, "word", sinter_loop_int(build, 0),
                              sinter_loop_int(build, words), 1, SINTER_AXIS_SERIAL);
    sinter_expr index =
        sinter_loop_add(build, sinter_loop_mul(build, block, sinter_loop_int(build, words)),
                        sinter_loop_var_read(build, inner));
    if (b->digits)
        write_dots(b, parts, index);
    else
        write_word(b, parts[0], index, zero);
    sinter_loop_end(build);
    sinter_expr sum = join_parts(b, parts, block, step);
    if (b->digits) sum = sinter_loop_mul(build, sum, sinter_cpu_bits_at(b, b->x_scale, step));
    sum = sinter_loop_mul(build, sum, scale);
    sinter_loop_assign(build, b->assign->var,
                       sinter_loop_add(build, sinter_loop_var_read(build, b->assign->var), sum));
    return inner;
}

bool sinter_cpu_use_bits(sinter_schedule_cpu_state *state, sinter_cpu_nest *nest,
                         sinter_cpu_bits *out_bits) {
    bits *b = out_bits;
    *b = (bits){.state = state};
    sinter_loop_builder_init(&b->build, state->program, state->schedule.function);
    if (!state->program->host || !match(b, nest)) return false;
    if (!b->digits && sinter_cpu_bits_find_digits(b, nest)) b->digits = SINTER_CPU_BITS_DIGITS;
    if (!convert_constants(b)) {
        state->failed = true;
        return false;
    }
    if (b->digits > 1)
        sinter_cpu_bits_write_digits(b);
    else if (b->digits && !(b->same_zero && !b->zero_value))
        write_sums(b);
    nest->reductions[nest->reduction_count++] = write_loops(b);
    return true;
}
