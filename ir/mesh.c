/* Meshes: coordinates, groups, parts of an axis, text. Test: tests/unit/mesh_test.c */
#include "ir/mesh.h"
#include "ir/graph_internal.h"

#include <string.h>

const sinter_mesh *sinter_module_mesh(const sinter_module *module) {
    static const sinter_mesh none = {.rank = -1};
    return module->mesh ? module->mesh : &none;
}

void sinter_module_set_mesh(sinter_module *module, const sinter_mesh *mesh) {
    sinter_mesh *copy = SINTER_NEW(&module->arena, sinter_mesh);
    *copy = *mesh;
    for (uint32_t i = 0; i < mesh->axis_count; i++)
        copy->axes[i].name = sinter_string_copy(&module->arena, mesh->axes[i].name);
    module->mesh = copy;
}

bool sinter_mesh_check(const sinter_mesh *mesh, const char *where, sinter_diag *diag) {
    int64_t ranks = 1;
    for (uint32_t i = 0; i < mesh->axis_count; i++) {
        const sinter_mesh_axis *axis = &mesh->axes[i];
        if (!sinter_string_is_identifier(axis->name) || axis->size < 1 ||
            axis->size > SINTER_MESH_MAX_RANKS / ranks)
            return sinter_error(diag, where,
                                "mesh axis '%.*s' of size %lld: expected a name, a size of at "
                                "least 1, and at most %d ranks in all [shard_c1]",
                                SINTER_STRING_ARGS(axis->name), (long long)axis->size,
                                SINTER_MESH_MAX_RANKS);
        if (sinter_mesh_find_axis(mesh, axis->name) != (int)i)
            return sinter_error(diag, where, "two mesh axes are named '%.*s' [shard_c1]",
                                SINTER_STRING_ARGS(axis->name));
        ranks *= axis->size;
    }
    if (mesh->rank >= ranks || mesh->rank < -1)
        return sinter_error(diag, where, "rank %lld of a mesh of %lld [shard_c1]",
                            (long long)mesh->rank, (long long)ranks);
    return true;
}

int64_t sinter_mesh_rank_count(const sinter_mesh *mesh) {
    int64_t count = 1;
    for (uint32_t i = 0; i < mesh->axis_count; i++) count *= mesh->axes[i].size;
    return count;
}

int sinter_mesh_find_axis(const sinter_mesh *mesh, sinter_string name) {
    for (uint32_t i = 0; i < mesh->axis_count; i++)
        if (sinter_string_equal(mesh->axes[i].name, name)) return (int)i;
    return -1;
}

/* Ranks between neighbours along an axis. */
static int64_t stride(const sinter_mesh *mesh, uint32_t axis) {
    int64_t product = 1;
    for (uint32_t i = axis + 1; i < mesh->axis_count; i++) product *= mesh->axes[i].size;
    return product;
}

int64_t sinter_mesh_coordinate(const sinter_mesh *mesh, int64_t rank, uint32_t axis) {
    return rank / stride(mesh, axis) % mesh->axes[axis].size;
}

bool sinter_mesh_equal(const sinter_mesh *a, const sinter_mesh *b) {
    if (a->axis_count != b->axis_count) return false;
    for (uint32_t i = 0; i < a->axis_count; i++)
        if (a->axes[i].size != b->axes[i].size ||
            !sinter_string_equal(a->axes[i].name, b->axes[i].name))
            return false;
    return true;
}

/* ---- some of the axes ---- */

bool sinter_mesh_axes_have(const sinter_mesh_axes *axes, uint32_t axis) {
    return sinter_mesh_axes_mask(axes) >> axis & 1;
}

bool sinter_mesh_axes_equal(const sinter_mesh_axes *a, const sinter_mesh_axes *b) {
    return a->count == b->count && !memcmp(a->items, b->items, a->count);
}

void sinter_mesh_axes_add(sinter_mesh_axes *axes, uint32_t axis) {
    axes->items[axes->count++] = (uint8_t)axis;
}

uint32_t sinter_mesh_axes_mask(const sinter_mesh_axes *axes) {
    uint32_t mask = 0;
    for (uint32_t i = 0; i < axes->count; i++) mask |= 1u << axes->items[i];
    return mask;
}

sinter_mesh_axes sinter_mesh_axes_of(uint32_t mask) {
    sinter_mesh_axes axes = {0};
    for (uint32_t i = 0; i < SINTER_MESH_MAX_AXES; i++)
        if (mask >> i & 1) sinter_mesh_axes_add(&axes, i);
    return axes;
}

uint32_t sinter_mesh_axes_common(const sinter_mesh_axes *a, const sinter_mesh_axes *b) {
    uint32_t count = 0;
    while (count < a->count && count < b->count && a->items[count] == b->items[count]) count++;
    return count;
}

int64_t sinter_mesh_axes_product(const sinter_mesh *mesh, const sinter_mesh_axes *axes) {
    int64_t product = 1;
    for (uint32_t i = 0; i < axes->count; i++) product *= mesh->axes[axes->items[i]].size;
    return product;
}

bool sinter_mesh_axes_named(const sinter_mesh *mesh, const sinter_string *names, size_t count,
                            sinter_mesh_axes *out_axes) {
    *out_axes = (sinter_mesh_axes){0};
    for (size_t i = 0; i < count; i++) {
        int axis = sinter_mesh_find_axis(mesh, names[i]);
        if (axis < 0 || sinter_mesh_axes_have(out_axes, (uint32_t)axis)) return false;
        sinter_mesh_axes_add(out_axes, (uint32_t)axis);
    }
    return true;
}

bool sinter_node_get_mesh_axes(const sinter_module *module, sinter_node node,
                               sinter_mesh_axes *out_axes) {
    const sinter_attr *over = sinter_node_find_attr(module, node, "over");
    return over && over->kind == SINTER_ATTR_STRINGS &&
           sinter_mesh_axes_named(sinter_module_mesh(module), over->strings.items,
                                  over->strings.count, out_axes);
}

bool sinter_node_exchanges(const sinter_module *module, sinter_node node) {
    sinter_op op = sinter_node_op(module, node);
    return sinter_op_sends(op) || (sinter_op_get_info(op)->pattern != SINTER_PATTERN_COLLECTIVE &&
                                   sinter_node_find_attr(module, node, "over"));
}

bool sinter_node_sends(const sinter_module *module, sinter_node node) {
    return sinter_module_mesh(module)->rank >= 0 && sinter_module_mesh(module)->axis_count &&
           sinter_node_exchanges(module, node);
}

sinter_node sinter_node_find_wait(const sinter_module *module, sinter_node node) {
    const sinter_value result = sinter_node_result(module, node, 0);
    if (!sinter_op_sends(sinter_node_op(module, node)) || !sinter_value_has_one_use(module, result))
        return 0;
    sinter_node user = sinter_value_get(module, result)->uses.items[0].node;
    return sinter_node_op(module, user) == SINTER_OP_collective_wait ? user : 0;
}

int64_t sinter_mesh_place(const sinter_mesh *mesh, const sinter_mesh_axes *axes, int64_t rank) {
    int64_t place = 0;
    for (uint32_t i = 0; i < axes->count; i++)
        place = place * mesh->axes[axes->items[i]].size +
                sinter_mesh_coordinate(mesh, rank, axes->items[i]);
    return place;
}

int64_t sinter_mesh_rank_at(const sinter_mesh *mesh, const sinter_mesh_axes *axes, int64_t rank,
                            int64_t place) {
    for (uint32_t i = axes->count; i-- > 0;) {
        uint32_t axis = axes->items[i];
        int64_t size = mesh->axes[axis].size;
        int64_t change = place % size - sinter_mesh_coordinate(mesh, rank, axis);
        rank += change * stride(mesh, axis);
        place /= size;
    }
    return rank;
}

sinter_mesh_part sinter_mesh_part_of(const sinter_mesh *mesh, const sinter_mesh_axes *axes,
                                     int64_t size, int64_t rank) {
    sinter_mesh_part part = {.valid = size, .chunk = size};
    for (uint32_t i = 0; i < axes->count; i++) {
        int64_t count = mesh->axes[axes->items[i]].size;
        int64_t begin = sinter_mesh_coordinate(mesh, rank, axes->items[i]);
        part.chunk = part.chunk / count + (part.chunk % count != 0);
        begin *= part.chunk;
        part.offset += begin;
        part.valid = part.valid < begin ? 0 : part.valid - begin;
        if (part.valid > part.chunk) part.valid = part.chunk;
    }
    return part;
}

/* ---- text ---- */

bool sinter_mesh_read(sinter_lexer *lexer, sinter_mesh *out_mesh) {
    const char *position = lexer->token.position;
    *out_mesh = (sinter_mesh){.rank = -1};
    do {
        sinter_mesh_axis axis = {0};
        if (out_mesh->axis_count == SINTER_MESH_MAX_AXES)
            return sinter_lexer_error(lexer, "a mesh has at most %d axes [shard_c1]",
                                      SINTER_MESH_MAX_AXES);
        if (!sinter_lexer_expect_identifier(lexer, &axis.name)) return false;
        if (!sinter_lexer_accept(lexer, ":") && !sinter_lexer_accept(lexer, "="))
            return sinter_lexer_error_expected(lexer, "':' or '=', and the size of the axis");
        if (!sinter_lexer_expect_integer(lexer, &axis.size)) return false;
        out_mesh->axes[out_mesh->axis_count++] = axis;
    } while (sinter_lexer_accept(lexer, ","));
    if (sinter_lexer_accept(lexer, "rank") && !sinter_lexer_expect_integer(lexer, &out_mesh->rank))
        return false;
    return sinter_mesh_check(out_mesh, sinter_lexer_where(lexer, position), lexer->diag);
}

bool sinter_mesh_parse(const char *text, const char *where, sinter_arena *arena,
                       sinter_mesh *out_mesh, sinter_diag *diag) {
    sinter_lexer lexer;
    sinter_lexer_init(&lexer, where, sinter_arena_copy_string(arena, text, strlen(text)),
                      strlen(text), arena, diag);
    if (!sinter_mesh_read(&lexer, out_mesh)) return false;
    return lexer.token.kind == SINTER_TOKEN_END ||
           sinter_lexer_error_expected(&lexer, "',' or the end");
}

void sinter_mesh_print(const sinter_mesh *mesh, sinter_text *text) {
    for (uint32_t i = 0; i < mesh->axis_count; i++)
        sinter_text_format(text, "%s%.*s=%lld", i ? ", " : "",
                           SINTER_STRING_ARGS(mesh->axes[i].name), (long long)mesh->axes[i].size);
    if (mesh->rank >= 0) sinter_text_format(text, " rank %lld", (long long)mesh->rank);
}

void sinter_mesh_axes_print(const sinter_mesh *mesh, const sinter_mesh_axes *axes,
                            const char *between, sinter_text *text) {
    for (uint32_t i = 0; i < axes->count; i++)
        sinter_text_format(text, "%s%.*s", i ? between : "",
                           SINTER_STRING_ARGS(mesh->axes[axes->items[i]].name));
}
