"""The dry resolution by the real uv: the planned torch is what would come, and no index supplies what it must not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from envfix.host.real import RealHost
from envfix.installer import lock_reader
from envfix.installer.interface import Refusal, Resolution, ResolutionError, Sources
from envfix.installer.uv import UvInstaller, project, uv_platform
from envfix.model.plan import PackagePin, PlanTarget
from tests.loopback_index import Index, make_wheel, serve

LINUX = PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64", libc="glibc", glibc="2.31")


def pin(name: str, specifier: str = "", index: str = "pypi") -> PackagePin:
    return PackagePin(name=name, specifier=specifier, index=index, because="test")


PLANNED = (
    pin("torch", "==2.1.2+cu118", "official"),
    pin("torchvision", "==0.16.2+cu118", "official"),
    pin("ultralytics"),
)


@pytest.fixture(scope="module")
def server() -> Iterator[Index]:
    with serve() as index:
        index.add(
            "cu118",
            make_wheel(
                "torch",
                "2.1.2+cu118",
                "cp311-cp311-linux_x86_64",
                requires=("typing-extensions", "numpy", "triton==2.1.0", "nvidia-cublas-cu11==11.11.3.6"),
                padding=3_000_000,
            ),
            make_wheel("torch", "2.1.2+cu118", "cp38-cp38-linux_x86_64", requires=("typing-extensions",)),
            make_wheel("torchvision", "0.16.2+cu118", "cp311-cp311-linux_x86_64", requires=("torch==2.1.2",)),
            # What a hostile or overtaken torch index would like to slip in.
            make_wheel("numpy", "99.0"),
            make_wheel("typing-extensions", "99.0"),
            make_wheel("triton", "2.1.0"),
            make_wheel("nvidia-cublas-cu11", "11.11.3.6"),
            make_wheel("ultralytics", "99.0"),
        )
        index.add(
            "rocm",
            make_wheel("torch", "2.1.2", "cp311-cp311-linux_x86_64", requires=("pytorch-triton==2.1.0",)),
            make_wheel("pytorch-triton", "2.1.0"),
        )
        index.add(
            "main",
            make_wheel("torch", "2.15.0", "cp311-cp311-manylinux1_x86_64"),
            make_wheel("torch", "2.1.2", "cp311-cp311-manylinux1_x86_64"),
            make_wheel("ultralytics", "8.3.0", requires=("torch>=1.8", "torchvision>=0.9", "numpy>=1.23")),
            make_wheel("numpy", "1.26.4"),
            make_wheel("numpy", "2.1.0"),
            make_wheel("typing-extensions", "4.9.0"),
            make_wheel("triton", "2.1.0"),
            make_wheel("nvidia-cublas-cu11", "11.11.3.6"),
        )
        yield index


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Index) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", server.url("simple", "main"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.password = None


def official(server: Index, layout: str = "simple", repository: str = "cu118") -> Sources:
    return Sources(
        torch_url=server.url(layout, repository),
        torch_layout="find-links" if layout == "flat" else "index",
        torch_name="official",
    )


def resolved(answer: Resolution | Refusal) -> Resolution:
    assert isinstance(answer, Resolution), answer
    return answer


def refused(answer: Resolution | Refusal) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


@pytest.mark.parametrize("layout", ["simple", "json", "nometa", "flat"])
def test_the_planned_torch_comes_and_the_torch_index_supplies_nothing_else(server: Index, layout: str) -> None:
    answer = resolved(UvInstaller(RealHost()).resolve(PLANNED, official(server, layout), LINUX))
    assert answer.versions == {
        "torch": "2.1.2+cu118",
        "torchvision": "0.16.2+cu118",
        "ultralytics": "8.3.0",
        "numpy": "2.1.0",
        "typing-extensions": "4.9.0",
        "triton": "2.1.0",
        "nvidia-cublas-cu11": "11.11.3.6",
    }
    assert {one.name for one in answer.downloads if one.index == "official"} == {"torch", "torchvision"}
    for line in answer.lock.splitlines():
        if "url = " in line:
            assert ("/files/cu118/torch" in line) == ("torch" in line), line
            assert ("/files/main/" in line) != ("/files/cu118/" in line), line


def test_the_price_is_exact_even_where_the_page_tells_no_sizes(server: Index) -> None:
    answer = resolved(UvInstaller(RealHost()).resolve(PLANNED, official(server), LINUX))
    held = {**server.repositories["main"], **server.repositories["cu118"]}
    assert answer.unknown_sizes == 0
    assert answer.total_bytes == sum(len(held[one.filename].data) for one in answer.downloads)
    assert answer.total_bytes > 3_000_000
    assert answer.bytes_to_download == answer.total_bytes
    assert all(one.sha256 == held[one.filename].sha256 for one in answer.downloads)
    torch = next(one for one in answer.downloads if one.name == "torch")
    assert torch.filename == "torch-2.1.2+cu118-cp311-cp311-linux_x86_64.whl"


def test_constraints_bound_what_comes_along(server: Index) -> None:
    uv = UvInstaller(RealHost())
    answer = resolved(uv.resolve(PLANNED, official(server), LINUX, constraints="# why\nnumpy<2\n"))
    assert answer.versions["numpy"] == "1.26.4"


def test_what_is_installed_stays_where_it_fits(server: Index) -> None:
    kept = {"numpy": "1.26.4", "torch": "1.0", "not-on-the-index": "1"}
    answer = resolved(UvInstaller(RealHost()).resolve(PLANNED, official(server), LINUX, installed=kept))
    assert answer.versions["numpy"] == "1.26.4"
    assert answer.versions["torch"] == "2.1.2+cu118"
    assert "not-on-the-index" not in answer.versions


def test_indexes_of_the_user_that_the_plan_does_not_name_are_not_asked(
    server: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pip.conf").write_text(f"[global]\nextra-index-url = {server.url('json', 'cu118')}\n")
    (tmp_path / "uv.toml").write_text(f'extra-index-url = ["{server.url("json", "cu118")}"]\n')
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    monkeypatch.setenv("UV_INDEX", server.url("json", "cu118"))
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", server.url("json", "cu118"))
    monkeypatch.setenv("UV_FIND_LINKS", server.url("flat", "cu118"))
    server.requests.clear()
    answer = resolved(UvInstaller(RealHost()).resolve([pin("numpy"), pin("torch")], Sources(), LINUX))
    assert answer.versions["numpy"] == "2.1.0"
    assert answer.versions["torch"] == "2.15.0"
    assert not server.asked("cu118")


def test_the_registry_configured_for_pip_is_the_default_one(server: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", server.url("simple", "main"))
    answer = resolved(UvInstaller(RealHost()).resolve([pin("ultralytics"), *PLANNED[:2]], official(server), LINUX))
    assert answer.versions["ultralytics"] == "8.3.0"


def test_find_links_are_used_when_the_plan_names_them(server: Index) -> None:
    sources = Sources(find_links=(server.url("flat", "cu118"),), registry=False)
    answer = resolved(UvInstaller(RealHost()).resolve([pin("numpy")], sources, LINUX))
    assert answer.versions == {"numpy": "99.0"}


def test_a_folder_of_wheels_can_supply_torch_alone(server: Index, tmp_path: Path) -> None:
    folder = tmp_path / "my wheels"
    folder.mkdir()
    for wheel in server.repositories["cu118"].values():
        (folder / wheel.filename).write_bytes(wheel.data)
    sources = Sources(torch_url=str(folder), torch_layout="find-links", torch_name="find-links")
    pins = (pin("torch", "==2.1.2+cu118", "find-links"), pin("numpy"))
    answer = resolved(UvInstaller(RealHost()).resolve(pins, sources, LINUX))
    assert answer.versions["torch"] == "2.1.2+cu118"
    assert answer.versions["numpy"] == "2.1.0"
    torch = next(one for one in answer.downloads if one.name == "torch")
    assert torch.size is not None
    assert answer.cached_bytes >= torch.size


def test_what_only_the_torch_index_has_of_the_family_comes_from_there(server: Index) -> None:
    pins = [pin("torch", "==2.1.2", "official")]
    answer = resolved(UvInstaller(RealHost()).resolve(pins, official(server, repository="rocm"), LINUX))
    assert answer.versions == {"torch": "2.1.2", "pytorch-triton": "2.1.0"}
    assert {one.index for one in answer.downloads} == {"official"}


def test_a_plan_that_wants_another_package_from_the_torch_index_is_refused(server: Index) -> None:
    with pytest.raises(ResolutionError, match="numpy must not come from official"):
        UvInstaller(RealHost()).resolve([pin("numpy", "", "official")], official(server), LINUX)


def test_a_wrong_python_is_refused_in_words(server: Index) -> None:
    target = PlanTarget(python="3.12", tag="cp312", platform="linux_x86_64", glibc="2.31")
    answer = refused(UvInstaller(RealHost()).resolve(PLANNED, official(server), target))
    assert answer.kind == "unsatisfiable"
    assert "cp311" in answer.text
    assert "envfix-" not in answer.text


def test_an_unknown_package_is_named(server: Index) -> None:
    answer = refused(UvInstaller(RealHost()).resolve([pin("torhc")], official(server), LINUX))
    assert (answer.kind, answer.message) == ("unsatisfiable", "the index has no package named torhc")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:9/simple", "does not accept connections"),
        ("http://no.such.host.invalid/simple", "DNS"),
        ("{}/broken/500/", "answers with error 500"),
        ("{}/broken/badjson/", None),
        ("{}/broken/hang/", "in time"),
    ],
)
def test_an_index_that_fails_is_a_refusal_of_the_network_kind(
    server: Index, monkeypatch: pytest.MonkeyPatch, address: str, words: str | None
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", address.format(server.base))
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    answer = refused(UvInstaller(RealHost()).resolve([pin("numpy")], Sources(), LINUX))
    assert answer.text
    if words is not None:
        assert answer.kind == "network"
        assert words in answer.message


def test_nothing_is_left_behind(server: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    UvInstaller(RealHost()).resolve(PLANNED, official(server), LINUX)
    assert list(temporary.iterdir()) == []


def test_no_password_is_in_a_resolution_or_a_refusal(server: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    server.password = "s3cret"  # noqa: S105
    monkeypatch.setenv("UV_DEFAULT_INDEX", server.url("simple", "main").replace("//", "//user:s3cret@"))
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", server.url("simple", "cu118").replace("//", "//user:s3cret@"))
    answer = resolved(UvInstaller(RealHost()).resolve(PLANNED, official(server), LINUX))
    assert answer.versions["torch"] == "2.1.2+cu118"
    assert answer.versions["numpy"] == "2.1.0"
    assert "s3cret" not in repr(answer)
    server.password = "another"  # noqa: S105
    monkeypatch.setenv("UV_NO_CACHE", "1")
    assert "s3cret" not in repr(refused(UvInstaller(RealHost()).resolve(PLANNED, official(server), LINUX)))


@pytest.mark.parametrize(
    ("platform", "libc", "glibc", "word"),
    [
        ("linux_x86_64", "glibc", "2.35", "x86_64-manylinux_2_35"),
        ("linux_x86_64", "glibc", "2.27", "x86_64-manylinux_2_17"),
        ("linux_x86_64", "glibc", "2.12", "x86_64-manylinux_2_17"),
        ("linux_x86_64", "glibc", "2.99", "x86_64-manylinux_2_40"),
        ("linux_x86_64", None, None, "x86_64-manylinux_2_28"),
        ("linux_aarch64", "glibc", "2.34", "aarch64-manylinux_2_34"),
        ("linux_x86_64", "musl", None, "x86_64-unknown-linux-musl"),
        ("win_amd64", None, None, "x86_64-pc-windows-msvc"),
        ("macosx_arm64", None, None, "aarch64-apple-darwin"),
    ],
)
def test_a_platform_in_uvs_words(platform: str, libc: str | None, glibc: str | None, word: str) -> None:
    assert uv_platform(PlanTarget(python="3.11", tag="cp311", platform=platform, libc=libc, glibc=glibc)) == word


def test_pythons_that_uv_cannot_be_asked_about_are_refused_with_the_reason() -> None:
    uv = UvInstaller(RealHost())
    threaded = PlanTarget(python="3.13", tag="cp313t", platform="linux_x86_64")
    assert "free-threaded" in refused(uv.resolve([pin("torch")], Sources(), threaded)).message
    ancient = PlanTarget(python="2.7.18", tag="cp27", platform="linux_x86_64")
    assert "too old" in refused(uv.resolve([pin("torch")], Sources(), ancient)).message


def test_a_requirement_that_is_none_is_named() -> None:
    with pytest.raises(ResolutionError, match="not a package requirement: torch=!1"):
        UvInstaller(RealHost()).resolve([pin("torch", "=!1")], Sources(), LINUX)


def test_the_made_up_project_quotes_what_it_is_given() -> None:
    text = project([Requirement('a; python_version > "3"')], Sources(torch_url='x"y'), frozenset({"torch"}), "3.11.7")
    assert 'url = "x\\"y"' in text
    assert 'requires-python = ">=3.11"' in text


@pytest.mark.parametrize(
    ("names", "target", "best"),
    [
        (
            (
                "x-1-py3-none-any.whl",
                "x-1-cp311-cp311-manylinux_2_17_x86_64.whl",
                "x-1-cp37-abi3-manylinux1_x86_64.whl",
            ),
            LINUX,
            "x-1-cp311-cp311-manylinux_2_17_x86_64.whl",
        ),
        (("x-1-py3-none-any.whl", "x-1-cp37-abi3-linux_x86_64.whl"), LINUX, "x-1-cp37-abi3-linux_x86_64.whl"),
        (
            ("x-1-cp36-cp36m-manylinux1_x86_64.whl", "x-1-py2.py3-none-any.whl"),
            PlanTarget(python="3.6", tag="cp36", platform="linux_x86_64", glibc="2.17"),
            "x-1-cp36-cp36m-manylinux1_x86_64.whl",
        ),
        (
            ("x-1-py3-none-any.whl", "x-1-cp312-cp312-win_amd64.whl"),
            PlanTarget(python="3.12", tag="cp312", platform="win_amd64"),
            "x-1-cp312-cp312-win_amd64.whl",
        ),
        (
            ("x-1-py3-none-any.whl", "x-1-cp312-none-macosx_11_0_arm64.whl"),
            PlanTarget(python="3.12", tag="cp312", platform="macosx_arm64"),
            "x-1-cp312-none-macosx_11_0_arm64.whl",
        ),
        (
            ("x-1-py3-none-any.whl", "x-1-cp312-cp312-musllinux_1_2_x86_64.whl"),
            PlanTarget(python="3.12", tag="cp312", platform="linux_x86_64", libc="musl"),
            "x-1-cp312-cp312-musllinux_1_2_x86_64.whl",
        ),
        (("not a wheel", "x-1-py3-none-any.whl"), LINUX, "x-1-py3-none-any.whl"),
    ],
)
def test_of_several_files_the_one_the_target_takes_is_counted(
    names: tuple[str, ...], target: PlanTarget, best: str
) -> None:
    wheels = ", ".join(f'{{ name = "{name}", url = "https://x/{name}" }}' for name in names)
    lock = f'[[packages]]\nname = "x"\nversion = "1"\nwheels = [{wheels}]\n'
    assert [file.filename for file in lock_reader.files(lock, target)] == [best]


def test_a_package_without_a_wheel_counts_its_source() -> None:
    lock = '[[packages]]\nname = "x"\nversion = "1"\nsdist = { url = "https://x/x-1.tar.gz", size = 7 }\n'
    (file,) = lock_reader.files(lock, LINUX)
    assert (file.filename, file.size) == ("x-1.tar.gz", 7)


def test_a_login_goes_only_into_addresses_of_its_own_server() -> None:
    lock = 'a = { url = "https://torch.lab/x" }\nb = { url = "https://torch.lab.evil/x" }\n'
    assert lock_reader.with_credentials(lock, "https://u:p@torch.lab/simple") == lock.replace(
        "https://torch.lab/", "https://u:p@torch.lab/"
    )
    assert lock_reader.with_credentials(lock, "https://torch.lab/simple") == lock


@pytest.mark.online
def test_the_real_old_stack_resolves_for_a_machine_envfix_is_not_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.delenv("UV_CACHE_DIR")
    pins = [pin("torch", "==2.0.1"), pin("torchvision", "==0.15.2"), pin("numpy", "<2")]
    answer = resolved(UvInstaller(RealHost()).resolve(pins, Sources(), LINUX))
    assert answer.versions["torch"] == "2.0.1"
    assert answer.versions["nvidia-cuda-runtime-cu11"].startswith("11.7")
    assert answer.unknown_sizes == 0
    assert answer.total_bytes > 2_000_000_000
