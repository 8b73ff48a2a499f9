/* Packing: properties over many random documents. */
#include "base/random.h"
#include "support.h"
#include "train/packing.h"

#define PAD 3

typedef struct packing_case {
    int64_t size, blocks;
    bool whole_block;
    cm3_random random;
} packing_case;

/** Every row is explained by the documents that were added. */
static void check_rows(const cm3_packed *p, const packing_case *c, const int64_t *lengths, const int64_t *begins,
                       size_t count) {
    int64_t next = 0, tokens = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t begin = begins[i], length = lengths[i], origin = c->whole_block ? begin / c->size * c->size : begin;
        ck_assert_int_eq(begin / c->size, (begin + length - 1) / c->size); /* whole in one block */
        for (; next < begin; next++) ck_assert(p->ids[next] == PAD && p->weights[next] == 0 && p->targets[next] == -1);
        for (int64_t k = 0; k < length; k++, next++) {
            ck_assert_int_eq(p->ids[next], (int32_t)(1000 * (i + 1) + (size_t)k));
            ck_assert_int_eq(p->positions[next], next - origin);
            ck_assert_int_eq(p->first[next], origin);
            ck_assert_int_eq(p->targets[next], k + 1 < length ? p->ids[next] + 1 : -1);
            ck_assert(p->weights[next] == (k + 1 < length ? 1.0f : 0.0f));
        }
        tokens += length;
    }
    for (; next < p->rows; next++) {
        ck_assert(p->ids[next] == PAD && p->weights[next] == 0 && p->targets[next] == -1 && p->first[next] == next);
    }
    ck_assert_uint_eq(p->tokens, tokens);
    ck_assert_uint_eq(p->documents, count);
}

static void pack_once(packing_case *c) {
    int64_t rows = c->size * c->blocks, lengths[256], begins[256], block = 0, used = 0;
    cm3_packed *packed = malloc(cm3_packed_bytes(rows));
    cm3_packed_lay(packed, rows);
    cm3_packer packer;
    cm3_packer_begin(&packer, packed, c->size, c->whole_block, PAD);
    size_t count = 0;
    for (;; count++) {
        ck_assert_uint_lt(count, 256);
        int64_t length = 1 + (int64_t)cm3_random_below(&c->random, (uint64_t)c->size + 4),
                kept = length < c->size ? length : c->size;
        int32_t ids[128];
        for (int64_t k = 0; k < length; k++) ids[k] = (int32_t)(1000 * ((int64_t)count + 1) + k);
        if (used + kept > c->size) block++, used = 0;
        bool added = cm3_packer_add(&packer, ids, NULL, length);
        ck_assert_int_eq(added, block < c->blocks); /* full only where no block has room */
        if (!added) break;
        lengths[count] = kept;
        begins[count] = block * c->size + used;
        used += kept;
    }
    check_rows(packed, c, lengths, begins, count);
    free(packed);
}

START_TEST(properties) {
    for (int i = 0; i < 200; i++) {
        packing_case c = {
            .size = 4 + i % 29, .blocks = 1 + i % 5, .whole_block = i % 2, .random = cm3_random_make(5, (uint64_t)i)};
        pack_once(&c);
    }
}
END_TEST

/** Documents are cut to what the caller says: each row keeps its target but the last. */
START_TEST(longest) {
    enum { SIZE = 12, LONGEST = 5 };
    int32_t ids[8] = {10, 11, 12, 13, 14, 15, 16, 17};
    cm3_packed *packed = malloc(cm3_packed_bytes(SIZE));
    cm3_packed_lay(packed, SIZE);
    cm3_packer packer;
    cm3_packer_begin(&packer, packed, SIZE, false, PAD);
    packer.longest = LONGEST;
    ck_assert(cm3_packer_add(&packer, ids, NULL, 8) && cm3_packer_add(&packer, ids, NULL, 8) &&
              !cm3_packer_add(&packer, ids, NULL, 8));
    ck_assert_uint_eq(packed->tokens, 2 * LONGEST);
    for (int i = 0; i < 2 * LONGEST; i++) {
        ck_assert_int_eq(packed->ids[i], ids[i % LONGEST]);
        ck_assert_int_eq(packed->positions[i], i % LONGEST);
        ck_assert_int_eq(packed->targets[i], i % LONGEST + 1 < LONGEST ? ids[i % LONGEST + 1] : -1);
    }
    ck_assert_int_eq(packed->ids[2 * LONGEST], PAD);
    free(packed);
}
END_TEST

Suite *packing_suite(void) {
    Suite *suite = suite_create("packing");
    TCase *tcase = tcase_create("packing");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, properties);
    tcase_add_test(tcase, longest);
    suite_add_tcase(suite, tcase);
    return suite;
}
