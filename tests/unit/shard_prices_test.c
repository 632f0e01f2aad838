/* passes/shard_prices.h: a sum over ranks of two servers costs what shard-hierarchy makes of it, and at once where links are of one kind. */
#include "ir/base/map.h"
#include "ir/estimate.h"
#include "ir/parse.h"
#include "passes/pass.h"
#include "passes/shard_prices.h"
#include "tests/unit/test.h"

#include <math.h>
#include <string.h>

static const char module_text[] = "module \"sum\" {\n"
                                  "  mesh across=2, within=4\n"
                                  "  graph (%x: f32[512,100]) {\n"
                                  "    %y = all_reduce(%x) {over = [\"across\", \"within\"]}\n"
                                  "    yield(%y)\n"
                                  "  }\n"
                                  "}\n";

static const char servers[] = "hardware \"two servers\" {\n"
                              "  devices 8\n"
                              "  memory 100 MB\n"
                              "  compute f32 1 GOP/s\n"
                              "  level \"memory\" 100 MB 100 GB/s\n"
                              "  link 4 1 us 10 GB/s\n"
                              "  link 8 5 us 1 GB/s\n"
                              "}\n";

static const char server[] = "hardware \"one server\" {\n"
                             "  devices 8\n"
                             "  memory 100 MB\n"
                             "  compute f32 1 GOP/s\n"
                             "  level \"memory\" 100 MB 100 GB/s\n"
                             "  link 8 5 us 1 GB/s\n"
                             "}\n";

/* What all ranks' terms take to become the sum on each of them. */
static double price(sinter_module *module, const sinter_hardware *hardware) {
    sinter_arena arena;
    sinter_shard_state state;
    sinter_arena_init(&arena);
    sinter_shard_state_init(&state, module, &arena);
    sinter_sharding whole = sinter_sharding_whole(&arena, 2, false), terms = whole;
    terms.partial = 3;
    double seconds = sinter_shard_convert_seconds(
        &state, hardware, sinter_value_type(module, sinter_module_input(module, 0)), &terms,
        &whole);
    sinter_arena_deinit(&arena);
    return seconds;
}

static double estimate(sinter_module *module, const sinter_hardware *hardware) {
    sinter_arena arena;
    sinter_estimate e;
    sinter_arena_init(&arena);
    sinter_estimate_module(module, hardware, &arena, &e);
    sinter_arena_deinit(&arena);
    return e.seconds;
}

static void compare(const char *text, bool has_steps) {
    sinter_hardware hardware;
    size_t changes = 0;
    sinter_module *module = sinter_parse_module("sum.sir", module_text, strlen(module_text), NULL);
    if (!CHECK(module) || !CHECK(sinter_hardware_parse("hw", text, strlen(text), &hardware, NULL)))
        return;
    const sinter_pipeline_options options = {.hardware = &hardware, .stop_after = -1};
    double at_once = estimate(module, &hardware), priced = price(module, &hardware);
    CHECK(sinter_pass_run(sinter_pass_find(SINTER_STRING("shard-hierarchy")), module, &options,
                          &changes, NULL));
    CHECK((changes > 0) == has_steps);
    CHECK(has_steps ? priced < 0.6 * at_once : priced == at_once);
    CHECK(fabs(priced - estimate(module, &hardware)) <= 1e-9 * priced);
    sinter_hardware_deinit(&hardware);
    sinter_module_destroy(module);
}

int main(void) {
    compare(servers, true);
    compare(server, false);
    return test_finish();
}
