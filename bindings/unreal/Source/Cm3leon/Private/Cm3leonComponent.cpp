#include "Cm3leonComponent.h"

#include "Cm3leonModule.h"
#include "Misc/Paths.h"
#include "UObject/WeakObjectPtr.h"

/** Passes on what the session tells to a component that may be gone. */
class UCm3leonComponent::FListener : public ICm3leonListener {
  public:
    explicit FListener(UCm3leonComponent *InComponent) : Component(InComponent) {}

    virtual void OnLoaded() override {
        if (UCm3leonComponent *To = Component.Get()) To->OnLoaded.Broadcast();
    }
    virtual void OnText(int32_t Candidate, const char *Utf8) override {
        if (UCm3leonComponent *To = Component.Get()) To->OnSaid.Broadcast(Candidate, FString(UTF8_TO_TCHAR(Utf8)));
    }
    virtual void OnPicture(int32_t Candidate, const FCm3leonPixels &Pixels, bool bFinished) override {
        if (UCm3leonComponent *To = Component.Get()) To->Show(Candidate, Pixels, bFinished);
    }
    virtual void OnProgress(uint64_t Done, uint64_t Total) override {
        if (UCm3leonComponent *To = Component.Get()) To->OnProgressed.Broadcast(int64(Done), int64(Total));
    }
    virtual void OnFinished(bool bCancelled) override {
        if (UCm3leonComponent *To = Component.Get()) To->OnFinished.Broadcast(bCancelled);
    }
    virtual void OnFailed(cm3_status, const char *Message) override {
        if (UCm3leonComponent *To = Component.Get()) To->OnFailed.Broadcast(FString(UTF8_TO_TCHAR(Message)));
    }

  private:
    TWeakObjectPtr<UCm3leonComponent> Component;
};

UCm3leonComponent::UCm3leonComponent() {
    PrimaryComponentTick.bCanEverTick = true;
}

void UCm3leonComponent::BeginPlay() {
    Super::BeginPlay();
    std::string Error;
    Listener = std::make_shared<FListener>(this);
    Session = FCm3leonSession::Create(FCm3leonModule::GetLibrary(), Listener, Threads, Error);
    if (!Session) {
        OnFailed.Broadcast(FString(UTF8_TO_TCHAR(Error.c_str())));
        return;
    }
    const FString Path =
        FPaths::IsRelative(ModelPath) ? FPaths::Combine(FPaths::ProjectContentDir(), ModelPath) : ModelPath;
    Session->Load(TCHAR_TO_UTF8(*FPaths::ConvertRelativePathToFull(Path)));
}

void UCm3leonComponent::EndPlay(const EEndPlayReason::Type Reason) {
    Session.reset();
    Listener.reset();
    Textures.Empty();
    Super::EndPlay(Reason);
}

void UCm3leonComponent::TickComponent(float DeltaTime, ELevelTick TickType, FActorComponentTickFunction *ThisTick) {
    Super::TickComponent(DeltaTime, TickType, ThisTick);
    if (Session) Session->Tick(Threads == 0 && BudgetMicroseconds > 0 ? uint64_t(BudgetMicroseconds) : 0);
}

bool UCm3leonComponent::Generate(const FString &Prompt, int64 Seed) {
    std::string Error = "the component does not play";
    if (Session) {
        cm3_generate_options Options = Session->Defaults();
        Options.seed = uint64_t(Seed);
        Options.preview_rows = PreviewRows;
        if (Session->Generate(TCHAR_TO_UTF8(*Prompt), Options, Error)) return true;
    }
    OnFailed.Broadcast(FString(UTF8_TO_TCHAR(Error.c_str())));
    return false;
}

void UCm3leonComponent::Cancel() {
    if (Session) Session->Cancel();
}

bool UCm3leonComponent::IsBusy() const {
    return Session && Session->IsBusy();
}

void UCm3leonComponent::Show(int32 Candidate, const FCm3leonPixels &Pixels, bool bFinished) {
    TObjectPtr<UTexture2D> &Texture = Textures.FindOrAdd(Candidate);
    if (!Texture || Texture->GetSizeX() != Pixels.Width || Texture->GetSizeY() != Pixels.Height) {
        Texture = UTexture2D::CreateTransient(Pixels.Width, Pixels.Height, PF_B8G8R8A8);
    }
    if (!Texture) return;
    FTexture2DMipMap &Mip = Texture->GetPlatformData()->Mips[0];
    uint8 *To = static_cast<uint8 *>(Mip.BulkData.Lock(LOCK_READ_WRITE));
    for (int32 Y = 0; Y < Pixels.Height; ++Y) {
        const uint8_t *From = Pixels.Data + size_t(Y) * Pixels.Stride;
        for (int32 X = 0; X < Pixels.Width; ++X, From += 3, To += 4) {
            To[0] = From[2];
            To[1] = From[1];
            To[2] = From[0];
            To[3] = 255;
        }
    }
    Mip.BulkData.Unlock();
    Texture->UpdateResource();
    OnDrawn.Broadcast(Candidate, Texture, bFinished);
}
