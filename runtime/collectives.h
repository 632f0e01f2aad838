/* Ranks of a mesh as threads of one process: the services->exchange of their programs (runtime/abi.h).
 *
 * Each rank runs its program in a thread of the caller's, with the services of that rank. Sums are trees in the order of places -
 * neighbours first, then pairs of them - each rounded to the element type: the same bits in every run, and those of
 * ir/eval_collective.c; but where any order is allowed. A rank that does not come within the deadline, left, or brings other words than the rest, is named
 * in the message of every rank that waits for it. Test: tests/unit/collectives_test.c */
#pragma once
#include "runtime/peers.h"
#include "runtime/sinter_runtime.h"

typedef struct sinter_collectives sinter_collectives;
/* Ranks count through the axes, the last one fastest. seconds: how long a rank waits for others in one exchange, for all of them together. */
sinter_status *sinter_collectives_create(const int64_t *axis_sizes, uint32_t axis_count, double seconds,
                                         sinter_collectives **out_collectives);
/* Before any exchange: sums whose digits depend on it (runtime/exchange.h) may be made in the order in which ranks come, which no other run need
 * have. */
void sinter_collectives_allow_any_order(sinter_collectives *collectives);
void sinter_collectives_destroy(sinter_collectives *collectives); /* no rank is in an exchange; NULL allowed */
int64_t sinter_collectives_rank_count(const sinter_collectives *collectives);
/* For one run of the rank's program at a time: one thread, malloc, no trace. Valid as long as the collectives. */
const sinter_abi_services *sinter_collectives_services(const sinter_collectives *collectives, int64_t rank);
/* How the rank waits for its device, beside the others; as long as the collectives. Whoever finds nothing but that it waits for others blames one that
 * does not, or all. */
void sinter_collectives_peers(const sinter_collectives *collectives, int64_t rank, sinter_peers *out_peers);
/* The rank's program has ended, well (NULL) or with a message; who waits for it, now or later, fails. Returns when nobody reads what the rank
 * gave to an exchange; one that fails has done so itself, so that the memory is free when it returns. */
void sinter_collectives_leave(sinter_collectives *collectives, int64_t rank, const char *why);
