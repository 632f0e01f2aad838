/* Entry of the ONNX importer: maps the file, unpacks the messages without the weights, checks what the whole model
 * says (opsets, functions), imports the main graph, and keeps the file's metadata. Nothing of the messages
 * survives; weights stay in the mapped file, which their tensors hold.
 * Test: tests/suites/onnx_suite.py, tests/suites/bad_input.py, tests/fuzz/onnx_fuzz.c */
#include "frontends/import.h"
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <string.h>

bool sinter_onnx_error(sinter_onnx_importer *importer, const char *where, const char *format, ...) {
    importer->failed = true;
    if (importer->error_count == SINTER_ONNX_MAX_ERRORS) {
        importer->hidden_count++;
        return false;
    }
    importer->error_count++;
    sinter_text text = {0};
    va_list arguments;
    va_start(arguments, format);
    sinter_text_format_list(&text, format, arguments);
    va_end(arguments);
    sinter_error(importer->diag, where, "%s", text.data ? text.data : "");
    sinter_text_deinit(&text);
    return false;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *folder_of(sinter_arena *arena, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return ".";
    return sinter_arena_copy_string(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

static void keep_metadata(sinter_onnx_importer *importer) {
    const Onnx__ModelProto *model = importer->model;
    const struct {
        const char *key, *value;
    } fields[] = {{"producer_name", model->producer_name},
                  {"producer_version", model->producer_version},
                  {"domain", model->domain},
                  {"doc_string", model->doc_string}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].value && *fields[i].value)
            sinter_module_set_metadata(importer->module, sinter_string_of(fields[i].key),
                                       sinter_string_of(fields[i].value));
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *entry = model->metadata_props[i];
        if (entry->key && *entry->key)
            sinter_module_set_metadata(importer->module, sinter_string_of(entry->key),
                                       sinter_string_of(entry->value));
    }
}

static bool check_model(sinter_onnx_importer *importer) {
    const Onnx__ModelProto *model = importer->model;
    if (!model->graph)
        return sinter_onnx_error(importer, importer->path, "no graph: not an ONNX model");
    if (!model->has_ir_version || model->ir_version < 1)
        return sinter_onnx_error(importer, importer->path,
                                 "no ir_version: not an ONNX model (or a damaged one)");
    return true;
}

/* What was read becomes importer->module; false leaves errors behind. */
static bool import_model(sinter_onnx_importer *importer) {
    if (!check_model(importer)) return false;
    const Onnx__GraphProto *graph = importer->model->graph;
    const char *name = graph->name && *graph->name ? graph->name : importer->name;
    importer->module = sinter_module_create(name);
    keep_metadata(importer);
    sinter_onnx_declare_symbols(importer, graph);
    bool ok = sinter_onnx_declare_functions(importer) && sinter_onnx_main_graph(importer, graph);
    ok = ok && !importer->failed && sinter_onnx_read_shardings(importer);
    if (importer->hidden_count)
        sinter_note(importer->diag, importer->path, "%zu more errors", importer->hidden_count);
    return ok && !importer->failed;
}

static sinter_module *import_storage(const char *path, const char *folder, sinter_storage *file,
                                     sinter_diag *diag) {
    sinter_onnx_importer importer = {.path = path, .name = base_name(path), .diag = diag};
    sinter_arena *scratch = &importer.scratch;
    sinter_arena_init(scratch);
    sinter_map_init(&importer.functions, scratch);
    sinter_map_init(&importer.symbols, scratch);
    sinter_map_init(&importer.outputs, scratch);
    importer.external = (sinter_external_data){.arena = scratch, .folder = folder};
    importer.source = (sinter_tensor_source){.file = file,
                                             .spans = &importer.spans,
                                             .external = &importer.external,
                                             .where = importer.name,
                                             .diag = diag};
    importer.model = (const Onnx__ModelProto *)sinter_wire_unpack(
        scratch, &onnx__model_proto__descriptor, sinter_storage_data(file),
        sinter_storage_size(file), &importer.spans, path, diag);
    bool ok = importer.model && import_model(&importer);
    if (!ok) {
        sinter_module_destroy(importer.module);
        importer.module = NULL;
    }
    sinter_external_data_deinit(&importer.external);
    sinter_arena_deinit(scratch);
    return importer.module;
}

sinter_module *sinter_import_onnx(const char *path, sinter_diag *diag) {
    sinter_storage *file = sinter_storage_map_file(path, diag);
    if (!file) return NULL;
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_module *module = import_storage(path, folder_of(&arena, path), file, diag);
    sinter_arena_deinit(&arena);
    sinter_storage_release_reference(file);
    return module;
}

sinter_module *sinter_import_onnx_memory(const char *name, const void *data, size_t size,
                                         sinter_diag *diag) {
    sinter_storage *copy = sinter_storage_create(size);
    if (!copy) {
        sinter_error(diag, name, "no memory for a copy of %zu bytes", size);
        return NULL;
    }
    if (size) memcpy((void *)(uintptr_t)sinter_storage_data(copy), data, size);
    sinter_module *module = import_storage(name, NULL, copy, diag);
    sinter_storage_release_reference(copy);
    return module;
}
