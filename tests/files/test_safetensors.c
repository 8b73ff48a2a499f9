/* safetensors: read as others write it, written as the format says, refused where it lies. */
#include <inttypes.h>

#include "files/hash.h"
#include "files/safetensors.h"
#include "suites.h"
#include "support/fixture.h"

static test_fixture t;

static void set_up(void) {
    test_fixture_up(&t);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

static cm3_safetensors *open_path(const char *path) {
    cm3_file *file;
    cm3_safetensors *tensors;
    ck_assert_int_eq(cm3_file_open(t.context, path, &file), CM3_OK);
    cm3_status status = cm3_safetensors_open(t.context, file, &tensors);
    cm3_file_release(file);
    ck_assert_msg(status == CM3_OK, "%s", cm3_context_message(t.context));
    return tensors;
}

static void expect_entry(const cm3_safetensors *tensors, const char *name, cm3_dtype dtype, int rank,
                         const int64_t *shape, const void *data, size_t size) {
    const cm3_entry *entry = cm3_safetensors_find(tensors, name);
    ck_assert_msg(entry != NULL, "%s", name);
    ck_assert_str_eq(entry->name, name);
    ck_assert_int_eq(entry->dtype, dtype);
    ck_assert_int_eq(entry->rank, rank);
    int64_t count = 1;
    for (int i = 0; i < rank; ++i) {
        ck_assert_int_eq(entry->shape[i], shape[i]);
        count *= shape[i];
    }
    ck_assert_int_eq(entry->count, count);
    ck_assert_uint_eq(entry->size, size);
    ck_assert_uint_eq((uintptr_t)entry->data % cm3_dtype_size(dtype), 0);
    if (size > 0) ck_assert_mem_eq(entry->data, data, size);
}

START_TEST(as_python_writes_it) {
    cm3_safetensors *tensors = open_path(CM3_TEST_DATA "/files/small.safetensors");
    ck_assert_uint_eq(cm3_safetensors_count(tensors), 9);
    static const float a[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, scalar = 7;
    static const uint16_t b[] = {0x3fc0, 0xc010, 0x4040}, half[] = {0x3800, 0x7bff};
    static const int64_t ids[] = {-1, INT64_C(1) << 40};
    static const uint8_t bytes[] = {1, 2, 255};
    static const int8_t is_signed[] = {-128, 127};
    static const int32_t words[] = {-5};
    expect_entry(tensors, "a.weight", CM3_F32, 2, (int64_t[]){3, 4}, a, sizeof a);
    expect_entry(tensors, "b", CM3_BF16, 1, (int64_t[]){3}, b, sizeof b);
    expect_entry(tensors, "c.half", CM3_F16, 2, (int64_t[]){2, 1}, half, sizeof half);
    expect_entry(tensors, "ids", CM3_I64, 1, (int64_t[]){2}, ids, sizeof ids);
    expect_entry(tensors, "bytes", CM3_U8, 1, (int64_t[]){3}, bytes, sizeof bytes);
    expect_entry(tensors, "signed", CM3_I8, 1, (int64_t[]){2}, is_signed, sizeof is_signed);
    expect_entry(tensors, "words", CM3_I32, 3, (int64_t[]){1, 1, 1}, words, sizeof words);
    expect_entry(tensors, "scalar", CM3_F32, 0, NULL, &scalar, sizeof scalar);
    expect_entry(tensors, "empty", CM3_F32, 2, (int64_t[]){0, 3}, NULL, 0);
    ck_assert_str_eq(cm3_safetensors_metadata(tensors, "format"), "pt");
    ck_assert_str_eq(cm3_safetensors_metadata(tensors, "note"), "gr\xc3\xbc\xc3\x9f"
                                                                "e");
    ck_assert_ptr_null(cm3_safetensors_metadata(tensors, "absent"));
    ck_assert_ptr_null(cm3_safetensors_find(tensors, "absent"));
    ck_assert_ptr_null(cm3_safetensors_find(tensors, "__metadata__"));
    ck_assert_ptr_null(cm3_safetensors_at(tensors, 9));
    ck_assert_ptr_nonnull(strstr(cm3_safetensors_name(tensors), "small.safetensors"));
    cm3_safetensors_close(tensors);
    cm3_safetensors_close(NULL);
}
END_TEST

/* The same bytes at every distance from an alignment: data is readable by its type all the same. */
START_TEST(misaligned_memory) {
    size_t size;
    char *bytes = test_get(CM3_TEST_DATA "/files/small.safetensors", &size);
    char *room = malloc(size + 16);
    static const float a[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    for (size_t shift = 0; shift < 9; ++shift) {
        memcpy(room + shift, bytes, size);
        cm3_file *file;
        cm3_safetensors *tensors;
        ck_assert_int_eq(cm3_file_from_memory(t.context, room + shift, size, &file), CM3_OK);
        ck_assert_int_eq(cm3_safetensors_open(t.context, file, &tensors), CM3_OK);
        cm3_file_release(file);
        expect_entry(tensors, "a.weight", CM3_F32, 2, (int64_t[]){3, 4}, a, sizeof a);
        cm3_safetensors_close(tensors);
    }
    free(room);
    free(bytes);
}
END_TEST

/* --- refusals: a header and so many bytes of data -------------------------------------------------------------- */

static cm3_status open_parts(const char *header, size_t length, size_t data_size) {
    size_t text = strlen(header);
    uint8_t *bytes = calloc(1, 8 + text + data_size);
    for (int i = 0; i < 8; ++i) bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, text);
    cm3_file *file;
    cm3_safetensors *tensors;
    ck_assert_int_eq(cm3_file_from_memory(t.context, bytes, 8 + text + data_size, &file), CM3_OK);
    cm3_status status = cm3_safetensors_open(t.context, file, &tensors);
    ck_assert((tensors != NULL) == (status == CM3_OK));
    cm3_safetensors_close(tensors);
    cm3_file_release(file);
    free(bytes);
    return status;
}

static void refuse(const char *header, size_t data_size, cm3_status expected, const char *words) {
    ck_assert_msg(open_parts(header, strlen(header), data_size) == expected, "%s: %s", header,
                  cm3_context_message(t.context));
    ck_assert_msg(test_says(&t, words), "%s: %s", header, cm3_context_message(t.context));
}

#define F32_LINE(shape, offsets) "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

START_TEST(headers_that_lie) {
    ck_assert_int_eq(open_parts("{}", 2, 0), CM3_OK);
    ck_assert_int_eq(open_parts("{}      ", 8, 0), CM3_OK);
    static const char good[] = "{\"a\":" F32_LINE("[2,2]", "[0,16]") "}";
    ck_assert_int_eq(open_parts(good, sizeof good - 1, 16), CM3_OK);
    ck_assert_int_eq(open_parts("{}", 3, 0), CM3_ERROR_TRUNCATED);
    ck_assert_int_eq(open_parts("{}", SIZE_MAX, 0), CM3_ERROR_FORMAT);
    ck_assert_int_eq(open_parts("{}", 100000001, 0), CM3_ERROR_FORMAT);
    ck_assert_int_eq(open_parts("{}", 0, 0), CM3_ERROR_FORMAT);
    refuse("[]", 0, CM3_ERROR_FORMAT, "\"{\"");
    refuse(" {}", 0, CM3_ERROR_FORMAT, "\"{\"");
    refuse("{}x", 0, CM3_ERROR_FORMAT, "JSON");
    refuse("{", 0, CM3_ERROR_FORMAT, "JSON");
    refuse("{}", 1, CM3_ERROR_FORMAT, "data section has 1");
    refuse("{\"a\":1}", 0, CM3_ERROR_FORMAT, "expected an object");
    refuse("{\"a\":{}}", 0, CM3_ERROR_FORMAT, "dtype");
    refuse("{\"__metadata__\":[]}", 0, CM3_ERROR_FORMAT, "__metadata__");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, CM3_ERROR_FORMAT, "expected a string");
    refuse("{\"a\":{\"dtype\":1,\"shape\":[],\"data_offsets\":[0,4]}}", 4, CM3_ERROR_FORMAT, "dtype");
    refuse("{\"a\":{\"dtype\":\"F99\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, CM3_ERROR_UNSUPPORTED, "F99");
    refuse("{\"a\":" F32_LINE("4", "[0,16]") "}", 16, CM3_ERROR_FORMAT, "shape");
    refuse("{\"a\":" F32_LINE("[-4]", "[0,16]") "}", 16, CM3_ERROR_FORMAT, "dimension");
    refuse("{\"a\":" F32_LINE("[4.0]", "[0,16]") "}", 16, CM3_ERROR_FORMAT, "dimension");
    refuse("{\"a\":" F32_LINE("[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, CM3_ERROR_UNSUPPORTED, "9 dimensions");
    refuse("{\"a\":" F32_LINE("[4294967296,4294967296]", "[0,16]") "}", 16, CM3_ERROR_FORMAT, "overflows");
    refuse("{\"a\":" F32_LINE("[4294967296,4294967296,0]", "[0,0]") "}", 0, CM3_ERROR_FORMAT, "overflows");
    refuse("{\"a\":" F32_LINE("[9223372036854775807]", "[0,16]") "}", 16, CM3_ERROR_FORMAT, "overflows");
    refuse("{\"a\":" F32_LINE("[4611686018427387904]", "[0,0]") "}", 0, CM3_ERROR_FORMAT, "overflows");
    refuse("{\"a\":" F32_LINE("[4]", "[0]") "}", 16, CM3_ERROR_FORMAT, "data_offsets");
    refuse("{\"a\":" F32_LINE("[4]", "[0,16,16]") "}", 16, CM3_ERROR_FORMAT, "data_offsets");
    refuse("{\"a\":" F32_LINE("[4]", "[-16,0]") "}", 16, CM3_ERROR_FORMAT, "negative");
    refuse("{\"a\":" F32_LINE("[4]", "[16,0]") "}", 16, CM3_ERROR_FORMAT, "wrong way");
    refuse("{\"a\":" F32_LINE("[4]", "[0,16]") "}", 15, CM3_ERROR_TRUNCATED, "ends at byte 16");
    refuse("{\"a\":" F32_LINE("[4]", "[0,12]") "}", 12, CM3_ERROR_FORMAT, "16 bytes expected");
    refuse("{\"a\":" F32_LINE("[4]", "[4,20]") "}", 20, CM3_ERROR_FORMAT, "hole from 0");
    refuse("{\"a\":" F32_LINE("[4]", "[0,16]") "}", 17, CM3_ERROR_FORMAT, "has 17 bytes, its tensors 16");
    refuse("{\"a\":" F32_LINE("[4]", "[0,16]") ",\"b\":" F32_LINE("[4]", "[8,24]") "}", 24, CM3_ERROR_FORMAT,
           "overlaps");
    refuse("{\"a\":" F32_LINE("[4]", "[0,16]") ",\"b\":" F32_LINE("[4]", "[0,16]") "}", 16, CM3_ERROR_FORMAT,
           "overlaps");
    refuse("{\"a\":" F32_LINE("[4]", "[0,16]") ",\"b\":" F32_LINE("[4]", "[20,36]") "}", 36, CM3_ERROR_FORMAT, "hole");
    refuse("{\"a\":" F32_LINE("[4]", "[0,16]") ",\"a\":" F32_LINE("[4]", "[16,32]") "}", 32, CM3_ERROR_FORMAT,
           "duplicate");
    /* A tensor without elements inside another's data is an overlap like any other. */
    refuse("{\"a\":" F32_LINE("[4]", "[0,16]") ",\"e\":" F32_LINE("[0]", "[4,4]") "}", 16, CM3_ERROR_FORMAT,
           "overlaps");
    ck_assert_int_eq(open_parts("", 0, 0), CM3_ERROR_FORMAT);
}
END_TEST

START_TEST(shorter_than_a_length) {
    for (size_t size = 0; size < 8; ++size) {
        cm3_file *file;
        cm3_safetensors *tensors;
        ck_assert_int_eq(cm3_file_from_memory(t.context, "\2\0\0\0\0\0\0", size, &file), CM3_OK);
        ck_assert_int_eq(cm3_safetensors_open(t.context, file, &tensors), CM3_ERROR_TRUNCATED);
        ck_assert_ptr_null(tensors);
        cm3_file_release(file);
    }
}
END_TEST

/* --- writing ----------------------------------------------------------------------------------------------------- */

static float values[50];

static size_t fill(cm3_save_entry *entries) {
    for (int i = 0; i < 50; ++i) values[i] = (float)i - 20.5f;
    size_t n = 0;
    entries[n++] = (cm3_save_entry){"lm.w", CM3_F32, CM3_F32, 2, {5, 3}, values, NULL, NULL};
    entries[n++] = (cm3_save_entry){"lm.b", CM3_BF16, CM3_F32, 1, {50}, values, NULL, NULL};
    entries[n++] = (cm3_save_entry){"none", CM3_F16, CM3_F32, 2, {0, 7}, NULL, NULL, NULL};
    entries[n++] = (cm3_save_entry){"vq.\xc3\xbc", CM3_F16, CM3_F32, 3, {5, 2, 5}, values, NULL, NULL};
    entries[n++] = (cm3_save_entry){"raw", CM3_U8, CM3_U8, 1, {64}, values, NULL, NULL};
    entries[n++] = (cm3_save_entry){"last", CM3_I64, CM3_I64, 0, {0}, values, NULL, NULL};
    return n;
}

static const char *const keys[] = {"format", "config"}, *const texts[] = {"cm3", "{\"a\":\"\\u00fc \\n\"}"};

START_TEST(written_and_read) {
    const char *path = test_path(&t, "a.cm3");
    cm3_save_entry entries[8];
    size_t count = fill(entries);
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, entries, count, keys, texts, 2), CM3_OK);
    cm3_safetensors *tensors = open_path(path);
    ck_assert_uint_eq(cm3_safetensors_count(tensors), count);
    const uint8_t *data;
    size_t size;
    cm3_safetensors_data(tensors, &data, &size);
    for (size_t i = 0; i < count; ++i) {
        const cm3_entry *entry = cm3_safetensors_at(tensors, i);
        ck_assert_str_eq(entry->name, entries[i].name);
        ck_assert_int_eq(entry->dtype, entries[i].dtype);
        ck_assert_int_eq(entry->rank, entries[i].rank);
        if (entry->size > 0) ck_assert_uint_eq((uintptr_t)entry->data % 64, 0);
        if (entry->dtype != CM3_F16 && entry->dtype != CM3_BF16) continue;
        for (int64_t j = 0; j < entry->count; ++j) {
            uint16_t bits = ((const uint16_t *)entry->data)[j];
            ck_assert_float_eq(entry->dtype == CM3_F16 ? cm3_f16_to_f32(bits) : cm3_bf16_to_f32(bits), values[j]);
        }
    }
    ck_assert_mem_eq(cm3_safetensors_find(tensors, "raw")->data, values, 64);
    char sum[17];
    snprintf(sum, sizeof sum, "%016" PRIx64, cm3_hash(data, size));
    ck_assert_str_eq(cm3_safetensors_metadata(tensors, "xxh3"), sum);
    ck_assert_str_eq(cm3_safetensors_metadata(tensors, "format"), "cm3");
    ck_assert_str_eq(cm3_safetensors_metadata(tensors, "config"), texts[1]);
    cm3_safetensors_close(tensors);
    /* The same once more: the same bytes. */
    const char *again = test_path(&t, "b.cm3");
    ck_assert_int_eq(cm3_safetensors_write(t.context, again, entries, count, keys, texts, 2), CM3_OK);
    size_t size_a, size_b;
    char *a = test_get(path, &size_a), *b = test_get(again, &size_b);
    ck_assert_uint_eq(size_a, size_b);
    ck_assert_int_eq(memcmp(a, b, size_a), 0);
    free(a);
    free(b);
}
END_TEST

/* The file by the format's own words, with no help of the reader: length, JSON, contiguous data, 64-byte places. */
START_TEST(written_as_the_format_says) {
    const char *path = test_path(&t, "a.cm3");
    cm3_save_entry entries[8];
    size_t count = fill(entries), size, covered = 0, pads = 0, named = 0;
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, entries, count, keys, texts, 2), CM3_OK);
    char *bytes = test_get(path, &size);
    uint64_t length;
    memcpy(&length, bytes, 8);
    ck_assert_uint_eq((8 + length) % 64, 0);
    ck_assert_int_eq(bytes[8], '{');
    json_error_t error;
    json_t *header = json_loadb(bytes + 8, length, JSON_REJECT_DUPLICATES, &error);
    ck_assert_ptr_nonnull(header);
    const char *key;
    json_t *line;
    json_object_foreach(header, key, line) {
        if (strcmp(key, "__metadata__") == 0) continue;
        json_t *offsets = json_object_get(line, "data_offsets");
        size_t begin = (size_t)json_integer_value(json_array_get(offsets, 0));
        size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));
        ck_assert_uint_eq(begin, covered);
        covered = end;
        if (strncmp(key, "pad.", 4) == 0) {
            ++pads;
            ck_assert_str_eq(json_string_value(json_object_get(line, "dtype")), "U8");
            for (size_t i = begin; i < end; ++i) ck_assert_int_eq(bytes[8 + length + i], 0);
        } else {
            ++named;
            if (end > begin) ck_assert_uint_eq((8 + length + begin) % 64, 0);
        }
    }
    ck_assert_uint_eq(covered, size - 8 - length);
    ck_assert_uint_eq(named, count);
    ck_assert_uint_eq(pads, 3);
    ck_assert_uint_eq((unsigned char)bytes[8 + length], 0); /* -20.5f, little-endian */
    ck_assert_uint_eq((unsigned char)bytes[8 + length + 3], 0xc1);
    json_decref(header);
    free(bytes);
}
END_TEST

START_TEST(large_conversion) {
    enum { COUNT = 100001 };
    float *many = malloc(COUNT * sizeof *many);
    for (int i = 0; i < COUNT; ++i) many[i] = (float)(i % 257) - 128;
    cm3_save_entry entry = {"x", CM3_BF16, CM3_F32, 1, {COUNT}, many, NULL, NULL};
    const char *path = test_path(&t, "x");
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, &entry, 1, NULL, NULL, 0), CM3_OK);
    cm3_safetensors *tensors = open_path(path);
    const uint16_t *data = cm3_safetensors_find(tensors, "x")->data;
    for (int i = 0; i < COUNT; ++i) ck_assert_float_eq(cm3_bf16_to_f32(data[i]), many[i]);
    cm3_safetensors_close(tensors);
    free(many);
}
END_TEST

START_TEST(entries_that_cannot_be) {
    static const cm3_save_entry wrong[] = {
        {NULL, CM3_F32, CM3_F32, 1, {1}, values, NULL, NULL},
        {"pad.0", CM3_U8, CM3_U8, 1, {1}, values, NULL, NULL},
        {"__metadata__", CM3_U8, CM3_U8, 1, {1}, values, NULL, NULL},
        {"x", CM3_DTYPE_NONE, CM3_DTYPE_NONE, 1, {1}, values, NULL, NULL},
        {"x", CM3_F32, CM3_F32, 9, {1}, values, NULL, NULL},
        {"x", CM3_F32, CM3_F32, -1, {1}, values, NULL, NULL},
        {"x", CM3_F32, CM3_F32, 1, {-1}, values, NULL, NULL},
        {"x", CM3_F32, CM3_F32, 2, {INT64_MAX, 4}, values, NULL, NULL},
        {"x", CM3_F32, CM3_I32, 1, {1}, values, NULL, NULL},
        {"x", CM3_U8, CM3_F32, 1, {1}, values, NULL, NULL},
        {"x", CM3_F32, CM3_F32, 1, {1}, NULL, NULL, NULL},
        {"\xff", CM3_F32, CM3_F32, 1, {1}, values, NULL, NULL},
    };
    const char *path = test_path(&t, "x");
    test_put(path, "old", 3);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        ck_assert_int_eq(cm3_safetensors_write(t.context, path, &wrong[i], 1, NULL, NULL, 0),
                         CM3_ERROR_INVALID_ARGUMENT);
    }
    const cm3_save_entry x = {"x", CM3_F32, CM3_F32, 1, {1}, values, NULL, NULL}, twice[] = {x, x};
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, twice, 2, NULL, NULL, 0), CM3_ERROR_INVALID_ARGUMENT);
    static const char *const sum[] = {"xxh3"}, *const bad[] = {"\xff"}, *const null[] = {NULL}, *const ok[] = {"a"};
    static const char *const same[] = {"a", "a"};
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, twice, 1, sum, ok, 1), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, twice, 1, ok, bad, 1), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, twice, 1, bad, ok, 1), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, twice, 1, ok, null, 1), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, twice, 1, same, same, 2), CM3_ERROR_INVALID_ARGUMENT);
    const char *full = test_dev_full(&t);
    if (full != NULL) {
        ck_assert_int_eq(cm3_safetensors_write(t.context, full, twice, 1, NULL, NULL, 0), CM3_ERROR_NO_SPACE);
    }
    char *kept = test_get(path, NULL);
    ck_assert_str_eq(kept, "old");
    free(kept);
}
END_TEST

START_TEST(nothing_to_write) {
    const char *path = test_path(&t, "nothing");
    ck_assert_int_eq(cm3_safetensors_write(t.context, path, NULL, 0, NULL, NULL, 0), CM3_OK);
    cm3_safetensors *tensors = open_path(path);
    ck_assert_uint_eq(cm3_safetensors_count(tensors), 0);
    ck_assert_ptr_null(cm3_safetensors_find(tensors, "x"));
    ck_assert_str_eq(cm3_safetensors_metadata(tensors, "xxh3"), "2d06800538d394c2");
    cm3_safetensors_close(tensors);
}
END_TEST

START_TEST(only_padding_names_are_left_out) {
    static const char header[] = "{\"pad.0\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                                 "\"pad.x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]},"
                                 "\"pad.\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[8,12]},"
                                 "\"pad.1\":{\"dtype\":\"I8\",\"shape\":[4],\"data_offsets\":[12,16]}}";
    uint8_t bytes[8 + sizeof header - 1 + 16] = {sizeof header - 1};
    bytes[1] = (uint8_t)((sizeof header - 1) >> 8);
    memcpy(bytes + 8, header, sizeof header - 1);
    cm3_file *file;
    cm3_safetensors *tensors;
    ck_assert_int_eq(cm3_file_from_memory(t.context, bytes, sizeof bytes, &file), CM3_OK);
    ck_assert_int_eq(cm3_safetensors_open(t.context, file, &tensors), CM3_OK);
    ck_assert_uint_eq(cm3_safetensors_count(tensors), 3);
    ck_assert_ptr_null(cm3_safetensors_find(tensors, "pad.0"));
    ck_assert_ptr_nonnull(cm3_safetensors_find(tensors, "pad.1"));
    cm3_safetensors_close(tensors);
    cm3_file_release(file);
}
END_TEST

static int calls_left;

static void *scarce_malloc(size_t size) {
    return calls_left-- > 0 ? malloc(size) : NULL;
}

START_TEST(memory_runs_out) {
    const char *path = test_path(&t, "a.cm3");
    cm3_save_entry entries[8];
    size_t count = fill(entries);
    cm3_status status;
    for (int64_t n = 0;; ++n) {
        test_allocator_fail(&t.memory, n, INT64_MAX);
        status = cm3_safetensors_write(t.context, path, entries, count, keys, texts, 2);
        test_allocator_fail(&t.memory, -1, 0);
        if (status == CM3_OK) break;
        ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
    }
    size_t size;
    char *bytes = test_get(path, &size);
    cm3_file *file;
    ck_assert_int_eq(cm3_file_from_memory(t.context, bytes, size, &file), CM3_OK);
    for (int64_t n = 0;; ++n) {
        cm3_safetensors *tensors;
        test_allocator_fail(&t.memory, n, INT64_MAX);
        status = cm3_safetensors_open(t.context, file, &tensors);
        test_allocator_fail(&t.memory, -1, 0);
        cm3_safetensors_close(tensors);
        if (status == CM3_OK) break;
        ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
    }
    cm3_file_release(file);
    free(bytes);
}
END_TEST

START_TEST(jansson_without_memory) {
    const char *path = test_path(&t, "a.cm3");
    cm3_save_entry entries[8];
    size_t count = fill(entries);
    json_set_alloc_funcs(scarce_malloc, free);
    cm3_status status;
    int calls = 0;
    do {
        calls_left = calls++;
        status = cm3_safetensors_write(t.context, path, entries, count, keys, texts, 2);
    } while (status != CM3_OK && calls < 5000);
    ck_assert_int_gt(calls, 50);
    ck_assert_int_eq(status, CM3_OK);
    json_set_alloc_funcs(malloc, free);
    cm3_safetensors *tensors = open_path(path);
    ck_assert_uint_eq(cm3_safetensors_count(tensors), count);
    for (size_t i = 0; i < count; ++i) {
        const cm3_entry *entry = cm3_safetensors_find(tensors, entries[i].name);
        ck_assert_int_eq(entry->rank, entries[i].rank);
        for (int d = 0; d < entry->rank; ++d) ck_assert_int_eq(entry->shape[d], entries[i].shape[d]);
    }
    cm3_safetensors_close(tensors);
}
END_TEST

Suite *safetensors_suite(void) {
    Suite *suite = suite_create("safetensors");
    TCase *tests = tcase_create("safetensors");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, as_python_writes_it);
    tcase_add_test(tests, misaligned_memory);
    tcase_add_test(tests, headers_that_lie);
    tcase_add_test(tests, shorter_than_a_length);
    tcase_add_test(tests, written_and_read);
    tcase_add_test(tests, written_as_the_format_says);
    tcase_add_test(tests, large_conversion);
    tcase_add_test(tests, entries_that_cannot_be);
    tcase_add_test(tests, nothing_to_write);
    tcase_add_test(tests, only_padding_names_are_left_out);
    tcase_add_test(tests, memory_runs_out);
    tcase_add_test(tests, jansson_without_memory);
    suite_add_tcase(suite, tests);
    return suite;
}
