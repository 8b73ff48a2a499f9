/* Documents as the public API knows them: segments in order, copies, what is refused, memory running out. */
#include "document/segments.h"
#include "suites.h"
#include "support/fixture.h"

static test_fixture fixture;
static cm3_document *document;

static void up(void) {
    test_fixture_up(&fixture);
    ck_assert_int_eq(cm3_document_create(fixture.context, &document), CM3_OK);
}

static void down(void) {
    cm3_document_destroy(document);
    test_fixture_down(&fixture);
}

static cm3_segment segment_at(const cm3_document *from, size_t index) {
    cm3_segment segment = {.struct_size = sizeof segment};
    ck_assert_int_eq(cm3_document_get(from, index, &segment), CM3_OK);
    return segment;
}

static cm3_image *some_image(void) {
    cm3_image *image;
    ck_assert_int_eq(cm3_image_create(fixture.context, 3, 2, &image), CM3_OK);
    return image;
}

static void fill(void) {
    static const int32_t codes[] = {7, 0, 9};
    char text[] = "a \xc3\xa9\0b";
    cm3_image *image = some_image();
    ck_assert_int_eq(cm3_document_add_text(document, text, SIZE_MAX), CM3_OK);
    memset(text, 'x', sizeof text); /* it was copied */
    ck_assert_int_eq(cm3_document_add_break(document), CM3_OK);
    ck_assert_int_eq(cm3_document_add_image(document, image), CM3_OK);
    ck_assert_int_eq(cm3_document_add_codes(document, codes, 3), CM3_OK);
    ck_assert_int_eq(cm3_document_add_mask(document, 5), CM3_OK);
    ck_assert_int_eq(cm3_document_add_text(document, "abc", 2), CM3_OK);
    ck_assert_int_eq(cm3_document_add_text(document, "", 0), CM3_OK);
    ck_assert_int_eq(cm3_document_add_picture(document, image, codes, 2), CM3_OK);
    cm3_image_destroy(image); /* the document has holds of its own */
}

static void check_filled(const cm3_document *from) {
    size_t count;
    ck_assert_int_eq(cm3_document_count(from, &count), CM3_OK);
    ck_assert_uint_eq(count, 8);
    cm3_segment s = segment_at(from, 0);
    ck_assert_int_eq(s.kind, CM3_SEGMENT_TEXT);
    ck_assert_str_eq(s.text, "a \xc3\xa9");
    ck_assert_uint_eq(s.text_size, 4);
    ck_assert(s.image == NULL && s.codes == NULL);
    ck_assert_int_eq(segment_at(from, 1).kind, CM3_SEGMENT_BREAK);
    s = segment_at(from, 2);
    ck_assert_int_eq(s.kind, CM3_SEGMENT_IMAGE);
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_get_view(s.image, &view), CM3_OK);
    ck_assert(view.width == 3 && view.height == 2 && s.codes == NULL && s.text == NULL);
    s = segment_at(from, 3);
    ck_assert(s.kind == CM3_SEGMENT_IMAGE && s.image == NULL && s.code_count == 3);
    ck_assert(s.codes[0] == 7 && s.codes[1] == 0 && s.codes[2] == 9);
    s = segment_at(from, 4);
    ck_assert(s.kind == CM3_SEGMENT_MASK && s.mask == 5);
    ck_assert_str_eq(segment_at(from, 5).text, "ab");
    ck_assert_str_eq(segment_at(from, 6).text, "");
    s = segment_at(from, 7);
    ck_assert(s.image != NULL && s.code_count == 2);
}

START_TEST(segments) {
    fill();
    check_filled(document);
}
END_TEST

START_TEST(copies) {
    cm3_document *copy;
    fill();
    ck_assert_int_eq(cm3_document_copy(document, &copy), CM3_OK);
    check_filled(copy);
    ck_assert(segment_at(copy, 0).text != segment_at(document, 0).text);
    ck_assert(segment_at(copy, 2).image == segment_at(document, 2).image);
    cm3_document_destroy(document);
    document = NULL;
    check_filled(copy);
    cm3_document_destroy(copy);
}
END_TEST

/* A document keeps its context. */
START_TEST(outlives_the_context) {
    fill();
    cm3_document *copy;
    ck_assert_int_eq(cm3_document_copy(document, &copy), CM3_OK);
    cm3_document_destroy(document);
    document = NULL;
    cm3_context_destroy(fixture.context);
    check_filled(copy);
    cm3_document_destroy(copy);
    ck_assert_int_eq(atomic_load(&fixture.memory.live), 0);
    fixture.context = NULL;
}
END_TEST

#define INVALID(call) ck_assert_int_eq(call, CM3_ERROR_INVALID_ARGUMENT)

START_TEST(refused) {
    cm3_document *other;
    size_t count;
    int32_t code = 1;
    cm3_segment segment = {.struct_size = sizeof segment};
    cm3_image *image = some_image();
    INVALID(cm3_document_create(NULL, &other));
    INVALID(cm3_document_create(fixture.context, NULL));
    INVALID(cm3_document_add_text(NULL, "a", 1));
    INVALID(cm3_document_add_text(document, NULL, 1));
    INVALID(cm3_document_add_image(NULL, image));
    INVALID(cm3_document_add_image(document, NULL));
    INVALID(cm3_document_add_codes(NULL, &code, 1));
    INVALID(cm3_document_add_codes(document, NULL, 1));
    INVALID(cm3_document_add_codes(document, &code, 0));
    INVALID(cm3_document_add_break(NULL));
    INVALID(cm3_document_add_mask(NULL, 0));
    INVALID(cm3_document_add_mask(document, -1));
    INVALID(cm3_document_count(NULL, &count));
    INVALID(cm3_document_count(document, NULL));
    INVALID(cm3_document_get(NULL, 0, &segment));
    INVALID(cm3_document_get(document, 0, &segment));
    ck_assert(test_says(&fixture, "segment 0 of 0"));
    static const char *const bad[] = {"\xff", "a\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(cm3_document_add_text(document, bad[i], SIZE_MAX), CM3_ERROR_UTF8);
    }
    ck_assert_int_eq(cm3_document_count(document, &count), CM3_OK);
    ck_assert_uint_eq(count, 0); /* nothing was added */
    ck_assert_int_eq(cm3_document_add_break(document), CM3_OK);
    INVALID(cm3_document_get(document, 0, NULL));
    segment.struct_size = 2;
    INVALID(cm3_document_get(document, 0, &segment));
    INVALID(cm3_document_get(document, SIZE_MAX, &segment));
    cm3_document_destroy(NULL);
    cm3_image_destroy(image);
}
END_TEST

START_TEST(out_of_memory) {
    fill();
    for (int64_t n = 0;; n++) {
        cm3_document *copy;
        int64_t before = atomic_load(&fixture.memory.live);
        test_allocator_fail(&fixture.memory, n, 1);
        cm3_status status = cm3_document_copy(document, &copy);
        test_allocator_fail(&fixture.memory, -1, 0);
        ck_assert(status == CM3_OK || (status == CM3_ERROR_NO_MEMORY && copy == NULL));
        cm3_document_destroy(copy);
        ck_assert_int_eq(atomic_load(&fixture.memory.live), before);
        if (status != CM3_OK) continue;
        ck_assert_int_gt(n, 5);
        break;
    }
}
END_TEST

Suite *document_suite(void) {
    Suite *suite = suite_create("document/document");
    TCase *tcase = tcase_create("document");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, segments);
    tcase_add_test(tcase, copies);
    tcase_add_test(tcase, outlives_the_context);
    tcase_add_test(tcase, refused);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
