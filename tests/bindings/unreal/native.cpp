// The plugin's native part against the library, alone: loaded by path, polled, cancelled, destroyed at any moment.
//   native LIBRARY MODEL EXPECTED.png
#include <vector>

#include <dlfcn.h>

#include "Cm3leonSession.h"
#include "check.h"

namespace {

struct FRecorder : ICm3leonListener {
    std::thread::id Owner = std::this_thread::get_id();
    std::unique_ptr<FCm3leonSession> *Session = nullptr; ///< destroyed at the event DestroyAt
    int Events = 0, DestroyAt = -1;
    int Loaded = 0, Previews = 0, Pictures = 0, Finished = 0, Cancelled = 0;
    uint64_t Done = 0, Total = 0;
    std::string Text, Message;
    cm3_status Status = CM3_OK;
    std::vector<uint8_t> Pixels;

    void Count() {
        CHECK(std::this_thread::get_id() == Owner);
        if (Events++ == DestroyAt) Session->reset();
    }
    void OnLoaded() override {
        Loaded++;
        Count();
    }
    void OnText(int32_t, const char *Utf8) override {
        Text += Utf8;
        Count();
    }
    void OnPicture(int32_t, const FCm3leonPixels &Given, bool bFinished) override {
        Count(); // the pixels outlive the session within the call
        (bFinished ? Pictures : Previews)++;
        Pixels.clear();
        for (int32_t Y = 0; Y < Given.Height; ++Y) {
            const uint8_t *Row = Given.Data + size_t(Y) * Given.Stride;
            Pixels.insert(Pixels.end(), Row, Row + 3 * Given.Width);
        }
    }
    void OnProgress(uint64_t InDone, uint64_t InTotal) override {
        Done = InDone;
        Total = InTotal;
        Count();
    }
    void OnFinished(bool bCancelled) override {
        Finished++;
        Cancelled += bCancelled;
        Count();
    }
    void OnFailed(cm3_status InStatus, const char *InMessage) override {
        Status = InStatus;
        Message = InMessage;
        Count();
    }
};

const char *ModelPath;
std::shared_ptr<const FCm3leonLibrary> Library;
const char Prompt[] = "a red circle at the top left";

std::unique_ptr<FCm3leonSession> Make(const std::shared_ptr<FRecorder> &Recorder, int Threads) {
    std::string Error;
    auto Session = FCm3leonSession::Create(Library, Recorder, Threads, Error);
    CHECK(Session && Error.empty());
    CHECK(!Session->IsLoaded() && !Session->IsBusy());
    return Session;
}

std::unique_ptr<FCm3leonSession> MakeLoaded(const std::shared_ptr<FRecorder> &Recorder, int Threads) {
    auto Session = Make(Recorder, Threads);
    CHECK(Session->Load(ModelPath));
    CHECK(!Session->Load(ModelPath)); // one at a time
    FramesUntil([&] { CHECK(Session->Tick(0)); }, [&] { return Recorder->Loaded || Recorder->Status; });
    CHECK(Recorder->Status == CM3_OK && Session->IsLoaded());
    return Session;
}

/** A picture equal to the command's, over many frames. */
void Draws(int Threads, const std::vector<uint8_t> &Expected) {
    auto Recorder = std::make_shared<FRecorder>();
    auto Session = MakeLoaded(Recorder, Threads);
    std::string Error;
    cm3_generate_options Options = Session->Defaults();
    Options.seed = 7;
    Options.preview_rows = 2;
    CHECK(Session->Generate(Prompt, Options, Error));
    CHECK(!Session->Generate(Prompt, Options, Error) && Error == "a request is running");
    CHECK(Session->Seed() == 7 && Session->IsBusy());
    const int Frames = FramesUntil([&] { Session->Tick(Threads ? 0 : 4000); }, [&] { return Recorder->Finished > 0; });
    CHECK(Frames > 3 && Recorder->Previews > 1 && Recorder->Pictures == 1 && !Recorder->Cancelled);
    CHECK(Recorder->Done == Recorder->Total && Recorder->Total > 3 && !Session->IsBusy());
    if (Threads == 1) CHECK(Recorder->Pixels == Expected);

    Options.modality = CM3_MODALITY_TEXT;
    Options.max_tokens = 12;
    CHECK(Session->Generate("a", Options, Error));
    FramesUntil([&] { Session->Tick(4000); }, [&] { return Recorder->Finished > 1; });
    CHECK(!Recorder->Text.empty());
}

void IsCancelled() {
    auto Recorder = std::make_shared<FRecorder>();
    auto Session = MakeLoaded(Recorder, 1);
    std::string Error;
    cm3_generate_options Options = Session->Defaults();
    Options.candidates = 16;
    CHECK(Session->Generate(Prompt, Options, Error));
    bool bTicked = true, bStarted = true;
    std::thread Elsewhere([&] {
        std::string Reason;
        bTicked = Session->Tick(0);
        bStarted = Session->Generate(Prompt, Options, Reason);
        Session->Cancel();
    });
    Elsewhere.join();
    CHECK(!bTicked && !bStarted); // of another thread's only Cancel() is heard
    FramesUntil([&] { Session->Tick(0); }, [&] { return Recorder->Finished > 0; });
    CHECK(Recorder->Cancelled == 1 && !Session->IsBusy());
    Session->Cancel(); // of nothing
}

void ErrorsAreTold(const char *LibraryPath) {
    std::string Error;
    CHECK(!FCm3leonLibrary::Load("/no/such/libcm3leon.so", Error) && Error.find("/no/such") != std::string::npos);
    CHECK(!FCm3leonLibrary::Load("libc.so.6", Error) && Error.find("has no function cm3_") != std::string::npos);
    CHECK(!FCm3leonSession::Create(nullptr, std::weak_ptr<ICm3leonListener>(), 1, Error));
    CHECK(!FCm3leonSession::Create(Library, std::weak_ptr<ICm3leonListener>(), -7, Error));
    CHECK(FCm3leonLibrary::Load(LibraryPath, Error)); // again

    auto Recorder = std::make_shared<FRecorder>();
    auto Session = Make(Recorder, 1);
    CHECK(!Session->Generate(Prompt, Session->Defaults(), Error) && Error == "no model is loaded");
    CHECK(Session->Load("/no/such/model.cm3"));
    FramesUntil([&] { Session->Tick(0); }, [&] { return Recorder->Status != CM3_OK; });
    CHECK(Recorder->Status == CM3_ERROR_NOT_FOUND && Recorder->Message.find("/no/such/model.cm3") != std::string::npos);

    Session = MakeLoaded(Recorder = std::make_shared<FRecorder>(), 1);
    cm3_generate_options Options = Session->Defaults();
    Options.candidates = 65;
    CHECK(!Session->Generate(Prompt, Options, Error) && Error.find("candidates") != std::string::npos);
    CHECK(!Session->Generate("\xff", Session->Defaults(), Error) && !Error.empty());
    std::string Long;
    for (int i = 0; i < 4000; ++i) Long += "a red circle and ";
    CHECK(Session->Generate(Long.c_str(), Session->Defaults(), Error));
    FramesUntil([&] { Session->Tick(0); }, [&] { return Recorder->Status != CM3_OK; });
    CHECK(Recorder->Status == CM3_ERROR_TOO_LONG && !Recorder->Message.empty() && !Recorder->Finished);
}

/** The listener goes, the session goes: at any moment, from within any event too. */
void GoesAtAnyMoment() {
    for (int At = 0; At < 24; ++At) {
        auto Recorder = std::make_shared<FRecorder>();
        std::unique_ptr<FCm3leonSession> Session = Make(Recorder, At % 2);
        Recorder->Session = &Session;
        Recorder->DestroyAt = At;
        CHECK(Session->Load(ModelPath));
        if (At == 20) continue; // while it loads
        FramesUntil([&] { Session->Tick(1000); }, [&] { return !Session || Session->IsLoaded(); });
        if (!Session) continue;
        std::string Error;
        cm3_generate_options Options = Session->Defaults();
        Options.preview_rows = 1;
        CHECK(Session->Generate(Prompt, Options, Error));
        if (At > 20) { // the listener first
            Recorder.reset();
            FramesUntil([&] { Session->Tick(1000); }, [&] { return !Session->IsBusy(); });
            continue;
        }
        FramesUntil([&] { Session->Tick(1000); }, [&] { return !Session; });
        CHECK(Recorder->Events == At + 1);
    }
}

/** The pixels of a picture file, read by the library itself. */
std::vector<uint8_t> ReadPixels(const char *LibraryPath, const char *Path) {
    void *Handle = dlopen(LibraryPath, RTLD_NOW | RTLD_LOCAL);
    const auto Load = reinterpret_cast<decltype(&cm3_image_load)>(dlsym(Handle, "cm3_image_load"));
    const auto Destroy = reinterpret_cast<decltype(&cm3_image_destroy)>(dlsym(Handle, "cm3_image_destroy"));
    cm3_context *Context = nullptr;
    cm3_image *Image = nullptr;
    cm3_image_view View;
    CHECK(Library->cm3_context_create(nullptr, &Context) == CM3_OK);
    CHECK(Load(Context, Path, &Image) == CM3_OK && Library->cm3_image_get_view(Image, &View) == CM3_OK);
    std::vector<uint8_t> Pixels;
    for (int32_t Y = 0; Y < View.height; ++Y) {
        const uint8_t *Row = View.pixels + size_t(Y) * View.stride;
        Pixels.insert(Pixels.end(), Row, Row + 3 * View.width);
    }
    Destroy(Image);
    Library->cm3_context_destroy(Context);
    return Pixels;
}

} // namespace

int main(int Count, char **Arguments) {
    CHECK(Count == 4);
    ModelPath = Arguments[2];
    std::string Error;
    Library = FCm3leonLibrary::Load(Arguments[1], Error);
    if (!Library) std::fprintf(stderr, "%s\n", Error.c_str());
    CHECK(Library);
    const std::vector<uint8_t> Expected = ReadPixels(Arguments[1], Arguments[3]);
    Draws(1, Expected);
    Draws(0, Expected);
    IsCancelled();
    ErrorsAreTold(Arguments[1]);
    GoesAtAnyMoment();
    std::puts("native: all is so");
    return 0;
}
