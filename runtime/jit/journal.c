/* Journals as text. Test: tests/unit/journal_test.c, tests/fuzz/journal_fuzz.c */
#include "runtime/jit/journal.h"
#include "ir/base/file.h"
#include "ir/base/lex.h"
#include "ir/base/map.h"
#include "ir/base/vector.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

enum { VERSION = 1, KEY_BYTES = 17 };

typedef struct entry {
    sinter_string name;
    double values[SINTER_JOURNAL_VALUES];
    size_t count;
} entry;

struct sinter_journal {
    sinter_arena arena;
    const char *path; /* NULL: no file */
    char key[KEY_BYTES];
    SINTER_VECTOR(entry) entries;
    sinter_map places; /* by name: the number of the entry */
};

static sinter_journal *create(void) {
    sinter_journal *journal = sinter_heap_alloc(sizeof *journal);
    *journal = (sinter_journal){0};
    sinter_arena_init(&journal->arena);
    sinter_map_init(&journal->places, &journal->arena);
    return journal;
}

sinter_journal *sinter_journal_create(uint64_t key) {
    sinter_journal *journal = create();
    snprintf(journal->key, sizeof journal->key, "%016llx", (unsigned long long)key);
    return journal;
}

void sinter_journal_destroy(sinter_journal *journal) {
    if (!journal) return;
    sinter_arena_deinit(&journal->arena);
    sinter_heap_free(journal);
}

static void append(sinter_journal *journal, entry added) {
    added.name = sinter_string_copy(&journal->arena, added.name);
    sinter_map_put_string(&journal->places, added.name, journal->entries.count);
    sinter_vector_push(&journal->arena, &journal->entries, added);
}

/* ---- reading ---- */

static bool parse_head(sinter_journal *journal, sinter_lexer *lexer) {
    const char *start = lexer->token.position;
    int64_t version = 0;
    sinter_string key;
    if (!sinter_lexer_expect(lexer, "sinter_journal")) return false;
    const char *at_version = lexer->token.position;
    if (!sinter_lexer_expect_integer(lexer, &version)) return false;
    if (version != VERSION)
        return sinter_lexer_error_at(lexer, at_version, "expected version %d, found %lld", VERSION,
                                     (long long)version);
    if (!sinter_lexer_expect_string(lexer, &key)) return false;
    bool right = key.size == KEY_BYTES - 1;
    for (size_t i = 0; i < key.size && right; i++) right = sinter_hex_digit(key.data[i]) >= 0;
    if (!right) return sinter_lexer_error_at(lexer, start, "expected a key of 16 hex digits");
    memcpy(journal->key, key.data, key.size);
    return true;
}

static bool parse_entry(sinter_journal *journal, sinter_lexer *lexer) {
    const char *start = lexer->token.position;
    entry added = {0};
    uint64_t place;
    if (!sinter_lexer_expect_string(lexer, &added.name) || !sinter_lexer_expect(lexer, "="))
        return false;
    if (sinter_map_find_string(&journal->places, added.name, &place))
        return sinter_lexer_error_at(lexer, start, "the measurement is there twice");
    while (lexer->token.kind != SINTER_TOKEN_STRING && lexer->token.kind != SINTER_TOKEN_END) {
        const char *at = lexer->token.position;
        if (added.count == SINTER_JOURNAL_VALUES)
            return sinter_lexer_error(lexer, "expected at most %d numbers", SINTER_JOURNAL_VALUES);
        if (!sinter_lexer_expect_number(lexer, &added.values[added.count])) return false;
        if (!isfinite(added.values[added.count++]))
            return sinter_lexer_error_at(lexer, at, "expected a finite number");
    }
    append(journal, added);
    return true;
}

sinter_journal *sinter_journal_parse(const char *path, const char *text, size_t size,
                                     sinter_diag *diag) {
    sinter_journal *journal = create();
    sinter_lexer lexer;
    sinter_lexer_init(&lexer, path, text, size, &journal->arena, diag);
    bool good = parse_head(journal, &lexer);
    while (good && lexer.token.kind != SINTER_TOKEN_END) good = parse_entry(journal, &lexer);
    if (good) return journal;
    sinter_journal_destroy(journal);
    return NULL;
}

static sinter_journal *read_journal(const char *path, const char *key, sinter_diag *diag) {
    sinter_text text = {0};
    sinter_journal *journal = NULL;
    if (sinter_file_read_text(path, &text, diag))
        journal = sinter_journal_parse(path, text.data ? text.data : "", text.size, diag);
    sinter_text_deinit(&text);
    if (journal && strcmp(journal->key, key) != 0) {
        sinter_error(diag, path, "is of another search: its key is %s", journal->key);
        sinter_journal_destroy(journal);
        journal = NULL;
    }
    if (!journal) sinter_note(diag, "", "remove the file to measure anew");
    return journal;
}

sinter_journal *sinter_journal_open(const char *folder, uint64_t key, sinter_diag *diag) {
    struct stat info;
    sinter_text path = {0};
    sinter_journal *journal = sinter_journal_create(key);
    sinter_text_format(&path, "%s/%s.journal", folder, journal->key);
    bool good = sinter_file_ensure_folder(folder, diag);
    if (good && !stat(path.data, &info)) {
        sinter_journal *found = read_journal(path.data, journal->key, diag);
        sinter_journal_destroy(journal);
        journal = found;
    } else if (!good) {
        sinter_journal_destroy(journal);
        journal = NULL;
    }
    if (journal) journal->path = sinter_arena_copy_string(&journal->arena, path.data, path.size);
    sinter_text_deinit(&path);
    return journal;
}

/* ---- writing ---- */

void sinter_journal_print(const sinter_journal *journal, sinter_text *text) {
    sinter_text_format(text, "sinter_journal %d \"%s\"\n", VERSION, journal->key);
    for (size_t i = 0; i < journal->entries.count; i++) {
        const entry *e = &journal->entries.items[i];
        sinter_text_quote(text, e->name);
        sinter_text_append_string(text, " =");
        for (size_t k = 0; k < e->count; k++) {
            sinter_text_append_string(text, " ");
            sinter_text_double(text, e->values[k]);
        }
        sinter_text_append_string(text, "\n");
    }
}

size_t sinter_journal_count(const sinter_journal *journal) {
    return journal->entries.count;
}

const char *sinter_journal_name(const sinter_journal *journal, size_t index) {
    return journal->entries.items[index].name.data;
}

bool sinter_journal_find(const sinter_journal *journal, const char *name, double *out_values,
                         size_t count, bool *out_good, sinter_diag *diag) {
    uint64_t place;
    *out_good = true;
    if (!sinter_map_find_string(&journal->places, sinter_string_of(name), &place)) return false;
    const entry *e = &journal->entries.items[place];
    if (e->count != count) {
        *out_good = sinter_error(diag, journal->path ? journal->path : "journal",
                                 "'%s': expected %zu numbers, found %zu", name, count, e->count);
        sinter_note(diag, "", "remove the file to measure anew");
        return false;
    }
    for (size_t i = 0; i < count; i++) out_values[i] = e->values[i];
    return true;
}

bool sinter_journal_add(sinter_journal *journal, const char *name, const double *values,
                        size_t count, sinter_diag *diag) {
    entry added = {.name = sinter_string_of(name), .count = count};
    assert(count <= SINTER_JOURNAL_VALUES);
    for (size_t i = 0; i < count; i++) {
        assert(isfinite(values[i]));
        added.values[i] = values[i];
    }
    append(journal, added);
    if (!journal->path) return true;
    sinter_text text = {0};
    sinter_journal_print(journal, &text);
    bool good = sinter_file_write(journal->path, text.data, text.size, diag);
    sinter_text_deinit(&text);
    return good;
}
