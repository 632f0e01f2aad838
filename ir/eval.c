/* Driver of the reference evaluator: runs regions node by node, in order. A frame holds the value
 * of every id, the numbers bound to symbolic dims, and where each value is used for the last time,
 * so that memory is given back. Guarantees: every tensor that a rule made is checked against the
 * inferred type (kind, dtype, rank, dims that are known), and symbols born in a value are bound by
 * it, again in every iteration of a loop. Needs: a module whose types are inferred. Rules are in
 * eval_*.c. Test: tests/unit/eval_test.c, tests/ops/ */
#include "ir/eval_frame.h"
#include "ir/eval_rules.h"
#include "ir/mesh.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const sinter_eval_rule rules[SINTER_OP_COUNT] = {
#define OP(name, operand_names, result_names, attributes, traits, pattern, body, infer, eval, doc) \
 [SINTER_OP_##name] = eval_##eval,
#include "ir/ops.def"
#undef OP
};

typedef struct frame {
    sinter_module *module;
    sinter_dim_table *dims;
    sinter_arena arena;      /* everything below; tensors in `values` are owned one by one */
    sinter_tensor *values;   /* by value id; kind NONE: not computed */
    bool *holds;             /* by value id */
    sinter_value *dead;      /* by node id: first of a list of values not used after the node */
    sinter_value *dead_next; /* by value id */
    int64_t *bindings;       /* by symbol index */
    bool *bound;
    uint32_t *born;      /* by value id: first symbol (index + 1) whose number the value tells */
    uint32_t *born_next; /* by symbol index */
    size_t symbol_count;
    uint32_t value_limit;
    int64_t rank;                      /* of the mesh; -1: of none */
    const sinter_tensor *const *peers; /* while a collective runs: its first operand on each rank */
    sinter_diag *diag;
} frame;

/* ---- the frame ---- */

static void frame_init_symbols(frame *f) {
    f->symbol_count = sinter_dim_symbol_count(f->dims);
    f->bindings = SINTER_NEW_ARRAY(&f->arena, int64_t, f->symbol_count + 1);
    f->bound = SINTER_NEW_ARRAY(&f->arena, bool, f->symbol_count + 1);
}

static sinter_region defining_region(const sinter_module *module, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(module, value);
    return info->definition ? sinter_node_get(module, info->definition)->parent : info->region;
}

/* last[v] = node, at the level of v's definition, after which v is not needed. */
static void find_last_uses(const sinter_module *module, sinter_region region, sinter_node *last) {
    SINTER_FOR_NODES (module, region, node) {
        const sinter_node_info *info = sinter_node_get(module, node);
        for (uint32_t i = 0; i < info->operand_count; i++) {
            sinter_value value = info->operands[i];
            if (value)
                last[value] = sinter_node_within(module, node, defining_region(module, value));
        }
        for (uint32_t i = 0; i < info->result_count; i++)
            if (info->results[i]) last[info->results[i]] = node;
        for (uint32_t i = 0; i < info->region_count; i++)
            find_last_uses(module, info->regions[i], last);
    }
}

static void frame_init_values(frame *f, sinter_region region) {
    f->value_limit = sinter_module_value_limit(f->module);
    f->values = SINTER_NEW_ARRAY(&f->arena, sinter_tensor, f->value_limit);
    f->holds = SINTER_NEW_ARRAY(&f->arena, bool, f->value_limit);
    f->dead = SINTER_NEW_ARRAY(&f->arena, sinter_value, sinter_module_node_limit(f->module));
    f->dead_next = SINTER_NEW_ARRAY(&f->arena, sinter_value, f->value_limit);
    f->born = SINTER_NEW_ARRAY(&f->arena, uint32_t, f->value_limit);
    f->born_next = SINTER_NEW_ARRAY(&f->arena, uint32_t, f->symbol_count + 1);

    sinter_node *last = SINTER_NEW_ARRAY(&f->arena, sinter_node, f->value_limit);
    find_last_uses(f->module, region, last);
    for (sinter_value value = 1; value < f->value_limit; value++) {
        if (!last[value]) continue;
        f->dead_next[value] = f->dead[last[value]];
        f->dead[last[value]] = value;
    }
    for (size_t i = 0; i < f->symbol_count; i++) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(f->dims, sinter_dim_symbol_at(f->dims, i));
        if (symbol->origin == SINTER_DIM_ORIGIN_INPUT || symbol->value >= f->value_limit) continue;
        f->born_next[i] = f->born[symbol->value];
        f->born[symbol->value] = (uint32_t)i + 1;
    }
}

static void frame_init(frame *f, sinter_module *module, sinter_diag *diag) {
    *f = (frame){.module = module,
                 .dims = sinter_module_dims(module),
                 .rank = sinter_module_mesh(module)->rank,
                 .diag = diag};
    sinter_arena_init(&f->arena);
    frame_init_symbols(f);
}

static void frame_drop(frame *f, sinter_value value) {
    if (!f->holds[value]) return;
    sinter_tensor_deinit(&f->values[value]);
    f->values[value] = (sinter_tensor){0};
    f->holds[value] = false;
}

static void frame_deinit(frame *f) {
    for (sinter_value value = 1; value < f->value_limit; value++) frame_drop(f, value);
    sinter_arena_deinit(&f->arena);
}

/* NULL where the value was not computed. */
static const sinter_tensor *frame_find(const frame *f, sinter_value value) {
    if (value < f->value_limit && f->holds[value]) return &f->values[value];
    return sinter_value_constant(f->module, value);
}

/* ---- symbolic dims ---- */

static bool dim_is_bound(const frame *f, sinter_dim dim) {
    sinter_dim_kind kind = sinter_dim_get_kind(f->dims, dim);
    if (kind == SINTER_DIM_CONST) return true;
    if (kind == SINTER_DIM_SYMBOL) {
        size_t index = sinter_dim_symbol_index(f->dims, dim);
        return index < f->symbol_count && f->bound[index];
    }
    const sinter_dim *operands;
    size_t count = sinter_dim_operands(f->dims, dim, &operands);
    for (size_t i = 0; i < count; i++)
        if (!dim_is_bound(f, operands[i])) return false;
    return true;
}

/* Numbers for the symbols that this value gives birth to. */
static void bind_symbols(frame *f, sinter_value value, const sinter_tensor *tensor) {
    if (!f->born || tensor->kind != SINTER_TYPE_TENSOR) return;
    for (uint32_t i = f->born[value]; i; i = f->born_next[i - 1]) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(f->dims, sinter_dim_symbol_at(f->dims, i - 1));
        if (symbol->origin == SINTER_DIM_ORIGIN_NODE) {
            if (symbol->index >= tensor->rank) continue;
            f->bindings[i - 1] = tensor->dims[symbol->index];
        } else {
            if (symbol->index >= sinter_tensor_count(tensor)) continue;
            f->bindings[i - 1] = sinter_tensor_get_int(tensor, symbol->index);
        }
        f->bound[i - 1] = true;
    }
}

/* An input names its symbols: the first dim that is one binds it. */
static bool bind_input_symbols(frame *f, const sinter_type *type, const sinter_tensor *tensor,
                               const char *label) {
    if (type->kind != SINTER_TYPE_TENSOR || type->rank != tensor->rank) return true;
    for (uint32_t i = 0; i < type->rank; i++) {
        if (sinter_dim_get_kind(f->dims, type->dims[i]) != SINTER_DIM_SYMBOL) continue;
        size_t index = sinter_dim_symbol_index(f->dims, type->dims[i]);
        if (f->bound[index]) continue;
        const sinter_dim_symbol *symbol = sinter_dim_get_symbol(f->dims, type->dims[i]);
        int64_t value = tensor->dims[i];
        if (value < symbol->min || value > symbol->max ||
            (symbol->multiple > 1 && value % symbol->multiple != 0))
            return sinter_error(f->diag, label,
                                "dim %s is %" PRId64 ", expected a multiple of %" PRId64
                                " from %" PRId64 " to %" PRId64,
                                symbol->name, value, symbol->multiple, symbol->min, symbol->max);
        f->bindings[index] = value;
        f->bound[index] = true;
    }
    return true;
}

static const char *describe_tensor(sinter_arena *arena, const sinter_tensor *tensor) {
    if (tensor->kind == SINTER_TYPE_NONE) return "none";
    if (tensor->kind == SINTER_TYPE_SEQUENCE)
        return sinter_arena_format(arena, "a sequence of %zu", tensor->item_count);
    if (tensor->kind == SINTER_TYPE_OPTIONAL)
        return tensor->item_count ? "an optional that holds something" : "an empty optional";
    if (tensor->kind == SINTER_TYPE_MAP) return "a map";
    sinter_text text = {0};
    sinter_text_format(&text, "%s[", sinter_dtype_infos[tensor->dtype].name);
    for (uint32_t i = 0; i < tensor->rank; i++)
        sinter_text_format(&text, "%s%" PRId64, i ? "," : "", tensor->dims[i]);
    sinter_text_append_string(&text, "]");
    const char *copy = sinter_arena_copy_string(arena, text.data, text.size);
    sinter_text_deinit(&text);
    return copy;
}

/* Whether the tensor is what the type says as far as its dims are bound. */
static bool tensor_has_type(const frame *f, const sinter_tensor *tensor, const sinter_type *type) {
    if (type->kind == SINTER_TYPE_NONE) return true;
    if (tensor->kind != type->kind) return false;
    if (type->kind != SINTER_TYPE_TENSOR) return true;
    if (tensor->dtype != type->dtype || tensor->rank != type->rank) return false;
    for (uint32_t i = 0; i < type->rank; i++) {
        int64_t wanted;
        if (!dim_is_bound(f, type->dims[i])) continue;
        if (!sinter_dim_evaluate(f->dims, type->dims[i], f->bindings, &wanted)) return false;
        if (tensor->dims[i] != wanted) return false;
    }
    return true;
}

static bool check_type(frame *f, const sinter_tensor *tensor, sinter_value value,
                       const char *where) {
    const sinter_type *type = sinter_value_type(f->module, value);
    if (tensor_has_type(f, tensor, type)) return true;
    sinter_text expected = {0};
    sinter_type_describe(f->dims, type, &expected);
    sinter_error(f->diag, where, "%s is %s, expected %s", sinter_value_label(f->module, value),
                 describe_tensor(&f->arena, tensor), expected.data);
    sinter_text_deinit(&expected);
    return false;
}

/* Takes the tensor. */
static bool frame_set(frame *f, sinter_value value, sinter_tensor *tensor, const char *where) {
    bind_symbols(f, value, tensor);
    bool good = check_type(f, tensor, value, where);
    if (!f->values) {
        sinter_tensor_deinit(tensor);
        return good;
    }
    frame_drop(f, value);
    f->values[value] = *tensor;
    f->holds[value] = true;
    return good;
}

/* ---- nodes and regions ---- */

static const char *node_where(const sinter_node_info *info) {
    return info->location ? info->location : sinter_op_get_info(info->op)->name;
}

/* Rules may count on required operands, and, but for identity and the host-level patterns, on tensors. */
static bool check_operands(sinter_eval *eval) {
    const sinter_op_info *op = sinter_op_get_info(eval->info->op);
    bool any_kind = op->pattern == SINTER_PATTERN_CONTROL ||
                    op->pattern == SINTER_PATTERN_SEQUENCE || eval->info->op == SINTER_OP_identity;
    for (uint32_t i = 0; i < op->operand_count || i < eval->info->operand_count; i++) {
        uint32_t last = op->operand_count - 1;
        const sinter_operand_info *schema = &op->operands[i < last ? i : last];
        const sinter_tensor *operand = sinter_eval_operand(eval, i);
        if (!operand && schema->arity == SINTER_ARITY_ONE)
            return sinter_eval_error(eval, "operand %.*s is missing",
                                     SINTER_STRING_ARGS(schema->name));
        if (operand && !any_kind && operand->kind != SINTER_TYPE_TENSOR)
            return sinter_eval_error(eval, "operand %.*s is %s, expected a tensor",
                                     SINTER_STRING_ARGS(schema->name),
                                     sinter_eval_describe(eval, operand));
    }
    return true;
}

static bool run_rule(frame *f, sinter_node node, const sinter_tensor *const *operands,
                     sinter_tensor *results) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_eval eval = {.module = f->module,
                        .node = node,
                        .info = sinter_node_get(f->module, node),
                        .operands = operands,
                        .results = results,
                        .diag = f->diag,
                        .frame = f,
                        .scratch = &scratch,
                        .rank = f->rank,
                        .peers = f->peers};
    size_t errors = f->diag->error_count;
    bool good = check_operands(&eval) && rules[eval.info->op](&eval);
    assert(good || f->diag->error_count > errors);
    (void)errors;
    for (uint32_t i = 0; good && i < eval.info->result_count; i++)
        assert(!eval.info->results[i] || results[i].kind != SINTER_TYPE_NONE);
    sinter_arena_deinit(&scratch);
    return good;
}

static bool run_node(frame *f, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(f->module, node);
    const char *where = node_where(info);
    const sinter_tensor **operands =
        sinter_heap_alloc((info->operand_count + 1) * sizeof *operands);
    sinter_tensor *results = sinter_heap_alloc((info->result_count + 1) * sizeof *results);
    bool good = true;
    for (uint32_t i = 0; good && i < info->operand_count; i++) {
        if (!info->operands[i]) continue;
        operands[i] = frame_find(f, info->operands[i]);
        if (!operands[i])
            good = sinter_error(f->diag, where, "%s has no value here",
                                sinter_value_label(f->module, info->operands[i]));
    }
    good = good && run_rule(f, node, operands, results);
    for (uint32_t i = 0; i < info->result_count; i++) {
        if (good && info->results[i])
            good = frame_set(f, info->results[i], &results[i], where);
        else
            sinter_tensor_deinit(&results[i]);
    }
    for (sinter_value value = f->dead[node]; value; value = f->dead_next[value])
        frame_drop(f, value);
    sinter_heap_free(operands);
    sinter_heap_free(results);
    return good;
}

static bool enter_region(frame *f, sinter_region region, const sinter_tensor *arguments,
                         size_t argument_count, const char *where) {
    const sinter_region_info *info = sinter_region_get(f->module, region);
    if (info->argument_count != argument_count)
        return sinter_error(f->diag, where, "the region takes %u arguments, %zu are given",
                            info->argument_count, argument_count);
    bool good = true;
    for (uint32_t i = 0; good && i < argument_count; i++) {
        sinter_tensor copy;
        sinter_tensor_copy(&copy, &arguments[i]);
        good = frame_set(f, info->arguments[i], &copy, where);
    }
    return good;
}

/* What the region yields; nothing of it is left after that, whether it went well or not. */
static bool leave_region(frame *f, sinter_region region, bool good, sinter_tensor *results,
                         size_t result_count, const char *where) {
    const sinter_region_info *info = sinter_region_get(f->module, region);
    const sinter_node_info *yield = good ? sinter_node_get(f->module, info->last) : NULL;
    if (good && (yield->op != SINTER_OP_yield || yield->operand_count != result_count))
        good = sinter_error(f->diag, where, "the region yields %u values, expected %zu",
                            yield->operand_count, result_count);
    for (uint32_t i = 0; good && i < result_count; i++) {
        const sinter_tensor *value = yield->operands[i] ? frame_find(f, yield->operands[i]) : NULL;
        if (!value) {
            sinter_tensors_deinit(results, i);
            memset(results, 0, i * sizeof *results);
            good = sinter_error(f->diag, where, "result %u of the region has no value", i);
            break;
        }
        sinter_tensor_copy(&results[i], value);
    }
    for (sinter_value value = info->last ? f->dead[info->last] : 0; value;
         value = f->dead_next[value])
        frame_drop(f, value);
    for (uint32_t i = 0; i < info->argument_count; i++) frame_drop(f, info->arguments[i]);
    return good;
}

static bool run_region(frame *f, sinter_region region, const sinter_tensor *arguments,
                       size_t argument_count, sinter_tensor *results, size_t result_count,
                       const char *where) {
    bool good = enter_region(f, region, arguments, argument_count, where);
    const sinter_region_info *info = sinter_region_get(f->module, region);
    sinter_node node = info->first;
    for (; good && node != info->last; node = sinter_node_get(f->module, node)->next)
        good = run_node(f, node);
    return leave_region(f, region, good, results, result_count, where);
}

bool sinter_eval_region(sinter_eval *eval, sinter_region region, const sinter_tensor *arguments,
                        size_t argument_count, sinter_tensor *out_results, size_t result_count) {
    return run_region(eval->frame, region, arguments, argument_count, out_results, result_count,
                      node_where(eval->info));
}

/* ---- entry points ---- */

static bool bind_inputs(frame *f, const sinter_region_info *main, const sinter_tensor *inputs) {
    bool good = true;
    for (uint32_t i = 0; good && i < main->argument_count; i++)
        good = bind_input_symbols(f, sinter_value_type(f->module, main->arguments[i]), &inputs[i],
                                  sinter_value_label(f->module, main->arguments[i]));
    return good;
}

bool sinter_eval_module(sinter_module *module, const sinter_tensor *inputs, size_t input_count,
                        sinter_tensor *out_outputs, size_t output_count, sinter_diag *diag) {
    sinter_region region = sinter_module_main(module);
    const sinter_region_info *info = sinter_region_get(module, region);
    const char *where = sinter_module_name(module);
    memset(out_outputs, 0, output_count * sizeof *out_outputs);
    if (info->argument_count != input_count)
        return sinter_error(diag, where, "%u inputs expected, %zu given", info->argument_count,
                            input_count);
    frame f;
    frame_init(&f, module, diag);
    frame_init_values(&f, region);
    bool good = bind_inputs(&f, info, inputs) &&
                run_region(&f, region, inputs, input_count, out_outputs, output_count, where);
    frame_deinit(&f);
    return good;
}

/* ---- evaluations that stop at collectives ---- */

struct sinter_eval_frame {
    frame inner;
    sinter_node at; /* not run so far */
};

sinter_eval_frame *sinter_eval_frame_create(sinter_module *module, int64_t rank,
                                            const sinter_tensor *inputs, size_t input_count,
                                            sinter_diag *diag) {
    sinter_region region = sinter_module_main(module);
    const sinter_region_info *info = sinter_region_get(module, region);
    const char *where = sinter_module_name(module);
    sinter_eval_frame *f = sinter_heap_alloc(sizeof *f);
    frame_init(&f->inner, module, diag);
    frame_init_values(&f->inner, region);
    f->inner.rank = rank;
    f->at = info->first;
    bool good = info->argument_count == input_count ||
                sinter_error(diag, where, "%u inputs expected, %zu given", info->argument_count,
                             input_count);
    if (good && bind_inputs(&f->inner, info, inputs) &&
        enter_region(&f->inner, region, inputs, input_count, where))
        return f;
    sinter_eval_frame_destroy(f);
    return NULL;
}

void sinter_eval_frame_destroy(sinter_eval_frame *f) {
    if (!f) return;
    frame_deinit(&f->inner);
    sinter_heap_free(f);
}

bool sinter_eval_frame_advance(sinter_eval_frame *f, sinter_node *out_collective) {
    sinter_module *module = f->inner.module;
    sinter_node last = sinter_region_get(module, sinter_module_main(module))->last;
    for (; f->at != last; f->at = sinter_node_get(module, f->at)->next) {
        *out_collective = f->at;
        if (sinter_node_exchanges(module, f->at)) return true;
        if (!run_node(&f->inner, f->at)) return false;
    }
    *out_collective = 0;
    return true;
}

const sinter_tensor *sinter_eval_frame_value(const sinter_eval_frame *f, sinter_value value) {
    return frame_find(&f->inner, value);
}

bool sinter_eval_frame_exchange(sinter_eval_frame *f, const sinter_tensor *const *peers) {
    f->inner.peers = peers;
    bool good = run_node(&f->inner, f->at);
    f->inner.peers = NULL;
    f->at = sinter_node_get(f->inner.module, f->at)->next;
    return good;
}

bool sinter_eval_frame_finish(sinter_eval_frame *f, sinter_tensor *out_outputs,
                              size_t output_count) {
    return leave_region(&f->inner, sinter_module_main(f->inner.module), true, out_outputs,
                        output_count, sinter_module_name(f->inner.module));
}

bool sinter_eval_node(sinter_module *module, sinter_node node, const sinter_tensor *const *operands,
                      sinter_tensor *out_results, sinter_diag *diag) {
    frame f;
    frame_init(&f, module, diag);
    const sinter_node_info *info = sinter_node_get(module, node);
    if (info->region_count) frame_init_values(&f, info->parent);
    memset(out_results, 0, info->result_count * sizeof *out_results);
    bool good = run_rule(&f, node, operands, out_results);
    for (uint32_t i = 0; good && i < info->result_count; i++)
        if (info->results[i])
            good = check_type(&f, &out_results[i], info->results[i], node_where(info));
    if (!good) {
        sinter_tensors_deinit(out_results, info->result_count);
        memset(out_results, 0, info->result_count * sizeof *out_results);
    }
    frame_deinit(&f);
    return good;
}

bool(sinter_eval_error)(sinter_eval *eval, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    sinter_text text = {0};
    sinter_text_format_list(&text, format, arguments);
    va_end(arguments);
    sinter_error(eval->diag, node_where(eval->info), "%s: %s",
                 sinter_op_get_info(eval->info->op)->name, text.data);
    sinter_text_deinit(&text);
    return false;
}

bool sinter_eval_find_dim(sinter_eval *eval, sinter_dim dim, int64_t *out_value) {
    frame *f = eval->frame;
    return dim_is_bound(f, dim) && sinter_dim_evaluate(f->dims, dim, f->bindings, out_value);
}

bool sinter_eval_dim(sinter_eval *eval, sinter_dim dim, int64_t *out_value) {
    frame *f = eval->frame;
    if (sinter_eval_find_dim(eval, dim, out_value)) return true;
    sinter_text text = {0};
    sinter_dim_describe(f->dims, dim, &text);
    sinter_eval_error(eval, "the dim %s has no value here", text.data);
    sinter_text_deinit(&text);
    return false;
}

const char *sinter_eval_describe(sinter_eval *eval, const sinter_tensor *tensor) {
    return describe_tensor(eval->scratch, tensor);
}

/* ---- the structure of the graph ---- */

bool eval_yield(sinter_eval *eval) {
    (void)eval; /* run_region reads its operands */
    return true;
}

bool eval_group(sinter_eval *eval) {
    uint32_t count = eval->info->operand_count;
    sinter_tensor *arguments = SINTER_NEW_ARRAY(eval->scratch, sinter_tensor, count + 1);
    for (uint32_t i = 0; i < count; i++)
        if (eval->operands[i]) arguments[i] = *eval->operands[i];
    return sinter_eval_region(eval, eval->info->regions[0], arguments, count, eval->results,
                              eval->info->result_count);
}

bool eval_if(sinter_eval *eval) {
    int64_t condition;
    if (eval->info->region_count != 2) return sinter_eval_error(eval, "needs two regions");
    if (!sinter_eval_int_scalar(eval, 0, &condition)) return false;
    return sinter_eval_region(eval, eval->info->regions[condition ? 0 : 1], NULL, 0, eval->results,
                              eval->info->result_count);
}
