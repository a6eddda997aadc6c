# SPDX-License-Identifier: Apache-2.0
"""For the operator: what to do when the program stops, and what to keep."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.documents.manifest import PerDevice
from secure_ext.plan.effects import FLASH_KEY_ROLES, Effects
from secure_ext.report.element import Element, Node, code, command, el, table
from secure_ext.station.efuse_features import Download
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.revision import revision_text

OTHER_BOARDS = "Take other boards, or have another build made."
STOPS = (
    (
        "SE810",
        "No chip answers.",
        "Check cable, port and boot button. A finished board whose service entrance is closed never answers again.",
    ),
    ("SE811", "The board is sealed.", "Test whether it works: most likely it is finished."),
    ("SE812", "The eFuses are damaged: a key was half burned.", "Set the board aside."),
    ("SE814", "It is another kind of chip.", "Take the right board, or the folder for this one."),
    ("SE816", "The board's flash is too small for this firmware.", OTHER_BOARDS),
    ("SE817", "The chip is of a revision that this plan is not for.", OTHER_BOARDS),
    (
        "SE819",
        "The board does not fit the plan: a foreign key, a wrong purpose, or something is locked.",
        "Set the board aside.",
    ),
    (
        "SE820",
        "A file of this folder is missing or was changed.",
        "Copy the whole folder again. An archive holds no keys: put the folder keys beside the program.",
    ),
    (
        "SE822",
        "The board has a key that cannot be read, and this station's journal does not know it.",
        "Go on at the station that began the board, or set it aside.",
    ),
    ("SE824", "Writing the memory failed. Nothing final has happened.", "Run the program again."),
    ("SE825", "Burning failed.", "Run the program again. If that fails, set the board aside."),
    ("SE853", "The chip's factory data is of a revision that this software is not for.", OTHER_BOARDS),
    ("SE854", "The chip has one core, and this software needs two.", OTHER_BOARDS),
    ("SE855", "The board has another kind of flash than this software needs.", OTHER_BOARDS),
    ("SE856", "The board has had newer software; it refuses this one.", "Have a bundle made with newer software."),
    ("SE857", "The board has had a newer bootloader; it refuses this one.", "Have a bundle made with a newer one."),
    ("SE858", "Nobody can tell how large the board's flash is.", "Check the board; install the newest esptool."),
)
"""Code, meaning and cure of the stops that an operator meets; docs/script.md has all of them."""


def when_it_stops(plan: PlanDocument, effects: Effects) -> Iterator[Element]:
    """What to do when the program stops, with a table of its codes."""
    yield el("ul", [el("li", item) for item in _rules(plan, effects)])
    rows = ((code(number), meaning, cure) for number, meaning, cure in STOPS)
    yield table("What STOP and a code mean", ("Code", "Meaning", "Do this"), rows, class_="cards")


def _rules(plan: PlanDocument, effects: Effects) -> Iterator[tuple[Node, ...]]:
    yield (
        el("strong", "Run the same program again, with this same folder."),
        " It reads the board, skips what is done and does what is missing. That is right at any time, also after a "
        "power failure or a pulled cable.",
    )
    yield (
        "If it stopped before ",
        el("strong", "Burn"),
        ", the program has done nothing final. After that, only this folder can finish the board: do not try another "
        "one.",
    )
    if effects.signing_keys and effects.flash_encryption == "off":
        yield (
            "Do not restart the board between Flash and Burn: its software would begin to turn secure boot on by "
            "itself.",
        )
    yield tuple(_finished_board(plan, effects))
    yield (
        "If it prints STOP and a code, it has refused to do harm, and says what to do; the table has the most common "
        "codes. A board that it calls damaged, or not for this bundle, is set aside and never forced.",
    )


def _finished_board(plan: PlanDocument, effects: Effects) -> Iterator[Node]:
    yield el("strong", "A finished board that is connected again")
    if not any(step.stage == "seal" for step in plan.steps):
        yield " says “Nothing to do”. That is no fault."
        return
    yield " prints "
    yield command("STOP SE811" if effects.download is Download.SECURE else "STOP SE810")
    if effects.download is Download.SECURE:
        yield ", because the sealed chip shows its eFuses to nobody."
    elif effects.sealed_from is not None:
        older = f"a chip older than {revision_text(effects.sealed_from)}"
        yield f", because it does not answer any more; with {older} it says “Nothing to do”."
    else:
        yield ", because it does not answer any more."
    yield " That is no fault: test whether the board works."


def who_writes_by_cable(effects: Effects, per_device: PerDevice | None) -> str:
    """Whose key lets someone write software over the cable that an encrypting board runs; empty if nobody has it."""
    if effects.download is Download.DISABLED:
        return ""
    if not _has_own_flash_key(per_device):
        return "the key of these boards"
    return "this board's key" if per_device and per_device.keep == "sealed" else ""


def _has_own_flash_key(per_device: PerDevice | None) -> bool:
    return per_device is not None and any(role in FLASH_KEY_ROLES for role in per_device.keys)


def to_keep(plan: PlanDocument, effects: Effects, per_device: PerDevice | None) -> Iterator[Element]:
    """What somebody has to keep, where and how long."""
    yield el(
        "span",
        "The folder ",
        code("journal"),
        ", until every board is finished. It appears beside ",
        code("provision.py"),
        " with the first board, and holds no secrets. Without it, it may be impossible to finish a board that was "
        "stopped in the middle. Each station has its own: a board that was begun at one station is continued with that "
        "station's journal.",
    )
    if effects.signing_keys:
        yield el(
            "span",
            "The private signing keys. Before this folder goes to a factory, and in any case before its keys are "
            "deleted, ",
            el("strong", "move"),
            " every file ",
            code("secure_boot_signing_key*"),
            " out of its folder ",
            code("keys"),
            " to two safe places, if there are such files. The program does not need them: everything is signed "
            "already. Whoever has them can sign software for all these boards; without them there is no update.",
        )
    if per_device and per_device.keep == "sealed":
        yield el(
            "span",
            "The folder ",
            code("sealed"),
            ", which holds a sealed copy of each board's keys; and the offline key that opens them, far from here.",
        )
    if _has_shared_secrets(plan, per_device):
        yield el(
            "span",
            "The folder ",
            code("keys"),
            ", until the last board is done: it holds secrets. Show it to nobody who does not need it, and delete it "
            "then.",
            _without_the_key(effects) if not _has_own_flash_key(per_device) else None,
        )


def _has_shared_secrets(plan: PlanDocument, per_device: PerDevice | None) -> bool:
    secret = {step.role for step in plan.steps if step.kind == "burn_key" and step.rd_dis_bits}
    return bool(secret - set(per_device.keys if per_device else ()))


def _without_the_key(effects: Effects) -> str | None:
    if effects.flash_encryption != "release" or effects.download is Download.DISABLED:
        return None
    mode = " (secure download mode)" if effects.download is Download.SECURE else ""
    return (
        " When no copy is left, nobody can write software over the cable any more that runs on these boards; their "
        f"memory can still be overwritten with rubbish{mode}."
    )
