/* What all ways of exchanging between ranks share (threads: collectives.h; processes: job.h): who is in a group, and how terms
 * become a sum. Sums are trees in the order of places - neighbours first, then pairs of them - each rounded to the element type: the
 * same bits in every run, whoever adds, and those of ir/eval_collective.c. Test: tests/unit/collectives_test.c */
#pragma once
#include "runtime/sinter_runtime.h"

enum { SINTER_EXCHANGE_MAX_AXES = 8, SINTER_EXCHANGE_MAX_RANKS = 65536 };

/* Ranks count through the axes, the last one fastest. */
typedef struct sinter_exchange_mesh {
    int64_t axis_sizes[SINTER_EXCHANGE_MAX_AXES];
    uint32_t axis_count;
    int64_t rank_count;
} sinter_exchange_mesh;

/* Ranks of an exchange by place, and the own place. */
typedef struct sinter_exchange_group {
    int64_t *members;
    int64_t count, place;
} sinter_exchange_group;

sinter_status *sinter_exchange_mesh_init(sinter_exchange_mesh *mesh, const int64_t *axis_sizes, uint32_t axis_count);
/* The group of a rank over axes as sinter_abi_exchange has them. False where the mesh has no such axes, or there is no memory. */
bool sinter_exchange_find_group(const sinter_exchange_mesh *mesh, int64_t rank, uint64_t over, sinter_exchange_group *out_group);
void sinter_exchange_free_group(sinter_exchange_group *group);
/* Where the share of a place of so many elements begins: equal ones where that divides, else some have one more. */
uint64_t sinter_exchange_share(const sinter_exchange_group *group, uint64_t count, int64_t place);
/* Which call of an exchange it is. */
typedef enum sinter_exchange_phase { SINTER_EXCHANGE_WHOLE, SINTER_EXCHANGE_BEGINS, SINTER_EXCHANGE_ENDS } sinter_exchange_phase;
/* The words without the phase; words of kinds but PERMUTE may end before `from`. */
sinter_abi_exchange sinter_exchange_read(const sinter_abi_exchange *given, sinter_exchange_phase *out_phase);
/* What a rank has under way, and its way to begin and end an exchange. */
typedef struct sinter_exchange_turns {
    int64_t rank;
    uint64_t begun, ended;             /* exchanges, so far */
    const sinter_abi_exchange *oldest; /* of all that is under way; read where there is something */
    int32_t (*begin)(void *user, sinter_abi_call *call, const sinter_abi_exchange *words);
    int32_t (*end)(void *user, sinter_abi_call *call); /* the oldest one */
    void *user;
} sinter_exchange_turns;
/* services->exchange: begins, ends, or both, as the words say. Exchanges end in the order in which they begin, SINTER_ABI_EXCHANGES_UNDER_WAY
 * are under way at most, and none while one runs as a whole: else SINTER_ABI_FAILED, and nothing was done. */
int32_t sinter_exchange_take_turn(const sinter_exchange_turns *turns, sinter_abi_call *call, const sinter_abi_exchange *given);
/* Whether the words are those of an exchange on such a mesh. */
bool sinter_exchange_check(const sinter_exchange_mesh *mesh, const sinter_abi_exchange *words);
const char *sinter_exchange_name(const sinter_abi_exchange *words); /* "all_reduce" */
/* Bytes of an element, by ONNX code; 0: no such type, or smaller than a byte. */
size_t sinter_exchange_element_size(int32_t dtype);
/* Whether the last digits of the result depend on the order of the terms, which a run may leave open: a sum or product of f32 or f64 of a
 * group of more than two ranks. (Of two terms there is one order; those of 16 bits, which are rounded after each term, stay in order.) */
bool sinter_exchange_depends_on_order(const sinter_abi_exchange *words, int64_t ranks);
/* Elements [first, end) of count sources, which lie whole in memory, become one, to `target` from its own start on; it may be a
 * source where first is 0. SINTER_ABI_OK, SINTER_ABI_OUT_OF_MEMORY, or SINTER_ABI_FAILED where such elements can't be combined. */
int32_t sinter_exchange_combine(int32_t dtype, int32_t reduction, const void *const *sources, int64_t count, uint64_t first,
                                uint64_t end, void *target);
/* The same as an answer to whoever called: the code and the message "rank 1: ..." in the call. */
int32_t sinter_exchange_fail(sinter_abi_call *call, int32_t code, int64_t rank, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
double sinter_exchange_clock(void); /* seconds that only grow */
