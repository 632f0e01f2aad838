/* Samples: what a model may meet, as data to calibrate with or to score on. Each input of the model has a tensor with the samples
 * stacked along its first axis: that of the model, where the model takes any number (N), or a multiple of what it takes; or one
 * axis more than the model's, for runs one by one. An input without the batch may have one tensor for all runs.
 * Test: tests/unit/samples_test.c */
#pragma once
#include "ir/graph.h"

typedef struct sinter_samples sinter_samples;
/* Tensors in the order of the module's inputs, which are shared, not copied. False after errors: shapes and types that don't fit,
 * numbers of samples that differ, NaN and infinities, no samples. Only where their number is no multiple of what the model takes
 * is the rest left out, with a warning. batch: samples a run at most, where the model lets us choose. */
sinter_samples *sinter_samples_create(sinter_module *module, const sinter_tensor *inputs, size_t batch, sinter_diag *diag);
/* Samples first .. first + count - 1 as samples of their own; they must be there, and be whole runs where a run's size is fixed. */
sinter_samples *sinter_samples_slice(const sinter_samples *samples, size_t first, size_t count);
void sinter_samples_destroy(sinter_samples *samples); /* NULL allowed */

/* Says which positions of the samples count: an input of the model that is 0 where a sample has only padding. What passes learn
 * from a tensor that has a row (along its last axis) for each of its elements, they learn from the rows where it is not 0.
 * Slices made later have it, too. */
void sinter_samples_set_mask(sinter_samples *samples, size_t index);
/* The mask of run `index`, a view to be deinited by the caller; false where there is none. */
bool sinter_samples_run_mask(const sinter_samples *samples, size_t index, sinter_tensor *out_mask);

size_t sinter_samples_count(const sinter_samples *samples);
size_t sinter_samples_run_count(const sinter_samples *samples); /* all samples, once each, in order */
size_t sinter_samples_input_count(const sinter_samples *samples);
/* How many samples run `index` has: the same number but for the last, a multiple of the step. */
size_t sinter_samples_run_size(const sinter_samples *samples, size_t index);
/* How many samples the model takes at least: slices are of multiples of it. 1: of any number. */
size_t sinter_samples_step(const sinter_samples *samples);
/* The inputs of run `index`, views of the tensors, to be deinited by the caller. */
void sinter_samples_run_inputs(const sinter_samples *samples, size_t index, sinter_tensor *out_inputs);
