#pragma once

#include <cstdlib>

#include "CoreMinimal.h"

struct IPlugin {
    FString GetBaseDir() const {
        return std::getenv("CM3LEON_PLUGIN");
    }
};

struct IPluginManager {
    static IPluginManager &Get() {
        static IPluginManager Manager;
        return Manager;
    }
    TSharedPtr<IPlugin> FindPlugin(const TCHAR *) {
        return new IPlugin;
    }
};
