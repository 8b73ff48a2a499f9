/* The memory bank: opening, looking at records, giving back. */
#include "retrieve/bank.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/options.h"
#include "files/system.h"

#define MOST_TRIES 100

cm3_status cm3_bank_new(cm3_context *context, const char *path, cm3_bank **out) {
    *out = NULL;
    cm3_bank *bank = cm3_calloc(context, 1, sizeof *bank);
    if (!bank) return cm3_fail_memory(context, sizeof *bank, path);
    bank->path = cm3_strndup(context, path, strlen(path));
    const bool locks = pthread_rwlock_init(&bank->lock, NULL) == 0;
    if (!bank->path || !locks || pthread_mutex_init(&bank->writing, NULL) != 0) {
        if (locks) pthread_rwlock_destroy(&bank->lock);
        cm3_free(context, bank->path);
        cm3_free(context, bank);
        return cm3_fail_memory(context, sizeof *bank, path);
    }
    bank->context = context;
    bank->at.fd = -1;
    atomic_init(&bank->references, 1);
    cm3_context_retain(context);
    *out = bank;
    return CM3_OK;
}

void cm3_bank_destroy(cm3_bank *bank) {
    if (!bank || atomic_fetch_sub(&bank->references, 1) != 1) return;
    cm3_context *context = bank->context;
    if (bank->at.data) munmap((void *)(uintptr_t)bank->at.data, bank->at.mapped);
    if (bank->at.fd >= 0) close(bank->at.fd);
    pthread_rwlock_destroy(&bank->lock);
    pthread_mutex_destroy(&bank->writing);
    cm3_digests_clear(context, &bank->at.digests);
    for (int i = 0; i < bank->walker_count; i++) cm3_hnsw_walker_clear(context, &bank->walkers[i]);
    cm3_free(context, bank->walkers);
    cm3_free(context, bank->at.parts);
    cm3_free(context, bank->at.graphs);
    cm3_free(context, bank->at.deleted);
    cm3_free(context, bank->buffer);
    cm3_free(context, bank->path);
    cm3_free(context, bank);
    cm3_context_release(context);
}

cm3_status cm3_bank_retain(cm3_bank *bank) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    atomic_fetch_add(&bank->references, 1);
    return CM3_OK;
}

cm3_status cm3_bank_map(cm3_bank *bank) {
    const size_t size = (size_t)bank->at.end.offset;
    if (size <= bank->at.mapped) return CM3_OK;
    void *data = bank->at.data ? mremap((void *)(uintptr_t)bank->at.data, bank->at.mapped, size, MREMAP_MAYMOVE)
                               : mmap(NULL, size, PROT_READ, MAP_SHARED, bank->at.fd, 0);
    if (data == MAP_FAILED) return cm3_fail_system(bank->context, bank->path, "mapping", errno);
    bank->at.data = data;
    bank->at.mapped = size;
    return CM3_OK;
}

static cm3_status grow_deleted(cm3_bank *bank, uint64_t records) {
    const size_t before = bank->at.deleted_capacity;
    CM3_TRY(cm3_grow(bank->context, &bank->at.deleted, &bank->at.deleted_capacity, (size_t)(records / 8 + 1), 1,
                     bank->path));
    memset(bank->at.deleted + before, 0, bank->at.deleted_capacity - before);
    return CM3_OK;
}

cm3_status cm3_bank_take_block(cm3_bank *bank, uint64_t offset, const cm3_bank_block *block) {
    if (block->type == CM3_BLOCK_RECORDS) {
        CM3_TRY(grow_deleted(bank, block->first + block->count));
        CM3_TRY(cm3_grow(bank->context, &bank->at.parts, &bank->at.part_capacity, bank->at.part_count + 1,
                         sizeof *bank->at.parts, bank->path));
        bank->at.parts[bank->at.part_count++] = (cm3_bank_part){.first = block->first,
                                                                .count = block->count,
                                                                .vectors = offset + block->vectors,
                                                                .scales = offset + block->scales,
                                                                .digests = offset + block->digests,
                                                                .entries = offset + block->entries,
                                                                .blob = offset + block->blob,
                                                                .blob_size = block->blob_size};
        return CM3_OK;
    }
    if (block->type == CM3_BLOCK_GRAPH) {
        CM3_TRY(cm3_grow(bank->context, &bank->at.graphs, &bank->at.graph_capacity, bank->at.graph_count + 1,
                         sizeof *bank->at.graphs, bank->path));
        bank->at.graphs[bank->at.graph_count++] = (cm3_bank_graph){.first = block->first,
                                                                   .count = block->count,
                                                                   .rows = offset + block->vectors,
                                                                   .scales = offset + block->scales,
                                                                   .ground = offset + block->entries,
                                                                   .places = offset + block->digests,
                                                                   .upper = offset + block->blob,
                                                                   .upper_count = block->blob_size / sizeof(uint32_t),
                                                                   .m = block->m,
                                                                   .entry = block->entry,
                                                                   .ef_construction = block->ef_construction};
        return CM3_OK;
    }
    const uint64_t *ids = (const uint64_t *)(const void *)(block + 1);
    const uint64_t records = bank->at.part_count ? bank->at.parts[bank->at.part_count - 1].first +
                                                       bank->at.parts[bank->at.part_count - 1].count
                                                 : 0;
    for (uint64_t i = 0; i < block->count; i++) {
        /* An id that makes no sense is a flipped bit, of which verifying tells. */
        if (ids[i] >= records || cm3_bank_is_deleted(bank, ids[i])) continue;
        bank->at.deleted[ids[i] / 8] |= (uint8_t)(1u << ids[i] % 8);
        bank->at.deleted_count++;
    }
    return CM3_OK;
}

/**
 * Takes up blocks of records that a mark covers: all that is wanted of them is their heads, and to read these costs a
 * tenth of what looking at as many places of a mapping does. The first other block, or one that is not as it should be,
 * is left to the caller.
 */
static cm3_status take_heads(cm3_bank *bank, uint64_t until, uint64_t size) {
    while (bank->at.end.offset < until) {
        cm3_bank_block head;
        cm3_bank_place place = bank->at.end;
        if (pread(bank->at.fd, &head, sizeof head, (off_t)place.offset) != (ssize_t)sizeof head) return CM3_OK;
        if (head.type != CM3_BLOCK_RECORDS) return CM3_OK;
        if (cm3_bank_block_check(bank->context, bank->path, &bank->at.form, &head, size, false, &place) != CM3_OK) {
            return CM3_OK;
        }
        CM3_TRY(cm3_bank_take_block(bank, bank->at.end.offset, &head));
        bank->at.end = place;
    }
    return CM3_OK;
}

/** Blocks from bank->at.end on, of a file of `size` bytes at `data`. */
static cm3_status take_blocks(cm3_bank *bank, const uint8_t *data, uint64_t size) {
    cm3_bank_mark mark = {0};
    cm3_bank_last_mark(data, &mark);
    for (;;) {
        CM3_TRY(take_heads(bank, mark.end, size));
        /* What a mark covers was whole: where it is not now, something else went wrong, which is to be told. */
        const bool sure = bank->at.end.offset < mark.end;
        cm3_bank_place place = bank->at.end;
        const cm3_bank_block *block;
        cm3_status status =
            cm3_bank_block_at(bank->context, bank->path, &bank->at.form, data, size, sure, &place, &block);
        if (status != CM3_OK) return sure ? status : CM3_OK;
        if (!sure && !cm3_bank_block_whole(block)) return CM3_OK;
        CM3_TRY(cm3_bank_take_block(bank, bank->at.end.offset, block));
        bank->at.end = place;
    }
}

/** Maps all of the file for as long as it is being read. */
static cm3_status read_blocks(cm3_bank *bank) {
    struct stat info;
    if (fstat(bank->at.fd, &info) != 0) return cm3_fail_system(bank->context, bank->path, "stat", errno);
    const uint64_t size = (uint64_t)info.st_size;
    if (size <= bank->at.end.offset && bank->at.data) return CM3_OK;
    const uint8_t *data = size ? mmap(NULL, size, PROT_READ, MAP_SHARED, bank->at.fd, 0) : NULL;
    if (data == MAP_FAILED) return cm3_fail_system(bank->context, bank->path, "mapping", errno);
    cm3_status status = CM3_OK;
    if (!bank->at.data) {
        status = cm3_bank_head_check(bank->context, bank->path, data, size);
        if (status == CM3_OK) {
            memcpy(&bank->at.head, data, sizeof bank->at.head);
            status = cm3_vectors_form_make(bank->context, (cm3_vector_type)bank->at.head.vectors,
                                           bank->at.head.dimension, &bank->at.form);
            if (status == CM3_ERROR_INVALID_ARGUMENT) status = CM3_ERROR_FORMAT;
        }
        bank->at.end = cm3_bank_first_place(&bank->at.head);
    }
    if (status == CM3_OK) status = take_blocks(bank, data, size);
    if (data) munmap((void *)(uintptr_t)data, size);
    return status == CM3_OK ? cm3_bank_map(bank) : status;
}

cm3_status cm3_bank_lock_file(cm3_bank *bank, const char *path, int fd) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return CM3_OK;
    if (errno == EACCES || errno == EAGAIN) {
        return cm3_fail(bank->context, CM3_ERROR_BUSY, "%s: another writer has this bank open", path);
    }
    return cm3_fail_system(bank->context, path, "locking", errno);
}

/** Opens and, for a writer, locks what stands at the path; one that was put in its place meanwhile is taken instead. */
static cm3_status open_file(cm3_bank *bank) {
    for (int i = 0; i < MOST_TRIES; i++) {
        bank->at.fd = open(bank->path, (bank->writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY);
        struct stat ours, there;
        if (bank->at.fd < 0) return cm3_fail_system(bank->context, bank->path, "opening", errno);
        if (fstat(bank->at.fd, &ours) != 0) return cm3_fail_system(bank->context, bank->path, "stat", errno);
        if (!S_ISREG(ours.st_mode)) {
            return cm3_fail(bank->context, CM3_ERROR_FORMAT, "%s: no regular file", bank->path);
        }
        bank->at.inode = ours.st_ino;
        bank->at.device = ours.st_dev;
        if (!bank->writes) return CM3_OK;
        CM3_TRY(cm3_bank_lock_file(bank, bank->path, bank->at.fd));
        if (stat(bank->path, &there) == 0 && there.st_ino == ours.st_ino && there.st_dev == ours.st_dev) return CM3_OK;
        close(bank->at.fd);
        bank->at.fd = -1;
    }
    return cm3_fail(bank->context, CM3_ERROR_BUSY, "%s: it is replaced over and over", bank->path);
}

cm3_status cm3_bank_read_file(cm3_bank *bank) {
    CM3_TRY(open_file(bank));
    return read_blocks(bank);
}

cm3_status cm3_bank_open(cm3_context *context, const char *path, cm3_bank_mode mode, cm3_bank **out) {
    if (out) *out = NULL;
    if (!context) return CM3_ERROR_INVALID_ARGUMENT;
    if (!path || !out || (mode != CM3_BANK_READ && mode != CM3_BANK_WRITE)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_bank_open: an argument is NULL or no mode");
    }
    cm3_bank *bank;
    CM3_TRY(cm3_bank_new(context, path, &bank));
    bank->writes = mode == CM3_BANK_WRITE;
    cm3_status status = cm3_bank_read_file(bank);
    if (status != CM3_OK) {
        cm3_bank_destroy(bank);
        return status;
    }
    *out = bank;
    return CM3_OK;
}

static cm3_status refresh(cm3_bank *bank) {
    struct stat there;
    /* A writer's own view is never behind; a file that was taken away stays readable. */
    if (bank->writes) return CM3_OK;
    const bool gone = stat(bank->path, &there) != 0;
    if (gone || (there.st_ino == bank->at.inode && there.st_dev == bank->at.device)) return read_blocks(bank);
    cm3_bank *fresh;
    CM3_TRY(cm3_bank_open(bank->context, bank->path, CM3_BANK_READ, &fresh));
    if (fresh->at.form.dimension != bank->at.form.dimension) {
        cm3_status status = cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT,
                                     "%s: another bank is in its place: vectors of %lld numbers, not %lld", bank->path,
                                     (long long)fresh->at.form.dimension, (long long)bank->at.form.dimension);
        cm3_bank_destroy(fresh);
        return status;
    }
    const cm3_bank_state old = bank->at;
    bank->at = fresh->at;
    fresh->at = old;
    cm3_bank_destroy(fresh);
    return CM3_OK;
}

cm3_status cm3_bank_refresh(cm3_bank *bank) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_rwlock_wrlock(&bank->lock);
    cm3_status status = refresh(bank);
    pthread_rwlock_unlock(&bank->lock);
    return status;
}

cm3_status cm3_bank_get_info(const cm3_bank *bank, cm3_bank_info *info) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_rwlock_t *lock = (pthread_rwlock_t *)(uintptr_t)&bank->lock;
    pthread_rwlock_rdlock(lock);
    struct stat file;
    uint64_t size = fstat(bank->at.fd, &file) == 0 ? (uint64_t)file.st_size : bank->at.end.offset;
    const cm3_bank_info told = {
        .records = bank->at.end.records - bank->at.deleted_count,
        .deleted = bank->at.deleted_count,
        .end = bank->at.end.records,
        .indexed = bank->at.end.indexed,
        .bytes = bank->at.end.offset,
        .left_over = size > bank->at.end.offset ? size - bank->at.end.offset : 0,
        .dimension = (int32_t)bank->at.form.dimension,
        .vectors = bank->at.form.type,
        .encoder_name = bank->at.head.encoder_name,
        .encoder_hash = {bank->at.head.encoder.low, bank->at.head.encoder.high},
        .image_hash = {bank->at.head.image.low, bank->at.head.image.high},
    };
    pthread_rwlock_unlock(lock);
    return cm3_options_write(bank->context, info, &told, sizeof told, "cm3_bank_info");
}
