/* Factors of a node and the mesh axes they get. Test: tests/passes/shard_propagate/ */
#include "passes/shard_factors.h"

#include <string.h>

/* ---- values ---- */

static void init_value(sinter_shard_state *state, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(state->module, value);
    sinter_shard_value *v = &state->values[value];
    if (info->erased || info->type.kind != SINTER_TYPE_TENSOR) return;
    v->sharding = SINTER_NEW(state->arena, sinter_sharding);
    v->origins = SINTER_NEW_ARRAY(state->arena, sinter_value, info->type.rank + 1);
    v->is_user = info->sharding != NULL;
    v->is_heard = v->is_user || !sinter_value_constant(state->module, value);
    *v->sharding = info->sharding ? *sinter_sharding_copy(state->arena, info->sharding)
                                  : sinter_sharding_whole(state->arena, info->type.rank, true);
    for (uint32_t i = 0; v->is_user && i < info->type.rank; i++)
        if (v->sharding->dims[i].axes.count) v->origins[i] = value;
}

/* What the compiler reads sizes from stays whole. */
static void keep_sizes_whole(sinter_shard_state *state) {
    sinter_dim_table *dims = sinter_module_dims(state->module);
    for (size_t i = 0; i < sinter_dim_symbol_count(dims); i++) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(dims, sinter_dim_symbol_at(dims, i));
        if (symbol->origin == SINTER_DIM_ORIGIN_INPUT ||
            symbol->value >= sinter_module_value_limit(state->module))
            continue;
        sinter_shard_value *v = &state->values[symbol->value];
        if (!v->sharding) continue;
        *v->sharding = sinter_sharding_whole(state->arena, v->sharding->rank, false);
        v->is_user = v->is_heard = false;
    }
}

void sinter_shard_state_init(sinter_shard_state *state, sinter_module *module,
                             sinter_arena *arena) {
    uint32_t limit = sinter_module_value_limit(module);
    *state = (sinter_shard_state){.module = module,
                                  .mesh = sinter_module_mesh(module),
                                  .arena = arena,
                                  .values = SINTER_NEW_ARRAY(arena, sinter_shard_value, limit)};
    for (sinter_value value = 1; value < limit; value++) init_value(state, value);
    keep_sizes_whole(state);
}

/* ---- factors ---- */

static const sinter_type *tensor_of(const sinter_shard_state *state, sinter_value value) {
    const sinter_type *type = value ? sinter_value_type(state->module, value) : NULL;
    return type && type->kind == SINTER_TYPE_TENSOR ? type : NULL;
}

static sinter_value value_at(const sinter_shard_state *state, sinter_node node, bool is_result,
                             uint32_t index) {
    return is_result ? sinter_node_result(state->module, node, index)
                     : sinter_node_operand(state->module, node, index);
}

static bool same_axis(const sinter_axis_link *a, const sinter_axis_link *b) {
    return a->is_result == b->is_result && a->index == b->index && a->axis == b->axis;
}

/* Windows become factors of their own: a part of the result is cut index by index, and what it needs of the operand is fetched. */
static void add_windows(const sinter_shard_state *state, sinter_axis_map *map) {
    for (size_t i = 0; i < map->windows.count; i++) {
        const sinter_axis_window *window = &map->windows.items[i];
        sinter_axis_factor factor = {.kind = SINTER_AXIS_ALONG, .size = window->size};
        sinter_axis_link link = {.factor = (uint32_t)map->factors.count,
                                 .index = window->index,
                                 .axis = window->axis,
                                 .run = 1,
                                 .blocks = 1,
                                 .window = window};
        sinter_vector_push(state->arena, &map->factors, factor);
        sinter_vector_push(state->arena, &map->links, link);
        link.is_result = true;
        link.index = 0;
        link.window = NULL;
        sinter_vector_push(state->arena, &map->links, link);
    }
}

/* Whether the factor is a digit of the axis, and not a stretch of it; its size is a number, or it is all there is. */
static bool is_digit(const sinter_shard_state *state, sinter_node node,
                     const sinter_axis_link *link, sinter_dim size) {
    const sinter_dim_table *dims = sinter_module_dims(state->module);
    const sinter_type *type = tensor_of(state, value_at(state, node, link->is_result, link->index));
    int64_t length = 0, count = 0;
    bool is_alone = !link->window && link->offset == 0 && link->run == 1 && link->blocks == 1;
    if (type && is_alone && type->dims[link->axis] == size) return true;
    if (link->window) return type && sinter_dim_is_const(dims, type->dims[link->axis], &length);
    return type && sinter_dim_is_const(dims, size, &count) && count > 0 &&
           sinter_dim_is_const(dims, type->dims[link->axis], &length) && link->offset == 0 &&
           count * link->run * link->blocks == length &&
           (link->blocks == 1 || link->period == count * link->run);
}

/* A factor that lies in two axes of one tensor is a diagonal. */
static bool lies_twice(const sinter_axis_map *map, const sinter_axis_link *link) {
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *other = &map->links.items[i];
        if (other != link && other->factor == link->factor && other->is_result == link->is_result &&
            other->index == link->index)
            return true;
    }
    return false;
}

bool sinter_shard_is_gates(const sinter_shard_node *n, const sinter_axis_link *link) {
    return n->map.factors.items[link->factor].kind == SINTER_AXIS_STEPWISE && link->blocks != 1;
}

/* What each part reads whole, or sums over, is whole on every rank. */
static void drop_whole(sinter_axis_map *map) {
    size_t count = 0;
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link link = map->links.items[i];
        bool is_inner = map->factors.items[link.factor].kind == SINTER_AXIS_INNER;
        if (!link.is_read_whole && !is_inner) map->links.items[count++] = link;
    }
    map->links.count = count;
}

void sinter_shard_describe(const sinter_shard_state *state, sinter_node node,
                           sinter_shard_node *out_node) {
    *out_node = (sinter_shard_node){0};
    sinter_axes_describe(state->module, node, state->arena, &out_node->map);
    drop_whole(&out_node->map);
    add_windows(state, &out_node->map);
    const sinter_axis_map *map = &out_node->map;
    out_node->usable = SINTER_NEW_ARRAY(state->arena, bool, map->factors.count + 1);
    out_node->cuts = SINTER_NEW_ARRAY(state->arena, sinter_mesh_axes, map->factors.count + 1);
    out_node->origins = SINTER_NEW_ARRAY(state->arena, sinter_value, map->factors.count + 1);
    for (size_t f = 0; f < map->factors.count; f++)
        out_node->usable[f] = map->factors.items[f].kind == SINTER_AXIS_ALONG ||
                              map->factors.items[f].kind == SINTER_AXIS_STEPWISE ||
                              map->factors.items[f].combine != SINTER_AXIS_COMBINE_NONE;
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        if (!is_digit(state, node, link, map->factors.items[link->factor].size) ||
            lies_twice(map, link))
            out_node->usable[link->factor] = false;
    }
}

/* Of two digits of an axis; one of size 1 has as many neighbours on either side. */
static bool is_outside(const sinter_axis_link *a, const sinter_axis_link *b) {
    return a->run != b->run ? a->run > b->run : a->blocks < b->blocks;
}

/* The links of an axis, outermost first; returns their number. */
static size_t list_links(const sinter_axis_map *map, const sinter_axis_link *like,
                         const sinter_axis_link **out_links) {
    size_t count = 0;
    for (size_t i = 0; i < map->links.count && count < SINTER_MAX_RANK * 2; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        if (!same_axis(link, like)) continue;
        size_t at = count++;
        for (; at > 0 && is_outside(link, out_links[at - 1]); at--)
            out_links[at] = out_links[at - 1];
        out_links[at] = link;
    }
    return count;
}

static int64_t factor_size(const sinter_shard_state *state, const sinter_shard_node *n,
                           uint32_t factor) {
    int64_t size = 0;
    sinter_dim_is_const(sinter_module_dims(state->module), n->map.factors.items[factor].size,
                        &size);
    return size;
}

/* How many of the mesh axes from `first` on the factor can take: any where it is alone in its axis, as far as they divide it
 * otherwise. */
static uint32_t count_taken(const sinter_shard_state *state, const sinter_mesh_axes *axes,
                            uint32_t first, int64_t size, bool alone) {
    uint32_t count = 0;
    if (alone) return axes->count - first;
    for (uint32_t i = first; i < axes->count; i++, count++) {
        int64_t ranks = state->mesh->axes[axes->items[i]].size;
        if (size % ranks) break;
        size /= ranks;
    }
    return count;
}

static bool is_covered(const sinter_shard_state *state, const sinter_mesh_axes *cut, int64_t size) {
    return sinter_mesh_axes_product(state->mesh, cut) == size;
}

/* ---- what is asked for ---- */

typedef struct claim {
    uint32_t factor;
    sinter_mesh_axes axes;
    sinter_value value, origin;
    uint32_t dim;
    int strength;
    uint64_t elements; /* of the origin */
} claim;
typedef SINTER_VECTOR(claim) claim_list;

static uint64_t count_elements(const sinter_shard_state *state, sinter_value value) {
    uint64_t count = 0;
    if (value)
        sinter_type_static_count(sinter_module_dims(state->module),
                                 sinter_value_type(state->module, value), &count);
    return count;
}

static bool is_stronger(const claim *a, const claim *b) {
    return a->strength != b->strength ? a->strength > b->strength : a->elements > b->elements;
}

static int strength_of(const sinter_shard_state *state, sinter_value origin, uint32_t priority) {
    int strength = origin && sinter_value_constant(state->module, origin) ? 2 : 1;
    return strength - 4 * (int)priority;
}

/* A dim's axes go to its factors from the outermost in. */
static void claim_axis(const sinter_shard_state *state, const sinter_shard_node *n,
                       const sinter_axis_link *like, sinter_value value, claim_list *claims) {
    const sinter_shard_value *v = &state->values[value];
    const sinter_shard_dim *dim = &v->sharding->dims[like->axis];
    const sinter_axis_link *links[SINTER_MAX_RANK * 2];
    size_t count = list_links(&n->map, like, links);
    uint32_t first = 0;
    for (size_t i = 0; i < count && first < dim->axes.count; i++) {
        uint32_t factor = links[i]->factor;
        int64_t size = factor_size(state, n, factor);
        bool gates = sinter_shard_is_gates(n, links[i]);
        bool alone = count == 1 && (links[i]->blocks == 1 || gates) && links[i]->run == 1;
        if (!n->usable[factor]) return;
        if (links[i]->blocks != 1 && i == 0 && !gates)
            return; /* something that is no factor lies around it */
        if (gates && !like->is_result && like->index == 0)
            return; /* products that a layer is given: cut as they are made, which is not by its units */
        uint32_t taken = count_taken(state, &dim->axes, first, size, alone);
        claim c = {.factor = factor,
                   .value = value,
                   .origin = v->origins[like->axis],
                   .dim = like->axis,
                   .elements = count_elements(state, v->origins[like->axis]),
                   .strength = strength_of(state, v->origins[like->axis], dim->priority)};
        for (uint32_t k = 0; k < taken; k++)
            sinter_mesh_axes_add(&c.axes, dim->axes.items[first + k]);
        first += taken;
        if (taken) sinter_vector_push(state->arena, claims, c);
        if (!is_covered(state, &c.axes, size)) return;
    }
}

static void collect_claims(const sinter_shard_state *state, sinter_node node,
                           const sinter_shard_node *n, claim_list *claims) {
    for (int is_result = 0; is_result < 2; is_result++)
        for (size_t i = 0; i < n->map.links.count; i++) {
            const sinter_axis_link *link = &n->map.links.items[i];
            sinter_value value = value_at(state, node, link->is_result, link->index);
            if (link->is_result != (is_result != 0) || !value || !state->values[value].sharding ||
                !state->values[value].is_heard)
                continue;
            bool seen = false;
            for (size_t k = 0; k < i; k++) seen = seen || same_axis(&n->map.links.items[k], link);
            if (!seen) claim_axis(state, n, link, value, claims);
        }
}

static void report_conflict(const sinter_shard_state *state, sinter_node node, const claim *lost,
                            const sinter_shard_node *n, uint32_t holder) {
    if (!state->report) return;
    sinter_text wanted = {0}, held = {0};
    sinter_mesh_axes_print(state->mesh, &lost->axes, "*", &wanted);
    sinter_mesh_axes_print(state->mesh, &n->cuts[holder], "*", &held);
    sinter_value origin = lost->origin ? lost->origin : lost->value;
    sinter_warning(state->report, sinter_node_where(state->module, node),
                   "dim %u of %s is to be cut over %s (said of %s), but the node is cut over %s "
                   "(said of %s)",
                   lost->dim, sinter_value_label(state->module, lost->value), wanted.data,
                   sinter_value_label(state->module, origin), held.data,
                   sinter_value_label(state->module, n->origins[holder]));
    sinter_text_deinit(&wanted);
    sinter_text_deinit(&held);
}

/* Extends the factor's axes to those of the claim, as far as no other factor has them. */
static void grant(const sinter_shard_state *state, sinter_node node, sinter_shard_node *n,
                  const claim *c) {
    sinter_mesh_axes *cut = &n->cuts[c->factor];
    for (uint32_t i = 0; i < c->axes.count; i++) {
        uint32_t axis = c->axes.items[i];
        if (i < cut->count) {
            if (cut->items[i] == axis) continue;
            report_conflict(state, node, c, n, c->factor);
            return;
        }
        for (uint32_t f = 0; f < n->map.factors.count; f++)
            if (f != c->factor && sinter_mesh_axes_have(&n->cuts[f], axis)) {
                report_conflict(state, node, c, n, f);
                return;
            }
        if (sinter_mesh_axes_have(cut, axis)) return;
        sinter_mesh_axes_add(cut, axis);
        n->origins[c->factor] = c->origin ? c->origin : c->value;
    }
}

bool sinter_shard_drop_unfit(const sinter_shard_state *state, sinter_shard_node *n) {
    bool good = true;
    for (size_t i = 0; i < n->map.links.count; i++) {
        const sinter_axis_link *links[SINTER_MAX_RANK * 2];
        size_t count = list_links(&n->map, &n->map.links.items[i], links);
        bool open = true;
        if (sinter_shard_is_gates(n, &n->map.links.items[i])) continue;
        for (size_t k = 0; k < count; k++) {
            sinter_mesh_axes *cut = &n->cuts[links[k]->factor];
            int64_t size = factor_size(state, n, links[k]->factor);
            bool alone = count == 1 && links[k]->blocks == 1 && links[k]->run == 1;
            int64_t ranks = sinter_mesh_axes_product(state->mesh, cut);
            bool fits = open && (k > 0 || links[k]->blocks == 1) && (alone || size % ranks == 0);
            if (cut->count && !fits) {
                *cut = (sinter_mesh_axes){0};
                good = false;
            }
            open = open && is_covered(state, cut, size);
        }
    }
    return good;
}

void sinter_shard_resolve(const sinter_shard_state *state, sinter_node node, sinter_shard_node *n) {
    claim_list claims = {0};
    memset(n->cuts, 0, n->map.factors.count * sizeof *n->cuts);
    collect_claims(state, node, n, &claims);
    for (size_t done = 0; done < claims.count; done++) {
        size_t best = done;
        for (size_t i = done + 1; i < claims.count; i++)
            if (is_stronger(&claims.items[i], &claims.items[best])) best = i;
        claim c = claims.items[best];
        memmove(&claims.items[done + 1], &claims.items[done], (best - done) * sizeof *claims.items);
        claims.items[done] = c;
        grant(state, node, n, &c);
    }
    while (!sinter_shard_drop_unfit(state, n)) {
    }
}

sinter_mesh_axes sinter_shard_project(const sinter_shard_state *state, const sinter_shard_node *n,
                                      bool is_result, uint32_t index, uint32_t axis,
                                      sinter_value *out_origin) {
    sinter_axis_link like = {.is_result = is_result, .index = index, .axis = axis};
    const sinter_axis_link *links[SINTER_MAX_RANK * 2];
    size_t count = list_links(&n->map, &like, links);
    sinter_mesh_axes axes = {0};
    *out_origin = 0;
    if (count && sinter_shard_is_gates(n, links[0])) return axes;
    for (size_t i = 0; i < count; i++) {
        const sinter_mesh_axes *cut = &n->cuts[links[i]->factor];
        for (uint32_t k = 0; k < cut->count; k++) sinter_mesh_axes_add(&axes, cut->items[k]);
        if (cut->count) *out_origin = n->origins[links[i]->factor];
        if (!is_covered(state, cut, factor_size(state, n, links[i]->factor))) break;
    }
    return axes;
}

sinter_sharding *sinter_shard_project_all(const sinter_shard_state *state,
                                          const sinter_shard_node *n, bool is_result,
                                          uint32_t index, uint32_t rank) {
    sinter_value origin;
    sinter_sharding whole = sinter_sharding_whole(state->arena, rank, false);
    for (uint32_t axis = 0; axis < rank; axis++)
        whole.dims[axis].axes = sinter_shard_project(state, n, is_result, index, axis, &origin);
    sinter_sharding *sharding = SINTER_NEW(state->arena, sinter_sharding);
    *sharding = whole;
    return sharding;
}

double sinter_shard_operand_parts(const sinter_shard_state *state, const sinter_shard_node *n,
                                  uint32_t index, const sinter_type *type) {
    const sinter_dim_table *dims = sinter_module_dims(state->module);
    double parts = 1;
    sinter_value origin;
    for (uint32_t axis = 0; axis < type->rank; axis++) {
        sinter_mesh_axes over = sinter_shard_project(state, n, false, index, axis, &origin);
        parts *= sinter_sharding_axis_parts(dims, state->mesh, &over, type->dims[axis]);
    }
    for (size_t i = 0; i < n->map.links.count; i++) {
        const sinter_axis_link *link = &n->map.links.items[i];
        if (!link->is_result && link->index == index && sinter_shard_is_gates(n, link))
            parts *= (double)sinter_mesh_axes_product(state->mesh, &n->cuts[link->factor]);
    }
    return parts;
}

sinter_mesh_axes sinter_shard_terms(const sinter_shard_node *n, sinter_axis_combine *out_combine) {
    sinter_mesh_axes axes = {0};
    *out_combine = SINTER_AXIS_COMBINE_NONE;
    for (size_t f = 0; f < n->map.factors.count; f++) {
        if (n->map.factors.items[f].kind == SINTER_AXIS_ALONG ||
            n->map.factors.items[f].kind == SINTER_AXIS_STEPWISE)
            continue;
        for (uint32_t k = 0; k < n->cuts[f].count; k++)
            sinter_mesh_axes_add(&axes, n->cuts[f].items[k]);
        if (n->cuts[f].count) *out_combine = n->map.factors.items[f].combine;
    }
    return axes;
}
