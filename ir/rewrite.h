/* The only way a pass changes a graph. A rewrite is opened at a node; it builds new nodes before
 * that node, says which results replace which, and erases what died. Locations of the nodes replaced are joined
 * into the new ones, so "model.onnx: node 'Conv_12'" survives fusion. Test: tests/unit/rewrite_test.c */
#pragma once
#include "ir/build.h"

typedef struct sinter_rewrite {
    sinter_builder build; /* use with sinter_build*(&rewrite.build, ...) */
    sinter_node root;
    sinter_node first_new; /* nodes from this id on were built since rewrite_at */
    size_t change_count;   /* over the life of this object */
} sinter_rewrite;

void sinter_rewrite_begin(sinter_rewrite *rewrite, sinter_module *module, sinter_diag *diag);
/* New nodes go before root and carry its location. */
void sinter_rewrite_at(sinter_rewrite *rewrite, sinter_node root);
/* Whether new may stand for old: same kind, element type and rank. */
bool sinter_rewrite_fits(const sinter_rewrite *rewrite, sinter_value old_value, sinter_value new_value);
/* All uses of old become new. They must fit; dims may be refined. A new value without
 * a name, or a sharding, takes the old one's; outputs of the module keep their names in any case. Symbols that were read from old are
 * read from new. */
void sinter_rewrite_replace(sinter_rewrite *rewrite, sinter_value old_value, sinter_value new_value);
/* What is said of the old holds for the new, where of that nothing is said: for what stands beside the old, with as many axes. */
void sinter_rewrite_keep_sharding(sinter_module *module, sinter_value old_value, sinter_value new_value);
/* ... of each result that is used, and erases the node. new_results has one item per result; 0 for unused ones. */
void sinter_rewrite_replace_node(sinter_rewrite *rewrite, sinter_node node, const sinter_value *new_results);
/* Erases the node, then every producer that has no uses left (but those that a symbol is read from: only
 * eliminate_dead knows whether anyone needs the symbol). Its results must be unused. Where nodes were built since
 * rewrite_at, the locations of what is erased are joined into theirs. */
void sinter_rewrite_erase(sinter_rewrite *rewrite, sinter_node node);
/* A node that stays does from now on what `other` did, which is about to go: it carries its location too. */
void sinter_rewrite_take_over(sinter_rewrite *rewrite, sinter_node node, sinter_node other);
/* Within its region; what it needs stands before that. */
void sinter_rewrite_move(sinter_rewrite *rewrite, sinter_node node, sinter_node before);
void sinter_rewrite_set_operand(sinter_rewrite *rewrite, sinter_node node, uint32_t index, sinter_value value);
void sinter_rewrite_set_attr(sinter_rewrite *rewrite, sinter_node node, const sinter_attr *attr);
void sinter_rewrite_drop_result(sinter_rewrite *rewrite, sinter_node node, uint32_t index); /* optional, unused */
/* Moves the nodes (in order) into a new `group` node placed before the last of them; values that they use from
 * outside become operands, values used outside become results. Returns the group. */
sinter_node sinter_rewrite_outline(sinter_rewrite *rewrite, const sinter_node *nodes, size_t count);
/* The nodes of the region, one of those of `owner`, go before the owner, with `arguments` in place of the region's; what the
 * region yields replaces the owner's results, and the owner is erased. */
void sinter_rewrite_inline_region(sinter_rewrite *rewrite, sinter_node owner, sinter_region region,
                                  const sinter_value *arguments);
