# SPDX-License-Identifier: Apache-2.0
"""Makes the bundle at the end of a build, if anything it is made of has changed since the last time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_ext import __version__
from secure_ext.build.menu import Menu, read_json_or_nothing, read_menu
from secure_ext.errors import UsageError
from secure_ext.keys.secret_source import NO_SECRETS, SecretSource
from secure_ext.reading import IMAGE_LIMIT, read_file

if TYPE_CHECKING:
    from secure_ext.doctor.decide import Decision

RECORD = "secure_provision_inputs.json"
"""In the build directory: what the last bundle was made of."""

_BUILD_FILES = ("flasher_args.json", "project_description.json", "config/sdkconfig.json")


def bundle_after_build(build_dir: Path, secrets: SecretSource = NO_SECRETS) -> Iterator[str]:
    """Makes the bundle as the menu wants it; yields what to show, nothing when there was nothing to do.

    `secrets` is asked for the passphrases and PINs of signing keys.

    Whether the inputs changed is asked of their content, because a build system touches files for many reasons, and
    rules of the build that make the images differ between the releases of ESP-IDF.

    Raises the errors of `decide` and `write_bundle`; an error of the doctor only if the menu says that it fails builds.
    """
    menu = read_menu(build_dir)
    if _is_current(build_dir, menu):
        return
    from secure_ext.bundle.of_build import record_bundle  # noqa: PLC0415 (slow to import, seldom needed)
    from secure_ext.bundle.write import write_bundle  # noqa: PLC0415 (slow to import, seldom needed)
    from secure_ext.cli.front import circumstances, decision_from_options  # noqa: PLC0415
    from secure_ext.cli.show.bundle import generated_key_lines  # noqa: PLC0415
    from secure_ext.cli.show.findings import findings_text  # noqa: PLC0415
    from secure_ext.sign.signers import SigningHelp  # noqa: PLC0415 (slow to import, seldom needed)

    decision = decision_from_options(build_dir, **_NO_OPTIONS)
    if any(finding.stops for finding in decision.findings) and not menu.fail_on_doctor_errors:
        yield findings_text(decision.findings)
        yield f"warning: no bundle was made for this build; whatever is in {menu.output} is from an earlier one"
        return
    try:
        signing = SigningHelp(secrets)
        bundle = write_bundle(
            decision, menu.output, lambda _: None, signing, circumstances=circumstances(), keep_others=True
        )
    except UsageError as error:
        if error.code != "SE712":  # the signatures are made elsewhere: after the build, not by it
            raise
        yield f"warning: no bundle was made for this build: {error.cause}. {error.cure}"
        return
    record_bundle(build_dir, menu.output, decision, menu.profile)
    inputs = sorted({str(path) for path in _inputs(build_dir, menu, decision)})
    record = {"inputs": inputs, "digest": _digest(inputs, menu.output)}
    (build_dir / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    images, checks = len(bundle.manifest.images), len(bundle.manifest.checks)
    yield f"Secure provisioning bundle: {menu.output} ({images} images, {checks} checks passed)"
    if bundle.generated_keys:
        yield from generated_key_lines(bundle)
    unkept = [finding for finding in bundle.findings if finding.code == "SP160"]
    if unkept:
        yield findings_text(unkept)


_NO_OPTIONS: dict[str, Any] = {
    "profile": None,
    "signing_key": (),
    "flash_encryption_key": None,
    "flash_encryption": None,
    "secure_boot": None,
    "accept": (),
}


def _is_current(build_dir: Path, menu: Menu) -> bool:
    record = read_json_or_nothing(build_dir / RECORD)
    inputs, digest = record.get("inputs"), record.get("digest")
    if not isinstance(inputs, list) or not (menu.output / "manifest.json").is_file():
        return False
    return bool(digest == _digest([str(path) for path in inputs], menu.output))


def _inputs(build_dir: Path, menu: Menu, decision: Decision) -> Iterator[Path]:
    yield from (build_dir / name for name in _BUILD_FILES)
    yield from (file.path for file in decision.build.files)
    yield from decision.policy.images.values()
    yield from decision.policy.user_block.files
    for image in decision.images:
        if image.recipe is not None:
            yield from image.recipe.inputs
    policy = decision.policy
    sources = [policy.flash_encryption.key, policy.nvs.key, *policy.secure_boot.keys]
    sources += [extra.key for extra in policy.extra_keys]
    for path in (menu.profile, policy.per_device.seal_to, *(source.path for source in sources)):
        if path is not None:
            yield path


def _digest(inputs: Iterable[str], output: Path) -> str:
    """One digest of everything; it tells nothing about a key among the inputs."""
    whole = hashlib.sha256(f"{__version__}\n{output}\n".encode())
    for name in inputs:
        try:
            content = hashlib.sha256(read_file(Path(name), IMAGE_LIMIT)).hexdigest()
        except OSError:
            content = "missing"
        whole.update(f"{name}\n{content}\n".encode())
    return whole.hexdigest()
