/*
 * What the fuzz targets share: a context whose memory is limited and must be back to zero after each input, and checks
 * that end the process, which is how a fuzzer is told. A target is one file with LLVMFuzzerTestOneInput(), which
 * libFuzzer and the replay of the committed seeds call alike.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cm3leon/cm3leon.h"

/** What libFuzzer and replay.c call. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Tells what is wrong and aborts. */
#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) fuzz_abort(__FILE__, __LINE__, #condition);                                                  \
    } while (0)

_Noreturn void fuzz_abort(const char *file, int line, const char *condition);

/** A context with threads = 0 that gets at most `limit` bytes. Sizes beyond it come back as NO_MEMORY. */
cm3_context *fuzz_begin(size_t limit);
/** Destroys the context; nothing of its memory may be left, and no more than seconds may have gone by. */
void fuzz_end(cm3_context *context);

/** A failure leaves no object and a message; a success leaves an object. */
void fuzz_check_result(const cm3_context *context, cm3_status status, const void *object);

/** The path of `name` in a folder of the process's own, which goes with it. Valid for ever. */
const char *fuzz_path(const char *name);
/** Replaces a file there; returns its path. */
const char *fuzz_put(const char *name, const void *data, size_t size);

/** A number made of all bytes, to choose by where an input has no room for options. */
uint64_t fuzz_hash(const uint8_t *data, size_t size);

#endif
