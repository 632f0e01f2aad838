/* Memory that all threads of a kernel share, for what one of its loops makes for the next: one more parameter of the kernel,
 * which the host allocates for each call. Needs: a program with a host. Test: tests/codegen/schedule/bits_bytes.loops */
#include "codegen/loop_rewrite.h"
#include "codegen/schedule_cpu_tile.h"

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
    sinter_loop_free(&host, buffer);
    *host.tail = stmt->next;
    *stmt = *list;
    return true;
}

sinter_loop_buffer sinter_cpu_add_scratch(sinter_schedule_cpu_state *state, const char *name,
                                          sinter_dtype dtype, uint32_t rank,
                                          const sinter_expr *dims) {
    addition a = {.state = state, .kernel = state->schedule.function};
    sinter_loop_builder build;
    sinter_loop_builder_init(&build, state->program, state->schedule.function);
    a.parameter = sinter_loop_add_buffer(&build, name, dtype, rank, dims, SINTER_SCOPE_INOUT);
    sinter_loop_walk(state->program->host->body, pass_scratch, &a);
    return a.parameter;
}
