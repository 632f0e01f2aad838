/* Lowering of ops that pick elements: top_k, non_zero, compress. What is picked is in the order of the evaluator: ties go
 * to the lower index, NaN is above every number. Test: tests/ops/top_k.sir, non_zero.sir, compress.sir */
#include "codegen/lower/write.h"

/* ---- top_k: a heap of the k best, the worst at its root, kept in the results themselves ---- */

typedef struct top_k {
    sinter_kernel *k;
    uint32_t axis;
    bool largest;
    sinter_loop_buffer values, places;
    sinter_expr at[SINTER_MAX_RANK]; /* the line; at[axis] is filled in */
} top_k;

typedef struct heap_item {
    sinter_expr value, place;
} heap_item;

static heap_item load_item(top_k *t, sinter_expr position) {
    t->at[t->axis] = position;
    return (heap_item){sinter_write_let(t->k, "v", sinter_kernel_load(t->k, t->values, t->at)),
                       sinter_write_let(t->k, "p", sinter_kernel_load(t->k, t->places, t->at))};
}

static void store_item(top_k *t, sinter_expr position, heap_item item) {
    t->at[t->axis] = position;
    sinter_kernel_store(t->k, t->values, t->at, item.value);
    sinter_kernel_store(t->k, t->places, t->at, item.place);
}

/* a is chosen after b. */
static sinter_expr is_worse(top_k *t, heap_item a, heap_item b) {
    sinter_expr low = t->largest ? sinter_write_less(t->k, a.value, b.value)
                                 : sinter_write_less(t->k, b.value, a.value);
    sinter_expr high = t->largest ? sinter_write_less(t->k, b.value, a.value)
                                  : sinter_write_less(t->k, a.value, b.value);
    return FORMULA(t->k, "a || (!b && c > d)", low, high, a.place, b.place);
}

/* Puts item into the heap [0, size) whose root is free from `start` on. */
static void sift_down(top_k *t, sinter_expr start, heap_item item, sinter_expr size) {
    sinter_kernel *k = t->k;
    sinter_loop_var at = sinter_write_var(k, "at", start);
    sinter_loop_var going =
        sinter_write_var(k, "going", sinter_write_number(k, SINTER_DTYPE_bool, 1));
    sinter_write_while(k, sinter_write_get(k, going));
    sinter_write_set(k, going, sinter_write_number(k, SINTER_DTYPE_bool, 0));
    sinter_loop_var child =
        sinter_write_var(k, "child", FORMULA(k, "2 * a + 1", sinter_write_get(k, at)));
    sinter_write_if(k, FORMULA(k, "a + 1 < b", sinter_write_get(k, child), size));
    sinter_expr left = sinter_write_let(k, "left", sinter_write_get(k, child));
    sinter_expr right = FORMULA(k, "a + 1", left);
    heap_item first = load_item(t, left), second = load_item(t, right);
    sinter_write_if(k, is_worse(t, second, first));
    sinter_write_set(k, child, right);
    sinter_write_end(k);
    sinter_write_end(k);
    sinter_write_if(k, FORMULA(k, "a < b", sinter_write_get(k, child), size));
    heap_item below = load_item(t, sinter_write_get(k, child));
    sinter_write_if(k, is_worse(t, below, item));
    store_item(t, sinter_write_get(k, at), below);
    sinter_write_set(k, at, sinter_write_get(k, child));
    sinter_write_set(k, going, sinter_write_number(k, SINTER_DTYPE_bool, 1));
    sinter_write_end(k);
    sinter_write_end(k);
    sinter_write_end(k);
    store_item(t, sinter_write_get(k, at), item);
}

static heap_item source_item(top_k *t, sinter_value x, sinter_expr position) {
    t->at[t->axis] = position;
    return (heap_item){sinter_write_let(t->k, "x", sinter_lower_element(t->k, x, t->at)), position};
}

static void select_line(top_k *t, sinter_value x, sinter_expr length, sinter_expr wanted) {
    sinter_kernel *k = t->k;
    sinter_expr zero = sinter_write_int(k, 0);
    sinter_expr j = sinter_kernel_begin_for(k, "j", wanted);
    store_item(t, j, source_item(t, x, j));
    sinter_write_end(k);
    sinter_expr half = sinter_write_let(k, "half", FORMULA(k, "a / 2", wanted));
    j = sinter_kernel_begin_for(k, "j", half);
    sinter_expr parent = sinter_write_let(k, "parent", FORMULA(k, "a - 1 - b", half, j));
    sift_down(t, parent, load_item(t, parent), wanted);
    sinter_write_end(k);
    sinter_write_if(k, FORMULA(k, "a > 0", wanted));
    j = sinter_write_for(k, "j", wanted, length);
    heap_item fresh = source_item(t, x, j), root = load_item(t, zero);
    sinter_write_if(k, is_worse(t, root, fresh));
    sift_down(t, zero, fresh, wanted);
    sinter_write_end(k);
    sinter_write_end(k);
    sinter_write_end(k);
    /* The worst goes to the end, again and again: best first. */
    j = sinter_kernel_begin_for(k, "j", wanted);
    sinter_expr last = sinter_write_let(k, "last", FORMULA(k, "a - 1 - b", wanted, j));
    heap_item moved = load_item(t, last);
    store_item(t, last, load_item(t, zero));
    sinter_write_if(k, FORMULA(k, "a > 0", last));
    sift_down(t, zero, moved, last);
    sinter_write_end(k);
    sinter_write_end(k);
}

bool sinter_lower_top_k(sinter_kernel *kernel, sinter_node node) {
    sinter_value x = sinter_write_operand(kernel, node, 0),
                 y = sinter_write_result(kernel, node, 0);
    uint32_t rank = sinter_write_type(kernel, x).rank;
    top_k t = {.k = kernel, .axis = sinter_node_get_axis(kernel->lower->module, node, 0, rank)};
    t.largest = sinter_node_get_int(kernel->lower->module, node, "largest", 1) != 0;
    t.values = sinter_kernel_buffer(kernel, y);
    t.places = sinter_kernel_buffer(kernel, sinter_write_result(kernel, node, 1));
    sinter_expr length = sinter_kernel_dim_of(kernel, x, (int)t.axis),
                wanted = sinter_kernel_dim_of(kernel, y, (int)t.axis);
    sinter_write_check(kernel, FORMULA(kernel, "a >= 0 && a <= b", wanted, length),
                       "top_k: k is %0, more than the axis has", wanted);
    sinter_write_begin_lines(kernel, x, t.axis, t.at);
    select_line(&t, x, length, wanted);
    sinter_kernel_end_loops(kernel, rank - 1);
    return true;
}

/* ---- non_zero ---- */

static sinter_expr is_not_zero(sinter_kernel *k, sinter_value x, const sinter_expr *index) {
    sinter_expr element = sinter_lower_element(k, x, index);
    return sinter_loop_compare(&k->build, SINTER_SCALAR_ne, element,
                               sinter_write_number(k, element->dtype, 0));
}

bool sinter_lower_non_zero_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    sinter_value x = sinter_node_operand(lower->module, node, 0);
    sinter_expr index[SINTER_MAX_RANK];
    sinter_late_begin(&late, lower, node, 1);
    sinter_kernel *k = &late.kernel;
    sinter_loop_var count = sinter_write_var(k, "count", sinter_write_int(k, 0));
    sinter_kernel_begin_loops(k, x, index);
    sinter_write_add(k, count, sinter_write_cast(k, is_not_zero(k, x, index), SINTER_DTYPE_i64));
    sinter_kernel_end_loops(k, sinter_write_type(k, x).rank);
    sinter_late_set(&late, 0, sinter_write_get(k, count));
    bool good = sinter_late_end(&late);
    sinter_late_bind(&late, sinter_node_result(lower->module, node, 0), 1, 0);
    return good;
}

bool sinter_lower_non_zero(sinter_kernel *kernel, sinter_node node) {
    sinter_value x = sinter_write_operand(kernel, node, 0);
    sinter_loop_buffer y = sinter_kernel_buffer(kernel, sinter_write_result(kernel, node, 0));
    uint32_t rank = sinter_write_type(kernel, x).rank;
    sinter_expr index[SINTER_MAX_RANK];
    sinter_loop_var next = sinter_write_var(kernel, "next", sinter_write_int(kernel, 0));
    sinter_kernel_begin_loops(kernel, x, index);
    sinter_write_if(kernel, is_not_zero(kernel, x, index));
    for (uint32_t d = 0; d < rank; ++d)
        sinter_write_store2(kernel, y, sinter_write_int(kernel, d), sinter_write_get(kernel, next),
                            index[d]);
    sinter_write_add(kernel, next, sinter_write_int(kernel, 1));
    sinter_write_end(kernel);
    sinter_kernel_end_loops(kernel, rank);
    return true;
}

/* ---- compress ---- */

static bool has_axis(const sinter_kernel *k, sinter_node node) {
    return sinter_node_find_attr(k->lower->module, node, "axis") != NULL;
}

bool sinter_lower_compress_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    sinter_late_begin(&late, lower, node, 1);
    sinter_kernel *k = &late.kernel;
    sinter_value x = sinter_write_operand(k, node, 0), condition = sinter_write_operand(k, node, 1),
                 y = sinter_write_result(k, node, 0);
    sinter_type type = sinter_write_type(k, x);
    uint32_t axis =
        has_axis(k, node) ? sinter_node_get_axis(k->lower->module, node, 0, type.rank) : 0;
    sinter_expr size =
        has_axis(k, node)
            ? sinter_kernel_dim(k, type.dims[axis])
            : sinter_kernel_dim(k, sinter_type_product(lower->dims, &type, 0, type.rank));
    sinter_expr given = sinter_kernel_dim_of(k, condition, 0);
    sinter_write_check(k, FORMULA(k, "a <= b", given, size),
                       "compress: a condition of %0 for fewer slices", given);
    sinter_loop_var count = sinter_write_var(k, "count", sinter_write_int(k, 0));
    sinter_expr i = sinter_kernel_begin_for(k, "i", given);
    sinter_write_add(
        k, count, sinter_write_cast(k, sinter_lower_element(k, condition, &i), SINTER_DTYPE_i64));
    sinter_write_end(k);
    sinter_late_set(&late, 0, sinter_write_get(k, count));
    bool good = sinter_late_end(&late);
    sinter_late_bind(&late, y, axis, 0);
    return good;
}

/* The slices along axis that stay, one after the other. */
static void compress_axis(sinter_kernel *k, sinter_node node, sinter_value x,
                          sinter_loop_buffer y) {
    uint32_t rank = sinter_write_type(k, x).rank,
             axis = sinter_node_get_axis(k->lower->module, node, 0, rank);
    sinter_value condition = sinter_write_operand(k, node, 1);
    sinter_expr index[SINTER_MAX_RANK];
    sinter_loop_var next = sinter_write_var(k, "next", sinter_write_int(k, 0));
    sinter_expr i = sinter_kernel_begin_for(k, "i", sinter_kernel_dim_of(k, condition, 0));
    sinter_write_if(k, sinter_lower_element(k, condition, &i));
    sinter_write_begin_lines(k, x, axis, index);
    index[axis] = i;
    sinter_expr element = sinter_lower_element(k, x, index);
    index[axis] = sinter_write_get(k, next);
    sinter_kernel_store(k, y, index, element);
    sinter_kernel_end_loops(k, rank - 1);
    sinter_write_add(k, next, sinter_write_int(k, 1));
    sinter_kernel_end_loops(k, 2);
}

bool sinter_lower_compress(sinter_kernel *kernel, sinter_node node) {
    sinter_value x = sinter_write_operand(kernel, node, 0),
                 condition = sinter_write_operand(kernel, node, 1);
    sinter_loop_buffer y = sinter_kernel_buffer(kernel, sinter_write_result(kernel, node, 0));
    if (has_axis(kernel, node)) {
        compress_axis(kernel, node, x, y);
        return true;
    }
    sinter_expr index[SINTER_MAX_RANK], given = sinter_kernel_dim_of(kernel, condition, 0);
    sinter_loop_var next = sinter_write_var(kernel, "next", sinter_write_int(kernel, 0)),
                    position = sinter_write_var(kernel, "position", sinter_write_int(kernel, 0));
    sinter_kernel_begin_loops(kernel, x, index);
    sinter_expr at = sinter_write_let(kernel, "at", sinter_write_get(kernel, position));
    sinter_write_if(kernel, FORMULA(kernel, "a < b", at, given));
    sinter_write_if(kernel, sinter_lower_element(kernel, condition, &at));
    sinter_write_store1(kernel, y, sinter_write_get(kernel, next),
                        sinter_lower_element(kernel, x, index));
    sinter_write_add(kernel, next, sinter_write_int(kernel, 1));
    sinter_write_end(kernel);
    sinter_write_end(kernel);
    sinter_write_add(kernel, position, sinter_write_int(kernel, 1));
    sinter_kernel_end_loops(kernel, sinter_write_type(kernel, x).rank);
    return true;
}
