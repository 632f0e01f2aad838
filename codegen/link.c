/* See link.h. Works in a folder of its own under TMPDIR.
 *
 * No start files and no libraries but libm and libc: an artifact needs nothing else, and has nothing that runs when it is
 * loaded. ld.lld may link for machines whose libraries are not here, so it gets stand-ins for both, made of imports.def.
 * Test: tests/unit/package_test.c, tests/cli/compile.test */
#include "codegen/link.h"
#include "codegen/emit/llvm.h"
#include "ir/base/file.h"
#include "ir/base/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum { PATH_SIZE = 256 };
typedef enum outcome { DONE, ABSENT, FAILED } outcome;

typedef struct linker {
    const sinter_target *target;
    char folder[SINTER_FILE_FOLDER_BYTES];
    sinter_diag *diag;
} linker;

static const char *in_folder(const linker *l, const char *name, char *buffer) {
    snprintf(buffer, PATH_SIZE, "%s/%s", l->folder, name);
    return buffer;
}

/* ---- running a program ---- */

static void report(linker *l, const char *program, int status) {
    sinter_text said = {0};
    char path[PATH_SIZE];
    if (WIFEXITED(status))
        sinter_error(l->diag, program, "linking failed with status %d", WEXITSTATUS(status));
    else
        sinter_error(l->diag, program, "linking was stopped by signal %d", WTERMSIG(status));
    if (sinter_file_read(in_folder(l, "said", path), &said, NULL) && said.size)
        sinter_note(l->diag, program, "%.*s", (int)(said.size < 2000 ? said.size : 2000),
                    said.data);
    sinter_text_deinit(&said);
}

static outcome run(linker *l, const char *const *arguments) {
    char said[PATH_SIZE];
    int status = 0,
        error = sinter_process_run(arguments, l->folder, in_folder(l, "said", said), &status);
    if (error == ENOENT || error == EACCES || error == ENOTDIR) return ABSENT;
    if (error) {
        sinter_error(l->diag, arguments[0], "cannot be started: %s", strerror(error));
        return FAILED;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return DONE;
    report(l, arguments[0], status);
    return FAILED;
}

/* ---- the C compiler ---- */

static outcome link_by_compiler(linker *l, const char *program) {
    char object[PATH_SIZE], shared[PATH_SIZE];
    in_folder(l, "model.o", object);
    in_folder(l, "model.so", shared);
    const char *arguments[] = {program,
                               "-shared",
                               "-nostdlib",
                               "-o",
                               shared,
                               object,
                               "-Wl,--build-id=none",
                               "-Wl,-s",
                               "-Wl,-z,noexecstack",
                               "-Wl,-z,relro,-z,now",
                               "-Wl,-z,defs",
                               "-Wl,--hash-style=gnu",
                               "-Wl,--as-needed",
                               "-lm",
                               "-lc",
                               NULL};
    return run(l, arguments);
}

/* ---- ld.lld, with libraries made for the purpose ---- */

typedef struct stub_row {
    const char *name;
    bool is_math;
} stub_row;
static const stub_row stub_rows[] = {
#define IMPORT_MATH(name) {#name, true}, {#name "f", true},
#define IMPORT_C(name) {#name, false},
#include "codegen/imports.def"
};

/* An object with empty functions of the library's names. */
static bool write_stub(linker *l, const char *name, bool is_math) {
    LLVMTargetMachineRef machine = sinter_llvm_machine_create(l->target, 0, l->diag);
    if (!machine) return false;
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("stub", context);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetTarget(module, l->target->triple);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(context), NULL, 0, false);
    for (size_t i = 0; i < sizeof stub_rows / sizeof *stub_rows; i++) {
        if (stub_rows[i].is_math != is_math) continue;
        LLVMValueRef function = LLVMAddFunction(module, stub_rows[i].name, type);
        LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(context, function, ""));
        LLVMBuildRetVoid(builder);
    }
    char path[PATH_SIZE], *message = NULL;
    in_folder(l, name, path);
    bool good = !LLVMTargetMachineEmitToFile(machine, module, path, LLVMObjectFile, &message);
    if (!good) sinter_error(l->diag, path, "LLVM: %s", message);
    LLVMDisposeMessage(message);
    LLVMDisposeBuilder(builder);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    LLVMDisposeTargetMachine(machine);
    return good;
}

static outcome link_stub(linker *l, const char *program, const char *object, const char *library,
                         const char *soname) {
    char from[PATH_SIZE], to[PATH_SIZE];
    in_folder(l, object, from);
    in_folder(l, library, to);
    const char *arguments[] = {program, "-shared", "-soname", soname, "-o", to, from, NULL};
    return run(l, arguments);
}

static outcome link_by_lld(linker *l, const char *program) {
    if (!write_stub(l, "m.o", true) || !write_stub(l, "c.o", false)) return FAILED;
    outcome result = link_stub(l, program, "m.o", "libm.so", "libm.so.6");
    if (result == DONE) result = link_stub(l, program, "c.o", "libc.so", "libc.so.6");
    if (result != DONE) return result;
    char object[PATH_SIZE], shared[PATH_SIZE], math[PATH_SIZE], c[PATH_SIZE];
    in_folder(l, "model.o", object);
    in_folder(l, "model.so", shared);
    in_folder(l, "libm.so", math);
    in_folder(l, "libc.so", c);
    const char *arguments[] = {program,
                               "-shared",
                               "-o",
                               shared,
                               object,
                               "--build-id=none",
                               "-s",
                               "-z",
                               "noexecstack",
                               "-z",
                               "relro",
                               "-z",
                               "now",
                               "-z",
                               "defs",
                               "--hash-style=gnu",
                               "--as-needed",
                               math,
                               c,
                               NULL};
    return run(l, arguments);
}

/* ---- choice ---- */

static outcome link_by_any(linker *l) {
    static const char *const compilers[] = {[SINTER_ARCH_x86_64] = "x86_64-linux-gnu-gcc",
                                            [SINTER_ARCH_aarch64] = "aarch64-linux-gnu-gcc"};
    const char *compiler = l->target->arch == SINTER_ARCH_HOST ? "cc" : compilers[l->target->arch];
    outcome result = link_by_compiler(l, compiler);
    static const char *const lld[] = {"ld.lld", "ld.lld-19"};
    for (size_t i = 0; result == ABSENT && i < sizeof lld / sizeof *lld; i++)
        result = link_by_lld(l, lld[i]);
    if (result == ABSENT)
        sinter_error(l->diag, "link",
                     "a shared object needs the system's linker: neither %s nor ld.lld was found "
                     "(emit an object with -o NAME.o, or install one of them)",
                     compiler);
    return result;
}

bool sinter_link_shared(const sinter_text *object, const sinter_target *target,
                        sinter_text *out_shared, sinter_diag *diag) {
    linker l = {.target = target, .diag = diag};
    char path[PATH_SIZE];
    if (!sinter_file_make_folder(l.folder, diag)) return false;
    bool good =
        sinter_file_write(in_folder(&l, "model.o", path), object->data, object->size, diag) &&
        link_by_any(&l) == DONE &&
        sinter_file_read(in_folder(&l, "model.so", path), out_shared, diag);
    sinter_file_remove_folder(l.folder);
    return good;
}
