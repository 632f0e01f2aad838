/* Part of a module as a module of its own: a copy whose sources become arguments and which keeps what the targets need. Ids
 * stay, so that tables by value or node hold for the part too. Test: tests/unit/graph_extract_test.c */
#include "ir/graph_internal.h"
#include "ir/infer.h"

#include <string.h>

typedef struct extractor {
    sinter_module *original, *module;
    bool *is_source, *is_needed; /* by value; by node */
    bool *is_told;               /* by index of the symbol: the sources tell it */
    sinter_arena scratch;
    sinter_diag *diag;
} extractor;

static bool fail_input(extractor *e, sinter_value input) {
    return sinter_error(e->diag, sinter_module_name(e->original),
                        "a part needs the input %s, which is not among its sources",
                        sinter_value_label(e->original, input));
}

/* ---- which nodes ---- */

typedef struct todo {
    SINTER_VECTOR(sinter_node) nodes;
} todo;

/* The node of the main region that yields the value, or has it inside, is needed. */
static bool need_value(extractor *e, todo *list, sinter_value value) {
    if (!value || e->is_source[value]) return true;
    const sinter_value_info *info = sinter_value_get(e->module, value);
    sinter_node node = info->definition;
    if (!node) node = sinter_region_get(e->module, info->region)->owner;
    if (!node) return fail_input(e, value);
    node = sinter_node_within(e->module, node, sinter_module_main(e->module));
    if (e->is_needed[node]) return true;
    e->is_needed[node] = true;
    sinter_vector_push(&e->scratch, &list->nodes, node);
    return true;
}

static bool need_operands(extractor *e, todo *list, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(e->module, node);
    for (uint32_t i = 0; i < info->operand_count; i++)
        if (!need_value(e, list, info->operands[i])) return false;
    for (uint32_t i = 0; i < info->region_count; i++)
        SINTER_FOR_NODES (e->module, info->regions[i], inside)
            if (!need_operands(e, list, inside)) return false;
    return true;
}

/* A needed node inside of which a source lies would compute it again: sources are of the main region. */
static bool mark_needed(extractor *e, const sinter_value *targets, size_t count) {
    todo list = {0};
    for (size_t i = 0; i < count; i++)
        if (!need_value(e, &list, targets[i])) return false;
    while (list.nodes.count)
        if (!need_operands(e, &list, list.nodes.items[--list.nodes.count])) return false;
    return true;
}

/* ---- the new frame ---- */

static void set_outputs(extractor *e, const sinter_value *targets, size_t count) {
    sinter_module *module = e->module;
    sinter_string *names = SINTER_NEW_ARRAY(&e->scratch, sinter_string, count);
    for (size_t i = 0; i < count; i++) {
        const char *name = sinter_value_get(module, targets[i])->name;
        names[i] = sinter_string_of(name ? name : sinter_value_label(module, targets[i]) + 1);
    }
    sinter_attr attr = sinter_attr_strings("names", names, count);
    sinter_node_spec spec = {.op = SINTER_OP_yield,
                             .operands = targets,
                             .operand_count = (uint32_t)count,
                             .attributes = &attr,
                             .attribute_count = 1};
    sinter_node last = sinter_region_get(module, module->main)->last;
    if (last && sinter_node_op(module, last) == SINTER_OP_yield) sinter_node_erase(module, last);
    e->is_needed[last] = false;
    sinter_node_add(module, module->main, 0, &spec);
}

/* Values in place of definitions and arguments: they keep their ids, names and uses. */
static void set_inputs(extractor *e, const sinter_value *sources, size_t count) {
    sinter_module *module = e->module;
    sinter_region_info *main = &module->regions.items[module->main];
    for (uint32_t i = 0; i < main->argument_count; i++) {
        sinter_value_info *info = &module->values.items[main->arguments[i]];
        if (e->is_source[main->arguments[i]]) continue;
        if (info->name) sinter_map_put_string(&module->names, sinter_string_of(info->name), 0);
        info->name = NULL;
        info->erased = true;
    }
    size_t capacity = 1; /* full to its power of two, as sinter_region_add_argument expects */
    while (capacity < count) capacity *= 2;
    sinter_value *arguments = SINTER_NEW_ARRAY(&module->arena, sinter_value, capacity);
    for (size_t i = 0; i < count; i++) {
        sinter_value_info *info = &module->values.items[arguments[i] = sources[i]];
        if (info->definition)
            ((sinter_value *)module->nodes.items[info->definition].results)[info->index] = 0;
        info->definition = 0;
        info->region = module->main;
        info->index = (uint32_t)i;
    }
    main->arguments = arguments;
    main->argument_count = (uint32_t)count;
}

/* Users come after what they use: erased from the end, results have no uses left. */
static void erase_others(extractor *e) {
    sinter_module *module = e->module;
    sinter_node node = sinter_region_get(module, module->main)->last;
    node = node ? sinter_node_get(module, node)->previous : 0; /* the new yield */
    while (node) {
        sinter_node previous = sinter_node_get(module, node)->previous;
        if (!e->is_needed[node]) sinter_node_erase(module, node);
        node = previous;
    }
}

/* A source whose node stays for other results: the place may not be empty where the schema wants a result. */
static void fill_results(extractor *e) {
    sinter_module *module = e->module;
    SINTER_FOR_NODES (module, module->main, node) {
        const sinter_node_info info = *sinter_node_get(module, node);
        const sinter_op_info *op = sinter_op_get_info(info.op);
        for (uint32_t i = 0; i < info.result_count; i++) {
            const sinter_operand_info *result =
                &op->results[i < op->result_count ? i : op->result_count - 1];
            if (info.results[i] || result->arity == SINTER_ARITY_OPTIONAL) continue;
            sinter_value_info value = {.definition = node, .index = i};
            sinter_vector_push(&module->arena, &module->values, value);
            ((sinter_value *)info.results)[i] = (sinter_value)(module->values.count - 1);
            sinter_infer_node(module, node, NULL);
        }
    }
}

/* ---- symbols ---- */

static bool is_symbol(const extractor *e, sinter_dim dim) {
    return dim && sinter_dim_get_kind(e->module->dims, dim) == SINTER_DIM_SYMBOL;
}

/* The symbols that are dims of sources are read from them. */
static void read_symbols(extractor *e, const sinter_value *sources, size_t count) {
    sinter_dim_table *dims = e->module->dims;
    for (size_t s = 0; s < count; s++) {
        const sinter_type *type = sinter_value_type(e->module, sources[s]);
        for (uint32_t i = 0; i < type->rank; i++) {
            if (!is_symbol(e, type->dims[i])) continue;
            e->is_told[sinter_dim_symbol_index(dims, type->dims[i])] = true;
            sinter_dim_symbol *symbol = sinter_dim_get_symbol(dims, type->dims[i]);
            symbol->origin = SINTER_DIM_ORIGIN_INPUT;
            symbol->value = symbol->index = 0;
        }
    }
}

/* Whether a run of the part knows the dim. */
static bool is_known(const extractor *e, sinter_dim dim) {
    sinter_dim_table *dims = e->module->dims;
    if (!dim) return true;
    if (is_symbol(e, dim)) {
        const sinter_dim_symbol *symbol = sinter_dim_get_symbol(dims, dim);
        if (e->is_told[sinter_dim_symbol_index(dims, dim)]) return true;
        return symbol->origin != SINTER_DIM_ORIGIN_INPUT &&
               !sinter_value_get(e->module, symbol->value)->erased;
    }
    const sinter_dim *operands = NULL;
    size_t count = sinter_dim_operands(dims, dim, &operands);
    for (size_t i = 0; i < count; i++)
        if (!is_known(e, operands[i])) return false;
    return true;
}

/* Lengths that are expressions of what nobody knows get names; true where there were any. */
static bool name_lengths(extractor *e, const sinter_value *sources, size_t count) {
    sinter_dim_table *table = e->module->dims;
    sinter_map names;
    sinter_map_init(&names, &e->scratch);
    bool any = false;
    for (size_t s = 0; s < count; s++) {
        sinter_type type = *sinter_value_type(e->module, sources[s]);
        sinter_dim *dims = SINTER_NEW_ARRAY(&e->scratch, sinter_dim, type.rank);
        bool changed = false;
        for (uint32_t i = 0; i < type.rank; i++) {
            uint64_t name = 0;
            dims[i] = type.dims[i];
            if (is_known(e, dims[i])) continue;
            changed = true;
            if (!sinter_map_find(&names, dims[i], &name)) {
                int64_t low = 0, high = 0;
                sinter_dim_range(table, dims[i], &low, &high);
                name = sinter_dim_fresh(table, "length");
                sinter_dim_symbol *symbol = sinter_dim_get_symbol(table, (sinter_dim)name);
                symbol->min = low > 0 ? low : 0;
                symbol->max = high;
                sinter_map_put(&names, dims[i], name);
            }
            dims[i] = (sinter_dim)name;
        }
        type.dims = dims;
        if (changed) sinter_value_set_type(e->module, sources[s], type);
        any |= changed;
    }
    return any;
}

static bool check_symbols(extractor *e, sinter_region region) {
    SINTER_FOR_NODES (e->module, region, node) {
        const sinter_node_info *info = sinter_node_get(e->module, node);
        for (uint32_t r = 0; r < info->result_count; r++) {
            if (!info->results[r]) continue;
            const sinter_type *type = sinter_value_type(e->module, info->results[r]);
            for (uint32_t i = 0; i < type->rank; i++)
                if (!is_known(e, type->dims[i]))
                    return sinter_error(e->diag, sinter_node_where(e->module, node),
                                        "a part needs dim %u of %s, %s, which its sources do not "
                                        "tell",
                                        i, sinter_value_label(e->module, info->results[r]),
                                        sinter_type_text(e->module->dims, type, &e->scratch));
        }
        for (uint32_t i = 0; i < info->region_count; i++)
            if (!check_symbols(e, info->regions[i])) return false;
    }
    return true;
}

static void count_symbols(extractor *e) {
    size_t count = sinter_dim_symbol_count(e->module->dims);
    e->is_told = SINTER_NEW_ARRAY(&e->scratch, bool, count + 1);
}

static bool settle_symbols(extractor *e, const sinter_value *sources, size_t count) {
    sinter_module *module = e->module;
    count_symbols(e);
    read_symbols(e, sources, count);
    if (name_lengths(e, sources, count)) {
        count_symbols(e);
        read_symbols(e, sources, count);
        sinter_infer_forget_region(module, module->main);
        if (!sinter_infer_region(module, module->main, e->diag)) return false;
        count_symbols(e); /* inference may have made some */
        read_symbols(e, sources, count);
    }
    return check_symbols(e, module->main);
}

sinter_module *sinter_module_extract(sinter_module *module, const sinter_value *sources,
                                     size_t source_count, const sinter_value *targets,
                                     size_t target_count, sinter_diag *diag) {
    extractor e = {.original = module, .module = sinter_module_clone(module), .diag = diag};
    sinter_arena_init(&e.scratch);
    e.is_source = SINTER_NEW_ARRAY(&e.scratch, bool, e.module->values.count);
    e.is_needed = SINTER_NEW_ARRAY(&e.scratch, bool, e.module->nodes.count);
    for (size_t i = 0; i < source_count; i++) e.is_source[sources[i]] = true;
    bool good = mark_needed(&e, targets, target_count);
    if (good) {
        set_outputs(&e, targets, target_count);
        set_inputs(&e, sources, source_count);
        erase_others(&e);
        fill_results(&e);
        good = settle_symbols(&e, sources, source_count);
    }
    sinter_arena_deinit(&e.scratch);
    if (good) return e.module;
    sinter_module_destroy(e.module);
    return NULL;
}
