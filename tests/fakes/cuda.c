/* libcuda.so.1: what can be asked of the driver library before any context exists. */
#include "description.h"

enum { MAJOR = 75, MINOR = 76, INVALID_DEVICE = 101 };

int cuInit(unsigned flags) {
    (void)flags;
    describe();
    return atoi(variable("FAKE_CUINIT"));
}
int cuDriverGetVersion(int *number) {
    describe();
    *number = cuda_number;
    return 0;
}
int cuGetErrorName(int code, const char **name) {
    (void)code;
    *name = "CUDA_ERROR";
    return 0;
}
int cuGetErrorString(int code, const char **text) {
    (void)code;
    *text = "an error";
    return 0;
}
int cuDeviceGetCount(int *count) {
    *count = card_count;
    return 0;
}
int cuDeviceGet(int *device, int index) {
    *device = index;
    return index < card_count ? 0 : INVALID_DEVICE;
}
int cuDeviceGetName(char *to, int size, int device) {
    snprintf(to, (size_t)size, "%s", cards[device].name);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = cards[device].total;
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == MAJOR ? cards[device].major : attribute == MINOR ? cards[device].minor : 0;
    return 0;
}
