# SPDX-License-Identifier: Apache-2.0
"""The actions, driven through click as idf.py does it, with stand-ins for idf.py's own modules."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from idf_py_project import Properties, change_config

import secure_ext
from secure_ext.cli import front, main
from secure_ext.cli.command_names import COMMAND_NAMES, as_typed_here
from secure_ext.cli.esp_idf.idf_actions import ACTION_NAMES, ACTIONS
from secure_ext.errors import DeviceError
from secure_ext.idf import action_extensions
from secure_ext.sample.options import SampleOptions

HEAVY = {"cryptography", "esptool", "espefuse", "espsecure", "numpy", "yaml", "rich"}


class FatalError(RuntimeError):
    """As in idf_py_actions.errors."""


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Stand-ins for idf.py's modules; gives what was built."""
    targets: list[str] = []
    errors, tools = types.ModuleType("idf_py_actions.errors"), types.ModuleType("idf_py_actions.tools")
    vars(errors)["FatalError"] = lambda text, _: FatalError(text)
    vars(tools)["ensure_build_directory"] = lambda *_: None
    vars(tools)["run_target"] = lambda target, _: targets.append(target)
    package = types.ModuleType("idf_py_actions")
    for module in (package, errors, tools):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    yield targets


@pytest.fixture
def run_action() -> Callable[..., Any]:
    """Runs an action with a command line, as a click command made of its dictionary."""

    def run(name: str, build_dir: Path, *arguments: object) -> Any:
        action = action_extensions({}, ".")["actions"][name]

        @click.pass_context
        def callback(ctx: click.Context, /, **options: Any) -> None:
            action["callback"](name, ctx, Properties(build_dir=str(build_dir), port=None, baud=460800), **options)

        declared = [dict(option) for option in action["options"]]
        params = [click.Option(option.pop("names"), **option) for option in declared if option.pop("scope", "") == ""]
        command = click.Command(name, callback=callback, params=[*params], help=action["help"])
        return CliRunner().invoke(command, [str(argument) for argument in arguments])

    return run


def test_every_action_has_its_commands_options_but_the_build_directory() -> None:
    actions = action_extensions({}, ".")["actions"]
    assert set(actions) == {action.name for action in ACTIONS if action.command in main.cli.commands}
    for action in ACTIONS:
        if action.command not in main.cli.commands:
            continue
        wanted = {param.name for param in main.cli.commands[action.command].params if isinstance(param, click.Option)}
        offered = {
            param.name for option in actions[action.name]["options"] for param in [click.Option(list(option["names"]))]
        }
        assert offered == wanted - {"build_dir"}


def test_rehearse_and_flash_take_the_bundle_of_the_build_directory(
    run_action: Callable[..., Any], new_build: Callable[..., Path]
) -> None:
    """There is none yet: both say so; and flash asks for idf.py's own port first."""
    build = new_build()
    rehearsed = run_action("secure-rehearse", build)
    assert (rehearsed.exit_code, str(build / "secure") in rehearsed.output) == (3, True)
    assert "SE733" in str(run_action("secure-flash", build).exception)


def test_audit_takes_the_plan_of_the_build_directory(
    run_action: Callable[..., Any], new_build: Callable[..., Path], tmp_path: Path
) -> None:
    """It asks for a board first, and then for the bundle, which is not there yet."""
    build = new_build()
    assert "SE873" in str(run_action("secure-audit", build).exception)
    audited = run_action("secure-audit", build, "--summary", tmp_path / "summary.json")
    assert (audited.exit_code, str(build / "secure") in audited.output) == (3, True)


def test_verify_and_ota_take_the_bundle_of_the_build_directory(
    run_action: Callable[..., Any], new_build: Callable[..., Path], signing_keys: dict[str, Path]
) -> None:
    build, key = new_build(), ("--signing-key", signing_keys["rsa_0"])
    assert run_action("secure-provision", build, *key).exit_code == 0
    verified = run_action("secure-verify", build, "--all")
    assert (verified.exit_code, "plan-from-build" in verified.output) == (0, True)
    assert run_action("secure-ota", build, *key).exit_code == 0
    assert (build / "ota" / "app.bin").is_file()


def test_names_that_esp_idf_has_are_left_alone() -> None:
    taken = {"secure-decrypt-flash-data", "secure-sign-data", "secure-verify-signature", "secure-generate-key-digest"}
    assert not taken & {action.name for action in ACTIONS}


def test_a_second_way_adds_nothing() -> None:
    first = action_extensions({"actions": {}}, ".")
    assert first["version"] == "1"
    assert action_extensions({"actions": first["actions"]}, ".") == {}


def test_a_broken_package_is_one_line_and_no_exception(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "secure_ext.cli.main", None)
    assert action_extensions({}, ".") == {}
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "pip install idf-secure-provision" in shown


def test_plan_shows_the_plan_and_the_next_action(
    run_action: Callable[..., Any], new_build: Callable[..., Path], signing_keys: dict[str, Path]
) -> None:
    done = run_action("secure-plan", new_build(), "--signing-key", signing_keys["rsa_0"])
    assert done.exit_code == 0, done.output
    assert "CANNOT BE UNDONE" in done.output
    assert "next, with the same options: idf.py secure-provision" in done.output


def test_provision_builds_first_and_writes_the_bundle(
    run_action: Callable[..., Any], new_build: Callable[..., Path], signing_keys: dict[str, Path], built: list[str]
) -> None:
    build = new_build()
    done = run_action("secure-provision", build, "--signing-key", signing_keys["rsa_0"])
    assert done.exit_code == 0, done.output
    assert built == ["all"]
    assert (build / "secure" / "manifest.json").is_file()
    bundle = build / "secure"
    assert f"idf.py secure-rehearse --bundle {bundle}" in done.output
    assert f"idf.py -p PORT secure-flash --bundle {bundle}" in done.output


@pytest.mark.parametrize("hook", [False, True])
def test_secrets_are_taken_out_of_the_environment(
    *,
    hook: bool,
    run_action: Callable[..., Any],
    new_build: Callable[..., Path],
    signing_keys: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the build, unless the build's own hook needs them; the bundle gets them in any case."""
    build = new_build()
    change_config(build, SECURE_PROVISION_BUNDLE_ON_BUILD=hook)
    key = serialization.load_pem_private_key(signing_keys["rsa_0"].read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"some words")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    (build / "locked.pem").write_bytes(pem)
    monkeypatch.setenv("SECURE_PROVISION_PASSPHRASE", "some words")
    seen: list[str | None] = []
    during = lambda *_: seen.append(os.environ.get("SECURE_PROVISION_PASSPHRASE"))  # noqa: E731
    monkeypatch.setitem(vars(sys.modules["idf_py_actions.tools"]), "run_target", during)
    done = run_action("secure-provision", build, "--signing-key", build / "locked.pem")
    assert done.exit_code == 0, done.output
    assert seen == ["some words" if hook else None]
    assert "SECURE_PROVISION_PASSPHRASE" not in os.environ


def test_a_key_in_a_token_is_named_by_its_uri(run_action: Callable[..., Any], new_build: Callable[..., Path]) -> None:
    done = run_action("secure-plan", new_build(), "--signing-key", "pkcs11:token=factory;object=boot-1")
    assert done.exit_code == 0, done.output


def test_what_the_check_found_is_the_exit_code(run_action: Callable[..., Any], new_build: Callable[..., Path]) -> None:
    build = new_build(options=SampleOptions(flash_encryption="release", config={"EFUSE_VIRTUAL": True}))
    assert run_action("secure-doctor", build).exit_code == 1
    assert run_action("secure-doctor", build / "missing").exit_code == 3


def test_wrong_usage_is_idf_pys_fatal_error(run_action: Callable[..., Any], new_build: Callable[..., Path]) -> None:
    build = new_build()
    profile = build / "profile.yaml"
    profile.write_text("schema: 1\nflash: x\n", encoding="utf-8")
    error = run_action("secure-plan", build, "--profile", profile).exception
    assert isinstance(error, FatalError)
    assert "SE303" in str(error)
    assert "what to do:" in str(error)


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (ModuleNotFoundError("No module named 'cryptography'"), 4, "SE901"),
        (DeviceError("SE800", "foreign", cure="take another board"), 5, "take another board"),
    ],
)
def test_errors_are_text_and_an_exit_code(
    raised: Exception, code: int, text: str, run_action: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> None:
        with front.shown_errors():
            raise raised

    monkeypatch.setattr(main.cli.commands["plan"], "callback", fails)
    done = run_action("secure-plan", Path("build"))
    assert done.exit_code == code
    assert text in done.output
    assert "what to do:" in done.output


def test_shared_options_are_those_of_idf_py() -> None:
    from secure_ext.cli.esp_idf.options import idf_options

    command = click.Command("flash", params=[click.Option(["-p", "--port"]), click.Option(["-b", "--baud"])])
    declared = {option["names"][-1]: option for option in idf_options(command)}
    assert declared["--port"]["scope"] == declared["--baud"]["scope"] == "global"
    assert (declared["--port"]["envvar"], declared["--baud"]["envvar"]) == ("ESPPORT", "ESPBAUD")


def test_flags_keep_not_given_apart_from_no() -> None:
    options = {o["names"][0]: o for o in action_extensions({}, ".")["actions"]["secure-plan"]["options"]}
    assert options["secure_boot"]["names"][1] == "--secure-boot/--no-secure-boot"
    assert options["secure_boot"]["default"] is None
    assert options["signing_key"]["multiple"]


def test_an_option_with_two_values_keeps_them() -> None:
    options = {o["names"][0]: o for o in action_extensions({}, ".")["actions"]["secure-plan"]["options"]}
    assert options["diff"]["nargs"] == 2 and "nargs" not in options["signing_key"]


def test_loading_imports_nothing_heavy() -> None:
    code = "import sys, secure_ext.idf as e; assert e.action_extensions({}, '.'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


def test_cures_name_actions_here_and_commands_there(
    run_action: Callable[..., Any], run_cli: Callable[..., Any], new_build: Callable[..., Path], tmp_path: Path
) -> None:
    """Each front in its own words."""
    build = new_build(options=SampleOptions(flash_encryption="release"))
    assert run_action("secure-provision", build).exit_code == 0
    assert "`idf.py secure-provision`" in str(run_action("secure-verify", build, "--bundle", tmp_path / "none").output)
    shown = run_cli("verify", tmp_path / "none").stderr
    assert "`secure-provision bundle`" in shown and "idf.py" not in shown


def test_a_command_without_an_action_is_named_so_that_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a component the package brings no console script."""
    monkeypatch.setenv("PATH", "")
    with click.Context(click.Command("x")) as context:
        context.meta[COMMAND_NAMES] = ACTION_NAMES
        told = as_typed_here(
            "`secure-provision doctor --explain SP001`, or secure-provision keys digest; idf-secure-provision 0.1.0"
        )
    program = f'"{sys.executable}" "{Path(secure_ext.__file__).parent}"'
    assert told == f"`idf.py secure-doctor --explain SP001`, or {program} keys digest; idf-secure-provision 0.1.0"
