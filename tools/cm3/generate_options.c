/* cm3 generate: arguments become options. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"

/** Which of `names` (ended by NULL) the word is; -1 after saying what it may be. No word: `otherwise`. */
static int choose(const char *option, const char *word, const char *const *names, int otherwise) {
    if (!word) return otherwise;
    for (int i = 0; names[i]; i++) {
        if (!strcmp(word, names[i])) return i;
    }
    cm3_say("%s cannot be '%s'; 'cm3 generate --help' tells more", option, word);
    return -1;
}

static bool read_stops(const cm3_list *words, int32_t *stops) {
    for (size_t i = 0; i < words->count; i++) {
        char *end;
        errno = 0;
        long id = strtol(words->items[i], &end, 10);
        if (end == words->items[i] || *end || errno || id < 0 || id > INT32_MAX) {
            cm3_say("--stop: '%s' is not a token's id", words->items[i]);
            return false;
        }
        stops[i] = (int32_t)id;
    }
    return true;
}

bool cm3_generate_read_options(const cm3_model *model, const cm3_generate_arguments *a, cm3_generate_options *o,
                               int32_t *stops) {
    static const char *const modalities[] = {"", "image", "text", "interleaved", NULL};
    static const char *const computes[] = {"", "f32", "bf16", NULL}, *const kvs[] = {"", "f32", "bf16", "int8", NULL};
    int modality = choose("--modality", a->modality, modalities, a->ids ? CM3_MODALITY_FREE : CM3_MODALITY_IMAGE);
    int compute = choose("--compute", a->compute, computes, a->ids ? CM3_COMPUTE_F32 : CM3_COMPUTE_AUTO);
    int kv = choose("--kv", a->kv, kvs, a->ids && compute == CM3_COMPUTE_F32 ? CM3_KV_F32 : CM3_KV_AUTO);
    if (modality < 0 || compute < 0 || kv < 0 || !read_stops(&a->stops, stops)) return false;
    cm3_generate_options_for(model, (cm3_modality)modality, o);
    o->compute = (cm3_compute)compute;
    o->kv = (cm3_kv_type)kv;
    o->seed = a->seed;
    o->candidates = (int32_t)a->count;
    /* Ids are for comparing: nothing is done that was not asked for. */
    if (a->ids) o->guidance_scale = o->repetition_penalty = 1;
    if (a->guidance >= 0) o->guidance_scale = (float)a->guidance;
    if (a->image_guidance >= 0) o->image_guidance_scale = (float)a->image_guidance;
    o->best = (int32_t)a->best;
    o->beams = (int32_t)a->beams;
    o->contrast_alpha = (float)a->contrast;
    o->contrast_k = (int32_t)a->contrast_k;
    o->contrast_candidates = (int32_t)a->contrast_last;
    if (a->temperature >= 0) o->temperature = (float)a->temperature;
    if (a->top_p >= 0) o->top_p = (float)a->top_p;
    if (a->repetition >= 0) o->repetition_penalty = (float)a->repetition;
    if (a->greedy) o->temperature = 0;
    o->top_k = (int32_t)a->top_k;
    o->max_tokens = (int32_t)a->n_tokens;
    o->min_tokens = (int32_t)a->min_tokens;
    o->stop_ids = stops;
    o->stop_count = a->stops.count;
    o->end_turn = a->chat;
    if (a->preview) o->preview_rows = 1;
    return true;
}
