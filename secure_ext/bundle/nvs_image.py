# SPDX-License-Identifier: Apache-2.0
"""Makes the image of an NVS partition from its CSV with Espressif's esp-idf-nvs-partition-gen, and checks what it made.

The library is used in this process and writes into memory, so that neither values nor keys touch the disk.
"""

from __future__ import annotations

import contextlib
import inspect
import io
from types import ModuleType
from typing import Any

from secure_ext.errors import CheckError, InputError, SecureProvisionError, ToolError
from secure_ext.formats.nvs_csv import NvsCsv, NvsValue
from secure_ext.formats.nvs_format import LEAST_WRITABLE, PAGE_SIZE
from secure_ext.formats.nvs_keys import NvsKeys
from secure_ext.formats.nvs_reader import NvsContent, read_nvs

_BLOBS_OVER_PAGES = 0xFE
"""Version 2 of the format as the library names it."""
ADDED_FOR_WIFI = frozenset({"ap.pmk_info", "sta.apinfo", "sta.pmk", "sta.apsw"})
"""What the library writes of itself beside the Wi-Fi credentials ``ap.*`` and ``sta.*``, in some of its versions."""


def make_nvs_image(csv: NvsCsv, size: int, keys: NvsKeys | None) -> bytes:
    """The image of a partition of `size` bytes (a multiple of 0x1000), encrypted with `keys` if there are any.

    Raises InputError SE540 when the values do not fit, ToolError SE542 when the library is missing or too old.
    """
    read_only = size < LEAST_WRITABLE
    room = size if read_only else size - PAGE_SIZE  # to write, the firmware needs a free page
    library = _library(read_only=read_only)
    failure: SecureProvisionError
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return _written(library, csv, room, keys, read_only=read_only).ljust(size, b"\xff")
    except (library.InsufficientSizeError, library.PageFullError):
        failure = InputError(
            "SE540",
            f"the values do not fit into the NVS partition of {size} bytes"
            + ("" if read_only else ", of which one page stays free"),
            cure="make the partition larger in the partition table's CSV and build again, or keep less in it",
            place=str(csv.path),
        )
    except Exception as error:
        failure = _library_error(f"it fails with {type(error).__name__}")  # the error's own message may hold a value
    raise failure


def _written(library: ModuleType, csv: NvsCsv, room: int, keys: NvsKeys | None, *, read_only: bool) -> bytes:
    options: dict[str, Any] = {"version": _BLOBS_OVER_PAGES, "is_encrypt": keys is not None}
    if keys is not None:
        options["key"] = keys.data
    if read_only:
        options["read_only"] = True
    target = io.BytesIO()
    nvs = library.nvs_open(target, room, **options)
    for namespace in csv.namespaces:
        library.write_entry(nvs, namespace, "namespace", "", "")
        for value in csv.values:
            if value.namespace == namespace:
                library.write_entry(nvs, value.key, "data", *_as_text(value))
    library.nvs_close(nvs)
    return target.getvalue()


def check_nvs_image(image: bytes, csv: NvsCsv, keys: NvsKeys | None) -> NvsContent:
    """Reads the image back and compares it with the CSV; returns what it holds.

    Raises CheckError SE541 when it holds something else, SE543 when it cannot be read.
    """
    content = read_nvs(image, keys, place=csv.path.name)
    wanted = {(value.namespace, value.key): value for value in csv.values}
    found = {(value.namespace, value.key): value for value in content.values}
    more = {key for key in found.keys() - wanted.keys() if key[1] not in ADDED_FOR_WIFI}
    wrong = [key for key, value in wanted.items() if found.get(key) != value]
    if wrong or more or content.namespaces != csv.namespaces:
        names = ", ".join("/".join(key) for key in [*wrong, *sorted(more)][:3]) or "the namespaces"
        raise CheckError(
            "SE541",
            f"the NVS image does not hold what the CSV says: {names}",
            cure="install the latest esp-idf-nvs-partition-gen; if that does not help, report it",
            place=str(csv.path),
        )
    return content


def _as_text(value: NvsValue) -> tuple[str, str]:
    """Encoding and value as the library takes them."""
    if isinstance(value.value, bytes):
        return "hex2bin", value.value.hex()
    return value.kind, str(value.value)


def _library(*, read_only: bool) -> ModuleType:
    try:
        from esp_idf_nvs_partition_gen import nvs_partition_gen  # noqa: PLC0415 (slow to import, seldom needed)
    except ImportError as error:
        raise _library_error(f"it cannot be loaded ({error.name or type(error).__name__})") from None
    wanted = {"version", "is_encrypt", "key", *(("read_only",) if read_only else ())}
    if not wanted <= set(inspect.signature(nvs_partition_gen.nvs_open).parameters):
        what = "read-only partitions" if read_only else "encryption"
        raise _library_error(f"this version of it does not know {what}")
    module: ModuleType = nvs_partition_gen
    return module


def _library_error(reason: str) -> SecureProvisionError:
    return ToolError(
        "SE542",
        f"esp-idf-nvs-partition-gen cannot make the NVS image: {reason}",
        cure="install its latest version: pip install --upgrade esp-idf-nvs-partition-gen",
        place="esp-idf-nvs-partition-gen",
    )
