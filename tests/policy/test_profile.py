# SPDX-License-Identifier: Apache-2.0
"""Profiles: the template, unknown keys, wrong values, and the JSON Schema that says the same as the loader."""

from __future__ import annotations

import base64
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ext.errors import InputError, SecureProvisionError, UsageError
from secure_ext.policy.profile import Profile, check_profile, load_profile
from secure_ext.policy.settings import SETTINGS, Kind, json_schema, template

PATH = Path("profile.yaml")
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
CHOICES = [setting for setting in SETTINGS if setting.kind is Kind.CHOICE]


def write(folder: Path, text: str) -> Path:
    path = folder / "profile.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(document: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        check_profile(document, PATH)
    return caught.value


def nested(key: str, value: object) -> dict[str, Any]:
    """A profile in which one setting is given."""
    section, _, name = key.rpartition(".")
    return {"schema": 1} | ({section: {name: value}} if section else {name: value})


def is_loaded(document: object) -> bool:
    try:
        check_profile(document, PATH)
    except UsageError as error:
        assert error.code in ("SE303", "SE304")
        assert error.cause and error.cure and error.place
        return False
    return True


def uncommented(text: str) -> str:
    """The template with every setting in force; its explanations stay comments."""
    return re.sub(r"^( *)#(?=\w)", r"\1", text, flags=re.MULTILINE)


def test_template_loads_as_it_is(tmp_path: Path) -> None:
    assert load_profile(write(tmp_path, template())).values == {"schema": 1}


def test_template_loads_with_every_line_uncommented(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, uncommented(template())))
    assert set(profile.values) == {setting.key for setting in SETTINGS}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_template_loads_with_one_setting_uncommented(setting: Any, tmp_path: Path) -> None:
    section, _, name = setting.key.rpartition(".")
    lines = template().splitlines()
    if setting.key != "schema":
        number = lines.index(
            f"{'  ' if section else ''}#{name}: {setting.example}", lines.index(f"{section}:") if section else 0
        )
        lines[number] = lines[number].replace("#", "", 1)
    profile = load_profile(write(tmp_path, "\n".join(lines)))
    assert set(profile.values) == {"schema", setting.key}


def test_template_explains_every_setting() -> None:
    for setting in SETTINGS:
        assert setting.help in template()


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("flash_encryption.mod", "flash_encryption.mode"),
        ("flash_encryption.keysize", "flash_encryption.key_size"),
        ("secure_boot.enable", "secure_boot.enabled"),
        ("secure_boot.key", "secure_boot.keys"),
        ("nvs.keyid", "nvs.key_id"),
        ("lockdown.jtagg", "lockdown.jtag"),
        ("image", "images"),
        ("flash_encription", "flash_encryption"),
        ("blank_partition", "blank_partitions"),
    ],
)
def test_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    error = refusal(nested(key, "release"))
    assert error.code == "SE303"
    assert repr(key) in error.cause and repr(nearest) in error.cure
    assert error.place == f"profile.yaml: {key}"


def test_unknown_key_like_no_other_names_the_way_to_all() -> None:
    error = refusal({"schema": 1, "zzzzzzzzzz": 1})
    assert error.code == "SE303"
    assert "--init" in error.cure


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("flash_encryption.mode", "Release"),
        ("flash_encryption.mode", True),
        ("flash_encryption.mode", None),
        ("flash_encryption.key_size", 512),
        ("flash_encryption.key_size", False),
        ("flash_encryption.key", ""),
        ("flash_encryption.key", 5),
        ("flash_encryption.pseudo_round", 4),
        ("flash_encryption.pseudo_round", -1),
        ("flash_encryption.pseudo_round", True),
        ("flash_encryption.pseudo_round", "1"),
        ("secure_boot.enabled", "yes"),
        ("secure_boot.enabled", 1),
        ("secure_boot.scheme", "rsa2048"),
        ("secure_boot.keys", "key.pem"),
        ("secure_boot.keys", ["key.pem", 3]),
        ("secure_boot.keys", [""]),
        ("secure_boot.keys", {"a": "b"}),
        ("secure_boot.keys", [{"key": "a.pem", "sings": "all"}]),
        ("secure_boot.keys", [{"key": "a.pem", "signs": "app"}]),
        ("secure_boot.keys", [{"key": "a.pem", "signs": True}]),
        ("secure_boot.keys", [{"key": ""}]),
        ("secure_boot.keys", [{"signs": "all"}]),
        ("secure_boot.keys", [{}]),
        ("secure_boot.keys", [{"digest": "5a" * 31}]),
        ("secure_boot.keys", [{"digest": "5a" * 32, "signs": "bootloader"}]),
        ("secure_boot.keys", [{"digest": "5a" * 32, "key": "a.pem"}]),
        ("secure_boot.keys", [None]),
        ("nvs.scheme", "HMAC"),
        ("nvs.key_id", 6),
        ("lockdown.download_mode", "off"),
        ("lockdown.jtag", "closed"),
        ("images", ["storage"]),
        ("images", {"storage": 5}),
        ("images", {"storage": ""}),
        ("images", None),
        ("blank_partitions", {"storage": "zero"}),
        ("doctor.accept", "SP020"),
        ("schema", 2),
        ("schema", "1"),
        ("schema", True),
    ],
)
def test_wrong_value(key: str, value: object) -> None:
    error = refusal(nested(key, value))
    assert error.code == "SE304"
    assert error.cure and error.place == f"profile.yaml: {key}"
    assert not VALIDATOR.is_valid(nested(key, value))


def test_a_signing_key_says_what_it_signs() -> None:
    keys = [
        "a.pem",
        {"key": "b.pem"},
        {"key": "c.pem", "signs": "bootloader"},
        {"key": "d.pem", "signs": "nothing"},
        {"digest": "5A" * 32},
        {"digest": "5a" * 32, "signs": "nothing"},
    ]
    assert VALIDATOR.is_valid(nested("secure_boot.keys", keys))
    entries = check_profile(nested("secure_boot.keys", keys), Path("profile.yaml")).signing_entries("secure_boot.keys")
    assert entries is not None
    assert [entry.signs.value for entry in entries] == ["all", "all", "bootloader", "nothing", "nothing", "nothing"]
    assert [entry.key for entry in entries] == ["a.pem", "b.pem", "c.pem", "d.pem", "", ""]
    assert [entry.digest for entry in entries[4:]] == ["5a" * 32] * 2


def test_wrong_value_says_what_is_right() -> None:
    assert "bootloader, nothing" in refusal(nested("secure_boot.keys", [{"key": "a.pem", "signs": "app"}])).cause
    assert "off, development, release" in refusal(nested("flash_encryption.mode", "on")).cause
    assert "from 0 to 3" in refusal(nested("flash_encryption.pseudo_round", 9)).cause
    assert "true or false" in refusal(nested("secure_boot.enabled", "y")).cause
    assert "a list" in refusal(nested("secure_boot.keys", "k")).cause


@pytest.mark.parametrize("document", [None, [], "text", 5, {}, {"flash_encryption": {}}, {"schema": None}])
def test_a_profile_is_a_mapping_with_a_schema(document: object) -> None:
    assert refusal(document).code == "SE304"
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize("value", ["release", ["mode"], 5, True])
def test_a_section_is_a_mapping(value: object) -> None:
    error = refusal({"schema": 1, "flash_encryption": value})
    assert error.code == "SE304"
    assert not VALIDATOR.is_valid({"schema": 1, "flash_encryption": value})


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("flash_encryption: {mode: off}", "flash_encryption.mode", "off"),
        ("flash_encryption: {mode: 'off'}", "flash_encryption.mode", "off"),
        ("flash_encryption: {key_size: 256}", "flash_encryption.key_size", "256"),
        ("flash_encryption: {key_size: 128-derived}", "flash_encryption.key_size", "128-derived"),
        ("nvs: {scheme: off}", "nvs.scheme", "off"),
        ("nvs: {scheme: OFF}", "nvs.scheme", "off"),
    ],
)
def test_yaml_reads_some_words_in_its_own_way(text: str, key: str, expected: str, tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, f"schema: 1\n{text}\n"))
    assert profile.text(key) == expected
    assert VALIDATOR.is_valid(yaml.safe_load(f"schema: 1\n{text}\n"))


def test_values_by_kind(tmp_path: Path) -> None:
    text = """
schema: 1
secure_boot: {enabled: false, keys: [a.pem, b.pem]}
nvs: {key_id: 0}
images: {storage: s.bin}
"""
    profile = load_profile(write(tmp_path, text))
    assert profile.folder == tmp_path
    assert profile.flag("secure_boot.enabled") is False
    assert profile.flag("secure_boot.revoke_unused") is None
    assert profile.texts("secure_boot.keys") == ("a.pem", "b.pem")
    assert profile.integer("nvs.key_id") == 0
    assert profile.mapping("images") == {"storage": "s.bin"}
    assert profile.mapping("blank_partitions") == {}
    assert profile.text("nvs.scheme") is None


def test_missing_profile(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_profile(tmp_path / "none.yaml")
    assert caught.value.code == "SE301"


def test_profile_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80schema: 1")
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert caught.value.code == "SE301"


@pytest.mark.parametrize(
    "text", ["a: [", "a: b: c", "\tx: 1", "{schema: 1", "a: !!python/object:os.system {}", "--- 1\n--- 2"]
)
def test_profile_that_is_no_yaml(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_profile(write(tmp_path, text))
    assert caught.value.code == "SE302"


@pytest.mark.parametrize(
    "text",
    [
        "schema: 1\nnvs: {key: 2026-99-99}",
        "schema: 1\nnvs: {key_id: " + "9" * 5000 + "}",
        "schema: 1\nimages: " + "[" * 3000,
    ],
    ids=["a date that does not exist", "a number of 5000 digits", "3000 brackets"],
)
def test_profile_that_yaml_itself_stumbles_over(text: str, tmp_path: Path) -> None:
    with pytest.raises(SecureProvisionError) as caught:
        load_profile(write(tmp_path, text))
    assert caught.value.code in ("SE302", "SE304")


def test_schema_file_is_the_generated_one() -> None:
    file = resources.files("secure_ext.policy") / "profile.schema.json"
    assert json.loads(file.read_text(encoding="utf-8")) == json_schema()


def test_schema_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_schema_describes_every_setting() -> None:
    properties: Any = json_schema()["properties"]
    for setting in SETTINGS:
        section, _, name = setting.key.rpartition(".")
        described = properties[section]["properties"][name] if section else properties[name]
        assert described["description"] == setting.help


def test_schema_accepts_a_section_whose_keys_are_all_commented_out() -> None:
    document = {"schema": 1, "flash_encryption": None}
    assert is_loaded(document)
    assert VALIDATOR.is_valid(document)


def test_dotted_keys_are_no_second_spelling() -> None:
    document = {"schema": 1, "flash_encryption.mode": "release"}
    assert not VALIDATOR.is_valid(document)
    assert not is_loaded(document)


def test_schema_refuses_an_empty_label() -> None:
    document = {"schema": 1, "images": {"": "storage.bin"}}
    assert not is_loaded(document)
    assert not VALIDATOR.is_valid(document)


WORDS = "off on 128 256 128-derived esp32 release development hmac secure disabled open erased generate key.pem rsa3072"
SCALARS = st.sampled_from([None, True, False, 0, 1, 2, 3, 5, 6, -1, 128, 256, "", *WORDS.split()])
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.sampled_from(["a", "nvs"]), SCALARS, max_size=2)
SECTIONS = sorted({setting.key.partition(".")[0] for setting in SETTINGS if "." in setting.key})
TOP_LEVEL = sorted({setting.key for setting in SETTINGS if "." not in setting.key} - {"schema"})


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Profiles with one or two keys in them, right or wrong."""
    document: dict[str, Any] = {"schema": draw(st.sampled_from([1, 1, 1, 1, 0, 2, "1", None]))}
    for _ in range(draw(st.integers(1, 2))):
        section = draw(st.sampled_from([*SECTIONS, *TOP_LEVEL, "unknown"]))
        names = [setting.key.split(".")[1] for setting in SETTINGS if setting.key.startswith(section + ".")]
        if bool(names) and draw(st.integers(0, 9)) > 0:
            inner = {draw(st.sampled_from([*names, *names, "unknown"])): draw(VALUES)}
            document[section] = inner
        else:
            document[section] = draw(VALUES.filter(lambda value: value is not None))
    return document


@settings(max_examples=300, deadline=None)
@given(documents())
def test_schema_accepts_what_the_loader_accepts(document: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(document) == is_loaded(document)


@pytest.mark.parametrize("setting", CHOICES, ids=lambda setting: setting.key)
def test_every_choice_is_accepted_by_both(setting: Any) -> None:
    for choice in setting.choices:
        spellings = [choice, *([int(choice)] if choice.isdecimal() else []), *([False] if choice == "off" else [])]
        for spelling in spellings:
            assert VALIDATOR.is_valid(nested(setting.key, spelling))
            assert check_profile(nested(setting.key, spelling), PATH).text(setting.key) == choice


def test_an_empty_profile_object() -> None:
    profile = Profile(Path())
    assert profile.texts("secure_boot.keys") is None
    assert profile.integer("nvs.key_id") is None
    assert profile.flag("secure_boot.enabled") is None


KEY_IN_HEX = bytes(range(200, 232)).hex()


@pytest.mark.parametrize(
    "text",
    [
        f"flash_encryption: {{key: {KEY_IN_HEX}}}",
        f"nvs: {{key: '0x{KEY_IN_HEX}'}}",
        f"flash_encryption: {{key: {base64.b64encode(bytes(range(200, 232))).decode()}}}",
        f"secure_boot: {{keys: ['{KEY_IN_HEX}']}}",
        f"secure_boot: {{keys: {KEY_IN_HEX}}}",
        f"flash_encryption: {{mode: {KEY_IN_HEX}}}",
        f"{KEY_IN_HEX}: 1",
        f"flash_encryption: {{key: '{KEY_IN_HEX}",
        f"secure_boot:\n  keys:\n    - |\n      -----BEGIN PRIVATE KEY-----\n      {KEY_IN_HEX}\n",
    ],
)
def test_a_key_that_was_pasted_is_refused_and_never_shown(text: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text(f"schema: 1\n{text}\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_profile(path)
    shown = f"{caught.value} {caught.value.as_dict()}"
    assert KEY_IN_HEX[:16] not in shown
    assert "yMnKy8" not in shown


def test_a_section_that_is_there_twice_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text("schema: 1\nlockdown: {jtag: disabled}\nlockdown: {rom_basic: disabled}\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_profile(path)
    assert caught.value.code == "SE302"
    assert "line 3" in caught.value.cause
