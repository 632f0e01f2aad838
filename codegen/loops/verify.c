/* The verifier of the loop IR, first part: structure, types, scopes, axes (see verify.h).
 * Needs: nothing; ids may be out of range. Guarantees: every error is reported with the statement, up to a limit; a function
 * that passes can be interpreted and emitted.
 * Test: tests/codegen/loops/verify_*.loops */
#include "codegen/loops/verify.h"
#include "codegen/loops/align.h"
#include "codegen/loops/box.h"
#include "codegen/loops/mma.h"
#include "codegen/loops/text.h"
#include "codegen/loops/uses.h"
#include "codegen/loops/wgmma.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { MAX_ERRORS = 20 };

bool sinter_loop_verify_error(sinter_loop_verifier *v, const char *label, const char *format, ...) {
    if (v->error_count++ >= MAX_ERRORS) return false;
    sinter_text message = {0}, where = {0}, stmt = {0};
    va_list list;
    va_start(list, format);
    sinter_text_format_list(&message, format, list);
    va_end(list);
    sinter_text_format(&where, "%s @%s", v->is_host ? "host" : "kernel", v->function->name);
    sinter_error(v->diag, where.data, "%s [%s]", message.data ? message.data : "", label);
    if (v->stmt) {
        sinter_loop_print_stmt(v->program, v->function, v->stmt, &stmt);
        sinter_note(v->diag, where.data, "in: %s", stmt.data);
    }
    sinter_text_deinit(&message);
    sinter_text_deinit(&where);
    sinter_text_deinit(&stmt);
    return false;
}

static const char *dtype_name(sinter_dtype dtype) {
    return sinter_dtype_infos[dtype].name ? sinter_dtype_infos[dtype].name : "none";
}

/* ---- expressions ---- */

static bool check_expr(sinter_loop_verifier *v, sinter_expr expr);

static bool check_arguments(sinter_loop_verifier *v, sinter_expr expr) {
    bool ok = true;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        ok = check_expr(v, expr->arguments[i]) && ok;
    return ok;
}

static bool check_dtype(sinter_loop_verifier *v, sinter_dtype found, sinter_dtype expected,
                        const char *what) {
    return found == expected ||
           sinter_loop_verify_error(v, "loop_c1", "%s has type %s, expected %s", what,
                                    dtype_name(found), dtype_name(expected));
}

static bool check_var(sinter_loop_verifier *v, sinter_loop_var var) {
    if (!var || var >= v->function->vars.count)
        return sinter_loop_verify_error(v, "loop_c2", "variable %u is not there", var);
    return v->visible_vars[var] ||
           sinter_loop_verify_error(v, "loop_c2", "variable %s is used outside of its scope",
                                    v->function->vars.items[var].name);
}

static bool check_buffer(sinter_loop_verifier *v, sinter_loop_buffer buffer) {
    if (!buffer || buffer >= v->function->buffers.count)
        return sinter_loop_verify_error(v, "loop_c2", "buffer %u is not there", buffer);
    return v->visible_buffers[buffer] ||
           sinter_loop_verify_error(v, "loop_c2", "%%%s is used outside of its scope",
                                    v->function->buffers.items[buffer].name);
}

static bool check_indices(sinter_loop_verifier *v, sinter_loop_buffer buffer,
                          const sinter_expr *indices, uint32_t count) {
    const sinter_loop_buffer_info *info = &v->function->buffers.items[buffer];
    if (count != info->rank)
        return sinter_loop_verify_error(v, "loop_c3", "%%%s has %u dims, %u indices are given",
                                        info->name, info->rank, count);
    bool ok = true;
    for (uint32_t i = 0; i < count; i++)
        ok = check_dtype(v, indices[i]->dtype, SINTER_DTYPE_i64, "an index") && ok;
    return ok;
}

/* Narrow floats and integers below a byte are storage; strings and complex numbers are only moved. */
static bool can_compute(sinter_dtype dtype) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    switch (info->class) {
    case SINTER_CLASS_FLOAT:
        return info->bits >= 32;
    case SINTER_CLASS_INT:
    case SINTER_CLASS_UINT:
        return info->bits >= 8;
    case SINTER_CLASS_BOOL:
        return true;
    default:
        return false;
    }
}

static bool check_call(sinter_loop_verifier *v, sinter_expr expr) {
    if (expr->function <= SINTER_SCALAR_NONE || expr->function >= SINTER_SCALAR_COUNT)
        return sinter_loop_verify_error(v, "loop_c1", "scalar function %d is not there",
                                        (int)expr->function);
    const sinter_scalar_info *info = sinter_scalar_get_info(expr->function);
    if (expr->argument_count != info->arity)
        return sinter_loop_verify_error(v, "loop_c1", "%s takes %u operands, %u are given",
                                        info->name, info->arity, expr->argument_count);
    bool selects = expr->function == SINTER_SCALAR_select;
    uint32_t first = selects ? 1 : 0;
    sinter_dtype dtype = expr->arguments[first]->dtype;
    if (selects && !check_dtype(v, expr->arguments[0]->dtype, SINTER_DTYPE_bool, "a condition"))
        return false;
    for (uint32_t i = first + 1; i < info->arity; i++)
        if (expr->arguments[i]->dtype != dtype)
            return sinter_loop_verify_error(v, "loop_c1", "%s of %s and %s", info->name,
                                            dtype_name(dtype),
                                            dtype_name(expr->arguments[i]->dtype));
    if (!can_compute(dtype))
        return sinter_loop_verify_error(v, "loop_c1",
                                        "%s of %s: this type is only loaded, stored and cast",
                                        info->name, dtype_name(dtype));
    return check_dtype(v, expr->dtype, sinter_loop_result_dtype(expr->function, expr->arguments),
                       info->name);
}

static bool check_cast(sinter_loop_verifier *v, sinter_expr expr) {
    sinter_dtype_class from = sinter_dtype_infos[expr->arguments[0]->dtype].class;
    sinter_dtype_class to = sinter_dtype_infos[expr->dtype].class;
    bool numbers = from >= SINTER_CLASS_FLOAT && from <= SINTER_CLASS_BOOL &&
                   to >= SINTER_CLASS_FLOAT && to <= SINTER_CLASS_BOOL;
    return numbers ||
           sinter_loop_verify_error(v, "loop_c1", "cast from %s to %s",
                                    dtype_name(expr->arguments[0]->dtype), dtype_name(expr->dtype));
}

static bool check_intrinsic(sinter_loop_verifier *v, sinter_expr expr) {
    bool ok = true;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        ok = check_dtype(v, expr->arguments[i]->dtype, i ? SINTER_DTYPE_i32 : expr->dtype,
                         "an operand of an intrinsic") &&
             ok;
    return ok;
}

static bool check_expr(sinter_loop_verifier *v, sinter_expr expr) {
    if (!check_arguments(v, expr)) return false;
    switch (expr->kind) {
    case SINTER_LOOP_CONST: {
        sinter_dtype_class class = sinter_dtype_infos[expr->dtype].class;
        bool fine = class >= SINTER_CLASS_FLOAT && class <= SINTER_CLASS_BOOL;
        return fine || sinter_loop_verify_error(v, "loop_c1", "a constant of type %s",
                                                dtype_name(expr->dtype));
    }
    case SINTER_LOOP_VAR:
        return check_var(v, expr->var) &&
               check_dtype(v, expr->dtype, v->function->vars.items[expr->var].dtype,
                           "a variable read");
    case SINTER_LOOP_LOAD:
        return check_buffer(v, expr->buffer) &&
               check_indices(v, expr->buffer, expr->arguments, expr->argument_count) &&
               check_dtype(v, expr->dtype, v->function->buffers.items[expr->buffer].dtype,
                           "a load");
    case SINTER_LOOP_CALL:
        return check_call(v, expr);
    case SINTER_LOOP_CAST:
        return check_cast(v, expr);
    case SINTER_LOOP_INTRINSIC:
        return check_intrinsic(v, expr);
    }
    return false;
}

static bool check_typed(sinter_loop_verifier *v, sinter_expr expr, sinter_dtype dtype,
                        const char *what) {
    if (!expr) return sinter_loop_verify_error(v, "loop_c1", "%s is missing", what);
    return check_expr(v, expr) && check_dtype(v, expr->dtype, dtype, what);
}

/* ---- statements ---- */

typedef struct place {
    int depth;  /* of lists of statements; 0: top level of the function */
    int blocks; /* of them bodies of block axes */
    bool in_vector, in_parallel, in_thread;
    bool in_concurrent; /* inside a loop whose iterations run at the same time */
} place;

static void check_list(sinter_loop_verifier *v, const sinter_loop_stmt *first, place where);

static bool is_thread_axis(const sinter_loop_verifier *v, sinter_loop_var var, int64_t count) {
    const sinter_loop_var_info *info = &v->function->vars.items[var];
    return v->visible_vars[var] && v->axes[var] == SINTER_AXIS_THREAD && info->min == 0 &&
           info->max == count - 1;
}

static void check_mma(sinter_loop_verifier *v, const sinter_loop_stmt *loop) {
    sinter_loop_var group = 0, member = 0;
    const char *wrong = sinter_loop_check_mma((sinter_loop_program *)(uintptr_t)v->program,
                                              v->function, loop, &group, &member);
    if (!wrong && !(is_thread_axis(v, group, SINTER_MMA_GROUPS) &&
                    is_thread_axis(v, member, SINTER_MMA_MEMBERS)))
        wrong = "it is in no thread axes of 8 groups of 4";
    if (wrong)
        sinter_loop_verify_error(v, "loop_c16", "an mma axis does not say what %s does: %s",
                                 sinter_loop_mma_infos[loop->mma].name, wrong);
}

static void check_axis(sinter_loop_verifier *v, const sinter_loop_stmt *loop, place where) {
    int64_t lower, upper, count;
    bool is_const = sinter_loop_is_const_int(loop->lower, &lower) &&
                    sinter_loop_is_const_int(loop->upper, &upper);
    bool has_count = sinter_loop_trip_count(loop, &count);
    bool plain = loop->axis == SINTER_AXIS_SERIAL || loop->axis == SINTER_AXIS_UNROLL;
    if (loop->joined && loop->axis != SINTER_AXIS_PARALLEL)
        sinter_loop_verify_error(v, "loop_c9", "a joined loop is not parallel");
    if (loop->grain && (loop->axis != SINTER_AXIS_PARALLEL || loop->joined || loop->grain < 0))
        sinter_loop_verify_error(v, "loop_c9", "a grain is of a parallel loop that is not joined");
    if (v->is_host && !plain)
        sinter_loop_verify_error(v, "loop_c9", "the host function has serial loops only");
    switch (loop->axis) {
    case SINTER_AXIS_UNROLL:
        if (!has_count)
            sinter_loop_verify_error(v, "loop_c9", "an unroll axis has constant bounds");
        break;
    case SINTER_AXIS_VECTOR:
        if (!is_const || lower != 0 || loop->step != 1 || upper < 1 || (upper & (upper - 1)))
            sinter_loop_verify_error(v, "loop_c9",
                                     "a vector axis runs from 0 to a constant power of two");
        if (where.in_vector)
            sinter_loop_verify_error(v, "loop_c9", "a vector axis inside of another");
        break;
    case SINTER_AXIS_PARALLEL:
        if (where.depth)
            sinter_loop_verify_error(v, "loop_c9", "a parallel axis is not the outermost loop");
        break;
    case SINTER_AXIS_BLOCK:
        if (where.depth != where.blocks)
            sinter_loop_verify_error(v, "loop_c9", "a block axis is inside of another statement");
        break;
    case SINTER_AXIS_THREAD:
        if (where.in_vector || where.in_parallel)
            sinter_loop_verify_error(v, "loop_c9", "a thread axis inside of one of a CPU");
        break;
    case SINTER_AXIS_MMA:
        check_mma(v, loop);
        break;
    case SINTER_AXIS_LDMATRIX: /* with the accesses */
    case SINTER_AXIS_WGMMA:
    case SINTER_AXIS_SERIAL:
        break;
    }
}

static void check_for(sinter_loop_verifier *v, const sinter_loop_stmt *loop, place where) {
    bool ok = check_typed(v, loop->lower, SINTER_DTYPE_i64, "the lower bound");
    ok = check_typed(v, loop->upper, SINTER_DTYPE_i64, "the upper bound") && ok;
    if (!loop->var || loop->var >= v->function->vars.count || v->visible_vars[loop->var]) {
        sinter_loop_verify_error(v, "loop_c2", "the loop variable is not there or visible already");
        return;
    }
    const sinter_loop_var_info *info = &v->function->vars.items[loop->var];
    if (info->is_mutable || info->dtype != SINTER_DTYPE_i64)
        sinter_loop_verify_error(v, "loop_c1", "a loop variable is an immutable i64");
    if (loop->step < 1) sinter_loop_verify_error(v, "loop_c9", "the step is not positive");
    if (ok) check_axis(v, loop, where);
    v->axes[loop->var] = loop->axis;
    where.in_vector |= loop->axis == SINTER_AXIS_VECTOR;
    where.in_parallel |= loop->axis == SINTER_AXIS_PARALLEL;
    where.in_thread |= loop->axis == SINTER_AXIS_THREAD;
    where.blocks += loop->axis == SINTER_AXIS_BLOCK;
    where.in_concurrent |= loop->axis != SINTER_AXIS_SERIAL && loop->axis != SINTER_AXIS_UNROLL;
    where.depth++;
    v->visible_vars[loop->var] = true;
    check_list(v, loop->body, where);
    v->visible_vars[loop->var] = false;
}

static void check_declare(sinter_loop_verifier *v, const sinter_loop_stmt *stmt) {
    if (!stmt->var || stmt->var >= v->function->vars.count || v->visible_vars[stmt->var]) {
        sinter_loop_verify_error(v, "loop_c2", "the variable is not there or visible already");
        return;
    }
    check_typed(v, stmt->value, v->function->vars.items[stmt->var].dtype, "the value");
    v->visible_vars[stmt->var] = true;
}

static void check_assign(sinter_loop_verifier *v, const sinter_loop_stmt *stmt) {
    if (!check_var(v, stmt->var)) return;
    const sinter_loop_var_info *info = &v->function->vars.items[stmt->var];
    if (!info->is_mutable) sinter_loop_verify_error(v, "loop_c4", "%s is immutable", info->name);
    check_typed(v, stmt->value, info->dtype, "the value");
}

static bool is_zero(sinter_expr value) {
    return value->kind == SINTER_LOOP_CONST &&
           (sinter_dtype_is_float(value->dtype)
                ? value->float_value == 0 && !signbit(value->float_value)
                : value->int_value == 0);
}

/* An element of an input, as it is, or 0 where there is none, to memory of the block. */
static void check_copy(sinter_loop_verifier *v, const sinter_loop_stmt *stmt, place where) {
    const sinter_loop_buffer_info *buffers = v->function->buffers.items;
    const bool from =
        is_zero(stmt->value) || (stmt->value->kind == SINTER_LOOP_LOAD &&
                                 buffers[stmt->value->buffer].scope == SINTER_SCOPE_INPUT);
    const bool moves = from && buffers[stmt->buffer].scope == SINTER_SCOPE_SHARED && !stmt->combine;
    if (!moves || !where.in_thread)
        sinter_loop_verify_error(
            v, "loop_c20",
            "a copy under way is of an input's element or of 0 to shared memory, by threads");
}

static void check_store(sinter_loop_verifier *v, const sinter_loop_stmt *stmt, place where) {
    if (!check_buffer(v, stmt->buffer)) return;
    const sinter_loop_buffer_info *info = &v->function->buffers.items[stmt->buffer];
    bool ok = true;
    for (uint32_t i = 0; i < stmt->argument_count; i++)
        ok = check_expr(v, stmt->arguments[i]) && ok;
    if (ok) check_indices(v, stmt->buffer, stmt->arguments, stmt->argument_count);
    check_typed(v, stmt->value, info->dtype, "the value");
    if (info->scope == SINTER_SCOPE_INPUT || info->scope == SINTER_SCOPE_CONSTANT)
        sinter_loop_verify_error(v, "loop_c4", "%%%s is read only", info->name);
    if (sinter_dtype_infos[info->dtype].bits < 8 && where.in_concurrent)
        sinter_loop_verify_error(v, "loop_c10",
                                 "elements of %%%s share bytes: no stores on concurrent axes",
                                 info->name);
    if (stmt->asynchronous) check_copy(v, stmt, where);
    if (!stmt->combine) return;
    const sinter_scalar_info *combine = sinter_scalar_get_info(stmt->combine);
    if (combine->arity != 2 || combine->result != SINTER_RESULT_SAME || !can_compute(info->dtype))
        sinter_loop_verify_error(v, "loop_c1", "%s cannot combine elements of %s", combine->name,
                                 dtype_name(info->dtype));
}

static void check_prefetch(sinter_loop_verifier *v, const sinter_loop_stmt *stmt) {
    bool ok = check_buffer(v, stmt->buffer);
    for (uint32_t i = 0; i < stmt->argument_count; i++)
        ok = check_expr(v, stmt->arguments[i]) && ok;
    if (ok) check_indices(v, stmt->buffer, stmt->arguments, stmt->argument_count);
}

static void check_box(sinter_loop_verifier *v, const sinter_loop_stmt *stmt) {
    const sinter_loop_box box = sinter_loop_box_of(stmt);
    bool ok = check_buffer(v, box.to);
    ok = check_buffer(v, box.from) && ok;
    ok = check_buffer(v, box.phases) && ok;
    for (uint32_t i = 0; i < stmt->argument_count; i++) {
        if (!check_expr(v, stmt->arguments[i]))
            ok = false;
        else
            check_dtype(v, stmt->arguments[i]->dtype, SINTER_DTYPE_i64, "a number of a box");
    }
    if (ok) check_indices(v, box.to, box.first, box.first_rank);
    if (ok) check_indices(v, box.phases, &box.phase, 1);
}

static void check_exchange(sinter_loop_verifier *v, const sinter_loop_stmt *stmt, place where) {
    if (v->is_host || where.in_parallel || where.in_vector || where.in_thread)
        sinter_loop_verify_error(v, "loop_c15",
                                 "ranks exchange in a kernel, outside of parallel loops");
    if (check_buffer(v, stmt->buffer) && check_buffer(v, stmt->source))
        check_dtype(v, v->function->buffers.items[stmt->source].dtype,
                    v->function->buffers.items[stmt->buffer].dtype, "the source");
}

static void check_reduce(sinter_loop_verifier *v, const sinter_loop_stmt *stmt, place where) {
    if (where.in_thread || where.in_parallel || where.in_vector || v->is_host)
        sinter_loop_verify_error(
            v, "loop_c18", "a reduction is of all threads of a block: not inside of their axis");
    if (!check_var(v, stmt->var) || !check_buffer(v, stmt->buffer)) return;
    const sinter_loop_var_info *var = &v->function->vars.items[stmt->var];
    const sinter_loop_buffer_info *info = &v->function->buffers.items[stmt->buffer];
    int64_t count = 0;
    bool is_row = info->rank == 1 && info->scope == SINTER_SCOPE_REGISTER &&
                  sinter_loop_is_const_int(info->dims[0], &count);
    if (!is_row || count < 2 || count > 1024 || (count & (count - 1)))
        sinter_loop_verify_error(v, "loop_c18",
                                 "%%%s is no register of a power of two of threads, 2 to 1024",
                                 info->name);
    if (!var->is_mutable) sinter_loop_verify_error(v, "loop_c4", "%s is immutable", var->name);
    check_dtype(v, info->dtype, var->dtype, info->name);
    if (!sinter_scalar_is_associative(stmt->combine))
        sinter_loop_verify_error(v, "loop_c18", "%s does not reduce: its operands have an order",
                                 sinter_scalar_get_info(stmt->combine)->name);
}

static void check_dims(sinter_loop_verifier *v, sinter_loop_buffer buffer) {
    const sinter_loop_buffer_info *info = &v->function->buffers.items[buffer];
    if (info->rank > SINTER_MAX_RANK)
        sinter_loop_verify_error(v, "loop_c3", "%%%s has rank %u", info->name, info->rank);
    for (uint32_t i = 0; i < info->rank && i < SINTER_MAX_RANK; i++) {
        int64_t dim;
        bool is_const = info->dims[i] && sinter_loop_is_const_int(info->dims[i], &dim);
        check_typed(v, info->dims[i], SINTER_DTYPE_i64, "a dim");
        if (is_const && dim < 0)
            sinter_loop_verify_error(v, "loop_c3", "dim %u of %%%s is negative", i, info->name);
        if (info->scope == SINTER_SCOPE_REGISTER && !is_const)
            sinter_loop_verify_error(
                v, "loop_c8", "register buffer %%%s has a dim that is no constant", info->name);
    }
}

/* Whole rows of 128 bytes, eight of them together. */
static void check_swizzle(sinter_loop_verifier *v, const sinter_loop_buffer_info *info) {
    const int64_t bits = sinter_dtype_infos[info->dtype].bits;
    int64_t row = 0, rows = 0;
    const bool known = info->rank > 1 &&
                       sinter_loop_is_const_int(info->dims[info->rank - 1], &row) &&
                       sinter_loop_is_const_int(info->dims[info->rank - 2], &rows);
    if (info->scope != SINTER_SCOPE_SHARED || info->swizzle != SINTER_LOOP_SWIZZLE || !known ||
        bits < 8 || row * bits != SINTER_LOOP_SWIZZLE * 8 || rows % SINTER_LOOP_SWIZZLE_ROWS)
        sinter_loop_verify_error(v, "loop_c24",
                                 "%%%s: swizzle %d is of shared memory in rows of %d bytes, a "
                                 "multiple of %d of them",
                                 info->name, SINTER_LOOP_SWIZZLE, SINTER_LOOP_SWIZZLE,
                                 SINTER_LOOP_SWIZZLE_ROWS);
}

static void check_alloc(sinter_loop_verifier *v, const sinter_loop_stmt *stmt) {
    if (!stmt->buffer || stmt->buffer >= v->function->buffers.count) {
        sinter_loop_verify_error(v, "loop_c2", "buffer %u is not there", stmt->buffer);
        return;
    }
    const sinter_loop_buffer_info *info = &v->function->buffers.items[stmt->buffer];
    bool binds = stmt->kind == SINTER_LOOP_BIND;
    bool host_scope = info->scope == SINTER_SCOPE_HEAP || info->scope == SINTER_SCOPE_ALIAS ||
                      info->scope == SINTER_SCOPE_OUTPUT;
    if (host_scope != v->is_host || binds != (info->scope == SINTER_SCOPE_ALIAS) ||
        info->scope == SINTER_SCOPE_INPUT || info->scope == SINTER_SCOPE_INOUT ||
        info->scope == SINTER_SCOPE_CONSTANT)
        sinter_loop_verify_error(v, "loop_c11", "%%%s of scope %s cannot be made here", info->name,
                                 sinter_loop_scope_names[info->scope]);
    if (v->visible_buffers[stmt->buffer] && info->scope != SINTER_SCOPE_OUTPUT)
        sinter_loop_verify_error(v, "loop_c2", "%%%s is allocated where it is visible already",
                                 info->name);
    check_dims(v, stmt->buffer);
    if (info->swizzle) check_swizzle(v, info);
    if (binds && check_buffer(v, stmt->source)) {
        sinter_dtype source = v->function->buffers.items[stmt->source].dtype;
        check_dtype(v, source, info->dtype, "the source");
    }
    if (stmt->value) check_typed(v, stmt->value, SINTER_DTYPE_i64, "the offset");
    v->visible_buffers[stmt->buffer] = true;
}

static void check_take(sinter_loop_verifier *v, const sinter_loop_stmt *stmt) {
    if (!v->is_host) sinter_loop_verify_error(v, "loop_c11", "only the host function moves memory");
    if (!check_buffer(v, stmt->buffer) || !check_buffer(v, stmt->source)) return;
    const sinter_loop_buffer_info *info = &v->function->buffers.items[stmt->buffer],
                                  *from = &v->function->buffers.items[stmt->source];
    if (info->scope != SINTER_SCOPE_HEAP || from->scope != SINTER_SCOPE_HEAP)
        sinter_loop_verify_error(v, "loop_c11", "%%%s cannot take the memory of %%%s", info->name,
                                 from->name);
    check_dtype(v, from->dtype, info->dtype, "the source");
}

static void check_call_kernel(sinter_loop_verifier *v, const sinter_loop_stmt *stmt) {
    if (!v->is_host)
        sinter_loop_verify_error(v, "loop_c11", "only the host function calls kernels");
    if (stmt->kernel >= v->program->kernels.count) {
        sinter_loop_verify_error(v, "loop_c12", "kernel %u is not there", stmt->kernel);
        return;
    }
    const sinter_loop_function *kernel = v->program->kernels.items[stmt->kernel];
    if (stmt->buffer_argument_count != kernel->buffer_parameters.count ||
        stmt->argument_count != kernel->scalar_parameters.count) {
        sinter_loop_verify_error(v, "loop_c12", "@%s takes %zu buffers and %zu scalars",
                                 kernel->name, kernel->buffer_parameters.count,
                                 kernel->scalar_parameters.count);
        return;
    }
    const sinter_loop_buffer *parameters = kernel->buffer_parameters.items;
    if (stmt->copies && (stmt->buffer_argument_count != 2 ||
                         kernel->buffers.items[parameters[0]].scope != SINTER_SCOPE_INPUT ||
                         kernel->buffers.items[parameters[1]].scope != SINTER_SCOPE_OUTPUT))
        sinter_loop_verify_error(v, "loop_c12", "@%s does not copy: that takes an in and an out",
                                 kernel->name);
    for (uint32_t i = 0; i < stmt->buffer_argument_count; i++) {
        if (!check_buffer(v, stmt->buffer_arguments[i])) continue;
        const sinter_loop_buffer_info *given =
            &v->function->buffers.items[stmt->buffer_arguments[i]];
        const sinter_loop_buffer_info *wanted = &kernel->buffers.items[parameters[i]];
        check_dtype(v, given->dtype, wanted->dtype, given->name);
        bool read_only =
            given->scope == SINTER_SCOPE_INPUT || given->scope == SINTER_SCOPE_CONSTANT;
        if (read_only && wanted->scope != SINTER_SCOPE_INPUT)
            sinter_loop_verify_error(v, "loop_c4", "@%s writes %%%s, which is read only",
                                     kernel->name, given->name);
    }
    for (uint32_t i = 0; i < stmt->argument_count; i++)
        check_typed(v, stmt->arguments[i],
                    kernel->vars.items[kernel->scalar_parameters.items[i]].dtype, "a scalar");
}

static void check_stmt(sinter_loop_verifier *v, const sinter_loop_stmt *stmt, place where) {
    v->stmt = stmt;
    place inner = where;
    inner.depth++;
    switch (stmt->kind) {
    case SINTER_LOOP_FOR:
        check_for(v, stmt, where);
        break;
    case SINTER_LOOP_IF:
    case SINTER_LOOP_WHILE:
        check_typed(v, stmt->value, SINTER_DTYPE_bool, "the condition");
        check_list(v, stmt->body, inner);
        check_list(v, stmt->else_body, inner);
        break;
    case SINTER_LOOP_STORE:
        check_store(v, stmt, where);
        break;
    case SINTER_LOOP_DECLARE:
        check_declare(v, stmt);
        break;
    case SINTER_LOOP_ASSIGN:
        check_assign(v, stmt);
        break;
    case SINTER_LOOP_ALLOC:
        check_alloc(v, stmt);
        break;
    case SINTER_LOOP_BIND:
        check_alloc(v, stmt);
        break;
    case SINTER_LOOP_CALL_KERNEL:
        check_call_kernel(v, stmt);
        break;
    case SINTER_LOOP_FAIL:
        for (uint32_t i = 0; i < stmt->argument_count; i++)
            check_typed(v, stmt->arguments[i], SINTER_DTYPE_i64, "an argument of the message");
        break;
    case SINTER_LOOP_FREE:
        if (!v->is_host)
            sinter_loop_verify_error(v, "loop_c11", "only the host function frees buffers");
        check_buffer(v, stmt->buffer);
        break;
    case SINTER_LOOP_TAKE:
        check_take(v, stmt);
        break;
    case SINTER_LOOP_PREFETCH:
        check_prefetch(v, stmt);
        break;
    case SINTER_LOOP_BARRIER:
    case SINTER_LOOP_COMMIT:
    case SINTER_LOOP_WAIT:
    case SINTER_LOOP_FENCE:
        if (where.in_thread || where.in_parallel || where.in_vector || v->is_host)
            sinter_loop_verify_error(v, "loop_c14",
                                     "a barrier, commit, wait or fence is for all threads of a "
                                     "block: not inside of their axis");
        if (stmt->products && stmt->pending > SINTER_WGMMA_MAX_PENDING)
            sinter_loop_verify_error(v, "loop_c14", "a wait for products leaves %d groups at most",
                                     SINTER_WGMMA_MAX_PENDING);
        break;
    case SINTER_LOOP_WARPS:
        check_list(v, stmt->body, inner);
        break;
    case SINTER_LOOP_BOX:
        check_box(v, stmt);
        break;
    case SINTER_LOOP_ARRIVE:
    case SINTER_LOOP_AWAIT:
        check_prefetch(v, stmt); /* an element, which is not touched as such */
        if (stmt->kind == SINTER_LOOP_AWAIT)
            check_typed(v, stmt->value, SINTER_DTYPE_i64, "the phase");
        break;
    case SINTER_LOOP_REDUCE:
        check_reduce(v, stmt, where);
        break;
    case SINTER_LOOP_EXCHANGE:
        check_exchange(v, stmt, where);
        break;
    case SINTER_LOOP_COMMENT:
        break;
    }
}

static void check_list(sinter_loop_verifier *v, const sinter_loop_stmt *first, place where) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) check_stmt(v, stmt, where);
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) { /* the scope ends */
        if (stmt->kind == SINTER_LOOP_DECLARE && stmt->var && stmt->var < v->function->vars.count)
            v->visible_vars[stmt->var] = false;
        bool makes = stmt->kind == SINTER_LOOP_ALLOC || stmt->kind == SINTER_LOOP_BIND;
        if (makes && stmt->buffer < v->function->buffers.count &&
            v->function->buffers.items[stmt->buffer].scope > SINTER_SCOPE_CONSTANT)
            v->visible_buffers[stmt->buffer] = false;
    }
}

/* ---- functions and programs ---- */

static void check_parameters(sinter_loop_verifier *v) {
    sinter_loop_function *function = v->function;
    bool *late = SINTER_NEW_ARRAY(&v->scratch, bool, function->buffers.count);
    sinter_loop_mark_allocated(function->body, late);
    for (size_t i = 0; i < function->scalar_parameters.count; i++)
        v->visible_vars[function->scalar_parameters.items[i]] = true;
    for (sinter_loop_buffer i = 1; i < function->buffers.count; i++) {
        const sinter_loop_buffer_info *info = &function->buffers.items[i];
        if (info->scope > SINTER_SCOPE_CONSTANT) continue;
        v->visible_buffers[i] = true;
        if (info->alignment && (v->is_host || info->alignment > SINTER_LOOP_ALIGNMENT ||
                                (info->alignment & (info->alignment - 1))))
            sinter_loop_verify_error(
                v, "loop_c17",
                "the alignment of %%%s, of a kernel alone, is a power of two up to %d", info->name,
                SINTER_LOOP_ALIGNMENT);
        if (!late[i]) check_dims(v, i);
        bool is_constant = info->scope == SINTER_SCOPE_CONSTANT;
        if (is_constant && (!v->is_host || info->constant >= v->program->constants.count))
            sinter_loop_verify_error(v, "loop_c13",
                                     "%%%s refers to constant %u, which is not there", info->name,
                                     info->constant);
        size_t io_count = info->scope == SINTER_SCOPE_OUTPUT ? v->program->outputs.count
                                                             : v->program->inputs.count;
        if (v->is_host && !is_constant &&
            (info->io_index < 0 || (size_t)info->io_index >= io_count))
            sinter_loop_verify_error(v, "loop_c13", "%%%s is no input or output of the model",
                                     info->name);
    }
}

static bool verify_function(const sinter_loop_program *program, sinter_loop_function *function,
                            sinter_diag *diag) {
    sinter_loop_verifier v = {.program = program, .function = function, .diag = diag};
    sinter_arena_init(&v.scratch);
    v.is_host = function == program->host;
    v.visible_vars = SINTER_NEW_ARRAY(&v.scratch, bool, function->vars.count);
    v.visible_buffers = SINTER_NEW_ARRAY(&v.scratch, bool, function->buffers.count);
    v.axes = SINTER_NEW_ARRAY(&v.scratch, sinter_loop_axis, function->vars.count);
    check_parameters(&v);
    check_list(&v, function->body, (place){0});
    v.stmt = NULL;
    if (!v.error_count) sinter_loop_verify_warps(&v);
    if (!v.error_count) sinter_loop_verify_accesses(&v);
    if (!v.error_count) sinter_loop_verify_copies(&v);
    sinter_arena_deinit(&v.scratch);
    return v.error_count == 0;
}

static bool check_program(const sinter_loop_program *program, sinter_diag *diag) {
    if (!program->host) return true;
    if (program->host->scalar_parameters.count != program->symbols.count)
        return sinter_error(
            diag, program->name,
            "the host function has %zu scalar parameters for %zu symbols [loop_c13]",
            program->host->scalar_parameters.count, program->symbols.count);
    for (size_t i = 0; i < program->symbols.count; i++) {
        const sinter_loop_symbol *symbol = &program->symbols.items[i];
        bool known = symbol->input < program->inputs.count &&
                     (symbol->content || symbol->index < program->inputs.items[symbol->input].rank);
        if (!known)
            return sinter_error(diag, program->name, "symbol %s comes from no input [loop_c13]",
                                symbol->name);
    }
    return true;
}

bool sinter_loop_verify(const sinter_loop_program *program, sinter_diag *diag) {
    bool ok = check_program(program, diag);
    for (size_t i = 0; i < program->kernels.count; i++)
        ok = verify_function(program, program->kernels.items[i], diag) && ok;
    if (program->host) ok = verify_function(program, program->host, diag) && ok;
    return ok;
}
