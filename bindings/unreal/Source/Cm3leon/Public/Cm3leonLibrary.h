// The native library, loaded by its path: a table of its functions. Knows nothing of the engine, throws nothing.
#pragma once

#include <memory>
#include <string>

#include <cm3leon/cm3leon.h>

#ifndef CM3LEON_API
#define CM3LEON_API // Unreal's build defines it; elsewhere there is nothing to export
#endif

// Every function that the plugin calls.
#define CM3LEON_FUNCTIONS(X)                                                                                           \
    X(cm3_status_name)                                                                                                 \
    X(cm3_api_version)                                                                                                 \
    X(cm3_context_options_init)                                                                                        \
    X(cm3_context_create)                                                                                              \
    X(cm3_context_destroy)                                                                                             \
    X(cm3_context_message)                                                                                             \
    X(cm3_model_load)                                                                                                  \
    X(cm3_model_destroy)                                                                                               \
    X(cm3_document_create)                                                                                             \
    X(cm3_document_destroy)                                                                                            \
    X(cm3_document_add_text)                                                                                           \
    X(cm3_generate_options_init)                                                                                       \
    X(cm3_request_start)                                                                                               \
    X(cm3_request_next_event)                                                                                          \
    X(cm3_request_cancel)                                                                                              \
    X(cm3_request_seed)                                                                                                \
    X(cm3_request_message)                                                                                             \
    X(cm3_request_destroy)                                                                                             \
    X(cm3_image_get_view)                                                                                              \
    X(cm3_image_retain)                                                                                                \
    X(cm3_image_destroy)

class CM3LEON_API FCm3leonLibrary {
  public:
    /**
     * Loads the library at a path (UTF-8). Null where that fails; Error then says why: no such file, a library that it
     * needs is missing, a function is, or its interface is of another major version than the headers.
     */
    static std::shared_ptr<const FCm3leonLibrary> Load(const char *Path, std::string &Error);

#define CM3LEON_MEMBER(Name) decltype(&::Name) Name = nullptr;
    CM3LEON_FUNCTIONS(CM3LEON_MEMBER)
#undef CM3LEON_MEMBER

  private:
    FCm3leonLibrary() = default;
};
