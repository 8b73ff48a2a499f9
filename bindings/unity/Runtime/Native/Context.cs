using System;

namespace Cm3leon
{
    /// <summary>The library that was found.</summary>
    public static class Library
    {
        public static string Version
        {
            get { return Utf8.Text(Native.cm3_version()); }
        }

        /// <summary>Major * 1000 + minor of its interface.</summary>
        public static uint ApiVersion
        {
            get { return Native.cm3_api_version(); }
        }

        public static string NameOf(Status status)
        {
            return Utf8.Text(Native.cm3_status_name(status));
        }

        internal static void CheckVersion()
        {
            uint major = ApiVersion / 1000;
            if (major == Cm3leon.ApiVersion.Major) return;
            throw new Cm3Exception(Status.Version,
                                   "libcm3leon " + Version + " has interface " + major + ", this package was written for " +
                                       Cm3leon.ApiVersion.Major);
        }
    }

    public struct MemoryStats
    {
        public ulong LiveBytes, PeakBytes, Allocations;
    }

    /// <summary>
    /// The root of all objects: memory and threads. Any thread may use it. Objects made from it keep what they need of
    /// it; disposing it early only gives up this hold.
    /// </summary>
    public sealed class Context : IDisposable
    {
        internal readonly ContextHandle Handle;

        /// <param name="threads">That compute: -1 one a core, n so many of the library's own; 0 none: computing happens
        /// inside Request.Next(), in slices of about its budget.</param>
        public Context(int threads = -1)
        {
            Library.CheckVersion();
            var options = Struct.Defaults<cm3_context_options>(Native.cm3_context_options_init);
            options.threads = threads;
            var status = Native.cm3_context_create(ref options, out Handle);
            if (status != Status.Ok) throw new Cm3Exception(status, "the context could not be made: " + Library.NameOf(status));
        }

        /// <summary>Held through the library's allocator; mapped files are not in it.</summary>
        public MemoryStats Memory
        {
            get
            {
                var stats = new cm3_memory_stats { struct_size = Struct.Size<cm3_memory_stats>() };
                Check(Native.cm3_context_memory(Handle, ref stats));
                return new MemoryStats {
                    LiveBytes = stats.live_bytes, PeakBytes = stats.peak_bytes, Allocations = stats.allocations
                };
            }
        }

        /// <summary>Threads that compute; 0 where the host does.</summary>
        public int Threads
        {
            get
            {
                int threads;
                IntPtr kernels;
                Check(Native.cm3_context_compute(Handle, out threads, out kernels));
                return threads;
            }
        }

        /// <summary>Kernels in use, such as "avx512".</summary>
        public string Kernels
        {
            get
            {
                int threads;
                IntPtr kernels;
                Check(Native.cm3_context_compute(Handle, out threads, out kernels));
                return Utf8.Text(kernels);
            }
        }

        public void Dispose()
        {
            Handle.Dispose();
        }

        /// <summary>The message belongs to the calling thread's last failure, so it is asked for at once.</summary>
        internal void Check(Status status)
        {
            if (status == Status.Ok) return;
            string message = Handle.IsClosed ? null : Utf8.Text(Native.cm3_context_message(Handle));
            throw new Cm3Exception(status, message);
        }
    }
}
