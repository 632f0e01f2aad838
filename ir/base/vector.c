/* Growth of the typed vectors of vector.h: capacity doubles, storage comes from the arena.
 * Test: tests/unit/base_test.c */
#include "ir/base/vector.h"

#include <string.h>

void sinter_vector_grow(sinter_arena *arena, void *vector, size_t wanted, size_t item_size) {
    /* Every SINTER_VECTOR has this layout; memcpy keeps the access free of aliasing questions. */
    struct {
        void *items;
        size_t count, capacity;
    } view;
    memcpy(&view, vector, sizeof view);
    size_t capacity = view.capacity ? view.capacity : 4;
    while (capacity < wanted) capacity = capacity > SIZE_MAX / 2 ? wanted : capacity * 2;
    void *items = sinter_arena_alloc_array(arena, capacity, item_size);
    if (view.count) memcpy(items, view.items, view.count * item_size);
    view.items = items;
    view.capacity = capacity;
    memcpy(vector, &view, sizeof view);
}
