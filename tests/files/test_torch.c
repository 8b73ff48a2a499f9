/* PyTorch's checkpoints: zip archives and pickles, whole, damaged and hostile. */
#include "files/pickle.h"
#include "files/torch.h"
#include "files/zip.h"
#include "suites.h"
#include "support/fixture.h"

#define SHARD CM3_TEST_DATA "/parity/meta-swin/models/tiny/consolidated.00.pth"
#define VQGAN CM3_TEST_DATA "/parity/meta-swin/tokenizer/vqgan.ckpt"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static cm3_status open_bytes(const void *data, size_t size, cm3_torch **torch) {
    cm3_file *file;
    *torch = NULL;
    cm3_status status = cm3_file_from_memory(fixture.context, data, size, &file);
    if (status != CM3_OK) return status;
    status = cm3_torch_open(fixture.context, file, torch);
    cm3_file_release(file);
    return status;
}

START_TEST(reads_what_torch_wrote) {
    size_t size;
    char *bytes = test_get(SHARD, &size);
    cm3_torch *torch;
    ck_assert_int_eq(open_bytes(bytes, size, &torch), CM3_OK);
    ck_assert_uint_eq(cm3_torch_count(torch), 30);
    const cm3_entry *table = cm3_torch_find(torch, "tok_embeddings.weight");
    ck_assert_ptr_nonnull(table);
    ck_assert_int_eq(table->dtype, CM3_BF16);
    ck_assert_int_eq(table->rank, 2);
    ck_assert_int_eq(table->shape[0], 600);
    ck_assert_int_eq(table->shape[1], 32);
    ck_assert_uint_eq(table->size, 600 * 32 * 2);
    ck_assert_ptr_null(cm3_torch_find(torch, "tok_embeddings"));
    cm3_torch_close(torch);
    free(bytes);
    bytes = test_get(VQGAN, &size); /* under "state_dict" */
    ck_assert_int_eq(open_bytes(bytes, size, &torch), CM3_OK);
    ck_assert_ptr_nonnull(cm3_torch_find(torch, "quantize.embedding.weight"));
    cm3_torch_close(torch);
    free(bytes);
}
END_TEST

/* --- archives made here --------------------------------------------------------------------------------------------
 */

typedef struct archive {
    uint8_t bytes[1 << 16], directory[1 << 12];
    size_t size, directory_size, count;
} archive;

static void put(uint8_t *to, size_t *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) to[(*at)++] = (uint8_t)(value >> (8 * i));
}

static void add_entry(archive *a, const char *name, const void *data, size_t size) {
    size_t offset = a->size, length = strlen(name);
    put(a->bytes, &a->size, 0x04034b50, 4);
    for (int i = 0; i < 22; i++) put(a->bytes, &a->size, 0, 1);
    put(a->bytes, &a->size, length, 2);
    put(a->bytes, &a->size, 0, 2);
    memcpy(a->bytes + a->size, name, length);
    a->size += length;
    memcpy(a->bytes + a->size, data, size);
    a->size += size;
    uint8_t *d = a->directory;
    put(d, &a->directory_size, 0x02014b50, 4);
    for (int i = 0; i < 16; i++) put(d, &a->directory_size, 0, 1);
    put(d, &a->directory_size, size, 4);
    put(d, &a->directory_size, size, 4);
    put(d, &a->directory_size, length, 2);
    for (int i = 0; i < 12; i++) put(d, &a->directory_size, 0, 1);
    put(d, &a->directory_size, offset, 4);
    memcpy(d + a->directory_size, name, length);
    a->directory_size += length;
    a->count++;
}

static void close_archive(archive *a) {
    size_t offset = a->size;
    memcpy(a->bytes + a->size, a->directory, a->directory_size);
    a->size += a->directory_size;
    put(a->bytes, &a->size, 0x06054b50, 4);
    put(a->bytes, &a->size, 0, 4);
    put(a->bytes, &a->size, a->count, 2);
    put(a->bytes, &a->size, a->count, 2);
    put(a->bytes, &a->size, a->directory_size, 4);
    put(a->bytes, &a->size, offset, 4);
    put(a->bytes, &a->size, 0, 2);
}

/** A pickle: text in which \x and the like stand for bytes. */
#define PICKLE(text) (const uint8_t *)(text), sizeof(text) - 1

/** The archive lives on: tensors may lie in it. */
static cm3_status open_pickle(const uint8_t *pickle, size_t size, cm3_torch **torch) {
    static archive a;
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    memset(&a, 0, sizeof a);
    add_entry(&a, "m/data.pkl", pickle, size);
    add_entry(&a, "m/byteorder", "little", 6);
    add_entry(&a, "m/data/0", values, sizeof values);
    close_archive(&a);
    return open_bytes(a.bytes, a.size, torch);
}

#define STORAGE                                                                                                        \
    "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"                                                             \
    "0X\x03\0\0\0cpuK\x06tQ"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n("
#define REST                                                                                                           \
    "\x89"                                                                                                             \
    "ccollections\nOrderedDict\n)RtR"
#define DICT(inside) "\x80\x02}X\x01\0\0\0w" inside "s."

START_TEST(views_are_gathered) {
    cm3_torch *torch;
    /* the transpose of [2, 3]: shape (3, 2), stride (1, 3) */
    static const uint8_t pickle[] = DICT(REBUILD STORAGE "K\0K\x03K\x02\x86K\x01K\x03\x86" REST);
    ck_assert_msg(open_pickle(pickle, sizeof pickle - 1, &torch) == CM3_OK, "%s", cm3_context_message(fixture.context));
    const cm3_entry *entry = cm3_torch_find(torch, "w");
    ck_assert_ptr_nonnull(entry);
    static const float expected[] = {1, 4, 2, 5, 3, 6};
    ck_assert_mem_eq(entry->data, expected, sizeof expected);
    cm3_torch_close(torch);
}
END_TEST

static const struct {
    const uint8_t *pickle;
    size_t size;
    cm3_status status;
    const char *says;
} hostile[] = {
    {PICKLE("\x80\x02"
            "cos\nsystem\nX\x02\0\0\0ls\x85R."),
     CM3_ERROR_UNSUPPORTED, "'os.system' is refused"},
    {PICKLE("\x80\x02"
            "cbuiltins\neval\n."),
     CM3_ERROR_UNSUPPORTED, "builtins.eval"},
    {PICKLE("\x80\x04\x8c\x02os\x8c\x06system\x93."), CM3_ERROR_UNSUPPORTED, "os.system"},
    {PICKLE("\x80\x02i__main__\nf\n."), CM3_ERROR_UNSUPPORTED, "opcode 0x69 is refused"},
    {PICKLE("\x80\x02}\x81."), CM3_ERROR_UNSUPPORTED, "opcode 0x81 is refused"},
    {PICKLE("\x80\x06}."), CM3_ERROR_UNSUPPORTED, "protocol"},
    {PICKLE("\x80\x02}"), CM3_ERROR_TRUNCATED, "no end"},
    {PICKLE("\x80\x02X\xff\xff\xff\xff"
            "a."),
     CM3_ERROR_TRUNCATED, "within an opcode"},
    {PICKLE("\x80\x02R."), CM3_ERROR_FORMAT, "the stack is empty"},
    {PICKLE("\x80\x02}}."), CM3_ERROR_FORMAT, "one value"},
    {PICKLE("\x80\x02(}."), CM3_ERROR_FORMAT, "one value"},
    {PICKLE("\x80\x02t."), CM3_ERROR_FORMAT, "no mark"},
    {PICKLE("\x80\x02h\x05."), CM3_ERROR_FORMAT, "memo is empty"},
    {PICKLE("\x80\x02}r\xff\xff\xff\xff."), CM3_ERROR_FORMAT, "memo is out of range"},
    {PICKLE("\x80\x02}X\x01\0\0\0ws."), CM3_ERROR_FORMAT, "stack is empty"},
    {PICKLE("\x80\x02]K\x01s."), CM3_ERROR_FORMAT, "stack is empty"},
    {PICKLE("\x80\x02K\x01K\x02K\x03s."), CM3_ERROR_FORMAT, "no list or dictionary"},
    {PICKLE("\x80\x02]b."), CM3_ERROR_UNSUPPORTED, "something else"},
    {PICKLE("\x80\x02]}b."), CM3_ERROR_UNSUPPORTED, "something else than a dictionary"},
    {PICKLE("\x80\x02K\x01."), CM3_ERROR_FORMAT, "no dictionary of tensors"},
    {PICKLE("\x80\x02\x8a\x09"
            "123456789."),
     CM3_ERROR_UNSUPPORTED, "64 bits"},
    {PICKLE("\x80\x02K\x01Q."), CM3_ERROR_FORMAT, "no tuple"},
    {PICKLE("\x80\x02(K\x01K\x02tQ."), CM3_ERROR_FORMAT, "('storage', type"},
    {PICKLE("\x80\x02"
            "ctorch\nFloatStorage\n)R."),
     CM3_ERROR_UNSUPPORTED, "is called"},
    /* a tensor beyond its storage, by offset, shape and stride; shapes whose product overflows */
    {PICKLE(DICT(REBUILD STORAGE "K\x05K\x02\x85K\x01\x85" REST)), CM3_ERROR_FORMAT, "beyond its storage"},
    {PICKLE(DICT(REBUILD STORAGE "K\0K\x07\x85K\x01\x85" REST)), CM3_ERROR_FORMAT, "beyond its storage"},
    {PICKLE(DICT(REBUILD STORAGE "K\0K\x02\x85K\x06\x85" REST)), CM3_ERROR_FORMAT, "beyond its storage"},
    {PICKLE(DICT(REBUILD STORAGE "K\0K\x64\x85K\0\x85" REST)), CM3_ERROR_FORMAT, "more elements than its storage"},
    {PICKLE(DICT(REBUILD STORAGE "K\0\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x02\x86K\0K\0\x86" REST)),
     CM3_ERROR_FORMAT, "overflows"},
    {PICKLE(DICT(REBUILD STORAGE "K\0J\xff\xff\xff\xff\x85K\x01\x85" REST)), CM3_ERROR_FORMAT, "a tensor is not"},
    {PICKLE(DICT(REBUILD STORAGE "K\0K\x02K\x03\x86K\x03\x85" REST)), CM3_ERROR_FORMAT, "a tensor is not"},
    {PICKLE(DICT(REBUILD "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
                         "9X\x03\0\0\0cpuK\x06tQ"
                         "K\0K\x02\x85K\x01\x85" REST)),
     CM3_ERROR_FORMAT, "its storage is missing"},
    {PICKLE(DICT(REBUILD "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
                         "0X\x03\0\0\0cpuK\x07tQ"
                         "K\0K\x02\x85K\x01\x85" REST)),
     CM3_ERROR_FORMAT, "shorter than it says"},
};

START_TEST(hostile_pickles) {
    cm3_torch *torch;
    cm3_status status = open_pickle(hostile[_i].pickle, hostile[_i].size, &torch);
    ck_assert_msg(status == hostile[_i].status, "%d: %d: %s", _i, (int)status, cm3_context_message(fixture.context));
    ck_assert_msg(test_says(&fixture, hostile[_i].says), "%d: %s", _i, cm3_context_message(fixture.context));
}
END_TEST

/** Marks and lists a million deep: no recursion. */
START_TEST(deep_nesting) {
    enum { DEPTH = 20000 };
    uint8_t *pickle = malloc(2 * DEPTH + 8);
    size_t size = 0;
    pickle[size++] = 0x80, pickle[size++] = 2;
    for (int i = 0; i < DEPTH; i++) pickle[size++] = '(';
    for (int i = 0; i < DEPTH; i++) pickle[size++] = 'l';
    pickle[size++] = '.';
    cm3_torch *torch;
    ck_assert_int_eq(open_pickle(pickle, size, &torch), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "no dictionary"));
    free(pickle);
}
END_TEST

static const struct {
    size_t from_end, bytes; /**< of the archive's end: what is overwritten */
    uint64_t value;
    cm3_status status;
} bad_ends[] = {
    {22, 4, 0, CM3_ERROR_TRUNCATED},       /* no end */
    {18, 2, 1, CM3_ERROR_UNSUPPORTED},     /* a second disk */
    {12, 2, 60000, CM3_ERROR_FORMAT},      /* more entries than its directory has room for */
    {10, 4, 0x7fffffff, CM3_ERROR_FORMAT}, /* a directory larger than the file */
    {6, 4, 0x7fffffff, CM3_ERROR_FORMAT},  /* one beyond it */
    {6, 4, 0, CM3_ERROR_FORMAT},           /* one that is none */
};

START_TEST(bad_archives) {
    archive *a = calloc(1, sizeof *a);
    cm3_torch *torch;
    add_entry(a, "m/data.pkl", "\x80\x02}.", 4);
    close_archive(a);
    ck_assert_int_eq(open_bytes(a->bytes, a->size, &torch), CM3_OK);
    cm3_torch_close(torch);
    size_t at = a->size - bad_ends[_i].from_end;
    put(a->bytes, &at, bad_ends[_i].value, (int)bad_ends[_i].bytes);
    ck_assert_msg(open_bytes(a->bytes, a->size, &torch) == bad_ends[_i].status, "%s",
                  cm3_context_message(fixture.context));
    free(a);
}
END_TEST

START_TEST(other_archives) {
    archive *a = calloc(1, sizeof *a);
    cm3_torch *torch;
    add_entry(a, "a.txt", "hello", 5);
    close_archive(a);
    ck_assert_int_eq(open_bytes(a->bytes, a->size, &torch), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "no data.pkl"));
    memset(a, 0, sizeof *a);
    add_entry(a, "m/data.pkl", "\x80\x02}.", 4);
    add_entry(a, "m/byteorder", "big", 3);
    close_archive(a);
    ck_assert_int_eq(open_bytes(a->bytes, a->size, &torch), CM3_ERROR_UNSUPPORTED);
    ck_assert(test_says(&fixture, "'big'"));
    memset(a, 0, sizeof *a);
    add_entry(a, "m/data.pkl", "\x80\x02}.", 4);
    add_entry(a, "m/data.pkl", "\x80\x02}.", 4);
    close_archive(a);
    ck_assert_int_eq(open_bytes(a->bytes, a->size, &torch), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "twice"));
    ck_assert_int_eq(open_bytes("\x80\x02legacy", 8, &torch), CM3_ERROR_UNSUPPORTED);
    ck_assert(test_says(&fixture, "PyTorch 1.6"));
    free(a);
}
END_TEST

/** Cut anywhere, or with any byte changed: an error or a model, never more. */
START_TEST(damaged) {
    size_t size;
    char *bytes = test_get(SHARD, &size);
    cm3_torch *torch;
    uint32_t random = 7;
    for (int i = 0; i < test_rounds(400); i++) {
        random = random * 1664525u + 1013904223u;
        size_t cut = i < 60 ? size - 1 - (size_t)i : random % size;
        ck_assert_int_ne(open_bytes(bytes, cut, &torch), CM3_OK);
    }
    char *own = malloc(size);
    for (int i = 0; i < test_rounds(2000); i++) {
        memcpy(own, bytes, size);
        for (int k = 0; k < 3; k++) {
            random = random * 1664525u + 1013904223u;
            /* of the pickle at the beginning and of the directory at the end most often */
            size_t place = k == 0 ? (random >> 8) % 3000 : size - 1 - (random >> 8) % 4000;
            own[place] = (char)(random >> 3);
        }
        if (open_bytes(own, size, &torch) == CM3_OK) cm3_torch_close(torch);
    }
    free(own);
    free(bytes);
}
END_TEST

START_TEST(out_of_memory) {
    size_t size;
    char *bytes = test_get(SHARD, &size);
    cm3_torch *torch = NULL;
    int failures = 0;
    for (int64_t n = 0; !torch; n++, failures++) {
        test_allocator_fail(&fixture.memory, n, INT64_MAX);
        cm3_status status = open_bytes(bytes, size, &torch);
        test_allocator_fail(&fixture.memory, -1, 0);
        ck_assert_msg(status == (torch ? CM3_OK : CM3_ERROR_NO_MEMORY), "%s", cm3_context_message(fixture.context));
    }
    ck_assert_int_gt(failures, 8);
    cm3_torch_close(torch);
    free(bytes);
}
END_TEST

Suite *torch_suite(void) {
    Suite *suite = suite_create("torch");
    TCase *tcase = tcase_create("checkpoints");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, reads_what_torch_wrote);
    tcase_add_test(tcase, views_are_gathered);
    tcase_add_loop_test(tcase, hostile_pickles, 0, (int)(sizeof hostile / sizeof *hostile));
    tcase_add_test(tcase, deep_nesting);
    tcase_add_loop_test(tcase, bad_archives, 0, (int)(sizeof bad_ends / sizeof *bad_ends));
    tcase_add_test(tcase, other_archives);
    tcase_add_test(tcase, damaged);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
