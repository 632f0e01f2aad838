/* Programs, functions, variables, buffers and statements of the loop IR. Expressions are built in
 * expr.c. Needs: the arena. Guarantees: everything a builder makes lives in the program's
 * arena, statement lists are linked in program order, and loop variables carry the range that their
 * bounds imply. Test: tests/unit/loop_test.c */
#include "codegen/loops/loop.h"

#include <assert.h>
#include <string.h>

/* Nobody waits for a loop of 2^48 iterations, so a loop variable can be taken to stay within this:
 * index arithmetic on it then provably does not wrap. */
#define LOOP_VAR_LIMIT ((int64_t)1 << 48)

sinter_loop_program *sinter_loop_program_create(const char *name) {
    sinter_loop_program *program = sinter_heap_alloc(sizeof *program);
    sinter_arena_init(&program->arena);
    program->name =
        sinter_arena_copy_string(&program->arena, name ? name : "", name ? strlen(name) : 0);
    return program;
}

void sinter_loop_program_destroy(sinter_loop_program *program) {
    if (!program) return;
    for (size_t i = 0; i < program->constants.count; i++)
        sinter_tensor_deinit(&program->constants.items[i].tensor);
    sinter_arena_deinit(&program->arena);
    sinter_heap_free(program);
}

static const char *make_identifier(sinter_arena *arena, const char *name) {
    if (!name || !*name) return "_";
    bool digit = name[0] >= '0' && name[0] <= '9';
    char *result = sinter_arena_format(arena, digit ? "_%s" : "%s", name);
    sinter_make_identifier(result);
    return result;
}

sinter_loop_function *sinter_loop_function_create(sinter_loop_program *program, const char *name) {
    sinter_arena *arena = &program->arena;
    sinter_loop_function *function = SINTER_NEW(arena, sinter_loop_function);
    function->name = make_identifier(arena, name);
    sinter_vector_push(arena, &function->vars, (sinter_loop_var_info){.name = "_"});
    sinter_vector_push(arena, &function->buffers,
                       (sinter_loop_buffer_info){.name = "_", .io_index = -1});
    return function;
}

void sinter_loop_builder_init(sinter_loop_builder *builder, sinter_loop_program *program,
                              sinter_loop_function *function) {
    *builder =
        (sinter_loop_builder){.program = program, .arena = &program->arena, .function = function};
    builder->tail = &function->body;
    while (*builder->tail) {
        builder->last = *builder->tail;
        builder->tail = &builder->last->next;
    }
}

sinter_loop_var sinter_loop_add_var(sinter_loop_builder *builder, const char *name,
                                    sinter_dtype dtype, bool is_mutable) {
    sinter_loop_function *function = builder->function;
    sinter_loop_var_info info = {.name = make_identifier(builder->arena, name),
                                 .dtype = dtype,
                                 .is_mutable = is_mutable,
                                 .min = INT64_MIN,
                                 .max = INT64_MAX};
    sinter_vector_push(builder->arena, &function->vars, info);
    return (sinter_loop_var)(function->vars.count - 1);
}

sinter_loop_var sinter_loop_add_parameter(sinter_loop_builder *builder, const char *name,
                                          sinter_dtype dtype) {
    sinter_loop_var var = sinter_loop_add_var(builder, name, dtype, false);
    builder->function->vars.items[var].is_parameter = true;
    sinter_vector_push(builder->arena, &builder->function->scalar_parameters, var);
    return var;
}

void sinter_loop_set_range(sinter_loop_builder *builder, sinter_loop_var var, int64_t min,
                           int64_t max) {
    sinter_loop_var_info *info = &builder->function->vars.items[var];
    info->min = min;
    info->max = max;
}

sinter_loop_buffer sinter_loop_add_buffer(sinter_loop_builder *builder, const char *name,
                                          sinter_dtype dtype, uint32_t rank,
                                          const sinter_expr *dims, sinter_loop_scope scope) {
    sinter_loop_function *function = builder->function;
    sinter_loop_buffer_info info = {
        .name = make_identifier(builder->arena, name),
        .dtype = dtype,
        .rank = rank,
        .dims = rank ? sinter_arena_copy(builder->arena, dims, rank * sizeof *dims) : NULL,
        .scope = scope,
        .io_index = -1};
    sinter_vector_push(builder->arena, &function->buffers, info);
    sinter_loop_buffer buffer = (sinter_loop_buffer)(function->buffers.count - 1);
    if (scope == SINTER_SCOPE_INPUT || scope == SINTER_SCOPE_OUTPUT || scope == SINTER_SCOPE_INOUT)
        sinter_vector_push(builder->arena, &function->buffer_parameters, buffer);
    return buffer;
}

static sinter_loop_stmt *append(sinter_loop_builder *builder, sinter_loop_stmt_kind kind) {
    sinter_loop_stmt *stmt = SINTER_NEW(builder->arena, sinter_loop_stmt);
    stmt->kind = kind;
    stmt->next = *builder->tail;
    *builder->tail = stmt;
    builder->tail = &stmt->next;
    builder->last = stmt;
    return stmt;
}

static const sinter_expr *copy_expressions(sinter_loop_builder *builder, const sinter_expr *items,
                                           uint32_t count) {
    return count ? sinter_arena_copy(builder->arena, items, count * sizeof *items) : NULL;
}

static const char *copy_text(sinter_loop_builder *builder, const char *text) {
    return sinter_arena_copy_string(builder->arena, text, strlen(text));
}

static void open_body(sinter_loop_builder *builder, sinter_loop_stmt *stmt,
                      sinter_loop_stmt **body) {
    struct sinter_loop_open *open = SINTER_NEW(builder->arena, struct sinter_loop_open);
    *open = (struct sinter_loop_open){.outer = builder->open, .stmt = stmt};
    builder->open = open;
    builder->tail = body;
    builder->last = NULL;
}

void sinter_loop_take_range(sinter_loop_builder *builder, const sinter_loop_stmt *loop) {
    int64_t lower_min, lower_max, upper_min, upper_max;
    sinter_loop_range(builder->function, loop->lower, &lower_min, &lower_max);
    sinter_loop_range(builder->function, loop->upper, &upper_min, &upper_max);
    if (lower_min < -LOOP_VAR_LIMIT) lower_min = -LOOP_VAR_LIMIT;
    if (lower_min > LOOP_VAR_LIMIT) lower_min = LOOP_VAR_LIMIT; /* nothing gets there */
    if (upper_max > LOOP_VAR_LIMIT) upper_max = LOOP_VAR_LIMIT;
    if (upper_max <= lower_min)
        upper_max = lower_min + 1; /* the body never runs: any range is true */
    int64_t last = upper_max - 1;
    if (lower_min == lower_max) last -= (last - lower_min) % loop->step;
    sinter_loop_set_range(builder, loop->var, lower_min, last);
}

void sinter_loop_narrow_range(sinter_loop_builder *builder, const sinter_loop_stmt *loop) {
    const sinter_loop_var_info old = builder->function->vars.items[loop->var];
    sinter_loop_take_range(builder, loop);
    const sinter_loop_var_info *now = &builder->function->vars.items[loop->var];
    int64_t min = now->min > old.min ? now->min : old.min;
    int64_t max = now->max < old.max ? now->max : old.max;
    if (min <= max) sinter_loop_set_range(builder, loop->var, min, max);
}

sinter_loop_var sinter_loop_begin_for(sinter_loop_builder *builder, const char *name,
                                      sinter_expr lower, sinter_expr upper, int64_t step,
                                      sinter_loop_axis axis) {
    sinter_loop_var var = sinter_loop_add_var(builder, name, SINTER_DTYPE_i64, false);
    sinter_loop_begin_for_var(builder, var, lower, upper, step, axis);
    return var;
}

void sinter_loop_begin_for_var(sinter_loop_builder *builder, sinter_loop_var var, sinter_expr lower,
                               sinter_expr upper, int64_t step, sinter_loop_axis axis) {
    assert(step > 0);
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_FOR);
    stmt->var = var;
    stmt->lower = lower;
    stmt->upper = upper;
    stmt->step = step;
    stmt->axis = axis;
    sinter_loop_take_range(builder, stmt);
    open_body(builder, stmt, &stmt->body);
}

void sinter_loop_begin_if(sinter_loop_builder *builder, sinter_expr condition) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_IF);
    stmt->value = condition;
    open_body(builder, stmt, &stmt->body);
}

void sinter_loop_begin_else(sinter_loop_builder *builder) {
    sinter_loop_stmt *stmt = builder->last;
    assert(stmt && stmt->kind == SINTER_LOOP_IF && !stmt->else_body);
    open_body(builder, stmt, &stmt->else_body);
}

void sinter_loop_begin_while(sinter_loop_builder *builder, sinter_expr condition) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_WHILE);
    stmt->value = condition;
    open_body(builder, stmt, &stmt->body);
}

void sinter_loop_end(sinter_loop_builder *builder) {
    assert(builder->open);
    builder->last = builder->open->stmt;
    builder->tail = &builder->last->next;
    builder->open = builder->open->outer;
}

void sinter_loop_store(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                       const sinter_expr *indices, sinter_expr value) {
    sinter_loop_store_combine(builder, buffer, indices, SINTER_SCALAR_NONE, value, false);
}

void sinter_loop_store_combine(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                               const sinter_expr *indices, sinter_scalar_function combine,
                               sinter_expr value, bool atomic) {
    assert(buffer && buffer < builder->function->buffers.count && value);
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_STORE);
    stmt->buffer = buffer;
    stmt->argument_count = builder->function->buffers.items[buffer].rank;
    stmt->arguments = copy_expressions(builder, indices, stmt->argument_count);
    stmt->value = value;
    stmt->combine = combine;
    stmt->atomic = atomic;
}

sinter_loop_var sinter_loop_declare(sinter_loop_builder *builder, const char *name, bool is_mutable,
                                    sinter_expr value) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_DECLARE);
    stmt->var = sinter_loop_add_var(builder, name, value->dtype, is_mutable);
    stmt->value = value;
    int64_t min, max;
    if (!is_mutable && sinter_loop_range(builder->function, value, &min, &max))
        sinter_loop_set_range(builder, stmt->var, min, max);
    return stmt->var;
}

void sinter_loop_assign(sinter_loop_builder *builder, sinter_loop_var var, sinter_expr value) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_ASSIGN);
    stmt->var = var;
    stmt->value = value;
}

void sinter_loop_alloc(sinter_loop_builder *builder, sinter_loop_buffer buffer) {
    append(builder, SINTER_LOOP_ALLOC)->buffer = buffer;
}

void sinter_loop_free(sinter_loop_builder *builder, sinter_loop_buffer buffer) {
    append(builder, SINTER_LOOP_FREE)->buffer = buffer;
}

void sinter_loop_bind(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                      sinter_loop_buffer source, sinter_expr offset) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_BIND);
    stmt->buffer = buffer;
    stmt->source = source;
    stmt->value = offset;
}

void sinter_loop_take(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                      sinter_loop_buffer source) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_TAKE);
    stmt->buffer = buffer;
    stmt->source = source;
}

void sinter_loop_barrier(sinter_loop_builder *builder) {
    append(builder, SINTER_LOOP_BARRIER);
}

void sinter_loop_commit(sinter_loop_builder *builder) {
    append(builder, SINTER_LOOP_COMMIT);
}

void sinter_loop_wait(sinter_loop_builder *builder, uint32_t pending) {
    append(builder, SINTER_LOOP_WAIT)->pending = pending;
}

void sinter_loop_commit_products(sinter_loop_builder *builder) {
    append(builder, SINTER_LOOP_COMMIT)->products = true;
}

void sinter_loop_wait_products(sinter_loop_builder *builder, uint32_t pending) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_WAIT);
    stmt->pending = pending;
    stmt->products = true;
}

void sinter_loop_fence(sinter_loop_builder *builder) {
    append(builder, SINTER_LOOP_FENCE);
}

void sinter_loop_begin_warps(sinter_loop_builder *builder, uint32_t first, uint32_t count) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_WARPS);
    stmt->first_warp = first;
    stmt->warp_count = count;
    open_body(builder, stmt, &stmt->body);
}

void sinter_loop_box_statement(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                               sinter_loop_buffer source, sinter_loop_buffer phases,
                               const sinter_expr *arguments, uint32_t count, uint32_t box_rank) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_BOX);
    stmt->buffer = buffer;
    stmt->source = source;
    stmt->asynchronous = true;
    stmt->box_rank = box_rank;
    stmt->buffer_arguments = sinter_arena_copy(builder->arena, &phases, sizeof phases);
    stmt->buffer_argument_count = 1;
    stmt->arguments = copy_expressions(builder, arguments, count);
    stmt->argument_count = count;
}

void sinter_loop_arrive(sinter_loop_builder *builder, sinter_loop_buffer phases,
                        sinter_expr index) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_ARRIVE);
    stmt->buffer = phases;
    stmt->argument_count = 1;
    stmt->arguments = copy_expressions(builder, &index, 1);
}

void sinter_loop_await(sinter_loop_builder *builder, sinter_loop_buffer phases, sinter_expr index,
                       sinter_expr phase) {
    sinter_loop_arrive(builder, phases, index);
    builder->last->kind = SINTER_LOOP_AWAIT;
    builder->last->value = phase;
}

void sinter_loop_reduce(sinter_loop_builder *builder, sinter_loop_var var,
                        sinter_scalar_function combine, sinter_loop_buffer buffer) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_REDUCE);
    stmt->var = var;
    stmt->combine = combine;
    stmt->buffer = buffer;
}

void sinter_loop_exchange_with(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                               sinter_loop_buffer source, const sinter_loop_exchange *exchange) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_EXCHANGE);
    const sinter_loop_buffer_info *info = &builder->function->buffers.items[source];
    stmt->buffer = buffer;
    stmt->source = source;
    stmt->exchange = *exchange;
    stmt->value = sinter_loop_int(builder, 1);
    for (uint32_t i = 0; i < info->rank; i++)
        stmt->value = sinter_loop_mul(builder, stmt->value, info->dims[i]);
    const uint32_t bits = sinter_dtype_infos[info->dtype].bits;
    if (bits < 8)
        stmt->value = sinter_loop_div(builder, stmt->value, sinter_loop_int(builder, 8 / bits));
}

void sinter_loop_prefetch(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                          const sinter_expr *indices) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_PREFETCH);
    stmt->buffer = buffer;
    stmt->argument_count = builder->function->buffers.items[buffer].rank;
    stmt->arguments = copy_expressions(builder, indices, stmt->argument_count);
}

void sinter_loop_comment(sinter_loop_builder *builder, const char *text) {
    append(builder, SINTER_LOOP_COMMENT)->text = copy_text(builder, text);
}

void sinter_loop_fail(sinter_loop_builder *builder, int32_t code, const char *message,
                      const sinter_expr *arguments, uint32_t count) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_FAIL);
    stmt->code = code;
    stmt->text = copy_text(builder, message);
    stmt->arguments = copy_expressions(builder, arguments, count);
    stmt->argument_count = count;
}

const char *sinter_loop_failure_place(sinter_arena *arena, const char *nodes) {
    enum { MOST = 120 }; /* the message has to fit before it */
    if (!nodes || !*nodes) return "";
    size_t size = strlen(nodes);
    return size <= MOST ? sinter_arena_format(arena, ", in %s", nodes)
                        : sinter_arena_format(arena, ", in %.*s...", MOST - 3, nodes);
}

const char *sinter_loop_fail_text(sinter_arena *arena, const char *text) {
    sinter_text out = {0};
    for (const char *at = text; *at; at++) {
        if (*at == '%') sinter_text_append(&out, "%", 1);
        sinter_text_append(&out, at, 1);
    }
    const char *copy = sinter_arena_copy_string(arena, out.data ? out.data : "", out.size);
    sinter_text_deinit(&out);
    return copy;
}

void sinter_loop_call_kernel(sinter_loop_builder *builder, uint32_t kernel,
                             const sinter_loop_buffer *buffers, uint32_t buffer_count,
                             const sinter_expr *scalars, uint32_t scalar_count) {
    sinter_loop_stmt *stmt = append(builder, SINTER_LOOP_CALL_KERNEL);
    stmt->kernel = kernel;
    stmt->buffer_arguments =
        buffer_count ? sinter_arena_copy(builder->arena, buffers, buffer_count * sizeof *buffers)
                     : NULL;
    stmt->buffer_argument_count = buffer_count;
    stmt->arguments = copy_expressions(builder, scalars, scalar_count);
    stmt->argument_count = scalar_count;
}
