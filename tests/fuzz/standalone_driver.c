/* Runs a fuzzer without libFuzzer, so that every build and every compiler can: each corpus file once,
 * then seeded mutations of them. The same seed gives the same inputs.
 *
 *   NAME_fuzz [-runs=N] [-seed=S] [FILE|FOLDER]...
 *
 * Flags and exit status follow libFuzzer where both have them; unknown flags are ignored. A crash is the
 * sanitizer's or the kernel's to report: the failing mutation is found again by its seed and run number. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_SIZE = 1 << 16, MAX_INPUTS = 4096 };

typedef struct input {
    uint8_t *data;
    size_t size;
} input;

static input inputs[MAX_INPUTS];
static size_t input_count;
static uint64_t random_state;

/* xorshift64*; the state is never zero. */
static uint64_t next_random(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

static size_t random_below(size_t bound) { return (size_t)(next_random() % bound); }

/* Reads at most MAX_SIZE bytes; a file that can't be opened is reported and left out. */
static void add_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return;
    }
    uint8_t *data = malloc(MAX_SIZE);
    if (data && input_count < MAX_INPUTS)
        inputs[input_count++] = (input){data, fread(data, 1, MAX_SIZE, file)};
    else
        free(data);
    fclose(file);
}

static int compare_names(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* A folder that does not exist is an empty corpus. */
static void add_path(const char *path) {
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, compare_names);
    if (count < 0) {
        FILE *file = fopen(path, "rb");
        if (file) {
            fclose(file);
            add_file(path);
        }
        return;
    }
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            char name[4096];
            snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
            add_file(name);
        }
        free(entries[i]);
    }
    free(entries);
}

/* Changes `data` in place by one of: bit flip, byte, cut, repeat of a stretch. Returns the new size. */
static size_t mutate(uint8_t *data, size_t size) {
    size_t at = size ? random_below(size) : 0;
    switch (size ? random_below(4) : 1) {
    case 0: data[at] = (uint8_t)(data[at] ^ (1u << random_below(8))); return size;
    case 1: data[at] = (uint8_t)next_random(); return size ? size : 1;
    case 2: return at;
    default: {
        size_t length = 1 + random_below(size - at);
        if (size + length > MAX_SIZE)
            return size;
        memmove(data + at + length, data + at, size - at);
        return size + length;
    }
    }
}

/* The fuzzer sees an exact-size heap block, so that a read beyond it is caught. */
static void run_once(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return;
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

int main(int argc, char **argv) {
    static uint8_t buffer[MAX_SIZE];
    unsigned long runs = 0;
    unsigned long long seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0)
            runs = strtoul(argv[i] + 6, NULL, 10);
        else if (strncmp(argv[i], "-seed=", 6) == 0)
            seed = strtoull(argv[i] + 6, NULL, 10);
        else if (argv[i][0] != '-')
            add_path(argv[i]);
    }
    for (size_t i = 0; i < input_count; i++)
        run_once(inputs[i].data, inputs[i].size);
    random_state = seed ? seed : 1;
    for (unsigned long run = 0; run < runs; run++) {
        size_t size = 0;
        if (input_count) {
            const input *from = &inputs[random_below(input_count)];
            size = from->size;
            memcpy(buffer, from->data, size);
        }
        for (size_t changes = 1 + random_below(8); changes > 0; changes--)
            size = mutate(buffer, size);
        run_once(buffer, size);
    }
    printf("%zu corpus files and %lu mutations run\n", input_count, runs);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].data);
    return 0;
}
