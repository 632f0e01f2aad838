/* Products of narrow elements by dot-accumulate: the innermost loop of a reduction  acc += i32(a[.., c]) * i32(b[.., c, ..])  of
 * u8 times i8 (i8 times i8 where a target's instruction has both signed) takes four steps at once, that of f32(a) * f32(b) of
 * bf16 two, where a lies along c, b is a constant and c runs over a multiple of that, or over few elements. f32 times bf16 takes two
 * as well, one after the other, for words are widened more easily. Where c is
 * short and the loop around it goes on where c ends, as taps of a window over three channels do, the two are one loop first.
 * Where b is no constant, words are made of it where they are read, if enough rows share them; once for all rows, in scratch of the
 * thread, where loops around the nest choose the matrix: then c may be of any length, also one that the run alone knows, since rows of a
 * have room for whole words, and the last word of a column is filled up with zeros (words.c). Taps of one channel: taps.c.
 * The elements of b become one i32 of a constant that replaces it, so that columns are lanes of i32 and everything that
 * tiles and packs goes on as with any other element type. Exact: i32 wraps the same way in any order, and those of bf16 are
 * added in order.
 * Test: tests/codegen/schedule/dot.loops, tests/suites/embedded_models.py */
#include "codegen/loops/access.h"
#include "codegen/loops/linear.h"
#include "codegen/schedule/cpu/dot_internal.h"

#include <string.h>

enum {
    BYTES = SINTER_DOT_BYTES,
    FEW_STEPS = 40 /* at most, where the last word is not whole: no loop */
};

static const sinter_cpu_dot_kind kinds[] = {
    {SINTER_DTYPE_u8, SINTER_DTYPE_i8, SINTER_DTYPE_i32, BYTES, SINTER_INTRINSIC_dot4_u8i8},
    {SINTER_DTYPE_i8, SINTER_DTYPE_i8, SINTER_DTYPE_i32, BYTES, SINTER_INTRINSIC_dot4_i8i8},
    {SINTER_DTYPE_bf16, SINTER_DTYPE_bf16, SINTER_DTYPE_f32, 2, SINTER_INTRINSIC_dot2_bf16},
    {SINTER_DTYPE_f32, SINTER_DTYPE_bf16, SINTER_DTYPE_f32, 2, SINTER_INTRINSIC_NONE},
};

/* ---- recognition ---- */

/* The load under a cast to the type, or of the type. */
static sinter_expr widened_load(sinter_expr expr, sinter_dtype dtype) {
    if (expr->dtype != dtype) return NULL;
    if (expr->kind == SINTER_LOOP_CAST) expr = expr->arguments[0];
    return expr->kind == SINTER_LOOP_LOAD ? expr : NULL;
}

/* Some kind multiplies these. */
static bool find_kind(sinter_cpu_dot *d, sinter_dtype sum, sinter_expr a, sinter_expr b) {
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds && !d->kind; k++)
        if (kinds[k].sum == sum && kinds[k].a == a->dtype && kinds[k].b == b->dtype)
            d->kind = &kinds[k];
    d->a = a;
    d->b = b;
    return d->kind != NULL;
}

/* acc = acc + i32(u8 or i8 load) * i32(i8 load), or f32(bf16 load) * f32(bf16 load), or f32 load * f32(bf16 load) */
bool sinter_cpu_dot_match_product(sinter_cpu_dot *d) {
    sinter_expr sum = d->assign->value;
    if (!sinter_loop_is_call(sum, SINTER_SCALAR_add)) return false;
    for (int i = 0; i < 2; i++) {
        sinter_expr acc = sum->arguments[i], product = sum->arguments[1 - i];
        if (acc->kind != SINTER_LOOP_VAR || acc->var != d->assign->var ||
            !sinter_loop_is_call(product, SINTER_SCALAR_mul))
            continue;
        sinter_expr x = widened_load(product->arguments[0], sum->dtype),
                    y = widened_load(product->arguments[1], sum->dtype);
        return x && y && (find_kind(d, sum->dtype, x, y) || find_kind(d, sum->dtype, y, x));
    }
    return false;
}

/* The last index of a moves by one element a step, the others do not move. */
static bool lies_along(sinter_cpu_dot *d) {
    sinter_expr coefficient, rest;
    int64_t step;
    uint32_t last = d->a->argument_count - 1;
    for (uint32_t i = 0; i < last; i++)
        if (sinter_loop_expr_uses(d->a->arguments[i], d->loop->var)) return false;
    return d->a->argument_count > 0 &&
           sinter_loop_affine(&d->build, d->a->arguments[last], d->loop->var, &coefficient,
                              &rest) &&
           sinter_loop_is_const_int(coefficient, &step) && step == 1;
}

/* One dim of b is the loop's variable itself, the others do not depend on it. *out_count: size of the dim. */
bool sinter_cpu_dot_find_dim(const sinter_cpu_dot *d, const sinter_loop_stmt *loop,
                             uint32_t *out_dim, int64_t *out_count) {
    const sinter_loop_buffer_info *info = &d->state->schedule.function->buffers.items[d->b->buffer];
    uint32_t found = 0;
    for (uint32_t i = 0; i < d->b->argument_count; i++) {
        sinter_expr index = d->b->arguments[i];
        if (!sinter_loop_expr_uses(index, loop->var)) continue;
        if (index->kind != SINTER_LOOP_VAR || found++) return false;
        *out_dim = i;
    }
    return found == 1 && sinter_loop_is_const_int(info->dims[*out_dim], out_count);
}

bool sinter_cpu_dot_goes_over(const sinter_loop_stmt *loop, int64_t size) {
    int64_t lower, count;
    return sinter_loop_is_const_int(loop->lower, &lower) && lower == 0 && loop->step == 1 &&
           sinter_loop_trip_count(loop, &count) && count == size && count > 0;
}

/* The loop around goes over rows of a, one after the other, and the loop over all of a row. */
static bool goes_on(sinter_cpu_dot *d) {
    const sinter_loop_function *function = d->state->schedule.function;
    const sinter_loop_buffer_info *a = &function->buffers.items[d->a->buffer];
    sinter_expr coefficient;
    int64_t step, dim;
    uint32_t rank = d->a->argument_count;
    if (rank < 2 || a->scope != SINTER_SCOPE_INPUT ||
        sinter_cpu_count_accesses(d->state, d->a->buffer) != 1)
        return false;
    for (uint32_t i = 0; i + 2 < rank; i++)
        if (sinter_loop_expr_uses(d->a->arguments[i], d->around->var)) return false;
    return sinter_cpu_dot_find_dim(d, d->around, &d->b_row, &d->count) &&
           sinter_cpu_dot_goes_over(d->around, d->count) &&
           d->a->arguments[rank - 1]->kind == SINTER_LOOP_VAR &&
           sinter_loop_is_const_int(a->dims[rank - 1], &dim) && dim == d->steps &&
           sinter_loop_affine(&d->build, d->a->arguments[rank - 2], d->around->var, &coefficient,
                              &d->row) &&
           sinter_loop_is_const_int(coefficient, &step) && step == 1;
}

static bool has_words(const sinter_cpu_dot *d, int64_t steps) {
    return steps % d->kind->fields == 0 || steps <= FEW_STEPS;
}

static bool has_dots(const sinter_cpu_dot *d) {
    const sinter_target *target = d->state->target;
    if (!d->kind->intrinsic) return true;
    if (d->kind->sum == SINTER_DTYPE_f32) return sinter_target_has(target, "avx512bf16");
    return d->kind->intrinsic == sinter_target_dot(target);
}

/* Rows enough share the words of b that making them pays: four bytes of a column from as many rows of b. */
static bool pays(const sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    sinter_loop_var column = nest->loops[nest->loop_count - 1];
    uint32_t dim;
    if (d->kind->sum != SINTER_DTYPE_i32 || !sinter_target_has(d->state->target, "avx512vnni") ||
        !sinter_loop_find_axis(d->b->arguments, d->b->argument_count, column, &dim) ||
        dim + 1 != d->b->argument_count)
        return false;
    for (uint32_t i = 0; i + 1 < nest->loop_count; i++) {
        bool shares = true;
        for (uint32_t k = 0; k < d->b->argument_count; k++)
            shares &= !sinter_loop_expr_uses(d->b->arguments[k], nest->loops[i]);
        if (shares &&
            sinter_cpu_choose_words(d->state, nest->loops[i], !d->open) != SINTER_CPU_WORDS_NONE)
            return true;
    }
    return false;
}

/* Elements of a to the end of the last word are there, whatever they are. */
static bool has_room(sinter_cpu_dot *d) {
    const sinter_loop_function *function = d->state->schedule.function;
    const sinter_loop_buffer_info *info = &function->buffers.items[d->a->buffer];
    sinter_linear room, used;
    int64_t low, high;
    sinter_expr all = sinter_loop_mul(&d->build, sinter_cpu_dot_words_of(d, d->end),
                                      sinter_loop_int(&d->build, d->kind->fields));
    return d->a->arguments[info->rank - 1]->kind == SINTER_LOOP_VAR &&
           sinter_linear_of(info->dims[info->rank - 1], &room) && sinter_linear_of(all, &used) &&
           sinter_linear_accumulate(&room, &used, -1) &&
           sinter_linear_range(function, &room, &low, &high) && low >= 0;
}

/* A whole number of words, whatever its variables are. */
static bool is_whole_words(const sinter_cpu_dot *d, sinter_expr steps) {
    sinter_linear linear;
    if (!sinter_linear_of(steps, &linear) || linear.constant % d->kind->fields) return false;
    for (uint32_t i = 0; i < linear.count; i++)
        if (linear.terms[i].coefficient % d->kind->fields) return false;
    return true;
}

/* The loop ends with all steps, or where a word does. */
static bool ends_with_words(const sinter_cpu_dot *d) {
    sinter_expr upper = d->loop->upper;
    if (sinter_loop_expr_equal(upper, d->end)) return true;
    if (!sinter_loop_is_call(upper, SINTER_SCALAR_min)) return false;
    for (int i = 0; i < 2; i++)
        if (sinter_loop_expr_equal(upper->arguments[i], d->end))
            return is_whole_words(d, upper->arguments[1 - i]);
    return false;
}

/* The loop goes over all of a dim of b, of a size that the run alone knows, or that is no whole words; or over a chunk of whole words of it. */
static bool goes_over_any(sinter_cpu_dot *d) {
    const sinter_loop_buffer_info *info = &d->state->schedule.function->buffers.items[d->b->buffer];
    uint32_t found = 0;
    for (uint32_t i = 0; i < d->b->argument_count; i++) {
        if (!sinter_loop_expr_uses(d->b->arguments[i], d->loop->var)) continue;
        if (d->b->arguments[i]->kind != SINTER_LOOP_VAR || found++) return false;
        d->b_dim = i;
    }
    if (found != 1) return false;
    d->end = info->dims[d->b_dim];
    d->open = d->loop->step == 1 && is_whole_words(d, d->loop->lower) && ends_with_words(d) &&
              has_room(d);
    return d->open;
}

static bool match(sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    uint32_t last = nest->reduction_count - 1;
    d->loop = sinter_schedule_get_loop(d->state->schedule.function, nest->reductions[last]);
    d->assign = d->loop ? d->loop->body : NULL;
    if (!d->assign || d->assign->kind != SINTER_LOOP_ASSIGN || d->assign->next ||
        d->assign->var != (nest->part ? nest->part : nest->accumulator) ||
        !sinter_cpu_dot_match_product(d) || !has_dots(d) || !lies_along(d))
        return false;
    d->end = d->loop->upper;
    d->made = !sinter_cpu_is_own_constant(d->state, d->b->buffer);
    bool known = sinter_cpu_dot_find_dim(d, d->loop, &d->b_dim, &d->steps) &&
                 sinter_cpu_dot_goes_over(d->loop, d->steps);
    if (!known) d->steps = 0;
    if (d->made && (!known || d->steps % BYTES) && !goes_over_any(d)) return false;
    if (!known && !d->open) return false;
    if (d->made) {
        d->around = NULL;
        d->count = 1;
        return pays(d, nest);
    }
    d->around =
        d->steps % d->kind->fields && last > 0
            ? sinter_schedule_get_loop(d->state->schedule.function, nest->reductions[last - 1])
            : NULL;
    if (d->around && goes_on(d) && has_words(d, d->count * d->steps)) return true;
    d->around = NULL;
    d->count = 1;
    return has_words(d, d->steps);
}

/* ---- constants ---- */

int64_t sinter_cpu_dot_word_count(const sinter_cpu_dot *d) {
    return (d->count * d->steps + d->kind->fields - 1) / d->kind->fields;
}

/* The dims of the constant as words, of which several may share one: the elements of one word lie along the loop, and along the loop around where
 * there is one, whose dim the other one joins. */
static uint32_t word_dims(const sinter_cpu_dot *d, uint32_t rank, const int64_t *dims,
                          int64_t *out_dims, uint32_t *out_from) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < rank; i++) {
        if (d->around && i == d->b_dim) continue;
        out_dims[used] = i == (d->around ? d->b_row : d->b_dim)
                             ? (sinter_cpu_dot_word_count(d) + d->shared - 1) / d->shared
                             : dims[i];
        out_from[used++] = i;
    }
    return used;
}

/* The elements for every call of this kernel: so many steps as one i32, the first in the low bits, the last word filled up with zeros. */
static bool pack_words(void *user, const sinter_tensor *source, sinter_tensor *out_packed,
                       sinter_diag *diag) {
    const sinter_cpu_dot *d = user;
    int64_t dims[SINTER_MAX_RANK], strides[SINTER_MAX_RANK], stride = 1;
    uint32_t from_dims[SINTER_MAX_RANK], word_dim = d->around ? d->b_row : d->b_dim;
    int64_t fields = d->kind->fields, bytes = BYTES / fields;
    uint32_t rank = word_dims(d, source->rank, source->dims, dims, from_dims);
    if (!sinter_tensor_create(out_packed, SINTER_DTYPE_i32, rank, dims, diag)) return false;
    for (uint32_t i = source->rank; i-- > 0; stride *= source->dims[i]) strides[i] = stride;
    const uint8_t *from = source->data;
    uint8_t *to = sinter_tensor_mutable(out_packed);
    int64_t words = sinter_tensor_count(out_packed);
    for (int64_t w = 0; w < words; w++) {
        int64_t rest = w, base = 0, first = 0, own = 0;
        for (uint32_t i = rank; i-- > 0; rest /= dims[i]) {
            if (from_dims[i] == word_dim) {
                own = rest % dims[i] * fields * d->shared;
                first = sinter_cpu_dot_first_word(d, rest % dims[i]) * fields;
            } else {
                base += rest % dims[i] * strides[from_dims[i]];
            }
        }
        for (int64_t k = 0; k < fields * d->shared && first + k < d->count * d->steps; k++) {
            if (first + k < own) continue; /* of the word before */
            int64_t step = first + k, at = base + step % d->steps * strides[d->b_dim];
            uint8_t *place = to + w * BYTES + k % fields * bytes;
            if (d->around) at += step / d->steps * strides[d->b_row];
            if (d->shared > 1)
                sinter_cpu_dot_pack_field(d, k / fields, from[at], place);
            else
                memcpy(place, from + at * bytes, (size_t)bytes);
        }
    }
    return true;
}

bool sinter_cpu_dot_replace_constants(sinter_cpu_dot *d) {
    const sinter_loop_buffer_info *info = &d->state->schedule.function->buffers.items[d->b->buffer];
    sinter_cpu_conversion words = {.convert = pack_words, .user = d, .dtype = SINTER_DTYPE_i32};
    int64_t dims[SINTER_MAX_RANK];
    uint32_t from[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < info->rank; i++) sinter_loop_is_const_int(info->dims[i], &dims[i]);
    words.rank = word_dims(d, info->rank, dims, words.dims, from);
    return sinter_cpu_convert_constants(d->state, d->b->buffer, &words);
}

/* ---- the loop ---- */

/* Element `step` of the row of a, or of the rows that are one now. */
static sinter_expr load_element(sinter_cpu_dot *d, sinter_expr step) {
    sinter_loop_map map;
    sinter_expr indices[SINTER_MAX_RANK];
    sinter_loop_map_init(&map, d->state->program, d->state->schedule.function);
    if (!d->around) {
        sinter_loop_map_var(&map, d->loop->var, step);
        return sinter_loop_map_expr(&map, d->a);
    }
    uint32_t last = d->a->argument_count - 2;
    for (uint32_t i = 0; i < last; i++) indices[i] = d->a->arguments[i];
    sinter_expr first = sinter_loop_call2(&d->build, SINTER_SCALAR_mul, d->row,
                                          sinter_loop_int(&d->build, d->steps));
    indices[last] = sinter_loop_call2(&d->build, SINTER_SCALAR_add, first, step);
    return sinter_loop_load(&d->build, d->a->buffer, indices);
}

/* The bits of an element of a in their place of a word. */
static sinter_expr placed(sinter_cpu_dot *d, sinter_expr element, int64_t place) {
    sinter_loop_builder *build = &d->build;
    bool is_float = sinter_dtype_is_float(element->dtype);
    sinter_expr half = sinter_loop_const_int(build, SINTER_DTYPE_i32, 16);
    if (!is_float) {
        element = sinter_loop_cast(build, element, SINTER_DTYPE_u8); /* no sign beside the byte */
        sinter_expr bits = sinter_loop_cast(build, element, SINTER_DTYPE_i32);
        sinter_expr by = sinter_loop_const_int(build, SINTER_DTYPE_i32, 8 * place);
        return place ? sinter_loop_call2(&d->build, SINTER_SCALAR_shl, bits, by) : bits;
    }
    sinter_expr wide =
        sinter_loop_cast(build, element, SINTER_DTYPE_f32); /* bf16 is its upper half */
    sinter_expr bits = sinter_loop_call(build, SINTER_SCALAR_bits, &wide);
    if (place) return bits;
    return sinter_loop_call2(&d->build, SINTER_SCALAR_and,
                             sinter_loop_call2(&d->build, SINTER_SCALAR_shr, bits, half),
                             sinter_loop_const_int(build, SINTER_DTYPE_i32, 0xffff));
}

/* `count` elements of a from step `first` on as one i32; emitters make whole words one load. */
static sinter_expr load_word(sinter_cpu_dot *d, sinter_expr first, int64_t count) {
    sinter_expr word = NULL;
    for (int k = 0; k < count; k++) {
        sinter_expr step =
            sinter_loop_call2(&d->build, SINTER_SCALAR_add, first, sinter_loop_int(&d->build, k));
        sinter_expr part = placed(d, load_element(d, step), k);
        word = k ? sinter_loop_call2(&d->build, SINTER_SCALAR_or, word, part) : part;
    }
    return word;
}

/* The accumulator and the products of the fields of a word of bf16, the upper halves of f32, and elements of a from step `first` on. */
static sinter_expr add_products(sinter_cpu_dot *d, sinter_expr word, sinter_expr first,
                                int64_t count) {
    sinter_expr sum = sinter_loop_var_read(&d->build, d->assign->var);
    for (int64_t k = 0; k < count; k++) {
        sinter_expr half = sinter_loop_const_int(&d->build, SINTER_DTYPE_i32, k ? -65536 : 16);
        sinter_expr bits =
            sinter_loop_call2(&d->build, k ? SINTER_SCALAR_and : SINTER_SCALAR_shl, word, half);
        sinter_expr step =
            sinter_loop_call2(&d->build, SINTER_SCALAR_add, first, sinter_loop_int(&d->build, k));
        sinter_expr product =
            sinter_loop_call2(&d->build, SINTER_SCALAR_mul, load_element(d, step),
                              sinter_loop_call(&d->build, SINTER_SCALAR_from_bits, &bits));
        sum = sinter_loop_call2(&d->build, SINTER_SCALAR_add, sum, product);
    }
    return sum;
}

/* Word `index` of the constant. */
static sinter_expr load_constant(sinter_cpu_dot *d, sinter_expr index) {
    sinter_expr indices[SINTER_MAX_RANK];
    uint32_t used = 0;
    for (uint32_t i = 0; i < d->b->argument_count; i++) {
        if (d->around && i == d->b_dim) continue;
        indices[used++] = i == (d->around ? d->b_row : d->b_dim) ? index : d->b->arguments[i];
    }
    return sinter_loop_load(&d->build, d->b->buffer, indices);
}

/* The accumulator and the products of a word and `count` elements of a from step `first` on. */
static sinter_expr multiplied(sinter_cpu_dot *d, sinter_expr word, sinter_expr first,
                              int64_t count) {
    if (!d->kind->intrinsic) return add_products(d, word, first, count);
    const sinter_expr arguments[3] = {sinter_loop_var_read(&d->build, d->assign->var),
                                      load_word(d, first, count), word};
    return sinter_loop_intrinsic_call(&d->build, d->kind->intrinsic, arguments);
}

/* The accumulator and the product of word `index` and `count` elements of a. */
static sinter_expr accumulated(sinter_cpu_dot *d, sinter_expr index, int64_t count) {
    sinter_expr first = sinter_loop_call2(&d->build, SINTER_SCALAR_mul, index,
                                          sinter_loop_int(&d->build, d->kind->fields));
    sinter_expr word = d->words  ? sinter_cpu_dot_load_made(d, index)
                       : d->made ? sinter_cpu_dot_make_word(d, first)
                                 : load_constant(d, index);
    return multiplied(d, word, first, count);
}

/* ---- the sum ---- */

/* The last two dims of a become one. */
static void join_rows(sinter_cpu_dot *d) {
    sinter_loop_buffer_info *info = &d->state->schedule.function->buffers.items[d->a->buffer];
    sinter_expr *dims = sinter_arena_copy(d->build.arena, info->dims, info->rank * sizeof *dims);
    info->rank--;
    dims[info->rank - 1] = sinter_loop_mul(&d->build, dims[info->rank - 1], dims[info->rank]);
    info->dims = dims;
    d->around->body = d->assign;
}

/* A loop over words of the constant, with a statement for each word of bytes that shares one. */
static void write_shared(sinter_cpu_dot *d) {
    sinter_loop_builder *build = &d->build;
    sinter_loop_stmt *loop = d->loop, **link = &loop->body;
    sinter_expr index = sinter_loop_var_read(build, loop->var);
    int64_t words = sinter_cpu_dot_word_count(d), count = (words + d->shared - 1) / d->shared;
    loop->upper = sinter_loop_int(build, count);
    sinter_loop_take_range(build, loop);
    sinter_expr first = sinter_loop_mul(build, index, sinter_loop_int(build, BYTES * d->shared));
    if (words % d->shared)
        first = sinter_loop_min(
            build, first, sinter_loop_int(build, BYTES * sinter_cpu_dot_first_word(d, count - 1)));
    build->tail = link;
    *link = NULL;
    sinter_loop_var word = sinter_loop_declare(build, "word", false, load_constant(d, index));
    for (int64_t f = 0; f < d->shared; f++) {
        sinter_expr step = sinter_loop_add(build, first, sinter_loop_int(build, BYTES * f));
        sinter_expr field = sinter_cpu_dot_field(d, sinter_loop_var_read(build, word), f);
        sinter_loop_assign(build, d->assign->var, multiplied(d, field, step, BYTES));
    }
}

/* A statement a word, in a loop of one iteration, where the last word is not whole; else a loop over words. */
static void write_loop(sinter_cpu_dot *d) {
    sinter_loop_stmt *loop = d->around ? d->around : d->loop, *assign = d->assign;
    int64_t steps = d->count * d->steps, fields = d->kind->fields;
    bool whole = d->open || steps % fields == 0;
    if (d->open)
        loop->lower = sinter_loop_div(&d->build, loop->lower, sinter_loop_int(&d->build, fields));
    loop->upper = d->open ? sinter_cpu_dot_words_of(d, loop->upper)
                          : sinter_loop_int(&d->build, whole ? steps / fields : 1);
    sinter_loop_take_range(&d->build, loop);
    if (whole) {
        assign->value = accumulated(d, sinter_loop_var_read(&d->build, loop->var), fields);
        return;
    }
    for (int64_t at = 0; at < steps; at += fields) {
        if (at) {
            assign->next = sinter_arena_copy(d->build.arena, d->assign, sizeof *d->assign);
            assign = assign->next;
            assign->next = NULL;
        }
        sinter_expr index = sinter_loop_int(&d->build, at / fields);
        assign->value = accumulated(d, index, steps - at < fields ? steps - at : fields);
    }
}

/* ---- sums along a ---- */

bool sinter_cpu_use_dots(sinter_schedule_cpu_state *state, sinter_cpu_nest *nest) {
    sinter_cpu_dot d = {.state = state, .shared = 1};
    sinter_loop_function *function = state->schedule.function;
    sinter_loop_builder_init(&d.build, state->program, function);
    if (!state->program->host || !match(&d, nest)) return false;
    if (!d.made) sinter_cpu_dot_share_words(&d, nest);
    if (!d.made && !sinter_cpu_dot_replace_constants(&d)) {
        state->failed = true;
        return false;
    }
    if (d.made) sinter_cpu_dot_write_words(&d, nest);
    if (d.open && !d.words) return false;
    if (d.around) join_rows(&d);
    if (d.shared > 1) {
        write_shared(&d);
        sinter_cpu_dot_scale_back(&d, nest);
    } else {
        write_loop(&d);
    }
    return sinter_cpu_find_nest(function, nest->loops[0], nest);
}

/* ---- for who looks at nests before ---- */

sinter_loop_var sinter_cpu_find_words_place(sinter_schedule_cpu_state *state,
                                            const sinter_cpu_nest *nest, bool *out_open) {
    sinter_cpu_dot d = {.state = state};
    sinter_loop_builder_init(&d.build, state->program, state->schedule.function);
    if (!state->program->host || !match(&d, nest) || !d.made) return 0;
    *out_open = d.open;
    return sinter_cpu_dot_find_words_place(&d, nest);
}

bool sinter_cpu_find_dots(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                          sinter_cpu_dots *out_dots) {
    sinter_cpu_dot d = {.state = state};
    sinter_loop_builder_init(&d.build, state->program, state->schedule.function);
    if (nest->dtype != SINTER_DTYPE_i32 || nest->reduction_count != 1 || !match(&d, nest) ||
        d.made || d.around || d.steps % BYTES)
        return false;
    *out_dots = (sinter_cpu_dots){
        .loop = d.loop->var, .a = d.a, .b = d.b, .b_dim = d.b_dim, .steps = d.steps};
    return true;
}

sinter_expr sinter_cpu_load_word(sinter_schedule_cpu_state *state, const sinter_cpu_dots *dots,
                                 sinter_expr first) {
    sinter_cpu_dot d = {.state = state, .a = dots->a};
    d.loop = sinter_schedule_get_loop(state->schedule.function, dots->loop);
    sinter_loop_builder_init(&d.build, state->program, state->schedule.function);
    return load_word(&d, first, BYTES);
}
