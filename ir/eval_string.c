/* Evaluator rules of string tensors: string_concat, string_split, string_normalizer,
 * regex_full_match, tfidf_vectorizer. Strings are UTF-8; whitespace is that of ASCII. Test: tests/ops/ */
#include "ir/eval_rules.h"
#include "ir/regex.h"
#include <inttypes.h>
#include <string.h>

bool eval_string_concat(sinter_eval *eval) {
    const sinter_tensor *x = eval->operands[0], *y = eval->operands[1];
    int64_t dims[SINTER_MAX_RANK], strides[2][SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    uint32_t rank;
    if (!sinter_eval_broadcast(eval, 0, 2, &rank, dims)) return false;
    sinter_tensor *z = sinter_eval_create(eval, 0, SINTER_DTYPE_string, rank, dims);
    if (!z) return false;
    sinter_eval_broadcast_strides(x, rank, strides[0]);
    sinter_eval_broadcast_strides(y, rank, strides[1]);
    for (int64_t i = 0; i < sinter_tensor_count(z); i++) {
        sinter_string left = sinter_tensor_get_string(x, sinter_eval_offset(rank, at, strides[0]));
        sinter_string right = sinter_tensor_get_string(y, sinter_eval_offset(rank, at, strides[1]));
        sinter_text text = {0};
        sinter_text_append(&text, left.data, left.size);
        sinter_text_append(&text, right.data, right.size);
        sinter_tensor_set_string(z, i, (sinter_string){text.data, text.size});
        sinter_text_deinit(&text);
        sinter_eval_next(rank, dims, at);
    }
    return true;
}

/* ---- split ---- */

typedef SINTER_VECTOR(sinter_string) string_list;

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Runs of whitespace divide; none at the ends. After `most` splits the rest is one piece, its end untouched. */
static void split_at_space(sinter_arena *arena, sinter_string text, int64_t most,
                           string_list *pieces) {
    size_t i = 0;
    for (int64_t splits = 0;; splits++) {
        while (i < text.size && is_space(text.data[i])) i++;
        if (i == text.size) return;
        size_t start = i;
        while (i < text.size && (splits == most || !is_space(text.data[i]))) i++;
        sinter_vector_push(arena, pieces, (sinter_string){text.data + start, i - start});
    }
}

static void split_at(sinter_arena *arena, sinter_string text, sinter_string delimiter, int64_t most,
                     string_list *pieces) {
    size_t start = 0;
    for (size_t i = 0; i + delimiter.size <= text.size && most != 0;) {
        if (memcmp(text.data + i, delimiter.data, delimiter.size) != 0) {
            i++;
            continue;
        }
        sinter_vector_push(arena, pieces, (sinter_string){text.data + start, i - start});
        start = i += delimiter.size;
        if (most > 0) most--;
    }
    sinter_vector_push(arena, pieces, (sinter_string){text.data + start, text.size - start});
}

bool eval_string_split(sinter_eval *eval) {
    const sinter_tensor *x = eval->operands[0];
    if (x->rank + 1 > SINTER_MAX_RANK) return sinter_eval_error(eval, "the rank is too high");
    int64_t count = sinter_tensor_count(x), widest = 0, dims[SINTER_MAX_RANK];
    int64_t most = sinter_eval_has(eval, "maxsplit") ? sinter_eval_int(eval, "maxsplit") : -1;
    sinter_string delimiter = sinter_eval_string(eval, "delimiter");
    string_list *lists = SINTER_NEW_ARRAY(eval->scratch, string_list, count + 1);
    for (int64_t i = 0; i < count; i++) {
        sinter_string text = sinter_tensor_get_string(x, i);
        if (delimiter.size)
            split_at(eval->scratch, text, delimiter, most, &lists[i]);
        else
            split_at_space(eval->scratch, text, most, &lists[i]);
        if ((int64_t)lists[i].count > widest) widest = (int64_t)lists[i].count;
    }
    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank] = widest;
    sinter_tensor *y = sinter_eval_create(eval, 0, SINTER_DTYPE_string, x->rank + 1, dims);
    sinter_tensor *z = sinter_eval_create(eval, 1, SINTER_DTYPE_i64, x->rank, x->dims);
    if (!y || !z) return false;
    for (int64_t i = 0; i < count; i++) {
        sinter_tensor_set_int(z, i, (int64_t)lists[i].count);
        for (int64_t j = 0; j < widest; j++)
            sinter_tensor_set_string(y, i * widest + j,
                                     j < (int64_t)lists[i].count ? lists[i].items[j]
                                                                 : (sinter_string){"", 0});
    }
    return true;
}

/* ---- normalizer ---- */

typedef enum letter_case { KEEP_CASE, LOWER_CASE, UPPER_CASE } letter_case;

/* Simple case mapping of Latin, Greek and Cyrillic letters, whatever the locale; the rest stays. */
static uint32_t change_case(uint32_t c, letter_case to) {
    static const struct {
        uint32_t first, last, distance, step; /* upper case letters; lower case is distance on */
    } ranges[] = {{'A', 'Z', 32, 1},     {0xC0, 0xD6, 32, 1},   {0xD8, 0xDE, 32, 1},
                  {0x100, 0x12E, 1, 2},  {0x132, 0x136, 1, 2},  {0x139, 0x147, 1, 2},
                  {0x14A, 0x176, 1, 2},  {0x179, 0x17D, 1, 2},  {0x391, 0x3A1, 32, 1},
                  {0x3A3, 0x3A9, 32, 1}, {0x400, 0x40F, 80, 1}, {0x410, 0x42F, 32, 1}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        uint32_t shift = to == UPPER_CASE ? ranges[i].distance : 0;
        if (c < ranges[i].first + shift || c > ranges[i].last + shift) continue;
        if ((c - ranges[i].first - shift) % ranges[i].step != 0) continue;
        return to == UPPER_CASE ? c - shift : c + ranges[i].distance;
    }
    return c;
}

/* One or two bytes: all that the table above reaches; longer sequences and stray bytes are copied. */
static sinter_string map_case(sinter_arena *arena, sinter_string text, letter_case to) {
    if (to == KEEP_CASE) return text;
    char *out = sinter_arena_copy_string(arena, text.data, text.size);
    for (size_t i = 0; i < text.size; i++) {
        uint8_t head = (uint8_t)text.data[i];
        if (head < 0x80) {
            out[i] = (char)change_case(head, to);
        } else if (head >= 0xC2 && head <= 0xDF && i + 1 < text.size) {
            uint32_t c = (head & 0x1Fu) << 6 | ((uint8_t)text.data[i + 1] & 0x3Fu);
            c = change_case(c, to);
            out[i] = (char)(0xC0 | c >> 6);
            out[++i] = (char)(0x80 | (c & 0x3F));
        }
    }
    return (sinter_string){out, text.size};
}

static bool is_stop_word(sinter_arena *arena, const sinter_attr *words, sinter_string text,
                         bool sensitive) {
    if (!words) return false;
    if (!sensitive) text = map_case(arena, text, LOWER_CASE);
    for (size_t i = 0; i < words->strings.count; i++) {
        sinter_string word = words->strings.items[i];
        if (!sensitive) word = map_case(arena, word, LOWER_CASE);
        if (sinter_string_equal(word, text)) return true;
    }
    return false;
}

bool eval_string_normalizer(sinter_eval *eval) {
    if (!sinter_eval_expect_rank(eval, 0, 1, 2)) return false;
    const sinter_tensor *x = eval->operands[0];
    if (x->rank == 2 && x->dims[0] != 1)
        return sinter_eval_error(eval, "expected one row, found %s", sinter_eval_describe(eval, x));
    sinter_string action = sinter_eval_string(eval, "case_change_action");
    letter_case to = sinter_string_is(action, "LOWER")   ? LOWER_CASE
                     : sinter_string_is(action, "UPPER") ? UPPER_CASE
                                                         : KEEP_CASE;
    if (to == KEEP_CASE && !sinter_string_is(action, "NONE"))
        return sinter_eval_error(eval, "unknown case_change_action '%.*s'",
                                 SINTER_STRING_ARGS(action));
    bool sensitive = sinter_eval_int(eval, "is_case_sensitive") != 0;
    const sinter_attr *words = sinter_node_find_attr(eval->module, eval->node, "stopwords");
    string_list kept = {0};
    for (int64_t i = 0; i < sinter_tensor_count(x); i++) {
        sinter_string text = sinter_tensor_get_string(x, i);
        if (!is_stop_word(eval->scratch, words, text, sensitive))
            sinter_vector_push(eval->scratch, &kept, map_case(eval->scratch, text, to));
    }
    /* a tensor of strings is never left empty */
    if (!kept.count) sinter_vector_push(eval->scratch, &kept, (sinter_string){"", 0});
    int64_t dims[2] = {1, (int64_t)kept.count};
    sinter_tensor *y =
        sinter_eval_create(eval, 0, SINTER_DTYPE_string, x->rank, dims + (x->rank == 1));
    for (size_t i = 0; y && i < kept.count; i++)
        sinter_tensor_set_string(y, (int64_t)i, kept.items[i]);
    return y != NULL;
}

bool eval_regex_full_match(sinter_eval *eval) {
    const sinter_tensor *x = eval->operands[0];
    sinter_string pattern = sinter_eval_string(eval, "pattern");
    const char *message;
    sinter_regex *regex = sinter_regex_compile(eval->scratch, pattern, &message);
    if (!regex)
        return sinter_eval_error(eval, "pattern '%.*s': %s", SINTER_STRING_ARGS(pattern), message);
    sinter_tensor *y = sinter_eval_create(eval, 0, SINTER_DTYPE_bool, x->rank, x->dims);
    for (int64_t i = 0; y && i < sinter_tensor_count(y); i++)
        sinter_tensor_set_int(y, i, sinter_regex_matches(regex, sinter_tensor_get_string(x, i)));
    return y != NULL;
}

/* ---- n-gram counts ---- */

typedef struct vectorizer {
    const int64_t *starts,
        *columns; /* where grams of each length start in the pool; a gram's column */
    size_t lengths, grams;
    const sinter_attr *numbers, *words; /* the pool, one of the two */
    int64_t pool, shortest, longest, skips, width;
    const sinter_tensor *x;
} vectorizer;

/* Whether item `item` of x is number `entry` of the pool. */
static bool is_entry(const vectorizer *v, int64_t item, int64_t entry) {
    if (v->words)
        return sinter_string_equal(sinter_tensor_get_string(v->x, item),
                                   v->words->strings.items[entry]);
    return sinter_tensor_get_int(v->x, item) == v->numbers->ints.items[entry];
}

static bool read_pool(sinter_eval *eval, vectorizer *v) {
    v->numbers = sinter_node_find_attr(eval->module, eval->node, "pool_int64s");
    v->words = sinter_node_find_attr(eval->module, eval->node, "pool_strings");
    if (v->words && !v->words->strings.count) v->words = NULL;
    if ((v->words != NULL) != (v->x->dtype == SINTER_DTYPE_string) || (!v->words && !v->numbers))
        return sinter_eval_error(eval, "the pool does not hold what %s does",
                                 sinter_eval_describe(eval, v->x));
    v->pool = (int64_t)(v->words ? v->words->strings.count : v->numbers->ints.count);
    int64_t grams = 0;
    for (size_t n = 0; n < v->lengths; n++) {
        int64_t end = n + 1 < v->lengths ? v->starts[n + 1] : v->pool;
        if (v->starts[n] < 0 || end < v->starts[n] || end > v->pool)
            return sinter_eval_error(eval, "ngram_counts do not fit the pool");
        grams += (end - v->starts[n]) / (int64_t)(n + 1);
    }
    if (grams != (int64_t)v->grams)
        return sinter_eval_error(eval, "the pool has %" PRId64 " n-grams, ngram_indexes names %zu",
                                 grams, v->grams);
    for (size_t i = 0; i < v->grams; i++) {
        if (v->columns[i] < 0 || v->columns[i] > INT32_MAX)
            return sinter_eval_error(eval, "ngram_indexes holds %" PRId64, v->columns[i]);
        if (v->columns[i] + 1 > v->width) v->width = v->columns[i] + 1;
    }
    return true;
}

/* counts[gram] of one row: how often its items stand `distance` apart, for each distance allowed; single items are
 * counted once. */
static void count_grams(const vectorizer *v, int64_t first, int64_t length, double *counts) {
    int64_t gram = 0;
    for (size_t n = 0; n < v->lengths; n++) {
        int64_t size = (int64_t)n + 1, end = n + 1 < v->lengths ? v->starts[n + 1] : v->pool;
        for (int64_t entry = v->starts[n]; entry + size <= end; entry += size, gram++) {
            if (size < v->shortest || size > v->longest) continue;
            int64_t distances = size == 1 ? 1 : v->skips + 1;
            for (int64_t distance = 1; distance <= distances; distance++) {
                for (int64_t i = 0; i + (size - 1) * distance < length; i++) {
                    int64_t k = 0;
                    while (k < size && is_entry(v, first + i + k * distance, entry + k)) k++;
                    if (k == size) counts[gram]++;
                }
            }
        }
    }
}

bool eval_tfidf_vectorizer(sinter_eval *eval) {
    vectorizer v = {.x = eval->operands[0],
                    .shortest = sinter_eval_int(eval, "min_gram_length"),
                    .longest = sinter_eval_int(eval, "max_gram_length"),
                    .skips = sinter_eval_int(eval, "max_skip_count")};
    v.lengths = sinter_eval_ints_attr(eval, "ngram_counts", &v.starts);
    v.grams = sinter_eval_ints_attr(eval, "ngram_indexes", &v.columns);
    if (!sinter_eval_expect_rank(eval, 0, 1, 2) || !read_pool(eval, &v)) return false;
    if (v.skips < 0 || v.skips > INT32_MAX)
        return sinter_eval_error(eval, "max_skip_count is wrong");
    bool idf = sinter_eval_string_is(eval, "mode", "IDF");
    bool weighs = idf || sinter_eval_string_is(eval, "mode", "TFIDF");
    if (!weighs && !sinter_eval_string_is(eval, "mode", "TF"))
        return sinter_eval_error(eval, "unknown mode '%.*s'",
                                 SINTER_STRING_ARGS(sinter_eval_string(eval, "mode")));
    const double *weights;
    size_t weight_count = sinter_node_get_floats(eval->module, eval->node, "weights", &weights);
    if (weight_count && weight_count != v.grams)
        return sinter_eval_error(eval, "there are %zu weights, expected %zu", weight_count,
                                 v.grams);
    int64_t rows = v.x->rank == 2 ? v.x->dims[0] : 1, length = v.x->dims[v.x->rank - 1];
    int64_t dims[2] = {rows, v.width};
    sinter_tensor *y =
        sinter_eval_create(eval, 0, SINTER_DTYPE_f32, v.x->rank, dims + (v.x->rank == 1));
    if (!y) return false;
    double *counts = SINTER_NEW_ARRAY(eval->scratch, double, v.grams + 1);
    double *sums = SINTER_NEW_ARRAY(eval->scratch, double, rows *v.width + 1);
    for (int64_t row = 0; row < rows; row++) {
        memset(counts, 0, v.grams * sizeof *counts);
        count_grams(&v, row * length, length, counts);
        for (size_t g = 0; g < v.grams; g++) {
            double count = idf ? counts[g] > 0 : counts[g];
            sums[row * v.width + v.columns[g]] +=
                weighs && weight_count ? count * weights[g] : count;
        }
    }
    sinter_eval_store_doubles(y, sums);
    return true;
}
