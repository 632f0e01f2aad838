/* How good a model's answers are on samples: against labels, or against the answers of the model it was made from.
 * Test: tests/unit/score_test.c */
#pragma once
#include "passes/samples.h"
#include "runtime/jit/engine.h"

typedef enum sinter_metric {
    SINTER_METRIC_TOP,       /* share of rows whose label is among the k largest; %, labels needed */
    SINTER_METRIC_AGREEMENT, /* share of rows whose largest element is at the reference's place; % */
    SINTER_METRIC_COSINE,    /* mean cosine of rows with the reference's */
    SINTER_METRIC_SQUARED_ERROR, /* mean over elements, from the reference */
    SINTER_METRIC_PERPLEXITY,    /* exp of the mean of -log softmax(row)[label]; labels needed */
    SINTER_METRIC_COMMAND        /* the number that a program prints, given a .npy of all answers one after the other; more is better */
} sinter_metric;
typedef struct sinter_metric_info {
    sinter_metric kind;
    int64_t k;           /* of TOP */
    const char *command; /* of COMMAND: the program; it lies in the text that was parsed */
} sinter_metric_info;
/* "top1", "top5", "agreement", "cosine", "mse", "perplexity", "command:PROGRAM". */
bool sinter_metric_parse(const char *text, sinter_metric_info *out_metric);
extern const char sinter_metric_names[]; /* those, for messages */
void sinter_metric_print(const sinter_metric_info *metric, double score, sinter_text *text); /* "91.73 %" */
bool sinter_metric_needs_labels(const sinter_metric_info *metric);
/* How much worse than the original's a score is, in the metric's unit; negative where it is better. */
double sinter_metric_loss(const sinter_metric_info *metric, double original, double score);
/* What may be lost: "0.5" in the metric's unit, or "1%": points, of metrics that are percentages, else a share of the original's
 * score. False where the text is neither, or such a share says nothing (mse, whose original is 0). */
bool sinter_metric_parse_drop(const sinter_metric_info *metric, const char *text, double original, double *out_loss);

/* Answers: output `output` of each run, in order. */
typedef struct sinter_answers {
    sinter_tensor *runs;
    size_t count;
} sinter_answers;
bool sinter_answers_collect(sinter_engine *engine, size_t output, const sinter_samples *samples,
                            sinter_answers *out_answers, sinter_diag *diag);
void sinter_answers_deinit(sinter_answers *answers);

/* A row is what the last axis has. labels: integers, one a row of all samples, from `first_label` on; NULL where the metric needs
 * none. False after an error: shapes or numbers of labels that don't fit. */
bool sinter_score(const sinter_metric_info *metric, const sinter_answers *answers, const sinter_answers *reference,
                  const sinter_tensor *labels, int64_t first_label, double *out_score, sinter_diag *diag);
