/* What `beside` times: something that computes the same outputs from the same inputs, again and again. Whoever makes one
 * takes its memory before the first run, so that a run is the computing alone. Functions that return bool say why not on
 * standard error. Test: tests/cli/beside.test */
#pragma once
#include "ir/tensor.h"

typedef struct contestant {
    void *state;
    bool (*run)(void *state);
    /* Output `index` of the last run, borrowed; false where there is none that can be compared. */
    bool (*output)(void *state, size_t index, sinter_tensor *out_tensor);
    void (*destroy)(void *state);
} contestant;

/* The inputs of all, in the order of the model. Constants of the model may follow: some have them as inputs. */
typedef struct feeds {
    sinter_tensor *items;
    size_t count;
} feeds;

/* A compiled artifact, through the runtime. */
bool contestant_open_sinter(const char *artifact, int threads, const feeds *inputs,
                            contestant *out);
/* "LIBRARY:MODEL.onnx": ONNX Runtime's C API. */
bool contestant_open_onnxruntime(const char *what, int threads, const feeds *inputs,
                                 contestant *out);
/* "LIBRARY:NN" (NT, TN, TT: which operands are transposed): the product of the first two inputs, over all leading dims, by
 * cblas_sgemm. */
bool contestant_open_openblas(const char *what, int threads, const feeds *inputs, contestant *out);
/* A function of a shared library, which stays open; NULL where it is missing. */
typedef void (*any_function)(void);
any_function find_function(const char *library, const char *name);
/* "A:B": A is copied into `head`, which has `room` bytes; returns B, NULL where either is missing. */
const char *split_at_colon(const char *text, char *head, size_t room);
