/* Fails the n-th allocation of an operation, for n = 0, 1, 2 ... until the operation needs no more of them. */
#ifndef SURVIVAL_SWEEP_H
#define SURVIVAL_SWEEP_H

#include "generate/support.h"

typedef struct sweep {
    gen_case *c; /**< its context's allocator is the one that fails */
    const char *name;
    /** Makes, with memory to spare, what the operation needs and what must survive it. May be NULL. */
    void (*prepare)(struct sweep *sweep);
    /** The operation. A sum over what it made on success; on failure nothing of it is left. */
    cm3_status (*run)(struct sweep *sweep, uint64_t *sum);
    /** Destroys what `prepare` made. May be NULL. */
    void (*release)(struct sweep *sweep);
    bool spent;       /**< a failed operation leaves what was prepared unfit for another one, as documented */
    bool looks_ahead; /**< a thread allocates for what comes next: that may fail, too, without harm */
    bool costly;      /**< the quick run makes fewer rounds */
    void *user;
} sweep;

/**
 * The sweep, once with a single allocation that fails and once with all from the n-th on. After each: NO_MEMORY with a
 * message of this failure, or (a single one that was made good) what an undisturbed run makes; the operation repeated
 * with memory to spare makes just that; and with all objects destroyed as many bytes are live as before. Every n with
 * scripts/test --long, else the first ones, the last ones, and some between.
 */
void sweep_run(sweep *sweep);

/** `sum`, with these bytes taken in. */
uint64_t sweep_sum(uint64_t sum, const void *data, size_t size);
uint64_t sweep_sum_file(uint64_t sum, const char *path);
uint64_t sweep_sum_image(uint64_t sum, const cm3_image *image);
uint64_t sweep_sum_document(uint64_t sum, const cm3_document *document);

/** Waits for the compute thread's last touches and tells the live bytes: `expected`, or what stays different. */
int64_t sweep_live(const gen_case *c, int64_t expected);

#endif
