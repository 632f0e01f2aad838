/* Lowering of linear_attention: per batch and key head a state [key size, value size] that every token decays, corrects
 * and reads. Tokens run in order; batches and heads are independent. Test: tests/ops/linear_attention.sir */
#include "codegen/lower/write.h"

typedef struct linear {
    sinter_kernel *k;
    sinter_value query, key, value, past, decay, beta;
    bool gated, delta;
    sinter_dtype dtype;
    sinter_expr batch, head, token; /* i64 */
    sinter_expr rows, columns;      /* key size, value size */
    sinter_loop_buffer state;       /* [batch, heads, rows, columns] */
    sinter_loop_buffer written;     /* [columns] */
} linear;

/* Element of a [batch, length, heads * size] operand. */
static sinter_expr packed(linear *l, sinter_value value, sinter_expr head, sinter_expr size,
                          sinter_expr i) {
    sinter_expr index[3] = {l->batch, l->token, FORMULA(l->k, "a * b + c", head, size, i)};
    return sinter_write_cast(l->k, sinter_lower_element(l->k, value, index), l->dtype);
}

static sinter_expr load_state(linear *l, sinter_expr r, sinter_expr c) {
    sinter_expr index[4] = {l->batch, l->head, r, c};
    return sinter_kernel_load(l->k, l->state, index);
}
static void store_state(linear *l, sinter_expr r, sinter_expr c, sinter_expr value) {
    sinter_expr index[4] = {l->batch, l->head, r, c};
    sinter_kernel_store(l->k, l->state, index, value);
}

static void start_state(linear *l) {
    sinter_kernel *k = l->k;
    sinter_expr r = sinter_kernel_begin_for(k, "r", l->rows),
                c = sinter_kernel_begin_for(k, "c", l->columns);
    sinter_expr index[4] = {l->batch, l->head, r, c};
    store_state(l, r, c,
                l->past ? sinter_write_cast(k, sinter_lower_element(k, l->past, index), l->dtype)
                        : sinter_write_number(k, l->dtype, 0));
    sinter_kernel_end_loops(k, 2);
}

/* state = exp(decay) * state; decay has one number a head or one a row. */
static void decay_state(linear *l, sinter_expr heads) {
    sinter_kernel *k = l->k;
    sinter_expr width = sinter_kernel_dim_of(k, l->decay, 2);
    sinter_expr each =
        sinter_write_let(k, "each", FORMULA(k, "select(a == b, 1, c)", width, heads, l->rows));
    sinter_expr r = sinter_kernel_begin_for(k, "r", l->rows);
    sinter_expr at = FORMULA(k, "a * b + min(c, b - 1)", l->head, each, r);
    sinter_expr index[3] = {l->batch, l->token, at};
    sinter_expr decay = sinter_write_cast(k, sinter_lower_element(k, l->decay, index), l->dtype);
    sinter_expr factor = sinter_write_let(k, "factor", FORMULA(k, "exp(a)", decay));
    sinter_expr c = sinter_kernel_begin_for(k, "c", l->columns);
    store_state(l, r, c, FORMULA(k, "a * b", load_state(l, r, c), factor));
    sinter_kernel_end_loops(k, 2);
}

/* state += key (value, or beta times what the state lacks of it)^T */
static void write_state(linear *l) {
    sinter_kernel *k = l->k;
    sinter_expr c = sinter_kernel_begin_for(k, "c", l->columns);
    sinter_expr fresh = packed(l, l->value, l->head, l->columns, c);
    if (l->delta) {
        sinter_loop_var sum = sinter_write_var(k, "retrieved", sinter_write_number(k, l->dtype, 0));
        sinter_expr r = sinter_kernel_begin_for(k, "r", l->rows);
        sinter_write_add(
            k, sum,
            FORMULA(k, "a * b", load_state(l, r, c), packed(l, l->key, l->head, l->rows, r)));
        sinter_write_end(k);
        sinter_expr width = sinter_kernel_dim_of(k, l->beta, 2);
        sinter_expr index[3] = {l->batch, l->token, FORMULA(k, "min(a, b - 1)", l->head, width)};
        sinter_expr beta = sinter_write_cast(k, sinter_lower_element(k, l->beta, index), l->dtype);
        fresh = FORMULA(k, "c * (a - b)", fresh, sinter_write_get(k, sum), beta);
    }
    sinter_write_store1(k, l->written, c, fresh);
    sinter_write_end(k);
    sinter_expr r = sinter_kernel_begin_for(k, "r", l->rows);
    sinter_expr key = sinter_write_let(k, "key", packed(l, l->key, l->head, l->rows, r));
    c = sinter_kernel_begin_for(k, "c", l->columns);
    sinter_expr more = FORMULA(k, "a * b", key, sinter_write_load1(k, l->written, c));
    store_state(l, r, c, FORMULA(k, "a + b", load_state(l, r, c), more));
    sinter_kernel_end_loops(k, 2);
}

/* Every query head of the group reads the state: output = scale * query state. */
static void read_state(linear *l, sinter_value y, sinter_expr group, sinter_expr scale) {
    sinter_kernel *k = l->k;
    sinter_expr g = sinter_kernel_begin_for(k, "g", group);
    sinter_expr head = sinter_write_let(k, "q_head", FORMULA(k, "a * b + c", l->head, group, g));
    sinter_expr c = sinter_kernel_begin_for(k, "c", l->columns);
    sinter_loop_var sum = sinter_write_var(k, "sum", sinter_write_number(k, l->dtype, 0));
    sinter_expr r = sinter_kernel_begin_for(k, "r", l->rows);
    sinter_write_add(
        k, sum, FORMULA(k, "a * b", packed(l, l->query, head, l->rows, r), load_state(l, r, c)));
    sinter_write_end(k);
    sinter_expr index[3] = {l->batch, l->token, FORMULA(k, "a * b + c", head, l->columns, c)};
    sinter_dtype compute = sinter_dtype_compute(sinter_write_type(k, y).dtype);
    sinter_expr element = FORMULA(k, "a * b", sinter_write_get(k, sum), scale);
    sinter_lower_store(k, y, index, sinter_write_cast(k, element, compute));
    sinter_kernel_end_loops(k, 2);
}

static void finish_state(linear *l, sinter_value present) {
    sinter_kernel *k = l->k;
    sinter_expr r = sinter_kernel_begin_for(k, "r", l->rows),
                c = sinter_kernel_begin_for(k, "c", l->columns);
    sinter_expr index[4] = {l->batch, l->head, r, c};
    sinter_dtype compute = sinter_dtype_compute(sinter_write_type(k, present).dtype);
    sinter_lower_store(k, present, index, sinter_write_cast(k, load_state(l, r, c), compute));
    sinter_kernel_end_loops(k, 2);
}

/* Sizes that inference may not have proven: every packed operand is as wide as its heads say. */
static void check_widths(linear *l, sinter_expr heads) {
    sinter_kernel *k = l->k;
    sinter_expr batch = sinter_kernel_dim_of(k, l->query, 0),
                length = sinter_kernel_dim_of(k, l->query, 1);
    sinter_value operands[4] = {l->key, l->value, l->decay, l->beta};
    for (int i = 0; i < 4; ++i) {
        if (!operands[i]) continue;
        sinter_expr sizes[3];
        for (int d = 0; d < 3; ++d) sizes[d] = sinter_kernel_dim_of(k, operands[i], d);
        sinter_write_check(k, FORMULA(k, "a == c && b == d", batch, length, sizes[0], sizes[1]),
                           "linear_attention: an operand of %0 tokens", sizes[1]);
        const char *text = i == 0   ? "a == b * c"
                           : i == 1 ? "a == b * d"
                           : i == 2 ? "a == b || a == b * c"
                                    : "a == 1 || a == b";
        sinter_write_check(k, FORMULA(k, text, sizes[2], heads, l->rows, l->columns),
                           "linear_attention: an operand of width %0", sizes[2]);
    }
    for (int d = 0; l->past && d < 4; ++d) {
        sinter_expr wanted[4] = {batch, heads, l->rows, l->columns},
                    size = sinter_kernel_dim_of(k, l->past, d);
        sinter_write_check(k, FORMULA(k, "a == b", size, wanted[d]),
                           "linear_attention: a past state with an axis of %0", size);
    }
}

bool sinter_lower_linear_attention(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_module *module = k->lower->module;
    sinter_value y = sinter_write_result(k, node, 0), present = sinter_write_result(k, node, 1);
    linear l = {.k = k};
    sinter_value *places[] = {&l.query, &l.key, &l.value, &l.past, &l.decay, &l.beta};
    for (uint32_t i = 0; i < 6; ++i) *places[i] = sinter_write_operand(k, node, i);
    l.gated = l.decay != 0;
    l.delta = l.beta != 0;
    sinter_type state = sinter_write_type(k, present);
    l.dtype = sinter_dtype_compute(state.dtype);
    int64_t heads = sinter_node_get_int(module, node, "kv_num_heads", 1),
            q_heads = sinter_node_get_int(module, node, "q_num_heads", 1);
    if (heads < 1 || q_heads % heads)
        return sinter_lower_error(k->lower, node, "the heads do not fit");
    l.rows = sinter_kernel_dim(k, state.dims[2]);
    l.columns = sinter_kernel_dim(k, state.dims[3]);
    l.state = sinter_write_scratch(k, "state", l.dtype, 4, state.dims);
    l.written = sinter_write_scratch(k, "written", l.dtype, 1, &state.dims[3]);
    double given = sinter_node_get_float(module, node, "scale", 0);
    sinter_expr scale =
        given != 0
            ? sinter_write_number(k, l.dtype, given)
            : sinter_write_let(k, "scale",
                               FORMULA(k, "1 / sqrt(a)", sinter_write_cast(k, l.rows, l.dtype)));
    sinter_expr q_width = sinter_kernel_dim_of(k, l.query, 2);
    sinter_write_check(k, FORMULA(k, "a == b * c", q_width, sinter_write_int(k, q_heads), l.rows),
                       "linear_attention: a query of width %0", q_width);
    check_widths(&l, sinter_write_int(k, heads));
    l.batch = sinter_kernel_begin_for(k, "batch", sinter_kernel_dim(k, state.dims[0]));
    l.head = sinter_kernel_begin_for(k, "head", sinter_write_int(k, heads));
    start_state(&l);
    l.token = sinter_kernel_begin_for(k, "token", sinter_kernel_dim_of(k, l.query, 1));
    if (l.gated) decay_state(&l, sinter_write_int(k, heads));
    write_state(&l);
    read_state(&l, y, sinter_write_int(k, q_heads / heads), scale);
    sinter_write_end(k);
    finish_state(&l, present);
    sinter_kernel_end_loops(k, 2);
    return true;
}
