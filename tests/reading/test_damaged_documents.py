# SPDX-License-Identifier: Apache-2.0
"""A damaged document is refused by every command that reads it, with one code a document; none of them passes it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from damages import MANIFEST, PLAN, REHEARSAL, Damage, value
from support.typed_documents import load, outcome_for

from secure_ext.bundle.archive import write_archive
from secure_ext.bundle.read import read_bundle, store_rehearsal
from secure_ext.errors import InputError
from secure_ext.per_device.board import _record
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.runner import main
from secure_ext.station.typed_document import DocumentFault, read_document

Run = Callable[..., Result]
NOWHERE = ("--port", "/dev/nowhere", "--yes")


@dataclass
class World:
    """A bundle to damage, a sound one, an update for its boards, and what the commands want beside them."""

    bundle: Path
    sound: Path
    update: Path
    build: Path
    key: Path
    summary: Path
    run: Run

    def commands(self, plan: Path | None = None) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Every command that opens a bundle; those that take a plan alone, too, if there is one."""
        folder = self.bundle
        board, key = ("--summary", self.summary), ("--signing-key", self.key)
        yield "rehearse", ("rehearse", folder)
        yield "flash", ("flash", folder, *NOWHERE, "--without-rehearsal")
        yield "flash --dry-run", ("flash", folder, *NOWHERE, "--dry-run")
        yield "audit", ("audit", folder, *board)
        yield "plan --diff OLD", ("plan", "--diff", folder, self.sound)
        yield "plan --diff NEW", ("plan", "--diff", self.sound, folder)
        yield "keys destroy", ("keys", "destroy", folder, "--yes")
        yield "ota", ("ota", "-B", self.build, "--bundle", folder, *key, "-o", self.bundle.parent / "new")
        if plan is not None:
            yield "audit --plan", ("audit", "--plan", plan, *board)
            yield "plan --diff FILE", ("plan", "--diff", plan, self.sound)
            yield "keys plan-rotation", ("keys", "plan-rotation", "--fleet", folder, *key)
            yield "keys plan-rotation FILE", ("keys", "plan-rotation", "--fleet", plan, *key)

    def refused(self, code: str, plan: Path | None = None) -> None:
        """Every command ends with the code; `verify` lists it; nothing is changed or written."""
        before = {path: path.stat().st_mtime_ns for path in self.bundle.rglob("*")}
        for name, words in self.commands(plan):
            done = self.run(*words)
            assert isinstance(done.exception, (SystemExit, type(None))), (name, done.exception)
            assert (done.exit_code, f"{code}:" in done.stderr) == (3, True), (name, done.output)
        self.found_by_verify(self.bundle, code)
        assert {path: path.stat().st_mtime_ns for path in self.bundle.rglob("*")} == before
        assert not (self.bundle.parent / "new").exists()

    def found_by_verify(self, place: Path, code: str) -> None:
        done = self.run("verify", place, "--format", "json")
        failed = [check["evidence"] for check in json.loads(done.stdout)["checks"] if check["outcome"] == "failed"]
        assert (done.exit_code, any(text.startswith(f"{code}: ") for text in failed)) == (1, True), done.output


@pytest.fixture(name="world", scope="module")
def made_world(
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Run,
    tmp_path_factory: pytest.TempPathFactory,
) -> World:
    folder = tmp_path_factory.mktemp("damaged")
    build, key = sample_project("esp32c3") / "build", signing_keys["rsa_0"]
    bundle, sound, update = (folder / name for name in ("bundle", "sound", "update"))
    world = World(bundle, sound, update, build, key, folder / "summary.json", run_cli)
    for place in (world.bundle, world.sound):
        done = run_cli("bundle", "-B", build, "--signing-key", key, "-o", place)
        assert done.exit_code == 0, done.output
    finished = read_bundle(world.bundle)
    store_rehearsal(finished, outcome_for(finished.identity))
    done = run_cli("ota", "-B", build, "--bundle", world.sound, "--signing-key", key, "-o", world.update)
    assert done.exit_code == 0, done.output
    world.summary.write_text("{}", encoding="utf-8")
    return world


@pytest.fixture(name="damaged")
def damaged_file(world: World) -> Iterator[Callable[[str, Damage], Path]]:
    """Damages a file of the bundle, and makes the hash in the manifest right; all is sound again afterwards."""
    kept = {name: (world.bundle / name).read_bytes() for name in ("manifest.json", "plan.json", "rehearsal.json")}

    def write(name: str, damage: Damage) -> Path:
        path = world.bundle / name
        content = damage(load(path)).encode("utf-8", "surrogateescape")
        path.write_bytes(content)
        if name != "manifest.json":
            digest = hashlib.sha256(content).hexdigest()
            manifest = world.bundle / "manifest.json"
            manifest.write_text(value(digest, "files", name)(load(manifest)) + "\n")
        return path

    yield write
    for name, content in kept.items():
        (world.bundle / name).write_bytes(content)


def each(damages: Mapping[str, Damage]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("damage", damages.values(), ids=damages)


Damaged = Callable[[str, Damage], Path]


@each(PLAN)
def test_a_plan(damage: Damage, world: World, damaged: Damaged) -> None:
    world.refused("SE875", damaged("plan.json", damage))


@each(MANIFEST)
def test_a_manifest(damage: Damage, world: World, damaged: Damaged) -> None:
    damaged("manifest.json", damage)
    world.refused("SE730")


@each(REHEARSAL)
def test_a_rehearsal(damage: Damage, world: World, damaged: Damaged) -> None:
    damaged("rehearsal.json", damage)
    done = world.run("flash", world.bundle, *NOWHERE)
    assert (done.exit_code, "SE744:" in done.stderr) == (3, True), done.output
    world.found_by_verify(world.bundle, "SE744")


def test_all_of_them_pass_when_they_are_sound(world: World) -> None:
    """So that it is the damage that is refused."""
    assert world.run("verify", world.bundle).exit_code == 0
    for name, words in world.commands(world.bundle / "plan.json"):
        if name not in ("rehearse", "keys destroy"):
            done = world.run(*words)
            assert not any(code in done.output for code in ("SE730", "SE875", "SE744")), (name, done.output)


@each(PLAN)
def test_the_table_of_a_script(damage: Damage, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The part of the damages that a table of Python can have."""
    try:
        table = json.loads(damage(load(world.sound / "plan.json")))
    except (ValueError, RecursionError):
        pytest.skip("it is not JSON")
    try:
        read_document(PlanDocument, table)
    except DocumentFault:
        assert main(table, world.sound, ["--port", "/dev/nowhere", "--yes"]) == 3
        assert "STOP SE866" in capsys.readouterr().out
    else:
        assert json.dumps(table) == json.dumps(load(world.sound / "plan.json")), "it was damaged as text alone"


FEW = ("nested lists", "schema 2", "half of it", "a member twice", "an unknown member", "chip a number")


@each({name: PLAN[name] for name in FEW})
def test_an_archive(damage: Damage, world: World, tmp_path: Path) -> None:
    """Its readers are those of a folder."""
    write_archive(world.sound, tmp_path / "sound.zip")
    with zipfile.ZipFile(tmp_path / "sound.zip") as old, zipfile.ZipFile(tmp_path / "damaged.zip", "w") as new:
        for name in old.namelist():
            text = damage(load(world.sound / name)) if name == "plan.json" else old.read(name)
            new.writestr(name, text)
    words = ("--bundle", tmp_path / "damaged.zip", "--signing-key", world.key, "-o", tmp_path / "new")
    done = world.run("ota", "-B", world.build, *words)
    assert (done.exit_code, "SE875:" in done.stderr) == (3, True), done.output
    world.found_by_verify(tmp_path / "damaged.zip", "SE875")


@each(PLAN)
def test_the_record_of_a_board(damage: Damage, world: World, damaged: Damaged) -> None:
    """What lets a board with keys of its own be finished is a bundle, read by `flash` alone."""
    damaged("plan.json", damage)
    with pytest.raises(InputError) as caught:
        _record(world.bundle)
    assert caught.value.code == "SE688"


@each(MANIFEST)
def test_the_manifest_of_a_record(damage: Damage, world: World, damaged: Damaged) -> None:
    damaged("manifest.json", damage)
    with pytest.raises(InputError) as caught:
        _record(world.bundle)
    assert caught.value.code == "SE688"


@each({"none": json.dumps, **{name: MANIFEST[name] for name in FEW}})
def test_an_update_is_not_a_bundle(damage: Damage, world: World, tmp_path: Path) -> None:
    """Whole or damaged, no command takes an update package for the bundle of boards."""
    other = World(tmp_path / "update", world.sound, world.update, world.build, world.key, world.summary, world.run)
    other.bundle.mkdir()
    text = damage(load(world.update / "manifest.json"))
    (other.bundle / "manifest.json").write_text(text, encoding="utf-8")
    other.refused("SE730")


def test_a_number_that_is_equal_is_not_the_same(world: World, damaged: Damaged) -> None:
    """1.0 for 1: nobody says that the two plans are equal."""
    plan = damaged("plan.json", lambda document: json.dumps(document).replace('"schema": 1', '"schema": 1.0'))
    done = world.run("plan", "--diff", world.sound, plan)
    assert (done.exit_code, "equal" in done.stdout) == (3, False)
