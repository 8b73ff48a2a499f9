/* The engine, the cache of primitives, and how one is run. */
#include "nn/onednn/primitive.h"

#include "nn/onednn/pack.h"

cm3_status cm3_dnn_create(cm3_context *context, cm3_team *team, bool measure, cm3_dnn **dnn) {
    *dnn = NULL;
    cm3_dnn *d = cm3_calloc(context, 1, sizeof *d);
    if (!d) return cm3_fail_memory(context, sizeof *d, "oneDNN's cache");
    d->context = context;
    d->measure = measure;
    d->team = team;
    d->threads = cm3_team_size(team);
    if (dnnl_engine_create(&d->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags) != dnnl_success) {
        cm3_dnn_destroy(d);
        return cm3_fail(context, CM3_ERROR_NO_MEMORY, "oneDNN's engine could not be made");
    }
    *dnn = d;
    return CM3_OK;
}

static void clear_entry(cm3_dnn_entry *entry) {
    for (int i = 0; i < entry->port_count; i++) {
        cm3_dnn_port *port = &entry->ports[i];
        if (port->reorder) dnnl_primitive_destroy(port->reorder);
        if (port->packed) dnnl_memory_destroy(port->packed);
        if (port->plain) dnnl_memory_destroy(port->plain);
    }
    if (entry->scratch) dnnl_memory_destroy(entry->scratch);
    if (entry->primitive) dnnl_primitive_destroy(entry->primitive);
    entry->port_count = 0;
    entry->scratch = NULL;
    entry->primitive = NULL;
    entry->packed_size = entry->scratch_size = 0;
}

void cm3_dnn_destroy(cm3_dnn *dnn) {
    if (!dnn) return;
    for (size_t i = 0; i < CM3_DNN_BUCKETS; i++) {
        while (dnn->buckets[i]) {
            cm3_dnn_entry *entry = dnn->buckets[i];
            dnn->buckets[i] = entry->next;
            clear_entry(entry);
            cm3_free(dnn->context, entry);
        }
    }
    if (dnn->stream) dnnl_stream_destroy(dnn->stream);
    if (dnn->engine) dnnl_engine_destroy(dnn->engine);
    cm3_free(dnn->context, dnn->memory);
    cm3_free(dnn->context, dnn);
}

/** FNV-1a over the key's words. */
static size_t bucket_of(const cm3_dnn_key *key) {
    uint64_t words[sizeof *key / sizeof(uint64_t)], hash = 0xcbf29ce484222325u;
    memcpy(words, key, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) hash = (hash ^ words[i]) * 0x100000001b3u;
    return (size_t)(hash >> 32) % CM3_DNN_BUCKETS;
}

cm3_dnn_entry *cm3_dnn_find(cm3_dnn *dnn, const cm3_dnn_key *key) {
    cm3_dnn_entry *entry = dnn->buckets[bucket_of(key)];
    while (entry && memcmp(&entry->key, key, sizeof *key) != 0) entry = entry->next;
    if (entry) entry->last_use = ++dnn->uses;
    return entry;
}

static void drop_oldest(cm3_dnn *dnn) {
    cm3_dnn_entry **oldest = NULL;
    for (size_t i = 0; i < CM3_DNN_BUCKETS; i++) {
        for (cm3_dnn_entry **link = &dnn->buckets[i]; *link; link = &(*link)->next) {
            if (!oldest || (*link)->last_use < (*oldest)->last_use) oldest = link;
        }
    }
    if (!oldest) return;
    cm3_dnn_entry *entry = *oldest;
    *oldest = entry->next;
    if (dnn->last == entry) dnn->last = NULL;
    clear_entry(entry);
    cm3_free(dnn->context, entry);
    dnn->entry_count--;
}

cm3_dnn_entry *cm3_dnn_insert(cm3_dnn *dnn, const cm3_dnn_key *key) {
    if (dnn->entry_count >= CM3_DNN_MAX_ENTRIES) drop_oldest(dnn);
    cm3_dnn_entry *entry = cm3_calloc(dnn->context, 1, sizeof *entry);
    if (!entry) return NULL;
    size_t bucket = bucket_of(key);
    entry->key = *key;
    entry->last_use = ++dnn->uses;
    entry->next = dnn->buckets[bucket];
    dnn->buckets[bucket] = entry;
    dnn->entry_count++;
    return entry;
}

dnnl_primitive_attr_t cm3_dnn_attributes(void) {
    dnnl_primitive_attr_t attributes = NULL;
    if (dnnl_primitive_attr_create(&attributes) != dnnl_success) return NULL;
    if (dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user) != dnnl_success) {
        dnnl_primitive_attr_destroy(attributes);
        return NULL;
    }
    return attributes;
}

bool cm3_dnn_is_fast(const_dnnl_primitive_desc_t pd) {
    const char *name = NULL;
    if (dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name) != dnnl_success || !name) return true;
    return strncmp(name, "ref", 3) != 0 && strncmp(name, "naive", 5) != 0;
}

/** The port's other layout and the way between the two. */
static dnnl_status_t add_packed(cm3_dnn *dnn, cm3_dnn_port *port, cm3_md_ref plain, cm3_md_ref wanted) {
    dnnl_status_t status = dnnl_memory_create(&port->packed, wanted, dnn->engine, DNNL_MEMORY_NONE);
    if (status != dnnl_success) return status;
    port->packed_size = cm3_md_size(wanted);
    if (port->block) return dnnl_success;
    cm3_md_ref from = port->output ? wanted : plain, to = port->output ? plain : wanted;
    dnnl_primitive_desc_t pd;
    status = dnnl_reorder_primitive_desc_create(&pd, from, dnn->engine, to, dnn->engine, NULL);
    if (status != dnnl_success) return status;
    status = dnnl_primitive_create(&port->reorder, pd);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

dnnl_status_t cm3_dnn_add_port(cm3_dnn *dnn, cm3_dnn_entry *entry, const_dnnl_primitive_desc_t pd, int argument,
                               cm3_md_ref plain, dnnl_query_t query, bool output) {
    cm3_dnn_port *port = &entry->ports[entry->port_count++];
    *port = (cm3_dnn_port){.argument = argument, .output = output};
    dnnl_status_t status = dnnl_memory_create(&port->plain, plain, dnn->engine, DNNL_MEMORY_NONE);
    if (status != dnnl_success) return status;
    if (query == dnnl_query_undef) return dnnl_success;
    cm3_md_ref wanted = dnnl_primitive_desc_query_md(pd, query, 0);
    if (!wanted || dnnl_memory_desc_equal(wanted, plain)) return dnnl_success;
    return add_packed(dnn, port, plain, wanted);
}

dnnl_status_t cm3_dnn_add_weights(cm3_dnn *dnn, cm3_dnn_entry *entry, const_dnnl_primitive_desc_t pd, cm3_md_ref plain,
                                  const cm3_conv_shape *shape, cm3_dtype from, bool widen) {
    cm3_dnn_port *port = &entry->ports[entry->port_count++];
    *port = (cm3_dnn_port){.argument = DNNL_ARG_WEIGHTS, .from = from};
    cm3_md_ref wanted = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    dnnl_status_t status = dnnl_memory_create(&port->plain, plain, dnn->engine, DNNL_MEMORY_NONE);
    if (status != dnnl_success) return status;
    const bool plainly = dnnl_memory_desc_equal(wanted, plain);
    if (!plainly) port->block = cm3_dnn_block(wanted, shape);
    if (widen && !port->block) return dnnl_unimplemented;
    return plainly ? dnnl_success : add_packed(dnn, port, plain, wanted);
}

/** Sizes in one block are rounded up so that each part stays aligned. */
static size_t aligned(size_t size) {
    return (size + 63) / 64 * 64;
}

dnnl_status_t cm3_dnn_finish(cm3_dnn *dnn, cm3_dnn_entry *entry, const_dnnl_primitive_desc_t pd) {
    cm3_md_ref scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    if (scratch && cm3_md_size(scratch) > 0) {
        dnnl_status_t status = dnnl_memory_create(&entry->scratch, scratch, dnn->engine, DNNL_MEMORY_NONE);
        if (status != dnnl_success) return status;
        entry->scratch_size = cm3_md_size(scratch);
    }
    for (int i = 0; i < entry->port_count; i++) entry->packed_size += aligned(entry->ports[i].packed_size);
    return dnnl_primitive_create(&entry->primitive, pd);
}

cm3_status cm3_dnn_refuse(cm3_dnn *dnn, cm3_dnn_entry *entry, dnnl_status_t status) {
    clear_entry(entry);
    if (status == dnnl_out_of_memory) return cm3_fail(dnn->context, CM3_ERROR_NO_MEMORY, "oneDNN is out of memory");
    return CM3_ERROR_UNSUPPORTED;
}

cm3_status cm3_dnn_reserve(cm3_dnn *dnn, size_t size) {
    if (size <= dnn->memory_size) return CM3_OK;
    cm3_free(dnn->context, dnn->memory);
    dnn->memory_size = 0;
    dnn->memory = cm3_alloc(dnn->context, size);
    if (!dnn->memory) return cm3_fail_memory(dnn->context, size, "oneDNN's scratch");
    dnn->memory_size = size;
    return CM3_OK;
}

void cm3_dnn_trim(cm3_dnn *dnn, size_t most) {
    if (dnn->memory_size <= most) return;
    cm3_free(dnn->context, dnn->memory);
    dnn->memory = NULL;
    dnn->memory_size = 0;
}

void cm3_dnn_idle(cm3_dnn *dnn, bool idle) {
    dnn->idle = idle;
}

size_t cm3_dnn_measured(const cm3_dnn *dnn) {
    return dnn->measured;
}

void cm3_dnn_measure_anew(cm3_dnn *dnn) {
    dnn->measured = 0;
}

static dnnl_status_t reorder(cm3_dnn *dnn, const cm3_dnn_port *port) {
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, port->output ? port->packed : port->plain},
                                   {DNNL_ARG_TO, port->output ? port->plain : port->packed}};
    return dnnl_primitive_execute(port->reorder, dnn->stream, 2, arguments);
}

/** An input in the primitive's layout, at `to`. */
static dnnl_status_t pack(cm3_dnn *dnn, const cm3_dnn_key *key, const cm3_dnn_port *port, const void *data, void *to) {
    if (!port->block) return reorder(dnn, port);
    cm3_conv_shape shape;
    memcpy(&shape, key->shape, sizeof shape);
    cm3_dnn_pack(dnn->team, &shape, data, port->from, port->block, to);
    return dnnl_success;
}

static dnnl_status_t execute(cm3_dnn *dnn, cm3_dnn_entry *entry, void *const *data, bool packed) {
    dnnl_exec_arg_t arguments[CM3_DNN_PORTS + 1];
    dnnl_status_t status = dnnl_success;
    char *memory = dnn->memory;
    int count = 0;
    for (int i = 0; i < entry->port_count && status == dnnl_success; i++) {
        cm3_dnn_port *port = &entry->ports[i];
        status = dnnl_memory_set_data_handle(port->plain, data[i]);
        if (port->packed && status == dnnl_success) {
            status = dnnl_memory_set_data_handle(port->packed, memory);
            bool stands = packed && i == 0;
            if (!port->output && !stands && status == dnnl_success)
                status = pack(dnn, &entry->key, port, data[i], memory);
            memory += aligned(port->packed_size);
        }
        arguments[count++] = (dnnl_exec_arg_t){port->argument, port->packed ? port->packed : port->plain};
    }
    if (entry->scratch && status == dnnl_success) {
        status = dnnl_memory_set_data_handle(entry->scratch, memory);
        arguments[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, entry->scratch};
    }
    if (status == dnnl_success) status = dnnl_primitive_execute(entry->primitive, dnn->stream, count, arguments);
    for (int i = 0; i < entry->port_count && status == dnnl_success; i++) {
        if (entry->ports[i].packed && entry->ports[i].output) status = reorder(dnn, &entry->ports[i]);
    }
    if (status == dnnl_success) status = dnnl_stream_wait(dnn->stream);
    return status;
}

/** Whether two entries pack their first port in the same way. */
static bool pack_alike(const cm3_dnn_entry *a, const cm3_dnn_entry *b) {
    if (!a || !a->ports[0].packed || !b->ports[0].packed) return false;
    return a == b || cm3_memory_alike(a->ports[0].packed, b->ports[0].packed);
}

static cm3_status run(cm3_dnn *dnn, cm3_dnn_entry *entry, void *const *data, bool again) {
    /* Within a range its regions have one thread, and not all kernels bear less than they were made for. */
    if (!entry->primitive || (dnn->threads > 1 && cm3_parallel_inside())) return CM3_ERROR_UNSUPPORTED;
    size_t size = entry->packed_size + entry->scratch_size;
    if (size > dnn->measured) dnn->measured = size;
    if (dnn->measure || dnn->idle) return CM3_OK;
    const char *before = dnn->memory;
    CM3_TRY(cm3_dnn_reserve(dnn, size));
    bool packed = again && before == dnn->memory && pack_alike(dnn->last, entry);
    dnn->last = entry;
    dnnl_status_t status = execute(dnn, entry, data, packed);
    if (status == dnnl_success) return CM3_OK;
    dnn->last = NULL;
    if (status == dnnl_out_of_memory) return cm3_fail(dnn->context, CM3_ERROR_NO_MEMORY, "oneDNN is out of memory");
    return cm3_fail(dnn->context, CM3_ERROR_INTERNAL, "oneDNN failed with status %d", (int)status);
}

cm3_status cm3_dnn_run(cm3_dnn *dnn, cm3_dnn_entry *entry, void *const *data) {
    return run(dnn, entry, data, false);
}

cm3_status cm3_dnn_run_again(cm3_dnn *dnn, cm3_dnn_entry *entry, void *const *data) {
    return run(dnn, entry, data, true);
}
