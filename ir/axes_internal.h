/* What the rules of sinter_axes_describe share; private to ir/axes*.c. Test: tests/unit/axes_test.c */
#pragma once
#include "ir/axes.h"

typedef struct sinter_axes {
    sinter_module *module;
    sinter_dim_table *dims;
    sinter_node node;
    sinter_node_info info;
    sinter_arena *arena;
    sinter_axis_map *map;
} sinter_axes;

/* Of operand or result `index`; NULL where it is absent or no tensor. */
const sinter_type *sinter_axes_operand(const sinter_axes *axes, uint32_t index);
const sinter_type *sinter_axes_result(const sinter_axes *axes, uint32_t index);
uint32_t sinter_axes_factor(sinter_axes *axes, sinter_axis_kind kind, sinter_dim size);
/* The factor is all of the axis. */
void sinter_axes_link(sinter_axes *axes, uint32_t factor, bool is_result, uint32_t index, uint32_t axis);
/* ... or part of it: offset, run, blocks, period as in the link. */
void sinter_axes_link_part(sinter_axes *axes, sinter_axis_link link);
/* An axis of operand 0 and one of result 0 that go along whole. */
void sinter_axes_along(sinter_axes *axes, uint32_t operand_axis, uint32_t result_axis);
/* All operands broadcast to result 0 from the right, but for axes marked in `without` (NULL: none). */
void sinter_axes_broadcast(sinter_axes *axes, const bool *without);
/* Axes that an operand or attribute list names, as marks; false where not known. Absent: all. */
bool sinter_axes_marks(const sinter_axes *axes, uint32_t operand, uint32_t rank, bool *out_marks);
bool sinter_axes_number(const sinter_axes *axes, sinter_dim dim, int64_t *out_value);

/* ---- rules of several files: false where the op is none of theirs ---- */
bool sinter_axes_describe_view(sinter_axes *axes);
/* Axes that go along by the words of the op table: "b*,.b.->.b.", "H" of which has all indices of h, once a block. */
void sinter_axes_describe_parts(sinter_axes *axes, const char *body);
void sinter_axes_describe_attention(sinter_axes *axes); /* samples, and heads with the groups that share a key */
void sinter_axes_describe_windows(sinter_axes *axes); /* of convolutions and pooling */
