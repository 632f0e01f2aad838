/* Cutting and joining of tensors. Test: tests/suites/shard_values.py, tests/unit/mesh_test.c */
#include "ir/sharding_tensor.h"
#include "ir/eval_rules.h"

/* A box of a tensor that goes to another place in a tensor of the same element type. */
typedef struct box {
    uint32_t rank;
    int64_t size[SINTER_MAX_RANK], from[SINTER_MAX_RANK], to[SINTER_MAX_RANK];
} box;

static int64_t offset(const sinter_tensor *tensor, const int64_t *at, const int64_t *base) {
    int64_t index = 0;
    for (uint32_t i = 0; i < tensor->rank; i++) index = index * tensor->dims[i] + base[i] + at[i];
    return index;
}

static void copy_box(sinter_tensor *target, const sinter_tensor *source, const box *b) {
    int64_t at[SINTER_MAX_RANK] = {0};
    for (uint32_t i = 0; i < b->rank; i++)
        if (b->size[i] <= 0) return;
    int64_t run = b->rank ? b->size[b->rank - 1] : 1;
    for (;;) {
        sinter_eval_copy_elements(target, offset(target, at, b->to), source,
                                  offset(source, at, b->from), run);
        uint32_t axis = b->rank ? b->rank - 1 : 0;
        while (axis > 0 && ++at[axis - 1] == b->size[axis - 1]) at[--axis] = 0;
        if (axis == 0) return;
    }
}

static bool is_cut(const sinter_sharding *sharding) {
    return sharding && (sharding->partial || sinter_sharding_used(sharding));
}

static bool check_rank(const sinter_sharding *sharding, const sinter_tensor *tensor,
                       sinter_diag *diag) {
    if (tensor->kind == SINTER_TYPE_TENSOR && tensor->rank == sharding->rank) return true;
    return sinter_error(diag, "", "a tensor of %u dims is cut as one of %u", tensor->rank,
                        sharding->rank);
}

/* Whether the rank is the first along the axes of the mask. */
static bool is_first(const sinter_mesh *mesh, uint32_t mask, int64_t rank) {
    sinter_mesh_axes axes = sinter_mesh_axes_of(mask);
    return sinter_mesh_place(mesh, &axes, rank) == 0;
}

bool sinter_sharding_cut_tensor(const sinter_mesh *mesh, const sinter_sharding *sharding,
                                int64_t rank, const sinter_tensor *whole, sinter_tensor *out_part,
                                sinter_diag *diag) {
    if (!is_cut(sharding)) {
        sinter_tensor_copy(out_part, whole);
        return true;
    }
    if (!check_rank(sharding, whole, diag)) return false;
    int64_t dims[SINTER_MAX_RANK];
    box b = {.rank = whole->rank};
    for (uint32_t i = 0; i < whole->rank; i++) {
        const sinter_shard_dim *dim = &sharding->dims[i];
        sinter_mesh_part part = sinter_mesh_part_of(mesh, &dim->axes, whole->dims[i], rank);
        if (dim->whole > 0 && whole->dims[i] != dim->whole)
            return sinter_error(diag, "", "dim %u is %lld, expected %lld", i,
                                (long long)whole->dims[i], (long long)dim->whole);
        dims[i] = part.chunk;
        b.size[i] = part.valid;
        b.from[i] = part.offset;
    }
    if (!sinter_tensor_create(out_part, whole->dtype, whole->rank, dims, diag)) return false;
    if (is_first(mesh, sharding->partial, rank)) copy_box(out_part, whole, &b);
    return true;
}

/* Elements of types that memory has as numbers of C; 16 bits and less go through the widest. */
#define ADD_ARRAYS(type)                                                                           \
 do {                                                                                              \
  type *to = sinter_tensor_mutable(sum);                                                           \
  const type *from = term->data;                                                                   \
  for (int64_t i = 0; i < count; i++) to[i] = (type)(to[i] + from[i]);                             \
 } while (0)

static void add_tensor(sinter_tensor *sum, const sinter_tensor *term) {
    const int64_t count = sinter_tensor_count(sum);
    const bool is_float = sinter_dtype_is_float(sum->dtype);
    switch (sum->dtype) {
    case SINTER_DTYPE_f32:
        ADD_ARRAYS(float);
        return;
    case SINTER_DTYPE_f64:
        ADD_ARRAYS(double);
        return;
    case SINTER_DTYPE_i32:
    case SINTER_DTYPE_u32:
        ADD_ARRAYS(uint32_t);
        return; /* they wrap */
    case SINTER_DTYPE_i64:
    case SINTER_DTYPE_u64:
        ADD_ARRAYS(uint64_t);
        return;
    default:
        break;
    }
    for (int64_t i = 0; i < count; i++)
        if (is_float)
            sinter_tensor_set_double(
                sum, i, sinter_tensor_get_double(sum, i) + sinter_tensor_get_double(term, i));
        else
            sinter_tensor_set_int(sum, i,
                                  (int64_t)((uint64_t)sinter_tensor_get_int(sum, i) +
                                            (uint64_t)sinter_tensor_get_int(term, i)));
}

/* Adds terms that other ranks hold of the part of `rank`. */
static bool add_terms(const sinter_mesh *mesh, uint32_t mask, const sinter_tensor *const *parts,
                      int64_t rank, sinter_tensor *out_sum, sinter_diag *diag) {
    const sinter_tensor *first = parts[rank];
    sinter_mesh_axes over = sinter_mesh_axes_of(mask);
    if (!sinter_tensor_create(out_sum, first->dtype, first->rank, first->dims, diag)) return false;
    for (int64_t place = 0; place < sinter_mesh_axes_product(mesh, &over); place++)
        add_tensor(out_sum, parts[sinter_mesh_rank_at(mesh, &over, rank, place)]);
    return true;
}

static bool join_part(const sinter_mesh *mesh, const sinter_sharding *sharding,
                      const sinter_tensor *const *parts, int64_t rank, sinter_tensor *whole,
                      sinter_diag *diag) {
    box b = {.rank = whole->rank};
    for (uint32_t i = 0; i < whole->rank; i++) {
        sinter_mesh_part part =
            sinter_mesh_part_of(mesh, &sharding->dims[i].axes, whole->dims[i], rank);
        b.size[i] = part.valid;
        b.to[i] = part.offset;
        if (parts[rank]->dims[i] != part.chunk)
            return sinter_error(diag, "", "rank %lld has %lld indices of dim %u, expected %lld",
                                (long long)rank, (long long)parts[rank]->dims[i], i,
                                (long long)part.chunk);
    }
    sinter_tensor sum;
    if (!sharding->partial) {
        copy_box(whole, parts[rank], &b);
        return true;
    }
    if (!add_terms(mesh, sharding->partial, parts, rank, &sum, diag)) return false;
    copy_box(whole, &sum, &b);
    sinter_tensor_deinit(&sum);
    return true;
}

bool sinter_sharding_join_tensors(const sinter_mesh *mesh, const sinter_sharding *sharding,
                                  const sinter_tensor *const *parts, sinter_tensor *out_whole,
                                  sinter_diag *diag) {
    if (!is_cut(sharding)) {
        sinter_tensor_copy(out_whole, parts[0]);
        return true;
    }
    int64_t dims[SINTER_MAX_RANK], ranks = sinter_mesh_rank_count(mesh);
    if (!check_rank(sharding, parts[0], diag)) return false;
    for (uint32_t i = 0; i < sharding->rank; i++)
        dims[i] = sharding->dims[i].whole ? sharding->dims[i].whole : parts[0]->dims[i];
    if (!sinter_tensor_create(out_whole, parts[0]->dtype, parts[0]->rank, dims, diag)) return false;
    bool good = true;
    for (int64_t rank = 0; good && rank < ranks; rank++)
        if (is_first(mesh, sharding->partial, rank))
            good = join_part(mesh, sharding, parts, rank, out_whole, diag);
    if (!good) sinter_tensor_deinit(out_whole);
    return good;
}
