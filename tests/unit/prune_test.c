/* Pruning of random networks without compensation: the values are those of the network whose readers have zeros for what was
 * removed. The oracle is made from what is left: a unit that went is looked for in the original, by its weights. */
#include "ir/eval.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "passes/prune_graph.h"
#include "tests/unit/random_graph_values.h"
#include "tests/unit/test.h"

#include <stdlib.h>

enum { ROUNDS = 200, STEPS = 9 };

static bool all_may(void *user, const sinter_layer *layer) {
    (void)user;
    (void)layer;
    return true;
}

/* ---- random networks ---- */

typedef struct net {
    random_graph g;
    sinter_value x[2 * STEPS + 4]; /* f32[N, C, 4, 4] */
    int count;
} net;

static int64_t channels_of(net *n, sinter_value value) {
    int64_t size = 0;
    sinter_dim_is_const(sinter_module_dims(n->g.build.module), type_of(&n->g, value).dims[1],
                        &size);
    return size;
}

static sinter_value pick_of(net *n) {
    return n->x[random_below(&n->g, n->count)];
}

static sinter_value add_conv(net *n, sinter_value x, int64_t outputs, int64_t group,
                             int64_t kernel) {
    int64_t in = channels_of(n, x), dims[4] = {outputs, in / group, kernel, kernel},
            pads[4] = {kernel / 2, kernel / 2, kernel / 2, kernel / 2};
    sinter_value operands[3] = {x, random_constant(&n->g, 4, dims, -1, 1), 0};
    if (random_chance(&n->g, 60)) operands[2] = random_constant(&n->g, 1, dims, -1, 1);
    sinter_attr attributes[2] = {sinter_attr_ints("pads", pads, 4),
                                 sinter_attr_int("group", group)};
    return sinter_build(&n->g.build, SINTER_OP_conv, operands, 3, attributes, 2);
}

static sinter_value add_shuffle(net *n, sinter_value x) {
    int64_t c = channels_of(n, x), parts = c % 2 == 0 ? 2 : c % 3 == 0 ? 3 : 1;
    int64_t split[5] = {-1, parts, c / parts, 4, 4}, perm[5] = {0, 2, 1, 3, 4},
            join[4] = {-1, c, 4, 4};
    sinter_value y = sinter_build_reshape(&n->g.build, x, split, 5);
    y = sinter_build_transpose(&n->g.build, y, perm, 5);
    return sinter_build_reshape(&n->g.build, y, join, 4);
}

static sinter_value add_split(net *n, sinter_value x) {
    int64_t c = channels_of(n, x), sizes[2] = {c / 2, c - c / 2};
    if (c < 2) return x;
    sinter_value operands[2] = {x, sinter_build_ints(&n->g.build, sizes, 2)};
    sinter_attr axis = sinter_attr_int("axis", 1);
    sinter_node_spec spec = {.op = SINTER_OP_split,
                             .operands = operands,
                             .attributes = &axis,
                             .operand_count = 2,
                             .attribute_count = 1,
                             .result_count = 2};
    sinter_node node = sinter_build_node(&n->g.build, &spec);
    n->x[n->count++] = sinter_node_result(n->g.build.module, node, 0);
    return sinter_node_result(n->g.build.module, node, 1);
}

static sinter_value add_pad(net *n, sinter_value x) {
    int64_t pads[8] = {0, random_below(&n->g, 3), 0, 0, 0, random_below(&n->g, 3), 0, 0};
    sinter_value operands[2] = {x, sinter_build_ints(&n->g.build, pads, 8)};
    return sinter_build(&n->g.build, SINTER_OP_pad, operands, 2, NULL, 0);
}

static sinter_value add_slice(net *n, sinter_value x) {
    int64_t c = channels_of(n, x), start = random_below(&n->g, c), end = c, axis = 1;
    sinter_builder *b = &n->g.build;
    sinter_value operands[4] = {x, sinter_build_ints(b, &start, 1), sinter_build_ints(b, &end, 1),
                                sinter_build_ints(b, &axis, 1)};
    return sinter_build(b, SINTER_OP_slice, operands, 4, NULL, 0);
}

static sinter_value add_sum(net *n, sinter_value x) {
    for (int attempt = 0; attempt < 4; attempt++) {
        sinter_value other = pick_of(n);
        if (channels_of(n, other) == channels_of(n, x))
            return sinter_build_binary(
                &n->g.build, random_chance(&n->g, 70) ? SINTER_OP_add : SINTER_OP_mul, x, other);
    }
    return sinter_build_unary(&n->g.build, SINTER_OP_tanh, x);
}

/* Positions as steps in time; units are channels again, of both directions one after the other. */
static sinter_value add_recurrent(net *n, sinter_value x) {
    static const struct {
        sinter_op op;
        int64_t gates;
    } kinds[] = {{SINTER_OP_lstm, 4}, {SINTER_OP_gru, 3}, {SINTER_OP_rnn, 1}};
    int64_t c = channels_of(n, x), kind = random_below(&n->g, 3),
            units = 2 + random_below(&n->g, 4);
    int64_t directions = 1 + random_below(&n->g, 2), rows = kinds[kind].gates * units;
    int64_t flat[3] = {-1, c, 16}, to_steps[3] = {2, 0, 1}, back[4] = {2, 1, 3, 0},
            image[4] = {-1, directions * units, 4, 4};
    int64_t w[3] = {directions, rows, c}, r[3] = {directions, rows, units},
            b[2] = {directions, 2 * rows}, p[2] = {directions, 3 * units};
    sinter_builder *build = &n->g.build;
    sinter_value operands[8] = {
        sinter_build_transpose(build, sinter_build_reshape(build, x, flat, 3), to_steps, 3),
        random_constant(&n->g, 3, w, -1, 1), random_constant(&n->g, 3, r, -1, 1)};
    if (random_chance(&n->g, 60)) operands[3] = random_constant(&n->g, 2, b, -1, 1);
    bool peeps = kinds[kind].op == SINTER_OP_lstm && random_chance(&n->g, 50);
    if (peeps) operands[7] = random_constant(&n->g, 2, p, -1, 1);
    const char *direction = directions == 2            ? "bidirectional"
                            : random_chance(&n->g, 50) ? "reverse"
                                                       : "forward";
    sinter_attr attributes[2] = {sinter_attr_string("direction", sinter_string_of(direction)),
                                 sinter_attr_int("hidden_size", units)};
    sinter_value y = sinter_build(build, kinds[kind].op, operands, peeps ? 8 : 4, attributes, 2);
    if (!y) return 0;
    return sinter_build_reshape(build, sinter_build_transpose(build, y, back, 4), image, 4);
}

static sinter_value add_step(net *n) {
    sinter_value x = pick_of(n), y = pick_of(n);
    int64_t c = channels_of(n, x);
    sinter_attr axis = sinter_attr_int("axis", 1);
    switch (random_below(&n->g, 11)) {
    case 0:
        return add_conv(n, x, c * (1 + random_below(&n->g, 2)), c, 3); /* depthwise */
    case 1:
        return add_conv(n, x, c % 2 ? 4 : 6, c % 2 ? 1 : 2, 1);
    case 2:
        return sinter_build(&n->g.build, SINTER_OP_concat, (sinter_value[]){x, y}, 2, &axis, 1);
    case 3:
        return add_shuffle(n, x);
    case 4:
        return add_split(n, x);
    case 5:
        return add_pad(n, x);
    case 6:
        return add_slice(n, x);
    case 7:
        return sinter_build_unary(&n->g.build, SINTER_OP_sigmoid, x);
    case 8:
        return add_sum(n, x);
    case 9:
        return add_recurrent(n, x);
    default:
        return add_conv(n, x, 2 + random_below(&n->g, 5), 1, 1);
    }
}

/* Everything ends in a product whose outputs are the model's. */
static void finish(net *n) {
    sinter_value outputs[3];
    for (int i = 0; i < 3; i++) {
        sinter_value x = i ? pick_of(n) : n->x[n->count - 1];
        int64_t c = channels_of(n, x), dims[2] = {c * 16, 2}, flat[2] = {-1, c * 16};
        if (random_chance(&n->g, 30)) {
            outputs[i] = add_conv(n, x, 2, 1, 1);
            continue;
        }
        sinter_value f = sinter_build_reshape(&n->g.build, x, flat, 2);
        outputs[i] = sinter_build_binary(&n->g.build, SINTER_OP_matmul, f,
                                         random_constant(&n->g, 2, dims, -0.3, 0.3));
    }
    sinter_node_spec spec = {.op = SINTER_OP_yield, .operands = outputs, .operand_count = 3};
    CHECK(sinter_build_node(&n->g.build, &spec) != 0);
}

/* ---- the oracle ---- */

/* Weights that read what was removed become zero. */
static void mask_readers(const sinter_prune_graph *graph, const sinter_layer_list *layers,
                         sinter_module *dense, sinter_diag *diag) {
    sinter_rewrite rewrite;
    sinter_rewrite_begin(&rewrite, dense, diag);
    for (size_t i = 0; i < graph->constants.count; i++) {
        const sinter_prune_constant *c = &graph->constants.items[i];
        const sinter_layer *layer = NULL;
        for (size_t l = 0; l < layers->count; l++)
            if (layers->items[l].node == c->node && layers->items[l].operand == c->operand)
                layer = &layers->items[l];
        if (!layer) continue;
        const sinter_prune_axis *a = &graph->axes.items[c->axes + layer->input_axis];
        int64_t inner = 1;
        for (uint32_t k = layer->input_axis + 1; k < c->tensor->rank; k++)
            inner *= c->tensor->dims[k];
        sinter_tensor masked;
        if (!CHECK(sinter_tensor_create(&masked, SINTER_DTYPE_f32, c->tensor->rank, c->tensor->dims,
                                        diag)))
            return;
        float *to = sinter_tensor_mutable(&masked);
        for (int64_t k = 0; k < sinter_tensor_count(c->tensor); k++) {
            int32_t unit = graph->units[a->first + (size_t)(k / inner % a->size)];
            bool gone = unit != SINTER_PRUNE_NO_UNIT && graph->removed[unit];
            to[k] = gone ? 0 : ((const float *)c->tensor->data)[k];
        }
        sinter_rewrite_at(&rewrite, c->node);
        sinter_rewrite_set_operand(&rewrite, c->node, c->operand,
                                   sinter_build_constant(&rewrite.build, masked));
    }
}

static bool run(sinter_module *module, uint64_t seed, sinter_tensor *out, sinter_diag *diag) {
    sinter_tensor x;
    int64_t dims[4] = {2, 2, 4, 4};
    if (!sinter_tensor_create(&x, SINTER_DTYPE_f32, 4, dims, diag)) return false;
    float *data = sinter_tensor_mutable(&x);
    for (int i = 0; i < 64; i++) data[i] = (float)((seed * 31 + (uint64_t)i * 17) % 23) / 11.F - 1;
    bool good = sinter_eval_module(module, &x, 1, out, 3, diag);
    sinter_tensor_deinit(&x);
    return good;
}

static int32_t remove_some(net *n, sinter_prune_graph *graph) {
    int32_t removed = 0;
    for (int32_t u = 0; u < graph->unit_count; u++)
        if (random_chance(&n->g, 40) && sinter_prune_can_remove(graph, u)) {
            sinter_prune_remove(graph, u);
            removed++;
        }
    return removed;
}

static int32_t try_seed(uint64_t seed, sinter_text *messages) {
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = messages};
    net n = {0};
    sinter_module *module = sinter_module_create("random");
    n.g = (random_graph){.state = seed, .dtype = SINTER_DTYPE_f32};
    n.g.build =
        (sinter_builder){.module = module, .region = sinter_module_main(module), .diag = &diag};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_dim dims[4] = {
        sinter_dim_symbol_named(sinter_module_dims(module), sinter_string_of("N"))};
    for (int i = 1; i < 4; i++)
        dims[i] = sinter_dim_const(sinter_module_dims(module), i == 1 ? 2 : 4);
    sinter_type type = sinter_type_tensor(&arena, SINTER_DTYPE_f32, 4, dims);
    sinter_value x = sinter_region_add_argument(module, sinter_module_main(module), type, "x");
    n.x[n.count++] = add_conv(&n, x, 6, 1, 1);
    n.x[n.count++] = add_conv(&n, x, 4, 1, 3);
    for (int i = 0; i < STEPS; i++) {
        sinter_value made = add_step(&n);
        if (!CHECK(made != 0)) printf("seed %d: %s\n", (int)seed, messages->data);
        if (made) n.x[n.count++] = made;
    }
    finish(&n);
    sinter_layer_list layers = sinter_layer_find_with_recurrent(module, &arena);
    sinter_prune_graph graph;
    sinter_prune_graph_init(&graph, module, &arena, all_may, NULL, &layers);
    int32_t removed = remove_some(&n, &graph);
    sinter_module *dense = sinter_module_clone(module);
    mask_readers(&graph, &layers, dense, &diag);
    sinter_rewrite rewrite;
    sinter_rewrite_begin(&rewrite, module, &diag);
    CHECK(sinter_prune_apply(&graph, &rewrite));
    CHECK(sinter_verify_module(module, &diag));
    sinter_tensor expected[3] = {{0}}, got[3] = {{0}};
    if (CHECK(run(dense, seed, expected, &diag)) && CHECK(run(module, seed, got, &diag)))
        for (int i = 0; i < 3; i++)
            CHECK(sinter_tensor_compare(&got[i], &expected[i], 1e-4, 1e-4, messages));
    for (int i = 0; i < 3; i++) {
        sinter_tensor_deinit(&expected[i]);
        sinter_tensor_deinit(&got[i]);
    }
    sinter_module_destroy(dense);
    sinter_module_destroy(module);
    sinter_arena_deinit(&arena);
    return removed;
}

int main(void) {
    int64_t removed = 0;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        sinter_text messages = {0};
        removed += try_seed(seed, &messages);
        if (messages.size) {
            printf("seed %d: %s\n", (int)seed, messages.data);
            CHECK(false);
        }
        sinter_text_deinit(&messages);
    }
    CHECK(removed > 2 * ROUNDS); /* or nothing was tried */
    return test_finish();
}
