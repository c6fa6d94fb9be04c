"""Display and compute controllers on the PCI bus: they are seen even where no driver answers."""

from __future__ import annotations

import re

import msgspec

from envfix.host.interface import ProbeHost
from envfix.model.facts import Display, Observed, absent, found, unknown
from envfix.model.language import stated

VENDORS = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"}
# PCI base classes: 03 display controllers, 12 processing accelerators.
_CLASSES = ("0x03", "0x12")
_LSPCI = re.compile(
    r"^(?P<bus>(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) [^\[]*\[(?:03|12)[0-9a-f]{2}\]: "
    r"(?P<name>.*) \[(?P<vendor>[0-9a-f]{4}):(?P<device>[0-9a-f]{4})\]"
)


def parse_lspci(text: str) -> tuple[Display, ...]:
    """The display controllers in ``lspci -nn``.

    ``01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA102 [GeForce RTX 3090] [10de:2204] (rev a1)``
    """
    return tuple(
        _display(match["vendor"], match["device"], _full_bus(match["bus"]), match["name"])
        for match in map(_LSPCI.match, text.splitlines())
        if match
    )


def probe(host: ProbeHost, *, timeout: float) -> Observed[tuple[Display, ...]]:
    """All controllers, by the kernel's list and, for their names, by lspci where it is installed."""
    entries = host.glob("/sys/bus/pci/devices/*/class")
    seen = {display.bus: display for display in _from_sysfs(host, entries)}
    programs = host.which("lspci")
    if programs:
        for display in parse_lspci(host.run([programs[0], "-nn"], timeout=timeout).stdout):
            holder = seen[display.bus].driver if display.bus in seen else None
            seen[display.bus] = msgspec.structs.replace(display, driver=holder)
    source = stated("/sys/bus/pci and lspci") if programs else "/sys/bus/pci"
    if seen:
        return found(tuple(seen[bus] for bus in sorted(seen)), source)
    if not entries and not programs:
        return unknown(source, stated("this machine shows no PCI bus"))
    return absent(source)


def _from_sysfs(host: ProbeHost, entries: tuple[str, ...]) -> list[Display]:
    displays = []
    for entry in entries:
        if host.read_text(entry).text.startswith(_CLASSES):
            folder = entry.rpartition("/")[0]
            vendor, device = (
                host.read_text(f"{folder}/{name}").text.strip().removeprefix("0x") for name in ("vendor", "device")
            )
            display = _display(vendor, device, folder.rpartition("/")[2], None)
            displays.append(msgspec.structs.replace(display, driver=_driver(host, folder)))
    return displays


def _driver(host: ProbeHost, folder: str) -> str | None:
    """The kernel driver that holds the device: where its link ``driver`` leads; without one the link is not there."""
    link = f"{folder}/driver"
    real = host.real_path(link)
    return None if real.endswith("/driver") else real.rpartition("/")[2]


def _display(vendor: str, device: str, bus: str, name: str | None) -> Display:
    return Display(vendor=VENDORS.get(vendor, "another vendor"), vendor_id=vendor, device_id=device, bus=bus, name=name)


def _full_bus(bus: str) -> str:
    return bus if bus.count(":") == 2 else f"0000:{bus}"
