using System;
using System.Collections.Generic;

namespace Cm3leon
{
    /// <summary>
    /// A task on its way, asked for events like a request. What its template wants said before a picture (of an edit: what
    /// will be seen) is generated first, as the likeliest text, by a request of its own. One thread at a time.
    /// </summary>
    public sealed class TaskRun : IDisposable
    {
        private readonly Model model;
        private readonly Tasks tasks;
        private readonly string task;
        private readonly List<TaskValue> values;
        private readonly GenerateOptions options;
        private Request request;
        private string saying; /* the name of the text that is said first; null: the answer itself */

        /// <summary>All is answered, and Next() has handed over all events.</summary>
        public bool Done { get; private set; }

        /// <summary>What a picture shows.</summary>
        public static TaskRun Caption(Model model, Tasks tasks, Picture picture)
        {
            return new TaskRun(model, tasks, "caption", new[] { new TaskValue("image", picture) }, Text());
        }

        /// <summary>A question about a picture.</summary>
        public static TaskRun Ask(Model model, Tasks tasks, Picture picture, string question)
        {
            var values = new[] { new TaskValue("image", picture), new TaskValue("question", question) };
            return new TaskRun(model, tasks, "ask", values, Text());
        }

        /// <summary>A picture changed as an instruction says.</summary>
        public static TaskRun Edit(Model model, Tasks tasks, Picture picture, string instruction, ulong seed = 0)
        {
            var values = new[] { new TaskValue("source", picture), new TaskValue("instruction", instruction) };
            return new TaskRun(model, tasks, "edit", values, Drawing(seed));
        }

        /// <summary>Each thing in the colour of its class.</summary>
        public static TaskRun Segment(Model model, Tasks tasks, Picture picture, ulong seed = 0)
        {
            return new TaskRun(model, tasks, "segment", new[] { new TaskValue("image", picture) }, Drawing(seed));
        }

        /// <summary>What the boxes hide is drawn anew, as the caption says.</summary>
        public static TaskRun Infill(Model model, Tasks tasks, Picture picture, Box[] boxes, string caption, ulong seed = 0)
        {
            var values = new[] { new TaskValue("image", picture, boxes), new TaskValue("caption", caption) };
            return new TaskRun(model, tasks, "infill-image", values, Drawing(seed));
        }

        /// <summary>Any task by its name. options.Modality says what is wanted in the end: Text or Image.</summary>
        public TaskRun(Model model, Tasks tasks, string task, IList<TaskValue> values, GenerateOptions options)
        {
            this.model = model;
            this.tasks = tasks;
            this.task = task;
            this.values = new List<TaskValue>(values);
            this.options = options;
            Start();
        }

        /// <summary>What was said before the picture, by name.</summary>
        public IDictionary<string, string> Said { get; } = new Dictionary<string, string>();

        /// <summary>As Request.Next(); of what is said first only progress is told.</summary>
        public RequestEvent Next(ulong microseconds = 0)
        {
            while (!Done)
            {
                var told = request.Next(microseconds);
                if (told != null && (saying == null || told.Kind == EventKind.Progress)) return told;
                if (told != null) continue;
                if (!request.Done) return null;
                if (saying == null || request.Status != Status.Ok)
                {
                    Done = true;
                    return null;
                }
                GoOn();
                microseconds = 0;
            }
            return null;
        }

        public void Wait()
        {
            while (!Done)
            {
                var told = Next(100000);
                if (told != null && told.Picture != null) told.Picture.Dispose();
            }
            request.ThrowIfFailed();
        }

        public void Cancel()
        {
            request.Cancel();
        }

        /// <summary>How it ended, once Done.</summary>
        public Status Status
        {
            get { return request.Status; }
        }

        public string Message
        {
            get { return request.Message; }
        }

        public void ThrowIfFailed()
        {
            if (Done) request.ThrowIfFailed();
        }

        /// <summary>The answer's document, once Done.</summary>
        public Document Result()
        {
            return request.Result();
        }

        public void Dispose()
        {
            request.Dispose();
        }

        private static GenerateOptions Text()
        {
            return new GenerateOptions(Modality.Text) { Temperature = 0 };
        }

        private static GenerateOptions Drawing(ulong seed)
        {
            return new GenerateOptions { Seed = seed, ImageGuidanceScale = 1.5f };
        }

        private void Start()
        {
            TaskForm form;
            using (var prompt = tasks.Prompt(task, values, out form))
            {
                bool first = options.Modality == Modality.Image && form.Answer == SegmentKind.Text;
                if (first && form.TextName == null)
                {
                    throw new Cm3Exception(Status.Unsupported,
                                           "the task '" + task + "' wants a text before its picture that is no one value");
                }
                saying = first ? form.TextName : null;
                request = first ? model.Start(prompt, SayingOptions()) : StartAnswer(prompt);
            }
        }

        /// <summary>At most a quarter of the context: the picture wants room, too.</summary>
        private GenerateOptions SayingOptions()
        {
            var saying = Text();
            saying.Seed = options.Seed;
            saying.MaxTokens = model.Info.ContextLength / 4;
            return saying;
        }

        private Request StartAnswer(Document prompt)
        {
            if (options.Modality != Modality.Image) return model.Start(prompt, options);
            using (var pictures = tasks.PicturePrompt(task, values))
            {
                options.PicturePrompt = pictures;
                try
                {
                    return model.Start(prompt, options);
                }
                finally
                {
                    options.PicturePrompt = null; /* the library has copied it */
                }
            }
        }

        private void GoOn()
        {
            string text;
            using (var said = request.Result()) text = said.Texts()[0];
            Said[saying] = text;
            values.Add(new TaskValue(saying, text));
            var before = request;
            try
            {
                Start();
            }
            catch
            {
                Done = true;
                throw;
            }
            before.Dispose();
        }
    }
}
