/* Which values of a model are to be integers in memory so that what reads them runs on integers: the inputs of the layers that a
 * recipe says it of, and what lies on the way to them. The rules follow what recognize_integer and fusion make of the result:
 *   - a layer's own result stays in registers through bias and activation, and is rounded once;
 *   - both operands of a sum or product are rounded, so that engines which know integers only by operator run all of it on
 *     them, and what all of them compute is the same; here the rounding of a result that goes on in a kernel costs no memory;
 *   - views, maximum pooling and concatenation move integers: what they read has the scale of what they give;
 *   - what is averaged is read as integers;
 *   - sums that a normalisation reads stay floats: residual streams of transformers have outliers that 8 bits lack room for.
 * Test: tests/passes/quantize_activations/ */
#pragma once
#include "passes/layer.h"
#include "passes/recipe.h"

typedef struct sinter_placement {
    sinter_module *module;
    const sinter_layer_recipe **wanted; /* by value: how it is rounded; NULL: not at all */
    sinter_value *group;                /* by value: values with one scale have one leader (sinter_placement_leader) */
    bool *reads_integers;               /* by node: its operands that are wanted are read as integers */
    bool *is_moved;                     /* by value: its elements are those of wanted operands */
} sinter_placement;

/* recipes: one for each layer. What it returns lives in the arena. */
sinter_placement sinter_placement_find(sinter_module *module, const sinter_layer_list *layers,
                                       const sinter_layer_recipe *recipes, sinter_arena *arena);
sinter_value sinter_placement_leader(const sinter_placement *placement, sinter_value value);
