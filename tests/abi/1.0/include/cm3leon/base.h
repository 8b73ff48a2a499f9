/**
 * @file
 * Status codes, versions, the allocator and the log: what every other header builds on.
 */
#ifndef CM3LEON_BASE_H
#define CM3LEON_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define CM3_API __declspec(dllimport)
#elif defined(__GNUC__)
#define CM3_API __attribute__((visibility("default")))
#else
/** Marks what the library exports. */
#define CM3_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** Version of the product (the release). */
#define CM3_VERSION_MAJOR 0
/** Likewise. */
#define CM3_VERSION_MINOR 1
/** Likewise. */
#define CM3_VERSION_PATCH 0
/** All three, as text. */
#define CM3_VERSION_STRING "0.1.0"

/** Version of the interface; the SONAME of the shared library is its major number. docs/abi.md has the rules. */
#define CM3_API_VERSION_MAJOR 1
/** Grows with what is added. */
#define CM3_API_VERSION_MINOR 0

/**
 * What a function says of its outcome. Numbers are fixed for ever; new ones fill the gaps.
 * The message that goes with a failure is at cm3_context_message() or cm3_request_message().
 */
typedef enum cm3_status {
    CM3_OK = 0,

    CM3_ERROR_INVALID_ARGUMENT = 1, /**< NULL, out of range, or of the wrong kind; nothing was done */
    CM3_ERROR_NO_MEMORY = 2,        /**< an allocation failed */
    CM3_ERROR_BUSY = 3,             /**< the object is in use in a way that forbids the call */
    CM3_ERROR_CANCELLED = 4,        /**< stopped by cm3_request_cancel() or by a callback */
    CM3_ERROR_UNSUPPORTED = 5,      /**< well formed, but not something this build can do */
    CM3_ERROR_INTERNAL = 6,         /**< a mistake of the library itself: please report it */
    CM3_ERROR_THREAD = 7,           /**< a thread could not be started */

    CM3_ERROR_NOT_FOUND = 10, /**< no such file, tensor or key */
    CM3_ERROR_IO = 11,        /**< reading or writing failed; the message holds the system's words */
    CM3_ERROR_NO_SPACE = 12,  /**< the disk is full; what stood there before is untouched */

    CM3_ERROR_FORMAT = 20,    /**< the file is not what it should be */
    CM3_ERROR_VERSION = 21,   /**< the file is of a version that this library does not read */
    CM3_ERROR_TRUNCATED = 22, /**< the file ends too early */
    CM3_ERROR_CHECKSUM = 23,  /**< the file's data is not what its checksum says */

    CM3_ERROR_UTF8 = 30,    /**< text is not valid UTF-8 */
    CM3_ERROR_TOO_LONG = 31 /**< the document does not fit the model's context */
} cm3_status;

/** A short English name of a status ("out of memory"); never NULL, static. Any thread. */
CM3_API const char *cm3_status_name(cm3_status status);

/** The product version of the library that is running, such as "0.1.0"; static. Any thread. */
CM3_API const char *cm3_version(void);

/** The API version of the running library, major * 1000 + minor. Any thread. */
CM3_API uint32_t cm3_api_version(void);

/**
 * Where the library takes its memory from. All three functions may be called from any thread of the library and from
 * several at once. `alloc` returns memory aligned to `alignment` (a power of two, at most 64 unless `size` is above
 * 1 MiB, where it may be 2 MiB) or NULL, upon which the call that needed it fails with CM3_ERROR_NO_MEMORY. `free`
 * gets the same size that was asked for.
 */
typedef struct cm3_allocator {
    void *(*alloc)(void *user, size_t size, size_t alignment); /**< Memory, or NULL */
    void (*free)(void *user, void *pointer, size_t size);      /**< Takes memory of alloc back; never NULL */
    void *user;                                                /**< handed to the functions */
} cm3_allocator;

/** How grave a line of log is. */
typedef enum cm3_log_level {
    CM3_LOG_ERROR = 10,
    CM3_LOG_WARNING = 20,
    CM3_LOG_INFO = 30,
    CM3_LOG_DEBUG = 40
} cm3_log_level;

/** Receives one line of log, without a newline. May be called on the engine thread; must not call the library. */
typedef void (*cm3_log_fn)(void *user, cm3_log_level level, const char *line);

/**
 * Bytes from anywhere: a game pack, a database, a network. `read_at` fills exactly `size` bytes from `offset` and
 * returns 0, or anything else on failure. It is called only inside the call it is handed to, possibly on the engine
 * thread.
 */
typedef struct cm3_io {
    size_t struct_size; /**< sizeof(cm3_io) */
    int (*read_at)(void *user, uint64_t offset, void *buffer,
                   size_t size); /**< fills `size` bytes from `offset`; 0, or anything else on failure */
    uint64_t size;               /**< bytes in all */
    void *user;                  /**< handed to the functions */
} cm3_io;

#ifdef __cplusplus
}
#endif

#endif
