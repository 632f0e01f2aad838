/* The readers of what is in a folder of programs, of ranks (odd first byte) or of stages, on any bytes: no crash, no refusal without a word, and of what
 * is accepted every number is one of something that is there. */
#include "runtime/jit/ranks_internal.h"
#include "runtime/jit/stages_internal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_words(const sinter_mesh *mesh, const sinter_sharding *words) {
    for (uint32_t i = 0; words && i < words->rank; i++)
        for (uint32_t k = 0; k < words->dims[i].axes.count; k++)
            if (words->dims[i].axes.items[k] >= mesh->axis_count) abort();
}

static bool read_ranks(sinter_ranks *r, const char *text, size_t size, sinter_diag *diag) {
    if (!sinter_ranks_read(r, "fuzz", text, size, diag)) return false;
    if (r->count < 1 || (int64_t)r->programs.count != r->count) abort();
    for (int64_t i = 0; i < r->count; i++) {
        const int64_t file = r->programs.items[i].rank;
        if (file < 0 || file > i || r->programs.items[file].rank != file) abort();
    }
    for (size_t i = 0; i < r->input_words.count; i++)
        check_words(&r->mesh, r->input_words.items[i]);
    for (size_t i = 0; i < r->output_words.count; i++)
        check_words(&r->mesh, r->output_words.items[i]);
    return true;
}

static void check_slots(const sinter_slot_list *slots, uint32_t end) {
    for (size_t i = 0; i < slots->count; i++)
        if (slots->items[i] >= end) abort();
}

static bool read_stages(sinter_stages *s, const char *text, size_t size, sinter_diag *diag) {
    if (!sinter_stages_read(s, "fuzz", text, size, diag)) return false;
    if (!s->stages.count || s->results.count != s->outputs.count) abort();
    uint32_t slots = (uint32_t)s->inputs.count;
    for (size_t i = 0; i < s->stages.count; i++) {
        check_slots(&s->stages.items[i].takes, slots);
        slots += (uint32_t)s->stages.items[i].gives.count;
        check_slots(&s->stages.items[i].gives, slots);
    }
    check_slots(&s->results, slots);
    for (size_t i = 0; i < s->inputs.count; i++)
        check_words(&s->mesh, s->input_words.items[i].part);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    sinter_diag diag = {0};
    const char *text = (const char *)data + 1;
    bool good;
    if (data[0] & 1) {
        sinter_ranks ranks = {.own = -1};
        sinter_arena_init(&ranks.arena);
        good = read_ranks(&ranks, text, size - 1, &diag);
        sinter_arena_deinit(&ranks.arena);
    } else {
        sinter_stages stages = {0};
        sinter_arena_init(&stages.arena);
        good = read_stages(&stages, text, size - 1, &diag);
        sinter_arena_deinit(&stages.arena);
    }
    if (!good && !diag.error_count) abort();
    return 0;
}
