/* From a program to an LLVM module, optimized, as IR text, assembly or an object file.
 *
 * Every emission has a context of its own, so that compilations may run side by side. Targets are initialized once.
 * Errors of LLVM reach the sink; what a target lacks is checked before LLVM sees it. Test: tests/unit/emit_test.c */
#include "codegen/emit_llvm.h"
#include "codegen/legalize.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <string.h>

static void initialize_targets(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
}

LLVMTargetMachineRef sinter_llvm_machine_create(const sinter_target *target, int level,
                                                sinter_diag *diag) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialize_targets);
    LLVMTargetRef found;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(target->triple, &found, &message)) {
        sinter_error(diag, target->text, "LLVM: %s", message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    LLVMCodeGenOptLevel levels[] = {LLVMCodeGenLevelNone, LLVMCodeGenLevelLess,
                                    LLVMCodeGenLevelDefault, LLVMCodeGenLevelDefault};
    return LLVMCreateTargetMachine(found, target->triple, target->cpu, target->features,
                                   levels[level < 0   ? 0
                                          : level > 3 ? 3
                                                      : level],
                                   LLVMRelocPIC, LLVMCodeModelDefault);
}

/* Our vectors are explicit, so the pipeline is short: clean up, simplify, move invariants out, and vectorize what was
 * left serial. */
static const char *find_pipeline(int level) {
    if (level <= 0) return "function(mem2reg)";
    if (level == 1)
        return "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,"
               "loop-mssa(licm),early-cse,simplifycfg),globaldce";
    return "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,"
           "loop-mssa(licm),gvn,instcombine<no-verify-fixpoint>,loop-vectorize,slp-vectorizer,"
           "instcombine<no-verify-fixpoint>,loop-mssa(licm),dse,simplifycfg),globaldce";
}

bool sinter_llvm_optimize(LLVMModuleRef module, LLVMTargetMachineRef machine, int level,
                          sinter_diag *diag) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(module, find_pipeline(level), machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!error) return true;
    char *message = LLVMGetErrorMessage(error);
    sinter_error(diag, "LLVM", "%s", message);
    LLVMDisposeErrorMessage(message);
    return false;
}

static void report_diagnostic(LLVMDiagnosticInfoRef info, void *user) {
    LLVMDiagnosticSeverity severity = LLVMGetDiagInfoSeverity(info);
    if (severity != LLVMDSError && severity != LLVMDSWarning) return;
    char *message = LLVMGetDiagInfoDescription(info);
    if (severity == LLVMDSError)
        sinter_error(user, "LLVM", "%s", message);
    else
        sinter_warning(user, "LLVM", "%s", message);
    LLVMDisposeMessage(message);
}

/* For linking into a program: an external symbol that package_object.c defines, so that LLVM never sees the blob. */
static void add_weights(sinter_llvm_module *m, const char *symbol) {
    if (!m->weight_bytes) return;
    m->weights = LLVMAddGlobal(m->module, LLVMInt8TypeInContext(m->context), sinter_arena_format(m->arena, "%s_weights", symbol));
    LLVMSetVisibility(m->weights, LLVMHiddenVisibility);
    LLVMSetGlobalConstant(m->weights, true);
    LLVMSetAlignment(m->weights, 64);
}

static bool emit_into(LLVMModuleRef module, const sinter_loop_program *program,
                      const sinter_target *target, const char *symbol, bool weights_in_object,
                      bool with_hash, LLVMContextRef context, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    uint64_t *offsets = SINTER_NEW_ARRAY(&arena, uint64_t, program->constants.count);
    sinter_llvm_module m = {.program = program,
                            .target = target,
                            .diag = diag,
                            .arena = &arena,
                            .context = context,
                            .module = module,
                            .weight_offsets = offsets};
    m.weight_bytes = sinter_weights_layout(program, offsets);
    if (with_hash) m.weights_hash = sinter_weights_hash(program);
    if (weights_in_object) add_weights(&m, symbol);
    bool good = sinter_llvm_emit_module(&m, symbol);
    sinter_arena_deinit(&arena);
    return good;
}

enum { OBJECT_WEIGHTS_LIMIT = 1 << 30 };

LLVMModuleRef sinter_llvm_build(const sinter_loop_program *program, const sinter_target *target,
                                int level, const char *symbol, bool weights_in_object,
                                bool with_hash, LLVMContextRef context,
                                LLVMTargetMachineRef machine, sinter_diag *diag) {
    if (weights_in_object && sinter_weights_layout(program, NULL) > OBJECT_WEIGHTS_LIMIT) {
        sinter_error(diag, program->name,
                     "weights of %llu bytes are too large for an object file; make a .so",
                     (unsigned long long)sinter_weights_layout(program, NULL));
        return NULL;
    }
    sinter_loop_program *legal = sinter_legalize(program, target, diag);
    if (!legal) return NULL;
    LLVMContextSetDiagnosticHandler(context, report_diagnostic, diag);
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext(program->name, context);
    LLVMSetTarget(module, target->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
    bool good =
        emit_into(module, legal, target, symbol, weights_in_object, with_hash, context, diag);
    sinter_loop_program_destroy(legal);
    char *message = NULL;
    if (good && LLVMVerifyModule(module, LLVMReturnStatusAction, &message))
        good =
            sinter_error(diag, program->name, "emitted LLVM is wrong (a bug of ours): %s", message);
    LLVMDisposeMessage(message);
    if (good && sinter_llvm_optimize(module, machine, level, diag)) return module;
    LLVMDisposeModule(module);
    return NULL;
}

static bool write_module(LLVMModuleRef module, LLVMTargetMachineRef machine,
                         sinter_llvm_output output, sinter_text *out_bytes, sinter_diag *diag) {
    if (output == SINTER_LLVM_IR) {
        char *text = LLVMPrintModuleToString(module);
        sinter_text_append_string(out_bytes, text);
        LLVMDisposeMessage(text);
        return true;
    }
    LLVMCodeGenFileType type = output == SINTER_LLVM_OBJECT ? LLVMObjectFile : LLVMAssemblyFile;
    LLVMMemoryBufferRef buffer;
    char *message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, type, &message, &buffer)) {
        sinter_error(diag, "LLVM", "%s", message);
        LLVMDisposeMessage(message);
        return false;
    }
    sinter_text_append(out_bytes, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
    LLVMDisposeMemoryBuffer(buffer);
    return true;
}

bool sinter_llvm_write(const sinter_loop_program *program, const sinter_target *target, int level,
                       sinter_llvm_output output, const char *symbol, bool weights_in_object,
                       bool with_hash, sinter_text *out_bytes, sinter_diag *diag) {
    LLVMTargetMachineRef machine = sinter_llvm_machine_create(target, level, diag);
    if (!machine) return false;
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = sinter_llvm_build(program, target, level, symbol, weights_in_object,
                                             with_hash, context, machine, diag);
    size_t errors = diag->error_count;
    bool good = module && write_module(module, machine, output, out_bytes, diag) &&
                diag->error_count == errors;
    if (module) LLVMDisposeModule(module);
    LLVMContextDispose(context);
    LLVMDisposeTargetMachine(machine);
    return good;
}

bool sinter_emit_llvm(const sinter_loop_program *program, const sinter_target *target, int level,
                      sinter_llvm_output output, const char *symbol, bool weights_in_object,
                      sinter_text *out_bytes, sinter_diag *diag) {
    return sinter_llvm_write(program, target, level, output, symbol, weights_in_object, true,
                             out_bytes, diag);
}
