/* Kernels that are there twice. How many rows a batch has may be the run's to know, and one row may have a schedule that no other number
 * has. Then the kernel for one row is a kernel of its own, of constant size, and the host asks which one to call; the memory that it has
 * for the call alone goes with it:
 *   alloc s; call k(s, x, n)  ->  if n == 1 { alloc s'; call k_one(s', x, 1) } else { alloc s; call k(s, x, n) }
 * What differs is whether a recurrence waits for its weights, which many rows share (weave.c).
 * Needs: kernels as lowering made them. Guarantees: the same values, both kernels as a build for these sizes would have them.
 * Test: tests/codegen/schedule/recurrent.test, tests/suites/recurrent_values.py */
#include "codegen/loops/uses.h"
#include "codegen/schedule/cpu/constant.h"

/* ---- which parameter ---- */

typedef struct row_search {
    const sinter_loop_function *function;
    sinter_loop_var rows; /* the parameter that says how many there are; 0: none */
} row_search;

/* for steps { for rows { for columns { sum } } ... } */
static bool visit_steps(void *user, sinter_loop_stmt *steps) {
    row_search *search = user;
    const sinter_loop_function *function = search->function;
    if (steps->kind != SINTER_LOOP_FOR) return true;
    for (const sinter_loop_stmt *rows = steps->body; rows; rows = rows->next) {
        bool counted = rows->kind == SINTER_LOOP_FOR && rows->upper->kind == SINTER_LOOP_VAR &&
                       function->vars.items[rows->upper->var].is_parameter;
        for (const sinter_loop_stmt *at = counted ? rows->body : NULL; at; at = at->next)
            if (sinter_cpu_may_be_product(function, at) && steps->body->next)
                search->rows = rows->upper->var;
    }
    return !search->rows;
}

static sinter_loop_var find_rows(const sinter_loop_function *function) {
    row_search search = {.function = function};
    sinter_loop_walk(function->body, visit_steps, &search);
    return search.rows;
}

/* ---- the kernel for one ---- */

/* The function with 1 in the place of the parameter, which it still has. */
static sinter_loop_function *specialize(sinter_loop_program *program,
                                        const sinter_loop_function *function,
                                        sinter_loop_var parameter) {
    sinter_loop_function *one = sinter_loop_clone_function(program, function);
    sinter_text name = {0};
    sinter_loop_map map;
    sinter_loop_map_init(&map, program, one);
    sinter_loop_map_var(&map, parameter, sinter_loop_int(&map.builder, 1));
    sinter_loop_map_list(&map, one->body);
    for (size_t i = 1; i < one->buffers.count; i++) {
        sinter_loop_buffer_info *info = &one->buffers.items[i];
        sinter_expr *dims = SINTER_NEW_ARRAY(&program->arena, sinter_expr, info->rank);
        for (uint32_t k = 0; k < info->rank; k++)
            dims[k] = sinter_loop_map_expr(&map, info->dims[k]);
        info->dims = dims;
    }
    sinter_loop_set_range(&map.builder, parameter, 1, 1);
    sinter_text_format(&name, "%s_one", function->name);
    one->name = sinter_arena_copy_string(&program->arena, name.data, name.size);
    sinter_text_deinit(&name);
    return one;
}

/* In the place of the kernel it would have what the kernel can't have. */
static bool pays(sinter_schedule_cpu_state *state, uint32_t kernel, sinter_loop_function *one) {
    sinter_loop_function **place = &state->program->kernels.items[kernel], *other = *place;
    *place = sinter_loop_clone_function(state->program, one);
    state->kernel = kernel;
    sinter_schedule_init(&state->schedule, state->program, *place);
    sinter_schedule_simplify(&state->schedule);
    bool weaves = sinter_schedule_cpu_would_weave(state);
    sinter_schedule_deinit(&state->schedule);
    *place = other;
    return weaves;
}

/* ---- the calls ---- */

typedef struct forking {
    sinter_loop_program *program;
    uint32_t kernel, one;
    uint32_t argument; /* position of the parameter */
} forking;

/* What the host allocates for the call alone leaves the list, followed by the call. */
static sinter_loop_stmt *take_call(forking *f, sinter_loop_stmt **first, sinter_loop_stmt *call) {
    sinter_loop_stmt *taken = NULL, **end = &taken;
    while (*first != call) {
        sinter_loop_stmt *stmt = *first;
        if (stmt->kind != SINTER_LOOP_ALLOC ||
            !sinter_loop_is_scratch_of(f->program, call, stmt->buffer)) {
            first = &stmt->next;
            continue;
        }
        *first = stmt->next;
        *end = stmt;
        end = &stmt->next;
    }
    *end = call;
    *first = call->next;
    call->next = NULL;
    return taken;
}

/* The host's branches in place of the call; the statement behind them hangs at what is returned. */
static sinter_loop_stmt **fork_call(forking *f, sinter_loop_stmt **first, sinter_loop_stmt *call) {
    sinter_loop_stmt *rest = call->next, *list = take_call(f, first, call), *at;
    sinter_expr rows = call->arguments[f->argument];
    sinter_loop_map clone;
    sinter_loop_map_init(&clone, f->program, f->program->host);
    sinter_loop_builder *b = &clone.builder;
    sinter_expr one = sinter_loop_int(b, 1);
    if (rows->kind == SINTER_LOOP_VAR && !f->program->host->vars.items[rows->var].is_mutable)
        sinter_loop_map_var(&clone, rows->var, one);
    sinter_loop_stmt *other = sinter_loop_clone_list(&clone, list);
    for (at = other; at->next;) at = at->next;
    at->kernel = f->one;
    while (*first != rest) first = &(*first)->next;
    return sinter_loop_put_branches(b, first, sinter_loop_compare(b, SINTER_SCALAR_eq, rows, one),
                                    other, list);
}

static void fork_calls(forking *f, sinter_loop_stmt **first) {
    for (sinter_loop_stmt **link = first; *link;) {
        sinter_loop_stmt *stmt = *link;
        if (stmt->kind == SINTER_LOOP_CALL_KERNEL && stmt->kernel == f->kernel) {
            link = fork_call(f, first, stmt);
            continue;
        }
        fork_calls(f, &stmt->body);
        fork_calls(f, &stmt->else_body);
        link = &stmt->next;
    }
}

void sinter_cpu_fork_kernels(sinter_schedule_cpu_state *state) {
    sinter_loop_program *program = state->program;
    const uint32_t count = (uint32_t)program->kernels.count;
    for (uint32_t i = 0; i < count && program->host; i++) {
        const sinter_loop_function *function = program->kernels.items[i];
        sinter_loop_var rows = find_rows(function);
        if (!rows) continue;
        sinter_loop_function *one = specialize(program, function, rows);
        if (!pays(state, i, one)) continue;
        forking f = {.program = program, .kernel = i, .one = (uint32_t)program->kernels.count};
        while (function->scalar_parameters.items[f.argument] != rows) f.argument++;
        sinter_vector_push(&program->arena, &program->kernels, one);
        fork_calls(&f, &program->host->body);
    }
    if (program->kernels.count > count) sinter_cpu_find_passed(state);
}
