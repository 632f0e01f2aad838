/* What is left makes up for what was removed: layer by layer, in order, least squares from what a layer reads now to what it
 * yielded in the dense model, as far as that is still yielded; two layers with fewer channels between them also together (layer_pair.h),
 * so that the first one may yield something else. Test: tests/passes/prune_channels/, tests/passes/cut_blocks/ */
#pragma once
#include "passes/pass.h"
#include "passes/prune_graph.h"

/* dense: the module before anything was removed, with the same ids. graph: the units that were; NULL: none, whole nodes went. first: the
 * first layer that reads something else than it did; 0: the first that reads fewer channels. Needs data and sinter_blas_begin. False
 * after an error. */
bool sinter_prune_compensate(sinter_pass_context *context, const sinter_prune_graph *graph, sinter_module *dense,
                             sinter_node first);
