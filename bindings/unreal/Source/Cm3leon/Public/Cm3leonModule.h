// The module: finds the library in the plugin's folder and loads it by its path.
#pragma once

#include "CoreMinimal.h"
#include "Modules/ModuleManager.h"

#include "Cm3leonLibrary.h"

DECLARE_LOG_CATEGORY_EXTERN(LogCm3leon, Log, All);

class CM3LEON_API FCm3leonModule : public IModuleInterface {
  public:
    /** Null where the library could not be loaded; the log says why. */
    static std::shared_ptr<const FCm3leonLibrary> GetLibrary();

    virtual void StartupModule() override;
    virtual void ShutdownModule() override;

  private:
    std::shared_ptr<const FCm3leonLibrary> Library;
};
