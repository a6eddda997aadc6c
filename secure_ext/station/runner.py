# SPDX-License-Identifier: Apache-2.0
"""Runs a provisioning plan on a chip: the part of ``provision.py`` below its table of steps.

Standard library only, Python 3.9 and later. The plan and the list of images are handed to `main`; see
``secure_ext/plan/document.py`` for their form.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from secure_ext.station.adoption import KeyProof
from secure_ext.station.arguments import CONFIRMATION, STAGES, parse_arguments
from secure_ext.station.board_link import BoardLink, Connection, taken_away
from secure_ext.station.bundle_files import BundleFiles
from secure_ext.station.burn_calls import burn_calls
from secure_ext.station.chip_state import ChipState, read_chip, read_failure
from secure_ext.station.esp_tools import Stop, interruptions, redact
from secure_ext.station.flash_images import FlashImages, detected_flash_size
from secure_ext.station.flash_stage import FlashLook
from secure_ext.station.flash_status import FlashStatus
from secure_ext.station.journal import Journal, board_journal, boards_not_read_back
from secure_ext.station.key_places import moved_keys, place_keys
from secure_ext.station.lock_check import require_burned
from secure_ext.station.no_core import no_core_files
from secure_ext.station.plan_check import check_plan
from secure_ext.station.plan_document import EfuseStep, PlanDocument
from secure_ext.station.port_lock import lock_port
from secure_ext.station.progress import WriteProgress, announcement
from secure_ext.station.refusals import check_conflicts, check_flash_size, check_layout, not_identified, other_esptool
from secure_ext.station.revision import revision_text
from secure_ext.station.run_log import RunLog
from secure_ext.station.sealed import closed_as_planned
from secure_ext.station.step_status import StepStatus, compare
from secure_ext.station.typed_document import DocumentFault, read_document
from secure_ext.station.verdict import Verdict, classify, sealed_verdict
from secure_ext.station.virtual_efuses import prepare_virtual_efuses


class Runner:
    """One run of the script on one chip."""

    def __init__(self, plan: PlanDocument, bundle: Path, options: argparse.Namespace) -> None:
        self.plan = plan
        self.bundle = bundle
        self.files = BundleFiles(plan, bundle, options.keys, options.without_keys)
        self.options = options
        self.stages = STAGES[: STAGES.index(options.until) + 1]
        self.connection = Connection(plan.chip, options.port, options.before, options.baud, options.virt)
        self.burning = False
        self.moved: tuple[str, ...] = ()
        self.images = FlashImages(plan, self.files, self.connection, self.say, is_written=options.flash_is_written)
        self.log = RunLog()
        self.progress = WriteProgress(plan.images)
        self._port_lock: TextIO | None = None

    def say(self, text: str = "") -> None:
        """Shows a line, and logs it once the log is open."""
        if not self.log.write(redact(text)):
            text += f"\nWARNING: the log cannot be written any more: {self.log.lost}. What follows is shown here alone."
        self.progress.clear()
        try:
            print(text, flush=True)  # noqa: T201 (this is the script's voice)
        except OSError:
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (the terminal is gone; the log goes on)

    def run(self) -> None:
        """The whole run; raises Stop when it cannot go on."""
        check_plan(self.plan)
        self.files.check()
        with BoardLink(self.connection, self.progress) as link:
            if link.version < self.plan.least_esptool:
                raise other_esptool(self.plan, f"is {link.version[0]}.{link.version[1]}")
            if self.options.virt:
                prepare_virtual_efuses(self.plan, link, Path(self.options.virt), self.say)
            else:
                self._port_lock = lock_port(self.options.port)
                self.identify(link)
            self.provision(link)
            self.reset(link)

    def provision(self, link: BoardLink) -> None:
        """Looks at the board, decides, and does what is missing."""
        state = read_chip(link)
        self.require_mac(state)
        self.take_places(state)
        journal = self.open_journal(state)
        check_layout(self.plan, state)
        self.images.check_power(link, state.revision)
        statuses = compare(self.plan.efuse_steps, state)
        verdict = self.judge(link, state, statuses, journal)
        todo = [item for item in statuses if not item.is_done and item.step.stage in self.stages]
        flash = FlashLook(self.images, link, journal).stage(state, statuses, verdict)
        self.show(statuses, state, flash.status)
        self.say(str(flash.verdict or verdict))
        if journal.taken_away:
            self.say(f"This board was taken away while it was burned ({journal.taken_away}).")
        stop = verdict.stop or flash.stop
        if stop:
            raise stop
        images_due = flash.status is FlashStatus.TO_DO
        if not todo and not images_due:
            self.end_with_nothing_to_do(statuses, journal)
            return
        if self.options.dry_run:
            and_flash = " and the flash erased and written" if images_due else ""
            self.say(f"Dry run: {_steps(todo)} would be burned{and_flash}. Nothing was changed.")
            return
        self.files.check_needed_keys(todo)
        if self.confirm(todo):
            # The question takes a while: whatever is connected now must be what was looked at.
            self.look_again(link, state)
            self.files.check()
        if images_due:
            self.images.write(link, journal, state.mac, over_security=flash.over_security)
        if not self.options.virt and todo:
            # So do the images. Nothing is burned that was not looked at just now.
            self.look_again(link, state)
        for stage in ("burn", "seal"):
            if stage in self.stages:
                try:
                    state = self.burn(stage, link, journal, state)
                except Stop as stop:
                    if stop.code == "SE828":
                        journal.note_taken_away(stop.cause)
                    raise
                if stage == "burn":
                    journal.note_read_back()
        self.say(announcement(self.closing_words()))

    def take_places(self, state: ChipState) -> None:
        """Goes on with the plan as it fits this board, if that is left to the station."""
        placed = place_keys(self.plan, state)
        self.moved = tuple(moved_keys(self.plan, placed))
        for words in self.moved:
            self.say(f"Placed at this station: {words}.")
        self.plan = self.files.plan = self.images.plan = self.images.kept.plan = placed

    def judge(self, link: BoardLink, state: ChipState, statuses: list[StepStatus], journal: Journal) -> Verdict:
        """What kind of board it is; with `--adopt` one with hidden keys of unknown origin may prove that it is ours.

        Raises Stop SE867, SE868 if it does not.
        """
        verdict = classify(self.plan, state, statuses, journal, self.files.key_as_burned)
        is_unknown = verdict.stop is not None and verdict.stop.code == "SE822"
        if not is_unknown or not self.options.adopt or self.options.dry_run:
            return verdict
        KeyProof(self.plan, self.files, link, self.images.flash_size, self.say).require(state, statuses)
        journal.note_adopted()
        return classify(self.plan, state, statuses, journal, self.files.key_as_burned)

    def look_again(self, link: BoardLink, before: ChipState) -> None:
        """Reads the board through its ROM loader, which alone burns. Raises Stop SE828 if it is another one now."""
        if link.is_stub:
            result = link.connect()
            if result.exit_code:
                raise read_failure(result)
            self.require_rom_loader(link)
        now = read_chip(link)
        if (now.mac, now.blocks) != (before.mac, before.blocks):
            raise taken_away(before.mac, self.how_far())

    def require_rom_loader(self, link: BoardLink) -> None:
        """Raises Stop SE859 if the board was not reset when it was connected, and goes on with what was loaded."""
        if link.is_stub:
            raise Stop(
                5,
                "SE859",
                "the board still runs esptool's flasher stub: connecting did not reset it",
                "put it into its download mode (hold BOOT, press RESET) and run the script again: it continues. If no "
                "line resets the boards, give --before no-reset: then nothing is loaded into them",
            )

    def closing_words(self) -> str:
        """What to do with the board now."""
        if self.options.until != "seal":
            state = {
                "flash": "This board is NOT protected yet. Do not reset it; run again to go on.",
                "burn": "This board is protected, but NOT closed yet. Run again to close it.",
            }[self.options.until]
            return f"STOPPED after stage {self.options.until!r}, as asked. {state}"
        if self.options.virt:
            return f"DONE: the rehearsal on {self.options.virt} reached the end. No board was touched."
        return "DONE. Label this board and take the next one."

    def how_far(self) -> str:
        """Whether the board has changed for ever, for a run that ends in the middle."""
        return "eFuses may be burned in part: do not set the board aside" if self.burning else "no eFuse was burned"

    def until_note(self) -> str:
        """What `--until` left out, for the closing line."""
        return "" if self.options.until == "seal" else f" (up to stage {self.options.until!r}, as asked)"

    def require_mac(self, state: ChipState) -> None:
        """Raises Stop SE850 if the board is not the one that `--mac` names."""
        if self.options.mac and self.options.mac.lower().replace(":", "") != state.mac:
            raise Stop(
                5,
                "SE850",
                f"the board has the MAC address {state.mac}, this run is for {self.options.mac}",
                "connect that board, or run the script for this one",
            )

    def identify(self, link: BoardLink) -> None:
        """Asks esptool which chip and how much flash is connected. Raises Stop SE810, SE811, SE814, SE816, SE858,
        SE859.
        """
        result = link.connect()
        if not result.exit_code:
            self.require_rom_loader(link)
            result = link.esptool(["flash-id"])
        if "in Secure Download Mode" in result.output:
            self.report_sealed(link)
        if result.exit_code:
            raise not_identified(self.plan.chip, self.options.port, result)
        self.images.flash_size = detected_flash_size(result.output)
        check_flash_size(self.plan, self.images.flash_size)

    def report_sealed(self, link: BoardLink) -> None:
        """A sealed chip tells little: says what it tells and stops with SE811."""
        output = link.esptool(["get-security-info"]).output
        verdict = sealed_verdict(self.plan, output, boards_not_read_back(self.plan, self.journal_folder))
        self.say(str(verdict))
        if verdict.stop:
            raise verdict.stop

    @property
    def journal_folder(self) -> Path:
        """Where the records of this station's boards are."""
        return Path(self.options.journal or self.bundle / "journal")

    def open_journal(self, state: ChipState) -> Journal:
        """The journal of this board, and the log beside it."""
        if self.options.virt:
            path = Path(self.options.virt + ".journal.json")
        else:
            path = self.journal_folder / f"{state.mac}.json"
        journal = board_journal(self.plan, path)
        log = Path(self.options.log) if self.options.log else path.with_suffix(".log")
        try:
            self.log.open(log)
        except OSError as error:
            if self.options.dry_run and not self.options.log:
                return journal  # it changes nothing, so the bundle may lie on what cannot be written
            raise Stop(3, "SE821", f"the log cannot be written: {error}", "give another file with --log") from None
        return journal

    def show(self, statuses: list[StepStatus], state: ChipState, images: FlashStatus) -> None:
        """Prints the board and every step with where it stands."""
        labels = {item.step.id: (item.label, not item.is_done) for item in statuses}
        flash = (images.value, False)
        self.say(f"Board: {self.plan.chip} {revision_text(state.revision)}, MAC {state.mac}")
        for stage in STAGES:
            for step in (step for step in self.plan.steps if step.stage == stage):
                label, due = labels.get(step.id, flash)
                self.say(f" {'!' if due else ' '} {stage:5}  {label:24}  {step.title}")
        if any(due for _, due in labels.values()):
            self.say(" ! = cannot be undone")

    def same_board(self, now: ChipState, before: ChipState) -> ChipState:
        """The state of the board now. Raises Stop SE828 if another one was connected meanwhile."""
        if now.mac != before.mac:
            raise taken_away(before.mac, self.how_far())
        return now

    def end_with_nothing_to_do(self, statuses: list[StepStatus], journal: Journal) -> None:
        """Says so, and on a finished board also that nobody knows whose keys it has, where the journal has no entry."""
        self.say("Nothing to do: this board is as the plan wants it" + self.until_note() + ".")
        if not self.options.dry_run and all(item.is_done for item in statuses if item.step.stage == "burn"):
            try:
                journal.note_read_back()
            except Stop as stop:
                self.say(f"Note: {stop.cause}. The board is as it should be all the same.")
        if any(item.hidden for item in statuses) and not journal.burning_begun:
            self.say("Note: its hidden keys cannot be compared, and this journal has no record of burning them.")

    def confirm(self, todo: list[StepStatus]) -> bool:
        """Asks for the word unless nothing is for ever or `--yes` was given; whether it asked. Raises Stop SE823."""
        if not todo or self.options.yes:
            return False
        self.say(f"{_steps(todo)} CANNOT BE UNDONE. Keep the power on until the script has ended.")
        if not sys.stdin or not sys.stdin.isatty():
            raise Stop(
                2, "SE823", "this is not a terminal, so nobody can be asked to confirm", "give --yes to burn unasked"
            )
        try:
            answer = input(f"Type {CONFIRMATION} to go on: ")
        except EOFError:
            answer = ""
        if answer.strip() != CONFIRMATION:
            raise Stop(2, "SE823", "not confirmed; nothing was changed", f"type {CONFIRMATION}, or give --yes")
        return True

    def burn(self, stage: str, link: BoardLink, journal: Journal, state: ChipState) -> ChipState:
        """Burns what is missing of a stage and reads it back. Raises Stop SE825, SE826."""
        steps = [step for step in self.plan.efuse_steps if step.stage == stage]
        statuses = compare(steps, state)
        check_conflicts(statuses, journal)
        calls = burn_calls(statuses, state, lambda name: str(self.files.path_of(name)))
        if not calls:
            return state
        # Writing the flash takes minutes: what is burned now must be what the plan was made for.
        self.files.check()
        self.files.check_needed_keys(statuses)
        if self.log.lost and not self.burning:
            cure = "make room, or give another file with --log; no eFuse was burned by this run"
            raise Stop(3, "SE821", f"the log cannot be written: {self.log.lost}", cure)
        journal.note_burning(is_seal=stage == "seal", placed=self.moved)
        self.burning = True
        for number, call in enumerate(calls):
            if number:
                state = self.same_board(read_chip(link), state)
            if number and call[0] == "write-protect-efuse":
                require_burned(compare(steps, state))
            self.say("espefuse " + " ".join(word for word in call if not word.endswith((".bin", ".pem"))))
            how_far = f"stage {stage!r}, espefuse call {number + 1} of {len(calls)}"
            result = link.burn(call, state.mac, how_far)
            if result.exit_code:
                raise Stop(
                    4,
                    "SE825",
                    f"espefuse failed: {result.last_words()}",
                    "run the script again: it reads the chip and continues; if that fails, set the board aside",
                )
        return self.read_back(stage, steps, link, state)

    def read_back(self, stage: str, steps: list[EfuseStep], link: BoardLink, before: ChipState) -> ChipState:
        """Compares every eFuse of a stage with the plan, and returns the new state."""
        if stage == "seal" and link.closed:
            self.say(closed_as_planned(link.closed, steps))
            return before
        state = self.same_board(read_chip(link), before)
        statuses = compare(steps, state)
        wrong = [item for item in statuses if not item.is_done]
        if wrong:
            raise Stop(
                5,
                "SE826",
                "read back and not as planned: " + "; ".join(item.step.title for item in wrong),
                "run the script again: it continues; if that fails, set the board aside",
            )
        self.say(f"Read back: stage {stage!r} is on the chip, all of its {_steps(statuses)}.")
        return state

    def reset(self, link: BoardLink) -> None:
        """Starts the firmware, if asked for; a board that cannot be reset needs a power cycle only."""
        if self.options.virt or self.options.after == "no-reset":
            return
        if link.reset(self.options.after).exit_code:
            self.say("The board could not be reset from here: switch its power off and on.")


def _steps(items: list[StepStatus]) -> str:
    return f"{len(items)} eFuse step" + ("" if len(items) == 1 else "s")


def main(table: Any, bundle: Path, arguments: list[str] | None = None) -> int:
    """Runs the plan in `table`, whose files lie in `bundle`; returns the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name the terminal cannot show must not stop anything
    no_core_files()
    try:
        plan = read_document(PlanDocument, table)
    except DocumentFault as fault:
        print(f"STOP SE866: the plan in this script is damaged: {fault}")  # noqa: T201
        print("  What to do: copy the whole bundle again; if that does not help, have it made again")  # noqa: T201
        return 3
    runner = Runner(plan, bundle, parse_arguments(plan, arguments))
    try:
        with interruptions(signal.default_int_handler):
            runner.run()
    except Stop as stop:
        runner.say(announcement(f"STOP {stop.code}: {redact(stop.cause)}"))
        runner.say(f"  What to do: {stop.cure}")
        return stop.exit_code
    except KeyboardInterrupt:
        runner.say(f"STOP SE827: interrupted; {runner.how_far()}")
        runner.say("  What to do: run the script again: it reads the chip and continues")
        return 5
    except OSError as error:
        runner.say(f"STOP SE941: this computer cannot use a file or folder: {redact(str(error))}; {runner.how_far()}")
        runner.say("  What to do: check permissions, free space and TMPDIR, and run the script again")
        return 3
    return 0
