/* In-memory code: compiles to an object and lets ORC load it.
 *
 * Emitted code finds nothing but the functions of imports.def, which is also what artifacts may import.
 * The weights are copied into one blob that lives as long as the handle. Test: tests/unit/emit_test.c */
#include "codegen/emit/llvm.h"
#include "runtime/abi.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct sinter_jit {
    LLVMOrcLLJITRef jit;
    sinter_abi_artifact artifact; /* the code's own, with the weights filled in */
    void *weights;
    size_t weight_bytes;
    sinter_owned owned; /* all but the struct */
};

typedef struct import {
    const char *name;
    void (*function)(void);
} import;
static const import imports[] = {
#define IMPORT_MATH(name) {#name, (void (*)(void))name}, {#name "f", (void (*)(void))name##f},
#define IMPORT_C(name) {#name, (void (*)(void))name},
#include "codegen/imports.def"
};
enum { IMPORT_COUNT = sizeof imports / sizeof *imports };

static bool define_imports(LLVMOrcLLJITRef jit, sinter_diag *diag) {
    LLVMOrcCSymbolMapPair pairs[IMPORT_COUNT];
    for (size_t i = 0; i < IMPORT_COUNT; i++) {
        LLVMJITEvaluatedSymbol symbol = {
            (LLVMOrcExecutorAddress)(uintptr_t)imports[i].function,
            {LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable, 0}};
        pairs[i].Name = LLVMOrcLLJITMangleAndIntern(jit, imports[i].name);
        pairs[i].Sym = symbol;
    }
    LLVMOrcMaterializationUnitRef unit = LLVMOrcAbsoluteSymbols(pairs, IMPORT_COUNT);
    LLVMErrorRef error = LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(jit), unit);
    if (error) LLVMOrcDisposeMaterializationUnit(unit);
    return sinter_llvm_take_error(error, "JIT", diag);
}

static bool map_weights(sinter_jit *jit, const sinter_loop_program *program, sinter_diag *diag) {
    jit->weight_bytes = sinter_weights_layout(program, NULL);
    if (!jit->weight_bytes) return true;
    void *memory =
        mmap(NULL, jit->weight_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return sinter_error(diag, program->name, "no memory for %zu bytes of weights",
                            jit->weight_bytes);
    jit->weights = memory;
#ifdef MADV_HUGEPAGE
    madvise(memory, jit->weight_bytes, MADV_HUGEPAGE);
#endif
    sinter_weights_copy(program, memory);
    mprotect(memory, jit->weight_bytes, PROT_READ);
    return true;
}

/* Takes the object over. */
static bool load_object(sinter_jit *jit, const sinter_text *object, sinter_diag *diag) {
    if (!sinter_llvm_take_error(LLVMOrcCreateLLJIT(&jit->jit, NULL), "JIT", diag)) return false;
    if (!define_imports(jit->jit, diag)) return false;
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRangeCopy(object->data, object->size, "artifact");
    LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit->jit);
    if (!sinter_llvm_take_error(LLVMOrcLLJITAddObjectFile(jit->jit, library, buffer), "JIT", diag))
        return false;
    LLVMOrcExecutorAddress address = 0;
    if (!sinter_llvm_take_error(LLVMOrcLLJITLookup(jit->jit, &address, SINTER_ARTIFACT_SYMBOL),
                                "JIT", diag))
        return false;
    const sinter_abi_artifact *(*get_artifact)(void) =
        (const sinter_abi_artifact *(*)(void))(uintptr_t)address;
    jit->artifact = *get_artifact();
    jit->artifact.weights = jit->weights;
    return true;
}

static void release_code(void *user) {
    sinter_jit *jit = user;
    LLVMErrorRef error = jit->jit ? LLVMOrcDisposeLLJIT(jit->jit) : NULL;
    if (error) LLVMConsumeError(error); /* nobody to tell */
    if (jit->weights) munmap(jit->weights, jit->weight_bytes);
}

sinter_jit *sinter_jit_create(const sinter_loop_program *program, const sinter_target *target,
                              const sinter_codegen_options *options, sinter_diag *diag) {
    sinter_text object = {0};
    sinter_jit *jit = sinter_heap_alloc(sizeof *jit);
    sinter_own(&jit->owned, release_code, jit);
    bool good = sinter_llvm_write(program, target, options, SINTER_LLVM_OBJECT,
                                  SINTER_ARTIFACT_SYMBOL, false, false, &object, diag) &&
                map_weights(jit, program, diag) && load_object(jit, &object, diag);
    sinter_text_deinit(&object);
    if (good) return jit;
    sinter_jit_destroy(jit);
    return NULL;
}

const sinter_abi_artifact *sinter_jit_artifact(const sinter_jit *jit) {
    return &jit->artifact;
}

void sinter_jit_destroy(sinter_jit *jit) {
    if (!jit) return;
    sinter_disown(&jit->owned);
    release_code(jit);
    sinter_heap_free(jit);
}
