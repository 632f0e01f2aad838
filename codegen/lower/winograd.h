/* Convolutions by Winograd's minimal filtering, a way to lower conv. Test: tests/codegen/lower/winograd.sir */
#pragma once
#include "codegen/lower/write.h"

/* The kernel of a conv with the attribute `winograd`. */
bool sinter_lower_winograd(sinter_kernel *kernel, sinter_node node);
