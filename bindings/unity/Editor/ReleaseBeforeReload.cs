using UnityEditor;

namespace Cm3leon.Editor
{
    /// <summary>Native memory and threads do not survive a reload of scripts: components let go of them before.</summary>
    [InitializeOnLoad]
    internal static class ReleaseBeforeReload
    {
        static ReleaseBeforeReload()
        {
            AssemblyReloadEvents.beforeAssemblyReload += Cm3leonBehaviour.ReleaseAll;
        }
    }
}
