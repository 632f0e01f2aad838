/* What the files of the CPU schedule share. Private to codegen/schedule/cpu/.
 *
 * The dispatcher (cpu.c) goes over the kernels. In each, long sums of integers are cut into chunks and a recurrence takes in the
 * product in front of it; then nests with sums, which may be parts of others, are offered to sparse, contract and window; the nests
 * that are left, each in its part of the kernel, to reduce and elementwise, and where neither takes one, the loops inside of it. In the end
 * neighbours are joined, grains set, and scratch that no stack holds moves to the host. A schedule recognises its nests by their
 * shape alone, never by an op. It returns
 *   true:  the nest is done: this schedule decided about all of its loops, also about tails it split off;
 *   false: nothing was changed, the next schedule may look at it. A nest that nobody takes runs as serial loops.
 * What it does to loops are verbs of codegen/schedule/schedule.h as a rule, which keep every value. No verbs, for they go by what the target has or
 * change calls and constants along with the kernel, but as exact: words of bytes or halves for dots (dot, words), columns of blocks that are not zero
 * (sparse), sums that start with what is added to them (start), constants in another order or form (pack, constant), scratch of the host
 * (scratch), a kernel for one row (fork). Weights of few bits (bits) have a sum for each block, which rounds differently.
 * Test: tests/codegen/schedule/ */
#pragma once
#include "codegen/compile.h"
#include "codegen/loops/part.h"
#include "codegen/schedule/promise.h"
#include "codegen/schedule/schedule.h"
#include "codegen/tuning.h"

/* Words of bytes that a nest has had made in front of a loop (schedule/cpu/words.c). */
typedef struct sinter_cpu_made_words {
    uint32_t kernel;
    sinter_loop_var place; /* the loop */
    sinter_expr b;         /* the load of what they are made of */
    sinter_loop_buffer words;
} sinter_cpu_made_words;

typedef struct sinter_schedule_cpu_state {
    sinter_loop_program *program;
    const sinter_target *target;
    const sinter_schedule_options *options;
    sinter_diag *diag;
    uint32_t kernel; /* index in the program */
    const sinter_tuning_choices *choices; /* measured for this kernel, or NULL */
    uint32_t asked;                       /* questions of this kernel so far */
    sinter_schedule schedule; /* of this kernel's function, or of a part of it: */
    const sinter_loop_part *part; /* NULL: of all of it */
    bool flattened;               /* the kernel's parameters are flat, as far as they may be */
    bool failed;     /* an error went to diag */
    sinter_arena scratch;
    uint32_t *first_passed; /* of each kernel's parameters, and their end: places in `passed`, */
    uint8_t *passed;        /* what the calls pass for each, when scheduling begins (schedule/cpu/passed.c) */
    size_t constant_bytes;  /* of all constants then */
    SINTER_VECTOR(sinter_cpu_made_words) made_words;
    SINTER_VECTOR(sinter_loop_var) copies; /* loops of this kernel that copy an input to scratch: what a nest added, no part of it */
    sinter_schedule_promises promises; /* kept when all kernels are scheduled */
} sinter_schedule_cpu_state;

/* `nest`: variable of a top-level loop of the kernel. */
/* Products of bytes with constants that are mostly zero (schedule/cpu/sparse.c). */
bool sinter_schedule_cpu_sparse(sinter_schedule_cpu_state *state, sinter_loop_var nest);
/* A recurrence that waits for its weights takes in the product in front of it, before all others (schedule/cpu/weave.c). */
void sinter_schedule_cpu_weave(sinter_schedule_cpu_state *state);
/* By the cost model it would find one. */
bool sinter_schedule_cpu_would_weave(sinter_schedule_cpu_state *state);
/* Where one row of a batch of open size has such a schedule, and many have not, the host calls a kernel of its own for one; before any
 * kernel is scheduled (schedule/cpu/fork.c). */
void sinter_cpu_fork_kernels(sinter_schedule_cpu_state *state);
/* Sums of i64 of what is narrower go in chunks of i32, before anything else is chosen (schedule/cpu/sums.c). */
void sinter_schedule_cpu_narrow_sums(sinter_schedule_cpu_state *state);
/* Contractions: matrix products and convolutions of one tap, a reduction of products below two free loops. */
bool sinter_schedule_cpu_contract(sinter_schedule_cpu_state *state, sinter_loop_var nest);
/* Sliding windows: convolutions and pools. */
bool sinter_schedule_cpu_window(sinter_schedule_cpu_state *state, sinter_loop_var nest);
/* Reductions over the last axes, also several in a row (softmax, normalisations). */
bool sinter_schedule_cpu_reduce(sinter_schedule_cpu_state *state, sinter_loop_var nest);
/* The nest reduces rows that share nothing: no contraction, which would load elements of several rows into one vector. */
bool sinter_schedule_cpu_is_row(sinter_schedule_cpu_state *state, sinter_loop_var nest);
/* Independent iterations; the last one that is asked. The outermost loop of what it made of the nest. */
sinter_loop_var sinter_schedule_cpu_elementwise(sinter_schedule_cpu_state *state, sinter_loop_var nest);

/* Cuts a nest where its conditions change (schedule/cpu/border.c). How many nests it is then; 0: it is as it was. */
#define SINTER_SCHEDULE_MAX_PARTS 16
uint32_t sinter_schedule_cpu_cut_borders(sinter_schedule_cpu_state *state, sinter_loop_var nest, sinter_loop_var *out_parts);

/* ---- questions (schedule/cpu/choice.c) ---- */
typedef sinter_chooser_answer sinter_cpu_answer;
sinter_cpu_answer sinter_cpu_answer_make(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Before and after the kernel of state->kernel is scheduled. */
void sinter_cpu_begin_choices(sinter_schedule_cpu_state *state);
void sinter_cpu_end_choices(sinter_schedule_cpu_state *state);
/* Which of the answers holds: the one that was measured, else the first, which the cost model gives. question: one word. */
uint32_t sinter_cpu_choose(sinter_schedule_cpu_state *state, const char *question, const sinter_cpu_answer *answers,
                           uint32_t count);

/* A loop at the top of the kernel takes so long, as it is now, that a second thread gains by it; as far as that is known. The one place
 * that decides what runs in parallel (schedule/cpu/grain.c). */
bool sinter_cpu_is_worth_threads(sinter_schedule_cpu_state *state, sinter_loop_var loop);
/* Of the kernel's parallel loops, as they are in the end; those that are too short become serial (schedule/cpu/grain.c). */
void sinter_schedule_cpu_set_grains(sinter_schedule_cpu_state *state);

/* The kernel's parameters become flat, unless this is a part of it: then its nests have been asked. */
void sinter_schedule_cpu_flatten(sinter_schedule_cpu_state *state);
/* Which parameter of the kernel the buffer of the schedule's function is; false: it is none. */
bool sinter_cpu_find_parameter(const sinter_schedule_cpu_state *state, sinter_loop_buffer buffer, uint32_t *out_index);

/* Iterations of a loop; -1 where they are no number or there is no such loop (0). */
static inline int64_t sinter_cpu_trips(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    return sinter_schedule_trips(&state->schedule, loop);
}
/* At most, as far as ranges tell; -1 where they don't. */
int64_t sinter_cpu_most_trips(const sinter_schedule_cpu_state *state, sinter_loop_var loop);

/* Lanes of one vector of this element type, at least 1. */
uint32_t sinter_schedule_cpu_lanes(const sinter_target *target, sinter_dtype dtype);

/* ---- parts of these schedules (schedule/cpu/nest.c) ---- */
/* The loop, serial and with independent iterations, in vector lanes as far as that pays, with its tail. The loop over whole
 * vectors, or the loop itself where it stays. */
sinter_loop_var sinter_schedule_cpu_vectorize(sinter_schedule_cpu_state *state, sinter_loop_var loop);
/* A loop of the chain that is long enough goes to the outside and runs in parallel, if it is worth threads and nothing is
 * around the chain. columns: a loop inside of the chain that may take its place, over blocks of columns; 0: none. The outermost
 * loop now. */
sinter_loop_var sinter_schedule_cpu_parallelize(sinter_schedule_cpu_state *state, sinter_schedule_chain *chain,
                                                sinter_loop_var columns);
/* Instructions of the statement without the statements inside of it, roughly: at least one. */
int64_t sinter_schedule_cpu_instructions(const sinter_loop_stmt *stmt);
/* Some load of the loop's body reads the next element in the next iteration, and none jumps. */
bool sinter_schedule_cpu_streams(const sinter_schedule_cpu_state *state, sinter_loop_var loop);
/* There is little in the loop's body but loads of elements that are not next to each other: lanes gain nothing. */
bool sinter_schedule_cpu_jumps(const sinter_schedule_cpu_state *state, sinter_loop_var loop);
/* Some loop among the statements or inside of them is serial. */
bool sinter_cpu_has_serial(const sinter_loop_stmt *first);
/* A walk to loops that have no serial loop in them. */
typedef struct sinter_cpu_walk {
    const sinter_loop_stmt *path[SINTER_SCHEDULE_CHAIN_MAX]; /* loops around the one that is visited, and it itself, the last of `depth` */
    uint32_t depth;
    bool (*enters)(const sinter_loop_stmt *stmt); /* others are passed over, with what is in them */
    bool (*visit)(void *user, const sinter_loop_stmt *loop); /* false ends the walk, as it must where lists are no more what they were */
    void *user;
} sinter_cpu_walk;
/* False: it was ended. */
bool sinter_cpu_walk_innermost(sinter_cpu_walk *walk, const sinter_loop_stmt *first);
/* Lanes of one vector of the widest type in the loop's body. */
int64_t sinter_schedule_cpu_native_lanes(const sinter_schedule_cpu_state *state, sinter_loop_var loop);
/* An `if` on lanes becomes masks, for elements of every width. */
bool sinter_schedule_cpu_has_masks(const sinter_target *target);
