# SPDX-License-Identifier: Apache-2.0
"""A project as ``idf.py reconfigure`` leaves it: nothing needs to be built yet."""

from __future__ import annotations

from pathlib import Path

from secure_ext.build.build import PROJECT_DESCRIPTION, Build, offset_of, revision_of
from secure_ext.build.files import read_json
from secure_ext.build.foreign import refuse_foreign
from secure_ext.build.recorded_paths import find_recorded
from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.errors import InputError
from secure_ext.formats.partition_table import DEFAULT_TABLE_OFFSET, PartitionTable
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.frozen import frozen

_ENVIRONMENT = "config.env"
_DEFAULTS = "sdkconfig.defaults"


@frozen
class ConfiguredProject:
    """What a configure says about itself.

    Attributes:
        build_dir: the build directory.
        project_dir: the project.
        sdkconfig: its sdkconfig.
        idf_path: the ESP-IDF.
        chip: target name.
        environment: what ESP-IDF sets while it reads its Kconfig files (``tools/kconfig_new/config.env.in``).
        defaults: the files that give a new sdkconfig its values, as ESP-IDF's SDKCONFIG_DEFAULTS names them.
    """

    build_dir: Path
    project_dir: Path
    sdkconfig: Path
    idf_path: Path
    chip: str
    environment: dict[str, str]
    defaults: tuple[str, ...]


def read_configured(build_dir: Path) -> ConfiguredProject:
    """What a configure has left in a build directory.

    Raises InputError SE102, SE103, SE105, SE108, SE113, SE114, SE150 to SE154.
    """
    environment_file = build_dir / _ENVIRONMENT
    if not (build_dir / PROJECT_DESCRIPTION).is_file():
        refuse_foreign(build_dir)
    if not environment_file.is_file():
        raise InputError(
            "SE113",
            f"{build_dir} is not the build directory of a project that was configured here: it has no {_ENVIRONMENT}",
            cure="configure it with `idf.py set-target CHIP` or `idf.py reconfigure`; if its build directory is "
            "elsewhere, give it with -B",
            place=str(build_dir),
        )
    environment = {name: str(value) for name, value in read_json(environment_file, build_dir).items()}
    description = read_json(build_dir / PROJECT_DESCRIPTION, build_dir)
    project_dir = find_recorded(build_dir, description.get("build_dir"), description.get("project_path"))
    sdkconfig = find_recorded(build_dir, description.get("build_dir"), description.get("config_file"))
    idf_path = Path(environment.get("IDF_PATH", ""))
    chip = environment.get("IDF_TARGET", "")
    if chip not in FACTS:
        raise InputError(
            "SE105",
            f"{build_dir} is configured for {chip or 'no chip'}, which is not supported",
            cure=f"configure for one of {', '.join(sorted(FACTS))}",
            place=str(environment_file),
        )
    if project_dir is None or sdkconfig is None or not (idf_path / "Kconfig").is_file():
        missing = "its project" if project_dir is None else "its sdkconfig" if sdkconfig is None else "its ESP-IDF"
        raise InputError(
            "SE114",
            f"{build_dir} was configured elsewhere: {missing} is not there any more",
            cure="configure it here with `idf.py reconfigure`",
            place=str(build_dir),
        )
    defaults = str(description.get("config_defaults", "")).split(";")
    if defaults == [""]:
        defaults = [_DEFAULTS] if (project_dir / _DEFAULTS).is_file() else []
    return ConfiguredProject(build_dir, project_dir, sdkconfig, idf_path, chip, environment, tuple(defaults))


def not_built_yet(project: ConfiguredProject, config: SdkConfig, partitions: PartitionTable) -> Build:
    """The build that a project would become, with no file in it."""
    return Build(
        build_dir=project.build_dir,
        project_dir=project.project_dir,
        sdkconfig=project.sdkconfig,
        project_name=project.project_dir.name,
        chip=project.chip,
        idf_version=f"v{version}" if (version := project.environment.get("IDF_VERSION")) else None,
        config=config,
        config_differences=(),
        bootloader_flash=None,
        flash_size_setting=config.text("ESPTOOLPY_FLASHSIZE") or "",
        flash_mode=config.text("ESPTOOLPY_FLASHMODE") or "",
        flash_freq=config.text("ESPTOOLPY_FLASHFREQ") or "",
        bootloader_offset=offset_of(config, "BOOTLOADER_OFFSET_IN_FLASH", FACTS[project.chip].bootloader_offset),
        table_offset=offset_of(config, "PARTITION_TABLE_OFFSET", DEFAULT_TABLE_OFFSET),
        partitions=partitions,
        files=(),
        min_revision=revision_of(config, {}, project.chip, "min") or 0,
        max_revision=revision_of(config, {}, project.chip, "max"),
    )
