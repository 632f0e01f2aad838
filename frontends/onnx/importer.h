/* What the files of the ONNX importer share. A model is imported graph by graph, node by node: each node finds its
 * row in ops.def, and the row's rule builds IR nodes that mean what the newest opset means. A value that could not
 * be built is UNKNOWN; nodes that need it are still looked up, so that every unsupported node is reported in one
 * go, but not built. Test: tests/suites/onnx_suite.py, tests/suites/bad_input.py */
#pragma once
#include "frontends/onnx/tensor_proto.h"
#include "ir/build.h"

enum {
    SINTER_ONNX_NEWEST_OPSET = 27,
    SINTER_ONNX_MAX_ERRORS = 100,
    SINTER_ONNX_MAX_CALLS = 50,       /* nested calls of model-local functions */
    SINTER_ONNX_MAX_NODES = 1 << 19   /* after functions are inlined: they may double at every level */
};
#define SINTER_ONNX_UNKNOWN UINT32_MAX /* a value that a failed node would have made */

typedef struct sinter_onnx_node sinter_onnx_node;
/* Builds the node: fills node->results. False after an error. */
typedef bool (*sinter_onnx_rule)(sinter_onnx_node *node);

typedef struct sinter_onnx_row {
    const char *domain, *name;
    int32_t since;      /* first opset that the row holds for */
    sinter_op op;       /* NONE where the rule knows */
    const char *edits;  /* see ops.def */
    sinter_onnx_rule rule;
} sinter_onnx_row;

typedef struct sinter_onnx_opset {
    const char *domain;
    int64_t version;
} sinter_onnx_opset;
typedef struct sinter_onnx_opsets {
    const sinter_onnx_opset *items;
    size_t count;
} sinter_onnx_opsets;

/* A call of a model-local function: where its attribute references lead. */
typedef struct sinter_onnx_call {
    const struct sinter_onnx_call *outer; /* NULL: called from the model's graphs */
    const Onnx__NodeProto *node;
    const Onnx__FunctionProto *function;
    const char *where;
    uint32_t depth;
} sinter_onnx_call;

/* Names of one graph or function body. */
typedef struct sinter_onnx_scope {
    const struct sinter_onnx_scope *outer; /* graphs see the names around them, functions do not */
    sinter_map values;                     /* name -> sinter_value, 0 (absent) or UNKNOWN */
    sinter_region region;
    sinter_onnx_opsets opsets;
    const sinter_onnx_call *call; /* NULL outside functions */
} sinter_onnx_scope;

typedef struct sinter_onnx_importer {
    sinter_module *module;
    sinter_arena scratch; /* messages, scopes; lives as long as the import */
    sinter_diag *diag;
    const char *path, *name; /* name: of the file without its folder, for locations */
    const Onnx__ModelProto *model;
    sinter_tensor_source source;
    sinter_wire_spans spans;
    sinter_external_data external;
    sinter_map functions; /* "domain\nname\noverload" -> index + 1 */
    sinter_map symbols;   /* dim_param as written -> sinter_dim */
    sinter_map outputs;   /* names of the model's outputs, kept for them */
    size_t node_count, error_count, hidden_count;
    bool failed, gave_up;
} sinter_onnx_importer;

struct sinter_onnx_node {
    sinter_onnx_importer *importer;
    const sinter_onnx_scope *scope;
    const Onnx__NodeProto *proto;
    const sinter_onnx_row *row;
    int64_t version; /* of the domain's opset */
    const char *where;
    sinter_builder build;
    const sinter_value *operands; /* 0: absent; absent ones at the end are cut off */
    uint32_t operand_count;
    sinter_value *results; /* proto->n_output of them */
    bool failed;           /* a getter below reported an error */
};

/* ---- import.c ---- */
/* Reports and marks the import as failed; after MAX_ERRORS further ones are only counted. Always false. */
bool sinter_onnx_error(sinter_onnx_importer *importer, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- import_type.c ---- */
/* Inside sequences and optionals dims are symbols of their own, since elements differ. */
bool sinter_onnx_type(sinter_onnx_importer *importer, const char *where, const char *name,
                      const Onnx__TypeProto *proto, sinter_type *out_type);
/* Decides which dim_params are symbols and which are expressions of symbols. Before the first type. */
void sinter_onnx_declare_symbols(sinter_onnx_importer *importer, const Onnx__GraphProto *graph);

/* ---- import_graph.c ---- */
bool sinter_onnx_main_graph(sinter_onnx_importer *importer, const Onnx__GraphProto *graph);
/* A region with arguments of these types for a subgraph of the node; 0 after an error. */
sinter_region sinter_onnx_region(sinter_onnx_node *node, const Onnx__GraphProto *graph, const sinter_type *types,
                                 uint32_t count);
/* The subgraph's nodes among those of the node itself, its inputs bound to values (one result per output). */
bool sinter_onnx_inline_graph(sinter_onnx_node *node, const Onnx__GraphProto *graph, const sinter_value *inputs,
                              size_t input_count, sinter_value *out_results, size_t result_count);
/* The nodes of a body in an order where definitions come first, into the scope's region. */
bool sinter_onnx_nodes(sinter_onnx_importer *importer, sinter_onnx_scope *scope, Onnx__NodeProto *const *nodes,
                       size_t count, const char *where);
/* The value of a name seen from the scope; false where there is none. */
bool sinter_onnx_lookup(const sinter_onnx_scope *scope, const char *name, sinter_value *out_value);
void sinter_onnx_scope_init(sinter_onnx_importer *importer, sinter_onnx_scope *scope, const sinter_onnx_scope *outer,
                            sinter_region region);

/* ---- import_node.c ---- */
bool sinter_onnx_node_import(sinter_onnx_importer *importer, sinter_onnx_scope *scope, const Onnx__NodeProto *proto);
const sinter_onnx_row *sinter_onnx_find_row(const char *domain, const char *name, int64_t version);
/* Iterates ops.def; NULL past the end. */
const sinter_onnx_row *sinter_onnx_row_at(size_t index);
/* "ai.onnx" and absent are the same domain, "". */
const char *sinter_onnx_domain(const char *domain);
const char *sinter_onnx_node_where(sinter_onnx_importer *importer, const sinter_onnx_scope *scope,
                                   const Onnx__NodeProto *proto);

/* ---- sharding.c ---- */
/* Shardings of values that are in the module by now; of the model's first configuration. */
bool sinter_onnx_read_shardings(sinter_onnx_importer *importer);

/* ---- inline.c ---- */
const Onnx__FunctionProto *sinter_onnx_find_function(sinter_onnx_importer *importer, const Onnx__NodeProto *proto);
bool sinter_onnx_declare_functions(sinter_onnx_importer *importer);
bool sinter_onnx_call_function(sinter_onnx_node *node, const Onnx__FunctionProto *function);
/* Opset imports, with the version of a domain not named falling back to `otherwise`. */
bool sinter_onnx_read_opsets(sinter_onnx_importer *importer, Onnx__OperatorSetIdProto *const *imports, size_t count,
                             const char *where, sinter_onnx_opsets *out_opsets);

/* ---- import_attr.c ---- */
typedef enum sinter_onnx_attr_type { /* AttributeProto.AttributeType */
    SINTER_ONNX_UNDEFINED,
    SINTER_ONNX_FLOAT,
    SINTER_ONNX_INT,
    SINTER_ONNX_STRING,
    SINTER_ONNX_TENSOR,
    SINTER_ONNX_GRAPH,
    SINTER_ONNX_FLOATS,
    SINTER_ONNX_INTS,
    SINTER_ONNX_STRINGS,
    SINTER_ONNX_TENSORS,
    SINTER_ONNX_GRAPHS,
    SINTER_ONNX_SPARSE_TENSOR,
    SINTER_ONNX_SPARSE_TENSORS,
    SINTER_ONNX_TYPE_PROTO,
    SINTER_ONNX_TYPE_PROTOS
} sinter_onnx_attr_type;
sinter_onnx_attr_type sinter_onnx_attr_type_of(const Onnx__AttributeProto *attribute);
/* The attribute that a reference leads to, through the calls around it; NULL where the caller gave none. */
const Onnx__AttributeProto *sinter_onnx_resolve(const sinter_onnx_call *call, const Onnx__AttributeProto *attribute);
/* NULL where absent. */
const Onnx__AttributeProto *sinter_onnx_attr(const sinter_onnx_node *node, const char *name);
bool sinter_onnx_has(const sinter_onnx_node *node, const char *name);
/* The attribute, or `otherwise`. One of another type is an error that fails the node. */
int64_t sinter_onnx_int(sinter_onnx_node *node, const char *name, int64_t otherwise);
double sinter_onnx_float(sinter_onnx_node *node, const char *name, double otherwise);
const char *sinter_onnx_string(sinter_onnx_node *node, const char *name, const char *otherwise);
/* count 0 where absent. */
size_t sinter_onnx_ints(sinter_onnx_node *node, const char *name, const int64_t **out_items);
size_t sinter_onnx_floats(sinter_onnx_node *node, const char *name, const float **out_items);
/* NULL where absent; required ones report. */
const Onnx__GraphProto *sinter_onnx_graph(sinter_onnx_node *node, const char *name, bool required);
/* The attribute as one of the IR's schema; false after an error. *out_given is false where ONNX's spelling means
 * "absent" (element type 0). The tensor of a tensor attribute belongs to the module. */
bool sinter_onnx_convert_attr(sinter_onnx_node *node, const Onnx__AttributeProto *attribute,
                              const sinter_attr_info *schema, sinter_attr *out_attr, bool *out_given);

/* ---- import_draft.c: the generic path, in steps that rules can change ---- */
typedef struct sinter_onnx_draft {
    sinter_op op;
    SINTER_VECTOR(sinter_value) operands;
    SINTER_VECTOR(sinter_attr) attributes;
    SINTER_VECTOR(sinter_region) regions;
} sinter_onnx_draft;
/* Operands and attributes of the node, edited as its row says. */
bool sinter_onnx_draft_begin(sinter_onnx_node *node, sinter_onnx_draft *draft);
void sinter_onnx_draft_set_operand(sinter_onnx_node *node, sinter_onnx_draft *draft, uint32_t index,
                                   sinter_value value);
/* Adds or replaces. */
void sinter_onnx_draft_set_attr(sinter_onnx_node *node, sinter_onnx_draft *draft, sinter_attr attr);
/* Builds it: node->results become its results. */
bool sinter_onnx_draft_finish(sinter_onnx_node *node, sinter_onnx_draft *draft);

/* ---- for rules ---- */
sinter_value sinter_onnx_operand(const sinter_onnx_node *node, uint32_t index); /* 0 where absent */
/* The operand, or 0 after an error that names it. */
sinter_value sinter_onnx_need_operand(sinter_onnx_node *node, uint32_t index, const char *name);
const sinter_type *sinter_onnx_type_of(const sinter_onnx_node *node, sinter_value value);
bool sinter_onnx_wants(const sinter_onnx_node *node, uint32_t result); /* the output has a name */
/* Sets result 0 and is true where value is not 0 (an error was reported then). */
bool sinter_onnx_return(sinter_onnx_node *node, sinter_value value);
/* An error at the node; always false. */
bool sinter_onnx_fail(sinter_onnx_node *node, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* 1-D or scalar integer operand known at import; false (no error) where it is not. */
bool sinter_onnx_known_ints(sinter_onnx_node *node, sinter_value value, int64_t *out_items, size_t capacity,
                            size_t *out_count);
/* A number of any scalar constant. */
bool sinter_onnx_known_number(sinter_onnx_node *node, sinter_value value, double *out_number);
sinter_value sinter_onnx_unsqueeze(sinter_onnx_node *node, sinter_value value, const int64_t *axes, size_t count);
/* Reshape to dims that may be symbolic. */
sinter_value sinter_onnx_reshape_dims(sinter_onnx_node *node, sinter_value value, const sinter_dim *dims,
                                      size_t count);
/* Shorthands: nothing is built and the result is 0 where an operand is 0. */
sinter_value sinter_onnx_op1(sinter_onnx_node *node, sinter_op op, sinter_value a);
sinter_value sinter_onnx_op2(sinter_onnx_node *node, sinter_op op, sinter_value a, sinter_value b);
sinter_value sinter_onnx_op3(sinter_onnx_node *node, sinter_op op, sinter_value a, sinter_value b, sinter_value c);
/* a op number, the number as a scalar of a's element type. */
sinter_value sinter_onnx_op_number(sinter_onnx_node *node, sinter_op op, sinter_value a, double number);

/* The rules named in ops.def. */
#define ONNX(domain, name, since, op, edits, rule) bool sinter_onnx_rule_##rule(sinter_onnx_node *node);
#include "frontends/onnx/ops.def"
#undef ONNX
