# SPDX-License-Identifier: Apache-2.0
"""What is said of a secret that a command has just written for its user."""

from __future__ import annotations

from pathlib import Path

import click

from secure_ext.doctor.repository import Kept, kept_by_git


def warn_of_git(secret: Path) -> None:
    """Says on stderr that git would take the file in with the next ``git add .``, as rule SP083 does of a used key."""
    if kept_by_git(secret) is Kept.NOT_IGNORED:
        click.echo(
            f"warning: {secret} lies in a git repository that does not ignore it: `git add .` would take it in. Add "
            f"/{secret.name} to the .gitignore beside it, or move it out of the repository.",
            err=True,
        )
