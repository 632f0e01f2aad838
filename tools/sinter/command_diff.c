/* sinter diff: one model run two ways on the same inputs, compared node by node. Every value of the main region is made an
 * output, so both ways compute all of them; where only the model as it is differs (a fusion at fault), a bisection over
 * single values finds the first. Test: tests/cli/diff.test */
#include "tools/sinter/command.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const option_spec own_options[] = {
    {.name = "rtol",
     .value = "X",
     .doc = "relative error that counts as a difference: max|a-b| / max|b| (1e-4)"},
    {.name = "all", .doc = "list every node, not only those that differ"},
};

typedef struct way {
    const char *text; /* as given */
    sinter_engine_options options;
} way;

typedef struct comparison {
    const arguments *arguments;
    const char *path;
    sinter_module *module; /* as imported; runs work on clones */
    way ways[2];
    tensors inputs;
    double rtol;
    sinter_diag *diag;
} comparison;

/* TARGET[,O0..O3][,precision=TYPE][,passes=A+B]; the text is taken apart in a copy that lives until the process ends. */
static bool parse_way(const char *text, const arguments *a, way *out_way) {
    *out_way = (way){.text = text};
    if (!engine_options(a, &out_way->options)) return false;
    char *copy = keep_until_exit(strlen(text) + 1);
    strcpy(copy, text);
    char *rest = NULL;
    bool has_level = false;
    out_way->options.target = strtok_r(copy, ",", &rest);
    for (char *part; (part = strtok_r(NULL, ",", &rest));) {
        if (part[0] == 'O' && part[1] >= '0' && part[1] <= '3' && !part[2]) {
            out_way->options.level = part[1] - '0';
            has_level = true;
        } else if (!strncmp(part, "precision=", 10) &&
                   sinter_precision_parse(part + 10, &out_way->options.precision)) {
            continue;
        } else if (!strncmp(part, "passes=", 7)) {
            for (char *c = part; (c = strchr(c, '+'));) *c = ',';
            out_way->options.passes = part + 7;
        } else {
            return usage_error(
                "diff", "'%s': expected TARGET[,O0..O3][,precision=TYPE][,passes=A+B], found '%s'",
                text, part);
        }
    }
    const char *target = out_way->options.target;
    sinter_diag diag = stderr_diag();
    if (!target) return usage_error("diff", "'%s': expected TARGET", text);
    if (!open_device(a, &out_way->options, &diag)) return false;
    if (!has_level || strcmp(target, "eval")) return true;
    if (out_way->options.passes)
        return usage_error("diff", "'%s': a level does nothing for eval with passes", text);
    out_way->options.passes = sinter_pipeline_of_level(out_way->options.level);
    return true;
}

/* The outputs of the model, then the values. Inputs are made by the first run. */
static bool run_way(comparison *c, const way *how, const sinter_value *values, uint32_t count,
                    tensors *out_outputs) {
    sinter_module *module = sinter_module_clone(c->module);
    if (count) sinter_module_add_outputs(module, values, count);
    sinter_engine *engine = sinter_engine_create(module, &how->options, c->diag);
    if (!engine) return false;
    bool good = true;
    if (!c->inputs.items) {
        c->inputs = tensors_create(sinter_engine_input_count(engine));
        good = make_inputs(engine, c->arguments, c->inputs.items, c->diag);
    }
    *out_outputs = tensors_create(sinter_engine_output_count(engine));
    good = good && sinter_engine_run(engine, c->inputs.items, out_outputs->items, c->diag);
    if (!good) tensors_destroy(out_outputs);
    sinter_engine_destroy(engine);
    return good;
}

static bool run_both(comparison *c, const sinter_value *values, uint32_t count, tensors out[2]) {
    memset(out, 0, 2 * sizeof *out);
    if (run_way(c, &c->ways[0], values, count, &out[0]) &&
        run_way(c, &c->ways[1], values, count, &out[1]))
        return true;
    tensors_destroy(&out[0]);
    return false;
}

/* Results of the main region's nodes that are tensors, in program order. */
static uint32_t list_values(sinter_module *module, sinter_value *out_values) {
    uint32_t count = 0;
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        const sinter_node_info *info = sinter_node_get(module, node);
        if (info->op == SINTER_OP_constant) continue;
        for (uint32_t i = 0; i < info->result_count; ++i)
            if (info->results[i] &&
                sinter_value_type(module, info->results[i])->kind == SINTER_TYPE_TENSOR)
                out_values[count++] = info->results[i];
    }
    return count;
}

static void print_value(comparison *c, sinter_value value, double error) {
    sinter_node node = sinter_value_get(c->module, value)->definition;
    sinter_text type = {0};
    sinter_type_describe(sinter_module_dims(c->module), sinter_value_type(c->module, value), &type);
    printf("%-10.3g %s: %s  %s (%s)\n", error, shown(sinter_value_label(c->module, value)),
           type.data, sinter_op_get_info(sinter_node_get(c->module, node)->op)->name,
           shown(sinter_node_where(c->module, node)));
    sinter_text_deinit(&type);
}

/* The outputs of the model as it is; true where they agree. */
static bool compare_outputs(comparison *c, const tensors both[2]) {
    bool same = true;
    for (uint32_t i = 0; i < sinter_module_output_count(c->module); ++i) {
        sinter_text message = {0};
        const sinter_tensor *got = &both[0].items[i], *expected = &both[1].items[i];
        double error = sinter_tensor_relative_error(got, expected);
        if (!(error <= c->rtol)) sinter_tensor_compare(got, expected, c->rtol, 0, &message);
        printf("output %s: relative error %.3g%s%s\n",
               shown(sinter_module_output_name(c->module, i)), error, message.size ? ": " : "",
               message.size ? message.data : "");
        same = same && error <= c->rtol;
        sinter_text_deinit(&message);
    }
    return same;
}

/* First value, in program order, that differs although nothing else is asked for; a later one differs already. */
static int bisect(comparison *c, const sinter_value *values, uint32_t count) {
    uint32_t low = 0,
             high = count; /* first offender is in [low, high]; high = count: only an output */
    double worst = 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        tensors both[2];
        if (!run_both(c, &values[middle], 1, both)) return 2;
        size_t last = both[0].count - 1;
        double error = sinter_tensor_relative_error(&both[0].items[last], &both[1].items[last]);
        tensors_destroy(&both[0]);
        tensors_destroy(&both[1]);
        if (!(error <= c->rtol)) { /* NaN is a difference */
            high = middle;
            worst = error;
        } else {
            low = middle + 1;
        }
    }
    if (low == count) {
        puts("no single value differs when it is an output: the difference is in what follows the "
             "last of them");
        return 1;
    }
    puts("the values differ only in the model as it is, so a fusion is at fault; the first that "
         "differs:");
    print_value(c, values[low], worst);
    return 1;
}

/* `values` has room for every value of the module. */
static int compare(comparison *c, sinter_value *values) {
    uint32_t count = list_values(c->module, values), different = 0;
    tensors plain[2], tapped[2];
    if (!run_both(c, NULL, 0, plain)) return 2;
    bool same = compare_outputs(c, plain);
    tensors_destroy(&plain[0]);
    tensors_destroy(&plain[1]);
    if (!run_both(c, values, count, tapped)) return 2;
    uint32_t first = sinter_module_output_count(c->module);
    for (uint32_t i = 0; i < count; ++i) {
        double error =
            sinter_tensor_relative_error(&tapped[0].items[first + i], &tapped[1].items[first + i]);
        bool bad = !(error <= c->rtol);
        if (bad && different++ == 0) puts("first node that differs:");
        if (bad || arguments_has(c->arguments, "all")) print_value(c, values[i], error);
    }
    tensors_destroy(&tapped[0]);
    tensors_destroy(&tapped[1]);
    printf("%u of %u values differ by more than %g (%s against %s)\n", different, count, c->rtol,
           c->ways[0].text, c->ways[1].text);
    return different ? 1 : same ? 0 : bisect(c, values, count);
}

static int diff(const arguments *a) {
    sinter_diag diag = stderr_diag();
    comparison c = {.arguments = a, .path = a->operands[0], .diag = &diag};
    if (!arguments_number(a, "rtol", 0, 1e9, 1e-4, &c.rtol) ||
        !parse_way(a->operands[1], a, &c.ways[0]) || !parse_way(a->operands[2], a, &c.ways[1]) ||
        !arguments_apply(a, IS_MODEL,
                         (const char *[]){c.ways[0].options.target, c.ways[1].options.target}, 2) ||
        !sinter_engine_check(&c.ways[0].options, &diag) ||
        !sinter_engine_check(&c.ways[1].options, &diag) ||
        !(c.module = load_model(c.path, a, &diag)))
        return 2;
    sinter_value *values =
        sinter_heap_alloc((sinter_module_value_limit(c.module) + 1) * sizeof *values);
    int status = compare(&c, values);
    sinter_heap_free(values);
    tensors_destroy(&c.inputs);
    sinter_module_destroy(c.module);
    return status;
}

const command command_diff = {
    .name = "diff",
    .operands = "MODEL A B",
    .doc = "compare two ways to run a model, node by node",
    .usage = "sinter diff MODEL A B",
    .details =
        "Runs a model two ways and compares the values node by node. A and B are\n"
        "TARGET[,O0..O3][,precision=f32|tf32|bf16|f16|i8][,passes=A+B], such as eval, cpu,O0,\n"
        "cpu,precision=bf16 or cpu:x86-64-v3,passes=decompose+fuse.\nB is what A should be.",
    COMMAND_OPTIONS(own_options),
    .shared = "dim threads jobs cache i size",
    .expected = "a model and two ways to run it",
    .least = 3,
    .most = 3,
    .run = diff,
};
