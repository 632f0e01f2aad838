/* sinter-opt on a loop program: reads it, verifies, applies the schedule verbs that its flags name, in their order, to one
 * kernel, and prints the program. After each verb the result is verified, and with --check run against the program
 * before it on made-up data.
 * Exit status: 0 done, 1 a verb refused, 2 bad usage or input, 3 a verb broke the program.
 * Test: tests/codegen/loops/ */
#include "tools/sinter-opt/loops.h"
#include "codegen/compile.h"
#include "codegen/emit/cuda.h"
#include "codegen/loops/mma.h"
#include "codegen/schedule/check.h"
#include "codegen/schedule/schedule.h"
#include "ir/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_DONE = 0, STATUS_REFUSED = 1, STATUS_BAD_INPUT = 2, STATUS_OUR_BUG = 3 };

typedef struct command_line {
    const char *path, *kernel;
    bool check, verify;
    bool (*emit)(const sinter_loop_program *, sinter_text *, sinter_diag *); /* NULL: loops */
    SINTER_VECTOR(const char *) verbs;
    SINTER_VECTOR(const char *) size_names;
    SINTER_VECTOR(int64_t) sizes;
    sinter_arena arena;
} command_line;

bool sinter_opt_is_loops(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--loops") == 0 || sinter_string_ends_with(argv[i], ".loops"))
            return true;
    return false;
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
        else if (strcmp(argument, "--emit=c") == 0)
            command->emit = sinter_emit_c_code;
        else if (strcmp(argument, "--emit=cuda") == 0)
            command->emit = sinter_emit_cuda_code;
        else if ((value = sinter_opt_value(argument, "--kernel")))
            command->kernel = value;
        else if ((value = sinter_opt_value(argument, "--size"))) {
            if (!add_size(command, value, diag)) return false;
        } else if (strncmp(argument, "--loop-", 7) == 0 || sinter_opt_value(argument, "--schedule"))
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

/* Standard output is checked at the end of the program. */
static bool write_program(const sinter_loop_program *program, const command_line *command,
                          sinter_diag *diag) {
    sinter_text text = {0};
    if (command->emit && !command->emit(program, &text, diag)) return false;
    if (!command->emit) sinter_loop_print(program, &text);
    fwrite(text.data, 1, text.size, stdout);
    sinter_text_deinit(&text);
    return true;
}

/* ---- verbs ---- */

enum { MAX_ARGUMENTS = 16 };

typedef struct verb_call {
    sinter_schedule *schedule;
    sinter_diag *diag;
    const char *arguments[MAX_ARGUMENTS];
    size_t count;
    const char *bad;    /* an argument that is not what is expected there */
    const char *sought; /* what there is none of that name: "loop"; NULL: it is bad otherwise */
    bool is_misused;    /* and an error has said how */
    bool packs;         /* an input has become: */
    sinter_loop_check_packing packing;
} verb_call;

typedef struct loop_verb {
    const char *name; /* without --, with _ for - */
    bool (*run)(verb_call *call);
    size_t least, most;          /* arguments */
    bool reassociates;           /* floats may differ by rounding */
    const char *arguments, *doc; /* in words */
} loop_verb;

/* What was found by the name of an argument: 0 is bad. */
static uint32_t found_argument(verb_call *call, size_t index, const char *sought, uint32_t found) {
    if (!found && !call->bad) {
        call->bad = call->arguments[index];
        call->sought = sought;
    }
    return found;
}

static sinter_loop_var loop_argument(verb_call *call, size_t index) {
    return found_argument(
        call, index, "loop",
        sinter_schedule_find_loop(call->schedule->function, call->arguments[index]));
}

/* All of the text up to the end is a number that something may be split, cut or packed by; 0 and call->bad otherwise. */
static int64_t read_number(verb_call *call, const char *text, char end) {
    char *stop = NULL;
    long long number = strtoll(text, &stop, 10);
    if (stop != text && (*stop == end || !*stop) && number >= INT32_MIN && number <= INT32_MAX)
        return number;
    if (!call->bad) call->bad = text;
    return 0;
}

static int64_t number_argument(verb_call *call, size_t index) {
    return read_number(call, call->arguments[index], 0);
}

/* The index of the word in the list, which ends with NULL; the first where there is no argument. */
static int word_argument(verb_call *call, size_t index, const char *const *words) {
    if (index >= call->count) return 0;
    for (int i = 0; words[i]; i++)
        if (!strcmp(call->arguments[index], words[i])) return i;
    if (!call->bad) call->bad = call->arguments[index];
    return 0;
}

static sinter_loop_buffer buffer_argument(verb_call *call, size_t index) {
    return found_argument(
        call, index, "buffer",
        sinter_schedule_find_buffer(call->schedule->function, call->arguments[index]));
}

static size_t loop_arguments(verb_call *call, size_t first, sinter_loop_var *out_loops) {
    for (size_t i = first; i < call->count; i++) out_loops[i - first] = loop_argument(call, i);
    return call->count > first ? call->count - first : 0;
}

static bool run_split(verb_call *call) {
    static const char *const words[] = {"exact", "guard", "peel", NULL};
    static const sinter_schedule_tail tails[] = {SINTER_TAIL_EXACT, SINTER_TAIL_GUARD,
                                                 SINTER_TAIL_PEEL};
    sinter_schedule_tail kind = tails[word_argument(call, 2, words)];
    return sinter_schedule_split(call->schedule, loop_argument(call, 0), number_argument(call, 1),
                                 kind, NULL, NULL, NULL);
}

static bool run_split_parts(verb_call *call) {
    int64_t least = call->count > 2 ? number_argument(call, 2) : 1;
    return sinter_schedule_split_parts(call->schedule, loop_argument(call, 0),
                                       number_argument(call, 1), least, NULL, NULL);
}

static bool run_reorder(verb_call *call) {
    sinter_loop_var loops[MAX_ARGUMENTS];
    size_t count = loop_arguments(call, 0, loops);
    return sinter_schedule_reorder(call->schedule, loops, count);
}

static bool run_fuse(verb_call *call) {
    return sinter_schedule_fuse(call->schedule, loop_argument(call, 0), loop_argument(call, 1),
                                NULL);
}

static bool run_collapse(verb_call *call) {
    return sinter_schedule_collapse(call->schedule, loop_argument(call, 0), loop_argument(call, 1),
                                    NULL);
}

static bool run_flatten(verb_call *call) {
    return sinter_schedule_flatten(call->schedule, buffer_argument(call, 0));
}

static bool run_merge(verb_call *call) {
    return sinter_schedule_merge(call->schedule, buffer_argument(call, 0),
                                 (uint32_t)number_argument(call, 1),
                                 (uint32_t)number_argument(call, 2));
}

static bool run_partial(verb_call *call) {
    static const char *const words[] = {"", "masked", "threads", NULL}; /* sinter_schedule_lanes */
    return sinter_schedule_partial(call->schedule, loop_argument(call, 0), number_argument(call, 1),
                                   (sinter_schedule_lanes)word_argument(call, 2, words));
}

static bool run_fission(verb_call *call) {
    return sinter_schedule_fission(call->schedule, loop_argument(call, 0),
                                   (size_t)number_argument(call, 1), NULL);
}

static bool run_unroll(verb_call *call) {
    return sinter_schedule_unroll(call->schedule, loop_argument(call, 0));
}

static bool run_vectorize(verb_call *call) {
    return sinter_schedule_vectorize(call->schedule, loop_argument(call, 0));
}

static bool run_parallelize(verb_call *call) {
    return sinter_schedule_parallelize(call->schedule, loop_argument(call, 0));
}

static bool run_bind(verb_call *call) {
    static const char *const words[] = {"block", "thread", NULL};
    static const sinter_loop_axis axes[] = {SINTER_AXIS_BLOCK, SINTER_AXIS_THREAD};
    sinter_loop_axis axis = axes[word_argument(call, 1, words)];
    return sinter_schedule_bind(call->schedule, loop_argument(call, 0), axis);
}

static bool run_join(verb_call *call) {
    return sinter_schedule_join(call->schedule, loop_argument(call, 0));
}

static bool run_unite(verb_call *call) {
    return sinter_schedule_unite(call->schedule, loop_argument(call, 0));
}

static bool run_weave(verb_call *call) {
    return sinter_schedule_weave(call->schedule, loop_argument(call, 0), loop_argument(call, 1));
}

static bool run_ring(verb_call *call) {
    return sinter_schedule_ring(call->schedule, buffer_argument(call, 0),
                                (uint32_t)number_argument(call, 1), number_argument(call, 2));
}

static bool run_follow(verb_call *call) {
    return sinter_schedule_follow(call->schedule, loop_argument(call, 0), loop_argument(call, 1));
}

static bool run_cut_end(verb_call *call) {
    return sinter_schedule_cut_end(call->schedule, loop_argument(call, 0), number_argument(call, 1),
                                   NULL, NULL);
}

static sinter_loop_var var_argument(verb_call *call, size_t index) {
    return found_argument(
        call, index, "variable",
        sinter_schedule_find_var(call->schedule->function, call->arguments[index]));
}

static bool run_expand(verb_call *call) {
    sinter_loop_var loops[MAX_ARGUMENTS];
    size_t count = loop_arguments(call, 1, loops);
    return sinter_schedule_expand(call->schedule, var_argument(call, 0), loops, count, NULL);
}

static bool run_promote(verb_call *call) {
    return sinter_schedule_promote(call->schedule, buffer_argument(call, 0));
}

static bool run_hoist(verb_call *call) {
    return sinter_schedule_hoist(call->schedule, loop_argument(call, 0));
}

static bool run_inline(verb_call *call) {
    return sinter_schedule_inline(call->schedule, var_argument(call, 0));
}

/* BUFFER,DIM[:BLOCK],... of all dims; 0 where that is not what the arguments of the verb are. */
static sinter_loop_buffer layout_arguments(verb_call *call, const char *verb, uint32_t *order,
                                           int64_t *blocks) {
    sinter_loop_buffer buffer = buffer_argument(call, 0);
    if (!buffer) return 0;
    call->is_misused = call->count != 1 + call->schedule->function->buffers.items[buffer].rank;
    if (call->is_misused) {
        sinter_error(call->diag, "sinter-opt", "%s: expected a buffer and all of its dims", verb);
        return 0;
    }
    for (size_t i = 1; i < call->count; i++) {
        const char *colon = strchr(call->arguments[i], ':');
        order[i - 1] = (uint32_t)read_number(call, call->arguments[i], ':');
        if (colon && order[i - 1] < MAX_ARGUMENTS)
            blocks[order[i - 1]] = read_number(call, colon + 1, 0);
    }
    return buffer;
}

static bool run_pack(verb_call *call) {
    uint32_t order[MAX_ARGUMENTS];
    int64_t blocks[MAX_ARGUMENTS] = {0};
    sinter_loop_buffer buffer = layout_arguments(call, "--loop-pack", order, blocks);
    sinter_loop_check_packing *packing = &call->packing;
    if (!buffer) return false;
    sinter_loop_describe_packing(call->schedule->function, buffer, packing);
    call->packs = sinter_schedule_pack(call->schedule, buffer, order, blocks, &packing->layout);
    return call->packs;
}

static bool run_pack_input(verb_call *call) {
    uint32_t order[MAX_ARGUMENTS];
    int64_t blocks[MAX_ARGUMENTS] = {0};
    sinter_loop_buffer buffer = layout_arguments(call, "--loop-pack-input", order, blocks);
    return buffer && sinter_schedule_pack_input(call->schedule, buffer, order, blocks, NULL);
}

static bool run_pack_scratch(verb_call *call) {
    sinter_scratch_packing packing = {.buffer = buffer_argument(call, 0),
                                      .loop = loop_argument(call, 1),
                                      .order_count = (uint32_t)call->count - 2};
    for (uint32_t i = 0; i < packing.order_count; i++)
        packing.order[i] = (uint32_t)number_argument(call, i + 2);
    return sinter_schedule_pack_scratch(call->schedule, &packing);
}

static bool run_compute_at(verb_call *call) {
    return sinter_schedule_compute_at(call->schedule, buffer_argument(call, 0),
                                      loop_argument(call, 1));
}

static bool run_distribute(verb_call *call) {
    return sinter_schedule_distribute(call->schedule, buffer_argument(call, 0));
}

static bool run_scalarize(verb_call *call) {
    return sinter_schedule_scalarize(call->schedule, buffer_argument(call, 0),
                                     loop_argument(call, 1), NULL);
}

static bool run_block_reduction(verb_call *call) {
    sinter_reduction_blocks blocks = {.m = strcmp(call->arguments[0], "-") ? loop_argument(call, 0)
                                                                           : 0,
                                      .n = loop_argument(call, 1),
                                      .accumulator = var_argument(call, 2),
                                      .size = number_argument(call, 3)};
    return sinter_schedule_block_reduction(call->schedule, &blocks);
}

static bool run_narrow(verb_call *call) {
    sinter_narrow_sum asked = {.loop = loop_argument(call, 0),
                               .accumulator = var_argument(call, 1),
                               .steps = call->count > 2 ? number_argument(call, 2) : 0,
                               .outer = call->count > 3 ? loop_argument(call, 3) : 0};
    return sinter_schedule_narrow(call->schedule, &asked);
}

static bool run_split_sum(verb_call *call) {
    return sinter_schedule_split_sum(call->schedule, loop_argument(call, 0), loop_argument(call, 1),
                                     number_argument(call, 2),
                                     call->count > 3 ? loop_argument(call, 3) : 0);
}

static bool run_split_reduction(verb_call *call) {
    return sinter_schedule_split_reduction(
        call->schedule, loop_argument(call, 0), number_argument(call, 1),
        call->count > 2 ? number_argument(call, 2) : 1, NULL, NULL);
}

static bool run_fork(verb_call *call) {
    return sinter_schedule_fork(call->schedule, loop_argument(call, 0), loop_argument(call, 1),
                                number_argument(call, 2));
}

static bool run_lift_scratch(verb_call *call) {
    return sinter_schedule_lift_scratch(call->schedule, buffer_argument(call, 0),
                                        loop_argument(call, 1));
}

static bool run_register_tile(verb_call *call) {
    sinter_register_tile tile = {.m = strcmp(call->arguments[0], "-") ? loop_argument(call, 0) : 0,
                                 .n = loop_argument(call, 1),
                                 .accumulator = var_argument(call, 2),
                                 .tile_m = number_argument(call, 3),
                                 .tile_n = number_argument(call, 4),
                                 .vector = number_argument(call, 5)};
    return sinter_schedule_register_tile(call->schedule, &tile);
}

static bool run_block_tile(verb_call *call) {
    bool one_row = !strcmp(call->arguments[0], "-");
    sinter_block_tile tile = {.rows = one_row ? 0 : loop_argument(call, 0),
                              .columns = loop_argument(call, 1),
                              .warps = number_argument(call, 2),
                              .thread_rows = number_argument(call, 3),
                              .thread_columns = number_argument(call, 4),
                              .depth = number_argument(call, 5)};
    for (size_t i = 6; i < call->count; i++) {
        bool slices = !strcmp(call->arguments[i], "slices");
        bool finite = !strcmp(call->arguments[i], "finite");
        int mma = SINTER_MMA_COUNT - 1;
        bool group = !strcmp(call->arguments[i], "warpgroup");
        bool ring = !strncmp(call->arguments[i], "ring", 4);
        if (ring) tile.stages = strtol(call->arguments[i] + 4, NULL, 10);
        while (mma && strcmp(call->arguments[i], sinter_loop_mma_infos[mma].name)) mma--;
        if (mma) tile.mma = (sinter_loop_mma)mma;
        bool producers = !strncmp(call->arguments[i], "producers", 9);
        if (producers) tile.producers = strtol(call->arguments[i] + 9, NULL, 10);
        bool boxes = !strcmp(call->arguments[i], "boxes");
        tile.boxes |= boxes;
        if (!slices && !finite && !mma && !group && tile.stages < 2 && !boxes &&
            !(producers && tile.producers > 0) && !call->bad)
            call->bad = call->arguments[i];
        tile.slices |= slices;
        tile.warpgroup |= group;
        tile.finite |= finite;
    }
    return sinter_schedule_block_tile(call->schedule, &tile);
}

static bool run_cut(verb_call *call) {
    return sinter_schedule_cut(call->schedule, loop_argument(call, 0), number_argument(call, 1),
                               NULL, NULL);
}

static bool run_specialize(verb_call *call) {
    return sinter_schedule_specialize(call->schedule, loop_argument(call, 0), NULL);
}

static bool run_guard(verb_call *call) {
    return sinter_schedule_guard(call->schedule, loop_argument(call, 0));
}

static bool run_prefetch(verb_call *call) {
    return sinter_schedule_prefetch(call->schedule, loop_argument(call, 0), loop_argument(call, 1),
                                    loop_argument(call, 2), number_argument(call, 3));
}

static bool run_schedule(verb_call *call) {
    sinter_target target;
    sinter_arena *arena = &call->schedule->program->arena;
    const sinter_schedule_options options = {.level = 2};
    call->is_misused = !sinter_target_parse(call->arguments[0], arena, &target, call->diag);
    return !call->is_misused &&
           sinter_schedule_program(call->schedule->program, &target, &options, call->diag);
}

static bool run_simplify(verb_call *call) {
    sinter_schedule_simplify(call->schedule);
    return true;
}

static const loop_verb verbs[] = {
#define VERB(name, least, most, reassociates, arguments, doc)                                      \
 {"loop_" #name, run_##name, least, most, reassociates, arguments, doc},
#include "codegen/schedule/schedule.def"
#undef VERB
    {"schedule", run_schedule, 1, 1, true, "TARGET",
     "All kernels as they are compiled for \"cpu:x86-64-v3\" or \"cuda:sm_80\"."}};

static const char help[] =
    "\n"
    "usage: sinter-opt FILE.loops [OPTION]...   ('-' with --loops is standard input)\n"
    "Reads a loop program, verifies it, rewrites one kernel, prints the program.\n"
    "\n"
    "  --kernel=NAME          the kernel that the verbs apply to; the first one without it\n"
    "  --check                run the kernel before and after each verb and compare what it "
    "writes\n"
    "  --size=NAME=N          value of a scalar parameter for --check; 7 without it\n"
    "  --no-verify            print without looking at it\n"
    "  --emit=c, --emit=cuda  C or CUDA instead of loops, without what every such text carries\n"
    "\n"
    "Verbs; a loop is named by its variable, I#2 is the second one of that name:\n";

void sinter_opt_loops_help(FILE *file) {
    fputs(help, file);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        const loop_verb *verb = &verbs[i];
        fputs("  --", file);
        for (const char *c = verb->name; *c; c++) fputc(*c == '_' ? '-' : *c, file);
        fprintf(file, "%s%s\n      %s\n", *verb->arguments ? "=" : "", verb->arguments, verb->doc);
    }
}

/* Whether the text of this size is the verb as it is written on the command line, with dashes. */
static bool is_named(const loop_verb *verb, const char *text, size_t size) {
    if (strlen(verb->name) != size) return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] != (verb->name[i] == '_' ? '-' : verb->name[i])) return false;
    return true;
}

/* "loop-split=i,4": the index of the verb, its arguments in call; SIZE_MAX where there is no such verb. */
static size_t read_verb(command_line *command, const char *text, verb_call *call) {
    size_t name_size = strcspn(text, "=");
    char *rest = sinter_arena_copy_string(&command->arena, text, strlen(text));
    rest = rest[name_size] ? rest + name_size + 1 : rest + name_size;
    call->count = 0;
    for (char *part = rest; *part; call->count++) { /* all are counted */
        char *comma = strchr(part, ',');
        if (call->count < MAX_ARGUMENTS) call->arguments[call->count] = part;
        if (comma) *comma = 0;
        part = comma ? comma + 1 : part + strlen(part);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (is_named(&verbs[i], text, name_size)) return i;
    return SIZE_MAX;
}

static sinter_loop_function *find_kernel(const command_line *command,
                                         const sinter_loop_program *program) {
    for (size_t i = 0; i < program->kernels.count; i++)
        if (!command->kernel || strcmp(program->kernels.items[i]->name, command->kernel) == 0)
            return program->kernels.items[i];
    return NULL;
}

static int apply_verb(command_line *command, sinter_schedule *schedule, const char *text,
                      sinter_diag *diag) {
    verb_call call = {.schedule = schedule, .diag = diag};
    size_t verb = read_verb(command, text, &call);
    if (verb == SIZE_MAX) {
        sinter_error(diag, "sinter-opt", "unknown verb '--%s'; see --help", text);
        return STATUS_BAD_INPUT;
    }
    if (call.count < verbs[verb].least || call.count > verbs[verb].most ||
        call.count > MAX_ARGUMENTS) {
        sinter_error(diag, "sinter-opt", "--%s: not as many arguments as it takes; see --help",
                     text);
        return STATUS_BAD_INPUT;
    }
    sinter_loop_function *before =
        sinter_loop_clone_function(schedule->program, schedule->function);
    size_t errors = diag->error_count;
    bool done = verbs[verb].run(&call);
    if (call.bad && call.sought)
        sinter_error(diag, "sinter-opt", "--%s: there is no %s '%s'", text, call.sought, call.bad);
    else if (call.bad)
        sinter_error(diag, "sinter-opt", "--%s: '%s' is not what is expected there; see --help",
                     text, call.bad);
    if (call.bad || call.is_misused) return STATUS_BAD_INPUT;
    if (!done) {
        if (diag->error_count == errors)
            sinter_error(diag, schedule->function->name, "--%s: %s", text,
                         schedule->reason.data ? schedule->reason.data : "");
        return STATUS_REFUSED;
    }
    if (command->verify && !sinter_loop_verify(schedule->program, diag)) return STATUS_OUR_BUG;
    if (!command->check) return STATUS_DONE;
    sinter_loop_check_options options = {.seed = 1,
                                         .size = 7,
                                         .names = command->size_names.items,
                                         .values = command->sizes.items,
                                         .count = command->sizes.count,
                                         .packings = &call.packing,
                                         .packing_count = call.packs,
                                         .rounding = verbs[verb].reassociates ? 1e-5 : 0};
    bool failed = false;
    if (!sinter_loop_check_equal(schedule->program, before, schedule->program, schedule->function,
                                 &options, &failed, diag))
        return failed ? STATUS_BAD_INPUT : STATUS_OUR_BUG;
    if (!failed) return STATUS_DONE;
    sinter_error(diag, schedule->function->name, "--check: the kernel fails on the made-up data");
    return STATUS_BAD_INPUT;
}

/* Texts that were shortened for a reader have constants without numbers: enough for verbs, which change one kernel. */
static bool has_numbers(const command_line *command, const sinter_loop_program *program,
                        sinter_diag *diag) {
    bool asked = command->emit != NULL;
    for (size_t i = 0; i < command->verbs.count; i++)
        asked |= strncmp(command->verbs.items[i], "schedule", 8) == 0;
    for (size_t i = 0; asked && i < program->constants.count; i++) {
        const sinter_tensor *tensor = &program->constants.items[i].tensor;
        if (tensor->data || !sinter_tensor_bytes(tensor)) continue;
        return sinter_error(diag, command->path,
                            "constant %zu: its numbers are left out of the text, and --schedule "
                            "and --emit=c need them",
                            i);
    }
    return true;
}

static int run(command_line *command, sinter_loop_program *program, sinter_diag *diag) {
    if ((command->verify && !sinter_loop_verify(program, diag)) ||
        !has_numbers(command, program, diag))
        return STATUS_BAD_INPUT;
    sinter_loop_function *kernel = find_kernel(command, program);
    if (command->verbs.count && !kernel) {
        sinter_error(diag, "sinter-opt", "there is no kernel %s",
                     command->kernel ? command->kernel : "");
        return STATUS_BAD_INPUT;
    }
    sinter_schedule schedule;
    sinter_schedule_init(&schedule, program, kernel);
    int status = STATUS_DONE;
    for (size_t i = 0; status == STATUS_DONE && i < command->verbs.count; i++)
        status = apply_verb(command, &schedule, command->verbs.items[i], diag);
    sinter_schedule_deinit(&schedule);
    if (status == STATUS_DONE && !write_program(program, command, diag)) status = STATUS_BAD_INPUT;
    return status;
}

int sinter_opt_loops(int argc, char **argv, sinter_diag *diag) {
    command_line command = {.verify = true};
    sinter_text text = {0};
    sinter_arena_init(&command.arena);
    int status = STATUS_BAD_INPUT;
    if (read_arguments(&command, argc, argv, diag) &&
        sinter_file_read_text(command.path, &text, diag)) {
        sinter_loop_program *program = sinter_loop_parse(command.path, text.data, text.size, diag);
        if (program) status = run(&command, program, diag);
        sinter_loop_program_destroy(program);
    }
    sinter_text_deinit(&text);
    sinter_arena_deinit(&command.arena);
    return status;
}
