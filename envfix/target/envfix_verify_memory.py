"""The ledger of GPU memory, in the words people meet in nvidia-smi and in torch's messages, measured on the card.

    a card        = free + the driver's own + others + this process
    this process  = context + reserved
    reserved      = allocated + cached
    allocated     = weights + activations + gradients + optimizer state + what was there before

The left sides are asked (NVML for the card and its processes, torch for the rest), and what nobody tells (context, others,
cached) is the difference. Beside it what keeps others from harm: which card CUDA is shown, and how much of it may be taken.
Standard library only, syntax of Python 3.6.
"""

import ctypes
import os
import sys

from envfix_verify_basics import NotApplicableError, RungError, first_line, mebibytes, say

NVML_NAMES = ("nvml.dll",) if sys.platform == "win32" else ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1")
NOT_TOLD = 2**64 - 1
ROWS = 64
WIDTH = 1024
NO_GPU = say("this ran on the CPU, so there is no GPU memory to tell")
VISIBLE = "CUDA_VISIBLE_DEVICES"

# The rungs take about one GiB, half of it for CUDA itself; a card with less than this free is left to those who use it.
LEAST_FREE = 3 << 29
# What CUDA itself takes, about; torch does not count it.
CONTEXT = 1 << 29
# Of what is free, a part that leaves room for others, and never more than the rungs can need.
SHARE, MOST = 0.8, 4 << 30


# ---------------------------------------------------------------------------------------------------------------------
# what the driver tells


class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class NewMemory(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint)] + [(name, ctypes.c_ulonglong) for name in ("total", "reserved", "free", "used")]


class OldRow(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("memory", ctypes.c_ulonglong)]


class Row(ctypes.Structure):
    _fields_ = OldRow._fields_ + [("gpu_instance", ctypes.c_uint), ("compute_instance", ctypes.c_uint)]


PROCESS_LISTS = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", Row),
    ("nvmlDeviceGetComputeRunningProcesses_v2", Row),
    ("nvmlDeviceGetComputeRunningProcesses", OldRow),
)


def cards_now():
    """Each card as the driver counts it: total, free, the driver's own, and the processes; [] where it cannot be asked."""
    for name in NVML_NAMES:
        try:
            library = ctypes.CDLL(name)
            break
        except OSError:
            continue
    else:
        return []
    try:
        if library.nvmlInit_v2() != 0:
            return []
        count = ctypes.c_uint()
        if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return []
        cards = [card_now(library, index) for index in range(count.value)]
        library.nvmlShutdown()
    except AttributeError:  # a driver too old to have these functions
        return []
    return [card for card in cards if card is not None]


def card_now(library, index):
    """One card, or None where the driver does not tell its memory."""
    handle = ctypes.c_void_p()
    if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) != 0:
        return None
    memory = memory_now(library, handle)
    if memory is None:
        return None
    return dict(
        memory,
        index=index,
        name=text_now(library, "nvmlDeviceGetName", handle) or "GPU",
        uuid=text_now(library, "nvmlDeviceGetUUID", handle),
        mig=mig_now(library, handle),
        processes=rows_now(library, handle),
    )


def text_now(library, name, handle):
    """A text that the driver knows of a card, None where it does not tell."""
    function, text = getattr(library, name, None), ctypes.create_string_buffer(96)
    if function is None or function(handle, text, ctypes.c_uint(len(text))) != 0:
        return None
    return text.value.decode("utf-8", "replace")


def mig_now(library, handle):
    """Whether the card is cut into instances, which have memory of their own."""
    function, now, later = getattr(library, "nvmlDeviceGetMigMode", None), ctypes.c_uint(), ctypes.c_uint()
    return function is not None and function(handle, ctypes.byref(now), ctypes.byref(later)) == 0 and now.value == 1


def memory_now(library, handle):
    """Total, free and what the driver keeps for itself, which only newer drivers tell apart from what processes use."""
    newer = getattr(library, "nvmlDeviceGetMemoryInfo_v2", None)
    if newer is not None:
        told = NewMemory()
        told.version = ctypes.sizeof(NewMemory) | (2 << 24)
        if newer(handle, ctypes.byref(told)) == 0:
            return {"total": told.total, "free": told.free, "driver": told.reserved}
    told = Memory()
    if library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(told)) != 0:
        return None
    return {"total": told.total, "free": told.free, "driver": None}


def rows_now(library, handle):
    """Process numbers and their bytes (None: not told)."""
    for name, layout in PROCESS_LISTS:
        function = getattr(library, name, None)
        if function is not None:
            count = ctypes.c_uint(256)
            rows = (layout * count.value)()
            if function(handle, ctypes.byref(count), rows) != 0:
                return {}
            return {row.pid: None if row.memory == NOT_TOLD else row.memory for row in rows[: count.value]}
    return {}


def free_and_total(torch, device):
    """Free and total bytes of the card that torch uses, as the driver counts them; ``OSError`` where nobody tells.

    Makes CUDA's context, which takes memory of its own.
    """
    if hasattr(torch.cuda, "mem_get_info"):
        return torch.cuda.mem_get_info(device)
    torch.cuda.synchronize(device)  # torch before 1.11: the driver answers for the context that this thread has
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        code = ctypes.CDLL(name).cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    except (OSError, AttributeError) as error:
        raise OSError(say("nobody tells how much memory is free: {error}", error=first_line(error)))  # noqa: B904
    if code != 0:
        raise OSError(say("the driver does not tell how much memory is free (error {code})", code=code))
    return free.value, total.value


# ---------------------------------------------------------------------------------------------------------------------
# the one card that is used, and how much of it


def shown(value):
    """The entries of CUDA_VISIBLE_DEVICES that can name a card; CUDA drops everything from the first one that names none."""
    entries = []
    for entry in (part.strip() for part in value.split(",")):
        if not entry.isdigit() and not entry.upper().startswith(("GPU-", "MIG-")):
            break
        entries.append(entry)
    return entries


def show_one_gpu(wanted, value, environ):
    """Let CUDA see only the card that was asked for, before torch looks; the number it has from then on, which is 0.

    No context is made on anybody else's card, and ultralytics, which renumbers cards by itself, cannot pick another one. A
    number counts what the user's CUDA_VISIBLE_DEVICES (``value``) shows; one that it does not show is left for torch to refuse.
    """
    if wanted.upper().startswith(("GPU-", "MIG-")):
        environ[VISIBLE] = wanted
    elif wanted.isdigit():
        entries = [wanted] if value is None else shown(value)
        place = 0 if value is None else int(wanted)
        if place >= len(entries):
            return int(wanted)
        environ[VISIBLE] = entries[place]
    return 0


def shown_card(cards, environ, index):
    """Which of the driver's cards CUDA's number ``index`` is; None where that cannot be said, or it is a part of a card."""
    value = environ.get(VISIBLE)
    entries = [str(card["index"]) for card in cards] if value is None else shown(value)
    if index >= len(entries):
        return None
    entry = entries[index]
    if entry.isdigit():
        # Without an order CUDA counts from the fastest card on.
        if environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" and len({card["name"] for card in cards}) > 1:
            return None
        named = [card for card in cards if card["index"] == int(entry)]
    else:
        named = [card for card in cards if (card.get("uuid") or "").lower().startswith(entry.lower())]
    return named[0] if len(named) == 1 and not named[0].get("mig") else None


def user_number(wanted, cards, value, environ):
    """The number that a card which was named by its UUID has for the user's own torch; None where that cannot be said."""
    if not wanted.upper().startswith("GPU-"):
        return None
    before = dict(environ)
    before.pop(VISIBLE, None)
    if value is not None:
        before[VISIBLE] = value
    count = len(cards) if value is None else len(shown(value))
    for number in range(count):
        card = shown_card(cards, before, number)
        if card is not None and (card.get("uuid") or "").lower().startswith(wanted.lower()):
            return number
    return None


def keep_small(torch, device, total, free, card):
    """Let torch take only a part of what is free; how much that is. ``RungError`` where too little is free to begin."""
    detail = {"memory_free": free, "memory_total": total, "card": None if card is None else card["index"]}
    if free < LEAST_FREE:
        words = say(
            "{card} has {free} of {total} free, and these rungs may need {wanted}: it is left alone, so that nothing on it runs out"
            " of memory",
            card=say("the card") if card is None else say("GPU {index} ({name})", index=card["index"], name=card["name"]),
            free=gibibytes(free),
            total=gibibytes(total),
            wanted=gibibytes(LEAST_FREE),
        )
        raise RungError(words, dict(detail, error="OutOfMemoryError", refused=True, wanted=LEAST_FREE))
    budget = min(MOST, int(SHARE * free) - CONTEXT)
    # Came with torch 1.8.
    if hasattr(torch.cuda, "set_per_process_memory_fraction"):
        torch.cuda.set_per_process_memory_fraction(min(1.0, budget / float(total)), device)
        detail["memory_budget"] = budget
    return detail


def gibibytes(size):
    """Bytes in words: ``0.3 GiB``."""
    return "%.1f GiB" % (size / 1073741824.0)


# ---------------------------------------------------------------------------------------------------------------------
# arithmetic


def place(before, after, pid):
    """The card this process is on and the bytes it holds there, with how that is known; (None, None, None) if it is not.

    In a container the driver may count processes by other numbers. Then the card whose use grew most since this process
    started is taken for its own, and the growth for what it holds.
    """
    strangers = {card["index"] for card in before if pid in card["processes"]}  # the same number outside of a container
    for card in after:
        held = card["processes"].get(pid)
        if held and card["index"] not in strangers:
            return card["index"], held, say("the driver's list of processes")
    grown = {card["index"]: card["total"] - card["free"] for card in after}
    for card in before:
        if card["index"] in grown:
            grown[card["index"]] -= card["total"] - card["free"]
    if not before or not grown or max(grown.values()) <= 0:
        return None, None, None
    index = max(grown, key=lambda one: grown[one])
    return index, grown[index], say("the growth since this process started")


def card_ledger(card, held):
    """One card, split: the parts add up to the total; ``held`` is what this process holds on it, None where nobody tells."""
    used = card["total"] - card["free"] - (card["driver"] or 0)
    ledger = {name: card.get(name) for name in ("index", "name", "total", "free", "driver", "mig")}
    return dict(ledger, this_process=held, others=None if held is None else used - held, used=used)


def process_ledger(held, reserved, allocated):
    """What this process holds, split: context is what torch does not count, cached what it took and does not use."""
    context = None if held is None else held - reserved
    return {
        "held": held,
        "context": context,
        "reserved": reserved,
        "allocated": allocated,
        "cached": reserved - allocated,
    }


def growth(steps):
    """What each step added to allocated and to reserved."""
    added = {}
    for (_, allocated, reserved), (name, more_allocated, more_reserved) in zip(steps, steps[1:]):  # noqa: B905 - 3.6
        added[name] = {"allocated": more_allocated - allocated, "reserved": more_reserved - reserved}
    return added


def lines(cards, process, steps, known_by):
    """The ledger in sentences, one a line, from the card down to the tensors."""
    told = [card_line(card) for card in cards]
    sizes = {
        "held": say("not told by the driver") if process["held"] is None else mebibytes(process["held"]),
        "context": say("unknown") if process["context"] is None else mebibytes(process["context"]),
    }
    sizes.update((name, mebibytes(process[name])) for name in ("reserved", "allocated", "cached"))
    if known_by is None:
        told.append(
            say(
                "this process: {held} = context {context} + reserved {reserved}; nvidia-smi shows the sum in the row of this process",
                **sizes
            )
        )
    else:
        told.append(
            say(
                "this process: {held} = context {context} + reserved {reserved}; nvidia-smi shows the sum in the row of this process"
                " (here from {known_by})",
                known_by=known_by,
                **sizes
            )
        )
    told.append(
        say(
            "context: {context} for CUDA itself, its kernels and libraries; torch does not count it, and empty_cache() cannot give it"
            " back",
            **sizes
        )
    )
    told.append(
        say(
            "reserved: {reserved} = allocated {allocated} + cached {cached}; torch took it from the driver in blocks of 2 MiB and more",
            **sizes
        )
    )
    told.append(say("cached: {cached} that the next tensors may take; nvidia-smi counts it as used", **sizes))
    return told + step_lines(steps)


def card_line(card):
    """One card as a sum."""
    sizes = ("total", "free", "driver", "used", "others", "this_process")
    told = {name: mebibytes(card[name]) for name in sizes if card[name] is not None}
    told["index"] = card["index"]
    told["name"] = say("{name} (all of it; in MIG mode programs run on a slice)", name=card["name"]) if card["mig"] else card["name"]
    if card["this_process"] is None and card["driver"] is None:
        return say(
            "GPU {index} {name}: {total} = {free} free + {used} used (how much of it by this process is not told)",
            **told
        )
    if card["this_process"] is None:
        return say(
            "GPU {index} {name}: {total} = {free} free + {driver} of the driver's own + {used} used (how much of it by this process"
            " is not told)",
            **told
        )
    if card["driver"] is None:
        return say(
            "GPU {index} {name}: {total} = {free} free + {others} of others and the driver + {this_process} of this process",
            **told
        )
    return say(
        "GPU {index} {name}: {total} = {free} free + {driver} of the driver's own + {others} of others + {this_process} of this process",
        **told
    )


def step_lines(steps):
    """What lives in allocated, in the order in which it came, and what comes back."""
    added = growth(steps)
    first = dict((name, allocated) for name, allocated, _ in steps)
    grown = {name: mebibytes(step["allocated"]) for name, step in added.items()}
    kept, given = added["deleted"], added["emptied"]
    return [
        say("allocated, step by step (each tensor rounded up to 512 bytes):"),
        say(
            "  {size} there before: what the libraries keep, such as the workspace of cuBLAS",
            size=mebibytes(first["start"]),
        ),
        say(
            "  {size} for a tensor of one byte; torch reserved {reserved} more for it",
            size=grown["one byte"],
            reserved=mebibytes(max(added["one byte"]["reserved"], 0)),
        ),
        say(
            "  {size} weights, when Linear({width}, {width}) went to the card: {width} x {width} numbers of 4 bytes, and the bias",
            size=grown["weights"],
            width=WIDTH,
        ),
        say(
            "  {size} activations, after a forward pass of {rows} rows: its input and output, kept for the backward pass",
            size=grown["activations"],
            rows=ROWS,
        ),
        say(
            "  {size} gradients, after the first backward pass: as large as the weights, and there until zero_grad()",
            size=grown["gradients"],
        ),
        say(
            "  {size} optimizer, state of the optimizer, after its first step: Adam keeps two numbers for each weight",
            size=grown["optimizer"],
        ),
        say(
            "  {size} freed when the tensors were deleted, of which nvidia-smi sees {seen}: the rest is cached",
            size=mebibytes(-kept["allocated"]),
            seen=mebibytes(-kept["reserved"]),
        ),
        say(
            "  {size} given back by torch.cuda.empty_cache(): only blocks in which nothing lives",
            size=mebibytes(-given["reserved"]),
        ),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# the rung


def check_memory(ladder):
    """Measure the ledger on a small layer, step by step."""
    if not ladder.on_gpu:
        ladder.ledger = {"lines": [NO_GPU]}
        raise NotApplicableError(say("runs on the CPU"))
    torch, device = ladder.torch, ladder.device
    steps, middle = measure(torch, device)
    cards, reserved, allocated = middle
    if not cards and hasattr(torch.cuda, "mem_get_info"):
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_properties(device).name
        cards = [{"index": device.index, "name": name, "total": total, "free": free, "driver": None, "processes": {}}]
    index, held, known_by = place(ladder.cards_before, cards, os.getpid())
    ledgers = [card_ledger(card, held if card["index"] == index else 0 if index is not None else None) for card in cards]
    process = process_ledger(held, reserved, allocated)
    ladder.ledger = {
        "cards": ledgers,
        "process": process,
        "steps": growth(steps),
        "lines": lines(ledgers, process, steps, known_by),
    }
    detail = {"known_by": known_by, "process": process}
    sizes = {name: "?" if process[name] is None else mebibytes(process[name]) for name in ("held", "context", "allocated", "cached")}
    return say("this process holds {held} = context {context} + allocated {allocated} + cached {cached}", **sizes), detail


def measure(torch, device):
    """Allocated and reserved bytes after each step; and the cards, with torch's numbers, when all of it is there."""
    steps = []

    def note(name):
        torch.cuda.synchronize(device)
        steps.append((name, torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)))

    torch.cuda.empty_cache()
    note("start")
    small = torch.empty(1, dtype=torch.uint8, device=device)
    note("one byte")
    del small
    note("one byte deleted")
    layer = torch.nn.Linear(WIDTH, WIDTH).to(device)
    optimizer = torch.optim.Adam(layer.parameters())
    note("weights")
    rows = torch.ones(ROWS, WIDTH, device=device)
    answer = layer(rows)
    note("activations")
    answer.sum().backward()
    note("gradients")
    optimizer.step()
    note("optimizer")
    middle = cards_now(), torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
    del layer, optimizer, rows, answer
    note("deleted")
    torch.cuda.empty_cache()
    note("emptied")
    return steps, middle
