/* From a program to LLVM's output. Text comes from one module. An object is made of many: each kernel is compiled on its own
 * or found in the cache, by as many threads as there are jobs, and codegen/object.h joins them in the order of the kernels.
 *
 * What threads share is read only; messages are kept by part and said in order. Test: tests/unit/emit_test.c */
#include "codegen/emit_llvm.h"
#include "codegen/kernel_cache.h"
#include "codegen/legalize.h"
#include "codegen/object.h"

#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

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

typedef struct message {
    sinter_severity severity;
    const char *where, *text;
} message;

typedef struct compiled_part {
    sinter_llvm_part part;
    sinter_text object;
    sinter_arena arena; /* of what was said */
    SINTER_VECTOR(message) messages;
    bool good;
} compiled_part;

typedef struct crew {
    const sinter_llvm_emission *emission;
    const sinter_loop_program *source; /* before legalization */
    const sinter_kernel_cache *cache;  /* NULL: none */
    compiled_part *parts;
    size_t count;
    locale_t locale; /* of the thread that calls, for those that help it */
    atomic_size_t next;
    atomic_bool failed; /* nobody begins another part then */
    atomic_bool stored; /* into the cache */
    atomic_bool
        full; /* or else whatever keeps it from taking more: said once, and not tried again */
} crew;

static void keep_message(void *user, sinter_severity severity, const char *where,
                         const char *text) {
    compiled_part *part = user;
    message kept = {severity, sinter_arena_format(&part->arena, "%s", where ? where : ""),
                    sinter_arena_format(&part->arena, "%s", text)};
    sinter_vector_push(&part->arena, &part->messages, kept);
}

static bool compile_part(const crew *c, compiled_part *part, LLVMTargetMachineRef *machine,
                         sinter_diag *diag) {
    const sinter_llvm_emission *e = c->emission;
    if (!*machine) *machine = sinter_llvm_machine_create(e->target, e->level, diag);
    return *machine &&
           sinter_llvm_write_part(e, part->part, *machine, SINTER_LLVM_OBJECT, &part->object, diag);
}

/* From the cache, or into it. The host is no kernel: it holds what is known of one model alone. */
static bool find_or_compile(crew *c, compiled_part *part, LLVMTargetMachineRef *machine,
                            sinter_diag *diag) {
    if (!c->cache || part->part.host) return compile_part(c, part, machine, diag);
    uint32_t index = part->part.first_kernel;
    sinter_text key = {0};
    sinter_kernel_cache_key(c->cache, c->emission->target, c->emission->level,
                            c->source->kernels.items[index], c->emission->kernel_names[index],
                            &key);
    bool found = sinter_kernel_cache_find(c->cache, &key, &part->object);
    bool good = found || compile_part(c, part, machine, diag);
    if (good && !found && !c->full) {
        if (sinter_kernel_cache_store(c->cache, &key, &part->object, diag))
            c->stored = true;
        else
            c->full = true;
    }
    sinter_text_deinit(&key);
    return good;
}

/* One thread of the crew. */
typedef struct worker {
    crew *crew;
    LLVMTargetMachineRef machine; /* made once, and only where something is compiled */
    sinter_owned owned;
    sinter_owned left; /* the memory of its parts */
    bool done;         /* not: it ran out of memory, */
    size_t wanted;     /* of so much */
} worker;

static void release_machine(void *user) {
    worker *w = user;
    if (w->machine) LLVMDisposeTargetMachine(w->machine);
    w->machine = NULL;
}

static void compile_parts(void *user) {
    worker *w = user;
    crew *c = w->crew;
    sinter_own(&w->owned, release_machine, w);
    for (size_t i; !c->failed && (i = c->next++) < c->count;) {
        compiled_part *part = &c->parts[i];
        sinter_diag diag = {keep_message, part, 0, 0};
        part->good = find_or_compile(c, part, &w->machine, &diag);
        if (!part->good) c->failed = true;
    }
    sinter_disown(&w->owned);
    release_machine(w);
}

static void *work(void *user) {
    worker *w = user;
    uselocale(w->crew->locale);
    w->done = sinter_heap_guard_thread(compile_parts, w, &w->left, &w->wanted);
    if (!w->done) w->crew->failed = true;
    return NULL;
}

enum { JOBS_LIMIT = 64, STACK_BYTES = 8 << 20 };

/* The caller works too, so no thread that can't be started is missed. */
static void run_crew(crew *c, uint32_t jobs) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = jobs ? jobs : cores > 0 ? (size_t)cores : 1, started = 0;
    if (wanted > c->count) wanted = c->count;
    if (wanted > JOBS_LIMIT) wanted = JOBS_LIMIT;
    worker workers[JOBS_LIMIT];
    pthread_t threads[JOBS_LIMIT];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES); /* LLVM recurses */
    for (size_t i = 0; i < wanted; i++) workers[i] = (worker){.crew = c};
    while (started + 1 < wanted &&
           !pthread_create(&threads[started], &attributes, work, &workers[started]))
        started++;
    pthread_attr_destroy(&attributes);
    work(&workers[started]);
    for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i <= started; i++) sinter_heap_take_over(&workers[i].left);
    for (size_t i = 0; i <= started; i++)
        if (!workers[i].done) sinter_out_of_memory(workers[i].wanted);
}

static void say_again(const compiled_part *part, sinter_diag *diag) {
    for (size_t i = 0; i < part->messages.count; i++) {
        const message *m = &part->messages.items[i];
        if (m->severity == SINTER_SEVERITY_ERROR)
            sinter_error(diag, m->where, "%s", m->text);
        else if (m->severity == SINTER_SEVERITY_WARNING)
            sinter_warning(diag, m->where, "%s", m->text);
        else
            sinter_note(diag, m->where, "%s", m->text);
    }
}

static bool join_parts(const crew *c, sinter_arena *arena, sinter_text *out_object,
                       sinter_diag *diag) {
    bool good = true;
    sinter_text *objects = SINTER_NEW_ARRAY(arena, sinter_text, c->count);
    for (size_t i = 0; i < c->count; i++) {
        objects[i] = c->parts[i].object;
        good &= c->parts[i].good;
        say_again(&c->parts[i], diag);
    }
    const char *weights = c->emission->weights_symbol;
    sinter_object_blob blob = {".sinter_weights", weights, weights ? c->emission->weight_bytes : 0};
    return good && sinter_object_join(objects, c->count, &blob, out_object, diag);
}

/* The host first: where it is long, it is the longest. */
static bool write_object(const sinter_llvm_emission *e, const sinter_loop_program *source,
                         const sinter_codegen_options *options, sinter_arena *arena,
                         sinter_text *out_object, sinter_diag *diag) {
    size_t kernels = e->program->kernels.count;
    sinter_kernel_cache cache;
    if (options->cache && !sinter_kernel_cache_open(&cache, options->cache, arena, diag))
        return false;
    crew c = {.emission = e,
              .source = source,
              .locale = uselocale((locale_t)0),
              .cache = options->cache ? &cache : NULL,
              .parts = SINTER_NEW_ARRAY(arena, compiled_part, kernels + 1)};
    c.parts[c.count++].part.host = true;
    for (uint32_t i = 0; i < kernels && !e->images; i++)
        c.parts[c.count++].part = (sinter_llvm_part){i, 1, false};
    for (size_t i = 0; i < c.count; i++) sinter_arena_init(&c.parts[i].arena);
    run_crew(&c, options->jobs);
    if (c.stored) sinter_kernel_cache_trim(&cache, SINTER_KERNEL_CACHE_LIMIT);
    bool good = join_parts(&c, arena, out_object, diag);
    for (size_t i = 0; i < c.count; i++) {
        sinter_text_deinit(&c.parts[i].object);
        sinter_arena_deinit(&c.parts[i].arena);
    }
    return good;
}

/* ---- whole programs ---- */

static bool write_text(const sinter_llvm_emission *e, sinter_llvm_output output,
                       sinter_text *out_bytes, sinter_diag *diag) {
    LLVMTargetMachineRef machine = sinter_llvm_machine_create(e->target, e->level, diag);
    if (!machine) return false;
    worker w = {.machine = machine};
    sinter_own(&w.owned, release_machine, &w);
    sinter_llvm_part all = {0, e->images ? 0 : (uint32_t)e->program->kernels.count, true};
    bool good = sinter_llvm_write_part(e, all, machine, output, out_bytes, diag);
    sinter_disown(&w.owned);
    release_machine(&w);
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
