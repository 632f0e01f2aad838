/* Parts of sinter_package. Test: tests/unit/package_test.c */
#pragma once
#include "codegen/compile.h"
#include "ir/base/file.h"

/* "3-layers.v2/model.so" -> "model": letters, digits and _, no digit first. Of the arena. */
const char *sinter_package_identifier(const char *path, sinter_arena *arena);
/* C header for the object: the contract, what goes in and out, a typed function, an example. */
void sinter_package_header(const sinter_loop_program *program, const sinter_target *target, const char *name,
                           sinter_text *text);
