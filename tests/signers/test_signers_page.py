# SPDX-License-Identifier: Apache-2.0
"""The recipes of docs/signers.md do what the page says, in a shell, one after the other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from signer_world import WORDS, lock
from soft_hsm import needs_soft_hsm

from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "signers.md"
KINDS = ("PEM file with a passphrase", "HSM", "Signing service")
SECTIONS = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
RECIPES = [section for section in SECTIONS if section.startswith(KINDS)]


def blocks(section: str) -> list[str]:
    found = re.findall(r"^```bash\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    return [block.replace("secure-provision ", f"{sys.executable} -m secure_ext ") for block in found]


def test_the_page_has_a_recipe_for_each_kind() -> None:
    assert [section.partition("\n")[0] for section in SECTIONS] == [
        "Spare keys",
        *KINDS,
    ]
    assert all(blocks(section) for section in RECIPES)


@pytest.mark.long
@pytest.mark.parametrize("section", RECIPES, ids=lambda section: section.partition("\n")[0])
def test_the_recipe_works(section: str, tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    if section.startswith("HSM"):
        module = needs_soft_hsm()
        if module != "/usr/lib/softhsm/libsofthsm2.so" or shutil.which("pkcs11-tool") is None:
            pytest.skip("pkcs11-tool is not installed, or SoftHSM is not where the page says")
    make_sample_build(tmp_path, "esp32c6", options=SampleOptions(flash_encryption="release", secure_boot=True))
    write_secret_file(tmp_path / "signing_key.pem", generate_signing_key(SignatureScheme.RSA3072))
    lock(tmp_path / "signing_key.pem", tmp_path / "locked_key.pem")
    write_secret_file(tmp_path / "passphrase.txt", f"{WORDS}\n".encode())
    done = subprocess.run(
        ["bash", "-euc", "\n".join(blocks(section))],  # noqa: S607 (the bash of the reader)
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("SOFTHSM2")},
        capture_output=True,
        encoding="utf-8",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "build" / "secure" / "manifest.json").is_file()
