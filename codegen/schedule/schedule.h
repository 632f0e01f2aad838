/* Schedules: loop -> loop rewrites that keep what a kernel computes, and change in which order: bit for bit, but for the verbs that
 * schedule.def marks as adding in another order, and the blocks of schedule/cpu/bits.c. Each verb checks that it may, and otherwise
 * returns false, leaves the function as it was and says why in `reason`.
 * Loops are named by their variable; a verb that makes loops gives their variables. Targets choose among the verbs in
 * schedule_<target>.c; tests run them one by one (sinter-opt --loop-<verb>). Each has a row in schedule.def, and examples of the
 * greater ones are in docs/loops.md.
 * Test: tests/codegen/schedule/, tests/unit/loop_property_test.c */
#pragma once
#include "codegen/loops/rewrite.h"

typedef struct sinter_schedule {
    sinter_loop_program *program;
    sinter_loop_function *function;
    sinter_text reason; /* of the last refusal */
} sinter_schedule;
void sinter_schedule_init(sinter_schedule *schedule, sinter_loop_program *program, sinter_loop_function *function);
void sinter_schedule_deinit(sinter_schedule *schedule);

/* ---- finding ---- */
/* The loop whose variable has this name, "i", or the n-th of them in program order, "i#2"; 0 where there is none. */
sinter_loop_var sinter_schedule_find_loop(const sinter_loop_function *function, const char *name);
/* The same for declared variables and for buffers. */
sinter_loop_var sinter_schedule_find_var(const sinter_loop_function *function, const char *name);
sinter_loop_buffer sinter_schedule_find_buffer(const sinter_loop_function *function, const char *name);
sinter_loop_stmt *sinter_schedule_get_loop(const sinter_loop_function *function, sinter_loop_var var); /* NULL: none */
/* Its iterations; -1 where they are no number or there is no such loop (0). */
int64_t sinter_schedule_trips(const sinter_schedule *schedule, sinter_loop_var loop);

/* ---- loops ---- */
typedef enum sinter_schedule_tail {
    SINTER_TAIL_EXACT, /* the factor must divide the number of iterations, provably */
    SINTER_TAIL_GUARD, /* if i < upper around the body */
    SINTER_TAIL_PEEL   /* a loop of its own for what is left */
} sinter_schedule_tail;
/* for i in l..u -> for io in 0..n/factor { for ii in 0..factor { body of i = l + io * factor + ii } }; no tail where the factor
 * divides the count. The outer loop keeps the axis. out_tail: the loop of what is left, 0 where there is none. Any out may be NULL. */
bool sinter_schedule_split(sinter_schedule *schedule, sinter_loop_var loop, int64_t factor, sinter_schedule_tail tail,
                           sinter_loop_var *out_outer, sinter_loop_var *out_inner, sinter_loop_var *out_tail);
/* The same into `most` parts at most, of equal length and at least so many iterations, but for the last, which has what is left: the
 * factor follows from the count, also where the run alone knows it. The tail is a guard. */
bool sinter_schedule_split_parts(sinter_schedule *schedule, sinter_loop_var loop, int64_t most, int64_t least,
                                 sinter_loop_var *out_outer, sinter_loop_var *out_inner);
/* for i in l..u -> for i in l..min(u, at) and for i in max(l, at)..u. Bounds and conditions that hold in one part fold there. */
bool sinter_schedule_cut(sinter_schedule *schedule, sinter_loop_var loop, int64_t at, sinter_loop_var *out_first,
                         sinter_loop_var *out_second);
/* The same before the last `count` iterations, also where the run alone knows how many there are. */
bool sinter_schedule_cut_end(sinter_schedule *schedule, sinter_loop_var loop, int64_t count, sinter_loop_var *out_first,
                             sinter_loop_var *out_second);
/* for v { ... for k in max(l(v), 0)..min(u(v), 3) ... } -> if (nothing is clipped in any iteration of v) { the loop with k in 0..3 }
 * else { the loop as it was }. out_general: the loop of the else branch. */
bool sinter_schedule_specialize(sinter_schedule *schedule, sinter_loop_var loop, sinter_loop_var *out_general);
/* for k in max(l(v), 0)..min(u(v), 3) { ... } -> for k in 0..3 { if l(v) <= k & k < u(v) { ... } }: what v runs over may be lanes then. */
bool sinter_schedule_guard(sinter_schedule *schedule, sinter_loop_var loop);
/* Brings perfectly nested loops into this order, outermost first, by exchanging neighbours. */
bool sinter_schedule_reorder(sinter_schedule *schedule, const sinter_loop_var *order, size_t count);
/* Two perfectly nested loops become one over the product: outer = f / n, inner = f % n. */
bool sinter_schedule_fuse(sinter_schedule *schedule, sinter_loop_var outer, sinter_loop_var inner, sinter_loop_var *out_fused);
/* Two perfectly nested loops from 0 become one over the product, f = outer * n + inner, where everything that depends on them
 * is linear in f: no division. Flat buffers let more loops collapse. */
bool sinter_schedule_collapse(sinter_schedule *schedule, sinter_loop_var outer, sinter_loop_var inner, sinter_loop_var *out_loop);
/* for i { A B } -> for i { A } for i { B }, with A the first `count` statements. out_second: variable of the second loop. */
bool sinter_schedule_fission(sinter_schedule *schedule, sinter_loop_var loop, size_t count, sinter_loop_var *out_second);

/* for i { A } X for j { B } -> X for j { A B }, where both have the same number of iterations, and are in one block: work of two kinds
 * side by side, for a core that waits in one of them. What A touches, no earlier iteration of B may touch; that a later one does is what
 * A is ahead for. Of what lies between, what B needs goes in front of the loop, and may not need A; the rest goes behind it. */
bool sinter_schedule_weave(sinter_schedule *schedule, sinter_loop_var first, sinter_loop_var second);
/* for p { s[p] = f(p) } ... for t { reads s[g(t)] }  ->  for p { s[p] = f(g(p)) } ... for t { reads s[t] }, for two loops of the same bounds
 * in a block: elements of scratch are made in the order in which they are read. The first loop, whose iterations are independent, stores
 * nothing else, and nothing but the second reads it, at one place; what is in g is known in front of the first. */
bool sinter_schedule_follow(sinter_schedule *schedule, sinter_loop_var maker, sinter_loop_var reader);

/* ... s[i] ... -> ... s[i % size] ...: scratch that is as long along `axis` as what is alive at a time. No place may be touched that is `size`
 * or more places behind one that was touched before; what lies around the block that has all accesses has elements of its own. */
bool sinter_schedule_ring(sinter_schedule *schedule, sinter_loop_buffer buffer, uint32_t axis, int64_t size);

/* for i in l..u step s -> for i in 0..n, where these are numbers: loops from 0 collapse, and what two of them write is told apart.
 * Nothing happens elsewhere. */
void sinter_schedule_start_at_zero(sinter_schedule *schedule, sinter_loop_var loop);

/* ---- marks ---- */
bool sinter_schedule_unroll(sinter_schedule *schedule, sinter_loop_var loop);
/* Iterations must be independent; the count a power of two. A constant lower bound moves to 0. */
bool sinter_schedule_vectorize(sinter_schedule *schedule, sinter_loop_var loop);
bool sinter_schedule_parallelize(sinter_schedule *schedule, sinter_loop_var loop);
/* Iterations become blocks of a launch (outside of everything but other block axes), or threads of a block. */
bool sinter_schedule_bind(sinter_schedule *schedule, sinter_loop_var loop, sinter_loop_axis axis);
/* The parallel loop runs together with the parallel loops right before it: one wake-up of the threads for all, which take
 * the same share of each. All must have constant counts, and none may touch what another writes. */
bool sinter_schedule_join(sinter_schedule *schedule, sinter_loop_var loop);

/* A loop that is joined, with the bounds of the loop right before it, becomes the end of that loop's body: what both read is read
 * while it is near. */
bool sinter_schedule_unite(sinter_schedule *schedule, sinter_loop_var loop);

typedef enum sinter_schedule_lanes {
    SINTER_LANES_LOOP,   /* what whole vectors leave over stays in the loop as it was */
    SINTER_LANES_MASKED, /* it runs in masked lanes */
    SINTER_LANES_THREADS /* the same, and lanes, which the caller makes threads of a block, meet in a `reduce` */
} sinter_schedule_lanes;
/* Reassociates: the loop, whose body ends in acc = f(acc, element) for a function that allows it, keeps one partial result in each
 * of `lanes` lanes, combined by a tree after it. Float sums and products may differ by rounding. */
bool sinter_schedule_partial(sinter_schedule *schedule, sinter_loop_var loop, int64_t lanes, sinter_schedule_lanes how);

/* A nest of independent loops around a sum of products (contraction.h), of which `loop` is one that it runs along, becomes two: parts of
 * the sum, and their sum, in the order of parts:
 *   for i { for j { var acc = start; for k { acc = acc + x }; uses of acc } }
 *     ->  alloc results[parts, i, j], on the stack
 *         for p of parts { for i { for j { var acc = 0; for k of part p { acc = acc + x }; results[p, i, j] = acc } } }
 *         for i { for j { var acc = start; for p of parts { acc = acc + results[p, i, j] }; uses of acc } }
 * before: the loop of the nest in front of whose dim that of the parts is; 0: it is the first. The count of `loop` is a constant that `parts` divides; bounds of the nest are over parameters. Floats are added in another order. */
bool sinter_schedule_split_sum(sinter_schedule *schedule, sinter_loop_var nest, sinter_loop_var loop, int64_t parts,
                               sinter_loop_var before);

/* A reduction in parts, which take turns at its elements, `run` neighbours in a turn, and their combination in the order of parts:
 *   for i { var acc = start; for k { acc = f(acc, x) }; uses of acc }
 *     ->  alloc results[parts, i], on the stack
 *         for i { for p of parts { var acc = neutral; for k of part p { acc = f(acc, x) }; results[p, i] = acc } }
 *         for i { var acc = start; for p of parts { acc = f(acc, results[p, i]) }; uses of acc }
 * f is associative, or the choice of the larger one. The loop has a constant count. out_rows: the first nest's loop; any out may be NULL. Floats are
 * combined in another order. */
bool sinter_schedule_split_reduction(sinter_schedule *schedule, sinter_loop_var loop, int64_t parts, int64_t run,
                                     sinter_loop_buffer *out_results, sinter_loop_var *out_rows);

/* Sums of integers that are narrower than the sum: `loop`, whose body is acc = acc + x of i64, goes in chunks of `steps` (0: of as many as a
 * sum of i32 has room for; more are refused), each with a sum of its own:
 *   var acc = start; for ko { var part: i32 = 0; for k of the chunk { part = part + x }; acc = acc + part }
 * or, where one chunk is all, as ranges tell:   var part: i32 = 0; for k { part = part + x }; let acc = start + part
 * outer: a serial loop around the declaration of acc, of which one copy is for one chunk and another for more; 0: no copies. */
typedef struct sinter_narrow_sum {
    sinter_loop_var loop, accumulator, outer;
    int64_t steps;
    sinter_loop_var out_chunks; /* the loop over chunks; 0: there is none */
} sinter_narrow_sum;
bool sinter_schedule_narrow(sinter_schedule *schedule, sinter_narrow_sum *asked);

/* ---- memory ---- */
/* A scalar declared inside of these loops (constant counts, outermost first) becomes a stack buffer with one element an
 * iteration, allocated before the outermost of them. */
bool sinter_schedule_expand(sinter_schedule *schedule, sinter_loop_var var, const sinter_loop_var *loops, size_t count,
                            sinter_loop_buffer *out_buffer);
/* A stack buffer whose indices are constants, unroll and vector axes becomes registers. */
bool sinter_schedule_promote(sinter_schedule *schedule, sinter_loop_buffer buffer);
/* Shared memory of a block, allocated outside of thread axes, becomes registers of its threads, %b[w * 16 + r * 8 + g, j * 8 + t * 2 + c] in thread axes
 * w, g and t to %b[w,g,t,r,j,c], where each element is one thread's wherever it is touched. Loops that number registers, of at most 64 trips, are unrolled. */
bool sinter_schedule_distribute(sinter_schedule *schedule, sinter_loop_buffer buffer);
/* One element of a stack buffer is all that the loop uses of it: while the loop runs, a variable has its value. The loop, of a constant
 * count, reads the element before it writes it. */
bool sinter_schedule_scalarize(sinter_schedule *schedule, sinter_loop_buffer buffer, sinter_loop_var loop,
                               sinter_loop_var *out_scalar);
/* Lets of the loop's body whose value does not depend on the iteration move before the loop, and so do checks (if ... { fail })
 * that only lets precede. Loads and checks move where the loop certainly has an iteration. False where nothing moved. */
bool sinter_schedule_hoist(sinter_schedule *schedule, sinter_loop_var loop);
/* Puts the value of an immutable variable where it is read, and removes it; the value must be the same there. */
bool sinter_schedule_inline(sinter_schedule *schedule, sinter_loop_var var);

/* A parameter of the kernel gets one dim, the product of what it had. The caller's buffer stays as it is. */
bool sinter_schedule_flatten(sinter_schedule *schedule, sinter_loop_buffer buffer);
/* The same of `count` dims in a row; the others stay. */
bool sinter_schedule_merge(sinter_schedule *schedule, sinter_loop_buffer buffer, uint32_t first, uint32_t count);

/* Where element [i0, i1, ...] of a tensor lies in its packed form: axis a of it is (i[dim] / divide) % modulo (0: no modulo).
 * Dims are rounded up, so the last block may have padding, which is 0 and never read. */
typedef struct sinter_layout_axis {
    uint32_t dim;
    int64_t divide, modulo;
} sinter_layout_axis;
typedef struct sinter_layout {
    uint32_t rank;
    sinter_layout_axis axes[SINTER_MAX_RANK];
} sinter_layout;
/* Changes a constant-shaped input of the kernel to the packed layout: its dims and every load. The caller packs what it
 * passes, a constant at compile time. order: the dims of the result, each `dim` whole or, where blocks[dim] > 1, its block
 * number; the positions inside of the blocks follow as the innermost axes, in the order of `order`. */
bool sinter_schedule_pack(sinter_schedule *schedule, sinter_loop_buffer buffer, const uint32_t *order, const int64_t *blocks,
                          sinter_layout *out_layout);
bool sinter_layout_pack(const sinter_layout *layout, const sinter_tensor *source, sinter_tensor *out_packed, sinter_diag *diag);

/* The same of an input that only the run knows, by the kernel itself: in front of all else it is copied to scratch in this order, and is read
 * there. Blocks divide their dims. out_loop, the outermost of the copy (NULL: not wanted), and those in it are serial: the caller's to mark. */
bool sinter_schedule_pack_input(sinter_schedule *schedule, sinter_loop_buffer buffer, const uint32_t *order, const int64_t *blocks,
                                sinter_loop_var *out_loop);

/* A block of an operand of the run: in front of `loop`, what it and the statements after it in its block read of `buffer`, an input, is copied to
 * scratch of the block (on the stack, thread-local), and is read there. All reads have the same indices in terms of loops behind
 * the copy, none is under a condition; scratch has a dim for each of these loops, `order` (0 entries: as they are nested) says
 * which comes first. The bounds of the loops must be known before the copy, and the whole box that they span must lie in the
 * buffer. The loops of the copy, in the order of the dims, are serial: the caller's to mark. */
typedef struct sinter_scratch_packing {
    sinter_loop_buffer buffer;
    sinter_loop_var loop;
    uint32_t order[SINTER_MAX_RANK], order_count; /* positions among the loops that the reads use, outermost first */
    sinter_loop_buffer out_buffer;
    sinter_loop_var out_loops[SINTER_MAX_RANK];
    uint32_t out_rank;
} sinter_scratch_packing;
bool sinter_schedule_pack_scratch(sinter_schedule *schedule, sinter_scratch_packing *packing);
/* What fills a stack buffer, statements behind its alloc, moves into `loop`, which is in the statement behind them and has all reads
 * of the buffer in its body, and makes there what one trip reads; the buffer shrinks to that. What a trip reads is a range along each
 * axis, from the indices of the reads; where nothing is known, or what fills it is not along a loop, the axis stays whole. In a serial
 * loop whose trips overlap along one axis the buffer is a ring in front of it, and each element is made once; in others, what two
 * trips read is made by both. False also where each of several trips may read all. */
bool sinter_schedule_compute_at(sinter_schedule *schedule, sinter_loop_buffer buffer, sinter_loop_var loop);
/* for outer { A } -> for outer { if (the loop `inner` of A has at least so many iterations) { A } else { A } }: what follows may
 * treat the two differently. Where the number depends on loops in between, that of their first iterations counts. The first A keeps its
 * loops, the other is a copy, in which serial loops with its bounds end before so many iterations where they can't have more later. Scratch that
 * A begins with is that of both. */
bool sinter_schedule_fork(sinter_schedule *schedule, sinter_loop_var outer, sinter_loop_var inner, int64_t least);

/* The scratch, allocated in the loop or in serial loops of its body, is allocated at the beginning of its body. */
bool sinter_schedule_lift_scratch(sinter_schedule *schedule, sinter_loop_buffer buffer, sinter_loop_var loop);

/* In the body of `inner`: asks for what the next iteration of `outer`, a loop around it, will read of inputs in the same
 * iteration of `inner`. Only where these reads move on evenly with `inner`, and are the same in all iterations of `between`, a
 * loop in between; each of those asks for other lines of `line` bytes, so that all is asked for once, evenly, or a few times where
 * the number of iterations is not known. */
bool sinter_schedule_prefetch(sinter_schedule *schedule, sinter_loop_var inner, sinter_loop_var outer, sinter_loop_var between,
                              int64_t line);

/* ---- chains ---- */
#define SINTER_SCHEDULE_CHAIN_MAX 16
/* Perfectly nested serial loops, outermost first. */
typedef struct sinter_schedule_chain {
    sinter_loop_var loops[SINTER_SCHEDULE_CHAIN_MAX];
    uint32_t depth;
} sinter_schedule_chain;
sinter_schedule_chain sinter_schedule_chain_of(const sinter_schedule *schedule, sinter_loop_var nest);
/* Loops over consecutive elements become one, from the inside out, so that the innermost is as long as can be. */
void sinter_schedule_chain_collapse(sinter_schedule *schedule, sinter_schedule_chain *chain);
/* Every parameter of the kernel gets one dim, as long as nothing in it runs in parallel yet. */
void sinter_schedule_flatten_all(sinter_schedule *schedule);

/* ---- together ---- */
/* The nest  for m { for n { var acc = init; for k ... { acc = ... }; uses of acc } }  computes tile_m x tile_n accumulators at
 * a time with the k loops outside of them:
 *   for mo { for no { acc[tile_m, tile_n] = init; for k ... { for mi unroll { for ni { acc[mi,ni] = ... } } }; uses } }
 * ni is made of unroll and vector axes of `vector` lanes (1: unroll only). m = 0: no such loop. What is left of m and n runs in
 * copies of the nest as it was: out_rest has their m loops (n where m = 0), to be tiled smaller. */
typedef struct sinter_register_tile {
    sinter_loop_var m, n, accumulator;
    int64_t tile_m, tile_n, vector;
    bool rolled; /* the uses stay a loop over rows and read the accumulators from the stack: less code */
    sinter_loop_var out_m, out_n; /* mo and no; out_m = 0 without m */
    sinter_loop_var out_rest[2];  /* rest of m (n tiled as before, no registers), rest of n; 0: none */
    sinter_loop_buffer out_accumulator;
} sinter_register_tile;
bool sinter_schedule_register_tile(sinter_schedule *schedule, sinter_register_tile *tile);

/* A nest  for rows { for columns { var acc = start; for k ... { acc = acc + a * b }; uses of acc } }, where a is of rows and the reduction
 * and b of columns and the reduction, becomes one of tiles that a block of `warps` x 32 threads shares:
 *   for tiles of rows { for tiles of columns {
 *     acc = start, in registers spread over the threads: thread_rows x thread_columns each
 *     for steps of `depth` { both operands to shared memory; barrier; for threads { acc = acc + a * b ... }; barrier }
 *     for threads { uses, where there is an element } } }
 * The factors may be any expressions; what lies outside of the loops is 0 in shared memory. A tile has warps * thread_rows rows and
 * 32 * thread_columns columns. slices: all warps have the same rows, thread_rows in all, and each a share of every step; their sums are
 * added afterwards, which rounds differently. rows = 0: there is one row, and slices. finite: the caller knows that a factor has no
 * infinity or NaN; needed where conditions, as borders of windows are, leave out products by the other factor, which is 0 then.
 * mma: the products are instructions of a warp (codegen/loops/mma.h); factors must be casts of what it multiplies. A thread's rows and
 * columns are then those of instructions, of 16 and 8 each, and the steps are as deep as instructions go, or a multiple.
 * warpgroup: these are those of four warps at once (codegen/loops/wgmma.h), each of 64 rows and all columns of the tile; steps are rows of 128
 * bytes. They are under way until the trip after the next, so the ring has a stage more, three at least:
 *     for steps + stages - 2 { wait stages - 3; fence; barrier; copies of step; commit;
 *                              products of the step stages - 2 before; commit wgmma; wait wgmma 1 }; wait wgmma 0
 * producers: so many warps more, which copy while those multiply, and phases in place of barriers (SINTER_LOOP_WARPS). Both operands must be copied:
 *     for steps + stages - 2 {
 *       warps that copy { await that the step stages - 1 before is multiplied; copies of step; commit; wait stages - 2; fence; arrive at full }
 *       warps that multiply { await full; products of the step stages - 2 before; commit wgmma; wait wgmma 1; arrive at empty } }
 * boxes: that is one warp, which has whole tiles copied (codegen/loops/box.h); both operands are inputs whose rows are at multiples of 16 bytes:
 *     for steps {
 *       the warp that copies { await that the step stages before is multiplied; boxes of step, for full; arrive at full }
 *       warps that multiply { await full; products of the step; commit wgmma; wait wgmma 1; arrive at empty } }
 * stages: copies to shared memory are begun stages - 1 steps before they are multiplied, into a ring of so many tiles:
 *     for steps + stages - 1 { wait stages - 2; barrier; copies of step; commit; acc = acc + a * b of the step stages - 1 before }
 * What is no input's element, or has no 4 bytes of them side by side, is read by threads into registers where copies begin, and stored behind what
 * is multiplied; where it is too much for registers, at once. One operand at least must be copied, or both go by way of registers.
 * An operand that is scratch of the block already, [row, step] or [step, row] in whole tiles, is read where it lies.
 * The loops of tiles are serial: the caller's to bind to blocks, or tiles are one block's, one after the other. */
typedef struct sinter_block_tile {
    sinter_loop_var rows, columns;
    int64_t warps, thread_rows, thread_columns, depth;
    int64_t stages; /* of a ring of tiles, which copies under way fill; 0 or 1: no ring */
    bool slices, finite;
    sinter_loop_mma mma; /* or none */
    bool warpgroup;      /* by the instruction of four warps */
    int64_t producers;   /* warps that copy and do nothing else; 0: those that multiply do */
    bool boxes;          /* one warp copies, by an instruction that finds boxes of the operands by itself; says producers */
    sinter_loop_var out_rows, out_columns; /* of tiles; out_rows = 0 without rows */
} sinter_block_tile;
bool sinter_schedule_block_tile(sinter_schedule *schedule, sinter_block_tile *tile);
/* The nest  for m { for n { var acc = init; for k ... { acc = ... }; uses of acc } }, m and n of constant counts, in blocks of `size` steps
 * of k: the sums of all m and n lie in a stack buffer from one block to the next.
 *   for m { for n { sums = init } }
 *   for ko { for m { for n { var acc = sums; for ki ... { acc = ... }; sums = acc } } }
 *   the same for the steps that are left; for m { for n { uses of sums } }
 * m = 0: no such loop. */
typedef struct sinter_reduction_blocks {
    sinter_loop_var m, n, accumulator;
    int64_t size;
    sinter_loop_var out_start, out_blocks, out_rest, out_end; /* the outermost loop of each; 0: there is nothing left, or no use */
    sinter_loop_buffer out_sums;
} sinter_reduction_blocks;
bool sinter_schedule_block_reduction(sinter_schedule *schedule, sinter_reduction_blocks *blocks);

/* Drops loops without iterations and branches never taken, replaces loops of one iteration by their body. */
void sinter_schedule_simplify(sinter_schedule *schedule);
