/* TypeProto -> sinter_type. A dim is a number, a symbol named by its dim_param, or, where the dim_param is
 * arithmetic over names that are plain dims of some input ("past + 1"), that expression. "?" and -1, which
 * exporters write for unknown dims, and dims without anything get symbols of their own.
 * Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

typedef Onnx__TensorShapeProto__Dimension onnx_dimension;

/* A name that the text form can write: letters, digits and underscores. NULL where nothing is left. */
static const char *clean_name(sinter_arena *arena, const char *text) {
    char *clean = sinter_arena_copy_string(arena, text, strlen(text));
    sinter_make_identifier(clean);
    if (strspn(clean, "_") == strlen(clean)) return NULL;
    return isdigit((unsigned char)*clean) ? sinter_arena_format(arena, "_%s", clean) : clean;
}

static const Onnx__TensorShapeProto *shape_of(const Onnx__TypeProto *type) {
    bool tensor = type && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    return tensor && type->tensor_type ? type->tensor_type->shape : NULL;
}

void sinter_onnx_declare_symbols(sinter_onnx_importer *importer, const Onnx__GraphProto *graph) {
    sinter_dim_table *dims = sinter_module_dims(importer->module);
    for (size_t i = 0; i < graph->n_input; i++) {
        const Onnx__TensorShapeProto *shape = shape_of(graph->input[i]->type);
        for (size_t k = 0; shape && k < shape->n_dim; k++) {
            const onnx_dimension *dim = shape->dim[k];
            if (dim->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM) continue;
            if (!dim->dim_param || !sinter_string_is_identifier(sinter_string_of(dim->dim_param)))
                continue;
            sinter_string name = sinter_string_of(dim->dim_param);
            sinter_map_put_string(&importer->symbols, name, sinter_dim_symbol_named(dims, name));
        }
    }
}

/* Every identifier in the text is a declared symbol, or a function of the dim language. */
static bool names_are_known(const sinter_onnx_importer *importer, const char *text) {
    static const char *const functions[] = {"floordiv", "mod", "min", "max", "select"};
    while (*text) {
        if (!isalpha((unsigned char)*text) && *text != '_') {
            text++;
            continue;
        }
        size_t size = 1;
        while (isalnum((unsigned char)text[size]) || text[size] == '_') size++;
        uint64_t ignored;
        bool known =
            sinter_map_find_string(&importer->symbols, (sinter_string){text, size}, &ignored);
        for (size_t i = 0; !known && i < sizeof functions / sizeof *functions; i++)
            known = strlen(functions[i]) == size && strncmp(functions[i], text, size) == 0;
        if (!known) return false;
        text += size;
    }
    return true;
}

static sinter_dim named_dim(sinter_onnx_importer *importer, const char *text, const char *prefix) {
    sinter_dim_table *dims = sinter_module_dims(importer->module);
    sinter_string key = sinter_string_of(text);
    uint64_t found;
    if (sinter_map_find_string(&importer->symbols, key, &found)) return (sinter_dim)found;
    const char *clean = clean_name(&importer->scratch, text);
    if (!clean) return sinter_dim_fresh(dims, prefix); /* "?" is no name */
    sinter_dim dim = 0;
    const char *cursor = text, *end = text + strlen(text);
    if (sinter_string_is_identifier(key))
        dim = sinter_dim_symbol_named(dims, key);
    else if (!names_are_known(importer, text) || !sinter_dim_parse(dims, &cursor, end, &dim) ||
             cursor != end)
        dim = sinter_dim_fresh(dims, clean);
    sinter_map_put_string(&importer->symbols, key, dim);
    return dim;
}

static bool read_dim(sinter_onnx_importer *importer, const char *where, const char *prefix,
                     const onnx_dimension *proto, bool nested, sinter_dim *out_dim) {
    sinter_dim_table *dims = sinter_module_dims(importer->module);
    switch (proto->value_case) {
    case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE:
        if (proto->dim_value < -1)
            return sinter_onnx_error(importer, where, "dimension %" PRId64 ", expected 0 or more",
                                     proto->dim_value);
        *out_dim = proto->dim_value < 0 ? sinter_dim_fresh(dims, prefix)
                                        : sinter_dim_const(dims, proto->dim_value);
        return true;
    case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM:
        *out_dim = nested ? sinter_dim_fresh(dims, prefix)
                          : named_dim(importer, proto->dim_param ? proto->dim_param : "", prefix);
        return true;
    default:
        *out_dim = sinter_dim_fresh(dims, prefix);
        return true;
    }
}

static bool read_tensor_type(sinter_onnx_importer *importer, const char *where, const char *prefix,
                             const Onnx__TypeProto__Tensor *proto, bool nested,
                             sinter_type *out_type) {
    sinter_dtype dtype =
        sinter_dtype_from_onnx(proto && proto->has_elem_type ? proto->elem_type : 0);
    if (dtype == SINTER_DTYPE_NONE)
        return sinter_onnx_error(importer, where, "unknown element type %" PRId32,
                                 proto && proto->has_elem_type ? proto->elem_type : 0);
    if (!proto->shape) {
        if (!nested)
            return sinter_onnx_error(importer, where, "%s tensor of unknown rank, expected a shape",
                                     sinter_dtype_infos[dtype].name);
        *out_type = (sinter_type){.kind = SINTER_TYPE_NONE, .dtype = dtype};
        return true;
    }
    if (proto->shape->n_dim > SINTER_MAX_RANK)
        return sinter_onnx_error(importer, where, "%zu dimensions, expected at most %d",
                                 proto->shape->n_dim, SINTER_MAX_RANK);
    sinter_dim dims[SINTER_MAX_RANK] = {0};
    for (size_t i = 0; i < proto->shape->n_dim; i++) {
        const char *name = sinter_arena_format(&importer->scratch, "%s_%zu", prefix, i);
        if (!read_dim(importer, where, name, proto->shape->dim[i], nested, &dims[i])) return false;
    }
    *out_type = sinter_type_tensor(sinter_module_arena(importer->module), dtype,
                                   (uint32_t)proto->shape->n_dim, dims);
    return true;
}

static bool read_type(sinter_onnx_importer *importer, const char *where, const char *prefix,
                      const Onnx__TypeProto *proto, bool nested, sinter_type *out_type) {
    const Onnx__TypeProto *inside = NULL;
    sinter_type_kind kind = SINTER_TYPE_SEQUENCE;
    switch (proto ? proto->value_case : ONNX__TYPE_PROTO__VALUE__NOT_SET) {
    case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
        return read_tensor_type(importer, where, prefix, proto->tensor_type, nested, out_type);
    case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
        inside = proto->sequence_type ? proto->sequence_type->elem_type : NULL;
        break;
    case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
        inside = proto->optional_type ? proto->optional_type->elem_type : NULL;
        kind = SINTER_TYPE_OPTIONAL;
        break;
    case ONNX__TYPE_PROTO__VALUE__NOT_SET:
        return sinter_onnx_error(importer, where, "no type, expected a tensor type with a shape");
    default:
        return sinter_onnx_error(importer, where,
                                 "maps, sparse and opaque types are not supported");
    }
    sinter_type *element = SINTER_NEW(sinter_module_arena(importer->module), sinter_type);
    *out_type = (sinter_type){.kind = kind, .element = element};
    return read_type(importer, where, prefix, inside, true, element);
}

bool sinter_onnx_type(sinter_onnx_importer *importer, const char *where, const char *name,
                      const Onnx__TypeProto *proto, sinter_type *out_type) {
    const char *prefix = clean_name(&importer->scratch, name);
    return read_type(importer, where, prefix ? prefix : "dim", proto, false, out_type);
}
