#include "Cm3leonLibrary.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace {

#if defined(_WIN32)
void *Open(const char *Path, std::string &Error) {
    wchar_t Wide[4096];
    HMODULE Handle = nullptr;
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, Path, -1, Wide, 4096))
        Handle = LoadLibraryExW(Wide, nullptr, LOAD_WITH_ALTERED_SEARCH_PATH);
    if (!Handle) Error = std::string(Path) + ": could not be loaded, error " + std::to_string(GetLastError());
    return Handle;
}

void *Find(void *Handle, const char *Name) {
    return reinterpret_cast<void *>(GetProcAddress(static_cast<HMODULE>(Handle), Name));
}
#else
void *Open(const char *Path, std::string &Error) {
    void *Handle = dlopen(Path, RTLD_NOW | RTLD_LOCAL);
    if (!Handle) {
        const char *Reason = dlerror();
        Error = Reason ? Reason : std::string(Path) + ": could not be loaded";
    }
    return Handle;
}

void *Find(void *Handle, const char *Name) {
    return dlsym(Handle, Name);
}
#endif

} // namespace

// By way of a second macro: a header may let a name stand for a newer function.
#define CM3LEON_STRING(Name) #Name
#define CM3LEON_EXPANDED(Name) CM3LEON_STRING(Name)

std::shared_ptr<const FCm3leonLibrary> FCm3leonLibrary::Load(const char *Path, std::string &Error) {
    // Never unloaded: its threads may outlive any moment at which that would be safe, and it asks to stay anyhow.
    void *Handle = Open(Path, Error);
    if (!Handle) return nullptr;
    std::shared_ptr<FCm3leonLibrary> Library(new FCm3leonLibrary);
#define CM3LEON_FIND(Function)                                                                                         \
    Library->Function = reinterpret_cast<decltype(&::Function)>(Find(Handle, CM3LEON_EXPANDED(Function)));             \
    if (!Library->Function) {                                                                                          \
        Error = std::string(Path) + ": has no function " CM3LEON_EXPANDED(Function);                                   \
        return nullptr;                                                                                                \
    }
    CM3LEON_FUNCTIONS(CM3LEON_FIND)
#undef CM3LEON_FIND
    const unsigned Major = Library->cm3_api_version() / 1000;
    if (Major != CM3_API_VERSION_MAJOR) {
        Error = std::string(Path) + ": has interface " + std::to_string(Major) + ", the plugin was built for " +
                std::to_string(CM3_API_VERSION_MAJOR);
        return nullptr;
    }
    return Library;
}
