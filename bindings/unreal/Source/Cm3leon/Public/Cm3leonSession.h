// A model and the generation that runs on it, for a game that ticks. Knows nothing of the engine, throws nothing.
#pragma once

#include "Cm3leonLibrary.h"

/** A picture, or what there is of it: rows of R G B, the first on top. Valid inside the call it is handed to. */
struct FCm3leonPixels {
    int32_t Width = 0, Height = 0;
    size_t Stride = 0; ///< bytes from row to row
    const uint8_t *Data = nullptr;
};

/**
 * Who is told. Every function is called inside FCm3leonSession::Tick(), on the thread that ticks, and may do with the
 * session what it likes, destroying it included.
 */
class CM3LEON_API ICm3leonListener {
  public:
    virtual ~ICm3leonListener() = default;
    virtual void OnLoaded() = 0;
    virtual void OnText(int32_t Candidate, const char *Utf8) = 0;
    virtual void OnPicture(int32_t Candidate, const FCm3leonPixels &Pixels, bool bFinished) = 0;
    virtual void OnProgress(uint64_t Done, uint64_t Total) = 0;
    /** The request ended well, or (true) was cancelled. */
    virtual void OnFinished(bool bCancelled) = 0;
    /** Loading or the request failed. */
    virtual void OnFailed(cm3_status Status, const char *Message) = 0;
};

/** Used by one thread, the game's: the one that made it. Others are refused (Tick and Generate return false). */
class CM3LEON_API FCm3leonSession {
  public:
    /**
     * The listener is held weakly: once it is gone nobody is told, and what runs is cancelled. Threads: -1 one a core;
     * n so many of the library's own; 0 none, Tick() computes. Null where that fails, with Error.
     */
    static std::unique_ptr<FCm3leonSession> Create(std::shared_ptr<const FCm3leonLibrary> Library,
                                                   std::weak_ptr<ICm3leonListener> Listener, int Threads,
                                                   std::string &Error);
    /** Cancels what runs and waits until it has let go: a layer at most, or until the file is read. */
    ~FCm3leonSession();
    FCm3leonSession(const FCm3leonSession &) = delete;
    FCm3leonSession &operator=(const FCm3leonSession &) = delete;

    /** Reads a model (UTF-8 path) on a thread of its own; OnLoaded() or OnFailed() follows. False while one is read, or
     * a request runs. */
    bool Load(const char *Path);
    bool IsLoaded() const;

    /** The library's defaults, to be changed and handed to Generate(). */
    cm3_generate_options Defaults() const;
    /** Starts; what comes of it is told. False, with Error, where it cannot. */
    bool Generate(const char *Prompt, const cm3_generate_options &Options, std::string &Error);
    bool IsBusy() const;
    /** The seed in use, 0 without a request. */
    uint64_t Seed() const;
    /** OnFinished(true) follows in a later tick. Any thread may call it, while the session lives. */
    void Cancel();

    /** Once a frame: tells what there is to tell. With 0 threads it computes, for about the budget. */
    bool Tick(uint64_t BudgetMicroseconds);

  private:
    struct FState;
    explicit FCm3leonSession(std::shared_ptr<FState> InState);
    std::shared_ptr<FState> State;
};
