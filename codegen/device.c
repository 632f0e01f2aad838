/* See device.h. Test: tests/codegen/emit_cuda/ */
#include "codegen/device.h"
#include "codegen/emit/cuda.h"
#include "codegen/loops/access.h"
#include "codegen/loops/mma.h"
#include "ir/base/diag.h"

typedef struct search {
    sinter_loop_program *program;
    sinter_loop_function *kernel;
    sinter_loop_scopes scopes;
    sinter_device_launch *launch;
    uint32_t block_depth;
    uint32_t first_warp; /* of the piece of warps */
    const char *wrong;
} search;

/* Loops of one kind that are directly nested, outermost first; the list that is inside of the last. */
static sinter_loop_stmt *nest_of(sinter_loop_stmt *loop, sinter_loop_stmt **out_loops,
                                 uint32_t limit, uint32_t *out_depth) {
    const sinter_loop_axis axis = loop->axis;
    *out_depth = 0;
    for (;;) {
        if (*out_depth < limit) out_loops[*out_depth] = loop;
        ++*out_depth;
        sinter_loop_stmt *inner = loop->body;
        if (!inner || inner->next || inner->kind != SINTER_LOOP_FOR || inner->axis != axis)
            return inner;
        loop = inner;
    }
}

static void find_threads(search *s, sinter_loop_stmt *first);

static void take_threads(search *s, sinter_loop_stmt *loop) {
    sinter_loop_stmt *loops[3];
    uint32_t depth;
    find_threads(s, nest_of(loop, loops, 3, &depth));
    if (depth > 3) {
        s->wrong = "thread axes are nested deeper than three";
        return;
    }
    for (uint32_t i = 0; i < depth; i++) {
        uint32_t *extent = &s->launch->block[depth - 1 - i];
        int64_t count;
        if (!sinter_loop_trip_count(loops[i], &count)) count = 0;
        if (!i) count += s->first_warp;
        if (count > SINTER_DEVICE_MAX_THREADS) count = SINTER_DEVICE_MAX_THREADS;
        if (count > *extent) *extent = (uint32_t)count;
    }
}

/* A piece may have no thread axes: its warps are there all the same. */
static void take_warps(search *s, const sinter_loop_stmt *piece) {
    const uint32_t wanted[3] = {SINTER_MMA_MEMBERS, SINTER_MMA_GROUPS,
                                piece->first_warp + piece->warp_count};
    for (uint32_t i = 0; i < 3; i++)
        if (wanted[i] > s->launch->block[i]) s->launch->block[i] = wanted[i];
    s->first_warp = piece->first_warp;
}

static void find_threads(search *s, sinter_loop_stmt *first) {
    for (sinter_loop_stmt *stmt = first; stmt && !s->wrong; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_THREAD) {
            take_threads(s, stmt);
            continue;
        }
        const uint32_t before = s->first_warp;
        if (stmt->kind == SINTER_LOOP_WARPS) take_warps(s, stmt);
        find_threads(s, stmt->body);
        find_threads(s, stmt->else_body);
        s->first_warp = before;
    }
}

static void take_blocks(search *s, sinter_loop_stmt *loop) {
    sinter_loop_stmt *loops[3];
    uint32_t depth;
    nest_of(loop, loops, 3, &depth);
    if (depth > 3) {
        s->wrong = "block axes are nested deeper than three";
        return;
    }
    sinter_loop_builder builder;
    sinter_loop_builder_init(&builder, s->program, s->kernel);
    for (uint32_t i = 0; i < depth; i++) {
        sinter_expr lower = sinter_loop_map_expr(&s->scopes.lets, loops[i]->lower),
                    upper = sinter_loop_map_expr(&s->scopes.lets, loops[i]->upper);
        sinter_expr count = sinter_loop_sub(&builder, upper, lower);
        if (loops[i]->step != 1)
            count = sinter_loop_div(
                &builder,
                sinter_loop_add(&builder, count, sinter_loop_int(&builder, loops[i]->step - 1)),
                sinter_loop_int(&builder, loops[i]->step));
        if (!sinter_loop_expr_over_parameters(s->kernel, count)) {
            s->wrong = "a block axis has bounds that only the kernel knows";
            return;
        }
        s->launch->grid[depth - 1 - i] = count;
    }
}

uint64_t sinter_device_place_shared(const sinter_loop_buffer_info *info, uint64_t taken) {
    const uint64_t whole =
        info->swizzle ? SINTER_DEVICE_SWIZZLE_ALIGNMENT : SINTER_DEVICE_SHARED_ALIGNMENT;
    return (taken + whole - 1) / whole * whole;
}

/* Bytes with those of the list. Of buffers whose size is a number: others are refused where they are emitted. */
static uint64_t add_shared(const sinter_loop_function *kernel, const sinter_loop_stmt *first,
                           uint64_t taken) {
    uint64_t bytes;
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        const sinter_loop_buffer_info *info = &kernel->buffers.items[stmt->buffer];
        bool shared = stmt->kind == SINTER_LOOP_ALLOC && info->scope == SINTER_SCOPE_SHARED;
        if (shared && sinter_loop_static_bytes(info, &bytes))
            taken = sinter_device_place_shared(info, taken) +
                    (bytes + SINTER_DEVICE_SHARED_ALIGNMENT - 1) / SINTER_DEVICE_SHARED_ALIGNMENT *
                        SINTER_DEVICE_SHARED_ALIGNMENT;
        taken = add_shared(kernel, stmt->body, taken);
        taken = add_shared(kernel, stmt->else_body, taken);
    }
    return taken;
}

/* ---- boxes ---- */

static sinter_device_map map_of(sinter_loop_scopes *scopes, const sinter_loop_stmt *stmt) {
    const sinter_loop_box box = sinter_loop_box_of(stmt);
    const sinter_loop_function *kernel = scopes->function;
    sinter_device_map map = {
        .rank = box.rank,
        .element_bytes = sinter_dtype_infos[kernel->buffers.items[box.from].dtype].bits / 8};
    while (map.parameter < kernel->buffer_parameters.count &&
           kernel->buffer_parameters.items[map.parameter] != box.from)
        map.parameter++;
    for (uint32_t i = 0; i < box.rank; i++) {
        int64_t size = 0;
        map.dims[i] = sinter_loop_map_expr(&scopes->lets, box.dims[i]);
        map.strides[i] = sinter_loop_map_expr(&scopes->lets, box.strides[i]);
        sinter_loop_is_const_int(box.sizes[i], &size);
        map.sizes[i] = (uint32_t)size;
    }
    return map;
}

static bool are_equal(const sinter_device_map *a, const sinter_device_map *b) {
    bool equal = a->parameter == b->parameter && a->rank == b->rank;
    for (uint32_t i = 0; equal && i < a->rank; i++)
        equal = a->sizes[i] == b->sizes[i] && sinter_loop_expr_equal(a->dims[i], b->dims[i]) &&
                sinter_loop_expr_equal(a->strides[i], b->strides[i]);
    return equal;
}

static uint32_t find_map(const sinter_device_launch *launch, const sinter_device_map *map) {
    uint32_t number = 0;
    while (number < launch->map_count && !are_equal(&launch->maps[number], map)) number++;
    return number;
}

static bool note_map(void *user, sinter_loop_stmt *stmt) {
    search *s = user;
    if (stmt->kind != SINTER_LOOP_BOX) return true;
    const sinter_device_map map = map_of(&s->scopes, stmt);
    if (find_map(s->launch, &map) < s->launch->map_count) return true;
    if (s->launch->map_count == SINTER_DEVICE_MAX_MAPS) {
        s->wrong = "boxes are of more tensors than a launch has room for";
        return true;
    }
    if (!s->launch->maps)
        s->launch->maps =
            SINTER_NEW_ARRAY(&s->program->arena, sinter_device_map, SINTER_DEVICE_MAX_MAPS);
    s->launch->maps[s->launch->map_count++] = map;
    return true;
}

uint32_t sinter_device_find_map(sinter_loop_program *program, sinter_loop_function *kernel,
                                const sinter_device_launch *launch, const sinter_loop_stmt *box) {
    sinter_arena scratch;
    sinter_loop_scopes scopes;
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, program, kernel, &scratch);
    const sinter_device_map map = map_of(&scopes, box);
    const uint32_t number = find_map(launch, &map);
    sinter_arena_deinit(&scratch);
    return number;
}

bool sinter_device_find_launch(sinter_loop_program *program, sinter_loop_function *kernel,
                               sinter_device_launch *out_launch, sinter_diag *diag) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    search s = {.program = program, .kernel = kernel, .launch = out_launch};
    *out_launch = (sinter_device_launch){.block = {1, 1, 1}};
    sinter_loop_scopes_init(&s.scopes, program, kernel, &scratch);
    s.scopes.lets.builder.arena = &program->arena; /* what is found outlives the search */
    uint32_t blocks = 0;
    for (sinter_loop_stmt *stmt = kernel->body; stmt && !s.wrong; stmt = stmt->next) {
        if (stmt->kind != SINTER_LOOP_FOR || stmt->axis != SINTER_AXIS_BLOCK) continue;
        if (blocks++)
            s.wrong = "block axes stand side by side";
        else
            take_blocks(&s, stmt);
    }
    if (!s.wrong) find_threads(&s, kernel->body);
    if (!s.wrong) sinter_loop_walk(kernel->body, note_map, &s);
    uint64_t shared = add_shared(kernel, kernel->body, 0);
    if (shared > UINT32_MAX) s.wrong = "a block has more than 4 GiB of scratch";
    if (shared > SINTER_DEVICE_DECLARED_SHARED) out_launch->shared_bytes = (uint32_t)shared;
    const uint32_t *block = out_launch->block;
    if (!s.wrong && block[0] * block[1] * block[2] > SINTER_DEVICE_MAX_THREADS)
        s.wrong = "a block has more than 1024 threads";
    sinter_arena_deinit(&scratch);
    return !s.wrong || sinter_error(diag, kernel->name, "%s [device_c1]", s.wrong);
}

bool sinter_device_is_host_step(const sinter_loop_function *kernel) {
    bool exchanges = false;
    for (const sinter_loop_stmt *s = kernel->body; s; s = s->next) {
        const bool names = s->kind == SINTER_LOOP_COMMENT ||
                           (s->kind == SINTER_LOOP_DECLARE && !sinter_loop_expr_loads(s->value, 0));
        if (!names && s->kind != SINTER_LOOP_EXCHANGE) return false;
        exchanges |= !names;
    }
    return exchanges;
}

const char *sinter_device_symbol(const sinter_loop_program *program, uint32_t kernel,
                                 sinter_arena *arena) {
    if (sinter_device_is_host_step(program->kernels.items[kernel]))
        return sinter_cuda_combine_symbol(program->kernels.items[kernel], arena);
    return sinter_arena_format(arena, "kernel_%s", program->kernels.items[kernel]->name);
}

static uint32_t count_failures(const sinter_loop_stmt *first) {
    uint32_t count = 0;
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        count += (stmt->kind == SINTER_LOOP_FAIL) + count_failures(stmt->body) +
                 count_failures(stmt->else_body);
    return count;
}

const uint32_t *sinter_device_number_messages(const sinter_loop_program *program,
                                              sinter_arena *arena) {
    const size_t count = program->kernels.count;
    uint32_t *first = SINTER_NEW_ARRAY(arena, uint32_t, count + 1);
    for (size_t i = 0; i < count; i++)
        first[i + 1] = first[i] + count_failures(program->kernels.items[i]->body);
    return first;
}
