#pragma once

#include "Components/ActorComponent.h"

enum EPixelFormat { PF_B8G8R8A8 };
enum { LOCK_READ_WRITE = 3 };

struct FByteBulkData {
    std::vector<uint8> Bytes;
    bool bLocked = false;
    void *Lock(uint32_t) {
        bLocked = true;
        return Bytes.data();
    }
    void Unlock() {
        bLocked = false;
    }
};
struct FTexture2DMipMap {
    FByteBulkData BulkData;
};
struct FTexturePlatformData {
    std::vector<FTexture2DMipMap> Mips = std::vector<FTexture2DMipMap>(1);
};

class UTexture2D : public UObject {
  public:
    static UTexture2D *CreateTransient(int32 Width, int32 Height, EPixelFormat) {
        static std::vector<std::unique_ptr<UTexture2D>> Made; // Unreal's collector has them
        Made.emplace_back(new UTexture2D);
        Made.back()->Width = Width;
        Made.back()->Height = Height;
        Made.back()->Data.Mips[0].BulkData.Bytes.resize(size_t(Width) * size_t(Height) * 4);
        return Made.back().get();
    }
    int32 GetSizeX() const {
        return Width;
    }
    int32 GetSizeY() const {
        return Height;
    }
    FTexturePlatformData *GetPlatformData() {
        return &Data;
    }
    void UpdateResource() {
        Updates += !Data.Mips[0].BulkData.bLocked;
    }
    int Updates = 0;

  private:
    int32 Width = 0, Height = 0;
    FTexturePlatformData Data;
};
