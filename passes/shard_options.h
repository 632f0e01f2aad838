/* The ways in which ranks of the module's mesh can share a node, and what each costs on described hardware: what shard-auto chooses
 * among. Test: tests/passes/shard_auto/ */
#pragma once
#include "ir/estimate.h"
#include "passes/shard_symbols.h"

typedef struct sinter_shard_option {
    const sinter_sharding **operands; /* that it needs; NULL where there is no tensor */
    const sinter_sharding **results;  /* that it leaves, after sums over ranks; NULL the same */
    double seconds;                   /* of a rank, with these sums */
    double exchange_seconds;          /* of these, of what ranks exchange */
    double weight_bytes;              /* that a rank has of its constants */
} sinter_shard_option;

typedef struct sinter_shard_options {
    sinter_node node;
    uint32_t operand_count, result_count;
    SINTER_VECTOR(sinter_shard_option) items; /* the first one shares nothing */
} sinter_shard_options;

/* In the state's arena. weight_bytes: of all weights. symbols: sizes that only a run knows, which are cut as these say. Where there are very
 * many, as on meshes of many axes, those that take least are listed; true: some were left out. */
bool sinter_shard_list_options(const sinter_shard_state *state, const sinter_shard_symbols *symbols, const sinter_hardware *hardware,
                               sinter_node node, double weight_bytes, sinter_shard_options *out_options);
/* Seconds of what the node itself exchanges where it is cut so: what windows read of others' parts, steps of recurrences. */
double sinter_shard_inner_seconds(const sinter_shard_state *state, const sinter_hardware *hardware, sinter_node node,
                                  const sinter_shard_node *cut);
