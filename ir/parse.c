/* Reads the text form: one pass over the tokens, values resolved as they come, types inferred node by
 * node (regions with the node that owns them). Stops at the first error. A symbol declared with
 * `node(%v, i)` or `content(%v, i)` is tied to %v before %v's node is inferred, so inference finds the
 * symbol that it made when the text was printed instead of making another.
 * Grammar: docs/ir.md. Test: tests/ir/, tests/fuzz/sir_fuzz.c */
#include "ir/parse.h"
#include "ir/base/file.h"
#include "ir/infer.h"
#include "ir/parse_internal.h"
#include "ir/schema.h"
#include "ir/sharding.h"

#include <string.h>

/* In `names`: the region that defined the name is over. */
static const uint64_t OUT_OF_SCOPE = UINT64_MAX;

typedef struct pending_symbol {
    sinter_dim dim;
    const char *position;
    bool resolved;
    uint32_t next; /* another one of the same value: index + 1 */
} pending_symbol;

typedef struct reader {
    sinter_parser parser;
    sinter_map names;                     /* key -> value */
    SINTER_VECTOR(sinter_string) defined; /* keys in order, for leaving scopes */
    sinter_map pending;                   /* key -> index + 1 in symbols */
    SINTER_VECTOR(pending_symbol) symbols;
    SINTER_VECTOR(sinter_node) provisional; /* nodes whose location is their place in the text */
} reader;

/* A value as it is written. */
typedef struct value_name {
    bool absent;
    bool numbered;     /* %17: no name, only a number of this text */
    sinter_string key; /* tells %17 from %"17" */
    const char *name;
    const char *position;
} value_name;

static bool is_number(sinter_string text) {
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < '0' || text.data[i] > '9') return false;
    return text.size > 0;
}

/* %x, or _ where absent_allowed. */
static bool read_value_name(reader *state, bool absent_allowed, value_name *out_name) {
    sinter_lexer *lexer = &state->parser.lexer;
    const sinter_token token = lexer->token;
    *out_name = (value_name){.position = token.position};
    if (absent_allowed && sinter_lexer_accept(lexer, "_")) {
        out_name->absent = true;
        return true;
    }
    sinter_string text;
    if (!sinter_lexer_expect_value(lexer, &text)) return false;
    if (text.size == 0 || memchr(text.data, 0, text.size))
        return sinter_lexer_error_at(lexer, token.position,
                                     "the name of a value is not empty and has no NUL byte");
    out_name->numbered = !token.quoted && is_number(text);
    out_name->name = sinter_arena_copy_string(&state->parser.scratch, text.data, text.size);
    const char *key = sinter_arena_format(&state->parser.scratch, "%c%s",
                                          out_name->numbered ? '#' : '%', out_name->name);
    out_name->key = sinter_string_of(key);
    return true;
}

static bool find_value(reader *state, const value_name *name, sinter_value *out_value) {
    uint64_t found = 0;
    if (!sinter_map_find_string(&state->names, name->key, &found))
        return sinter_lexer_error_at(&state->parser.lexer, name->position,
                                     "%%%s is used before it is defined [graph_c1]", name->name);
    if (found == OUT_OF_SCOPE)
        return sinter_lexer_error_at(&state->parser.lexer, name->position,
                                     "%%%s is defined in a region that is over [graph_c1]",
                                     name->name);
    *out_value = (sinter_value)found;
    return true;
}

static bool define_value(reader *state, const value_name *name, sinter_value value) {
    uint64_t index = 0;
    if (sinter_map_find_string(&state->names, name->key, &index))
        return sinter_lexer_error_at(&state->parser.lexer, name->position,
                                     "%%%s is defined twice [graph_c12]", name->name);
    sinter_map_put_string(&state->names, name->key, value);
    sinter_vector_push(&state->parser.scratch, &state->defined, name->key);
    if (!name->numbered) sinter_value_set_name(state->parser.module, value, name->name);
    if (!sinter_map_find_string(&state->pending, name->key, &index)) return true;
    while (index) {
        pending_symbol *pending = &state->symbols.items[index - 1];
        sinter_dim_get_symbol(sinter_module_dims(state->parser.module), pending->dim)->value =
            value;
        pending->resolved = true;
        index = pending->next;
    }
    return true;
}

/* ---- symbols ---- */

static bool read_range(sinter_lexer *lexer, sinter_dim_symbol *symbol) {
    const char *position = lexer->token.position;
    if (!sinter_lexer_expect_range(lexer, &symbol->min, &symbol->max)) return false;
    if (symbol->min > symbol->max)
        return sinter_lexer_error_at(lexer, position, "the range %lld..%lld is empty [graph_c15]",
                                     (long long)symbol->min, (long long)symbol->max);
    return true;
}

/* node(%v, i) or content(%v, i) */
static bool read_origin(reader *state, sinter_dim dim, sinter_dim_symbol *symbol) {
    sinter_lexer *lexer = &state->parser.lexer;
    const char *position = lexer->token.position;
    bool node = sinter_lexer_accept(lexer, "node");
    if (!node && !sinter_lexer_accept(lexer, "content")) return true;
    value_name name;
    int64_t index = 0;
    uint64_t first = 0;
    if (!sinter_lexer_expect(lexer, "(") || !read_value_name(state, false, &name) ||
        !sinter_lexer_expect(lexer, ",") || !sinter_lexer_expect_integer(lexer, &index) ||
        !sinter_lexer_expect(lexer, ")"))
        return false;
    if (index < 0 || index > UINT32_MAX)
        return sinter_lexer_error_at(lexer, position, "there is no index %lld [graph_c15]",
                                     (long long)index);
    symbol->origin = node ? SINTER_DIM_ORIGIN_NODE : SINTER_DIM_ORIGIN_CONTENT;
    symbol->index = (uint32_t)index;
    sinter_map_find_string(&state->pending, name.key, &first);
    pending_symbol pending = {.dim = dim, .position = position, .next = (uint32_t)first};
    sinter_vector_push(&state->parser.scratch, &state->symbols, pending);
    sinter_map_put_string(&state->pending, name.key, state->symbols.count);
    return true;
}

static bool read_symbol(reader *state) {
    sinter_lexer *lexer = &state->parser.lexer;
    sinter_dim_table *table = sinter_module_dims(state->parser.module);
    sinter_dim dim = 0;
    const char *position = lexer->token.position;
    size_t known = sinter_dim_symbol_count(table);
    if (!sinter_parse_dim(&state->parser, 0, &dim)) return false;
    if (sinter_dim_get_kind(table, dim) != SINTER_DIM_SYMBOL ||
        sinter_dim_symbol_count(table) == known)
        return sinter_lexer_error_at(lexer, position,
                                     "expected the name of a symbol not declared so far");
    sinter_dim_symbol symbol = *sinter_dim_get_symbol(table, dim);
    if (sinter_lexer_accept(lexer, "=") && !read_range(lexer, &symbol)) return false;
    if (sinter_lexer_accept(lexer, "multiple")) {
        position = lexer->token.position;
        if (!sinter_lexer_expect_integer(lexer, &symbol.multiple)) return false;
        if (symbol.multiple < 1)
            return sinter_lexer_error_at(lexer, position, "a multiple is at least 1 [graph_c15]");
    }
    if (!read_origin(state, dim, &symbol)) return false;
    *sinter_dim_get_symbol(table, dim) = symbol;
    return true;
}

/* ---- nodes ---- */

typedef struct node_text {
    SINTER_VECTOR(value_name) results;
    SINTER_VECTOR(sinter_value) present; /* 1 or 0 per result, for the schema */
    SINTER_VECTOR(sinter_value) operands;
    SINTER_VECTOR(sinter_attr) attributes;
    SINTER_VECTOR(sinter_region) regions;
    SINTER_VECTOR(sinter_type) types;
    SINTER_VECTOR(const sinter_sharding *) shardings; /* one a type; NULL: nothing is said */
    sinter_op op;
    const char *position;
    const char *location; /* NULL: none given */
} node_text;

static bool read_region(reader *state, sinter_region region);

static bool read_results(reader *state, node_text *text) {
    sinter_lexer *lexer = &state->parser.lexer;
    if (lexer->token.kind != SINTER_TOKEN_VALUE && !sinter_lexer_is(lexer, "_")) return true;
    do {
        value_name name;
        if (!read_value_name(state, true, &name)) return false;
        sinter_vector_push(&state->parser.scratch, &text->results, name);
        sinter_vector_push(&state->parser.scratch, &text->present, !name.absent);
    } while (sinter_lexer_accept(lexer, ","));
    return sinter_lexer_expect(lexer, "=");
}

static bool read_op(reader *state, node_text *text) {
    sinter_lexer *lexer = &state->parser.lexer;
    text->position = lexer->token.position;
    if (lexer->token.kind != SINTER_TOKEN_IDENTIFIER)
        return sinter_lexer_error_expected(lexer, "the name of an op");
    text->op = sinter_op_find(lexer->token.text);
    if (!text->op)
        return sinter_lexer_error(lexer, "unknown op '%.*s'",
                                  SINTER_STRING_ARGS(lexer->token.text));
    sinter_lexer_next(lexer);
    return true;
}

static bool read_operands(reader *state, node_text *text) {
    sinter_lexer *lexer = &state->parser.lexer;
    if (!sinter_lexer_expect(lexer, "(")) return false;
    while (!sinter_lexer_is(lexer, ")")) {
        value_name name;
        sinter_value value = 0;
        if (!read_value_name(state, true, &name)) return false;
        if (!name.absent && !find_value(state, &name, &value)) return false;
        sinter_vector_push(&state->parser.scratch, &text->operands, value);
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    return sinter_lexer_expect(lexer, ")");
}

static bool read_attributes(reader *state, node_text *text) {
    sinter_lexer *lexer = &state->parser.lexer;
    if (!sinter_lexer_accept(lexer, "{")) return true;
    while (!sinter_lexer_is(lexer, "}")) {
        sinter_attr attr;
        if (!sinter_parse_attr(&state->parser, text->op, &attr)) return false;
        sinter_vector_push(&state->parser.scratch, &text->attributes, attr);
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    return sinter_lexer_expect(lexer, "}");
}

static bool read_regions(reader *state, node_text *text) {
    sinter_lexer *lexer = &state->parser.lexer;
    if (!sinter_lexer_accept(lexer, "(")) return true;
    if (!sinter_lexer_enter(lexer)) return false;
    do {
        sinter_region region = sinter_region_add(state->parser.module);
        sinter_vector_push(&state->parser.scratch, &text->regions, region);
        if (!read_region(state, region)) return false;
    } while (sinter_lexer_accept(lexer, ","));
    sinter_lexer_leave(lexer);
    return sinter_lexer_expect(lexer, ")");
}

/* NULL where none is said. */
static bool read_sharding(reader *state, const sinter_sharding **out_sharding) {
    sinter_lexer *lexer = &state->parser.lexer;
    if (!sinter_lexer_is(lexer, "shard")) return true;
    sinter_sharding sharding;
    if (!sinter_sharding_read(lexer, sinter_module_mesh(state->parser.module),
                              &state->parser.scratch, &sharding))
        return false;
    *out_sharding = sinter_sharding_copy(&state->parser.scratch, &sharding);
    return true;
}

static bool read_types(reader *state, node_text *text) {
    sinter_lexer *lexer = &state->parser.lexer;
    const char *position = lexer->token.position;
    if (!sinter_lexer_accept(lexer, ":")) return true;
    do {
        sinter_type type;
        if (!sinter_parse_type(&state->parser, &type)) return false;
        sinter_vector_push(&state->parser.scratch, &text->types, type);
        const sinter_sharding *sharding = NULL;
        if (!read_sharding(state, &sharding)) return false;
        sinter_vector_push(&state->parser.scratch, &text->shardings, sharding);
    } while (sinter_lexer_accept(lexer, ","));
    if (text->types.count != text->results.count)
        return sinter_lexer_error_at(lexer, position, "expected %zu types, found %zu",
                                     text->results.count, text->types.count);
    return true;
}

static bool read_location(reader *state, node_text *text) {
    sinter_lexer *lexer = &state->parser.lexer;
    if (!sinter_lexer_accept(lexer, "loc")) return true;
    return sinter_lexer_expect(lexer, "(") && sinter_parse_text(&state->parser, &text->location) &&
           sinter_lexer_expect(lexer, ")");
}

/* Adds the node and defines its results. */
static sinter_node add_node(reader *state, sinter_region region, const node_text *text) {
    sinter_module *module = state->parser.module;
    const char *where = sinter_lexer_where(&state->parser.lexer, text->position);
    sinter_node_spec spec = {.op = text->op,
                             .operands = text->operands.items,
                             .attributes = text->attributes.items,
                             .regions = text->regions.items,
                             .operand_count = (uint32_t)text->operands.count,
                             .attribute_count = (uint32_t)text->attributes.count,
                             .region_count = (uint32_t)text->regions.count,
                             .result_count = (uint32_t)text->results.count,
                             .location = text->location ? text->location : where};
    if (!sinter_schema_check(where, &spec, text->present.items, state->parser.lexer.diag)) return 0;
    sinter_node node = sinter_node_add(module, region, 0, &spec);
    if (!text->location) sinter_vector_push(&state->parser.scratch, &state->provisional, node);
    for (uint32_t i = 0; i < spec.result_count; i++) {
        const value_name *name = &text->results.items[i];
        if (name->absent) {
            sinter_node_drop_result(module, node, i);
            continue;
        }
        sinter_value value = sinter_node_result(module, node, i);
        if (!define_value(state, name, value)) return 0;
        if (i >= text->types.count) continue;
        sinter_value_set_type(module, value, text->types.items[i]);
        if (text->shardings.items[i])
            sinter_value_set_sharding(module, value, text->shardings.items[i]);
    }
    return node;
}

static bool infer(reader *state, sinter_node node, const node_text *text) {
    sinter_lexer *lexer = &state->parser.lexer;
    if (sinter_infer_node(state->parser.module, node, lexer->diag)) return true;
    if (text->location)
        sinter_note(lexer->diag, sinter_lexer_where(lexer, text->position), "in this node");
    return false;
}

static bool read_node(reader *state, sinter_region region) {
    node_text text = {0};
    if (!read_results(state, &text) || !read_op(state, &text) || !read_operands(state, &text) ||
        !read_attributes(state, &text) || !read_regions(state, &text) ||
        !read_types(state, &text) || !read_location(state, &text))
        return false;
    sinter_node node = add_node(state, region, &text);
    if (!node) return false;
    /* Nodes inside others are inferred by the rule of the outer one, which may type their arguments. */
    return region != sinter_module_main(state->parser.module) || infer(state, node, &text);
}

/* ---- regions ---- */

static bool read_arguments(reader *state, sinter_region region) {
    sinter_lexer *lexer = &state->parser.lexer;
    sinter_module *module = state->parser.module;
    bool main = region == sinter_module_main(module);
    if (!sinter_lexer_expect(lexer, "(")) return false;
    while (!sinter_lexer_is(lexer, ")")) {
        value_name name;
        sinter_type type = {0};
        if (!read_value_name(state, false, &name)) return false;
        bool typed = main ? sinter_lexer_expect(lexer, ":") : sinter_lexer_accept(lexer, ":");
        if (main && !typed) return false;
        const char *position = lexer->token.position;
        const sinter_sharding *sharding = NULL;
        if (typed &&
            (!sinter_parse_type(&state->parser, &type) || !read_sharding(state, &sharding)))
            return false;
        if (main && type.kind == SINTER_TYPE_NONE)
            return sinter_lexer_error_at(lexer, position, "an input has a type [graph_c13]");
        sinter_value value = sinter_region_add_argument(module, region, type, NULL);
        if (!define_value(state, &name, value)) return false;
        if (sharding) sinter_value_set_sharding(module, value, sharding);
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    return sinter_lexer_expect(lexer, ")");
}

/* Nodes up to the closing brace; the last one yields. */
static bool read_body(reader *state, sinter_region region) {
    sinter_lexer *lexer = &state->parser.lexer;
    bool yielded = false;
    while (!sinter_lexer_is(lexer, "}")) {
        if (yielded)
            return sinter_lexer_error(lexer, "yield is the last node of a region [graph_c9]");
        if (!read_node(state, region)) return false;
        sinter_node last = sinter_region_get(state->parser.module, region)->last;
        yielded = sinter_op_has_trait(sinter_node_get(state->parser.module, last)->op,
                                      SINTER_TRAIT_TERMINATOR);
    }
    if (!yielded) return sinter_lexer_error(lexer, "a region ends with yield [graph_c9]");
    return sinter_lexer_expect(lexer, "}");
}

static bool read_region(reader *state, sinter_region region) {
    sinter_lexer *lexer = &state->parser.lexer;
    size_t first = state->defined.count;
    if (!sinter_lexer_expect(lexer, "{")) return false;
    if (sinter_lexer_is(lexer, "(") && !read_arguments(state, region)) return false;
    if (!read_body(state, region)) return false;
    for (size_t i = first; i < state->defined.count; i++)
        sinter_map_put_string(&state->names, state->defined.items[i], OUT_OF_SCOPE);
    return true;
}

/* ---- modules ---- */

static bool read_metadata(reader *state) {
    sinter_lexer *lexer = &state->parser.lexer;
    sinter_string key, value;
    if (!sinter_lexer_expect_string(lexer, &key) || !sinter_lexer_expect(lexer, "=") ||
        !sinter_lexer_expect_string(lexer, &value))
        return false;
    sinter_module_set_metadata(state->parser.module, key, value);
    return true;
}

static bool check_symbols(reader *state) {
    for (size_t i = 0; i < state->symbols.count; i++)
        if (!state->symbols.items[i].resolved)
            return sinter_lexer_error_at(&state->parser.lexer, state->symbols.items[i].position,
                                         "no value of this name is defined [graph_c15]");
    return true;
}

static bool read_module(reader *state) {
    sinter_lexer *lexer = &state->parser.lexer;
    const char *name = NULL;
    if (!sinter_lexer_expect(lexer, "module") || !sinter_parse_text(&state->parser, &name))
        return false;
    state->parser.module = sinter_module_create(name);
    sinter_region main = sinter_module_main(state->parser.module);
    if (!sinter_lexer_expect(lexer, "{")) return false;
    while (sinter_lexer_accept(lexer, "metadata"))
        if (!read_metadata(state)) return false;
    if (sinter_lexer_accept(lexer, "mesh")) {
        sinter_mesh mesh;
        if (!sinter_mesh_read(lexer, &mesh)) return false;
        sinter_module_set_mesh(state->parser.module, &mesh);
    }
    while (sinter_lexer_accept(lexer, "dim"))
        if (!read_symbol(state)) return false;
    if (!sinter_lexer_expect(lexer, "graph") || !read_arguments(state, main) ||
        !sinter_lexer_expect(lexer, "{") || !read_body(state, main) ||
        !sinter_lexer_expect(lexer, "}"))
        return false;
    if (lexer->token.kind != SINTER_TOKEN_END)
        return sinter_lexer_error_expected(lexer, "the end of the text");
    return check_symbols(state);
}

sinter_module *sinter_parse_module(const char *path, const char *text, size_t size,
                                   sinter_diag *diag) {
    reader state = {0};
    sinter_arena *scratch = &state.parser.scratch;
    sinter_arena_init(scratch);
    sinter_map_init(&state.names, scratch);
    sinter_map_init(&state.pending, scratch);
    sinter_lexer_init(&state.parser.lexer, path, text, size, scratch, diag);
    bool ok = read_module(&state);
    if (ok)
        for (size_t i = 0; i < state.provisional.count; i++)
            sinter_node_set_location(state.parser.module, state.provisional.items[i], NULL);
    sinter_arena_deinit(scratch);
    if (ok) return state.parser.module;
    sinter_module_destroy(state.parser.module);
    return NULL;
}

sinter_module *sinter_parse_file(const char *path, sinter_diag *diag) {
    sinter_text text = {0};
    sinter_module *module = NULL;
    if (sinter_file_read_text(path, &text, diag))
        module =
            sinter_parse_module(strcmp(path, "-") ? path : "<stdin>", text.data, text.size, diag);
    sinter_text_deinit(&text);
    return module;
}
