# SPDX-License-Identifier: Apache-2.0
"""Boards that somebody has worked on with espefuse, esptool and other bundles before this bundle's script sees them."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chip_tools import espefuse, esptool, jtag_field, succeed
from support.matrix_bundles import signing_keys
from support.matrix_cells import FIRST_SCHEME, WITHOUT_SECURE_DOWNLOAD_MODE
from support.once_a_run import once_a_run

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.formats.partition_table import Partition
from secure_ext.policy.profile import Profile, Value
from secure_ext.prove.rehearsal.script_run import ScriptRun, chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample import SampleOptions, make_sample_build
from secure_ext.station.chip_facts import FACTS

CERTIFICATE, CALIBRATION, RANGE, EARLIER = 0x1E000, 0x1F000, 0x3F0000, 0x120000
PARTITIONS = (
    Partition("nvs", 1, 0x02, 0xD000, 0x6000),
    Partition("otadata", 1, 0x00, 0x13000, 0x2000),
    Partition("nvs_keys", 1, 0x04, 0x16000, 0x1000, flags=1),
    Partition("esp_secure_cert", 0x3F, 0x06, CERTIFICATE, 0x1000, flags=1),
    Partition("calibration", 0x40, 0x00, CALIBRATION, 0x1000),
    Partition("ota_0", 0, 0x10, 0x20000, 0x100000),
    Partition("ota_1", 0, 0x11, EARLIER, 0x100000),
)
KEEP = ("esp_secure_cert", "calibration", f"{RANGE:#x}+0x2000")
OWN_KEY_BLOCKS = ("esp32", "esp32c2")
"""Chips whose key blocks are as they are: none is free."""
SOMEBODY_ELSES = bytes(range(100, 132))

Bundles = dict[str, FinishedBundle]
"""By the name of the profile: ``plain``, ``keep``, ``development``, ``sibling`` (its signing key), ``foreign``."""


def make_bundles(chip: str, keys: tuple[Path, ...], folder: Path) -> Bundles:
    """One project's bundles, which share its keys; one of a product with the same signing key; one of somebody else."""
    reserved: dict[str, Value] = {} if chip in OWN_KEY_BLOCKS else {"reserved_key_blocks": ("KEY4",)}
    release = SampleOptions(flash_encryption="release", secure_boot=True, partitions=PARTITIONS, app_size=40_000)
    testing = SampleOptions(flash_encryption="development", secure_boot=True, partitions=PARTITIONS, app_size=40_000)
    closed: dict[str, Value] = {}
    if chip in WITHOUT_SECURE_DOWNLOAD_MODE:
        closed = {"lockdown.download_mode": "disabled"}
    keep: dict[str, Value] = {"keep": KEEP, **reserved}
    made: Bundles = {}
    for name, project, options, values in (
        ("plain", "ours", release, closed),
        ("keep", "ours", release, {**closed, **keep}),
        ("development", "ours", testing, {}),
        ("sibling", "sibling", testing, {}),
        ("foreign", "foreign", release, closed),
    ):
        build = make_sample_build(folder / project, chip, options=options)
        used: dict[str, Value] = {"secure_boot.keys": (str(keys[project == "foreign"]),), **values}
        if made and project == "ours":
            used |= _keys_of(made["plain"])
        decision = decide(build, Profile(folder, used))
        made[name] = read_bundle(write_bundle(decision, folder / f"bundle-{name}", lambda _: None).folder)
    return made


def _keys_of(bundle: FinishedBundle) -> dict[str, Value]:
    """So that another bundle burns the same."""
    settings = {"flash_encryption_key": "flash_encryption.key", "nvs_hmac_key": "nvs.key"}
    return {settings[key.role]: str(bundle.folder / key.file) for key in bundle.plan.keys if key.role in settings}


@pytest.fixture(name="bundles_of", scope="session")
def shared_bundles_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundles]:
    """The bundles of a chip; they must not be changed."""

    @functools.cache
    def bundles(chip: str) -> Bundles:
        scheme = FIRST_SCHEME.get(chip, "rsa3072")
        keys = once_a_run(tmp_path_factory, f"matrix-{scheme}", lambda folder: signing_keys(scheme, folder))
        return once_a_run(tmp_path_factory, f"hand-made-{chip}", lambda folder: make_bundles(chip, keys, folder))

    return bundles


@dataclass
class Bench:
    """A board on which somebody works by hand. Its flash holds an earlier firmware, and what belongs to the board."""

    bundles: Bundles
    folder: Path
    board: ChipProcess = field(init=False)

    def __post_init__(self) -> None:
        options = chip_for(self.bundles["plain"])
        flash = bytearray(b"\xff" * options.flash_size)
        for place, text in (
            (CERTIFICATE, b"certificate"),
            (CALIBRATION, b"calibration"),
            (RANGE, b"serial number"),
            (EARLIER, b"an earlier firmware"),
        ):
            flash[place : place + 0x800] = (text + b" ").ljust(32, b"\0") * 64
        self.board = ChipProcess(options, self.folder / "chip")
        self.board.state.mkdir()
        (self.board.state / "flash.bin").write_bytes(flash)
        (self.folder / "key.bin").write_bytes(SOMEBODY_ELSES)
        (self.folder / "user.bin").write_bytes(SOMEBODY_ELSES[:12])
        (self.folder / "half.bin").write_bytes(SOMEBODY_ELSES[:16])
        (self.folder / "data.bin").write_bytes(b"data of a user" * 20)

    def work(self, lines: tuple[str, ...]) -> None:
        """Does what the lines say, and takes down what the board is now, for the boot check."""
        flash = None
        for line in lines:
            tool, *words = line.format_map(self.names).split()
            if tool == "script" and flash is None:
                flash = self.board.flash
            self._do(tool, words)
        (self.board.state / "flash_before.bin").write_bytes(flash or self.board.flash)
        shutil.copyfile(self.board.state / "efuses.json", self.board.state / "efuses_of_the_new_chip.json")

    def script(self, profile: str, *options: str) -> ScriptRun:
        """Runs the script of a bundle, at a station that keeps its journal."""
        return run_script(self.bundles[profile], self.board.url, self.folder / "journal", *options)

    def _do(self, tool: str, words: list[str]) -> None:
        if tool == "espefuse":
            succeed(espefuse(self.board, *words))
        elif tool == "esptool":
            succeed(esptool(self.board, *words))
        elif tool == "script":
            done = self.script(*words)
            assert done.exit_code == 0, done.output
        else:
            shutil.rmtree(self.folder / "journal")

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """What the words in braces stand for on this chip."""
        bundle = self.bundles["plain"]
        facts = FACTS[bundle.plan.chip]
        user = {"esp32": "BLOCK3", "esp32c2": "BLOCK1"}.get(facts.name, "BLOCK_USR_DATA")
        names = {
            "count": facts.crypt_count,
            "boot": facts.secure_boot_enable,
            "open": "--no-protect-key" if facts.name == "esp32" else "--no-read-protect --no-write-protect",
            "jtag": jtag_field(facts.name),
            "user": user,
            "key": str(self.folder / "key.bin"),
            "half": str(self.folder / "half.bin"),
            "user_field": "CUSTOM_MAC" if facts.name == "esp32c2" else user,
            "user_data": str(self.folder / ("user.bin" if facts.name == "esp32c2" else "key.bin")),
            "data": str(self.folder / "data.bin"),
        }
        names |= dict(self._keys(bundle))
        return names

    def _keys(self, bundle: FinishedBundle) -> Iterator[tuple[str, str]]:
        """For each key of the plan, what comes after ``burn-key``: ours, and a foreign one in its place."""
        for key in bundle.plan.keys:
            name = key.role.removesuffix("_key").removesuffix("_0")
            foreign = self.folder / ("half.bin" if key.length == 16 else "key.bin")
            yield name, f"{key.burn_name} {bundle.folder / key.file} {key.purpose}"
            yield f"foreign_{name}", f"{key.burn_name} {foreign} {key.purpose}"
            yield f"block_of_{name}", key.block
