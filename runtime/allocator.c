/* See allocator.h. Sizes are rounded up to the alignment, as aligned_alloc wants them. */
#include "runtime/allocator.h"
#include <stdlib.h>

void *sinter_allocate(const sinter_allocator *allocator, size_t size, size_t alignment) {
    if (size > SIZE_MAX - alignment) return NULL;
    if (allocator && allocator->allocate)
        return allocator->allocate(allocator->user, size, alignment);
    size_t rounded = (size + alignment - 1) / alignment * alignment;
    return aligned_alloc(alignment, rounded ? rounded : alignment);
}

void sinter_deallocate(const sinter_allocator *allocator, void *pointer, size_t size,
                       size_t alignment) {
    if (!pointer) return;
    if (allocator && allocator->allocate) {
        if (allocator->deallocate) allocator->deallocate(allocator->user, pointer, size, alignment);
        return;
    }
    free(pointer);
}
