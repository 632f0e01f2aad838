/* What it costs on described hardware to bring a value from one sharding to another, as sinter_shard_convert does: what shard-auto
 * and pipeline-split ask very often of few different conversions. Test: tests/passes/shard_auto/, tests/unit/shard_prices_test.c */
#pragma once
#include "ir/base/map.h"
#include "ir/estimate.h"
#include "passes/shard_factors.h"

/* Seconds for a value of this type. INFINITY where ranks can't send it. */
double sinter_shard_convert_seconds(const sinter_shard_state *state, const sinter_hardware *hardware, const sinter_type *type,
                                    const sinter_sharding *from, const sinter_sharding *to);

/* The same, of one mesh: each conversion is priced once. In the arena of the state, which has to outlive it, as has the hardware. */
typedef struct sinter_shard_prices {
    const sinter_shard_state *state;
    const sinter_hardware *hardware;
    sinter_map seconds; /* by type and both shardings: bits of a double */
    sinter_map tables;  /* by type and both lists: a place in table_items */
    SINTER_VECTOR(double *) table_items;
    SINTER_VECTOR(uint32_t) key; /* of what is looked for now */
} sinter_shard_prices;
void sinter_shard_prices_init(sinter_shard_prices *prices, const sinter_shard_state *state, const sinter_hardware *hardware);
double sinter_shard_prices_convert(sinter_shard_prices *prices, const sinter_type *type, const sinter_sharding *from,
                                   const sinter_sharding *to);
/* From each of one list to each of the other, [from][to]; lists that were seen before, as layers repeat, give the same table. */
const double *sinter_shard_prices_table(sinter_shard_prices *prices, const sinter_type *type,
                                        const sinter_sharding *const *from, size_t from_count,
                                        const sinter_sharding *const *to, size_t to_count);
