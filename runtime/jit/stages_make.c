/* Making a pipeline: the module cut into stages, each compiled and put into a folder; see stages.h. A slot is a value that goes between
 * stages: the inputs come first, then what stages give, in order. Test: tests/cli/pipeline.test */
#include "ir/base/file.h"
#include "ir/hardware.h"
#include "passes/way.h"
#include "runtime/jit/programs_folder.h"
#include "runtime/jit/stages_internal.h"

#include <math.h>
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
    int64_t piece; /* indices of a request, where runs say how many there are; 0: not known yet */
    sinter_stages_visitor *visit; /* takes the programs, which are not written then */
    void *user;
    sinter_pipeline_price *price;
    sinter_text list;
    sinter_diag *diag;
} writer;

static bool has_mesh(const writer *w) {
    return sinter_module_mesh(w->module)->axis_count > 0;
}

/* ---- stages ---- */

/* What a stage of so many has of the hardware: a share of the devices, and it is to hold a share of the weights. */
static sinter_hardware share_of(const sinter_hardware *hardware, uint32_t stages) {
    sinter_hardware share = *hardware; /* what it points to stays where it is */
    if (!stages) return share;
    share.devices = hardware->devices > stages ? hardware->devices / stages : 1;
    share.memory = hardware->memory * stages;
    return share;
}

/* Shardings spread over the whole module first, so that what one stage gives is cut as the next one takes it. stages: 0 as many as
 * are best. */
static bool split_into(const writer *w, sinter_module *module, uint32_t stages, bool explain,
                       sinter_pipeline_price *out_price, sinter_diag *diag) {
    const sinter_hardware share = share_of(w->how->hardware, stages);
    const sinter_ranks_options spread = {.hardware = &share,
                                         .chooses = w->how->chooses,
                                         .goal = w->how->goal,
                                         .explain = explain,
                                         .engine = w->options};
    const sinter_pass *split = sinter_pass_find(SINTER_STRING("pipeline-split"));
    const sinter_pipeline_options options = {.hardware = w->how->hardware,
                                             .stages = stages,
                                             .requests = w->how->micro_batches,
                                             .price = out_price,
                                             .explain = explain};
    size_t changes;
    return sinter_ranks_spread(module, &spread, diag) &&
           sinter_pass_run(split, module, &options, &changes, diag);
}

static void explain_stages(const writer *w, const sinter_module *module, uint32_t stages,
                           double seconds) {
    sinter_text text = {0};
    const sinter_mesh *mesh = sinter_module_mesh(module);
    if (!w->how->explain) return;
    sinter_mesh_print(mesh, &text);
    sinter_note(w->diag, sinter_module_name(w->module), "%u stages, each on %s: a %s %.4g ms",
                stages, mesh->axis_count ? text.data : "one device",
                w->how->micro_batches ? "run" : "request", 1e3 * seconds);
    sinter_text_deinit(&text);
}

/* How many stages there are best where the mesh of each is chosen, too: of each number that leaves no devices over. What does not fit, or
 * has more stages than there are nodes, is none; 0 where all are none. */
static uint32_t choose_stages(const writer *w) {
    uint32_t chosen = 0;
    double best = INFINITY;
    int64_t devices = w->how->hardware->devices;
    for (uint32_t stages = 1; stages <= devices && stages <= SINTER_MOST_STAGES; stages++) {
        sinter_diag quiet = {0};
        if (devices % stages) continue;
        sinter_module *module = sinter_module_clone(w->module);
        bool good = split_into(w, module, stages, false, w->price, &quiet);
        const double seconds = w->price->seconds;
        if (good) explain_stages(w, module, stages, seconds);
        sinter_module_destroy(module);
        if (!good || (chosen && !sinter_way_pays(seconds, best))) continue;
        best = seconds;
        chosen = stages;
    }
    return chosen;
}

static bool split(writer *w) {
    uint32_t stages = w->how->stages;
    if (w->how->chooses && !stages && !has_mesh(w)) stages = choose_stages(w);
    return split_into(w, w->module, stages, w->how->explain, w->price, w->diag);
}

/* ---- inputs and outputs ---- */

/* What a rank has of the value in a request. */
static void write_part(writer *w, const sinter_type *type, const sinter_sharding *said) {
    sinter_dim_table *dims = sinter_module_dims(w->module);
    sinter_sharding *words = said ? sinter_sharding_copy(&w->arena, said) : NULL;
    if (!words || !has_mesh(w)) return;
    words->replicated = 0;
    for (uint32_t i = 0; i < words->rank; i++) {
        sinter_shard_dim *dim = &words->dims[i];
        dim->is_open = false;
        dim->priority = 0;
        if (!dim->axes.count || sinter_dim_is_const(dims, type->dims[i], &dim->whole)) continue;
        dim->whole = SINTER_SHARD_WHOLE_OF_RUN;
        if (sinter_dim_get_kind(dims, type->dims[i]) == SINTER_DIM_SYMBOL)
            dim->range = sinter_sharding_range(sinter_dim_get_symbol(dims, type->dims[i]));
    }
    if (!words->partial && !sinter_sharding_used(words)) return;
    sinter_text_append_string(&w->list, " ");
    sinter_sharding_print(sinter_module_mesh(w->module), words, &w->list);
}

/* One dim of a value. */
typedef struct io_dim {
    const char *name; /* of the value */
    uint32_t number;
    int64_t whole, own; /* of a run, and of a request; -1: no number */
    const char *whole_text, *own_text;
} io_dim;

static const char *print_dim(writer *w, const sinter_module *module, sinter_dim dim,
                             int64_t *out_size) {
    const sinter_dim_table *dims = sinter_module_dims(module);
    sinter_text text = {0};
    if (!sinter_dim_is_const(dims, dim, out_size)) *out_size = -1;
    sinter_dim_print(dims, dim, &text);
    const char *kept = sinter_arena_copy_string(&w->arena, text.data, text.size);
    sinter_text_deinit(&text);
    return kept;
}

/* Whether so many requests as a run happens to have make up the dim: twice what one has where a run has two. */
static bool is_made_of_requests(writer *w, const io_dim *d, sinter_dim whole) {
    sinter_dim_table *dims = sinter_module_dims(w->whole);
    int64_t size;
    if (!w->piece) w->piece = d->own; /* of the first input that is cut */
    const int64_t *twice = sinter_dim_assume(dims, &w->arena, 2 * w->piece);
    return sinter_dim_evaluate(dims, whole, twice, &size) && size == 2 * d->own;
}

static bool check_dim(writer *w, const io_dim *d, sinter_dim whole, bool *out_cut) {
    int64_t requests = w->how->micro_batches;
    *out_cut = d->own >= 0 && d->own != d->whole && d->number == 0;
    if (d->whole >= 0 ? d->own == d->whole : !strcmp(d->own_text, d->whole_text)) return true;
    if (*out_cut && (d->whole >= 0 ? requests > 0 && d->whole == requests * d->own
                                   : requests == 0 && is_made_of_requests(w, d, whole)))
        return true;
    return sinter_error(w->diag, d->name,
                        "dim %u is %s of a run and %s of a micro-batch: only the first axis can be "
                        "cut, into requests that are alike",
                        d->number, d->whole_text, d->own_text);
}

/* "pixels" f32 [8, 28, 28] cut shard(data:4, _, _) */
static bool write_io(writer *w, const char *word, const char *name, sinter_value value,
                     const sinter_type *whole) {
    const sinter_type *part = sinter_value_type(w->module, value);
    int64_t piece = 0;
    if (part->kind != SINTER_TYPE_TENSOR)
        return sinter_error(w->diag, name, "stages exchange tensors, this is none");
    sinter_text_format(&w->list, "%s ", word);
    sinter_text_quote(&w->list, sinter_string_of(name));
    sinter_text_format(&w->list, " %s [", sinter_dtype_infos[part->dtype].name);
    for (uint32_t i = 0; i < part->rank; i++) {
        io_dim d = {.name = name, .number = i};
        bool is_cut;
        d.own_text = print_dim(w, w->module, part->dims[i], &d.own);
        d.whole_text = print_dim(w, w->whole, whole->dims[i], &d.whole);
        if (!check_dim(w, &d, whole->dims[i], &is_cut)) return false;
        if (is_cut) piece = d.own;
        sinter_text_append_string(&w->list, i ? ", " : "");
        if (d.whole >= 0)
            sinter_text_append_string(&w->list, d.whole_text);
        else
            sinter_text_quote(&w->list, sinter_string_of(d.whole_text));
    }
    sinter_text_append_string(&w->list, piece ? "] cut" : "]");
    if (piece && !w->how->micro_batches) sinter_text_format(&w->list, " %lld", (long long)piece);
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
    bool good = sinter_ranks_write_program(module, w->options, path, out_hash, w->diag);
    sinter_module_destroy(module);
    return good;
}

/* Takes the module: its ranks' programs. */
static bool write_ranks(writer *w, sinter_module *module, uint32_t number, uint64_t *out_hash) {
    const char *path = sinter_stages_path(&w->arena, w->folder, number, true);
    const sinter_ranks_options cut = {.hardware = w->how->hardware};
    bool good = sinter_ranks_cut(module, &cut, w->diag) &&
                sinter_ranks_write(module, w->options, path, w->diag) &&
                sinter_ranks_read_list_hash(path, out_hash, w->diag);
    sinter_module_destroy(module);
    return good;
}

/* Takes the module: its program, of ranks that of the first, goes to whoever asked. */
static bool visit_program(writer *w, sinter_module *module, uint32_t number) {
    const sinter_ranks_options cut = {.hardware = w->how->hardware};
    if (has_mesh(w)) {
        sinter_module *all = module;
        module =
            sinter_ranks_cut(all, &cut, w->diag) ? sinter_ranks_program(all, 0, w->diag) : NULL;
        sinter_module_destroy(all);
    }
    return module && w->visit(w->user, module, w->price->take_seconds[number], w->diag);
}

/* Takes the module. */
static bool finish_program(writer *w, sinter_module *module, uint32_t number, uint64_t *out_hash) {
    return w->visit      ? visit_program(w, module, number)
           : has_mesh(w) ? write_ranks(w, module, number, out_hash)
                         : write_program(w, module, number, out_hash);
}

static bool write_stage(writer *w, sinter_node stage, uint32_t number) {
    value_list takes = {0}, gives = {0};
    uint64_t hash = 0;
    list_values(w, stage, &takes, &gives);
    for (size_t i = 0; i < gives.count; i++) sum_value(w, w->module, gives.items[i]);
    sinter_module *module = extract(w, stage, &takes, &gives);
    if (!module || !finish_program(w, module, number, &hash)) return false;
    for (size_t i = 0; i < gives.count; i++) add_slot(w, gives.items[i]);
    sinter_text_format(&w->list, "stage 0x%016llx", (unsigned long long)hash);
    list_slots(w, "takes", &takes);
    list_slots(w, "gives", &gives);
    sinter_text_append_string(&w->list, "\n");
    return true;
}

static bool write_programs(writer *w) {
    uint32_t number = 0;
    sinter_region main = sinter_module_main(w->module);
    sinter_text_format(&w->list,
                       "// Programs of the stages of a pipeline, stage_0%s on: what runs take and "
                       "give, and what each "
                       "stage takes and gives\n// of these values and of those of stages before "
                       "it, by number.\n",
                       has_mesh(w) ? "/" : ".so");
    if (w->how->micro_batches)
        sinter_text_format(&w->list, "micro %lld\n", (long long)w->how->micro_batches);
    else
        sinter_text_append_string(&w->list, "micro any\n");
    if (has_mesh(w)) {
        sinter_text_append_string(&w->list, "mesh ");
        sinter_mesh_print(sinter_module_mesh(w->module), &w->list);
        sinter_text_append_string(&w->list, "\n");
    }
    if (!write_inputs(w)) return false;
    SINTER_FOR_NODES (w->module, main, node)
        if (sinter_node_find_attr(w->module, node, "stage") && !write_stage(w, node, number++))
            return false;
    return write_outputs(w) &&
           (!w->folder || sinter_file_write(sinter_stages_list(&w->arena, w->folder), w->list.data,
                                            w->list.size, w->diag)); /* last */
}

/* folder: NULL where programs are visited. */
static bool write_all(writer *w, const char *folder) {
    sinter_programs_folder programs;
    if (!sinter_stages_check_apart(w->whole, w->module, w->how->micro_batches, w->diag) ||
        !split(w))
        return false;
    if (!folder) return write_programs(w);
    if (!sinter_programs_begin(&programs, folder, w->diag)) return false;
    w->folder = programs.made;
    return sinter_programs_end(&programs, SINTER_STAGES_LIST, write_programs(w), w->diag);
}

static bool make(writer *w, const char *folder) {
    sinter_arena_init(&w->arena);
    sinter_map_init(&w->slots, &w->arena);
    w->price = sinter_heap_alloc(sizeof *w->price);
    bool good = write_all(w, folder);
    sinter_heap_free(w->price);
    sinter_text_deinit(&w->list);
    sinter_arena_deinit(&w->arena);
    return good;
}

bool sinter_stages_write(sinter_module *module, const sinter_module *whole,
                         const sinter_stages_options *how, const sinter_engine_options *options,
                         const char *folder, sinter_diag *diag) {
    writer w = {.module = module, .whole = whole, .how = how, .options = options, .diag = diag};
    return make(&w, folder);
}

bool sinter_stages_visit(sinter_module *module, const sinter_module *whole,
                         const sinter_stages_options *how, const sinter_engine_options *options,
                         sinter_stages_visitor *visit, void *user, sinter_diag *diag) {
    writer w = {.module = module,
                .whole = whole,
                .how = how,
                .options = options,
                .visit = visit,
                .user = user,
                .diag = diag};
    return make(&w, NULL);
}
