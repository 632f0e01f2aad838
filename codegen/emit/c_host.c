/* plan, run and the descriptor in C. Host buffers are plain pointers that casts give their element type; memory that
 * was allocated during the run sits in `owned` and is freed on every way out. Test: tests/unit/emit_test.c */
#include "codegen/emit/c.h"
#include "runtime/abi.h"

#include <inttypes.h>
#include <string.h>

enum { EMBEDDED_WEIGHTS_LIMIT = 1 << 22 };

static const char *raw_name(const sinter_c_emitter *e, sinter_loop_buffer buffer) {
    return sinter_arena_format(e->arena, "b%u", buffer);
}

static char *quoted(sinter_c_emitter *e, const char *string) {
    sinter_text text = {0};
    sinter_c_string(&text, string ? string : "");
    char *copy = sinter_arena_copy_string(e->arena, text.data, text.size);
    sinter_text_deinit(&text);
    return copy;
}

static char *text_of(sinter_c_emitter *e, const sinter_loop_expr *expr) {
    sinter_text text = {0};
    sinter_map_init(&e->temporaries, e->arena);
    sinter_c_expr(e, expr, &text);
    char *copy = sinter_arena_copy_string(e->arena, text.data, text.size);
    sinter_text_deinit(&text);
    return copy;
}

/* ---- sizes ---- */

/* An i64 expression with overflows noted in `overflow`. */
static char *checked_text(sinter_c_emitter *e, const sinter_loop_expr *expr) {
    e->checked = true;
    char *text = text_of(e, expr);
    e->checked = false;
    return text;
}

static char *bytes_text(sinter_c_emitter *e, sinter_loop_buffer buffer, bool *out_checked) {
    const sinter_loop_buffer_info *info = &e->function->buffers.items[buffer];
    uint32_t bits = sinter_dtype_infos[info->dtype].bits;
    uint64_t bytes;
    *out_checked = false;
    if (sinter_loop_static_bytes(info, &bytes))
        return sinter_arena_format(e->arena, "%" PRIu64, bytes);
    *out_checked = true;
    const char *text = sinter_arena_format(e->arena, "%u", bits < 8 ? 1 : bits / 8);
    for (uint32_t k = 0; k < info->rank; k++)
        text = sinter_arena_format(e->arena, "sinter_checked_mul(%s, %s, &overflow)",
                                   checked_text(e, info->dims[k]), text);
    return bits >= 8
               ? sinter_arena_format(e->arena, "%s", text)
               : sinter_arena_format(e->arena, "(%s + %u) / %u", text, 8 / bits - 1, 8 / bits);
}

/* "const int64_t b3_bytes = ...;" with its check; returns the name or the number. */
static const char *write_bytes(sinter_c_emitter *e, sinter_loop_buffer buffer) {
    bool checked;
    const char *text = bytes_text(e, buffer, &checked);
    if (!checked) return text;
    const char *name = sinter_arena_format(e->arena, "t%u", e->temporary_count++);
    sinter_c_write(e, "const int64_t %s = %s;", name, text);
    sinter_c_write(e, "if (overflow) {");
    sinter_c_write(e, "    sinter_fail(call, SINTER_ABI_OVERFLOW, \"size of %%s overflows\", %s);",
                   quoted(e, e->function->buffers.items[buffer].name));
    sinter_c_jump(e, "    ");
    sinter_c_write(e, "}");
    e->overflows = true;
    return name;
}

/* ---- statements ---- */

/* Nothing reads the others; outputs are written for the caller. */
static bool has_pointer(const sinter_c_emitter *e, sinter_loop_buffer buffer) {
    return e->uses.reads[buffer] || e->function->buffers.items[buffer].scope == SINTER_SCOPE_OUTPUT;
}

/* Numbers the memory that the run itself takes. */
static void number_owned(sinter_c_emitter *e, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        if (s->kind == SINTER_LOOP_ALLOC && !s->value && has_pointer(e, s->buffer) &&
            e->function->buffers.items[s->buffer].scope == SINTER_SCOPE_HEAP &&
            !e->owned[s->buffer])
            e->owned[s->buffer] = ++e->owned_count;
        number_owned(e, s->body);
        number_owned(e, s->else_body);
    }
}

static void write_release(sinter_c_emitter *e, sinter_loop_buffer buffer) {
    if (e->owned[buffer])
        sinter_c_write(e, "sinter_release(call, &owned[%u]);", e->owned[buffer] - 1);
}

void sinter_c_jump(sinter_c_emitter *e, const char *condition) {
    sinter_c_write(e, "%sgoto failure;", condition);
    e->jumps = true;
}

void sinter_c_host_end_block(sinter_c_emitter *e, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next)
        if (s->kind == SINTER_LOOP_ALLOC) write_release(e, s->buffer);
}

static void write_alloc_output(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    const sinter_loop_buffer_info *info = &e->function->buffers.items[s->buffer];
    const char *name = raw_name(e, s->buffer), *bytes = write_bytes(e, s->buffer);
    sinter_c_write(e, "%s = sinter_output(call, %d, %s, _Alignof(%s), outputs[%d].name);", name,
                   info->io_index, bytes, sinter_c_memory(info->dtype), info->io_index);
    sinter_c_jump(e, sinter_arena_format(e->arena, "if (!%s) ", name));
    sinter_c_write(e, "call->outputs[%d].rank = %u;", info->io_index, info->rank);
    sinter_c_write(e, "call->outputs[%d].dtype = outputs[%d].dtype;", info->io_index,
                   info->io_index);
    for (uint32_t k = 0; k < info->rank; k++)
        sinter_c_write(e, "call->outputs[%d].dims[%u] = %s;", info->io_index, k,
                       text_of(e, info->dims[k]));
}

static void write_alloc(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    const char *name = raw_name(e, s->buffer);
    if (!has_pointer(e, s->buffer)) return;
    if (e->function->buffers.items[s->buffer].scope == SINTER_SCOPE_OUTPUT) {
        write_alloc_output(e, s);
    } else if (s->value) {
        sinter_c_write(e, "%s = (char *)call->workspace + %s;", name, text_of(e, s->value));
    } else {
        uint32_t own = e->owned[s->buffer] - 1;
        write_release(e, s->buffer);
        const char *bytes = write_bytes(e, s->buffer);
        sinter_c_write(e, "owned[%u].bytes = %s;", own, bytes);
        sinter_c_write(e, "%s = owned[%u].data = sinter_allocate(call, owned[%u].bytes);", name,
                       own, own);
        sinter_c_write(e, "if (!%s) {", name);
        sinter_c_write(e,
                       "    sinter_fail(call, SINTER_ABI_OUT_OF_MEMORY, \"no memory for the %%lld "
                       "bytes of %%s\", (long long)owned[%u].bytes, %s);",
                       own, quoted(e, e->function->buffers.items[s->buffer].name));
        sinter_c_jump(e, "    ");
        sinter_c_write(e, "}");
    }
}

static void write_bind(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    if (!has_pointer(e, s->buffer)) return;
    uint32_t bits = sinter_dtype_infos[e->function->buffers.items[s->source].dtype].bits;
    sinter_c_write(e, "%s = (char *)%s + %s * %u / 8;", raw_name(e, s->buffer),
                   raw_name(e, s->source), text_of(e, s->value), bits);
}

static void write_take(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    if (!e->owned[s->buffer] || !e->owned[s->source]) {
        if (has_pointer(e, s->buffer))
            sinter_c_error(e, "host: memory of the workspace can't be taken [emit_c9]");
        return;
    }
    uint32_t own = e->owned[s->buffer] - 1, other = e->owned[s->source] - 1;
    write_release(e, s->buffer);
    sinter_c_write(e, "owned[%u] = owned[%u];", own, other);
    sinter_c_write(e, "owned[%u].data = NULL;", other);
    sinter_c_write(e, "%s = owned[%u].data;", raw_name(e, s->buffer), own);
}

static void write_call(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    const char *name = e->program->kernels.items[s->kernel]->name;
    bool fails = e->kernel_fails[s->kernel];
    sinter_text code = {0};
    sinter_text_format(&code, "%skernel_%u_%s(call", fails ? "if (" : "", s->kernel, name);
    for (uint32_t i = 0; i < s->buffer_argument_count; i++)
        sinter_text_format(&code, ", %s", raw_name(e, s->buffer_arguments[i]));
    for (uint32_t i = 0; i < s->argument_count; i++)
        sinter_text_format(&code, ", %s", text_of(e, s->arguments[i]));
    if (s->copies) {
        sinter_c_write(e, "if ((const void *)%s != (const void *)%s) {",
                       raw_name(e, s->buffer_arguments[0]), raw_name(e, s->buffer_arguments[1]));
        e->indent++;
    }
    sinter_c_write(e, "sinter_trace(call, %u, 1);", s->kernel);
    const char *place = sinter_loop_failure_place(e->arena, s->text);
    if (fails && *place)
        sinter_c_jump(e, sinter_arena_format(e->arena, "%s) && sinter_place(call, %s)) ", code.data,
                                             quoted(e, place)));
    else if (fails)
        sinter_c_jump(e, sinter_arena_format(e->arena, "%s)) ", code.data));
    else
        sinter_c_write(e, "%s);", code.data);
    sinter_text_deinit(&code);
    sinter_c_write(e, "sinter_trace(call, %u, 0);", s->kernel);
    if (!s->copies) return;
    e->indent--;
    sinter_c_write(e, "}");
}

void sinter_c_host_statement(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    switch (s->kind) {
    case SINTER_LOOP_ALLOC:
        write_alloc(e, s);
        return;
    case SINTER_LOOP_FREE:
        write_release(e, s->buffer);
        return;
    case SINTER_LOOP_BIND:
        write_bind(e, s);
        return;
    case SINTER_LOOP_TAKE:
        write_take(e, s);
        return;
    case SINTER_LOOP_CALL_KERNEL:
        write_call(e, s);
        return;
    default:
        sinter_c_error(e, "host: statement without meaning here [emit_c9]");
        return;
    }
}

/* ---- descriptor ---- */

static void write_io(sinter_c_emitter *e, const char *what, const sinter_loop_io *items,
                     size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!items[i].rank) continue;
        sinter_text_format(e->text, "static const int64_t %s_dims_%zu[] = {", what, i);
        for (uint32_t k = 0; k < items[i].rank; k++)
            sinter_text_format(e->text, "%s%" PRId64, k ? ", " : "", items[i].dims[k]);
        sinter_text_format(e->text, "};\nstatic const char *const %s_names_%zu[] = {", what, i);
        for (uint32_t k = 0; k < items[i].rank; k++) {
            const char *name = items[i].dim_names && items[i].dim_names[k]
                                   ? items[i].dim_names[k]
                                   : sinter_arena_format(e->arena, "%" PRId64, items[i].dims[k]);
            sinter_text_format(e->text, "%s%s", k ? ", " : "", quoted(e, name));
        }
        sinter_text_append_string(e->text, "};\n");
    }
    sinter_text_format(e->text, "static const sinter_abi_io %ss[] = {\n", what);
    for (size_t i = 0; i < count; i++) {
        sinter_text_format(e->text, "    {%s, %d, %u, ", quoted(e, items[i].name),
                           sinter_dtype_infos[items[i].dtype].onnx_code, items[i].rank);
        if (items[i].rank)
            sinter_text_format(e->text, "%s_dims_%zu, %s_names_%zu},\n", what, i, what, i);
        else
            sinter_text_append_string(e->text, "NULL, NULL},\n");
    }
    sinter_text_append_string(e->text, count ? "};\n" : "    {0}};\n");
}

static void write_tables(sinter_c_emitter *e) {
    const sinter_loop_program *program = e->program;
    write_io(e, "input", program->inputs.items, program->inputs.count);
    write_io(e, "output", program->outputs.items, program->outputs.count);
    sinter_text_append_string(e->text, "static const sinter_abi_symbol symbols[] = {\n");
    for (size_t i = 0; i < program->symbols.count; i++) {
        const sinter_loop_symbol *symbol = &program->symbols.items[i];
        sinter_text_format(e->text, "    {%s, ", quoted(e, symbol->name));
        if (symbol->min == INT64_MIN)
            sinter_text_append_string(e->text, "INT64_MIN");
        else
            sinter_text_format(e->text, "%" PRId64, symbol->min);
        sinter_text_format(e->text, ", INT64_C(%" PRId64 "), %" PRId64 "},\n", symbol->max,
                           symbol->multiple);
    }
    sinter_text_append_string(e->text, program->symbols.count ? "};\n" : "    {0}};\n");
    sinter_text_append_string(e->text, "static const sinter_abi_kernel kernels[] = {\n");
    for (size_t i = 0; i < program->kernels.count; i++) {
        const char *comment = program->kernels.items[i]->comment;
        sinter_text_format(e->text, "    {%s, %s},\n", quoted(e, program->kernels.items[i]->name),
                           comment ? quoted(e, comment) : "NULL");
    }
    sinter_text_append_string(e->text, program->kernels.count ? "};\n" : "    {0}};\n");
    if (!program->donations.count) return;
    sinter_text_append_string(e->text, "static const sinter_abi_donation donations[] = {\n");
    for (size_t i = 0; i < program->donations.count; i++)
        sinter_text_format(e->text, "    {%u, %u},\n", program->donations.items[i].output,
                           program->donations.items[i].input);
    sinter_text_append_string(e->text, "};\n");
}

bool sinter_c_embeds_weights(uint64_t weight_bytes) {
    return weight_bytes && weight_bytes <= EMBEDDED_WEIGHTS_LIMIT;
}

static void write_weights(sinter_c_emitter *e) {
    if (!sinter_c_embeds_weights(e->weight_bytes)) return;
    uint64_t *blob = sinter_arena_alloc(e->arena, e->weight_bytes);
    sinter_weights_copy(e->program, blob);
    sinter_text_append_string(e->text, "static const _Alignas(64) uint64_t weights[] = {");
    for (uint64_t i = 0; i < e->weight_bytes / 8; i++)
        sinter_text_format(e->text, "%s0x%" PRIx64 "u,", i % 6 ? " " : "\n    ", blob[i]);
    sinter_text_append_string(e->text, "\n};\n");
}

static void write_artifact(sinter_c_emitter *e) {
    const sinter_loop_program *program = e->program;
    sinter_text_append_string(e->text, "\nstatic const sinter_abi_artifact artifact = {\n");
    e->indent = 1;
    sinter_c_write(e, ".magic = SINTER_ABI_MAGIC,");
    sinter_c_write(e, ".version = SINTER_ABI_VERSION,");
    sinter_c_write(e, ".size = sizeof(sinter_abi_artifact),");
    sinter_c_write(e, ".input_count = %zu,", program->inputs.count);
    sinter_c_write(e, ".output_count = %zu,", program->outputs.count);
    sinter_c_write(e, ".symbol_count = %zu,", program->symbols.count);
    sinter_c_write(e, ".kernel_count = %zu,", program->kernels.count);
    sinter_c_write(e, ".name = %s,", quoted(e, program->name));
    sinter_c_write(e, ".target = \"c\",");
    sinter_c_write(e, ".cpu_features = \"\",");
    sinter_c_write(e, ".inputs = inputs,");
    sinter_c_write(e, ".outputs = outputs,");
    sinter_c_write(e, ".symbols = symbols,");
    sinter_c_write(e, ".kernels = kernels,");
    sinter_c_write(e, ".weights_bytes = %" PRIu64 ",", e->weight_bytes);
    sinter_c_write(e, ".weights_hash = UINT64_C(%" PRIu64 "),", sinter_weights_hash(program));
    if (sinter_c_embeds_weights(e->weight_bytes)) sinter_c_write(e, ".weights = weights,");
    if (program->donations.count) {
        sinter_c_write(e, ".donation_count = %zu,", program->donations.count);
        sinter_c_write(e, ".donations = donations,");
    }
    sinter_c_write(e, ".plan = plan,");
    sinter_c_write(e, ".run = run,");
    e->indent = 0;
    sinter_text_append_string(e->text, "};\n\nconst sinter_abi_artifact *sinter_artifact(void);\n"
                                       "const sinter_abi_artifact *sinter_artifact(void) {\n"
                                       "    return &artifact;\n}\n");
}

/* ---- plan ---- */

/* An element of an integer input; one of a few bits is moved to the top of a word, and down again with its sign. */
static const char *content_text(sinter_c_emitter *e, const sinter_loop_symbol *symbol) {
    const sinter_loop_io *io = &e->program->inputs.items[symbol->input];
    const sinter_dtype_info *info = &sinter_dtype_infos[io->dtype];
    if (info->bits >= 8)
        return sinter_arena_format(e->arena, "(int64_t)((const %s *)call->inputs[%u].data)[%u]",
                                   sinter_c_memory(io->dtype), symbol->input, symbol->index);
    bool is_signed = info->class == SINTER_CLASS_INT;
    uint32_t at = symbol->index * info->bits;
    return sinter_arena_format(
        e->arena,
        "(int64_t)(%s((uint64_t)((const uint8_t *)call->inputs[%u].data)[%u] << %u) >> %u)",
        is_signed ? "(int64_t)" : "", symbol->input, at / 8, 64 - info->bits - at % 8,
        64 - info->bits);
}

static void write_symbol(sinter_c_emitter *e, size_t index) {
    const sinter_loop_symbol *symbol = &e->program->symbols.items[index];
    const sinter_loop_io *io = &e->program->inputs.items[symbol->input];
    const char *name = e->vars[e->function->scalar_parameters.items[index]];
    const char *label = quoted(e, symbol->name);
    if (symbol->content) {
        uint64_t end = (((uint64_t)symbol->index + 1) * sinter_dtype_infos[io->dtype].bits + 7) / 8;
        sinter_c_write(e, "if (!call->inputs[%u].data || call->inputs[%u].bytes < %" PRIu64 ")",
                       symbol->input, symbol->input, end);
        sinter_c_write(e,
                       "    return sinter_fail(call, SINTER_ABI_BAD_INPUT, \"input '%%s': dims "
                       "depend on its data, which is missing\", %s);",
                       quoted(e, io->name));
        sinter_c_write(e, "const int64_t %s = %s;", name, content_text(e, symbol));
    } else {
        sinter_c_write(e, "const int64_t %s = call->inputs[%u].dims[%u];", name, symbol->input,
                       symbol->index);
    }
    if (symbol->min > (symbol->content ? INT64_MIN : 0))
        sinter_c_write(e,
                       "if (%s < %" PRId64
                       ") return sinter_fail(call, SINTER_ABI_BAD_INPUT, \"%%s is %%lld and must "
                       "be at least %" PRId64 "\", %s, (long long)%s);",
                       name, symbol->min, symbol->min, label, name);
    if (symbol->max < INT64_MAX)
        sinter_c_write(e,
                       "if (%s > %" PRId64
                       ") return sinter_fail(call, SINTER_ABI_BAD_INPUT, \"%%s is %%lld and must "
                       "be at most %" PRId64 "\", %s, (long long)%s);",
                       name, symbol->max, symbol->max, label, name);
    if (symbol->multiple > 1)
        sinter_c_write(e,
                       "if (%s %% %" PRId64
                       ") return sinter_fail(call, SINTER_ABI_BAD_INPUT, \"%%s is %%lld and must "
                       "be a multiple of %" PRId64 "\", %s, (long long)%s);",
                       name, symbol->multiple, symbol->multiple, label, name);
    sinter_c_write(e, "call->symbols[%zu] = %s;", index, name);
}

static void write_outputs(sinter_c_emitter *e) {
    for (size_t i = 0; i < e->program->outputs.count; i++) {
        const sinter_loop_io *io = &e->program->outputs.items[i];
        sinter_c_write(e, "call->outputs[%zu].rank = %u;", i, io->rank);
        sinter_c_write(e, "call->outputs[%zu].dtype = outputs[%zu].dtype;", i, i);
        for (uint32_t k = 0; k < io->rank; k++) {
            bool computed = io->dims[k] < 0 && io->dim_exprs && io->dim_exprs[k];
            sinter_c_write(e, "call->outputs[%zu].dims[%u] = %s;", i, k,
                           computed ? checked_text(e, io->dim_exprs[k])
                                    : sinter_arena_format(e->arena, "%" PRId64, io->dims[k]));
        }
    }
}

static void write_plan(sinter_c_emitter *e) {
    const sinter_loop_program *program = e->program;
    int64_t workspace = 0;
    if (!program->workspace_bytes || sinter_loop_is_const_int(program->workspace_bytes, &workspace))
        sinter_c_write(
            e,
            "\n/* A constant, for callers without a heap. */\n#define SINTER_WORKSPACE_BYTES %lld",
            (long long)workspace);
    sinter_text *outer = e->text, body = {0};
    e->overflows = false;
    e->text = &body;
    e->indent = 1;
    sinter_c_write(e, "call->code = 0;");
    sinter_c_write(e, "if (sinter_check_inputs(call, inputs, %zu)) return call->code;",
                   program->inputs.count);
    for (size_t i = 0; i < program->symbols.count; i++) write_symbol(e, i);
    for (size_t i = 0; i < program->checks.count; i++) {
        const sinter_loop_check *check = &program->checks.items[i];
        if (check->expected->kind == SINTER_LOOP_CONST) continue;
        sinter_c_write(e, "if (call->inputs[%u].dims[%u] != %s)", check->input, check->axis,
                       checked_text(e, check->expected));
        sinter_c_write(e,
                       "    return sinter_fail(call, SINTER_ABI_BAD_INPUT, \"input '%%s': dim %u "
                       "is %%lld, which does not fit the others\", inputs[%u].name, (long "
                       "long)call->inputs[%u].dims[%u]);",
                       check->axis, check->input, check->input, check->axis);
    }
    write_outputs(e);
    sinter_c_write(e, "call->workspace_bytes = (uint64_t)%s;",
                   program->workspace_bytes ? checked_text(e, program->workspace_bytes) : "0");
    if (e->overflows)
        sinter_c_write(e, "if (overflow) return sinter_fail(call, SINTER_ABI_OVERFLOW, \"a size "
                          "computed from the dims overflows\");");
    sinter_c_write(e, "return 0;");
    e->text = outer;
    e->indent = 0;
    sinter_c_write(e, "\nstatic int32_t plan(sinter_abi_call *call) {");
    e->indent = 1;
    if (e->overflows) sinter_c_write(e, "bool overflow = false;");
    sinter_text_append(e->text, body.data, body.size);
    sinter_text_deinit(&body);
    e->indent = 0;
    sinter_c_write(e, "}\n");
}

/* ---- run ---- */

static void name_buffers(sinter_c_emitter *e) {
    for (uint32_t i = 1; i < e->function->buffers.count; i++)
        e->buffers[i] = sinter_arena_format(
            e->arena, "((%s *)b%u)", sinter_c_memory(e->function->buffers.items[i].dtype), i);
}

static void write_input(sinter_c_emitter *e, sinter_loop_buffer buffer) {
    const sinter_loop_buffer_info *info = &e->function->buffers.items[buffer];
    const char *bytes = write_bytes(e, buffer);
    sinter_c_line(e);
    if (e->uses.reads[buffer]) sinter_text_format(e->text, "%s = ", raw_name(e, buffer));
    sinter_text_format(e->text, "sinter_input(call, %d, %s, _Alignof(%s), inputs[%d].name);\n",
                       info->io_index, bytes, sinter_c_memory(info->dtype), info->io_index);
    sinter_c_jump(e, "if (call->code) ");
}

/* Where inputs and constants lie. */
static void write_bindings(sinter_c_emitter *e) {
    for (uint32_t i = 1; i < e->function->buffers.count; i++) {
        const sinter_loop_buffer_info *info = &e->function->buffers.items[i];
        if (info->scope == SINTER_SCOPE_CONSTANT && e->uses.reads[i])
            sinter_c_write(e, "b%u = (void *)(uintptr_t)(blob + %" PRIu64 ");", i,
                           e->weight_offsets[info->constant]);
        if (info->scope == SINTER_SCOPE_INPUT) write_input(e, i);
    }
}

static void write_buffers(sinter_c_emitter *e) {
    bool needs_weights = false;
    for (uint32_t i = 1; i < e->function->buffers.count; i++) {
        const sinter_loop_buffer_info *info = &e->function->buffers.items[i];
        if (!has_pointer(e, i)) continue;
        sinter_c_write(e, "void *b%u = NULL; /* %s */", i, info->name); /* an identifier */
        needs_weights |= info->scope == SINTER_SCOPE_CONSTANT;
    }
    if (e->owned_count) sinter_c_write(e, "sinter_block owned[%u] = {{0}};", e->owned_count);
    if (!needs_weights) return;
    sinter_c_write(e, "const char *blob = call->weights;");
    if (sinter_c_embeds_weights(e->weight_bytes))
        sinter_c_write(e, "if (!blob) blob = (const char *)weights;");
    sinter_c_write(e, "if (!blob) return sinter_fail(call, SINTER_ABI_BAD_INPUT, \"the weights "
                      "are missing\");");
}

static void write_workspace_check(sinter_c_emitter *e) {
    if (!e->program->workspace_bytes) return;
    bool before = e->overflows;
    e->overflows = false;
    sinter_c_write(e, "const int64_t workspace_bytes = %s;",
                   checked_text(e, e->program->workspace_bytes));
    sinter_c_write(e,
                   "if (%s(uint64_t)workspace_bytes > call->workspace_bytes || (workspace_bytes && "
                   "!call->workspace))",
                   e->overflows ? "overflow || " : "");
    sinter_c_write(e,
                   "    return sinter_fail(call, SINTER_ABI_OUT_OF_MEMORY, \"the workspace needs "
                   "%%lld bytes; was plan called?\", (long long)workspace_bytes);");
    e->overflows |= before;
}

static void write_run_body(sinter_c_emitter *e, sinter_text *body) {
    e->owned = SINTER_NEW_ARRAY(e->arena, uint32_t, e->function->buffers.count);
    e->owned_count = 0;
    e->overflows = e->jumps = false;
    number_owned(e, e->function->body);
    e->text = body;
    e->indent = 1;
    write_workspace_check(e);
    write_buffers(e);
    write_bindings(e);
    sinter_c_statements(e, e->function->body);
    sinter_c_write(e, "return 0;");
}

static void write_run(sinter_c_emitter *e) {
    sinter_text *outer = e->text, body = {0};
    e->mentioned = NULL;
    for (int pass = 0; pass < 2; pass++) { /* the first tells which variables the text mentions */
        sinter_text_deinit(&body);
        body = (sinter_text){0};
        sinter_c_begin_function(e, e->program->host);
        name_buffers(e);
        write_run_body(e, &body);
        e->mentioned = e->printed;
    }
    e->text = outer;
    e->indent = 0;
    sinter_c_write(e, "static int32_t run(sinter_abi_call *call) {");
    e->indent = 1;
    if (e->overflows) sinter_c_write(e, "bool overflow = false;");
    sinter_c_write(e, "call->code = 0;");
    for (size_t i = 0; i < e->program->symbols.count; i++) {
        sinter_loop_var var = e->function->scalar_parameters.items[i];
        if (e->printed[var])
            sinter_c_write(e, "const int64_t %s = call->symbols[%zu];", e->vars[var], i);
    }
    sinter_text_append(e->text, body.data, body.size);
    sinter_text_deinit(&body);
    if (e->jumps) {
        sinter_text_append_string(e->text, "failure:\n");
        if (e->owned_count)
            sinter_c_write(e, "for (size_t i = 0; i < %u; i++) sinter_release(call, &owned[i]);",
                           e->owned_count);
        sinter_c_write(e, "return call->code;");
    }
    e->indent = 0;
    sinter_c_write(e, "}");
}

void sinter_c_emit_host(sinter_c_emitter *e) {
    sinter_c_begin_function(e, e->program->host);
    e->is_host = true;
    write_tables(e);
    write_weights(e);
    write_plan(e);
    write_run(e);
    write_artifact(e);
    e->is_host = false;
}
