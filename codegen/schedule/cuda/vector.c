/* Elementwise nests on CUDA touch memory by up to 16 bytes a thread: the innermost loop is split into vectors, whose elements
 * the emitter reads before and writes after what is done with each (emit/cuda_vector.c).
 *
 * That needs places at multiples of the vector: kernels are told so in the text of their parameters (`align`), as far as all
 * calls of the host see to it. All or nothing: lanes apart in memory would make of one access of a warp several.
 * Test: tests/codegen/schedule/cuda_vector.loops */
#include "codegen/loops/align.h"
#include "codegen/schedule/cuda.h"

/* ---- alignment ---- */

typedef struct align_search {
    sinter_loop_program *program;
    sinter_loop_scopes scopes; /* of the host */
    bool *seen;                /* by kernel: called before */
} align_search;

static bool look_at_call(void *user, sinter_loop_stmt *stmt) {
    align_search *search = user;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL) return true;
    sinter_loop_function *kernel = search->program->kernels.items[stmt->kernel];
    for (uint32_t i = 0; i < stmt->buffer_argument_count; i++) {
        sinter_loop_buffer_info *info = &kernel->buffers.items[kernel->buffer_parameters.items[i]];
        const uint32_t given =
            sinter_loop_host_alignment(&search->scopes, stmt->buffer_arguments[i]);
        if (!search->seen[stmt->kernel] || given < info->alignment) info->alignment = given;
    }
    search->seen[stmt->kernel] = true;
    return true;
}

void sinter_schedule_cuda_align(sinter_loop_program *program) {
    if (!program->host) return;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    align_search search = {.program = program,
                           .seen = SINTER_NEW_ARRAY(&scratch, bool, program->kernels.count)};
    sinter_loop_scopes_init(&search.scopes, program, program->host, &scratch);
    sinter_loop_walk(program->host->body, look_at_call, &search);
    for (size_t k = 0; k < program->kernels.count; k++) { /* what all elements have is not said */
        sinter_loop_function *kernel = program->kernels.items[k];
        for (size_t i = 0; i < kernel->buffer_parameters.count; i++) {
            sinter_loop_buffer_info *info =
                &kernel->buffers.items[kernel->buffer_parameters.items[i]];
            if (info->alignment <= sinter_dtype_infos[info->dtype].bits / 8) info->alignment = 0;
        }
    }
    sinter_arena_deinit(&scratch);
}

/* ---- vectors ---- */

typedef struct width_search {
    const sinter_loop_function *function;
    sinter_loop_var loop;
    uint32_t bits; /* of the widest element that the loop moves along */
    bool good;
} width_search;

static void look_at_access(width_search *search, sinter_loop_buffer buffer,
                           const sinter_expr *indices, uint32_t rank) {
    bool moves = false;
    for (uint32_t i = 0; i < rank; i++) moves |= sinter_loop_expr_uses(indices[i], search->loop);
    const uint32_t bits = sinter_dtype_infos[search->function->buffers.items[buffer].dtype].bits;
    search->good &= bits >= 8;
    if (moves && bits > search->bits) search->bits = bits;
}

static void look_at_load(void *user, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_LOAD)
        look_at_access(user, expr->buffer, expr->arguments, expr->argument_count);
}

/* Lanes of a vector of 16 bytes of the widest elements; 0: the body does more than to compute and store. */
static int64_t choose_lanes(const sinter_schedule *schedule, const sinter_loop_stmt *loop) {
    width_search search = {.function = schedule->function, .loop = loop->var, .good = true};
    for (const sinter_loop_stmt *s = loop->body; s; s = s->next) {
        if (s->kind != SINTER_LOOP_DECLARE && s->kind != SINTER_LOOP_STORE &&
            s->kind != SINTER_LOOP_COMMENT)
            return 0;
        if (s->kind == SINTER_LOOP_DECLARE && schedule->function->vars.items[s->var].is_mutable)
            return 0;
        sinter_loop_walk_stmt_exprs(s, look_at_load, &search);
        if (s->kind == SINTER_LOOP_STORE)
            look_at_access(&search, s->buffer, s->arguments, s->argument_count);
        search.good &= !s->combine;
    }
    return search.good && search.bits && search.bits <= 64 ? 128 / search.bits : 0;
}

/* What moves with the vector axis follows it, element by element, from where a vector may begin; something is stored so. */
static bool all_wide(sinter_schedule *schedule, sinter_loop_var vector, int64_t lanes) {
    sinter_arena scratch;
    sinter_loop_scopes scopes;
    sinter_loop_access_list list = {0};
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, schedule->program, schedule->function, &scratch);
    sinter_loop_collect_accesses(&scratch,
                                 sinter_schedule_get_loop(schedule->function, vector)->body, &list);
    bool good = true, stores = false;
    for (size_t i = 0; i < list.count && good; i++) {
        const sinter_loop_access *a = &list.items[i];
        sinter_expr first;
        if (!sinter_loop_access_uses(a, vector)) {
            good = !a->is_store;
            continue;
        }
        good = sinter_loop_is_wide(&scopes, vector, lanes, a->buffer, a->indices, &first);
        stores |= a->is_store;
    }
    sinter_arena_deinit(&scratch);
    return good && stores;
}

bool sinter_schedule_cuda_vectorize(sinter_schedule *schedule, sinter_loop_var loop, bool alone,
                                    sinter_loop_var *out_outer) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, loop);
    sinter_loop_var outer = 0, vector = 0;
    sinter_loop_function *saved = sinter_loop_clone_function(schedule->program, schedule->function);
    for (int64_t lanes = choose_lanes(schedule, stmt); lanes >= 2; lanes /= 2) {
        if (sinter_schedule_split(schedule, loop, lanes,
                                  alone ? SINTER_TAIL_GUARD : SINTER_TAIL_EXACT, &outer, &vector,
                                  NULL) &&
            sinter_schedule_vectorize(schedule, vector) && all_wide(schedule, vector, lanes)) {
            *out_outer = outer;
            return true;
        }
        *schedule->function = *saved;
        saved = sinter_loop_clone_function(schedule->program, schedule->function);
    }
    return false;
}
