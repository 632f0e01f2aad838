/* Bounds of a symbol as users write them: NAME=8, NAME=1..2048. Test: tests/ir/infer_bind.sir */
#include "ir/infer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool sinter_infer_bind_text(sinter_module *module, const char *text, sinter_diag *diag) {
    const char *equals = strchr(text, '=');
    char *end = NULL;
    errno = 0;
    long long min = equals ? strtoll(equals + 1, &end, 10) : 0, max = min;
    bool good = equals && equals != text && end != equals + 1 && min >= 0;
    if (good && !strncmp(end, "..", 2)) {
        const char *second = end + 2;
        max = strtoll(second, &end, 10);
        good = end != second;
    }
    if (!good || *end || errno || max < min)
        return sinter_error(diag, text, "--dim: expected NAME=NUMBER or NAME=MIN..MAX");
    return sinter_infer_bind_dim(module, (sinter_string){text, (size_t)(equals - text)}, min, max,
                                 diag);
}
