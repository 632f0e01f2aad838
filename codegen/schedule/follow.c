/* Following: what a loop makes for a later one, an element of scratch an iteration, is made in the order in which that one reads it. The
 * reader finds the place of its own iteration, which the first loop has filled with what was at the place that was read.
 *   for p { s[p] = f(p) } ... for t { s[g(t)] }  ->  for p { s[p] = f(g(p)) } ... for t { s[t] }
 * Needs: scratch that nobody else reads. Guarantees: the same values; what is read twice is made twice, what is not read is not made.
 * Test: tests/codegen/schedule/follow.loops, tests/unit/loop_property_test.c */
#include "codegen/loops/linear.h"
#include "codegen/loops/uses.h"
#include "codegen/schedule/internal.h"

typedef struct following {
    sinter_schedule *schedule;
    sinter_arena *scratch;
    sinter_loop_scopes scopes;
    sinter_loop_builder builder;
    sinter_schedule_path around;
    sinter_loop_stmt *maker, *reader;
    sinter_loop_access_list made, read, all;
    sinter_loop_buffer buffer; /* one that the maker stores, */
    uint32_t axis;             /* along which it goes */
    sinter_expr
        place; /* that the reader reads, in terms of its variable; the same for all buffers */
} following;

/* ---- scratch ---- */

typedef struct call_search {
    const sinter_loop_program *program;
    const sinter_loop_function *kernel;
    uint32_t parameter, calls;
    bool shared;
} call_search;

static bool search_call(void *user, sinter_loop_stmt *stmt) {
    call_search *search = user;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL ||
        search->program->kernels.items[stmt->kernel] != search->kernel)
        return true;
    search->calls++;
    search->shared |= !sinter_loop_is_scratch_of(search->program, stmt,
                                                 stmt->buffer_arguments[search->parameter]);
    return true;
}

bool sinter_schedule_is_scratch(const sinter_schedule *schedule, sinter_loop_buffer buffer) {
    const sinter_loop_function *function = schedule->function;
    call_search search = {.program = schedule->program, .kernel = function};
    sinter_loop_scope scope = function->buffers.items[buffer].scope;
    if (scope == SINTER_SCOPE_STACK) return true;
    if (scope != SINTER_SCOPE_INOUT || !schedule->program->host) return false;
    while (search.parameter < function->buffer_parameters.count &&
           function->buffer_parameters.items[search.parameter] != buffer)
        search.parameter++;
    if (search.parameter == function->buffer_parameters.count) return false;
    sinter_loop_walk(schedule->program->host->body, search_call, &search);
    return search.calls && !search.shared;
}

/* ---- the loops ---- */

static bool has_branch(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_IF || stmt->kind == SINTER_LOOP_WHILE ||
            has_branch(stmt->body))
            return true;
    return false;
}

static bool check_loops(following *f) {
    const sinter_loop_stmt *maker = f->maker, *reader = f->reader;
    if (maker->axis != SINTER_AXIS_SERIAL || reader->axis != SINTER_AXIS_SERIAL ||
        maker->step != 1 || reader->step != 1)
        return sinter_schedule_refuse(f->schedule, "the loops are marked already or have a step");
    if (!sinter_loop_expr_equal(maker->lower, reader->lower) ||
        !sinter_loop_expr_equal(maker->upper, reader->upper) ||
        !sinter_schedule_bounds_fixed(maker, maker))
        return sinter_schedule_refuse(f->schedule, "the loops do not have the same bounds");
    if (has_branch(maker->body))
        return sinter_schedule_refuse(f->schedule, "the first loop may leave elements out");
    return sinter_schedule_is_independent(f->schedule, maker);
}

/* The one buffer that the first loop fills, and its axis. */
static bool find_buffer(following *f) {
    sinter_loop_var var = f->maker->var;
    for (size_t i = 0; i < f->made.count; i++) {
        const sinter_loop_access *access = &f->made.items[i];
        uint32_t axis;
        if (!access->is_store) continue;
        if ((f->buffer && f->buffer != access->buffer) ||
            !sinter_loop_find_axis(access->indices, access->rank, var, &axis) ||
            (f->buffer && axis != f->axis))
            return sinter_schedule_refuse(f->schedule, "%s does not fill one buffer place by place",
                                          sinter_schedule_var_name(f->schedule, var));
        f->buffer = access->buffer;
        f->axis = axis;
    }
    if (!f->buffer) return sinter_schedule_refuse(f->schedule, "the first loop fills nothing");
    return sinter_schedule_is_scratch(f->schedule, f->buffer) ||
           sinter_schedule_refuse(f->schedule, "somebody else may read %%%s",
                                  f->schedule->function->buffers.items[f->buffer].name);
}

/* ---- the place that is read ---- */

static bool is_around(const following *f, sinter_loop_var var) {
    for (size_t i = 0; i < f->around.count; i++)
        if (f->around.items[i]->kind == SINTER_LOOP_FOR && f->around.items[i]->var == var)
            return true;
    return false;
}

typedef struct place_check {
    following *f;
    bool fits;
} place_check;

/* The first loop can compute it: of variables that it sees, and of elements of inputs that are there for sure. */
static void check_place(void *user, sinter_expr expr) {
    place_check *check = user;
    following *f = check->f;
    const sinter_loop_function *function = f->schedule->function;
    if (expr->kind == SINTER_LOOP_VAR)
        check->fits &= expr->var == f->reader->var ||
                       (is_around(f, expr->var) &&
                        sinter_loop_tells_apart(&f->all, f->buffer, expr->var, SINTER_MAX_RANK)) ||
                       (function->vars.items[expr->var].is_parameter &&
                        !function->vars.items[expr->var].is_mutable);
    if (expr->kind != SINTER_LOOP_LOAD) return;
    const sinter_loop_buffer_info *info = &function->buffers.items[expr->buffer];
    check->fits &= info->scope == SINTER_SCOPE_INPUT;
    for (uint32_t i = 0; i < info->rank; i++) {
        int64_t dim, min, max;
        check->fits &= sinter_loop_is_const_int(info->dims[i], &dim) &&
                       sinter_loop_range(function, expr->arguments[i], &min, &max) && min >= 0 &&
                       max < dim;
    }
}

/* It is one of the places that the first loop fills. */
static bool is_filled(following *f) {
    sinter_loop_builder *b = &f->builder;
    sinter_expr above = sinter_loop_sub(b, f->place, f->reader->upper),
                below = sinter_loop_sub(b, f->reader->lower, f->place),
                next = sinter_loop_add(b, sinter_loop_var_read(b, f->reader->var),
                                       sinter_loop_int(b, 1)),
                left = sinter_loop_sub(b, f->reader->upper, next); /* in an iteration */
    return sinter_linear_at_most(b->function, below, 0, NULL) &&
           sinter_linear_at_most(b->function, above, -1, left);
}

static bool find_place(following *f) {
    const sinter_loop_function *function = f->schedule->function;
    const char *name = function->buffers.items[f->buffer].name;
    size_t accesses = 0, known = 0;
    for (size_t i = 0; i < f->all.count; i++) accesses += f->all.items[i].buffer == f->buffer;
    for (size_t i = 0; i < f->made.count; i++) known += f->made.items[i].buffer == f->buffer;
    for (size_t i = 0; i < f->read.count; i++) {
        const sinter_loop_access *access = &f->read.items[i];
        if (access->buffer != f->buffer) continue;
        known++;
        sinter_expr place = sinter_loop_map_expr(&f->scopes.lets, access->indices[f->axis]);
        if (access->is_store || (f->place && !sinter_loop_expr_equal(f->place, place)))
            return sinter_schedule_refuse(f->schedule, "%%%s is not read at one place", name);
        f->place = place;
    }
    if (known != accesses || !f->place)
        return sinter_schedule_refuse(f->schedule, "not the second loop alone reads %%%s", name);
    place_check check = {.f = f, .fits = true};
    sinter_loop_walk_expr(f->place, check_place, &check);
    return (check.fits && is_filled(f)) ||
           sinter_schedule_refuse(f->schedule, "where %%%s is read is not known before", name);
}

/* ---- the verb ---- */

typedef struct new_index {
    uint32_t axis, rank;
    sinter_expr value;
} new_index;

static uint32_t set_index(void *user, sinter_loop_buffer buffer, sinter_expr *indices) {
    const new_index *index = user;
    (void)buffer;
    indices[index->axis] = index->value;
    return index->rank;
}

static void set_indices(following *f, sinter_loop_stmt *loop) {
    sinter_loop_builder *b = &f->builder;
    new_index index = {f->axis, f->schedule->function->buffers.items[f->buffer].rank,
                       sinter_loop_var_read(b, loop->var)};
    sinter_loop_change_indices(b->arena, loop->body, f->buffer, set_index, &index);
}

static void follow(following *f) {
    sinter_loop_map reader, maker;
    sinter_loop_map_init(&reader, f->schedule->program, f->schedule->function);
    sinter_loop_map_init(&maker, f->schedule->program, f->schedule->function);
    sinter_loop_map_var(&reader, f->reader->var, sinter_loop_var_read(&f->builder, f->maker->var));
    sinter_loop_map_var(&maker, f->maker->var, sinter_loop_map_expr(&reader, f->place));
    sinter_loop_map_list(&maker, f->maker->body);
    set_indices(f, f->maker);
    set_indices(f, f->reader);
}

bool sinter_schedule_follow(sinter_schedule *schedule, sinter_loop_var maker,
                            sinter_loop_var reader) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, maker);
    if (!link) return false;
    sinter_loop_stmt *other = sinter_schedule_find_behind(schedule, *link, reader);
    if (!other) return false;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    following f = {.schedule = schedule, .scratch = &scratch, .maker = *link, .reader = other};
    sinter_loop_builder_init(&f.builder, schedule->program, schedule->function);
    /* What it makes becomes part of the program. */
    sinter_loop_scopes_init(&f.scopes, schedule->program, schedule->function,
                            &schedule->program->arena);
    f.around = sinter_schedule_path_to(schedule, link, &scratch);
    sinter_loop_collect_accesses(&scratch, f.maker->body, &f.made);
    sinter_loop_collect_accesses(&scratch, f.reader->body, &f.read);
    sinter_loop_collect_accesses(&scratch, schedule->function->body, &f.all);
    bool good = check_loops(&f) && find_buffer(&f) && find_place(&f);
    sinter_loop_function *saved = good ? sinter_schedule_save(schedule) : NULL;
    if (good) follow(&f);
    sinter_arena_deinit(&scratch);
    return good && sinter_schedule_keeps_marks(schedule, saved);
}
