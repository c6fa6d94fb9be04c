/* nvidia-smi: answers --query-gpu in CSV, and fails as the real one does: on standard output, with the error as exit code. */
#include "description.h"

static int print_field(const char *field, int index) {
    const struct card *card = &cards[index];
    if (!strcmp(field, "index")) return printf("%d", index);
    if (!strcmp(field, "uuid")) return printf("%s", card->uuid);
    if (!strcmp(field, "name")) return printf("%s", card->name);
    if (!strcmp(field, "driver_version")) return printf("%s", driver);
    if (!strcmp(field, "memory.total")) return printf("%llu", card->total / MIB);
    if (!strcmp(field, "memory.free")) return printf("%llu", (card->total - card->used) / MIB);
    if (!strcmp(field, "pci.bus_id")) return printf("%s", card->bus);
    if (!strcmp(field, "compute_cap") && atoi(driver) >= 495) return printf("%d.%d", card->major, card->minor);
    return 0;
}

static int query(const char *fields) {
    char asked[512], *rest, *field;
    int first;
    if (!card_count) {
        puts("No devices were found");
        return 6;
    }
    for (int index = 0; index < card_count; index++) {
        snprintf(asked, sizeof asked, "%s", fields);
        rest = asked;
        first = 1;
        while ((field = strsep(&rest, ",")) != NULL) {
            if (!first) printf(", ");
            first = 0;
            if (!print_field(field, index)) {
                printf("Field \"%s\" is not a valid field to query.\n\n", field);
                return 2;
            }
        }
        puts("");
    }
    return 0;
}

static void misbehave(const char *how) {
    if (!strcmp(how, "hang")) hang();
    if (!strcmp(how, "crash")) crash();
    if (!strcmp(how, "silent")) exit(0);
    if (!strcmp(how, "garbage")) {
        printf("\033[31mGPU??\xff\xfe 0, 0, 0\n,,,,,,\n-1, x, y, z, w, v, u\n");
        exit(0);
    }
    if (!strcmp(how, "flood"))
        for (int i = 0; i < 400000; i++) puts("0, GPU-flood, a card that never was");
    if (!strcmp(how, "flood")) exit(0);
    if (!strcmp(how, "lies")) {
        puts("0, GPU-11111111-2222-3333-4444-555555555555, NVIDIA GeForce RTX 4090, 999.99, 24564, 24000, 00000000:01:00.0");
        exit(0);
    }
}

int main(int count, char **arguments) {
    const char *nvml = variable("FAKE_NVML");
    describe();
    misbehave(variable("FAKE_SMI"));
    if (!strcmp(nvml, "crash")) crash();
    if (!strcmp(nvml, "hang")) hang();
    if (atoi(nvml) == 9) {
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA"
             " driver is installed and running.\n");
        return 9;
    }
    if (atoi(nvml)) {
        printf("Failed to initialize NVML: %s\n", atoi(nvml) == 18 ? "Driver/library version mismatch" : "Unknown Error");
        return atoi(nvml) == 18 ? 18 : 255;
    }
    for (int i = 1; i < count; i++)
        if (!strncmp(arguments[i], "--query-gpu=", 12)) return query(arguments[i] + 12);
    printf("NVIDIA-SMI %s  Driver Version: %s  CUDA Version: %d.%d\n", driver, driver, cuda_number / 1000, cuda_number % 1000 / 10);
    return 0;
}
