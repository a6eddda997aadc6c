# SPDX-License-Identifier: Apache-2.0
"""What a rule of the doctor is, and what it finds."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from secure_ext.build.build import Build
from secure_ext.build.sdkconfig import Value
from secure_ext.chips.chip import Chip
from secure_ext.formats.partition_table import PartitionTable
from secure_ext.plan.first_boot import FirstBootBurn
from secure_ext.plan.fleet import Fleet
from secure_ext.plan.images import BlankPartition, PlannedImage
from secure_ext.plan.steps import Plan
from secure_ext.policy.policy import Policy
from secure_ext.station.frozen import frozen

Settings = tuple[tuple[str, Value], ...]
"""Kconfig symbols, named without ``CONFIG_``, each with its value."""


class Severity(str, enum.Enum):
    """How bad a finding is; an ERROR stops the making of a bundle."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Concern(str, enum.Enum):
    """What a rule is asked about: new bundles, updates of boards in the field, or both."""

    BUNDLES = "bundles"
    UPDATES = "updates"
    BOTH = "both"


@frozen
class Making:
    """What is known only when a bundle is made.

    Attributes:
        new_keys: names of the files of keys that are generated now.
        kept_keys: names and places of the keys that were generated before, and are used again.
        home_is_named: whether the user said where generated keys are kept.
        build_server: whether a build server runs this, whose folders go with the job.
        archived: whether the bundle is also written without its keys, to be used elsewhere.
        with_plaintext: whether that may hold secrets that anybody can read.
        read_by_a_program: whether nobody reads what is shown.
        bundled_keys: where the bundle has its keys.
    """

    new_keys: tuple[str, ...] = ()
    kept_keys: tuple[tuple[str, Path], ...] = ()
    home_is_named: bool = False
    build_server: bool = False
    archived: bool = False
    with_plaintext: bool = False
    read_by_a_program: bool = False
    bundled_keys: tuple[Path, ...] = ()


@frozen
class Subject:
    """What the rules look at.

    For an update `build` is the new one, and all else is the fleet's: its plan is the policy, `images` are the new app
    in each of its OTA slots, and `first_boot` is what the new app burns.

    Attributes:
        fleet: the boards that an update is for; None for a bundle.
        making: what is known while a bundle is made; None before, and for an update.
    """

    build: Build
    chip: Chip
    policy: Policy
    images: tuple[PlannedImage, ...]
    blanks: tuple[BlankPartition, ...]
    plan: Plan
    first_boot: tuple[FirstBootBurn, ...]
    fleet: Fleet | None = None
    making: Making | None = None

    @property
    def table(self) -> PartitionTable:
        """The partition table that the firmware finds: for an update that of the boards, if it can be read."""
        return self.build.partitions if self.fleet is None or self.fleet.table is None else self.fleet.table


@frozen
class Finding:
    """One thing found: where, what is wrong, what to do.

    Attributes:
        accepted: the profile accepts its code.
        can_be_accepted: a profile may accept its code; False where going on would brick.
        settings: Kconfig symbols that cure it.
    """

    code: str
    severity: Severity
    place: str
    cause: str
    cure: str
    accepted: bool = False
    can_be_accepted: bool = True
    settings: Settings = ()

    @property
    def stops(self) -> bool:
        """Whether no bundle is made because of it."""
        return self.severity is Severity.ERROR and not self.accepted

    def as_dict(self) -> dict[str, str | bool]:
        """The finding as JSON-ready data."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "place": self.place,
            "cause": self.cause,
            "cure": self.cure,
            "accepted": self.accepted,
        }

    @property
    def always_shown(self) -> bool:
        """Whether no selection and no baseline may hide it: an error that can never be accepted."""
        return self.severity is Severity.ERROR and not self.can_be_accepted

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that stay the same while code and place do, though numbers in the cause change."""
        return hashlib.sha256(f"{self.code}\n{self.place}".encode()).hexdigest()[:32]


@frozen
class Match:
    """A place where a rule applies, with what is wrong there; `cure` where it is not the rule's own."""

    place: str
    cause: str
    cure: str | None = None


@frozen
class Unseen:
    """What a rule cannot see, because the fleet's bundle does not record it: `why`, and at what place."""

    place: str
    why: str


Acceptable = bool | Callable[[Subject], bool]


@frozen
class Rule:
    """One check.

    Attributes:
        code: stable, ``SP`` and three digits.
        severity: of all its findings.
        title: what it looks for, for the documentation.
        check: finds the places where it applies.
        explanation: what happens and why, for a person who has not read the code.
        source: what shows it: a file of ESP-IDF, a section of its manual, a thread in its issue tracker.
        cure: what to do about it: the Kconfig symbol and its value, the CSV line, the command.
        acceptable: whether an ERROR of it may be accepted: never where no board would start any more, or would take an
            update any more; for some rules the subject decides.
        why: the reason why an ERROR can be accepted, or cannot.
        concerns: what it is asked about.
        settings: the Kconfig symbols of the cure, where they are all there is to do.
        needs_images: whether it sees less, or something else, in a project that is configured and not built.
        stops_update: the code of the error by which it stops an update.
    """

    code: str
    severity: Severity
    title: str
    check: Callable[[Subject], Iterator[Match | Unseen]]
    explanation: str
    source: str
    cure: str
    acceptable: Acceptable = True
    why: str = ""
    concerns: Concern = Concern.BUNDLES
    settings: Settings = ()
    needs_images: bool = False
    stops_update: str = "SE769"

    @property
    def is_error(self) -> bool:
        """Whether its findings stop what they concern."""
        return self.severity is Severity.ERROR

    @property
    def never_acceptable(self) -> bool:
        """Whether no subject at all makes its errors acceptable."""
        return self.is_error and self.acceptable is False

    def may_be_accepted(self, subject: Subject) -> bool:
        """Whether its findings in this subject may be accepted."""
        return self.acceptable(subject) if callable(self.acceptable) else self.acceptable

    def is_asked_about(self, subject: Subject) -> bool:
        """Whether it concerns such a subject."""
        if self.needs_images and not subject.build.files:
            return False
        return self.concerns is not (Concern.UPDATES if subject.fleet is None else Concern.BUNDLES)


NOT_RECORDED = "the fleet's bundle does not record it; bundles of this version do"
"""Why a rule about updates cannot see something."""

UpdateCheck = Callable[[Subject, Fleet, PlannedImage], Iterator[Match | Unseen]]


def of_update(check: UpdateCheck) -> Callable[[Subject], Iterator[Match | Unseen]]:
    """A rule's check that is asked about an update, and once about its app, however many slots it goes to."""

    def asked(subject: Subject) -> Iterator[Match | Unseen]:
        if subject.fleet is not None:
            yield from check(subject, subject.fleet, subject.images[0])

    return asked
