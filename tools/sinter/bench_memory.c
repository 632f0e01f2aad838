/* What a run takes where no compiler is around: the engine's program as an artifact, run by a process of its own, whose peak
 * less what it held before is the figure. Test: tests/cli/bench.test */
#include "ir/base/file.h"
#include "ir/base/process.h"
#include "tools/sinter/command.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void keep_pages(void) {
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 64 << 20);
}

uint64_t memory_now(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long long pages = 0, resident = 0;
    if (file) {
        if (fscanf(file, "%llu %llu", &pages, &resident) != 2) resident = 0;
        fclose(file);
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Of this program image: getrusage would count what the parent had. */
uint64_t memory_peak(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kilobytes = 0;
    while (file && fgets(line, sizeof line, file) &&
           sscanf(line, "VmHWM: %llu kB", &kilobytes) != 1)
        continue;
    if (file) fclose(file);
    return kilobytes * 1024;
}

/* A mapping that only overlaps the range counts for its share of it, which is exact where it lies on one kind of pages. */
uint64_t memory_huge(const void *start, uint64_t bytes) {
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512], key[64];
    unsigned long long first = 0, end = 0, kilobytes;
    const uint64_t from = (uintptr_t)start, to = from + bytes;
    double huge = 0;
    while (file && fgets(line, sizeof line, file)) {
        unsigned long long low, high;
        if (sscanf(line, "%llx-%llx ", &low, &high) == 2) {
            first = low;
            end = high;
        } else if (first < to && end > from &&
                   sscanf(line, "%63[A-Za-z]: %llu", key, &kilobytes) == 2 &&
                   is_named("AnonHugePages FilePmdMapped ShmemPmdMapped", key)) {
            uint64_t low_end = first > from ? first : from, high_end = end < to ? end : to;
            huge += (double)kilobytes * 1024 * (double)(high_end - low_end) / (double)(end - first);
        }
    }
    if (file) fclose(file);
    return (uint64_t)huge;
}

static bool read_figure(const char *path, uint64_t *out_bytes) {
    char text[4096];
    FILE *file = fopen(path, "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[size] = '\0';
    const char *found = strstr(text, "\"run_rss_bytes\": ");
    unsigned long long bytes = 0;
    if (!found || sscanf(found, "\"run_rss_bytes\": %llu", &bytes) != 1) return false;
    *out_bytes = bytes;
    return true;
}

/* The same command on the artifact, for one run. */
static bool run_child(const char *folder, const char *artifact, const char *json,
                      const arguments *a) {
    char json_option[300];
    snprintf(json_option, sizeof json_option, "--json=%s", json);
    const char **list = sinter_heap_alloc((12 + 2 * a->option_count) * sizeof *list);
    size_t count = 0;
    list[count++] = "/proc/self/exe";
    list[count++] = "bench";
    list[count++] = artifact;
    list[count++] = "--seconds=0";
    list[count++] = json_option;
    list[count++] = "--device";
    list[count++] = device_name(a, arguments_find(a, "target"));
    for (size_t i = 0; i < a->option_count; ++i) {
        static const char *const passed[][2] = {
            {"i", "-i"}, {"threads", "--threads"}, {"size", "--size"}};
        for (size_t k = 0; k < sizeof passed / sizeof *passed; ++k) {
            if (strcmp(a->options[i].name, passed[k][0])) continue;
            list[count++] = passed[k][1];
            list[count++] = a->options[i].value;
        }
    }
    int status = 1;
    bool good = !sinter_process_run(list, folder, "/dev/null", &status) && WIFEXITED(status) &&
                WEXITSTATUS(status) == 0;
    sinter_heap_free(list);
    return good;
}

bool measure_run_memory(const sinter_engine *engine, const arguments *a, uint64_t *out_bytes,
                        sinter_diag *diag) {
    char folder[SINTER_FILE_FOLDER_BYTES], artifact[256], json[256];
    if (!sinter_file_make_folder(folder, diag)) return false;
    snprintf(artifact, sizeof artifact, "%s/model.so", folder);
    snprintf(json, sizeof json, "%s/figures.json", folder);
    bool good = sinter_engine_package(engine, artifact, diag);
    if (good && (!run_child(folder, artifact, json, a) || !read_figure(json, out_bytes)))
        good = sinter_error(diag, artifact, "the artifact does not run in a process of its own");
    sinter_file_remove_folder(folder);
    return good;
}
