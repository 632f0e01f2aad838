/* Copy of a module. Ids stay what they are, erased things included, so that symbols which name a
 * value, and tables that a caller keeps by id, hold for the copy too. Dims are made anew in the
 * copy's table and translated; tensors share their storage. Test: tests/unit/graph_test.c */
#include "ir/graph_internal.h"
#include "ir/sharding.h"

#include <string.h>

typedef struct cloner {
    const sinter_module *source;
    sinter_module *target;
    sinter_map dims;    /* dim of the source -> dim of the target */
    sinter_map tensors; /* address of a tensor of the source -> address of the copy */
    sinter_arena scratch;
} cloner;

static sinter_dim clone_dim(cloner *state, sinter_dim dim) {
    if (!dim) return 0;
    uint64_t known = 0;
    if (sinter_map_find(&state->dims, dim, &known)) return (sinter_dim)known;
    sinter_dim_table *from = state->source->dims, *to = state->target->dims;
    sinter_dim_kind kind = sinter_dim_get_kind(from, dim);
    sinter_dim copy = 0;
    int64_t number = 0;
    if (sinter_dim_is_const(from, dim, &number)) {
        copy = sinter_dim_const(to, number);
    } else {
        const sinter_dim *operands = NULL;
        size_t count = sinter_dim_operands(from, dim, &operands);
        copy = clone_dim(state, operands[0]);
        if (kind == SINTER_DIM_SELECT)
            copy = sinter_dim_select(to, copy, clone_dim(state, operands[1]),
                                     clone_dim(state, operands[2]));
        else
            for (size_t i = 1; i < count; i++)
                copy = sinter_dim_binary(to, kind, copy, clone_dim(state, operands[i]));
    }
    sinter_map_put(&state->dims, dim, copy);
    return copy;
}

/* All of them, in the order of making: indices of symbols stay too. */
static void clone_symbols(cloner *state) {
    sinter_dim_table *from = state->source->dims, *to = state->target->dims;
    for (size_t i = 0; i < sinter_dim_symbol_count(from); i++) {
        sinter_dim symbol = sinter_dim_symbol_at(from, i);
        sinter_dim_symbol info = *sinter_dim_get_symbol(from, symbol);
        sinter_dim copy = sinter_dim_symbol_named(to, sinter_string_of(info.name));
        sinter_dim_symbol *copied = sinter_dim_get_symbol(to, copy);
        info.name = copied->name;
        *copied = info;
        sinter_map_put(&state->dims, symbol, copy);
    }
}

static const sinter_dim *clone_dims(cloner *state, const sinter_dim *items, size_t count) {
    if (!items) return NULL;
    sinter_dim *copy = SINTER_NEW_ARRAY(&state->target->arena, sinter_dim, count);
    for (size_t i = 0; i < count; i++) copy[i] = clone_dim(state, items[i]);
    return copy;
}

static sinter_type clone_type(cloner *state, const sinter_type *type) {
    sinter_type copy = *type;
    copy.dims = clone_dims(state, type->dims, type->rank);
    if (type->element) {
        sinter_type *element = SINTER_NEW(&state->target->arena, sinter_type);
        *element = clone_type(state, type->element);
        copy.element = element;
    }
    return copy;
}

static const sinter_tensor *clone_tensor(cloner *state, const sinter_tensor *tensor) {
    uint64_t known = 0;
    if (!tensor) return NULL;
    if (sinter_map_find(&state->tensors, (uintptr_t)tensor, &known))
        return (const sinter_tensor *)(uintptr_t)known;
    sinter_tensor copy;
    sinter_tensor_copy(&copy, tensor);
    const sinter_tensor *kept = sinter_module_keep_tensor(state->target, copy);
    sinter_map_put(&state->tensors, (uintptr_t)tensor, (uintptr_t)kept);
    return kept;
}

static sinter_attr clone_attr(cloner *state, sinter_op op, const sinter_attr *attr) {
    sinter_arena *arena = &state->target->arena;
    sinter_attr copy = sinter_attr_copy(arena, attr);
    if (attr->kind == SINTER_ATTR_TENSOR) copy.tensor = clone_tensor(state, attr->tensor);
    if (attr->kind == SINTER_ATTR_TYPE) {
        sinter_type *type = SINTER_NEW(arena, sinter_type);
        *type = clone_type(state, attr->type);
        copy.type = type;
    }
    if (op == SINTER_OP_dim_vector && attr->kind == SINTER_ATTR_INTS) {
        int64_t *items = SINTER_NEW_ARRAY(arena, int64_t, attr->ints.count);
        for (size_t i = 0; i < attr->ints.count; i++)
            items[i] = clone_dim(state, (sinter_dim)attr->ints.items[i]);
        copy.ints.items = items;
    }
    return copy;
}

static void *copy_array(sinter_arena *arena, const void *items, size_t count, size_t size) {
    return items ? sinter_arena_copy(arena, items, count * size) : NULL;
}

static void clone_value(cloner *state, const sinter_value_info *info) {
    sinter_module *target = state->target;
    sinter_arena *arena = &target->arena;
    sinter_value_info copy = *info;
    copy.type = clone_type(state, &info->type);
    copy.content = clone_dims(state, info->content, info->content_count);
    copy.uses.items =
        copy_array(arena, info->uses.items, info->uses.count, sizeof *info->uses.items);
    copy.uses.capacity = info->uses.count;
    if (info->sharding) copy.sharding = sinter_sharding_copy(arena, info->sharding);
    if (info->name) {
        copy.name = sinter_arena_copy_string(arena, info->name, strlen(info->name));
        sinter_map_put_string(&target->names, sinter_string_of(copy.name), target->values.count);
    }
    sinter_vector_push(arena, &target->values, copy);
}

static void clone_node(cloner *state, const sinter_node_info *info) {
    sinter_arena *arena = &state->target->arena;
    sinter_node_info copy = *info;
    copy.operands = copy_array(arena, info->operands, info->operand_count, sizeof *info->operands);
    copy.results = copy_array(arena, info->results, info->result_count, sizeof *info->results);
    copy.regions = copy_array(arena, info->regions, info->region_count, sizeof *info->regions);
    sinter_attr *attributes = SINTER_NEW_ARRAY(arena, sinter_attr, info->attribute_count);
    for (uint32_t i = 0; !info->erased && i < info->attribute_count; i++)
        attributes[i] = clone_attr(state, info->op, &info->attributes[i]);
    copy.attributes = attributes;
    if (info->erased) copy.attribute_count = 0;
    if (info->location)
        copy.location = sinter_arena_copy_string(arena, info->location, strlen(info->location));
    sinter_vector_push(arena, &state->target->nodes, copy);
}

static void clone_region(cloner *state, const sinter_region_info *info) {
    sinter_arena *arena = &state->target->arena;
    sinter_region_info copy = *info;
    /* Full to its power of two, as sinter_region_add_argument expects. */
    size_t capacity = 1;
    while (capacity < info->argument_count) capacity *= 2;
    sinter_value *arguments = SINTER_NEW_ARRAY(arena, sinter_value, capacity);
    if (info->argument_count)
        memcpy(arguments, info->arguments, info->argument_count * sizeof *arguments);
    copy.arguments = arguments;
    sinter_vector_push(arena, &state->target->regions, copy);
}

sinter_module *sinter_module_clone(const sinter_module *module) {
    sinter_module *target = sinter_module_create(module->name);
    cloner state = {.source = module, .target = target};
    sinter_arena_init(&state.scratch);
    sinter_map_init(&state.dims, &state.scratch);
    sinter_map_init(&state.tensors, &state.scratch);
    clone_symbols(&state);
    if (module->mesh) sinter_module_set_mesh(target, module->mesh);
    target->values.count = target->nodes.count = target->regions.count = 0;
    for (size_t i = 0; i < module->values.count; i++) clone_value(&state, &module->values.items[i]);
    for (size_t i = 0; i < module->nodes.count; i++) clone_node(&state, &module->nodes.items[i]);
    for (size_t i = 0; i < module->regions.count; i++)
        clone_region(&state, &module->regions.items[i]);
    for (size_t i = 0; i < module->metadata.count; i++)
        sinter_module_set_metadata(target, module->metadata.items[i].key,
                                   module->metadata.items[i].value);
    sinter_arena_deinit(&state.scratch);
    target->main = module->main;
    return target;
}
