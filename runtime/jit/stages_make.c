/* Making a pipeline: the module cut into stages, each compiled and put into a folder; see stages.h. A slot is a value that goes between
 * stages: the inputs come first, then what stages give, in order. Test: tests/cli/pipeline.test */
#include "ir/base/file.h"
#include "runtime/jit/stages_internal.h"

#include <string.h>

typedef struct writer {
    sinter_module *module;
    const sinter_module *whole;
    const sinter_stages_options *how;
    const sinter_engine_options *options;
    const char *folder;
    sinter_arena arena;
    sinter_map slots; /* value -> slot */
    uint32_t slot_count;
    sinter_text list;
    sinter_diag *diag;
} writer;

static bool has_mesh(const writer *w) {
    return sinter_module_mesh(w->module)->axis_count > 0;
}

/* Shardings spread over the whole module first, so that what one stage gives is cut as the next one takes it. */
static bool split(writer *w) {
    const sinter_ranks_options spread = {.explain = w->how->explain};
    const sinter_pass *const *passes = NULL;
    size_t count = 0;
    sinter_pipeline_options options = {.stop_after = -1,
                                       .hardware = w->how->hardware,
                                       .stages = w->how->stages,
                                       .requests = w->how->micro_batches,
                                       .explain = w->how->explain};
    return sinter_ranks_spread(w->module, &spread, w->diag) &&
           sinter_pipeline_parse("pipeline-split", &w->arena, &passes, &count, w->diag) &&
           sinter_pipeline_run(w->module, passes, count, &options, w->diag);
}

/* What a rank has of the value in a request. */
static void write_part(writer *w, const sinter_type *type, const sinter_sharding *said) {
    sinter_sharding *words = said ? sinter_sharding_copy(&w->arena, said) : NULL;
    if (!words || !has_mesh(w)) return;
    words->replicated = 0;
    for (uint32_t i = 0; i < words->rank; i++) {
        sinter_shard_dim *dim = &words->dims[i];
        dim->is_open = false;
        dim->priority = 0;
        if (dim->axes.count)
            sinter_dim_is_const(sinter_module_dims(w->module), type->dims[i], &dim->whole);
    }
    if (!words->partial && !sinter_sharding_used(words)) return;
    sinter_text_append_string(&w->list, " ");
    sinter_sharding_print(sinter_module_mesh(w->module), words, &w->list);
}

/* "pixels" f32 [8, 28, 28] cut shard(data:4, _, _) */
static bool write_io(writer *w, const char *word, const char *name, sinter_value value,
                     const sinter_type *whole) {
    const sinter_type *part = sinter_value_type(w->module, value);
    const sinter_dim_table *dims = sinter_module_dims(w->module),
                           *whole_dims = sinter_module_dims(w->whole);
    int64_t size = 0, own = 0;
    bool is_cut = false;
    if (part->kind != SINTER_TYPE_TENSOR)
        return sinter_error(w->diag, name, "stages exchange tensors, this is none");
    sinter_text_format(&w->list, "%s ", word);
    sinter_text_quote(&w->list, sinter_string_of(name));
    sinter_text_format(&w->list, " %s [", sinter_dtype_infos[part->dtype].name);
    for (uint32_t i = 0; i < part->rank; i++) {
        if (!sinter_dim_is_const(dims, part->dims[i], &own) ||
            !sinter_dim_is_const(whole_dims, whole->dims[i], &size))
            return sinter_error(w->diag, name, "dim %u is no number; bind it (--dim NAME=SIZE)", i);
        if (own != size && (i > 0 || size != own * w->how->micro_batches))
            return sinter_error(
                w->diag, name,
                "dim %u is %lld of a run and %lld of a micro-batch: only the first axis can be cut",
                i, (long long)size, (long long)own);
        is_cut |= own != size;
        sinter_text_format(&w->list, "%s%lld", i ? ", " : "", (long long)size);
    }
    sinter_text_format(&w->list, "]%s", is_cut ? " cut" : "");
    write_part(w, part, sinter_value_sharding(w->module, value));
    return true;
}

static void add_slot(writer *w, sinter_value value) {
    sinter_map_put(&w->slots, value, w->slot_count++);
}

static bool write_inputs(writer *w) {
    for (uint32_t i = 0; i < sinter_module_input_count(w->module); i++) {
        sinter_value value = sinter_module_input(w->module, i);
        if (!write_io(w, "input", sinter_module_input_name(w->module, i), value,
                      sinter_value_type(w->whole, sinter_module_input(w->whole, i))))
            return false;
        sinter_text_append_string(&w->list, "\n");
        add_slot(w, value);
    }
    return true;
}

static bool write_outputs(writer *w) {
    for (uint32_t i = 0; i < sinter_module_output_count(w->module); i++) {
        uint64_t slot;
        sinter_value value = sinter_module_output(w->module, i);
        const char *name = sinter_module_output_name(w->module, i);
        if (!sinter_map_find(&w->slots, value, &slot))
            return sinter_error(w->diag, name, "is a constant: no stage of a pipeline makes it");
        if (!write_io(w, "output", name, value,
                      sinter_value_type(w->whole, sinter_module_output(w->whole, i))))
            return false;
        sinter_text_format(&w->list, " of %llu\n", (unsigned long long)slot);
    }
    return true;
}

typedef SINTER_VECTOR(sinter_value) value_list;

/* What the stage takes, and what it gives; each once. */
static void list_values(writer *w, sinter_node stage, value_list *out_takes,
                        value_list *out_gives) {
    const sinter_node_info *info = sinter_node_get(w->module, stage);
    for (uint32_t i = 0; i < info->operand_count; i++)
        if (!sinter_value_constant(w->module, info->operands[i]))
            sinter_vector_push(&w->arena, out_takes, info->operands[i]);
    for (uint32_t i = 0; i < info->result_count; i++)
        if (info->results[i]) sinter_vector_push(&w->arena, out_gives, info->results[i]);
}

static void list_slots(writer *w, const char *word, const value_list *values) {
    sinter_text_format(&w->list, " %s", word);
    for (size_t i = 0; i < values->count; i++) {
        uint64_t slot = 0;
        sinter_map_find(&w->slots, values->items[i], &slot);
        sinter_text_format(&w->list, "%s%llu", i ? ", " : " ", (unsigned long long)slot);
    }
}

/* What goes on is summed by the stage that gives it. */
static void sum_value(writer *w, sinter_module *module, sinter_value value) {
    const sinter_sharding *said = sinter_value_sharding(module, value);
    if (!said || !said->partial) return;
    sinter_sharding *summed = sinter_sharding_copy(&w->arena, said);
    summed->partial = 0;
    sinter_value_set_sharding(module, value, summed);
}

/* The stage as a module: ids of nodes stay when it is extracted. */
static sinter_module *extract(writer *w, sinter_node stage, const value_list *takes,
                              const value_list *gives) {
    sinter_rewrite rewrite;
    sinter_module *module = sinter_module_extract(w->module, takes->items, takes->count,
                                                  gives->items, gives->count, w->diag);
    if (!module) return NULL;
    const sinter_node_info info = *sinter_node_get(module, stage);
    sinter_rewrite_begin(&rewrite, module, w->diag);
    sinter_rewrite_at(&rewrite, stage);
    sinter_rewrite_inline_region(&rewrite, stage, info.regions[0], info.operands);
    for (uint32_t i = 0; i < sinter_module_output_count(module); i++)
        sum_value(w, module, sinter_module_output(module, i));
    return module;
}

/* Takes the module. */
static bool write_program(writer *w, sinter_module *module, uint32_t number, uint64_t *out_hash) {
    const char *path = sinter_stages_path(&w->arena, w->folder, number, false);
    sinter_engine *engine = sinter_engine_create(module, w->options, w->diag);
    bool good = engine && sinter_engine_package(engine, path, w->diag) &&
                sinter_ranks_read_hash(path, w->options, out_hash, w->diag);
    sinter_engine_destroy(engine);
    return good;
}

/* Takes the module: its ranks' programs. */
static bool write_ranks(writer *w, sinter_module *module, uint32_t number, uint64_t *out_hash) {
    const char *path = sinter_stages_path(&w->arena, w->folder, number, true);
    const sinter_ranks_options cut = {0};
    bool good = sinter_ranks_cut(module, &cut, w->diag) &&
                sinter_ranks_write(module, w->options, path, w->diag) &&
                sinter_ranks_read_list_hash(path, out_hash, w->diag);
    sinter_module_destroy(module);
    return good;
}

static bool write_stage(writer *w, sinter_node stage, uint32_t number) {
    value_list takes = {0}, gives = {0};
    uint64_t hash = 0;
    list_values(w, stage, &takes, &gives);
    for (size_t i = 0; i < gives.count; i++) sum_value(w, w->module, gives.items[i]);
    sinter_module *module = extract(w, stage, &takes, &gives);
    if (!module || !(has_mesh(w) ? write_ranks : write_program)(w, module, number, &hash))
        return false;
    for (size_t i = 0; i < gives.count; i++) add_slot(w, gives.items[i]);
    sinter_text_format(&w->list, "stage 0x%016llx", (unsigned long long)hash);
    list_slots(w, "takes", &takes);
    list_slots(w, "gives", &gives);
    sinter_text_append_string(&w->list, "\n");
    return true;
}

static bool write_all(writer *w) {
    uint32_t number = 0;
    sinter_region main = sinter_module_main(w->module);
    if (!split(w)) return false;
    if (!sinter_file_ensure_folder(w->folder, w->diag)) return false;
    sinter_text_format(&w->list,
                       "// Programs of the stages of a pipeline, stage_0%s on: what runs take and "
                       "give, and what each "
                       "stage takes and gives\n// of these values and of those of stages before "
                       "it, by number.\nmicro %lld\n",
                       has_mesh(w) ? "/" : ".so", (long long)w->how->micro_batches);
    if (has_mesh(w)) {
        sinter_text_append_string(&w->list, "mesh ");
        sinter_mesh_print(sinter_module_mesh(w->module), &w->list);
        sinter_text_append_string(&w->list, "\n");
    }
    if (!write_inputs(w)) return false;
    SINTER_FOR_NODES (w->module, main, node)
        if (sinter_node_find_attr(w->module, node, "stage") && !write_stage(w, node, number++))
            return false;
    return write_outputs(w) && sinter_file_write(sinter_stages_list(&w->arena, w->folder),
                                                 w->list.data, w->list.size, w->diag); /* last */
}

bool sinter_stages_write(sinter_module *module, const sinter_module *whole,
                         const sinter_stages_options *how, const sinter_engine_options *options,
                         const char *folder, sinter_diag *diag) {
    writer w = {.module = module,
                .whole = whole,
                .how = how,
                .options = options,
                .folder = folder,
                .diag = diag};
    sinter_arena_init(&w.arena);
    sinter_map_init(&w.slots, &w.arena);
    bool good = write_all(&w);
    sinter_text_deinit(&w.list);
    sinter_arena_deinit(&w.arena);
    return good;
}
