// The few types of Unreal that the plugin uses, so that its components can be compiled and driven without the engine.
// Names and behaviour are Unreal's; everything else of them is left out, and text is UTF-8 here.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

typedef int32_t int32;
typedef int64_t int64;
typedef uint8_t uint8;
typedef char TCHAR;

#define TEXT(Words) Words
#define TCHAR_TO_UTF8(Words) (Words)
#define UTF8_TO_TCHAR(Words) (Words)

#define UCLASS(...)
#define UPROPERTY(...)
#define UFUNCTION(...)
#define GENERATED_BODY()                                                                                               \
  public:                                                                                                              \
    typedef UActorComponent Super;

class FString {
  public:
    FString(const TCHAR *Words = "") : Words(Words) {}
    const TCHAR *operator*() const {
        return Words.c_str();
    }
    bool Contains(const TCHAR *Part) const {
        return Words.find(Part) != std::string::npos;
    }

  private:
    std::string Words;
};

template <typename... Ts> class TMulticastDelegate {
  public:
    void Broadcast(Ts... Arguments) {
        const auto All = Receivers; // one may add others
        for (const auto &Receiver : All) Receiver(Arguments...);
    }
    void AddLambda(std::function<void(Ts...)> Receiver) {
        Receivers.push_back(std::move(Receiver));
    }

  private:
    std::vector<std::function<void(Ts...)>> Receivers;
};
#define DECLARE_DYNAMIC_MULTICAST_DELEGATE(Name) typedef TMulticastDelegate<> Name
#define DECLARE_DYNAMIC_MULTICAST_DELEGATE_OneParam(Name, T1, N1) typedef TMulticastDelegate<T1> Name
#define DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(Name, T1, N1, T2, N2) typedef TMulticastDelegate<T1, T2> Name
#define DECLARE_DYNAMIC_MULTICAST_DELEGATE_ThreeParams(Name, T1, N1, T2, N2, T3, N3)                                   \
    typedef TMulticastDelegate<T1, T2, T3> Name

template <typename T> class TObjectPtr {
  public:
    TObjectPtr() = default;
    TObjectPtr(T *Object) : Object(Object) {}
    operator T *() const {
        return Object;
    }
    T *operator->() const {
        return Object;
    }

  private:
    T *Object = nullptr;
};

template <typename K, typename V> class TMap {
  public:
    V &FindOrAdd(const K &Key) {
        return Items[Key];
    }
    void Empty() {
        Items.clear();
    }
    size_t Num() const {
        return Items.size();
    }

  private:
    std::map<K, V> Items;
};

template <typename T> class TSharedPtr {
  public:
    TSharedPtr(T *Object = nullptr) : Object(Object) {}
    bool IsValid() const {
        return Object != nullptr;
    }
    T *operator->() const {
        return Object.get();
    }

  private:
    std::shared_ptr<T> Object;
};

#define DECLARE_LOG_CATEGORY_EXTERN(Name, Default, Most) extern const char *const Name##Category
#define DEFINE_LOG_CATEGORY(Name) const char *const Name##Category = #Name
#define UE_LOG(Name, Level, Format, ...) std::fprintf(stderr, "%s: " Format "\n", Name##Category, __VA_ARGS__)
