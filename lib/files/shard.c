/* Records from tar shards in WebDataset form. The reading of JSON lines is in lines.c, the writing in shard_writer.c.
 */
#ifdef CM3_WITH_TRAIN

#include "files/shard.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <string.h>
#include <strings.h>

#include "base/status.h"
#include "files/file.h"
#include "files/lines.h"

#define TAR_BLOCK 512

struct cm3_shard {
    cm3_context *context;
    cm3_file *file;
    cm3_lines *lines; /**< a JSON-lines file; then the rest is unused */
    struct archive *archive;
    struct archive_entry *entry; /**< the member read last and not used yet, or NULL */
    const char *path;            /**< its name */
    bool ended;
    locale_t
        locale; /**< UTF-8: libarchive converts names by the thread's locale, in which the host shall have no say */
};

void cm3_record_clear(cm3_context *context, cm3_record *record) {
    cm3_free(context, record->key);
    cm3_free(context, record->json);
    cm3_free(context, record->text);
    cm3_free(context, record->image);
    for (size_t i = 0; i < record->picture_count; ++i) {
        cm3_free(context, record->pictures[i].name);
        cm3_free(context, record->pictures[i].data);
    }
    cm3_free(context, record->pictures);
    memset(record, 0, sizeof *record);
}

static cm3_status fail_archive(const cm3_shard *shard, const char *member) {
    const char *words = archive_error_string(shard->archive);
    cm3_status status = archive_errno(shard->archive) == ENOMEM ? CM3_ERROR_NO_MEMORY : CM3_ERROR_FORMAT;
    return cm3_fail(shard->context, status, "%s: %s%.300s%s", shard->file->name, member != NULL ? member : "",
                    member != NULL ? ": " : "", words != NULL ? words : "not a tar archive");
}

static cm3_status open_archive(cm3_shard *shard) {
    if (shard->file->size == 0) {
        return cm3_fail(shard->context, CM3_ERROR_TRUNCATED, "%s: expected a tar archive, found 0 bytes",
                        shard->file->name);
    }
    shard->archive = archive_read_new();
    if (shard->archive == NULL) return cm3_fail_memory(shard->context, 0, shard->file->name);
    if (archive_read_support_format_tar(shard->archive) != ARCHIVE_OK ||
        archive_read_open_memory(shard->archive, shard->file->data, shard->file->size) != ARCHIVE_OK) {
        return fail_archive(shard, NULL);
    }
    return CM3_OK;
}

static bool is_lines(const char *path) {
    size_t length = strlen(path);
    return length >= 6 && strcasecmp(path + length - 6, ".jsonl") == 0;
}

cm3_status cm3_shard_open(cm3_context *context, const char *path, cm3_shard **shard) {
    *shard = NULL;
    cm3_shard *opened = cm3_calloc(context, 1, sizeof *opened);
    if (opened == NULL) return cm3_fail_memory(context, sizeof *opened, path);
    opened->context = context;
    cm3_context_retain(context);
    cm3_status status = cm3_file_open(context, path, &opened->file);
    opened->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0); /* where there is none, the host's serves */
    if (status == CM3_OK) {
        status = is_lines(path) ? cm3_lines_open(context, opened->file, &opened->lines) : open_archive(opened);
    }
    if (status != CM3_OK) {
        cm3_shard_close(opened);
        return status;
    }
    *shard = opened;
    return CM3_OK;
}

void cm3_shard_close(cm3_shard *shard) {
    if (shard == NULL) return;
    cm3_context *context = shard->context;
    cm3_lines_close(shard->lines);
    if (shard->archive != NULL) archive_read_free(shard->archive);
    if (shard->locale != (locale_t)0) freelocale(shard->locale);
    cm3_file_release(shard->file);
    cm3_free(context, shard);
    cm3_context_release(context);
}

/* A whole archive ends with blocks of zeros; one cut between two members would otherwise pass for a shorter one. */
static cm3_status check_end(const cm3_shard *shard) {
    const cm3_file *file = shard->file;
    size_t size = file->size < TAR_BLOCK ? file->size : TAR_BLOCK;
    for (size_t i = file->size - size; i < file->size; ++i) {
        if (file->data[i] != 0) {
            return cm3_fail(shard->context, CM3_ERROR_TRUNCATED,
                            "%s: expected the archive's closing zeros at its end, byte %zu is not zero", file->name, i);
        }
    }
    return CM3_OK;
}

/* Moves to the next member that is a plain file; shard->entry is NULL at the end. */
static cm3_status next_member(cm3_shard *shard) {
    while (shard->entry == NULL && !shard->ended) {
        struct archive_entry *entry;
        int result = archive_read_next_header(shard->archive, &entry);
        if (result == ARCHIVE_EOF) {
            shard->ended = true;
            return check_end(shard);
        }
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return fail_archive(shard, NULL);
        bool plain = archive_entry_filetype(entry) == AE_IFREG && archive_entry_hardlink(entry) == NULL;
        shard->path = archive_entry_pathname(entry);
        if (plain && shard->path != NULL) shard->entry = entry;
    }
    return CM3_OK;
}

/* The length of a path's key: up to the first dot of the base name; 0 where the base name begins with one. */
static size_t key_length(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    size_t stem = strcspn(base, ".");
    return stem > 0 ? (size_t)(base - path) + stem : 0;
}

/* The bytes of the current member, with a NUL after them. */
static cm3_status read_member(cm3_shard *shard, const char *path, uint8_t **data, size_t *size) {
    *data = NULL;
    int64_t wanted = archive_entry_size(shard->entry);
    if (wanted < 0 || wanted > CM3_MAX_MEMBER) {
        return cm3_fail(shard->context, CM3_ERROR_FORMAT, "%s: %.300s: %lld bytes, at most %lld are read",
                        shard->file->name, path, (long long)wanted, (long long)CM3_MAX_MEMBER);
    }
    int64_t at = archive_read_header_position(shard->archive);
    if (archive_entry_sparse_count(shard->entry) == 0 && at >= 0 && wanted > (int64_t)shard->file->size - at) {
        return cm3_fail(shard->context, CM3_ERROR_TRUNCATED,
                        "%s: %.300s: %lld bytes expected after byte %lld, the file ends at %zu", shard->file->name,
                        path, (long long)wanted, (long long)at, shard->file->size);
    }
    uint8_t *bytes = cm3_alloc(shard->context, (size_t)wanted + 1);
    if (bytes == NULL) return cm3_fail_memory(shard->context, (size_t)wanted + 1, path);
    la_ssize_t got = archive_read_data(shard->archive, bytes, (size_t)wanted);
    if (got != wanted) {
        cm3_status status = CM3_ERROR_TRUNCATED;
        status = got < 0 && shard->file->size - (size_t)at > (size_t)wanted + TAR_BLOCK
                     ? fail_archive(shard, path)
                     : cm3_fail(shard->context, status, "%s: %.300s: %lld bytes expected, %lld found",
                                shard->file->name, path, (long long)wanted, (long long)(got < 0 ? 0 : got));
        cm3_free(shard->context, bytes);
        return status;
    }
    bytes[wanted] = 0;
    *data = bytes;
    *size = (size_t)wanted;
    return CM3_OK;
}

static bool is_picture(const char *ending) {
    static const char *const pictures[] = {".jpg", ".jpeg", ".png"};
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; ++i) {
        if (strcasecmp(ending, pictures[i]) == 0) return true;
    }
    return false;
}

/* The place of a picture with a name; NULL where there is no memory. The name is already there: its data is, too. */
static cm3_record_picture *named_picture(cm3_shard *shard, cm3_record *record, const char *name, size_t length) {
    for (size_t i = 0; i < record->picture_count; ++i) {
        cm3_record_picture *picture = &record->pictures[i];
        if (strlen(picture->name) == length && memcmp(picture->name, name, length) == 0) return picture;
    }
    if (cm3_grow(shard->context, &record->pictures, &record->picture_capacity, record->picture_count + 1,
                 sizeof *record->pictures, shard->file->name) != CM3_OK) {
        return NULL;
    }
    cm3_record_picture *picture = &record->pictures[record->picture_count];
    *picture = (cm3_record_picture){.name = cm3_strndup(shard->context, name, length)};
    if (picture->name == NULL) return NULL;
    ++record->picture_count;
    return picture;
}

/* Where a member of that ending goes; *slot is NULL where it is nothing that is read. */
static cm3_status find_slot(cm3_shard *shard, cm3_record *record, const char *ending, uint8_t ***slot, size_t **size) {
    const char *last = strrchr(ending, '.');
    *slot = NULL;
    if (last != NULL && last > ending + 1 && is_picture(last)) {
        cm3_record_picture *picture = named_picture(shard, record, ending + 1, (size_t)(last - ending) - 1);
        if (picture == NULL) return cm3_fail_memory(shard->context, sizeof *picture, shard->file->name);
        *slot = &picture->data;
        *size = &picture->size;
        return CM3_OK;
    }
    if (is_picture(ending)) {
        *slot = &record->image;
        *size = &record->image_size;
        return CM3_OK;
    }
    bool json = strcasecmp(ending, ".json") == 0;
    if (!json && strcasecmp(ending, ".txt") != 0) return CM3_OK;
    *slot = (uint8_t **)(json ? &record->json : &record->text);
    *size = json ? &record->json_size : &record->text_size;
    return CM3_OK;
}

/* Takes the current member into the record. */
static cm3_status take_member(cm3_shard *shard, cm3_record *record, const char *path, size_t length) {
    uint8_t **slot;
    size_t *size;
    CM3_TRY(find_slot(shard, record, path + length, &slot, &size));
    if (slot == NULL) return CM3_OK;
    if (*slot != NULL) {
        return cm3_fail(shard->context, CM3_ERROR_FORMAT, "%s: %.300s: a second member of its kind for this key",
                        shard->file->name, path);
    }
    if (record->key == NULL) {
        record->key = cm3_strndup(shard->context, path, length);
        if (record->key == NULL) return cm3_fail_memory(shard->context, length, shard->file->name);
    }
    return read_member(shard, path, slot, size);
}

/* Members of the current key until another begins. The record stays empty where none of them is read. */
static cm3_status read_key(cm3_shard *shard, cm3_record *record) {
    char *key = NULL;
    cm3_status status = CM3_OK;
    while (status == CM3_OK && shard->entry != NULL) {
        const char *path = shard->path;
        size_t length = key_length(path);
        if (key != NULL && (strncmp(key, path, length) != 0 || key[length] != '\0')) break;
        if (key == NULL) key = cm3_strndup(shard->context, path, length);
        if (key == NULL) {
            status = cm3_fail_memory(shard->context, length, shard->file->name);
            break;
        }
        if (length > 0) status = take_member(shard, record, path, length);
        shard->entry = NULL;
        if (status == CM3_OK) status = next_member(shard);
    }
    cm3_free(shard->context, key);
    return status;
}

static cm3_status next_record(cm3_shard *shard, cm3_record *record, bool *more) {
    cm3_status status = next_member(shard);
    while (status == CM3_OK && shard->entry != NULL && record->key == NULL) status = read_key(shard, record);
    if (status != CM3_OK) {
        cm3_record_clear(shard->context, record);
        shard->entry = NULL;
        shard->ended = true;
        return status;
    }
    *more = record->key != NULL;
    return CM3_OK;
}

cm3_status cm3_shard_next(cm3_shard *shard, cm3_record *record, bool *more) {
    memset(record, 0, sizeof *record);
    *more = false;
    if (shard->lines != NULL) return cm3_lines_next(shard->lines, record, more);
    locale_t before = uselocale(shard->locale);
    cm3_status status = next_record(shard, record, more);
    uselocale(before);
    return status;
}

#endif
