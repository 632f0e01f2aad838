/* From a program to LLVM's output. Text comes from one module. An object is made of many: each kernel is compiled on its own
 * or found in the cache, side by side (codegen/crew.h), and codegen/object.h joins them in the order of the kernels. Kernels are looked for
 * before LLVM has seen them, the host once it is a module of LLVM's.
 * Test: tests/unit/emit_test.c */
#include "codegen/crew.h"
#include "codegen/emit/legalize.h"
#include "codegen/emit/llvm.h"
#include "codegen/kernel_cache.h"
#include "codegen/object.h"

/* ---- what all parts share ---- */

/* Kernels of one name get numbers, for a symbol is there once. */
static const char *const *name_kernels(const sinter_loop_program *program, sinter_arena *arena) {
    const char **names = SINTER_NEW_ARRAY(arena, const char *, program->kernels.count);
    sinter_map used;
    sinter_map_init(&used, arena);
    for (size_t i = 0; i < program->kernels.count; i++) {
        const char *name = program->kernels.items[i]->name;
        uint64_t seen;
        for (int k = 1; sinter_map_find_string(&used, sinter_string_of(name), &seen); k++)
            name = sinter_arena_format(arena, "%s.%d", program->kernels.items[i]->name, k);
        sinter_map_put_string(&used, sinter_string_of(name), i);
        names[i] = name;
    }
    return names;
}

static void fill_emission(sinter_llvm_emission *e, bool with_hash, sinter_arena *arena) {
    uint64_t *offsets = SINTER_NEW_ARRAY(arena, uint64_t, e->program->constants.count);
    e->weight_bytes = sinter_weights_layout(e->program, offsets);
    e->weight_offsets = offsets;
    e->weights_hash = with_hash ? sinter_weights_hash(e->program) : 0;
    e->kernel_names = name_kernels(e->program, arena);
}

/* ---- parts side by side ---- */

typedef struct compiled_part {
    sinter_llvm_part part;
    sinter_text object;
} compiled_part;

typedef struct compilation {
    const sinter_llvm_emission *emission;
    const sinter_loop_program *source; /* before legalization */
    sinter_kernel_cache *cache;        /* NULL: none */
    compiled_part *parts;
    size_t count;
} compilation;

/* What a thread has of its own. Host code is never optimized; up to -O1 its registers are chosen the short way, too, which takes a
 * third of the time. */
typedef struct machines {
    LLVMTargetMachineRef kernels, host;
} machines;

static bool compile_part(const compilation *c, compiled_part *part, machines *own,
                         sinter_diag *diag) {
    sinter_llvm_emission alone = *c->emission, *e = &alone;
    if (!part->part.host) alone.kernel_names = NULL;
    bool quick = part->part.host && e->level <= 1;
    LLVMTargetMachineRef *machine = quick ? &own->host : &own->kernels;
    if (!*machine) *machine = sinter_llvm_machine_create(e->target, quick ? 0 : e->level, diag);
    return *machine &&
           sinter_llvm_write_part(e, part->part, *machine, part->part.host ? c->cache : NULL,
                                  SINTER_LLVM_OBJECT, &part->object, diag);
}

/* From the cache, or into it. Machines are made only where something is compiled, and for the host. */
static bool find_or_compile(void *user, size_t job, void *own, sinter_diag *diag) {
    const compilation *c = user;
    compiled_part *part = &c->parts[job];
    if (!c->cache || part->part.host) return compile_part(c, part, own, diag);
    sinter_text key = {0};
    sinter_kernel_cache_key(c->cache, c->emission->target, c->emission->level,
                            c->source->kernels.items[part->part.first_kernel], &key);
    bool found = sinter_kernel_cache_find(c->cache, &key, &part->object);
    bool good = found || compile_part(c, part, own, diag);
    if (good && !found) sinter_kernel_cache_store(c->cache, &key, &part->object, diag);
    sinter_text_deinit(&key);
    return good;
}

static void release_machines(void *own) {
    machines *m = own;
    if (m->kernels) LLVMDisposeTargetMachine(m->kernels);
    if (m->host) LLVMDisposeTargetMachine(m->host);
    *m = (machines){0};
}

static bool join_parts(const compilation *c, sinter_arena *arena, sinter_text *out_object,
                       sinter_diag *diag) {
    sinter_text *objects = SINTER_NEW_ARRAY(arena, sinter_text, c->count);
    const char **names = SINTER_NEW_ARRAY(arena, const char *, c->count);
    for (size_t i = 0; i < c->count; i++) {
        const compiled_part *p = &c->parts[i];
        objects[i] = p->object;
        if (!p->part.host)
            names[i] =
                sinter_llvm_kernel_symbol(arena, c->emission->kernel_names[p->part.first_kernel]);
    }
    const char *weights = c->emission->weights_symbol;
    sinter_object_blob blob = {".sinter_weights", weights, weights ? c->emission->weight_bytes : 0};
    return sinter_object_join(objects, names, c->count, &blob, out_object, diag);
}

/* The host first: where it is long, it is the longest. */
static bool write_object(const sinter_llvm_emission *e, const sinter_loop_program *source,
                         const sinter_codegen_options *options, sinter_arena *arena,
                         sinter_text *out_object, sinter_diag *diag) {
    size_t kernels = e->program->kernels.count;
    sinter_kernel_cache cache;
    if (options->cache && !sinter_kernel_cache_open(&cache, options->cache, arena, diag))
        return false;
    compilation c = {.emission = e,
                     .source = source,
                     .cache = options->cache ? &cache : NULL,
                     .parts = SINTER_NEW_ARRAY(arena, compiled_part, kernels + 1)};
    c.parts[c.count++].part.host = true;
    for (uint32_t i = 0; i < kernels && !e->images; i++)
        c.parts[c.count++].part = (sinter_llvm_part){i, 1, false};
    sinter_crew crew = {.count = c.count,
                        .threads = options->jobs,
                        .work = find_or_compile,
                        .release = release_machines,
                        .progress = e->images ? NULL : options->progress,
                        .user = &c,
                        .listener = options->listener,
                        .own_bytes = sizeof(machines)};
    bool good = sinter_crew_run(&crew, diag);
    if (c.cache) sinter_kernel_cache_trim(&cache, SINTER_KERNEL_CACHE_LIMIT);
    good = good && join_parts(&c, arena, out_object, diag);
    for (size_t i = 0; i < c.count; i++) sinter_text_deinit(&c.parts[i].object);
    return good;
}

/* ---- whole programs ---- */

static bool write_text(const sinter_llvm_emission *e, sinter_llvm_output output,
                       sinter_text *out_bytes, sinter_diag *diag) {
    machines own = {.kernels = sinter_llvm_machine_create(e->target, e->level, diag)};
    if (!own.kernels) return false;
    sinter_owned owned = {0};
    sinter_own(&owned, release_machines, &own);
    sinter_llvm_part all = {0, e->images ? 0 : (uint32_t)e->program->kernels.count, true};
    bool good = sinter_llvm_write_part(e, all, own.kernels, NULL, output, out_bytes, diag);
    sinter_disown(&owned);
    release_machines(&own);
    return good;
}

enum { OBJECT_WEIGHTS_LIMIT = 1 << 30 };

bool sinter_llvm_write(const sinter_loop_program *program, const sinter_target *target,
                       const sinter_codegen_options *options, sinter_llvm_output output,
                       const char *symbol, bool weights_in_object, bool with_hash,
                       sinter_text *out_bytes, sinter_diag *diag) {
    uint64_t weight_bytes = sinter_weights_layout(program, NULL);
    if (weights_in_object && weight_bytes > OBJECT_WEIGHTS_LIMIT)
        return sinter_error(diag, program->name,
                            "weights of %llu bytes are too large for an object file; make a .so",
                            (unsigned long long)weight_bytes);
    sinter_loop_program *legal = sinter_legalize(program, target, diag);
    if (!legal) return false;
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_llvm_emission e = {
        .program = legal, .target = target, .level = options->level, .symbol = symbol};
    fill_emission(&e, with_hash, &arena);
    if (weights_in_object && weight_bytes)
        e.weights_symbol = sinter_arena_format(&arena, "%s_weights", symbol);
    sinter_device_images images = {0};
    bool good =
        !target->gpu || sinter_device_compile(program, target, options, with_hash, &images, diag);
    if (target->gpu) e.images = &images;
    if (good)
        good = output == SINTER_LLVM_OBJECT
                   ? write_object(&e, program, options, &arena, out_bytes, diag)
                   : write_text(&e, output, out_bytes, diag);
    sinter_device_images_deinit(&images);
    sinter_loop_program_destroy(legal);
    sinter_arena_deinit(&arena);
    return good;
}

bool sinter_emit_llvm(const sinter_loop_program *program, const sinter_target *target,
                      const sinter_codegen_options *options, sinter_llvm_output output,
                      const char *symbol, bool weights_in_object, sinter_text *out_bytes,
                      sinter_diag *diag) {
    return sinter_llvm_write(program, target, options, output, symbol, weights_in_object, true,
                             out_bytes, diag);
}
