/* Compiled kernels kept in a folder from one compilation to the next, for any number of processes at once.
 *
 * An entry is found by all that its code depends on: the loops (of the host: LLVM's module), the target, the level, the builds of Sinter and LLVM. The whole
 * key is stored and compared. Entries appear by renaming, are checked before use, and what is damaged counts as absent. The
 * oldest go when the folder grows beyond its limit. Who can write to the folder can run code here: it is made for its owner
 * alone. Test: tests/unit/kernel_cache_test.c */
#pragma once
#include "codegen/compile.h"

#include <stdatomic.h>

typedef struct sinter_kernel_cache {
    const char *folder;
    const char *identity; /* of the compiler, in the arena that opened it */
    atomic_bool stored;   /* something */
    atomic_bool full;     /* or else whatever keeps it from taking more: said once, and not tried again */
} sinter_kernel_cache;

enum { SINTER_KERNEL_CACHE_LIMIT = 256 << 20 }; /* bytes */

/* Makes the folder where it is missing. False with an error where it can't be made, or this build of Sinter has no identity. */
bool sinter_kernel_cache_open(sinter_kernel_cache *out_cache, const char *folder, sinter_arena *arena, sinter_diag *diag);
/* All that the code of a kernel depends on, which is not legalized yet: what is shared there would be printed many times. Its name is
 * not in it: one kernel of two programs has two numbers. */
void sinter_kernel_cache_key(const sinter_kernel_cache *cache, const sinter_target *target, int level,
                             const sinter_loop_function *kernel, sinter_text *out_key);
/* The same of a module that LLVM has not optimized yet, as its bitcode: what is not known of it by less, host functions. */
void sinter_kernel_cache_module_key(const sinter_kernel_cache *cache, const sinter_target *target, int level,
                                    const char *bitcode, size_t size, sinter_text *out_key);
bool sinter_kernel_cache_find(const sinter_kernel_cache *cache, const sinter_text *key, sinter_text *out_object);
/* A failure is a warning, the first time: the compilation is none the worse. What lies in the way of an entry and is no file is
 * removed. Any number of threads at once. */
bool sinter_kernel_cache_store(sinter_kernel_cache *cache, const sinter_text *key, const sinter_text *object,
                               sinter_diag *diag);
/* Removes the entries that were not used for longest until at most `limit` bytes are left; where something was stored, and this
 * process has not looked since it stored a 1024th of that. */
void sinter_kernel_cache_trim(const sinter_kernel_cache *cache, uint64_t limit);
