/* See device_code.h. Of the images of a module the one is loaded that suits the device best: for its very architecture, then
 * machine code of the same family, then text that the driver compiles. Test: tests/unit/device_run_test.c */
#include "runtime/device_code.h"
#include "runtime/status.h"

#include <stdio.h>
#include <string.h>

const sinter_abi_device_code *sinter_artifact_device_code(const sinter_abi_artifact *artifact) {
    return artifact->size >= sizeof *artifact ? artifact->device : NULL;
}

/* 0: it does not run there. */
static uint32_t fitness(const sinter_abi_image *image, uint32_t architecture) {
    enum { FAMILY = 1 << 12, VERY = 1 << 13 };
    if (image->kind == SINTER_ABI_IMAGE_EXACT)
        return image->architecture == architecture ? VERY : 0;
    if (image->architecture > architecture) return 0;
    if (image->kind == SINTER_ABI_IMAGE_TEXT) return 1 + image->architecture;
    return image->architecture / 10 == architecture / 10 ? FAMILY + image->architecture : 0;
}

/* "sm_80, sm_90a, compute_90" */
static void list_images(const sinter_abi_device_code *code, uint32_t module, char *text,
                        size_t size) {
    size_t used = 0;
    for (uint32_t i = 0; i < code->image_count && used < size; i++) {
        const sinter_abi_image *image = &code->images[i];
        if (image->module != module) continue;
        int wrote = snprintf(text + used, size - used, "%s%s_%u%s", used ? ", " : "",
                             image->kind == SINTER_ABI_IMAGE_TEXT ? "compute" : "sm",
                             image->architecture, image->kind == SINTER_ABI_IMAGE_EXACT ? "a" : "");
        used += wrote > 0 ? (size_t)wrote : size;
    }
}

static sinter_status *load_module(sinter_device_code *own, uint32_t module, const char *name) {
    const uint32_t architecture = own->device->properties.architecture;
    const sinter_abi_image *best = NULL;
    char text[512] = "nothing";
    for (uint32_t i = 0; i < own->code->image_count; i++) {
        const sinter_abi_image *image = &own->code->images[i];
        if (image->module == module && fitness(image, architecture) &&
            (!best || fitness(image, architecture) > fitness(best, architecture)))
            best = image;
    }
    if (best)
        return own->device->driver->module_load(own->device, best->bytes, best->size,
                                                &own->modules[module]);
    list_images(own->code, module, text, sizeof text);
    return SINTER_FAIL(SINTER_STATUS_WRONG_DEVICE,
                       "%s: no code for %s, which is sm_%u: it was compiled for %s", name,
                       own->device->properties.name, architecture, text);
}

static sinter_status *load_kernel(sinter_device_code *own, uint32_t kernel) {
    const sinter_abi_device_kernel *row = &own->code->kernels[kernel];
    if (!row->symbol) return NULL;
    if (row->module >= own->code->module_count)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT, "kernel '%s' is in module %u of %u",
                           row->symbol, row->module, own->code->module_count);
    return own->device->driver->function_get(own->modules[row->module], row->symbol,
                                             row->shared_bytes, &own->functions[kernel]);
}

static sinter_status *copy_weights(sinter_device_code *own, const void *weights, uint64_t bytes) {
    const sinter_device_driver *driver = own->device->driver;
    if (!bytes) return NULL;
    sinter_status *status = driver->allocate(own->stream, bytes, &own->weights);
    if (!status)
        status = driver->copy(own->stream, own->weights, weights, bytes, SINTER_ABI_COPY_TO_DEVICE);
    return status ? status : driver->stream_wait(own->stream);
}

static sinter_status *fill(sinter_device_code *own, const sinter_executable *executable) {
    const sinter_abi_artifact *artifact = executable->artifact;
    sinter_device *device = own->device;
    own->modules = sinter_device_new(device, (own->code->module_count + 1) * sizeof *own->modules);
    own->functions =
        sinter_device_new(device, (artifact->kernel_count + 1) * sizeof *own->functions);
    if (!own->modules || !own->functions)
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "%s: no memory for a table of kernels",
                           artifact->name);
    sinter_status *status = device->driver->stream_create(device, &own->stream);
    for (uint32_t i = 0; i < own->code->module_count && !status; i++)
        status = load_module(own, i, artifact->name);
    for (uint32_t i = 0; i < artifact->kernel_count && !status; i++) status = load_kernel(own, i);
    return status ? status : copy_weights(own, executable->weights, artifact->weights_bytes);
}

sinter_status *sinter_device_code_load(sinter_executable *executable, sinter_device *device) {
    sinter_device_code *own = sinter_device_new(device, sizeof *own);
    if (!own)
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "%s: no memory to load it for a device",
                           executable->artifact->name);
    own->device = device;
    own->code = executable->artifact->device;
    executable->device_code = own;
    if (!pthread_mutex_init(&own->lock, NULL)) return fill(own, executable);
    executable->device_code = NULL;
    sinter_device_delete(device, own, sizeof *own);
    return SINTER_FAIL(SINTER_STATUS_FAILED, "the system refused a lock");
}

/* What can't be given back stays with the device: there is nobody to tell. */
void sinter_device_code_unload(sinter_executable *executable) {
    sinter_device_code *own = executable->device_code;
    if (!own) return;
    const sinter_device_driver *driver = own->device->driver;
    sinter_device_sessions_destroy(own);
    if (own->weights) sinter_status_destroy(driver->deallocate(own->stream, own->weights));
    sinter_status_destroy(driver->stream_destroy(own->stream));
    for (uint32_t i = 0; own->modules && i < own->code->module_count; i++)
        sinter_status_destroy(driver->module_unload(own->modules[i]));
    sinter_device_delete(own->device, own->modules,
                         (own->code->module_count + 1) * sizeof *own->modules);
    sinter_device_delete(own->device, own->functions,
                         (executable->artifact->kernel_count + 1) * sizeof *own->functions);
    pthread_mutex_destroy(&own->lock);
    sinter_device_delete(own->device, own, sizeof *own);
    executable->device_code = NULL;
}
