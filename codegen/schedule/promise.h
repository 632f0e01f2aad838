/* Constants that kernels want in another order, and who reads constants. Private to codegen/schedule/.
 * Test: tests/codegen/schedule/pack.loops, tests/codegen/schedule/shared_constant.test */
#pragma once
#include "codegen/schedule/schedule.h"

/* Parameter `parameter` of every call of `kernel`, by which all of them pass constants, in this order. */
typedef struct sinter_schedule_promise {
    uint32_t kernel, parameter;
    sinter_layout layout;
} sinter_schedule_promise;
typedef SINTER_VECTOR(sinter_schedule_promise) sinter_schedule_promises;
/* NULL: there is none. */
const sinter_schedule_promise *sinter_schedule_find_promise(const sinter_schedule_promises *promises, uint32_t kernel,
                                                            uint32_t parameter);
/* Calls pass what was promised. False: an error went to diag. */
bool sinter_schedule_keep_promises(sinter_loop_program *program, const sinter_schedule_promises *promises, sinter_arena *scratch,
                                   sinter_diag *diag);

/* Everything that reads a constant: an argument of a call, or, where that is NULL, the host itself. */
typedef void (*sinter_schedule_constant_visitor)(void *user, uint32_t constant, const sinter_loop_stmt *call, uint32_t argument);
void sinter_schedule_visit_constants(const sinter_loop_program *program, sinter_schedule_constant_visitor visit, void *user);
/* The call passes that buffer of the host from now on. */
void sinter_schedule_pass(sinter_loop_program *program, sinter_loop_stmt *call, uint32_t argument, sinter_loop_buffer buffer);
/* The constant with dims that are numbers: tensors of equal data are one constant, whatever their shapes. Not the caller's. */
sinter_tensor sinter_schedule_constant_as(const sinter_loop_program *program, uint32_t constant, const sinter_expr *dims,
                                          uint32_t rank);
