/* What a language model learns from: documents of a caption and a picture, or, by templates, of tasks. */
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "train/lm_run.h"

static cm3_encoder encoder_of(const cm3_trainer *trainer) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    return (cm3_encoder){.context = trainer->context,
                         .bpe = run->tokenizer->bpe,
                         .special = &run->tokenizer->special,
                         .vq = cm3_lm_run_vq(run)};
}

static const int32_t *widen(cm3_lm_scratch *scratch, const uint16_t *codes, int32_t count) {
    for (int32_t i = 0; i < count; i++) scratch->codes[i] = codes[i];
    return scratch->codes;
}

/* --- captions and pictures -----------------------------------------------------------------------------------------
 */

/** The sample at a position as ids; which caption, and whether it is dropped, hangs on (seed, position) alone. */
static cm3_status make_pair(cm3_trainer *trainer, cm3_dataset *dataset, uint64_t position, cm3_lm_scratch *scratch) {
    cm3_lm_run *run = cm3_lm_run_of(trainer);
    const cm3_sample *sample = cm3_dataset_at(dataset, position);
    cm3_random random = cm3_random_make(trainer->options.seed ^ 0x43415054u, position);
    bool validating = dataset == trainer->validation;
    bool drop = cm3_random_uniform(&random) < (double)run->options.caption_dropout && sample->code_count && !validating;
    int32_t pick = sample->caption_count > 1 ? (int32_t)cm3_random_below(&random, (uint64_t)sample->caption_count) : 0;
    const char *caption = sample->caption_count ? cm3_sample_caption(sample, validating ? 0 : pick) : "";
    if (run->bank && sample->query_count) caption = cm3_sample_query(sample, pick % sample->query_count);
    cm3_encoder encoder = encoder_of(trainer);
    int64_t added;
    scratch->document.count = 0;
    CM3_TRY(cm3_training_tokens(&encoder, caption, strlen(caption), widen(scratch, sample->codes, sample->code_count),
                                (size_t)sample->code_count, drop || !*caption, &scratch->document));
    return cm3_lm_add_neighbours(trainer, sample, &random, validating, &scratch->document, &added, &scratch->retrieved);
}

/* --- tasks ---------------------------------------------------------------------------------------------------------
 */

/** An item's values: the example's own texts, the record's captions as "caption", its pictures. */
typedef struct cm3_item_values {
    const cm3_item *item;
    cm3_random *random;
    bool first;   /**< of several wordings the first, else any */
    bool queries; /**< a record's query stands for its caption, where it has one */
    cm3_lm_scratch *scratch;
} cm3_item_values;

static const char *any_of(const cm3_item_values *v, const char *texts, int32_t count) {
    int32_t which = v->first || count < 2 ? 0 : (int32_t)cm3_random_below(v->random, (uint64_t)count);
    for (; which > 0; which--) texts += strlen(texts) + 1;
    return count ? texts : NULL;
}

static const char *item_text(void *arg, const char *name) {
    const cm3_item_values *v = arg;
    const cm3_example *example = v->item->example;
    for (int32_t i = 0; example && i < example->text_count; i++) {
        const cm3_sample_text *text = &example->texts[i];
        if (strcmp(text->name, name) == 0) return any_of(v, text->texts, text->count);
    }
    if (strcmp(name, "caption") != 0) return NULL;
    const cm3_sample *sample = v->item->sample;
    if (v->queries && sample->query_count) return any_of(v, sample->queries, sample->query_count);
    return any_of(v, sample->captions, sample->caption_count);
}

static const int32_t *item_codes(void *arg, const char *name, size_t *count) {
    const cm3_item_values *v = arg;
    const cm3_sample *sample = v->item->sample;
    if (strcmp(name, "image") == 0 && sample->code_count) {
        *count = (size_t)sample->code_count;
        return widen(v->scratch, sample->codes, sample->code_count);
    }
    for (int32_t i = 0; i < sample->image_count; i++) {
        const cm3_sample_image *image = &sample->images[i];
        if (strcmp(image->name, name) != 0) continue;
        *count = (size_t)image->code_count;
        return widen(v->scratch, image->codes, image->code_count);
    }
    return NULL;
}

/** A rectangle of a picture's tokens, of at most so many rows. */
static cm3_cells draw_cells(const cm3_trainer *trainer, int64_t tokens, int64_t most_rows, cm3_random *random) {
    const cm3_vq *vq = cm3_lm_run_vq(cm3_lm_run_of(trainer));
    int64_t grid = vq ? cm3_vq_grid(vq) : (int64_t)lround(sqrt((double)tokens));
    int64_t rows = tokens / grid, tall = rows < most_rows ? rows : most_rows;
    cm3_cells cells = {.width = 1 + (int32_t)cm3_random_below(random, (uint64_t)grid),
                       .height = 1 + (int32_t)cm3_random_below(random, (uint64_t)tall),
                       .grid = (int32_t)grid};
    cells.x = (int32_t)cm3_random_below(random, (uint64_t)(grid - cells.width + 1));
    cells.y = (int32_t)cm3_random_below(random, (uint64_t)(rows - cells.height + 1));
    return cells;
}

/** Its rows in a picture that begins at `begin`. */
static int spans_of(const cm3_cells *cells, int64_t begin, cm3_span *spans) {
    for (int32_t i = 0; i < cells->height; i++) {
        int64_t at = begin + (int64_t)(cells->y + i) * cells->grid + cells->x;
        spans[i] = (cm3_span){at, at + cells->width};
    }
    return cells->height;
}

/** A box that is asked for: each of its rows a span; as many as there are sentinels. */
static int draw_box(const cm3_trainer *trainer, const cm3_span *image, cm3_random *random, cm3_span *spans) {
    int64_t most = cm3_lm_run_of(trainer)->tokenizer->special.sentinel_count;
    const cm3_cells cells =
        draw_cells(trainer, image->end - image->begin, most < CM3_MAX_SPANS ? most : CM3_MAX_SPANS, random);
    return spans_of(&cells, image->begin, spans);
}

/** Of learning each of the unit's ids where only answers are learned, and what ends each; what is hidden and drawn once
 * more is learned where it was hidden. */
static void weigh_answers(const cm3_ids *unit, const cm3_answers *answers, const cm3_cells *hidden, float *weights) {
    cm3_span rows[CM3_MAX_ANSWERS];
    memset(weights, 0, unit->count * sizeof *weights);
    int count = hidden ? spans_of(hidden, answers->spans[0].begin, rows) : answers->count;
    const cm3_span *spans = hidden ? rows : answers->spans;
    for (int i = 0; i < count; i++) {
        for (int64_t k = spans[i].begin; k < spans[i].end + !hidden && k < (int64_t)unit->count; k++) weights[k] = 1;
    }
}

/** The same where answers were moved to the end of the document. */
static void weigh_end(const cm3_ids *unit, int64_t from, float *weights) {
    for (size_t i = 0; i < unit->count; i++) weights[i] = (int64_t)i >= from;
}

/** Tokens of text weigh more than those of pictures, or less. */
static void weigh_texts(const cm3_trainer *trainer, cm3_lm_scratch *scratch) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    const int32_t *image_code = run->tokenizer->special.image_code;
    for (size_t i = 0; i < scratch->unit.count; i++) {
        if (image_code[scratch->unit.ids[i]] < 0) scratch->weights[i] *= run->options.text_weight;
    }
}

static float run_weight(const cm3_trainer *trainer) {
    return cm3_lm_run_of(trainer)->options.retrieved_weight;
}

/** Room for the unit's weights: 1, and what was looked up its own. */
static cm3_status begin_weights(cm3_trainer *trainer, cm3_lm_scratch *scratch) {
    CM3_TRY(cm3_grow(trainer->context, &scratch->weights, &scratch->weight_capacity, scratch->unit.count, sizeof(float),
                     "documents"));
    for (size_t i = 0; i < scratch->unit.count; i++) {
        const bool given = (int64_t)i >= 1 && (int64_t)i <= scratch->retrieved;
        scratch->weights[i] = given ? run_weight(trainer) : 1;
    }
    return CM3_OK;
}

/** What is looked up and weighs less stays where it is: spans in it are left out. */
static int spare_retrieved(float weight, int64_t retrieved, cm3_span *spans, int count) {
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (weight >= 1 || spans[i].begin > retrieved) spans[kept++] = spans[i];
    }
    return kept;
}

/** Sentinels are not learned. */
static void spare_sentinels(const cm3_trainer *trainer, cm3_lm_scratch *scratch) {
    const cm3_special_tokens *special = &cm3_lm_run_of(trainer)->tokenizer->special;
    for (size_t i = 0; i < scratch->unit.count; i++) {
        if (cm3_is_sentinel(special, scratch->unit.ids[i])) scratch->weights[i] = 0;
    }
}

cm3_status cm3_lm_check_mixture(cm3_trainer *trainer, const cm3_mixture *mixture) {
    for (uint32_t i = 0; i < mixture->entry_count; i++) {
        const cm3_item item = cm3_mixture_item(mixture, i);
        cm3_item_values own = {&item, NULL, true, false, &cm3_lm_run_of(trainer)->scratch[0]};
        const cm3_task_values values = {item_text, item_codes, &own};
        char name[128];
        if (!cm3_task_lacks(item.task, &values, name)) continue;
        return cm3_fail(trainer->context, CM3_ERROR_FORMAT, "%s: the task '%s' needs '%s', which the example lacks",
                        item.sample->name, item.task->name, name);
    }
    return CM3_OK;
}

static cm3_task_drop draw_drop(const cm3_trainer *trainer, cm3_random *random) {
    double p = (double)cm3_lm_run_of(trainer)->options.caption_dropout, u = cm3_random_uniform(random);
    return u < p / 2 ? CM3_DROP_TEXT : u < p ? CM3_DROP_ALL : CM3_DROP_NOTHING;
}

/** The spans that a task asks for, or such as the objective draws where the answer stands at the end anyway. */
static int draw_spans(const cm3_trainer *trainer, const cm3_item *item, const cm3_span *answer, bool validating,
                      cm3_random *random, const cm3_ids *ids, cm3_span *spans) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    const cm3_special_tokens *special = &run->tokenizer->special;
    if (item->task->pieces[item->task->answer].box) return draw_box(trainer, answer, random, spans);
    if (!cm3_task_follows(item->task)) {
        spans[0] = *answer;
        return answer->begin < answer->end;
    }
    /* Sentinels that stand for what is hidden are no spans'. */
    if (validating || item->task->hides) return 0;
    return cm3_draw_spans(run->options.masking, special, ids->ids, (int64_t)ids->count, special->sentinel_count, random,
                          spans);
}

/** Moves the document's spans, and weighs what is learned of it. */
static cm3_status finish_item(cm3_trainer *trainer, const cm3_answers *answers, const cm3_cells *hidden,
                              const cm3_span *spans, int count, cm3_lm_scratch *scratch) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    cm3_ids *unit = &scratch->unit;
    cm3_masking form = run->options.masking == CM3_MASKING_PAPER ? CM3_MASKING_PAPER : CM3_MASKING_CODE;
    int64_t moved = count * (form == CM3_MASKING_CODE ? 2 : 1) + 1;
    for (int i = 0; i < count; i++) moved += spans[i].end - spans[i].begin;
    CM3_TRY(cm3_move_spans(trainer->context, form, &run->tokenizer->special, spans, count, unit));
    CM3_TRY(begin_weights(trainer, scratch));
    if (run->options.answers_only && count) {
        weigh_end(unit, (int64_t)unit->count - moved, scratch->weights);
    } else if (run->options.answers_only) {
        weigh_answers(unit, answers, hidden, scratch->weights);
    }
    if (run->options.text_weight != 1) weigh_texts(trainer, scratch);
    spare_sentinels(trainer, scratch);
    return CM3_OK;
}

static cm3_status make_item(cm3_trainer *trainer, cm3_mixture *mixture, uint64_t position, bool validating,
                            cm3_lm_scratch *scratch) {
    const cm3_item item = cm3_mixture_at(mixture, position);
    cm3_random random = cm3_random_make(trainer->options.seed ^ 0x5441534bu, position);
    cm3_item_values own = {&item, &random, validating, cm3_lm_run_of(trainer)->bank != NULL, scratch};
    const cm3_task_values values = {item_text, item_codes, &own};
    const cm3_encoder encoder = encoder_of(trainer);
    bool guided = item.task->pieces[cm3_task_guided(item.task)].kind == CM3_SEGMENT_IMAGE;
    cm3_task_drop drop = guided && !validating ? draw_drop(trainer, &random) : CM3_DROP_NOTHING;
    cm3_cells hidden = {0};
    if (item.task->hides) hidden = draw_cells(trainer, item.sample->code_count, CM3_MAX_ANSWERS, &random);
    const cm3_cells *hides = item.task->hides ? &hidden : NULL;
    cm3_ids *unit = &scratch->unit;
    cm3_answers answers;
    cm3_span spans[CM3_MAX_SPANS];
    cm3_status status =
        cm3_task_tokens(&encoder, item.task, &values, validating ? NULL : &random, drop, hides, unit, &answers);
    if (status != CM3_OK) {
        char message[512];
        snprintf(message, sizeof message, "%s", cm3_context_message(trainer->context));
        return cm3_fail(trainer->context, status, "%s: %s", item.sample->name, message);
    }
    if (cm3_task_follows(item.task) && !item.task->hides) {
        int64_t added;
        CM3_TRY(cm3_lm_add_neighbours(trainer, item.sample, &random, validating, unit, &added, &scratch->retrieved));
        for (int i = 0; i < answers.count; i++) {
            answers.spans[i].begin += added;
            answers.spans[i].end += added;
        }
    }
    int count = draw_spans(trainer, &item, &answers.spans[0], validating, &random, unit, spans);
    count = spare_retrieved(run_weight(trainer), scratch->retrieved, spans, count);
    return finish_item(trainer, &answers, hides, spans, count, scratch);
}

/* --- units ---------------------------------------------------------------------------------------------------------
 */

/** As many documents as fill a block, or one. */
static cm3_status join_pairs(cm3_trainer *trainer, cm3_dataset *dataset, uint64_t position, bool joins,
                             cm3_lm_scratch *scratch, uint64_t *documents) {
    size_t room = (size_t)cm3_lm_run_of(trainer)->options.block_size;
    cm3_ids *unit = &scratch->unit, *document = &scratch->document;
    unit->count = 0;
    for (*documents = 0; *documents == 0 || joins; ++*documents, ++position) {
        if (*documents && dataset == trainer->validation && position >= dataset->count) return CM3_OK;
        CM3_TRY(make_pair(trainer, dataset, position, scratch));
        if (*documents && unit->count + document->count > room) return CM3_OK;
        CM3_TRY(cm3_ids_reserve(trainer->context, unit, unit->count + document->count));
        memcpy(unit->ids + unit->count, document->ids, document->count * sizeof *unit->ids);
        unit->count += document->count;
    }
    return CM3_OK;
}

cm3_status cm3_lm_make_unit(cm3_trainer *trainer, cm3_dataset *dataset, uint64_t position, cm3_lm_scratch *scratch,
                            const float **weights, uint64_t *documents) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    const cm3_special_tokens *special = &run->tokenizer->special;
    bool validating = dataset == trainer->validation;
    cm3_masking masking = validating ? CM3_MASKING_NONE : run->options.masking;
    *documents = 1;
    *weights = NULL;
    scratch->retrieved = 0;
    if (run->mixtures[validating]) {
        CM3_TRY(make_item(trainer, run->mixtures[validating], position, validating, scratch));
        *weights = scratch->weights;
        return CM3_OK;
    }
    bool joins = run->options.attend == CM3_ATTEND_BLOCK && masking != CM3_MASKING_NONE;
    CM3_TRY(join_pairs(trainer, dataset, position, joins, scratch, documents));
    const bool alike = scratch->retrieved == 0 || run->options.retrieved_weight == 1;
    if (masking == CM3_MASKING_NONE && run->options.text_weight == 1 && alike) return CM3_OK;
    cm3_random random = cm3_random_make(trainer->options.seed ^ 0x4d41534bu, position);
    cm3_ids *unit = &scratch->unit;
    cm3_span spans[CM3_MAX_SPANS];
    int count =
        cm3_draw_spans(masking, special, unit->ids, (int64_t)unit->count, special->sentinel_count, &random, spans);
    count = spare_retrieved(run_weight(trainer), scratch->retrieved, spans, count);
    CM3_TRY(cm3_move_spans(trainer->context, masking, special, spans, count, unit));
    CM3_TRY(begin_weights(trainer, scratch));
    if (run->options.text_weight != 1) weigh_texts(trainer, scratch);
    spare_sentinels(trainer, scratch);
    *weights = scratch->weights;
    return CM3_OK;
}
