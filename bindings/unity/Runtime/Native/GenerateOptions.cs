using System;

namespace Cm3leon
{
    public enum Modality
    {
        /// <summary>Exactly one picture.</summary>
        Image = 1,
        /// <summary>Text until its end or MaxTokens.</summary>
        Text = 2,
        /// <summary>Text, in which pictures may be opened.</summary>
        Interleaved = 3,
        Free = 4,
        /// <summary>The prompt's holes are filled in.</summary>
        Infill = 5
    }

    public enum Compute
    {
        Auto = 0,
        F32 = 1,
        BF16 = 2
    }

    public enum CacheType
    {
        Auto = 0,
        F32 = 1,
        BF16 = 2,
        Int8 = 3
    }

    /// <summary>How to generate (cm3_generate_options); new ones have the library's defaults.</summary>
    public sealed class GenerateOptions
    {
        private cm3_generate_options raw;

        public GenerateOptions(Modality modality = Modality.Image)
        {
            raw = Struct.Defaults<cm3_generate_options>(Native.cm3_generate_options_init);
            raw.modality = (int)modality;
        }

        /// <summary>With what the model's authors published for it.</summary>
        public static GenerateOptions For(Model model, Modality modality = Modality.Image)
        {
            var options = new GenerateOptions(modality);
            options.raw = Struct.Defaults<cm3_generate_options>(
                buffer => model.Context.Check(Native.cm3_generate_options_for(model.Handle, (int)modality, buffer)));
            return options;
        }

        public Modality Modality
        {
            get { return (Modality)raw.modality; }
            set { raw.modality = (int)value; }
        }

        /// <summary>The same seed draws the same; 0: one is picked, which Request.Seed tells.</summary>
        public ulong Seed
        {
            get { return raw.seed; }
            set { raw.seed = value; }
        }

        /// <summary>1..64 answers to the prompt.</summary>
        public int Candidates
        {
            get { return raw.candidates; }
            set { raw.candidates = value; }
        }

        /// <summary>Above 0: only so many, the best, are in the result; the likeliest, or by Encoder.</summary>
        public int Best
        {
            get { return raw.best; }
            set { raw.best = value; }
        }

        /// <summary>A model with CLIP's two towers that judges pictures for Best.</summary>
        public Model Encoder { get; set; }

        /// <summary>How closely pictures follow the text; 1 is none.</summary>
        public float GuidanceScale
        {
            get { return raw.guidance_scale; }
            set { raw.guidance_scale = value; }
        }

        /// <summary>How closely they follow the prompt's pictures.</summary>
        public float ImageGuidanceScale
        {
            get { return raw.image_guidance_scale; }
            set { raw.image_guidance_scale = value; }
        }

        /// <summary>What guidance by pictures knows; see Tasks.PicturePrompt().</summary>
        public Document PicturePrompt { get; set; }

        /// <summary>0 takes the likeliest token.</summary>
        public float Temperature
        {
            get { return raw.temperature; }
            set { raw.temperature = value; }
        }

        public int TopK
        {
            get { return raw.top_k; }
            set { raw.top_k = value; }
        }

        public float TopP
        {
            get { return raw.top_p; }
            set { raw.top_p = value; }
        }

        public float RepetitionPenalty
        {
            get { return raw.repetition_penalty; }
            set { raw.repetition_penalty = value; }
        }

        /// <summary>Above 0: contrastive decoding of pictures in place of guidance.</summary>
        public float ContrastAlpha
        {
            get { return raw.contrast_alpha; }
            set { raw.contrast_alpha = value; }
        }

        public int ContrastK
        {
            get { return raw.contrast_k; }
            set { raw.contrast_k = value; }
        }

        public int ContrastCandidates
        {
            get { return raw.contrast_candidates; }
            set { raw.contrast_candidates = value; }
        }

        /// <summary>Of text; 0: what the context leaves.</summary>
        public int MaxTokens
        {
            get { return raw.max_tokens; }
            set { raw.max_tokens = value; }
        }

        public int MinTokens
        {
            get { return raw.min_tokens; }
            set { raw.min_tokens = value; }
        }

        /// <summary>Tokens that end a text, beside the model's own.</summary>
        public int[] StopIds { get; set; }

        public bool IgnoreStops
        {
            get { return raw.ignore_stops != 0; }
            set { raw.ignore_stops = value ? 1 : 0; }
        }

        /// <summary>The prompt is a turn of a talk (Chameleon).</summary>
        public bool EndTurn
        {
            get { return raw.end_turn != 0; }
            set { raw.end_turn = value ? 1 : 0; }
        }

        /// <summary>Above 1: beam search of that width, of text.</summary>
        public int Beams
        {
            get { return raw.beams; }
            set { raw.beams = value; }
        }

        /// <summary>Above 0: a preview of the picture each so many finished rows of its tokens.</summary>
        public int PreviewRows
        {
            get { return raw.preview_rows; }
            set { raw.preview_rows = value; }
        }

        /// <summary>Pictures stay codes.</summary>
        public bool CodesOnly
        {
            get { return raw.codes_only != 0; }
            set { raw.codes_only = value ? 1 : 0; }
        }

        /// <summary>End events tell the candidate's log-probability.</summary>
        public bool Scores
        {
            get { return raw.scores != 0; }
            set { raw.scores = value ? 1 : 0; }
        }

        /// <summary>Of the prompt's texts: Plain, Special, Template.</summary>
        public EncodeFlags Encoding
        {
            get { return (EncodeFlags)raw.encode_flags; }
            set { raw.encode_flags = (uint)value; }
        }

        public Compute Compute
        {
            get { return (Compute)raw.compute; }
            set { raw.compute = (int)value; }
        }

        public CacheType Cache
        {
            get { return (CacheType)raw.kv; }
            set { raw.kv = (int)value; }
        }

        /// <summary>For one call, which copies what the pointers name.</summary>
        internal cm3_generate_options Raw(Pins pins, Holds holds)
        {
            var options = raw;
            options.stop_ids = pins.Add(StopIds);
            options.stop_count = (UIntPtr)(uint)(StopIds == null ? 0 : StopIds.Length);
            options.picture_prompt = holds.Add(PicturePrompt == null ? null : PicturePrompt.Handle);
            options.encoder = holds.Add(Encoder == null ? null : Encoder.Handle);
            return options;
        }
    }
}
