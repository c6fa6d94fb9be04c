/* One pretended NVIDIA machine, read from the environment by libnvidia-ml.so.1, libcuda.so.1 and nvidia-smi alike.
 *
 *   FAKE_DRIVER   455.23.05
 *   FAKE_CUDA     11010, the number cuDriverGetVersion answers
 *   FAKE_CARDS    one line a card:    name|8.6|total MiB|used MiB|2204 (PCI device, hexadecimal)|states
 *                 states are NVML's own numbers, "mode=3;ecc=1;errors=2": error (of opening the card), mode, persist, display, ecc,
 *                 errors, pending, failed (rows), virt, licensed, fabric, mig (instances; 0: switched on, none made)
 *   FAKE_HOLDERS  one line a process: card|pid|MiB|name as the driver knows it
 *   FAKE_NVML     empty, or how nvmlInit ends: crash, hang, or the number of an NVML error (9, 18, 999)
 *   FAKE_SMI      empty, or how nvidia-smi behaves: crash, hang, garbage, flood, silent, lies
 *   FAKE_CUINIT   the number cuInit answers (0)
 */
#ifndef DESCRIPTION_H
#define DESCRIPTION_H
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 32
#define MIB (1024ULL * 1024ULL)

struct card {
    char name[96], uuid[48], bus[32];
    int major, minor;
    unsigned long long total, used;
    unsigned device;
    char states[128];
};
struct holder {
    int card;
    unsigned pid;
    unsigned long long used;
    char name[128];
};
static struct card cards[MOST];
static struct holder holders[MOST];
static int card_count, holder_count, cuda_number;
static char driver[64];

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

/* Calls take(line) for every line of a variable that is not empty. */
static void each_line(const char *name, void (*take)(char *)) {
    char *copy = strdup(variable(name)), *rest = copy, *line;
    while ((line = strsep(&rest, "\n")) != NULL)
        if (*line) take(line);
    free(copy);
}

static const char *next_part(char **line) {
    char *part = strsep(line, "|");
    return part ? part : "";
}

static void take_card(char *line) {
    struct card *card = &cards[card_count];
    if (card_count == MOST) return;
    snprintf(card->name, sizeof card->name, "%s", next_part(&line));
    sscanf(next_part(&line), "%d.%d", &card->major, &card->minor);
    card->total = strtoull(next_part(&line), NULL, 10) * MIB;
    card->used = strtoull(next_part(&line), NULL, 10) * MIB;
    card->device = (unsigned)strtoul(next_part(&line), NULL, 16);
    snprintf(card->states, sizeof card->states, ";%s", next_part(&line));
    snprintf(card->uuid, sizeof card->uuid, "GPU-5eed%04x-0000-4bad-9caf-0123456789ab", card_count);
    snprintf(card->bus, sizeof card->bus, "00000000:%02X:00.0", card_count + 1);
    card_count++;
}

/* The number of a state, or -1 where the card is not said to have it. */
static int state_of(const struct card *card, const char *name) {
    char wanted[32];
    snprintf(wanted, sizeof wanted, ";%s=", name);
    const char *at = strstr(card->states, wanted);
    return at ? atoi(at + strlen(wanted)) : -1;
}

static void take_holder(char *line) {
    struct holder *holder = &holders[holder_count];
    if (holder_count == MOST) return;
    holder->card = atoi(next_part(&line));
    holder->pid = (unsigned)strtoul(next_part(&line), NULL, 10);
    holder->used = strtoull(next_part(&line), NULL, 10) * MIB;
    snprintf(holder->name, sizeof holder->name, "%s", next_part(&line));
    holder_count++;
}

static void describe(void) {
    static int done;
    if (done++) return;
    snprintf(driver, sizeof driver, "%s", variable("FAKE_DRIVER"));
    cuda_number = atoi(variable("FAKE_CUDA"));
    each_line("FAKE_CARDS", take_card);
    each_line("FAKE_HOLDERS", take_holder);
}

static void crash(void) {
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static void hang(void) {
    for (;;) sleep(3600);
}
#endif
