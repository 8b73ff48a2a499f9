/* From a text to ids and back: the parts of a tokenizer in their order. */
#include <string.h>

#include "cm3leon/tokenizer.h"
#include "text/inside.h"

/* Memory of one call; nothing is shared between calls, so that any number of threads may encode. */
typedef struct encoding {
    cm3_pieces outer; /* what is left of the text as it is */
    cm3_pre_text pre_text;
    cm3_normalizer_scratch normalizing;
    cm3_word_scratch word;
} encoding;

static void encoding_clear(cm3_context *context, encoding *work) {
    cm3_free(context, work->outer.items);
    cm3_pre_text_clear(context, &work->pre_text);
    cm3_normalizer_scratch_clear(context, &work->normalizing);
    cm3_word_scratch_clear(context, &work->word);
}

/* Added tokens of the raw text; what lies between is normalized and searched again. */
static cm3_status find_added(const cm3_bpe *bpe, encoding *work, const char *text, size_t size, bool special) {
    cm3_context *context = bpe->context;
    cm3_pieces *pieces = &work->pre_text.pieces;
    cm3_text *own = &work->pre_text.own;
    CM3_TRY(cm3_added_split(context, &bpe->raw, text, 0, size, special, &work->outer));
    for (size_t i = 0; i < work->outer.count; i++) {
        const cm3_piece *piece = &work->outer.items[i];
        if (piece->id >= 0) {
            CM3_TRY(cm3_pieces_push(context, pieces, 0, 0, piece->id));
        } else if (!bpe->normalizer.count) {
            CM3_TRY(cm3_added_split(context, &bpe->normalized, text, piece->begin, piece->end, special, pieces));
        } else {
            size_t begin = own->size;
            CM3_TRY(cm3_normalize(context, &bpe->normalizer, &work->normalizing, text + piece->begin,
                                  piece->end - piece->begin, own));
            CM3_TRY(cm3_added_split(context, &bpe->normalized, own->bytes, begin, own->size, special, pieces));
        }
    }
    work->pre_text.text = bpe->normalizer.count ? own->bytes : text;
    return CM3_OK;
}

static cm3_status encode_pieces(const cm3_bpe *bpe, encoding *work, const char *text, size_t size, bool special,
                                cm3_ids *ids) {
    CM3_TRY(find_added(bpe, work, text, size, special));
    CM3_TRY(cm3_pre_tokenize(bpe->context, &bpe->pre_tokenizer, &work->pre_text));
    for (size_t i = 0; i < work->pre_text.pieces.count; i++) {
        const cm3_piece *piece = &work->pre_text.pieces.items[i];
        if (piece->id < 0) {
            CM3_TRY(
                cm3_word_encode(bpe, &work->word, work->pre_text.text + piece->begin, piece->end - piece->begin, ids));
            continue;
        }
        CM3_TRY(cm3_grow(bpe->context, &ids->items, &ids->capacity, ids->count + 1, sizeof *ids->items, "ids"));
        ids->items[ids->count++] = piece->id;
    }
    return CM3_OK;
}

/* Shortens what came after `first` to what the file allows of it beside `added` ids. */
static void shorten(const cm3_post_processor *post, size_t first, size_t added, cm3_ids *ids) {
    size_t count = ids->count - first;
    /* With more to add than may be there, the library leaves the text whole. */
    if (!post->truncate || post->max_length < added || count <= post->max_length - added) return;
    size_t kept = post->max_length - added;
    int32_t *items = ids->items + first;
    if (post->truncate_left && kept) memmove(items, items + (count - kept), kept * sizeof *items);
    ids->count = first + kept;
}

/* Puts the template around what came after `first`. */
static cm3_status add_template(const cm3_bpe *bpe, size_t first, cm3_ids *ids) {
    const cm3_post_processor *post = &bpe->post;
    size_t added = post->before + post->behind, count = ids->count - first;
    if (!added) return CM3_OK; /* and there may be no array yet */
    CM3_TRY(cm3_grow(bpe->context, &ids->items, &ids->capacity, ids->count + added, sizeof *ids->items, "ids"));
    int32_t *items = ids->items + first;
    if (count) memmove(items + post->before, items, count * sizeof *items);
    if (post->before) memcpy(items, post->ids, post->before * sizeof *items);
    if (post->behind) memcpy(items + post->before + count, post->ids + post->before, post->behind * sizeof *items);
    ids->count = first + count + added;
    return CM3_OK;
}

/* Fills up what came after `first` to the file's length. */
static cm3_status pad(const cm3_bpe *bpe, size_t first, cm3_ids *ids) {
    const cm3_post_processor *post = &bpe->post;
    size_t count = ids->count - first, wanted = count > post->pad_length ? count : post->pad_length;
    if (post->pad_multiple && wanted % post->pad_multiple) wanted += post->pad_multiple - wanted % post->pad_multiple;
    size_t missing = wanted - count;
    if (!post->pad || !missing) return CM3_OK;
    CM3_TRY(cm3_grow(bpe->context, &ids->items, &ids->capacity, ids->count + missing, sizeof *ids->items, "ids"));
    int32_t *items = ids->items + first;
    if (post->pad_left && count) memmove(items + missing, items, count * sizeof *items);
    int32_t *gap = post->pad_left ? items : items + count;
    for (size_t i = 0; i < missing; i++) gap[i] = post->pad_id;
    ids->count += missing;
    return CM3_OK;
}

static cm3_status finish(const cm3_bpe *bpe, uint32_t flags, size_t first, cm3_ids *ids) {
    bool template = flags & CM3_ENCODE_TEMPLATE, length = flags & CM3_ENCODE_LENGTH;
    if (length) shorten(&bpe->post, first, template ? bpe->post.before + bpe->post.behind : 0, ids);
    if (template) CM3_TRY(add_template(bpe, first, ids));
    return length ? pad(bpe, first, ids) : CM3_OK;
}

cm3_status cm3_bpe_encode(const cm3_bpe *bpe, const char *text, size_t size, uint32_t flags, int32_t **ids,
                          size_t *count, size_t *capacity) {
    cm3_context *context = bpe->context;
    if (flags & ~(uint32_t)(CM3_ENCODE_SPECIAL | CM3_ENCODE_TEMPLATE | CM3_ENCODE_LENGTH))
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "encode: unknown flags 0x%x", (unsigned)flags);
    if (size > INT32_MAX) /* positions in a word have 32 bits */
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "encode: a text of %zu bytes, at most %d are possible",
                        size, INT32_MAX);
    CM3_TRY(cm3_utf8_check(context, "text", text, size));
    encoding work = {0};
    cm3_ids made = {*ids, *count, *capacity};
    cm3_status status = encode_pieces(bpe, &work, text, size, (flags & CM3_ENCODE_SPECIAL) != 0, &made);
    if (status == CM3_OK) status = finish(bpe, flags, *count, &made);
    encoding_clear(context, &work);
    *ids = made.items;
    *capacity = made.capacity;
    if (status == CM3_OK) *count = made.count;
    return status;
}

static cm3_status decode_ids(const cm3_bpe *bpe, const int32_t *ids, size_t id_count, bool skip_special,
                             cm3_text *out) {
    const cm3_decoder *decoder = &bpe->decoder;
    bool first = true;
    for (size_t i = 0; i < id_count; i++) {
        int32_t id = ids[i];
        if (!cm3_bpe_token(bpe, id))
            return cm3_fail(bpe->context, CM3_ERROR_INVALID_ARGUMENT,
                            "decode: no token has id %d (index %zu), the vocabulary has %zu", id, i, bpe->vocab.count);
        if (skip_special && bpe->vocab.tokens[id].special) continue;
        if (decoder->spaces && !first) CM3_TRY(cm3_text_append(bpe->context, out, " ", 1));
        first = false;
        size_t begin = decoder->begins[id], size = decoder->begins[id + 1] - begin;
        if (size) CM3_TRY(cm3_text_append(bpe->context, out, decoder->bytes + begin, size));
    }
    return CM3_OK;
}

cm3_status cm3_bpe_decode_raw(const cm3_bpe *bpe, const int32_t *ids, size_t id_count, bool skip_special, char **bytes,
                              size_t *count, size_t *capacity) {
    cm3_context *context = bpe->context;
    cm3_text out = {*bytes, *count, *capacity, 0};
    cm3_status status;
    if (bpe->decoder.joined == bpe->decoder.count) {
        status = decode_ids(bpe, ids, id_count, skip_special, &out);
    } else { /* steps behind the join see this text alone, not what stands before it */
        cm3_text whole = {0};
        status = decode_ids(bpe, ids, id_count, skip_special, &whole);
        if (status == CM3_OK) status = cm3_decoder_finish(context, &bpe->decoder, &whole);
        if (status == CM3_OK) status = cm3_text_append(context, &out, whole.bytes, whole.size);
        cm3_free(context, whole.bytes);
    }
    *bytes = out.bytes;
    *capacity = out.capacity;
    if (status == CM3_OK) *count = out.size;
    return status;
}
