# SPDX-License-Identifier: Apache-2.0
"""A build takes no files of this computer with it that are not its own, and has no library loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result


def name_app(build: Path, file: str) -> None:
    path = build / "flasher_args.json"
    args = json.loads(path.read_text())
    app = args["app"]
    app["file"] = args["flash_files"][app["offset"]] = file
    path.write_text(json.dumps(args))


@pytest.mark.parametrize("way", ["absolute", "relative", "link"])
def test_a_file_from_elsewhere_needs_a_word_from_a_person(
    way: str, new_build: Callable[..., Path], tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    build, elsewhere = new_build(), tmp_path / "elsewhere" / "app.bin"
    elsewhere.parent.mkdir()
    app = build / json.loads((build / "flasher_args.json").read_text())["app"]["file"]
    app.rename(elsewhere)
    if way == "link":
        app.symlink_to(elsewhere)
    else:
        name_app(build, str(elsewhere) if way == "absolute" else "../../elsewhere/app.bin")
    refused = run_cli("plan", "-B", build)
    assert (refused.exit_code, "SE670" in refused.stderr, str(elsewhere) in refused.stderr) == (3, True, True)
    allowed = run_cli("plan", "-B", build, "--allow-files-in", elsewhere.parent)
    assert allowed.exit_code == 0, allowed.output


def test_files_of_project_and_esp_idf_are_its_own(
    new_build: Callable[..., Path], tmp_path: Path, run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    build, idf = new_build(), tmp_path / "idf"
    idf.mkdir()
    app = build / json.loads((build / "flasher_args.json").read_text())["app"]["file"]
    (build.parent / "CMakeLists.txt").touch()
    content = app.read_bytes()
    for folder, code in ((build.parent, 0), (idf, 3)):
        (folder / "prebuilt.bin").write_bytes(content)
        name_app(build, str(folder / "prebuilt.bin"))
        assert run_cli("plan", "-B", build).exit_code == code
    monkeypatch.setenv("IDF_PATH", str(idf))
    assert run_cli("plan", "-B", build).exit_code == 0


def test_a_build_cannot_call_the_whole_disk_its_project(
    new_build: Callable[..., Path], tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    build = new_build()
    path = build / "project_description.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "project_path": "/", "build_dir": "/"}))
    app = build / json.loads((build / "flasher_args.json").read_text())["app"]["file"]
    app.rename(tmp_path / "app.bin")
    name_app(build, str(tmp_path / "app.bin"))
    assert "SE670" in run_cli("plan", "-B", build).stderr


def test_a_library_is_loaded_only_if_a_person_names_it(
    new_build: Callable[..., Path], run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECURE_PROVISION_PKCS11_MODULE", raising=False)
    build = new_build()
    profile = build.parent / "profile.yaml"
    profile.write_text("schema: 1\nsecure_boot:\n  keys: ['pkcs11:token=t;object=o?module-path=/tmp/x.so']\n")
    path = build / "config" / "sdkconfig.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "SECURE_PROVISION_PROFILE": str(profile)}))
    refused = run_cli("bundle", "-B", build)
    assert (refused.exit_code, "SE659" in refused.stderr) == (2, True), refused.output
    assert "SE659" not in run_cli("plan", "-B", build, "--profile", profile).stderr
