/**
 * @file
 * The library for C++17: handles that own, results in place of exceptions, spans, lambdas for callbacks.
 *
 * A thin layer of inline functions over the C headers, which say what each call does, its ranges and its errors;
 * nothing of it is in the library, so that no C++ crosses the library's border. Compiles with -fno-exceptions
 * -fno-rtti.
 *
 *   auto context = cm3::context::create();
 *   if (!context) return fail(context.error());
 *
 * A result is to be asked whether it holds a value before `*` or `->`. With CM3_CPP_EXCEPTIONS defined before this
 * header is included results also have value(), which throws cm3::exception, and what a callback throws comes out of
 * the call that ran it (not what a sampler's rule throws). Without it a callback must not throw. Strings and vectors
 * are the C++ library's, from operator new.
 *
 * Handles move and do not copy; one that was moved from holds nothing, and calls on it give INVALID_ARGUMENT. Whatever
 * is made of a context keeps it alive. Threads: as the C headers say of each object.
 */
#ifndef CM3LEON_HPP
#define CM3LEON_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#ifdef CM3_CPP_EXCEPTIONS
#include <exception>
#endif

#include "cm3leon/cm3leon.h"

namespace cm3 {
/* Files of one program may be compiled with and without CM3_CPP_EXCEPTIONS: these are different types. */
#ifdef CM3_CPP_EXCEPTIONS
inline namespace throwing {
#else
inline namespace plain {
#endif

/* --- errors and results ------------------------------------------------------------------------------------------- */

/** Why a call failed: its status, and the library's message, which may be empty. */
struct error {
    /** What the call returned. */
    cm3_status status = CM3_OK;
    /** cm3_context_message() or cm3_request_message() after it; empty where there was none. */
    std::string message;
    /** The message, or the status's name where there is none. */
    std::string text() const { return message.empty() ? std::string(cm3_status_name(status)) : message; }
};

#ifdef CM3_CPP_EXCEPTIONS
/** What value() throws. */
class exception : public std::exception {
  public:
    explicit exception(error from) : error_(std::move(from)), text_(error_.text()) {}
    const char *what() const noexcept override { return text_.c_str(); }
    cm3_status status() const noexcept { return error_.status; }

  private:
    error error_;
    std::string text_;
};
#endif

/** A value, or why there is none; the shape of C++23's std::expected. */
template <class T> class [[nodiscard]] result {
  public:
    /** The type of the value. */
    using value_type = T;
    /** Of a value. */
    result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
    /** Of an error. */
    result(cm3::error why) : held_(std::in_place_index<1>, std::move(why)) {}
    /** Whether there is a value. */
    bool has_value() const noexcept { return held_.index() == 0; }
    /** Whether there is one. */
    explicit operator bool() const noexcept { return has_value(); }
    /** The value; there must be one. */
    T &operator*() &noexcept { return *std::get_if<0>(&held_); }
    /** Likewise. */
    const T &operator*() const &noexcept { return *std::get_if<0>(&held_); }
    /** Likewise, to be moved from. */
    T &&operator*() &&noexcept { return std::move(*std::get_if<0>(&held_)); }
    /** Likewise, its members. */
    T *operator->() noexcept { return std::get_if<0>(&held_); }
    /** Likewise, its members. */
    const T *operator->() const noexcept { return std::get_if<0>(&held_); }
    /** Why there is no value; there must be none. */
    const cm3::error &error() const noexcept { return *std::get_if<1>(&held_); }
    /** The value, or another in its place. */
    template <class U> T value_or(U &&other) && {
        return has_value() ? std::move(**this) : static_cast<T>(std::forward<U>(other));
    }
    /** f(value), itself a result, or the error of this one. */
    template <class F> auto and_then(F &&f) && -> std::invoke_result_t<F, T &&> {
        if (!has_value()) return error();
        return std::forward<F>(f)(std::move(**this));
    }
#ifdef CM3_CPP_EXCEPTIONS
    /** The value, or an exception. */
    T &value() & {
        return check(), **this;
    }
    T &&value() && {
        return check(), std::move(**this);
    }

  private:
    void check() const {
        if (!has_value()) throw exception(error());
    }
#endif

  private:
    std::variant<T, cm3::error> held_;
};

/** Success, or why not. */
template <> class [[nodiscard]] result<void> {
  public:
    /** There is no value. */
    using value_type = void;
    result() = default;
    /** Of an error. */
    result(cm3::error why) : error_(std::move(why)) {}
    /** Whether it is a success. */
    bool has_value() const noexcept { return error_.status == CM3_OK; }
    /** Likewise. */
    explicit operator bool() const noexcept { return has_value(); }
    /** Its status is CM3_OK where there was none. */
    const cm3::error &error() const noexcept { return error_; }
    /** f(), or the error of this one. */
    template <class F> auto and_then(F &&f) && -> std::invoke_result_t<F> {
        if (!has_value()) return error_;
        return std::forward<F>(f)();
    }
#ifdef CM3_CPP_EXCEPTIONS
    void value() const {
        if (!has_value()) throw exception(error_);
    }
#endif

  private:
    cm3::error error_;
};

/* --- spans -------------------------------------------------------------------------------------------------------- */

namespace detail {
/** Where C has data() and size(), and its things may be seen as T. */
template <class C, class T>
using if_container = std::enable_if_t<
    !std::is_array_v<std::remove_reference_t<C>> &&
    std::is_convertible_v<std::remove_pointer_t<decltype(std::declval<C &>().data())> (*)[], T (*)[]> &&
    std::is_convertible_v<decltype(std::declval<C &>().size()), std::size_t>>;
} // namespace detail

/** Things of someone else's that lie side by side: of an array, a vector, std::array, std::span. */
template <class T> class span {
  public:
    constexpr span() noexcept = default;
    /** Over what lies there. */
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    /** Over what lies there. */
    template <std::size_t N> constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
    /** Over what a container holds: what has data() and size(). */
    template <class C, class = detail::if_container<C, T>>
    constexpr span(C &&container) noexcept : data_(container.data()), size_(container.size()) {}
    /** The first. */
    constexpr T *data() const noexcept { return data_; }
    /** How many. */
    constexpr std::size_t size() const noexcept { return size_; }
    /** Whether there is none. */
    constexpr bool empty() const noexcept { return size_ == 0; }
    /** Thing number i, which must be there. */
    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }
    /** For loops. */
    constexpr T *begin() const noexcept { return data_; }
    /** Likewise. */
    constexpr T *end() const noexcept { return data_ + size_; }
    /** So many of them, from one on. */
    constexpr span subspan(std::size_t from, std::size_t count) const noexcept { return span(data_ + from, count); }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/* --- options: the C structs, filled with their defaults ----------------------------------------------------------- */

namespace detail {
/** An option struct that is filled when it is made; its fields are those of the C struct. */
template <class T, void (*Init)(T *)> struct options : T {
    options() noexcept : T() { Init(this); }
};
/** A struct that the library fills in. */
template <class T> T sized() noexcept {
    T value{};
    value.struct_size = sizeof value;
    return value;
}
} // namespace detail

/** cm3_context_options, filled. */
using context_options = detail::options<cm3_context_options, cm3_context_options_init>;
/** cm3_load_options, filled. */
using load_options = detail::options<cm3_load_options, cm3_load_options_init>;
/** cm3_convert_options, filled. */
using convert_options = detail::options<cm3_convert_options, cm3_convert_options_init>;
/** cm3_image_save_options, filled. */
using save_options = detail::options<cm3_image_save_options, cm3_image_save_options_init>;
/** cm3_generate_options, filled. */
using generate_options = detail::options<cm3_generate_options, cm3_generate_options_init>;
/** cm3_bank_options, filled. */
using bank_options = detail::options<cm3_bank_options, cm3_bank_options_init>;
/** cm3_bank_add_options, filled. */
using bank_add_options = detail::options<cm3_bank_add_options, cm3_bank_add_options_init>;
/** cm3_bank_work_options, filled. */
using bank_work_options = detail::options<cm3_bank_work_options, cm3_bank_work_options_init>;
/** cm3_search_options, filled. */
using search_options = detail::options<cm3_search_options, cm3_search_options_init>;
/** cm3_index_options, filled. */
using index_options = detail::options<cm3_index_options, cm3_index_options_init>;
/** cm3_retrieve_options, filled. */
using retrieve_options = detail::options<cm3_retrieve_options, cm3_retrieve_options_init>;
/** cm3_train_options, filled. */
using train_options = detail::options<cm3_train_options, cm3_train_options_init>;
/** cm3_train_vq_options, filled. */
using train_vq_options = detail::options<cm3_train_vq_options, cm3_train_vq_options_init>;
/** cm3_train_lm_options, filled. */
using train_lm_options = detail::options<cm3_train_lm_options, cm3_train_lm_options_init>;
/** cm3_train_encoder_options, filled. */
using train_encoder_options = detail::options<cm3_train_encoder_options, cm3_train_encoder_options_init>;

/* --- what all handles share --------------------------------------------------------------------------------------- */

namespace detail {

/** A failure, in the words of a context; NULL: without. */
inline cm3::error failed(cm3_context *context, cm3_status status) {
    return {status, context ? cm3_context_message(context) : ""};
}
/** An object, or why there is none; by reference, for it is looked at only when the call is through. */
template <class Made, class C> result<Made> adopted(cm3_context *context, cm3_status status, C *const &object) {
    if (status != CM3_OK) return failed(context, status);
    return Made::adopt(context, object);
}

/** A C object that is owned, and the context that its failures are told by. */
template <class T, void (*Destroy)(T *)> class handle {
  public:
    /** The C object, for calls that this header does not have; still owned here. */
    T *get() const noexcept { return object_.get(); }
    /** Gives it away: the caller destroys it. */
    T *release() noexcept { return object_.release(); }
    explicit operator bool() const noexcept { return static_cast<bool>(object_); }

  protected:
    handle(cm3_context *context, T *object) noexcept : context_(context), object_(object) {}
    /** Who tells of failures: nobody once it was moved from, when the context may be gone. */
    cm3_context *teller() const noexcept { return object_ ? context_ : nullptr; }
    cm3::error fail(cm3_status status) const { return failed(teller(), status); }
    result<void> done(cm3_status status) const {
        if (status != CM3_OK) return fail(status);
        return {};
    }
    /** An object that was made of this one. */
    template <class Made, class C> result<Made> made(cm3_status status, C *const &object) const {
        return adopted<Made>(teller(), status, object);
    }
    /** What a call wrote; by reference, likewise. */
    template <class V> result<std::decay_t<V>> value(cm3_status status, V &&got) const {
        if (status != CM3_OK) return fail(status);
        return result<std::decay_t<V>>(std::forward<V>(got));
    }
    cm3_context *context_;

  private:
    struct destroyer {
        void operator()(T *object) const noexcept { Destroy(object); }
    };
    std::unique_ptr<T, destroyer> object_;
};

/** What a callback threw, until the call is back; nothing without exceptions. */
template <class F> struct callback {
    F &function;
#ifdef CM3_CPP_EXCEPTIONS
    std::exception_ptr thrown = nullptr;
    template <class... A> bool operator()(A &&...arguments) noexcept {
        try {
            return function(std::forward<A>(arguments)...);
        } catch (...) {
            thrown = std::current_exception();
            return false;
        }
    }
    void rethrow() const {
        if (thrown) std::rethrow_exception(thrown);
    }
#else
    template <class... A> bool operator()(A &&...arguments) {
        return function(std::forward<A>(arguments)...);
    }
    void rethrow() const noexcept {}
#endif
};

} // namespace detail

/* --- the context -------------------------------------------------------------------------------------------------- */

/** Allocator, log, threads: the root of all objects. */
class context : public detail::handle<cm3_context, cm3_context_destroy> {
  public:
    /** cm3_context_create(). */
    static result<context> create(const context_options &options = {}) {
        cm3_context *made = nullptr;
        const cm3_status status = cm3_context_create(&options, &made);
        if (status != CM3_OK) return cm3::error{status, {}};
        return context(made);
    }
    /** Takes over one that C code made. */
    static context adopt(cm3_context *made) noexcept { return context(made); }
    /** cm3_context_memory(). */
    result<cm3_memory_stats> memory() const {
        auto stats = detail::sized<cm3_memory_stats>();
        return value(cm3_context_memory(get(), &stats), stats);
    }
    /** What computes. */
    struct compute_info {
        /** In the team; 0 where the host computes. */
        int threads;
        /** Those in use, such as "avx512"; static. */
        std::string_view kernels;
    };
    /** cm3_context_compute(). */
    result<compute_info> compute() const {
        int threads = 0;
        const char *kernels = "";
        const cm3_status status = cm3_context_compute(get(), &threads, &kernels);
        return value(status, compute_info{threads, kernels ? kernels : ""});
    }

  private:
    explicit context(cm3_context *made) noexcept : handle(made, made) {}
};

/* --- pictures ----------------------------------------------------------------------------------------------------- */

/** Bytes that the library owns; given back at its end, which must come before that of the context and all made of it.
 */
class buffer {
  public:
    /** Over bytes of the library's. */
    buffer(cm3_context *context, std::uint8_t *data, std::size_t size) noexcept
        : context_(context), data_(data), size_(size) {}
    /** Takes over what the other has. */
    buffer(buffer &&other) noexcept
        : context_(other.context_), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    /** Likewise; the other has what was here. */
    buffer &operator=(buffer &&other) noexcept {
        std::swap(context_, other.context_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~buffer() { cm3_buffer_free(context_, data_, size_); }
    /** The first. */
    const std::uint8_t *data() const noexcept { return data_; }
    /** How many. */
    std::size_t size() const noexcept { return size_; }

  private:
    cm3_context *context_;
    std::uint8_t *data_;
    std::size_t size_;
};

/** An 8-bit RGB picture. */
class image : public detail::handle<cm3_image, cm3_image_destroy> {
  public:
    /** cm3_image_create(). */
    static result<image> create(const context &c, std::int32_t width, std::int32_t height) {
        cm3_image *made = nullptr;
        return detail::adopted<image>(c.get(), cm3_image_create(c.get(), width, height, &made), made);
    }
    /** RGB bytes, copied; `stride` 0: rows lie side by side. INVALID_ARGUMENT where there are too few of them. */
    static result<image> from_pixels(const context &c, span<const std::uint8_t> pixels, std::int32_t width,
                                     std::int32_t height, std::size_t stride = 0) {
        const std::size_t row = width > 0 ? 3 * static_cast<std::size_t>(width) : 0, step = stride ? stride : row;
        if (width < 1 || height < 1 || row > pixels.size() ||
            static_cast<std::size_t>(height - 1) > (pixels.size() - row) / step) {
            return cm3::error{CM3_ERROR_INVALID_ARGUMENT, "there are too few pixels for a picture of that size"};
        }
        cm3_image *made = nullptr;
        return detail::adopted<image>(
            c.get(), cm3_image_from_pixels(c.get(), pixels.data(), width, height, stride, &made), made);
    }
    /** cm3_image_load(). */
    static result<image> load(const context &c, const std::string &path) {
        cm3_image *made = nullptr;
        return detail::adopted<image>(c.get(), cm3_image_load(c.get(), path.c_str(), &made), made);
    }
    /** cm3_image_load_memory(). */
    static result<image> load_memory(const context &c, span<const std::uint8_t> data) {
        cm3_image *made = nullptr;
        return detail::adopted<image>(c.get(), cm3_image_load_memory(c.get(), data.data(), data.size(), &made), made);
    }
    /** cm3_image_contact_sheet(). */
    static result<image> contact_sheet(const context &c, span<const image> images, std::int32_t columns = 0,
                                       std::int32_t gap = 4) {
        std::vector<const cm3_image *> raw;
        for (const image &one : images) raw.push_back(one.get());
        cm3_image *made = nullptr;
        return detail::adopted<image>(
            c.get(), cm3_image_contact_sheet(c.get(), raw.data(), raw.size(), columns, gap, &made), made);
    }
    /** Takes over what C code made: it is destroyed here. */
    static image adopt(cm3_context *context, cm3_image *made) noexcept { return image(context, made); }

    /** cm3_image_save(). */
    result<void> save(const std::string &path, const save_options &options = {}) const {
        return done(cm3_image_save(get(), path.c_str(), &options));
    }
    /** cm3_image_encode(). */
    result<buffer> encode(cm3_image_format format, const save_options &options = {}) const {
        std::uint8_t *data = nullptr;
        std::size_t size = 0;
        const cm3_status status = cm3_image_encode(get(), format, &options, &data, &size);
        if (status != CM3_OK) return fail(status);
        return buffer(context_, data, size);
    }
    /** The pixels, as long as the picture. */
    result<cm3_image_view> view() const {
        cm3_image_view v{};
        return value(cm3_image_get_view(get(), &v), v);
    }
    /** cm3_image_resize(). */
    result<image> resize(std::int32_t width, std::int32_t height, cm3_filter filter = CM3_FILTER_LANCZOS) const {
        cm3_image *to = nullptr;
        return made<image>(cm3_image_resize(get(), width, height, filter, &to), to);
    }
    /** cm3_image_crop(). */
    result<image> crop(std::int32_t x, std::int32_t y, std::int32_t width, std::int32_t height) const {
        cm3_image *to = nullptr;
        return made<image>(cm3_image_crop(get(), x, y, width, height, &to), to);
    }
    /** Another hold on the same picture. */
    result<image> share() const { return made<image>(cm3_image_retain(get()), get()); }

  private:
    friend class document;
    image(cm3_context *context, cm3_image *made) noexcept : handle(context, made) {}
};

/* --- tokenizers --------------------------------------------------------------------------------------------------- */

/** Text and image tokenizer in one vocabulary. */
class tokenizer : public detail::handle<cm3_tokenizer, cm3_tokenizer_destroy> {
  public:
    /** cm3_tokenizer_load(). */
    static result<tokenizer> load(const context &c, const std::string &path) {
        cm3_tokenizer *made = nullptr;
        return detail::adopted<tokenizer>(c.get(), cm3_tokenizer_load(c.get(), path.c_str(), &made), made);
    }
    /** Takes over what C code made: it is destroyed here. */
    static tokenizer adopt(cm3_context *context, cm3_tokenizer *made) noexcept { return tokenizer(context, made); }
    /** cm3_tokenizer_save(). */
    result<void> save(const std::string &path) const { return done(cm3_tokenizer_save(get(), path.c_str())); }
    /** cm3_tokenizer_get_info(). */
    result<cm3_tokenizer_info> info() const {
        auto i = detail::sized<cm3_tokenizer_info>();
        return value(cm3_tokenizer_get_info(get(), &i), i);
    }
    /** Text to ids; `flags` are cm3_encode_flags. */
    result<std::vector<std::int32_t>> encode(std::string_view text, std::uint32_t flags = CM3_ENCODE_PLAIN) const {
        std::vector<std::int32_t> ids(text.size() + 8);
        std::size_t count = 0;
        cm3_status status = encode_into(text, flags, ids, &count);
        if (status == CM3_OK && count > ids.size()) {
            ids.resize(count);
            status = encode_into(text, flags, ids, &count);
        }
        ids.resize(status == CM3_OK ? count : 0);
        return value(status, std::move(ids));
    }
    /** Ids to text. */
    result<std::string> decode(span<const std::int32_t> ids, bool skip_special = true) const {
        std::size_t size = 0;
        cm3_status status = cm3_tokenizer_decode(get(), ids.data(), ids.size(), skip_special, nullptr, 0, &size);
        std::string text(status == CM3_OK ? size : 0, '\0');
        if (status == CM3_OK && size) {
            status = cm3_tokenizer_decode(get(), ids.data(), ids.size(), skip_special, &text[0], size, &size);
        }
        return value(status, std::move(text));
    }
    /** The id of a special token. */
    result<std::int32_t> special(cm3_token_role role, std::int32_t index = 0) const {
        std::int32_t id = -1;
        return value(cm3_tokenizer_special(get(), role, index, &id), id);
    }
    /** A picture to its codes. */
    result<std::vector<std::int32_t>> encode_image(const image &picture,
                                                   cm3_preprocessing preprocessing = CM3_PREPROCESSING_AUTO) const {
        const auto i = info();
        if (!i) return i.error();
        std::vector<std::int32_t> codes(static_cast<std::size_t>(i->image_tokens));
        std::size_t count = 0;
        const cm3_status status =
            cm3_tokenizer_encode_image_as(get(), picture.get(), preprocessing, codes.data(), codes.size(), &count);
        codes.resize(status == CM3_OK ? count : 0);
        return value(status, std::move(codes));
    }
    /** Codes to a picture. */
    result<image> decode_image(span<const std::int32_t> codes) const {
        cm3_image *to = nullptr;
        return made<image>(cm3_tokenizer_decode_image(get(), codes.data(), codes.size(), &to), to);
    }

  private:
    tokenizer(cm3_context *context, cm3_tokenizer *made) noexcept : handle(context, made) {}
    cm3_status encode_into(std::string_view text, std::uint32_t flags, std::vector<std::int32_t> &ids,
                           std::size_t *count) const {
        return cm3_tokenizer_encode(get(), text.data() ? text.data() : "", text.size(), flags, ids.data(), ids.size(),
                                    count);
    }
};

/* --- models ------------------------------------------------------------------------------------------------------- */

/** Immutable weights and what belongs to them; any thread may use it. */
class model : public detail::handle<cm3_model, cm3_model_destroy> {
  public:
    /** cm3_model_load(). */
    static result<model> load(const context &c, const std::string &path, const load_options &options = {}) {
        cm3_model *made = nullptr;
        return detail::adopted<model>(c.get(), cm3_model_load(c.get(), path.c_str(), &options, &made), made);
    }
    /** From memory, which must stay as it is until the last hold on the model is given up. */
    static result<model> load_memory(const context &c, span<const std::uint8_t> data,
                                     const load_options &options = {}) {
        cm3_model *made = nullptr;
        return detail::adopted<model>(c.get(),
                                      cm3_model_load_memory(c.get(), data.data(), data.size(), &options, &made), made);
    }
    /** Through bool read(offset, span of bytes to fill), of `size` bytes in all. */
    template <class F>
    static result<model> load_io(const context &c, std::uint64_t size, F &&read, const load_options &options = {}) {
        detail::callback<std::remove_reference_t<F>> call{read};
        auto io = detail::sized<cm3_io>();
        io.size = size;
        io.user = &call;
        io.read_at = [](void *user, std::uint64_t offset, void *bytes, std::size_t count) -> int {
            return !(*static_cast<decltype(call) *>(user))(
                offset, span<std::uint8_t>(static_cast<std::uint8_t *>(bytes), count));
        };
        cm3_model *made = nullptr;
        const cm3_status status = cm3_model_load_io(c.get(), &io, &options, &made);
        call.rethrow();
        return detail::adopted<model>(c.get(), status, made);
    }
    /** Takes over what C code made: it is destroyed here. */
    static model adopt(cm3_context *context, cm3_model *made) noexcept { return model(context, made); }
    /** Makes a `.cm3` file of whatever load() loads. */
    static result<void> convert(const context &c, const std::string &from, const std::string &to,
                                const convert_options &options = {}) {
        const cm3_status status = cm3_model_convert(c.get(), from.c_str(), to.c_str(), &options);
        if (status != CM3_OK) return detail::failed(c.get(), status);
        return {};
    }
    /** Another hold on the same model. */
    result<model> share() const { return made<model>(cm3_model_retain(get()), get()); }
    /** cm3_model_get_info(). */
    result<cm3_model_info> info() const {
        auto i = detail::sized<cm3_model_info>();
        return value(cm3_model_get_info(get(), &i), i);
    }
    /** The configuration, as long as the model. */
    result<std::string_view> config_json() const {
        const char *json = nullptr;
        const cm3_status status = cm3_model_config_json(get(), &json);
        return value(status, std::string_view(json ? json : ""));
    }
    /** cm3_model_tokenizer(). */
    result<cm3::tokenizer> tokenizer() const {
        cm3_tokenizer *to = nullptr;
        return made<cm3::tokenizer>(cm3_model_tokenizer(get(), &to), to);
    }
    /** Logits of every position of `ids`, [count, vocab_size]. */
    result<std::vector<float>> logits(span<const std::int32_t> ids, cm3_compute compute = CM3_COMPUTE_AUTO) const {
        const auto i = info();
        if (!i) return i.error();
        std::vector<float> to(ids.size() * static_cast<std::size_t>(i->vocab_size));
        const cm3_status status = cm3_model_logits(get(), ids.data(), ids.size(), compute, to.data());
        return value(status, std::move(to));
    }
    /** Hidden states, [layers + 2, count, hidden_size]. */
    result<std::vector<float>> hidden(span<const std::int32_t> ids, cm3_compute compute = CM3_COMPUTE_AUTO) const {
        const auto i = info();
        if (!i) return i.error();
        std::vector<float> to(ids.size() * static_cast<std::size_t>(i->layers + 2) *
                              static_cast<std::size_t>(i->hidden_size));
        const cm3_status status = cm3_model_hidden(get(), ids.data(), ids.size(), compute, to.data());
        return value(status, std::move(to));
    }
    /** The encoder's vectors of texts, [count, embedding_size]. */
    result<std::vector<float>> embed_texts(span<const std::string> texts, bool normalize = true) const {
        std::vector<const char *> raw;
        for (const std::string &one : texts) raw.push_back(one.c_str());
        return embed(raw.size(),
                     [&](float *to) { return cm3_model_embed_texts(get(), raw.data(), raw.size(), normalize, to); });
    }
    /** And of pictures. */
    result<std::vector<float>> embed_images(span<const image> images, bool normalize = true) const {
        std::vector<cm3_image *> raw;
        for (const image &one : images) raw.push_back(one.get());
        return embed(raw.size(),
                     [&](float *to) { return cm3_model_embed_images(get(), raw.data(), raw.size(), normalize, to); });
    }

  private:
    friend class request;
    friend class retriever;
    template <class F>
    friend result<struct generation> generate(const model &m, const class document &prompt,
                                              const generate_options &options, F &&on_event);
    friend result<generate_options> options_for(const model &m, cm3_modality modality);
    friend result<cm3_memory_estimate> estimate(const model &m, const generate_options &options,
                                                std::uint64_t prompt_tokens);
    model(cm3_context *context, cm3_model *made) noexcept : handle(context, made) {}
    template <class F> result<std::vector<float>> embed(std::size_t count, F &&call) const {
        const auto i = info();
        if (!i) return i.error();
        std::vector<float> to(count * static_cast<std::size_t>(i->embedding_size) + 1);
        const cm3_status status = call(to.data());
        to.pop_back();
        return value(status, std::move(to));
    }
};

/* --- documents ---------------------------------------------------------------------------------------------------- */

/** A list of segments: text, pictures, breaks, masks, ids. */
class document : public detail::handle<cm3_document, cm3_document_destroy> {
  public:
    /** cm3_document_create(). */
    static result<document> create(const context &c) {
        cm3_document *made = nullptr;
        return detail::adopted<document>(c.get(), cm3_document_create(c.get(), &made), made);
    }
    /** A document of one text. */
    static result<document> of_text(const context &c, std::string_view text) {
        auto made = create(c);
        if (!made) return made;
        const auto added = made->add_text(text);
        if (!added) return added.error();
        return made;
    }
    /** Takes over what C code made: it is destroyed here. */
    static document adopt(cm3_context *context, cm3_document *made) noexcept { return document(context, made); }

    /** cm3_document_add_text(). */
    result<void> add_text(std::string_view text) {
        return done(cm3_document_add_text(get(), text.data() ? text.data() : "", text.size()));
    }
    /** cm3_document_add_image(). */
    result<void> add_image(const image &picture) { return done(cm3_document_add_image(get(), picture.get())); }
    /** cm3_document_add_image_holes(). */
    result<void> add_image_holes(const image &picture, span<const cm3_box> boxes) {
        return done(cm3_document_add_image_holes(get(), picture.get(), boxes.data(), boxes.size()));
    }
    /** cm3_document_add_codes(). */
    result<void> add_codes(span<const std::int32_t> codes) {
        return done(cm3_document_add_codes(get(), codes.data(), codes.size()));
    }
    /** cm3_document_add_break(). */
    result<void> add_break() { return done(cm3_document_add_break(get())); }
    /** cm3_document_add_mask(). */
    result<void> add_mask(std::int32_t number) { return done(cm3_document_add_mask(get(), number)); }
    /** cm3_document_add_ids(). */
    result<void> add_ids(span<const std::int32_t> ids) {
        return done(cm3_document_add_ids(get(), ids.data(), ids.size()));
    }
    /** A text in which each `<image>` stands for the next picture. */
    result<void> add_prompt(const std::string &text, span<const image> images = {}) {
        std::vector<cm3_image *> raw;
        for (const image &one : images) raw.push_back(one.get());
        return done(cm3_document_add_prompt(get(), text.c_str(), raw.data(), raw.size()));
    }
    /** A document that was looked up; any part may be missing (NULL, empty). */
    result<void> add_retrieved(const char *text, const image *picture, span<const std::int32_t> codes = {}) {
        return done(
            cm3_document_add_retrieved(get(), text, picture ? picture->get() : nullptr, codes.data(), codes.size()));
    }
    /** cm3_document_append(). */
    result<void> append(const document &other) { return done(cm3_document_append(get(), other.get())); }

    /** How many segments there are; 0 of one that was moved from. */
    std::size_t size() const noexcept {
        std::size_t count = 0;
        return cm3_document_count(get(), &count) == CM3_OK ? count : 0;
    }
    /** Segment `index`; what it points to is the document's. */
    result<cm3_segment> segment(std::size_t index) const {
        auto s = detail::sized<cm3_segment>();
        return value(cm3_document_get(get(), index, &s), s);
    }
    /** The picture number `number` of those that have pixels, a hold of its own. NOT_FOUND behind the last. */
    result<image> picture(std::size_t number = 0) const {
        for (std::size_t i = 0; i < size(); i++) {
            auto s = segment(i);
            if (!s) return s.error();
            if (s->kind != CM3_SEGMENT_IMAGE || !s->image || number--) continue;
            /* A hold does not change the picture. */
            auto *held = const_cast<cm3_image *>(s->image);
            return made<image>(cm3_image_retain(held), held);
        }
        return cm3::error{CM3_ERROR_NOT_FOUND, "the document has no such picture"};
    }
    /** All texts, one after the other. */
    std::string text() const {
        std::string all;
        for (std::size_t i = 0; i < size(); i++) {
            const auto s = segment(i);
            if (s && s->kind == CM3_SEGMENT_TEXT) all.append(s->text, s->text_size);
        }
        return all;
    }

  private:
    document(cm3_context *context, cm3_document *made) noexcept : handle(context, made) {}
};

/* --- samplers ----------------------------------------------------------------------------------------------------- */

/** A chain of decoding rules, for generate_options.sampler: .get(). */
class sampler : public detail::handle<cm3_sampler, cm3_sampler_destroy> {
  public:
    /** cm3_sampler_create(). */
    static result<sampler> create(const context &c) {
        cm3_sampler *made = nullptr;
        return detail::adopted<sampler>(c.get(), cm3_sampler_create(c.get(), &made), made);
    }
    /** Takes over what C code made: it is destroyed here. */
    static sampler adopt(cm3_context *context, cm3_sampler *made) noexcept { return sampler(context, made); }
    /** cm3_sampler_add_temperature(). */
    result<void> add_temperature(float t) { return done(cm3_sampler_add_temperature(get(), t)); }
    /** cm3_sampler_add_top_k(). */
    result<void> add_top_k(std::int32_t k) { return done(cm3_sampler_add_top_k(get(), k)); }
    /** cm3_sampler_add_top_p(). */
    result<void> add_top_p(float p) { return done(cm3_sampler_add_top_p(get(), p)); }
    /** cm3_sampler_add_repetition_penalty(). */
    result<void> add_repetition_penalty(float penalty) {
        return done(cm3_sampler_add_repetition_penalty(get(), penalty));
    }
    /**
     * A rule of one's own: bool rule(const cm3_sampler_step &), which changes the logits; false stops the request. It
     * is moved into the sampler, is called on the engine thread, and must not throw.
     */
    template <class F> result<void> add_rule(F rule) {
        auto own = detail::sized<cm3_sampler_rule>();
        own.user = new F(std::move(rule));
        own.apply = [](void *user, const cm3_sampler_step *step) noexcept -> int {
            return !(*static_cast<F *>(user))(*step);
        };
        own.destroy = [](void *user) noexcept { delete static_cast<F *>(user); };
        return done(cm3_sampler_add_rule(get(), &own));
    }
    /** Runs the chain once on `logits`, in place, and draws. */
    result<std::int32_t> sample(span<float> logits, span<const std::int32_t> history, std::uint64_t seed,
                                std::uint32_t candidate = 0, std::uint32_t position = 0) const {
        std::int32_t token = -1;
        const cm3_status status = cm3_sampler_sample(get(), logits.data(), static_cast<std::int32_t>(logits.size()),
                                                     history.data(), history.size(), seed, candidate, position, &token);
        return value(status, token);
    }

  private:
    sampler(cm3_context *context, cm3_sampler *made) noexcept : handle(context, made) {}
};

/* --- generation --------------------------------------------------------------------------------------------------- */

/** What a callback is told; valid inside it only. */
class event {
  public:
    /** Over the library's. */
    event(cm3_context *context, const cm3_event &raw) noexcept : context_(context), raw_(raw) {}
    /** All fields: event->done, event->row ... */
    const cm3_event *operator->() const noexcept { return &raw_; }
    /** Likewise. */
    const cm3_event &operator*() const noexcept { return raw_; }
    /** Which of the fields are set. */
    cm3_event_kind kind() const noexcept { return raw_.kind; }
    /** Its text; empty without. */
    std::string_view text() const noexcept { return raw_.text ? std::string_view(raw_.text, raw_.text_size) : ""; }
    /** Of IMAGE and IMAGE_ROWS: the picture, with a hold that outlives the callback. */
    result<image> picture() const {
        const cm3_status status = raw_.image ? cm3_image_retain(raw_.image) : CM3_ERROR_NOT_FOUND;
        if (status != CM3_OK) return cm3::error{status, "the event has no picture"};
        return image::adopt(context_, raw_.image);
    }

  private:
    cm3_context *context_;
    const cm3_event &raw_;
};

/** The callback of one who wants no events. */
struct no_events {
    /** Goes on. */
    bool operator()(const event &) const noexcept { return true; }
};

namespace detail {
/** A lambda as the C callback: true goes on, false stops. */
template <class F> struct listener {
    cm3_context *context;
    callback<F> call;
    static int on_event(void *user, const cm3_event *raw) {
        auto *self = static_cast<listener *>(user);
        return !self->call(event(self->context, *raw));
    }
};
} // namespace detail

/** What was generated. */
struct generation {
    /** What was made. */
    cm3::document document;
    bool stopped; /**< by the callback, or a rule of the sampler: the document is what was made until then */
};

/** The options that a model's authors published. */
inline result<generate_options> options_for(const model &m, cm3_modality modality) {
    generate_options options;
    const cm3_status status = cm3_generate_options_for(m.get(), modality, &options);
    if (status != CM3_OK) return m.fail(status);
    return options;
}

/** Generates, blocks, tells bool on_event(const cm3::event &) what happens: true goes on, false stops. */
template <class F>
result<generation> generate(const model &m, const document &prompt, const generate_options &options, F &&on_event) {
    detail::listener<std::remove_reference_t<F>> listener{m.context_, {on_event}};
    cm3_document *made = nullptr;
    const cm3_status status = cm3_generate(m.get(), prompt.get(), &options, listener.on_event, &listener, &made);
    if (!made) {
        listener.call.rethrow();
        return m.fail(status);
    }
    generation out{document::adopt(m.context_, made), status == CM3_ERROR_CANCELLED};
    listener.call.rethrow();
    if (status != CM3_OK && !out.stopped) return m.fail(status);
    return result<generation>(std::move(out));
}
/** Without events. */
inline result<generation> generate(const model &m, const document &prompt, const generate_options &options = {}) {
    return generate(m, prompt, options, no_events{});
}

/** Memory that a request would take. */
inline result<cm3_memory_estimate> estimate(const model &m, const generate_options &options,
                                            std::uint64_t prompt_tokens) {
    auto e = detail::sized<cm3_memory_estimate>();
    const cm3_status status = cm3_estimate(m.get(), &options, prompt_tokens, &e);
    if (status != CM3_OK) return m.fail(status);
    return e;
}

/** The same of a model that is not loaded: cm3_estimate_file(). */
inline result<cm3_memory_estimate> estimate_file(const context &c, const std::string &path,
                                                 const generate_options &options, std::uint64_t prompt_tokens,
                                                 const load_options &load = {}) {
    auto e = detail::sized<cm3_memory_estimate>();
    const cm3_status status = cm3_estimate_file(c.get(), path.c_str(), &load, &options, prompt_tokens, &e);
    if (status != CM3_OK) return detail::failed(c.get(), status);
    return e;
}

/** One generation that runs beside the program. Destroying it cancels it. */
class request : public detail::handle<cm3_request, cm3_request_destroy> {
  public:
    /** cm3_request_start(). */
    static result<request> start(const model &m, const document &prompt, const generate_options &options = {}) {
        cm3_request *made = nullptr;
        return detail::adopted<request>(m.teller(), cm3_request_start(m.get(), prompt.get(), &options, &made), made);
    }
    /** Takes over what C code made: it is destroyed here. */
    static request adopt(cm3_context *context, cm3_request *made) noexcept { return request(context, made); }
    /** Tells what happened, waiting (without threads: computing) at most `budget_us` for something. True: it has ended,
     * and all was told. */
    template <class F = no_events> result<bool> poll(std::uint64_t budget_us, F &&on_event = F{}) {
        detail::listener<std::remove_reference_t<F>> listener{context_, {on_event}};
        int ended = 0;
        const cm3_status status = cm3_request_poll(get(), budget_us, listener.on_event, &listener, &ended);
        listener.call.rethrow();
        if (status != CM3_OK) return why(status);
        return ended != 0;
    }
    /** Tells what happens until it ends. */
    template <class F = no_events> result<void> wait(F &&on_event = F{}) {
        detail::listener<std::remove_reference_t<F>> listener{context_, {on_event}};
        const cm3_status status = cm3_request_wait(get(), listener.on_event, &listener);
        listener.call.rethrow();
        if (status != CM3_OK) return why(status);
        return {};
    }
    /** Any thread, signal handlers included. */
    void cancel() const noexcept { cm3_request_cancel(get()); }
    /** Whether computing has ended; any thread. */
    bool done() const noexcept { return !get() || cm3_request_done(get()); }
    /** cm3_request_seed(). */
    result<std::uint64_t> seed() const {
        std::uint64_t s = 0;
        return value(cm3_request_seed(get(), &s), s);
    }
    /** What was made so far; BUSY while it is computing. */
    result<document> result_document() const {
        cm3_document *to = nullptr;
        return made<document>(cm3_request_result(get(), &to), to);
    }
    /** A candidate's place. */
    struct place {
        /** Its number. */
        std::int32_t candidate;
        /** The score. */
        double score;
    };
    /** Of `best` or `beams`: which candidate stands at a place of the result. */
    result<place> score(std::int32_t at) const {
        place p{};
        return value(cm3_request_score(get(), at, &p.candidate, &p.score), p);
    }
    /** cm3_request_timings(). */
    result<cm3_timings> timings() const {
        auto t = detail::sized<cm3_timings>();
        return value(cm3_request_timings(get(), &t), t);
    }

  private:
    request(cm3_context *context, cm3_request *made) noexcept : handle(context, made) {}
    /** Its own message, or that of the call. */
    cm3::error why(cm3_status status) const {
        const char *own = get() ? cm3_request_message(get()) : "";
        return *own ? cm3::error{status, own} : fail(status);
    }
};

/* --- tasks -------------------------------------------------------------------------------------------------------- */

/** Templates of what a model can be asked for, by name. */
class tasks : public detail::handle<cm3_tasks, cm3_tasks_destroy> {
  public:
    /** The library's own. */
    static result<tasks> load(const context &c) { return from(c, nullptr); }
    /** Those of a file. */
    static result<tasks> load(const context &c, const std::string &path) { return from(c, path.c_str()); }
    /** Takes over what C code made: it is destroyed here. */
    static tasks adopt(cm3_context *context, cm3_tasks *made) noexcept { return tasks(context, made); }
    /** cm3_tasks_name(). */
    std::vector<std::string> names() const {
        std::vector<std::string> all;
        const char *name = nullptr;
        for (std::size_t i = 0; cm3_tasks_name(get(), i, &name) == CM3_OK; i++) all.emplace_back(name);
        return all;
    }
    /** A prompt of a task. */
    struct prompt {
        /** All of the task but what is asked for. */
        cm3::document document;
        cm3_task_form form; /**< its names are valid as long as the tasks */
    };
    /** The prompt of a task, and what it asks for. */
    result<prompt> document(const std::string &task, span<const cm3_task_value> values) const {
        cm3_document *to = nullptr;
        auto form = detail::sized<cm3_task_form>();
        const cm3_status status = cm3_task_document(get(), task.c_str(), values.data(), values.size(), &to, &form);
        if (status != CM3_OK) return fail(status);
        return prompt{cm3::document::adopt(context_, to), form};
    }
    /** For generate_options.picture_prompt. */
    result<cm3::document> picture_prompt(const std::string &task, span<const cm3_task_value> values) const {
        cm3_document *to = nullptr;
        const cm3_status status = cm3_task_picture_prompt(get(), task.c_str(), values.data(), values.size(), &to);
        return made<cm3::document>(status, to);
    }

  private:
    tasks(cm3_context *context, cm3_tasks *made) noexcept : handle(context, made) {}
    static result<tasks> from(const context &c, const char *path) {
        cm3_tasks *made = nullptr;
        return detail::adopted<tasks>(c.get(), cm3_tasks_load(c.get(), path, &made), made);
    }
};

/** A text as a task's value; it must outlive the call that it is given to. */
inline cm3_task_value task_text(const char *name, const char *text) noexcept {
    cm3_task_value v{};
    v.name = name;
    v.text = text;
    return v;
}
/** A picture, of which `boxes` are hidden or asked for. */
inline cm3_task_value task_image(const char *name, const image &picture, span<const cm3_box> boxes = {}) noexcept {
    cm3_task_value v{};
    v.name = name;
    v.image = picture.get();
    v.boxes = boxes.data();
    v.box_count = boxes.size();
    return v;
}

/* --- banks -------------------------------------------------------------------------------------------------------- */

/** A record that was got from a bank or a retriever; given back at its end, which must come before theirs. */
template <class Owner, void (*GiveBack)(const Owner *, cm3_bank_record *)> class record {
  public:
    /** Over one of the library's. */
    record(const Owner *owner, cm3_bank_record *raw) noexcept : owner_(owner), raw_(raw) {}
    /** Takes over what the other has. */
    record(record &&other) noexcept : owner_(other.owner_), raw_(std::exchange(other.raw_, nullptr)) {}
    /** Likewise; the other has what was here. */
    record &operator=(record &&other) noexcept {
        std::swap(owner_, other.owner_);
        std::swap(raw_, other.raw_);
        return *this;
    }
    ~record() {
        if (raw_) GiveBack(owner_, raw_);
    }
    /** All fields: record->id, record->vector ... */
    const cm3_bank_record *operator->() const noexcept { return raw_; }
    /** Likewise. */
    const cm3_bank_record &operator*() const noexcept { return *raw_; }
    /** Its name; empty without. */
    std::string_view key() const noexcept { return raw_->key ? raw_->key : ""; }
    /** Its text; empty without. */
    std::string_view text() const noexcept { return raw_->text ? raw_->text : ""; }
    /** The picture as codes; empty without. */
    span<const std::int32_t> codes() const noexcept { return {raw_->codes, raw_->code_count}; }

  private:
    const Owner *owner_;
    cm3_bank_record *raw_;
};

/** A memory bank: records of text and picture under vectors, in one file. */
class bank : public detail::handle<cm3_bank, cm3_bank_destroy> {
  public:
    /** One of its records: cm3_bank_get(). */
    using record = cm3::record<cm3_bank, cm3_bank_record_destroy>;
    /** cm3_bank_create(). */
    static result<bank> create(const context &c, const std::string &path, const bank_options &options = {}) {
        cm3_bank *made = nullptr;
        return detail::adopted<bank>(c.get(), cm3_bank_create(c.get(), path.c_str(), &options, &made), made);
    }
    /** cm3_bank_open(). */
    static result<bank> open(const context &c, const std::string &path, cm3_bank_mode mode = CM3_BANK_READ) {
        cm3_bank *made = nullptr;
        return detail::adopted<bank>(c.get(), cm3_bank_open(c.get(), path.c_str(), mode, &made), made);
    }
    /** Takes over what C code made: it is destroyed here. */
    static bank adopt(cm3_context *context, cm3_bank *made) noexcept { return bank(context, made); }
    /** Reads all of a file; void on_fault(const char *) is told of each thing that is wrong. */
    template <class F> static result<void> verify(const context &c, const std::string &path, F &&on_fault) {
        auto tell = [&on_fault](const char *what) {
            on_fault(what);
            return true;
        };
        detail::callback<decltype(tell)> call{tell};
        bank_work_options options;
        options.user = &call;
        options.on_fault = [](void *user, const char *what) { (*static_cast<decltype(call) *>(user))(what); };
        const cm3_status status = cm3_bank_verify(c.get(), path.c_str(), &options);
        call.rethrow();
        if (status != CM3_OK) return detail::failed(c.get(), status);
        return {};
    }
    /** Another hold on the same bank. */
    result<bank> share() const { return made<bank>(cm3_bank_retain(get()), get()); }
    /** cm3_bank_get_info(). */
    result<cm3_bank_info> info() const {
        auto i = detail::sized<cm3_bank_info>();
        return value(cm3_bank_get_info(get(), &i), i);
    }
    /** cm3_bank_check_model(). */
    result<void> check_model(const model &m, const std::string &name) const {
        return done(cm3_bank_check_model(get(), m.get(), name.c_str()));
    }
    /** cm3_bank_refresh(). */
    result<void> refresh() { return done(cm3_bank_refresh(get())); }
    /** Appends records; CM3_NO_RECORD for those that were refused as duplicates. */
    result<std::vector<std::uint64_t>> add(span<const cm3_bank_record> records, const bank_add_options &options = {}) {
        std::vector<std::uint64_t> ids(records.size());
        const cm3_status status = cm3_bank_add(get(), records.data(), records.size(), &options, ids.data());
        return value(status, std::move(ids));
    }
    /** cm3_bank_delete(). */
    result<void> erase(span<const std::uint64_t> ids) { return done(cm3_bank_delete(get(), ids.data(), ids.size())); }
    /** cm3_bank_get(). */
    result<record> at(std::uint64_t id) const {
        cm3_bank_record *raw = nullptr;
        const cm3_status status = cm3_bank_get(get(), id, &raw);
        if (status != CM3_OK) return fail(status);
        return record(get(), raw);
    }
    /** The first record at or behind `id`; nothing behind the last. */
    std::optional<std::uint64_t> next(std::uint64_t id) const noexcept {
        if (cm3_bank_next(get(), &id) != CM3_OK) return std::nullopt;
        return id;
    }
    /** cm3_bank_find(). */
    result<std::uint64_t> find(const std::string &key) const {
        std::uint64_t id = CM3_NO_RECORD;
        return value(cm3_bank_find(get(), key.c_str(), &id), id);
    }
    /** The records nearest to one query, the best first. */
    result<std::vector<cm3_hit>> search(span<const float> query, const search_options &options = {}) const {
        const auto i = info();
        if (!i) return i.error();
        if (query.size() != static_cast<std::size_t>(i->dimension)) {
            return cm3::error{CM3_ERROR_INVALID_ARGUMENT, "the query has another dimension than the bank"};
        }
        std::vector<cm3_hit> hits(options.k > 0 ? static_cast<std::size_t>(options.k) : 0);
        std::size_t found = 0;
        const cm3_status status = cm3_bank_search(get(), query.data(), 1, &options, hits.data(), &found);
        hits.resize(status == CM3_OK ? found : 0);
        return value(status, std::move(hits));
    }
    /** cm3_bank_index(). */
    result<void> index(const index_options &options = {}) { return done(cm3_bank_index(get(), &options)); }
    /** cm3_bank_compact(). */
    result<void> compact(const bank_work_options &options = {}) { return done(cm3_bank_compact(get(), &options)); }
    /** Adds what another has; how many records that were. */
    result<std::uint64_t> merge(const bank &from, const bank_work_options &options = {}) {
        std::uint64_t added = 0;
        return value(cm3_bank_merge(get(), from.get(), &options, &added), added);
    }

  private:
    bank(cm3_context *context, cm3_bank *made) noexcept : handle(context, made) {}
};

/* --- retrievers --------------------------------------------------------------------------------------------------- */

/** Something to be kept, or a query: a text, a picture, or both. What it names must outlive the call it is given to. */
inline cm3_retrieval_item item(const char *text, const image *picture = nullptr, const char *key = nullptr) noexcept {
    auto i = detail::sized<cm3_retrieval_item>();
    i.key = key;
    i.text = text;
    i.image = picture ? picture->get() : nullptr;
    return i;
}

/** An encoder, a store of records, and the rules by which a few of them are chosen for a prompt. */
class retriever : public detail::handle<cm3_retriever, cm3_retriever_destroy> {
  public:
    /** One of its records: cm3_retriever_fetch(). */
    using record = cm3::record<cm3_retriever, cm3_retriever_release>;
    /** Over a bank; holds both. */
    static result<retriever> create(const model &m, const bank &b) {
        cm3_retriever *made = nullptr;
        return detail::adopted<retriever>(m.teller(), cm3_retriever_create(m.get(), b.get(), &made), made);
    }
    /** Over an engine of one's own, whose destroy() is called in any case. */
    static result<retriever> create_with(const model &m, const cm3_retrieval_engine &engine) {
        cm3_retriever *made = nullptr;
        return detail::adopted<retriever>(m.teller(), cm3_retriever_create_with(m.get(), &engine, &made), made);
    }
    /** Takes over what C code made: it is destroyed here. */
    static retriever adopt(cm3_context *context, cm3_retriever *made) noexcept { return retriever(context, made); }
    /** Vectors of items, [count, `dimension`], the model's embedding_size. */
    result<std::vector<float>> embed(span<const cm3_retrieval_item> items, std::int32_t dimension) const {
        std::vector<float> vectors(items.size() * static_cast<std::size_t>(dimension > 0 ? dimension : 0) + 1);
        const cm3_status status = cm3_retriever_embed(get(), items.data(), items.size(), vectors.data());
        vectors.pop_back();
        return value(status, std::move(vectors));
    }
    /** Keeps items; CM3_NO_RECORD for those that were refused as duplicates. */
    result<std::vector<std::uint64_t>> add(span<const cm3_retrieval_item> items) {
        std::vector<std::uint64_t> ids(items.size());
        const cm3_status status = cm3_retriever_add(get(), items.data(), items.size(), ids.data());
        return value(status, std::move(ids));
    }
    /** cm3_retriever_refuse_near(). */
    result<void> refuse_near(float near_duplicate) { return done(cm3_retriever_refuse_near(get(), near_duplicate)); }
    /** Keeps all records of shards; how many were new. */
    result<std::uint64_t> import(span<const std::string> shards) {
        std::vector<const char *> raw;
        for (const std::string &one : shards) raw.push_back(one.c_str());
        std::uint64_t added = 0;
        return value(cm3_retriever_import(get(), raw.data(), raw.size(), nullptr, nullptr, &added), added);
    }
    /** The documents for one query, a text or a picture: the best first, whole ones before others. */
    result<std::vector<cm3_hit>> search(const cm3_retrieval_item &query, const retrieve_options &options = {}) const {
        std::vector<cm3_hit> hits(options.k > 0 ? static_cast<std::size_t>(options.k) : 0);
        std::size_t found = 0;
        const cm3_status status = cm3_retriever_search(get(), &query, 1, &options, hits.data(), &found);
        hits.resize(status == CM3_OK ? found : 0);
        return value(status, std::move(hits));
    }
    /** Puts them into a document, which must hold nothing but such so far: the prompt's own text comes behind. */
    result<std::vector<cm3_hit>> retrieve(const cm3_retrieval_item &query, document &into,
                                          const retrieve_options &options = {}, std::int32_t room = 0) const {
        std::vector<cm3_hit> hits(options.k > 0 ? static_cast<std::size_t>(options.k) : 0);
        std::size_t found = 0;
        const cm3_status status =
            cm3_retriever_retrieve(get(), &query, &options, room, into.get(), hits.data(), &found);
        hits.resize(status == CM3_OK ? found : 0);
        return value(status, std::move(hits));
    }
    /** cm3_retriever_fetch(). */
    result<record> fetch(std::uint64_t id) const {
        cm3_bank_record *raw = nullptr;
        const cm3_status status = cm3_retriever_fetch(get(), id, &raw);
        if (status != CM3_OK) return fail(status);
        return record(get(), raw);
    }
    /** cm3_retriever_count(). */
    result<std::uint64_t> size() const {
        std::uint64_t count = 0;
        return value(cm3_retriever_count(get(), &count), count);
    }

  private:
    retriever(cm3_context *context, cm3_retriever *made) noexcept : handle(context, made) {}
};

/* --- training ----------------------------------------------------------------------------------------------------- */

/** A training run; only in a library that was built with training. */
class trainer : public detail::handle<cm3_trainer, cm3_trainer_destroy> {
  public:
    /** cm3_trainer_create_vq(). */
    static result<trainer> create_vq(const context &c, const train_options &options, const train_vq_options &vq) {
        cm3_trainer *made = nullptr;
        return detail::adopted<trainer>(c.get(), cm3_trainer_create_vq(c.get(), &options, &vq, &made), made);
    }
    /** cm3_trainer_create_lm(). */
    static result<trainer> create_lm(const context &c, const train_options &options, const train_lm_options &lm) {
        cm3_trainer *made = nullptr;
        return detail::adopted<trainer>(c.get(), cm3_trainer_create_lm(c.get(), &options, &lm, &made), made);
    }
    /** cm3_trainer_create_encoder(). */
    static result<trainer> create_encoder(const context &c, const train_options &options,
                                          const train_encoder_options &encoder) {
        cm3_trainer *made = nullptr;
        return detail::adopted<trainer>(c.get(), cm3_trainer_create_encoder(c.get(), &options, &encoder, &made), made);
    }
    /** Takes over what C code made: it is destroyed here. */
    static trainer adopt(cm3_context *context, cm3_trainer *made) noexcept { return trainer(context, made); }
    /** cm3_trainer_step(). */
    result<cm3_train_report> step() {
        auto r = detail::sized<cm3_train_report>();
        return value(cm3_trainer_step(get(), &r), r);
    }
    /** cm3_trainer_validate(). */
    result<cm3_train_report> validate() {
        auto r = detail::sized<cm3_train_report>();
        return value(cm3_trainer_validate(get(), &r), r);
    }
    /** How far it is. */
    struct progress_info {
        /** Steps done. */
        std::int64_t step;
        /** Of the whole run. */
        std::int64_t steps;
    };
    /** cm3_trainer_progress(). */
    result<progress_info> progress() const {
        progress_info p{};
        return value(cm3_trainer_progress(get(), &p.step, &p.steps), p);
    }
    /** cm3_trainer_checkpoint(). */
    result<void> checkpoint() const { return done(cm3_trainer_checkpoint(get())); }
    /** cm3_trainer_export(). */
    result<void> export_model(const std::string &path, cm3_compute weights = CM3_COMPUTE_AUTO) const {
        return done(cm3_trainer_export(get(), path.c_str(), weights));
    }
    /** Any thread, signal handlers included. */
    void cancel() const noexcept { cm3_trainer_cancel(get()); }

  private:
    trainer(cm3_context *context, cm3_trainer *made) noexcept : handle(context, made) {}
};

} // namespace throwing or plain
} // namespace cm3

#endif
