/* Memory that the host allocates for each call of a kernel, one more parameter of it: what one of its loops makes for the next, for all
 * threads, and scratch that is too large for a thread's stack, or of a size that the run alone knows, with a place for each iteration of
 * the parallel loop that it is made in. A loop of more iterations than there may be places goes over parts of them, one after the other.
 * Needs: a program with a host.
 * Test: tests/codegen/schedule/bits_bytes.loops, tests/codegen/schedule/room.loops */
#include "codegen/schedule/cpu/scratch.h"
#include "codegen/loops/independent.h"
#include "codegen/loops/rewrite.h"
#include "ir/stack.h"

#include <math.h>

typedef struct addition {
    sinter_schedule_cpu_state *state;
    const sinter_loop_function *kernel;
    sinter_loop_buffer parameter;
} addition;

/* The kernel's dims, with what the call passes in place of its scalars. */
static sinter_loop_buffer host_buffer(addition *a, sinter_loop_builder *host,
                                      const sinter_loop_stmt *call) {
    const sinter_loop_buffer_info *info = &a->kernel->buffers.items[a->parameter];
    sinter_loop_map map;
    sinter_expr dims[SINTER_MAX_RANK];
    sinter_loop_map_init(&map, a->state->program, host->function);
    for (uint32_t i = 0; i < call->argument_count; i++)
        sinter_loop_map_var(&map, a->kernel->scalar_parameters.items[i], call->arguments[i]);
    for (uint32_t i = 0; i < info->rank; i++) dims[i] = sinter_loop_map_expr(&map, info->dims[i]);
    return sinter_loop_add_buffer(host, info->name, info->dtype, info->rank, dims,
                                  SINTER_SCOPE_HEAP);
}

/* call  ->  alloc; call with it; free */
static bool pass_scratch(void *user, sinter_loop_stmt *stmt) {
    addition *a = user;
    uint32_t count = (uint32_t)a->kernel->buffer_parameters.count;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL || stmt->kernel != a->state->kernel ||
        stmt->buffer_argument_count == count)
        return true;
    sinter_loop_builder host;
    sinter_loop_stmt *list = NULL;
    sinter_loop_builder_init(&host, a->state->program, a->state->program->host);
    host.tail = &list;
    sinter_loop_buffer buffer = host_buffer(a, &host, stmt),
                       *buffers = sinter_arena_alloc_array(host.arena, count, sizeof *buffers);
    for (uint32_t i = 0; i + 1 < count; i++) buffers[i] = stmt->buffer_arguments[i];
    buffers[count - 1] = buffer;
    sinter_loop_alloc(&host, buffer);
    sinter_loop_call_kernel(&host, stmt->kernel, buffers, count, stmt->arguments,
                            stmt->argument_count);
    host.last->text = stmt->text;
    sinter_loop_free(&host, buffer);
    *host.tail = stmt->next;
    *stmt = *list;
    return true;
}

/* The buffer, the kernel's last parameter, is what every call passes from now on. */
static void pass_everywhere(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter) {
    addition a = {.state = state, .kernel = state->schedule.function, .parameter = parameter};
    sinter_loop_walk(state->program->host->body, pass_scratch, &a);
}

sinter_loop_buffer sinter_cpu_add_scratch(sinter_schedule_cpu_state *state, const char *name,
                                          sinter_dtype dtype, uint32_t rank,
                                          const sinter_expr *dims) {
    sinter_loop_builder build;
    sinter_loop_builder_init(&build, state->program, state->schedule.function);
    sinter_loop_buffer parameter =
        sinter_loop_add_buffer(&build, name, dtype, rank, dims, SINTER_SCOPE_INOUT);
    pass_everywhere(state, parameter);
    return parameter;
}

/* ---- scratch that has no room on the stack ---- */

/* Of scratch at most, one for each part of a parallel loop: enough for threads to share the parts evenly, in several chunks each. */
enum { MOST_PLACES = 32 };

typedef struct moving {
    sinter_schedule_cpu_state *state;
    sinter_loop_buffer buffer; /* the scratch */
    sinter_loop_stmt **alloc;
    sinter_loop_stmt *parallel; /* around it; NULL: none */
    sinter_loop_stmt *first;    /* of those that it is joined to, or itself */
    sinter_expr place;          /* of the iteration */
} moving;

/* Bytes at most; UINT64_MAX: there is no bound. */
static uint64_t most_bytes(const sinter_loop_function *function,
                           const sinter_loop_buffer_info *info) {
    uint64_t bytes;
    int64_t count;
    if (!sinter_loop_most_elements(function, info, 0, &count) ||
        __builtin_mul_overflow((sinter_dtype_infos[info->dtype].bits + 7) / 8, count, &bytes))
        return UINT64_MAX;
    return bytes;
}

static bool has_sizes(const sinter_loop_function *function, const sinter_loop_buffer_info *info) {
    for (uint32_t i = 0; i < info->rank; i++)
        if (!sinter_loop_expr_over_parameters(function, info->dims[i])) return false;
    return info->rank < SINTER_MAX_RANK;
}

/* The parallel loop that statements are in, if any, and the first of those that it is joined to. */
typedef struct around {
    sinter_loop_stmt *parallel, *first;
} around;

/* The largest of the list whose size is known when the kernel is called, and the bytes of all. */
static void find_largest(moving *m, sinter_loop_stmt **link, around outside, uint64_t *largest,
                         uint64_t *total) {
    const sinter_loop_function *function = m->state->schedule.function;
    sinter_loop_stmt *first = NULL;
    for (; *link; link = &(*link)->next) {
        sinter_loop_stmt *stmt = *link;
        bool spreads = stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_PARALLEL;
        if (!stmt->joined) first = stmt;
        find_largest(m, &stmt->body, spreads ? (around){stmt, first} : outside, largest, total);
        find_largest(m, &stmt->else_body, outside, largest, total);
        if (stmt->kind != SINTER_LOOP_ALLOC) continue;
        const sinter_loop_buffer_info *info = &function->buffers.items[stmt->buffer];
        if (info->scope != SINTER_SCOPE_STACK) continue;
        uint64_t bytes = most_bytes(function, info);
        if (__builtin_add_overflow(*total, bytes, total)) *total = UINT64_MAX;
        if (bytes <= *largest || !has_sizes(function, info)) continue;
        *largest = bytes;
        m->buffer = stmt->buffer;
        m->alloc = link;
        m->parallel = outside.parallel;
        m->first = outside.first;
    }
}

/* ---- places ---- */

static sinter_expr count_places(const moving *m) {
    sinter_loop_builder build;
    sinter_loop_builder_init(&build, m->state->program, m->state->schedule.function);
    if (!m->parallel) return sinter_loop_int(&build, 1);
    sinter_expr count = sinter_loop_sub(&build, m->parallel->upper, m->parallel->lower);
    return sinter_loop_max(&build, count, sinter_loop_int(&build, 0));
}

static bool has_many_places(const moving *m) {
    int64_t low, high;
    return !sinter_loop_range(m->state->schedule.function, count_places(m), &low, &high) ||
           high > MOST_PLACES;
}

/* Iterations of the longest of the loops that are joined to this one; 0 where the run alone knows. */
static int64_t longest_of(const sinter_loop_stmt *first) {
    const sinter_loop_stmt *end = sinter_loop_group_end(first);
    int64_t longest = 0, count;
    for (;; first = first->next) {
        if (!sinter_loop_trip_count(first, &count)) return 0;
        if (count > longest) longest = count;
        if (first == end) return longest;
    }
}

/* The parallel loop goes over parts of what it went over, each of what is worth a thread at least. False: the function is as it was,
 * but in other statements. */
static bool split_parts(const moving *m) {
    sinter_schedule *schedule = &m->state->schedule;
    bool is_first = m->first == m->parallel;
    int64_t before = longest_of(m->first), grain = m->first->grain;
    int64_t least = before || !grain ? 1 : sinter_loop_whole_grain(grain);
    sinter_loop_var outer;
    if (!sinter_schedule_split_parts(schedule, m->parallel->var, MOST_PLACES, least, &outer, NULL))
        return false;
    sinter_loop_stmt *first =
        is_first ? sinter_schedule_get_loop(schedule->function, outer) : m->first;
    /* In iterations of what is the longest now; parts are of a grain at least where nobody knows how many there were. */
    if (grain && before)
        first->grain = (int64_t)ceil((double)grain * (double)longest_of(first) / (double)before);
    else
        first->grain = grain ? SINTER_ABI_GRAIN_PARTS : 0;
    return true;
}

static uint32_t put_in_place(void *user, sinter_loop_buffer buffer, sinter_expr *indices) {
    const moving *m = user;
    uint32_t rank = m->state->schedule.function->buffers.items[buffer].rank;
    for (uint32_t i = rank; i-- > 0;) indices[i + 1] = indices[i];
    indices[0] = m->place;
    return rank + 1;
}

/* The scratch becomes a parameter [iteration, ...]. */
static void move(moving *m) {
    sinter_loop_function *function = m->state->schedule.function;
    sinter_loop_buffer_info *info = &function->buffers.items[m->buffer];
    sinter_loop_builder build;
    sinter_loop_builder_init(&build, m->state->program, function);
    sinter_expr *dims = sinter_arena_alloc_array(build.arena, info->rank + 1, sizeof *dims);
    dims[0] = count_places(m);
    m->place = sinter_loop_int(&build, 0);
    if (m->parallel) {
        sinter_expr var = sinter_loop_var_read(&build, m->parallel->var);
        m->place = sinter_loop_sub(&build, var, m->parallel->lower);
    }
    /* Variables of the kernel may bound the loop; then there is a place for each part that there may be. */
    if (!sinter_loop_expr_over_parameters(function, dims[0]))
        dims[0] = sinter_loop_int(&build, MOST_PLACES);
    for (uint32_t i = 0; i < info->rank; i++) dims[i + 1] = info->dims[i];
    *m->alloc = (*m->alloc)->next;
    sinter_loop_change_indices(build.arena, function->body, m->buffer, put_in_place, m);
    info->scope = SINTER_SCOPE_INOUT;
    info->dims = dims;
    info->rank++;
    sinter_vector_push(build.arena, &function->buffer_parameters, m->buffer);
    pass_everywhere(m->state, m->buffer);
}

void sinter_cpu_move_scratch(sinter_schedule_cpu_state *state) {
    sinter_loop_var whole = 0; /* a loop whose parts nothing shows apart */
    if (!state->program->host) return;
    for (;;) {
        moving m = {.state = state};
        uint64_t largest = 0, total = 0;
        find_largest(&m, &state->schedule.function->body, (around){0}, &largest, &total);
        if (total <= SINTER_STACK_BYTES || !m.buffer) return;
        if (m.parallel && m.parallel->var != whole && has_many_places(&m)) {
            if (!split_parts(&m)) whole = m.parallel->var;
            continue;
        }
        /* Each iteration has a place then, if their number is known when the kernel is called. */
        if (has_many_places(&m) &&
            !sinter_loop_expr_over_parameters(state->schedule.function, count_places(&m)))
            return;
        move(&m);
    }
}
