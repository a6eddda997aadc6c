# SPDX-License-Identifier: Apache-2.0
"""The main job on a sample build, and the rehearsal of its script on a virtual chip."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from secure_ext.bundle.read import read_bundle, store_rehearsal
from secure_ext.bundle.write import write_bundle
from secure_ext.chips.chip import load_chip
from secure_ext.cli.show.bundle import bundle_text
from secure_ext.cli.show.rehearsal import rehearsal_text
from secure_ext.doctor.decide import decide
from secure_ext.errors import InputError, ToolError
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.policy.profile import Profile
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

_MARK = "this-is-a-demo"


def run_demo(chip: str, output: Path) -> Iterator[str]:
    """Makes a sample build in `output`, its bundle, and rehearses the bundle's script.

    Yields what to show. An earlier demo in `output` is replaced.

    Raises InputError SE703 if `output` is something else, ToolError SE704 if the rehearsal fails.
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
    decision = decide(build, Profile(output, settings, from_options=frozenset(settings)))
    bundle = write_bundle(decision, output / "bundle", lambda _: None)
    yield bundle_text(decision, bundle)
    yield ""
    yield "3. A rehearsal: the bundle's own script on a virtual chip, with the real esptool and espefuse."
    yield ""
    finished = read_bundle(bundle.folder)
    outcome = rehearse_bundle(finished, lambda _: None)
    store_rehearsal(finished, outcome.outcome)
    yield outcome.script_output
    yield rehearsal_text(outcome)
    if not outcome.passed:
        failed = next(means for means in outcome.means if not means.passed)
        raise ToolError(
            "SE704",
            f"the rehearsal failed: {failed.name}: {'; '.join(failed.evidence)}",
            cure="install the newest esptool: pip install --upgrade esptool; if that does not help, report it with all "
            "that was printed",
            place=str(bundle.folder),
        )
    yield ""
    yield f"All of it is in {output}. Nothing left this machine."
