/* What a long search has measured so far, in a file, so that one that was stopped goes on where it was: named measurements, each a
 * few numbers. The file is written whole under a temporary name and renamed after each, and names what it is of: a key,
 * which is also its name. A journal that is damaged, or of something else, is an error and no measurement.
 *
 *   sinter_journal 1 "6f1c0f2c60ad1a04"
 *   "layer conv1: int8" = 0.00123 1072.0
 *
 * Numbers are finite and read back to the bit. Test: tests/unit/journal_test.c, tests/fuzz/journal_fuzz.c */
#pragma once
#include "ir/base/diag.h"
#include <stdint.h>

enum { SINTER_JOURNAL_VALUES = 4 }; /* of a measurement, at most */

typedef struct sinter_journal sinter_journal;
/* Without a file: nothing outlives it. */
sinter_journal *sinter_journal_create(uint64_t key);
/* FOLDER/KEY.journal, read where it is there; the folder is made where it is not. NULL after an error. */
sinter_journal *sinter_journal_open(const char *folder, uint64_t key, sinter_diag *diag);
/* The text alone; NULL after an error, at path:line:column. */
sinter_journal *sinter_journal_parse(const char *path, const char *text, size_t size, sinter_diag *diag);
void sinter_journal_destroy(sinter_journal *journal); /* NULL allowed */
void sinter_journal_print(const sinter_journal *journal, sinter_text *text);

size_t sinter_journal_count(const sinter_journal *journal);
const char *sinter_journal_name(const sinter_journal *journal, size_t index); /* in the order in which they came */
/* Whether a measurement is there (count 0: out_values may be NULL). It must have as many numbers as are asked for: else *out_good is false, after an error. */
bool sinter_journal_find(const sinter_journal *journal, const char *name, double *out_values, size_t count, bool *out_good,
                         sinter_diag *diag);
/* Adds one that is not there, and writes the file; values that are not finite are the caller's bug. */
bool sinter_journal_add(sinter_journal *journal, const char *name, const double *values, size_t count, sinter_diag *diag);
