#pragma once

#include "CoreMinimal.h"

namespace EEndPlayReason {
enum Type { Destroyed };
}
enum ELevelTick { LEVELTICK_All };
struct FActorComponentTickFunction {
    bool bCanEverTick = false;
};

class UObject {
  public:
    virtual ~UObject() {
        *Alive = false;
    }
    std::shared_ptr<bool> Alive = std::make_shared<bool>(true); ///< for TWeakObjectPtr
};

class UActorComponent : public UObject {
  public:
    virtual void BeginPlay() {}
    virtual void EndPlay(const EEndPlayReason::Type) {}
    virtual void TickComponent(float, ELevelTick, FActorComponentTickFunction *) {}
    FActorComponentTickFunction PrimaryComponentTick;
};
