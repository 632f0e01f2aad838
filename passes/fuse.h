/* What the files of the pass fuse share. Private to passes/fuse*.c. Test: tests/passes/fuse/ */
#pragma once
#include "passes/pass.h"

enum { SINTER_FUSE_LIMIT = 48 }; /* nodes of a group */

typedef struct sinter_fusion_group {
    SINTER_VECTOR(sinter_node) nodes;
    sinter_node anchor;
    sinter_value row;  /* where the anchor reduces whole rows, dims kept: what it reduces */
    uint32_t row_axis; /* the first of the reduced axes */
    bool staged;       /* what the anchor reads is made in the group, row by row */
    bool closed;       /* nothing more joins it */
    bool dead;         /* merged into another */
} sinter_fusion_group;

typedef struct sinter_fusion {
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_arena *scratch;
    const sinter_machine *machine;
    const sinter_chooser *chooser;
    sinter_region region;
    sinter_map shapes;  /* values that symbols are read from -> 1: extents that nodes decide, elements */
    sinter_map copies;  /* constants copied into a group -> position of the node they are for */
    uint32_t *position; /* by node, in this region; 0 elsewhere */
    uint32_t *group_of; /* by node: index + 1 */
    SINTER_VECTOR(sinter_fusion_group) groups;
} sinter_fusion;

sinter_pattern sinter_fuse_pattern(const sinter_fusion *f, sinter_node node);
/* Computed element by element, from numbers, with results that nobody takes shapes from. */
bool sinter_fuse_is_elementwise(const sinter_fusion *f, sinter_node node);
bool sinter_fuse_same_shape(const sinter_fusion *f, sinter_value a, sinter_value b);
/* All nodes of group `from` become nodes of `into`; the anchor, too, where `from` has one. */
void sinter_fuse_merge(sinter_fusion *f, uint32_t into, uint32_t from);
/* What lies between these nodes comes by rows, where the model says so or where that was measured to be faster. */
bool sinter_fuse_comes_by_rows(const sinter_fusion *f, const sinter_node *nodes, uint32_t count, bool model);
/* Where a node outside of both groups first uses a value of `group`, by position; UINT32_MAX: none does. */
uint32_t sinter_fuse_first_outside_use(const sinter_fusion *f, uint32_t group, uint32_t other);
/* A group around a window, whose anchor the node is, takes in what makes its operand, where that comes by rows (fuse_windows.c). */
void sinter_fuse_windows(sinter_fusion *f, sinter_node node, uint32_t own);
/* A group around a matrix product takes in the rows that it multiplies, and the product that these are made of (fuse_products.c). */
void sinter_fuse_products(sinter_fusion *f, uint32_t own);
