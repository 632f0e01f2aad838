/* What was measured to be fastest where the schedule of a kernel has a choice, instead of what the cost model says.
 *
 * A kernel is known by the hash of its loops as lowering made them, without names: one file serves all models that have the
 * kernel, on the target that it was measured for. Its schedule asks questions in an order that the answers before decide; a
 * choice is the answer to the question of that number. Schedules keep every value, so that a tuning changes the time of a
 * kernel and nothing else. Made by runtime/jit/tune.h, read by the schedules of schedule_cpu*.c. The file:
 *   tuning "cpu:znver5"
 *   kernel 0x81d20cc4f1e5a3b7 { 0 tile "6x32" 1 columns "outside" } // anything
 * Test: tests/unit/tuning_test.c, tests/cli/tune.test, tests/fuzz/tuning_fuzz.c */
#pragma once
#include "ir/base/diag.h"
#include "ir/base/vector.h"

enum { SINTER_TUNING_WORD = 24 }; /* bytes of a question or an answer, with the NUL */
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
size_t sinter_tuning_count(const sinter_tuning *tuning); /* kernels with choices */
/* In order of their numbers; NULL: the kernel has none. */
const sinter_tuning_choices *sinter_tuning_find(const sinter_tuning *tuning, uint64_t kernel);
/* In place of what it had; none: forgets the kernel. comment: for readers of the file, one line, or NULL. Both are copied. */
void sinter_tuning_set(sinter_tuning *tuning, uint64_t kernel, const sinter_tuning_choices *choices, const char *comment);

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
/* Of each kernel of a program, in its order. Zeroed, with an arena of the caller's, before sinter_schedule_cpu fills it. */
typedef struct sinter_tuning_log {
    sinter_arena *arena;
    SINTER_VECTOR(sinter_tuning_kernel) kernels;
} sinter_tuning_log;
