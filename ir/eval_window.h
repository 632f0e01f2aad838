/* Sliding windows, shared by the convolutions and pools of the evaluator. Test: tests/suites/onnx_suite.py */
#pragma once
#include "ir/eval_rules.h"

/* Spatial axes only: index i of the arrays is spatial axis i. */
typedef struct sinter_window {
    uint32_t rank;
    int64_t input[SINTER_MAX_RANK], output[SINTER_MAX_RANK], kernel[SINTER_MAX_RANK];
    int64_t strides[SINTER_MAX_RANK], dilations[SINTER_MAX_RANK];
    int64_t begin[SINTER_MAX_RANK], end[SINTER_MAX_RANK]; /* pads */
    int64_t input_count, output_count, kernel_count;      /* products */
} sinter_window;

/* Reads strides, dilations, pads, auto_pad and ceil_mode of the node and computes output. Attributes that are absent
 * are 1, or 0 for pads. kernel and input have rank entries. */
bool sinter_window_init(sinter_eval *eval, sinter_window *window, uint32_t rank, const int64_t *input,
                        const int64_t *kernel);
/* x[N, C, space...], or x[N, space..., C] with the attribute channels_last. Spatial positions are linear. */
typedef struct sinter_window_layout {
    bool channels_last;
    uint32_t channel, space; /* axis of the channels, first spatial axis */
} sinter_window_layout;
sinter_window_layout sinter_window_get_layout(const sinter_eval *eval, uint32_t rank);
/* Element of item n, channel c at a spatial position. */
static inline int64_t sinter_window_index(const sinter_window_layout *layout, int64_t channels, int64_t positions,
                                          int64_t n, int64_t c, int64_t position) {
    return layout->channels_last ? (n * positions + position) * channels + c
                                 : (n * channels + c) * positions + position;
}
/* The cells of the kernel that hit a space of these extents (the input; the output of conv_transpose) from position at[] of
 * the other one: kernel index and offset in the space of each, in order; returns how many. The arrays hold kernel_count
 * entries. */
int64_t sinter_window_taps(const sinter_window *window, const int64_t *extents, const int64_t *at, int64_t *out_kernel,
                           int64_t *out_offset);
