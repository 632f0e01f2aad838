/* Shared memory of a block of threads whose elements are each touched by one thread alone becomes registers of these threads: what several nests hand
 * on from thread to thread needs no memory and no barrier where all of them share their work out alike. Along each dim the axes of threads are digits
 * of the index, as instructions for matrices have their rows and columns (codegen/loops/mma.def):
 *
 *   %b[w * 16 + r * 8 + g, j * 8 + t * 2 + c], in thread axes w, g, t   ->   %b[w,g,t,r,j,c]
 * and what lies between these digits numbers the registers of a thread, by loops that are written out.
 * Needs: a function that the verifier accepts. Guarantees: the same values. Test: tests/codegen/schedule/distribute.loops */
#include "codegen/loops/linear.h"
#include "codegen/schedule/internal.h"

enum { MAX_AXES = 3, MAX_TRIPS = 64, MAX_ELEMENTS = 256, MAX_GAPS = SINTER_MAX_RANK };

/* Which digit of the index an axis of threads is. */
typedef struct digit {
    uint32_t dim;
    int64_t scale, count;
    bool found;
} digit;

/* What lies between digits of a dim: numbers below `size`, times `base`, of which those below `used` are there; above the last digit any. */
typedef struct gap {
    uint32_t dim;
    int64_t base, size, used;
} gap;

typedef struct layout {
    digit axes[MAX_AXES];
    uint32_t count;
} layout;

typedef struct distribution {
    sinter_schedule *schedule;
    sinter_loop_builder builder;
    sinter_loop_scopes scopes;
    sinter_arena scratch;
    sinter_loop_buffer buffer;
    uint32_t *positions; /* by variable of a thread axis: which one it is, from 1 */
    sinter_loop_var around[MAX_AXES];
    layout layout; /* of all accesses */
    bool has_layout;
    gap gaps[MAX_GAPS];
    uint32_t gap_count;
    const char *wrong; /* NULL: nothing so far */
} distribution;

static sinter_loop_buffer_info *info_of(const distribution *d) {
    return &d->schedule->function->buffers.items[d->buffer];
}

static const sinter_loop_stmt *loop_of(const distribution *d, const sinter_linear_term *term) {
    if (term->count != 1 || term->factors[0]->kind != SINTER_LOOP_VAR) return NULL;
    const sinter_loop_stmt *stmt = d->scopes.vars[term->factors[0]->var];
    return stmt && stmt->kind == SINTER_LOOP_FOR ? stmt : NULL;
}

static uint32_t position_of(const distribution *d, const sinter_linear_term *term) {
    const sinter_loop_stmt *loop = loop_of(d, term);
    return loop ? d->positions[loop->var] : 0;
}

/* ---- digits ---- */

/* False: some term is none that registers could be numbered by. */
static bool read_dim(distribution *d, uint32_t dim, sinter_expr index, layout *out) {
    sinter_linear sum;
    if (!sinter_linear_of(sinter_loop_map_expr(&d->scopes.lets, index), &sum) || sum.constant < 0)
        return false;
    for (uint32_t i = 0; i < sum.count; i++) {
        const sinter_linear_term *term = &sum.terms[i];
        const uint32_t position = position_of(d, term);
        if (!loop_of(d, term) || term->coefficient < 1) return false;
        if (!position) continue;
        digit *axis = &out->axes[position - 1];
        if (axis->found) return false;
        *axis =
            (digit){.dim = dim, .scale = term->coefficient, .count = axis->count, .found = true};
    }
    return true;
}

static bool same_layout(const layout *a, const layout *b) {
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++) {
        const digit *x = &a->axes[i], *y = &b->axes[i];
        same =
            x->count == y->count && (x->count == 1 || (x->dim == y->dim && x->scale == y->scale));
    }
    return same;
}

/* All threads of the block are told apart, in the same way wherever the buffer is touched. */
static void read_access(distribution *d, const sinter_loop_access *access, uint32_t depth) {
    layout found = {.count = depth};
    for (uint32_t i = 0; i < depth; i++) {
        const sinter_loop_stmt *loop = d->scopes.vars[d->around[i]];
        int64_t lower;
        if (!sinter_loop_trip_count(loop, &found.axes[i].count) || loop->step != 1 ||
            !sinter_loop_is_const_int(loop->lower, &lower) || lower) {
            d->wrong = "threads are not counted from 0";
            return;
        }
    }
    for (uint32_t dim = 0; dim < access->rank; dim++)
        if (!read_dim(d, dim, access->indices[dim], &found)) {
            d->wrong = "an index is no sum of loops";
            return;
        }
    for (uint32_t i = 0; i < depth; i++)
        if (found.axes[i].count > 1 && !found.axes[i].found) d->wrong = "threads share elements";
    if (!depth) d->wrong = "all threads touch it alike";
    if (!d->wrong && d->has_layout && !same_layout(&found, &d->layout))
        d->wrong = "its elements are not always the same thread's";
    d->layout = found;
    d->has_layout = true;
}

/* Memory that instructions read, or copies under way fill, has to stay memory. */
static bool is_plain(const sinter_loop_stmt *stmt) {
    if (stmt->kind == SINTER_LOOP_WARPS || stmt->asynchronous) return false;
    return stmt->kind != SINTER_LOOP_FOR ||
           (stmt->axis != SINTER_AXIS_LDMATRIX && stmt->axis != SINTER_AXIS_MMA &&
            stmt->axis != SINTER_AXIS_WGMMA);
}

static void read_list(distribution *d, const sinter_loop_stmt *first, uint32_t depth, bool plain) {
    for (const sinter_loop_stmt *stmt = first; stmt && !d->wrong; stmt = stmt->next) {
        sinter_loop_access_list list = {0};
        const bool threads = stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_THREAD;
        const bool still = plain && is_plain(stmt);
        sinter_loop_collect_stmt_accesses(&d->scratch, stmt, &list);
        for (size_t i = 0; i < list.count && !d->wrong; i++) {
            if (list.items[i].buffer != d->buffer) continue;
            if (!still || list.items[i].combine)
                d->wrong = "an instruction touches it, or a piece of warps";
            else
                read_access(d, &list.items[i], depth);
        }
        if (stmt->kind == SINTER_LOOP_ALLOC && stmt->buffer == d->buffer && depth)
            d->wrong = "it is a thread's already";
        if (threads && depth == MAX_AXES) d->wrong = "there are more than three axes of threads";
        if (d->wrong) return;
        if (threads) {
            d->around[depth] = stmt->var;
            d->positions[stmt->var] = depth + 1;
        }
        read_list(d, stmt->body, depth + threads, still);
        read_list(d, stmt->else_body, depth + threads, still);
    }
}

/* ---- gaps ---- */

/* The axis of the dim with the least scale of at least so much; NULL: there is none. */
static const digit *next_digit(const distribution *d, uint32_t dim, int64_t least) {
    const digit *best = NULL;
    for (uint32_t i = 0; i < d->layout.count; i++) {
        const digit *axis = &d->layout.axes[i];
        if (axis->count > 1 && axis->dim == dim && axis->scale >= least &&
            (!best || axis->scale < best->scale))
            best = axis;
    }
    return best;
}

static bool add_gap(distribution *d, uint32_t dim, int64_t base, int64_t size) {
    if (d->gap_count == MAX_GAPS) return false;
    d->gaps[d->gap_count++] = (gap){dim, base, size, 1};
    return true;
}

/* False: digits overlap. */
static bool find_gaps(distribution *d) {
    const sinter_loop_buffer_info *info = info_of(d);
    uint32_t found = 0, wanted = 0;
    for (uint32_t i = 0; i < d->layout.count; i++) wanted += d->layout.axes[i].count > 1;
    for (uint32_t dim = 0; dim < info->rank; dim++) {
        int64_t base = 1;
        uint32_t low = d->gap_count;
        for (const digit *next; (next = next_digit(d, dim, base)); found++) {
            if (next->scale % base || !add_gap(d, dim, base, next->scale / base)) return false;
            base = next->scale * next->count;
        }
        if (!add_gap(d, dim, base, INT64_MAX / base)) return false;
        for (uint32_t high = d->gap_count - 1; low < high;
             low++, high--) { /* as indices go: high digits first */
            const gap kept = d->gaps[low];
            d->gaps[low] = d->gaps[high];
            d->gaps[high] = kept;
        }
    }
    return found == wanted;
}

/* What of an index is the gap's, and the highest it may be; false: it is not below the gap's size, for all that is known. */
static bool part_of(const distribution *d, const sinter_linear *sum, const gap *g,
                    sinter_linear *out, int64_t *out_high) {
    int64_t low;
    const int64_t end = g->base * g->size;
    *out = (sinter_linear){.constant = sum->constant / g->base % g->size};
    for (uint32_t i = 0; i < sum->count; i++) {
        sinter_linear_term term = sum->terms[i];
        if (position_of(d, &term) || term.coefficient < g->base ||
            (term.coefficient >= end && next_digit(d, g->dim, g->base)))
            continue;
        if (term.coefficient % g->base) return false;
        term.coefficient /= g->base;
        out->terms[out->count++] = term;
    }
    return sinter_linear_range(d->schedule->function, out, &low, out_high) && low >= 0 &&
           *out_high < g->size;
}

/* The gaps of a dim are all of the index but the threads' digits. */
static bool is_covered(const distribution *d, uint32_t dim, const sinter_linear *sum) {
    sinter_linear left = *sum, part;
    int64_t high;
    for (uint32_t i = 0; i < d->gap_count; i++)
        if (d->gaps[i].dim == dim && (!part_of(d, sum, &d->gaps[i], &part, &high) ||
                                      !sinter_linear_accumulate(&left, &part, -d->gaps[i].base)))
            return false;
    for (uint32_t i = 0; i < left.count; i++)
        if (!position_of(d, &left.terms[i])) return false;
    return left.constant == 0;
}

/* Loops that number registers are written out; false: they are too long. */
static bool is_short(const distribution *d, const sinter_linear *part) {
    for (uint32_t i = 0; i < part->count; i++) {
        const sinter_loop_stmt *loop = loop_of(d, &part->terms[i]);
        int64_t trips;
        if (!sinter_loop_trip_count(loop, &trips) || trips > MAX_TRIPS ||
            (loop->axis != SINTER_AXIS_SERIAL && loop->axis != SINTER_AXIS_UNROLL &&
             loop->axis != SINTER_AXIS_VECTOR))
            return false;
    }
    return true;
}

static bool check_access(distribution *d, const sinter_loop_access *access) {
    sinter_linear sum, part;
    for (uint32_t dim = 0; dim < access->rank; dim++) {
        sinter_linear_of(sinter_loop_map_expr(&d->scopes.lets, access->indices[dim]), &sum);
        if (!is_covered(d, dim, &sum)) return false;
        for (uint32_t i = 0; i < d->gap_count; i++) {
            gap *g = &d->gaps[i];
            int64_t high;
            if (g->dim != dim) continue;
            if (!part_of(d, &sum, g, &part, &high) || !is_short(d, &part)) return false;
            if (g->used <= high) g->used = high + 1;
        }
    }
    return true;
}

/* ---- the change ---- */

static uint32_t change(void *user, sinter_loop_buffer buffer, sinter_expr *indices) {
    distribution *d = user;
    sinter_loop_builder *b = &d->builder;
    sinter_expr places[SINTER_MAX_RANK];
    sinter_linear sums[SINTER_MAX_RANK], part;
    uint32_t count = 0;
    int64_t high;
    (void)buffer;
    for (uint32_t i = 0; i < d->layout.count; i++) places[count++] = sinter_loop_int(b, 0);
    for (uint32_t dim = 0; dim < info_of(d)->rank; dim++) {
        sinter_linear_of(sinter_loop_map_expr(&d->scopes.lets, indices[dim]), &sums[dim]);
        for (uint32_t i = 0; i < sums[dim].count; i++) {
            const uint32_t position = position_of(d, &sums[dim].terms[i]);
            if (position) places[position - 1] = sums[dim].terms[i].factors[0];
        }
    }
    for (uint32_t i = 0; i < d->gap_count; i++) {
        const gap *g = &d->gaps[i];
        if (g->used == 1) continue;
        part_of(d, &sums[g->dim], g, &part, &high);
        for (uint32_t k = 0; k < part.count; k++) {
            sinter_loop_stmt *loop = d->scopes.vars[part.terms[k].factors[0]->var];
            if (loop->axis == SINTER_AXIS_SERIAL) loop->axis = SINTER_AXIS_UNROLL;
        }
        places[count++] = sinter_linear_build(b->arena, &part);
    }
    for (uint32_t i = 0; i < count; i++) indices[i] = places[i];
    return count;
}

static void change_dims(distribution *d) {
    sinter_loop_builder *b = &d->builder;
    sinter_loop_buffer_info *info = info_of(d);
    sinter_expr dims[SINTER_MAX_RANK];
    uint32_t count = 0;
    for (uint32_t i = 0; i < d->layout.count; i++)
        dims[count++] = sinter_loop_int(b, d->layout.axes[i].count);
    for (uint32_t i = 0; i < d->gap_count; i++)
        if (d->gaps[i].used > 1) dims[count++] = sinter_loop_int(b, d->gaps[i].used);
    info->dims = sinter_arena_copy(b->arena, dims, count * sizeof *dims);
    info->rank = count;
    info->scope = SINTER_SCOPE_REGISTER;
}

static bool fits_registers(const distribution *d) {
    int64_t elements = 1;
    uint32_t rank = d->layout.count;
    for (uint32_t i = 0; i < d->gap_count; i++) {
        if (d->gaps[i].used > MAX_ELEMENTS / elements) return false;
        elements *= d->gaps[i].used;
        rank += d->gaps[i].used > 1;
    }
    return rank <= SINTER_MAX_RANK;
}

static void look(distribution *d) {
    const sinter_loop_function *function = d->schedule->function;
    sinter_loop_access_list list = {0};
    read_list(d, function->body, 0, true);
    if (!d->wrong && !d->has_layout) d->wrong = "nothing touches it";
    if (!d->wrong && !find_gaps(d)) d->wrong = "digits of its indices overlap";
    if (d->wrong) return;
    sinter_loop_collect_accesses(&d->scratch, function->body, &list);
    for (size_t i = 0; i < list.count && !d->wrong; i++)
        if (list.items[i].buffer == d->buffer && !check_access(d, &list.items[i]))
            d->wrong = "an index is not made of digits, by loops that are short";
    if (!d->wrong && !fits_registers(d)) d->wrong = "a thread would have too many elements";
}

bool sinter_schedule_distribute(sinter_schedule *schedule, sinter_loop_buffer buffer) {
    sinter_loop_function *function = schedule->function;
    if (!buffer || buffer >= function->buffers.count ||
        function->buffers.items[buffer].scope != SINTER_SCOPE_SHARED ||
        function->buffers.items[buffer].swizzle || function->buffers.items[buffer].arrivals)
        return sinter_schedule_refuse(schedule, "there is no such memory of a block");
    distribution d = {.schedule = schedule, .buffer = buffer};
    sinter_arena_init(&d.scratch);
    sinter_loop_builder_init(&d.builder, schedule->program, function);
    sinter_loop_scopes_init(&d.scopes, schedule->program, function, &d.scratch);
    d.positions = SINTER_NEW_ARRAY(&d.scratch, uint32_t, function->vars.count);
    look(&d);
    bool done = !d.wrong || sinter_schedule_refuse(schedule, "%%%s: %s",
                                                   function->buffers.items[buffer].name, d.wrong);
    if (done) {
        sinter_loop_function *saved = sinter_loop_clone_function(schedule->program, function);
        sinter_loop_change_indices(d.builder.arena, function->body, buffer, change, &d);
        change_dims(&d);
        done = sinter_schedule_keeps_marks(schedule, saved);
    }
    sinter_arena_deinit(&d.scratch);
    return done;
}
