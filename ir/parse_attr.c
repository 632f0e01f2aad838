/* Reading types, attributes and tensors of the text form. Sizes are checked against what the text
 * really holds before anything is allocated by them. Test: tests/ir/, tests/fuzz/sir_fuzz.c */
#include "ir/parse_internal.h"
#include "ir/schema.h"

#include <math.h>
#include <string.h>

bool sinter_parse_text(sinter_parser *parser, const char **out_text) {
    sinter_string string;
    const char *position = parser->lexer.token.position;
    if (!sinter_lexer_expect_string(&parser->lexer, &string)) return false;
    if (string.size && memchr(string.data, 0, string.size))
        return sinter_lexer_error_at(&parser->lexer, position, "a NUL byte can't be here");
    *out_text = sinter_arena_copy_string(&parser->scratch, string.data, string.size);
    return true;
}

/* ---- types ---- */

bool sinter_parse_dim(sinter_parser *parser, int64_t minimum, sinter_dim *out_dim) {
    sinter_lexer *lexer = &parser->lexer;
    sinter_dim_table *table = sinter_module_dims(parser->module);
    const char *start = lexer->token.position, *cursor = start;
    if (!sinter_dim_parse(table, &cursor, lexer->end, out_dim))
        return sinter_lexer_error_expected(lexer, "a dimension like 'N', '8' or '2*N + 1'");
    int64_t number = 0;
    if (sinter_dim_is_const(table, *out_dim, &number) && number < minimum)
        return sinter_lexer_error_at(lexer, start, "dimension %lld is negative", (long long)number);
    sinter_lexer_seek(lexer, cursor);
    return true;
}

static bool parse_dtype(sinter_parser *parser, sinter_dtype *out_dtype) {
    sinter_lexer *lexer = &parser->lexer;
    *out_dtype = lexer->token.kind == SINTER_TOKEN_IDENTIFIER ? sinter_dtype_find(lexer->token.text)
                                                              : SINTER_DTYPE_NONE;
    if (!*out_dtype) return sinter_lexer_error_expected(lexer, "an element type like 'f32'");
    sinter_lexer_next(lexer);
    return true;
}

/* "f32[2,N]"; where `any_rank`, also "f32[*]". */
static bool parse_tensor_type(sinter_parser *parser, bool any_rank, sinter_type *out_type) {
    sinter_lexer *lexer = &parser->lexer;
    sinter_dtype dtype;
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t rank = 0;
    if (!parse_dtype(parser, &dtype) || !sinter_lexer_expect(lexer, "[")) return false;
    if (any_rank && sinter_lexer_accept(lexer, "*")) {
        *out_type = (sinter_type){.kind = SINTER_TYPE_NONE, .dtype = dtype};
        return sinter_lexer_expect(lexer, "]");
    }
    while (!sinter_lexer_is(lexer, "]")) {
        if (rank == SINTER_MAX_RANK)
            return sinter_lexer_error(lexer, "a tensor has at most %d dimensions", SINTER_MAX_RANK);
        if (!sinter_parse_dim(parser, 0, &dims[rank++])) return false;
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    if (!sinter_lexer_expect(lexer, "]")) return false;
    *out_type = sinter_type_tensor(&parser->scratch, dtype, rank, dims);
    return true;
}

static bool parse_type(sinter_parser *parser, bool any_rank, sinter_type *out_type) {
    sinter_lexer *lexer = &parser->lexer;
    *out_type = (sinter_type){.kind = SINTER_TYPE_NONE};
    if (sinter_lexer_accept(lexer, "none")) return true;
    if (sinter_lexer_accept(lexer, "map")) {
        out_type->kind = SINTER_TYPE_MAP;
        return true;
    }
    bool sequence = sinter_lexer_accept(lexer, "seq");
    if (!sequence && !sinter_lexer_accept(lexer, "opt"))
        return parse_tensor_type(parser, any_rank, out_type);
    sinter_type *element = SINTER_NEW(&parser->scratch, sinter_type);
    out_type->kind = sequence ? SINTER_TYPE_SEQUENCE : SINTER_TYPE_OPTIONAL;
    out_type->element = element;
    if (!sinter_lexer_enter(lexer) || !sinter_lexer_expect(lexer, "(") ||
        !parse_type(parser, sequence, element) || !sinter_lexer_expect(lexer, ")"))
        return false;
    sinter_lexer_leave(lexer);
    return true;
}

bool sinter_parse_type(sinter_parser *parser, sinter_type *out_type) {
    return parse_type(parser, false, out_type);
}

/* ---- tensors ---- */

typedef struct element {
    double number;
    int64_t integer;
    sinter_string string;
} element;

/* An integer of the dtype; u64 keeps its bits. */
static bool parse_integer_element(sinter_parser *parser, const sinter_dtype_info *info,
                                  int64_t *out_value) {
    sinter_lexer *lexer = &parser->lexer;
    const char *position = lexer->token.position;
    if (info->class == SINTER_CLASS_UINT && info->bits == 64 &&
        lexer->token.kind == SINTER_TOKEN_INTEGER) {
        *out_value = (int64_t)lexer->token.integer;
        sinter_lexer_next(lexer);
        return true;
    }
    if (!sinter_lexer_expect_integer(lexer, out_value)) return false;
    bool is_signed = info->class == SINTER_CLASS_INT;
    uint32_t bits = info->bits - is_signed;
    int64_t high = bits >= 63 ? INT64_MAX : ((int64_t)1 << bits) - 1;
    int64_t low = is_signed ? -high - 1 : 0;
    if (*out_value < low || *out_value > high)
        return sinter_lexer_error_at(lexer, position, "%lld does not fit %s", (long long)*out_value,
                                     info->name);
    return true;
}

/* inf only where the type has it; what else is too large saturates or overflows as the type does. */
static bool parse_float_element(sinter_parser *parser, const sinter_dtype_info *info,
                                double *out_value) {
    sinter_lexer *lexer = &parser->lexer;
    const char *position = lexer->token.position;
    sinter_dtype dtype = (sinter_dtype)(info - sinter_dtype_infos);
    if (!sinter_lexer_expect_number(lexer, out_value)) return false;
    if (isinf(*out_value) &&
        !isinf(sinter_float_decode(dtype, sinter_float_encode(dtype, *out_value, false))))
        return sinter_lexer_error_at(lexer, position, "%s has no infinity", info->name);
    return true;
}

static bool parse_element(sinter_parser *parser, const sinter_dtype_info *info,
                          element *out_element) {
    sinter_lexer *lexer = &parser->lexer;
    *out_element = (element){0};
    switch (info->class) {
    case SINTER_CLASS_STRING:
        return sinter_lexer_expect_string(lexer, &out_element->string);
    case SINTER_CLASS_FLOAT:
        return parse_float_element(parser, info, &out_element->number);
    case SINTER_CLASS_BOOL:
        out_element->integer = sinter_lexer_is(lexer, "true");
        return sinter_lexer_accept(lexer, "true") || sinter_lexer_accept(lexer, "false") ||
               sinter_lexer_error_expected(lexer, "true or false");
    case SINTER_CLASS_INT:
    case SINTER_CLASS_UINT:
        return parse_integer_element(parser, info, &out_element->integer);
    case SINTER_CLASS_NONE:
    case SINTER_CLASS_COMPLEX:
        break;
    }
    return sinter_lexer_error(lexer, "elements of type %s are written as hex bytes", info->name);
}

/* Storage for a tensor whose type is set. */
static bool make_tensor(sinter_parser *parser, sinter_tensor *tensor) {
    sinter_tensor header = *tensor;
    return sinter_tensor_create(tensor, header.dtype, header.rank, header.dims, parser->lexer.diag);
}

/* Storing saturates where conversion does, but a written inf is meant. */
static void set_float(sinter_tensor *tensor, size_t index, double value) {
    sinter_tensor_set_double(tensor, (int64_t)index, value);
    uint32_t bits = sinter_dtype_infos[tensor->dtype].bits;
    if (!isinf(value) || bits < 8) return;
    uint64_t encoded = sinter_float_encode(tensor->dtype, value, false);
    memcpy((char *)sinter_tensor_mutable(tensor) + index * (bits / 8), &encoded, bits / 8);
}

static bool parse_listed(sinter_parser *parser, sinter_tensor *tensor, uint64_t count) {
    sinter_lexer *lexer = &parser->lexer;
    const sinter_dtype_info *info = &sinter_dtype_infos[tensor->dtype];
    SINTER_VECTOR(element) elements = {0};
    const char *position = lexer->token.position;
    sinter_lexer_next(lexer);
    while (!sinter_lexer_is(lexer, "]")) {
        element next;
        if (!parse_element(parser, info, &next)) return false;
        sinter_vector_push(&parser->scratch, &elements, next);
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    if (!sinter_lexer_expect(lexer, "]")) return false;
    if (elements.count != count)
        return sinter_lexer_error_at(lexer, position, "expected %llu elements, found %zu",
                                     (unsigned long long)count, elements.count);
    if (!make_tensor(parser, tensor)) return false;
    for (size_t i = 0; i < elements.count; i++) {
        if (info->class == SINTER_CLASS_FLOAT)
            set_float(tensor, i, elements.items[i].number);
        else if (info->class == SINTER_CLASS_STRING)
            sinter_tensor_set_string(tensor, (int64_t)i, elements.items[i].string);
        else
            sinter_tensor_set_int(tensor, (int64_t)i, elements.items[i].integer);
    }
    return true;
}

static bool parse_bytes(sinter_parser *parser, sinter_tensor *tensor, uint64_t count) {
    sinter_lexer *lexer = &parser->lexer;
    sinter_string digits = lexer->token.text;
    const sinter_dtype_info *info = &sinter_dtype_infos[tensor->dtype];
    uint64_t size = 0;
    if (info->class == SINTER_CLASS_STRING)
        return sinter_lexer_error(lexer, "strings are written as a list");
    if (!sinter_dtype_bytes(tensor->dtype, count, &size) || digits.size % 2 ||
        digits.size / 2 != size)
        return sinter_lexer_error(lexer, "expected %llu bytes, found %zu digits",
                                  (unsigned long long)size, digits.size);
    if (!make_tensor(parser, tensor)) return false;
    unsigned char *data = sinter_tensor_mutable(tensor), largest = 0;
    for (uint64_t i = 0; i < size; i++) {
        data[i] = (unsigned char)(sinter_hex_digit(digits.data[2 * i]) << 4 |
                                  sinter_hex_digit(digits.data[2 * i + 1]));
        if (data[i] > largest) largest = data[i];
    }
    if (info->class == SINTER_CLASS_BOOL && largest > 1) {
        sinter_tensor_deinit(tensor);
        return sinter_lexer_error(lexer, "a bool is 00 or 01, found %02X", largest);
    }
    sinter_lexer_next(lexer);
    return true;
}

/* The dims of a type as numbers and their product. */
static bool static_dims(sinter_parser *parser, const sinter_type *type, sinter_tensor *tensor,
                        uint64_t *out_count) {
    const sinter_dim_table *table = sinter_module_dims(parser->module);
    *tensor = (sinter_tensor){.kind = SINTER_TYPE_TENSOR, .dtype = type->dtype};
    if (type->kind != SINTER_TYPE_TENSOR || !sinter_type_static_count(table, type, out_count))
        return false;
    tensor->rank = type->rank;
    for (uint32_t i = 0; i < type->rank; i++)
        if (!sinter_dim_is_const(table, type->dims[i], &tensor->dims[i])) return false;
    return true;
}

/* tensor<f32[2], [1, 2]> or tensor<f32[100], 0x...> */
static bool parse_tensor(sinter_parser *parser, const sinter_tensor **out_tensor) {
    sinter_lexer *lexer = &parser->lexer;
    sinter_type type;
    sinter_tensor tensor;
    uint64_t count = 0;
    if (!sinter_lexer_expect(lexer, "tensor") || !sinter_lexer_expect(lexer, "<")) return false;
    const char *position = lexer->token.position;
    if (!sinter_parse_type(parser, &type)) return false;
    if (!static_dims(parser, &type, &tensor, &count))
        return sinter_lexer_error_at(
            lexer, position, "a tensor has dimensions that are numbers, of a count below 2^64");
    if (!sinter_lexer_expect(lexer, ",")) return false;
    bool ok = lexer->token.kind == SINTER_TOKEN_HEX ? parse_bytes(parser, &tensor, count)
              : sinter_lexer_is(lexer, "[")
                  ? parse_listed(parser, &tensor, count)
                  : sinter_lexer_error_expected(lexer, "'[' or the bytes 0x... of the tensor");
    if (!ok) return false;
    *out_tensor = sinter_module_keep_tensor(parser->module, tensor);
    return sinter_lexer_expect(lexer, ">");
}

/* ---- attributes ---- */

/* 0.1 is rounded to binary32 as attributes of files are; 0.1:f64 is not. */
static bool parse_float(sinter_parser *parser, double *out_value) {
    sinter_lexer *lexer = &parser->lexer;
    if (!sinter_lexer_expect_number(lexer, out_value)) return false;
    if (sinter_lexer_accept(lexer, ":")) return sinter_lexer_expect(lexer, "f64");
    *out_value = (double)(float)*out_value;
    return true;
}

static bool parse_ints(sinter_parser *parser, bool dims, sinter_attr *attr) {
    sinter_lexer *lexer = &parser->lexer;
    SINTER_VECTOR(int64_t) items = {0};
    if (!sinter_lexer_expect(lexer, "[")) return false;
    while (!sinter_lexer_is(lexer, "]")) {
        int64_t value = 0;
        sinter_dim dim = 0;
        if (dims ? !sinter_parse_dim(parser, INT64_MIN, &dim)
                 : !sinter_lexer_expect_integer(lexer, &value))
            return false;
        sinter_vector_push(&parser->scratch, &items, dims ? (int64_t)dim : value);
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    attr->ints.items = items.items;
    attr->ints.count = items.count;
    return sinter_lexer_expect(lexer, "]");
}

static bool parse_floats(sinter_parser *parser, sinter_attr *attr) {
    sinter_lexer *lexer = &parser->lexer;
    SINTER_VECTOR(double) items = {0};
    if (!sinter_lexer_expect(lexer, "[")) return false;
    while (!sinter_lexer_is(lexer, "]")) {
        double value;
        if (!parse_float(parser, &value)) return false;
        sinter_vector_push(&parser->scratch, &items, value);
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    attr->floats.items = items.items;
    attr->floats.count = items.count;
    return sinter_lexer_expect(lexer, "]");
}

static bool parse_strings(sinter_parser *parser, sinter_attr *attr) {
    sinter_lexer *lexer = &parser->lexer;
    SINTER_VECTOR(sinter_string) items = {0};
    if (!sinter_lexer_expect(lexer, "[")) return false;
    while (!sinter_lexer_is(lexer, "]")) {
        sinter_string value;
        if (!sinter_lexer_expect_string(lexer, &value)) return false;
        sinter_vector_push(&parser->scratch, &items, value);
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    attr->strings.items = items.items;
    attr->strings.count = items.count;
    return sinter_lexer_expect(lexer, "]");
}

static bool parse_attr_value(sinter_parser *parser, sinter_op op, sinter_attr *attr) {
    sinter_lexer *lexer = &parser->lexer;
    switch (attr->kind) {
    case SINTER_ATTR_INT:
        return sinter_lexer_expect_integer(lexer, &attr->int_value);
    case SINTER_ATTR_FLOAT:
        return parse_float(parser, &attr->float_value);
    case SINTER_ATTR_STRING:
        return sinter_lexer_expect_string(lexer, &attr->string_value);
    case SINTER_ATTR_INTS:
        return parse_ints(parser, op == SINTER_OP_dim_vector, attr);
    case SINTER_ATTR_FLOATS:
        return parse_floats(parser, attr);
    case SINTER_ATTR_STRINGS:
        return parse_strings(parser, attr);
    case SINTER_ATTR_TENSOR:
        return parse_tensor(parser, &attr->tensor);
    case SINTER_ATTR_TYPE: {
        sinter_type *type = SINTER_NEW(&parser->scratch, sinter_type);
        attr->type = type;
        return sinter_parse_type(parser, type);
    }
    case SINTER_ATTR_DTYPE:
        if (sinter_lexer_accept(lexer, "none")) return true;
        return parse_dtype(parser, &attr->dtype);
    case SINTER_ATTR_NONE:
        break;
    }
    return false;
}

bool sinter_parse_attr(sinter_parser *parser, sinter_op op, sinter_attr *out_attr) {
    sinter_lexer *lexer = &parser->lexer;
    const sinter_op_info *info = sinter_op_get_info(op);
    const char *position = lexer->token.position;
    sinter_string name;
    if (!sinter_lexer_expect_identifier(lexer, &name)) return false;
    int index = sinter_op_find_attribute(op, name);
    if (index < 0)
        return sinter_lexer_error_at(
            lexer, position, "%s: unknown attribute '%.*s'; known: %s [graph_c5]", info->name,
            SINTER_STRING_ARGS(name), info->attribute_count ? info->attributes_text : "none");
    *out_attr = (sinter_attr){.name = name, .kind = info->attributes[index].kind};
    if (!sinter_lexer_expect(lexer, "=")) return false;
    if (parse_attr_value(parser, op, out_attr)) return true;
    sinter_note(lexer->diag, sinter_lexer_where(lexer, position),
                "%s: attribute '%.*s' is of kind %s [graph_c6]", info->name,
                SINTER_STRING_ARGS(name), sinter_schema_kind_name(out_attr->kind));
    return false;
}
