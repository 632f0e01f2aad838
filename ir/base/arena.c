/* Bump allocator. Blocks are chained newest first and double in size
 * up to a cap; a request larger than a block gets one of its own. Memory is zeroed and 16-byte
 * aligned. Test: tests/unit/base_test.c */
#include "ir/base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 16, FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

struct sinter_arena_block {
    _Alignas(ALIGNMENT) sinter_arena_block *next;
    size_t size; /* bytes after the header */
};

void sinter_arena_init(sinter_arena *arena) {
    *arena = (sinter_arena){0};
}

void sinter_arena_deinit(sinter_arena *arena) {
    for (sinter_arena_block *block = arena->blocks; block;) {
        sinter_arena_block *next = block->next;
        sinter_heap_free(block);
        block = next;
    }
    *arena = (sinter_arena){0};
}

static sinter_arena_block *add_block(sinter_arena *arena, size_t size) {
    if (size > SIZE_MAX - sizeof(sinter_arena_block)) sinter_out_of_memory(size);
    sinter_arena_block *block = sinter_heap_alloc(sizeof *block + size);
    block->size = size;
    block->next = arena->blocks;
    arena->blocks = block;
    return block;
}

void *sinter_arena_alloc(sinter_arena *arena, size_t size) {
    if (size > SIZE_MAX - ALIGNMENT) sinter_out_of_memory(size);
    size_t padded = size ? (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    arena->total += padded;
    if (padded > (size_t)(arena->limit - arena->cursor)) {
        size_t block_size = arena->blocks ? arena->blocks->size * 2 : FIRST_BLOCK;
        if (block_size > LARGEST_BLOCK) block_size = LARGEST_BLOCK;
        if (padded > block_size / 4) {
            /* A block of its own, so that the space left in the current one stays in use. */
            sinter_arena_block *block = add_block(arena, padded);
            if (block->next) { /* keep the block being filled at the head: its size sets the next */
                arena->blocks = block->next;
                block->next = arena->blocks->next;
                arena->blocks->next = block;
                return block + 1;
            }
            arena->cursor = arena->limit = (char *)(block + 1) + padded;
            return block + 1;
        }
        sinter_arena_block *block = add_block(arena, block_size);
        arena->cursor = (char *)(block + 1);
        arena->limit = arena->cursor + block_size;
    }
    void *memory = arena->cursor;
    arena->cursor += padded;
    return memory;
}

void *sinter_arena_alloc_array(sinter_arena *arena, size_t count, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) sinter_out_of_memory(SIZE_MAX);
    return sinter_arena_alloc(arena, total);
}

void *sinter_arena_copy(sinter_arena *arena, const void *data, size_t size) {
    void *memory = sinter_arena_alloc(arena, size);
    if (size) memcpy(memory, data, size);
    return memory;
}

char *sinter_arena_copy_string(sinter_arena *arena, const char *data, size_t size) {
    if (size == SIZE_MAX) sinter_out_of_memory(size);
    char *text = sinter_arena_alloc(arena, size + 1);
    if (size) memcpy(text, data, size);
    return text;
}

char *sinter_arena_format(sinter_arena *arena, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(size >= 0);
    char *text = sinter_arena_alloc(arena, (size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return text;
}
