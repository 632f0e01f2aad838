/* Constants in the order in which kernels read them. While kernels are scheduled, packings are promises; when all are known, each constant is
 * packed once a layout, in place where nobody wants it as it was. Needs: the program's constants. Guarantees: every call passes
 * what its kernel expects. Test: tests/codegen/schedule/pack.loops, shared_constant.test, tests/codegen/emit_cuda/convolution_weights.sir */
#include "codegen/schedule/promise.h"

#include <string.h>

/* ---- by constant ---- */

typedef struct reads {
    const sinter_loop_function *host;
    sinter_schedule_constant_visitor visit;
    void *user;
} reads;

static void read_one(const reads *r, sinter_loop_buffer buffer, const sinter_loop_stmt *call,
                     uint32_t argument) {
    const sinter_loop_buffer_info *info = &r->host->buffers.items[buffer];
    if (buffer && info->scope == SINTER_SCOPE_CONSTANT)
        r->visit(r->user, info->constant, call, argument);
}

static void read_expr(void *user, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_LOAD) read_one(user, expr->buffer, NULL, 0);
}

static bool read_stmt(void *user, sinter_loop_stmt *stmt) {
    const reads *r = user;
    sinter_loop_walk_stmt_exprs(stmt, read_expr, user);
    if (stmt->kind == SINTER_LOOP_BIND) read_one(r, stmt->source, NULL, 0);
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL) return true;
    for (uint32_t i = 0; i < stmt->buffer_argument_count; i++)
        read_one(r, stmt->buffer_arguments[i], stmt, i);
    return true;
}

void sinter_schedule_visit_constants(const sinter_loop_program *program,
                                     sinter_schedule_constant_visitor visit, void *user) {
    reads r = {program->host, visit, user};
    sinter_loop_walk(program->host->body, read_stmt, &r);
}

void sinter_schedule_pass(sinter_loop_program *program, sinter_loop_stmt *call, uint32_t argument,
                          sinter_loop_buffer buffer) {
    sinter_loop_buffer *arguments = sinter_arena_copy(
        &program->arena, call->buffer_arguments, call->buffer_argument_count * sizeof *arguments);
    arguments[argument] = buffer;
    call->buffer_arguments = arguments;
}

sinter_tensor sinter_schedule_constant_as(const sinter_loop_program *program, uint32_t constant,
                                          const sinter_expr *dims, uint32_t rank) {
    sinter_tensor tensor = program->constants.items[constant].tensor;
    tensor.rank = rank;
    for (uint32_t i = 0; i < rank; i++) sinter_loop_is_const_int(dims[i], &tensor.dims[i]);
    return tensor;
}

/* ---- promises ---- */

const sinter_schedule_promise *
sinter_schedule_find_promise(const sinter_schedule_promises *promises, uint32_t kernel,
                             uint32_t parameter) {
    for (size_t i = 0; i < promises->count; i++)
        if (promises->items[i].kernel == kernel && promises->items[i].parameter == parameter)
            return &promises->items[i];
    return NULL;
}

/* ---- packing ---- */

static bool same_layout(const sinter_layout *a, const sinter_layout *b) {
    if (a->rank != b->rank) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->axes[i].dim != b->axes[i].dim || a->axes[i].divide != b->axes[i].divide ||
            a->axes[i].modulo != b->axes[i].modulo)
            return false;
    return true;
}

/* The packed form of a host constant. */
typedef struct packed_form {
    uint32_t source; /* constant in the program, as it was */
    sinter_expr *source_dims;
    uint32_t source_rank;
    sinter_layout layout;
    sinter_loop_buffer buffer; /* new one of the host */
} packed_form;

typedef struct packer {
    sinter_loop_program *program;
    const sinter_schedule_promises *promises;
    sinter_arena *scratch;
    sinter_diag *diag;
    sinter_loop_builder host;
    SINTER_VECTOR(packed_form) forms;
    bool *kept; /* by constant: somebody reads it as it was */
} packer;

static bool same_shape(const sinter_loop_buffer_info *info, const packed_form *form) {
    if (info->rank != form->source_rank) return false;
    for (uint32_t i = 0; i < info->rank; i++)
        if (!sinter_loop_expr_equal(info->dims[i], form->source_dims[i])) return false;
    return true;
}

/* A buffer of the host for this form of the constant behind `buffer`; its data comes later. */
static sinter_loop_buffer find_form(packer *p, sinter_loop_buffer buffer,
                                    const sinter_layout *layout) {
    sinter_loop_program *program = p->program;
    const sinter_loop_buffer_info info = program->host->buffers.items[buffer];
    for (size_t i = 0; i < p->forms.count; i++) {
        const packed_form *form = &p->forms.items[i];
        if (form->source == info.constant && same_layout(&form->layout, layout) &&
            same_shape(&info, form))
            return form->buffer;
    }
    sinter_expr dims[SINTER_MAX_RANK];
    for (uint32_t a = 0; a < layout->rank; a++) {
        const sinter_layout_axis *axis = &layout->axes[a];
        sinter_expr divide = sinter_loop_int(&p->host, axis->divide);
        sinter_expr rounded = sinter_loop_add(&p->host, info.dims[axis->dim],
                                              sinter_loop_int(&p->host, axis->divide - 1));
        dims[a] = axis->modulo ? sinter_loop_int(&p->host, axis->modulo)
                               : sinter_loop_div(&p->host, rounded, divide);
    }
    packed_form form = {.source = info.constant,
                        .source_rank = info.rank,
                        .source_dims =
                            sinter_arena_copy(p->scratch, info.dims, info.rank * sizeof *info.dims),
                        .layout = *layout};
    form.buffer = sinter_loop_add_buffer(&p->host, info.name, info.dtype, layout->rank, dims,
                                         SINTER_SCOPE_CONSTANT);
    sinter_vector_push(p->scratch, &p->forms, form);
    return form.buffer;
}

/* What is read where nothing was promised stays. */
static void keep(void *user, uint32_t constant, const sinter_loop_stmt *call, uint32_t argument) {
    packer *p = user;
    if (!call || !sinter_schedule_find_promise(p->promises, call->kernel, argument))
        p->kept[constant] = true;
}

static bool redirect(void *user, sinter_loop_stmt *stmt) {
    packer *p = user;
    if (stmt->kind != SINTER_LOOP_CALL_KERNEL) return true;
    for (uint32_t i = 0; i < stmt->buffer_argument_count; i++) {
        const sinter_schedule_promise *promise =
            sinter_schedule_find_promise(p->promises, stmt->kernel, i);
        if (promise)
            sinter_schedule_pass(p->program, stmt, i,
                                 find_form(p, stmt->buffer_arguments[i], &promise->layout));
    }
    return true;
}

/* The constant's data in its new order, where the old one was or behind all others. */
static bool pack_form(packer *p, packed_form *form, bool last) {
    sinter_loop_program *program = p->program;
    sinter_tensor source =
        sinter_schedule_constant_as(program, form->source, form->source_dims, form->source_rank);
    sinter_loop_constant packed = {{0}};
    if (!sinter_layout_pack(&form->layout, &source, &packed.tensor, p->diag)) return false;
    sinter_storage_drop_pages(source.storage, source.data, sinter_tensor_bytes(&source));
    uint32_t index = form->source;
    if (p->kept[form->source] || !last) {
        index = (uint32_t)program->constants.count;
        sinter_vector_push(&program->arena, &program->constants, packed);
    } else {
        sinter_tensor_deinit(&program->constants.items[index].tensor);
        program->constants.items[index] = packed;
    }
    program->host->buffers.items[form->buffer].constant = index;
    return true;
}

/* Buffers of the host that nobody passes any more describe what is not there any more. */
static void forget_unused(packer *p) {
    sinter_loop_function *host = p->program->host;
    for (size_t i = 1; i < host->buffers.count; i++) {
        sinter_loop_buffer_info *info = &host->buffers.items[i];
        bool packed = false;
        for (size_t k = 0; k < p->forms.count; k++) packed |= p->forms.items[k].buffer == i;
        if (info->scope != SINTER_SCOPE_CONSTANT || packed || p->kept[info->constant]) continue;
        for (size_t k = 0; k < p->forms.count; k++)
            if (p->forms.items[k].source == info->constant) {
                const sinter_loop_buffer_info *form =
                    &host->buffers.items[p->forms.items[k].buffer];
                info->rank = form->rank;
                info->dims = form->dims;
                info->constant = form->constant;
                break;
            }
    }
}

bool sinter_schedule_keep_promises(sinter_loop_program *program,
                                   const sinter_schedule_promises *promises, sinter_arena *scratch,
                                   sinter_diag *diag) {
    if (!promises->count || !program->host) return true;
    packer p = {.program = program, .promises = promises, .scratch = scratch, .diag = diag};
    sinter_loop_builder_init(&p.host, program, program->host);
    p.kept = SINTER_NEW_ARRAY(scratch, bool, program->constants.count);
    sinter_schedule_visit_constants(program, keep, &p);
    sinter_loop_walk(program->host->body, redirect, &p);
    bool good = true;
    for (size_t i = 0; good && i < p.forms.count; i++) {
        bool last = true;
        for (size_t k = i + 1; k < p.forms.count; k++)
            last &= p.forms.items[k].source != p.forms.items[i].source;
        good = pack_form(&p, &p.forms.items[i], last);
    }
    if (good) forget_unused(&p);
    return good;
}
