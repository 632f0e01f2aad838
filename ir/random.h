/* The random numbers of Sinter, the same ones from the evaluator and from compiled code.
 *
 * Element i of a random node is made from one block of Philox4x32-10 (Salmon et al., "Parallel random numbers: as
 * easy as 1, 2, 3", 2011): counter (i, i >> 32, 0, 0) under the node's 64-bit key, so that elements can be made in any
 * order. Dropout alone draws from MT19937 seeded with its key, in order, 53 bits a draw, which is what the
 * operator's published test vectors were made with. Test: tests/unit/random_test.c */
#pragma once
#include "ir/graph.h"

/* Four words of block `index`. */
void sinter_random_block(uint64_t key, uint64_t index, uint32_t out_words[4]);
/* Uniform in [0, 1): 53 bits of words 0 and 1 where `wide` (f64), else the upper 24 bits of word 0. */
double sinter_random_uniform(uint64_t key, uint64_t index, bool wide);
/* Standard normal by Box and Muller: sqrt(-2 ln(u + 2^-24)) cos(2 pi v), u and v the upper 24 bits of words 0, 1. */
double sinter_random_normal(uint64_t key, uint64_t index);
/* Key of a node: the bits of its `seed` attribute as f32 (or the integer it is), else a hash of the name of its first
 * result, so that nodes without a seed differ and runs agree. */
uint64_t sinter_random_key(sinter_module *module, sinter_node node);

/* MT19937 (Matsumoto and Nishimura, 1998). */
typedef struct sinter_twister {
    uint32_t state[624];
    uint32_t position;
} sinter_twister;
void sinter_twister_init(sinter_twister *twister, uint32_t seed);
uint32_t sinter_twister_next(sinter_twister *twister);
double sinter_twister_uniform(sinter_twister *twister); /* [0, 1), 53 bits */
