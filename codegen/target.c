/* Reads target names and says what the CPU is.
 *
 * The rows are in target.def. A named CPU gives the same target on every machine; "native" asks LLVM for this
 * machine's name and features, and the system for its caches. Features that generated code may use are all among the
 * FEATURE rows, so that `required` is complete. Test: tests/unit/isa_test.c */
#include "codegen/compile.h"
#include "codegen/loops/mma.h"

#include <assert.h>
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct feature_row {
    sinter_arch arch;
    const char *name, *llvm, *cpuinfo;
    const char *implies;
} feature_row;
static const feature_row features[] = {
#define FEATURE(arch, name, llvm, cpuinfo, implies)                                                \
 {SINTER_ARCH_##arch, name, llvm, cpuinfo, implies},
#include "codegen/target.def"
};
enum { FEATURE_COUNT = sizeof features / sizeof *features };
static_assert(FEATURE_COUNT <= 64, "feature_bits holds 64");

typedef struct cpu_row {
    sinter_arch arch;
    const char *name, *llvm, *features;
    uint32_t vector_bytes, registers, l1, l2, ways, l3, products, loads, latency, near, memory,
        shared, wake;
} cpu_row;
static const cpu_row cpus[] = {
#define CPU(arch, name, llvm, features, vector_bytes, registers, l1, l2, ways, l3, products,       \
            loads, latency, near, memory, shared, wake)                                            \
 {SINTER_ARCH_##arch, name,  llvm,    features, vector_bytes, registers, l1,  l2, ways, l3,        \
  products,           loads, latency, near,     memory,       shared,    wake},
#include "codegen/target.def"
};
enum { CPU_COUNT = sizeof cpus / sizeof *cpus };

#ifdef __aarch64__
static const char *const usual_cpu = "aarch64"; /* speeds of those that no row describes */
#else
static const char *const usual_cpu = "x86-64-v3";
#endif

static const sinter_gpu gpus[] = {
#define GPU(architecture, exact, copies, multiprocessors, threads, lanes, halves, bytes,           \
            registers, shared, l2, memory, clock)                                                  \
 {architecture, exact,  copies, multiprocessors, threads, lanes, {halves, bytes},                  \
  registers,    shared, l2,     memory,          clock},
#include "codegen/target.def"
};
enum { GPU_COUNT = sizeof gpus / sizeof *gpus };

static sinter_string next_word(const char **cursor, char separator) {
    const char *start = *cursor, *end = strchr(start, separator);
    size_t size = end ? (size_t)(end - start) : strlen(start);
    *cursor = start + size + (end ? 1 : 0);
    return (sinter_string){start, size};
}

/* Index of the row, FEATURE_COUNT where unknown. */
static size_t find_feature(sinter_arch arch, sinter_string name) {
    size_t i = 0;
    while (i < FEATURE_COUNT &&
           (features[i].arch != arch || !sinter_string_is(name, features[i].name)))
        i++;
    return i;
}

static uint64_t with_implied(sinter_arch arch, uint64_t bits, const char *names) {
    for (const char *cursor = names; *cursor;) {
        size_t index = find_feature(arch, next_word(&cursor, ' '));
        uint64_t bit = (uint64_t)1 << index;
        if (!(bits & bit)) bits = with_implied(arch, bits | bit, features[index].implies);
    }
    return bits;
}

static bool target_has_row(const sinter_target *target, sinter_arch arch, const char *name) {
    size_t index = find_feature(arch, sinter_string_of(name));
    return target->feature_bits >> index & 1;
}

/* Everything that follows from the feature bits: vector width, LLVM's and the loader's lists. */
static void finish(sinter_target *target, sinter_arch arch, const char *llvm_features,
                   sinter_arena *arena) {
    sinter_text llvm = {0}, required = {0};
    for (size_t i = 0; i < FEATURE_COUNT; i++) {
        if (!(target->feature_bits >> i & 1)) continue;
        sinter_text_format(&llvm, "%s+%s", llvm.size ? "," : "", features[i].llvm);
        sinter_text_format(&required, "%s%s", required.size ? "," : "", features[i].cpuinfo);
    }
    if (arch == SINTER_ARCH_x86_64 && target_has_row(target, arch, "avx512f")) {
        target->vector_bytes = 64;
        target->registers = 32;
        sinter_text_append_string(&llvm, ",+evex512");
    } else if (arch == SINTER_ARCH_x86_64 && target_has_row(target, arch, "avx") &&
               target->vector_bytes < 32) {
        target->vector_bytes = 32;
    }
    target->arch = arch;
    target->triple = arch == SINTER_ARCH_x86_64 ? "x86_64-pc-linux-gnu" : "aarch64-linux-gnu";
    target->features = llvm_features
                           ? llvm_features
                           : sinter_arena_copy_string(arena, llvm.data ? llvm.data : "", llvm.size);
    target->required =
        sinter_arena_copy_string(arena, required.data ? required.data : "", required.size);
    sinter_text_deinit(&llvm);
    sinter_text_deinit(&required);
}

/* A word of what the kernel tells of one cache of the first core; "" where it tells nothing. */
static void read_cache_fact(int index, const char *fact, char *out_word, size_t size) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, fact);
    *out_word = 0;
    FILE *file = fopen(path, "r");
    if (!file) return;
    if (!fgets(out_word, (int)size, file)) *out_word = 0;
    fclose(file);
}

/* The kernel's number of that cache of data; -1 where it tells nothing of one. */
static int find_cache(long level) {
    enum { MAX_CACHES = 8 };
    char word[32];
    for (int i = 0; i < MAX_CACHES; i++) {
        read_cache_fact(i, "level", word, sizeof word);
        if (strtol(word, NULL, 10) != level) continue;
        read_cache_fact(i, "type", word, sizeof word);
        if (*word != 'I') return i; /* of instructions */
    }
    return -1;
}

/* Bytes of the cache that a core of this machine has, alone or with its neighbours. The C library sums up the last level
 * of a whole socket, of which a core sees a part. */
static uint32_t system_cache(long level, uint32_t otherwise) {
    char word[32], *unit;
    int index = find_cache(level);
    if (index < 0) return otherwise;
    read_cache_fact(index, "size", word, sizeof word);
    long count = strtol(word, &unit, 10), scale = *unit == 'M' ? 1 << 20 : *unit == 'K' ? 1024 : 1;
    return count > 0 && count < INT32_MAX / scale ? (uint32_t)(count * scale) : otherwise;
}

/* Lines of it that share a set. */
static uint32_t system_ways(long level, uint32_t otherwise) {
    enum { MOST_WAYS = 64 };
    char word[32];
    int index = find_cache(level);
    if (index < 0) return otherwise;
    read_cache_fact(index, "ways_of_associativity", word, sizeof word);
    long ways = strtol(word, NULL, 10);
    return ways > 0 && ways <= MOST_WAYS ? (uint32_t)ways : otherwise;
}

static void take_speeds(sinter_target *target, const cpu_row *row) {
    target->products = row->products;
    target->loads = row->loads;
    target->latency = row->latency;
    target->near_bytes = row->near;
    target->memory_bytes = row->memory;
    target->shared_bytes = row->shared;
    target->wake_cycles = row->wake;
    target->l3_share = row->l3;
}

static void release_message(void *message) {
    LLVMDisposeMessage(message);
}

/* This machine: LLVM's opinion of it, less what our rows do not know (which code generation never picks on its own). */
static void fill_native(sinter_target *target, sinter_arena *arena) {
    char *name = LLVMGetHostCPUName(), *list = LLVMGetHostCPUFeatures();
    sinter_owned owned[2];
    sinter_own(&owned[0], release_message, name);
    sinter_own(&owned[1], release_message, list);
    target->cpu = sinter_arena_copy_string(arena, name, strlen(name));
    target->features = sinter_arena_copy_string(arena, list, strlen(list));
    for (int i = 0; i < 2; i++) {
        sinter_disown(&owned[i]);
        release_message(owned[i].object);
    }
    for (const char *cursor = target->features; *cursor;) {
        sinter_string word = next_word(&cursor, ',');
        for (size_t i = 0; i < FEATURE_COUNT && word.size > 1; i++)
            if (features[i].arch == SINTER_ARCH_HOST && word.data[0] == '+' &&
                sinter_string_is((sinter_string){word.data + 1, word.size - 1}, features[i].llvm))
                target->feature_bits |= (uint64_t)1 << i;
    }
    const cpu_row *row = NULL;
    for (size_t i = 0; i < CPU_COUNT; i++)
        if (cpus[i].arch == SINTER_ARCH_HOST &&
            (!strcmp(cpus[i].llvm, target->cpu) || (!row && !strcmp(cpus[i].name, usual_cpu))))
            row = &cpus[i];
    take_speeds(target, row);
    target->vector_bytes = 16;
    target->registers = SINTER_ARCH_HOST == SINTER_ARCH_aarch64 ? 32 : 16;
    target->l1_bytes = system_cache(1, row->l1);
    target->l2_bytes = system_cache(2, row->l2);
    target->l3_bytes = system_cache(3, row->l3);
    target->l2_ways = system_ways(2, row->ways);
    finish(target, SINTER_ARCH_HOST, target->features, arena);
}

static void note_known(sinter_diag *diag, const char *where, bool of_cpus, sinter_arch arch) {
    sinter_text text = {0};
    for (size_t i = 0; of_cpus && i < CPU_COUNT; i++)
        sinter_text_format(&text, "%s%s", text.size ? " " : "", cpus[i].name);
    for (size_t i = 0; !of_cpus && i < FEATURE_COUNT; i++)
        if (features[i].arch == arch)
            sinter_text_format(&text, "%s%s", text.size ? " " : "", features[i].name);
    sinter_note(diag, where, "known: %s%s", of_cpus ? "native " : "", text.data);
    sinter_text_deinit(&text);
}

static bool parse_cpu(const char *text, sinter_string name, sinter_arena *arena,
                      sinter_target *target, sinter_arch *out_arch, sinter_diag *diag) {
    if (sinter_string_is(name, "native")) {
        fill_native(target, arena);
        *out_arch = SINTER_ARCH_HOST;
        return true;
    }
    for (size_t i = 0; i < CPU_COUNT; i++) {
        if (!sinter_string_is(name, cpus[i].name) && !sinter_string_is(name, cpus[i].llvm))
            continue; /* "native" is called what LLVM calls it */
        *out_arch = cpus[i].arch;
        target->cpu = cpus[i].llvm;
        target->vector_bytes = cpus[i].vector_bytes;
        target->registers = cpus[i].registers;
        target->l1_bytes = cpus[i].l1;
        target->l2_bytes = cpus[i].l2;
        target->l3_bytes = cpus[i].l3;
        target->l2_ways = cpus[i].ways;
        take_speeds(target, &cpus[i]);
        target->feature_bits = with_implied(cpus[i].arch, 0, cpus[i].features);
        return true;
    }
    sinter_error(diag, text, "target: unknown CPU '%.*s' [target_c2]", SINTER_STRING_ARGS(name));
    note_known(diag, text, true, SINTER_ARCH_HOST);
    return false;
}

/* ---- GPUs ---- */

static bool parse_gpu(const char *text, sinter_string word, sinter_target *target,
                      sinter_diag *diag) {
    for (size_t i = 0; i < GPU_COUNT; i++) {
        char name[16];
        size_t size = (size_t)snprintf(name, sizeof name, "sm_%u", gpus[i].architecture);
        bool exact = word.size == size + 1 && word.data[size] == 'a' && gpus[i].has_exact;
        if ((word.size != size && !exact) || memcmp(word.data, name, size)) continue;
        if (target->gpu_code_count == SINTER_TARGET_MAX_ARCHITECTURES)
            return sinter_error(diag, text, "target: more than %d architectures [target_c6]",
                                SINTER_TARGET_MAX_ARCHITECTURES);
        if (!target->gpu) target->gpu = &gpus[i];
        target->gpu_codes[target->gpu_code_count++] =
            (sinter_gpu_code){gpus[i].architecture, exact, &gpus[i]};
        return true;
    }
    sinter_error(diag, text, "target: unknown architecture '%.*s' [target_c5]",
                 SINTER_STRING_ARGS(word));
    sinter_text known = {0};
    for (size_t i = 0; i < GPU_COUNT; i++)
        sinter_text_format(&known, gpus[i].has_exact ? " sm_%u sm_%ua" : " sm_%u",
                           gpus[i].architecture, gpus[i].architecture);
    sinter_note(diag, text, "known:%s", known.data);
    sinter_text_deinit(&known);
    return false;
}

const char *sinter_target_of_gpu(uint32_t architecture, sinter_arena *arena) {
    size_t best = GPU_COUNT;
    for (size_t i = 0; i < GPU_COUNT; i++)
        if (gpus[i].architecture <= architecture &&
            (best == GPU_COUNT || gpus[i].architecture > gpus[best].architecture))
            best = i;
    if (best == GPU_COUNT) return NULL;
    bool exact = gpus[best].architecture == architecture && gpus[best].has_exact;
    return sinter_arena_format(arena, "cuda:sm_%u%s", gpus[best].architecture, exact ? "a" : "");
}

double sinter_gpu_rounds(const sinter_gpu *gpu, double blocks) {
    return blocks / gpu->multiprocessors;
}

double sinter_gpu_matrix_rate(const sinter_gpu *gpu, uint32_t bits) {
    return bits <= 8 ? gpu->matrix_rates[1] : gpu->matrix_rates[0] * 16.0 / bits;
}

uint32_t sinter_target_shared_bytes(const sinter_target *target) {
    uint32_t oldest = UINT32_MAX, least = UINT32_MAX;
    for (uint32_t i = 0; i < target->gpu_code_count; i++)
        if (target->gpu_codes[i].architecture < oldest) oldest = target->gpu_codes[i].architecture;
    for (size_t i = 0; i < GPU_COUNT; i++)
        if (gpus[i].architecture >= oldest && gpus[i].shared_bytes < least)
            least = gpus[i].shared_bytes;
    return least;
}

uint32_t sinter_target_own_shared_bytes(const sinter_target *target) {
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < target->gpu_code_count; i++)
        if (target->gpu_codes[i].gpu->shared_bytes < least)
            least = target->gpu_codes[i].gpu->shared_bytes;
    return least;
}

/* The host's code is for any machine with a GPU: a plain CPU of this one's kind. */
static bool parse_cuda(const char *text, sinter_arena *arena, sinter_target *target,
                       sinter_diag *diag) {
    const char *cursor = text[4] ? text + 5 : "sm_80";
    sinter_arch arch;
    sinter_string host = SINTER_ARCH_HOST == SINTER_ARCH_x86_64 ? SINTER_STRING("x86-64-v2")
                                                                : SINTER_STRING("aarch64");
    *target = (sinter_target){0};
    if (!parse_cpu(text, host, arena, target, &arch, diag)) return false;
    do {
        if (!parse_gpu(text, next_word(&cursor, '+'), target, diag)) return false;
    } while (*cursor);
    finish(target, arch, NULL, arena);
    target->text = text[4] ? sinter_arena_copy_string(arena, text, strlen(text)) : "cuda:sm_80";
    return true;
}

bool sinter_target_parse(const char *text, sinter_arena *arena, sinter_target *out_target,
                         sinter_diag *diag) {
    const char *cursor = text;
    if (!strncmp(text, "cuda", 4) && (!text[4] || text[4] == ':'))
        return parse_cuda(text, arena, out_target, diag);
    if (strncmp(text, "cpu", 3) || (text[3] && text[3] != ':' && text[3] != '+'))
        return sinter_error(diag, text,
                            "target: expected cpu, cpu:native or cpu:NAME, each with +FEATURE... "
                            "after it, or cuda[:sm_90[+sm_80]...] [target_c1]");
    cursor += 3;
    sinter_string name = SINTER_STRING("native");
    if (*cursor == ':') {
        cursor++;
        name = next_word(&cursor, '+');
    } else if (*cursor == '+') {
        cursor++;
    }
    *out_target = (sinter_target){0};
    sinter_arch arch;
    if (!parse_cpu(text, name, arena, out_target, &arch, diag)) return false;
    bool native = sinter_string_is(name, "native"), added = false;
    while (*cursor) {
        sinter_string feature = next_word(&cursor, '+');
        size_t index = find_feature(arch, feature);
        if (index == FEATURE_COUNT) {
            sinter_error(diag, text, "target: unknown feature '%.*s' [target_c3]",
                         SINTER_STRING_ARGS(feature));
            note_known(diag, text, false, arch);
            return false;
        }
        if (native && !(out_target->feature_bits >> index & 1))
            return sinter_error(diag, text, "target: this machine has no %.*s [target_c4]",
                                SINTER_STRING_ARGS(feature));
        char *copy = sinter_arena_copy_string(arena, feature.data, feature.size);
        out_target->feature_bits = with_implied(arch, out_target->feature_bits, copy);
        added = true;
    }
    if (!native || added) finish(out_target, arch, native ? out_target->features : NULL, arena);
    out_target->text = native    ? sinter_arena_format(arena, "cpu:%s", out_target->cpu)
                       : text[3] ? sinter_arena_copy_string(arena, text, strlen(text))
                                 : "cpu:native";
    return true;
}

bool sinter_target_is_exactly(const sinter_target *target, uint32_t architecture) {
    for (uint32_t i = 0; i < target->gpu_code_count; i++)
        if (!target->gpu_codes[i].exact || target->gpu_codes[i].architecture != architecture)
            return false;
    return true;
}

sinter_machine sinter_target_machine(const sinter_target *target) {
    uint32_t least = target->gpu_code_count ? UINT32_MAX : 0;
    const sinter_gpu gpu = target->gpu ? *target->gpu : (sinter_gpu){0};
    for (uint32_t i = 0; i < target->gpu_code_count; i++)
        if (target->gpu_codes[i].architecture < least) least = target->gpu_codes[i].architecture;
    return (sinter_machine){
        .vector_bytes = target->vector_bytes,
        .products = target->products,
        .near_bytes = target->near_bytes,
        .memory_bytes = target->memory_bytes,
        .shared_bytes = target->shared_bytes,
        .l2_bytes = target->l2_bytes,
        .l3_bytes = target->l3_share,
        .pairs_of_bf16 = sinter_target_has(target, "avx512bf16"),
        .signed_dots = sinter_target_dot(target) == SINTER_INTRINSIC_dot4_i8i8,
        .has_device = target->gpu != NULL,
        .device_architecture = least,
        .device_multiprocessors = gpu.multiprocessors,
        .device_lanes = gpu.lanes,
        .device_halves = gpu.matrix_rates[0],
        .device_warpgroups =
            target->gpu &&
            sinter_target_is_exactly(target, sinter_loop_mma_infos[SINTER_MMA_bf16].warpgroup),
        .device_shared_bytes = gpu.shared_bytes,
        .device_block_bytes = target->gpu ? sinter_target_shared_bytes(target) : 0};
}

sinter_loop_intrinsic sinter_target_dot(const sinter_target *target) {
    if (target->gpu) return SINTER_INTRINSIC_NONE;
    /* x86 without VNNI has multiply-adds of 16 bits, which are exact. */
    if (target->arch == SINTER_ARCH_x86_64 || sinter_target_has(target, "i8mm"))
        return SINTER_INTRINSIC_dot4_u8i8;
    return sinter_target_has(target, "dotprod") ? SINTER_INTRINSIC_dot4_i8i8
                                                : SINTER_INTRINSIC_NONE;
}

bool sinter_target_has(const sinter_target *target, const char *any_of) {
    if (!*any_of) return true;
    for (const char *cursor = any_of; *cursor;) {
        size_t index = find_feature(target->arch, next_word(&cursor, '|'));
        if (index < FEATURE_COUNT && target->feature_bits >> index & 1) return true;
    }
    return false;
}

bool sinter_target_converts_f16(const sinter_target *target) {
    return sinter_target_has(target, "f16c|fp");
}

bool sinter_target_looks_up(const sinter_target *target) {
    return sinter_target_has(target, "avx512vbmi");
}

bool sinter_schedule_program(sinter_loop_program *program, const sinter_target *target,
                             const sinter_schedule_options *options, sinter_diag *diag) {
    return target->gpu ? sinter_schedule_cuda(program, target, options, diag)
                       : sinter_schedule_cpu(program, target, options, diag);
}
