/* From a part of a program to an LLVM module, optimized, as IR text, assembly or an object file.
 *
 * Every module has a context of its own, so that compilations may run side by side. Targets are initialized once.
 * Errors of LLVM reach the sink; what a target lacks is checked before LLVM sees it. Test: tests/unit/emit_test.c */
#include "codegen/emit_llvm.h"

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

static bool optimize(LLVMModuleRef module, LLVMTargetMachineRef machine, int level,
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

static LLVMModuleRef create_module(const sinter_llvm_emission *e, LLVMContextRef context,
                                   LLVMTargetMachineRef machine) {
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext(e->program->name, context);
    LLVMSetTarget(module, e->target->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
    return module;
}

/* For linking into a program: a symbol that the object defines outside of LLVM, which never sees the blob. */
static void add_weights(sinter_llvm_module *m, const char *symbol) {
    m->weights = LLVMAddGlobal(m->module, LLVMInt8TypeInContext(m->context), symbol);
    LLVMSetVisibility(m->weights, LLVMHiddenVisibility);
    LLVMSetGlobalConstant(m->weights, true);
    LLVMSetAlignment(m->weights, 64);
}

static bool emit_into(LLVMModuleRef module, const sinter_llvm_emission *e, sinter_llvm_part part,
                      LLVMContextRef context, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_llvm_module m = {.program = e->program,
                            .target = e->target,
                            .diag = diag,
                            .arena = &arena,
                            .context = context,
                            .module = module,
                            .kernel_names = e->kernel_names,
                            .weight_offsets = e->weight_offsets,
                            .weight_bytes = e->weight_bytes,
                            .weights_hash = e->weights_hash};
    if (part.host && e->weights_symbol) add_weights(&m, e->weights_symbol);
    bool good = sinter_llvm_emit_module(&m, part, e->symbol);
    sinter_arena_deinit(&arena);
    char *message = NULL;
    if (good && LLVMVerifyModule(module, LLVMReturnStatusAction, &message))
        good = sinter_error(diag, e->program->name, "emitted LLVM is wrong (a bug of ours): %s",
                            message);
    LLVMDisposeMessage(message);
    return good;
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

bool sinter_llvm_write_part(const sinter_llvm_emission *emission, sinter_llvm_part part,
                            LLVMTargetMachineRef machine, sinter_llvm_output output,
                            sinter_text *out_bytes, sinter_diag *diag) {
    LLVMContextRef context = LLVMContextCreate();
    LLVMContextSetDiagnosticHandler(context, report_diagnostic, diag);
    LLVMModuleRef module = create_module(emission, context, machine);
    size_t errors = diag->error_count;
    bool good = emit_into(module, emission, part, context, diag) &&
                optimize(module, machine, emission->level, diag) &&
                write_module(module, machine, output, out_bytes, diag) &&
                diag->error_count == errors;
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return good;
}
