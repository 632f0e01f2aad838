/* Schedules of values: expand scalars, promote to registers, hoist and inline lets, pack operands.
 * Needs: a function that the verifier accepts. Guarantees: the same values, element by element.
 * Test: tests/unit/loop_property_test.c, tests/codegen/schedule/pack_input.loops */
#include "codegen/schedule/internal.h"

#include <string.h>

enum { MAX_REGISTER_ELEMENTS = 4096, MAX_EXPANDED_ELEMENTS = 1 << 16 };

/* ---- expand ---- */

typedef struct expansion {
    sinter_schedule *schedule;
    sinter_loop_builder builder;
    sinter_loop_var var;
    sinter_loop_buffer buffer;
    sinter_expr indices[SINTER_MAX_RANK];
    uint32_t rank;
} expansion;

static bool store_instead(void *user, sinter_loop_stmt *stmt) {
    expansion *e = user;
    bool sets = stmt->kind == SINTER_LOOP_DECLARE || stmt->kind == SINTER_LOOP_ASSIGN;
    if (sets && stmt->var == e->var) {
        stmt->kind = SINTER_LOOP_STORE;
        stmt->var = 0;
        stmt->buffer = e->buffer;
        stmt->arguments =
            sinter_arena_copy(e->builder.arena, e->indices, e->rank * sizeof *e->indices);
        stmt->argument_count = e->rank;
        stmt->combine = SINTER_SCALAR_NONE;
    }
    return true;
}

/* The loops enclose the declaration in this order, and no concurrent loop lies between without being one of them. */
static bool check_enclosing(sinter_schedule *schedule, const sinter_schedule_path *path,
                            const sinter_loop_var *loops, size_t count) {
    size_t next = 0;
    for (size_t i = 0; i < path->count; i++) {
        const sinter_loop_stmt *stmt = path->items[i];
        bool is_loop = stmt->kind == SINTER_LOOP_FOR;
        bool concurrent =
            is_loop && stmt->axis != SINTER_AXIS_SERIAL && stmt->axis != SINTER_AXIS_UNROLL;
        if (is_loop && next < count && stmt->var == loops[next])
            next++;
        else if (next && concurrent)
            return sinter_schedule_refuse(schedule, "iterations of %s would share the elements",
                                          sinter_schedule_var_name(schedule, stmt->var));
    }
    return next == count ||
           sinter_schedule_refuse(schedule, "the loops do not enclose the variable in this order");
}

static bool make_indices(expansion *e, const sinter_loop_var *loops, size_t count,
                         sinter_expr *dims) {
    int64_t total = 1;
    for (size_t i = 0; i < count; i++) {
        const sinter_loop_stmt *loop = sinter_schedule_get_loop(e->schedule->function, loops[i]);
        int64_t trips;
        if (!sinter_loop_trip_count(loop, &trips) || trips > MAX_EXPANDED_ELEMENTS ||
            (total *= trips) > MAX_EXPANDED_ELEMENTS)
            return sinter_schedule_refuse(e->schedule,
                                          "the loops have no constant count that is small enough");
        dims[i] = sinter_loop_int(&e->builder, trips);
        sinter_expr distance =
            sinter_loop_sub(&e->builder, sinter_loop_var_read(&e->builder, loops[i]), loop->lower);
        e->indices[i] =
            sinter_loop_div(&e->builder, distance, sinter_loop_int(&e->builder, loop->step));
    }
    e->rank = (uint32_t)count;
    return true;
}

static void apply_expansion(expansion *e, sinter_loop_stmt *declare, sinter_loop_stmt **outermost) {
    sinter_loop_map map;
    sinter_loop_map_init(&map, e->schedule->program, e->schedule->function);
    sinter_loop_map_var(&map, e->var, sinter_loop_load(&e->builder, e->buffer, e->indices));
    sinter_loop_map_list(&map, declare);
    sinter_loop_walk(declare, store_instead, e);
    e->builder.tail = outermost;
    sinter_loop_alloc(&e->builder, e->buffer);
}

bool sinter_schedule_expand(sinter_schedule *schedule, sinter_loop_var var,
                            const sinter_loop_var *loops, size_t count,
                            sinter_loop_buffer *out_buffer) {
    sinter_arena scratch;
    expansion e = {.schedule = schedule, .var = var};
    sinter_expr dims[SINTER_MAX_RANK];
    sinter_loop_builder_init(&e.builder, schedule->program, schedule->function);
    sinter_arena_init(&scratch);
    bool ok = (count >= 1 && count <= SINTER_MAX_RANK) ||
              sinter_schedule_refuse(schedule, "expected 1 to 16 loops");
    sinter_loop_stmt **link =
        ok ? sinter_schedule_find_link(schedule, SINTER_LOOP_DECLARE, var) : NULL;
    sinter_loop_stmt **outermost =
        link ? sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, loops[0]) : NULL;
    ok = outermost != NULL &&
         (!sinter_schedule_reduces(schedule->function->body, var) ||
          sinter_schedule_refuse(schedule, "threads reduce to it: no element can take its place"));
    if (ok) {
        sinter_schedule_path path = sinter_schedule_path_to(schedule, link, &scratch);
        ok = check_enclosing(schedule, &path, loops, count) && make_indices(&e, loops, count, dims);
    }
    if (ok) {
        const sinter_loop_var_info *info = &schedule->function->vars.items[var];
        e.buffer = sinter_loop_add_buffer(&e.builder, info->name, info->dtype, e.rank, dims,
                                          SINTER_SCOPE_STACK);
        apply_expansion(&e, *link, outermost);
        if (out_buffer) *out_buffer = e.buffer;
    }
    sinter_arena_deinit(&scratch);
    return ok;
}

/* ---- promote ---- */

static bool index_unrolls(const sinter_loop_scopes *scopes, sinter_expr index) {
    if (index->kind == SINTER_LOOP_LOAD) return false;
    if (index->kind == SINTER_LOOP_VAR) {
        const sinter_loop_stmt *loop = scopes->vars[index->var];
        return loop && loop->kind == SINTER_LOOP_FOR &&
               (loop->axis == SINTER_AXIS_UNROLL || loop->axis == SINTER_AXIS_VECTOR);
    }
    for (uint32_t i = 0; i < index->argument_count; i++)
        if (!index_unrolls(scopes, index->arguments[i])) return false;
    return true;
}

bool sinter_schedule_promote(sinter_schedule *schedule, sinter_loop_buffer buffer) {
    sinter_loop_function *function = schedule->function;
    if (!buffer || buffer >= function->buffers.count ||
        function->buffers.items[buffer].scope != SINTER_SCOPE_STACK)
        return sinter_schedule_refuse(schedule, "there is no such stack buffer");
    const sinter_loop_buffer_info *info = &function->buffers.items[buffer];
    int64_t total = 1, dim;
    for (uint32_t i = 0; i < info->rank; i++)
        if (!sinter_loop_is_const_int(info->dims[i], &dim) || dim > MAX_REGISTER_ELEMENTS ||
            (total *= dim) > MAX_REGISTER_ELEMENTS)
            return sinter_schedule_refuse(schedule, "%%%s is too large", info->name);
    sinter_arena scratch;
    sinter_loop_scopes scopes;
    sinter_loop_access_list list = {0};
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, schedule->program, function, &scratch);
    sinter_loop_collect_accesses(&scratch, function->body, &list);
    bool ok = true;
    for (size_t i = 0; ok && i < list.count; i++)
        for (uint32_t k = 0; ok && list.items[i].buffer == buffer && k < list.items[i].rank; k++)
            ok = index_unrolls(&scopes,
                               sinter_loop_map_expr(&scopes.lets, list.items[i].indices[k]));
    sinter_arena_deinit(&scratch);
    if (!ok)
        return sinter_schedule_refuse(schedule, "%%%s has an index that is not unrolled",
                                      info->name);
    function->buffers.items[buffer].scope = SINTER_SCOPE_REGISTER;
    return true;
}

/* ---- lets ---- */

static bool may_stop(const sinter_loop_stmt *stmt) {
    if (stmt->kind == SINTER_LOOP_FAIL || stmt->kind == SINTER_LOOP_EXCHANGE ||
        stmt->kind == SINTER_LOOP_CALL_KERNEL)
        return true;
    for (const sinter_loop_stmt *s = stmt->body; s; s = s->next)
        if (may_stop(s)) return true;
    for (const sinter_loop_stmt *s = stmt->else_body; s; s = s->next)
        if (may_stop(s)) return true;
    return false;
}

/* if ... { fail }: a check that has nothing else. */
static bool is_check(const sinter_loop_stmt *stmt) {
    if (stmt->kind != SINTER_LOOP_IF || stmt->else_body) return false;
    for (const sinter_loop_stmt *s = stmt->body; s; s = s->next) {
        if (s->kind != SINTER_LOOP_FAIL) return false;
    }
    return true;
}

static bool arguments_invariant(const sinter_loop_stmt *check, sinter_loop_var var,
                                const sinter_loop_stmt *body) {
    for (const sinter_loop_stmt *s = check->body; s; s = s->next)
        for (uint32_t i = 0; i < s->argument_count; i++)
            if (sinter_loop_expr_uses(s->arguments[i], var) ||
                !sinter_loop_is_invariant(s->arguments[i], body))
                return false;
    return true;
}

static bool has_iteration(const sinter_schedule *schedule, const sinter_loop_stmt *loop) {
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, schedule->program, schedule->function);
    int64_t low, high;
    sinter_loop_range(schedule->function, sinter_loop_sub(&b, loop->upper, loop->lower), &low,
                      &high);
    return low >= 1;
}

bool sinter_schedule_hoist(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt **before = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, var);
    if (!before) return false;
    sinter_loop_stmt *loop = *before;
    bool runs = has_iteration(schedule, loop);
    bool moved = false, silent = true; /* nothing but lets was passed over */
    for (sinter_loop_stmt **link = &loop->body; *link;) {
        sinter_loop_stmt *stmt = *link;
        bool is_let = stmt->kind == SINTER_LOOP_DECLARE &&
                      !schedule->function->vars.items[stmt->var].is_mutable;
        bool check = runs && silent && is_check(stmt) && arguments_invariant(stmt, var, loop->body);
        runs = runs && (check || !may_stop(stmt));
        bool fits = (check || (is_let && (runs || !sinter_loop_expr_loads(stmt->value, 0)))) &&
                    !sinter_loop_expr_uses(stmt->value, var) &&
                    sinter_loop_is_invariant(stmt->value, loop->body);
        if (!fits) {
            runs = runs && !check;
            silent = silent && is_let;
            link = &stmt->next;
            continue;
        }
        *link = stmt->next;
        stmt->next = *before;
        *before = stmt;
        before = &stmt->next;
        moved = true;
    }
    return moved ||
           sinter_schedule_refuse(schedule, "nothing in the body is the same in every iteration");
}

bool sinter_schedule_inline(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_DECLARE, var);
    if (!link) return false;
    sinter_loop_stmt *declare = *link;
    if (schedule->function->vars.items[var].is_mutable)
        return sinter_schedule_refuse(schedule, "this is no immutable variable");
    if (!sinter_loop_is_invariant(declare->value, declare->next))
        return sinter_schedule_refuse(schedule, "the value changes before it is read");
    sinter_loop_map map;
    sinter_loop_map_init(&map, schedule->program, schedule->function);
    sinter_loop_map_var(&map, var, declare->value);
    sinter_loop_map_list(&map, declare->next);
    *link = declare->next;
    return true;
}

/* ---- pack ---- */

typedef struct packing {
    sinter_loop_builder builder;
    sinter_loop_buffer buffer;
    const sinter_layout *layout;
} packing;

static sinter_expr packed_position(sinter_loop_builder *b, const sinter_layout_axis *axis,
                                   sinter_expr index) {
    sinter_expr position = sinter_loop_div(b, index, sinter_loop_int(b, axis->divide));
    return axis->modulo ? sinter_loop_rem(b, position, sinter_loop_int(b, axis->modulo)) : position;
}

static uint32_t pack_indices(void *user, sinter_loop_buffer buffer, sinter_expr *indices) {
    packing *p = user;
    sinter_expr own[SINTER_MAX_RANK];
    (void)buffer;
    memcpy(own, indices, sizeof own);
    for (uint32_t a = 0; a < p->layout->rank; a++)
        indices[a] = packed_position(&p->builder, &p->layout->axes[a], own[p->layout->axes[a].dim]);
    return p->layout->rank;
}

typedef struct prefetch_search {
    sinter_loop_buffer buffer;
    bool found;
} prefetch_search;

static bool find_prefetch(void *user, sinter_loop_stmt *stmt) {
    prefetch_search *search = user;
    search->found |= stmt->kind == SINTER_LOOP_PREFETCH && stmt->buffer == search->buffer;
    return !search->found;
}

static bool make_layout(sinter_schedule *schedule, const sinter_loop_buffer_info *info,
                        const uint32_t *order, const int64_t *blocks, sinter_layout *layout) {
    bool seen[SINTER_MAX_RANK] = {false};
    *layout = (sinter_layout){0};
    for (uint32_t i = 0; i < info->rank; i++) {
        if (order[i] >= info->rank || seen[order[i]])
            return sinter_schedule_refuse(schedule, "the order is no permutation");
        seen[order[i]] = true;
        int64_t block = blocks[order[i]];
        layout->axes[layout->rank++] =
            (sinter_layout_axis){.dim = order[i], .divide = block > 1 ? block : 1};
    }
    for (uint32_t i = 0; i < info->rank; i++) {
        int64_t block = blocks[order[i]];
        if (block <= 1) continue;
        if (layout->rank == SINTER_MAX_RANK)
            return sinter_schedule_refuse(schedule, "the packed form has too many axes");
        layout->axes[layout->rank++] =
            (sinter_layout_axis){.dim = order[i], .divide = 1, .modulo = block};
    }
    return true;
}

static int64_t packed_dim(const sinter_layout_axis *axis, int64_t dim) {
    return axis->modulo ? axis->modulo : (dim + axis->divide - 1) / axis->divide;
}

/* There is such an input, whose elements may lie elsewhere, and the order is one of its dims. */
static bool check_packing(sinter_schedule *schedule, sinter_loop_buffer buffer,
                          const uint32_t *order, const int64_t *blocks, sinter_layout *out_layout) {
    const sinter_loop_function *function = schedule->function;
    if (!buffer || buffer >= function->buffers.count ||
        function->buffers.items[buffer].scope != SINTER_SCOPE_INPUT)
        return sinter_schedule_refuse(schedule, "there is no such input");
    const sinter_loop_buffer_info *info = &function->buffers.items[buffer];
    prefetch_search search = {.buffer = buffer};
    sinter_loop_walk(function->body, find_prefetch, &search);
    if (search.found)
        return sinter_schedule_refuse(schedule, "%%%s is prefetched as it is", info->name);
    return make_layout(schedule, info, order, blocks, out_layout);
}

static bool packed_dims(sinter_schedule *schedule, const sinter_layout *layout,
                        sinter_loop_builder *b, const sinter_loop_buffer_info *info,
                        sinter_expr *out_dims) {
    for (uint32_t a = 0; a < layout->rank; a++) {
        int64_t dim;
        if (!sinter_loop_is_const_int(info->dims[layout->axes[a].dim], &dim))
            return sinter_schedule_refuse(schedule, "%%%s has a dim that is no constant",
                                          info->name);
        out_dims[a] = sinter_loop_int(b, packed_dim(&layout->axes[a], dim));
    }
    return true;
}

bool sinter_schedule_pack(sinter_schedule *schedule, sinter_loop_buffer buffer,
                          const uint32_t *order, const int64_t *blocks, sinter_layout *out_layout) {
    sinter_loop_function *function = schedule->function;
    sinter_layout layout;
    if (!check_packing(schedule, buffer, order, blocks, &layout)) return false;
    sinter_loop_buffer_info *info = &function->buffers.items[buffer];
    packing p = {.buffer = buffer, .layout = &layout};
    sinter_loop_builder_init(&p.builder, schedule->program, function);
    sinter_expr *dims = SINTER_NEW_ARRAY(p.builder.arena, sinter_expr, layout.rank);
    if (!packed_dims(schedule, &layout, &p.builder, info, dims)) return false;
    sinter_loop_change_indices(p.builder.arena, function->body, buffer, pack_indices, &p);
    info->rank = layout.rank;
    info->dims = dims;
    *out_layout = layout;
    return true;
}

/* ---- packing while the kernel runs ---- */

typedef struct run_packing {
    packing packing;
    sinter_loop_buffer packed; /* what the kernel makes of packing.buffer */
} run_packing;

static sinter_expr read_packed(void *user, sinter_expr expr) {
    run_packing *r = user;
    sinter_expr indices[SINTER_MAX_RANK];
    expr = sinter_loop_replace_arguments(r->packing.builder.arena, expr, read_packed, r);
    if (expr->kind != SINTER_LOOP_LOAD || expr->buffer != r->packing.buffer) return expr;
    memcpy(indices, expr->arguments, expr->argument_count * sizeof *indices);
    pack_indices(&r->packing, expr->buffer, indices);
    return sinter_loop_load(&r->packing.builder, r->packed, indices);
}

/* for each axis of the layout { packed[...] = buffer[...] } in front of the body. The outermost loop. */
static sinter_loop_var copy_whole(run_packing *r, sinter_loop_stmt *rest) {
    sinter_loop_builder *b = &r->packing.builder;
    const sinter_loop_function *function = b->function;
    const sinter_layout *layout = r->packing.layout;
    sinter_expr from[SINTER_MAX_RANK] = {NULL}, to[SINTER_MAX_RANK];
    sinter_loop_var outermost = 0;
    sinter_loop_alloc(b, r->packed);
    for (uint32_t a = 0; a < layout->rank; a++) {
        const sinter_layout_axis *axis = &layout->axes[a];
        sinter_expr dim = function->buffers.items[r->packed].dims[a];
        sinter_loop_var loop =
            sinter_loop_begin_for(b, sinter_arena_format(b->arena, "d%u", axis->dim),
                                  sinter_loop_int(b, 0), dim, 1, SINTER_AXIS_SERIAL);
        if (!outermost) outermost = loop;
        to[a] = sinter_loop_var_read(b, loop);
        sinter_expr place = sinter_loop_mul(b, to[a], sinter_loop_int(b, axis->divide));
        from[axis->dim] = from[axis->dim] ? sinter_loop_add(b, from[axis->dim], place) : place;
    }
    sinter_loop_store(b, r->packed, to, sinter_loop_load(b, r->packing.buffer, from));
    for (uint32_t a = 0; a < layout->rank; a++) sinter_loop_end(b);
    *b->tail = rest;
    return outermost;
}

bool sinter_schedule_pack_input(sinter_schedule *schedule, sinter_loop_buffer buffer,
                                const uint32_t *order, const int64_t *blocks,
                                sinter_loop_var *out_loop) {
    sinter_loop_function *function = schedule->function;
    sinter_expr dims[SINTER_MAX_RANK];
    sinter_layout layout;
    if (!check_packing(schedule, buffer, order, blocks, &layout)) return false;
    const sinter_loop_buffer_info info = function->buffers.items[buffer];
    run_packing r = {.packing = {.buffer = buffer, .layout = &layout}};
    sinter_loop_builder_init(&r.packing.builder, schedule->program, function);
    if (!packed_dims(schedule, &layout, &r.packing.builder, &info, dims)) return false;
    for (uint32_t a = 0; a < layout.rank; a++) {
        int64_t dim;
        sinter_loop_is_const_int(info.dims[layout.axes[a].dim], &dim);
        if (dim % layout.axes[a].divide)
            return sinter_schedule_refuse(schedule, "the last block of %%%s would not be full",
                                          info.name);
    }
    if (!layout.rank || sinter_dtype_infos[info.dtype].bits < 8)
        return sinter_schedule_refuse(schedule, "%%%s has one element, or some smaller than a byte",
                                      info.name);
    const char *name = sinter_arena_format(r.packing.builder.arena, "%s_packed", info.name);
    r.packed = sinter_loop_add_buffer(&r.packing.builder, name, info.dtype, layout.rank, dims,
                                      SINTER_SCOPE_STACK);
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    sinter_loop_stmt *rest = function->body;
    sinter_loop_replace_list(rest, read_packed, &r);
    r.packing.builder.tail = &function->body;
    sinter_loop_var loop = copy_whole(&r, rest);
    if (out_loop) *out_loop = loop;
    return sinter_schedule_keeps_marks(schedule, saved);
}

/* ---- packing of data ---- */

/* Where one axis of the packed form is found in the source. */
typedef struct pack_axis {
    int64_t count, stride; /* bytes in the source */
    uint32_t dim;
    int64_t scale; /* of its position in the index of that dim */
} pack_axis;

typedef struct pack_copy {
    const sinter_tensor *source;
    pack_axis axes[SINTER_MAX_RANK];
    uint32_t rank;
    size_t element;
    int64_t index[SINTER_MAX_RANK]; /* in the source, so far */
    char *target;
} pack_copy;

static void copy_elements(char *target, const char *source, int64_t count, int64_t stride,
                          size_t element) {
    if ((size_t)stride == element) {
        memcpy(target, source, (size_t)count * element);
        return;
    }
    if (element == 4) { /* by far the most */
        for (int64_t i = 0; i < count; i++) memcpy(target + i * 4, source + i * stride, 4);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        memcpy(target + (size_t)i * element, source + i * stride, element);
}

/* The target is written front to back; what lies behind the end of a dim stays 0. */
static void copy_axes(pack_copy *p, uint32_t at, const char *source) {
    const pack_axis *axis = &p->axes[at];
    int64_t first = p->index[axis->dim];
    int64_t left = (p->source->dims[axis->dim] - first + axis->scale - 1) / axis->scale;
    int64_t there = left < 0 ? 0 : left < axis->count ? left : axis->count;
    int64_t inner = (int64_t)p->element;
    for (uint32_t i = at + 1; i < p->rank; i++) inner *= p->axes[i].count;
    if (at + 1 == p->rank) {
        copy_elements(p->target, source, there, axis->stride, p->element);
        p->target += axis->count * inner;
        return;
    }
    for (int64_t i = 0; i < there; i++) {
        p->index[axis->dim] = first + i * axis->scale;
        copy_axes(p, at + 1, source + i * axis->stride);
    }
    p->index[axis->dim] = first;
    p->target += (axis->count - there) * inner;
}

bool sinter_layout_pack(const sinter_layout *layout, const sinter_tensor *source,
                        sinter_tensor *out_packed, sinter_diag *diag) {
    int64_t dims[SINTER_MAX_RANK];
    pack_copy p = {.source = source,
                   .rank = layout->rank,
                   .element = sinter_dtype_infos[source->dtype].bits / 8};
    if (sinter_dtype_infos[source->dtype].bits < 8)
        return sinter_error(diag, "pack", "elements of %s are smaller than a byte",
                            sinter_dtype_infos[source->dtype].name);
    for (uint32_t a = 0; a < layout->rank; a++) {
        const sinter_layout_axis *axis = &layout->axes[a];
        dims[a] = packed_dim(axis, source->dims[axis->dim]);
        int64_t stride = (int64_t)p.element;
        for (uint32_t d = axis->dim + 1; d < source->rank; d++) stride *= source->dims[d];
        p.axes[a] = (pack_axis){dims[a], stride * axis->divide, axis->dim, axis->divide};
    }
    if (!sinter_tensor_create(out_packed, source->dtype, layout->rank, dims, diag)) return false;
    p.target = sinter_tensor_mutable(out_packed);
    if (!p.rank)
        memcpy(p.target, source->data, p.element);
    else if (sinter_tensor_count(source))
        copy_axes(&p, 0, source->data);
    return true;
}
