/* Operands in the order in which kernels read them: constants by promises (codegen/schedule/promise.h), and what the run alone knows a kernel
 * copies to scratch, in front of all else. Needs: the program's constants.
 * Test: tests/codegen/schedule/pack.loops, pack_input.loops, shared_constant.test */
#include "codegen/loops/access.h"
#include "codegen/loops/linear.h"
#include "codegen/schedule/cpu/constant.h"

#include <assert.h>
#include <string.h>

/* ---- promises ---- */

/* sinter_schedule_pack of a parameter for which all calls pass constants, with the promise that the calls will pass the packed constant. */
static bool pack_parameter(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter,
                           const uint32_t *order, const int64_t *blocks) {
    sinter_schedule_promise promise = {.kernel = state->kernel};
    assert(!state->part); /* others read it as well */
    if (!sinter_cpu_find_parameter(state, parameter, &promise.parameter)) return false;
    if (sinter_schedule_find_promise(&state->promises, promise.kernel, promise.parameter))
        return false; /* packed already */
    if (!sinter_schedule_pack(&state->schedule, parameter, order, blocks, &promise.layout))
        return false;
    sinter_vector_push(&state->scratch, &state->promises, promise);
    return true;
}

/* ---- what a nest wants ---- */

/* The innermost reduction in the index, counted from 1; 0: none. */
static uint32_t reduction_depth(const sinter_cpu_nest *nest, sinter_expr index) {
    for (uint32_t i = nest->reduction_count; i-- > 0;)
        if (sinter_loop_expr_uses(index, nest->reductions[i])) return i + 1;
    return 0;
}

/* The one dim whose index moves with the columns, by one element each, and what the rest of that index is a multiple of: 0 where
 * there is none. */
static bool find_column_dim(const sinter_loop_access *load, sinter_loop_var column,
                            sinter_cpu_packing *p) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < load->rank; i++) {
        sinter_linear index;
        if (!sinter_loop_expr_uses(load->indices[i], column)) continue;
        if (found++ || !sinter_linear_of(load->indices[i], &index)) return false;
        p->column_dim = i;
        p->multiple = index.constant;
        for (uint32_t t = 0; t < index.count; t++) {
            const sinter_linear_term *term = &index.terms[t];
            bool own = term->count == 1 && term->factors[0]->kind == SINTER_LOOP_VAR &&
                       term->factors[0]->var == column;
            if (own && term->coefficient != 1) return false;
            for (uint32_t f = 0; !own && f < term->count; f++)
                if (sinter_loop_expr_uses(term->factors[f], column)) return false;
            if (!own) p->multiple = sinter_linear_gcd(p->multiple, term->coefficient);
        }
    }
    return found == 1;
}

/* Outer axes, panels of columns, axes of the reduction as its loops go; the columns of a panel will be the last axis. */
static bool plan_one(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                     const sinter_loop_access *load, sinter_cpu_packing *out_packing) {
    const sinter_loop_buffer_info *info = &state->schedule.function->buffers.items[load->buffer];
    sinter_cpu_packing *p = out_packing;
    *p = (sinter_cpu_packing){.buffer = load->buffer, .rank = load->rank};
    uint32_t used = 0;
    if (sinter_dtype_infos[info->dtype].bits < 8 ||
        !find_column_dim(load, nest->loops[nest->loop_count - 1], p) ||
        !sinter_loop_is_const_int(info->dims[p->column_dim], &p->columns))
        return false;
    for (uint32_t depth = 0; depth <= nest->reduction_count; depth++) {
        for (uint32_t i = 0; i < load->rank; i++)
            if (i != p->column_dim && reduction_depth(nest, load->indices[i]) == depth)
                p->order[used++] = i;
        if (depth == 0) p->panels_at = used;
    }
    return true;
}

static bool same_plan(const sinter_cpu_packing *a, const sinter_cpu_packing *b) {
    if (a->column_dim != b->column_dim || a->panels_at != b->panels_at) return false;
    for (uint32_t i = 0; i + 1 < a->rank; i++)
        if (a->order[i] != b->order[i]) return false;
    return true;
}

/* The loads of a buffer that are in nests, and what these want. */
typedef struct nest_loads {
    const sinter_schedule_cpu_state *state;
    sinter_arena *scratch;
    sinter_loop_buffer buffer;
    sinter_cpu_packing packing;
    uint32_t count;
    int64_t widest; /* columns of a nest; INT64_MAX where they are no number */
    bool alike;
} nest_loads;

static void add_nest(nest_loads *n, const sinter_cpu_nest *nest) {
    sinter_loop_access_list loads = {0};
    sinter_cpu_packing other;
    sinter_loop_collect_accesses(n->scratch, nest->reduction->body, &loads);
    for (size_t i = 0; i < loads.count && n->alike; i++) {
        if (loads.items[i].buffer != n->buffer) continue;
        n->alike = plan_one(n->state, nest, &loads.items[i], n->count ? &other : &n->packing) &&
                   (!n->count || same_plan(&n->packing, &other));
        if (n->count++ && n->alike)
            n->packing.multiple = sinter_linear_gcd(n->packing.multiple, other.multiple);
        int64_t columns = sinter_cpu_trips(n->state, nest->loops[nest->loop_count - 1]);
        if (columns < 0) columns = INT64_MAX;
        if (columns > n->widest) n->widest = columns;
    }
}

static bool visit_nest(void *user, sinter_loop_stmt *stmt) {
    nest_loads *n = user;
    sinter_cpu_nest nest;
    if (stmt->kind != SINTER_LOOP_FOR ||
        !sinter_cpu_find_nest(n->state->schedule.function, stmt->var, &nest))
        return true;
    add_nest(n, &nest);
    return false;
}

/* All loads of the buffer that the kernel has are in this nest, or in others like it, and want the same. */
static bool plan_all(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                     sinter_arena *scratch, const sinter_loop_access_list *all,
                     sinter_loop_buffer buffer, sinter_cpu_packing *out_packing) {
    nest_loads n = {.state = state, .scratch = scratch, .buffer = buffer, .alike = true};
    uint32_t everywhere = 0;
    for (size_t i = 0; i < all->count; i++) everywhere += all->items[i].buffer == buffer;
    add_nest(&n, nest);
    if (n.alike && n.count < everywhere) {
        n.count = 0;
        sinter_loop_walk(state->schedule.function->body, visit_nest, &n);
        /* Each begins with a panel. */
        n.alike = n.alike && (!n.packing.multiple || n.widest <= n.packing.multiple);
    }
    *out_packing = n.packing;
    return n.alike && n.count == everywhere;
}

void sinter_cpu_plan_packing(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                             sinter_cpu_pack_plan *out_plan) {
    sinter_arena scratch;
    sinter_loop_access_list all = {0}, loads = {0};
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, state->schedule.function->body, &all);
    sinter_loop_collect_accesses(&scratch, nest->reduction->body, &loads);
    out_plan->count = 0;
    for (size_t i = 0; i < loads.count && out_plan->count < SINTER_CPU_MAX_PACKED; i++) {
        sinter_loop_buffer buffer = loads.items[i].buffer;
        bool planned = false;
        for (uint32_t k = 0; k < out_plan->count; k++)
            planned |= out_plan->items[k].buffer == buffer;
        if (!planned && sinter_cpu_is_constant(state, buffer))
            out_plan->count +=
                plan_all(state, nest, &scratch, &all, buffer, &out_plan->items[out_plan->count]);
    }
    sinter_arena_deinit(&scratch);
}

/* ---- operands of the run ---- */

/* Rows from which on a copy in order costs less than columns that are gathered for each tile of rows. */
enum { ROWS_TO_COPY = 16 };

static bool has_rows_to_copy(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                             const sinter_loop_access *load) {
    int64_t rows = 1;
    for (uint32_t i = 0; i + 1 < nest->loop_count && rows < ROWS_TO_COPY; i++) {
        if (sinter_loop_access_uses(load, nest->loops[i])) continue;
        int64_t count = sinter_cpu_trips(state, nest->loops[i]);
        rows *= count < 0 ? ROWS_TO_COPY : count;
    }
    return rows >= ROWS_TO_COPY;
}

/* Columns of an input lie apart, and enough rows read them. */
static bool is_gathered(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                        const sinter_loop_access *load) {
    sinter_loop_builder b;
    int64_t stride;
    const sinter_loop_buffer_info *info = &state->schedule.function->buffers.items[load->buffer];
    sinter_loop_builder_init(&b, state->program, state->schedule.function);
    for (uint32_t i = 0; i < info->rank; i++) {
        int64_t dim;
        if (!sinter_loop_is_const_int(info->dims[i], &dim) || dim < 1) return false;
    }
    return state->program->host && info->scope == SINTER_SCOPE_INPUT &&
           sinter_dtype_infos[info->dtype].bits >= 8 &&
           !sinter_cpu_is_constant(state, load->buffer) &&
           sinter_loop_stride(&b, load->buffer, load->indices, nest->loops[nest->loop_count - 1],
                              &stride) &&
           stride > 1 && has_rows_to_copy(state, nest, load);
}

/* Dims that the reduction goes through, next to each other, are one: what a copy reads line by line. */
static void merge_steps(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                        const sinter_loop_access *load) {
    for (uint32_t end = load->rank, first; end > 1; end = first) {
        first = end - 1;
        if (!reduction_depth(nest, load->indices[first])) continue;
        while (first > 0 && reduction_depth(nest, load->indices[first - 1])) first--;
        if (end - first > 1)
            sinter_schedule_merge(&state->schedule, load->buffer, first, end - first);
    }
}

void sinter_cpu_plan_inputs(sinter_schedule_cpu_state *state, sinter_loop_var outermost,
                            sinter_cpu_pack_plan *plan) {
    sinter_loop_access_list all = {0}, loads = {0};
    sinter_cpu_nest nest;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    bool found = sinter_cpu_find_nest(state->schedule.function, outermost, &nest);
    if (found) sinter_loop_collect_accesses(&scratch, nest.reduction->body, &loads);
    for (size_t i = 0; i < loads.count && plan->count < SINTER_CPU_MAX_PACKED; i++) {
        sinter_cpu_packing *packing = &plan->items[plan->count];
        const sinter_loop_buffer buffer = loads.items[i].buffer;
        bool twice = false;
        for (size_t k = 0; k < i; k++) twice |= loads.items[k].buffer == buffer;
        if (twice || !is_gathered(state, &nest, &loads.items[i])) continue;
        merge_steps(state, &nest, &loads.items[i]);
        if (!sinter_cpu_find_nest(state->schedule.function, outermost, &nest)) break;
        all.count = 0;
        sinter_loop_collect_accesses(&scratch, state->schedule.function->body, &all);
        if (!plan_all(state, &nest, &scratch, &all, buffer, packing)) continue;
        packing->of_run = true;
        plan->count++;
    }
    sinter_arena_deinit(&scratch);
}

/* Copied in front of the kernel's loops; the copy is scheduled with what is left of the kernel. */
static void pack_input(sinter_schedule_cpu_state *state, const sinter_cpu_packing *packing,
                       const uint32_t *order, const int64_t *blocks) {
    sinter_loop_var loop;
    if (sinter_schedule_pack_input(&state->schedule, packing->buffer, order, blocks, &loop))
        sinter_vector_push(&state->scratch, &state->copies, loop);
}

int64_t sinter_cpu_packed_columns(const sinter_schedule_cpu_state *state,
                                  const sinter_cpu_nest *nest) {
    sinter_arena scratch;
    sinter_loop_access_list loads = {0};
    int64_t panel = 0;
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, nest->reduction->body, &loads);
    for (size_t i = 0; i < loads.count && !panel; i++)
        for (size_t k = 0; k < state->promises.count && !panel; k++) {
            const sinter_schedule_promise *p = &state->promises.items[k];
            uint32_t index;
            if (p->kernel != state->kernel || loads.items[i].rank != p->layout.rank ||
                !sinter_cpu_find_parameter(state, loads.items[i].buffer, &index) ||
                index != p->parameter)
                continue;
            sinter_expr last = loads.items[i].indices[p->layout.rank - 1];
            if (sinter_loop_expr_uses(last, nest->loops[nest->loop_count - 1]))
                panel = p->layout.axes[p->layout.rank - 1].modulo;
        }
    sinter_arena_deinit(&scratch);
    return panel;
}

void sinter_cpu_apply_packing(sinter_schedule_cpu_state *state, const sinter_cpu_pack_plan *plan,
                              int64_t columns) {
    for (uint32_t i = 0; i < plan->count; i++) {
        const sinter_cpu_packing *p = &plan->items[i];
        uint32_t order[SINTER_MAX_RANK], used = 0;
        int64_t blocks[SINTER_MAX_RANK] = {0};
        /* Blocks that a loop around the nest goes through begin with a panel. */
        int64_t panel = p->multiple % columns ? p->multiple : columns;
        bool panels = p->columns > panel && panel > 1 && !(p->of_run && p->columns % panel);
        bool in_order = !panels;
        for (uint32_t k = 0; k < p->rank; k++) {
            if (panels && k == p->panels_at) order[used++] = p->column_dim;
            if (k + 1 < p->rank) order[used++] = p->order[k];
        }
        if (!panels) order[used++] = p->column_dim;
        if (panels) blocks[p->column_dim] = panel;
        for (uint32_t k = 0; k < p->rank; k++) in_order &= order[k] == k;
        if (!in_order && p->of_run)
            pack_input(state, p, order, blocks);
        else if (!in_order)
            pack_parameter(state, p->buffer, order, blocks);
    }
}
