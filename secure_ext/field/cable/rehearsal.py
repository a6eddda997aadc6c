# SPDX-License-Identifier: Apache-2.0
"""The rehearsal of an update: a virtual chip, the fleet's own script on it, the update twice, and the boot check."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from secure_ext.bundle.private_folder import virtual_chip_folder
from secure_ext.bundle.read import FinishedBundle
from secure_ext.documents.rehearsal import CheckedBy
from secure_ext.errors import DeviceError
from secure_ext.field.cable.prepare import Prepared
from secure_ext.field.cable.promise import write_promise
from secure_ext.field.cable.update import Port, Updated, update_board
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.rehearsal.script_run import carry, chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.station.frozen import frozen

_UPDATE = "the update, with the real esptool, on a virtual chip that the fleet's own script has provisioned"
_AGAIN = "the same update once more changes nothing"
_BOOT = "the boot check: keys from the eFuses, flash decrypted, signatures verified, app selected"


@frozen
class UpdateRehearsal:
    """The outcome.

    Attributes:
        chip: target name.
        said: what the update said.
        means: in the order they were tried.
        boot_log: what the chip's boot log would say.
        first: the update.
    """

    chip: str
    said: tuple[str, ...]
    means: tuple[CheckedBy, ...]
    boot_log: tuple[str, ...]
    first: Updated

    @property
    def passed(self) -> bool:
        """Whether everything that was checked is right."""
        return all(item.passed for item in self.means)

    def as_dict(self) -> dict[str, object]:
        """For ``--format json``."""
        return {
            "rehearsal": {
                "chip": self.chip,
                "passed": self.passed,
                "means": [vars(item) for item in self.means],
                "boot_log": list(self.boot_log),
            },
            "update": self.first.as_dict(),
        }

    def lines(self) -> Iterator[str]:
        """For a terminal."""
        yield from self.said
        yield ""
        yield "what the chip would say at its next boot"
        yield from (f"  {line}" for line in self.boot_log)
        yield ""
        yield "checked"
        for item in self.means:
            yield f"  {'ok    ' if item.passed else 'FAILED'}  {item.name}"
            yield from (f"            {line}" for line in item.evidence)
        yield ""
        yield f"rehearsal: {'PASSED' if self.passed else 'FAILED'} ({self.chip}, no board was touched)"


def rehearse_update(
    bundle: FinishedBundle, prepared: Prepared, progress: Callable[[str], None], until: str = "seal"
) -> UpdateRehearsal:
    """Provisions a virtual chip, updates it, and asks whether it boots.

    Args:
        bundle: the fleet's, with its keys.
        prepared: the update.
        progress: is told what is being done.
        until: the last stage of provisioning: ``burn`` for boards whose download mode was left open.

    Raises DeviceError SE841 if the fleet's script does not end; what `update_board` raises; ToolError SE840.
    """
    said: list[str] = []
    with virtual_chip_folder() as folder:
        options = chip_for(bundle)
        carry(bundle, options, folder / "chip")
        with ChipProcess(options, folder / "chip") as chip:
            progress("the fleet's script on a new virtual chip")
            run = run_script(bundle, chip.url, folder / "journal", "--until", until)
            if run.exit_code:
                raise DeviceError(
                    "SE841",
                    f"the script does not end on a virtual chip: {run.last_line}",
                    cure="run `secure-provision rehearse` without --power-cuts and see where it stops",
                )
            progress("the update")
            first = update_board(prepared, Port(chip.url), said.append, lambda _: True)
            flash = chip.flash
            progress("the update once more")
            second = update_board(prepared, Port(chip.url), lambda _: None, lambda _: True)
            unchanged = chip.flash == flash
        progress("the boot check")
        write_promise(bundle, prepared, first, folder / "promise", is_sealed=until == "seal")
        report = boot_check(folder / "chip", folder / "promise")
    faults = tuple(f"{fault.code}: {fault.cause}" for fault in report.faults)
    written = ", ".join(first.written) or "nothing"
    again = "written anew, as nobody can see what is there" if first.board.is_sealed else "all of it is there"
    means = (
        CheckedBy(_UPDATE, bool(first.written) or bool(first.there_already), (f"written: {written}",)),
        CheckedBy(_AGAIN, unchanged and (first.board.is_sealed or not second.written), (again,)),
        CheckedBy(_BOOT, report.boots, faults or (f"{len(report.log)} steps of the boot, no fault",)),
    )
    return UpdateRehearsal(bundle.plan.chip, tuple(said), means, report.log, first)
