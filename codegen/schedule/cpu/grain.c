/* How many iterations of a parallel loop are worth a thread: from what an iteration costs, and what it costs to wake a thread
 * and to bring it what others have in their caches.
 *
 * Cycles are counted in the loops as they are in the end: a statement in vector lanes counts once a vector. What the loops
 * read and write has to come from beyond the first cache at least once, which is more than the arithmetic where a row meets
 * a matrix. A loop that is known to be too short becomes serial. Loops that are joined are one call of the pool: the grain
 * stands at the first of them, in iterations of the longest. Test: tests/codegen/schedule/grain.loops */
#include "codegen/loops/access.h"
#include "codegen/loops/independent.h"
#include "codegen/schedule/cpu/constant.h"

#include <math.h>

enum {
    WORTH = 2,          /* wake-ups that a thread's share should take */
    UNKNOWN_TRIPS = 64, /* of loops over symbols, */
    WHILE_TRIPS = 16,
    MOST_TRIPS = 1 << 24
};
/* Of a value that several threads make and read, as a rule; smaller ones are one thread's, before this kernel and after it. */
enum { SHARED_BYTES = 1 << 16 };
static const double most_cycles = 1e15;

/* ---- one iteration ---- */

static void note_widest(void *user, sinter_expr expr) {
    uint32_t *bits = user, own = sinter_dtype_infos[expr->dtype].bits;
    bool is_index = expr->dtype == SINTER_DTYPE_i64;
    if (!is_index && own > *bits) *bits = own;
}

static bool note_widest_stmt(void *user, sinter_loop_stmt *stmt) {
    sinter_loop_walk_stmt_exprs(stmt, note_widest, user);
    return true;
}

/* Vectors that the lanes of the loop fill. */
static double count_vectors(const sinter_target *target, const sinter_loop_stmt *loop,
                            int64_t lanes) {
    uint32_t bits = 8;
    sinter_loop_walk(loop->body, note_widest_stmt, &bits);
    int64_t bytes = lanes * bits / 8, width = target->vector_bytes;
    return (double)((bytes + width - 1) / width);
}

static double list_work(const sinter_schedule_cpu_state *state, const sinter_loop_stmt *first);

/* Of loops at borders, the most that their bounds allow. */
static int64_t count_trips(const sinter_schedule_cpu_state *state, const sinter_loop_stmt *loop) {
    const sinter_loop_function *function = state->schedule.function;
    int64_t trips;
    bool known = sinter_loop_trip_count(loop, &trips);
    if (!known && (!sinter_loop_most_trips(function, loop, &trips) || trips > UNKNOWN_TRIPS))
        trips = UNKNOWN_TRIPS;
    return trips > MOST_TRIPS ? MOST_TRIPS : trips;
}

static double loop_work(const sinter_schedule_cpu_state *state, const sinter_loop_stmt *loop) {
    int64_t trips = count_trips(state, loop);
    double inside = list_work(state, loop->body), times = (double)trips;
    if (loop->axis == SINTER_AXIS_VECTOR) times = count_vectors(state->target, loop, trips);
    if (loop->axis == SINTER_AXIS_SERIAL) inside += 1;
    return times * inside;
}

/* Instructions of a list, roughly. */
static double list_work(const sinter_schedule_cpu_state *state, const sinter_loop_stmt *first) {
    double work = 0, one, other;
    for (const sinter_loop_stmt *stmt = first; stmt && work < most_cycles; stmt = stmt->next) {
        switch (stmt->kind) {
        case SINTER_LOOP_FOR:
            work += loop_work(state, stmt);
            break;
        case SINTER_LOOP_WHILE:
            work += WHILE_TRIPS * (1 + list_work(state, stmt->body));
            break;
        case SINTER_LOOP_IF:
            one = list_work(state, stmt->body);
            other = list_work(state, stmt->else_body);
            work += 1 + (one > other ? one : other);
            break;
        case SINTER_LOOP_COMMENT:
        case SINTER_LOOP_ALLOC:
            break;
        default:
            work += (double)sinter_schedule_cpu_instructions(stmt);
        }
    }
    return work < most_cycles ? work : most_cycles;
}

/* ---- a group of loops ---- */

/* Bytes, as far as they are known. */
typedef struct traffic {
    double all;       /* of parameters */
    double constants; /* of those that are constants */
    double shares;    /* of inputs of which each iteration reads its own part */
    double scratch;   /* of those that go from thread to thread */
    double alone;     /* of inputs and outputs that one thread has made or will read */
} traffic;

/* Each iteration touches a part of the buffer that is its own, parts of one size in their order. */
static bool goes_by_parts(sinter_schedule_cpu_state *state, const sinter_loop_stmt *loop,
                          sinter_loop_buffer buffer, int64_t bytes) {
    const sinter_loop_function *function = state->schedule.function;
    int64_t lower, count, elements,
        bits = sinter_dtype_infos[function->buffers.items[buffer].dtype].bits;
    if (loop->kind != SINTER_LOOP_FOR || loop->axis != SINTER_AXIS_PARALLEL ||
        !sinter_loop_trip_count(loop, &count) || !sinter_loop_is_const_int(loop->lower, &lower) ||
        lower)
        return false;
    sinter_loop_builder builder;
    sinter_loop_access_list accesses = {0};
    sinter_loop_builder_init(&builder, state->program, state->schedule.function);
    sinter_loop_collect_accesses(&state->scratch, loop->body, &accesses);
    for (size_t i = 0; i < accesses.count; i++)
        if (accesses.items[i].buffer == buffer &&
            (!sinter_loop_stride(&builder, buffer, accesses.items[i].indices, loop->var,
                                 &elements) ||
             elements * count != bytes * 8 / bits))
            return false;
    return true;
}

/* Threads read the part of the scratch that they have written: in all loops they have the same share of it. */
static bool stays_with_threads(sinter_schedule_cpu_state *state, sinter_loop_buffer buffer,
                               int64_t bytes) {
    const sinter_loop_function *function = state->schedule.function;
    for (const sinter_loop_stmt *stmt = function->body; stmt; stmt = stmt->next) {
        sinter_loop_access_list accesses = {0};
        sinter_loop_collect_accesses(&state->scratch, stmt->body, &accesses);
        bool touches = false;
        for (size_t i = 0; i < accesses.count; i++) touches |= accesses.items[i].buffer == buffer;
        if (touches && !goes_by_parts(state, stmt, buffer, bytes)) return false;
    }
    return true;
}

/* Of each buffer of the function, by number. */
typedef struct buffer_counts {
    uint32_t *all;    /* accesses */
    uint32_t *moving; /* those of the group at hand that move on with its loops; 0 between groups */
    bool *seen;       /* by the group at hand */
} buffer_counts;

static buffer_counts count_accesses(sinter_schedule_cpu_state *state) {
    const sinter_loop_function *function = state->schedule.function;
    const size_t count = function->buffers.count;
    sinter_loop_access_list accesses = {0};
    buffer_counts counts = {SINTER_NEW_ARRAY(&state->scratch, uint32_t, count),
                            SINTER_NEW_ARRAY(&state->scratch, uint32_t, count),
                            SINTER_NEW_ARRAY(&state->scratch, bool, count)};
    sinter_loop_collect_accesses(&state->scratch, function->body, &accesses);
    for (size_t i = 0; i < accesses.count; i++) counts.all[accesses.items[i].buffer]++;
    return counts;
}

static bool is_parameter(sinter_loop_scope scope) {
    return scope == SINTER_SCOPE_INPUT || scope == SINTER_SCOPE_OUTPUT ||
           scope == SINTER_SCOPE_INOUT;
}

static void add_traffic(sinter_schedule_cpu_state *state, const buffer_counts *counts,
                        sinter_loop_buffer buffer, traffic *total) {
    const sinter_loop_buffer_info *info = &state->schedule.function->buffers.items[buffer];
    uint64_t bytes;
    if (!is_parameter(info->scope) || !sinter_loop_static_bytes(info, &bytes)) return;
    total->all += (double)bytes;
    if (info->scope == SINTER_SCOPE_INOUT && !stays_with_threads(state, buffer, (int64_t)bytes))
        total->scratch += (double)bytes;
    if (sinter_cpu_is_constant(state, buffer))
        total->constants += (double)bytes;
    else if (info->scope != SINTER_SCOPE_INOUT && bytes < SHARED_BYTES)
        total->alone += (double)bytes;
    else if (info->scope == SINTER_SCOPE_INPUT && counts->moving[buffer] == counts->all[buffer])
        total->shares += (double)bytes; /* nobody else in the kernel reads it */
}

static traffic group_traffic(sinter_schedule_cpu_state *state, const buffer_counts *counts,
                             const sinter_loop_stmt *first, const sinter_loop_stmt *end) {
    traffic total = {0};
    sinter_loop_access_list accesses = {0};
    for (const sinter_loop_stmt *loop = first;; loop = loop->next) {
        size_t before = accesses.count;
        sinter_loop_collect_accesses(&state->scratch, loop->body, &accesses);
        for (size_t i = before; i < accesses.count; i++)
            counts->moving[accesses.items[i].buffer] +=
                sinter_loop_access_uses(&accesses.items[i], loop->var);
        if (loop == end) break;
    }
    for (size_t i = 0; i < accesses.count; i++) {
        sinter_loop_buffer buffer = accesses.items[i].buffer;
        if (!counts->seen[buffer]) add_traffic(state, counts, buffer, &total);
        counts->seen[buffer] = true;
    }
    for (size_t i = 0; i < accesses.count; i++) {
        counts->moving[accesses.items[i].buffer] = 0;
        counts->seen[accesses.items[i].buffer] = false;
    }
    return total;
}

/* What the grain follows from. */
typedef struct group_cost {
    double cycles;  /* of an iteration of the longest loop, with what belongs to it of the others */
    double outside; /* cycles that a second thread costs */
    int64_t count;  /* iterations; 0 where only the run knows */
} group_cost;

/* Bytes a cycle that constants come with: what all of them take has room in the cache that cores share, or comes from memory in
 * each run. */
static double constant_bytes_a_cycle(const sinter_schedule_cpu_state *state) {
    return state->constant_bytes > state->target->l3_share ? state->target->memory_bytes
                                                           : state->target->near_bytes;
}

static group_cost find_cost(sinter_schedule_cpu_state *state, const buffer_counts *counts,
                            const sinter_loop_stmt *first, const sinter_loop_stmt *end) {
    double total = 0, products = state->target->products, shared = state->target->shared_bytes;
    int64_t longest = 0, count = 0;
    bool known = true;
    for (const sinter_loop_stmt *loop = first;; loop = loop->next) {
        known &= sinter_loop_trip_count(loop, &count);
        total += (known ? (double)count : 1) * (1 + list_work(state, loop->body)) / products;
        if (known && count > longest) longest = count;
        if (loop == end) break;
    }
    group_cost cost = {total, WORTH * (double)state->target->wake_cycles, known ? longest : 0};
    if (!known || longest < 1) return cost;
    traffic bytes = group_traffic(state, counts, first, end);
    const double reads = (bytes.all - bytes.constants) / state->target->near_bytes +
                         bytes.constants / constant_bytes_a_cycle(state);
    if (reads > total) total = reads;
    /* One thread alone reads from other cores what they have made of it, which is their own share as a rule. */
    cost.cycles = (total + bytes.shares / 2 / shared) / (double)longest;
    cost.outside += bytes.alone / 2 / shared;
    /* What no cache of one core holds comes from further away for one thread as well. */
    if (bytes.all < (double)state->target->l2_bytes / 2) cost.outside += bytes.scratch / shared;
    return cost;
}

bool sinter_cpu_is_worth_threads(sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(state->schedule.function, loop);
    const buffer_counts counts = count_accesses(state);
    const group_cost cost = find_cost(state, &counts, stmt, stmt);
    /* Whether scratch stays with its threads is to be seen when its other loops are what they will be. */
    return !cost.count ||
           cost.cycles * (double)cost.count >= 2 * WORTH * (double)state->target->wake_cycles;
}

static void make_serial(sinter_loop_stmt *first, const sinter_loop_stmt *end) {
    for (sinter_loop_stmt *loop = first;; loop = loop->next) {
        loop->axis = SINTER_AXIS_SERIAL;
        loop->joined = false;
        if (loop == end) break;
    }
}

/* Grains of less than so many iterations are counted in parts of one. */
enum { FEW_ITERATIONS = 4 };

static sinter_cpu_answer name_grain(int64_t grain) {
    if (!grain) return sinter_cpu_answer_make("serial");
    return grain % SINTER_ABI_GRAIN_PARTS
               ? sinter_cpu_answer_make("%lld/%d", (long long)grain, SINTER_ABI_GRAIN_PARTS)
               : sinter_cpu_answer_make("%lld", (long long)(grain / SINTER_ABI_GRAIN_PARTS));
}

/* The model's grain; some that are far from it; none at all (0). */
static int64_t ask(sinter_schedule_cpu_state *state, int64_t grain, int64_t count) {
    const int64_t grains[] = {grain, SINTER_ABI_GRAIN_PARTS, grain * 8, 0};
    sinter_cpu_answer answers[4];
    int64_t kept[4];
    uint32_t n = 0;
    bool fits = !count || count >= 2 * sinter_loop_whole_grain(grain);
    for (uint32_t i = 0; i < 4; i++) {
        int64_t one = i ? grains[i] : fits ? grain : 0;
        bool known = count && one && count < 2 * sinter_loop_whole_grain(one);
        for (uint32_t k = 0; k < n; k++) known |= kept[k] == one;
        if (known) continue;
        kept[n] = one;
        answers[n++] = name_grain(one);
    }
    return kept[sinter_cpu_choose(state, "grain", answers, n)];
}

/* What a second thread costs, in iterations. */
static int64_t find_grain(const group_cost *cost) {
    const double most = INT64_MAX / 1024;
    double iterations = cost->outside / (cost->cycles > 1 ? cost->cycles : 1);
    if (iterations > most) iterations = most;
    if (iterations >= FEW_ITERATIONS) return (int64_t)ceil(iterations) * SINTER_ABI_GRAIN_PARTS;
    int64_t parts = (int64_t)ceil(iterations * SINTER_ABI_GRAIN_PARTS);
    return parts > 1 ? parts : 1;
}

void sinter_schedule_cpu_set_grains(sinter_schedule_cpu_state *state) {
    const buffer_counts counts = count_accesses(state);
    for (sinter_loop_stmt *stmt = state->schedule.function->body; stmt; stmt = stmt->next) {
        if (stmt->kind != SINTER_LOOP_FOR || stmt->axis != SINTER_AXIS_PARALLEL) continue;
        const sinter_loop_stmt *end = sinter_loop_group_end(stmt);
        group_cost cost = find_cost(state, &counts, stmt, end);
        sinter_loop_stmt *next = stmt;
        while (next != end) next = next->next;
        int64_t chosen = cost.count == 1 ? 0 : ask(state, find_grain(&cost), cost.count);
        if (chosen)
            stmt->grain = chosen;
        else
            make_serial(stmt, end);
        stmt = next;
    }
}
