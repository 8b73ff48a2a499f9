/* The configuration: presets, spelling and back, what is refused, numbers of parameters. */
#include "model/lm_config.h"
#include "suites.h"
#include "support/fixture.h"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static cm3_status parse(const char *text, cm3_lm_config *config) {
    json_t *json;
    ck_assert_int_eq(cm3_json_parse(fixture.context, "test", text, strlen(text), &json), CM3_OK);
    cm3_json_object object = {fixture.context, "test", json};
    cm3_status status = cm3_lm_config_parse(&object, config);
    json_decref(json);
    return status;
}

/* Sizes of the published models: CM3Leon table 3 (350M, 760M, 7B with a tied head), Chameleon 7B and 34B. */
static const struct {
    const char *name;
    double least, most;
} presets[] = {
    {"toybox", 6e6, 8.5e6},       {"cm3leon-350m", 3.4e8, 4.0e8}, {"cm3leon-760m", 7.3e8, 8.2e8},
    {"cm3leon-7b", 6.4e9, 7.2e9}, {"chameleon-7b", 6.5e9, 7.2e9}, {"chameleon-34b", 3.3e10, 3.5e10},
};

START_TEST(preset) {
    cm3_lm_config config, again;
    ck_assert_int_eq(cm3_lm_config_preset(fixture.context, presets[_i].name, &config), CM3_OK);
    ck_assert_int_eq(cm3_lm_config_check(fixture.context, &config), CM3_OK);
    double parameters = (double)cm3_lm_config_parameters(&config);
    ck_assert_msg(parameters >= presets[_i].least && parameters <= presets[_i].most, "%s: %g", presets[_i].name,
                  parameters);
    json_t *json;
    ck_assert_int_eq(cm3_lm_config_format(fixture.context, &config, &json), CM3_OK);
    char *text = json_dumps(json, 0);
    ck_assert_msg(parse(text, &again) == CM3_OK, "%s", cm3_context_message(fixture.context));
    json_t *other;
    ck_assert_int_eq(cm3_lm_config_format(fixture.context, &again, &other), CM3_OK);
    ck_assert(json_equal(json, other));
    ck_assert(again.norm_epsilon == config.norm_epsilon && again.init_std == config.init_std);
    json_decref(json);
    json_decref(other);
    free(text);
}
END_TEST

START_TEST(unknown_preset) {
    cm3_lm_config config;
    ck_assert_int_eq(cm3_lm_config_preset(fixture.context, "cm3leon-8b", &config), CM3_ERROR_NOT_FOUND);
    ck_assert(test_says(&fixture, "cm3leon-8b") && test_says(&fixture, "cm3leon-7b"));
}
END_TEST

#define HEAD "{\"vocab_size\":10,\"hidden_size\":16,\"layers\":1,\"ffn_size\":8,\"max_positions\":8,"
#define GOOD HEAD "\"heads\":2,\"kv_heads\":2,\"head_dim\":8"

static const struct {
    const char *text, *says;
} bad[] = {
    {"{}", "vocab_size"},
    {HEAD "\"heads\":2,\"kv_heads\":2}", "head_dim"},
    {HEAD "\"heads\":3,\"kv_heads\":3,\"head_dim\":8}", "heads * head_dim"},
    {HEAD "\"heads\":2,\"kv_heads\":3,\"head_dim\":8}", "kv_heads"},
    {HEAD "\"heads\":16,\"kv_heads\":16,\"head_dim\":1}", "even"},
    {HEAD "\"heads\":1099511627776,\"kv_heads\":2,\"head_dim\":8}", "heads"},
    {HEAD "\"heads\":-2,\"kv_heads\":2,\"head_dim\":8}", "heads"},
    {HEAD "\"heads\":2.5,\"kv_heads\":2,\"head_dim\":8}", "heads"},
    {HEAD "\"heads\":\"2\",\"kv_heads\":2,\"head_dim\":8}", "heads"},
    {GOOD ",\"norm\":\"batch\"}", "batch"},
    {GOOD ",\"norm\":1}", "norm"},
    {GOOD ",\"norm_place\":\"post\"}", "post"},
    {GOOD ",\"position\":\"alibi\"}", "alibi"},
    {GOOD ",\"ffn\":\"\"}", "ffn"},
    {GOOD ",\"norm_epsilon\":0}", "norm_epsilon"},
    {GOOD ",\"norm_epsilon\":-1}", "norm_epsilon"},
    {GOOD ",\"rope_theta\":0}", "rope_theta"},
    {GOOD ",\"position_offset\":-1}", "position_offset"},
    {GOOD ",\"bias\":1}", "bias"},
    {GOOD ",\"ffn_bias\":0}", "ffn_bias"},
    {GOOD ",\"attention_bias\":[]}", "attention_bias"},
    {GOOD ",\"tied\":\"yes\"}", "tied"},
    {GOOD ",\"init_std\":1e9}", "init_std"},
};

START_TEST(refused) {
    cm3_lm_config config;
    ck_assert_msg(parse(bad[_i].text, &config) == CM3_ERROR_FORMAT, "%s", bad[_i].text);
    ck_assert_msg(test_says(&fixture, bad[_i].says), "%s: %s", bad[_i].text, cm3_context_message(fixture.context));
}
END_TEST

START_TEST(defaults) {
    cm3_lm_config config;
    ck_assert_msg(parse(GOOD ",\"unknown\":[1]}", &config) == CM3_OK, "%s", cm3_context_message(fixture.context));
    ck_assert_int_eq(config.norm, CM3_NORM_RMS);
    ck_assert_int_eq(config.position, CM3_POSITION_ROPE);
    ck_assert(!config.attention_bias && !config.ffn_bias && !config.tied && config.qk_norm);
}
END_TEST

Suite *config_suite(void) {
    Suite *suite = suite_create("model/config");
    TCase *tcase = tcase_create("config");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, preset, 0, (int)(sizeof presets / sizeof *presets));
    tcase_add_test(tcase, unknown_preset);
    tcase_add_loop_test(tcase, refused, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tcase, defaults);
    suite_add_tcase(suite, tcase);
    return suite;
}
