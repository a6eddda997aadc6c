# SPDX-License-Identifier: Apache-2.0
"""A rehearsal: a new virtual chip, the bundle's own script, the boot check, and the script once more."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
from collections.abc import Callable

from secure_ext import __version__
from secure_ext.bundle.private_folder import virtual_chip_folder
from secure_ext.bundle.read import FinishedBundle
from secure_ext.documents.rehearsal import BoardTime, CheckedBy, PowerCutReport, RehearsalOutcome
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.rehearsal.script_run import AS_PLANNED, NewChip, ScriptRun, carry, chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.station.frozen import frozen
from secure_ext.station.one_line import one_line
from secure_ext.station.typed_document import document_data, read_document

SCHEMA = 1
Progress = Callable[[str], None]
"""Is told what is being done, a few words at a time."""


@frozen
class Rehearsal:
    """The outcome: what was checked by which means.

    Attributes:
        bundle: identity of the bundle.
        chip: target name.
        means: in the order they were tried.
        boot_log: what the chip's boot log would say.
        script_output: what the script printed in its first run.
        power_cuts: the report of `power_cuts`, if that was asked for.
        board_time: how long a real board would take.
    """

    bundle: str
    chip: str
    means: tuple[CheckedBy, ...]
    boot_log: tuple[str, ...] = ()
    script_output: str = ""
    power_cuts: PowerCutReport | None = None
    board_time: BoardTime | None = None

    @property
    def passed(self) -> bool:
        """Whether everything that was checked is right."""
        return all(item.passed for item in self.means)

    @property
    def outcome(self) -> RehearsalOutcome:
        """What ``rehearsal.json`` holds."""
        members = {
            "schema": SCHEMA,
            "tool": f"idf-secure-provision {__version__}",
            "esptool": importlib.metadata.version("esptool"),
            "bundle": self.bundle,
            "chip": self.chip,
            "date": dt.datetime.now(tz=dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "passed": self.passed,
            "means": [
                {
                    "name": one_line(item.name),
                    "passed": item.passed,
                    "evidence": [one_line(line) for line in item.evidence],
                }
                for item in self.means
            ],
            "boot_log": [one_line(line) for line in self.boot_log],
            "power_cuts": document_data(self.power_cuts),
        }
        if self.board_time:
            members["board_time"] = document_data(self.board_time)
        return read_document(RehearsalOutcome, members)


def rehearse_bundle(bundle: FinishedBundle, progress: Progress, new: NewChip = AS_PLANNED) -> Rehearsal:
    """Provisions a virtual chip with the bundle's script and checks the chip as silicon would.

    The chip, which holds the keys as a chip does, lives in a private temporary folder and is gone afterwards.

    Raises ToolError SE840 if the virtual chip cannot be started.
    """
    with virtual_chip_folder() as folder:
        options = chip_for(bundle, new)
        carry(bundle, options, folder / "chip")
        with ChipProcess(options, folder / "chip") as chip:
            progress("the script on a new virtual chip")
            first = run_script(bundle, chip.url, folder / "journal")
            burned, flash, board_time = chip.efuses, chip.flash, chip.board_time
            progress("the script on the finished chip")
            second = run_script(bundle, chip.url, folder / "journal")
            unchanged = (chip.efuses, chip.flash) == (burned, flash)
        progress("the boot check")
        report = boot_check(folder / "chip", bundle.folder)
    faults = tuple(f"{fault.code}: {fault.cause}" for fault in report.faults)
    means = (
        CheckedBy(_SCRIPT, first.exit_code == 0, (first.last_line,)),
        CheckedBy(_AGAIN, unchanged and _leaves_alone(second), (second.last_line,)),
        CheckedBy(_BOOT, report.boots, faults or (f"{len(report.log)} steps of the boot, no fault",)),
    )
    return Rehearsal(bundle.identity, bundle.plan.chip, means, report.log, first.output, board_time=board_time)


_SCRIPT = "the bundle's script, with the real esptool and espefuse, on a virtual chip"
_AGAIN = "the same script on the finished chip changes nothing"
_BOOT = "the boot check: keys from the eFuses, flash decrypted, signatures verified, app selected"


def _leaves_alone(run: ScriptRun) -> bool:
    """A finished board: nothing to do, or it is sealed, or it never answers again."""
    return run.exit_code == 0 or run.stop_code in ("SE810", "SE811")
