/* Relocatable ELF files in memory: many become one, as `ld -r` would do it, so that kernels can be compiled apart without a
 * linker being needed. Test: tests/unit/object_test.c */
#pragma once
#include "ir/base/diag.h"

/* A section that the caller writes straight behind the object: alignment, name and symbol are given here, bytes are not. */
typedef struct sinter_object_blob {
    const char *section, *symbol; /* the symbol is hidden and global: other objects of a program may not see it */
    uint64_t bytes;               /* 0: no blob */
} sinter_object_blob;

/* The symbol of an object that gets its name where objects are joined: equal code of different names is one object then. */
#define SINTER_OBJECT_NAMELESS "nameless"

/* Joins objects of one machine (ELF64, little-endian, RELA) into out_object: sections of one name and kind are put together,
 * references between the objects are resolved, and what is hidden and defined becomes local. Two objects that define one
 * global are an error. The same objects in the same order give the same bytes. out_object ends where the blob begins,
 * at a multiple of 4096, when there is one. names: by object, what the nameless symbol and the beginning of those called
 * "nameless.ANYTHING" are in the whole; NULL, in place of one or of all: they stay as they are. */
bool sinter_object_join(const sinter_text *objects, const char *const *names, size_t count, const sinter_object_blob *blob,
                        sinter_text *out_object, sinter_diag *diag);
