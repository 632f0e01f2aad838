/* Attention that a GPU computes in blocks of queries and keys. Private to passes/. */
#pragma once
#include "passes/pass.h"

/* Lowering takes it whole, and there are queries and sizes of heads enough for blocks to share operands. */
bool sinter_attention_has_blocks(sinter_module *module, sinter_node node);
