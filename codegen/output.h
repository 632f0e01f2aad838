/* Files that appear whole or not at all: written under a temporary name in the folder of the target, then renamed.
 * Something that is no regular file (a pipe, /dev/stdout) is written as it is. Test: tests/unit/package_test.c */
#pragma once
#include "ir/base/diag.h"

typedef struct sinter_output {
    const char *path;
    char *temporary; /* NULL: written in place */
    int file;
} sinter_output;

/* executable: with the permission to run. path must outlive the output. */
bool sinter_output_open(sinter_output *out_output, const char *path, bool executable, sinter_diag *diag);
bool sinter_output_write(sinter_output *output, const void *data, size_t size, sinter_diag *diag);
/* Zeros up to the offset. */
bool sinter_output_pad(sinter_output *output, uint64_t offset, sinter_diag *diag);
/* Ends with commit (false where the last of it couldn't be written) or abandon. */
bool sinter_output_commit(sinter_output *output, sinter_diag *diag);
void sinter_output_abandon(sinter_output *output);
/* Both or none: a file and the one that goes with it. */
bool sinter_output_commit_pair(sinter_output *companion, sinter_output *output, sinter_diag *diag);
/* All of it. */
bool sinter_output_write_file(const char *path, const void *data, size_t size, sinter_diag *diag);
