# SPDX-License-Identifier: Apache-2.0
"""Bundles to spoil, made once by the console script: one encrypted and signed, one whose images everybody can read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.typed_documents import load

from secure_ext.bundle.commands import render_powershell, render_shell
from secure_ext.bundle.manifest import public_files
from secure_ext.bundle.read import read_bundle, store_rehearsal
from secure_ext.bundle.script import render_script
from secure_ext.checks import Check, Outcome
from secure_ext.documents.manifest import Manifest
from secure_ext.documents.rehearsal import CheckedBy, RehearsalOutcome
from secure_ext.prove.rehearsal.rehearse import Rehearsal
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand, verify_bundle
from secure_ext.report.page import render_report
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import DocumentFault, read_document


@dataclass(frozen=True)
class Made:
    """A bundle, the build it is from, and the signing keys."""

    folder: Path
    build: Path
    keys: dict[str, Path]

    def copy(self, to: Path) -> Made:
        """The same bundle elsewhere, to be changed."""
        shutil.copytree(self.folder, to)
        return Made(to, self.build, self.keys)

    def at_hand(self, **more: Any) -> AtHand:
        return AtHand(BuildAtHand(self.build, None), **more)

    def verify(self, **more: Any) -> list[Check]:
        return self.verify_with(self.at_hand(**more))

    def verify_with(self, at_hand: AtHand) -> list[Check]:
        return verify_bundle(self.folder, at_hand)

    def failures(self, at_hand: AtHand | None = None) -> set[str]:
        checks = self.verify_with(at_hand or self.at_hand())
        return {check.name for check in checks if check.outcome is Outcome.FAILED}

    def load(self, name: str = "manifest.json") -> dict[str, Any]:
        return load(self.folder / name)

    def store(self, content: dict[str, Any], name: str = "manifest.json") -> None:
        (self.folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def reseal(self) -> None:
        """What a careful forger does: every hash and size, and all that is made from the plan, fits again."""
        manifest, plan = self.load(), self.load("plan.json")
        for image, row in zip(manifest["images"], plan["images"], strict=True):
            content = (self.folder / image["file"]).read_bytes()
            for item in (image, row):
                item["size"], item["sha256"] = len(content), hashlib.sha256(content).hexdigest()
        self.store(plan, "plan.json")
        try:
            typed = read_document(PlanDocument, plan)
        except DocumentFault:  # nothing can be rendered of it
            self.relist()
            return
        texts = {"provision.py": render_script, "commands.sh": render_shell, "commands.ps1": render_powershell}
        for name, render in texts.items():
            (self.folder / name).write_text(render(typed, manifest["project"]), encoding="utf-8")
        rehearsal = None
        with contextlib.suppress(FileNotFoundError, DocumentFault):  # one that is damaged is not on the page
            rehearsal = read_document(RehearsalOutcome, self.load("rehearsal.json"))
        report = render_report(read_document(Manifest, manifest), typed, rehearsal)
        (self.folder / "report.html").write_text(report, encoding="utf-8")
        self.store(manifest)
        self.relist()

    def relist(self) -> None:
        """The manifest lists the files as they are."""
        names = public_files(self.folder)
        hashes = {name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest() for name in names}
        self.store({**self.load(), "files": hashes})


def make(run_cli: Callable[..., Result], build: Path, folder: Path, keys: dict[str, Path], *options: object) -> Made:
    """A bundle that is marked as rehearsed."""
    done = run_cli("bundle", "-B", build, "-o", folder, *options)
    assert done.exit_code == 0, done.output
    bundle = read_bundle(folder)
    passed = CheckedBy("the script on a virtual chip", passed=True, evidence=("DONE.",))
    store_rehearsal(bundle, Rehearsal(bundle.identity, bundle.plan.chip, (passed,)).outcome)
    return Made(folder, build, keys)


@pytest.fixture(name="encrypted", scope="session")
def encrypted_bundle(
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """Of an esp32c3; it must not be changed."""
    folder = tmp_path_factory.mktemp("verify") / "encrypted"
    build = sample_project("esp32c3") / "build"
    return make(run_cli, build, folder, signing_keys, "--signing-key", signing_keys["rsa_0"])


@pytest.fixture(name="readable", scope="session")
def readable_bundle(
    signing_keys: dict[str, Path], run_cli: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory
) -> Made:
    """Of an esp32c6 without flash encryption, signed by two keys; it must not be changed."""
    folder = tmp_path_factory.mktemp("verify")
    build = make_sample_build(folder / "project", "esp32c6", options=SampleOptions(secure_boot=True))
    options = [word for name in ("rsa_0", "rsa_1") for word in ("--signing-key", signing_keys[name])]
    return make(run_cli, build, folder / "readable", signing_keys, *options)
