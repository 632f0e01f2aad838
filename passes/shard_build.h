/* Collectives as nodes, and what brings a value from one sharding to another. Test: tests/passes/shard_partition/ */
#pragma once
#include "ir/build.h"
#include "ir/sharding.h"

/* Of x, whose type is that of a rank's part. 0 after an error. */
sinter_value sinter_shard_build(sinter_builder *builder, sinter_op op, sinter_value x, const sinter_mesh_axes *over,
                                const sinter_attr *others, uint32_t other_count);
/* Indices [first, end) of an axis of x, in plain operators. */
sinter_value sinter_shard_slice(sinter_builder *builder, sinter_value x, int64_t axis, int64_t first, int64_t end);
/* x, a part by `from` of a value of type `whole`, as a part by `to`. Cuts first where that costs nothing, sums and cuts at once
 * where it can, moves an axis from one dim to another at once, gathers the rest. */
sinter_value sinter_shard_convert(sinter_builder *builder, sinter_value x, const sinter_type *whole,
                                  const sinter_sharding *from, const sinter_sharding *to);
/* Whether that sends nothing. */
bool sinter_shard_convert_is_local(const sinter_sharding *from, const sinter_sharding *to);
