using System;

namespace Cm3leon
{
    public enum LoadMode
    {
        /// <summary>The file is mapped and weights are read where they lie.</summary>
        Map = 1,
        /// <summary>Weights are copied into huge pages.</summary>
        Huge = 2
    }

    public struct ModelInfo
    {
        public bool HasLanguageModel, HasImageTokenizer, HasTokenizer, HasEncoder;
        public int VocabSize, Layers, HiddenSize;
        /// <summary>The most tokens of a document, prompt and answer together.</summary>
        public int ContextLength;
        public ulong Parameters, WeightBytes;
        /// <summary>Of the encoder's vectors; 0: there is none.</summary>
        public int EmbeddingSize;
    }

    /// <summary>Weights, immutable; any thread may use them, several at once.</summary>
    public sealed class Model : IDisposable
    {
        internal readonly ModelHandle Handle;

        public readonly Context Context;

        private Model(Context context, ModelHandle handle)
        {
            Context = context;
            Handle = handle;
        }

        /// <summary>A .cm3 file, or a folder as others publish models.</summary>
        /// <param name="verify">compare the data with the file's checksum first, which reads all of it</param>
        public static Model Load(Context context, string path, LoadMode mode = LoadMode.Map, bool verify = false)
        {
            if (path == null) throw new ArgumentNullException("path");
            var options = Options(mode, verify);
            ModelHandle handle;
            context.Check(Native.cm3_model_load(context.Handle, Utf8.Bytes(path), ref options, out handle));
            return new Model(context, handle);
        }

        /// <summary>The bytes of a .cm3 file, of which a copy is kept as long as anything uses the model.</summary>
        public static Model Load(Context context, byte[] file, bool verify = false)
        {
            if (file == null) throw new ArgumentNullException("file");
            var options = Options(LoadMode.Map, verify);
            var memory = new ModelMemory(file);
            try
            {
                ModelHandle handle;
                context.Check(Native.cm3_model_load_memory(context.Handle, memory.Data, (UIntPtr)(ulong)file.LongLength,
                                                           ref options, out handle));
                handle.Memory = memory;
                return new Model(context, handle);
            }
            finally
            {
                memory.Release(); /* handles have holds of their own */
            }
        }

        public ModelInfo Info
        {
            get
            {
                var raw = new cm3_model_info { struct_size = Struct.Size<cm3_model_info>() };
                Context.Check(Native.cm3_model_get_info(Handle, ref raw));
                return new ModelInfo {
                    HasLanguageModel = (raw.parts & 1) != 0,
                    HasImageTokenizer = (raw.parts & 2) != 0,
                    HasTokenizer = (raw.parts & 4) != 0,
                    HasEncoder = (raw.parts & 8) != 0,
                    VocabSize = raw.vocab_size,
                    Layers = raw.layers,
                    HiddenSize = raw.hidden_size,
                    ContextLength = raw.context_length,
                    Parameters = raw.lm_parameters + raw.vq_parameters + raw.encoder_parameters,
                    WeightBytes = raw.weight_bytes,
                    EmbeddingSize = raw.embedding_size
                };
            }
        }

        public Tokenizer Tokenizer()
        {
            TokenizerHandle handle;
            Context.Check(Native.cm3_model_tokenizer(Handle, out handle));
            handle.Memory = Handle.Memory;
            return new Tokenizer(Context, handle);
        }

        /// <summary>Starts a generation and returns at once.</summary>
        public Request Start(Document prompt, GenerateOptions options = null)
        {
            return Request.Start(this, prompt, options ?? new GenerateOptions());
        }

        public Request Start(string prompt, GenerateOptions options = null)
        {
            using (var document = new Document(Context, prompt)) return Start(document, options);
        }

        /// <summary>Memory that a request with such options will take beyond the model's, in bytes.</summary>
        public ulong Estimate(GenerateOptions options, int promptTokens)
        {
            using (var pins = new Pins())
            using (var holds = new Holds())
            {
                var raw = (options ?? new GenerateOptions()).Raw(pins, holds);
                var estimate = new cm3_memory_estimate { struct_size = Struct.Size<cm3_memory_estimate>() };
                Context.Check(Native.cm3_estimate(Handle, ref raw, checked((ulong)promptTokens), ref estimate));
                return estimate.cache + estimate.scratch;
            }
        }

        public void Dispose()
        {
            Handle.Dispose();
        }

        private static cm3_load_options Options(LoadMode mode, bool verify)
        {
            var options = Struct.Defaults<cm3_load_options>(Native.cm3_load_options_init);
            options.mode = (int)mode;
            options.verify_checksum = verify ? 1 : 0;
            return options;
        }
    }
}
