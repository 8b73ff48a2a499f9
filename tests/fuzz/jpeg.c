/* Any bytes as a JPEG. */
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_picture(data, size, CM3_IMAGE_JPEG);
    return 0;
}
