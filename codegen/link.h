/* Linking of one object into a shared object by a program of the system. Test: tests/unit/package_test.c, tests/cli/compile.test */
#pragma once
#include "codegen/compile.h"

/* Uses, in this order, the first that is there: the C compiler of the target, ld.lld. What either of them prints goes into
 * the diagnostic. out_shared gets the bytes; the same for the same object and linker. */
bool sinter_link_shared(const sinter_text *object, const sinter_target *target, sinter_text *out_shared, sinter_diag *diag);
