"""The C interface of libcm3leon, one to one: every struct, enum and function of its headers.

Written by generate_capi.py from include/cm3leon/*.h; not to be changed by hand. The headers say what things do.
"""
from __future__ import annotations

from ctypes import CFUNCTYPE, POINTER, Structure
from ctypes import c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64
from ctypes import c_void_p
from typing import Any, Callable, Dict, List, Tuple

from ._lib import bind as _bind
from ._lib import check as _check

CM3_API_VERSION_MAJOR = 1
CM3_API_VERSION_MINOR = 0
CM3_NO_RECORD = 18446744073709551615
CM3_VERSION_MAJOR = 0
CM3_VERSION_MINOR = 1
CM3_VERSION_PATCH = 0
CM3_VERSION_STRING = "0.1.0"

cm3_status = c_int
CM3_OK = 0
CM3_ERROR_INVALID_ARGUMENT = 1
CM3_ERROR_NO_MEMORY = 2
CM3_ERROR_BUSY = 3
CM3_ERROR_CANCELLED = 4
CM3_ERROR_UNSUPPORTED = 5
CM3_ERROR_INTERNAL = 6
CM3_ERROR_THREAD = 7
CM3_ERROR_NOT_FOUND = 10
CM3_ERROR_IO = 11
CM3_ERROR_NO_SPACE = 12
CM3_ERROR_FORMAT = 20
CM3_ERROR_VERSION = 21
CM3_ERROR_TRUNCATED = 22
CM3_ERROR_CHECKSUM = 23
CM3_ERROR_UTF8 = 30
CM3_ERROR_TOO_LONG = 31
cm3_status_name = _bind("cm3_status_name", c_char_p, [cm3_status])
cm3_version = _bind("cm3_version", c_char_p, [])
cm3_api_version = _bind("cm3_api_version", c_uint32, [])
cm3_allocator_alloc = CFUNCTYPE(c_void_p, c_void_p, c_size_t, c_size_t)
cm3_allocator_free = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t)


class cm3_allocator(Structure):
    alloc: Any
    free: Any
    user: Any
    _fields_ = [
        ("alloc", cm3_allocator_alloc),
        ("free", cm3_allocator_free),
        ("user", c_void_p),
    ]


cm3_log_level = c_int
CM3_LOG_ERROR = 10
CM3_LOG_WARNING = 20
CM3_LOG_INFO = 30
CM3_LOG_DEBUG = 40
cm3_log_fn = CFUNCTYPE(None, c_void_p, cm3_log_level, c_char_p)
cm3_io_read_at = CFUNCTYPE(c_int, c_void_p, c_uint64, c_void_p, c_size_t)


class cm3_io(Structure):
    struct_size: int
    read_at: Any
    size: int
    user: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("read_at", cm3_io_read_at),
        ("size", c_uint64),
        ("user", c_void_p),
    ]


class cm3_context(Structure):
    """Opaque."""


class cm3_context_options(Structure):
    struct_size: int
    allocator: Any
    log: Any
    log_user: Any
    log_level: int
    threads: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("allocator", POINTER(cm3_allocator)),
        ("log", cm3_log_fn),
        ("log_user", c_void_p),
        ("log_level", cm3_log_level),
        ("threads", c_int),
    ]

cm3_context_options_init = _bind("cm3_context_options_init", None, [POINTER(cm3_context_options)])
cm3_context_create = _bind("cm3_context_create", cm3_status, [
    POINTER(cm3_context_options), POINTER(POINTER(cm3_context)),
])
cm3_context_destroy = _bind("cm3_context_destroy", None, [POINTER(cm3_context)])
cm3_context_message = _bind("cm3_context_message", c_char_p, [POINTER(cm3_context)])


class cm3_memory_stats(Structure):
    struct_size: int
    live_bytes: int
    peak_bytes: int
    allocations: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("live_bytes", c_uint64),
        ("peak_bytes", c_uint64),
        ("allocations", c_uint64),
    ]

cm3_context_memory = _bind("cm3_context_memory", cm3_status, [POINTER(cm3_context), POINTER(cm3_memory_stats)])
cm3_context_compute = _bind("cm3_context_compute", cm3_status, [
    POINTER(cm3_context), POINTER(c_int), POINTER(c_char_p),
])


class cm3_image(Structure):
    """Opaque."""


class cm3_image_view(Structure):
    width: int
    height: int
    stride: int
    pixels: Any
    _fields_ = [
        ("width", c_int32),
        ("height", c_int32),
        ("stride", c_size_t),
        ("pixels", POINTER(c_uint8)),
    ]


cm3_image_format = c_int
CM3_IMAGE_JPEG = 1
CM3_IMAGE_PNG = 2

cm3_filter = c_int
CM3_FILTER_BICUBIC = 1
CM3_FILTER_LANCZOS = 2
cm3_image_create = _bind("cm3_image_create", cm3_status, [
    POINTER(cm3_context), c_int32, c_int32, POINTER(POINTER(cm3_image)),
])
cm3_image_from_pixels = _bind("cm3_image_from_pixels", cm3_status, [
    POINTER(cm3_context), POINTER(c_uint8), c_int32, c_int32, c_size_t, POINTER(POINTER(cm3_image)),
])
cm3_image_load = _bind("cm3_image_load", cm3_status, [POINTER(cm3_context), c_char_p, POINTER(POINTER(cm3_image))])
cm3_image_load_memory = _bind("cm3_image_load_memory", cm3_status, [
    POINTER(cm3_context), c_void_p, c_size_t, POINTER(POINTER(cm3_image)),
])


class cm3_image_save_options(Structure):
    struct_size: int
    jpeg_quality: int
    jpeg_subsampling: int
    png_level: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("jpeg_quality", c_int32),
        ("jpeg_subsampling", c_int32),
        ("png_level", c_int32),
    ]

cm3_image_save_options_init = _bind("cm3_image_save_options_init", None, [POINTER(cm3_image_save_options)])
cm3_image_save = _bind("cm3_image_save", cm3_status, [POINTER(cm3_image), c_char_p, POINTER(cm3_image_save_options)])
cm3_image_encode = _bind("cm3_image_encode", cm3_status, [
    POINTER(cm3_image), cm3_image_format, POINTER(cm3_image_save_options), POINTER(POINTER(c_uint8)), POINTER(c_size_t),
])
cm3_buffer_free = _bind("cm3_buffer_free", None, [POINTER(cm3_context), c_void_p, c_size_t])
cm3_image_get_view = _bind("cm3_image_get_view", cm3_status, [POINTER(cm3_image), POINTER(cm3_image_view)])
cm3_image_resize = _bind("cm3_image_resize", cm3_status, [
    POINTER(cm3_image), c_int32, c_int32, cm3_filter, POINTER(POINTER(cm3_image)),
])
cm3_image_crop = _bind("cm3_image_crop", cm3_status, [
    POINTER(cm3_image), c_int32, c_int32, c_int32, c_int32, POINTER(POINTER(cm3_image)),
])
cm3_image_contact_sheet = _bind("cm3_image_contact_sheet", cm3_status, [
    POINTER(cm3_context), POINTER(POINTER(cm3_image)), c_size_t, c_int32, c_int32, POINTER(POINTER(cm3_image)),
])
cm3_image_retain = _bind("cm3_image_retain", cm3_status, [POINTER(cm3_image)])
cm3_image_destroy = _bind("cm3_image_destroy", None, [POINTER(cm3_image)])


class cm3_tokenizer(Structure):
    """Opaque."""


cm3_token_role = c_int
CM3_TOKEN_EOD = 1
CM3_TOKEN_PAD = 2
CM3_TOKEN_BREAK = 3
CM3_TOKEN_BEGIN_IMAGE = 4
CM3_TOKEN_END_IMAGE = 5
CM3_TOKEN_END_SPAN = 6
CM3_TOKEN_SENTINEL = 7
CM3_TOKEN_IMAGE = 8
CM3_TOKEN_BOS = 9
CM3_TOKEN_END_TURN = 10
cm3_tokenizer_load = _bind("cm3_tokenizer_load", cm3_status, [
    POINTER(cm3_context), c_char_p, POINTER(POINTER(cm3_tokenizer)),
])
cm3_tokenizer_save = _bind("cm3_tokenizer_save", cm3_status, [POINTER(cm3_tokenizer), c_char_p])
cm3_tokenizer_destroy = _bind("cm3_tokenizer_destroy", None, [POINTER(cm3_tokenizer)])

cm3_encode_flags = c_int
CM3_ENCODE_PLAIN = 0
CM3_ENCODE_SPECIAL = 1
CM3_ENCODE_TEMPLATE = 2
CM3_ENCODE_LENGTH = 4
cm3_tokenizer_encode = _bind("cm3_tokenizer_encode", cm3_status, [
    POINTER(cm3_tokenizer), c_char_p, c_size_t, c_uint32, POINTER(c_int32), c_size_t, POINTER(c_size_t),
])
cm3_tokenizer_decode = _bind("cm3_tokenizer_decode", cm3_status, [
    POINTER(cm3_tokenizer), POINTER(c_int32), c_size_t, c_int, POINTER(c_char), c_size_t, POINTER(c_size_t),
])


class cm3_tokenizer_info(Structure):
    struct_size: int
    vocab_size: int
    sentinels: int
    image_codes: int
    image_resolution: int
    image_tokens: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("vocab_size", c_int32),
        ("sentinels", c_int32),
        ("image_codes", c_int32),
        ("image_resolution", c_int32),
        ("image_tokens", c_int32),
    ]

cm3_tokenizer_get_info = _bind("cm3_tokenizer_get_info", cm3_status, [
    POINTER(cm3_tokenizer), POINTER(cm3_tokenizer_info),
])
cm3_tokenizer_special = _bind("cm3_tokenizer_special", cm3_status, [
    POINTER(cm3_tokenizer), cm3_token_role, c_int32, POINTER(c_int32),
])
cm3_tokenizer_encode_image = _bind("cm3_tokenizer_encode_image", cm3_status, [
    POINTER(cm3_tokenizer), POINTER(cm3_image), POINTER(c_int32), c_size_t, POINTER(c_size_t),
])

cm3_preprocessing = c_int
CM3_PREPROCESSING_AUTO = 0
CM3_PREPROCESSING_META = 1
CM3_PREPROCESSING_HF = 2
cm3_tokenizer_encode_image_as = _bind("cm3_tokenizer_encode_image_as", cm3_status, [
    POINTER(cm3_tokenizer), POINTER(cm3_image), cm3_preprocessing, POINTER(c_int32), c_size_t, POINTER(c_size_t),
])
cm3_tokenizer_decode_image = _bind("cm3_tokenizer_decode_image", cm3_status, [
    POINTER(cm3_tokenizer), POINTER(c_int32), c_size_t, POINTER(POINTER(cm3_image)),
])


class cm3_model(Structure):
    """Opaque."""


cm3_load_mode = c_int
CM3_LOAD_MAP = 1
CM3_LOAD_HUGE = 2


class cm3_load_options(Structure):
    struct_size: int
    mode: int
    verify_checksum: int
    check_weights: int
    vqgan: Any
    head_rows: Any
    max_bytes: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("mode", cm3_load_mode),
        ("verify_checksum", c_int),
        ("check_weights", c_int),
        ("vqgan", c_char_p),
        ("head_rows", c_char_p),
        ("max_bytes", c_uint64),
    ]

cm3_load_options_init = _bind("cm3_load_options_init", None, [POINTER(cm3_load_options)])
cm3_model_load = _bind("cm3_model_load", cm3_status, [
    POINTER(cm3_context), c_char_p, POINTER(cm3_load_options), POINTER(POINTER(cm3_model)),
])
cm3_model_load_memory = _bind("cm3_model_load_memory", cm3_status, [
    POINTER(cm3_context), c_void_p, c_size_t, POINTER(cm3_load_options), POINTER(POINTER(cm3_model)),
])
cm3_model_load_io = _bind("cm3_model_load_io", cm3_status, [
    POINTER(cm3_context), POINTER(cm3_io), POINTER(cm3_load_options), POINTER(POINTER(cm3_model)),
])

cm3_weight_type = c_int
CM3_WEIGHTS_AUTO = 0
CM3_WEIGHTS_KEEP = 1
CM3_WEIGHTS_F32 = 2
CM3_WEIGHTS_BF16 = 3
CM3_WEIGHTS_Q8 = 4
CM3_WEIGHTS_Q4 = 5
cm3_convert_options_on_progress = CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64)


class cm3_convert_options(Structure):
    struct_size: int
    weights: int
    embeddings: int
    head: int
    block: int
    vqgan: Any
    head_rows: Any
    on_progress: Any
    user: Any
    encoder: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("weights", cm3_weight_type),
        ("embeddings", cm3_weight_type),
        ("head", cm3_weight_type),
        ("block", c_int32),
        ("vqgan", c_char_p),
        ("head_rows", c_char_p),
        ("on_progress", cm3_convert_options_on_progress),
        ("user", c_void_p),
        ("encoder", c_char_p),
    ]

cm3_convert_options_init = _bind("cm3_convert_options_init", None, [POINTER(cm3_convert_options)])
cm3_model_convert = _bind("cm3_model_convert", cm3_status, [
    POINTER(cm3_context), c_char_p, c_char_p, POINTER(cm3_convert_options),
])
cm3_model_retain = _bind("cm3_model_retain", cm3_status, [POINTER(cm3_model)])
cm3_model_destroy = _bind("cm3_model_destroy", None, [POINTER(cm3_model)])

cm3_model_parts = c_int
CM3_PART_LM = 1
CM3_PART_VQ = 2
CM3_PART_TOKENIZER = 4
CM3_PART_ENCODER = 8


class cm3_model_info(Structure):
    struct_size: int
    parts: int
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    ffn_size: int
    context_length: int
    lm_parameters: int
    vq_parameters: int
    weight_bytes: int
    embedding_size: int
    encoder_parameters: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("parts", c_uint32),
        ("vocab_size", c_int32),
        ("hidden_size", c_int32),
        ("layers", c_int32),
        ("heads", c_int32),
        ("kv_heads", c_int32),
        ("ffn_size", c_int32),
        ("context_length", c_int32),
        ("lm_parameters", c_uint64),
        ("vq_parameters", c_uint64),
        ("weight_bytes", c_uint64),
        ("embedding_size", c_int32),
        ("encoder_parameters", c_uint64),
    ]

cm3_model_get_info = _bind("cm3_model_get_info", cm3_status, [POINTER(cm3_model), POINTER(cm3_model_info)])
cm3_model_config_json = _bind("cm3_model_config_json", cm3_status, [POINTER(cm3_model), POINTER(c_char_p)])
cm3_model_tokenizer = _bind("cm3_model_tokenizer", cm3_status, [POINTER(cm3_model), POINTER(POINTER(cm3_tokenizer))])

cm3_compute = c_int
CM3_COMPUTE_AUTO = 0
CM3_COMPUTE_F32 = 1
CM3_COMPUTE_BF16 = 2
cm3_model_logits = _bind("cm3_model_logits", cm3_status, [
    POINTER(cm3_model), POINTER(c_int32), c_size_t, cm3_compute, POINTER(c_float),
])
cm3_model_hidden = _bind("cm3_model_hidden", cm3_status, [
    POINTER(cm3_model), POINTER(c_int32), c_size_t, cm3_compute, POINTER(c_float),
])
cm3_model_embed_texts = _bind("cm3_model_embed_texts", cm3_status, [
    POINTER(cm3_model), POINTER(c_char_p), c_size_t, c_int, POINTER(c_float),
])
cm3_model_embed_images = _bind("cm3_model_embed_images", cm3_status, [
    POINTER(cm3_model), POINTER(POINTER(cm3_image)), c_size_t, c_int, POINTER(c_float),
])


class cm3_bank(Structure):
    """Opaque."""


cm3_vector_type = c_int
CM3_VECTORS_F32 = 1
CM3_VECTORS_BF16 = 2
CM3_VECTORS_INT8 = 3


class cm3_bank_options(Structure):
    struct_size: int
    vectors: int
    dimension: int
    model: Any
    encoder_name: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("vectors", cm3_vector_type),
        ("dimension", c_int32),
        ("model", POINTER(cm3_model)),
        ("encoder_name", c_char_p),
    ]

cm3_bank_options_init = _bind("cm3_bank_options_init", None, [POINTER(cm3_bank_options)])
cm3_bank_create = _bind("cm3_bank_create", cm3_status, [
    POINTER(cm3_context), c_char_p, POINTER(cm3_bank_options), POINTER(POINTER(cm3_bank)),
])

cm3_bank_mode = c_int
CM3_BANK_READ = 1
CM3_BANK_WRITE = 2
cm3_bank_open = _bind("cm3_bank_open", cm3_status, [
    POINTER(cm3_context), c_char_p, cm3_bank_mode, POINTER(POINTER(cm3_bank)),
])
cm3_bank_retain = _bind("cm3_bank_retain", cm3_status, [POINTER(cm3_bank)])
cm3_bank_destroy = _bind("cm3_bank_destroy", None, [POINTER(cm3_bank)])


class cm3_bank_info(Structure):
    struct_size: int
    records: int
    deleted: int
    end: int
    indexed: int
    bytes: int
    left_over: int
    dimension: int
    vectors: int
    encoder_name: Any
    encoder_hash: Any
    image_hash: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("records", c_uint64),
        ("deleted", c_uint64),
        ("end", c_uint64),
        ("indexed", c_uint64),
        ("bytes", c_uint64),
        ("left_over", c_uint64),
        ("dimension", c_int32),
        ("vectors", cm3_vector_type),
        ("encoder_name", c_char_p),
        ("encoder_hash", c_uint64 * 2),
        ("image_hash", c_uint64 * 2),
    ]

cm3_bank_get_info = _bind("cm3_bank_get_info", cm3_status, [POINTER(cm3_bank), POINTER(cm3_bank_info)])
cm3_bank_check_model = _bind("cm3_bank_check_model", cm3_status, [POINTER(cm3_bank), POINTER(cm3_model), c_char_p])
cm3_bank_refresh = _bind("cm3_bank_refresh", cm3_status, [POINTER(cm3_bank)])


class cm3_bank_record(Structure):
    struct_size: int
    id: int
    key: Any
    text: Any
    image: Any
    image_size: int
    codes: Any
    code_count: int
    vector: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("id", c_uint64),
        ("key", c_char_p),
        ("text", c_char_p),
        ("image", c_void_p),
        ("image_size", c_size_t),
        ("codes", POINTER(c_int32)),
        ("code_count", c_size_t),
        ("vector", POINTER(c_float)),
    ]


class cm3_bank_add_options(Structure):
    struct_size: int
    near_duplicate: float
    sync: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("near_duplicate", c_float),
        ("sync", c_int),
    ]

cm3_bank_add_options_init = _bind("cm3_bank_add_options_init", None, [POINTER(cm3_bank_add_options)])
cm3_bank_add = _bind("cm3_bank_add", cm3_status, [
    POINTER(cm3_bank), POINTER(cm3_bank_record), c_size_t, POINTER(cm3_bank_add_options), POINTER(c_uint64),
])
cm3_bank_delete = _bind("cm3_bank_delete", cm3_status, [POINTER(cm3_bank), POINTER(c_uint64), c_size_t])
cm3_bank_get = _bind("cm3_bank_get", cm3_status, [POINTER(cm3_bank), c_uint64, POINTER(POINTER(cm3_bank_record))])
cm3_bank_record_destroy = _bind("cm3_bank_record_destroy", None, [POINTER(cm3_bank), POINTER(cm3_bank_record)])
cm3_bank_next = _bind("cm3_bank_next", cm3_status, [POINTER(cm3_bank), POINTER(c_uint64)])
cm3_bank_find = _bind("cm3_bank_find", cm3_status, [POINTER(cm3_bank), c_char_p, POINTER(c_uint64)])


class cm3_hit(Structure):
    id: int
    score: float
    _fields_ = [
        ("id", c_uint64),
        ("score", c_float),
    ]


cm3_search_way = c_int
CM3_SEARCH_AUTO = 0
CM3_SEARCH_EXACT = 1
CM3_SEARCH_GRAPH = 2
cm3_search_options_filter = CFUNCTYPE(c_int, c_void_p, c_uint64)


class cm3_search_options(Structure):
    struct_size: int
    k: int
    filter: Any
    user: Any
    way: int
    ef: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("k", c_int32),
        ("filter", cm3_search_options_filter),
        ("user", c_void_p),
        ("way", cm3_search_way),
        ("ef", c_int32),
    ]

cm3_search_options_init = _bind("cm3_search_options_init", None, [POINTER(cm3_search_options)])
cm3_bank_search = _bind("cm3_bank_search", cm3_status, [
    POINTER(cm3_bank), POINTER(c_float), c_size_t, POINTER(cm3_search_options), POINTER(cm3_hit), POINTER(c_size_t),
])
cm3_index_options_on_progress = CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64)


class cm3_index_options(Structure):
    struct_size: int
    m: int
    ef_construction: int
    least: int
    seed: int
    on_progress: Any
    user: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("m", c_int32),
        ("ef_construction", c_int32),
        ("least", c_uint64),
        ("seed", c_uint64),
        ("on_progress", cm3_index_options_on_progress),
        ("user", c_void_p),
    ]

cm3_index_options_init = _bind("cm3_index_options_init", None, [POINTER(cm3_index_options)])
cm3_bank_index = _bind("cm3_bank_index", cm3_status, [POINTER(cm3_bank), POINTER(cm3_index_options)])
cm3_bank_fault_fn = CFUNCTYPE(None, c_void_p, c_char_p)
cm3_bank_work_options_on_progress = CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64)


class cm3_bank_work_options(Structure):
    struct_size: int
    on_progress: Any
    on_fault: Any
    user: Any
    no_graph: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("on_progress", cm3_bank_work_options_on_progress),
        ("on_fault", cm3_bank_fault_fn),
        ("user", c_void_p),
        ("no_graph", c_int),
    ]

cm3_bank_work_options_init = _bind("cm3_bank_work_options_init", None, [POINTER(cm3_bank_work_options)])
cm3_bank_verify = _bind("cm3_bank_verify", cm3_status, [POINTER(cm3_context), c_char_p, POINTER(cm3_bank_work_options)])
cm3_bank_compact = _bind("cm3_bank_compact", cm3_status, [POINTER(cm3_bank), POINTER(cm3_bank_work_options)])
cm3_bank_merge = _bind("cm3_bank_merge", cm3_status, [
    POINTER(cm3_bank), POINTER(cm3_bank), POINTER(cm3_bank_work_options), POINTER(c_uint64),
])


class cm3_document(Structure):
    """Opaque."""


cm3_segment_kind = c_int
CM3_SEGMENT_TEXT = 1
CM3_SEGMENT_IMAGE = 2
CM3_SEGMENT_BREAK = 3
CM3_SEGMENT_MASK = 4
CM3_SEGMENT_IDS = 5


class cm3_segment(Structure):
    struct_size: int
    kind: int
    text: Any
    text_size: int
    image: Any
    codes: Any
    code_count: int
    mask: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("kind", cm3_segment_kind),
        ("text", c_char_p),
        ("text_size", c_size_t),
        ("image", POINTER(cm3_image)),
        ("codes", POINTER(c_int32)),
        ("code_count", c_size_t),
        ("mask", c_int32),
    ]

cm3_document_create = _bind("cm3_document_create", cm3_status, [POINTER(cm3_context), POINTER(POINTER(cm3_document))])
cm3_document_destroy = _bind("cm3_document_destroy", None, [POINTER(cm3_document)])
cm3_document_add_text = _bind("cm3_document_add_text", cm3_status, [POINTER(cm3_document), c_char_p, c_size_t])
cm3_document_add_image = _bind("cm3_document_add_image", cm3_status, [POINTER(cm3_document), POINTER(cm3_image)])


class cm3_box(Structure):
    x: float
    y: float
    width: float
    height: float
    _fields_ = [
        ("x", c_float),
        ("y", c_float),
        ("width", c_float),
        ("height", c_float),
    ]

cm3_document_add_image_holes = _bind("cm3_document_add_image_holes", cm3_status, [
    POINTER(cm3_document), POINTER(cm3_image), POINTER(cm3_box), c_size_t,
])
cm3_document_add_codes = _bind("cm3_document_add_codes", cm3_status, [
    POINTER(cm3_document), POINTER(c_int32), c_size_t,
])
cm3_document_add_break = _bind("cm3_document_add_break", cm3_status, [POINTER(cm3_document)])
cm3_document_add_mask = _bind("cm3_document_add_mask", cm3_status, [POINTER(cm3_document), c_int32])
cm3_document_add_ids = _bind("cm3_document_add_ids", cm3_status, [POINTER(cm3_document), POINTER(c_int32), c_size_t])
cm3_document_add_prompt = _bind("cm3_document_add_prompt", cm3_status, [
    POINTER(cm3_document), c_char_p, POINTER(POINTER(cm3_image)), c_size_t,
])
cm3_document_add_retrieved = _bind("cm3_document_add_retrieved", cm3_status, [
    POINTER(cm3_document), c_char_p, POINTER(cm3_image), POINTER(c_int32), c_size_t,
])
cm3_document_append = _bind("cm3_document_append", cm3_status, [POINTER(cm3_document), POINTER(cm3_document)])
cm3_document_count = _bind("cm3_document_count", cm3_status, [POINTER(cm3_document), POINTER(c_size_t)])
cm3_document_get = _bind("cm3_document_get", cm3_status, [POINTER(cm3_document), c_size_t, POINTER(cm3_segment)])


class cm3_sampler(Structure):
    """Opaque."""


class cm3_sampler_step(Structure):
    struct_size: int
    logits: Any
    vocab_size: int
    history: Any
    history_count: int
    prompt_count: int
    candidate: int
    modality: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("logits", POINTER(c_float)),
        ("vocab_size", c_int32),
        ("history", POINTER(c_int32)),
        ("history_count", c_size_t),
        ("prompt_count", c_size_t),
        ("candidate", c_int32),
        ("modality", c_int32),
    ]

cm3_sampler_rule_apply = CFUNCTYPE(c_int, c_void_p, POINTER(cm3_sampler_step))
cm3_sampler_rule_destroy = CFUNCTYPE(None, c_void_p)


class cm3_sampler_rule(Structure):
    struct_size: int
    apply: Any
    destroy: Any
    user: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("apply", cm3_sampler_rule_apply),
        ("destroy", cm3_sampler_rule_destroy),
        ("user", c_void_p),
    ]

cm3_sampler_create = _bind("cm3_sampler_create", cm3_status, [POINTER(cm3_context), POINTER(POINTER(cm3_sampler))])
cm3_sampler_destroy = _bind("cm3_sampler_destroy", None, [POINTER(cm3_sampler)])
cm3_sampler_add_temperature = _bind("cm3_sampler_add_temperature", cm3_status, [POINTER(cm3_sampler), c_float])
cm3_sampler_add_top_k = _bind("cm3_sampler_add_top_k", cm3_status, [POINTER(cm3_sampler), c_int32])
cm3_sampler_add_top_p = _bind("cm3_sampler_add_top_p", cm3_status, [POINTER(cm3_sampler), c_float])
cm3_sampler_add_repetition_penalty = _bind("cm3_sampler_add_repetition_penalty", cm3_status, [
    POINTER(cm3_sampler), c_float,
])
cm3_sampler_add_rule = _bind("cm3_sampler_add_rule", cm3_status, [POINTER(cm3_sampler), POINTER(cm3_sampler_rule)])
cm3_sampler_sample = _bind("cm3_sampler_sample", cm3_status, [
    POINTER(cm3_sampler), POINTER(c_float), c_int32, POINTER(c_int32), c_size_t, c_uint64, c_uint32, c_uint32,
    POINTER(c_int32),
])

cm3_modality = c_int
CM3_MODALITY_IMAGE = 1
CM3_MODALITY_TEXT = 2
CM3_MODALITY_INTERLEAVED = 3
CM3_MODALITY_FREE = 4
CM3_MODALITY_INFILL = 5

cm3_kv_type = c_int
CM3_KV_AUTO = 0
CM3_KV_F32 = 1
CM3_KV_BF16 = 2
CM3_KV_INT8 = 3


class cm3_generate_options(Structure):
    struct_size: int
    modality: int
    seed: int
    candidates: int
    guidance_scale: float
    sampler: Any
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    max_tokens: int
    preview_rows: int
    compute: int
    encode_flags: int
    image_guidance_scale: float
    min_tokens: int
    stop_ids: Any
    stop_count: int
    ignore_stops: int
    end_turn: int
    codes_only: int
    kv: int
    contrast_alpha: float
    contrast_k: int
    contrast_candidates: int
    scores: int
    picture_prompt: Any
    best: int
    encoder: Any
    beams: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("modality", cm3_modality),
        ("seed", c_uint64),
        ("candidates", c_int32),
        ("guidance_scale", c_float),
        ("sampler", POINTER(cm3_sampler)),
        ("temperature", c_float),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("repetition_penalty", c_float),
        ("max_tokens", c_int32),
        ("preview_rows", c_int32),
        ("compute", cm3_compute),
        ("encode_flags", c_uint32),
        ("image_guidance_scale", c_float),
        ("min_tokens", c_int32),
        ("stop_ids", POINTER(c_int32)),
        ("stop_count", c_size_t),
        ("ignore_stops", c_int32),
        ("end_turn", c_int32),
        ("codes_only", c_int32),
        ("kv", cm3_kv_type),
        ("contrast_alpha", c_float),
        ("contrast_k", c_int32),
        ("contrast_candidates", c_int32),
        ("scores", c_int32),
        ("picture_prompt", POINTER(cm3_document)),
        ("best", c_int32),
        ("encoder", POINTER(cm3_model)),
        ("beams", c_int32),
    ]

cm3_generate_options_init = _bind("cm3_generate_options_init", None, [POINTER(cm3_generate_options)])
cm3_generate_options_for = _bind("cm3_generate_options_for", cm3_status, [
    POINTER(cm3_model), cm3_modality, POINTER(cm3_generate_options),
])

cm3_event_kind = c_int
CM3_EVENT_NONE = 0
CM3_EVENT_TEXT = 1
CM3_EVENT_TOKEN = 2
CM3_EVENT_IMAGE_ROWS = 3
CM3_EVENT_IMAGE = 4
CM3_EVENT_PROGRESS = 5
CM3_EVENT_END = 6

cm3_end_reason = c_int
CM3_END_FINISHED = 1
CM3_END_MAX_TOKENS = 2
CM3_END_CANCELLED = 3
CM3_END_FAILED = 4


class cm3_event(Structure):
    struct_size: int
    kind: int
    candidate: int
    token: int
    modality: int
    index: int
    text: Any
    text_size: int
    image: Any
    row: int
    rows: int
    done: int
    total: int
    seconds: float
    reason: int
    status: int
    log_probability: float
    _fields_ = [
        ("struct_size", c_size_t),
        ("kind", cm3_event_kind),
        ("candidate", c_int32),
        ("token", c_int32),
        ("modality", c_int32),
        ("index", c_int32),
        ("text", c_char_p),
        ("text_size", c_size_t),
        ("image", POINTER(cm3_image)),
        ("row", c_int32),
        ("rows", c_int32),
        ("done", c_uint64),
        ("total", c_uint64),
        ("seconds", c_double),
        ("reason", cm3_end_reason),
        ("status", cm3_status),
        ("log_probability", c_double),
    ]

cm3_event_fn = CFUNCTYPE(c_int, c_void_p, POINTER(cm3_event))
cm3_generate = _bind("cm3_generate", cm3_status, [
    POINTER(cm3_model), POINTER(cm3_document), POINTER(cm3_generate_options), cm3_event_fn, c_void_p,
    POINTER(POINTER(cm3_document)),
])


class cm3_request(Structure):
    """Opaque."""

cm3_request_start = _bind("cm3_request_start", cm3_status, [
    POINTER(cm3_model), POINTER(cm3_document), POINTER(cm3_generate_options), POINTER(POINTER(cm3_request)),
])
cm3_request_poll = _bind("cm3_request_poll", cm3_status, [
    POINTER(cm3_request), c_uint64, cm3_event_fn, c_void_p, POINTER(c_int),
])
cm3_request_next_event = _bind("cm3_request_next_event", cm3_status, [
    POINTER(cm3_request), c_uint64, POINTER(cm3_event), POINTER(c_int),
])
cm3_request_wait = _bind("cm3_request_wait", cm3_status, [POINTER(cm3_request), cm3_event_fn, c_void_p])
cm3_request_cancel = _bind("cm3_request_cancel", None, [POINTER(cm3_request)])
cm3_request_done = _bind("cm3_request_done", c_int, [POINTER(cm3_request)])
cm3_request_seed = _bind("cm3_request_seed", cm3_status, [POINTER(cm3_request), POINTER(c_uint64)])
cm3_request_result = _bind("cm3_request_result", cm3_status, [POINTER(cm3_request), POINTER(POINTER(cm3_document))])
cm3_request_score = _bind("cm3_request_score", cm3_status, [
    POINTER(cm3_request), c_int32, POINTER(c_int32), POINTER(c_double),
])
cm3_request_message = _bind("cm3_request_message", c_char_p, [POINTER(cm3_request)])


class cm3_timings(Structure):
    struct_size: int
    queued: float
    prefill: float
    decode: float
    image_decode: float
    total: float
    prompt_tokens: int
    new_tokens: int
    tokenize: float
    sampling: float
    _fields_ = [
        ("struct_size", c_size_t),
        ("queued", c_double),
        ("prefill", c_double),
        ("decode", c_double),
        ("image_decode", c_double),
        ("total", c_double),
        ("prompt_tokens", c_uint64),
        ("new_tokens", c_uint64),
        ("tokenize", c_double),
        ("sampling", c_double),
    ]

cm3_request_timings = _bind("cm3_request_timings", cm3_status, [POINTER(cm3_request), POINTER(cm3_timings)])


class cm3_memory_estimate(Structure):
    struct_size: int
    weights: int
    cache: int
    scratch: int
    load: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("weights", c_uint64),
        ("cache", c_uint64),
        ("scratch", c_uint64),
        ("load", c_uint64),
    ]

cm3_estimate = _bind("cm3_estimate", cm3_status, [
    POINTER(cm3_model), POINTER(cm3_generate_options), c_uint64, POINTER(cm3_memory_estimate),
])
cm3_estimate_file = _bind("cm3_estimate_file", cm3_status, [
    POINTER(cm3_context), c_char_p, POINTER(cm3_load_options), POINTER(cm3_generate_options), c_uint64,
    POINTER(cm3_memory_estimate),
])
cm3_request_destroy = _bind("cm3_request_destroy", None, [POINTER(cm3_request)])


class cm3_retriever(Structure):
    """Opaque."""

cm3_retrieval_engine_search = CFUNCTYPE(cm3_status, c_void_p, POINTER(c_float), c_size_t, c_int32, c_int32,
        POINTER(cm3_hit), POINTER(c_size_t))
cm3_retrieval_engine_fetch = CFUNCTYPE(cm3_status, c_void_p, c_uint64, POINTER(POINTER(cm3_bank_record)))
cm3_retrieval_engine_release = CFUNCTYPE(None, c_void_p, POINTER(cm3_bank_record))
cm3_retrieval_engine_add = CFUNCTYPE(cm3_status, c_void_p, POINTER(cm3_bank_record), c_size_t, POINTER(c_uint64))
cm3_retrieval_engine_count = CFUNCTYPE(cm3_status, c_void_p, POINTER(c_uint64))
cm3_retrieval_engine_message = CFUNCTYPE(c_char_p, c_void_p)
cm3_retrieval_engine_destroy = CFUNCTYPE(None, c_void_p)


class cm3_retrieval_engine(Structure):
    struct_size: int
    search: Any
    fetch: Any
    release: Any
    add: Any
    count: Any
    message: Any
    destroy: Any
    user: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("search", cm3_retrieval_engine_search),
        ("fetch", cm3_retrieval_engine_fetch),
        ("release", cm3_retrieval_engine_release),
        ("add", cm3_retrieval_engine_add),
        ("count", cm3_retrieval_engine_count),
        ("message", cm3_retrieval_engine_message),
        ("destroy", cm3_retrieval_engine_destroy),
        ("user", c_void_p),
    ]


class cm3_encoder_identity(Structure):
    struct_size: int
    dimension: int
    encoder_hash: Any
    image_hash: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("dimension", c_int32),
        ("encoder_hash", c_uint64 * 2),
        ("image_hash", c_uint64 * 2),
    ]

cm3_model_encoder_identity = _bind("cm3_model_encoder_identity", cm3_status, [
    POINTER(cm3_model), POINTER(cm3_encoder_identity),
])
cm3_retriever_create = _bind("cm3_retriever_create", cm3_status, [
    POINTER(cm3_model), POINTER(cm3_bank), POINTER(POINTER(cm3_retriever)),
])
cm3_retriever_create_with = _bind("cm3_retriever_create_with", cm3_status, [
    POINTER(cm3_model), POINTER(cm3_retrieval_engine), POINTER(POINTER(cm3_retriever)),
])
cm3_retriever_destroy = _bind("cm3_retriever_destroy", None, [POINTER(cm3_retriever)])


class cm3_retrieval_item(Structure):
    struct_size: int
    key: Any
    text: Any
    image: Any
    codes: Any
    code_count: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("key", c_char_p),
        ("text", c_char_p),
        ("image", POINTER(cm3_image)),
        ("codes", POINTER(c_int32)),
        ("code_count", c_size_t),
    ]

cm3_retriever_embed = _bind("cm3_retriever_embed", cm3_status, [
    POINTER(cm3_retriever), POINTER(cm3_retrieval_item), c_size_t, POINTER(c_float),
])
cm3_retriever_add = _bind("cm3_retriever_add", cm3_status, [
    POINTER(cm3_retriever), POINTER(cm3_retrieval_item), c_size_t, POINTER(c_uint64),
])
cm3_retriever_refuse_near = _bind("cm3_retriever_refuse_near", cm3_status, [POINTER(cm3_retriever), c_float])
cm3_retriever_import_progress = CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64)
cm3_retriever_import = _bind("cm3_retriever_import", cm3_status, [
    POINTER(cm3_retriever), POINTER(c_char_p), c_size_t, cm3_retriever_import_progress, c_void_p, POINTER(c_uint64),
])


class cm3_retrieve_options(Structure):
    struct_size: int
    k: int
    most_alike: float
    most_score: float
    whole_first: int
    query_dropout: float
    seed: int
    candidates: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("k", c_int32),
        ("most_alike", c_float),
        ("most_score", c_float),
        ("whole_first", c_int),
        ("query_dropout", c_float),
        ("seed", c_uint64),
        ("candidates", c_int32),
    ]

cm3_retrieve_options_init = _bind("cm3_retrieve_options_init", None, [POINTER(cm3_retrieve_options)])
cm3_retriever_search = _bind("cm3_retriever_search", cm3_status, [
    POINTER(cm3_retriever), POINTER(cm3_retrieval_item), c_size_t, POINTER(cm3_retrieve_options), POINTER(cm3_hit),
    POINTER(c_size_t),
])
cm3_retriever_retrieve = _bind("cm3_retriever_retrieve", cm3_status, [
    POINTER(cm3_retriever), POINTER(cm3_retrieval_item), POINTER(cm3_retrieve_options), c_int32, POINTER(cm3_document),
    POINTER(cm3_hit), POINTER(c_size_t),
])
cm3_retriever_fetch = _bind("cm3_retriever_fetch", cm3_status, [
    POINTER(cm3_retriever), c_uint64, POINTER(POINTER(cm3_bank_record)),
])
cm3_retriever_release = _bind("cm3_retriever_release", None, [POINTER(cm3_retriever), POINTER(cm3_bank_record)])
cm3_retriever_count = _bind("cm3_retriever_count", cm3_status, [POINTER(cm3_retriever), POINTER(c_uint64)])


class cm3_tasks(Structure):
    """Opaque."""

cm3_tasks_load = _bind("cm3_tasks_load", cm3_status, [POINTER(cm3_context), c_char_p, POINTER(POINTER(cm3_tasks))])
cm3_tasks_destroy = _bind("cm3_tasks_destroy", None, [POINTER(cm3_tasks)])
cm3_tasks_name = _bind("cm3_tasks_name", cm3_status, [POINTER(cm3_tasks), c_size_t, POINTER(c_char_p)])


class cm3_task_value(Structure):
    name: Any
    text: Any
    image: Any
    codes: Any
    code_count: int
    boxes: Any
    box_count: int
    _fields_ = [
        ("name", c_char_p),
        ("text", c_char_p),
        ("image", POINTER(cm3_image)),
        ("codes", POINTER(c_int32)),
        ("code_count", c_size_t),
        ("boxes", POINTER(cm3_box)),
        ("box_count", c_size_t),
    ]


class cm3_task_form(Structure):
    struct_size: int
    answer: int
    infill: int
    box: int
    image_name: Any
    text_name: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("answer", cm3_segment_kind),
        ("infill", c_int),
        ("box", c_int),
        ("image_name", c_char_p),
        ("text_name", c_char_p),
    ]

cm3_task_document = _bind("cm3_task_document", cm3_status, [
    POINTER(cm3_tasks), c_char_p, POINTER(cm3_task_value), c_size_t, POINTER(POINTER(cm3_document)),
    POINTER(cm3_task_form),
])
cm3_task_picture_prompt = _bind("cm3_task_picture_prompt", cm3_status, [
    POINTER(cm3_tasks), c_char_p, POINTER(cm3_task_value), c_size_t, POINTER(POINTER(cm3_document)),
])
cm3_progress_fn = CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64)


class cm3_train_bpe_options(Structure):
    struct_size: int
    data: Any
    data_count: int
    vocab_size: int
    image_codes: int
    sentinels: int
    min_frequency: int
    progress: Any
    user: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("data", POINTER(c_char_p)),
        ("data_count", c_size_t),
        ("vocab_size", c_int32),
        ("image_codes", c_int32),
        ("sentinels", c_int32),
        ("min_frequency", c_int32),
        ("progress", cm3_progress_fn),
        ("user", c_void_p),
    ]

cm3_train_bpe_options_init = _bind("cm3_train_bpe_options_init", None, [POINTER(cm3_train_bpe_options)])
cm3_train_bpe = _bind("cm3_train_bpe", cm3_status, [
    POINTER(cm3_context), POINTER(cm3_train_bpe_options), POINTER(POINTER(cm3_tokenizer)),
])

cm3_comm_type = c_int
CM3_COMM_F32 = 1
CM3_COMM_F64 = 2
CM3_COMM_U64 = 3

cm3_comm_op = c_int
CM3_COMM_SUM = 1
CM3_COMM_MIN = 2
CM3_COMM_MAX = 3
cm3_comm_all_reduce = CFUNCTYPE(cm3_status, c_void_p, c_void_p, c_size_t, cm3_comm_type, cm3_comm_op)
cm3_comm_all_gather = CFUNCTYPE(cm3_status, c_void_p, c_void_p, c_size_t)
cm3_comm_broadcast = CFUNCTYPE(cm3_status, c_void_p, c_void_p, c_size_t, c_int32)
cm3_comm_barrier = CFUNCTYPE(cm3_status, c_void_p)
cm3_comm_abort = CFUNCTYPE(None, c_void_p, c_char_p)


class cm3_comm(Structure):
    struct_size: int
    user: Any
    rank: int
    size: int
    all_reduce: Any
    all_gather: Any
    broadcast: Any
    barrier: Any
    abort: Any
    _fields_ = [
        ("struct_size", c_size_t),
        ("user", c_void_p),
        ("rank", c_int32),
        ("size", c_int32),
        ("all_reduce", cm3_comm_all_reduce),
        ("all_gather", cm3_comm_all_gather),
        ("broadcast", cm3_comm_broadcast),
        ("barrier", cm3_comm_barrier),
        ("abort", cm3_comm_abort),
    ]


class cm3_trainer(Structure):
    """Opaque."""


cm3_schedule = c_int
CM3_SCHEDULE_COSINE = 1
CM3_SCHEDULE_LINEAR = 2
CM3_SCHEDULE_CONSTANT = 3


class cm3_train_options(Structure):
    struct_size: int
    run_dir: Any
    resume: int
    data: Any
    data_count: int
    validation: Any
    validation_count: int
    seed: int
    compute: int
    batch_size: int
    accumulation: int
    steps: int
    warmup: int
    lr: float
    min_lr_ratio: float
    schedule: int
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    clip_norm: float
    weight_average: float
    memory_limit: int
    comm: Any
    skip_steps: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("run_dir", c_char_p),
        ("resume", c_int),
        ("data", POINTER(c_char_p)),
        ("data_count", c_size_t),
        ("validation", POINTER(c_char_p)),
        ("validation_count", c_size_t),
        ("seed", c_uint64),
        ("compute", cm3_compute),
        ("batch_size", c_int32),
        ("accumulation", c_int32),
        ("steps", c_int64),
        ("warmup", c_int64),
        ("lr", c_float),
        ("min_lr_ratio", c_float),
        ("schedule", cm3_schedule),
        ("beta1", c_float),
        ("beta2", c_float),
        ("epsilon", c_float),
        ("weight_decay", c_float),
        ("clip_norm", c_float),
        ("weight_average", c_float),
        ("memory_limit", c_uint64),
        ("comm", POINTER(cm3_comm)),
        ("skip_steps", c_int32),
    ]


class cm3_train_vq_options(Structure):
    struct_size: int
    config_json: Any
    l1_weight: float
    l2_weight: float
    commitment: float
    learned_codebook: int
    codebook_decay: float
    revival_threshold: float
    quantise_from: int
    adversarial_weight: float
    adversarial_from: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("config_json", c_char_p),
        ("l1_weight", c_float),
        ("l2_weight", c_float),
        ("commitment", c_float),
        ("learned_codebook", c_int),
        ("codebook_decay", c_float),
        ("revival_threshold", c_float),
        ("quantise_from", c_int64),
        ("adversarial_weight", c_float),
        ("adversarial_from", c_int64),
    ]


cm3_attend = c_int
CM3_ATTEND_DOCUMENT = 1
CM3_ATTEND_BLOCK = 2

cm3_masking = c_int
CM3_MASKING_NONE = 0
CM3_MASKING_CODE = 1
CM3_MASKING_PAPER = 2


class cm3_train_lm_options(Structure):
    struct_size: int
    config_json: Any
    tokenizer: Any
    image_tokenizer: Any
    init: Any
    block_size: int
    caption_dropout: float
    attend: int
    masking: int
    mixture: Any
    tasks: Any
    answers_only: int
    text_weight: float
    bank: Any
    most_retrieved: int
    retrieved_weight: float
    _fields_ = [
        ("struct_size", c_size_t),
        ("config_json", c_char_p),
        ("tokenizer", c_char_p),
        ("image_tokenizer", c_char_p),
        ("init", c_char_p),
        ("block_size", c_int32),
        ("caption_dropout", c_float),
        ("attend", cm3_attend),
        ("masking", cm3_masking),
        ("mixture", c_char_p),
        ("tasks", c_char_p),
        ("answers_only", c_int),
        ("text_weight", c_float),
        ("bank", c_char_p),
        ("most_retrieved", c_int32),
        ("retrieved_weight", c_float),
    ]


class cm3_train_encoder_options(Structure):
    struct_size: int
    config_json: Any
    tokenizer: Any
    chunk: int
    initial_scale: float
    query_weight: float
    together: int
    init: Any
    query_documents: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("config_json", c_char_p),
        ("tokenizer", c_char_p),
        ("chunk", c_int32),
        ("initial_scale", c_float),
        ("query_weight", c_float),
        ("together", c_int32),
        ("init", c_char_p),
        ("query_documents", c_int),
    ]

cm3_train_options_init = _bind("cm3_train_options_init", None, [POINTER(cm3_train_options)])
cm3_train_encoder_options_init = _bind("cm3_train_encoder_options_init", None, [POINTER(cm3_train_encoder_options)])
cm3_train_vq_options_init = _bind("cm3_train_vq_options_init", None, [POINTER(cm3_train_vq_options)])
cm3_train_lm_options_init = _bind("cm3_train_lm_options_init", None, [POINTER(cm3_train_lm_options)])
cm3_trainer_create_vq = _bind("cm3_trainer_create_vq", cm3_status, [
    POINTER(cm3_context), POINTER(cm3_train_options), POINTER(cm3_train_vq_options), POINTER(POINTER(cm3_trainer)),
])
cm3_trainer_create_lm = _bind("cm3_trainer_create_lm", cm3_status, [
    POINTER(cm3_context), POINTER(cm3_train_options), POINTER(cm3_train_lm_options), POINTER(POINTER(cm3_trainer)),
])
cm3_trainer_create_encoder = _bind("cm3_trainer_create_encoder", cm3_status, [
    POINTER(cm3_context), POINTER(cm3_train_options), POINTER(cm3_train_encoder_options), POINTER(POINTER(cm3_trainer)),
])


class cm3_train_report(Structure):
    struct_size: int
    step: int
    steps: int
    loss: float
    l1: float
    l2: float
    commitment: float
    adversarial: float
    discriminator: float
    text_loss: float
    image_loss: float
    code_usage: float
    lr: float
    grad_norm: float
    samples: int
    tokens: int
    seconds: float
    rate: float
    recall: float
    query_recall: float
    scale: float
    comm_seconds: float
    reduce_seconds: float
    skipped: int
    _fields_ = [
        ("struct_size", c_size_t),
        ("step", c_int64),
        ("steps", c_int64),
        ("loss", c_double),
        ("l1", c_double),
        ("l2", c_double),
        ("commitment", c_double),
        ("adversarial", c_double),
        ("discriminator", c_double),
        ("text_loss", c_double),
        ("image_loss", c_double),
        ("code_usage", c_double),
        ("lr", c_double),
        ("grad_norm", c_double),
        ("samples", c_uint64),
        ("tokens", c_uint64),
        ("seconds", c_double),
        ("rate", c_double),
        ("recall", c_double),
        ("query_recall", c_double),
        ("scale", c_double),
        ("comm_seconds", c_double),
        ("reduce_seconds", c_double),
        ("skipped", c_int64),
    ]

cm3_trainer_step = _bind("cm3_trainer_step", cm3_status, [POINTER(cm3_trainer), POINTER(cm3_train_report)])
cm3_trainer_validate = _bind("cm3_trainer_validate", cm3_status, [POINTER(cm3_trainer), POINTER(cm3_train_report)])
cm3_trainer_progress = _bind("cm3_trainer_progress", cm3_status, [
    POINTER(cm3_trainer), POINTER(c_int64), POINTER(c_int64),
])
cm3_trainer_checkpoint = _bind("cm3_trainer_checkpoint", cm3_status, [POINTER(cm3_trainer)])
cm3_trainer_export = _bind("cm3_trainer_export", cm3_status, [POINTER(cm3_trainer), c_char_p, cm3_compute])
cm3_trainer_cancel = _bind("cm3_trainer_cancel", None, [POINTER(cm3_trainer)])
cm3_trainer_destroy = _bind("cm3_trainer_destroy", None, [POINTER(cm3_trainer)])


class cm3_train_neighbour_options(Structure):
    struct_size: int
    by_text: int
    by_image: int
    most_alike: float
    most_score: float
    query_dropout: float
    seed: int
    keep_own: int
    own_first: float
    _fields_ = [
        ("struct_size", c_size_t),
        ("by_text", c_int32),
        ("by_image", c_int32),
        ("most_alike", c_float),
        ("most_score", c_float),
        ("query_dropout", c_float),
        ("seed", c_uint64),
        ("keep_own", c_int),
        ("own_first", c_float),
    ]

cm3_train_neighbour_options_init = _bind("cm3_train_neighbour_options_init", None, [
    POINTER(cm3_train_neighbour_options),
])
cm3_train_find_neighbours = _bind("cm3_train_find_neighbours", cm3_status, [
    POINTER(cm3_retriever), POINTER(c_char_p), c_size_t, c_char_p, POINTER(cm3_train_neighbour_options),
    cm3_progress_fn, c_void_p,
])
cm3_train_encode_shards = _bind("cm3_train_encode_shards", cm3_status, [
    POINTER(cm3_context), c_char_p, POINTER(c_char_p), c_size_t, c_char_p, cm3_progress_fn, c_void_p,
])
cm3_train_code_costs = _bind("cm3_train_code_costs", cm3_status, [
    POINTER(cm3_context), c_char_p, POINTER(c_char_p), c_size_t, c_float, c_char_p, cm3_progress_fn, c_void_p,
])

ENUMS: Dict[str, Tuple[str, ...]] = {
    "cm3_status": ("CM3_OK", "CM3_ERROR_INVALID_ARGUMENT", "CM3_ERROR_NO_MEMORY", "CM3_ERROR_BUSY",
        "CM3_ERROR_CANCELLED", "CM3_ERROR_UNSUPPORTED", "CM3_ERROR_INTERNAL", "CM3_ERROR_THREAD",
        "CM3_ERROR_NOT_FOUND", "CM3_ERROR_IO", "CM3_ERROR_NO_SPACE", "CM3_ERROR_FORMAT", "CM3_ERROR_VERSION",
        "CM3_ERROR_TRUNCATED", "CM3_ERROR_CHECKSUM", "CM3_ERROR_UTF8", "CM3_ERROR_TOO_LONG",),
    "cm3_log_level": ("CM3_LOG_ERROR", "CM3_LOG_WARNING", "CM3_LOG_INFO", "CM3_LOG_DEBUG",),
    "cm3_image_format": ("CM3_IMAGE_JPEG", "CM3_IMAGE_PNG",),
    "cm3_filter": ("CM3_FILTER_BICUBIC", "CM3_FILTER_LANCZOS",),
    "cm3_token_role": ("CM3_TOKEN_EOD", "CM3_TOKEN_PAD", "CM3_TOKEN_BREAK", "CM3_TOKEN_BEGIN_IMAGE",
        "CM3_TOKEN_END_IMAGE", "CM3_TOKEN_END_SPAN", "CM3_TOKEN_SENTINEL", "CM3_TOKEN_IMAGE", "CM3_TOKEN_BOS",
        "CM3_TOKEN_END_TURN",),
    "cm3_encode_flags": ("CM3_ENCODE_PLAIN", "CM3_ENCODE_SPECIAL", "CM3_ENCODE_TEMPLATE", "CM3_ENCODE_LENGTH",),
    "cm3_preprocessing": ("CM3_PREPROCESSING_AUTO", "CM3_PREPROCESSING_META", "CM3_PREPROCESSING_HF",),
    "cm3_load_mode": ("CM3_LOAD_MAP", "CM3_LOAD_HUGE",),
    "cm3_weight_type": ("CM3_WEIGHTS_AUTO", "CM3_WEIGHTS_KEEP", "CM3_WEIGHTS_F32", "CM3_WEIGHTS_BF16",
        "CM3_WEIGHTS_Q8", "CM3_WEIGHTS_Q4",),
    "cm3_model_parts": ("CM3_PART_LM", "CM3_PART_VQ", "CM3_PART_TOKENIZER", "CM3_PART_ENCODER",),
    "cm3_compute": ("CM3_COMPUTE_AUTO", "CM3_COMPUTE_F32", "CM3_COMPUTE_BF16",),
    "cm3_vector_type": ("CM3_VECTORS_F32", "CM3_VECTORS_BF16", "CM3_VECTORS_INT8",),
    "cm3_bank_mode": ("CM3_BANK_READ", "CM3_BANK_WRITE",),
    "cm3_search_way": ("CM3_SEARCH_AUTO", "CM3_SEARCH_EXACT", "CM3_SEARCH_GRAPH",),
    "cm3_segment_kind": ("CM3_SEGMENT_TEXT", "CM3_SEGMENT_IMAGE", "CM3_SEGMENT_BREAK", "CM3_SEGMENT_MASK",
        "CM3_SEGMENT_IDS",),
    "cm3_modality": ("CM3_MODALITY_IMAGE", "CM3_MODALITY_TEXT", "CM3_MODALITY_INTERLEAVED", "CM3_MODALITY_FREE",
        "CM3_MODALITY_INFILL",),
    "cm3_kv_type": ("CM3_KV_AUTO", "CM3_KV_F32", "CM3_KV_BF16", "CM3_KV_INT8",),
    "cm3_event_kind": ("CM3_EVENT_NONE", "CM3_EVENT_TEXT", "CM3_EVENT_TOKEN", "CM3_EVENT_IMAGE_ROWS",
        "CM3_EVENT_IMAGE", "CM3_EVENT_PROGRESS", "CM3_EVENT_END",),
    "cm3_end_reason": ("CM3_END_FINISHED", "CM3_END_MAX_TOKENS", "CM3_END_CANCELLED", "CM3_END_FAILED",),
    "cm3_comm_type": ("CM3_COMM_F32", "CM3_COMM_F64", "CM3_COMM_U64",),
    "cm3_comm_op": ("CM3_COMM_SUM", "CM3_COMM_MIN", "CM3_COMM_MAX",),
    "cm3_schedule": ("CM3_SCHEDULE_COSINE", "CM3_SCHEDULE_LINEAR", "CM3_SCHEDULE_CONSTANT",),
    "cm3_attend": ("CM3_ATTEND_DOCUMENT", "CM3_ATTEND_BLOCK",),
    "cm3_masking": ("CM3_MASKING_NONE", "CM3_MASKING_CODE", "CM3_MASKING_PAPER",),
}

STRUCTS: List[Any] = [
    cm3_allocator,
    cm3_io,
    cm3_context_options,
    cm3_memory_stats,
    cm3_image_view,
    cm3_image_save_options,
    cm3_tokenizer_info,
    cm3_load_options,
    cm3_convert_options,
    cm3_model_info,
    cm3_bank_options,
    cm3_bank_info,
    cm3_bank_record,
    cm3_bank_add_options,
    cm3_hit,
    cm3_search_options,
    cm3_index_options,
    cm3_bank_work_options,
    cm3_segment,
    cm3_box,
    cm3_sampler_step,
    cm3_sampler_rule,
    cm3_generate_options,
    cm3_event,
    cm3_timings,
    cm3_memory_estimate,
    cm3_retrieval_engine,
    cm3_encoder_identity,
    cm3_retrieval_item,
    cm3_retrieve_options,
    cm3_task_value,
    cm3_task_form,
    cm3_train_bpe_options,
    cm3_comm,
    cm3_train_options,
    cm3_train_vq_options,
    cm3_train_lm_options,
    cm3_train_encoder_options,
    cm3_train_report,
    cm3_train_neighbour_options,
]

FUNCTIONS: List[str] = [
    "cm3_status_name",
    "cm3_version",
    "cm3_api_version",
    "cm3_context_options_init",
    "cm3_context_create",
    "cm3_context_destroy",
    "cm3_context_message",
    "cm3_context_memory",
    "cm3_context_compute",
    "cm3_image_create",
    "cm3_image_from_pixels",
    "cm3_image_load",
    "cm3_image_load_memory",
    "cm3_image_save_options_init",
    "cm3_image_save",
    "cm3_image_encode",
    "cm3_buffer_free",
    "cm3_image_get_view",
    "cm3_image_resize",
    "cm3_image_crop",
    "cm3_image_contact_sheet",
    "cm3_image_retain",
    "cm3_image_destroy",
    "cm3_tokenizer_load",
    "cm3_tokenizer_save",
    "cm3_tokenizer_destroy",
    "cm3_tokenizer_encode",
    "cm3_tokenizer_decode",
    "cm3_tokenizer_get_info",
    "cm3_tokenizer_special",
    "cm3_tokenizer_encode_image",
    "cm3_tokenizer_encode_image_as",
    "cm3_tokenizer_decode_image",
    "cm3_load_options_init",
    "cm3_model_load",
    "cm3_model_load_memory",
    "cm3_model_load_io",
    "cm3_convert_options_init",
    "cm3_model_convert",
    "cm3_model_retain",
    "cm3_model_destroy",
    "cm3_model_get_info",
    "cm3_model_config_json",
    "cm3_model_tokenizer",
    "cm3_model_logits",
    "cm3_model_hidden",
    "cm3_model_embed_texts",
    "cm3_model_embed_images",
    "cm3_bank_options_init",
    "cm3_bank_create",
    "cm3_bank_open",
    "cm3_bank_retain",
    "cm3_bank_destroy",
    "cm3_bank_get_info",
    "cm3_bank_check_model",
    "cm3_bank_refresh",
    "cm3_bank_add_options_init",
    "cm3_bank_add",
    "cm3_bank_delete",
    "cm3_bank_get",
    "cm3_bank_record_destroy",
    "cm3_bank_next",
    "cm3_bank_find",
    "cm3_search_options_init",
    "cm3_bank_search",
    "cm3_index_options_init",
    "cm3_bank_index",
    "cm3_bank_work_options_init",
    "cm3_bank_verify",
    "cm3_bank_compact",
    "cm3_bank_merge",
    "cm3_document_create",
    "cm3_document_destroy",
    "cm3_document_add_text",
    "cm3_document_add_image",
    "cm3_document_add_image_holes",
    "cm3_document_add_codes",
    "cm3_document_add_break",
    "cm3_document_add_mask",
    "cm3_document_add_ids",
    "cm3_document_add_prompt",
    "cm3_document_add_retrieved",
    "cm3_document_append",
    "cm3_document_count",
    "cm3_document_get",
    "cm3_sampler_create",
    "cm3_sampler_destroy",
    "cm3_sampler_add_temperature",
    "cm3_sampler_add_top_k",
    "cm3_sampler_add_top_p",
    "cm3_sampler_add_repetition_penalty",
    "cm3_sampler_add_rule",
    "cm3_sampler_sample",
    "cm3_generate_options_init",
    "cm3_generate_options_for",
    "cm3_generate",
    "cm3_request_start",
    "cm3_request_poll",
    "cm3_request_next_event",
    "cm3_request_wait",
    "cm3_request_cancel",
    "cm3_request_done",
    "cm3_request_seed",
    "cm3_request_result",
    "cm3_request_score",
    "cm3_request_message",
    "cm3_request_timings",
    "cm3_estimate",
    "cm3_estimate_file",
    "cm3_request_destroy",
    "cm3_model_encoder_identity",
    "cm3_retriever_create",
    "cm3_retriever_create_with",
    "cm3_retriever_destroy",
    "cm3_retriever_embed",
    "cm3_retriever_add",
    "cm3_retriever_refuse_near",
    "cm3_retriever_import",
    "cm3_retrieve_options_init",
    "cm3_retriever_search",
    "cm3_retriever_retrieve",
    "cm3_retriever_fetch",
    "cm3_retriever_release",
    "cm3_retriever_count",
    "cm3_tasks_load",
    "cm3_tasks_destroy",
    "cm3_tasks_name",
    "cm3_task_document",
    "cm3_task_picture_prompt",
    "cm3_train_bpe_options_init",
    "cm3_train_bpe",
    "cm3_train_options_init",
    "cm3_train_encoder_options_init",
    "cm3_train_vq_options_init",
    "cm3_train_lm_options_init",
    "cm3_trainer_create_vq",
    "cm3_trainer_create_lm",
    "cm3_trainer_create_encoder",
    "cm3_trainer_step",
    "cm3_trainer_validate",
    "cm3_trainer_progress",
    "cm3_trainer_checkpoint",
    "cm3_trainer_export",
    "cm3_trainer_cancel",
    "cm3_trainer_destroy",
    "cm3_train_neighbour_options_init",
    "cm3_train_find_neighbours",
    "cm3_train_encode_shards",
    "cm3_train_code_costs",
]

# Structs that the library fills with its defaults, its own size among them.
INITIALISERS: List[Tuple[Any, Callable[..., Any]]] = [
    (cm3_context_options, cm3_context_options_init),
    (cm3_image_save_options, cm3_image_save_options_init),
    (cm3_load_options, cm3_load_options_init),
    (cm3_convert_options, cm3_convert_options_init),
    (cm3_bank_options, cm3_bank_options_init),
    (cm3_bank_add_options, cm3_bank_add_options_init),
    (cm3_search_options, cm3_search_options_init),
    (cm3_index_options, cm3_index_options_init),
    (cm3_bank_work_options, cm3_bank_work_options_init),
    (cm3_generate_options, cm3_generate_options_init),
    (cm3_retrieve_options, cm3_retrieve_options_init),
    (cm3_train_bpe_options, cm3_train_bpe_options_init),
    (cm3_train_options, cm3_train_options_init),
    (cm3_train_encoder_options, cm3_train_encoder_options_init),
    (cm3_train_vq_options, cm3_train_vq_options_init),
    (cm3_train_lm_options, cm3_train_lm_options_init),
    (cm3_train_neighbour_options, cm3_train_neighbour_options_init),
]

_check(CM3_API_VERSION_MAJOR, CM3_API_VERSION_MINOR, INITIALISERS)
