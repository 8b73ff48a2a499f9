#pragma once

#include "CoreMinimal.h"

class IModuleInterface {
  public:
    virtual ~IModuleInterface() = default;
    virtual void StartupModule() {}
    virtual void ShutdownModule() {}
};

struct FModuleManager {
    static IModuleInterface *&Module() {
        static IModuleInterface *Loaded = nullptr;
        return Loaded;
    }
    template <typename T> static T *GetModulePtr(const TCHAR *) {
        return static_cast<T *>(Module());
    }
};

// The test loads and unloads it.
#define IMPLEMENT_MODULE(Class, Name)                                                                                  \
    IModuleInterface *Make##Name##Module() {                                                                           \
        return new Class;                                                                                              \
    }
