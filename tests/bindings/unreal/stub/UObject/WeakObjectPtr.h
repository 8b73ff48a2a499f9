#pragma once

#include "Components/ActorComponent.h"

template <typename T> class TWeakObjectPtr {
  public:
    TWeakObjectPtr(T *Object) : Object(Object), Alive(Object->Alive) {}
    T *Get() const {
        return *Alive ? Object : nullptr;
    }

  private:
    T *Object;
    std::shared_ptr<bool> Alive;
};
