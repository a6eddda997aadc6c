# SPDX-License-Identifier: Apache-2.0
"""report.html is sound HTML, needs nothing else, tells what the bundle holds, and stays whole with any name in it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import html5lib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.typed_documents import changed, outcome_for

from secure_ext.bundle.read import FinishedBundle, has_passed_rehearsal, read_bundle, store_rehearsal
from secure_ext.bundle.write import Bundle
from secure_ext.documents.rehearsal import RehearsalOutcome
from secure_ext.errors import InputError
from secure_ext.report.element import el, fit, markup
from secure_ext.report.page import REPORT, render_report

XHTML = "{http://www.w3.org/1999/xhtml}"
CUTS = {"tried": 23, "register_writes": 9, "recovered": 20, "damaged": 3, "failed": 0, "cuts": []}


def rehearsed(bundle: str = "0" * 64, *, passed: bool = True) -> RehearsalOutcome:
    return outcome_for(bundle, passed=passed, power_cuts=CUTS)


def parsed(text: str) -> Any:
    """The tree of a page; any parse error is raised."""
    return html5lib.HTMLParser(strict=True).parse(text)


def words(tree: Any) -> str:
    """The text that a reader sees."""
    return " ".join(" ".join(part.split()) for part in tree.find(f"{XHTML}body").itertext() if part.strip())


def page_of(bundle: Bundle | FinishedBundle, rehearsal: RehearsalOutcome | None = None) -> str:
    return render_report(bundle.manifest, bundle.plan, rehearsal)


def test_the_page_is_sound_and_needs_nothing_else(bundle: Bundle) -> None:
    text = (bundle.folder / REPORT).read_text(encoding="utf-8")
    tree = parsed(text)
    tags = {str(node.tag).rpartition("}")[2] for node in tree.iter() if isinstance(node.tag, str)}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use"}
    for node in tree.iter():
        for name, value in node.attrib.items():
            assert not name.startswith("on") and name != "style"
            assert name != "href" or value.startswith("#")
    assert "url(" not in text and "@import" not in text and "http" not in text.replace("http-equiv", "")
    policy = next(node for node in tree.iter(f"{XHTML}meta") if node.get("http-equiv") == "Content-Security-Policy")
    assert policy.get("content") == "default-src 'none'; style-src 'unsafe-inline'"


def test_every_link_leads_to_a_part_and_every_name_is_used_once(bundle: Bundle) -> None:
    tree = parsed(page_of(bundle))
    names = [node.get("id") for node in tree.iter() if node.get("id")]
    assert not [name for name, count in Counter(names).items() if count > 1]
    links = [node.get("href")[1:] for node in tree.iter(f"{XHTML}a")]
    assert len(links) > 5 and set(links) <= set(names)
    labels = [name for node in tree.iter() for name in (node.get("aria-labelledby") or "").split()]
    assert labels and set(labels) <= set(names)


def test_the_page_tells_what_the_bundle_holds(bundle: Bundle) -> None:
    tree = parsed(page_of(bundle, rehearsed()))
    text = words(tree)
    for image in bundle.manifest.images:
        assert image.sha256 in text and str(image.source_sha256) in text
    for key in bundle.manifest.keys:
        assert str(key.fingerprint) in text
    used = {key.block for key in bundle.manifest.keys}
    assert used and all(name in text for name in used)
    for row in bundle.manifest.partitions:
        assert row.label in text
    for finding in bundle.manifest.findings:
        assert finding.code in text and finding.place in text
    assert "23 moments" in text and "secure boot is on" in text


@pytest.mark.parametrize(
    ("severities", "said"),
    [
        ((), "the doctor found no fault"),
        (("info",) * 4, "the doctor found no fault, 4 notes"),
        (("info", "warning", "error", "warning"), "the doctor found 1 error, 2 warnings, 1 note"),
    ],
)
def test_the_top_says_how_much_the_doctor_found(
    severities: tuple[str, ...], said: str, made_bundle: Callable[[str], Bundle]
) -> None:
    bundle = made_bundle("esp32c3")
    findings = [
        {"code": "SP001", "severity": severity, "place": "here", "cause": "it is", "cure": "mend", "accepted": True}
        for severity in severities
    ]
    tree = parsed(render_report(changed(bundle.manifest, findings=findings), bundle.plan, None))
    badges = ["".join(node.itertext()) for node in next(tree.iter(f"{XHTML}header")).iter(f"{XHTML}span")]
    assert said in badges


def test_the_contents_are_the_headings(bundle: Bundle) -> None:
    tree = parsed(page_of(bundle))
    headings = {node.get("id"): node.text for node in tree.iter(f"{XHTML}h2")}
    links = next(tree.iter(f"{XHTML}nav")).iter(f"{XHTML}a")
    assert {node.get("href")[1:]: node.text for node in links} == headings


def test_neighbouring_empty_key_blocks_share_a_line(made_bundle: Callable[[str], Bundle]) -> None:
    bundle = made_bundle("esp32c3")
    blocks = [
        " ".join("".join(node.itertext()).split())
        for node in parsed(page_of(bundle)).iter(f"{XHTML}li")
        if (node.get("class") or "").startswith("block")
    ]
    used = sorted({key.block for key in bundle.manifest.keys})
    assert used == ["BLOCK_KEY0", "BLOCK_KEY1", "BLOCK_KEY5"]
    assert [text.split()[0][:10] for text in blocks] == ["BLOCK_KEY0", "BLOCK_KEY1", "BLOCK_KEY2", "BLOCK_KEY5"]
    assert blocks[2] == "BLOCK_KEY2 to BLOCK_KEY4: empty. The plan leaves them alone."


def test_steps_are_numbered_as_in_the_plan_with_their_reasons(bundle: Bundle) -> None:
    tree = parsed(page_of(bundle))
    steps = [node for node in tree.iter(f"{XHTML}li") if node.get("class") == "step"]
    assert len(steps) == len(bundle.plan.steps)
    for node, step in zip(steps, bundle.plan.steps, strict=True):
        text = "".join(node.itertext())
        reason, what = text.index(step.why[1:]), text.index(step.title)
        assert text.startswith("Why: ") and reason < what < text.index(f"Wanted by: {step.source}")
    starts = [(int(node.get("start")), len(node)) for node in tree.iter(f"{XHTML}ol") if node.get("start")]
    position = 1
    for start, count in starts:
        assert start == position
        position += count
    assert position == len(steps) + 1


def test_no_secret_is_on_the_page(bundle: Bundle) -> None:
    text = (bundle.folder / REPORT).read_text(encoding="utf-8").lower()
    for path in (bundle.folder / "keys").iterdir():
        content = path.read_bytes()
        assert content.hex() not in text and content[::-1].hex() not in text


# ---- part of the bundle


@pytest.fixture
def finished(made_bundle: Callable[[str], Bundle], tmp_path: Path) -> FinishedBundle:
    folder = tmp_path / "bundle"
    shutil.copytree(made_bundle("esp32c3").folder, folder)
    return read_bundle(folder)


def test_a_rehearsal_is_added_to_the_page_and_the_bundle_stays_the_same_one(finished: FinishedBundle) -> None:
    before = (finished.folder / REPORT).read_text(encoding="utf-8")
    assert "not rehearsed yet" in before
    store_rehearsal(finished, rehearsed(finished.identity))
    again = read_bundle(finished.folder)
    after = (finished.folder / REPORT).read_text(encoding="utf-8")
    assert "not rehearsed yet" not in after and "rehearsal passed" in after and "23 moments" in after
    assert again.identity == finished.identity and has_passed_rehearsal(again)
    assert again.manifest.files[REPORT] != finished.manifest.files[REPORT]


def test_a_failed_rehearsal_is_not_hidden(finished: FinishedBundle) -> None:
    store_rehearsal(finished, rehearsed(finished.identity, passed=False))
    assert "rehearsal FAILED" in (finished.folder / REPORT).read_text(encoding="utf-8")


def test_the_page_is_made_of_the_bundle_alone(finished: FinishedBundle) -> None:
    """Nothing of the build, the clock or the machine is in it: a copy elsewhere gives the same page."""
    assert page_of(finished) == (finished.folder / REPORT).read_text(encoding="utf-8")


def test_a_page_that_was_changed_is_found_out(finished: FinishedBundle) -> None:
    (finished.folder / REPORT).write_text("<!DOCTYPE html>all is well", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_bundle(finished.folder)
    assert caught.value.code == "SE731"


@pytest.mark.parametrize("number", range(4))
def test_interrupted_while_a_rehearsal_is_added_the_bundle_stays_sound(
    number: int, finished: FinishedBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_rehearsal(finished, rehearsed(finished.identity))
    replace, calls = Path.replace, iter(range(4))

    def interrupted(path: Path, target: Path) -> Path:
        if next(calls) == number:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", interrupted)
        store_rehearsal(read_bundle(finished.folder), rehearsed(finished.identity, passed=False))
    again = read_bundle(finished.folder)
    assert again.identity == finished.identity
    assert has_passed_rehearsal(again) == (number == 0)
    store_rehearsal(again, rehearsed(again.identity))
    assert has_passed_rehearsal(read_bundle(finished.folder))


@pytest.mark.parametrize("lost", ["partitions", "key_blocks", "findings", "flash_size", "keys", "created"])
def test_a_manifest_that_lost_something_is_an_error_and_nothing_is_written(finished: FinishedBundle, lost: str) -> None:
    path = finished.folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest[lost] = 5 if lost != "flash_size" else "much"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        store_rehearsal(read_bundle(finished.folder), rehearsed(finished.identity))
    assert caught.value.code == "SE730"
    assert not (finished.folder / "rehearsal.json").exists()


# ---- names that want to be markup

DISPATCHED = {
    "kind",
    "stage",
    "role",
    "severity",
    "part",
    "chip",
    "field",
    "block",
    "key_blocks",
    "enabling_fields",
    "holds",
    "type",
    "subtype",
}
"""What the page chooses by; a bundle with another value there is refused, or it is no name."""
PAYLOADS = st.one_of(
    st.sampled_from(
        (
            "</style><script>alert(1)</script>",
            "\"><img src=x onerror='alert(1)'>",
            "</title></svg><a href='javascript:alert(1)'>",
            "<!--",
            "]]>",
            "&lt;b&gt;&#60;",
            "\u202egnp.exe",
            "\x00\x1b[31m",
            "\ud800",
            "\ufffe",
        )
    ),
    st.text(min_size=1, max_size=20),
)


def hostile(document: Any, payload: str, key: str = "") -> Any:
    """The document with `payload` in place of every text that is shown, also where its reader would refuse it."""
    if dataclasses.is_dataclass(document) and not isinstance(document, type):
        values = {field.name: getattr(document, field.name) for field in dataclasses.fields(document)}
        return dataclasses.replace(document, **{n: hostile(value, payload, n) for n, value in values.items()})
    if isinstance(document, dict):
        return {name: hostile(value, payload, name) for name, value in document.items()}
    if isinstance(document, tuple):
        return tuple(hostile(value, payload, key) for value in document)
    return payload if isinstance(document, str) and key not in DISPATCHED else document


def shape(tree: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every element with the names of its attributes."""
    for node in tree.iter():
        yield str(node.tag), tuple(sorted(node.attrib))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=PAYLOADS)
def test_hostile_names_stay_text(made_bundle: Callable[[str], Bundle], payload: str) -> None:
    bundle = made_bundle("esp32c3")
    usual = parsed(page_of(bundle, rehearsed()))
    documents = (hostile(part, payload) for part in (bundle.manifest, bundle.plan, rehearsed()))
    tree = parsed(render_report(*documents))
    assert list(shape(tree)) == list(shape(usual))
    heading = next(tree.iter(f"{XHTML}h1"))
    assert "".join(heading.itertext()) == fit(payload).replace("\r", "\n")


@settings(max_examples=200, deadline=None)
@given(text=st.text(), value=st.text())
def test_an_element_holds_any_text_as_text(text: str, value: str) -> None:
    tree = parsed(f"<!DOCTYPE html><title>t</title>{markup(el('p', text, data_value=value))}")
    paragraph = next(tree.iter(f"{XHTML}p"))
    assert len(paragraph) == 0
    assert (paragraph.text or "") == fit(text) and paragraph.get("data-value") == fit(value)


def test_a_name_without_letters_has_a_stand_in(made_bundle: Callable[[str], Bundle]) -> None:
    bundle = made_bundle("esp32c3")
    text = render_report(changed(bundle.manifest, project="", idf_version=None, findings=[]), bundle.plan, None)
    assert "project without a name" in words(parsed(text)) and "None" not in words(parsed(text))
