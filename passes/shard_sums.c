/* Sums in steps, priced. Test: tests/passes/shard_hierarchy/, tests/unit/shard_prices_test.c */
#include "passes/shard_sums.h"
#include "passes/shard_build.h"

typedef struct terms {
    const sinter_hardware *hardware;
    const sinter_mesh *mesh;
    const int64_t *sizes;
    uint32_t rank;
    double bytes;
} terms;

static bool find_axis(const terms *t, int64_t parts, sinter_shard_sum *out_sum) {
    for (uint32_t d = 0; d < t->rank; d++) {
        if (t->sizes[d] <= 0 || t->sizes[d] % parts) continue;
        out_sum->axis = d;
        out_sum->size = t->sizes[d];
        return true;
    }
    return false;
}

/* Pieces of an inner axis are brought together in memory before they are sent, and apart afterwards, each of which reads and writes all. */
static double packing_seconds(const terms *t, uint32_t axis) {
    for (uint32_t d = 0; d < axis; d++)
        if (t->sizes[d] != 1)
            return 4 * t->bytes / sinter_hardware_bandwidth(t->hardware, t->bytes);
    return 0;
}

static double seconds_of(const terms *t, const sinter_mesh_axes *over, sinter_op op, double parts) {
    return sinter_hardware_exchange(t->hardware, t->mesh, over, op, t->bytes / parts);
}

sinter_shard_sum sinter_shard_sum_find(const sinter_hardware *hardware, const sinter_mesh *mesh,
                                       const sinter_mesh_axes *over, const int64_t *sizes,
                                       uint32_t rank, double bytes) {
    const terms t = {hardware, mesh, sizes, rank, bytes};
    sinter_shard_sum best = {.outer = *over,
                             .seconds = seconds_of(&t, over, SINTER_OP_all_reduce, 1)};
    if (hardware->link_count < 2 || rank > SINTER_SHARD_MAX_RANK) return best;
    /* Every way to split the axes, in their order. */
    for (uint32_t some = 1; some + 1 < 1u << over->count; some++) {
        sinter_shard_sum s = {.axis = 0};
        for (uint32_t i = 0; i < over->count; i++)
            sinter_mesh_axes_add(some >> i & 1 ? &s.inner : &s.outer, over->items[i]);
        int64_t parts = sinter_mesh_axes_product(mesh, &s.inner);
        if (!find_axis(&t, parts, &s)) continue;
        s.seconds = seconds_of(&t, &s.inner, SINTER_OP_reduce_scatter, 1) +
                    seconds_of(&t, &s.outer, SINTER_OP_all_reduce, (double)parts) +
                    seconds_of(&t, &s.inner, SINTER_OP_all_gather, 1) + packing_seconds(&t, s.axis);
        if (s.seconds < best.seconds) best = s;
    }
    return best;
}
