# SPDX-License-Identifier: Apache-2.0
"""What the boot check says: a log of what the chip would do, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        code: ``BC`` and two digits; the codes are explained in ``docs/boot-check.md``.
        cause: one sentence, without any secret.
    """

    code: str
    cause: str


@dataclass(frozen=True)
class BootReport:
    """The verdict on a chip.

    Attributes:
        log: what the chip does on its way to the app, and what was looked at.
        faults: why it would not boot, or is not as planned.
    """

    log: tuple[str, ...]
    faults: tuple[Fault, ...]

    @property
    def boots(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


class Refused(Exception):
    """The chip stops here, or a check cannot go on. Stays inside of this package."""

    def __init__(self, code: str, cause: str) -> None:
        super().__init__(cause)
        self.fault = Fault(code, cause)


@dataclass
class Findings:
    """Collects log lines and faults; the same fault counts once."""

    log: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Adds a line to the log."""
        self.log.append(line)

    def fault(self, code: str, cause: str) -> None:
        """Adds a fault."""
        self.add(Fault(code, cause))

    def add(self, fault: Fault) -> None:
        """Adds a fault that was found elsewhere."""
        if fault not in self.faults:
            self.faults.append(fault)

    def report(self) -> BootReport:
        """What was found."""
        return BootReport(tuple(self.log), tuple(self.faults))
