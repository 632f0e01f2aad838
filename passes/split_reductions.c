/* A sum or mean over the rows and columns of a large map, of one image, becomes the sums of its rows, then the sum of these: mean(x) ->
 * sum(sum(x, columns), rows) / count. Rows are what threads share in front of it, so that each adds up what it has made itself;
 * one thread alone would read the map from the other cores' caches, and they would have to take its lines back one by one when
 * they write them next (what a mean of squeeze and excitation cost was mostly that).
 *
 * Needs inferred types and channels last. The order of the sums is another one, and the same on every CPU, for any number of
 * threads. Maps whose size the run alone knows, small ones, and those whose rows do not fall in halves stay as they are.
 * Test: tests/passes/split_reductions/ */
#include "ir/decompose.h"
#include "passes/pass.h"

enum {
    LEAST_ROWS = 8,       /* of which threads get equal shares, if they are even in number, or */
    MANY_ROWS = 32,       /* nearly equal ones */
    LEAST_COLUMNS = 4,    /* that a row's sum is made of */
    LEAST_BYTES = 1 << 16 /* of a map: a smaller one is read sooner than another thread is woken */
};

/* Axes [rows, columns) of what is reduced. */
typedef struct map_axes {
    int64_t first, end, count; /* count: elements of a sum */
} map_axes;

static bool is_sum(const sinter_module *module, sinter_node node, const sinter_type *type) {
    sinter_op op = sinter_node_op(module, node);
    return (op == SINTER_OP_reduce_mean && type->dtype == SINTER_DTYPE_f32) ||
           (op == SINTER_OP_reduce_sum &&
            (type->dtype == SINTER_DTYPE_f32 || type->dtype == SINTER_DTYPE_i32));
}

/* The axes that the node reduces are neighbours, two or more, of known dims; the last axis is none of them, and those before them have
 * one element. */
static bool find_map(sinter_module *module, sinter_node node, const sinter_type *type,
                     map_axes *out_map) {
    const sinter_dim_table *dims = sinter_module_dims(module);
    sinter_value axes = sinter_node_operand(module, node, 1);
    int64_t items[SINTER_MAX_RANK], size;
    size_t count = 0;
    uint32_t reduced = 0;
    if (!axes || !sinter_value_known_ints(module, axes, items, SINTER_MAX_RANK, &count))
        return false;
    for (size_t i = 0; i < count; i++)
        reduced |= 1u << (items[i] < 0 ? items[i] + type->rank : items[i]);
    if (!reduced || reduced >> (type->rank - 1)) return false;
    *out_map = (map_axes){.first = __builtin_ctz(reduced), .count = 1};
    out_map->end = out_map->first;
    for (uint32_t i = 0; i < type->rank; i++) {
        if (!sinter_dim_is_const(dims, type->dims[i], &size)) return false;
        if (i < out_map->first && size != 1) return false;
        if (!(reduced >> i & 1)) continue;
        if (i != out_map->end) return false;
        out_map->end++;
        if (__builtin_mul_overflow(out_map->count, size, &out_map->count)) return false;
    }
    return out_map->end - out_map->first > 1;
}

static bool is_worth_it(const sinter_module *module, const sinter_type *type, const map_axes *map) {
    const sinter_dim_table *dims = sinter_module_dims(module);
    int64_t rows, channels = 1, bytes = sinter_dtype_infos[type->dtype].bits / 8, size;
    sinter_dim_is_const(dims, type->dims[map->first], &rows);
    for (int64_t i = map->end; i < type->rank; i++) {
        sinter_dim_is_const(dims, type->dims[i], &size);
        if (__builtin_mul_overflow(channels, size, &channels)) return false;
    }
    bool shared = rows >= MANY_ROWS || (rows >= LEAST_ROWS && rows % 2 == 0);
    return shared && map->count / rows >= LEAST_COLUMNS &&
           (__builtin_mul_overflow(bytes, map->count, &bytes) ||
            __builtin_mul_overflow(bytes, channels, &bytes) || bytes >= LEAST_BYTES);
}

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    sinter_module *module = rewrite->build.module;
    sinter_op op = sinter_node_op(module, node);
    map_axes map;
    if (op != SINTER_OP_reduce_mean && op != SINTER_OP_reduce_sum) return;
    const sinter_value x = sinter_node_operand(module, node, 0),
                       y = sinter_node_result(module, node, 0);
    const sinter_type *type = sinter_value_type(module, x);
    if (!is_sum(module, node, type) || !find_map(module, node, type, &map) ||
        !is_worth_it(module, type, &map))
        return;
    const sinter_type result = *sinter_value_type(module, y);
    int64_t columns[SINTER_MAX_RANK];
    size_t count = 0;
    for (int64_t axis = map.first + 1; axis < map.end; axis++) columns[count++] = axis;
    sinter_rewrite_at(rewrite, node);
    sinter_value sum =
        sinter_compose_reduce(rewrite, SINTER_OP_reduce_sum, x, columns, count, true);
    sum = sinter_compose_reduce(rewrite, SINTER_OP_reduce_sum, sum, &map.first, 1, true);
    if (op == SINTER_OP_reduce_mean)
        sum = sinter_compose_with_number(rewrite, SINTER_OP_div, sum, (double)map.count);
    if (!sinter_node_get_int(module, node, "keepdims", 1))
        sum = sinter_compose_reshape(rewrite, sum, result.dims, result.rank);
    if (sum) sinter_rewrite_replace_node(rewrite, node, &sum);
}

void sinter_pass_split_reductions(sinter_pass_context *context) {
    /* A launch more costs a GPU more than this gains. */
    if (context->options->machine->has_device) return;
    sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
}
