/* Efficiencies are those that make the cost model (ir/estimate.h) say what was measured, one small model a kernel.
 * Test: tests/cli/calibrate.test */
#include "tools/sinter/calibrate.h"
#include "ir/base/clock.h"
#include "ir/build.h"
#include "ir/estimate.h"
#include "runtime/collectives.h"
#include "runtime/jit/profile.h"
#include "tools/sinter/command.h"
#include "tools/sinter/roofline.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

/* ---- the kernels ---- */

typedef struct builder {
    sinter_builder build;
    const int64_t *sizes;
} builder;

/* Numbers of both signs, none of them zero, that repeat nowhere soon. */
static void fill(sinter_tensor *tensor) {
    uint32_t state = 12345;
    bool is_float = sinter_dtype_is_float(tensor->dtype);
    for (int64_t i = 0, count = sinter_tensor_count(tensor); i < count; i++) {
        state = state * 1664525 + 1013904223;
        int number = (int)(state >> 26) - 32;
        if (!number) number = 32;
        if (is_float)
            sinter_tensor_set_double(tensor, i, number / 64.0);
        else
            sinter_tensor_set_int(tensor, i, number);
    }
}

static sinter_value constant(builder *b, sinter_dtype dtype, uint32_t rank, const int64_t *dims) {
    sinter_tensor tensor;
    if (!sinter_tensor_create(&tensor, dtype, rank, dims, b->build.diag)) return 0;
    fill(&tensor);
    return sinter_build_constant(&b->build, tensor);
}

static sinter_value input(builder *b, sinter_dtype dtype, uint32_t rank, const int64_t *sizes) {
    sinter_dim dims[SINTER_MAX_RANK];
    sinter_module *module = b->build.module;
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = sinter_dim_const(sinter_module_dims(module), sizes[i]);
    return sinter_region_add_argument(
        module, sinter_module_main(module),
        sinter_type_tensor(sinter_module_arena(module), dtype, rank, dims), "x");
}

/* What follows sums of bytes in quantized models: scaled, shifted, rounded to bytes. */
static sinter_value requantize(builder *b, sinter_value x, int64_t channels) {
    sinter_value y = sinter_build_cast(&b->build, x, SINTER_DTYPE_f32);
    y = sinter_build_binary(&b->build, SINTER_OP_mul, y,
                            constant(b, SINTER_DTYPE_f32, 1, &channels));
    y = sinter_build_binary(&b->build, SINTER_OP_add, y,
                            constant(b, SINTER_DTYPE_f32, 1, &channels));
    sinter_value operands[] = {y, sinter_build_scalar(&b->build, SINTER_DTYPE_f32, 0.5),
                               sinter_build_scalar(&b->build, SINTER_DTYPE_u8, 128)};
    return sinter_build(&b->build, SINTER_OP_quantize_linear, operands, 3, NULL, 0);
}

/* rows, columns, depth */
static sinter_value build_product(builder *b, bool bytes) {
    const int64_t *s = b->sizes, x_dims[] = {s[0], s[2]}, w_dims[] = {s[2], s[1]};
    sinter_value x = input(b, bytes ? SINTER_DTYPE_u8 : SINTER_DTYPE_f32, 2, x_dims);
    sinter_value w = constant(b, bytes ? SINTER_DTYPE_i8 : SINTER_DTYPE_f32, 2, w_dims);
    sinter_value y =
        sinter_build_binary(&b->build, bytes ? SINTER_OP_matmul_integer : SINTER_OP_matmul, x, w);
    return bytes ? requantize(b, y, s[1]) : y;
}

static sinter_value build_product_f32(builder *b) {
    return build_product(b, false);
}

static sinter_value build_product_i8(builder *b) {
    return build_product(b, true);
}

/* edge of the image, channels, filters, edge of the window, stride; 1 filter: one a channel */
static sinter_value build_window(builder *b, bool bytes) {
    const int64_t *s = b->sizes;
    bool depthwise = s[2] == 1;
    int64_t filters = depthwise ? s[1] : s[2], pad = s[3] / 2;
    const int64_t x_dims[] = {1, s[0], s[0], s[1]}, strides[] = {s[4], s[4]},
                  pads[] = {pad, pad, pad, pad}, kernel[] = {s[3], s[3]},
                  w_dims[] = {filters, depthwise ? 1 : s[1], s[3], s[3]};
    sinter_attr attributes[] = {
        sinter_attr_int("channels_last", 1), sinter_attr_ints("strides", strides, 2),
        sinter_attr_ints("pads", pads, 4), sinter_attr_ints("kernel_shape", kernel, 2),
        sinter_attr_int("group", depthwise ? s[1] : 1)};
    sinter_value operands[] = {input(b, bytes ? SINTER_DTYPE_u8 : SINTER_DTYPE_f32, 4, x_dims),
                               constant(b, bytes ? SINTER_DTYPE_i8 : SINTER_DTYPE_f32, 4, w_dims),
                               bytes ? 0 : constant(b, SINTER_DTYPE_f32, 1, &filters)};
    sinter_value y = sinter_build(&b->build, bytes ? SINTER_OP_conv_integer : SINTER_OP_conv,
                                  operands, bytes ? 2 : 3, attributes, 5);
    return bytes ? requantize(b, y, filters) : sinter_build_unary(&b->build, SINTER_OP_relu, y);
}

static sinter_value build_window_f32(builder *b) {
    return build_window(b, false);
}

static sinter_value build_window_i8(builder *b) {
    return build_window(b, true);
}

/* heads, queries, keys, length of a head */
static sinter_value build_attention(builder *b) {
    const int64_t *s = b->sizes, dims[] = {1, s[0], s[1], s[3]}, key_dims[] = {1, s[0], s[2], s[3]};
    sinter_value q = input(b, SINTER_DTYPE_f32, 4, dims);
    sinter_value operands[] = {q, input(b, SINTER_DTYPE_f32, 4, key_dims),
                               input(b, SINTER_DTYPE_f32, 4, key_dims)};
    return sinter_build(&b->build, SINTER_OP_attention, operands, 3, NULL, 0);
}

/* steps, batch, inputs, units */
static sinter_value build_recurrent(builder *b) {
    const int64_t *s = b->sizes, x_dims[] = {s[0], s[1], s[2]}, w_dims[] = {1, 4 * s[3], s[2]},
                  r_dims[] = {1, 4 * s[3], s[3]};
    sinter_attr attr = sinter_attr_int("hidden_size", s[3]);
    sinter_value operands[] = {input(b, SINTER_DTYPE_f32, 3, x_dims),
                               constant(b, SINTER_DTYPE_f32, 3, w_dims),
                               constant(b, SINTER_DTYPE_f32, 3, r_dims)};
    return sinter_build(&b->build, SINTER_OP_lstm, operands, 3, &attr, 1);
}

/* rows, length */
static sinter_value build_softmax(builder *b) {
    return sinter_build_unary(&b->build, SINTER_OP_softmax,
                              input(b, SINTER_DTYPE_f32, 2, b->sizes));
}

static sinter_value build_normalization(builder *b) {
    sinter_value operands[] = {input(b, SINTER_DTYPE_f32, 2, b->sizes),
                               constant(b, SINTER_DTYPE_f32, 1, b->sizes + 1),
                               constant(b, SINTER_DTYPE_f32, 1, b->sizes + 1)};
    return sinter_build(&b->build, SINTER_OP_layer_normalization, operands, 3, NULL, 0);
}

/* edge, channels, window, stride */
static sinter_value build_pool(builder *b) {
    const int64_t *s = b->sizes, dims[] = {1, s[0], s[0], s[1]}, kernel[] = {s[2], s[2]},
                  strides[] = {s[3], s[3]};
    sinter_attr attributes[] = {sinter_attr_int("channels_last", 1),
                                sinter_attr_ints("kernel_shape", kernel, 2),
                                sinter_attr_ints("strides", strides, 2)};
    sinter_value x = input(b, SINTER_DTYPE_f32, 4, dims);
    return sinter_build(&b->build, SINTER_OP_max_pool, &x, 1, attributes, 3);
}

/* edge before, channels, edge after */
static sinter_value build_resize(builder *b) {
    const int64_t *s = b->sizes, dims[] = {1, s[1], s[0], s[0]}, sizes[] = {1, s[1], s[2], s[2]};
    sinter_attr mode = sinter_attr_string("mode", SINTER_STRING("linear"));
    sinter_value operands[] = {input(b, SINTER_DTYPE_f32, 4, dims), 0, 0,
                               sinter_build_ints(&b->build, sizes, 4)};
    return sinter_build(&b->build, SINTER_OP_resize, operands, 4, &mode, 1);
}

/* elements */
static sinter_value build_sum(builder *b) {
    sinter_value x = input(b, SINTER_DTYPE_f32, 1, b->sizes),
                 y = input(b, SINTER_DTYPE_f32, 1, b->sizes);
    return sinter_build_binary(&b->build, SINTER_OP_add, x, y);
}

static sinter_value build_gelu(builder *b) {
    return sinter_build_unary(&b->build, SINTER_OP_gelu, input(b, SINTER_DTYPE_f32, 1, b->sizes));
}

static sinter_value build_sigmoid(builder *b) {
    return sinter_build_unary(&b->build, SINTER_OP_sigmoid,
                              input(b, SINTER_DTYPE_f32, 1, b->sizes));
}

/* rows, columns */
static sinter_value build_transpose(builder *b) {
    const int64_t perm[] = {1, 0};
    return sinter_build_transpose(&b->build, input(b, SINTER_DTYPE_f32, 2, b->sizes), perm, 2);
}

/* rows of a table, length, rows taken */
static sinter_value build_gather(builder *b) {
    sinter_value operands[] = {constant(b, SINTER_DTYPE_f32, 2, b->sizes),
                               input(b, SINTER_DTYPE_i64, 1, b->sizes + 2)};
    return sinter_build(&b->build, SINTER_OP_gather, operands, 2, NULL, 0);
}

typedef struct trial {
    sinter_work work;
    sinter_dtype dtype;
    sinter_value (*build)(builder *b);
    int64_t sizes[5];
} trial;

/* Sizes that networks have: square and thin, of the first layers and of the last. What others are read by comes first. */
#define TRIAL(work, dtype, build, ...)                                                             \
 {                                                                                                 \
  SINTER_WORK_##work, SINTER_DTYPE_##dtype, build, {                                               \
   __VA_ARGS__                                                                                     \
  }                                                                                                \
 }
static const trial trials[] = {
    TRIAL(elements, f32, build_sum, 1024),
    TRIAL(elements, f32, build_sum, 98304),
    TRIAL(elements, f32, build_sum, 802816),
    TRIAL(elements, f32, build_gelu, 393216),
    TRIAL(elements, f32, build_sigmoid, 150528),
    TRIAL(move, f32, build_transpose, 3, 50176),
    TRIAL(move, f32, build_transpose, 128, 768),
    TRIAL(move, f32, build_transpose, 2048, 49),
    TRIAL(move, f32, build_gather, 30522, 768, 128),
    TRIAL(rows, f32, build_softmax, 1536, 128),
    TRIAL(rows, f32, build_softmax, 1, 1000),
    TRIAL(rows, f32, build_normalization, 128, 384),
    TRIAL(rows, f32, build_normalization, 128, 768),
    TRIAL(rows, f32, build_normalization, 1, 768),
    TRIAL(sample, f32, build_resize, 33, 21, 257),
    TRIAL(sample, f32, build_resize, 16, 64, 32),
    TRIAL(pool, f32, build_pool, 112, 64, 3, 2),
    TRIAL(pool, f32, build_pool, 28, 256, 3, 2),
    TRIAL(pool, f32, build_pool, 7, 1024, 7, 1),
    TRIAL(product, f32, build_product_f32, 1, 128, 128),
    TRIAL(product, f32, build_product_f32, 1, 1000, 1280),
    TRIAL(product, f32, build_product_f32, 1, 768, 768),
    TRIAL(product, f32, build_product_f32, 1, 3072, 768),
    TRIAL(product, f32, build_product_f32, 1, 768, 3072),
    TRIAL(product, f32, build_product_f32, 1, 50257, 768),
    TRIAL(product, f32, build_product_f32, 8, 768, 768),
    TRIAL(product, f32, build_product_f32, 32, 128, 128),
    TRIAL(product, f32, build_product_f32, 32, 1024, 512),
    TRIAL(product, f32, build_product_f32, 49, 160, 960),
    TRIAL(product, f32, build_product_f32, 49, 1280, 320),
    TRIAL(product, f32, build_product_f32, 49, 512, 2048),
    TRIAL(product, f32, build_product_f32, 49, 2048, 512),
    TRIAL(product, f32, build_product_f32, 128, 384, 384),
    TRIAL(product, f32, build_product_f32, 128, 768, 768),
    TRIAL(product, f32, build_product_f32, 128, 3072, 768),
    TRIAL(product, f32, build_product_f32, 128, 768, 3072),
    TRIAL(product, f32, build_product_f32, 128, 50257, 768),
    TRIAL(product, f32, build_product_f32, 197, 3072, 768),
    TRIAL(product, f32, build_product_f32, 196, 64, 384),
    TRIAL(product, f32, build_product_f32, 196, 480, 80),
    TRIAL(product, f32, build_product_f32, 196, 256, 1024),
    TRIAL(product, f32, build_product_f32, 196, 1024, 256),
    TRIAL(product, f32, build_product_f32, 784, 24, 144),
    TRIAL(product, f32, build_product_f32, 784, 192, 32),
    TRIAL(product, f32, build_product_f32, 784, 128, 512),
    TRIAL(product, f32, build_product_f32, 784, 512, 128),
    TRIAL(product, f32, build_product_f32, 3136, 24, 96),
    TRIAL(product, f32, build_product_f32, 3136, 144, 24),
    TRIAL(product, f32, build_product_f32, 3136, 64, 256),
    TRIAL(product, f32, build_product_f32, 3136, 256, 64),
    TRIAL(product, f32, build_product_f32, 12544, 16, 32),
    TRIAL(product, f32, build_product_f32, 12544, 96, 16),
    TRIAL(product, f32, build_product_f32, 1024, 1024, 1024),
    TRIAL(window, f32, build_window_f32, 224, 3, 32, 3, 2),
    TRIAL(window, f32, build_window_f32, 224, 3, 64, 7, 2),
    TRIAL(window, f32, build_window_f32, 224, 3, 768, 16, 16),
    TRIAL(window, f32, build_window_f32, 56, 128, 128, 3, 2),
    TRIAL(window, f32, build_window_f32, 14, 512, 512, 3, 2),
    TRIAL(window, f32, build_window_f32, 32, 16, 32, 3, 2),
    TRIAL(winograd, f32, build_window_f32, 56, 64, 64, 3, 1),
    TRIAL(winograd, f32, build_window_f32, 55, 16, 64, 3, 1),
    TRIAL(winograd, f32, build_window_f32, 28, 128, 128, 3, 1),
    TRIAL(winograd, f32, build_window_f32, 14, 256, 256, 3, 1),
    TRIAL(winograd, f32, build_window_f32, 7, 512, 512, 3, 1),
    TRIAL(depthwise, f32, build_window_f32, 112, 32, 1, 3, 1),
    TRIAL(depthwise, f32, build_window_f32, 112, 96, 1, 3, 2),
    TRIAL(depthwise, f32, build_window_f32, 56, 144, 1, 3, 1),
    TRIAL(depthwise, f32, build_window_f32, 28, 240, 1, 5, 1),
    TRIAL(depthwise, f32, build_window_f32, 14, 480, 1, 5, 1),
    TRIAL(depthwise, f32, build_window_f32, 14, 384, 1, 3, 1),
    TRIAL(depthwise, f32, build_window_f32, 7, 960, 1, 3, 1),
    TRIAL(attention, f32, build_attention, 12, 128, 128, 64),
    TRIAL(attention, f32, build_attention, 12, 197, 197, 64),
    TRIAL(attention, f32, build_attention, 12, 128, 128, 32),
    TRIAL(attention, f32, build_attention, 12, 1, 128, 64),
    TRIAL(recurrent, f32, build_recurrent, 50, 1, 128, 256),
    TRIAL(recurrent, f32, build_recurrent, 28, 1, 28, 64),
    TRIAL(recurrent, f32, build_recurrent, 50, 1, 64, 128),
    TRIAL(recurrent, f32, build_recurrent, 32, 8, 64, 128),
    TRIAL(recurrent, f32, build_recurrent, 28, 32, 28, 64),
    TRIAL(product, i8, build_product_i8, 1, 1000, 1280),
    TRIAL(product, i8, build_product_i8, 49, 160, 960),
    TRIAL(product, i8, build_product_i8, 49, 2048, 512),
    TRIAL(product, i8, build_product_i8, 128, 768, 768),
    TRIAL(product, i8, build_product_i8, 128, 3072, 768),
    TRIAL(product, i8, build_product_i8, 128, 768, 3072),
    TRIAL(product, i8, build_product_i8, 196, 64, 384),
    TRIAL(product, i8, build_product_i8, 196, 256, 1024),
    TRIAL(product, i8, build_product_i8, 784, 192, 32),
    TRIAL(product, i8, build_product_i8, 784, 512, 128),
    TRIAL(product, i8, build_product_i8, 3136, 24, 96),
    TRIAL(product, i8, build_product_i8, 3136, 64, 256),
    TRIAL(product, i8, build_product_i8, 3136, 256, 64),
    TRIAL(product, i8, build_product_i8, 12544, 96, 16),
    TRIAL(window, i8, build_window_i8, 224, 3, 32, 3, 2),
    TRIAL(window, i8, build_window_i8, 224, 3, 64, 7, 2),
    TRIAL(window, i8, build_window_i8, 56, 64, 64, 3, 1),
    TRIAL(window, i8, build_window_i8, 28, 128, 128, 3, 1),
    TRIAL(window, i8, build_window_i8, 14, 256, 256, 3, 1),
    TRIAL(window, i8, build_window_i8, 7, 512, 512, 3, 1),
    TRIAL(depthwise, i8, build_window_i8, 112, 32, 1, 3, 1),
    TRIAL(depthwise, i8, build_window_i8, 56, 144, 1, 3, 1),
    TRIAL(depthwise, i8, build_window_i8, 14, 384, 1, 3, 1),
    TRIAL(depthwise, i8, build_window_i8, 7, 960, 1, 3, 1),
};
enum { TRIAL_COUNT = sizeof trials / sizeof *trials, MIN_RUNS = 5, ROUNDS = 2 };

/* ---- times ---- */

static sinter_module *build_module(const trial *t, sinter_diag *diag) {
    sinter_module *module = sinter_module_create(sinter_work_names[t->work]);
    builder b = {.build = {.module = module, .region = sinter_module_main(module), .diag = diag},
                 .sizes = t->sizes};
    sinter_value y = t->build(&b);
    sinter_node_spec yield = {.op = SINTER_OP_yield, .operands = &y, .operand_count = 1};
    if (y && sinter_build_node(&b.build, &yield)) return module;
    sinter_module_destroy(module);
    return NULL;
}

/* Rows of a table, no two near each other. */
static void fill_indices(sinter_tensor *tensor, int64_t rows) {
    uint32_t state = 12345;
    for (int64_t i = 0, count = sinter_tensor_count(tensor); i < count; i++) {
        state = state * 1664525 + 1013904223;
        sinter_tensor_set_int(tensor, i, (int64_t)(state >> 8) % rows);
    }
}

static bool make_input(int64_t rows, const sinter_abi_io *io, sinter_tensor *out_input,
                       sinter_diag *diag) {
    if (!sinter_tensor_create(out_input, sinter_dtype_from_onnx(io->dtype), (uint32_t)io->rank,
                              io->dims, diag))
        return false;
    if (out_input->dtype == SINTER_DTYPE_i64)
        fill_indices(out_input, rows);
    else
        fill(out_input);
    return true;
}

static bool time_runs(bound_run *run, double seconds, double *out_seconds, sinter_diag *diag) {
    sinter_profile *p = sinter_profile_create(run->engine);
    double start = sinter_clock_seconds();
    size_t count = 0;
    bool good = true;
    for (int i = 0; good && (i < MIN_RUNS || sinter_clock_seconds() - start < seconds); i++) {
        sinter_profile_begin_run(p);
        good = bound_run_execute(run, diag);
        sinter_profile_end_run(p);
        if (good) tensors_clear(&run->outputs);
    }
    const sinter_profile_kernel *kernels = sinter_profile_kernels(p, &count);
    *out_seconds = 0;
    for (size_t i = 0; i < count; i++) *out_seconds += kernels[i].seconds;
    sinter_profile_destroy(p);
    return good;
}

/* Seconds in kernels, the shortest of some runs. The engine's module is what was compiled; rows: of what it gathers from. */
static bool time_engine(sinter_engine *engine, int64_t rows, double seconds, double *out_seconds,
                        sinter_diag *diag) {
    bound_run run = bound_run_create(engine);
    bool good = true;
    for (size_t i = 0; good && i < run.inputs.count; i++)
        good = make_input(rows, sinter_engine_input(engine, i), &run.inputs.items[i], diag);
    good = good && time_runs(&run, seconds, out_seconds, diag);
    bound_run_destroy(&run);
    return good;
}

/* ---- efficiencies ---- */

/* What the model says, with this point for its kind of work. */
static double predict(const sinter_hardware *hardware, sinter_module *module,
                      sinter_hardware_point *point, bool sets_sizes) {
    sinter_hardware tried = *hardware;
    sinter_estimate estimate;
    sinter_arena arena;
    sinter_arena_init(&arena);
    tried.points.items = NULL;
    tried.points.count = tried.points.capacity = 0;
    for (size_t i = 0; i < hardware->points.count; i++)
        if (hardware->points.items[i].work != point->work)
            sinter_vector_push(&arena, &tried.points, hardware->points.items[i]);
    sinter_vector_push(&arena, &tried.points, *point);
    sinter_estimate_module(module, &tried, &arena, &estimate);
    double longest = -1;
    for (size_t i = 0; sets_sizes && i < estimate.steps.count; i++) {
        const sinter_estimate_step *step = &estimate.steps.items[i];
        if (step->seconds <= longest) continue;
        longest = step->seconds;
        point->work = step->work;
        memcpy(point->sizes, step->sizes, sizeof point->sizes);
    }
    sinter_arena_deinit(&arena);
    return estimate.seconds;
}

/* The efficiency with which the model says so many seconds. */
static double solve(const sinter_hardware *hardware, sinter_module *module,
                    sinter_hardware_point point, double seconds) {
    double low = log(1e-4), high = log(1e2);
    for (int i = 0; i < 50; i++) {
        double middle = (low + high) / 2;
        point.efficiency = exp(middle);
        *(predict(hardware, module, &point, false) > seconds ? &low : &high) = middle;
    }
    return exp((low + high) / 2);
}

/* The point of a trial; of one that is there already, the better: other work on the machine lasts for seconds. */
static bool measure_trial(size_t number, const sinter_engine_options *options, double seconds,
                          sinter_hardware *hardware, sinter_diag *diag) {
    const trial *t = &trials[number];
    sinter_module *module = build_module(t, diag);
    sinter_engine *engine = module ? sinter_engine_create(module, options, diag) : NULL;
    sinter_hardware_point point = {.work = t->work, .dtype = t->dtype, .efficiency = 1};
    double measured = 0;
    bool good = engine && time_engine(engine, t->sizes[0], seconds, &measured, diag);
    if (good) {
        sinter_module *compiled = sinter_engine_module(engine);
        predict(hardware, compiled, &point, true);
        point.efficiency = solve(hardware, compiled, point, measured);
        if (number == hardware->points.count)
            sinter_vector_push(&hardware->arena, &hardware->points, point);
        else if (hardware->points.items[number].efficiency < point.efficiency)
            hardware->points.items[number] = point;
    }
    sinter_engine_destroy(engine);
    return good;
}

/* What a kernel costs that does nothing to speak of. */
static bool measure_launch(const sinter_engine_options *options, double seconds,
                           sinter_hardware *hardware, sinter_diag *diag) {
    static const trial least = TRIAL(elements, f32, build_sum, 1);
    sinter_module *module = build_module(&least, diag);
    sinter_engine *engine = module ? sinter_engine_create(module, options, diag) : NULL;
    bool good = engine && time_engine(engine, 1, seconds, &hardware->launch, diag);
    sinter_engine_destroy(engine);
    return good;
}

/* ---- between cores ---- */

enum { FEW = 1, MANY = 1 << 20, EXCHANGES = 200, LARGE_EXCHANGES = 20 };

typedef struct exchange_job {
    sinter_collectives *ranks;
    float *from[2], *to[2];
    uint64_t count;
    int repeats;
    int32_t codes[2];
} exchange_job;

static void exchange_some(void *environment, int64_t first, int64_t end) {
    exchange_job *job = environment;
    for (int64_t rank = first; rank < end; rank++) {
        sinter_abi_call call = {.size = sizeof call,
                                .services = sinter_collectives_services(job->ranks, rank)};
        for (int i = 0; i < job->repeats && !job->codes[rank]; i++) {
            const sinter_abi_exchange words = {.kind = SINTER_ABI_ALL_REDUCE,
                                               .dtype =
                                                   sinter_dtype_infos[SINTER_DTYPE_f32].onnx_code,
                                               .index = (uint32_t)i,
                                               .over = 1,
                                               .count = job->count,
                                               .source = job->from[rank],
                                               .target = job->to[rank]};
            job->codes[rank] = call.services->exchange(&call, &words);
        }
    }
}

/* Seconds of one sum over two threads. */
static bool time_exchange(sinter_pool *pool, uint64_t count, int repeats, double *out_seconds,
                          sinter_diag *diag) {
    const int64_t two = 2;
    exchange_job job = {.count = count, .repeats = repeats};
    if (!sinter_engine_report(sinter_collectives_create(&two, 1, 30, &job.ranks), "calibrate",
                              diag))
        return false;
    for (int i = 0; i < 2; i++) {
        job.from[i] = sinter_heap_alloc(count * sizeof(float));
        job.to[i] = sinter_heap_alloc(count * sizeof(float));
        memset(job.from[i], 0, count * sizeof(float));
    }
    *out_seconds = INFINITY;
    for (int i = 0; i < MIN_RUNS; i++) {
        double begin = sinter_clock_seconds();
        sinter_pool_parallel_for(pool, 2, 1, exchange_some, &job);
        *out_seconds = fmin(*out_seconds, (sinter_clock_seconds() - begin) / repeats);
    }
    bool good = !job.codes[0] && !job.codes[1];
    for (int i = 0; i < 2; i++) {
        sinter_heap_free(job.from[i]);
        sinter_heap_free(job.to[i]);
    }
    sinter_collectives_destroy(job.ranks);
    return good || sinter_error(diag, "calibrate", "two threads could not exchange data");
}

/* A short sum over two is a message, a long one is two and the bytes once (sinter_hardware_exchange). */
static bool measure_link(int64_t cores, sinter_hardware *hardware, sinter_diag *diag) {
    double few = 0, many = 0;
    sinter_pool *pool = NULL;
    if (cores < 2) return true;
    if (!sinter_engine_report(sinter_pool_create(2, NULL, &pool), "calibrate", diag)) return false;
    bool good = time_exchange(pool, FEW, EXCHANGES, &few, diag) &&
                time_exchange(pool, MANY, LARGE_EXCHANGES, &many, diag);
    double bytes = (double)MANY * sizeof(float), taken = many > 2.01 * few ? many - 2 * few : many;
    hardware->links[hardware->link_count++] =
        (sinter_hardware_link){.devices = cores, .latency = few, .bandwidth = bytes / taken};
    sinter_pool_destroy(pool);
    return good;
}

/* ---- all of it ---- */

static void take_roof(const roofline *roof, sinter_hardware *h) {
    h->compute[SINTER_DTYPE_f32] = roof->float_operations;
    h->compute[SINTER_DTYPE_i8] = roof->integer_operations;
    for (int i = 0; i < ROOFLINE_LEVELS; i++) {
        bool last = i + 1 == ROOFLINE_LEVELS;
        sinter_hardware_level level = {.name = roofline_level_names[i],
                                       .bytes = last ? h->memory : roof->level_bytes[i],
                                       .bandwidth = roof->read_bytes[i]};
        h->levels[h->level_count++] = level;
    }
}

bool calibrate(const sinter_engine_options *given, double seconds, sinter_hardware *h,
               sinter_diag *diag) {
    sinter_engine_options options = *given;
    sinter_target target;
    roofline roof;
    int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    sinter_hardware_init(h);
    options.thread_count = 1;
    h->name = "this machine";
    h->devices = cores > 0 ? cores : 1;
    h->memory =
        (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (double)h->devices;
    bool good =
        sinter_target_parse(options.target ? options.target : "cpu", &h->arena, &target, diag) &&
        roofline_measure(&target, 1, &roof, diag);
    if (good) {
        h->target = target.text;
        take_roof(&roof, h);
    }
    good = good && measure_launch(&options, seconds, h, diag) && measure_link(h->devices, h, diag);
    for (size_t i = 0; good && i < (size_t)ROUNDS * TRIAL_COUNT; i++) {
        size_t number = i % TRIAL_COUNT;
        show_progress("%zu of %d kernels: %s", i, ROUNDS * TRIAL_COUNT,
                      sinter_work_names[trials[number].work]);
        good = measure_trial(number, &options, seconds, h, diag);
    }
    show_progress("%s", "");
    if (!good) sinter_hardware_deinit(h);
    return good;
}
