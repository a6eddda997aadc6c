# SPDX-License-Identifier: Apache-2.0
"""One board with keys of its own: makes them, runs the board's script, and destroys this station's copy.

What a board needs to be finished without its keys (images, plan, script: no secret) lies in the folder ``boards`` of
the journal from before the first burn until the board is done. See docs/decisions/0012-keys-per-device.md.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from secure_ext.bundle.manifest import SEAL_TO
from secure_ext.bundle.private_folder import private_folder, remove_left_over
from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.errors import InputError, SecureProvisionError
from secure_ext.keys.sealing import load_sealing_key, seal
from secure_ext.keys.secret_source import NO_SECRETS, SecretSource
from secure_ext.per_device.call_script import call_script
from secure_ext.per_device.custom_macs import bundle_as_seen, bundle_as_taken
from secure_ext.per_device.device_bundle import write_device_bundle
from secure_ext.per_device.device_keys import DeviceKeys, completed_keys, new_keys, own_steps
from secure_ext.per_device.identity_choice import identity_of_board
from secure_ext.per_device.identity_record import forget_certificate, keep_certificate
from secure_ext.per_device.record import as_the_bundle_has_it, write_private_script
from secure_ext.station.arguments import parse_arguments
from secure_ext.station.board_link import BoardLink
from secure_ext.station.chip_state import ChipState, read_chip
from secure_ext.station.durable import make_folder_durably, write_durably
from secure_ext.station.esp_tools import Stop
from secure_ext.station.flash_status import FlashStatus, flash_status
from secure_ext.station.frozen import frozen
from secure_ext.station.journal import board_journal
from secure_ext.station.key_places import place_keys
from secure_ext.station.plan_document import KeyStep, PlanDocument
from secure_ext.station.port_lock import lock_port
from secure_ext.station.refusals import check_layout
from secure_ext.station.runner import Runner
from secure_ext.station.step_status import Status, StepStatus, compare
from secure_ext.station.verdict import Condition, Verdict, classify

Say = Callable[[str], None]
"""Shows a line to the operator."""


@frozen
class BoardRun:
    """How a board is to be provisioned.

    Attributes:
        port: serial port of the board.
        before: reset before connecting.
        baud: baud rate at which the flash is written; None for the fastest that holds.
        journal: folder of the records that let a board be continued.
        sealed: folder of the sealed copies.
        options: what the script is told besides, such as ``--yes``.
        until: the last stage.
        dry_run: read and show; change nothing.
        private: where the private folder for the keys is made; None for the best that this machine has.
        ca_key: file of the private key of the CA that signs the board's certificate; None if it is not given.
        secrets: knows the passphrase of that.
    """

    port: str
    before: str
    baud: int | None
    journal: Path
    sealed: Path
    options: tuple[str, ...] = ()
    until: str = "seal"
    dry_run: bool = False
    private: Path | None = None
    ca_key: str | None = None
    secrets: SecretSource = NO_SECRETS

    def record_of(self, state: ChipState) -> Path:
        """The folder of what is needed to finish a board without its keys."""
        return self.journal / "boards" / state.mac

    def script_line(self, script: Path, state: ChipState, *keys: str) -> list[str]:
        """The command line of the board's script."""
        line = [sys.executable, str(script), "--port", self.port]
        line += ["--baud", str(self.baud)] if self.baud else []
        line += ["--before", self.before, "--until", self.until, "--mac", state.mac, "--journal", str(self.journal)]
        return [*line, *(["--dry-run"] if self.dry_run else []), *self.options, *keys]


@frozen
class _Look:
    """What was seen of a board.

    `begun` is the record of an earlier run on it, `own` the status of its own keys, `flash` that of
    its images.
    """

    runner: Runner
    state: ChipState
    begun: FinishedBundle | None
    statuses: list[StepStatus]
    own: list[StepStatus]
    verdict: Verdict
    flash: FlashStatus

    @property
    def has_hidden_keys(self) -> bool:
        """Whether one of them can be read no more: whoever keeps sealed copies needs the one that was made of it."""
        return any(item.hidden for item in self.own)

    @property
    def has_own_keys(self) -> bool:
        """Whether one of its own keys is on the chip."""
        return any(item.status is not Status.MISSING for item in self.own)

    def show(self) -> None:
        """Shows the board and its steps, as its script does."""
        self.runner.show(self.statuses, self.state, self.flash)
        self.runner.say(str(self.verdict))


def flash_board(template: FinishedBundle, run: BoardRun, say: Say) -> int:
    """Provisions the board on ``run.port`` with keys of its own, or goes on where an earlier run stopped.

    Returns the exit code of the board's script.

    Raises Stop of the script for a board that is left alone; InputError SE686 (no private folder), SE687 (a sealed copy
    cannot be written), SE688 (the record of the board is damaged), SE940 (it is not of this bundle), and those of
    `write_device_bundle`.
    """
    for folder in remove_left_over(run.private):
        say(f"An earlier run was killed and left keys behind in {folder}: destroyed.")
    look = _look(template, run)
    with lock_port(str(run.record_of(look.state).absolute())):
        if (look.begun is not None) != run.record_of(look.state).exists():
            raise Stop(5, "SE832", f"another run works on board {look.state.mac}", "wait until it has ended")
        return _flash(template, run, look, say)


def _flash(template: FinishedBundle, run: BoardRun, look: _Look, say: Say) -> int:
    if look.verdict.stop:
        look.show()
        raise look.verdict.stop
    if look.begun is None and look.verdict.condition is Condition.DONE:
        look.show()
        say("Nothing to do: this board is finished. Its keys are hidden, so nobody can tell whose they are.")
        return 0
    if look.begun is not None and look.own:
        keys = completed_keys(look.own, look.state)
        if keys is None:
            say("An earlier run has burned this board's keys. It is finished from its record, without them.")
            with private_folder(run.private) as (folder, lock):
                script = write_private_script(folder, look.begun)
                code = call_script(run.script_line(script, look.state, "--without-keys"), lock)
            return _close(run, look, code)
        some = "some of " if look.has_own_keys else ""
        say(f"An earlier run on this board ended before {some}its keys were burned, and those are gone.")
        say("The board gets new ones in their place, and its flash is written again.")
    else:
        keys = new_keys([item.step for item in look.own if isinstance(item.step, KeyStep)])
    if run.dry_run:
        look.show()
        say(f"Dry run: this board would get {'keys' if look.own else 'an address'} of its own. Nothing was changed.")
        return 0
    return _provision(template, run, look, keys, say)


def _look(template: FinishedBundle, run: BoardRun) -> _Look:
    """Reads the board and judges it, by the record of an earlier run if there is one."""
    words = ["--port", run.port, "--before", run.before, "--without-keys"]
    options = parse_arguments(template.plan, words)
    runner = Runner(template.plan, template.folder, options)
    with lock_port(run.port), BoardLink(runner.connection) as link:
        runner.identify(link)
        state = read_chip(link)
    template = bundle_as_seen(template, run.journal, state)
    begun = _record(run.record_of(state))
    if begun is not None:
        begun = as_the_bundle_has_it(begun, template)
    known = begun or template
    known = replace(known, plan=place_keys(known.plan, state))
    runner = Runner(known.plan, known.folder, options)
    check_layout(known.plan, state)
    statuses = compare(known.plan.efuse_steps, state)
    journal = board_journal(known.plan, run.journal / f"{state.mac}.json")
    verdict = classify(known.plan, state, statuses, journal, runner.files.key_as_burned)
    own = {step.id for step in own_steps(known.plan, template.own_roles)}
    flash = flash_status(known.plan, state, statuses, journal)
    return _Look(runner, state, begun, statuses, [item for item in statuses if item.step.id in own], verdict, flash)


def _record(folder: Path) -> FinishedBundle | None:
    if not os.path.lexists(folder):
        return None
    try:
        if folder.is_symlink() or not folder.is_dir():
            raise NotADirectoryError("it is a link or no folder")
        return read_bundle(folder)
    except (SecureProvisionError, OSError) as error:
        cause = error.cause if isinstance(error, SecureProvisionError) else str(error)
        raise InputError(
            "SE688",
            f"the record of this board, which an earlier run began, is damaged: {cause}",
            cure="restore it from a backup of the journal; for a board whose keys were not burned, delete it",
            place=str(folder),
        ) from None


def _provision(template: FinishedBundle, run: BoardRun, look: _Look, keys: DeviceKeys, say: Say) -> int:
    """A run with keys: they are on this machine from here to the end of the block."""
    identity = identity_of_board(template, look.begun, keys, look.state.mac, run.ca_key, run.secrets)
    template = bundle_as_taken(template, run.journal, look.state)
    sealed = run.sealed / f"{look.state.mac}.sealed"
    is_sealed = template.keeps_sealed_copies and bool(look.own)
    journal_file = run.journal / f"{look.state.mac}.json"

    def keep_known(plan: PlanDocument) -> None:
        """The journal knows keys by all fingerprints together: those that are burned belong to the new plan, too."""
        if look.begun is not None and look.has_own_keys:
            before = board_journal(look.begun.plan, journal_file)
            board_journal(plan, journal_file).note_burning_with_other_keys(before)

    with private_folder(run.private) as (folder, lock):
        if is_sealed:
            _seal(template, look.state, keys, sealed, keeps_earlier=look.has_hidden_keys)
        record = run.record_of(look.state)
        board = write_device_bundle(
            template, keys, record, folder / "keys", look.begun, identity=identity, before_it_is_there=keep_known
        )
        if identity is not None:
            keep_certificate(run.journal, look.state.mac, template.manifest.project, identity.certificate)
        words = ["--keys", str(folder / "keys"), *(["--without-keys"] if look.has_own_keys else [])]
        script = write_private_script(folder, board)
        code = call_script(run.script_line(script, look.state, *words), lock)
    if folder.exists():
        say(f"WARNING: the keys of this board could not be removed from {folder}: remove that folder yourself.")
    journal = board_journal(board.plan, journal_file)
    if code and journal.is_readable and not journal.burning_begun and not look.has_own_keys:
        shutil.rmtree(board.folder, ignore_errors=True)
        sealed.unlink(missing_ok=True)
        if identity is not None:
            forget_certificate(run.journal, look.state.mac)
        if look.own:
            say("The keys of this run were not burned, and are destroyed. The next run makes new ones.")
        return code
    if not look.own:
        return _close(run, look, code)
    if code:
        say("This station's copy of the board's keys is destroyed. Run again: the board is finished without them,")
        say("gets new ones if none was burned, or is found to be damaged.")
    else:
        kept = f"; a sealed copy is in {sealed}" if is_sealed else ""
        say(f"The keys of this board are in its eFuses{kept}. This station's own copy is destroyed.")
    return _close(run, look, code)


def _close(run: BoardRun, look: _Look, code: int) -> int:
    """A finished board needs no record any more."""
    if code == 0 and run.until == "seal" and not run.dry_run:
        shutil.rmtree(run.record_of(look.state), ignore_errors=True)
    return code


def _keep_earlier(path: Path) -> None:
    """The sealed copy of an earlier run gets a name of its own: this run does not know all keys of the board."""
    if path.exists():
        numbers = range(1, 1 + len(list(path.parent.iterdir())))
        names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in numbers)
        path.rename(next(name for name in names if not name.exists()))


def _seal(template: FinishedBundle, state: ChipState, keys: DeviceKeys, path: Path, *, keeps_earlier: bool) -> None:
    purposes: dict[str, dict[str, str]] = {
        step.role: {"purpose": step.purpose} for step in template.plan.keys if step.pem
    }
    label = {
        "chip": template.plan.chip,
        "mac": state.mac,
        "project": template.manifest.project,
        "created": dt.datetime.now(tz=dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "keys": [
            {"role": role, "fingerprint": name, **purposes.get(role, {})} for role, name in keys.fingerprints.items()
        ],
    }
    recipient = load_sealing_key(template.folder / SEAL_TO)
    try:
        make_folder_durably(path.parent)
        if keeps_earlier:
            _keep_earlier(path)
        write_durably(path, seal(keys.whole, label, recipient).encode())
    except OSError as error:
        raise InputError(
            "SE687",
            f"the sealed copy of the board's keys cannot be written: {error.strerror}",
            cure="check the permissions and the free space, or give another folder with --sealed; no eFuse was burned",
            place=str(path),
        ) from None
