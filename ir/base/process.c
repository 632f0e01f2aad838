/* See process.h. What the handler of a signal calls is safe there: system calls, and atomics on tables of a fixed size.
 * Test: tests/suites/bad_input.py */
#define _GNU_SOURCE /* SYS_getdents64 */
#include "ir/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    PATH_COUNT = 32,
    PATH_SIZE = 4096,
    CHILD_COUNT = 8,
    ATTEMPTS = 200,
    ATTEMPT_MILLISECONDS = 10,
};

/* Owner: the process that named it, so that a forked one leaves it alone. 0: free; -1: being written. */
static struct named_path {
    _Atomic pid_t owner;
    char path[PATH_SIZE];
} paths[PATH_COUNT];

static struct named_child {
    _Atomic pid_t owner, child; /* child: negative for a group */
} children[CHILD_COUNT];

/* ---- removing ---- */

/* As getdents64 gives it. */
typedef struct folder_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[];
} folder_entry;

/* Files that could be removed of those that the folder has from here on. */
static int remove_files(int folder) {
    _Alignas(folder_entry) char buffer[4096];
    int count = 0;
    for (long size; (size = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0;)
        for (long at = 0; at < size;) {
            const folder_entry *entry = (const folder_entry *)(const void *)(buffer + at);
            count += unlinkat(folder, entry->name, 0) == 0;
            at += entry->bytes;
        }
    return count;
}

void sinter_process_remove(const char *path) {
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0) {
        unlink(path);
        return;
    }
    while (remove_files(folder)) lseek(folder, 0, SEEK_SET); /* removing moves the others */
    close(folder);
    rmdir(path);
}

/* ---- what there is ---- */

void sinter_process_name_path(const char *path) {
    size_t size = strlen(path) + 1;
    for (int i = 0; i < PATH_COUNT && size <= PATH_SIZE; i++) {
        pid_t none = 0;
        if (!atomic_compare_exchange_strong(&paths[i].owner, &none, -1)) continue;
        memcpy(paths[i].path, path, size);
        atomic_store(&paths[i].owner, getpid());
        return;
    }
}

void sinter_process_forget_path(const char *path) {
    for (int i = 0; i < PATH_COUNT; i++) {
        pid_t owner = atomic_load(&paths[i].owner);
        if (owner <= 0 || strcmp(paths[i].path, path) != 0) continue;
        atomic_store(&paths[i].owner, 0);
        return;
    }
}

void sinter_process_name_child(pid_t child) {
    for (int i = 0; i < CHILD_COUNT; i++) {
        pid_t none = 0;
        if (!atomic_compare_exchange_strong(&children[i].owner, &none, -1)) continue;
        atomic_store(&children[i].child, child);
        atomic_store(&children[i].owner, getpid());
        return;
    }
}

void sinter_process_forget_child(pid_t child) {
    for (int i = 0; i < CHILD_COUNT; i++)
        if (atomic_load(&children[i].owner) > 0 && atomic_load(&children[i].child) == child)
            atomic_store(&children[i].owner, 0);
}

/* ---- being stopped ---- */

void sinter_process_end_child(pid_t child) {
    kill(child, SIGTERM);
    for (int i = 0; i < ATTEMPTS; i++) {
        pid_t ended = waitpid(child, NULL, WNOHANG);
        if (ended < 0) return; /* none is left */
        if (ended == 0) poll(NULL, 0, ATTEMPT_MILLISECONDS);
    }
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) > 0) continue;
}

static void clear_up(void) {
    pid_t self = getpid();
    for (int i = 0; i < CHILD_COUNT; i++)
        if (atomic_load(&children[i].owner) == self)
            sinter_process_end_child(atomic_load(&children[i].child));
    for (int i = 0; i < PATH_COUNT; i++)
        if (atomic_load(&paths[i].owner) == self) sinter_process_remove(paths[i].path);
}

static void stop(int number) {
    clear_up();
    raise(number); /* as it would have been without us: SA_RESETHAND */
}

void sinter_process_begin(void) {
    static const int numbers[] = {SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXCPU};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction before, ours = {.sa_handler = stop, .sa_flags = SA_RESETHAND | SA_NODEFER};
        if (!sigaction(numbers[i], NULL, &before) && before.sa_handler == SIG_DFL)
            sigaction(numbers[i], &ours, NULL);
    }
    atexit(clear_up);
}

/* ---- children ---- */

int sinter_process_run(const char *const *arguments, const char *said, int *out_status) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    if (said) {
        posix_spawn_file_actions_addopen(&actions, 1, said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        posix_spawn_file_actions_adddup2(&actions, 1, 2);
    }
    pid_t child = 0;
    int error = posix_spawnp(&child, arguments[0], &actions, &attributes,
                             (char *const *)(uintptr_t)arguments, environ); /* not written */
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error) return error;
    sinter_process_name_child(-child);
    while (waitpid(child, out_status, 0) < 0)
        if (errno != EINTR) {
            error = errno;
            break;
        }
    sinter_process_forget_child(-child);
    return error;
}
