/* `sinter`: dispatches to sub-commands. Test: tests/cli/, tests/suites/bad_input.py */
#include "ir/base/file.h"
#include "tools/sinter/command.h"
#include <stdio.h>
#include <string.h>

static const command *const commands[] = {
    &command_compile, &command_run,  &command_test,     &command_bench, &command_inspect,
    &command_diff,    &command_tune, &command_compress, &command_shard, &command_plan};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void usage(FILE *file) {
    fputs("usage: sinter COMMAND [ARGUMENT]...\n\ncommands:\n", file);
    for (int i = 0; i < COMMAND_COUNT; ++i)
        fprintf(file, "  %-9s %-16s %s\n", commands[i]->name, commands[i]->operands,
                commands[i]->doc);
    fputs("\n`sinter COMMAND --help` tells more. Exit status: 0 done, 1 the answer is no, 2 bad "
          "usage or\n"
          "input, 3 a bug of sinter's.\n",
          file);
}

static int run(const command *which, int argc, char **argv) {
    arguments a;
    if (!arguments_parse(argc, argv, which, &a)) return 2;
    if (!arguments_has(&a, "help")) return which->run(&a);
    print_help(which);
    return 0;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    bool asks = !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help");
    if (asks && argc == 2) {
        usage(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("sinter 0.1.0");
        return 0;
    }
    const char *name = argv[asks ? 2 : 1];
    for (int i = 0; i < COMMAND_COUNT; ++i) {
        if (strcmp(name, commands[i]->name)) continue;
        if (!asks) return run(commands[i], argc - 1, argv + 1);
        print_help(commands[i]);
        return 0;
    }
    fprintf(stderr, "sinter: error: unknown command '%s'; see sinter --help\n", name);
    return 2;
}

int main(int argc, char **argv) {
    sinter_file_begin_program();
    int status = dispatch(argc, argv);
    sinter_diag diag = stderr_diag();
    return sinter_file_end_program(&diag) ? status : 2;
}
