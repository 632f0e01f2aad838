/* Sums over taps of a window that each channel has for itself, where a and b both are elements of the column: u8 times i8 of a
 * constant, four taps at once. The bytes of a word come from different rows of a, those of b that lie outside of its bounds are masked out.
 * Exact: i32 wraps the same way in any order.
 * Test: tests/codegen/schedule/dot.loops, tests/suites/isa.py */
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu/dot_internal.h"

enum { FEW_TAPS = 8 }; /* of a window, one way */

/* The only dim whose index has the variable, moving on by one with it. */
static bool find_moving_dim(sinter_cpu_dot *d, sinter_expr element, sinter_loop_var var,
                            uint32_t *out_dim) {
    uint32_t used = 0;
    sinter_expr coefficient, rest;
    int64_t step;
    for (uint32_t i = 0; i < element->argument_count; i++) {
        if (!sinter_loop_expr_uses(element->arguments[i], var)) continue;
        *out_dim = i;
        if (used++ ||
            !sinter_loop_affine(&d->build, element->arguments[i], var, &coefficient, &rest) ||
            !sinter_loop_is_const_int(coefficient, &step) || step != 1)
            return false;
    }
    return used == 1;
}

/* The outermost reduction goes over few taps, of which those within its bounds count; a and b are elements of the column. */
static bool match_taps(sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    const sinter_loop_function *function = d->state->schedule.function;
    sinter_loop_var column = nest->loops[nest->loop_count - 1];
    sinter_expr coefficient;
    int64_t step;
    uint32_t used = 0, dim;
    d->around = NULL;
    d->count = 1;
    d->loop = sinter_schedule_get_loop(function, nest->reductions[0]);
    const sinter_loop_stmt *inner =
        sinter_schedule_get_loop(function, nest->reductions[nest->reduction_count - 1]);
    if (nest->dtype != SINTER_DTYPE_i32 || nest->reduction_count < 2 || !inner) return false;
    d->assign = inner->body;
    if (d->assign->kind != SINTER_LOOP_ASSIGN || d->assign->next ||
        d->assign->var != nest->accumulator || !sinter_cpu_dot_match_product(d) ||
        d->kind->intrinsic != sinter_target_dot(d->state->target) ||
        !sinter_cpu_is_own_constant(d->state, d->b->buffer) ||
        !find_moving_dim(d, d->b, column, &dim) || !find_moving_dim(d, d->a, column, &dim) ||
        dim + 1 != d->a->argument_count || d->loop->step != 1 ||
        !sinter_cpu_dot_find_dim(d, d->loop, &d->b_dim, &d->steps) || d->steps > FEW_TAPS)
        return false;
    for (const sinter_loop_stmt *loop = d->loop->body; loop->kind == SINTER_LOOP_FOR;
         loop = loop->body)
        if (sinter_loop_expr_uses(loop->lower, d->loop->var) ||
            sinter_loop_expr_uses(loop->upper, d->loop->var))
            return false;
    for (uint32_t i = 0; i < d->a->argument_count; i++) {
        if (!sinter_loop_expr_uses(d->a->arguments[i], d->loop->var)) continue;
        bool is_even = sinter_loop_affine(&d->build, d->a->arguments[i], d->loop->var, &coefficient,
                                          &d->row) &&
                       sinter_loop_is_const_int(coefficient, &step);
        /* What is loaded for a tap that does not count must be found; rows of a ring are there for all taps. */
        if (used++ || !(is_even || sinter_cpu_dot_goes_over(d->loop, d->steps))) return false;
    }
    return used == 1;
}

/* The tap counts, as far as the bounds of the loop say. */
static sinter_expr is_inside(sinter_cpu_dot *d, int64_t tap) {
    sinter_expr at = sinter_loop_int(&d->build, tap);
    return sinter_loop_and(&d->build,
                           sinter_loop_compare(&d->build, SINTER_SCALAR_le, d->loop->lower, at),
                           sinter_loop_compare(&d->build, SINTER_SCALAR_lt, at, d->loop->upper));
}

/* a at this tap; where the tap does not count, some element. */
static sinter_expr load_tap(sinter_cpu_dot *d, int64_t tap) {
    const sinter_loop_buffer_info *info = &d->state->schedule.function->buffers.items[d->a->buffer];
    sinter_expr indices[SINTER_MAX_RANK];
    sinter_loop_map map;
    sinter_loop_map_init(&map, d->state->program, d->state->schedule.function);
    sinter_loop_map_var(&map, d->loop->var, sinter_loop_int(&d->build, tap));
    for (uint32_t i = 0; i < d->a->argument_count; i++) {
        indices[i] = sinter_loop_map_expr(&map, d->a->arguments[i]);
        if (!sinter_loop_expr_uses(d->a->arguments[i], d->loop->var)) continue;
        sinter_expr last = sinter_loop_sub(&d->build, info->dims[i], sinter_loop_int(&d->build, 1));
        indices[i] = sinter_loop_max(&d->build, sinter_loop_min(&d->build, indices[i], last),
                                     sinter_loop_int(&d->build, 0));
    }
    return sinter_loop_load(&d->build, d->a->buffer, indices);
}

/* acc + the taps of word `index`: bytes of a beside each other, those of b that don't count masked out. */
static sinter_expr accumulated_taps(sinter_cpu_dot *d, int64_t index) {
    sinter_expr indices[SINTER_MAX_RANK], word = NULL, mask = NULL;
    uint32_t bytes = 0; /* of the word's taps */
    for (int64_t k = 0; k < SINTER_DOT_BYTES && index * SINTER_DOT_BYTES + k < d->steps; k++) {
        int64_t tap = index * SINTER_DOT_BYTES + k;
        bytes |= 0xffu << 8 * k;
        sinter_expr shift = sinter_loop_const_int(&d->build, SINTER_DTYPE_i32, 8 * k);
        sinter_expr byte = sinter_loop_cast(
            &d->build, sinter_loop_cast(&d->build, load_tap(d, tap), SINTER_DTYPE_u8),
            SINTER_DTYPE_i32);
        sinter_expr bits = sinter_loop_select(
            &d->build, is_inside(d, tap),
            sinter_loop_const_int(&d->build, SINTER_DTYPE_i32, (int32_t)(0xffu << 8 * k)),
            sinter_loop_const_int(&d->build, SINTER_DTYPE_i32, 0));
        if (k) byte = sinter_loop_call2(&d->build, SINTER_SCALAR_shl, byte, shift);
        word = k ? sinter_loop_call2(&d->build, SINTER_SCALAR_or, word, byte) : byte;
        mask = k ? sinter_loop_call2(&d->build, SINTER_SCALAR_or, mask, bits) : bits;
    }
    for (uint32_t i = 0; i < d->b->argument_count; i++)
        indices[i] = i == d->b_dim ? sinter_loop_int(&d->build, index) : d->b->arguments[i];
    sinter_expr weights = sinter_loop_load(&d->build, d->b->buffer, indices);
    int64_t known;
    bool all = sinter_loop_is_const_int(mask, &known) && (uint32_t)known == bytes;
    if (!all) weights = sinter_loop_call2(&d->build, SINTER_SCALAR_and, weights, mask);
    const sinter_expr arguments[3] = {sinter_loop_var_read(&d->build, d->assign->var), word,
                                      weights};
    return sinter_loop_intrinsic_call(&d->build, d->kind->intrinsic, arguments);
}

/* A statement for each word of taps takes the place of the loop over them. */
static void write_taps(sinter_cpu_dot *d) {
    sinter_loop_stmt *assign = d->assign, *next = d->loop->next;
    for (int64_t index = 0; index < sinter_cpu_dot_word_count(d); index++) {
        if (index) {
            assign->next = sinter_arena_copy(d->build.arena, d->assign, sizeof *d->assign);
            assign = assign->next;
            assign->next = NULL;
        }
        assign->value = accumulated_taps(d, index);
    }
    *d->loop = *d->loop->body;
    d->loop->next = next;
}

bool sinter_cpu_use_tap_dots(sinter_schedule_cpu_state *state, sinter_cpu_nest *nest) {
    sinter_cpu_dot d = {.state = state, .shared = 1};
    sinter_loop_function *function = state->schedule.function;
    sinter_loop_builder_init(&d.build, state->program, function);
    if (!sinter_target_has(state->target, "avx512vnni") || !state->program->host ||
        !match_taps(&d, nest))
        return false;
    if (!sinter_cpu_dot_replace_constants(&d)) {
        state->failed = true;
        return false;
    }
    write_taps(&d);
    return sinter_cpu_find_nest(function, nest->loops[0], nest);
}
