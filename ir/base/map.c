/* Open-addressing hash maps with linear probing in an arena, at most 3/4 full, and the hash they
 * share with the rest of the compiler. Test: tests/unit/base_test.c */
#include "ir/base/map.h"

#include <string.h>

struct sinter_map_slot {
    const char *data; /* of string keys */
    uint64_t key;     /* the number, or the size of the string */
    uint64_t hash, value;
    bool used;
};

uint64_t sinter_hash(const void *data, size_t size, uint64_t seed) {
    const unsigned char *bytes = data;
    uint64_t hash = (seed ^ 0xcbf29ce484222325u) + size;
    /* FNV over 8-byte words, low byte first on every machine, with the shift that spreads the high
     * bits a plain word-wise FNV would never bring down. */
    while (size) {
        uint64_t word = 0;
        size_t step = size < 8 ? size : 8;
        for (size_t i = 0; i < step; i++) word |= (uint64_t)bytes[i] << (8 * i);
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 32;
        bytes += step;
        size -= step;
    }
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    return hash ^ hash >> 33;
}

void sinter_map_init(sinter_map *map, sinter_arena *arena) {
    *map = (sinter_map){.arena = arena};
}

/* The slot of the key, or the free one where it would go. */
static struct sinter_map_slot *find_slot(struct sinter_map_slot *slots, size_t capacity,
                                         const char *data, uint64_t key, uint64_t hash) {
    for (size_t i = hash & (capacity - 1);; i = (i + 1) & (capacity - 1)) {
        struct sinter_map_slot *slot = &slots[i];
        if (!slot->used) return slot;
        if (slot->hash == hash && slot->key == key &&
            (!data || key == 0 || memcmp(slot->data, data, (size_t)key) == 0))
            return slot;
    }
}

static void grow(sinter_map *map) {
    size_t capacity = map->capacity ? map->capacity * 2 : 16;
    struct sinter_map_slot *slots = SINTER_NEW_ARRAY(map->arena, struct sinter_map_slot, capacity);
    for (size_t i = 0; i < map->capacity; i++) {
        const struct sinter_map_slot *slot = &map->slots[i];
        if (slot->used) *find_slot(slots, capacity, slot->data, slot->key, slot->hash) = *slot;
    }
    map->slots = slots;
    map->capacity = capacity;
}

static void put(sinter_map *map, const char *data, uint64_t key, uint64_t hash, uint64_t value) {
    if (map->count + 1 > map->capacity / 4 * 3) grow(map);
    struct sinter_map_slot *slot = find_slot(map->slots, map->capacity, data, key, hash);
    if (!slot->used) {
        map->count++;
        slot->used = true;
        slot->hash = hash;
        slot->key = key;
        if (data) slot->data = sinter_arena_copy_string(map->arena, data, (size_t)key);
    }
    slot->value = value;
}

static bool find(const sinter_map *map, const char *data, uint64_t key, uint64_t hash,
                 uint64_t *out_value) {
    if (!map->capacity) return false;
    const struct sinter_map_slot *slot = find_slot(map->slots, map->capacity, data, key, hash);
    if (slot->used) *out_value = slot->value;
    return slot->used;
}

/* An empty view may have no data, and no data means a number key. */
static const char *key_data(sinter_string key) {
    return key.data ? key.data : "";
}

void sinter_map_put_string(sinter_map *map, sinter_string key, uint64_t value) {
    put(map, key_data(key), key.size, sinter_hash(key.data, key.size, 0), value);
}

bool sinter_map_find_string(const sinter_map *map, sinter_string key, uint64_t *out_value) {
    return find(map, key_data(key), key.size, sinter_hash(key.data, key.size, 0), out_value);
}

void sinter_map_put(sinter_map *map, uint64_t key, uint64_t value) {
    put(map, NULL, key, sinter_hash(&key, sizeof key, 0), value);
}

bool sinter_map_find(const sinter_map *map, uint64_t key, uint64_t *out_value) {
    return find(map, NULL, key, sinter_hash(&key, sizeof key, 0), out_value);
}

void sinter_map_copy(sinter_map *out_map, const sinter_map *source, sinter_arena *arena) {
    *out_map = *source;
    out_map->arena = arena;
    if (source->capacity)
        out_map->slots =
            sinter_arena_copy(arena, source->slots, source->capacity * sizeof *source->slots);
}
