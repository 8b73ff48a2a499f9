using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Cm3leon
{
    /// <summary>A memory bank: records of text and picture in one file.</summary>
    public sealed class Bank : IDisposable
    {
        internal readonly BankHandle Handle;

        private Bank(BankHandle handle)
        {
            Handle = handle;
        }

        /// <summary>A new file, for a model with an encoder; one that is there is not replaced (Busy).</summary>
        public static Bank Create(Context context, string path, Model model)
        {
            using (var holds = new Holds())
            {
                var options = Struct.Defaults<cm3_bank_options>(Native.cm3_bank_options_init);
                options.model = holds.Add(model.Handle);
                BankHandle handle;
                context.Check(Native.cm3_bank_create(context.Handle, Utf8.Bytes(path), ref options, out handle));
                return new Bank(handle);
            }
        }

        public static Bank Open(Context context, string path, bool write = false)
        {
            BankHandle handle;
            context.Check(Native.cm3_bank_open(context.Handle, Utf8.Bytes(path), write ? 2 : 1, out handle));
            return new Bank(handle);
        }

        public void Dispose()
        {
            Handle.Dispose();
        }
    }

    /// <summary>A record that was found.</summary>
    public struct Hit
    {
        public ulong Id;
        /// <summary>Cosine, -1..1.</summary>
        public float Score;
    }

    /// <summary>Records that are like a text or a picture, for prompts. Any thread.</summary>
    public sealed class Retriever : IDisposable
    {
        private readonly RetrieverHandle handle;
        private readonly Context context;

        public Retriever(Model model, Bank bank)
        {
            context = model.Context;
            context.Check(Native.cm3_retriever_create(model.Handle, bank.Handle, out handle));
            handle.Memory = model.Handle.Memory;
        }

        public ulong Count
        {
            get
            {
                ulong count;
                context.Check(Native.cm3_retriever_count(handle, out count));
                return count;
            }
        }

        /// <summary>Keeps a text, a picture, or both. False: the same is there already.</summary>
        public bool Add(string text, Picture picture, string key = null)
        {
            using (var pins = new Pins())
            using (var holds = new Holds())
            {
                var item = Item(text, picture, key, pins, holds);
                ulong id;
                context.Check(Native.cm3_retriever_add(handle, ref item, (UIntPtr)1u, out id));
                return id != ulong.MaxValue;
            }
        }

        /// <summary>The records nearest to a text or a picture (one of them), at most k, the best first.</summary>
        public List<Hit> Search(string text, Picture picture = null, int k = 2)
        {
            using (var pins = new Pins())
            using (var holds = new Holds())
            {
                var options = Options(k);
                var query = Item(text, picture, null, pins, holds);
                var hits = new cm3_hit[Math.Max(k, 1)];
                UIntPtr found;
                context.Check(Native.cm3_retriever_search(handle, ref query, (UIntPtr)1u, ref options, hits, out found));
                return List(hits, found);
            }
        }

        /// <summary>Puts what is found before a prompt: the document must hold nothing else yet.</summary>
        public List<Hit> Retrieve(Document document, string text, Picture picture = null, int k = 2)
        {
            using (var pins = new Pins())
            using (var holds = new Holds())
            {
                var options = Options(k);
                var query = Item(text, picture, null, pins, holds);
                var hits = new cm3_hit[Math.Max(k, 1)];
                UIntPtr found;
                context.Check(Native.cm3_retriever_retrieve(handle, ref query, ref options, 0, document.Handle, hits,
                                                            out found));
                return List(hits, found);
            }
        }

        /// <summary>The text of a record; null: it has none.</summary>
        public string TextOf(ulong id)
        {
            using (var holds = new Holds())
            {
                holds.Add(handle);
                IntPtr record;
                context.Check(Native.cm3_retriever_fetch(handle, id, out record));
                try
                {
                    var raw = (cm3_bank_record)Marshal.PtrToStructure(record, typeof(cm3_bank_record));
                    return Utf8.Text(raw.text);
                }
                finally
                {
                    Native.cm3_retriever_release(handle, record);
                }
            }
        }

        public void Dispose()
        {
            handle.Dispose();
        }

        private static cm3_retrieve_options Options(int k)
        {
            var options = Struct.Defaults<cm3_retrieve_options>(Native.cm3_retrieve_options_init);
            options.k = k;
            return options;
        }

        private static cm3_retrieval_item Item(string text, Picture picture, string key, Pins pins, Holds holds)
        {
            return new cm3_retrieval_item {
                struct_size = Struct.Size<cm3_retrieval_item>(),
                key = pins.Add(key),
                text = pins.Add(text),
                image = holds.Add(picture == null ? null : picture.Handle)
            };
        }

        private static List<Hit> List(cm3_hit[] hits, UIntPtr found)
        {
            var list = new List<Hit>();
            for (uint i = 0; i < found.ToUInt32(); i++) list.Add(new Hit { Id = hits[i].id, Score = hits[i].score });
            return list;
        }
    }
}
