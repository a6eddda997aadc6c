# SPDX-License-Identifier: Apache-2.0
"""A project's configuration, decided as a whole."""

from __future__ import annotations

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
from secure_ext.errors import CheckError
from secure_ext.policy.profile import Profile
from secure_ext.station.frozen import frozen

DEFAULTS = "sdkconfig.defaults.secure"
_CURED = re.compile(r"^# (SP\d{3}: .*)\nCONFIG_(\w+)=([yn])$", re.MULTILINE)
HEADING_BEGINS = "# Written by `secure-provision configure`"
_HEADING = (
    HEADING_BEGINS
    + """, which writes it anew: keep settings of your own in another file.
# It counts for a new sdkconfig, as the last of the project's defaults:
#   idf.py -D SDKCONFIG_DEFAULTS="{others}{name}" reconfigure
# For the sdkconfig that is there: the same command with --apply.
"""
)


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
    cured = apply(tuple({one.symbol: one for one in (*_cured_before(project, profile), *_cures(found))}.values()), tree)
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


def _cured_before(project: ConfiguredProject, profile: Profile) -> Iterator[Setting]:
    """The cures of an earlier run: the doctor finds nothing there any more, and a new sdkconfig needs them still."""
    accepted = profile.texts("doctor.accept") or ()
    path = project.project_dir / DEFAULTS
    if path.is_file():
        for reason, symbol, value in _CURED.findall(read_bytes(path).decode("utf-8", errors="replace")):
            if reason.partition(":")[0] not in accepted:
                yield Setting(symbol, value == "y", reason, is_wished=False)


def _cures(findings: Iterable[Finding]) -> Iterator[Setting]:
    """What cures the findings that nobody has accepted."""
    for finding in findings:
        for symbol, value in () if finding.accepted else finding.settings:
            yield Setting(symbol, value, f"{finding.code}: {finding.cause}", is_wished=False)


def _defaults_text(project: ConfiguredProject, settings: tuple[Setting, ...]) -> str:
    others = "".join(f"{one};" for one in project.defaults if Path(one).name != DEFAULTS)
    lines = [_HEADING.format(others=others, name=DEFAULTS)]
    lines += [f"# {one.reason}\nCONFIG_{one.symbol}={_default_text(one)}\n" for one in settings]
    return "\n".join(lines)


def _default_text(setting: Setting) -> str:
    if setting.symbol == "PARTITION_TABLE_OFFSET":
        return f"0x{setting.value:x}"
    return value_text(setting.value)
