/* The inside of a memory bank: its file, its blocks, and what is known of its records. */
#ifndef CM3_RETRIEVE_BANK_H
#define CM3_RETRIEVE_BANK_H

#include <pthread.h>
#include <stdatomic.h>

#include "retrieve/bank_file.h"
#include "retrieve/digests.h"
#include "retrieve/hnsw.h"

/** A block of records: what its head said when it was checked. Offsets are from the file's beginning. */
typedef struct cm3_bank_part {
    uint64_t first, count;
    uint64_t vectors, scales, digests, entries, blob, blob_size;
} cm3_bank_part;

/** A graph over records: likewise. */
typedef struct cm3_bank_graph {
    uint64_t first, count;
    uint64_t rows, scales, ground, places, upper, upper_count;
    uint32_t m, entry, ef_construction;
} cm3_bank_graph;

/** A file that is open, and what is known of it. */
typedef struct cm3_bank_state {
    int fd;
    uint64_t inode, device;
    const uint8_t *data; /**< mapped: the head and all committed blocks */
    size_t mapped;
    cm3_bank_head head;
    cm3_vectors_form form;
    cm3_bank_place end; /**< behind the last block */
    cm3_bank_part *parts;
    size_t part_count, part_capacity;
    cm3_bank_graph *graphs; /**< the first over the first records, the next over those behind them */
    size_t graph_count, graph_capacity;
    uint8_t *deleted; /**< a bit a record */
    size_t deleted_capacity;
    uint64_t deleted_count;
    cm3_digests digests; /**< of live records; empty until something is added */
} cm3_bank_state;

struct cm3_bank {
    cm3_context *context;
    atomic_int references;
    char *path;
    bool writes;
    bool broken; /**< a sync failed: nobody knows what is on the disk */
    /** Of calls that change the bank: one at a time. Taken before `lock`. */
    pthread_mutex_t writing;
    /** Held for reading by calls that read `at`, for writing while it changes. */
    pthread_rwlock_t lock;
    cm3_bank_state at;
    uint8_t *buffer; /**< of the block being made */
    size_t buffer_capacity;
    cm3_hnsw_walker
        *walkers; /**< a member of the team each, made by the first search of a graph; the compute thread's */
    int walker_count;
};

static inline bool cm3_bank_is_deleted(const cm3_bank *bank, uint64_t id) {
    return bank->at.deleted[id / 8] >> id % 8 & 1;
}

/** Part that holds a record; NULL beyond the end. */
const cm3_bank_part *cm3_bank_part_of(const cm3_bank *bank, uint64_t id);
/** A part's vectors, where they are mapped. */
cm3_vectors cm3_bank_part_vectors(const cm3_bank *bank, const cm3_bank_part *part);
/** A graph, where it is mapped. */
cm3_hnsw cm3_bank_graph_of(const cm3_bank *bank, const cm3_bank_graph *graph);
/** A record's place; NULL with CHECKSUM where it makes no sense. *blob is where the part's blob begins. */
const cm3_bank_entry *cm3_bank_entry_of(const cm3_bank *bank, const cm3_bank_part *part, uint64_t id,
                                        const uint8_t **blob);

/** Takes up a block that was found or written: records, or what it takes out. */
cm3_status cm3_bank_take_block(cm3_bank *bank, uint64_t offset, const cm3_bank_block *block);
/** Maps to the end of the last block. */
cm3_status cm3_bank_map(cm3_bank *bank);
/** Opens the file at the bank's path and reads it from its beginning. */
cm3_status cm3_bank_read_file(cm3_bank *bank);

/* writing.c */

/** A new file at `path`, locked, its head written, in an empty bank. `replaces`: a file that is in the way is cut off.
 */
cm3_status cm3_bank_make_file(cm3_bank *bank, const char *path, const cm3_bank_head *head, bool replaces);
/** Writes `size` bytes of bank->buffer, a block whose head lacks number, chain and sums, as the next; takes it up. */
cm3_status cm3_bank_commit(cm3_bank *bank, size_t size, bool sync);
/** The two halves of the same, for a block anywhere in memory. Writing leaves the bank as it is: `lock` need not be
 * held for it. */
cm3_status cm3_bank_write_block(cm3_bank *bank, cm3_bank_block *block, size_t size, bool sync);
cm3_status cm3_bank_take_up(cm3_bank *bank, const cm3_bank_block *block);
/** Whether the bank may be written to. Errors: INVALID_ARGUMENT, IO. */
cm3_status cm3_bank_check_writes(const cm3_bank *bank);
/** cm3_bank_add() with the lock held; `raw`, where not NULL, are `count` vectors as kept, with their scales, and those
 * of the records are not looked at. */
cm3_status cm3_bank_append(cm3_bank *bank, const cm3_bank_record *records, size_t count, const void *raw,
                           const uint16_t *raw_scales, const cm3_bank_add_options *options, uint64_t *ids);
/** An empty bank object; the lock is made. */
cm3_status cm3_bank_new(cm3_context *context, const char *path, cm3_bank **bank);
/** The lock of the file for one writer. Errors: BUSY. */
cm3_status cm3_bank_lock_file(cm3_bank *bank, const char *path, int fd);

/* index.c */

/** cm3_bank_index() with `writing` held; `lock` is taken where the graph is taken up. */
cm3_status cm3_bank_index_locked(cm3_bank *bank, const cm3_index_options *options);

/* search.c */

/** Searches with the lock held, on the compute thread that it is called on. */
cm3_status cm3_bank_search_locked(const cm3_bank *bank, const float *queries, size_t count,
                                  const cm3_search_options *options, cm3_hit *hits, size_t *found);
/** The same from any thread. */
cm3_status cm3_bank_search_run(const cm3_bank *bank, const float *queries, size_t count,
                               const cm3_search_options *options, cm3_hit *hits, size_t *found);

#endif
