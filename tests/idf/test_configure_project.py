# SPDX-License-Identifier: Apache-2.0
"""The component in a real ESP-IDF project, configured by the real idf.py with a stand-in for the cross compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from idf_trees import COMPLAINT, Tree, copy_component, each_tree

pytestmark = pytest.mark.skipif(
    os.name == "nt" or not all(shutil.which(tool) for tool in ("cmake", "ninja", "gcc", "g++")),
    reason="needs cmake, ninja and a host compiler on PATH, and a shell for the stand-in compiler",
)

# Passes on to the host's tool what that understands: CMake only asks whether the compiler is there.
STAND_IN = """\
#!/bin/sh
case $0$1 in *xtensa*-dumpmachine) echo xtensa; exit;; esac
tool=${0##*-}
for argument in "$@"; do
    shift
    case $argument in
        -m*|--specs=*|-specs=*|@*) ;;
        *) set -- "$@" "$argument" ;;
    esac
done
exec "$tool" "$@"
"""
TOOLS = ("gcc", "g++", "ar", "ranlib", "as", "ld", "nm", "objcopy", "objdump", "readelf", "size", "strip")
V1 = """\
cmake_minimum_required(VERSION 3.22)
set(EXTRA_COMPONENT_DIRS "{component}")
include($ENV{{IDF_PATH}}/tools/cmake/project.cmake)
{minimal}
project(sample)
"""
V2 = """\
cmake_minimum_required(VERSION 3.22)
set(EXTRA_COMPONENT_DIRS "{component}")
include($ENV{{IDF_PATH}}/tools/cmakev2/idf.cmake)
project(sample C CXX ASM)
idf_project_default()
"""
MINIMAL = "idf_build_set_property(MINIMAL_BUILD ON)"
MINIMAL_BEFORE_5_5 = "set(COMPONENTS main)"
# Their sources are submodules, which an exported tree lacks; configuring needs no more than their names.
SUBMODULES = ("heap", "json", "mbedtls", "mqtt")
SYMBOL = re.compile(r"^(?:# )?CONFIG_(SECURE_PROVISION_\w+)", re.MULTILINE)


@pytest.fixture(params=[V1, V2], ids=["v1", "v2"])
def project(request: pytest.FixtureRequest, tree: Tree, tmp_path: Path) -> Path:
    tree.skip_without_environment()
    skip_without_build_system(request.param, tree)
    component = copy_component(tmp_path / "extra")
    folder = tmp_path / "project"
    minimal = MINIMAL if tree.version >= (5, 5) else MINIMAL_BEFORE_5_5
    write_project(folder, request.param.format(component=component.as_posix(), minimal=minimal), component.name)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """PATH with stand-ins for the compilers of all chips; and no look at submodules, which an exported tree lacks."""
    folder = tmp_path / "compiler"
    folder.mkdir()
    xtensa = (f"xtensa-{name}-elf" for name in ("esp", "esp32", "esp32s2", "esp32s3"))
    for prefix in ("riscv32-esp-elf", *xtensa):
        for tool in TOOLS:
            script = folder / f"{prefix}-{tool}"
            script.write_text(STAND_IN, encoding="utf-8")
            script.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "IDF_SKIP_CHECK_SUBMODULES": "1"}


def skip_without_build_system(cmake: str, tree: Tree) -> None:
    if cmake == V2 and not (tree.root / "tools" / "cmakev2" / "idf.cmake").is_file():
        pytest.skip("this ESP-IDF has no build system v2")


def write_project(folder: Path, cmake: str, requires: str) -> None:
    """A project with an empty app."""
    (folder / "main").mkdir(parents=True)
    (folder / "CMakeLists.txt").write_text(cmake, encoding="utf-8")
    (folder / "main" / "main.c").write_text("void app_main(void) {}\n", encoding="utf-8")
    registration = f"idf_component_register(SRCS main.c REQUIRES {requires})\n"
    (folder / "main" / "CMakeLists.txt").write_text(registration, encoding="utf-8")
    for name in SUBMODULES:
        (folder / "components" / name).mkdir(parents=True)
        (folder / "components" / name / "CMakeLists.txt").write_text("idf_component_register()\n", encoding="utf-8")


def add_spiffs(tree: Tree, project: Path) -> None:
    """SPIFFS without its sources, which are a submodule too; its menu and what makes images are not."""
    spiffs = project / "components" / "spiffs"
    spiffs.mkdir()
    for name in ("project_include.cmake", "Kconfig"):
        shutil.copy(tree.root / "components" / "spiffs" / name, spiffs)
    (spiffs / "CMakeLists.txt").write_text("idf_component_register()\n", encoding="utf-8")


def configure(tree: Tree, project: Path, environment: dict[str, str]) -> None:
    done = tree.idf_py(project, "-D", "IDF_TARGET=esp32c6", "reconfigure", environment=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def ask_ninja(project: Path, *question: str) -> str:
    ninja = shutil.which("ninja") or ""
    command = [ninja, "-C", str(project / "build"), "-t", *question]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout


@each_tree
def test_the_menu_and_the_target_are_there(tree: Tree, project: Path, environment: dict[str, str]) -> None:
    (project / "sdkconfig.defaults").write_text("CONFIG_SECURE_PROVISION_BUNDLE_ON_BUILD=y\n", encoding="utf-8")
    configure(tree, project, environment)
    sdkconfig = (project / "sdkconfig").read_text(encoding="utf-8")
    assert len(set(SYMBOL.findall(sdkconfig))) == 7
    assert "secure-bundle: phony" in ask_ninja(project, "targets", "all")
    question = ("query", "secure-bundle")
    before, _, after = ask_ninja(project, *question).partition("outputs:")
    assert all(re.search(rf"(^|[ /]){image}$", before, re.MULTILINE) for image in ("app", "bootloader"))
    assert re.search(r"partition[-_]table(_bin)?$", before, re.MULTILINE)
    assert re.search(r"\ball$", after, re.MULTILINE)

    configure(tree, project, environment)
    assert (project / "sdkconfig").read_text(encoding="utf-8") == sdkconfig
    assert ask_ninja(project, *question) == before + "outputs:" + after


@each_tree
def test_off_means_no_target_but_the_actions_of_idf_py(tree: Tree, project: Path, environment: dict[str, str]) -> None:
    configure(tree, project, environment)
    assert "# CONFIG_SECURE_PROVISION_BUNDLE_ON_BUILD is not set" in (project / "sdkconfig").read_text(encoding="utf-8")
    assert "secure-bundle" not in ask_ninja(project, "targets", "all")
    if tree.version >= (6, 0):
        shown = tree.idf_py(project, "--help", environment=environment)
        assert "secure-plan" in shown.stdout
        assert not COMPLAINT.search(shown.stdout + shown.stderr), shown.stderr


# Data partitions and what ESP-IDF makes their images with; `front_end` is what a project runs before.
PARTITIONS = """\
nvs, data, nvs, 0x9000, 0x6000
app, app, factory, 0x10000, 1M
web, data, spiffs, , 0x40000
files, data, fat, , 0x80000
other, data, nvs, , 0x6000
"""
DATA_IMAGES = """\
idf_component_register(SRCS main.c REQUIRES {component} spiffs fatfs nvs_flash)
add_custom_target(front_end COMMAND true)
spiffs_create_partition_image(web ../web FLASH_IN_PROJECT DEPENDS front_end)
fatfs_create_spiflash_image(files ../web FLASH_IN_PROJECT)
nvs_create_partition_image(other ../other.csv FLASH_IN_PROJECT)
"""


@each_tree
def test_the_bundle_waits_for_the_images_of_data_partitions(
    tree: Tree, project: Path, environment: dict[str, str]
) -> None:
    """What ESP-IDF's own functions add to `flash`, and what those wait for: asked of the build graph itself."""
    (project / "web").mkdir()
    (project / "web" / "index.html").write_text("hello", encoding="utf-8")
    (project / "other.csv").write_text("key,type,encoding,value\nn,namespace,,\n", encoding="utf-8")
    (project / "partitions.csv").write_text(PARTITIONS, encoding="utf-8")
    (project / "sdkconfig.defaults").write_text(
        "CONFIG_SECURE_PROVISION_BUNDLE_ON_BUILD=y\nCONFIG_PARTITION_TABLE_CUSTOM=y\n", encoding="utf-8"
    )
    (project / "main" / "CMakeLists.txt").write_text(
        DATA_IMAGES.format(component="idf-secure-provision"), encoding="utf-8"
    )
    add_spiffs(tree, project)
    configure(tree, project, environment)

    waits_for = what_is_made_before(project, "secure-bundle")
    for image in ("spiffs_web_bin", "fatfs_files_bin", "nvs_other_bin", "front_end"):
        assert image in waits_for, image
    flash = what_is_made_before(project, "flash")
    assert flash - waits_for <= {"flash", "flash.util"}
    assert "secure-bundle" not in flash
    shown = (project / "build" / "flasher_args.json").read_text(encoding="utf-8")
    assert all(f"{image}.bin" in shown for image in ("web", "files", "other"))


def what_is_made_before(project: Path, target: str) -> set[str]:
    """The names of all custom targets that a target waits for, directly or not, in the graph that ninja follows."""
    graph = ask_ninja(project, "graph", target)
    return {Path(label).name for label in re.findall(r'label="([^"]+)"', graph)}
