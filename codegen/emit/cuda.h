/* CUDA text of the kernels of a program: what NVRTC compiles, and what a person reads. The C emitter (c.h) writes it in
 * another dialect. Needs a program that sinter_schedule_cuda made. Test: tests/codegen/emit_cuda/ */
#pragma once
#include "codegen/compile.h"

/* All kernels, behind the prelude. */
bool sinter_emit_cuda(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag);
/* Each kernel behind a prelude of its own: the text of a module, without names of nodes, so that equal kernels have equal ones.
 * out_texts: by kernel, appended to; for steps of the host what makes their sums, or nothing. */
bool sinter_emit_cuda_modules(const sinter_loop_program *program, sinter_text *out_texts, sinter_diag *diag);
/* Of a step of the host in which ranks sum: the kernel that makes sums of terms, for ranks that exchange without the host. NULL: of others. */
const char *sinter_cuda_combine_symbol(const sinter_loop_function *kernel, sinter_arena *arena);
/* The text of its module; of kernels that have a symbol. */
void sinter_cuda_write_combine_module(const sinter_loop_function *kernel, sinter_text *text);
/* What each module begins with. */
void sinter_cuda_write_head(sinter_text *text);
/* The kernels alone: what differs between programs. For tests. */
bool sinter_emit_cuda_code(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag);
