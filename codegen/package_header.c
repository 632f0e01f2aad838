/* The C header beside an object: the contract (abi.h as text, so that nothing else is needed), what goes in and out with
 * shapes, a typed function over it and an example to paste.
 *
 * Static shapes: the workspace is a constant and the example has no allocation. Symbolic ones: dims come in and go out as
 * arrays. Test: tests/unit/package_test.c, tests/cli/compile_object.test */
#include "codegen/package.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

typedef struct header {
    const sinter_loop_program *program;
    const char *name, *upper;
    sinter_text *text;
    sinter_arena arena;
    const char **inputs, **outputs; /* parameter names */
    int64_t workspace;              /* -1: depends on the dims */
} header;

static void add(header *h, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(header *h, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    sinter_text_format_list(h->text, format, arguments);
    va_end(arguments);
}

/* ---- names and types ---- */

static const char *c_type(sinter_dtype dtype) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (dtype == SINTER_DTYPE_f32) return "float";
    if (dtype == SINTER_DTYPE_f64) return "double";
    static const char *const is_signed[] = {"int8_t", "int16_t", "int32_t", "int64_t"};
    static const char *const is_unsigned[] = {"uint8_t", "uint16_t", "uint32_t", "uint64_t"};
    uint32_t log = info->bits <= 8 ? 0 : info->bits <= 16 ? 1 : info->bits <= 32 ? 2 : 3;
    return info->class == SINTER_CLASS_INT && info->bits >= 8 ? is_signed[log] : is_unsigned[log];
}

static bool ends_with(const char *name, const char *ending) {
    size_t size = strlen(name), length = strlen(ending);
    return size >= length && !strcmp(name + size - length, ending);
}

/* A prefix keeps names off keywords and inputs off outputs, an underscore off the dims and bytes of another parameter;
 * a number keeps those apart that fall together. */
static const char **parameter_names(header *h, const char *prefix, const sinter_loop_io *items,
                                    size_t count) {
    const char **names = SINTER_NEW_ARRAY(&h->arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++) {
        char *name = sinter_arena_format(&h->arena, "%s_%s", prefix, items[i].name);
        sinter_make_identifier(name);
        if (ends_with(name, "_dims") || ends_with(name, "_bytes"))
            name = sinter_arena_format(&h->arena, "%s_", name);
        names[i] = name;
        for (size_t k = 0; k < i; k++)
            if (!strcmp(names[k], names[i]))
                names[i] = sinter_arena_format(&h->arena, "%s_%zu_", name, i);
    }
    return names;
}

static bool is_static(const sinter_loop_io *io) {
    for (uint32_t d = 0; d < io->rank; d++)
        if (io->dims[d] < 0) return false;
    return true;
}

static bool all_static(const header *h) {
    bool known = h->workspace >= 0;
    for (size_t i = 0; i < h->program->inputs.count; i++)
        known = known && is_static(&h->program->inputs.items[i]);
    for (size_t i = 0; i < h->program->outputs.count; i++)
        known = known && is_static(&h->program->outputs.items[i]);
    return known;
}

static uint64_t
element_count(const sinter_loop_io *io) { /* of C elements: two 4-bit numbers are one byte */
    uint64_t count = 1, bits = sinter_dtype_infos[io->dtype].bits;
    for (uint32_t d = 0; d < io->rank; d++) count *= (uint64_t)io->dims[d];
    return bits < 8 ? (count * bits + 7) / 8 : count;
}

static void add_shape(header *h, const sinter_loop_io *io) {
    add(h, "[");
    for (uint32_t d = 0; d < io->rank; d++) {
        add(h, d ? ", " : "");
        if (io->dims[d] >= 0)
            add(h, "%" PRId64, io->dims[d]);
        else
            add(h, "%s", io->dim_names && io->dim_names[d] ? io->dim_names[d] : "?");
    }
    add(h, "]");
}

/* Text that can't end the comment. */
static void add_text(header *h, const char *text) {
    for (; *text; text++)
        sinter_text_append(h->text, isprint((unsigned char)*text) && *text != '*' ? text : "?", 1);
}

/* ---- the opening comment ---- */

static void add_ios(header *h, const char *what, const sinter_loop_io *items, const char **names,
                    size_t count) {
    for (size_t i = 0; i < count; i++) {
        add(h, " *   %s %s ", what, c_type(items[i].dtype));
        add_text(h, names[i]);
        add_shape(h, &items[i]);
        const sinter_dtype_info *info = &sinter_dtype_infos[items[i].dtype];
        bool plain = info->class == SINTER_CLASS_INT || info->class == SINTER_CLASS_UINT ||
                     items[i].dtype == SINTER_DTYPE_f32 || items[i].dtype == SINTER_DTYPE_f64;
        if (!plain || info->bits < 8)
            add(h, "  (%s%s)", info->name, info->bits < 8 ? ", packed into bytes" : "");
        add(h, "\n");
    }
}

static void add_example(header *h) {
    const sinter_loop_program *p = h->program;
    add(h,
        " *\n * Example (cc main.c %s.o -lm):\n *   #include \"%s.h\"\n *   #include <stdio.h>\n",
        h->name, h->name);
    for (size_t i = 0; i < p->inputs.count; i++)
        add(h, " *   static %s %s[%" PRIu64 "];\n", c_type(p->inputs.items[i].dtype), h->inputs[i],
            element_count(&p->inputs.items[i]));
    for (size_t i = 0; i < p->outputs.count; i++)
        add(h, " *   static %s %s[%" PRIu64 "];\n", c_type(p->outputs.items[i].dtype),
            h->outputs[i], element_count(&p->outputs.items[i]));
    add(h, " *   static _Alignas(64) char workspace[%s_WORKSPACE_BYTES];\n *   int main(void) {\n",
        h->upper);
    add(h, " *       int32_t code = %s_run(", h->name);
    for (size_t i = 0; i < p->inputs.count; i++) add(h, "%s, ", h->inputs[i]);
    for (size_t i = 0; i < p->outputs.count; i++) add(h, "%s, ", h->outputs[i]);
    add(h, "workspace, NULL);\n *       printf(\"status %%d\\n\", (int)code);\n *       return "
           "code;\n *   }\n");
}

static void add_dynamic_example(header *h) {
    add(h,
        " *\n * Dims marked with names come in and go out as arrays. Memory: %s_run allocates what "
        "it needs with malloc and\n"
        " * frees it, but for outputs given as NULL, which the caller frees.\n",
        h->name);
}

static void add_opening(header *h, const sinter_target *target) {
    add(h, "/* Model ");
    add_text(h, h->program->name);
    add(h, ", compiled by Sinter for ");
    add_text(h, target->text);
    add(h, ". Needs libc and libm, nothing else.\n *\n");
    add_ios(h, "in ", h->program->inputs.items, h->inputs, h->program->inputs.count);
    add_ios(h, "out", h->program->outputs.items, h->outputs, h->program->outputs.count);
    if (all_static(h))
        add_example(h);
    else
        add_dynamic_example(h);
    add(h, " */\n#ifndef %s_H\n#define %s_H\n\n", h->upper, h->upper);
}

/* ---- the typed function ---- */

static void add_parameters(header *h, bool fixed) {
    const sinter_loop_program *p = h->program;
    for (size_t i = 0; i < p->inputs.count; i++) {
        const sinter_loop_io *io = &p->inputs.items[i];
        add(h, "const %s *%s, ", c_type(io->dtype), h->inputs[i]);
        if (!is_static(io)) add(h, "const int64_t %s_dims[%u], ", h->inputs[i], io->rank);
    }
    for (size_t i = 0; i < p->outputs.count; i++) {
        const sinter_loop_io *io = &p->outputs.items[i];
        if (is_static(io))
            add(h, "%s *%s, ", c_type(io->dtype), h->outputs[i]);
        else
            add(h, "%s **%s, uint64_t %s_bytes, int64_t %s_dims[%u], ", c_type(io->dtype),
                h->outputs[i], h->outputs[i], h->outputs[i], io->rank);
    }
    if (fixed) add(h, "void *workspace, ");
}

static void add_tensor(header *h, const char *array, size_t index, const sinter_loop_io *io,
                       const char *name, bool input) {
    bool known = is_static(io);
    add(h, "    %s[%zu].data = (void *)(uintptr_t)%s%s;\n", array, index, known || input ? "" : "*",
        name);
    add(h, "    %s[%zu].dtype = %d;\n    %s[%zu].rank = %u;\n", array, index,
        sinter_dtype_infos[io->dtype].onnx_code, array, index, io->rank);
    if (known) {
        add(h, "    %s[%zu].bytes = UINT64_C(%" PRIu64 ");\n", array, index,
            element_count(io) * ((sinter_dtype_infos[io->dtype].bits + 7) / 8));
        for (uint32_t d = 0; d < io->rank; d++)
            add(h, "    %s[%zu].dims[%u] = INT64_C(%" PRId64 ");\n", array, index, d, io->dims[d]);
    } else if (input) { /* sub-byte inputs are rounded up */
        add(h, "    %s[%zu].bytes = %u;\n", array, index, sinter_dtype_infos[io->dtype].bits);
        add(h, "    for (int d = 0; d < %u; d++) {\n        %s[%zu].dims[d] = %s_dims[d];\n",
            io->rank, array, index, name);
        add(h, "        %s[%zu].bytes *= (uint64_t)%s_dims[d];\n    }\n", array, index, name);
        add(h, "    %s[%zu].bytes = (%s[%zu].bytes + 7) / 8;\n", array, index, array, index);
    } else {
        add(h, "    %s[%zu].bytes = %s_bytes;\n", array, index, name);
    }
}

static void add_body(header *h, bool fixed) {
    const sinter_loop_program *p = h->program;
    size_t inputs = p->inputs.count, outputs = p->outputs.count, symbols = p->symbols.count;
    add(h, "    sinter_abi_tensor inputs[%zu], outputs[%zu];\n    int64_t symbols[%zu];\n",
        inputs + 1, outputs + 1, symbols + 1);
    add(h, "    sinter_abi_call call;\n    memset(inputs, 0, sizeof inputs);\n    memset(outputs, "
           "0, sizeof outputs);\n"
           "    memset(&call, 0, sizeof call);\n");
    for (size_t i = 0; i < inputs; i++)
        add_tensor(h, "inputs", i, &p->inputs.items[i], h->inputs[i], true);
    for (size_t i = 0; i < outputs; i++)
        add_tensor(h, "outputs", i, &p->outputs.items[i], h->outputs[i], false);
    add(h,
        "    call.size = sizeof call;\n    call.inputs = inputs;\n    call.outputs = outputs;\n"
        "    call.symbols = symbols;\n    call.services = services;\n"
        "    int32_t code = %s_artifact()->plan(&call);\n",
        h->name);
    if (fixed) {
        add(h,
            "    call.workspace = workspace;\n    if (!code) code = %s_artifact()->run(&call);\n",
            h->name);
    } else {
        add(h,
            "    void *workspace = code ? NULL : aligned_alloc(64, (size_t)(call.workspace_bytes + "
            "127) / 64 * 64);\n"
            "    if (!code && !workspace) {\n        code = SINTER_ABI_OUT_OF_MEMORY;\n"
            "        memcpy(call.message, \"no memory for the workspace\", 28);\n    }\n"
            "    call.workspace = workspace;\n    if (!code) code = %s_artifact()->run(&call);\n   "
            " free(workspace);\n",
            h->name);
        for (size_t i = 0; i < outputs; i++)
            if (!is_static(&p->outputs.items[i])) {
                add(h, "    *%s = (%s *)outputs[%zu].data;\n", h->outputs[i],
                    c_type(p->outputs.items[i].dtype), i);
                add(h, "    for (int d = 0; d < %u; d++) %s_dims[d] = outputs[%zu].dims[d];\n",
                    p->outputs.items[i].rank, h->outputs[i], i);
            }
    }
    add(h, "    if (code && services && services->log)\n"
           "        services->log(services->user, 0, call.message);\n    return code;\n}\n");
}

void sinter_package_header(const sinter_loop_program *program, const sinter_target *target,
                           const char *name, sinter_text *text) {
    header h = {.program = program, .name = name, .text = text, .workspace = 0};
    sinter_arena_init(&h.arena);
    char *upper = sinter_arena_format(&h.arena, "%s", name);
    for (char *c = upper; *c; c++) *c = (char)toupper((unsigned char)*c);
    h.upper = upper;
    h.inputs = parameter_names(&h, "in", program->inputs.items, program->inputs.count);
    h.outputs = parameter_names(&h, "out", program->outputs.items, program->outputs.count);
    if (program->workspace_bytes &&
        !sinter_loop_is_const_int(program->workspace_bytes, &h.workspace))
        h.workspace = -1;
    bool fixed = all_static(&h);
    add_opening(&h, target);
    sinter_text_append_string(text, sinter_c_abi_text);
    add(&h, "\n%s#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n",
        fixed ? "" : "#include <stdlib.h>\n\n");
    if (fixed)
        add(&h, "#define %s_WORKSPACE_BYTES %" PRId64 "\n\n", upper,
            h.workspace ? h.workspace : 64);
    add(&h,
        "/* The whole description, and how to run with threads or an own allocator: see "
        "sinter_abi_artifact above. */\n"
        "const sinter_abi_artifact *%s_artifact(void);\n\n",
        name);
    add(&h,
        "/* 0, or a SINTER_ABI_* code, and services->log is told why. services: NULL for one "
        "thread, malloc and\n"
        " * silence.%s */\n",
        fixed ? " workspace: 64-byte aligned. Allocates nothing." : "");
    add(&h, "static inline int32_t %s_run(", name);
    add_parameters(&h, fixed);
    add(&h, "const sinter_abi_services *services)\n{\n");
    add_body(&h, fixed);
    add(&h, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
    sinter_arena_deinit(&h.arena);
}
