# SPDX-License-Identifier: Apache-2.0
"""A project's configuration, decided as a whole and then written as a whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from secure_ext.build.configured import ConfiguredProject, not_built_yet
from secure_ext.build.files import read_bytes
from secure_ext.build.kconfig_tree import load_kconfig_tree, sdkconfig_text
from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.configure.apply import Applied, apply, value_text
from secure_ext.configure.settings import Setting, settings_for
from secure_ext.configure.table import TableChange, change_table
from secure_ext.configure.wishes import Wishes
from secure_ext.doctor.decide import decide_on
from secure_ext.doctor.rule import Finding, Severity
from secure_ext.errors import CheckError, InputError
from secure_ext.policy.profile import Profile
from secure_ext.station.durable import write_durably
from secure_ext.station.frozen import frozen

DEFAULTS = "sdkconfig.defaults.secure"
_CURED = re.compile(r"^# (SP\d{3}: .*)\nCONFIG_(\w+)=([yn])$", re.MULTILINE)
_HEADING = """\
# Written by `secure-provision configure`, which writes it anew: keep settings of your own in another file.
# It counts for a new sdkconfig, as the last of the project's defaults:
#   idf.py -D SDKCONFIG_DEFAULTS="{others}{name}" reconfigure
# For the sdkconfig that is there: the same command with --apply.
"""


@frozen
class Configuration:
    """What a project gets.

    Attributes:
        project: where it is.
        applied: the symbols.
        table: the partition table.
        findings: what the doctor will still say of it, so far as that needs no image.
        defaults: text of ``sdkconfig.defaults.secure``.
        sdkconfig: text of the sdkconfig with all of it.
    """

    project: ConfiguredProject
    applied: Applied
    table: TableChange
    findings: tuple[Finding, ...]
    defaults: str
    sdkconfig: str

    @property
    def defaults_file(self) -> Path:
        """Where the defaults belong."""
        return self.project.project_dir / DEFAULTS

    @property
    def signature_scheme(self) -> str:
        """Kind of the signing key that the bundle needs; empty if it signs nothing."""
        config = self.applied.after
        if not config.enabled("SECURE_BOOT") or config.enabled("SECURE_BOOT_BUILD_SIGNED_BINARIES"):
            return ""
        if config.enabled("SECURE_SIGNED_APPS_RSA_SCHEME"):
            return "rsa3072"
        return "ecdsa384" if config.enabled("SECURE_BOOT_ECDSA_KEY_LEN_384_BITS") else "ecdsa256"

    @property
    def is_complete(self) -> bool:
        """Whether the project's sdkconfig and partition table are as they would be made."""
        return not self.applied.lacking and not self.table.rewrites


def decide_configuration(project: ConfiguredProject, wishes: Wishes, profile: Profile, *, move: bool) -> Configuration:
    """What a project needs for what is wished, and for what the doctor then still finds. It writes nothing.

    Raises the errors of `load_kconfig_tree`, `apply`, `change_table` and `decide_on`.
    """
    tree = load_kconfig_tree(project)
    profile = wishes.over(profile)
    wanted = settings_for(wishes, project.chip, tree)
    first = apply(wanted, tree)
    table = change_table(project, tree, first.before, move=move)
    own = apply(table.settings, tree)
    found = _examined(project, own.after, table, profile)
    cured = apply(tuple({one.symbol: one for one in (*_cured_before(project), *_cures(found))}.values()), tree)
    again = apply((*first.settings, *own.settings), tree)  # a cure may be another option of the same choice
    cures = [one for one in cured.settings if tree.value(one.symbol) == one.value and one not in again.settings]
    settings = (*again.settings, *cures)
    applied = Applied(settings, first.left_out, first.before, again.after)
    findings = _examined(project, again.after, table, profile)
    _refuse_errors(findings)
    before = read_bytes(project.sdkconfig).decode("utf-8", errors="replace")
    text = sdkconfig_text(tree, before)
    return Configuration(project, applied, table, findings, _defaults_text(project, settings), text)


def _examined(
    project: ConfiguredProject, config: SdkConfig, table: TableChange, profile: Profile
) -> tuple[Finding, ...]:
    """What the doctor will say of all this, so far as that needs no image, but for what is only worth knowing."""
    try:
        found = decide_on(not_built_yet(project, config, table.partitions), profile).findings
    except CheckError as error:
        if error.code != "SE403":  # all of it is off: there is nothing to say
            raise
        return ()
    return tuple(finding for finding in found if finding.severity is not Severity.INFO)


def _refuse_errors(findings: Iterable[Finding]) -> None:
    """Raises CheckError SE415: what stops a bundle is no configuration to write."""
    stopping = next((finding for finding in findings if finding.stops), None)
    if stopping is not None:
        raise CheckError(
            "SE415",
            f"so configured, the doctor would find an error: {stopping.code} {stopping.cause}",
            cure=f"{stopping.cure}; nothing was written",
            place=stopping.place,
        )


def _cured_before(project: ConfiguredProject) -> Iterator[Setting]:
    """The cures of an earlier run: the doctor finds nothing there any more, and a new sdkconfig needs them still."""
    path = project.project_dir / DEFAULTS
    if path.is_file():
        for reason, symbol, value in _CURED.findall(read_bytes(path).decode("utf-8", errors="replace")):
            yield Setting(symbol, value == "y", reason, is_wished=False)


def _cures(findings: Iterable[Finding]) -> Iterator[Setting]:
    """What cures the findings that nobody has accepted."""
    for finding in findings:
        for symbol, value in () if finding.accepted else finding.settings:
            yield Setting(symbol, value, f"{finding.code}: {finding.cause}", is_wished=False)


def write_configuration(configuration: Configuration, *, to_sdkconfig: bool) -> tuple[Path, ...]:
    """Writes what is not there yet; returns those files.

    Raises InputError SE117 (cannot be written), SE119 (a file that somebody else has made is in the way).
    """
    wanted = [(configuration.defaults_file, configuration.defaults)]
    if configuration.table.rewrites:
        wanted.insert(0, (configuration.table.csv, configuration.table.after))
    if to_sdkconfig and configuration.applied.lacking:
        wanted.append((configuration.project.sdkconfig, configuration.sdkconfig))
    new = [(path, text.encode()) for path, text in wanted if not _has_content(path, text.encode())]
    for path, _ in new:
        _refuse_foreign(path, configuration)
    written: list[Path] = []
    for path, content in new:
        try:
            mode = path.stat().st_mode & 0o777 if path.exists() else None
            write_durably(path, content)
            if mode is not None:
                path.chmod(mode)
        except OSError as error:
            done = ", ".join(str(one) for one in written)
            raise _not_writable(path, f"{error.strerror}" + (f"; written before it: {done}" if done else "")) from None
        written.append(path)
    return tuple(written)


def _has_content(path: Path, content: bytes) -> bool:
    """Raises InputError SE117 if something else than a file is there, or the folder may not be written."""
    if path.exists() and not path.is_file():
        raise _not_writable(path, "it is not a file")
    if not os.access(path.parent, os.W_OK):
        raise _not_writable(path, "the folder may not be written")
    return path.is_file() and path.read_bytes() == content


def _refuse_foreign(path: Path, configuration: Configuration) -> None:
    is_ours = True
    if path == configuration.defaults_file:
        is_ours = not path.exists() or path.read_bytes().startswith(_HEADING[:30].encode())
    elif path == configuration.table.csv:
        is_ours = not path.exists() or path.read_bytes() == configuration.table.before.encode()
    if not is_ours:
        raise InputError(
            "SE119",
            f"{path} is there already, and is not what this command made",
            cure="move it away; or, if it is the partition table that you want, choose it in menuconfig",
            place=str(path),
        )


def _not_writable(path: Path, why: str) -> InputError:
    return InputError(
        "SE117",
        f"{path} cannot be written: {why}",
        cure="check that you may write in the project, and the free space; then run again",
        place=str(path),
    )


def _defaults_text(project: ConfiguredProject, settings: tuple[Setting, ...]) -> str:
    others = "sdkconfig.defaults;" if (project.project_dir / "sdkconfig.defaults").is_file() else ""
    lines = [_HEADING.format(others=others, name=DEFAULTS)]
    lines += [f"# {one.reason}\nCONFIG_{one.symbol}={_default_text(one)}\n" for one in settings]
    return "\n".join(lines)


def _default_text(setting: Setting) -> str:
    if setting.symbol == "PARTITION_TABLE_OFFSET":
        return f"0x{setting.value:x}"
    return value_text(setting.value)
