/* See ldmatrix.h. Test: tests/codegen/loops/ldmatrix.loops, verify_ldmatrix.loops */
#include "codegen/loops/ldmatrix.h"
#include "codegen/loops/align.h"
#include "codegen/loops/mma.h"

enum { MAX_LOOPS = 4, ROWS = 8, ROW_BYTES = 16, REGISTER_BITS = 32, MAX_MATRICES = 4 };

typedef struct form {
    sinter_loop_scopes *scopes;
    const sinter_loop_stmt *loops[MAX_LOOPS];
    int64_t trips[MAX_LOOPS];
    uint32_t count;
    uint32_t
        numbering; /* of the loops, which number matrices; the last one goes through a register, if that has several elements */
    int64_t elements; /* of a register */
    sinter_loop_ldmatrix *out;
} form;

static sinter_loop_builder *builder_of(const form *f) {
    return &f->scopes->builder;
}

static sinter_expr number(const form *f, int64_t value) {
    return sinter_loop_int(builder_of(f), value);
}

/* a * scale + b */
static sinter_expr place(const form *f, sinter_expr a, int64_t scale, sinter_expr b) {
    return sinter_loop_add(builder_of(f), sinter_loop_mul(builder_of(f), a, number(f, scale)), b);
}

static sinter_expr read(const form *f, sinter_loop_var var) {
    return sinter_loop_var_read(builder_of(f), var);
}

static void begin_map(const form *f, sinter_loop_map *map) {
    sinter_loop_map_init(map, f->scopes->program, f->scopes->function);
}

static bool find_loops(form *f, const sinter_loop_stmt *loop) {
    int64_t lower;
    const sinter_loop_stmt *stmt = loop;
    while (stmt && stmt->kind == SINTER_LOOP_FOR && f->count < MAX_LOOPS) {
        if ((f->count && (stmt->axis != SINTER_AXIS_UNROLL || stmt->next)) || stmt->step != 1 ||
            !sinter_loop_is_const_int(stmt->lower, &lower) || lower ||
            !sinter_loop_trip_count(stmt, &f->trips[f->count]))
            return false;
        f->loops[f->count++] = stmt;
        stmt = stmt->body;
    }
    f->out->store = stmt;
    return f->count && stmt && stmt->kind == SINTER_LOOP_STORE && !stmt->next && !stmt->combine &&
           !stmt->asynchronous && stmt->value->kind == SINTER_LOOP_LOAD;
}

static bool is_dim(const sinter_loop_buffer_info *info, uint32_t dim, int64_t wanted) {
    int64_t count;
    return sinter_loop_is_const_int(info->dims[dim], &count) && count == wanted;
}

/* Registers of lanes, and memory of the block, of elements that fill registers. */
static bool has_buffers(form *f) {
    const sinter_loop_stmt *store = f->out->store;
    const sinter_loop_buffer_info *infos = f->scopes->function->buffers.items,
                                  *to = &infos[store->buffer], *from = &infos[store->value->buffer];
    const int64_t bits = sinter_dtype_infos[to->dtype].bits;
    if (to->scope != SINTER_SCOPE_REGISTER || from->scope != SINTER_SCOPE_SHARED ||
        to->dtype != from->dtype || bits < 8 || bits > REGISTER_BITS || to->rank < 4)
        return false;
    f->elements = REGISTER_BITS / bits;
    f->numbering = f->count - (f->elements > 1);
    f->out->count = 1;
    for (uint32_t i = 0; i < f->numbering; i++) f->out->count *= f->trips[i];
    const sinter_expr *at = store->arguments;
    const bool lanes = is_dim(to, 1, SINTER_MMA_GROUPS) && is_dim(to, 2, SINTER_MMA_MEMBERS) &&
                       at[1]->kind == SINTER_LOOP_VAR && at[2]->kind == SINTER_LOOP_VAR;
    if (!lanes || (f->elements > 1 && f->trips[f->numbering] != f->elements) ||
        (f->out->count != MAX_MATRICES && f->out->count != MAX_MATRICES / 2))
        return false;
    f->out->group = at[1]->var;
    f->out->member = at[2]->var;
    return true;
}

static bool uses_loops(const form *f, sinter_expr expr) {
    for (uint32_t i = 0; i < f->count; i++)
        if (sinter_loop_expr_uses(expr, f->loops[i]->var)) return true;
    return false;
}

/* The loops go through registers that follow each other. */
static bool has_registers(form *f) {
    sinter_loop_builder *b = builder_of(f);
    const sinter_loop_stmt *store = f->out->store;
    const sinter_loop_buffer_info *to = &f->scopes->function->buffers.items[store->buffer];
    sinter_expr at = number(f, 0), counted = number(f, 0);
    for (uint32_t i = 3; i < to->rank; i++)
        at = sinter_loop_add(b, sinter_loop_mul(b, at, to->dims[i]),
                             sinter_loop_map_expr(&f->scopes->lets, store->arguments[i]));
    for (uint32_t i = 0; i < f->count; i++)
        counted = place(f, counted, f->trips[i], read(f, f->loops[i]->var));
    if (uses_loops(f, store->arguments[0]) || uses_loops(f, sinter_loop_sub(b, at, counted)))
        return false;
    sinter_loop_map map;
    begin_map(f, &map);
    for (uint32_t i = 0; i < f->count; i++)
        sinter_loop_map_var(&map, f->loops[i]->var, number(f, 0));
    sinter_expr *first = SINTER_NEW_ARRAY(b->arena, sinter_expr, to->rank);
    for (uint32_t i = 0; i < to->rank; i++)
        first[i] = sinter_loop_map_expr(&map, store->arguments[i]);
    f->out->first = first;
    return true;
}

/* Where the row begins that an element is in, in terms of `row` and of the loops that number matrices; NULL: elements are not along one. */
static sinter_expr row_of(form *f, sinter_expr position, sinter_expr row) {
    sinter_loop_builder *b = builder_of(f);
    const bool single = f->elements == 1;
    const sinter_loop_var s = f->loops[f->count - 1]->var, g = f->out->group, t = f->out->member;
    sinter_loop_map map;
    begin_map(f, &map);
    sinter_expr along = place(f, read(f, t), f->elements, single ? number(f, 0) : read(f, s)),
                start = sinter_loop_sub(b, position, along);
    f->out->turned =
        (!single && sinter_loop_expr_uses(start, s)) || sinter_loop_expr_uses(start, t);
    if (!f->out->turned) {
        sinter_loop_map_var(&map, g, row);
        return sinter_loop_map_expr(&map, start);
    }
    start = sinter_loop_sub(b, position, read(f, g));
    if (f->elements != 2 || sinter_loop_expr_uses(start, g)) return NULL;
    /* t and s count one thing */
    sinter_loop_map_var(&map, t, number(f, 0));
    sinter_loop_map_var(&map, s, along);
    sinter_expr counted = sinter_loop_map_expr(&map, start);
    if (!sinter_loop_expr_equal(sinter_loop_sub(b, counted, start), number(f, 0))) return NULL;
    begin_map(f, &map);
    sinter_loop_map_var(&map, t, number(f, 0));
    sinter_loop_map_var(&map, s, row);
    return sinter_loop_map_expr(&map, start);
}

/* Rows of 16 bytes; each lane has the place of one. */
static bool has_rows(form *f) {
    sinter_loop_builder *b = builder_of(f);
    const sinter_expr load = f->out->store->value;
    const int64_t bytes =
        sinter_dtype_infos[f->scopes->function->buffers.items[load->buffer].dtype].bits / 8;
    sinter_expr lane =
                    place(f, read(f, f->out->group), SINTER_MMA_MEMBERS, read(f, f->out->member)),
                rows = number(f, ROWS), matrix = sinter_loop_div(b, lane, rows);
    sinter_expr row = row_of(f, sinter_loop_position(f->scopes, load->buffer, load->arguments),
                             sinter_loop_rem(b, lane, rows));
    if (!row || sinter_loop_divisor(f->scopes, row) * bytes % ROW_BYTES) return false;
    sinter_loop_map map;
    begin_map(f, &map);
    for (uint32_t i = f->numbering; i-- > 0;) { /* lanes beyond the last matrix name one again */
        sinter_expr trips = number(f, f->trips[i]);
        sinter_loop_map_var(&map, f->loops[i]->var, sinter_loop_rem(b, matrix, trips));
        matrix = sinter_loop_div(b, matrix, trips);
    }
    f->out->row = sinter_loop_map_expr(&map, row);
    return !uses_loops(f, f->out->row);
}

const char *sinter_loop_check_ldmatrix(sinter_loop_scopes *scopes, const sinter_loop_stmt *loop,
                                       sinter_loop_ldmatrix *out) {
    *out = (sinter_loop_ldmatrix){0};
    form f = {.scopes = scopes, .out = out};
    if (!find_loops(&f, loop)) return "it is no nest of up to four loops around one load";
    if (!has_buffers(&f)) return "it does not load registers of 2 or 4 matrices from shared memory";
    if (!has_registers(&f)) return "its registers do not follow each other";
    if (!has_rows(&f)) return "its elements are not in rows of 16 bytes at multiples of that";
    return NULL;
}
