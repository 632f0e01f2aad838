/* Plain interpreter of the loop IR, the oracle of schedules and emitters: axes of every kind run one iteration after
 * the other. It runs the code that code.c makes.
 * Needs: a program that the verifier accepts. Guarantees: every access is checked against the dims of its buffer and
 * every load against what was written, so a wrong program is an error with the buffer and the index, never a wild read.
 * Heap buffers with an offset live in one workspace, so a plan that lets two live buffers overlap is found too.
 * Test: tests/unit/loop_test.c */
#include "codegen/loops/box.h"
#include "codegen/loops/code.h"
#include "codegen/loops/under_way.h"
#include "codegen/loops/uses.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Memory behind buffers. written has a sinter_byte_state for each byte of data, NULL where all of it is defined. */
typedef struct block {
    unsigned char *data, *written;
    size_t size;
    struct block *next;
} block;

typedef struct view {
    block *memory;        /* NULL: not allocated, not bound, or freed */
    sinter_tensor tensor; /* dtype, dims, data inside memory */
    size_t bytes;
    size_t capacity; /* of an own allocation, to use it again */
    bool read_only;
} view;

typedef struct machine {
    const sinter_loop_program *program;
    sinter_diag *diag;
    sinter_arena arena;
    sinter_code **kernels; /* compiled when first called */
    block *blocks;         /* all, for release at the end */
    block *workspace;
    sinter_tensor *outputs; /* of the host */
} machine;

typedef struct frame {
    machine *machine;
    const sinter_code *code;
    sinter_code_value *registers;
    view *views;
    sinter_under_way copies, products;
    sinter_under_way_boxes boxes;
    const char *nodes; /* that the call is for; NULL: not said */
    bool is_host;
} frame;

static bool fail(frame *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(frame *f, const char *format, ...) {
    sinter_text message = {0};
    va_list list;
    va_start(list, format);
    sinter_text_format_list(&message, format, list);
    va_end(list);
    sinter_text where = {0};
    sinter_text_format(&where, "%s @%s", f->is_host ? "host" : "kernel", f->code->function->name);

    sinter_error(f->machine->diag, where.data, "%s", message.data ? message.data : "");
    sinter_text_deinit(&where);
    sinter_text_deinit(&message);
    return false;
}

static const char *name_of(const frame *f, uint32_t buffer) {
    return f->code->function->buffers.items[buffer].name;
}

/* ---- memory ---- */

static block *make_block(machine *m, size_t size) {
    block *result = SINTER_NEW(&m->arena, block);
    result->data = sinter_heap_alloc(size ? size : 1);
    result->written = sinter_heap_alloc(size ? size : 1);
    result->size = size;
    result->next = m->blocks;
    m->blocks = result;
    return result;
}

/* Memory of a tensor: the caller's, or an output's with nothing written yet. */
static block *borrow_block(machine *m, const sinter_tensor *tensor, bool is_defined) {
    block *result = SINTER_NEW(&m->arena, block);
    result->data = (unsigned char *)(uintptr_t)tensor->data;
    result->size = sinter_tensor_bytes(tensor);
    if (!is_defined) result->written = sinter_arena_alloc(&m->arena, result->size);
    return result;
}

static void release(machine *m) {
    for (block *b = m->blocks; b; b = b->next) {
        sinter_heap_free(b->data);
        sinter_heap_free(b->written);
    }
    sinter_arena_deinit(&m->arena);
}

/* Dims from registers into the view's tensor; the count of bytes must make sense. */
static bool set_dims(frame *f, const sinter_code_instruction *at) {
    view *v = &f->views[at->a];
    const sinter_loop_buffer_info *info = &f->code->function->buffers.items[at->a];
    const uint32_t *operands = f->code->operands.items + at->b;
    uint64_t count = 1, bytes;
    sinter_tensor *tensor = &v->tensor;
    if (info->rank > SINTER_MAX_RANK)
        return fail(f, "buffer %%%s has rank %u", info->name, info->rank);
    tensor->kind = SINTER_TYPE_TENSOR;
    tensor->dtype = info->dtype;
    tensor->rank = info->rank;
    for (uint32_t i = 0; i < info->rank; i++) {
        int64_t dim = f->registers[operands[i]].i;
        tensor->dims[i] = dim;
        if (dim < 0 || __builtin_mul_overflow(count, (uint64_t)dim, &count))
            return fail(f, "buffer %%%s: dim %u is %" PRId64, info->name, i, dim);
    }
    if (!sinter_dtype_bytes(info->dtype, count, &bytes) || bytes > (uint64_t)1 << 40)
        return fail(f, "buffer %%%s is too large", info->name);
    v->bytes = (size_t)bytes;
    return true;
}

static bool alloc_output(frame *f, const sinter_code_instruction *at) {
    const sinter_loop_buffer_info *info = &f->code->function->buffers.items[at->a];
    view *v = &f->views[at->a];
    machine *m = f->machine;
    if (!f->is_host || info->io_index < 0 || (size_t)info->io_index >= m->program->outputs.count)
        return fail(f, "alloc of %%%s, which is a parameter", info->name);
    sinter_tensor *output = &m->outputs[info->io_index];
    if (output->kind != SINTER_TYPE_NONE)
        return fail(f, "output %%%s is allocated twice", info->name);
    if (!sinter_tensor_create(output, info->dtype, v->tensor.rank, v->tensor.dims, m->diag))
        return false;
    v->memory = borrow_block(m, output, false);
    v->tensor.data = v->memory->data;
    return true;
}

static bool alloc(frame *f, const sinter_code_instruction *at) {
    const sinter_loop_buffer_info *info = &f->code->function->buffers.items[at->a];
    view *v = &f->views[at->a];
    machine *m = f->machine;
    if (!set_dims(f, at)) return false;
    if (info->scope == SINTER_SCOPE_OUTPUT) return alloc_output(f, at);
    size_t offset = 0;
    if (at->c) {
        int64_t wanted = f->registers[at->c].i;
        if (!m->workspace)
            return fail(f, "buffer %%%s has an offset, but the program has no workspace",
                        info->name);
        if (wanted < 0 || (size_t)wanted > m->workspace->size ||
            v->bytes > m->workspace->size - (size_t)wanted)
            return fail(f,
                        "buffer %%%s: %zu bytes at offset %" PRId64
                        " do not fit the workspace of %zu bytes",
                        info->name, v->bytes, wanted, m->workspace->size);
        offset = (size_t)wanted;
        v->memory = m->workspace;
    } else if (!v->memory || v->capacity < v->bytes) {
        v->memory = make_block(m, v->bytes);
        v->capacity = v->bytes;
    }
    v->tensor.data = v->memory->data + offset;
    memset(v->memory->written + offset,
           info->arrivals ? SINTER_BYTE_WRITTEN : SINTER_BYTE_UNWRITTEN, v->bytes);
    if (info->arrivals) memset(v->memory->data + offset, 0, v->bytes);
    const unsigned char *written = v->memory->written + offset;
    sinter_under_way_forget(&f->copies, written, v->bytes);
    sinter_under_way_forget(&f->products, written, v->bytes);
    if (!sinter_under_way_forget_boxes(&f->boxes, written, v->bytes))
        return fail(f, "%%%s is made anew while a box is copied to it", info->name);
    return true;
}

static void free_buffer(frame *f, uint32_t buffer) {
    view *freed = &f->views[buffer];
    size_t count = f->code->function->buffers.count;
    const unsigned char *first = freed->tensor.data;
    for (size_t i = 1; first && i < count; i++) { /* with everything that was bound to it */
        view *v = &f->views[i];
        const unsigned char *data = v->tensor.data;
        bool inside =
            v->memory == freed->memory && data >= first && data + v->bytes <= first + freed->bytes;
        if (v != freed && inside && f->code->function->buffers.items[i].scope == SINTER_SCOPE_ALIAS)
            v->memory = NULL;
    }
    if (freed->capacity) { /* memory of its own */
        sinter_heap_free(freed->memory->data);
        sinter_heap_free(freed->memory->written);
        freed->memory->data = freed->memory->written = NULL;
    }
    freed->memory = NULL;
    freed->capacity = 0;
}

/* BIND, and TAKE, after which the source has no memory. */
static bool bind(frame *f, const sinter_code_instruction *at) {
    view *v = &f->views[at->a], *source = &f->views[at->result];
    const char *name = name_of(f, at->a);
    if (!source->memory)
        return fail(f, "%%%s is bound to %%%s, which has no memory", name, name_of(f, at->result));
    if (!set_dims(f, at)) return false;
    int64_t offset = at->c ? f->registers[at->c].i : 0;
    uint64_t bits = (uint64_t)offset * sinter_dtype_infos[v->tensor.dtype].bits;
    if (offset < 0 || bits % 8 || bits / 8 > source->bytes || v->bytes > source->bytes - bits / 8)
        return fail(f, "%%%s: %zu bytes at element %" PRId64 " are not inside %%%s of %zu bytes",
                    name, v->bytes, offset, name_of(f, at->result), source->bytes);
    v->memory = source->memory;
    v->tensor.data = (const unsigned char *)source->tensor.data + bits / 8;
    v->read_only = source->read_only;
    if (at->op == SINTER_CODE_TAKE) {
        v->capacity = source->capacity;
        *source = (view){.tensor = {.dtype = source->tensor.dtype}};
    }
    return true;
}

/* A parameter has memory of the caller's; its dims are what the function says, its size must agree. */
static bool check_parameter(frame *f, const sinter_code_instruction *at) {
    view *v = &f->views[at->a];
    if (!v->memory) return true; /* an output that an alloc makes */
    size_t given = v->bytes;
    sinter_tensor caller = v->tensor;
    if (!set_dims(f, at)) return false;
    if (given != v->bytes || caller.dtype != v->tensor.dtype)
        return fail(f, "parameter %%%s: expected %s of %zu bytes, got %s of %zu bytes",
                    name_of(f, at->a), sinter_dtype_infos[v->tensor.dtype].name, v->bytes,
                    sinter_dtype_infos[caller.dtype].name, given);
    return true;
}

/* ---- elements ---- */

static bool report_index(frame *f, const sinter_code_instruction *at, uint32_t axis) {
    const view *v = &f->views[at->a];
    const uint32_t *operands = f->code->operands.items + at->b;
    sinter_text indices = {0};
    for (uint32_t i = 0; i < v->tensor.rank; i++)
        sinter_text_format(&indices, "%s%" PRId64, i ? "," : "", f->registers[operands[i]].i);
    fail(f, "%s %%%s[%s] is out of bounds: dim %u is %" PRId64,
         at->op == SINTER_CODE_LOAD ? "load of" : "store to", name_of(f, at->a), indices.data, axis,
         v->tensor.dims[axis]);
    sinter_text_deinit(&indices);
    return false;
}

/* Row-major index of the element, checked. */
static bool locate(frame *f, const sinter_code_instruction *at, int64_t *out_index) {
    const view *v = &f->views[at->a];
    if (!v->memory) return fail(f, "%%%s is used without memory", name_of(f, at->a));
    const uint32_t *operands = f->code->operands.items + at->b;
    int64_t index = 0;
    for (uint32_t i = 0; i < v->tensor.rank; i++) {
        int64_t part = f->registers[operands[i]].i;
        if (part < 0 || part >= v->tensor.dims[i]) return report_index(f, at, i);
        index = index * v->tensor.dims[i] + part;
    }
    *out_index = index;
    return true;
}

/* Where the element starts in the bytes of its block; elements below a byte share one. */
static size_t element_offset(const view *v, int64_t index) {
    size_t start = (size_t)((const unsigned char *)v->tensor.data - v->memory->data);
    return start + (size_t)((uint64_t)index * sinter_dtype_infos[v->tensor.dtype].bits / 8);
}

static bool load(frame *f, const sinter_code_instruction *at, sinter_code_value *result) {
    const view *v = &f->views[at->a];
    int64_t index;
    if (!locate(f, at, &index)) return false;
    unsigned char *written =
        v->memory->written ? v->memory->written + element_offset(v, index) : NULL;
    const sinter_byte_state state = written ? sinter_byte_kind(*written) : SINTER_BYTE_WRITTEN;
    const bool multiplies = at->op == SINTER_CODE_LOAD && at->c,
               sums = f->code->function->buffers.items[at->a].scope == SINTER_SCOPE_REGISTER;
    if (state != SINTER_BYTE_WRITTEN && state != SINTER_BYTE_OPERAND &&
        !(multiplies && state == SINTER_BYTE_SUM))
        return fail(f, "load of %%%s reads element %" PRId64 ", which %s", name_of(f, at->a), index,
                    state == SINTER_BYTE_COPIED ? "a copy under way writes"
                    : state == SINTER_BYTE_SUM  ? "a product under way adds to"
                                                : "nothing has written");
    if (multiplies && written && !sums)
        sinter_under_way_begin(&f->products, &f->machine->arena, written,
                               sinter_dtype_infos[v->tensor.dtype].bits / 8, SINTER_BYTE_OPERAND);
    sinter_code_read_element(&v->tensor, index, result);
    return true;
}

static bool store(frame *f, const sinter_code_instruction *at) {
    view *v = &f->views[at->a];
    int64_t index;
    if (!locate(f, at, &index)) return false;
    if (v->read_only) return fail(f, "store to %%%s, which is read only", name_of(f, at->a));
    sinter_code_value value = f->registers[at->c];
    if (at->function) {
        sinter_code_value before;
        if (!load(f, at, &before)) return false;
        sinter_scalar arguments[2] = {sinter_code_to_scalar(v->tensor.dtype, before),
                                      sinter_code_to_scalar(v->tensor.dtype, value)};
        value = sinter_code_from_scalar(
            sinter_scalar_apply((sinter_scalar_function)at->function, arguments));
    }
    sinter_code_write_element(&v->tensor, index, &value);
    if (v->memory->written) {
        const size_t bits = sinter_dtype_infos[v->tensor.dtype].bits,
                     size = bits < 8 ? 1 : bits / 8;
        unsigned char *written = v->memory->written + element_offset(v, index);
        const bool copies = at->stmt && at->stmt->asynchronous, multiplies = at->result;
        const sinter_byte_state state = sinter_byte_kind(*written);
        if (state >= SINTER_BYTE_COPIED && !(state == SINTER_BYTE_SUM && multiplies))
            return fail(f, "store to %%%s writes element %" PRId64 ", which a %s",
                        name_of(f, at->a), index,
                        state == SINTER_BYTE_COPIED ? "copy under way writes"
                        : state == SINTER_BYTE_SUM  ? "product under way adds to"
                                                    : "product under way reads");
        if (copies || multiplies)
            sinter_under_way_begin(multiplies ? &f->products : &f->copies, &f->machine->arena,
                                   written, size,
                                   multiplies ? SINTER_BYTE_SUM : SINTER_BYTE_COPIED);
        else
            memset(written, SINTER_BYTE_WRITTEN, size);
    }
    return true;
}

/* ---- phases ---- */

/* Of boxes that are there once a phase is over. */
static const void *counter_of(const frame *f, uint32_t buffer, int64_t index) {
    return (const uint64_t *)f->views[buffer].tensor.data + index;
}

/* An element counts the warps that have arrived, of all phases. */
static bool meet(frame *f, const sinter_code_instruction *at) {
    int64_t index;
    sinter_code_value arrived;
    if (!locate(f, at, &index)) return false;
    const sinter_tensor *tensor = &f->views[at->a].tensor;
    const int64_t each = f->code->function->buffers.items[at->a].arrivals;
    sinter_code_read_element(tensor, index, &arrived);
    if (at->op == SINTER_CODE_ARRIVE) {
        arrived.i += at->c;
        sinter_code_write_element(&f->views[at->a].tensor, index, &arrived);
        return true;
    }
    const int64_t phase = f->registers[at->c].i, over = arrived.i / each;
    if (phase + 1 == over) {
        sinter_under_way_end_boxes(&f->boxes, counter_of(f, at->a, index), phase);
        return true;
    }
    return fail(f, "phase %" PRId64 " of %%%s[%" PRId64 "] is awaited, %" PRId64 " are over%s",
                phase, name_of(f, at->a), index, over,
                phase < over ? ": it can't be told from a later one" : "");
}

/* The box is for the phase that comes next. */
static bool copy_box(frame *f, const sinter_code_instruction *at) {
    const sinter_loop_function *function = f->code->function;
    const sinter_loop_box box = sinter_loop_box_of(at->stmt);
    view *to = &f->views[box.to];
    const view *from = &f->views[box.from], *phases = &f->views[box.phases];
    const uint32_t first = box.first_rank, rank = box.rank,
                   *operands = f->code->operands.items + at->b + first;
    int64_t lists[4 * SINTER_BOX_MAX_RANK], index, count;
    sinter_code_value arrived;
    if (!locate(f, at, &index)) return false;
    const int64_t phase = f->registers[operands[0]].i;
    for (uint32_t i = 0; i < 4 * rank; i++) lists[i] = f->registers[operands[1 + i]].i;
    if (!phases->memory || phase < 0 || phase >= phases->tensor.dims[0])
        return fail(f, "a box is for phases %" PRId64 " of %%%s", phase, name_of(f, box.phases));
    const sinter_code_box numbers = {rank, lists, lists + rank, lists + 2 * (size_t)rank,
                                     lists + 3 * (size_t)rank};
    const char *wrong = sinter_code_copy_box(&numbers, &from->tensor, &to->tensor, index, &count);
    if (wrong) return fail(f, "box to %%%s: %s", name_of(f, box.to), wrong);
    sinter_code_read_element(&phases->tensor, phase, &arrived);
    const sinter_under_way_box begun = {
        .states = to->memory->written + element_offset(to, index),
        .size = (size_t)count * sinter_dtype_infos[to->tensor.dtype].bits / 8,
        .counter = counter_of(f, box.phases, phase),
        .phase = arrived.i / function->buffers.items[box.phases].arrivals};
    for (size_t i = 0; i < begun.size; i++)
        if (sinter_byte_kind(begun.states[i]) >= SINTER_BYTE_COPIED)
            return fail(f, "a box goes to %%%s while something under way touches byte %zu of it",
                        name_of(f, box.to), i);
    sinter_under_way_begin_box(&f->boxes, &f->machine->arena, &begun);
    return true;
}

/* ---- failures ---- */

/* "%0 of %1" with the arguments put in. */
static bool fail_by_program(frame *f, const sinter_code_instruction *at) {
    const sinter_loop_stmt *stmt = at->stmt;
    if (stmt->kind == SINTER_LOOP_EXCHANGE)
        return fail(f, "ranks exchange here, and the interpreter is one by itself");
    sinter_text message = {0};
    for (const char *c = stmt->text; *c; c++) {
        uint32_t index =
            c[0] == '%' && c[1] >= '0' && c[1] <= '9' ? (uint32_t)(c[1] - '0') : UINT32_MAX;
        if (index < stmt->argument_count) {
            sinter_text_format(&message, "%" PRId64,
                               f->registers[f->code->operands.items[at->b + index]].i);
            c++;
        } else {
            sinter_text_append(&message, c, 1);
            c += c[0] == '%' && c[1] == '%';
        }
    }
    const char *place = sinter_loop_failure_place(&f->machine->arena, f->nodes);
    fail(f, "%s%s (status %d)", message.data ? message.data : "", place, stmt->code);
    sinter_text_deinit(&message);
    return false;
}

/* ---- frames ---- */

static void frame_init(frame *f, machine *m, const sinter_code *code) {
    size_t count = code->registers.count, buffers = code->function->buffers.count;
    *f = (frame){.machine = m, .code = code};
    f->registers = sinter_heap_alloc(count * sizeof *f->registers);
    memcpy(f->registers, code->registers.items, count * sizeof *f->registers);
    f->views = sinter_heap_alloc(buffers * sizeof *f->views);
}

static void frame_deinit(frame *f) {
    sinter_heap_free(f->registers);
    sinter_heap_free(f->views);
}

static bool set_parameter(frame *f, size_t index, sinter_code_value value) {
    const sinter_loop_function *function = f->code->function;
    sinter_loop_var var = function->scalar_parameters.items[index];
    const sinter_loop_var_info *info = &function->vars.items[var];
    f->registers[var] = value;
    if (sinter_dtype_is_float(info->dtype) || (value.i >= info->min && value.i <= info->max))
        return true;
    return fail(f, "parameter %s is %" PRId64 ", outside of its range %" PRId64 "..%" PRId64,
                info->name, value.i, info->min, info->max);
}

static bool run(frame *f);

static bool call_kernel(frame *f, const sinter_code_instruction *at) {
    const sinter_loop_stmt *stmt = at->stmt;
    machine *m = f->machine;
    if (stmt->kernel >= m->program->kernels.count)
        return fail(f, "call of kernel %u, which is not there", stmt->kernel);
    const sinter_loop_function *kernel = m->program->kernels.items[stmt->kernel];
    if (kernel->buffer_parameters.count != stmt->buffer_argument_count ||
        kernel->scalar_parameters.count != stmt->argument_count)
        return fail(f, "call of @%s with %u buffers and %u scalars; it has %zu and %zu",
                    kernel->name, stmt->buffer_argument_count, stmt->argument_count,
                    kernel->buffer_parameters.count, kernel->scalar_parameters.count);
    sinter_code **code = &m->kernels[stmt->kernel];
    if (!*code) *code = sinter_code_compile(&m->arena, kernel);
    frame callee;
    frame_init(&callee, m, *code);
    callee.nodes = stmt->text;
    bool ok = true;
    for (uint32_t i = 0; ok && i < stmt->buffer_argument_count; i++) {
        view *given = &f->views[stmt->buffer_arguments[i]];
        sinter_loop_buffer parameter = kernel->buffer_parameters.items[i];
        callee.views[parameter] = *given;
        bool writes = kernel->buffers.items[parameter].scope != SINTER_SCOPE_INPUT;
        callee.views[parameter].read_only = !writes;
        const char *name = name_of(f, stmt->buffer_arguments[i]);
        if (!given->memory)
            ok = fail(f, "call of @%s with %%%s, which has no memory", kernel->name, name);
        else if (writes && given->read_only)
            ok = fail(f, "@%s writes %%%s, which is read only", kernel->name, name);
    }
    for (uint32_t i = 0; ok && i < stmt->argument_count; i++)
        ok = set_parameter(&callee, i, f->registers[f->code->operands.items[at->b + i]]);
    ok = ok && run(&callee);
    frame_deinit(&callee);
    return ok;
}

static int64_t wrap_add(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static bool run(frame *f) {
    sinter_code_value *r = f->registers;
    const sinter_code_instruction *code = f->code->instructions.items;
    for (const sinter_code_instruction *at = code;; at++) {
        bool ok = true;
        switch ((sinter_code_op)at->op) {
        case SINTER_CODE_LOAD:
            ok = load(f, at, &r[at->result]);
            break;
        case SINTER_CODE_CALL:
            r[at->result] = sinter_code_call(f->code, r, at);
            break;
        case SINTER_CODE_SELECT:
            r[at->result] = r[at->a].i ? r[at->b] : r[at->c];
            break;
        case SINTER_CODE_CAST:
            r[at->result] = sinter_code_cast(f->code, r, at);
            break;
        case SINTER_CODE_INTRINSIC:
            r[at->result] = sinter_code_intrinsic((sinter_loop_intrinsic)at->function, r[at->a],
                                                  r[at->b], r[at->c]);
            break;
        case SINTER_CODE_MOVE:
            r[at->result] = r[at->a];
            break;
        case SINTER_CODE_STORE:
            ok = store(f, at);
            break;
        case SINTER_CODE_JUMP:
            at = code + at->result - 1;
            break;
        case SINTER_CODE_JUMP_UNLESS:
            if (!r[at->a].i) at = code + at->result - 1;
            break;
        case SINTER_CODE_LOOP_TEST:
            if (r[at->a].i >= r[at->b].i) at = code + at->result - 1;
            break;
        case SINTER_CODE_LOOP_STEP:
            r[at->a].i = wrap_add(r[at->a].i, r[at->b].i);
            at = code + at->result - 1;
            break;
        case SINTER_CODE_PARAMETER:
            ok = check_parameter(f, at);
            break;
        case SINTER_CODE_ALLOC:
            ok = alloc(f, at);
            break;
        case SINTER_CODE_FREE:
            free_buffer(f, at->a);
            break;
        case SINTER_CODE_BIND:
        case SINTER_CODE_TAKE:
            ok = bind(f, at);
            break;
        case SINTER_CODE_CALL_KERNEL:
            ok = call_kernel(f, at);
            break;
        case SINTER_CODE_FAIL:
            return fail_by_program(f, at);
        case SINTER_CODE_COMMIT:
            (at->b ? &f->products : &f->copies)->groups++;
            break;
        case SINTER_CODE_WAIT:
            sinter_under_way_wait(at->b ? &f->products : &f->copies, at->a);
            break;
        case SINTER_CODE_ARRIVE:
        case SINTER_CODE_AWAIT:
            ok = meet(f, at);
            break;
        case SINTER_CODE_BOX:
            ok = copy_box(f, at);
            break;
        case SINTER_CODE_END:
            return !f->boxes.count ||
                   fail(f, "boxes are copied at the end, and nobody awaits them");
        case SINTER_CODE_ADD_I64:
            r[at->result].i = wrap_add(r[at->a].i, r[at->b].i);
            break;
        case SINTER_CODE_SUB_I64:
            r[at->result].i = (int64_t)((uint64_t)r[at->a].i - (uint64_t)r[at->b].i);
            break;
        case SINTER_CODE_MUL_I64:
            r[at->result].i = (int64_t)((uint64_t)r[at->a].i * (uint64_t)r[at->b].i);
            break;
        case SINTER_CODE_LESS_I64:
            r[at->result].i = r[at->a].i < r[at->b].i;
            break;
        case SINTER_CODE_ADD_F32:
            r[at->result].f = (float)(r[at->a].f + r[at->b].f);
            break;
        case SINTER_CODE_SUB_F32:
            r[at->result].f = (float)(r[at->a].f - r[at->b].f);
            break;
        case SINTER_CODE_MUL_F32:
            r[at->result].f = (float)(r[at->a].f * r[at->b].f);
            break;
        }
        if (!ok) return false;
    }
}

static void machine_init(machine *m, const sinter_loop_program *program, sinter_diag *diag) {
    *m = (machine){.program = program, .diag = diag};
    sinter_arena_init(&m->arena);
    m->kernels = SINTER_NEW_ARRAY(&m->arena, sinter_code *, program->kernels.count);
}

static void attach(frame *f, sinter_loop_buffer buffer, const sinter_tensor *tensor,
                   bool is_defined) {
    view *v = &f->views[buffer];
    v->tensor = *tensor;
    v->memory = borrow_block(f->machine, tensor, is_defined);
    v->bytes = v->memory->size;
}

bool sinter_loop_interpret(const sinter_loop_program *program, const sinter_loop_function *function,
                           sinter_tensor *buffers, const int64_t *scalars, sinter_diag *diag) {
    machine m;
    frame f;
    machine_init(&m, program, diag);
    frame_init(&f, &m, sinter_code_compile(&m.arena, function));
    f.is_host = function == program->host;
    bool ok = true;
    for (size_t i = 0; i < function->buffer_parameters.count; i++) {
        sinter_loop_buffer buffer = function->buffer_parameters.items[i];
        sinter_loop_scope scope = function->buffers.items[buffer].scope;
        attach(&f, buffer, &buffers[i], scope != SINTER_SCOPE_OUTPUT);
        f.views[buffer].read_only = scope == SINTER_SCOPE_INPUT;
    }
    for (size_t i = 0; ok && i < function->scalar_parameters.count; i++) {
        sinter_code_value value = {.i = scalars[i]};
        if (sinter_dtype_is_float(function->vars.items[function->scalar_parameters.items[i]].dtype))
            memcpy(&value.f, &scalars[i], sizeof value.f);
        ok = set_parameter(&f, i, value);
    }
    ok = ok && run(&f);
    frame_deinit(&f);
    release(&m);
    return ok;
}

/* ---- the host function ---- */

static bool check_input(const sinter_loop_io *io, const sinter_tensor *input, size_t index,
                        sinter_diag *diag) {
    bool fits =
        input->kind == SINTER_TYPE_TENSOR && input->dtype == io->dtype && input->rank == io->rank;
    for (uint32_t i = 0; fits && i < io->rank; i++)
        fits = io->dims[i] < 0 || io->dims[i] == input->dims[i];
    if (fits) return true;
    sinter_text shapes = {0};
    sinter_text_format(&shapes, "expected %s[", sinter_dtype_infos[io->dtype].name);
    for (uint32_t i = 0; i < io->rank; i++)
        sinter_text_format(&shapes, "%s%s", i ? "," : "", io->dim_names[i]);
    sinter_text_format(&shapes, "], found %s[", sinter_dtype_infos[input->dtype].name);
    for (uint32_t i = 0; i < input->rank; i++)
        sinter_text_format(&shapes, "%s%" PRId64, i ? "," : "", input->dims[i]);
    sinter_error(diag, "", "input %zu '%s': %s]", index, io->name, shapes.data);
    sinter_text_deinit(&shapes);
    return false;
}

/* The symbols in order, as registers of the host. */
static bool bind_symbols(frame *f, const sinter_tensor *inputs, size_t input_count) {
    const sinter_loop_program *program = f->machine->program;
    for (size_t i = 0; i < program->symbols.count; i++) {
        const sinter_loop_symbol *symbol = &program->symbols.items[i];
        if (symbol->input >= input_count || i >= program->host->scalar_parameters.count)
            return fail(f, "symbol %s has no source", symbol->name);
        const sinter_tensor *input = &inputs[symbol->input];
        int64_t limit = symbol->content ? sinter_tensor_count(input) : input->rank;
        if (symbol->index >= (uint64_t)limit)
            return fail(f, "symbol %s has no source", symbol->name);
        int64_t value = symbol->content ? sinter_tensor_get_int(input, symbol->index)
                                        : input->dims[symbol->index];
        if (value < symbol->min || value > symbol->max ||
            (symbol->multiple > 1 && value % symbol->multiple))
            return fail(f,
                        "%s is %" PRId64 "; it must be in %" PRId64 "..%" PRId64
                        " and a multiple of %" PRId64,
                        symbol->name, value, symbol->min, symbol->max, symbol->multiple);
        if (!set_parameter(f, i, (sinter_code_value){.i = value})) return false;
    }
    return true;
}

/* The value of an expression over the symbols. */
static bool evaluate(frame *f, sinter_expr expr, int64_t *out_value) {
    uint32_t result;
    frame inner;
    frame_init(&inner, f->machine,
               sinter_code_compile_expr(&f->machine->arena, f->code->function, expr, &result));
    memcpy(inner.registers, f->registers, f->code->function->vars.count * sizeof *inner.registers);
    inner.is_host = f->is_host;
    bool ok = run(&inner);
    *out_value = inner.registers[result].i;
    frame_deinit(&inner);
    return ok;
}

static bool check_dims(frame *f, const sinter_tensor *inputs, size_t input_count) {
    const sinter_loop_program *program = f->machine->program;
    for (size_t i = 0; i < program->checks.count; i++) {
        const sinter_loop_check *check = &program->checks.items[i];
        int64_t expected;
        if (check->input >= input_count || check->axis >= inputs[check->input].rank)
            return fail(f, "check %zu has no input", i);
        if (!evaluate(f, check->expected, &expected)) return false;
        int64_t found = inputs[check->input].dims[check->axis];
        if (found != expected)
            return fail(f, "input '%s': expected dim %u to be %" PRId64 ", found %" PRId64,
                        program->inputs.items[check->input].name, check->axis, expected, found);
    }
    return true;
}

/* Inputs, constants and the outputs whose dims are known on entry. */
static bool attach_host_buffers(frame *f, const sinter_tensor *inputs, size_t input_count,
                                const bool *allocated) {
    const sinter_loop_program *program = f->machine->program;
    const sinter_loop_function *host = program->host;
    for (sinter_loop_buffer i = 1; i < host->buffers.count; i++) {
        const sinter_loop_buffer_info *info = &host->buffers.items[i];
        const sinter_tensor *tensor = NULL;
        if (info->scope == SINTER_SCOPE_INPUT && info->io_index >= 0 &&
            (size_t)info->io_index < input_count)
            tensor = &inputs[info->io_index];
        if (info->scope == SINTER_SCOPE_CONSTANT && info->constant < program->constants.count)
            tensor = &program->constants.items[info->constant].tensor;
        if (tensor) {
            if (!tensor->data && sinter_tensor_count(tensor))
                return fail(f, "constant %u has no data: it was left out of the text",
                            info->constant);
            attach(f, i, tensor, true);
            f->views[i].read_only = true;
        } else if (info->scope == SINTER_SCOPE_OUTPUT && !allocated[i]) {
            sinter_tensor *output =
                info->io_index < 0 ? NULL : &f->machine->outputs[info->io_index];
            int64_t dims[SINTER_MAX_RANK];
            for (uint32_t k = 0; k < info->rank; k++)
                if (!evaluate(f, info->dims[k], &dims[k])) return false;
            if (!output ||
                !sinter_tensor_create(output, info->dtype, info->rank, dims, f->machine->diag))
                return fail(f, "output %%%s cannot be made", info->name);
            attach(f, i, output, false);
        }
    }
    return true;
}

static bool run_host(frame *f, const sinter_tensor *inputs, size_t input_count) {
    machine *m = f->machine;
    const sinter_loop_program *program = m->program;
    bool *allocated = SINTER_NEW_ARRAY(&m->arena, bool, program->host->buffers.count);
    sinter_loop_mark_allocated(program->host->body, allocated);
    if (!bind_symbols(f, inputs, input_count) || !check_dims(f, inputs, input_count)) return false;
    if (program->workspace_bytes) {
        int64_t bytes;
        if (!evaluate(f, program->workspace_bytes, &bytes)) return false;
        if (bytes < 0 || bytes > (int64_t)1 << 40)
            return fail(f, "a workspace of %" PRId64 " bytes", bytes);
        m->workspace = make_block(m, (size_t)bytes);
    }
    return attach_host_buffers(f, inputs, input_count, allocated) && run(f);
}

bool sinter_loop_interpret_host(const sinter_loop_program *program, const sinter_tensor *inputs,
                                size_t input_count, sinter_tensor *out_outputs, size_t output_count,
                                sinter_diag *diag) {
    memset(out_outputs, 0, output_count * sizeof *out_outputs);
    if (!program->host)
        return sinter_error(diag, program->name, "the program has no host function");
    if (input_count != program->inputs.count || output_count != program->outputs.count)
        return sinter_error(
            diag, program->name, "expected %zu inputs and %zu outputs, got %zu and %zu",
            program->inputs.count, program->outputs.count, input_count, output_count);
    for (size_t i = 0; i < input_count; i++)
        if (!check_input(&program->inputs.items[i], &inputs[i], i, diag)) return false;
    machine m;
    frame f;
    machine_init(&m, program, diag);
    m.outputs = out_outputs;
    frame_init(&f, &m, sinter_code_compile(&m.arena, program->host));
    f.is_host = true;
    bool ok = run_host(&f, inputs, input_count);
    for (size_t i = 0; ok && i < output_count; i++)
        if (out_outputs[i].kind == SINTER_TYPE_NONE) ok = fail(&f, "output %zu was not made", i);
    for (size_t i = 0; !ok && i < output_count; i++) {
        sinter_tensor_deinit(&out_outputs[i]);
        out_outputs[i] = (sinter_tensor){0};
    }
    frame_deinit(&f);
    release(&m);
    return ok;
}

bool sinter_code_evaluate(sinter_arena *arena, const sinter_loop_function *function,
                          sinter_expr expr, const int64_t *values, int64_t *out_value) {
    machine m = {0}; /* silent, and nothing that such code needs */
    frame f;
    uint32_t result;
    frame_init(&f, &m, sinter_code_compile_expr(arena, function, expr, &result));
    for (size_t i = 0; i < function->vars.count; i++) f.registers[i].i = values[i];
    bool ok = run(&f);
    *out_value = f.registers[result].i;
    frame_deinit(&f);
    return ok;
}
