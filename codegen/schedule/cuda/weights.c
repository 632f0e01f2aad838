/* Weights of contractions on CUDA in the order of their reduction: those of a convolution of several taps have taps together in the graph, so
 * neither lanes along the columns nor lanes along the reduction read neighbours. Calls pass the constant in the order of the loops, so
 * that whole sectors are read, in pieces as wide as copies may be.
 * Needs kernels that are cut, before they are scheduled. Test: tests/codegen/emit_cuda/convolution_weights.sir */
#include "codegen/schedule/contraction.h"
#include "codegen/schedule/cuda.h"

typedef struct weights {
    sinter_schedule *schedule;
    const sinter_schedule_chain *chain;
    const sinter_contraction *sum;
    sinter_expr load;
} weights;

static bool reads_next(const weights *w, sinter_loop_var loop) {
    return sinter_schedule_reading(w->schedule, w->load, loop) == SINTER_READING_NEXT;
}

/* Lanes have neighbours one way or the other, or there is but one loop to go by. */
static bool lies_well(const weights *w) {
    const sinter_contraction *sum = w->sum;
    sinter_loop_var last = 0;
    for (uint32_t i = 0; i < w->chain->depth; i++)
        if (sinter_loop_expr_uses(w->load, w->chain->loops[i])) last = w->chain->loops[i];
    return sum->loop_count < 2 || !last || reads_next(w, last) ||
           reads_next(w, sum->loops[sum->loop_count - 1]);
}

/* Dims that the reduction does not use come first, then the others as its loops go. False: some dim is of several of them. */
static bool find_order(const weights *w, uint32_t *order) {
    uint32_t used = 0, places[SINTER_MAX_RANK];
    const sinter_contraction *sum = w->sum;
    for (uint32_t d = 0; d < w->load->argument_count; d++) {
        places[d] = 0;
        for (uint32_t k = 0; k < sum->loop_count; k++) {
            if (!sinter_loop_expr_uses(w->load->arguments[d], sum->loops[k])) continue;
            if (places[d]) return false;
            places[d] = k + 1;
        }
    }
    for (uint32_t place = 0; place <= sum->loop_count; place++)
        for (uint32_t d = 0; d < w->load->argument_count; d++)
            if (places[d] == place) order[used++] = d;
    return true;
}

/* ---- calls ---- */

typedef struct call_search {
    const sinter_loop_program *program;
    uint32_t kernel, parameter;
    bool called, varies;
} call_search;

static bool look_at_call(void *user, sinter_loop_stmt *stmt) {
    call_search *search = user;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL || stmt->kernel != search->kernel) return true;
    const sinter_loop_buffer passed = stmt->buffer_arguments[search->parameter];
    search->called = true;
    search->varies |= search->program->host->buffers.items[passed].scope != SINTER_SCOPE_CONSTANT;
    return true;
}

/* All calls of the kernel pass constants there. out_promise: of which kernel, and which parameter it is. */
static bool find_constant(const sinter_schedule_cuda_state *state, uint32_t kernel,
                          sinter_loop_buffer buffer, sinter_schedule_promise *out_promise) {
    const sinter_loop_program *program = state->program;
    const sinter_loop_function *function = program->kernels.items[kernel];
    call_search search = {.program = program, .kernel = kernel};
    while (search.parameter < function->buffer_parameters.count &&
           function->buffer_parameters.items[search.parameter] != buffer)
        search.parameter++;
    if (!program->host || search.parameter == function->buffer_parameters.count) return false;
    sinter_loop_walk(program->host->body, look_at_call, &search);
    *out_promise = (sinter_schedule_promise){.kernel = kernel, .parameter = search.parameter};
    return search.called && !search.varies;
}

/* ---- together ---- */

void sinter_schedule_cuda_order_weights(sinter_schedule_cuda_state *state, uint32_t kernel,
                                        sinter_loop_var nest) {
    sinter_schedule_chain c = sinter_schedule_chain_of(&state->schedule, nest);
    sinter_contraction sum;
    if (!sinter_schedule_find_contraction(&state->schedule, c.loops[c.depth - 1], &sum)) return;
    for (uint32_t i = 0; i < 2; i++) {
        weights w = {.schedule = &state->schedule,
                     .chain = &c,
                     .sum = &sum,
                     .load = sinter_schedule_cuda_strip_rounding(sum.factors[i])};
        const int64_t blocks[SINTER_MAX_RANK] = {0};
        uint32_t order[SINTER_MAX_RANK];
        sinter_schedule_promise promise;
        if (w.load->kind == SINTER_LOOP_LOAD && !lies_well(&w) && find_order(&w, order) &&
            find_constant(state, kernel, w.load->buffer, &promise) &&
            !sinter_schedule_find_promise(&state->promises, kernel, promise.parameter) &&
            sinter_schedule_pack(&state->schedule, w.load->buffer, order, blocks, &promise.layout))
            sinter_vector_push(&state->scratch, &state->promises, promise);
    }
}
