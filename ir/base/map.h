/* Hash maps in an arena: string -> uint64 and uint64 -> uint64. Insertion order is not kept; never
 * iterate a map to produce output (law: same input, same bytes). */
#pragma once
#include "ir/base/text.h"

typedef struct sinter_map {
    sinter_arena *arena;
    struct sinter_map_slot *slots;
    size_t count, capacity;
} sinter_map;
void sinter_map_init(sinter_map *map, sinter_arena *arena);
/* Keys of one map are either all strings or all numbers. String keys are copied on insert.
 * put replaces; find returns false and leaves *out_value alone where the key is absent. */
void sinter_map_put_string(sinter_map *map, sinter_string key, uint64_t value);
bool sinter_map_find_string(const sinter_map *map, sinter_string key, uint64_t *out_value);
void sinter_map_put(sinter_map *map, uint64_t key, uint64_t value);
bool sinter_map_find(const sinter_map *map, uint64_t key, uint64_t *out_value);
/* FNV-1a-like 64-bit hash, seedable for chaining; stable across machines and versions. */
uint64_t sinter_hash(const void *data, size_t size, uint64_t seed);
/* A map of its own with the same entries. */
void sinter_map_copy(sinter_map *out_map, const sinter_map *source, sinter_arena *arena);
