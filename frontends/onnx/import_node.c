/* One node: its operands from the scope, its row from ops.def, its rule, its results into the scope. Also the list
 * of what is not supported: a node without a row is reported with everything known about it, and so is every
 * other one, since nodes behind it are looked up though they can't be built.
 * Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <string.h>

static const sinter_onnx_row rows[] = {
#define ONNX(domain, name, since, op, edits, rule)                                                 \
 {domain, name, since, SINTER_OP_##op, edits, sinter_onnx_rule_##rule},
#define SINTER_OP_none SINTER_OP_NONE
#include "frontends/onnx/ops.def"
#undef SINTER_OP_none
#undef ONNX
};
enum { ROW_COUNT = sizeof rows / sizeof *rows };

const char *sinter_onnx_domain(const char *domain) {
    return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

const sinter_onnx_row *sinter_onnx_row_at(size_t index) {
    return index < ROW_COUNT ? &rows[index] : NULL;
}

const sinter_onnx_row *sinter_onnx_find_row(const char *domain, const char *name, int64_t version) {
    const sinter_onnx_row *best = NULL;
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (rows[i].since <= version && (!best || rows[i].since > best->since) &&
            strcmp(rows[i].name, name) == 0 && strcmp(rows[i].domain, domain) == 0)
            best = &rows[i];
    return best;
}

const char *sinter_onnx_node_where(sinter_onnx_importer *importer, const sinter_onnx_scope *scope,
                                   const Onnx__NodeProto *proto) {
    const char *name = proto->name ? proto->name : "", *op = proto->op_type ? proto->op_type : "";
    for (size_t i = 0; i < proto->n_output && !*name; i++) name = proto->output[i];
    return sinter_arena_format(&importer->scratch, "%s: node '%s' (%s)",
                               scope->call ? scope->call->where : importer->name, name, op);
}

/* ---- unsupported nodes ---- */

static void describe_value(sinter_onnx_importer *importer, const sinter_onnx_scope *scope,
                           const char *name, sinter_text *text) {
    sinter_value value;
    if (!*name)
        sinter_text_append_string(text, "_");
    else if (!sinter_onnx_lookup(scope, name, &value) || !value || value == SINTER_ONNX_UNKNOWN)
        sinter_text_append_string(text, "?");
    else
        sinter_type_describe(sinter_module_dims(importer->module),
                             sinter_value_type(importer->module, value), text);
}

static void report_unsupported(sinter_onnx_importer *importer, const sinter_onnx_scope *scope,
                               const Onnx__NodeProto *proto, int64_t version) {
    const char *domain = sinter_onnx_domain(proto->domain);
    sinter_text inputs = {0};
    for (size_t i = 0; i < proto->n_input; i++) {
        if (i) sinter_text_append_string(&inputs, ", ");
        describe_value(importer, scope, proto->input[i], &inputs);
    }
    sinter_onnx_error(importer, sinter_onnx_node_where(importer, scope, proto),
                      "operator %s%s%s of opset %" PRId64 " is not supported; inputs (%s)", domain,
                      *domain ? "." : "", proto->op_type ? proto->op_type : "", version,
                      inputs.data ? inputs.data : "");
    sinter_text_deinit(&inputs);
}

static int64_t version_of(const sinter_onnx_scope *scope, const char *domain) {
    for (size_t i = 0; i < scope->opsets.count; i++)
        if (strcmp(scope->opsets.items[i].domain, domain) == 0)
            return scope->opsets.items[i].version;
    return 1; /* domains of vendors are often left out of the imports */
}

/* A node that can't be built because what it needs is unknown: it and the graphs inside it are looked up. */
static void check_node(sinter_onnx_importer *importer, const sinter_onnx_scope *scope,
                       const Onnx__NodeProto *proto) {
    const char *domain = sinter_onnx_domain(proto->domain);
    int64_t version = version_of(scope, domain);
    if (!sinter_onnx_find_function(importer, proto) &&
        !sinter_onnx_find_row(domain, proto->op_type ? proto->op_type : "", version))
        report_unsupported(importer, scope, proto, version);
    for (size_t i = 0; i < proto->n_attribute; i++)
        for (size_t k = 0; proto->attribute[i]->g && k < proto->attribute[i]->g->n_node; k++)
            check_node(importer, scope, proto->attribute[i]->g->node[k]);
}

/* ---- one node ---- */

/* False after an error. *out_known is false where an operand is UNKNOWN. */
static bool find_operands(sinter_onnx_node *node, bool *out_known) {
    const Onnx__NodeProto *proto = node->proto;
    sinter_value *operands =
        SINTER_NEW_ARRAY(&node->importer->scratch, sinter_value, proto->n_input);
    *out_known = true;
    for (size_t i = 0; i < proto->n_input; i++) {
        const char *name = proto->input[i];
        if (!*name) continue;
        if (!sinter_onnx_lookup(node->scope, name, &operands[i]))
            return sinter_onnx_fail(node, "input '%s' is not defined", name);
        if (operands[i]) node->operand_count = (uint32_t)i + 1;
        if (operands[i] == SINTER_ONNX_UNKNOWN) *out_known = false;
    }
    node->operands = operands;
    return true;
}

static bool run_rule(sinter_onnx_node *node, const Onnx__FunctionProto *function) {
    if (function) return sinter_onnx_call_function(node, function);
    bool ok = node->row->rule(node);
    return ok && !node->failed;
}

/* Names of results that stay as the file has them: the model's outputs keep theirs for themselves. */
static void name_result(sinter_onnx_importer *importer, const sinter_onnx_scope *scope,
                        const char *name, sinter_value value) {
    uint64_t ignored;
    const sinter_value_info *info = sinter_value_get(importer->module, value);
    bool in_main = !scope->outer && !scope->call;
    if (info->name || !info->definition) return;
    if (!in_main && sinter_map_find_string(&importer->outputs, sinter_string_of(name), &ignored))
        return;
    sinter_value_set_name(importer->module, value, name);
}

static void bind_results(sinter_onnx_importer *importer, sinter_onnx_scope *scope,
                         const sinter_onnx_node *node, bool ok) {
    for (size_t i = 0; i < node->proto->n_output; i++) {
        const char *name = node->proto->output[i];
        sinter_value value = ok ? node->results[i] : SINTER_ONNX_UNKNOWN;
        if (!*name) continue;
        sinter_map_put_string(&scope->values, sinter_string_of(name), value);
        if (ok && value) name_result(importer, scope, name, value);
    }
}

bool sinter_onnx_node_import(sinter_onnx_importer *importer, sinter_onnx_scope *scope,
                             const Onnx__NodeProto *proto) {
    const char *domain = sinter_onnx_domain(proto->domain);
    sinter_onnx_node node = {.importer = importer,
                             .scope = scope,
                             .proto = proto,
                             .version = version_of(scope, domain),
                             .where = sinter_onnx_node_where(importer, scope, proto)};
    node.build = (sinter_builder){.module = importer->module,
                                  .region = scope->region,
                                  .location = node.where,
                                  .diag = importer->diag};
    node.results = SINTER_NEW_ARRAY(&importer->scratch, sinter_value, proto->n_output);
    const Onnx__FunctionProto *function = sinter_onnx_find_function(importer, proto);
    if (!function)
        node.row = sinter_onnx_find_row(domain, proto->op_type ? proto->op_type : "", node.version);
    bool known = true, ok = find_operands(&node, &known);
    if (ok && !function && (!known || !node.row)) {
        check_node(importer, scope, proto);
        ok = false;
    } else if (ok) {
        ok = run_rule(&node, function);
    }
    if (!ok) importer->failed = true;
    bind_results(importer, scope, &node, ok);
    return ok;
}

/* ---- for rules ---- */

bool sinter_onnx_fail(sinter_onnx_node *node, const char *format, ...) {
    sinter_text text = {0};
    va_list arguments;
    va_start(arguments, format);
    sinter_text_format_list(&text, format, arguments);
    va_end(arguments);
    sinter_onnx_error(node->importer, node->where, "%s", text.data ? text.data : "");
    sinter_text_deinit(&text);
    node->failed = true;
    return false;
}

sinter_value sinter_onnx_operand(const sinter_onnx_node *node, uint32_t index) {
    return index < node->operand_count ? node->operands[index] : 0;
}

sinter_value sinter_onnx_need_operand(sinter_onnx_node *node, uint32_t index, const char *name) {
    sinter_value value = sinter_onnx_operand(node, index);
    if (!value) sinter_onnx_fail(node, "input %" PRIu32 " (%s) is missing", index, name);
    return value;
}

const sinter_type *sinter_onnx_type_of(const sinter_onnx_node *node, sinter_value value) {
    return sinter_value_type(node->importer->module, value);
}

bool sinter_onnx_wants(const sinter_onnx_node *node, uint32_t result) {
    return result < node->proto->n_output && *node->proto->output[result];
}

bool sinter_onnx_return(sinter_onnx_node *node, sinter_value value) {
    if (!value) return false;
    if (node->proto->n_output == 0) return sinter_onnx_fail(node, "the node has no output");
    node->results[0] = value;
    return true;
}

bool sinter_onnx_known_ints(sinter_onnx_node *node, sinter_value value, int64_t *out_items,
                            size_t capacity, size_t *out_count) {
    return sinter_value_known_ints(node->importer->module, value, out_items, capacity, out_count);
}

bool sinter_onnx_known_number(sinter_onnx_node *node, sinter_value value, double *out_number) {
    const sinter_tensor *tensor = sinter_value_constant(node->importer->module, value);
    if (!tensor || sinter_tensor_count(tensor) != 1) return false;
    if (sinter_dtype_is_float(tensor->dtype))
        *out_number = sinter_tensor_get_double(tensor, 0);
    else if (tensor->dtype != SINTER_DTYPE_string)
        *out_number = (double)sinter_tensor_get_int(tensor, 0);
    return tensor->dtype != SINTER_DTYPE_string;
}

sinter_value sinter_onnx_op1(sinter_onnx_node *node, sinter_op op, sinter_value a) {
    return sinter_build_unary(&node->build, op, a);
}

sinter_value sinter_onnx_op2(sinter_onnx_node *node, sinter_op op, sinter_value a, sinter_value b) {
    return sinter_build_binary(&node->build, op, a, b);
}

sinter_value sinter_onnx_op3(sinter_onnx_node *node, sinter_op op, sinter_value a, sinter_value b,
                             sinter_value c) {
    sinter_value operands[] = {a, b, c};
    return a && b && c ? sinter_build(&node->build, op, operands, 3, NULL, 0) : 0;
}

sinter_value sinter_onnx_op_number(sinter_onnx_node *node, sinter_op op, sinter_value a,
                                   double number) {
    if (!a) return 0;
    return sinter_onnx_op2(
        node, op, a,
        sinter_build_scalar(&node->build, sinter_onnx_type_of(node, a)->dtype, number));
}

sinter_value sinter_onnx_unsqueeze(sinter_onnx_node *node, sinter_value value, const int64_t *axes,
                                   size_t count) {
    if (!value || count == 0) return value;
    return sinter_onnx_op2(node, SINTER_OP_unsqueeze, value,
                           sinter_build_ints(&node->build, axes, count));
}

sinter_value sinter_onnx_reshape_dims(sinter_onnx_node *node, sinter_value value,
                                      const sinter_dim *dims, size_t count) {
    if (!value) return 0;
    sinter_value operands[] = {value, sinter_build_dims(&node->build, dims, count)};
    sinter_attr allow_zero = sinter_attr_int("allowzero", 1);
    return operands[1] ? sinter_build(&node->build, SINTER_OP_reshape, operands, 2, &allow_zero, 1)
                       : 0;
}
