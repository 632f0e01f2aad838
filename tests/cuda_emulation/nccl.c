/* libnccl.so.2 without GPUs: the functions of runtime/nccl_symbols.def over files, between threads and between processes of one machine.
 *
 * An identity is the name of a folder in $TMPDIR, which the last place that leaves takes along; those of processes that were killed go when
 * the next one is made. What a place gives is a file there, which its peers read: of a call of all places number N of
 * it "call_N_PLACE", of the message number N to another one "message_N_FROM_TO". Calls are work of the emulated driver's streams
 * (emulation_enqueue), so that a stream is held up until all places have come. Each file says with which words it was given: places that call
 * with other words, sizes that do not fit, a device that two places have, memory of another device are findings. Communicators are as
 * non-blocking ones are documented: what is not done returns 7, and ncclCommGetAsyncError tells. Sums are made from the last place to the
 * first, which is not the order of any other way. The environment says what goes wrong:
 *
 *   SINTER_EMULATION_NCCL_VERSION=22100
 *   SINTER_EMULATION_NCCL_FAIL=ncclAllGather@3=2   the third call since ncclGetVersion returns 2
 *   SINTER_EMULATION_NCCL_HANG=PLACE@N             that place never comes to its call or group number N of a communicator (from 0)
 *   SINTER_EMULATION_NCCL_LOSE=PLACE@N             there the others are told that it is lost (6)
 *
 * Test: tests/unit/nccl_test.c */
#include "runtime/nccl_types.h"
#include "tests/cuda_emulation/driver.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NCCL(name, symbol, parameters) EXPORT int symbol parameters;
#define NCCL_TEXT(name, symbol, parameters) EXPORT const char *symbol parameters;
#include "runtime/nccl_symbols.def"
#undef NCCL
#undef NCCL_TEXT

enum { SUM, PRODUCT, MAXIMUM, MINIMUM };
enum { PATH_BYTES = 400 }; /* a folder's name and that of an entry of it */

/* What a call was given, but for addresses; the same for all places. */
typedef struct words {
    int32_t call, type, reduction; /* call: ALL_GATHER ... */
    uint64_t count;
} words;
enum { ALL_GATHER, ALL_REDUCE, REDUCE_SCATTER, MESSAGE };

/* One call, or the sends and receipts of a group. */
typedef struct part {
    struct part *next;
    words words;
    const char *source;
    char *target;
    int peer;
    bool is_receipt, is_given, is_done;
    uint64_t number; /* of the message, or of the call */
} part;

struct ncclComm {
    char folder[128];
    int places, place, device;
    uint64_t groups; /* calls, and groups of messages, that were put into a stream */
    uint64_t calls, *sent, *received; /* messages by peer */
    bool is_ready, is_finalized;
    _Atomic bool is_aborted, is_lost;
    _Atomic int pending; /* steps in streams */
};

typedef struct step {
    nccl_communicator communicator;
    uint64_t group;
    part *parts;
} step;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned calls_of_watched;

/* Of a group that a thread has begun. */
static _Thread_local unsigned depth;
static _Thread_local step *open_step;
static _Thread_local cuda_stream open_stream;

/* ---- the driver ---- */

static int (*enqueue)(cuda_stream stream, emulation_step step);
static bool (*check_copy)(const void *to, const void *from, size_t bytes);
static int (*current_device)(void);
static void (*finding)(const char *format, ...);

/* It is open. */
static void find_driver(void) {
    char path[4096];
    const struct {
        const char *symbol;
        void *to;
    } wanted[] = {{"emulation_enqueue", &enqueue},
                  {"emulation_check_copy", &check_copy},
                  {"emulation_current_device", &current_device},
                  {"emulation_finding", &finding}};
    snprintf(path, sizeof path, "%s/libcuda.so.1", getenv("SINTER_CUDA_PATH"));
    void *driver = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *address = driver ? dlsym(driver, wanted[i].symbol) : NULL;
        if (!address) abort();
        memcpy(wanted[i].to, &address, sizeof address);
    }
}

/* ---- what goes wrong ---- */

static int injected(const char *function) {
    const char *wish = getenv("SINTER_EMULATION_NCCL_FAIL");
    size_t length = strlen(function);
    unsigned at;
    int code;
    if (!wish || strncmp(wish, function, length) ||
        sscanf(wish + length, "@%u=%d", &at, &code) != 2)
        return 0;
    pthread_mutex_lock(&lock);
    bool is_it = ++calls_of_watched == at;
    pthread_mutex_unlock(&lock);
    return is_it ? code : 0;
}

#define FAIL_WHERE_WISHED                                                                          \
 do {                                                                                              \
  int code_of_wish = injected(__func__);                                                           \
  if (code_of_wish) return code_of_wish;                                                           \
 } while (0)

static bool is_wished(const char *variable, const step *s) {
    const char *wish = getenv(variable);
    int place;
    unsigned long long at;
    return wish && sscanf(wish, "%d@%llu", &place, &at) == 2 && place == s->communicator->place &&
           at == s->group;
}

/* ---- files ---- */

static void name_file(const nccl_communicator c, const char *what, uint64_t number, int from,
                      int to, char out_path[PATH_BYTES]) {
    if (to < 0)
        snprintf(out_path, PATH_BYTES, "%s/%s_%llu_%d", c->folder, what, (unsigned long long)number,
                 from);
    else
        snprintf(out_path, PATH_BYTES, "%s/%s_%llu_%d_%d", c->folder, what,
                 (unsigned long long)number, from, to);
}

/* It is there as a whole or not at all. */
static bool give_file(const char *path, const void *head, size_t head_bytes, const void *data,
                      size_t bytes) {
    char draft[PATH_BYTES + 8];
    snprintf(draft, sizeof draft, "%s.draft", path);
    int file = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = file >= 0 && write(file, head, head_bytes) == (ssize_t)head_bytes &&
                (!bytes || write(file, data, bytes) == (ssize_t)bytes);
    if (file >= 0) close(file);
    return good && rename(draft, path) == 0;
}

/* Whether it is there; then its head, and its data, of so many bytes at most. */
static bool take_file(const char *path, void *head, size_t head_bytes, void *data, size_t bytes) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    if (read(file, head, head_bytes) != (ssize_t)head_bytes) abort();
    if (bytes && read(file, data, bytes) < 0) abort();
    close(file);
    return true;
}

static bool is_there(const char *path) {
    return access(path, F_OK) == 0;
}

/* ---- calls ---- */

static size_t size_of(int type) {
    static const unsigned char sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
    return type >= 0 && type < (int)sizeof sizes ? sizes[type] : 0;
}

#define COMBINE(type, wide)                                                                        \
 do {                                                                                              \
  type *x = to;                                                                                    \
  const type *y = from;                                                                            \
  for (size_t i = 0; i < count; i++) {                                                             \
   type a = x[i], b = y[i];                                                                        \
   x[i] = reduction == SUM       ? (type)((wide)a + (wide)b)                                       \
          : reduction == PRODUCT ? (type)((wide)a * (wide)b)                                       \
          : reduction == MAXIMUM ? (a > b ? a : b)                                                 \
                                 : (a < b ? a : b);                                                \
  }                                                                                                \
 } while (0)

static void combine(int type, int reduction, void *to, const void *from, size_t count) {
    switch (type) {
    case NCCL_INT8:
        COMBINE(int8_t, uint32_t);
        return;
    case NCCL_UINT8:
        COMBINE(uint8_t, uint32_t);
        return;
    case NCCL_INT32:
        COMBINE(int32_t, uint32_t);
        return;
    case NCCL_UINT32:
        COMBINE(uint32_t, uint32_t);
        return;
    case NCCL_INT64:
        COMBINE(int64_t, uint64_t);
        return;
    case NCCL_UINT64:
        COMBINE(uint64_t, uint64_t);
        return;
    case NCCL_FLOAT32:
        COMBINE(float, float);
        return;
    case NCCL_FLOAT64:
        COMBINE(double, double);
        return;
    default:
        finding("nccl: a sum of type %d", type);
    }
}

/* Elements that a place gives, and gets. */
static uint64_t given(const nccl_communicator c, const words *w) {
    return w->call == REDUCE_SCATTER ? w->count * (uint64_t)c->places : w->count;
}

static uint64_t got(const nccl_communicator c, const words *w) {
    return w->call == ALL_GATHER ? w->count * (uint64_t)c->places : w->count;
}

static bool have_all_come(const nccl_communicator c, const char *what, uint64_t number) {
    char path[PATH_BYTES];
    for (int p = 0; p < c->places; p++) {
        name_file(c, what, number, p, -1, path);
        if (!is_there(path)) return false;
    }
    return true;
}

static void finish_call(const nccl_communicator c, const part *p) {
    const size_t size = size_of(p->words.type), all = (size_t)given(c, &p->words),
                 count = (size_t)p->words.count;
    char *room = malloc(all * size + 1), path[PATH_BYTES];
    for (int place = c->places; place-- > 0;) {
        words theirs;
        name_file(c, "call", p->number, place, -1, path);
        if (!take_file(path, &theirs, sizeof theirs, room, all * size)) abort();
        if (memcmp(&theirs, &p->words, sizeof theirs) != 0) {
            finding("nccl: call %llu of place %d has other words than that of place %d",
                    (unsigned long long)p->number, c->place, place);
            break;
        }
        const char *piece =
            room + (p->words.call == REDUCE_SCATTER ? (size_t)c->place * count * size : 0);
        if (p->words.call == ALL_GATHER)
            memcpy(p->target + (size_t)place * count * size, room, count * size);
        else if (place == c->places - 1)
            memcpy(p->target, piece, count * size);
        else
            combine(p->words.type, p->words.reduction, p->target, piece, count);
    }
    free(room);
    /* All have read what was given before when they give this. */
    name_file(c, "call", p->number - 1, c->place, -1, path);
    if (p->number) unlink(path);
}

static bool run_call(const nccl_communicator c, part *p) {
    const size_t size = size_of(p->words.type);
    char path[PATH_BYTES];
    if (!p->is_given) {
        name_file(c, "call", p->number, c->place, -1, path);
        p->is_given = true;
        if (!check_copy(p->target, NULL, (size_t)got(c, &p->words) * size) ||
            !check_copy(NULL, p->source, (size_t)given(c, &p->words) * size))
            return true;
        if (!give_file(path, &p->words, sizeof p->words, p->source,
                       (size_t)given(c, &p->words) * size))
            abort();
    }
    if (!have_all_come(c, "call", p->number)) return false;
    finish_call(c, p);
    return true;
}

/* A message is there until it was taken. */
static bool run_message(const nccl_communicator c, part *p) {
    const size_t bytes = (size_t)p->words.count * size_of(p->words.type);
    char path[PATH_BYTES];
    words theirs;
    if (p->is_receipt) {
        name_file(c, "message", p->number, p->peer, c->place, path);
        if (!check_copy(p->target, NULL, bytes)) return true;
        if (!take_file(path, &theirs, sizeof theirs, p->target, bytes)) return false;
        if (memcmp(&theirs, &p->words, sizeof theirs) != 0)
            finding("nccl: place %d gets %llu elements from %d, which sends %llu", c->place,
                    (unsigned long long)p->words.count, p->peer, (unsigned long long)theirs.count);
        unlink(path);
        return true;
    }
    name_file(c, "message", p->number, c->place, p->peer, path);
    if (p->is_given) return !is_there(path);
    p->is_given = true;
    if (check_copy(NULL, p->source, bytes) &&
        !give_file(path, &p->words, sizeof p->words, p->source, bytes))
        abort();
    return false;
}

/* As far as it gets; the driver's lock is held. */
static bool run_step(void *user) {
    step *s = user;
    const nccl_communicator c = s->communicator;
    bool done = true;
    if (c->is_aborted) return true;
    if (is_wished("SINTER_EMULATION_NCCL_HANG", s)) return false;
    if (is_wished("SINTER_EMULATION_NCCL_LOSE", s)) {
        char path[PATH_BYTES];
        name_file(c, "lost", 0, c->place, -1, path);
        if (!give_file(path, "", 1, NULL, 0)) abort();
        return false;
    }
    for (part *p = s->parts; p; p = p->next) {
        if (!p->is_done) p->is_done = p->words.call == MESSAGE ? run_message(c, p) : run_call(c, p);
        done &= p->is_done;
    }
    return done;
}

static void drop_step(void *user) {
    step *s = user;
    s->communicator->pending--;
    for (part *next, *p = s->parts; p; p = next) {
        next = p->next;
        free(p);
    }
    free(s);
}

static int submit(step *s, cuda_stream stream) {
    const nccl_communicator c = s->communicator;
    s->group = c->groups++;
    c->pending++;
    return enqueue(stream, (emulation_step){run_step, drop_step, s}) ? NCCL_UNHANDLED_CUDA_ERROR
                                                                     : 0;
}

/* Into the open group, or alone. */
static int add(part what, nccl_communicator c, cuda_stream stream) {
    if (!c || !c->is_ready || c->is_finalized || c->is_aborted) return NCCL_INVALID_ARGUMENT;
    if (current_device() != c->device) {
        finding("nccl: device %d is current, the communicator's is %d", current_device(),
                c->device);
        return NCCL_INVALID_USAGE;
    }
    if (!size_of(what.words.type) || what.peer < 0 || what.peer >= c->places)
        return NCCL_INVALID_ARGUMENT;
    if (depth && open_step && (open_step->communicator != c || open_stream != stream))
        return NCCL_INVALID_USAGE; /* enough for what is tested */
    step *s = open_step;
    if (!s) {
        s = calloc(1, sizeof *s);
        s->communicator = c;
    }
    what.number = what.words.call != MESSAGE ? c->calls++
                  : what.is_receipt          ? c->received[what.peer]++
                                             : c->sent[what.peer]++;
    part *p = malloc(sizeof *p);
    *p = what;
    p->next = s->parts;
    s->parts = p;
    if (!depth) return submit(s, stream);
    open_step = s;
    open_stream = stream;
    return 0;
}

int ncclAllGather(const void *source, void *target, size_t count, int type, nccl_communicator c,
                  cuda_stream stream) {
    FAIL_WHERE_WISHED;
    return add((part){.words = {ALL_GATHER, type, 0, count}, .source = source, .target = target}, c,
               stream);
}

int ncclAllReduce(const void *source, void *target, size_t count, int type, int reduction,
                  nccl_communicator c, cuda_stream stream) {
    FAIL_WHERE_WISHED;
    return add(
        (part){.words = {ALL_REDUCE, type, reduction, count}, .source = source, .target = target},
        c, stream);
}

int ncclReduceScatter(const void *source, void *target, size_t count, int type, int reduction,
                      nccl_communicator c, cuda_stream stream) {
    FAIL_WHERE_WISHED;
    return add((part){.words = {REDUCE_SCATTER, type, reduction, count},
                      .source = source,
                      .target = target},
               c, stream);
}

int ncclSend(const void *source, size_t count, int type, int place, nccl_communicator c,
             cuda_stream stream) {
    FAIL_WHERE_WISHED;
    return add((part){.words = {MESSAGE, type, 0, count}, .source = source, .peer = place}, c,
               stream);
}

int ncclRecv(void *target, size_t count, int type, int place, nccl_communicator c,
             cuda_stream stream) {
    FAIL_WHERE_WISHED;
    return add((part){.words = {MESSAGE, type, 0, count},
                      .target = target,
                      .peer = place,
                      .is_receipt = true},
               c, stream);
}

int ncclGroupStart(void) {
    FAIL_WHERE_WISHED;
    if (!depth++) open_step = NULL;
    return 0;
}

int ncclGroupEnd(void) {
    int code = injected(__func__);
    if (!depth) return NCCL_INVALID_USAGE;
    if (--depth || !open_step) return code;
    step *s = open_step;
    open_step = NULL;
    return code ? code : submit(s, open_stream);
}

/* ---- communicators ---- */

/* Calls are counted from here on. */
int ncclGetVersion(int *out_version) {
    pthread_mutex_lock(&lock);
    calls_of_watched = 0;
    pthread_mutex_unlock(&lock);
    const char *text = getenv("SINTER_EMULATION_NCCL_VERSION");
    *out_version = text ? atoi(text) : 22100;
    return 0;
}

const char *ncclGetErrorString(int error) {
    static const char *const texts[] = {"no error",
                                        "unhandled cuda error",
                                        "unhandled system error",
                                        "internal error",
                                        "invalid argument",
                                        "invalid usage",
                                        "remote process exited or there was a network error",
                                        "in progress"};
    return error >= 0 && error < (int)(sizeof texts / sizeof *texts) ? texts[error] : "unknown";
}

const char *ncclGetLastError(nccl_communicator c) {
    (void)c;
    return "the emulation was told so";
}

static void remove_folder(const char *name) {
    char path[PATH_BYTES];
    DIR *folder = opendir(name);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        const int size = snprintf(path, sizeof path, "%s/%s", name, entry->d_name);
        if (entry->d_name[0] != '.' && size < (int)sizeof path) unlink(path);
    }
    if (folder) closedir(folder);
    rmdir(name);
}

/* Folders of jobs whose place 0 is gone, and did not leave. */
static void remove_lost(const char *root) {
    char path[PATH_BYTES];
    DIR *folder = opendir(root);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        int process;
        if (sscanf(entry->d_name, "sinter_nccl_%d_", &process) != 1 || kill(process, 0) == 0 ||
            errno != ESRCH)
            continue;
        if (snprintf(path, sizeof path, "%s/%s", root, entry->d_name) < (int)sizeof path)
            remove_folder(path);
    }
    if (folder) closedir(folder);
}

int ncclGetUniqueId(nccl_identity *out_identity) {
    FAIL_WHERE_WISHED;
    const char *root = getenv("TMPDIR");
    if (!root) root = "/tmp";
    remove_lost(root);
    memset(out_identity, 0, sizeof *out_identity);
    snprintf(out_identity->bytes, sizeof out_identity->bytes, "%s/sinter_nccl_%d_XXXXXX", root,
             (int)getpid());
    return mkdtemp(out_identity->bytes) ? 0 : NCCL_SYSTEM_ERROR;
}

int ncclCommInitRankConfig(nccl_communicator *out_communicator, int places, nccl_identity identity,
                           int place, nccl_config *config) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char path[PATH_BYTES];
    FAIL_WHERE_WISHED;
    pthread_once(&once, find_driver);
    if (config->size != sizeof *config || config->magic != NCCL_CONFIG_MAGIC ||
        config->version != NCCL_LEAST_VERSION || config->blocking || place < 0 || place >= places)
        return NCCL_INVALID_ARGUMENT;
    nccl_communicator c = calloc(1, sizeof *c);
    memcpy(c->folder, identity.bytes, sizeof c->folder);
    c->places = places;
    c->place = place;
    c->device = current_device();
    c->sent = calloc((size_t)places, sizeof *c->sent);
    c->received = calloc((size_t)places, sizeof *c->received);
    name_file(c, "come", 0, place, -1, path);
    if (!give_file(path, &c->device, sizeof c->device, NULL, 0)) return NCCL_SYSTEM_ERROR;
    *out_communicator = c;
    return NCCL_IN_PROGRESS;
}

/* NCCL does not take two places on one device. */
static int check_devices(const nccl_communicator c) {
    char path[PATH_BYTES];
    for (int p = 0, device; p < c->places; p++) {
        name_file(c, "come", 0, p, -1, path);
        if (!take_file(path, &device, sizeof device, NULL, 0)) return NCCL_IN_PROGRESS;
        if (p != c->place && device == c->device) return NCCL_INVALID_USAGE;
    }
    return 0;
}

int ncclCommGetAsyncError(nccl_communicator c, int *out_error) {
    char path[PATH_BYTES];
    FAIL_WHERE_WISHED;
    *out_error = 0;
    for (int p = 0; p < c->places && !*out_error; p++) {
        name_file(c, "lost", 0, p, -1, path);
        if (p != c->place && is_there(path)) *out_error = NCCL_REMOTE_ERROR;
    }
    if (*out_error) return 0;
    if (c->is_finalized)
        *out_error = have_all_come(c, "final", 0) ? 0 : NCCL_IN_PROGRESS;
    else if (!c->is_ready)
        *out_error = check_devices(c);
    c->is_ready |= !*out_error;
    return 0;
}

int ncclCommFinalize(nccl_communicator c) {
    char path[PATH_BYTES];
    FAIL_WHERE_WISHED;
    if (c->pending) finding("nccl: a communicator ends with %d calls under way", c->pending);
    name_file(c, "final", 0, c->place, -1, path);
    c->is_finalized = give_file(path, "", 1, NULL, 0);
    return NCCL_IN_PROGRESS;
}

/* The last one that leaves takes the folder along. */
static void leave(nccl_communicator c) {
    char path[PATH_BYTES];
    name_file(c, "left", 0, c->place, -1, path);
    give_file(path, "", 1, NULL, 0);
    if (have_all_come(c, "left", 0)) remove_folder(c->folder);
}

int ncclCommDestroy(nccl_communicator c) {
    FAIL_WHERE_WISHED;
    if (!c->is_finalized || c->pending) return NCCL_INVALID_USAGE;
    for (int p = 0; p < c->places; p++)
        if (c->sent[p] && p == c->place) finding("nccl: place %d sends to itself", p);
    leave(c);
    free(c->sent);
    free(c->received);
    free(c);
    return 0;
}

/* Work that is still in streams looks at it: it stays. */
int ncclCommAbort(nccl_communicator c) {
    FAIL_WHERE_WISHED;
    c->is_aborted = true;
    leave(c);
    return 0;
}
