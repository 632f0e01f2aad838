/* temporary */
#include "runtime/jit/engine.h"
bool sinter_plan_memory(sinter_loop_program *p, sinter_diag *d);
__attribute__((weak)) bool sinter_plan_memory(sinter_loop_program *p, sinter_diag *d) { (void)p; (void)d; return true; }
__attribute__((weak)) sinter_engine *sinter_engine_load(const char *path, const sinter_engine_options *options, sinter_diag *diag) { (void)options; sinter_error(diag, path, "later"); return NULL; }
