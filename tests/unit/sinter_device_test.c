/* The public library on a device, which is emulated: a model of the tests answers as on the CPU, with tensors on the host and,
 * on the caller's stream, on the device; what can't be had is a status. */
#include "runtime/jit/sinter.h"
#include "tests/unit/device_support.h"

#include <math.h>

enum { PIXELS = 64, LOGITS = 10, MOST = 4 };

static const char path[] = "tests/models/mlp.onnx";

static sinter_abi_tensor images(void *data, int64_t batch) {
    const int64_t dims[] = {batch, 8, 8};
    return sinter_tensor_over(data, (uint64_t)batch * PIXELS * sizeof(float), 1, 3, dims);
}

static bool is_close(const float *got, const float *expected, size_t count) {
    float most = 0, off = 0;
    for (size_t i = 0; i < count; i++) {
        most = fmaxf(most, fabsf(expected[i]));
        off = fmaxf(off, fabsf(got[i] - expected[i]));
    }
    return off <= 1e-5f * most;
}

static void test_host(sinter_model *model, sinter_model *on_cpu, float *pixels) {
    for (int64_t batch = 1; batch <= MOST; batch += 3)
        for (int round = 0; round < 3; round++) { /* as it is, captured, replayed */
            sinter_abi_tensor input = images(pixels, batch), output = {0}, expected = {0};
            GOOD(sinter_run(model, &input, &output));
            GOOD(sinter_run(on_cpu, &input, &expected));
            CHECK(output.bytes == (uint64_t)batch * LOGITS * sizeof(float) &&
                  output.dims[0] == batch);
            CHECK(output.data && expected.data &&
                  is_close(output.data, expected.data, (size_t)batch * LOGITS));
            sinter_outputs_free(model, &output);
            sinter_outputs_free(on_cpu, &expected);
        }
}

static void test_stream(sinter_model *model, sinter_model *on_cpu, float *pixels) {
    sinter_device *device = NULL;
    sinter_device_stream *stream = NULL;
    void *in = NULL, *out = NULL;
    float logits[MOST * LOGITS] = {0};
    const uint64_t bytes = MOST * PIXELS * sizeof(float);
    GOOD(sinter_device_open("cuda", NULL, &device));
    if (!device) return;
    const sinter_device_driver *d = device->driver;
    GOOD(d->stream_create(device, &stream));
    GOOD(d->allocate(stream, bytes, &in));
    GOOD(d->allocate(stream, sizeof logits, &out));
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < MOST * PIXELS; i++) pixels[i] = (float)(i * 7 % (16 + round)) / 16;
        sinter_abi_tensor on_host = images(pixels, MOST), input = images(in, MOST), expected = {0};
        sinter_abi_tensor output = {.data = out, .bytes = sizeof logits};
        GOOD(sinter_run(on_cpu, &on_host, &expected));
        GOOD(d->copy(stream, in, pixels, bytes, SINTER_ABI_COPY_TO_DEVICE));
        GOOD(sinter_run_on_stream(model, &input, &output, sinter_device_native_stream(stream)));
        CHECK_INT_EQ(output.bytes, sizeof logits);
        GOOD(d->copy(stream, logits, out, sizeof logits, SINTER_ABI_COPY_TO_HOST));
        GOOD(sinter_wait(model, sinter_device_native_stream(stream)));
        CHECK(expected.data && is_close(logits, expected.data, MOST * LOGITS));
        sinter_outputs_free(on_cpu, &expected);
    }
    FAILS(sinter_run_on_stream(on_cpu, NULL, NULL, NULL), SINTER_STATUS_WRONG_DEVICE);
    FAILS(sinter_run_on_stream(NULL, NULL, NULL, NULL), SINTER_STATUS_BAD_INPUT);
    FAILS(sinter_wait(NULL, NULL), SINTER_STATUS_BAD_INPUT);
    GOOD(d->deallocate(stream, in));
    GOOD(d->deallocate(stream, out));
    sinter_destroy(model); /* before the stream that it ran on */
    GOOD(d->stream_destroy(stream));
    sinter_device_close(device);
}

static void test_refusals(void) {
    sinter_model *model = NULL;
    sinter_options options = SINTER_OPTIONS_INIT;
    options.device = "cuda";
    options.target = "cpu";
    FAILS_SAYING(sinter_load(path, &options, &model), SINTER_STATUS_BAD_INPUT, "for the device");
    options = (sinter_options)SINTER_OPTIONS_INIT;
    options.target = "cuda";
    FAILS_SAYING(sinter_load(path, &options, &model), SINTER_STATUS_BAD_INPUT, "'cuda'");
    options.device = "gpu";
    FAILS_SAYING(sinter_load(path, &options, &model), SINTER_STATUS_BAD_INPUT, "gpu");
    options.device = "cuda";
    setenv("SINTER_EMULATION_DEVICES", "0", 1);
    FAILS_SAYING(sinter_load(path, &options, &model), SINTER_STATUS_NO_DEVICE,
                 "CUDA_ERROR_NO_DEVICE");
    unsetenv("SINTER_EMULATION_DEVICES");
    setenv("SINTER_EMULATION_MEMORY", "100", 1);
    FAILS_SAYING(sinter_load(path, &options, &model), SINTER_STATUS_BAD_MODEL, "no memory for");
    unsetenv("SINTER_EMULATION_MEMORY");
    CHECK(model == NULL);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    sinter_model *model = NULL, *on_cpu = NULL;
    static float pixels[MOST * PIXELS];
    sinter_options options = SINTER_OPTIONS_INIT;
    use_emulation();
    test_refusals();
    options.device = "cpu";
    GOOD(sinter_load(path, &options, &on_cpu));
    options.device = "cuda";
    GOOD(sinter_load(path, &options, &model));
    if (model && on_cpu) {
        for (int i = 0; i < MOST * PIXELS; i++) pixels[i] = (float)(i * 37 % 17) / 16;
        test_host(model, on_cpu, pixels);
        test_stream(model, on_cpu, pixels);
    }
    sinter_destroy(on_cpu);
    return test_finish();
}
