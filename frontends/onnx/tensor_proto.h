/* TensorProto and its relatives <-> sinter_tensor. Bytes that lie in a mapped file are shared with it, all
 * others are copied into storage of the tensor. Sizes are checked against the data before anything is allocated.
 * Test: tests/fuzz/tensor_fuzz.c, tests/suites/bad_input.py */
#pragma once
#include "frontends/onnx/external_data.h"
#include "frontends/onnx/wire.h"

/* Where the bytes are that a message does not hold itself. */
typedef struct sinter_tensor_source {
    sinter_storage *file; /* what the spans point into */
    const sinter_wire_spans *spans;
    sinter_external_data *external; /* NULL: external data is an error */
    const char *where;              /* the file, for messages */
    sinter_diag *diag;
} sinter_tensor_source;

/* All create *out (to be released by the caller) or report and return false. */
bool sinter_tensor_proto_read(const sinter_tensor_source *source, const Onnx__TensorProto *proto,
                              sinter_tensor *out_tensor);
/* Made dense. */
bool sinter_tensor_proto_read_sparse(const sinter_tensor_source *source, const Onnx__SparseTensorProto *proto,
                                     sinter_tensor *out_tensor);
bool sinter_tensor_proto_read_sequence(const sinter_tensor_source *source, const Onnx__SequenceProto *proto,
                                       sinter_tensor *out_tensor);
bool sinter_tensor_proto_read_optional(const sinter_tensor_source *source, const Onnx__OptionalProto *proto,
                                       sinter_tensor *out_tensor);

/* The inverse: messages in the arena whose raw data points at the tensor's. */
Onnx__TensorProto *sinter_tensor_proto_write(sinter_arena *arena, const sinter_tensor *tensor, const char *name);
Onnx__SequenceProto *sinter_tensor_proto_write_sequence(sinter_arena *arena, const sinter_tensor *tensor);
Onnx__OptionalProto *sinter_tensor_proto_write_optional(sinter_arena *arena, const sinter_tensor *tensor);
