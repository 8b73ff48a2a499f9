/* Checksums: published sums, and the streaming form in pieces of every kind. */
#include <stdlib.h>

#include "files/hash.h"
#include "suites.h"

START_TEST(published_sums) {
    ck_assert_uint_eq(cm3_hash("", 0), UINT64_C(0x2d06800538d394c2));
    ck_assert_uint_eq(cm3_hash("abc", 3), UINT64_C(0x78af5f94892f3950));
}
END_TEST

START_TEST(streaming_in_pieces) {
    enum { SIZE = 10000 };
    unsigned char *data = malloc(SIZE);
    for (int i = 0; i < SIZE; ++i) data[i] = (unsigned char)(i * 31 >> 3);
    uint64_t whole = cm3_hash(data, SIZE);
    for (size_t piece = 1; piece <= SIZE; piece = piece * 3 + 1) {
        cm3_hasher *hasher = cm3_hasher_create();
        for (size_t at = 0; at < SIZE; at += piece) {
            cm3_hasher_add(hasher, data + at, at + piece < SIZE ? piece : SIZE - at);
            cm3_hasher_add(hasher, NULL, 0);
        }
        ck_assert_uint_eq(cm3_hasher_sum(hasher), whole);
        cm3_hasher_destroy(hasher);
    }
    cm3_hasher_destroy(NULL);
    free(data);
}
END_TEST

Suite *hash_suite(void) {
    Suite *suite = suite_create("hash");
    TCase *tests = tcase_create("hash");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, published_sums);
    tcase_add_test(tests, streaming_in_pieces);
    suite_add_tcase(suite, tests);
    return suite;
}
