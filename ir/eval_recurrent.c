/* Evaluator rules of lstm, gru and rnn: one engine that walks directions, samples and steps, and a
 * cell each. Gates are those of the operator's documentation, in its order: LSTM i, o, f, c with
 * peepholes i, o, f; GRU z, r, h. State is kept in double. Steps past a sample's sequence_lens
 * leave the state alone and yield 0; the reverse direction starts at the sample's last step.
 * Of a layer whose units are cut over ranks (`over`) a rank puts all parts together, runs the layer, and keeps its own units.
 * Test: tests/ops/, tests/unit/collective_test.c */
#include "ir/eval_rules.h"
#include "ir/mesh.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <strings.h>

/* ---- activations ---- */

typedef struct activation {
    double (*f)(double x, double alpha, double beta);
    double alpha, beta;
} activation;

static double relu(double x, double alpha, double beta) {
    (void)alpha, (void)beta;
    return x < 0 ? 0 : x;
}
static double hyperbolic(double x, double alpha, double beta) {
    (void)alpha, (void)beta;
    return tanh(x);
}
static double sigmoid(double x, double alpha, double beta) {
    (void)alpha, (void)beta;
    return 1 / (1 + exp(-x));
}
static double affine(double x, double alpha, double beta) {
    return alpha * x + beta;
}
static double leaky_relu(double x, double alpha, double beta) {
    (void)beta;
    return x < 0 ? alpha * x : x;
}
static double thresholded_relu(double x, double alpha, double beta) {
    (void)beta;
    return x >= alpha ? x : 0;
}
static double scaled_tanh(double x, double alpha, double beta) {
    return alpha * tanh(beta * x);
}
static double hard_sigmoid(double x, double alpha, double beta) {
    return fmin(fmax(alpha * x + beta, 0), 1);
}
static double elu(double x, double alpha, double beta) {
    (void)beta;
    return x >= 0 ? x : alpha * expm1(x);
}
static double softsign(double x, double alpha, double beta) {
    (void)alpha, (void)beta;
    return x / (1 + fabs(x));
}
static double softplus(double x, double alpha, double beta) {
    (void)alpha, (void)beta;
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

/* Defaults of alpha and beta; an activation takes numbers of the attributes only where it has them. */
static const struct {
    const char *name;
    double (*f)(double x, double alpha, double beta);
    bool has_alpha, has_beta;
    double alpha, beta;
} activations[] = {
    {"Relu", relu, false, false, 0, 0},
    {"Tanh", hyperbolic, false, false, 0, 0},
    {"Sigmoid", sigmoid, false, false, 0, 0},
    {"Affine", affine, true, true, 1, 0},
    {"LeakyRelu", leaky_relu, true, false, 0.01, 0},
    {"ThresholdedRelu", thresholded_relu, true, false, 1, 0},
    {"ScaledTanh", scaled_tanh, true, true, 1, 1},
    {"HardSigmoid", hard_sigmoid, true, true, 0.2, 0.5},
    {"Elu", elu, true, false, 1, 0},
    {"Softsign", softsign, false, false, 0, 0},
    {"Softplus", softplus, false, false, 0, 0},
};

/* ---- the layer ---- */

enum { MAX_ACTIVATIONS = 6 };
static const int64_t max_output =
    (int64_t)1 << 34; /* elements; inputs of no elements can ask for any number */

typedef struct layer {
    int64_t steps, batch, input, hidden, directions, gates;
    bool transposed; /* layout 1: batch first */
    bool reverse;    /* the only direction goes backward */
    bool flag;       /* input_forget, linear_before_reset */
    double clip;
    activation activations[MAX_ACTIVATIONS]; /* per_direction for each direction */
    int per_direction;
    const double *x, *w, *r, *b,
        *p; /* b, p may be NULL; w, too: x is the products then, [directions, gates, hidden] */
    double *h, *c; /* [directions, batch, hidden] */
    double *y;     /* [steps, directions, batch, hidden] */
} layer;

/* One step of one sample: its gates before activation (inputs and state multiplied, no bias), its state. */
typedef struct step {
    const double *from_x, *from_h; /* [gates, hidden]: W x and R h */
    const double *wb, *rb;         /* biases [gates, hidden]; NULL: 0 */
    const double *r;               /* recurrent weights [gates, hidden, hidden] */
    const double *p;               /* peepholes [3, hidden]; NULL: 0 */
    const activation *f;
    double *h, *c;
    double *next; /* [hidden] of room */
} step;
typedef void (*cell)(const layer *l, const step *s);

static double activate(const layer *l, const activation *a, double x) {
    if (l->clip > 0) x = fmax(fmin(x, l->clip), -l->clip);
    return a->f(x, a->alpha, a->beta);
}

/* Gate g of unit j, before activation. */
static double gate(const layer *l, const step *s, int64_t g, int64_t j) {
    int64_t i = g * l->hidden + j;
    return s->from_x[i] + s->from_h[i] + (s->wb ? s->wb[i] + s->rb[i] : 0);
}

static void rnn_cell(const layer *l, const step *s) {
    for (int64_t j = 0; j < l->hidden; j++) s->h[j] = activate(l, &s->f[0], gate(l, s, 0, j));
}

static void lstm_cell(const layer *l, const step *s) {
    for (int64_t j = 0; j < l->hidden; j++) {
        double peep_i = s->p ? s->p[j] : 0, peep_o = s->p ? s->p[l->hidden + j] : 0;
        double peep_f = s->p ? s->p[2 * l->hidden + j] : 0;
        double i = activate(l, &s->f[0], gate(l, s, 0, j) + peep_i * s->c[j]);
        double f = l->flag ? 1 - i : activate(l, &s->f[0], gate(l, s, 2, j) + peep_f * s->c[j]);
        double c = f * s->c[j] + i * activate(l, &s->f[1], gate(l, s, 3, j));
        double o = activate(l, &s->f[0], gate(l, s, 1, j) + peep_o * c);
        s->c[j] = c;
        /* clip bounds what goes into gates, not the state */
        s->h[j] = o * s->f[2].f(c, s->f[2].alpha, s->f[2].beta);
    }
}

static void gru_cell(const layer *l, const step *s) {
    int64_t n = l->hidden;
    double *reset = s->next + n;
    for (int64_t j = 0; j < n; j++) reset[j] = activate(l, &s->f[0], gate(l, s, 1, j));
    for (int64_t j = 0; j < n; j++) {
        double z = activate(l, &s->f[0], gate(l, s, 0, j)), hidden = s->from_x[2 * n + j];
        double wb = s->wb ? s->wb[2 * n + j] : 0, rb = s->wb ? s->rb[2 * n + j] : 0;
        if (l->flag) {
            hidden += reset[j] * (s->from_h[2 * n + j] + rb) + wb;
        } else {
            for (int64_t k = 0; k < n; k++)
                hidden += reset[k] * s->h[k] * s->r[(2 * n + j) * n + k];
            hidden += wb + rb;
        }
        s->next[j] = (1 - z) * activate(l, &s->f[1], hidden) + z * s->h[j];
    }
    for (int64_t j = 0; j < n; j++) s->h[j] = s->next[j];
}

static void multiply(const double *matrix, const double *vector, int64_t rows, int64_t columns,
                     double *out) {
    for (int64_t i = 0; i < rows; i++) {
        out[i] = 0;
        for (int64_t j = 0; j < columns; j++) out[i] += matrix[i * columns + j] * vector[j];
    }
}

static void run_layer(sinter_eval *eval, const layer *l, const int64_t *lengths, cell run_cell) {
    int64_t rows = l->gates * l->hidden;
    double *from_x = SINTER_NEW_ARRAY(eval->scratch, double, rows + 1);
    double *from_h = SINTER_NEW_ARRAY(eval->scratch, double, rows + 1);
    double *next = SINTER_NEW_ARRAY(eval->scratch, double, 2 * l->hidden + 1);
    for (int64_t n = 0; n < l->directions * l->batch; n++) {
        int64_t d = n / l->batch, sample = n % l->batch;
        const double *w = l->w ? l->w + d * rows * l->input : NULL,
                     *r = l->r + d * rows * l->hidden;
        const double *b = l->b ? l->b + d * 2 * rows : NULL;
        step s = {from_x,
                  from_h,
                  b,
                  b ? b + rows : NULL,
                  r,
                  l->p ? l->p + d * 3 * l->hidden : NULL,
                  l->activations + d * l->per_direction,
                  l->h + n * l->hidden,
                  l->c + n * l->hidden,
                  next};
        for (int64_t i = 0; i < lengths[sample]; i++) {
            int64_t t = d == 1 || l->reverse ? lengths[sample] - 1 - i : i;
            const double *x =
                l->x + (l->transposed ? sample * l->steps + t : t * l->batch + sample) * l->input;
            if (w)
                multiply(w, x, rows, l->input, from_x);
            else
                memcpy(from_x, x + d * rows, (size_t)rows * sizeof *from_x);
            multiply(r, s.h, rows, l->hidden, from_h);
            run_cell(l, &s);
            double *y = l->y + ((t * l->directions + d) * l->batch + sample) * l->hidden;
            for (int64_t j = 0; j < l->hidden; j++) y[j] = s.h[j];
        }
    }
}

/* ---- operands, attributes, results ---- */

static bool read_activations(sinter_eval *eval, layer *l, const char *const *defaults, int count) {
    const sinter_attr *names = sinter_node_find_attr(eval->module, eval->node, "activations");
    const double *alphas, *betas;
    size_t alpha_count =
        sinter_node_get_floats(eval->module, eval->node, "activation_alpha", &alphas);
    size_t beta_count = sinter_node_get_floats(eval->module, eval->node, "activation_beta", &betas);
    size_t used_alphas = 0, used_betas = 0, wanted = (size_t)(count * l->directions);
    l->per_direction = count;
    if (names && names->strings.count < wanted)
        return sinter_eval_error(eval, "%zu activations are given, expected %zu",
                                 names->strings.count, wanted);
    for (size_t i = 0; i < wanted; i++) {
        sinter_string name =
            names ? names->strings.items[i] : sinter_string_of(defaults[i % (size_t)count]);
        size_t k = 0, known = sizeof activations / sizeof *activations;
        while (k < known && (strlen(activations[k].name) != name.size ||
                             strncasecmp(activations[k].name, name.data, name.size) != 0))
            k++;
        if (k == known)
            return sinter_eval_error(eval, "unknown activation '%.*s'", SINTER_STRING_ARGS(name));
        activation a = {activations[k].f, activations[k].alpha, activations[k].beta};
        if (activations[k].has_alpha && used_alphas < alpha_count) a.alpha = alphas[used_alphas++];
        if (activations[k].has_beta && used_betas < beta_count) a.beta = betas[used_betas++];
        l->activations[i] = a;
    }
    return true;
}

static bool read_shapes(sinter_eval *eval, layer *l) {
    for (uint32_t i = 0; i < 3; i++)
        if (sinter_eval_operand(eval, i) && !sinter_eval_expect_rank(eval, i, 3, 3)) return false;
    const int64_t *x = eval->operands[0]->dims;
    l->transposed = sinter_eval_int(eval, "layout") != 0;
    l->steps = x[l->transposed];
    l->batch = x[!l->transposed];
    l->input = x[2];
    l->hidden = eval->operands[2]->dims[2];
    sinter_string direction = sinter_eval_string(eval, "direction");
    l->reverse = sinter_string_is(direction, "reverse");
    l->directions = sinter_string_is(direction, "bidirectional") ? 2 : 1;
    if (l->directions == 1 && !l->reverse && !sinter_string_is(direction, "forward"))
        return sinter_eval_error(eval, "unknown direction '%.*s'", SINTER_STRING_ARGS(direction));
    if (sinter_eval_has(eval, "hidden_size") && sinter_eval_int(eval, "hidden_size") != l->hidden)
        return sinter_eval_error(eval, "hidden_size is %" PRId64 ", the weights say %" PRId64,
                                 sinter_eval_int(eval, "hidden_size"), l->hidden);
    int64_t rows = l->gates * l->hidden, d = l->directions;
    int64_t w[3] = {d, rows, l->input}, r[3] = {d, rows, l->hidden}, b[2] = {d, 2 * rows};
    int64_t p[2] = {d, 3 * l->hidden}, state[3] = {d, l->batch, l->hidden};
    if (l->transposed) state[0] = l->batch, state[1] = d;
    if (!sinter_eval_operand(eval, 1) && l->input != d * rows)
        return sinter_eval_error(eval, "x has %" PRId64 " products, expected %" PRId64, l->input,
                                 d * rows);
    return sinter_eval_expect_dims(eval, 1, 3, w) && sinter_eval_expect_dims(eval, 2, 3, r) &&
           sinter_eval_expect_dims(eval, 3, 2, b) &&
           sinter_eval_expect_dims(eval, 4, 1, &l->batch) &&
           sinter_eval_expect_dims(eval, 5, 3, state) &&
           sinter_eval_expect_dims(eval, 6, 3, state) && sinter_eval_expect_dims(eval, 7, 2, p);
}

/* A state [directions, batch, hidden], 0 where the operand is absent; layout 1 has batch first. */
static double *load_state(sinter_eval *eval, const layer *l, uint32_t operand) {
    const sinter_tensor *tensor = sinter_eval_operand(eval, operand);
    int64_t count = l->directions * l->batch * l->hidden;
    double *state = SINTER_NEW_ARRAY(eval->scratch, double, count + 1);
    if (!tensor) return state;
    const double *items = sinter_eval_doubles(eval, tensor);
    for (int64_t i = 0; i < count; i++) {
        int64_t d = i / l->hidden / l->batch, sample = i / l->hidden % l->batch;
        int64_t row = l->transposed ? sample * l->directions + d : d * l->batch + sample;
        state[i] = items[row * l->hidden + i % l->hidden];
    }
    return state;
}

/* Stores [steps, directions, batch, hidden] (steps = 1 and no axis for it: a state) in the layout asked for. */
static bool store_states(sinter_eval *eval, const layer *l, uint32_t result, const double *items,
                         bool is_state) {
    if (!sinter_eval_wants(eval, result)) return true;
    int64_t steps = is_state ? 1 : l->steps, d = l->directions;
    int64_t plain[4] = {steps, d, l->batch, l->hidden}, turned[4] = {l->batch, steps, d, l->hidden};
    int64_t turned_state[3] = {l->batch, d, l->hidden};
    const int64_t *dims = !l->transposed ? plain + is_state : is_state ? turned_state : turned;
    sinter_tensor *tensor =
        sinter_eval_create(eval, result, eval->operands[0]->dtype, is_state ? 3 : 4, dims);
    if (!tensor) return false;
    for (int64_t i = 0; i < steps * d * l->batch * l->hidden; i++) {
        int64_t unit = i % l->hidden, sample = i / l->hidden % l->batch;
        int64_t row = i / l->hidden / l->batch; /* step and direction */
        int64_t target = l->transposed ? (sample * steps * d + row) * l->hidden + unit : i;
        sinter_tensor_set_double(tensor, target, items[i]);
    }
    return true;
}

static bool run_whole(sinter_eval *eval, int64_t gates, const char *const *defaults, int count,
                      const char *flag, cell run_cell) {
    layer l = {.gates = gates};
    if (!read_shapes(eval, &l) || !read_activations(eval, &l, defaults, count)) return false;
    l.clip = sinter_eval_float(eval, "clip");
    l.flag = flag && sinter_eval_int(eval, flag) != 0;
    l.x = sinter_eval_doubles(eval, eval->operands[0]);
    if (sinter_eval_operand(eval, 1)) l.w = sinter_eval_doubles(eval, eval->operands[1]);
    l.r = sinter_eval_doubles(eval, eval->operands[2]);
    if (sinter_eval_operand(eval, 3)) l.b = sinter_eval_doubles(eval, eval->operands[3]);
    if (sinter_eval_operand(eval, 7)) l.p = sinter_eval_doubles(eval, eval->operands[7]);
    l.h = load_state(eval, &l, 5);
    l.c = load_state(eval, &l, 6);
    int64_t y_dims[4] = {l.steps, l.directions, l.batch, l.hidden}, y_count;
    if (!sinter_eval_product(y_dims, 4, &y_count) || y_count > max_output)
        return sinter_eval_error(eval, "the output is too large");
    l.y = SINTER_NEW_ARRAY(eval->scratch, double, y_count + 1);
    int64_t *lengths = SINTER_NEW_ARRAY(eval->scratch, int64_t, l.batch + 1);
    for (int64_t i = 0; i < l.batch; i++) {
        const sinter_tensor *given = sinter_eval_operand(eval, 4);
        lengths[i] = given ? sinter_tensor_get_int(given, i) : l.steps;
        if (lengths[i] < 0 || lengths[i] > l.steps)
            return sinter_eval_error(eval, "sequence length %" PRId64 " is not in [0, %" PRId64 "]",
                                     lengths[i], l.steps);
    }
    run_layer(eval, &l, lengths, run_cell);
    return store_states(eval, &l, 0, l.y, false) && store_states(eval, &l, 1, l.h, true) &&
           store_states(eval, &l, 2, l.c, true);
}

/* ---- units of several ranks ---- */

enum { MAX_OPERANDS = 8, MAX_RESULTS = 3 };

typedef struct rank_units {
    const sinter_mesh *mesh;
    sinter_mesh_axes over;
    int64_t units, chunk; /* of the layer, and room for those of a rank */
} rank_units;

static bool find_units(sinter_eval *eval, rank_units *out_units) {
    const sinter_mesh *mesh = sinter_module_mesh(eval->module);
    if (!sinter_node_get_mesh_axes(eval->module, eval->node, &out_units->over))
        return sinter_eval_error(eval, "`over` names no axes of the mesh [collective_c2]");
    if (eval->rank < 0 || eval->rank >= sinter_mesh_rank_count(mesh))
        return sinter_eval_error(eval, "which rank of the mesh is this? [collective_c1]");
    if (!eval->peers)
        return sinter_eval_error(eval, "there are no other ranks here [collective_c1]");
    if (!sinter_eval_expect_rank(eval, 2, 3, 3)) return false;
    out_units->mesh = mesh;
    out_units->units = eval->operands[2]->dims[2];
    out_units->chunk =
        sinter_mesh_part_of(mesh, &out_units->over, out_units->units, eval->rank).chunk;
    return true;
}

/* An operand with all units in an axis that has them `blocks` times. */
static bool join_units(sinter_eval *eval, const rank_units *u, uint32_t operand, uint32_t axis,
                       int64_t blocks, sinter_tensor *out_whole) {
    const sinter_tensor *own = sinter_eval_operand(eval, operand);
    int64_t dims[SINTER_MAX_RANK];
    memcpy(dims, own->dims, own->rank * sizeof *dims);
    if (axis >= own->rank || dims[axis] != blocks * u->chunk)
        return sinter_eval_error(eval, "%s has no part of %" PRId64 " units [collective_c3]",
                                 sinter_eval_describe(eval, own), u->units);
    dims[axis] = blocks * u->units;
    if (!sinter_eval_temporary(eval, out_whole, own->dtype, own->rank, dims)) return false;
    sinter_lanes lanes = sinter_eval_lanes(own->rank, own->dims, axis);
    int64_t places = sinter_mesh_axes_product(u->mesh, &u->over);
    for (int64_t place = 0; place < places; place++) {
        int64_t rank = sinter_mesh_rank_at(u->mesh, &u->over, eval->rank, place);
        const sinter_tensor *part = eval->peers[rank * eval->info->operand_count + operand];
        sinter_mesh_part indices = sinter_mesh_part_of(u->mesh, &u->over, u->units, rank);
        if (!part || part->dtype != own->dtype || part->rank != own->rank ||
            memcmp(part->dims, own->dims, own->rank * sizeof *own->dims) != 0)
            return sinter_eval_error(eval, "rank %" PRId64 " has another part", rank);
        for (int64_t i = 0; indices.valid > 0 && i < lanes.outer * blocks; i++)
            sinter_eval_copy_elements(out_whole, (i * u->units + indices.offset) * lanes.inner,
                                      part, i * u->chunk * lanes.inner,
                                      indices.valid * lanes.inner);
    }
    return true;
}

/* This rank's units of a result, along its last axis. */
static bool take_units(sinter_eval *eval, const rank_units *u, uint32_t result,
                       const sinter_tensor *whole) {
    sinter_mesh_part own = sinter_mesh_part_of(u->mesh, &u->over, u->units, eval->rank);
    int64_t dims[SINTER_MAX_RANK], rows = 1;
    memcpy(dims, whole->dims, whole->rank * sizeof *dims);
    dims[whole->rank - 1] = u->chunk;
    sinter_tensor *y = sinter_eval_create(eval, result, whole->dtype, whole->rank, dims);
    for (uint32_t i = 0; i + 1 < whole->rank; i++) rows *= dims[i];
    for (int64_t row = 0; y && own.valid > 0 && row < rows; row++)
        sinter_eval_copy_elements(y, row * u->chunk, whole, row * u->units + own.offset, own.valid);
    return y != NULL;
}

static bool run_ranks(sinter_eval *eval, int64_t gates, const char *const *defaults, int count,
                      const char *flag, cell run_cell) {
    const bool is_projected = !sinter_eval_operand(eval, 1);
    int64_t directions =
        sinter_string_is(sinter_eval_string(eval, "direction"), "bidirectional") ? 2 : 1;
    /* Operands with units: the axis that has them, and how often. */
    const struct {
        uint32_t operand, axis;
        int64_t blocks;
    } parts[] = {
        {is_projected ? 0 : 1, is_projected ? 2 : 1, is_projected ? directions * gates : gates},
        {2, 1, gates},
        {3, 1, 2 * gates},
        {6, 2, 1},
        {7, 1, 3}};
    enum { PARTS = sizeof parts / sizeof *parts };
    rank_units units;
    sinter_tensor joined[PARTS] = {{0}}, results[MAX_RESULTS] = {{0}};
    const sinter_tensor *operands[MAX_OPERANDS];
    bool good = find_units(eval, &units);
    for (uint32_t i = 0; i < MAX_OPERANDS; i++) operands[i] = sinter_eval_operand(eval, i);
    for (uint32_t i = 0; good && i < PARTS; i++) {
        if (!operands[parts[i].operand]) continue;
        good =
            join_units(eval, &units, parts[i].operand, parts[i].axis, parts[i].blocks, &joined[i]);
        operands[parts[i].operand] = &joined[i];
    }
    sinter_eval whole = *eval;
    whole.operands = operands;
    whole.results = results;
    good = good && run_whole(&whole, gates, defaults, count, flag, run_cell);
    for (uint32_t i = 0; i < MAX_RESULTS; i++)
        if (good && sinter_eval_wants(eval, i)) good = take_units(eval, &units, i, &results[i]);
    sinter_tensors_deinit(joined, PARTS);
    sinter_tensors_deinit(results, MAX_RESULTS);
    return good;
}

static bool run_recurrent(sinter_eval *eval, int64_t gates, const char *const *defaults, int count,
                          const char *flag, cell run_cell) {
    bool is_cut = sinter_node_find_attr(eval->module, eval->node, "over") != NULL;
    return (is_cut ? run_ranks : run_whole)(eval, gates, defaults, count, flag, run_cell);
}

bool eval_rnn(sinter_eval *eval) {
    return run_recurrent(eval, 1, (const char *const[]){"Tanh"}, 1, NULL, rnn_cell);
}

bool eval_gru(sinter_eval *eval) {
    return run_recurrent(eval, 3, (const char *const[]){"Sigmoid", "Tanh"}, 2,
                         "linear_before_reset", gru_cell);
}

bool eval_lstm(sinter_eval *eval) {
    return run_recurrent(eval, 4, (const char *const[]){"Sigmoid", "Tanh", "Tanh"}, 3,
                         "input_forget", lstm_cell);
}
