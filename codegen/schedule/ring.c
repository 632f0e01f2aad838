/* Rings: scratch of which only the last few places along an axis are alive becomes as long as these, place i at i % size.
 *   for t { ... s[t + 8] = ...; ... = s[t] }  ->  for t { ... s[(t + 8) % 16] = ...; ... = s[t % 16] }
 * What is touched at any time may not lie `size` or more places behind what was touched before: then a place is not given to another
 * element before its own has been read for the last time. Compared are statements of a block, and iterations of those that are loops.
 * Needs: scratch that nobody else reads. Guarantees: the same values.
 * Test: tests/codegen/schedule/ring.loops, tests/unit/loop_property_test.c */
#include "codegen/loops/linear.h"
#include "codegen/schedule/internal.h"

#include <string.h>

static const int64_t LONGEST = (int64_t)1 << 40; /* iterations of a loop */

typedef struct place {
    sinter_expr index;
    const sinter_loop_stmt *stmt; /* of the block */
    uint32_t position;            /* of this statement */
} place;

typedef struct ring {
    sinter_schedule *schedule;
    sinter_loop_buffer buffer;
    uint32_t axis;
    int64_t size;
    sinter_arena *scratch;
    sinter_loop_scopes scopes;
    sinter_loop_builder builder;
    bool *around;             /* by variable: a loop around the block */
    sinter_loop_var distance; /* of an iteration to a later one, or 0 */
    SINTER_VECTOR(place) places;
} ring;

/* ---- the block ---- */

static bool touches(const ring *r, const sinter_loop_stmt *stmt, sinter_loop_access_list *out) {
    sinter_loop_stmt alone = *stmt;
    sinter_loop_access_list all = {0};
    alone.next = NULL;
    out->count = 0;
    sinter_loop_collect_accesses(r->scratch, &alone, &all);
    for (size_t i = 0; i < all.count; i++)
        if (all.items[i].buffer == r->buffer) sinter_vector_push(r->scratch, out, all.items[i]);
    return out->count > 0;
}

/* The innermost block that has all accesses, in loops whose iterations have elements of their own. */
static const sinter_loop_stmt *find_block(ring *r) {
    const sinter_loop_stmt *block = r->schedule->function->body;
    for (;;) {
        const sinter_loop_stmt *only = NULL;
        sinter_loop_access_list accesses = {0}, some = {0};
        uint32_t count = 0;
        for (const sinter_loop_stmt *stmt = block; stmt; stmt = stmt->next) {
            if (!touches(r, stmt, &some)) continue;
            accesses = some;
            some = (sinter_loop_access_list){0};
            only = stmt;
            count++;
        }
        if (count != 1 || only->kind != SINTER_LOOP_FOR ||
            !sinter_loop_tells_apart(&accesses, r->buffer, only->var, r->axis))
            return block;
        r->around[only->var] = true;
        block = only->body;
    }
}

typedef struct index_check {
    const ring *r;
    bool fits;
} index_check;

/* Nothing that changes but variables of loops. */
static void check_index(void *user, sinter_expr expr) {
    index_check *check = user;
    const ring *r = check->r;
    check->fits &= expr->kind != SINTER_LOOP_LOAD;
    if (expr->kind != SINTER_LOOP_VAR) return;
    const sinter_loop_var_info *info = &r->schedule->function->vars.items[expr->var];
    const sinter_loop_stmt *made = r->scopes.vars[expr->var];
    check->fits &=
        !info->is_mutable && (info->is_parameter || (made && made->kind == SINTER_LOOP_FOR));
}

static bool is_known(const ring *r, sinter_expr expr) {
    index_check check = {.r = r, .fits = true};
    sinter_loop_walk_expr(expr, check_index, &check);
    return check.fits;
}

static bool list_places(ring *r, const sinter_loop_stmt *block) {
    const sinter_loop_function *function = r->schedule->function;
    uint32_t position = 0;
    bool fits = true;
    for (const sinter_loop_stmt *stmt = block; stmt; stmt = stmt->next, position++) {
        sinter_loop_access_list accesses = {0};
        touches(r, stmt, &accesses);
        for (size_t i = 0; i < accesses.count; i++) {
            sinter_expr index =
                sinter_loop_map_expr(&r->scopes.lets, accesses.items[i].indices[r->axis]);
            bool known = false;
            fits &= is_known(r, index);
            for (size_t k = r->places.count; k-- > 0 && !known;)
                known = r->places.items[k].position == position &&
                        sinter_loop_expr_equal(r->places.items[k].index, index);
            place one = {index, stmt, position};
            if (!known) sinter_vector_push(r->scratch, &r->places, one);
        }
    }
    if (!r->places.count) return sinter_schedule_refuse(r->schedule, "nothing reads it");
    return fits || sinter_schedule_refuse(r->schedule, "where %%%s is touched is not known",
                                          function->buffers.items[r->buffer].name);
}

/* ---- bounds ---- */

typedef struct loop_search {
    const ring *r;
    sinter_loop_var kept, found;
} loop_search;

static void find_inner(void *user, sinter_expr expr) {
    loop_search *search = user;
    const ring *r = search->r;
    if (expr->kind != SINTER_LOOP_VAR || expr->var == search->kept || r->around[expr->var]) return;
    /* Bounds of inner loops speak of outer ones, which were made before. */
    if (r->scopes.vars[expr->var] && expr->var > search->found) search->found = expr->var;
}

/* The most (or the least) that the index is in any iteration of the loops in the block but `kept`. */
static bool find_extreme(ring *r, sinter_expr index, sinter_loop_var kept, bool most,
                         sinter_expr *out) {
    enum { MOST_LOOPS = 16 };
    sinter_loop_builder *b = &r->builder;
    for (uint32_t round = 0; round < MOST_LOOPS; round++) {
        loop_search search = {.r = r, .kept = kept};
        sinter_expr coefficient, rest;
        int64_t factor;
        sinter_loop_walk_expr(index, find_inner, &search);
        *out = index;
        if (!search.found) return is_known(r, index);
        if (!sinter_loop_affine(b, index, search.found, &coefficient, &rest) ||
            !sinter_loop_is_const_int(coefficient, &factor))
            return false;
        const sinter_loop_stmt *loop = r->scopes.vars[search.found];
        sinter_expr end = most == (factor > 0)
                              ? sinter_loop_sub(b, loop->upper, sinter_loop_int(b, 1))
                              : loop->lower;
        index = sinter_loop_add(b, rest, sinter_loop_mul(b, coefficient, end));
    }
    return false;
}

/* What is touched at `later` is never `size` or more places behind what was touched at `sooner`. */
static bool keeps_up(ring *r, const place *sooner, const place *later) {
    sinter_loop_builder *b = &r->builder;
    bool serial = sooner->stmt == later->stmt && sooner->stmt->kind == SINTER_LOOP_FOR &&
                  sooner->stmt->axis == SINTER_AXIS_SERIAL;
    sinter_loop_var loop = serial ? sooner->stmt->var : 0;
    sinter_expr high, low;
    if (!find_extreme(r, sooner->index, loop, true, &high) ||
        !find_extreme(r, later->index, loop, false, &low))
        return false;
    if (serial) { /* in the same iteration, or in a later one */
        sinter_loop_map map;
        sinter_loop_map_init(&map, r->schedule->program, r->schedule->function);
        sinter_loop_map_var(&map, loop,
                            sinter_loop_add(b, sinter_loop_var_read(b, loop),
                                            sinter_loop_var_read(b, r->distance)));
        low = sinter_loop_map_expr(&map, low);
    }
    return sinter_linear_at_most(b->function, sinter_loop_sub(b, high, low), r->size - 1, NULL);
}

static bool all_keep_up(ring *r) {
    for (size_t i = 0; i < r->places.count; i++)
        for (size_t k = 0; k < r->places.count; k++) {
            const place *sooner = &r->places.items[i], *later = &r->places.items[k];
            if (sooner->position <= later->position && !keeps_up(r, sooner, later))
                return sinter_schedule_refuse(r->schedule,
                                              "%%%s may be touched at places too far apart",
                                              r->schedule->function->buffers.items[r->buffer].name);
        }
    return true;
}

/* ---- the verb ---- */

static uint32_t turn_index(void *user, sinter_loop_buffer buffer, sinter_expr *indices) {
    ring *r = user;
    sinter_loop_builder *b = &r->builder;
    indices[r->axis] = sinter_loop_rem(b, indices[r->axis], sinter_loop_int(b, r->size));
    return r->schedule->function->buffers.items[buffer].rank;
}

static void set_dim(const ring *r, sinter_loop_buffer_info *info) {
    sinter_loop_builder b = r->builder;
    sinter_expr *dims = SINTER_NEW_ARRAY(b.arena, sinter_expr, info->rank);
    memcpy(dims, info->dims, info->rank * sizeof *dims);
    dims[r->axis] = sinter_loop_int(&b, r->size);
    info->dims = dims;
}

static bool pass_ring(void *user, sinter_loop_stmt *stmt) {
    const ring *r = user;
    const sinter_loop_program *program = r->schedule->program;
    const sinter_loop_function *function = r->schedule->function;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL || program->kernels.items[stmt->kernel] != function)
        return true;
    for (uint32_t i = 0; i < stmt->buffer_argument_count; i++)
        if (function->buffer_parameters.items[i] == r->buffer)
            set_dim(r, &program->host->buffers.items[stmt->buffer_arguments[i]]);
    return true;
}

static bool check_buffer(const ring *r) {
    const sinter_loop_function *function = r->schedule->function;
    int64_t dim;
    if (!r->buffer || r->buffer >= function->buffers.count || r->size < 1 ||
        r->axis >= function->buffers.items[r->buffer].rank)
        return sinter_schedule_refuse(r->schedule, "there is no such buffer or axis");
    const sinter_loop_buffer_info *info = &function->buffers.items[r->buffer];
    if (!sinter_schedule_is_scratch(r->schedule, r->buffer))
        return sinter_schedule_refuse(r->schedule, "somebody else may read %%%s", info->name);
    return !sinter_loop_is_const_int(info->dims[r->axis], &dim) || dim > r->size ||
           sinter_schedule_refuse(r->schedule, "%%%s is no longer than that", info->name);
}

bool sinter_schedule_ring(sinter_schedule *schedule, sinter_loop_buffer buffer, uint32_t axis,
                          int64_t size) {
    sinter_loop_function *function = schedule->function;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    ring r = {.schedule = schedule,
              .buffer = buffer,
              .axis = axis,
              .size = size,
              .scratch = &scratch,
              .around = SINTER_NEW_ARRAY(&scratch, bool, function->vars.count)};
    sinter_loop_builder_init(&r.builder, schedule->program, function);
    sinter_loop_scopes_init(&r.scopes, schedule->program, function, &scratch);
    r.distance = sinter_loop_add_var(&r.builder, "later", SINTER_DTYPE_i64, false);
    sinter_loop_set_range(&r.builder, r.distance, 0, LONGEST);
    bool good = check_buffer(&r) && list_places(&r, find_block(&r)) && all_keep_up(&r);
    sinter_arena_deinit(&scratch);
    if (!good) return false;
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    sinter_loop_change_indices(r.builder.arena, function->body, buffer, turn_index, &r);
    set_dim(&r, &function->buffers.items[buffer]);
    if (!sinter_schedule_keeps_marks(schedule, saved)) return false;
    if (schedule->program->host) sinter_loop_walk(schedule->program->host->body, pass_ring, &r);
    return true;
}
