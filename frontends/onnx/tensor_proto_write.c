/* sinter_tensor -> TensorProto, SequenceProto, OptionalProto, for export and for .pb files. The
 * messages live in the arena; raw data points at the tensor's, which must outlive them. Test:
 * tests/fuzz/tensor_fuzz.c */
#include "frontends/onnx/tensor_proto.h"
#include <string.h>

enum { ELEMENT_TENSOR = 1, ELEMENT_SEQUENCE = 3, ELEMENT_OPTIONAL = 5 };

Onnx__TensorProto *sinter_tensor_proto_write(sinter_arena *arena, const sinter_tensor *tensor,
                                             const char *name) {
    Onnx__TensorProto *proto = SINTER_NEW(arena, Onnx__TensorProto);
    onnx__tensor_proto__init(proto);
    proto->name = name ? sinter_arena_copy_string(arena, name, strlen(name)) : NULL;
    proto->has_data_type = 1;
    proto->data_type = sinter_dtype_infos[tensor->dtype].onnx_code;
    proto->n_dims = tensor->rank;
    proto->dims = sinter_arena_copy(arena, tensor->dims, tensor->rank * sizeof *tensor->dims);
    size_t count = (size_t)sinter_tensor_count(tensor);
    if (tensor->dtype == SINTER_DTYPE_string) {
        proto->n_string_data = count;
        proto->string_data = SINTER_NEW_ARRAY(arena, ProtobufCBinaryData, count);
        for (size_t i = 0; i < count; i++) {
            sinter_string value = sinter_tensor_get_string(tensor, (int64_t)i);
            proto->string_data[i] =
                (ProtobufCBinaryData){value.size, sinter_arena_copy(arena, value.data, value.size)};
        }
    } else {
        proto->has_raw_data = 1; /* protobuf-c only reads through the pointer */
        proto->raw_data =
            (ProtobufCBinaryData){sinter_tensor_bytes(tensor), (uint8_t *)(uintptr_t)tensor->data};
    }
    return proto;
}

static int32_t element_kind(const sinter_tensor *tensor) {
    switch (tensor->kind) {
    case SINTER_TYPE_SEQUENCE:
        return ELEMENT_SEQUENCE;
    case SINTER_TYPE_OPTIONAL:
        return ELEMENT_OPTIONAL;
    default:
        return ELEMENT_TENSOR;
    }
}

Onnx__SequenceProto *sinter_tensor_proto_write_sequence(sinter_arena *arena,
                                                        const sinter_tensor *tensor) {
    Onnx__SequenceProto *proto = SINTER_NEW(arena, Onnx__SequenceProto);
    onnx__sequence_proto__init(proto);
    size_t count = tensor->item_count;
    proto->has_elem_type = 1;
    proto->elem_type = count ? element_kind(&tensor->items[0]) : ELEMENT_TENSOR;
    void **items = SINTER_NEW_ARRAY(arena, void *, count);
    for (size_t i = 0; i < count; i++) {
        const sinter_tensor *item = &tensor->items[i];
        items[i] = item->kind == SINTER_TYPE_SEQUENCE
                       ? (void *)sinter_tensor_proto_write_sequence(arena, item)
                   : item->kind == SINTER_TYPE_OPTIONAL
                       ? (void *)sinter_tensor_proto_write_optional(arena, item)
                       : (void *)sinter_tensor_proto_write(arena, item, NULL);
    }
    if (proto->elem_type == ELEMENT_SEQUENCE) {
        proto->n_sequence_values = count;
        proto->sequence_values = (Onnx__SequenceProto **)items;
    } else if (proto->elem_type == ELEMENT_OPTIONAL) {
        proto->n_optional_values = count;
        proto->optional_values = (Onnx__OptionalProto **)items;
    } else {
        proto->n_tensor_values = count;
        proto->tensor_values = (Onnx__TensorProto **)items;
    }
    return proto;
}

Onnx__OptionalProto *sinter_tensor_proto_write_optional(sinter_arena *arena,
                                                        const sinter_tensor *tensor) {
    Onnx__OptionalProto *proto = SINTER_NEW(arena, Onnx__OptionalProto);
    onnx__optional_proto__init(proto);
    proto->has_elem_type = 1;
    if (tensor->item_count == 0) return proto;
    const sinter_tensor *item = &tensor->items[0];
    proto->elem_type = element_kind(item);
    if (item->kind == SINTER_TYPE_SEQUENCE)
        proto->sequence_value = sinter_tensor_proto_write_sequence(arena, item);
    else if (item->kind == SINTER_TYPE_OPTIONAL)
        proto->optional_value = sinter_tensor_proto_write_optional(arena, item);
    else
        proto->tensor_value = sinter_tensor_proto_write(arena, item, NULL);
    return proto;
}
