/* Inference of ops with algorithms of their own: sorting and searching, recurrent layers, Fourier transforms, strings,
 * trees, optimizers. Sizes that only the data decide are symbols of the node. Test: tests/ir/infer_opaque.sir */
#include "ir/infer_rules.h"
#include "ir/sharding.h"

#include <inttypes.h>
#include <string.h>

/* A NODE symbol of `result` that is at most `bound`. */
static sinter_dim bounded_dim(sinter_infer *infer, uint32_t result, uint32_t index,
                              const char *prefix, sinter_dim bound) {
    sinter_dim dim = sinter_infer_node_dim(infer, result, index, prefix);
    int64_t min, max;
    sinter_dim_range(infer->dims, bound, &min, &max);
    if (sinter_dim_get_kind(infer->dims, dim) == SINTER_DIM_SYMBOL) {
        sinter_dim_symbol *symbol = sinter_dim_get_symbol(infer->dims, dim);
        if (symbol->origin == SINTER_DIM_ORIGIN_NODE && max < symbol->max && max >= symbol->min)
            symbol->max = max;
    }
    return dim;
}

/* ---- searching ---- */

bool infer_bitcast(sinter_infer *infer) {
    sinter_dtype to = sinter_node_get_dtype(infer->module, infer->node, "to");
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    sinter_dtype from = sinter_infer_operand(infer, 0)->dtype;
    if (!to || sinter_dtype_infos[from].bits != sinter_dtype_infos[to].bits ||
        from == SINTER_DTYPE_string)
        return sinter_infer_error(infer, "%s has not the width of %s [bitcast_c1]",
                                  sinter_infer_text(infer, 0),
                                  to ? sinter_dtype_infos[to].name : "nothing");
    sinter_infer_set_dtype(infer, 0, 0, to);
    return true;
}

bool infer_compress(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t axis = 0;
    if (!sinter_infer_check_tensor(infer, 0) || !sinter_infer_check_rank(infer, 1, 1, 1) ||
        !sinter_infer_check_dtype(infer, 1, SINTER_DTYPE_bool))
        return false;
    if (!sinter_node_find_attr(infer->module, infer->node, "axis")) {
        dims[0] = bounded_dim(infer, 0, 0, "kept", sinter_type_product(infer->dims, x, 0, x->rank));
        sinter_infer_set(infer, 0, x->dtype, 1, dims);
        return true;
    }
    if (!sinter_infer_axis_attr(infer, "axis", 0, x->rank, &axis)) return false;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[axis] = bounded_dim(infer, 0, axis, "kept", x->dims[axis]);
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}

bool infer_non_zero(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    sinter_dim count =
        bounded_dim(infer, 0, 1, "nonzero", sinter_type_product(infer->dims, x, 0, x->rank));
    sinter_infer_set(infer, 0, SINTER_DTYPE_i64, 2,
                     (sinter_dim[]){sinter_infer_number(infer, x->rank), count});
    return true;
}

bool infer_unique(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    bool along = sinter_node_find_attr(infer->module, infer->node, "axis") != NULL;
    uint32_t axis = 0;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    if (along && !sinter_infer_axis_attr(infer, "axis", 0, x->rank, &axis)) return false;
    sinter_dim all = along ? x->dims[axis] : sinter_type_product(infer->dims, x, 0, x->rank);
    sinter_dim count = bounded_dim(infer, 0, axis, "unique", all);
    if (along) memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[axis] = count;
    sinter_infer_set(infer, 0, x->dtype, along ? x->rank : 1, dims);
    sinter_infer_set(infer, 1, SINTER_DTYPE_i64, 1, &count);
    sinter_infer_set(infer, 2, SINTER_DTYPE_i64, 1, &all);
    sinter_infer_set(infer, 3, SINTER_DTYPE_i64, 1, &count);
    return true;
}

bool infer_top_k(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    uint32_t axis;
    int64_t wanted, have;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_rank(infer, 0, 1, SINTER_MAX_RANK) ||
        !sinter_infer_check_scalar(infer, 1) || !sinter_infer_check_integer(infer, 1) ||
        !sinter_infer_axis_attr(infer, "axis", -1, x->rank, &axis))
        return false;
    sinter_dim k = sinter_infer_demand_scalar(infer, 1);
    if (sinter_dim_is_const(infer->dims, k, &wanted) &&
        (wanted < 0 || (sinter_dim_is_const(infer->dims, x->dims[axis], &have) && wanted > have)))
        return sinter_infer_error(infer, "k = %" PRId64 " for axis %" PRIu32 " of %s [top_k_c1]",
                                  wanted, axis, sinter_infer_text(infer, 0));
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[axis] = k;
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    sinter_infer_set(infer, 1, SINTER_DTYPE_i64, x->rank, dims);
    return true;
}

bool infer_non_max_suppression(sinter_infer *infer) {
    const sinter_type *scores = sinter_infer_operand(infer, 1);
    if (!sinter_infer_check_rank(infer, 0, 3, 3) || !sinter_infer_check_rank(infer, 1, 3, 3) ||
        !sinter_infer_check_dim(infer, 0, 2, sinter_infer_number(infer, 4), "a box") ||
        !sinter_infer_check_dims_equal(infer, 0, 0, 1, 0) ||
        !sinter_infer_check_dims_equal(infer, 0, 1, 1, 2))
        return false;
    for (uint32_t i = 2; i < 5; i++)
        if (!sinter_infer_check_scalar(infer, i)) return false;
    sinter_dim count =
        bounded_dim(infer, 0, 0, "boxes", sinter_type_product(infer->dims, scores, 0, 3));
    sinter_infer_set(infer, 0, SINTER_DTYPE_i64, 2,
                     (sinter_dim[]){count, sinter_infer_number(infer, 3)});
    return true;
}

bool infer_det(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    if (!sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK) ||
        !sinter_infer_check_float(infer, 0) ||
        !sinter_infer_check_dims_equal(infer, 0, x->rank - 2, 0, x->rank - 1))
        return false;
    sinter_infer_set(infer, 0, x->dtype, x->rank - 2, x->dims);
    return true;
}

/* ---- recurrent layers ---- */

/* Units that a rank has of a layer that is cut over ranks; all of them otherwise. False after an error. */
static bool own_units(sinter_infer *infer, sinter_dim units, sinter_dim *out_own) {
    sinter_shard_dim cut = {0};
    *out_own = units;
    if (!sinter_node_find_attr(infer->module, infer->node, "over")) return true;
    if (!sinter_node_get_mesh_axes(infer->module, infer->node, &cut.axes))
        return sinter_infer_error(infer, "`over` names what is no axis of the mesh, or one twice "
                                         "[collective_c2]");
    *out_own = sinter_sharding_part_dim(infer->module, &cut, units);
    return *out_own || sinter_infer_error(infer,
                                          "%s units are cut: expected a number "
                                          "[collective_c3]",
                                          sinter_infer_dim_text(infer, units));
}

static bool infer_recurrent(sinter_infer *infer, int64_t gates) {
    const sinter_type *x = sinter_infer_operand(infer, 0), *r = sinter_infer_operand(infer, 2);
    sinter_string direction = sinter_node_get_string(infer->module, infer->node, "direction");
    bool batch_first = sinter_node_get_int(infer->module, infer->node, "layout", 0) != 0;
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_infer_check_rank(infer, i, 3, 3)) return false;
    for (uint32_t i = 1; i < 8; i++)
        if (i != 4 && !sinter_infer_check_same_dtype(infer, 0, i)) return false;
    if (!sinter_infer_check_rank(infer, 3, 2, 2) || !sinter_infer_check_rank(infer, 4, 1, 1) ||
        !sinter_infer_check_integer(infer, 4))
        return false;
    const bool is_projected = !sinter_infer_operand(infer, 1); /* x has the products of all gates */
    if (!is_projected && !sinter_infer_check_dims_equal(infer, 1, 2, 0, 2)) return false;
    bool both = sinter_string_is(direction, "bidirectional");
    sinter_dim directions = sinter_infer_number(infer, both ? 2 : 1), hidden = r->dims[2];
    int64_t stated = sinter_node_get_int(infer->module, infer->node, "hidden_size", 0);
    if (stated > 0) {
        if (!sinter_infer_check_dim(infer, 2, 2, sinter_infer_number(infer, stated), "hidden_size"))
            return false;
        hidden = sinter_infer_number(infer, stated);
    }
    sinter_dim own = 0;
    if (!own_units(infer, hidden, &own)) return false;
    sinter_dim rows = sinter_infer_times(infer, own, gates);
    if (is_projected &&
        !sinter_infer_check_dim(infer, 0, 2, sinter_infer_times(infer, rows, both ? 2 : 1),
                                "gates of each direction"))
        return false;
    if (!sinter_infer_check_dim(infer, 1, 0, directions, "directions") ||
        !sinter_infer_check_dim(infer, 2, 0, directions, "directions") ||
        !sinter_infer_check_dim(infer, 1, 1, rows, "gates") ||
        !sinter_infer_check_dim(infer, 2, 1, rows, "gates"))
        return false;
    sinter_dim time = x->dims[batch_first], batch = x->dims[!batch_first];
    sinter_dim last[2][3] = {{directions, batch, own}, {batch, directions, own}};
    for (uint32_t d = 0; d < 3; d++)
        for (uint32_t i = 5; i < 7; i++) /* of h all of them are read in the first step */
            if (!sinter_infer_check_rank(infer, i, 3, 3) ||
                !sinter_infer_check_dim(
                    infer, i, d, i == 5 && d == 2 ? hidden : last[batch_first][d], "initial state"))
                return false;
    if (!sinter_infer_check_rank(infer, 7, 2, 2) ||
        !sinter_infer_check_dim(infer, 3, 0, directions, "directions") ||
        !sinter_infer_check_dim(infer, 3, 1, sinter_infer_times(infer, rows, 2), "gates") ||
        !sinter_infer_check_dim(infer, 4, 0, batch, "batch") ||
        !sinter_infer_check_dim(infer, 7, 0, directions, "directions") ||
        !sinter_infer_check_dim(infer, 7, 1, sinter_infer_times(infer, own, 3), "gates"))
        return false;
    sinter_dim y[2][4] = {{time, directions, batch, own}, {batch, time, directions, own}};
    sinter_infer_set(infer, 0, x->dtype, 4, y[batch_first]);
    sinter_infer_set(infer, 1, x->dtype, 3, last[batch_first]);
    sinter_infer_set(infer, 2, x->dtype, 3, last[batch_first]);
    return true;
}

bool infer_rnn(sinter_infer *infer) {
    return infer_recurrent(infer, 1);
}

bool infer_gru(sinter_infer *infer) {
    return infer_recurrent(infer, 3);
}

bool infer_lstm(sinter_infer *infer) {
    return infer_recurrent(infer, 4);
}

/* ---- signals ---- */

bool infer_dft(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    bool inverse = sinter_node_get_int(infer->module, infer->node, "inverse", 0) != 0;
    bool onesided = sinter_node_get_int(infer->module, infer->node, "onesided", 0) != 0;
    const int64_t *axes;
    size_t count;
    int64_t stated = -2;
    uint32_t axis;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK) ||
        !sinter_infer_check_scalar(infer, 1) || !sinter_infer_check_scalar(infer, 2))
        return false;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[x->rank - 1] = sinter_infer_number(infer, inverse && onesided ? 1 : 2);
    if (sinter_infer_has(infer, 2)) {
        if (!sinter_infer_find_ints(infer, 2, &axes, &count) || count != 1) {
            for (uint32_t i = 0; i + 1 < x->rank; i++)
                dims[i] = sinter_infer_node_dim(infer, 0, i, "spectrum");
            sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
            return true;
        }
        stated = axes[0];
    }
    if (!sinter_infer_axis(infer, stated, x->rank, &axis)) return false;
    if (axis == x->rank - 1)
        return sinter_infer_error(infer, "the last axis holds real and imaginary parts [dft_c1]");
    sinter_dim length =
        sinter_infer_has(infer, 1) ? sinter_infer_demand_scalar(infer, 1) : dims[axis];
    if (!length) length = sinter_infer_node_dim(infer, 0, axis, "spectrum");
    if (onesided && inverse && !sinter_infer_has(infer, 1))
        length = sinter_infer_times(infer, sinter_infer_plus(infer, length, -1), 2);
    if (onesided && !inverse)
        length = sinter_infer_plus(
            infer, sinter_dim_floordiv(infer->dims, length, sinter_infer_number(infer, 2)), 1);
    dims[axis] = length;
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}

bool infer_stft(sinter_infer *infer) {
    const sinter_type *signal = sinter_infer_operand(infer, 0),
                      *window = sinter_infer_operand(infer, 2);
    bool onesided = sinter_node_get_int(infer->module, infer->node, "onesided", 1) != 0;
    if (!sinter_infer_check_rank(infer, 0, 2, 3) || !sinter_infer_check_scalar(infer, 1) ||
        !sinter_infer_check_rank(infer, 2, 1, 1) || !sinter_infer_check_scalar(infer, 3) ||
        !sinter_infer_check_same_dtype(infer, 0, 2))
        return false;
    sinter_dim step = sinter_infer_demand_scalar(infer, 1);
    sinter_dim length = sinter_infer_has(infer, 3) ? sinter_infer_demand_scalar(infer, 3)
                        : window->kind             ? window->dims[0]
                                                   : 0;
    if (!length) return sinter_infer_error(infer, "frame_length or a window is needed [stft_c1]");
    if (!sinter_infer_check_dim(infer, 2, 0, length, "window")) return false;
    if (signal->rank == 3 &&
        !sinter_infer_dim_at_most(infer, sinter_infer_number(infer, 1), signal->dims[2]))
        return sinter_infer_error(infer, "%s has no parts [stft_c3]", sinter_infer_text(infer, 0));
    if (!step || sinter_dim_is(infer->dims, step, 0))
        return sinter_infer_error(infer, "frame_step must be one number above 0 [stft_c2]");
    sinter_dim room = sinter_dim_sub(infer->dims, signal->dims[1], length);
    sinter_dim frames = sinter_infer_plus(infer, sinter_dim_floordiv(infer->dims, room, step), 1),
               bins = length;
    if (onesided)
        bins = sinter_infer_plus(
            infer, sinter_dim_floordiv(infer->dims, length, sinter_infer_number(infer, 2)), 1);
    sinter_infer_set(infer, 0, signal->dtype, 4,
                     (sinter_dim[]){signal->dims[0], sinter_infer_not_negative(infer, frames), bins,
                                    sinter_infer_number(infer, 2)});
    return true;
}

bool infer_mel_weight_matrix(sinter_infer *infer) {
    sinter_dtype dtype = sinter_node_get_dtype(infer->module, infer->node, "output_datatype");
    for (uint32_t i = 0; i < 5; i++)
        if (!sinter_infer_check_scalar(infer, i)) return false;
    sinter_dim bins = sinter_infer_demand_scalar(infer, 0),
               length = sinter_infer_demand_scalar(infer, 1);
    if (!bins) bins = sinter_infer_node_dim(infer, 0, 1, "bins");
    sinter_dim rows =
        length
            ? sinter_infer_plus(
                  infer, sinter_dim_floordiv(infer->dims, length, sinter_infer_number(infer, 2)), 1)
            : sinter_infer_node_dim(infer, 0, 0, "spectrum");
    sinter_infer_set(infer, 0, dtype ? dtype : SINTER_DTYPE_f32, 2, (sinter_dim[]){rows, bins});
    return true;
}

/* ---- strings ---- */

bool infer_regex_full_match(sinter_infer *infer) {
    if (!sinter_infer_check_dtype(infer, 0, SINTER_DTYPE_string)) return false;
    sinter_infer_set_dtype(infer, 0, 0, SINTER_DTYPE_bool);
    return true;
}

bool infer_string_concat(sinter_infer *infer) {
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t rank;
    if (!sinter_infer_check_dtype(infer, 0, SINTER_DTYPE_string) ||
        !sinter_infer_check_dtype(infer, 1, SINTER_DTYPE_string) ||
        !sinter_infer_broadcast(infer, 0, 1, dims, &rank))
        return false;
    sinter_infer_set(infer, 0, SINTER_DTYPE_string, rank, dims);
    return true;
}

bool infer_string_normalizer(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    if (!sinter_infer_check_dtype(infer, 0, SINTER_DTYPE_string) ||
        !sinter_infer_check_rank(infer, 0, 1, 2))
        return false;
    const sinter_attr *stop = sinter_node_find_attr(infer->module, infer->node, "stopwords");
    if (!stop || stop->strings.count == 0) {
        sinter_infer_set_like(infer, 0, 0);
        return true;
    }
    sinter_dim dims[2];
    for (uint32_t i = 0; i + 1 < x->rank; i++) dims[i] = x->dims[i];
    dims[x->rank - 1] = sinter_infer_node_dim(infer, 0, x->rank - 1, "words");
    sinter_infer_set(infer, 0, SINTER_DTYPE_string, x->rank, dims);
    return true;
}

bool infer_string_split(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_dtype(infer, 0, SINTER_DTYPE_string) ||
        !sinter_infer_check_result_rank(infer, x->rank + UINT64_C(1)))
        return false;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    dims[x->rank] = sinter_infer_node_dim(infer, 0, x->rank, "pieces");
    sinter_infer_set(infer, 0, SINTER_DTYPE_string, x->rank + 1, dims);
    sinter_infer_set_dtype(infer, 1, 0, SINTER_DTYPE_i64);
    return true;
}

bool infer_tfidf_vectorizer(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    const int64_t *indexes;
    int64_t largest = -1;
    sinter_dim dims[2];
    if (!sinter_infer_check_rank(infer, 0, 1, 2)) return false;
    size_t count = sinter_node_get_ints(infer->module, infer->node, "ngram_indexes", &indexes);
    int64_t skips = sinter_node_get_int(infer->module, infer->node, "max_skip_count", 0);
    if (skips < 0 || skips > INT32_MAX)
        return sinter_infer_error(infer, "max_skip_count is %lld [tfidf_c1]", (long long)skips);
    for (size_t i = 0; i < count; i++) {
        if (indexes[i] < 0 || indexes[i] > INT32_MAX)
            return sinter_infer_error(infer, "ngram_indexes has %lld [tfidf_c2]",
                                      (long long)indexes[i]);
        largest = indexes[i] > largest ? indexes[i] : largest;
    }
    dims[0] = x->dims[0];
    dims[x->rank - 1] = sinter_infer_plus(infer, sinter_infer_number(infer, largest), 1);
    sinter_infer_set(infer, 0, SINTER_DTYPE_f32, x->rank, dims);
    return true;
}

/* ---- ONNX-ML ---- */

bool infer_array_feature_extractor(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0), *y = sinter_infer_operand(infer, 1);
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_rank(infer, 0, 1, SINTER_MAX_RANK) ||
        !sinter_infer_check_integer(infer, 1))
        return false;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    sinter_dim count = sinter_type_product(infer->dims, y, 0, y->rank);
    if (x->rank == 1) { /* a vector is one row */
        sinter_infer_set(infer, 0, x->dtype, 2,
                         (sinter_dim[]){sinter_infer_number(infer, 1), count});
        return true;
    }
    dims[x->rank - 1] = count;
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}

bool infer_binarizer(sinter_infer *infer) {
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_label_encoder(sinter_infer *infer) {
    static const struct {
        const char *attribute;
        sinter_dtype dtype;
    } values[] = {{"values_int64s", SINTER_DTYPE_i64},
                  {"values_strings", SINTER_DTYPE_string},
                  {"values_floats", SINTER_DTYPE_f32}};
    const sinter_attr *tensor = sinter_node_find_attr(infer->module, infer->node, "values_tensor");
    sinter_dtype dtype = tensor ? tensor->tensor->dtype : SINTER_DTYPE_NONE;
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (!dtype && sinter_node_find_attr(infer->module, infer->node, values[i].attribute))
            dtype = values[i].dtype;
    if (!dtype)
        return sinter_infer_error(infer,
                                  "none of the values_* attributes is set [label_encoder_c1]");
    sinter_infer_set_dtype(infer, 0, 0, dtype);
    return true;
}

bool infer_tree_ensemble(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    int64_t targets = sinter_node_get_int(infer->module, infer->node, "n_targets", 1);
    if (!sinter_infer_check_rank(infer, 0, 2, 2)) return false;
    sinter_infer_set(infer, 0, x->dtype, 2,
                     (sinter_dim[]){x->dims[0], sinter_infer_number(infer, targets)});
    return true;
}

/* ---- optimizers ---- */

/* inputs are `kinds` lists of one length: tensors, gradients, states. Results are the new tensors and states. */
static bool infer_optimizer(sinter_infer *infer, uint32_t kinds) {
    uint32_t given = infer->info->operand_count - 2, count = given / kinds;
    if (!sinter_infer_check_scalar(infer, 0) || !sinter_infer_check_scalar(infer, 1)) return false;
    if (given % kinds != 0)
        return sinter_infer_error(
            infer, "%" PRIu32 " inputs are not %" PRIu32 " lists of one length [optimizer_c1]",
            given, kinds);
    if (infer->info->result_count > count * (kinds - 1))
        return sinter_infer_error(infer,
                                  "%" PRIu32 " results for %" PRIu32 " tensors [optimizer_c2]",
                                  infer->info->result_count, count);
    for (uint32_t i = 0; i < given; i++) { /* gradient and states are like the tensor */
        uint32_t tensor = 2 + i % count;
        const sinter_type *type = sinter_infer_operand(infer, tensor);
        if (!sinter_infer_check_same_dtype(infer, tensor, 2 + i) ||
            !sinter_infer_check_rank(infer, 2 + i, type->rank, type->rank))
            return false;
        for (uint32_t d = 0; d < type->rank; d++)
            if (!sinter_infer_check_dims_equal(infer, 2 + i, d, tensor, d)) return false;
    }
    for (uint32_t r = 0; r < infer->info->result_count; r++) {
        uint32_t operand = r < count ? 2 + r : 2 + count + r;
        sinter_infer_set_like(infer, r, operand);
    }
    return true;
}

bool infer_adagrad(sinter_infer *infer) {
    return infer_optimizer(infer, 3);
}

bool infer_momentum(sinter_infer *infer) {
    return infer_optimizer(infer, 3);
}

bool infer_adam(sinter_infer *infer) {
    return infer_optimizer(infer, 4);
}
