/* The choice of schedule for CPUs: which loop runs in parallel, which in vector lanes, what is tiled and packed. This
 * file walks the program and asks the schedules of cpu.h, which says in what order.
 * Test: tests/codegen/schedule/ */
#include "codegen/schedule/cpu/constant.h"
#include "codegen/schedule/cpu/dot.h"
#include "codegen/schedule/cpu/scratch.h"
#include "ir/base/map.h"

#include <string.h>

uint32_t sinter_schedule_cpu_lanes(const sinter_target *target, sinter_dtype dtype) {
    uint32_t bits = sinter_dtype_infos[dtype].bits;
    uint32_t lanes = bits >= 8 ? target->vector_bytes * 8 / bits : 1;
    return lanes ? lanes : 1;
}

/* ---- nests within nests ---- */

typedef struct nest {
    sinter_loop_var loop;
    bool sums; /* has variables that change, as sums and what scans do */
} nest;
typedef SINTER_VECTOR(nest) nest_list;

typedef struct sum_search {
    const sinter_loop_function *function;
    bool found;
} sum_search;

static bool find_sum(void *user, sinter_loop_stmt *stmt) {
    sum_search *s = user;
    s->found |= sinter_loop_assigns(stmt) || (stmt->kind == SINTER_LOOP_DECLARE &&
                                              s->function->vars.items[stmt->var].is_mutable);
    return !s->found;
}

/* The serial and parallel loops of a list, also those in branches, that are not known yet: now they are. */
static void find_loops(const sinter_loop_function *function, const sinter_loop_stmt *first,
                       sinter_arena *scratch, sinter_map *known, nest_list *list) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        uint64_t before;
        if (stmt->kind == SINTER_LOOP_FOR) {
            bool open = stmt->axis == SINTER_AXIS_SERIAL || stmt->axis == SINTER_AXIS_PARALLEL;
            if (!open || sinter_map_find(known, stmt->var, &before)) continue;
            sum_search search = {.function = function};
            sinter_loop_walk(stmt->body, find_sum, &search);
            sinter_map_put(known, stmt->var, 1);
            sinter_vector_push(scratch, list, (nest){stmt->var, search.found});
            continue;
        }
        find_loops(function, stmt->body, scratch, known, list);
        find_loops(function, stmt->else_body, scratch, known, list);
    }
}

static bool find_marked(void *user, sinter_loop_stmt *stmt) {
    bool *found = user;
    *found |= stmt->kind == SINTER_LOOP_FOR && stmt->axis != SINTER_AXIS_SERIAL &&
              stmt->axis != SINTER_AXIS_PARALLEL;
    return !*found;
}

/* Something in the loop has been decided about. */
static bool is_scheduled(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(state->schedule.function, loop);
    bool found = false;
    if (stmt) sinter_loop_walk(stmt->body, find_marked, &found);
    return found;
}

/* Loops that nobody takes as they are: a step of time, directions, rows with several nests of their own. */
static void schedule_inside(sinter_schedule_cpu_state *state, sinter_loop_var loop,
                            bool (*schedule)(sinter_schedule_cpu_state *, sinter_loop_var)) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(state->schedule.function, loop);
    nest_list inner = {0};
    sinter_map known;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_map_init(&known, &scratch);
    if (stmt) find_loops(state->schedule.function, stmt->body, &scratch, &known, &inner);
    for (size_t i = 0; i < inner.count; i++) schedule(state, inner.items[i].loop);
    sinter_arena_deinit(&scratch);
}

/* True: the whole loop is done. */
static bool schedule_contractions(sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    if (is_scheduled(state, loop)) { /* woven; others may be inside */
        schedule_inside(state, loop, schedule_contractions);
        return false;
    }
    if (sinter_schedule_cpu_is_row(state, loop)) return false;
    if (sinter_schedule_cpu_sparse(state, loop) || sinter_schedule_cpu_contract(state, loop) ||
        sinter_schedule_cpu_window(state, loop))
        return true;
    sinter_cpu_fork_few_rows(state, loop);
    schedule_inside(state, loop, schedule_contractions);
    return false;
}

static bool schedule_rest(sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    bool partly = is_scheduled(state, loop);
    if (!partly && sinter_schedule_cpu_reduce(state, loop)) return true;
    if (!partly) loop = sinter_schedule_cpu_elementwise(state, loop);
    if (partly || !is_scheduled(state, loop)) schedule_inside(state, loop, schedule_rest);
    return true;
}

/* Neighbours of which one is worth a second thread run together where they may: what one nest fell into, as a rule. A loop
 * that alone is too small for threads costs nothing then. */
static void join_parallel(sinter_schedule_cpu_state *state) {
    enum { MAX_GROUP = 8 }; /* every loop is compared with all of its group */
    sinter_schedule *schedule = &state->schedule;
    uint32_t size = 1;
    for (sinter_loop_stmt *stmt = schedule->function->body, *next; stmt && stmt->next;
         stmt = next) {
        next = stmt->next;
        bool pair = stmt->kind == SINTER_LOOP_FOR && next->kind == SINTER_LOOP_FOR &&
                    size < MAX_GROUP &&
                    (stmt->axis == SINTER_AXIS_PARALLEL || next->axis == SINTER_AXIS_PARALLEL);
        sinter_loop_axis axis = stmt->axis, next_axis = next->axis;
        if (pair && axis != SINTER_AXIS_PARALLEL)
            pair = sinter_schedule_parallelize(schedule, stmt->var);
        if (pair && next_axis != SINTER_AXIS_PARALLEL)
            pair = sinter_schedule_parallelize(schedule, next->var);
        pair = pair && sinter_schedule_join(schedule, next->var);
        if (pair && sinter_schedule_unite(schedule, next->var)) {
            next = stmt;
            continue;
        }
        size = pair ? size + 1 : 1;
        if (pair) continue;
        stmt->axis = axis;
        next->axis = next_axis;
    }
}

/* ---- kernels ---- */

static bool is_copy(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    size_t i = 0;
    while (i < state->copies.count && state->copies.items[i] != loop) i++;
    return i < state->copies.count;
}

/* Contractions come first: they pack constants, whose dims the others forget. They change what parameters are, so they see the whole
 * kernel. Marks as known the loops that are done. */
static void schedule_sums(sinter_schedule_cpu_state *state, sinter_arena *scratch,
                          sinter_map *done) {
    const sinter_loop_function *function = state->schedule.function;
    nest_list nests = {0};
    sinter_map seen;
    sinter_map_init(&seen, scratch);
    find_loops(function, function->body, scratch, &seen, &nests);
    for (size_t i = 0; i < nests.count; i++) {
        if (!nests.items[i].sums) continue;
        bool taken = schedule_contractions(state, nests.items[i].loop);
        if (taken) sinter_map_put(done, nests.items[i].loop, 1);
        /* The parts that a nest fell into are done with it, or are looked at below. */
        nest_list parts = {0};
        find_loops(function, function->body, scratch, &seen, &parts);
        for (size_t k = 0; k < parts.count && taken; k++)
            if (!is_copy(state, parts.items[k].loop)) sinter_map_put(done, parts.items[k].loop, 1);
    }
}

static void schedule_nest(sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    sinter_schedule_chain alone = {{loop}, 1};
    if (is_scheduled(state, loop)) sinter_schedule_cpu_parallelize(state, &alone, 0);
    schedule_rest(state, loop);
}

/* The nests that are left, each in the part of the kernel that it belongs to. */
static void schedule_parts(sinter_schedule_cpu_state *state, const nest_list *nests,
                           sinter_arena *scratch) {
    sinter_loop_function *kernel = state->schedule.function;
    sinter_loop_part_lengths lengths;
    sinter_loop_parts parts;
    sinter_loop_part part;
    sinter_map left;
    sinter_map_init(&left, scratch);
    for (size_t i = 0; i < nests->count; i++) sinter_map_put(&left, nests->items[i].loop, 1);
    sinter_loop_find_parts(scratch, kernel, &lengths);
    sinter_loop_parts_init(&parts, state->program, kernel, scratch);
    sinter_loop_stmt **link = &kernel->body;
    for (size_t i = 0; i < lengths.count; i++) {
        sinter_loop_take_part(&parts, link, lengths.items[i], &part);
        nest_list inside = {0};
        sinter_map known;
        sinter_map_init(&known, scratch);
        find_loops(part.function, part.function->body, scratch, &known, &inside);
        state->part = &part;
        state->schedule.function = part.function;
        for (size_t k = 0; k < inside.count; k++) {
            uint64_t value;
            if (sinter_map_find(&left, part.vars.items[inside.items[k].loop], &value))
                schedule_nest(state, inside.items[k].loop);
        }
        state->part = NULL;
        state->schedule.function = kernel;
        link = sinter_loop_put_back(&parts, &part);
    }
}

static void schedule_kernel(sinter_schedule_cpu_state *state) {
    nest_list rest = {0};
    sinter_map done;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_map_init(&done, &scratch);
    sinter_loop_function *function = state->program->kernels.items[state->kernel];
    sinter_schedule_init(&state->schedule, state->program, function);
    state->flattened = false;
    state->copies.count = 0;
    sinter_cpu_begin_choices(state);
    sinter_schedule_simplify(&state->schedule); /* axes of one element are no loops */
    sinter_schedule_cpu_narrow_sums(state);
    sinter_schedule_cpu_weave(state);
    schedule_sums(state, &scratch, &done);
    find_loops(function, function->body, &scratch, &done, &rest);
    /* Parameters become flat for all nests at once, where the first one asks for it. */
    while (rest.count && !state->flattened) {
        sinter_loop_var first = rest.items[0].loop;
        rest.items++;
        rest.count--;
        schedule_nest(state, first);
    }
    if (rest.count) schedule_parts(state, &rest, &scratch);
    sinter_schedule_simplify(&state->schedule);
    join_parallel(state);
    sinter_schedule_cpu_set_grains(state);
    sinter_cpu_move_scratch(state);
    sinter_cpu_end_choices(state);
    sinter_schedule_deinit(&state->schedule);
    sinter_arena_deinit(&scratch);
}

/* Loops stay as they are; scratch has to have room all the same. */
static void leave_kernel(sinter_schedule_cpu_state *state) {
    sinter_schedule_init(&state->schedule, state->program,
                         state->program->kernels.items[state->kernel]);
    sinter_cpu_move_scratch(state);
    sinter_schedule_deinit(&state->schedule);
}

bool sinter_schedule_cpu(sinter_loop_program *program, const sinter_target *target,
                         const sinter_schedule_options *options, sinter_diag *diag) {
    bool changes = options->level > 0;
    if (changes && options->tuning && strcmp(sinter_tuning_target(options->tuning), target->text))
        return sinter_error(diag, target->text,
                            "the tuning was measured for another target, %s: tune for this one, or "
                            "compile with --target [schedule_t1]",
                            sinter_tuning_target(options->tuning));
    sinter_schedule_cpu_state state = {
        .program = program, .target = target, .options = options, .diag = diag};
    sinter_arena_init(&state.scratch);
    sinter_cpu_find_passed(&state);
    if (changes) sinter_cpu_fork_kernels(&state);
    for (uint32_t i = 0; i < program->kernels.count && !state.failed; i++) {
        state.kernel = i;
        (changes ? schedule_kernel : leave_kernel)(&state);
    }
    bool good =
        !state.failed &&
        (!changes || sinter_schedule_keep_promises(program, &state.promises, &state.scratch, diag));
    sinter_arena_deinit(&state.scratch);
    return good;
}
