/* Constants of products of bytes whose numbers have four or two bits: words of four bytes share one, since memory and caches then
 * hold half or a quarter of them. Field f of each byte belongs to word f of those. Moved to the top of its byte, with zeros below, it is
 * the number times 16 or 64, so that one shift and one mask give a word for `dot4`, and the sum is that many times too large, exactly; it is
 * shifted back behind the reduction, before what else the sum started with is added. Rows of a tile share what is unpacked.
 * Needs: words that are whole, in number a multiple of those that share one; no more products in a sum than 32 bits hold.
 * Test: tests/codegen/schedule/dot_bits.loops, tests/suites/few_bits_values.py */
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu/dot_internal.h"

enum { BYTE = 8 };

/* Bits that hold all numbers of all constants that are passed: 2, 4 or 8. */
static int64_t width_of(const sinter_cpu_dot *d) {
    const uint32_t *constants;
    const sinter_loop_program *program = d->state->program;
    size_t count = sinter_cpu_list_constants(d->state, d->b->buffer, &constants);
    int64_t width = count ? 2 : BYTE;
    for (size_t i = 0; i < count; i++) {
        const sinter_tensor *tensor = &program->constants.items[constants[i]].tensor;
        const int8_t *bytes = tensor->data;
        int64_t size = (int64_t)sinter_tensor_bytes(tensor);
        for (int64_t k = 0; k < size && width < BYTE; k++)
            while (width < BYTE && (bytes[k] < -(1 << (width - 1)) || bytes[k] >= 1 << (width - 1)))
                width *= 2;
    }
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
    if (d->made || d->around || d->kind->fields != SINTER_DOT_BYTES || nest->part ||
        d->steps % SINTER_DOT_BYTES || !has_columns(d, nest) || !has_room(d, nest))
        return;
    d->shared = BYTE / width_of(d);
    while (sinter_cpu_dot_word_count(d) % d->shared) d->shared /= 2;
}

void sinter_cpu_dot_pack_field(const sinter_cpu_dot *d, int64_t index, uint8_t number,
                               uint8_t *byte) {
    int64_t width = BYTE / d->shared;
    *byte |= (uint8_t)((number & ((1u << width) - 1)) << index * width);
}

sinter_expr sinter_cpu_dot_field(sinter_cpu_dot *d, sinter_expr word, int64_t index) {
    sinter_loop_builder *build = &d->build;
    int64_t width = BYTE / d->shared, up = BYTE - width - index * width;
    uint32_t top = (uint32_t)(UINT8_MAX << (BYTE - width)) & UINT8_MAX;
    if (up)
        word = sinter_loop_call2(build, SINTER_SCALAR_shl, word,
                                 sinter_loop_const_int(build, SINTER_DTYPE_i32, up));
    return sinter_loop_call2(
        build, SINTER_SCALAR_and, word,
        sinter_loop_const_int(build, SINTER_DTYPE_i32, (int32_t)(top * 0x01010101u)));
}

void sinter_cpu_dot_scale_back(sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    sinter_loop_builder *build = &d->build;
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
