/* Any bytes as a checkpoint of PyTorch's: a zip archive, its pickle, and all tensors read. */
#include "files/torch.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cm3_context *context = fuzz_begin((size_t)16 << 20);
    cm3_file *file;
    cm3_torch *torch;
    FUZZ_CHECK(cm3_file_from_memory(context, data, size, &file) == CM3_OK);
    cm3_status status = cm3_torch_open(context, file, &torch);
    fuzz_check_result(context, status, torch);
    uint64_t sum = 0;
    for (size_t i = 0; torch != NULL && i < cm3_torch_count(torch); ++i) {
        const cm3_entry *entry = cm3_torch_at(torch, i);
        FUZZ_CHECK(cm3_torch_find(torch, entry->name) == entry);
        FUZZ_CHECK((size_t)entry->count * cm3_dtype_size(entry->dtype) == entry->size || entry->data == NULL);
        FUZZ_CHECK(entry->data == NULL || (uintptr_t)entry->data % cm3_dtype_size(entry->dtype) == 0);
        for (size_t j = 0; entry->data != NULL && j < entry->size; ++j) sum += ((const uint8_t *)entry->data)[j];
    }
    FUZZ_CHECK(sum < UINT64_MAX); /* all of it was read */
    cm3_torch_close(torch);
    cm3_file_release(file);
    fuzz_end(context);
    return 0;
}
