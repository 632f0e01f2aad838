/* ONNX's words for shardings (ShardingSpecProto of nodes, since ONNX 1.18), read and written. A specification lists, shard by shard,
 * the devices or groups of them that hold it; here it is axes of a mesh. The mesh is that of the property `sinter.mesh` where
 * the file has one, else the devices of the configuration in a grid that all specifications fit. Partial sums,
 * priorities and open dims have no word in ONNX: they are not written. Test: tests/cli/shard_onnx.test */
#include "ir/sharding.h"
#include "frontends/onnx/exporter.h"

#include <string.h>

static const char *const MESH_KEY = "sinter.mesh";
enum { MAX_DEVICES = 4096 };

/* ---- reading ---- */

typedef struct reader {
    sinter_onnx_importer *importer;
    sinter_mesh mesh;
    int64_t *shards; /* by device: the one it has; -1: none so far */
    bool quiet;      /* another mesh may fit */
} reader;

static bool refuse(reader *r, const Onnx__ShardingSpecProto *spec, const char *why) {
    if (r->quiet) return false;
    return sinter_onnx_error(r->importer, r->importer->path, "sharding of '%s': %s",
                             spec->tensor_name ? spec->tensor_name : "", why);
}

static bool place_device(reader *r, int64_t device, int64_t shard) {
    if (device < 0 || device >= sinter_mesh_rank_count(&r->mesh) || r->shards[device] >= 0)
        return false;
    r->shards[device] = shard;
    return true;
}

/* Which shard each device has; an entry is a device or the key of a group. */
static bool place_shards(reader *r, const Onnx__ShardingSpecProto *spec) {
    int64_t devices = sinter_mesh_rank_count(&r->mesh);
    for (int64_t i = 0; i < devices; i++) r->shards[i] = -1;
    for (size_t i = 0; i < spec->n_device; i++) {
        const Onnx__IntIntListEntryProto *group = NULL;
        for (size_t k = 0; k < spec->n_index_to_device_group_map; k++)
            if (spec->index_to_device_group_map[k]->key == spec->device[i])
                group = spec->index_to_device_group_map[k];
        bool good = group || place_device(r, spec->device[i], (int64_t)i);
        for (size_t k = 0; good && group && k < group->n_value; k++)
            good = place_device(r, group->value[k], (int64_t)i);
        if (!good) return refuse(r, spec, "a device is none of the configuration, or stands twice");
    }
    for (int64_t i = 0; i < devices; i++)
        if (r->shards[i] < 0) return refuse(r, spec, "a device has no shard");
    return true;
}

/* Index along one sharded dim of what a device has. */
static int64_t index_of(const reader *r, int64_t device, int64_t inner, int64_t count) {
    return r->shards[device] / inner % count;
}

/* The mesh axes whose coordinates, outermost first, make that index. */
static bool find_axes(const reader *r, int64_t inner, int64_t count, sinter_mesh_axes *out_axes) {
    int64_t weight = count, devices = sinter_mesh_rank_count(&r->mesh);
    *out_axes = (sinter_mesh_axes){0};
    while (weight > 1) {
        uint32_t found = r->mesh.axis_count;
        for (uint32_t a = 0; a < r->mesh.axis_count; a++) {
            sinter_mesh_axes one = {{(uint8_t)a}, 1};
            if (r->mesh.axes[a].size < 2 || sinter_mesh_axes_have(out_axes, a)) continue;
            int64_t next = sinter_mesh_rank_at(&r->mesh, &one, 0, 1);
            if (weight % r->mesh.axes[a].size == 0 &&
                index_of(r, next, inner, count) == weight / r->mesh.axes[a].size)
                found = a;
        }
        if (found == r->mesh.axis_count) return false;
        sinter_mesh_axes_add(out_axes, found);
        weight /= r->mesh.axes[found].size;
    }
    for (int64_t i = 0; i < devices; i++)
        if (index_of(r, i, inner, count) != sinter_mesh_place(&r->mesh, out_axes, i)) return false;
    return true;
}

static bool read_spec(reader *r, const Onnx__ShardingSpecProto *spec, const sinter_type *type,
                      sinter_sharding *out) {
    int64_t inner = 1;
    if (!place_shards(r, spec)) return false;
    for (size_t i = spec->n_sharded_dim; i-- > 0;) {
        const Onnx__ShardedDimProto *dim = spec->sharded_dim[i];
        int64_t axis = dim->axis < 0 ? dim->axis + type->rank : dim->axis;
        int64_t count = dim->n_simple_sharding == 1 ? dim->simple_sharding[0]->num_shards : 0;
        if (axis < 0 || axis >= type->rank || out->dims[axis].axes.count)
            return refuse(r, spec, "an axis that the tensor has not, or twice");
        if (count < 1 || count > MAX_DEVICES / inner)
            return refuse(r, spec, "expected one number of shards for an axis");
        if (!find_axes(r, inner, count, &out->dims[axis].axes))
            return refuse(r, spec, "its devices do not lie along axes of a mesh");
        inner *= count;
    }
    return inner == (int64_t)spec->n_device ||
           refuse(r, spec, "there are not as many entries of devices as shards");
}

/* All specifications of the configuration; `keep` puts them into the module. */
static bool read_all(reader *r, const char *configuration, bool keep) {
    sinter_module *module = r->importer->module;
    const Onnx__GraphProto *graph = r->importer->model->graph;
    r->shards = SINTER_NEW_ARRAY(&r->importer->scratch, int64_t, sinter_mesh_rank_count(&r->mesh));
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t c = 0; c < graph->node[n]->n_device_configurations; c++) {
            const Onnx__NodeDeviceConfigurationProto *own =
                graph->node[n]->device_configurations[c];
            if (strcmp(own->configuration_id ? own->configuration_id : "", configuration)) continue;
            for (size_t i = 0; i < own->n_sharding_spec; i++) {
                const Onnx__ShardingSpecProto *spec = own->sharding_spec[i];
                sinter_value value =
                    sinter_sharding_find_value(module, sinter_string_of(spec->tensor_name));
                const sinter_type *type = value ? sinter_value_type(module, value) : NULL;
                if (!type || type->kind != SINTER_TYPE_TENSOR) continue; /* gone on import */
                sinter_sharding sharding =
                    sinter_sharding_whole(&r->importer->scratch, type->rank, false);
                if (!read_spec(r, spec, type, &sharding)) return false;
                if (keep) sinter_value_set_sharding(module, value, &sharding);
            }
        }
    return true;
}

static bool has_specs(const Onnx__GraphProto *graph) {
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t c = 0; c < graph->node[n]->n_device_configurations; c++)
            if (graph->node[n]->device_configurations[c]->n_sharding_spec) return true;
    return false;
}

/* Grids of the rest, of as few axes as will do, after the axes there are. */
static bool find_mesh(reader *r, const char *configuration, int64_t rest) {
    if (rest == 1) {
        sinter_module_set_mesh(r->importer->module, &r->mesh);
        return read_all(r, configuration, false);
    }
    for (int64_t size = rest; size > 1; size--) {
        if (rest % size || r->mesh.axis_count == SINTER_MESH_MAX_AXES) continue;
        sinter_mesh_axis *axis = &r->mesh.axes[r->mesh.axis_count];
        axis->name =
            sinter_string_of(sinter_arena_format(&r->importer->scratch, "d%u", r->mesh.axis_count));
        axis->size = size;
        r->mesh.axis_count++;
        if (find_mesh(r, configuration, rest / size)) return true;
        r->mesh.axis_count--;
    }
    return false;
}

/* The mesh that a file of ours names. */
static bool find_named_mesh(reader *r, int64_t devices) {
    const Onnx__ModelProto *model = r->importer->model;
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *entry = model->metadata_props[i];
        if (entry->key && entry->value && !strcmp(entry->key, MESH_KEY))
            return sinter_mesh_parse(entry->value, r->importer->path, &r->importer->scratch,
                                     &r->mesh, NULL) &&
                   r->mesh.rank < 0 && sinter_mesh_rank_count(&r->mesh) == devices;
    }
    return false;
}

bool sinter_onnx_read_shardings(sinter_onnx_importer *importer) {
    const Onnx__ModelProto *model = importer->model;
    reader r = {.importer = importer, .mesh = {.rank = -1}, .quiet = true};
    if (!model->n_configuration || !has_specs(model->graph)) return true;
    const Onnx__DeviceConfigurationProto *configuration = model->configuration[0];
    const char *name = configuration->name ? configuration->name : "";
    if (configuration->num_devices < 1 || configuration->num_devices > MAX_DEVICES)
        return sinter_onnx_error(importer, importer->path, "configuration '%s' has %d devices",
                                 name, configuration->num_devices);
    bool found = find_named_mesh(&r, configuration->num_devices);
    if (found) sinter_module_set_mesh(importer->module, &r.mesh);
    if (!found) r.mesh = (sinter_mesh){.rank = -1};
    if (!found) find_mesh(&r, name, configuration->num_devices);
    r.mesh = *sinter_module_mesh(importer->module);
    r.quiet = false;
    return read_all(&r, name, true);
}

/* ---- writing ---- */

static Onnx__ShardedDimProto *write_dim(sinter_onnx_exporter *e, uint32_t axis, int64_t count) {
    Onnx__ShardedDimProto *dim = SINTER_NEW(&e->arena, Onnx__ShardedDimProto);
    Onnx__SimpleShardedDimProto *simple = SINTER_NEW(&e->arena, Onnx__SimpleShardedDimProto);
    onnx__sharded_dim_proto__init(dim);
    onnx__simple_sharded_dim_proto__init(simple);
    dim->has_axis = simple->has_num_shards = 1;
    dim->axis = axis;
    simple->num_shards = count;
    dim->n_simple_sharding = 1;
    dim->simple_sharding = SINTER_NEW(&e->arena, Onnx__SimpleShardedDimProto *);
    dim->simple_sharding[0] = simple;
    return dim;
}

/* Axes of all dims, the first dim outermost: places along them are the numbers of shards. */
static sinter_mesh_axes all_axes(const sinter_sharding *sharding) {
    sinter_mesh_axes all = {0};
    for (uint32_t i = 0; i < sharding->rank; i++)
        for (uint32_t k = 0; k < sharding->dims[i].axes.count; k++)
            sinter_mesh_axes_add(&all, sharding->dims[i].axes.items[k]);
    return all;
}

/* Who has each shard: a device, or the key of a group. */
static void write_devices(sinter_onnx_exporter *e, const sinter_mesh *mesh,
                          const sinter_mesh_axes *all, Onnx__ShardingSpecProto *spec) {
    int64_t shards = sinter_mesh_axes_product(mesh, all), devices = sinter_mesh_rank_count(mesh);
    size_t each = (size_t)(devices / shards);
    spec->device = SINTER_NEW_ARRAY(&e->arena, int64_t, shards);
    spec->n_device = (size_t)shards;
    if (each > 1) {
        spec->n_index_to_device_group_map = (size_t)shards;
        spec->index_to_device_group_map =
            SINTER_NEW_ARRAY(&e->arena, Onnx__IntIntListEntryProto *, shards);
    }
    for (int64_t i = 0; i < shards; i++) {
        int64_t *members = SINTER_NEW_ARRAY(&e->arena, int64_t, each);
        size_t count = 0;
        for (int64_t d = 0; d < devices; d++)
            if (sinter_mesh_place(mesh, all, d) == i) members[count++] = d;
        spec->device[i] = each > 1 ? -1 - i : members[0];
        if (each == 1) continue;
        Onnx__IntIntListEntryProto *group = SINTER_NEW(&e->arena, Onnx__IntIntListEntryProto);
        onnx__int_int_list_entry_proto__init(group);
        group->has_key = 1;
        group->key = -1 - i;
        group->n_value = count;
        group->value = members;
        spec->index_to_device_group_map[i] = group;
    }
}

static Onnx__ShardingSpecProto *write_spec(sinter_onnx_exporter *e, const char *name,
                                           const sinter_sharding *sharding) {
    const sinter_mesh *mesh = sinter_module_mesh(e->module);
    sinter_mesh_axes all = all_axes(sharding);
    Onnx__ShardingSpecProto *spec = SINTER_NEW(&e->arena, Onnx__ShardingSpecProto);
    onnx__sharding_spec_proto__init(spec);
    spec->tensor_name = sinter_arena_copy_string(&e->arena, name, strlen(name));
    spec->sharded_dim = SINTER_NEW_ARRAY(&e->arena, Onnx__ShardedDimProto *, sharding->rank + 1);
    for (uint32_t i = 0; i < sharding->rank; i++)
        if (sharding->dims[i].axes.count)
            spec->sharded_dim[spec->n_sharded_dim++] =
                write_dim(e, i, sinter_mesh_axes_product(mesh, &sharding->dims[i].axes));
    write_devices(e, mesh, &all, spec);
    return spec;
}

/* Specifications of the tensors of a node that no node before it has. */
static void write_node(sinter_onnx_exporter *e, Onnx__NodeProto *node, sinter_map *values,
                       char *configuration) {
    SINTER_VECTOR(Onnx__ShardingSpecProto *) specs = {0};
    for (size_t i = 0; i < node->n_input + node->n_output; i++) {
        const char *name = i < node->n_input ? node->input[i] : node->output[i - node->n_input];
        uint64_t value = 0;
        if (!sinter_map_find_string(values, sinter_string_of(name), &value) || !value) continue;
        sinter_map_put_string(values, sinter_string_of(name), 0);
        sinter_vector_push(
            &e->arena, &specs,
            write_spec(e, name, sinter_value_sharding(e->module, (sinter_value)value)));
    }
    if (!specs.count) return;
    Onnx__NodeDeviceConfigurationProto *own =
        SINTER_NEW(&e->arena, Onnx__NodeDeviceConfigurationProto);
    onnx__node_device_configuration_proto__init(own);
    own->configuration_id = configuration;
    own->n_sharding_spec = specs.count;
    own->sharding_spec = specs.items;
    node->n_device_configurations = 1;
    node->device_configurations = SINTER_NEW(&e->arena, Onnx__NodeDeviceConfigurationProto *);
    node->device_configurations[0] = own;
}

static void write_configuration(sinter_onnx_exporter *e, Onnx__ModelProto *model, char *name) {
    const sinter_mesh *mesh = sinter_module_mesh(e->module);
    Onnx__DeviceConfigurationProto *own = SINTER_NEW(&e->arena, Onnx__DeviceConfigurationProto);
    Onnx__StringStringEntryProto *entry = SINTER_NEW(&e->arena, Onnx__StringStringEntryProto);
    SINTER_VECTOR(Onnx__StringStringEntryProto *) list = {0};
    sinter_text text = {0};
    onnx__device_configuration_proto__init(own);
    own->name = name;
    own->has_num_devices = 1;
    own->num_devices = (int32_t)sinter_mesh_rank_count(mesh);
    model->n_configuration = 1;
    model->configuration = SINTER_NEW(&e->arena, Onnx__DeviceConfigurationProto *);
    model->configuration[0] = own;
    sinter_mesh_print(mesh, &text);
    onnx__string_string_entry_proto__init(entry);
    entry->key = sinter_arena_copy_string(&e->arena, MESH_KEY, strlen(MESH_KEY));
    entry->value = sinter_arena_copy_string(&e->arena, text.data, text.size);
    for (size_t i = 0; i < model->n_metadata_props; i++)
        if (strcmp(model->metadata_props[i]->key, MESH_KEY))
            sinter_vector_push(&e->arena, &list, model->metadata_props[i]);
    sinter_vector_push(&e->arena, &list, entry);
    model->n_metadata_props = list.count;
    model->metadata_props = list.items;
    sinter_text_deinit(&text);
}

void sinter_onnx_write_shardings(sinter_onnx_exporter *e, Onnx__ModelProto *model) {
    sinter_map values;
    char *name = sinter_arena_copy_string(&e->arena, "mesh", 4);
    if (!sinter_module_mesh(e->module)->axis_count) return;
    sinter_map_init(&values, &e->arena);
    for (sinter_value value = 1; value < sinter_module_value_limit(e->module); value++)
        if (e->names[value] && !sinter_value_get(e->module, value)->erased &&
            sinter_value_sharding(e->module, value))
            sinter_map_put_string(&values, sinter_string_of(e->names[value]), value);
    for (size_t i = 0; i < model->graph->n_node; i++)
        write_node(e, model->graph->node[i], &values, name);
    write_configuration(e, model, name);
}
