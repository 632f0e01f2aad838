/* Reads the text form of the loop IR (docs/loops.md), the inverse of print.c.
 * Needs: nothing, any text may come. Guarantees: NULL and at least one error with its line and column, or a program whose
 * ids are all in range and whose expressions are exactly as written: nothing is folded. Types are the verifier's.
 * Test: tests/codegen/loops/, tests/fuzz/loop_parse_fuzz.c */
#include "codegen/loops/parse.h"

#include <inttypes.h>
#include <string.h>

/* "x": f32[1,"N"] = [1, N] */
static bool parse_io(sinter_loop_parser *p, sinter_loop_io *out_io) {
    sinter_lexer *lexer = &p->lexer;
    sinter_string name;
    if (!sinter_lexer_expect_string(lexer, &name) || !sinter_lexer_expect(lexer, ":") ||
        !sinter_loop_parse_dtype(p, &out_io->dtype) || !sinter_lexer_expect(lexer, "["))
        return false;
    out_io->name = sinter_loop_parse_copy(p, name);
    const char **names = SINTER_NEW_ARRAY(p->arena, const char *, SINTER_MAX_RANK);
    int64_t *dims = SINTER_NEW_ARRAY(p->arena, int64_t, SINTER_MAX_RANK);
    out_io->dim_names = names;
    out_io->dims = dims;
    while (!sinter_lexer_accept(lexer, "]")) {
        uint32_t axis = out_io->rank;
        if (axis == SINTER_MAX_RANK)
            return sinter_lexer_error(lexer, "more than %d dims", SINTER_MAX_RANK);
        if (axis && !sinter_lexer_expect(lexer, ",")) return false;
        sinter_string dim;
        dims[axis] = -1;
        if (lexer->token.kind == SINTER_TOKEN_INTEGER) {
            if (!sinter_lexer_expect_integer(lexer, &dims[axis])) return false;
            names[axis] = sinter_arena_format(p->arena, "%" PRId64, dims[axis]);
        } else if (sinter_lexer_expect_string(lexer, &dim))
            names[axis] = sinter_loop_parse_copy(p, dim);
        else
            return false;
        out_io->rank++;
    }
    return true;
}

static bool parse_input(sinter_loop_parser *p) {
    sinter_loop_io io = {0};
    if (!parse_io(p, &io)) return false;
    sinter_vector_push(p->arena, &p->program->inputs, io);
    return true;
}

/* What speaks of symbols comes behind the host function, whose parameters they are. */
static bool need_host(sinter_loop_parser *p, const char *position) {
    return (p->program->host && p->is_host) ||
           sinter_lexer_error_at(&p->lexer, position, "expected the host function before this");
}

static bool parse_output(sinter_loop_parser *p) {
    const char *position = p->lexer.token.position;
    sinter_loop_io io = {0};
    if (!parse_io(p, &io)) return false;
    if (sinter_lexer_accept(&p->lexer, "=")) {
        sinter_loop_exprs dims;
        if (!need_host(p, position) || !sinter_lexer_expect(&p->lexer, "[") ||
            !sinter_loop_parse_list(p, "]", true, &dims))
            return false;
        if (dims.count != io.rank)
            return sinter_lexer_error(&p->lexer, "expected %u dims, found %zu", io.rank,
                                      dims.count);
        io.dim_exprs = dims.items;
    }
    sinter_vector_push(p->arena, &p->program->outputs, io);
    return true;
}

static bool parse_symbol(sinter_loop_parser *p) {
    sinter_lexer *lexer = &p->lexer;
    sinter_loop_symbol symbol = {0};
    sinter_string name;
    if (!sinter_lexer_expect_string(lexer, &name) || !sinter_lexer_expect(lexer, ":") ||
        !sinter_lexer_expect_integer(lexer, &symbol.min) || !sinter_lexer_expect(lexer, "..") ||
        !sinter_lexer_expect_integer(lexer, &symbol.max) ||
        !sinter_lexer_expect(lexer, "multiple") ||
        !sinter_lexer_expect_integer(lexer, &symbol.multiple) ||
        !sinter_lexer_expect(lexer, "from") || !sinter_lexer_expect(lexer, "input") ||
        !sinter_loop_parse_unsigned(p, &symbol.input))
        return false;
    symbol.name = sinter_loop_parse_copy(p, name);
    symbol.content = sinter_lexer_accept(lexer, "element");
    if (!symbol.content && !sinter_lexer_expect(lexer, "dim")) return false;
    if (!sinter_loop_parse_unsigned(p, &symbol.index)) return false;
    if (symbol.multiple < 1)
        return sinter_lexer_error(lexer, "symbol %s: the multiple must be positive", symbol.name);
    if (symbol.input >= p->program->inputs.count)
        return sinter_lexer_error(lexer, "symbol %s: there is no input %u", symbol.name,
                                  symbol.input);
    sinter_vector_push(p->arena, &p->program->symbols, symbol);
    return true;
}

static bool parse_check(sinter_loop_parser *p) {
    const char *position = p->lexer.token.position;
    sinter_loop_check check = {0};
    if (!need_host(p, position) || !sinter_lexer_expect(&p->lexer, "input") ||
        !sinter_loop_parse_unsigned(p, &check.input) || !sinter_lexer_expect(&p->lexer, "dim") ||
        !sinter_loop_parse_unsigned(p, &check.axis) || !sinter_lexer_expect(&p->lexer, "==") ||
        !sinter_loop_parse_expr(p, &check.expected))
        return false;
    if (check.input >= p->program->inputs.count ||
        check.axis >= p->program->inputs.items[check.input].rank)
        return sinter_lexer_error_at(&p->lexer, position, "there is no input %u with a dim %u",
                                     check.input, check.axis);
    sinter_vector_push(p->arena, &p->program->checks, check);
    return true;
}

static bool parse_donation(sinter_loop_parser *p) {
    const char *position = p->lexer.token.position;
    sinter_loop_donation donation = {0};
    if (!sinter_lexer_expect(&p->lexer, "output") ||
        !sinter_loop_parse_unsigned(p, &donation.output) ||
        !sinter_lexer_expect(&p->lexer, "takes") || !sinter_lexer_expect(&p->lexer, "input") ||
        !sinter_loop_parse_unsigned(p, &donation.input))
        return false;
    if (donation.output >= p->program->outputs.count || donation.input >= p->program->inputs.count)
        return sinter_lexer_error_at(&p->lexer, position, "there is no output %u or no input %u",
                                     donation.output, donation.input);
    sinter_vector_push(p->arena, &p->program->donations, donation);
    return true;
}

static bool parse_workspace(sinter_loop_parser *p) {
    return need_host(p, p->lexer.token.position) &&
           sinter_loop_parse_expr(p, &p->program->workspace_bytes);
}

static bool parse_elements(sinter_loop_parser *p, sinter_tensor *tensor) {
    sinter_lexer *lexer = &p->lexer;
    if (sinter_dtype_infos[tensor->dtype].class == SINTER_CLASS_COMPLEX)
        return sinter_lexer_error(lexer, "complex elements are written as bytes: 0x...");
    int64_t count = sinter_tensor_count(tensor), index = 0;
    bool is_float = sinter_dtype_is_float(tensor->dtype);
    while (!sinter_lexer_accept(lexer, "]")) {
        if (index == count)
            return sinter_lexer_error(lexer, "more than %" PRId64 " elements", count);
        if (index && !sinter_lexer_expect(lexer, ",")) return false;
        if (tensor->dtype == SINTER_DTYPE_string) {
            sinter_string string;
            if (!sinter_lexer_expect_string(lexer, &string)) return false;
            sinter_tensor_set_string(tensor, index, string);
        } else if (is_float) {
            double value;
            if (!sinter_lexer_expect_number(lexer, &value)) return false;
            sinter_tensor_set_double(tensor, index, value);
        } else {
            bool wide =
                tensor->dtype == SINTER_DTYPE_u64 && lexer->token.kind == SINTER_TOKEN_INTEGER;
            int64_t value = (int64_t)lexer->token.integer;
            if (wide)
                sinter_lexer_next(lexer);
            else if (!sinter_lexer_expect_integer(lexer, &value))
                return false;
            sinter_tensor_set_int(tensor, index, value);
            if (sinter_tensor_get_int(tensor, index) != value)
                return sinter_lexer_error(lexer, "element %" PRId64 " does not fit %s", index,
                                          sinter_dtype_infos[tensor->dtype].name);
        }
        index++;
    }
    return index == count ||
           sinter_lexer_error(lexer, "expected %" PRId64 " elements, found %" PRId64, count, index);
}

static bool parse_bytes(sinter_loop_parser *p, sinter_tensor *tensor) {
    sinter_string digits = p->lexer.token.text;
    size_t bytes = sinter_tensor_bytes(tensor);
    if (digits.size != bytes * 2 || tensor->dtype == SINTER_DTYPE_string)
        return sinter_lexer_error(&p->lexer, "expected %zu bytes, found %zu digits", bytes,
                                  digits.size);
    unsigned char *data = sinter_tensor_mutable(tensor);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (unsigned char)(sinter_hex_digit(digits.data[2 * i]) << 4 |
                                  sinter_hex_digit(digits.data[2 * i + 1]));
    sinter_lexer_next(&p->lexer);
    return true;
}

/* "0: f32[2] = [1, 2]", "= 0x..." or "= ...": data that the text leaves out. */
static bool parse_constant(sinter_loop_parser *p) {
    sinter_lexer *lexer = &p->lexer;
    uint32_t index;
    sinter_dtype dtype;
    int64_t dims[SINTER_MAX_RANK];
    uint32_t rank = 0;
    const char *position = lexer->token.position;
    if (!sinter_loop_parse_unsigned(p, &index) || !sinter_lexer_expect(lexer, ":") ||
        !sinter_loop_parse_dtype(p, &dtype) || !sinter_lexer_expect(lexer, "["))
        return false;
    if (index != p->program->constants.count)
        return sinter_lexer_error_at(lexer, position, "expected constant %zu",
                                     p->program->constants.count);
    uint64_t count = 1, bytes;
    while (!sinter_lexer_accept(lexer, "]")) {
        if (rank == SINTER_MAX_RANK)
            return sinter_lexer_error(lexer, "more than %d dims", SINTER_MAX_RANK);
        if ((rank && !sinter_lexer_expect(lexer, ",")) ||
            !sinter_lexer_expect_integer(lexer, &dims[rank]))
            return false;
        if (dims[rank] < 0 || __builtin_mul_overflow(count, (uint64_t)dims[rank], &count))
            return sinter_lexer_error(lexer, "the constant is too large");
        rank++;
    }
    if (!sinter_dtype_bytes(dtype, count, &bytes))
        return sinter_lexer_error(lexer, "the constant is too large");
    if (!sinter_lexer_expect(lexer, "=")) return false;
    sinter_loop_constant constant = {
        .tensor = {.kind = SINTER_TYPE_TENSOR, .dtype = dtype, .rank = rank}};
    if (rank) memcpy(constant.tensor.dims, dims, rank * sizeof *dims);
    bool left_out = sinter_lexer_accept(lexer, "...");
    /* What is written takes about as much text as memory, so a short text cannot ask for a large tensor. */
    if (!left_out && count > (uint64_t)(lexer->end - lexer->token.position))
        return sinter_lexer_error(lexer, "the text is too short for the constant");
    if (!left_out && !sinter_tensor_create(&constant.tensor, dtype, rank, dims, lexer->diag))
        return false;
    bool ok = true;
    if (!left_out && lexer->token.kind == SINTER_TOKEN_HEX)
        ok = parse_bytes(p, &constant.tensor);
    else if (!left_out)
        ok = sinter_lexer_expect(lexer, "[") && parse_elements(p, &constant.tensor);
    sinter_vector_push(p->arena, &p->program->constants, constant);
    return ok;
}

static bool parse_kernel(sinter_loop_parser *p) {
    return sinter_loop_parse_function(p, false);
}

static bool parse_host(sinter_loop_parser *p) {
    return sinter_loop_parse_function(p, true);
}

static bool parse_section(sinter_loop_parser *p) {
    static const struct {
        const char *word;
        bool (*parse)(sinter_loop_parser *);
    } sections[] = {
        {"input", parse_input},       {"output", parse_output},       {"symbol", parse_symbol},
        {"constant", parse_constant}, {"kernel", parse_kernel},       {"host", parse_host},
        {"check", parse_check},       {"workspace", parse_workspace}, {"donate", parse_donation}};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (sinter_lexer_accept(&p->lexer, sections[i].word)) return sections[i].parse(p);
    return sinter_lexer_error_expected(
        &p->lexer, "kernel, host, input, output, symbol, constant, check, donate or workspace");
}

static bool parse_program(sinter_loop_parser *p) {
    bool wrapped = sinter_lexer_accept(&p->lexer, "program");
    if (wrapped) {
        sinter_string name;
        if (!sinter_lexer_expect_string(&p->lexer, &name) || !sinter_lexer_expect(&p->lexer, "{"))
            return false;
        p->program->name = sinter_loop_parse_copy(p, name);
    }
    while (wrapped ? !sinter_lexer_accept(&p->lexer, "}") : p->lexer.token.kind != SINTER_TOKEN_END)
        if (!parse_section(p)) return false;
    return p->lexer.token.kind == SINTER_TOKEN_END ||
           sinter_lexer_error_expected(&p->lexer, "the end of the text");
}

sinter_loop_program *sinter_loop_parse(const char *path, const char *text, size_t size,
                                       sinter_diag *diag) {
    sinter_loop_parser p = {.program = sinter_loop_program_create("")};
    p.arena = &p.program->arena;
    sinter_lexer_init(&p.lexer, path, text, size, p.arena, diag);
    sinter_map_init(&p.kernels, p.arena);
    sinter_map_init(&p.buffers, p.arena);
    if (parse_program(&p)) return p.program;
    sinter_loop_program_destroy(p.program);
    return NULL;
}
