/* Kernels in CUDA C++: a dialect of the C emitter, with block and thread axes as the coordinates of a launch.
 *
 * Statements outside of thread axes are run by all threads of a block alike; what they store is stored by one.
 * Failures are numbered in each kernel, from the number that a launch passes; llvm_device.c explains them so.
 * Test: tests/codegen/emit_cuda/ */
#include "codegen/emit/cuda.h"
#include "codegen/device.h"
#include "codegen/emit/c.h"
#include "codegen/emit/legalize.h"
#include "codegen/loops/ldmatrix.h"
#include "codegen/loops/mma.h"
#include "codegen/loops/rewrite.h"
#include "codegen/loops/wgmma.h"

#include <string.h>

static const char prelude[] = {
#include "codegen/emit/cuda_prelude.inc"
};

static const sinter_c_dialect cuda = {
    .device = true,
    .input = "in<%s> %s",
    .output = "out<%s> %s",
    .scratch = "array<%1$s, %3$lld> %2$s;",
    .shared = "__shared__ __align__(16) shared<%1$s, %3$lld> %2$s;",
    .swizzled = "__shared__ __align__(1024) swizzled<%1$s, %3$lld> %2$s;",
    .unroll = "#pragma unroll",
    .barrier = "__syncthreads();",
};

static const char axis_names[] = "xyz";
enum { WARP_AXIS = 2 }; /* of blocks that have pieces of warps */

/* How many loops of the same kind are directly inside of this one. */
static uint32_t depth_below(const sinter_loop_stmt *loop) {
    const sinter_loop_stmt *inner = loop->body;
    return inner && !inner->next && inner->kind == SINTER_LOOP_FOR && inner->axis == loop->axis
               ? 1 + depth_below(inner)
               : 0;
}

static void write_coordinate(sinter_c_emitter *e, const sinter_loop_stmt *s, const char *what,
                             uint32_t axis) {
    const char *by =
        s->step == 1 ? "" : sinter_arena_format(e->arena, " * %lld", (long long)s->step);
    int64_t lower;
    bool from_zero = sinter_loop_is_const_int(s->lower, &lower) && lower == 0;
    const char *first =
        from_zero ? "" : sinter_arena_format(e->arena, "%s + ", sinter_c_index_text(e, s->lower));
    if (e->piece_first && axis == WARP_AXIS && s->axis == SINTER_AXIS_THREAD)
        by = sinter_arena_format(e->arena, " - %u", e->piece_first);
    sinter_c_write(e, "const int64_t %s = %s%s.%c%s;", e->vars[s->var], first, what,
                   axis_names[axis], by);
    if (e->mentioned && !e->mentioned[s->var]) sinter_c_write(e, "(void)%s;", e->vars[s->var]);
}

/* As many threads as iterations, or more: each has its own. Otherwise they take turns. */
static void write_thread(sinter_c_emitter *e, const sinter_loop_stmt *s, uint32_t axis) {
    int64_t count;
    if (sinter_loop_trip_count(s, &count) && count <= e->threads[axis]) {
        if (count < e->threads[axis])
            sinter_c_write(e, "if (threadIdx.%c < %lld) {", axis_names[axis], (long long)count);
        else
            sinter_c_write(e, "{");
        e->indent++;
        write_coordinate(e, s, "threadIdx", axis);
    } else {
        const char *var = e->vars[s->var], *step = "";
        if (s->step != 1) step = sinter_arena_format(e->arena, " * %lld", (long long)s->step);
        sinter_c_write(e, "for (int64_t %s = %s + threadIdx.%c%s; %s < %s; %s += blockDim.%c%s) {",
                       var, sinter_c_index_text(e, s->lower), axis_names[axis], step, var,
                       sinter_c_index_text(e, s->upper), var, axis_names[axis], step);
        e->indent++;
    }
    sinter_c_statements(e, s->body);
    e->indent--;
    sinter_c_write(e, "}");
}

/* Registers that products add to stay where they are: the compiler knows nothing of what is under way. */
static void hold_sums(sinter_c_emitter *e, const sinter_loop_stmt *first, bool multiplies,
                      bool *visible) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        const bool inside =
            multiplies || (s->kind == SINTER_LOOP_FOR && s->axis == SINTER_AXIS_WGMMA);
        if (inside && s->kind == SINTER_LOOP_STORE && visible[s->buffer]) {
            visible[s->buffer] = false; /* once */
            sinter_c_write(e, "sinter_hold(%s);", e->buffers[s->buffer]);
        }
        hold_sums(e, s->body, inside, visible);
        hold_sums(e, s->else_body, inside, visible);
    }
}

/* The buffers that are allocated where the statement stands; true: it is in the list. */
static bool mark_visible(const sinter_loop_stmt *first, const sinter_loop_stmt *wanted,
                         bool *visible) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        if (s == wanted) return true;
        if (s->kind == SINTER_LOOP_ALLOC) visible[s->buffer] = true;
        if (mark_visible(s->body, wanted, visible) || mark_visible(s->else_body, wanted, visible))
            return true;
    }
    for (const sinter_loop_stmt *s = first; s; s = s->next)
        if (s->kind == SINTER_LOOP_ALLOC) visible[s->buffer] = false;
    return false;
}

static void write_holds(sinter_c_emitter *e, const sinter_loop_stmt *at) {
    bool *visible = SINTER_NEW_ARRAY(e->arena, bool, e->function->buffers.count);
    mark_visible(e->function->body, at, visible);
    hold_sums(e, e->function->body, false, visible);
}

static bool note_product(void *user, sinter_loop_stmt *stmt) {
    *(bool *)user |= stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_WGMMA;
    return true;
}

static bool has_products(const sinter_loop_stmt *loop) {
    bool found = false;
    sinter_loop_walk(loop->body, note_product, &found);
    return found;
}

void sinter_cuda_for(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    uint32_t axis = depth_below(s);
    if (s->axis == SINTER_AXIS_BLOCK) {
        write_coordinate(e, s, "blockIdx", axis);
        sinter_c_statements(e, s->body);
        return;
    }
    bool outer = e->in_thread;
    if (!outer && has_products(s)) {
        write_holds(e, s);
        sinter_c_write(e, "sinter_begin_products();");
    }
    e->in_thread = true;
    write_thread(e, s, axis);
    e->in_thread = outer;
}

void sinter_cuda_fail(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    sinter_text values = {0};
    sinter_c_share(e, s->arguments, s->argument_count);
    for (uint32_t i = 0; i < s->argument_count; i++)
        sinter_text_format(&values, ", %s", sinter_c_index_text(e, s->arguments[i]));
    if (s->argument_count > SINTER_DEVICE_MAX_VALUES)
        sinter_c_error(e, "a message has more than six values [emit_c11]");
    const char *more = e->fail_count ? sinter_arena_format(e->arena, " + %u", e->fail_count) : "";
    e->fail_count++;
    sinter_c_write(e, "sinter_fail(failure, %d, sinter_message%s%s); /* %s */", s->code, more,
                   values.data ? values.data : "", sinter_c_comment(e->arena, s->text));
    sinter_c_write(e, "return;");
    sinter_text_deinit(&values);
}

void sinter_cuda_update(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    sinter_dtype dtype = e->function->buffers.items[s->buffer].dtype;
    sinter_text element = {0}, value = {0}, update = {0};
    sinter_c_element(e, s->buffer, s->arguments, &element);
    sinter_c_expr(e, s->value, &value);
    const char *type = sinter_c_memory(dtype);
    const char *operands[] = {"before", "with"};
    sinter_c_apply(e, s->combine, dtype, operands, &update);
    sinter_c_write(e, "{");
    sinter_c_write(e, "    const %s with = %s;", type, sinter_c_strip(e, value.data));
    sinter_c_write(e, "    sinter_update(&%s, [=](%s before) { return (%s)%s; });", element.data,
                   type, type, update.data);
    sinter_c_write(e, "}");
    sinter_text_deinit(&element);
    sinter_text_deinit(&value);
    sinter_text_deinit(&update);
}

/* Memory of the block that the launch gives, in the order in which sinter_device_find_launch adds it up. */
void sinter_cuda_shared(sinter_c_emitter *e, const sinter_loop_stmt *alloc, int64_t count) {
    const sinter_loop_buffer_info *info = &e->function->buffers.items[alloc->buffer];
    const uint64_t bytes = (uint64_t)count * sinter_dtype_infos[info->dtype].bits / 8,
                   whole = SINTER_DEVICE_SHARED_ALIGNMENT,
                   first = sinter_device_place_shared(info, e->shared_taken);
    const char *kind = !e->asks_swizzled ? "SHARED" : info->swizzle ? "SWIZZLED" : "BESIDE";
    sinter_c_write(e, "SINTER_ASKED_%s(%s, %lld, %s, %llu);", kind, sinter_c_memory(info->dtype),
                   (long long)count, e->buffers[alloc->buffer], (unsigned long long)first);
    e->shared_taken = first + (bytes + whole - 1) / whole * whole;
}

/* Lanes name the rows between them, and each gets its registers. */
void sinter_cuda_ldmatrix(sinter_c_emitter *e, const sinter_loop_stmt *loop) {
    sinter_loop_scopes scopes;
    sinter_loop_ldmatrix found;
    sinter_text part = {0};
    sinter_loop_scopes_init(&scopes, (sinter_loop_program *)(uintptr_t)e->program,
                            (sinter_loop_function *)(uintptr_t)e->function, e->arena);
    if (sinter_loop_check_ldmatrix(&scopes, loop, &found) || e->threads[0] != SINTER_MMA_MEMBERS ||
        e->threads[1] != SINTER_MMA_GROUPS || sinter_c_spread_dims(e, found.store->buffer) != 3) {
        sinter_c_error(e, "an ldmatrix axis that is no instruction of a warp [emit_c16]");
        return;
    }
    sinter_c_element(e, found.store->buffer, found.first, &part);
    sinter_c_write(e, "sinter_load_matrices<%lld, %s>(&%s, %s, %s);", (long long)found.count,
                   found.turned ? "true" : "false", part.data,
                   e->buffers[found.store->value->buffer], sinter_c_index_text(e, found.row));
    sinter_text_deinit(&part);
}

/* The address of a thread's matrix: its first register. */
static void write_matrix(sinter_c_emitter *e, sinter_loop_buffer buffer, const sinter_expr *indices,
                         sinter_text *text) {
    static const sinter_loop_expr zero = {.kind = SINTER_LOOP_CONST, .dtype = SINTER_DTYPE_i64};
    sinter_expr first[SINTER_MAX_RANK];
    const uint32_t rank = e->function->buffers.items[buffer].rank;
    for (uint32_t i = 0; i < rank; i++) first[i] = i + 2 < rank ? indices[i] : &zero;
    sinter_text_append_string(text, text->size ? ", &" : "&");
    sinter_c_element(e, buffer, first, text);
}

void sinter_cuda_mma(sinter_c_emitter *e, const sinter_loop_stmt *loop) {
    sinter_loop_mma_parts parts;
    sinter_text matrices = {0};
    if (!sinter_loop_find_mma(loop, &parts) || e->threads[0] != SINTER_MMA_MEMBERS ||
        e->threads[1] != SINTER_MMA_GROUPS || sinter_c_spread_dims(e, parts.store->buffer) != 3) {
        sinter_c_error(e, "an mma axis that is no instruction of a warp [emit_c13]");
        return;
    }
    write_matrix(e, parts.store->buffer, parts.store->arguments, &matrices);
    write_matrix(e, parts.left->buffer, parts.left->arguments, &matrices);
    write_matrix(e, parts.right->buffer, parts.right->arguments, &matrices);
    sinter_c_write(e, "sinter_mma_%s(%s);", sinter_loop_mma_infos[loop->mma].name, matrices.data);
    sinter_text_deinit(&matrices);
}

/* The warpgroup begins the product; sums are the registers from the first one on. */
void sinter_cuda_wgmma(sinter_c_emitter *e, const sinter_loop_stmt *loop) {
    sinter_loop_scopes scopes;
    sinter_loop_wgmma found;
    sinter_text text = {0};
    sinter_loop_scopes_init(&scopes, (sinter_loop_program *)(uintptr_t)e->program,
                            (sinter_loop_function *)(uintptr_t)e->function, e->arena);
    if (sinter_loop_check_wgmma(&scopes, loop, true, &found) ||
        e->threads[0] != SINTER_MMA_MEMBERS || e->threads[1] != SINTER_MMA_GROUPS ||
        e->threads[2] % SINTER_WGMMA_WARPS || sinter_c_spread_dims(e, found.store->buffer) != 3) {
        sinter_c_error(e, "a wgmma axis that is no instruction of a warpgroup [emit_c17]");
        return;
    }
    sinter_text_append_string(&text, "&");
    sinter_c_element(e, found.store->buffer, found.first, &text);
    const sinter_loop_wgmma_operand *operands[2] = {&found.left, &found.right};
    for (int i = 0; i < 2; i++)
        sinter_text_format(&text, ", sinter_matrix<%s, %lld>(%s, %s)",
                           operands[i]->across ? "true" : "false", (long long)operands[i]->chunk,
                           e->buffers[operands[i]->buffer],
                           sinter_c_position(e, operands[i]->buffer, operands[i]->first));
    sinter_c_write(e, "sinter_wgmma_%s<%lld>(%s);", sinter_loop_mma_infos[loop->mma].name,
                   (long long)found.columns, text.data);
    sinter_text_deinit(&text);
}

void sinter_cuda_order(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    if (s->kind == SINTER_LOOP_BOX)
        sinter_cuda_box(e, s);
    else if (s->kind == SINTER_LOOP_FENCE)
        sinter_c_write(e, "sinter_fence();");
    else if (s->kind == SINTER_LOOP_ARRIVE)
        sinter_c_write(e, "sinter_arrive(%s, %s);", e->buffers[s->buffer],
                       sinter_c_index_text(e, s->arguments[0]));
    else if (s->kind == SINTER_LOOP_AWAIT)
        sinter_c_write(e, "sinter_await(%s, %s, %s);", e->buffers[s->buffer],
                       sinter_c_index_text(e, s->arguments[0]), sinter_c_index_text(e, s->value));
    else if (s->kind == SINTER_LOOP_COMMIT)
        sinter_c_write(e, s->products ? "sinter_commit_products();" : "sinter_commit();");
    else
        sinter_c_write(e, "sinter_wait%s<%u>();", s->products ? "_for_products" : "", s->pending);
    if (s->kind == SINTER_LOOP_WAIT && s->products && !s->pending) write_holds(e, s);
}

/* ---- boxes ---- */

/* One thread has it copied: places innermost first. */
void sinter_cuda_box(sinter_c_emitter *e, const sinter_loop_stmt *stmt) {
    const sinter_loop_box box = sinter_loop_box_of(stmt);
    const uint32_t map =
        sinter_device_find_map((sinter_loop_program *)(uintptr_t)e->program,
                               (sinter_loop_function *)(uintptr_t)e->function, e->launch, stmt);
    sinter_text places = {0};
    if (!e->piece_count || map >= e->launch->map_count)
        sinter_c_error(e, "a box is copied by a piece of warps [emit_c20]");
    sinter_c_share(e, stmt->arguments, stmt->argument_count);
    for (uint32_t i = box.rank; i-- > 0;)
        sinter_text_format(&places, ", %s", sinter_c_index_text(e, box.at[i]));
    sinter_c_write(e, "sinter_copy_box<%u, %llu>(%s, %s, sinter_map_%u, %s, %s%s);", e->piece_first,
                   (unsigned long long)sinter_loop_box_bytes(e->function, &box), e->buffers[box.to],
                   sinter_c_position(e, box.to, box.first), map, e->buffers[box.phases],
                   sinter_c_index_text(e, box.phase), places.data);
    sinter_text_deinit(&places);
}

/* ---- pieces of warps ---- */

/* The statement is for a block, once. */
static bool is_of_block(const sinter_loop_stmt *first, const sinter_loop_stmt *wanted) {
    for (const sinter_loop_stmt *s = first; s; s = s->next)
        if (s == wanted || (s->kind == SINTER_LOOP_FOR && s->axis == SINTER_AXIS_BLOCK &&
                            is_of_block(s->body, wanted)))
            return true;
    return false;
}

void sinter_cuda_phases(sinter_c_emitter *e, const sinter_loop_stmt *alloc) {
    if (!is_of_block(e->function->body, alloc))
        sinter_c_error(e, "phases are made again and again [emit_c19]");
    sinter_c_write(e, "sinter_begin_phases(%s, %u);", e->buffers[alloc->buffer],
                   e->function->buffers.items[alloc->buffer].arrivals);
}

typedef struct piece_search {
    uint32_t first,
        count; /* of the warps that are looked for, those behind these where count is 0 */
    const sinter_loop_stmt *found;
    bool some;
} piece_search;

static bool note_piece(void *user, sinter_loop_stmt *stmt) {
    piece_search *search = user;
    if (stmt->kind != SINTER_LOOP_WARPS) return true;
    search->some = true;
    const bool fits = search->count
                          ? stmt->first_warp == search->first
                          : stmt->first_warp >= search->first &&
                                (!search->found || stmt->first_warp < search->found->first_warp);
    if (fits) search->found = stmt;
    return false;
}

bool sinter_cuda_is_for_others(const sinter_c_emitter *e, const sinter_loop_stmt *s) {
    if (!e->piece_count) return false;
    piece_search search = {.first = e->piece_first, .count = e->piece_count};
    sinter_loop_stmt alone = *s;
    alone.next = NULL;
    sinter_loop_walk(&alone, note_piece, &search);
    return search.some && !search.found;
}

/* Each piece's warps have a text of their own: branches amid loops would keep the compiler from seeing what one of them does alone. */
bool sinter_cuda_pieces(sinter_c_emitter *e, const sinter_loop_stmt *first) {
    piece_search search = {0};
    sinter_loop_stmt alone = *first;
    if (first->kind == SINTER_LOOP_FOR && first->axis == SINTER_AXIS_BLOCK) return false;
    alone.next = NULL;
    sinter_loop_walk(&alone, note_piece, &search);
    if (!search.found) return false;
    for (const sinter_loop_stmt *s = first; s; s = s->next)
        if (s->kind == SINTER_LOOP_ALLOC)
            sinter_c_error(e, "memory is made between pieces of warps [emit_c18]");
    const uint32_t warps = e->threads[WARP_AXIS];
    for (search.first = 0;; search.first = e->piece_first + e->piece_count) {
        search.found = NULL;
        sinter_loop_walk((sinter_loop_stmt *)(uintptr_t)first, note_piece, &search);
        if (!search.found) break;
        e->piece_first = search.found->first_warp;
        e->piece_count = e->threads[WARP_AXIS] = search.found->warp_count;
        sinter_c_write(e, "if (sinter_is_warp(%u, %u)) {", e->piece_first,
                       e->piece_first + e->piece_count);
        e->indent++;
        sinter_c_statements(e, first);
        e->indent--;
        sinter_c_write(e, "}");
    }
    e->piece_first = e->piece_count = 0;
    e->threads[WARP_AXIS] = warps;
    return true;
}

/* By buffer, the warps of the pieces that touch it. */
static void mark_pieces(sinter_c_emitter *e, const sinter_loop_stmt *first, uint32_t warps) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        sinter_loop_access_list list = {0};
        const uint32_t inside = s->kind == SINTER_LOOP_WARPS ? s->warp_count : warps;
        if (inside && !e->piece_warps)
            e->piece_warps = SINTER_NEW_ARRAY(e->arena, uint32_t, e->function->buffers.count);
        if (inside) sinter_loop_collect_stmt_accesses(e->arena, s, &list);
        for (size_t i = 0; i < list.count; i++) e->piece_warps[list.items[i].buffer] = inside;
        mark_pieces(e, s->body, inside);
        mark_pieces(e, s->else_body, inside);
    }
}

/* Each thread has its element; they meet by shuffles within warps and in the block's memory between them. */
void sinter_cuda_reduce(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    sinter_dtype dtype = e->function->buffers.items[s->buffer].dtype;
    int64_t count;
    const bool fits =
        sinter_c_spread_dims(e, s->buffer) == 1 && !e->in_thread &&
        e->threads[1] * e->threads[2] == 1 &&
        sinter_loop_is_const_int(e->function->buffers.items[s->buffer].dims[0], &count);
    if (!fits) {
        sinter_c_error(e, "a reduction is not of all threads of the block [emit_c14]");
        return;
    }
    const char *type = sinter_c_type(dtype), *var = e->vars[s->var],
               *operands[] = {"before", "with"}, *last[] = {var, "sinter_all"};
    sinter_text step = {0}, end = {0};
    sinter_c_apply(e, s->combine, dtype, operands, &step);
    sinter_c_apply(e, s->combine, dtype, last, &end);
    sinter_c_write(e, "{");
    sinter_c_write(e, "    const auto sinter_step = [](%s before, %s with) { return (%s)%s; };",
                   type, type, type, sinter_c_strip(e, step.data));
    sinter_c_write(e, "    const %s sinter_all = sinter_reduce<%lld, %s>(%s[0], sinter_step);",
                   type, (long long)count, type, e->buffers[s->buffer]);
    sinter_c_write(e, "    %s = %s;", var, sinter_c_strip(e, end.data));
    sinter_c_write(e, "}");
    e->printed[s->var] = true;
    sinter_text_deinit(&step);
    sinter_text_deinit(&end);
}

/* ---- kernels ---- */

static void write_extents(sinter_c_emitter *e) {
    const sinter_loop_function *kernel = e->function;
    for (size_t i = 0; i < kernel->buffer_parameters.count; i++) {
        sinter_loop_buffer id = kernel->buffer_parameters.items[i];
        const sinter_loop_buffer_info *info = &kernel->buffers.items[id];
        sinter_text count = {0};
        bool known = true;
        for (uint32_t k = 0; k < info->rank && known; k++) {
            known = sinter_loop_expr_over_parameters(kernel, info->dims[k]);
            if (k) sinter_text_append_string(&count, " * ");
            sinter_c_index(e, info->dims[k], &count);
        }
        if (known)
            sinter_c_write(e, "SINTER_EXTENT(%s, %s);", e->buffers[id],
                           count.data ? count.data : "1");
        sinter_text_deinit(&count);
    }
}

typedef struct swizzled_search {
    const sinter_loop_function *kernel;
    bool found;
} swizzled_search;

static bool note_swizzled(void *user, sinter_loop_stmt *stmt) {
    swizzled_search *search = user;
    search->found |=
        stmt->kind == SINTER_LOOP_ALLOC && search->kernel->buffers.items[stmt->buffer].swizzle;
    return true;
}

static bool has_swizzled(const sinter_loop_function *kernel) {
    swizzled_search search = {.kernel = kernel};
    sinter_loop_walk(kernel->body, note_swizzled, &search);
    return search.found;
}

static void write_kernel(sinter_c_emitter *e, uint32_t index) {
    const sinter_loop_function *kernel = e->function;
    sinter_device_launch launch;
    if (!sinter_device_find_launch((sinter_loop_program *)(uintptr_t)e->program,
                                   e->program->kernels.items[index], &launch, e->diag)) {
        e->broken = true;
        return;
    }
    memcpy(e->threads, launch.block, sizeof e->threads);
    e->launch = &launch;
    e->asks_shared = launch.shared_bytes > 0;
    e->asks_swizzled = has_swizzled(kernel);
    e->shared_taken = 0;
    e->piece_warps = NULL;
    mark_pieces(e, kernel->body, 0);
    uint32_t threads = launch.block[0] * launch.block[1] * launch.block[2];
    e->in_thread = threads == 1;
    const char *symbol = sinter_device_symbol(e->program, index, e->arena);
    if (!e->alone) { /* names are there for who reads it, numbers since there are many */
        symbol = sinter_arena_format(e->arena, "kernel_%u_%s", index, kernel->name);
        if (kernel->comment)
            sinter_c_write(e, "/* %s */", sinter_c_comment(e->arena, kernel->comment));
    }
    sinter_text_format(e->text,
                       "extern \"C\" __global__ void __launch_bounds__(%u SINTER_BLOCKS) %s(",
                       threads, symbol);
    sinter_c_parameters(e, "");
    if (e->fails) sinter_text_append_string(e->text, ", failure_place failure");
    if (e->uses.fails) sinter_text_append_string(e->text, ", int64_t sinter_message");
    for (uint32_t i = 0; i < launch.map_count; i++)
        sinter_text_format(e->text, ", const __grid_constant__ sinter_tensor_map sinter_map_%u", i);
    sinter_text_append_string(e->text, ") {\n");
    e->indent = 1;
    write_extents(e);
    if (e->fails) sinter_c_write(e, "if (sinter_failed(failure)) return;");
    sinter_c_statements(e, kernel->body);
    e->indent = 0;
    sinter_c_write(e, "}\n");
}

/* All kernels, into one text or each into its own. */
static bool emit(const sinter_loop_program *program, sinter_text *texts, bool alone,
                 sinter_diag *diag) {
    sinter_loop_program *legal = sinter_legalize(program, NULL, diag);
    if (!legal) return false;
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_c_emitter e = {
        .program = legal, .dialect = &cuda, .arena = &arena, .diag = diag, .alone = alone};
    e.fails = sinter_device_number_messages(legal, &arena)[legal->kernels.count] != 0;
    for (uint32_t i = 0; i < legal->kernels.count && !e.broken; i++)
        if (!sinter_device_is_host_step(legal->kernels.items[i]))
            sinter_c_kernel(&e, i, &texts[alone ? i : 0], write_kernel);
    sinter_arena_deinit(&arena);
    sinter_loop_program_destroy(legal);
    return !e.broken;
}

bool sinter_emit_cuda_code(const sinter_loop_program *program, sinter_text *text,
                           sinter_diag *diag) {
    return emit(program, text, false, diag);
}

void sinter_cuda_write_head(sinter_text *text) {
    sinter_text_append_string(text, prelude);
    sinter_text_append_string(text, sinter_c_scalars);
    sinter_text_append_string(text, "\n");
}

bool sinter_emit_cuda_modules(const sinter_loop_program *program, sinter_text *out_texts,
                              sinter_diag *diag) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    for (size_t i = 0; i < program->kernels.count; i++) {
        const sinter_loop_function *kernel = program->kernels.items[i];
        const bool sums = sinter_cuda_combine_symbol(kernel, &scratch) != NULL;
        if (sums)
            sinter_cuda_write_combine_module(kernel, &out_texts[i]);
        else if (!sinter_device_is_host_step(kernel))
            sinter_cuda_write_head(&out_texts[i]);
    }
    sinter_arena_deinit(&scratch);
    return emit(program, out_texts, true, diag);
}

bool sinter_emit_cuda(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_text_format(text, "/* Compiled by Sinter from %s. */\n\n",
                       sinter_c_comment(&scratch, program->name));
    sinter_arena_deinit(&scratch);
    sinter_cuda_write_head(text);
    return emit(program, text, false, diag);
}
