# SPDX-License-Identifier: Apache-2.0
"""PEM files with a passphrase: both forms open, from every source, in the right order; nothing is asked in vain."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signer_world import FORMS, WORDS, lock

from secure_ext.cli.secret_prompt import PromptedSecrets
from secure_ext.errors import InputError
from secure_ext.keys.secret_source import SecretKind, SecretWanted
from secure_ext.keys.signing import load_signing_key, load_verification_key


def environment(**values: str) -> PromptedSecrets:
    return PromptedSecrets({f"SECURE_PROVISION_{name}": value for name, value in values.items()}, None)


@pytest.fixture
def bundle_words(sample_project: Callable[[str], Path], tmp_path: Path) -> Callable[..., list[object]]:
    def words(*keys: Path) -> list[object]:
        given = [word for key in keys for word in ("--signing-key", key)]
        return ["bundle", "-B", sample_project("esp32c3") / "build", *given, "-o", tmp_path / "out"]

    return words


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["rsa_0", "ecdsa256", "ecdsa384"])
def test_both_forms_of_encrypted_pem_open(form: str, name: str, signing_keys: dict[str, Path], tmp_path: Path) -> None:
    locked = lock(signing_keys[name], tmp_path / "locked.pem", form=form)
    plain = load_signing_key(signing_keys[name])
    assert load_signing_key(locked, environment(PASSPHRASE=WORDS)).verification_key == plain.verification_key
    assert load_verification_key(locked, environment(PASSPHRASE=WORDS)) == plain.verification_key
    for words, code in ((WORDS + "!", "SE640"), ("", "SE603")):
        with pytest.raises(InputError) as caught:
            load_signing_key(locked, environment(PASSPHRASE=words))
        assert caught.value.code == code
        assert WORDS not in f"{caught.value!r}{caught.value.as_dict()}"


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_locked_file_is_a_coded_error(
    data: st.DataObject, signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "locked.pem"
    if not path.exists():
        lock(signing_keys["ecdsa256"], path, form="traditional")
    pem = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        pem[data.draw(st.integers(0, len(pem) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged.pem").write_bytes(pem)
    try:
        load_signing_key(tmp_path / "damaged.pem", environment(PASSPHRASE=WORDS))
    except InputError as error:
        assert error.code.startswith("SE6")


def test_a_variable_with_a_number_counts_more_and_a_descriptor_most(tmp_path: Path) -> None:
    secrets = environment(PASSPHRASE="all", PASSPHRASE_2="second", PIN="pin")
    wanted = [SecretWanted(SecretKind.PASSPHRASE, number, "key.pem") for number in (1, 2, 3)]
    assert [secrets.secret(one) for one in wanted] == ["all", "second", "all"]
    assert secrets.secret(SecretWanted(SecretKind.PIN, 2, "pkcs11:object=a")) == "pin"
    lines = PromptedSecrets({"SECURE_PROVISION_PASSPHRASE": "all"}, iter(["first", "second"]))
    assert [lines.secret(one) for one in (wanted[0], wanted[0], wanted[2])] == ["first", "first", "second"]


def test_each_key_gets_its_own_passphrase(
    bundle_words: Callable[..., list[object]],
    signing_keys: dict[str, Path],
    tmp_path: Path,
    run_cli: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = [lock(signing_keys[f"rsa_{n}"], tmp_path / f"{n}.pem", f"words {n}") for n in (0, 1)]
    monkeypatch.setenv("SECURE_PROVISION_PASSPHRASE", "words 0")
    monkeypatch.setenv("SECURE_PROVISION_PASSPHRASE_3", "words 1")
    made = run_cli(*bundle_words(keys[0], signing_keys["rsa_2"], keys[1]))
    assert made.exit_code == 0, made.stderr
    assert not [name for name in os.environ if "PASSPHRASE" in name], "they are taken out of the environment"


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"words 0\nwords 1\n", None), (b"words 0\r\nwords 1", None), (b"words 0\n", "SE658"), (b"\xff\n", "SE658")],
)
def test_descriptor(
    *,
    content: bytes,
    code: str | None,
    bundle_words: Callable[..., list[object]],
    signing_keys: dict[str, Path],
    tmp_path: Path,
    run_cli: Callable[..., Result],
) -> None:
    keys = [lock(signing_keys[f"rsa_{n}"], tmp_path / f"{n}.pem", f"words {n}") for n in (0, 1)]
    (tmp_path / "lines").write_bytes(content)
    with (tmp_path / "lines").open("rb") as file:
        result = run_cli(*bundle_words(*keys), "--passphrase-fd", file.fileno())
    assert (f"error {code}: " in result.stderr) if code else result.exit_code == 0, result.stderr
    assert "words" not in result.stderr
    assert (tmp_path / "out").exists() is (code is None)


def test_descriptor_that_is_not_open(bundle_words: Callable[..., list[object]], run_cli: Callable[..., Result]) -> None:
    result = run_cli(*bundle_words(), "--passphrase-fd", 987)
    assert "error SE658: " in result.stderr and result.exit_code == 2


@pytest.mark.parametrize("command", ["plan", "doctor"])
def test_plan_and_doctor_leave_a_locked_key_locked(
    command: str,
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    tmp_path: Path,
    run_cli: Callable[..., Result],
) -> None:
    locked = lock(signing_keys["rsa_0"], tmp_path / "locked.pem")
    result = run_cli(command, "-B", sample_project("esp32c3") / "build", "--signing-key", locked)
    assert result.exit_code == 0, result.stderr


def test_at_a_terminal_it_is_asked_for_and_not_shown(
    bundle_words: Callable[..., list[object]], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    pty = pytest.importorskip("pty", reason="there are no pseudo terminals here")
    locked = lock(signing_keys["rsa_0"], tmp_path / "locked.pem", "typed words")
    words = [str(word) for word in bundle_words(locked)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "secure_ext", *words])  # noqa: S606
    shown = b""
    answered = False
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux says so when the program has ended
            break
        shown += part
        if not answered and re.search(rb"passphrase of signing key 1 \(.*locked.pem\)", shown, re.DOTALL):
            time.sleep(0.3)  # until the echo is off
            os.write(terminal, b"typed words\n")
            answered = True
        if not part:
            break
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown.decode()
    assert answered and b"typed" not in shown
    assert (tmp_path / "out" / "manifest.json").is_file()
