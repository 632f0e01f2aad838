/* Shape and type inference, by the infer column of ops.def. Also computes the symbolic contents of small integer
 * tensors. One rule = one function `infer_<name>` in infer_*.c, declared from ops.def, so a forgotten one is a
 * link error. Test: tests/ir/infer_*.sir */
#pragma once
#include "ir/graph.h"

/* What a rule takes on trust: two dims whose numbers only a run knows. */
typedef enum sinter_infer_relation {
    SINTER_INFER_EQUAL,
    SINTER_INFER_BROADCASTS,   /* equal, or one of them is 1 */
    SINTER_INFER_BROADCASTS_TO, /* equal, or the first is 1 */
    SINTER_INFER_AT_MOST,      /* the first is not above the second */
    SINTER_INFER_WINDOW        /* a window as large as the first fits into the second */
} sinter_infer_relation;
typedef struct sinter_infer_trust {
    sinter_infer_relation relation;
    sinter_dim a, b;
} sinter_infer_trust;
typedef SINTER_VECTOR(sinter_infer_trust) sinter_infer_trusts;

/* What a rule sees. It sets results[i] (type NONE already set for absent ones) and may set content. */
typedef struct sinter_infer {
    sinter_module *module;
    sinter_dim_table *dims;
    sinter_arena *arena;
    sinter_node node;
    const sinter_node_info *info; /* refreshed by the driver; rules must not add nodes */
    sinter_diag *diag;
    sinter_type *results; /* info->result_count */
    const sinter_dim **contents;
    uint32_t *content_counts;
    sinter_infer_trusts *trusted; /* in `arena`; NULL: nobody asks */
} sinter_infer;
typedef bool (*sinter_infer_rule)(sinter_infer *infer);

/* Infers one node and stores types and contents in its results; regions inside are inferred by the rule. Existing
 * result types that are more precise (a number where inference finds a symbol) are kept, contradictions are errors. */
bool sinter_infer_node(sinter_module *module, sinter_node node, sinter_diag *diag);
/* What inference of the node took on trust, for whoever compiles it to check when it runs; the node is one without regions.
 * False after an error. */
bool sinter_infer_list_trusted(sinter_module *module, sinter_node node, sinter_arena *arena, sinter_infer_trusts *out_list,
                               sinter_diag *diag);
/* All nodes of the region in order, after input types changed or dims were bound. */
bool sinter_infer_region(sinter_module *module, sinter_region region, sinter_diag *diag);
/* Forgets the types and contents of all results inside, also in nested regions: before sinter_infer_region where the
 * shapes of constants or operands were changed on purpose. */
void sinter_infer_forget_region(sinter_module *module, sinter_region region);
/* Bind or bound a symbol (--dim N=8, N=1..2048) everywhere, then infer again. */
bool sinter_infer_bind_dim(sinter_module *module, sinter_string symbol, int64_t min, int64_t max, sinter_diag *diag);
/* The same from "N=8" or "N=1..2048". */
bool sinter_infer_bind_text(sinter_module *module, const char *text, sinter_diag *diag);
/* Whether such a text can be bound: inputs have a symbol of that name. */
bool sinter_infer_has_symbol(const sinter_module *module, const char *text);
/* By how much the whole product of a transposed convolution is longer than y along spatial axis i (below 0: shorter), where auto_pad or
 * output_shape say how long y is: half of that is cut off in front, and the odd one there, too, unless *out_upper. False: pads say what is. */
bool sinter_infer_transposed_excess(sinter_module *module, sinter_node node, uint32_t i, sinter_dim *out_excess, bool *out_upper);
/* Contents of operand i as dims, one per element; elements not known get fresh symbols of CONTENT origin, recorded
 * in the value, so that "reshape to what this tensor says" stays an expression. false (no error reported) where the
 * element count itself is not a number or exceeds 64: the rule then uses symbols of NODE origin. */
bool sinter_infer_demand_content(sinter_infer *infer, uint32_t operand, const sinter_dim **out_items, size_t *out_count);
/* A fresh symbol of NODE origin for dim `index` of result `result`. */
sinter_dim sinter_infer_node_dim(sinter_infer *infer, uint32_t result, uint32_t index, const char *prefix);
/* "model.onnx: node 'x' (conv)" for messages of a rule. */
bool sinter_infer_error(sinter_infer *infer, const char *format, ...) __attribute__((format(printf, 2, 3)));
