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

bool sinter_infer_has_symbol(const sinter_module *module, const char *text) {
    sinter_dim_table *table = sinter_module_dims(module);
    size_t size = strcspn(text, "=");
    for (size_t i = 0; i < sinter_dim_symbol_count(table); i++) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(table, sinter_dim_symbol_at(table, i));
        if (symbol->origin == SINTER_DIM_ORIGIN_INPUT && strlen(symbol->name) == size &&
            strncmp(symbol->name, text, size) == 0)
            return true;
    }
    return false;
}
