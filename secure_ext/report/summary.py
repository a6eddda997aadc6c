# SPDX-License-Identifier: Apache-2.0
"""The summary in plain words: what happens to the board, in which order, what is for ever, and what if it stops."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.documents.manifest import Manifest, PerDevice
from secure_ext.plan.effects import Effects
from secure_ext.report.aftermath import to_keep, when_it_stops, who_writes_by_cable
from secure_ext.report.element import Element, Node, code, command, el, section
from secure_ext.report.open_doors import what_stays_open
from secure_ext.station.efuse_features import Download
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.revision import revision_text


def summary_section(manifest: Manifest, plan: PlanDocument, effects: Effects) -> Element:
    """The part of the page for a reader who knows nothing of eFuses."""
    per_device = manifest.per_device
    program = "secure-provision flash" if per_device else "provision.py"
    return section(
        "summary",
        "In plain words",
        el(
            "p",
            "This folder turns a new board into a finished product. Someone connects the board by cable and starts one "
            "program, ",
            code(program),
            ". It writes the product's software onto the board and then ",
            _purpose(effects),
            " It does this with eFuses.",
        ),
        _own_keys(per_device) if per_device and per_device.keys else None,
        el(
            "p",
            el("strong", "An eFuse is a switch inside the chip that can be turned on once and never off again."),
            " No program, no reset and no manufacturer brings it back. A wrong one can make the board useless. "
            "That is why "
            "the order below is fixed, and why the program looks at the board before it changes anything.",
            class_="key-fact",
        ),
        el("h3", "What happens, in this order"),
        el("ol", _stages(manifest, plan, effects, program), class_="stages"),
        el("h3", "What cannot be undone"),
        el("ul", [el("li", item) for item in _final(manifest, plan, effects)]),
        el("h3", "What stays open on the finished board"),
        what_stays_open(manifest, effects),
        el("h3", "If it stops in the middle"),
        when_it_stops(plan, effects),
        el("h3", "What to keep"),
        el("ul", [el("li", item) for item in to_keep(plan, effects, per_device)]),
    )


def _purpose(effects: Effects) -> str:
    done = ["read", "copied"] if effects.flash_encryption == "release" else []
    done += ["replaced"] if effects.signing_keys else []
    if done:
        listed = " or ".join([part for part in (", ".join(done[:-1]), done[-1]) if part])
        return f"locks the chip, so that the software cannot be {listed} by strangers."
    if effects.flash_encryption == "development":
        return "turns the chip's flash encryption on, as it is needed for development."
    return "puts a secret key into the chip."


def _own_keys(per_device: PerDevice) -> Element:
    if per_device.keep == "sealed":
        then = "keeps only a sealed copy, which nobody but the owner of an offline key can open."
    else:
        then = "destroys its own copy. From then on nobody has them but the chip itself."
    return el(
        "p",
        el("strong", "Every board gets a key of its own."),
        " The program makes it when the board is connected, prepares the software for this one board, burns the key "
        f"into the chip, and {then}",
    )


def _stages(manifest: Manifest, plan: PlanDocument, effects: Effects, program: str) -> Iterator[Element]:
    yield _stage(
        "Look",
        "changes nothing",
        "safe",
        "The program checks the files of this folder and reads the board. If the board is of another kind, damaged, or "
        "was used for something else before, the program says so and stops. Otherwise it shows every step and waits "
        "until someone types the word BURN. This is the last chance to stop it by an answer: it asks nothing after "
        "that. ",
        _pulling_out(effects),
    )
    counts = {stage: sum(step.stage == stage for step in plan.steps) for stage in ("flash", "burn", "seal")}
    images = len(manifest.images)
    yield _stage(
        "Flash",
        "can be repeated",
        "safe",
        "What is in the board's memory is erased. Then the new software is written "
        f"({_number(images, 'file')}) and compared. Nothing is final yet.",
    )
    keys = sum(step.kind == "burn_key" for step in plan.steps)
    burned = " and ".join(
        _number(count, what) for count, what in ((keys, "key"), (counts["burn"] - keys, "setting")) if count
    )
    yield _stage(
        "Burn",
        "can never be undone",
        "final",
        f"{burned} {'is' if counts['burn'] == 1 else 'are'} burned into eFuses. {_burn_order(plan)}"
        "From here on the board belongs to this folder.",
    )
    if counts["seal"]:
        yield _stage(
            "Seal",
            "can never be undone, comes last",
            "final",
            f"The chip's service entrance for a cable is {_entrance(effects)}. To test a board before this, run ",
            command(f"{program} --until burn"),
            ": it does Look, Flash and Burn, and stops before Seal. Burn is final even then. If the test passes, run "
            "the program again without ",
            command("--until burn"),
            ": that does Seal. If the test fails, set the board aside as it is, not sealed.",
        )
    yield _stage(
        "Done looks like this",
        "success",
        "safe",
        "The last line of the program is: ",
        code("DONE. Label this board and take the next one."),
    )


def _pulling_out(effects: Effects) -> str:
    """What an interruption before Burn does; without flash encryption a flashed board would start by itself."""
    if effects.signing_keys and effects.flash_encryption == "off":
        return (
            "Ctrl-C is harmless until Burn begins, and so is pulling the cable until Flash begins; "
            "a board that was flashed has to stay connected until Burn is over."
        )
    return "Until Burn begins, Ctrl-C and pulling the cable are harmless, too."


def _entrance(effects: Effects) -> str:
    if effects.sealed_from is not None:
        return f"closed for ever, but only on chips from revision {revision_text(effects.sealed_from)}"
    if effects.download is Download.DISABLED:
        return "closed for ever"
    return "narrowed for ever: one can still write through it, but not read"


def _burn_order(plan: PlanDocument) -> str:
    kinds = {step.kind for step in plan.steps}
    parts = ["the keys"] if "burn_key" in kinds else []
    parts += ["the data of the product"] if "burn_data" in kinds else []
    parts += ["the doors that are to be closed"] if "burn_field" in kinds else []
    parts += ["the switches that turn the protection on"] if plan.enabling_fields else []
    parts += ["locks, so that nobody can change these settings"] if "write_protect" in kinds else []
    return f"First come {', then '.join(parts)}. " if len(parts) > 1 else ""


def _stage(name: str, verdict: str, look: str, *text: Node) -> Element:
    return el("li", el("strong", name), " ", el("span", verdict, class_=f"badge {look}"), el("p", *text))


def _final(manifest: Manifest, plan: PlanDocument, effects: Effects) -> Iterator[str]:
    if effects.flash_encryption == "release":
        who = who_writes_by_cable(effects, manifest.per_device)
        yield (
            "Flash encryption is on for ever: the software lies in the board's memory as ciphertext, and the chip "
            "alone can make sense of it. New software comes through the update function of the software itself"
            f"{f', or by cable from someone who has {who}' if who else ''}."
        )
    elif effects.flash_encryption == "development":
        yield (
            "Flash encryption is turned on in development mode, which is not for products: its key stays in the "
            "chip for "
            "ever, but whoever has the board and a cable can still have the chip encrypt other software, and the "
            "encryption can be turned off again a limited number of times."
        )
    if effects.signing_keys:
        many = effects.signing_keys > 1
        yield (
            "Secure boot is on for ever: the chip starts only software that was signed with "
            f"{f'one of your {effects.signing_keys} signing keys' if many else 'your signing key'}. If "
            f"{'all of them are' if many else 'that key is'} lost, no update will ever start on this board."
        )
    if effects.revoked_slots:
        places = "the free place is" if effects.revoked_slots == 1 else f"the {effects.revoked_slots} free places are"
        yield f"No further signing key can be added later: {places} closed."
    if effects.nvs_key:
        yield "The key with which the software encrypts its settings (NVS) stays in the chip, and nobody can read it."
    if effects.own_keys:
        blocks = _number(effects.own_keys, "key block")
        yield f"Keys of the software's own fill {blocks}: the chip uses them, and nobody can read them."
    if effects.jtag_closed:
        yield "The connection for debugging (JTAG) is closed: nobody can look into the running chip, not even you."
    if effects.download is Download.SECURE:
        yield (
            "Over the cable, memory can be written from then on, but nothing can be read and no eFuse burned. What is "
            "wrong in the eFuses then stays wrong."
        )
    elif effects.download is Download.DISABLED:
        yield "Over the cable nothing can be done any more: the board can only update itself."
    number = sum(bool(step.irreversible) for step in plan.steps)
    yield (
        f"Altogether {number} of {_number(len(plan.steps), 'step')} can never be undone. "
        "Each is listed below with its reason."
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
