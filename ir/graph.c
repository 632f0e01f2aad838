/* The module: its life, its tables of values, nodes and regions, and everything that only looks.
 * Ids index vectors in the module's arena and are never reused, so an id kept by a pass can be
 * asked about after the thing was erased. Changes are in graph_mutate.c, attributes in attr.c.
 * Test: tests/unit/graph_test.c */
#include "ir/graph.h"
#include "ir/base/lex.h"
#include "ir/graph_internal.h"

#include <assert.h>
#include <string.h>

/* Larger constants are no shape: nobody wants their elements as dims. */
enum { MAX_CONTENT = 4096 };

sinter_module *sinter_module_create(const char *name) {
    sinter_module *module = sinter_heap_alloc(sizeof *module);
    sinter_arena *arena = &module->arena;
    sinter_arena_init(arena);
    module->name = sinter_arena_copy_string(arena, name ? name : "", name ? strlen(name) : 0);
    module->dims = sinter_dim_table_create(arena);
    sinter_map_init(&module->names, arena);
    sinter_map_init(&module->name_counts, arena);
    sinter_vector_push(arena, &module->values, (sinter_value_info){.erased = true});
    sinter_vector_push(arena, &module->nodes, (sinter_node_info){.erased = true});
    sinter_vector_push(arena, &module->regions, (sinter_region_info){0});
    module->main = sinter_region_add(module);
    return module;
}

void sinter_module_destroy(sinter_module *module) {
    if (!module) return;
    for (size_t i = 0; i < module->tensors.count; i++)
        sinter_tensor_deinit(module->tensors.items[i]);
    sinter_arena_deinit(&module->arena);
    sinter_heap_free(module->numbers);
    sinter_heap_free(module);
}

const char *sinter_module_name(const sinter_module *module) {
    return module->name;
}

sinter_arena *sinter_module_arena(sinter_module *module) {
    return &module->arena;
}

sinter_dim_table *sinter_module_dims(const sinter_module *module) {
    return module->dims;
}

sinter_region sinter_module_main(const sinter_module *module) {
    return module->main;
}

void sinter_module_set_metadata(sinter_module *module, sinter_string key, sinter_string value) {
    sinter_string copy = sinter_string_copy(&module->arena, value);
    for (size_t i = 0; i < module->metadata.count; i++)
        if (sinter_string_equal(module->metadata.items[i].key, key)) {
            module->metadata.items[i].value = copy;
            return;
        }
    sinter_metadata entry = {sinter_string_copy(&module->arena, key), copy};
    sinter_vector_push(&module->arena, &module->metadata, entry);
}

size_t sinter_module_metadata(const sinter_module *module, size_t index, sinter_string *out_key,
                              sinter_string *out_value) {
    if (index < module->metadata.count) {
        *out_key = module->metadata.items[index].key;
        *out_value = module->metadata.items[index].value;
    }
    return module->metadata.count;
}

/* ---- tables ---- */

const sinter_value_info *sinter_value_get(const sinter_module *module, sinter_value value) {
    assert(value > 0 && value < module->values.count);
    return &module->values.items[value];
}

const sinter_node_info *sinter_node_get(const sinter_module *module, sinter_node node) {
    assert(node > 0 && node < module->nodes.count);
    return &module->nodes.items[node];
}

const sinter_region_info *sinter_region_get(const sinter_module *module, sinter_region region) {
    assert(region > 0 && region < module->regions.count);
    return &module->regions.items[region];
}

sinter_node sinter_node_within(const sinter_module *module, sinter_node node,
                               sinter_region region) {
    while (node && sinter_node_get(module, node)->parent != region)
        node = sinter_region_get(module, sinter_node_get(module, node)->parent)->owner;
    return node;
}

const sinter_type *sinter_value_type(const sinter_module *module, sinter_value value) {
    return &sinter_value_get(module, value)->type;
}

uint32_t sinter_module_value_limit(const sinter_module *module) {
    return (uint32_t)module->values.count;
}

uint32_t sinter_module_node_limit(const sinter_module *module) {
    return (uint32_t)module->nodes.count;
}

uint32_t sinter_module_region_limit(const sinter_module *module) {
    return (uint32_t)module->regions.count;
}

sinter_value sinter_node_operand(const sinter_module *module, sinter_node node, uint32_t i) {
    const sinter_node_info *info = sinter_node_get(module, node);
    return i < info->operand_count ? info->operands[i] : 0;
}

sinter_value sinter_node_result(const sinter_module *module, sinter_node node, uint32_t i) {
    const sinter_node_info *info = sinter_node_get(module, node);
    return i < info->result_count ? info->results[i] : 0;
}

sinter_op sinter_node_op(const sinter_module *module, sinter_node node) {
    return node ? sinter_node_get(module, node)->op : SINTER_OP_NONE;
}

sinter_node sinter_value_definition(const sinter_module *module, sinter_value value) {
    return value ? sinter_value_get(module, value)->definition : 0;
}

bool sinter_value_has_one_use(const sinter_module *module, sinter_value value) {
    return sinter_value_get(module, value)->uses.count == 1;
}

bool sinter_node_widens_float(const sinter_module *module, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(module, node);
    if (info->op != SINTER_OP_cast) return false;
    sinter_dtype from = sinter_value_type(module, info->operands[0])->dtype,
                 to = sinter_value_type(module, info->results[0])->dtype;
    return sinter_dtype_is_float(from) && sinter_dtype_is_float(to) &&
           sinter_dtype_infos[from].bits < sinter_dtype_infos[to].bits;
}

bool sinter_node_makes_factor(const sinter_module *module, sinter_node node, bool has_device) {
    const sinter_op op = sinter_node_get(module, node)->op;
    return sinter_node_widens_float(module, node) ||
           (has_device && sinter_op_has_trait(op, SINTER_TRAIT_FACTOR));
}

/* ---- what is known of a value ---- */

const sinter_tensor *sinter_value_constant(const sinter_module *module, sinter_value value) {
    if (!value) return NULL;
    sinter_node node = sinter_value_get(module, value)->definition;
    if (!node || sinter_node_get(module, node)->op != SINTER_OP_constant) return NULL;
    const sinter_attr *attr = sinter_node_find_attr(module, node, "value");
    return attr && attr->kind == SINTER_ATTR_TENSOR ? attr->tensor : NULL;
}

/* A constant whose elements can be read as int64. */
static const sinter_tensor *integer_constant(const sinter_module *module, sinter_value value) {
    const sinter_tensor *tensor = sinter_value_constant(module, value);
    if (!tensor || tensor->kind != SINTER_TYPE_TENSOR) return NULL;
    bool readable = sinter_dtype_is_integer(tensor->dtype) || tensor->dtype == SINTER_DTYPE_bool;
    return readable ? tensor : NULL;
}

bool sinter_value_known_ints(const sinter_module *module, sinter_value value, int64_t *out_items,
                             size_t capacity, size_t *out_count) {
    if (!value) return false;
    const sinter_tensor *tensor = integer_constant(module, value);
    if (tensor) {
        int64_t count = sinter_tensor_count(tensor);
        if (count < 0 || (uint64_t)count > capacity) return false;
        for (int64_t i = 0; i < count; i++) out_items[i] = sinter_tensor_get_int(tensor, i);
        *out_count = (size_t)count;
        return true;
    }
    const sinter_value_info *info = sinter_value_get(module, value);
    if (!info->content || info->content_count > capacity) return false;
    for (uint32_t i = 0; i < info->content_count; i++)
        if (!info->content[i] ||
            !sinter_dim_is_const(module->dims, info->content[i], &out_items[i]))
            return false;
    *out_count = info->content_count;
    return true;
}

bool sinter_value_known_dims(sinter_module *module, sinter_value value,
                             const sinter_dim **out_items, size_t *out_count) {
    if (!value) return false;
    const sinter_value_info *info = sinter_value_get(module, value);
    if (!info->content) {
        const sinter_tensor *tensor = integer_constant(module, value);
        int64_t count = tensor ? sinter_tensor_count(tensor) : -1;
        if (count < 0 || count > MAX_CONTENT) return false;
        sinter_dim *items = SINTER_NEW_ARRAY(&module->arena, sinter_dim, count);
        for (int64_t i = 0; i < count; i++)
            items[i] = sinter_dim_const(module->dims, sinter_tensor_get_int(tensor, i));
        module->values.items[value].content = items;
        module->values.items[value].content_count = (uint32_t)count;
    }
    for (uint32_t i = 0; i < info->content_count; i++)
        if (!info->content[i]) return false;
    *out_items = info->content;
    *out_count = info->content_count;
    return true;
}

/* ---- labels ---- */

typedef struct numbering {
    const sinter_module *module;
    uint32_t *numbers;
    uint32_t next;
} numbering;

static void number_values(numbering *state, const sinter_value *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (values[i] && !state->module->values.items[values[i]].name)
            state->numbers[values[i]] = state->next++;
}

static void number_region(numbering *state, sinter_region region) {
    const sinter_module *module = state->module;
    const sinter_region_info *info = &module->regions.items[region];
    number_values(state, info->arguments, info->argument_count);
    for (sinter_node node = info->first; node; node = module->nodes.items[node].next) {
        const sinter_node_info *inside = &module->nodes.items[node];
        number_values(state, inside->results, inside->result_count);
        for (uint32_t i = 0; i < inside->region_count; i++)
            number_region(state, inside->regions[i]);
    }
}

const uint32_t *sinter_graph_number_values(const sinter_module *module, sinter_arena *arena) {
    numbering state = {.module = module,
                       .numbers = SINTER_NEW_ARRAY(arena, uint32_t, module->values.count)};
    number_region(&state, module->main);
    return state.numbers;
}

const char *sinter_value_label(sinter_module *module, sinter_value value) {
    if (!value) return "_";
    const sinter_value_info *info = sinter_value_get(module, value);
    if (info->erased) return "%<erased>";
    if (!info->name) {
        if (!module->numbers) {
            module->numbers = sinter_heap_alloc(module->values.count * sizeof *module->numbers);
            numbering state = {.module = module, .numbers = module->numbers};
            number_region(&state, module->main);
        }
        return sinter_arena_format(&module->arena, "%%%u", module->numbers[value]);
    }
    sinter_text text = {0};
    sinter_lex_print_name(&text, '%', sinter_string_of(info->name));
    const char *label = sinter_arena_copy_string(&module->arena, text.data, text.size);
    sinter_text_deinit(&text);
    return label;
}

const char *sinter_node_where(sinter_module *module, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(module, node);
    if (info->location) return info->location;
    const char *op = sinter_op_get_info(info->op)->name;
    sinter_value result = 0;
    for (uint32_t i = 0; i < info->result_count && !result; i++) result = info->results[i];
    if (!result)
        return sinter_arena_format(&module->arena, "module '%s': node (%s)", module->name, op);
    return sinter_arena_format(&module->arena, "module '%s': node %s (%s)", module->name,
                               sinter_value_label(module, result), op);
}

/* ---- inputs and outputs ---- */

/* The yield of the main region; 0 while the module is being built. */
static sinter_node main_yield(const sinter_module *module) {
    sinter_node last = module->regions.items[module->main].last;
    return last && module->nodes.items[last].op == SINTER_OP_yield ? last : 0;
}

uint32_t sinter_module_input_count(const sinter_module *module) {
    return module->regions.items[module->main].argument_count;
}

uint32_t sinter_module_output_count(const sinter_module *module) {
    sinter_node yield = main_yield(module);
    return yield ? module->nodes.items[yield].operand_count : 0;
}

sinter_value sinter_module_input(const sinter_module *module, uint32_t index) {
    const sinter_region_info *region = &module->regions.items[module->main];
    return index < region->argument_count ? region->arguments[index] : 0;
}

sinter_value sinter_module_output(const sinter_module *module, uint32_t index) {
    sinter_node yield = main_yield(module);
    return yield ? sinter_node_operand(module, yield, index) : 0;
}

bool sinter_value_is_output(const sinter_module *module, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(module, value);
    for (size_t i = 0; i < info->uses.count; i++) {
        const sinter_node_info *user = sinter_node_get(module, info->uses.items[i].node);
        if (user->op == SINTER_OP_yield && user->parent == sinter_module_main(module)) return true;
    }
    return false;
}

static const char *name_of(sinter_module *module, sinter_value value, const char *prefix,
                           uint32_t index) {
    const char *name = value ? module->values.items[value].name : NULL;
    return name ? name : sinter_arena_format(&module->arena, "%s_%u", prefix, index);
}

const char *sinter_module_input_name(sinter_module *module, uint32_t index) {
    return name_of(module, sinter_module_input(module, index), "input", index);
}

const char *sinter_module_output_name(sinter_module *module, uint32_t index) {
    sinter_node yield = main_yield(module);
    const sinter_attr *names = yield ? sinter_node_find_attr(module, yield, "names") : NULL;
    if (names && names->kind == SINTER_ATTR_STRINGS && index < names->strings.count)
        return sinter_arena_copy_string(&module->arena, names->strings.items[index].data,
                                        names->strings.items[index].size);
    return name_of(module, sinter_module_output(module, index), "output", index);
}
