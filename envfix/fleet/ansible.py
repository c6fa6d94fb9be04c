"""A playbook that collects: Ansible runs what it says, and envfix, on the machine Ansible runs on, says what to ask next.

Ansible has no conversation with a node, but it may run a program there again and again: each round is a task here
(``envfix fleet next``, which reads what the last round told and writes what goes to the node) and a task there (the
collector, with that on its standard input). Twelve rounds are more than any machine needs; those that are not needed are
skipped. The result is a folder of snapshots for ``envfix fleet diagnose --from``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envfix.fleet.travelling import start

ROUNDS = 12
# What the last round told; before the first, whether the node was reached at all.
_TOLD = "{{ (told | default(reached if reached.unreachable | default(false) else {})) | to_json }}"


def playbook(folder: str, program: Sequence[str], options: Sequence[str]) -> str:
    """The text of it. ``program`` starts envfix here, ``options`` are how the nodes are looked at."""
    import yaml

    tasks: list[dict[str, Any]] = [_reach()]
    for number in range(1, ROUNDS + 1):
        tasks.append(_here(number, folder, program, options))
        tasks.append(_there(number))
    tasks.append(_here(0, folder, program, options))
    play = {
        "name": "Collect what envfix asks of each node",
        "hosts": "{{ nodes | default('all') }}",
        "gather_facts": False,
        "become": False,
        "tasks": tasks,
    }
    head = (
        f"# Written by envfix: collects a snapshot of each node into {folder}.\n"
        "# Nothing is installed on a node, and nothing is left there. `-e nodes=GROUP` chooses nodes.\n"
    )
    return head + str(yaml.safe_dump([play], sort_keys=False, width=120))


def _reach() -> dict[str, Any]:
    """Said before anything is secret, so that the reason can be told."""
    return {
        "name": "reach the node",
        "ansible.builtin.raw": ":",
        "register": "reached",
        "changed_when": False,
        "ignore_errors": True,
        "ignore_unreachable": True,
    }


def _here(number: int, folder: str, program: Sequence[str], options: Sequence[str]) -> dict[str, Any]:
    words = [*program, "fleet", "next", folder, "{{ inventory_hostname }}", *options, *(() if number else ("--last",))]
    return {
        "name": f"round {number}: what to ask" if number else "keep what was told",
        "ansible.builtin.command": {"argv": words, "stdin": _TOLD},
        "delegate_to": "localhost",
        "register": "asked",
        "changed_when": False,
        "no_log": True,
    }


def _there(number: int) -> dict[str, Any]:
    return {
        "name": f"round {number}: ask the node",
        "ansible.builtin.command": {"argv": list(start("log-in")), "stdin": "{{ asked.stdout }}"},
        "when": "asked.stdout | length > 0",
        "register": "told",
        "changed_when": False,
        "ignore_errors": True,
        "ignore_unreachable": True,
        "no_log": True,
    }
