/* Reads ONNX models from standard input, each as its size in decimal, a newline and its bytes, and tries each in a process
 * of its own: import, passes, lowering, and a run on made-up inputs by the evaluator and by the interpreter of loops. One
 * line an answer: `fine`, `refused` (with the error), `differs`, `silent` (no error was given), `out of memory`,
 * `crashed`, `hung`.
 * Used by tests/suites/support/unfit_operands.py */
#include "frontends/import.h"
#include "ir/tensor.h"
#include "runtime/jit/engine.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS = 20, MEGABYTES = 4096, MAX_ELEMENTS = 1 << 20, MAX_VALUES = 64 };
/* Exit statuses of a try; 3 is the program's own, for memory that could not be had. */
enum { OUT_OF_MEMORY = 3, FINE = 10, REFUSED, DIFFERS, SILENT, END };
static const char *const answers[] = {"fine", "refused", "differs", "silent"};

typedef struct attempt {
    sinter_text errors;
    sinter_diag diag;
    sinter_tensor outputs[MAX_VALUES];
    bool ran;
} attempt;

/* Small numbers that repeat: 0 or 1 for integers, which are indices and sizes more often than not. */
static bool fill(sinter_tensor *tensor, const sinter_abi_io *io, sinter_diag *diag) {
    int64_t dims[SINTER_MAX_RANK], count = 1;
    for (int32_t i = 0; i < io->rank; i++) {
        dims[i] = io->dims[i] < 0 ? 1 : io->dims[i];
        count = dims[i] && count > MAX_ELEMENTS / dims[i] ? MAX_ELEMENTS + 1 : count * dims[i];
        if (count > MAX_ELEMENTS) return sinter_error(diag, io->name, "too large to try");
    }
    sinter_dtype dtype = (sinter_dtype)io->dtype;
    if (!sinter_tensor_create(tensor, dtype, (uint32_t)io->rank, dims, diag)) return false;
    for (int64_t i = 0; i < count; i++) {
        if (sinter_dtype_is_float(dtype))
            sinter_tensor_set_double(tensor, i, (double)(i % 7) / 4 - 0.5);
        else if (dtype == SINTER_DTYPE_string)
            sinter_tensor_set_string(tensor, i, SINTER_STRING("text"));
        else if (sinter_dtype_is_integer(dtype) || dtype == SINTER_DTYPE_bool)
            sinter_tensor_set_int(tensor, i, i % 3 == 1);
    }
    return true;
}

static void try_target(attempt *a, const void *data, size_t size, const char *target, int level) {
    sinter_tensor inputs[MAX_VALUES] = {{0}};
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    options.target = target;
    options.level = level;
    options.verify_each = true;
    a->diag = (sinter_diag){.handler = sinter_diag_text_handler, .user = &a->errors};
    sinter_module *module = sinter_import_onnx_memory("model.onnx", data, size, &a->diag);
    sinter_engine *engine = module ? sinter_engine_create(module, &options, &a->diag) : NULL;
    bool good = engine && sinter_engine_input_count(engine) <= MAX_VALUES &&
                sinter_engine_output_count(engine) <= MAX_VALUES;
    for (size_t i = 0; good && i < sinter_engine_input_count(engine); i++) {
        const sinter_abi_io *io = sinter_engine_input(engine, i);
        good = io->dtype ? fill(&inputs[i], io, &a->diag)
                         : sinter_error(&a->diag, io->name, "no values of its kind are made");
    }
    a->ran = good && sinter_engine_run(engine, inputs, a->outputs, &a->diag);
    for (size_t i = 0; a->ran && i < sinter_engine_output_count(engine); i++)
        a->ran = a->outputs[i].kind != 0;
}

/* Whether the evaluator and the interpreter gave the same; strings and the like are not compared. */
static bool agree(const attempt *a, const attempt *b, sinter_text *message) {
    for (size_t i = 0; i < MAX_VALUES && a->outputs[i].kind; i++)
        if (a->outputs[i].kind == SINTER_TYPE_TENSOR &&
            !sinter_tensor_compare(&b->outputs[i], &a->outputs[i], 1e-2, 1e-3, message))
            return false;
    return true;
}

static int try_model(const void *data, size_t size, int output) {
    static attempt eval, loops;
    sinter_text message = {0};
    int answer = FINE;
    try_target(&eval, data, size, "eval", 0);
    try_target(&loops, data, size, "loops", 2);
    const attempt *failed = !eval.ran ? &eval : !loops.ran ? &loops : NULL;
    if (failed)
        answer = failed->diag.error_count ? REFUSED : SILENT;
    else if (!agree(&eval, &loops, &message))
        answer = DIFFERS;
    if (failed) message = failed->errors;
    size_t length = message.size < 600 ? message.size : 600;
    if (length && write(output, message.data, length) < 0) return SILENT;
    return answer;
}

static void limit(int resource, rlim_t value) {
    struct rlimit both = {value, value};
    setrlimit(resource, &both);
}

/* Sanitizers reserve terabytes of addresses. */
static bool has_sanitizer(void) {
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    return true;
#else
    return false;
#endif
}

static void answer_model(const void *data, size_t size) {
    int ends[2], status = 0;
    if (pipe(ends) != 0) exit(3);
    pid_t child = fork();
    if (child < 0) exit(3);
    if (child == 0) {
        limit(RLIMIT_CORE, 0);
        limit(RLIMIT_CPU, SECONDS);
        if (!has_sanitizer()) limit(RLIMIT_AS, (rlim_t)MEGABYTES << 20);
        dup2(ends[1], STDERR_FILENO); /* what an assertion says */
        _exit(try_model(data, size, ends[1]));
    }
    close(ends[1]);
    char text[1024];
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0;)
        if ((length += (size_t)got) == sizeof text - 1) break;
    close(ends[0]);
    waitpid(child, &status, 0);
    text[length] = 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\n' || text[i] == '\t') text[i] = ' ';
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    bool hung = WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL);
    const char *answer = code >= FINE && code < END ? answers[code - FINE]
                         : code == OUT_OF_MEMORY    ? "out of memory"
                         : hung                     ? "hung"
                                                    : "crashed";
    printf("%s\t%s\n", answer, text);
    fflush(stdout);
}

int main(void) {
    size_t size;
    while (scanf("%zu", &size) == 1 && getchar() == '\n') {
        void *data = malloc(size + 1);
        if (!data || fread(data, 1, size, stdin) != size) return 2;
        answer_model(data, size);
        free(data);
    }
    return 0;
}
