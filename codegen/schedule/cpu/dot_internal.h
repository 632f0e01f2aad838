/* What recognises and rewrites sums of products of narrow elements (dot.c, taps.c). Private to these.
 * Test: tests/codegen/schedule/dot.loops */
#pragma once
#include "codegen/schedule/cpu/constant.h"
#include "codegen/schedule/cpu/dot.h"
#include "codegen/schedule/internal.h"

enum { SINTER_DOT_BYTES = 4 }; /* of a word */

/* What is multiplied, and what makes so many products at a time; none: they are made one by one, and a word of b is for its fields alone.
 * Widening a vector of bf16 takes two instructions where lanes are moved apart, those of a word a shift and a mask. */
typedef struct sinter_cpu_dot_kind {
    sinter_dtype a, b, sum;
    int64_t fields;
    sinter_loop_intrinsic intrinsic;
} sinter_cpu_dot_kind;

typedef struct sinter_cpu_dot {
    sinter_schedule_cpu_state *state;
    const sinter_cpu_dot_kind *kind;
    sinter_loop_builder build;
    sinter_loop_stmt *loop;   /* innermost reduction */
    sinter_loop_stmt *around; /* the loop around it that goes on where it ends; NULL: none */
    sinter_loop_stmt *assign; /* its body */
    sinter_expr a, b;         /* loads of the kind's types */
    sinter_expr row;          /* first row of a, where there is a loop around */
    uint32_t b_dim;           /* indexed by the loop's variable */
    uint32_t b_row;           /* by that of the loop around */
    int64_t steps, count; /* of the loop, 0 where the run alone knows; of the loop around or 1 */
    bool
        open; /* steps are no whole words, or it is not known: only with words that are made once */
    sinter_expr end; /* where it is open: of all steps, of which the loop may take a chunk */
    bool made;       /* b is no constant: its words are made where they are read, */
    sinter_loop_buffer
        words; /* or, where this is not 0, once for all rows: scratch [word, column] */
    int64_t shared; /* words of bytes that one word of the constant has; more than 1: their numbers are too large by a power of two */
    bool is_plain;  /* or as they are: none is negative */
} sinter_cpu_dot;

/* The body of the loop is  acc = acc + product  of loads that some kind multiplies: sets kind, a and b. */
bool sinter_cpu_dot_match_product(sinter_cpu_dot *d);
/* One dim of b is the loop's variable itself, the others do not depend on it. *out_count: size of the dim. */
bool sinter_cpu_dot_find_dim(const sinter_cpu_dot *d, const sinter_loop_stmt *loop, uint32_t *out_dim, int64_t *out_count);
/* The loop takes steps of one from 0 to size. */
bool sinter_cpu_dot_goes_over(const sinter_loop_stmt *loop, int64_t size);
/* Words of a column; known steps alone. */
int64_t sinter_cpu_dot_word_count(const sinter_cpu_dot *d);
/* b, a constant of this kernel alone, becomes words for every call. */
bool sinter_cpu_dot_replace_constants(sinter_cpu_dot *d);

/* ---- numbers of few bits (dot_bits.c) ---- */
/* How many words of the constant, which are not made yet, become one: sets `shared` where its numbers need few bits. */
void sinter_cpu_dot_share_words(sinter_cpu_dot *d, const sinter_cpu_nest *nest);
/* Puts a number into its byte, 0 at first, of word `index` of those that share one. */
void sinter_cpu_dot_pack_field(const sinter_cpu_dot *d, int64_t index, uint8_t number, uint8_t *byte);
/* The first word of bytes of word `index` of the constant; the last one may begin among those of the one before, with zeros for them. */
int64_t sinter_cpu_dot_first_word(const sinter_cpu_dot *d, int64_t index);
/* Word `index` of those that share this one, its numbers too large, or plain. */
sinter_expr sinter_cpu_dot_field(sinter_cpu_dot *d, sinter_expr word, int64_t index);
/* What is behind the reduction reads the sum as it ought to be. */
void sinter_cpu_dot_scale_back(sinter_cpu_dot *d, const sinter_cpu_nest *nest);

/* ---- words of operands of the run (words.c) ---- */
/* Words of so many steps, the last one included that is not whole. */
sinter_expr sinter_cpu_dot_words_of(sinter_cpu_dot *d, sinter_expr steps);
/* Four bytes of one column of b as one i32; the same from scratch, where all words are made already. */
sinter_expr sinter_cpu_dot_make_word(sinter_cpu_dot *d, sinter_expr first);
sinter_expr sinter_cpu_dot_load_made(sinter_cpu_dot *d, sinter_expr index);
/* The loop in front of which all words of b, a matrix that loops around the nest choose, can be made for all that is in it; 0: there is none. */
sinter_loop_var sinter_cpu_dot_find_words_place(sinter_cpu_dot *d, const sinter_cpu_nest *nest);
/* Scratch [word, column] with all words of b, before the loops that read them again and again, where that takes the least time: sets words. */
void sinter_cpu_dot_write_words(sinter_cpu_dot *d, const sinter_cpu_nest *nest);
