/*
 * A window with a line for the prompt: Enter draws, the picture appears row by row, Escape stops it. SDL2 draws, the
 * library computes beside it, and each frame asks once what has become of the picture.
 *
 *   c++ -std=c++17 main.cpp $(pkg-config --cflags --libs cm3leon sdl2 SDL2_ttf) && ./a.out MODEL FONT.ttf
 */
#include <SDL.h>
#include <SDL_ttf.h>
#include <cm3leon/cm3leon.hpp>

#include <cstdio>
#include <optional>
#include <string>

namespace {

constexpr int side = 480, strip = 64, margin = 12; /* pixels */

/** What is shown, and what is being drawn. */
class viewer {
  public:
    viewer(cm3::context context, cm3::model model) : context_(std::move(context)), model_(std::move(model)) {}
    ~viewer() {
        if (texture_) SDL_DestroyTexture(texture_);
        if (font_) TTF_CloseFont(font_);
        TTF_Quit();
        if (renderer_) SDL_DestroyRenderer(renderer_);
        if (window_) SDL_DestroyWindow(window_);
        SDL_Quit();
    }
    viewer(const viewer &) = delete;
    viewer &operator=(const viewer &) = delete;

    bool open(const char *font) {
        if (SDL_Init(SDL_INIT_VIDEO) || TTF_Init()) return false;
        font_ = TTF_OpenFont(font, 17);
        window_ = SDL_CreateWindow("cm3leon", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, side, side + strip, 0);
        renderer_ = window_ ? SDL_CreateRenderer(window_, -1, 0) : nullptr;
        SDL_StartTextInput();
        return renderer_ && font_;
    }

    /** A frame; false at the end. */
    bool frame() {
        for (SDL_Event e; SDL_PollEvent(&e);) {
            if (!take(e)) return false;
        }
        poll();
        paint();
        return true;
    }

  private:
    bool take(const SDL_Event &e) {
        if (e.type == SDL_QUIT) return false;
        if (e.type == SDL_TEXTINPUT) prompt_ += e.text.text;
        if (e.type != SDL_KEYDOWN) return true;
        switch (e.key.keysym.sym) {
        case SDLK_BACKSPACE:
            while (!prompt_.empty() && (prompt_.back() & 0xC0) == 0x80)
                prompt_.pop_back(); /* the rest of a code point */
            if (!prompt_.empty()) prompt_.pop_back();
            break;
        case SDLK_RETURN:
            start();
            break;
        case SDLK_ESCAPE:
            if (!request_) return false;
            request_->cancel();
            break;
        default:
            break;
        }
        return true;
    }

    void start() {
        cm3::generate_options options;
        options.preview_rows = 1;
        request_.reset(); /* the one before is cancelled */
        progress_ = 0;
        auto started = cm3::document::of_text(context_, prompt_).and_then([&](cm3::document prompt) {
            return cm3::request::start(model_, prompt, options);
        });
        if (started) request_ = std::move(*started);
        say(started ? "drawing" : started.error().text());
    }

    /** Never waits: what is not there yet comes in a later frame. */
    void poll() {
        if (!request_) return;
        const auto ended = request_->poll(0, [this](const cm3::event &e) {
            if (e.kind() == CM3_EVENT_PROGRESS)
                progress_ = static_cast<double>(e->done) / static_cast<double>(e->total);
            if (e.kind() == CM3_EVENT_IMAGE_ROWS || e.kind() == CM3_EVENT_IMAGE) show(e->image);
            return true;
        });
        if (ended && !*ended) return;
        say(ended ? "done" : ended.error().status == CM3_ERROR_CANCELLED ? "cancelled" : ended.error().text());
        request_.reset();
    }

    void show(const cm3_image *image) {
        cm3_image_view v{};
        if (cm3_image_get_view(image, &v) != CM3_OK) return;
        if (!texture_) {
            texture_ =
                SDL_CreateTexture(renderer_, SDL_PIXELFORMAT_RGB24, SDL_TEXTUREACCESS_STREAMING, v.width, v.height);
        }
        SDL_UpdateTexture(texture_, nullptr, v.pixels, static_cast<int>(v.stride));
    }

    void say(const std::string &what) {
        status_ = what;
        std::printf("%s\n", what.c_str());
        std::fflush(stdout);
    }

    void paint() {
        SDL_SetRenderDrawColor(renderer_, 32, 34, 40, 255);
        SDL_RenderClear(renderer_);
        const SDL_Rect picture = {0, 0, side, side}, bar = {0, side, static_cast<int>(side * progress_), 3};
        if (texture_) SDL_RenderCopy(renderer_, texture_, nullptr, &picture);
        SDL_SetRenderDrawColor(renderer_, 240, 180, 60, 255);
        SDL_RenderFillRect(renderer_, &bar);
        write(side + 10, {235, 235, 235, 255}, prompt_ + "_");
        write(side + 36, {140, 144, 152, 255}, status_);
        SDL_RenderPresent(renderer_);
    }

    /** A line; of one that is too long its end is seen. */
    void write(int y, SDL_Color colour, const std::string &text) {
        SDL_Surface *surface = TTF_RenderUTF8_Blended(font_, text.c_str(), colour);
        SDL_Texture *line = surface ? SDL_CreateTextureFromSurface(renderer_, surface) : nullptr;
        if (line) {
            const int room = side - 2 * margin, width = surface->w < room ? surface->w : room;
            const SDL_Rect from = {surface->w - width, 0, width, surface->h}, to = {margin, y, width, surface->h};
            SDL_RenderCopy(renderer_, line, &from, &to);
            SDL_DestroyTexture(line);
        }
        SDL_FreeSurface(surface);
    }

    cm3::context context_;
    cm3::model model_;
    std::optional<cm3::request> request_;
    std::string prompt_, status_ = "Enter draws, Escape stops";
    double progress_ = 0;
    SDL_Window *window_ = nullptr;
    SDL_Renderer *renderer_ = nullptr;
    SDL_Texture *texture_ = nullptr;
    TTF_Font *font_ = nullptr;
};

int fail(const std::string &why) {
    std::fprintf(stderr, "viewer: %s\n", why.c_str());
    return 1;
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) return std::fprintf(stderr, "Usage: viewer MODEL FONT.ttf\n"), 2;
    auto context = cm3::context::create();
    if (!context) return fail(context.error().text());
    auto model = cm3::model::load(*context, argv[1]);
    if (!model) return fail(model.error().text());
    viewer v(std::move(*context), std::move(*model));
    if (!v.open(argv[2])) return fail(SDL_GetError());
    while (v.frame()) SDL_Delay(16);
    return 0;
}
