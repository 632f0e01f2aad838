/* From a part of a program to an LLVM module, optimized, as IR text, assembly or an object file.
 *
 * Every module has a context of its own, so that compilations may run side by side. Targets are initialized once.
 * Errors of LLVM reach the sink; what a target lacks is checked before LLVM sees it. Test: tests/unit/emit_test.c */
#include "codegen/emit/llvm.h"
#include "codegen/kernel_cache.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdio.h>
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

/* Where memory runs out in the sink its caller's guard takes over: what LLVM gave is freed before. */
static bool report(char *message, const char *where, const char *prefix, sinter_diag *diag) {
    char text[2048];
    snprintf(text, sizeof text, "%s", message);
    LLVMDisposeMessage(message);
    return sinter_error(diag, where, "%s%s", prefix, text);
}

bool sinter_llvm_take_error(LLVMErrorRef error, const char *where, sinter_diag *diag) {
    if (!error) return true;
    char *message = LLVMGetErrorMessage(error), text[2048];
    snprintf(text, sizeof text, "%s", message);
    LLVMDisposeErrorMessage(message);
    return sinter_error(diag, where, "%s", text);
}

LLVMTargetMachineRef sinter_llvm_machine_create(const sinter_target *target, int level,
                                                sinter_diag *diag) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialize_targets);
    LLVMTargetRef found;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(target->triple, &found, &message)) {
        report(message, target->text, "LLVM: ", diag);
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
    return sinter_llvm_take_error(error, "LLVM", diag);
}

/* What LLVM says while it works: kept, because the sink may not be called across its frames. */
typedef struct remarks {
    uint32_t count; /* those past the end are only counted */
    struct {
        bool is_error;
        char text[256];
    } items[8];
} remarks;

static void keep_remark(LLVMDiagnosticInfoRef info, void *user) {
    remarks *r = user;
    LLVMDiagnosticSeverity severity = LLVMGetDiagInfoSeverity(info);
    if (severity != LLVMDSError && severity != LLVMDSWarning) return;
    uint32_t i = r->count++;
    if (i >= sizeof r->items / sizeof *r->items) return;
    char *message = LLVMGetDiagInfoDescription(info);
    r->items[i].is_error = severity == LLVMDSError;
    snprintf(r->items[i].text, sizeof r->items[i].text, "%s", message);
    LLVMDisposeMessage(message);
}

static bool report_remarks(const remarks *r, sinter_diag *diag) {
    uint32_t room = sizeof r->items / sizeof *r->items;
    bool good = r->count <= room; /* so many can't be good */
    for (uint32_t i = 0; i < r->count && i < room; i++) {
        if (r->items[i].is_error)
            good = sinter_error(diag, "LLVM", "%s", r->items[i].text);
        else
            sinter_warning(diag, "LLVM", "%s", r->items[i].text);
    }
    if (r->count > room) sinter_error(diag, "LLVM", "%u more messages", r->count - room);
    return good;
}

/* ---- one module ---- */

typedef struct workshop {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMMemoryBufferRef buffer; /* what was written */
    remarks remarks;
    sinter_owned owned;
} workshop;

static void close_workshop(void *user) {
    workshop *w = user;
    if (w->buffer) LLVMDisposeMemoryBuffer(w->buffer);
    LLVMDisposeModule(w->module);
    LLVMContextDispose(w->context);
}

static void open_workshop(workshop *w, const sinter_llvm_emission *e, LLVMTargetMachineRef machine,
                          sinter_llvm_output output) {
    *w = (workshop){.context = LLVMContextCreate()};
    LLVMContextSetDiagnosticHandler(w->context, keep_remark, &w->remarks);
    LLVMContextSetDiscardValueNames(w->context, output == SINTER_LLVM_OBJECT); /* none has them */
    w->module = LLVMModuleCreateWithNameInContext(e->program->name, w->context);
    LLVMSetTarget(w->module, e->target->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(w->module, layout);
    LLVMDisposeTargetData(layout);
    sinter_own(&w->owned, close_workshop, w);
}

/* For linking into a program: a symbol that the object defines outside of LLVM, which never sees the blob. */
static void add_weights(sinter_llvm_module *m, const char *symbol) {
    m->weights = LLVMAddGlobal(m->module, LLVMInt8TypeInContext(m->context), symbol);
    LLVMSetVisibility(m->weights, LLVMHiddenVisibility);
    LLVMSetGlobalConstant(m->weights, true);
    LLVMSetAlignment(m->weights, 64);
}

static bool emit(const workshop *w, const sinter_llvm_emission *e, sinter_llvm_part part,
                 sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_llvm_module m = {.program = e->program,
                            .target = e->target,
                            .diag = diag,
                            .arena = &arena,
                            .context = w->context,
                            .module = w->module,
                            .kernel_names = e->kernel_names,
                            .weight_offsets = e->weight_offsets,
                            .weight_bytes = e->weight_bytes,
                            .weights_hash = e->weights_hash,
                            .images = e->images};
    if (part.host && e->weights_symbol) add_weights(&m, e->weights_symbol);
    bool good = sinter_llvm_emit_module(&m, part, e->symbol);
    sinter_arena_deinit(&arena);
    if (!good) return false;
    char *message = NULL;
    if (LLVMVerifyModule(w->module, LLVMReturnStatusAction, &message))
        return report(message, e->program->name, "emitted LLVM is wrong (a bug of ours): ", diag);
    LLVMDisposeMessage(message);
    return true;
}

static bool write_module(workshop *w, LLVMTargetMachineRef machine, sinter_llvm_output output,
                         sinter_text *out_bytes, sinter_diag *diag) {
    char *message = NULL;
    if (output == SINTER_LLVM_IR) {
        message = LLVMPrintModuleToString(w->module);
        w->buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(message, strlen(message), "module");
        LLVMDisposeMessage(message);
    } else {
        LLVMCodeGenFileType type = output == SINTER_LLVM_OBJECT ? LLVMObjectFile : LLVMAssemblyFile;
        if (LLVMTargetMachineEmitToMemoryBuffer(machine, w->module, type, &message, &w->buffer))
            return report(message, "LLVM", "", diag);
    }
    sinter_text_append(out_bytes, LLVMGetBufferStart(w->buffer), LLVMGetBufferSize(w->buffer));
    return true;
}

static bool compile(workshop *w, const sinter_llvm_emission *e, LLVMTargetMachineRef machine,
                    sinter_llvm_output output, sinter_text *out_bytes, sinter_diag *diag) {
    return optimize(w->module, machine, e->level, diag) &&
           write_module(w, machine, output, out_bytes, diag);
}

/* LLVM makes the same object of the same module. */
static bool find_or_compile(workshop *w, const sinter_llvm_emission *e,
                            LLVMTargetMachineRef machine, sinter_kernel_cache *cache,
                            sinter_text *out_bytes, sinter_diag *diag) {
    sinter_text key = {0};
    LLVMMemoryBufferRef bitcode = LLVMWriteBitcodeToMemoryBuffer(w->module);
    sinter_kernel_cache_module_key(cache, e->target, e->level, LLVMGetBufferStart(bitcode),
                                   LLVMGetBufferSize(bitcode), &key);
    LLVMDisposeMemoryBuffer(bitcode);
    bool found = sinter_kernel_cache_find(cache, &key, out_bytes);
    bool good = found || compile(w, e, machine, SINTER_LLVM_OBJECT, out_bytes, diag);
    if (good && !found) sinter_kernel_cache_store(cache, &key, out_bytes, diag);
    sinter_text_deinit(&key);
    return good;
}

bool sinter_llvm_write_part(const sinter_llvm_emission *emission, sinter_llvm_part part,
                            LLVMTargetMachineRef machine, sinter_kernel_cache *cache,
                            sinter_llvm_output output, sinter_text *out_bytes, sinter_diag *diag) {
    workshop w;
    open_workshop(&w, emission, machine, output);
    bool good = emit(&w, emission, part, diag);
    if (good && cache && output == SINTER_LLVM_OBJECT)
        good = find_or_compile(&w, emission, machine, cache, out_bytes, diag);
    else if (good)
        good = compile(&w, emission, machine, output, out_bytes, diag);
    good = report_remarks(&w.remarks, diag) && good;
    sinter_disown(&w.owned);
    close_workshop(&w);
    return good;
}
