/* The questions of a kernel's schedule: what the cost model prefers is the first answer, what was measured overrules it.
 * Needs: nothing of the loops but their text, as lowering made them. Test: tests/cli/tune.test, tests/unit/tuning_test.c */
#include "codegen/schedule/cpu.h"
#include "ir/base/map.h"

#include <stdio.h>
#include <string.h>

sinter_cpu_answer sinter_cpu_answer_make(const char *format, ...) {
    sinter_cpu_answer answer;
    va_list list;
    va_start(list, format);
    vsnprintf(answer.text, sizeof answer.text, format, list);
    va_end(list);
    return answer;
}

/* Names and comments are the model's, the loops are not. */
static uint64_t hash_kernel(const sinter_loop_program *program, sinter_loop_function *function) {
    const char *name = function->name, *comment = function->comment;
    sinter_text text = {0};
    function->name = "";
    function->comment = NULL;
    sinter_loop_print_function(program, function, &text);
    function->name = name;
    function->comment = comment;
    uint64_t hash = sinter_hash(text.data, text.size, 0);
    sinter_text_deinit(&text);
    return hash;
}

void sinter_cpu_begin_choices(sinter_schedule_cpu_state *state) {
    const sinter_schedule_options *options = state->options;
    state->choices = NULL;
    state->asked = 0;
    if (!options->tuning && !options->log) return;
    uint64_t kernel = hash_kernel(state->program, state->program->kernels.items[state->kernel]);
    if (options->tuning) state->choices = sinter_tuning_find(options->tuning, kernel);
    if (options->log)
        sinter_vector_push(options->log->arena, &options->log->kernels,
                           (sinter_tuning_kernel){.kernel = kernel});
}

void sinter_cpu_end_choices(sinter_schedule_cpu_state *state) {
    const sinter_tuning_choices *choices = state->choices;
    if (choices && choices->count && choices->items[choices->count - 1].number >= state->asked)
        sinter_warning(state->diag, state->schedule.function->name,
                       "the tuning answers question %u of this kernel, which has %u: another "
                       "version of sinter measured it",
                       choices->items[choices->count - 1].number, state->asked);
}

static const sinter_tuning_choice *find_choice(const sinter_schedule_cpu_state *state) {
    for (size_t i = 0; state->choices && i < state->choices->count; i++)
        if (state->choices->items[i].number == state->asked) return &state->choices->items[i];
    return NULL;
}

uint32_t sinter_cpu_choose(sinter_schedule_cpu_state *state, const char *question,
                           const sinter_cpu_answer *answers, uint32_t count) {
    sinter_tuning_log *log = state->options->log;
    uint32_t chosen = sinter_tuning_answer(find_choice(state), question, answers, count,
                                           state->schedule.function->name, state->diag);
    if (log)
        sinter_vector_push(log->arena, &log->kernels.items[log->kernels.count - 1].questions,
                           sinter_tuning_describe(log->arena, question, answers, count, chosen));
    state->asked++;
    return chosen;
}
