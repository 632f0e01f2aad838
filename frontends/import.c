/* Looks at the bytes and calls the reader: text (.sir) begins with the word `module` or a comment, everything
 * else is taken for ONNX. "-" is text on standard input. Test: tests/suites/bad_input.py, tests/cli/ */
#include "frontends/import.h"
#include "ir/base/file.h"
#include "ir/infer.h"
#include "ir/parse.h"
#include <string.h>

static bool is_text(const char *path) {
    if (strcmp(path, "-") == 0 || sinter_string_ends_with(path, ".sir")) return true;
    char start[64] = {0};
    size_t size = sinter_file_peek(path, start, sizeof start - 1); /* 0: the reader reports why */
    size_t at = strspn(start, " \t\r\n");
    return at < size &&
           (strncmp(start + at, "module", 6) == 0 || strncmp(start + at, "//", 2) == 0);
}

sinter_module *sinter_import_file(const char *path, sinter_diag *diag) {
    if (sinter_string_ends_with(path, ".loops")) {
        sinter_error(diag, path, "is a loop program, which sinter-opt reads; expected a model");
        return NULL;
    }
    return is_text(path) ? sinter_parse_file(path, diag) : sinter_import_onnx(path, diag);
}

sinter_module *sinter_import_file_bound(const char *path, const char *const *dims,
                                        sinter_diag *diag) {
    sinter_module *module = sinter_import_file(path, diag);
    for (; module && dims && *dims; dims++) {
        if (sinter_infer_bind_text(module, *dims, diag)) continue;
        sinter_module_destroy(module);
        return NULL;
    }
    return module;
}
