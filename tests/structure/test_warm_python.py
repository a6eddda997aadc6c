# SPDX-License-Identifier: Apache-2.0
"""A program run by the warm Python of the tests does, says and gets what it does, says and gets in a new one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.warm_python import REAL_PYTHON, is_possible

from secure_ext.bundle.write import Bundle

pytestmark = pytest.mark.skipif(not is_possible(), reason="there are only cold ones")
CHIPS = (
    *("esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3"),
    *("esp32c5", "esp32c6", "esp32c61", "esp32h2", "esp32p4"),
)
RUN_A_MODULE = "import runpy, sys; runpy.run_module(sys.argv[1], run_name='__main__')"
PROBE = """
import json, os, signal, stat, sys
handlers = {number: str(signal.getsignal(number)) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
mask = os.umask(0)
files = sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1]
print(json.dumps([sys.argv, os.getcwd(), dict(os.environ), mask, handlers, os.getsid(0) == os.getpid(), files,
    sys.path, sys.executable, sys.stdin.read(), os.fstat(1).st_mode, sys.stdout.encoding, sys.stdout.errors,
    sys.stdout.line_buffering, sys.stderr.errors, sys.stderr.line_buffering, __name__, sys.flags.optimize]))
print("last words", file=sys.stderr)
# runpy.run_module(
"""


def both(*words: str, **options: Any) -> tuple[Any, Any]:
    """Exit code, stdout and stderr of a command line, warm and cold."""
    done = []
    for python in (sys.executable, REAL_PYTHON):
        folder = options["folder"] / Path(python).parent.name
        folder.mkdir(exist_ok=True)
        result = subprocess.run(
            [python, *words],
            cwd=folder,
            env={**os.environ, "SECURE_EXT_ONLY_WARM": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        done.append((result.returncode, result.stdout, result.stderr, contents(folder)))
    return done[0], done[1]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("-m esptool version", 0),
        ("-m esptool nonsense", 2),
        ("-m esptool --chip esp32c3 --port socket://127.0.0.1:1 --before no-reset flash-id", 2),
        ("-m esptool merge-bin", 2),
        ("-m espefuse --chip esp32c3 --virt --path-efuse-file chip --do-not-confirm burn-efuse DIS_PAD_JTAG 1", 0),
        ("-m espefuse --chip esp32c3 --virt burn-key BLOCK_KEY0 missing.bin USER", 2),
        ("-m espsecure digest-rsa-public-key", 2),
        ("-m secure_ext --help", 0),
        ("-m secure_ext verify nowhere", 3),
        ("-m secure_ext plan -B nowhere", 3),
    ],
)
def test_a_program_says_the_same(words: str, code: int, tmp_path: Path) -> None:
    warm, cold = both(*words.split(), folder=tmp_path)
    assert warm == cold
    assert warm[0] == code


@pytest.mark.parametrize("chip", [pytest.param(c, marks=() if c == "esp32" else pytest.mark.long) for c in CHIPS])
def test_espefuse_knows_the_same_fields(chip: str, tmp_path: Path) -> None:
    """A warm one reads its tables with another reader of YAML."""
    words = ("--chip", chip, "--virt", "dump", "summary", "--format", "json")
    warm, cold = both("-m", "espefuse", *words, folder=tmp_path)
    assert warm == cold
    assert warm[0] == 0


@pytest.mark.parametrize("option", ["--dry-run", pytest.param("--yes", marks=pytest.mark.long)])
def test_a_script_does_the_same(option: str, made_bundle: Callable[[str], Bundle], tmp_path: Path) -> None:
    """With all that the tools do for it, burned bits included."""
    folder = made_bundle("esp32c3").folder
    results = []
    for python in (sys.executable, REAL_PYTHON):
        shutil.rmtree(tmp_path / "same", ignore_errors=True)
        (tmp_path / "same").mkdir()
        words = (str(folder / "provision.py"), "--virt", "chip.bin", option)
        done = subprocess.run([python, *words], cwd=tmp_path / "same", capture_output=True, check=False)
        assert done.returncode == 0
        results.append((done.stdout, done.stderr, (tmp_path / "same" / "chip.bin").read_bytes()))
    assert results[0] == results[1]


def test_an_error_that_nobody_catches_ends_with_the_same_words(tmp_path: Path) -> None:
    script = tmp_path / "provision.py"
    script.write_text("def deep():\n    raise ValueError('no')\n\ndeep()\n")
    warm, cold = both(str(script), folder=tmp_path)
    assert warm == cold
    assert warm[2].endswith(b"ValueError: no\n")


@pytest.mark.parametrize(
    "options", [{}, {"start_new_session": True}, {"umask": 0o027}, {"ignores": True}, {"safe": True}]
)
def test_a_program_gets_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    """Arguments, folder, environment, umask, signals, session, files, streams."""
    seen = []
    for python in (sys.executable, REAL_PYTHON):
        read, write = os.pipe()
        environment = {**os.environ, "SECURE_EXT_ONLY_WARM": "1", "TMPDIR": str(tmp_path)}
        if options.get("safe"):
            environment["PYTHONSAFEPATH"] = "1"
        done = subprocess.run(
            [python, "-c", PROBE, "--", "a b", "ä"],
            input="question",
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=[write],
            start_new_session="start_new_session" in options,
            umask=options.get("umask", -1),
            preexec_fn=_ignore if options.get("ignores") else None,
        )
        os.close(read)
        os.close(write)
        assert (done.returncode, done.stderr) == (0, "last words\n")
        said = json.loads(done.stdout)
        said[8] = said[8].replace(python, "PYTHON")
        seen.append(said)
    assert seen[0] == seen[1]


def _ignore() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def test_a_program_is_killed_by_the_same_signal(tmp_path: Path) -> None:
    script = tmp_path / "provision.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    warm, cold = both(str(script), folder=tmp_path)
    assert warm == cold
    assert warm[0] == -signal.SIGTERM


def test_a_program_ends_with_the_one_that_was_started(tmp_path: Path) -> None:
    script = tmp_path / "provision.py"
    script.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        number = int(process.stdout.readline())
        assert number != process.pid
        process.kill()
        assert process.stdout.read() == b""  # it is closed, so nobody holds it
    end = time.monotonic() + 10
    while Path(f"/proc/{number}").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not Path(f"/proc/{number}").exists()


@pytest.mark.parametrize("name", ["PYTHONPATH", "HOME", "COLUMNS", "SOMETHING_NEW"])
def test_with_other_settings_a_new_python_runs(name: str, tmp_path: Path) -> None:
    """What modules could read while they are loaded is as it was, or they are loaded anew."""
    environment = {**os.environ, name: str(tmp_path)}
    words = [sys.executable, "-c", "import sys; print('esptool' in sys.modules)  # runpy.run_module("]
    assert subprocess.check_output(words, env=environment, text=True) == "False\n"
    assert subprocess.check_output(words, text=True) == "True\n"


def test_for_help_a_new_python_runs() -> None:
    words = [sys.executable, "-m", "esptool", "--help"]
    done = subprocess.run(words, env={**os.environ, "SECURE_EXT_ONLY_WARM": "1"}, capture_output=True, check=False)
    assert b"a new Python is needed for this" in done.stderr


def test_a_configuration_of_esptool_is_read(tmp_path: Path) -> None:
    (tmp_path / "esptool.cfg").write_text("[esptool]\ntimeout = 7\n")
    done = both("-m", "esptool", "version", folder=tmp_path)
    assert done[0] == done[1]
    words = [sys.executable, "-c", "import esptool.loader as l; print(l.DEFAULT_TIMEOUT)  # runpy.run_module("]
    assert float(subprocess.check_output(words, cwd=tmp_path, text=True)) == 7


@pytest.mark.cold
def test_a_test_can_ask_for_real_ones() -> None:
    assert sys.executable == REAL_PYTHON
