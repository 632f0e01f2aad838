/* A file written under a temporary name in the same folder and renamed when complete, so that nobody ever sees
 * half of it. Test: tests/suites/bad_input.py */
#pragma once
#include "ir/base/diag.h"
#include <stdio.h>

typedef struct sinter_output_file {
    FILE *stream; /* write here; errors are found on close */
    char *path, *temporary;
} sinter_output_file;

bool sinter_output_file_open(sinter_output_file *file, const char *path, sinter_diag *diag);
/* Renames where `keep` holds and everything was written; removes the temporary file otherwise. True when kept. */
bool sinter_output_file_close(sinter_output_file *file, bool keep, sinter_diag *diag);
