/*
 * What a `.bank` file is made of. All numbers are little-endian; blocks begin at multiples of 64.
 *
 *   head     0..4095: cm3_bank_head, then at 512 and 576 two cm3_bank_mark; the rest is zero
 *   blocks   one behind the other, each a cm3_bank_block and what it holds. A block is a commit: it is there when it is
 *            whole, and it names the sum of the block before it, so that what an interrupted append left behind is
 *            never taken for one
 *   marks    where the last commits ended, written in turn: what lies before one was whole when it was written, so
 *            that only blocks behind it are compared with their sums when a bank is opened
 */
#ifndef CM3_RETRIEVE_BANK_FILE_H
#define CM3_RETRIEVE_BANK_FILE_H

#include "files/hash.h"
#include "retrieve/vectors.h"

#define CM3_BANK_MAGIC "CM3BANK\n"
#define CM3_BANK_VERSION 1
#define CM3_BANK_HEAD_SIZE 4096
#define CM3_BANK_MARKS_AT 512
#define CM3_BANK_ALIGNMENT 64
#define CM3_BANK_NAME_SIZE 64

typedef struct cm3_bank_head {
    char magic[8];
    uint32_t version;
    uint32_t vectors; /**< cm3_vector_type */
    uint32_t dimension;
    uint32_t zero;
    uint64_t identity[2]; /**< of this file, drawn when it was made */
    cm3_digest encoder, image;
    char encoder_name[CM3_BANK_NAME_SIZE];
    uint64_t reserved[40];
    uint64_t sum; /**< XXH3-64 of what stands before it */
} cm3_bank_head;
_Static_assert(sizeof(cm3_bank_head) <= CM3_BANK_MARKS_AT, "the marks lie behind the head");

typedef struct cm3_bank_mark {
    uint64_t blocks, end, chain; /**< the sum of the last block */
    uint64_t reserved[4];
    uint64_t sum;
} cm3_bank_mark;
_Static_assert(sizeof(cm3_bank_mark) == 64, "a mark is as large as it is in files");

typedef enum cm3_bank_block_type {
    CM3_BLOCK_RECORDS = 1,
    CM3_BLOCK_DELETED = 2,
    CM3_BLOCK_GRAPH = 3 /**< over records that are there already, in the order of their ids, without a gap */
} cm3_bank_block_type;

typedef struct cm3_bank_block {
    char magic[4];
    uint32_t type;
    uint64_t number; /**< from 0 */
    uint64_t size;   /**< of all, this head included */
    uint64_t chain;  /**< sum of the block before it, or of the file's head */
    uint64_t first;  /**< of records: the id of the first */
    uint64_t count;  /**< records, or ids */
    /**
     * Where each begins, from the block's start. Of records; DELETED has the ids [count], u64, right behind this head.
     * GRAPH (see cm3_hnsw): `vectors` are its rows [count, width], i8; `scales` [count], f32; `entries` the ground
     * lists [count, line], u32; `digests` the places [count], u32; `blob` the upper lists, u32.
     */
    uint64_t vectors, scales, digests, entries, blob;
    uint64_t blob_size;
    uint32_t m, entry; /**< GRAPH: neighbours, and the node where searches begin; else 0 */
    uint32_t ef_construction;
    uint32_t zero;
    uint64_t payload_sum; /**< XXH3-64 of what stands behind this head */
    uint64_t sum;         /**< XXH3-64 of what stands before it */
} cm3_bank_block;
_Static_assert(sizeof(cm3_bank_block) == 128, "a block's head is as large as it is in files");
#define CM3_BLOCK_MAGIC "CM3b"

/** A record's place in its block's blob: picture, then text, then key, none with a NUL. */
typedef struct cm3_bank_entry {
    uint64_t offset;
    uint32_t image_size; /**< bytes */
    uint32_t text_size, key_size;
    uint32_t kind; /**< cm3_bank_image_kind, and CM3_ENTRY_HAS_TEXT */
} cm3_bank_entry;

typedef enum cm3_bank_image_kind {
    CM3_BANK_NO_IMAGE = 0,
    CM3_BANK_FILE_IMAGE = 1, /**< a JPEG or PNG */
    CM3_BANK_CODES_16 = 2,   /**< codes as u16 */
    CM3_BANK_CODES_32 = 3    /**< codes as i32 */
} cm3_bank_image_kind;
#define CM3_ENTRY_IMAGE_MASK 15u
#define CM3_ENTRY_HAS_TEXT 16u

/** `size` brought up to a multiple of the alignment; at most 2^62. */
static inline uint64_t cm3_bank_align(uint64_t size) {
    return (size + CM3_BANK_ALIGNMENT - 1) / CM3_BANK_ALIGNMENT * CM3_BANK_ALIGNMENT;
}

/** The head of a file of `size` bytes at `data`. `name` is for messages. Errors: FORMAT, VERSION, TRUNCATED, CHECKSUM.
 */
cm3_status cm3_bank_head_check(cm3_context *context, const char *name, const uint8_t *data, size_t size);
/** Whether a mark is whole. */
bool cm3_bank_mark_good(const cm3_bank_mark *mark);
/** The mark of the later of the commits that are marked; false where neither mark is whole. */
bool cm3_bank_last_mark(const uint8_t *data, cm3_bank_mark *mark);

/** Where a reader of blocks stands: behind block number - 1. */
typedef struct cm3_bank_place {
    uint64_t offset, number, chain, records;
    uint64_t indexed; /**< records that graphs cover: the first so many */
} cm3_bank_place;

/** The place of the first block; the one behind a block that stands at `place`. */
cm3_bank_place cm3_bank_first_place(const cm3_bank_head *head);
cm3_bank_place cm3_bank_place_behind(const cm3_bank_place *place, const cm3_bank_block *block);

/**
 * The block at `place`, whose head is checked against its sum, the chain, and the file's size, and whose parts lie
 * inside it; the place moves behind it. *block is NULL where no such block stands there. Errors, told to the context
 * only where `tells`: CHECKSUM.
 */
cm3_status cm3_bank_block_at(cm3_context *context, const char *name, const cm3_vectors_form *form, const uint8_t *data,
                             uint64_t size, bool tells, cm3_bank_place *place, const cm3_bank_block **block);
/** The same of a head that was read from there, with room for nothing but it; NULL: the file ends before. */
cm3_status cm3_bank_block_check(cm3_context *context, const char *name, const cm3_vectors_form *form,
                                const cm3_bank_block *block, uint64_t size, bool tells, cm3_bank_place *place);
/** Whether what stands behind a block's head is as its sum says. */
bool cm3_bank_block_whole(const cm3_bank_block *block);

#endif
