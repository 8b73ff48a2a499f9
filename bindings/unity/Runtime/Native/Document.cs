using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Cm3leon
{
    public enum SegmentKind
    {
        Text = 1,
        Image = 2,
        Break = 3,
        Mask = 4,
        Ids = 5
    }

    /// <summary>A part of a document, copied out of it; the picture is the caller's to dispose.</summary>
    public sealed class Segment
    {
        public SegmentKind Kind { get; internal set; }
        public string Text { get; internal set; }
        public Picture Picture { get; internal set; }
        /// <summary>Codes of a picture where they are known, or ids; else null.</summary>
        public int[] Codes { get; internal set; }
        public int Mask { get; internal set; }
    }

    /// <summary>What is given to a model and what comes back. One thread at a time.</summary>
    public sealed class Document : IDisposable
    {
        internal readonly DocumentHandle Handle;
        internal readonly Context Context;

        internal Document(Context context, DocumentHandle handle)
        {
            Context = context;
            Handle = handle;
        }

        public Document(Context context)
        {
            Context = context;
            context.Check(Native.cm3_document_create(context.Handle, out Handle));
        }

        public Document(Context context, string text) : this(context)
        {
            AddText(text);
        }

        public void AddText(string text)
        {
            var bytes = Utf8.Bytes(text);
            if (bytes == null) throw new ArgumentNullException("text");
            Context.Check(Native.cm3_document_add_text(Handle, bytes, (UIntPtr)(uint)(bytes.Length - 1)));
        }

        public void AddPicture(Picture picture)
        {
            Context.Check(Native.cm3_document_add_image(Handle, picture.Handle));
        }

        /// <summary>A picture of which the boxes are to be filled in.</summary>
        public void AddPictureHoles(Picture picture, Box[] boxes)
        {
            Context.Check(Native.cm3_document_add_image_holes(Handle, picture.Handle, boxes, (UIntPtr)(uint)boxes.Length));
        }

        public void AddBreak()
        {
            Context.Check(Native.cm3_document_add_break(Handle));
        }

        public void AddMask(int number)
        {
            Context.Check(Native.cm3_document_add_mask(Handle, number));
        }

        public void Append(Document other)
        {
            Context.Check(Native.cm3_document_append(Handle, other.Handle));
        }

        public int Count
        {
            get
            {
                UIntPtr count;
                Context.Check(Native.cm3_document_count(Handle, out count));
                return checked((int)count.ToUInt64());
            }
        }

        public Segment this[int index]
        {
            get
            {
                if (index < 0 || index >= Count) throw new ArgumentOutOfRangeException("index");
                using (var holds = new Holds())
                {
                    holds.Add(Handle); /* the segment points into the document */
                    var raw = new cm3_segment { struct_size = Struct.Size<cm3_segment>() };
                    Context.Check(Native.cm3_document_get(Handle, (UIntPtr)(uint)index, ref raw));
                    return Copy(raw);
                }
            }
        }

        /// <summary>The texts of all candidates, in their order; a candidate that said nothing has "".</summary>
        public List<string> Texts()
        {
            var texts = new List<string> { "" };
            for (int i = 0, count = Count; i < count; i++)
            {
                var segment = this[i];
                if (segment.Picture != null) segment.Picture.Dispose();
                if (segment.Kind == SegmentKind.Break) texts.Add("");
                if (segment.Kind == SegmentKind.Text) texts[texts.Count - 1] += segment.Text;
            }
            return texts;
        }

        /// <summary>The finished pictures, in their order; the caller's to dispose.</summary>
        public List<Picture> Pictures()
        {
            var pictures = new List<Picture>();
            for (int i = 0, count = Count; i < count; i++)
            {
                var segment = this[i];
                if (segment.Picture != null) pictures.Add(segment.Picture);
            }
            return pictures;
        }

        public void Dispose()
        {
            Handle.Dispose();
        }

        private Segment Copy(cm3_segment raw)
        {
            var segment = new Segment { Kind = (SegmentKind)raw.kind, Mask = raw.mask };
            segment.Text = Utf8.Text(raw.text, checked((int)raw.text_size.ToUInt64()));
            if (raw.image != IntPtr.Zero) segment.Picture = Picture.Share(Context, raw.image);
            if (raw.codes != IntPtr.Zero)
            {
                segment.Codes = new int[raw.code_count.ToUInt64()];
                Marshal.Copy(raw.codes, segment.Codes, 0, segment.Codes.Length);
            }
            return segment;
        }
    }
}
