/* The heap and its guards. A guard keeps a list of what was taken in it, newest first: every block carries its record in
 * front of it, other resources bring theirs. Where memory runs out the list is released in place, then control goes back to
 * the guard: the only setjmp of the project. Test: tests/unit/base_test.c, tests/unit/out_of_memory_test.c */
#include "ir/base/heap.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct guard {
    struct guard *outer;
    sinter_owned list; /* list.older is the newest record; a ring */
    size_t wanted;
    jmp_buf back;
} guard;

static _Thread_local guard *innermost;

/* ---- records ---- */

static void make_empty(sinter_owned *list) {
    *list = (sinter_owned){.older = list, .newer = list};
}

static void link_record(sinter_owned *list, sinter_owned *record) {
    record->newer = list;
    record->older = list->older;
    record->older->newer = record;
    list->older = record;
}

void sinter_own(sinter_owned *record, void (*release)(void *object), void *object) {
    *record = (sinter_owned){.release = release, .object = object};
    if (innermost) link_record(&innermost->list, record);
}

void sinter_disown(sinter_owned *record) {
    if (!record->newer) return;
    record->newer->older = record->older;
    record->older->newer = record->newer;
    record->newer = record->older = NULL;
}

/* ---- guards ---- */

_Noreturn void sinter_out_of_memory(size_t size) {
    guard *g = innermost;
    if (!g) {
        fprintf(stderr, "error: out of memory: %zu bytes could not be had\n", size);
        exit(3);
    }
    while (g->list.older != &g->list) {
        sinter_owned *newest = g->list.older;
        sinter_disown(newest); /* before: its release may free the record */
        newest->release(newest->object);
    }
    g->wanted = size;
    longjmp(g->back, 1);
}

/* What a body left behind goes to another list, oldest first, or to nobody. */
static void hand_over(sinter_owned *from, sinter_owned *to) {
    while (from->newer != from) {
        sinter_owned *oldest = from->newer;
        sinter_disown(oldest);
        if (to) link_record(to, oldest);
    }
}

/* A frame of its own: what lies in the frame of a setjmp has no certain value after the jump. */
static bool enter(guard *g, void (*body)(void *user), void *user) {
    if (setjmp(g->back)) return false;
    body(user);
    return true;
}

static bool run(void (*body)(void *user), void *user, sinter_owned *heir, size_t *out_wanted) {
    guard g = {.outer = innermost};
    make_empty(&g.list);
    innermost = &g;
    bool done = enter(&g, body, user);
    innermost = g.outer;
    if (done)
        hand_over(&g.list, heir);
    else
        *out_wanted = g.wanted;
    return done;
}

bool sinter_heap_guard(void (*body)(void *user), void *user, size_t *out_wanted) {
    return run(body, user, innermost ? &innermost->list : NULL, out_wanted);
}

bool sinter_heap_guard_thread(void (*body)(void *user), void *user, sinter_owned *out_list,
                              size_t *out_wanted) {
    make_empty(out_list);
    return run(body, user, out_list, out_wanted);
}

void sinter_heap_take_over(sinter_owned *list) {
    hand_over(list, innermost ? &innermost->list : NULL);
}

/* ---- tables of the process ---- */

static void call_build(void *user) {
    void (*const *build)(void) = user;
    (*build)();
}

void sinter_once_run(sinter_once *once, void (*build)(void)) {
    if (atomic_load_explicit(&once->done, memory_order_acquire)) return;
    size_t wanted = 0;
    pthread_mutex_lock(&once->lock);
    bool done = atomic_load(&once->done) || run(call_build, &build, NULL, &wanted);
    atomic_store(&once->done, done);
    pthread_mutex_unlock(&once->lock);
    if (!done) sinter_out_of_memory(wanted);
}

/* ---- blocks ---- */

typedef struct block {
    _Alignas(16) sinter_owned owned;
} block;

static void release_block(void *object) {
    free(object);
}

void *sinter_heap_try_alloc(size_t size) {
    if (size > SIZE_MAX - sizeof(block)) return NULL;
    block *memory = calloc(1, sizeof *memory + size);
    if (!memory) return NULL;
    sinter_own(&memory->owned, release_block, memory);
    return memory + 1;
}

void *sinter_heap_alloc(size_t size) {
    void *memory = sinter_heap_try_alloc(size);
    if (!memory) sinter_out_of_memory(size);
    return memory;
}

void *sinter_heap_realloc(void *pointer, size_t size) {
    if (!pointer) return sinter_heap_alloc(size);
    if (size > SIZE_MAX - sizeof(block)) sinter_out_of_memory(size);
    block *memory = realloc((block *)pointer - 1, sizeof *memory + size);
    if (!memory) sinter_out_of_memory(size);
    sinter_owned *record = &memory->owned;
    record->object = memory;
    if (record->newer) record->newer->older = record->older->newer = record; /* it may have moved */
    return memory + 1;
}

void sinter_heap_free(void *pointer) {
    if (!pointer) return;
    block *memory = (block *)pointer - 1;
    sinter_disown(&memory->owned);
    free(memory);
}
