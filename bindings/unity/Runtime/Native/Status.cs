using System;

namespace Cm3leon
{
    /// <summary>cm3_status: what a call of the library says of its outcome. Numbers never change.</summary>
    public enum Status
    {
        Ok = 0,
        InvalidArgument = 1,
        NoMemory = 2,
        Busy = 3,
        Cancelled = 4,
        Unsupported = 5,
        Internal = 6,
        Thread = 7,
        NotFound = 10,
        IO = 11,
        NoSpace = 12,
        Format = 20,
        Version = 21,
        Truncated = 22,
        Checksum = 23,
        Utf8 = 30,
        TooLong = 31
    }

    /// <summary>A call that failed: its status, and the library's message of what, where, expected and found.</summary>
    public sealed class Cm3Exception : Exception
    {
        public Status Status { get; }

        public Cm3Exception(Status status, string message)
            : base(string.IsNullOrEmpty(message) ? Library.NameOf(status) : message)
        {
            Status = status;
        }
    }
}
