using System;
using System.Collections.Generic;

namespace Cm3leon
{
    /// <summary>
    /// A task on its way, asked for events like a request. What its template wants said before a picture (of an edit: what
    /// will be seen) is generated first, as the likeliest text, by a request of its own. One thread at a time; any may call
    /// Cancel().
    /// </summary>
    public sealed class TaskRun : IDisposable
    {
        private readonly Model model;
        private readonly Tasks tasks;
        private readonly string task;
        private readonly List<TaskValue> values;
        private readonly GenerateOptions options;
        private readonly bool guided; /* by its pictures alone, where there are any, beside the whole prompt */
        private readonly bool alone;  /* its pictures alone are the prompt */
        private readonly object gate = new object(); /* one request takes another's place, or is cancelled */
        private Request request;
        private volatile bool cancelled;
        private string saying; /* the name of the text that is said first; null: the answer itself */
        private Cm3Exception between; /* why it ended with a text and no answer; null: it did not */

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
            var options = new GenerateOptions { Seed = seed };
            return new TaskRun(model, tasks, "segment", new[] { new TaskValue("image", picture) }, options, false, false);
        }

        /// <summary>What the boxes hide is drawn anew, as the caption says of the whole; without one (null or "") the picture
        /// alone tells.</summary>
        public static TaskRun Infill(Model model, Tasks tasks, Picture picture, Box[] boxes, string caption = null,
                                     ulong seed = 0)
        {
            var values = new[] { new TaskValue("image", picture, boxes), new TaskValue("caption", caption ?? "") };
            bool alone = string.IsNullOrEmpty(caption);
            var options = alone ? new GenerateOptions { Seed = seed, GuidanceScale = 1 } : Drawing(seed);
            return new TaskRun(model, tasks, "infill-image", values, options, !alone, alone);
        }

        /// <summary>Any task by its name. options.Modality says what is wanted in the end: Text or Image. Where one of the
        /// values is a picture and the task ends with one, options.PicturePrompt, unless it is given, is the task's.</summary>
        public TaskRun(Model model, Tasks tasks, string task, IList<TaskValue> values, GenerateOptions options)
            : this(model, tasks, task, values, options, true, false)
        {
        }

        private TaskRun(Model model, Tasks tasks, string task, IList<TaskValue> values, GenerateOptions options,
                        bool guided, bool alone)
        {
            this.model = model;
            this.tasks = tasks;
            this.task = task;
            this.values = new List<TaskValue>(values);
            this.options = options;
            this.guided = guided;
            this.alone = alone;
            request = Start();
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
                Done = saying == null || request.Status != Status.Ok || !GoOn();
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
            ThrowIfFailed();
        }

        /// <summary>Asks it to stop, from any thread, whatever it is at.</summary>
        public void Cancel()
        {
            lock (gate)
            {
                cancelled = true;
                request.Cancel();
            }
        }

        /// <summary>How it ended, once Done.</summary>
        public Status Status
        {
            get { return between != null ? between.Status : request.Status; }
        }

        public string Message
        {
            get { return between != null ? between.Message : request.Message; }
        }

        public void ThrowIfFailed()
        {
            if (Done && Status != Status.Ok) throw new Cm3Exception(Status, Message);
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

        private Request Start()
        {
            if (alone)
            {
                using (var pictures = tasks.PicturePrompt(task, values)) return model.Start(pictures, options);
            }
            TaskForm form;
            using (var prompt = tasks.Prompt(task, values, out form))
            {
                bool first = options.Modality == Modality.Image && form.Answer == SegmentKind.Text;
                if (first && (form.TextName == null || Said.ContainsKey(form.TextName)))
                {
                    throw new Cm3Exception(Status.Unsupported, "the task '" + task + "' draws nothing, or wants a text " +
                                                                   "before its picture that is no one value");
                }
                saying = first ? form.TextName : null;
                return first ? model.Start(prompt, SayingOptions()) : StartAnswer(prompt);
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
            if (options.PicturePrompt != null) return model.Start(prompt, options);
            using (var pictures = PicturePrompt())
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

        /// <summary>Null where it would know no more than nothing: it costs a third of all that is computed.</summary>
        private Document PicturePrompt()
        {
            if (!guided || options.Modality != Modality.Image || !values.Exists(value => value.Picture != null)) return null;
            try
            {
                return tasks.PicturePrompt(task, values);
            }
            catch (Cm3Exception error) when (error.Status == Status.Unsupported)
            {
                return null; /* the picture is not what the task ends with */
            }
        }

        /// <summary>From what was said to what comes next. False: it was cancelled.</summary>
        private bool GoOn()
        {
            if (cancelled)
            {
                between = new Cm3Exception(Status.Cancelled, null);
                return false;
            }
            var before = request;
            try
            {
                KeepSaid();
                var next = Start();
                lock (gate)
                {
                    request = next;
                    if (cancelled) next.Cancel();
                }
            }
            catch (Exception error)
            {
                between = error as Cm3Exception ?? new Cm3Exception(Status.Internal, error.Message);
                Done = true;
                throw;
            }
            before.Dispose();
            return true;
        }

        private void KeepSaid()
        {
            string text;
            using (var said = request.Result()) text = said.Texts()[0];
            Said[saying] = text;
            values.Add(new TaskValue(saying, text));
        }
    }
}
