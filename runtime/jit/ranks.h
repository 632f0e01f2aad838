/* A model on the ranks of a mesh: made, kept in a folder, and run as threads of this process.
 *
 * The folder has rank_0.so, rank_1.so, ..., each with its rank's part of the weights, and `ranks.txt`: the mesh, hashes of the programs, and the shardings of
 * inputs and outputs in order (docs/shard.md). Whoever runs it gives and gets whole tensors. Test: tests/cli/shard.test */
#pragma once
#include "runtime/jit/engine.h"

typedef struct sinter_ranks sinter_ranks;

/* Spreads what is said in the module, which has a mesh, and makes it the program of all ranks. */
bool sinter_ranks_partition(sinter_module *module, bool explain, sinter_diag *diag);
/* The program of one of them, out of that. NULL after an error. */
sinter_module *sinter_ranks_program(const sinter_module *module, int64_t rank, sinter_diag *diag);
/* Compiles a partitioned module into a folder, which is made. */
bool sinter_ranks_write(sinter_module *module, const sinter_engine_options *options, const char *folder, sinter_diag *diag);

bool sinter_ranks_is_folder(const char *path);
/* seconds: how long a rank waits for others. NULL after an error. */
sinter_ranks *sinter_ranks_load(const char *folder, const sinter_engine_options *options, double seconds, sinter_diag *diag);
void sinter_ranks_destroy(sinter_ranks *ranks); /* NULL allowed */
/* Of whole values; valid as long as the ranks. */
const sinter_abi_io *sinter_ranks_inputs(const sinter_ranks *ranks, size_t *out_count);
const sinter_abi_io *sinter_ranks_outputs(const sinter_ranks *ranks, size_t *out_count);
/* Outputs are created. What every rank has to say goes to diag. */
bool sinter_ranks_run(sinter_ranks *ranks, const sinter_tensor *inputs, sinter_tensor *out_outputs, sinter_diag *diag);
