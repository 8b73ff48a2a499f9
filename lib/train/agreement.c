/* What ranks agree on. */
#include "train/agreement.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "files/hash.h"

#define MESSAGE 512

cm3_status cm3_ranks_agree(cm3_ranks *ranks, cm3_status own) {
    if (cm3_ranks_alone(ranks)) return own;
    /* The message is fetched before another call may leave one of its own. */
    char message[MESSAGE] = "";
    if (own != CM3_OK) snprintf(message, sizeof message, "%s", cm3_context_message(ranks->context));
    const uint64_t first = (uint64_t)(ranks->comm.size - ranks->comm.rank);
    uint64_t worst = own == CM3_OK ? 0 : first << 32 | (uint64_t)own;
    CM3_TRY(cm3_ranks_reduce(ranks, &worst, 1, CM3_COMM_U64, CM3_COMM_MAX));
    if (!worst) return CM3_OK;
    const int32_t rank = ranks->comm.size - (int32_t)(worst >> 32);
    CM3_TRY(cm3_ranks_broadcast(ranks, message, sizeof message, rank));
    message[sizeof message - 1] = 0;
    ranks->settled = true;
    return cm3_fail(ranks->context, (cm3_status)(worst & 0xffffffffu), "rank %d: %s", (int)rank, message);
}

/* --- settings ------------------------------------------------------------------------------------------------------
 */

bool cm3_settings_differ(const json_t *a, const json_t *b, const char *word_a, const char *word_b, char *list,
                         size_t size) {
    size_t used = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)a, key, value) {
        const json_t *other = json_object_get(b, key);
        if (json_equal(value, other) || used >= size - 1) continue;
        char *here = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT),
             *there = other ? json_dumps(other, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        used += (size_t)snprintf(list + used, size - used, "%s%s: %s %s, %s %s", used ? "; " : "", key,
                                 here ? here : "?", word_a, there ? there : "absent", word_b);
        free(here);
        free(there);
    }
    return used > 0;
}

/** Rank `root`'s text as a new object; all ranks have it, or none. */
static cm3_status fetch(cm3_ranks *ranks, const char *own, int32_t root, json_t **object) {
    const bool mine = ranks->comm.rank == root;
    uint64_t size = mine ? strlen(own) : 0;
    *object = NULL;
    CM3_TRY(cm3_ranks_broadcast(ranks, &size, sizeof size, root));
    char *text = cm3_calloc(ranks->context, 1, size + 1);
    cm3_status status = CM3_OK;
    if (!text) status = cm3_fail_memory(ranks->context, size, "settings");
    status = cm3_ranks_agree(ranks, status);
    if (status == CM3_OK && mine) memcpy(text, own, size);
    if (status == CM3_OK) status = cm3_ranks_broadcast(ranks, text, size, root);
    if (status == CM3_OK) {
        status = cm3_ranks_agree(ranks, cm3_json_parse(ranks->context, "a rank's settings", text, size, object));
    }
    cm3_free(ranks->context, text);
    return status;
}

/** Names what a rank has otherwise than rank 0. */
static cm3_status name_difference(cm3_ranks *ranks, const char *own, int32_t rank) {
    json_t *first = NULL, *other = NULL;
    char words[2][32], list[MESSAGE] = "";
    cm3_status status = fetch(ranks, own, 0, &first);
    if (status == CM3_OK) status = fetch(ranks, own, rank, &other);
    snprintf(words[0], sizeof words[0], "on rank 0");
    snprintf(words[1], sizeof words[1], "on rank %d", (int)rank);
    if (status == CM3_OK && !cm3_settings_differ(first, other, words[0], words[1], list, sizeof list)) {
        cm3_settings_differ(other, first, words[1], words[0], list, sizeof list);
    }
    json_decref(first);
    json_decref(other);
    if (status != CM3_OK) return status;
    ranks->settled = true;
    return cm3_fail(ranks->context, CM3_ERROR_INVALID_ARGUMENT, "the ranks of a run must learn the same: %s", list);
}

cm3_status cm3_ranks_compare(cm3_ranks *ranks, const char *own) {
    if (cm3_ranks_alone(ranks)) return CM3_OK;
    uint64_t mine = cm3_hash(own, strlen(own)), zeroth = mine;
    CM3_TRY(cm3_ranks_broadcast(ranks, &zeroth, sizeof zeroth, 0));
    uint64_t first = mine == zeroth ? UINT64_MAX : (uint64_t)ranks->comm.rank;
    CM3_TRY(cm3_ranks_reduce(ranks, &first, 1, CM3_COMM_U64, CM3_COMM_MIN));
    return first == UINT64_MAX ? CM3_OK : name_difference(ranks, own, (int32_t)first);
}
