using System.IO;
using UnrealBuildTool;

// The library is loaded by path when the module starts (nothing links to it), and packaged beside the game.
public class Cm3leonLibrary : ModuleRules
{
    public Cm3leonLibrary(ReadOnlyTargetRules Target) : base(Target)
    {
        Type = ModuleType.External;
        PublicSystemIncludePaths.Add(Path.Combine(ModuleDirectory, "include"));
        if (Target.Platform == UnrealTargetPlatform.Linux)
        {
            RuntimeDependencies.Add(Path.Combine(ModuleDirectory, "lib", "Linux", "x86_64", "libcm3leon.so"));
        }
    }
}
