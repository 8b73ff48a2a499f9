/* Reading the parts of a `.bank` file; nothing of it is believed before it is checked. */
#include "retrieve/bank_file.h"

#include <stddef.h>
#include <string.h>

#include "base/memory.h"
#include "retrieve/hnsw.h"

cm3_status cm3_bank_head_check(cm3_context *context, const char *name, const uint8_t *data, size_t size) {
    const cm3_bank_head *head = (const cm3_bank_head *)data;
    if (size < sizeof head->magic || memcmp(head->magic, CM3_BANK_MAGIC, sizeof head->magic) != 0) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: no memory bank: it does not begin with \"CM3BANK\"", name);
    }
    if (size < CM3_BANK_HEAD_SIZE) {
        return cm3_fail(context, CM3_ERROR_TRUNCATED, "%s: %zu bytes, a memory bank has at least %d", name, size,
                        CM3_BANK_HEAD_SIZE);
    }
    if (head->version != CM3_BANK_VERSION) {
        return cm3_fail(context, CM3_ERROR_VERSION, "%s: version %u, this library reads %d", name, head->version,
                        CM3_BANK_VERSION);
    }
    if (head->sum != cm3_hash(head, offsetof(cm3_bank_head, sum))) {
        return cm3_fail(context, CM3_ERROR_CHECKSUM, "%s: the head (bytes 0 to %zu) is not what its sum says", name,
                        sizeof *head);
    }
    if (memchr(head->encoder_name, 0, sizeof head->encoder_name) == NULL) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: the encoder's name has no end", name);
    }
    return CM3_OK;
}

bool cm3_bank_mark_good(const cm3_bank_mark *mark) {
    return mark->sum == cm3_hash(mark, offsetof(cm3_bank_mark, sum)) && mark->end >= CM3_BANK_HEAD_SIZE;
}

bool cm3_bank_last_mark(const uint8_t *data, cm3_bank_mark *mark) {
    bool found = false;
    for (int i = 0; i < 2; i++) {
        /* A copy: a writer may be at it. */
        cm3_bank_mark one;
        memcpy(&one, data + CM3_BANK_MARKS_AT + (size_t)i * sizeof one, sizeof one);
        if (!cm3_bank_mark_good(&one) || (found && one.blocks < mark->blocks)) continue;
        *mark = one;
        found = true;
    }
    return found;
}

cm3_bank_place cm3_bank_first_place(const cm3_bank_head *head) {
    return (cm3_bank_place){.offset = CM3_BANK_HEAD_SIZE, .chain = head->sum};
}

cm3_bank_place cm3_bank_place_behind(const cm3_bank_place *place, const cm3_bank_block *block) {
    cm3_bank_place behind = {.offset = place->offset + block->size,
                             .number = place->number + 1,
                             .chain = block->sum,
                             .records = place->records,
                             .indexed = place->indexed};
    if (block->type == CM3_BLOCK_RECORDS) behind.records += block->count;
    if (block->type == CM3_BLOCK_GRAPH) behind.indexed += block->count;
    return behind;
}

/** Whether `count` things of `each` bytes at `at` lie in the block behind its head. */
static bool inside(const cm3_bank_block *block, uint64_t at, uint64_t count, uint64_t each) {
    uint64_t bytes, end;
    return !__builtin_mul_overflow(count, each, &bytes) && !__builtin_add_overflow(at, bytes, &end) &&
           at >= sizeof *block && at % CM3_BANK_ALIGNMENT == 0 && end <= block->size;
}

/** What is wrong with a graph's parts, or NULL; what the lists hold is looked at by those who walk along them. */
static const char *check_graph(const cm3_bank_block *block, const cm3_vectors_form *form, const cm3_bank_place *place) {
    if (block->first != place->indexed) return "its graph does not go on from the last";
    if (!block->count || block->count > CM3_HNSW_MOST_NODES || block->count > place->records - place->indexed) {
        return "its graph is of no records, or of more than there are";
    }
    if (block->m < 2 || block->m > CM3_HNSW_MOST_M || block->entry >= block->count || block->ef_construction < 4 ||
        block->ef_construction > 4096) {
        return "its graph cannot be";
    }
    const uint64_t line = (uint64_t)cm3_hnsw_line(block->m) * sizeof(uint32_t);
    if (!inside(block, block->vectors, block->count, (uint64_t)cm3_hnsw_width(form->dimension)) ||
        !inside(block, block->scales, block->count, sizeof(float)) ||
        !inside(block, block->digests, block->count, sizeof(uint32_t)) ||
        !inside(block, block->entries, block->count, line) ||
        !inside(block, block->blob, block->blob_size, sizeof(char)) || block->blob_size % sizeof(uint32_t) ||
        block->blob_size / sizeof(uint32_t) >= CM3_HNSW_NONE) {
        return "its parts do not fit it";
    }
    return NULL;
}

/** What is wrong with the parts of a block, or NULL. */
static const char *check_parts(const cm3_bank_block *block, const cm3_vectors_form *form, const cm3_bank_place *place) {
    if (block->type == CM3_BLOCK_DELETED) {
        return inside(block, sizeof *block, block->count, sizeof(uint64_t)) ? NULL : "its ids do not fit it";
    }
    if (block->type == CM3_BLOCK_GRAPH) return check_graph(block, form, place);
    if (block->type != CM3_BLOCK_RECORDS) return "of no known type";
    if (block->first != place->records) return "its records do not go on from the last";
    if (!block->count || block->count > UINT32_MAX) return "it has no records, or too many";
    if (!inside(block, block->vectors, block->count, cm3_vector_size(form)) ||
        !inside(block, block->scales, block->count, cm3_vector_scales(form) * sizeof(uint16_t)) ||
        !inside(block, block->digests, block->count, sizeof(cm3_digest)) ||
        !inside(block, block->entries, block->count, sizeof(cm3_bank_entry)) ||
        !inside(block, block->blob, block->blob_size, 1)) {
        return "its parts do not fit it";
    }
    return NULL;
}

cm3_status cm3_bank_block_at(cm3_context *context, const char *name, const cm3_vectors_form *form, const uint8_t *data,
                             uint64_t size, bool tells, cm3_bank_place *place, const cm3_bank_block **found) {
    *found = NULL;
    const bool there = place->offset <= size && size - place->offset >= sizeof **found;
    const cm3_bank_block *block = there ? (const cm3_bank_block *)(const void *)(data + place->offset) : NULL;
    CM3_TRY(cm3_bank_block_check(context, name, form, block, size, tells, place));
    *found = block;
    return CM3_OK;
}

cm3_status cm3_bank_block_check(cm3_context *context, const char *name, const cm3_vectors_form *form,
                                const cm3_bank_block *block, uint64_t size, bool tells, cm3_bank_place *place) {
    const char *wrong = NULL;
    if (!block || place->offset > size || size - place->offset < sizeof *block) {
        wrong = "the file ends before it";
    } else if (memcmp(block->magic, CM3_BLOCK_MAGIC, sizeof block->magic) != 0) {
        wrong = "no block stands there";
    } else if (block->sum != cm3_hash(block, offsetof(cm3_bank_block, sum))) {
        wrong = "its head is not what its sum says";
    } else if (block->chain != place->chain || block->number != place->number) {
        wrong = "it does not follow the block before it";
    } else if (block->size < sizeof *block || block->size % CM3_BANK_ALIGNMENT || block->size > size - place->offset) {
        wrong = "the file ends before it does";
    } else {
        wrong = check_parts(block, form, place);
    }
    if (wrong) {
        if (!tells) return CM3_ERROR_CHECKSUM;
        return cm3_fail(context, CM3_ERROR_CHECKSUM, "%s: block %llu at byte %llu: %s", name,
                        (unsigned long long)place->number, (unsigned long long)place->offset, wrong);
    }
    *place = cm3_bank_place_behind(place, block);
    return CM3_OK;
}

bool cm3_bank_block_whole(const cm3_bank_block *block) {
    return block->payload_sum == cm3_hash(block + 1, block->size - sizeof *block);
}
