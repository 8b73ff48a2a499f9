// The plugin's component over the stub of the engine: play begins, ticks, ends.
//   component MODEL
#include "Cm3leonComponent.h"
#include "Cm3leonModule.h"
#include "check.h"

IModuleInterface *MakeCm3leonModule();

namespace {

struct FSeen {
    int Loaded = 0, Drawn = 0, Whole = 0, Finished = 0, Cancelled = 0;
    int64 Done = 0, Total = 0;
    UTexture2D *Texture = nullptr;
    FString Failure;
    bool bFailed = false;
};

std::unique_ptr<UCm3leonComponent> Make(const char *Model, int32 Threads, FSeen &Seen) {
    std::unique_ptr<UCm3leonComponent> Component(new UCm3leonComponent);
    CHECK(Component->PrimaryComponentTick.bCanEverTick);
    Component->ModelPath = Model;
    Component->Threads = Threads;
    Component->OnLoaded.AddLambda([&Seen] { Seen.Loaded++; });
    Component->OnDrawn.AddLambda([&Seen](int32, UTexture2D *Texture, bool bFinished) {
        Seen.Drawn++;
        Seen.Whole += bFinished;
        Seen.Texture = Texture;
    });
    Component->OnProgressed.AddLambda([&Seen](int64 Done, int64 Total) {
        Seen.Done = Done;
        Seen.Total = Total;
    });
    Component->OnFinished.AddLambda([&Seen](bool bCancelled) {
        Seen.Finished++;
        Seen.Cancelled += bCancelled;
    });
    Component->OnFailed.AddLambda([&Seen](const FString &Message) {
        Seen.bFailed = true;
        Seen.Failure = Message;
    });
    Component->BeginPlay();
    return Component;
}

void Tick(UCm3leonComponent &Component) {
    Component.TickComponent(0.016f, LEVELTICK_All, nullptr);
}

void Draws(const char *Model, int32 Threads) {
    FSeen Seen;
    auto Component = Make(Model, Threads, Seen);
    FramesUntil([&] { Tick(*Component); }, [&] { return Seen.Loaded || Seen.bFailed; });
    CHECK(!Seen.bFailed);
    CHECK(Component->Generate("a red circle at the top left", 7) && Component->IsBusy());
    FramesUntil([&] { Tick(*Component); }, [&] { return Seen.Finished > 0; });
    CHECK(Seen.Drawn > 2 && Seen.Whole == 1 && !Seen.Cancelled && Seen.Done == Seen.Total && Seen.Total > 3);
    CHECK(Seen.Texture->Updates == Seen.Drawn); // one texture, drawn into again
    const std::vector<uint8> &Bytes = Seen.Texture->GetPlatformData()->Mips[0].BulkData.Bytes;
    size_t Coloured = 0;
    for (size_t i = 0; i < Bytes.size(); i += 4) {
        CHECK(Bytes[i + 3] == 255);
        Coloured += Bytes[i] || Bytes[i + 1] || Bytes[i + 2];
    }
    CHECK(Coloured > Bytes.size() / 8);
    CHECK(Component->Generate("a red circle"));
    Component->Cancel();
    FramesUntil([&] { Tick(*Component); }, [&] { return Seen.Finished > 1; });
    CHECK(Seen.Cancelled == 1);
    CHECK(Component->Generate("a red circle")); // running while play ends
    Component->EndPlay(EEndPlayReason::Destroyed);
    Tick(*Component);
    CHECK(!Component->IsBusy() && !Component->Generate("too late") && Seen.bFailed);
}

void EndsFromWithin(const char *Model) {
    FSeen Seen;
    auto Component = Make(Model, 1, Seen);
    Component->OnProgressed.AddLambda([&](int64, int64) {
        if (Component) {
            Component->EndPlay(EEndPlayReason::Destroyed);
        }
    });
    FramesUntil([&] { Tick(*Component); }, [&] { return Seen.Loaded > 0; });
    CHECK(Component->Generate("a red circle"));
    FramesUntil([&] { Tick(*Component); }, [&] { return !Component->IsBusy(); });
    CHECK(!Seen.Finished);
}

} // namespace

int main(int Count, char **Arguments) {
    CHECK(Count == 2);
    {
        FSeen Seen; // without its library
        auto Component = Make(Arguments[1], 1, Seen);
        CHECK(Seen.bFailed && Seen.Failure.Contains("not loaded"));
        Component->EndPlay(EEndPlayReason::Destroyed);
    }
    std::unique_ptr<IModuleInterface> Module(MakeCm3leonModule());
    FModuleManager::Module() = Module.get();
    Module->StartupModule();
    CHECK(FCm3leonModule::GetLibrary());
    Draws(Arguments[1], 1);
    Draws(Arguments[1], 0);
    EndsFromWithin(Arguments[1]);
    {
        FSeen Seen;
        auto Component = Make("no such model.cm3", 1, Seen);
        FramesUntil([&] { Tick(*Component); }, [&] { return Seen.bFailed; });
        CHECK(Seen.Failure.Contains("Content/no such model.cm3"));
        Component->EndPlay(EEndPlayReason::Destroyed);
    }
    Module->ShutdownModule();
    CHECK(!FCm3leonModule::GetLibrary());
    std::puts("component: all is so");
    return 0;
}
