/* Graphs: the model's own, the subgraphs of control operators, and (through sinter_onnx_nodes) function bodies.
 * Names are looked up in scopes; nodes are imported in dependency order, which is the file's order wherever that
 * is right; duplicate definitions and cycles are errors. Initializers are constants, also those that files of
 * ir_version < 4 repeat among the inputs. Test: tests/suites/onnx_suite.py, tests/suites/bad_input.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <string.h>

void sinter_onnx_scope_init(sinter_onnx_importer *importer, sinter_onnx_scope *scope,
                            const sinter_onnx_scope *outer, sinter_region region) {
    *scope = (sinter_onnx_scope){.outer = outer, .region = region};
    if (outer) {
        scope->opsets = outer->opsets;
        scope->call = outer->call;
    }
    sinter_map_init(&scope->values, &importer->scratch);
}

bool sinter_onnx_lookup(const sinter_onnx_scope *scope, const char *name, sinter_value *out_value) {
    uint64_t found;
    for (; scope; scope = scope->outer) {
        if (!sinter_map_find_string(&scope->values, sinter_string_of(name), &found)) continue;
        *out_value = (sinter_value)found;
        return true;
    }
    return false;
}

/* ---- order of nodes ---- */

typedef struct ordering {
    sinter_onnx_importer *importer;
    Onnx__NodeProto *const *nodes;
    size_t count;
    sinter_map producers; /* name -> index + 1 */
    uint8_t *states;      /* 0 not seen, 1 being visited, 2 done */
    struct {
        size_t *items;
        size_t count;
    } order;
    const char *where;
} ordering;

typedef struct dependencies {
    SINTER_VECTOR(size_t) list; /* indices of nodes of the body */
} dependencies;

static void add_dependency(ordering *o, dependencies *needs, const char *name) {
    uint64_t index;
    if (name && *name && sinter_map_find_string(&o->producers, sinter_string_of(name), &index))
        sinter_vector_push(&o->importer->scratch, &needs->list, (size_t)index - 1);
}

/* Names that a nested graph defines itself, and those of the nested graphs around it. */
typedef struct local_names {
    const struct local_names *outer;
    sinter_map names;
} local_names;

static bool is_local(const local_names *locals, const char *name) {
    uint64_t ignored;
    for (; locals; locals = locals->outer)
        if (sinter_map_find_string(&locals->names, sinter_string_of(name), &ignored)) return true;
    return false;
}

static void add_local(local_names *locals, const char *name) {
    if (name && *name) sinter_map_put_string(&locals->names, sinter_string_of(name), 1);
}

static void add_captures(ordering *o, dependencies *needs, const local_names *locals,
                         const Onnx__NodeProto *node);

static void add_graph_captures(ordering *o, dependencies *needs, const local_names *outer,
                               const Onnx__GraphProto *graph) {
    local_names locals = {.outer = outer};
    sinter_map_init(&locals.names, &o->importer->scratch);
    for (size_t i = 0; i < graph->n_input; i++) add_local(&locals, graph->input[i]->name);
    for (size_t i = 0; i < graph->n_initializer; i++)
        add_local(&locals, graph->initializer[i]->name);
    for (size_t i = 0; i < graph->n_node; i++)
        for (size_t k = 0; k < graph->node[i]->n_output; k++)
            add_local(&locals, graph->node[i]->output[k]);
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *inside = graph->node[i];
        for (size_t k = 0; k < inside->n_input; k++)
            if (!is_local(&locals, inside->input[k])) add_dependency(o, needs, inside->input[k]);
        add_captures(o, needs, &locals, inside);
    }
    for (size_t i = 0; i < graph->n_output; i++)
        if (!is_local(&locals, graph->output[i]->name))
            add_dependency(o, needs, graph->output[i]->name);
}

/* What the graphs inside a node take from around it. */
static void add_captures(ordering *o, dependencies *needs, const local_names *locals,
                         const Onnx__NodeProto *node) {
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (node->attribute[i]->g) add_graph_captures(o, needs, locals, node->attribute[i]->g);
        for (size_t k = 0; k < node->attribute[i]->n_graphs; k++)
            add_graph_captures(o, needs, locals, node->attribute[i]->graphs[k]);
    }
}

static dependencies dependencies_of(ordering *o, size_t index) {
    dependencies needs = {0};
    const Onnx__NodeProto *node = o->nodes[index];
    for (size_t i = 0; i < node->n_input; i++) add_dependency(o, &needs, node->input[i]);
    add_captures(o, &needs, NULL, node);
    return needs;
}

static bool declare_producers(ordering *o, const sinter_onnx_scope *scope) {
    for (size_t i = 0; i < o->count; i++) {
        const Onnx__NodeProto *node = o->nodes[i];
        for (size_t k = 0; k < node->n_output; k++) {
            sinter_string name = sinter_string_of(node->output[k]);
            uint64_t other;
            if (!name.size) continue;
            if (sinter_map_find_string(&o->producers, name, &other) ||
                sinter_map_find_string(&scope->values, name, &other))
                return sinter_onnx_error(o->importer,
                                         sinter_onnx_node_where(o->importer, scope, node),
                                         "'%s' is defined twice", name.data);
            sinter_map_put_string(&o->producers, name, i + 1);
        }
    }
    return true;
}

typedef struct visit {
    size_t node, next;
    dependencies needs;
} visit;

/* Depth first with a stack of its own: the chain of nodes is as long as the model is deep. */
static bool visit_from(ordering *o, size_t root, const sinter_onnx_scope *scope) {
    sinter_arena *arena = &o->importer->scratch;
    SINTER_VECTOR(visit) stack = {0};
    sinter_vector_push(arena, &stack, (visit){.node = root, .needs = dependencies_of(o, root)});
    o->states[root] = 1;
    while (stack.count) {
        visit *top = &stack.items[stack.count - 1];
        if (top->next == top->needs.list.count) {
            o->states[top->node] = 2;
            o->order.items[o->order.count++] = top->node;
            stack.count--;
            continue;
        }
        size_t need = top->needs.list.items[top->next++];
        if (o->states[need] == 2) continue;
        if (o->states[need] == 1)
            return sinter_onnx_error(o->importer,
                                     sinter_onnx_node_where(o->importer, scope, o->nodes[need]),
                                     "the node needs its own result (a cycle)");
        o->states[need] = 1;
        sinter_vector_push(arena, &stack, (visit){.node = need, .needs = dependencies_of(o, need)});
    }
    return true;
}

bool sinter_onnx_nodes(sinter_onnx_importer *importer, sinter_onnx_scope *scope,
                       Onnx__NodeProto *const *nodes, size_t count, const char *where) {
    ordering o = {.importer = importer, .nodes = nodes, .count = count, .where = where};
    sinter_map_init(&o.producers, &importer->scratch);
    o.states = SINTER_NEW_ARRAY(&importer->scratch, uint8_t, count);
    o.order.items = SINTER_NEW_ARRAY(&importer->scratch, size_t, count);
    if (!declare_producers(&o, scope)) return false;
    for (size_t i = 0; i < count; i++)
        if (o.states[i] == 0 && !visit_from(&o, i, scope)) return false;
    for (size_t i = 0; i < count; i++) {
        if (++importer->node_count > SINTER_ONNX_MAX_NODES) {
            importer->gave_up = true;
            return sinter_onnx_error(importer, where, "more than %d nodes after inlining functions",
                                     SINTER_ONNX_MAX_NODES);
        }
        sinter_onnx_node_import(importer, scope, nodes[o.order.items[i]]);
        if (importer->gave_up) return false;
    }
    return true;
}

/* ---- initializers, inputs, outputs ---- */

/* An error was reported by somebody who does not know the importer. */
static bool fail(sinter_onnx_importer *importer) {
    importer->failed = true;
    return false;
}

static bool define(sinter_onnx_importer *importer, sinter_onnx_scope *scope, const char *where,
                   const char *name, sinter_value value) {
    uint64_t other;
    if (!name || !*name) return sinter_onnx_error(importer, where, "a value without a name");
    if (sinter_map_find_string(&scope->values, sinter_string_of(name), &other))
        return sinter_onnx_error(importer, where, "'%s' is defined twice", name);
    sinter_map_put_string(&scope->values, sinter_string_of(name), value);
    return true;
}

static bool import_initializer(sinter_onnx_importer *importer, sinter_onnx_scope *scope,
                               const char *name, sinter_tensor tensor) {
    sinter_builder build = {.module = importer->module,
                            .region = scope->region,
                            .location = importer->name,
                            .diag = importer->diag};
    sinter_value value = sinter_build_constant(&build, tensor);
    if (!value) return fail(importer);
    if (name) sinter_value_set_name(importer->module, value, name);
    return define(importer, scope, importer->name, name, value);
}

static bool import_initializers(sinter_onnx_importer *importer, sinter_onnx_scope *scope,
                                const Onnx__GraphProto *graph) {
    bool ok = true;
    for (size_t i = 0; i < graph->n_initializer; i++) {
        sinter_tensor tensor;
        if (!sinter_tensor_proto_read(&importer->source, graph->initializer[i], &tensor))
            ok = fail(importer);
        else
            ok &= import_initializer(importer, scope, graph->initializer[i]->name, tensor);
    }
    for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
        const Onnx__SparseTensorProto *sparse = graph->sparse_initializer[i];
        sinter_tensor tensor;
        if (!sinter_tensor_proto_read_sparse(&importer->source, sparse, &tensor))
            ok = fail(importer);
        else
            ok &= import_initializer(importer, scope, sparse->values->name, tensor);
    }
    return ok;
}

static const char *value_where(sinter_onnx_importer *importer, const char *what, const char *name) {
    return sinter_arena_format(&importer->scratch, "%s: %s '%s'", importer->name, what,
                               name ? name : "");
}

/* Arguments of the main region: the inputs that no initializer gives. */
static bool import_inputs(sinter_onnx_importer *importer, sinter_onnx_scope *scope,
                          const Onnx__GraphProto *graph) {
    bool ok = true;
    for (size_t i = 0; i < graph->n_input; i++) {
        const Onnx__ValueInfoProto *input = graph->input[i];
        const char *name = input->name ? input->name : "";
        const char *where = value_where(importer, "input", name);
        uint64_t known;
        sinter_type type;
        bool is_constant = sinter_map_find_string(&scope->values, sinter_string_of(name), &known) &&
                           sinter_value_get(importer->module, (sinter_value)known)->definition;
        if (is_constant) continue;
        if (!sinter_onnx_type(importer, where, name, input->type, &type)) {
            ok = false;
            continue;
        }
        sinter_value value =
            sinter_region_add_argument(importer->module, scope->region, type, name);
        ok &= define(importer, scope, where, name, value);
    }
    return ok;
}

/* Yields the outputs; names that the values do not carry themselves go to the yield. */
static bool yield_outputs(sinter_onnx_importer *importer, sinter_onnx_scope *scope,
                          const Onnx__GraphProto *graph, bool is_main) {
    size_t count = graph->n_output;
    sinter_value *values = SINTER_NEW_ARRAY(&importer->scratch, sinter_value, count);
    sinter_string *names = SINTER_NEW_ARRAY(&importer->scratch, sinter_string, count);
    bool named = false;
    for (size_t i = 0; i < count; i++) {
        const char *name = graph->output[i]->name ? graph->output[i]->name : "";
        names[i] = sinter_string_of(name);
        if (!sinter_onnx_lookup(scope, name, &values[i]) || values[i] == 0)
            return sinter_onnx_error(importer, value_where(importer, "output", name),
                                     "no node computes it");
        if (values[i] == SINTER_ONNX_UNKNOWN) return false; /* reported where it failed */
        const char *own = sinter_value_get(importer->module, values[i])->name;
        named |= !own || strcmp(own, name) != 0;
    }
    sinter_builder build = {.module = importer->module,
                            .region = scope->region,
                            .location = importer->name,
                            .diag = importer->diag};
    sinter_attr attr = sinter_attr_strings("names", names, count);
    sinter_node_spec spec = {.op = SINTER_OP_yield,
                             .operands = values,
                             .operand_count = (uint32_t)count,
                             .attributes = &attr,
                             .attribute_count = is_main && named};
    return sinter_build_node(&build, &spec) || fail(importer);
}

bool sinter_onnx_main_graph(sinter_onnx_importer *importer, const Onnx__GraphProto *graph) {
    sinter_onnx_scope scope;
    sinter_onnx_scope_init(importer, &scope, NULL, sinter_module_main(importer->module));
    if (!sinter_onnx_read_opsets(importer, importer->model->opset_import,
                                 importer->model->n_opset_import, importer->path, &scope.opsets))
        return false;
    for (size_t i = 0; i < graph->n_output; i++)
        if (graph->output[i]->name)
            sinter_map_put_string(&importer->outputs, sinter_string_of(graph->output[i]->name), 1);
    bool ok = import_initializers(importer, &scope, graph);
    ok &= import_inputs(importer, &scope, graph);
    return ok && sinter_onnx_nodes(importer, &scope, graph->node, graph->n_node, importer->path) &&
           yield_outputs(importer, &scope, graph, true);
}

/* ---- subgraphs ---- */

sinter_region sinter_onnx_region(sinter_onnx_node *node, const Onnx__GraphProto *graph,
                                 const sinter_type *types, uint32_t count) {
    sinter_onnx_importer *importer = node->importer;
    sinter_module *module = importer->module;
    sinter_onnx_scope scope;
    sinter_region region = sinter_region_add(module);
    sinter_onnx_scope_init(importer, &scope, node->scope, region);
    bool ok = import_initializers(importer, &scope, graph);
    uint32_t arguments = 0;
    for (size_t i = 0; i < graph->n_input && ok; i++) {
        const char *name = graph->input[i]->name ? graph->input[i]->name : "";
        uint64_t known;
        if (sinter_map_find_string(&scope.values, sinter_string_of(name), &known)) continue;
        if (arguments == count)
            return sinter_onnx_fail(node, "the subgraph has %zu inputs, expected %" PRIu32,
                                    graph->n_input, count);
        ok &= define(importer, &scope, node->where, name,
                     sinter_region_add_argument(module, region, types[arguments], name));
        arguments++;
    }
    if (ok && arguments != count)
        ok = sinter_onnx_fail(node, "the subgraph has %" PRIu32 " inputs, expected %" PRIu32,
                              arguments, count);
    ok = ok && sinter_onnx_nodes(importer, &scope, graph->node, graph->n_node, node->where) &&
         yield_outputs(importer, &scope, graph, false);
    return ok ? region : 0;
}

bool sinter_onnx_inline_graph(sinter_onnx_node *node, const Onnx__GraphProto *graph,
                              const sinter_value *inputs, size_t input_count,
                              sinter_value *out_results, size_t result_count) {
    sinter_onnx_importer *importer = node->importer;
    sinter_onnx_scope scope;
    sinter_onnx_scope_init(importer, &scope, node->scope, node->scope->region);
    if (graph->n_input != input_count || graph->n_output != result_count)
        return sinter_onnx_fail(node,
                                "the subgraph has %zu inputs and %zu outputs, expected %zu and %zu",
                                graph->n_input, graph->n_output, input_count, result_count);
    if (!import_initializers(importer, &scope, graph)) return false;
    for (size_t i = 0; i < input_count; i++)
        if (!define(importer, &scope, node->where, graph->input[i]->name, inputs[i])) return false;
    if (!sinter_onnx_nodes(importer, &scope, graph->node, graph->n_node, node->where)) return false;
    for (size_t i = 0; i < result_count; i++) {
        const char *name = graph->output[i]->name ? graph->output[i]->name : "";
        if (!sinter_onnx_lookup(&scope, name, &out_results[i]) || out_results[i] == 0)
            return sinter_onnx_fail(node, "no node computes the subgraph's output '%s'", name);
        if (out_results[i] == SINTER_ONNX_UNKNOWN) return false;
    }
    return true;
}
