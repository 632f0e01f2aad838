/* Diagnostics: compiler code reports to a sink that its caller passes in and returns false (or
 * NULL, or an id of 0). Nothing prints on its own and nothing is global. A NULL sink ignores all.
 * Format on the default sink:  where: error: message   then notes, one a line. */
#pragma once
#include "ir/base/text.h"

typedef enum sinter_severity {
    SINTER_SEVERITY_NOTE, /* belongs to the error or warning before it */
    SINTER_SEVERITY_WARNING,
    SINTER_SEVERITY_ERROR
} sinter_severity;

/* Where: "file.sir:3:7", "model.onnx: node 'Conv_12' (Conv)", ... Empty is allowed. */
typedef struct sinter_diag sinter_diag;
typedef void (*sinter_diag_handler)(void *user, sinter_severity severity, const char *where,
                                    const char *message);
struct sinter_diag {
    sinter_diag_handler handler; /* NULL: only counts */
    void *user;
    size_t error_count, warning_count;
};

/* Prints to the FILE * in `user` in clang style. */
void sinter_diag_print_handler(void *user, sinter_severity severity, const char *where,
                               const char *message);
/* Appends lines to the sinter_text * in `user`. */
void sinter_diag_text_handler(void *user, sinter_severity severity, const char *where,
                              const char *message);
/* Always returns false, so that `return sinter_error(...)` reads well. */
bool sinter_error(sinter_diag *diag, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sinter_warning(sinter_diag *diag, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sinter_note(sinter_diag *diag, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
