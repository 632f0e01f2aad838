/* Typed growing array whose storage is in an arena: SINTER_VECTOR(int) v = {0}; pushes may move the
 * items, so hold indices across a push, not pointers. Never freed on its own. */
#pragma once
#include "ir/base/arena.h"

#define SINTER_VECTOR(type)                                                                        \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count, capacity;                                                                    \
    }

/* Grow to hold at least `wanted` items; the vector's address, its item size. */
void sinter_vector_grow(sinter_arena *arena, void *vector, size_t wanted, size_t item_size);

#define sinter_vector_reserve(arena, vector, wanted)                                               \
    ((size_t)(wanted) > (vector)->capacity                                                         \
         ? sinter_vector_grow((arena), (vector), (size_t)(wanted), sizeof *(vector)->items)        \
         : (void)0)
#define sinter_vector_push(arena, vector, ...)                                                     \
    (sinter_vector_reserve((arena), (vector), (vector)->count + 1),                                \
     (vector)->items[(vector)->count++] = (__VA_ARGS__))
