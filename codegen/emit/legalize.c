/* Statements and tables of legalize. Variables and buffers keep their numbers; only types and expressions change.
 * Host buffers keep their types, which say how many bytes they take: host code does not compute with narrow elements.
 * Test: tests/unit/emit_test.c */
#include "codegen/emit/legalize_expr.h"

static const sinter_expr *rewrite_list(sinter_legalizer *l, const sinter_expr *list,
                                       uint32_t count) {
    if (!count) return NULL;
    sinter_expr *result = SINTER_NEW_ARRAY(l->build.arena, sinter_expr, count);
    for (uint32_t i = 0; i < count; i++) result[i] = sinter_legal_expr(l, list[i]);
    return result;
}

/* ---- stores ---- */

static sinter_expr load_element(sinter_legalizer *l, sinter_loop_buffer buffer,
                                const sinter_expr *indices) {
    const sinter_loop_buffer_info *info = &l->source->buffers.items[buffer];
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_LOAD,
                                .dtype = info->dtype,
                                .buffer = buffer,
                                .arguments = indices,
                                .argument_count = info->rank};
    return sinter_legal_expr(l, sinter_loop_expr_make(l->build.arena, &pattern));
}

/* Replaces the bits of one element in its byte. */
static void store_sub_byte(sinter_legalizer *l, sinter_loop_stmt *s, sinter_dtype dtype,
                           sinter_expr value) {
    sinter_loop_builder *b = &l->build;
    sinter_expr byte, shift;
    sinter_legal_place(l, s->buffer, s->arguments, &byte, &shift);
    sinter_expr low =
        sinter_loop_const_int(b, SINTER_DTYPE_u8, (1 << sinter_dtype_infos[dtype].bits) - 1);
    sinter_expr mask = sinter_loop_call(b, SINTER_SCALAR_shl, (sinter_expr[]){low, shift});
    sinter_expr others =
        sinter_loop_call(b, SINTER_SCALAR_and,
                         (sinter_expr[]){sinter_loop_load(b, s->buffer, &byte),
                                         sinter_loop_call(b, SINTER_SCALAR_not, &mask)});
    sinter_expr bits = sinter_loop_call(
        b, SINTER_SCALAR_and, (sinter_expr[]){sinter_loop_cast(b, value, SINTER_DTYPE_u8), low});
    bits = sinter_loop_call(b, SINTER_SCALAR_shl, (sinter_expr[]){bits, shift});
    s->value = sinter_loop_call(b, SINTER_SCALAR_or, (sinter_expr[]){others, bits});
    s->arguments = sinter_arena_copy(b->arena, &byte, sizeof byte);
    s->argument_count = 1;
}

static void rewrite_store(sinter_legalizer *l, sinter_loop_stmt *s,
                          const sinter_loop_stmt *source) {
    sinter_dtype dtype = l->source->buffers.items[s->buffer].dtype;
    bool sub_byte = sinter_dtype_infos[dtype].bits < 8;
    bool narrow = sub_byte || (sinter_dtype_is_float(dtype) && sinter_dtype_infos[dtype].bits < 32);
    sinter_expr value = sinter_legal_expr(l, source->value);
    if (narrow && s->combine != SINTER_SCALAR_NONE) {
        if (s->atomic) {
            sinter_error(l->diag, l->source->name, "atomic update of %s elements [legalize_c1]",
                         sinter_dtype_infos[dtype].name);
            l->failed = true;
        }
        sinter_expr operands[] = {load_element(l, s->buffer, source->arguments), value};
        value = sinter_legal_call(l, s->combine, dtype, operands);
        s->combine = SINTER_SCALAR_NONE;
    }
    s->value = value;
    if (sub_byte) store_sub_byte(l, s, dtype, value);
}

/* ---- lists ---- */

static sinter_loop_stmt *rewrite_statements(sinter_legalizer *l, const sinter_loop_stmt *first) {
    sinter_loop_stmt *result = NULL, **tail = &result;
    for (const sinter_loop_stmt *source = first; source; source = source->next) {
        sinter_loop_stmt *s = sinter_arena_copy(l->build.arena, source, sizeof *source);
        if (s->lower) s->lower = sinter_legal_expr(l, s->lower);
        if (s->upper) s->upper = sinter_legal_expr(l, s->upper);
        s->arguments = rewrite_list(l, s->arguments, s->argument_count);
        if (s->kind == SINTER_LOOP_STORE)
            rewrite_store(l, s, source);
        else if (s->value)
            s->value = sinter_legal_expr(l, s->value);
        if (l->fuses) s->value = sinter_legal_sum(l, s, s->value);
        bool fuses =
            l->fuses; /* the loops of an instruction of a warp are recognised as they are */
        if (s->kind == SINTER_LOOP_FOR &&
            (s->axis == SINTER_AXIS_MMA || s->axis == SINTER_AXIS_WGMMA))
            l->fuses = false;
        s->body = rewrite_statements(l, s->body);
        l->fuses = fuses;
        s->else_body = rewrite_statements(l, s->else_body);
        s->next = NULL;
        *tail = s;
        tail = &s->next;
    }
    return result;
}

/* ---- functions ---- */

/* Sub-byte elements: the bytes that hold them, in one dim. */
static void rewrite_buffer(sinter_legalizer *l, sinter_loop_buffer_info *info) {
    uint32_t bits = sinter_dtype_infos[info->dtype].bits;
    if (bits < 8) {
        sinter_expr count = sinter_loop_int(&l->build, 1);
        for (uint32_t k = 0; k < info->rank; k++)
            count = sinter_loop_mul(&l->build, count, sinter_legal_expr(l, info->dims[k]));
        sinter_expr per_byte = sinter_loop_int(&l->build, 8 / bits);
        count = sinter_loop_add(&l->build, count, sinter_loop_int(&l->build, 8 / bits - 1));
        count = sinter_loop_div(&l->build, count, per_byte);
        info->dims = sinter_arena_copy(l->build.arena, &count, sizeof count);
        info->rank = 1;
        info->dtype = SINTER_DTYPE_u8;
        return;
    }
    info->dims = rewrite_list(l, info->dims, info->rank);
    info->dtype = sinter_legal_dtype(l, info->dtype);
}

static sinter_loop_function *begin_function(sinter_legalizer *l, sinter_loop_program *program,
                                            const sinter_loop_function *source, bool is_host) {
    sinter_loop_function *copy = sinter_loop_function_create(program, source->name);
    copy->name = source->name;
    copy->comment = source->comment;
    copy->vars.count = copy->buffers.count = 0;
    l->source = source;
    l->is_host = is_host;
    for (size_t i = 0; i < source->vars.count; i++) {
        sinter_loop_var_info info = source->vars.items[i];
        if (i) info.dtype = sinter_legal_dtype(l, info.dtype);
        sinter_vector_push(&program->arena, &copy->vars, info);
    }
    for (size_t i = 0; i < source->buffers.count; i++)
        sinter_vector_push(&program->arena, &copy->buffers, source->buffers.items[i]);
    for (size_t i = 0; i < source->buffer_parameters.count; i++)
        sinter_vector_push(&program->arena, &copy->buffer_parameters,
                           source->buffer_parameters.items[i]);
    for (size_t i = 0; i < source->scalar_parameters.count; i++)
        sinter_vector_push(&program->arena, &copy->scalar_parameters,
                           source->scalar_parameters.items[i]);
    sinter_loop_builder_init(&l->build, program, copy);
    sinter_map_init(&l->rewritten, &l->scratch);
    for (size_t i = 1; i < source->buffers.count; i++) {
        sinter_loop_buffer_info *info = &copy->buffers.items[i];
        if (is_host)
            info->dims = rewrite_list(l, info->dims, info->rank);
        else
            rewrite_buffer(l, info);
    }
    l->fuses = !is_host && sinter_legal_may_fuse(l, source);
    copy->body = rewrite_statements(l, source->body);
    return copy;
}

/* Expressions of the program itself are over the host's variables. */
static void copy_face(sinter_legalizer *l, sinter_loop_program *copy,
                      const sinter_loop_program *program) {
    sinter_arena *arena = &copy->arena;
    for (size_t i = 0; i < program->inputs.count; i++)
        sinter_vector_push(arena, &copy->inputs, program->inputs.items[i]);
    for (size_t i = 0; i < program->outputs.count; i++) {
        sinter_loop_io io = program->outputs.items[i];
        sinter_expr *dims = SINTER_NEW_ARRAY(arena, sinter_expr, io.rank + 1);
        for (uint32_t k = 0; k < io.rank; k++)
            if (io.dim_exprs && io.dim_exprs[k]) dims[k] = sinter_legal_expr(l, io.dim_exprs[k]);
        io.dim_exprs = dims;
        sinter_vector_push(arena, &copy->outputs, io);
    }
    for (size_t i = 0; i < program->symbols.count; i++)
        sinter_vector_push(arena, &copy->symbols, program->symbols.items[i]);
    for (size_t i = 0; i < program->checks.count; i++) {
        sinter_loop_check check = program->checks.items[i];
        check.expected = sinter_legal_expr(l, check.expected);
        sinter_vector_push(arena, &copy->checks, check);
    }
    copy->donations.items =
        sinter_arena_copy(&copy->arena, program->donations.items,
                          program->donations.count * sizeof *copy->donations.items);
    copy->donations.count = copy->donations.capacity = program->donations.count;
    if (program->workspace_bytes)
        copy->workspace_bytes = sinter_legal_expr(l, program->workspace_bytes);
}

sinter_loop_program *sinter_legalize(const sinter_loop_program *program,
                                     const sinter_target *target, sinter_diag *diag) {
    sinter_legalizer l = {.target = target, .diag = diag};
    sinter_arena_init(&l.scratch);
    sinter_loop_program *copy = sinter_loop_program_create(program->name);
    copy->name = program->name;
    for (size_t i = 0; i < program->constants.count; i++) {
        sinter_loop_constant constant = {0};
        sinter_tensor_copy(&constant.tensor, &program->constants.items[i].tensor);
        sinter_vector_push(&copy->arena, &copy->constants, constant);
    }
    for (size_t i = 0; i < program->kernels.count; i++)
        sinter_vector_push(&copy->arena, &copy->kernels,
                           begin_function(&l, copy, program->kernels.items[i], false));
    if (program->host) {
        copy->host = begin_function(&l, copy, program->host, true);
        copy_face(&l, copy, program);
    }
    sinter_arena_deinit(&l.scratch);
    if (!l.failed) return copy;
    sinter_loop_program_destroy(copy);
    return NULL;
}
