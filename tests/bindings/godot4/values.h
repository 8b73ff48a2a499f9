/* What the host's values are made of, for host.c. */
#ifndef CM3_TEST_GODOT4_VALUES_H
#define CM3_TEST_GODOT4_VALUES_H

#include "host.h"

#define HOST_ENTRIES 128

typedef struct host_string {
    int references;
    size_t size;
    char text[];
} host_string;

typedef struct host_bytes {
    int references;
    size_t size;
    uint8_t *data;
} host_bytes;

typedef struct host_dictionary {
    int references;
    size_t count;
    host_variant keys[HOST_ENTRIES], values[HOST_ENTRIES];
} host_dictionary;

/** Ends the test program where it is not so, or the calling thread is not the first one's. */
void host_expect(int right, const char *what);
void host_check(const host_variant *variant);
void host_count(int more);

host_string *host_string_make(const char *text, size_t size);
host_string *host_string_hold(host_string *string);
void host_string_drop(host_string *string);

/** Nobody else's: what is written to is copied before, where it is shared. */
host_bytes *host_bytes_own(host_bytes **place);
void host_bytes_resize(host_bytes *bytes, size_t size);
host_variant host_bytes_new(void);

/** Variants of what somebody holds, whose hold they take over. */
host_variant host_string_of_held(host_string *string);
host_variant host_bytes_of_held(host_bytes *bytes);

host_variant host_copy(const host_variant *from);
host_variant *host_find(host_dictionary *dictionary, const host_variant *key);
/** Both are the dictionary's then. */
void host_set(host_dictionary *dictionary, host_variant key, host_variant value);

#endif
