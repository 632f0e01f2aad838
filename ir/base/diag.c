/* The diagnostics sink: counts, and passes each message to the caller's handler.
 * Test: tests/unit/base_test.c */
#include "ir/base/diag.h"

#include <stdio.h>

static const char *const severity_names[] = {"note", "warning", "error"};

static void report(sinter_diag *diag, sinter_severity severity, const char *where,
                   const char *format, va_list arguments) {
    if (!diag) return;
    if (severity == SINTER_SEVERITY_ERROR) diag->error_count++;
    if (severity == SINTER_SEVERITY_WARNING) diag->warning_count++;
    if (!diag->handler) return;
    sinter_text message = {0};
    sinter_text_format_list(&message, format, arguments);
    diag->handler(diag->user, severity, where ? where : "", message.data);
    sinter_text_deinit(&message);
}

bool sinter_error(sinter_diag *diag, const char *where, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    report(diag, SINTER_SEVERITY_ERROR, where, format, arguments);
    va_end(arguments);
    return false;
}

void sinter_warning(sinter_diag *diag, const char *where, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    report(diag, SINTER_SEVERITY_WARNING, where, format, arguments);
    va_end(arguments);
}

void sinter_note(sinter_diag *diag, const char *where, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    report(diag, SINTER_SEVERITY_NOTE, where, format, arguments);
    va_end(arguments);
}

void sinter_diag_text_handler(void *user, sinter_severity severity, const char *where,
                              const char *message) {
    sinter_text_format(user, "%s%s%s: %s\n", where, *where ? ": " : "", severity_names[severity],
                       message);
}

void sinter_diag_print_handler(void *user, sinter_severity severity, const char *where,
                               const char *message) {
    sinter_text text = {0}; /* names of a model may be anything */
    sinter_text_printable(&text, sinter_string_of(where), "");
    sinter_text_format(&text, "%s%s: ", *where ? ": " : "", severity_names[severity]);
    sinter_text_printable(&text, sinter_string_of(message), "\n\t");
    fprintf(user, "%s\n", text.data);
    sinter_text_deinit(&text);
}
