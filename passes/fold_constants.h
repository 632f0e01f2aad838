/* Folding of one value, for passes that compute with constants. Test: tests/passes/fold_scale/ */
#pragma once
#include "ir/rewrite.h"

/* The value, just built of constants by a node of one result, as a constant; the node goes. 0 after an error, or for 0. */
sinter_value sinter_fold_value(sinter_rewrite *rewrite, sinter_value value);
