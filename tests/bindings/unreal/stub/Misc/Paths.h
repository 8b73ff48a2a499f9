#pragma once

#include "CoreMinimal.h"

struct FPaths {
    static FString Combine(const FString &A, const FString &B) {
        return FString((std::string(*A) + "/" + *B).c_str());
    }
    static bool IsRelative(const FString &Path) {
        return **Path != '/';
    }
    static FString ConvertRelativePathToFull(const FString &Path) {
        return Path;
    }
    static FString ProjectContentDir() {
        return "Content";
    }
};
