#include "Cm3leonModule.h"

#include "Interfaces/IPluginManager.h"
#include "Misc/Paths.h"

DEFINE_LOG_CATEGORY(LogCm3leon);

void FCm3leonModule::StartupModule() {
    const TSharedPtr<IPlugin> Plugin = IPluginManager::Get().FindPlugin(TEXT("Cm3leon"));
    if (!Plugin.IsValid()) return;
    const FString Folder = FPaths::Combine(Plugin->GetBaseDir(), TEXT("Source/ThirdParty/Cm3leonLibrary/lib"));
    const FString Path = FPaths::ConvertRelativePathToFull(FPaths::Combine(Folder, TEXT("Linux/x86_64/libcm3leon.so")));
    std::string Error;
    Library = FCm3leonLibrary::Load(TCHAR_TO_UTF8(*Path), Error);
    if (!Library) UE_LOG(LogCm3leon, Error, TEXT("%s"), UTF8_TO_TCHAR(Error.c_str()));
}

void FCm3leonModule::ShutdownModule() {
    Library.reset(); // the library itself stays
}

std::shared_ptr<const FCm3leonLibrary> FCm3leonModule::GetLibrary() {
    FCm3leonModule *Module = FModuleManager::GetModulePtr<FCm3leonModule>(TEXT("Cm3leon"));
    return Module ? Module->Library : nullptr;
}

IMPLEMENT_MODULE(FCm3leonModule, Cm3leon)
