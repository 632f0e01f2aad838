/* The sub-commands of `sinter` and what they share. Exit statuses: 0 done, 1 the answer is no, 2 bad usage or input,
 * 3 our own bug. Test: tests/cli/ */
#pragma once
#include "ir/base/file.h"
#include "ir/base/clock.h"
#include "runtime/jit/engine.h"
#include "runtime/jit/profile.h"
#include <stdio.h>

/* ---- arguments ---- */
/* An option that would do nothing is a usage error: what it needs besides the options that `with` and `without` name. */
typedef enum option_need {
    NEEDS_NOTHING,
    NEEDS_MODEL,    /* something to compile */
    NEEDS_LEVEL,    /* that the level is not overruled: eval with --passes has none */
    NEEDS_PASSES,   /* passes that run: eval has them with --passes or -O only */
    NEEDS_CODE,     /* code made here: neither eval, loops nor c */
    NEEDS_NATIVE,   /* native code: neither eval nor loops */
    NEEDS_THREADS,  /* native code of one program: ranks of several have one thread each */
    NEEDS_ARTIFACT, /* something compiled */
    NEEDS_RANKS,    /* the compiled programs of several ranks, or of stages */
} option_need;
/* What a command is given to run. */
typedef enum operand_kind { IS_MODEL, IS_ARTIFACT, IS_FOLDER } operand_kind; /* a folder: of programs of ranks or stages */
/* What an option's value, FILE or NAME=FILE, is to the command. */
typedef enum option_file { NO_FILE, READS_FILE, WRITES_FILE } option_file;
/* Options are --name=value, --name value, -n value, or flags. */
typedef struct option_spec {
    const char *name;  /* "threads" (--threads) or "o" (-o) */
    const char *value; /* what its value is called in the help; NULL: a flag */
    const char *doc;
    option_need need;
    const char *with, *without; /* names of other options, or NULL */
    option_file file;           /* operands are read: none of these, nor what another option names, is written over */
    bool takes_archive; /* FILE.npz stands for NAME=FILE.npz with each name that it has */
} option_spec;
typedef struct option {
    const option_spec *spec;
    const char *name, *value; /* value NULL for flags */
} option;
typedef struct arguments {
    const char *verb;
    option *options;      /* in order */
    const char **operands;
    size_t option_count, operand_count;
} arguments;

typedef struct command {
    const char *name, *operands, *doc; /* a line each, for the list of commands */
    const char *usage, *details;       /* for its own --help */
    const option_spec *options;
    size_t option_count;
    const char *shared; /* names of the shared options that it takes, "target dim passes" */
    const char *expected; /* what its operands are, for messages */
    size_t least, most;   /* operands */
    int (*run)(const arguments *a);
} command;
/* The shared options of a command that compiles and runs. */
#define ENGINE_OPTIONS                                                                             \
    "target device dim passes O precision no-winograd tuning threads jobs cache verify-each print-after stop-after "       \
    "time-passes"
#define COMMAND_OPTIONS(list) .options = (list), .option_count = sizeof(list) / sizeof *(list)
extern const command command_compile, command_run, command_test, command_bench, command_inspect, command_diff, command_tune,
    command_compress, command_shard, command_plan;

/* All that return bool: false after a message on standard error. Memory lives until the process ends.
 * argv[0] is the command's name. */
bool arguments_parse(int argc, char **argv, const command *which, arguments *out_arguments);
/* "sinter VERB: error: ...; see sinter VERB --help" */
bool usage_error(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether each option does something for what is compiled, or for a model on one of these targets (NULL: cpu). */
bool arguments_apply(const arguments *a, operand_kind kind, const char *const *targets, size_t count);
const char *arguments_find(const arguments *a, const char *name); /* last value, NULL where absent; "" for flags */
/* All values of an option that may be repeated, and NULL. Never given back. */
const char *const *arguments_list(const arguments *a, const char *name);
bool arguments_has(const arguments *a, const char *name);
/* A number within [low, high]; `otherwise` where absent; false after a message. */
bool arguments_number(const arguments *a, const char *name, double low, double high, double otherwise, double *out_number);
/* The same of whole numbers. */
bool arguments_integer(const arguments *a, const char *name, int64_t low, int64_t high, int64_t otherwise,
                       int64_t *out_number);
/* Zeroed memory that is never given back. */
void *keep_until_exit(size_t size);
/* A name of the model's for the terminal: without control characters. Never given back. */
const char *shown(const char *name);
void print_help(const command *which);
/* Is the name one of those in a list with blanks between them? */
bool is_named(const char *names, const char *name);

/* ---- models and tensors ---- */
/* Import with --dim applied: "N=8", "N=1..2048". */
sinter_module *load_model(const char *path, const arguments *a, sinter_diag *diag);
/* The model of one micro-batch: NAME=SIZE in place of what --dim says of the name. NULL after an error. */
sinter_module *load_micro(const arguments *a, const char *micro, sinter_diag *diag);
/* How many such make up a run, by the first axes of inputs that differ; 0: runs say. */
bool count_micro_batches(const sinter_module *whole, const sinter_module *part, int64_t *out_count, sinter_diag *diag);
/* Notes which symbolic dims of inputs are which numbers to what prices the model. */
void tell_assumed(sinter_module *module, sinter_diag *diag);
/* --target, --passes, -O, --threads, --verify-each, ... */
bool engine_options(const arguments *a, sinter_engine_options *out_options);
/* What --device says, or what code for the target (NULL: cpu) needs: "cpu", "cuda", ... */
const char *device_name(const arguments *a, const char *target);
/* Opens it, until the process ends, and gives code for it to the options. The device
 * can't be used by children that are forked later. False after a message. */
bool open_device(const arguments *a, sinter_engine_options *options, sinter_diag *diag);
extern const option_spec shared_options[];
extern const size_t shared_option_count;
/* Inputs of the engine from -i NAME=FILE; missing ones are made (seeded, with a note). */
bool make_inputs(const sinter_engine *engine, const arguments *a, sinter_tensor *out_inputs, sinter_diag *diag);
/* Tensors of a run, zeroed where there are none yet. */
typedef struct tensors {
    sinter_tensor *items;
    size_t count;
} tensors;
tensors tensors_create(size_t count);
void tensors_clear(tensors *list); /* the tensors, not the list */
void tensors_destroy(tensors *list);
/* An engine with inputs and outputs of its own. */
typedef struct bound_run {
    sinter_engine *engine;
    tensors inputs, outputs;
} bound_run;
bound_run bound_run_create(sinter_engine *engine); /* all empty */
bool bound_run_execute(bound_run *run, sinter_diag *diag); /* outputs must be empty */
void bound_run_destroy(bound_run *run);                    /* not the engine */
/* A tensor file for input `index`; raw files are allowed. */
bool read_input(const sinter_engine *engine, size_t index, const char *path, sinter_tensor *out_tensor,
                sinter_diag *diag);
/* A tensor file to compare output `index` with: the kind is the output's, the rest is the comparison's to say. */
bool read_expected(const sinter_engine *engine, size_t index, const char *path, sinter_tensor *out_tensor,
                   sinter_diag *diag);
sinter_engine *open_engine(const char *path, const arguments *a, sinter_diag *diag); /* model or artifact */
/* In a job of processes, on those that serve the first one: does so, ends the engine and gives the status to end with; false
 * elsewhere. */
bool serve_job(sinter_engine *engine, sinter_diag *diag, int *out_status);
/* Outputs are taken and given back in each run. Their pages stay with the process, as they do with a caller who keeps
 * buffers: what is measured is the model, not the system clearing pages. */
void keep_pages(void);
/* Resident bytes of this process: now, and the largest so far. */
uint64_t memory_now(void);
uint64_t memory_peak(void);
/* Of those from start on: how many lie on huge pages. */
uint64_t memory_huge(const void *start, uint64_t bytes);
/* The peak of a process that loads the compiled artifact and runs it, less what it held before. */
bool measure_run_memory(const sinter_engine *engine, const arguments *a, uint64_t *out_bytes, sinter_diag *diag);
/* A line on standard error in place of the one before, where that is a terminal; "" clears it. */
void show_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints diagnostics to standard error. */
sinter_diag stderr_diag(void);

/* ---- time of each kernel ---- */
/* The file of --trace, if there is one: opened before anything is run, in its place when it is closed and all went well. In between runs of
 * the engine are kept after start. May not be moved. False after a message. */
typedef struct trace_file {
    sinter_engine *engine;
    sinter_trace trace;
    sinter_file_writer writer;
    bool is_open;
} trace_file;
bool trace_file_open(trace_file *out_file, const arguments *a, sinter_diag *diag);
bool trace_file_start(trace_file *file, sinter_engine *engine, const char *name, sinter_diag *diag);
bool trace_file_close(trace_file *file, bool keep, sinter_diag *diag);
/* The unit of a table of times whose longest is so many seconds: "ms", "us" or "ns", that one or more of them. */
typedef struct time_unit {
    const char *name;
    double per_second;
} time_unit;
time_unit time_unit_of(double longest);
/* A table of the kernels, slowest first. */
void profile_print(const sinter_profile *p, FILE *file);
