/* What a sliding window is, as lowering needs it. Private to codegen/lower/. Test: tests/codegen/lower/streamed.sir */
#pragma once
#include "codegen/lower/write.h"

typedef struct sinter_window {
    uint32_t spatial;        /* number of spatial axes */
    uint32_t channel, space; /* axis of the channels of x and y, and first spatial axis */
    int64_t stride[SINTER_MAX_RANK], dilation[SINTER_MAX_RANK];
    sinter_expr kernel[SINTER_MAX_RANK];     /* taps */
    sinter_expr pad_before[SINTER_MAX_RANK]; /* of auto_pad too */
    sinter_expr pad_after[SINTER_MAX_RANK];
} sinter_window;
sinter_window sinter_lower_describe_conv(sinter_kernel *kernel, sinter_node node);
