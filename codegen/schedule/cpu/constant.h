/* Constants as kernels want them: who passes them, in another form, in another order. Private to codegen/schedule/cpu/.
 * Test: tests/codegen/schedule/pack.loops, tests/codegen/schedule/shared_constant.test */
#pragma once
#include "codegen/schedule/cpu/accumulator.h"

/* ---- who passes what (passed.c) ---- */
/* Looks through all calls, once: what sinter_cpu_is_constant says is of then. */
void sinter_cpu_find_passed(sinter_schedule_cpu_state *state);
/* Every call of this kernel passes a constant there. */
bool sinter_cpu_is_constant(const sinter_schedule_cpu_state *state, sinter_loop_buffer parameter);
/* The number of the parameter, which it is. */
uint32_t sinter_cpu_get_parameter(const sinter_schedule_cpu_state *state, sinter_loop_buffer buffer);
/* The constants that calls of this kernel pass, by number in the program, each once. In the state's scratch arena. */
size_t sinter_cpu_list_constants(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter, const uint32_t **out_constants);

/* ---- in another form (constant.c) ---- */
typedef struct sinter_cpu_conversion {
    bool (*convert)(void *user, const sinter_tensor *source, sinter_tensor *out_converted, sinter_diag *diag);
    void *user;
    sinter_dtype dtype; /* of what it makes */
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK];
} sinter_cpu_conversion;
/* Every call of this kernel passes what the conversion makes of its constant, and the kernel's parameter is so now; its loads are
 * the caller's to change. In place of the constant where nobody else wants it. False: an error went to diag. */
bool sinter_cpu_convert_constants(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter,
                                  const sinter_cpu_conversion *conversion);
/* Every call of this kernel passes a constant there, and each of them is read elsewhere too and has that many bytes at least. */
bool sinter_cpu_shares_constant(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter, size_t least_bytes);
/* Loads and stores of the buffer in the kernel as it is written, however often they run. */
uint32_t sinter_cpu_count_accesses(const sinter_schedule_cpu_state *state, sinter_loop_buffer buffer);
/* It is a constant of known dims, and one place alone reads it. */
bool sinter_cpu_is_own_constant(const sinter_schedule_cpu_state *state, sinter_loop_buffer parameter);

/* ---- in another order (pack.c) ---- */
/* Constant operands of a nest that depend on its columns: planned on the nest as it was made, packed in panels of `columns`
 * when it is tiled. */
#define SINTER_CPU_MAX_PACKED 4
typedef struct sinter_cpu_packing {
    sinter_loop_buffer buffer;
    uint32_t rank, column_dim;
    int64_t columns;                 /* size of that dim */
    int64_t multiple;                /* of which is where the nest's columns begin; 0 where that is 0 */
    uint32_t order[SINTER_MAX_RANK]; /* of the others */
    uint32_t panels_at;              /* where in it the number of the panel goes */
    bool of_run;                     /* no constant: the kernel copies it to scratch, every time */
} sinter_cpu_packing;
typedef struct sinter_cpu_pack_plan {
    sinter_cpu_packing items[SINTER_CPU_MAX_PACKED];
    uint32_t count;
} sinter_cpu_pack_plan;
/* The columns of a panel in which another nest, which reads it as well, had an operand of this one packed; 0: nobody had. */
int64_t sinter_cpu_packed_columns(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest);
/* What other nests of the kernel read too is planned if they want the same; it is packed for all with the first that is tiled. */
void sinter_cpu_plan_packing(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_cpu_pack_plan *out_plan);
/* Operands that only the run knows are planned, too: those whose columns lie apart and which many rows read. Their dims may be fewer then. */
void sinter_cpu_plan_inputs(sinter_schedule_cpu_state *state, sinter_loop_var outermost, sinter_cpu_pack_plan *plan);
void sinter_cpu_apply_packing(sinter_schedule_cpu_state *state, const sinter_cpu_pack_plan *plan, int64_t columns);

/* ---- asked for early (prefetch.c) ---- */
/* Asks memory early for blocks of constants that the kernel's loops go through, as they are tiled and packed. */
void sinter_cpu_prefetch(sinter_schedule_cpu_state *state);
