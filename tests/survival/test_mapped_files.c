/* Files where they end: nothing is read behind their last byte; and what becomes of a model whose file is changed. */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "suites.h"
#include "sweep.h"

static gen_case c;

/* --- the last byte --------------------------------------------------------------------------------------------------
 */

/* Bytes whose last one is the last of its page, with a page behind it that nobody may touch. */
typedef struct edge {
    char *mapping, *bytes;
    size_t mapped, size;
} edge;

static edge edge_of(const char *path) {
    edge e;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *data = test_get(path, &e.size);
    size_t whole = (e.size + page - 1) / page * page;
    e.mapped = whole + page;
    e.mapping = mmap(NULL, e.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(e.mapping != MAP_FAILED);
    e.bytes = e.mapping + whole - e.size;
    memcpy(e.bytes, data, e.size);
    ck_assert_int_eq(mprotect(e.mapping + whole, page, PROT_NONE), 0);
    free(data);
    return e;
}

static void edge_clear(edge *e) {
    munmap(e->mapping, e->mapped);
}

static cm3_generate_options options_of(cm3_modality modality, cm3_compute compute) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = modality;
    options.seed = 4;
    options.max_tokens = 6;
    options.compute = compute;
    return options;
}

/* A sum over what a model says and draws in one type. */
static uint64_t use(cm3_model *model, cm3_compute compute) {
    uint64_t sum = 0;
    for (int modality = CM3_MODALITY_IMAGE; modality <= CM3_MODALITY_TEXT; modality++) {
        cm3_generate_options options = options_of((cm3_modality)modality, compute);
        cm3_document *prompt = gen_prompt(&c, "a red ball"), *result;
        cm3_image *image;
        GEN_OK(&c, cm3_image_create(c.context, 17, 19, &image));
        if (modality == CM3_MODALITY_TEXT) GEN_OK(&c, cm3_document_add_image(prompt, image));
        GEN_OK(&c, cm3_generate(model, prompt, &options, NULL, NULL, &result));
        sum = sweep_sum_document(sum, result);
        cm3_document_destroy(result);
        cm3_document_destroy(prompt);
        cm3_image_destroy(image);
    }
    return sum;
}

/* Weights of both types, computed in both, from memory that ends at a page nobody may touch. */
START_TEST(weights_end_at_a_guard) {
    gen_up(&c, 0, 160);
    tiny_parts parts;
    tiny_create(c.context, 160, &parts);
    tiny_write(c.context, &parts, _i ? CM3_BF16 : CM3_F32, test_path(&c.fixture, "edge.cm3"));
    tiny_clear(c.context, &parts);
    edge e = edge_of(test_path(&c.fixture, "edge.cm3"));
    cm3_model *model, *plain;
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.verify_checksum = 1;
    GEN_OK(&c, cm3_model_load_memory(c.context, e.bytes, e.size, &options, &model));
    GEN_OK(&c, cm3_model_load(c.context, test_path(&c.fixture, "edge.cm3"), &options, &plain));
    for (int compute = CM3_COMPUTE_F32; compute <= CM3_COMPUTE_BF16; compute++) {
        ck_assert(use(model, (cm3_compute)compute) == use(plain, (cm3_compute)compute));
    }
    cm3_model_destroy(plain);
    cm3_model_destroy(model);
    edge_clear(&e);
    gen_down(&c);
}
END_TEST

/* Pictures, whole and cut, likewise. */
START_TEST(pictures_end_at_a_guard) {
    const char *name = _i ? "edge.jpg" : "edge.png";
    gen_up(&c, 0, 64);
    cm3_image *image;
    cm3_image_view view;
    GEN_OK(&c, cm3_image_create(c.context, 61, 43, &image));
    GEN_OK(&c, cm3_image_get_view(image, &view));
    for (size_t i = 0; i < (size_t)view.height * view.stride; i++) view.pixels[i] = (uint8_t)(i * i >> 3);
    GEN_OK(&c, cm3_image_save(image, test_path(&c.fixture, name), NULL));
    cm3_image_destroy(image);
    edge e = edge_of(test_path(&c.fixture, name));
    GEN_OK(&c, cm3_image_load_memory(c.context, e.bytes, e.size, &image));
    cm3_image_destroy(image);
    for (size_t size = 0; size < e.size; size += size < 64 ? 1 : 97) {
        char *start = e.bytes + e.size - size;
        memmove(start, e.bytes, size); /* its beginning, at the guard */
        cm3_status status = cm3_image_load_memory(c.context, start, size, &image);
        ck_assert(status == CM3_OK || cm3_context_message(c.context)[0]);
        cm3_image_destroy(image);
        edge_clear(&e);
        e = edge_of(test_path(&c.fixture, name));
    }
    edge_clear(&e);
    gen_down(&c);
}
END_TEST

/* --- a file that is changed -----------------------------------------------------------------------------------------
 */

typedef enum change { REPLACED, CUT_OFF, OVERWRITTEN } change;

/* What others do to the file while a model lives. */
static void change_file(const char *path, change how) {
    size_t size;
    char *data = test_get(path, &size), other[256];
    snprintf(other, sizeof other, "%s.new", path);
    memset(data, 0, size);
    if (how == CUT_OFF) {
        ck_assert_int_eq(truncate(path, 0), 0);
    } else if (how == REPLACED) {
        test_put(other, data, size);
        ck_assert_int_eq(rename(other, path), 0);
    } else {
        int fd = open(path, O_WRONLY);
        ck_assert_int_eq(pwrite(fd, data, size, 0), (ssize_t)size);
        close(fd);
    }
    free(data);
}

/* A copy does not care, and a mapping not about a file put in its place. */
START_TEST(unharmed) {
    static const struct {
        cm3_load_mode mode;
        change how;
    } cases[] = {
        {CM3_LOAD_MAP, REPLACED}, {CM3_LOAD_HUGE, REPLACED}, {CM3_LOAD_HUGE, CUT_OFF}, {CM3_LOAD_HUGE, OVERWRITTEN}};
    gen_up(&c, 0, 160);
    char path[200];
    snprintf(path, sizeof path, "%s/tiny.cm3", c.fixture.folder);
    uint64_t expected = use(c.model, CM3_COMPUTE_F32);
    cm3_model_destroy(c.model);
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.mode = cases[_i].mode;
    GEN_OK(&c, cm3_model_load(c.context, path, &options, &c.model));
    change_file(path, cases[_i].how);
    ck_assert(use(c.model, CM3_COMPUTE_F32) == expected);
    gen_down(&c);
}
END_TEST

/* As cm3_model_load() says: a mapped file that loses its end takes the process with it. */
START_TEST(cut_off_under_a_mapping) {
    gen_up(&c, 0, 160);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        signal(SIGBUS, SIG_DFL);
        cm3_context *own;
        cm3_model *model;
        cm3_context_options options;
        cm3_context_options_init(&options);
        options.threads = 0;
        const char *path = test_path(&c.fixture, "tiny.cm3");
        if (cm3_context_create(&options, &own) != CM3_OK || cm3_model_load(own, path, NULL, &model) != CM3_OK) _exit(1);
        change_file(path, CUT_OFF);
        int32_t id = EOD;
        static float logits[1024];
        cm3_model_logits(model, &id, 1, CM3_COMPUTE_F32, logits);
        _exit(2);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "wait status %d", status);
    /* The file is changed for this process's own model, too, which is not touched again. */
    gen_down(&c);
}
END_TEST

Suite *mapped_files_suite(void) {
    Suite *suite = suite_create("survival/mapped files");
    TCase *tcase = tcase_create("mapped files");
    tcase_set_timeout(tcase, 900);
    tcase_add_loop_test(tcase, weights_end_at_a_guard, 0, 2);
    tcase_add_loop_test(tcase, pictures_end_at_a_guard, 0, 2);
    tcase_add_loop_test(tcase, unharmed, 0, 4);
    tcase_add_test(tcase, cut_off_under_a_mapping);
    suite_add_tcase(suite, tcase);
    return suite;
}
