/* The program of one rank, the same text for all: every value becomes the part that its sharding leaves to a rank, nodes work on
 * parts, and collectives stand where a node needs other parts than there are. A node is cut as its factors allow
 * (passes/shard_factors.h); what it can't be cut along it gets whole. Where an axis is not a multiple of the ranks, parts
 * are padded, and what pads is masked before anything sums over it. Inputs and outputs are parts, too; their shardings say how
 * large the whole is.
 *
 * An axis whose size is the symbol of an input may be cut if every axis of that size is, over the same mesh axes, and nothing sums over it,
 * moves it or reads the size: then the program of a rank is that of the whole, on fewer indices, and the symbol is its part of them.
 * Needs: shardings as shard-propagate leaves them; sizes of other cut axes are numbers. Test: tests/passes/shard_partition/,
 * tests/suites/shard_values.py */
#include "ir/infer.h"
#include "passes/pass.h"
#include "passes/shard_build.h"
#include "passes/shard_symbols.h"

typedef struct version {
    sinter_value value;
    const sinter_sharding *sharding;
} version;
typedef SINTER_VECTOR(version) version_list;

typedef struct partition {
    sinter_shard_state state;
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_arena *arena;
    sinter_shard_node **nodes; /* by id */
    SINTER_VECTOR(sinter_node) order;
    uint32_t value_limit;   /* values from here on are new: the same on all ranks */
    sinter_type *whole;     /* by value: its type before */
    version_list *versions; /* by value: what there is of it */
    sinter_node at;         /* whose sizes are stated anew */
    sinter_shard_symbols symbols;
    sinter_shard_range *ranges; /* by index of a symbol that is cut: of the whole */
} partition;

/* ---- sizes that are symbols ---- */

static bool refuse_size(const partition *p, const char *where, sinter_value value, uint32_t dim,
                        const char *why) {
    return sinter_error(p->rewrite->build.diag, where,
                        "dim %u of %s is cut but its size is no number%s; bind it (--dim "
                        "NAME=SIZE) [shard_c6]",
                        dim, sinter_value_label(p->module, value), why);
}

/* What a rank has of the axis; 0 where that is not known. */
static sinter_dim part_dim(const partition *p, const sinter_shard_dim *cut, sinter_dim size) {
    const sinter_mesh_axes *axes = sinter_shard_symbol_axes(&p->symbols, size);
    if (axes->count && sinter_mesh_axes_equal(axes, &cut->axes)) return size;
    return sinter_sharding_part_dim(p->module, cut, size);
}

/* Whether all axes of a version of the value that have a cut symbol in their size are cut like it. */
static bool check_version(const partition *p, const char *where, sinter_value value,
                          const sinter_sharding *sharding, const char *why) {
    uint32_t unfit = sinter_shard_find_unfit_symbol(&p->symbols, &p->whole[value], sharding);
    return unfit == p->whole[value].rank || refuse_size(p, where, value, unfit, why);
}

/* One that a node wants or leaves. */
static bool check_node(const partition *p, sinter_node node, sinter_value value,
                       const sinter_sharding *sharding) {
    return check_version(p, sinter_node_where(p->module, node), value, sharding,
                         ", and this node needs all of it");
}

/* Sizes as numbers in the program would be those of parts: nothing but views may read them. */
static bool check_content(const partition *p, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(p->module, value);
    bool has = false;
    for (uint32_t i = 0; i < info->content_count; i++)
        has = has || sinter_shard_has_symbol(&p->symbols, info->content[i]);
    for (size_t i = 0; has && i < info->uses.count; i++) {
        sinter_node node = info->uses.items[i].node;
        sinter_value result = sinter_node_result(p->module, node, 0);
        sinter_pattern pattern = sinter_op_get_info(sinter_node_op(p->module, node))->pattern;
        if ((result && sinter_value_get(p->module, result)->content_count) ||
            (pattern == SINTER_PATTERN_VIEW && info->uses.items[i].operand > 0))
            continue;
        return sinter_error(p->rewrite->build.diag, sinter_node_where(p->module, node),
                            "reads a size that is cut and no number; bind it (--dim NAME=SIZE) "
                            "[shard_c6]");
    }
    return true;
}

/* A rank has its part of each symbol that is cut, and so of what bounds it. What the whole may be is said of inputs. */
static void divide_symbols(partition *p) {
    sinter_dim_table *dims = sinter_module_dims(p->module);
    size_t count = sinter_dim_symbol_count(dims);
    p->ranges = SINTER_NEW_ARRAY(p->arena, sinter_shard_range, count + 1);
    for (size_t i = 0; i < count; i++) {
        sinter_dim_symbol *symbol = sinter_dim_get_symbol(dims, sinter_dim_symbol_at(dims, i));
        if (!p->symbols.axes[i].count) continue;
        int64_t ranks = sinter_mesh_axes_product(p->state.mesh, &p->symbols.axes[i]);
        p->ranges[i] = sinter_sharding_range(symbol);
        if (symbol->min > 0) symbol->min = (symbol->min - 1) / ranks + 1;
        if (symbol->max > 0 && symbol->max < INT64_MAX) symbol->max = (symbol->max - 1) / ranks + 1;
        symbol->multiple = symbol->multiple % ranks ? 1 : symbol->multiple / ranks;
    }
}

static bool find_symbols(partition *p) {
    sinter_shard_find_symbols(&p->state, true, &p->symbols);
    divide_symbols(p);
    for (sinter_value value = 1; value < p->value_limit; value++)
        if (!sinter_value_get(p->module, value)->erased && !check_content(p, value)) return false;
    return true;
}

/* ---- sizes that nodes state ---- */

static const bool *kept(void *user, bool is_result, uint32_t index, uint32_t axis) {
    const partition *p = user;
    const sinter_mesh *mesh = p->state.mesh;
    sinter_value origin, value = is_result ? sinter_node_result(p->module, p->at, index)
                                           : sinter_node_operand(p->module, p->at, index);
    int64_t size = 0;
    sinter_mesh_axes cut =
        sinter_shard_project(&p->state, p->nodes[p->at], is_result, index, axis, &origin);
    if (!cut.count || !value || value >= p->value_limit ||
        !sinter_dim_is_const(sinter_module_dims(p->module), p->whole[value].dims[axis], &size))
        return NULL;
    bool *marks = SINTER_NEW_ARRAY(p->arena, bool, size + 1);
    int64_t chunk = sinter_mesh_part_of(mesh, &cut, size, 0).chunk;
    for (int64_t i = 0; i < chunk && i < size; i++) marks[i] = true;
    return marks;
}

/* What windows fetch is padded already. */
static bool unpad(partition *p, sinter_node node) {
    const sinter_shard_node *n = p->nodes[node];
    bool marks[SINTER_MAX_RANK] = {false}, any = false;
    for (size_t i = 0; i < n->map.links.count; i++) {
        const sinter_axis_link *link = &n->map.links.items[i];
        if (!link->window || !n->cuts[link->factor].count) continue;
        marks[link->axis] = any = true;
    }
    return !any || sinter_axes_unpad(p->rewrite, node, marks) ||
           sinter_error(p->rewrite->build.diag, sinter_node_where(p->module, node),
                        "pads an axis of open size by auto_pad, with strides, and another axis is "
                        "cut; bind the size (--dim NAME=SIZE) [shard_c6]");
}

/* While types are still those of whole values. */
static bool plan_nodes(partition *p) {
    sinter_region main = sinter_module_main(p->module);
    const sinter_axes_cut cut = {p, kept};
    SINTER_FOR_NODES (p->module, main, node) {
        sinter_vector_push(p->arena, &p->order, node);
        p->nodes[node] = SINTER_NEW(p->arena, sinter_shard_node);
        sinter_shard_describe(&p->state, node, p->nodes[node]);
        sinter_shard_resolve(&p->state, node, p->nodes[node]);
    }
    for (size_t i = 0; i < p->order.count; i++) {
        p->at = p->order.items[i];
        sinter_rewrite_at(p->rewrite, p->at);
        if (!sinter_axes_shrink(p->rewrite, p->at, &cut)) return false;
        if (!unpad(p, p->at)) return false;
    }
    return true;
}

/* ---- values ---- */

static void add_version(partition *p, sinter_value of, sinter_value value,
                        const sinter_sharding *sharding) {
    version v = {value, sharding};
    sinter_vector_push(p->arena, &p->versions[of], v);
}

/* The value as a part by `wanted`; made where there is none. */
static sinter_value find_version(partition *p, sinter_value of, const sinter_sharding *wanted) {
    version_list *list = &p->versions[of];
    const version *best = NULL;
    for (size_t i = 0; i < list->count; i++)
        if (sinter_sharding_equal(list->items[i].sharding, wanted)) return list->items[i].value;
    for (size_t i = 0; i < list->count; i++) {
        const version *v = &list->items[i];
        if (!best || sinter_shard_convert_is_local(v->sharding, wanted) ||
            (best->sharding->partial && !v->sharding->partial &&
             !sinter_shard_convert_is_local(best->sharding, wanted)))
            best = v;
    }
    sinter_value value = sinter_shard_convert(&p->rewrite->build, best->value, &p->whole[of],
                                              best->sharding, wanted);
    if (value) add_version(p, of, value, sinter_sharding_copy(p->arena, wanted));
    return value;
}

static sinter_sharding *projected(const partition *p, sinter_node node, bool is_result,
                                  uint32_t index, uint32_t rank) {
    return sinter_shard_project_all(&p->state, p->nodes[node], is_result, index, rank);
}

static bool is_tensor(const partition *p, sinter_value value) {
    return value && value < p->value_limit && p->whole[value].kind == SINTER_TYPE_TENSOR;
}

/* ---- what pads ---- */

static sinter_value mask(partition *p, sinter_node node, uint32_t index, sinter_value of,
                         sinter_value part, const sinter_sharding *sharding) {
    const char *fill;
    for (uint32_t axis = 0; part && axis < sharding->rank; axis++) {
        const sinter_mesh_axes *over = &sharding->dims[axis].axes;
        int64_t size = 0;
        if (!over->count ||
            !sinter_shard_sees_padding(&p->state, node, p->nodes[node], index, axis, &fill))
            continue;
        if (sinter_shard_symbol_axes(&p->symbols, p->whole[of].dims[axis])->count) {
            refuse_size(p, sinter_node_where(p->module, node), of, axis,
                        ", and this node sums over it or looks into it");
            return 0;
        }
        sinter_dim_is_const(sinter_module_dims(p->module), p->whole[of].dims[axis], &size);
        if (size % sinter_mesh_axes_product(p->state.mesh, over) == 0) continue;
        sinter_attr attributes[] = {sinter_attr_int("axis", axis), sinter_attr_int("size", size),
                                    sinter_attr_string("fill", sinter_string_of(fill))};
        part =
            sinter_shard_build(&p->rewrite->build, SINTER_OP_shard_mask, part, over, attributes, 3);
    }
    return part;
}

/* ---- what windows read ---- */

static int64_t size_of(const partition *p, sinter_value value, uint32_t axis) {
    int64_t size = 0;
    sinter_dim_is_const(sinter_module_dims(p->module), p->whole[value].dims[axis], &size);
    return size;
}

/* A part of an operand becomes what the windows of this rank read of it, neighbours' indices and padding too. */
static sinter_value fetch(partition *p, sinter_node node, uint32_t index, sinter_value of,
                          sinter_value part) {
    const sinter_shard_node *n = p->nodes[node];
    sinter_value result = sinter_node_result(p->module, node, 0);
    for (size_t i = 0; part && i < n->map.links.count; i++) {
        const sinter_axis_link *link = &n->map.links.items[i];
        const sinter_axis_window *window = link->window;
        if (!window || link->index != index || !n->cuts[link->factor].count) continue;
        sinter_attr attributes[] = {sinter_attr_int("axis", window->axis),
                                    sinter_attr_int("size", size_of(p, of, window->axis)),
                                    sinter_attr_int("windows", size_of(p, result, window->axis)),
                                    sinter_attr_int("stride", window->stride),
                                    sinter_attr_int("reach", window->reach),
                                    sinter_attr_int("before", window->before),
                                    sinter_attr_string("fill", sinter_string_of(window->fill))};
        part = sinter_shard_build(&p->rewrite->build, SINTER_OP_shard_window, part,
                                  &n->cuts[link->factor], attributes, 7);
    }
    return part;
}

/* ---- recurrences ---- */

/* Axis `axis` of x as (blocks, units). A constant stays one, so that a rank can be given its part of it. */
static sinter_value split_blocks(partition *p, sinter_value x, uint32_t axis, int64_t blocks,
                                 int64_t units) {
    sinter_builder *build = &p->rewrite->build;
    sinter_dim_table *table = sinter_module_dims(p->module);
    const sinter_type *type = sinter_value_type(p->module, x);
    const sinter_tensor *constant = sinter_value_constant(p->module, x);
    sinter_dim dims[SINTER_MAX_RANK];
    if (type->rank == SINTER_MAX_RANK) {
        sinter_error(build->diag, sinter_module_name(p->module),
                     "gates of a tensor of %u axes can't be cut", type->rank);
        return 0;
    }
    for (uint32_t i = 0; i < type->rank; i++) dims[i + (i > axis)] = type->dims[i];
    dims[axis] = sinter_dim_const(table, blocks);
    dims[axis + 1] = sinter_dim_const(table, units);
    if (constant) {
        sinter_tensor split;
        sinter_tensor_copy(&split, constant);
        split.rank = constant->rank + 1;
        for (uint32_t i = constant->rank; i > axis; i--) split.dims[i] = split.dims[i - 1];
        split.dims[axis] = blocks;
        split.dims[axis + 1] = units;
        return sinter_build_constant(build, split);
    }
    sinter_value operands[] = {x, sinter_build_dims(build, dims, type->rank + 1)};
    return sinter_build(build, SINTER_OP_reshape, operands, 2, NULL, 0);
}

/* Of an operand that has units once a gate, this rank's units in every gate. */
static sinter_value cut_gates(partition *p, sinter_node node, uint32_t index, sinter_value part) {
    const sinter_shard_node *n = p->nodes[node];
    sinter_builder *build = &p->rewrite->build;
    sinter_dim_table *table = sinter_module_dims(p->module);
    for (size_t i = 0; part && i < n->map.links.count; i++) {
        const sinter_axis_link *link = &n->map.links.items[i];
        if (link->is_result || link->index != index || !n->cuts[link->factor].count ||
            !sinter_shard_is_gates(n, link))
            continue;
        sinter_attr attr = sinter_attr_int("axis", link->axis + 1);
        part = split_blocks(p, part, link->axis, link->blocks, link->period);
        part = sinter_shard_build(build, SINTER_OP_shard_slice, part, &n->cuts[link->factor], &attr,
                                  1);
        if (!part) return 0;
        const sinter_type *type = sinter_value_type(p->module, part);
        sinter_dim dims[SINTER_MAX_RANK];
        for (uint32_t k = 0; k + 1 < type->rank; k++) dims[k] = type->dims[k + (k > link->axis)];
        dims[link->axis] =
            sinter_dim_mul(table, type->dims[link->axis], type->dims[link->axis + 1]);
        sinter_value operands[] = {part, sinter_build_dims(build, dims, type->rank - 1)};
        part = sinter_build(build, SINTER_OP_reshape, operands, 2, NULL, 0);
    }
    return part;
}

/* A node whose units are cut exchanges them itself. */
static void say_over(partition *p, sinter_node node) {
    const sinter_shard_node *n = p->nodes[node];
    sinter_string names[SINTER_MESH_MAX_AXES];
    for (size_t f = 0; f < n->map.factors.count; f++) {
        const sinter_mesh_axes *cut = &n->cuts[f];
        if (n->map.factors.items[f].kind != SINTER_AXIS_STEPWISE || !cut->count) continue;
        for (uint32_t i = 0; i < cut->count; i++)
            names[i] = p->state.mesh->axes[cut->items[i]].name;
        sinter_attr attr = sinter_attr_strings("over", names, cut->count);
        sinter_rewrite_set_attr(p->rewrite, node, &attr);
    }
}

/* ---- nodes ---- */

static bool give_operands(partition *p, sinter_node node) {
    sinter_node_info info = *sinter_node_get(p->module, node);
    sinter_axis_combine combine;
    sinter_mesh_axes terms = sinter_shard_terms(p->nodes[node], &combine);
    for (uint32_t i = 0; i < info.operand_count; i++) {
        sinter_value value = info.operands[i];
        if (!is_tensor(p, value)) continue;
        const sinter_sharding *wanted = projected(p, node, false, i, p->whole[value].rank);
        if (!check_node(p, node, value, wanted)) return false;
        sinter_value part = find_version(p, value, wanted);
        part = fetch(p, node, i, value, mask(p, node, i, value, part, wanted));
        part = cut_gates(p, node, i, part);
        if (terms.count && i == p->nodes[node]->map.addend && i > 0)
            part = sinter_shard_build(&p->rewrite->build, SINTER_OP_shard_first, part, &terms, NULL,
                                      0);
        if (!part) return false;
        if (part != value) sinter_rewrite_set_operand(p->rewrite, node, i, part);
    }
    return true;
}

/* Nodes inside of others see whole values. */
static bool give_inside(partition *p, sinter_region region) {
    SINTER_FOR_NODES (p->module, region, node) {
        sinter_node_info info = *sinter_node_get(p->module, node);
        for (uint32_t i = 0; i < info.operand_count; i++) {
            sinter_value value = info.operands[i];
            if (!is_tensor(p, value) || !p->versions[value].count) continue;
            sinter_sharding whole = sinter_sharding_whole(p->arena, p->whole[value].rank, false);
            if (!check_node(p, node, value, &whole)) return false;
            sinter_value part = find_version(p, value, &whole);
            if (!part) return false;
            if (part != value) sinter_rewrite_set_operand(p->rewrite, node, i, part);
        }
        for (uint32_t i = 0; i < info.region_count; i++)
            if (!give_inside(p, info.regions[i])) return false;
    }
    return true;
}

static bool is_cut(const partition *p, sinter_node node) {
    const sinter_shard_node *n = p->nodes[node];
    for (size_t f = 0; f < n->map.factors.count; f++)
        if (n->cuts[f].count) return true;
    return false;
}

static bool has_part_type(partition *p, sinter_value value, const sinter_sharding *sharding) {
    const sinter_type *type = sinter_value_type(p->module, value), *whole = &p->whole[value];
    bool same =
        type->kind == whole->kind && type->dtype == whole->dtype && type->rank == whole->rank;
    for (uint32_t i = 0; same && i < whole->rank; i++)
        same = type->dims[i] == part_dim(p, &sharding->dims[i], whole->dims[i]);
    return same;
}

/* Types of the results are those of parts now. */
static bool infer_again(partition *p, sinter_node node) {
    sinter_node_info info = *sinter_node_get(p->module, node);
    for (uint32_t i = 0; i < info.result_count; i++) {
        if (!info.results[i]) continue;
        sinter_value_set_type(p->module, info.results[i], (sinter_type){0});
        sinter_value_set_content(p->module, info.results[i], NULL, 0);
    }
    if (!sinter_infer_node(p->module, node, p->rewrite->build.diag)) return false;
    for (uint32_t i = 0; i < info.result_count; i++) {
        if (!is_tensor(p, info.results[i])) continue;
        const sinter_sharding *sharding =
            projected(p, node, true, i, p->whole[info.results[i]].rank);
        if (!has_part_type(p, info.results[i], sharding))
            return sinter_error(
                p->rewrite->build.diag, sinter_node_where(p->module, node),
                "%s of parts is %s, which is no part of %s", sinter_op_get_info(info.op)->name,
                sinter_type_text(sinter_module_dims(p->module),
                                 sinter_value_type(p->module, info.results[i]), p->arena),
                sinter_type_text(sinter_module_dims(p->module), &p->whole[info.results[i]],
                                 p->arena));
    }
    return true;
}

/* Results as they come, and as their sharding wants them. */
static bool take_results(partition *p, sinter_node node, sinter_node next) {
    static const char *const reductions[] = {"", "sum", "prod", "max", "min"};
    sinter_node_info info = *sinter_node_get(p->module, node);
    sinter_axis_combine combine;
    sinter_mesh_axes terms = sinter_shard_terms(p->nodes[node], &combine);
    sinter_rewrite_at(p->rewrite, next);
    p->rewrite->build.location = info.location;
    for (uint32_t i = 0; i < info.result_count; i++) {
        sinter_value value = info.results[i], part = value;
        if (!is_tensor(p, value)) continue;
        sinter_sharding *natural = projected(p, node, true, i, p->whole[value].rank);
        if (!check_node(p, node, value, natural)) return false;
        if (combine == SINTER_AXIS_COMBINE_SUM) natural->partial = sinter_mesh_axes_mask(&terms);
        if (combine > SINTER_AXIS_COMBINE_SUM) {
            sinter_attr attr =
                sinter_attr_string("reduction", sinter_string_of(reductions[combine]));
            part = sinter_shard_build(&p->rewrite->build, SINTER_OP_all_reduce, value, &terms,
                                      &attr, 1);
        }
        if (!part) return false;
        add_version(p, value, part, natural);
        const sinter_sharding *said = p->state.values[value].sharding;
        if (sinter_value_get(p->module, value)->uses.count && !find_version(p, value, said))
            return false;
    }
    return true;
}

static bool cut_node(partition *p, sinter_node node, sinter_node next) {
    sinter_node_info info = *sinter_node_get(p->module, node);
    if (info.op == SINTER_OP_constant) {
        sinter_sharding whole =
            sinter_sharding_whole(p->arena, p->whole[info.results[0]].rank, false);
        add_version(p, info.results[0], info.results[0], sinter_sharding_copy(p->arena, &whole));
        return true;
    }
    sinter_rewrite_at(p->rewrite, node);
    if (!give_operands(p, node)) return false;
    for (uint32_t i = 0; i < info.region_count; i++)
        if (!give_inside(p, info.regions[i])) return false;
    say_over(p, node);
    if (is_cut(p, node) && !infer_again(p, node)) return false;
    return take_results(p, node, next);
}

/* ---- inputs and outputs ---- */

/* Words for a part: what the whole was. */
static void say_part(partition *p, sinter_value value, const sinter_type *whole,
                     const sinter_sharding *sharding) {
    const sinter_dim_table *dims = sinter_module_dims(p->module);
    sinter_sharding *said = sinter_sharding_copy(p->arena, sharding);
    bool any = sharding->partial != 0;
    for (uint32_t i = 0; i < said->rank; i++) {
        said->dims[i].is_open = false;
        if (!said->dims[i].axes.count) continue;
        if (!sinter_dim_is_const(dims, whole->dims[i], &said->dims[i].whole)) {
            said->dims[i].whole = SINTER_SHARD_WHOLE_OF_RUN;
            said->dims[i].range = p->ranges[sinter_dim_symbol_index(dims, whole->dims[i])];
        }
        any = true;
    }
    if (any) sinter_value_set_sharding(p->module, value, said);
}

static bool cut_input(partition *p, sinter_value value) {
    sinter_dim dims[SINTER_MAX_RANK];
    const sinter_type *whole = &p->whole[value];
    const sinter_sharding *sharding = p->state.values[value].sharding;
    if (!is_tensor(p, value)) return true;
    for (uint32_t i = 0; i < whole->rank; i++)
        dims[i] = part_dim(p, &sharding->dims[i], whole->dims[i]);
    sinter_value_set_type(
        p->module, value,
        sinter_type_tensor(sinter_module_arena(p->module), whole->dtype, whole->rank, dims));
    add_version(p, value, value, sharding);
    return true;
}

static bool give_outputs(partition *p, sinter_node yield) {
    sinter_node_info info = *sinter_node_get(p->module, yield);
    sinter_rewrite_at(p->rewrite, yield);
    for (uint32_t i = 0; i < info.operand_count; i++) {
        sinter_value value = info.operands[i];
        if (!is_tensor(p, value)) continue;
        sinter_sharding *wanted = sinter_sharding_copy(p->arena, p->state.values[value].sharding);
        sinter_value part = find_version(p, value, wanted);
        if (!part) return false;
        if (part != value) sinter_rewrite_set_operand(p->rewrite, yield, i, part);
        say_part(p, part, &p->whole[value], wanted);
    }
    return true;
}

static bool check_sizes(const partition *p) {
    const char *where = sinter_module_name(p->module);
    for (sinter_value value = 1; value < p->value_limit; value++) {
        const sinter_sharding *sharding = p->state.values[value].sharding;
        if (!sharding) continue;
        for (uint32_t i = 0; i < sharding->rank; i++)
            if (!part_dim(p, &sharding->dims[i], p->whole[value].dims[i]))
                return refuse_size(p, where, value, i, "");
        if (!check_version(p, where, value, sharding,
                           ", and here it is not cut as where inputs have it"))
            return false;
    }
    return true;
}

/* Parts of a program that is one rank's already stay what they are. */
static bool is_partitioned(const sinter_module *module) {
    for (sinter_value value = 1; value < sinter_module_value_limit(module); value++) {
        const sinter_sharding *sharding = sinter_value_sharding(module, value);
        for (uint32_t i = 0; sharding && i < sharding->rank; i++)
            if (sharding->dims[i].whole) return true;
    }
    return false;
}

static bool cut_module(partition *p) {
    sinter_region main = sinter_module_main(p->module);
    if (!find_symbols(p) || !check_sizes(p) || !plan_nodes(p)) return false;
    for (uint32_t i = 0; i < sinter_module_input_count(p->module); i++)
        if (!cut_input(p, sinter_module_input(p->module, i))) return false;
    for (size_t i = 0; i + 1 < p->order.count; i++)
        if (!cut_node(p, p->order.items[i], p->order.items[i + 1])) return false;
    for (sinter_value value = 1; value < p->value_limit; value++)
        sinter_value_set_sharding(p->module, value, NULL);
    for (uint32_t i = 0; i < sinter_module_input_count(p->module); i++) {
        sinter_value input = sinter_module_input(p->module, i);
        if (is_tensor(p, input))
            say_part(p, input, &p->whole[input], p->state.values[input].sharding);
    }
    return give_outputs(p, sinter_region_get(p->module, main)->last);
}

void sinter_pass_shard_partition(sinter_pass_context *context) {
    sinter_module *module = context->module;
    partition p = {.module = module,
                   .rewrite = &context->rewrite,
                   .arena = &context->scratch,
                   .value_limit = sinter_module_value_limit(module)};
    if (!sinter_module_mesh(module)->axis_count || is_partitioned(module)) return;
    sinter_shard_state_init(&p.state, module, p.arena);
    p.nodes = SINTER_NEW_ARRAY(p.arena, sinter_shard_node *, sinter_module_node_limit(module));
    p.whole = SINTER_NEW_ARRAY(p.arena, sinter_type, p.value_limit);
    p.versions = SINTER_NEW_ARRAY(p.arena, version_list, p.value_limit);
    for (sinter_value value = 1; value < p.value_limit; value++)
        p.whole[value] = *sinter_value_type(module, value);
    cut_module(&p);
}
