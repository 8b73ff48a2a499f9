/*
 * Any bytes as a data file: JSON lines where they begin like JSON, else a tar shard; read record by record, and as
 * training reads them.
 */
#include "files/shard.h"
#include "fuzz.h"
#include "text/bpe.h"
#include "train/dataset.h"

#define MEMORY ((size_t)64 << 20)

static void read_records(cm3_context *context, const char *path) {
    cm3_shard *shard;
    cm3_status status = cm3_shard_open(context, path, &shard);
    fuzz_check_result(context, status, shard);
    bool more = shard != NULL;
    while (more) {
        cm3_record record;
        status = cm3_shard_next(shard, &record, &more);
        FUZZ_CHECK(status == CM3_OK || (!more && *cm3_context_message(context) != '\0'));
        FUZZ_CHECK(more == (record.key != NULL));
        FUZZ_CHECK(record.json == NULL || record.json[record.json_size] == '\0');
        FUZZ_CHECK(record.text == NULL || record.text[record.text_size] == '\0');
        cm3_record_clear(context, &record);
    }
    cm3_shard_close(shard);
}

static void use_sample(cm3_context *context, const cm3_sample *sample, bool want_images) {
    uint64_t sum = strlen(sample->name);
    for (int32_t i = 0; i < sample->caption_count; ++i) {
        const char *caption = cm3_sample_caption(sample, i);
        FUZZ_CHECK(cm3_utf8_check(context, "caption", caption, strlen(caption)) == CM3_OK);
    }
    for (int32_t i = 0; i < sample->code_count; ++i) sum += sample->codes[i];
    for (size_t i = 0; i < sample->image_size; ++i) sum += sample->image[i];
    FUZZ_CHECK(sample->image == NULL || (want_images && sample->codes == NULL));
    FUZZ_CHECK(sum > 0);
}

static void read_dataset(cm3_context *context, const char *path, uint64_t choice) {
    cm3_dataset *dataset;
    bool want_images = choice & 1;
    uint64_t limit = choice & 2 ? 1024 : 0;
    cm3_status status = cm3_dataset_load(context, &path, 1, choice, want_images, limit, &dataset);
    fuzz_check_result(context, status, dataset);
    if (dataset == NULL) return;
    FUZZ_CHECK(dataset->count > 0);
    for (uint64_t i = 0; i < dataset->count + 1 && i < 1000; ++i) {
        use_sample(context, cm3_dataset_at(dataset, i), want_images);
    }
    cm3_dataset_destroy(dataset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cm3_context *context = fuzz_begin(MEMORY);
    bool lines = size > 0 && memchr("{[\" \n", data[0], 5) != NULL;
    const char *path = fuzz_put(lines ? "data.jsonl" : "data.tar", data, size);
    if (lines) fuzz_put("a.png", "a picture", 9); /* which lines may name */
    read_records(context, path);
    read_dataset(context, path, fuzz_hash(data, size));
    fuzz_end(context);
    return 0;
}
