using System.Collections;
using NUnit.Framework;
using UnityEngine;
using UnityEngine.TestTools;

namespace Cm3leon.Tests
{
    /// <summary>The sample's window, and what the editor does before it reloads scripts.</summary>
    public sealed class SampleTests
    {
        [UnityTest]
        public IEnumerator TheSampleDraws()
        {
            var thing = new GameObject("demo");
            thing.SetActive(false);
            var cm3 = thing.AddComponent<Cm3leonBehaviour>();
            cm3.modelPath = LayerTests.ModelPath();
            cm3.threads = 1;
            var demo = thing.AddComponent<DrawDemo>();
            thing.SetActive(true);
            demo.Send("OnGUI"); /* while it loads */
            yield return cm3.Wait();
            GUILayout.Pressed = "Draw";
            demo.Send("OnGUI");
            GUILayout.Pressed = null;
            Assert.IsTrue(cm3.IsBusy);
            yield return cm3.Wait();
            int before = GUI.Textures;
            demo.Send("OnGUI");
            Assert.AreEqual(before + 1, GUI.Textures);

            System.Runtime.CompilerServices.RuntimeHelpers.RunClassConstructor(
                typeof(Cm3leonBehaviour).Assembly.GetType("Cm3leon.Editor.ReleaseBeforeReload").TypeHandle);
            UnityEditor.AssemblyReloadEvents.Reload();
            Assert.IsNull(cm3.Model);
            Object.DestroyImmediate(thing);
        }
    }
}
