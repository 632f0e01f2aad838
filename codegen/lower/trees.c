/* Lowering of tree_ensemble: the nodes of all trees are constant tables; every row walks each tree to a leaf. A walk ends
 * after as many steps as there are nodes, so that a cycle is an error and not a hang.
 * Test: tests/ops/tree_ensemble.sir */
#include "codegen/lower/write.h"
#include <math.h>

enum { LEQ, LT, GTE, GT, EQ, NEQ, MEMBER };                     /* nodes_modes */
enum { AVERAGE, SUM, MIN, MAX };                                /* aggregate_function */
enum { NO_TRANSFORM, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT }; /* post_transform */

typedef struct forest {
    sinter_kernel *k;
    sinter_node node;
    int64_t nodes, leaves, targets, trees, how, after;
    const sinter_tensor *modes, *splits, *weights, *members;
    const int64_t *true_leaf, *false_leaf, *true_next, *false_next, *features, *leaf_targets,
        *roots, *missing;
    int64_t *first_member;
    sinter_loop_buffer root, feature, next[2], leaf[2], mode, split, first, member, target, weight,
        tracks;                /* tables */
    sinter_loop_buffer scores; /* f64 [targets] */
    sinter_value x;
} forest;

static const int64_t *ints_of(const forest *f, const char *name, int64_t count, bool *good) {
    const int64_t *items = NULL;
    size_t given = sinter_node_get_ints(f->k->lower->module, f->node, name, &items);
    if ((int64_t)given != count) *good = false;
    return items;
}

static const sinter_tensor *tensor_of(const forest *f, const char *name) {
    const sinter_attr *attr = sinter_node_find_attr(f->k->lower->module, f->node, name);
    return attr ? attr->tensor : NULL;
}

/* What a walk reads must be there. */
static bool check_nodes(const forest *f) {
    for (int64_t i = 0; i < f->nodes; ++i) {
        int64_t mode = sinter_tensor_get_int(f->modes, i);
        int64_t limits[2] = {f->true_leaf[i] ? f->leaves : f->nodes,
                             f->false_leaf[i] ? f->leaves : f->nodes};
        if (mode < LEQ || mode > MEMBER || f->features[i] < 0 || f->true_next[i] < 0 ||
            f->true_next[i] >= limits[0] || f->false_next[i] < 0 || f->false_next[i] >= limits[1])
            return false;
    }
    for (int64_t i = 0; i < f->trees; ++i)
        if (f->roots[i] < 0 || f->roots[i] >= f->nodes) return false;
    for (int64_t i = 0; i < f->leaves; ++i)
        if (f->leaf_targets[i] < 0 || f->leaf_targets[i] >= f->targets) return false;
    return true;
}

/* Sets of members follow each other, each ended by a NaN, in the order of the nodes that have one. */
static bool find_members(forest *f) {
    int64_t next = 0, count = f->members ? sinter_tensor_count(f->members) : 0;
    f->first_member = SINTER_NEW_ARRAY(&f->k->lower->scratch, int64_t, f->nodes + 1);
    for (int64_t i = 0; i < f->nodes; ++i) {
        if (sinter_tensor_get_int(f->modes, i) != MEMBER) continue;
        f->first_member[i] = next;
        while (next < count && !isnan(sinter_tensor_get_double(f->members, next))) ++next;
        if (next++ >= count) return false;
    }
    return true;
}

static bool read_forest(forest *f) {
    sinter_module *module = f->k->lower->module;
    bool good = true;
    f->modes = tensor_of(f, "nodes_modes");
    f->splits = tensor_of(f, "nodes_splits");
    f->weights = tensor_of(f, "leaf_weights");
    f->members = tensor_of(f, "membership_values");
    if (!f->modes || !f->splits || !f->weights) return false;
    f->nodes = sinter_tensor_count(f->modes);
    f->leaves = sinter_tensor_count(f->weights);
    f->targets = sinter_node_get_int(module, f->node, "n_targets", 1);
    f->how = sinter_node_get_int(module, f->node, "aggregate_function", SUM);
    f->after = sinter_node_get_int(module, f->node, "post_transform", NO_TRANSFORM);
    f->trees = (int64_t)sinter_node_get_ints(module, f->node, "tree_roots", &f->roots);
    f->features = ints_of(f, "nodes_featureids", f->nodes, &good);
    f->true_next = ints_of(f, "nodes_truenodeids", f->nodes, &good);
    f->false_next = ints_of(f, "nodes_falsenodeids", f->nodes, &good);
    f->true_leaf = ints_of(f, "nodes_trueleafs", f->nodes, &good);
    f->false_leaf = ints_of(f, "nodes_falseleafs", f->nodes, &good);
    f->leaf_targets = ints_of(f, "leaf_targetids", f->leaves, &good);
    if (sinter_node_get_ints(module, f->node, "nodes_missing_value_tracks_true", &f->missing) == 0)
        f->missing = NULL;
    else
        f->missing = ints_of(f, "nodes_missing_value_tracks_true", f->nodes, &good);
    return good && f->targets >= 1 && sinter_tensor_count(f->splits) == f->nodes &&
           f->how >= AVERAGE && f->how <= MAX && f->after >= NO_TRANSFORM && f->after <= PROBIT &&
           check_nodes(f) && find_members(f);
}

static void make_tables(forest *f) {
    sinter_kernel *k = f->k;
    size_t nodes = (size_t)f->nodes;
    int64_t *modes = SINTER_NEW_ARRAY(&k->lower->scratch, int64_t, f->nodes + 1);
    for (int64_t i = 0; i < f->nodes; ++i) modes[i] = sinter_tensor_get_int(f->modes, i);
    f->root = sinter_write_table_ints(k, "roots", f->roots, (size_t)f->trees);
    f->feature = sinter_write_table_ints(k, "features", f->features, nodes);
    f->next[0] = sinter_write_table_ints(k, "false_next", f->false_next, nodes);
    f->next[1] = sinter_write_table_ints(k, "true_next", f->true_next, nodes);
    f->leaf[0] = sinter_write_table_ints(k, "false_leaf", f->false_leaf, nodes);
    f->leaf[1] = sinter_write_table_ints(k, "true_leaf", f->true_leaf, nodes);
    f->mode = sinter_write_table_ints(k, "modes", modes, nodes);
    f->first = sinter_write_table_ints(k, "first_member", f->first_member, nodes);
    f->target = sinter_write_table_ints(k, "targets", f->leaf_targets, (size_t)f->leaves);
    f->split = sinter_write_table(k, "splits", f->splits);
    f->weight = sinter_write_table(k, "weights", f->weights);
    if (f->members && sinter_tensor_count(f->members))
        f->member = sinter_write_table(k, "members", f->members);
    if (f->missing) f->tracks = sinter_write_table_ints(k, "tracks", f->missing, nodes);
}

static sinter_expr real(forest *f, sinter_expr x) {
    return sinter_write_cast(f->k, x, SINTER_DTYPE_f64);
}

/* Whether x is in the node's set, which a NaN ends. */
static void find_in_set(forest *f, sinter_expr node, sinter_expr x, sinter_loop_var found) {
    sinter_kernel *k = f->k;
    sinter_loop_var at = sinter_write_var(k, "at", sinter_write_load1(k, f->first, node)),
                    going =
                        sinter_write_var(k, "going", sinter_write_number(k, SINTER_DTYPE_bool, 1));
    sinter_write_while(k, sinter_write_get(k, going));
    sinter_expr member = sinter_write_let(
        k, "member", real(f, sinter_write_load1(k, f->member, sinter_write_get(k, at))));
    sinter_write_set(k, found, FORMULA(k, "a == b", member, x));
    sinter_write_set(k, going, FORMULA(k, "a != b && !is_nan(a)", member, x));
    sinter_write_add(k, at, sinter_write_int(k, 1));
    sinter_write_end(k);
}

/* Which branch x takes at the node, as a variable. */
static sinter_expr take_branch(forest *f, sinter_expr node, sinter_expr x) {
    static const char *const texts[] = {"a <= b", "a < b", "a >= b", "a > b", "a == b", "a != b"};
    sinter_kernel *k = f->k;
    bool used[MEMBER + 1] = {0};
    for (int64_t i = 0; i < f->nodes; ++i) used[sinter_tensor_get_int(f->modes, i)] = true;
    sinter_expr mode = sinter_write_let(k, "mode", sinter_write_load1(k, f->mode, node)),
                split =
                    sinter_write_let(k, "split", real(f, sinter_write_load1(k, f->split, node)));
    sinter_expr taken = sinter_write_number(k, SINTER_DTYPE_bool, 0);
    for (int m = LEQ; m < MEMBER; ++m)
        if (used[m])
            taken = FORMULA(k, "select(b == c, d, a)", taken, mode, sinter_write_int(k, m),
                            FORMULA(k, texts[m], x, split));
    sinter_loop_var branch = sinter_write_var(k, "branch", taken);
    if (used[MEMBER]) {
        sinter_write_if(k, FORMULA(k, "a == b", mode, sinter_write_int(k, MEMBER)));
        find_in_set(f, node, x, branch);
        sinter_write_end(k);
    }
    if (f->missing)
        sinter_write_set(k, branch,
                         FORMULA(k, "a || (is_nan(b) && c != 0)", sinter_write_get(k, branch), x,
                                 sinter_write_load1(k, f->tracks, node)));
    return sinter_write_let(k, "goes", sinter_write_get(k, branch));
}

static sinter_expr find_leaf(forest *f, sinter_expr row, sinter_expr tree) {
    sinter_kernel *k = f->k;
    sinter_loop_var at = sinter_write_var(k, "at", sinter_write_load1(k, f->root, tree)),
                    steps = sinter_write_var(k, "steps", sinter_write_int(k, 0)),
                    ended =
                        sinter_write_var(k, "ended", sinter_write_number(k, SINTER_DTYPE_bool, 0));
    sinter_expr limit = sinter_write_int(k, f->nodes);
    sinter_write_while(k, FORMULA(k, "!a && b < c", sinter_write_get(k, ended),
                                  sinter_write_get(k, steps), limit));
    sinter_expr node = sinter_write_let(k, "node", sinter_write_get(k, at));
    sinter_expr index[2] = {row, sinter_write_load1(k, f->feature, node)};
    sinter_expr x = sinter_write_let(k, "x", real(f, sinter_lower_element(k, f->x, index)));
    sinter_expr branch = take_branch(f, node, x), next[2], leaf[2];
    for (int side = 0; side < 2; ++side) {
        next[side] = sinter_write_load1(k, f->next[side], node);
        leaf[side] = sinter_write_load1(k, f->leaf[side], node);
    }
    sinter_write_set(k, at, FORMULA(k, "select(a, b, c)", branch, next[1], next[0]));
    sinter_write_set(k, ended, FORMULA(k, "select(a, b != 0, c != 0)", branch, leaf[1], leaf[0]));
    sinter_write_add(k, steps, sinter_write_int(k, 1));
    sinter_write_end(k);
    sinter_write_check(k, sinter_write_get(k, ended), "tree_ensemble: tree %0 has a cycle", tree);
    return sinter_write_let(k, "leaf", sinter_write_get(k, at));
}

static void score_row(forest *f, sinter_expr row) {
    sinter_kernel *k = f->k;
    sinter_expr targets = sinter_write_int(k, f->targets);
    sinter_expr start = sinter_write_number(k, SINTER_DTYPE_f64,
                                            f->how == MIN   ? INFINITY
                                            : f->how == MAX ? -INFINITY
                                                            : 0);
    sinter_expr t = sinter_kernel_begin_for(k, "t", targets);
    sinter_write_store1(k, f->scores, t, start);
    sinter_write_end(k);
    sinter_expr tree = sinter_kernel_begin_for(k, "tree", sinter_write_int(k, f->trees));
    sinter_expr leaf = find_leaf(f, row, tree);
    sinter_expr weight = real(f, sinter_write_load1(k, f->weight, leaf)),
                target = sinter_write_let(k, "target", sinter_write_load1(k, f->target, leaf));
    const char *text = f->how == MIN       ? "min(a, b)"
                       : f->how == MAX     ? "max(a, b)"
                       : f->how == AVERAGE ? "a + b / c"
                                           : "a + b";
    sinter_write_store1(k, f->scores, target,
                        FORMULA(k, text, sinter_write_load1(k, f->scores, target), weight,
                                sinter_write_number(k, SINTER_DTYPE_f64, (double)f->trees)));
    sinter_write_end(k);
    if (f->how != MIN && f->how != MAX) return;
    t = sinter_kernel_begin_for(k, "t", targets); /* targets that no tree reached */
    sinter_expr score = sinter_write_load1(k, f->scores, t);
    sinter_write_store1(k, f->scores, t, FORMULA(k, "select(a == b, 0, a)", score, start));
    sinter_write_end(k);
}

/* Inverse of the normal distribution's cumulated probability, by bisection. */
static sinter_expr probit(sinter_kernel *k, sinter_expr p) {
    sinter_loop_var low = sinter_write_var(k, "low", sinter_write_number(k, SINTER_DTYPE_f64, -40)),
                    high =
                        sinter_write_var(k, "high", sinter_write_number(k, SINTER_DTYPE_f64, 40));
    sinter_kernel_begin_for(k, "step", sinter_write_int(k, 100));
    sinter_expr middle = sinter_write_let(
        k, "middle",
        FORMULA(k, "(a + b) / 2", sinter_write_get(k, low), sinter_write_get(k, high)));
    sinter_expr below = sinter_write_let(
        k, "below", FORMULA(k, "0.5 * (1 + erf(a * 0.7071067811865476)) < b", middle, p));
    sinter_write_set(k, low,
                     FORMULA(k, "select(a, b, c)", below, middle, sinter_write_get(k, low)));
    sinter_write_set(k, high,
                     FORMULA(k, "select(a, c, b)", below, middle, sinter_write_get(k, high)));
    sinter_write_end(k);
    return FORMULA(
        k, "select(a > 0 && a < 1, (b + c) / 2, select(a == 0, -inf, select(a == 1, inf, nan)))", p,
        sinter_write_get(k, low), sinter_write_get(k, high));
}

static void transform_scores(forest *f) {
    sinter_kernel *k = f->k;
    sinter_expr targets = sinter_write_int(k, f->targets);
    if (f->after == NO_TRANSFORM) return;
    if (f->after == LOGISTIC || f->after == PROBIT) {
        sinter_expr t = sinter_kernel_begin_for(k, "t", targets);
        sinter_expr score = sinter_write_let(k, "score", sinter_write_load1(k, f->scores, t));
        sinter_write_store1(k, f->scores, t,
                            f->after == PROBIT ? probit(k, score)
                                               : FORMULA(k, "1 / (1 + exp(-a))", score));
        sinter_write_end(k);
        return;
    }
    sinter_loop_var high = sinter_write_var(k, "high",
                                            sinter_write_number(k, SINTER_DTYPE_f64, -INFINITY)),
                    sum = sinter_write_var(k, "sum", sinter_write_number(k, SINTER_DTYPE_f64, 0));
    sinter_expr t = sinter_kernel_begin_for(k, "t", targets);
    sinter_write_set(
        k, high,
        FORMULA(k, "max(a, b)", sinter_write_get(k, high), sinter_write_load1(k, f->scores, t)));
    sinter_write_end(k);
    t = sinter_kernel_begin_for(k, "t", targets);
    const char *text = f->after == SOFTMAX_ZERO ? "select(a == 0, 0, exp(a - b))"
                                                : "exp(a - b)"; /* zeros stay and do not count */
    sinter_expr part =
        FORMULA(k, text, sinter_write_load1(k, f->scores, t), sinter_write_get(k, high));
    part = sinter_write_let(k, "part", part);
    sinter_write_store1(k, f->scores, t, part);
    sinter_write_add(k, sum, part);
    sinter_write_end(k);
    t = sinter_kernel_begin_for(k, "t", targets);
    sinter_write_store1(k, f->scores, t,
                        FORMULA(k, "select(b == 0, 0, a / b)", sinter_write_load1(k, f->scores, t),
                                sinter_write_get(k, sum)));
    sinter_write_end(k);
}

bool sinter_lower_tree_ensemble(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    forest f = {.k = k, .node = node, .x = sinter_write_operand(k, node, 0)};
    if (!read_forest(&f))
        return sinter_lower_error(k->lower, node, "the trees name what is not there");
    int64_t widest = 0;
    for (int64_t i = 0; i < f.nodes; ++i)
        if (f.features[i] > widest) widest = f.features[i];
    make_tables(&f);
    sinter_expr features = sinter_kernel_dim_of(k, f.x, 1);
    sinter_write_check(k, FORMULA(k, "a > b", features, sinter_write_int(k, widest)),
                       "tree_ensemble: rows of %0 features are too short", features);
    sinter_expr host = sinter_loop_int(&k->lower->host, f.targets);
    f.scores = sinter_kernel_scratch(k, "scores", SINTER_DTYPE_f64, 1, &host);
    sinter_value y = sinter_write_result(k, node, 0);
    sinter_expr at[2];
    at[0] = sinter_kernel_begin_for(k, "row", sinter_kernel_dim_of(k, f.x, 0));
    score_row(&f, at[0]);
    transform_scores(&f);
    at[1] = sinter_kernel_begin_for(k, "t", sinter_write_int(k, f.targets));
    sinter_dtype compute = sinter_dtype_compute(sinter_write_type(k, y).dtype);
    sinter_lower_store(k, y, at,
                       sinter_write_cast(k, sinter_write_load1(k, f.scores, at[1]), compute));
    sinter_kernel_end_loops(k, 2);
    return true;
}
