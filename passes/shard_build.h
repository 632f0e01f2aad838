/* Collectives as nodes, and what brings a value from one sharding to another. Test: tests/passes/shard_partition/ */
#pragma once
#include "ir/build.h"
#include "ir/sharding.h"

/* Axes that a tensor may have whose parts are gathered, scattered or moved: their pieces lie along axes of their own meanwhile. */
enum { SINTER_SHARD_MAX_RANK = SINTER_MAX_RANK - 2 };
/* Of x, whose type is that of a rank's part. 0 after an error. */
sinter_value sinter_shard_build(sinter_builder *builder, sinter_op op, sinter_value x, const sinter_mesh_axes *over,
                                const sinter_attr *others, uint32_t other_count);
/* Indices [first, end) of an axis of x, in plain operators. */
sinter_value sinter_shard_slice(sinter_builder *builder, sinter_value x, int64_t axis, int64_t first, int64_t end);
/* One of the collectives that bring a value from one sharding to another. */
typedef struct sinter_shard_step {
    sinter_op op;          /* reduce_scatter, all_reduce, shard_slice, all_to_all, all_gather or shard_first */
    uint32_t axis, target; /* the dim that it is for; of all_to_all, which is cut less afterwards, and the one that is cut instead */
    sinter_mesh_axes over, outer; /* outer: what `axis` of all_to_all and all_gather is cut over afterwards */
} sinter_shard_step;
/* A mesh axis is summed, moved, gathered and cut once at most, at two places. */
enum { SINTER_SHARD_MAX_STEPS = 4 * SINTER_MESH_MAX_AXES + 2 };
/* In order; returns their number. Cuts first where that costs nothing, sums and cuts at once where it can, moves an axis from one dim to
 * another at once, gathers the rest. */
uint32_t sinter_shard_list_steps(const sinter_mesh *mesh, const sinter_sharding *from, const sinter_sharding *to,
                                 sinter_shard_step out_steps[SINTER_SHARD_MAX_STEPS]);
/* x, a part by `from` of a value of type `whole`, as a part by `to`. */
sinter_value sinter_shard_convert(sinter_builder *builder, sinter_value x, const sinter_type *whole,
                                  const sinter_sharding *from, const sinter_sharding *to);
/* Whether that sends nothing. */
bool sinter_shard_convert_is_local(const sinter_sharding *from, const sinter_sharding *to);
