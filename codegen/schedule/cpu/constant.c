/* Constants in another form: bytes as words of four, few bits as words of many. A kernel whose loads are about to change
 * has what its calls pass converted here, at once.
 * Needs: a parameter for which every call passes a constant. Guarantees: who else reads the constant finds it as it was.
 * Test: tests/codegen/schedule/dot.loops, bits.loops */
#include "codegen/schedule/cpu/constant.h"
#include "codegen/loops/access.h"

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

/* ---- who else reads it ---- */

/* A constant, and the place that it is passed to. */
typedef struct passing {
    const sinter_loop_program *program;
    uint32_t kernel, parameter;
    uint32_t constant; /* of the program */
    bool elsewhere;    /* somebody else reads it */
} passing;

static void note_reader(void *user, uint32_t constant, const sinter_loop_stmt *call,
                        uint32_t argument) {
    passing *p = user;
    bool here = call && call->kernel == p->kernel && argument == p->parameter;
    p->elsewhere |= constant == p->constant && !here;
}

static bool is_read_elsewhere(passing *p) {
    sinter_schedule_visit_constants(p->program, note_reader, p);
    return p->elsewhere;
}

static bool is_it(const passing *p, sinter_loop_buffer buffer) {
    const sinter_loop_buffer_info *info = &p->program->host->buffers.items[buffer];
    return buffer && info->scope == SINTER_SCOPE_CONSTANT && info->constant == p->constant;
}

bool sinter_cpu_shares_constant(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter,
                                size_t least_bytes) {
    const sinter_loop_program *program = state->program;
    const uint32_t *constants;
    if (!sinter_cpu_is_constant(state, parameter)) return false;
    size_t count = sinter_cpu_list_constants(state, parameter, &constants);
    for (size_t i = 0; i < count; i++) {
        passing place = {.program = program,
                         .kernel = state->kernel,
                         .parameter = sinter_cpu_get_parameter(state, parameter),
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
    sinter_schedule_pass(r->state->program, stmt, r->place.parameter, r->buffer);
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
    sinter_tensor source =
        sinter_schedule_constant_as(program, r->place.constant, parameter->dims, parameter->rank);
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
                         .place = {.program = state->program,
                                   .kernel = state->kernel,
                                   .parameter = sinter_cpu_get_parameter(state, parameter),
                                   .constant = constants[i]}};
        if (!replace(&r, &info)) return false;
    }
    sinter_loop_builder build;
    sinter_loop_builder_init(&build, state->program, function);
    describe(conversion, &build, &function->buffers.items[parameter]);
    return true;
}
