/* sinter-opt: reads a .sir file, runs the passes its flags name, in their order, and prints the result.
 * The tool behind the text tests. Exit status: 0 done, 2 bad usage or input, 3 a pass broke the graph.
 * Test: tests/passes/manager/, tests/ir/ */
#include "ir/base/file.h"
#include "ir/hardware.h"
#include "ir/infer.h"
#include "ir/parse.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "tools/sinter-opt/compression.h"
#include "tools/sinter-opt/loops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_DONE = 0, STATUS_BAD_INPUT = 2, STATUS_OUR_BUG = 3 };

typedef struct command_line {
    const char *path;
    bool list_passes, help, print_locations;
    const char *level_passes; /* of -O, NULL without */
    SINTER_VECTOR(const sinter_pass *) passes;
    SINTER_VECTOR(const char *) dims; /* NAME=8 or NAME=1..64 */
    sinter_pipeline_options pipeline;
    sinter_opt_compression compression;
    sinter_hardware hardware; /* where the pipeline has it */
    sinter_arena arena;
} command_line;

static const char help[] =
    "usage: sinter-opt FILE.sir|- [--PASS]... [OPTION]...\n"
    "Reads a module, runs the passes in the order given, prints the module.\n"
    "\n"
    "  --PASS, --passes=LIST  run a pass; a comma-separated list of them\n"
    "  -O0 .. -O3             then run the default pipeline of that level\n"
    "  --dim NAME=N|MIN..MAX  bind or bound a symbol before the first pass\n"
    "  --precision=TYPE       f32, tf32, bf16, f16 or i8, for the pass lower-precision\n"
    "  --recipe=FILE          what compressing passes do to each layer\n"
    "  --compress=WORDS       the same of all layers: 'weights=int8 per=channel'\n"
    "  --samples=N            N samples, made from a seed, for passes that calibrate\n"
    "  --sample=NAME=FILE     samples of an input, stacked, from a tensor file\n"
    "  --hardware=FILE        what ranks run on, for shard-auto and pipeline-split\n"
    "  --goal=GOAL            latency, throughput or memory, for shard-auto\n"
    "  --stages=N             of a pipeline, for pipeline-split, which chooses it otherwise\n"
    "  --requests=N           of a run of a pipeline, for that choice; without: ever more\n"
    "  --explain              what passes chose, and why, as warnings and notes\n"
    "  --verify-each          verify after each pass (always done before the first and after the "
    "last)\n"
    "  --print-after=PASS     print the module after each run of the pass; 'all' for every pass\n"
    "  --stop-after=N         stop when N passes have changed something\n"
    "  --time-passes          time and number of changes of each pass, as comments on standard "
    "error\n"
    "  --no-locations         leave out loc(...)\n"
    "  --list-passes          the passes and what they do\n"
    "  --help                 this text\n";

const char *sinter_opt_value(const char *argument, const char *name) {
    size_t size = strlen(name);
    bool same = strncmp(argument, name, size) == 0 && argument[size] == '=';
    return same ? argument + size + 1 : NULL;
}

static bool add_passes(command_line *command, const char *list, sinter_diag *diag) {
    const sinter_pass *const *passes = NULL;
    size_t count = 0;
    if (!sinter_pipeline_parse(list, &command->arena, &passes, &count, diag)) return false;
    for (size_t i = 0; i < count; i++)
        sinter_vector_push(&command->arena, &command->passes, passes[i]);
    return true;
}

static bool read_stop_after(command_line *command, const char *value, sinter_diag *diag) {
    char *end = NULL;
    command->pipeline.stop_after = strtoll(value, &end, 10);
    if (end != value && !*end && command->pipeline.stop_after >= 0) return true;
    return sinter_error(diag, "sinter-opt", "--stop-after: expected a number, found '%s'", value);
}

static bool read_hardware(command_line *command, const char *path, sinter_diag *diag) {
    if (command->pipeline.hardware)
        return sinter_error(diag, "sinter-opt", "--hardware: expected one description");
    if (!sinter_hardware_read(path, &command->hardware, diag)) return false;
    command->pipeline.hardware = &command->hardware;
    return true;
}

static bool read_number(const char *name, const char *value, long most, long *out_number,
                        sinter_diag *diag) {
    char *end = NULL;
    errno = 0;
    *out_number = strtol(value, &end, 10);
    return (!errno && end != value && !*end && *out_number >= 1 && *out_number <= most) ||
           sinter_error(diag, "sinter-opt", "%s=%s: expected a number from 1 to %ld", name, value,
                        most);
}

static bool read_stages(command_line *command, const char *value, sinter_diag *diag) {
    long number = 0;
    bool good = read_number("--stages", value, SINTER_MOST_STAGES, &number, diag);
    command->pipeline.stages = (uint32_t)number;
    return good;
}

static bool read_requests(command_line *command, const char *value, sinter_diag *diag) {
    long number = 0;
    bool good = read_number("--requests", value, 1000000000, &number, diag);
    command->pipeline.requests = number;
    return good;
}

static bool read_print_after(command_line *command, const char *value, sinter_diag *diag) {
    command->pipeline.print_after = value;
    if (strcmp(value, "all") == 0 || sinter_pass_find(sinter_string_of(value))) return true;
    return sinter_error(diag, "sinter-opt", "--print-after: unknown pass '%s'", value);
}

/* An argument that starts with '-' and has more after it. */
static bool read_option(command_line *command, const char *argument, sinter_diag *diag) {
    const char *value = NULL;
    if (strcmp(argument, "--help") == 0)
        command->help = true;
    else if (strcmp(argument, "--list-passes") == 0)
        command->list_passes = true;
    else if (strcmp(argument, "--verify-each") == 0)
        command->pipeline.verify_each = true;
    else if (strcmp(argument, "--explain") == 0)
        command->pipeline.explain = true;
    else if (strcmp(argument, "--time-passes") == 0)
        command->pipeline.time_passes = true;
    else if (strcmp(argument, "--no-locations") == 0)
        command->print_locations = false;
    else if (strncmp(argument, "-O", 2) == 0 && strlen(argument) == 3 && argument[2] >= '0' &&
             argument[2] <= '3') {
        command->level_passes = sinter_pipeline_of_level(argument[2] - '0');
    } else if ((value = sinter_opt_value(argument, "--passes")))
        return add_passes(command, value, diag);
    else if ((value = sinter_opt_value(argument, "--precision"))) {
        if (!sinter_precision_parse(value, &command->pipeline.precision))
            return sinter_error(diag, "sinter-opt",
                                "--precision=%s: expected " SINTER_PRECISION_NAMES, value);
    } else if (sinter_opt_compression_takes(argument))
        return sinter_opt_compression_read(&command->compression, argument, diag);
    else if ((value = sinter_opt_value(argument, "--hardware")))
        return read_hardware(command, value, diag);
    else if ((value = sinter_opt_value(argument, "--goal"))) {
        if (!sinter_goal_parse(value, &command->pipeline.goal))
            return sinter_error(diag, "sinter-opt",
                                "--goal=%s: expected latency, throughput or memory", value);
    } else if ((value = sinter_opt_value(argument, "--stages")))
        return read_stages(command, value, diag);
    else if ((value = sinter_opt_value(argument, "--requests")))
        return read_requests(command, value, diag);
    else if ((value = sinter_opt_value(argument, "--stop-after")))
        return read_stop_after(command, value, diag);
    else if ((value = sinter_opt_value(argument, "--print-after")))
        return read_print_after(command, value, diag);
    else if ((value = sinter_opt_value(argument, "--dim")))
        sinter_vector_push(&command->arena, &command->dims, value);
    else if (strncmp(argument, "--", 2) == 0 && sinter_pass_find(sinter_string_of(argument + 2)))
        return add_passes(command, argument + 2, diag);
    else
        return sinter_error(diag, "sinter-opt", "unknown option '%s'; see --help and --list-passes",
                            argument);
    return true;
}

static bool read_arguments(command_line *command, int argc, char **argv, sinter_diag *diag) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--dim") == 0 && i + 1 < argc) {
            const char *value = argv[++i];
            sinter_vector_push(&command->arena, &command->dims, value);
        } else if (argv[i][0] == '-' && argv[i][1]) {
            if (!read_option(command, argv[i], diag)) return false;
        } else if (command->path) {
            return sinter_error(diag, "sinter-opt", "expected one file, found '%s' and '%s'",
                                command->path, argv[i]);
        } else {
            command->path = argv[i];
        }
    }
    if (command->help || command->list_passes) return true;
    if (!command->path) return sinter_error(diag, "sinter-opt", "expected a file; see --help");
    if (command->level_passes && !add_passes(command, command->level_passes, diag)) return false;
    const sinter_pipeline_options *how = &command->pipeline;
    const char *idle = how->verify_each              ? "--verify-each"
                       : how->explain                ? "--explain"
                       : how->print_after            ? "--print-after"
                       : how->stop_after >= 0        ? "--stop-after"
                       : how->time_passes            ? "--time-passes"
                       : how->precision              ? "--precision"
                       : how->hardware               ? "--hardware"
                       : how->goal                   ? "--goal"
                       : how->stages                 ? "--stages"
                       : how->requests               ? "--requests"
                       : command->compression.option ? command->compression.option
                                                     : NULL;
    return command->passes.count || !idle ||
           sinter_error(diag, "sinter-opt", "%s does nothing without passes; see --help", idle);
}

static int run_passes(command_line *command, sinter_module *module, sinter_diag *diag) {
    if (!sinter_verify_module(module, diag)) return STATUS_BAD_INPUT;
    for (size_t i = 0; i < command->dims.count; i++)
        if (!sinter_infer_bind_text(module, command->dims.items[i], diag)) return STATUS_BAD_INPUT;
    if (!sinter_opt_compression_prepare(&command->compression, module, diag))
        return STATUS_BAD_INPUT;
    command->pipeline.compression = &command->compression.base;
    bool ok = sinter_pipeline_run(module, command->passes.items, command->passes.count,
                                  &command->pipeline, diag);
    bool valid = sinter_verify_module(module, NULL);
    if (ok && !valid) sinter_verify_module(module, diag); /* says why */
    if (!valid) return STATUS_OUR_BUG;
    return ok ? STATUS_DONE : STATUS_BAD_INPUT;
}

/* As it is written on the command line, with dashes. */
static void put_pass(const sinter_pass *pass) {
    char flag[64];
    snprintf(flag, sizeof flag, "--%s", pass->name);
    for (char *c = flag; *c; c++)
        if (*c == '_') *c = '-';
    printf("%-24s %s\n", flag, pass->doc);
}

static int run(command_line *command, sinter_diag *diag) {
    sinter_module *module = sinter_parse_file(command->path, diag);
    if (!module) return STATUS_BAD_INPUT;
    int status = run_passes(command, module, diag);
    if (status == STATUS_DONE) {
        sinter_text text = {0};
        sinter_print_options options = {.locations = command->print_locations};
        sinter_print_module(module, &options, &text);
        fwrite(text.data, 1, text.size, stdout);
        sinter_text_deinit(&text);
    }
    sinter_module_destroy(module);
    return status;
}

static int run_graph(int argc, char **argv, sinter_diag *diag) {
    command_line command = {.print_locations = true,
                            .pipeline = {.stop_after = -1, .output = stderr}};
    sinter_arena_init(&command.arena);
    int status = STATUS_BAD_INPUT;
    if (read_arguments(&command, argc, argv, diag)) {
        status = STATUS_DONE;
        if (command.help) {
            fputs(help, stdout);
            sinter_opt_loops_help(stdout);
        } else if (command.list_passes)
            for (size_t i = 0; i < sinter_pass_count; i++) put_pass(&sinter_passes[i]);
        else
            status = run(&command, diag);
    }
    sinter_opt_compression_deinit(&command.compression);
    if (command.pipeline.hardware) sinter_hardware_deinit(&command.hardware);
    sinter_arena_deinit(&command.arena);
    return status;
}

int main(int argc, char **argv) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stderr};
    sinter_file_begin_program();
    int status = sinter_opt_is_loops(argc, argv) ? sinter_opt_loops(argc, argv, &diag)
                                                 : run_graph(argc, argv, &diag);
    return sinter_file_end_program(&diag) ? status : STATUS_BAD_INPUT;
}
