/* Bump allocator. Everything of a module lives in the module's arena and dies with it; a pass has a
 * scratch arena. Blocks come from the heap of heap.h, which says what happens where there is no memory: callers never
 * see NULL. Sizes that come from a file must be checked before they get here.
 * Test: tests/unit/base_test.c */
#pragma once
#include "ir/base/heap.h"

typedef struct sinter_arena_block sinter_arena_block;
typedef struct sinter_arena {
    sinter_arena_block *blocks; /* newest first */
    char *cursor, *limit;
    size_t total; /* bytes handed out, for reports */
} sinter_arena;

void sinter_arena_init(sinter_arena *arena);
void sinter_arena_deinit(sinter_arena *arena);
/* Zeroed memory, aligned for any scalar type (16 bytes). size 0 gives a valid pointer. */
void *sinter_arena_alloc(sinter_arena *arena, size_t size);
/* count * size with overflow check. */
void *sinter_arena_alloc_array(sinter_arena *arena, size_t count, size_t size);
void *sinter_arena_copy(sinter_arena *arena, const void *data, size_t size);
/* NUL-terminated copy of the size bytes at data. */
char *sinter_arena_copy_string(sinter_arena *arena, const char *data, size_t size);
/* printf into the arena. */
char *sinter_arena_format(sinter_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define SINTER_NEW(arena, type) ((type *)sinter_arena_alloc((arena), sizeof(type)))
#define SINTER_NEW_ARRAY(arena, type, count)                                                       \
    ((type *)sinter_arena_alloc_array((arena), (size_t)(count), sizeof(type)))
