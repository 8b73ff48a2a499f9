using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace Cm3leon
{
    /// <summary>Strings to UTF-8 and back by hand: netstandard2.0 has no marshalling for it.</summary>
    internal static class Utf8
    {
        private static readonly UTF8Encoding Strict = new UTF8Encoding(false, true);

        /// <summary>NUL-terminated; null stays null. ArgumentException for half a surrogate pair, or a NUL within.</summary>
        internal static byte[] Bytes(string text)
        {
            if (text == null) return null;
            if (text.IndexOf('\0') >= 0) throw new ArgumentException("the text holds a NUL character");
            try
            {
                var bytes = new byte[Strict.GetByteCount(text) + 1];
                Strict.GetBytes(text, 0, text.Length, bytes, 0);
                return bytes;
            }
            catch (EncoderFallbackException error)
            {
                throw new ArgumentException("the text holds half a surrogate pair", error);
            }
        }

        internal static string Text(byte[] bytes, int count)
        {
            return Encoding.UTF8.GetString(bytes, 0, count);
        }

        internal static string Text(IntPtr pointer, int size)
        {
            if (pointer == IntPtr.Zero) return null;
            var bytes = new byte[size];
            Marshal.Copy(pointer, bytes, 0, size);
            return Encoding.UTF8.GetString(bytes);
        }

        /// <summary>To the NUL; null of NULL.</summary>
        internal static string Text(IntPtr pointer)
        {
            if (pointer == IntPtr.Zero) return null;
            int size = 0;
            while (Marshal.ReadByte(pointer, size) != 0) size++;
            return Text(pointer, size);
        }
    }

    /// <summary>Managed memory that must lie still while native code reads it.</summary>
    internal sealed class Pins : IDisposable
    {
        private readonly List<GCHandle> held = new List<GCHandle>();

        internal IntPtr Add(Array array)
        {
            if (array == null || array.Length == 0) return IntPtr.Zero;
            var pin = GCHandle.Alloc(array, GCHandleType.Pinned);
            held.Add(pin);
            return pin.AddrOfPinnedObject();
        }

        internal IntPtr Add(string text)
        {
            return Add(Utf8.Bytes(text));
        }

        public void Dispose()
        {
            foreach (var pin in held) pin.Free();
            held.Clear();
        }
    }
}
