/* Making of statuses, inside of the runtime. Test: tests/unit/executable_test.c */
#pragma once
#include "runtime/sinter_runtime.h"

/* Never NULL: where there is no memory for the text, a constant that says so. */
sinter_status *sinter_status_make(sinter_status_code code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define SINTER_FAIL(code, ...) sinter_status_make((code), __FILE__, __LINE__, __VA_ARGS__)
