/* Damaged `.cm3` files: an error that names the file, or a model that generates; never a signal, never a hang. */
#include "base/random.h"
#include "suites.h"
#include "sweep.h"

#define PARTS 10                   /* the rounds' tests, each a process of its own */
#define HANG_SECONDS 60            /* a round takes milliseconds; with sanitizers, beside other work, some seconds */
#define BIGGEST ((size_t)64 << 20) /* of a file of 100 KB: what wants more at once is told there is none */
#define STEPS 90                   /* polls until a request is cancelled: enough for a picture of the undamaged model */

static gen_case c;

/* The host's limit: damaged sizes may ask for all there is. */
static void *limited_alloc(void *user, size_t size, size_t alignment) {
    return size > BIGGEST ? NULL : test_allocator_alloc(user, size, alignment);
}

typedef struct damage {
    char *whole, *bytes;     /**< what is damaged, and the outcome */
    size_t size, room;       /**< of `bytes`: as it is now, and at most */
    size_t whole_size, data; /**< where the data section begins */
    cm3_random random;
} damage;

static size_t below(damage *d, size_t bound) {
    return bound ? (size_t)cm3_random_below(&d->random, bound) : 0;
}

/* Where: in the header's length, in the header, and most often in the data, which is most of the file. */
static size_t place(damage *d) {
    size_t header = d->data < d->size ? d->data : d->size;
    size_t way = below(d, 8);
    if (way == 0) return below(d, header < 8 ? header : 8);
    if (way < 4) return below(d, header);
    return header + below(d, d->size - header);
}

static void flip_bits(damage *d) {
    for (size_t i = 0, count = 1 + below(d, 3); i < count && d->size; i++) {
        size_t at = place(d);
        if (at < d->size) d->bytes[at] = (char)(d->bytes[at] ^ 1 << below(d, 8));
    }
}

static void set_bytes(damage *d) {
    static const char likely[] = "0123456789-\"{}[],:e.\\u\0\xff\x80";
    for (size_t i = 0, count = 1 + below(d, 4); i < count && d->size; i++) {
        size_t at = place(d);
        if (at < d->size) d->bytes[at] = likely[below(d, sizeof likely - 1)];
    }
}

static void cut(damage *d) {
    d->size = place(d);
}

/* A stretch taken out. */
static void take_out(damage *d) {
    size_t at = place(d), count = 1 + below(d, below(d, 2) ? 64 : 8192);
    if (at >= d->size) return;
    if (count > d->size - at) count = d->size - at;
    memmove(d->bytes + at, d->bytes + at + count, d->size - at - count);
    d->size -= count;
}

/* A stretch copied over another one. */
static void splice(damage *d) {
    size_t from = place(d), to = place(d), count = 1 + below(d, below(d, 2) ? 64 : 8192);
    size_t longest = d->size - (from > to ? from : to);
    if (count > longest) count = longest;
    memmove(d->bytes + to, d->bytes + from, count);
}

/* A stretch put in between, of the file's own or of nothing in particular. */
static void put_in(damage *d) {
    size_t from = place(d), to = place(d), count = 1 + below(d, below(d, 2) ? 64 : 4096);
    if (count > d->room - d->size) count = d->room - d->size;
    memmove(d->bytes + to + count, d->bytes + to, d->size - to);
    d->size += count;
    bool own = below(d, 2);
    for (size_t i = 0; i < count; i++) {
        d->bytes[to + i] = own && from + i < d->whole_size ? d->whole[from + i] : (char)below(d, 256);
    }
}

/* A number of the header, or the header's length, made another one. */
static void inflate(damage *d) {
    static const char *const values[] = {"0",
                                         "1",
                                         "-1",
                                         "65535",
                                         "2147483647",
                                         "2147483648",
                                         "4294967296",
                                         "1e999",
                                         "99999999",
                                         "9223372036854775807",
                                         "9223372036854775808",
                                         "-9223372036854775808",
                                         "1.5",
                                         "1000000"};
    if (below(d, 6) == 0 && d->size >= 8) {
        uint64_t length = below(d, 2) ? cm3_random_u64(&d->random) : d->data - 8 + below(d, 64) - 32;
        memcpy(d->bytes, &length, sizeof length);
        return;
    }
    size_t header = d->data < d->size ? d->data : d->size, at = 8 + below(d, header < 8 ? 0 : header - 8);
    while (at < header && !(d->bytes[at] >= '0' && d->bytes[at] <= '9')) at++;
    size_t end = at;
    while (end < header && d->bytes[end] >= '0' && d->bytes[end] <= '9') end++;
    const char *value = values[below(d, sizeof values / sizeof *values)];
    size_t length = strlen(value), grown = d->size - (end - at) + length;
    if (at >= header || grown > d->room) return;
    memmove(d->bytes + at + length, d->bytes + end, d->size - end);
    memcpy(d->bytes + at, value, length);
    d->size = grown;
}

/* Weights that are no numbers, or too large ones: loaded where nobody looks. */
static void spoil_weights(damage *d) {
    static const uint32_t words[] = {0x7fc00000u, 0x7f800000u, 0xff800000u, 0x7f7fffffu, 0x00000001u, 0xffffffffu};
    uint32_t word = words[below(d, sizeof words / sizeof *words)];
    if (d->size < d->data + 4) return;
    for (size_t i = 0, count = 1 + below(d, 64); i < count; i++) {
        memcpy(d->bytes + d->data + below(d, (d->size - d->data) / 4) * 4, &word, sizeof word);
    }
}

static void mend_length(damage *d, size_t before) {
    uint64_t length = d->data - 8 + (d->size - before);
    if (d->size >= 8) memcpy(d->bytes, &length, sizeof length);
}

static void damage_once(damage *d) {
    static void (*const ways[])(damage * d) = {flip_bits, set_bytes, cut,     take_out,
                                               splice,    put_in,    inflate, spoil_weights};
    size_t before = d->size;
    size_t way = below(d, sizeof ways / sizeof *ways);
    ways[way](d);
    /* Most changes of the header's length end at the first look; with it mended, what lies behind is read, too. */
    if (ways[way] != cut && d->size != before && below(d, 4)) mend_length(d, before);
}

/* --- what is done with it ------------------------------------------------------------------------------------------
 */

/* A short generation, cancelled if it goes on: it ends either way. */
static void generate(cm3_model *model, damage *d) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = (cm3_modality)(CM3_MODALITY_IMAGE + (int)below(d, 3));
    options.seed = 3;
    options.max_tokens = 8;
    options.preview_rows = 3;
    options.compute = below(d, 2) ? CM3_COMPUTE_F32 : CM3_COMPUTE_BF16;
    cm3_document *prompt = gen_prompt(&c, "a red ball"), *result = NULL;
    cm3_request *request;
    cm3_status status = cm3_request_start(model, prompt, &options, &request);
    cm3_document_destroy(prompt);
    if (status != CM3_OK) {
        ck_assert(cm3_context_message(c.context)[0]);
        return;
    }
    int done = 0;
    for (int i = 0; !done; i++) {
        if (i == STEPS) cm3_request_cancel(request);
        ck_assert_int_lt(i, 2 * STEPS);
        status = cm3_request_poll(request, 0, NULL, NULL, &done);
    }
    ck_assert_int_eq(cm3_request_message(request)[0] != 0, status != CM3_OK);
    GEN_OK(&c, cm3_request_result(request, &result));
    cm3_document_destroy(result);
    cm3_request_destroy(request);
}

/* Its tokenizer on its own: what generation does not touch. */
static void use_tokenizer(cm3_model *model) {
    cm3_tokenizer *tokenizer;
    if (cm3_model_tokenizer(model, &tokenizer) != CM3_OK) return;
    cm3_tokenizer_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_tokenizer_get_info(tokenizer, &info), CM3_OK);
    int32_t ids[64];
    char text[512];
    size_t count, size;
    if (cm3_tokenizer_encode(tokenizer, "a b\xc3\xa4ll </s>", SIZE_MAX, CM3_ENCODE_SPECIAL, ids, 64, &count) ==
        CM3_OK) {
        cm3_status status = cm3_tokenizer_decode(tokenizer, ids, count < 64 ? count : 64, 0, text, sizeof text, &size);
        ck_assert(status == CM3_OK || cm3_context_message(c.context)[0]);
    }
    if (info.image_tokens > 0 && info.image_tokens <= 256) {
        int32_t codes[256] = {0};
        cm3_image *image;
        if (cm3_tokenizer_decode_image(tokenizer, codes, (size_t)info.image_tokens, &image) == CM3_OK) {
            cm3_status status = cm3_tokenizer_encode_image(tokenizer, image, codes, 256, &count);
            ck_assert(status == CM3_OK || cm3_context_message(c.context)[0]);
            cm3_image_destroy(image);
        }
    }
    cm3_tokenizer_destroy(tokenizer);
}

typedef struct outcomes {
    int errors, models;
} outcomes;

static void load_and_use(damage *d, bool from_file, outcomes *o) {
    const char *path = test_path(&c.fixture, "damaged.cm3"), *name = from_file ? "damaged.cm3" : "memory";
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.check_weights = (int)below(d, 2);
    options.verify_checksum = below(d, 8) == 0;
    options.mode = below(d, 4) ? CM3_LOAD_MAP : CM3_LOAD_HUGE;
    /* Memory of just this size, so that sanitizers see who reads on. */
    char *exact = memcpy(malloc(d->size ? d->size : 1), d->bytes, d->size);
    cm3_model *model = (cm3_model *)d;
    cm3_status status = from_file ? cm3_model_load(c.context, path, &options, &model)
                                  : cm3_model_load_memory(c.context, exact, d->size, &options, &model);
    if (status != CM3_OK) {
        const char *message = cm3_context_message(c.context);
        ck_assert_ptr_null(model);
        ck_assert_msg(strstr(message, name) != NULL, "'%s' does not name %s", message, name);
        o->errors++;
    } else {
        o->models++;
        generate(model, d);
        use_tokenizer(model);
        cm3_model_destroy(model);
    }
    free(exact);
}

static void up(damage *d) {
    test_fixture_up(&c.fixture);
    c.context = c.fixture.context;
    memset(d, 0, sizeof *d);
    const char *path = test_path(&c.fixture, "whole.cm3");
    cm3_model_destroy(tiny_model(c.context, 160, path));
    d->whole = test_get(path, &d->whole_size);
    uint64_t header;
    memcpy(&header, d->whole, sizeof header);
    d->data = (size_t)header + 8;
    d->room = d->whole_size + 65536;
    d->bytes = malloc(d->room);
    /* The context that loads has the limit. */
    cm3_context_destroy(c.context);
    cm3_allocator allocator = {limited_alloc, test_allocator_free, &c.fixture.memory};
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &c.context), CM3_OK);
    c.fixture.context = c.context;
}

static void down(damage *d) {
    free(d->whole);
    free(d->bytes);
    test_fixture_down(&c.fixture);
}

/* The file of the round that went wrong stays in the test's folder in /tmp. */
START_TEST(random_damage) {
    damage d;
    outcomes o = {0, 0};
    up(&d);
    int rounds = (getenv("CM3_TEST_LONG") ? 5000 : 300) / PARTS;
    for (int i = 0; i < rounds; i++) {
        alarm(HANG_SECONDS);
        d.random = cm3_random_make((uint64_t)(1 + _i), (uint64_t)i);
        memcpy(d.bytes, d.whole, d.whole_size);
        d.size = d.whole_size;
        for (size_t times = 1 + below(&d, 4) / 3; times; times--) damage_once(&d);
        test_put(test_path(&c.fixture, "damaged.cm3"), d.bytes, d.size);
        int64_t live = atomic_load(&c.fixture.memory.live);
        load_and_use(&d, true, &o);
        load_and_use(&d, false, &o);
        ck_assert_int_eq(atomic_load(&c.fixture.memory.live), live);
    }
    alarm(0);
    /* Both happen: the damage is neither always too much nor never seen. */
    ck_assert_int_gt(o.errors, rounds / 5);
    ck_assert_int_gt(o.models, rounds / 15);
    down(&d);
}
END_TEST

/* Every length that cuts within the header's first bytes and every so many bytes after. */
START_TEST(every_cut) {
    damage d;
    outcomes o = {0, 0};
    up(&d);
    size_t step = getenv("CM3_TEST_LONG") ? 7 : 331;
    for (size_t size = 0; size < d.whole_size; size += size < 16 ? 1 : step) {
        alarm(HANG_SECONDS);
        memcpy(d.bytes, d.whole, size);
        d.size = size;
        test_put(test_path(&c.fixture, "damaged.cm3"), d.bytes, d.size);
        load_and_use(&d, true, &o);
        load_and_use(&d, false, &o);
    }
    alarm(0);
    ck_assert_int_eq(o.models, 0);
    down(&d);
}
END_TEST

Suite *damage_suite(void) {
    Suite *suite = suite_create("survival/damage");
    TCase *tcase = tcase_create("damage");
    tcase_set_timeout(tcase, getenv("CM3_TEST_LONG") ? 3600 : 900);
    tcase_add_loop_test(tcase, random_damage, 0, PARTS);
    tcase_add_test(tcase, every_cut);
    suite_add_tcase(suite, tcase);
    return suite;
}
