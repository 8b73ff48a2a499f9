/* Which of a request's candidates are the best: by an encoder's score, or by log-probability. */
#include "generate/ranking.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "document/segments.h"
#include "model/clip.h"

cm3_status cm3_rank_caption(cm3_request *request, const cm3_document *prompt) {
    size_t size = 0;
    for (size_t i = 0; i < prompt->count; i++) size += prompt->segments[i].text_size + 1;
    char *caption = request->caption = cm3_alloc(request->context, size + 1);
    if (!caption) return cm3_fail_memory(request->context, size, "a prompt's texts");
    for (size_t i = 0; i < prompt->count; i++) {
        const cm3_segment_data *segment = &prompt->segments[i];
        if (segment->kind != CM3_SEGMENT_TEXT || !segment->text_size || segment->retrieved) continue;
        if (caption != request->caption) *caption++ = ' ';
        memcpy(caption, segment->text, segment->text_size);
        caption += segment->text_size;
    }
    *caption = '\0';
    return CM3_OK;
}

static int by_score(const void *left, const void *right) {
    const cm3_rank *a = left, *b = right;
    if (a->score != b->score) return a->score < b->score ? 1 : -1;
    return a->candidate < b->candidate ? -1 : a->candidate > b->candidate;
}

void cm3_rank_sort(cm3_rank *ranks, int32_t count) {
    qsort(ranks, (size_t)count, sizeof *ranks, by_score);
}

/** The picture that a candidate made. */
static cm3_image *picture_of(const cm3_candidate *candidate) {
    return candidate->piece_count ? candidate->pieces[0].image : NULL;
}

/** Cosines of the caption and each picture: both vectors are of length 1. */
static cm3_status score_by_encoder(cm3_request *request) {
    cm3_model *encoder = request->options.encoder;
    const char *caption = request->caption;
    size_t count = (size_t)request->options.candidates, width = (size_t)encoder->clip->config.projection_dim;
    float *vectors = cm3_calloc(request->context, (count + 1) * width, sizeof *vectors);
    cm3_image **images = cm3_calloc(request->context, count, sizeof(cm3_image *));
    cm3_status status =
        vectors && images ? CM3_OK : cm3_fail_memory(request->context, (count + 1) * width * sizeof *vectors, "scores");
    for (size_t i = 0; i < count && status == CM3_OK; i++) images[i] = picture_of(&request->candidates[i]);
    if (status == CM3_OK) status = cm3_model_embed_texts(encoder, &caption, 1, 1, vectors);
    if (status == CM3_OK) status = cm3_model_embed_images(encoder, images, count, 1, vectors + width);
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        double sum = 0;
        for (size_t d = 0; d < width; d++) sum += (double)vectors[d] * (double)vectors[(i + 1) * width + d];
        request->ranks[i].score = sum;
    }
    cm3_free(request->context, vectors);
    cm3_free(request->context, images);
    return status;
}

static void score_by_probability(cm3_request *request) {
    for (int32_t i = 0; i < request->options.candidates; i++) {
        const cm3_candidate *candidate = &request->candidates[i];
        size_t said = candidate->history.count - candidate->prompt_count;
        request->ranks[i].score = candidate->log_probability / (double)(said ? said : 1);
    }
}

cm3_status cm3_rank_candidates(cm3_request *request) {
    int32_t count = request->options.candidates;
    if (!request->options.best || request->ranks) return CM3_OK;
    request->ranks = cm3_calloc(request->context, (size_t)count, sizeof *request->ranks);
    if (!request->ranks) return cm3_fail_memory(request->context, (size_t)count * sizeof *request->ranks, "scores");
    for (int32_t i = 0; i < count; i++) request->ranks[i].candidate = i;
    cm3_status status = CM3_OK;
    if (request->options.encoder) {
        status = score_by_encoder(request);
    } else {
        score_by_probability(request);
    }
    if (status == CM3_OK) {
        cm3_rank_sort(request->ranks, count);
        return CM3_OK;
    }
    cm3_free(request->context, request->ranks);
    request->ranks = NULL;
    return status;
}
