"""The main job on a sample build, and the rehearsal of its script on a virtual chip."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from secure_ext.bundle.write import write_bundle
from secure_ext.chips.chip import load_chip
from secure_ext.errors import InputError, ToolError
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.plan.decide import decide
from secure_ext.policy.profile import Profile
from secure_ext.report import bundle_text
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

_MARK = "this-is-a-demo"


def run_demo(chip: str, output: Path) -> Iterator[str]:
    """Makes a sample build in `output`, its bundle, and runs the bundle's script twice on virtual eFuses.

    Yields what to show. An earlier demo in `output` is replaced.

    Raises InputError SE703 if `output` is something else, ToolError SE704 if the script fails.
    """
    facts = load_chip(chip, 0).facts
    try:
        if output.exists() and not (output / _MARK).exists():
            raise FileExistsError(0, "it exists and is not a demo")
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        (output / _MARK).touch()
    except OSError as error:
        raise InputError(
            "SE703",
            f"the directory cannot be used for a demo: {error.strerror}",
            cure="give another one with -o",
            place=str(output),
        ) from None
    yield f"1. A sample project for {chip}, as `idf.py build` leaves it, with flash encryption and secure boot enabled."
    secure_boot = bool(facts.schemes)
    build = make_sample_build(
        output / "project", chip, options=SampleOptions(flash_encryption="release", secure_boot=secure_boot)
    )
    settings: dict[str, tuple[str, ...]] = {}
    if secure_boot:
        key = output / "signing_key.pem"
        write_secret_file(key, generate_signing_key(SignatureScheme(facts.schemes[0])))
        settings["secure_boot.keys"] = (key.name,)
    yield "2. The bundle: signed and encrypted images, and a script that provisions a board."
    yield ""
    decision = decide(build, Profile(output, settings))
    bundle = write_bundle(decision, output / "bundle", lambda _: None)
    yield bundle_text(decision, bundle)
    yield ""
    yield "3. A rehearsal: the bundle's own script on a blank virtual chip, with the real espefuse."
    yield ""
    chip_file = output / "virtual-chip.bin"
    yield _run_script(bundle.folder / "provision.py", chip_file)
    yield "4. The same script again: it reads the chip, finds everything done, and changes nothing."
    yield ""
    yield _run_script(bundle.folder / "provision.py", chip_file).splitlines()[-1]
    yield ""
    yield f"All of it is in {output}. Nothing left this machine, and no board was touched."


def _run_script(script: Path, chip_file: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(script), "--virt", str(chip_file), "--yes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise ToolError(
            "SE704",
            f"the script ended with exit code {done.returncode}: {done.stdout.strip().splitlines()[-1:]}",
            cure="run it by hand to see where it stops",
            place=str(script),
        )
    return done.stdout
