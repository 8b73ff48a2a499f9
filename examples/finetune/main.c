/*
 * A model learns one's own pictures: a folder of pictures and captions becomes records, their pictures become codes,
 * the language model goes on from MODEL's weights, and what comes out draws.
 *
 *   cc main.c $(pkg-config --cflags --libs cm3leon) && ./a.out MODEL FOLDER RUN STEPS "a caption" out.png
 *
 * FOLDER holds NAME.png or NAME.jpg with NAME.txt. RUN is made; it keeps the records, the run's state, from which an
 * interrupted run goes on, and the new model, RUN/model.cm3. A RUN belongs to one FOLDER as it is.
 */
#define _XOPEN_SOURCE 700
#include <cm3leon/cm3leon.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *beside(char path[4096], const char *folder, const char *name) {
    if (snprintf(path, 4096, "%s/%s", folder, name) >= 4096) path[0] = '\0'; /* too long: there is no such file */
    return path;
}

/* A text as a JSON string: captions are one line, so that quotes and backslashes are all there is to escape. */
static void put_json(FILE *to, const char *text) {
    fputc('"', to);
    for (; *text && *text != '\n' && *text != '\r'; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', to);
        if ((unsigned char)*text >= ' ') fputc(*text, to);
    }
    fputc('"', to);
}

/* RUN/records.jsonl: a line {"key": "0", "image": PATH, "text": CAPTION} for each picture that has a caption. */
static cm3_status make_records(const char *folder, const char *run, int *count) {
    char path[4096], caption[4096], name[256], *home = realpath(folder, NULL);
    FILE *records = fopen(beside(path, run, "records.jsonl"), "w");
    DIR *entries = home ? opendir(home) : NULL;
    cm3_status status = records && entries ? CM3_OK : CM3_ERROR_NOT_FOUND;
    for (struct dirent *entry; status == CM3_OK && (entry = readdir(entries));) {
        const char *ending = strrchr(entry->d_name, '.');
        if (!ending || (strcmp(ending, ".png") != 0 && strcmp(ending, ".jpg") != 0)) continue;
        snprintf(name, sizeof name, "%.*s.txt", (int)(ending - entry->d_name), entry->d_name);
        FILE *file = fopen(beside(path, home, name), "r");
        const char *text = file ? fgets(caption, sizeof caption, file) : NULL;
        if (file) fclose(file);
        if (!text) continue;
        fprintf(records, "{\"key\": \"%d\", \"image\": ", (*count)++);
        put_json(records, beside(path, home, entry->d_name));
        fputs(", \"text\": ", records);
        put_json(records, text);
        fputs("}\n", records);
    }
    if (entries) closedir(entries);
    if (records && fclose(records) && status == CM3_OK) status = CM3_ERROR_IO;
    if (status != CM3_OK) fprintf(stderr, "%s or %s cannot be used: ", folder, run);
    free(home);
    return status;
}

static cm3_status train(cm3_context *context, const char *model, const char *codes, const char *run, int64_t steps,
                        const char *tuned) {
    cm3_train_options options;
    cm3_train_lm_options lm;
    cm3_trainer *trainer = NULL;
    cm3_train_options_init(&options);
    options.run_dir = run;
    options.data = &codes;
    options.data_count = 1;
    options.batch_size = 1;
    options.steps = steps;
    options.warmup = steps / 10;
    options.lr = 5e-4F; /* a quarter of what it was trained with: it is to learn these and forget little */
    cm3_train_lm_options_init(&lm);
    lm.init = lm.image_tokenizer = model;
    lm.masking = CM3_MASKING_NONE; /* drawing alone is learned */
    cm3_status status = cm3_trainer_create_lm(context, &options, &lm, &trainer);
    int64_t step = 0;
    if (status == CM3_OK) status = cm3_trainer_progress(trainer, &step, &steps);
    while (status == CM3_OK && step < steps) {
        cm3_train_report report = {.struct_size = sizeof report};
        status = cm3_trainer_step(trainer, &report);
        if (status != CM3_OK) break;
        step = report.step;
        if (step % 10 == 0 || step == 1 || step == steps) printf("step %d: loss %.3f\n", (int)step, report.loss);
        if (step % 100 == 0 || step == steps) status = cm3_trainer_checkpoint(trainer);
    }
    if (status == CM3_OK) status = cm3_trainer_export(trainer, tuned, CM3_COMPUTE_AUTO);
    cm3_trainer_destroy(trainer);
    return status;
}

static cm3_status draw(cm3_context *context, const char *path, const char *caption, const char *to) {
    cm3_model *model = NULL;
    cm3_document *prompt = NULL, *result = NULL;
    cm3_segment picture = {.struct_size = sizeof picture};
    cm3_status status = cm3_model_load(context, path, NULL, &model);
    if (status == CM3_OK) status = cm3_document_create(context, &prompt);
    if (status == CM3_OK) status = cm3_document_add_text(prompt, caption, SIZE_MAX);
    if (status == CM3_OK) status = cm3_generate(model, prompt, NULL, NULL, NULL, &result);
    if (status == CM3_OK) status = cm3_document_get(result, 0, &picture);
    if (status == CM3_OK) status = cm3_image_save(picture.image, to, NULL);
    cm3_document_destroy(result);
    cm3_document_destroy(prompt);
    cm3_model_destroy(model);
    return status;
}

int main(int argc, char **argv) {
    char records[4096], codes[4096], out[4096], tuned[4096];
    long long steps = 0;
    int count = 0;
    cm3_context *context = NULL;
    if (argc != 7 || sscanf(argv[4], "%lld", &steps) != 1 || steps < 1) {
        fprintf(stderr, "Usage: finetune MODEL FOLDER RUN STEPS CAPTION OUT.png\n");
        return 2;
    }
    const char *model = argv[1], *run = argv[3];
    const char *shard = beside(records, run, "records.jsonl");
    beside(out, run, "codes");
    beside(codes, out, "records.tar");
    mkdir(run, 0777);
    if (cm3_context_create(NULL, &context) != CM3_OK) return 1;
    cm3_status status = make_records(argv[2], run, &count);
    if (status == CM3_OK) printf("%d pictures\n", count);
    /* Cut to squares and encoded, once for all steps. */
    if (status == CM3_OK) status = cm3_train_encode_shards(context, model, &shard, 1, out, NULL, NULL);
    if (status == CM3_OK) status = train(context, model, codes, run, steps, beside(tuned, run, "model.cm3"));
    if (status == CM3_OK) status = draw(context, tuned, argv[5], argv[6]);
    if (status != CM3_OK) fprintf(stderr, "%s: %s\n", cm3_status_name(status), cm3_context_message(context));
    cm3_context_destroy(context);
    return status != CM3_OK;
}
