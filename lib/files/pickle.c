/* PyTorch's pickles: a stack machine over values in an arena. */
#include "files/pickle.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"

typedef struct reader {
    cm3_context *context;
    const char *name;
    const uint8_t *data;
    size_t size, at, opcode_at;
    cm3_arena *arena;
    cm3_pickle_value **stack;
    size_t depth, capacity;
    size_t *marks;
    size_t mark_count, mark_capacity;
    cm3_pickle_value **memo;
    size_t memo_count, memo_capacity;
} reader;

static cm3_status fail(const reader *r, cm3_status status, const char *what) {
    return cm3_fail(r->context, status, "%s: byte %zu of its pickle: %s", r->name, r->opcode_at, what);
}

static cm3_status out_of_memory(const reader *r) {
    return cm3_fail_memory(r->context, r->size, r->name);
}

/* --- the stack -----------------------------------------------------------------------------------------------------
 */

static cm3_pickle_value *make(reader *r, cm3_pickle_kind kind) {
    cm3_pickle_value *value = cm3_arena_alloc(r->arena, sizeof *value);
    if (value) {
        memset(value, 0, sizeof *value);
        value->kind = kind;
    }
    return value;
}

static cm3_status push(reader *r, cm3_pickle_value *value) {
    if (!value) return out_of_memory(r);
    CM3_TRY(cm3_grow(r->context, &r->stack, &r->capacity, r->depth + 1, sizeof *r->stack, r->name));
    r->stack[r->depth++] = value;
    return CM3_OK;
}

/** The least depth that an opcode may take from: what lies below the last mark is not its. */
static size_t bottom(const reader *r) {
    return r->mark_count ? r->marks[r->mark_count - 1] : 0;
}

static cm3_status pop(reader *r, cm3_pickle_value **value) {
    if (r->depth == bottom(r)) return fail(r, CM3_ERROR_FORMAT, "the stack is empty");
    *value = r->stack[--r->depth];
    return CM3_OK;
}

static cm3_status pop_kind(reader *r, cm3_pickle_kind kind, const char *what, cm3_pickle_value **value) {
    CM3_TRY(pop(r, value));
    return (*value)->kind == kind ? CM3_OK : fail(r, CM3_ERROR_FORMAT, what);
}

/** Where the values above the last mark begin; the mark is gone. */
static cm3_status pop_mark(reader *r, size_t *first) {
    if (!r->mark_count) return fail(r, CM3_ERROR_FORMAT, "there is no mark");
    *first = r->marks[--r->mark_count];
    return CM3_OK;
}

static cm3_status add_item(reader *r, cm3_pickle_value *to, const cm3_pickle_value *key,
                           const cm3_pickle_value *value) {
    cm3_pickle_item *item = cm3_arena_alloc(r->arena, sizeof *item);
    if (!item) return out_of_memory(r);
    *item = (cm3_pickle_item){NULL, key, value};
    if (to->as.items.last) {
        to->as.items.last->next = item;
    } else {
        to->as.items.first = item;
    }
    to->as.items.last = item;
    to->as.items.count++;
    return CM3_OK;
}

/** The values from `first` on become items of `to`, in pairs for dictionaries. */
static cm3_status take_items(reader *r, cm3_pickle_value *to, size_t first) {
    size_t step = to->kind == CM3_PICKLE_DICT ? 2 : 1;
    if ((r->depth - first) % step) return fail(r, CM3_ERROR_FORMAT, "a key without a value");
    for (size_t i = first; i < r->depth; i += step) {
        CM3_TRY(add_item(r, to, step == 2 ? r->stack[i] : NULL, r->stack[i + step - 1]));
    }
    r->depth = first;
    return CM3_OK;
}

/* --- reading -------------------------------------------------------------------------------------------------------
 */

static cm3_status read_bytes(reader *r, uint64_t count, const uint8_t **bytes) {
    if (count > r->size - r->at) return fail(r, CM3_ERROR_TRUNCATED, "the pickle ends within an opcode");
    *bytes = r->data + r->at;
    r->at += (size_t)count;
    return CM3_OK;
}

static cm3_status read_number(reader *r, int bytes, uint64_t *value) {
    const uint8_t *at = NULL;
    CM3_TRY(read_bytes(r, (uint64_t)bytes, &at));
    *value = 0;
    for (int i = 0; i < bytes; i++) *value |= (uint64_t)at[i] << (8 * i);
    return CM3_OK;
}

static cm3_status push_int(reader *r, int64_t value) {
    cm3_pickle_value *made = make(r, CM3_PICKLE_INT);
    if (made) made->as.integer = value;
    return push(r, made);
}

/** An integer of `bytes` bytes, the highest bit of which is its sign where `is_signed`. */
static cm3_status push_number(reader *r, int bytes, bool is_signed) {
    uint64_t value = 0;
    CM3_TRY(read_number(r, bytes, &value));
    if (is_signed && bytes > 0 && bytes < 8 && (value >> (8 * bytes - 1))) value |= ~0ull << (8 * bytes);
    return push_int(r, (int64_t)value);
}

static cm3_status push_long(reader *r) {
    uint64_t bytes = 0;
    CM3_TRY(read_number(r, 1, &bytes));
    if (bytes > 8) return fail(r, CM3_ERROR_UNSUPPORTED, "an integer of more than 64 bits");
    return push_number(r, (int)bytes, true);
}

static cm3_status push_float(reader *r) {
    const uint8_t *bytes = NULL;
    uint64_t bits = 0;
    CM3_TRY(read_bytes(r, 8, &bytes));
    for (int i = 0; i < 8; i++) bits = bits << 8 | bytes[i];
    cm3_pickle_value *made = make(r, CM3_PICKLE_FLOAT);
    if (made) memcpy(&made->as.number, &bits, sizeof bits);
    return push(r, made);
}

static cm3_pickle_value *make_string(reader *r, const uint8_t *bytes, size_t size) {
    cm3_pickle_value *made = make(r, CM3_PICKLE_STRING);
    char *text = made ? cm3_arena_alloc(r->arena, size + 1) : NULL;
    if (!text) return NULL;
    memcpy(text, bytes, size);
    text[size] = 0;
    made->as.string.text = text;
    made->as.string.size = size;
    return made;
}

/** A text whose length is a number of `bytes` bytes. */
static cm3_status push_string(reader *r, int bytes) {
    uint64_t size = 0;
    const uint8_t *text = NULL;
    CM3_TRY(read_number(r, bytes, &size));
    CM3_TRY(read_bytes(r, size, &text));
    return push(r, make_string(r, text, (size_t)size));
}

/** Up to a newline, which is left out. */
static cm3_status read_line(reader *r, const uint8_t **line, size_t *size) {
    const uint8_t *end = memchr(r->data + r->at, '\n', r->size - r->at);
    if (!end) return fail(r, CM3_ERROR_TRUNCATED, "the pickle ends within a line");
    *line = r->data + r->at;
    *size = (size_t)(end - *line);
    r->at += *size + 1;
    return CM3_OK;
}

/* --- constructors --------------------------------------------------------------------------------------------------
 */

static const struct {
    const char *module, *name;
    cm3_pickle_global which;
    cm3_dtype dtype;
    size_t width;
} globals[] = {
    {"collections", "OrderedDict", CM3_GLOBAL_ORDERED_DICT, CM3_DTYPE_NONE, 0},
    {"torch._utils", "_rebuild_tensor", CM3_GLOBAL_REBUILD_TENSOR, CM3_DTYPE_NONE, 0},
    {"torch._utils", "_rebuild_tensor_v2", CM3_GLOBAL_REBUILD_TENSOR, CM3_DTYPE_NONE, 0},
    {"torch._utils", "_rebuild_parameter", CM3_GLOBAL_REBUILD_PARAMETER, CM3_DTYPE_NONE, 0},
    {"torch", "Size", CM3_GLOBAL_SIZE, CM3_DTYPE_NONE, 0},
    {"torch", "FloatStorage", CM3_GLOBAL_STORAGE, CM3_F32, 4},
    {"torch", "HalfStorage", CM3_GLOBAL_STORAGE, CM3_F16, 2},
    {"torch", "BFloat16Storage", CM3_GLOBAL_STORAGE, CM3_BF16, 2},
    {"torch", "LongStorage", CM3_GLOBAL_STORAGE, CM3_I64, 8},
    {"torch", "IntStorage", CM3_GLOBAL_STORAGE, CM3_I32, 4},
    {"torch", "CharStorage", CM3_GLOBAL_STORAGE, CM3_I8, 1},
    {"torch", "ByteStorage", CM3_GLOBAL_STORAGE, CM3_U8, 1},
    {"torch", "DoubleStorage", CM3_GLOBAL_STORAGE, CM3_DTYPE_NONE, 8},
    {"torch", "ShortStorage", CM3_GLOBAL_STORAGE, CM3_DTYPE_NONE, 2},
    {"torch", "BoolStorage", CM3_GLOBAL_STORAGE, CM3_DTYPE_NONE, 1},
};

static bool same(const char *text, const void *bytes, size_t size) {
    return strlen(text) == size && memcmp(text, bytes, size) == 0;
}

static cm3_status push_global(reader *r, const void *module, size_t module_size, const void *name, size_t name_size) {
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (!same(globals[i].module, module, module_size) || !same(globals[i].name, name, name_size)) continue;
        cm3_pickle_value *made = make(r, CM3_PICKLE_GLOBAL);
        if (made) {
            made->as.global.which = globals[i].which;
            made->as.global.dtype = globals[i].dtype;
            made->as.global.width = globals[i].width;
        }
        return push(r, made);
    }
    return cm3_fail(r->context, CM3_ERROR_UNSUPPORTED,
                    "%s: byte %zu of its pickle: '%.*s.%.*s' is refused; tensors, storages and dictionaries are read, "
                    "nothing is executed",
                    r->name, r->opcode_at, (int)(module_size < 80 ? module_size : 80), (const char *)module,
                    (int)(name_size < 80 ? name_size : 80), (const char *)name);
}

static cm3_status global_of_lines(reader *r) {
    const uint8_t *module = NULL, *name = NULL;
    size_t module_size = 0, name_size = 0;
    CM3_TRY(read_line(r, &module, &module_size));
    CM3_TRY(read_line(r, &name, &name_size));
    return push_global(r, module, module_size, name, name_size);
}

static cm3_status global_of_stack(reader *r) {
    cm3_pickle_value *module = NULL, *name = NULL;
    CM3_TRY(pop_kind(r, CM3_PICKLE_STRING, "a constructor's name is no text", &name));
    CM3_TRY(pop_kind(r, CM3_PICKLE_STRING, "a constructor's module is no text", &module));
    return push_global(r, module->as.string.text, module->as.string.size, name->as.string.text, name->as.string.size);
}

/** Item `index` of a tuple where it is of that kind, or NULL. */
static const cm3_pickle_value *item_of(const cm3_pickle_value *tuple, size_t index, cm3_pickle_kind kind) {
    const cm3_pickle_item *item = tuple->as.items.first;
    while (item && index--) item = item->next;
    return item && item->value->kind == kind ? item->value : NULL;
}

/** ('storage', type, key, location, elements). */
static cm3_status persistent(reader *r) {
    cm3_pickle_value *id = NULL;
    CM3_TRY(pop_kind(r, CM3_PICKLE_TUPLE, "a persistent id is no tuple", &id));
    const cm3_pickle_value *word = item_of(id, 0, CM3_PICKLE_STRING), *type = item_of(id, 1, CM3_PICKLE_GLOBAL);
    const cm3_pickle_value *key = item_of(id, 2, CM3_PICKLE_STRING), *count = item_of(id, 4, CM3_PICKLE_INT);
    bool right = word && !strcmp(word->as.string.text, "storage") && type && key && count &&
                 type->as.global.which == CM3_GLOBAL_STORAGE && count->as.integer >= 0 &&
                 strlen(key->as.string.text) == key->as.string.size;
    if (!right) return fail(r, CM3_ERROR_FORMAT, "a persistent id is not ('storage', type, key, location, elements)");
    cm3_pickle_value *made = make(r, CM3_PICKLE_STORAGE);
    if (made) {
        made->as.storage =
            (cm3_pickle_storage){key->as.string.text, type->as.global.dtype, type->as.global.width, count->as.integer};
    }
    return push(r, made);
}

static bool read_sizes(const cm3_pickle_value *tuple, int64_t *to, int *rank) {
    int count = 0;
    for (const cm3_pickle_item *item = tuple->as.items.first; item; item = item->next) {
        if (item->value->kind != CM3_PICKLE_INT || item->value->as.integer < 0 || count == CM3_PICKLE_MAX_RANK) {
            return false;
        }
        to[count++] = item->value->as.integer;
    }
    *rank = count;
    return true;
}

/** (storage, offset, shape, stride, ...). */
static cm3_status rebuild_tensor(reader *r, const cm3_pickle_value *arguments) {
    const cm3_pickle_value *storage = item_of(arguments, 0, CM3_PICKLE_STORAGE);
    const cm3_pickle_value *offset = item_of(arguments, 1, CM3_PICKLE_INT);
    const cm3_pickle_value *shape = item_of(arguments, 2, CM3_PICKLE_TUPLE);
    const cm3_pickle_value *stride = item_of(arguments, 3, CM3_PICKLE_TUPLE);
    cm3_pickle_value *made = make(r, CM3_PICKLE_TENSOR);
    if (!made) return out_of_memory(r);
    int strides = 0;
    bool right = storage && offset && shape && stride && offset->as.integer >= 0 &&
                 read_sizes(shape, made->as.tensor.shape, &made->as.tensor.rank) &&
                 read_sizes(stride, made->as.tensor.stride, &strides) && strides == made->as.tensor.rank;
    if (!right) {
        return fail(r, CM3_ERROR_FORMAT, "a tensor is not (storage, offset, shape, stride) of at most 8 dimensions");
    }
    made->as.tensor.storage = &storage->as.storage;
    made->as.tensor.offset = offset->as.integer;
    return push(r, made);
}

/** OrderedDict() or OrderedDict([(key, value), ...]). */
static cm3_status ordered_dict(reader *r, const cm3_pickle_value *arguments) {
    cm3_pickle_value *made = make(r, CM3_PICKLE_DICT);
    if (!made) return out_of_memory(r);
    const cm3_pickle_value *list = item_of(arguments, 0, CM3_PICKLE_LIST);
    if (arguments->as.items.count && !list) return fail(r, CM3_ERROR_FORMAT, "a dictionary is not made of a list");
    for (const cm3_pickle_item *item = list ? list->as.items.first : NULL; item; item = item->next) {
        const cm3_pickle_item *pair = item->value->kind == CM3_PICKLE_TUPLE || item->value->kind == CM3_PICKLE_LIST
                                          ? item->value->as.items.first
                                          : NULL;
        if (!pair || !pair->next) return fail(r, CM3_ERROR_FORMAT, "a dictionary's item is no pair");
        CM3_TRY(add_item(r, made, pair->value, pair->next->value));
    }
    return push(r, made);
}

static cm3_status reduce(reader *r) {
    cm3_pickle_value *arguments = NULL, *global = NULL;
    CM3_TRY(pop_kind(r, CM3_PICKLE_TUPLE, "a constructor's arguments are no tuple", &arguments));
    CM3_TRY(pop_kind(r, CM3_PICKLE_GLOBAL, "what is called is no constructor", &global));
    const cm3_pickle_value *inner;
    switch (global->as.global.which) {
    case CM3_GLOBAL_ORDERED_DICT:
        return ordered_dict(r, arguments);
    case CM3_GLOBAL_REBUILD_TENSOR:
        return rebuild_tensor(r, arguments);
    case CM3_GLOBAL_REBUILD_PARAMETER:
        inner = item_of(arguments, 0, CM3_PICKLE_TENSOR);
        if (!inner) return fail(r, CM3_ERROR_FORMAT, "a parameter is made of no tensor");
        return push(r, (cm3_pickle_value *)(uintptr_t)inner);
    case CM3_GLOBAL_SIZE:
        inner = item_of(arguments, 0, CM3_PICKLE_TUPLE);
        if (!inner) return fail(r, CM3_ERROR_FORMAT, "a size is made of no tuple");
        return push(r, (cm3_pickle_value *)(uintptr_t)inner);
    case CM3_GLOBAL_STORAGE:
        break;
    }
    return fail(r, CM3_ERROR_UNSUPPORTED, "a storage's type is called");
}

/* --- opcodes -------------------------------------------------------------------------------------------------------
 */

static cm3_status push_bool(reader *r, bool value) {
    cm3_pickle_value *made = make(r, CM3_PICKLE_BOOL);
    if (made) made->as.integer = value;
    return push(r, made);
}

/** A tuple, list or dictionary of what lies above the mark, or of the last `count` values. */
static cm3_status push_items(reader *r, cm3_pickle_kind kind, int count) {
    size_t first = r->depth;
    if (count < 0) {
        CM3_TRY(pop_mark(r, &first));
    } else if (r->depth - bottom(r) < (size_t)count) {
        return fail(r, CM3_ERROR_FORMAT, "the stack is empty");
    } else {
        first -= (size_t)count;
    }
    cm3_pickle_value *made = make(r, kind);
    if (!made) return out_of_memory(r);
    CM3_TRY(take_items(r, made, first));
    return push(r, made);
}

/** What lies above the mark, or the last `count` values, goes into the collection below. */
static cm3_status extend(reader *r, cm3_pickle_kind kind, int count) {
    size_t first = 0;
    if (count < 0) {
        CM3_TRY(pop_mark(r, &first));
    } else if (r->depth - bottom(r) <= (size_t)count) {
        return fail(r, CM3_ERROR_FORMAT, "the stack is empty");
    } else {
        first = r->depth - (size_t)count;
    }
    if (first <= bottom(r) || first > r->depth || r->stack[first - 1]->kind != kind) {
        return fail(r, CM3_ERROR_FORMAT, "there is no list or dictionary for these items");
    }
    return take_items(r, r->stack[first - 1], first);
}

static cm3_status remember(reader *r, uint64_t index) {
    if (r->depth == bottom(r)) return fail(r, CM3_ERROR_FORMAT, "the stack is empty");
    if (index > r->size) return fail(r, CM3_ERROR_FORMAT, "a place of the memo is out of range");
    size_t old = r->memo_count, wanted = (size_t)index + 1;
    CM3_TRY(cm3_grow(r->context, &r->memo, &r->memo_capacity, wanted, sizeof *r->memo, r->name));
    if (wanted > old) {
        memset(r->memo + old, 0, (wanted - old) * sizeof *r->memo);
        r->memo_count = wanted;
    }
    r->memo[index] = r->stack[r->depth - 1];
    return CM3_OK;
}

static cm3_status recall(reader *r, uint64_t index) {
    if (index >= r->memo_count || !r->memo[index]) return fail(r, CM3_ERROR_FORMAT, "a place of the memo is empty");
    return push(r, r->memo[index]);
}

static cm3_status by_number(reader *r, int bytes, cm3_status (*act)(reader *r, uint64_t index)) {
    uint64_t index = 0;
    CM3_TRY(read_number(r, bytes, &index));
    return act(r, index);
}

static cm3_status set_mark(reader *r) {
    CM3_TRY(cm3_grow(r->context, &r->marks, &r->mark_capacity, r->mark_count + 1, sizeof *r->marks, r->name));
    r->marks[r->mark_count++] = r->depth;
    return CM3_OK;
}

/** An object's state: of dictionaries (the versions of a module's layers) it says nothing about tensors. */
static cm3_status drop_state(reader *r) {
    cm3_pickle_value *state;
    CM3_TRY(pop(r, &state));
    if (r->depth > bottom(r) && r->stack[r->depth - 1]->kind == CM3_PICKLE_DICT) return CM3_OK;
    return fail(r, CM3_ERROR_UNSUPPORTED, "a state of something else than a dictionary");
}

static cm3_status protocol(reader *r) {
    uint64_t version = 0;
    CM3_TRY(read_number(r, 1, &version));
    return version <= 5 ? CM3_OK : fail(r, CM3_ERROR_UNSUPPORTED, "a protocol after 5");
}

static cm3_status refuse(const reader *r, uint8_t opcode) {
    return cm3_fail(r->context, CM3_ERROR_UNSUPPORTED, "%s: byte %zu of its pickle: opcode 0x%02x is refused", r->name,
                    r->opcode_at, opcode);
}

static cm3_status run_opcode(reader *r, uint8_t opcode) {
    cm3_pickle_value *value;
    uint64_t frame;
    switch (opcode) {
    case 0x80:
        return protocol(r);
    case 0x95: /* a frame's length: says nothing that matters here */
        return read_number(r, 8, &frame);
    case '(':
        return set_mark(r);
    case '0':
        return pop(r, &value);
    case 'N':
        return push(r, make(r, CM3_PICKLE_NONE));
    case 0x88:
    case 0x89:
        return push_bool(r, opcode == 0x88);
    case 'J':
        return push_number(r, 4, true);
    case 'K':
        return push_number(r, 1, false);
    case 'M':
        return push_number(r, 2, false);
    case 0x8a:
        return push_long(r);
    case 'G':
        return push_float(r);
    case 'X':
    case 'T':
    case 'B':
        return push_string(r, 4);
    case 0x8c:
    case 'U':
    case 'C':
        return push_string(r, 1);
    case 0x8d:
    case 0x8e:
        return push_string(r, 8);
    case ')':
        return push_items(r, CM3_PICKLE_TUPLE, 0);
    case 't':
        return push_items(r, CM3_PICKLE_TUPLE, -1);
    case 0x85:
    case 0x86:
    case 0x87:
        return push_items(r, CM3_PICKLE_TUPLE, opcode - 0x84);
    case ']':
        return push_items(r, CM3_PICKLE_LIST, 0);
    case 'l':
        return push_items(r, CM3_PICKLE_LIST, -1);
    case 'a':
        return extend(r, CM3_PICKLE_LIST, 1);
    case 'e':
        return extend(r, CM3_PICKLE_LIST, -1);
    case '}':
        return push_items(r, CM3_PICKLE_DICT, 0);
    case 'd':
        return push_items(r, CM3_PICKLE_DICT, -1);
    case 's':
        return extend(r, CM3_PICKLE_DICT, 2);
    case 'u':
        return extend(r, CM3_PICKLE_DICT, -1);
    case 'c':
        return global_of_lines(r);
    case 0x93:
        return global_of_stack(r);
    case 'R':
        return reduce(r);
    case 'b':
        return drop_state(r);
    case 'Q':
        return persistent(r);
    case 'q':
        return by_number(r, 1, remember);
    case 'r':
        return by_number(r, 4, remember);
    case 0x94:
        return remember(r, r->memo_count);
    case 'h':
        return by_number(r, 1, recall);
    case 'j':
        return by_number(r, 4, recall);
    default:
        return refuse(r, opcode);
    }
}

static cm3_status run(reader *r, const cm3_pickle_value **value) {
    for (;;) {
        r->opcode_at = r->at;
        if (r->at == r->size) return fail(r, CM3_ERROR_TRUNCATED, "the pickle has no end");
        uint8_t opcode = r->data[r->at++];
        if (opcode != '.') {
            CM3_TRY(run_opcode(r, opcode));
            continue;
        }
        if (r->depth != 1 || r->mark_count) return fail(r, CM3_ERROR_FORMAT, "it does not end with one value");
        *value = r->stack[0];
        return CM3_OK;
    }
}

cm3_status cm3_pickle_read(cm3_context *context, const char *name, const uint8_t *data, size_t size, cm3_arena *arena,
                           const cm3_pickle_value **value) {
    reader r = {.context = context, .name = name, .data = data, .size = size, .arena = arena};
    *value = NULL;
    cm3_status status = run(&r, value);
    cm3_free(context, r.stack);
    cm3_free(context, r.marks);
    cm3_free(context, r.memo);
    return status;
}

const cm3_pickle_value *cm3_pickle_get(const cm3_pickle_value *dict, const char *key) {
    const cm3_pickle_value *found = NULL;
    if (dict->kind != CM3_PICKLE_DICT) return NULL;
    for (const cm3_pickle_item *item = dict->as.items.first; item; item = item->next) {
        if (item->key->kind == CM3_PICKLE_STRING && same(key, item->key->as.string.text, item->key->as.string.size)) {
            found = item->value;
        }
    }
    return found;
}
