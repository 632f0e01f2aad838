/* Folders of programs, replaced as a whole; see programs_folder.h. Test: tests/cli/shard.test */
#include "runtime/jit/programs_folder.h"
#include "ir/base/file.h"
#include "ir/base/process.h"
#include "runtime/jit/ranks_internal.h"
#include "runtime/jit/stages_internal.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

bool sinter_programs_begin(sinter_programs_folder *out_folder, const char *path,
                           sinter_diag *diag) {
    *out_folder = (sinter_programs_folder){.path = path, .is_new = !sinter_file_is_there(path)};
    if (!sinter_file_ensure_folder(path, diag)) return false;
    sinter_arena_init(&out_folder->arena);
    const char *made =
        sinter_arena_format(&out_folder->arena, "%s/.programs.%ld", path, (long)getpid());
    out_folder->made = made;
    sinter_process_remove(made); /* of a process that was killed */
    sinter_process_name_path(made);
    if (sinter_file_ensure_folder(made, diag)) return true;
    sinter_process_forget_path(made);
    sinter_arena_deinit(&out_folder->arena);
    return false;
}

/* Lines of a list that begin with the word; 0: there is no list. */
static uint32_t count_programs(const char *list, const char *word) {
    sinter_text text = {0};
    uint32_t count = 0;
    sinter_diag quiet = {0};
    if (sinter_file_is_there(list) && sinter_file_read_text(list, &text, &quiet))
        for (const char *line = text.data; line && *line;) {
            const char *end = strchr(line, '\n');
            count += !strncmp(line, word, strlen(word));
            line = end ? end + 1 : NULL;
        }
    sinter_text_deinit(&text);
    return count;
}

static void remove_ranks(sinter_arena *arena, const char *folder) {
    const char *list = sinter_ranks_list(arena, folder);
    const uint32_t count = count_programs(list, "program ");
    unlink(list);
    for (uint32_t i = 0; i < count; i++) unlink(sinter_ranks_path(arena, folder, i));
}

static void remove_stages(sinter_arena *arena, const char *folder) {
    const char *list = sinter_stages_list(arena, folder);
    const uint32_t count = count_programs(list, "stage ");
    unlink(list);
    for (uint32_t i = 0; i < count; i++) {
        const char *ranks = sinter_stages_path(arena, folder, i, true);
        unlink(sinter_stages_path(arena, folder, i, false));
        remove_ranks(arena, ranks);
        rmdir(ranks); /* unless somebody put something else there */
    }
}

static bool move(sinter_programs_folder *f, const char *name, sinter_diag *diag) {
    const char *from = sinter_arena_format(&f->arena, "%s/%s", f->made, name),
               *to = sinter_arena_format(&f->arena, "%s/%s", f->path, name);
    return rename(from, to) == 0 || sinter_error(diag, to, "can't be written: %s", strerror(errno));
}

static bool move_all(sinter_programs_folder *f, const char *list, sinter_diag *diag) {
    bool good = true;
    DIR *made = opendir(f->made);
    if (!made) return sinter_error(diag, f->made, "can't be read: %s", strerror(errno));
    for (struct dirent *entry; good && (entry = readdir(made));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
            strcmp(entry->d_name, list))
            good = move(f, entry->d_name, diag);
    closedir(made);
    return good && move(f, list, diag);
}

bool sinter_programs_end(sinter_programs_folder *folder, const char *list, bool good,
                         sinter_diag *diag) {
    if (good) {
        remove_ranks(&folder->arena, folder->path);
        remove_stages(&folder->arena, folder->path);
        good = move_all(folder, list, diag);
    }
    sinter_file_remove_folder(folder->made);
    if (!good && folder->is_new) rmdir(folder->path);
    sinter_arena_deinit(&folder->arena);
    return good;
}
