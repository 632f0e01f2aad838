/* CUDA text of the kernels of a program: what NVRTC compiles, and what a person reads. The C emitter (c.h) writes it in
 * another dialect. Needs a program that sinter_schedule_cuda made. Test: tests/codegen/emit_cuda/ */
#pragma once
#include "codegen/compile.h"

/* All kernels, behind the prelude. */
bool sinter_emit_cuda(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag);
/* Each kernel behind a prelude of its own: the text of a module, without names of nodes, so that equal kernels have equal ones.
 * out_texts: by kernel, appended to; nothing for steps of the host. */
bool sinter_emit_cuda_modules(const sinter_loop_program *program, sinter_text *out_texts, sinter_diag *diag);
/* The kernels alone: what differs between programs. For tests. */
bool sinter_emit_cuda_code(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag);
