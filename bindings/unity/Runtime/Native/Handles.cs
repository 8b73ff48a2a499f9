using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;

// The library counts references itself: whatever order the collector takes them in, nothing is freed that is still in use.
namespace Cm3leon
{
    /// <summary>A copy of a model file, which must outlive every handle that holds the model: each counts.</summary>
    internal sealed class ModelMemory
    {
        private const int Alignment = 64;
        private readonly IntPtr block;
        private int count;

        internal readonly IntPtr Data;

        internal ModelMemory(byte[] bytes)
        {
            block = Marshal.AllocHGlobal(new IntPtr(bytes.LongLength + Alignment));
            Data = new IntPtr((block.ToInt64() + Alignment - 1) / Alignment * Alignment);
            Marshal.Copy(bytes, 0, Data, bytes.Length);
            count = 1;
        }

        internal void Retain()
        {
            Interlocked.Increment(ref count);
        }

        internal void Release()
        {
            if (Interlocked.Decrement(ref count) == 0) Marshal.FreeHGlobal(block);
        }
    }

    internal abstract class Cm3Handle : SafeHandle
    {
        private ModelMemory memory;

        protected Cm3Handle() : base(IntPtr.Zero, true)
        {
        }

        public override bool IsInvalid
        {
            get { return handle == IntPtr.Zero; }
        }

        internal ModelMemory Memory
        {
            get { return memory; }
            set
            {
                if (value != null) value.Retain();
                memory = value;
            }
        }

        protected sealed override bool ReleaseHandle()
        {
            Destroy(handle);
            if (memory != null) memory.Release();
            return true;
        }

        protected abstract void Destroy(IntPtr pointer);
    }

    internal sealed class ContextHandle : Cm3Handle
    {
        protected override void Destroy(IntPtr pointer)
        {
            Native.cm3_context_destroy(pointer);
        }
    }

    internal sealed class ModelHandle : Cm3Handle
    {
        protected override void Destroy(IntPtr pointer)
        {
            Native.cm3_model_destroy(pointer);
        }
    }

    internal sealed class DocumentHandle : Cm3Handle
    {
        protected override void Destroy(IntPtr pointer)
        {
            Native.cm3_document_destroy(pointer);
        }
    }

    internal sealed class RequestHandle : Cm3Handle
    {
        protected override void Destroy(IntPtr pointer)
        {
            Native.cm3_request_destroy(pointer);
        }
    }

    internal sealed class ImageHandle : Cm3Handle
    {
        internal ImageHandle()
        {
        }

        /// <summary>Takes over a hold that was taken for it.</summary>
        internal ImageHandle(IntPtr pointer)
        {
            SetHandle(pointer);
        }

        protected override void Destroy(IntPtr pointer)
        {
            Native.cm3_image_destroy(pointer);
        }
    }

    internal sealed class TokenizerHandle : Cm3Handle
    {
        protected override void Destroy(IntPtr pointer)
        {
            Native.cm3_tokenizer_destroy(pointer);
        }
    }

    internal sealed class TasksHandle : Cm3Handle
    {
        protected override void Destroy(IntPtr pointer)
        {
            Native.cm3_tasks_destroy(pointer);
        }
    }

    internal sealed class BankHandle : Cm3Handle
    {
        protected override void Destroy(IntPtr pointer)
        {
            Native.cm3_bank_destroy(pointer);
        }
    }

    internal sealed class RetrieverHandle : Cm3Handle
    {
        protected override void Destroy(IntPtr pointer)
        {
            Native.cm3_retriever_destroy(pointer);
        }
    }

    /// <summary>Keeps handles alive whose pointers stand in a struct, for as long as a call lasts.</summary>
    internal sealed class Holds : IDisposable
    {
        private readonly List<SafeHandle> held = new List<SafeHandle>();

        internal IntPtr Add(SafeHandle handle)
        {
            if (handle == null) return IntPtr.Zero;
            bool added = false;
            handle.DangerousAddRef(ref added);
            if (added) held.Add(handle);
            return handle.DangerousGetHandle();
        }

        public void Dispose()
        {
            foreach (var handle in held) handle.DangerousRelease();
            held.Clear();
        }
    }
}
