/* The typed SSA graph. A module owns everything: its arena, its dims, its values, nodes and regions,
 * all named by numbers that stay valid for the module's life (0 means none). A region has arguments,
 * a list of nodes in an order where definitions come before uses, and ends in a `yield` node whose
 * operands are its results. Nodes of control ops own regions; a region's nodes may use values of the
 * regions around it.
 *
 * Building: ir/build.h. Changing: only through ir/rewrite.h. The functions here that mutate are for
 * those two, the parser and the importers. Test: tests/unit/graph_test.c, tests/ir/ */
#pragma once
#include "ir/op.h"
#include "ir/tensor.h"

typedef uint32_t sinter_value, sinter_node, sinter_region;

typedef struct sinter_attr {
    sinter_string name;
    sinter_attr_kind kind;
    union {
        int64_t int_value;
        double float_value;
        sinter_string string_value;
        struct {
            const int64_t *items;
            size_t count;
        } ints;
        struct {
            const double *items;
            size_t count;
        } floats;
        struct {
            const sinter_string *items;
            size_t count;
        } strings;
        const sinter_tensor *tensor; /* owned by the module (released with it) */
        const sinter_type *type;
        sinter_dtype dtype;
    };
} sinter_attr;

typedef struct sinter_use {
    sinter_node node;
    uint32_t operand;
} sinter_use;

typedef struct sinter_value_info {
    sinter_type type;
    const char *name;        /* printed after %, unique in the module; NULL: printed as a number */
    sinter_node definition;  /* 0: argument of `region` */
    sinter_region region;    /* of arguments */
    uint32_t index;          /* which result or argument */
    SINTER_VECTOR(sinter_use) uses;
    /* Symbolic contents of a small integer (or bool) tensor of static element count, row-major, where known:
     * what lets Shape -> Gather -> Concat -> Reshape keep its dims. 0 for an unknown element. Set by inference. */
    const sinter_dim *content;
    uint32_t content_count;
    bool erased;
    const struct sinter_sharding *sharding; /* ir/sharding.h; NULL: nothing is said */
} sinter_value_info;

typedef struct sinter_node_info {
    sinter_op op;
    const sinter_value *operands; /* 0: absent optional operand */
    const sinter_value *results;  /* 0: unused optional result, not computed */
    const sinter_attr *attributes;
    const sinter_region *regions;
    uint32_t operand_count, result_count, attribute_count, region_count;
    const char *location; /* "model.onnx: node 'Conv_12' (Conv)"; fused nodes join theirs with " + " */
    sinter_region parent;
    sinter_node previous, next; /* in the parent's list */
    bool erased;
} sinter_node_info;

typedef struct sinter_region_info {
    const sinter_value *arguments;
    uint32_t argument_count;
    sinter_node first, last; /* last is the yield once the region is complete */
    sinter_node owner;       /* 0: the main region */
} sinter_region_info;

typedef struct sinter_module sinter_module;

sinter_module *sinter_module_create(const char *name);
void sinter_module_destroy(sinter_module *module); /* NULL allowed */
sinter_module *sinter_module_clone(const sinter_module *module); /* weights are shared */
/* Part of a module as a module of its own: its inputs are `sources`, any values of the main region, its outputs `targets`, and
 * it has the nodes that the targets need, up to the sources. Weights are shared, and ids of values and nodes are those of the
 * original. Symbols that the types of the sources tell stay; where a source has an expression of others, such as N - 2, its
 * length gets a name of its own. NULL after an error: a target needs an input, or a symbol, that no source gives. */
sinter_module *sinter_module_extract(sinter_module *module, const sinter_value *sources, size_t source_count,
                                     const sinter_value *targets, size_t target_count, sinter_diag *diag);
const char *sinter_module_name(const sinter_module *module);
sinter_arena *sinter_module_arena(sinter_module *module);
sinter_dim_table *sinter_module_dims(const sinter_module *module);
sinter_region sinter_module_main(const sinter_module *module);
/* Key/value text the file carried (producer, licence, ...), printed and exported. */
void sinter_module_set_metadata(sinter_module *module, sinter_string key, sinter_string value);
size_t sinter_module_metadata(const sinter_module *module, size_t index, sinter_string *out_key,
                              sinter_string *out_value); /* returns the count; index may be past it */

/* Pointers below stay valid until the next value, node or region is added. */
const sinter_value_info *sinter_value_get(const sinter_module *module, sinter_value value);
const sinter_node_info *sinter_node_get(const sinter_module *module, sinter_node node);
const sinter_region_info *sinter_region_get(const sinter_module *module, sinter_region region);
/* The node of `region` that is, or has inside, `node`; 0: it is elsewhere. */
sinter_node sinter_node_within(const sinter_module *module, sinter_node node, sinter_region region);
const sinter_type *sinter_value_type(const sinter_module *module, sinter_value value);
uint32_t sinter_module_value_limit(const sinter_module *module); /* ids are below this */
uint32_t sinter_module_node_limit(const sinter_module *module);
uint32_t sinter_module_region_limit(const sinter_module *module);

/* Operand i, 0 where absent or past the end. */
sinter_value sinter_node_operand(const sinter_module *module, sinter_node node, uint32_t i);
sinter_value sinter_node_result(const sinter_module *module, sinter_node node, uint32_t i);
/* SINTER_OP_NONE for no node. */
sinter_op sinter_node_op(const sinter_module *module, sinter_node node);
/* The node that yields the value; 0 for no value and for arguments of regions. */
sinter_node sinter_value_definition(const sinter_module *module, sinter_value value);
bool sinter_value_has_one_use(const sinter_module *module, sinter_value value);
/* A conversion to a wider float, which changes no value. */
bool sinter_node_widens_float(const sinter_module *module, sinter_node node);
/* A contraction that multiplies the result reads through the node, on a GPU or elsewhere: a cast to a wider float, or what units for matrices do. */
bool sinter_node_makes_factor(const sinter_module *module, sinter_node node, bool has_device);
/* The constant a value is, or NULL (definition is `constant`; no look-through). */
const sinter_tensor *sinter_value_constant(const sinter_module *module, sinter_value value);
/* Elements of a small integer tensor known at compile time: constant or fully known content. count <= capacity. */
bool sinter_value_known_ints(const sinter_module *module, sinter_value value, int64_t *out_items, size_t capacity,
                             size_t *out_count);
/* Like the above with symbolic elements; false where any element is unknown. */
bool sinter_value_known_dims(sinter_module *module, sinter_value value, const sinter_dim **out_items,
                             size_t *out_count);
/* Printable name, "%conv1" or "%17", in a buffer of the module's arena. */
const char *sinter_value_label(sinter_module *module, sinter_value value);
/* Where a node is, for messages: its location, else "module 'm': node %y (conv)". */
const char *sinter_node_where(sinter_module *module, sinter_node node);
/* What the world calls the arguments and results of the main region. An output is named by the attribute `names`
 * of the main yield where there is one (rewrites set it before a replacement would change a name), else like the
 * value; "input_<i>" and "output_<i>" where nothing has a name. */
uint32_t sinter_module_input_count(const sinter_module *module);
uint32_t sinter_module_output_count(const sinter_module *module);
sinter_value sinter_module_input(const sinter_module *module, uint32_t index);
sinter_value sinter_module_output(const sinter_module *module, uint32_t index);
bool sinter_value_is_output(const sinter_module *module, sinter_value value); /* of the module */
const char *sinter_module_input_name(sinter_module *module, uint32_t index);
const char *sinter_module_output_name(sinter_module *module, uint32_t index);
/* Appends values of the main region to its results, so that a run yields them too. For tools, before any pass. */
void sinter_module_add_outputs(sinter_module *module, const sinter_value *values, uint32_t count);

/* Attributes: what the node holds, else the schema's default. find_ returns NULL where neither is there. */
const sinter_attr *sinter_node_find_attr(const sinter_module *module, sinter_node node, const char *name);
int64_t sinter_node_get_int(const sinter_module *module, sinter_node node, const char *name, int64_t otherwise);
double sinter_node_get_float(const sinter_module *module, sinter_node node, const char *name, double otherwise);
sinter_string sinter_node_get_string(const sinter_module *module, sinter_node node, const char *name);
/* count 0 where absent. */
size_t sinter_node_get_ints(const sinter_module *module, sinter_node node, const char *name,
                            const int64_t **out_items);
/* Element i of the list, `otherwise` where it has fewer. */
int64_t sinter_node_get_int_at(const sinter_module *module, sinter_node node, const char *name, size_t i,
                               int64_t otherwise);
/* The attribute `axis`, counted from the front. */
uint32_t sinter_node_get_axis(const sinter_module *module, sinter_node node, int64_t otherwise, uint32_t rank);
size_t sinter_node_get_floats(const sinter_module *module, sinter_node node, const char *name,
                              const double **out_items);
/* NONE where absent. */
sinter_dtype sinter_node_get_dtype(const sinter_module *module, sinter_node node, const char *name);

/* ---- primitives for build, rewrite, parse and importers ---- */
sinter_region sinter_region_add(sinter_module *module);
sinter_value sinter_region_add_argument(sinter_module *module, sinter_region region, sinter_type type,
                                        const char *name);
typedef struct sinter_node_spec {
    sinter_op op;
    const sinter_value *operands;
    const sinter_attr *attributes; /* deep-copied, sorted by the schema's order */
    const sinter_region *regions;  /* each owned by no node yet */
    uint32_t operand_count, attribute_count, region_count, result_count;
    const char *location;
} sinter_node_spec;
/* Inserts before `before`, or at the end of region where that is 0. Results get type NONE: inference fills them. */
sinter_node sinter_node_add(sinter_module *module, sinter_region region, sinter_node before,
                            const sinter_node_spec *spec);
void sinter_node_set_operand(sinter_module *module, sinter_node node, uint32_t index, sinter_value value);
void sinter_node_set_attr(sinter_module *module, sinter_node node, const sinter_attr *attr); /* add or replace */
void sinter_node_move_before(sinter_module *module, sinter_node node, sinter_node before);
void sinter_node_move_to(sinter_module *module, sinter_node node, sinter_region region, sinter_node before);
void sinter_node_drop_result(sinter_module *module, sinter_node node, uint32_t index); /* has no uses */
void sinter_node_erase(sinter_module *module, sinter_node node); /* results have no uses; regions go too */
void sinter_node_set_location(sinter_module *module, sinter_node node, const char *location); /* copied; NULL: none */
void sinter_value_set_type(sinter_module *module, sinter_value value, sinter_type type);
void sinter_value_set_name(sinter_module *module, sinter_value value, const char *name); /* made unique */
void sinter_value_set_content(sinter_module *module, sinter_value value, const sinter_dim *items, uint32_t count);
void sinter_value_replace_uses(sinter_module *module, sinter_value old_value, sinter_value new_value);
/* The module keeps the tensor (takes its storage reference) and releases it when destroyed. */
const sinter_tensor *sinter_module_keep_tensor(sinter_module *module, sinter_tensor tensor);

/* Attribute values. */
sinter_attr sinter_attr_int(const char *name, int64_t value);
sinter_attr sinter_attr_float(const char *name, double value);
sinter_attr sinter_attr_string(const char *name, sinter_string value);
sinter_attr sinter_attr_ints(const char *name, const int64_t *items, size_t count);
sinter_attr sinter_attr_strings(const char *name, const sinter_string *items, size_t count);
sinter_attr sinter_attr_dtype(const char *name, sinter_dtype dtype);
sinter_attr sinter_attr_tensor(const char *name, const sinter_tensor *tensor);
bool sinter_attr_equal(const sinter_attr *a, const sinter_attr *b);

/* for (sinter_node n = first; n; n = next) over a region; safe when n itself is erased in the body. */
#define SINTER_FOR_NODES(module, region, node)                                                     \
    for (sinter_node node = sinter_region_get((module), (region))->first,                          \
                     node##_next = node ? sinter_node_get((module), node)->next : 0;               \
         node;                                                                                     \
         node = node##_next, node##_next = node ? sinter_node_get((module), node)->next : 0)
