/* One run of an artifact: plan, memory, run. The same path for files, linked-in models and code made in memory.
 *
 * A context is [symbols | which outputs were taken | workspace], each part a multiple of 64 bytes.
 * Test: tests/unit/executable_test.c */
#include "runtime/executable.h"
#include "runtime/allocator.h"
#include "runtime/cpu_features.h"
#include "runtime/device_code.h"
#include "runtime/status.h"

#include <string.h>

enum { ALIGNMENT = 64, LOCAL_SYMBOLS = 64 };

static uint64_t padded(uint64_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- executables ---- */

sinter_status *sinter_executable_make(const sinter_abi_artifact *artifact, const void *weights,
                                      const sinter_allocator *allocator,
                                      sinter_executable **out_executable) {
    if (!out_executable)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "nowhere to put the executable: NULL");
    *out_executable = NULL;
    if (!artifact || artifact->magic != SINTER_ABI_MAGIC)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT,
                           "not an artifact: the magic number is wrong");
    if (artifact->version != SINTER_ABI_VERSION)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT,
                           "artifact of version %u; this runtime speaks version %u",
                           artifact->version, SINTER_ABI_VERSION);
    const size_t least = offsetof(sinter_abi_artifact, device);
    if (artifact->size < least)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT,
                           "the artifact's descriptor has %u bytes, expected %zu at least",
                           artifact->size, least);
    if (!weights) weights = artifact->weights;
    if (!weights && artifact->weights_bytes)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "%s: its %llu bytes of weights are missing",
                           artifact->name, (unsigned long long)artifact->weights_bytes);
    sinter_executable *executable = sinter_allocate(allocator, sizeof *executable, ALIGNMENT);
    if (!executable) return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for an executable");
    *executable = (sinter_executable){
        .artifact = artifact, .weights = weights, .has_allocator = allocator != NULL};
    if (allocator) executable->allocator = *allocator;
    *out_executable = executable;
    return NULL;
}

static sinter_status *wrap_unstarted(const sinter_abi_artifact *artifact, const void *weights,
                                     const sinter_allocator *allocator,
                                     sinter_executable **out_executable) {
    sinter_status *status = sinter_executable_make(artifact, weights, allocator, out_executable);
    char missing[512];
    if (status || !artifact->cpu_features ||
        sinter_cpu_has_all(artifact->cpu_features, missing, sizeof missing))
        return status;
    sinter_executable_destroy(*out_executable);
    *out_executable = NULL;
    return SINTER_FAIL(SINTER_STATUS_WRONG_CPU, "%s: this CPU lacks what it was compiled for: %s",
                       artifact->name, missing);
}

/* An artifact with code for a device needs one, and one without would run on the host, which nobody asked for. */
static sinter_status *check_device(const sinter_abi_artifact *artifact,
                                   const sinter_device *device) {
    const sinter_abi_device_code *code = sinter_artifact_device_code(artifact);
    const char *wanted = code ? code->device : "cpu",
               *given = device ? device->driver->name : "cpu";
    if (!strcmp(wanted, given) && (device || !code)) return NULL;
    return SINTER_FAIL(SINTER_STATUS_WRONG_DEVICE, "%s: compiled for device %s; it is to run on %s",
                       artifact->name, wanted, given);
}

sinter_status *sinter_executable_start(sinter_executable **executable, sinter_device *device) {
    const sinter_abi_artifact *artifact = (*executable)->artifact;
    sinter_status *status = check_device(artifact, device);
    if (!status && sinter_artifact_device_code(artifact))
        status = sinter_device_code_load(*executable, device);
    if (!status) return NULL;
    sinter_executable_destroy(*executable);
    *executable = NULL;
    return status;
}

sinter_status *sinter_executable_wrap_on(const sinter_abi_artifact *artifact, const void *weights,
                                         sinter_device *device, const sinter_allocator *allocator,
                                         sinter_executable **out_executable) {
    sinter_status *status = wrap_unstarted(artifact, weights, allocator, out_executable);
    return status ? status : sinter_executable_start(out_executable, device);
}

sinter_status *sinter_executable_wrap(const sinter_abi_artifact *artifact, const void *weights,
                                      const sinter_allocator *allocator,
                                      sinter_executable **out_executable) {
    return sinter_executable_wrap_on(artifact, weights, NULL, allocator, out_executable);
}

void sinter_executable_destroy(sinter_executable *executable) {
    if (!executable) return;
    sinter_device_code_unload(executable);
    sinter_executable_unload(executable);
    sinter_allocator allocator = executable->allocator;
    sinter_deallocate(executable->has_allocator ? &allocator : NULL, executable, sizeof *executable,
                      ALIGNMENT);
}

const void *sinter_executable_weights(const sinter_executable *executable, uint64_t *out_bytes) {
    *out_bytes = executable->artifact->weights_bytes;
    return *out_bytes ? executable->weights : NULL;
}

const sinter_abi_artifact *sinter_executable_describe(const sinter_executable *executable) {
    return executable ? executable->artifact : NULL;
}

/* ---- runs ---- */

/* Inputs are const by contract; abi.h has one type for both. */
sinter_abi_tensor *sinter_executable_inputs(const sinter_abi_tensor *inputs) {
    return (sinter_abi_tensor *)(uintptr_t)inputs;
}

sinter_status *sinter_executable_failure(const sinter_abi_call *call, int32_t code) {
    sinter_status_code known = code >= SINTER_ABI_BAD_INPUT && code <= SINTER_ABI_FAILED
                                   ? (sinter_status_code)code
                                   : SINTER_STATUS_FAILED;
    return SINTER_FAIL(known, "%s", call->message[0] ? call->message : "the run failed");
}

static uint64_t head_bytes(const sinter_abi_artifact *artifact) {
    return padded(artifact->symbol_count * sizeof(int64_t)) + padded(artifact->output_count);
}

void *sinter_service_allocate(const sinter_abi_services *services, size_t bytes) {
    if (services && services->allocate)
        return services->allocate(services->user, padded(bytes ? bytes : 1), ALIGNMENT);
    return sinter_allocate(NULL, padded(bytes ? bytes : 1), ALIGNMENT);
}

void sinter_service_deallocate(const sinter_abi_services *services, void *pointer, size_t bytes) {
    if (!pointer) return;
    if (!services || !services->allocate)
        sinter_deallocate(NULL, pointer, bytes, ALIGNMENT);
    else if (services->deallocate)
        services->deallocate(services->user, pointer, padded(bytes ? bytes : 1), ALIGNMENT);
}

void sinter_output_free(sinter_abi_tensor *output, const sinter_abi_services *services) {
    if (!output) return;
    sinter_service_deallocate(services, output->data, output->bytes);
    output->data = NULL;
}

sinter_status *sinter_executable_check_arguments(const sinter_executable *executable,
                                                 const sinter_abi_tensor *inputs,
                                                 const sinter_abi_tensor *outputs) {
    const char *missing = !executable                                      ? "executable"
                          : !inputs && executable->artifact->input_count   ? "inputs"
                          : !outputs && executable->artifact->output_count ? "outputs"
                                                                           : NULL;
    if (!missing) return NULL;
    return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "%s: expected an address, found NULL", missing);
}

sinter_status *sinter_executable_plan(const sinter_executable *executable,
                                      const sinter_abi_tensor *inputs, sinter_abi_tensor *outputs,
                                      uint64_t *out_context_bytes) {
    sinter_status *status = sinter_executable_check_arguments(executable, inputs, outputs);
    if (status) return status;
    if (!out_context_bytes)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "nowhere to put the size of a context: NULL");
    const sinter_abi_artifact *artifact = executable->artifact;
    int64_t local[LOCAL_SYMBOLS];
    bool many = artifact->symbol_count > LOCAL_SYMBOLS;
    sinter_abi_call call = {
        .size = sizeof call, .weights = executable->weights, .outputs = outputs, .symbols = local};
    call.inputs = sinter_executable_inputs(inputs);
    if (many)
        call.symbols = sinter_service_allocate(NULL, artifact->symbol_count * sizeof(int64_t));
    if (!call.symbols)
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for %u symbols",
                           artifact->symbol_count);
    int32_t code = artifact->plan(&call);
    if (many)
        sinter_service_deallocate(NULL, call.symbols, artifact->symbol_count * sizeof(int64_t));
    if (code) return sinter_executable_failure(&call, code);
    *out_context_bytes = head_bytes(artifact) + padded(call.workspace_bytes);
    return NULL;
}

static bool begins_in(const sinter_abi_tensor *tensor, const sinter_abi_tensor *other) {
    return tensor->bytes && other->data && (uintptr_t)tensor->data >= (uintptr_t)other->data &&
           (uintptr_t)tensor->data - (uintptr_t)other->data < other->bytes;
}

static bool is_donated(const sinter_abi_artifact *artifact, uint32_t output, uint32_t input) {
    for (uint32_t i = 0; i < artifact->donation_count; i++)
        if (artifact->donations[i].output == output && artifact->donations[i].input == input)
            return true;
    return false;
}

/* An output of the caller's may not lie where a run reads an input, unless that is donated, or writes another output. What
 * an output has may be more than it needs, so others count where they begin. */
sinter_status *sinter_executable_check_overlaps(const sinter_abi_artifact *artifact,
                                                const sinter_abi_tensor *inputs,
                                                const sinter_abi_tensor *outputs) {
    for (uint32_t i = 0; i < artifact->output_count; i++) {
        if (!outputs[i].data) continue;
        for (uint32_t k = 0; k < artifact->input_count; k++)
            if (begins_in(&outputs[i], &inputs[k]) &&
                (outputs[i].data != inputs[k].data || !is_donated(artifact, i, k)))
                return SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                                   "output '%s' lies in the memory of input '%s', which is not "
                                   "donated to it",
                                   artifact->outputs[i].name, artifact->inputs[k].name);
        for (uint32_t k = 0; k < i; k++)
            if (outputs[i].data == outputs[k].data && outputs[i].bytes && outputs[k].bytes)
                return SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                                   "outputs '%s' and '%s' have the same memory",
                                   artifact->outputs[k].name, artifact->outputs[i].name);
    }
    return NULL;
}

/* Frees what the artifact had allocated for outputs before it failed. */
void sinter_executable_drop_outputs(const sinter_abi_call *call, const unsigned char *given,
                                    uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!given[i]) sinter_output_free(&call->outputs[i], call->services);
}

/* The context has head_bytes at least; own_workspace: the workspace is taken for this run alone. */
static sinter_status *run_in(const sinter_executable *executable, sinter_abi_call *call,
                             char *context, uint64_t context_bytes, bool own_workspace) {
    const sinter_abi_artifact *artifact = executable->artifact;
    unsigned char *given =
        (unsigned char *)context + padded(artifact->symbol_count * sizeof(int64_t));
    call->symbols = (int64_t *)(void *)context;
    for (uint32_t i = 0; i < artifact->output_count; i++) given[i] = call->outputs[i].data != NULL;
    int32_t code = artifact->plan(call);
    if (code) return sinter_executable_failure(call, code);
    uint64_t needed = call->workspace_bytes;
    if (own_workspace) {
        call->workspace = sinter_service_allocate(call->services, needed);
        if (!call->workspace)
            return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY,
                               "no memory for a workspace of %llu bytes",
                               (unsigned long long)needed);
    } else {
        call->workspace = context + head_bytes(artifact);
        call->workspace_bytes = context_bytes - head_bytes(artifact);
        if (call->workspace_bytes < needed)
            return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY,
                               "the context has %llu bytes and needs %llu",
                               (unsigned long long)context_bytes,
                               (unsigned long long)(head_bytes(artifact) + padded(needed)));
    }
    code = artifact->run(call);
    if (own_workspace) sinter_service_deallocate(call->services, call->workspace, needed);
    if (!code) return NULL;
    sinter_executable_drop_outputs(call, given, artifact->output_count);
    return sinter_executable_failure(call, code);
}

sinter_status *sinter_executable_run(const sinter_executable *executable,
                                     const sinter_abi_tensor *inputs, sinter_abi_tensor *outputs,
                                     const sinter_abi_services *services, void *context,
                                     uint64_t context_bytes) {
    sinter_status *wrong = sinter_executable_check_arguments(executable, inputs, outputs);
    if (wrong) return wrong;
    const sinter_abi_artifact *artifact = executable->artifact;
    wrong = sinter_executable_check_overlaps(artifact, inputs, outputs);
    if (wrong) return wrong;
    if (executable->device_code)
        return sinter_device_code_run(executable, inputs, outputs, services);
    sinter_abi_call call = {.size = sizeof call,
                            .weights = executable->weights,
                            .outputs = outputs,
                            .services = services};
    call.inputs = sinter_executable_inputs(inputs);
    uint64_t head = head_bytes(artifact);
    if (!context) {
        void *taken = sinter_service_allocate(services, head);
        if (!taken) return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a context");
        sinter_status *status = run_in(executable, &call, taken, head, true);
        sinter_service_deallocate(services, taken, head);
        return status;
    }
    if ((uintptr_t)context % ALIGNMENT)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "the context is not 64-byte aligned");
    if (context_bytes < head)
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY,
                           "the context has %llu bytes and needs %llu at least",
                           (unsigned long long)context_bytes, (unsigned long long)head);
    return run_in(executable, &call, context, context_bytes, false);
}
