/* What the interpreter knows of memory that something under way touches: copies to shared memory, products of wgmma axes. Each byte has a
 * state; what is begun is in the group that the next commit closes, and a wait says which groups are done.
 * Private to interpret.c. Test: tests/codegen/loops/copy.loops, tests/codegen/schedule/block_wgmma.loops */
#pragma once
#include "ir/base/arena.h"
#include "ir/base/vector.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SINTER_UNDER_WAY_GROUPS = 64 }; /* that are told apart */

/* Of a byte. From COPIED on it is the kind and, modulo so many, the group. */
typedef enum sinter_byte_state {
    SINTER_BYTE_UNWRITTEN,
    SINTER_BYTE_WRITTEN,
    SINTER_BYTE_COPIED = SINTER_UNDER_WAY_GROUPS,      /* a copy writes it */
    SINTER_BYTE_OPERAND = 2 * SINTER_UNDER_WAY_GROUPS, /* a product reads it */
    SINTER_BYTE_SUM = 3 * SINTER_UNDER_WAY_GROUPS      /* a product adds to it */
} sinter_byte_state;
static inline sinter_byte_state sinter_byte_kind(unsigned char state) {
    return state < SINTER_UNDER_WAY_GROUPS ? (sinter_byte_state)state
                                           : (sinter_byte_state)(state - state % SINTER_UNDER_WAY_GROUPS);
}

typedef struct sinter_under_way_item {
    unsigned char *states; /* of its bytes, all alike */
    size_t size;
    uint64_t group;
} sinter_under_way_item;
/* Zeroed: nothing is. */
typedef struct sinter_under_way {
    SINTER_VECTOR(sinter_under_way_item) items;
    uint64_t groups; /* committed */
} sinter_under_way;

/* The bytes get the kind, of the group that is open. */
void sinter_under_way_begin(sinter_under_way *all, sinter_arena *arena, unsigned char *states, size_t size, sinter_byte_state kind);
/* All groups but the last `pending` are done: their bytes are written. */
void sinter_under_way_wait(sinter_under_way *all, uint64_t pending);
/* The memory behind these states is used anew. */
void sinter_under_way_forget(sinter_under_way *all, const unsigned char *states, size_t size);

/* A box whose copy is done once a phase is over: number `phase` of those that are counted at `counter`. */
typedef struct sinter_under_way_box {
    unsigned char *states;
    size_t size;
    const void *counter;
    int64_t phase;
} sinter_under_way_box;
typedef SINTER_VECTOR(sinter_under_way_box) sinter_under_way_boxes;
void sinter_under_way_begin_box(sinter_under_way_boxes *all, sinter_arena *arena, const sinter_under_way_box *box);
/* The phase is over, and those before it are: their bytes are written. */
void sinter_under_way_end_boxes(sinter_under_way_boxes *all, const void *counter, int64_t phase);
/* The memory behind these states is used anew. False: a copy to it is still under way. */
bool sinter_under_way_forget_boxes(sinter_under_way_boxes *all, const unsigned char *states, size_t size);
