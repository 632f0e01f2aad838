/* Model-local functions: a call becomes the function's nodes, in the caller's region, with the formal inputs bound
 * to the operands and attribute references led to the call's attributes. Functions may call functions; one that
 * reaches itself is an error. A function of the file wins over a row of ops.def except in ONNX's own domain.
 * Test: tests/fuzz/onnx_fuzz.c, tests/suites/bad_input.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <string.h>

static const char *function_key(sinter_arena *arena, const char *domain, const char *name,
                                const char *overload) {
    return sinter_arena_format(arena, "%s\n%s\n%s", sinter_onnx_domain(domain), name ? name : "",
                               overload ? overload : "");
}

bool sinter_onnx_declare_functions(sinter_onnx_importer *importer) {
    const Onnx__ModelProto *model = importer->model;
    for (size_t i = 0; i < model->n_functions; i++) {
        const Onnx__FunctionProto *function = model->functions[i];
        sinter_string key = sinter_string_of(
            function_key(&importer->scratch, function->domain, function->name, function->overload));
        uint64_t other;
        if (sinter_map_find_string(&importer->functions, key, &other))
            return sinter_onnx_error(importer, importer->path, "function '%s' is defined twice",
                                     function->name ? function->name : "");
        sinter_map_put_string(&importer->functions, key, i + 1);
    }
    return true;
}

const Onnx__FunctionProto *sinter_onnx_find_function(sinter_onnx_importer *importer,
                                                     const Onnx__NodeProto *proto) {
    uint64_t index;
    if (importer->functions.count == 0) return NULL;
    const char *domain = sinter_onnx_domain(proto->domain), *name = proto->op_type;
    if (!*domain && sinter_onnx_find_row(domain, name ? name : "", SINTER_ONNX_NEWEST_OPSET))
        return NULL;
    const char *key = function_key(&importer->scratch, domain, name, proto->overload);
    bool found = sinter_map_find_string(&importer->functions, sinter_string_of(key), &index);
    return found ? importer->model->functions[index - 1] : NULL;
}

bool sinter_onnx_read_opsets(sinter_onnx_importer *importer,
                             Onnx__OperatorSetIdProto *const *imports, size_t count,
                             const char *where, sinter_onnx_opsets *out_opsets) {
    sinter_onnx_opset *items = SINTER_NEW_ARRAY(&importer->scratch, sinter_onnx_opset, count);
    for (size_t i = 0; i < count; i++) {
        const char *domain = sinter_onnx_domain(imports[i]->domain);
        int64_t version = imports[i]->has_version ? imports[i]->version : 0;
        if (!*domain && (version < 1 || version > SINTER_ONNX_NEWEST_OPSET))
            return sinter_onnx_error(importer, where, "opset %" PRId64 ", expected 1 to %d",
                                     version, SINTER_ONNX_NEWEST_OPSET);
        items[i] = (sinter_onnx_opset){domain, version};
    }
    *out_opsets = (sinter_onnx_opsets){items, count};
    return true;
}

static bool check_call(sinter_onnx_node *node, const Onnx__FunctionProto *function) {
    const sinter_onnx_call *call = node->scope->call;
    for (const sinter_onnx_call *outer = call; outer; outer = outer->outer)
        if (outer->function == function)
            return sinter_onnx_fail(node, "function '%s' calls itself", function->name);
    if (call && call->depth >= SINTER_ONNX_MAX_CALLS)
        return sinter_onnx_fail(node, "functions are nested more than %d deep",
                                SINTER_ONNX_MAX_CALLS);
    if (node->proto->n_input > function->n_input || node->proto->n_output > function->n_output)
        return sinter_onnx_fail(
            node, "function '%s' has %zu inputs and %zu outputs, the call %zu and %zu",
            function->name, function->n_input, function->n_output, node->proto->n_input,
            node->proto->n_output);
    return true;
}

bool sinter_onnx_call_function(sinter_onnx_node *node, const Onnx__FunctionProto *function) {
    sinter_onnx_importer *importer = node->importer;
    if (!check_call(node, function)) return false;
    const sinter_onnx_call *outer = node->scope->call;
    sinter_onnx_call call = {.outer = outer,
                             .node = node->proto,
                             .function = function,
                             .where = node->where,
                             .depth = outer ? outer->depth + 1 : 1};
    sinter_onnx_scope scope;
    sinter_onnx_scope_init(importer, &scope, NULL, node->scope->region);
    scope.call = &call;
    if (!sinter_onnx_read_opsets(importer, function->opset_import, function->n_opset_import,
                                 node->where, &scope.opsets))
        return false;
    for (size_t i = 0; i < function->n_input; i++)
        sinter_map_put_string(&scope.values, sinter_string_of(function->input[i]),
                              sinter_onnx_operand(node, (uint32_t)i));
    if (!sinter_onnx_nodes(importer, &scope, function->node, function->n_node, node->where))
        return false;
    bool ok = true;
    for (size_t i = 0; i < node->proto->n_output; i++) {
        if (!sinter_onnx_lookup(&scope, function->output[i], &node->results[i]))
            return sinter_onnx_fail(node, "no node computes output '%s' of function '%s'",
                                    function->output[i], function->name);
        ok &= node->results[i] != SINTER_ONNX_UNKNOWN;
    }
    return ok;
}
