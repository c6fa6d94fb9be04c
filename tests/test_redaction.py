"""Nothing that names a person, a place or a secret leaves in a snapshot, and what leaves still says the same."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envfix import snapshots
from envfix.app.detecting import detect
from envfix.app.diagnosing import diagnose
from envfix.errors import EnvfixError
from envfix.host.real import RealHost
from envfix.host.recording import RecordingHost
from envfix.host.replay import ReplayHost
from envfix.host.target import COOKIE
from envfix.model.documents import Redactor, to_builtins, to_json, without_secrets
from envfix.model.facts import Environment, Machine
from envfix.tables.loader import Tables
from tests.conftest import CHECKOUT
from tests.fakes.machines import MACHINES, FakeDrivers
from tests.fakes.running import envfix
from tests.fakes.targets import SM_OF_CU128, base_python, make_venv, write_script, write_torch, write_torchvision

USER, OTHER, HOST, TOKEN = "zzuserzz", "zzotherzz", "zzhostzz", "zzT0KENzz"


# --- texts ---


@pytest.mark.parametrize(
    "text",
    [
        "https://anna:{}@pypi.example/simple",
        "https://{}@pypi.example/simple",
        "https://anna:p@{}@pypi.example/simple",
        "git+https://{}:x-oauth-basic@github.com/lab/yolo",
        "proxy = anna:{}@proxy.example:3128",
        "https://conda.anaconda.org/t/{}/lab",
        "https://bucket.example/wheel.whl?X-Amz-Signature={}&x=1",
        "https://index.example/simple?token={}",
        "HF_TOKEN={}",
        "password: {}",
        '{{"api_key": "{}"}}',
        "python train.py --wandb-token {} --epochs 3",
        "python train.py --api-key={}",
        "Authorization: Bearer {}",
        "Bearer {}-and-more",
        "HTTPS_PROXY=anna:{}@proxy.example:3128",
        '"https_proxy": "anna:{}@proxy.example:3128"',
        "proxy_servers: {{http: anna:{}@proxy.example}}",
        "https://anna:{}/x@index.example/simple",
        "https://dl.cloudsmith.io/{}/lab/python/simple",
        "https://index.example/simple?auth={}",
        "https://index.example/simple?pwd={}",
        '{{"password": "a {} b"}}',
        "token: 'a;{}'",
        '{{"file": "password: \\"a {}\\""}}',
        "AWS_ACCESS_KEY_ID={}",
        "ssh_passphrase={}",
        "private_key = {}",
        "MYSQL_PWD={}",
        "curl -u anna:{} https://index.example",
        "sshpass -p {} ssh gpu07",
        "machine index.example login anna password {}",
        "Cookie: session={}",
    ],
)
def test_secret_is_hidden_wherever_it_is_written(text: str) -> None:
    hidden = without_secrets(text.format("s3cr3t-Value"))
    assert "s3cr3t" not in hidden
    assert "***" in hidden
    assert without_secrets(hidden) == hidden


@pytest.mark.parametrize(
    "token",
    [
        "hf_abcdefghijklmnopqrstuvwx",
        "ghp_abcdefghijklmnopqrstuvwxyz012345",
        "nvapi-abcdefghijklmnopqrst",
        "pypi-AgEIcHlwaS5vcmcCJDU",
        "npm_abcdefghijklmnopqrstuvwxyz",
        "AKIAIOSFODNN7EXAMPLE1",
        "AIzaSyA1234567890abcdefghijklmnopqrstuvw",
        "eyJhbGciOiJIUzI1NiJ9abc.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    ],
)
def test_token_that_is_known_by_its_beginning_is_hidden(token: str) -> None:
    assert token[8:] not in without_secrets(f"python train.py {token}")


@pytest.mark.parametrize(
    "name",
    [
        "UV_PUBLISH_TOKEN",
        "UV_INDEX_LAB_PASSWORD",
        "NVIDIA_API_KEY",
        "CONDA_TOKEN",
        "PIP_SECRET",
        "PIP_AUTH",
        "DB_PASS",
        "MYSQL_PWD",
        "SSH_PASSPHRASE",
        "PRIVATE_KEY",
    ],
)
def test_variable_that_is_named_like_a_secret_is_hidden_whole(name: str) -> None:
    assert without_secrets({name: "s3cr3t", "CUDA_HOME": "/usr/local/cuda"}) == {
        name: "***",
        "CUDA_HOME": "/usr/local/cuda",
    }


@pytest.mark.parametrize(
    "text",
    [
        "https://download.pytorch.org/whl/cu118",
        "file:///opt/wheels",
        "NVIDIA GeForce RTX 3090",
        "import torch in /home/x/bin/python",
        "CUDA_VISIBLE_DEVICES=0,1",
        "mail@example.org",
        "max_split_size_mb:128",
        "/data/t/file",
        "OLDPWD=/data PWD=/data/x",
        "docker run ubuntu:22.04@sha256:0123456789abcdef",
        "git+https://git.example:8443/lab/yolo@v1.2",
        "AssertionError: 12:30:01 gpu:0 failed",
        "keyboard: 105 keys, monkey=3",
    ],
)
def test_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/anna/.conda/envs/yolo", "~/.conda/envs/yolo"),
        ("/home/anna", "~"),
        ("/home/annabel/x", "/home/annabel/x"),
        ("/home/anna.old/x", "/home/user.old/x"),
        ("/nfs/people/anna/x", "/nfs/people/user/x"),
        ("env anna_yolo of anna's", "env user_yolo of user's"),
        ("bob's /home/bob/train.py", "bob's /home/bob/train.py"),
        ("gpu07.lab.example.edu", "host"),
        ("gpu07", "host"),
        ("gpu07-ib0", "host-ib0"),
        ("gpu071", "gpu071"),
        ("chen ran /data/chen/x", "user2 ran /data/user2/x"),
        ("li ran line.py of li", "user3 ran line.py of user3"),
    ],
)
def test_names_are_replaced_as_words_not_as_letters(text: str, expected: str) -> None:
    redactor = Redactor(home="/home/anna/", people=["anna", "chen", "li", "root", "anna"], host="gpu07.lab.example.edu")
    assert redactor.text(text) == expected


def test_serial_ids_become_stand_ins_that_still_tell_cards_apart() -> None:
    redactor = Redactor()
    first, second = "GPU-8a1b2c3d-1111-2222-3333-0123456789ab", "GPU-9a1b2c3d-1111-2222-3333-0123456789ab"
    text = redactor.text(f"{first} {second} {first} GPU-8a1b2c3d GPU-9A1B2C3D-1111 MIG-{first[4:]}/1/0 GPU 0 GPU-0")
    one, two, again, short, shorter, mig, *rest = text.split()
    assert one == again != two
    assert (one.startswith(short), two.startswith(shorter)) == (True, True), "an abbreviation still names its card"
    assert mig not in (one, two)
    assert rest == ["GPU", "0", "GPU-0"]
    assert "1b2c3d" not in text.lower()


def test_ids_and_addresses_of_machines_become_stand_ins() -> None:
    redactor = Redactor()
    card, address = "52:54:00:ab:cd:ef", "10.12.0.5"
    text = redactor.text(
        f"{card} {card.upper().replace(':', '-')} 8a1b2c3d-1111-2222-3333-0123456789ab http://{address}:8081/simple"
        f" {address}:29500 anna@10.12.0.6:/x http://{address}/x"
    )
    assert text == (
        "00:00:00:00:00:00 00-00-00-00-00-00 00000000-0000-0000-0000-000000000000 http://192.0.2.1:8081/simple"
        " 192.0.2.1:29500 anna@192.0.2.2:/x http://192.0.2.1/x"
    )
    same = (
        "opencv 4.9.0.80 12.4.127.1: 0000:01:00.0 http://127.0.0.1:80/x 0.0.0.0:80 10:20:30 2026-11-27 cudnn-8.9.2.26"
    )
    assert redactor.text(same) == same


NAMES = st.from_regex(r"[a-z][a-z0-9_]{1,11}", fullmatch=True)
PLACES = st.sampled_from(
    [
        "/home/{}/x",
        "/data/{}/envs",
        "user {} runs",
        "{}",
        "[{}]",
        '{{"{}": 1}}',
        "a {}, b",
        "{}@gpu",
        "C:\\Users\\{}\\x",
        "path=/scratch/{}",
    ]
)


@given(name=NAMES, place=PLACES, role=st.sampled_from(["user", "host"]))
def test_ordinary_name_never_survives_as_a_word(name: str, place: str, role: str) -> None:
    redactor = Redactor(people=[name] if role == "user" else [], host=name if role == "host" else None)
    words = re.split(r"[^A-Za-z0-9_]+", place.format("\0"))
    hidden = redactor.text(place.format(name))
    if redactor.text(name) == name:
        return  # a word that names nobody, such as `data`
    assert name not in re.split(r"[^A-Za-z0-9_]+", hidden) or name in words


@given(text=st.text(max_size=300), name=NAMES)
def test_redacting_twice_changes_nothing_more(text: str, name: str) -> None:
    redactor = Redactor(home=f"/home/{name}", people=[name], host="gpu07.lab")
    once = redactor.text(text)
    assert redactor.text(once) == once


# --- whole machines ---


class Recorded:
    """A transcript with stand-ins for the names, as it was before redacting."""

    def __init__(self, transcript: list[dict[str, Any]], target: str) -> None:
        self.text = json.dumps(transcript)
        self.target = target
        self.words = sorted(set(re.findall(r"[a-z][a-z0-9_-]+", self.text)))

    def named(self, user: str, other: str, host: str) -> tuple[list[dict[str, Any]], str]:
        """The same machine with these people and this name."""
        transcript, target = self.text, self.target
        for stand_in, name in ((USER, user), (OTHER, other), (HOST, host)):
            transcript, target = transcript.replace(stand_in, name), target.replace(stand_in, name)
        return json.loads(transcript), target


@pytest.fixture(scope="module")
def recorded(fake_drivers: FakeDrivers, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A shared server, recorded for real, full of names and secrets."""
    root = tmp_path_factory.mktemp("recorded")
    home = root / "home" / USER
    env = fake_drivers.environment(MACHINES["seed-server"], root / "machine")
    prefix = home / ".conda" / "envs" / "yolov8_env"
    site = make_venv(prefix)
    write_torch(site, "2.8.0+cu128", "12.8", SM_OF_CU128)
    write_torchvision(site, "0.19.1", None, torch_pin="2.4.1")
    write_torch(make_venv(home / "anna" / "env"), "1.9.0+cu111", "11.1")
    (home / ".condarc").write_text(
        f"channels:\n  - https://{USER}:{TOKEN}@conda.example/lab\n  - https://conda.example/t/{TOKEN}/lab\n"
    )
    (home / "pip.conf").write_text(
        f"[global]\nindex-url = https://{USER}:{TOKEN}@{HOST}.example/simple\nproxy = {USER}:{TOKEN}@proxy:1\n"
    )
    write_script(Path(env["PATH"]) / "conda", "exit 1")
    env |= {
        "HOME": str(home),
        "PIP_CONFIG_FILE": str(home / "pip.conf"),
        "PIP_EXTRA_INDEX_URL": f"https://{TOKEN}@{HOST}/simple",
        "UV_PUBLISH_TOKEN": TOKEN,
        "CONDA_PREFIX": str(prefix),
        "CUDA_VISIBLE_DEVICES": "GPU-5eed0000",
        "SLURM_JOB_USER": USER,
        "FAKE_HOLDERS": f"0|4194999|22630|python /home/{OTHER}/train.py --api-key {TOKEN} --host {HOST}",
        "VIRTUAL_ENV": f"/data/{USER}/venv",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        patch.chdir(home)
        host = RecordingHost(RealHost())
        machine, _ = detect(host, "~/.conda/envs/yolov8_env", with_import=False)
        assert machine.gpus.value
        transcript = host.transcript
    for call in transcript:
        # The owner of a process is known where the process is this machine's own; here it is made up.
        if call["ask"][0] == "run_script" and "gpu_facts" in call["ask"][2]:
            call["answer"]["stdout"] = call["answer"]["stdout"].replace(
                '"pid": 4194999', f'"pid": 4194999, "user": "{OTHER}"'
            )
    return Recorded(transcript, "~/.conda/envs/yolov8_env")


def snapshot_of(recorded: Recorded, user: str, other: str, host: str) -> tuple[Machine, Environment, dict[str, Any]]:
    """Facts before redacting, and the snapshot as it would be written."""
    transcript, target = recorded.named(user, other, host)
    replay = ReplayHost(transcript)
    machine, environment = detect(replay, target, with_import=False)
    people = [user, *(one.user for card in machine.gpus.value or () for one in card.processes if one.user)]
    redactor = Redactor(home=replay.system_facts()["home"], people=people, host=host)
    content = snapshots.document(machine, environment, transcript, redactor, target=target, with_import=False)
    return machine, environment, content


def verdict_of(machine: Machine, environment: Environment, tables: Tables) -> list[Any]:
    found = diagnose(machine, environment, tables)
    findings = [(one.code, one.severity, one.follows_from, len(one.because)) for one in found.findings]
    return [found.verdict, findings, [one.code for one in found.skipped]]


def check(recorded: Recorded, tables: Tables, user: str, other: str, host: str) -> str:
    machine, environment, content = snapshot_of(recorded, user, other, host)
    text = to_json(content)
    saved = snapshots.read(text, "a snapshot")
    again = detect(ReplayHost(saved.transcript), saved.target, with_import=False)
    assert to_builtins(again) == to_builtins((saved.machine, saved.environment))
    assert verdict_of(saved.machine, saved.environment, tables) == verdict_of(machine, environment, tables)
    return text


def test_shared_server_is_told_without_names_and_still_says_the_same(recorded: Recorded, tables: Tables) -> None:
    text = check(recorded, tables, USER, OTHER, HOST)
    for name in (USER, OTHER, HOST, TOKEN, "5eed0"):
        assert name not in text
    found = verdict_of(*snapshot_of(recorded, USER, OTHER, HOST)[:2], tables)
    codes = [finding[0] for finding in found[1]]
    assert {"DRV101", "FAM101", "MEM102"} <= set(codes), "the machine is broken in ways that redacting could hide"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=NAMES, other=NAMES, host=st.from_regex(r"[a-z][a-z0-9-]{2,12}[a-z0-9]", fullmatch=True))
def test_any_people_on_any_host_are_hidden_and_the_verdict_stays(
    recorded: Recorded, tables: Tables, user: str, other: str, host: str
) -> None:
    text = check(recorded, tables, user, other, host)
    redactor = Redactor(people=[user, other], host=host)
    for name in (user, other, host):
        if len(name) > 4 and redactor.text(name) != name and name not in recorded.words:
            assert not re.search(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", text)


def words_of_envfix() -> set[str]:
    """Words that envfix itself writes into facts and questions: an account of that name must not change what is read."""
    folders = ("probes", "target", "host", "model")
    texts = [path.read_text() for folder in folders for path in (CHECKOUT / "envfix" / folder).glob("*.py")]
    return set(re.findall(r"(?<![\w-])[a-z][a-z0-9_-]*[a-z0-9](?![\w-])", "\n".join(texts)))


def test_account_that_is_named_like_a_word_of_the_field_spoils_nothing(recorded: Recorded, tables: Tables) -> None:
    """Accounts are called `nvidia`, `linux`, `ubuntu`, `conda`, `student` or `max` on real machines: each word is tried."""
    spoiled = []
    for name in sorted(words_of_envfix().intersection(recorded.words) - {COOKIE}):
        machine, environment, content = snapshot_of(recorded, name, "bob", "gpuhost")
        saved = snapshots.read(to_json(content), "a snapshot")
        try:
            again = detect(ReplayHost(saved.transcript), saved.target, with_import=False)
        except EnvfixError:
            spoiled.append(name)
            continue
        same = to_builtins(again) == to_builtins((saved.machine, saved.environment))
        if not same or verdict_of(saved.machine, saved.environment, tables) != verdict_of(machine, environment, tables):
            spoiled.append(name)
    assert not spoiled, f"add to _NOBODY in envfix/model/documents.py: {spoiled}"


# --- the real command ---


def test_real_snapshot_of_this_machine_names_neither_user_nor_home_nor_host(
    fake_drivers: FakeDrivers, tmp_path: Path
) -> None:
    env = fake_drivers.environment(MACHINES["seed-server"], tmp_path / "machine")
    home = tmp_path / "home of somebody"
    write_torch(make_venv(home / "env"), "1.9.0+cu111", "11.1")
    env |= {
        "HOME": str(home),
        "LOGNAME": "zzuserzz",
        "USER": "zzuserzz",
        "PIP_INDEX_URL": f"https://zzuserzz:{TOKEN}@pypi.example/simple",
        "CUDA_VISIBLE_DEVICES": "GPU-5eed0001-0000-4bad-9caf-0123456789ab",
        "UV_PUBLISH_TOKEN": TOKEN,
        "CONDA_PREFIX": "/data/zzuserzz/conda",
    }
    path = tmp_path / "saved.json"
    finished = envfix("snapshot", "--no-import", "--python", str(home / "env"), "-o", str(path), env=env)
    assert finished.code == 0, finished
    text = path.read_text()
    for name in ("zzuserzz", TOKEN, "home of somebody", "5eed000"):
        assert name not in text
    assert re.search(r'"CONDA_PREFIX": "/data/user/conda"', text)
    node = platform.node().partition(".")[0]
    if Redactor(host=node).text(node) != node:
        assert not re.search(rf"(?<![A-Za-z0-9]){re.escape(node)}(?![A-Za-z0-9])", text)
    assert getpass.getuser() == "root" or f"/{getpass.getuser()}/" not in text


def test_diagnosis_shows_no_secret_of_a_variable_either(fake_drivers: FakeDrivers, tmp_path: Path) -> None:
    env = fake_drivers.environment(MACHINES["no-driver"], tmp_path / "machine")
    env |= {
        "UV_PUBLISH_TOKEN": TOKEN,
        "NVIDIA_API_KEY": TOKEN,
        "PIP_INDEX_URL": f"https://u:{TOKEN}@pypi.example/simple",
        "PIP_PROXY": f"u:{TOKEN}@proxy:3128",
    }
    for form in ("--json", "-v"):
        finished = envfix("diagnose", "--no-import", form, "--python", base_python(), env=env)
        assert TOKEN not in finished.stdout
        assert "PIP_INDEX_URL" in finished.stdout


def test_live_facts_keep_the_serial_ids_that_users_must_paste(fake_drivers: FakeDrivers, tmp_path: Path) -> None:
    wanted = "GPU-5eed0001-0000-4bad-9caf-0123456789ab"
    env = {**fake_drivers.environment(MACHINES["seed-server"], tmp_path / "machine"), "CUDA_VISIBLE_DEVICES": wanted}
    facts = envfix("diagnose", "--no-import", "--json", "--python", base_python(), env=env).document["facts"]["machine"]
    assert facts["variables"]["CUDA_VISIBLE_DEVICES"] == wanted == facts["gpus"]["value"][1]["uuid"]


ENDLESS = (
    "x",
    "a1",
    "://",
    "--",
    "?a",
    "token ",
    "proxy=",
    "proxy=a:",
    "://t/",
    "https://a:",
    "hf_",
    "GPU-",
    " ",
    "~/",
    "a:",
    "a:b@",
    "token='",
    "eyJa.",
    " -u a:",
    "login a password ",
    "1.2.3.4:",
    "00:",
)


@pytest.mark.parametrize("piece", ENDLESS)
def test_long_text_without_a_secret_does_not_take_the_square_of_its_length(piece: str) -> None:
    text = piece * (40_000 // len(piece))
    start = time.process_time()
    assert Redactor(home="/home/anna", people=["anna"], host="desktop").text(text)
    # 0.1 s here; a quadratic pattern takes 10 s.
    assert time.process_time() - start < 3
