/* Which axes of a node's operands and results go together, index by index: what pruning follows to remove an index everywhere
 * at once, and what sharding follows to cut everywhere alike.
 *
 * A node loops over factors, as an einsum does over letters; a link says where the indices of a factor lie in one axis of one
 * operand or result. Several factors may share an axis: C*H*W has three links, c in runs of H*W. Axes may be linked in part:
 * each operand of a concat has a factor of its own in the result; positions of a result that no link covers are filled (pad), those
 * of an operand are not read (slice). An axis without any link is whole: nothing is known that allows to take a part of it.
 *
 * Everything follows from the op table and the types of the node. Test: tests/unit/axes_test.c */
#pragma once
#include "ir/rewrite.h"

typedef enum sinter_axis_kind {
    SINTER_AXIS_ALONG,  /* index by index: of the operands, what has the same index, and nothing else, makes the result's */
    SINTER_AXIS_SUMMED, /* the result is a sum over it of products of what has the same index */
    SINTER_AXIS_REDUCED, /* the result combines it otherwise: largest, mean */
    SINTER_AXIS_INNER, /* every result is made of sums over it of products with weights, and of more: indices can go, with their
                          weights, but parts do not add up to the whole */
    SINTER_AXIS_STEPWISE /* index by index in each step of a recurrence, of which the next reads them all: a node that is cut along it
                            says so (`over`), and its ranks exchange what they have in every step */
} sinter_axis_kind;

/* How results over parts of a factor that the result has not make the result over all of it. */
typedef enum sinter_axis_combine {
    SINTER_AXIS_COMBINE_NONE, /* they don't */
    SINTER_AXIS_COMBINE_SUM,
    SINTER_AXIS_COMBINE_PROD,
    SINTER_AXIS_COMBINE_MAX,
    SINTER_AXIS_COMBINE_MIN
} sinter_axis_combine;

typedef struct sinter_axis_factor {
    sinter_axis_kind kind;
    sinter_axis_combine combine;
    sinter_dim size;
} sinter_axis_factor;

/* Index i of an axis of result 0 needs indices [i * stride - before, i * stride - before + reach) of the same axis of an operand, with
 * `fill` (a word of shard_window) where there are none. Such axes have no link: nothing is taken out of them index by index. */
typedef struct sinter_axis_window {
    uint32_t index, axis; /* of the operand; the axis is that of the result, too */
    sinter_dim size;      /* of the result's */
    int64_t stride, reach, before;
    const char *fill;
} sinter_axis_window;

/* Index i lies at offset + b * period + i * run + r for all r < run and b < blocks. Alone in its axis a factor of any size has
 * offset 0, run and blocks 1; otherwise sizes are numbers. */
typedef struct sinter_axis_link {
    uint32_t factor;
    bool is_result;
    uint32_t index, axis; /* of the operand or result */
    int64_t offset, run, blocks, period;
    bool is_read_whole; /* of a recurrence: units as all others read them, so it is no part that is cut with the factor */
    const sinter_axis_window *window; /* NULL but in what passes/shard_factors.h makes of windows */
} sinter_axis_link;

typedef struct sinter_axis_map {
    SINTER_VECTOR(sinter_axis_factor) factors;
    SINTER_VECTOR(sinter_axis_link) links;
    SINTER_VECTOR(sinter_axis_window) windows;
    uint32_t addend; /* an operand that is added to the sum, once: a bias; 0: none, as it is never the first */
} sinter_axis_map;

/* Needs inferred types. Nodes of which nothing is known have no links. */
void sinter_axes_describe(sinter_module *module, sinter_node node, sinter_arena *arena, sinter_axis_map *out_map);

/* Which indices of an axis stay. */
typedef struct sinter_axes_cut {
    void *user;
    /* One truth value an index; NULL where all of them stay, or their number is not known. */
    const bool *(*kept)(void *user, bool is_result, uint32_t index, uint32_t axis);
} sinter_axes_cut;
/* Attributes and small operands of a node that state sizes (targets of reshapes, pads, numbers of groups) as they are after its
 * other operands have lost indices. The types of the node are those of before; what is cut agrees with the links: of factors
 * that share an axis one is cut alone. Constants are the caller's. False after an error. */
bool sinter_axes_shrink(sinter_rewrite *rewrite, sinter_node node, const sinter_axes_cut *cut);
/* A node with windows along the marked axes is given all that they read, padding too: it pads these axes no more, and the others
 * as before. By the types of before. False where what it pads them by is no number: SAME, with strides, of an open size. */
bool sinter_axes_unpad(sinter_rewrite *rewrite, sinter_node node, const bool *axes);
