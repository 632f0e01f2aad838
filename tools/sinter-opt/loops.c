/* sinter-opt on a loop program: reads it, verifies, applies the schedule verbs that its flags name, in their order, to one
 * kernel, and prints the program. After each verb the result is verified, and with --check run against the program
 * before it on made-up data.
 * Exit status: 0 done, 1 a verb refused, 2 bad usage or input, 3 a verb broke the program.
 * Test: tests/codegen/loops/ */
#include "tools/sinter-opt/loops.h"
#include "codegen/loop_check.h"
#include "codegen/loop_rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_DONE = 0, STATUS_REFUSED = 1, STATUS_BAD_INPUT = 2, STATUS_OUR_BUG = 3 };

const char sinter_opt_loops_help[] =
    "\n"
    "usage: sinter-opt FILE.loops [OPTION]...   ('-' with --loops is standard input)\n"
    "Reads a loop program, verifies it, rewrites one kernel, prints the program.\n"
    "\n"
    "  --kernel=NAME          the kernel that the verbs apply to; the first one without it\n"
    "  --check                run the kernel before and after each verb and compare what it "
    "writes\n"
    "  --size=NAME=N          value of a scalar parameter for --check; 7 without it\n"
    "  --no-verify            print without looking at it\n";

typedef struct command_line {
    const char *path, *kernel;
    bool check, verify;
    SINTER_VECTOR(const char *) verbs;
    SINTER_VECTOR(const char *) size_names;
    SINTER_VECTOR(int64_t) sizes;
    sinter_arena arena;
} command_line;

static bool ends_with(const char *text, const char *end) {
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

bool sinter_opt_is_loops(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--loops") == 0 || ends_with(argv[i], ".loops")) return true;
    return false;
}

/* The value of --name=VALUE; NULL where argument is something else. */
static const char *option_value(const char *argument, const char *name) {
    size_t size = strlen(name);
    bool same = strncmp(argument, name, size) == 0 && argument[size] == '=';
    return same ? argument + size + 1 : NULL;
}

static bool add_size(command_line *command, const char *value, sinter_diag *diag) {
    const char *equals = strchr(value, '=');
    char *end = NULL;
    long long size = equals ? strtoll(equals + 1, &end, 10) : 0;
    if (!equals || end == equals + 1 || *end)
        return sinter_error(diag, "sinter-opt", "--size: expected NAME=N, found '%s'", value);
    const char *name = sinter_arena_copy_string(&command->arena, value, (size_t)(equals - value));
    sinter_vector_push(&command->arena, &command->size_names, name);
    sinter_vector_push(&command->arena, &command->sizes, size);
    return true;
}

static bool read_arguments(command_line *command, int argc, char **argv, sinter_diag *diag) {
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i], *value;
        if (strcmp(argument, "--loops") == 0) continue;
        if (strcmp(argument, "--check") == 0)
            command->check = true;
        else if (strcmp(argument, "--no-verify") == 0)
            command->verify = false;
        else if ((value = option_value(argument, "--kernel")))
            command->kernel = value;
        else if ((value = option_value(argument, "--size"))) {
            if (!add_size(command, value, diag)) return false;
        } else if (strncmp(argument, "--loop-", 7) == 0)
            sinter_vector_push(&command->arena, &command->verbs, argument + 2);
        else if (argument[0] == '-' && argument[1])
            return sinter_error(diag, "sinter-opt", "unknown option '%s'; see --help", argument);
        else if (command->path)
            return sinter_error(diag, "sinter-opt", "expected one file, found '%s' and '%s'",
                                command->path, argument);
        else
            command->path = argument;
    }
    return command->path || sinter_error(diag, "sinter-opt", "expected a file; see --help");
}

static bool read_file(const char *path, sinter_text *text, sinter_diag *diag) {
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rb");
    if (!file) return sinter_error(diag, path, "can't open the file");
    char buffer[65536];
    size_t size;
    while ((size = fread(buffer, 1, sizeof buffer, file)) > 0)
        sinter_text_append(text, buffer, size);
    bool ok = !ferror(file);
    if (!is_stdin) fclose(file);
    return ok || sinter_error(diag, path, "can't read the file");
}

static bool write_program(const sinter_loop_program *program, sinter_diag *diag) {
    sinter_text text = {0};
    sinter_loop_print(program, &text);
    bool ok = fwrite(text.data, 1, text.size, stdout) == text.size && fflush(stdout) == 0;
    sinter_text_deinit(&text);
    return ok || sinter_error(diag, "sinter-opt", "can't write to standard output");
}

static int run(command_line *command, sinter_loop_program *program, sinter_diag *diag) {
    if (command->verify && !sinter_loop_verify(program, diag)) return STATUS_BAD_INPUT;
    return write_program(program, diag) ? STATUS_DONE : STATUS_BAD_INPUT;
}

int sinter_opt_loops(int argc, char **argv, sinter_diag *diag) {
    command_line command = {.verify = true};
    sinter_text text = {0};
    sinter_arena_init(&command.arena);
    int status = STATUS_BAD_INPUT;
    if (read_arguments(&command, argc, argv, diag) && read_file(command.path, &text, diag)) {
        sinter_loop_program *program = sinter_loop_parse(command.path, text.data, text.size, diag);
        if (program) status = run(&command, program, diag);
        sinter_loop_program_destroy(program);
    }
    sinter_text_deinit(&text);
    sinter_arena_deinit(&command.arena);
    return status;
}
