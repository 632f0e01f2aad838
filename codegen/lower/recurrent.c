/* Lowering of RNN, GRU and LSTM layers: the input projection of all steps as one contraction, unless x has it already, then per step
 * the recurrent contraction and the cell. Both contractions are plain nests, which the schedules tile and pack like any other.
 * Two directions are iterations of one loop, or two copies where their activations differ; a reverse direction walks each
 * sequence of the batch from its own end. Scratch has the direction as its first axis.
 *
 * Where ranks have units each (`over`), weights, cell and results are those of the own units, and what the recurrent contraction
 * reads is of all: the ranks gather it in each step.
 * Test: tests/suites/onnx_suite.py, tests/suites/shard_values.py */
#include "codegen/lower/lower.h"
#include "ir/mesh.h"
#include <assert.h>
#include <string.h>

typedef struct layer {
    sinter_kernel *kernel;
    sinter_loop_builder *build;
    sinter_module *module;
    sinter_node node;
    uint32_t gates;                           /* 4 of LSTM (i o f c), 3 of GRU (z r h), 1 of RNN */
    bool lstm, gru, batch_first, reset_after; /* reset_after: linear_before_reset of GRU */
    sinter_dtype dtype;
    sinter_value x, w, r, bias, lengths, initial_h, initial_c, peepholes;
    sinter_expr steps, batch, inputs, hidden, columns; /* columns = gates * hidden */
    sinter_expr all_hidden, room,
        first;   /* units of all ranks, room for all their parts, the first of this one */
    bool is_cut; /* over ranks; else these are hidden, hidden and 0 */
    sinter_loop_exchange gather;
    uint32_t
        axis_count; /* of the mesh, that units are cut over: to chunks[i + 1] of chunks[i] by each */
    int64_t axis_sizes[SINTER_MESH_MAX_AXES], chunks[SINTER_MESH_MAX_AXES + 1];
    uint32_t direction; /* whose activations these are */
    sinter_expr
        place; /* the direction in operands and results, a loop's variable where both are one code */
    sinter_expr reverse;                                      /* bool */
    sinter_loop_buffer projected, preactivation, reset, h, c; /* scratch; h has all units */
    sinter_loop_buffer given, gathered,
        all_reset; /* of exchanges: [batch, hidden], [ranks, batch, hidden] */
} layer;

static sinter_expr number(layer *l, double value) {
    return sinter_loop_const(l->build, l->dtype, value);
}
static sinter_expr integer(layer *l, int64_t value) {
    return sinter_loop_int(l->build, value);
}
static sinter_expr add(layer *l, sinter_expr a, sinter_expr b) {
    return sinter_loop_add(l->build, a, b);
}
static sinter_expr multiply(layer *l, sinter_expr a, sinter_expr b) {
    return sinter_loop_mul(l->build, a, b);
}
static sinter_expr begin(layer *l, const char *name, sinter_expr upper) {
    return sinter_kernel_begin_for(l->kernel, name, upper);
}
static sinter_expr load2(layer *l, sinter_loop_buffer buffer, sinter_expr i, sinter_expr j) {
    sinter_expr index[3] = {l->place, i, j};
    return sinter_loop_load(l->build, buffer, index);
}
static void store2(layer *l, sinter_loop_buffer buffer, sinter_expr i, sinter_expr j,
                   sinter_expr value) {
    sinter_expr index[3] = {l->place, i, j};
    sinter_loop_store(l->build, buffer, index, value);
}

/* h of an own unit. */
static sinter_expr load_h(layer *l, sinter_expr b, sinter_expr j) {
    return load2(l, l->h, b, l->is_cut ? add(l, l->first, j) : j);
}

/* ---- activations ---- */

typedef struct activation {
    const char *name, *text;
    double alpha, beta; /* defaults of ONNX RNN, GRU and LSTM */
} activation;
static const activation activations[] = {
    {"Relu", "select(x < 0, 0, x)", 0, 0},
    {"Tanh", "tanh(x)", 0, 0},
    {"Sigmoid", "1 / (1 + exp(-x))", 0, 0},
    {"Affine", "alpha * x + beta", 1, 0},
    {"LeakyRelu", "select(x < 0, alpha * x, x)", 0.01, 0},
    {"ThresholdedRelu", "select(x > alpha, x, 0)", 1, 0},
    {"ScaledTanh", "alpha * tanh(beta * x)", 1, 1},
    {"HardSigmoid", "max(0, min(1, alpha * x + beta))", 0.2, 0.5},
    {"Elu", "select(x < 0, alpha * (exp(x) - 1), x)", 1, 0},
    {"Softsign", "x / (1 + abs(x))", 0, 0},
    {"Softplus", "max(x, 0) + log1p(exp(-abs(x)))", 0, 0},
};

static bool same_name(sinter_string name, const char *wanted) {
    if (name.size != strlen(wanted)) return false;
    for (size_t i = 0; i < name.size; ++i)
        if ((name.data[i] | 32) != (wanted[i] | 32)) return false;
    return true;
}

/* The which-th function of this direction (f, g, h of the operator's text). */
static sinter_expr activate(layer *l, uint32_t which, uint32_t per_direction, const char *otherwise,
                            sinter_expr x) {
    const sinter_attr *names = sinter_node_find_attr(l->module, l->node, "activations");
    uint32_t place = l->direction * per_direction + which;
    sinter_string name = sinter_string_of(otherwise);
    if (names && names->kind == SINTER_ATTR_STRINGS && place < names->strings.count)
        name = names->strings.items[place];
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; ++i) {
        if (!same_name(name, activations[i].name)) continue;
        const double *items = NULL;
        double alpha =
            place < sinter_node_get_floats(l->module, l->node, "activation_alpha", &items)
                ? items[place]
                : activations[i].alpha;
        double beta = place < sinter_node_get_floats(l->module, l->node, "activation_beta", &items)
                          ? items[place]
                          : activations[i].beta;
        sinter_string text_names[3] = {SINTER_STRING("x"), SINTER_STRING("alpha"),
                                       SINTER_STRING("beta")};
        x = sinter_loop_var_read(l->build, sinter_loop_declare(l->build, "x", false, x));
        sinter_expr values[3] = {x, number(l, alpha), number(l, beta)};
        return sinter_lower_scalar_text(l->kernel, activations[i].text, text_names, values, 3,
                                        l->dtype);
    }
    sinter_lower_error(l->kernel->lower, l->node, "unknown activation '%.*s'",
                       SINTER_STRING_ARGS(name));
    return x;
}

static sinter_expr clipped(layer *l, sinter_expr x) {
    double clip = sinter_node_get_float(l->module, l->node, "clip", 0);
    if (clip <= 0) return x;
    return sinter_loop_max(l->build, sinter_loop_min(l->build, x, number(l, clip)),
                           number(l, -clip));
}

/* ---- operands ---- */

static sinter_expr peephole_at(layer *l, uint32_t block, sinter_expr j) {
    sinter_expr index[2] = {l->place, add(l, multiply(l, integer(l, block), l->hidden), j)};
    return sinter_lower_element(l->kernel, l->peepholes, index);
}

/* A state operand or result [directions, batch, hidden], or batch first. */
static void state_index(layer *l, sinter_expr b, sinter_expr j, sinter_expr *index) {
    index[0] = l->batch_first ? b : l->place;
    index[1] = l->batch_first ? l->place : b;
    index[2] = j;
}

static sinter_expr length_of(layer *l, sinter_expr b) {
    if (!l->lengths) return l->steps;
    sinter_expr length = sinter_loop_cast(l->build, sinter_lower_element(l->kernel, l->lengths, &b),
                                          SINTER_DTYPE_i64);
    return sinter_loop_max(l->build, sinter_loop_min(l->build, length, l->steps), integer(l, 0));
}

/* Once, before any step. */
static void check_lengths(layer *l) {
    sinter_expr b = begin(l, "row", l->batch);
    sinter_kernel_check_range(l->kernel, l->node, "sequence length",
                              sinter_loop_cast(l->build,
                                               sinter_lower_element(l->kernel, l->lengths, &b),
                                               SINTER_DTYPE_i64),
                              sinter_loop_add(l->build, l->steps, integer(l, 1)));
    sinter_loop_end(l->build);
}

/* Position in the sequence of step t for row b; clamped into it past the row's length. */
static sinter_expr position_of(layer *l, sinter_expr t, sinter_expr b) {
    int64_t constant;
    if (sinter_loop_is_const_int(l->reverse, &constant) && !constant) return t;
    sinter_expr last = sinter_loop_sub(l->build, length_of(l, b), integer(l, 1));
    sinter_expr back = sinter_loop_max(l->build, sinter_loop_sub(l->build, last, t), integer(l, 0));
    return sinter_loop_select(l->build, l->reverse, back, t);
}

/* ---- the two contractions ---- */

/* What a projection of column j is besides the product: both biases, of GRU its own (the recurrent one is for what it resets). */
static sinter_expr bias_of(layer *l, sinter_expr j) {
    if (!l->bias) return number(l, 0);
    sinter_expr own[2] = {l->place, j}, other[2] = {own[0], add(l, l->columns, j)};
    sinter_expr bias = sinter_lower_element(l->kernel, l->bias, own);
    return l->gru ? bias : add(l, bias, sinter_lower_element(l->kernel, l->bias, other));
}

static void x_index(layer *l, sinter_expr at, sinter_expr b, sinter_expr i, sinter_expr *index) {
    index[0] = l->batch_first ? b : at;
    index[1] = l->batch_first ? at : b;
    index[2] = i;
}

/* projected[t, b, :] = x[t, b] W^T + biases, of position t: rows of all positions and of the batch count up as one. A schedule may make
 * them in the order in which steps read them. */
static void project(layer *l) {
    sinter_expr t = begin(l, "t", l->steps), b = begin(l, "b", l->batch),
                j = begin(l, "j", l->columns);
    sinter_loop_var acc = sinter_loop_declare(l->build, "acc", true, bias_of(l, j));
    sinter_expr i = begin(l, "i", l->inputs);
    sinter_expr from[3], w_index[3] = {l->place, j, i};
    x_index(l, t, b, i, from);
    sinter_expr product = multiply(l, sinter_lower_element(l->kernel, l->x, from),
                                   sinter_lower_element(l->kernel, l->w, w_index));
    sinter_loop_assign(l->build, acc, add(l, sinter_loop_var_read(l->build, acc), product));
    sinter_loop_end(l->build);
    sinter_expr index[4] = {l->place, t, b, j};
    sinter_loop_store(l->build, l->projected, index, sinter_loop_var_read(l->build, acc));
    sinter_kernel_end_loops(l->kernel, 3);
}

/* out[b, first + j] = start + state[b] . R[first + j] over the hidden axis, j below count. */
static void recur(layer *l, sinter_loop_buffer state, sinter_loop_buffer out, sinter_expr first,
                  sinter_expr count, bool with_bias) {
    sinter_expr b = begin(l, "b", l->batch), j = begin(l, "j", count);
    sinter_expr column = add(l, first, j);
    sinter_expr start = number(l, 0);
    if (with_bias && l->bias) {
        sinter_expr index[2] = {l->place, add(l, l->columns, column)};
        start = sinter_lower_element(l->kernel, l->bias, index);
    }
    sinter_loop_var acc = sinter_loop_declare(l->build, "acc", true, start);
    sinter_expr k = begin(l, "k", l->all_hidden);
    sinter_expr r_index[3] = {l->place, column, k};
    sinter_expr product =
        multiply(l, load2(l, state, b, k), sinter_lower_element(l->kernel, l->r, r_index));
    sinter_loop_assign(l->build, acc, add(l, sinter_loop_var_read(l->build, acc), product));
    sinter_loop_end(l->build);
    store2(l, out, b, column, sinter_loop_var_read(l->build, acc));
    sinter_kernel_end_loops(l->kernel, 2);
}

/* ---- cells: the new h (and c) of row b, unit j; its projections are at `at` ---- */

/* Of x, where it has them, those of a direction are side by side. */
static sinter_expr projection_at(layer *l, sinter_expr at, sinter_expr b, sinter_expr column) {
    sinter_expr index[4] = {l->place, at, b, column};
    if (l->w) return sinter_loop_load(l->build, l->projected, index);
    x_index(l, at, b, add(l, multiply(l, l->place, l->columns), column), index);
    return add(l, sinter_lower_element(l->kernel, l->x, index), bias_of(l, column));
}

static sinter_expr gate(layer *l, uint32_t block, sinter_expr at, sinter_expr b, sinter_expr j) {
    sinter_expr column = add(l, multiply(l, integer(l, block), l->hidden), j);
    return add(l, projection_at(l, at, b, column), load2(l, l->preactivation, b, column));
}

static sinter_expr lstm_cell(layer *l, sinter_expr at, sinter_expr b, sinter_expr j) {
    sinter_expr i = gate(l, 0, at, b, j), o = gate(l, 1, at, b, j), f = gate(l, 2, at, b, j),
                g = gate(l, 3, at, b, j);
    sinter_expr c = load2(l, l->c, b, j);
    if (l->peepholes) {
        i = add(l, i, multiply(l, peephole_at(l, 0, j), c));
        f = add(l, f, multiply(l, peephole_at(l, 2, j), c));
    }
    i = activate(l, 0, 3, "Sigmoid", clipped(l, i));
    if (sinter_node_get_int(l->module, l->node, "input_forget", 0))
        f = sinter_loop_sub(l->build, number(l, 1), i);
    else
        f = activate(l, 0, 3, "Sigmoid", clipped(l, f));
    g = activate(l, 1, 3, "Tanh", clipped(l, g));
    sinter_expr fresh = add(l, multiply(l, f, c), multiply(l, i, g));
    fresh = sinter_loop_var_read(l->build, sinter_loop_declare(l->build, "c", false, fresh));
    if (l->peepholes) o = add(l, o, multiply(l, peephole_at(l, 1, j), fresh));
    o = activate(l, 0, 3, "Sigmoid", clipped(l, o));
    sinter_expr h = multiply(l, o, activate(l, 2, 3, "Tanh", fresh));
    store2(l, l->c, b, j, fresh);
    return h;
}

/* z from the first block; the candidate's own recurrent part was put in `reset` or in the last block. */
static sinter_expr gru_cell(layer *l, sinter_expr at, sinter_expr b, sinter_expr j) {
    sinter_expr z = activate(l, 0, 2, "Sigmoid", clipped(l, gate(l, 0, at, b, j)));
    sinter_expr column = add(l, multiply(l, integer(l, 2), l->hidden), j);
    sinter_expr input = projection_at(l, at, b, column),
                recurrent = load2(l, l->preactivation, b, column);
    if (l->reset_after) recurrent = multiply(l, load2(l, l->reset, b, j), recurrent);
    sinter_expr candidate = activate(l, 1, 2, "Tanh", clipped(l, add(l, input, recurrent)));
    z = sinter_loop_var_read(l->build, sinter_loop_declare(l->build, "z", false, z));
    sinter_expr kept = multiply(l, z, load_h(l, b, j));
    return add(l, multiply(l, sinter_loop_sub(l->build, number(l, 1), z), candidate), kept);
}

/* all[b, unit] = what the rank gave that has the unit. Parts of parts are padded where they end. */
static void store_gathered(layer *l, sinter_loop_buffer all) {
    sinter_expr coordinates[SINTER_MESH_MAX_AXES], index[3];
    uint32_t conditions = 0;
    index[0] = integer(l, 0);
    for (uint32_t i = 0; i < l->axis_count; ++i) {
        coordinates[i] = begin(l, "rank", integer(l, l->axis_sizes[i]));
        index[0] = add(l, multiply(l, index[0], integer(l, l->axis_sizes[i])), coordinates[i]);
    }
    index[1] = begin(l, "b", l->batch);
    index[2] = begin(l, "j", l->hidden);
    sinter_expr unit = index[2];
    for (uint32_t i = l->axis_count; i-- > 0;) {
        unit = add(l, multiply(l, coordinates[i], integer(l, l->chunks[i + 1])), unit);
        if (i == 0 || l->axis_sizes[i] * l->chunks[i + 1] == l->chunks[i]) continue;
        sinter_loop_begin_if(l->build, sinter_loop_compare(l->build, SINTER_SCALAR_lt, unit,
                                                           integer(l, l->chunks[i])));
        conditions++;
    }
    store2(l, all, index[1], unit, sinter_loop_load(l->build, l->gathered, index));
    while (conditions--) sinter_loop_end(l->build);
    sinter_kernel_end_loops(l->kernel, l->axis_count + 2);
}

/* all[b, unit] = own[b, unit - first] of the rank that has the unit; without other ranks a copy. */
static void share(layer *l, sinter_loop_buffer own, sinter_loop_buffer all) {
    if (!l->is_cut) {
        sinter_expr b = begin(l, "b", l->batch), j = begin(l, "j", l->hidden);
        store2(l, all, b, j, load2(l, own, b, j));
        sinter_kernel_end_loops(l->kernel, 2);
        return;
    }
    sinter_expr b = begin(l, "b", l->batch), j = begin(l, "j", l->hidden), index[3] = {b, j};
    sinter_loop_store(l->build, l->given, index, load2(l, own, b, j));
    sinter_kernel_end_loops(l->kernel, 2);
    sinter_loop_exchange_with(l->build, l->gathered, l->given, &l->gather);
    store_gathered(l, all);
}

/* GRU: r first, because the candidate's recurrent part may need r * h. */
static void gru_reset(layer *l, sinter_expr t) {
    sinter_expr two = multiply(l, integer(l, 2), l->hidden);
    recur(l, l->h, l->preactivation, integer(l, 0), two, true);
    sinter_expr b = begin(l, "b", l->batch), j = begin(l, "j", l->hidden);
    sinter_expr r =
        activate(l, 0, 2, "Sigmoid", clipped(l, gate(l, 1, position_of(l, t, b), b, j)));
    store2(l, l->reset, b, j, l->reset_after ? r : multiply(l, r, load_h(l, b, j)));
    sinter_kernel_end_loops(l->kernel, 2);
    if (l->is_cut && !l->reset_after) share(l, l->reset, l->all_reset);
    sinter_loop_buffer reset = l->is_cut ? l->all_reset : l->reset;
    recur(l, l->reset_after ? l->h : reset, l->preactivation, two, l->hidden, true);
}

/* ---- one direction ---- */

static void start_state(layer *l, sinter_loop_buffer state, sinter_expr units,
                        sinter_value initial) {
    sinter_expr b = begin(l, "b", l->batch), j = begin(l, "j", units), index[3];
    state_index(l, b, j, index);
    store2(l, state, b, j,
           initial ? sinter_lower_element(l->kernel, initial, index) : number(l, 0));
    sinter_kernel_end_loops(l->kernel, 2);
}

/* Units past the last one of the layer. */
static void start_padding(layer *l) {
    sinter_expr padding = sinter_loop_sub(l->build, l->room, l->all_hidden);
    int64_t count = 0;
    if (sinter_loop_is_const_int(padding, &count) && !count) return;
    sinter_expr b = begin(l, "b", l->batch), j = begin(l, "j", padding);
    store2(l, l->h, b, add(l, l->all_hidden, j), number(l, 0));
    sinter_kernel_end_loops(l->kernel, 2);
}

static void store_state(layer *l, sinter_value result, sinter_loop_buffer state) {
    if (!result) return;
    sinter_expr b = begin(l, "b", l->batch), j = begin(l, "j", l->hidden), index[3];
    state_index(l, b, j, index);
    sinter_kernel_store(l->kernel, sinter_kernel_buffer(l->kernel, result), index,
                        state == l->h ? load_h(l, b, j) : load2(l, state, b, j));
    sinter_kernel_end_loops(l->kernel, 2);
}

static void output_index(layer *l, sinter_expr t, sinter_expr b, sinter_expr j,
                         sinter_expr *index) {
    sinter_expr first[4] = {b, t, l->place, j}, other[4] = {t, l->place, b, j};
    memcpy(index, l->batch_first ? first : other, sizeof first);
}

static void step(layer *l, sinter_expr t, sinter_value y, sinter_loop_buffer fresh) {
    if (l->gru)
        gru_reset(l, t);
    else
        recur(l, l->h, l->preactivation, integer(l, 0), l->columns, false);
    sinter_expr b = begin(l, "b", l->batch), j = begin(l, "j", l->hidden);
    sinter_expr at = position_of(l, t, b), index[4];
    if (l->lengths)
        sinter_loop_begin_if(l->build,
                             sinter_loop_compare(l->build, SINTER_SCALAR_lt, t, length_of(l, b)));
    sinter_expr h = l->lstm  ? lstm_cell(l, at, b, j)
                    : l->gru ? gru_cell(l, at, b, j)
                             : activate(l, 0, 1, "Tanh", clipped(l, gate(l, 0, at, b, j)));
    h = sinter_loop_var_read(l->build, sinter_loop_declare(l->build, "h", false, h));
    store2(l, fresh, b, j, h);
    output_index(l, at, b, j, index);
    if (y) sinter_kernel_store(l->kernel, sinter_kernel_buffer(l->kernel, y), index, h);
    if (l->lengths) {
        sinter_loop_end(l->build);
        sinter_loop_begin_else(l->build);
        store2(l, fresh, b, j, load_h(l, b, j));
        output_index(l, t, b, j, index);
        if (y)
            sinter_kernel_store(l->kernel, sinter_kernel_buffer(l->kernel, y), index, number(l, 0));
        sinter_loop_end(l->build);
    }
    sinter_kernel_end_loops(l->kernel, 2);
    share(l, fresh, l->h);
}

static sinter_loop_buffer scratch(layer *l, const char *name, uint32_t rank, uint32_t directions,
                                  sinter_dim a, sinter_dim b, sinter_dim c) {
    sinter_lower *lower = l->kernel->lower;
    sinter_dim dims[4] = {sinter_dim_const(lower->dims, directions), a, b, c};
    sinter_expr host[4];
    for (uint32_t i = 0; i < rank; ++i) host[i] = sinter_lower_host_dim(lower, dims[i]);
    return sinter_kernel_scratch(l->kernel, name, l->dtype, rank, host);
}

/* All steps of one direction, or of that which the loop around is at. */
static void run_direction(layer *l, sinter_loop_buffer fresh) {
    if (l->w) project(l);
    start_state(l, l->h, l->all_hidden, l->initial_h);
    if (l->is_cut) start_padding(l);
    if (l->lstm) start_state(l, l->c, l->hidden, l->initial_c);
    sinter_expr t = begin(l, "t", l->steps);
    step(l, t, sinter_node_result(l->module, l->node, 0), fresh);
    sinter_loop_end(l->build);
    store_state(l, sinter_node_result(l->module, l->node, 1), l->h);
    if (l->lstm) store_state(l, sinter_node_result(l->module, l->node, 2), l->c);
}

/* The second half of a list of both directions says what the first does. */
static bool is_repeated(layer *l, const char *attribute) {
    const sinter_attr *attr = sinter_node_find_attr(l->module, l->node, attribute);
    if (!attr) return true;
    bool same = true;
    if (attr->kind == SINTER_ATTR_STRINGS)
        for (size_t i = 0; i < attr->strings.count / 2; ++i)
            same = same && sinter_string_equal(attr->strings.items[i],
                                               attr->strings.items[i + attr->strings.count / 2]);
    const double *items = NULL;
    size_t count = attr->kind == SINTER_ATTR_FLOATS
                       ? sinter_node_get_floats(l->module, l->node, attribute, &items)
                       : 0;
    for (size_t i = 0; i < count / 2; ++i) same = same && items[i] == items[i + count / 2];
    return same && !(count % 2);
}

static void run_directions(layer *l, sinter_loop_buffer fresh, bool both) {
    sinter_string direction = sinter_node_get_string(l->module, l->node, "direction");
    bool one_code = is_repeated(l, "activations") && is_repeated(l, "activation_alpha") &&
                    is_repeated(l, "activation_beta");
    if (both && one_code) {
        l->place = begin(l, "direction", integer(l, 2));
        l->reverse = sinter_loop_compare(l->build, SINTER_SCALAR_eq, l->place, integer(l, 1));
        run_direction(l, fresh);
        sinter_loop_end(l->build);
        return;
    }
    for (l->direction = 0; l->direction < (both ? 2 : 1); ++l->direction) {
        bool reverse = l->direction == 1 || sinter_string_is(direction, "reverse");
        l->place = integer(l, l->direction);
        l->reverse = sinter_loop_const_int(l->build, SINTER_DTYPE_bool, reverse);
        run_direction(l, fresh);
    }
}

/* How the axes of the mesh cut the units, and the first unit that a rank would have if no part were padded. */
static int64_t find_chunks(layer *l, const sinter_mesh *mesh, const sinter_mesh_axes *over,
                           int64_t units, int64_t rank) {
    int64_t first = 0;
    l->axis_count = over->count;
    l->chunks[0] = units;
    for (uint32_t i = 0; i < over->count; ++i) {
        int64_t size = mesh->axes[over->items[i]].size;
        l->axis_sizes[i] = size;
        l->chunks[i + 1] = (l->chunks[i] + size - 1) / size;
        first += sinter_mesh_coordinate(mesh, rank, over->items[i]) * l->chunks[i + 1];
    }
    return first;
}

/* Whose units are whose, and scratch for what the ranks exchange. False after an error. */
static bool find_ranks(layer *l, sinter_dim own, sinter_dim all, sinter_dim batch,
                       uint32_t directions, sinter_dim *out_room) {
    sinter_lower *lower = l->kernel->lower;
    sinter_dim_table *table = lower->dims;
    const sinter_mesh *mesh = sinter_module_mesh(l->module);
    sinter_mesh_axes over = {0};
    int64_t units = 0;
    l->is_cut = sinter_node_find_attr(l->module, l->node, "over") != NULL;
    l->all_hidden = l->room = l->hidden;
    *out_room = own;
    if (!l->is_cut) return true;
    if (!sinter_lower_gather_words(lower, l->node, l->dtype, &l->gather)) return false;
    sinter_node_get_mesh_axes(l->module, l->node, &over);
    bool known = sinter_dim_is_const(table, all, &units);
    assert(known); /* inference demands it */
    (void)known;
    int64_t last =
        sinter_mesh_rank_at(mesh, &over, mesh->rank, sinter_mesh_axes_product(mesh, &over) - 1);
    int64_t end = find_chunks(l, mesh, &over, units, last) + l->chunks[over.count];
    l->all_hidden = integer(l, units);
    l->room = integer(l, end);
    l->first = integer(l, find_chunks(l, mesh, &over, units, mesh->rank));
    *out_room = sinter_dim_const(table, end);
    sinter_dim dims[3] = {sinter_dim_const(table, sinter_mesh_axes_product(mesh, &over)), batch,
                          own};
    sinter_expr host[3];
    for (uint32_t i = 0; i < 3; ++i) host[i] = sinter_lower_host_dim(lower, dims[i]);
    l->given = sinter_kernel_scratch(l->kernel, "given", l->dtype, 2, host + 1);
    l->gathered = sinter_kernel_scratch(l->kernel, "gathered", l->dtype, 3, host);
    if (l->gru && !l->reset_after)
        l->all_reset = scratch(l, "all_reset", 3, directions, batch, *out_room, 0);
    return true;
}

bool sinter_lower_recurrent(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    sinter_dim_table *table = kernel->lower->dims;
    sinter_op op = sinter_node_get(module, node)->op;
    layer l = {.kernel = kernel, .build = &kernel->build, .module = module, .node = node};
    l.lstm = op == SINTER_OP_lstm;
    l.gru = op == SINTER_OP_gru;
    l.gates = l.lstm ? 4 : l.gru ? 3 : 1;
    l.batch_first = sinter_node_get_int(module, node, "layout", 0) != 0;
    l.reset_after = l.gru && sinter_node_get_int(module, node, "linear_before_reset", 0) != 0;
    sinter_value *places[] = {&l.x,       &l.w,         &l.r,         &l.bias,
                              &l.lengths, &l.initial_h, &l.initial_c, &l.peepholes};
    for (uint32_t i = 0; i < sizeof places / sizeof places[0]; ++i)
        *places[i] = sinter_node_operand(module, node, i);
    sinter_type x = *sinter_value_type(module, l.x), r = *sinter_value_type(module, l.r);
    l.dtype = sinter_dtype_compute(x.dtype);
    sinter_dim steps = x.dims[l.batch_first ? 1 : 0], batch = x.dims[l.batch_first ? 0 : 1],
               hidden = r.dims[2], room;
    if (sinter_node_find_attr(module, node, "over")) /* those of this rank */
        hidden = sinter_dim_floordiv(table, r.dims[1], sinter_dim_const(table, l.gates));
    sinter_dim columns = sinter_dim_mul(table, sinter_dim_const(table, l.gates), hidden);
    l.steps = sinter_kernel_dim(kernel, steps);
    l.batch = sinter_kernel_dim(kernel, batch);
    l.inputs = sinter_kernel_dim(kernel, x.dims[2]);
    l.hidden = sinter_kernel_dim(kernel, hidden);
    l.columns = sinter_kernel_dim(kernel, columns);
    sinter_string direction = sinter_node_get_string(module, node, "direction");
    bool both = sinter_string_is(direction, "bidirectional");
    uint32_t n = both ? 2 : 1;
    if (l.w) l.projected = scratch(&l, "projected", 4, n, steps, batch, columns);
    l.preactivation = scratch(&l, "preactivation", 3, n, batch, columns, 0);
    if (!find_ranks(&l, hidden, r.dims[2], batch, n, &room)) return false;
    l.h = scratch(&l, "h", 3, n, batch, room, 0);
    sinter_loop_buffer fresh = scratch(&l, "next_h", 3, n, batch, hidden, 0);
    if (l.lstm) l.c = scratch(&l, "c", 3, n, batch, hidden, 0);
    if (l.gru) l.reset = scratch(&l, "reset", 3, n, batch, hidden, 0);
    if (l.lengths) check_lengths(&l);
    run_directions(&l, fresh, both);
    return true;
}
