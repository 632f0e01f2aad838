/* codegen/tuning.c, codegen/schedule/cpu/choice.c and ir/chooser.c: files of choices; choices of schedules at random, which change the code
 * and no value; every choice about layers, which may round. */
#include "codegen/tuning.h"
#include "frontends/import.h"
#include "ir/parse.h"
#include "runtime/jit/engine.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>

/* What every machine of the kind has. */
#ifdef __aarch64__
# define PLAIN_TARGET "cpu:aarch64"
#else
# define PLAIN_TARGET "cpu:x86-64-v2"
#endif

static uint32_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* ---- the file ---- */

static sinter_tuning_choices one_choice(sinter_arena *arena, uint32_t number, const char *question,
                                        const char *answer) {
    sinter_tuning_choices choices = {0};
    sinter_tuning_choice choice = {.number = number};
    snprintf(choice.question, sizeof choice.question, "%s", question);
    snprintf(choice.answer, sizeof choice.answer, "%s", answer);
    sinter_vector_push(arena, &choices, choice);
    return choices;
}

static void test_table(void) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_tuning *tuning = sinter_tuning_create("cpu:one");
    sinter_tuning_choices a = one_choice(&arena, 3, "tile", "6x\"32\""), none = {0};
    sinter_tuning_choices b = one_choice(&arena, 0, "band", "7");
    sinter_tuning_set(tuning, 5, &b, "first\nsecond");
    sinter_tuning_set(tuning, UINT64_MAX, &a, NULL);
    sinter_tuning_set_layer(tuning, 7, &b, "a layer");
    CHECK_INT_EQ(sinter_tuning_count(tuning), 3);
    CHECK(!sinter_tuning_find(tuning, 6));
    sinter_tuning_set(tuning, 5, &a, "in place\n");
    const sinter_tuning_choices *found = sinter_tuning_find(tuning, 5);
    CHECK(found && found->count == 1 && found->items[0].number == 3);
    sinter_text text = {0}, again = {0};
    sinter_tuning_print(tuning, &text);
    CHECK_STRING_EQ(text.data,
                    "tuning \"cpu:one\"\n"
                    "kernel 0x0000000000000005 { 3 tile \"6x\\\"32\\\"\" } // in place\\n\n"
                    "kernel 0xffffffffffffffff { 3 tile \"6x\\\"32\\\"\" }\n"
                    "layer 0x0000000000000007 { 0 band \"7\" } // a layer\n");
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_tuning *read = sinter_tuning_parse("t", text.data, text.size, &diag);
    if (CHECK(read)) {
        CHECK_STRING_EQ(sinter_tuning_target(read), "cpu:one");
        found = sinter_tuning_find(read, UINT64_MAX);
        CHECK(found && !strcmp(found->items[0].answer, "6x\"32\""));
        sinter_tuning_set(read, 5, &none, NULL);
        CHECK(!sinter_tuning_find(read, 5) && sinter_tuning_count(read) == 2);
        sinter_tuning_print(read, &again);
        CHECK_STRING_EQ(again.data, "tuning \"cpu:one\"\n"
                                    "kernel 0xffffffffffffffff { 3 tile \"6x\\\"32\\\"\" }\n"
                                    "layer 0x0000000000000007 { 0 band \"7\" }\n");
    }
    sinter_tuning_destroy(read);
    sinter_tuning_destroy(tuning);
    sinter_text_deinit(&text);
    sinter_text_deinit(&again);
    sinter_arena_deinit(&arena);
}

static void test_refused(void) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t:1:1: error: expected 'tuning', found the end of the text\n"},
        {"tuning cpu", "t:1:8: error: expected a string, found 'cpu'\n"},
        {"tuning \"a\\x00b\"", "t:1:16: error: expected a target without NUL\n"},
        {"tuning \"\" kernel 5 { }",
         "t:1:18: error: expected the hash of a kernel, 0x and 16 digits\n"},
        {"tuning \"\" kernel 0x12345678123456789 { }",
         "t:1:18: error: expected the hash of a kernel, 0x and 16 digits\n"},
        {"tuning \"\"\nkernel 0x5 { 0 tile 5 }", "t:2:21: error: expected a string, found '5'\n"},
        {"tuning \"\"\nkernel 0x5 { 1 tile \"a\" 1 tile \"b\" }",
         "t:2:25: error: expected the number of a question, from 2 on\n"},
        {"tuning \"\"\nkernel 0x5 { 4294967295 tile \"a\" }",
         "t:2:14: error: expected the number of a question, from 0 on\n"},
        {"tuning \"\"\nkernel 0x5 { 0 tile \"\" }",
         "t:2:24: error: expected a word of 1 to 23 bytes\n"},
        {"tuning \"\"\nkernel 0x5 { 0 tile \"123456789012345678901234\" }",
         "t:2:48: error: expected a word of 1 to 23 bytes\n"},
        {"tuning \"\"\nkernel 0x5 { } kernel 0x05 { }",
         "t:2:23: error: this kernel was there before\n"},
        {"tuning \"\"\nkernel 0x5 { 0 tile \"a\"",
         "t:2:24: error: expected the number of a question, from 1 on\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sinter_text messages = {0};
        sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
        CHECK(!sinter_tuning_parse("t", cases[i].text, strlen(cases[i].text), &diag));
        CHECK_STRING_EQ(messages.data, cases[i].message);
        sinter_text_deinit(&messages);
    }
}

/* ---- choices at random ---- */

static void append_constant(sinter_text *text, const char *name, const char *dims, int count) {
    uint64_t state = 7;
    sinter_text_format(text, "    %%%s = constant() {value = tensor<f32[%s], [", name, dims);
    for (int i = 0; i < count; i++)
        sinter_text_format(text, "%s%.4f", i ? ", " : "",
                           (double)(next_random(&state) % 2001) / 1e3 - 1);
    sinter_text_append_string(text, "]>}\n");
}

/* Around constants and nodes: a module of a square image, which takes the text. */
static sinter_text begin_module(int size) {
    sinter_text text = {0};
    sinter_text_format(&text, "module \"m\" {\n  graph (%%x: f32[1,8,%d,%d]) {\n", size, size);
    return text;
}

static sinter_module *end_module(sinter_text *text, const char *nodes, sinter_diag *diag) {
    sinter_text_append_string(text, nodes);
    sinter_text_append_string(text, "  }\n}\n");
    sinter_module *module = sinter_parse_module("m.sir", text->data, text->size, diag);
    sinter_text_deinit(text);
    return module;
}

/* Depthwise and pointwise convolutions, which have questions of every kind. */
static sinter_module *load_convolutions(sinter_diag *diag) {
    sinter_text text = begin_module(14);
    append_constant(&text, "a", "96,8,1,1", 96 * 8);
    append_constant(&text, "b", "96,1,3,3", 96 * 9);
    append_constant(&text, "c", "40,96,1,1", 40 * 96);
    return end_module(&text,
                      "    %p = conv(%x, %a)\n    %q = relu(%p)\n"
                      "    %d = conv(%q, %b) {group = 96, pads = [1, 1, 1, 1]}\n"
                      "    %r = relu(%d)\n    %y = conv(%r, %c)\n    yield(%y)\n",
                      diag);
}

static sinter_module *load_cnn_int8(sinter_diag *diag) {
    return sinter_import_file("tests/models/cnn_int8.onnx", diag);
}

static sinter_module *load_transformer(sinter_diag *diag) {
    return sinter_import_file("tests/models/transformer.onnx", diag);
}

static bool run(sinter_engine *engine, sinter_tensor *out_output, sinter_diag *diag) {
    const sinter_abi_io *io = sinter_engine_input(engine, 0);
    int64_t dims[SINTER_MAX_RANK];
    uint64_t state = 11;
    sinter_tensor input = {0};
    for (int32_t d = 0; d < io->rank; d++) dims[d] = io->dims[d] < 0 ? 3 : io->dims[d];
    if (!sinter_tensor_create(&input, sinter_dtype_from_onnx(io->dtype), (uint32_t)io->rank, dims,
                              diag))
        return false;
    for (int64_t i = 0; i < sinter_tensor_count(&input); i++)
        sinter_tensor_set_double(&input, i, (double)(next_random(&state) % 2001) / 1e3 - 1);
    bool good = sinter_engine_run(engine, &input, out_output, diag);
    sinter_tensor_deinit(&input);
    return good;
}

/* An answer of each question that was asked. */
static sinter_tuning *choose(const sinter_tuning_log *log, const char *target, uint64_t seed) {
    sinter_tuning *tuning = sinter_tuning_create(target);
    for (size_t i = 0; i < log->kernels.count; i++) {
        const sinter_tuning_kernel *kernel = &log->kernels.items[i];
        sinter_tuning_choices choices = {0};
        for (uint32_t k = 0; k < kernel->questions.count; k++) {
            const sinter_tuning_question *q = &kernel->questions.items[k];
            sinter_tuning_choices one = one_choice(
                log->arena, k, q->question, q->answers[next_random(&seed) % q->answer_count]);
            sinter_vector_push(log->arena, &choices, one.items[0]);
        }
        sinter_tuning_set(tuning, kernel->kernel, &choices, NULL);
    }
    return tuning;
}

static void test_choices(const char *target, sinter_module *(*load)(sinter_diag *diag),
                         uint32_t least_questions) {
    enum { TRIES = 5 };
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout}, quiet = {0};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    sinter_tuning_log log = {.arena = &arena};
    sinter_tensor expected = {0};
    options.tuning_log = &log;
    options.target = target;
    sinter_module *module = load(&diag);
    sinter_engine *engine = sinter_engine_create(module, &options, &diag);
    uint32_t questions = 0, changed = 0;
    for (size_t i = 0; i < log.kernels.count; i++)
        questions += (uint32_t)log.kernels.items[i].questions.count;
    CHECK(questions >= least_questions);
    CHECK(engine && run(engine, &expected, &diag));
    for (int i = 0; i < TRIES; i++) {
        sinter_tuning_log asked = {.arena = &arena};
        sinter_tuning *tuning =
            choose(&log, sinter_engine_artifact(engine)->target, 100 + (uint64_t)i);
        sinter_engine_options tuned = options;
        sinter_tensor got = {0};
        tuned.tuning = tuning;
        tuned.tuning_log = &asked;
        sinter_engine *other = sinter_engine_create(load(&diag), &tuned, &quiet);
        CHECK(other && run(other, &got, &diag));
        for (size_t k = 0; k < asked.kernels.count; k++)
            for (size_t q = 0; q < asked.kernels.items[k].questions.count; q++)
                changed += asked.kernels.items[k].questions.items[q].chosen > 0;
        CHECK(sinter_tensor_bytes(&got) == sinter_tensor_bytes(&expected) &&
              !memcmp(got.data, expected.data, sinter_tensor_bytes(&got)));
        sinter_tensor_deinit(&got);
        sinter_engine_destroy(other);
        sinter_tuning_destroy(tuning);
    }
    CHECK(changed >= TRIES);
    sinter_tensor_deinit(&expected);
    sinter_engine_destroy(engine);
    sinter_arena_deinit(&arena);
}

/* ---- layers ---- */

/* Every question of passes: a window of 3 x 3 taps, a depthwise one between two of one tap, factors of channels. */
static sinter_module *load_layers(sinter_diag *diag) {
    sinter_text text = begin_module(28);
    append_constant(&text, "t", "16,8,3,3", 16 * 72);
    append_constant(&text, "a", "32,16,1,1", 32 * 16);
    append_constant(&text, "b", "32,1,3,3", 32 * 9);
    append_constant(&text, "c", "24,32,1,1", 24 * 32);
    append_constant(&text, "d", "8,24,1,1", 8 * 24);
    return end_module(&text,
                      "    %axes = constant() {value = tensor<i64[2], [2, 3]>}\n"
                      "    %s = conv(%x, %t) {pads = [1, 1, 1, 1]} loc(\"taps\")\n"
                      "    %p = conv(%s, %a) loc(\"expand\")\n    %q = relu(%p)\n"
                      "    %w = conv(%q, %b) {group = 32, pads = [1, 1, 1, 1]} loc(\"window\")\n"
                      "    %r = relu(%w)\n    %y = conv(%r, %c) loc(\"project\")\n"
                      "    %z = reduce_mean(%y, %axes) loc(\"factors\")\n"
                      "    %u = mul(%y, %z) loc(\"product\")\n    %v = conv(%u, %d) loc(\"last\")\n"
                      "    yield(%v)\n",
                      diag);
}

static bool same_kernels(const sinter_tuning_log *a, const sinter_tuning_log *b) {
    bool same = a->kernels.count == b->kernels.count;
    for (size_t i = 0; same && i < a->kernels.count; i++)
        same = a->kernels.items[i].kernel == b->kernels.items[i].kernel;
    return same;
}

/* The model with this answer about the layer has other kernels and, but for the rounding, the same values. */
static void test_answer(const sinter_engine_options *options, const sinter_tuning_log *log,
                        const sinter_tuning_layer *layer, uint32_t answer, const char *target,
                        const sinter_tensor *expected) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_tuning_log asked = {.arena = log->arena};
    sinter_tuning *tuning = sinter_tuning_create(target);
    sinter_tuning_choices choices =
        one_choice(log->arena, 0, layer->question.question, layer->question.answers[answer]);
    sinter_tuning_set_layer(tuning, layer->layer, &choices, NULL);
    sinter_engine_options tuned = *options;
    sinter_tensor got = {0};
    tuned.tuning = tuning;
    tuned.tuning_log = &asked;
    sinter_engine *engine = sinter_engine_create(load_layers(&diag), &tuned, &diag);
    CHECK(engine && run(engine, &got, &diag) && !diag.warning_count);
    uint32_t found = 0;
    for (size_t i = 0; i < asked.layers.count; i++)
        found += asked.layers.items[i].layer == layer->layer &&
                 asked.layers.items[i].question.chosen == answer;
    CHECK_INT_EQ(found, 1);
    CHECK_INT_EQ(same_kernels(log, &asked), answer == 0);
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < sinter_tensor_count(expected); i++) {
        double value = sinter_tensor_get_double(expected, i);
        worst = fmax(worst, fabs(sinter_tensor_get_double(&got, i) - value));
        largest = fmax(largest, fabs(value));
    }
    CHECK(worst <= 1e-5 * largest);
    sinter_tensor_deinit(&got);
    sinter_engine_destroy(engine);
    sinter_tuning_destroy(tuning);
}

static void test_layers(void) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    sinter_tuning_log log = {.arena = &arena};
    sinter_tensor expected = {0};
    options.tuning_log = &log;
    sinter_engine *engine = sinter_engine_create(load_layers(&diag), &options, &diag);
    if (!CHECK(engine && run(engine, &expected, &diag))) return;
    uint32_t taps = 0, rows = 0, answers = 0;
    for (size_t i = 0; i < log.layers.count; i++) {
        const sinter_tuning_layer *layer = &log.layers.items[i];
        bool winograd = !strcmp(layer->question.question, "winograd");
        taps +=
            winograd && layer->locations.count == 1 && !strcmp(layer->locations.items[0], "taps");
        rows += !winograd && layer->locations.count == 2;
        answers += layer->question.answer_count;
        for (uint32_t k = 0; k < layer->question.answer_count; k++)
            test_answer(&options, &log, layer, k, sinter_engine_artifact(engine)->target,
                        &expected);
    }
    CHECK_INT_EQ(taps, 1);
    CHECK_INT_EQ(rows,
                 3); /* the window, what takes its channels together, what reads the product */
    CHECK(answers >= 3 + 2 * rows);
    sinter_tensor_deinit(&expected);
    sinter_engine_destroy(engine);
    sinter_arena_deinit(&arena);
}

/* What does not fit the kernels of this version is said, and the cost model decides. */
static void test_misfits(void) {
    sinter_text messages = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    sinter_tuning_log log = {.arena = &arena};
    options.tuning_log = &log;
    sinter_engine *engine = sinter_engine_create(load_convolutions(&diag), &options, &diag);
    CHECK(engine && !messages.size);
    sinter_tuning *tuning =
        sinter_tuning_create(engine ? sinter_engine_artifact(engine)->target : "");
    for (size_t i = 0; i < log.kernels.count; i++) {
        sinter_tuning_choices choices = one_choice(&arena, 0, "tile", "900x1");
        sinter_tuning_choices last = one_choice(&arena, 77, "tile", "1x4");
        sinter_vector_push(&arena, &choices, last.items[0]);
        if (log.kernels.items[i].questions.count)
            sinter_tuning_set(tuning, log.kernels.items[i].kernel, &choices, NULL);
    }
    for (size_t i = 0; i < log.layers.count; i++) {
        sinter_tuning_choices choices = one_choice(&arena, 0, "fuse", "sideways");
        sinter_tuning_set_layer(tuning, log.layers.items[i].layer, &choices, NULL);
    }
    options.tuning = tuning;
    options.tuning_log = NULL;
    sinter_engine *other = sinter_engine_create(load_convolutions(&diag), &options, &diag);
    CHECK(other && diag.warning_count >= 2 && !diag.error_count);
    CHECK(messages.data &&
          strstr(messages.data, "warning: the tuning answers question 0 with tile = "
                                "900x1, which is no choice here"));
    CHECK(messages.data &&
          strstr(messages.data, "warning: the tuning answers question 0 with fuse = sideways"));
    CHECK(messages.data &&
          strstr(messages.data, "warning: the tuning answers question 77 of this kernel"));
    options.target = PLAIN_TARGET;
    sinter_engine_destroy(other);
    CHECK(!sinter_engine_create(load_convolutions(&diag), &options, &diag));
    CHECK(messages.data && strstr(messages.data, "the tuning was measured for another target"));
    sinter_engine_destroy(engine);
    sinter_tuning_destroy(tuning);
    sinter_text_deinit(&messages);
    sinter_arena_deinit(&arena);
}

int main(void) {
    test_table();
    test_refused();
    static const char *const targets[] = {"cpu", PLAIN_TARGET};
    for (int i = 0; i < 2; i++) {
        test_choices(targets[i], load_convolutions, 6);
        test_choices(targets[i], load_cnn_int8, 3);
        test_choices(targets[i], load_transformer, 6);
    }
    test_layers();
    test_misfits();
    return test_finish();
}
