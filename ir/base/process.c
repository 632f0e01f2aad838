/* See process.h. What the handler of a signal calls is safe there: system calls, and atomics on tables of a fixed size.
 * Test: tests/suites/bad_input.py */
#define _GNU_SOURCE /* SYS_getdents64 */
#include "ir/base/process.h"
#include "ir/base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
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
static int remove_files(int folder);

static bool remove_entry(int folder, const char *name) {
    if (!unlinkat(folder, name, 0)) return true;
    if (errno != EISDIR || !strcmp(name, ".") || !strcmp(name, "..")) return false;
    int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0) return false;
    while (remove_files(inner)) lseek(inner, 0, SEEK_SET); /* removing moves the others */
    close(inner);
    return unlinkat(folder, name, AT_REMOVEDIR) == 0;
}

static int remove_files(int folder) {
    _Alignas(folder_entry) char buffer[4096];
    int count = 0;
    for (long size; (size = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0;)
        for (long at = 0; at < size;) {
            const folder_entry *entry = (const folder_entry *)(const void *)(buffer + at);
            count += remove_entry(folder, entry->name);
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

static const int numbers[] = {SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXCPU};
enum { NUMBER_COUNT = sizeof numbers / sizeof *numbers };

/* What is made is named before a signal can come between. */
static void hold_signals(sigset_t *out_before) {
    sigset_t held;
    sigemptyset(&held);
    for (int i = 0; i < NUMBER_COUNT; i++) sigaddset(&held, numbers[i]);
    pthread_sigmask(SIG_BLOCK, &held, out_before);
}

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

bool sinter_process_make_folder(char *name) {
    sigset_t before;
    hold_signals(&before);
    bool made = mkdtemp(name) != NULL;
    int error = errno;
    if (made) sinter_process_name_path(name);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return made;
}

void sinter_process_forget_path(const char *path) {
    for (int i = 0; i < PATH_COUNT; i++) {
        pid_t owner = atomic_load(&paths[i].owner);
        if (owner <= 0 || strcmp(paths[i].path, path) != 0) continue;
        atomic_store(&paths[i].owner, 0);
        return;
    }
}

static void name_child(pid_t child) {
    for (int i = 0; i < CHILD_COUNT; i++) {
        pid_t none = 0;
        if (!atomic_compare_exchange_strong(&children[i].owner, &none, -1)) continue;
        atomic_store(&children[i].child, child);
        atomic_store(&children[i].owner, getpid());
        return;
    }
}

static void forget_child(pid_t child) {
    for (int i = 0; i < CHILD_COUNT; i++)
        if (atomic_load(&children[i].owner) > 0 && atomic_load(&children[i].child) == child)
            atomic_store(&children[i].owner, 0);
}

/* ---- being stopped ---- */

void sinter_process_end(pid_t child) {
    kill(child, SIGTERM);
    for (int i = 0; i < ATTEMPTS; i++) {
        pid_t ended = waitpid(child, NULL, WNOHANG);
        if (ended < 0) return; /* none is left */
        if (ended == 0) poll(NULL, 0, ATTEMPT_MILLISECONDS);
    }
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) > 0) continue;
}

/* Children of a child may be a little later than it, and what they make then is in the way of removing their folder. */
static void insist_on_removing(const char *path) {
    for (int i = 0; i < ATTEMPTS; i++) {
        sinter_process_remove(path);
        if (access(path, F_OK) != 0) return;
        poll(NULL, 0, ATTEMPT_MILLISECONDS);
    }
}

static void clear_up(void) {
    pid_t self = getpid();
    for (int i = 0; i < CHILD_COUNT; i++)
        if (atomic_load(&children[i].owner) == self)
            sinter_process_end(atomic_load(&children[i].child));
    for (int i = 0; i < PATH_COUNT; i++)
        if (atomic_load(&paths[i].owner) == self) insist_on_removing(paths[i].path);
}

static void stop(int number) {
    clear_up();
    raise(number); /* as it would have been without us: SA_RESETHAND */
}

void sinter_process_begin(void) {
    for (int i = 0; i < NUMBER_COUNT; i++) {
        struct sigaction before, ours = {.sa_handler = stop, .sa_flags = SA_RESETHAND | SA_NODEFER};
        if (!sigaction(numbers[i], NULL, &before) && before.sa_handler == SIG_DFL)
            sigaction(numbers[i], &ours, NULL);
    }
    atexit(clear_up);
}

/* ---- children ---- */

pid_t sinter_process_fork(void) {
    sigset_t before;
    hold_signals(&before);
    pid_t child = fork();
    if (child > 0) name_child(child);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return child;
}

static int wait_for(pid_t child, int *out_status) {
    int result;
    do result = waitpid(child, out_status, 0);
    while (result < 0 && errno == EINTR);
    return result;
}

int sinter_process_wait(pid_t child, int *out_status) {
    int result = wait_for(child, out_status);
    forget_child(child);
    return result;
}

/* Ours, with another TMPDIR. */
static char **make_environment(const char *folder) {
    size_t count = 0, size = strlen(folder) + sizeof "TMPDIR=";
    while (environ[count]) count++;
    char **list = sinter_heap_alloc((count + 2) * sizeof *list + size), **end = list;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "TMPDIR=", 7) != 0) *end++ = environ[i];
    *end = (char *)(list + count + 2);
    snprintf(*end, size, "TMPDIR=%s", folder);
    return list;
}

static int spawn(const char *const *arguments, char **environment, const char *said,
                 const sigset_t *mask, pid_t *out_child) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, mask);
    if (said) {
        posix_spawn_file_actions_addopen(&actions, 1, said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        posix_spawn_file_actions_adddup2(&actions, 1, 2);
    }
    int error = posix_spawnp(out_child, arguments[0], &actions, &attributes,
                             (char *const *)(uintptr_t)arguments, environment); /* not written */
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

int sinter_process_run(const char *const *arguments, const char *folder, const char *said,
                       int *out_status) {
    pid_t child = 0;
    sigset_t before;
    char **environment = make_environment(folder);
    hold_signals(&before);
    int error = spawn(arguments, environment, said, &before, &child);
    if (!error) name_child(-child);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sinter_heap_free(environment);
    if (error) return error;
    if (wait_for(child, out_status) < 0) error = errno;
    forget_child(-child);
    return error;
}
