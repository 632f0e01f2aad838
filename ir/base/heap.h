/* Heap memory that never comes back NULL, and the one home of what happens where there is none.
 *
 * By default that is a message and exit status 3, which suits a program. A library must answer its caller instead: it runs
 * its work in sinter_heap_guard, which releases everything the work had taken so far and returns false. What is released is
 * every block of this heap (so arenas, texts, tensors) and every other resource that was registered with sinter_own: code
 * that may run under a guard registers what it holds of others (mappings, files, LLVM's objects) while it may allocate.
 * A guard is its thread's; a block that another thread's guard owns may not be freed or grown. No frame of a foreign
 * language may lie between guard and allocation.
 * LLVM has its own heap and ends the process where it gets nothing.
 * Test: tests/unit/base_test.c, tests/unit/out_of_memory_test.c */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *sinter_heap_alloc(size_t size);     /* zeroed */
void *sinter_heap_try_alloc(size_t size); /* zeroed, NULL where there is no memory: for sizes that may be enormous */
void *sinter_heap_realloc(void *pointer, size_t size);
void sinter_heap_free(void *pointer); /* NULL allowed */
/* For sizes that overflow before they can be asked for. */
_Noreturn void sinter_out_of_memory(size_t size);

/* Runs body(user). False where memory ran out in it: everything it took is released, and what it wrote to `user` that points
 * there is void. Where it returns true, all that is left belongs to the caller as usual (to the outer guard, if any). */
bool sinter_heap_guard(void (*body)(void *user), void *user, size_t *out_wanted);

/* For work that threads share: each runs its part under a guard of its own, whose leftovers wait in `out_list` until the
 * thread that waits for them all takes them over, into its own guard. */
typedef struct sinter_owned sinter_owned;
bool sinter_heap_guard_thread(void (*body)(void *user), void *user, sinter_owned *out_list, size_t *out_wanted);
void sinter_heap_take_over(sinter_owned *list);

/* A resource that a guard would release, newest first. The record lives in the resource's owner (a struct, a frame) until
 * it is disowned; release may be called from the depth of an allocation and must not allocate. No guard: nothing happens. */
struct sinter_owned {
    struct sinter_owned *older, *newer;
    void (*release)(void *object);
    void *object;
};
void sinter_own(sinter_owned *record, void (*release)(void *object), void *object);
void sinter_disown(sinter_owned *record); /* zeroed, or disowned before: nothing happens */

/* Builds a table of the process's once, whichever thread comes first; memory taken is the process's. Running out of it leaves
 * the table to be built by the next who asks. */
typedef struct sinter_once {
    atomic_bool done;
    pthread_mutex_t lock;
} sinter_once;
#define SINTER_ONCE_INIT {false, PTHREAD_MUTEX_INITIALIZER}
void sinter_once_run(sinter_once *once, void (*build)(void));
