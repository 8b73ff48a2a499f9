using System;
using System.Collections.Generic;

namespace Cm3leon
{
    /// <summary>A value of a task: a text, or a picture, perhaps with boxes that are hidden.</summary>
    public sealed class TaskValue
    {
        public string Name;
        public string Text;
        public Picture Picture;
        public Box[] Boxes;

        public TaskValue(string name, string text)
        {
            Name = name;
            Text = text;
        }

        public TaskValue(string name, Picture picture, Box[] boxes = null)
        {
            Name = name;
            Picture = picture;
            Boxes = boxes;
        }
    }

    /// <summary>What a task's prompt asks for next.</summary>
    public struct TaskForm
    {
        /// <summary>Text or Image.</summary>
        public SegmentKind Answer;
        public bool Infill, Box;
        /// <summary>The value that an answer is all of; null: none.</summary>
        public string TextName, PictureName;
    }

    /// <summary>What a model can be asked for, as templates of documents by name. Any thread.</summary>
    public sealed class Tasks : IDisposable
    {
        private readonly TasksHandle handle;
        private readonly Context context;

        /// <param name="path">a JSON file of templates; null: the library's own</param>
        public Tasks(Context context, string path = null)
        {
            this.context = context;
            context.Check(Native.cm3_tasks_load(context.Handle, Utf8.Bytes(path), out handle));
        }

        public List<string> Names
        {
            get
            {
                var names = new List<string>();
                IntPtr name;
                while (Native.cm3_tasks_name(handle, (UIntPtr)(uint)names.Count, out name) == Status.Ok)
                {
                    names.Add(Utf8.Text(name));
                }
                return names;
            }
        }

        /// <summary>The prompt of a task: all of its template but the answer.</summary>
        public Document Prompt(string task, IList<TaskValue> values, out TaskForm form)
        {
            using (var pins = new Pins())
            using (var holds = new Holds())
            {
                var raw = Raw(values, pins, holds);
                holds.Add(handle);
                var rawForm = new cm3_task_form { struct_size = Struct.Size<cm3_task_form>() };
                DocumentHandle document;
                context.Check(Native.cm3_task_document(handle, Utf8.Bytes(task), raw, (UIntPtr)(uint)raw.Length,
                                                       out document, ref rawForm));
                form = new TaskForm {
                    Answer = (SegmentKind)rawForm.answer,
                    Infill = rawForm.infill != 0,
                    Box = rawForm.box != 0,
                    TextName = Utf8.Text(rawForm.text_name),
                    PictureName = Utf8.Text(rawForm.image_name)
                };
                return new Document(context, document);
            }
        }

        /// <summary>What guidance by pictures knows of it; for GenerateOptions.PicturePrompt.</summary>
        public Document PicturePrompt(string task, IList<TaskValue> values)
        {
            using (var pins = new Pins())
            using (var holds = new Holds())
            {
                var raw = Raw(values, pins, holds);
                DocumentHandle document;
                context.Check(Native.cm3_task_picture_prompt(handle, Utf8.Bytes(task), raw, (UIntPtr)(uint)raw.Length,
                                                             out document));
                return new Document(context, document);
            }
        }

        public void Dispose()
        {
            handle.Dispose();
        }

        private static cm3_task_value[] Raw(IList<TaskValue> values, Pins pins, Holds holds)
        {
            var raw = new cm3_task_value[values.Count];
            for (int i = 0; i < raw.Length; i++)
            {
                var value = values[i];
                raw[i].name = pins.Add(value.Name);
                raw[i].text = pins.Add(value.Text);
                raw[i].image = holds.Add(value.Picture == null ? null : value.Picture.Handle);
                raw[i].boxes = pins.Add(value.Boxes);
                raw[i].box_count = (UIntPtr)(uint)(value.Boxes == null ? 0 : value.Boxes.Length);
            }
            return raw;
        }
    }
}
