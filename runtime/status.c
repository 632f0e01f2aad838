/* A status: code, message and the source place that reported it, in one allocation of its caller's.
 * Test: tests/unit/executable_test.c */
#include "runtime/status.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct sinter_status {
    sinter_status_code code;
    int line;
    const char *file;
    char message[];
};

static sinter_status no_memory = {SINTER_STATUS_OUT_OF_MEMORY, __LINE__, __FILE__};

sinter_status *sinter_status_make(sinter_status_code code, const char *file, int line,
                                  const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    sinter_status *status = malloc(sizeof *status + (size_t)(size > 0 ? size : 0) + 1);
    if (status) {
        *status = (sinter_status){.code = code, .line = line, .file = file};
        vsnprintf(status->message, (size_t)(size > 0 ? size : 0) + 1, format, arguments);
    }
    va_end(arguments);
    return status ? status : &no_memory;
}

sinter_status_code sinter_status_get_code(const sinter_status *status) {
    return status ? status->code : SINTER_STATUS_OK;
}

const char *sinter_status_message(const sinter_status *status) {
    if (status == &no_memory) return "out of memory";
    return status ? status->message : "";
}

const char *sinter_status_file(const sinter_status *status) {
    return status ? status->file : "";
}

int sinter_status_line(const sinter_status *status) {
    return status ? status->line : 0;
}

void sinter_status_destroy(sinter_status *status) {
    if (status != &no_memory) free(status);
}
