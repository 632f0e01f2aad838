/* Reader of the scalar language: precedence climbing over the tokens of the lexer, one node a call,
 * constant or name, operands before their users. Test: tests/unit/scalar_test.c */
#include "ir/base/lex.h"
#include "ir/scalar.h"

#include <assert.h>
#include <math.h>

enum { MAX_LETS = 32 };

typedef struct binding {
    sinter_string name;
    uint32_t node;
} binding;

typedef struct scalar_reader {
    sinter_lexer lexer;
    const sinter_string *names;
    size_t name_count;
    binding lets[MAX_LETS]; /* innermost last */
    uint32_t let_count;
    SINTER_VECTOR(sinter_scalar_node) nodes;
} scalar_reader;

/* Binary operators from the loosest to the tightest; > and >= are < and <= of swapped operands. */
static const struct binary_operator {
    const char *text;
    int level;
    sinter_scalar_function function;
    bool swapped;
} operators[] = {
    {"||", 0, SINTER_SCALAR_or, false},  {"&&", 1, SINTER_SCALAR_and, false},
    {"|", 2, SINTER_SCALAR_or, false},   {"^", 3, SINTER_SCALAR_xor, false},
    {"&", 4, SINTER_SCALAR_and, false},  {"==", 5, SINTER_SCALAR_eq, false},
    {"!=", 5, SINTER_SCALAR_ne, false},  {"<", 6, SINTER_SCALAR_lt, false},
    {"<=", 6, SINTER_SCALAR_le, false},  {">", 6, SINTER_SCALAR_lt, true},
    {">=", 6, SINTER_SCALAR_le, true},   {"<<", 7, SINTER_SCALAR_shl, false},
    {">>", 7, SINTER_SCALAR_shr, false}, {"+", 8, SINTER_SCALAR_add, false},
    {"-", 8, SINTER_SCALAR_sub, false},  {"*", 9, SINTER_SCALAR_mul, false},
    {"/", 9, SINTER_SCALAR_div, false},  {"%", 9, SINTER_SCALAR_rem, false},
};
enum { OPERATOR_COUNT = sizeof operators / sizeof *operators, TIGHTEST = 9 };

static const struct {
    const char *name;
    double value;
} constants[] = {
    {"inf", (double)INFINITY},
    {"nan", (double)NAN},
    {"pi", 3.14159265358979323846},
    {"true", 1},
    {"false", 0},
    {"lowest", -(double)INFINITY},
    {"highest", (double)INFINITY},
};

static bool read_expression(scalar_reader *reader, uint32_t *out_node);

static bool add_node(scalar_reader *reader, sinter_scalar_node node, uint32_t *out_node) {
    if (reader->nodes.count == SINTER_SCALAR_MAX_NODES)
        return sinter_lexer_error(&reader->lexer, "more than %d operations",
                                  SINTER_SCALAR_MAX_NODES);
    *out_node = (uint32_t)reader->nodes.count;
    sinter_vector_push(reader->lexer.arena, &reader->nodes, node);
    return true;
}

static bool add_call(scalar_reader *reader, sinter_scalar_function function,
                     const uint32_t *arguments, uint32_t *out_node) {
    sinter_scalar_node node = {.kind = SINTER_SCALAR_NODE_CALL, .function = function};
    for (uint32_t i = 0; i < sinter_scalar_get_info(function)->arity; i++)
        node.arguments[i] = arguments[i];
    return add_node(reader, node, out_node);
}

static bool add_constant(scalar_reader *reader, double value, uint32_t *out_node) {
    sinter_scalar_node node = {.kind = SINTER_SCALAR_NODE_CONST, .constant = value};
    return add_node(reader, node, out_node);
}

static bool find_operand(const scalar_reader *reader, sinter_string name, uint32_t *out_index) {
    for (size_t i = 0; i < reader->name_count; i++)
        if (sinter_string_equal(reader->names[i], name)) {
            *out_index = (uint32_t)i;
            return true;
        }
    return false;
}

/* A let, an operand or attribute, or a constant, in this order. */
static bool read_name(scalar_reader *reader, sinter_string name, const char *position,
                      uint32_t *out_node) {
    for (uint32_t i = reader->let_count; i-- > 0;)
        if (sinter_string_equal(reader->lets[i].name, name)) {
            *out_node = reader->lets[i].node;
            return true;
        }
    sinter_scalar_node operand = {.kind = SINTER_SCALAR_NODE_OPERAND};
    if (find_operand(reader, name, &operand.index)) return add_node(reader, operand, out_node);
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (sinter_string_is(name, constants[i].name))
            return add_constant(reader, constants[i].value, out_node);
    return sinter_lexer_error_at(&reader->lexer, position, "unknown name '%.*s'",
                                 SINTER_STRING_ARGS(name));
}

/* After "cast(": a dtype, or a name whose type is meant, and the value. */
static bool read_cast(scalar_reader *reader, uint32_t *out_node) {
    sinter_scalar_node node = {.kind = SINTER_SCALAR_NODE_CAST};
    const char *position = reader->lexer.token.position;
    sinter_string name;
    if (!sinter_lexer_expect_identifier(&reader->lexer, &name)) return false;
    if (!find_operand(reader, name, &node.index)) {
        node.dtype = sinter_dtype_find(name);
        if (node.dtype == SINTER_DTYPE_NONE)
            return sinter_lexer_error_at(&reader->lexer, position,
                                         "expected an element type or a name, found '%.*s'",
                                         SINTER_STRING_ARGS(name));
    }
    return sinter_lexer_expect(&reader->lexer, ",") &&
           read_expression(reader, &node.arguments[0]) &&
           sinter_lexer_expect(&reader->lexer, ")") && add_node(reader, node, out_node);
}

/* After "name(". */
static bool read_call(scalar_reader *reader, sinter_string name, const char *position,
                      uint32_t *out_node) {
    if (sinter_string_is(name, "cast")) return read_cast(reader, out_node);
    sinter_scalar_function function = sinter_scalar_find(name);
    if (function == SINTER_SCALAR_NONE)
        return sinter_lexer_error_at(&reader->lexer, position, "unknown function '%.*s'",
                                     SINTER_STRING_ARGS(name));
    uint32_t arguments[3] = {0}, arity = sinter_scalar_get_info(function)->arity;
    assert(arity >= 1 && arity <= 3);
    for (uint32_t i = 0; i < arity; i++)
        if ((i && !sinter_lexer_expect(&reader->lexer, ",")) ||
            !read_expression(reader, &arguments[i]))
            return false;
    return sinter_lexer_expect(&reader->lexer, ")") &&
           add_call(reader, function, arguments, out_node);
}

static bool read_primary(scalar_reader *reader, uint32_t *out_node) {
    sinter_lexer *lexer = &reader->lexer;
    sinter_token token = lexer->token;
    switch (token.kind) {
    case SINTER_TOKEN_INTEGER:
    case SINTER_TOKEN_FLOAT:
        sinter_lexer_next(lexer);
        return add_constant(reader, token.number, out_node);
    case SINTER_TOKEN_HEX:
        if (token.integer >> 53 || token.text.size > 14)
            return sinter_lexer_error(lexer, "number of more than 53 bits");
        sinter_lexer_next(lexer);
        return add_constant(reader, (double)token.integer, out_node);
    case SINTER_TOKEN_IDENTIFIER:
        sinter_lexer_next(lexer);
        return sinter_lexer_accept(lexer, "(")
                   ? read_call(reader, token.text, token.position, out_node)
                   : read_name(reader, token.text, token.position, out_node);
    default:
        if (!sinter_lexer_accept(lexer, "("))
            return sinter_lexer_error_expected(lexer, "an expression");
        return read_expression(reader, out_node) && sinter_lexer_expect(lexer, ")");
    }
}

static bool read_unary(scalar_reader *reader, uint32_t *out_node) {
    sinter_lexer *lexer = &reader->lexer;
    bool minus = sinter_lexer_is(lexer, "-");
    if (!minus && !sinter_lexer_is(lexer, "!") && !sinter_lexer_is(lexer, "~"))
        return read_primary(reader, out_node);
    sinter_lexer_next(lexer);
    uint32_t operand;
    size_t first = reader->nodes.count;
    if (!sinter_lexer_enter(lexer) || !read_unary(reader, &operand)) return false;
    sinter_lexer_leave(lexer);
    sinter_scalar_node *node = &reader->nodes.items[operand];
    if (minus && node->kind == SINTER_SCALAR_NODE_CONST && operand == first) {
        node->constant = -node->constant; /* made just now, not what a let stands for */
        *out_node = operand;
        return true;
    }
    return add_call(reader, minus ? SINTER_SCALAR_neg : SINTER_SCALAR_not, &operand, out_node);
}

static bool read_binary(scalar_reader *reader, int level, uint32_t *out_node) {
    if (level > TIGHTEST) return read_unary(reader, out_node);
    if (!read_binary(reader, level + 1, out_node)) return false;
    for (;;) {
        const struct binary_operator *found = NULL;
        for (size_t i = 0; i < OPERATOR_COUNT && !found; i++)
            if (operators[i].level == level && sinter_lexer_is(&reader->lexer, operators[i].text))
                found = &operators[i];
        if (!found) return true;
        sinter_lexer_next(&reader->lexer);
        uint32_t arguments[2] = {*out_node, 0};
        if (!read_binary(reader, level + 1, &arguments[1])) return false;
        if (found->swapped) {
            arguments[0] = arguments[1];
            arguments[1] = *out_node;
        }
        if (!add_call(reader, found->function, arguments, out_node)) return false;
    }
}

/* After "let". */
static bool read_let(scalar_reader *reader, uint32_t *out_node) {
    sinter_lexer *lexer = &reader->lexer;
    binding let;
    if (!sinter_lexer_expect_identifier(lexer, &let.name) || !sinter_lexer_expect(lexer, "=") ||
        !read_expression(reader, &let.node) || !sinter_lexer_expect(lexer, "in"))
        return false;
    if (reader->let_count == MAX_LETS)
        return sinter_lexer_error(lexer, "more than %d lets inside each other", MAX_LETS);
    reader->lets[reader->let_count++] = let;
    bool good = read_expression(reader, out_node);
    reader->let_count--;
    return good;
}

static bool read_expression(scalar_reader *reader, uint32_t *out_node) {
    if (!sinter_lexer_enter(&reader->lexer)) return false;
    bool good = sinter_lexer_accept(&reader->lexer, "let") ? read_let(reader, out_node)
                                                           : read_binary(reader, 0, out_node);
    sinter_lexer_leave(&reader->lexer);
    return good;
}

bool sinter_scalar_parse(sinter_arena *arena, const char *text, const sinter_string *names,
                         size_t name_count, sinter_scalar_body *out_body, sinter_diag *diag) {
    scalar_reader reader = {.names = names, .name_count = name_count};
    sinter_string source = sinter_string_of(text);
    sinter_lexer_init(&reader.lexer, "scalar text", source.data, source.size, arena, diag);
    uint32_t result;
    bool good = read_expression(&reader, &result);
    if (good && reader.lexer.token.kind != SINTER_TOKEN_END)
        good = sinter_lexer_error_expected(&reader.lexer, "the end of the text");
    /* The result is the last node by contract: "let y = x + 1 in x" leaves others after it. */
    if (good && result + 1 != reader.nodes.count) {
        sinter_scalar_node copy = reader.nodes.items[result];
        good = add_node(&reader, copy, &result);
    }
    if (!good) {
        sinter_note(diag, "", "in the scalar text \"%s\"", source.data);
        return false;
    }
    *out_body = (sinter_scalar_body){reader.nodes.items, (uint32_t)reader.nodes.count};
    return true;
}

/* ---- how much work it is ---- */

enum { DIVISION = 8, LIBRARY_CALL = 40 }; /* simple instructions, roughly */

static uint32_t count_operations(const sinter_scalar_info *info) {
    static const sinter_string names[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    sinter_scalar_body body;
    sinter_arena scratch;
    if (*info->llvm) return 1;
    if (!info->expansion) return LIBRARY_CALL;
    sinter_arena_init(&scratch);
    uint32_t total = sinter_scalar_parse(&scratch, info->expansion, names, info->arity, &body, NULL)
                         ? sinter_scalar_body_operations(&body)
                         : LIBRARY_CALL;
    sinter_arena_deinit(&scratch);
    return total;
}

uint32_t sinter_scalar_operations(sinter_scalar_function function) {
    static _Atomic uint32_t known[SINTER_SCALAR_COUNT]; /* whoever counts first, it is the same */
    uint32_t operations = known[function];
    if (operations) return operations;
    bool divides = function == SINTER_SCALAR_div || function == SINTER_SCALAR_rem ||
                   function == SINTER_SCALAR_sqrt;
    operations = divides ? DIVISION : count_operations(sinter_scalar_get_info(function));
    known[function] = operations;
    return operations;
}

uint32_t sinter_scalar_body_operations(const sinter_scalar_body *body) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < body->count; i++)
        total += body->nodes[i].kind == SINTER_SCALAR_NODE_CALL
                     ? sinter_scalar_operations(body->nodes[i].function)
                     : body->nodes[i].kind == SINTER_SCALAR_NODE_CAST;
    return total;
}
