/* cm3 bank: looking into a bank. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank.h"

cm3_image *cm3_bank_picture(const bank_run *run, const cm3_bank_record *record) {
    cm3_image *image = NULL;
    cm3_tokenizer *tokenizer = NULL;
    if (record->image) {
        cm3_image_load_memory(run->context, record->image, record->image_size, &image);
    } else if (record->codes && cm3_model_tokenizer(run->model, &tokenizer) == CM3_OK) {
        cm3_tokenizer_decode_image(tokenizer, record->codes, record->code_count, &image);
    }
    cm3_tokenizer_destroy(tokenizer);
    return image;
}

void cm3_bank_print_record(const cm3_bank_record *record, double score, bool json) {
    if (!json) {
        if (score > -2) printf("%.4f  ", score);
        printf("%s%s%s\n", record->key, *record->key ? ": " : "", record->text ? record->text : "");
        return;
    }
    printf("{\"id\": %llu, ", (unsigned long long)record->id);
    if (score > -2) printf("\"score\": %.6f, ", score);
    printf("\"key\": ");
    cm3_print_json(record->key);
    if (record->text) {
        printf(", \"text\": ");
        cm3_print_json(record->text);
    }
    if (record->codes) {
        printf(", \"codes\": [");
        for (size_t i = 0; i < record->code_count; i++) printf(i ? ", %d" : "%d", record->codes[i]);
        printf("]");
    }
    if (record->image) printf(", \"image_bytes\": %zu", record->image_size);
    printf("}\n");
}

cm3_status cm3_bank_run_info(bank_run *run) {
    static const char *const types[] = {"", "f32", "bf16", "int8"};
    if (cm3_bank_run_is_database(run)) {
        cm3_status told = cm3_database_open(run->a->words.items[0], NULL, NULL, NULL, &run->store);
        return told == CM3_OK ? cm3_database_print_info(run->store, run->a->json) : told;
    }
    cm3_status status = cm3_bank_run_open(run, CM3_BANK_READ);
    cm3_bank_info i = {.struct_size = sizeof i};
    if (status == CM3_OK) status = cm3_bank_get_info(run->bank, &i);
    if (status != CM3_OK) return status;
    if (run->a->json) {
        printf("{\"records\": %llu, \"deleted\": %llu, \"indexed\": %llu, \"bytes\": %llu, \"left_over\": %llu, "
               "\"dimension\": %d, "
               "\"vectors\": \"%s\", \"encoder\": ",
               (unsigned long long)i.records, (unsigned long long)i.deleted, (unsigned long long)i.indexed,
               (unsigned long long)i.bytes, (unsigned long long)i.left_over, i.dimension, types[i.vectors]);
        cm3_print_json(i.encoder_name);
        printf(", \"encoder_hash\": \"%016llx%016llx\"}\n", (unsigned long long)i.encoder_hash[1],
               (unsigned long long)i.encoder_hash[0]);
        return CM3_OK;
    }
    printf("records    %llu\n", (unsigned long long)i.records);
    if (i.deleted) printf("taken out  %llu (they take room until 'cm3 bank compact')\n", (unsigned long long)i.deleted);
    if (i.indexed == i.end && i.end) {
        printf("graphs     over all of them\n");
    } else if (i.indexed) {
        printf("graphs     over the first %llu; %llu are searched exactly\n", (unsigned long long)i.indexed,
               (unsigned long long)(i.end - i.indexed));
    } else {
        printf("graphs     none: all is searched exactly ('cm3 bank index' builds one)\n");
    }
    printf("vectors    %d numbers, %s\n", i.dimension, types[i.vectors]);
    printf("encoder    %s (%016llx)\n", *i.encoder_name ? i.encoder_name : "not named",
           (unsigned long long)i.encoder_hash[0]);
    printf("size       %.2f MB\n", (double)i.bytes / 1e6);
    if (i.left_over) {
        printf("left over  %llu bytes of an interrupted append, which the next one writes over\n",
               (unsigned long long)i.left_over);
    }
    return CM3_OK;
}

/* All records as lines; vectors and pictures where they are asked for. */
cm3_status cm3_bank_run_export(bank_run *run) {
    const bank_arguments *a = run->a;
    cm3_status status =
        a->pictures ? cm3_bank_run_retriever(run, CM3_BANK_READ) : cm3_bank_run_open(run, CM3_BANK_READ);
    cm3_bank_info info = {.struct_size = sizeof info};
    if (status == CM3_OK) status = cm3_bank_get_info(run->bank, &info);
    if (status != CM3_OK) return status;
    if (a->pictures && !cm3_make_dir(a->pictures)) return BANK_TOLD;
    const size_t d = (size_t)info.dimension;
    float *vectors = a->vectors ? calloc((size_t)info.records + 1, d * sizeof *vectors) : NULL;
    if (a->vectors && !vectors) return CM3_ERROR_NO_MEMORY;
    size_t row = 0;
    for (uint64_t id = 0; status == CM3_OK && !cm3_interrupted() && cm3_bank_next(run->bank, &id) == CM3_OK; id++) {
        cm3_bank_record *record;
        status = cm3_bank_get(run->bank, id, &record);
        if (status != CM3_OK) break;
        cm3_bank_print_record(record, -2, a->json);
        if (vectors) memcpy(vectors + row * d, record->vector, d * sizeof *vectors);
        cm3_image *image = a->pictures ? cm3_bank_picture(run, record) : NULL;
        if (image) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%08llu.png", a->pictures, (unsigned long long)id);
            status = cm3_image_save(image, path, NULL);
        }
        cm3_image_destroy(image);
        cm3_bank_record_destroy(run->bank, record);
        row++;
    }
    if (status == CM3_OK && vectors && !cm3_write_npy(a->vectors, vectors, 2, (const size_t[]){row, d})) {
        status = BANK_TOLD;
    }
    free(vectors);
    return status;
}
