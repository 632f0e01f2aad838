/* The sub-commands of `sinter` and what they share. Exit statuses: 0 done, 1 the answer is no, 2 bad usage or input,
 * 3 our own bug. Test: tests/cli/ */
#pragma once
#include "ir/base/clock.h"
#include "runtime/jit/engine.h"
#include <stdio.h>

typedef struct command {
    const char *name, *usage, *doc;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
} command;

int command_compile(int argc, char **argv);
int command_run(int argc, char **argv);
int command_test(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_diff(int argc, char **argv);

/* ---- arguments ---- */
/* Options are --name=value, --name value, -n value, or flags. A spec without `value` is a flag. */
typedef struct option_spec {
    const char *name;  /* "threads" (--threads) or "o" (-o) */
    bool has_value;
    const char *doc;
} option_spec;
typedef struct option {
    const char *name, *value; /* value NULL for flags */
} option;
typedef struct arguments {
    option *options;      /* in order */
    const char **operands;
    size_t option_count, operand_count;
} arguments;
/* False after a message on standard error. Memory lives until the process ends. */
bool arguments_parse(int argc, char **argv, const option_spec *specs, size_t spec_count, arguments *out_arguments);
const char *arguments_find(const arguments *a, const char *name); /* last value, NULL where absent; "" for flags */
bool arguments_has(const arguments *a, const char *name);
/* A number within [low, high]; `otherwise` where absent; false after a message. */
bool arguments_number(const arguments *a, const char *name, double low, double high, double otherwise, double *out_number);
/* The same of whole numbers. */
bool arguments_integer(const arguments *a, const char *name, int64_t low, int64_t high, int64_t otherwise,
                       int64_t *out_number);
/* Zeroed memory that is never given back. */
void *keep_until_exit(size_t size);
void print_help(const char *usage, const char *doc, const option_spec *specs, size_t spec_count);

/* ---- models and tensors ---- */
/* Import with --dim applied: "N=8", "N=1..2048". */
sinter_module *load_model(const char *path, const arguments *a, sinter_diag *diag);
/* --target, --passes, -O, --threads, --verify-each, ... */
bool engine_options(const arguments *a, sinter_engine_options *out_options);
extern const option_spec model_options[];
extern const size_t model_option_count;
/* model_options followed by `own`. */
const option_spec *join_specs(const option_spec *own, size_t own_count, size_t *out_count);
/* Inputs of the engine from -i NAME=FILE; missing ones are made (seeded, with a note). */
bool make_inputs(const sinter_engine *engine, const arguments *a, sinter_tensor *out_inputs, sinter_diag *diag);
/* A tensor file for input `index`; raw files are allowed. */
bool read_input(const sinter_engine *engine, size_t index, const char *path, sinter_tensor *out_tensor,
                sinter_diag *diag);
/* A tensor file to compare output `index` with: the kind is the output's, the rest is the comparison's to say. */
bool read_expected(const sinter_engine *engine, size_t index, const char *path, sinter_tensor *out_tensor,
                   sinter_diag *diag);
sinter_engine *open_engine(const char *path, const arguments *a, sinter_diag *diag); /* model or artifact */
/* Resident bytes of this process: now, and the largest so far. */
uint64_t memory_now(void);
uint64_t memory_peak(void);
/* The peak of a process that loads the compiled artifact and runs it, less what it held before. */
bool measure_run_memory(const sinter_engine *engine, const arguments *a, uint64_t *out_bytes, sinter_diag *diag);
/* Prints diagnostics to standard error. */
sinter_diag stderr_diag(void);

/* ---- time of each kernel ---- */
typedef struct profile profile;
/* Runs of the engine are timed kernel by kernel until it is destroyed. NULL with a message where the engine has no kernels. */
profile *profile_create(sinter_engine *engine);
void profile_destroy(profile *p);
void profile_reset(profile *p); /* forgets the runs so far */
/* A table of the kernels, slowest first; times are means over `runs` runs. */
void profile_print(const profile *p, size_t runs, FILE *file);
