/* Nests around one accumulator, which contractions, windows and pools are: finding them, and what their reductions read. Private to
 * codegen/schedule/cpu/. Test: tests/codegen/schedule/ */
#pragma once
#include "codegen/schedule/cpu.h"

/*   for l0 { for l1 { ... var acc = init; for k0 { for k1 { acc = f(acc, loads) } }; uses of acc } }   */
typedef struct sinter_cpu_nest {
    sinter_loop_var loops[SINTER_MAX_RANK]; /* free loops, outermost first, perfectly nested */
    uint32_t loop_count;
    sinter_loop_var accumulator;
    sinter_loop_var part; /* 0, or the sum of its own that each iteration of the outermost reduction has, and adds to the accumulator */
    sinter_dtype dtype;   /* of the part, or the accumulator */
    sinter_loop_var reductions[SINTER_MAX_RANK]; /* outermost first */
    uint32_t reduction_count;
    const sinter_loop_stmt *reduction; /* the outermost reduction loop */
} sinter_cpu_nest;
/* for columns { var acc ... }, at a glance: kernels may have thousands of loops (weave.c). */
bool sinter_cpu_may_be_product(const sinter_loop_function *function, const sinter_loop_stmt *stmt);
/* The loop of the sum of its own that each iteration of this one has, and adds to another:  { var part = 0; for k ...; acc = acc + part };
 * 0: it has none. */
sinter_loop_var sinter_cpu_find_part(const sinter_loop_function *function, const sinter_loop_stmt *loop);
bool sinter_cpu_find_nest(const sinter_loop_function *function, sinter_loop_var outermost, sinter_cpu_nest *out_nest);

/* Some bound of the reductions depends on the variable. */
bool sinter_cpu_bounds_use(const sinter_cpu_nest *nest, sinter_loop_var var);
/* Some load of the reduction is the same for all columns. */
bool sinter_cpu_broadcasts(const sinter_cpu_nest *nest);
/* Small windows of which each column has its own, where lanes can be masked: what whole vectors leave over is one more, in which some lanes are
 * idle (window.c). */
bool sinter_cpu_masks_rest(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest);
/* The loop, not the innermost one, whose iterations share the most of what the reduction loads; 0: none. */
sinter_loop_var sinter_cpu_find_row(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest);
