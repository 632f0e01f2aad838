/* Collectives whose pieces lie one after the other in memory, with views around them that bring the pieces to their places.
 * Test: tests/passes/shard_localize/ */
#pragma once
#include "ir/build.h"
#include "ir/mesh.h"

/* What stands for the collective; 0 where it is packed already, or after an error. */
sinter_value sinter_shard_pack(sinter_builder *builder, sinter_node node, const sinter_mesh_axes *over);
/* What stands for a shard_window in the program of one rank: permutes with those who have what it reads, put together. fill: a scalar
 * for indices that are not there. 0 after an error. */
sinter_value sinter_shard_pack_window(sinter_builder *builder, sinter_node node, const sinter_mesh_axes *over, sinter_value fill);
