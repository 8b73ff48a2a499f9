/* The optimiser's flat arrays in slices. */
#include "train/slices.h"

#include <string.h>

#include "base/status.h"

#define LINE 16 /* elements that places and slices are multiples of */

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/** In the order of places: the last parameter lies first. */
static cm3_optimized *placed(const cm3_optimizer *optimizer, size_t i) {
    return &optimizer->parameters[optimizer->count - 1 - i];
}

/** The first in the order of places that ends behind `begin`. */
static size_t first_behind(const cm3_optimizer *optimizer, int64_t begin) {
    size_t low = 0, high = optimizer->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const cm3_optimized *p = placed(optimizer, middle);
        if (p->at + p->tensor->count > begin) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

bool cm3_slices_next(const cm3_optimizer *optimizer, int64_t begin, int64_t end, size_t *next, cm3_stretch *stretch) {
    if (!*next) *next = first_behind(optimizer, begin) + 1;
    if (*next > optimizer->count) return false;
    cm3_optimized *p = placed(optimizer, (*next)++ - 1);
    const int64_t from = most(begin, p->at), to = least(end, p->at + p->tensor->count);
    if (from >= to) return false;
    *stretch = (cm3_stretch){p, from - p->at, to - from, from - begin};
    return true;
}

float *cm3_slices_values(const cm3_optimizer *optimizer, const cm3_stretch *stretch) {
    const cm3_optimized *p = stretch->parameter;
    if (!p->apart) return cm3_f32(p->tensor) + stretch->first;
    return p->own + (stretch->first - most(optimizer->begin - p->at, 0));
}

float *cm3_slices_held(const cm3_optimizer *optimizer, cm3_moment moment, int64_t at) {
    if (moment != CM3_MOMENT_WEIGHT) return optimizer->moments[moment] + (at - optimizer->begin);
    size_t next = 0;
    cm3_stretch s;
    return cm3_slices_next(optimizer, at, at + 1, &next, &s) ? cm3_slices_values(optimizer, &s) : NULL;
}

/* --- weights --------------------------------------------------------------------------------------------------------
 */

/** Bytes of a stretch among those that go together; what follows stays aligned. */
static int64_t packed_bytes(const cm3_stretch *s) {
    const int64_t width = s->parameter->apart ? sizeof(uint16_t) : sizeof(float);
    return (s->count + LINE - 1) / LINE * LINE * width;
}

/** The most that one rank sends of its elements done..done+count-1: with them all send as much. */
static int64_t most_bytes(const cm3_optimizer *optimizer, int64_t done, int64_t count) {
    int64_t bytes = 0;
    for (int32_t i = 0; i < optimizer->ranks->comm.size; i++) {
        const int64_t begin = i * optimizer->slice + done;
        int64_t own = 0;
        size_t next = 0;
        cm3_stretch s;
        while (cm3_slices_next(optimizer, begin, begin + count, &next, &s)) own += packed_bytes(&s);
        bytes = most(bytes, own);
    }
    return bytes;
}

/** Weights of a range of this rank's slice. */
static void take_weights(const cm3_optimizer *optimizer, int64_t begin, int64_t end, char *to) {
    size_t next = 0;
    cm3_stretch s;
    while (cm3_slices_next(optimizer, begin, end, &next, &s)) {
        if (s.parameter->apart) {
            memcpy(to, s.parameter->tensor->bf16 + s.first, (size_t)s.count * sizeof(uint16_t));
        } else {
            memcpy(to, cm3_slices_values(optimizer, &s), (size_t)s.count * sizeof(float));
        }
        to += packed_bytes(&s);
    }
}

static void put_weights(const cm3_optimizer *optimizer, const cm3_kernels *kernels, int64_t begin, int64_t end,
                        const char *from) {
    size_t next = 0;
    cm3_stretch s;
    while (cm3_slices_next(optimizer, begin, end, &next, &s)) {
        cm3_tensor *tensor = s.parameter->tensor;
        if (s.parameter->apart) {
            memcpy(tensor->bf16 + s.first, from, (size_t)s.count * sizeof(uint16_t));
        } else {
            float *values = cm3_f32(tensor) + s.first;
            memcpy(values, from, (size_t)s.count * sizeof(float));
            if (tensor->bf16) kernels->f32_to_bf16(tensor->bf16 + s.first, values, s.count);
        }
        from += packed_bytes(&s);
    }
}

cm3_status cm3_slices_gather_weights(cm3_optimizer *optimizer, const cm3_kernels *kernels) {
    cm3_ranks *ranks = optimizer->ranks;
    if (!optimizer->pieces) return CM3_OK;
    char *pieces = (char *)optimizer->pieces;
    for (int64_t done = 0; done < optimizer->slice; done += optimizer->piece) {
        const int64_t count = least(optimizer->piece, optimizer->slice - done), own = optimizer->begin + done;
        const int64_t bytes = most_bytes(optimizer, done, count);
        if (!bytes) continue; /* of all ranks */
        take_weights(optimizer, own, own + count, pieces + ranks->comm.rank * bytes);
        CM3_TRY(cm3_ranks_gather(ranks, pieces, (size_t)bytes));
        for (int32_t i = 0; i < ranks->comm.size; i++) {
            const int64_t begin = i * optimizer->slice + done;
            if (i != ranks->comm.rank) put_weights(optimizer, kernels, begin, begin + count, pieces + i * bytes);
        }
    }
    return CM3_OK;
}

/* --- moments --------------------------------------------------------------------------------------------------------
 */

cm3_status cm3_slices_send(cm3_optimizer *optimizer, cm3_moment moment, int64_t at, int64_t end, int64_t *count) {
    cm3_ranks *ranks = optimizer->ranks;
    const int64_t owner = at / optimizer->slice;
    *count = least(least(end, (owner + 1) * optimizer->slice) - at, optimizer->piece);
    if (owner == ranks->comm.rank) {
        memcpy(optimizer->pieces, cm3_slices_held(optimizer, moment, at), (size_t)*count * sizeof(float));
    }
    return cm3_ranks_broadcast(ranks, optimizer->pieces, (size_t)*count * sizeof(float), (int32_t)owner);
}

cm3_status cm3_slices_receive(cm3_optimizer *optimizer, cm3_moment moment, int64_t at, int64_t count) {
    CM3_TRY(cm3_ranks_broadcast(optimizer->ranks, optimizer->pieces, (size_t)count * sizeof(float), 0));
    const int64_t from = most(at, optimizer->begin), to = least(at + count, optimizer->begin + optimizer->slice);
    if (from < to) {
        memcpy(cm3_slices_held(optimizer, moment, from), optimizer->pieces + (from - at),
               (size_t)(to - from) * sizeof(float));
    }
    return CM3_OK;
}
