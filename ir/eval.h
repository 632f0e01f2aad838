/* The reference evaluator: slow, obvious, the oracle of everything else. One function `eval_<name>` per eval column
 * of ops.def in eval_*.c, declared from the table. Test: tests/ops/, the ONNX suite with --target=eval */
#pragma once
#include "ir/graph.h"

typedef struct sinter_eval {
    sinter_module *module;
    sinter_node node;
    const sinter_node_info *info;
    const sinter_tensor *const *operands; /* NULL: absent */
    sinter_tensor *results;               /* to be created by the rule; kind NONE for unused ones */
    sinter_diag *diag;
    void *frame; /* the running evaluation, for control ops */
    sinter_arena *scratch; /* memory of the rule, gone when it returns */
    int64_t rank; /* of the mesh, that this is the evaluation of; -1: nobody said */
    const sinter_tensor *const *peers; /* of what exchanges: by rank, then by operand; NULL: there are no others */
} sinter_eval;
typedef bool (*sinter_eval_rule)(sinter_eval *eval);

/* inputs in the order of the main region's arguments; outputs are created, owned by the caller. Input dtype and
 * rank must match; symbolic dims are bound from the inputs and checked. */
bool sinter_eval_module(sinter_module *module, const sinter_tensor *inputs, size_t input_count,
                        sinter_tensor *out_outputs, size_t output_count, sinter_diag *diag);
/* The programs of all ranks of a mesh, together: modules, inputs and outputs by rank. It may be one module for all, or those
 * that were made for the ranks one by one: they meet at their collectives, which must be the same in the same order. */
bool sinter_eval_ranks(sinter_module *const *modules, uint32_t rank_count, const sinter_tensor *const *inputs,
                       size_t input_count, sinter_tensor *const *out_outputs, size_t output_count, sinter_diag *diag);
/* One node on given operands (constant folding, op tests). */
bool sinter_eval_node(sinter_module *module, sinter_node node, const sinter_tensor *const *operands,
                      sinter_tensor *out_results, sinter_diag *diag);
/* Runs a region of a control op inside a rule: arguments in, yields out. */
bool sinter_eval_region(sinter_eval *eval, sinter_region region, const sinter_tensor *arguments, size_t argument_count,
                        sinter_tensor *out_results, size_t result_count);
/* Error with the node's location; returns false. */
bool sinter_eval_error(sinter_eval *eval, const char *format, ...) __attribute__((format(printf, 2, 3)));
