# SPDX-License-Identifier: Apache-2.0
"""What the documentation says is true: its commands run, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.authority import with_identity_row
from support.kconfig_project import make_project
from support.platformio import as_platformio

from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.doctor import ALL_RULES
from secure_ext.policy.profile import check_profile
from secure_ext.policy.settings import SETTINGS
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN_ELSEWHERE = {"make demo", "make test", "pip install ."}
"""The set-up commands; whoever runs this test has run one of them."""

SECURE = SampleOptions(flash_encryption="release", secure_boot=True)
BURNING = re.compile(r"rehearse|provision\.py|secure-provision (demo|flash)")
FORCING_COLOUR = ("FORCE_COLOR", "CLICOLOR_FORCE")


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]
    return [line for line in lines if line not in RUN_ELSEWHERE and not line.startswith(("idf.py ", "pio "))]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project directory as a reader of the page would have it after `idf.py build`."""
    make_sample_build(tmp_path, "esp32c6", options=SECURE)
    return tmp_path


@pytest.fixture
def configured_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same before it: configured, in an ESP-IDF of a few Kconfig files."""
    return make_project(tmp_path_factory.mktemp("configured"))


def write_files_of(page: Path, folder: Path) -> None:
    """The CSV and the profile that a page shows and its commands use."""
    text = page.read_text(encoding="utf-8")
    for language, name in (("csv", "nvs.csv"), ("yaml", "production.yaml")):
        blocks = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        if blocks and f"--init {name}" not in text:
            (folder / name).write_text(blocks[0], encoding="utf-8")


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    if words[0] == "secure-provision":
        words[:1] = [sys.executable, "-m", "secure_ext"]
    elif words[0] == "python":
        words[0] = sys.executable
    environment = {name: value for name, value in os.environ.items() if name not in FORCING_COLOUR}
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def marks(page: Path) -> list[pytest.MarkDecorator]:
    """Quick are the first page, which does the whole job, and those on which no board or virtual chip is burned."""
    slow = [command for command in commands(page) if BURNING.search(command)]
    is_quick = not slow or (page.name == "README.md" and "--power-cuts" not in " ".join(slow))
    return [] if is_quick else [pytest.mark.long]


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name, marks=marks(page)) for page in PAGES if commands(page)]
)
def test_the_commands_of_a_page_run(page: Path, project: Path, configured_project: Path) -> None:
    listed = commands(page)
    write_files_of(page, project)
    if page.name == "identity.md":
        make_sample_build(project, "esp32c6", options=replace(SECURE, partitions=with_identity_row()))
    if page.name == "platformio.md":
        as_platformio(project / "build", "esp32-c6-devkitc-1")
    if "secure-provision keys generate rsa3072 signing_key.pem" not in listed:
        run("secure-provision keys generate rsa3072 signing_key.pem", project)
    if any("build/secure" in line for line in listed) and page.name != "README.md":
        run("secure-provision bundle --signing-key signing_key.pem", project)
    for command in listed:
        done = run(command, configured_project if "configur" in command else project)
        if "PORT" in command:
            shown = done.stdout + done.stderr
            assert done.returncode == 4 and "SE810" in shown, "without a board it must say that none answers"
        else:
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_rule_setting_and_chip_is_documented() -> None:
    doctor, profile, chips = ((ROOT / "docs" / name).read_text() for name in ("doctor.md", "profile.md", "chips.md"))
    for rule in ALL_RULES:
        assert f"| [{rule.code}](doctor/{rule.code}.md) | {rule.severity.value} | {rule.title} |" in doctor
    for setting in SETTINGS:
        assert f"`{setting.key}`" in profile and setting.help in profile
    for name in CHIP_NAMES:
        assert f"| {name} " in chips


def test_profiles_in_the_documentation_are_valid() -> None:
    yaml = pytest.importorskip("yaml")
    for page in PAGES:
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            if "schema: 1" in block:
                check_profile(yaml.safe_load(block), page)


def test_make_demo_does_what_the_readme_says(tmp_path: Path) -> None:
    done = run(f"secure-provision demo -o {shlex.quote(str(tmp_path / 'demo'))}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "DONE. Label this board" in done.stdout and "rehearsal: PASSED" in done.stdout
    shutil.rmtree(tmp_path / "demo")
