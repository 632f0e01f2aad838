/* Sizes that only a run knows and that ranks have parts of: symbols of inputs. The program of a rank is then that of the whole, on fewer
 * indices, and the symbol is its part of them; so every axis of that size has to be cut alike, and nothing may sum over it, move it or read the
 * size. What shard-partition refuses by [shard_c6], and what shard-auto does not choose. Test: tests/passes/shard_partition/, shard_auto/ */
#pragma once
#include "passes/shard_factors.h"

typedef struct sinter_shard_symbols {
    const sinter_shard_state *state;
    sinter_mesh_axes *axes; /* by index of a symbol: what axes of that size are cut over */
    bool any;               /* some are */
} sinter_shard_symbols;

/* By what is said of inputs; or of any value, where it is still to spread. In the state's arena. */
void sinter_shard_find_symbols(const sinter_shard_state *state, bool inputs_only, sinter_shard_symbols *out_symbols);
/* What an axis of this size is cut over; none where the size is no such symbol. */
const sinter_mesh_axes *sinter_shard_symbol_axes(const sinter_shard_symbols *symbols, sinter_dim size);
/* Whether such a symbol is in the expression. */
bool sinter_shard_has_symbol(const sinter_shard_symbols *symbols, sinter_dim size);
/* The first dim of a value of the type whose size has such a symbol in it, and which is not cut as that one is; the rank: none. */
uint32_t sinter_shard_find_unfit_symbol(const sinter_shard_symbols *symbols, const sinter_type *type, const sinter_sharding *sharding);
/* Whether what pads an axis of an operand must not be seen by the node, and what stands for it then (a word of shard_mask). */
bool sinter_shard_sees_padding(const sinter_shard_state *state, sinter_node node, const sinter_shard_node *n, uint32_t index,
                               uint32_t axis, const char **out_fill);
