/* Observers. Squared error and entropy (divergence of the rounded from the true distribution, as Migacz, "8-bit inference with
 * TensorRT", 2017) try ranges that are shares of what was seen, each end of it by itself. Test: tests/unit/observe_test.c */
#include "passes/observe.h"

#include <math.h>
#include <string.h>

enum { MIDDLE = SINTER_HISTOGRAM_BINS / 2, SHARES = 80, LEVELS = 256 };
static const double least_share = 0.2;

/* ---- histograms ---- */

/* Twice the reach: bins that were neighbours, counted from the middle, are one. */
static void widen(sinter_histogram *h) {
    uint64_t merged[SINTER_HISTOGRAM_BINS] = {0};
    for (int i = 0; i < SINTER_HISTOGRAM_BINS; i++) merged[MIDDLE / 2 + i / 2] += h->bins[i];
    memcpy(h->bins, merged, sizeof merged);
    h->reach *= 2;
}

/* A power of two above |x|, so that the order in which values come does not matter. */
static void cover(sinter_histogram *h, double x) {
    double size = fabs(x);
    if (h->reach == 0) {
        int exponent = 0;
        frexp(size, &exponent);
        h->reach = ldexp(1, exponent);
        h->bins[MIDDLE] = h->count; /* zeros */
    }
    while (size >= h->reach) widen(h);
}

static double centre_of(const sinter_histogram *h, int bin) {
    return (bin - MIDDLE + 0.5) * h->reach / MIDDLE;
}

bool sinter_histogram_add(sinter_histogram *h, const float *values, int64_t count) {
    float least = 0, largest = 0;
    bool finite = true;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            finite = false;
            continue;
        }
        least = values[i] < least ? values[i] : least;
        largest = values[i] > largest ? values[i] : largest;
    }
    if (least < 0) cover(h, (double)least);
    if (largest > 0) cover(h, (double)largest);
    if ((double)least < h->least || !h->count) h->least = (double)least;
    if ((double)largest > h->largest || !h->count) h->largest = (double)largest;
    if (h->reach == 0) {
        h->count += (uint64_t)count;
        return finite;
    }
    double factor = MIDDLE / h->reach;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) continue;
        double place = (double)values[i] * factor;
        int bin = (int)place;
        bin -= (double)bin > place; /* floor, without a call for each value */
        h->bins[bin + MIDDLE]++;
        h->count++;
    }
    return finite;
}

void sinter_histogram_merge(sinter_histogram *h, const sinter_histogram *other) {
    if (!other->count) return;
    if (other->least < h->least) h->least = other->least;
    if (other->largest > h->largest) h->largest = other->largest;
    if (other->reach == 0) {
        if (h->reach > 0) h->bins[MIDDLE] += other->count;
        h->count += other->count;
        return;
    }
    sinter_histogram copy = *other;
    if (h->reach == 0) cover(h, copy.reach / 2);
    while (copy.reach < h->reach) widen(&copy);
    while (h->reach < copy.reach) widen(h);
    for (int i = 0; i < SINTER_HISTOGRAM_BINS; i++) h->bins[i] += copy.bins[i];
    h->count += copy.count;
}

/* ---- ranges ---- */

typedef struct search {
    const sinter_histogram *histogram;
    sinter_dtype dtype;
    double low, high; /* of the integers */
    int first, last;  /* bins that are not empty */
} search;

static sinter_range range_of(const search *s, double least, double largest) {
    if (least > 0) least = 0;
    if (largest < 0) largest = 0;
    double scale, zero = 0;
    if (sinter_dtype_infos[s->dtype].class == SINTER_CLASS_UINT) {
        scale = (largest - least) / (s->high - s->low);
        if (scale > 0x1p-100) zero = fmin(fmax(rint(-least / scale), s->low), s->high);
    } else {
        scale = fmax(largest, -least) / s->high;
    }
    if (!(scale > 0x1p-100)) scale = 1; /* nothing but zeros */
    return (sinter_range){(float)scale, (int32_t)zero};
}

static double quantize(const search *s, sinter_range range, double x) {
    double q = rint(x / (double)range.scale) + range.zero_point;
    return fmin(fmax(q, s->low), s->high);
}

static double squared_error(const search *s, sinter_range range) {
    double sum = 0;
    for (int i = s->first; i <= s->last; i++) {
        if (!s->histogram->bins[i]) continue;
        double x = centre_of(s->histogram, i);
        double back = (quantize(s, range, x) - range.zero_point) * (double)range.scale;
        sum += (double)s->histogram->bins[i] * (x - back) * (x - back);
    }
    return sum;
}

static bool is_cut(const search *s, sinter_range range, double x) {
    double low = (s->low - range.zero_point - 0.5) * (double)range.scale;
    double high = (s->high - range.zero_point + 0.5) * (double)range.scale;
    return x < low || x > high;
}

/* Zeros, of which activations have many, are exact in every range: the bin that they lie in counts as its neighbours do. */
static double mass_of(const search *s, int bin) {
    const uint64_t *bins = s->histogram->bins;
    uint64_t beside = bins[MIDDLE - 1] > bins[MIDDLE + 1] ? bins[MIDDLE - 1] : bins[MIDDLE + 1];
    return (double)(bin == MIDDLE && bins[MIDDLE] > beside ? beside : bins[bin]);
}

/* Divergence of the distribution that the integers tell, spread over the bins of each that are not empty, from the true one with
 * what lies beyond the range in its outermost bins, of which the other knows nothing. */
static double divergence(const search *s, sinter_range range) {
    static const double tiny = 1e-12;
    const sinter_histogram *h = s->histogram;
    double inside[LEVELS] = {0}, bins[LEVELS] = {0}, below = 0, above = 0, kept = 0, sum = 0;
    int steps = (int)(s->high - s->low) + 1, shift = 0, first = s->last, last = s->first;
    while (steps >> shift > LEVELS) shift++; /* of 16 bits, by their upper half */
    for (int i = s->first; i <= s->last; i++) {
        double x = centre_of(h, i), own = mass_of(s, i);
        if (own > 0 && is_cut(s, range, x)) {
            *(x < 0 ? &below : &above) += own;
        } else if (own > 0) {
            int level = (int)(quantize(s, range, x) - s->low) >> shift;
            inside[level] += own;
            bins[level]++;
            kept += own;
            first = i < first ? i : first;
            last = i;
        }
    }
    if (kept <= 0) return HUGE_VAL;
    for (int i = first; i <= last; i++) {
        if (mass_of(s, i) <= 0) continue;
        int level = (int)(quantize(s, range, centre_of(h, i)) - s->low) >> shift;
        double truth = mass_of(s, i) + (i == first ? below : 0) + (i == last ? above : 0);
        truth /= kept + below + above;
        sum += truth * log(truth / fmax(inside[level] / bins[level] / kept, tiny));
    }
    return sum;
}

/* Ends of the range by what is left below and above. */
static sinter_range by_percentile(const search *s, double percentile) {
    const sinter_histogram *h = s->histogram;
    double outside = (1 - percentile / 100) * (double)h->count, below = 0, above = 0;
    int low = s->first, high = s->last;
    while (low < high && below + (double)h->bins[low] <= outside) below += (double)h->bins[low++];
    while (high > low && above + (double)h->bins[high] <= outside) above += (double)h->bins[high--];
    double width = h->reach / MIDDLE;
    return range_of(s, fmax(h->least, centre_of(h, low) - width / 2),
                    fmin(h->largest, centre_of(h, high) + width / 2));
}

/* One end after the other, twice: shares of what was seen. */
static sinter_range by_cost(const search *s, double (*cost)(const search *, sinter_range)) {
    const sinter_histogram *h = s->histogram;
    double shares[2] = {1, 1};
    sinter_range best = range_of(s, h->least, h->largest);
    double least = cost(s, best);
    bool is_signed = sinter_dtype_infos[s->dtype].class != SINTER_CLASS_UINT;
    for (int round = 0; round < 4; round++) {
        int end = round % 2;
        if (is_signed ? round > 0 : (end ? h->largest : h->least) == 0) continue;
        double found = shares[end];
        for (int i = 0; i < SHARES; i++) {
            double share = 1 - i * (1 - least_share) / SHARES;
            shares[end] = share;
            if (is_signed) shares[0] = shares[1] = share;
            sinter_range range = range_of(s, h->least * shares[0], h->largest * shares[1]);
            double now = cost(s, range);
            if (now >= least) continue;
            least = now;
            best = range;
            found = share;
        }
        shares[end] = found;
    }
    return best;
}

sinter_range sinter_observe_range(const sinter_histogram *histogram,
                                  const sinter_layer_recipe *recipe, sinter_dtype dtype) {
    uint32_t bits = sinter_dtype_infos[dtype].bits;
    bool is_signed = sinter_dtype_infos[dtype].class != SINTER_CLASS_UINT;
    search s = {.histogram = histogram, .dtype = dtype, .last = SINTER_HISTOGRAM_BINS - 1};
    s.low = is_signed ? -ldexp(1, (int)bits - 1) : 0;
    s.high = is_signed ? ldexp(1, (int)bits - 1) - 1 : ldexp(1, (int)bits) - 1;
    if (histogram->reach == 0) return range_of(&s, 0, 0);
    while (s.first < s.last && !histogram->bins[s.first]) s.first++;
    while (s.last > s.first && !histogram->bins[s.last]) s.last--;
    switch (recipe->observer) {
    case SINTER_OBSERVE_PERCENTILE:
        return by_percentile(&s, recipe->percentile);
    case SINTER_OBSERVE_SQUARED_ERROR: /* 16 bits resolve more than bins do: there nothing is cut */
        return bits > 8 ? range_of(&s, histogram->least, histogram->largest)
                        : by_cost(&s, squared_error);
    case SINTER_OBSERVE_ENTROPY:
        return by_cost(&s, divergence);
    case SINTER_OBSERVE_MIN_MAX:
        break;
    }
    return range_of(&s, histogram->least, histogram->largest);
}
