/* Tables of measured choices, and their file. Test: tests/unit/tuning_test.c */
#include "codegen/tuning.h"
#include "ir/base/file.h"
#include "ir/base/lex.h"
#include "ir/base/map.h"

#include <stdio.h>
#include <string.h>

typedef struct entry {
    uint64_t kernel;
    sinter_tuning_choices choices;
    const char *comment;
    bool is_layer;
} entry;

struct sinter_tuning {
    sinter_arena arena;
    const char *target;
    SINTER_VECTOR(entry) entries; /* in the order in which they came */
    sinter_map index;
};

sinter_tuning *sinter_tuning_create(const char *target) {
    sinter_tuning *tuning = sinter_heap_alloc(sizeof *tuning);
    sinter_arena_init(&tuning->arena);
    sinter_map_init(&tuning->index, &tuning->arena);
    tuning->target = sinter_arena_copy_string(&tuning->arena, target, strlen(target));
    return tuning;
}

void sinter_tuning_destroy(sinter_tuning *tuning) {
    if (!tuning) return;
    sinter_arena_deinit(&tuning->arena);
    sinter_heap_free(tuning);
}

const char *sinter_tuning_target(const sinter_tuning *tuning) {
    return tuning->target;
}

size_t sinter_tuning_count(const sinter_tuning *tuning) {
    size_t count = 0;
    for (size_t i = 0; i < tuning->entries.count; i++)
        count += tuning->entries.items[i].choices.count > 0;
    return count;
}

const sinter_tuning_choices *sinter_tuning_find(const sinter_tuning *tuning, uint64_t kernel) {
    uint64_t at;
    if (!sinter_map_find(&tuning->index, kernel, &at)) return NULL;
    const sinter_tuning_choices *choices = &tuning->entries.items[at].choices;
    return choices->count ? choices : NULL;
}

static entry *set(sinter_tuning *tuning, uint64_t kernel, const sinter_tuning_choices *choices,
                  const char *comment) {
    uint64_t at;
    if (!sinter_map_find(&tuning->index, kernel, &at)) {
        at = tuning->entries.count;
        sinter_vector_push(&tuning->arena, &tuning->entries, (entry){.kernel = kernel});
        sinter_map_put(&tuning->index, kernel, at);
    }
    entry *e = &tuning->entries.items[at];
    e->choices.count = 0;
    for (size_t i = 0; i < choices->count; i++)
        sinter_vector_push(&tuning->arena, &e->choices, choices->items[i]);
    e->comment =
        comment ? sinter_arena_copy_string(&tuning->arena, comment, strlen(comment)) : NULL;
    return e;
}

void sinter_tuning_set(sinter_tuning *tuning, uint64_t kernel, const sinter_tuning_choices *choices,
                       const char *comment) {
    set(tuning, kernel, choices, comment)->is_layer = false;
}

void sinter_tuning_set_layer(sinter_tuning *tuning, uint64_t layer,
                             const sinter_tuning_choices *choices, const char *comment) {
    set(tuning, layer, choices, comment)->is_layer = true;
}

/* ---- what is asked ---- */

uint32_t sinter_tuning_answer(const sinter_tuning_choice *choice, const char *question,
                              const sinter_chooser_answer *answers, uint32_t count,
                              const char *where, sinter_diag *diag) {
    uint32_t chosen = 0;
    if (!choice) return 0;
    while (chosen < count && strcmp(answers[chosen].text, choice->answer)) chosen++;
    if (chosen < count && !strcmp(question, choice->question)) return chosen;
    sinter_warning(diag, where,
                   "the tuning answers question %u with %s = %s, which is no choice here: "
                   "another version of sinter measured it",
                   choice->number, choice->question, choice->answer);
    return 0;
}

sinter_tuning_question sinter_tuning_describe(sinter_arena *arena, const char *question,
                                              const sinter_chooser_answer *answers, uint32_t count,
                                              uint32_t chosen) {
    sinter_tuning_question asked = {.answer_count = count, .chosen = chosen};
    snprintf(asked.question, sizeof asked.question, "%s", question);
    asked.answers = sinter_arena_alloc_array(arena, count, sizeof *asked.answers);
    for (uint32_t i = 0; i < count; i++)
        memcpy(asked.answers[i], answers[i].text, sizeof answers[i].text);
    return asked;
}

static void log_layer(sinter_tuning_log *log, const sinter_chooser_question *question,
                      uint32_t chosen) {
    sinter_tuning_layer *layer = NULL;
    for (size_t i = 0; i < log->layers.count && !layer; i++)
        if (log->layers.items[i].layer == question->layer) layer = &log->layers.items[i];
    if (!layer) {
        const sinter_tuning_layer fresh = {
            .layer = question->layer,
            .question = sinter_tuning_describe(log->arena, question->text, question->answers,
                                               question->answer_count, chosen)};
        sinter_vector_push(log->arena, &log->layers, fresh);
        layer = &log->layers.items[log->layers.count - 1];
    }
    for (uint32_t i = 0; i < question->location_count; i++) {
        const char *location = question->locations[i];
        if (location)
            sinter_vector_push(log->arena, &layer->locations,
                               sinter_arena_copy_string(log->arena, location, strlen(location)));
    }
}

static uint32_t choose_layer(void *user, const sinter_chooser_question *question) {
    const sinter_tuning_layers *layers = user;
    const sinter_tuning_choices *choices =
        layers->tuning ? sinter_tuning_find(layers->tuning, question->layer) : NULL;
    const char *where = question->location_count ? question->locations[0] : NULL;
    uint32_t chosen =
        sinter_tuning_answer(choices ? &choices->items[0] : NULL, question->text, question->answers,
                             question->answer_count, where ? where : question->text, layers->diag);
    if (layers->log) log_layer(layers->log, question, chosen);
    return chosen;
}

sinter_chooser sinter_tuning_chooser(sinter_tuning_layers *layers) {
    return (sinter_chooser){.user = layers, .choose = choose_layer};
}

/* ---- the file ---- */

void sinter_tuning_print(const sinter_tuning *tuning, sinter_text *text) {
    sinter_text_append_string(text, "tuning ");
    sinter_text_quote(text, sinter_string_of(tuning->target));
    sinter_text_append_string(text, "\n");
    for (size_t i = 0; i < tuning->entries.count; i++) {
        const entry *e = &tuning->entries.items[i];
        if (!e->choices.count) continue;
        sinter_text_format(text, "%s 0x%016llx {", e->is_layer ? "layer" : "kernel",
                           (unsigned long long)e->kernel);
        for (size_t k = 0; k < e->choices.count; k++) {
            const sinter_tuning_choice *choice = &e->choices.items[k];
            sinter_text_format(text, " %u %s ", choice->number, choice->question);
            sinter_text_quote(text, sinter_string_of(choice->answer));
        }
        sinter_text_append_string(text, " }");
        if (e->comment) {
            sinter_text_append_string(text, " // ");
            sinter_text_printable(text, sinter_string_of(e->comment), "");
        }
        sinter_text_append_string(text, "\n");
    }
}

static bool copy_word(sinter_lexer *lexer, sinter_string word, char *out_word) {
    if (!word.size || word.size >= SINTER_TUNING_WORD || memchr(word.data, 0, word.size))
        return sinter_lexer_error(lexer, "expected a word of 1 to %d bytes",
                                  SINTER_TUNING_WORD - 1);
    memcpy(out_word, word.data, word.size);
    out_word[word.size] = 0;
    return true;
}

static bool parse_choice(sinter_lexer *lexer, uint32_t least, sinter_tuning_choice *out_choice) {
    sinter_string question, answer;
    *out_choice = (sinter_tuning_choice){0};
    if (lexer->token.kind != SINTER_TOKEN_INTEGER || lexer->token.integer < least ||
        lexer->token.integer >= UINT32_MAX)
        return sinter_lexer_error(lexer, "expected the number of a question, from %u on", least);
    out_choice->number = (uint32_t)lexer->token.integer;
    sinter_lexer_next(lexer);
    return sinter_lexer_expect_identifier(lexer, &question) &&
           copy_word(lexer, question, out_choice->question) &&
           sinter_lexer_expect_string(lexer, &answer) &&
           copy_word(lexer, answer, out_choice->answer);
}

static bool parse_kernel(sinter_lexer *lexer, sinter_tuning *tuning) {
    sinter_tuning_choices choices = {0};
    bool is_layer = sinter_lexer_accept(lexer, "layer");
    if (!is_layer && !sinter_lexer_expect(lexer, "kernel")) return false;
    if (lexer->token.kind != SINTER_TOKEN_HEX || lexer->token.text.size > 16)
        return sinter_lexer_error(lexer, "expected the hash of a kernel, 0x and 16 digits");
    uint64_t kernel = lexer->token.integer, known;
    if (sinter_map_find(&tuning->index, kernel, &known))
        return sinter_lexer_error(lexer, "this kernel was there before");
    sinter_lexer_next(lexer);
    if (!sinter_lexer_expect(lexer, "{")) return false;
    for (uint32_t least = 0; !sinter_lexer_accept(lexer, "}");) {
        sinter_tuning_choice choice;
        if (!parse_choice(lexer, least, &choice)) return false;
        sinter_vector_push(lexer->arena, &choices, choice);
        least = choice.number + 1;
    }
    set(tuning, kernel, &choices, NULL)->is_layer = is_layer;
    return true;
}

sinter_tuning *sinter_tuning_parse(const char *path, const char *text, size_t size,
                                   sinter_diag *diag) {
    sinter_arena arena;
    sinter_lexer lexer;
    sinter_string target;
    sinter_tuning *tuning = NULL;
    sinter_arena_init(&arena);
    sinter_lexer_init(&lexer, path, text, size, &arena, diag);
    bool good =
        sinter_lexer_expect(&lexer, "tuning") && sinter_lexer_expect_string(&lexer, &target);
    if (good && memchr(target.data, 0, target.size))
        good = sinter_lexer_error(&lexer, "expected a target without NUL");
    if (good) tuning = sinter_tuning_create(sinter_string_copy(&arena, target).data);
    while (good && lexer.token.kind != SINTER_TOKEN_END) good = parse_kernel(&lexer, tuning);
    sinter_arena_deinit(&arena);
    if (good) return tuning;
    sinter_tuning_destroy(tuning);
    return NULL;
}

sinter_tuning *sinter_tuning_read(const char *path, sinter_diag *diag) {
    sinter_text text = {0};
    if (!sinter_file_read_text(path, &text, diag)) return NULL;
    sinter_tuning *tuning = sinter_tuning_parse(path, text.data, text.size, diag);
    sinter_text_deinit(&text);
    return tuning;
}
