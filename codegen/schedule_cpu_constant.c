/* Constants in another form: bytes as words of four, few bits as words of many. A kernel whose loads are about to change
 * has what its calls pass converted here, at once.
 * Needs: a parameter for which every call passes a constant. Guarantees: who else reads the constant finds it as it was.
 * Test: tests/codegen/schedule/dot.loops, bits.loops */
#include "codegen/loop_access.h"
#include "codegen/schedule_cpu_constant.h"

#include <assert.h>

/* ---- who reads what ---- */

uint32_t sinter_cpu_count_accesses(const sinter_schedule_cpu_state *state,
                                   sinter_loop_buffer buffer) {
    sinter_arena scratch;
    sinter_loop_access_list all = {0};
    uint32_t count = 0;
    assert(!state->part); /* accesses of other parts count */
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, state->schedule.function->body, &all);
    for (size_t i = 0; i < all.count; i++) count += all.items[i].buffer == buffer;
    sinter_arena_deinit(&scratch);
    return count;
}

bool sinter_cpu_is_own_constant(const sinter_schedule_cpu_state *state,
                                sinter_loop_buffer parameter) {
    const sinter_loop_buffer_info *info = &state->schedule.function->buffers.items[parameter];
    int64_t dim;
    for (uint32_t i = 0; i < info->rank; i++)
        if (!sinter_loop_is_const_int(info->dims[i], &dim)) return false;
    return sinter_cpu_count_accesses(state, parameter) == 1 &&
           sinter_cpu_is_constant(state, parameter);
}

/* ---- who passes what ---- */

typedef SINTER_VECTOR(uint32_t) constant_list;

typedef struct argument_search {
    sinter_schedule_cpu_state *state;
    uint32_t parameter;
    constant_list constants;
} argument_search;

static bool list_argument(void *user, sinter_loop_stmt *stmt) {
    argument_search *search = user;
    const sinter_schedule_cpu_state *state = search->state;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL || stmt->kernel != state->kernel) return true;
    uint32_t constant =
        state->program->host->buffers.items[stmt->buffer_arguments[search->parameter]].constant;
    for (size_t i = 0; i < search->constants.count; i++)
        if (search->constants.items[i] == constant) return true;
    sinter_vector_push(&search->state->scratch, &search->constants, constant);
    return true;
}

static uint32_t parameter_index(const sinter_schedule_cpu_state *state, sinter_loop_buffer buffer) {
    uint32_t index = 0;
    bool found = sinter_cpu_find_parameter(state, buffer, &index);
    assert(found);
    (void)found;
    return index;
}

size_t sinter_cpu_list_constants(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter,
                                 const uint32_t **out_constants) {
    argument_search search = {.state = state, .parameter = parameter_index(state, parameter)};
    sinter_loop_walk(state->program->host->body, list_argument, &search);
    *out_constants = search.constants.items;
    return search.constants.count;
}

/* A constant, and the place that it is passed to. */
typedef struct passing {
    const sinter_loop_function *host;
    uint32_t kernel, parameter;
    uint32_t constant; /* of the program */
    bool elsewhere;    /* somebody else reads it */
} passing;

static bool is_it(const passing *p, sinter_loop_buffer buffer) {
    const sinter_loop_buffer_info *info = &p->host->buffers.items[buffer];
    return buffer && info->scope == SINTER_SCOPE_CONSTANT && info->constant == p->constant;
}

static void search_expr(void *user, sinter_expr expr) {
    passing *p = user;
    if (expr->kind == SINTER_LOOP_LOAD && is_it(p, expr->buffer)) p->elsewhere = true;
}

static bool search_stmt(void *user, sinter_loop_stmt *stmt) {
    passing *p = user;
    sinter_loop_walk_stmt_exprs(stmt, search_expr, p);
    if (stmt->kind == SINTER_LOOP_BIND && is_it(p, stmt->source)) p->elsewhere = true;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL) return true;
    for (uint32_t i = 0; i < stmt->buffer_argument_count; i++) {
        bool here = stmt->kernel == p->kernel && i == p->parameter;
        if (!here && is_it(p, stmt->buffer_arguments[i])) p->elsewhere = true;
    }
    return true;
}

static bool is_read_elsewhere(passing *p) {
    sinter_loop_walk(p->host->body, search_stmt, p);
    return p->elsewhere;
}

bool sinter_cpu_shares_constant(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter,
                                size_t least_bytes) {
    const sinter_loop_program *program = state->program;
    const uint32_t *constants;
    if (!sinter_cpu_is_constant(state, parameter)) return false;
    size_t count = sinter_cpu_list_constants(state, parameter, &constants);
    for (size_t i = 0; i < count; i++) {
        passing place = {.host = program->host,
                         .kernel = state->kernel,
                         .parameter = parameter_index(state, parameter),
                         .constant = constants[i]};
        if (sinter_tensor_bytes(&program->constants.items[constants[i]].tensor) < least_bytes ||
            !is_read_elsewhere(&place))
            return false;
    }
    return count > 0;
}

/* ---- one constant ---- */

typedef struct replacement {
    sinter_schedule_cpu_state *state;
    const sinter_cpu_conversion *conversion;
    passing place;
    sinter_loop_buffer buffer; /* what is passed instead */
} replacement;

static bool pass_replacement(void *user, sinter_loop_stmt *stmt) {
    replacement *r = user;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL || stmt->kernel != r->place.kernel ||
        !is_it(&r->place, stmt->buffer_arguments[r->place.parameter]))
        return true;
    sinter_loop_buffer *arguments =
        sinter_arena_copy(&r->state->program->arena, stmt->buffer_arguments,
                          stmt->buffer_argument_count * sizeof *arguments);
    arguments[r->place.parameter] = r->buffer;
    stmt->buffer_arguments = arguments;
    return true;
}

static void describe(const sinter_cpu_conversion *conversion, sinter_loop_builder *build,
                     sinter_loop_buffer_info *info) {
    sinter_expr *dims = SINTER_NEW_ARRAY(build->arena, sinter_expr, conversion->rank);
    for (uint32_t i = 0; i < conversion->rank; i++)
        dims[i] = sinter_loop_int(build, conversion->dims[i]);
    info->rank = conversion->rank;
    info->dims = dims;
    info->dtype = conversion->dtype;
}

/* In place of the constant where nobody else wants it, else beside it. */
static bool replace(replacement *r, const sinter_loop_buffer_info *parameter) {
    sinter_loop_program *program = r->state->program;
    sinter_loop_function *host = program->host;
    sinter_loop_builder build;
    sinter_loop_constant made = {{0}};
    sinter_tensor source = program->constants.items[r->place.constant].tensor;
    source.rank =
        parameter->rank; /* tensors of equal data are one constant, whatever their shapes */
    for (uint32_t i = 0; i < source.rank; i++)
        sinter_loop_is_const_int(parameter->dims[i], &source.dims[i]);
    if (!r->conversion->convert(r->conversion->user, &source, &made.tensor, r->state->diag))
        return false;
    sinter_loop_builder_init(&build, program, host);
    if (!is_read_elsewhere(&r->place)) {
        sinter_storage_drop_pages(source.storage, source.data, sinter_tensor_bytes(&source));
        sinter_tensor_deinit(&program->constants.items[r->place.constant].tensor);
        program->constants.items[r->place.constant] = made;
        for (sinter_loop_buffer i = 1; i < host->buffers.count; i++)
            if (is_it(&r->place, i)) describe(r->conversion, &build, &host->buffers.items[i]);
        return true;
    }
    r->buffer = sinter_loop_add_buffer(&build, parameter->name, r->conversion->dtype,
                                       parameter->rank, parameter->dims, SINTER_SCOPE_CONSTANT);
    describe(r->conversion, &build, &host->buffers.items[r->buffer]);
    host->buffers.items[r->buffer].constant = (uint32_t)program->constants.count;
    sinter_vector_push(&program->arena, &program->constants, made);
    sinter_loop_walk(host->body, pass_replacement, r);
    return true;
}

bool sinter_cpu_convert_constants(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter,
                                  const sinter_cpu_conversion *conversion) {
    sinter_loop_function *function = state->schedule.function;
    const sinter_loop_buffer_info info = function->buffers.items[parameter];
    const uint32_t *constants;
    size_t count = sinter_cpu_list_constants(state, parameter, &constants);
    for (size_t i = 0; i < count; i++) {
        replacement r = {.state = state,
                         .conversion = conversion,
                         .place = {.host = state->program->host,
                                   .kernel = state->kernel,
                                   .parameter = parameter_index(state, parameter),
                                   .constant = constants[i]}};
        if (!replace(&r, &info)) return false;
    }
    sinter_loop_builder build;
    sinter_loop_builder_init(&build, state->program, function);
    describe(conversion, &build, &function->buffers.items[parameter]);
    return true;
}
