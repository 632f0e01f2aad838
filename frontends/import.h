/* One entry point for every file format: looks at the bytes, calls the reader. */
#pragma once
#include "ir/graph.h"
/* .onnx or .sir ("-" is standard input, .sir). NULL after errors. */
sinter_module *sinter_import_file(const char *path, sinter_diag *diag);
/* The same with symbolic dims bound: "N=8", "N=1..2048", up to a NULL; NULL itself: none. */
sinter_module *sinter_import_file_bound(const char *path, const char *const *dims, sinter_diag *diag);
/* ONNX. All unsupported nodes are listed at once. Weights stay in the mapped file. */
sinter_module *sinter_import_onnx(const char *path, sinter_diag *diag);
sinter_module *sinter_import_onnx_memory(const char *name, const void *data, size_t size, sinter_diag *diag); /* copied */
/* A valid ONNX file (newest opset); written to a temporary name, then renamed. */
bool sinter_export_onnx(sinter_module *module, const char *path, sinter_diag *diag);
/* Tensor files: .npy, .npz, .pb (TensorProto, also SequenceProto/OptionalProto as the ONNX suite has them), raw. */
bool sinter_tensor_read_file(const char *path, const sinter_type *expected, sinter_dim_table *dims, sinter_tensor *out_tensor,
                             sinter_diag *diag); /* expected may be NULL but for raw */
/* The same; of an .npz, which holds many, the array of that name. */
bool sinter_tensor_read_named(const char *path, const char *name, const sinter_type *expected, sinter_dim_table *dims,
                              sinter_tensor *out_tensor, sinter_diag *diag);
/* Appends the names in an .npz, each with a zero byte behind it. */
bool sinter_tensor_archive_names(const char *path, sinter_text *out_names, size_t *out_count, sinter_diag *diag);
bool sinter_tensor_write_file(const char *path, const sinter_tensor *tensor, sinter_diag *diag); /* .npy or .pb by name */
