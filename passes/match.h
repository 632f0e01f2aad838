/* Patterns of nodes as text, matched against the graph.
 *
 *   mul(x, sigmoid(x))                          the same name is the same value
 *   div(e:exp(x), reduce_sum(e))                e names what exp gives
 *   add(x, 3)                                   a constant of one element, to the precision of its type
 *   add(x, ?epsilon)                            any such constant
 *
 * Operands of commutative ops match in either order. All reductions of a pattern keep their dims and have the same axes, known
 * at compile time. A pattern matches where nobody else uses the values inside it.
 * Test: tests/passes/recognize/ */
#pragma once
#include "ir/graph.h"

enum { SINTER_MATCH_NAMES = 8, SINTER_MATCH_NODES = 24 };

typedef struct sinter_match {
    const sinter_module *module;
    sinter_node root;
    const char *names[SINTER_MATCH_NAMES]; /* in the pattern's text, not terminated */
    sinter_value values[SINTER_MATCH_NAMES];
    uint32_t name_count;
    sinter_node nodes[SINTER_MATCH_NODES];
    uint32_t node_count;
    bool has_axes;
    bool axes[SINTER_MAX_RANK]; /* which are reduced */
} sinter_match;

bool sinter_match_node(const sinter_module *module, sinter_node root, const char *pattern, sinter_match *out_match);
/* What a name of the pattern stands for; 0 where it has no such name. */
sinter_value sinter_match_value(const sinter_match *match, const char *name);
/* The element of a constant of one element. */
double sinter_match_number(const sinter_match *match, const char *name);
