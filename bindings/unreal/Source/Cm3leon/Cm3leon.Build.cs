using UnrealBuildTool;

public class Cm3leon : ModuleRules
{
    public Cm3leon(ReadOnlyTargetRules Target) : base(Target)
    {
        PCHUsage = PCHUsageMode.UseExplicitOrSharedPCHs;
        bEnableExceptions = false;
        bUseRTTI = false;
        PublicDependencyModuleNames.AddRange(new string[] { "Core", "CoreUObject", "Engine", "Cm3leonLibrary" });
        PrivateDependencyModuleNames.Add("Projects"); // where the plugin lies, and so the library
    }
}
