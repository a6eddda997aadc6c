# SPDX-License-Identifier: Apache-2.0
"""What several test files share: signing keys, sample builds, a bundle for each of three chips, the console script."""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import stat
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import rsa
from support.long_share import Share, keep_share
from support.once_a_run import once_a_run
from support.slow_kinds import mark_others_long
from support.warm_python import REAL_PYTHON, is_possible, warm_python

from secure_ext.bundle.write import Bundle, write_bundle
from secure_ext.cli.main import cli
from secure_ext.doctor.decide import decide
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.policy.profile import Profile
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

SECURE = SampleOptions(flash_encryption="release", secure_boot=True)
# A build server's runs have findings of their own; tests are of one kind on every machine.
os.environ.pop("CI", None)
BUNDLED_CHIPS = ("esp32", "esp32c2", "esp32c3")
SIGNING_KEYS = {
    "rsa_0": SignatureScheme.RSA3072,
    "rsa_1": SignatureScheme.RSA3072,
    "rsa_2": SignatureScheme.RSA3072,
    "rsa_3": SignatureScheme.RSA3072,
    "ecdsa256": SignatureScheme.ECDSA256,
    "ecdsa384": SignatureScheme.ECDSA384,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long-share", metavar="K/N", help="of the long tests only the K-th of N parts")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    mark_others_long(items)
    if config.getoption("--long-share"):
        others = keep_share(items, Share.of_text(config.getoption("--long-share")))
        config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="session", autouse=True)
def warm() -> Iterator[None]:
    """The programs that tests start have their modules loaded already; see `support.warm_python`."""
    if not is_possible():
        yield
        return
    with warm_python() as stand_in:
        sys.executable = stand_in
        yield
    sys.executable = REAL_PYTHON


@pytest.fixture(scope="session")
def made_rsa_keys() -> dict[tuple[int, int], list[rsa.RSAPrivateKey]]:
    """The keys of `six_rsa_keys`."""
    return defaultdict(list)


@pytest.fixture
def six_rsa_keys(
    made_rsa_keys: dict[tuple[int, int], list[rsa.RSAPrivateKey]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An RSA key takes 0.2 s to make: for tests of where a key lies, and not of whose it is, six are used in turn."""
    generate = rsa.generate_private_key

    def one_of_six(public_exponent: int, key_size: int) -> rsa.RSAPrivateKey:
        keys = made_rsa_keys[public_exponent, key_size]
        keys.append(generate(public_exponent, key_size) if len(keys) < 6 else keys.pop(0))
        return keys[-1]

    monkeypatch.setattr(rsa, "generate_private_key", one_of_six)


@pytest.fixture(autouse=True)
def cold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test with the marker ``cold`` starts real Pythons only."""
    if request.node.get_closest_marker("cold"):
        monkeypatch.setattr(sys, "executable", REAL_PYTHON)


@pytest.fixture(scope="session")
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Private signing keys, by name; the files must not be changed."""

    def generate(folder: Path) -> dict[str, Path]:
        paths = {name: folder / f"{name}.pem" for name in SIGNING_KEYS}
        for name, path in paths.items():
            write_secret_file(path, generate_signing_key(SIGNING_KEYS[name]))
        return paths

    return once_a_run(tmp_path_factory, "signing-keys", generate)


@pytest.fixture(scope="session")
def signing_key_for(signing_keys: dict[str, Path]) -> Callable[[str], Path]:
    """The signing key that suits a chip's first scheme."""
    return lambda chip: signing_keys["ecdsa256" if chip in ("esp32c2", "esp32c61") else "rsa_0"]


@pytest.fixture(scope="session")
def sample_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The project directory of a sample with flash encryption and secure boot, by chip; it must not be changed."""

    @functools.cache
    def project(chip: str) -> Path:
        return once_a_run(
            tmp_path_factory, f"sample-{chip}", lambda folder: make_sample_build(folder, chip, options=SECURE).parent
        )

    return project


@pytest.fixture
def new_build(sample_project: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A sample build to change: of the shared sample, or with SampleOptions of its own. Returns its build directory."""

    def build(chip: str = "esp32c3", options: SampleOptions = SECURE, folder: str = "project") -> Path:
        project = tmp_path / folder
        if options == SECURE:
            shutil.copytree(sample_project(chip), project, ignore=shutil.ignore_patterns("secure_keys"))
            return project / "build"
        return make_sample_build(project, chip, options=options)

    return build


@pytest.fixture(scope="session")
def made_bundle(
    sample_project: Callable[[str], Path],
    signing_key_for: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Bundle]:
    """The bundle of a chip's sample, with generated keys; it must not be changed."""

    def make(chip: str, folder: Path) -> Bundle:
        profile = Profile(Path.cwd(), {"secure_boot.keys": (str(signing_key_for(chip)),)})
        return write_bundle(decide(sample_project(chip) / "build", profile), folder / chip, lambda _: None)

    @functools.cache
    def bundle(chip: str) -> Bundle:
        return once_a_run(tmp_path_factory, f"bundle-{chip}", lambda folder: make(chip, folder))

    return bundle


@pytest.fixture(params=BUNDLED_CHIPS)
def bundle(request: pytest.FixtureRequest, made_bundle: Callable[[str], Bundle]) -> Bundle:
    """The bundle of each of three chips: the oldest, the one with a single key block, and a usual one."""
    return made_bundle(request.param)


@pytest.fixture(scope="session")
def run_cli() -> Callable[..., Result]:
    """Runs the console script's command line in this process, with stdout and stderr apart."""
    # before click 8.2 they had to be asked for
    separate: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}

    def run(*arguments: object) -> Result:
        return CliRunner(**separate).invoke(cli, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def run_script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the console script as a program of its own."""

    def run(
        *arguments: object, cwd: Path | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "secure_ext", *(str(argument) for argument in arguments)],
            cwd=cwd,
            env=os.environ | (environment or {}),
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def run_program() -> Callable[..., tuple[int, str]]:
    """Runs a Python file as a program of its own: its exit code, and all that it printed."""

    def run(program: Path, *arguments: object, cwd: Path | None = None) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(program), *(str(argument) for argument in arguments)],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode, done.stdout

    return run


@pytest.fixture(scope="session")
def snapshot() -> Callable[..., dict[str, tuple[int, bytes]]]:
    """Every file, directory and link below a folder: its mode and its content (or target), by path."""

    def take(folder: Path, ignored: Iterable[str] = ()) -> dict[str, tuple[int, bytes]]:
        taken: dict[str, tuple[int, bytes]] = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if any(name == other or name.startswith(other + "/") for other in ignored):
                continue
            mode = path.lstat().st_mode
            content = b""
            if path.is_symlink():
                content = os.fsencode(path.readlink())
            elif stat.S_ISREG(mode):
                content = path.read_bytes()
            taken[name] = (mode, content)
        return taken

    return take


@pytest.fixture
def killed_run() -> Callable[[Path], Path]:
    """Leaves what a run that was killed in the middle of writing a directory leaves beside it."""

    def leave(target: Path) -> Path:
        folder = target.with_name(f".{target.name}.partial-abcd_123")
        folder.mkdir()
        (folder / "key.bin").write_bytes(b"secret")
        target.with_name(f".{target.name}.lock").touch()
        return folder

    return leave
