/* Shardings of values: keeping, checking, reading and printing them. Test: tests/ir/sharding.sir, verify_sharding.sir */
#include "ir/sharding.h"
#include "ir/base/file.h"
#include "ir/graph_internal.h"

#include <string.h>

const sinter_sharding *sinter_value_sharding(const sinter_module *module, sinter_value value) {
    return sinter_value_get(module, value)->sharding;
}

sinter_sharding *sinter_sharding_copy(sinter_arena *arena, const sinter_sharding *sharding) {
    sinter_sharding *copy = SINTER_NEW(arena, sinter_sharding);
    *copy = *sharding;
    copy->dims = SINTER_NEW_ARRAY(arena, sinter_shard_dim, sharding->rank + 1);
    if (sharding->rank) memcpy(copy->dims, sharding->dims, sharding->rank * sizeof *copy->dims);
    return copy;
}

void sinter_value_set_sharding(sinter_module *module, sinter_value value,
                               const sinter_sharding *sharding) {
    module->values.items[value].sharding =
        sharding ? sinter_sharding_copy(&module->arena, sharding) : NULL;
}

sinter_sharding sinter_sharding_whole(sinter_arena *arena, uint32_t rank, bool is_open) {
    sinter_sharding sharding = {.dims = SINTER_NEW_ARRAY(arena, sinter_shard_dim, rank + 1),
                                .rank = rank};
    for (uint32_t i = 0; i < rank; i++) sharding.dims[i].is_open = is_open;
    return sharding;
}

uint32_t sinter_sharding_used(const sinter_sharding *sharding) {
    uint32_t mask = 0;
    for (uint32_t i = 0; i < sharding->rank; i++)
        mask |= sinter_mesh_axes_mask(&sharding->dims[i].axes);
    return mask;
}

bool sinter_sharding_equal(const sinter_sharding *a, const sinter_sharding *b) {
    if (a->rank != b->rank || a->partial != b->partial) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (!sinter_mesh_axes_equal(&a->dims[i].axes, &b->dims[i].axes)) return false;
    return true;
}

sinter_dim sinter_sharding_part_dim(const sinter_module *module, const sinter_shard_dim *cut,
                                    sinter_dim size) {
    sinter_dim_table *dims = sinter_module_dims(module);
    int64_t number;
    if (!cut->axes.count) return size;
    if (!sinter_dim_is_const(dims, size, &number)) return 0;
    return sinter_dim_const(
        dims, sinter_mesh_part_of(sinter_module_mesh(module), &cut->axes, number, 0).chunk);
}

/* ---- checks ---- */

static bool check_axes_once(const sinter_module *module, const sinter_sharding *sharding,
                            const char *where, const char *what, sinter_diag *diag) {
    const sinter_mesh *mesh = sinter_module_mesh(module);
    uint32_t used = 0, twice = 0;
    for (uint32_t i = 0; i < sharding->rank; i++) {
        uint32_t mask = sinter_mesh_axes_mask(&sharding->dims[i].axes);
        twice |= used & mask;
        used |= mask;
    }
    twice |= used & (sharding->partial | sharding->replicated);
    twice |= sharding->partial & sharding->replicated;
    if (!twice) return true;
    sinter_string name = mesh->axes[sinter_mesh_axes_of(twice).items[0]].name;
    return sinter_error(diag, where, "%s uses mesh axis '%.*s' twice [shard_c4]", what,
                        SINTER_STRING_ARGS(name));
}

bool sinter_sharding_check(const sinter_module *module, const sinter_sharding *sharding,
                           const sinter_type *type, const char *where, const char *what,
                           sinter_diag *diag) {
    const sinter_mesh *mesh = sinter_module_mesh(module);
    if (!mesh->axis_count)
        return sinter_error(diag, where, "%s has a sharding, but the module has no mesh [shard_c2]",
                            what);
    if (type->kind != SINTER_TYPE_TENSOR)
        return sinter_error(diag, where, "%s has a sharding, but is no tensor [shard_c3]", what);
    if (type->rank != sharding->rank)
        return sinter_error(
            diag, where,
            "%s is of rank %u, its sharding of %u: each dim needs an entry, _ where "
            "it is whole [shard_c3]",
            what, type->rank, sharding->rank);
    if (!check_axes_once(module, sharding, where, what, diag)) return false;
    for (uint32_t i = 0; i < sharding->rank; i++) {
        const sinter_shard_dim *cut = &sharding->dims[i];
        sinter_dim whole =
            cut->whole > 0 ? sinter_dim_const(sinter_module_dims(module), cut->whole) : 0;
        if (whole && sinter_sharding_part_dim(module, cut, whole) != type->dims[i])
            return sinter_error(diag, where,
                                "dim %u of %s is not what a rank has of %lld indices [shard_c5]", i,
                                what, (long long)cut->whole);
    }
    return true;
}

double sinter_sharding_axis_parts(const sinter_dim_table *dims, const sinter_mesh *mesh,
                                  const sinter_mesh_axes *axes, sinter_dim size) {
    int64_t number = 0;
    if (!axes->count || !sinter_dim_is_const(dims, size, &number) || number < 1)
        return (double)sinter_mesh_axes_product(mesh, axes);
    return (double)number / (double)sinter_mesh_part_of(mesh, axes, number, 0).chunk;
}

double sinter_sharding_parts(const sinter_dim_table *dims, const sinter_mesh *mesh,
                             const sinter_sharding *sharding, const sinter_type *whole) {
    double parts = 1;
    for (uint32_t i = 0; i < sharding->rank; i++)
        parts *= sinter_sharding_axis_parts(dims, mesh, &sharding->dims[i].axes, whole->dims[i]);
    return parts;
}

sinter_shard_range sinter_sharding_range(const sinter_dim_symbol *symbol) {
    return (sinter_shard_range){.least = symbol->min > 0 ? symbol->min : 0,
                                .most = symbol->max == INT64_MAX ? 0 : symbol->max,
                                .multiple = symbol->multiple > 1 ? symbol->multiple : 0};
}

bool sinter_sharding_check_size(const sinter_sharding *sharding, uint32_t dim, int64_t size,
                                const char *where, sinter_diag *diag) {
    const sinter_shard_range *r = &sharding->dims[dim].range;
    if (size < r->least)
        return sinter_error(diag, where, "dim %u is %lld and must be at least %lld", dim,
                            (long long)size, (long long)r->least);
    if (r->most && size > r->most)
        return sinter_error(diag, where, "dim %u is %lld and must be at most %lld", dim,
                            (long long)size, (long long)r->most);
    if (r->multiple && size % r->multiple)
        return sinter_error(diag, where, "dim %u is %lld and must be a multiple of %lld", dim,
                            (long long)size, (long long)r->multiple);
    return true;
}

bool sinter_sharding_can_send(sinter_dtype dtype) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    return info->bits && info->class != SINTER_CLASS_STRING;
}

/* Of a byte or less floats have no sums of their own, and complex numbers are only stored. */
static bool can_add(sinter_dtype dtype) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    return info->class == SINTER_CLASS_INT || info->class == SINTER_CLASS_UINT ||
           (info->class == SINTER_CLASS_FLOAT && info->bits > 8);
}

bool sinter_sharding_check_send(sinter_module *module, sinter_node node, sinter_diag *diag) {
    if (!sinter_op_sends(sinter_node_op(module, node))) return true;
    sinter_dtype dtype = sinter_value_type(module, sinter_node_operand(module, node, 0))->dtype;
    const bool adds = sinter_op_adds(sinter_node_op(module, node));
    if (adds ? can_add(dtype) : sinter_sharding_can_send(dtype)) return true;
    return sinter_error(diag, sinter_node_where(module, node), "ranks can't %s elements of type %s",
                        adds ? "add" : "send each other", sinter_dtype_infos[dtype].name);
}

/* ---- text ---- */

/* 1..5 multiple 2, after `:?`; nothing: any. */
static bool read_range(sinter_lexer *lexer, sinter_shard_range *out_range) {
    const char *position = lexer->token.position;
    *out_range = (sinter_shard_range){0};
    if (lexer->token.kind == SINTER_TOKEN_INTEGER || sinter_lexer_is(lexer, "..")) {
        if (!sinter_lexer_expect_range(lexer, &out_range->least, &out_range->most)) return false;
        if (out_range->least < 0) out_range->least = 0;
        if (out_range->most < 1 || out_range->most < out_range->least)
            return sinter_lexer_error_at(lexer, position, "no size is in the range [shard_c5]");
        if (out_range->most == INT64_MAX) out_range->most = 0;
    }
    if (!sinter_lexer_accept(lexer, "multiple")) return true;
    position = lexer->token.position;
    return sinter_lexer_expect_integer(lexer, &out_range->multiple) &&
           (out_range->multiple > 0 ||
            sinter_lexer_error_at(lexer, position, "a multiple is at least 1 [shard_c5]"));
}

static void print_range(const sinter_shard_range *range, sinter_text *text) {
    if (range->least || range->most) sinter_text_format(text, "%lld..", (long long)range->least);
    if (range->most) sinter_text_format(text, "%lld", (long long)range->most);
    if (range->multiple > 1) sinter_text_format(text, " multiple %lld", (long long)range->multiple);
}

static bool read_axis(sinter_lexer *lexer, const sinter_mesh *mesh, uint32_t *out_axis) {
    sinter_string name = {0};
    const char *position = lexer->token.position;
    if (!sinter_lexer_expect_identifier(lexer, &name)) return false;
    int axis = sinter_mesh_find_axis(mesh, name);
    if (axis < 0)
        return sinter_lexer_error_at(lexer, position, "the mesh has no axis '%.*s' [shard_c2]",
                                     SINTER_STRING_ARGS(name));
    *out_axis = (uint32_t)axis;
    return true;
}

/* data*model?!1:5 */
static bool read_dim(sinter_lexer *lexer, const sinter_mesh *mesh, sinter_shard_dim *out_dim) {
    int64_t priority = 0;
    const char *position = lexer->token.position;
    *out_dim = (sinter_shard_dim){0};
    if (!sinter_lexer_is(lexer, "?") && !sinter_lexer_accept(lexer, "_")) do {
            uint32_t axis = 0;
            if (!read_axis(lexer, mesh, &axis)) return false;
            if (sinter_mesh_axes_have(&out_dim->axes, axis))
                return sinter_lexer_error_at(lexer, position,
                                             "a mesh axis stands twice [shard_c4]");
            sinter_mesh_axes_add(&out_dim->axes, axis);
        } while (sinter_lexer_accept(lexer, "*"));
    out_dim->is_open = sinter_lexer_accept(lexer, "?");
    if (sinter_lexer_accept(lexer, "!") && !sinter_lexer_expect_integer(lexer, &priority))
        return false;
    if (priority < 0 || priority > 1000)
        return sinter_lexer_error_at(lexer, position, "a priority is 0 to 1000 [shard_c7]");
    out_dim->priority = (uint32_t)priority;
    if (!sinter_lexer_accept(lexer, ":")) return true;
    if (sinter_lexer_accept(lexer, "?")) {
        out_dim->whole = SINTER_SHARD_WHOLE_OF_RUN;
        return read_range(lexer, &out_dim->range);
    }
    if (!sinter_lexer_expect_integer(lexer, &out_dim->whole) || out_dim->whole < 1)
        return sinter_lexer_error_at(lexer, position, "expected the size of the whole [shard_c5]");
    return true;
}

static bool read_mask(sinter_lexer *lexer, const sinter_mesh *mesh, const char *word,
                      uint32_t *out_mask) {
    *out_mask = 0;
    if (!sinter_lexer_accept(lexer, word)) return true;
    if (!sinter_lexer_expect(lexer, "(")) return false;
    do {
        uint32_t axis = 0;
        if (!read_axis(lexer, mesh, &axis)) return false;
        *out_mask |= 1u << axis;
    } while (sinter_lexer_accept(lexer, ","));
    return sinter_lexer_expect(lexer, ")");
}

bool sinter_sharding_read(sinter_lexer *lexer, const sinter_mesh *mesh, sinter_arena *arena,
                          sinter_sharding *out_sharding) {
    *out_sharding = (sinter_sharding){0};
    sinter_shard_dim dims[SINTER_MAX_RANK];
    if (!mesh->axis_count)
        return sinter_lexer_error(lexer, "a sharding needs a mesh at the top [shard_c2]");
    if (!sinter_lexer_expect(lexer, "shard") || !sinter_lexer_expect(lexer, "(")) return false;
    while (!sinter_lexer_is(lexer, ")")) {
        if (out_sharding->rank == SINTER_MAX_RANK)
            return sinter_lexer_error(lexer, "there are at most %d dims", SINTER_MAX_RANK);
        if (!read_dim(lexer, mesh, &dims[out_sharding->rank++])) return false;
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    if (!sinter_lexer_expect(lexer, ")") ||
        !read_mask(lexer, mesh, "partial", &out_sharding->partial) ||
        !read_mask(lexer, mesh, "replicated", &out_sharding->replicated))
        return false;
    out_sharding->dims = dims;
    *out_sharding = *sinter_sharding_copy(arena, out_sharding);
    return true;
}

static void print_mask(const sinter_mesh *mesh, const char *word, uint32_t mask,
                       sinter_text *text) {
    sinter_mesh_axes axes = sinter_mesh_axes_of(mask);
    if (!mask) return;
    sinter_text_format(text, " %s(", word);
    sinter_mesh_axes_print(mesh, &axes, ", ", text);
    sinter_text_append_string(text, ")");
}

void sinter_sharding_print(const sinter_mesh *mesh, const sinter_sharding *sharding,
                           sinter_text *text) {
    sinter_text_append_string(text, "shard(");
    for (uint32_t i = 0; i < sharding->rank; i++) {
        const sinter_shard_dim *dim = &sharding->dims[i];
        if (i) sinter_text_append_string(text, ", ");
        if (!dim->axes.count && !dim->is_open) sinter_text_append_string(text, "_");
        sinter_mesh_axes_print(mesh, &dim->axes, "*", text);
        if (dim->is_open) sinter_text_append_string(text, "?");
        if (dim->priority) sinter_text_format(text, "!%u", dim->priority);
        if (dim->whole > 0) sinter_text_format(text, ":%lld", (long long)dim->whole);
        if (dim->whole < 0) {
            sinter_text_append_string(text, ":?");
            print_range(&dim->range, text);
        }
    }
    sinter_text_append_string(text, ")");
    print_mask(mesh, "partial", sharding->partial, text);
    print_mask(mesh, "replicated", sharding->replicated, text);
}

/* ---- files of them ---- */

sinter_value sinter_sharding_find_value(const sinter_module *module, sinter_string name) {
    uint64_t value = 0;
    return sinter_map_find_string(&module->names, name, &value) ? (sinter_value)value : 0;
}

static bool read_line(sinter_module *module, sinter_lexer *lexer, sinter_map *said,
                      sinter_arena *scratch) {
    sinter_string name = {0};
    sinter_sharding sharding;
    const char *position = lexer->token.position;
    if (!sinter_lexer_expect_value(lexer, &name)) return false;
    sinter_value value = sinter_sharding_find_value(module, name);
    if (!value)
        return sinter_lexer_error_at(lexer, position, "the model has no value '%.*s'",
                                     SINTER_STRING_ARGS(name));
    uint64_t before = 0;
    if (sinter_map_find_string(said, name, &before))
        return sinter_lexer_error_at(lexer, position, "the sharding of '%.*s' is said twice",
                                     SINTER_STRING_ARGS(name));
    sinter_map_put_string(said, name, value);
    if (!sinter_sharding_read(lexer, sinter_module_mesh(module), scratch, &sharding)) return false;
    if (!sinter_sharding_check(module, &sharding, sinter_value_type(module, value),
                               sinter_lexer_where(lexer, position),
                               sinter_value_label(module, value), lexer->diag))
        return false;
    sinter_value_set_sharding(module, value, &sharding);
    return true;
}

static bool read_lines(sinter_module *module, sinter_lexer *lexer, sinter_arena *scratch) {
    if (sinter_lexer_accept(lexer, "mesh")) {
        sinter_mesh mesh;
        const char *position = lexer->token.position;
        if (!sinter_mesh_read(lexer, &mesh)) return false;
        const sinter_mesh *had = sinter_module_mesh(module);
        if (had->axis_count && !sinter_mesh_equal(had, &mesh))
            return sinter_lexer_error_at(lexer, position, "another mesh is given already");
        sinter_module_set_mesh(module, &mesh);
    }
    sinter_map said;
    sinter_map_init(&said, scratch);
    while (lexer->token.kind != SINTER_TOKEN_END)
        if (!read_line(module, lexer, &said, scratch)) return false;
    return true;
}

bool sinter_sharding_read_text(sinter_module *module, const char *path, const char *text,
                               size_t size, sinter_diag *diag) {
    sinter_arena scratch;
    sinter_lexer lexer;
    sinter_arena_init(&scratch);
    sinter_lexer_init(&lexer, path, text, size, &scratch, diag);
    bool good = read_lines(module, &lexer, &scratch);
    sinter_arena_deinit(&scratch);
    return good;
}

bool sinter_sharding_read_file(sinter_module *module, const char *path, sinter_diag *diag) {
    sinter_text text = {0};
    bool good = sinter_file_read_text(path, &text, diag) &&
                sinter_sharding_read_text(module, path, text.data, text.size, diag);
    sinter_text_deinit(&text);
    return good;
}
