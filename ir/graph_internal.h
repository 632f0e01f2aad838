/* The module's representation, shared by graph.c, graph_mutate.c, graph_clone.c, attr.c, print.c, mesh.c and sharding.c and by
 * nothing else: everyone else goes through ir/graph.h. */
#pragma once
#include "ir/graph.h"

typedef struct sinter_metadata {
    sinter_string key, value;
} sinter_metadata;

struct sinter_module {
    sinter_arena arena;
    const char *name;
    sinter_dim_table *dims;
    SINTER_VECTOR(sinter_value_info) values; /* item 0 of the three is a dummy: ids start at 1 */
    SINTER_VECTOR(sinter_node_info) nodes;
    SINTER_VECTOR(sinter_region_info) regions;
    SINTER_VECTOR(sinter_tensor *) tensors; /* deinited with the module */
    SINTER_VECTOR(sinter_metadata) metadata;
    sinter_map names;       /* value name -> value id; 0: the name is free again */
    sinter_map name_counts; /* name -> how often it had to be made unique */
    sinter_region main;
    const struct sinter_mesh *mesh; /* NULL: none */
    uint32_t *numbers; /* kept for labels until a value comes, goes or moves; NULL: not counted yet */
};

/* Numbers of the unnamed values, in the order of printing, by value id. Items of named and detached values are 0. */
const uint32_t *sinter_graph_number_values(const sinter_module *module, sinter_arena *arena);

/* Deep copies into the arena; tensors are shared, they belong to the module. */
sinter_attr sinter_attr_copy(sinter_arena *arena, const sinter_attr *attr);
sinter_type sinter_graph_copy_type(sinter_arena *arena, const sinter_type *type);
