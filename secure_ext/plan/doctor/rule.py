"""What a rule of the doctor is, and what it finds."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from secure_ext.chips.chip import Chip
from secure_ext.plan.images import BlankPartition, PlannedImage
from secure_ext.policy.policy import Policy
from secure_ext.project.build import Build


class Severity(str, enum.Enum):
    """How bad a finding is; an ERROR stops the making of a bundle."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Subject:
    """What the rules look at."""

    build: Build
    chip: Chip
    policy: Policy
    images: tuple[PlannedImage, ...]
    blanks: tuple[BlankPartition, ...]


@dataclass(frozen=True)
class Finding:
    """One thing found: where, what is wrong, what to do. `accepted` if the profile accepts its code."""

    code: str
    severity: Severity
    place: str
    cause: str
    cure: str
    accepted: bool = False

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


@dataclass(frozen=True)
class Hit:
    """A place where a rule applies, with what is wrong there and the cure."""

    place: str
    cause: str
    cure: str


@dataclass(frozen=True)
class Rule:
    """One check.

    Attributes:
        code: stable, ``SP`` and three digits.
        severity: of all its findings.
        title: what it looks for, for the documentation.
        check: finds the places where it applies.
        acceptable: whether a profile may accept an ERROR of it; False where going on would brick.
    """

    code: str
    severity: Severity
    title: str
    check: Callable[[Subject], Iterator[Hit]]
    acceptable: bool = True
