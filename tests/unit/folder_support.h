/* A folder of a test's own. */
#pragma once
#include "ir/base/file.h"

#include <dirent.h>
#include <string.h>

/* Files in it, hidden ones too. */
static inline int support_count_files(const char *folder) {
    int count = 0;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    if (directory) closedir(directory);
    return count;
}
