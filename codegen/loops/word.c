/* Words of a few elements, as expressions. Test: tests/unit/isa_test.c */
#include "codegen/loops/word.h"
#include "codegen/loops/linear.h"

enum { HALF = 16 };

const sinter_loop_expr *sinter_loop_operand_beside(const sinter_loop_expr *expr,
                                                   sinter_scalar_function function,
                                                   int64_t constant) {
    int64_t value;
    bool fits = sinter_loop_is_call(expr, function) &&
                sinter_loop_is_const_int(expr->arguments[1], &value) && value == constant;
    return fits ? expr->arguments[0] : NULL;
}

/* x of  x << 16 >> 16 & 0xffff, or the expression itself. */
static const sinter_loop_expr *low_half(const sinter_loop_expr *expr) {
    const sinter_loop_expr *inner = sinter_loop_operand_beside(expr, SINTER_SCALAR_and, 0xffff);
    if (inner) inner = sinter_loop_operand_beside(inner, SINTER_SCALAR_shr, HALF);
    if (inner) inner = sinter_loop_operand_beside(inner, SINTER_SCALAR_shl, HALF);
    return inner ? inner : expr;
}

/* The load under a cast to i32 and a shift by whole elements. */
static const sinter_loop_expr *part_load(const sinter_loop_expr *expr, int64_t *out_part) {
    int64_t shift = 0;
    expr = low_half(expr);
    if (sinter_loop_is_call(expr, SINTER_SCALAR_shl)) {
        if (!sinter_loop_is_const_int(expr->arguments[1], &shift)) return NULL;
        expr = expr->arguments[0];
    }
    if (expr->kind != SINTER_LOOP_CAST || expr->dtype != SINTER_DTYPE_i32) return NULL;
    const sinter_loop_expr *load = expr->arguments[0];
    bool is_signed = load->kind == SINTER_LOOP_CAST && load->dtype == SINTER_DTYPE_u8 &&
                     load->arguments[0]->dtype == SINTER_DTYPE_i8;
    if (is_signed) load = load->arguments[0];
    int64_t bits = sinter_dtype_infos[load->dtype].bits;
    bool is_part = load->kind == SINTER_LOOP_LOAD &&
                   (is_signed || load->dtype == SINTER_DTYPE_u8 || load->dtype == SINTER_DTYPE_u16);
    *out_part = shift / bits;
    return is_part && shift % bits == 0 && shift >= 0 && shift < SINTER_WORD_BITS ? load : NULL;
}

static bool is_or(const sinter_loop_expr *expr) {
    return sinter_loop_is_call(expr, SINTER_SCALAR_or) && expr->dtype == SINTER_DTYPE_i32;
}

static bool find_loads(const sinter_loop_expr *expr, const sinter_loop_expr **loads,
                       uint32_t *count) {
    int64_t part;
    if (is_or(expr))
        return find_loads(expr->arguments[0], loads, count) &&
               find_loads(expr->arguments[1], loads, count);
    const sinter_loop_expr *load = part_load(expr, &part);
    if (!load || ++*count > SINTER_WORD_PARTS || loads[part]) return false;
    loads[part] = load;
    return true;
}

bool sinter_loop_elements_follow(const sinter_loop_expr *const *a, const sinter_loop_expr *const *b,
                                 uint32_t rank, int64_t distance) {
    sinter_linear first, second;
    for (uint32_t i = 0; i + 1 < rank; i++)
        if (!sinter_loop_expr_equal(a[i], b[i])) return false;
    return sinter_linear_of(a[rank - 1], &first) && sinter_linear_of(b[rank - 1], &second) &&
           sinter_linear_accumulate(&second, &first, -1) && second.count == 0 &&
           second.constant == distance;
}

uint32_t sinter_loop_word_loads(const sinter_loop_expr *expr, const sinter_loop_expr **out_loads) {
    uint32_t count = 0;
    for (uint32_t k = 0; k < SINTER_WORD_PARTS; k++) out_loads[k] = NULL;
    if (!is_or(expr) || !find_loads(expr, out_loads, &count)) return 0;
    const sinter_loop_expr *first = out_loads[0];
    if (!first || count * sinter_dtype_infos[first->dtype].bits != SINTER_WORD_BITS ||
        !first->argument_count)
        return 0;
    for (uint32_t k = 1; k < count; k++)
        if (!out_loads[k] || out_loads[k]->dtype != first->dtype ||
            out_loads[k]->buffer != first->buffer ||
            !sinter_loop_elements_follow(first->arguments, out_loads[k]->arguments,
                                         first->argument_count, k))
            return 0;
    return count;
}
