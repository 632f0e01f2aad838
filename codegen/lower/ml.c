/* Lowering of the ONNX-ML ops on numbers: array_feature_extractor, binarizer, label_encoder, tfidf_vectorizer. Keys and
 * n-grams are constant tables of the program. Strings can't be compiled.
 * Test: tests/ops/label_encoder.sir, tfidf_vectorizer.sir, array_feature_extractor.sir */
#include "codegen/lower/write.h"

/* z[..., i] = x[..., y[i]]; a vector x is one row. */
sinter_expr sinter_lower_array_feature_extractor(sinter_kernel *kernel, sinter_node node,
                                                 uint32_t result, const sinter_expr *index) {
    sinter_value x = sinter_write_operand(kernel, node, 0),
                 y = sinter_write_operand(kernel, node, 1);
    uint32_t rank = sinter_write_type(kernel, x).rank,
             out_rank = sinter_write_type(kernel, sinter_write_result(kernel, node, result)).rank;
    sinter_expr at[SINTER_MAX_RANK], own[SINTER_MAX_RANK],
        size = sinter_kernel_dim_of(kernel, x, -1);
    sinter_write_unflatten(kernel, y, index[out_rank - 1], at);
    sinter_expr feature =
        sinter_kernel_wrap_index(kernel, sinter_lower_element(kernel, y, at), size);
    feature = sinter_write_let(kernel, "feature", feature);
    sinter_kernel_check_index(kernel, node, feature, size);
    for (uint32_t d = 0; d + 1 < rank; ++d) own[d] = index[d];
    own[rank - 1] = feature;
    return sinter_lower_element(kernel, x, own);
}

sinter_expr sinter_lower_binarizer(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                   const sinter_expr *index) {
    (void)result;
    sinter_expr x = sinter_lower_element(kernel, sinter_write_operand(kernel, node, 0), index);
    double threshold = sinter_node_get_float(kernel->lower->module, node, "threshold", 0);
    bool is_float = sinter_dtype_is_float(x->dtype);
    sinter_expr limit =
        sinter_write_number(kernel, is_float ? x->dtype : SINTER_DTYPE_f64, threshold);
    sinter_expr above = FORMULA(kernel, "a > b", sinter_write_cast(kernel, x, limit->dtype), limit);
    return sinter_write_cast(kernel, above, x->dtype);
}

/* ---- label_encoder ---- */

/* The list attribute called tensor, ints or floats as a vector; false where none of them is there. */
static bool read_list(sinter_kernel *k, sinter_node node, const char *const names[3],
                      sinter_tensor *out) {
    sinter_module *module = k->lower->module;
    const sinter_attr *tensor = sinter_node_find_attr(module, node, names[0]);
    const int64_t *ints = NULL;
    const double *floats = NULL;
    size_t int_count = sinter_node_get_ints(module, node, names[1], &ints),
           float_count = sinter_node_get_floats(module, node, names[2], &floats);
    if (tensor) {
        sinter_tensor_copy(out, tensor->tensor);
        return sinter_dtype_infos[out->dtype].class != SINTER_CLASS_STRING &&
               sinter_tensor_count(out) > 0;
    }
    int64_t count = (int64_t)(int_count ? int_count : float_count);
    if (!count || !sinter_tensor_create(out, int_count ? SINTER_DTYPE_i64 : SINTER_DTYPE_f32, 1,
                                        &count, k->lower->diag))
        return false;
    for (int64_t i = 0; i < count; ++i) {
        if (int_count)
            sinter_tensor_set_int(out, i, ints[i]);
        else
            sinter_tensor_set_double(out, i, floats[i]);
    }
    return true;
}

static sinter_expr default_label(sinter_kernel *k, sinter_node node, sinter_dtype dtype) {
    sinter_module *module = k->lower->module;
    const sinter_attr *given = sinter_node_find_attr(module, node, "default_tensor");
    sinter_dtype compute = sinter_dtype_compute(dtype);
    bool usable = given && given->tensor->dtype == dtype && sinter_tensor_count(given->tensor) == 1;
    if (sinter_dtype_is_float(dtype))
        return sinter_write_number(k, compute,
                                   usable
                                       ? sinter_tensor_get_double(given->tensor, 0)
                                       : sinter_node_get_float(module, node, "default_float", 0));
    return sinter_loop_const_int(&k->build, compute,
                                 usable ? sinter_tensor_get_int(given->tensor, 0)
                                        : sinter_node_get_int(module, node, "default_int64", -1));
}

/* The value of the last key that equals x; NaN equals NaN. */
static sinter_expr look_up(sinter_kernel *k, sinter_loop_buffer keys, sinter_loop_buffer values,
                           int64_t count, sinter_expr x, sinter_expr otherwise) {
    const char *text =
        sinter_dtype_is_float(x->dtype) ? "a == b || (is_nan(a) && is_nan(b))" : "a == b";
    x = sinter_write_let(k, "x", x);
    sinter_loop_var label = sinter_write_var(k, "label", otherwise);
    sinter_expr i = sinter_kernel_begin_for(k, "i", sinter_write_int(k, count));
    sinter_write_if(k, FORMULA(k, text, sinter_write_load1(k, keys, i), x));
    sinter_write_set(k, label, sinter_write_load1(k, values, i));
    sinter_write_end(k);
    sinter_write_end(k);
    return sinter_write_get(k, label);
}

bool sinter_lower_label_encoder(sinter_kernel *kernel, sinter_node node) {
    static const char *const key_names[3] = {"keys_tensor", "keys_int64s", "keys_floats"},
                             *const value_names[3] = {"values_tensor", "values_int64s",
                                                      "values_floats"};
    sinter_value x = sinter_write_operand(kernel, node, 0),
                 y = sinter_write_result(kernel, node, 0);
    sinter_tensor keys = {0}, values = {0};
    bool good = read_list(kernel, node, key_names, &keys) &&
                read_list(kernel, node, value_names, &values) &&
                keys.dtype == sinter_write_type(kernel, x).dtype &&
                values.dtype == sinter_write_type(kernel, y).dtype &&
                sinter_tensor_count(&keys) == sinter_tensor_count(&values);
    if (!good) {
        sinter_lower_error(kernel->lower, node, "keys and values do not fit, or are strings");
    } else {
        int64_t count = sinter_tensor_count(&keys);
        keys.rank = values.rank = 1;
        keys.dims[0] = values.dims[0] = count;
        sinter_loop_buffer tables[2] = {sinter_write_table(kernel, "keys", &keys),
                                        sinter_write_table(kernel, "values", &values)};
        sinter_expr index[SINTER_MAX_RANK];
        sinter_kernel_begin_loops(kernel, x, index);
        sinter_expr label =
            look_up(kernel, tables[0], tables[1], count, sinter_lower_element(kernel, x, index),
                    default_label(kernel, node, values.dtype));
        sinter_lower_store(kernel, y, index, label);
        sinter_kernel_end_loops(kernel, sinter_write_type(kernel, x).rank);
    }
    sinter_tensor_deinit(&keys);
    sinter_tensor_deinit(&values);
    return good;
}

/* ---- tfidf_vectorizer ---- */

typedef struct grams {
    int64_t *start, *size, *column; /* by gram: where it is in the pool, its length, its column */
    double *weight;
    size_t count;
} grams;

/* The grams of allowed lengths. False where the attributes do not fit together. */
static bool read_grams(sinter_kernel *k, sinter_node node, size_t pool, grams *out) {
    sinter_module *module = k->lower->module;
    const int64_t *starts = NULL, *columns = NULL;
    const double *weights = NULL;
    size_t lengths = sinter_node_get_ints(module, node, "ngram_counts", &starts),
           named = sinter_node_get_ints(module, node, "ngram_indexes", &columns),
           weighed = sinter_node_get_floats(module, node, "weights", &weights), gram = 0;
    int64_t shortest = sinter_node_get_int(module, node, "min_gram_length", 1),
            longest = sinter_node_get_int(module, node, "max_gram_length", 1);
    sinter_arena *arena = &k->lower->scratch;
    *out = (grams){
        SINTER_NEW_ARRAY(arena, int64_t, named + 1), SINTER_NEW_ARRAY(arena, int64_t, named + 1),
        SINTER_NEW_ARRAY(arena, int64_t, named + 1), SINTER_NEW_ARRAY(arena, double, named + 1), 0};
    for (size_t n = 0; n < lengths; ++n) {
        int64_t size = (int64_t)n + 1, end = n + 1 < lengths ? starts[n + 1] : (int64_t)pool;
        if (starts[n] < 0 || end > (int64_t)pool) return false;
        for (int64_t entry = starts[n]; entry + size <= end; entry += size, ++gram) {
            if (gram >= named) return false;
            if (size < shortest || size > longest) continue;
            out->start[out->count] = entry;
            out->size[out->count] = size;
            out->column[out->count] = columns[gram];
            out->weight[out->count++] = weighed == named ? weights[gram] : 1;
        }
    }
    return gram == named;
}

/* How often the gram's items stand `distance` apart, for each distance allowed; single items count once. */
static sinter_expr count_gram(sinter_kernel *k, sinter_value x, sinter_expr *at, uint32_t axis,
                              sinter_loop_buffer pool, sinter_expr start, sinter_expr size,
                              int64_t skips) {
    sinter_expr length = sinter_kernel_dim_of(k, x, (int)axis);
    sinter_loop_var count = sinter_write_var(k, "count", sinter_write_int(k, 0));
    sinter_expr distances = sinter_write_let(
        k, "distances", FORMULA(k, "select(a == 1, 1, b)", size, sinter_write_int(k, skips + 1)));
    sinter_expr d = sinter_kernel_begin_for(k, "d", distances);
    sinter_expr places =
        sinter_write_let(k, "places", FORMULA(k, "max(a - (b - 1) * (c + 1), 0)", length, size, d));
    sinter_expr i = sinter_kernel_begin_for(k, "i", places);
    sinter_loop_var same = sinter_write_var(k, "same", sinter_write_int(k, 1));
    sinter_expr j = sinter_kernel_begin_for(k, "j", size);
    at[axis] = FORMULA(k, "a + b * (c + 1)", i, j, d);
    sinter_expr item = sinter_write_cast(k, sinter_lower_element(k, x, at), SINTER_DTYPE_i64);
    sinter_expr wanted = sinter_write_load1(k, pool, FORMULA(k, "a + b", start, j));
    sinter_write_set(k, same,
                     FORMULA(k, "select(b == c, a, 0)", sinter_write_get(k, same), item, wanted));
    sinter_write_end(k);
    sinter_write_add(k, count, sinter_write_get(k, same));
    sinter_kernel_end_loops(k, 2);
    return sinter_write_get(k, count);
}

bool sinter_lower_tfidf_vectorizer(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_module *module = k->lower->module;
    sinter_value x = sinter_write_operand(k, node, 0), y = sinter_write_result(k, node, 0);
    uint32_t rank = sinter_write_type(k, x).rank, axis = rank - 1;
    const int64_t *pool_items = NULL;
    size_t pool_count = sinter_node_get_ints(module, node, "pool_int64s", &pool_items);
    sinter_string mode = sinter_node_get_string(module, node, "mode");
    grams g;
    if (!pool_count || !read_grams(k, node, pool_count, &g))
        return sinter_lower_error(k->lower, node, "the n-grams and their pool do not fit");
    sinter_tensor weights;
    int64_t rows = g.count ? (int64_t)g.count : 1;
    if (!sinter_tensor_create(&weights, SINTER_DTYPE_f32, 1, &rows, k->lower->diag)) return false;
    for (size_t i = 0; i < g.count; ++i)
        sinter_tensor_set_double(&weights, (int64_t)i,
                                 sinter_string_is(mode, "TF") ? 1 : g.weight[i]);
    sinter_loop_buffer pool = sinter_write_table_ints(k, "pool", pool_items, pool_count),
                       starts = sinter_write_table_ints(k, "starts", g.start, g.count),
                       sizes = sinter_write_table_ints(k, "sizes", g.size, g.count),
                       columns = sinter_write_table_ints(k, "columns", g.column, g.count),
                       weight = sinter_write_table(k, "weights", &weights),
                       out = sinter_kernel_buffer(k, y);
    sinter_tensor_deinit(&weights);
    sinter_expr at[2], to[2];
    if (rank == 2) at[0] = to[0] = sinter_kernel_begin_for(k, "row", sinter_kernel_dim_of(k, x, 0));
    to[axis] = sinter_kernel_begin_for(k, "c", sinter_kernel_dim_of(k, y, (int)axis));
    sinter_kernel_store(k, out, to, sinter_write_number(k, SINTER_DTYPE_f32, 0));
    sinter_write_end(k);
    sinter_expr gram = sinter_kernel_begin_for(k, "gram", sinter_write_int(k, (int64_t)g.count));
    sinter_expr start = sinter_write_let(k, "start", sinter_write_load1(k, starts, gram)),
                size = sinter_write_let(k, "size", sinter_write_load1(k, sizes, gram));
    sinter_expr count = count_gram(k, x, at, axis, pool, start, size,
                                   sinter_node_get_int(module, node, "max_skip_count", 0));
    if (sinter_string_is(mode, "IDF")) count = FORMULA(k, "min(a, 1)", count);
    to[axis] = sinter_write_let(k, "column", sinter_write_load1(k, columns, gram));
    sinter_expr more = FORMULA(k, "a * b", sinter_write_cast(k, count, SINTER_DTYPE_f32),
                               sinter_write_load1(k, weight, gram));
    sinter_kernel_store(k, out, to, FORMULA(k, "a + b", sinter_kernel_load(k, out, to), more));
    sinter_kernel_end_loops(k, rank);
    return true;
}
