/* Dimension expressions as text: printing and its inverse. Parsing goes through the constructors,
 * so what is read is in canonical form too. Test: tests/unit/dim_test.c */
#include "ir/dim_internal.h"

#include <ctype.h>

enum {
    MAX_NESTING = 200,
    LONGEST = 1 << 16, /* of a text */
    LONGEST_IN_MESSAGE = 120,
};

/* ---- printing ---- */

static bool is_name_start(char c) {
    return isalpha((unsigned char)c) || c == '_';
}

static bool is_name_part(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

static void print_name(const char *name, sinter_text *text) {
    bool plain = is_name_start(*name);
    for (const char *at = name; *at && plain; at++) plain = is_name_part(*at);
    if (plain)
        sinter_text_append_string(text, name);
    else
        sinter_text_quote(text, sinter_string_of(name));
}

/* The text ends soon after `limit` bytes of it. */
typedef struct printer {
    const sinter_dim_table *table;
    sinter_text *text;
    size_t limit;
} printer;

static void print(const printer *p, sinter_dim dim);

static void put(const printer *p, const char *string) {
    sinter_text_append_string(p->text, string);
}

static bool is_full(const printer *p) {
    return p->text->size >= p->limit;
}

/* A sum inside a product or a larger sum, which only raw nodes hold, needs parentheses. */
static void print_operand(const printer *p, sinter_dim dim) {
    bool sum = dim_get(p->table, dim)->kind == SINTER_DIM_ADD;
    if (sum) put(p, "(");
    print(p, dim);
    if (sum) put(p, ")");
}

/* The factors from `first` on; the sign and a leading 1 are the caller's. */
static void print_product(const printer *p, const dim_node *node, uint32_t first) {
    for (uint32_t i = first; i < node->operand_count && !is_full(p); i++) {
        if (i > first) put(p, "*");
        bool product = dim_get(p->table, node->operands[i])->kind == SINTER_DIM_MUL; /* a raw one */
        if (product) put(p, "(");
        print_operand(p, node->operands[i]);
        if (product) put(p, ")");
    }
}

/* The number that a term of a sum starts with, 1 where none. */
static int64_t leading_constant(const sinter_dim_table *table, const dim_node *term) {
    if (term->kind == SINTER_DIM_CONST) return term->constant;
    int64_t value;
    bool product = term->kind == SINTER_DIM_MUL && !term->raw;
    return product && sinter_dim_is_const(table, term->operands[0], &value) ? value : 1;
}

static void print_sum(const printer *p, const dim_node *node) {
    for (uint32_t i = 0; i < node->operand_count && !is_full(p); i++) {
        const dim_node *term = dim_get(p->table, node->operands[i]);
        int64_t constant = leading_constant(p->table, term);
        bool subtract = i > 0 && constant < 0 && constant != INT64_MIN && !node->raw;
        if (i) put(p, subtract ? " - " : " + ");
        if (!subtract) {
            print_operand(p, node->operands[i]);
        } else if (term->kind == SINTER_DIM_CONST) {
            sinter_text_format(p->text, "%lld", -(long long)constant);
        } else {
            if (constant != -1) sinter_text_format(p->text, "%lld*", -(long long)constant);
            print_product(p, term, 1);
        }
    }
}

static void print_call(const printer *p, const char *name, const dim_node *node) {
    put(p, name);
    for (uint32_t i = 0; i < node->operand_count && !is_full(p); i++) {
        put(p, i ? ", " : "(");
        print(p, node->operands[i]);
    }
    put(p, ")");
}

static const char *const call_names[] = {
    [SINTER_DIM_FLOORDIV] = "floordiv", [SINTER_DIM_MOD] = "mod",       [SINTER_DIM_MIN] = "min",
    [SINTER_DIM_MAX] = "max",           [SINTER_DIM_SELECT] = "select",
};

static void print(const printer *p, sinter_dim dim) {
    const dim_node *node = dim_get(p->table, dim);
    if (is_full(p)) return;
    switch (node->kind) {
    case SINTER_DIM_CONST:
        sinter_text_format(p->text, "%lld", (long long)node->constant);
        return;
    case SINTER_DIM_SYMBOL:
        print_name(p->table->symbols.items[node->symbol].info->name, p->text);
        return;
    case SINTER_DIM_ADD:
        print_sum(p, node);
        return;
    case SINTER_DIM_MUL: {
        bool minus = leading_constant(p->table, node) == -1;
        if (minus) put(p, "-");
        print_product(p, node, minus);
        return;
    }
    default:
        print_call(p, call_names[node->kind], node);
    }
}

static void print_within(const sinter_dim_table *table, sinter_dim dim, size_t limit,
                         sinter_text *text) {
    const printer p = {table, text, text->size + limit};
    if (!dim) {
        put(&p, "?");
        return;
    }
    print(&p, dim);
    if (dim_get(table, dim)->operand_count == 0 || !is_full(&p)) return; /* a name is whole */
    text->size = p.limit;
    put(&p, "...");
}

void sinter_dim_print(const sinter_dim_table *table, sinter_dim dim, sinter_text *text) {
    print_within(table, dim, LONGEST, text);
}

void sinter_dim_describe(const sinter_dim_table *table, sinter_dim dim, sinter_text *text) {
    print_within(table, dim, LONGEST_IN_MESSAGE, text);
}

/* ---- parsing ---- */

typedef struct dim_reader {
    sinter_dim_table *table;
    const char *at, *end;
} dim_reader;

static bool read_sum(dim_reader *reader, int nesting, sinter_dim *out_dim);

static void skip_blanks(dim_reader *reader) {
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t')) reader->at++;
}

static bool accept(dim_reader *reader, char c) {
    skip_blanks(reader);
    if (reader->at == reader->end || *reader->at != c) return false;
    reader->at++;
    return true;
}

static bool read_number(dim_reader *reader, bool negative, sinter_dim *out_dim) {
    uint64_t value = 0;
    const char *at = reader->at;
    for (; at < reader->end && *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    if (value > (uint64_t)INT64_MAX + negative) return false;
    reader->at = at;
    *out_dim = sinter_dim_const(reader->table, (int64_t)(negative ? 0 - value : value));
    return true;
}

static sinter_dim call(sinter_dim_table *table, sinter_string name, const sinter_dim *a,
                       size_t count) {
    static const struct {
        const char *name;
        sinter_dim (*make)(sinter_dim_table *table, sinter_dim a, sinter_dim b);
    } binary[] = {
        {"floordiv", sinter_dim_floordiv}, {"ceildiv", sinter_dim_ceildiv}, {"mod", sinter_dim_mod},
        {"min", sinter_dim_min},           {"max", sinter_dim_max},
    };
    for (size_t i = 0; count == 2 && i < sizeof binary / sizeof *binary; i++)
        if (sinter_string_is(name, binary[i].name)) return binary[i].make(table, a[0], a[1]);
    if (count == 3 && sinter_string_is(name, "select"))
        return sinter_dim_select(table, a[0], a[1], a[2]);
    return 0;
}

static bool read_name(dim_reader *reader, int nesting, sinter_dim *out_dim) {
    const char *start = reader->at;
    while (reader->at < reader->end && is_name_part(*reader->at)) reader->at++;
    sinter_string name = {start, (size_t)(reader->at - start)};
    if (!accept(reader, '(')) {
        *out_dim = sinter_dim_symbol_named(reader->table, name);
        return true;
    }
    sinter_dim arguments[3];
    size_t count = 0;
    do {
        if (count == 3 || !read_sum(reader, nesting + 1, &arguments[count])) return false;
        count++;
    } while (accept(reader, ','));
    if (!accept(reader, ')')) return false;
    *out_dim = call(reader->table, name, arguments, count);
    if (!*out_dim) reader->at = start;
    return *out_dim != 0;
}

static bool read_quoted(dim_reader *reader, sinter_dim *out_dim) {
    sinter_text name = {0};
    bool good = sinter_text_unquote(&name, &reader->at, reader->end);
    if (good)
        *out_dim = sinter_dim_symbol_named(reader->table, (sinter_string){name.data, name.size});
    sinter_text_deinit(&name);
    return good;
}

static bool read_factor(dim_reader *reader, int nesting, sinter_dim *out_dim) {
    bool negative = false;
    while (accept(reader, '-')) negative = !negative;
    skip_blanks(reader);
    if (reader->at == reader->end || nesting > MAX_NESTING) return false;
    char c = *reader->at;
    if (c >= '0' && c <= '9') return read_number(reader, negative, out_dim);
    if (c == '(') {
        reader->at++;
        if (!read_sum(reader, nesting + 1, out_dim) || !accept(reader, ')')) return false;
    } else if (c == '"') {
        if (!read_quoted(reader, out_dim)) return false;
    } else if (!is_name_start(c) || !read_name(reader, nesting, out_dim)) {
        return false;
    }
    if (negative)
        *out_dim = sinter_dim_mul(reader->table, *out_dim, sinter_dim_const(reader->table, -1));
    return true;
}

static bool read_product(dim_reader *reader, int nesting, sinter_dim *out_dim) {
    if (!read_factor(reader, nesting, out_dim)) return false;
    while (accept(reader, '*')) {
        sinter_dim next;
        if (!read_factor(reader, nesting, &next)) return false;
        *out_dim = sinter_dim_mul(reader->table, *out_dim, next);
    }
    return true;
}

static bool read_sum(dim_reader *reader, int nesting, sinter_dim *out_dim) {
    if (!read_product(reader, nesting, out_dim)) return false;
    for (;;) {
        bool plus = accept(reader, '+');
        if (!plus && !accept(reader, '-')) return true;
        sinter_dim next;
        if (!read_product(reader, nesting, &next)) return false;
        *out_dim = plus ? sinter_dim_add(reader->table, *out_dim, next)
                        : sinter_dim_sub(reader->table, *out_dim, next);
    }
}

bool sinter_dim_parse(sinter_dim_table *table, const char **cursor, const char *end,
                      sinter_dim *out_dim) {
    dim_reader reader = {table, *cursor, end};
    sinter_dim dim;
    bool good = read_sum(&reader, 0, &dim);
    *cursor = reader.at;
    if (good) *out_dim = dim;
    return good;
}
