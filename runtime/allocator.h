/* The caller's allocator or malloc, behind one pair of functions. Test: tests/unit/executable_test.c */
#pragma once
#include "runtime/sinter_runtime.h"

void *sinter_allocate(const sinter_allocator *allocator, size_t size, size_t alignment); /* allocator: NULL is malloc */
void sinter_deallocate(const sinter_allocator *allocator, void *pointer, size_t size, size_t alignment);
