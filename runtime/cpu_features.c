/* See cpu_features.h; the table is cpu_features.def. */
#include "runtime/cpu_features.h"
#include <stdint.h>
#include <string.h>

typedef struct feature {
    const char *name;
    uint32_t leaf, subleaf, which, bit, state;
} feature;

#if defined(__x86_64__)
# include <cpuid.h>
enum { EAX, EBX, ECX, EDX };
enum { STATE_NONE = 0, STATE_AVX = 0x6, STATE_AVX512 = 0xe6 }; /* bits of XCR0 */
static const feature features[] = {
# define X86(name, leaf, subleaf, register, bit, state)                                            \
  {name, leaf, subleaf, register, bit, STATE_##state},
# include "runtime/cpu_features.def"
};

static uint32_t saved_states(void) {
    uint32_t words[4];
    if (!__get_cpuid(1, &words[EAX], &words[EBX], &words[ECX], &words[EDX]) ||
        !(words[ECX] >> 27 & 1))
        return 0;
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool has_feature(const feature *f) {
    uint32_t words[4];
    if (!__get_cpuid_count(f->leaf, f->subleaf, &words[EAX], &words[EBX], &words[ECX], &words[EDX]))
        return false;
    return (words[f->which] >> f->bit & 1) && (saved_states() & f->state) == f->state;
}
#elif defined(__aarch64__)
# include <sys/auxv.h>
static const feature features[] = {
# define ARM(name, word, bit) {name, word, 0, 0, bit, 0},
# include "runtime/cpu_features.def"
};

static bool has_feature(const feature *f) {
    return getauxval(f->leaf == 1 ? AT_HWCAP : AT_HWCAP2) >> f->bit & 1;
}
#else
static const feature features[] = {{"", 0, 0, 0, 0, 0}};
static bool has_feature(const feature *f) {
    (void)f;
    return false;
}
#endif

bool sinter_cpu_has(const char *name, size_t size) {
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (strlen(features[i].name) == size && !memcmp(features[i].name, name, size))
            return has_feature(&features[i]);
    return false;
}

bool sinter_cpu_has_all(const char *names, char *out_missing, size_t capacity) {
    size_t used = 0;
    bool all = true;
    out_missing[0] = '\0';
    for (const char *at = names; *at;) {
        size_t size = strcspn(at, ",");
        if (size && !sinter_cpu_has(at, size)) {
            all = false;
            if (used + size + 2 < capacity) {
                if (used) out_missing[used++] = ' ';
                memcpy(out_missing + used, at, size);
                used += size;
                out_missing[used] = '\0';
            }
        }
        at += size + (at[size] == ',');
    }
    return all;
}
