/* A folder of programs, of ranks (ranks.txt) or of stages (stages.txt): written anew it has those alone, and until all of them are
 * made it stays what it was. Test: tests/cli/shard.test */
#pragma once
#include "ir/base/diag.h"

typedef struct sinter_programs_folder {
    sinter_arena arena;
    const char *path, *made; /* where the programs are to be; where they are put first, a folder within it */
    bool is_new;
} sinter_programs_folder;

/* The folder is made where it is not there. False after an error: then there is nothing to end. */
bool sinter_programs_begin(sinter_programs_folder *out_folder, const char *path, sinter_diag *diag);
/* Where all were made: what the lists of the folder name goes, with the lists, and what was made takes its place, `list` last. Otherwise what
 * was made goes. */
bool sinter_programs_end(sinter_programs_folder *folder, const char *list, bool good, sinter_diag *diag);
