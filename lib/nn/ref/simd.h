/*
 * For files whose loops carry `#pragma omp simd`: it allows vectors where sums change their order. Without OpenMP's
 * switch the pragma is unknown, and a compiler may be unable to follow it: neither does harm.
 */
#ifndef CM3_NN_REF_SIMD_H
#define CM3_NN_REF_SIMD_H

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

#endif
