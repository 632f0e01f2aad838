/* Lowering of non_max_suppression: per batch and class, candidates sorted by score, then taken one by one unless they
 * overlap what was taken. The first kernel keeps the boxes of every class in scratch of [batches * classes, most]; the host
 * reads how many there are in all; the second kernel writes the results. Computed in f64, as the evaluator does.
 * Test: tests/ops/non_max_suppression.sir */
#include "codegen/lower/write.h"

typedef struct suppression {
    sinter_kernel *k;
    sinter_value boxes, scores;
    bool center;
    sinter_expr batch, class;
    sinter_loop_buffer order, kept, counts;
} suppression;

static sinter_expr real(sinter_kernel *k, sinter_expr value) {
    return sinter_write_cast(k, value, SINTER_DTYPE_f64);
}

static sinter_expr score_of(suppression *s, sinter_expr box) {
    sinter_expr index[3] = {s->batch, s->class, box};
    return real(s->k, sinter_lower_element(s->k, s->scores, index));
}

typedef struct corners {
    sinter_expr low[2], high[2]; /* y, x */
} corners;

static corners load_box(suppression *s, sinter_expr box) {
    sinter_expr item[4];
    corners c;
    for (int i = 0; i < 4; ++i) {
        sinter_expr index[3] = {s->batch, box, sinter_write_int(s->k, i)};
        item[i] =
            sinter_write_let(s->k, "side", real(s->k, sinter_lower_element(s->k, s->boxes, index)));
    }
    for (int d = 0; d < 2; ++d) {
        sinter_expr first =
            s->center ? FORMULA(s->k, "a - b / 2", item[1 - d], item[3 - d]) : item[d];
        sinter_expr second =
            s->center ? FORMULA(s->k, "a + b / 2", item[1 - d], item[3 - d]) : item[2 + d];
        c.low[d] = sinter_write_let(s->k, "low", FORMULA(s->k, "min(a, b)", first, second));
        c.high[d] = sinter_write_let(s->k, "high", FORMULA(s->k, "max(a, b)", first, second));
    }
    return c;
}

/* Intersection over union. */
static sinter_expr overlap(sinter_kernel *k, corners a, corners b) {
    sinter_expr side[2], area[2];
    for (int d = 0; d < 2; ++d)
        side[d] =
            FORMULA(k, "max(min(a, b) - max(c, d), 0)", a.high[d], b.high[d], a.low[d], b.low[d]);
    area[0] = FORMULA(k, "(a - b) * (c - d)", a.high[0], a.low[0], a.high[1], a.low[1]);
    area[1] = FORMULA(k, "(a - b) * (c - d)", b.high[0], b.low[0], b.high[1], b.low[1]);
    sinter_expr shared = sinter_write_let(k, "shared", FORMULA(k, "a * b", side[0], side[1]));
    return FORMULA(k, "select(a <= 0, 0, a / (b + c - a))", shared, area[0], area[1]);
}

static sinter_expr better_first(sinter_kernel *k, void *user, sinter_expr a, sinter_expr b) {
    return FORMULA(k, "a < b", score_of(user, a), score_of(user, b));
}

/* order[0, n): the boxes above the least score; n is a variable. */
static sinter_loop_var find_candidates(suppression *s, sinter_node node, sinter_expr boxes) {
    sinter_kernel *k = s->k;
    sinter_loop_var count = sinter_write_var(k, "candidates", sinter_write_int(k, 0));
    bool bounded = sinter_write_operand(k, node, 4) != 0;
    sinter_expr i = sinter_kernel_begin_for(k, "i", boxes);
    if (bounded)
        sinter_write_if(k, FORMULA(k, "a > b", score_of(s, i),
                                   sinter_write_scalar(k, node, 4, SINTER_DTYPE_f64, 0)));
    sinter_write_store1(k, s->order, sinter_write_get(k, count), i);
    sinter_write_add(k, count, sinter_write_int(k, 1));
    if (bounded) sinter_write_end(k);
    sinter_write_end(k);
    return count;
}

/* kept[row, 0..): candidates that do not overlap a better one; counts[row]. */
static void keep_best(suppression *s, sinter_node node, sinter_expr row, sinter_expr candidates,
                      sinter_expr most) {
    sinter_kernel *k = s->k;
    sinter_loop_var kept = sinter_write_var(k, "kept", sinter_write_int(k, 0)),
                    next = sinter_write_var(k, "next", sinter_write_int(k, 0));
    sinter_expr threshold = sinter_write_scalar(k, node, 3, SINTER_DTYPE_f64, 0);
    sinter_write_while(k, FORMULA(k, "a < b && c < d", sinter_write_get(k, next), candidates,
                                  sinter_write_get(k, kept), most));
    sinter_expr box =
        sinter_write_let(k, "box", sinter_write_load1(k, s->order, sinter_write_get(k, next)));
    corners mine = load_box(s, box);
    sinter_loop_var good =
                        sinter_write_var(k, "good", sinter_write_number(k, SINTER_DTYPE_bool, 1)),
                    j = sinter_write_var(k, "j", sinter_write_int(k, 0));
    sinter_write_while(k, FORMULA(k, "a && b < c", sinter_write_get(k, good),
                                  sinter_write_get(k, j), sinter_write_get(k, kept)));
    sinter_expr other =
        sinter_write_let(k, "other", sinter_write_load2(k, s->kept, row, sinter_write_get(k, j)));
    sinter_expr shared = overlap(k, mine, load_box(s, other));
    sinter_write_set(k, good, FORMULA(k, "!(a > b)", shared, threshold));
    sinter_write_add(k, j, sinter_write_int(k, 1));
    sinter_write_end(k);
    sinter_write_if(k, sinter_write_get(k, good));
    sinter_write_store2(k, s->kept, row, sinter_write_get(k, kept), box);
    sinter_write_add(k, kept, sinter_write_int(k, 1));
    sinter_write_end(k);
    sinter_write_add(k, next, sinter_write_int(k, 1));
    sinter_write_end(k);
    sinter_write_store1(k, s->counts, row, sinter_write_get(k, kept));
}

static void write_selected(sinter_kernel *k, sinter_node node, sinter_value scores,
                           sinter_loop_buffer kept, sinter_loop_buffer counts) {
    sinter_loop_buffer y = sinter_kernel_buffer(k, sinter_write_result(k, node, 0));
    sinter_loop_var to = sinter_write_var(k, "to", sinter_write_int(k, 0));
    sinter_expr classes = sinter_kernel_dim_of(k, scores, 1);
    sinter_expr batch = sinter_kernel_begin_for(k, "batch", sinter_kernel_dim_of(k, scores, 0));
    sinter_expr class = sinter_kernel_begin_for(k, "class", classes);
    sinter_expr row = sinter_write_let(k, "row", FORMULA(k, "a * b + c", batch, classes, class));
    sinter_expr i = sinter_kernel_begin_for(
        k, "i", sinter_write_let(k, "count", sinter_write_load1(k, counts, row)));
    sinter_expr columns[3] = {batch, class, sinter_write_load2(k, kept, row, i)};
    for (int c = 0; c < 3; ++c)
        sinter_write_store2(k, y, sinter_write_get(k, to), sinter_write_int(k, c), columns[c]);
    sinter_write_add(k, to, sinter_write_int(k, 1));
    sinter_kernel_end_loops(k, 3);
}

/* At most so many boxes of a class, on the host: min(max_output_boxes_per_class, boxes), 0 where it is absent. */
static sinter_expr host_most(sinter_lower *lower, sinter_node node, sinter_dim boxes) {
    sinter_value given = sinter_node_operand(lower->module, node, 2);
    sinter_expr zeros[SINTER_MAX_RANK], zero = sinter_loop_int(&lower->host, 0);
    if (!given) return zero;
    for (uint32_t i = 0; i < SINTER_MAX_RANK; ++i) zeros[i] = zero;
    sinter_expr most = sinter_loop_cast(
        &lower->host, sinter_loop_load(&lower->host, sinter_lower_host_buffer(lower, given), zeros),
        SINTER_DTYPE_i64);
    most =
        sinter_loop_max(&lower->host, zero,
                        sinter_loop_min(&lower->host, most, sinter_lower_host_dim(lower, boxes)));
    return sinter_loop_var_read(&lower->host,
                                sinter_loop_declare(&lower->host, "most", false, most));
}

bool sinter_lower_non_max_suppression(sinter_lower *lower, sinter_node node) {
    sinter_module *module = lower->module;
    suppression s = {.boxes = sinter_node_operand(module, node, 0),
                     .scores = sinter_node_operand(module, node, 1)};
    s.center = sinter_node_get_int(module, node, "center_point_box", 0) != 0;
    sinter_type type = *sinter_value_type(module, s.scores);
    sinter_expr boxes = sinter_lower_host_dim(lower, type.dims[2]);
    sinter_expr most = host_most(lower, node, type.dims[2]);
    sinter_expr shape[2] = {
        sinter_lower_host_dim(lower, sinter_type_product(lower->dims, &type, 0, 2)), most};
    sinter_loop_buffer host[4] = {
        sinter_lower_host_scratch(lower, "order", SINTER_DTYPE_i64, 1, &boxes),
        sinter_lower_host_scratch(lower, "spare", SINTER_DTYPE_i64, 1, &boxes),
        sinter_lower_host_scratch(lower, "kept", SINTER_DTYPE_i64, 2, shape),
        sinter_lower_host_scratch(lower, "counts", SINTER_DTYPE_i64, 1, shape)};
    sinter_late_dims late;
    sinter_late_begin(&late, lower, node, 1);
    sinter_kernel *k = s.k = &late.kernel;
    sinter_write_same_size(k, node, s.boxes, 0, s.scores, 0);
    sinter_write_same_size(k, node, s.boxes, 1, s.scores, 2);
    sinter_write_same_size(k, node, s.boxes, 2, 0, 4);
    s.order = sinter_kernel_bind_buffer(k, host[0], SINTER_SCOPE_INOUT, "order");
    sinter_loop_buffer spare = sinter_kernel_bind_buffer(k, host[1], SINTER_SCOPE_INOUT, "spare");
    s.kept = sinter_kernel_bind_buffer(k, host[2], SINTER_SCOPE_INOUT, "kept");
    s.counts = sinter_kernel_bind_buffer(k, host[3], SINTER_SCOPE_INOUT, "counts");
    sinter_expr limit = sinter_kernel_bind_scalar(k, most, "most"),
                classes = sinter_kernel_dim(k, type.dims[1]);
    sinter_loop_var total = sinter_write_var(k, "total", sinter_write_int(k, 0));
    s.batch = sinter_kernel_begin_for(k, "batch", sinter_kernel_dim(k, type.dims[0]));
    s.class = sinter_kernel_begin_for(k, "class", classes);
    sinter_expr row =
        sinter_write_let(k, "row", FORMULA(k, "a * b + c", s.batch, classes, s.class));
    sinter_loop_var found = find_candidates(&s, node, sinter_kernel_dim(k, type.dims[2]));
    sinter_expr candidates = sinter_write_let(k, "found", sinter_write_get(k, found));
    sinter_write_sort(k, s.order, spare, candidates, better_first, &s);
    keep_best(&s, node, row, candidates, limit);
    sinter_write_add(k, total, sinter_write_load1(k, s.counts, row));
    sinter_kernel_end_loops(k, 2);
    sinter_late_set(&late, 0, sinter_write_get(k, total));
    if (!sinter_late_end(&late)) return false;
    sinter_late_bind(&late, sinter_node_result(module, node, 0), 0, 0);
    sinter_kernel writer;
    sinter_kernel_begin(&writer, lower, node);
    write_selected(&writer, node, s.scores,
                   sinter_kernel_bind_buffer(&writer, host[2], SINTER_SCOPE_INPUT, "kept"),
                   sinter_kernel_bind_buffer(&writer, host[3], SINTER_SCOPE_INPUT, "counts"));
    return sinter_kernel_end(&writer, node);
}
