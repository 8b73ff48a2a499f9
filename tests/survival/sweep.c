/* Sweeps over the allocations of an operation. */
#include "sweep.h"

#include "base/status.h"
#include "files/hash.h"

#define STALE "a message from before"

uint64_t sweep_sum(uint64_t sum, const void *data, size_t size) {
    uint64_t pair[] = {sum, cm3_hash(data, size)};
    return cm3_hash(pair, sizeof pair);
}

uint64_t sweep_sum_file(uint64_t sum, const char *path) {
    size_t size;
    char *data = test_get(path, &size);
    sum = sweep_sum(sum, data, size);
    free(data);
    return sum;
}

uint64_t sweep_sum_image(uint64_t sum, const cm3_image *image) {
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    for (int32_t y = 0; y < view.height; y++) {
        sum = sweep_sum(sum, view.pixels + (size_t)y * view.stride, (size_t)view.width * 3);
    }
    return sum;
}

uint64_t sweep_sum_document(uint64_t sum, const cm3_document *document) {
    size_t count;
    ck_assert_int_eq(cm3_document_count(document, &count), CM3_OK);
    for (size_t i = 0; i < count; i++) {
        cm3_segment segment = {.struct_size = sizeof segment};
        ck_assert_int_eq(cm3_document_get(document, i, &segment), CM3_OK);
        sum = sweep_sum(sum, &segment.kind, sizeof segment.kind);
        if (segment.text) sum = sweep_sum(sum, segment.text, segment.text_size);
        if (segment.code_count) sum = sweep_sum(sum, segment.codes, segment.code_count * sizeof *segment.codes);
        if (segment.image) sum = sweep_sum_image(sum, segment.image);
    }
    return sum;
}

int64_t sweep_live(const gen_case *c, int64_t expected) {
    int threads = 0;
    cm3_context_compute(c->context, &threads, NULL);
    for (int i = 0; threads && i < 3000 && atomic_load(&c->fixture.memory.live) != expected; i++) usleep(1000);
    return atomic_load(&c->fixture.memory.live);
}

static void prepare(sweep *s) {
    if (s->prepare) s->prepare(s);
}

static void release(sweep *s) {
    if (s->release) s->release(s);
}

/* The operation undisturbed, on what is prepared. */
static uint64_t undisturbed(sweep *s) {
    uint64_t sum = 0;
    cm3_status status = s->run(s, &sum);
    ck_assert_msg(status == CM3_OK, "%s, undisturbed: status %d, %s", s->name, (int)status,
                  cm3_context_message(s->c->context));
    return sum;
}

/* One round; false where the operation made fewer than n + 1 allocations. */
static bool disturbed(sweep *s, int64_t n, int64_t count, uint64_t expected, int64_t *failures) {
    test_allocator *memory = &s->c->fixture.memory;
    const char *way = count == 1 ? "alone" : "and all after it";
    int64_t before = atomic_load(&memory->live);
    prepare(s);
    cm3_fail(s->c->context, CM3_ERROR_INTERNAL, STALE);
    uint64_t sum = 0;
    test_allocator_fail(memory, n, count);
    cm3_status status = s->run(s, &sum);
    bool reached = atomic_load(&memory->calls) > atomic_load(&memory->fail_at);
    test_allocator_fail(memory, -1, 0);
    const char *message = cm3_context_message(s->c->context);
    if (status != CM3_OK) {
        ck_assert_msg(status == CM3_ERROR_NO_MEMORY && reached, "%s: allocation %lld failed, %s: status %d, %s",
                      s->name, (long long)n, way, (int)status, message);
        ck_assert_msg(message[0] && !strstr(message, STALE), "%s: allocation %lld failed, %s: the message is '%s'",
                      s->name, (long long)n, way, message);
        ++*failures;
        if (s->spent) {
            release(s);
            prepare(s);
        }
        sum = undisturbed(s);
    } else {
        ck_assert_msg(!reached || count == 1 || s->looks_ahead, "%s: went well with no memory from allocation %lld on",
                      s->name, (long long)n);
    }
    ck_assert_msg(sum == expected, "%s: allocation %lld failed, %s: %s differs from an undisturbed run's", s->name,
                  (long long)n, way, status == CM3_OK ? "what came out" : "what the next run made");
    release(s);
    int64_t live = sweep_live(s->c, before);
    ck_assert_msg(live == before, "%s: allocation %lld failed, %s: %lld bytes are left behind", s->name, (long long)n,
                  way, (long long)(live - before));
    return reached;
}

/* What comes after n in the quick run: all of the beginning and of the end, and some of what lies between. */
static int64_t next(const sweep *s, int way, int64_t n, int64_t total) {
    int64_t edge = (way ? 48 : 160) / (s->costly ? 4 : 1), step = n < edge || n + 1 >= total - edge ? 1 : n / 8;
    return n + (n < total - edge && n + step > total - edge ? total - edge - n : step);
}

void sweep_run(sweep *s) {
    bool every = getenv("CM3_TEST_LONG") != NULL;
    prepare(s);
    int64_t before = atomic_load(&s->c->fixture.memory.calls);
    uint64_t expected = undisturbed(s);
    int64_t total = atomic_load(&s->c->fixture.memory.calls) - before, failures = 0;
    release(s);
    ck_assert_msg(total > 0, "%s: made no allocation", s->name);
    for (int way = 0; way < 2; way++) {
        for (int64_t n = 0; disturbed(s, n, way ? INT64_MAX : 1, expected, &failures);) {
            n = every ? n + 1 : next(s, way, n, total);
        }
    }
    ck_assert_msg(failures > 0, "%s: no allocation mattered", s->name);
}
