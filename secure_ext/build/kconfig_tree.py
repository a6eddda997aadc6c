# SPDX-License-Identifier: Apache-2.0
"""The project's own Kconfig tree, loaded as ESP-IDF's build loads it, with the library of ESP-IDF's environment.

Source: ESP-IDF ``tools/cmake/kconfig.cmake``: the root is ``$IDF_PATH/Kconfig``, which takes the components' files from
``kconfigs.in`` and ``kconfigs_projbuild.in`` by variables of ``config.env``; then the sdkconfig is loaded over it.
esp-idf-kconfig calls its library ``kconfiglib`` in version 2 (ESP-IDF 5.3 to 5.5), ``esp_kconfiglib`` in version 3.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from secure_ext.build.configured import ConfiguredProject
from secure_ext.build.sdkconfig import SdkConfig, Value
from secure_ext.errors import InputError, ToolError

_LIBRARIES = ("esp_kconfiglib.core", "kconfiglib.core", "kconfiglib")
_YES_NO = {True: "y", False: "n"}


class KconfigTree:
    """Symbols of a project, named without ``CONFIG_``; a change of one may change, show or hide others."""

    def __init__(self, library: Any, kconfig: Any) -> None:
        self._library = library
        self._kconfig = kconfig

    def defines(self, name: str) -> bool:
        """Whether a Kconfig file of the project defines the symbol."""
        symbol = self._kconfig.syms.get(name)
        return symbol is not None and bool(symbol.nodes)

    def value(self, name: str) -> Value | None:
        """What the build would use now; None if the symbol is not defined, or has no value."""
        if not self.defines(name):
            return None
        symbol = self._kconfig.syms[name]
        text = str(symbol.str_value)
        if symbol.type == self._library.BOOL:
            return text == "y"
        if symbol.type in (self._library.INT, self._library.HEX):
            return int(text, 16 if symbol.type == self._library.HEX else 10) if text else None
        return text

    def values(self) -> SdkConfig:
        """All symbols with their values, as ESP-IDF's build writes them into ``config/sdkconfig.json``."""
        found = {name: self.value(name) for name, symbol in self._kconfig.syms.items() if symbol.config_string}
        return SdkConfig({name: value for name, value in found.items() if value is not None})

    def set(self, name: str, value: Value) -> bool:
        """Gives a symbol a value, as menuconfig does; returns whether it has it now."""
        if self.value(name) == value:
            return True
        if not self.defines(name):
            return False
        symbol = self._kconfig.syms[name]
        if isinstance(value, bool):
            text = _YES_NO[value]
        else:
            text = hex(int(value)) if symbol.type == self._library.HEX else str(value)
        with _silence():
            symbol.set_value(text)
        return self.value(name) == value

    def obstacles(self, name: str, value: Value) -> tuple[str, ...]:
        """Why a symbol does not take a value: conditions that do not hold, or what forces another one."""
        if not self.defines(name):
            return (f"no component of the project defines {name}",)
        symbol, library = self._kconfig.syms[name], self._library
        if value is False and library.expr_value(symbol.rev_dep):
            forcing = library.split_expr(symbol.rev_dep, library.OR)
            return tuple(f"{_plain(library.expr_str(one))} selects it" for one in forcing if library.expr_value(one))
        unmet = self._unmet(symbol.direct_dep)
        if symbol.choice is not None:
            unmet += self._unmet(symbol.choice.direct_dep)
        prompts = [node.prompt for node in symbol.nodes if node.prompt]
        if not prompts:
            return (*unmet, "nobody can set it: its value follows from others")
        if not unmet and not any(library.expr_value(condition) for _, condition in prompts):
            unmet += [reason for _, condition in prompts for reason in self._unmet(condition)]
        return tuple(dict.fromkeys(unmet)) or (f"it is not among the values that {name} can have",)

    def write(self, path: Path, heading: str) -> None:
        """Writes the values as an sdkconfig. Raises OSError."""
        with _silence():
            self._kconfig.write_config(str(path), header=heading, save_old=False)

    def _unmet(self, condition: Any) -> list[str]:
        library = self._library
        parts = library.split_expr(condition, library.AND)
        return [self._told(part) for part in parts if not library.expr_value(part)]

    def _told(self, condition: Any) -> str:
        """A condition with the values of the symbols in it."""
        text = _plain(self._library.expr_str(condition))
        names = [name for name in dict.fromkeys(_words(text)) if self.defines(name)]
        values = ", ".join(f"{name} is {_shown(self.value(name))}" for name in names)
        return f"it needs {text}, and {values}" if values else f"it needs {text}"


def load_kconfig_tree(project: ConfiguredProject) -> KconfigTree:
    """The tree with the values of the project's sdkconfig.

    Raises ToolError SE208 without esp-idf-kconfig, InputError SE115 for Kconfig files or an sdkconfig that it refuses.
    """
    library = _library()
    said = io.StringIO()
    try:
        with _environment(project.environment), _silence() as said:
            kconfig = library.Kconfig(str(project.idf_path / "Kconfig"))
            kconfig.load_config(str(project.sdkconfig), replace=False)
    except (Exception, SystemExit) as error:  # whatever a parser of other people's files raises
        last = [line for line in f"{said.getvalue()}\n{error}".splitlines() if line.strip()][-1:]
        raise InputError(
            "SE115",
            f"the project's Kconfig files cannot be read: {' '.join(last) or type(error).__name__}",
            cure="configure the project with `idf.py reconfigure`, which says more, and correct what it names",
            place=str(project.sdkconfig),
        ) from None
    return KconfigTree(library, kconfig)


def sdkconfig_text(tree: KconfigTree, before: str) -> str:
    """The sdkconfig that ESP-IDF would write, with the heading that it has `before`."""
    lines = before.splitlines(keepends=True)
    heading = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    with tempfile.TemporaryDirectory(prefix="secure-provision-") as folder:
        path = Path(folder) / "sdkconfig"
        tree.write(path, "".join(line for line in lines[:heading] if not line.startswith("# default:")))
        return path.read_text(encoding="utf-8")


def _library() -> Any:
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise ToolError(
        "SE208",
        "esp-idf-kconfig is not installed",
        cure="run this in ESP-IDF's environment, or: pip install esp-idf-kconfig",
    )


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The library takes the variables of Kconfig files from the environment of the process."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _silence() -> Iterator[io.StringIO]:
    """Takes what the library says; from version 3.8 on it says its notes through a log of its own."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            log = importlib.import_module("esp_pylib.logger").log
            log.set_info_stream(said)
            stack.callback(log.set_info_stream, sys.__stderr__)
        yield said


def _words(text: str) -> list[str]:
    return "".join(character if character.isalnum() or character == "_" else " " for character in text).split()


def _plain(text: str) -> str:
    """Without the brackets of ``<choice NAME>``."""
    return text.replace("<choice ", "").replace(">)", ")").rstrip(">") if "<choice" in text else text


def _shown(value: Value | None) -> str:
    return ("y" if value else "n") if isinstance(value, bool) else str(value)
