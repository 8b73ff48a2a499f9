using System;
using System.Runtime.InteropServices;

namespace Cm3leon
{
    public enum PictureFormat
    {
        Jpeg = 1,
        Png = 2
    }

    /// <summary>An 8-bit RGB picture (cm3_image). Several threads may read it at once.</summary>
    public sealed class Picture : IDisposable
    {
        internal readonly ImageHandle Handle;
        private readonly Context context;

        internal Picture(Context context, ImageHandle handle)
        {
            this.context = context;
            Handle = handle;
        }

        /// <summary>A hold of its own on a picture that an event or a document lends.</summary>
        internal static Picture Share(Context context, IntPtr image)
        {
            context.Check(Native.cm3_image_retain(image));
            return new Picture(context, new ImageHandle(image));
        }

        /// <summary>A JPEG or PNG file.</summary>
        public static Picture Load(Context context, string path)
        {
            ImageHandle handle;
            context.Check(Native.cm3_image_load(context.Handle, Utf8.Bytes(path), out handle));
            return new Picture(context, handle);
        }

        /// <summary>The bytes of a JPEG or PNG file.</summary>
        public static Picture Load(Context context, byte[] file)
        {
            if (file == null) throw new ArgumentNullException("file");
            ImageHandle handle;
            context.Check(Native.cm3_image_load_memory(context.Handle, file, (UIntPtr)(uint)file.Length, out handle));
            return new Picture(context, handle);
        }

        /// <summary>From width * height * 3 bytes R G B, the first row on top; copied.</summary>
        public static Picture FromPixels(Context context, byte[] pixels, int width, int height)
        {
            if (pixels == null) throw new ArgumentNullException("pixels");
            if (width < 1 || height < 1 || pixels.LongLength != 3L * width * height)
            {
                throw new ArgumentException(pixels.LongLength + " bytes are no picture of " + width + " x " + height);
            }
            ImageHandle handle;
            context.Check(Native.cm3_image_from_pixels(context.Handle, pixels, width, height, UIntPtr.Zero, out handle));
            return new Picture(context, handle);
        }

        public int Width
        {
            get { return View().width; }
        }

        public int Height
        {
            get { return View().height; }
        }

        /// <summary>width * height * 3 bytes R G B.</summary>
        /// <param name="bottomUp">the lowest row first, as textures of Unity have it</param>
        public byte[] Pixels(bool bottomUp = false)
        {
            var pixels = new byte[3 * Width * Height];
            CopyPixels(pixels, bottomUp);
            return pixels;
        }

        /// <summary>The same into memory of the caller's, width * height * 3 bytes at least.</summary>
        public void CopyPixels(byte[] pixels, bool bottomUp = false)
        {
            using (var holds = new Holds())
            {
                holds.Add(Handle);
                var view = View();
                int row = 3 * view.width;
                if (pixels == null || pixels.LongLength < (long)row * view.height)
                {
                    throw new ArgumentException("the picture has " + (long)row * view.height + " bytes");
                }
                for (int y = 0; y < view.height; y++)
                {
                    var from = new IntPtr(view.pixels.ToInt64() + y * (long)view.stride.ToUInt64());
                    Marshal.Copy(from, pixels, row * (bottomUp ? view.height - 1 - y : y), row);
                }
            }
        }

        /// <summary>Writes a file, .jpg, .jpeg or .png by its ending; a file that is there is replaced as a whole.</summary>
        public void Save(string path, int jpegQuality = 95)
        {
            var options = Struct.Defaults<cm3_image_save_options>(Native.cm3_image_save_options_init);
            options.jpeg_quality = jpegQuality;
            context.Check(Native.cm3_image_save(Handle, Utf8.Bytes(path), ref options));
        }

        public byte[] Encode(PictureFormat format, int jpegQuality = 95)
        {
            var options = Struct.Defaults<cm3_image_save_options>(Native.cm3_image_save_options_init);
            options.jpeg_quality = jpegQuality;
            IntPtr data;
            UIntPtr size;
            context.Check(Native.cm3_image_encode(Handle, (int)format, ref options, out data, out size));
            try
            {
                var bytes = new byte[size.ToUInt64()];
                Marshal.Copy(data, bytes, 0, bytes.Length);
                return bytes;
            }
            finally
            {
                Native.cm3_buffer_free(context.Handle, data, size);
            }
        }

        /// <summary>Resampled, bicubic; equal to Pillow's byte for byte.</summary>
        public Picture Resize(int width, int height)
        {
            const int bicubic = 1;
            ImageHandle resized;
            context.Check(Native.cm3_image_resize(Handle, width, height, bicubic, out resized));
            return new Picture(context, resized);
        }

        public void Dispose()
        {
            Handle.Dispose();
        }

        private cm3_image_view View()
        {
            cm3_image_view view;
            context.Check(Native.cm3_image_get_view(Handle, out view));
            return view;
        }
    }
}
