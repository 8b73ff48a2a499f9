/* Monotonic time. */
#ifndef CM3_BASE_CLOCK_H
#define CM3_BASE_CLOCK_H

#include <stdint.h>

/** Nanoseconds from some fixed moment. */
uint64_t cm3_clock_ns(void);

/** Seconds since a moment of cm3_clock_ns(). */
double cm3_clock_since(uint64_t start_ns);

#endif
