using System;
using System.Runtime.InteropServices;

namespace Cm3leon
{
    /// <summary>
    /// The library's functions as the headers have them. No delegate is ever handed to native code: events are asked for
    /// one by one, so that nothing of the managed side is called from elsewhere, whatever becomes of its domain.
    /// Destructors take bare pointers, as a handle's finalizer calls them.
    /// </summary>
    internal static class Native
    {
        private const string Library = "cm3leon";
        private const CallingConvention C = CallingConvention.Cdecl;

        // --- base.h, context.h ---
        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr cm3_status_name(Status status);
        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr cm3_version();
        [DllImport(Library, CallingConvention = C)]
        internal static extern uint cm3_api_version();
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_context_options_init(IntPtr options);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_context_create(ref cm3_context_options options, out ContextHandle context);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_context_destroy(IntPtr context);
        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr cm3_context_message(ContextHandle context);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_context_memory(ContextHandle context, ref cm3_memory_stats stats);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_context_compute(ContextHandle context, out int threads, out IntPtr kernels);

        // --- model.h ---
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_load_options_init(IntPtr options);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_model_load(ContextHandle context, byte[] path, ref cm3_load_options options,
                                                     out ModelHandle model);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_model_load_memory(ContextHandle context, IntPtr data, UIntPtr size,
                                                            ref cm3_load_options options, out ModelHandle model);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_model_destroy(IntPtr model);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_model_get_info(ModelHandle model, ref cm3_model_info info);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_model_tokenizer(ModelHandle model, out TokenizerHandle tokenizer);

        // --- document.h ---
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_document_create(ContextHandle context, out DocumentHandle document);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_document_destroy(IntPtr document);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_document_add_text(DocumentHandle document, byte[] text, UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_document_add_image(DocumentHandle document, ImageHandle image);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_document_add_image_holes(DocumentHandle document, ImageHandle image, Box[] boxes,
                                                                   UIntPtr boxCount);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_document_add_break(DocumentHandle document);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_document_add_mask(DocumentHandle document, int number);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_document_append(DocumentHandle document, DocumentHandle other);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_document_count(DocumentHandle document, out UIntPtr count);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_document_get(DocumentHandle document, UIntPtr index, ref cm3_segment segment);

        // --- task.h ---
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_tasks_load(ContextHandle context, byte[] path, out TasksHandle tasks);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_tasks_destroy(IntPtr tasks);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_tasks_name(TasksHandle tasks, UIntPtr index, out IntPtr name);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_task_document(TasksHandle tasks, byte[] task, cm3_task_value[] values,
                                                        UIntPtr valueCount, out DocumentHandle document,
                                                        ref cm3_task_form form);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_task_picture_prompt(TasksHandle tasks, byte[] task, cm3_task_value[] values,
                                                              UIntPtr valueCount, out DocumentHandle document);

        // --- request.h ---
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_generate_options_init(IntPtr options);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_generate_options_for(ModelHandle model, int modality, IntPtr options);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_request_start(ModelHandle model, DocumentHandle prompt,
                                                        ref cm3_generate_options options, out RequestHandle request);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_request_next_event(RequestHandle request, ulong budgetUs, ref cm3_event told,
                                                             out int done);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_request_cancel(RequestHandle request);
        [DllImport(Library, CallingConvention = C)]
        internal static extern int cm3_request_done(RequestHandle request);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_request_seed(RequestHandle request, out ulong seed);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_request_result(RequestHandle request, out DocumentHandle result);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_request_score(RequestHandle request, int place, out int candidate,
                                                        out double score);
        [DllImport(Library, CallingConvention = C)]
        internal static extern IntPtr cm3_request_message(RequestHandle request);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_request_timings(RequestHandle request, ref cm3_timings timings);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_estimate(ModelHandle model, ref cm3_generate_options options, ulong promptTokens,
                                                   ref cm3_memory_estimate estimate);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_request_destroy(IntPtr request);

        // --- image.h ---
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_image_from_pixels(ContextHandle context, byte[] pixels, int width, int height,
                                                            UIntPtr stride, out ImageHandle image);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_image_load(ContextHandle context, byte[] path, out ImageHandle image);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_image_load_memory(ContextHandle context, byte[] data, UIntPtr size,
                                                            out ImageHandle image);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_image_save_options_init(IntPtr options);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_image_save(ImageHandle image, byte[] path, ref cm3_image_save_options options);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_image_encode(ImageHandle image, int format, ref cm3_image_save_options options,
                                                       out IntPtr data, out UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_buffer_free(ContextHandle context, IntPtr data, UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_image_get_view(ImageHandle image, out cm3_image_view view);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_image_resize(ImageHandle image, int width, int height, int filter,
                                                       out ImageHandle resized);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_image_retain(IntPtr image);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_image_destroy(IntPtr image);

        // --- tokenizer.h ---
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_tokenizer_load(ContextHandle context, byte[] path, out TokenizerHandle tokenizer);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_tokenizer_destroy(IntPtr tokenizer);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_tokenizer_encode(TokenizerHandle tokenizer, byte[] text, UIntPtr size, uint flags,
                                                           int[] ids, UIntPtr capacity, out UIntPtr count);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_tokenizer_decode(TokenizerHandle tokenizer, int[] ids, UIntPtr count,
                                                           int skipSpecial, byte[] text, UIntPtr capacity,
                                                           out UIntPtr size);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_tokenizer_get_info(TokenizerHandle tokenizer, ref cm3_tokenizer_info info);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_tokenizer_encode_image(TokenizerHandle tokenizer, ImageHandle image, int[] codes,
                                                                 UIntPtr capacity, out UIntPtr count);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_tokenizer_decode_image(TokenizerHandle tokenizer, int[] codes, UIntPtr count,
                                                                 out ImageHandle image);

        // --- bank.h, retriever.h ---
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_bank_options_init(IntPtr options);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_bank_create(ContextHandle context, byte[] path, ref cm3_bank_options options,
                                                      out BankHandle bank);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_bank_open(ContextHandle context, byte[] path, int mode, out BankHandle bank);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_bank_destroy(IntPtr bank);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_retriever_create(ModelHandle model, BankHandle bank,
                                                           out RetrieverHandle retriever);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_retriever_destroy(IntPtr retriever);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_retriever_add(RetrieverHandle retriever, ref cm3_retrieval_item item,
                                                        UIntPtr count, out ulong id);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_retrieve_options_init(IntPtr options);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_retriever_search(RetrieverHandle retriever, ref cm3_retrieval_item query,
                                                           UIntPtr count, ref cm3_retrieve_options options,
                                                           [In, Out] cm3_hit[] hits, out UIntPtr found);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_retriever_retrieve(RetrieverHandle retriever, ref cm3_retrieval_item query,
                                                             ref cm3_retrieve_options options, int room,
                                                             DocumentHandle document, [In, Out] cm3_hit[] hits,
                                                             out UIntPtr found);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_retriever_fetch(RetrieverHandle retriever, ulong id, out IntPtr record);
        [DllImport(Library, CallingConvention = C)]
        internal static extern void cm3_retriever_release(RetrieverHandle retriever, IntPtr record);
        [DllImport(Library, CallingConvention = C)]
        internal static extern Status cm3_retriever_count(RetrieverHandle retriever, out ulong count);
    }
}
