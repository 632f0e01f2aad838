/* What the files of the emulated driver share, and the images that the emulated NVRTC makes for it. */
#pragma once
#include "runtime/cuda_types.h"
#include "tests/cuda_emulation/emulated_kernel.h"
#include <stdarg.h>
#include <stdbool.h>

#define EXPORT __attribute__((visibility("default")))

enum { EMULATION_SHARED_BYTES = 227 << 10, EMULATION_MOST_DEVICES = 8 };

/* An image is this head and a host shared object. */
#define EMULATION_IMAGE_MAGIC "EMULATED"
enum { EMULATION_IMAGE_BINARY = 0, EMULATION_IMAGE_EXACT = 1, EMULATION_IMAGE_TEXT = 2 };
typedef struct emulation_image {
    char magic[8];
    uint32_t architecture, kind;
    uint64_t bytes; /* of the shared object */
} emulation_image;

#define CUDA(name, symbol, parameters) EXPORT int symbol parameters;
#include "runtime/cuda_symbols.def"
#undef CUDA

/* ---- driver.c ---- */
/* Every function is between the two: the lock, injected failures, whether a context is current and good. */
int emulation_begin(const char *function, bool in_context);
int emulation_end(int code);
#define BEGIN(in_context)                                                                          \
    do {                                                                                           \
        int begun = emulation_begin(__func__, in_context);                                         \
        if (begun) return emulation_end(begun);                                                    \
    } while (0)
EXPORT void emulation_finding(const char *format, ...) __attribute__((format(printf, 1, 2)));
long emulation_number(const char *name, long otherwise); /* of the environment */
int emulation_device(void); /* of the call, or of the work that is done */
int emulation_device_count(void);
/* Work of another library, nccl.c, in its turn in the stream: run says whether it is done, and is asked again and again; drop comes last,
 * with or without that. Both hold the driver's lock: they call none of its functions but those below. */
typedef struct emulation_step {
    bool (*run)(void *user);
    void (*drop)(void *user);
    void *user;
} emulation_step;
EXPORT int emulation_current_device(void); /* of the thread; -1: none */
EXPORT int emulation_enqueue(cuda_stream stream, emulation_step step);

/* ---- driver_memory.c: not for several threads at once; of the device of the call or work ---- */
void emulation_memory_start(void); /* for each device */
void emulation_memory_stop(void);
bool emulation_memory_left(void); /* findings for what was not given back */
/* Between them, which nest, device memory can be touched. */
void emulation_memory_open(void);
void emulation_memory_close(void);
size_t emulation_memory_bytes(void);
size_t emulation_memory_used(void);
int emulation_pool_create(cuda_pool *out_pool);
int emulation_pool_destroy(cuda_pool pool);
char *emulation_allocate(size_t bytes); /* NULL: no memory */
void emulation_free(char *memory);
void *emulation_allocate_host(size_t bytes);
bool emulation_free_host(void *memory);
bool emulation_is_device(const void *address);
bool emulation_is_pinned(const void *address);
/* Both ends inside of what is allocated, where they are memory of the driver's; NULL is not looked at. */
EXPORT bool emulation_check_copy(const void *to, const void *from, size_t bytes);
/* The allocation that holds the address, or ends there: emulated_kernel.h. */
int emulation_find(uint64_t address, uint64_t *out_base, uint64_t *out_bytes);
void emulation_count(const char *kernel, const sinter_emulated_counters *counted);
