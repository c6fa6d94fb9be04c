"""``envfix fleet``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from envfix.commands import _options as shared
from envfix.commands._report_options import page_option, save_fleet_page
from envfix.model.language import in_english, later, say

F = TypeVar("F", bound=Callable[..., Any])

_WAYS = (
    click.option(
        "--from",
        "folder",
        type=shared.FILE,
        metavar="FOLDER",
        help=later("Snapshots that were gathered before, a file a node."),
    ),
    click.option("--slurm", is_flag=True, help=later("The nodes of this Slurm cluster, through sinfo and srun.")),
    click.option("-p", "--partition", metavar="PARTITION", help=later("Only those of this Slurm partition.")),
    click.option(
        "-w", "--nodes", metavar="NODES", help=later("Only these nodes: gpu[1-6,9], or @group with ClusterShell.")
    ),
    click.option(
        "--ssh",
        is_flag=False,
        flag_value="",
        metavar="NODES",
        help=later("These nodes, through ssh and your own configuration of it."),
    ),
    click.option(
        "--ssh-config", type=shared.FILE, metavar="FILE", help=later("Another configuration of ssh than your own.")
    ),
    click.option(
        "--kubernetes",
        is_flag=True,
        help=later("The GPU nodes of this Kubernetes cluster, through kubectl: a Job on each."),
    ),
    click.option(
        "--image",
        metavar="IMAGE",
        help=later("The image of these Jobs, with any Python in it (default: python:3-slim)."),
    ),
    click.option("-n", "--namespace", metavar="NAMESPACE", help=later("The namespace of these Jobs.")),
    click.option("--timeout", "seconds", type=click.FloatRange(1, 3600), help=later("Seconds that a node may take.")),
    click.option("--fan-out", type=click.IntRange(1, 512), help=later("How many nodes are asked at the same time.")),
)


def ways(function: F) -> F:
    """The ways to the nodes."""
    for decorator in reversed(_WAYS):
        function = decorator(function)
    return function


@click.group()
def command() -> None:
    """The same questions for many nodes at once, through what the cluster has: srun, ssh, kubectl, Ansible.

    Nothing is installed on a node and nothing is left there.

    \b
    envfix fleet diagnose --slurm -p gpu
    envfix fleet diagnose --ssh 'node[1-8],gpu9' --save today/
    envfix fleet diagnose --from today/
    """


@command.command()
@ways
@click.option("--print", "printed", is_flag=True, help=later("Only write the Jobs of --kubernetes, for kubectl apply."))
@click.option(
    "--ansible", type=shared.FILE, metavar="FILE", help=later("Only write a playbook that collects into --save FOLDER.")
)
@click.option(
    "--save",
    type=shared.FILE,
    metavar="FOLDER",
    help=later("Keep a snapshot of each node, without names and secrets, or why there is none."),
)
@page_option
@shared.options(
    shared.python_option,
    click.option("--no-import", "no_import", is_flag=True, help=later("Do not import torch; read files only (fast).")),
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def diagnose(
    *,
    printed: bool,
    ansible: str | None,
    html: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    no_color: bool,
    no_import: bool,
    **wishes: Any,
) -> int:
    """Tell which nodes are in the same state, and what differs.

    Also which difference matters, what is wrong on which nodes and what mends it, and who was not reached. Changes nothing.
    Ends with 1 when something is broken on a node that was reached, with 3 when none was.

    \b
    envfix fleet diagnose --slurm -p gpu
    envfix fleet diagnose --ssh -w @gpu --python yolov8_env
    envfix fleet diagnose --from today/ --json
    envfix fleet diagnose --from today/ --html nodes.html
    """
    from envfix.app import fleet
    from envfix.errors import UsageError
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose)
    if html is not None and (printed or ansible is not None):
        raise UsageError(say("--html shows what nodes told: leave out --print and --ansible, which ask none"))
    request = fleet.request_of(with_import=not no_import, **wishes)
    if ansible is not None:
        from envfix.app import fleet_rounds

        out.fleet_playbook(ansible, fleet_rounds.playbook(fleet.playbook_request(request), ansible))
        return 0
    if printed:
        click.echo(fleet.manifest(request), nl=False)
        return 0
    seen = fleet.look(request, with_stack=html is not None, reporter=out.reporter)
    report = seen.report
    save_fleet_page(html, seen, out)
    out.fleet(report)
    return 3 if not report.count else 1 if report.verdict == "broken" else 0


@command.command()
@ways
@shared.options(
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def gpus(*, as_json: bool, verbose: bool, quiet: bool, no_color: bool, **wishes: Any) -> int:
    """Tell which cards are free now on which node.

    The freest come first; of the others it is told who holds them. Changes nothing. Ends with 3 when no node told anything.

    \b
    envfix fleet gpus --slurm -p gpu
    envfix fleet gpus --ssh 'node[1-8]'
    """
    from envfix.app import fleet, fleet_cards
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose)
    cards = fleet_cards.cards(fleet.request_of(**wishes), reporter=out.reporter)
    out.fleet_gpus(cards)
    return 0 if cards.nodes else 3


@command.command()
@ways
@shared.options(
    click.option(
        "--level",
        type=click.Choice(["import", "cuda", "yolo", "train"]),
        default="yolo",
        show_default=True,
        help=later("How far to climb on each node."),
    ),
    click.option(
        "--device", default="auto", show_default=True, metavar="auto|cpu|0|UUID", help=later("Which device there.")
    ),
    shared.python_option,
    shared.json_option,
    shared.verbose_option,
    shared.quiet_option,
    shared.color_option,
)
def verify(*, level: Any, device: str, as_json: bool, verbose: bool, quiet: bool, no_color: bool, **wishes: Any) -> int:
    """Prove on every node that its environment works.

    Climbs the ladder of `envfix verify` there with the Python that is meant, tells each node as soon as it is through, then
    for those that fail alike the cause and what mends it. Ends with 4 when it fails on a node, with 3 when no node was reached.

    \b
    envfix fleet verify --slurm -p gpu --python yolov8_env
    envfix fleet verify --ssh 'node[1-8]' --level cuda
    """
    from envfix.app import fleet, fleet_proof
    from envfix.render import open_output

    out = open_output(as_json=as_json, color=not no_color, quiet=quiet, verbose=verbose)
    request = fleet.request_of(**wishes)
    verified = fleet_proof.verify(request, level=level, device=device, reporter=out.reporter, on_node=out.fleet_node)
    out.fleet_verified(verified)
    if not verified.nodes:
        return 3
    return 4 if verified.failures else 0


@click.command(name="next", hidden=True)
@click.argument("folder")
@click.argument("node")
@shared.options(
    click.option("--last", is_flag=True),
    shared.python_option,
    click.option("--no-import", "no_import", is_flag=True),
)
def next_round(*, folder: str, node: str, last: bool, target: str | None, no_import: bool) -> int:
    """What to ask a node next: for the playbook that --ansible writes."""
    from envfix.app import fleet, fleet_rounds

    request = fleet.FleetRequest(target=target, with_import=not no_import)
    with in_english():  # what is saved is read by others
        click.echo(fleet_rounds.next_round(folder, node, fleet_rounds.read_told(), request, last=last), nl=False)
    return 0


command.add_command(next_round)
