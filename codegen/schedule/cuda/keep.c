/* What a block keeps of its rows: elements of inputs that several loops over a row read are read from global memory once, and
 * what each thread needs of a row for itself alone is in its registers.
 *
 * Needs rows as rows.c has them. Test: tests/codegen/schedule/cuda.loops */
#include "codegen/loops/linear.h"
#include "codegen/schedule/cuda.h"

enum { MAX_KEPT = 8, MAX_TURNS = 16, MAX_REGISTERS = 64, SHARED_BYTES = 32 << 10 };

/* ---- reads of inputs ---- */

/* Element `rest + r` of an input for all elements r of a row. */
typedef struct kept_read {
    sinter_loop_buffer buffer, row; /* row: where it is kept, 0: nowhere */
    sinter_expr rest;
    int64_t count;
    const sinter_loop_stmt *last; /* loop that reads it */
    uint32_t loops;               /* that do */
    bool fixed;                   /* the same for all rows of the block */
} kept_read;

typedef struct keeper {
    sinter_schedule *schedule;
    sinter_loop_builder builder;
    sinter_loop_var row,
        outer; /* loops over the rows of a block, and over blocks; row == outer: a row a block */
    const sinter_loop_stmt *loop; /* over elements, at hand */
    int64_t count;                /* of its iterations */
    kept_read reads[MAX_KEPT];
    uint32_t read_count;
} keeper;

/* Where the load stands the row's variables are the only ones that are not parameters. */
static bool is_over(const keeper *k, sinter_expr expr, bool *uses_row) {
    if (expr->kind == SINTER_LOOP_LOAD) return false;
    if (expr->kind == SINTER_LOOP_VAR) {
        *uses_row |= expr->var == k->row;
        return expr->var == k->row || expr->var == k->outer ||
               k->schedule->function->vars.items[expr->var].is_parameter;
    }
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!is_over(k, expr->arguments[i], uses_row)) return false;
    return true;
}

/* The read that this load is; NULL: it can't be kept. */
static kept_read *find_read(keeper *k, sinter_expr load, bool add) {
    const sinter_loop_buffer_info *info = &k->schedule->function->buffers.items[load->buffer];
    sinter_expr coefficient, rest;
    int64_t stride;
    bool uses_row = false;
    if (info->scope != SINTER_SCOPE_INPUT || info->rank != 1 ||
        !sinter_loop_affine(&k->builder, load->arguments[0], k->loop->var, &coefficient, &rest) ||
        !sinter_loop_is_const_int(coefficient, &stride) || stride != 1 ||
        !is_over(k, rest, &uses_row))
        return NULL;
    for (uint32_t i = 0; i < k->read_count; i++) {
        kept_read *read = &k->reads[i];
        if (read->buffer == load->buffer && read->count == k->count &&
            sinter_loop_expr_equal(read->rest, rest))
            return read;
    }
    if (!add || k->read_count == MAX_KEPT) return NULL;
    kept_read *read = &k->reads[k->read_count++];
    *read = (kept_read){.buffer = load->buffer,
                        .rest = rest,
                        .count = k->count,
                        .fixed = !uses_row && k->row != k->outer};
    return read;
}

static void count_read(void *user, sinter_expr expr) {
    keeper *k = user;
    kept_read *read = expr->kind == SINTER_LOOP_LOAD ? find_read(k, expr, true) : NULL;
    if (!read || read->last == k->loop) return;
    read->last = k->loop;
    read->loops++;
}

static sinter_expr replace_reads(void *user, sinter_expr expr) {
    keeper *k = user;
    if (expr->argument_count > SINTER_MAX_RANK) return expr;
    const kept_read *read = expr->kind == SINTER_LOOP_LOAD ? find_read(k, expr, false) : NULL;
    if (read && read->row) {
        sinter_expr element = sinter_loop_var_read(&k->builder, k->loop->var);
        return sinter_loop_load(&k->builder, read->row, &element);
    }
    return sinter_loop_replace_arguments(k->builder.arena, expr, replace_reads, k);
}

/* Loops over elements, from 0, whose statements all run in each iteration: others' loads may not be done before. */
static bool is_plain(const sinter_loop_stmt *stmt, int64_t *out_count) {
    int64_t lower;
    if (stmt->kind != SINTER_LOOP_FOR || !sinter_loop_is_const_int(stmt->lower, &lower) || lower ||
        stmt->step != 1 || !sinter_loop_trip_count(stmt, out_count))
        return false;
    for (const sinter_loop_stmt *s = stmt->body; s; s = s->next)
        if (s->body || s->else_body) return false;
    return true;
}

typedef void (*loop_visitor)(keeper *k, sinter_loop_stmt *stmt);

static void for_plain_loops(keeper *k, sinter_loop_stmt *first, loop_visitor visit) {
    for (sinter_loop_stmt *s = first; s; s = s->next) {
        if (!is_plain(s, &k->count)) continue;
        k->loop = s;
        for (sinter_loop_stmt *t = s->body; t; t = t->next) visit(k, t);
    }
}

static void count_reads(keeper *k, sinter_loop_stmt *stmt) {
    sinter_loop_walk_stmt_exprs(stmt, count_read, k);
}

static void put_reads(keeper *k, sinter_loop_stmt *stmt) {
    sinter_loop_replace_exprs(stmt, replace_reads, k);
}

/* for r { %row[r] = %input[rest + r] } at the builder's place. */
static sinter_loop_var copy_row(keeper *k, kept_read *read) {
    sinter_loop_builder *b = &k->builder;
    sinter_expr size = sinter_loop_int(b, read->count);
    const sinter_loop_buffer_info *info = &k->schedule->function->buffers.items[read->buffer];
    read->row = sinter_loop_add_buffer(b, "kept", info->dtype, 1, &size, SINTER_SCOPE_STACK);
    sinter_loop_alloc(b, read->row);
    sinter_loop_var var =
        sinter_loop_begin_for(b, "r", sinter_loop_int(b, 0), size, 1, SINTER_AXIS_SERIAL);
    sinter_expr element = sinter_loop_var_read(b, var),
                place = sinter_loop_add(b, read->rest, element);
    sinter_loop_store(b, read->row, &element, sinter_loop_load(b, read->buffer, &place));
    sinter_loop_end(b);
    return var;
}

void sinter_schedule_cuda_keep(sinter_schedule *schedule, sinter_loop_var outer,
                               sinter_loop_var row, int64_t lanes, sinter_arena *scratch,
                               sinter_schedule_loops *out_copies) {
    keeper k = {.schedule = schedule, .row = row, .outer = outer};
    sinter_loop_builder_init(&k.builder, schedule->program, schedule->function);
    sinter_loop_stmt *rows = sinter_schedule_get_loop(schedule->function, row),
                     *blocks = sinter_schedule_get_loop(schedule->function, outer);
    sinter_loop_stmt **before = &blocks->body, **inside = &rows->body;
    for_plain_loops(&k, rows->body, count_reads);
    int64_t registers = 0, bytes = 0;
    sinter_loop_stmt *loops = rows->body;
    for (uint32_t i = 0; i < k.read_count; i++) {
        kept_read *read = &k.reads[i];
        const int64_t turns = (read->count + lanes - 1) / lanes;
        const sinter_dtype dtype = schedule->function->buffers.items[read->buffer].dtype;
        const int64_t more = read->count * sinter_dtype_infos[dtype].bits / 8;
        const bool fits =
            turns <= MAX_TURNS ? registers + turns <= MAX_REGISTERS : bytes + more <= SHARED_BYTES;
        if ((read->loops < 2 && !read->fixed) || sinter_dtype_infos[dtype].bits < 8 || !fits)
            continue;
        *(turns <= MAX_TURNS ? &registers : &bytes) += turns <= MAX_TURNS ? turns : more;
        k.builder.tail = read->fixed ? before : inside;
        sinter_loop_var copy = copy_row(&k, read);
        if (read->fixed) {
            before = k.builder.tail;
            sinter_vector_push(scratch, out_copies, copy);
        } else {
            inside = k.builder.tail;
        }
    }
    for_plain_loops(&k, loops, put_reads);
}

/* ---- registers ---- */

typedef struct ownership {
    sinter_loop_builder builder;
    sinter_loop_buffer buffer;
    int64_t lanes;
    sinter_loop_stmt *thread; /* the loop over threads at hand, NULL: outside */
    bool apply, good;
} ownership;

/* Element l + lanes * turn of the row is the thread's whose number is l: [l, turn]. */
static bool own_place(ownership *o, sinter_expr index, sinter_expr out_place[2]) {
    sinter_loop_builder *b = &o->builder;
    sinter_expr coefficient, rest;
    sinter_linear turns;
    int64_t stride;
    if (!o->thread || !sinter_loop_affine(b, index, o->thread->var, &coefficient, &rest) ||
        !sinter_loop_is_const_int(coefficient, &stride) || stride != 1 ||
        !sinter_linear_of(sinter_loop_add(b, rest, o->thread->lower), &turns) ||
        turns.constant % o->lanes)
        return false;
    turns.constant /= o->lanes;
    for (uint32_t i = 0; i < turns.count; i++) {
        if (turns.terms[i].coefficient % o->lanes) return false;
        turns.terms[i].coefficient /= o->lanes;
    }
    out_place[0] = sinter_loop_sub(b, sinter_loop_var_read(b, o->thread->var), o->thread->lower);
    out_place[1] = sinter_linear_build(b->arena, &turns);
    return true;
}

static sinter_expr own_expr(void *user, sinter_expr expr) {
    ownership *o = user;
    if (expr->argument_count > SINTER_MAX_RANK) {
        o->good &= !sinter_loop_expr_loads(expr, o->buffer);
        return expr;
    }
    if (expr->kind == SINTER_LOOP_LOAD && expr->buffer == o->buffer) {
        sinter_expr place[2];
        o->good = o->good && own_place(o, expr->arguments[0], place);
        return o->apply ? sinter_loop_load(&o->builder, o->buffer, place) : expr;
    }
    return sinter_loop_replace_arguments(o->builder.arena, expr, own_expr, o);
}

static bool own_expr_at(void *user, sinter_expr *place) {
    ownership *o = user;
    sinter_expr owned = own_expr(o, *place);
    if (o->apply) *place = owned;
    return o->good;
}

/* Loops that turns are counted by are written out, for registers have no index that moves. */
static void own_list(ownership *o, sinter_loop_stmt *first) {
    for (sinter_loop_stmt *s = first; s && o->good; s = s->next) {
        int64_t count;
        const bool threads = s->kind == SINTER_LOOP_FOR && s->axis == SINTER_AXIS_THREAD;
        sinter_loop_stmt *outer = o->thread;
        if (threads) o->thread = s;
        sinter_loop_visit_places(s, own_expr_at, o);
        if (s->kind == SINTER_LOOP_STORE && s->buffer == o->buffer) {
            sinter_expr place[2];
            o->good = o->good && own_place(o, s->arguments[0], place);
            if (o->apply) {
                s->arguments = sinter_arena_copy(o->builder.arena, place, sizeof place);
                s->argument_count = 2;
            }
        }
        if (s->kind == SINTER_LOOP_FOR && s->axis == SINTER_AXIS_SERIAL && outer) {
            o->good &= sinter_loop_trip_count(s, &count) && count <= MAX_TURNS;
            if (o->apply) s->axis = SINTER_AXIS_UNROLL;
        }
        own_list(o, s->body);
        own_list(o, s->else_body);
        o->thread = outer;
    }
}

void sinter_schedule_cuda_own(sinter_schedule *schedule, sinter_loop_stmt *first, int64_t lanes) {
    sinter_loop_function *function = schedule->function;
    const size_t count = function->buffers.count;
    for (sinter_loop_buffer i = 1; i < count; i++) {
        ownership o = {.buffer = i, .lanes = lanes, .good = true};
        int64_t elements;
        const sinter_loop_buffer_info *info = &function->buffers.items[i];
        if (info->scope != SINTER_SCOPE_SHARED || info->rank != 1 ||
            !sinter_loop_is_const_int(info->dims[0], &elements) || elements > MAX_TURNS * lanes)
            continue;
        sinter_loop_builder_init(&o.builder, schedule->program, function);
        own_list(&o, first);
        if (!o.good) continue;
        sinter_expr dims[2] = {sinter_loop_int(&o.builder, lanes),
                               sinter_loop_int(&o.builder, (elements + lanes - 1) / lanes)};
        function->buffers.items[i].rank = 2;
        function->buffers.items[i].dims = sinter_arena_copy(o.builder.arena, dims, sizeof dims);
        function->buffers.items[i].scope = SINTER_SCOPE_REGISTER;
        o.apply = true;
        own_list(&o, first);
    }
}
