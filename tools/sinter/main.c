/* `sinter`: dispatches to sub-commands. Test: tests/cli/, tests/suites/bad_input.py */
#include "tools/sinter/command.h"
#include <stdio.h>
#include <string.h>

static const command commands[] = {
    {"compile", "MODEL -o OUT", "compile ahead of time: artifact, object, C, or any stage",
     command_compile},
    {"run", "MODEL|ARTIFACT", "run a model on inputs and write or check its outputs", command_run},
    {"test", "DIR...", "run ONNX backend test cases", command_test},
    {"bench", "MODEL|ARTIFACT", "measure latency, memory and compile time", command_bench},
    {"inspect", "MODEL", "show what is in a model, as text or as a page", command_inspect},
    {"diff", "MODEL A B", "compare two ways to run a model, node by node", command_diff},
};
enum { command_count = sizeof commands / sizeof commands[0] };

static void usage(FILE *file) {
    fputs("usage: sinter COMMAND [ARGUMENT]...\n\ncommands:\n", file);
    for (int i = 0; i < command_count; ++i)
        fprintf(file, "  %-8s %-16s %s\n", commands[i].name, commands[i].usage, commands[i].doc);
    fputs("\n`sinter COMMAND --help` tells more. Exit status: 0 done, 1 the answer is no, 2 bad "
          "usage or\n"
          "input, 3 a bug of sinter's.\n",
          file);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        usage(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("sinter 0.1.0");
        return 0;
    }
    for (int i = 0; i < command_count; ++i)
        if (!strcmp(argv[1], commands[i].name)) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "sinter: error: unknown command '%s'; see sinter --help\n", argv[1]);
    return 2;
}
