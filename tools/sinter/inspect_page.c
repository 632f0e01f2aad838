/* The page of `sinter inspect --html`: inspect_page.html with the model as JSON in it. Test: tests/cli/inspect.test */
#include "ir/parse.h"
#include "tools/sinter/inspect.h"
#include <string.h>

static const char page_template[] = {
#include "tools/sinter/inspect_page.inc"
};
static const char place[] = "/*MODEL*/null";

static void put_field(sinter_text *text, const char *name, sinter_string value) {
    sinter_text_format(text, ",\"%s\":", name);
    sinter_text_json(text, value);
}

static sinter_string type_text(const inspection *all, sinter_value value, sinter_text *scratch) {
    scratch->size = 0;
    sinter_type_describe(sinter_module_dims(all->module), sinter_value_type(all->module, value),
                         scratch);
    return (sinter_string){scratch->data, scratch->size};
}

static void put_value(const inspection *all, sinter_value value, const char *name,
                      sinter_text *text) {
    sinter_text scratch = {0};
    sinter_text_format(text, "{\"value\":%u", value);
    put_field(text, "name", sinter_string_of(name));
    put_field(text, "type", type_text(all, value, &scratch));
    sinter_text_append_string(text, "}");
    sinter_text_deinit(&scratch);
}

/* A number where the cost is one, and how it reads. */
static void put_cost(const inspection *all, const char *name, sinter_dim dim, sinter_text *text) {
    int64_t value;
    sinter_text scratch = {0};
    if (dim && sinter_dim_is_const(sinter_module_dims(all->module), dim, &value))
        sinter_text_format(text, ",\"%s\":%lld", name, (long long)value);
    inspect_print_dim(all->module, dim, &scratch);
    sinter_text_format(text, ",\"%sText\":", name);
    sinter_text_json(text, (sinter_string){scratch.data, scratch.size});
    sinter_text_deinit(&scratch);
}

/* Values of the node itself and, for control nodes, what its regions take from outside. */
static void put_inputs(const inspection *all, sinter_node node, bool *first, sinter_text *text) {
    const sinter_node_info *info = sinter_node_get(all->module, node);
    for (uint32_t i = 0; i < info->operand_count; ++i) {
        if (!info->operands[i] || sinter_value_constant(all->module, info->operands[i])) continue;
        sinter_text_format(text, "%s%u", *first ? "" : ",", info->operands[i]);
        *first = false;
    }
    for (uint32_t r = 0; r < info->region_count; ++r)
        SINTER_FOR_NODES (all->module, info->regions[r], inner) put_inputs(all, inner, first, text);
}

static void put_node(const inspection *all, const inspected_node *one, sinter_text *text) {
    const sinter_node_info *info = sinter_node_get(all->module, one->node);
    sinter_text scratch = {0};
    sinter_text_format(text, "{\"op\":\"%s\"", sinter_op_get_info(info->op)->name);
    const char *name = info->result_count && info->results[0]
                           ? sinter_value_label(all->module, info->results[0])
                           : "";
    put_field(text, "name", sinter_string_of(name));
    sinter_print_node(all->module, one->node, &scratch);
    put_field(text, "text", (sinter_string){scratch.data, scratch.size});
    sinter_text_format(text, ",\"parameters\":%llu", (unsigned long long)one->cost.parameters);
    put_cost(all, "multiplyAdds", one->cost.multiply_adds, text);
    put_cost(all, "bytes",
             sinter_dim_add(sinter_module_dims(all->module), one->cost.read_bytes,
                            one->cost.written_bytes),
             text);
    if (one->seconds >= 0) sinter_text_format(text, ",\"milliseconds\":%.4g", 1e3 * one->seconds);
    if (one->flops >= 0) sinter_text_format(text, ",\"gigaflops\":%.4g", 1e-9 * one->flops);
    if (one->bytes >= 0) sinter_text_format(text, ",\"gigabytes\":%.4g", 1e-9 * one->bytes);
    if (one->share >= 0) sinter_text_format(text, ",\"share\":%.0f", 100 * one->share);
    inspect_put_sharing(all, one->node, text);
    sinter_text_append_string(text, ",\"inputs\":[");
    bool first = true;
    put_inputs(all, one->node, &first, text);
    sinter_text_append_string(text, "],\"outputs\":[");
    info = sinter_node_get(all->module, one->node);
    for (uint32_t i = 0, written = 0; i < info->result_count; ++i) {
        if (!info->results[i]) continue;
        if (written++) sinter_text_append_string(text, ",");
        put_value(all, info->results[i], sinter_value_label(all->module, info->results[i]), text);
    }
    sinter_text_append_string(text, "]}");
    sinter_text_deinit(&scratch);
}

/* What was measured: where a kernel makes several nodes, the time is theirs together. */
static void put_kernels(const inspection *all, sinter_text *text) {
    double total = 0;
    sinter_text_append_string(text, "],\n\"kernels\":[");
    for (size_t i = 0; i < all->kernels.count; ++i) {
        const inspected_kernel *kernel = &all->kernels.items[i];
        total += kernel->seconds;
        sinter_text_append_string(text, i ? ",\n{\"name\":" : "\n{\"name\":");
        sinter_text_json(text, sinter_string_of(kernel->name));
        sinter_text_format(text, ",\"milliseconds\":%.4g,\"leader\":%u,\"nodes\":[",
                           1e3 * kernel->seconds, kernel->leader);
        for (size_t k = 0; k < kernel->nodes.count; ++k)
            sinter_text_format(text, "%s%u", k ? "," : "", kernel->nodes.items[k]);
        sinter_text_append_string(text, "]}");
    }
    sinter_text_append_string(text, "\n]");
    if (all->kernels.count)
        sinter_text_format(
            text, ",\"time\":\"%.4g ms in kernels (the shortest of some runs, %d thread%s)\"",
            1e3 * total, all->threads, all->threads == 1 ? "" : "s");
}

static void put_model(const inspection *all, const char *path, sinter_text *text) {
    sinter_text summary = {0};
    inspect_summary(all, &summary);
    sinter_text_append_string(text, "{\"file\":");
    sinter_text_json(text, sinter_string_of(path));
    put_field(text, "summary", (sinter_string){summary.data, summary.size});
    inspect_put_mesh(all, text);
    sinter_text_deinit(&summary);
    sinter_text_append_string(text, ",\n\"inputs\":[");
    for (uint32_t i = 0; i < sinter_module_input_count(all->module); ++i) {
        if (i) sinter_text_append_string(text, ",");
        put_value(all, sinter_module_input(all->module, i),
                  sinter_module_input_name(all->module, i), text);
    }
    sinter_text_append_string(text, "],\n\"outputs\":[");
    for (uint32_t i = 0; i < sinter_module_output_count(all->module); ++i) {
        if (i) sinter_text_append_string(text, ",");
        put_value(all, sinter_module_output(all->module, i),
                  sinter_module_output_name(all->module, i), text);
    }
    sinter_text_append_string(text, "],\n\"nodes\":[");
    for (size_t i = 0, written = 0; i < all->nodes.count; ++i) {
        if (all->nodes.items[i].depth) continue;
        sinter_text_append_string(text, written++ ? ",\n" : "\n");
        put_node(all, &all->nodes.items[i], text);
    }
    put_kernels(all, text);
    sinter_text_append_string(text, "}");
}

void inspect_page(const inspection *all, const char *path, sinter_text *text) {
    sinter_text model = {0};
    put_model(all, path, &model);
    const char *at = strstr(page_template, place);
    sinter_text_append(text, page_template, (size_t)(at - page_template));
    for (size_t i = 0; i < model.size; ++i) /* no text of the model can end the script */
        if (model.data[i] == '<')
            sinter_text_append_string(text, "\\u003c");
        else
            sinter_text_append(text, &model.data[i], 1);
    sinter_text_append_string(text, at + strlen(place));
    sinter_text_deinit(&model);
}
