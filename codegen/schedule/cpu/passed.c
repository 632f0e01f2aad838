/* Who passes what: constants of the program that calls hand to kernels, who reads them, and other ones in their place. What changes a
 * constant for one kernel asks here whether anybody else wants it as it was. Test: tests/codegen/schedule/shared_constant.test */
#include "codegen/schedule/cpu/constant.h"

#include <assert.h>

/* ---- by parameter ---- */

/* Of a parameter: passed by some call; passed something that is no constant. */
enum { CALLED = 1, VARIES = 2 };

static bool visit_call(void *user, sinter_loop_stmt *stmt) {
    sinter_schedule_cpu_state *state = user;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL) return true;
    uint8_t *passed = state->passed + state->first_passed[stmt->kernel];
    uint32_t count = state->first_passed[stmt->kernel + 1] - state->first_passed[stmt->kernel];
    for (uint32_t i = 0; i < count; i++) {
        sinter_loop_buffer buffer = stmt->buffer_arguments[i];
        bool varies = state->program->host->buffers.items[buffer].scope != SINTER_SCOPE_CONSTANT;
        passed[i] |= varies ? CALLED | VARIES : CALLED;
    }
    return true;
}

void sinter_cpu_find_passed(sinter_schedule_cpu_state *state) {
    const sinter_loop_program *program = state->program;
    uint32_t count = 0;
    state->constant_bytes = 0;
    state->first_passed = SINTER_NEW_ARRAY(&state->scratch, uint32_t, program->kernels.count + 1);
    for (size_t i = 0; i < program->kernels.count; i++) {
        state->first_passed[i] = count;
        count += (uint32_t)program->kernels.items[i]->buffer_parameters.count;
    }
    state->first_passed[program->kernels.count] = count;
    state->passed = SINTER_NEW_ARRAY(&state->scratch, uint8_t, count);
    if (program->host) sinter_loop_walk(program->host->body, visit_call, state);
    for (size_t i = 0; i < program->constants.count; i++)
        state->constant_bytes += sinter_tensor_bytes(&program->constants.items[i].tensor);
}

bool sinter_cpu_find_parameter(const sinter_schedule_cpu_state *state, sinter_loop_buffer buffer,
                               uint32_t *out_index) {
    const sinter_loop_function *kernel = state->program->kernels.items[state->kernel];
    bool made_since = state->part && buffer >= state->part->buffers.count;
    if (state->part && !made_since) buffer = state->part->buffers.items[buffer];
    for (uint32_t i = 0; i < kernel->buffer_parameters.count && !made_since; i++)
        if (kernel->buffer_parameters.items[i] == buffer) {
            *out_index = i;
            return true;
        }
    return false;
}

bool sinter_cpu_is_constant(const sinter_schedule_cpu_state *state, sinter_loop_buffer parameter) {
    uint32_t index;
    if (!sinter_cpu_find_parameter(state, parameter, &index)) return false;
    /* Parameters that schedules added are memory of a run. */
    index += state->first_passed[state->kernel];
    return index < state->first_passed[state->kernel + 1] && state->passed[index] == CALLED;
}

typedef SINTER_VECTOR(uint32_t) constant_list;

typedef struct argument_search {
    sinter_schedule_cpu_state *state;
    uint32_t parameter;
    constant_list constants;
} argument_search;

static bool list_argument(void *user, sinter_loop_stmt *stmt) {
    argument_search *search = user;
    const sinter_schedule_cpu_state *state = search->state;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL || stmt->kernel != state->kernel) return true;
    uint32_t constant =
        state->program->host->buffers.items[stmt->buffer_arguments[search->parameter]].constant;
    for (size_t i = 0; i < search->constants.count; i++)
        if (search->constants.items[i] == constant) return true;
    sinter_vector_push(&search->state->scratch, &search->constants, constant);
    return true;
}

uint32_t sinter_cpu_get_parameter(const sinter_schedule_cpu_state *state,
                                  sinter_loop_buffer buffer) {
    uint32_t index = 0;
    bool found = sinter_cpu_find_parameter(state, buffer, &index);
    assert(found);
    (void)found;
    return index;
}

size_t sinter_cpu_list_constants(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter,
                                 const uint32_t **out_constants) {
    argument_search search = {.state = state,
                              .parameter = sinter_cpu_get_parameter(state, parameter)};
    sinter_loop_walk(state->program->host->body, list_argument, &search);
    *out_constants = search.constants.items;
    return search.constants.count;
}
