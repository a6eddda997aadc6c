# SPDX-License-Identifier: Apache-2.0
"""What `configure` refuses: it says why, and writes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from configure_runs import Run, configure, files_of
from support.kconfig_project import NVS, NVS_PROVIDER, TWO_OTA, make_project


@pytest.mark.parametrize(
    ("chip", "words", "components", "told"),
    [
        ("esp32c61", ["--secure-boot"], (NVS, NVS_PROVIDER), "SECURE_BOOT_V2_FORCE_ENABLE_ECDSA is n"),
        ("esp32c3", ["--scheme", "ecdsa256"], (NVS, NVS_PROVIDER), "ECC_SUPPORTED is n"),
        ("esp32c2", ["--key-size", "128"], (NVS, NVS_PROVIDER), "it needs !SECURE_BOOT, and SECURE_BOOT is y"),
        ("esp32", ["--no-secure-boot", "--download-mode", "disabled"], (NVS, NVS_PROVIDER), "ESP32_REV_MIN_FULL is 0"),
        ("esp32", ["--nvs", "hmac"], (NVS, NVS_PROVIDER), "SOC_HMAC_SUPPORTED is n"),
        ("esp32c3", [], (NVS,), "the component nvs_sec_provider takes no part in the build"),
        ("esp32c3", ["--nvs", "hmac"], (), "the component nvs_flash takes no part in the build"),
        ("esp32c3", ["--anti-rollback", "1"], (), "no component of the project defines BOOTLOADER_APP_ANTI_ROLLBACK"),
    ],
)
def test_what_stands_in_the_way_is_named_and_nothing_is_written(  # noqa: PLR0917 (a row of the table)
    chip: str, words: list[str], components: tuple[str, ...], told: str, run_cli: Run, tmp_path: Path
) -> None:
    project = make_project(tmp_path, chip, components=components)
    before = files_of(project)
    done = configure(run_cli, project, "--apply", *words)
    assert done.exit_code == 1
    assert "SE413" in done.output and told in done.output, done.output
    assert files_of(project) == before


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda project: (project / "build" / "config.env").unlink(), "SE113"),
        (lambda project: (project / "build" / "config.env").write_text("{"), "SE103"),
        (lambda project: (project / "build" / "project_description.json").unlink(), "SE102"),
        (lambda project: (project / "sdkconfig").unlink(), "SE114"),
        (lambda project: (project / "build" / "kconfigs.in").write_text("confg X\n  nonsense ((\n"), "SE115"),
        (lambda project: (project / "build" / "kconfigs.in").unlink(), "SE115"),
        (lambda project: (project.parent / "esp-idf" / "Kconfig").unlink(), "SE114"),
        (
            lambda project: (project.parent / "esp-idf" / "components" / "partition_table").rename(project / "x"),
            "SE108",
        ),
    ],
    ids=[
        "not configured",
        "half env",
        "no description",
        "no sdkconfig",
        "bad Kconfig",
        "no kconfigs.in",
        "no IDF",
        "CSV",
    ],
)
def test_a_project_that_cannot_be_read(
    spoil: Callable[[Path], object], code: str, run_cli: Run, tmp_path: Path
) -> None:
    project = make_project(tmp_path)
    spoil(project)
    before = files_of(project)
    done = configure(run_cli, project, "--apply")
    assert done.exit_code == 3
    assert code in done.output and "what to do:" in done.output, done.output
    assert files_of(project) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_project_that_may_not_be_written(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    project.chmod(0o500)
    try:
        done = configure(run_cli, project, "--apply")
    finally:
        project.chmod(0o700)
    assert done.exit_code == 3 and "SE117" in done.output


def test_a_folder_in_the_place_of_the_defaults(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (project / "sdkconfig.defaults.secure").mkdir()
    before = files_of(project)
    done = configure(run_cli, project, "--apply")
    assert done.exit_code == 3 and "SE117" in done.output
    assert files_of(project) == before


@pytest.mark.parametrize(
    "words",
    [
        ["--no-secure-boot", "--scheme", "ecdsa256"],
        ["--no-secure-boot", "--signed-by-build", "key.pem"],
        ["--flash-encryption", "off", "--key-size", "256"],
        ["--flash-encryption", "off", "--no-secure-boot", "--download-mode", "disabled"],
        ["--signed-by-build", ""],
        ["--signed-by-build", "key.pem\nCONFIG_EFUSE_VIRTUAL=y"],
        ["--signed-by-build", os.fsdecode(b"k\xff.pem")],
    ],
    ids=["scheme", "signed by", "key size", "download mode", "no name", "two lines", "no text"],
)
def test_a_wish_that_another_makes_void_is_refused(words: list[str], run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    before = files_of(project)
    done = configure(run_cli, project, "--apply", *words)
    assert done.exit_code == 2 and "SE414" in done.output, done.output
    assert files_of(project) == before


@pytest.mark.parametrize("name", ["partitions_secure.csv", "sdkconfig.defaults.secure"])
def test_a_file_of_somebody_else_is_left_alone(name: str, run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (project / name).write_text("mine, data, spiffs, , 64K\n")
    before = files_of(project)
    done = configure(run_cli, project, "--apply", "--nvs", "flash-encryption")
    assert done.exit_code == 3 and "SE119" in done.output, done.output
    assert files_of(project) == before


def test_a_table_that_is_no_text_and_one_that_the_doctor_refuses(run_cli: Run, tmp_path: Path) -> None:
    project = make_project(tmp_path, csv=TWO_OTA)
    table = project / "table.csv"
    for content, code, exit_code in (
        (TWO_OTA.encode() + b"# caf\xe9\n", "SE118", 3),
        (TWO_OTA.encode() + b"odd, data, spiffs, , 0x800, encrypted\n", "SE415", 1),
    ):
        table.write_bytes(content)
        before = files_of(project)
        done = configure(run_cli, project, "--apply")
        assert done.exit_code == exit_code and code in done.output, done.output
        assert files_of(project) == before
