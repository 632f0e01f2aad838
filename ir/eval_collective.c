/* Collectives: the rules of one rank, which sees what the others give, and the evaluation of all ranks together. Sums over
 * ranks are trees in the order of ranks: neighbours first, then pairs of them; each sum is rounded to the element type, as
 * runtime/collectives.c does it. Test: tests/unit/collective_test.c */
#include "ir/eval_frame.h"
#include "ir/eval_rules.h"
#include "ir/mesh.h"

#include <math.h>
#include <string.h>

/* ---- what a rule needs ---- */

typedef struct group {
    const sinter_mesh *mesh;
    sinter_mesh_axes axes;
    int64_t size;
} group;

static bool get_group(sinter_eval *eval, group *out_group) {
    out_group->mesh = sinter_module_mesh(eval->module);
    if (eval->rank < 0 || eval->rank >= sinter_mesh_rank_count(out_group->mesh))
        return sinter_eval_error(eval, "which rank of the mesh is this? [collective_c1]");
    if (!sinter_node_get_mesh_axes(eval->module, eval->node, &out_group->axes))
        return sinter_eval_error(eval, "`over` names no axes of the mesh [collective_c2]");
    out_group->size = sinter_mesh_axes_product(out_group->mesh, &out_group->axes);
    return true;
}

/* What the ranks of the group give, by place: tensors of one type. */
static const sinter_tensor **get_terms(sinter_eval *eval, const group *g) {
    const sinter_tensor *own = sinter_eval_operand(eval, 0);
    const sinter_tensor **terms = SINTER_NEW_ARRAY(eval->scratch, const sinter_tensor *, g->size);
    if (!eval->peers && g->size > 1) {
        sinter_eval_error(eval, "there are no other ranks here [collective_c1]");
        return NULL;
    }
    for (int64_t i = 0; i < g->size; i++) {
        int64_t rank = sinter_mesh_rank_at(g->mesh, &g->axes, eval->rank, i);
        terms[i] = eval->peers ? eval->peers[rank] : own;
        if (terms[i]->dtype != own->dtype || terms[i]->rank != own->rank ||
            memcmp(terms[i]->dims, own->dims, own->rank * sizeof *own->dims) != 0) {
            sinter_eval_error(eval, "rank %lld has %s, rank %lld has %s", (long long)eval->rank,
                              sinter_eval_describe(eval, own), (long long)rank,
                              sinter_eval_describe(eval, terms[i]));
            return NULL;
        }
    }
    return terms;
}

static bool get_axis(sinter_eval *eval, const char *name, uint32_t *out_axis) {
    return sinter_eval_axis(eval, sinter_eval_int(eval, name), sinter_eval_operand(eval, 0)->rank,
                            out_axis);
}

/* Indices [from, from + count) of an axis of the source go to `to` on in the target; other axes are the same. */
static void copy_indices(sinter_tensor *target, int64_t to, const sinter_tensor *source,
                         int64_t from, int64_t count, uint32_t axis) {
    sinter_lanes a = sinter_eval_lanes(source->rank, source->dims, axis);
    sinter_lanes b = sinter_eval_lanes(target->rank, target->dims, axis);
    if (count <= 0 || a.inner <= 0) return;
    for (int64_t outer = 0; outer < a.outer; outer++)
        sinter_eval_copy_elements(target, (outer * b.count + to) * b.inner, source,
                                  (outer * a.count + from) * a.inner, count * a.inner);
}

/* ---- combining ---- */

static double combine_floats(char how, double a, double b) {
    switch (how) {
    case 's':
        return a + b;
    case 'p':
        return a * b;
    default:
        if (isnan(a) || isnan(b)) return NAN;
        return (how == 'x') == (a > b) ? a : b;
    }
}

static int64_t combine_integers(char how, bool is_signed, int64_t a, int64_t b) {
    bool above = is_signed ? a > b : (uint64_t)a > (uint64_t)b;
    switch (how) {
    case 's':
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case 'p':
        return (int64_t)((uint64_t)a * (uint64_t)b);
    default:
        return (how == 'x') == above ? a : b;
    }
}

/* sum, prod, max, min by a letter that tells them apart. */
static char reduction_of(const sinter_eval *eval) {
    sinter_string name = sinter_eval_string(eval, "reduction");
    return name.data[0] == 'm' ? name.data[2] : name.data[0];
}

/* One element over all terms: with steps of 1, 2, 4, ..., each place takes in the one a step ahead. */
static void reduce_element(sinter_tensor *target, int64_t index, char how,
                           const sinter_tensor *const *terms, int64_t count,
                           sinter_tensor *places) {
    bool is_float = sinter_dtype_is_float(target->dtype);
    bool is_signed = sinter_dtype_infos[target->dtype].class == SINTER_CLASS_INT;
    for (int64_t i = 0; i < count; i++) sinter_eval_copy_element(places, i, terms[i], index);
    for (int64_t step = 1; step < count; step *= 2)
        for (int64_t i = 0; i + step < count; i += 2 * step) {
            if (is_float)
                sinter_tensor_set_double(
                    places, i,
                    combine_floats(how, sinter_tensor_get_double(places, i),
                                   sinter_tensor_get_double(places, i + step)));
            else
                sinter_tensor_set_int(places, i,
                                      combine_integers(how, is_signed,
                                                       sinter_tensor_get_int(places, i),
                                                       sinter_tensor_get_int(places, i + step)));
        }
    sinter_eval_copy_element(target, index, places, 0);
}

/* The operand over the group. */
static bool reduce_all(sinter_eval *eval, const group *g, sinter_tensor *out_sum) {
    const sinter_tensor *own = sinter_eval_operand(eval, 0);
    const sinter_tensor **terms = get_terms(eval, g);
    sinter_tensor places;
    if (!terms) return false;
    if (!sinter_eval_temporary(eval, out_sum, own->dtype, own->rank, own->dims)) return false;
    if (!sinter_eval_temporary(eval, &places, own->dtype, 1, &g->size)) {
        sinter_tensor_deinit(out_sum);
        return false;
    }
    char how = reduction_of(eval);
    for (int64_t i = 0, count = sinter_tensor_count(own); i < count; i++)
        reduce_element(out_sum, i, how, terms, g->size, &places);
    sinter_tensor_deinit(&places);
    return true;
}

/* ---- the rules ---- */

bool eval_all_reduce(sinter_eval *eval) {
    group g;
    return get_group(eval, &g) && reduce_all(eval, &g, &eval->results[0]);
}

/* The rank's part of an axis of `whole`, as result 0. */
static bool take_part(sinter_eval *eval, const group *g, const sinter_tensor *whole,
                      uint32_t axis) {
    int64_t dims[SINTER_MAX_RANK];
    memcpy(dims, whole->dims, whole->rank * sizeof *dims);
    sinter_mesh_part part = sinter_mesh_part_of(g->mesh, &g->axes, whole->dims[axis], eval->rank);
    dims[axis] = part.chunk;
    sinter_tensor *y = sinter_eval_create(eval, 0, whole->dtype, whole->rank, dims);
    if (y) copy_indices(y, 0, whole, part.offset, part.valid, axis);
    return y != NULL;
}

bool eval_shard_slice(sinter_eval *eval) {
    group g;
    uint32_t axis;
    return get_group(eval, &g) && get_axis(eval, "axis", &axis) &&
           take_part(eval, &g, sinter_eval_operand(eval, 0), axis);
}

bool eval_reduce_scatter(sinter_eval *eval) {
    group g;
    uint32_t axis;
    sinter_tensor sum;
    if (!get_group(eval, &g) || !get_axis(eval, "axis", &axis) || !reduce_all(eval, &g, &sum))
        return false;
    bool good = take_part(eval, &g, &sum, axis);
    sinter_tensor_deinit(&sum);
    return good;
}

/* All parts of an axis of `size`. */
static bool gather(sinter_eval *eval, const group *g, uint32_t axis, sinter_tensor *out_whole) {
    const sinter_tensor *own = sinter_eval_operand(eval, 0);
    const sinter_tensor **terms = get_terms(eval, g);
    int64_t dims[SINTER_MAX_RANK], size = sinter_eval_int(eval, "size");
    if (!terms) return false;
    memcpy(dims, own->dims, own->rank * sizeof *dims);
    if (size < 0 || sinter_mesh_part_of(g->mesh, &g->axes, size, 0).chunk != own->dims[axis])
        return sinter_eval_error(eval, "%s is no part of %lld indices [collective_c3]",
                                 sinter_eval_describe(eval, own), (long long)size);
    dims[axis] = size;
    if (!sinter_eval_temporary(eval, out_whole, own->dtype, own->rank, dims)) return false;
    for (int64_t i = 0; i < g->size; i++) {
        int64_t rank = sinter_mesh_rank_at(g->mesh, &g->axes, eval->rank, i);
        sinter_mesh_part part = sinter_mesh_part_of(g->mesh, &g->axes, size, rank);
        copy_indices(out_whole, part.offset, terms[i], 0, part.valid, axis);
    }
    return true;
}

bool eval_all_gather(sinter_eval *eval) {
    group g;
    uint32_t axis;
    return get_group(eval, &g) && get_axis(eval, "axis", &axis) &&
           gather(eval, &g, axis, &eval->results[0]);
}

bool eval_all_to_all(sinter_eval *eval) {
    group g;
    uint32_t split, joined;
    sinter_tensor whole;
    if (!get_group(eval, &g) || !get_axis(eval, "split_axis", &split) ||
        !get_axis(eval, "concat_axis", &joined) || !gather(eval, &g, joined, &whole))
        return false;
    bool good = take_part(eval, &g, &whole, split);
    sinter_tensor_deinit(&whole);
    return good;
}

bool eval_collective_permute(sinter_eval *eval) {
    const int64_t *pairs = NULL;
    size_t count = sinter_eval_ints_attr(eval, "pairs", &pairs);
    const sinter_tensor *own = sinter_eval_operand(eval, 0), *from = NULL;
    int64_t ranks = sinter_mesh_rank_count(sinter_module_mesh(eval->module));
    if (eval->rank < 0 || !eval->peers)
        return sinter_eval_error(eval, "there are no other ranks here [collective_c1]");
    for (size_t i = 0; i + 1 < count; i += 2)
        if (pairs[i + 1] == eval->rank && pairs[i] >= 0 && pairs[i] < ranks)
            from = eval->peers[pairs[i]];
    if (from) return sinter_eval_share(eval, 0, from, from->rank, from->dims);
    return sinter_eval_create_like(eval, 0, own) != NULL;
}

bool eval_collective_wait(sinter_eval *eval) {
    const sinter_tensor *y = sinter_eval_operand(eval, 0);
    return sinter_eval_share(eval, 0, y, y->rank, y->dims);
}

static void fill_element(sinter_tensor *target, int64_t index, char how) {
    const sinter_dtype_info *info = &sinter_dtype_infos[target->dtype];
    if (how == 'o') {
        if (info->class == SINTER_CLASS_FLOAT)
            sinter_tensor_set_double(target, index, 1);
        else
            sinter_tensor_set_int(target, index, 1);
    } else if (how == 'l' || how == 'h') {
        if (info->class == SINTER_CLASS_FLOAT) {
            sinter_tensor_set_double(target, index, how == 'l' ? -INFINITY : INFINITY);
        } else {
            uint64_t top = UINT64_C(1) << (info->bits - 1);
            bool is_signed = info->class == SINTER_CLASS_INT;
            sinter_tensor_set_int(target, index,
                                  (int64_t)(how == 'l' ? (is_signed ? top : 0)
                                                       : (is_signed ? top - 1 : 2 * top - 1)));
        }
    } /* zeros are there already */
}

/* Indices of an axis but [from, end). */
static void fill_outside(sinter_tensor *target, uint32_t axis, int64_t from, int64_t end,
                         char how) {
    sinter_lanes lanes = sinter_eval_lanes(target->rank, target->dims, axis);
    for (int64_t outer = 0; outer < lanes.outer; outer++)
        for (int64_t i = 0; i < lanes.count; i++)
            for (int64_t k = 0; (i < from || i >= end) && k < lanes.inner; k++)
                fill_element(target, (outer * lanes.count + i) * lanes.inner + k, how);
}

bool eval_shard_mask(sinter_eval *eval) {
    group g;
    uint32_t axis;
    const sinter_tensor *x = sinter_eval_operand(eval, 0);
    if (!get_group(eval, &g) || !get_axis(eval, "axis", &axis)) return false;
    sinter_mesh_part part =
        sinter_mesh_part_of(g.mesh, &g.axes, sinter_eval_int(eval, "size"), eval->rank);
    sinter_tensor *y = sinter_eval_create_like(eval, 0, x);
    if (!y) return false;
    int64_t valid = part.valid < x->dims[axis] ? part.valid : x->dims[axis];
    copy_indices(y, 0, x, 0, valid, axis);
    fill_outside(y, axis, 0, valid, sinter_eval_string(eval, "fill").data[0]);
    return true;
}

bool eval_shard_window(sinter_eval *eval) {
    group g;
    uint32_t axis;
    sinter_tensor whole;
    int64_t dims[SINTER_MAX_RANK];
    if (!get_group(eval, &g) || !get_axis(eval, "axis", &axis) || !gather(eval, &g, axis, &whole))
        return false;
    int64_t stride = sinter_eval_int(eval, "stride"), reach = sinter_eval_int(eval, "reach");
    sinter_mesh_part part =
        sinter_mesh_part_of(g.mesh, &g.axes, sinter_eval_int(eval, "windows"), eval->rank);
    int64_t first = part.offset * stride - sinter_eval_int(eval, "before");
    int64_t length = part.chunk ? (part.chunk - 1) * stride + reach : 0;
    memcpy(dims, whole.dims, whole.rank * sizeof *dims);
    dims[axis] = length;
    sinter_tensor *y = sinter_eval_create(eval, 0, whole.dtype, whole.rank, dims);
    if (y) {
        int64_t from = first > 0 ? first : 0;
        int64_t end = first + length < whole.dims[axis] ? first + length : whole.dims[axis];
        fill_outside(y, axis, from - first, end - first, sinter_eval_string(eval, "fill").data[0]);
        copy_indices(y, from - first, &whole, from, end - from, axis);
    }
    sinter_tensor_deinit(&whole);
    return y != NULL;
}

bool eval_shard_first(sinter_eval *eval) {
    group g;
    const sinter_tensor *x = sinter_eval_operand(eval, 0);
    if (!get_group(eval, &g)) return false;
    if (sinter_mesh_place(g.mesh, &g.axes, eval->rank) == 0)
        return sinter_eval_share(eval, 0, x, x->rank, x->dims);
    return sinter_eval_create_like(eval, 0, x) != NULL;
}

/* ---- all ranks ---- */

typedef struct ranks {
    sinter_module *const *modules;
    sinter_eval_frame **frames;
    sinter_node *at;
    uint32_t count;
    sinter_diag *diag;
} ranks;

/* Of the node that a rank stands at. */
static uint32_t count_operands(const ranks *r, uint32_t rank) {
    return r->at[rank] ? sinter_node_get(r->modules[rank], r->at[rank])->operand_count : 0;
}

/* All of them stand at a collective, and at the same one, or all are done. */
static bool meet(ranks *r) {
    for (uint32_t i = 0; i < r->count; i++) {
        if (!sinter_eval_frame_advance(r->frames[i], &r->at[i])) return false;
        sinter_op op = sinter_node_op(r->modules[i], r->at[i]);
        sinter_op first = sinter_node_op(r->modules[0], r->at[0]);
        if (op != first || count_operands(r, i) != count_operands(r, 0))
            return sinter_error(r->diag, sinter_module_name(r->modules[i]),
                                "rank %u is at %s, rank 0 at %s", i,
                                op ? sinter_op_get_info(op)->name : "the end",
                                first ? sinter_op_get_info(first)->name : "the end");
    }
    return true;
}

static bool exchange(ranks *r) {
    /* What they give is kept while others still read it: a rank may drop its own after its turn. */
    uint32_t operands = count_operands(r, 0);
    size_t count = (size_t)r->count * operands;
    sinter_tensor *kept = sinter_heap_alloc((count + 1) * sizeof *kept);
    const sinter_tensor **given = sinter_heap_alloc((count + 1) * sizeof *given);
    for (size_t i = 0; i < count; i++) {
        uint32_t rank = (uint32_t)(i / operands);
        sinter_value operand =
            sinter_node_operand(r->modules[rank], r->at[rank], (uint32_t)(i % operands));
        const sinter_tensor *value =
            operand ? sinter_eval_frame_value(r->frames[rank], operand) : NULL;
        if (value) sinter_tensor_copy(&kept[i], value);
        given[i] = value ? &kept[i] : NULL;
    }
    bool good = true;
    for (uint32_t i = 0; good && i < r->count; i++)
        good = sinter_eval_frame_exchange(r->frames[i], given);
    sinter_tensors_deinit(kept, count);
    sinter_heap_free(given);
    sinter_heap_free(kept);
    return good;
}

static bool run_ranks(ranks *r, sinter_tensor *const *out_outputs, size_t output_count) {
    do {
        if (!meet(r)) return false;
        if (r->at[0] && !exchange(r)) return false;
    } while (r->at[0]);
    for (uint32_t i = 0; i < r->count; i++)
        if (!sinter_eval_frame_finish(r->frames[i], out_outputs[i], output_count)) return false;
    return true;
}

bool sinter_eval_ranks(sinter_module *const *modules, uint32_t rank_count,
                       const sinter_tensor *const *inputs, size_t input_count,
                       sinter_tensor *const *out_outputs, size_t output_count, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    ranks r = {.modules = modules,
               .frames = SINTER_NEW_ARRAY(&arena, sinter_eval_frame *, rank_count),
               .at = SINTER_NEW_ARRAY(&arena, sinter_node, rank_count),
               .count = rank_count,
               .diag = diag};
    bool good =
        rank_count == sinter_mesh_rank_count(sinter_module_mesh(modules[0])) ||
        sinter_error(diag, sinter_module_name(modules[0]), "%u ranks for a mesh of %lld",
                     rank_count, (long long)sinter_mesh_rank_count(sinter_module_mesh(modules[0])));
    for (uint32_t i = 0; i < rank_count; i++)
        memset(out_outputs[i], 0, output_count * sizeof *out_outputs[i]);
    for (uint32_t i = 0; good && i < rank_count; i++) {
        r.frames[i] = sinter_eval_frame_create(modules[i], i, inputs[i], input_count, diag);
        good = r.frames[i] != NULL;
    }
    good = good && run_ranks(&r, out_outputs, output_count);
    for (uint32_t i = 0; i < rank_count; i++) {
        sinter_eval_frame_destroy(r.frames[i]);
        for (size_t k = 0; !good && k < output_count; k++) sinter_tensor_deinit(&out_outputs[i][k]);
    }
    sinter_arena_deinit(&arena);
    return good;
}
