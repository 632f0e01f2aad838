/* A module as an ONNX file of the newest opset. Inputs and outputs keep their names and symbolic dims; every value
 * has one name in the whole file. Tensors go to a file beside it, NAME.data, where protobuf's 2 GiB would not do.
 * Test: tests/suites/long/onnx_export.py */
#include "frontends/import.h"
#include "frontends/onnx/exporter.h"
#include "frontends/onnx/wire.h"
#include "ir/base/file.h"
#include <inttypes.h>
#include <string.h>

static const uint64_t max_file_bytes = (UINT64_C(1) << 31) - (UINT64_C(1) << 24);
enum { EXTERNAL_ALIGNMENT = 4096, EXTERNAL_MIN_BYTES = 1024, DATA_LOCATION_EXTERNAL = 1 };

static char *mutable_string(const char *text) { /* protobuf-c only reads through it */
    return (char *)(uintptr_t)text;
}

/* ---- names ---- */

const char *sinter_onnx_unique_name(sinter_onnx_exporter *e, const char *wanted) {
    uint64_t ignored;
    const char *name = wanted;
    while (sinter_map_find_string(&e->taken, sinter_string_of(name), &ignored))
        name = sinter_arena_format(&e->arena, "%s_%" PRIu32, wanted, ++e->fresh);
    sinter_map_put_string(&e->taken, sinter_string_of(name), 1);
    return name;
}

const char *sinter_onnx_value_name(sinter_onnx_exporter *e, sinter_value value) {
    if (!value) return "";
    if (!e->names[value]) {
        const char *own = sinter_value_get(e->module, value)->name;
        e->names[value] = sinter_onnx_unique_name(
            e, own ? own : sinter_arena_format(&e->arena, "value_%" PRIu32, value));
    }
    return e->names[value];
}

/* Inputs first, then outputs, whose values are called like them where they can be; other values come after. */
static void name_interface(sinter_onnx_exporter *e) {
    sinter_module *module = e->module;
    for (uint32_t i = 0; i < sinter_module_input_count(module); i++)
        e->names[sinter_module_input(module, i)] =
            sinter_onnx_unique_name(e, sinter_module_input_name(module, i));
    for (uint32_t i = 0; i < sinter_module_output_count(module); i++) {
        sinter_value value = sinter_module_output(module, i);
        sinter_node definition = sinter_value_get(module, value)->definition;
        const char *name = sinter_onnx_unique_name(e, sinter_module_output_name(module, i));
        bool computed = definition && sinter_node_get(module, definition)->op != SINTER_OP_constant;
        if (computed && !e->names[value]) e->names[value] = name;
    }
}

/* ---- types and graphs ---- */

static Onnx__TypeProto__Tensor *tensor_type(sinter_onnx_exporter *e, const sinter_type *type) {
    const sinter_dim_table *dims = sinter_module_dims(e->module);
    Onnx__TypeProto__Tensor *tensor = SINTER_NEW(&e->arena, Onnx__TypeProto__Tensor);
    onnx__type_proto__tensor__init(tensor);
    tensor->has_elem_type = 1;
    tensor->elem_type = sinter_dtype_infos[type->dtype].onnx_code;
    if (type->kind == SINTER_TYPE_NONE) return tensor; /* rank not known */
    tensor->shape = SINTER_NEW(&e->arena, Onnx__TensorShapeProto);
    onnx__tensor_shape_proto__init(tensor->shape);
    tensor->shape->n_dim = type->rank;
    tensor->shape->dim =
        SINTER_NEW_ARRAY(&e->arena, Onnx__TensorShapeProto__Dimension *, type->rank);
    for (uint32_t i = 0; i < type->rank; i++) {
        Onnx__TensorShapeProto__Dimension *dim =
            SINTER_NEW(&e->arena, Onnx__TensorShapeProto__Dimension);
        onnx__tensor_shape_proto__dimension__init(dim);
        tensor->shape->dim[i] = dim;
        int64_t number;
        if (sinter_dim_is_const(dims, type->dims[i], &number)) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = number;
            continue;
        }
        sinter_text text = {0};
        sinter_dim_print(dims, type->dims[i], &text);
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        dim->dim_param = sinter_arena_copy_string(&e->arena, text.data, text.size);
        sinter_text_deinit(&text);
    }
    return tensor;
}

Onnx__TypeProto *sinter_onnx_write_type(sinter_onnx_exporter *e, const sinter_type *type) {
    Onnx__TypeProto *proto = SINTER_NEW(&e->arena, Onnx__TypeProto);
    onnx__type_proto__init(proto);
    if (type->kind == SINTER_TYPE_SEQUENCE) {
        proto->value_case = ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE;
        proto->sequence_type = SINTER_NEW(&e->arena, Onnx__TypeProto__Sequence);
        onnx__type_proto__sequence__init(proto->sequence_type);
        proto->sequence_type->elem_type = sinter_onnx_write_type(e, type->element);
    } else if (type->kind == SINTER_TYPE_OPTIONAL) {
        proto->value_case = ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE;
        proto->optional_type = SINTER_NEW(&e->arena, Onnx__TypeProto__Optional);
        onnx__type_proto__optional__init(proto->optional_type);
        proto->optional_type->elem_type = sinter_onnx_write_type(e, type->element);
    } else {
        proto->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
        proto->tensor_type = tensor_type(e, type);
    }
    return proto;
}

static Onnx__ValueInfoProto *value_info(sinter_onnx_exporter *e, const char *name,
                                        const sinter_type *type) {
    Onnx__ValueInfoProto *info = SINTER_NEW(&e->arena, Onnx__ValueInfoProto);
    onnx__value_info_proto__init(info);
    info->name = mutable_string(name);
    info->type = sinter_onnx_write_type(e, type);
    return info;
}

/* Outputs must be made by nodes of their graph, each under its own name: identities help where they are not. */
static void write_outputs(sinter_onnx_exporter *e, sinter_onnx_body *body, sinter_region region) {
    sinter_node yield = sinter_region_get(e->module, region)->last;
    bool is_main = region == sinter_module_main(e->module);
    size_t count = sinter_node_get(e->module, yield)->operand_count;
    Onnx__GraphProto *graph = body->graph;
    graph->n_output = count;
    graph->output = SINTER_NEW_ARRAY(&e->arena, Onnx__ValueInfoProto *, count);
    for (uint32_t i = 0; i < count; i++) {
        sinter_value value = sinter_node_operand(e->module, yield, i);
        const sinter_value_info *info = sinter_value_get(e->module, value);
        const sinter_node_info *definition =
            info->definition ? sinter_node_get(e->module, info->definition) : NULL;
        const char *have = sinter_onnx_value_name(e, value);
        const char *name = is_main ? sinter_module_output_name(e->module, i) : have;
        bool own = definition && definition->parent == region &&
                   definition->op != SINTER_OP_constant && strcmp(name, have) == 0;
        for (uint32_t k = 0; k < i; k++) own &= strcmp(graph->output[k]->name, name) != 0;
        if (!own) {
            if (!is_main) name = sinter_onnx_unique_name(e, "yield");
            sinter_onnx_emit(e, body, "Identity", &have, 1, name);
        }
        graph->output[i] = value_info(e, name, &info->type);
    }
}

Onnx__GraphProto *sinter_onnx_write_region(sinter_onnx_exporter *e, sinter_region region,
                                           const char *name) {
    const sinter_region_info info = *sinter_region_get(e->module, region);
    Onnx__GraphProto *graph = SINTER_NEW(&e->arena, Onnx__GraphProto);
    onnx__graph_proto__init(graph);
    sinter_onnx_body body = {.graph = graph};
    graph->name = mutable_string(name);
    graph->n_input = info.argument_count;
    graph->input = SINTER_NEW_ARRAY(&e->arena, Onnx__ValueInfoProto *, info.argument_count);
    for (uint32_t i = 0; i < info.argument_count; i++)
        graph->input[i] = value_info(e, sinter_onnx_value_name(e, info.arguments[i]),
                                     sinter_value_type(e->module, info.arguments[i]));
    for (sinter_node node = info.first; node && node != info.last;
         node = sinter_node_get(e->module, node)->next)
        if (!sinter_onnx_write_node(e, &body, node)) e->failed = true;
    write_outputs(e, &body, region);
    graph->n_node = body.nodes.count;
    graph->node = body.nodes.items;
    graph->n_initializer = body.initializers.count;
    graph->initializer = body.initializers.items;
    return e->failed ? NULL : graph;
}

/* ---- model ---- */

static Onnx__OperatorSetIdProto *opset(sinter_onnx_exporter *e, const char *domain,
                                       int64_t version) {
    Onnx__OperatorSetIdProto *proto = SINTER_NEW(&e->arena, Onnx__OperatorSetIdProto);
    onnx__operator_set_id_proto__init(proto);
    proto->domain = mutable_string(domain);
    proto->has_version = 1;
    proto->version = version;
    return proto;
}

/* Versions of the other domains: that of their newest row. */
static void write_opsets(sinter_onnx_exporter *e, Onnx__ModelProto *model) {
    SINTER_VECTOR(Onnx__OperatorSetIdProto *) list = {0};
    sinter_vector_push(&e->arena, &list, opset(e, "", e->opset));
    const char *last = "";
    for (size_t i = 0; sinter_onnx_row_at(i); i++) { /* in the table's order, not the map's */
        const char *domain = sinter_onnx_row_at(i)->domain;
        uint64_t used;
        if (strcmp(domain, last) == 0) continue;
        last = domain;
        if (!sinter_map_find_string(&e->domains, sinter_string_of(domain), &used)) continue;
        int64_t version = 1;
        for (size_t k = 0; sinter_onnx_row_at(k); k++)
            if (strcmp(sinter_onnx_row_at(k)->domain, domain) == 0 &&
                sinter_onnx_row_at(k)->since > version)
                version = sinter_onnx_row_at(k)->since;
        sinter_vector_push(&e->arena, &list, opset(e, domain, version));
    }
    model->n_opset_import = list.count;
    model->opset_import = list.items;
}

/* What import kept; the producer of origin stays as a property, since the producer of this file is us. */
static void write_metadata(sinter_onnx_exporter *e, Onnx__ModelProto *model) {
    SINTER_VECTOR(Onnx__StringStringEntryProto *) list = {0};
    sinter_string key, value;
    for (size_t i = 0; i < sinter_module_metadata(e->module, i, &key, &value); i++) {
        char *text = sinter_arena_copy_string(&e->arena, value.data, value.size);
        if (sinter_string_is(key, "domain")) {
            model->domain = text;
        } else if (sinter_string_is(key, "doc_string")) {
            model->doc_string = text;
        } else if (!sinter_string_is(key, "producer_name") || !sinter_string_is(value, "sinter")) {
            Onnx__StringStringEntryProto *entry =
                SINTER_NEW(&e->arena, Onnx__StringStringEntryProto);
            onnx__string_string_entry_proto__init(entry);
            entry->key = sinter_arena_copy_string(&e->arena, key.data, key.size);
            entry->value = text;
            sinter_vector_push(&e->arena, &list, entry);
        }
    }
    model->n_metadata_props = list.count;
    model->metadata_props = list.items;
}

/* Ops that came after the opset that other tools take. */
static int64_t needed_opset(const sinter_module *module) {
    int64_t opset = SINTER_ONNX_EXPORT_OPSET;
    for (sinter_node node = 1; node < sinter_module_node_limit(module); node++) {
        if (sinter_node_get(module, node)->erased) continue;
        const sinter_onnx_row *row = sinter_onnx_export_row(sinter_node_get(module, node)->op);
        if (row && !*row->domain && row->since > opset) opset = row->since;
    }
    return opset;
}

static Onnx__ModelProto *write_model(sinter_onnx_exporter *e) {
    Onnx__ModelProto *model = SINTER_NEW(&e->arena, Onnx__ModelProto);
    onnx__model_proto__init(model);
    e->opset = needed_opset(e->module);
    name_interface(e);
    model->has_ir_version = 1;
    model->ir_version = SINTER_ONNX_EXPORT_IR_VERSION;
    model->producer_name = mutable_string("sinter");
    write_metadata(e, model);
    const char *name = sinter_module_name(e->module);
    model->graph =
        sinter_onnx_write_region(e, sinter_module_main(e->module), *name ? name : "graph");
    write_opsets(e, model);
    if (model->graph) sinter_onnx_write_shardings(e, model);
    return model->graph ? model : NULL;
}

/* ---- files ---- */

static Onnx__StringStringEntryProto *entry(sinter_arena *arena, const char *key,
                                           const char *value) {
    Onnx__StringStringEntryProto *proto = SINTER_NEW(arena, Onnx__StringStringEntryProto);
    onnx__string_string_entry_proto__init(proto);
    proto->key = mutable_string(key);
    proto->value = mutable_string(value);
    return proto;
}

static void write_external(sinter_onnx_exporter *e, Onnx__TensorProto *tensor, const char *location,
                           sinter_file_writer *file) {
    uint64_t blocks = (file->size + EXTERNAL_ALIGNMENT - 1) / EXTERNAL_ALIGNMENT;
    uint64_t offset = blocks * EXTERNAL_ALIGNMENT;
    sinter_file_writer_pad(file, offset);
    sinter_file_writer_append(file, tensor->raw_data.data, tensor->raw_data.len);
    tensor->n_external_data = 3;
    tensor->external_data = SINTER_NEW_ARRAY(&e->arena, Onnx__StringStringEntryProto *, 3);
    tensor->external_data[0] = entry(&e->arena, "location", location);
    tensor->external_data[1] =
        entry(&e->arena, "offset", sinter_arena_format(&e->arena, "%" PRIu64, offset));
    tensor->external_data[2] =
        entry(&e->arena, "length", sinter_arena_format(&e->arena, "%zu", tensor->raw_data.len));
    tensor->has_data_location = 1;
    tensor->data_location = DATA_LOCATION_EXTERNAL;
    tensor->has_raw_data = 0;
}

/* The large initializers of the main graph, to PATH.data. */
static bool move_weights(sinter_onnx_exporter *e, Onnx__GraphProto *graph) {
    const char *path = sinter_arena_format(&e->arena, "%s.data", e->path);
    const char *slash = strrchr(path, '/');
    sinter_file_writer file;
    if (!sinter_file_writer_open(&file, path, false, e->diag)) return false;
    for (size_t i = 0; i < graph->n_initializer; i++)
        if (graph->initializer[i]->has_raw_data &&
            graph->initializer[i]->raw_data.len >= EXTERNAL_MIN_BYTES)
            write_external(e, graph->initializer[i], slash ? slash + 1 : path, &file);
    return sinter_file_writer_close(&file, true, e->diag);
}

static uint64_t weight_bytes(const Onnx__GraphProto *graph) {
    uint64_t total = 0;
    for (size_t i = 0; i < graph->n_initializer; i++) total += graph->initializer[i]->raw_data.len;
    return total;
}

bool sinter_export_onnx(sinter_module *module, const char *path, sinter_diag *diag) {
    sinter_onnx_exporter e = {.module = module, .diag = diag, .path = path};
    sinter_arena_init(&e.arena);
    sinter_map_init(&e.taken, &e.arena);
    sinter_map_init(&e.nodes, &e.arena);
    sinter_map_init(&e.domains, &e.arena);
    e.names = SINTER_NEW_ARRAY(&e.arena, const char *, sinter_module_value_limit(module));
    Onnx__ModelProto *model = write_model(&e);
    bool ok = model != NULL;
    if (ok && weight_bytes(model->graph) > max_file_bytes) ok = move_weights(&e, model->graph);
    sinter_file_writer file;
    ok = ok && sinter_file_writer_open(&file, path, false, diag);
    if (ok) {
        sinter_wire_write(&model->base, &file);
        ok = sinter_file_writer_close(&file, true, diag);
    }
    sinter_arena_deinit(&e.arena);
    return ok;
}
