/* Constant in all its forms: a tensor, a sparse tensor, numbers and strings. Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <string.h>

static bool number_tensor(sinter_onnx_node *node, const Onnx__AttributeProto *a,
                          sinter_tensor *out_tensor) {
    sinter_onnx_attr_type type = sinter_onnx_attr_type_of(a);
    bool list = type == SINTER_ONNX_FLOATS || type == SINTER_ONNX_INTS;
    bool floats = type == SINTER_ONNX_FLOAT || type == SINTER_ONNX_FLOATS;
    size_t count = !list ? 1 : floats ? a->n_floats : a->n_ints;
    int64_t dim = (int64_t)count;
    if (!sinter_tensor_create(out_tensor, floats ? SINTER_DTYPE_f32 : SINTER_DTYPE_i64, list, &dim,
                              node->build.diag))
        return false;
    const void *source =
        floats ? (list ? (const void *)a->floats : &a->f) : (list ? (const void *)a->ints : &a->i);
    if (count) memcpy(sinter_tensor_mutable(out_tensor), source, sinter_tensor_bytes(out_tensor));
    return true;
}

static bool string_tensor(sinter_onnx_node *node, const ProtobufCBinaryData *items, size_t count,
                          bool list, sinter_tensor *out_tensor) {
    int64_t dim = (int64_t)count;
    if (!sinter_tensor_create(out_tensor, SINTER_DTYPE_string, list, &dim, node->build.diag))
        return false;
    for (size_t i = 0; i < count; i++)
        sinter_tensor_set_string(out_tensor, (int64_t)i,
                                 (sinter_string){(const char *)items[i].data, items[i].len});
    return true;
}

static bool read_constant(sinter_onnx_node *node, const char *name, const Onnx__AttributeProto *a,
                          sinter_tensor *out_tensor) {
    const sinter_tensor_source *source = &node->importer->source;
    switch (sinter_onnx_attr_type_of(a)) {
    case SINTER_ONNX_TENSOR:
        if (a->t) return sinter_tensor_proto_read(source, a->t, out_tensor);
        break;
    case SINTER_ONNX_SPARSE_TENSOR:
        if (a->sparse_tensor)
            return sinter_tensor_proto_read_sparse(source, a->sparse_tensor, out_tensor);
        break;
    case SINTER_ONNX_FLOAT:
    case SINTER_ONNX_FLOATS:
    case SINTER_ONNX_INT:
    case SINTER_ONNX_INTS:
        return number_tensor(node, a, out_tensor);
    case SINTER_ONNX_STRING:
        return string_tensor(node, &a->s, 1, false, out_tensor);
    case SINTER_ONNX_STRINGS:
        return string_tensor(node, a->strings, a->n_strings, true, out_tensor);
    default:
        break;
    }
    return sinter_onnx_fail(node, "attribute '%s' holds no value", name);
}

bool sinter_onnx_rule_constant(sinter_onnx_node *node) {
    static const char *const names[] = {"value",        "sparse_value", "value_float",
                                        "value_floats", "value_int",    "value_ints",
                                        "value_string", "value_strings"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const Onnx__AttributeProto *a = sinter_onnx_attr(node, names[i]);
        sinter_tensor tensor;
        if (!a) continue;
        if (!read_constant(node, names[i], a, &tensor)) return false;
        return sinter_onnx_return(node, sinter_build_constant(&node->build, tensor));
    }
    return sinter_onnx_fail(node, "a constant without a value");
}
