# SPDX-License-Identifier: Apache-2.0
"""The commands of the console script that are actions of idf.py."""

from __future__ import annotations

from typing import NamedTuple


class Action(NamedTuple):
    """A command of the console script as an action of idf.py.

    Attributes:
        command: name of the command.
        name: name of the action.
        example: what the help shows, without ``idf.py``.
        builds: whether the project is built first.
    """

    command: str
    name: str
    example: str
    builds: bool = False


ACTIONS = (
    Action("configure", "secure-configure", "secure-configure --apply"),
    Action("doctor", "secure-doctor", "secure-doctor --profile production.yaml"),
    Action("plan", "secure-plan", "secure-plan --flash-encryption release"),
    Action("bundle", "secure-provision", "secure-provision --signing-key signing_key.pem", builds=True),
    Action("verify", "secure-verify", "secure-verify"),
    Action("rehearse", "secure-rehearse", "secure-rehearse"),
    Action("flash", "secure-flash", "-p PORT secure-flash"),
    Action("audit", "secure-audit", "-p PORT secure-audit"),
    Action("ota", "secure-ota", "secure-ota --signing-key signing_key.pem"),
    Action("update", "secure-update", "-p PORT secure-update --signing-key signing_key.pem"),
)
"""All there will be; an action exists as soon as its command does."""
ACTION_NAMES = {action.command: f"idf.py {action.name}" for action in ACTIONS}
"""The commands as people type them who work with idf.py."""
