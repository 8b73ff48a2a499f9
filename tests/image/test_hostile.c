/* Pictures that are cut off, damaged or lie: refused with a message, never a half-grey picture, never a crash. */
#include "base/random.h"
#include "pictures.h"
#include "suites.h"

static test_fixture t;

static void set_up(void) {
    test_fixture_up(&t);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

static char *picture(const char *name, size_t *size) {
    char path[512];
    snprintf(path, sizeof path, PICTURES "%s", name);
    return test_get(path, size);
}

/* Loads a copy that ends where the data ends, so that a step beyond is seen. */
static cm3_status load(const char *data, size_t size, cm3_image **image) {
    char *copy = malloc(size + (size == 0));
    memcpy(copy, data, size);
    cm3_status status = cm3_image_load_memory(t.context, copy, size, image);
    free(copy);
    if ((*image != NULL) != (status == CM3_OK)) ck_abort_msg("%s and %p", cm3_status_name(status), (void *)*image);
    if (status != CM3_OK && *cm3_context_message(t.context) == '\0') ck_abort_msg("no message");
    return status;
}

static void refused(const char *what, const char *data, size_t size, cm3_status wanted, const char *words) {
    cm3_image *image;
    cm3_status status = load(data, size, &image);
    cm3_image_destroy(image);
    ck_assert_msg(status == wanted, "%s: %s: %s", what, cm3_status_name(status), cm3_context_message(t.context));
    ck_assert_msg(test_says(&t, words), "%s: %s", what, cm3_context_message(t.context));
}

/* At whichever byte a file ends, it is not a picture. */
START_TEST(cut_off) {
    const char *name = test_pictures[_i];
    size_t size, whole;
    char *data = picture(name, &size);
    whole = size;
    if (strcmp(name, "420-padded.jpg") == 0) whole -= strlen("after the end");
    for (size_t end = 0; end < whole; end += 1 + (end > 2000) * 7) {
        cm3_image *image;
        cm3_status status = load(data, end, &image);
        cm3_image_destroy(image);
        ck_assert_msg(status == CM3_ERROR_TRUNCATED || status == CM3_ERROR_FORMAT, "%s, %zu of %zu bytes: %s", name,
                      end, size, cm3_status_name(status));
    }
    refused(name, data, whole - 1, CM3_ERROR_TRUNCATED, "");
    refused(name, data, whole / 2, CM3_ERROR_TRUNCATED, "");
    refused(name, data, 2, CM3_ERROR_TRUNCATED, "2 bytes");
    free(data);
}
END_TEST

/* Cut off, but with the mark of an end. */
START_TEST(ends_early) {
    size_t size;
    char *data = picture("420.jpg", &size);
    for (size_t end = size - 60; end < size - 20; ++end) {
        char *copy = malloc(end + 2);
        memcpy(copy, data, end);
        memcpy(copy + end, "\xff\xd9", 2);
        refused("ends early", copy, end + 2, CM3_ERROR_TRUNCATED, "premature end");
        free(copy);
    }
    free(data);
}
END_TEST

/* Three components, of which the only scan has one. */
START_TEST(missing_scan) {
    size_t size;
    char *data = picture("grey.jpg", &size), *copy = malloc(size + 6);
    char *frame = memmem(data, size, "\xff\xc0\x00\x0b", 4);
    ck_assert_ptr_nonnull(frame);
    size_t before = (size_t)(frame - data), after = before + 13;
    memcpy(copy, data, before);
    memcpy(copy + before, "\xff\xc0\x00\x11", 4);
    memcpy(copy + before + 4, frame + 4, 5);
    memcpy(copy + before + 9, "\3\1\x11\0\2\x11\0\3\x11\0", 10);
    memcpy(copy + before + 19, data + after, size - after);
    refused("missing scan", copy, size + 6, CM3_ERROR_TRUNCATED, "component 2 of 3 has no scan");
    free(copy);
    free(data);
}
END_TEST

/* Bytes `at` after the first `mark` are replaced. */
static void patched(const char *name, const char *mark, size_t mark_size, size_t at, const char *bytes, size_t count,
                    cm3_status wanted, const char *words) {
    size_t size;
    char *data = picture(name, &size);
    char *place = memmem(data, size, mark, mark_size);
    ck_assert_ptr_nonnull(place);
    memcpy(place + mark_size + at, bytes, count);
    uint64_t before = (uint64_t)atomic_load(&t.memory.calls);
    refused(name, data, size, wanted, words);
    ck_assert_uint_lt((uint64_t)atomic_load(&t.memory.calls) - before, 12);
    free(data);
}

START_TEST(jpeg_sizes) {
    patched("444.jpg", "\xff\xc0", 2, 3, "\x00\x00", 2, CM3_ERROR_UNSUPPORTED, "Empty JPEG image");
    patched("444.jpg", "\xff\xc0", 2, 5, "\x00\x00", 2, CM3_ERROR_UNSUPPORTED, "Empty JPEG image");
    patched("444.jpg", "\xff\xc0", 2, 3, "\xff\xff\xff\xff", 4, CM3_ERROR_UNSUPPORTED, "65500");
    patched("444.jpg", "\xff\xc0", 2, 3, "\xff\xdc\xff\xdc", 4, CM3_ERROR_NO_MEMORY, "178956970");
    patched("444.jpg", "\xff\xc0", 2, 2, "\x0c", 1, CM3_ERROR_UNSUPPORTED, "precision 12");
}
END_TEST

/* A grey picture, coded arithmetically, of that many scans: one of mean values, the others refine them. */
static size_t scans(uint8_t *file, uint16_t side, int count) {
    size_t size = 2 + 2 + 67;
    memcpy(file, "\xff\xd8\xff\xdb\0\x43\0", 7);
    memset(file + 7, 1, 64);
    const uint8_t frame[] = {0xff,          0xca, 0, 11,   8, (uint8_t)(side >> 8), (uint8_t)side, (uint8_t)(side >> 8),
                             (uint8_t)side, 1,    1, 0x11, 0};
    memcpy(file + size, frame, sizeof frame);
    size += sizeof frame;
    for (int i = 0; i < count; ++i) {
        /* Coefficient after coefficient, each from its upper bits to its lower ones. */
        uint8_t at = (uint8_t)(i / 14), low = (uint8_t)(13 - i % 14), high = (uint8_t)(i % 14 ? low + 1 : 0);
        const uint8_t scan[] = {0xff, 0xda, 0, 8, 1, 1, 0, at, at, (uint8_t)(high << 4 | low), 0, 0};
        memcpy(file + size, scan, sizeof scan);
        size += sizeof scan;
    }
    memcpy(file + size, "\xff\xd9", 2);
    return size + 2;
}

/* Few bytes, and each scan goes through all of a huge picture. */
START_TEST(many_scans) {
    uint8_t file[8192];
    cm3_image *image;
    size_t size = scans(file, 64, 40);
    ck_assert_msg(load((const char *)file, size, &image) == CM3_OK, "%s", cm3_context_message(t.context));
    cm3_image_destroy(image);
    size = scans(file, 11000, 2);
    ck_assert_int_eq(load((const char *)file, size, &image), CM3_OK);
    cm3_image_destroy(image);
    refused("many scans", (const char *)file, scans(file, 12000, 40), CM3_ERROR_UNSUPPORTED,
            "40 scans of 12000 x 12000 pixels are out of proportion");
}
END_TEST

/* A PNG header with its right sum. */
static void png_header(uint32_t width, uint32_t height, uint8_t depth, uint8_t colour, cm3_status wanted,
                       const char *words) {
    uint8_t file[8 + 25 + 12] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    for (int i = 0; i < 4; ++i) {
        file[16 + i] = (uint8_t)(width >> (24 - 8 * i));
        file[20 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    file[24] = depth;
    file[25] = colour;
    uint32_t crc = ~0u;
    for (int i = 12; i < 29; ++i) {
        crc ^= file[i];
        for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    for (int i = 0; i < 4; ++i) file[29 + i] = (uint8_t)(~crc >> (24 - 8 * i));
    memcpy(file + 33, "\0\0\0\0IDAT\x35\xaf\x06\x1e", 12);
    refused("PNG header", (const char *)file, sizeof file, wanted, words);
}

START_TEST(png_sizes) {
    png_header(0, 5, 8, 2, CM3_ERROR_FORMAT, "Invalid IHDR");
    png_header(5, 0, 8, 2, CM3_ERROR_FORMAT, "Invalid IHDR");
    png_header(0x80000000u, 1, 8, 2, CM3_ERROR_FORMAT, "PNG");
    png_header(0x7fffffff, 0x7fffffff, 16, 6, CM3_ERROR_UNSUPPORTED, "2147483647 x 2147483647");
    png_header(65501, 1, 8, 2, CM3_ERROR_UNSUPPORTED, "65500");
    png_header(1, 65501, 8, 2, CM3_ERROR_UNSUPPORTED, "65500");
    png_header(65500, 65500, 8, 6, CM3_ERROR_NO_MEMORY, "178956970");
    png_header(3, 3, 8, 2, CM3_ERROR_TRUNCATED, "byte 45 of 45");
    png_header(3, 3, 7, 2, CM3_ERROR_FORMAT, "Invalid IHDR");
    png_header(3, 3, 8, 5, CM3_ERROR_FORMAT, "Invalid IHDR");
}
END_TEST

START_TEST(other_files) {
    refused("empty", "", 0, CM3_ERROR_TRUNCATED, "empty");
    refused("gif", "GIF89a\1\0\1\0", 10, CM3_ERROR_FORMAT, "47 49 46 38");
    refused("one byte", "x", 1, CM3_ERROR_FORMAT, "neither");
    refused("tables only", "\xff\xd8\xff\xd9", 4, CM3_ERROR_FORMAT, "");
    test_put(test_path(&t, "empty.png"), "", 0);
    cm3_image *image;
    ck_assert_int_eq(cm3_image_load(t.context, test_path(&t, "empty.png"), &image), CM3_ERROR_TRUNCATED);
    ck_assert(test_says(&t, "empty.png"));
}
END_TEST

/* --- at random ---------------------------------------------------------------------------------------------------- */

static cm3_random dice;

static size_t below(size_t n) {
    return (size_t)cm3_random_below(&dice, n);
}

START_TEST(noise) {
    dice = cm3_random_make(2024, 2);
    for (int i = 0; i < test_rounds(4000); ++i) {
        char data[400];
        size_t size = below(sizeof data);
        for (size_t j = 0; j < size; ++j) data[j] = (char)below(256);
        if (i % 3 == 1) memcpy(data, "\xff\xd8\xff", 3);
        if (i % 3 == 2) memcpy(data, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\3\0\0\0\3", 24);
        cm3_image *image;
        cm3_status status = load(data, size, &image);
        cm3_image_destroy(image);
        ck_assert_int_ne(status, CM3_OK);
        ck_assert_int_ne(status, CM3_ERROR_INTERNAL);
    }
}
END_TEST

static size_t mutate(char *data, size_t size) {
    size_t edits = 1 + below(4);
    for (size_t i = 0; i < edits && size > 0; ++i) {
        size_t at = below(3) == 0 && size > 64 ? below(64) : below(size);
        switch (below(6)) {
        case 0:
            data[at] = (char)(data[at] ^ 1 << below(8));
            break;
        case 1:
            data[at] = (char)below(256);
            break;
        case 2:
            data[at] = (char)0xff;
            break;
        case 3:
            data[at] = 0;
            break;
        case 4:
            memmove(data + at, data + at + 1, size - at - 1);
            --size;
            break;
        default: { /* a piece from further on */
            size_t from = at + below(size - at);
            memmove(data + at, data + from, below(size - from));
        }
        }
    }
    return size;
}

/* PNG's sums, made right again so that changes get past them. */
static void mend_sums(char *data, size_t size) {
    uint8_t *bytes = (uint8_t *)data;
    size_t at = 8;
    while (at + 12 <= size) {
        size_t length =
            (size_t)bytes[at] << 24 | (size_t)bytes[at + 1] << 16 | (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (length > size - at - 12) return;
        uint32_t crc = ~0u;
        for (size_t i = at + 4; i < at + 8 + length; ++i) {
            crc ^= bytes[i];
            for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
        }
        for (size_t i = 0; i < 4; ++i) bytes[at + 8 + length + i] = (uint8_t)(~crc >> (24 - 8 * i));
        at += 12 + length;
    }
}

START_TEST(mutated) {
    const char *name = test_pictures[_i];
    dice = cm3_random_make(7, (uint64_t)_i);
    size_t size;
    char *data = picture(name, &size), *copy = malloc(size);
    int refusals = 0, count = test_rounds(300);
    for (int i = 0; i < count; ++i) {
        memcpy(copy, data, size);
        size_t changed = mutate(copy, size);
        if (i % 2 == 0 && strstr(name, ".png") != NULL) mend_sums(copy, changed);
        cm3_image *image;
        cm3_status status = load(copy, changed, &image);
        ck_assert(status == CM3_OK || status == CM3_ERROR_FORMAT || status == CM3_ERROR_TRUNCATED ||
                  status == CM3_ERROR_UNSUPPORTED || status == CM3_ERROR_NO_MEMORY);
        refusals += status != CM3_OK;
        cm3_image_destroy(image);
    }
    ck_assert_int_gt(refusals, count / 20);
    free(copy);
    free(data);
}
END_TEST

Suite *hostile_suite(void) {
    Suite *suite = suite_create("hostile pictures");
    TCase *tests = tcase_create("hostile");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, cut_off, 0, TEST_PICTURE_COUNT);
    tcase_add_test(tests, ends_early);
    tcase_add_test(tests, missing_scan);
    tcase_add_test(tests, many_scans);
    tcase_add_test(tests, jpeg_sizes);
    tcase_add_test(tests, png_sizes);
    tcase_add_test(tests, other_files);
    tcase_add_test(tests, noise);
    tcase_add_loop_test(tests, mutated, 0, TEST_PICTURE_COUNT);
    suite_add_tcase(suite, tests);
    return suite;
}
