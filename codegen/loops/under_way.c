/* See under_way.h. */
#include "codegen/loops/under_way.h"

#include <string.h>

void sinter_under_way_begin(sinter_under_way *all, sinter_arena *arena, unsigned char *states,
                            size_t size, sinter_byte_state kind) {
    const unsigned char state = (unsigned char)(kind + all->groups % SINTER_UNDER_WAY_GROUPS);
    const sinter_under_way_item begun = {states, size, all->groups};
    if (*states == state) return; /* the group has it already */
    memset(states, state, size);
    sinter_vector_push(arena, &all->items, begun);
}

void sinter_under_way_wait(sinter_under_way *all, uint64_t pending) {
    size_t left = 0;
    for (size_t i = 0; i < all->items.count; i++) {
        const sinter_under_way_item *item = &all->items.items[i];
        const bool newer = *item->states % SINTER_UNDER_WAY_GROUPS !=
                           item->group % SINTER_UNDER_WAY_GROUPS; /* an item behind it has them */
        if (item->group + pending >= all->groups)
            all->items.items[left++] = *item;
        else if (!newer)
            memset(item->states, SINTER_BYTE_WRITTEN, item->size);
    }
    all->items.count = left;
}

void sinter_under_way_forget(sinter_under_way *all, const unsigned char *states, size_t size) {
    size_t left = 0;
    for (size_t i = 0; i < all->items.count; i++) {
        const sinter_under_way_item *item = &all->items.items[i];
        if (item->states < states || item->states >= states + size)
            all->items.items[left++] = *item;
    }
    all->items.count = left;
}

void sinter_under_way_begin_box(sinter_under_way_boxes *all, sinter_arena *arena,
                                const sinter_under_way_box *box) {
    memset(box->states, SINTER_BYTE_COPIED, box->size);
    sinter_vector_push(arena, all, *box);
}

void sinter_under_way_end_boxes(sinter_under_way_boxes *all, const void *counter, int64_t phase) {
    size_t left = 0;
    for (size_t i = 0; i < all->count; i++) {
        const sinter_under_way_box *box = &all->items[i];
        if (box->counter == counter && box->phase <= phase)
            memset(box->states, SINTER_BYTE_WRITTEN, box->size);
        else
            all->items[left++] = *box;
    }
    all->count = left;
}

bool sinter_under_way_forget_boxes(sinter_under_way_boxes *all, const unsigned char *states,
                                   size_t size) {
    size_t left = 0;
    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].states < states || all->items[i].states >= states + size)
            all->items[left++] = all->items[i];
    const bool all_done = left == all->count;
    all->count = left;
    return all_done;
}
