/* See align.h. */
#include "codegen/loops/align.h"
#include "codegen/loops/linear.h"

static int64_t multiply(int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? 1 : product;
}

static int64_t divisor_of_call(sinter_loop_scopes *scopes, sinter_expr expr) {
    int64_t a, b, by;
    switch (expr->function) {
    case SINTER_SCALAR_add:
    case SINTER_SCALAR_sub:
    case SINTER_SCALAR_min:
    case SINTER_SCALAR_max:
    case SINTER_SCALAR_rem:
        a = sinter_loop_divisor(scopes, expr->arguments[0]);
        b = sinter_loop_divisor(scopes, expr->arguments[1]);
        return sinter_linear_gcd(a, b);
    case SINTER_SCALAR_mul:
        a = sinter_loop_divisor(scopes, expr->arguments[0]);
        b = sinter_loop_divisor(scopes, expr->arguments[1]);
        return multiply(a, b);
    case SINTER_SCALAR_div:
        a = sinter_loop_divisor(scopes, expr->arguments[0]);
        if (!a) return 0;
        return sinter_loop_is_const_int(expr->arguments[1], &by) && by > 0 && a % by == 0 ? a / by
                                                                                          : 1;
    default:
        return 1;
    }
}

int64_t sinter_loop_divisor(sinter_loop_scopes *scopes, sinter_expr expr) {
    int64_t value;
    if (sinter_loop_is_const_int(expr, &value))
        return value == INT64_MIN ? 1 : value < 0 ? -value : value;
    if (expr->kind == SINTER_LOOP_CALL && expr->dtype == SINTER_DTYPE_i64)
        return divisor_of_call(scopes, expr);
    if (expr->kind != SINTER_LOOP_VAR || !scopes->vars[expr->var] ||
        scopes->vars[expr->var]->kind != SINTER_LOOP_FOR)
        return 1;
    const sinter_loop_stmt *loop = scopes->vars[expr->var];
    sinter_expr lower = sinter_loop_map_expr(&scopes->lets, loop->lower);
    return sinter_linear_gcd(sinter_loop_divisor(scopes, lower), loop->step);
}

typedef struct alias_search {
    sinter_loop_scopes *scopes;
    sinter_loop_buffer buffer;
    uint32_t alignment;
    bool found;
} alias_search;

/* A name may be bound in several branches: what all of them keep. */
static bool look_at_bind(void *user, sinter_loop_stmt *stmt) {
    alias_search *search = user;
    if (stmt->kind != SINTER_LOOP_BIND || stmt->buffer != search->buffer) return true;
    sinter_loop_scopes *scopes = search->scopes;
    const sinter_dtype dtype = scopes->function->buffers.items[stmt->source].dtype;
    const int64_t elements =
                      sinter_loop_divisor(scopes, sinter_loop_map_expr(&scopes->lets, stmt->value)),
                  bits = multiply(elements, sinter_dtype_infos[dtype].bits),
                  bytes = bits % 8 ? 1 : bits / 8;
    int64_t both = sinter_linear_gcd(bytes, sinter_loop_host_alignment(scopes, stmt->source));
    if (both < search->alignment) search->alignment = (uint32_t)both;
    search->found = true;
    return true;
}

uint32_t sinter_loop_host_alignment(sinter_loop_scopes *scopes, sinter_loop_buffer buffer) {
    if (scopes->function->buffers.items[buffer].scope != SINTER_SCOPE_ALIAS)
        return SINTER_LOOP_ALIGNMENT;
    alias_search search = {scopes, buffer, SINTER_LOOP_ALIGNMENT, false};
    sinter_loop_walk(scopes->function->body, look_at_bind, &search);
    return search.found ? search.alignment : 1;
}

sinter_expr sinter_loop_position(sinter_loop_scopes *scopes, sinter_loop_buffer buffer,
                                 const sinter_expr *indices) {
    sinter_loop_builder *b = &scopes->builder;
    const sinter_loop_buffer_info *info = &scopes->function->buffers.items[buffer];
    sinter_expr position = sinter_loop_int(b, 0);
    for (uint32_t i = 0; i < info->rank; i++) {
        position = sinter_loop_mul(b, position, sinter_loop_map_expr(&scopes->lets, info->dims[i]));
        position = sinter_loop_add(b, position, sinter_loop_map_expr(&scopes->lets, indices[i]));
    }
    return position;
}

bool sinter_loop_is_wide(sinter_loop_scopes *scopes, sinter_loop_var loop, int64_t lanes,
                         sinter_loop_buffer buffer, const sinter_expr *indices,
                         sinter_expr *out_first) {
    const sinter_loop_buffer_info *info = &scopes->function->buffers.items[buffer];
    const int64_t bits = sinter_dtype_infos[info->dtype].bits;
    sinter_expr coefficient;
    int64_t stride, bytes = bits / 8 * lanes;
    if (bytes > SINTER_LOOP_ALIGNMENT) bytes = SINTER_LOOP_ALIGNMENT;
    const uint32_t alignment =
        info->scope == SINTER_SCOPE_SHARED ? SINTER_LOOP_ALIGNMENT : info->alignment;
    if (bits < 8 || bits > 64 || alignment % bytes || !alignment) return false;
    sinter_expr position = sinter_loop_position(scopes, buffer, indices);
    return sinter_loop_affine(&scopes->builder, position, loop, &coefficient, out_first) &&
           sinter_loop_is_const_int(coefficient, &stride) && stride == 1 &&
           multiply(sinter_loop_divisor(scopes, *out_first), bits / 8) % bytes == 0;
}
