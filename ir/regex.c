/* Regular expressions: pattern -> program -> set of states. Matching is over whole texts, so greedy
 * and lazy repetition accept the same ones and compile to the same program. Programs are limited to
 * MAX_PROGRAM instructions. See ir/regex.h. Test: tests/unit/regex_test.c */
#include "ir/regex.h"
#include "ir/base/vector.h"
#include <string.h>

enum { MAX_PROGRAM = 200000, MAX_REPEAT = 1000, MAX_DEPTH = 200 };

typedef enum opcode { OP_SET, OP_SPLIT, OP_JUMP, OP_ASSERT, OP_MATCH } opcode;
typedef enum assertion {
    TEXT_START,
    TEXT_END,
    LINE_START,
    LINE_END,
    WORD_EDGE,
    NOT_WORD_EDGE
} assertion;

typedef struct range {
    uint32_t low, high;
} range;
typedef SINTER_VECTOR(range) range_list;

typedef struct instruction {
    opcode op;
    uint32_t a, b; /* targets of split and jump; the assertion; first range and count of a set */
    bool negated;
} instruction;

struct sinter_regex {
    sinter_arena *arena;
    SINTER_VECTOR(instruction) program;
    range_list ranges;
    uint32_t *current, *next, *pending; /* lists of states */
    uint32_t *seen;                     /* by state: the last step it was added in */
};

/* ---- UTF-8 ---- */

/* The code point at *cursor, which moves past it; what is not UTF-8 counts as U+FFFD, a byte each. */
static uint32_t decode(const char **cursor, const char *end) {
    uint32_t code = 0xFFFD;
    size_t length = sinter_utf8_decode(*cursor, (size_t)(end - *cursor), &code);
    *cursor += length ? length : 1;
    return code;
}

static bool is_word(uint32_t c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

/* ---- parser ---- */

/* A piece of program [start, end) that falls through at its end. */
typedef struct parser {
    sinter_regex *regex;
    const char *cursor, *end, *error;
    bool fold_case, multi_line, dot_all;
    int depth;
} parser;

static bool fail(parser *p, const char *message) {
    if (!p->error) p->error = message;
    return false;
}

static bool emit(parser *p, instruction i) {
    if (p->regex->program.count >= MAX_PROGRAM) return fail(p, "the pattern is too large");
    sinter_vector_push(p->regex->arena, &p->regex->program, i);
    return true;
}

static uint32_t here(const parser *p) {
    return (uint32_t)p->regex->program.count;
}

static void add_range(parser *p, range_list *list, uint32_t low, uint32_t high) {
    sinter_vector_push(p->regex->arena, list, (range){low, high});
    for (uint32_t c = 0; p->fold_case && c < 26; c++) { /* ASCII letters only */
        if ('a' + c >= low && 'a' + c <= high)
            sinter_vector_push(p->regex->arena, list, (range){'A' + c, 'A' + c});
        if ('A' + c >= low && 'A' + c <= high)
            sinter_vector_push(p->regex->arena, list, (range){'a' + c, 'a' + c});
    }
}

static int compare_ranges(range a, range b) {
    return (a.low > b.low) - (a.low < b.low);
}

/* Adds all that is in no range of `list` to `target`. */
static void add_complement(parser *p, range_list *target, range_list *list) {
    for (size_t i = 1; i < list->count; i++)
        for (size_t j = i; j && compare_ranges(list->items[j - 1], list->items[j]) > 0; j--) {
            range swap = list->items[j];
            list->items[j] = list->items[j - 1];
            list->items[j - 1] = swap;
        }
    uint32_t next = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].low > next)
            sinter_vector_push(p->regex->arena, target, (range){next, list->items[i].low - 1});
        if (list->items[i].high + 1 > next) next = list->items[i].high + 1;
    }
    if (next <= SINTER_LAST_CODE_POINT)
        sinter_vector_push(p->regex->arena, target, (range){next, SINTER_LAST_CODE_POINT});
}

static bool emit_set(parser *p, const range_list *list, bool negated) {
    range_list *all = &p->regex->ranges;
    instruction i = {OP_SET, (uint32_t)all->count, (uint32_t)list->count, negated};
    for (size_t k = 0; k < list->count; k++)
        sinter_vector_push(p->regex->arena, all, list->items[k]);
    return emit(p, i);
}

/* Ranges of \d, \w, \s and the [:names:]; pairs of bytes. */
static const struct {
    const char *name, *pairs;
} classes[] = {
    {"d", "09"},           {"w", "09AZaz__"},   {"s", "\t\n\f\r  "}, {"alnum", "09AZaz"},
    {"alpha", "AZaz"},     {"ascii", "\1\x7f"}, {"blank", "\t\t  "}, {"cntrl", "\1\x1f\x7f\x7f"},
    {"digit", "09"},       {"graph", "!~"},     {"lower", "az"},     {"print", " ~"},
    {"punct", "!/:@[`{~"}, {"space", "\t\r  "}, {"upper", "AZ"},     {"word", "09AZaz__"},
    {"xdigit", "09AFaf"}};

static bool add_class(parser *p, range_list *target, sinter_string name, bool negated) {
    range_list list = {0};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (!sinter_string_is(name, classes[i].name)) continue;
        for (const char *pair = classes[i].pairs; *pair; pair += 2)
            add_range(p, negated ? &list : target, (uint8_t)pair[0], (uint8_t)pair[1]);
        if (sinter_string_is(name, "ascii") || sinter_string_is(name, "cntrl"))
            add_range(p, negated ? &list : target, 0, 0); /* the pairs end at a zero */
        if (negated) add_complement(p, target, &list);
        return true;
    }
    return fail(p, "unknown class of characters");
}

/* After \x: two digits, or any number in braces. */
static bool parse_hexadecimal(parser *p, uint32_t *out_code) {
    bool braces = p->cursor < p->end && *p->cursor == '{';
    int digits = 0;
    *out_code = 0;
    if (braces) p->cursor++;
    while (p->cursor < p->end && sinter_hex_digit(*p->cursor) >= 0 && digits < (braces ? 6 : 2)) {
        *out_code = *out_code * 16 + (uint32_t)sinter_hex_digit(*p->cursor++);
        digits++;
    }
    bool closed = !braces || (p->cursor < p->end && *p->cursor++ == '}');
    if (!closed || digits < (braces ? 1 : 2) || *out_code > SINTER_LAST_CODE_POINT)
        return fail(p, "malformed \\x");
    return true;
}

/* After a backslash that starts no class or assertion: the character it stands for. */
static bool parse_escape(parser *p, uint32_t *out_code) {
    static const char names[] = "aftnrv", codes[] = "\a\f\t\n\r\v";
    if (p->cursor >= p->end) return fail(p, "a backslash at the end");
    char c = *p->cursor;
    const char *name = c ? strchr(names, c) : NULL;
    if (c == 'x') {
        p->cursor++;
        return parse_hexadecimal(p, out_code);
    }
    if (name) {
        p->cursor++;
        *out_code = (uint8_t)codes[name - names];
        return true;
    }
    if (c >= '0' && c <= '7' &&
        (c == '0' || (p->end - p->cursor > 1 && p->cursor[1] >= '0' && p->cursor[1] <= '7'))) {
        *out_code = 0;
        for (int i = 0; i < 3 && p->cursor < p->end && *p->cursor >= '0' && *p->cursor <= '7'; i++)
            *out_code = *out_code * 8 + (uint32_t)(*p->cursor++ - '0');
        return true;
    }
    if ((uint8_t)c < 0x80 && is_word((uint8_t)c) && c != '_') return fail(p, "unknown escape");
    *out_code = decode(&p->cursor, p->end);
    return true;
}

static bool at_class_escape(const parser *p) {
    return p->end - p->cursor >= 2 && p->cursor[0] == '\\' && p->cursor[1] &&
           strchr("dDwWsS", p->cursor[1]);
}

static bool parse_class_escape(parser *p, range_list *list) {
    char lower = (char)(p->cursor[1] | 0x20);
    bool negated = p->cursor[1] != lower;
    p->cursor += 2;
    return add_class(p, list, (sinter_string){&lower, 1}, negated);
}

static bool parse_set_character(parser *p, uint32_t *out_code) {
    if (p->cursor >= p->end) return fail(p, "missing ]");
    if (*p->cursor != '\\') {
        *out_code = decode(&p->cursor, p->end);
        return true;
    }
    p->cursor++;
    return parse_escape(p, out_code);
}

/* After [ up to its ]. */
static bool parse_set(parser *p) {
    range_list list = {0};
    bool negated = p->cursor < p->end && *p->cursor == '^';
    if (negated) p->cursor++;
    for (bool first = true; first || p->cursor >= p->end || *p->cursor != ']'; first = false) {
        if (p->cursor >= p->end) return fail(p, "missing ]");
        if (p->end - p->cursor > 2 && p->cursor[0] == '[' && p->cursor[1] == ':') {
            const char *start = p->cursor + 2 + (p->cursor[2] == '^'), *stop = start;
            while (stop < p->end && *stop != ':' && *stop != ']') stop++;
            if (p->end - stop >= 2 && stop[0] == ':' && stop[1] == ']') {
                if (!add_class(p, &list, (sinter_string){start, (size_t)(stop - start)},
                               p->cursor[2] == '^'))
                    return false;
                p->cursor = stop + 2;
                continue;
            }
        }
        if (at_class_escape(p)) {
            if (!parse_class_escape(p, &list)) return false;
            continue;
        }
        uint32_t low, high;
        if (!parse_set_character(p, &low)) return false;
        high = low;
        if (p->end - p->cursor > 1 && p->cursor[0] == '-' && p->cursor[1] != ']') {
            p->cursor++;
            if (!parse_set_character(p, &high)) return false;
            if (high < low) return fail(p, "a range of characters is reversed");
        }
        add_range(p, &list, low, high);
    }
    p->cursor++;
    return emit_set(p, &list, negated);
}

static bool parse_alternatives(parser *p);

/* After (? : a name, or flags that hold in the group or from here on. */
static bool parse_group_head(parser *p, bool *out_is_group) {
    *out_is_group = true;
    if (p->cursor < p->end && (*p->cursor == 'P' || *p->cursor == '<')) {
        p->cursor += *p->cursor == 'P';
        if (p->cursor >= p->end || *p->cursor != '<') return fail(p, "malformed group");
        const char *start = ++p->cursor;
        while (p->cursor < p->end && is_word((uint8_t)*p->cursor)) p->cursor++;
        if (p->cursor >= p->end || *p->cursor != '>' || p->cursor == start)
            return fail(p, "malformed name of a group");
        p->cursor++;
        return true;
    }
    for (bool value = true; p->cursor < p->end; p->cursor++) {
        switch (*p->cursor) {
        case 'i':
            p->fold_case = value;
            break;
        case 'm':
            p->multi_line = value;
            break;
        case 's':
            p->dot_all = value;
            break;
        case 'U':
            break; /* greed does not matter to whole matches */
        case '-':
            value = false;
            break;
        case ':':
            p->cursor++;
            return true;
        case ')':
            *out_is_group = false;
            p->cursor++;
            return true;
        default:
            return fail(p, "unknown flag of a group");
        }
    }
    return fail(p, "missing )");
}

/* After ( . */
static bool parse_group(parser *p) {
    parser saved = *p;
    bool is_group = true;
    if (++p->depth > MAX_DEPTH) return fail(p, "groups are nested too deeply");
    if (p->cursor < p->end && *p->cursor == '?') {
        p->cursor++;
        if (!parse_group_head(p, &is_group)) return false;
    }
    p->depth = saved.depth;
    if (!is_group) return true;
    p->depth++;
    if (!parse_alternatives(p)) return false;
    if (p->cursor >= p->end) return fail(p, "missing )");
    p->cursor++;
    p->depth = saved.depth;
    p->fold_case = saved.fold_case;
    p->multi_line = saved.multi_line;
    p->dot_all = saved.dot_all;
    return true;
}

static bool emit_literal(parser *p, uint32_t code) {
    range_list list = {0};
    add_range(p, &list, code, code);
    return emit_set(p, &list, false);
}

/* \Q ... \E: each character as itself; a repetition after it is of the last one. */
static bool parse_quoted(parser *p, uint32_t *out_last) {
    p->cursor += 2;
    while (p->cursor < p->end) {
        if (p->end - p->cursor >= 2 && p->cursor[0] == '\\' && p->cursor[1] == 'E') {
            p->cursor += 2;
            return true;
        }
        *out_last = here(p);
        if (!emit_literal(p, decode(&p->cursor, p->end))) return false;
    }
    return true;
}

static bool parse_backslash(parser *p) {
    static const struct {
        char name;
        assertion what;
    } assertions[] = {{'A', TEXT_START}, {'z', TEXT_END}, {'b', WORD_EDGE}, {'B', NOT_WORD_EDGE}};
    if (at_class_escape(p)) {
        range_list list = {0};
        return parse_class_escape(p, &list) && emit_set(p, &list, false);
    }
    char name = p->end - p->cursor >= 2 ? p->cursor[1] : 0;
    for (size_t i = 0; i < sizeof assertions / sizeof *assertions; i++) {
        if (name != assertions[i].name) continue;
        p->cursor += 2;
        return emit(p, (instruction){OP_ASSERT, assertions[i].what, 0, false});
    }
    if (name == 'p' || name == 'P') return fail(p, "Unicode classes (\\p) are not supported");
    p->cursor++;
    uint32_t code;
    return parse_escape(p, &code) && emit_literal(p, code);
}

static bool parse_atom(parser *p) {
    switch (*p->cursor) {
    case '(':
        p->cursor++;
        return parse_group(p);
    case '[':
        p->cursor++;
        return parse_set(p);
    case '\\':
        return parse_backslash(p);
    case '.': {
        range newline = {'\n', '\n'};
        range_list list = {&newline, p->dot_all ? 0 : 1, 1};
        p->cursor++;
        return emit_set(p, &list, true);
    }
    case '^':
        p->cursor++;
        return emit(p, (instruction){OP_ASSERT, p->multi_line ? LINE_START : TEXT_START, 0, false});
    case '$':
        p->cursor++;
        return emit(p, (instruction){OP_ASSERT, p->multi_line ? LINE_END : TEXT_END, 0, false});
    case '*':
    case '+':
    case '?':
        return fail(p, "nothing to repeat");
    default:
        return emit_literal(p, decode(&p->cursor, p->end));
    }
}

/* Appends a copy of a piece that stood at `origin`, targets moved along. */
static bool emit_copy(parser *p, const instruction *piece, uint32_t size, uint32_t origin) {
    uint32_t target = here(p);
    for (uint32_t i = 0; i < size; i++) {
        instruction copy = piece[i];
        if (copy.op == OP_SPLIT || copy.op == OP_JUMP) copy.a += target - origin;
        if (copy.op == OP_SPLIT) copy.b += target - origin;
        if (!emit(p, copy)) return false;
    }
    return true;
}

/* Replaces the atom at the end, from `start` on, by least to most of it (most < 0: any number). */
static bool repeat(parser *p, uint32_t start, int least, int most) {
    uint32_t end = here(p), size = end - start;
    instruction *atom =
        sinter_arena_copy(p->regex->arena, p->regex->program.items + start, size * sizeof *atom);
    p->regex->program.count = start;
    SINTER_VECTOR(uint32_t) exits = {0};
    int copies = most < 0 ? (least > 0 ? least : 1) : most;
    for (int n = 0; n < copies; n++) {
        bool optional = n >= least;
        if (optional) {
            sinter_vector_push(p->regex->arena, &exits, here(p));
            if (!emit(p, (instruction){OP_SPLIT, here(p) + 1, 0, false})) return false;
        }
        uint32_t body = here(p);
        if (!emit_copy(p, atom, size, start)) return false;
        bool loops = most < 0 && n == copies - 1;
        if (loops && !emit(p, (instruction){OP_SPLIT, body, here(p) + 1, false})) return false;
    }
    for (size_t i = 0; i < exits.count; i++) p->regex->program.items[exits.items[i]].b = here(p);
    return true;
}

static bool parse_number(parser *p, int *out_value) {
    int digits = 0;
    *out_value = 0;
    for (; p->cursor < p->end && *p->cursor >= '0' && *p->cursor <= '9' && digits < 5; digits++)
        *out_value = *out_value * 10 + (*p->cursor++ - '0');
    return digits > 0;
}

/* {n}, {n,} or {n,m}; anything else is literal text: returns false with the cursor where it was. */
static bool parse_counts(parser *p, int *out_least, int *out_most) {
    const char *start = p->cursor++;
    bool good = parse_number(p, out_least);
    *out_most = *out_least;
    if (good && p->cursor < p->end && *p->cursor == ',') {
        p->cursor++;
        if (!parse_number(p, out_most)) *out_most = -1;
    }
    good = good && p->cursor < p->end && *p->cursor == '}';
    p->cursor = good ? p->cursor + 1 : start;
    return good;
}

/* At most one: RE2 refuses a** and the like. */
static bool parse_repetition(parser *p, uint32_t start) {
    int least = 0, most = -1;
    for (bool repeated = false; p->cursor < p->end; repeated = true) {
        char c = *p->cursor;
        if (c == '{') {
            if (!parse_counts(p, &least, &most)) break;
            if (least > MAX_REPEAT || most > MAX_REPEAT || (most >= 0 && most < least))
                return fail(p, "bad counts of a repetition");
        } else if (c == '*' || c == '+' || c == '?') {
            p->cursor++;
            least = c == '+';
            most = c == '?' ? 1 : -1;
        } else {
            break;
        }
        if (repeated) return fail(p, "a repetition of a repetition");
        if (p->cursor < p->end && *p->cursor == '?') p->cursor++;
        if (!repeat(p, start, least, most)) return false;
    }
    return true;
}

static bool parse_sequence(parser *p) {
    while (p->cursor < p->end && *p->cursor != '|' && *p->cursor != ')') {
        uint32_t start = here(p);
        bool quoted = p->end - p->cursor >= 2 && p->cursor[0] == '\\' && p->cursor[1] == 'Q';
        if (!(quoted ? parse_quoted(p, &start) : parse_atom(p)) || !parse_repetition(p, start))
            return false;
    }
    return true;
}

/* a|b becomes: split to a or on; a; jump to the end; b. Each alternative starts with an instruction that is made the
 * split once it is known that another one follows. */
static bool parse_alternatives(parser *p) {
    SINTER_VECTOR(uint32_t) jumps = {0};
    for (;;) {
        uint32_t first = here(p);
        if (!emit(p, (instruction){OP_JUMP, first + 1, 0, false}) || !parse_sequence(p))
            return false;
        if (p->cursor >= p->end || *p->cursor != '|') break;
        p->cursor++;
        sinter_vector_push(p->regex->arena, &jumps, here(p));
        if (!emit(p, (instruction){OP_JUMP, 0, 0, false})) return false;
        p->regex->program.items[first] = (instruction){OP_SPLIT, first + 1, here(p), false};
    }
    for (size_t i = 0; i < jumps.count; i++) p->regex->program.items[jumps.items[i]].a = here(p);
    return true;
}

sinter_regex *sinter_regex_compile(sinter_arena *arena, sinter_string pattern,
                                   const char **out_error) {
    sinter_regex *regex = SINTER_NEW(arena, sinter_regex);
    regex->arena = arena;
    parser p = {.regex = regex, .cursor = pattern.data, .end = pattern.data + pattern.size};
    bool good = parse_alternatives(&p);
    if (good && p.cursor < p.end) good = fail(&p, "unexpected )");
    good = good && emit(&p, (instruction){OP_MATCH, 0, 0, false});
    if (!good) {
        *out_error =
            sinter_arena_format(arena, "%s, at byte %td", p.error, p.cursor - pattern.data);
        return NULL;
    }
    size_t count = regex->program.count;
    regex->current = SINTER_NEW_ARRAY(arena, uint32_t, count);
    regex->next = SINTER_NEW_ARRAY(arena, uint32_t, count);
    regex->seen = SINTER_NEW_ARRAY(arena, uint32_t, count);
    regex->pending = SINTER_NEW_ARRAY(arena, uint32_t, 2 * count + 1);
    return regex;
}

/* ---- matching ---- */

/* Where in the text: what is on either side. */
typedef struct place {
    bool at_start, at_end;
    uint32_t before, after; /* code points; meaningless at the ends */
} place;

static bool holds(assertion what, const place *at) {
    bool word_before = !at->at_start && is_word(at->before),
         word_after = !at->at_end && is_word(at->after);
    switch (what) {
    case TEXT_START:
        return at->at_start;
    case TEXT_END:
        return at->at_end;
    case LINE_START:
        return at->at_start || at->before == '\n';
    case LINE_END:
        return at->at_end || at->after == '\n';
    case WORD_EDGE:
        return word_before != word_after;
    case NOT_WORD_EDGE:
        return word_before == word_after;
    }
    return false;
}

/* Adds the state and all that it reaches without reading; sets and matches end up in the list. */
static void add_state(sinter_regex *regex, uint32_t state, uint32_t step, const place *at,
                      uint32_t *list, size_t *count) {
    size_t pending = 0;
    regex->pending[pending++] = state;
    while (pending) {
        state = regex->pending[--pending];
        if (regex->seen[state] == step) continue;
        regex->seen[state] = step;
        const instruction *i = &regex->program.items[state];
        if (i->op == OP_SET || i->op == OP_MATCH) list[(*count)++] = state;
        if (i->op == OP_SPLIT) regex->pending[pending++] = i->b;
        if (i->op == OP_SPLIT || i->op == OP_JUMP) regex->pending[pending++] = i->a;
        if (i->op == OP_ASSERT && holds((assertion)i->a, at)) regex->pending[pending++] = state + 1;
    }
}

static bool set_holds(const sinter_regex *regex, const instruction *set, uint32_t c) {
    for (uint32_t k = 0; k < set->b; k++) {
        const range *r = &regex->ranges.items[set->a + k];
        if (c >= r->low && c <= r->high) return !set->negated;
    }
    return set->negated;
}

bool sinter_regex_matches(sinter_regex *regex, sinter_string text) {
    const char *cursor = text.data, *end = text.data + text.size;
    size_t count = 0;
    uint32_t step = 1;
    place at = {.at_start = true, .at_end = cursor == end};
    const char *ahead = cursor;
    if (!at.at_end) at.after = decode(&ahead, end);
    memset(regex->seen, 0, regex->program.count * sizeof *regex->seen);
    add_state(regex, 0, step, &at, regex->current, &count);
    while (count && !at.at_end) {
        size_t next_count = 0;
        uint32_t c = at.after;
        cursor = ahead;
        at = (place){.at_end = cursor == end, .before = c};
        if (!at.at_end) at.after = decode(&ahead, end);
        step++;
        for (size_t i = 0; i < count; i++) {
            const instruction *set = &regex->program.items[regex->current[i]];
            if (set->op == OP_SET && set_holds(regex, set, c))
                add_state(regex, regex->current[i] + 1, step, &at, regex->next, &next_count);
        }
        uint32_t *swap = regex->current;
        regex->current = regex->next;
        regex->next = swap;
        count = next_count;
    }
    for (size_t i = 0; at.at_end && i < count; i++)
        if (regex->program.items[regex->current[i]].op == OP_MATCH) return true;
    return false;
}
