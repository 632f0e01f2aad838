/* sinter inspect: what is in a model, as text or as a page. Test: tests/cli/inspect.test */
#include "ir/base/file.h"
#include "ir/parse.h"
#include "runtime/device_code.h"
#include "runtime/jit/artifact_description.h"
#include "runtime/jit/ranks.h"
#include "runtime/jit/stages.h"
#include "tools/sinter/inspect.h"
#include <stdio.h>
#include <string.h>

static const option_spec own_options[] = {
    {.name = "html",
     .value = "FILE",
     .file = WRITES_FILE,
     .doc = "file for one self-contained page with the graph, shapes, parameters, costs and times"},
    {.name = "nodes", .doc = "list the nodes too", .without = "html"},
    {.name = "no-time",
     .doc = "a page without the time of each node, which takes compiling and running the model",
     .with = "html"},
    {.name = "sharding",
     .value = "FILE",
     .file = READS_FILE,
     .doc = "the program of a rank, as the file says the model is cut (docs/shard.md): what is cut "
            "how, what is exchanged",
     .with = "html",
     .without = "passes"},
    {.name = "hardware",
     .value = "FILE",
     .file = READS_FILE,
     .doc =
         "a description of what ranks run on (docs/plan.md): a time line; without --sharding the "
         "model is cut as is best there",
     .with = "html",
     .without = "passes"},
    {.name = "run",
     .doc = "run the ranks as threads of this process, and draw when each did what",
     .with = "html",
     .without = "passes"},
    {.name = "passes", .value = "LIST", .doc = "comma-separated passes to run before"},
    {.name = "O",
     .value = "LEVEL",
     .doc = "run the default pipeline of level 0..3 before",
     .without = "passes"},
    {.name = "target",
     .value = "TARGET",
     .doc = "cuda[:sm_90]: the kernels that it becomes there, with what each takes of the GPU",
     .without = "html"},
    {.name = "precision",
     .value = "TYPE",
     .doc = "tf32, bf16, f16 or i8: kernels of that precision, as sinter compile has it (f32)",
     .with = "target"},
    {.name = "threads",
     .value = "N",
     .doc = "threads that times are measured with (1)",
     .with = "html",
     .without = "no-time"},
    {.name = "i",
     .value = "NAME=FILE",
     .takes_archive = true,
     .file = READS_FILE,
     .doc = "an input for the run that is timed; missing ones are made from a seed",
     .with = "html",
     .without = "no-time"},
    {.name = "size",
     .value = "NAME=N",
     .doc = "a symbolic dimension of inputs that are made for it (1)",
     .with = "html",
     .without = "no-time"},
};

static void put_io(const inspection *all, const char *name, sinter_value value) {
    sinter_text type = {0};
    sinter_type_describe(sinter_module_dims(all->module), sinter_value_type(all->module, value),
                         &type);
    printf("  %s: %s\n", shown(name), type.data);
    sinter_text_deinit(&type);
}

static void put_range(const char *name, int64_t min, int64_t max, int64_t multiple) {
    printf("  %s = %lld..", name, (long long)min);
    if (max < INT64_MAX) printf("%lld", (long long)max);
    if (multiple > 1) printf(", a multiple of %lld", (long long)multiple);
    puts("");
}

static void put_symbols(const inspection *all) {
    sinter_dim_table *dims = sinter_module_dims(all->module);
    bool any = false;
    for (size_t i = 0; i < sinter_dim_symbol_count(dims); ++i) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(dims, sinter_dim_symbol_at(dims, i));
        if (symbol->origin != SINTER_DIM_ORIGIN_INPUT || symbol->min == symbol->max) continue;
        if (!any) puts("symbols");
        any = true;
        put_range(symbol->name, symbol->min, symbol->max, symbol->multiple);
    }
}

typedef struct op_total {
    uint64_t count, parameters;
    sinter_dim multiply_adds;
} op_total;

static void put_operators(const inspection *all) {
    sinter_dim_table *dims = sinter_module_dims(all->module);
    op_total totals[SINTER_OP_COUNT] = {{0}};
    for (size_t i = 0; i < all->nodes.count; ++i) {
        const inspected_node *one = &all->nodes.items[i];
        op_total *total = &totals[sinter_node_get(all->module, one->node)->op];
        if (!total->count) total->multiply_adds = sinter_dim_const(dims, 0);
        total->count++;
        total->parameters += one->cost.parameters;
        total->multiply_adds = sinter_dim_add(dims, total->multiply_adds, one->cost.multiply_adds);
    }
    printf("%-28s %7s %12s   %s\n", "operators", "nodes", "parameters", "multiply-adds");
    for (int op = 1; op < SINTER_OP_COUNT; ++op) {
        if (!totals[op].count) continue;
        sinter_text parameters = {0}, work = {0};
        inspect_print_count((double)totals[op].parameters, &parameters);
        inspect_print_dim(all->module, totals[op].multiply_adds, &work);
        printf("  %-26s %7llu %12s   %s\n", sinter_op_get_info((sinter_op)op)->name,
               (unsigned long long)totals[op].count, parameters.data, work.data);
        sinter_text_deinit(&parameters);
        sinter_text_deinit(&work);
    }
}

static void put_nodes(const inspection *all) {
    puts("nodes");
    for (size_t i = 0; i < all->nodes.count; ++i) {
        const inspected_node *one = &all->nodes.items[i];
        if (one->depth) continue; /* printed with the node around it */
        sinter_text text = {0};
        sinter_print_node(all->module, one->node, &text);
        printf("  %.*s\n", (int)text.size - (text.data[text.size - 1] == '\n'), text.data);
        sinter_text_deinit(&text);
    }
}

/* One line; long values (vocabularies live there) are cut. */
static void put_metadata(sinter_string key, sinter_string value) {
    enum { longest = 80 };
    size_t size = 0;
    while (size < value.size && size < longest && value.data[size] != '\n') size++;
    while (size < value.size && size > 0 && ((unsigned char)value.data[size] & 0xc0) == 0x80)
        size--; /* not inside of a character */
    sinter_text text = {0};
    sinter_text_printable(&text, key, "");
    sinter_text_append_string(&text, ": ");
    sinter_text_printable(&text, (sinter_string){value.data, size}, "");
    printf("  %s", text.data);
    sinter_text_deinit(&text);
    if (size < value.size) printf("... (%zu bytes)", value.size);
    puts("");
}

static void put_text(const inspection *all, const char *path, bool nodes) {
    sinter_string key, value;
    sinter_text summary = {0};
    inspect_summary(all, &summary);
    printf("%s: %s\n", path, summary.data);
    sinter_text_deinit(&summary);
    for (size_t i = 0; i < sinter_module_metadata(all->module, i, &key, &value); ++i)
        put_metadata(key, value);
    puts("inputs");
    for (uint32_t i = 0; i < sinter_module_input_count(all->module); ++i)
        put_io(all, sinter_module_input_name(all->module, i), sinter_module_input(all->module, i));
    puts("outputs");
    for (uint32_t i = 0; i < sinter_module_output_count(all->module); ++i)
        put_io(all, sinter_module_output_name(all->module, i),
               sinter_module_output(all->module, i));
    put_symbols(all);
    put_operators(all);
    if (nodes) put_nodes(all);
}

static bool write_page(const inspection *all, const char *path, const char *file,
                       sinter_diag *diag) {
    sinter_text page = {0};
    inspect_page(all, path, &page);
    bool good = sinter_file_write(file, page.data, page.size, diag);
    sinter_text_deinit(&page);
    return good;
}

/* Where nobody asked in so many words, a model that can't run here is no error. */
static bool add_times(inspection *all, const arguments *a, sinter_diag *diag) {
    bool asked = arguments_has(a, "threads") || arguments_has(a, "i") || arguments_has(a, "size");
    sinter_text said = {0};
    sinter_diag quiet = {.handler = sinter_diag_text_handler, .user = &said};
    bool good = inspect_times(all, a, true, asked ? diag : &quiet);
    if (!good && !asked) fputs("note: no times, because the model does not run here:\n", stderr);
    if (said.data) fputs(said.data, stderr);
    sinter_text_deinit(&said);
    return good || !asked;
}

/* ---- artifacts: what their description says, for whatever machine they are ---- */

static void put_declared(const sinter_abi_io *io) {
    printf("  %s: %s[", shown(io->name),
           sinter_dtype_infos[sinter_dtype_from_onnx(io->dtype)].name);
    for (int32_t d = 0; d < io->rank; ++d) printf("%s%s", d ? "," : "", shown(io->dim_names[d]));
    puts("]");
}

/* Architectures of the images, each once: "sm_80, sm_90a, compute_90". */
static void put_images(const sinter_abi_device_code *code) {
    printf("needs of device %s\n  ", shown(code->device));
    bool any = false;
    for (uint32_t i = 0; i < code->image_count; ++i) {
        const sinter_abi_image *image = &code->images[i];
        uint32_t k = 0;
        while (code->images[k].architecture != image->architecture ||
               code->images[k].kind != image->kind)
            k++;
        if (k < i) continue;
        printf("%s%s_%u%s", any ? ", " : "",
               image->kind == SINTER_ABI_IMAGE_TEXT ? "compute" : "sm", image->architecture,
               image->kind == SINTER_ABI_IMAGE_EXACT ? "a" : "");
        any = true;
    }
    puts(any ? "" : "nothing in particular");
}

static void put_artifact(const sinter_artifact_description *description, const char *path) {
    const sinter_abi_artifact *artifact = description->artifact;
    const sinter_abi_device_code *code = sinter_artifact_device_code(artifact);
    const char *features = artifact->cpu_features ? artifact->cpu_features : "";
    sinter_text weights = {0};
    inspect_print_bytes((double)artifact->weights_bytes, &weights);
    printf("%s: artifact of %s, compiled for %s; %u kernels, weights %s\n", path,
           shown(artifact->name), shown(artifact->target), artifact->kernel_count, weights.data);
    sinter_text_deinit(&weights);
    printf("needs of the CPU, %s\n  %s\n", description->machine,
           *features ? shown(features) : "nothing in particular");
    if (code) put_images(code);
    puts("inputs");
    for (uint32_t i = 0; i < artifact->input_count; ++i) put_declared(&artifact->inputs[i]);
    puts("outputs");
    for (uint32_t i = 0; i < artifact->output_count; ++i) put_declared(&artifact->outputs[i]);
    if (artifact->symbol_count) puts("symbols");
    for (uint32_t i = 0; i < artifact->symbol_count; ++i)
        put_range(shown(artifact->symbols[i].name), artifact->symbols[i].min,
                  artifact->symbols[i].max, artifact->symbols[i].multiple);
}

static int inspect_artifact(const arguments *a, sinter_diag *diag) {
    if (a->option_count) {
        const char *name = a->options[0].name;
        usage_error("inspect", "%s%s needs the model: an artifact has no graph",
                    name[1] ? "--" : "-", name);
        return 2;
    }
    const char *path = a->operands[0];
    sinter_artifact_description description;
    if (sinter_ranks_is_folder(path) || sinter_stages_is_folder(path)) {
        sinter_error(diag, path, "programs of several ranks: inspect one of them");
        return 2;
    }
    if (!sinter_artifact_describe(path, &description, diag)) return 2;
    put_artifact(&description, path);
    sinter_artifact_description_deinit(&description);
    return 0;
}

static int inspect(const arguments *a) {
    sinter_diag diag = stderr_diag();
    sinter_engine_options options;
    if (!engine_options(a, &options)) return 2;
    if (arguments_has(a, "run") && !arguments_has(a, "sharding") && !arguments_has(a, "hardware")) {
        usage_error("inspect", "--run does nothing without --sharding or --hardware");
        return 2;
    }
    if (sinter_engine_is_artifact(a->operands[0])) return inspect_artifact(a, &diag);
    sinter_module *module = load_model(a->operands[0], a, &diag);
    if (!module) return 2;
    int status = 2;
    bool kernels = arguments_has(a, "target");
    bool rewrite = kernels || arguments_has(a, "O") || arguments_has(a, "passes");
    if (!rewrite || sinter_engine_run_passes(module, &options, &diag)) {
        inspection all;
        inspection_init(&all, module);
        const char *html = arguments_find(a, "html");
        bool shares = arguments_has(a, "sharding") || arguments_has(a, "hardware");
        bool good = !shares || (inspect_share(&all, a, &diag) &&
                                (!arguments_has(a, "run") || inspect_run_ranks(&all, a, &diag)));
        inspection_collect(&all);
        if (!html && !kernels) put_text(&all, a->operands[0], arguments_has(a, "nodes"));
        good = good &&
               (!html || shares || arguments_has(a, "no-time") || add_times(&all, a, &diag)) &&
               (!kernels || inspect_kernels(module, &options, &diag));
        status = good && (!html || write_page(&all, a->operands[0], html, &diag)) ? 0 : 2;
        inspection_deinit(&all);
    }
    sinter_module_destroy(module);
    return status;
}

const command command_inspect = {
    .name = "inspect",
    .operands = "MODEL|ARTIFACT",
    .doc = "show what is in a model, as text or as a page",
    .usage = "sinter inspect MODEL|ARTIFACT [--html=FILE] [--nodes] [--target=cuda[:sm_90]]",
    .details =
        "Shows what is in a model; of an artifact, whatever machine it is for, what it takes, "
        "gives\n"
        "and needs: it is read, not run. With --target\n"
        "the kernels for a GPU: how often they are called, grid, block, registers of a thread\n"
        "(and bytes that it spills), shared memory of a block, bytes, operations of floats and "
        "the\n"
        "time that memory and arithmetic of the GPU in the table of targets would take.",
    COMMAND_OPTIONS(own_options),
    .shared = "dim",
    .expected = "one model",
    .least = 1,
    .most = 1,
    .run = inspect,
};
