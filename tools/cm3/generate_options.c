/* cm3 generate: arguments become options. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"

static const cm3_option_use uses[] = {
    {"--image", "-p --batch"},
    {"--layout", "-p"},
    {"--output", "-p"},
    {"--output", "pictures"},
    {"--out-dir", "--batch"},
    {"--out-dir", "pictures"},
    {"--parallel", "--batch"},
    {"--count", "-p --batch"},
    {"--best", "-p --batch"},
    {"--encoder", "--best"},
    {"--beams", "texts"},
    {"--bank", "-p --batch"},
    {"--retrieve", "--bank"},
    {"--show-retrieved", "--bank"},
    {"--guidance", "pictures"},
    {"--guidance-scale", "pictures"},
    {"--image-guidance", "pictures"},
    {"--image-guidance", "--image --layout --bank --batch --ids --modality=interleaved"},
    {"--contrast", "pictures"},
    {"--contrast-k", "--contrast"},
    {"--contrast-last", "--contrast"},
    {"--temperature", "sampling"},
    {"--greedy", "sampling"},
    {"--top-p", "sampling"},
    {"--top-k", "sampling"},
    {"--repetition", "sampling"},
    {"--n-tokens", "texts --ids"},
    {"--min-tokens", "texts"},
    {"--stop", "texts"},
    {"--preview", "-p --batch"},
    {"--preview", "pictures"},
    {"--sheet", "-p --batch"},
    {"--sheet", "pictures"},
    {"--quality", "-p --batch"},
    {"--quality", "pictures"},
    {"--timings", "-p --batch"},
    {NULL, NULL},
};

/** A modality that is none is told later: until then it may be anything. */
static bool is_modality(const cm3_generate_arguments *a, const char *name) {
    return a->modality && !strcmp(a->modality, name);
}

bool cm3_generate_draws(const cm3_generate_arguments *a) {
    return a->modality ? !is_modality(a, "text") : !a->ids;
}

bool cm3_generate_fits(const cm3_generate_arguments *a, int argc, char **argv, const cm3_option *options) {
    const bool writes = a->modality ? !is_modality(a, "image") : a->ids != NULL;
    const struct {
        bool is;
        const char *part;
    } all[] = {
        {a->batch, "--batch"},      {a->ids, "--ids"},
        {a->prompt, "-p"},          {cm3_generate_draws(a), "pictures"},
        {writes, "texts"},          {is_modality(a, "interleaved"), "--modality=interleaved"},
        {a->beams < 2, "sampling"}, {a->images.count, "--image"},
        {a->layout, "--layout"},    {a->lookup.bank, "--bank"},
        {a->best, "--best"},        {a->contrast > 0, "--contrast"},
    };
    char parts[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all && used < sizeof parts; i++) {
        if (all[i].is) used += (size_t)snprintf(parts + used, sizeof parts - used, "%s ", all[i].part);
    }
    return cm3_options_fit(argc, argv, options, uses, "cm3 generate", parts);
}

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
