using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using NUnit.Framework;

namespace Cm3leon.Tests
{
    /// <summary>
    /// The layer below the engine, against the real library. The variable CM3LEON_MODEL names the shipped model;
    /// CM3LEON_BARE_MODEL one without an encoder; CM3LEON_EXPECTED a PNG that the former drew by
    /// `cm3 generate -p "a red circle at the top left" --seed 7 --threads 1`.
    /// </summary>
    public sealed class LayerTests
    {
        private const string Prompt = "a red circle at the top left";
        private Context context;
        private Model model;

        internal static string ModelPath(string variable = "CM3LEON_MODEL")
        {
            string path = Environment.GetEnvironmentVariable(variable);
            if (string.IsNullOrEmpty(path)) Assert.Ignore(variable + " names no model");
            return path;
        }

        [SetUp]
        public void SetUp()
        {
            context = new Context(1);
            model = Model.Load(context, ModelPath());
        }

        [TearDown]
        public void TearDown()
        {
            if (model != null) model.Dispose();
            if (context != null) context.Dispose();
        }

        private static Status StatusOf(Action call)
        {
            return Assert.Throws<Cm3Exception>(() => call()).Status;
        }

        private Picture Draw(GenerateOptions options, string prompt = Prompt)
        {
            using (var document = new Document(context, prompt)) return Draw(document, options);
        }

        private Picture Draw(Document prompt, GenerateOptions options)
        {
            using (var request = model.Start(prompt, options))
            {
                request.Wait();
                using (var result = request.Result()) return result.Pictures()[0];
            }
        }

        private static ulong Live(Context of)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            return of.Memory.LiveBytes;
        }

        [Test]
        public void TheLibraryIsTheRightOne()
        {
            Assert.IsTrue(Library.Version.Contains("."));
            Assert.AreEqual("out of memory", Library.NameOf(Status.NoMemory));
            Assert.AreEqual(1, context.Threads);
            using (var other = new Context(2)) Assert.AreEqual(2, other.Threads);
            Assert.Throws<Cm3Exception>(() => new Context(-7));
            Assert.IsTrue(context.Kernels.Length > 0);
        }

        [Test]
        public void AModelTellsWhatItIs()
        {
            var info = model.Info;
            Assert.IsTrue(info.HasLanguageModel && info.HasImageTokenizer && info.HasTokenizer);
            Assert.IsTrue(info.ContextLength > 16 && info.VocabSize > 100 && info.Parameters > 1000);
            Assert.AreEqual(info.HasEncoder, info.EmbeddingSize > 0);
        }

        [Test]
        public void EventsComeOneByOne()
        {
            using (var request = model.Start(Prompt, new GenerateOptions { Seed = 7, PreviewRows = 2, Candidates = 2 }))
            {
                int[] tokens = new int[2], previews = new int[2], pictures = new int[2], ends = new int[2];
                ulong done = 0, total = 1;
                while (!request.Done)
                {
                    var told = request.Next(100000);
                    if (told == null) continue;
                    if (told.Kind == EventKind.Token) Assert.AreEqual(tokens[told.Candidate]++, told.Index);
                    if (told.Kind == EventKind.Preview) previews[told.Candidate] += told.Rows;
                    if (told.Kind == EventKind.Picture) pictures[told.Candidate]++;
                    if (told.Kind == EventKind.End) Assert.AreEqual(EndReason.Finished, told.Reason);
                    if (told.Kind == EventKind.End) ends[told.Candidate]++;
                    if (told.Kind == EventKind.Progress) done = told.Done;
                    if (told.Kind == EventKind.Progress) total = told.Total;
                    if (told.Picture != null) Assert.AreEqual(SideOf(model), told.Picture.Width);
                }
                for (int i = 0; i < 2; i++)
                {
                    Assert.IsTrue(tokens[i] > 3 && previews[i] > 0);
                    Assert.AreEqual(1, pictures[i]);
                    Assert.AreEqual(1, ends[i]);
                }
                Assert.AreEqual(total, done);
                Assert.AreEqual(7ul, request.Seed);
                Assert.AreEqual(Status.Ok, request.Status);
                Assert.AreEqual("", request.Message);
                Assert.IsTrue(request.Timings.NewTokens >= (ulong)(tokens[0] + tokens[1]));
                using (var result = request.Result()) Assert.AreEqual(3, result.Count); /* picture, break, picture */
                Assert.IsNull(request.Next(1000));
            }
        }

        private static int SideOf(Model of)
        {
            using (var tokenizer = of.Tokenizer()) return tokenizer.Info.ImageResolution;
        }

        [Test]
        public void TheSameSeedDrawsTheSame()
        {
            using (var first = Draw(new GenerateOptions { Seed = 7 }))
            using (var second = Draw(new GenerateOptions { Seed = 7 }))
            {
                CollectionAssert.AreEqual(first.Pixels(), second.Pixels());
                string expected = Environment.GetEnvironmentVariable("CM3LEON_EXPECTED");
                if (string.IsNullOrEmpty(expected)) return;
                using (var command = Picture.Load(context, expected))
                    CollectionAssert.AreEqual(command.Pixels(), first.Pixels());
            }
        }

        [Test]
        public void ASeedIsPickedAndTold()
        {
            using (var request = model.Start(Prompt))
            {
                Assert.IsTrue(request.Seed != 0);
                request.Wait();
                using (var again = Draw(new GenerateOptions { Seed = request.Seed }))
                using (var result = request.Result())
                    CollectionAssert.AreEqual(result.Pictures()[0].Pixels(), again.Pixels());
            }
        }

        [Test]
        public void WithoutThreadsNextComputes()
        {
            using (var own = new Context(0))
            using (var there = Model.Load(own, ModelPath()))
            using (var request = there.Start(Prompt, new GenerateOptions { Seed = 7 }))
            {
                for (int i = 0; i < 100; i++) Assert.IsNull(request.Next());
                int frames = 0;
                for (; !request.Done; frames++)
                {
                    for (var told = request.Next(4000); told != null; told = request.Next())
                        if (told.Picture != null) Assert.AreEqual(EventKind.Picture, told.Kind);
                }
                Assert.AreEqual(Status.Ok, request.Status);
                Assert.IsTrue(frames > 5, frames + " frames");
            }
        }

        [Test]
        public void CancelKeepsWhatWasMade()
        {
            using (var request = model.Start(Prompt, new GenerateOptions { Candidates = 16 }))
            {
                int tokens = 0;
                while (tokens < 3)
                {
                    var told = request.Next(100000);
                    if (told != null && told.Kind == EventKind.Token) tokens++;
                }
                var canceller = new Thread(request.Cancel);
                canceller.Start();
                canceller.Join();
                int ends = 0;
                while (!request.Done)
                {
                    var told = request.Next(100000);
                    if (told != null && told.Kind == EventKind.End && told.Reason == EndReason.Cancelled) ends++;
                }
                Assert.AreEqual(16, ends);
                Assert.AreEqual(Status.Cancelled, request.Status);
                Assert.AreEqual(Status.Cancelled, StatusOf(request.ThrowIfFailed));
                using (var result = request.Result()) Assert.IsTrue(result.Count >= 1);
            }
        }

        [Test]
        public void ErrorsSayWhatAndWhere()
        {
            var missing = Assert.Throws<Cm3Exception>(() => Model.Load(context, "no/such/mödel.cm3"));
            Assert.AreEqual(Status.NotFound, missing.Status);
            Assert.IsTrue(missing.Message.Contains("no/such/mödel.cm3"), missing.Message);

            string path = Path.GetTempFileName();
            File.WriteAllText(path, "this is no model, and long enough to be looked at");
            var wrong = Assert.Throws<Cm3Exception>(() => Model.Load(context, path));
            Assert.IsTrue(wrong.Status == Status.Format || wrong.Status == Status.Truncated, wrong.Status.ToString());
            Assert.IsTrue(wrong.Message.Contains(Path.GetFileName(path)), wrong.Message);
            File.Delete(path);

            var options = new GenerateOptions { Candidates = 65 };
            var refused = Assert.Throws<Cm3Exception>(() => model.Start(Prompt, options));
            Assert.AreEqual(Status.InvalidArgument, refused.Status);
            Assert.IsTrue(refused.Message.Contains("candidates"), refused.Message);

            using (var request = model.Start(string.Join(" and ", new string[4000])))
            {
                var tooLong = Assert.Throws<Cm3Exception>(request.Wait);
                Assert.AreEqual(Status.TooLong, tooLong.Status);
                Assert.IsTrue(tooLong.Message.Length > 20, tooLong.Message);
            }
            Assert.Throws<ArgumentException>(() => model.Start("half a pair \ud800"));
            Assert.Throws<ArgumentException>(() => model.Start("a NUL \0 within"));
            Assert.Throws<ArgumentNullException>(() => Model.Load(context, (string)null));
        }

        [Test]
        public void WhatIsDisposedSaysSo()
        {
            var request = model.Start(Prompt);
            request.Dispose();
            request.Dispose();
            request.Cancel();
            Assert.Throws<ObjectDisposedException>(() => request.Next());
            var gone = Model.Load(context, ModelPath());
            var kept = gone.Start(Prompt);
            gone.Dispose();
            Assert.Throws<ObjectDisposedException>(() => gone.Start(Prompt));
            kept.Wait(); /* it keeps its model */
            kept.Dispose();
        }

        [Test]
        public void AModelComesFromBytes()
        {
            var file = File.ReadAllBytes(ModelPath());
            Request request;
            using (var loaded = Model.Load(context, file, true)) request = loaded.Start(Prompt, new GenerateOptions { Seed = 7 });
            Array.Clear(file, 0, file.Length); /* it was copied */
            GC.Collect();
            GC.WaitForPendingFinalizers();
            request.Wait();
            using (var result = request.Result())
            using (var picture = result.Pictures()[0])
            using (var expected = Draw(new GenerateOptions { Seed = 7 }))
                CollectionAssert.AreEqual(expected.Pixels(), picture.Pixels());
            request.Dispose();
            Assert.Throws<Cm3Exception>(() => Model.Load(context, new byte[100]));
        }

        [Test]
        public void TextsGoThroughTheTokenizer()
        {
            using (var tokenizer = model.Tokenizer())
            {
                foreach (string text in new[] { "", "a small red star", "naïve — 日本語 \U0001F98E" })
                {
                    Assert.AreEqual(text, tokenizer.Decode(tokenizer.Encode(text)));
                }
                Assert.AreEqual(0, tokenizer.Encode("").Length);
                Assert.AreEqual(Status.InvalidArgument, StatusOf(() => tokenizer.Decode(new[] { int.MaxValue })));
                using (var picture = Draw(new GenerateOptions { Seed = 3 }))
                {
                    var codes = tokenizer.EncodePicture(picture);
                    Assert.AreEqual(tokenizer.Info.ImageTokens, codes.Length);
                    using (var back = tokenizer.DecodePicture(codes)) Assert.AreEqual(picture.Width, back.Width);
                    codes[0] = tokenizer.Info.ImageCodes;
                    Assert.AreEqual(Status.InvalidArgument, StatusOf(() => tokenizer.DecodePicture(codes)));
                }
            }
        }

        [Test]
        public void PicturesAreReadAndWritten()
        {
            var pixels = new byte[5 * 3 * 3];
            for (int i = 0; i < pixels.Length; i++) pixels[i] = (byte)(i * 5);
            using (var picture = Picture.FromPixels(context, pixels, 5, 3))
            {
                CollectionAssert.AreEqual(pixels, picture.Pixels());
                var turned = picture.Pixels(true);
                for (int y = 0; y < 3; y++)
                    for (int i = 0; i < 15; i++) Assert.AreEqual(pixels[15 * y + i], turned[15 * (2 - y) + i]);
                using (var back = Picture.Load(context, picture.Encode(PictureFormat.Png)))
                    CollectionAssert.AreEqual(pixels, back.Pixels());
                Assert.AreEqual((byte)0xff, picture.Encode(PictureFormat.Jpeg, 50)[0]);
                string path = Path.Combine(Path.GetTempPath(), "cm3leon-pïcture-" + Guid.NewGuid() + ".png");
                picture.Save(path);
                using (var back = Picture.Load(context, path)) CollectionAssert.AreEqual(pixels, back.Pixels());
                File.Delete(path);
                using (var larger = picture.Resize(10, 6)) Assert.AreEqual(10 * 6 * 3, larger.Pixels().Length);
                Assert.AreEqual(Status.InvalidArgument, StatusOf(() => picture.Save("picture.bmp")));
                Assert.Throws<ArgumentException>(() => picture.CopyPixels(new byte[44]));
                Assert.Throws<ArgumentException>(() => Picture.FromPixels(context, pixels, 5, 4));
            }
            Assert.Throws<Cm3Exception>(() => Picture.Load(context, new byte[] { 1, 2, 3 }));
        }

        [Test]
        public void TasksAreAnswered()
        {
            using (var tasks = new Tasks(context))
            using (var picture = Draw(new GenerateOptions { Seed = 7 }))
            {
                CollectionAssert.Contains(tasks.Names, "edit");
                using (var caption = TaskRun.Caption(model, tasks, picture))
                {
                    string told = "";
                    while (!caption.Done)
                    {
                        var next = caption.Next(100000);
                        if (next != null && next.Kind == EventKind.Text) told += next.Text;
                    }
                    caption.ThrowIfFailed();
                    using (var result = caption.Result()) Assert.AreEqual(told, result.Texts()[0]);
                    Assert.IsTrue(told.Length > 3, told);
                }
                using (var ask = TaskRun.Ask(model, tasks, picture, "what colour is the circle?"))
                {
                    ask.Wait();
                    using (var result = ask.Result()) Assert.IsTrue(result.Texts()[0].Trim().Length > 0);
                }
                using (var edit = TaskRun.Edit(model, tasks, picture, "add a large yellow ring at the bottom", 5))
                {
                    edit.Wait();
                    Assert.IsTrue(edit.Said["caption"].Trim().Length > 3);
                    using (var result = edit.Result()) Assert.AreEqual(1, result.Pictures().Count);
                }
                var box = new[] { new Box(0.5f, 0.5f, 0.3f, 0.3f) };
                using (var infill = TaskRun.Infill(model, tasks, picture, box, Prompt, 5))
                {
                    infill.Wait();
                    using (var result = infill.Result())
                    using (var filled = result.Pictures()[0])
                    {
                        var corner = new byte[30];
                        Array.Copy(filled.Pixels(), corner, 30);
                        var before = new byte[30];
                        Array.Copy(picture.Pixels(), before, 30);
                        CollectionAssert.AreEqual(before, corner); /* only the box is drawn anew */
                    }
                }
                Assert.AreEqual(Status.NotFound, StatusOf(() => new TaskRun(model, tasks, "no such task", new TaskValue[0],
                                                                            new GenerateOptions())));
                using (var edit = TaskRun.Edit(model, tasks, picture, "remove the circle"))
                {
                    edit.Cancel();
                    while (!edit.Done) edit.Next(100000);
                    Assert.AreEqual(Status.Cancelled, edit.Status);
                }
            }
        }

        /// <summary>The run's picture is the one that is drawn for this prompt in so many words.</summary>
        private void AssertDraws(TaskRun run, Document prompt, GenerateOptions options)
        {
            run.Wait();
            using (var result = run.Result())
            using (var picture = result.Pictures()[0])
            using (var expected = Draw(prompt, options)) CollectionAssert.AreEqual(expected.Pixels(), picture.Pixels());
        }

        /// <summary>The most memory that a run takes in a context of its own: in it one stream of guidance more is seen.</summary>
        private static ulong PeakOf(Func<Model, Tasks, Picture, TaskRun> start)
        {
            using (var own = new Context(1))
            using (var there = Model.Load(own, ModelPath()))
            using (var tasks = new Tasks(own))
            using (var picture = Picture.FromPixels(own, new byte[3 * 96 * 96], 96, 96))
            using (var run = start(there, tasks, picture))
            {
                run.Wait();
                return own.Memory.PeakBytes;
            }
        }

        [Test]
        public void OnlyWhatFollowsPicturesPaysForThem()
        {
            const ulong Stream = 200000; /* bytes; one of them takes much more */
            Func<Model, Tasks, Picture, Document, TaskRun> generate = (there, tasks, picture, pictures) => new TaskRun(
                there, tasks, "generate", new[] { new TaskValue("caption", Prompt) }, new GenerateOptions {
                    Seed = 5, PicturePrompt = pictures });
            ulong without = PeakOf((there, tasks, picture) => generate(there, tasks, picture, null));
            ulong with = PeakOf((there, tasks, picture) => {
                using (var pictures = tasks.PicturePrompt("generate", new[] { new TaskValue("caption", Prompt) }))
                    return generate(there, tasks, picture, pictures);
            });
            Assert.IsTrue(without + Stream < with, "generate: " + without + " and " + with);
            ulong segment = PeakOf((there, tasks, picture) => TaskRun.Segment(there, tasks, picture, 5));
            ulong any = PeakOf((there, tasks, picture) => new TaskRun(there, tasks, "segment", new[] {
                new TaskValue("image", picture) }, new GenerateOptions { Seed = 5 }));
            Assert.IsTrue(segment + Stream < any, "segment: " + segment + " and " + any);
        }

        [Test]
        public void ATaskWithoutAPictureIsDrawnAsItsText()
        {
            var values = new[] { new TaskValue("caption", Prompt) };
            using (var tasks = new Tasks(context))
            using (var run = new TaskRun(model, tasks, "generate", values, new GenerateOptions { Seed = 7 }))
            using (var prompt = new Document(context, Prompt)) AssertDraws(run, prompt, new GenerateOptions { Seed = 7 });
        }

        /// <summary>There guidance by pictures is not to be had.</summary>
        [Test]
        public void APictureMayStandBeforeATaskEnds()
        {
            const string Templates = "{\"tasks\": {\"mine\": [{\"image\": \"like\"}, \"break\", {\"image\": \"image\", " +
                                     "\"answer\": true}, \"break\", {\"text\": \"{caption}\"}]}}";
            string path = Path.GetTempFileName();
            File.WriteAllText(path, Templates);
            using (var tasks = new Tasks(context, path))
            using (var like = Draw(new GenerateOptions { Seed = 7 }))
            {
                TaskForm form;
                var values = new[] { new TaskValue("like", like), new TaskValue("caption", Prompt) };
                using (var run = new TaskRun(model, tasks, "mine", values, new GenerateOptions { Seed = 7 }))
                using (var prompt = tasks.Prompt("mine", values, out form))
                    AssertDraws(run, prompt, new GenerateOptions { Seed = 7 });
            }
            File.Delete(path);
        }

        [Test]
        public void InfillWantsNoCaption()
        {
            var box = new[] { new Box(0.5f, 0.5f, 0.3f, 0.3f) };
            using (var tasks = new Tasks(context))
            using (var picture = Draw(new GenerateOptions { Seed = 7 }))
            {
                var values = new[] { new TaskValue("image", picture, box), new TaskValue("caption", "") };
                foreach (string caption in new[] { null, "" })
                {
                    using (var run = TaskRun.Infill(model, tasks, picture, box, caption, 5))
                    using (var prompt = tasks.PicturePrompt("infill-image", values))
                        AssertDraws(run, prompt, new GenerateOptions { Seed = 5, GuidanceScale = 1 });
                }
            }
        }

        [Test]
        public void ATaskIsCancelledBetweenItsSteps()
        {
            using (var tasks = new Tasks(context))
            using (var picture = Draw(new GenerateOptions { Seed = 7 }))
            using (var edit = TaskRun.Edit(model, tasks, picture, "remove the circle", 5))
            {
                WaitForTheSameWords(tasks, picture, "remove the circle");
                edit.Cancel(); /* all has been said, and nothing is drawn before Next() */
                while (!edit.Done) edit.Next(100000);
                Assert.AreEqual(Status.Cancelled, edit.Status);
                Assert.AreEqual(Status.Cancelled, StatusOf(edit.ThrowIfFailed));
                Assert.AreEqual(Status.Cancelled, StatusOf(edit.Wait));
            }
        }

        [Test]
        public void ATaskThatDrawsNothingIsRefused()
        {
            using (var tasks = new Tasks(context))
            using (var picture = Draw(new GenerateOptions { Seed = 7 }))
            using (var run = new TaskRun(model, tasks, "caption", new[] { new TaskValue("image", picture) },
                                         new GenerateOptions { Seed = 5 }))
            {
                Assert.AreEqual(Status.Unsupported, StatusOf(run.Wait));
                Assert.IsTrue(run.Done);
                Assert.AreEqual(Status.Unsupported, run.Status);
                Assert.IsTrue(run.Message.Contains("caption"), run.Message);
            }
        }

        /// <summary>A request that was started before with the same prompt has computed when this one has.</summary>
        private void WaitForTheSameWords(Tasks tasks, Picture picture, string instruction)
        {
            TaskForm form;
            var values = new[] { new TaskValue("source", picture), new TaskValue("instruction", instruction) };
            var options = new GenerateOptions(Modality.Text) { Temperature = 0, MaxTokens = model.Info.ContextLength / 4 };
            using (var prompt = tasks.Prompt("edit", values, out form))
            using (var request = model.Start(prompt, options)) request.Wait();
        }

        private static string NewBankPath()
        {
            return Path.Combine(Path.GetTempPath(), "cm3leon-" + Guid.NewGuid() + ".bank");
        }

        [Test]
        public void ABankWantsAnEncoder()
        {
            string path = NewBankPath();
            using (var bare = Model.Load(context, ModelPath("CM3LEON_BARE_MODEL")))
            {
                Assert.AreEqual(0, bare.Info.EmbeddingSize);
                var refused = Assert.Throws<Cm3Exception>(() => Bank.Create(context, path, bare));
                Assert.AreEqual(Status.InvalidArgument, refused.Status);
                Assert.IsTrue(refused.Message.Contains("encoder"), refused.Message);
            }
            Assert.IsFalse(File.Exists(path));
        }

        [Test]
        public void RecordsAreLookedUp()
        {
            string path = NewBankPath();
            using (var bank = Bank.Create(context, path, model))
            using (var retriever = new Retriever(model, bank))
            using (var picture = Draw(new GenerateOptions { Seed = 7 }))
            {
                Assert.IsTrue(retriever.Add("a red circle", picture, "circle"));
                Assert.IsFalse(retriever.Add("a red circle", picture, "once more"));
                Assert.IsTrue(retriever.Add("a blue star at the bottom", null));
                Assert.AreEqual(2ul, retriever.Count);
                var hits = retriever.Search("a blue star at the bottom", null, 2);
                Assert.IsTrue(hits.Count >= 1 && hits.Count <= 2);
                var texts = new List<string>();
                foreach (var hit in hits) texts.Add(retriever.TextOf(hit.Id));
                CollectionAssert.Contains(texts, "a blue star at the bottom");
                using (var prompt = new Document(context))
                {
                    Assert.IsTrue(retriever.Retrieve(prompt, "a red circle", null, 1).Count == 1);
                    prompt.AddText("a red circle");
                    using (var request = model.Start(prompt, new GenerateOptions { Seed = 1 })) request.Wait();
                }
                Assert.AreEqual(Status.NotFound, StatusOf(() => retriever.TextOf(99)));
            }
            using (Bank.Open(context, path)) Assert.AreEqual(Status.Busy, StatusOf(() => Bank.Create(context, path, model)));
            File.Delete(path);
        }

        [Test]
        public void MemoryIsEstimated()
        {
            ulong one = model.Estimate(new GenerateOptions(), 20), four = model.Estimate(new GenerateOptions { Candidates = 4 }, 20);
            Assert.IsTrue(one > 0 && four > one);
        }

        [Test]
        public void ArraysAndHandlesInOptionsLastForTheCall()
        {
            int[] stops;
            using (var tokenizer = model.Tokenizer()) stops = tokenizer.Encode("a");
            var options = new GenerateOptions(Modality.Text) { StopIds = stops, MaxTokens = 8, Scores = true, Temperature = 0 };
            using (var request = model.Start("a small", options))
            {
                double score = 1;
                while (!request.Done)
                {
                    var told = request.Next(100000);
                    if (told != null && told.Kind == EventKind.End) score = told.LogProbability;
                }
                Assert.AreEqual(Status.Ok, request.Status);
                Assert.IsTrue(score <= 0);
            }
        }

        /// <summary>Two hundred of everything, half of it left to the collector, give all memory back.</summary>
        [Test]
        public void NothingLeaks()
        {
            for (int i = 0; i < 20; i++) Cycle(i); /* the pools of the run-time fill */
            ulong live = Live(context);
            long resident = Resident();
            for (int i = 0; i < 200; i++)
            {
                Cycle(i);
                if (i % 10 == 9) Live(context);
            }
            // What a stack still seems to name goes some cycles later, and a thread may be about to free its last piece. A
            // request alone is above 1,500 bytes: of two hundred none would be within the bound.
            ulong most = live + 16384;
            for (int i = 0; i < 20 && Live(context) > most; i++) Cycle(2);
            Assert.IsTrue(Live(context) <= most, live + " bytes became " + Live(context));
            if (resident > 0) Assert.IsTrue(Resident() < resident * 1.03 + 2e6, resident + " became " + Resident());
        }

        private void Cycle(int number)
        {
            var request = model.Start(Prompt, new GenerateOptions { PreviewRows = 1 });
            for (int i = 0; i < 3; i++) request.Next(2000);
            request.Cancel();
            if (number % 2 == 0) request.Dispose();
            if (number % 8 != 0) return;
            var own = new Context(1);
            var there = Model.Load(own, ModelPath());
            var running = there.Start(Prompt);
            running.Next(1000);
            if (number % 16 == 0) return; /* all of it is the collector's, in whatever order */
            running.Dispose();
            there.Dispose();
            own.Dispose();
        }

        /// <summary>Bytes, on Linux; elsewhere 0.</summary>
        private static long Resident()
        {
            if (!File.Exists("/proc/self/status")) return 0;
            foreach (string line in File.ReadAllLines("/proc/self/status"))
            {
                if (line.StartsWith("VmRSS:")) return 1024 * long.Parse(line.Substring(6).Replace("kB", "").Trim());
            }
            return 0;
        }
    }
}
