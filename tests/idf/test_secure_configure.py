# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F811 (a fixture)
"""What `configure` sets in a real ESP-IDF, ESP-IDF's own build finds again: idf.py reconfigure, with kconfgen."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from idf_trees import Tree, each_tree
from test_configure_project import (  # noqa: F401 (a fixture)
    MINIMAL,
    MINIMAL_BEFORE_5_5,
    V1,
    V2,
    add_spiffs,
    environment,
    pytestmark,
    skip_without_build_system,
    write_project,
)

from secure_ext.build.sdkconfig import SdkConfig, read_built_config, read_sdkconfig
from secure_ext.station.chip_facts import FACTS

__all__ = ["pytestmark"]

Run = Callable[..., Result]
FEATURES = {
    "recommended": [],
    "flash encryption": ["--no-secure-boot"],
    "secure boot": ["--flash-encryption", "off"],
    "development": ["--flash-encryption", "development", "--nvs", "flash-encryption"],
    "the build signs": ["--signed-by-build", "key.pem", "--nvs", "flash-encryption", "--download-mode", "disabled"],
}
HELLO_WORLD = "nvs_flash nvs_sec_provider"
OVER_THE_AIR = "nvs_flash nvs_sec_provider app_update spiffs"
SPIFFS_TABLE = """\
# Name, Type, SubType, Offset, Size, Flags
nvs,\tdata,\tnvs,\t,\t0x6000,
otadata,\tdata,\tota,\t,\t0x2000,
ota_0,\tapp,\tota_0,\t,\t0x180000,
ota_1,\tapp,\tota_1,\t,\t0x180000,
storage,\tdata,\tspiffs,\t,\t0x80000,
"""


@pytest.fixture(params=[(V1, HELLO_WORLD), (V1, OVER_THE_AIR), (V2, HELLO_WORLD)], ids=["hello_world", "ota", "v2"])
def project(request: pytest.FixtureRequest, tree: Tree, tmp_path: Path) -> Path:
    tree.skip_without_environment()
    folder = tmp_path / "project"
    cmake, requires = request.param
    skip_without_build_system(cmake, tree)
    minimal = MINIMAL if tree.version >= (5, 5) else MINIMAL_BEFORE_5_5
    write_project(folder, cmake.format(component=folder / "components", minimal=minimal), requires)
    if requires == OVER_THE_AIR:
        add_spiffs(tree, folder)
        (folder / "partitions.csv").write_text(SPIFFS_TABLE, encoding="utf-8")
        (folder / "sdkconfig.defaults").write_text(
            "CONFIG_PARTITION_TABLE_CUSTOM=y\nCONFIG_ESPTOOLPY_FLASHSIZE_4MB=y\n", encoding="utf-8"
        )
    return folder


def reconfigure(tree: Tree, project: Path, environment: dict[str, str], *words: str) -> SdkConfig:
    done = tree.idf_py(project, *words, "reconfigure", environment=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return read_built_config(project / "build")


@each_tree
@pytest.mark.parametrize(
    "chip",
    [pytest.param(chip, marks=[] if chip == "esp32c3" else pytest.mark.long) for chip in FACTS],
)
def test_idf_py_gives_the_same_values(
    chip: str, tree: Tree, project: Path, environment: dict[str, str], run_cli: Run
) -> None:
    """For each set of features, in the sdkconfig that is there and in a new one: by idf.py, then by its kconfgen."""
    if not (tree.root / "components" / "esp_hw_support" / "port" / chip / "Kconfig.hw_support").is_file():
        pytest.skip(f"this ESP-IDF has no {chip}")
    target = ("--preview", "-D", f"IDF_TARGET={chip}")
    built, facts = reconfigure(tree, project, environment, *target), FACTS[chip]
    if (built.integer("ESP_REV_MAX_FULL") or facts.least_revision) < facts.least_revision:
        refused = run_cli("configure", "-B", str(project / "build"), "--yes")
        assert (refused.exit_code, "SE415" in refused.output, "SP100" in refused.output) == (1, True, True)
        pytest.skip(f"this ESP-IDF knows only samples of the {chip}, which no plan is for: that is said")
    files_before = {name: (project / name).read_bytes() for name in project_files(project)}
    key = project / "key.pem"
    assert run_cli("keys", "generate", next(iter(facts.schemes), "rsa3072"), str(key)).exit_code == 0
    for name, words in FEATURES.items():
        is_signed = name in ("secure boot", "the build signs")
        if is_signed and not set(facts.schemes) - set(facts.schemes_with_errata):
            continue
        for made in project_files(project) - files_before.keys():
            (project / made).unlink()
        for file, content in files_before.items():
            (project / file).write_bytes(content)
        done = run_cli("configure", "-B", str(project / "build"), "--yes", "--apply", "--format", "json", *words)
        assert done.exit_code == 0, f"{name}: {done.output}"
        settings = {one["symbol"]: one["value"] or None for one in json.loads(done.stdout)["settings"]}
        examined = run_cli("doctor", "-B", str(project / "build"), "--configuration")
        assert examined.exit_code == 0, f"{name}: {examined.output}"
        again = run_cli("configure", "-B", str(project / "build"), "--check", *words)
        assert again.exit_code == 0, f"{name}: {again.output}"
        assert values(kconfgen(tree, project), settings) == settings, name
        shown = (project / "sdkconfig.defaults.secure").read_text(encoding="utf-8")
        defaults = shown.partition('idf.py -D SDKCONFIG_DEFAULTS="')[2].partition('"')[0]
        if words:
            (project / "sdkconfig").unlink()
            assert values(kconfgen(tree, project, *defaults.split(";")), settings) == settings, name
            continue
        assert values(reconfigure(tree, project, environment, *target), settings) == settings, name
        (project / "sdkconfig").unlink()
        anew = reconfigure(tree, project, environment, *target, "-D", f"SDKCONFIG_DEFAULTS={defaults}")
        assert values(anew, settings) == settings, name
        assert values(read_sdkconfig(project / "sdkconfig"), settings) == settings, name
        shutil.rmtree(project / "build")  # its cache knows these defaults
        (project / "sdkconfig").write_bytes(files_before["sdkconfig"])
        reconfigure(tree, project, environment, *target)


def kconfgen(tree: Tree, project: Path, *defaults: str) -> SdkConfig:
    """The values that ESP-IDF's own program gives the project, as ``tools/cmake/kconfig.cmake`` runs it."""
    made = project / "build" / "sdkconfig.made"
    words = ["--list-separator=semicolon", "--kconfig", str(tree.root / "Kconfig")]
    words += ["--sdkconfig-rename", str(tree.root / "sdkconfig.rename"), "--config", str(project / "sdkconfig")]
    for name in defaults:
        words += ["--defaults", str(project / name)]
    words += ["--env-file", str(project / "build" / "config.env"), "--output", "config", str(made)]
    subprocess.run([tree.python, "-m", "kconfgen", *words], check=True, capture_output=True)
    return read_sdkconfig(made)


def project_files(project: Path) -> set[str]:
    return {file.name for file in project.iterdir() if file.is_file() and file.name != "key.pem"}


def values(config: SdkConfig, names: dict[str, object]) -> dict[str, object]:
    """A bool that is off and one that is not there are the same."""
    return {name: config.values.get(name) or None for name in names}
