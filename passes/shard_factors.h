/* How a node is cut: which mesh axes each of its factors (ir/axes.h) gets, out of what its operands and results say. What
 * shard-propagate spreads by and shard-partition cuts by; the idea is Shardy's. A mesh axis cuts one factor of a node at most.
 * Test: tests/passes/shard_propagate/ */
#pragma once
#include "ir/axes.h"
#include "ir/sharding.h"

/* What is known of a value while shardings spread. */
typedef struct sinter_shard_value {
    sinter_sharding *sharding; /* NULL: no tensor */
    sinter_value *origins;     /* by dim: the value that a user said it of; 0: nobody */
    bool is_user;              /* somebody said something of this one */
    bool is_heard;             /* what is said of it counts: all but constants of which nothing is */
} sinter_shard_value;

typedef struct sinter_shard_state {
    sinter_module *module;
    const sinter_mesh *mesh;
    sinter_arena *arena;
    sinter_shard_value *values; /* by id */
    sinter_diag *report;        /* conflicts, as warnings; NULL: nobody asks */
} sinter_shard_state;

typedef struct sinter_shard_node {
    sinter_axis_map map;
    bool *usable;            /* by factor: it may be cut */
    sinter_mesh_axes *cuts;  /* by factor */
    sinter_value *origins;   /* by factor */
} sinter_shard_node;

/* State of all values from the module's words; dims of which nothing is said are open. */
void sinter_shard_state_init(sinter_shard_state *state, sinter_module *module, sinter_arena *arena);
/* Needs types of whole values. */
void sinter_shard_describe(const sinter_shard_state *state, sinter_node node, sinter_shard_node *out_node);
/* Who asks for what, strongest first: constants, then other values of which a user speaks; of them the larger, which would
 * be more to move; then operands before results. */
void sinter_shard_resolve(const sinter_shard_state *state, sinter_node node, sinter_shard_node *n);
/* In an axis of several factors only the outer ones may be cut, all but the last of them in full. Cuts that are not so are dropped:
 * false where one was. */
bool sinter_shard_drop_unfit(const sinter_shard_state *state, sinter_shard_node *n);
/* What the node takes of an operand of so many dims, or leaves of a result, by its cuts; sums over ranks left aside. In the state's arena. */
sinter_sharding *sinter_shard_project_all(const sinter_shard_state *state, const sinter_shard_node *n, bool is_result,
                                          uint32_t index, uint32_t rank);
/* The axis has all units of a recurrence once a gate: it is whole, and a rank cuts its units out of every gate. */
bool sinter_shard_is_gates(const sinter_shard_node *n, const sinter_axis_link *link);
/* What the cuts of a node mean for an axis of an operand or result, with the origin of the last of them. */
sinter_mesh_axes sinter_shard_project(const sinter_shard_state *state, const sinter_shard_node *n, bool is_result,
                                      uint32_t index, uint32_t axis, sinter_value *out_origin);
/* Parts that the cuts of a node leave an operand in, gates too. */
double sinter_shard_operand_parts(const sinter_shard_state *state, const sinter_shard_node *n, uint32_t index, const sinter_type *type);
/* Axes over which ranks hold terms of the results, and how they combine. */
sinter_mesh_axes sinter_shard_terms(const sinter_shard_node *n, sinter_axis_combine *out_combine);
