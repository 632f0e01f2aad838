/* Sorting in loop IR (a stable bottom-up merge sort of indices) and unique, which is made of it. It
 * finds out how much it keeps before its results have memory: a first kernel works on scratch, the host reads the count,
 * a second kernel writes the results. Test: tests/ops/unique.sir */
#include "codegen/lower/write.h"

sinter_expr sinter_write_less(sinter_kernel *kernel, sinter_expr a, sinter_expr b) {
    return FORMULA(kernel,
                   sinter_dtype_is_float(a->dtype) ? "a < b || (is_nan(b) && !is_nan(a))" : "a < b",
                   a, b);
}

/* Merges order[low, middle) and order[middle, high) into spare[low, high). */
static void merge(sinter_kernel *k, sinter_loop_buffer order, sinter_loop_buffer spare,
                  const sinter_expr *ends, sinter_sort_before before, void *user) {
    sinter_expr middle = ends[1], high = ends[2];
    sinter_loop_var left = sinter_write_var(k, "left", ends[0]),
                    right = sinter_write_var(k, "right", middle);
    sinter_expr to = sinter_write_for(k, "to", ends[0], high);
    sinter_expr a = sinter_write_let(k, "a", sinter_write_get(k, left)),
                b = sinter_write_let(k, "b", sinter_write_get(k, right));
    sinter_loop_var take_right = sinter_write_var(k, "take_right", FORMULA(k, "a >= b", a, middle));
    sinter_write_if(k, FORMULA(k, "a < b && c < d", a, middle, b, high));
    sinter_expr first = sinter_write_let(k, "first", sinter_write_load1(k, order, a)),
                second = sinter_write_let(k, "second", sinter_write_load1(k, order, b));
    sinter_write_set(k, take_right, before(k, user, first, second));
    sinter_write_end(k);
    sinter_write_if(k, sinter_write_get(k, take_right));
    sinter_write_store1(k, spare, to, sinter_write_load1(k, order, b));
    sinter_write_set(k, right, FORMULA(k, "a + 1", b));
    sinter_write_else(k);
    sinter_write_store1(k, spare, to, sinter_write_load1(k, order, a));
    sinter_write_set(k, left, FORMULA(k, "a + 1", a));
    sinter_write_end(k);
    sinter_write_end(k);
}

void sinter_write_sort(sinter_kernel *k, sinter_loop_buffer order, sinter_loop_buffer spare,
                       sinter_expr count, sinter_sort_before before, void *user) {
    sinter_loop_var run = sinter_write_var(k, "run", sinter_write_int(k, 1));
    sinter_write_while(k, FORMULA(k, "a < b", sinter_write_get(k, run), count));
    sinter_expr width = sinter_write_let(k, "width", sinter_write_get(k, run));
    sinter_expr pairs = FORMULA(k, "(a + 2 * b - 1) / (2 * b)", count, width);
    sinter_expr pair = sinter_kernel_begin_for(k, "pair", sinter_write_let(k, "pairs", pairs));
    sinter_expr ends[3];
    ends[0] = sinter_write_let(k, "low", FORMULA(k, "2 * a * b", pair, width));
    ends[1] = sinter_write_let(k, "middle", FORMULA(k, "min(a + b, c)", ends[0], width, count));
    ends[2] = sinter_write_let(k, "high", FORMULA(k, "min(a + b, c)", ends[1], width, count));
    merge(k, order, spare, ends, before, user);
    sinter_write_end(k);
    sinter_expr i = sinter_kernel_begin_for(k, "i", count);
    sinter_write_store1(k, order, i, sinter_write_load1(k, spare, i));
    sinter_write_end(k);
    sinter_write_set(k, run, FORMULA(k, "2 * a", width));
    sinter_write_end(k);
}

/* order[i] = i */
static void number_all(sinter_kernel *k, sinter_loop_buffer order, sinter_expr count) {
    sinter_expr i = sinter_kernel_begin_for(k, "i", count);
    sinter_write_store1(k, order, i, i);
    sinter_write_end(k);
}

/* ---- unique ---- */

enum {
    UNIQUE_ORDER,
    UNIQUE_SPARE,
    UNIQUE_GROUP,
    UNIQUE_FIRST,
    UNIQUE_SIZE,
    UNIQUE_PLACE,
    UNIQUE_BUFFERS
};

typedef struct uniqueness {
    sinter_value x;
    bool along; /* slices along axis, otherwise elements */
    uint32_t axis;
    sinter_loop_buffer host[UNIQUE_BUFFERS],
        own[UNIQUE_BUFFERS]; /* i64 [count], in host and kernel */
} uniqueness;

/* -1, 0, 1 in a variable: item a against item b. */
static sinter_expr compare_items(sinter_kernel *k, const uniqueness *u, sinter_expr a,
                                 sinter_expr b) {
    sinter_expr at_a[SINTER_MAX_RANK], at_b[SINTER_MAX_RANK];
    uint32_t rank = sinter_write_type(k, u->x).rank;
    sinter_loop_var order = sinter_write_var(k, "order", sinter_write_int(k, 0));
    if (u->along) {
        sinter_write_begin_lines(k, u->x, u->axis, at_a);
        for (uint32_t d = 0; d < rank; ++d) at_b[d] = at_a[d];
        at_a[u->axis] = a;
        at_b[u->axis] = b;
        sinter_write_if(k, FORMULA(k, "a == 0", sinter_write_get(k, order)));
    } else {
        sinter_write_unflatten(k, u->x, a, at_a);
        sinter_write_unflatten(k, u->x, b, at_b);
    }
    sinter_expr x = sinter_write_let(k, "x", sinter_lower_element(k, u->x, at_a)),
                y = sinter_write_let(k, "y", sinter_lower_element(k, u->x, at_b));
    sinter_expr signs[4] = {sinter_write_less(k, x, y), sinter_write_less(k, y, x),
                            sinter_write_int(k, -1), sinter_write_int(k, 1)};
    sinter_write_set(
        k, order,
        FORMULA(k, "select(a, c, select(b, d, 0))", signs[0], signs[1], signs[2], signs[3]));
    if (u->along) sinter_kernel_end_loops(k, rank);
    return sinter_write_get(k, order);
}

static sinter_expr item_before(sinter_kernel *k, void *user, sinter_expr a, sinter_expr b) {
    return FORMULA(k, "a > 0", compare_items(k, user, a, b));
}

/* Groups of equal items after sorting: group of each item, first item and size of each group; their number. */
static sinter_loop_var find_groups(sinter_kernel *k, const uniqueness *u, sinter_expr count) {
    sinter_loop_var groups = sinter_write_var(k, "groups", sinter_write_int(k, 0));
    sinter_loop_var previous = sinter_write_var(k, "previous", sinter_write_int(k, 0));
    sinter_expr i = sinter_kernel_begin_for(k, "i", count);
    sinter_expr item = sinter_write_let(k, "item", sinter_write_load1(k, u->own[UNIQUE_ORDER], i));
    sinter_loop_var opens = sinter_write_var(k, "opens", FORMULA(k, "a == 0", i));
    sinter_write_if(k, FORMULA(k, "a > 0", i));
    sinter_expr order = compare_items(k, u, sinter_write_get(k, previous), item);
    sinter_write_set(k, opens, FORMULA(k, "a != 0", order));
    sinter_write_end(k);
    sinter_write_if(k, sinter_write_get(k, opens));
    sinter_write_store1(k, u->own[UNIQUE_FIRST], sinter_write_get(k, groups), item);
    sinter_write_store1(k, u->own[UNIQUE_SIZE], sinter_write_get(k, groups),
                        sinter_write_int(k, 0));
    sinter_write_add(k, groups, sinter_write_int(k, 1));
    sinter_write_end(k);
    sinter_expr group =
        sinter_write_let(k, "group", FORMULA(k, "a - 1", sinter_write_get(k, groups)));
    sinter_write_store1(k, u->own[UNIQUE_GROUP], item, group);
    sinter_write_store1(k, u->own[UNIQUE_SIZE], group,
                        FORMULA(k, "a + 1", sinter_write_load1(k, u->own[UNIQUE_SIZE], group)));
    sinter_write_set(k, previous, item);
    sinter_write_end(k);
    return groups;
}

/* Where each group stands in the results: sorted, or by its first appearance. */
static void place_groups(sinter_kernel *k, const uniqueness *u, sinter_expr count,
                         sinter_loop_var groups, bool sorted) {
    if (sorted) {
        number_all(k, u->own[UNIQUE_PLACE], sinter_write_get(k, groups));
        return;
    }
    sinter_loop_var next = sinter_write_var(k, "next", sinter_write_int(k, 0));
    sinter_expr i = sinter_kernel_begin_for(k, "i", count);
    sinter_expr group =
        sinter_write_let(k, "group", sinter_write_load1(k, u->own[UNIQUE_GROUP], i));
    sinter_write_if(k, FORMULA(k, "a == b", sinter_write_load1(k, u->own[UNIQUE_FIRST], group), i));
    sinter_write_store1(k, u->own[UNIQUE_PLACE], group, sinter_write_get(k, next));
    sinter_write_add(k, next, sinter_write_int(k, 1));
    sinter_write_end(k);
    sinter_write_end(k);
}

static void write_unique(sinter_kernel *k, sinter_node node, const uniqueness *u, sinter_expr count,
                         sinter_expr groups) {
    sinter_value results[4];
    for (uint32_t r = 0; r < 4; ++r) results[r] = sinter_write_result(k, node, r);
    uint32_t rank = sinter_write_type(k, u->x).rank;
    sinter_expr g = sinter_kernel_begin_for(k, "g", groups), from[SINTER_MAX_RANK],
                to[SINTER_MAX_RANK];
    sinter_expr place =
                    sinter_write_let(k, "place", sinter_write_load1(k, u->own[UNIQUE_PLACE], g)),
                first =
                    sinter_write_let(k, "first", sinter_write_load1(k, u->own[UNIQUE_FIRST], g));
    if (results[1]) sinter_write_store1(k, sinter_kernel_buffer(k, results[1]), place, first);
    if (results[3])
        sinter_write_store1(k, sinter_kernel_buffer(k, results[3]), place,
                            sinter_write_load1(k, u->own[UNIQUE_SIZE], g));
    if (results[0] && u->along) {
        sinter_write_begin_lines(k, u->x, u->axis, from);
        for (uint32_t d = 0; d < rank; ++d) to[d] = from[d];
        from[u->axis] = first;
        to[u->axis] = place;
        sinter_kernel_store(k, sinter_kernel_buffer(k, results[0]), to,
                            sinter_lower_element(k, u->x, from));
        sinter_kernel_end_loops(k, rank - 1);
    } else if (results[0]) {
        sinter_write_unflatten(k, u->x, first, from);
        sinter_write_store1(k, sinter_kernel_buffer(k, results[0]), place,
                            sinter_lower_element(k, u->x, from));
    }
    sinter_write_end(k);
    if (!results[2]) return;
    sinter_expr i = sinter_kernel_begin_for(k, "i", count);
    sinter_expr group = sinter_write_load1(k, u->own[UNIQUE_GROUP], i);
    sinter_write_store1(k, sinter_kernel_buffer(k, results[2]), i,
                        sinter_write_load1(k, u->own[UNIQUE_PLACE], group));
    sinter_write_end(k);
}

/* The symbol that counts what stays, wherever the results have it. */
static void bind_count(sinter_late_dims *late, sinter_node node, uint32_t first_axis) {
    uint32_t results = sinter_node_get(late->kernel.lower->module, node)->result_count;
    for (uint32_t r = 0; r < results; ++r) {
        sinter_value result = sinter_write_result(&late->kernel, node, r);
        if (!result) continue;
        uint32_t rank = sinter_write_type(&late->kernel, result).rank;
        for (uint32_t axis = r ? 0 : first_axis; axis < rank; ++axis)
            sinter_late_bind(late, result, axis, 0);
    }
}

static void bind_scratch(sinter_kernel *k, uniqueness *u) {
    for (uint32_t i = 0; i < UNIQUE_BUFFERS; ++i)
        u->own[i] = sinter_kernel_bind_buffer(k, u->host[i], SINTER_SCOPE_INOUT, "work");
}

bool sinter_lower_unique(sinter_lower *lower, sinter_node node) {
    sinter_module *module = lower->module;
    uniqueness u = {.x = sinter_node_operand(module, node, 0)};
    sinter_type type = *sinter_value_type(module, u.x);
    u.along = sinter_node_find_attr(module, node, "axis") != NULL;
    u.axis = sinter_node_get_axis(module, node, 0, type.rank);
    sinter_dim all =
        u.along ? type.dims[u.axis] : sinter_type_product(lower->dims, &type, 0, type.rank);
    sinter_expr count = sinter_lower_host_dim(lower, all);
    for (uint32_t i = 0; i < UNIQUE_BUFFERS; ++i)
        u.host[i] = sinter_lower_host_scratch(lower, "unique", SINTER_DTYPE_i64, 1, &count);
    sinter_late_dims late;
    sinter_late_begin(&late, lower, node, 1);
    sinter_kernel *k = &late.kernel;
    bind_scratch(k, &u);
    sinter_expr items = sinter_kernel_dim(k, all);
    number_all(k, u.own[UNIQUE_ORDER], items);
    sinter_write_sort(k, u.own[UNIQUE_ORDER], u.own[UNIQUE_SPARE], items, item_before, &u);
    sinter_loop_var groups = find_groups(k, &u, items);
    place_groups(k, &u, items, groups, sinter_node_get_int(module, node, "sorted", 1) != 0);
    sinter_late_set(&late, 0, sinter_write_get(k, groups));
    if (!sinter_late_end(&late)) return false;
    bind_count(&late, node, u.along ? u.axis : 0);
    sinter_expr zero = sinter_loop_int(&lower->host, 0);
    sinter_kernel writer;
    sinter_kernel_begin(&writer, lower, node);
    bind_scratch(&writer, &u);
    sinter_expr found = sinter_kernel_bind_scalar(
        &writer, sinter_loop_load(&lower->host, late.host, &zero), "groups");
    write_unique(&writer, node, &u, sinter_kernel_dim(&writer, all), found);
    return sinter_kernel_end(&writer, node);
}
