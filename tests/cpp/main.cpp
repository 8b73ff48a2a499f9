/* include/cm3leon/cm3leon.hpp against the shared library: each handle once, and how they fail.
 *   main MODEL ENCODER FOLDER   MODEL draws pictures, ENCODER has vectors of texts, FOLDER takes files
 * Compiled with and without exceptions. */
#include <cm3leon/cm3leon.hpp>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                                    \
            std::exit(1);                                                                                              \
        }                                                                                                              \
    } while (0)

/** What a call gave; the end where it failed. */
template <class T> static T must(cm3::result<T> got, int line) {
    if (!got) {
        std::fprintf(stderr, "line %d: %s\n", line, got.error().text().c_str());
        std::exit(1);
    }
    return std::move(*got);
}
static void must(const cm3::result<void> &got, int line) {
    if (got) return;
    std::fprintf(stderr, "line %d: %s\n", line, got.error().text().c_str());
    std::exit(1);
}
#define MUST(...) must(__VA_ARGS__, __LINE__)

template <class T> constexpr bool moves_only() {
    return !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T> &&
           std::is_nothrow_move_constructible_v<T> && std::is_move_assignable_v<T>;
}
static_assert(moves_only<cm3::context>() && moves_only<cm3::model>() && moves_only<cm3::tokenizer>() &&
              moves_only<cm3::image>() && moves_only<cm3::document>() && moves_only<cm3::sampler>() &&
              moves_only<cm3::request>() && moves_only<cm3::tasks>() && moves_only<cm3::bank>() &&
              moves_only<cm3::retriever>() && moves_only<cm3::trainer>() && moves_only<cm3::buffer>() &&
              moves_only<cm3::bank::record>());

static const char *folder;

static std::string in_folder(const char *name) {
    return std::string(folder) + "/" + name;
}

static std::vector<char> read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    return std::vector<char>((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

static void test_spans() {
    int array[] = {1, 2, 3};
    std::vector<int> vector{4, 5};
    const std::array<int, 2> fixed{{6, 7}};
    cm3::span<int> whole(array);
    cm3::span<const int> read = vector, constant = fixed, none;
    whole[1] = 9;
    CHECK(array[1] == 9 && whole.size() == 3 && whole.subspan(1, 2)[1] == 3);
    CHECK(read.size() == 2 && read[1] == 5 && constant[0] == 6 && none.empty());
    int sum = 0;
    for (int i : whole) sum += i;
    CHECK(sum == 13);
    static_assert(!std::is_constructible_v<cm3::span<int>, const std::vector<int> &>,
                  "a span does not cast const away");
}

static void test_results(const cm3::context &c) {
    auto missing = cm3::model::load(c, in_folder("none.cm3"));
    CHECK(!missing && missing.error().status == CM3_ERROR_NOT_FOUND);
    CHECK(missing.error().text().find("none.cm3") != std::string::npos);
    const auto chained =
        cm3::image::create(c, 4, 2).and_then([](cm3::image i) { return i.resize(8, 4); }).and_then([](cm3::image i) {
            return i.view();
        });
    CHECK(chained && chained->width == 8 && chained->height == 4);
    CHECK(!cm3::image::create(c, 0, 2).and_then([](cm3::image i) { return i.resize(8, 4); }));
    CHECK(cm3::result<int>(cm3::error{CM3_ERROR_IO, {}}).value_or(7) == 7 && cm3::result<int>(3).value_or(7) == 3);
    CHECK((cm3::error{CM3_ERROR_NO_MEMORY, {}}.text() == cm3_status_name(CM3_ERROR_NO_MEMORY)));
    CHECK(!cm3::result<void>(cm3::error{CM3_ERROR_IO, {}}) && cm3::result<void>());
    /* One that was moved from is an error, not a crash. */
    auto document = MUST(cm3::document::create(c));
    auto other = std::move(document);
    CHECK(!document && document.size() == 0 && document.add_text("x").error().status == CM3_ERROR_INVALID_ARGUMENT);
    CHECK(other && other.add_text("x"));
    /* Nor is it where its context is gone: it has nobody to tell of its failures. */
    std::optional<cm3::image> left;
    {
        const auto own = MUST(cm3::context::create());
        left = MUST(cm3::image::create(own, 4, 2));
        const auto taken = std::move(*left);
        CHECK(taken && !taken.crop(0, 0, 0, 0).error().message.empty());
    }
    CHECK(left->crop(0, 0, 1, 1).error().status == CM3_ERROR_INVALID_ARGUMENT && left->view().error().message.empty());
}

static void test_images(const cm3::context &c) {
    const std::vector<std::uint8_t> pixels(5 * 4 * 3, 200);
    CHECK(!cm3::image::from_pixels(c, pixels, 5, 5) && !cm3::image::from_pixels(c, pixels, 5, 4, 16));
    const auto image = MUST(cm3::image::from_pixels(c, pixels, 5, 4));
    const auto png = MUST(image.encode(CM3_IMAGE_PNG));
    const auto again = MUST(cm3::image::load_memory(c, png));
    const auto held = MUST(again.share());
    CHECK(MUST(held.view()).pixels == MUST(again.view()).pixels && MUST(held.view()).pixels[7] == 200);
    MUST(image.save(in_folder("a.png")));
    CHECK(MUST(MUST(cm3::image::load(c, in_folder("a.png"))).crop(1, 1, 2, 3).and_then([](cm3::image i) {
              return i.view();
          })).height == 3);
    CHECK(image.save(in_folder("a.gif")).error().status == CM3_ERROR_INVALID_ARGUMENT);
    std::vector<cm3::image> two;
    two.push_back(MUST(image.share()));
    two.push_back(MUST(image.share()));
    CHECK(MUST(MUST(cm3::image::contact_sheet(c, two, 2, 1)).view()).width > 10);
}

static void test_documents(const cm3::context &c) {
    auto d = MUST(cm3::document::of_text(c, std::string_view("a red circle, cut", 12)));
    auto picture = MUST(cm3::image::create(c, 8, 8));
    MUST(d.add_break());
    MUST(d.add_image(picture));
    const cm3_box boxes[] = {{0, 0, 0.5F, 0.5F}};
    MUST(d.add_image_holes(picture, boxes));
    MUST(d.add_mask(0));
    MUST(d.add_codes(std::vector<std::int32_t>{1, 2}));
    CHECK(d.size() == 6 && d.text() == "a red circle");
    CHECK(MUST(d.segment(5)).code_count == 2 && d.segment(6).error().status == CM3_ERROR_INVALID_ARGUMENT);
    CHECK(MUST(MUST(d.picture(1)).view()).width == 8 && d.picture(2).error().status == CM3_ERROR_NOT_FOUND);
    CHECK(d.add_text("\xff").error().status == CM3_ERROR_UTF8);
    auto all = MUST(cm3::document::create(c));
    MUST(all.append(d));
    CHECK(all.size() == 6);
    auto prompt = MUST(cm3::document::create(c));
    CHECK(prompt.add_retrieved("found", &picture) && prompt.add_ids(std::vector<std::int32_t>{1}));
    auto talk = MUST(cm3::document::create(c));
    CHECK(talk.add_prompt("what is <image>?", cm3::span<const cm3::image>(&picture, 1)) && talk.size() == 3);
}

static void test_tokenizer(const cm3::model &m) {
    const auto t = MUST(m.tokenizer());
    const auto info = MUST(t.info());
    const auto ids = MUST(t.encode("a red circle"));
    CHECK(!ids.empty() && MUST(t.decode(ids)) == "a red circle" && MUST(t.decode({})).empty());
    CHECK(MUST(t.special(CM3_TOKEN_IMAGE, 1)) - MUST(t.special(CM3_TOKEN_IMAGE)) == 1);
    CHECK(t.special(CM3_TOKEN_SENTINEL, 1 << 20).error().status == CM3_ERROR_NOT_FOUND);
    const std::vector<std::int32_t> codes(static_cast<std::size_t>(info.image_tokens), 3);
    const auto picture = MUST(t.decode_image(codes));
    CHECK(MUST(picture.view()).width == info.image_resolution);
    CHECK(MUST(t.encode_image(picture)).size() == codes.size());
    MUST(t.save(in_folder("tokenizer.json")));
    const auto logits = MUST(m.logits(ids));
    CHECK(logits.size() == ids.size() * static_cast<std::size_t>(info.vocab_size));
    CHECK(MUST(m.hidden(ids)).size() >= 3 * ids.size() && MUST(m.config_json()).front() == '{');
}

static void test_generate(const cm3::context &c, const cm3::model &m) {
    const int tokens = MUST(MUST(m.tokenizer()).info()).image_tokens;
    const auto prompt = MUST(cm3::document::of_text(c, "a small red circle in the center on a sand background"));
    cm3::generate_options options = MUST(cm3::options_for(m, CM3_MODALITY_IMAGE));
    options.seed = 7;
    options.preview_rows = 4;
    int seen = 0, previews = 0;
    std::optional<cm3::image> last;
    auto made = MUST(cm3::generate(m, prompt, options, [&](const cm3::event &e) {
        seen += e.kind() == CM3_EVENT_TOKEN;
        previews += e.kind() == CM3_EVENT_IMAGE_ROWS && e->rows > 0 && e.picture();
        if (e.kind() == CM3_EVENT_IMAGE) last = MUST(e.picture());
        return true;
    }));
    CHECK(!made.stopped && seen == tokens && previews > 0 && last);
    const auto a = MUST(last->view()), b = MUST(MUST(made.document.picture()).view());
    CHECK(a.width == b.width && !std::memcmp(a.pixels, b.pixels, static_cast<std::size_t>(3 * a.width)));
    /* Stopped from inside: no failure, and what was made is there. */
    seen = 0;
    made = MUST(cm3::generate(m, prompt, options, [&](const cm3::event &e) {
        seen += e.kind() == CM3_EVENT_TOKEN;
        return seen < 5;
    }));
    CHECK(made.stopped && seen < tokens);
    options.candidates = 0;
    CHECK(cm3::generate(m, prompt, options).error().status == CM3_ERROR_INVALID_ARGUMENT);
    const auto memory = MUST(cm3::estimate(m, {}, 20));
    CHECK(memory.weights > 0 && memory.cache > 0 && memory.scratch > 0);
}

static void test_request(const cm3::context &c, const cm3::model &m) {
    const auto prompt = MUST(cm3::document::of_text(c, "a small red circle in the center on a sand background"));
    auto request = MUST(cm3::request::start(m, prompt));
    int progress = 0;
    while (!MUST(request.poll(2000, [&](const cm3::event &e) {
        progress += e.kind() == CM3_EVENT_PROGRESS;
        return true;
    }))) {
    }
    CHECK(progress > 0 && request.done() && MUST(request.seed()) != 0 && MUST(request.timings()).new_tokens > 0);
    CHECK(MUST(request.result_document()).picture());
    auto waited = MUST(cm3::request::start(m, prompt));
    MUST(waited.wait());
    /* Cancelled by another thread. */
    auto cancelled = MUST(cm3::request::start(m, prompt));
    std::thread other([&] { cancelled.cancel(); });
    const auto end = cancelled.wait();
    other.join();
    CHECK(end || end.error().status == CM3_ERROR_CANCELLED);
    cm3::generate_options best;
    best.candidates = 2;
    best.best = 1;
    auto ranked = MUST(cm3::request::start(m, prompt, best));
    MUST(ranked.wait());
    CHECK(MUST(ranked.score(0)).candidate < 2 && ranked.score(1).error().status == CM3_ERROR_NOT_FOUND);
}

static void test_sampler(const cm3::context &c, const cm3::model &m) {
    static int destroyed;
    struct counter {
        int *left;
        explicit counter(int *l) : left(l) {}
        counter(counter &&o) noexcept : left(std::exchange(o.left, nullptr)) {}
        ~counter() {
            left ? void(++*left) : void();
        }
    };
    std::atomic<int> steps{0};
    {
        auto sampler = MUST(cm3::sampler::create(c));
        MUST(sampler.add_rule([&steps, held = counter(&destroyed)](const cm3_sampler_step &step) {
            (void)held;
            steps++;
            return step.vocab_size > 0;
        }));
        MUST(sampler.add_top_k(2));
        MUST(sampler.add_top_p(0.9F));
        MUST(sampler.add_repetition_penalty(1));
        MUST(sampler.add_temperature(0));
        CHECK(sampler.add_top_k(0).error().status == CM3_ERROR_INVALID_ARGUMENT);
        float logits[] = {0, 3, 1};
        CHECK(MUST(sampler.sample(logits, {}, 1)) == 1 && steps == 1);
        cm3::generate_options options;
        options.sampler = sampler.get();
        MUST(cm3::generate(m, MUST(cm3::document::of_text(c, "a red star")), options));
    }
    CHECK(steps > 1 && destroyed == 1);
}

static void test_loading(const cm3::context &c, const char *path) {
    const auto memory = MUST(cm3::estimate_file(c, path, {}, 20));
    CHECK(memory.weights > 0 && memory.cache > 0 && memory.scratch > 0);
    CHECK(cm3::estimate_file(c, "nowhere.cm3", {}, 20).error().status == CM3_ERROR_NOT_FOUND);
    const auto bytes = read_file(path);
    const auto *begin = reinterpret_cast<const std::uint8_t *>(bytes.data());
    const auto in_memory = MUST(cm3::model::load_memory(c, {begin, bytes.size()}));
    int reads = 0;
    const auto read = MUST(cm3::model::load_io(c, bytes.size(), [&](std::uint64_t at, cm3::span<std::uint8_t> to) {
        reads++;
        std::memcpy(to.data(), begin + at, to.size());
        return true;
    }));
    CHECK(reads > 0 && MUST(read.info()).vocab_size == MUST(in_memory.info()).vocab_size);
    const auto failed =
        cm3::model::load_io(c, bytes.size(), [](std::uint64_t, cm3::span<std::uint8_t>) { return false; });
    CHECK(failed.error().status == CM3_ERROR_IO);
    cm3::convert_options options;
    options.weights = CM3_WEIGHTS_Q8;
    MUST(cm3::model::convert(c, path, in_folder("small.cm3"), options));
    CHECK(MUST(MUST(cm3::model::load(c, in_folder("small.cm3"))).info()).weight_bytes < MUST(read.info()).weight_bytes);
}

static void test_bank(const cm3::context &c) {
    cm3::bank_options options;
    options.dimension = 3;
    options.vectors = CM3_VECTORS_F32;
    auto bank = MUST(cm3::bank::create(c, in_folder("own.bank"), options));
    const float vectors[][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0.9F, 0.1F}};
    const char *const texts[] = {"x", "y", "z"};
    std::vector<cm3_bank_record> records(3);
    for (std::size_t i = 0; i < 3; i++) {
        records[i].struct_size = sizeof records[i];
        records[i].key = records[i].text = texts[i];
        records[i].vector = vectors[i];
    }
    CHECK(MUST(bank.add(records)).size() == 3 && MUST(bank.add(records))[0] == CM3_NO_RECORD);
    cm3::search_options two;
    two.k = 2;
    const auto hits = MUST(bank.search(vectors[1], two));
    CHECK(hits.size() == 2 && hits[0].id == 1 && hits[1].id == 2 && hits[0].score > 0.99F);
    CHECK(bank.search(std::vector<float>{1}).error().status == CM3_ERROR_INVALID_ARGUMENT);
    const auto id = MUST(bank.find("z"));
    CHECK(MUST(bank.at(id)).text() == "z" && bank.at(99).error().status == CM3_ERROR_NOT_FOUND);
    const std::uint64_t gone[] = {0};
    MUST(bank.erase(gone));
    CHECK(*bank.next(0) == 1 && !bank.next(3) && MUST(bank.info()).deleted == 1);
    MUST(bank.compact());
    CHECK(MUST(bank.share()).info()->records == 2);
    bank = MUST(cm3::bank::create(c, in_folder("second.bank"), options));
    CHECK(MUST(bank.merge(MUST(cm3::bank::open(c, in_folder("own.bank"))))) == 2);
    CHECK(cm3::bank::verify(c, in_folder("own.bank"), [](const char *) {}));
    auto bytes = read_file(in_folder("own.bank"));
    bytes[bytes.size() / 2] ^= 1;
    std::ofstream(in_folder("wrong.bank"), std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    int faults = 0;
    const auto wrong = cm3::bank::verify(c, in_folder("wrong.bank"), [&](const char *) { faults++; });
    CHECK(wrong.error().status == CM3_ERROR_CHECKSUM && faults > 0);
#ifdef CM3_CPP_EXCEPTIONS
    bool caught = false;
    try {
        (void)cm3::bank::verify(c, in_folder("wrong.bank"), [](const char *what) { throw std::string(what); });
    } catch (const std::string &what) {
        caught = !what.empty();
    }
    CHECK(caught);
#endif
}

static void test_retriever(const cm3::context &c, const char *encoder) {
    const auto m = MUST(cm3::model::load(c, encoder));
    cm3::bank_options options;
    options.model = m.get();
    options.encoder_name = "tiny";
    auto bank = MUST(cm3::bank::create(c, in_folder("texts.bank"), options));
    MUST(bank.check_model(m, "tiny"));
    auto retriever = MUST(cm3::retriever::create(m, bank));
    auto picture = MUST(cm3::image::create(c, 32, 32));
    const cm3_retrieval_item items[] = {cm3::item("a red circle", nullptr, "circle"), cm3::item("three blue squares"),
                                        cm3::item("dark", &picture)};
    const auto ids = MUST(retriever.add(items));
    CHECK(MUST(retriever.size()) == 3);
    cm3::retrieve_options one;
    one.k = 1;
    one.whole_first = 0;
    const auto hits = MUST(retriever.search(cm3::item("a red circle"), one));
    CHECK(hits.size() == 1 && hits[0].id == ids[0] && MUST(retriever.fetch(hits[0].id)).key() == "circle");
    CHECK(MUST(retriever.embed(items, MUST(m.info()).embedding_size)).size() ==
          3 * static_cast<std::size_t>(MUST(m.info()).embedding_size));
    const std::vector<std::string> texts{"a", "b"};
    CHECK(MUST(m.embed_texts(texts)).size() == 2 * static_cast<std::size_t>(MUST(m.info()).embedding_size));
    CHECK(MUST(m.embed_images(cm3::span<const cm3::image>(&picture, 1))).size() ==
          static_cast<std::size_t>(MUST(m.info()).embedding_size));
    CHECK(retriever.fetch(99).error().status == CM3_ERROR_NOT_FOUND);
    auto prompt = MUST(cm3::document::create(c));
    const auto taken = retriever.retrieve(cm3::item("a red circle"), prompt, one, 100);
    CHECK(taken ? taken->size() == 1 && prompt.size() > 0 : taken.error().status == CM3_ERROR_UNSUPPORTED);
}

static void test_tasks(const cm3::context &c) {
    const auto tasks = MUST(cm3::tasks::load(c));
    CHECK(!tasks.names().empty());
    auto picture = MUST(cm3::image::create(c, 16, 16));
    const cm3_task_value values[] = {cm3::task_image("image", picture), cm3::task_text("question", "what is it?")};
    bool asked = false;
    for (const auto &name : tasks.names()) {
        const auto made = tasks.document(name, values);
        if (made) asked = asked || made->form.answer == CM3_SEGMENT_TEXT;
    }
    CHECK(asked && tasks.document("no such task", values).error().status == CM3_ERROR_NOT_FOUND);
    CHECK(cm3::tasks::load(c, in_folder("none.json")).error().status == CM3_ERROR_NOT_FOUND);
}

#ifdef CM3_WITH_TRAIN
static void test_trainer(const cm3::context &c) {
    const std::string none = in_folder("none.tar"), run = in_folder("run");
    const char *const data[] = {none.c_str()};
    cm3::train_options options;
    options.run_dir = run.c_str();
    options.data = data;
    options.data_count = 1;
    options.batch_size = 1;
    options.steps = 1;
    options.lr = 0.001F;
    cm3::train_lm_options lm;
    lm.init = none.c_str();
    const auto trainer = cm3::trainer::create_lm(c, options, lm);
    CHECK(!trainer && trainer.error().text().find("none") != std::string::npos);
}
#endif

#ifdef CM3_CPP_EXCEPTIONS
static void test_exceptions(const cm3::context &c, const cm3::model &m) {
    bool caught = false;
    try {
        cm3::model::load(c, in_folder("none.cm3")).value();
    } catch (const cm3::exception &e) {
        caught = e.status() == CM3_ERROR_NOT_FOUND && std::strstr(e.what(), "none.cm3");
    }
    CHECK(caught);
    caught = false;
    try {
        (void)cm3::generate(m, cm3::document::of_text(c, "a red star").value(), {},
                            [](const cm3::event &) -> bool { throw std::string("from inside"); });
    } catch (const std::string &s) {
        caught = s == "from inside";
    }
    CHECK(caught);
}
#endif

static std::atomic<std::int64_t> live;

static cm3::context counted_context() {
    static const cm3_allocator allocator = {[](void *, std::size_t size, std::size_t alignment) -> void * {
                                                live += static_cast<std::int64_t>(size);
                                                return aligned_alloc(alignment,
                                                                     (size + alignment - 1) / alignment * alignment);
                                            },
                                            [](void *, void *pointer, std::size_t size) {
                                                live -= static_cast<std::int64_t>(size);
                                                std::free(pointer);
                                            },
                                            nullptr};
    cm3::context_options options;
    options.allocator = &allocator;
    options.threads = 1;
    return MUST(cm3::context::create(options));
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    folder = argv[3];
    test_spans();
    {
        auto c = counted_context();
        CHECK(MUST(c.compute()).threads == 1 && MUST(c.memory()).live_bytes == static_cast<std::uint64_t>(live));
        test_results(c);
        test_images(c);
        test_documents(c);
        test_loading(c, argv[1]);
        test_bank(c);
        test_retriever(c, argv[2]);
        test_tasks(c);
        auto m = MUST(cm3::model::load(c, argv[1]));
        test_tokenizer(m);
        test_generate(c, m);
        test_request(c, m);
        test_sampler(c, m);
#ifdef CM3_WITH_TRAIN
        test_trainer(c);
#endif
#ifdef CM3_CPP_EXCEPTIONS
        test_exceptions(c, m);
#endif
        /* Whatever is made of a context keeps it alive, and tells its failures still. */
        auto held = MUST(m.share());
        { auto first = std::move(c); }
        CHECK(!m.logits(std::vector<std::int32_t>{-1}).error().message.empty());
    }
    CHECK(live == 0);
    std::puts("all of cm3leon.hpp does what it says");
    return 0;
}
