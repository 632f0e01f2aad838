/* Command-line arguments: options anywhere, `--` ends them. Test: tests/suites/bad_input.py, tests/cli/options.test */
#include "frontends/import.h"
#include "tools/sinter/command.h"
#include <errno.h>
#include <stdarg.h>
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

bool usage_error(const char *verb, const char *format, ...) {
    va_list list;
    va_start(list, format);
    fprintf(stderr, "sinter %s: error: ", verb);
    vfprintf(stderr, format, list);
    fprintf(stderr, "; see sinter %s --help\n", verb);
    va_end(list);
    return false;
}

static const char *dashes(const char *name) {
    return name[1] ? "--" : "-";
}

/* "-o " or "--json=" */
static const char *between(const char *name) {
    return name[1] ? "=" : " ";
}

void *keep_until_exit(size_t size) {
    static sinter_arena memory; /* reachable to the end, so that leak checkers know it is meant */
    if (!memory.blocks) sinter_arena_init(&memory);
    return sinter_arena_alloc(&memory, size);
}

/* Options that need another one, or that another one leaves without effect. */
static bool check_companions(const arguments *a) {
    for (size_t i = 0; i < a->option_count; ++i) {
        const option_spec *spec = a->options[i].spec;
        if (spec->with && !arguments_has(a, spec->with))
            return usage_error(a->verb, "%s%s does nothing without %s%s", dashes(spec->name),
                               spec->name, dashes(spec->with), spec->with);
        if (spec->without && arguments_has(a, spec->without))
            return usage_error(a->verb, "%s%s does nothing with %s%s", dashes(spec->name),
                               spec->name, dashes(spec->without), spec->without);
    }
    return true;
}

/* Whether a value, FILE, NAME=FILE or FILE,..., names this file. */
static bool names_file(const char *value, const char *path) {
    const char *equals = strchr(value, '=');
    if (sinter_file_is_same(path, value) || (equals && sinter_file_is_same(path, equals + 1)))
        return true;
    char *piece = keep_until_exit(strlen(value) + 1);
    for (const char *at = value; *at; at += *at == ',') {
        size_t size = strcspn(at, ",");
        memcpy(piece, at, size);
        piece[size] = '\0';
        if (sinter_file_is_same(path, piece)) return true;
        at += size;
    }
    return false;
}

/* The argument that says so, or NULL. */
static const char *find_reader(const arguments *a, const char *path) {
    for (size_t i = 0; i < a->operand_count; ++i)
        if (sinter_file_is_same(path, a->operands[i])) return a->operands[i];
    for (size_t i = 0; i < a->option_count; ++i)
        if (a->options[i].spec->file == READS_FILE && names_file(a->options[i].value, path))
            return a->options[i].value;
    return NULL;
}

/* What the command writes is no file that it reads, by whatever name, and no other option's. */
static bool check_outputs(const arguments *a) {
    for (size_t i = 0; i < a->option_count; ++i) {
        const option *one = &a->options[i];
        if (one->spec->file != WRITES_FILE) continue;
        const char *reader = find_reader(a, one->value);
        if (reader)
            return usage_error(a->verb, "%s%s%s%s would overwrite what is read: %s",
                               dashes(one->name), one->name, between(one->name), one->value,
                               reader);
        for (size_t k = 0; k < i; ++k)
            if (a->options[k].spec->file == WRITES_FILE && a->options[k].spec != one->spec &&
                sinter_file_is_one_place(one->value, a->options[k].value))
                return usage_error(a->verb, "%s%s and %s%s name the same file",
                                   dashes(a->options[k].name), a->options[k].name,
                                   dashes(one->name), one->name);
    }
    return true;
}

bool is_named(const char *names, const char *name) {
    size_t size = strlen(name);
    for (const char *at = names; *at; at += strcspn(at, " "), at += *at == ' ')
        if (strcspn(at, " ") == size && !memcmp(at, name, size)) return true;
    return false;
}

/* The options of the command and the shared ones it takes. */
static const option_spec *command_options(const command *which, size_t *out_count) {
    static const option_spec help = {.name = "help", .doc = "this text"};
    size_t count = which->option_count;
    option_spec *specs = keep_until_exit((count + shared_option_count + 1) * sizeof *specs);
    memcpy(specs, which->options, count * sizeof *specs);
    for (size_t i = 0; i < shared_option_count; ++i)
        if (is_named(which->shared, shared_options[i].name)) specs[count++] = shared_options[i];
    specs[count++] = help;
    *out_count = count;
    return specs;
}

static bool is_archive(const option *o) {
    return o->spec->takes_archive && !strchr(o->value, '=') &&
           sinter_string_ends_with(o->value, ".npz");
}

/* FILE.npz becomes one option for each array of the file. */
static bool expand_archive(arguments *a, size_t at) {
    sinter_diag diag = stderr_diag();
    const option one = a->options[at];
    sinter_text names = {0};
    size_t count = 0;
    bool good = sinter_tensor_archive_names(one.value, &names, &count, &diag);
    if (good && !count) good = sinter_error(&diag, one.value, "has no arrays");
    if (good) {
        option *options = keep_until_exit((a->option_count + count) * sizeof *options);
        memcpy(options, a->options, at * sizeof *options);
        size_t file = strlen(one.value);
        const char *name = names.data;
        for (size_t i = 0; i < count; ++i, name += strlen(name) + 1) {
            size_t room = strlen(name) + file + 2;
            char *value = keep_until_exit(room);
            snprintf(value, room, "%s=%s", name, one.value);
            options[at + i] = (option){one.spec, one.name, value};
        }
        memcpy(options + at + count, a->options + at + 1,
               (a->option_count - at - 1) * sizeof *options);
        a->options = options;
        a->option_count += count - 1;
    }
    sinter_text_deinit(&names);
    return good;
}

static bool expand_archives(arguments *a) {
    for (size_t i = a->option_count; i-- > 0;)
        if (is_archive(&a->options[i]) && !expand_archive(a, i)) return false;
    return true;
}

bool arguments_parse(int argc, char **argv, const command *which, arguments *out_arguments) {
    size_t spec_count = 0;
    const option_spec *specs = command_options(which, &spec_count);
    arguments a = {argv[0], keep_until_exit(sizeof(option) * (size_t)(argc + 1)),
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
        if (!strcmp(text, "-h")) text = "--help";
        const char *name = text + (text[1] == '-' ? 2 : 1);
        size_t length = strcspn(name, "=");
        const option_spec *spec = find_spec(specs, spec_count, name, length);
        const char *value = name[length] ? name + length + 1 : NULL;
        if (!spec && text[1] != '-' && text[2]) { /* -O2, -oFILE */
            spec = find_spec(specs, spec_count, name, 1);
            value = name + 1;
        }
        if (!spec) return usage_error(argv[0], "unknown option '%s'", text);
        if (!spec->value && value) return usage_error(argv[0], "no value goes with '%s'", text);
        if (spec->value && !value) {
            if (i + 1 == argc) return usage_error(argv[0], "a value is missing after '%s'", text);
            value = argv[++i];
        }
        a.options[a.option_count++] = (option){spec, spec->name, value};
    }
    *out_arguments = a;
    if (arguments_has(&a, "help")) return true;
    if (a.operand_count < which->least || a.operand_count > which->most)
        return usage_error(a.verb, "expected %s", which->expected);
    return check_companions(&a) && check_outputs(&a) && expand_archives(out_arguments);
}

static bool is_target(const char *target, const char *name) {
    return target && !strcmp(target, name);
}

static bool has_effect(const arguments *a, option_need need, const char *target) {
    bool eval = is_target(target, "eval"), interpreted = eval || is_target(target, "loops");
    bool listed = arguments_has(a, "passes");
    switch (need) {
    case NEEDS_LEVEL:
        return !eval || !listed;
    case NEEDS_PASSES:
        return !eval || listed || arguments_has(a, "O");
    case NEEDS_CODE:
        return !interpreted && !is_target(target, "c");
    case NEEDS_NATIVE:
    case NEEDS_THREADS:
        return !interpreted;
    default:
        return true;
    }
}

static bool is_compilation(option_need need) {
    return need == NEEDS_MODEL || need == NEEDS_LEVEL || need == NEEDS_PASSES || need == NEEDS_CODE;
}

/* An option of something compiled that this operand is not. */
static bool check_compiled(const char *verb, const char *name, option_need need,
                           operand_kind kind) {
    if (kind == IS_MODEL && (need == NEEDS_ARTIFACT || need == NEEDS_RANKS))
        return usage_error(verb, "%s%s does nothing for a model: it is of %s", dashes(name), name,
                           need == NEEDS_RANKS ? "programs of several ranks" : "artifacts");
    if (kind == IS_ARTIFACT && need == NEEDS_RANKS)
        return usage_error(verb,
                           "%s%s does nothing for one program: it is of those of several ranks",
                           dashes(name), name);
    if (kind == IS_FOLDER && need == NEEDS_THREADS)
        return usage_error(verb,
                           "%s%s does nothing for programs of several ranks: each has one thread",
                           dashes(name), name);
    return true;
}

bool arguments_apply(const arguments *a, operand_kind kind, const char *const *targets,
                     size_t count) {
    const bool is_artifact = kind != IS_MODEL;
    for (size_t i = 0; i < a->option_count; ++i) {
        const char *name = a->options[i].name;
        option_need need = a->options[i].spec->need;
        if (is_artifact && is_compilation(need))
            return usage_error(a->verb, "%s%s does nothing for what is compiled already",
                               dashes(name), name);
        if (!check_compiled(a->verb, name, need, kind)) return false;
        bool helps = is_artifact;
        for (size_t k = 0; k < count; ++k) helps = helps || has_effect(a, need, targets[k]);
        if (!helps)
            return usage_error(a->verb, "%s%s does nothing with target %s", dashes(name), name,
                               targets[count - 1]);
    }
    return true;
}

const char *arguments_find(const arguments *a, const char *name) {
    for (size_t i = a->option_count; i-- > 0;)
        if (!strcmp(a->options[i].name, name))
            return a->options[i].value ? a->options[i].value : "";
    return NULL;
}

const char *const *arguments_list(const arguments *a, const char *name) {
    const char **values = keep_until_exit((a->option_count + 1) * sizeof *values);
    size_t count = 0;
    for (size_t i = 0; i < a->option_count; i++)
        if (!strcmp(a->options[i].name, name)) values[count++] = a->options[i].value;
    return values;
}

bool arguments_has(const arguments *a, const char *name) {
    return arguments_find(a, name) != NULL;
}

static bool refuse_number(const arguments *a, const char *name, const char *kind, double low,
                          double high) {
    return usage_error(a->verb, "%s%s%s%s: expected %s from %g to %g", dashes(name), name,
                       between(name), arguments_find(a, name), kind, low, high);
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
        return refuse_number(a, name, "a number", low, high);
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
        return refuse_number(a, name, "an integer", (double)low, (double)high);
    *out_number = number;
    return true;
}

const char *shown(const char *name) {
    sinter_text text = {0};
    sinter_text_printable(&text, sinter_string_of(name), "");
    char *copy = keep_until_exit(text.size + 1);
    if (text.size) memcpy(copy, text.data, text.size);
    sinter_text_deinit(&text);
    return copy;
}

void print_help(const command *which) {
    size_t count = 0;
    const option_spec *specs = command_options(which, &count);
    printf("usage: %s\n%s\n\noptions:\n", which->usage, which->details);
    for (size_t i = 0; i < count; ++i) {
        char text[64];
        const char *name = specs[i].name, *value = specs[i].value;
        snprintf(text, sizeof text, "%s%s%s%s", dashes(name), name, value ? between(name) : "",
                 value ? value : "");
        printf("  %-24s %s\n", text, specs[i].doc);
    }
}
