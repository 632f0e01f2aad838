/* The primitives that change a module: adding, moving and erasing nodes, setting operands, types,
 * names. They keep the use lists and the node lists right and assert on misuse; that the graph
 * makes sense is up to build, infer and verify. Test: tests/unit/graph_test.c */
#include "ir/graph_internal.h"

#include <assert.h>
#include <string.h>

static sinter_value_info *value_at(sinter_module *module, sinter_value value) {
    assert(value > 0 && value < module->values.count);
    return &module->values.items[value];
}

static sinter_node_info *node_at(sinter_module *module, sinter_node node) {
    assert(node > 0 && node < module->nodes.count);
    return &module->nodes.items[node];
}

static sinter_region_info *region_at(sinter_module *module, sinter_region region) {
    assert(region > 0 && region < module->regions.count);
    return &module->regions.items[region];
}

/* The order of values changes, or which of them have names. */
static void forget_numbers(sinter_module *module) {
    sinter_heap_free(module->numbers);
    module->numbers = NULL;
}

/* ---- values ---- */

static void claim_name(sinter_module *module, sinter_value value, const char *name) {
    uint64_t holder = 0;
    sinter_string key = sinter_string_of(name);
    if (sinter_map_find_string(&module->names, key, &holder) && holder && holder != value) {
        uint64_t count = 0;
        sinter_map_find_string(&module->name_counts, key, &count);
        const char *unique = NULL;
        do {
            unique =
                sinter_arena_format(&module->arena, "%s_%llu", name, (unsigned long long)++count);
            holder = 0;
            sinter_map_find_string(&module->names, sinter_string_of(unique), &holder);
        } while (holder);
        sinter_map_put_string(&module->name_counts, key, count);
        key = sinter_string_of(unique);
    }
    sinter_map_put_string(&module->names, key, value);
    value_at(module, value)->name = sinter_arena_copy_string(&module->arena, key.data, key.size);
}

static void release_name(sinter_module *module, sinter_value value) {
    sinter_value_info *info = value_at(module, value);
    if (info->name) sinter_map_put_string(&module->names, sinter_string_of(info->name), 0);
    info->name = NULL;
}

void sinter_value_set_name(sinter_module *module, sinter_value value, const char *name) {
    const char *old = value_at(module, value)->name;
    if (old && name && strcmp(old, name) == 0) return;
    forget_numbers(module);
    release_name(module, value);
    if (name && *name) claim_name(module, value, name);
}

static sinter_value add_value(sinter_module *module, sinter_value_info info) {
    forget_numbers(module);
    sinter_vector_push(&module->arena, &module->values, info);
    return (sinter_value)(module->values.count - 1);
}

static void erase_value(sinter_module *module, sinter_value value) {
    assert(value_at(module, value)->uses.count == 0);
    forget_numbers(module);
    release_name(module, value);
    value_at(module, value)->erased = true;
}

sinter_type sinter_graph_copy_type(sinter_arena *arena, const sinter_type *type) {
    sinter_type copy = *type;
    if (type->rank)
        copy.dims = sinter_arena_copy(arena, type->dims, type->rank * sizeof *type->dims);
    if (type->element) {
        sinter_type *element = SINTER_NEW(arena, sinter_type);
        *element = sinter_graph_copy_type(arena, type->element);
        copy.element = element;
    }
    return copy;
}

void sinter_value_set_type(sinter_module *module, sinter_value value, sinter_type type) {
    value_at(module, value)->type = sinter_graph_copy_type(&module->arena, &type);
}

void sinter_value_set_content(sinter_module *module, sinter_value value, const sinter_dim *items,
                              uint32_t count) {
    sinter_value_info *info = value_at(module, value);
    info->content = items ? sinter_arena_copy(&module->arena, items, count * sizeof *items) : NULL;
    info->content_count = items ? count : 0;
}

static void add_use(sinter_module *module, sinter_value value, sinter_node node, uint32_t operand) {
    if (!value) return;
    sinter_value_info *info = value_at(module, value);
    assert(!info->erased);
    sinter_use use = {node, operand};
    sinter_vector_push(&module->arena, &info->uses, use);
}

/* Keeps the order of the others: passes that walk uses see the same order in every run. */
static void remove_use(sinter_module *module, sinter_value value, sinter_node node,
                       uint32_t operand) {
    if (!value) return;
    sinter_value_info *info = value_at(module, value);
    for (size_t i = info->uses.count; i-- > 0;) {
        sinter_use *use = &info->uses.items[i];
        if (use->node != node || use->operand != operand) continue;
        memmove(use, use + 1, (info->uses.count - i - 1) * sizeof *use);
        info->uses.count--;
        return;
    }
    assert(!"use list does not know this use");
}

void sinter_value_replace_uses(sinter_module *module, sinter_value old_value,
                               sinter_value new_value) {
    if (old_value == new_value) return;
    sinter_value_info *old_info = value_at(module, old_value);
    size_t count = old_info->uses.count;
    sinter_vector_reserve(&module->arena, &value_at(module, new_value)->uses,
                          value_at(module, new_value)->uses.count + count);
    for (size_t i = 0; i < count; i++) {
        sinter_use use = old_info->uses.items[i];
        ((sinter_value *)node_at(module, use.node)->operands)[use.operand] = new_value;
        add_use(module, new_value, use.node, use.operand);
    }
    old_info->uses.count = 0;
}

/* ---- regions ---- */

sinter_region sinter_region_add(sinter_module *module) {
    sinter_vector_push(&module->arena, &module->regions, (sinter_region_info){0});
    return (sinter_region)(module->regions.count - 1);
}

sinter_value sinter_region_add_argument(sinter_module *module, sinter_region region,
                                        sinter_type type, const char *name) {
    sinter_region_info *info = region_at(module, region);
    sinter_value value =
        add_value(module, (sinter_value_info){.region = region, .index = info->argument_count});
    sinter_value_set_type(module, value, type);
    sinter_value_set_name(module, value, name);
    /* Doubling is read off the count: a power of two is full. */
    uint32_t count = info->argument_count;
    if ((count & (count - 1)) == 0) {
        sinter_value *grown =
            SINTER_NEW_ARRAY(&module->arena, sinter_value, count ? 2 * (size_t)count : 1);
        if (count) memcpy(grown, info->arguments, count * sizeof *grown);
        info->arguments = grown;
    }
    ((sinter_value *)info->arguments)[info->argument_count++] = value;
    return value;
}

/* ---- nodes ---- */

static void link_node(sinter_module *module, sinter_node node, sinter_region region,
                      sinter_node before) {
    sinter_node_info *info = node_at(module, node);
    sinter_region_info *parent = region_at(module, region);
    assert(!before || node_at(module, before)->parent == region);
    forget_numbers(module);
    info->parent = region;
    info->next = before;
    info->previous = before ? node_at(module, before)->previous : parent->last;
    if (info->previous)
        node_at(module, info->previous)->next = node;
    else
        parent->first = node;
    if (before)
        node_at(module, before)->previous = node;
    else
        parent->last = node;
}

static void unlink_node(sinter_module *module, sinter_node node) {
    sinter_node_info *info = node_at(module, node);
    sinter_region_info *parent = region_at(module, info->parent);
    forget_numbers(module);
    if (info->previous)
        node_at(module, info->previous)->next = info->next;
    else
        parent->first = info->next;
    if (info->next)
        node_at(module, info->next)->previous = info->previous;
    else
        parent->last = info->previous;
    info->previous = info->next = 0;
}

/* Place of an attribute in the schema; unknown ones, which the verifier reports, come last. */
static unsigned attribute_rank(sinter_op op, const sinter_attr *attr) {
    return (unsigned)sinter_op_find_attribute(op, attr->name);
}

static void sort_attributes(sinter_op op, sinter_attr *items, uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        sinter_attr attr = items[i];
        uint32_t at = i;
        for (; at > 0 && attribute_rank(op, &items[at - 1]) > attribute_rank(op, &attr); at--)
            items[at] = items[at - 1];
        items[at] = attr;
    }
}

sinter_node sinter_node_add(sinter_module *module, sinter_region region, sinter_node before,
                            const sinter_node_spec *spec) {
    sinter_arena *arena = &module->arena;
    sinter_node node = (sinter_node)module->nodes.count;
    sinter_value *operands = SINTER_NEW_ARRAY(arena, sinter_value, spec->operand_count);
    sinter_value *results = SINTER_NEW_ARRAY(arena, sinter_value, spec->result_count);
    sinter_attr *attributes = SINTER_NEW_ARRAY(arena, sinter_attr, spec->attribute_count);
    sinter_region *regions = SINTER_NEW_ARRAY(arena, sinter_region, spec->region_count);
    for (uint32_t i = 0; i < spec->attribute_count; i++)
        attributes[i] = sinter_attr_copy(arena, &spec->attributes[i]);
    sort_attributes(spec->op, attributes, spec->attribute_count);
    for (uint32_t i = 0; i < spec->region_count; i++) {
        regions[i] = spec->regions[i];
        assert(region_at(module, regions[i])->owner == 0 && regions[i] != module->main);
        region_at(module, regions[i])->owner = node;
    }
    sinter_node_info info = {.op = spec->op,
                             .operands = operands,
                             .results = results,
                             .attributes = attributes,
                             .regions = regions,
                             .operand_count = spec->operand_count,
                             .result_count = spec->result_count,
                             .attribute_count = spec->attribute_count,
                             .region_count = spec->region_count};
    if (spec->location)
        info.location = sinter_arena_copy_string(arena, spec->location, strlen(spec->location));
    sinter_vector_push(arena, &module->nodes, info);
    for (uint32_t i = 0; i < spec->operand_count; i++) {
        operands[i] = spec->operands[i];
        add_use(module, operands[i], node, i);
    }
    for (uint32_t i = 0; i < spec->result_count; i++)
        results[i] = add_value(module, (sinter_value_info){.definition = node, .index = i});
    link_node(module, node, region, before);
    return node;
}

void sinter_node_set_operand(sinter_module *module, sinter_node node, uint32_t index,
                             sinter_value value) {
    sinter_node_info *info = node_at(module, node);
    if (index >= info->operand_count) {
        sinter_value *grown = SINTER_NEW_ARRAY(&module->arena, sinter_value, (size_t)index + 1);
        memcpy(grown, info->operands, info->operand_count * sizeof *grown);
        info->operands = grown;
        info->operand_count = index + 1;
    }
    sinter_value *slot = &((sinter_value *)info->operands)[index];
    if (*slot == value) return;
    remove_use(module, *slot, node, index);
    *slot = value;
    add_use(module, value, node, index);
}

void sinter_node_set_attr(sinter_module *module, sinter_node node, const sinter_attr *attr) {
    sinter_node_info *info = node_at(module, node);
    sinter_attr copy = sinter_attr_copy(&module->arena, attr);
    for (uint32_t i = 0; i < info->attribute_count; i++)
        if (sinter_string_equal(info->attributes[i].name, attr->name)) {
            ((sinter_attr *)info->attributes)[i] = copy;
            return;
        }
    sinter_attr *grown =
        SINTER_NEW_ARRAY(&module->arena, sinter_attr, (size_t)info->attribute_count + 1);
    memcpy(grown, info->attributes, info->attribute_count * sizeof *grown);
    grown[info->attribute_count++] = copy;
    sort_attributes(info->op, grown, info->attribute_count);
    info->attributes = grown;
}

void sinter_node_set_location(sinter_module *module, sinter_node node, const char *location) {
    node_at(module, node)->location =
        location ? sinter_arena_copy_string(&module->arena, location, strlen(location)) : NULL;
}

void sinter_node_move_before(sinter_module *module, sinter_node node, sinter_node before) {
    sinter_node_move_to(module, node, node_at(module, before)->parent, before);
}

void sinter_node_move_to(sinter_module *module, sinter_node node, sinter_region region,
                         sinter_node before) {
    if (node == before) return;
    unlink_node(module, node);
    link_node(module, node, region, before);
}

void sinter_node_drop_result(sinter_module *module, sinter_node node, uint32_t index) {
    sinter_node_info *info = node_at(module, node);
    assert(index < info->result_count);
    if (!info->results[index]) return;
    erase_value(module, info->results[index]);
    ((sinter_value *)info->results)[index] = 0;
}

/* Takes the operands from the node and from all nodes inside it, so that values defined in there
 * have no uses left whatever the order of erasing. */
static void drop_operands(sinter_module *module, sinter_node node) {
    sinter_node_info *info = node_at(module, node);
    for (uint32_t i = 0; i < info->operand_count; i++) sinter_node_set_operand(module, node, i, 0);
    for (uint32_t i = 0; i < info->region_count; i++)
        SINTER_FOR_NODES (module, info->regions[i], inside) drop_operands(module, inside);
}

static void erase_detached(sinter_module *module, sinter_node node) {
    sinter_node_info *info = node_at(module, node);
    for (uint32_t i = 0; i < info->region_count; i++) {
        const sinter_region_info *region = region_at(module, info->regions[i]);
        SINTER_FOR_NODES (module, info->regions[i], inside) erase_detached(module, inside);
        for (uint32_t k = 0; k < region->argument_count; k++)
            erase_value(module, region->arguments[k]);
    }
    for (uint32_t i = 0; i < info->result_count; i++) sinter_node_drop_result(module, node, i);
    unlink_node(module, node);
    info->erased = true;
}

void sinter_node_erase(sinter_module *module, sinter_node node) {
    assert(!node_at(module, node)->erased);
    drop_operands(module, node);
    erase_detached(module, node);
}

const sinter_tensor *sinter_module_keep_tensor(sinter_module *module, sinter_tensor tensor) {
    sinter_tensor *kept = SINTER_NEW(&module->arena, sinter_tensor);
    *kept = tensor;
    sinter_vector_push(&module->arena, &module->tensors, kept);
    return kept;
}

void sinter_module_add_outputs(sinter_module *module, const sinter_value *values, uint32_t count) {
    uint32_t own = sinter_module_output_count(module);
    sinter_region main = sinter_module_main(module);
    sinter_value *all = SINTER_NEW_ARRAY(&module->arena, sinter_value, own + count);
    sinter_string *names = SINTER_NEW_ARRAY(&module->arena, sinter_string, own + count);
    for (uint32_t i = 0; i < own + count; i++) {
        all[i] = i < own ? sinter_module_output(module, i) : values[i - own];
        names[i] = sinter_string_of(i < own ? sinter_module_output_name(module, i)
                                            : sinter_value_label(module, values[i - own]) + 1);
    }
    sinter_node old = region_at(module, main)->last;
    sinter_attr attr = sinter_attr_strings("names", names, own + count);
    sinter_node_spec spec = {.op = SINTER_OP_yield,
                             .operands = all,
                             .operand_count = own + count,
                             .attributes = &attr,
                             .attribute_count = 1};
    sinter_node_erase(module, old);
    sinter_node_add(module, main, 0, &spec);
}
