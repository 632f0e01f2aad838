/* Packing of lifetimes into offsets: dynamic storage allocation with everything known ahead.
 *
 * Items are placed one by one, each into the smallest gap that fits among those already placed that live at the same
 * time. Two orders are tried, by size (Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference",
 * 2020) and by time; the smaller result counts. Test: tests/unit/plan_memory_test.c */
#include "codegen/plan_memory.h"

#include <stdlib.h>

typedef struct entry {
    uint64_t size;
    uint32_t first, last, index;
} entry;

static int by_size(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static int by_time(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return by_size(a, b);
}

typedef struct packing {
    uint64_t *offsets; /* by index of the item */
    uint32_t *placed;  /* indices, by offset */
    size_t placed_count;
    uint64_t total;
} packing;

static void place(packing *p, const sinter_plan_item *items, entry one) {
    uint64_t cursor = 0, best = UINT64_MAX, best_gap = UINT64_MAX;
    for (size_t i = 0; i < p->placed_count; i++) {
        const sinter_plan_item *other = &items[p->placed[i]];
        if (other->first > one.last || other->last < one.first) continue;
        uint64_t start = p->offsets[p->placed[i]];
        if (start > cursor && start - cursor >= one.size && start - cursor < best_gap) {
            best = cursor;
            best_gap = start - cursor;
        }
        if (start + other->size > cursor) cursor = start + other->size;
    }
    uint64_t offset = best == UINT64_MAX ? cursor : best;
    p->offsets[one.index] = offset;
    if (offset + one.size > p->total) p->total = offset + one.size;
    size_t at = p->placed_count++;
    for (; at > 0 && p->offsets[p->placed[at - 1]] > offset; at--)
        p->placed[at] = p->placed[at - 1];
    p->placed[at] = one.index;
}

uint64_t sinter_plan_pack(sinter_plan_item *items, size_t count, sinter_arena *arena) {
    int (*const orders[])(const void *, const void *) = {by_size, by_time};
    entry *entries = SINTER_NEW_ARRAY(arena, entry, count);
    for (size_t i = 0; i < count; i++)
        entries[i] = (entry){items[i].size, items[i].first, items[i].last, (uint32_t)i};
    packing best = {.total = UINT64_MAX};
    for (size_t k = 0; k < sizeof orders / sizeof *orders; k++) {
        packing p = {SINTER_NEW_ARRAY(arena, uint64_t, count),
                     SINTER_NEW_ARRAY(arena, uint32_t, count), 0, 0};
        qsort(entries, count, sizeof *entries, orders[k]);
        for (size_t i = 0; i < count; i++) place(&p, items, entries[i]);
        if (p.total < best.total) best = p;
    }
    for (size_t i = 0; i < count; i++) items[i].offset = best.offsets[i];
    return best.total;
}
