/* Command-line arguments: options anywhere, `--` ends them. Test: tests/suites/bad_input.py */
#include "tools/sinter/command.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const option_spec *find_spec(const option_spec *specs, size_t count, const char *name,
                                    size_t length) {
    for (size_t i = 0; i < count; ++i)
        if (strlen(specs[i].name) == length && !memcmp(specs[i].name, name, length))
            return &specs[i];
    return NULL;
}

static bool bad(const char *name, const char *problem, const char *what) {
    fprintf(stderr, "sinter %s: error: %s '%s'; see sinter %s --help\n", name, problem, what, name);
    return false;
}

void *keep_until_exit(size_t size) {
    static sinter_arena memory; /* reachable to the end, so that leak checkers know it is meant */
    if (!memory.blocks) sinter_arena_init(&memory);
    return sinter_arena_alloc(&memory, size);
}

bool arguments_parse(int argc, char **argv, const option_spec *specs, size_t spec_count,
                     arguments *out_arguments) {
    arguments a = {keep_until_exit(sizeof(option) * (size_t)(argc + 1)),
                   keep_until_exit(sizeof(char *) * (size_t)(argc + 1)), 0, 0};
    bool only_operands = false;
    for (int i = 1; i < argc; ++i) {
        const char *text = argv[i];
        if (only_operands || text[0] != '-' || !text[1]) {
            a.operands[a.operand_count++] = text;
            continue;
        }
        if (!strcmp(text, "--")) {
            only_operands = true;
            continue;
        }
        const char *name = text + (text[1] == '-' ? 2 : 1);
        size_t length = strcspn(name, "=");
        const option_spec *spec = find_spec(specs, spec_count, name, length);
        const char *value = name[length] ? name + length + 1 : NULL;
        if (!spec && text[1] != '-' && text[2]) { /* -O2, -oFILE */
            spec = find_spec(specs, spec_count, name, 1);
            value = name + 1;
        }
        if (!spec) return bad(argv[0], "unknown option", text);
        if (!spec->has_value && value) return bad(argv[0], "no value goes with", text);
        if (spec->has_value && !value) {
            if (i + 1 == argc) return bad(argv[0], "a value is missing after", text);
            value = argv[++i];
        }
        a.options[a.option_count++] = (option){spec->name, value};
    }
    *out_arguments = a;
    return true;
}

const char *arguments_find(const arguments *a, const char *name) {
    for (size_t i = a->option_count; i-- > 0;)
        if (!strcmp(a->options[i].name, name))
            return a->options[i].value ? a->options[i].value : "";
    return NULL;
}

bool arguments_has(const arguments *a, const char *name) {
    return arguments_find(a, name) != NULL;
}

static bool complain(const char *name, const char *text, const char *kind, double low,
                     double high) {
    fprintf(stderr, "sinter: error: %s%s=%s: expected %s from %g to %g\n", name[1] ? "--" : "-",
            name, text, kind, low, high);
    return false;
}

bool arguments_number(const arguments *a, const char *name, double low, double high,
                      double otherwise, double *out_number) {
    const char *text = arguments_find(a, name);
    *out_number = otherwise;
    if (!text) return true;
    char *end = NULL;
    errno = 0;
    double number = strtod(text, &end);
    if (errno || end == text || *end || !(number >= low && number <= high))
        return complain(name, text, "a number", low, high);
    *out_number = number;
    return true;
}

bool arguments_integer(const arguments *a, const char *name, int64_t low, int64_t high,
                       int64_t otherwise, int64_t *out_number) {
    const char *text = arguments_find(a, name);
    *out_number = otherwise;
    if (!text) return true;
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < low || number > high)
        return complain(name, text, "an integer", (double)low, (double)high);
    *out_number = number;
    return true;
}

void print_help(const char *usage, const char *doc, const option_spec *specs, size_t spec_count) {
    printf("usage: %s\n%s\n\noptions:\n", usage, doc);
    for (size_t i = 0; i < spec_count; ++i) {
        char text[64];
        bool is_short = strlen(specs[i].name) == 1;
        snprintf(text, sizeof text, "%s%s%s", is_short ? "-" : "--", specs[i].name,
                 !specs[i].has_value ? ""
                 : is_short          ? " VALUE"
                                     : "=VALUE");
        printf("  %-24s %s\n", text, specs[i].doc);
    }
}

const option_spec *join_specs(const option_spec *own, size_t own_count, size_t *out_count) {
    option_spec *joined = keep_until_exit(sizeof *joined * (own_count + model_option_count));
    memcpy(joined, own, own_count * sizeof *joined);
    memcpy(joined + own_count, model_options, model_option_count * sizeof *joined);
    *out_count = own_count + model_option_count;
    return joined;
}
