/* What passes may do to a graph. Needs a verified module; after every call the use lists, the order of
 * definitions and the origins of symbols are right again, names of outputs are kept, and the
 * locations of erased nodes live on in the nodes built in their place. Grouping of nodes is in
 * rewrite_group.c. Test: tests/unit/rewrite_test.c */
#include "ir/rewrite.h"
#include "ir/sharding.h"

#include <assert.h>
#include <string.h>

/* Joined locations stop growing here: a group of hundreds of nodes still prints on a screen. */
enum { MAX_LOCATION = 1000 };

void sinter_rewrite_begin(sinter_rewrite *rewrite, sinter_module *module, sinter_diag *diag) {
    *rewrite = (sinter_rewrite){.build = {.module = module, .diag = diag}};
    rewrite->first_new = sinter_module_node_limit(module);
}

void sinter_rewrite_at(sinter_rewrite *rewrite, sinter_node root) {
    const sinter_node_info *info = sinter_node_get(rewrite->build.module, root);
    rewrite->root = root;
    rewrite->build.region = info->parent;
    rewrite->build.before = root;
    rewrite->build.location = info->location;
    rewrite->first_new = sinter_module_node_limit(rewrite->build.module);
}

/* ---- locations ---- */

/* Sets "first + second", unless one is in the other already. */
static void set_joined(sinter_module *module, sinter_node node, const char *first,
                       const char *second) {
    if (first && second &&
        (strstr(first, second) || strstr(second, first) ||
         strlen(first) + strlen(second) > MAX_LOCATION))
        return;
    sinter_node_set_location(
        module, node,
        first && second ? sinter_arena_format(sinter_module_arena(module), "%s + %s", first, second)
        : first         ? first
                        : second);
}

void sinter_rewrite_take_over(sinter_rewrite *rewrite, sinter_node node, sinter_node other) {
    sinter_module *module = rewrite->build.module;
    set_joined(module, node, sinter_node_get(module, node)->location,
               sinter_node_get(module, other)->location);
}

static void join_location(sinter_rewrite *rewrite, const char *location) {
    sinter_module *module = rewrite->build.module;
    if (!location) return;
    for (sinter_node node = rewrite->first_new; node < sinter_module_node_limit(module); node++) {
        const sinter_node_info *info = sinter_node_get(module, node);
        if (info->erased || info->op == SINTER_OP_constant) continue;
        set_joined(module, node, location, info->location);
    }
}

/* ---- replacing ---- */

/* The main yield states the names of the outputs before one of them changes its value. */
static void freeze_output_names(sinter_module *module) {
    sinter_node yield = sinter_region_get(module, sinter_module_main(module))->last;
    if (sinter_node_find_attr(module, yield, "names")) return;
    uint32_t count = sinter_module_output_count(module);
    sinter_string *names = SINTER_NEW_ARRAY(sinter_module_arena(module), sinter_string, count);
    for (uint32_t i = 0; i < count; i++)
        names[i] = sinter_string_of(sinter_module_output_name(module, i));
    sinter_attr attr = sinter_attr_strings("names", names, count);
    sinter_node_set_attr(module, yield, &attr);
}

static void keep_name(sinter_module *module, sinter_value old_value, sinter_value new_value) {
    const char *name = sinter_value_get(module, old_value)->name;
    if (name && !sinter_value_get(module, new_value)->name) {
        sinter_value_set_name(module, old_value, NULL);
        sinter_value_set_name(module, new_value, name);
    } else if (sinter_value_is_output(module, old_value)) {
        freeze_output_names(module);
    }
}

void sinter_rewrite_keep_sharding(sinter_module *module, sinter_value old_value,
                                  sinter_value new_value) {
    const sinter_sharding *sharding = sinter_value_sharding(module, old_value);
    if (sharding && !sinter_value_sharding(module, new_value))
        sinter_value_set_sharding(module, new_value, sharding);
}

static sinter_dim_symbol *symbol_at(const sinter_module *module, size_t index) {
    sinter_dim_table *table = sinter_module_dims(module);
    return sinter_dim_get_symbol(table, sinter_dim_symbol_at(table, index));
}

static void move_symbols(sinter_module *module, sinter_value old_value, sinter_value new_value) {
    size_t count = sinter_dim_symbol_count(sinter_module_dims(module));
    for (size_t i = 0; i < count; i++) {
        sinter_dim_symbol *symbol = symbol_at(module, i);
        if (symbol->origin != SINTER_DIM_ORIGIN_INPUT && symbol->value == old_value)
            symbol->value = new_value;
    }
}

static bool has_symbols(const sinter_module *module, sinter_value value) {
    size_t count = sinter_dim_symbol_count(sinter_module_dims(module));
    for (size_t i = 0; i < count; i++) {
        const sinter_dim_symbol *symbol = symbol_at(module, i);
        if (symbol->origin != SINTER_DIM_ORIGIN_INPUT && symbol->value == value) return true;
    }
    return false;
}

bool sinter_rewrite_fits(const sinter_rewrite *rewrite, sinter_value old_value,
                         sinter_value new_value) {
    const sinter_type *old_type = sinter_value_type(rewrite->build.module, old_value);
    const sinter_type *new_type = sinter_value_type(rewrite->build.module, new_value);
    return old_type->kind == new_type->kind && old_type->dtype == new_type->dtype &&
           old_type->rank == new_type->rank;
}

void sinter_rewrite_replace(sinter_rewrite *rewrite, sinter_value old_value,
                            sinter_value new_value) {
    sinter_module *module = rewrite->build.module;
    if (old_value == new_value) return;
    assert(sinter_rewrite_fits(rewrite, old_value, new_value));
    keep_name(module, old_value, new_value);
    sinter_rewrite_keep_sharding(module, old_value, new_value);
    move_symbols(module, old_value, new_value);
    sinter_value_replace_uses(module, old_value, new_value);
    rewrite->change_count++;
}

void sinter_rewrite_replace_node(sinter_rewrite *rewrite, sinter_node node,
                                 const sinter_value *new_results) {
    sinter_module *module = rewrite->build.module;
    uint32_t count = sinter_node_get(module, node)->result_count;
    for (uint32_t i = 0; i < count; i++) {
        sinter_value old_value = sinter_node_result(module, node, i);
        if (!old_value) continue;
        if (new_results[i]) sinter_rewrite_replace(rewrite, old_value, new_results[i]);
    }
    sinter_rewrite_erase(rewrite, node);
}

/* ---- erasing ---- */

typedef SINTER_VECTOR(sinter_node) node_list;

/* Producers of everything that the node and the nodes inside it use. */
static void collect_producers(const sinter_module *module, sinter_node node, sinter_arena *arena,
                              node_list *list) {
    const sinter_node_info *info = sinter_node_get(module, node);
    for (uint32_t i = 0; i < info->operand_count; i++) {
        sinter_node producer =
            info->operands[i] ? sinter_value_get(module, info->operands[i])->definition : 0;
        if (producer) sinter_vector_push(arena, list, producer);
    }
    for (uint32_t i = 0; i < info->region_count; i++)
        SINTER_FOR_NODES (module, info->regions[i], inside)
            collect_producers(module, inside, arena, list);
}

static bool is_dead(const sinter_module *module, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(module, node);
    if (info->erased || sinter_op_has_trait(info->op, SINTER_TRAIT_TERMINATOR) ||
        sinter_node_sends(module, node))
        return false;
    for (uint32_t i = 0; i < info->result_count; i++) {
        sinter_value result = info->results[i];
        if (result &&
            (sinter_value_get(module, result)->uses.count > 0 || has_symbols(module, result)))
            return false;
    }
    return true;
}

void sinter_rewrite_erase(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    node_list list = {0};
    sinter_vector_push(&scratch, &list, node);
    while (list.count > 0) {
        sinter_node next = list.items[--list.count];
        if (next != node && !is_dead(module, next)) continue;
        collect_producers(module, next, &scratch, &list);
        const sinter_node_info *info = sinter_node_get(module, next);
        if (next < rewrite->first_new && info->op != SINTER_OP_constant)
            join_location(rewrite, info->location);
        sinter_node_erase(module, next);
    }
    sinter_arena_deinit(&scratch);
    rewrite->change_count++;
}

/* ---- single changes ---- */

void sinter_rewrite_move(sinter_rewrite *rewrite, sinter_node node, sinter_node before) {
    sinter_node_move_before(rewrite->build.module, node, before);
    rewrite->change_count++;
}

void sinter_rewrite_set_operand(sinter_rewrite *rewrite, sinter_node node, uint32_t index,
                                sinter_value value) {
    sinter_module *module = rewrite->build.module;
    bool names = sinter_node_get(module, node)->op == SINTER_OP_yield &&
                 sinter_node_get(module, node)->parent == sinter_module_main(module);
    if (names) freeze_output_names(module);
    sinter_node_set_operand(module, node, index, value);
    rewrite->change_count++;
}

void sinter_rewrite_set_attr(sinter_rewrite *rewrite, sinter_node node, const sinter_attr *attr) {
    sinter_node_set_attr(rewrite->build.module, node, attr);
    rewrite->change_count++;
}

void sinter_rewrite_drop_result(sinter_rewrite *rewrite, sinter_node node, uint32_t index) {
    sinter_node_drop_result(rewrite->build.module, node, index);
    rewrite->change_count++;
}
