/* What the CPU schedules of nests have in common: chains of loops over consecutive elements become one loop, the innermost
 * one runs in vector lanes, the outermost in parallel where there is enough work. Everything is tried through verbs that
 * check themselves; what a verb refuses stays as it is. Test: tests/codegen/schedule/elementwise.loops */
#include "codegen/loops/access.h"
#include "codegen/loops/word.h"
#include "codegen/schedule/cpu.h"

enum {
    PARALLEL_COUNT = 16, /* iterations of the outermost loop that divide well among threads, */
    ODD_COUNT = 128,     /* those whose number is odd, for two threads */
    UNKNOWN_COUNT = 16,
    MAX_COUNT = 1 << 20, /* where counting ends */
    MAX_WORK = 1 << 15,
    SIMPLE_WORK = 8 /* operations of an element below which the loop itself counts */
};

/* ---- the chain of perfectly nested serial loops below a loop ---- */

static sinter_loop_stmt *get(const sinter_schedule_cpu_state *state, sinter_loop_var var) {
    return sinter_schedule_get_loop(state->schedule.function, var);
}

bool sinter_cpu_has_serial(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if ((stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_SERIAL) ||
            sinter_cpu_has_serial(stmt->body) || sinter_cpu_has_serial(stmt->else_body))
            return true;
    return false;
}

bool sinter_cpu_walk_innermost(sinter_cpu_walk *walk, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        const bool is_loop = stmt->kind == SINTER_LOOP_FOR;
        if (!walk->enters(stmt) || (is_loop && walk->depth == SINTER_SCHEDULE_CHAIN_MAX)) continue;
        if (is_loop) walk->path[walk->depth++] = stmt;
        const bool goes_on = is_loop && !sinter_cpu_has_serial(stmt->body)
                                 ? walk->visit(walk->user, stmt)
                                 : sinter_cpu_walk_innermost(walk, stmt->body) &&
                                       sinter_cpu_walk_innermost(walk, stmt->else_body);
        if (is_loop) walk->depth--;
        if (!goes_on) return false;
    }
    return true;
}

void sinter_schedule_cpu_flatten(sinter_schedule_cpu_state *state) {
    if (state->part) return;
    sinter_schedule_flatten_all(&state->schedule);
    state->flattened = true;
}

/* ---- what a body is made of ---- */

typedef struct body_facts {
    const sinter_schedule_cpu_state *state;
    sinter_loop_var lane;
    sinter_loop_builder builder;
    int64_t work;     /* scalar operations of one run, roughly */
    uint32_t widest;  /* bits of the widest element touched or computed, i64 indices aside */
    uint32_t strided; /* loads whose address moves with the lane by more than a few elements */
    bool consecutive; /* some load reads the next element in the next lane */
    bool unfit;       /* lanes would store apart, or divide indices */
} body_facts;

/* Products that a sum takes along cost nothing; loads do where they are widened. */
static int64_t own_instructions(sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_CAST) return 1;
    if (expr->kind != SINTER_LOOP_CALL || expr->dtype == SINTER_DTYPE_i64) return 0;
    int64_t count = sinter_scalar_operations(expr->function);
    bool sums = expr->function == SINTER_SCALAR_add || expr->function == SINTER_SCALAR_sub;
    for (uint32_t i = 0; i < expr->argument_count && sums; i++) {
        count -= sinter_loop_is_call(expr->arguments[i], SINTER_SCALAR_mul);
    }
    return count;
}

static void add_instructions(void *user, sinter_expr expr) {
    *(int64_t *)user += own_instructions(expr);
}

/* A word of a few elements is one load, which sums take along. */
static void count_instructions(void *user, sinter_expr expr) {
    int64_t *count = user, parts = 0;
    const sinter_loop_expr *loads[SINTER_WORD_PARTS];
    *count += own_instructions(expr);
    if (!sinter_loop_word_loads(expr, loads)) return;
    sinter_loop_walk_expr(expr, add_instructions, &parts);
    *count -= parts;
}

int64_t sinter_schedule_cpu_instructions(const sinter_loop_stmt *stmt) {
    int64_t count = 0;
    sinter_loop_walk_stmt_exprs(stmt, count_instructions, &count);
    return count < 1 ? 1 : count;
}

/* The element moves by this many elements from lane to lane; false where that is no number. */
static bool lane_stride(body_facts *f, sinter_loop_buffer buffer, const sinter_expr *indices,
                        int64_t *out) {
    const uint32_t last = f->state->schedule.function->buffers.items[buffer].rank;
    *out = 0;
    for (uint32_t i = 0; i < last; i++) {
        if (!sinter_loop_expr_uses(indices[i], f->lane)) continue;
        sinter_expr coefficient, rest;
        if (i + 1 < last) return sinter_loop_stride(&f->builder, buffer, indices, f->lane, out);
        return sinter_loop_affine(&f->builder, indices[i], f->lane, &coefficient, &rest) &&
               sinter_loop_is_const_int(coefficient, out);
    }
    return true;
}

static void note_width(body_facts *f, sinter_dtype dtype) {
    uint32_t bits = sinter_dtype_infos[dtype].bits;
    if (bits > f->widest) f->widest = bits;
}

static void visit_index(void *user, sinter_expr expr) {
    body_facts *f = user;
    bool divides = expr->kind == SINTER_LOOP_CALL && expr->dtype == SINTER_DTYPE_i64 &&
                   (expr->function == SINTER_SCALAR_div || expr->function == SINTER_SCALAR_rem);
    if (divides && sinter_loop_expr_uses(expr, f->lane)) f->unfit = true;
}

static void visit_value(void *user, sinter_expr expr) {
    body_facts *f = user;
    int64_t stride;
    if (expr->kind == SINTER_LOOP_LOAD) {
        f->work++;
        note_width(f, expr->dtype);
        bool known = lane_stride(f, expr->buffer, expr->arguments, &stride);
        bool in_registers = sinter_target_looks_up(f->state->target) &&
                            sinter_loop_looks_up(f->state->schedule.function, expr);
        if (in_registers) return;
        if (!known || stride < -SINTER_LOOP_MOST_APART || stride > SINTER_LOOP_MOST_APART)
            f->strided++;
        f->consecutive |= known && stride == 1;
    } else if (expr->kind == SINTER_LOOP_CALL && expr->dtype != SINTER_DTYPE_i64) {
        f->work += sinter_scalar_operations(expr->function);
        if (expr->dtype != SINTER_DTYPE_bool) note_width(f, expr->dtype);
    } else if (expr->kind == SINTER_LOOP_CAST) {
        f->work++;
        if (expr->dtype != SINTER_DTYPE_i64) note_width(f, expr->dtype); /* an index */
    }
    visit_index(f, expr);
}

static void visit_list(body_facts *f, sinter_loop_stmt *first) {
    for (sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        int64_t stride, count, before = f->work;
        sinter_loop_walk_stmt_exprs(stmt, visit_value, f);
        if (stmt->kind == SINTER_LOOP_STORE) {
            f->work++;
            note_width(f, f->state->schedule.function->buffers.items[stmt->buffer].dtype);
            if (!lane_stride(f, stmt->buffer, stmt->arguments, &stride) || stride != 1)
                f->unfit = true;
        }
        visit_list(f, stmt->body);
        visit_list(f, stmt->else_body);
        if (stmt->kind != SINTER_LOOP_FOR && stmt->kind != SINTER_LOOP_WHILE) continue;
        bool known = stmt->kind == SINTER_LOOP_FOR && sinter_loop_trip_count(stmt, &count);
        count = known ? count < MAX_COUNT ? count : MAX_COUNT : UNKNOWN_COUNT;
        int64_t inside = f->work - before;
        f->work = before + (inside < MAX_WORK ? inside : MAX_WORK) * count;
    }
}

static body_facts study(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    body_facts f = {.state = state, .lane = loop};
    sinter_loop_builder_init(&f.builder, state->program, state->schedule.function);
    visit_list(&f, get(state, loop)->body);
    return f;
}

/* ---- vector lanes ---- */

bool sinter_schedule_cpu_has_masks(const sinter_target *target) {
    return target->vector_bytes == 64 && sinter_target_has(target, "avx512bw");
}

static int64_t power_below(int64_t value) {
    int64_t power = 1;
    while (power * 2 <= value) power *= 2;
    return power;
}

/* Elements in one go: a vector of the widest type, several where the work of an element is small. */
static int64_t choose_lanes(const sinter_target *target, const body_facts *f, int64_t count) {
    int64_t lanes = f->widest ? (int64_t)target->vector_bytes * 8 / f->widest : 1;
    int64_t copies = f->work <= SIMPLE_WORK ? 4 : f->work <= 2 * SIMPLE_WORK ? 2 : 1;
    if (count < 0) return lanes * copies;
    while (copies > 1 && (count < lanes * copies || count % (lanes * copies))) copies /= 2;
    return lanes * copies;
}

static bool lanes_divide(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    return study(state, loop).unfit;
}

static bool vectorize_exact(sinter_schedule_cpu_state *state, sinter_loop_var loop, int64_t lanes,
                            sinter_schedule_tail tail, sinter_loop_var *out_outer,
                            sinter_loop_var *out_tail) {
    sinter_schedule *schedule = &state->schedule;
    sinter_loop_function *saved = sinter_loop_clone_function(schedule->program, schedule->function);
    sinter_loop_var inner = 0;
    if (sinter_schedule_split(schedule, loop, lanes, tail, out_outer, &inner, out_tail) &&
        !lanes_divide(state, inner) && sinter_schedule_vectorize(schedule, inner))
        return true;
    *schedule->function = *saved;
    return false;
}

/* What whole vectors left over, at most lanes - 1 iterations. */
static void vectorize_tail(sinter_schedule_cpu_state *state, sinter_loop_var tail, int64_t lanes) {
    int64_t count;
    bool known = sinter_loop_trip_count(get(state, tail), &count);
    if (sinter_schedule_cpu_has_masks(state->target) && (!known || count > 1)) {
        if (known)
            while (lanes / 2 >= count) lanes /= 2;
        vectorize_exact(state, tail, lanes, SINTER_TAIL_GUARD, NULL, NULL);
        return;
    }
    while (known && count > 1) {
        sinter_loop_var rest = 0;
        if (!vectorize_exact(state, tail, power_below(count), SINTER_TAIL_PEEL, NULL, &rest) ||
            !rest)
            return;
        tail = rest;
        known = sinter_loop_trip_count(get(state, tail), &count);
    }
}

/* The loop over whole vectors; the loop itself where it stays as it is. */
sinter_loop_var sinter_schedule_cpu_vectorize(sinter_schedule_cpu_state *state,
                                              sinter_loop_var loop) {
    body_facts f = study(state, loop);
    int64_t count = sinter_cpu_trips(state, loop);
    if (count == 0 || count == 1) return loop;
    int64_t lanes = choose_lanes(state->target, &f, count);
    if (lanes < 2) return loop;
    if (count >= 0 && count < lanes) {
        vectorize_tail(state, loop, lanes);
        return loop;
    }
    sinter_loop_var outer = loop, tail = 0;
    if (!vectorize_exact(state, loop, lanes, SINTER_TAIL_PEEL, &outer, &tail)) return loop;
    if (tail) vectorize_tail(state, tail, lanes);
    return outer;
}

/* ---- threads ---- */

int64_t sinter_cpu_most_trips(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    const sinter_loop_stmt *stmt = loop ? get(state, loop) : NULL;
    int64_t count;
    return stmt && sinter_loop_most_trips(state->schedule.function, stmt, &count) ? count : -1;
}

static int64_t count_or(const sinter_schedule_cpu_state *state, sinter_loop_var loop,
                        int64_t otherwise) {
    int64_t count = sinter_cpu_trips(state, loop);
    return count < 0 ? otherwise : count;
}

static bool is_outermost(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    for (const sinter_loop_stmt *stmt = state->schedule.function->body; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_FOR && stmt->var == loop) return true;
    return false;
}

/* The chain's loop that divides best: the first that is long enough, else the longest. Of counts that only the run knows the
 * outermost is taken for a batch of one. */
static uint32_t choose_parallel(const sinter_schedule_cpu_state *state,
                                const sinter_schedule_chain *c) {
    uint32_t best = 0;
    int64_t longest = count_or(state, c->loops[0], 1);
    for (uint32_t i = 1; i < c->depth && longest < PARALLEL_COUNT; i++) {
        int64_t count = count_or(state, c->loops[i], PARALLEL_COUNT);
        if (count <= longest) continue;
        longest = count;
        best = i;
    }
    return best;
}

/* A few rows, odd in number, are shared by their columns, as products and windows of such rows are: what a thread reads it has
 * made itself then. */
static bool halves_better(const sinter_schedule_cpu_state *state, sinter_loop_var rows,
                          sinter_loop_var columns) {
    int64_t few = count_or(state, rows, 0), count = columns ? count_or(state, columns, 0) : 0;
    return few % 2 && few < ODD_COUNT && count % 2 == 0 && count >= PARALLEL_COUNT;
}

sinter_loop_var sinter_schedule_cpu_parallelize(sinter_schedule_cpu_state *state,
                                                sinter_schedule_chain *c, sinter_loop_var columns) {
    if (!is_outermost(state, c->loops[0]) || !sinter_cpu_is_worth_threads(state, c->loops[0]))
        return c->loops[0];
    uint32_t best = choose_parallel(state, c);
    sinter_loop_var order[SINTER_SCHEDULE_CHAIN_MAX + 1];
    size_t count = 0;
    bool by_columns = halves_better(state, c->loops[best], columns);
    if (by_columns) best = c->depth;
    order[count++] = by_columns ? columns : c->loops[best];
    for (uint32_t i = 0; i <= best && i < c->depth; i++)
        if (i != best) order[count++] = c->loops[i];
    sinter_loop_var outer = c->loops[0];
    if (best && sinter_schedule_reorder(&state->schedule, order, count)) outer = order[0];
    sinter_schedule_parallelize(&state->schedule, outer);
    return outer;
}

bool sinter_schedule_cpu_jumps(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    body_facts f = study(state, loop);
    return f.strided && f.work <= SIMPLE_WORK;
}

bool sinter_schedule_cpu_streams(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    body_facts f = study(state, loop);
    return f.consecutive && !f.strided;
}

int64_t sinter_schedule_cpu_native_lanes(const sinter_schedule_cpu_state *state,
                                         sinter_loop_var loop) {
    body_facts f = study(state, loop);
    return f.widest ? (int64_t)state->target->vector_bytes * 8 / f.widest : 1;
}
