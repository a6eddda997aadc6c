"""Each rule of the doctor finds what it is for; what may not be accepted stays an error; a healthy build is healthy."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from secure_ext.errors import CheckError, UsageError
from secure_ext.plan.decide import Decision, decide
from secure_ext.plan.doctor import ALL_RULES, firmware, fit, images, keys, lockdown, nvs, partitions
from secure_ext.plan.doctor.rule import Finding, Severity
from secure_ext.policy.profile import Profile, Value, check_profile
from secure_ext.project.partition_table import FLAG_ENCRYPTED, TYPE_APP, TYPE_DATA, Partition, build_partition_table
from secure_ext.sample.options import SampleOptions, partitions_of

FILES = (fit, images, firmware, lockdown, partitions, keys, nvs)
PLAIN: dict[str, Any] = {}
BOTH: dict[str, Any] = {"flash_encryption": "release", "secure_boot": True}
ENCRYPTED: dict[str, Any] = {"flash_encryption": "release"}
SIGNED: dict[str, Any] = {"secure_boot": True}


def rows(*changed: Partition, without: tuple[str, ...] = ()) -> tuple[Partition, ...]:
    """The sample's partitions, with some of them replaced or added."""
    table = {row.label: row for row in partitions_of(SampleOptions()) if row.label not in without}
    table |= {row.label: row for row in changed}
    return tuple(table.values())


@dataclass(frozen=True)
class Case:
    """A build and a profile that a rule must find something in."""

    options: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    chip: str = "esp32c3"
    change: Callable[[Path], None] | None = None
    keys: int = 1


def edit_json(name: str, edit: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def change(build_dir: Path) -> None:
        path = build_dir / name
        content = json.loads(path.read_text(encoding="utf-8"))
        edit(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return change


def move_data_to(address: str) -> Callable[[Path], None]:
    """Has the build flash a small file at an address of its own."""

    def edit(content: dict[str, Any]) -> None:
        content["flash_files"][address] = "extra.bin"
        content["extra"] = {"offset": address, "file": "extra.bin", "encrypted": "false"}

    def change(build_dir: Path) -> None:
        (build_dir / "extra.bin").write_bytes(b"data" * 1024)
        edit_json("flasher_args.json", edit)(build_dir)

    return change


def grow_bootloader(build_dir: Path) -> None:
    """Makes the bootloader's file longer; bytes behind the image are its padding."""
    path = build_dir / "bootloader" / "bootloader.bin"
    path.write_bytes(path.read_bytes().ljust(0xB000, b"\xff"))


def without_md5(build_dir: Path) -> None:
    path = build_dir / "partition_table" / "partition-table.bin"
    path.write_bytes(build_partition_table(partitions_of(SampleOptions()), md5=False))


def app_of_another_chip(build_dir: Path) -> None:
    """Makes the app one for esp32c6 (chip id 13), with a right hash."""
    import hashlib

    path = build_dir / "sample.bin"
    content = bytearray(path.read_bytes())
    content[12] = 13
    content[-32:] = hashlib.sha256(content[:-32]).digest()
    path.write_bytes(content)


def sign_app(build_dir: Path) -> None:
    """Appends a signature sector to app and bootloader, with a key that is thrown away."""
    from secure_ext.images.secure_boot import sign
    from secure_ext.keys.signing import SignatureScheme, generate_signing_key, load_signing_key

    pem = build_dir.parent.parent / "other.pem"
    pem.write_bytes(generate_signing_key(SignatureScheme.ECDSA256))
    path = build_dir / "sample.bin"
    rsa_like = sign(path.read_bytes(), [load_signing_key(pem)], place="app")
    # the doctor looks at the first bytes of the sector only
    path.write_bytes(rsa_like[:-0x1000] + b"\xe7\x02" + rsa_like[-0x1000 + 2 :])


def expose_key(build_dir: Path) -> None:
    key = build_dir.parent.parent / "key.bin"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o644)


def nvs_image(keys: bytes | None) -> bytes:
    """An NVS image with one value, as Espressif's generator makes it."""
    from esp_idf_nvs_partition_gen import nvs_partition_gen

    target = io.BytesIO()
    image = nvs_partition_gen.nvs_open(target, 0x5000, version=0xFE, is_encrypt=keys is not None, key=keys)
    nvs_partition_gen.write_entry(image, "app", "namespace", "", "")
    nvs_partition_gen.write_entry(image, "pin", "data", "u16", "4711")
    nvs_partition_gen.nvs_close(image)
    return target.getvalue()


def nvs_csv(build_dir: Path) -> None:
    text = "key,type,encoding,value\napp,namespace,,\npin,data,u16,4711\n"
    (build_dir.parent.parent / "nvs.csv").write_text(text, encoding="utf-8")


STORAGE = 0x220000
MORE_NVS = Partition("more", TYPE_DATA, 2, STORAGE + 0x100000, 0x6000)
WITHOUT_NVS_KEYS = BOTH | {"partitions": rows(without=("nvs_keys",))}
CASES: dict[str, Case] = {
    "SP001": Case(BOTH | {"table_offset": 0x8000}, change=grow_bootloader),
    "SP002": Case(BOTH | {"data_images": {"storage": bytes(0x100001)}}),
    "SP003": Case(BOTH | {"data_images": {"nvs": bytes(0x6800)}}),
    "SP004": Case(BOTH | {"flash_size": "2MB", "data_images": {"storage": b"data"}}),
    "SP005": Case(BOTH | {"flash_size": "2MB"}),
    "SP006": Case(BOTH | {"partitions": rows(Partition("late", TYPE_DATA, 0x40, STORAGE + 0x1000, 0x1000))}),
    "SP007": Case(BOTH, change=move_data_to(hex(STORAGE + 0x800))),
    "SP008": Case(
        BOTH, change=edit_json("flasher_args.json", lambda args: args["flash_settings"].update(flash_size="detect"))
    ),
    "SP010": Case(BOTH, change=app_of_another_chip),
    "SP011": Case(PLAIN, {"secure_boot": {"enabled": True}}),
    "SP012": Case(BOTH, change=sign_app),
    "SP013": Case(ENCRYPTED, change=sign_app),
    "SP020": Case(SIGNED, {"flash_encryption": {"mode": "release"}}),
    "SP021": Case(ENCRYPTED, {"secure_boot": {"enabled": True}}),
    "SP022": Case(BOTH, {"flash_encryption": {"mode": "development"}}),
    "SP023": Case(BOTH, {"flash_encryption": {"mode": "off"}}),
    "SP024": Case(BOTH, {"secure_boot": {"scheme": "ecdsa256"}}, chip="esp32c6"),
    "SP025": Case(
        BOTH | {"scheme": "ecdsa256", "config": {"SECURE_BOOT_V2_FORCE_ENABLE_ECDSA": False}}, chip="esp32h2"
    ),
    "SP026": Case(
        BOTH, change=edit_json("config/sdkconfig.json", lambda values: values.update(SECURE_BOOT_INSECURE=True))
    ),
    "SP027": Case(BOTH, {"nvs": {"scheme": "hmac", "key_id": 4}}),
    "SP028": Case(BOTH | {"partitions": rows(without=("nvs_keys",))}, {"nvs": {"scheme": "flash-encryption"}}),
    "SP029": Case(BOTH, {"nvs": {"scheme": "off"}}),
    "SP030": Case(BOTH | {"config": {"EFUSE_VIRTUAL": True}}),
    "SP031": Case(BOTH | {"config": {"ESP_DEFAULT_CPU_FREQ_MHZ": 240}}, chip="esp32c5"),
    "SP032": Case(BOTH, {"secure_boot": {"revoke_unused": False}}),
    "SP040": Case(ENCRYPTED),
    "SP041": Case({"flash_encryption": "development"}),
    "SP042": Case(BOTH, {"lockdown": {"jtag": "open"}}),
    "SP043": Case(BOTH, {"lockdown": {"download_mode": "open"}}),
    "SP044": Case(BOTH, {"flash_encryption": {"pseudo_round": 0}}, chip="esp32h2"),
    "SP045": Case(BOTH, {"secure_boot": {"aggressive_revoke": True}}),
    "SP046": Case(BOTH, {"secure_boot": {"revoke_unused": False}}),
    "SP047": Case(BOTH, chip="esp32p4"),
    "SP048": Case(BOTH, chip="esp32h21"),
    "SP049": Case(BOTH | {"min_revision": 0}),
    "SP050": Case(BOTH, chip="esp32h2"),
    "SP051": Case(BOTH | {"config": {"SOC_EFUSE_DIS_BOOT_REMAP": True}}),
    "SP060": Case(BOTH | {"partitions": rows(Partition("nvs", TYPE_DATA, 2, 0xD000, 0x6000, FLAG_ENCRYPTED))}),
    "SP061": Case(
        BOTH | {"partitions": rows(Partition("storage", TYPE_DATA, 0x82, STORAGE, 0x100000, FLAG_ENCRYPTED))}
    ),
    "SP062": Case(SIGNED),
    "SP063": Case(BOTH | {"partitions": rows(Partition("storage", TYPE_DATA, 0x81, STORAGE, 0x1234, FLAG_ENCRYPTED))}),
    "SP064": Case(BOTH),
    "SP065": Case(BOTH | {"partitions": rows(Partition("coredump", TYPE_DATA, 3, STORAGE + 0x100000, 0x10000))}),
    "SP066": Case(BOTH, change=move_data_to("0x3f0000")),
    "SP067": Case(BOTH, change=without_md5),
    "SP068": Case(BOTH, {"blank_partitions": {"sotrage": "erased"}}),
    "SP080": Case(BOTH, {"flash_encryption": {"key": "key.bin"}}, change=expose_key),
    "SP081": Case(BOTH),
    "SP090": Case(BOTH | {"data_images": {"nvs": nvs_image(None)}}),
    "SP091": Case(BOTH | {"partitions": rows(MORE_NVS), "data_images": {"more": nvs_image(None)}}),
    "SP092": Case(BOTH, {"nvs": {"images": {"nvs": "nvs.csv"}, "key": "device"}}, chip="esp32", change=nvs_csv),
    "SP093": Case(BOTH | {"partitions": rows(Partition("nvs_keys", TYPE_DATA, 4, 0x16000, 0x800, FLAG_ENCRYPTED))}),
    "SP094": Case(BOTH | {"partitions": rows(Partition("nvs_keys", TYPE_DATA, 4, 0x16000, 0x1000))}),
    "SP095": Case(BOTH | {"config": {"NVS_ENCRYPTION": False}}, {"nvs": {"scheme": "hmac"}}),
    "SP096": Case(BOTH | {"partitions": rows(Partition("nvs", TYPE_DATA, 2, 0xD000, 0x2000))}),
    "SP097": Case(BOTH | {"partitions": rows(MORE_NVS)}, {"nvs": {"images": {"more": "nvs.csv"}}}, change=nvs_csv),
}
# further places where a rule must find something
MORE_CASES: tuple[tuple[str, Case], ...] = (
    ("SP001", Case(BOTH | {"table_offset": 0x5000, "partitions": rows()})),
    ("SP002", Case(BOTH | {"partitions": rows(Partition("ota_0", TYPE_APP, 0x10, 0x20000, 0x30000))})),
    ("SP023", Case(BOTH, {"secure_boot": {"enabled": False}})),
    ("SP027", Case(BOTH | {"config": {"NVS_SEC_HMAC_EFUSE_KEY_ID": -1}})),
    ("SP028", Case(SIGNED, {"nvs": {"scheme": "flash-encryption"}})),
    ("SP040", Case(SIGNED)),
    ("SP049", Case(PLAIN, {"secure_boot": {"enabled": True}}, chip="esp32")),
    ("SP050", Case(ENCRYPTED | {"min_revision": 0}, {"lockdown": {"download_mode": "disabled"}}, chip="esp32")),
    ("SP090", Case(BOTH, {"nvs": {"scheme": "off", "images": {"nvs": "nvs.csv"}}}, change=nvs_csv)),
    ("SP092", Case(BOTH | {"data_images": {"nvs": nvs_image(bytes(range(64)))}})),
    ("SP092", Case(BOTH | {"data_images": {"nvs": nvs_image(bytes(range(64)))}}, chip="esp32")),
    ("SP092", Case(WITHOUT_NVS_KEYS, {"nvs": {"images": {"nvs": "nvs.csv"}}}, chip="esp32", change=nvs_csv)),
    ("SP095", Case(BOTH, {"nvs": {"scheme": "flash-encryption"}})),
    ("SP006", Case(BOTH | {"partitions": rows(Partition("early", TYPE_DATA, 0x40, 0xB000, 0x1800))})),
)


@pytest.fixture
def examined(new_build: Callable[..., Path], tmp_path: Path) -> Callable[[Case], Decision]:
    def run(case: Case, accept: tuple[str, ...] = ()) -> Decision:
        options = SampleOptions(**dict(case.options))
        build_dir = new_build(case.chip, options)
        if case.change is not None:
            case.change(build_dir)
        document: dict[str, Any] = {"schema": 1, **{name: dict(value) for name, value in case.profile.items()}}
        secure_boot = document.setdefault("secure_boot", {})
        secure_boot.setdefault("keys", [f"signing_{number}.pem" for number in range(case.keys)])
        document["doctor"] = {"accept": list(accept)}
        return decide(build_dir, check_profile(document, tmp_path / "profile.yaml"))

    return run


def found(decision: Decision, code: str) -> list[Finding]:
    return [finding for finding in decision.findings if finding.code == code]


def test_codes_are_unique_and_sorted() -> None:
    codes = [rule.code for rule in ALL_RULES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"SP\d{3}", code) for code in codes)
    for file in FILES:
        in_file = [rule.code for rule in file.RULES]
        assert in_file == sorted(in_file)
    assert sorted(rule for file in FILES for rule in [rule.code for rule in file.RULES]) == sorted(codes)


def test_every_rule_has_a_title_of_its_own() -> None:
    titles = [rule.title for rule in ALL_RULES]
    assert len(set(titles)) == len(titles)
    assert all(title and not title.endswith(".") for title in titles)


def test_there_is_a_case_for_every_rule() -> None:
    assert sorted(CASES) == sorted(rule.code for rule in ALL_RULES)


@pytest.mark.parametrize("code", sorted(CASES))
def test_rule_finds_its_case(code: str, examined: Callable[..., Decision]) -> None:
    rule = next(rule for rule in ALL_RULES if rule.code == code)
    findings = found(examined(CASES[code]), code)
    assert findings, f"{code} found nothing"
    for finding in findings:
        assert finding.severity is rule.severity
        assert finding.place and finding.cause and finding.cure
        assert finding.stops == (rule.severity is Severity.ERROR)
        assert not finding.accepted


@pytest.mark.parametrize(("code", "case"), MORE_CASES)
def test_rule_finds_further_cases(code: str, case: Case, examined: Callable[..., Decision]) -> None:
    assert found(examined(case), code)


ERRORS = sorted(rule.code for rule in ALL_RULES if rule.severity is Severity.ERROR)


@pytest.mark.parametrize("code", ERRORS)
def test_accepting_an_error(code: str, examined: Callable[..., Decision]) -> None:
    rule = next(rule for rule in ALL_RULES if rule.code == code)
    if not rule.acceptable:
        with pytest.raises(UsageError) as refused:
            examined(CASES[code], accept=(code,))
        assert refused.value.code == "SE405"
        return
    decision = examined(CASES[code], accept=(code,))
    for finding in found(decision, code):
        assert finding.accepted and not finding.stops
        assert finding.severity is Severity.ERROR
    others = [finding for finding in decision.findings if finding.stops and finding.code != code]
    if others:
        with pytest.raises(CheckError) as caught:
            decision.require_healthy()
        assert caught.value.code == "SE404"
        assert caught.value.cure and caught.value.place
    else:
        decision.require_healthy()


def test_what_would_brick_cannot_be_accepted() -> None:
    rules = {rule.code: rule for rule in ALL_RULES}
    for code in ("SP001", "SP002", "SP003", "SP004", "SP006", "SP010", "SP024"):
        assert not rules[code].acceptable


def test_findings_are_sorted_worst_first(examined: Callable[..., Decision]) -> None:
    decision = examined(CASES["SP005"])
    order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    ranks = [(order[finding.severity], finding.code) for finding in decision.findings]
    assert ranks == sorted(ranks)
    assert {rank for rank, _ in ranks} >= {0, 2}


@pytest.mark.parametrize("chip", ["esp32", "esp32c2", "esp32c3"])
def test_healthy_build_has_no_error(
    chip: str,
    sample_project: Callable[[str], Path],
    signing_key_for: Callable[[str], Path],
) -> None:
    settings: dict[str, Value] = {"secure_boot.keys": (str(signing_key_for(chip)),)}
    decision = decide(sample_project(chip) / "build", Profile(Path(), settings))
    assert [finding for finding in decision.findings if finding.severity is Severity.ERROR] == []
    assert [finding.code for finding in decision.findings if finding.severity is Severity.WARNING] == []
    decision.require_healthy()
