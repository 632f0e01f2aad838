/* The text form of a module, which ir/parse.c reads back: printing what was read from a print gives the
 * same bytes. Values without a name get numbers in the order of printing; symbols are declared at the
 * top where more is known of them than their name. A tensor is a list of decimals only where each of
 * them reads back to the same bits, else hex bytes. Grammar: docs/ir.md. Test: tests/ir/, tests/fuzz/sir_fuzz.c */
#include "ir/base/lex.h"
#include "ir/graph_internal.h"
#include "ir/parse.h"
#include "ir/sharding.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Longer tensors are printed as bytes. */
enum { MAX_LISTED = 16 };

typedef struct printer {
    sinter_module *module;
    const sinter_print_options *options;
    sinter_text *text;
    const uint32_t *numbers;
    sinter_arena scratch;
} printer;

static void put(printer *state, const char *string) {
    sinter_text_append_string(state->text, string);
}

static void put_indent(printer *state, unsigned depth) {
    for (unsigned i = 0; i < depth; i++) put(state, "  ");
}

static void put_value(printer *state, sinter_value value) {
    const sinter_value_info *info = value ? sinter_value_get(state->module, value) : NULL;
    if (!info)
        put(state, "_");
    else if (info->name)
        sinter_lex_print_name(state->text, '%', sinter_string_of(info->name));
    else
        sinter_text_format(state->text, "%%%u", state->numbers[value]);
}

static void put_values(printer *state, const sinter_value *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (i) put(state, ", ");
        put_value(state, values[i]);
    }
}

static void put_type(printer *state, const sinter_type *type) {
    sinter_type_print(state->module->dims, type, state->text);
}

/* Its type and what each rank has of it. */
static void put_value_type(printer *state, sinter_value value) {
    static const sinter_type absent = {0};
    const sinter_value_info *info = value ? sinter_value_get(state->module, value) : NULL;
    put_type(state, info ? &info->type : &absent);
    if (!info || !info->sharding) return;
    put(state, " ");
    sinter_sharding_print(sinter_module_mesh(state->module), info->sharding, state->text);
}

/* ---- numbers and tensors ---- */

static bool reads_back(const sinter_text *text, double value, bool narrow) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_lexer lexer;
    double back = 0;
    sinter_lexer_init(&lexer, "", text->data, text->size, &scratch, NULL);
    bool ok = sinter_lexer_expect_number(&lexer, &back);
    sinter_arena_deinit(&scratch);
    if (narrow) back = (double)(float)back;
    return ok && memcmp(&back, &value, sizeof back) == 0;
}

/* Attributes are binary32 values unless marked, see docs/ir.md: "0.1", "0.1:f64", or the bits of odd NaNs. */
static void put_float(printer *state, double value) {
    sinter_text digits = {0};
    bool narrow = (double)(float)value == value || value != value;
    if (narrow)
        sinter_text_float(&digits, (float)value);
    else
        sinter_text_double(&digits, value);
    if (reads_back(&digits, value, narrow)) {
        sinter_text_append(state->text, digits.data, digits.size);
        if (!narrow) put(state, ":f64");
    } else {
        uint64_t bits = 0;
        memcpy(&bits, &value, sizeof bits);
        sinter_text_format(state->text, "0x%llX:f64", (unsigned long long)bits);
    }
    sinter_text_deinit(&digits);
}

static void put_element(sinter_text *text, const sinter_tensor *tensor, int64_t index) {
    const sinter_dtype_info *info = &sinter_dtype_infos[tensor->dtype];
    switch (info->class) {
    case SINTER_CLASS_STRING:
        sinter_text_quote(text, sinter_tensor_get_string(tensor, index));
        break;
    case SINTER_CLASS_BOOL:
        sinter_text_append_string(text, sinter_tensor_get_int(tensor, index) ? "true" : "false");
        break;
    case SINTER_CLASS_FLOAT:
        if (info->bits > 32)
            sinter_text_double(text, sinter_tensor_get_double(tensor, index));
        else
            sinter_text_float(text, (float)sinter_tensor_get_double(tensor, index));
        break;
    case SINTER_CLASS_UINT:
        sinter_text_format(text, "%llu", (unsigned long long)sinter_tensor_get_int(tensor, index));
        break;
    case SINTER_CLASS_INT:
    case SINTER_CLASS_COMPLEX: /* never listed */
    case SINTER_CLASS_NONE:
        sinter_text_format(text, "%lld", (long long)sinter_tensor_get_int(tensor, index));
        break;
    }
}

/* The bits of a float element as they are stored. */
static uint64_t element_bits(const sinter_tensor *tensor, int64_t index) {
    uint32_t bits = sinter_dtype_infos[tensor->dtype].bits;
    const unsigned char *data = tensor->data;
    uint64_t value = 0;
    if (bits < 8) {
        uint64_t bit = (uint64_t)index * bits;
        return (uint64_t)(data[bit / 8] >> bit % 8) & ((1u << bits) - 1);
    }
    memcpy(&value, data + (uint64_t)index * (bits / 8), bits / 8);
    return value;
}

static bool float_reads_back(const sinter_tensor *tensor, int64_t index) {
    sinter_text digits = {0};
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    put_element(&digits, tensor, index);
    sinter_lexer lexer;
    double back = 0;
    sinter_lexer_init(&lexer, "", digits.data, digits.size, &scratch, NULL);
    bool ok = sinter_lexer_expect_number(&lexer, &back) &&
              sinter_float_encode(tensor->dtype, back, !isinf(back)) == element_bits(tensor, index);
    sinter_arena_deinit(&scratch);
    sinter_text_deinit(&digits);
    return ok;
}

static bool is_listed(const sinter_tensor *tensor, int64_t count) {
    sinter_dtype_class class = sinter_dtype_infos[tensor->dtype].class;
    if (class == SINTER_CLASS_STRING || count == 0) return true;
    if (class == SINTER_CLASS_COMPLEX || count > MAX_LISTED) return false;
    if (class == SINTER_CLASS_FLOAT)
        for (int64_t i = 0; i < count; i++)
            if (!float_reads_back(tensor, i)) return false;
    return true;
}

static void put_bytes(sinter_text *text, const unsigned char *data, size_t size) {
    static const char digits[] = "0123456789ABCDEF";
    char chunk[512];
    sinter_text_append_string(text, "0x");
    while (size > 0) {
        size_t count = size < sizeof chunk / 2 ? size : sizeof chunk / 2;
        for (size_t i = 0; i < count; i++) {
            chunk[2 * i] = digits[data[i] >> 4];
            chunk[2 * i + 1] = digits[data[i] & 15];
        }
        sinter_text_append(text, chunk, 2 * count);
        data += count;
        size -= count;
    }
}

static void put_tensor(printer *state, const sinter_tensor *tensor) {
    int64_t count = sinter_tensor_count(tensor);
    sinter_text_format(state->text, "tensor<%s[", sinter_dtype_infos[tensor->dtype].name);
    for (uint32_t i = 0; i < tensor->rank; i++)
        sinter_text_format(state->text, "%s%lld", i ? "," : "", (long long)tensor->dims[i]);
    put(state, "], ");
    size_t limit = state->options->max_elements;
    if (limit && (uint64_t)count > limit) {
        put(state, "...");
    } else if (is_listed(tensor, count)) {
        put(state, "[");
        for (int64_t i = 0; i < count; i++) {
            if (i) put(state, ", ");
            put_element(state->text, tensor, i);
        }
        put(state, "]");
    } else {
        put_bytes(state->text, tensor->data, sinter_tensor_bytes(tensor));
    }
    put(state, ">");
}

/* ---- attributes ---- */

static void put_ints(printer *state, const sinter_attr *attr, bool dims) {
    put(state, "[");
    for (size_t i = 0; i < attr->ints.count; i++) {
        if (i) put(state, ", ");
        if (dims)
            sinter_dim_print(state->module->dims, (sinter_dim)attr->ints.items[i], state->text);
        else
            sinter_text_format(state->text, "%lld", (long long)attr->ints.items[i]);
    }
    put(state, "]");
}

static void put_attr_value(printer *state, sinter_op op, const sinter_attr *attr) {
    switch (attr->kind) {
    case SINTER_ATTR_NONE:
        put(state, "none");
        break;
    case SINTER_ATTR_INT:
        sinter_text_format(state->text, "%lld", (long long)attr->int_value);
        break;
    case SINTER_ATTR_FLOAT:
        put_float(state, attr->float_value);
        break;
    case SINTER_ATTR_STRING:
        sinter_text_quote(state->text, attr->string_value);
        break;
    case SINTER_ATTR_INTS:
        put_ints(state, attr, op == SINTER_OP_dim_vector);
        break;
    case SINTER_ATTR_FLOATS:
        put(state, "[");
        for (size_t i = 0; i < attr->floats.count; i++) {
            if (i) put(state, ", ");
            put_float(state, attr->floats.items[i]);
        }
        put(state, "]");
        break;
    case SINTER_ATTR_STRINGS:
        put(state, "[");
        for (size_t i = 0; i < attr->strings.count; i++) {
            if (i) put(state, ", ");
            sinter_text_quote(state->text, attr->strings.items[i]);
        }
        put(state, "]");
        break;
    case SINTER_ATTR_TENSOR:
        put_tensor(state, attr->tensor);
        break;
    case SINTER_ATTR_TYPE:
        put_type(state, attr->type);
        break;
    case SINTER_ATTR_DTYPE:
        put(state, sinter_dtype_infos[attr->dtype].name);
        break;
    }
}

static void put_attributes(printer *state, const sinter_node_info *info) {
    if (info->attribute_count == 0) return;
    put(state, " {");
    for (uint32_t i = 0; i < info->attribute_count; i++) {
        const sinter_attr *attr = &info->attributes[i];
        if (i) put(state, ", ");
        sinter_text_append(state->text, attr->name.data, attr->name.size);
        put(state, " = ");
        put_attr_value(state, info->op, attr);
    }
    put(state, "}");
}

/* ---- nodes and regions ---- */

static void put_node(printer *state, sinter_node node, unsigned depth);

static void put_arguments(printer *state, const sinter_region_info *region) {
    put(state, "(");
    for (uint32_t i = 0; i < region->argument_count; i++) {
        if (i) put(state, ", ");
        put_value(state, region->arguments[i]);
        put(state, ": ");
        put_value_type(state, region->arguments[i]);
    }
    put(state, ")");
}

static void put_body(printer *state, sinter_region region, unsigned depth) {
    SINTER_FOR_NODES (state->module, region, node) put_node(state, node, depth);
}

static void put_regions(printer *state, const sinter_node_info *info, unsigned depth) {
    if (info->region_count == 0) return;
    put(state, " (");
    for (uint32_t i = 0; i < info->region_count; i++) {
        const sinter_region_info *region = sinter_region_get(state->module, info->regions[i]);
        put(state, i ? ", {" : "{");
        if (region->argument_count) {
            put(state, " ");
            put_arguments(state, region);
        }
        put(state, "\n");
        put_body(state, info->regions[i], depth + 1);
        put_indent(state, depth);
        put(state, "}");
    }
    put(state, ")");
}

static void put_result_types(printer *state, const sinter_node_info *info) {
    for (uint32_t i = 0; i < info->result_count; i++) {
        put(state, i ? ", " : " : ");
        put_value_type(state, info->results[i]);
    }
}

static void put_node(printer *state, sinter_node node, unsigned depth) {
    const sinter_node_info *info = sinter_node_get(state->module, node);
    put_indent(state, depth);
    put_values(state, info->results, info->result_count);
    if (info->result_count) put(state, " = ");
    put(state, sinter_op_get_info(info->op)->name);
    put(state, "(");
    put_values(state, info->operands, info->operand_count);
    put(state, ")");
    put_attributes(state, info);
    put_regions(state, info, depth);
    put_result_types(state, info);
    if (info->location && state->options->locations) {
        put(state, " loc(");
        sinter_text_quote(state->text, sinter_string_of(info->location));
        put(state, ")");
    }
    put(state, "\n");
}

/* ---- symbols ---- */

typedef struct symbol_set {
    printer *state;
    bool *symbols;   /* by index of symbol */
    sinter_map dims; /* seen */
} symbol_set;

static void mark_dim(symbol_set *set, sinter_dim dim) {
    const sinter_dim_table *table = set->state->module->dims;
    uint64_t seen = 0;
    if (!dim || sinter_map_find(&set->dims, dim, &seen)) return;
    sinter_map_put(&set->dims, dim, 1);
    if (sinter_dim_get_kind(table, dim) == SINTER_DIM_SYMBOL) {
        set->symbols[sinter_dim_symbol_index(table, dim)] = true;
        return;
    }
    const sinter_dim *operands = NULL;
    size_t count = sinter_dim_operands(table, dim, &operands);
    for (size_t i = 0; i < count; i++) mark_dim(set, operands[i]);
}

static void mark_type(symbol_set *set, const sinter_type *type) {
    for (; type; type = type->element)
        for (uint32_t i = 0; i < type->rank; i++) mark_dim(set, type->dims[i]);
}

static void mark_region(symbol_set *set, sinter_region region) {
    sinter_module *module = set->state->module;
    const sinter_region_info *info = sinter_region_get(module, region);
    for (uint32_t i = 0; i < info->argument_count; i++)
        mark_type(set, sinter_value_type(module, info->arguments[i]));
    SINTER_FOR_NODES (module, region, node) {
        const sinter_node_info *inside = sinter_node_get(module, node);
        for (uint32_t i = 0; i < inside->result_count; i++)
            if (inside->results[i]) mark_type(set, sinter_value_type(module, inside->results[i]));
        for (uint32_t i = 0; i < inside->attribute_count; i++) {
            const sinter_attr *attr = &inside->attributes[i];
            if (attr->kind == SINTER_ATTR_TYPE) mark_type(set, attr->type);
            if (attr->kind == SINTER_ATTR_INTS && inside->op == SINTER_OP_dim_vector)
                for (size_t k = 0; k < attr->ints.count; k++)
                    mark_dim(set, (sinter_dim)attr->ints.items[k]);
        }
        for (uint32_t i = 0; i < inside->region_count; i++) mark_region(set, inside->regions[i]);
    }
}

static void put_symbol(printer *state, sinter_dim dim) {
    const sinter_dim_symbol *symbol = sinter_dim_get_symbol(state->module->dims, dim);
    bool ranged = symbol->min != 0 || symbol->max != INT64_MAX;
    bool input = symbol->origin == SINTER_DIM_ORIGIN_INPUT;
    if (!ranged && input && symbol->multiple == 1) return;
    put(state, "  dim ");
    sinter_dim_print(state->module->dims, dim, state->text);
    if (ranged) {
        put(state, " = ");
        if (symbol->min != INT64_MIN)
            sinter_text_format(state->text, "%lld", (long long)symbol->min);
        put(state, "..");
        if (symbol->max != INT64_MAX)
            sinter_text_format(state->text, "%lld", (long long)symbol->max);
    }
    if (symbol->multiple != 1)
        sinter_text_format(state->text, " multiple %lld", (long long)symbol->multiple);
    if (!input) {
        put(state, symbol->origin == SINTER_DIM_ORIGIN_NODE ? " node(" : " content(");
        bool there = !sinter_value_get(state->module, symbol->value)->erased;
        put_value(state, there ? symbol->value : 0);
        sinter_text_format(state->text, ", %u)", symbol->index);
    }
    put(state, "\n");
}

static void put_symbols(printer *state) {
    const sinter_dim_table *table = state->module->dims;
    size_t count = sinter_dim_symbol_count(table);
    symbol_set set = {.state = state, .symbols = SINTER_NEW_ARRAY(&state->scratch, bool, count)};
    sinter_map_init(&set.dims, &state->scratch);
    mark_region(&set, state->module->main);
    for (size_t i = 0; i < count; i++)
        if (set.symbols[i]) put_symbol(state, sinter_dim_symbol_at(table, i));
}

/* ---- modules ---- */

static const sinter_print_options default_options = {.locations = true};

static printer begin(sinter_module *module, const sinter_print_options *options,
                     sinter_text *text) {
    printer state = {
        .module = module, .options = options ? options : &default_options, .text = text};
    sinter_arena_init(&state.scratch);
    state.numbers = sinter_graph_number_values(module, &state.scratch);
    return state;
}

void sinter_print_module(sinter_module *module, const sinter_print_options *options,
                         sinter_text *text) {
    printer state = begin(module, options, text);
    put(&state, "module ");
    sinter_text_quote(text, sinter_string_of(module->name));
    put(&state, " {\n");
    for (size_t i = 0; i < module->metadata.count; i++) {
        put(&state, "  metadata ");
        sinter_text_quote(text, module->metadata.items[i].key);
        put(&state, " = ");
        sinter_text_quote(text, module->metadata.items[i].value);
        put(&state, "\n");
    }
    if (module->mesh) {
        put(&state, "  mesh ");
        sinter_mesh_print(module->mesh, text);
        put(&state, "\n");
    }
    put_symbols(&state);
    put(&state, "  graph ");
    put_arguments(&state, sinter_region_get(module, module->main));
    put(&state, " {\n");
    put_body(&state, module->main, 2);
    put(&state, "  }\n}\n");
    sinter_arena_deinit(&state.scratch);
}

void sinter_print_node(sinter_module *module, sinter_node node, sinter_text *text) {
    printer state = begin(module, NULL, text);
    put_node(&state, node, 0);
    sinter_arena_deinit(&state.scratch);
}
