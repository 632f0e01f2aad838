/* Vector axes on a device: elements that the lanes of one thread touch and that follow each other are read before the lanes run,
 * and written after them, by accesses of up to 16 bytes. Where a condition leaves lanes out, as that of a masked tail does, a thread
 * whose lanes all run does so, another goes through its lanes one by one.
 * Test: tests/codegen/emit_cuda/vector.loops */
#include "codegen/emit/c.h"
#include "codegen/loops/align.h"

typedef struct lanes {
    sinter_c_emitter *e;
    sinter_loop_scopes scopes;
    sinter_arena arena;
    sinter_loop_var var;
    int64_t count;
    const sinter_loop_stmt *list; /* the body, without the condition around it */
} lanes;

/* ---- what is wide ---- */

typedef struct touches {
    sinter_loop_buffer buffer;
    const sinter_loop_stmt *store; /* the last one */
    uint32_t loads, stores;
    bool elsewhere; /* some load is of another element than the store, or behind it */
} touches;

static bool has_place(const sinter_loop_stmt *store, sinter_expr load) {
    for (uint32_t i = 0; i < load->argument_count; i++)
        if (!sinter_loop_expr_equal(store->arguments[i], load->arguments[i])) return false;
    return true;
}

static void count_touch(void *user, sinter_expr expr) {
    touches *t = user;
    if (expr->kind != SINTER_LOOP_LOAD || expr->buffer != t->buffer) return;
    t->loads++;
    t->elsewhere |= !t->store || !has_place(t->store, expr);
}

static bool stores_to(const sinter_loop_stmt *s, sinter_loop_buffer buffer) {
    return s->kind == SINTER_LOOP_STORE && s->buffer == buffer;
}

static touches touches_of(const lanes *l, sinter_loop_buffer buffer) {
    touches t = {.buffer = buffer};
    for (const sinter_loop_stmt *s = l->list; s; s = s->next) {
        if (!stores_to(s, buffer)) continue;
        t.store = s;
        t.stores++;
    }
    bool behind = false;
    for (const sinter_loop_stmt *s = l->list; s; s = s->next) {
        const uint32_t before = t.loads;
        sinter_loop_walk_stmt_exprs(s, count_touch, &t);
        t.elsewhere |= behind && t.loads > before;
        behind |= stores_to(s, buffer);
    }
    return t;
}

/* Loads may all be done first where nothing is stored there, a store last where it is the only access; and both where each lane reads the
 * element that it writes, before it does. */
static bool is_wide(lanes *l, sinter_loop_buffer buffer, const sinter_expr *indices, bool is_store,
                    sinter_expr *out_first) {
    const touches t = touches_of(l, buffer);
    const bool updates = t.stores == 1 && !t.store->combine && !t.elsewhere;
    const bool moves = updates || (is_store ? t.stores == 1 && !t.loads : !t.stores);
    return moves && sinter_loop_is_wide(&l->scopes, l->var, l->count, buffer, indices, out_first);
}

static uint32_t new_wide(lanes *l, sinter_loop_buffer buffer) {
    sinter_c_emitter *e = l->e;
    const uint32_t number = ++e->wide_count;
    sinter_c_write(e, "array<%s, %lld> wide%u;",
                   sinter_c_memory(e->function->buffers.items[buffer].dtype), (long long)l->count,
                   number);
    return number;
}

typedef struct load_search {
    lanes *l;
    SINTER_VECTOR(sinter_expr) loads; /* that are wide already */
} load_search;

static void read_wide(void *user, sinter_expr expr) {
    load_search *search = user;
    lanes *l = search->l;
    sinter_expr first;
    uint64_t number;
    if (expr->kind != SINTER_LOOP_LOAD || sinter_map_find(&l->e->wide, (uintptr_t)expr, &number) ||
        !is_wide(l, expr->buffer, expr->arguments, false, &first))
        return;
    for (size_t i = 0; i < search->loads.count; i++) { /* the same element once more */
        if (!sinter_loop_expr_equal(search->loads.items[i], expr)) continue;
        sinter_map_find(&l->e->wide, (uintptr_t)search->loads.items[i], &number);
        sinter_map_put(&l->e->wide, (uintptr_t)expr, number);
        return;
    }
    const uint32_t fresh = new_wide(l, expr->buffer);
    sinter_c_write(l->e, "sinter_read(wide%u, %s, %s);", fresh, l->e->buffers[expr->buffer],
                   sinter_c_index_text(l->e, first));
    sinter_map_put(&l->e->wide, (uintptr_t)expr, fresh);
    sinter_vector_push(&l->arena, &search->loads, expr);
}

/* ---- the text ---- */

static void write_lanes(lanes *l) {
    sinter_c_emitter *e = l->e;
    const char *var = e->vars[l->var];
    sinter_c_write(e, "%s", e->dialect->unroll);
    sinter_c_write(e, "for (int64_t %s = 0; %s < %lld; %s++) {", var, var, (long long)l->count,
                   var);
    e->indent++;
    sinter_c_statements(e, l->list);
    e->indent--;
    sinter_c_write(e, "}");
}

static void write_wide(lanes *l) {
    sinter_c_emitter *e = l->e;
    load_search search = {.l = l};
    sinter_map_init(&e->wide, &l->arena);
    e->lane = l->var;
    sinter_map_init(&e->temporaries, e->arena); /* none is visible here */
    for (const sinter_loop_stmt *s = l->list; s; s = s->next)
        sinter_loop_walk_stmt_exprs(s, read_wide, &search);
    for (const sinter_loop_stmt *s = l->list; s; s = s->next) {
        sinter_expr first;
        if (s->kind == SINTER_LOOP_STORE && !s->combine &&
            is_wide(l, s->buffer, s->arguments, true, &first))
            sinter_map_put(&e->wide, (uintptr_t)s, new_wide(l, s->buffer));
    }
    write_lanes(l);
    for (const sinter_loop_stmt *s = l->list; s; s = s->next) {
        uint64_t number;
        sinter_expr first;
        if (!sinter_map_find(&e->wide, (uintptr_t)s, &number)) continue;
        is_wide(l, s->buffer, s->arguments, true, &first);
        sinter_c_write(e, "sinter_write(%s, %s, wide%llu);", e->buffers[s->buffer],
                       sinter_c_index_text(e, first), (unsigned long long)number);
    }
    e->lane = 0;
}

/* The last lane runs, and so do all: v + ... < limit. NULL: this is no such condition. */
static sinter_expr whole_condition(lanes *l, sinter_expr condition) {
    sinter_loop_builder *b = &l->scopes.builder;
    sinter_expr coefficient, rest;
    int64_t stride;
    if (condition->kind != SINTER_LOOP_CALL || condition->function != SINTER_SCALAR_lt ||
        condition->arguments[0]->dtype != SINTER_DTYPE_i64)
        return NULL;
    sinter_expr left = sinter_loop_map_expr(&l->scopes.lets, condition->arguments[0]),
                limit = sinter_loop_map_expr(&l->scopes.lets, condition->arguments[1]);
    if (sinter_loop_expr_uses(limit, l->var) || sinter_loop_expr_loads(limit, 0) ||
        sinter_loop_expr_loads(left, 0) ||
        !sinter_loop_affine(b, left, l->var, &coefficient, &rest) ||
        !sinter_loop_is_const_int(coefficient, &stride) || stride < 0)
        return NULL;
    sinter_expr last = sinter_loop_add(b, rest, sinter_loop_int(b, stride * (l->count - 1)));
    return sinter_loop_compare(b, SINTER_SCALAR_lt, last, limit);
}

static bool is_flat(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next)
        if (s->kind != SINTER_LOOP_STORE && s->kind != SINTER_LOOP_DECLARE &&
            s->kind != SINTER_LOOP_COMMENT)
            return false;
    return true;
}

/* there: ", " and where it is not the zeros of else; or nothing. */
static void write_copy(sinter_c_emitter *e, const sinter_loop_stmt *store, int64_t count,
                       const char *to, const char *from, const char *there) {
    sinter_c_write(e, "sinter_copy<%lld>(%s, %s, %s, %s%s);", (long long)count,
                   e->buffers[store->buffer], to, e->buffers[store->value->buffer], from, there);
}

void sinter_cuda_copy(sinter_c_emitter *e, const sinter_loop_stmt *store) {
    const sinter_loop_expr *load = store->value;
    const char *to = sinter_c_position(e, store->buffer, store->arguments),
               *from = sinter_c_position(e, load->buffer, load->arguments);
    write_copy(e, store, 1, to, from, "");
}

/* The elements of all lanes, of which the verifier knows that they lie together. */
static void write_copies(lanes *l, const sinter_loop_stmt *store, const char *there) {
    const sinter_loop_expr *load = store->value;
    sinter_expr to = NULL, from = NULL;
    if (sinter_loop_is_wide(&l->scopes, l->var, l->count, store->buffer, store->arguments, &to) &&
        sinter_loop_is_wide(&l->scopes, l->var, l->count, load->buffer, load->arguments, &from))
        write_copy(l->e, store, l->count, sinter_c_index_text(l->e, to),
                   sinter_c_index_text(l->e, from), there);
    else
        sinter_c_error(l->e, "a copy whose elements do not lie together [emit_c15]");
}

static void begin_lanes(lanes *l, sinter_c_emitter *e, const sinter_loop_stmt *loop) {
    *l = (lanes){.e = e, .var = loop->var, .list = loop->body};
    sinter_arena_init(&l->arena);
    sinter_loop_trip_count(loop, &l->count);
    sinter_loop_scopes_init(&l->scopes, (sinter_loop_program *)(uintptr_t)e->program,
                            (sinter_loop_function *)(uintptr_t)e->function, e->arena);
}

/* The one asynchronous store of a list, perhaps in a vector axis. */
static const sinter_loop_stmt *only_copy(const sinter_loop_stmt *list,
                                         const sinter_loop_stmt **out_lanes) {
    *out_lanes = NULL;
    if (list && !list->next && list->kind == SINTER_LOOP_FOR && list->axis == SINTER_AXIS_VECTOR) {
        *out_lanes = list;
        list = list->body;
    }
    const bool found = list && !list->next && list->kind == SINTER_LOOP_STORE && list->asynchronous;
    return found ? list : NULL;
}

/* The zeros go to the elements that are copied. */
static bool has_same_place(sinter_c_emitter *e, const sinter_loop_stmt *copy,
                           const sinter_loop_stmt *zero, const sinter_loop_stmt *copy_lanes,
                           const sinter_loop_stmt *zero_lanes) {
    int64_t count = 1, zero_count = 1;
    sinter_loop_map map;
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, (sinter_loop_program *)(uintptr_t)e->program,
                             (sinter_loop_function *)(uintptr_t)e->function);
    sinter_loop_map_init(&map, (sinter_loop_program *)(uintptr_t)e->program,
                         (sinter_loop_function *)(uintptr_t)e->function);
    if (copy_lanes) {
        sinter_loop_trip_count(copy_lanes, &count);
        sinter_loop_trip_count(zero_lanes, &zero_count);
        sinter_loop_map_var(&map, zero_lanes->var, sinter_loop_var_read(&b, copy_lanes->var));
    }
    for (uint32_t i = 0; i < copy->argument_count; i++)
        if (!sinter_loop_expr_equal(copy->arguments[i],
                                    sinter_loop_map_expr(&map, zero->arguments[i])))
            return false;
    return count == zero_count;
}

bool sinter_cuda_copy_or_zero(sinter_c_emitter *e, const sinter_loop_stmt *branch) {
    const sinter_loop_stmt *copy_lanes, *zero_lanes,
        *copy = only_copy(branch->body, &copy_lanes),
        *zero = only_copy(branch->else_body, &zero_lanes);
    if (!copy || !zero || copy->buffer != zero->buffer || !copy_lanes != !zero_lanes ||
        copy->value->kind != SINTER_LOOP_LOAD || zero->value->kind != SINTER_LOOP_CONST ||
        !has_same_place(e, copy, zero, copy_lanes, zero_lanes))
        return false;
    const char *there =
        sinter_arena_format(e->arena, ", %s", sinter_c_condition_text(e, branch->value));
    if (copy_lanes) {
        lanes l;
        begin_lanes(&l, e, copy_lanes);
        write_copies(&l, copy, there);
        sinter_arena_deinit(&l.arena);
    } else {
        write_copy(e, copy, 1, sinter_c_position(e, copy->buffer, copy->arguments),
                   sinter_c_position(e, copy->value->buffer, copy->value->arguments), there);
    }
    return true;
}

void sinter_cuda_vector(sinter_c_emitter *e, const sinter_loop_stmt *loop) {
    lanes l;
    begin_lanes(&l, e, loop);
    if (loop->body && loop->body->asynchronous && loop->body->value->kind == SINTER_LOOP_LOAD) {
        write_copies(&l, loop->body, "");
        sinter_arena_deinit(&l.arena);
        return;
    }
    const sinter_loop_stmt *guard = loop->body;
    sinter_expr whole = NULL;
    if (guard && guard->kind == SINTER_LOOP_IF && !guard->next && !guard->else_body &&
        is_flat(guard->body) && (whole = whole_condition(&l, guard->value))) {
        sinter_c_write(e, "if (%s) {", sinter_c_condition_text(e, whole));
        e->indent++;
        l.list = guard->body;
        write_wide(&l);
        e->indent--;
        sinter_c_write(e, "} else {");
        e->indent++;
        l.list = loop->body;
        write_lanes(&l);
        e->indent--;
        sinter_c_write(e, "}");
    } else if (is_flat(loop->body)) {
        sinter_c_write(e, "{");
        e->indent++;
        write_wide(&l);
        e->indent--;
        sinter_c_write(e, "}");
    } else {
        write_lanes(&l);
    }
    sinter_arena_deinit(&l.arena);
}
