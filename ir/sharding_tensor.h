/* Tensors cut into what ranks have of them, and put together again. Test: tests/suites/shard_values.py, tests/unit/mesh_test.c */
#pragma once
#include "ir/sharding.h"

/* What the rank has of a whole tensor: its part, padded with zeros; of a partial one, all of it on the first rank and zeros
 * on the others. Where nothing is cut the storage is shared. sharding: NULL for a value that all have. False after an error. */
bool sinter_sharding_cut_tensor(const sinter_mesh *mesh, const sinter_sharding *sharding, int64_t rank,
                                const sinter_tensor *whole, sinter_tensor *out_part, sinter_diag *diag);
/* The whole out of the parts of all ranks; words must say how large it was (sinter_shard_dim.whole, as a number). Terms of a sum are added in
 * the order of ranks. */
bool sinter_sharding_join_tensors(const sinter_mesh *mesh, const sinter_sharding *sharding,
                                  const sinter_tensor *const *parts, sinter_tensor *out_whole, sinter_diag *diag);
