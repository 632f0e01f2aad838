/* Evaluator rules of the ONNX-ML ops: array_feature_extractor, binarizer, label_encoder,
 * tree_ensemble. Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

bool eval_array_feature_extractor(sinter_eval *eval) {
    if (!sinter_eval_expect_rank(eval, 0, 1, SINTER_MAX_RANK)) return false;
    const sinter_tensor *x = eval->operands[0], *y = eval->operands[1];
    int64_t count = sinter_tensor_count(y), width = x->dims[x->rank - 1], dims[SINTER_MAX_RANK];
    uint32_t rank = x->rank == 1 ? 2 : x->rank; /* a vector is one row */
    dims[0] = 1;
    for (uint32_t i = 0; i + 1 < x->rank; i++) dims[i] = x->dims[i];
    dims[rank - 1] = count;
    sinter_tensor *z = sinter_eval_create(eval, 0, x->dtype, rank, dims);
    if (!z) return false;
    for (int64_t i = 0; i < sinter_tensor_count(z); i++) {
        int64_t feature;
        if (!sinter_eval_index(eval, sinter_tensor_get_int(y, i % count), width, &feature))
            return false;
        sinter_eval_copy_element(z, i, x, i / count * width + feature);
    }
    return true;
}

bool eval_binarizer(sinter_eval *eval) {
    const sinter_tensor *x = eval->operands[0];
    double threshold = sinter_eval_float(eval, "threshold");
    sinter_tensor *y = sinter_eval_create_like(eval, 0, x);
    if (!y) return false;
    double *items = sinter_eval_doubles(eval, x);
    for (int64_t i = 0; i < sinter_tensor_count(x); i++) items[i] = items[i] > threshold;
    sinter_eval_store_doubles(y, items);
    return true;
}

/* ---- label encoder ---- */

/* The list attribute `name` (ints, floats, strings or a tensor) as a vector of that dtype; false where it is absent
 * (no error) or can't be made. The caller releases it. */
static bool list_tensor(sinter_eval *eval, const char *name, sinter_dtype dtype,
                        sinter_tensor *out) {
    const sinter_attr *attr = sinter_node_find_attr(eval->module, eval->node, name);
    if (!attr) return false;
    if (attr->kind == SINTER_ATTR_TENSOR) {
        sinter_tensor_copy(out, attr->tensor);
        return true;
    }
    int64_t count = (int64_t)(attr->kind == SINTER_ATTR_INTS     ? attr->ints.count
                              : attr->kind == SINTER_ATTR_FLOATS ? attr->floats.count
                                                                 : attr->strings.count);
    if (count == 0 || !sinter_eval_temporary(eval, out, dtype, 1, &count)) return false;
    for (int64_t i = 0; i < count; i++) {
        if (attr->kind == SINTER_ATTR_INTS)
            sinter_tensor_set_int(out, i, attr->ints.items[i]);
        else if (attr->kind == SINTER_ATTR_FLOATS)
            sinter_tensor_set_double(out, i, attr->floats.items[i]);
        else
            sinter_tensor_set_string(out, i, attr->strings.items[i]);
    }
    return true;
}

static bool find_list(sinter_eval *eval, const char *const names[4], sinter_tensor *out) {
    static const sinter_dtype dtypes[4] = {SINTER_DTYPE_NONE, SINTER_DTYPE_i64, SINTER_DTYPE_f32,
                                           SINTER_DTYPE_string};
    *out = (sinter_tensor){0};
    for (int i = 0; i < 4; i++)
        if (list_tensor(eval, names[i], dtypes[i], out)) return true;
    return sinter_eval_error(eval, "none of %s, %s, %s, %s is there", names[0], names[1], names[2],
                             names[3]);
}

/* What an unknown key becomes, as element 0 of a tensor of the values' dtype. */
static bool find_default(sinter_eval *eval, const sinter_tensor *values, sinter_tensor *out) {
    const sinter_attr *given = sinter_node_find_attr(eval->module, eval->node, "default_tensor");
    *out = (sinter_tensor){0};
    if (given && given->tensor->dtype == values->dtype && sinter_tensor_count(given->tensor) == 1) {
        sinter_tensor_copy(out, given->tensor);
        return true;
    }
    if (!sinter_eval_temporary(eval, out, values->dtype, 0, NULL)) return false;
    if (values->dtype == SINTER_DTYPE_string)
        sinter_tensor_set_string(out, 0, sinter_eval_string(eval, "default_string"));
    else if (sinter_dtype_is_float(values->dtype))
        sinter_tensor_set_double(out, 0, sinter_eval_float(eval, "default_float"));
    else
        sinter_tensor_set_int(out, 0, sinter_eval_int(eval, "default_int64"));
    return true;
}

static bool encode_labels(sinter_eval *eval, const sinter_tensor *keys, const sinter_tensor *values,
                          const sinter_tensor *otherwise) {
    const sinter_tensor *x = eval->operands[0];
    int64_t count = sinter_tensor_count(keys);
    if (keys->dtype != x->dtype || count != sinter_tensor_count(values))
        return sinter_eval_error(eval, "keys %s and values %s do not fit %s",
                                 sinter_eval_describe(eval, keys),
                                 sinter_eval_describe(eval, values), sinter_eval_describe(eval, x));
    sinter_tensor *y = sinter_eval_create(eval, 0, values->dtype, x->rank, x->dims);
    if (!y) return false;
    for (int64_t i = 0; i < sinter_tensor_count(x); i++) {
        int64_t k = count - 1; /* the last of equal keys counts */
        while (k >= 0 && sinter_eval_compare(x, i, keys, k) != 0) k--;
        sinter_eval_copy_element(y, i, k >= 0 ? values : otherwise, k >= 0 ? k : 0);
    }
    return true;
}

bool eval_label_encoder(sinter_eval *eval) {
    static const char *const key_names[4] = {"keys_tensor", "keys_int64s", "keys_floats",
                                             "keys_strings"};
    static const char *const value_names[4] = {"values_tensor", "values_int64s", "values_floats",
                                               "values_strings"};
    sinter_tensor keys = {0}, values = {0}, otherwise = {0};
    bool good = find_list(eval, key_names, &keys) && find_list(eval, value_names, &values) &&
                find_default(eval, &values, &otherwise) &&
                encode_labels(eval, &keys, &values, &otherwise);
    sinter_tensor_deinit(&keys);
    sinter_tensor_deinit(&values);
    sinter_tensor_deinit(&otherwise);
    return good;
}

/* ---- tree ensemble ---- */

typedef enum comparison { LEQ, LT, GTE, GT, EQ, NEQ, MEMBER } comparison;
typedef enum aggregation { AVERAGE, SUM, MIN, MAX } aggregation;
typedef enum transform { NO_TRANSFORM, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT } transform;

typedef struct forest {
    int64_t nodes, leaves, targets, features;
    size_t trees;
    const int64_t *roots, *features_of, *true_next, *false_next, *true_leaf, *false_leaf;
    const int64_t *leaf_targets, *missing; /* missing may be NULL */
    const sinter_tensor *modes, *splits, *weights, *members;
    int64_t *first_member; /* by node: where its members start, up to a NaN */
} forest;

static bool read_ints(sinter_eval *eval, const char *name, int64_t count,
                      const int64_t **out_items) {
    size_t given = sinter_eval_ints_attr(eval, name, out_items);
    if ((int64_t)given == count) return true;
    return sinter_eval_error(eval, "%s has %zu numbers, expected %" PRId64, name, given, count);
}

static bool check_nodes(sinter_eval *eval, const forest *f) {
    for (int64_t i = 0; i < f->nodes; i++) {
        int64_t mode = sinter_tensor_get_int(f->modes, i);
        int64_t true_limit = f->true_leaf[i] ? f->leaves : f->nodes;
        int64_t false_limit = f->false_leaf[i] ? f->leaves : f->nodes;
        if (mode < LEQ || mode > MEMBER || f->features_of[i] < 0 ||
            f->features_of[i] >= f->features || f->true_next[i] < 0 ||
            f->true_next[i] >= true_limit || f->false_next[i] < 0 ||
            f->false_next[i] >= false_limit)
            return sinter_eval_error(eval, "node %" PRId64 " names what is not there", i);
    }
    for (size_t i = 0; i < f->trees; i++)
        if (f->roots[i] < 0 || f->roots[i] >= f->nodes)
            return sinter_eval_error(eval, "there is no node %" PRId64 " for a root", f->roots[i]);
    for (int64_t i = 0; i < f->leaves; i++)
        if (f->leaf_targets[i] < 0 || f->leaf_targets[i] >= f->targets)
            return sinter_eval_error(eval, "there is no target %" PRId64, f->leaf_targets[i]);
    return true;
}

/* Sets of members follow each other, each ended by a NaN, in the order of the nodes that have one. */
static bool find_members(sinter_eval *eval, forest *f) {
    int64_t next = 0, count = f->members ? sinter_tensor_count(f->members) : 0;
    f->first_member = SINTER_NEW_ARRAY(eval->scratch, int64_t, f->nodes + 1);
    for (int64_t i = 0; i < f->nodes; i++) {
        if (sinter_tensor_get_int(f->modes, i) != MEMBER) continue;
        f->first_member[i] = next;
        while (next < count && !isnan(sinter_tensor_get_double(f->members, next))) next++;
        if (next >= count) return sinter_eval_error(eval, "membership_values end too early");
        next++;
    }
    return true;
}

static bool read_forest(sinter_eval *eval, forest *f) {
    static const char *const names[] = {"nodes_modes", "nodes_splits", "leaf_weights",
                                        "membership_values"};
    const sinter_tensor **tensors[] = {&f->modes, &f->splits, &f->weights, &f->members};
    for (int i = 0; i < 4; i++) {
        const sinter_attr *attr = sinter_node_find_attr(eval->module, eval->node, names[i]);
        *tensors[i] = attr ? attr->tensor : NULL;
    }
    if (!f->modes || !f->splits || !f->weights || !sinter_dtype_is_integer(f->modes->dtype) ||
        !sinter_dtype_is_float(f->splits->dtype) || !sinter_dtype_is_float(f->weights->dtype) ||
        (f->members && !sinter_dtype_is_float(f->members->dtype)))
        return sinter_eval_error(eval, "modes should be integers, splits and weights floats");
    f->nodes = sinter_tensor_count(f->modes);
    f->leaves = sinter_tensor_count(f->weights);
    f->targets = sinter_node_get_int(eval->module, eval->node, "n_targets", 1);
    f->trees = sinter_eval_ints_attr(eval, "tree_roots", &f->roots);
    if (f->targets < 1 || sinter_tensor_count(f->splits) != f->nodes)
        return sinter_eval_error(eval, "there are no targets, or not a split for each node");
    if (sinter_eval_ints_attr(eval, "nodes_missing_value_tracks_true", &f->missing) == 0)
        f->missing = NULL;
    else if (!read_ints(eval, "nodes_missing_value_tracks_true", f->nodes, &f->missing))
        return false;
    return read_ints(eval, "nodes_featureids", f->nodes, &f->features_of) &&
           read_ints(eval, "nodes_truenodeids", f->nodes, &f->true_next) &&
           read_ints(eval, "nodes_falsenodeids", f->nodes, &f->false_next) &&
           read_ints(eval, "nodes_trueleafs", f->nodes, &f->true_leaf) &&
           read_ints(eval, "nodes_falseleafs", f->nodes, &f->false_leaf) &&
           read_ints(eval, "leaf_targetids", f->leaves, &f->leaf_targets) && check_nodes(eval, f) &&
           find_members(eval, f);
}

static bool takes_true_branch(const forest *f, int64_t node, double x) {
    double split = sinter_tensor_get_double(f->splits, node);
    if (isnan(x) && f->missing && f->missing[node]) return true;
    switch ((comparison)sinter_tensor_get_int(f->modes, node)) {
    case LEQ:
        return x <= split;
    case LT:
        return x < split;
    case GTE:
        return x >= split;
    case GT:
        return x > split;
    case EQ:
        return x == split;
    case NEQ:
        return x != split;
    case MEMBER:
        for (int64_t i = f->first_member[node];; i++) {
            double member = sinter_tensor_get_double(f->members, i);
            if (isnan(member)) return false;
            if (member == x) return true;
        }
    }
    return false;
}

/* The leaf a row ends in. */
static bool find_leaf(sinter_eval *eval, const forest *f, size_t tree, const double *row,
                      int64_t *out_leaf) {
    int64_t node = f->roots[tree];
    for (int64_t steps = 0; steps < f->nodes; steps++) {
        bool branch = takes_true_branch(f, node, row[f->features_of[node]]);
        bool is_leaf = (branch ? f->true_leaf : f->false_leaf)[node] != 0;
        node = (branch ? f->true_next : f->false_next)[node];
        *out_leaf = node;
        if (is_leaf) return true;
    }
    return sinter_eval_error(eval, "tree %zu has a cycle", tree);
}

/* Inverse of the normal distribution's cumulated probability, by bisection. */
static double probit(double probability) {
    double low = -40, high = 40;
    if (!(probability > 0 && probability < 1))
        return probability == 0 ? -INFINITY : probability == 1 ? INFINITY : NAN;
    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2;
        *(0.5 * erfc(-middle / sqrt(2)) < probability ? &low : &high) = middle;
    }
    return (low + high) / 2;
}

static void transform_scores(transform how, double *scores, int64_t count) {
    double high = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++) high = fmax(high, scores[i]);
    for (int64_t i = 0; i < count; i++) {
        bool skipped = how == SOFTMAX_ZERO && scores[i] == 0; /* zeros stay and do not count */
        if (how == SOFTMAX || how == SOFTMAX_ZERO) scores[i] = skipped ? 0 : exp(scores[i] - high);
        if (how == LOGISTIC) scores[i] = 1 / (1 + exp(-scores[i]));
        if (how == PROBIT) scores[i] = probit(scores[i]);
        sum += scores[i];
    }
    for (int64_t i = 0; (how == SOFTMAX || how == SOFTMAX_ZERO) && i < count; i++)
        scores[i] = sum == 0 ? 0 : scores[i] / sum;
}

static bool score_row(sinter_eval *eval, const forest *f, aggregation how, const double *row,
                      double *scores) {
    double start = how == MIN ? INFINITY : how == MAX ? -INFINITY : 0;
    for (int64_t i = 0; i < f->targets; i++) scores[i] = start;
    for (size_t tree = 0; tree < f->trees; tree++) {
        int64_t leaf;
        if (!find_leaf(eval, f, tree, row, &leaf)) return false;
        double weight = sinter_tensor_get_double(f->weights, leaf);
        double *score = &scores[f->leaf_targets[leaf]];
        *score = how == MIN   ? fmin(*score, weight)
                 : how == MAX ? fmax(*score, weight)
                              : *score + weight / (how == AVERAGE ? (double)f->trees : 1);
    }
    for (int64_t i = 0; i < f->targets; i++)
        if (isinf(scores[i]) && scores[i] == start) scores[i] = 0; /* no leaf of any tree */
    return true;
}

bool eval_tree_ensemble(sinter_eval *eval) {
    forest f = {0};
    if (!sinter_eval_expect_rank(eval, 0, 2, 2)) return false;
    const sinter_tensor *x = eval->operands[0];
    f.features = x->dims[1];
    if (!read_forest(eval, &f)) return false;
    int64_t how = sinter_eval_int(eval, "aggregate_function");
    int64_t after = sinter_eval_int(eval, "post_transform");
    if (how < AVERAGE || how > MAX || after < NO_TRANSFORM || after > PROBIT)
        return sinter_eval_error(
            eval, "unknown aggregate_function %" PRId64 " or post_transform %" PRId64, how, after);
    int64_t dims[2] = {x->dims[0], f.targets};
    sinter_tensor *y = sinter_eval_create(eval, 0, x->dtype, 2, dims);
    if (!y) return false;
    const double *items = sinter_eval_doubles(eval, x);
    double *scores = SINTER_NEW_ARRAY(eval->scratch, double, sinter_tensor_count(y) + 1);
    for (int64_t row = 0; row < dims[0]; row++) {
        if (!score_row(eval, &f, (aggregation)how, items + row * f.features,
                       scores + row * f.targets))
            return false;
        transform_scores((transform)after, scores + row * f.targets, f.targets);
    }
    sinter_eval_store_doubles(y, scores);
    return true;
}
