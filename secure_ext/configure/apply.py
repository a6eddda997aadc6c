# SPDX-License-Identifier: Apache-2.0
"""Sets what is wanted in the project's tree, and reads back what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from secure_ext.build.kconfig_tree import KconfigTree
from secure_ext.build.sdkconfig import ConfigDifference, SdkConfig, Value
from secure_ext.configure.settings import Setting
from secure_ext.errors import CheckError
from secure_ext.station.frozen import frozen


@frozen
class Unmet:
    """A setting that the tree does not take, and what stands in the way."""

    setting: Setting
    obstacles: tuple[str, ...]


@frozen
class Applied:
    """What became of the settings.

    Attributes:
        settings: those that the tree has now.
        left_out: recommended ones that cannot be had here.
        before: all values before.
        after: all values now.
    """

    settings: tuple[Setting, ...]
    left_out: tuple[Unmet, ...]
    before: SdkConfig
    after: SdkConfig

    @property
    def lacking(self) -> tuple[Setting, ...]:
        """The settings that the project does not have yet."""
        return tuple(one for one in self.settings if not _has(self.before, one))

    @property
    def consequences(self) -> tuple[ConfigDifference, ...]:
        """Other symbols that change with them, by name."""
        own = {setting.symbol for setting in self.settings}
        names = sorted({*self.before.values, *self.after.values} - own)
        changed = [(name, _of(self.before, name), _of(self.after, name)) for name in names]
        return tuple(ConfigDifference(name, old, new) for name, old, new in changed if old != new)


def apply(settings: Sequence[Setting], tree: KconfigTree) -> Applied:
    """Sets them in their order. Raises CheckError SE413 for one that was asked for and cannot be had; it names all."""
    before = tree.values()
    for setting in settings:
        tree.set(setting.symbol, setting.value)
    missing = [setting for setting in settings if tree.value(setting.symbol) != setting.value]
    unmet = [Unmet(setting, _obstacles(setting, tree)) for setting in missing if _matters(setting, tree)]
    refused = [one for one in unmet if one.setting.is_wished]
    if refused:
        raise CheckError(
            "SE413",
            "the project cannot be configured so: " + "; ".join(unmet_text(one) for one in refused),
            cure="change what stands in the way (menuconfig), or wish for something else; nothing was written",
            place=f"CONFIG_{refused[0].setting.symbol}",
        )
    taken = tuple(setting for setting in settings if setting not in missing)
    return Applied(taken, tuple(unmet), before, tree.values())


def unmet_text(unmet: Unmet) -> str:
    """What cannot be had, and why."""
    symbol, value = unmet.setting.symbol, value_text(unmet.setting.value)
    return f"CONFIG_{symbol} does not become {value}: {', '.join(unmet.obstacles)}"


def _obstacles(setting: Setting, tree: KconfigTree) -> tuple[str, ...]:
    """With the component that would define a symbol which is not there."""
    obstacles = tree.obstacles(setting.symbol, setting.value)
    if tree.defines(setting.symbol) or not setting.symbol.startswith("NVS_"):
        return obstacles
    component = "nvs_sec_provider" if setting.symbol.startswith("NVS_SEC_") else "nvs_flash"
    return (*obstacles, f"the component {component} takes no part in the build (REQUIRES of main, or MINIMAL_BUILD)")


def value_text(value: Value | None) -> str:
    """A value as an sdkconfig has it; ``n`` for what is not there."""
    if value is None or isinstance(value, bool):
        return "y" if value else "n"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def _matters(setting: Setting, tree: KconfigTree) -> bool:
    """A symbol that is not there is off already."""
    return setting.value is not False or tree.defines(setting.symbol)


def _has(config: SdkConfig, setting: Setting) -> bool:
    return _of(config, setting.symbol) == (setting.value or None if isinstance(setting.value, bool) else setting.value)


def _of(config: SdkConfig, name: str) -> Value | None:
    """A bool that is off and one that is not there are the same."""
    value = config.values.get(name)
    return None if value is False else value
