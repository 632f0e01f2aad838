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

sinter_status *sinter_device_open(const char *name, const sinter_allocator *allocator,
                                  sinter_device **out_device) {
    if (!name || !out_device)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "%s: expected an address, found NULL",
                           name ? "out_device" : "name");
    *out_device = NULL;
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        size_t length = strlen(drivers[i]->name);
        uint32_t ordinal;
        if (!strncmp(name, drivers[i]->name, length) && read_ordinal(name + length, &ordinal))
            return drivers[i]->open(ordinal, allocator, out_device);
    }
    return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "device '%s': expected cpu, cuda or cuda:NUMBER",
                       name);
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
