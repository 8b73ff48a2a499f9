using System;
using System.Collections;
using System.Collections.Generic;
using NUnit.Framework;
using UnityEngine;
using UnityEngine.TestTools;

namespace Cm3leon.Tests
{
    /// <summary>The component, over frames of the engine.</summary>
    public sealed class BehaviourTests
    {
        private const int MostFrames = 100000;
        private GameObject thing;
        private Cm3leonBehaviour cm3;
        private bool loaded;
        private Cm3Exception failed;

        private void Make(string path, int threads)
        {
            thing = new GameObject("cm3");
            thing.SetActive(false);
            cm3 = thing.AddComponent<Cm3leonBehaviour>();
            cm3.modelPath = path;
            cm3.threads = threads;
            cm3.budget = 20000;
            loaded = false;
            failed = null;
            cm3.Loaded += () => loaded = true;
            cm3.Failed += error => failed = error;
            thing.SetActive(true);
        }

        private static IEnumerator Until(Func<bool> condition)
        {
            for (int frame = 0; !condition(); frame++)
            {
                Assert.IsTrue(frame < MostFrames, "waited in vain");
                yield return null;
            }
        }

        [TearDown]
        public void TearDown()
        {
            if (thing != null) UnityEngine.Object.DestroyImmediate(thing);
        }

        private IEnumerator Draws(int threads)
        {
            Make(LayerTests.ModelPath(), threads);
            Assert.IsNull(cm3.Model);
            Assert.Throws<InvalidOperationException>(() => cm3.Generate("too early"));
            yield return Until(() => loaded || failed != null);
            Assert.IsNull(failed);
            int previews = 0, finished = 0, frames = 0;
            var pixels = new List<byte>();
            cm3.Drawn += (candidate, texture, whole) =>
            {
                if (whole) pixels.AddRange(texture.GetRawTextureData());
                else previews++;
            };
            cm3.Finished += (result, status) =>
            {
                finished++;
                Assert.AreEqual(Status.Ok, status);
                using (var picture = result.Pictures()[0]) CollectionAssert.AreEqual(picture.Pixels(true), pixels.ToArray());
            };
            cm3.Generate("a red circle at the top left", 7);
            Assert.Throws<InvalidOperationException>(() => cm3.Generate("two at once"));
            yield return Until(() => { frames++; return finished > 0 || failed != null; });
            Assert.IsNull(failed);
            Assert.IsTrue(previews > 1 && frames > 3 && finished == 1);
            Assert.IsFalse(cm3.IsBusy);
            Assert.IsTrue(cm3.TextureOf(0) != null);
            yield return cm3.Wait();
        }

        [UnityTest]
        public IEnumerator DrawsWithThreads()
        {
            return Draws(1);
        }

        [UnityTest]
        public IEnumerator DrawsInUpdate()
        {
            return Draws(0);
        }

        [UnityTest]
        public IEnumerator CancelIsTold()
        {
            Make(LayerTests.ModelPath(), 1);
            yield return cm3.Wait();
            Status ended = Status.Ok;
            cm3.Finished += (result, status) => ended = status;
            cm3.Generate("a red circle", new GenerateOptions { Candidates = 16 });
            yield return null;
            cm3.Cancel();
            yield return Until(() => !cm3.IsBusy);
            Assert.AreEqual(Status.Cancelled, ended);
        }

        [UnityTest]
        public IEnumerator BadFilesAreTold()
        {
            Make("/no/such/model.cm3", 1);
            yield return Until(() => failed != null);
            Assert.AreEqual(Status.NotFound, failed.Status);
            Assert.IsTrue(failed.Message.Contains("/no/such/model.cm3"), failed.Message);
            Assert.IsFalse(loaded);
        }

        /// <summary>Disabled at any moment, enabled again; before a reload all let go.</summary>
        [UnityTest]
        public IEnumerator LetsGoAtAnyMoment()
        {
            for (int wait = 0; wait < 8; wait++)
            {
                Make(LayerTests.ModelPath(), 1);
                if (wait > 1)
                {
                    yield return Until(() => loaded);
                    cm3.Generate("a red circle", new GenerateOptions { Candidates = 8, PreviewRows = 1 });
                    for (int i = 2; i < wait; i++) yield return null;
                }
                if (wait == 5) cm3.Drawn += (candidate, texture, whole) => thing.SetActive(false);
                if (wait == 5) yield return Until(() => cm3.Model == null);
                if (wait % 2 == 0) Cm3leonBehaviour.ReleaseAll();
                else thing.SetActive(false);
                Assert.IsNull(cm3.Model);
                Assert.IsFalse(cm3.IsBusy);
                Assert.IsTrue(cm3.TextureOf(0) == null);
                UnityEngine.Object.DestroyImmediate(thing);
            }
            thing = null;
        }
    }
}
