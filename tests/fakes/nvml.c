/* libnvidia-ml.so.1: the questions that envfix asks.
 *
 * NVML_AGE says which functions the library has, as real ones differ by age: 1 hardly any, 2 a driver that lists processes
 * only in the first layout, 3 one before 510 (second layout), 4 a recent one.
 */
#include "description.h"

typedef int answer;
typedef void *handle;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

/* A card's handle is its number from 1 on; that of its MIG instance k is this number plus 1000 * (k + 1). */
static struct card *of(handle device) {
    long number = (long)device % 1000;
    return number >= 1 && number <= card_count ? &cards[number - 1] : NULL;
}
static int instance_of(handle device) { return (int)((long)device / 1000) - 1; }

static answer copy(const char *text, char *to, unsigned size) {
    return snprintf(to, size, "%s", text) < (int)size ? SUCCESS : INSUFFICIENT_SIZE;
}

answer nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    describe();
    const char *how = variable("FAKE_NVML");
    if (!strcmp(how, "crash")) crash();
    if (!strcmp(how, "hang")) hang();
    return atoi(how);
}
answer nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
answer nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(answer code) {
    if (code == 9) return "Driver Not Loaded";
    if (code == 18) return "Driver/library version mismatch";
    if (code == 4) return "Insufficient Permissions";
    if (code == 15) return "GPU is lost";
    return code ? "Unknown Error" : "Success";
}
answer nvmlSystemGetDriverVersion(char *to, unsigned size) { return copy(driver, to, size); }
answer nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)card_count;
    return SUCCESS;
}
answer nvmlDeviceGetHandleByIndex_v2(unsigned index, handle *device) {
    if (index >= (unsigned)card_count || strstr(cards[index].name, "(will not open)")) return INVALID_ARGUMENT;
    if (state_of(&cards[index], "error") > 0) return state_of(&cards[index], "error");
    *device = (handle)(long)(index + 1);
    return SUCCESS;
}
answer nvmlDeviceGetName(handle device, char *to, unsigned size) {
    char name[160];
    snprintf(name, sizeof name, instance_of(device) < 0 ? "%s" : "%s MIG 1g.5gb", of(device)->name);
    return copy(name, to, size);
}

#if NVML_AGE >= 2
answer nvmlSystemGetCudaDriverVersion_v2(int *number) {
    *number = cuda_number;
    return SUCCESS;
}
answer nvmlDeviceGetUUID(handle device, char *to, unsigned size) {
    char uuid[64];
    if (instance_of(device) < 0) return copy(of(device)->uuid, to, size);
    snprintf(uuid, sizeof uuid, "MIG-5eed%04x-0000-4bad-9caf-%012d", (int)(of(device) - cards), instance_of(device));
    return copy(uuid, to, size);
}
answer nvmlDeviceGetCudaComputeCapability(handle device, int *major, int *minor) {
    *major = of(device)->major;
    *minor = of(device)->minor;
    return SUCCESS;
}
struct memory {
    unsigned long long total, free, used;
};
answer nvmlDeviceGetMemoryInfo(handle device, struct memory *memory) {
    struct card *card = of(device);
    *memory = (struct memory){card->total, card->total - card->used, card->used};
    return SUCCESS;
}
struct pci {
    char old_bus[16];
    unsigned domain, bus, slot, device_and_vendor, subsystem;
    char bus_id[32];
};
answer nvmlDeviceGetPciInfo_v3(handle device, struct pci *pci) {
    memset(pci, 0, sizeof *pci);
    pci->device_and_vendor = of(device)->device << 16 | 0x10deu;
    return copy(of(device)->bus, pci->bus_id, sizeof pci->bus_id);
}
answer nvmlDeviceGetMigMode(handle device, unsigned *now, unsigned *next) {
    if (state_of(of(device), "mig") < 0) return NOT_SUPPORTED;
    *now = *next = 1;
    return SUCCESS;
}
answer nvmlDeviceGetMaxMigDeviceCount(handle device, unsigned *count) {
    (void)device;
    *count = 7;
    return SUCCESS;
}
answer nvmlDeviceGetMigDeviceHandleByIndex(handle device, unsigned index, handle *part) {
    if ((int)index >= state_of(of(device), "mig")) return NOT_FOUND;
    *part = (handle)((long)device + 1000 * ((long)index + 1));
    return SUCCESS;
}
/* One number each; what a card is not said to have is not supported. */
static answer tell(handle device, const char *name, unsigned *to) {
    int value = state_of(of(device), name);
    if (value < 0) return NOT_SUPPORTED;
    *to = (unsigned)value;
    return SUCCESS;
}
answer nvmlDeviceGetComputeMode(handle device, unsigned *mode) { return tell(device, "mode", mode); }
answer nvmlDeviceGetPersistenceMode(handle device, unsigned *mode) { return tell(device, "persist", mode); }
answer nvmlDeviceGetDisplayActive(handle device, unsigned *mode) { return tell(device, "display", mode); }
answer nvmlDeviceGetVirtualizationMode(handle device, unsigned *mode) { return tell(device, "virt", mode); }
answer nvmlDeviceGetEccMode(handle device, unsigned *now, unsigned *next) {
    *next = 1;
    return tell(device, "ecc", now);
}
answer nvmlDeviceGetTotalEccErrors(handle device, unsigned kind, unsigned counter, unsigned long long *count) {
    unsigned errors = 0;
    (void)kind, (void)counter;
    tell(device, "errors", &errors);
    *count = errors;
    return SUCCESS;
}
answer nvmlDeviceGetRemappedRows(handle device, unsigned *fixed, unsigned *not, unsigned *pending, unsigned *failed) {
    *fixed = *not = *pending = *failed = 0;
    if (state_of(of(device), "ecc") < 0) return NOT_SUPPORTED;
    tell(device, "pending", pending);
    tell(device, "failed", failed);
    return SUCCESS;
}
struct feature {
    unsigned code, state;
    char licence[128], product[128];
    unsigned enabled;
    struct {
        unsigned year;
        unsigned short month, day, hour, minute, second;
        unsigned char status;
    } expiry;
};
struct features {
    int supported;
    unsigned count;
    struct feature feature[3];
};
answer nvmlDeviceGetGridLicensableFeatures_v4(handle device, struct features *features) {
    if (state_of(of(device), "licensed") < 0) return NOT_SUPPORTED;
    memset(features, 0, sizeof *features);
    features->supported = 1;
    features->count = 1;
    features->feature[0].state = (unsigned)state_of(of(device), "licensed");
    return SUCCESS;
}
struct fabric {
    unsigned char cluster[16];
    answer status;
    unsigned clique;
    unsigned char state;
};
answer nvmlDeviceGetGpuFabricInfo(handle device, struct fabric *fabric) {
    if (state_of(of(device), "fabric") < 0) return NOT_SUPPORTED;
    memset(fabric, 0, sizeof *fabric);
    fabric->state = (unsigned char)state_of(of(device), "fabric");
    return SUCCESS;
}
answer nvmlSystemGetProcessName(unsigned pid, char *to, unsigned size) {
    for (int i = 0; i < holder_count; i++)
        if (holders[i].pid == pid) return copy(holders[i].name, to, size);
    return NOT_FOUND;
}

/* The two layouts in which drivers list processes. */
struct first_layout {
    unsigned pid;
    unsigned long long used;
};
struct second_layout {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
};
static answer list(handle device, unsigned *count, void *to, size_t size) {
    unsigned room = *count, seen = 0;
    for (int i = 0; i < holder_count; i++) {
        if (holders[i].card != (int)(of(device) - cards)) continue;
        if (seen < room) {
            struct second_layout row = {holders[i].pid, holders[i].used, ~0u, ~0u};
            if (!row.used) row.used = ~0ull; /* the driver does not tell, as under Windows */
            memcpy((char *)to + seen * size, &row, size);
        }
        seen++;
    }
    *count = seen;
    return seen > room ? INSUFFICIENT_SIZE : SUCCESS;
}
answer nvmlDeviceGetComputeRunningProcesses(handle device, unsigned *count, struct first_layout *to) {
    return list(device, count, to, sizeof *to);
}
#endif
#if NVML_AGE >= 3
answer nvmlDeviceGetComputeRunningProcesses_v2(handle device, unsigned *count, struct second_layout *to) {
    return list(device, count, to, sizeof *to);
}
#endif
#if NVML_AGE >= 4
answer nvmlDeviceGetComputeRunningProcesses_v3(handle device, unsigned *count, struct second_layout *to) {
    return list(device, count, to, sizeof *to);
}
#endif
