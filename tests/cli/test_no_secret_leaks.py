# SPDX-License-Identifier: Apache-2.0
"""No key, in no form, outside the folder ``keys``: not in any output, file, log, temporary file or process list."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from secret_forms import forms, pem_forms

from secure_ext.keys.files import write_secret_file
from secure_ext.keys.symmetric import generate_secret

pytestmark = pytest.mark.cold

CHIPS = {"esp32c3": (32, 32), "esp32c2": (16, 0)}
LONG_CHIPS = {"esp32": (32, 0), "esp32s3": (64, 32)}


@dataclass
class Watched:
    """What was seen while a bundle was made and its script ran."""

    chip: str
    folder: Path
    bundle: Path
    secrets: dict[str, list[bytes]] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(default_factory=dict)

    def leaks_in(self, content: bytes) -> list[str]:
        return [name for name, needles in self.secrets.items() if any(needle in content for needle in needles)]


def command_lines() -> set[bytes]:
    """The command lines of all processes of this machine."""
    lines = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.add(path.read_bytes().replace(b"\0", b" "))
        except OSError:
            continue
    return lines


def watch(name: str, words: list[str], watched: Watched, environment: dict[str, str]) -> None:
    """Runs a program, and keeps what it prints and what the process list shows meanwhile."""
    output = watched.folder / f"output-{len(watched.outputs)}"
    seen: set[bytes] = set()
    with output.open("wb") as file:
        process = subprocess.Popen(
            words, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )
        while process.poll() is None:
            seen |= command_lines()
            time.sleep(0.03)  # a call of espefuse takes many times as long
    watched.outputs[name] = output.read_bytes()
    watched.outputs[f"process list during {name}"] = b"\n".join(sorted(seen))
    output.unlink()
    if process.returncode:
        raise AssertionError(f"{name} failed: {watched.outputs[name].decode(errors='replace')[-800:]}")


def make(chip: str, lengths: tuple[int, int], project: Path, key: Path, folder: Path) -> Watched:
    flash_length, hmac_length = lengths
    watched = Watched(chip, folder, folder / "bundle")
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    given_keys = folder / "given"
    given_keys.mkdir(mode=0o700)
    lines = ["schema: 1", "flash_encryption:", "  key: given/flash.bin"]
    lines += ["  key_size: 256"] if flash_length == 64 else []
    lines += ["nvs:", "  key: given/hmac.bin"] if hmac_length else []
    lines += ["secure_boot:", "  keys: [given/signing.pem]"]
    secrets = {"flash encryption key": flash_length, "HMAC key": hmac_length}
    for name, file, length in zip(secrets, ("flash.bin", "hmac.bin"), secrets.values(), strict=True):
        if length:
            secret = generate_secret(name, length).data
            write_secret_file(given_keys / file, secret)
            watched.secrets[name] = [needle for part in parts(secret) for needle in forms(part)]
    write_secret_file(given_keys / "signing.pem", key.read_bytes())
    watched.secrets["signing key"] = list(pem_forms(key))
    if flash_length == 16:
        derived = hashlib.sha256((given_keys / "flash.bin").read_bytes()).digest()
        watched.secrets["SHA-256 of the 16 bytes, which is the AES key"] = list(forms(derived))
    profile = folder / "profile.yaml"
    profile.write_text("\n".join(lines) + "\n", encoding="utf-8")
    common = ["-B", str(project / "build"), "--profile", str(profile)]
    python = [sys.executable, "-m", "secure_ext"]
    for output_format in ("text", "json") if chip != "esp32c2" else ("text",):
        chosen = [*common, "--format", output_format]
        watch(f"doctor {output_format}", [*python, "doctor", *chosen], watched, environment)
        watch(f"plan {output_format}", [*python, "plan", *chosen], watched, environment)
        watch(f"bundle {output_format}", [*python, "bundle", *chosen, "-o", str(watched.bundle)], watched, environment)
    watch("profile", [*python, "profile", str(profile)], watched, environment)
    watch("keys digest", [*python, "keys", "digest", str(given_keys / "signing.pem")], watched, environment)
    script = [sys.executable, str(watched.bundle / "provision.py"), "--virt", str(folder / "chip.bin"), "--yes"]
    watch("provision.py", script, watched, environment)
    if chip != "esp32c2":
        watch("provision.py again", [*script, "--dry-run"], watched, environment)
    return watched


def parts(secret: bytes) -> list[bytes]:
    """The secret, and its halves where it is burned as two."""
    return [secret, secret[:32], secret[32:]] if len(secret) == 64 else [secret]


@pytest.fixture(scope="module")
def watched(
    request: pytest.FixtureRequest,
    sample_project: Callable[[str], Path],
    signing_key_for: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Watched:
    chip = str(request.param)
    lengths = (CHIPS | LONG_CHIPS)[chip]
    folder = tmp_path_factory.mktemp(f"leaks-{chip}")
    return make(chip, lengths, sample_project(chip), signing_key_for(chip), folder)


for_each_chip = pytest.mark.parametrize(
    "watched",
    [*CHIPS, *(pytest.param(chip, marks=pytest.mark.long) for chip in LONG_CHIPS)],
    indirect=True,
    scope="module",
)
only_on_linux = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")


@only_on_linux
@for_each_chip
def test_the_search_finds_what_is_there(watched: Watched) -> None:
    """Without this, the other tests could be passing for a wrong reason."""
    for file in watched.bundle.joinpath("keys").glob("[!.]*"):
        assert watched.leaks_in(file.read_bytes())
    for needles in watched.secrets.values():
        assert watched.leaks_in(b"x" + needles[0] + b"y")
    assert all(len(needle) >= 12 for needles in watched.secrets.values() for needle in needles)
    lists = [output for name, output in watched.outputs.items() if name == "process list during provision.py"]
    assert any(b"board_helper" in output for output in lists)
    assert any(b"burn-key" in output or b"burn_key" in output for output in watched.outputs.values())


@only_on_linux
@for_each_chip
def test_no_output_and_no_process_list_shows_a_secret(watched: Watched) -> None:
    for name, output in watched.outputs.items():
        assert watched.leaks_in(output) == [], name


@only_on_linux
@for_each_chip
def test_no_file_but_the_keys_holds_a_secret(watched: Watched) -> None:
    checked = []
    for path in watched.folder.rglob("*"):
        relative = path.relative_to(watched.folder).as_posix()
        # the virtual chip holds what was burned: it stands for the silicon
        if not path.is_file() or relative.startswith(("bundle/keys/", "given/")) or relative == "chip.bin":
            continue
        checked.append(relative)
        assert watched.leaks_in(path.read_bytes()) == [], relative
    names = ["manifest.json", "plan.json", "provision.py", "commands.sh", "commands.ps1", "images/sample.bin"]
    assert {f"bundle/{name}" for name in names} <= set(checked)
    assert {"chip.bin.journal.json", "chip.bin.journal.log"} <= set(checked)


@only_on_linux
@for_each_chip
def test_no_temporary_file_is_left(watched: Watched) -> None:
    assert list((watched.folder / "tmp").rglob("*")) == []


@only_on_linux
@for_each_chip
def test_modes_of_the_keys(watched: Watched) -> None:
    keys = watched.bundle / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    names = {path.name for path in keys.iterdir()}
    assert not {name for name in names if name.endswith(".pem")}, "a key that was given is not copied"


def test_a_wide_umask_does_not_open_the_keys(
    made_bundle: Callable[..., object],
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., object],
    tmp_path: Path,
) -> None:
    before = os.umask(0)
    try:
        text = "schema: 1\nsecure_boot: {keys: [generate]}\n"
        (tmp_path / "profile.yaml").write_text(text, encoding="utf-8")
        run_cli(
            *("bundle", "-B", sample_project("esp32c3") / "build"),
            *("--profile", tmp_path / "profile.yaml", "-o", tmp_path / "out"),
        )
    finally:
        os.umask(before)
    keys = tmp_path / "out" / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {path.name for path in keys.iterdir()} >= {"secure_boot_signing_key_0.pem", "flash_encryption_key.bin"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}


@pytest.mark.parametrize("kind", ["flash-encryption", "flash-encryption-256", "flash-encryption-128-derived", "hmac"])
def test_generated_secret_is_not_shown(
    kind: str, tmp_path: Path, run_script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_script("keys", "generate", kind, tmp_path / "key.bin")
    assert done.returncode == 0
    shown = (done.stdout + done.stderr).encode()
    assert not [needle for needle in forms((tmp_path / "key.bin").read_bytes()) if needle in shown]
    assert stat.S_IMODE((tmp_path / "key.bin").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["rsa3072", "ecdsa256", "ecdsa384"])
def test_generated_signing_key_is_not_shown(
    kind: str, tmp_path: Path, run_script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_script("keys", "generate", kind, tmp_path / "key.pem")
    assert done.returncode == 0
    shown = (done.stdout + done.stderr).encode()
    assert not [needle for needle in pem_forms(tmp_path / "key.pem") if needle in shown]
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_demo_shows_no_secret(tmp_path: Path, run_script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run_script("demo", "--chip", "esp32c2", "-o", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    shown = (done.stdout + done.stderr).encode()
    keys = tmp_path / "demo" / "bundle" / "keys"
    needles = [needle for path in keys.iterdir() for needle in forms(path.read_bytes())]
    derived = hashlib.sha256((keys / "flash_encryption_key.bin").read_bytes()).digest()
    needles += [*forms(derived), *pem_forms(tmp_path / "demo" / "signing_key.pem")]
    assert len(needles) > 50
    assert not [needle for needle in needles if needle in shown]


@pytest.mark.parametrize("kind", ["text", "one byte short", "all zero"])
def test_a_refused_key_is_not_shown(
    kind: str, sample_project: Callable[[str], Path], tmp_path: Path, run_cli: Callable[..., object]
) -> None:
    secret = generate_secret("test", 32).data
    content = {"text": secret.hex().encode(), "one byte short": secret[:31], "all zero": bytes(32)}[kind]
    write_secret_file(tmp_path / "key.bin", content)
    result = run_cli(
        *("bundle", "-B", sample_project("esp32c3") / "build", "--flash-encryption-key", tmp_path / "key.bin"),
        *("--signing-key", tmp_path / "none.pem", "-o", tmp_path / "out", "--format", "json"),
    )
    shown = f"{getattr(result, 'stdout')}{getattr(result, 'stderr')}".encode()  # noqa: B009 (of two click versions)
    assert b"SE62" in shown
    assert not [needle for needle in [*forms(secret), *forms(secret[:31])] if needle in shown]
