/* Descriptions of hardware: what is read, printed and refused; rates, levels, efficiencies between points; exchanges over
 * links of two levels. */
#include "ir/hardware.h"
#include "tests/unit/test.h"

#include <math.h>

static const char text[] = "hardware \"two boxes\" {\n"
                           "  target \"cpu:zen4\"\n"
                           "  devices 8\n"
                           "  price 2.5 // dollars an hour, of all devices\n"
                           "  memory 16 GB\n"
                           "  launch 2 us\n"
                           "  compute f32 100 GOP/s\n"
                           "  compute i8 400 GOP/s\n"
                           "  level \"L2\" 1 MB 100 GB/s\n"
                           "  level \"memory\" 16 GB 10 GB/s\n"
                           "  link 4 1 us 20 GB/s\n"
                           "  link 8 10 us 5 GB/s\n"
                           "  efficiency product f32 (128, 1024, 1024) 0.8\n"
                           "  efficiency product f32 (1, 1024, 1024) 0.2\n"
                           "  efficiency product i8 0.6\n"
                           "  efficiency rows f32 0.5\n"
                           "}\n";

static bool near(double got, double expected) {
    if (fabs(got - expected) <= 1e-6 * fabs(expected)) return true;
    printf("got %.9g, expected %.9g\n", got, expected);
    return false;
}

static void test_hardware__reads_and_prints(void) {
    sinter_hardware h;
    sinter_text printed = {0};
    if (!CHECK(sinter_hardware_parse("two.hw", text, strlen(text), &h, NULL))) return;
    sinter_hardware_print(&h, &printed);
    CHECK_STRING_EQ(printed.data, text);
    CHECK_STRING_EQ(h.name, "two boxes");
    CHECK_INT_EQ(h.devices, 8);
    CHECK(near(h.memory, 16e9));
    CHECK(near(h.links[1].latency, 1e-5));
    sinter_text_deinit(&printed);
    sinter_hardware_deinit(&h);
}

static void refuse(const char *wrong, const char *message) {
    sinter_hardware h;
    sinter_text said = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &said};
    CHECK(!sinter_hardware_parse("hw", wrong, strlen(wrong), &h, &diag));
    if (!CHECK(said.data && strstr(said.data, message)))
        printf("  said %s\n", said.data ? said.data : "nothing");
    sinter_text_deinit(&said);
}

static void test_hardware__refuses(void) {
    refuse("", "hw:1:1: error: expected 'hardware'");
    refuse("hardware \"x\" { }", "compute is missing");
    refuse("hardware \"x\" { compute f32 1 GOP/s }", "the memory is missing");
    refuse("hardware \"x\" { compute f32 1 GB/s }", "expected a unit: OP/s");
    refuse("hardware \"x\" { compute f32 0 GOP/s }", "expected a number above 0");
    refuse("hardware \"x\" { compute f32 1 GOP/s compute f32 2 GOP/s }",
           "the rate of f32 stands twice");
    refuse("hardware \"x\" { compute string 1 GOP/s }", "expected the element type of numbers");
    refuse("hardware \"x\" { devices 0 }", "devices: expected a number from 1 to 65536");
    refuse("hardware \"x\" { devices 2 devices 2 }", "hw:1:26: error: devices stands twice");
    refuse("hardware \"x\" { devices 2 compute f32 1 GOP/s level \"m\" 1 GB 1 GB/s }",
           "2 devices, but links of 1 at most");
    refuse("hardware \"x\" { level \"a\" 2 MB 1 GB/s level \"b\" 1 MB 1 GB/s }",
           "levels come in order");
    refuse("hardware \"x\" { memory 1 MB compute f32 1 GOP/s level \"a\" 2 MB 1 GB/s level \"b\" 4 "
           "GB 1 GB/s }",
           "the memory of a device holds no more than its level a");
    refuse("hardware \"x\" { link 4 1 us 1 GB/s link 6 1 us 1 GB/s }",
           "expected a multiple of 4 devices");
    refuse("hardware \"x\" { efficiency magic f32 1 }",
           "expected a kind of work such as product, found 'magic'");
    refuse("hardware \"x\" { color 1 }", "expected target, devices, price");
    refuse("hardware \"x\" { memory 1e30 GB }", "expected a number above 0, of less than 1e24");
}

static void test_hardware__rates(void) {
    sinter_hardware h;
    const double wide[] = {128, 1024, 1024}, thin[] = {1, 1024, 1024}, between[] = {12, 1024, 1024};
    if (!CHECK(sinter_hardware_parse("two.hw", text, strlen(text), &h, NULL))) return;
    CHECK(near(sinter_hardware_rate(&h, SINTER_DTYPE_f32), 1e11));
    CHECK(near(sinter_hardware_rate(&h, SINTER_DTYPE_u8), 4e11));
    CHECK(near(sinter_hardware_rate(&h, SINTER_DTYPE_f16), 1e11));
    CHECK(near(sinter_hardware_bandwidth(&h, 5e5), 1e11));
    CHECK(near(sinter_hardware_bandwidth(&h, 5e6), 1e10));
    CHECK(near(sinter_hardware_bandwidth(&h, 1e12), 1e10));
    CHECK(fabs(sinter_hardware_efficiency(&h, SINTER_WORK_product, SINTER_DTYPE_f32, wide) - 0.8) <
          1e-3);
    CHECK(fabs(sinter_hardware_efficiency(&h, SINTER_WORK_product, SINTER_DTYPE_f32, thin) - 0.2) <
          1e-3);
    double middle = sinter_hardware_efficiency(&h, SINTER_WORK_product, SINTER_DTYPE_f32, between);
    CHECK(middle > 0.3 &&
          middle < 0.5); /* the mean of both, as sizes are compared by their ratios */
    CHECK(near(sinter_hardware_efficiency(&h, SINTER_WORK_product, SINTER_DTYPE_u8, wide), 0.6));
    CHECK(near(sinter_hardware_efficiency(&h, SINTER_WORK_rows, SINTER_DTYPE_i8, wide), 0.5));
    CHECK(near(sinter_hardware_efficiency(&h, SINTER_WORK_pool, SINTER_DTYPE_f32, wide), 1));
    sinter_hardware_deinit(&h);
}

static void test_hardware__exchanges(void) {
    sinter_hardware h;
    sinter_arena arena;
    sinter_mesh mesh;
    sinter_arena_init(&arena);
    if (!CHECK(sinter_hardware_parse("two.hw", text, strlen(text), &h, NULL))) return;
    CHECK(sinter_mesh_parse("outer=2,inner=4", "mesh", &arena, &mesh, NULL));
    sinter_mesh_axes inner = sinter_mesh_axes_of(2), outer = sinter_mesh_axes_of(1),
                     all = sinter_mesh_axes_of(3);
    /* groups of eight or fewer: a message each way, all at once, and three quarters of the bytes */
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &inner, SINTER_OP_all_reduce, 1e6),
               2 * (1e-6 + 0.75e6 / 20e9)));
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &inner, SINTER_OP_all_gather, 1e6),
               1e-6 + 0.75e6 / 20e9));
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &outer, SINTER_OP_all_reduce, 1e6),
               2 * (1e-5 + 0.5e6 / 5e9)));
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &all, SINTER_OP_all_reduce, 1e6),
               2 * (1e-5 + 0.5e6 / 5e9)));
    /* a little is sent whole, once */
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &inner, SINTER_OP_all_reduce, 1e4),
               1e-6 + 3e4 / 20e9));
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &inner, SINTER_OP_all_to_all, 1e6),
               1e-6 + 0.75e6 / 20e9));
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &outer, SINTER_OP_collective_permute, 1e6),
               1e-5 + 1e6 / 5e9));
    sinter_hardware_deinit(&h);
    sinter_arena_deinit(&arena);
}

/* Halves within a box, where links are fast; what is left between them. */
static void test_hardware__large_groups(void) {
    static const char boxes[] = "hardware \"boxes\" {\n  devices 64\n  compute f32 1 GOP/s\n"
                                "  level \"memory\" 1 GB 1 GB/s\n"
                                "  link 8 1 us 20 GB/s\n  link 64 10 us 5 GB/s\n}\n";
    sinter_hardware h;
    sinter_arena arena;
    sinter_mesh mesh, odd;
    sinter_arena_init(&arena);
    if (!CHECK(sinter_hardware_parse("boxes.hw", boxes, strlen(boxes), &h, NULL))) return;
    CHECK(sinter_mesh_parse("x=64", "mesh", &arena, &mesh, NULL));
    CHECK(sinter_mesh_parse("x=11", "mesh", &arena, &odd, NULL));
    const sinter_mesh_axes all = sinter_mesh_axes_of(1);
    double scatter = 3e-6 + 0.875e6 / 20e9 + 1e-5 + 7e6 / 64 / 5e9;
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &all, SINTER_OP_reduce_scatter, 1e6), scatter));
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &all, SINTER_OP_all_gather, 1e6), scatter));
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &all, SINTER_OP_all_reduce, 1e6), 2 * scatter));
    CHECK(near(sinter_hardware_exchange(&h, &mesh, &all, SINTER_OP_all_reduce, 4),
               3 * (1e-6 + 4 / 20e9) + 1e-5 + 28 / 5e9));
    /* eleven places can't be halved: a tree of four rounds, the last one to another box */
    double up = 3 * (1e-6 + 1e6 / 20e9) + 1e-5 + 1e6 / 5e9;
    CHECK(near(sinter_hardware_exchange(&h, &odd, &all, SINTER_OP_all_reduce, 1e6), 2 * up));
    /* the second group of eleven lies across boxes after its fifth place: paths up and down cross three times */
    sinter_mesh groups;
    CHECK(sinter_mesh_parse("y=2,x=11", "mesh", &arena, &groups, NULL));
    const sinter_mesh_axes inner = sinter_mesh_axes_of(2);
    CHECK(near(sinter_hardware_exchange(&h, &groups, &inner, SINTER_OP_all_reduce, 1e6),
               6 * (1e-5 + 1e6 / 5e9) + 2 * (1e-6 + 1e6 / 20e9)));
    /* twelve places in pairs, then six at once: those four alone in their box have four of them in another */
    sinter_mesh twelve;
    CHECK(sinter_mesh_parse("x=12", "mesh", &arena, &twelve, NULL));
    const sinter_mesh_axes line = sinter_mesh_axes_of(1);
    CHECK(near(sinter_hardware_exchange(&h, &twelve, &line, SINTER_OP_reduce_scatter, 1e6),
               1e-6 + 5e5 / 20e9 + 1e-5 + 4 * 5e5 / 6 / 5e9));
    CHECK(near(sinter_hardware_exchange(&h, &twelve, &line, SINTER_OP_all_to_all, 12e6),
               1e-5 + 8 * 1e6 / 5e9));
    /* pairs within a box, and one that is not */
    static const int64_t pairs[] = {0, 1, 1, 0, 5, 5, 7, 8};
    CHECK(near(sinter_hardware_permute(&h, pairs, 6, 1e6), 1e-6 + 1e6 / 20e9));
    CHECK(near(sinter_hardware_permute(&h, pairs, 8, 1e6), 1e-5 + 1e6 / 5e9));
    sinter_hardware_deinit(&h);
    sinter_arena_deinit(&arena);
}

int main(void) {
    test_hardware__reads_and_prints();
    test_hardware__refuses();
    test_hardware__rates();
    test_hardware__exchanges();
    test_hardware__large_groups();
    return test_finish();
}
