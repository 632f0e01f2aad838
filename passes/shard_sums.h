/* How ranks of several servers make a sum: at once, or in steps, as shard-hierarchy writes them. Whoever compares prices of sums asks here
 * as well, so that what is chosen is what will be made. Test: tests/passes/shard_hierarchy/, tests/unit/shard_prices_test.c */
#pragma once
#include "ir/hardware.h"

/* At once, or summed and cut along an axis of the value within groups over `inner`, each part summed over `outer`, then put together within the groups. */
typedef struct sinter_shard_sum {
    sinter_mesh_axes inner, outer; /* inner: none where it is made at once */
    uint32_t axis;                 /* that is cut, the outermost whose indices go up in so many parts */
    int64_t size;                  /* of it */
    double seconds;
} sinter_shard_sum;

/* The faster one for terms of these sizes (by dim; 0: not known) and bytes, of each of the ranks along `over`. Where links are of one
 * kind, or a step has more latency than it saves, that is at once. */
sinter_shard_sum sinter_shard_sum_find(const sinter_hardware *hardware, const sinter_mesh *mesh, const sinter_mesh_axes *over,
                                       const int64_t *sizes, uint32_t rank, double bytes);
