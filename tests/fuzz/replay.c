/*
 * Runs a target over committed seeds, without libFuzzer: any compiler builds it, and the tests run it each time.
 *   fuzz_TARGET PATH...      files, or folders of files
 */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static size_t inputs;

/* In memory that ends where the input ends, so that a step beyond is seen. */
static bool run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        if (file != NULL) fclose(file);
        return false;
    }
    size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size + (size == 0));
    FUZZ_CHECK(data != NULL && fread(data, 1, size, file) == size);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    ++inputs;
    return true;
}

static bool run_path(const char *path) {
    DIR *directory = opendir(path);
    if (directory == NULL) return run_file(path);
    bool good = true;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char joined[4096];
        snprintf(joined, sizeof joined, "%s/%s", path, entry->d_name);
        fprintf(stderr, "%s\n", joined); /* the last line before a crash names the input */
        good = run_file(joined) && good;
    }
    closedir(directory);
    return good;
}

int main(int argc, char **argv) {
    bool good = argc > 1;
    for (int i = 1; i < argc; ++i) good = run_path(argv[i]) && good;
    printf("%zu inputs\n", inputs);
    return good && inputs > 0 ? 0 : 1;
}
