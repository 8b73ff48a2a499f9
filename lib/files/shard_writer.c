/* Tar shards, written: ustar, or pax where a name needs it; no times and no owners, so that equal input is equal bytes.
 */
#ifdef CM3_WITH_TRAIN

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdbool.h>
#include <string.h>

#include "files/shard.h"
#include "files/writer.h"

struct cm3_shard_writer {
    cm3_context *context;
    cm3_writer *writer;
    struct archive *archive;
    locale_t locale;   /**< UTF-8, as in shard.c: equal input is equal bytes whatever the host has set */
    cm3_status failed; /**< the first failure of the file beneath, whose message stands */
};

/*
 * After a failure of ours the bytes are dropped and libarchive is told that all is well: it then closes in the usual
 * way, which alone frees all that it holds.
 */
static la_ssize_t write_bytes(struct archive *archive, void *user, const void *data, size_t size) {
    (void)archive;
    cm3_shard_writer *writer = user;
    if (writer->failed == CM3_OK) writer->failed = cm3_writer_write(writer->writer, data, size);
    return (la_ssize_t)size;
}

static cm3_status fail_archive(cm3_shard_writer *writer, const char *member) {
    if (writer->failed != CM3_OK) return writer->failed;
    const char *words = archive_error_string(writer->archive);
    cm3_status status = archive_errno(writer->archive) == ENOMEM ? CM3_ERROR_NO_MEMORY : CM3_ERROR_IO;
    return cm3_fail(writer->context, status, "shard: %.300s: %s", member, words != NULL ? words : "writing failed");
}

cm3_status cm3_shard_writer_open(cm3_context *context, const char *path, cm3_shard_writer **writer) {
    *writer = NULL;
    cm3_shard_writer *opened = cm3_calloc(context, 1, sizeof *opened);
    if (opened == NULL) return cm3_fail_memory(context, sizeof *opened, path);
    opened->context = context;
    cm3_context_retain(context);
    opened->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    cm3_status status = cm3_writer_open(context, path, &opened->writer);
    if (status == CM3_OK) {
        opened->archive = archive_write_new();
        if (opened->archive == NULL) {
            status = cm3_fail_memory(context, 0, path);
        } else if (archive_write_set_format_pax_restricted(opened->archive) != ARCHIVE_OK ||
                   archive_write_open(opened->archive, opened, NULL, write_bytes, NULL) != ARCHIVE_OK) {
            status = fail_archive(opened, path);
        }
    }
    if (status != CM3_OK) {
        cm3_shard_writer_abort(opened);
        return status;
    }
    *writer = opened;
    return CM3_OK;
}

static cm3_status add_member(cm3_shard_writer *writer, const char *name, const void *data, size_t size) {
    struct archive_entry *entry = archive_entry_new();
    if (entry == NULL) return cm3_fail_memory(writer->context, 0, name);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (int64_t)size);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_mtime(entry, 0, 0);
    cm3_status status = CM3_OK;
    int result = archive_write_header(writer->archive, entry);
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) status = fail_archive(writer, name);
    for (size_t done = 0; status == CM3_OK && done < size;) {
        la_ssize_t written = archive_write_data(writer->archive, (const uint8_t *)data + done, size - done);
        if (written <= 0) status = fail_archive(writer, name);
        done += written > 0 ? (size_t)written : 0;
    }
    archive_entry_free(entry);
    return status;
}

cm3_status cm3_shard_writer_add(cm3_shard_writer *writer, const char *name, const void *data, size_t size) {
    if (writer->failed != CM3_OK) return writer->failed;
    if (name == NULL || *name == '\0' || (data == NULL && size > 0) || size > INT64_MAX) {
        return cm3_fail(writer->context, CM3_ERROR_INVALID_ARGUMENT, "shard: a member without name or data");
    }
    locale_t before = uselocale(writer->locale);
    cm3_status status = add_member(writer, name, data, size);
    uselocale(before);
    if (writer->failed == CM3_OK) writer->failed = status;
    return writer->failed;
}

cm3_status cm3_shard_writer_commit(cm3_shard_writer *writer) {
    bool closed = writer->failed == CM3_OK && archive_write_close(writer->archive) == ARCHIVE_OK;
    cm3_status status = closed ? writer->failed : fail_archive(writer, "closing");
    if (status == CM3_OK) {
        status = cm3_writer_commit(writer->writer);
        writer->writer = NULL;
    }
    cm3_shard_writer_abort(writer);
    return status;
}

void cm3_shard_writer_abort(cm3_shard_writer *writer) {
    if (writer == NULL) return;
    cm3_context *context = writer->context;
    if (writer->archive != NULL) {
        if (writer->failed == CM3_OK) writer->failed = CM3_ERROR_CANCELLED; /* nothing more is to be written */
        archive_write_free(writer->archive);
    }
    if (writer->locale != (locale_t)0) freelocale(writer->locale);
    cm3_writer_abort(writer->writer);
    cm3_free(context, writer);
    cm3_context_release(context);
}

#endif
