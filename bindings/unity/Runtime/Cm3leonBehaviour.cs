using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Threading.Tasks;
using UnityEngine;

namespace Cm3leon
{
    /// <summary>
    /// A model in a scene. Loads on a thread of the pool, asks the running request for its events in Update(), and lets go
    /// of all that is native in OnDisable(), which Unity also calls before it reloads scripts. Everything here belongs to
    /// the main thread.
    /// </summary>
    [AddComponentMenu("Cm3leon/Model")]
    [DisallowMultipleComponent]
    public sealed class Cm3leonBehaviour : MonoBehaviour
    {
        private static readonly List<Cm3leonBehaviour> Live = new List<Cm3leonBehaviour>();

        [Tooltip("A .cm3 file; where it is not absolute, in StreamingAssets.")]
        public string modelPath = "toybox.cm3";

        [Tooltip("Threads that compute: -1 one a core; 0 none: Update computes, for about the budget below.")]
        public int threads = -1;

        [Tooltip("With 0 threads: microseconds of a frame that may be spent computing.")]
        public int budget = 4000;

        [Tooltip("A preview each so many rows of the picture's tokens; 0: none.")]
        public int previewRows = 2;

        /// <summary>The model is there.</summary>
        public event Action Loaded;
        /// <summary>A candidate said something: its number and the words.</summary>
        public event Action<int, string> Said;
        /// <summary>A candidate's picture, a preview or (true) finished. The texture stays the component's: it is drawn
        /// into again by the next request, and destroyed with the component.</summary>
        public event Action<int, Texture2D, bool> Drawn;
        /// <summary>Tokens done and in all.</summary>
        public event Action<ulong, ulong> Progressed;
        /// <summary>The request has ended well, or was cancelled: then what there is of it.</summary>
        public event Action<Document, Status> Finished;
        /// <summary>Loading or the request failed. Without a receiver it is logged.</summary>
        public event Action<Cm3Exception> Failed;

        private readonly Dictionary<int, Texture2D> textures = new Dictionary<int, Texture2D>();
        private Context context;
        private Task<Model> loading;
        private Request request;
        private byte[] pixels;

        /// <summary>Null until Loaded.</summary>
        public Model Model { get; private set; }

        public bool IsBusy
        {
            get { return request != null; }
        }

        /// <summary>The texture that candidate `number` is drawn into; null: none yet.</summary>
        public Texture2D TextureOf(int number)
        {
            Texture2D texture;
            return textures.TryGetValue(number, out texture) ? texture : null;
        }

        /// <summary>Starts to load modelPath anew.</summary>
        public void Load()
        {
            string path = Path.IsPathRooted(modelPath) ? modelPath : Path.Combine(Application.streamingAssetsPath, modelPath);
            Load(made => Model.Load(made, path));
        }

        /// <summary>Starts to load a model from the bytes of its file: where it is not a file of its own, as on Android.</summary>
        public void Load(byte[] file)
        {
            Load(made => Model.Load(made, file));
        }

        /// <summary>Starts to draw; what comes of it is told by the events.</summary>
        public void Generate(string prompt, ulong seed = 0)
        {
            Generate(prompt, new GenerateOptions { Seed = seed, PreviewRows = previewRows });
        }

        public void Generate(string prompt, GenerateOptions options)
        {
            CheckFree();
            request = Model.Start(prompt, options);
        }

        public void Generate(Document prompt, GenerateOptions options)
        {
            CheckFree();
            request = Model.Start(prompt, options);
        }

        /// <summary>For coroutines: yield return StartCoroutine(cm3.Wait()).</summary>
        public IEnumerator Wait()
        {
            while (loading != null || request != null) yield return null;
        }

        /// <summary>Finished is told, with what there is, in a later frame.</summary>
        public void Cancel()
        {
            if (request != null) request.Cancel();
        }

        /// <summary>Lets go of the model and of what runs; waits for it, a layer at most, or until a file is read.</summary>
        public void Release()
        {
            if (request != null) request.Dispose();
            request = null;
            if (loading != null) DropLoading();
            if (Model != null) Model.Dispose();
            Model = null;
            if (context != null) context.Dispose();
            context = null;
            foreach (var texture in textures.Values) Destroy(texture);
            textures.Clear();
        }

        /// <summary>All components let go: before scripts are reloaded.</summary>
        public static void ReleaseAll()
        {
            foreach (var behaviour in Live.ToArray()) behaviour.Release();
        }

        private void OnEnable()
        {
            Live.Add(this);
            if (!string.IsNullOrEmpty(modelPath)) Load();
        }

        private void OnDisable()
        {
            Live.Remove(this);
            Release();
        }

        private void Update()
        {
            if (loading != null && loading.IsCompleted) EndLoading();
            var running = request;
            if (running == null) return;
            ulong microseconds = threads == 0 && budget > 0 ? (ulong)budget : 0;
            RequestEvent told;
            while (request == running && (told = running.Next(microseconds)) != null) /* a receiver may release it */
            {
                microseconds = 0;
                Show(told);
            }
            if (request == running && running.Done) End(running);
        }

        private void Load(Func<Context, Model> load)
        {
            Release();
            try
            {
                var made = context = new Context(threads);
                loading = Task.Run(() => load(made));
            }
            catch (Exception error)
            {
                Fail(error);
            }
        }

        private void EndLoading()
        {
            var ended = loading;
            loading = null;
            if (ended.IsFaulted)
            {
                Fail(ended.Exception.GetBaseException());
                return;
            }
            Model = ended.Result;
            if (Loaded != null) Loaded();
        }

        private void DropLoading()
        {
            try
            {
                loading.Result.Dispose();
            }
            catch (AggregateException)
            {
                /* it failed: there is nothing to let go of */
            }
            loading = null;
        }

        private void CheckFree()
        {
            if (Model == null) throw new InvalidOperationException("the model is not loaded (yet): wait for Loaded");
            if (request != null) throw new InvalidOperationException("a request is running: cancel it, or wait for its end");
        }

        private void Show(RequestEvent told)
        {
            switch (told.Kind)
            {
            case EventKind.Text:
                if (Said != null) Said(told.Candidate, told.Text);
                break;
            case EventKind.Progress:
                if (Progressed != null) Progressed(told.Done, told.Total);
                break;
            case EventKind.Preview:
            case EventKind.Picture:
                if (told.Picture == null) break;
                Texture2D texture;
                using (told.Picture) texture = Upload(told.Candidate, told.Picture);
                if (Drawn != null) Drawn(told.Candidate, texture, told.Kind == EventKind.Picture);
                break;
            }
        }

        private Texture2D Upload(int candidate, Picture picture)
        {
            int width = picture.Width, height = picture.Height;
            var texture = TextureOf(candidate);
            if (texture == null || texture.width != width || texture.height != height)
            {
                if (texture != null) Destroy(texture);
                texture = new Texture2D(width, height, TextureFormat.RGB24, false);
                textures[candidate] = texture;
            }
            if (pixels == null || pixels.Length != 3 * width * height) pixels = new byte[3 * width * height];
            picture.CopyPixels(pixels, true);
            texture.LoadRawTextureData(pixels);
            texture.Apply(false);
            return texture;
        }

        private void End(Request ended)
        {
            request = null; /* a receiver may start the next */
            using (ended)
            {
                if (ended.Status != Status.Ok && ended.Status != Status.Cancelled)
                {
                    Fail(new Cm3Exception(ended.Status, ended.Message));
                    return;
                }
                if (Finished == null) return;
                using (var result = ended.Result()) Finished(result, ended.Status);
            }
        }

        private void Fail(Exception error)
        {
            var known = error as Cm3Exception ?? new Cm3Exception(Status.NotFound, error.Message); /* no native library */
            if (Failed != null) Failed(known);
            else Debug.LogError("Cm3leon: " + known.Message, this);
        }
    }
}
