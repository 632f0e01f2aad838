/* Rules of ai.onnx.ml operators. Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"

/* Version 1: string <-> index by one list of classes; which way, the input's type says. */
bool sinter_onnx_rule_label_encoder_classes(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    const Onnx__AttributeProto *classes = sinter_onnx_attr(node, "classes_strings");
    int64_t default_int = sinter_onnx_int(node, "default_int64", -1);
    const char *default_string = sinter_onnx_string(node, "default_string", "_Unused");
    if (!x || node->failed) return false;
    if (!classes || sinter_onnx_attr_type_of(classes) != SINTER_ONNX_STRINGS)
        return sinter_onnx_fail(node, "attribute 'classes_strings' is missing");
    size_t count = classes->n_strings;
    sinter_string *names = SINTER_NEW_ARRAY(&node->importer->scratch, sinter_string, count);
    int64_t *indices = SINTER_NEW_ARRAY(&node->importer->scratch, int64_t, count);
    for (size_t i = 0; i < count; i++) {
        names[i] = (sinter_string){(const char *)classes->strings[i].data, classes->strings[i].len};
        indices[i] = (int64_t)i;
    }
    bool from_string = sinter_onnx_type_of(node, x)->dtype == SINTER_DTYPE_string;
    sinter_attr attributes[] = {
        sinter_attr_strings(from_string ? "keys_strings" : "values_strings", names, count),
        sinter_attr_ints(from_string ? "values_int64s" : "keys_int64s", indices, count),
        from_string ? sinter_attr_int("default_int64", default_int)
                    : sinter_attr_string("default_string", sinter_string_of(default_string))};
    return sinter_onnx_return(
        node, sinter_build(&node->build, SINTER_OP_label_encoder, &x, 1, attributes, 3));
}
