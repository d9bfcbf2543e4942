/* A log-linear histogram of nanoseconds: 64 steps to a factor of two, so within 1.6 % of a value. */
#include <stdint.h>

#define HISTOGRAM_BITS 6
#define HISTOGRAM_CELLS (64 << HISTOGRAM_BITS)

struct histogram {
    uint64_t cells[HISTOGRAM_CELLS], count, sum_ns, max_ns;
};

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    int shift = ns >> HISTOGRAM_BITS ? 63 - HISTOGRAM_BITS - __builtin_clzll(ns) : 0;

    /* below 64 the value is the cell; then each octave has the cells 64..127 of its own shift */
    h->cells[((uint64_t)shift << HISTOGRAM_BITS) + (ns >> shift)]++;
    h->count++;
    h->sum_ns += ns;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

/* The middle of the cell that holds the quantile, in nanoseconds; 0 if nothing was added. */
static inline double histogram_quantile(const struct histogram *h, double quantile)
{
    uint64_t wanted = (uint64_t)(quantile * h->count), seen = 0;

    if (wanted >= h->count)
        wanted = h->count - 1;
    for (uint64_t cell = 0; h->count && cell < HISTOGRAM_CELLS; cell++) {
        seen += h->cells[cell];
        if (seen > wanted) {
            int shift = cell >> (HISTOGRAM_BITS + 1) ? (int)(cell >> HISTOGRAM_BITS) - 1 : 0;
            uint64_t low = (cell - ((uint64_t)shift << HISTOGRAM_BITS)) << shift;

            return low + ((1ull << shift) - 1) / 2.0;
        }
    }
    return 0;
}
