using System;

namespace Cm3leon
{
    [Flags]
    public enum EncodeFlags
    {
        Plain = 0,
        Special = 1,
        Template = 2,
        Length = 4
    }

    public struct TokenizerInfo
    {
        public int VocabSize, Sentinels, ImageCodes, ImageResolution, ImageTokens;
    }

    /// <summary>Texts to ids, pictures to codes, and back. Any thread.</summary>
    public sealed class Tokenizer : IDisposable
    {
        internal readonly TokenizerHandle Handle;
        private readonly Context context;

        internal Tokenizer(Context context, TokenizerHandle handle)
        {
            this.context = context;
            Handle = handle;
        }

        /// <summary>A tokenizer.json of Hugging Face's.</summary>
        public static Tokenizer Load(Context context, string path)
        {
            TokenizerHandle handle;
            context.Check(Native.cm3_tokenizer_load(context.Handle, Utf8.Bytes(path), out handle));
            return new Tokenizer(context, handle);
        }

        public TokenizerInfo Info
        {
            get
            {
                var raw = new cm3_tokenizer_info { struct_size = Struct.Size<cm3_tokenizer_info>() };
                context.Check(Native.cm3_tokenizer_get_info(Handle, ref raw));
                return new TokenizerInfo {
                    VocabSize = raw.vocab_size,
                    Sentinels = raw.sentinels,
                    ImageCodes = raw.image_codes,
                    ImageResolution = raw.image_resolution,
                    ImageTokens = raw.image_tokens
                };
            }
        }

        public int[] Encode(string text, EncodeFlags flags = EncodeFlags.Plain)
        {
            var bytes = Utf8.Bytes(text);
            if (bytes == null) throw new ArgumentNullException("text");
            var size = (UIntPtr)(uint)(bytes.Length - 1);
            UIntPtr count;
            context.Check(Native.cm3_tokenizer_encode(Handle, bytes, size, (uint)flags, null, UIntPtr.Zero, out count));
            var ids = new int[count.ToUInt64()];
            if (ids.Length == 0) return ids;
            context.Check(Native.cm3_tokenizer_encode(Handle, bytes, size, (uint)flags, ids, count, out count));
            return ids;
        }

        public string Decode(int[] ids, bool skipSpecial = false)
        {
            if (ids == null) throw new ArgumentNullException("ids");
            var count = (UIntPtr)(uint)ids.Length;
            int skip = skipSpecial ? 1 : 0;
            UIntPtr size;
            context.Check(Native.cm3_tokenizer_decode(Handle, ids, count, skip, null, UIntPtr.Zero, out size));
            var text = new byte[size.ToUInt64()];
            if (text.Length == 0) return "";
            context.Check(Native.cm3_tokenizer_decode(Handle, ids, count, skip, text, size, out size));
            return Utf8.Text(text, text.Length);
        }

        /// <summary>Codes, row by row; the picture is resized and cropped where its size differs.</summary>
        public int[] EncodePicture(Picture picture)
        {
            var codes = new int[Math.Max(1, Info.ImageTokens)];
            UIntPtr count;
            context.Check(Native.cm3_tokenizer_encode_image(Handle, picture.Handle, codes, (UIntPtr)(uint)codes.Length,
                                                            out count));
            return codes;
        }

        public Picture DecodePicture(int[] codes)
        {
            if (codes == null) throw new ArgumentNullException("codes");
            ImageHandle image;
            context.Check(Native.cm3_tokenizer_decode_image(Handle, codes, (UIntPtr)(uint)codes.Length, out image));
            return new Picture(context, image);
        }

        public void Dispose()
        {
            Handle.Dispose();
        }
    }
}
