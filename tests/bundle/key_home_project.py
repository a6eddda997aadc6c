# SPDX-License-Identifier: Apache-2.0
"""A project whose bundles have generated keys, and what a stranger may have done to its files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

Cli = Callable[..., Result]
FLASH_KEY = "flash_encryption_key.bin"
posix = pytest.mark.skipif(os.name != "posix", reason="file modes say nothing on this system")
SECURE = SampleOptions(flash_encryption="release", secure_boot=True, app_size=20_000)


class Project:
    """A project with a build, whose bundles are made through the command line with generated keys."""

    def __init__(self, root: Path, run_cli: Cli) -> None:
        self.root, self.run_cli = root, run_cli
        self.root.mkdir()
        self.profile = root / "profile.yaml"
        self.profile.write_text("schema: 1\nsecure_boot: {keys: [generate]}\n", encoding="utf-8")
        self.build()

    @property
    def build_dir(self) -> Path:
        return self.root / "build"

    def build(self, chip: str = "esp32c3", options: SampleOptions = SECURE) -> None:
        make_sample_build(self.root, chip, options=options)

    def bundle(self, *options: object, code: str | None = None) -> Result:
        """Makes the bundle; expects the error `code`, if given."""
        done = self.run_cli("bundle", "-B", self.build_dir, "--profile", self.profile, *options)
        assert (done.exit_code == 0) == (code is None), done.output
        assert code is None or f"error {code}:" in done.stderr, done.stderr
        return done

    def keys(self, output: Path | None = None) -> dict[str, bytes]:
        folder = (output or self.build_dir / "secure") / "keys"
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    @property
    def homes(self) -> list[Path]:
        return sorted((self.root / "secure_keys").glob("*"))

    def forget_homes(self) -> None:
        """Makes of a bundle one of an earlier release, which had no homes."""
        shutil.rmtree(self.root / "secure_keys", ignore_errors=True)
        file = self.build_dir / "secure" / "manifest.json"
        manifest = json.loads(file.read_text(encoding="utf-8"))
        del manifest["inputs"]["key_home"], manifest["inputs"]["build_dir"]
        file.write_text(json.dumps(manifest), encoding="utf-8")


def writable_by_others(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def somebody_elses(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user (chown), and this run is not root's")
    os.chown(path, 12345, 12345)
