/* Evaluator rules of the optimizers of ai.onnx.preview.training: adagrad, adam, momentum. Operands
 * are the learning rate, the update count, then lists of one length: tensors, gradients, one or two
 * states; results are the new tensors and states, in the same order. Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <math.h>

/* One element: x and its states are updated in place. */
typedef struct element {
    double x, gradient, state[2];
} element;

typedef struct optimizer {
    double rate;
    int64_t count; /* updates so far */
    double alpha, beta, epsilon, decay, norm, norm_after;
    bool nesterov;
    int states;
} optimizer;
typedef void (*update)(const optimizer *o, element *e);

static void update_adagrad(const optimizer *o, element *e) {
    double gradient = e->gradient + o->norm * e->x;
    e->state[0] += gradient * gradient;
    e->x -=
        o->rate / (1 + (double)o->count * o->decay) * gradient / (sqrt(e->state[0]) + o->epsilon);
}

static void update_adam(const optimizer *o, element *e) {
    double gradient = e->gradient + o->norm * e->x, rate = o->rate, count = (double)o->count;
    e->state[0] = o->alpha * e->state[0] + (1 - o->alpha) * gradient;
    e->state[1] = o->beta * e->state[1] + (1 - o->beta) * gradient * gradient;
    if (o->count > 0) rate *= sqrt(1 - pow(o->beta, count)) / (1 - pow(o->alpha, count));
    e->x -= rate * e->state[0] / (sqrt(e->state[1]) + o->epsilon);
    e->x *= 1 - o->norm_after;
}

static void update_momentum(const optimizer *o, element *e) {
    double gradient = e->gradient + o->norm * e->x;
    /* the first update takes the whole gradient */
    e->state[0] = o->alpha * e->state[0] + (o->count > 0 ? o->beta : 1) * gradient;
    e->x -= o->rate * (o->nesterov ? gradient + o->alpha * e->state[0] : e->state[0]);
}

static bool update_tensor(sinter_eval *eval, const optimizer *o, update step, uint32_t index,
                          uint32_t tensors) {
    const sinter_tensor *x = eval->operands[2 + index];
    const double *gradients, *states[2] = {NULL, NULL};
    sinter_tensor *results[3] = {NULL, NULL, NULL};
    for (uint32_t kind = 1; kind < 2 + (uint32_t)o->states; kind++)
        if (!sinter_eval_expect_dims(eval, 2 + kind * tensors + index, x->rank, x->dims))
            return false;
    const double *items = sinter_eval_doubles(eval, x);
    gradients = sinter_eval_doubles(eval, eval->operands[2 + tensors + index]);
    for (int s = 0; s < o->states; s++)
        states[s] =
            sinter_eval_doubles(eval, eval->operands[2 + (2 + (uint32_t)s) * tensors + index]);
    for (uint32_t kind = 0; kind < 1 + (uint32_t)o->states; kind++) {
        if (!sinter_eval_wants(eval, kind * tensors + index)) continue;
        const sinter_tensor *model = eval->operands[2 + (kind ? kind + 1 : 0) * tensors + index];
        results[kind] = sinter_eval_create_like(eval, kind * tensors + index, model);
        if (!results[kind]) return false;
    }
    for (int64_t i = 0; i < sinter_tensor_count(x); i++) {
        element e = {items[i], gradients[i], {states[0][i], states[1] ? states[1][i] : 0}};
        step(o, &e);
        if (results[0]) sinter_tensor_set_double(results[0], i, e.x);
        for (int s = 0; s < o->states; s++)
            if (results[s + 1]) sinter_tensor_set_double(results[s + 1], i, e.state[s]);
    }
    return true;
}

static bool optimize(sinter_eval *eval, int states, update step) {
    optimizer o = {.states = states,
                   .alpha = sinter_eval_float(eval, "alpha"),
                   .beta = sinter_eval_float(eval, "beta"),
                   .epsilon = sinter_eval_float(eval, "epsilon"),
                   .decay = sinter_eval_float(eval, "decay_factor"),
                   .norm = sinter_eval_float(eval, "norm_coefficient"),
                   .norm_after = sinter_eval_float(eval, "norm_coefficient_post"),
                   .nesterov = sinter_eval_string_is(eval, "mode", "nesterov")};
    if (!sinter_eval_float_scalar(eval, 0, &o.rate) || !sinter_eval_int_scalar(eval, 1, &o.count))
        return false;
    uint32_t given = eval->info->operand_count - 2, kinds = 2 + (uint32_t)states;
    if (given % kinds != 0)
        return sinter_eval_error(eval, "%u tensors are not %u lists of one length", given, kinds);
    for (uint32_t i = 0; i < given / kinds; i++)
        if (!update_tensor(eval, &o, step, i, given / kinds)) return false;
    return true;
}

bool eval_adagrad(sinter_eval *eval) {
    return optimize(eval, 1, update_adagrad);
}

bool eval_adam(sinter_eval *eval) {
    return optimize(eval, 2, update_adam);
}

bool eval_momentum(sinter_eval *eval) {
    if (!sinter_eval_string_is(eval, "mode", "standard") &&
        !sinter_eval_string_is(eval, "mode", "nesterov"))
        return sinter_eval_error(eval, "unknown mode '%.*s'",
                                 SINTER_STRING_ARGS(sinter_eval_string(eval, "mode")));
    return optimize(eval, 1, update_momentum);
}
