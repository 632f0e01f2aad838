/* Which values become integers: one sweep from the end of the model to its beginning, so that readers are known before what they
 * read. Test: tests/passes/quantize_activations/ */
#include "passes/quantize_placement.h"
#include "passes/recognize_integer.h"

enum { MAX_EPILOGUE = 8 }; /* elementwise nodes in a row that are looked through */

static const sinter_value_info *info_of(const sinter_placement *p, sinter_value value) {
    return sinter_value_get(p->module, value);
}

static sinter_node definition(const sinter_placement *p, sinter_value value) {
    return sinter_value_definition(p->module, value);
}

static bool is_data(const sinter_placement *p, sinter_value value) {
    return value && sinter_value_type(p->module, value)->dtype == SINTER_DTYPE_f32 &&
           !sinter_value_constant(p->module, value);
}

static bool in_main(const sinter_placement *p, sinter_node node) {
    return sinter_node_get(p->module, node)->parent == sinter_module_main(p->module);
}

static void want(sinter_placement *p, sinter_value value, const sinter_layer_recipe *recipe) {
    if (!p->wanted[value]) p->wanted[value] = recipe;
}

sinter_value sinter_placement_leader(const sinter_placement *p, sinter_value value) {
    while (p->group[value] != value) value = p->group[value];
    return value;
}

static void unite(sinter_placement *p, sinter_value a, sinter_value b) {
    a = sinter_placement_leader(p, a);
    b = sinter_placement_leader(p, b);
    if (a < b)
        p->group[b] = a;
    else
        p->group[a] = b;
}

/* ---- what nodes are ---- */

static bool is_average(sinter_op op) {
    return op == SINTER_OP_reduce_mean || op == SINTER_OP_reduce_sum ||
           op == SINTER_OP_average_pool || op == SINTER_OP_global_average_pool;
}

/* Two tensors of data become one of the size of the larger. */
static bool is_join(const sinter_placement *p, sinter_node node) {
    sinter_op op = sinter_node_op(p->module, node);
    return (op == SINTER_OP_add || op == SINTER_OP_sub || op == SINTER_OP_mul ||
            op == SINTER_OP_max || op == SINTER_OP_min) &&
           is_data(p, sinter_node_operand(p->module, node, 0)) &&
           is_data(p, sinter_node_operand(p->module, node, 1));
}

/* Elementwise on one tensor of data: operand 0 or, of commutative ops, 1. Gives that operand, or 0. */
static sinter_value single_data(const sinter_placement *p, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(p->module, node);
    sinter_value found = 0;
    if (sinter_op_get_info(info->op)->pattern != SINTER_PATTERN_ELEMENTWISE) return 0;
    for (uint32_t i = 0; i < info->operand_count; i++) {
        sinter_value operand = info->operands[i];
        if (!operand || sinter_value_constant(p->module, operand)) continue;
        if (found && found != operand) return 0;
        found = operand;
    }
    return found && is_data(p, found) ? found : 0;
}

/* ---- ways ---- */

/* Whether `value` is made of `source` alone, element by element: then x * sigmoid(x) is one activation and no meeting. */
static bool follows(const sinter_placement *p, sinter_value value, sinter_value source) {
    for (int i = 0; i < MAX_EPILOGUE && value; i++) {
        sinter_node node = definition(p, value);
        if (!node) return false;
        value = single_data(p, node);
        if (value == source) return true;
    }
    return false;
}

static bool is_own_join(const sinter_placement *p, sinter_node node) {
    if (!is_join(p, node)) return false;
    sinter_value a = sinter_node_operand(p->module, node, 0);
    sinter_value b = sinter_node_operand(p->module, node, 1);
    return a == b || follows(p, a, b) || follows(p, b, a);
}

/* The node that goes on with the value alone, element by element: relu(x), x * sigmoid(x); 0: there is none, or others read it. */
static sinter_node goes_on(const sinter_placement *p, sinter_value value) {
    const sinter_value_info *info = info_of(p, value);
    sinter_node users[2] = {0};
    for (size_t u = 0; u < info->uses.count; u++) {
        sinter_node user = info->uses.items[u].node;
        if (user == users[0] || user == users[1]) continue;
        if (users[1] || !in_main(p, user)) return 0;
        users[users[0] != 0] = user;
    }
    if (!users[1]) return users[0] && single_data(p, users[0]) == value ? users[0] : 0;
    for (int i = 0; i < 2; i++)
        if (is_own_join(p, users[i]) && single_data(p, users[1 - i]) == value) return users[i];
    return 0;
}

/* How the value is wanted, or the value that follows from it alone. */
static const sinter_layer_recipe *wanted_after(const sinter_placement *p, sinter_value value) {
    for (int i = 0; i < MAX_EPILOGUE; i++) {
        if (p->wanted[value]) return p->wanted[value];
        sinter_node node = goes_on(p, value);
        if (!node) return NULL;
        value = sinter_node_result(p->module, node, 0);
    }
    return NULL;
}

/* ---- the sweep ---- */

static void visit_move(sinter_placement *p, sinter_node node, sinter_value result,
                       const sinter_layer_recipe *recipe) {
    const sinter_node_info info = *sinter_node_get(p->module, node);
    uint32_t count = info.op == SINTER_OP_concat ? info.operand_count : 1;
    bool all = true;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_data(p, info.operands[i])) {
            all = false;
            continue;
        }
        want(p, info.operands[i], recipe);
        unite(p, result, info.operands[i]);
    }
    p->reads_integers[node] = true;
    p->is_moved[result] = all;
}

static void visit_join(sinter_placement *p, sinter_node node, const sinter_layer_recipe *recipe) {
    sinter_value a = sinter_node_operand(p->module, node, 0);
    sinter_value b = sinter_node_operand(p->module, node, 1);
    want(p, a, recipe);
    want(p, b, recipe);
    p->reads_integers[node] = true;
}

static void visit(sinter_placement *p, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(p->module, node);
    sinter_value result = info->result_count ? info->results[0] : 0;
    if (!result || !is_data(p, result)) return;
    if (sinter_integer_is_move(info->op)) { /* the results of a split have one scale */
        for (uint32_t i = 0; i < info->result_count; i++)
            if (info->results[i] && p->wanted[info->results[i]])
                visit_move(p, node, info->results[i], p->wanted[info->results[i]]);
        return;
    }
    const sinter_layer_recipe *recipe = wanted_after(p, result);
    if (!recipe) return;
    if (is_join(p, node)) {
        if (is_own_join(p, node)) return;
        visit_join(p, node, recipe);
    } else if (is_average(info->op) && is_data(p, info->operands[0])) {
        want(p, info->operands[0], recipe);
        p->reads_integers[node] = true;
    }
}

sinter_placement sinter_placement_find(sinter_module *module, const sinter_layer_list *layers,
                                       const sinter_layer_recipe *recipes, sinter_arena *arena) {
    uint32_t values = sinter_module_value_limit(module), nodes = sinter_module_node_limit(module);
    sinter_placement p = {.module = module,
                          .wanted = SINTER_NEW_ARRAY(arena, const sinter_layer_recipe *, values),
                          .group = SINTER_NEW_ARRAY(arena, sinter_value, values),
                          .reads_integers = SINTER_NEW_ARRAY(arena, bool, nodes),
                          .is_moved = SINTER_NEW_ARRAY(arena, bool, values)};
    for (uint32_t i = 0; i < values; i++) p.group[i] = i;
    for (size_t i = 0; i < layers->count; i++) {
        if (recipes[i].activations == SINTER_DTYPE_NONE || recipes[i].dynamic) continue;
        want(&p, layers->items[i].input, &recipes[i]);
        p.reads_integers[layers->items[i].node] = true;
    }
    sinter_node node = sinter_region_get(module, sinter_module_main(module))->last;
    for (; node; node = sinter_node_get(module, node)->previous) visit(&p, node);
    return p;
}
