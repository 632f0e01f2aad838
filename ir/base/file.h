/* Files as a whole: read in one piece, and written so that they appear complete or not at all. A file is written without a
 * name (a temporary one in the folder of the target where the system can't do that), so that a process that is stopped
 * leaves nothing, and moved to its place at the end; what is no regular file (a pipe, /dev/stdout) is
 * written as it is. Errors come as diagnostics at the path. Test: tests/unit/file_test.c */
#pragma once
#include "ir/base/diag.h"
#include <stdio.h>

/* Appends all of it; "-" is standard input. */
bool sinter_file_read(const char *path, sinter_text *out_text, sinter_diag *diag);
/* The same up to the first zero byte, which no text has: that is an error, and a device without an end is none that is read. */
bool sinter_file_read_text(const char *path, sinter_text *out_text, sinter_diag *diag);
/* The first bytes of a regular file, at most `size` of them, for a look at what it is; 0 of what is none. */
size_t sinter_file_peek(const char *path, char *out_start, size_t size);
/* Whether both are one regular file, by whatever name or link; a file that is not there is none. */
bool sinter_file_is_same(const char *path, const char *other);
/* What is written to the one place lies in the other: one regular file, or one name of what is not there yet. */
bool sinter_file_is_one_place(const char *path, const char *other);
bool sinter_file_is_there(const char *path); /* of whatever kind */
bool sinter_file_write(const char *path, const void *data, size_t size, sinter_diag *diag);

/* The first call of a program: standard streams that are closed become ones that can't be read or written, so that no
 * file gets their numbers; a limit of file sizes is an error and no signal; a signal that stops the program leaves no
 * temporary folders and files behind (process.h). */
void sinter_file_begin_program(void);
/* The last one: standard output is written. False after an error. */
bool sinter_file_end_program(sinter_diag *diag);

/* A folder that is made where it is not there yet; its parents must be. */
bool sinter_file_ensure_folder(const char *folder, sinter_diag *diag);
/* A new folder of our own under TMPDIR, or /tmp, and its end, with what is in it. */
enum { SINTER_FILE_FOLDER_BYTES = 200 };
bool sinter_file_make_folder(char out_folder[SINTER_FILE_FOLDER_BYTES], sinter_diag *diag);
void sinter_file_remove_folder(const char *folder);

/* A file written piece by piece. The first piece that fails is remembered and reported on close. */
typedef struct sinter_file_writer {
    FILE *stream;
    char *path, *temporary; /* temporary NULL: no name yet */
    bool in_place;
    uint64_t size;          /* so far */
    int error;
    sinter_owned owned; /* so it may not be moved while it is open */
} sinter_file_writer;

/* executable: with the permission to run. */
bool sinter_file_writer_open(sinter_file_writer *out_writer, const char *path, bool executable, sinter_diag *diag);
void sinter_file_writer_append(sinter_file_writer *writer, const void *data, size_t size);
/* Zeros up to this size; they take no space in a regular file. */
void sinter_file_writer_pad(sinter_file_writer *writer, uint64_t size);
/* Puts the file in its place where `keep` holds and all was written, otherwise leaves no trace. True when kept. */
bool sinter_file_writer_close(sinter_file_writer *writer, bool keep, sinter_diag *diag);
/* Both or none: a file and the one that goes with it. */
bool sinter_file_writer_close_pair(sinter_file_writer *companion, sinter_file_writer *writer, bool keep, sinter_diag *diag);
