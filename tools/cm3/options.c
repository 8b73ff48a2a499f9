/* Reading options. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static const cm3_option *find(const cm3_option *options, const char *word, size_t length) {
    for (const cm3_option *o = options; o->name; o++) {
        if (strlen(o->name) == length && !strncmp(o->name, word, length)) return o;
        if (o->brief && strlen(o->brief) == length && !strncmp(o->brief, word, length)) return o;
    }
    return NULL;
}

static bool in_range(const cm3_option *o, double value) {
    if (o->minimum == 0 && o->maximum == 0) return true;
    if (value >= o->minimum && value <= o->maximum) return true;
    bool whole = o->kind == CM3_OPTION_INT;
    cm3_say(whole ? "%s must be %.0f to %.0f" : "%s must be %g to %g", o->name, o->minimum, o->maximum);
    return false;
}

static bool set(const cm3_option *o, const char *text) {
    char *end = NULL;
    errno = 0;
    if (o->kind == CM3_OPTION_TEXT) {
        *(const char **)o->value = text;
        return true;
    }
    if (o->kind == CM3_OPTION_LIST) {
        cm3_list *list = o->value;
        if (list->count == sizeof list->items / sizeof *list->items) {
            cm3_say("%s: too many words", o->name);
            return false;
        }
        list->items[list->count++] = text;
        return true;
    }
    if (o->kind == CM3_OPTION_SEED) {
        unsigned long long value = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
        if (!end || *end || errno) {
            cm3_say("%s: '%s' is not a whole number from 0 to 18446744073709551615", o->name, text);
            return false;
        }
        *(uint64_t *)o->value = value;
        return true;
    }
    if (o->kind == CM3_OPTION_INT) {
        long long value = *text == '-' || (*text >= '0' && *text <= '9') ? strtoll(text, &end, 10) : 0;
        if (!end || *end || errno) {
            cm3_say("%s: '%s' is not a whole number", o->name, text);
            return false;
        }
        *(int64_t *)o->value = value;
        return in_range(o, (double)value);
    }
    double value = strtod(text, &end);
    if (end == text || *end || errno || value != value) {
        cm3_say("%s: '%s' is not a number", o->name, text);
        return false;
    }
    *(double *)o->value = value;
    return in_range(o, value);
}

bool cm3_options_parse(int argc, char **argv, const cm3_option *options, cm3_list *words) {
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '=');
        if (word[0] != '-' || !word[1]) {
            if (!words || words->count == sizeof words->items / sizeof *words->items) {
                cm3_say("'%s' is one word too many; --help tells what is wanted", word);
                return false;
            }
            words->items[words->count++] = word;
            continue;
        }
        size_t length = equals && word[1] == '-' ? (size_t)(equals - word) : strlen(word);
        const cm3_option *o = find(options, word, length);
        if (!o) {
            cm3_say("there is no option '%s'; --help lists them", word);
            return false;
        }
        if (o->kind == CM3_OPTION_FLAG) {
            *(bool *)o->value = true;
            continue;
        }
        if (length < strlen(word)) {
            if (!set(o, equals + 1)) return false;
            continue;
        }
        if (++i == argc) {
            cm3_say("%s wants a value", o->name);
            return false;
        }
        if (!set(o, argv[i])) return false;
        while (o->kind == CM3_OPTION_LIST && i + 1 < argc && argv[i + 1][0] != '-') {
            if (!set(o, argv[++i])) return false;
        }
    }
    return true;
}

/** Whether two lists of words have one in common. */
static bool have_common_word(const char *some, const char *others) {
    for (const char *a = some; *(a += strspn(a, " ")); a += strcspn(a, " ")) {
        const size_t length = strcspn(a, " ");
        for (const char *b = others; *(b += strspn(b, " ")); b += strcspn(b, " ")) {
            if (strcspn(b, " ") == length && !strncmp(a, b, length)) return true;
        }
    }
    return false;
}

bool cm3_options_fit(int argc, char **argv, const cm3_option *options, const cm3_option_use *uses, const char *call,
                     const char *parts) {
    for (int i = 0; i < argc; i++) {
        const char *equals = argv[i][0] == '-' && argv[i][1] == '-' ? strchr(argv[i], '=') : NULL;
        const cm3_option *o = find(options, argv[i], equals ? (size_t)(equals - argv[i]) : strlen(argv[i]));
        if (!o) continue;
        for (const cm3_option_use *use = uses; use->name; use++) {
            if (strcmp(use->name, o->name) != 0 || have_common_word(use->parts, parts)) continue;
            cm3_say("%s: %s is not for this, but for: %s", call, o->name, use->parts);
            return false;
        }
        if (o->kind != CM3_OPTION_FLAG && !equals) i++; /* its value; further ones of a list begin with no - */
    }
    return true;
}

const char *cm3_model_asked_for(const char *given) {
    const char *named = given ? given : getenv("CM3_MODEL");
    return named && *named ? named : NULL;
}

const char *cm3_base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

bool cm3_wants_help(int argc, char **argv, const cm3_option *options) {
    for (int i = 0; i < argc; i++) {
        const cm3_option *o = options ? find(options, argv[i], strlen(argv[i])) : NULL;
        if (o && o->kind != CM3_OPTION_FLAG && o->kind != CM3_OPTION_LIST) i++;
        if (o) continue;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    }
    return false;
}
