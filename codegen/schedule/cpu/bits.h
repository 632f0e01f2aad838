/* Products with weights of few bits, in three forms: decoded in registers for each tile of rows (bits.c), a panel of
 * columns once for all rows (bits_panel.c), or multiplied as they are by bytes, digits of floats (bits_digits.c).
 * Private to codegen/schedule/cpu/. Test: tests/codegen/schedule/bits.loops, bits_panel.loops, bits_digits.loops */
#pragma once
#include "codegen/schedule/cpu/constant.h"
#include "codegen/schedule/cpu/tile.h"

enum { SINTER_CPU_BITS_DIGITS = 4 }; /* of a float, bytes of a number in fixed point */

/* acc += x[k] * (f32(q[k, n] - z[k / B, n]) * s[k / B, n]), as it was; constants are words, scales and zero points already. */
typedef struct sinter_cpu_bits {
    sinter_schedule_cpu_state *state;
    sinter_loop_builder build;
    sinter_loop_stmt *loop, *assign;    /* the reduction and its body */
    sinter_loop_var step;               /* of the reduction */
    sinter_expr x, weight, zero, scale; /* zero: load, NULL where there is none */
    int64_t digits;                     /* bytes of an item: 0: sums are of floats, 1: x is bytes with scales, more: x became such */
    sinter_expr items, x_scale;         /* x = f32(items) * x_scale; NULL where sums are of floats. Digits: their last dim but one */
    sinter_loop_intrinsic dot;          /* for the former */
    sinter_loop_buffer sums;            /* of the items of each block; 0: none are needed */
    uint32_t dim;                       /* of the weight's indices: the reduction's variable */
    int64_t width, fields;              /* bits of a weight, weights of a word */
    int64_t steps, block;
    bool is_signed, half_scales;
    bool same_zero;     /* `zero_value` for all */
    int64_t zero_value; /* in stored weights */
} sinter_cpu_bits;

/* Sums of products with constants of 2 or 4 bits that share scales in blocks: words of constants, a sum a block. What was found in
 * `out_bits`. False: nothing was changed. */
bool sinter_cpu_use_bits(sinter_schedule_cpu_state *state, sinter_cpu_nest *nest, sinter_cpu_bits *out_bits);

/* A nest in the form that it makes. */
bool sinter_cpu_find_bit_nest(const sinter_loop_function *function, sinter_loop_var outermost, sinter_cpu_nest *out_nest);

/* The load of an input has steps next to each other, all of them. */
bool sinter_cpu_bits_lies_along(const sinter_cpu_bits *bits, sinter_expr load);
/* The expression where the reduction's variable is `step`. */
sinter_expr sinter_cpu_bits_at(sinter_cpu_bits *bits, sinter_expr expr, sinter_expr step);
/* The scale from this step on, f32. */
sinter_expr sinter_cpu_bits_scale(sinter_cpu_bits *bits, sinter_expr step);
/* The zero point from this step on, f32; NULL: the same for all. */
sinter_expr sinter_cpu_bits_zero(sinter_cpu_bits *bits, sinter_expr step);
/* Field `index` of the word less the zero point (f32, or NULL). */
sinter_expr sinter_cpu_bits_field(sinter_cpu_bits *bits, sinter_expr word, sinter_expr zero, int64_t index);

/* ---- floats as bytes (bits_digits.c) ---- */
/* x, floats, should become digits: cuts blocks to a length that these can have. A question of the schedule. False: nothing was changed. */
bool sinter_cpu_bits_find_digits(sinter_cpu_bits *bits, const sinter_cpu_nest *nest);
/* Digits, scales and sums of all blocks, in front of everything else: sets items, x_scale and sums. */
void sinter_cpu_bits_write_digits(sinter_cpu_bits *bits);
/* The sum of a block, f32, in units of its scale, of those of its digits. zero: -1 times the zero point, i32, or NULL where it is in `sums`. */
sinter_expr sinter_cpu_bits_join_digits(sinter_cpu_bits *bits, const sinter_loop_var *parts, sinter_expr block, sinter_expr zero);

/* ---- panels (bits_panel.c) ---- */
/* What a nest fell into: one that reads panels, and those that decode in registers. */
typedef struct sinter_cpu_bit_panels {
    sinter_cpu_tile tile; /* of those that decode in registers; its columns are a panel's */
    sinter_cpu_pack_plan packing;
    sinter_loop_var row;         /* of the nest that reads panels */
    uint32_t outside;            /* loops around that nest */
    sinter_loop_var few, narrow; /* the outermost loop of the nest for few rows, and of columns that fill no panel; 0: none */
} sinter_cpu_bit_panels;
/* Blocks of columns go around the rows of a nest that sinter_cpu_use_bits was used on: each is decoded once to scratch of the
 * thread, and multiplied from there. `target`: with the registers that decoding leaves. Where only the run knows the number of rows, it
 * decides. A question of the schedule. False: nothing was changed. */
bool sinter_cpu_use_bit_panels(sinter_cpu_bits *bits, const sinter_cpu_nest *nest, const sinter_target *target,
                               sinter_cpu_bit_panels *out_panels);
