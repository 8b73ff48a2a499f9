using System;
using System.Runtime.InteropServices;

// The library's structs, field by field: blittable, in the order of the headers. Names of types and fields are the
// headers' own, so that a test can compare offsets and sizes with what a C compiler says. Structs that have struct_size
// may be shorter than the library's: it leaves what it has beyond at the defaults.
namespace Cm3leon
{
#pragma warning disable 0649, 0169
    internal struct cm3_context_options
    {
        internal UIntPtr struct_size;
        internal IntPtr allocator, log, log_user;
        internal int log_level, threads;
    }

    internal struct cm3_memory_stats
    {
        internal UIntPtr struct_size;
        internal ulong live_bytes, peak_bytes, allocations;
    }

    internal struct cm3_load_options
    {
        internal UIntPtr struct_size;
        internal int mode, verify_checksum, check_weights;
        internal IntPtr vqgan, head_rows;
    }

    internal struct cm3_model_info
    {
        internal UIntPtr struct_size;
        internal uint parts;
        internal int vocab_size, hidden_size, layers, heads, kv_heads, ffn_size, context_length;
        internal ulong lm_parameters, vq_parameters, weight_bytes;
        internal int embedding_size;
        internal ulong encoder_parameters;
    }

    internal struct cm3_generate_options
    {
        internal UIntPtr struct_size;
        internal int modality;
        internal ulong seed;
        internal int candidates;
        internal float guidance_scale;
        internal IntPtr sampler;
        internal float temperature;
        internal int top_k;
        internal float top_p, repetition_penalty;
        internal int max_tokens, preview_rows, compute;
        internal uint encode_flags;
        internal float image_guidance_scale;
        internal int min_tokens;
        internal IntPtr stop_ids;
        internal UIntPtr stop_count;
        internal int ignore_stops, end_turn, codes_only, kv;
        internal float contrast_alpha;
        internal int contrast_k, contrast_candidates, scores;
        internal IntPtr picture_prompt;
        internal int best;
        internal IntPtr encoder;
        internal int beams;
    }

    internal struct cm3_event
    {
        internal UIntPtr struct_size;
        internal int kind, candidate, token, modality, index;
        internal IntPtr text;
        internal UIntPtr text_size;
        internal IntPtr image;
        internal int row, rows;
        internal ulong done, total;
        internal double seconds;
        internal int reason, status;
        internal double log_probability;
    }

    internal struct cm3_timings
    {
        internal UIntPtr struct_size;
        internal double queued, prefill, decode, image_decode, total;
        internal ulong prompt_tokens, new_tokens;
        internal double tokenize, sampling;
    }

    internal struct cm3_memory_estimate
    {
        internal UIntPtr struct_size;
        internal ulong weights, cache, scratch;
    }

    internal struct cm3_segment
    {
        internal UIntPtr struct_size;
        internal int kind;
        internal IntPtr text;
        internal UIntPtr text_size;
        internal IntPtr image, codes;
        internal UIntPtr code_count;
        internal int mask;
    }

    internal struct cm3_image_view
    {
        internal int width, height;
        internal UIntPtr stride;
        internal IntPtr pixels;
    }

    internal struct cm3_image_save_options
    {
        internal UIntPtr struct_size;
        internal int jpeg_quality, jpeg_subsampling, png_level;
    }

    internal struct cm3_tokenizer_info
    {
        internal UIntPtr struct_size;
        internal int vocab_size, sentinels, image_codes, image_resolution, image_tokens;
    }

    internal struct cm3_task_value
    {
        internal IntPtr name, text, image, codes;
        internal UIntPtr code_count;
        internal IntPtr boxes;
        internal UIntPtr box_count;
    }

    internal struct cm3_task_form
    {
        internal UIntPtr struct_size;
        internal int answer, infill, box;
        internal IntPtr image_name, text_name;
    }

    internal struct cm3_bank_options
    {
        internal UIntPtr struct_size;
        internal int vectors, dimension;
        internal IntPtr model, encoder_name;
    }

    internal struct cm3_bank_record
    {
        internal UIntPtr struct_size;
        internal ulong id;
        internal IntPtr key, text, image;
        internal UIntPtr image_size;
        internal IntPtr codes;
        internal UIntPtr code_count;
        internal IntPtr vector;
    }

    internal struct cm3_hit
    {
        internal ulong id;
        internal float score;
    }

    internal struct cm3_retrieval_item
    {
        internal UIntPtr struct_size;
        internal IntPtr key, text, image, codes;
        internal UIntPtr code_count;
    }

    internal struct cm3_retrieve_options
    {
        internal UIntPtr struct_size;
        internal int k;
        internal float most_alike, most_score;
        internal int whole_first;
        internal float query_dropout;
        internal ulong seed;
        internal int candidates;
    }
#pragma warning restore 0649, 0169

    internal static class Struct
    {
        /// <summary>Room for what a newer library's struct has beyond ours.</summary>
        private const int MostBytes = 4096;

        internal static UIntPtr Size<T>() where T : struct
        {
            return (UIntPtr)(uint)Marshal.SizeOf(typeof(T));
        }

        /// <summary>
        /// Our part of what an init function fills. The functions write all of the library's struct, which may have grown
        /// since; struct_size, the first field, is then set to ours.
        /// </summary>
        internal static T Defaults<T>(Action<IntPtr> init) where T : struct
        {
            IntPtr buffer = Marshal.AllocHGlobal(MostBytes);
            try
            {
                init(buffer);
                Marshal.WriteIntPtr(buffer, new IntPtr(Marshal.SizeOf(typeof(T))));
                return (T)Marshal.PtrToStructure(buffer, typeof(T));
            }
            finally
            {
                Marshal.FreeHGlobal(buffer);
            }
        }
    }

    /// <summary>cm3_box: a rectangle of a picture in fractions of its sides, x to the right, y down.</summary>
    public struct Box
    {
        public float X, Y, Width, Height;

        public Box(float x, float y, float width, float height)
        {
            X = x;
            Y = y;
            Width = width;
            Height = height;
        }
    }
}
