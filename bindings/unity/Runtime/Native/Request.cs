using System;

namespace Cm3leon
{
    public enum EventKind
    {
        Text = 1,
        Token = 2,
        /// <summary>A preview of the picture, of which Rows rows of pixels from Row on are new.</summary>
        Preview = 3,
        Picture = 4,
        Progress = 5,
        End = 6
    }

    public enum EndReason
    {
        Finished = 1,
        MaxTokens = 2,
        Cancelled = 3,
        Failed = 4
    }

    /// <summary>Something that a request tells. All of it is a copy, or, the picture, a hold of its own: dispose it, or
    /// leave it to the collector.</summary>
    public sealed class RequestEvent
    {
        public EventKind Kind { get; internal set; }
        public int Candidate { get; internal set; }
        /// <summary>Text: whole characters.</summary>
        public string Text { get; internal set; }
        /// <summary>Token: its id.</summary>
        public int Token { get; internal set; }
        /// <summary>Token: Image or Text.</summary>
        public Modality Modality { get; internal set; }
        /// <summary>Token: its number; Picture, Preview: number of the picture.</summary>
        public int Index { get; internal set; }
        /// <summary>Picture, Preview; null with CodesOnly.</summary>
        public Picture Picture { get; internal set; }
        public int Row { get; internal set; }
        public int Rows { get; internal set; }
        /// <summary>Progress: tokens of all candidates together.</summary>
        public ulong Done { get; internal set; }
        public ulong Total { get; internal set; }
        /// <summary>Since the start.</summary>
        public double Seconds { get; internal set; }
        public EndReason Reason { get; internal set; }
        public Status Status { get; internal set; }
        public double LogProbability { get; internal set; }
    }

    public struct Timings
    {
        /// <summary>Seconds.</summary>
        public double Queued, Prefill, Decode, ImageDecode, Total, Tokenize, Sampling;
        public ulong PromptTokens, NewTokens;
    }

    /// <summary>
    /// One generation. One thread at a time asks it for events, a game once a frame; any may call Cancel() and
    /// HasComputed. It keeps its model.
    /// </summary>
    public sealed class Request : IDisposable
    {
        private readonly RequestHandle handle;
        private readonly Context context;
        private Status status;

        /// <summary>It has ended, and Next() has handed over all its events.</summary>
        public bool Done { get; private set; }

        private Request(Context context, RequestHandle handle)
        {
            this.context = context;
            this.handle = handle;
        }

        internal static Request Start(Model model, Document prompt, GenerateOptions options)
        {
            if (prompt == null) throw new ArgumentNullException("prompt");
            using (var pins = new Pins())
            using (var holds = new Holds())
            {
                var raw = options.Raw(pins, holds);
                RequestHandle handle;
                model.Context.Check(Native.cm3_request_start(model.Handle, prompt.Handle, ref raw, out handle));
                handle.Memory = model.Handle.Memory;
                return new Request(model.Context, handle);
            }
        }

        /// <summary>
        /// The next event, or null where none is waiting after `microseconds` (0: at once), or none will come any more:
        /// then Done is true. With a context of 0 threads this is where computing happens, for about so long. A frame:
        /// <code>
        /// for (var e = request.Next(2000); e != null; e = request.Next()) Show(e);
        /// if (request.Done) request.ThrowIfFailed();
        /// </code>
        /// </summary>
        public RequestEvent Next(ulong microseconds = 0)
        {
            if (Done) return null;
            using (var holds = new Holds())
            {
                holds.Add(handle); /* what the event points to is the request's */
                var raw = new cm3_event { struct_size = Struct.Size<cm3_event>() };
                int done;
                var now = Native.cm3_request_next_event(handle, microseconds, ref raw, out done);
                if (done != 0)
                {
                    Done = true;
                    status = now;
                    return null;
                }
                context.Check(now);
                return raw.kind == 0 ? null : Copy(raw);
            }
        }

        /// <summary>Blocks until it is done, leaving out events. Throws as ThrowIfFailed() does.</summary>
        public void Wait()
        {
            while (!Done)
            {
                var told = Next(100000);
                if (told != null && told.Picture != null) told.Picture.Dispose();
            }
            ThrowIfFailed();
        }

        /// <summary>How it ended, once Done: Ok, Cancelled, or what went wrong.</summary>
        public Status Status
        {
            get { return status; }
        }

        /// <summary>What went wrong, once Done; "" without.</summary>
        public string Message
        {
            get { return Utf8.Text(Native.cm3_request_message(handle)); }
        }

        /// <summary>Cm3Exception where it failed or was cancelled.</summary>
        public void ThrowIfFailed()
        {
            if (Done && status != Status.Ok) throw new Cm3Exception(status, Message);
        }

        /// <summary>Asks it to stop, from any thread; what was made is kept.</summary>
        public void Cancel()
        {
            if (!handle.IsClosed) Native.cm3_request_cancel(handle);
        }

        /// <summary>Computing has ended; events may still wait.</summary>
        public bool HasComputed
        {
            get { return Native.cm3_request_done(handle) != 0; }
        }

        /// <summary>The seed in use, never 0.</summary>
        public ulong Seed
        {
            get
            {
                ulong seed;
                context.Check(Native.cm3_request_seed(handle, out seed));
                return seed;
            }
        }

        /// <summary>What was made: of each candidate texts and pictures, candidates parted by breaks.</summary>
        public Document Result()
        {
            DocumentHandle document;
            context.Check(Native.cm3_request_result(handle, out document));
            return new Document(context, document);
        }

        /// <summary>With Best or Beams: the score at a place of the result, 0 the first, and whose it is.</summary>
        public double Score(int place, out int candidate)
        {
            double score;
            context.Check(Native.cm3_request_score(handle, place, out candidate, out score));
            return score;
        }

        public Timings Timings
        {
            get
            {
                var raw = new cm3_timings { struct_size = Struct.Size<cm3_timings>() };
                context.Check(Native.cm3_request_timings(handle, ref raw));
                return new Timings {
                    Queued = raw.queued,
                    Prefill = raw.prefill,
                    Decode = raw.decode,
                    ImageDecode = raw.image_decode,
                    Total = raw.total,
                    Tokenize = raw.tokenize,
                    Sampling = raw.sampling,
                    PromptTokens = raw.prompt_tokens,
                    NewTokens = raw.new_tokens
                };
            }
        }

        /// <summary>Cancels it if it runs, and waits until it has let go: no longer than a layer takes.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }

        private RequestEvent Copy(cm3_event raw)
        {
            return new RequestEvent {
                Kind = (EventKind)raw.kind,
                Candidate = raw.candidate,
                Text = Utf8.Text(raw.text, checked((int)raw.text_size.ToUInt64())),
                Token = raw.token,
                Modality = (Modality)raw.modality,
                Index = raw.index,
                Picture = raw.image == IntPtr.Zero ? null : Picture.Share(context, raw.image),
                Row = raw.row,
                Rows = raw.rows,
                Done = raw.done,
                Total = raw.total,
                Seconds = raw.seconds,
                Reason = (EndReason)raw.reason,
                Status = (Status)raw.status,
                LogProbability = raw.log_probability
            };
        }
    }
}
