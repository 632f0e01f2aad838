/* What the files of the ONNX exporter share. The module is turned into protobuf-c messages in an arena; weights
 * stay where they are, the messages point at them. Test: tests/suites/long/onnx_export.py */
#pragma once
#include "frontends/onnx/importer.h"

enum {
    SINTER_ONNX_EXPORT_OPSET = 26, /* the newest that ONNX Runtime 1.31 takes; 27 where an op needs it */
    SINTER_ONNX_EXPORT_IR_VERSION = 13
};

typedef struct sinter_onnx_exporter {
    sinter_module *module;
    sinter_arena arena;
    sinter_diag *diag;
    const char *path;
    int64_t opset;
    const char **names;  /* by value; NULL: not named yet */
    sinter_map taken;    /* names in use */
    sinter_map nodes;    /* node names in use */
    sinter_map domains;  /* domains in use */
    uint32_t fresh;      /* for names of our own */
    bool failed;
} sinter_onnx_exporter;

/* A graph in the making. */
typedef struct sinter_onnx_body {
    Onnx__GraphProto *graph;
    SINTER_VECTOR(Onnx__NodeProto *) nodes;
    SINTER_VECTOR(Onnx__TensorProto *) initializers;
} sinter_onnx_body;

/* ---- export.c ---- */
/* Name of a value in the file, chosen on first use; "" for 0. */
const char *sinter_onnx_value_name(sinter_onnx_exporter *exporter, sinter_value value);
/* A name that nothing else has. */
const char *sinter_onnx_unique_name(sinter_onnx_exporter *exporter, const char *wanted);
Onnx__TypeProto *sinter_onnx_write_type(sinter_onnx_exporter *exporter, const sinter_type *type);
Onnx__GraphProto *sinter_onnx_write_region(sinter_onnx_exporter *exporter, sinter_region region, const char *name);

/* ---- sharding.c ---- */
/* Into the nodes of the main graph, and the configuration that they are of; nothing where the module has no mesh. */
void sinter_onnx_write_shardings(sinter_onnx_exporter *exporter, Onnx__ModelProto *model);

/* ---- export_node.c ---- */
bool sinter_onnx_write_node(sinter_onnx_exporter *exporter, sinter_onnx_body *body, sinter_node node);
/* A node of our own; arrays are copied. Returns the name of its one output. */
const char *sinter_onnx_emit(sinter_onnx_exporter *exporter, sinter_onnx_body *body, const char *op,
                             const char *const *inputs, size_t input_count, const char *output);
void sinter_onnx_emit_int(sinter_onnx_exporter *exporter, Onnx__NodeProto *node, const char *name, int64_t value);
/* The row whose operator writes an IR op; NULL where there is none. */
const sinter_onnx_row *sinter_onnx_export_row(sinter_op op);

/* ---- export_dims.c ---- */
/* Nodes that compute dim expressions at run time, into i64[count] named `output`. */
bool sinter_onnx_write_dims(sinter_onnx_exporter *exporter, sinter_onnx_body *body, const char *where,
                            const int64_t *dims, size_t count, const char *output);
