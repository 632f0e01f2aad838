/* Evaluator rules of signal processing: window functions, dft, stft, mel_weight_matrix. Transforms
 * are the defining sums, in double, with one table of the roots of unity. Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>

static const double pi = 3.14159265358979323846;

bool eval_window_function(sinter_eval *eval) {
    int64_t size;
    if (!sinter_eval_int_scalar(eval, 0, &size)) return false;
    sinter_tensor *output =
        sinter_eval_create(eval, 0, sinter_eval_dtype(eval, "output_datatype"), 1, &size);
    if (!output) return false;
    double period = (double)(sinter_eval_int(eval, "periodic") ? size : size - 1);
    double *items = SINTER_NEW_ARRAY(eval->scratch, double, size + 1);
    for (int64_t i = 0; i < size; i++) {
        double angle = 2 * pi * (double)i / period;
        if (period == 0) /* a symmetric window of one element is its peak */
            items[i] = 1;
        else if (eval->info->op == SINTER_OP_hann_window)
            items[i] = 0.5 - 0.5 * cos(angle);
        else if (eval->info->op == SINTER_OP_hamming_window)
            items[i] = 25.0 / 46 - 21.0 / 46 * cos(angle);
        else
            items[i] = 0.42 - 0.5 * cos(angle) + 0.08 * cos(2 * angle);
    }
    sinter_eval_store_doubles(output, items);
    return true;
}

/* ---- Fourier transforms ---- */

typedef struct complex_number {
    double real, imaginary;
} complex_number;

/* e^(+-2 pi i k / n) for k in [0, n) */
static complex_number *unit_roots(sinter_eval *eval, int64_t n, bool inverse) {
    complex_number *roots = SINTER_NEW_ARRAY(eval->scratch, complex_number, n + 1);
    for (int64_t k = 0; k < n; k++) {
        double angle = 2 * pi * (double)k / (double)n;
        roots[k] = (complex_number){cos(angle), inverse ? sin(angle) : -sin(angle)};
    }
    return roots;
}

/* out[k] = sum over j < count of in[j] * roots[j * k mod n], for k < bins */
static void transform(const complex_number *in, int64_t count, const complex_number *roots,
                      int64_t n, complex_number *out, int64_t bins) {
    for (int64_t k = 0; k < bins; k++) {
        complex_number sum = {0, 0};
        for (int64_t j = 0; j < count && j < n; j++) {
            complex_number root = roots[(uint64_t)j * (uint64_t)k % (uint64_t)n];
            sum.real += in[j].real * root.real - in[j].imaginary * root.imaginary;
            sum.imaginary += in[j].real * root.imaginary + in[j].imaginary * root.real;
        }
        out[k] = sum;
    }
}

/* The last axis is 1 (real) or 2 (complex). */
static bool expect_signal(sinter_eval *eval, uint32_t operand, uint32_t min, uint32_t max) {
    if (!sinter_eval_expect_rank(eval, operand, min, max)) return false;
    const sinter_tensor *x = eval->operands[operand];
    int64_t parts = x->dims[x->rank - 1];
    if (parts == 1 || parts == 2) return true;
    return sinter_eval_error(eval, "the last axis of %s should be 1 (real) or 2 (complex)",
                             sinter_eval_describe(eval, x));
}

static complex_number part_at(const double *items, int64_t index, int64_t parts) {
    return (complex_number){items[index * parts], parts == 2 ? items[index * 2 + 1] : 0};
}

/* The half of a real signal's spectrum that tells the rest, made whole: in[n - k] = conjugate of in[k]. */
static void complete_spectrum(complex_number *lane, int64_t given, int64_t n) {
    for (int64_t k = given; k < n; k++) lane[k] = (complex_number){0, 0};
    for (int64_t k = n / 2 + 1; k < n; k++)
        lane[k] = (complex_number){lane[n - k].real, -lane[n - k].imaginary};
    lane[0].imaginary = 0;
    if (n % 2 == 0) lane[n / 2].imaginary = 0;
}

typedef struct dft {
    bool inverse, onesided;
    uint32_t axis;
    int64_t length, bins, parts_in, parts_out;
} dft;

static bool read_dft(sinter_eval *eval, dft *d) {
    if (!expect_signal(eval, 0, 2, SINTER_MAX_RANK)) return false;
    const sinter_tensor *input = eval->operands[0];
    int64_t axis = -2;
    if (sinter_eval_operand(eval, 2) && !sinter_eval_int_scalar(eval, 2, &axis)) return false;
    if (!sinter_eval_axis(eval, axis, input->rank, &d->axis)) return false;
    if (d->axis == input->rank - 1)
        return sinter_eval_error(eval, "the last axis holds real and imaginary parts");
    d->inverse = sinter_eval_int(eval, "inverse") != 0;
    d->onesided = sinter_eval_int(eval, "onesided") != 0;
    d->parts_in = input->dims[input->rank - 1];
    d->length = input->dims[d->axis];
    if (d->inverse && d->onesided) d->length = 2 * (d->length - 1);
    if (sinter_eval_operand(eval, 1) && !sinter_eval_int_scalar(eval, 1, &d->length)) return false;
    if (d->length < 1 || d->length > INT32_MAX)
        return sinter_eval_error(eval, "dft_length is %" PRId64, d->length);
    if (d->onesided && (d->inverse ? d->parts_in != 2 : d->parts_in != 1))
        return sinter_eval_error(eval, "onesided needs a %s input",
                                 d->inverse ? "complex" : "real");
    d->bins = d->onesided && !d->inverse ? d->length / 2 + 1 : d->length;
    d->parts_out = d->onesided && d->inverse ? 1 : 2;
    return true;
}

bool eval_dft(sinter_eval *eval) {
    dft d;
    if (!read_dft(eval, &d)) return false;
    const sinter_tensor *input = eval->operands[0];
    int64_t dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < input->rank; i++) dims[i] = input->dims[i];
    dims[d.axis] = d.bins;
    dims[input->rank - 1] = d.parts_out;
    sinter_tensor *output = sinter_eval_create(eval, 0, input->dtype, input->rank, dims);
    if (!output) return false;
    sinter_lanes lanes = sinter_eval_lanes(input->rank - 1, input->dims, d.axis);
    const double *items = sinter_eval_doubles(eval, input);
    complex_number *roots = unit_roots(eval, d.length, d.inverse);
    int64_t room = lanes.count > d.length ? lanes.count : d.length;
    complex_number *lane = SINTER_NEW_ARRAY(eval->scratch, complex_number, room + 1);
    complex_number *result = SINTER_NEW_ARRAY(eval->scratch, complex_number, d.bins + 1);
    for (int64_t n = 0; n < lanes.outer * lanes.inner; n++) {
        int64_t o = n / lanes.inner, i = n % lanes.inner;
        for (int64_t k = 0; k < lanes.count; k++)
            lane[k] = part_at(items, (o * lanes.count + k) * lanes.inner + i, d.parts_in);
        int64_t count = lanes.count;
        if (d.inverse && d.onesided) {
            complete_spectrum(lane, count, d.length);
            count = d.length;
        }
        transform(lane, count, roots, d.length, result, d.bins);
        double scale = d.inverse ? 1 / (double)d.length : 1;
        for (int64_t k = 0; k < d.bins; k++) {
            int64_t at = ((o * d.bins + k) * lanes.inner + i) * d.parts_out;
            sinter_tensor_set_double(output, at, result[k].real * scale);
            if (d.parts_out == 2)
                sinter_tensor_set_double(output, at + 1, result[k].imaginary * scale);
        }
    }
    return true;
}

bool eval_stft(sinter_eval *eval) {
    int64_t step, width;
    if (!expect_signal(eval, 0, 3, 3) || !sinter_eval_int_scalar(eval, 1, &step)) return false;
    const sinter_tensor *signal = eval->operands[0], *window = sinter_eval_operand(eval, 2);
    int64_t batch = signal->dims[0], length = signal->dims[1], parts = signal->dims[2];
    width = window ? sinter_tensor_count(window) : length;
    if (sinter_eval_operand(eval, 3) && !sinter_eval_int_scalar(eval, 3, &width)) return false;
    if (step < 1 || width < 1 || width > length)
        return sinter_eval_error(
            eval, "frames of %" PRId64 " every %" PRId64 " do not fit a signal of %" PRId64, width,
            step, length);
    if (!sinter_eval_expect_dims(eval, 2, 1, &width)) return false;
    bool onesided = sinter_eval_int(eval, "onesided") != 0;
    if (onesided && parts == 2) return sinter_eval_error(eval, "onesided needs a real signal");
    int64_t frames = 1 + (length - width) / step, bins = onesided ? width / 2 + 1 : width;
    int64_t dims[4] = {batch, frames, bins, 2};
    sinter_tensor *output = sinter_eval_create(eval, 0, signal->dtype, 4, dims);
    if (!output) return false;
    const double *items = sinter_eval_doubles(eval, signal);
    const double *weights = window ? sinter_eval_doubles(eval, window) : NULL;
    complex_number *roots = unit_roots(eval, width, false);
    complex_number *frame = SINTER_NEW_ARRAY(eval->scratch, complex_number, width);
    complex_number *result = SINTER_NEW_ARRAY(eval->scratch, complex_number, bins);
    for (int64_t n = 0; n < batch * frames; n++) {
        for (int64_t i = 0; i < width; i++) {
            frame[i] = part_at(items, n / frames * length + n % frames * step + i, parts);
            frame[i].real *= weights ? weights[i] : 1;
            frame[i].imaginary *= weights ? weights[i] : 1;
        }
        transform(frame, width, roots, width, result, bins);
        for (int64_t k = 0; k < bins; k++) {
            sinter_tensor_set_double(output, (n * bins + k) * 2, result[k].real);
            sinter_tensor_set_double(output, (n * bins + k) * 2 + 1, result[k].imaginary);
        }
    }
    return true;
}

/* ---- mel filter bank ---- */

/* Edges of the triangles, as spectrogram bins; band b rises from edge b to b + 1 and falls to b + 2. */
static bool mel_edges(sinter_eval *eval, int64_t bands, int64_t length, int64_t rate, double low,
                      double high, int64_t *edges) {
    double first = 2595 * log10(1 + low / 700), last = 2595 * log10(1 + high / 700);
    double step = (last - first) / (double)(bands + 2);
    for (int64_t i = 0; i < bands + 2; i++) {
        double hertz = 700 * (pow(10, ((double)i * step + first) / 2595) - 1);
        double bin = floor((double)(length + 1) * hertz / (double)rate);
        if (!(bin >= 0 && bin <= (double)(length / 2)))
            return sinter_eval_error(eval, "%g Hz is outside of the spectrum", hertz);
        edges[i] = (int64_t)bin;
    }
    return true;
}

bool eval_mel_weight_matrix(sinter_eval *eval) {
    int64_t bands, length, rate;
    double low, high;
    if (!sinter_eval_int_scalar(eval, 0, &bands) || !sinter_eval_int_scalar(eval, 1, &length) ||
        !sinter_eval_int_scalar(eval, 2, &rate) || !sinter_eval_float_scalar(eval, 3, &low) ||
        !sinter_eval_float_scalar(eval, 4, &high))
        return false;
    if (bands < 0 || length < 0 || rate < 1)
        return sinter_eval_error(
            eval, "%" PRId64 " bands of a transform of %" PRId64 " at %" PRId64 " Hz", bands,
            length, rate);
    int64_t dims[2] = {length / 2 + 1, bands};
    sinter_tensor *output =
        sinter_eval_create(eval, 0, sinter_eval_dtype(eval, "output_datatype"), 2, dims);
    if (!output) return false;
    int64_t *edges = SINTER_NEW_ARRAY(eval->scratch, int64_t, bands + 2);
    if (!mel_edges(eval, bands, length, rate, low, high, edges)) return false;
    double *items = SINTER_NEW_ARRAY(eval->scratch, double, dims[0] * bands + 1);
    for (int64_t b = 0; b < bands; b++) {
        int64_t left = edges[b], centre = edges[b + 1], right = edges[b + 2];
        if (left == centre) items[centre * bands + b] = 1;
        for (int64_t j = left; left < centre && j <= centre; j++)
            items[j * bands + b] = (double)(j - left) / (double)(centre - left);
        for (int64_t j = centre; j < right; j++)
            items[j * bands + b] = (double)(right - j) / (double)(right - centre);
    }
    sinter_eval_store_doubles(output, items);
    return true;
}
