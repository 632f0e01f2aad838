/* An evaluation of a module that stops where ranks of a mesh exchange what they have: several of them, one a rank, advance by
 * turns. Private to ir/eval*.c. Test: tests/unit/collective_test.c */
#pragma once
#include "ir/eval.h"

typedef struct sinter_eval_frame sinter_eval_frame;
/* NULL after an error. */
sinter_eval_frame *sinter_eval_frame_create(sinter_module *module, int64_t rank, const sinter_tensor *inputs,
                                            size_t input_count, sinter_diag *diag);
void sinter_eval_frame_destroy(sinter_eval_frame *frame); /* NULL allowed */
/* Runs nodes of the main region up to the next collective that sends; 0 at the end. */
bool sinter_eval_frame_advance(sinter_eval_frame *frame, sinter_node *out_collective);
/* NULL where it has none now. */
const sinter_tensor *sinter_eval_frame_value(const sinter_eval_frame *frame, sinter_value value);
/* Runs the collective that it stopped at; peers: the operands of each rank, one after the other. */
bool sinter_eval_frame_exchange(sinter_eval_frame *frame, const sinter_tensor *const *peers);
bool sinter_eval_frame_finish(sinter_eval_frame *frame, sinter_tensor *out_outputs, size_t output_count);
