# SPDX-License-Identifier: Apache-2.0
"""A forger who knows all: a bundle in memory that is changed at will, and made consistent again, keys and all."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verify_bundles import Made

from secure_ext.bundle.commands import render_powershell, render_shell
from secure_ext.bundle.read import CHANGED_BY_A_REHEARSAL, FinishedBundle
from secure_ext.bundle.script import render_script
from secure_ext.documents.manifest import Manifest
from secure_ext.documents.rehearsal import RehearsalOutcome
from secure_ext.formats.flash_encryption import FlashEncryptionScheme, decrypt, encrypt, flash_encryption_key
from secure_ext.report.page import render_report
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import read_document

KEY = "keys/flash_encryption_key.bin"
OUTSIDE = ("manifest.json", "manifest.dsse.json", "keys/")


@dataclass
class Forged:
    """A bundle that is nowhere on a disk; `names` and `read` are what `verify` sees of it."""

    content: dict[str, bytes]
    manifest: dict[str, Any]
    plan: dict[str, Any]
    made: Made
    place: Path = Path("forged")
    folder: None = field(default=None)

    @staticmethod
    def of(made: Made) -> Forged:
        files = {p.relative_to(made.folder).as_posix(): p for p in made.folder.rglob("*") if p.is_file()}
        content = {name: path.read_bytes() for name, path in files.items()}
        return Forged(content, json.loads(content["manifest.json"]), json.loads(content["plan.json"]), made)

    def copy(self) -> Forged:
        return copy.deepcopy(self)

    def names(self) -> list[str]:
        return sorted(self.content)

    def read(self, name: str) -> bytes | None:
        return self.content.get(name)

    # ---- what a forger changes

    def drop(self, *steps: str) -> None:
        kept = [step for step in self.plan["steps"] if step["id"] not in steps]
        assert len(kept) == len(self.plan["steps"]) - len(steps)
        gone = {step.get("field") for step in self.plan["steps"] if step["id"] in steps}
        still = {item.get("field") for item in (*kept, *self.plan["must_be_clear"])} | {"RD_DIS"}
        self.plan["layout"] = [row for row in self.plan["layout"] if row["field"] not in gone - still]
        self.plan["steps"] = kept

    def step(self, identity: str) -> dict[str, Any]:
        found: dict[str, Any] = next(step for step in self.plan["steps"] if step["id"] == identity)
        return found

    def image(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(image for image in self.manifest["images"] if image["name"] == name)
        return found

    def key(self, role: str, **members: object) -> None:
        """Changes a key in the plan and in the manifest."""
        for item in (*self.plan["steps"], *self.manifest["keys"]):
            if item.get("role") == role:
                item.update({name: value for name, value in members.items() if name in item})

    def rename_step(self, identity: str, **members: object) -> None:
        self.step(identity).update(members)

    def plaintext(self, name: str) -> bytes:
        image = self.image(name)
        content = self.content[image["file"]]
        return decrypt(content, key=self.cipher(), flash_offset=image["offset"]) if image["encrypted"] else content

    def write(self, name: str, plaintext: bytes) -> None:
        """Puts an image into the bundle, encrypted if it is marked so."""
        image = self.image(name)
        encrypted = encrypt(plaintext, key=self.cipher(), flash_offset=image["offset"])
        self.content[image["file"]] = encrypted if image["encrypted"] else plaintext

    def cipher(self) -> Any:
        return flash_encryption_key(FlashEncryptionScheme.XTS, self.content[KEY])

    def new_flash_key(self, raw: bytes) -> None:
        plain = {image["name"]: self.plaintext(image["name"]) for image in self.manifest["images"]}
        self.content[KEY] = raw
        self.key("flash_encryption_key", fingerprint=fingerprint(raw))
        for name, content in plain.items():
            self.write(name, content)

    # ---- and how it is made right again

    def seal(self, render: Callable[[PlanDocument, str], str] = render_script) -> Forged:
        """Images, plan, script, commands, rehearsal, report and manifest agree with each other."""
        rows = []
        for image in self.manifest["images"]:
            content = self.content[image["file"]]
            image["size"], image["sha256"] = len(content), hashlib.sha256(content).hexdigest()
            rows.append({name: image[name] for name in ("file", "offset", "size", "sha256")})
        self.plan["images"] = rows
        self.content["plan.json"] = as_file(self.plan)
        plan = read_document(PlanDocument, self.plan)
        if self.manifest["per_device"] is None:
            texts = {"provision.py": render, "commands.sh": render_shell, "commands.ps1": render_powershell}
            for name, rendered in texts.items():
                self.content[name] = rendered(plan, self.manifest["project"]).encode()
        rehearsal = json.loads(self.content["rehearsal.json"])
        self.list_files()
        bundle = FinishedBundle(self.place, read_document(Manifest, self.manifest), plan)
        outcome = {**rehearsal, "bundle": bundle.identity, "chip": self.plan["chip"]}
        self.content["rehearsal.json"] = as_file(outcome)
        report = render_report(bundle.manifest, plan, read_document(RehearsalOutcome, outcome))
        self.content["report.html"] = report.encode()
        self.list_files()
        self.content["manifest.json"] = as_file(self.manifest)
        return self

    def list_files(self) -> None:
        names = [name for name in self.names() if not name.startswith(OUTSIDE)]
        self.manifest["files"] = {name: hashlib.sha256(self.content[name]).hexdigest() for name in names}
        assert set(CHANGED_BY_A_REHEARSAL) <= set(names)


def as_file(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
