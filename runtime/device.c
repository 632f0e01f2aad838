/* Which drivers there are, and devices by name: "cpu", "cuda", "cuda:1". Test: tests/unit/device_test.c */
#include "runtime/device.h"
#include "runtime/allocator.h"
#include "runtime/status.h"

#include <string.h>

static const sinter_device_driver *const drivers[] = {&sinter_device_cpu, &sinter_device_cuda};

/* The number after the colon; false for anything else. */
static bool read_ordinal(const char *text, uint32_t *out_ordinal) {
    *out_ordinal = 0;
    if (!*text) return true;
    if (*text++ != ':' || !*text || strlen(text) > 4) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        *out_ordinal = *out_ordinal * 10 + (uint32_t)(*text - '0');
    }
    return true;
}

/* The driver that the name is of, and which device; NULL: none. */
static const sinter_device_driver *find_driver(const char *name, uint32_t *out_ordinal) {
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        size_t length = strlen(drivers[i]->name);
        if (!strncmp(name, drivers[i]->name, length) && read_ordinal(name + length, out_ordinal))
            return drivers[i];
    }
    return NULL;
}

static sinter_status *no_such_name(const char *name) {
    return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "device '%s': expected cpu, cuda or cuda:NUMBER",
                       name);
}

sinter_status *sinter_device_open(const char *name, const sinter_allocator *allocator,
                                  sinter_device **out_device) {
    if (!name || !out_device)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "%s: expected an address, found NULL",
                           name ? "out_device" : "name");
    *out_device = NULL;
    uint32_t ordinal;
    const sinter_device_driver *driver = find_driver(name, &ordinal);
    if (!driver) return no_such_name(name);
    sinter_status *status = driver->open(ordinal, allocator, out_device);
    if (!status) (*out_device)->ordinal = ordinal;
    return status;
}

sinter_status *sinter_device_count(const char *name, uint32_t *out_count) {
    uint32_t ordinal;
    const sinter_device_driver *driver = find_driver(name, &ordinal);
    *out_count = 0;
    return driver ? driver->count(out_count) : no_such_name(name);
}

sinter_status *sinter_device_turns_get(sinter_device_turns *turns, int64_t number,
                                       sinter_device **out_device) {
    sinter_device *first = turns->first;
    sinter_status *status = NULL;
    *out_device = first;
    if (!first || !number) return NULL;
    if (!turns->others) {
        status = first->driver->count(&turns->count);
        if (!status && turns->count <= first->ordinal) turns->count = first->ordinal + 1;
        if (!status) turns->others = sinter_device_new(first, turns->count * sizeof *turns->others);
        if (!status && !turns->others)
            status = SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a list of devices");
        if (status) return status;
    }
    const uint32_t distance = (uint32_t)(number % turns->count);
    sinter_device **other = &turns->others[distance];
    if (!distance) return NULL;
    if (!*other) {
        const uint32_t ordinal = (first->ordinal + distance) % turns->count;
        status = first->driver->open(ordinal, first->allocator, other);
        if (!status) (*other)->ordinal = ordinal;
    }
    *out_device = *other;
    return status;
}

void sinter_device_turns_close(sinter_device_turns *turns) {
    for (uint32_t i = 0; turns->others && i < turns->count; i++)
        sinter_device_close(turns->others[i]);
    if (turns->others)
        sinter_device_delete(turns->first, turns->others, turns->count * sizeof *turns->others);
    *turns = (sinter_device_turns){0};
}

void sinter_device_close(sinter_device *device) {
    if (device) device->driver->close(device);
}

const char *sinter_device_name(const sinter_device *device) {
    return device ? device->properties.name : "";
}

void *sinter_device_native_stream(const sinter_device_stream *stream) {
    return stream->native;
}

sinter_device *sinter_device_create(const sinter_device_driver *driver,
                                    const sinter_allocator *allocator, size_t size) {
    sinter_device *device = sinter_allocate(allocator, size, 64);
    if (!device) return NULL;
    memset(device, 0, size);
    device->driver = driver;
    if (allocator) {
        device->allocator_copy = *allocator;
        device->allocator = &device->allocator_copy;
    }
    return device;
}

void sinter_device_destroy(sinter_device *device, size_t size) {
    sinter_allocator allocator = device->allocator_copy;
    sinter_deallocate(device->allocator ? &allocator : NULL, device, size, 64);
}

void *sinter_device_new(const sinter_device *device, size_t size) {
    void *memory = sinter_allocate(device->allocator, size, 64);
    if (memory) memset(memory, 0, size);
    return memory;
}

void sinter_device_delete(const sinter_device *device, void *memory, size_t size) {
    sinter_deallocate(device->allocator, memory, size, 64);
}
