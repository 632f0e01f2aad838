/* The op table at run time: ops.def expanded once, its schema columns parsed into operand, result
 * and attribute descriptions. A malformed row is our own bug and asserts. Test:
 * tests/unit/op_test.c */
#include "ir/op.h"

#include <assert.h>
#include <string.h>

/* clang-format off */
static sinter_op_info infos[SINTER_OP_COUNT] = {
#define OP(op_name, operand_list, result_list, attribute_list, trait_set, pattern_name, body_text, infer, eval, doc_text) \
    [SINTER_OP_##op_name] = {.name = #op_name, .traits = SINTER_TRAIT_##trait_set, \
        .pattern = SINTER_PATTERN_##pattern_name, .body = body_text, .doc = doc_text, \
        .operands_text = operand_list, .results_text = result_list, .attributes_text = attribute_list},
#include "ir/ops.def"
#undef OP
};
/* clang-format on */

static const char *const attr_kind_names[] = {
    [SINTER_ATTR_INT] = "int",       [SINTER_ATTR_FLOAT] = "float",
    [SINTER_ATTR_STRING] = "string", [SINTER_ATTR_INTS] = "ints",
    [SINTER_ATTR_FLOATS] = "floats", [SINTER_ATTR_STRINGS] = "strings",
    [SINTER_ATTR_TENSOR] = "tensor", [SINTER_ATTR_TYPE] = "type",
    [SINTER_ATTR_DTYPE] = "dtype",
};

static const struct {
    const char *name, *text;
} operand_classes[] = {
    [SINTER_OPERAND_ANY] = {"any", "anything"},
    [SINTER_OPERAND_TENSOR] = {"tensor", "a tensor"},
    [SINTER_OPERAND_PLAIN] = {"plain", "a tensor of numbers or truth values"},
    [SINTER_OPERAND_NUMBER] = {"number", "a tensor of numbers"},
    [SINTER_OPERAND_FLOAT] = {"float", "a float tensor"},
    [SINTER_OPERAND_INTEGER] = {"integer", "an integer tensor"},
    [SINTER_OPERAND_QUANTIZED] = {"quantized", "integers of up to 16 bits or floats of up to 8"},
    [SINTER_OPERAND_BOOL] = {"bool", "a bool tensor"},
    [SINTER_OPERAND_STRING] = {"string", "a string tensor"},
};
enum { OPERAND_CLASS_COUNT = sizeof operand_classes / sizeof *operand_classes };

static sinter_once once = SINTER_ONCE_INIT;
static sinter_arena arena; /* lives as long as the process */
static sinter_map by_name;

/* The next comma-separated piece without the blanks before it; false at the end. */
static bool next_piece(const char **cursor, sinter_string *out_piece) {
    const char *at = *cursor;
    while (*at == ' ' || *at == ',') at++;
    size_t size = strcspn(at, ",");
    *out_piece = (sinter_string){at, size};
    *cursor = at + size;
    return size > 0;
}

static uint32_t count_pieces(const char *text) {
    uint32_t count = 0;
    for (sinter_string piece; next_piece(&text, &piece);) count++;
    return count;
}

/* "x:float" is x of that class. */
static sinter_operand_class take_class(sinter_string *name) {
    const char *colon = memchr(name->data, ':', name->size);
    if (!colon) return SINTER_OPERAND_ANY;
    sinter_string word = {colon + 1, name->size - (size_t)(colon + 1 - name->data)};
    name->size -= word.size + 1;
    int class = SINTER_OPERAND_ANY;
    while (class < OPERAND_CLASS_COUNT && !sinter_string_is(word, operand_classes[class].name))
        class ++;
    assert(class < OPERAND_CLASS_COUNT);
    return (sinter_operand_class) class;
}

static const sinter_operand_info *parse_operands(const char *text, uint32_t *out_count) {
    uint32_t count = count_pieces(text), i = 0;
    sinter_operand_info *operands = SINTER_NEW_ARRAY(&arena, sinter_operand_info, count);
    for (sinter_string piece; next_piece(&text, &piece); i++) {
        char last = piece.data[piece.size - 1];
        operands[i].arity = last == '?'   ? SINTER_ARITY_OPTIONAL
                            : last == '*' ? SINTER_ARITY_VARIADIC
                                          : SINTER_ARITY_ONE;
        if (operands[i].arity != SINTER_ARITY_ONE) piece.size--;
        operands[i].class = take_class(&piece);
        operands[i].name = piece;
        assert(operands[i].arity != SINTER_ARITY_VARIADIC || i + 1 == count);
    }
    *out_count = count;
    return operands;
}

static sinter_attr_kind find_attr_kind(sinter_string name) {
    for (int kind = SINTER_ATTR_INT; kind <= SINTER_ATTR_DTYPE; kind++)
        if (sinter_string_is(name, attr_kind_names[kind])) return (sinter_attr_kind)kind;
    return SINTER_ATTR_NONE;
}

/* "axis:int=-1", "pads:ints?", "to:dtype", "mode:string(linear cubic)=linear" */
static sinter_attr_info parse_attribute(sinter_string piece) {
    sinter_attr_info info = {.required = true};
    const char *colon = memchr(piece.data, ':', piece.size);
    assert(colon);
    info.name = (sinter_string){piece.data, (size_t)(colon - piece.data)};
    sinter_string kind = {colon + 1, piece.size - info.name.size - 1};
    const char *equals = memchr(kind.data, '=', kind.size);
    if (equals) {
        size_t kind_size = (size_t)(equals - kind.data);
        info.default_text = (sinter_string){equals + 1, kind.size - kind_size - 1};
        info.has_default = true;
        info.required = false;
        kind.size = kind_size;
    } else if (kind.data[kind.size - 1] == '?') {
        info.required = false;
        kind.size--;
    }
    const char *paren = memchr(kind.data, '(', kind.size);
    if (paren) {
        size_t kind_size = (size_t)(paren - kind.data);
        assert(kind.data[kind.size - 1] == ')');
        info.choices = (sinter_string){paren + 1, kind.size - kind_size - 2};
        kind.size = kind_size;
    }
    info.kind = find_attr_kind(kind);
    assert(info.kind != SINTER_ATTR_NONE);
    return info;
}

static const sinter_attr_info *parse_attributes(const char *text, uint32_t *out_count) {
    uint32_t count = count_pieces(text), i = 0;
    sinter_attr_info *attributes = SINTER_NEW_ARRAY(&arena, sinter_attr_info, count);
    for (sinter_string piece; next_piece(&text, &piece); i++)
        attributes[i] = parse_attribute(piece);
    *out_count = count;
    return attributes;
}

static void build_tables(void) {
    sinter_arena_init(&arena);
    sinter_map_init(&by_name, &arena);
    infos[SINTER_OP_NONE] = (sinter_op_info){.name = "none", .body = "", .doc = ""};
    for (int op = SINTER_OP_NONE + 1; op < SINTER_OP_COUNT; op++) {
        sinter_op_info *info = &infos[op];
        info->operands = parse_operands(info->operands_text, &info->operand_count);
        info->results = parse_operands(info->results_text, &info->result_count);
        info->attributes = parse_attributes(info->attributes_text, &info->attribute_count);
        sinter_map_put_string(&by_name, sinter_string_of(info->name), (uint64_t)op);
    }
}

const sinter_op_info *sinter_op_get_info(sinter_op op) {
    sinter_once_run(&once, build_tables);
    assert((unsigned)op < SINTER_OP_COUNT);
    return &infos[op];
}

sinter_op sinter_op_find(sinter_string name) {
    sinter_once_run(&once, build_tables);
    uint64_t op = SINTER_OP_NONE;
    sinter_map_find_string(&by_name, name, &op);
    return (sinter_op)op;
}

bool sinter_op_has_trait(sinter_op op, uint32_t trait) {
    return (sinter_op_get_info(op)->traits & trait) != 0;
}

bool sinter_op_sends(sinter_op op) {
    const sinter_op_info *info = sinter_op_get_info(op);
    return info->pattern == SINTER_PATTERN_COLLECTIVE && strcmp(info->body, "local") != 0;
}

bool sinter_op_adds(sinter_op op) {
    return op == SINTER_OP_all_reduce || op == SINTER_OP_reduce_scatter;
}

bool sinter_op_is_recurrent(sinter_op op) {
    return sinter_op_has_trait(op, SINTER_TRAIT_RECURRENT);
}

uint32_t sinter_op_factor_count(sinter_op op) {
    if (sinter_op_is_recurrent(op) || op == SINTER_OP_attention) return 3;
    sinter_pattern pattern = sinter_op_get_info(op)->pattern;
    return pattern == SINTER_PATTERN_CONTRACT || pattern == SINTER_PATTERN_WINDOW ? 2 : 0;
}

bool sinter_op_allows_text(const sinter_attr_info *attribute, sinter_string text) {
    if (attribute->choices.size == 0) return true;
    const char *at = attribute->choices.data, *end = at + attribute->choices.size;
    for (const char *blank; at < end; at = blank + 1) {
        blank = memchr(at, ' ', (size_t)(end - at));
        if (!blank) blank = end;
        if (sinter_string_equal(text, (sinter_string){at, (size_t)(blank - at)})) return true;
    }
    return false;
}

bool sinter_op_class_allows(sinter_operand_class class, sinter_dtype dtype) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    bool integer = sinter_dtype_is_integer(dtype), real = sinter_dtype_is_float(dtype);
    switch (class) {
    case SINTER_OPERAND_PLAIN:
        return integer || real || info->class == SINTER_CLASS_BOOL;
    case SINTER_OPERAND_NUMBER:
        return integer || real;
    case SINTER_OPERAND_FLOAT:
        return real;
    case SINTER_OPERAND_INTEGER:
        return integer;
    case SINTER_OPERAND_QUANTIZED:
        return (integer && info->bits <= 16) || (real && info->bits <= 8);
    case SINTER_OPERAND_BOOL:
        return info->class == SINTER_CLASS_BOOL;
    case SINTER_OPERAND_STRING:
        return info->class == SINTER_CLASS_STRING;
    case SINTER_OPERAND_ANY:
    case SINTER_OPERAND_TENSOR:
        break;
    }
    return true;
}

const char *sinter_op_class_text(sinter_operand_class class) {
    return operand_classes[class].text;
}

const sinter_operand_info *sinter_op_find_operand(sinter_op op, uint32_t index) {
    const sinter_op_info *info = sinter_op_get_info(op);
    if (index < info->operand_count) return &info->operands[index];
    const sinter_operand_info *last =
        info->operand_count ? &info->operands[info->operand_count - 1] : NULL;
    return last && last->arity == SINTER_ARITY_VARIADIC ? last : NULL;
}

int sinter_op_find_attribute(sinter_op op, sinter_string name) {
    const sinter_op_info *info = sinter_op_get_info(op);
    for (uint32_t i = 0; i < info->attribute_count; i++)
        if (sinter_string_equal(info->attributes[i].name, name)) return (int)i;
    return -1;
}

bool sinter_op_parse_body(sinter_op op, sinter_arena *scratch, sinter_scalar_body *out_body) {
    enum { MAX_NAMES = 32 };
    const sinter_op_info *info = sinter_op_get_info(op);
    sinter_string names[MAX_NAMES];
    size_t count = 0;
    if (info->pattern != SINTER_PATTERN_ELEMENTWISE) return false;
    assert(info->operand_count + info->attribute_count <= MAX_NAMES);
    for (uint32_t i = 0; i < info->operand_count; i++) names[count++] = info->operands[i].name;
    for (uint32_t i = 0; i < info->attribute_count; i++) names[count++] = info->attributes[i].name;
    return sinter_scalar_parse(scratch, info->body, names, count, out_body, NULL);
}
