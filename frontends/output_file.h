/* A file written under a temporary name in the same folder and renamed when complete, so that nobody ever sees
 * half of it. Something that is no regular file (a pipe, /dev/stdout) is written as it is.
 * Test: tests/cli/test_command.test, tests/suites/bad_input.py */
#pragma once
#include "ir/base/diag.h"
#include <stdio.h>

typedef struct sinter_output_file {
    FILE *stream; /* write here; errors are found on close */
    char *path, *temporary; /* temporary NULL: written in place */
} sinter_output_file;

bool sinter_output_file_open(sinter_output_file *file, const char *path, sinter_diag *diag);
/* Renames where `keep` holds and everything was written; removes the temporary file otherwise. True when kept. */
bool sinter_output_file_close(sinter_output_file *file, bool keep, sinter_diag *diag);
/* All of it. */
bool sinter_output_file_write(const char *path, const void *data, size_t size, sinter_diag *diag);
