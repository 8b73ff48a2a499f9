/* The CM3 objective: what is moved can be put back, spans keep inside walls, and their numbers and places follow the
 * law. */
#include "document/masking.h"

#include <math.h>

#include "suites.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

enum { PAD, EOD, BREAK, EOSS, SENTINEL, IMAGE = SENTINEL + TINY_SENTINELS, WORD = IMAGE + TINY_CODES };

static test_fixture fixture;
static cm3_bpe *bpe;
static cm3_special_tokens special;
static cm3_ids ids;

static void up(void) {
    test_fixture_up(&fixture);
    bpe = tiny_bpe(fixture.context);
    ck_assert_int_eq(cm3_special_from_names(fixture.context, bpe, cm3_bpe_vocab_size(bpe), &special), CM3_OK);
}

static void down(void) {
    cm3_ids_clear(fixture.context, &ids);
    cm3_special_clear(fixture.context, &special);
    cm3_bpe_destroy(bpe);
    test_fixture_down(&fixture);
}

/** A document of some texts and pictures, walls between them and, mostly, an end. */
static void draw_document(cm3_random *random) {
    ids.count = 0;
    ck_assert_int_eq(cm3_ids_push(fixture.context, &ids, EOD), CM3_OK);
    int parts = 1 + (int)cm3_random_below(random, 4);
    for (int p = 0; p < parts; p++) {
        int length = (int)cm3_random_below(random, 40);
        for (int i = 0; i < length; i++) {
            int32_t id = p % 2 ? IMAGE + (int32_t)cm3_random_below(random, TINY_CODES)
                               : WORD + (int32_t)cm3_random_below(random, 200);
            ck_assert_int_eq(cm3_ids_push(fixture.context, &ids, id), CM3_OK);
        }
        if (p + 1 < parts) ck_assert_int_eq(cm3_ids_push(fixture.context, &ids, BREAK), CM3_OK);
    }
    if (cm3_random_below(random, 5)) ck_assert_int_eq(cm3_ids_push(fixture.context, &ids, EOD), CM3_OK);
}

/** The sequence with its spans put back where their sentinels stand, read as an infilling model's output would be. */
static size_t put_back(cm3_masking masking, int spans, int32_t *to) {
    const int32_t *from = ids.ids;
    size_t count = ids.count, closing = ids.ids[count - 1] == EOD && spans > 0, body = 0, made = 0;
    int seen = 0;
    while (body < count && seen <= spans) { /* sentinel 0 comes once more where the tail begins */
        seen += from[body] >= SENTINEL && from[body] < IMAGE;
        if (seen > spans) break;
        body++;
    }
    for (size_t i = 0; i < body; i++) {
        bool sentinel = from[i] >= SENTINEL && from[i] < IMAGE;
        if (!sentinel) {
            to[made++] = from[i];
            continue;
        }
        size_t at = body;
        while (from[at] != from[i]) at++;
        for (at++; at < count - closing && from[at] != EOSS && (from[at] < SENTINEL || from[at] >= IMAGE); at++) {
            to[made++] = from[at];
        }
        if (masking == CM3_MASKING_CODE) ck_assert_int_eq(from[at], EOSS);
    }
    if (closing) to[made++] = EOD;
    return made;
}

START_TEST(what_is_moved_can_be_put_back) {
    cm3_masking masking = _i ? CM3_MASKING_PAPER : CM3_MASKING_CODE;
    cm3_random random = cm3_random_make(5, (uint64_t)_i);
    int masked = 0;
    for (int t = 0; t < 3000; t++) {
        int32_t before[256], after[512];
        cm3_span spans[CM3_MAX_SPANS];
        draw_document(&random);
        size_t count = ids.count;
        memcpy(before, ids.ids, count * sizeof *before);
        int found = cm3_draw_spans(masking, &special, ids.ids, (int64_t)count, TINY_SENTINELS, &random, spans);
        for (int i = 0; i < found; i++) {
            ck_assert(spans[i].begin < spans[i].end && (i == 0 || spans[i - 1].end <= spans[i].begin));
            for (int64_t j = spans[i].begin; j < spans[i].end; j++) ck_assert(before[j] > EOSS);
        }
        ck_assert_int_eq(cm3_move_spans(fixture.context, masking, &special, spans, found, &ids), CM3_OK);
        ck_assert_uint_eq(ids.count, count + (size_t)found * (masking == CM3_MASKING_CODE ? 3 : 2));
        if (found) ck_assert_int_eq(ids.ids[ids.count - 1] == EOD, before[count - 1] == EOD);
        ck_assert_uint_eq(put_back(masking, found, after), count);
        ck_assert_mem_eq(after, before, count * sizeof *after);
        masked += found > 0;
    }
    ck_assert_int_gt(masked, 1000);
}
END_TEST

/** Pearson's statistic; the caller compares it with the quantile at 0.999. */
static double chi_square(const int *seen, const double *share, int bins, int total) {
    double sum = 0;
    for (int i = 0; i < bins; i++) {
        double expected = share[i] * total;
        sum += (seen[i] - expected) * (seen[i] - expected) / expected;
    }
    return sum;
}

/** A long text without walls, so that clipping and roundings do not show. */
static void long_text(void) {
    ids.count = 0;
    for (int i = 0; i < 100000; i++) ck_assert_int_eq(cm3_ids_push(fixture.context, &ids, WORD), CM3_OK);
}

/** The number of spans, and where a single one lies: its begin and end are two uniform points in order. */
START_TEST(the_law) {
    enum { TIMES = 20000 };
    cm3_random random = cm3_random_make(6, 0);
    long_text();
    int counts[3] = {0}, begins[10] = {0}, lengths[10] = {0}, single = 0;
    for (int t = 0; t < TIMES; t++) {
        cm3_span s[CM3_MAX_SPANS];
        int n = cm3_draw_spans(CM3_MASKING_CODE, &special, ids.ids, (int64_t)ids.count, TINY_SENTINELS, &random, s);
        counts[n > 2 ? 2 : n]++;
        if (n != 1) continue;
    }
    /* Poisson(1) gives 0, 1 and more with 1/e, 1/e and the rest; of two wanted, four pairs are tried: some stay one. */
    ck_assert_int_lt(abs(counts[0] - (int)(TIMES / exp(1))), 350);
    ck_assert_int_gt(counts[1], (int)(TIMES / exp(1)) - 350);
    ck_assert_int_gt(counts[2], TIMES / 8);
    for (int t = 0; t < TIMES; t++) {
        cm3_span s[CM3_MAX_SPANS];
        if (cm3_draw_spans(CM3_MASKING_CODE, &special, ids.ids, (int64_t)ids.count, 2, &random, s) != 1) continue;
        begins[s[0].begin * 10 / (int64_t)ids.count]++;
        lengths[(s[0].end - s[0].begin - 1) * 10 / (int64_t)ids.count]++;
        single++;
    }
    /* At most one span (two sentinels): 1 - 1/e of the sequences have it. Both the lower of two uniform points and
     * their distance have the density 2 (1 - x). */
    double share[10];
    for (int i = 0; i < 10; i++) share[i] = 0.19 - 0.02 * i;
    ck_assert_int_lt(abs(single - (int)(TIMES * (1 - 1 / exp(1)))), 350);
    double of_begins = chi_square(begins, share, 10, single), of_lengths = chi_square(lengths, share, 10, single);
    ck_assert_msg(of_begins < 27.9 && of_lengths < 27.9, "%g, %g", of_begins, of_lengths);
}
END_TEST

/** The paper's: at least one, at most 16, and as many as drawn. */
START_TEST(the_papers_law) {
    enum { TIMES = 20000 };
    cm3_random random = cm3_random_make(7, 0);
    int counts[5] = {0};
    double share[5] = {2, 0.5, 1.0 / 6, 1.0 / 24, 0};
    long_text();
    for (int t = 0; t < TIMES; t++) {
        cm3_span s[CM3_MAX_SPANS];
        int n = cm3_draw_spans(CM3_MASKING_PAPER, &special, ids.ids, (int64_t)ids.count, 16, &random, s);
        ck_assert(n >= 1 && n <= 16);
        counts[n > 4 ? 4 : n - 1]++;
    }
    share[4] = exp(1);
    for (int i = 0; i < 4; i++) share[4] -= share[i];
    for (int i = 0; i < 5; i++) share[i] /= exp(1);
    double of_counts = chi_square(counts, share, 5, TIMES);
    ck_assert_msg(of_counts < 18.5, "%g", of_counts);
}
END_TEST

/** The same numbers give the same spans; no more than asked for, and none where there is no room. */
START_TEST(limits) {
    cm3_span one[CM3_MAX_SPANS], other[CM3_MAX_SPANS];
    long_text();
    for (uint64_t t = 0; t < 200; t++) {
        cm3_random first = cm3_random_make(8, t), second = first;
        int n = cm3_draw_spans(CM3_MASKING_PAPER, &special, ids.ids, 500, 3, &first, one);
        ck_assert_int_le(n, 3);
        ck_assert_int_eq(cm3_draw_spans(CM3_MASKING_PAPER, &special, ids.ids, 500, 3, &second, other), n);
        ck_assert_mem_eq(one, other, (size_t)n * sizeof *one);
        const int32_t walls[] = {EOD, BREAK, EOD};
        for (int m = CM3_MASKING_CODE; m <= CM3_MASKING_PAPER; m++) {
            ck_assert_int_eq(cm3_draw_spans((cm3_masking)m, &special, walls, 3, 16, &first, one), 0);
            ck_assert_int_eq(cm3_draw_spans((cm3_masking)m, &special, walls, 0, 16, &first, one), 0);
        }
        ck_assert_int_eq(cm3_draw_spans(CM3_MASKING_NONE, &special, ids.ids, 500, 16, &first, one), 0);
    }
}
END_TEST

Suite *masking_suite(void) {
    Suite *suite = suite_create("document/masking");
    TCase *tcase = tcase_create("masking");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, what_is_moved_can_be_put_back, 0, 2);
    tcase_add_test(tcase, the_law);
    tcase_add_test(tcase, the_papers_law);
    tcase_add_test(tcase, limits);
    suite_add_tcase(suite, tcase);
    return suite;
}
