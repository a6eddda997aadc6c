# SPDX-License-Identifier: Apache-2.0
"""``demo``: the main job on a sample build."""

from __future__ import annotations

from pathlib import Path

import click

from secure_ext.cli.front import shown_errors


@click.command()
@click.option("--chip", default="esp32c6", show_default=True, help="Target of the sample.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    default="secure-demo",
    show_default=True,
    help="New directory for the sample, its bundle and the virtual chip.",
)
def demo(chip: str, output: Path) -> None:
    """The main job on a sample build, and a rehearsal of it on a virtual chip. Needs no ESP-IDF and no device.

    \b
    Example:
        secure-provision demo --chip esp32s3
    """
    with shown_errors():
        from secure_ext.cli.demo import run_demo  # noqa: PLC0415 (loaded when used)

        for line in run_demo(chip, output):
            click.echo(line)
