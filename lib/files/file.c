/* Whole files as bytes. */
#include "files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files/system.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define READ_CHUNK ((size_t)16 << 20)

/* A cm3_file and what it takes to give it back. */
typedef struct file_body {
    cm3_file file;
    cm3_context *context;
    _Atomic int64_t holds;
    void *mapping; /**< to unmap, or NULL */
    void *buffer;  /**< to free, or NULL */
    bool on_disk;  /**< the mapping is of a file */
    char name[];
} file_body;

/* What `data` points to where a file is empty. */
static const uint8_t nothing[1];

static file_body *body_of(cm3_file *file) {
    return (file_body *)file;
}

/* An empty file of that name, held once. */
static cm3_status create(cm3_context *context, const char *name, file_body **body) {
    size_t length = strlen(name), size;
    *body = NULL;
    if (!cm3_add_size(sizeof **body + 1, length, &size)) return cm3_fail_memory(context, SIZE_MAX, "file");
    *body = cm3_calloc(context, 1, size);
    if (*body == NULL) return cm3_fail_memory(context, size, name);
    memcpy((*body)->name, name, length + 1);
    (*body)->file.name = (*body)->name;
    (*body)->file.data = nothing;
    (*body)->context = context;
    atomic_init(&(*body)->holds, 1);
    cm3_context_retain(context);
    return CM3_OK;
}

void cm3_file_retain(cm3_file *file) {
    atomic_fetch_add(&body_of(file)->holds, 1);
}

void cm3_file_release(cm3_file *file) {
    if (file == NULL || atomic_fetch_sub(&body_of(file)->holds, 1) != 1) return;
    file_body *body = body_of(file);
    cm3_context *context = body->context;
    if (body->mapping != NULL) munmap(body->mapping, file->size);
    cm3_free(context, body->buffer);
    cm3_free(context, body);
    cm3_context_release(context);
}

void cm3_file_forget(const cm3_file *file) {
    const file_body *body = (const file_body *)file;
    if (body->on_disk) madvise(body->mapping, file->size, MADV_DONTNEED);
}

/* Reads from where `fd` stands to the end: pipes, devices, and what says it is empty but is not (as in /proc). */
static cm3_status read_all(file_body *body, int fd) {
    size_t capacity = 0, size = 0;
    for (;;) {
        uint8_t *buffer = body->buffer;
        if (size == capacity) {
            size_t wanted = capacity == 0 ? 65536 : capacity;
            if (!cm3_add_size(wanted, capacity, &wanted)) wanted = SIZE_MAX;
            buffer = cm3_realloc(body->context, body->buffer, wanted);
            if (buffer == NULL) return cm3_fail_memory(body->context, wanted, body->name);
            body->buffer = buffer;
            capacity = wanted;
        }
        size_t room = capacity - size < READ_CHUNK ? capacity - size : READ_CHUNK;
        ssize_t got = read(fd, buffer + size, room);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return cm3_fail_system(body->context, body->name, "reading", errno);
        if (got == 0) break;
        size += (size_t)got;
    }
    body->file.data = body->buffer;
    body->file.size = size;
    return CM3_OK;
}

static cm3_status fill_from(file_body *body, int fd) {
    struct stat info;
    if (fstat(fd, &info) != 0) return cm3_fail_system(body->context, body->name, "stat", errno);
    if (S_ISDIR(info.st_mode)) return cm3_fail_system(body->context, body->name, "reading", EISDIR);
    if (S_ISREG(info.st_mode) && info.st_size > 0 && (uint64_t)info.st_size <= PTRDIFF_MAX) {
        size_t size = (size_t)info.st_size;
        void *mapping = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (mapping != MAP_FAILED) {
            body->mapping = mapping;
            body->on_disk = true;
            body->file.data = mapping;
            body->file.size = size;
            return CM3_OK;
        }
        /* Some file systems cannot map; they can still read. */
        if (errno != ENODEV && errno != EINVAL) return cm3_fail_system(body->context, body->name, "mapping", errno);
    }
    return read_all(body, fd);
}

cm3_status cm3_file_open(cm3_context *context, const char *path, cm3_file **file) {
    *file = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return cm3_fail_system(context, path, "opening", errno);
    file_body *body;
    cm3_status status = create(context, path, &body);
    if (status == CM3_OK) status = fill_from(body, fd);
    close(fd);
    if (status != CM3_OK) {
        if (body != NULL) cm3_file_release(&body->file);
        return status;
    }
    *file = &body->file;
    return CM3_OK;
}

cm3_status cm3_file_from_memory(cm3_context *context, const void *data, size_t size, cm3_file **file) {
    *file = NULL;
    if (data == NULL && size > 0) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "memory: %zu bytes at NULL", size);
    }
    file_body *body;
    CM3_TRY(create(context, "memory", &body));
    if (size > 0) body->file.data = data;
    body->file.size = size;
    *file = &body->file;
    return CM3_OK;
}

static cm3_status check_io(cm3_context *context, const cm3_io *io) {
    if (io == NULL) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "io: NULL");
    if (io->struct_size < sizeof *io) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "io: struct_size is %zu, expected %zu", io->struct_size,
                        sizeof *io);
    }
    if (io->read_at == NULL) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "io: read_at is NULL");
    if (io->size > PTRDIFF_MAX) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "io: %llu bytes do not fit memory",
                        (unsigned long long)io->size);
    }
    return CM3_OK;
}

static cm3_status read_io(file_body *body, const cm3_io *io) {
    size_t size = (size_t)io->size;
    if (size == 0) return CM3_OK;
    uint8_t *buffer = cm3_alloc(body->context, size);
    if (buffer == NULL) return cm3_fail_memory(body->context, size, body->name);
    body->buffer = buffer;
    for (size_t offset = 0; offset < size;) {
        size_t part = size - offset < READ_CHUNK ? size - offset : READ_CHUNK;
        int error = io->read_at(io->user, offset, buffer + offset, part);
        if (error != 0) {
            return cm3_fail(body->context, CM3_ERROR_IO, "io: read_at(%zu, %zu bytes) returned %d", offset, part,
                            error);
        }
        offset += part;
    }
    body->file.data = buffer;
    body->file.size = size;
    return CM3_OK;
}

cm3_status cm3_file_from_io(cm3_context *context, const cm3_io *io, cm3_file **file) {
    *file = NULL;
    CM3_TRY(check_io(context, io));
    file_body *body;
    CM3_TRY(create(context, "io", &body));
    cm3_status status = read_io(body, io);
    if (status != CM3_OK) {
        cm3_file_release(&body->file);
        return status;
    }
    *file = &body->file;
    return CM3_OK;
}

uint64_t cm3_file_huge_bytes(size_t size) {
    return cm3_alloc_size(size) + HUGE_PAGE + cm3_alloc_size(sizeof(file_body));
}

cm3_status cm3_file_copy_huge(cm3_context *context, const cm3_file *from, cm3_file **file) {
    *file = NULL;
    file_body *body;
    CM3_TRY(create(context, from->name, &body));
    size_t total;
    uint8_t *buffer = NULL;
    if (cm3_add_size(from->size, HUGE_PAGE, &total)) buffer = cm3_alloc(context, total);
    if (buffer == NULL) {
        cm3_file_release(&body->file);
        return cm3_fail_memory(context, from->size, from->name);
    }
    body->buffer = buffer;
    uint8_t *data = buffer + (HUGE_PAGE - (uintptr_t)buffer % HUGE_PAGE) % HUGE_PAGE;
#ifdef MADV_HUGEPAGE
    /* Whole huge pages only: what shares their ends is not ours. A kernel without them says no, and that is all right.
     */
    size_t whole = from->size / HUGE_PAGE * HUGE_PAGE;
    if (whole > 0) madvise(data, whole, MADV_HUGEPAGE);
#endif
    memcpy(data, from->data, from->size);
    body->file.data = data;
    body->file.size = from->size;
    *file = &body->file;
    return CM3_OK;
}
