/* What one token does to a candidate: its mode, its text and pictures, its events. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "generate/infill.h"
#include "generate/preview.h"

bool cm3_candidate_may_say(const cm3_request *request, const cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                           int64_t room, uint8_t kind) {
    const cm3_generate_options *o = &request->options;
    if (candidate->in_image) return kind == 2;
    if (kind == 3) return candidate->history.count - candidate->prompt_count >= (size_t)o->min_tokens;
    if (kind == 1) return true;
    if (o->modality == CM3_MODALITY_FREE) return kind != 2;
    /* An image opens only where all of it still fits, its brackets included. */
    return kind == 4 && o->modality == CM3_MODALITY_INTERLEAVED && vocabulary->image_tokens &&
           room >= vocabulary->image_tokens + 2;
}

int32_t cm3_candidate_forced(const cm3_candidate *candidate, const cm3_vocabulary *vocabulary) {
    return candidate->closing ? vocabulary->closer : candidate->forced;
}

static cm3_status push_event(cm3_request *request, const cm3_candidate *candidate, cm3_event *event) {
    event->candidate = candidate->number;
    event->seconds = cm3_clock_since(request->started_at);
    return cm3_events_push(&request->events, event);
}

static cm3_status add_piece(cm3_request *request, cm3_candidate *candidate, cm3_piece piece) {
    cm3_status status = cm3_grow(request->context, &candidate->pieces, &candidate->piece_capacity,
                                 candidate->piece_count + 1, sizeof *candidate->pieces, "result");
    if (status != CM3_OK) {
        cm3_free(request->context, piece.text);
        cm3_free(request->context, piece.codes);
        cm3_image_destroy(piece.image);
        return status;
    }
    candidate->pieces[candidate->piece_count++] = piece;
    return CM3_OK;
}

/* --- text ----------------------------------------------------------------------------------------------------------
 */

/** Bytes at the end of `bytes` that begin a code point without finishing it. */
static size_t unfinished(const char *bytes, size_t count) {
    for (size_t back = 1; back <= 3 && back <= count; back++) {
        unsigned char byte = (unsigned char)bytes[count - back];
        if ((byte & 0xc0) == 0x80) continue;
        size_t length = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        return length > back && byte < 0xf8 ? back : 0;
    }
    return 0;
}

/** Tells the whole code points that have come together; all that is left where `flush`. */
static cm3_status tell_text(cm3_request *request, cm3_candidate *candidate, bool flush) {
    size_t ready = candidate->byte_count - (flush ? 0 : unfinished(candidate->bytes, candidate->byte_count));
    if (!ready) return CM3_OK;
    size_t before = candidate->text_count;
    CM3_TRY(cm3_utf8_lossy(request->context, candidate->bytes, ready, &candidate->text, &candidate->text_count,
                           &candidate->text_capacity));
    candidate->byte_count -= ready;
    memmove(candidate->bytes, candidate->bytes + ready, candidate->byte_count);
    cm3_event event = {
        .kind = CM3_EVENT_TEXT, .text = candidate->text + before, .text_size = candidate->text_count - before};
    return push_event(request, candidate, &event);
}

/** Ends the text piece being made. */
static cm3_status close_text(cm3_request *request, cm3_candidate *candidate) {
    CM3_TRY(tell_text(request, candidate, true));
    /* What is filled in is told even where it is nothing: which mask a text is for must be seen. */
    if (!candidate->text_count && request->options.modality != CM3_MODALITY_INFILL) return CM3_OK;
    cm3_piece piece = {.text = cm3_strndup(request->context, candidate->text, candidate->text_count),
                       .text_size = candidate->text_count};
    if (!piece.text) return cm3_fail_memory(request->context, candidate->text_count, "result");
    candidate->text_count = 0;
    return add_piece(request, candidate, piece);
}

/* --- pictures ------------------------------------------------------------------------------------------------------
 */

/** Decodes the rows of codes that are there, in a graph of the engine's, which a cancel of this request stops. A
 * preview's first `known` rows are taken from the one before it. */
static cm3_status decode(cm3_request *request, cm3_candidate *candidate, cm3_graph *graph, int32_t rows, int32_t known,
                         cm3_image **image) {
    uint64_t start = cm3_clock_ns();
    const atomic_int *others = graph->cancel;
    graph->cancel = &request->cancelled;
    cm3_status status = cm3_vq_decode_rows_in(graph, request->model->tokenizer->vq, candidate->codes.ids, rows, known,
                                              candidate->preview, image);
    graph->cancel = others;
    request->timings.image_decode += cm3_clock_since(start);
    return status;
}

/** Tells the rows that are new, beside the model or here and now; the rows still missing are black. */
static cm3_status tell_rows(cm3_request *request, cm3_candidate *candidate, cm3_graph *graph) {
    int32_t rows = (int32_t)candidate->codes.count / cm3_vq_grid(request->model->tokenizer->vq);
    int32_t known = rows - candidate->due_rows;
    cm3_image *image;
    if (request->previews) {
        CM3_TRY(cm3_preview_end(request, candidate));
        return cm3_preview_begin(request, candidate, rows, known);
    }
    CM3_TRY(decode(request, candidate, graph, rows, known, &image));
    cm3_image_destroy(candidate->preview);
    candidate->preview = image;
    return cm3_preview_tell(request, candidate, rows, known, image);
}

/** Of a picture that had holes: the original, with what was made in its place. */
static cm3_status lay_over(cm3_request *request, cm3_image **image) {
    cm3_image *made = *image;
    cm3_status status = cm3_infill_compose(request, made, image);
    cm3_image_destroy(made);
    return status;
}

/** The picture's codes, and, where it is whole, its pixels become a piece. `graph` NULL: it was cut off. */
static cm3_status close_image(cm3_request *request, cm3_candidate *candidate, cm3_graph *graph) {
    cm3_event event = {.kind = CM3_EVENT_IMAGE, .index = candidate->image_index};
    cm3_piece piece = {.code_count = candidate->codes.count};
    if (graph) {
        CM3_TRY(cm3_preview_end(request, candidate));
        CM3_TRY(decode(request, candidate, graph, cm3_vq_grid(request->model->tokenizer->vq), 0, &piece.image));
        if (request->holes.codes) CM3_TRY(lay_over(request, &piece.image));
        event.image = piece.image;
    }
    piece.codes = cm3_calloc(request->context, piece.code_count, sizeof *piece.codes);
    if (!piece.codes) {
        cm3_image_destroy(piece.image);
        return cm3_fail_memory(request->context, piece.code_count * sizeof *piece.codes, "result");
    }
    memcpy(piece.codes, candidate->codes.ids, piece.code_count * sizeof *piece.codes);
    candidate->codes.count = 0;
    candidate->image_index++;
    cm3_image_destroy(candidate->preview);
    candidate->preview = NULL;
    CM3_TRY(add_piece(request, candidate, piece));
    return graph || request->options.codes_only ? push_event(request, candidate, &event) : CM3_OK;
}

/** max_tokens bounds text; a picture that has begun is finished. */
static cm3_status end_if_full(cm3_request *request, cm3_candidate *candidate) {
    if (candidate->ended || !candidate->full || candidate->in_image) return CM3_OK;
    CM3_TRY(close_text(request, candidate));
    return cm3_candidate_end(request, candidate, CM3_END_MAX_TOKENS, CM3_OK);
}

bool cm3_candidate_is_whole(const cm3_request *request, const cm3_candidate *candidate) {
    return candidate->due_rows && candidate->codes.count == (size_t)cm3_vq_tokens(request->model->tokenizer->vq);
}

cm3_status cm3_candidate_show(cm3_request *request, cm3_candidate *candidate, cm3_graph *graph) {
    bool whole = cm3_candidate_is_whole(request, candidate);
    if (request->options.codes_only) graph = NULL;
    cm3_status status = whole ? close_image(request, candidate, graph) : tell_rows(request, candidate, graph);
    if (graph && cm3_graph_halfway(graph)) return status; /* still due */
    candidate->due_rows = 0;
    if (status != CM3_OK || !whole) return status;
    if (request->options.modality == CM3_MODALITY_IMAGE || request->options.modality == CM3_MODALITY_INFILL) {
        return cm3_candidate_end(request, candidate, CM3_END_FINISHED, CM3_OK);
    }
    return end_if_full(request, candidate);
}

static cm3_status take_code(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                            int32_t token) {
    const cm3_tokenizer *tokenizer = request->model->tokenizer;
    CM3_TRY(cm3_ids_push(request->context, &candidate->codes, tokenizer->special.image_code[token]));
    CM3_TRY(cm3_infill_rest(request, candidate));
    int32_t count = (int32_t)candidate->codes.count, every = request->options.preview_rows,
            side = cm3_vq_grid(tokenizer->vq);
    candidate->forced = -1;
    if (count < vocabulary->image_tokens) {
        candidate->forced = cm3_infill_known(request, count);
        bool preview = every > 0 && !request->options.codes_only && count % side == 0 && count / side % every == 0;
        candidate->due_rows = preview ? every : 0;
        return CM3_OK;
    }
    candidate->in_image = false;
    candidate->due_rows = side;
    candidate->closing = request->options.modality != CM3_MODALITY_IMAGE && vocabulary->closer >= 0;
    return CM3_OK;
}

/* --- one token -----------------------------------------------------------------------------------------------------
 */

cm3_status cm3_candidate_guide(cm3_request *request, cm3_candidate *candidate) {
    const cm3_special_tokens *special = &request->model->tokenizer->special;
    cm3_stream *stream = &candidate->unconditional, *pictures = &candidate->pictures;
    if (!stream->cache) return CM3_OK;
    stream->cache->length = 0;
    stream->pending.count = 0;
    for (size_t i = 0; i < request->unconditional_ids.count; i++) {
        CM3_TRY(cm3_ids_push(request->context, &stream->pending, request->unconditional_ids.ids[i]));
    }
    if (!pictures->cache) return CM3_OK;
    pictures->cache->length = 0;
    pictures->pending.count = 0;
    const cm3_ids *own = &request->picture_prompt_ids;
    for (size_t i = 0; i < own->count; i++) CM3_TRY(cm3_ids_push(request->context, &pictures->pending, own->ids[i]));
    if (own->count) return CM3_OK;
    for (size_t i = 0; i < candidate->history.count; i++) {
        int32_t id = candidate->history.ids[i];
        if (cm3_is_of_pictures(special, id)) CM3_TRY(cm3_ids_push(request->context, &pictures->pending, id));
    }
    return CM3_OK;
}

static cm3_status feed(cm3_request *request, cm3_candidate *candidate, int32_t token, bool was_image) {
    if (candidate->ended) return CM3_OK;
    CM3_TRY(cm3_ids_push(request->context, &candidate->conditional.pending, token));
    if (request->options.modality == CM3_MODALITY_INFILL) { /* its streams hear all of it */
        if (!candidate->unconditional.cache) return CM3_OK;
        return cm3_ids_push(request->context, &candidate->unconditional.pending, token);
    }
    if (!was_image || !candidate->in_image || !candidate->unconditional.cache) return CM3_OK;
    CM3_TRY(cm3_ids_push(request->context, &candidate->unconditional.pending, token));
    if (!candidate->pictures.cache) return CM3_OK;
    return cm3_ids_push(request->context, &candidate->pictures.pending, token);
}

static bool is_stop(const cm3_request *request, int32_t token) {
    for (size_t i = 0; i < request->stops.count; i++) {
        if (request->stops.ids[i] == token) return true;
    }
    return false;
}

/** A token of text. */
static cm3_status say(cm3_request *request, cm3_candidate *candidate, int32_t token) {
    CM3_TRY(cm3_bpe_decode_raw(request->model->tokenizer->bpe, &token, 1, true, &candidate->bytes,
                               &candidate->byte_count, &candidate->byte_capacity));
    return tell_text(request, candidate, false);
}

static cm3_status take_text(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                            int32_t token) {
    uint8_t kind = vocabulary->kind[token];
    if ((kind == 3 || is_stop(request, token)) && !request->options.ignore_stops) {
        CM3_TRY(close_text(request, candidate));
        return cm3_candidate_end(request, candidate, CM3_END_FINISHED, CM3_OK);
    }
    if (kind == 4 && request->options.modality == CM3_MODALITY_INTERLEAVED) {
        CM3_TRY(close_text(request, candidate));
        candidate->in_image = true;
        return cm3_candidate_guide(request, candidate);
    }
    return say(request, candidate, token);
}

/** A token while holes are filled in. */
static cm3_status take_infill(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                              int32_t token) {
    bool text, through, spoke = !candidate->in_image && candidate->forced < 0;
    cm3_infill_take(request, candidate, vocabulary, token, &text, &through);
    if (text) return say(request, candidate, token);
    if (spoke) CM3_TRY(close_text(request, candidate));
    if (!through) return CM3_OK;
    if (!request->holes.codes) return cm3_candidate_end(request, candidate, CM3_END_FINISHED, CM3_OK);
    candidate->due_rows = cm3_vq_grid(request->model->tokenizer->vq);
    return CM3_OK;
}

/** Room that a text must leave: where holes are filled in, for those of pictures behind it. */
static size_t still_due(const cm3_request *request, const cm3_candidate *candidate) {
    bool texts;
    if (request->options.modality != CM3_MODALITY_INFILL) return 0;
    int64_t due = cm3_infill_tokens(&request->holes, candidate->hole + 1, &texts);
    return due ? (size_t)due + 2 : 0;
}

cm3_status cm3_candidate_take(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                              int32_t token) {
    bool was_image = candidate->in_image;
    CM3_TRY(cm3_ids_push(request->context, &candidate->history, token));
    request->timings.new_tokens++;
    size_t made = candidate->history.count - candidate->prompt_count;
    cm3_event event = {.kind = CM3_EVENT_TOKEN,
                       .token = token,
                       .index = (int32_t)(made - 1),
                       .modality = was_image ? CM3_MODALITY_IMAGE : CM3_MODALITY_TEXT};
    CM3_TRY(push_event(request, candidate, &event));
    bool infill = request->options.modality == CM3_MODALITY_INFILL;
    if (infill) {
        CM3_TRY(take_infill(request, candidate, vocabulary, token));
    } else if (candidate->closing) {
        candidate->closing = false;
    } else if (was_image) {
        CM3_TRY(take_code(request, candidate, vocabulary, token));
    } else {
        CM3_TRY(take_text(request, candidate, vocabulary, token));
    }
    bool speaks = !infill || (!candidate->in_image && candidate->forced < 0); /* pictures are always whole */
    candidate->full = (request->options.max_tokens && speaks && made >= (size_t)request->options.max_tokens) ||
                      (speaks && candidate->history.count + still_due(request, candidate) >= (size_t)request->capacity);
    if (!candidate->due_rows) CM3_TRY(end_if_full(request, candidate));
    return feed(request, candidate, token, was_image);
}

cm3_status cm3_candidate_end(cm3_request *request, cm3_candidate *candidate, cm3_end_reason reason, cm3_status why) {
    if (candidate->ended) return CM3_OK;
    candidate->ended = true;
    request->active--;
    cm3_preview_forget(request, candidate);
    cm3_status status = CM3_OK;
    if (reason == CM3_END_CANCELLED || reason == CM3_END_FAILED) {
        status = close_text(request, candidate);
        if (status == CM3_OK && candidate->codes.count) status = close_image(request, candidate, NULL);
    }
    cm3_event event = {
        .kind = CM3_EVENT_END, .reason = reason, .status = why, .log_probability = candidate->log_probability};
    bool silent = request->beam && candidate->number >= request->options.best; /* a beam that was not asked for */
    cm3_status told = silent ? CM3_OK : push_event(request, candidate, &event);
    return status == CM3_OK ? told : status;
}

void cm3_candidate_clear(cm3_request *request, cm3_candidate *candidate) {
    cm3_context *context = request->context;
    cm3_stream *streams[] = {&candidate->conditional, &candidate->unconditional, &candidate->pictures};
    for (int i = 0; i < 3; i++) {
        cm3_cache_destroy(context, streams[i]->cache);
        cm3_ids_clear(context, &streams[i]->pending);
    }
    cm3_ids_clear(context, &candidate->history);
    cm3_ids_clear(context, &candidate->codes);
    cm3_image_destroy(candidate->preview);
    cm3_free(context, candidate->bytes);
    cm3_free(context, candidate->text);
    for (size_t i = 0; i < candidate->piece_count; i++) {
        cm3_free(context, candidate->pieces[i].text);
        cm3_free(context, candidate->pieces[i].codes);
        cm3_image_destroy(candidate->pieces[i].image);
    }
    cm3_free(context, candidate->pieces);
}
