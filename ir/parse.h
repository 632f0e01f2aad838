/* The text form (.sir): parse is the inverse of print, byte for byte after one print. docs/ir.md has the grammar:
 *
 *   module "mnist" {
 *     dim N = 1..64 multiple 1
 *     graph (%x: f32[N,1,28,28]) {
 *       %w = constant() {value = tensor<f32[2,2], [1, 2, 3, 4]>} : f32[2,2]
 *       %y, %mask = dropout(%x, _, _) : f32[N,1,28,28], bool[N,1,28,28] loc("model.onnx: node 'd'")
 *       %z = if(%c) {...attributes...} ({ yield(%a) }, { yield(%b) }) : f32[N]
 *       yield(%y)
 *     }
 *   }
 * `_` is an absent operand or result. Tensors of more than 16 elements print as hex bytes: tensor<f32[100], 0x...>.
 * The result types after ':' are written by print; on reading they may be left out, inference fills them. */
#pragma once
#include "ir/graph.h"

/* NULL after errors (file:line:column: error: ...). */
sinter_module *sinter_parse_module(const char *path, const char *text, size_t size, sinter_diag *diag);
sinter_module *sinter_parse_file(const char *path, sinter_diag *diag); /* "-" is standard input */

typedef struct sinter_print_options {
    bool locations;         /* default true */
    size_t max_elements;    /* 0: all; else longer tensors print as "..." and can't be read back */
} sinter_print_options;
void sinter_print_module(sinter_module *module, const sinter_print_options *options, sinter_text *text); /* NULL: defaults */
void sinter_print_node(sinter_module *module, sinter_node node, sinter_text *text);
