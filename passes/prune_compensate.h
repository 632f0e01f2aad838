/* What is left makes up for what was removed: layer by layer, in order, least squares from what a layer reads now to what it
 * yielded in the dense model, as far as that is still yielded; two layers with fewer channels between them also together (layer_pair.h),
 * so that the first one may yield something else. Test: tests/passes/prune_channels/, tests/passes/cut_blocks/ */
#pragma once
#include "passes/pass.h"
#include "passes/prune_graph.h"

/* Which outputs of a layer of the dense model stay. */
typedef struct sinter_prune_kept {
    bool *stays;
    int64_t count; /* 0: all do */
} sinter_prune_kept;

/* dense: the module before anything was removed, with the same ids. kept: by node of the dense module; NULL: no channels, but whole nodes
 * went. first: the first layer that reads something else than it did; 0: the first that reads fewer channels. Needs data and
 * sinter_blas_begin. False after an error. */
bool sinter_prune_compensate(sinter_pass_context *context, const sinter_prune_kept *kept, sinter_module *dense,
                             sinter_node first);
