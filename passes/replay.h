/* A model run over samples piece by piece, in the order of its nodes, while what lies ahead still changes: each piece runs once,
 * and what later pieces need is held for all samples until they have run. Pieces are parts of the module (sinter_module_extract),
 * run by the compression's runner. Test: tests/passes/compress_weights/ */
#pragma once
#include "passes/compression.h"

typedef struct sinter_replay_value {
    sinter_value value;
    sinter_tensor *tensors; /* one a run of the samples */
} sinter_replay_value;

typedef struct sinter_replay {
    sinter_module *module; /* may be given more nodes; those that ran have run */
    const sinter_compression *compression; /* has data */
    size_t runs;
    sinter_tensor *masks; /* by run: 0 for rows that don't count (passes/samples.h); NULL: all do */
    SINTER_VECTOR(sinter_replay_value) held;
    sinter_arena arena;
} sinter_replay;

/* Holds the inputs. */
void sinter_replay_init(sinter_replay *replay, sinter_module *module, const sinter_compression *compression);
/* Only the first runs, as many as have so many samples. */
void sinter_replay_init_first(sinter_replay *replay, sinter_module *module, const sinter_compression *compression,
                              size_t samples);
void sinter_replay_deinit(sinter_replay *replay);
/* Runs what comes before the node `until` of the main region (0: nothing) as far as nodes from there on need it, and what the values
 * `also` need, wherever they are; lets go of what nobody needs any more. False after an error. */
bool sinter_replay_advance(sinter_replay *replay, sinter_node until, const sinter_value *also, size_t also_count,
                           sinter_diag *diag);
/* One tensor a run of a value that was asked for or that nodes ahead read; NULL for others. */
const sinter_tensor *sinter_replay_find(const sinter_replay *replay, sinter_value value);
/* The value has become another one, by nodes before it that changed: it is computed anew when it is wanted, from what is held then. */
void sinter_replay_forget(sinter_replay *replay, sinter_value value);
