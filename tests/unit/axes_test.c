/* Links of axes as text, factor by factor: kind, size, then where it lies: o for operands, r for results, with its axis, +offset,
 * *run, xblocks/period where they say something, ! where it is read whole; windows with /stride:reach-before and fill. */
#include "ir/axes.h"
#include "ir/parse.h"
#include "tests/unit/graph_support.h"
#include "tests/unit/test.h"

static const char *const text =
    "module \"m\" {\n"
    "  graph (%x: f32[N,6,4,4], %m: f32[N,5,12], %v: f32[6,2,3,3], %k: f32[12,7], %s: f32[9,N,5],\n"
    "         %lw: f32[1,24,5], %lr: f32[1,24,6], %len: i32[N], %q: f32[N,3,32], %key: "
    "f32[N,7,16]) {\n"
    "    %conv = conv(%x, %v) {group = 3}\n"
    "    %p = matmul(%m, %k)\n"
    "    %to = constant() {value = tensor<i64[4], [0, 5, 3, 4]>}\n"
    "    %heads = reshape(%m, %to)\n"
    "    %t = transpose(%heads) {perm = [0, 2, 1, 3]}\n"
    "    %soft = softmax(%t) {axis = -1}\n"
    "    %cat = concat(%x, %x) {axis = 1}\n"
    "    %ax = constant() {value = tensor<i64[2], [2, 3]>}\n"
    "    %mean = reduce_mean(%x, %ax) {keepdims = 0}\n"
    "    %pads = constant() {value = tensor<i64[8], [0, 2, 0, 0, 0, 1, 0, 0]>}\n"
    "    %pad = pad(%x, %pads)\n"
    "    %a, %b = split(%x) {axis = 1, num_outputs = 2}\n"
    "    %c = constant() {value = tensor<f32[6,1,1], [1,2,3,4,5,6]>}\n"
    "    %sum = add(%x, %c)\n"
    "    %la, %lb, %lc = lstm(%s, %lw, %lr, _, %len) {hidden_size = 6}\n"
    "    %att = attention(%q, %key, %key) {q_num_heads = 4, kv_num_heads = 2}\n"
    "    %pool = max_pool(%x) {kernel_shape = [3, 3], pads = [1, 0, 1, 0], strides = [1, 2]}\n"
    "    yield(%conv, %p, %soft, %cat, %mean, %pad, %a, %b, %sum, %la, %lb, %lc, %att, %pool)\n"
    "  }\n"
    "}\n";

static void print_link(const sinter_axis_link *l, sinter_text *out) {
    sinter_text_format(out, " %c%u.%u", l->is_result ? 'r' : 'o', l->index, l->axis);
    if (l->offset) sinter_text_format(out, "+%d", (int)l->offset);
    if (l->run > 1) sinter_text_format(out, "*%d", (int)l->run);
    if (l->blocks > 1) sinter_text_format(out, "x%d/%d", (int)l->blocks, (int)l->period);
    if (l->is_read_whole) sinter_text_format(out, "!");
}

static void check(sinter_module *module, const char *name, const char *expected) {
    static const char *const kinds[] = {"along", "summed", "reduced", "inner", "stepwise"};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_axis_map map;
    sinter_text out = {0};
    sinter_axes_describe(module, node_of(module, name), &arena, &map);
    for (uint32_t f = 0; f < map.factors.count; f++) {
        sinter_text_format(&out, "%s%s ", f ? "; " : "", kinds[map.factors.items[f].kind]);
        sinter_dim_print(sinter_module_dims(module), map.factors.items[f].size, &out);
        for (size_t i = 0; i < map.links.count; i++)
            if (map.links.items[i].factor == f) print_link(&map.links.items[i], &out);
    }
    for (size_t i = 0; i < map.windows.count; i++) {
        const sinter_axis_window *w = &map.windows.items[i];
        sinter_text_format(&out, "; window %u.%u/%d:%d-%d %s", w->index, w->axis, (int)w->stride,
                           (int)w->reach, (int)w->before, w->fill);
    }
    CHECK_STRING_EQ(out.data ? out.data : "", expected);
    sinter_text_deinit(&out);
    sinter_arena_deinit(&arena);
}

int main(void) {
    sinter_text messages = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
    sinter_module *module = sinter_parse_module("m", text, strlen(text), &diag);
    if (!CHECK(module != NULL)) {
        puts(messages.data);
        return test_finish();
    }
    check(module, "conv",
          "along N o0.0 r0.0; summed 2 o0.1x3/2 o1.1; along 2 r0.1x3/2 o1.0x3/2; "
          "along 3 o0.1*2 r0.1*2 o1.0*2; window 0.2/1:3-0 zero; window 0.3/1:3-0 zero");
    check(module, "p",
          "along 5 o0.1 r0.1; summed 12 o0.2 o1.0; along 7 o1.1 r0.2; along N r0.0 o0.0");
    check(module, "heads",
          "along N o0.0 r0.0; along 5 o0.1 r0.1; along 3 o0.2*4 r0.2; along 4 o0.2x3/4 r0.3");
    check(module, "t",
          "along N o0.0 r0.0; along 3 o0.2 r0.1; along 5 o0.1 r0.2; along 4 o0.3 r0.3");
    check(module, "soft", "along N o0.0 r0.0; along 3 o0.1 r0.1; along 5 o0.2 r0.2");
    check(module, "cat",
          "along N o0.0 o1.0 r0.0; along 4 o0.2 o1.2 r0.2; along 4 o0.3 o1.3 r0.3; "
          "along 6 o0.1 r0.1; along 6 o1.1 r0.1+6");
    check(module, "mean", "along N o0.0 r0.0; along 6 o0.1 r0.1; reduced 4 o0.2; reduced 4 o0.3");
    check(module, "pad",
          "along N o0.0 r0.0; along 6 o0.1 r0.1+2; along 4 o0.2 r0.2; along 4 o0.3 r0.3");
    check(module, "a",
          "along N o0.0 r0.0 r1.0; along 4 o0.2 r0.2 r1.2; along 4 o0.3 r0.3 r1.3; "
          "along 3 r0.1 r1.1 o0.1x2/3");
    check(module, "sum",
          "along N r0.0 o0.0; along 6 r0.1 o0.1 o1.0; along 4 r0.2 o0.2; along 4 r0.3 o0.3");
    check(module, "la",
          "along N o0.1 o4.0 r0.2 r1.1 r2.1; stepwise 6 o1.1x4/6 o2.1x4/6 r0.3 r1.2 r2.2 o2.2!; "
          "inner 5 o0.2 o1.2");
    check(module, "att", "along N o0.0 o1.0 o2.0 r0.0; along 2 o0.2*16 o1.2*8 o2.2*8 r0.2*16");
    check(module, "pool",
          "along N o0.0 r0.0; along 6 o0.1 r0.1; window 0.2/1:3-1 lowest; window 0.3/2:3-0 lowest");
    sinter_module_destroy(module);
    sinter_text_deinit(&messages);
    return test_finish();
}
