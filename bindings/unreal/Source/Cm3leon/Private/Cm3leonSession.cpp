#include "Cm3leonSession.h"

#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

/** Outlives the session where a listener destroys it from within a tick. */
struct FCm3leonSession::FState {
    std::shared_ptr<const FCm3leonLibrary> Library;
    std::weak_ptr<ICm3leonListener> Listener;
    std::thread::id Owner = std::this_thread::get_id();
    cm3_context *Context = nullptr;
    cm3_model *Model = nullptr;
    cm3_request *Request = nullptr; ///< changed by the owner alone, under RequestLock
    std::mutex RequestLock;         ///< so that Cancel() may come from anywhere

    std::thread Loader;
    bool bLoading = false;
    std::atomic<bool> bRead{false}; ///< the loader has written what follows
    cm3_model *Read = nullptr;
    cm3_status ReadStatus = CM3_OK;
    std::string ReadMessage;

    bool IsOwner() const {
        return std::this_thread::get_id() == Owner;
    }
    void LoadFile(const std::string &Path);
    void EndLoading(ICm3leonListener *To);
    void Tell(ICm3leonListener &To, const cm3_event &Event);
    void EndRequest(cm3_status Status, ICm3leonListener *To);
    cm3_request *TakeRequest();
    void Release();
};

/** On the loader's thread; the message belongs to the thread whose call failed. */
void FCm3leonSession::FState::LoadFile(const std::string &Path) {
    ReadStatus = Library->cm3_model_load(Context, Path.c_str(), nullptr, &Read);
    if (ReadStatus != CM3_OK) ReadMessage = Library->cm3_context_message(Context);
    bRead.store(true, std::memory_order_release);
}

void FCm3leonSession::FState::EndLoading(ICm3leonListener *To) {
    Loader.join();
    bLoading = false;
    bRead = false;
    cm3_model *Loaded = std::exchange(Read, nullptr);
    if (ReadStatus != CM3_OK) {
        const std::string Message = std::exchange(ReadMessage, std::string());
        if (To) To->OnFailed(ReadStatus, Message.c_str());
        return;
    }
    Library->cm3_model_destroy(std::exchange(Model, Loaded));
    if (To) To->OnLoaded();
}

void FCm3leonSession::FState::Tell(ICm3leonListener &To, const cm3_event &Event) {
    switch (Event.kind) {
    case CM3_EVENT_TEXT:
        To.OnText(Event.candidate, Event.text);
        break;
    case CM3_EVENT_PROGRESS:
        To.OnProgress(Event.done, Event.total);
        break;
    case CM3_EVENT_IMAGE_ROWS:
    case CM3_EVENT_IMAGE: {
        cm3_image_view View;
        if (!Event.image || Library->cm3_image_get_view(Event.image, &View) != CM3_OK) break;
        FCm3leonPixels Pixels;
        Pixels.Width = View.width;
        Pixels.Height = View.height;
        Pixels.Stride = View.stride;
        Pixels.Data = View.pixels;
        Library->cm3_image_retain(Event.image); // the listener may destroy the session, and the request with it
        To.OnPicture(Event.candidate, Pixels, Event.kind == CM3_EVENT_IMAGE);
        Library->cm3_image_destroy(Event.image);
        break;
    }
    default:
        break;
    }
}

cm3_request *FCm3leonSession::FState::TakeRequest() {
    std::lock_guard<std::mutex> Guard(RequestLock);
    return std::exchange(Request, nullptr);
}

/** The request is gone before the listener is told, so that it may start the next. */
void FCm3leonSession::FState::EndRequest(cm3_status Status, ICm3leonListener *To) {
    cm3_request *Ended = TakeRequest();
    const std::string Message = Library->cm3_request_message(Ended);
    Library->cm3_request_destroy(Ended);
    if (!To) return;
    if (Status == CM3_OK || Status == CM3_ERROR_CANCELLED) {
        To->OnFinished(Status == CM3_ERROR_CANCELLED);
    } else {
        To->OnFailed(Status, Message.c_str());
    }
}

void FCm3leonSession::FState::Release() {
    if (Loader.joinable()) Loader.join();
    Library->cm3_model_destroy(std::exchange(Read, nullptr));
    Library->cm3_request_destroy(TakeRequest());
    Library->cm3_model_destroy(std::exchange(Model, nullptr));
    Library->cm3_context_destroy(std::exchange(Context, nullptr));
    bLoading = false;
}

FCm3leonSession::FCm3leonSession(std::shared_ptr<FState> InState) : State(std::move(InState)) {}

FCm3leonSession::~FCm3leonSession() {
    State->Release();
}

std::unique_ptr<FCm3leonSession> FCm3leonSession::Create(std::shared_ptr<const FCm3leonLibrary> Library,
                                                         std::weak_ptr<ICm3leonListener> Listener, int Threads,
                                                         std::string &Error) {
    if (!Library) {
        Error = "the library is not loaded";
        return nullptr;
    }
    auto Made = std::make_shared<FState>();
    Made->Library = std::move(Library);
    Made->Listener = std::move(Listener);
    cm3_context_options Options;
    Made->Library->cm3_context_options_init(&Options);
    Options.threads = Threads;
    const cm3_status Status = Made->Library->cm3_context_create(&Options, &Made->Context);
    if (Status != CM3_OK) {
        Error = std::string("the context could not be made: ") + Made->Library->cm3_status_name(Status);
        return nullptr;
    }
    return std::unique_ptr<FCm3leonSession>(new FCm3leonSession(std::move(Made)));
}

bool FCm3leonSession::Load(const char *Path) {
    if (!State->IsOwner() || State->bLoading || State->Request) return false;
    State->bLoading = true;
    State->bRead = false;
    // The state is joined with before it goes: a bare pointer will do.
    State->Loader = std::thread([Loading = State.get(), File = std::string(Path)] { Loading->LoadFile(File); });
    return true;
}

bool FCm3leonSession::IsLoaded() const {
    return State->Model != nullptr;
}

cm3_generate_options FCm3leonSession::Defaults() const {
    cm3_generate_options Options;
    State->Library->cm3_generate_options_init(&Options);
    return Options;
}

bool FCm3leonSession::Generate(const char *Prompt, const cm3_generate_options &Options, std::string &Error) {
    FState &S = *State;
    if (!S.IsOwner() || !S.Model || S.Request) {
        Error = !S.IsOwner() ? "called on another thread" : !S.Model ? "no model is loaded" : "a request is running";
        return false;
    }
    cm3_document *Document = nullptr;
    cm3_request *Started = nullptr;
    cm3_status Status = S.Library->cm3_document_create(S.Context, &Document);
    if (Status == CM3_OK) Status = S.Library->cm3_document_add_text(Document, Prompt, SIZE_MAX);
    if (Status == CM3_OK) Status = S.Library->cm3_request_start(S.Model, Document, &Options, &Started);
    if (Status != CM3_OK) Error = S.Library->cm3_context_message(S.Context);
    S.Library->cm3_document_destroy(Document);
    std::lock_guard<std::mutex> Guard(S.RequestLock);
    S.Request = Started;
    return Status == CM3_OK;
}

bool FCm3leonSession::IsBusy() const {
    return State->Request != nullptr;
}

uint64_t FCm3leonSession::Seed() const {
    uint64_t Seed = 0;
    if (State->Request) State->Library->cm3_request_seed(State->Request, &Seed);
    return Seed;
}

void FCm3leonSession::Cancel() {
    std::lock_guard<std::mutex> Guard(State->RequestLock);
    State->Library->cm3_request_cancel(State->Request);
}

bool FCm3leonSession::Tick(uint64_t BudgetMicroseconds) {
    const std::shared_ptr<FState> S = State; // a listener may destroy this session
    if (!S->IsOwner()) return false;
    const std::shared_ptr<ICm3leonListener> To = S->Listener.lock();
    if (S->bLoading && S->bRead.load(std::memory_order_acquire)) S->EndLoading(To.get());
    if (!To && S->Request) S->Library->cm3_request_cancel(S->Request);
    const cm3_request *const Running = S->Request;
    while (Running && S->Request == Running) { // it may also have ended it and begun another
        cm3_event Event;
        Event.struct_size = sizeof Event;
        int Done = 0;
        const cm3_status Status = S->Library->cm3_request_next_event(S->Request, BudgetMicroseconds, &Event, &Done);
        BudgetMicroseconds = 0;
        if (Done || Status != CM3_OK) {
            S->EndRequest(Status, To.get());
            break;
        }
        if (Event.kind == CM3_EVENT_NONE) break;
        if (To) S->Tell(*To, Event);
    }
    return true;
}
