// A component that draws: the session, as Blueprints see it.
#pragma once

#include "Components/ActorComponent.h"
#include "CoreMinimal.h"
#include "Engine/Texture2D.h"

#include "Cm3leonSession.h"

#include "Cm3leonComponent.generated.h"

DECLARE_DYNAMIC_MULTICAST_DELEGATE(FCm3leonLoaded);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(FCm3leonSaid, int32, Candidate, const FString &, Text);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_ThreeParams(FCm3leonDrawn, int32, Candidate, UTexture2D *, Texture, bool, bFinished);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(FCm3leonProgressed, int64, Done, int64, Total);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_OneParam(FCm3leonFinished, bool, bCancelled);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_OneParam(FCm3leonFailed, const FString &, Message);

/** All of it on the game thread. Loads when play begins, asks for events each tick, lets go when play ends. */
UCLASS(ClassGroup = (Cm3leon), meta = (BlueprintSpawnableComponent))
class CM3LEON_API UCm3leonComponent : public UActorComponent {
    GENERATED_BODY()

  public:
    UCm3leonComponent();

    /** A .cm3 file; where it is not absolute, in the project's Content folder. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "Cm3leon")
    FString ModelPath = TEXT("toybox.cm3");

    /** That compute: -1 one a core; 0 none, the tick computes for about the budget below. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "Cm3leon")
    int32 Threads = -1;

    UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "Cm3leon")
    int32 BudgetMicroseconds = 4000;

    /** A preview each so many rows of the picture's tokens; 0: none. */
    UPROPERTY(EditAnywhere, BlueprintReadWrite, Category = "Cm3leon")
    int32 PreviewRows = 2;

    UPROPERTY(BlueprintAssignable, Category = "Cm3leon")
    FCm3leonLoaded OnLoaded;
    UPROPERTY(BlueprintAssignable, Category = "Cm3leon")
    FCm3leonSaid OnSaid;
    UPROPERTY(BlueprintAssignable, Category = "Cm3leon")
    FCm3leonDrawn OnDrawn;
    UPROPERTY(BlueprintAssignable, Category = "Cm3leon")
    FCm3leonProgressed OnProgressed;
    UPROPERTY(BlueprintAssignable, Category = "Cm3leon")
    FCm3leonFinished OnFinished;
    UPROPERTY(BlueprintAssignable, Category = "Cm3leon")
    FCm3leonFailed OnFailed;

    /** Starts to draw. Seed 0: one is picked. False, after OnFailed, where it cannot. */
    UFUNCTION(BlueprintCallable, Category = "Cm3leon")
    bool Generate(const FString &Prompt, int64 Seed = 0);

    UFUNCTION(BlueprintCallable, Category = "Cm3leon")
    void Cancel();

    UFUNCTION(BlueprintPure, Category = "Cm3leon")
    bool IsBusy() const;

    virtual void BeginPlay() override;
    virtual void EndPlay(const EEndPlayReason::Type Reason) override;
    virtual void TickComponent(float DeltaTime, ELevelTick TickType, FActorComponentTickFunction *ThisTick) override;

  private:
    class FListener;
    void Show(int32 Candidate, const FCm3leonPixels &Pixels, bool bFinished);

    /** Of each candidate; kept from one request to the next. */
    UPROPERTY(Transient)
    TMap<int32, TObjectPtr<UTexture2D>> Textures;

    std::shared_ptr<FListener> Listener;
    std::unique_ptr<FCm3leonSession> Session;
};
