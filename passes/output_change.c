/* Sums of changes. Test: tests/cli/compress_keep.test, tests/passes/prune_channels/ */
#include "passes/output_change.h"

#include <math.h>

void sinter_output_change_add(sinter_output_change *change, const sinter_tensor *now,
                              const sinter_tensor *before) {
    if (now->dtype != SINTER_DTYPE_f32) return;
    for (int64_t i = 0; i < sinter_tensor_count(now); i++) {
        double a = (double)((const float *)now->data)[i],
               b = (double)((const float *)before->data)[i];
        change->difference += (a - b) * (a - b);
        change->sum += b;
        change->square += b * b;
        change->count++;
    }
}

double sinter_output_change_share(const sinter_output_change *changes, size_t count) {
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        const sinter_output_change *c = &changes[i];
        double mean = c->count ? c->sum / (double)c->count : 0, spread = c->square - mean * c->sum;
        double share = spread > 0 ? c->difference / spread : 0;
        if (isnan(share) || share > most) most = isnan(share) ? HUGE_VAL : share;
    }
    return most;
}
