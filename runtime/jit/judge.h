/* What a compressed model is worth beside the one it was made from: the size of its file, the time of a run, and a metric over
 * samples, all of them of the file, by compiled code. Test: tests/cli/compress.test, tests/cli/compress_budget.test */
#pragma once
#include "runtime/jit/score.h"

/* Without samples size and time alone are measured, on inputs that are made up. */
typedef struct sinter_judge_data {
    const sinter_engine_options *engine;
    const char *const *dims;       /* as sinter_options.dims */
    const sinter_samples *samples; /* to score on; NULL: none */
    size_t first_sample;           /* the number of the first of them, where labels are of all */
    sinter_metric_info metric;
    const sinter_tensor *labels;   /* NULL: none */
    size_t output;                 /* that is scored */
} sinter_judge_data;

typedef struct sinter_judged {
    double bytes, seconds, score; /* score: 0 without samples */
} sinter_judged;

typedef struct sinter_judge {
    sinter_judge_data data;
    sinter_engine *original;
    sinter_answers answers;
    sinter_tensor *inputs; /* of the run that is timed */
    size_t input_count;
    sinter_judged of_original;
} sinter_judge;

/* Of the original at the path. What the data points to must outlive the judge. False after an error, with nothing to close. */
bool sinter_judge_open(sinter_judge *out_judge, const sinter_judge_data *data, const char *path, sinter_diag *diag);
void sinter_judge_close(sinter_judge *judge); /* zeroed: nothing happens */
/* Of the file at the path; the original runs beside it, `seconds` for both, so that both times are of one machine. */
bool sinter_judge_measure(sinter_judge *judge, const char *path, double seconds, sinter_judged *out_original,
                          sinter_judged *out_judged, sinter_diag *diag);
/* The shortest run of each, in turns. */
bool sinter_judge_race(const sinter_judge *judge, sinter_engine *const engines[2], double seconds, double out_seconds[2],
                       sinter_diag *diag);
