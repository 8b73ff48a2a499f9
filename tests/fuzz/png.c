/* Any bytes as a PNG; mutate_png.c sets the sums of its chunks right. */
#include "picture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_picture(data, size, CM3_IMAGE_PNG);
    return 0;
}
