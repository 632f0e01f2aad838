/* Layers that are not to be rounded because of what that does to the whole model: seen by rounding what each layer reads, of one layer at
 * a time, in a copy of the model that has a switch for each. Test: tests/cli/compress_keep.test */
#pragma once
#include "passes/compression.h"

/* Appends rules to the recipe (the compression's, or one that begins with its rules) that leave as they are: layers whose keep=SHARE
 * is less than what rounding their input changes of the model's outputs, in squares, as a share of their variance. The module has
 * its layers exposed and is not changed. Nothing happens where no layer says keep; otherwise the compression has data, or it is an error. */
bool sinter_keep_sensitive(sinter_module *module, const sinter_compression *compression, sinter_recipe *recipe,
                           sinter_diag *diag);
