/* A device can't wait for other ranks in the middle of a kernel: the host waits, between launches. So a loop in which ranks
 * exchange becomes one of the host, with a call for each of its iterations, whose number is one parameter more. The kernel has been
 * cut before, until the loop is all that is in it, and what is left is cut again (cut.c): down to exchanges that
 * are kernels of their own.
 * Test: tests/codegen/schedule/cuda_exchange.loops, cuda_exchange_order.loops, tests/codegen/emit_cuda/exchange_count.loops */
#include "codegen/schedule/cuda.h"

/* All there is but for names that callers could compute; NULL: something else is there. */
static const sinter_loop_stmt *only_loop(const sinter_loop_function *kernel) {
    const sinter_loop_stmt *found = NULL;
    for (const sinter_loop_stmt *s = kernel->body; s; s = s->next) {
        const bool names =
            s->kind == SINTER_LOOP_COMMENT ||
            (s->kind == SINTER_LOOP_DECLARE && !sinter_loop_expr_loads(s->value, 0) &&
             !kernel->vars.items[s->var].is_mutable);
        if (names) continue;
        if (found || !sinter_loop_is_serial(s) || !sinter_loop_exchanges(s->body) ||
            sinter_loop_expr_loads(s->lower, 0) || sinter_loop_expr_loads(s->upper, 0))
            return NULL;
        found = s;
    }
    return found;
}

/* The kernel of one iteration; what one leaves in its buffers, the next one finds. */
static sinter_loop_function *make_step(sinter_loop_program *program,
                                       const sinter_loop_function *kernel, sinter_loop_var var) {
    sinter_loop_function *step = sinter_loop_clone_function(program, kernel);
    sinter_loop_stmt **link = &step->body;
    while ((*link)->kind != SINTER_LOOP_FOR) link = &(*link)->next;
    sinter_loop_stmt *rest = (*link)->next;
    *link = (*link)->body;
    while (*link) link = &(*link)->next;
    *link = rest;
    step->vars.items[var].is_parameter = true;
    sinter_vector_push(&program->arena, &step->scalar_parameters, var);
    for (size_t i = 0; i < step->buffer_parameters.count; i++) {
        sinter_loop_scope *scope = &step->buffers.items[step->buffer_parameters.items[i]].scope;
        if (*scope == SINTER_SCOPE_OUTPUT) *scope = SINTER_SCOPE_INOUT;
    }
    return step;
}

typedef struct lift {
    sinter_loop_program *program;
    const sinter_loop_function *kernel; /* as it was */
    const sinter_loop_stmt *loop;
    uint32_t index;
} lift;

/* The loop around a call of the step in place of the call. */
static void put_loop(const lift *l, sinter_loop_stmt **link) {
    const sinter_loop_stmt *call = *link;
    sinter_loop_map map;
    sinter_loop_builder b;
    /* All that bounds are made of is replaced: what comes out is of the host, and is simplified by its ranges. */
    sinter_loop_map_init(&map, l->program, l->program->host);
    for (uint32_t i = 0; i < call->argument_count; i++)
        sinter_loop_map_var(&map, l->kernel->scalar_parameters.items[i], call->arguments[i]);
    for (const sinter_loop_stmt *s = l->kernel->body; s != l->loop; s = s->next)
        if (s->kind == SINTER_LOOP_DECLARE)
            sinter_loop_map_var(&map, s->var, sinter_loop_map_expr(&map, s->value));
    sinter_loop_builder_init(&b, l->program, l->program->host);
    *link = call->next;
    b.tail = link;
    sinter_loop_var var = sinter_loop_begin_for(
        &b, l->kernel->vars.items[l->loop->var].name, sinter_loop_map_expr(&map, l->loop->lower),
        sinter_loop_map_expr(&map, l->loop->upper), l->loop->step, SINTER_AXIS_SERIAL);
    SINTER_VECTOR(sinter_expr) arguments = {0};
    for (uint32_t i = 0; i < call->argument_count; i++)
        sinter_vector_push(b.arena, &arguments, call->arguments[i]);
    sinter_vector_push(b.arena, &arguments, sinter_loop_var_read(&b, var));
    sinter_loop_call_kernel(&b, l->index, call->buffer_arguments, call->buffer_argument_count,
                            arguments.items, (uint32_t)arguments.count);
    b.last->text = call->text;
    sinter_loop_end(&b);
}

static void put_loops(const lift *l, sinter_loop_stmt **link) {
    for (; *link; link = &(*link)->next) {
        if ((*link)->kind == SINTER_LOOP_CALL_KERNEL && (*link)->kernel == l->index) {
            put_loop(l, link);
            continue;
        }
        put_loops(l, &(*link)->body);
        put_loops(l, &(*link)->else_body);
    }
}

bool sinter_schedule_cuda_lift(sinter_loop_program *program, uint32_t index) {
    lift l = {.program = program, .kernel = program->kernels.items[index], .index = index};
    l.loop = only_loop(l.kernel);
    if (!l.loop) return false;
    put_loops(&l, &program->host->body);
    program->kernels.items[index] = make_step(program, l.kernel, l.loop->var);
    return true;
}
