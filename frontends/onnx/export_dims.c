/* Dim expressions as ONNX nodes: a symbol is read off the shape or the contents of the value that it belongs to,
 * arithmetic is integer arithmetic on vectors of one element. Test: tests/suites/long/onnx_export.py */
#include "frontends/onnx/exporter.h"
#include <inttypes.h>

static const char *vector_constant(sinter_onnx_exporter *e, sinter_onnx_body *body, int64_t value) {
    Onnx__TensorProto *tensor = SINTER_NEW(&e->arena, Onnx__TensorProto);
    onnx__tensor_proto__init(tensor);
    const int64_t dim = 1;
    tensor->name = (char *)(uintptr_t)sinter_onnx_unique_name(e, "dim");
    tensor->has_data_type = 1;
    tensor->data_type = sinter_dtype_infos[SINTER_DTYPE_i64].onnx_code;
    tensor->n_dims = 1;
    tensor->dims = sinter_arena_copy(&e->arena, &dim, sizeof dim);
    tensor->n_int64_data = 1;
    tensor->int64_data = sinter_arena_copy(&e->arena, &value, sizeof value);
    sinter_vector_push(&e->arena, &body->initializers, tensor);
    return tensor->name;
}

static Onnx__NodeProto *last_node(const sinter_onnx_body *body) {
    return body->nodes.items[body->nodes.count - 1];
}

static const char *emit2(sinter_onnx_exporter *e, sinter_onnx_body *body, const char *op,
                         const char *a, const char *b) {
    const char *inputs[] = {a, b};
    return sinter_onnx_emit(e, body, op, inputs, 2, NULL);
}

/* Dim `index` of the value as i64[1]. */
static const char *shape_of(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_value value,
                            uint32_t index) {
    const char *input = sinter_onnx_value_name(e, value);
    const char *name = sinter_onnx_emit(e, body, "Shape", &input, 1, NULL);
    sinter_onnx_emit_int(e, last_node(body), "start", index);
    sinter_onnx_emit_int(e, last_node(body), "end", (int64_t)index + 1);
    return name;
}

/* Element `index` of the value as i64[1]. */
static const char *content_of(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_value value,
                              uint32_t index) {
    const char *flat =
        emit2(e, body, "Reshape", sinter_onnx_value_name(e, value), vector_constant(e, body, -1));
    const char *item = emit2(e, body, "Gather", flat, vector_constant(e, body, index));
    if (sinter_value_type(e->module, value)->dtype == SINTER_DTYPE_i64) return item;
    const char *name = sinter_onnx_emit(e, body, "Cast", &item, 1, NULL);
    sinter_onnx_emit_int(e, last_node(body), "to", sinter_dtype_infos[SINTER_DTYPE_i64].onnx_code);
    return name;
}

static const char *symbol_value(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_dim dim) {
    const sinter_dim_symbol *symbol = sinter_dim_get_symbol(sinter_module_dims(e->module), dim);
    if (symbol->origin == SINTER_DIM_ORIGIN_NODE && symbol->index < SINTER_MAX_RANK)
        return shape_of(e, body, symbol->value, symbol->index);
    if (symbol->origin == SINTER_DIM_ORIGIN_CONTENT)
        return content_of(e, body, symbol->value, symbol->index);
    for (uint32_t i = 0; i < sinter_module_input_count(e->module); i++) {
        sinter_value input = sinter_module_input(e->module, i);
        const sinter_type *type = sinter_value_type(e->module, input);
        for (uint32_t k = 0; type->kind == SINTER_TYPE_TENSOR && k < type->rank; k++)
            if (type->dims[k] == dim) return shape_of(e, body, input, k);
    }
    return NULL;
}

/* i64[1] with the value of the dim; NULL where a symbol has no source. */
static const char *dim_value(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_dim dim) {
    const sinter_dim_table *table = sinter_module_dims(e->module);
    int64_t number;
    const sinter_dim *operands = NULL;
    if (sinter_dim_is_const(table, dim, &number)) return vector_constant(e, body, number);
    sinter_dim_kind kind = sinter_dim_get_kind(table, dim);
    if (kind == SINTER_DIM_SYMBOL) return symbol_value(e, body, dim);
    size_t count = sinter_dim_operands(table, dim, &operands);
    const char *values[3] = {NULL, NULL, NULL}, *total = NULL;
    for (size_t i = 0; i < count; i++) {
        const char *value = dim_value(e, body, operands[i]);
        if (!value) return NULL;
        if (i < 3) values[i] = value;
        const char *op = kind == SINTER_DIM_ADD   ? "Add"
                         : kind == SINTER_DIM_MUL ? "Mul"
                         : kind == SINTER_DIM_MIN ? "Min"
                                                  : "Max";
        bool chained = kind == SINTER_DIM_ADD || kind == SINTER_DIM_MUL || kind == SINTER_DIM_MIN ||
                       kind == SINTER_DIM_MAX;
        if (chained) total = total ? emit2(e, body, op, total, value) : value;
    }
    if (total) return total;
    if (kind == SINTER_DIM_SELECT) {
        const char *inputs[] = {
            emit2(e, body, "GreaterOrEqual", values[0], vector_constant(e, body, 0)), values[1],
            values[2]};
        return sinter_onnx_emit(e, body, "Where", inputs, 3, NULL);
    }
    const char *rest = emit2(e, body, "Mod", values[0], values[1]); /* sign of the divisor */
    if (kind == SINTER_DIM_MOD) return rest;
    return emit2(e, body, "Div", emit2(e, body, "Sub", values[0], rest), values[1]);
}

bool sinter_onnx_write_dims(sinter_onnx_exporter *e, sinter_onnx_body *body, const char *where,
                            const int64_t *dims, size_t count, const char *output) {
    const char **parts = SINTER_NEW_ARRAY(&e->arena, const char *, count);
    for (size_t i = 0; i < count; i++) {
        parts[i] = dim_value(e, body, (sinter_dim)dims[i]);
        if (parts[i]) continue;
        sinter_text text = {0};
        sinter_dim_print(sinter_module_dims(e->module), (sinter_dim)dims[i], &text);
        sinter_error(e->diag, where, "dim %s can't be computed from any value", text.data);
        sinter_text_deinit(&text);
        return false;
    }
    sinter_onnx_emit(e, body, "Concat", parts, count, output);
    sinter_onnx_emit_int(e, last_node(body), "axis", 0);
    return true;
}
