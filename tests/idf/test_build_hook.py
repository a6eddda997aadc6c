# SPDX-License-Identifier: Apache-2.0
"""The build hook in a plain CMake project that has ESP-IDF's targets: when it runs, and how it fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from idf_trees import copy_component, without_the_package

from secure_ext.cli.esp_idf.after_build import bundle_after_build

MADE = "Secure provisioning bundle:"
PROJECT = """\
cmake_minimum_required(VERSION 3.20)
project(sample NONE)
{before}
set(CONFIG_SECURE_PROVISION_BUNDLE_ON_BUILD {option})
{bootloader_build}

# What ESP-IDF has: properties of the build, and targets that make the images.
function(idf_build_get_property var property)
    if(property STREQUAL "PYTHON")
        set(${{var}} "{python}" PARENT_SCOPE)
    elseif(property STREQUAL "BUILD_DIR")
        set(${{var}} "${{CMAKE_BINARY_DIR}}" PARENT_SCOPE)
    else()
        message(FATAL_ERROR "the hook asks for ${{property}}")
    endif()
endfunction()
include("{component}/project_include.cmake")
foreach(target IN ITEMS {targets})
    add_custom_target(${{target}} ALL COMMAND "${{CMAKE_COMMAND}}" -E echo "target ${{target}} is made")
endforeach()
{after}
"""
V1 = ("app", "gen_project_binary", "bootloader", "partition_table_bin")
V2 = ("app", "bootloader", "partition-table")
GENERATORS = [
    pytest.param(
        generator,
        marks=pytest.mark.skipif(
            not (shutil.which("cmake") and shutil.which(tool)), reason=f"cmake and {tool} are not on PATH"
        ),
    )
    for generator, tool in (("Ninja", "ninja"), ("Unix Makefiles", "make"))
]
each_generator = pytest.mark.parametrize("generator", GENERATORS)
ninja = pytest.mark.parametrize("generator", GENERATORS[:1])


class HookProject:
    """A CMake project around a sample build, with the component beside it; both paths have spaces."""

    def __init__(self, build: Path, component: Path, signing_key: Path) -> None:
        self.root = build.parent
        self.build = build
        self.component = component
        self.profile = self.root / "production profile.yaml"
        shutil.copy(signing_key, self.root / "signing key.pem")
        self.profile.write_text('schema: 1\nsecure_boot: {keys: ["signing key.pem"]}\n', encoding="utf-8")
        self.choose(SECURE_PROVISION_PROFILE=self.profile.name)

    def choose(self, **values: object) -> None:
        """Sets symbols in the build's configuration."""
        file = self.build / "config" / "sdkconfig.json"
        file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")

    def configure(
        self,
        generator: str,
        option: str = "ON",
        *,
        targets: tuple[str, ...] = V1,
        bootloader_build: str = "",
        python: str = "",
        before: str = "",
        after: str = "",
    ) -> subprocess.CompletedProcess[str]:
        text = PROJECT.format(
            option=option,
            bootloader_build=bootloader_build,
            python=Path(python or sys.executable).as_posix(),
            component=self.component.as_posix(),
            targets=" ".join(targets),
            before=before,
            after=after,
        )
        (self.root / "CMakeLists.txt").write_text(text, encoding="utf-8")
        return self._run("cmake", "-G", generator, "-S", self.root, "-B", self.build)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("cmake", "--build", self.build, *arguments)

    def _run(self, *command: object) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(part) for part in command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )


@pytest.fixture
def hook_project(new_build: Callable[..., Path], tmp_path: Path, signing_keys: dict[str, Path]) -> HookProject:
    component = copy_component(tmp_path / "my components")
    return HookProject(new_build(folder="a project"), component, signing_keys["rsa_0"])


def made_in(done: subprocess.CompletedProcess[str]) -> bool:
    assert done.returncode == 0, done.stdout
    return MADE in done.stdout


@each_generator
@pytest.mark.parametrize("targets", [V1, V2], ids=["v1", "v2"])
def test_it_runs_after_the_images_and_only_once(
    generator: str, targets: tuple[str, ...], hook_project: HookProject
) -> None:
    assert hook_project.configure(generator, targets=targets).returncode == 0
    first = hook_project.make()
    assert made_in(first)
    assert (hook_project.build / "secure" / "provision.py").is_file()
    for target in targets:
        assert first.stdout.index(f"target {target} is made") < first.stdout.index(MADE)
    assert not made_in(hook_project.make())


# Each makes the image of a data partition, late, from a file of the project, as projects and libraries do.
WRITES = """\
COMMAND "${CMAKE_COMMAND}" -E sleep 1
COMMAND "${CMAKE_COMMAND}" -E copy "${CMAKE_SOURCE_DIR}/front end" "${CMAKE_BINARY_DIR}/ota_data_initial.bin"
"""
DATA_IMAGES = {
    "spiffs, littlefs, nvs: flash waits for it": f"""
        add_custom_target(flash)
        add_custom_target(storage_bin ALL {WRITES})
        add_dependencies(flash storage_bin)""",
    "not in all, only flash waits for it": f"""
        add_custom_target(flash)
        add_custom_target(storage_bin {WRITES})
        add_dependencies(flash storage_bin)""",
    "development mode: encrypted-flash waits for it": f"""
        add_custom_target(encrypted-flash)
        add_custom_target(storage_bin {WRITES})
        add_dependencies(encrypted-flash storage_bin)""",
    "in all, flash was not told": f"""
        add_custom_target(flash)
        add_custom_target(storage_bin ALL {WRITES})""",
    "a web front end, which the image waits for": f"""
        add_custom_target(flash)
        add_custom_target(web {WRITES})
        add_custom_target(storage_bin ALL)
        add_dependencies(storage_bin web)
        add_dependencies(flash storage_bin)""",
    "told by the project at the end": f"""
        add_custom_target(flash)
        function(tell_flash)
            add_custom_target(storage_bin {WRITES})
            add_dependencies(flash storage_bin)
        endfunction()
        cmake_language(DEFER CALL tell_flash)""",
}


@ninja
@pytest.mark.parametrize("image", DATA_IMAGES.values(), ids=DATA_IMAGES)
def test_it_waits_for_data_images(generator: str, image: str, hook_project: HookProject) -> None:
    """A clean build finds the image there; one that makes the image anew bundles the new one."""
    made, source = hook_project.build / "ota_data_initial.bin", hook_project.root / "front end"
    source.write_bytes(made.read_bytes())
    made.unlink()
    done = hook_project.configure(generator, after=image)
    assert done.returncode == 0, done.stdout
    assert made_in(hook_project.make())
    source.write_bytes(b"\xfe" + source.read_bytes()[1:])
    assert made_in(hook_project.make())
    assert not made_in(hook_project.make())


@ninja
def test_what_works_with_the_bundle_comes_after_it(generator: str, hook_project: HookProject) -> None:
    after = """
        add_custom_target(publish ALL COMMAND "${CMAKE_COMMAND}" -E echo "target publish is made")
        add_custom_target(tell ALL COMMAND "${CMAKE_COMMAND}" -E echo "target tell is made")
        add_dependencies(publish secure-bundle)
        add_dependencies(tell publish)"""
    assert hook_project.configure(generator, after=after).returncode == 0
    done = hook_project.make()
    assert made_in(done)
    assert done.stdout.index(MADE) < done.stdout.index("target publish") < done.stdout.index("target tell")


@ninja
def test_what_is_not_in_all_stays_out(generator: str, hook_project: HookProject) -> None:
    after = "add_custom_target(upload COMMAND broken)\nadd_subdirectory(extra EXCLUDE_FROM_ALL)"
    extra = hook_project.root / "extra" / "CMakeLists.txt"
    extra.parent.mkdir()
    extra.write_text("add_custom_target(far ALL COMMAND broken)\n", encoding="utf-8")
    assert hook_project.configure(generator, after=after).returncode == 0
    assert made_in(hook_project.make())


@ninja
def test_a_cmake_that_is_too_old_is_an_error_that_says_what_to_do(generator: str, hook_project: HookProject) -> None:
    """ESP-IDF 5.x takes 3.16; the hook needs what came with 3.19."""
    done = hook_project.configure(generator, before="set(CMAKE_VERSION 3.18.6)")
    assert done.returncode != 0
    assert "error SE906" in done.stdout
    assert "what to do:" in done.stdout
    assert hook_project.configure(generator, "OFF", before="set(CMAKE_VERSION 3.18.6)").returncode == 0


def change_an_image(project: HookProject) -> None:
    file = project.build / "ota_data_initial.bin"
    file.write_bytes(b"\xfe" + file.read_bytes()[1:])


def change_the_configuration(project: HookProject) -> None:
    project.choose(SOMETHING_ELSE=True)


def change_the_profile(project: HookProject) -> None:
    project.profile.write_text(
        project.profile.read_text(encoding="utf-8") + "lockdown: {jtag: open}\n", encoding="utf-8"
    )


def change_the_key(project: HookProject) -> None:
    command = [sys.executable, "-m", "secure_ext", "keys", "generate", "rsa3072", str(project.root / "new.pem")]
    subprocess.run(command, check=True, capture_output=True)
    (project.root / "new.pem").replace(project.root / "signing key.pem")


def delete_the_bundle(project: HookProject) -> None:
    shutil.rmtree(project.build / "secure")


def choose_another_place(project: HookProject) -> None:
    project.choose(SECURE_PROVISION_OUTPUT_DIR="factory bundle")


@ninja
@pytest.mark.parametrize(
    "change",
    [
        change_an_image,
        change_the_configuration,
        change_the_profile,
        change_the_key,
        delete_the_bundle,
        choose_another_place,
    ],
)
def test_it_runs_again_when_something_changed(
    generator: str, change: Callable[[HookProject], None], hook_project: HookProject
) -> None:
    hook_project.configure(generator)
    assert made_in(hook_project.make())
    change(hook_project)
    assert made_in(hook_project.make())
    assert not made_in(hook_project.make())


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [("user_data", "one", "two"), ("custom_mac", "custom_mac\n020000000001\n", "custom_mac\n020000000002\n")],
)
def test_it_runs_again_when_what_goes_into_the_user_block_changed(
    key: str, before: str, after: str, hook_project: HookProject
) -> None:
    """A list of addresses that was made longer would otherwise never reach the boards."""
    file = hook_project.profile.with_name("block.csv")
    file.write_text(before, encoding="utf-8")
    profile = hook_project.profile.read_text(encoding="utf-8")
    hook_project.profile.write_text(f"{profile}{key}: block.csv\n", encoding="utf-8")
    assert any(MADE in line for line in bundle_after_build(hook_project.build))
    assert not list(bundle_after_build(hook_project.build))
    file.write_text(after, encoding="utf-8")
    assert any(MADE in line for line in bundle_after_build(hook_project.build))


@ninja
def test_touching_files_or_cleaning_is_no_change(generator: str, hook_project: HookProject) -> None:
    hook_project.configure(generator)
    assert made_in(hook_project.make())
    for path in hook_project.build.rglob("*.bin"):
        path.touch()
    hook_project.make("--target", "clean")
    assert not made_in(hook_project.make())


@each_generator
def test_an_error_fails_the_build_with_its_code_and_cure(generator: str, hook_project: HookProject) -> None:
    (hook_project.root / "signing key.pem").unlink()
    hook_project.configure(generator)
    done = hook_project.make()
    assert done.returncode != 0
    assert "error SE6" in done.stdout
    assert "what to do:" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (hook_project.build / "secure").exists()


@ninja
def test_an_error_of_the_doctor_fails_the_build_unless_the_menu_says_otherwise(
    generator: str, hook_project: HookProject
) -> None:
    hook_project.choose(EFUSE_VIRTUAL=True)
    hook_project.configure(generator)
    done = hook_project.make()
    assert done.returncode != 0
    assert "error SE404" in done.stdout
    hook_project.choose(SECURE_PROVISION_FAIL_ON_DOCTOR_ERRORS=False)
    tolerant = hook_project.make()
    assert tolerant.returncode == 0
    assert "warning: no bundle was made" in tolerant.stdout
    assert not (hook_project.build / "secure").exists()


@ninja
@pytest.mark.parametrize(
    "settings", [{"option": "OFF"}, {"bootloader_build": "set(BOOTLOADER_BUILD 1)"}], ids=["off", "bootloader"]
)
def test_there_is_no_target_when_it_is_off(generator: str, settings: dict[str, str], hook_project: HookProject) -> None:
    assert hook_project.configure(generator, **settings).returncode == 0  # type: ignore[arg-type]
    assert "secure-bundle" not in hook_project.make("--target", "help").stdout


@ninja
def test_the_package_comes_from_the_component_when_it_is_not_installed(
    generator: str, hook_project: HookProject, tmp_path: Path
) -> None:
    python = without_the_package(tmp_path)
    assert hook_project.configure(generator, python=python).returncode == 0
    done = hook_project.make()
    assert made_in(done)


@ninja
def test_a_missing_package_is_an_error_that_says_what_to_do(
    generator: str, hook_project: HookProject, tmp_path: Path
) -> None:
    shutil.rmtree(hook_project.component / "secure_ext")
    done = hook_project.configure(generator, python=without_the_package(tmp_path))
    assert done.returncode != 0
    assert "error SE901" in done.stdout
    assert "-m pip install idf-secure-provision" in done.stdout
