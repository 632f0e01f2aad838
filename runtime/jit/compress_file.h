/* Compression from file to file, by rules or by a budget: what the library and the command line do. Test: tests/cli/compress.test,
 * tests/cli/compress_budget.test, tests/unit/sinter_test.c */
#pragma once
#include "runtime/jit/engine.h"
#include "runtime/jit/score.h"
#include "runtime/jit/sinter.h"

/* The metric that the options ask for, by its name too. False after an error, such as that it doesn't go with labels or max_drop. */
bool sinter_compress_find_metric(const sinter_compress_options *options, const char **out_name,
                                 sinter_metric_info *out_metric, sinter_diag *diag);
/* options->run is not read: engine and dims (as sinter_options.dims) say the same. False after an error; a search that finds
 * nothing inside of the budget is one, and then out_result says so. */
bool sinter_compress_file(const char *path, const char *out_path, const sinter_compress_options *options,
                          const sinter_engine_options *engine, const char *const *dims,
                          sinter_compress_result *out_result, sinter_diag *diag);
