/* The verifier of the loop IR, second half: what statements touch (see verify.h). An error is what can be proven wrong:
 * an access out of bounds that runs for sure, scratch read before anything wrote it; or what cannot be proven right where
 * that is required: iterations of concurrent axes that may meet in one element, register buffers with free indices.
 * Needs: a function that passed the first half. Test: tests/codegen/loops/verify_*.loops */
#include "codegen/loops/align.h"
#include "codegen/loops/independent.h"
#include "codegen/loops/ldmatrix.h"
#include "codegen/loops/linear.h"
#include "codegen/loops/mma.h"
#include "codegen/loops/verify.h"
#include "codegen/loops/wgmma.h"

#include <inttypes.h>

typedef struct context {
    int loops, ifs;
    bool certain; /* runs whenever the function does: no branch, and loops that have an iteration */
} context;

typedef struct initialised {
    bool tracked, written;
    int loops, ifs; /* of the alloc */
} initialised;

typedef struct walker {
    sinter_loop_verifier *v;
    initialised *buffers;
} walker;

/* ---- bounds ---- */

/* Variables that an index was found to read: one that occurs twice ties the two places together. */
typedef struct occurrences {
    sinter_loop_var items[SINTER_LINEAR_MAX_TERMS];
    uint32_t count;
} occurrences;

/* The variable's first occurrence, a loop of constant bounds. */
static bool loop_reaches_both_ends(const sinter_loop_verifier *v, sinter_loop_var var,
                                   occurrences *seen) {
    for (uint32_t i = 0; i < seen->count; i++)
        if (seen->items[i] == var) return false;
    const sinter_loop_stmt *loop = v->scopes.vars[var];
    int64_t count;
    if (seen->count == SINTER_LINEAR_MAX_TERMS || !loop || loop->kind != SINTER_LOOP_FOR ||
        !sinter_loop_trip_count(loop, &count))
        return false;
    seen->items[seen->count++] = var;
    return true;
}

static bool sum_is_exact(const sinter_loop_verifier *v, const sinter_linear *sum,
                         occurrences *seen);

/* Some iteration reaches the smallest value that sinter_loop_range tells, some the largest: loops of constant bounds, each met
 * once, below functions that never fall, or never rise, in what they are called with. A remainder does both: it is exact where it
 * changes nothing, or where a loop runs through every one. */
static bool range_is_exact(const sinter_loop_verifier *v, sinter_expr expr, occurrences *seen) {
    if (expr->kind == SINTER_LOOP_CONST) return true;
    if (expr->kind == SINTER_LOOP_VAR) return loop_reaches_both_ends(v, expr->var, seen);
    if (expr->kind != SINTER_LOOP_CALL || expr->dtype != SINTER_DTYPE_i64) return false;
    int64_t min, max, divisor;
    sinter_linear sum;
    switch (expr->function) {
    case SINTER_SCALAR_add:
    case SINTER_SCALAR_sub:
    case SINTER_SCALAR_neg:
    case SINTER_SCALAR_mul: {
        if (!sinter_linear_of(expr, &sum)) return false;
        bool itself = sum.count == 1 && sum.terms[0].count == 1 && sum.terms[0].factors[0] == expr;
        return !itself && sum_is_exact(v, &sum, seen);
    }
    case SINTER_SCALAR_min:
    case SINTER_SCALAR_max:
        return range_is_exact(v, expr->arguments[0], seen) &&
               range_is_exact(v, expr->arguments[1], seen);
    case SINTER_SCALAR_div:
    case SINTER_SCALAR_floordiv:
        return sinter_loop_is_const_int(expr->arguments[1], &divisor) && divisor > 0 &&
               range_is_exact(v, expr->arguments[0], seen);
    case SINTER_SCALAR_rem:
    case SINTER_SCALAR_floormod:
        if (!sinter_loop_is_const_int(expr->arguments[1], &divisor) || divisor < 1 ||
            !sinter_loop_range(v->function, expr->arguments[0], &min, &max) || min < 0 ||
            !range_is_exact(v, expr->arguments[0], seen))
            return false;
        if (max < divisor) return true;
        return expr->arguments[0]->kind == SINTER_LOOP_VAR && max - min >= divisor - 1 &&
               v->scopes.vars[expr->arguments[0]->var]->step == 1;
    default:
        return false;
    }
}

static bool sum_is_exact(const sinter_loop_verifier *v, const sinter_linear *sum,
                         occurrences *seen) {
    for (uint32_t i = 0; i < sum->count; i++)
        if (sum->terms[i].count != 1 || !range_is_exact(v, sum->terms[i].factors[0], seen))
            return false;
    return true;
}

static void check_bounds(walker *w, const sinter_loop_access *access) {
    sinter_loop_verifier *v = w->v;
    const sinter_loop_buffer_info *info = &v->function->buffers.items[access->buffer];
    for (uint32_t i = 0; i < access->rank; i++) {
        int64_t dim, min, max;
        sinter_linear index;
        if (!sinter_loop_is_const_int(info->dims[i], &dim)) continue;
        if (!sinter_linear_of(sinter_loop_map_expr(&v->scopes.lets, access->indices[i]), &index))
            continue;
        if (!sinter_linear_range(v->function, &index, &min, &max)) continue;
        bool outside = max < 0 || min >= dim;
        occurrences seen = {0};
        bool partly = (min < 0 || max >= dim) && sum_is_exact(v, &index, &seen);
        if (outside || partly)
            sinter_loop_verify_error(v, "loop_c5",
                                     "index %u of %%%s is in %" PRId64 "..%" PRId64
                                     ", the dim is %" PRId64,
                                     i, info->name, min, max, dim);
    }
}

/* ---- registers ---- */

static void check_register_index(walker *w, sinter_expr index, const char *name) {
    sinter_loop_verifier *v = w->v;
    if (index->kind == SINTER_LOOP_LOAD) {
        sinter_loop_verify_error(v, "loop_c8", "register buffer %%%s is indexed by a load", name);
        return;
    }
    if (index->kind == SINTER_LOOP_VAR) {
        const sinter_loop_stmt *loop = v->scopes.vars[index->var];
        bool fine = loop && loop->kind == SINTER_LOOP_FOR &&
                    (loop->axis == SINTER_AXIS_UNROLL || loop->axis == SINTER_AXIS_VECTOR ||
                     loop->axis == SINTER_AXIS_THREAD || loop->axis == SINTER_AXIS_LDMATRIX ||
                     loop->axis == SINTER_AXIS_MMA || loop->axis == SINTER_AXIS_WGMMA);
        if (!fine)
            sinter_loop_verify_error(v, "loop_c8",
                                     "register buffer %%%s is indexed by %s, no unroll, vector, "
                                     "thread, ldmatrix, mma or wgmma axis",
                                     name, v->function->vars.items[index->var].name);
        return;
    }
    for (uint32_t i = 0; i < index->argument_count; i++)
        check_register_index(w, index->arguments[i], name);
}

static void check_registers(walker *w, const sinter_loop_access *access) {
    sinter_loop_verifier *v = w->v;
    const sinter_loop_buffer_info *info = &v->function->buffers.items[access->buffer];
    if (info->scope != SINTER_SCOPE_REGISTER) return;
    for (uint32_t i = 0; i < access->rank; i++)
        check_register_index(w, sinter_loop_map_expr(&v->scopes.lets, access->indices[i]),
                             info->name);
}

/* ---- initialisation ---- */

static void check_read(walker *w, sinter_loop_buffer buffer, context at) {
    initialised *state = &w->buffers[buffer];
    if (!state->tracked || state->written) return;
    /* A branch inside of a loop may be for later iterations, after a write further down. */
    if (at.ifs > state->ifs && at.loops > state->loops) return;
    state->written = true; /* said once */
    sinter_loop_verify_error(w->v, "loop_c7", "%%%s is read before anything is written to it",
                             w->v->function->buffers.items[buffer].name);
}

static void check_access(walker *w, const sinter_loop_access *access, context at) {
    bool reads = !access->is_store || access->combine;
    if (reads) check_read(w, access->buffer, at);
    if (access->is_store) w->buffers[access->buffer].written = true;
    if (at.certain) check_bounds(w, access);
    check_registers(w, access);
}

static void check_kernel_arguments(walker *w, const sinter_loop_stmt *stmt, context at) {
    const sinter_loop_function *kernel = w->v->program->kernels.items[stmt->kernel];
    for (uint32_t i = 0; i < stmt->buffer_argument_count; i++) {
        const sinter_loop_buffer_info *info =
            &kernel->buffers.items[kernel->buffer_parameters.items[i]];
        const sinter_loop_scope scope = info->scope;
        if (info->alignment &&
            sinter_loop_host_alignment(&w->v->scopes, stmt->buffer_arguments[i]) % info->alignment)
            sinter_loop_verify_error(
                w->v, "loop_c17", "@%s takes %%%s at multiples of %u bytes, and gets it elsewhere",
                kernel->name, info->name, info->alignment);
        /* An inout parameter may be scratch that the kernel writes first. */
        if (scope == SINTER_SCOPE_INPUT) check_read(w, stmt->buffer_arguments[i], at);
        if (scope != SINTER_SCOPE_INPUT) w->buffers[stmt->buffer_arguments[i]].written = true;
    }
}

/* ---- conflicts ---- */

static void check_conflicts(walker *w, const sinter_loop_stmt *loop) {
    bool concurrent = loop->axis == SINTER_AXIS_VECTOR || loop->axis == SINTER_AXIS_PARALLEL ||
                      loop->axis == SINTER_AXIS_BLOCK || loop->axis == SINTER_AXIS_THREAD;
    if (!concurrent) return;
    sinter_text reason = {0};
    if (!sinter_loop_independent(&w->v->scopes, loop, NULL, 0, &reason))
        sinter_loop_verify_error(w->v, "loop_c6", "%s", reason.data);
    sinter_text_deinit(&reason);
}

/* ---- loads of matrices ---- */

static bool is_thread_axis(const walker *w, sinter_loop_var var, int64_t wanted) {
    const sinter_loop_stmt *loop = w->v->scopes.vars[var];
    int64_t count;
    return loop && loop->kind == SINTER_LOOP_FOR && loop->axis == SINTER_AXIS_THREAD &&
           sinter_loop_trip_count(loop, &count) && count == wanted;
}

static void check_ldmatrix(walker *w, const sinter_loop_stmt *loop) {
    sinter_loop_ldmatrix found;
    if (loop->axis != SINTER_AXIS_LDMATRIX) return;
    const char *wrong = sinter_loop_check_ldmatrix(&w->v->scopes, loop, &found);
    if (!wrong && !(is_thread_axis(w, found.group, SINTER_MMA_GROUPS) &&
                    is_thread_axis(w, found.member, SINTER_MMA_MEMBERS)))
        wrong = "it is in no thread axes of 8 groups of 4";
    if (wrong)
        sinter_loop_verify_error(w->v, "loop_c21", "an ldmatrix axis is no load of matrices: %s",
                                 wrong);
}

/* ---- products of warpgroups ---- */

/* Whole warpgroups of threads. */
static bool is_warp_axis(const walker *w, sinter_loop_var var) {
    const sinter_loop_stmt *loop = w->v->scopes.vars[var];
    int64_t lower, count;
    return loop && loop->kind == SINTER_LOOP_FOR && loop->axis == SINTER_AXIS_THREAD &&
           sinter_loop_is_const_int(loop->lower, &lower) && lower == 0 && loop->step == 1 &&
           sinter_loop_trip_count(loop, &count) && count % SINTER_WGMMA_WARPS == 0;
}

static void check_wgmma(walker *w, const sinter_loop_stmt *loop) {
    sinter_loop_wgmma found;
    if (loop->axis != SINTER_AXIS_WGMMA) return;
    const char *wrong = sinter_loop_check_wgmma(&w->v->scopes, loop, false, &found);
    if (!wrong &&
        !(is_warp_axis(w, found.warp) && is_thread_axis(w, found.group, SINTER_MMA_GROUPS) &&
          is_thread_axis(w, found.member, SINTER_MMA_MEMBERS)))
        wrong = "it is in no thread axes of whole warpgroups, 8 groups of 4 each warp";
    if (wrong)
        sinter_loop_verify_error(w->v, "loop_c22", "a wgmma axis does not say what %s does: %s",
                                 sinter_loop_mma_infos[loop->mma].name, wrong);
}

/* ---- the walk ---- */

static void walk(walker *w, const sinter_loop_stmt *first, context at) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        w->v->stmt = stmt;
        sinter_loop_access_list list = {0};
        sinter_loop_collect_stmt_accesses(&w->v->scratch, stmt, &list);
        for (size_t i = 0; i < list.count; i++) check_access(w, &list.items[i], at);
        context inner = at;
        int64_t count;
        switch (stmt->kind) {
        case SINTER_LOOP_ALLOC:
            w->buffers[stmt->buffer] =
                (initialised){.tracked = true, .loops = at.loops, .ifs = at.ifs};
            break;
        case SINTER_LOOP_TAKE:
        case SINTER_LOOP_BIND: /* from now on two names lead to the memory */
            w->buffers[stmt->buffer].tracked = w->buffers[stmt->source].tracked = false;
            break;
        case SINTER_LOOP_CALL_KERNEL:
            check_kernel_arguments(w, stmt, at);
            break;
        case SINTER_LOOP_EXCHANGE:
            check_read(w, stmt->source, at);
            w->buffers[stmt->buffer].written = true;
            break;
        case SINTER_LOOP_FOR:
            check_conflicts(w, stmt);
            check_ldmatrix(w, stmt);
            check_wgmma(w, stmt);
            inner.loops++;
            inner.certain &= sinter_loop_trip_count(stmt, &count) && count > 0;
            break;
        case SINTER_LOOP_WHILE:
            inner.loops++;
            inner.certain = false;
            break;
        case SINTER_LOOP_IF:
            inner.ifs++;
            inner.certain = false;
            break;
        default:
            break;
        }
        walk(w, stmt->body, inner);
        walk(w, stmt->else_body, inner);
    }
}

void sinter_loop_verify_accesses(sinter_loop_verifier *v) {
    sinter_loop_function *function = v->function;
    walker w = {.v = v,
                .buffers = SINTER_NEW_ARRAY(&v->scratch, initialised, function->buffers.count)};
    sinter_loop_scopes_init(&v->scopes, (sinter_loop_program *)(uintptr_t)v->program, function,
                            &v->scratch);
    for (sinter_loop_buffer i = 1; i < function->buffers.count; i++)
        w.buffers[i].tracked = function->buffers.items[i].scope == SINTER_SCOPE_OUTPUT;
    walk(&w, function->body, (context){.certain = true});
    sinter_text reason = {0};
    if (!sinter_loop_groups_apart(&v->scopes, function->body, &reason))
        sinter_loop_verify_error(v, "loop_c6", "%s", reason.data);
    sinter_text_deinit(&reason);
}
