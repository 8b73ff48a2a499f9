/*
 * One's own pictures in a memory bank, looked up for a prompt: what the model never learned it reads there.
 *
 *   cc main.c $(pkg-config --cflags --libs cm3leon) && ./a.out MODEL FOLDER "the emblem of Kelmor" emblem.png
 *
 * FOLDER holds NAME.png or NAME.jpg with NAME.txt, what the picture shows. The bank is made beside it, FOLDER.bank;
 * where it is there already only what is new is added. The model must have an encoder ('cm3 info MODEL').
 */
#define _POSIX_C_SOURCE 200809L
#include <cm3leon/cm3leon.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* NAME.txt of a picture; false where there is none. */
static int read_text(const char *folder, const char *picture, char *text, size_t size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%.*s.txt", folder, (int)(strrchr(picture, '.') - picture), picture);
    FILE *file = fopen(path, "rb");
    const size_t length = file ? fread(text, 1, size - 1, file) : 0;
    if (file) fclose(file);
    text[length] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    return *text != '\0';
}

/* One picture and its text: a vector of both by the model's encoder, the picture as the model's codes. */
static cm3_status add(cm3_context *context, cm3_retriever *retriever, const char *folder, const char *name) {
    char path[4096], text[4096];
    if (!read_text(folder, name, text, sizeof text)) return CM3_OK;
    cm3_retrieval_item item = {.struct_size = sizeof item, .key = name, .text = text};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cm3_status status = cm3_image_load(context, path, &item.image);
    uint64_t id = CM3_NO_RECORD;
    if (status == CM3_OK) status = cm3_retriever_add(retriever, &item, 1, &id);
    if (status == CM3_OK) printf("%s: %s\n", name, id == CM3_NO_RECORD ? "is there already" : text);
    cm3_image_destroy(item.image);
    return status;
}

static cm3_status add_folder(cm3_context *context, cm3_retriever *retriever, const char *folder) {
    DIR *entries = opendir(folder);
    if (!entries) fprintf(stderr, "%s: there is no such folder\n", folder);
    if (!entries) return CM3_ERROR_NOT_FOUND;
    cm3_status status = CM3_OK;
    for (struct dirent *entry; status == CM3_OK && (entry = readdir(entries));) {
        const char *ending = strrchr(entry->d_name, '.');
        if (ending && (!strcmp(ending, ".png") || !strcmp(ending, ".jpg"))) {
            status = add(context, retriever, folder, entry->d_name);
        }
    }
    closedir(entries);
    return status;
}

static cm3_status open_bank(cm3_context *context, cm3_model *model, const char *folder, cm3_bank **bank) {
    char path[4096];
    snprintf(path, sizeof path, "%s.bank", folder);
    const cm3_status status = cm3_bank_open(context, path, CM3_BANK_WRITE, bank);
    if (status != CM3_ERROR_NOT_FOUND) return status;
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    options.model = model; /* the bank remembers whose vectors it holds, and refuses others */
    return cm3_bank_create(context, path, &options, bank);
}

/* What is found stands before the prompt's own text. */
static cm3_status draw(cm3_model *model, cm3_retriever *retriever, cm3_document *prompt, const char *text,
                       const char *path) {
    const cm3_retrieval_item query = {.struct_size = sizeof query, .text = text};
    cm3_hit hits[2];
    size_t found = 0;
    cm3_retrieve_options rules;
    cm3_retrieve_options_init(&rules); /* the paper's: two documents, not too much alike */
    cm3_status status = cm3_retriever_retrieve(retriever, &query, &rules, 0, prompt, hits, &found);
    for (size_t i = 0; i < found && status == CM3_OK; i++) {
        cm3_bank_record *record;
        status = cm3_retriever_fetch(retriever, hits[i].id, &record);
        if (status != CM3_OK) break;
        printf("found %s (%.3f): %s\n", record->key, (double)hits[i].score, record->text);
        cm3_retriever_release(retriever, record);
    }
    cm3_document *result = NULL;
    cm3_segment picture = {.struct_size = sizeof picture};
    if (status == CM3_OK) status = cm3_document_add_text(prompt, text, SIZE_MAX);
    if (status == CM3_OK) status = cm3_generate(model, prompt, NULL, NULL, NULL, &result);
    if (status == CM3_OK) status = cm3_document_get(result, 0, &picture);
    if (status == CM3_OK) status = cm3_image_save(picture.image, path, NULL);
    cm3_document_destroy(result);
    return status;
}

int main(int argc, char **argv) {
    cm3_context *context = NULL;
    cm3_model *model = NULL;
    cm3_bank *bank = NULL;
    cm3_retriever *retriever = NULL;
    cm3_document *prompt = NULL;
    if (argc != 5) {
        fprintf(stderr, "Usage: own-pictures MODEL FOLDER SENTENCE OUT.png\n");
        return 2;
    }
    if (cm3_context_create(NULL, &context) != CM3_OK) return 1;
    int ok = cm3_model_load(context, argv[1], NULL, &model) == CM3_OK &&
             open_bank(context, model, argv[2], &bank) == CM3_OK &&
             cm3_retriever_create(model, bank, &retriever) == CM3_OK &&
             add_folder(context, retriever, argv[2]) == CM3_OK && cm3_document_create(context, &prompt) == CM3_OK &&
             draw(model, retriever, prompt, argv[3], argv[4]) == CM3_OK;
    if (!ok) fprintf(stderr, "%s\n", cm3_context_message(context));
    cm3_document_destroy(prompt);
    cm3_retriever_destroy(retriever);
    cm3_bank_destroy(bank);
    cm3_model_destroy(model);
    cm3_context_destroy(context);
    return !ok;
}
