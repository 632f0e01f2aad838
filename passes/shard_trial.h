/* What a choice of shardings comes to: the program of a rank is made as it will be, by all passes up to those of its target, and priced as
 * `sinter plan` prices it, with exchanges that are under way while kernels run. Test: tests/passes/shard_auto/overlap.sir */
#pragma once
#include "passes/pass.h"

typedef struct sinter_shard_trial {
    double seconds;        /* of a run */
    double hidden_seconds; /* of exchanges, beside that */
} sinter_shard_trial;

/* Takes the module, whose values have words of its mesh; without a mesh it is the program of one device. Passes are told what the context's
 * pipeline says. False after an error: there is no such program. */
bool sinter_shard_try(const sinter_pass_context *context, sinter_module *module, sinter_shard_trial *out_trial, sinter_diag *diag);
