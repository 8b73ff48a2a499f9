/* `.cm3` files: written and read back in every way, and hostile ones, each refused with a message and nothing left
 * held. */
#include <math.h>

#include "suites.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

static test_fixture fixture;
static char *bytes; /* a good file, f32 */
static size_t size;

static void up(void) {
    test_fixture_up(&fixture);
    tiny_parts parts;
    tiny_create(fixture.context, 96, &parts);
    const char *path = test_path(&fixture, "tiny.cm3");
    tiny_write(fixture.context, &parts, CM3_F32, path);
    tiny_clear(fixture.context, &parts);
    bytes = test_get(path, &size);
}

static void down(void) {
    free(bytes);
    test_fixture_down(&fixture);
}

/* --- good files ------------------------------------------------------------------------------------------------------
 */

static const int32_t ids[] = {1, 40, 60, 100, 2, 25, 26, 27};
#define IDS ((int)(sizeof ids / sizeof *ids))

static float *logits_of(cm3_model *model) {
    cm3_model_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_model_get_info(model, &info), CM3_OK);
    float *logits = malloc((size_t)IDS * (size_t)info.vocab_size * sizeof(float));
    ck_assert_int_eq(cm3_model_logits(model, ids, IDS, CM3_COMPUTE_F32, logits), CM3_OK);
    return logits;
}

static int read_bytes(void *user, uint64_t offset, void *buffer, size_t count) {
    (void)user;
    if (offset > size || count > size - offset) return 1;
    memcpy(buffer, bytes + offset, count);
    return 0;
}

/* From a path, mapped and in huge pages, from memory, from there at an odd address, through I/O: the same logits. */
START_TEST(ways_of_loading) {
    float *first = NULL;
    size_t count = 0;
    char *odd = malloc(size + 1);
    memcpy(odd + 1, bytes, size);
    for (int way = 0; way < 6; way++) {
        cm3_model *model;
        cm3_load_options options;
        cm3_load_options_init(&options);
        options.verify_checksum = way > 2;
        options.mode = way == 1 || way == 4 ? CM3_LOAD_HUGE : CM3_LOAD_MAP;
        cm3_io io = {.struct_size = sizeof io, .read_at = read_bytes, .size = size};
        cm3_status status;
        if (way < 2) {
            status = cm3_model_load(fixture.context, test_path(&fixture, "tiny.cm3"), &options, &model);
        } else if (way < 4) {
            status = cm3_model_load_memory(fixture.context, way == 2 ? bytes : odd + 1, size, &options, &model);
        } else {
            status = cm3_model_load_io(fixture.context, &io, &options, &model);
        }
        ck_assert_msg(status == CM3_OK, "way %d: %s", way, cm3_context_message(fixture.context));
        cm3_model_info info = {.struct_size = sizeof info};
        ck_assert_int_eq(cm3_model_get_info(model, &info), CM3_OK);
        ck_assert_uint_eq(info.parts, CM3_PART_LM | CM3_PART_VQ | CM3_PART_TOKENIZER);
        ck_assert_int_eq(info.context_length, 96);
        ck_assert_int_eq(info.hidden_size, 32);
        ck_assert(info.lm_parameters > 0 && info.vq_parameters > 0);
        ck_assert_uint_eq(info.weight_bytes, 4 * (info.lm_parameters + info.vq_parameters));
        float *logits = logits_of(model);
        count = (size_t)IDS * (size_t)info.vocab_size;
        if (first) {
            ck_assert_mem_eq(first, logits, count * sizeof(float));
            free(logits);
        } else {
            first = logits;
        }
        const char *json;
        ck_assert_int_eq(cm3_model_config_json(model, &json), CM3_OK);
        ck_assert_ptr_nonnull(strstr(json, "\"hidden_size\":32"));
        cm3_tokenizer *tokenizer; /* outlives the model */
        ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), CM3_OK);
        ck_assert_int_eq(cm3_model_retain(model), CM3_OK);
        cm3_model_destroy(model);
        cm3_model_destroy(model);
        int32_t codes[TINY_TOKENS] = {3};
        cm3_image *image;
        ck_assert_int_eq(cm3_tokenizer_decode_image(tokenizer, codes, TINY_TOKENS, &image), CM3_OK);
        cm3_image_destroy(image);
        cm3_tokenizer_destroy(tokenizer);
    }
    free(first);
    free(odd);
}
END_TEST

/* What was written is what is read: random weights in the test, in a file of either type. */
START_TEST(written_and_read) {
    tiny_parts parts;
    tiny_create(fixture.context, 96, &parts);
    for (int type = 0; type < 2; type++) {
        const char *path = test_path(&fixture, "again.cm3");
        tiny_write(fixture.context, &parts, type ? CM3_BF16 : CM3_F32, path);
        cm3_model *model;
        ck_assert_int_eq(cm3_model_load(fixture.context, path, NULL, &model), CM3_OK);
        ck_assert_uint_eq(model->lm->parameter_count, parts.lm->parameter_count);
        for (size_t i = 0; i < parts.lm->parameter_count; i++) {
            const cm3_lm_parameter *a = &parts.lm->parameters[i], *b = &model->lm->parameters[i];
            ck_assert_str_eq(a->name, b->name);
            for (int64_t j = 0; j < a->tensor->count; j++) {
                double value = (double)cm3_f32(a->tensor)[j], tolerance = type && a->decay ? fabs(value) / 256 : 0;
                bool narrow = b->tensor->dtype == CM3_BF16;
                ck_assert(narrow == (type && a->decay));
                double read =
                    narrow ? (double)cm3_bf16_to_f32(((uint16_t *)b->tensor->data)[j]) : (double)cm3_f32(b->tensor)[j];
                ck_assert(fabs(read - value) <= tolerance);
            }
        }
        ck_assert_int_eq(memcmp(&model->lm->config, &parts.config, sizeof parts.config), 0);
        ck_assert_int_eq(model->tokenizer->special.eod, parts.special.eod);
        ck_assert_int_eq(model->tokenizer->special.image_count, TINY_CODES);
        cm3_model_destroy(model);
    }
    tiny_clear(fixture.context, &parts);
}
END_TEST

/* A file may hold some parts only. */
START_TEST(parts_alone) {
    tiny_parts parts;
    tiny_create(fixture.context, 96, &parts);
    const cm3_model_content contents[] = {
        {.lm = parts.lm, .lm_dtype = CM3_F32},
        {.vq = parts.vq, .vq_dtype = CM3_F32},
        {.bpe = parts.bpe, .special = &parts.special},
    };
    static const uint32_t expected[] = {CM3_PART_LM, CM3_PART_VQ, CM3_PART_TOKENIZER};
    for (int i = 0; i < 3; i++) {
        const char *path = test_path(&fixture, "part.cm3");
        ck_assert_int_eq(cm3_model_write(fixture.context, path, &contents[i]), CM3_OK);
        cm3_model *model;
        ck_assert_msg(cm3_model_load(fixture.context, path, NULL, &model) == CM3_OK, "%s",
                      cm3_context_message(fixture.context));
        cm3_model_info info = {.struct_size = sizeof info};
        ck_assert_int_eq(cm3_model_get_info(model, &info), CM3_OK);
        ck_assert_uint_eq(info.parts, expected[i]);
        cm3_tokenizer *tokenizer;
        float logit;
        ck_assert_int_eq(cm3_model_tokenizer(model, &tokenizer), i == 0 ? CM3_ERROR_NOT_FOUND : CM3_OK);
        if (i > 0) {
            ck_assert_int_eq(cm3_model_logits(model, ids, 1, CM3_COMPUTE_AUTO, &logit), CM3_ERROR_UNSUPPORTED);
            size_t count;
            int32_t codes[TINY_TOKENS];
            cm3_image *image;
            ck_assert_int_eq(cm3_image_create(fixture.context, 5, 4, &image), CM3_OK);
            ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, "a", 1, 0, NULL, 0, &count),
                             i == 1 ? CM3_ERROR_UNSUPPORTED : CM3_OK);
            ck_assert_int_eq(cm3_tokenizer_encode_image(tokenizer, image, codes, TINY_TOKENS, &count),
                             i == 2 ? CM3_ERROR_UNSUPPORTED : CM3_OK);
            ck_assert_int_eq(cm3_tokenizer_save(tokenizer, test_path(&fixture, "t.json")),
                             i == 1 ? CM3_ERROR_UNSUPPORTED : CM3_OK);
            cm3_image_destroy(image);
        }
        cm3_tokenizer_destroy(tokenizer);
        cm3_model_destroy(model);
    }
    tiny_clear(fixture.context, &parts);
}
END_TEST

START_TEST(logits_refused) {
    cm3_model *model;
    ck_assert_int_eq(cm3_model_load_memory(fixture.context, bytes, size, NULL, &model), CM3_OK);
    static float room[97 * 1024];
    int32_t many[97] = {0}, wrong[] = {1, 1 << 20}, below[] = {-1};
    ck_assert_int_eq(cm3_model_logits(NULL, ids, 1, CM3_COMPUTE_F32, room), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_logits(model, NULL, 1, CM3_COMPUTE_F32, room), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_logits(model, ids, 0, CM3_COMPUTE_F32, room), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_logits(model, ids, 1, CM3_COMPUTE_F32, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_logits(model, ids, 1, (cm3_compute)7, room), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_logits(model, wrong, 2, CM3_COMPUTE_F32, room), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&fixture, "1048576"));
    ck_assert_int_eq(cm3_model_logits(model, below, 1, CM3_COMPUTE_F32, room), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_logits(model, many, 97, CM3_COMPUTE_F32, room), CM3_ERROR_TOO_LONG);
    ck_assert(test_says(&fixture, "96"));
    ck_assert_int_eq(cm3_model_logits(model, many, 96, CM3_COMPUTE_BF16, room), CM3_OK);
    cm3_model_destroy(model);
    cm3_model_destroy(NULL);
}
END_TEST

/* --- refused files ---------------------------------------------------------------------------------------------------
 */

static int64_t live(void) {
    return atomic_load(&fixture.memory.live);
}

/** The file must be refused with a message; nothing stays held. */
static cm3_status refuse(const char *what, const void *data, size_t length) {
    int64_t before = live();
    cm3_model *model = (cm3_model *)&model;
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.verify_checksum = strstr(what, "sum") != NULL;
    char *copy = malloc(length + 1); /* so that reading past the end is seen */
    memcpy(copy, data, length);
    cm3_status status = cm3_model_load_memory(fixture.context, copy, length, &options, &model);
    ck_assert_msg(status != CM3_OK, "%s was accepted", what);
    ck_assert_ptr_null(model);
    ck_assert_msg(cm3_context_message(fixture.context)[0] != 0, "%s: no message", what);
    ck_assert_msg(live() == before, "%s: %lld bytes stay held", what, (long long)(live() - before));
    free(copy);
    return status;
}

START_TEST(no_file) {
    cm3_model *model;
    cm3_load_options options;
    cm3_load_options_init(&options);
    cm3_io io = {.struct_size = sizeof io, .read_at = read_bytes, .size = size + 1};
    ck_assert_int_eq(cm3_model_load(fixture.context, test_path(&fixture, "none.cm3"), NULL, &model),
                     CM3_ERROR_NOT_FOUND);
    ck_assert(test_says(&fixture, "none.cm3"));
    ck_assert_int_eq(cm3_model_load(fixture.context, fixture.folder, NULL, &model), CM3_ERROR_NOT_FOUND);
    ck_assert(test_says(&fixture, "config.json"));
    ck_assert_int_eq(cm3_model_load_io(fixture.context, &io, NULL, &model), CM3_ERROR_IO);
    ck_assert_int_eq(cm3_model_load(fixture.context, NULL, NULL, &model), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load(NULL, "x", NULL, &model), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load(fixture.context, "x", NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load_memory(fixture.context, NULL, 9, NULL, &model), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load_memory(fixture.context, bytes, size, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_load_io(fixture.context, NULL, NULL, &model), CM3_ERROR_INVALID_ARGUMENT);
    options.mode = (cm3_load_mode)3;
    ck_assert_int_eq(cm3_model_load_memory(fixture.context, bytes, size, &options, &model), CM3_ERROR_INVALID_ARGUMENT);
    options.mode = CM3_LOAD_MAP;
    options.struct_size = 3;
    ck_assert_int_eq(cm3_model_load_memory(fixture.context, bytes, size, &options, &model), CM3_ERROR_INVALID_ARGUMENT);
    cm3_model_info info = {.struct_size = 0};
    const char *json;
    cm3_tokenizer *tokenizer;
    ck_assert_int_eq(cm3_model_load_memory(fixture.context, bytes, size, NULL, &model), CM3_OK);
    ck_assert_int_eq(cm3_model_get_info(model, &info), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_get_info(model, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_get_info(NULL, &info), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_config_json(NULL, &json), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_config_json(model, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_tokenizer(NULL, &tokenizer), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_tokenizer(model, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_model_retain(NULL), CM3_ERROR_INVALID_ARGUMENT);
    cm3_model_destroy(model);
}
END_TEST

START_TEST(truncated) {
    for (size_t length = 0; length < size; length += length < 64 ? 1 : 1 + size / 211)
        refuse("a truncated file", bytes, length);
    refuse("a file without its last byte", bytes, size - 1);
    char *longer = malloc(size + 1);
    memcpy(longer, bytes, size);
    longer[size] = 0;
    refuse("a file with a byte too many", longer, size + 1);
    free(longer);
}
END_TEST

/* A flipped byte of the header either breaks it, or changes what is not checked; never more than that. */
START_TEST(flipped) {
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    char *copy = malloc(size);
    int refused = 0, tried = 0;
    int64_t before = live();
    for (size_t at = 0; at < 8 + header; at += at < 64 ? 1 : 37) {
        memcpy(copy, bytes, size);
        copy[at] = (char)(copy[at] ^ (1 << at % 8));
        cm3_model *model;
        cm3_status status = cm3_model_load_memory(fixture.context, copy, size, NULL, &model);
        if (status != CM3_OK) ck_assert(cm3_context_message(fixture.context)[0] != 0);
        refused += status != CM3_OK;
        tried++;
        if (model) free(logits_of(model));
        cm3_model_destroy(model);
        ck_assert_msg(live() == before, "byte %zu: %lld bytes stay held", at, (long long)(live() - before));
    }
    ck_assert_msg(refused > tried / 2, "%d of %d", refused, tried);
    free(copy);
}
END_TEST

/* A broken byte of the data is found by the checksum, when asked for. */
START_TEST(wrong_sum) {
    char *copy = malloc(size);
    memcpy(copy, bytes, size);
    copy[size - 1000] ^= 1;
    ck_assert_int_eq(refuse("a wrong sum", copy, size), CM3_ERROR_CHECKSUM);
    free(copy);
}
END_TEST

/* --- headers made anew -----------------------------------------------------------------------------------------------
 */

static char *rebuilt(const char *header, size_t header_size, size_t *length) {
    uint64_t old;
    memcpy(&old, bytes, sizeof old);
    *length = 8 + header_size + size - 8 - old;
    char *copy = malloc(*length);
    uint64_t count = header_size;
    memcpy(copy, &count, sizeof count);
    memcpy(copy + 8, header, header_size);
    memcpy(copy + 8 + header_size, bytes + 8 + old, size - 8 - old);
    return copy;
}

static json_t *header_json(void) {
    uint64_t old;
    memcpy(&old, bytes, sizeof old);
    json_t *header = json_loadb(bytes + 8, old, 0, NULL);
    ck_assert_ptr_nonnull(header);
    return header;
}

/** Refuses the file with this header in place of its own. */
static cm3_status refuse_header(const char *what, json_t *header) {
    char *text = json_dumps(header, JSON_COMPACT);
    size_t length;
    char *copy = rebuilt(text, strlen(text), &length);
    cm3_status status = refuse(what, copy, length);
    free(copy);
    free(text);
    json_decref(header);
    return status;
}

static json_t *metadata(json_t *header) {
    return json_object_get(header, "__metadata__");
}

static cm3_status refuse_metadata(const char *key, const char *value, const char *says) {
    json_t *header = header_json();
    if (value) {
        json_object_set_new(metadata(header), key, json_string(value));
    } else {
        json_object_del(metadata(header), key);
    }
    cm3_status status = refuse_header(key, header);
    ck_assert_msg(test_says(&fixture, says), "%s", cm3_context_message(fixture.context));
    return status;
}

START_TEST(wrong_metadata) {
    ck_assert_int_eq(refuse_metadata("format", "pt", "'pt'"), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("format", NULL, "missing"), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("version", "2", "'2'"), CM3_ERROR_VERSION);
    ck_assert_int_eq(refuse_metadata("version", "", "''"), CM3_ERROR_VERSION);
    ck_assert_int_eq(refuse_metadata("version", NULL, "missing"), CM3_ERROR_VERSION);
    ck_assert_int_eq(refuse_metadata("config", NULL, "config"), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("config", "", ""), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("config", "[]", "object"), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("config", "{", ""), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("config", "{\"lm\":3}", "lm"), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("config", "{\"vq\":[]}", "vq"), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("config", "{\"tokens\":\"\"}", "tokens"), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("tokenizer", "{}", ""), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("tokenizer", "", ""), CM3_ERROR_FORMAT);
    char deep[4001];
    memset(deep, '[', 4000);
    deep[4000] = 0;
    ck_assert_int_eq(refuse_metadata("config", deep, ""), CM3_ERROR_FORMAT);
    ck_assert_int_eq(refuse_metadata("tokenizer", deep, ""), CM3_ERROR_FORMAT);
    json_t *header = header_json();
    json_object_del(metadata(header), "xxh3");
    ck_assert_int_eq(refuse_header("a missing sum", header), CM3_ERROR_CHECKSUM);
}
END_TEST

/* One value of the configuration changed, in JSON. */
static const struct {
    const char *part, *key, *value;
} bad_config[] = {
    {"lm", "heads", "1099511627776"},
    {"lm", "heads", "0"},
    {"lm", "heads", "8"},
    {"lm", "kv_heads", "3"},
    {"lm", "hidden_size", "33"},
    {"lm", "layers", "1"},
    {"lm", "layers", "3"},
    {"lm", "layers", "1024"},
    {"lm", "layers", "16777216"},
    {"lm", "vocab_size", "16777216"},
    {"lm", "vocab_size", "100"},
    {"lm", "ffn_size", "49"},
    {"lm", "ffn", "\"gelu\""},
    {"lm", "position", "\"learned\""},
    {"lm", "norm", "\"layer_plain\""},
    {"lm", "attention_bias", "true"},
    {"lm", "qk_norm", "false"},
    {"lm", "tied", "true"},
    {"lm", "max_positions", "0"},
    {"lm", "max_positions", "1e3"},
    {"lm", "norm_epsilon", "\"\""},
    {"vq", "num_embeddings", "15"},
    {"vq", "num_embeddings", "1099511627776"},
    {"vq", "embed_dim", "5"},
    {"vq", "channel_multiplier", "[1,1,1]"},
    {"vq", "channel_multiplier", "[]"},
    {"vq", "resolution", "17"},
    {"vq", "resolution", "-16"},
    {"vq", "norm_groups", "3"},
    {"vq", "norm_groups", "0"},
    {"vq", "double_latent", "true"},
    {"tokens", "eod", "100000"},
    {"tokens", "eod", "-2"},
    {"tokens", "sentinels", "[100000]"},
    {"tokens", "image", "[20,21]"},
    {"tokens", "image", "{\"first\":20,\"count\":17}"},
    {"tokens", "image", "{\"first\":2147483647,\"count\":16}"},
    {"tokens", "image", "null"},
    {"tokens", "image", "{\"first\":1,\"count\":16}"},
};

START_TEST(wrong_config) {
    json_t *header = header_json();
    json_t *config = json_loads(json_string_value(json_object_get(metadata(header), "config")), 0, NULL);
    json_t *value = json_loads(bad_config[_i].value, JSON_DECODE_ANY, NULL);
    ck_assert_ptr_nonnull(value);
    json_object_set_new(json_object_get(config, bad_config[_i].part), bad_config[_i].key, value);
    char *text = json_dumps(config, JSON_COMPACT);
    json_object_set_new(metadata(header), "config", json_string(text));
    char what[160];
    snprintf(what, sizeof what, "%s.%s = %s", bad_config[_i].part, bad_config[_i].key, bad_config[_i].value);
    refuse_header(what, header);
    free(text);
    json_decref(config);
}
END_TEST

#define Q "lm.model.layers.0.self_attn.q_proj.weight"
#define NORM "lm.model.norm.weight"

START_TEST(wrong_tensors) {
    static const char *const names[] = {Q, NORM, "vq.encoder.conv_in.weight", "vq.quantize.embedding.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *header = header_json(), *other = header_json();
        json_t *tensor = json_object_get(header, names[i]);
        ck_assert_msg(tensor != NULL, "%s", names[i]);
        json_object_set(header, "lm.unknown", tensor); /* another name: one is missing, one is too many */
        json_object_del(header, names[i]);
        ck_assert_int_eq(refuse_header("a renamed tensor", header), CM3_ERROR_FORMAT);
        json_object_set_new(json_object_get(other, names[i]), "dtype", json_string("I32"));
        ck_assert_int_eq(refuse_header("a tensor of integers", other), CM3_ERROR_FORMAT);
        ck_assert_msg(test_says(&fixture, names[i]), "%s", cm3_context_message(fixture.context));
    }
    json_t *header = header_json(), *shape = json_object_get(json_object_get(header, Q), "shape");
    json_array_set_new(shape, 0, json_integer(16));
    json_array_set_new(shape, 1, json_integer(64));
    ck_assert_int_eq(refuse_header("another shape", header), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "[32, 32]") && test_says(&fixture, "[16, 64]"));
    header = header_json(), shape = json_object_get(json_object_get(header, NORM), "shape");
    json_array_append_new(shape, json_integer(1));
    ck_assert_int_eq(refuse_header("another rank", header), CM3_ERROR_FORMAT);
    header = header_json(), shape = json_object_get(json_object_get(header, Q), "shape");
    json_array_set_new(shape, 0, json_integer((json_int_t)1 << 62));
    json_array_set_new(shape, 1, json_integer((json_int_t)1 << 62));
    refuse_header("an overflowing shape", header);
    header = header_json();
    json_array_set_new(json_object_get(json_object_get(header, Q), "data_offsets"), 1,
                       json_integer((json_int_t)1 << 62));
    refuse_header("offsets outside the file", header);
    header = header_json();
    json_object_set_new(header, "lm.more",
                        json_pack("{s:s,s:[i],s:[i,i]}", "dtype", "F32", "shape", 0, "data_offsets", 0, 0));
    refuse_header("a superfluous tensor", header);
}
END_TEST

START_TEST(same_name_twice) {
    json_t *header = header_json();
    char *text = json_dumps(header, JSON_COMPACT), *tensor = json_dumps(json_object_get(header, NORM), JSON_COMPACT);
    size_t room = strlen(text) + strlen(tensor) + 64, length;
    char *twice = malloc(room);
    snprintf(twice, room, "%.*s,\"" NORM "\":%s}", (int)strlen(text) - 1, text, tensor);
    char *copy = rebuilt(twice, strlen(twice), &length);
    ck_assert_int_eq(refuse("a name twice", copy, length), CM3_ERROR_FORMAT);
    free(copy);
    free(twice);
    free(text);
    free(tensor);
    json_decref(header);
}
END_TEST

/* NaN and infinity in a matrix, a vector and a convolution; let in where the check is off. */
START_TEST(not_numbers) {
    static const char *const names[] = {Q, NORM, "vq.encoder.conv_in.weight", "vq.quantize.embedding.weight"};
    uint64_t header_size;
    memcpy(&header_size, bytes, sizeof header_size);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *header = header_json();
        json_int_t begin =
            json_integer_value(json_array_get(json_object_get(json_object_get(header, names[i]), "data_offsets"), 0));
        json_decref(header);
        char *copy = malloc(size);
        memcpy(copy, bytes, size);
        float value = i % 2 ? INFINITY : NAN;
        memcpy(copy + 8 + header_size + begin + 12, &value, sizeof value);
        ck_assert_int_eq(refuse("a value that is no number", copy, size), CM3_ERROR_FORMAT);
        ck_assert_msg(test_says(&fixture, names[i]), "%s", cm3_context_message(fixture.context));
        cm3_load_options options;
        cm3_load_options_init(&options);
        options.check_weights = 0;
        cm3_model *model;
        ck_assert_int_eq(cm3_model_load_memory(fixture.context, copy, size, &options, &model), CM3_OK);
        cm3_model_destroy(model);
        free(copy);
    }
}
END_TEST

/* Every allocation that loading and the forward pass make fails once. */
START_TEST(out_of_memory) {
    int64_t before = live();
    int failed = 0;
    for (int64_t n = 0; n < 4000; n += n < 300 ? 1 : 7) {
        cm3_model *model;
        static float logits[IDS * 1024];
        test_allocator_fail(&fixture.memory, n, 1);
        cm3_status status = cm3_model_load_memory(fixture.context, bytes, size, NULL, &model);
        if (status == CM3_OK) status = cm3_model_logits(model, ids, IDS, CM3_COMPUTE_F32, logits);
        bool reached = atomic_load(&fixture.memory.calls) > atomic_load(&fixture.memory.fail_at);
        test_allocator_fail(&fixture.memory, -1, 0);
        cm3_model_destroy(model);
        ck_assert_msg(live() == before, "allocation %lld: %lld bytes stay held", (long long)n,
                      (long long)(live() - before));
        if (!reached) break;
        ck_assert_msg(status == CM3_ERROR_NO_MEMORY, "allocation %lld: %s", (long long)n,
                      cm3_context_message(fixture.context));
        failed++;
    }
    ck_assert_int_gt(failed, 20);
}
END_TEST

Suite *cm3_file_suite(void) {
    Suite *suite = suite_create("model/cm3_file");
    TCase *tcase = tcase_create("cm3_file");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, ways_of_loading);
    tcase_add_test(tcase, written_and_read);
    tcase_add_test(tcase, parts_alone);
    tcase_add_test(tcase, logits_refused);
    tcase_add_test(tcase, no_file);
    tcase_add_test(tcase, truncated);
    tcase_add_test(tcase, flipped);
    tcase_add_test(tcase, wrong_sum);
    tcase_add_test(tcase, wrong_metadata);
    tcase_add_loop_test(tcase, wrong_config, 0, (int)(sizeof bad_config / sizeof *bad_config));
    tcase_add_test(tcase, wrong_tensors);
    tcase_add_test(tcase, same_name_twice);
    tcase_add_test(tcase, not_numbers);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
