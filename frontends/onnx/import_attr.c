/* Attributes of nodes: found by name, references of function bodies resolved through the calls around them, read
 * with their kind checked, or converted to the attribute of the IR's schema.
 * Test: tests/suites/onnx_suite.py, tests/suites/bad_input.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <string.h>

static const char *const type_names[] = {
    [SINTER_ONNX_UNDEFINED] = "undefined",
    [SINTER_ONNX_FLOAT] = "float",
    [SINTER_ONNX_INT] = "int",
    [SINTER_ONNX_STRING] = "string",
    [SINTER_ONNX_TENSOR] = "tensor",
    [SINTER_ONNX_GRAPH] = "graph",
    [SINTER_ONNX_FLOATS] = "floats",
    [SINTER_ONNX_INTS] = "ints",
    [SINTER_ONNX_STRINGS] = "strings",
    [SINTER_ONNX_TENSORS] = "tensors",
    [SINTER_ONNX_GRAPHS] = "graphs",
    [SINTER_ONNX_SPARSE_TENSOR] = "sparse tensor",
    [SINTER_ONNX_SPARSE_TENSORS] = "sparse tensors",
    [SINTER_ONNX_TYPE_PROTO] = "type",
    [SINTER_ONNX_TYPE_PROTOS] = "types",
};

/* Files of ir_version 1 have no type: the one field that is filled tells. */
sinter_onnx_attr_type sinter_onnx_attr_type_of(const Onnx__AttributeProto *a) {
    if (a->has_type && a->type > SINTER_ONNX_UNDEFINED && a->type <= SINTER_ONNX_TYPE_PROTOS)
        return (sinter_onnx_attr_type)a->type;
    return a->has_i           ? SINTER_ONNX_INT
           : a->has_f         ? SINTER_ONNX_FLOAT
           : a->has_s         ? SINTER_ONNX_STRING
           : a->t             ? SINTER_ONNX_TENSOR
           : a->g             ? SINTER_ONNX_GRAPH
           : a->n_ints        ? SINTER_ONNX_INTS
           : a->n_floats      ? SINTER_ONNX_FLOATS
           : a->n_strings     ? SINTER_ONNX_STRINGS
           : a->n_tensors     ? SINTER_ONNX_TENSORS
           : a->n_graphs      ? SINTER_ONNX_GRAPHS
           : a->sparse_tensor ? SINTER_ONNX_SPARSE_TENSOR
           : a->tp            ? SINTER_ONNX_TYPE_PROTO
           : a->n_type_protos ? SINTER_ONNX_TYPE_PROTOS
                              : SINTER_ONNX_UNDEFINED;
}

static const Onnx__AttributeProto *find_by_name(Onnx__AttributeProto *const *attributes,
                                                size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (attributes[i]->name && strcmp(attributes[i]->name, name) == 0) return attributes[i];
    return NULL;
}

const Onnx__AttributeProto *sinter_onnx_resolve(const sinter_onnx_call *call,
                                                const Onnx__AttributeProto *attribute) {
    while (attribute && attribute->ref_attr_name && *attribute->ref_attr_name && call) {
        const char *name = attribute->ref_attr_name;
        attribute = find_by_name(call->node->attribute, call->node->n_attribute, name);
        if (!attribute) /* the function's default, which refers to nothing */
            return find_by_name(call->function->attribute_proto, call->function->n_attribute_proto,
                                name);
        call = call->outer;
    }
    return attribute;
}

const Onnx__AttributeProto *sinter_onnx_attr(const sinter_onnx_node *node, const char *name) {
    return sinter_onnx_resolve(
        node->scope->call, find_by_name(node->proto->attribute, node->proto->n_attribute, name));
}

bool sinter_onnx_has(const sinter_onnx_node *node, const char *name) {
    return sinter_onnx_attr(node, name) != NULL;
}

static bool wrong_type(sinter_onnx_node *node, const char *name, const Onnx__AttributeProto *a,
                       const char *expected) {
    return sinter_onnx_fail(node, "attribute '%s' is %s, expected %s", name,
                            type_names[sinter_onnx_attr_type_of(a)], expected);
}

/* The attribute where it has the type; NULL where it is absent or (with an error) another. */
static const Onnx__AttributeProto *typed(sinter_onnx_node *node, const char *name,
                                         sinter_onnx_attr_type type) {
    const Onnx__AttributeProto *a = sinter_onnx_attr(node, name);
    if (!a || sinter_onnx_attr_type_of(a) == type) return a;
    wrong_type(node, name, a, type_names[type]);
    return NULL;
}

int64_t sinter_onnx_int(sinter_onnx_node *node, const char *name, int64_t otherwise) {
    const Onnx__AttributeProto *a = typed(node, name, SINTER_ONNX_INT);
    return a ? a->i : otherwise;
}

double sinter_onnx_float(sinter_onnx_node *node, const char *name, double otherwise) {
    const Onnx__AttributeProto *a = typed(node, name, SINTER_ONNX_FLOAT);
    return a ? (double)a->f : otherwise;
}

const char *sinter_onnx_string(sinter_onnx_node *node, const char *name, const char *otherwise) {
    const Onnx__AttributeProto *a = typed(node, name, SINTER_ONNX_STRING);
    if (!a) return otherwise;
    return sinter_arena_copy_string(&node->importer->scratch, (const char *)a->s.data, a->s.len);
}

size_t sinter_onnx_ints(sinter_onnx_node *node, const char *name, const int64_t **out_items) {
    const Onnx__AttributeProto *a = typed(node, name, SINTER_ONNX_INTS);
    *out_items = a ? a->ints : NULL;
    return a ? a->n_ints : 0;
}

size_t sinter_onnx_floats(sinter_onnx_node *node, const char *name, const float **out_items) {
    const Onnx__AttributeProto *a = typed(node, name, SINTER_ONNX_FLOATS);
    *out_items = a ? a->floats : NULL;
    return a ? a->n_floats : 0;
}

const Onnx__GraphProto *sinter_onnx_graph(sinter_onnx_node *node, const char *name, bool required) {
    const Onnx__AttributeProto *own =
        find_by_name(node->proto->attribute, node->proto->n_attribute, name);
    if (own && own->ref_attr_name && *own->ref_attr_name) {
        sinter_onnx_fail(node, "attribute '%s': graphs given by reference are not supported", name);
        return NULL;
    }
    const Onnx__AttributeProto *a = typed(node, name, SINTER_ONNX_GRAPH);
    if (a && a->g) return a->g;
    if (required && !node->failed) sinter_onnx_fail(node, "attribute '%s' is missing", name);
    return NULL;
}

/* ---- to the IR ---- */

static bool convert_number(sinter_onnx_node *node, const Onnx__AttributeProto *a,
                           sinter_attr_kind kind, sinter_attr *out) {
    sinter_onnx_attr_type type = sinter_onnx_attr_type_of(a);
    if (type != SINTER_ONNX_INT && type != SINTER_ONNX_FLOAT)
        return wrong_type(node, a->name, a, kind == SINTER_ATTR_INT ? "int" : "float");
    if (kind == SINTER_ATTR_FLOAT) {
        out->float_value = type == SINTER_ONNX_FLOAT ? (double)a->f : (double)a->i;
        return true;
    }
    /* A few attributes were floats once (p of LpPool): whole numbers carry over. */
    bool whole =
        type == SINTER_ONNX_INT || (a->f > -1e6f && a->f < 1e6f && (float)(int64_t)a->f == a->f);
    out->int_value = !whole ? 0 : type == SINTER_ONNX_INT ? a->i : (int64_t)a->f;
    return whole || wrong_type(node, a->name, a, "int");
}

static bool convert_list(sinter_onnx_node *node, const Onnx__AttributeProto *a,
                         sinter_attr_kind kind, sinter_attr *out) {
    sinter_arena *arena = &node->importer->scratch;
    sinter_onnx_attr_type type = sinter_onnx_attr_type_of(a);
    /* An empty list has no type in files that leave types out. */
    bool empty = type == SINTER_ONNX_UNDEFINED;
    if (kind == SINTER_ATTR_INTS) {
        out->ints.items = a->ints;
        out->ints.count = a->n_ints;
        return empty || type == SINTER_ONNX_INTS || wrong_type(node, a->name, a, "ints");
    }
    if (kind == SINTER_ATTR_FLOATS) {
        double *items = SINTER_NEW_ARRAY(arena, double, a->n_floats);
        for (size_t i = 0; i < a->n_floats; i++) items[i] = (double)a->floats[i];
        out->floats.items = items;
        out->floats.count = a->n_floats;
        return empty || type == SINTER_ONNX_FLOATS || wrong_type(node, a->name, a, "floats");
    }
    sinter_string *items = SINTER_NEW_ARRAY(arena, sinter_string, a->n_strings);
    for (size_t i = 0; i < a->n_strings; i++)
        items[i] = (sinter_string){(const char *)a->strings[i].data, a->strings[i].len};
    out->strings.items = items;
    out->strings.count = a->n_strings;
    return empty || type == SINTER_ONNX_STRINGS || wrong_type(node, a->name, a, "strings");
}

static bool convert_dtype(sinter_onnx_node *node, const Onnx__AttributeProto *a, sinter_attr *out,
                          bool *out_given) {
    if (sinter_onnx_attr_type_of(a) != SINTER_ONNX_INT)
        return wrong_type(node, a->name, a, "int (an element type)");
    out->dtype = sinter_dtype_from_onnx(a->i);
    *out_given = a->i != 0;
    return a->i == 0 || out->dtype != SINTER_DTYPE_NONE ||
           sinter_onnx_fail(node, "attribute '%s': unknown element type %" PRId64, a->name, a->i);
}

static bool convert_tensor(sinter_onnx_node *node, const Onnx__AttributeProto *a,
                           sinter_attr *out) {
    sinter_tensor tensor;
    if (sinter_onnx_attr_type_of(a) != SINTER_ONNX_TENSOR || !a->t)
        return wrong_type(node, a->name, a, "tensor");
    if (!sinter_tensor_proto_read(&node->importer->source, a->t, &tensor))
        return !(node->failed = true);
    out->tensor = sinter_module_keep_tensor(node->importer->module, tensor);
    return true;
}

static bool convert_type(sinter_onnx_node *node, const Onnx__AttributeProto *a, sinter_attr *out) {
    sinter_type *type = SINTER_NEW(&node->importer->scratch, sinter_type);
    out->type = type;
    if (sinter_onnx_attr_type_of(a) != SINTER_ONNX_TYPE_PROTO)
        return wrong_type(node, a->name, a, "type");
    return sinter_onnx_type(node->importer, node->where, a->name, a->tp, type);
}

bool sinter_onnx_convert_attr(sinter_onnx_node *node, const Onnx__AttributeProto *a,
                              const sinter_attr_info *schema, sinter_attr *out_attr,
                              bool *out_given) {
    *out_attr = (sinter_attr){.name = schema->name, .kind = schema->kind};
    *out_given = true;
    switch (schema->kind) {
    case SINTER_ATTR_INT:
    case SINTER_ATTR_FLOAT:
        return convert_number(node, a, schema->kind, out_attr);
    case SINTER_ATTR_INTS:
    case SINTER_ATTR_FLOATS:
    case SINTER_ATTR_STRINGS:
        return convert_list(node, a, schema->kind, out_attr);
    case SINTER_ATTR_STRING:
        out_attr->string_value = (sinter_string){(const char *)a->s.data, a->s.len};
        return sinter_onnx_attr_type_of(a) == SINTER_ONNX_STRING ||
               wrong_type(node, a->name, a, "string");
    case SINTER_ATTR_DTYPE:
        return convert_dtype(node, a, out_attr, out_given);
    case SINTER_ATTR_TENSOR:
        return convert_tensor(node, a, out_attr);
    case SINTER_ATTR_TYPE:
        return convert_type(node, a, out_attr);
    case SINTER_ATTR_NONE:
        break;
    }
    return sinter_onnx_fail(node, "attribute '%s' has a kind that is not supported", a->name);
}
