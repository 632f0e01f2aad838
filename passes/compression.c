/* What passes that compress ask of their caller. Test: tests/passes/quantize_weights/ */
#include "passes/compression.h"

bool sinter_compression_has_data(const sinter_compression *compression, const char *what,
                                 sinter_diag *diag) {
    if (compression && compression->runner && compression->samples) return true;
    return sinter_error(diag, what, "needs samples of the model's inputs to calibrate with");
}

void sinter_compression_progress(const sinter_compression *compression, const char *step,
                                 size_t done, size_t total) {
    if (compression && compression->progress)
        compression->progress(compression->progress_user, step, done, total);
}
