/* Graphs against exact search: what they find, what is left out, damage, and what else goes on meanwhile. */
#include <pthread.h>
#include <time.h>

#include "retrieve/bank.h"
#include "suites.h"
#include "support.h"

#define D 40
#define K 10
#define QUERIES 40
#define CLUSTERS 60

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

/* Vectors in clusters, such as encoders make. */
static void clustered(uint64_t number, int64_t d, float *vector) {
    cm3_random random = cm3_random_make(12, number);
    cm3_random centre = cm3_random_make(13, cm3_random_below(&random, CLUSTERS));
    for (int64_t i = 0; i < d; i++) {
        vector[i] = (float)cm3_random_normal(&centre) + 0.7f * (float)cm3_random_normal(&random);
    }
}

static void add_clustered(cm3_bank *bank, uint64_t first, size_t count, int64_t d) {
    made_record *made = malloc(count * sizeof *made);
    cm3_bank_record *records = malloc(count * sizeof *records);
    for (size_t i = 0; i < count; i++) {
        records[i] = make_record(&made[i], 3, first + i, d);
        clustered(first + i, d, made[i].vector);
    }
    ck_assert_msg(cm3_bank_add(bank, records, count, NULL, NULL) == CM3_OK, "%s", cm3_context_message(bank->context));
    free(made);
    free(records);
}

static cm3_status index_bank(cm3_bank *bank, int32_t m) {
    cm3_index_options options;
    cm3_index_options_init(&options);
    options.m = m;
    options.ef_construction = 60;
    options.least = 1;
    return cm3_bank_index(bank, &options);
}

/* A bank of `count` records under one graph. */
static cm3_bank *indexed_bank(const char *path, cm3_vector_type type, size_t count, int64_t d) {
    cm3_bank *bank = make_bank(fixture.context, path, type, (int32_t)d);
    add_clustered(bank, 0, count, d);
    ck_assert_msg(index_bank(bank, 12) == CM3_OK, "%s", cm3_context_message(fixture.context));
    ck_assert_uint_eq(info_of(bank).indexed, count);
    return bank;
}

/* The part of what exact search finds that graphs find; a hit's score is the same, to the bit. */
static double recall(const cm3_bank *bank, int64_t d, int (*filter)(void *, uint64_t), int32_t ef) {
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.filter = filter;
    float *queries = malloc(QUERIES * (size_t)d * sizeof *queries);
    cm3_hit *exact = malloc(QUERIES * K * sizeof *exact), *hits = malloc(QUERIES * K * sizeof *hits);
    size_t found[QUERIES], expected[QUERIES], both = 0, all = 0;
    for (uint64_t q = 0; q < QUERIES; q++) clustered(1000000 + q, d, queries + (int64_t)q * d);
    options.way = CM3_SEARCH_EXACT;
    ck_assert_int_eq(cm3_bank_search(bank, queries, QUERIES, &options, exact, expected), CM3_OK);
    options.way = CM3_SEARCH_GRAPH;
    options.ef = ef;
    ck_assert_msg(cm3_bank_search(bank, queries, QUERIES, &options, hits, found) == CM3_OK, "%s",
                  cm3_context_message(bank->context));
    for (size_t q = 0; q < QUERIES; q++) {
        ck_assert_uint_eq(found[q], expected[q]);
        all += expected[q];
        for (size_t i = 0; i < found[q]; i++) {
            const cm3_hit hit = hits[q * K + i];
            ck_assert(!cm3_bank_is_deleted(bank, hit.id) && (!filter || filter(NULL, hit.id)));
            if (i) ck_assert_double_le(hit.score, hits[q * K + i - 1].score);
            for (size_t j = 0; j < expected[q]; j++) {
                if (exact[q * K + j].id != hit.id) continue;
                ck_assert(exact[q * K + j].score == hit.score);
                both++;
            }
        }
        for (size_t i = found[q]; i < K; i++) ck_assert(hits[q * K + i].id == CM3_NO_RECORD);
    }
    free(queries);
    free(exact);
    free(hits);
    return (double)both / (double)all;
}

static const cm3_vector_type types[] = {CM3_VECTORS_F32, CM3_VECTORS_BF16, CM3_VECTORS_INT8};

/* It finds nearly all that is near, and more with more in view; and it is the graph that finds it. */
START_TEST(the_near_are_found) {
    const int64_t d = types[_i] == CM3_VECTORS_INT8 ? 96 : D;
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = indexed_bank(path, types[_i], 3000, d), *reader;
    ck_assert_ptr_null(bank->walkers);
    /* Searches begin where the most layers are. */
    const cm3_hnsw graph = cm3_bank_graph_of(bank, &bank->at.graphs[0]);
    uint32_t most = 0;
    for (uint32_t i = 0; i < graph.count; i++) {
        const uint32_t levels = cm3_hnsw_levels(&graph, i);
        most = levels > most ? levels : most;
    }
    ck_assert_uint_gt(most, 0);
    ck_assert_uint_eq(cm3_hnsw_levels(&graph, graph.entry), most);
    const double few = recall(bank, d, NULL, K), usual = recall(bank, d, NULL, 0), many = recall(bank, d, NULL, 300);
    ck_assert_ptr_nonnull(bank->walkers);
    ck_assert_msg(few > 0.5 && few < usual, "%g of them with 10 in view, %g with 64", few, usual);
    ck_assert_msg(usual >= 0.96, "%g of them", usual);
    ck_assert_msg(many >= 0.99, "%g of them", many);
    /* Another that opens it, and one that comes later. */
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &reader), CM3_OK);
    ck_assert_uint_eq(info_of(reader).indexed, 3000);
    ck_assert(recall(reader, d, NULL, 0) == usual);
    cm3_bank_destroy(reader);
    cm3_bank_destroy(bank);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &bank), CM3_OK);
    ck_assert(recall(bank, d, NULL, 0) == usual);
    cm3_bank_destroy(bank);
}
END_TEST

/* Unasked, a bank of few records is searched exactly. */
START_TEST(few_records_are_looked_at) {
    cm3_bank *bank = indexed_bank(test_path(&fixture, "a.bank"), CM3_VECTORS_BF16, 1500, D);
    float query[D];
    cm3_hit hits[K];
    clustered(7777777, D, query);
    ck_assert_int_eq(cm3_bank_search(bank, query, 1, NULL, hits, NULL), CM3_OK);
    ck_assert_ptr_null(bank->walkers);
    cm3_bank_destroy(bank);
}
END_TEST

static int only_sevenths(void *user, uint64_t id) {
    (void)user;
    return id % 7 == 0;
}

static int only_three(void *user, uint64_t id) {
    (void)user;
    return id == 5 || id == 700 || id == 1900;
}

/* What is left out does not stand in the way of the rest: walks are repeated with more in view, and in the end all is
 * looked at. */
START_TEST(what_is_left_out) {
    cm3_bank *bank = indexed_bank(test_path(&fixture, "a.bank"), CM3_VECTORS_BF16, 3000, D);
    ck_assert_double_ge(recall(bank, D, only_sevenths, 0), 0.96);
    ck_assert(recall(bank, D, only_three, 0) == 1);
    uint64_t ids[3000];
    size_t count = 0;
    for (uint64_t id = 0; id < 3000; id++) {
        if (id % 3) ids[count++] = id;
    }
    ck_assert_int_eq(cm3_bank_delete(bank, ids, count), CM3_OK);
    ck_assert_double_ge(recall(bank, D, NULL, 0), 0.96);
    ck_assert_double_ge(recall(bank, D, only_sevenths, 0), 0.96);
    /* A graph over what was taken out before, and over nothing else. */
    add_clustered(bank, 3000, 1200, D);
    for (uint64_t i = 0; i < 600; i++) ids[i] = 3000 + 2 * i;
    ck_assert_int_eq(cm3_bank_delete(bank, ids, 600), CM3_OK);
    ck_assert_int_eq(index_bank(bank, 8), CM3_OK);
    ck_assert_double_ge(recall(bank, D, NULL, 0), 0.96);
    add_clustered(bank, 4200, 300, D);
    for (uint64_t i = 0; i < 300; i++) ids[i] = 4200 + i;
    ck_assert_int_eq(cm3_bank_delete(bank, ids, 300), CM3_OK);
    ck_assert_int_eq(index_bank(bank, 8), CM3_OK);
    ck_assert_uint_eq(info_of(bank).indexed, 4500);
    ck_assert_double_ge(recall(bank, D, NULL, 0), 0.96);
    cm3_bank_destroy(bank);
}
END_TEST

/* Several graphs, and records behind them that have none. */
START_TEST(graphs_and_a_tail) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = indexed_bank(path, CM3_VECTORS_BF16, 1300, D), *reader;
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &reader), CM3_OK);
    add_clustered(bank, 1300, 700, D);
    add_clustered(bank, 2000, 500, D);
    ck_assert_double_ge(recall(bank, D, NULL, 0), 0.96);
    ck_assert_int_eq(index_bank(bank, 20), CM3_OK);
    add_clustered(bank, 2500, 400, D);
    ck_assert_uint_eq(info_of(bank).indexed, 2500);
    ck_assert_uint_eq(bank->at.graph_count, 2);
    ck_assert_double_ge(recall(bank, D, NULL, 0), 0.97);
    ck_assert_double_ge(recall(bank, D, only_sevenths, 0), 0.97);
    /* The reader sees it all when it wants to. */
    ck_assert_uint_eq(info_of(reader).indexed, 1300);
    ck_assert_int_eq(cm3_bank_refresh(reader), CM3_OK);
    ck_assert_uint_eq(info_of(reader).indexed, 2500);
    ck_assert(recall(reader, D, NULL, 0) == recall(bank, D, NULL, 0));
    cm3_bank_destroy(reader);
    /* Few records wait for more of them. */
    ck_assert_int_eq(cm3_bank_index(bank, NULL), CM3_OK);
    ck_assert_uint_eq(info_of(bank).indexed, 2500);
    /* Written anew there is one graph over all. */
    ck_assert_int_eq(cm3_bank_delete(bank, (uint64_t[]){3, 4, 5}, 3), CM3_OK);
    ck_assert_int_eq(cm3_bank_compact(bank, NULL), CM3_OK);
    ck_assert_uint_eq(info_of(bank).end, 2897);
    ck_assert_uint_eq(info_of(bank).indexed, 2897);
    ck_assert_uint_eq(bank->at.graph_count, 1);
    ck_assert_uint_eq(bank->at.graphs[0].m, 20);
    ck_assert_double_ge(recall(bank, D, NULL, 0), 0.96);
    /* Or none, and all of it is still found. */
    cm3_bank_work_options work;
    cm3_bank_work_options_init(&work);
    work.no_graph = 1;
    ck_assert_int_eq(cm3_bank_compact(bank, &work), CM3_OK);
    ck_assert_uint_eq(info_of(bank).indexed, 0);
    ck_assert(recall(bank, D, NULL, 0) == 1);
    cm3_bank_destroy(bank);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
}
END_TEST

/* One thread builds the same graph of the same records and seed. */
START_TEST(the_same_again) {
    char *bytes[3];
    size_t sizes[3];
    for (int i = 0; i < 3; i++) {
        const char *path = test_path(&fixture, i ? i == 1 ? "b.bank" : "c.bank" : "a.bank");
        cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
        add_clustered(bank, 0, 800, D);
        const size_t before = info_of(bank).bytes;
        cm3_index_options options;
        cm3_index_options_init(&options);
        options.least = 800;
        options.seed = i == 2 ? 9 : 8;
        ck_assert_int_eq(cm3_bank_index(bank, &options), CM3_OK);
        cm3_bank_destroy(bank);
        char *all = test_get(path, &sizes[i]);
        sizes[i] -= before + sizeof(cm3_bank_block);
        bytes[i] = malloc(sizes[i]);
        memcpy(bytes[i], all + before + sizeof(cm3_bank_block), sizes[i]);
        free(all);
    }
    ck_assert_uint_eq(sizes[0], sizes[1]);
    ck_assert_mem_eq(bytes[0], bytes[1], sizes[0]);
    ck_assert(sizes[0] != sizes[2] || memcmp(bytes[0], bytes[2], sizes[0]) != 0);
    for (int i = 0; i < 3; i++) free(bytes[i]);
}
END_TEST

/* Hundreds of records of one vector do not cut the others off. */
START_TEST(equal_vectors) {
    cm3_bank *bank = make_bank(fixture.context, test_path(&fixture, "a.bank"), CM3_VECTORS_BF16, D);
    made_record *made = malloc(500 * sizeof *made);
    cm3_bank_record records[500];
    for (size_t i = 0; i < 500; i++) {
        records[i] = make_record(&made[i], 3, 10000 + i, D);
        clustered(4, D, made[i].vector);
    }
    ck_assert_int_eq(cm3_bank_add(bank, records, 500, NULL, NULL), CM3_OK);
    free(made);
    add_clustered(bank, 0, 2000, D);
    ck_assert_int_eq(index_bank(bank, 12), CM3_OK);
    ck_assert_double_ge(recall(bank, D, NULL, 128), 0.9);
    cm3_bank_destroy(bank);
}
END_TEST

/* --- what can go wrong ------------------------------------------------------------------------------------------ */

static void count_fault(void *user, const char *what) {
    ck_assert_ptr_nonnull(strstr(what, "block "));
    ++*(int *)user;
}

/* Opens and searches a file of which the graph may be anything. */
static void use_damaged(const char *path) {
    cm3_bank *bank;
    if (cm3_bank_open(fixture.context, path, CM3_BANK_READ, &bank) != CM3_OK) {
        ck_assert(test_says(&fixture, "block "));
        return;
    }
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.way = CM3_SEARCH_GRAPH;
    float query[D];
    cm3_hit hits[K];
    for (uint64_t q = 0; q < 3; q++) {
        clustered(2000000 + q, D, query);
        ck_assert_int_eq(cm3_bank_search(bank, query, 1, &options, hits, NULL), CM3_OK);
        for (int i = 0; i < K && hits[i].id != CM3_NO_RECORD; i++) {
            ck_assert(hits[i].score >= -1.5f && hits[i].score <= 1.5f);
            for (int j = 0; j < i; j++) ck_assert_uint_ne(hits[i].id, hits[j].id);
        }
    }
    cm3_bank_destroy(bank);
}

/* Bits flipped all over a graph's block: found, named, and no end of a search. */
START_TEST(a_flipped_bit) {
    const char *path = test_path(&fixture, "whole.bank"), *bad = test_path(&fixture, "bad.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
    add_clustered(bank, 0, 400, D);
    const size_t at = info_of(bank).bytes;
    ck_assert_int_eq(index_bank(bank, 4), CM3_OK);
    cm3_bank_destroy(bank);
    size_t size;
    char *bytes = test_get(path, &size);
    cm3_random random = cm3_random_make(31, 0);
    for (int round = 0; round < test_rounds(300); round++) {
        /* Of the head every byte. */
        const size_t place = round < 128 ? at + (size_t)round : at + (size_t)cm3_random_below(&random, size - at);
        const char was = bytes[place];
        int faults = 0;
        cm3_bank_work_options options;
        cm3_bank_work_options_init(&options);
        options.on_fault = count_fault;
        options.user = &faults;
        bytes[place] ^= (char)(1 << cm3_random_below(&random, 8));
        test_put(bad, bytes, size);
        ck_assert_int_eq(cm3_bank_verify(fixture.context, bad, &options), CM3_ERROR_CHECKSUM);
        ck_assert_int_gt(faults, 0);
        use_damaged(bad);
        bytes[place] = was;
    }
    free(bytes);
}
END_TEST

/* Whole parts of a graph that are anything: numbers of nodes that there are not, circles, layers without end. */
START_TEST(a_graph_of_nonsense) {
    const char *path = test_path(&fixture, "whole.bank"), *bad = test_path(&fixture, "bad.bank");
    cm3_bank *bank = indexed_bank(path, CM3_VECTORS_BF16, 1500, D);
    const cm3_bank_graph graph = bank->at.graphs[0];
    const size_t at = graph.rows - sizeof(cm3_bank_block);
    cm3_bank_destroy(bank);
    const size_t parts[] = {graph.rows, graph.scales, graph.ground, graph.places, graph.upper};
    const size_t sizes[] = {1500 * 64, 1500 * sizeof(float), 1500 * sizeof(uint32_t) * (size_t)cm3_hnsw_line(12),
                            1500 * sizeof(uint32_t), graph.upper_count * sizeof(uint32_t)};
    size_t size;
    char *bytes = test_get(path, &size), *broken = malloc(size);
    cm3_random random = cm3_random_make(32, 0);
    for (int round = 0; round < test_rounds(60); round++) {
        memcpy(broken, bytes, size);
        const int part = round % 5, kind = round / 5 % 6;
        for (size_t i = 0; i + 4 <= sizes[part]; i += 4) {
            const uint32_t any = (uint32_t)cm3_random_u64(&random);
            const uint32_t words[] = {any, any % 1500,     any % 1600,
                                      0,   UINT32_MAX - 1, 0x7fc00000 + any % 2 * 0x80000000u};
            if (kind < 3 || any % 3) memcpy(broken + parts[part] + i, &words[kind], 4);
        }
        test_put(bad, broken, size);
        use_damaged(bad);
    }
    /* The same with a sum that is right, as another writer could have made it: it is found all the same. */
    memcpy(broken, bytes, size);
    cm3_bank_block *block = (cm3_bank_block *)(void *)(broken + at);
    ((uint32_t *)(void *)(broken + graph.ground))[7] = 1500;
    block->payload_sum = cm3_hash(block + 1, block->size - sizeof *block);
    block->sum = cm3_hash(block, offsetof(cm3_bank_block, sum));
    /* Without the mark, which has the old sum, it is read as what was committed last. */
    memset(broken + CM3_BANK_MARKS_AT, 0, 2 * sizeof(cm3_bank_mark));
    cm3_bank_mark mark = {.blocks = 1, .end = at, .chain = block->chain};
    mark.sum = cm3_hash(&mark, offsetof(cm3_bank_mark, sum));
    memcpy(broken + CM3_BANK_MARKS_AT, &mark, sizeof mark);
    test_put(bad, broken, size);
    use_damaged(bad);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, bad, NULL), CM3_ERROR_CHECKSUM);
    ck_assert(test_says(&fixture, "block 1: its graph has 1 numbers"));
    free(bytes);
    free(broken);
}
END_TEST

/* What a writer that is killed leaves of a graph, at any byte: nothing is seen of it, and the next one takes its place.
 */
START_TEST(half_a_graph_is_not_seen) {
    const char *path = test_path(&fixture, "whole.bank"), *half = test_path(&fixture, "half.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
    add_clustered(bank, 0, 200, D);
    size_t size, before;
    char *earlier = test_get(path, &before);
    ck_assert_int_eq(index_bank(bank, 4), CM3_OK);
    cm3_bank_destroy(bank);
    char *bytes = test_get(path, &size);
    memcpy(bytes, earlier, CM3_BANK_HEAD_SIZE); /* the mark comes last */
    for (size_t length = before; length <= size; length += length + 1200 < size ? 1021 : 64) {
        test_put(half, bytes, length);
        ck_assert_int_eq(cm3_bank_open(fixture.context, half, CM3_BANK_WRITE, &bank), CM3_OK);
        ck_assert_uint_eq(info_of(bank).indexed, length == size ? 200 : 0);
        ck_assert_uint_eq(info_of(bank).end, 200);
        ck_assert_uint_eq(info_of(bank).left_over, length == size ? 0 : length - before);
        ck_assert_int_eq(index_bank(bank, 4), CM3_OK);
        cm3_bank_destroy(bank);
        ck_assert_int_eq(cm3_bank_verify(fixture.context, half, NULL), CM3_OK);
        ck_assert_int_eq(cm3_bank_open(fixture.context, half, CM3_BANK_READ, &bank), CM3_OK);
        ck_assert_uint_eq(info_of(bank).indexed, 200);
        cm3_bank_destroy(bank);
    }
    free(bytes);
    free(earlier);
}
END_TEST

/* A head whose sums are right and whose numbers are not: it is refused when the file is opened. */
START_TEST(a_head_of_nonsense) {
    const char *path = test_path(&fixture, "whole.bank"), *bad = test_path(&fixture, "bad.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
    add_clustered(bank, 0, 300, D);
    const size_t at = info_of(bank).bytes;
    ck_assert_int_eq(index_bank(bank, 4), CM3_OK);
    cm3_bank_destroy(bank);
    size_t size;
    char *bytes = test_get(path, &size);
    cm3_bank_block good, *block = (cm3_bank_block *)(void *)(bytes + at);
    good = *block;
    for (int i = 0; i < 16; i++) {
        *block = good;
        if (i == 0) block->first = 1;
        if (i == 1) block->count = 301;
        if (i == 2) block->count = 0;
        if (i == 3) block->entry = 300;
        if (i == 4) block->m = 0;
        if (i == 5) block->m = UINT32_MAX;
        if (i == 6) block->m = 64;
        if (i == 7) block->vectors += 64;
        if (i == 8) block->vectors = UINT64_MAX - 63;
        if (i == 9) block->scales = block->size;
        if (i == 10) block->entries += 4;
        if (i == 11) block->digests = 0;
        if (i == 12) block->blob_size = UINT64_MAX;
        if (i == 13) block->blob_size += 2;
        if (i == 14) block->ef_construction = 0;
        if (i == 15) block->type = 4;
        /* All but the first parts end before the block does. */
        if (i == 7) block->vectors = block->size - 64;
        block->sum = cm3_hash(block, offsetof(cm3_bank_block, sum));
        test_put(bad, bytes, size);
        ck_assert_msg(cm3_bank_open(fixture.context, bad, CM3_BANK_READ, &bank) == CM3_ERROR_CHECKSUM, "case %d", i);
        ck_assert(test_says(&fixture, "bad.bank: block 1"));
    }
    free(bytes);
}
END_TEST

static int stop_at_half(void *user, uint64_t done, uint64_t total) {
    ck_assert_uint_le(done, total);
    ++*(int *)user;
    return done >= total / 2;
}

START_TEST(building_can_be_stopped) {
    cm3_bank *bank = make_bank(fixture.context, test_path(&fixture, "a.bank"), CM3_VECTORS_BF16, D);
    add_clustered(bank, 0, 1500, D);
    const cm3_bank_info before = info_of(bank);
    int calls = 0;
    cm3_index_options options;
    cm3_index_options_init(&options);
    options.on_progress = stop_at_half;
    options.user = &calls;
    ck_assert_int_eq(cm3_bank_index(bank, &options), CM3_ERROR_CANCELLED);
    ck_assert_int_gt(calls, 1);
    ck_assert_uint_eq(info_of(bank).indexed, 0);
    ck_assert_uint_eq(info_of(bank).bytes, before.bytes);
    ck_assert_uint_eq(info_of(bank).left_over, 0);
    ck_assert(recall(bank, D, NULL, 0) == 1);
    /* Writing anew builds as well, and can be stopped then, too. */
    ck_assert_int_eq(index_bank(bank, 8), CM3_OK);
    cm3_bank_work_options work;
    cm3_bank_work_options_init(&work);
    work.on_progress = stop_at_half;
    work.user = &calls;
    ck_assert_int_eq(cm3_bank_compact(bank, &work), CM3_ERROR_CANCELLED);
    ck_assert_uint_eq(info_of(bank).indexed, 1500);
    ck_assert_double_ge(recall(bank, D, NULL, 0), 0.95);
    cm3_bank_destroy(bank);
}
END_TEST

START_TEST(no_memory) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
    add_clustered(bank, 0, 300, D);
    int failures = 0;
    for (int64_t n = 0;; n++) {
        test_allocator_fail(&fixture.memory, n, 1);
        cm3_status status = index_bank(bank, 8);
        test_allocator_fail(&fixture.memory, -1, 0);
        if (status == CM3_OK) break;
        ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
        failures++;
        if (info_of(bank).bytes == 0 || bank->broken) {
            /* It is in the file and could not be taken up: another that opens it sees it. */
            cm3_bank_destroy(bank);
            ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &bank), CM3_OK);
            break;
        }
        ck_assert_uint_eq(info_of(bank).indexed, 0);
    }
    ck_assert_int_gt(failures, 8);
    ck_assert_uint_eq(info_of(bank).indexed, 300);
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.way = CM3_SEARCH_GRAPH;
    float query[D];
    cm3_hit hits[K];
    clustered(5000000, D, query);
    for (int64_t n = failures = 0;; n++) {
        test_allocator_fail(&fixture.memory, n, 1);
        cm3_status status = cm3_bank_search(bank, query, 1, &options, hits, NULL);
        test_allocator_fail(&fixture.memory, -1, 0);
        if (status == CM3_OK) break;
        ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
        failures++;
    }
    ck_assert_int_gt(failures, 4);
    ck_assert_double_ge(recall(bank, D, NULL, 0), 0.95);
    cm3_bank_destroy(bank);
}
END_TEST

START_TEST(nonsense_is_refused) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D), *reader;
    ck_assert_int_eq(cm3_bank_index(bank, NULL), CM3_OK); /* nothing to be done */
    ck_assert_int_eq(cm3_bank_index(NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    add_clustered(bank, 0, 20, D);
    const int32_t wrong[][2] = {{1, 100}, {65, 100}, {-3, 100}, {16, 3}, {16, 4097}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cm3_index_options options;
        cm3_index_options_init(&options);
        options.m = wrong[i][0];
        options.ef_construction = wrong[i][1];
        ck_assert_int_eq(cm3_bank_index(bank, &options), CM3_ERROR_INVALID_ARGUMENT);
    }
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &reader), CM3_OK);
    ck_assert_int_eq(index_bank(reader, 16), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&fixture, "opened for reading"));
    cm3_bank_destroy(reader);
    cm3_search_options options;
    cm3_search_options_init(&options);
    float query[D] = {1};
    cm3_hit hits[K];
    for (int i = 0; i < 5; i++) {
        cm3_search_options_init(&options);
        if (i == 0) options.ef = K - 1;
        if (i == 1) options.ef = 65537;
        if (i == 2) options.ef = -1;
        if (i == 3) options.way = (cm3_search_way)3;
        if (i == 4) options.way = (cm3_search_way)-1;
        ck_assert_int_eq(cm3_bank_search(bank, query, 1, &options, hits, NULL), CM3_ERROR_INVALID_ARGUMENT);
    }
    cm3_bank_destroy(bank);
}
END_TEST

/* --- several at once --------------------------------------------------------------------------------------------- */

/* A team builds it: not the same graph each time, and one as good. Searches go on meanwhile, on the same object. */
typedef struct searcher {
    cm3_bank *bank;
    _Atomic bool stop, refreshes;
    _Atomic int searches;
} searcher;

static void *search_on(void *arg) {
    searcher *s = arg;
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.way = CM3_SEARCH_GRAPH;
    for (uint64_t q = 0; !s->stop; q++) {
        float query[D];
        cm3_hit hits[K];
        size_t found = 0;
        clustered(3000000 + q, D, query);
        if (s->refreshes) ck_assert_int_eq(cm3_bank_refresh(s->bank), CM3_OK);
        ck_assert_int_eq(cm3_bank_search(s->bank, query, 1, &options, hits, &found), CM3_OK);
        ck_assert_uint_eq(found, K);
        s->searches++;
    }
    return NULL;
}

static void wait_for(searcher *s, int more) {
    const int from = s->searches;
    const struct timespec pause = {0, 1000000};
    while (s->searches < from + more) nanosleep(&pause, NULL);
}

START_TEST(searches_go_on) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 4;
    cm3_context *context;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
    const char *path = test_path(&fixture, "a.bank");
    searcher s = {.bank = make_bank(context, path, CM3_VECTORS_BF16, D)};
    add_clustered(s.bank, 0, 3000, D);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, search_on, &s), 0);
    wait_for(&s, 3);
    ck_assert_int_eq(index_bank(s.bank, 12), CM3_OK);
    wait_for(&s, 3);
    s.stop = true;
    pthread_join(thread, NULL);
    ck_assert_uint_eq(info_of(s.bank).indexed, 3000);
    const double found = recall(s.bank, D, NULL, 0);
    ck_assert_msg(found >= 0.96, "%g", found);
    cm3_bank_destroy(s.bank);
    cm3_context_destroy(context);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
}
END_TEST

/* A reader goes on while the bank is written anew under it, whether it looks for the new one or not. */
START_TEST(a_reader_goes_on_while_it_is_compacted) {
    cm3_context *context;
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 1;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = indexed_bank(path, CM3_VECTORS_BF16, 1500, D);
    searcher s = {.refreshes = _i};
    ck_assert_int_eq(cm3_bank_open(context, path, CM3_BANK_READ, &s.bank), CM3_OK);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, search_on, &s), 0);
    for (uint64_t round = 0; round < 3; round++) {
        ck_assert_int_eq(cm3_bank_delete(bank, (uint64_t[]){round, 100 + round}, 2), CM3_OK);
        ck_assert_int_eq(cm3_bank_compact(bank, NULL), CM3_OK);
        wait_for(&s, 2);
        ck_assert_uint_eq(info_of(bank).indexed, 1500 - 2 * (round + 1));
    }
    s.stop = true;
    pthread_join(thread, NULL);
    ck_assert_uint_eq(info_of(s.bank).end, _i ? 1494 : 1500);
    cm3_bank_destroy(s.bank);
    cm3_bank_destroy(bank);
    cm3_context_destroy(context);
}
END_TEST

Suite *graph_suite(void) {
    Suite *suite = suite_create("graph");
    TCase *tests = tcase_create("graph");
    tcase_add_checked_fixture(tests, up, down);
    tcase_set_timeout(tests, 600);
    tcase_add_loop_test(tests, the_near_are_found, 0, 3);
    tcase_add_test(tests, few_records_are_looked_at);
    tcase_add_test(tests, what_is_left_out);
    tcase_add_test(tests, graphs_and_a_tail);
    tcase_add_test(tests, the_same_again);
    tcase_add_test(tests, equal_vectors);
    tcase_add_test(tests, a_flipped_bit);
    tcase_add_test(tests, a_graph_of_nonsense);
    tcase_add_test(tests, half_a_graph_is_not_seen);
    tcase_add_test(tests, a_head_of_nonsense);
    tcase_add_test(tests, building_can_be_stopped);
    tcase_add_test(tests, no_memory);
    tcase_add_test(tests, nonsense_is_refused);
    tcase_add_test(tests, searches_go_on);
    tcase_add_loop_test(tests, a_reader_goes_on_while_it_is_compacted, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}
