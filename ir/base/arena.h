/* Bump allocator. Everything of a module lives in the module's arena and dies with it; a pass has a
 * scratch arena. Running out of memory calls the handler set below (default: message, exit 3), so
 * callers never see NULL. Sizes that come from a file must be checked before they get here.
 * Test: tests/unit/base_test.c */
#pragma once
#include <stddef.h>
#include <stdint.h>

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

typedef void (*sinter_out_of_memory_handler)(size_t size);
/* NULL restores the default. The handler must not return. */
void sinter_set_out_of_memory_handler(sinter_out_of_memory_handler handler);
/* malloc/realloc/free that never return NULL; for the few heap objects that outlive an arena. */
void *sinter_heap_alloc(size_t size); /* zeroed */
void *sinter_heap_realloc(void *pointer, size_t size);
void sinter_heap_free(void *pointer);
