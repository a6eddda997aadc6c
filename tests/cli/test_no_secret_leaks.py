"""No key, in no form, outside the folder ``keys``: not in any output, file, log, temporary file or process list."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ext.device.esp_tools import ToolResult, redact
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.symmetric import generate_secret

CHIPS = {"esp32c3": (32, 32), "esp32c2": (16, 0)}
LONG_CHIPS = {"esp32": (32, 0), "esp32s3": (64, 32)}


def forms(secret: bytes) -> Iterator[bytes]:
    """The ways in which programs print a secret."""
    for data in (secret, secret[::-1]):
        yield data
        for separator in ("", " ", ":", ", ", "-", "\\x"):
            text = separator.join(f"{byte:02x}" for byte in data)
            yield text.encode()
            yield text.upper().encode()
        yield base64.b64encode(data).rstrip(b"=")
        yield base64.urlsafe_b64encode(data).rstrip(b"=")
        for order in ("little", "big"):
            words = [data[i : i + 4] for i in range(0, len(data), 4)]
            numbers = [int.from_bytes(word, "little" if order == "little" else "big") for word in words]
            yield " ".join(f"{number:08x}" for number in numbers).encode()
            yield " ".join(f"{number:08x}" for number in reversed(numbers)).encode()
        yield str(int.from_bytes(data, "big")).encode()
        yield repr(data)[2:-1].encode()
        yield repr(list(data))[1:-1].encode()


def pem_forms(path: Path) -> Iterator[bytes]:
    """The lines of a private key's PEM file, and its numbers."""
    content = path.read_bytes()
    yield from (line for line in content.splitlines() if len(line) >= 32 and not line.startswith(b"-----"))
    key = serialization.load_pem_private_key(content, None)
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        secrets = [numbers.d, numbers.p, numbers.q]
    else:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        secrets = [key.private_numbers().private_value]
    for number in secrets:
        yield from forms(number.to_bytes((number.bit_length() + 7) // 8, "big"))


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
    for file in watched.bundle.joinpath("keys").iterdir():
        assert watched.leaks_in(file.read_bytes())
    for needles in watched.secrets.values():
        assert watched.leaks_in(b"x" + needles[0] + b"y")
    assert all(len(needle) >= 12 for needles in watched.secrets.values() for needle in needles)
    lists = [output for name, output in watched.outputs.items() if name == "process list during provision.py"]
    assert any(b"espefuse" in output for output in lists)
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


# ---- what espefuse says when keys collide


def printed_by_espefuse(value: bytes) -> Iterator[tuple[str, list[str]]]:
    """Lines as espefuse prints a block, each with the tokens that must not be seen any more."""
    pairs = [f"{byte:02x}" for byte in value]
    words = [value[i : i + 4][::-1].hex() for i in range(0, len(value) - len(value) % 4, 4)]
    yield (
        f"New value contains some bits that cannot be cleared (value will be 0x{value.hex()})(use '--force",
        [value.hex()],
    )
    yield f" - BLOCK_KEY0 -> [{' '.join(pairs)}]", [" ".join(pairs)]
    yield f"\t(written ): 0x{value[::-1].hex()}", [value[::-1].hex()]
    yield f"\tto write: 0x{value.hex().upper()}", [value.hex().upper()]
    yield f"BLOCK_KEY0      (BLOCK4          ) [4 ] to_write: {' '.join(words)}", [" ".join(words)]
    yield f"[4 ] dump: {' '.join(words)}", [" ".join(words)]
    yield f"MAC-like {':'.join(pairs)} end", [":".join(pairs)]
    yield f"({value.hex()})", [value.hex()]


def remains(text: str, tokens: list[str]) -> list[str]:
    """Every four bytes in a row of the secret that can still be read in `text`."""
    found = []
    for token in tokens:
        digits = re.sub(r"[^0-9a-fA-F]", "", token)
        left = re.sub(r"[ :]", "", text)
        found += [digits[i : i + 8] for i in range(0, len(digits) - 7, 2) if digits[i : i + 8] in left]
    return found


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=8, max_size=64))
def test_redact_hides_what_espefuse_prints(value: bytes) -> None:
    for line, tokens in printed_by_espefuse(value):
        assert remains(redact(line), tokens) == [], line
        assert remains(ToolResult(2, f"espefuse v5.6.0\nA fatal error occurred: {line}\n").last_words(), tokens) == []


@given(st.binary(min_size=8, max_size=64))
@settings(max_examples=100, deadline=None)
def test_redact_keeps_the_words(value: bytes) -> None:
    text = redact(f"BLOCK_KEY0 cannot be burned: 0x{value.hex()} (use '--force-write-always')")
    assert text.startswith("BLOCK_KEY0 cannot be burned: ") and text.endswith("(use '--force-write-always')")
    assert "<hidden>" in text


@pytest.mark.parametrize(
    "text",
    [
        "A fatal error occurred: Could not open /dev/ttyUSB0, the port is busy or doesn't exist.",
        "this chip is ESP32-S3, not ESP32-C3. Wrong --chip argument?",
        "Failed to connect to ESP32-C3: No serial data received.",
        "SPI_BOOT_CRYPT_CNT is 7, the plan wants 1; burned bits stay",
        "espefuse v5.6.0",
    ],
)
def test_redact_leaves_ordinary_messages_alone(text: str) -> None:
    assert redact(text) == text


def test_what_espefuse_prints_when_keys_collide_is_hidden(tmp_path: Path) -> None:
    first, second = (generate_secret("test", 32).data for _ in range(2))
    for name, secret in (("first.bin", first), ("second.bin", second)):
        write_secret_file(tmp_path / name, secret)
    base = [sys.executable, "-m", "espefuse", "--chip", "esp32c3", "--virt"]
    base += ["--path-efuse-file", str(tmp_path / "chip.bin"), "--do-not-confirm", "burn-key", "BLOCK_KEY0"]

    def burn(name: str, *more: str) -> subprocess.CompletedProcess[str]:
        words = [*base, str(tmp_path / name), *more]
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)

    assert burn("first.bin", "USER", "--no-read-protect", "--no-write-protect").returncode == 0
    clash = burn("second.bin", "USER", "--no-read-protect", "--no-write-protect")
    assert clash.returncode != 0
    both = bytes(one | other for one, other in zip(first, second, strict=True))
    result = ToolResult(clash.returncode, clash.stdout)
    assert "cannot be cleared" in result.last_words()
    for secret in (first, second, both):
        for text in (redact(clash.stdout), result.last_words()):
            for line, tokens in printed_by_espefuse(secret):
                assert remains(text, tokens) == [], line


def test_a_foreign_key_on_the_chip_is_not_shown(made_bundle: Callable[[str], object], tmp_path: Path) -> None:
    """A chip that holds another, still readable key: the script stops and shows neither key."""
    foreign = generate_secret("test", 32).data
    write_secret_file(tmp_path / "foreign.bin", foreign)
    bundle = tmp_path / "bundle"
    shutil.copytree(getattr(made_bundle("esp32c3"), "folder"), bundle)  # noqa: B009 (the fixture's own type)
    chip = tmp_path / "chip.bin"
    words = [sys.executable, str(bundle / "provision.py"), "--virt", str(chip), "--yes"]
    subprocess.run([*words, "--dry-run"], capture_output=True, check=True)
    base = [sys.executable, "-m", "espefuse", "--chip", "esp32c3", "--virt", "--path-efuse-file", str(chip)]
    burn = [*base, "--do-not-confirm", "burn-key", "BLOCK_KEY0", str(tmp_path / "foreign.bin"), "USER"]
    subprocess.run([*burn, "--no-read-protect"], capture_output=True, check=True)
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 5
    shown = done.stdout + done.stderr
    shown += "".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("chip.bin.journal*"))
    assert "SE819" in shown
    own = (bundle / "keys" / "flash_encryption_key.bin").read_bytes()
    assert not [needle for needle in [*forms(foreign), *forms(own)] if needle in shown.encode()]
