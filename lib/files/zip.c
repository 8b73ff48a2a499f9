/* Zip archives of stored entries. */
#include "files/zip.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

#define END_SIZE 22
#define LOCAL_SIZE 30
#define CENTRAL_SIZE 46
#define END64_SIZE 56
#define LOCATOR_SIZE 20
#define MOST_ENTRIES ((uint64_t)1 << 24)

struct cm3_zip {
    cm3_context *context;
    cm3_file *file;
    cm3_arena *names;
    cm3_zip_entry *entries; /**< sorted by name */
    size_t count;
};

/** Little-endian numbers anywhere. */
static uint64_t number(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static cm3_status damaged(const cm3_zip *zip, uint64_t place, const char *what) {
    return cm3_fail(zip->context, CM3_ERROR_FORMAT, "%s: byte %llu: the zip archive is damaged: %s", zip->file->name,
                    (unsigned long long)place, what);
}

bool cm3_is_zip(const cm3_file *file) {
    return file->size >= 4 && number(file->data, 4) == 0x04034b50;
}

/** Where the central directory lies. */
typedef struct directory {
    uint64_t count, size, offset;
} directory;

/** The record at the end, behind which only a comment may stand. */
static const uint8_t *find_end(const cm3_zip *zip) {
    const uint8_t *data = zip->file->data;
    size_t size = zip->file->size, most = 65535 + END_SIZE;
    for (size_t back = END_SIZE; back <= size && back <= most; back++) {
        const uint8_t *end = data + size - back;
        if (number(end, 4) == 0x06054b50 && number(end + 20, 2) == back - END_SIZE) return end;
    }
    return NULL;
}

static cm3_status read_end64(const cm3_zip *zip, const uint8_t *end, directory *found) {
    size_t place = (size_t)(end - zip->file->data);
    if (place < LOCATOR_SIZE || number(end - LOCATOR_SIZE, 4) != 0x07064b50) return CM3_OK; /* not zip64 */
    uint64_t at = number(end - LOCATOR_SIZE + 8, 8);
    if (at > place - LOCATOR_SIZE || place - LOCATOR_SIZE - at < END64_SIZE) {
        return damaged(zip, place - LOCATOR_SIZE, "its zip64 end lies outside");
    }
    const uint8_t *record = zip->file->data + at;
    if (number(record, 4) != 0x06064b50) return damaged(zip, at, "its zip64 end has another signature");
    *found = (directory){number(record + 32, 8), number(record + 40, 8), number(record + 48, 8)};
    return CM3_OK;
}

static cm3_status find_directory(const cm3_zip *zip, directory *found) {
    const uint8_t *end = find_end(zip);
    if (!end) {
        return cm3_fail(zip->context, CM3_ERROR_TRUNCATED, "%s: the end of a zip archive is missing", zip->file->name);
    }
    if (number(end + 4, 2) != 0 || number(end + 6, 2) != 0) {
        return cm3_fail(zip->context, CM3_ERROR_UNSUPPORTED, "%s: a zip archive on several disks", zip->file->name);
    }
    *found = (directory){number(end + 10, 2), number(end + 12, 4), number(end + 16, 4)};
    CM3_TRY(read_end64(zip, end, found));
    uint64_t limit = (uint64_t)(end - zip->file->data);
    if (found->offset > limit || found->size > limit - found->offset || found->count > MOST_ENTRIES ||
        found->count > found->size / CENTRAL_SIZE) {
        return damaged(zip, limit, "its directory lies outside");
    }
    return CM3_OK;
}

/** The 64-bit values of the extra field, for those that the record itself has no room for. */
static cm3_status read_extra64(const cm3_zip *zip, const uint8_t *extra, size_t length, uint64_t *size,
                               uint64_t *packed, uint64_t *offset) {
    uint64_t place = (uint64_t)(extra - zip->file->data);
    for (size_t at = 0; at + 4 <= length;) {
        size_t kind = (size_t)number(extra + at, 2), bytes = (size_t)number(extra + at + 2, 2);
        at += 4;
        if (bytes > length - at) return damaged(zip, place + at, "an extra field is too long");
        uint64_t *const values[] = {size, packed, offset};
        for (size_t i = 0, used = 0; kind == 1 && i < 3; i++) {
            if (*values[i] != 0xffffffffu) continue;
            if (bytes - used < 8) return damaged(zip, place + at, "a zip64 field is too short");
            *values[i] = number(extra + at + used, 8);
            used += 8;
        }
        at += bytes;
    }
    return CM3_OK;
}

/** One record of the directory; `*at` moves on to the next. */
static cm3_status read_record(cm3_zip *zip, const directory *d, uint64_t *at, cm3_zip_entry *entry) {
    const uint8_t *data = zip->file->data, *record = data + *at;
    uint64_t left = d->offset + d->size - *at;
    if (left < CENTRAL_SIZE || number(record, 4) != 0x02014b50)
        return damaged(zip, *at, "an entry's record is missing");
    uint64_t name = number(record + 28, 2), extra = number(record + 30, 2), comment = number(record + 32, 2);
    uint64_t length = CENTRAL_SIZE + name + extra + comment;
    if (length > left) return damaged(zip, *at, "an entry's record is too long");
    uint64_t packed = number(record + 20, 4), size = number(record + 24, 4), offset = number(record + 42, 4);
    CM3_TRY(read_extra64(zip, record + CENTRAL_SIZE + name, (size_t)extra, &size, &packed, &offset));
    if (memchr(record + CENTRAL_SIZE, 0, (size_t)name)) return damaged(zip, *at, "a name has a NUL in it");
    char *copy = cm3_arena_alloc(zip->names, (size_t)name + 1);
    if (!copy) return cm3_fail_memory(zip->context, (size_t)name, zip->file->name);
    memcpy(copy, record + CENTRAL_SIZE, (size_t)name);
    copy[name] = 0;
    if ((number(record + 8, 2) & 1) || number(record + 10, 2) != 0 || packed != size) {
        return cm3_fail(zip->context, CM3_ERROR_UNSUPPORTED, "%s: %.200s is compressed or encrypted; PyTorch stores",
                        zip->file->name, copy);
    }
    uint64_t end = d->offset; /* data lies before the directory */
    if (offset > end || end - offset < LOCAL_SIZE || number(data + offset, 4) != 0x04034b50) {
        return damaged(zip, *at, "an entry lies outside");
    }
    uint64_t begin = offset + LOCAL_SIZE + number(data + offset + 26, 2) + number(data + offset + 28, 2);
    if (begin > end || size > end - begin) return damaged(zip, offset, "an entry's data lies outside");
    *entry = (cm3_zip_entry){copy, data + begin, (size_t)size};
    *at += length;
    return CM3_OK;
}

static int compare(const void *a, const void *b) {
    return strcmp(((const cm3_zip_entry *)a)->name, ((const cm3_zip_entry *)b)->name);
}

static cm3_status read_all(cm3_zip *zip) {
    directory d = {0, 0, 0};
    CM3_TRY(cm3_arena_create(zip->context, 1 << 14, &zip->names));
    CM3_TRY(find_directory(zip, &d));
    zip->entries = cm3_calloc(zip->context, (size_t)d.count, sizeof *zip->entries);
    if (!zip->entries) return cm3_fail_memory(zip->context, (size_t)d.count * sizeof *zip->entries, zip->file->name);
    uint64_t at = d.offset;
    for (; zip->count < d.count; zip->count++) CM3_TRY(read_record(zip, &d, &at, &zip->entries[zip->count]));
    if (zip->count) qsort(zip->entries, zip->count, sizeof *zip->entries, compare);
    for (size_t i = 1; i < zip->count; i++) {
        if (strcmp(zip->entries[i - 1].name, zip->entries[i].name) != 0) continue;
        return cm3_fail(zip->context, CM3_ERROR_FORMAT, "%s: %.200s is there twice", zip->file->name,
                        zip->entries[i].name);
    }
    return CM3_OK;
}

cm3_status cm3_zip_open(cm3_context *context, cm3_file *file, cm3_zip **out) {
    *out = NULL;
    cm3_zip *zip = cm3_calloc(context, 1, sizeof *zip);
    if (!zip) return cm3_fail_memory(context, sizeof *zip, file->name);
    zip->context = context;
    zip->file = file;
    cm3_file_retain(file);
    cm3_status status = read_all(zip);
    if (status == CM3_OK) {
        *out = zip;
    } else {
        cm3_zip_close(zip);
    }
    return status;
}

void cm3_zip_close(cm3_zip *zip) {
    if (!zip) return;
    cm3_context *context = zip->context;
    cm3_file_release(zip->file);
    cm3_free(context, zip->entries);
    cm3_arena_destroy(zip->names);
    cm3_free(context, zip);
}

size_t cm3_zip_count(const cm3_zip *zip) {
    return zip->count;
}

const cm3_zip_entry *cm3_zip_at(const cm3_zip *zip, size_t index) {
    return &zip->entries[index];
}

const cm3_zip_entry *cm3_zip_find(const cm3_zip *zip, const char *name) {
    const cm3_zip_entry wanted = {.name = name};
    return zip->count ? bsearch(&wanted, zip->entries, zip->count, sizeof *zip->entries, compare) : NULL;
}
