/* Prices of conversions, each found once. Test: tests/passes/shard_auto/, tests/unit/shard_prices_test.c */
#include "passes/shard_prices.h"
#include "ir/cost.h"
#include "passes/shard_build.h"
#include "passes/shard_sums.h"

#include <math.h>
#include <string.h>

static bool can_send(const sinter_type *type, sinter_op op) {
    return sinter_sharding_can_send(type->dtype) &&
           (op == SINTER_OP_all_reduce || type->rank <= SINTER_SHARD_MAX_RANK);
}

/* Whether the pieces of an axis are not of one size: they are put together one by one. */
static bool is_uneven(const sinter_shard_state *state, const sinter_type *type,
                      const sinter_shard_step *step) {
    const sinter_mesh *mesh = state->mesh;
    int64_t size = 0;
    return sinter_dim_is_const(sinter_module_dims(state->module), type->dims[step->axis], &size) &&
           sinter_mesh_part_of(mesh, &step->outer, size, 0).chunk %
               sinter_mesh_axes_product(mesh, &step->over);
}

/* Indices that a rank has of each dim; 0: not known. */
static void list_sizes(const sinter_shard_state *state, const sinter_type *type,
                       const sinter_sharding *sharding, int64_t *out_sizes) {
    for (uint32_t d = 0; d < type->rank; d++) {
        int64_t size = 0;
        out_sizes[d] =
            sinter_dim_is_const(sinter_module_dims(state->module), type->dims[d], &size)
                ? sinter_mesh_part_of(state->mesh, &sharding->dims[d].axes, size, 0).chunk
                : 0;
    }
}

double sinter_shard_convert_seconds(const sinter_shard_state *state,
                                    const sinter_hardware *hardware, const sinter_type *type,
                                    const sinter_sharding *from, const sinter_sharding *to) {
    sinter_shard_step steps[SINTER_SHARD_MAX_STEPS];
    uint32_t count = sinter_shard_list_steps(state->mesh, from, to, steps);
    if (!count) return 0;
    double parts =
        sinter_sharding_parts(sinter_module_dims(state->module), state->mesh, from, type);
    double seconds = 0, bytes = sinter_cost_type_bytes(state->module, type) / parts;
    int64_t sizes[SINTER_MAX_RANK];
    list_sizes(state, type, from, sizes);
    for (uint32_t i = 0; i < count; i++) {
        const sinter_shard_step *step = &steps[i];
        double ranks = (double)sinter_mesh_axes_product(state->mesh, &step->over);
        if (step->op == SINTER_OP_all_gather) bytes *= ranks;
        if (sinter_op_sends(step->op)) {
            if (!can_send(type, step->op)) return INFINITY;
            seconds +=
                step->op == SINTER_OP_all_reduce
                    ? sinter_shard_sum_find(hardware, state->mesh, &step->over, sizes, type->rank,
                                            bytes)
                          .seconds
                    : sinter_hardware_exchange(hardware, state->mesh, &step->over, step->op, bytes);
        }
        bool joins = step->op == SINTER_OP_all_gather || step->op == SINTER_OP_all_to_all;
        if (joins && is_uneven(state, type, step))
            seconds += 2 * bytes / sinter_hardware_bandwidth(hardware, bytes);
        if (step->op == SINTER_OP_reduce_scatter || step->op == SINTER_OP_shard_slice)
            bytes /= ranks;
        if (step->op ==
            SINTER_OP_reduce_scatter) /* what is summed at once comes behind these only */
            sizes[step->axis] = (int64_t)ceil((double)sizes[step->axis] / ranks);
    }
    return seconds;
}

/* ---- found once ---- */

void sinter_shard_prices_init(sinter_shard_prices *prices, const sinter_shard_state *state,
                              const sinter_hardware *hardware) {
    *prices = (sinter_shard_prices){.state = state, .hardware = hardware};
    sinter_map_init(&prices->seconds, state->arena);
    sinter_map_init(&prices->tables, state->arena);
}

/* Keys: all that prices depend on, as numbers. */
static void add_number(sinter_shard_prices *prices, uint32_t number) {
    sinter_vector_push(prices->state->arena, &prices->key, number);
}

static void add_type(sinter_shard_prices *prices, const sinter_type *type) {
    add_number(prices, (uint32_t)type->dtype);
    add_number(prices, type->rank);
    for (uint32_t d = 0; d < type->rank; d++) add_number(prices, type->dims[d]);
}

static void add_sharding(sinter_shard_prices *prices, const sinter_sharding *sharding) {
    add_number(prices, sharding->partial);
    for (uint32_t d = 0; d < sharding->rank; d++) {
        const sinter_mesh_axes *axes = &sharding->dims[d].axes;
        add_number(prices, axes->count);
        for (uint32_t i = 0; i < axes->count; i++) add_number(prices, axes->items[i]);
    }
}

static sinter_string key_of(const sinter_shard_prices *prices) {
    return (sinter_string){(const char *)prices->key.items,
                           prices->key.count * sizeof *prices->key.items};
}

double sinter_shard_prices_convert(sinter_shard_prices *prices, const sinter_type *type,
                                   const sinter_sharding *from, const sinter_sharding *to) {
    uint64_t bits;
    double seconds;
    if (sinter_sharding_equal(from, to)) return 0;
    prices->key.count = 0;
    add_type(prices, type);
    add_sharding(prices, from);
    add_sharding(prices, to);
    if (!sinter_map_find_string(&prices->seconds, key_of(prices), &bits)) {
        seconds = sinter_shard_convert_seconds(prices->state, prices->hardware, type, from, to);
        memcpy(&bits, &seconds, sizeof bits);
        sinter_map_put_string(&prices->seconds, key_of(prices), bits);
    }
    memcpy(&seconds, &bits, sizeof seconds);
    return seconds;
}

/* ---- tables ---- */

/* Each of a list once. */
typedef struct forms {
    const sinter_sharding **items;
    size_t count;
    uint32_t *of; /* by place in the list: which of items */
} forms;

static forms list_forms(const sinter_shard_prices *prices, const sinter_sharding *const *list,
                        size_t count) {
    sinter_arena *arena = prices->state->arena;
    forms f = {SINTER_NEW_ARRAY(arena, const sinter_sharding *, count + 1), 0,
               SINTER_NEW_ARRAY(arena, uint32_t, count + 1)};
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < f.count && f.items[at] != list[i] &&
               !sinter_sharding_equal(f.items[at], list[i]))
            at++;
        if (at == f.count) f.items[f.count++] = list[i];
        f.of[i] = (uint32_t)at;
    }
    return f;
}

static double *make_table(sinter_shard_prices *prices, const sinter_type *type,
                          const sinter_sharding *const *from, size_t from_count,
                          const sinter_sharding *const *to, size_t to_count) {
    sinter_arena *arena = prices->state->arena;
    const forms left = list_forms(prices, from, from_count),
                wanted = list_forms(prices, to, to_count);
    double *table = SINTER_NEW_ARRAY(arena, double, from_count *to_count + 1),
           *between = SINTER_NEW_ARRAY(arena, double, left.count *wanted.count + 1);
    for (size_t i = 0; i < left.count; i++)
        for (size_t j = 0; j < wanted.count; j++)
            between[i * wanted.count + j] =
                sinter_shard_prices_convert(prices, type, left.items[i], wanted.items[j]);
    for (size_t i = 0; i < from_count; i++)
        for (size_t j = 0; j < to_count; j++)
            table[i * to_count + j] = between[left.of[i] * wanted.count + wanted.of[j]];
    return table;
}

const double *sinter_shard_prices_table(sinter_shard_prices *prices, const sinter_type *type,
                                        const sinter_sharding *const *from, size_t from_count,
                                        const sinter_sharding *const *to, size_t to_count) {
    uint64_t at;
    prices->key.count = 0;
    add_type(prices, type);
    add_number(prices, (uint32_t)from_count);
    for (size_t i = 0; i < from_count; i++) add_sharding(prices, from[i]);
    for (size_t i = 0; i < to_count; i++) add_sharding(prices, to[i]);
    if (!sinter_map_find_string(&prices->tables, key_of(prices), &at)) {
        at = prices->table_items.count;
        sinter_map_put_string(&prices->tables, key_of(prices), at);
        double *table = make_table(prices, type, from, from_count, to, to_count);
        sinter_vector_push(prices->state->arena, &prices->table_items, table);
    }
    return prices->table_items.items[at];
}
