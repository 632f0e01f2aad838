/* What was measured to be fastest where the schedule of a kernel has a choice, instead of what the cost model says.
 *
 * A kernel is known by the hash of its loops as lowering made them, without names: one file serves all models that have the
 * kernel, on the target that it was measured for. Its schedule asks questions in an order that the answers before decide; a
 * choice is the answer to the question of that number. Schedules keep every value, so that such a choice changes the time of a
 * kernel and nothing else. Passes ask about layers (ir/chooser.h), one question each: whether a convolution is Winograd's, which
 * rounds in another way, and what comes by rows. Made by runtime/jit/tune.h, read by the schedules of schedule/cpu/ and, through
 * a chooser, by passes. The file:
 *   tuning "cpu:znver5"
 *   layer 0x4be0a1c4f1e5a3b7 { 0 winograd "direct" } // anything
 *   kernel 0x81d20cc4f1e5a3b7 { 0 tile "6x32" 1 columns "outside" }
 * Test: tests/unit/tuning_test.c, tests/cli/tune.test, tests/fuzz/tuning_fuzz.c */
#pragma once
#include "ir/base/diag.h"
#include "ir/base/vector.h"
#include "ir/chooser.h"

enum { SINTER_TUNING_WORD = SINTER_CHOOSER_WORD }; /* bytes of a question or an answer, with the NUL */
typedef struct sinter_tuning_choice {
    uint32_t number; /* of the question, counted from 0 in its kernel */
    char question[SINTER_TUNING_WORD], answer[SINTER_TUNING_WORD];
} sinter_tuning_choice;
typedef SINTER_VECTOR(sinter_tuning_choice) sinter_tuning_choices;

typedef struct sinter_tuning sinter_tuning;
/* target: the text of the target (sinter_target) that it is for; copied. */
sinter_tuning *sinter_tuning_create(const char *target);
void sinter_tuning_destroy(sinter_tuning *tuning); /* NULL allowed */
/* NULL after an error at "path:line:column". */
sinter_tuning *sinter_tuning_read(const char *path, sinter_diag *diag);
/* The same from text; path: for messages. */
sinter_tuning *sinter_tuning_parse(const char *path, const char *text, size_t size, sinter_diag *diag);
void sinter_tuning_print(const sinter_tuning *tuning, sinter_text *text);
const char *sinter_tuning_target(const sinter_tuning *tuning);
size_t sinter_tuning_count(const sinter_tuning *tuning); /* kernels and layers with choices */
/* In order of their numbers; NULL: the kernel has none. */
const sinter_tuning_choices *sinter_tuning_find(const sinter_tuning *tuning, uint64_t kernel);
/* In place of what it had; none: forgets the kernel. comment: for readers of the file, one line, or NULL. Both are copied. */
void sinter_tuning_set(sinter_tuning *tuning, uint64_t kernel, const sinter_tuning_choices *choices, const char *comment);
/* The same of a layer; found as kernels are. */
void sinter_tuning_set_layer(sinter_tuning *tuning, uint64_t layer, const sinter_tuning_choices *choices, const char *comment);

/* ---- what a schedule asked ---- */
typedef struct sinter_tuning_question {
    char question[SINTER_TUNING_WORD];
    char (*answers)[SINTER_TUNING_WORD]; /* the cost model's first */
    uint32_t answer_count, chosen;
} sinter_tuning_question;
typedef struct sinter_tuning_kernel {
    uint64_t kernel; /* hash */
    SINTER_VECTOR(sinter_tuning_question) questions;
} sinter_tuning_kernel;
/* What passes asked about all layers that are alike. */
typedef struct sinter_tuning_layer {
    uint64_t layer; /* hash */
    sinter_tuning_question question;
    SINTER_VECTOR(const char *) locations; /* of their nodes */
} sinter_tuning_layer;
/* Of each kernel of a program, in its order, and of each layer as it was first asked about. Zeroed, with an arena of the caller's,
 * before sinter_schedule_cpu and passes fill it. */
typedef struct sinter_tuning_log {
    sinter_arena *arena;
    SINTER_VECTOR(sinter_tuning_kernel) kernels;
    SINTER_VECTOR(sinter_tuning_layer) layers;
} sinter_tuning_log;

/* The number of the chosen answer; 0, with a warning at `where`, where it is none of these. choice NULL: 0. */
uint32_t sinter_tuning_answer(const sinter_tuning_choice *choice, const char *question, const sinter_chooser_answer *answers,
                              uint32_t count, const char *where, sinter_diag *diag);
/* For a log. */
sinter_tuning_question sinter_tuning_describe(sinter_arena *arena, const char *question, const sinter_chooser_answer *answers,
                                              uint32_t count, uint32_t chosen);

/* Answers passes, and logs what they ask. */
typedef struct sinter_tuning_layers {
    const sinter_tuning *tuning; /* NULL: the cost model's answers */
    sinter_tuning_log *log;      /* NULL: none */
    sinter_diag *diag;
} sinter_tuning_layers;
sinter_chooser sinter_tuning_chooser(sinter_tuning_layers *layers); /* which must outlive it */
