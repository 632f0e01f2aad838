/* Recipes as text: a table of words, each with the fields that it sets. Test: tests/unit/recipe_test.c */
#include "passes/recipe.h"
#include "ir/base/file.h"
#include "ir/base/lex.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_GROUP = 1 << 20,
    MAX_BLOCK = 1024,
    DEFAULT_POWER_BITS = 4,
    MAX_POWER_BITS = 5,
    MAX_ROUNDS = 64
};

typedef struct rule {
    const char *layer; /* NULL: all */
    const char *where;
    uint32_t set; /* bit i: word i */
    sinter_layer_recipe values;
} rule;

struct sinter_recipe {
    sinter_arena arena;
    SINTER_VECTOR(rule) rules;
};

typedef struct name {
    const char *text;
    int value;
} name;

static const name floats[] = {{"f16", SINTER_DTYPE_f16},
                              {"bf16", SINTER_DTYPE_bf16},
                              {"f8e4m3fn", SINTER_DTYPE_f8e4m3fn},
                              {"f8e5m2", SINTER_DTYPE_f8e5m2},
                              {NULL, 0}};
static const name granularities[] = {
    {"channel", SINTER_PER_CHANNEL}, {"tensor", SINTER_PER_TENSOR}, {NULL, 0}};
static const name roundings[] = {{"nearest", SINTER_ROUND_NEAREST},
                                 {"gptq", SINTER_ROUND_GPTQ},
                                 {"compensated", SINTER_ROUND_COMPENSATED},
                                 {NULL, 0}};
static const name rotations[] = {
    {"none", SINTER_ROTATE_NONE}, {"hadamard", SINTER_ROTATE_HADAMARD}, {NULL, 0}};
static const name scores[] = {{"magnitude", SINTER_SCORE_MAGNITUDE},
                              {"square", SINTER_SCORE_SQUARE},
                              {"random", SINTER_SCORE_RANDOM},
                              {"activation", SINTER_SCORE_ACTIVATION},
                              {"second_order", SINTER_SCORE_SECOND_ORDER},
                              {NULL, 0}};
static const name activations[] = {{"none", SINTER_DTYPE_NONE}, {"u8", SINTER_DTYPE_u8},
                                   {"i8", SINTER_DTYPE_i8},     {"u16", SINTER_DTYPE_u16},
                                   {"i16", SINTER_DTYPE_i16},   {NULL, 0}};
static const name observers[] = {{"min_max", SINTER_OBSERVE_MIN_MAX},
                                 {"percentile", SINTER_OBSERVE_PERCENTILE},
                                 {"mse", SINTER_OBSERVE_SQUARED_ERROR},
                                 {"entropy", SINTER_OBSERVE_ENTROPY},
                                 {NULL, 0}};

static const name *find_name(const name *names, sinter_string text) {
    for (; names->text; names++)
        if (sinter_string_is(text, names->text)) return names;
    return NULL;
}

static const char *name_of(const name *names, int value) {
    while (names->text && names->value != value) names++;
    return names->text;
}

static bool accept_name(sinter_lexer *lexer, const name *names, int *out_value) {
    const name *found =
        lexer->token.kind == SINTER_TOKEN_IDENTIFIER ? find_name(names, lexer->token.text) : NULL;
    if (!found) return false;
    *out_value = found->value;
    sinter_lexer_next(lexer);
    return true;
}

static bool expect_name(sinter_lexer *lexer, const name *names, int *out_value) {
    if (accept_name(lexer, names, out_value)) return true;
    sinter_text list = {0};
    for (const name *n = names; n->text; n++)
        sinter_text_format(&list, "%s%s", n == names ? "" : n[1].text ? ", " : " or ", n->text);
    sinter_lexer_error_expected(lexer, list.data);
    sinter_text_deinit(&list);
    return false;
}

/* A whole number within [low, high], or within (low, high) where `whole` is false; *out is left alone where it is refused. */
static bool expect_number(sinter_lexer *lexer, bool whole, double low, double high, double *out) {
    const char *start = lexer->token.position;
    double found;
    if (!sinter_lexer_expect_number(lexer, &found)) return false;
    if (whole ? found >= low && found <= high && floor(found) == found
              : found > low && found < high) {
        *out = found;
        return true;
    }
    return sinter_lexer_error_at(lexer, start,
                                 whole ? "expected a whole number from %.12g to %.12g, found %.12g"
                                       : "expected a number between %.12g and %.12g, found %.12g",
                                 low, high, found);
}

/* "int" and digits, "block" and digits x digits: the prefix of an identifier, and what follows it. */
static const char *skip_prefix(const sinter_lexer *lexer, const char *prefix) {
    size_t size = strlen(prefix);
    const sinter_token *token = &lexer->token;
    return token->kind == SINTER_TOKEN_IDENTIFIER && token->text.size > size &&
                   !memcmp(token->text.data, prefix, size)
               ? token->text.data + size
               : NULL;
}

/* ---- words ---- */

static bool parse_weights(sinter_lexer *lexer, sinter_layer_recipe *r) {
    static const name grids[] = {{"none", SINTER_WEIGHT_GRID_NONE},
                                 {"ternary", SINTER_WEIGHT_GRID_TERNARY},
                                 {"binary", SINTER_WEIGHT_GRID_BINARY},
                                 {"power_of_two", SINTER_WEIGHT_GRID_POWER_OF_TWO},
                                 {NULL, 0}};
    int found = 0;
    double bits = DEFAULT_POWER_BITS;
    r->asymmetric = false;
    r->bits = 8;
    r->storage = SINTER_DTYPE_NONE;
    if (accept_name(lexer, grids, &found)) {
        r->grid = (sinter_weight_grid)found;
        if (r->grid != SINTER_WEIGHT_GRID_POWER_OF_TWO) return true;
        bool good = !sinter_lexer_accept(lexer, ":") ||
                    expect_number(lexer, true, 2, MAX_POWER_BITS, &bits);
        r->bits = (uint32_t)bits;
        return good;
    }
    if (accept_name(lexer, floats, &found)) {
        r->grid = SINTER_WEIGHT_GRID_FLOAT;
        r->storage = (sinter_dtype)found;
        return true;
    }
    const char *digits = skip_prefix(lexer, "int");
    r->asymmetric = !digits && (digits = skip_prefix(lexer, "uint"));
    size_t size = lexer->token.text.size;
    if (!digits || digits + 1 != lexer->token.text.data + size || *digits < '2' || *digits > '8')
        return sinter_lexer_error_expected(
            lexer, "none, int2 to int8, uint2 to uint8, ternary, binary, power_of_two, f16, bf16, "
                   "f8e4m3fn or f8e5m2");
    r->grid = SINTER_WEIGHT_GRID_INTEGER;
    r->bits = (uint32_t)(*digits - '0');
    sinter_lexer_next(lexer);
    return true;
}

static void print_weights(const sinter_layer_recipe *r, sinter_text *text) {
    switch (r->grid) {
    case SINTER_WEIGHT_GRID_NONE:
        sinter_text_append_string(text, "none");
        break;
    case SINTER_WEIGHT_GRID_INTEGER:
        sinter_text_format(text, "%s%u", r->asymmetric ? "uint" : "int", r->bits);
        break;
    case SINTER_WEIGHT_GRID_TERNARY:
        sinter_text_append_string(text, "ternary");
        break;
    case SINTER_WEIGHT_GRID_BINARY:
        sinter_text_append_string(text, "binary");
        break;
    case SINTER_WEIGHT_GRID_POWER_OF_TWO:
        sinter_text_format(text, "power_of_two:%u", r->bits);
        break;
    case SINTER_WEIGHT_GRID_FLOAT:
        sinter_text_append_string(text, name_of(floats, (int)r->storage));
        break;
    }
}

static void copy_weights(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->grid = from->grid;
    to->bits = from->bits;
    to->asymmetric = from->asymmetric;
    to->storage = from->storage;
}

static bool parse_per(sinter_lexer *lexer, sinter_layer_recipe *r) {
    int found = 0;
    double size = 0;
    if (sinter_lexer_accept(lexer, "group")) {
        bool good =
            sinter_lexer_expect(lexer, ":") && expect_number(lexer, true, 2, MAX_GROUP, &size);
        r->group = (int64_t)size;
        return good;
    }
    if (!accept_name(lexer, granularities, &found))
        return sinter_lexer_error_expected(lexer, "channel, tensor or group:N");
    r->group = found;
    return true;
}

static void print_per(const sinter_layer_recipe *r, sinter_text *text) {
    if (r->group > 0)
        sinter_text_format(text, "group:%lld", (long long)r->group);
    else
        sinter_text_append_string(text, name_of(granularities, (int)r->group));
}

static void copy_per(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->group = from->group;
}

static bool parse_rounding(sinter_lexer *lexer, sinter_layer_recipe *r) {
    int found = 0;
    bool good = expect_name(lexer, roundings, &found);
    r->rounding = (sinter_rounding)found;
    return good;
}

static void print_rounding(const sinter_layer_recipe *r, sinter_text *text) {
    sinter_text_append_string(text, name_of(roundings, (int)r->rounding));
}

static void copy_rounding(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->rounding = from->rounding;
}

static bool parse_clip(sinter_lexer *lexer, sinter_layer_recipe *r) {
    const char *start = lexer->token.position;
    if (!sinter_lexer_expect_number(lexer, &r->clip)) return false;
    if (r->clip > 0 && r->clip <= 1) return true;
    return sinter_lexer_error_at(
        lexer, start, "clip: expected a quantile above 0 and at most 1, found %.12g", r->clip);
}

static void print_clip(const sinter_layer_recipe *r, sinter_text *text) {
    sinter_text_double(text, r->clip);
}

static void copy_clip(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->clip = from->clip;
}

/* ":0.7" after "block4x4", "channels" or "last" */
static bool parse_ratio(sinter_lexer *lexer, double *out_ratio) {
    return sinter_lexer_expect(lexer, ":") && expect_number(lexer, false, 0, 1, out_ratio);
}

/* "block4x4:0.7", at the digits. */
static bool parse_block(sinter_lexer *lexer, const char *digits, sinter_layer_recipe *r) {
    const char *end = lexer->token.text.data + lexer->token.text.size;
    uint32_t sizes[2] = {0};
    bool good = true;
    for (int i = 0; i < 2; i++) {
        const char *first = digits;
        for (; digits < end && *digits >= '0' && *digits <= '9' && sizes[i] <= MAX_BLOCK; digits++)
            sizes[i] = sizes[i] * 10 + (uint32_t)(*digits - '0');
        good = good && digits > first && sizes[i] > 0 && sizes[i] <= MAX_BLOCK;
        if (i == 0) good = good && digits < end && *digits++ == 'x';
    }
    if (!good || digits != end)
        return sinter_lexer_error_expected(lexer, "a block of outputs x inputs like 'block4x4'");
    r->pattern = SINTER_PRUNE_BLOCK;
    r->block_rows = sizes[0];
    r->block_columns = sizes[1];
    sinter_lexer_next(lexer);
    return parse_ratio(lexer, &r->ratio);
}

static bool parse_prune(sinter_lexer *lexer, sinter_layer_recipe *r) {
    double number = 0, of = 0;
    const char *start = lexer->token.position, *digits = skip_prefix(lexer, "block");
    r->ratio = 0;
    r->keep = r->of = 0;
    r->block_rows = r->block_columns = 1;
    r->pattern = SINTER_PRUNE_NONE;
    if (sinter_lexer_accept(lexer, "none")) return true;
    if (digits) return parse_block(lexer, digits, r);
    r->by_work = sinter_lexer_accept(lexer, "macs");
    if (r->by_work || sinter_lexer_accept(lexer, "channels")) {
        r->pattern = SINTER_PRUNE_CHANNELS;
        return parse_ratio(lexer, &r->ratio);
    }
    if (lexer->token.kind != SINTER_TOKEN_INTEGER && lexer->token.kind != SINTER_TOKEN_FLOAT)
        return sinter_lexer_error_expected(
            lexer, "none, a ratio like 0.5, N:M, block4x4:RATIO, channels:RATIO or macs:RATIO");
    if (!sinter_lexer_expect_number(lexer, &number)) return false;
    if (!sinter_lexer_accept(lexer, ":")) {
        r->pattern = SINTER_PRUNE_UNSTRUCTURED;
        r->ratio = number;
        return (number > 0 && number < 1) ||
               sinter_lexer_error_at(
                   lexer, start, "prune: expected a ratio between 0 and 1, found %.12g", number);
    }
    if (!expect_number(lexer, true, 2, MAX_BLOCK, &of)) return false;
    if (!(number >= 1 && number < of && floor(number) == number))
        return sinter_lexer_error_at(lexer, start,
                                     "prune: expected a whole number below %.12g of weights that "
                                     "stay, found %.12g",
                                     of, number);
    r->pattern = SINTER_PRUNE_N_OF_M;
    r->keep = (uint32_t)number;
    r->of = (uint32_t)of;
    return true;
}

static void print_prune(const sinter_layer_recipe *r, sinter_text *text) {
    switch (r->pattern) {
    case SINTER_PRUNE_NONE:
        sinter_text_append_string(text, "none");
        return;
    case SINTER_PRUNE_N_OF_M:
        sinter_text_format(text, "%u:%u", r->keep, r->of);
        return;
    case SINTER_PRUNE_UNSTRUCTURED:
        break;
    case SINTER_PRUNE_BLOCK:
        sinter_text_format(text, "block%ux%u:", r->block_rows, r->block_columns);
        break;
    case SINTER_PRUNE_CHANNELS:
        sinter_text_append_string(text, r->by_work ? "macs:" : "channels:");
        break;
    }
    sinter_text_double(text, r->ratio);
}

static void copy_prune(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->pattern = from->pattern;
    to->ratio = from->ratio;
    to->by_work = from->by_work;
    to->keep = from->keep;
    to->of = from->of;
    to->block_rows = from->block_rows;
    to->block_columns = from->block_columns;
}

static bool parse_score(sinter_lexer *lexer, sinter_layer_recipe *r) {
    int found = 0;
    int64_t seed = 0;
    if (!expect_name(lexer, scores, &found)) return false;
    r->score = (sinter_prune_score)found;
    if (found == SINTER_SCORE_RANDOM && sinter_lexer_accept(lexer, ":") &&
        !sinter_lexer_expect_integer(lexer, &seed))
        return false;
    r->seed = (uint64_t)seed;
    return true;
}

static void print_score(const sinter_layer_recipe *r, sinter_text *text) {
    sinter_text_append_string(text, name_of(scores, (int)r->score));
    if (r->score == SINTER_SCORE_RANDOM) sinter_text_format(text, ":%lld", (long long)r->seed);
}

static void copy_score(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->score = from->score;
    to->seed = from->seed;
}

static bool parse_schedule(sinter_lexer *lexer, sinter_layer_recipe *r) {
    double rounds = 1;
    bool good = true;
    if (sinter_lexer_accept(lexer, "gradual"))
        good =
            sinter_lexer_expect(lexer, ":") && expect_number(lexer, true, 2, MAX_ROUNDS, &rounds);
    else if (!sinter_lexer_accept(lexer, "one_shot"))
        return sinter_lexer_error_expected(lexer, "one_shot or gradual:ROUNDS");
    r->rounds = (uint32_t)rounds;
    return good;
}

static void print_schedule(const sinter_layer_recipe *r, sinter_text *text) {
    if (r->rounds > 1)
        sinter_text_format(text, "gradual:%u", r->rounds);
    else
        sinter_text_append_string(text, "one_shot");
}

static void copy_schedule(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->rounds = from->rounds;
}

static bool parse_cut(sinter_lexer *lexer, sinter_layer_recipe *r) {
    r->cut = 0;
    r->cut_last = sinter_lexer_accept(lexer, "last");
    if (r->cut_last) return parse_ratio(lexer, &r->cut);
    return sinter_lexer_accept(lexer, "none") || expect_number(lexer, false, 0, 1, &r->cut);
}

static void print_cut(const sinter_layer_recipe *r, sinter_text *text) {
    if (r->cut_last) sinter_text_append_string(text, "last:");
    if (r->cut > 0)
        sinter_text_double(text, r->cut);
    else
        sinter_text_append_string(text, "none");
}

static void copy_cut(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->cut = from->cut;
    to->cut_last = from->cut_last;
}

static bool parse_activations(sinter_lexer *lexer, sinter_layer_recipe *r) {
    int found = SINTER_DTYPE_u8;
    static const name kinds[] = {{"tensor", 0}, {"row", 1}, {NULL, 0}};
    int by_row = 0;
    r->dynamic = sinter_lexer_accept(lexer, "dynamic");
    if (!r->dynamic && !accept_name(lexer, activations, &found))
        return sinter_lexer_error_expected(lexer, "none, u8, i8, u16, i16, dynamic or dynamic:row");
    if (r->dynamic && sinter_lexer_accept(lexer, ":") && !expect_name(lexer, kinds, &by_row))
        return false;
    r->by_row = by_row;
    r->activations = by_row ? SINTER_DTYPE_i8 : (sinter_dtype)found;
    return true;
}

static void print_activations(const sinter_layer_recipe *r, sinter_text *text) {
    sinter_text_append_string(text, r->by_row    ? "dynamic:row"
                                    : r->dynamic ? "dynamic"
                                                 : name_of(activations, (int)r->activations));
}

static void copy_activations(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->activations = from->activations;
    to->dynamic = from->dynamic;
    to->by_row = from->by_row;
}

/* "none", which is 0, or a share of up to 1. */
static bool parse_share(sinter_lexer *lexer, const char *key, double *out) {
    const char *start = lexer->token.position;
    *out = 0;
    if (sinter_lexer_accept(lexer, "none")) return true;
    if (!sinter_lexer_expect_number(lexer, out)) return false;
    return (*out > 0 && *out <= 1) ||
           sinter_lexer_error_at(lexer, start,
                                 "%s: expected none or a number above 0 and at most 1, found %.12g",
                                 key, *out);
}

static void print_share(double share, sinter_text *text) {
    if (share > 0)
        sinter_text_double(text, share);
    else
        sinter_text_append_string(text, "none");
}

static bool parse_smooth(sinter_lexer *lexer, sinter_layer_recipe *r) {
    return parse_share(lexer, "smooth", &r->smooth);
}

static void print_smooth(const sinter_layer_recipe *r, sinter_text *text) {
    print_share(r->smooth, text);
}

static void copy_smooth(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->smooth = from->smooth;
}

static bool parse_rotate(sinter_lexer *lexer, sinter_layer_recipe *r) {
    int found = 0;
    if (!expect_name(lexer, rotations, &found)) return false;
    r->rotation = (sinter_rotation)found;
    return true;
}

static void print_rotate(const sinter_layer_recipe *r, sinter_text *text) {
    sinter_text_append_string(text, name_of(rotations, (int)r->rotation));
}

static void copy_rotate(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->rotation = from->rotation;
}

static bool parse_keep(sinter_lexer *lexer, sinter_layer_recipe *r) {
    return parse_share(lexer, "keep", &r->most_change);
}

static void print_keep(const sinter_layer_recipe *r, sinter_text *text) {
    print_share(r->most_change, text);
}

static void copy_keep(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->most_change = from->most_change;
}

static bool parse_observe(sinter_lexer *lexer, sinter_layer_recipe *r) {
    int found = 0;
    if (!expect_name(lexer, observers, &found)) return false;
    r->observer = (sinter_observer)found;
    r->percentile = 99.99;
    return found != SINTER_OBSERVE_PERCENTILE || !sinter_lexer_accept(lexer, ":") ||
           expect_number(lexer, false, 50, 100, &r->percentile);
}

static void print_observe(const sinter_layer_recipe *r, sinter_text *text) {
    sinter_text_append_string(text, name_of(observers, (int)r->observer));
    if (r->observer != SINTER_OBSERVE_PERCENTILE) return;
    sinter_text_append_string(text, ":");
    sinter_text_double(text, r->percentile);
}

static void copy_observe(sinter_layer_recipe *to, const sinter_layer_recipe *from) {
    to->observer = from->observer;
    to->percentile = from->percentile;
}

/* When a word says something: of what a layer's other words say. */
typedef enum word_use { USE_ALWAYS, USE_SCALES, USE_ROUNDING, USE_ZEROS, USE_OBSERVER } word_use;

static const struct word {
    const char *key;
    bool (*parse)(sinter_lexer *lexer, sinter_layer_recipe *out);
    void (*print)(const sinter_layer_recipe *from, sinter_text *text);
    void (*copy)(sinter_layer_recipe *to, const sinter_layer_recipe *from);
    word_use use;
} words[] = {
    {"weights", parse_weights, print_weights, copy_weights, USE_ALWAYS},
    {"per", parse_per, print_per, copy_per, USE_SCALES},
    {"rounding", parse_rounding, print_rounding, copy_rounding, USE_ROUNDING},
    {"clip", parse_clip, print_clip, copy_clip, USE_ALWAYS},
    {"prune", parse_prune, print_prune, copy_prune, USE_ALWAYS},
    {"score", parse_score, print_score, copy_score, USE_ZEROS},
    {"schedule", parse_schedule, print_schedule, copy_schedule, USE_ALWAYS},
    {"cut", parse_cut, print_cut, copy_cut, USE_ALWAYS},
    {"activations", parse_activations, print_activations, copy_activations, USE_ALWAYS},
    {"rotate", parse_rotate, print_rotate, copy_rotate, USE_ALWAYS},
    {"smooth", parse_smooth, print_smooth, copy_smooth, USE_ALWAYS},
    {"keep", parse_keep, print_keep, copy_keep, USE_ALWAYS},
    {"observe", parse_observe, print_observe, copy_observe, USE_OBSERVER},
};
enum { WORD_COUNT = sizeof words / sizeof *words };

static const sinter_layer_recipe nothing = {.bits = 8,
                                            .rounding = SINTER_ROUND_COMPENSATED,
                                            .clip = 1,
                                            .block_rows = 1,
                                            .block_columns = 1,
                                            .score = SINTER_SCORE_SECOND_ORDER,
                                            .rounds = 1,
                                            .observer = SINTER_OBSERVE_SQUARED_ERROR,
                                            .percentile = 99.99};

static bool is_used(const sinter_layer_recipe *r, word_use use) {
    bool rounds = r->grid != SINTER_WEIGHT_GRID_NONE, prunes = r->pattern != SINTER_PRUNE_NONE;
    switch (use) {
    case USE_SCALES: /* f16 and bf16 have none */
        return rounds && !(r->storage && sinter_dtype_infos[r->storage].bits > 8);
    case USE_ROUNDING:
        return rounds || prunes || r->cut > 0;
    case USE_ZEROS:
        return prunes;
    case USE_OBSERVER:
        return r->activations != SINTER_DTYPE_NONE && !r->dynamic;
    case USE_ALWAYS:
        break;
    }
    return true;
}

/* ---- rules ---- */

sinter_recipe *sinter_recipe_create(void) {
    sinter_recipe *recipe = sinter_heap_alloc(sizeof *recipe);
    *recipe = (sinter_recipe){0};
    sinter_arena_init(&recipe->arena);
    return recipe;
}

void sinter_recipe_destroy(sinter_recipe *recipe) {
    if (!recipe) return;
    sinter_arena_deinit(&recipe->arena);
    sinter_heap_free(recipe);
}

static bool parse_word(sinter_lexer *lexer, rule *r) {
    for (uint32_t i = 0; i < WORD_COUNT; i++) {
        if (!sinter_lexer_is(lexer, words[i].key)) continue;
        if (r->set >> i & 1)
            return sinter_lexer_error(lexer, "'%s' is said twice in one rule", words[i].key);
        sinter_lexer_next(lexer);
        r->set |= 1u << i;
        return sinter_lexer_expect(lexer, "=") && words[i].parse(lexer, &r->values);
    }
    sinter_text list = {0};
    for (uint32_t i = 0; i < WORD_COUNT; i++)
        sinter_text_format(&list, "%s%s",
                           i == 0                ? ""
                           : i + 1 == WORD_COUNT ? " or "
                                                 : ", ",
                           words[i].key);
    sinter_lexer_error_expected(lexer, list.data);
    sinter_text_deinit(&list);
    return false;
}

static bool starts_rule(const sinter_lexer *lexer) {
    return lexer->token.kind == SINTER_TOKEN_STRING || sinter_lexer_is(lexer, "default");
}

static bool parse_rule(sinter_recipe *recipe, sinter_lexer *lexer) {
    rule r = {.values = nothing};
    if (!starts_rule(lexer))
        return sinter_lexer_error_expected(lexer, "'default' or the name of a layer in quotes");
    const char *where = sinter_lexer_where(lexer, lexer->token.position);
    r.where = sinter_arena_copy_string(&recipe->arena, where, strlen(where));
    if (lexer->token.kind == SINTER_TOKEN_STRING) {
        if (memchr(lexer->token.text.data, 0, lexer->token.text.size))
            return sinter_lexer_error(lexer, "no name of a layer has a zero byte");
        r.layer = sinter_string_copy(&recipe->arena, lexer->token.text).data;
    }
    sinter_lexer_next(lexer);
    do {
        if (!parse_word(lexer, &r)) return false;
    } while (lexer->token.kind != SINTER_TOKEN_END && !starts_rule(lexer));
    if (lexer->token.kind == SINTER_TOKEN_ERROR) return false;
    sinter_vector_push(&recipe->arena, &recipe->rules, r);
    return true;
}

bool sinter_recipe_parse(sinter_recipe *recipe, const char *path, const char *text, size_t size,
                         sinter_diag *diag) {
    sinter_lexer lexer;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_lexer_init(&lexer, path, text, size, &scratch, diag);
    bool good = true;
    while (good && lexer.token.kind != SINTER_TOKEN_END) good = parse_rule(recipe, &lexer);
    sinter_arena_deinit(&scratch);
    return good;
}

bool sinter_recipe_read_file(sinter_recipe *recipe, const char *path, sinter_diag *diag) {
    sinter_text text = {0};
    bool good = sinter_file_read_text(path, &text, diag) &&
                sinter_recipe_parse(recipe, path, text.data, text.size, diag);
    sinter_text_deinit(&text);
    return good;
}

bool sinter_recipe_set(sinter_recipe *recipe, const char *layer, const char *key, const char *value,
                       const char *where, sinter_diag *diag) {
    sinter_text text = {0};
    if (layer)
        sinter_text_quote(&text, sinter_string_of(layer));
    else
        sinter_text_append_string(&text, "default");
    sinter_text_format(&text, " %s=%s", key, value);
    /* the reader of a flag counts no columns */
    sinter_text messages = {0};
    sinter_diag inner = {.handler = sinter_diag_text_handler, .user = &messages};
    size_t before = recipe->rules.count;
    bool good = sinter_recipe_parse(recipe, where, text.data, text.size, &inner);
    if (good && recipe->rules.count != before + 1) {
        recipe->rules.count = before;
        good = sinter_error(diag, where, "expected one value");
    } else if (!good) {
        const char *start = messages.data ? strstr(messages.data, "error: ") : NULL;
        start = start ? start + strlen("error: ") : "not understood";
        sinter_error(diag, where, "%.*s", (int)strcspn(start, "\n"), start);
    } else {
        rule *added = &recipe->rules.items[before];
        added->where = sinter_arena_copy_string(&recipe->arena, where, strlen(where));
    }
    sinter_text_deinit(&messages);
    sinter_text_deinit(&text);
    return good;
}

static void print_words(const sinter_layer_recipe *values, uint32_t set, const char *between,
                        sinter_text *text) {
    for (uint32_t i = 0; i < WORD_COUNT; i++) {
        if (!(set >> i & 1)) continue;
        sinter_text_format(text, "%s%s=", between, words[i].key);
        words[i].print(values, text);
        between = " ";
    }
}

void sinter_recipe_print(const sinter_recipe *recipe, sinter_text *text) {
    for (size_t i = 0; i < recipe->rules.count; i++) {
        const rule *r = &recipe->rules.items[i];
        if (r->layer)
            sinter_text_quote(text, sinter_string_of(r->layer));
        else
            sinter_text_append_string(text, "default");
        print_words(&r->values, r->set, " ", text);
        sinter_text_append_string(text, "\n");
    }
}

void sinter_layer_recipe_print(const sinter_layer_recipe *layer, sinter_text *text) {
    uint32_t set = 0;
    for (uint32_t i = 0; i < WORD_COUNT; i++) {
        sinter_text now = {0}, idle = {0};
        words[i].print(layer, &now);
        words[i].print(&nothing, &idle);
        bool differs = strcmp(now.data, idle.data) != 0 || words[i].use != USE_ALWAYS;
        if (differs && is_used(layer, words[i].use)) set |= 1u << i;
        sinter_text_deinit(&now);
        sinter_text_deinit(&idle);
    }
    print_words(layer, set, "", text);
}

/* '*' stands for any characters, none included. */
static bool matches(const char *pattern, const char *text) {
    const char *star = NULL, *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}

static bool rule_matches(const rule *r, const char *layer) {
    return !r->layer || matches(r->layer, layer);
}

/* Words that can't both be followed; the last rule that said anything of them is where. */
static bool check_layer(const sinter_layer_recipe *l, const char *layer, const char *where,
                        sinter_diag *diag) {
    const char *reason = NULL;
    if (l->grid == SINTER_WEIGHT_GRID_BINARY && sinter_layer_recipe_masks(l))
        reason = "binary weights are never zero, so only channels can go";
    if (l->rounds > 1 && l->pattern != SINTER_PRUNE_NONE && !sinter_layer_recipe_compensates(l))
        reason = "schedule=gradual has what is left make up for what went, which rounding=nearest "
                 "does not";
    return !reason || sinter_error(diag, where, "layer '%s': %s", layer, reason);
}

bool sinter_recipe_find(const sinter_recipe *recipe, const char *layer,
                        sinter_layer_recipe *out_layer, sinter_diag *diag) {
    const char *where = "recipe";
    *out_layer = nothing;
    for (size_t i = 0; i < recipe->rules.count; i++) {
        const rule *r = &recipe->rules.items[i];
        if (!rule_matches(r, layer)) continue;
        where = r->where;
        for (uint32_t word = 0; word < WORD_COUNT; word++)
            if (r->set >> word & 1) words[word].copy(out_layer, &r->values);
    }
    return check_layer(out_layer, layer, where, diag);
}

bool sinter_recipe_check_names(const sinter_recipe *recipe, const char *const *names, size_t count,
                               sinter_diag *diag) {
    bool good = true;
    for (size_t i = 0; i < recipe->rules.count; i++) {
        const rule *r = &recipe->rules.items[i];
        bool found = !r->layer;
        for (size_t n = 0; n < count && !found; n++) found = matches(r->layer, names[n]);
        if (!found) good = sinter_error(diag, r->where, "the model has no layer '%s'", r->layer);
    }
    if (!good && count)
        sinter_note(diag, "", "its layers: %zu, the first is '%s'; `sinter inspect` shows all",
                    count, names[0]);
    return good;
}
