/* Expressions in C.
 *
 * The meaning is the evaluator's, not C's: signed arithmetic that might wrap goes through unsigned types, narrow
 * results are cast back from int. Subexpressions that a statement uses twice become constants in front of it.
 * Test: tests/unit/emit_test.c */
#include "codegen/emit/c.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- types and small things ---- */

const char *sinter_c_memory(sinter_dtype dtype) {
    if (sinter_dtype_infos[dtype].class == SINTER_CLASS_COMPLEX)
        return dtype == SINTER_DTYPE_c64 ? "sinter_pair32" : "sinter_pair64";
    return sinter_dtype_infos[dtype].c_type;
}

const char *sinter_c_type(sinter_dtype dtype) {
    return dtype == SINTER_DTYPE_bool ? "bool" : sinter_c_memory(dtype);
}

void sinter_c_line(sinter_c_emitter *e) {
    for (int i = 0; i < e->indent; i++) sinter_text_append_string(e->text, "    ");
}

void sinter_c_error(sinter_c_emitter *e, const char *message) {
    if (!e->broken)
        sinter_error(e->diag, e->function ? e->function->name : e->program->name, "%s", message);
    e->broken = true;
}

void sinter_c_string(sinter_text *text, const char *string) {
    sinter_text_append_string(text, "\"");
    for (const char *at = string; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '"' || c == '\\')
            sinter_text_format(text, "\\%c", c);
        else if (c == '?' || c < 32 || c > 126)
            sinter_text_format(text, "\\%03o", c); /* '?': no trigraphs */
        else
            sinter_text_append(text, at, 1);
    }
    sinter_text_append_string(text, "\"");
}

const char *sinter_c_comment(sinter_arena *arena, const char *string) {
    char *copy = sinter_arena_copy_string(arena, string, strlen(string));
    for (char *at = copy; *at; at++) {
        bool ends = at > copy && ((at[-1] == '*' && *at == '/') || (at[-1] == '/' && *at == '*'));
        if (ends || *at < 32 || *at > 126 || *at == '\\') *at = '?';
    }
    return copy;
}

static bool is_signed(sinter_dtype dtype) {
    return sinter_dtype_infos[dtype].class == SINTER_CLASS_INT;
}

static void print_constant(const sinter_loop_expr *expr, sinter_text *text) {
    int64_t value = expr->int_value;
    if (sinter_dtype_is_float(expr->dtype)) {
        double number = expr->float_value;
        const char *suffix = expr->dtype == SINTER_DTYPE_f32 ? "f" : "";
        if (isnan(number)) {
            sinter_text_append_string(text, "NAN");
        } else if (isinf(number)) {
            sinter_text_append_string(text, number < 0 ? "(-INFINITY)" : "INFINITY");
        } else {
            char digits[40]; /* enough to read back the same number */
            snprintf(digits, sizeof digits, expr->dtype == SINTER_DTYPE_f32 ? "%.9g" : "%.17g",
                     number);
            bool whole = !strpbrk(digits, ".e");
            sinter_text_format(text, signbit(number) ? "(%s%s%s)" : "%s%s%s", digits,
                               whole ? ".0" : "", suffix);
        }
        return;
    }
    switch (expr->dtype) {
    case SINTER_DTYPE_bool:
        sinter_text_append_string(text, value ? "true" : "false");
        return;
    case SINTER_DTYPE_u64:
        sinter_text_format(text, "UINT64_C(%" PRIu64 ")", (uint64_t)value);
        return;
    case SINTER_DTYPE_u32:
        sinter_text_format(text, "%" PRIu32 "u", (uint32_t)value);
        return;
    default:
        break;
    }
    if (value == INT64_MIN)
        sinter_text_append_string(text, "INT64_MIN");
    else if (value > INT32_MAX || value <= INT32_MIN)
        sinter_text_format(text, value < 0 ? "(-INT64_C(%" PRId64 "))" : "INT64_C(%" PRId64 ")",
                           value < 0 ? -value : value);
    else
        sinter_text_format(text, value < 0 ? "(%" PRId64 ")" : "%" PRId64, value);
}

/* Does the parenthesis that a text begins with close at its end? */
static bool closes_at_end(const char *text) {
    int depth = 0;
    for (const char *at = text; *at; at++) {
        depth += (*at == '(') - (*at == ')');
        if (!depth) return !at[1];
    }
    return false;
}

/* A whole expression needs no parentheses around it. */
const char *sinter_c_strip(sinter_c_emitter *e, const char *text) {
    if (text[0] != '(' || !closes_at_end(text)) return text;
    return sinter_arena_copy_string(e->arena, text + 1, strlen(text) - 2);
}

/* ---- functions on operand texts ---- */

static const char *unsigned_type(sinter_dtype dtype) {
    return sinter_dtype_infos[dtype].bits == 64 ? "uint64_t" : "uint32_t";
}

/* a op b that wraps, for 32 and 64 bits; narrower types compute as int and are cast. */
static void print_wrapping(sinter_dtype dtype, const char *operator, const char * a, const char *b,
                           sinter_text *text) {
    const char *type = sinter_c_type(dtype);
    if (sinter_dtype_infos[dtype].bits < 32 && *operator!= '*')
        sinter_text_format(text, "(%s)(%s %s %s)", type, a, operator, b);
    else if (is_signed(dtype) || sinter_dtype_infos[dtype].bits < 32)
        sinter_text_format(text, "(%s)((%s)%s %s (%s)%s)", type, unsigned_type(dtype), a, operator,
                           unsigned_type(dtype), b);
    else
        sinter_text_format(text, "(%s %s %s)", a, operator, b);
}

static void print_infix(const char *spelling, const char *const *operands, sinter_text *text) {
    sinter_text_append_string(text, "(");
    for (const char *at = spelling; *at; at++)
        if (*at == '$')
            sinter_text_append_string(text, operands[*++at - '0']);
        else
            sinter_text_append(text, at, 1);
    sinter_text_append_string(text, ")");
}

static void print_call(const char *name, const char *suffix, const char *const *operands,
                       uint32_t count, sinter_text *text) {
    sinter_text_format(text, "%s%s(", name, suffix);
    for (uint32_t i = 0; i < count; i++)
        sinter_text_format(text, "%s%s", i ? ", " : "", operands[i]);
    sinter_text_append_string(text, ")");
}

static bool apply_integer(sinter_scalar_function function, sinter_dtype dtype,
                          const char *const *operands, sinter_text *text) {
    const char *type = sinter_c_type(dtype), *name = sinter_dtype_infos[dtype].name;
    bool narrow = sinter_dtype_infos[dtype].bits < 32;
    switch (function) {
    case SINTER_SCALAR_add:
        print_wrapping(dtype, "+", operands[0], operands[1], text);
        return true;
    case SINTER_SCALAR_sub:
        print_wrapping(dtype, "-", operands[0], operands[1], text);
        return true;
    case SINTER_SCALAR_mul:
        print_wrapping(dtype, "*", operands[0], operands[1], text);
        return true;
    case SINTER_SCALAR_neg:
        print_wrapping(dtype, "-", "0", operands[0], text);
        return true;
    case SINTER_SCALAR_shl:
        sinter_text_format(text, "(%s)((%s)%s << %s)", type, unsigned_type(dtype), operands[0],
                           operands[1]);
        return true;
    case SINTER_SCALAR_not:
        sinter_text_format(text, "(%s)~%s", type, operands[0]);
        return true;
    case SINTER_SCALAR_rem:
        sinter_text_format(text, narrow ? "(%s)(%s %% %s)" : "%.0s(%s %% %s)", type, operands[0],
                           operands[1]);
        return true;
    case SINTER_SCALAR_floor:
    case SINTER_SCALAR_ceil:
    case SINTER_SCALAR_trunc:
    case SINTER_SCALAR_round_even:
        sinter_text_append_string(text, operands[0]);
        return true;
    case SINTER_SCALAR_abs:
        if (!is_signed(dtype))
            sinter_text_append_string(text, operands[0]);
        else
            sinter_text_format(text, "sinter_abs_%s(%s)", name, operands[0]);
        return true;
    case SINTER_SCALAR_min:
    case SINTER_SCALAR_max:
    case SINTER_SCALAR_pow:
        sinter_text_format(text, "sinter_%s_%s(%s, %s)", sinter_scalar_get_info(function)->name,
                           name, operands[0], operands[1]);
        return true;
    case SINTER_SCALAR_div:
    case SINTER_SCALAR_and:
    case SINTER_SCALAR_or:
    case SINTER_SCALAR_xor:
    case SINTER_SCALAR_shr:
        if (narrow) sinter_text_format(text, "(%s)", type);
        return false; /* as scalar.def spells it */
    default:
        return false;
    }
}

static bool apply_bool(sinter_scalar_function function, const char *const *operands,
                       sinter_text *text) {
    switch (function) {
    case SINTER_SCALAR_add:
    case SINTER_SCALAR_or:
    case SINTER_SCALAR_max:
        sinter_text_format(text, "(%s || %s)", operands[0], operands[1]);
        return true;
    case SINTER_SCALAR_mul:
    case SINTER_SCALAR_and:
    case SINTER_SCALAR_min:
        sinter_text_format(text, "(%s && %s)", operands[0], operands[1]);
        return true;
    case SINTER_SCALAR_xor:
        sinter_text_format(text, "(%s != %s)", operands[0], operands[1]);
        return true;
    case SINTER_SCALAR_not:
        sinter_text_format(text, "!%s", operands[0]);
        return true;
    default:
        return false;
    }
}

void sinter_c_apply(sinter_c_emitter *e, sinter_scalar_function function, sinter_dtype dtype,
                    const char *const *operands, sinter_text *text) {
    (void)e;
    const sinter_scalar_info *info = sinter_scalar_get_info(function);
    if (function == SINTER_SCALAR_bits || function == SINTER_SCALAR_from_bits) {
        sinter_text_format(text, "%s_%s(%s)", info->c, sinter_dtype_infos[dtype].name, operands[0]);
        return;
    }
    if (dtype == SINTER_DTYPE_bool && apply_bool(function, operands, text)) return;
    if (sinter_dtype_is_integer(dtype) && apply_integer(function, dtype, operands, text)) return;
    if (strchr(info->c, '$')) {
        print_infix(info->c, operands, text);
        return;
    }
    bool is_single = dtype == SINTER_DTYPE_f32, ours = !strncmp(info->c, "sinter_", 7);
    bool is_macro = function == SINTER_SCALAR_is_nan;
    const char *suffix = is_macro ? ""
                         : ours   ? (is_single ? "_f32" : "_f64")
                                  : (is_single ? "f" : "");
    print_call(info->c, suffix, operands, info->arity, text);
}

/* ---- casts ---- */

static void print_cast(sinter_dtype from, sinter_dtype to, const char *operand, sinter_text *text) {
    const sinter_dtype_info *target = &sinter_dtype_infos[to];
    bool from_float = sinter_dtype_is_float(from);
    if (to == SINTER_DTYPE_bool)
        sinter_text_format(text, "(%s != 0)", operand);
    else if (from_float && target->class != SINTER_CLASS_FLOAT)
        sinter_text_format(text, "(%s)sinter_to_%s(%s)", target->c_type,
                           to == SINTER_DTYPE_u64                         ? "u64"
                           : target->bits == 64 || to == SINTER_DTYPE_u32 ? "i64"
                                                                          : "i32",
                           operand);
    else
        sinter_text_format(text, "(%s)%s", target->c_type, operand);
}

/* ---- expressions ---- */

/* A sum, difference or product of i64 or i32. */
static bool may_wrap(const sinter_c_emitter *e, const sinter_loop_expr *expr) {
    int64_t low, high, a[2], b[2];
    if (expr->dtype != SINTER_DTYPE_i32) return !sinter_loop_range(e->function, expr, &low, &high);
    sinter_loop_range(e->function, expr->arguments[0], &a[0], &a[1]);
    sinter_loop_range(e->function, expr->arguments[1], &b[0], &b[1]);
    for (int i = 0; i < 4; i++) { /* the corners; of 32 bits each, so that 64 hold the results */
        int64_t x = a[i & 1], y = b[i >> 1];
        int64_t result = expr->function == SINTER_SCALAR_add   ? x + y
                         : expr->function == SINTER_SCALAR_sub ? x - y
                                                               : x * y;
        if (result < INT32_MIN || result > INT32_MAX) return true;
    }
    return false;
}

static void print(sinter_c_emitter *e, const sinter_loop_expr *expr, bool is_index,
                  sinter_text *text);

/* Sums and products without concern for overflow: "(i * 4 + j)". */
static bool print_plain(sinter_c_emitter *e, const sinter_loop_expr *expr, bool is_index,
                        sinter_text *text) {
    if (expr->dtype != SINTER_DTYPE_i64 && expr->dtype != SINTER_DTYPE_i32) return false;
    const char *operator= expr->function == SINTER_SCALAR_add ? "+"
    : expr->function == SINTER_SCALAR_sub                     ? "-"
    : expr->function == SINTER_SCALAR_mul                     ? "*"
                                                              : NULL;
    if (!operator|| e->checked ||(!is_index && may_wrap(e, expr))) return false;
    sinter_text_append_string(text, "(");
    print(e, expr->arguments[0], is_index, text);
    sinter_text_format(text, " %s ", operator);
    print(e, expr->arguments[1], is_index, text);
    sinter_text_append_string(text, ")");
    return true;
}

/* Nothing is less than the least number of its type, or greater than the greatest; compilers warn of such tests. */
static bool print_known_comparison(const sinter_loop_expr *expr, sinter_text *text) {
    bool less = expr->function == SINTER_SCALAR_lt;
    if (!less && expr->function != SINTER_SCALAR_le) return false;
    const sinter_loop_expr *low = expr->arguments[less], *high = expr->arguments[!less];
    const sinter_dtype_info *info = &sinter_dtype_infos[low->dtype];
    if (!sinter_dtype_is_integer(low->dtype) || low->dtype == SINTER_DTYPE_bool) return false;
    uint64_t ones = info->bits == 64 ? UINT64_MAX : ((uint64_t)1 << info->bits) - 1;
    bool has_sign = info->class == SINTER_CLASS_INT;
    int64_t most = (int64_t)(ones >> has_sign), least = has_sign ? -most - 1 : 0, value;
    bool known = (sinter_loop_is_const_int(low, &value) && value == least) ||
                 (sinter_loop_is_const_int(high, &value) && value == most);
    if (known) sinter_text_append_string(text, less ? "false" : "true");
    return known;
}

static void print_call_expr(sinter_c_emitter *e, const sinter_loop_expr *expr, bool is_index,
                            sinter_text *text) {
    if (print_plain(e, expr, is_index, text) || print_known_comparison(expr, text)) return;
    sinter_text operands[3] = {{0}};
    const char *texts[3] = {0};
    bool inner_index = is_index && expr->dtype == SINTER_DTYPE_i64;
    for (uint32_t i = 0; i < expr->argument_count; i++) {
        print(e, expr->arguments[i], inner_index, &operands[i]);
        texts[i] = operands[i].data;
    }
    sinter_dtype dtype = expr->arguments[expr->function == SINTER_SCALAR_select]->dtype;
    bool arithmetic = expr->function == SINTER_SCALAR_add || expr->function == SINTER_SCALAR_sub ||
                      expr->function == SINTER_SCALAR_mul;
    if (e->checked && arithmetic && dtype == SINTER_DTYPE_i64) {
        e->overflows = true;
        sinter_text_format(text, "sinter_checked_%s(%s, %s, &overflow)",
                           sinter_scalar_get_info(expr->function)->name, texts[0], texts[1]);
    } else
        sinter_c_apply(e, expr->function, dtype, texts, text);
    for (uint32_t i = 0; i < expr->argument_count; i++) sinter_text_deinit(&operands[i]);
}

/* The helpers have a function for each row of loops/intrinsic.def. */
static void print_intrinsic(sinter_c_emitter *e, const sinter_loop_expr *expr, sinter_text *text) {
    sinter_text_format(text, "sinter_%s(", sinter_loop_intrinsic_infos[expr->intrinsic].name);
    for (uint32_t i = 0; i < expr->argument_count; i++) {
        if (i) sinter_text_append_string(text, ", ");
        print(e, expr->arguments[i], false, text);
    }
    sinter_text_append_string(text, ")");
}

const char *sinter_c_position(sinter_c_emitter *e, sinter_loop_buffer buffer,
                              const sinter_loop_expr *const *indices) {
    const sinter_loop_buffer_info *info = &e->function->buffers.items[buffer];
    sinter_text linear = {0};
    for (uint32_t i = sinter_c_spread_dims(e, buffer); i < info->rank; i++) {
        int64_t index;
        bool is_zero = sinter_loop_is_const_int(indices[i], &index) && index == 0;
        if (linear.size) {
            bool is_sum = strstr(linear.data, " + ") != NULL;
            sinter_text outer = {0};
            sinter_text_format(&outer, is_sum ? "(%s) * " : "%s * ", linear.data);
            sinter_c_index(e, info->dims[i], &outer);
            if (!is_zero) sinter_text_append_string(&outer, " + ");
            sinter_text_deinit(&linear);
            linear = outer;
        }
        if (!is_zero) sinter_c_index(e, indices[i], &linear);
    }
    const char *index =
        linear.size ? sinter_arena_copy_string(e->arena, linear.data, linear.size) : "0";
    sinter_text_deinit(&linear);
    return sinter_c_strip(e, index);
}

void sinter_c_element(sinter_c_emitter *e, sinter_loop_buffer buffer,
                      const sinter_loop_expr *const *indices, sinter_text *text) {
    sinter_text_format(text, "%s[%s]", e->buffers[buffer], sinter_c_position(e, buffer, indices));
}

static void print(sinter_c_emitter *e, const sinter_loop_expr *expr, bool is_index,
                  sinter_text *text) {
    uint64_t number;
    if (sinter_map_find(&e->temporaries, (uintptr_t)expr, &number)) {
        sinter_text_format(text, "t%u", (unsigned)number);
        return;
    }
    switch (expr->kind) {
    case SINTER_LOOP_CONST:
        print_constant(expr, text);
        return;
    case SINTER_LOOP_VAR:
        sinter_text_append_string(text, e->vars[expr->var]);
        e->printed[expr->var] = true;
        return;
    case SINTER_LOOP_LOAD:
        if (expr->dtype == SINTER_DTYPE_bool) sinter_text_append_string(text, "(bool)");
        if (e->lane && sinter_map_find(&e->wide, (uintptr_t)expr, &number)) {
            sinter_text_format(text, "wide%u[%s]", (unsigned)number, e->vars[e->lane]);
            e->printed[e->lane] = true;
            return;
        }
        sinter_c_element(e, expr->buffer, expr->arguments, text);
        return;
    case SINTER_LOOP_CALL:
        print_call_expr(e, expr, is_index, text);
        return;
    case SINTER_LOOP_CAST: {
        sinter_text operand = {0};
        print(e, expr->arguments[0], false, &operand);
        print_cast(expr->arguments[0]->dtype, expr->dtype, operand.data, text);
        sinter_text_deinit(&operand);
        return;
    }
    case SINTER_LOOP_INTRINSIC:
        print_intrinsic(e, expr, text);
        return;
    }
}

void sinter_c_expr(sinter_c_emitter *e, const sinter_loop_expr *expr, sinter_text *text) {
    print(e, expr, false, text);
}

void sinter_c_index(sinter_c_emitter *e, const sinter_loop_expr *expr, sinter_text *text) {
    print(e, expr, true, text);
}

/* ---- shared subexpressions ---- */

static void count_uses(sinter_c_emitter *e, sinter_map *uses, const sinter_loop_expr *expr) {
    uint64_t count = 0;
    if (expr->kind == SINTER_LOOP_CONST || expr->kind == SINTER_LOOP_VAR) return;
    bool seen = sinter_map_find(uses, (uintptr_t)expr, &count);
    sinter_map_put(uses, (uintptr_t)expr, count + 1);
    for (uint32_t i = 0; i < expr->argument_count && !seen; i++)
        count_uses(e, uses, expr->arguments[i]);
    if (expr->kind != SINTER_LOOP_LOAD || seen) return;
    const sinter_loop_buffer_info *info = &e->function->buffers.items[expr->buffer];
    for (uint32_t i = 1; i < info->rank; i++) count_uses(e, uses, info->dims[i]);
}

static void declare_shared(sinter_c_emitter *e, const sinter_map *uses, sinter_map *visited,
                           const sinter_loop_expr *expr) {
    uint64_t count = 0;
    if (!sinter_map_find(uses, (uintptr_t)expr, &count)) return;
    uint64_t done;
    if (sinter_map_find(visited, (uintptr_t)expr, &done)) return;
    sinter_map_put(visited, (uintptr_t)expr, 1);
    for (uint32_t i = 0; i < expr->argument_count; i++)
        declare_shared(e, uses, visited, expr->arguments[i]);
    if (count < 2) return;
    sinter_text value = {0};
    print(e, expr, expr->dtype == SINTER_DTYPE_i64 && !may_wrap(e, expr), &value);
    sinter_c_line(e);
    sinter_text_format(e->text, "const %s t%u = %s;\n", sinter_c_type(expr->dtype),
                       e->temporary_count, sinter_c_strip(e, value.data));
    sinter_map_put(&e->temporaries, (uintptr_t)expr, e->temporary_count++);
    sinter_text_deinit(&value);
}

void sinter_c_share(sinter_c_emitter *e, const sinter_loop_expr *const *exprs, size_t count) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_map uses, visited;
    sinter_map_init(&uses, &scratch);
    sinter_map_init(&visited, &scratch);
    sinter_map_init(&e->temporaries, e->arena);
    for (size_t i = 0; i < count; i++)
        if (exprs[i]) count_uses(e, &uses, exprs[i]);
    for (size_t i = 0; i < count; i++)
        if (exprs[i]) declare_shared(e, &uses, &visited, exprs[i]);
    sinter_arena_deinit(&scratch);
}
