/* Constants of products of bytes whose numbers have four or two bits: words of four bytes share one, since memory and caches then
 * hold half or a quarter of them. Field f of each byte belongs to word f of those. Moved to the top of its byte, with zeros below, it is
 * the number times 16 or 64, so that one shift and one mask give a word for `dot4`, and the sum is that many times too large, exactly; it is
 * shifted back behind the reduction, before what else the sum started with is added. Numbers that are not negative, those beside a zero point, are moved to
 * the bottom, where they are what they are. Rows of a tile share what is unpacked. Where words are no multiple of those that share one, the
 * last one begins earlier, with zeros for words that another one has.
 * Needs: words that are whole, and no more products in a sum than 32 bits hold.
 * Test: tests/codegen/schedule/dot_bits.loops, tests/suites/few_bits_values.py */
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu/dot_internal.h"

enum { BYTE = 8 };

/* The least and the largest number of all constants that are passed. */
static void find_range(const sinter_cpu_dot *d, int *out_least, int *out_most) {
    const uint32_t *constants;
    const sinter_loop_program *program = d->state->program;
    size_t count = sinter_cpu_list_constants(d->state, d->b->buffer, &constants);
    *out_least = count ? 0 : INT8_MIN;
    *out_most = 0;
    for (size_t i = 0; i < count; i++) {
        const sinter_tensor *tensor = &program->constants.items[constants[i]].tensor;
        const int8_t *bytes = tensor->data;
        int64_t size = (int64_t)sinter_tensor_bytes(tensor);
        for (int64_t k = 0; k < size; k++) {
            if (bytes[k] < *out_least) *out_least = bytes[k];
            if (bytes[k] > *out_most) *out_most = bytes[k];
        }
    }
}

/* Bits that hold all these numbers, from 2 on, as numbers with a sign or without. */
static int64_t width_of(int least, int most, bool is_signed) {
    int64_t width = 2;
    while (width < BYTE && (is_signed ? least < -(1 << (width - 1)) || most >= 1 << (width - 1)
                                      : least < 0 || most >= 1 << width))
        width *= 2;
    return width;
}

/* Else it is a vector, as the ones that sum rows up: small. */
static bool has_columns(const sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    return sinter_loop_expr_uses(d->b, nest->loops[nest->loop_count - 1]);
}

/* Each variable of the reductions chooses among the constant's elements by itself, so that a sum has no more products than there are of
 * these, and numbers that are `factor` times too large still have room in it. */
static bool has_room(const sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    const sinter_loop_buffer_info *info = &d->state->schedule.function->buffers.items[d->b->buffer];
    int64_t most = d->kind->a == SINTER_DTYPE_u8 ? UINT8_MAX : -INT8_MIN, count = 1;
    int64_t limit = INT32_MAX / (most * -INT8_MIN);
    for (uint32_t i = 0; i < nest->reduction_count; i++) {
        uint32_t dim;
        int64_t size;
        if (!sinter_loop_find_axis(d->b->arguments, d->b->argument_count, nest->reductions[i],
                                   &dim) ||
            !sinter_loop_is_const_int(info->dims[dim], &size) || size > limit / count)
            return false;
        count *= size;
    }
    return true;
}

void sinter_cpu_dot_share_words(sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    enum { SPARE = 8 }; /* one product in so many may be one with zeros */
    if (d->made || d->around || d->kind->fields != SINTER_DOT_BYTES || nest->part ||
        d->steps % SINTER_DOT_BYTES || !has_columns(d, nest))
        return;
    int least, most;
    find_range(d, &least, &most);
    int64_t width = has_room(d, nest) ? width_of(least, most, true) : BYTE,
            other = width_of(least, most, false), words = sinter_cpu_dot_word_count(d);
    d->is_plain = other < width;
    d->shared = BYTE / (d->is_plain ? other : width);
    while ((words + d->shared - 1) / d->shared * d->shared - words > words / SPARE) d->shared /= 2;
}

int64_t sinter_cpu_dot_first_word(const sinter_cpu_dot *d, int64_t index) {
    int64_t words = sinter_cpu_dot_word_count(d), first = index * d->shared;
    return d->shared > 1 && first > words - d->shared ? words - d->shared : first;
}

void sinter_cpu_dot_pack_field(const sinter_cpu_dot *d, int64_t index, uint8_t number,
                               uint8_t *byte) {
    int64_t width = BYTE / d->shared;
    *byte |= (uint8_t)((number & ((1u << width) - 1)) << index * width);
}

sinter_expr sinter_cpu_dot_field(sinter_cpu_dot *d, sinter_expr word, int64_t index) {
    sinter_loop_builder *build = &d->build;
    int64_t width = BYTE / d->shared, at = index * width, by = d->is_plain ? at : BYTE - width - at;
    uint32_t mask = (uint32_t)(d->is_plain ? (1 << width) - 1 : UINT8_MAX << (BYTE - width));
    if (by)
        word = sinter_loop_call2(build, d->is_plain ? SINTER_SCALAR_shr : SINTER_SCALAR_shl, word,
                                 sinter_loop_const_int(build, SINTER_DTYPE_i32, by));
    mask = (mask & UINT8_MAX) * 0x01010101u;
    return sinter_loop_call2(build, SINTER_SCALAR_and, word,
                             sinter_loop_const_int(build, SINTER_DTYPE_i32, (int32_t)mask));
}

void sinter_cpu_dot_scale_back(sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    sinter_loop_builder *build = &d->build;
    if (d->is_plain) return;
    const sinter_loop_stmt *column =
        sinter_schedule_get_loop(d->state->schedule.function, nest->loops[nest->loop_count - 1]);
    sinter_loop_stmt *declare = column->body;
    while (declare->kind != SINTER_LOOP_DECLARE || declare->var != nest->accumulator)
        declare = declare->next;
    int64_t down = BYTE - BYTE / d->shared, start;
    sinter_expr sum =
        sinter_loop_call2(build, SINTER_SCALAR_shr, sinter_loop_var_read(build, nest->accumulator),
                          sinter_loop_const_int(build, SINTER_DTYPE_i32, down));
    if (!sinter_loop_is_const_int(declare->value, &start) || start != 0)
        sum = sinter_loop_call2(build, SINTER_SCALAR_add, sum, declare->value);
    declare->value = sinter_loop_const_int(build, SINTER_DTYPE_i32, 0);
    sinter_loop_map map;
    sinter_loop_map_init(&map, d->state->program, d->state->schedule.function);
    sinter_loop_map_var(&map, nest->accumulator, sum);
    sinter_loop_map_list(&map, nest->reduction->next);
}
