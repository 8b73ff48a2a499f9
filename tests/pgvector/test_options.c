/* What is refused: options, names, connection strings, stores of others; and that no password is in a message. */
#include "support.h"

#define PASSWORD "hunter2-is-secret" /* servers.py's */

static cm3_status open_with(const cm3_pgvector_options *options) {
    cm3_pgvector *store = (cm3_pgvector *)(uintptr_t)8;
    cm3_status status = cm3_pgvector_open(options, &store);
    if (status == CM3_OK) {
        cm3_pgvector_close(store);
    } else {
        ck_assert_ptr_null(store);
        ck_assert_str_ne(cm3_pgvector_message(), "");
    }
    return status;
}

START_TEST(options_out_of_range) {
    test_servers s;
#define REFUSED(field, value)                                                                                          \
    servers_init(&s, "t_options", 8, 1);                                                                               \
    s.options.field = value;                                                                                           \
    ck_assert_msg(open_with(&s.options) == CM3_ERROR_INVALID_ARGUMENT, #field " = " #value)
    REFUSED(shards, NULL);
    REFUSED(shard_count, 0);
    REFUSED(shard_count, 257);
    REFUSED(dimension, -1);
    REFUSED(dimension, 16001);
    REFUSED(dimension, 0); /* and a store is to be made */
    REFUSED(ef_search, 0);
    REFUSED(ef_search, 1001);
    REFUSED(timeout_ms, 0);
    REFUSED(write_timeout_ms, -1);
    REFUSED(connections, 0);
    REFUSED(connections, 65);
    REFUSED(index_m, 1);
    REFUSED(index_ef_construction, 31); /* below 2 m */
    REFUSED(build_memory_mb, -1);
    REFUSED(struct_size, 0);
    REFUSED(encoder_name, "a name of sixty-four bytes is one too many, as this one is, in all");
    servers_init(&s, "t_options", 8, 1);
    s.shards[0].struct_size = 0;
    ck_assert_int_eq(open_with(&s.options), CM3_ERROR_INVALID_ARGUMENT);
    servers_init(&s, "t_options", 8, 1);
    s.shards[0].primary = NULL;
    ck_assert_int_eq(open_with(&s.options), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_pgvector_open(NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    struct {
        cm3_pgvector_options known;
        int later;
    } larger;
    servers_init(&s, "t_options", 8, 1);
    larger.known = s.options;
    larger.known.struct_size = sizeof larger;
    larger.later = 1;
    ck_assert_int_eq(open_with(&larger.known), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

START_TEST(names_that_are_no_names) {
    static const char *const names[] = {"",
                                        "T",
                                        "1a",
                                        "a-b",
                                        "a b",
                                        "a\"b",
                                        "a'b",
                                        "a;DROP TABLE x",
                                        "a.",
                                        ".a",
                                        "a.b.c",
                                        "a\nb",
                                        "\xc3\xa4",
                                        "x\"; DROP TABLE victim; --",
                                        "x_meta (one int); DROP TABLE victim; --",
                                        "a_name_of_forty_nine_letters_is_one_letter_too_much"};
    ask("SHARD0", "CREATE TABLE IF NOT EXISTS victim (a int)");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        test_servers s;
        servers_init(&s, names[i], 8, 1);
        ck_assert_msg(open_with(&s.options) == CM3_ERROR_INVALID_ARGUMENT, "%s", names[i]);
    }
    ask("SHARD0", "DROP TABLE victim");
    /* A word of SQL, and a schema, are names like others. */
    test_servers s;
    servers_init(&s, "select", 8, 1);
    must(open_with(&s.options));
    ask("SHARD0", "DROP SCHEMA IF EXISTS other CASCADE; CREATE SCHEMA other");
    s.options.table = "other.things";
    must(open_with(&s.options));
    ck_assert_str_eq(ask("SHARD0", "SELECT dimension FROM other.things_meta"), "8");
    ask("SHARD0", "DROP SCHEMA other CASCADE; DROP TABLE \"select\", select_meta; DROP SEQUENCE select_number");
}
END_TEST

/* Whatever goes wrong with a string, nothing of its password is told. */
static void check_hidden(const char *string, cm3_status expected, const char *password) {
    test_servers s;
    servers_init(&s, "t_hidden", 8, 1);
    s.shards[0].primary = string;
    s.shards[0].replica_count = 0;
    s.options.timeout_ms = s.options.write_timeout_ms = 3000;
    ck_assert_msg(open_with(&s.options) == expected, "%s: %s", string, cm3_pgvector_message());
    ck_assert_msg(!strstr(cm3_pgvector_message(), password), "%s: %s", string, cm3_pgvector_message());
}

START_TEST(passwords_are_not_told) {
    char string[512], folder[256];
    ck_assert_int_eq(sscanf(server("SHARD0"), "host=%255s", folder), 1);
    /* A wrong one, in both forms. */
    snprintf(string, sizeof string, "host=%s user=checked dbname=postgres password='wr0ng secret'", folder);
    check_hidden(string, CM3_ERROR_IO, "wr0ng");
    ck_assert_ptr_nonnull(strstr(cm3_pgvector_message(), "password authentication failed"));
    snprintf(string, sizeof string, "postgresql://checked:wr0ng%%20secret@/postgres?host=%s", folder);
    check_hidden(string, CM3_ERROR_IO, "wr0ng");
    ck_assert_ptr_nonnull(strstr(cm3_pgvector_message(), "password authentication failed"));
    /* One that libpq or the server would repeat. */
    snprintf(string, sizeof string, "host=%s user=checked dbname=" PASSWORD " password=" PASSWORD, folder);
    check_hidden(string, CM3_ERROR_IO, PASSWORD);
    ck_assert_ptr_nonnull(strstr(cm3_pgvector_message(), "does not exist"));
    /* Strings that cannot be read. */
    check_hidden("password=secret1 nonsense", CM3_ERROR_INVALID_ARGUMENT, "secret1");
    check_hidden("secret1 host=x", CM3_ERROR_INVALID_ARGUMENT, "secret1");
    check_hidden("password='secret1", CM3_ERROR_INVALID_ARGUMENT, "secret1");
    check_hidden("postgresql://user:secret1@[::1/db", CM3_ERROR_INVALID_ARGUMENT, "secret1");
    check_hidden("postgresql://user:sec/ret1@host/db", CM3_ERROR_INVALID_ARGUMENT, "ret1");
    check_hidden("postgresql://user:12/ret1@host/db", CM3_ERROR_INVALID_ARGUMENT, "ret1");
    check_hidden("postgresql://user:sec?ret1@127.0.0.1:1/db", CM3_ERROR_IO, "ret1");
    check_hidden("postgresql://user:sec@ret1@host/db", CM3_ERROR_INVALID_ARGUMENT, "ret1");
    check_hidden("postgresql://user:%zzret1@host/db", CM3_ERROR_INVALID_ARGUMENT, "ret1");
    check_hidden("host=/nowhere/at/all dbname=postgres password=secret1", CM3_ERROR_IO, "secret1");
    /* The right one. */
    test_servers s;
    servers_init(&s, "t_hidden", 8, 1);
    snprintf(string, sizeof string, "host=%s user=checked dbname=postgres password=" PASSWORD, folder);
    s.shards[0].primary = string;
    must(open_with(&s.options));
    drop("t_hidden");
}
END_TEST

START_TEST(stores_of_others) {
    test_servers s;
    servers_init(&s, "t_others", 16, 2);
    drop("t_others");
    cm3_encoder_identity ours = {.struct_size = sizeof ours,
                                 .dimension = 16,
                                 .encoder_hash = {0x1111, 2},
                                 .image_hash = {3, 4}},
                         theirs = ours;
    s.options.create = 0;
    must_fail(open_with(&s.options), CM3_ERROR_NOT_FOUND, "t_others");
    s.options.create = 1;
    s.options.identity = &ours;
    s.options.encoder_name = "our encoder";
    must(open_with(&s.options));
    s.options.create = 0;
    must(open_with(&s.options));
    s.options.identity = NULL;
    must(open_with(&s.options)); /* whoever names none is let in */
    s.options.identity = &theirs;
    s.options.encoder_name = "their encoder";
    theirs.encoder_hash[0] = 0x9999;
    must_fail(open_with(&s.options), CM3_ERROR_INVALID_ARGUMENT, "our encoder");
    ck_assert_ptr_nonnull(strstr(cm3_pgvector_message(), "their encoder"));
    ck_assert_ptr_nonnull(strstr(cm3_pgvector_message(), "0000000000009999"));
    s.options.create = 1; /* what is there is not made over */
    must_fail(open_with(&s.options), CM3_ERROR_INVALID_ARGUMENT, "our encoder");
    theirs = ours;
    theirs.image_hash[1] = 5;
    must_fail(open_with(&s.options), CM3_ERROR_INVALID_ARGUMENT, "image tokenizer");
    theirs = ours;
    theirs.dimension = s.options.dimension = 17;
    must_fail(open_with(&s.options), CM3_ERROR_INVALID_ARGUMENT, "16 numbers");
    /* Shards in another order, or not all of them. */
    servers_init(&s, "t_others", 16, 2);
    s.options.create = 0;
    const cm3_pgvector_shard first = s.shards[0];
    s.shards[0] = s.shards[1];
    s.shards[1] = first;
    must_fail(open_with(&s.options), CM3_ERROR_INVALID_ARGUMENT, "shard 1 of 2");
    servers_init(&s, "t_others", 16, 1);
    s.options.create = 0;
    must_fail(open_with(&s.options), CM3_ERROR_INVALID_ARGUMENT, "shard 0 of 2");
    /* Shards that do not agree. */
    servers_init(&s, "t_others", 16, 2);
    s.options.create = 0;
    ask("SHARD1", "UPDATE t_others_meta SET encoder = '99999999999999999999999999999999'");
    must_fail(open_with(&s.options), CM3_ERROR_INVALID_ARGUMENT, "9999999999999999");
    ask("SHARD1", "UPDATE t_others_meta SET version = 2");
    must_fail(open_with(&s.options), CM3_ERROR_VERSION, "version 2");
    ask("SHARD1", "DELETE FROM t_others_meta");
    must_fail(open_with(&s.options), CM3_ERROR_FORMAT, "0 rows");
    drop("t_others");
}
END_TEST

START_TEST(an_old_pgvector) {
    test_servers s;
    servers_init(&s, "t_old", 8, 1);
    s.shards[0] = s.shards[1];
    drop("t_old");
    must(open_with(&s.options));
    ask("SHARD1", "UPDATE pg_extension SET extversion = '0.8.3' WHERE extname = 'vector'");
    must_fail(open_with(&s.options), CM3_ERROR_UNSUPPORTED, "0.8.3");
    ask("SHARD1", "UPDATE pg_extension SET extversion = '0.10.0' WHERE extname = 'vector'");
    must(open_with(&s.options));
    ask("SHARD1", "UPDATE pg_extension SET extversion = '0.8.5' WHERE extname = 'vector'");
    drop("t_old");
}
END_TEST

Suite *options_suite(void) {
    Suite *suite = suite_create("pgvector/options");
    TCase *cases = tcase_create("options");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, options_out_of_range);
    tcase_add_test(cases, names_that_are_no_names);
    tcase_add_test(cases, passwords_are_not_told);
    tcase_add_test(cases, stores_of_others);
    tcase_add_test(cases, an_old_pgvector);
    suite_add_tcase(suite, cases);
    return suite;
}
