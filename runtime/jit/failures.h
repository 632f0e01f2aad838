/* What those say that run side by side - ranks, stages - when some of them fail: each keeps its errors while it runs, and afterwards
 * what several of them said is said once, with who they are. Test: tests/cli/shard.test, pipeline.test */
#pragma once
#include "ir/base/diag.h"
#include "ir/base/text.h"

/* Of one of them; zeros to begin with. */
typedef struct sinter_failure {
    bool failed;
    sinter_text where, message; /* of its first error; other messages follow in lines of their own */
} sinter_failure;

/* A sink that keeps what it is told in the failure. One thread's. */
sinter_diag sinter_failure_sink(sinter_failure *failure);
/* An error for each message of those that failed, in the order of the first of them who has it; kind: "rank", "stage". */
void sinter_failures_report(const sinter_failure *failures, size_t count, const char *kind, sinter_diag *diag);
void sinter_failures_deinit(sinter_failure *failures, size_t count);
