/* The driver of type inference: runs a node's rule, merges what it found with what was declared, stores types and
 * symbolic contents. Needs: operands typed before the node. Guarantees: running it again gives the same types (every
 * symbol belongs to a value and is found again), declared numbers survive, contradictions name both types.
 * Test: tests/ir/infer_*.sir */
#include "ir/infer_rules.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const sinter_infer_rule rules[SINTER_OP_COUNT] = {
#define OP(name, operands, results, attributes, traits, pattern, body, rule, eval, doc)            \
 [SINTER_OP_##name] = infer_##rule,
#include "ir/ops.def"
#undef OP
};

bool sinter_infer_error(sinter_infer *infer, const char *format, ...) {
    sinter_text text = {0};
    va_list arguments;
    va_start(arguments, format);
    sinter_text_format_list(&text, format, arguments);
    va_end(arguments);
    sinter_error(infer->diag, sinter_node_where(infer->module, infer->node), "%s: %s",
                 sinter_op_get_info(infer->info->op)->name, text.data);
    sinter_text_deinit(&text);
    return false;
}

/* ---- symbols ---- */

/* Whether the symbol occurs in the type of a graph input, which then binds it. */
static bool dim_mentions(const sinter_dim_table *table, sinter_dim dim, sinter_dim symbol) {
    if (dim == symbol) return true;
    const sinter_dim *operands;
    size_t count = sinter_dim_get_kind(table, dim) == SINTER_DIM_SYMBOL
                       ? 0
                       : sinter_dim_operands(table, dim, &operands);
    for (size_t i = 0; i < count; i++)
        if (dim_mentions(table, operands[i], symbol)) return true;
    return false;
}

static bool is_input_symbol(sinter_module *module, sinter_dim symbol) {
    const sinter_dim_table *table = sinter_module_dims(module);
    const sinter_region_info *region = sinter_region_get(module, sinter_module_main(module));
    for (uint32_t i = 0; i < region->argument_count; i++)
        for (const sinter_type *type = sinter_value_type(module, region->arguments[i]); type;
             type = type->element)
            for (uint32_t d = 0; type->kind == SINTER_TYPE_TENSOR && d < type->rank; d++)
                if (dim_mentions(table, type->dims[d], symbol)) return true;
    return false;
}

/* A symbol that came with a declared type (read from text) and that nothing binds: the value that declares it may
 * take it as its own. */
static bool adopt_symbol(sinter_module *module, sinter_dim dim, sinter_dim_origin origin,
                         sinter_value value, uint32_t index) {
    sinter_dim_table *table = sinter_module_dims(module);
    if (sinter_dim_get_kind(table, dim) != SINTER_DIM_SYMBOL) return false;
    sinter_dim_symbol *symbol = sinter_dim_get_symbol(table, dim);
    if (symbol->origin != SINTER_DIM_ORIGIN_INPUT || is_input_symbol(module, dim)) return false;
    symbol->origin = origin;
    symbol->value = value;
    symbol->index = index;
    return true;
}

static sinter_dim find_symbol(sinter_module *module, const char *name) {
    sinter_dim_table *table = sinter_module_dims(module);
    for (size_t i = 0; i < sinter_dim_symbol_count(table); i++) {
        sinter_dim dim = sinter_dim_symbol_at(table, i);
        if (strcmp(sinter_dim_get_symbol(table, dim)->name, name) == 0) return dim;
    }
    return 0;
}

/* Contents may be negative where their type is signed; dims never are. */
static void set_symbol_range(sinter_module *module, sinter_dim_symbol *symbol) {
    if (symbol->origin != SINTER_DIM_ORIGIN_CONTENT) return;
    sinter_dtype dtype = sinter_value_type(module, symbol->value)->dtype;
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (info->class == SINTER_CLASS_BOOL) {
        symbol->max = 1;
    } else if (info->class == SINTER_CLASS_INT) {
        symbol->min = info->bits == 64 ? INT64_MIN : -(INT64_C(1) << (info->bits - 1));
        symbol->max = info->bits == 64 ? INT64_MAX : (INT64_C(1) << (info->bits - 1)) - 1;
    } else if (info->bits < 64) {
        symbol->max = (INT64_C(1) << info->bits) - 1;
    }
}

/* Dim `index` of the value's type as it is; SINTER_MAX_RANK further is the element of a sequence. 0: none. */
static sinter_dim declared_dim(const sinter_module *module, sinter_value value, uint32_t index) {
    const sinter_type *type = sinter_value_type(module, value);
    for (; type && index >= SINTER_MAX_RANK; index -= SINTER_MAX_RANK) type = type->element;
    return type && type->kind == SINTER_TYPE_TENSOR && index < type->rank ? type->dims[index] : 0;
}

sinter_dim sinter_infer_own_symbol(sinter_module *module, sinter_dim_origin origin,
                                   sinter_value value, uint32_t index, const char *prefix) {
    sinter_dim_table *table = sinter_module_dims(module);
    for (size_t i = 0; i < sinter_dim_symbol_count(table); i++) {
        sinter_dim dim = sinter_dim_symbol_at(table, i);
        const sinter_dim_symbol *symbol = sinter_dim_get_symbol(table, dim);
        if (symbol->origin == origin && symbol->value == value && symbol->index == index)
            return dim;
    }
    const char *label = sinter_value_get(module, value)->name;
    const char *name = prefix ? prefix : label ? label : "content";
    if (!prefix) name = sinter_arena_format(sinter_module_arena(module), "%s_%u", name, index);
    sinter_dim dim = declared_dim(module, value, index);
    if (origin != SINTER_DIM_ORIGIN_NODE || !dim ||
        !adopt_symbol(module, dim, origin, value, index)) {
        dim = sinter_dim_fresh(table, name);
        *sinter_dim_get_symbol(table, dim) =
            (sinter_dim_symbol){.name = sinter_dim_get_symbol(table, dim)->name,
                                .max = INT64_MAX,
                                .multiple = 1,
                                .origin = origin,
                                .value = value,
                                .index = index};
    }
    set_symbol_range(module, sinter_dim_get_symbol(table, dim));
    return dim;
}

sinter_dim sinter_infer_node_dim(sinter_infer *infer, uint32_t result, uint32_t index,
                                 const char *prefix) {
    const sinter_type *declared = sinter_infer_declared(infer, result);
    sinter_value value = infer->info->results[result];
    if (declared->kind == SINTER_TYPE_TENSOR && index < declared->rank) {
        sinter_dim dim = declared->dims[index];
        if (sinter_dim_get_kind(infer->dims, dim) == SINTER_DIM_SYMBOL)
            adopt_symbol(infer->module, dim, SINTER_DIM_ORIGIN_NODE, value, index);
        return dim;
    }
    if (!value) { /* an unused result still needs a dim for its siblings: the symbol of a used one */
        for (uint32_t r = 0; !value && r < infer->info->result_count; r++)
            value = infer->info->results[r];
        index += SINTER_MAX_RANK * (result + 1);
    }
    return sinter_infer_own_symbol(infer->module, SINTER_DIM_ORIGIN_NODE, value, index, prefix);
}

/* ---- contents ---- */

static bool own_content_symbol(sinter_module *module, sinter_dim dim, sinter_value value) {
    sinter_dim_table *table = sinter_module_dims(module);
    if (!dim || sinter_dim_get_kind(table, dim) != SINTER_DIM_SYMBOL) return false;
    const sinter_dim_symbol *symbol = sinter_dim_get_symbol(table, dim);
    return symbol->origin == SINTER_DIM_ORIGIN_CONTENT && symbol->value == value;
}

/* New contents win over old ones but where they know nothing and the value has its own symbol. */
static void store_content(sinter_module *module, sinter_value value, const sinter_dim *items,
                          uint32_t count) {
    const sinter_value_info *info = sinter_value_get(module, value);
    uint64_t size;
    if (info->type.kind != SINTER_TYPE_TENSOR ||
        !sinter_type_static_count(sinter_module_dims(module), &info->type, &size) ||
        size > SINTER_INFER_CONTENT_LIMIT)
        return;
    if (items && count != size) return;
    sinter_dim merged[SINTER_INFER_CONTENT_LIMIT];
    bool any = false, same = info->content_count == size;
    for (uint32_t i = 0; i < size; i++) {
        sinter_dim old = i < info->content_count && info->content ? info->content[i] : 0;
        merged[i] = items ? items[i] : 0;
        if (!merged[i] && own_content_symbol(module, old, value)) merged[i] = old;
        any |= merged[i] != 0;
        same &= merged[i] == old;
    }
    if (same || (!any && !info->content_count)) return;
    const sinter_dim *kept =
        sinter_arena_copy(sinter_module_arena(module), merged, size * sizeof merged[0]);
    sinter_value_set_content(module, value, any ? kept : NULL, any ? (uint32_t)size : 0);
}

/* Contents that cross into a group are those of the operand outside. */
static sinter_value look_outside(const sinter_module *module, sinter_value value) {
    for (;;) {
        const sinter_value_info *info = sinter_value_get(module, value);
        if (info->definition || !info->region) return value;
        sinter_node owner = sinter_region_get(module, info->region)->owner;
        if (!owner || sinter_node_get(module, owner)->op != SINTER_OP_group) return value;
        value = sinter_node_operand(module, owner, info->index);
    }
}

static bool may_have_content(const sinter_module *module, sinter_value value, size_t *out_count) {
    const sinter_type *type = sinter_value_type(module, value);
    uint64_t count;
    if (type->kind != SINTER_TYPE_TENSOR ||
        !(sinter_dtype_is_integer(type->dtype) || type->dtype == SINTER_DTYPE_bool) ||
        !sinter_type_static_count(sinter_module_dims(module), type, &count) ||
        count > SINTER_INFER_CONTENT_LIMIT)
        return false;
    *out_count = (size_t)count;
    return true;
}

static bool content_complete(const sinter_module *module, sinter_value value, size_t count) {
    if (sinter_value_constant(module, value)) return true;
    const sinter_value_info *info = sinter_value_get(module, value);
    if (info->content_count != count) return count == 0;
    for (size_t i = 0; i < count; i++)
        if (!info->content[i]) return false;
    return true;
}

static void demand_value(sinter_module *module, sinter_value value, int depth);

/* Makes the symbols as near to the graph's inputs as may be, so that two readers of one number share its symbol. */
static void demand_definition(sinter_module *module, sinter_value value, int depth) {
    sinter_node node = sinter_value_get(module, value)->definition;
    uint32_t wanted = depth > 0 && node ? sinter_infer_content_operands(module, node) : 0;
    const sinter_node_info *info = wanted ? sinter_node_get(module, node) : NULL;
    for (uint32_t i = 0; wanted && i < info->operand_count; i++) {
        size_t count;
        if (i < 32 && !(wanted >> i & 1)) continue;
        if (!info->operands[i] || !may_have_content(module, info->operands[i], &count)) return;
    }
    if (!wanted) return;
    for (uint32_t i = 0; i < info->operand_count; i++)
        if (i >= 32 || (wanted >> i & 1)) demand_value(module, info->operands[i], depth - 1);
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_infer infer = {.module = module,
                          .dims = sinter_module_dims(module),
                          .arena = &scratch,
                          .node = node,
                          .info = info};
    infer.results = SINTER_NEW_ARRAY(&scratch, sinter_type, info->result_count + 1);
    infer.contents = SINTER_NEW_ARRAY(&scratch, const sinter_dim *, info->result_count + 1);
    infer.content_counts = SINTER_NEW_ARRAY(&scratch, uint32_t, info->result_count + 1);
    for (uint32_t r = 0; r < info->result_count; r++)
        if (info->results[r]) infer.results[r] = *sinter_value_type(module, info->results[r]);
    sinter_infer_compute_content(&infer);
    for (uint32_t r = 0; r < info->result_count; r++)
        if (info->results[r])
            store_content(module, info->results[r], infer.contents[r], infer.content_counts[r]);
    sinter_arena_deinit(&scratch);
}

static void demand_value(sinter_module *module, sinter_value value, int depth) {
    size_t count;
    if (!may_have_content(module, value, &count) || content_complete(module, value, count)) return;
    sinter_value outside = look_outside(module, value);
    sinter_dim items[SINTER_INFER_CONTENT_LIMIT];
    if (outside != value) {
        demand_value(module, outside, depth);
        const sinter_value_info *info = sinter_value_get(module, outside);
        if (info->content_count == count)
            store_content(module, value, info->content, info->content_count);
    } else {
        demand_definition(module, value, depth);
    }
    if (content_complete(module, value, count)) return;
    const sinter_value_info *info = sinter_value_get(module, value);
    for (uint32_t i = 0; i < count; i++) {
        sinter_dim old = i < info->content_count ? info->content[i] : 0;
        items[i] =
            old ? old : sinter_infer_own_symbol(module, SINTER_DIM_ORIGIN_CONTENT, value, i, NULL);
    }
    store_content(module, value, items, (uint32_t)count);
}

bool sinter_infer_demand_content(sinter_infer *infer, uint32_t operand,
                                 const sinter_dim **out_items, size_t *out_count) {
    sinter_value value = sinter_node_operand(infer->module, infer->node, operand);
    enum { DEPTH = 32 };
    if (!value) return false;
    demand_value(infer->module, value, DEPTH);
    if (!sinter_infer_find_content(infer, operand, out_items, out_count)) return false;
    for (size_t i = 0; i < *out_count; i++)
        if (!(*out_items)[i]) return false;
    return true;
}

/* ---- merging with what was declared ---- */

sinter_type sinter_infer_copy_type(sinter_arena *arena, const sinter_type *type) {
    sinter_type copy = *type;
    if (type->kind == SINTER_TYPE_TENSOR)
        copy.dims = sinter_arena_copy(arena, type->dims, type->rank * sizeof(sinter_dim));
    if (type->element) {
        sinter_type *element = SINTER_NEW(arena, sinter_type);
        *element = sinter_infer_copy_type(arena, type->element);
        copy.element = element;
    }
    return copy;
}

/* The inferred dim, or the declared one where only that is a number. 0: they contradict. */
static sinter_dim merge_dim(const sinter_dim_table *table, sinter_dim declared,
                            sinter_dim inferred) {
    int64_t a, b, min, max;
    if (!sinter_dim_is_const(table, declared, &a)) return inferred;
    if (sinter_dim_is_const(table, inferred, &b)) return a == b ? inferred : 0;
    sinter_dim_range(table, inferred, &min, &max);
    return a < min || a > max ? 0 : declared;
}

static bool merge_type(sinter_infer *infer, const sinter_type *declared, sinter_type *inferred) {
    if (declared->kind == SINTER_TYPE_NONE || inferred->kind == SINTER_TYPE_NONE) {
        /* A sequence element that is only declared: more is known than inferred. */
        if (inferred->kind == SINTER_TYPE_NONE &&
            (!inferred->dtype || inferred->dtype == declared->dtype ||
             declared->kind != SINTER_TYPE_TENSOR))
            *inferred = *declared;
        return true;
    }
    if (declared->kind != inferred->kind) return false;
    if (inferred->element && declared->element) {
        sinter_type *element = SINTER_NEW(infer->arena, sinter_type);
        *element = *inferred->element;
        inferred->element = element;
        return merge_type(infer, declared->element, element);
    }
    if (inferred->kind != SINTER_TYPE_TENSOR) return true;
    if (declared->dtype != inferred->dtype || declared->rank != inferred->rank) return false;
    sinter_dim dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < inferred->rank; i++) {
        dims[i] = merge_dim(infer->dims, declared->dims[i], inferred->dims[i]);
        if (!dims[i]) return false;
    }
    *inferred = sinter_type_tensor(infer->arena, inferred->dtype, inferred->rank, dims);
    return true;
}

/* No number below zero: what an attribute or a constant says may not fit the operands. */
static bool check_dims(sinter_infer *infer, uint32_t result) {
    const sinter_type *type = &infer->results[result];
    int64_t value;
    if (type->kind != SINTER_TYPE_TENSOR) return true;
    for (uint32_t i = 0; i < type->rank; i++)
        if (sinter_dim_is_const(infer->dims, type->dims[i], &value) && value < 0)
            return sinter_infer_error(
                infer, "dim %" PRIu32 " of the result would be %" PRId64 " [infer_c2]", i, value);
    return true;
}

static bool store_results(sinter_infer *infer) {
    sinter_module *module = infer->module;
    for (uint32_t r = 0; r < infer->info->result_count; r++) {
        sinter_value value = infer->info->results[r];
        if (!value) continue;
        sinter_type *type = &infer->results[r];
        const sinter_type *declared = sinter_value_type(module, value);
        if (type->kind == SINTER_TYPE_NONE)
            return sinter_infer_error(infer, "result %u has no type: the op does not yield it", r);
        if (!check_dims(infer, r)) return false;
        if (!merge_type(infer, declared, type))
            return sinter_infer_error(infer, "%s is declared %s but inference finds %s [infer_c1]",
                                      sinter_value_label(module, value),
                                      sinter_infer_type_text(infer, declared),
                                      sinter_infer_type_text(infer, type));
        if (!sinter_type_equal(declared, type))
            sinter_value_set_type(module, value,
                                  sinter_infer_copy_type(sinter_module_arena(module), type));
    }
    sinter_infer_compute_content(infer);
    for (uint32_t r = 0; r < infer->info->result_count; r++)
        if (infer->info->results[r])
            store_content(module, infer->info->results[r], infer->contents[r],
                          infer->content_counts[r]);
    return true;
}

/* ---- nodes and regions ---- */

static bool check_operands(sinter_infer *infer) {
    const sinter_op_info *schema = sinter_op_get_info(infer->info->op);
    for (uint32_t i = 0; i < schema->operand_count; i++) {
        bool present = sinter_node_operand(infer->module, infer->node, i) != 0;
        if (!present && schema->operands[i].arity == SINTER_ARITY_ONE)
            return sinter_infer_error(infer, "operand '%.*s' is missing",
                                      SINTER_STRING_ARGS(schema->operands[i].name));
    }
    for (uint32_t i = 0; i < schema->attribute_count; i++) {
        const sinter_attr_info *attribute = &schema->attributes[i];
        const char *name =
            sinter_arena_copy_string(infer->arena, attribute->name.data, attribute->name.size);
        if (attribute->required && !sinter_node_find_attr(infer->module, infer->node, name))
            return sinter_infer_error(infer, "attribute '%s' is missing", name);
    }
    for (uint32_t i = 0; i < infer->info->operand_count; i++) {
        sinter_value value = infer->info->operands[i];
        if (value && sinter_value_type(infer->module, value)->kind == SINTER_TYPE_NONE)
            return sinter_infer_error(infer, "the type of operand %s is not known yet",
                                      sinter_value_label(infer->module, value));
        if (!sinter_infer_check_class(infer, i)) return false;
    }
    return true;
}

static sinter_infer begin_node(sinter_module *module, sinter_node node, sinter_arena *scratch,
                               sinter_diag *diag) {
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_infer infer = {.module = module,
                          .dims = sinter_module_dims(module),
                          .arena = scratch,
                          .node = node,
                          .info = info,
                          .diag = diag};
    infer.results = SINTER_NEW_ARRAY(scratch, sinter_type, info->result_count + 1);
    infer.contents = SINTER_NEW_ARRAY(scratch, const sinter_dim *, info->result_count + 1);
    infer.content_counts = SINTER_NEW_ARRAY(scratch, uint32_t, info->result_count + 1);
    return infer;
}

static bool infer_node(sinter_module *module, sinter_node node, sinter_arena *scratch,
                       sinter_diag *diag) {
    sinter_infer infer = begin_node(module, node, scratch, diag);
    return check_operands(&infer) && rules[infer.info->op](&infer) && store_results(&infer);
}

/* Dims of a result that are declared as other than what the rule finds. */
static void list_declared(sinter_infer *infer, sinter_value value, const sinter_type *found) {
    const sinter_type *declared = value ? sinter_value_type(infer->module, value) : NULL;
    if (!declared || declared->kind != SINTER_TYPE_TENSOR || found->kind != SINTER_TYPE_TENSOR)
        return;
    for (uint32_t i = 0; i < declared->rank && i < found->rank; i++) {
        sinter_infer_trust one = {SINTER_INFER_EQUAL, declared->dims[i], found->dims[i]};
        if (one.a != one.b) sinter_vector_push(infer->arena, infer->trusted, one);
    }
}

bool sinter_infer_list_trusted(sinter_module *module, sinter_node node, sinter_arena *arena,
                               sinter_infer_trusts *out_list, sinter_diag *diag) {
    sinter_infer infer = begin_node(module, node, arena, diag);
    assert(!infer.info->region_count);
    *out_list = (sinter_infer_trusts){0};
    infer.trusted = out_list;
    if (!check_operands(&infer) || !rules[infer.info->op](&infer)) return false;
    for (uint32_t r = 0; r < infer.info->result_count; r++)
        list_declared(&infer, infer.info->results[r], &infer.results[r]);
    return true;
}

bool sinter_infer_node(sinter_module *module, sinter_node node, sinter_diag *diag) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    bool ok = infer_node(module, node, &scratch, diag);
    sinter_arena_deinit(&scratch);
    return ok;
}

bool sinter_infer_region(sinter_module *module, sinter_region region, sinter_diag *diag) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    bool ok = true;
    SINTER_FOR_NODES (module, region, node) {
        if (!infer_node(module, node, &scratch, diag)) {
            ok = false;
            break;
        }
    }
    sinter_arena_deinit(&scratch);
    return ok;
}

void sinter_infer_forget_region(sinter_module *module, sinter_region region) {
    SINTER_FOR_NODES (module, region, node) {
        const sinter_node_info *info = sinter_node_get(module, node);
        for (uint32_t r = 0; r < info->result_count; r++)
            if (info->results[r]) {
                sinter_value_set_type(module, info->results[r], (sinter_type){0});
                sinter_value_set_content(module, info->results[r], NULL, 0);
            }
        for (uint32_t r = 0; r < info->region_count; r++) {
            const sinter_region_info *inner = sinter_region_get(module, info->regions[r]);
            for (uint32_t a = 0; a < inner->argument_count; a++) {
                sinter_value_set_type(module, inner->arguments[a], (sinter_type){0});
                sinter_value_set_content(module, inner->arguments[a], NULL, 0);
            }
            sinter_infer_forget_region(module, info->regions[r]);
        }
    }
}

/* ---- binding ---- */

static sinter_type substitute_type(sinter_module *module, const sinter_type *type,
                                   const sinter_dim *bindings) {
    sinter_arena *arena = sinter_module_arena(module);
    sinter_type copy = *type;
    if (type->element) {
        sinter_type *element = SINTER_NEW(arena, sinter_type);
        *element = substitute_type(module, type->element, bindings);
        copy.element = element;
    } else if (type->kind == SINTER_TYPE_TENSOR) {
        sinter_dim dims[SINTER_MAX_RANK];
        for (uint32_t i = 0; i < type->rank; i++)
            dims[i] = sinter_dim_substitute(sinter_module_dims(module), type->dims[i], bindings);
        copy = sinter_type_tensor(arena, type->dtype, type->rank, dims);
    }
    return copy;
}

static void substitute_values(sinter_module *module, const sinter_dim *bindings) {
    sinter_dim_table *table = sinter_module_dims(module);
    for (sinter_value value = 1; value < sinter_module_value_limit(module); value++) {
        const sinter_value_info *info = sinter_value_get(module, value);
        if (info->erased || info->type.kind == SINTER_TYPE_NONE) continue;
        sinter_type type = substitute_type(module, &info->type, bindings);
        if (!sinter_type_equal(&type, &info->type)) sinter_value_set_type(module, value, type);
        if (!info->content_count) continue;
        sinter_dim *items =
            SINTER_NEW_ARRAY(sinter_module_arena(module), sinter_dim, info->content_count);
        for (uint32_t i = 0; i < info->content_count; i++)
            items[i] =
                info->content[i] ? sinter_dim_substitute(table, info->content[i], bindings) : 0;
        sinter_value_set_content(module, value, items, info->content_count);
    }
}

static void substitute_dim_vectors(sinter_module *module, const sinter_dim *bindings) {
    for (sinter_node node = 1; node < sinter_module_node_limit(module); node++) {
        const sinter_node_info *info = sinter_node_get(module, node);
        if (info->erased || info->op != SINTER_OP_dim_vector) continue;
        const int64_t *items;
        size_t count = sinter_node_get_ints(module, node, "dims", &items);
        int64_t *copy = SINTER_NEW_ARRAY(sinter_module_arena(module), int64_t, count);
        for (size_t i = 0; i < count; i++)
            copy[i] =
                sinter_dim_substitute(sinter_module_dims(module), (sinter_dim)items[i], bindings);
        sinter_attr attr = sinter_attr_ints("dims", copy, count);
        sinter_node_set_attr(module, node, &attr);
    }
}

static bool unknown_symbol(sinter_module *module, sinter_string symbol, sinter_diag *diag) {
    sinter_dim_table *table = sinter_module_dims(module);
    sinter_text names = {0};
    for (size_t i = 0; i < sinter_dim_symbol_count(table); i++) {
        const sinter_dim_symbol *known =
            sinter_dim_get_symbol(table, sinter_dim_symbol_at(table, i));
        if (known->origin == SINTER_DIM_ORIGIN_INPUT)
            sinter_text_format(&names, "%s%s", names.size ? ", " : "", known->name);
    }
    sinter_error(diag, sinter_module_name(module),
                 "no dimension is named '%.*s'; the model has: %s", SINTER_STRING_ARGS(symbol),
                 names.size ? names.data : "none");
    sinter_text_deinit(&names);
    return false;
}

bool sinter_infer_bind_dim(sinter_module *module, sinter_string symbol, int64_t min, int64_t max,
                           sinter_diag *diag) {
    sinter_dim_table *table = sinter_module_dims(module);
    const char *name =
        sinter_arena_copy_string(sinter_module_arena(module), symbol.data, symbol.size);
    sinter_dim dim = find_symbol(module, name);
    if (!dim || sinter_dim_get_symbol(table, dim)->origin != SINTER_DIM_ORIGIN_INPUT)
        return unknown_symbol(module, symbol, diag);
    sinter_dim_symbol *info = sinter_dim_get_symbol(table, dim);
    if (min > max || min < 0)
        return sinter_error(diag, sinter_module_name(module), "dimension '%s' can't be %lld..%lld",
                            name, (long long)min, (long long)max);
    if (max < info->min || min > info->max)
        return sinter_error(
            diag, sinter_module_name(module), "dimension '%s' is %lld..%lld, not %lld..%lld", name,
            (long long)info->min, (long long)info->max, (long long)min, (long long)max);
    info->min = min > info->min ? min : info->min;
    info->max = max < info->max ? max : info->max;
    if (info->min == info->max) {
        if (info->multiple > 1 && min % info->multiple != 0)
            return sinter_error(diag, sinter_module_name(module),
                                "dimension '%s' is a multiple of %lld, not %lld", name,
                                (long long)info->multiple, (long long)min);
        sinter_dim *bindings = SINTER_NEW_ARRAY(sinter_module_arena(module), sinter_dim,
                                                sinter_dim_symbol_count(table));
        bindings[sinter_dim_symbol_index(table, dim)] = sinter_dim_const(table, info->min);
        substitute_values(module, bindings);
        substitute_dim_vectors(module, bindings);
    }
    return sinter_infer_region(module, sinter_module_main(module), diag);
}
