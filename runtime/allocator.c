/* See allocator.h. Large blocks begin at a huge page and ask for as many as lie in them whole. */
#include "runtime/allocator.h"
#include <stdlib.h>
#include <sys/mman.h>

void *sinter_allocate(const sinter_allocator *allocator, size_t size, size_t alignment) {
    if (size > SIZE_MAX - alignment) return NULL;
    if (allocator && allocator->allocate)
        return allocator->allocate(allocator->user, size, alignment);
    bool large = size >= SINTER_ABI_HUGE_PAGE;
    void *block = NULL;
    if (posix_memalign(&block, large ? SINTER_ABI_HUGE_PAGE : alignment, size ? size : 1) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (large) madvise(block, size & ~(SINTER_ABI_HUGE_PAGE - 1), MADV_HUGEPAGE); /* a wish */
#endif
    return block;
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
