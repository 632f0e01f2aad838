/* Sums of products of bytes and halves, several steps at a time. Private to codegen/schedule/cpu/.
 * Test: tests/codegen/schedule/dot.loops, tests/codegen/schedule/start.loops */
#pragma once
#include "codegen/schedule/cpu/accumulator.h"

/* ---- what sums start with (start.c) ---- */
/* What is added to the accumulator of the nest after its reduction becomes what it starts with. */
void sinter_cpu_start_with_sums(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest);

/* ---- products (dot.c) ---- */
/* Sums of products of bytes four steps at a time, of bf16 two, where the nest is of that form and the target has dots. */
bool sinter_cpu_use_dots(sinter_schedule_cpu_state *state, sinter_cpu_nest *nest);

/* The loop in front of which words of the operand of the columns may be made once for all rows, as sinter_cpu_use_dots would where that
 * pays; 0: none, or words are not what it would make of the nest. open: they can't be made in tiles, their number is the run's. */
sinter_loop_var sinter_cpu_find_words_place(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, bool *out_open);

/* The same across taps of a window, whose bytes come from different rows, where both are elements of the column (taps.c). */
bool sinter_cpu_use_tap_dots(sinter_schedule_cpu_state *state, sinter_cpu_nest *nest);

/* The products of a nest with one reduction, before anything is changed. */
typedef struct sinter_cpu_dots {
    sinter_loop_var loop; /* the reduction */
    sinter_expr a, b;     /* loads of u8, which lie along it, and of i8 of a constant */
    uint32_t b_dim;       /* of b, indexed by the loop */
    int64_t steps;        /* whole words */
} sinter_cpu_dots;
bool sinter_cpu_find_dots(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_cpu_dots *out_dots);
/* Four bytes of a from step `first` on as one i32. */
sinter_expr sinter_cpu_load_word(sinter_schedule_cpu_state *state, const sinter_cpu_dots *dots, sinter_expr first);

/* ---- words of operands of the run (words.c) ---- */
typedef enum sinter_cpu_words {
    SINTER_CPU_WORDS_NONE,     /* bytes are multiplied one by one */
    SINTER_CPU_WORDS_IN_TILES, /* each tile of rows makes them where it reads them */
    SINTER_CPU_WORDS_AHEAD,    /* all are made once */
} sinter_cpu_words;
/* What the rows of the loop need the least time with. whole: tiles can make words. */
sinter_cpu_words sinter_cpu_choose_words(const sinter_schedule_cpu_state *state, sinter_loop_var row, bool whole);
/* Four bytes, of either sign, as one i32, the first in the low bits. */
sinter_expr sinter_cpu_join_bytes(sinter_loop_builder *build, const sinter_expr *bytes);
/* Where the run alone knows how many rows share the words that nests in the loop's body would make ahead, it chooses: the body, or a copy
 * of it for so few rows that other forms take less time. */
void sinter_cpu_fork_few_rows(sinter_schedule_cpu_state *state, sinter_loop_var loop);
