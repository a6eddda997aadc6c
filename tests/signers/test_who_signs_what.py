# SPDX-License-Identifier: Apache-2.0
"""Each key signs what the profile says; a key that signs nothing, or has signed already, need not be at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from signer_world import public_halves  # noqa: F401 (a fixture)

from secure_ext.bundle.read import read_bundle
from secure_ext.formats.secure_boot import public_key_digest, read_signature_blocks, sign
from secure_ext.keys.signing import load_signing_key, load_verification_key
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.sample.options import SampleOptions

Build = Callable[..., Path]
Run = Callable[..., Result]
SECURE_BOOT = SampleOptions(secure_boot=True, app_size=20_000)


@pytest.fixture(name="digest")
def digest_of(signing_keys: dict[str, Path]) -> Callable[[str], bytes]:
    return lambda name: public_key_digest(load_verification_key(signing_keys[name]))


@pytest.fixture(name="make")
def bundle_maker(new_build: Build, run_cli: Run, tmp_path: Path) -> Callable[..., Result]:
    """Makes a bundle of a small secure boot build, with a profile whose signing keys are these."""

    def make(*keys: object, build: Path | None = None, chip: str = "esp32c3", command: str = "bundle") -> Result:
        folder = build or new_build(chip, SECURE_BOOT)
        profile = {"schema": 1, "secure_boot": {"keys": list(keys)}, "doctor": {"accept": ["SP023"]}}
        (tmp_path / "profile.yaml").write_text(json.dumps(profile), encoding="utf-8")
        where = ("-o", tmp_path / "out") if command == "bundle" else ("--format", "json")
        return run_cli(command, "-B", folder, "--profile", tmp_path / "profile.yaml", *where)

    return make


def signed_by(bundle: Path) -> dict[str, list[bytes]]:
    """The digests of who has signed, by the name of the image."""
    images = json.loads((bundle / "manifest.json").read_bytes())["images"]
    return {
        image["name"]: [b.key_digest for b in read_signature_blocks((bundle / image["file"]).read_bytes(), "image")]
        for image in images
        if image["signed"]
    }


def entry(key: object, signs: str) -> dict[str, str]:
    return {"key": str(key), "signs": signs}


def test_each_key_signs_what_it_is_for(
    make: Callable[..., Result],
    signing_keys: dict[str, Path],
    digest: Callable[[str], bytes],
    run_cli: Run,
    tmp_path: Path,
) -> None:
    """The whole way: signed, verified, rehearsed on a virtual chip; all three digests are burned."""
    keys = (str(signing_keys["rsa_0"]), entry(signing_keys["rsa_1"], "bootloader"), {"digest": digest("rsa_2").hex()})
    done = make(*keys)
    assert done.exit_code == 0, done.stderr
    out = tmp_path / "out"
    assert signed_by(out) == {"bootloader": [digest("rsa_0"), digest("rsa_1")], "sample": [digest("rsa_0")]}
    burned = [(out / "digests" / f"secure_boot_digest_{slot}.bin").read_bytes() for slot in range(3)]
    assert burned == [digest(f"rsa_{slot}") for slot in range(3)]
    steps = json.loads((out / "plan.json").read_bytes())["steps"]
    assert [step["signs"] for step in steps if "signs" in step] == ["all", "bootloader", "nothing"]

    verified = run_cli("verify", out, "-B", tmp_path / "project" / "build", "--profile", tmp_path / "profile.yaml")
    assert verified.exit_code == 0, verified.stdout
    outcome = rehearse_bundle(read_bundle(out), lambda _: None)
    assert outcome.passed, outcome.means
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("the bootloader and the app", "the bootloader only", "nothing in this folder"):
        assert page.count(words) == 1


def test_a_key_that_says_nothing_signs_everything(
    make: Callable[..., Result], signing_keys: dict[str, Path], digest: Callable[[str], bytes], tmp_path: Path
) -> None:
    """As in every version before; the doctor tells what ESP-IDF advises."""
    keys = [str(signing_keys[f"rsa_{number}"]) for number in range(3)]
    assert make(*keys).exit_code == 0
    everyone = [digest(f"rsa_{number}") for number in range(3)]
    assert signed_by(tmp_path / "out") == {"bootloader": everyone, "sample": everyone}
    findings = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["findings"]
    assert [f["severity"] for f in findings if f["code"] == "SP150"] == ["info"]


@pytest.mark.parametrize("spare", ["public", "digest"])
def test_spare_on_the_command_line(
    *,
    new_build: Build,
    run_cli: Run,
    signing_keys: dict[str, Path],
    public_keys: dict[str, Path],
    digest: Callable[[str], bytes],
    tmp_path: Path,
    spare: str,
) -> None:
    given = public_keys["rsa_1"] if spare == "public" else digest("rsa_1").hex()
    words = ("--signing-key", signing_keys["rsa_0"], "--digest-only-key", given, "--accept", "SP023")
    build = new_build("esp32s3", SECURE_BOOT)
    done = run_cli("bundle", "-B", build, *words, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert set(map(tuple, signed_by(tmp_path / "out").values())) == {(digest("rsa_0"),)}
    assert (tmp_path / "out" / "digests" / "secure_boot_digest_1.bin").read_bytes() == digest("rsa_1")
    verified = run_cli("verify", tmp_path / "out", "-B", build, *words)
    assert verified.exit_code == 0, verified.stdout
    forgotten = run_cli("verify", tmp_path / "out", "-B", build)
    assert (forgotten.exit_code, "options-repeated" in forgotten.stdout) == (1, True)


@pytest.mark.parametrize("signs", ["all", "bootloader", "nothing"])
def test_signed_bootloader_is_used_again_without_its_key(
    *,
    make: Callable[..., Result],
    new_build: Build,
    signing_keys: dict[str, Path],
    public_keys: dict[str, Path],
    digest: Callable[[str], bytes],
    tmp_path: Path,
    signs: str,
) -> None:
    """The bootloader was signed by the spare key once; the private half is in the safe."""
    build = new_build("esp32c3", SECURE_BOOT)
    bootloader = build / "bootloader" / "bootloader.bin"
    signers = [load_signing_key(signing_keys[name]) for name in ("rsa_0", "rsa_1")]
    bootloader.write_bytes(sign(bootloader.read_bytes(), signers, place="bootloader"))
    done = make(str(signing_keys["rsa_0"]), entry(public_keys["rsa_1"], signs), build=build)
    if signs == "all":
        assert done.exit_code == 2 and "SE712" in done.stderr and "--digest-only-key" in done.stderr
        return
    assert done.exit_code == 0, done.stderr
    both = [digest("rsa_0"), digest("rsa_1")]
    assert signed_by(tmp_path / "out") == {"bootloader": both, "sample": both[:1]}
    if signs == "nothing":
        assert rehearse_bundle(read_bundle(tmp_path / "out"), lambda _: None).passed


def test_detached_signature_is_asked_for_where_the_key_signs(
    *,
    make: Callable[..., Result],
    run_cli: Run,
    new_build: Build,
    signing_keys: dict[str, Path],
    public_keys: dict[str, Path],
    tmp_path: Path,
) -> None:
    build = new_build("esp32c3", SECURE_BOOT)
    assert make(str(signing_keys["rsa_0"]), entry(public_keys["rsa_1"], "bootloader"), build=build).exit_code == 2
    words = ("bundle", "-B", build, "--profile", tmp_path / "profile.yaml")
    assert run_cli(*words, "--to-be-signed", tmp_path / "to-sign").exit_code == 0
    asked = json.loads((tmp_path / "to-sign" / "requests.json").read_bytes())["requests"]
    assert [(request["image"], request["key"]) for request in asked] == [("bootloader", 2)]
    answer = load_signing_key(signing_keys["rsa_1"]).sign(
        (tmp_path / "to-sign" / "bootloader.key2.digest").read_bytes()
    )
    (tmp_path / "to-sign" / "bootloader.key2.sig").write_bytes(answer)
    done = run_cli(*words, "--signatures", tmp_path / "to-sign", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert {name: len(digests) for name, digests in signed_by(tmp_path / "out").items()} == {
        "bootloader": 2,
        "sample": 1,
    }


def test_someone_has_to_sign_the_app(make: Callable[..., Result], signing_keys: dict[str, Path]) -> None:
    for keys in (
        [entry(signing_keys["rsa_0"], "bootloader")],
        [entry(signing_keys["rsa_0"], "nothing"), entry(signing_keys["rsa_1"], "bootloader")],
        [{"digest": "00" * 32}],
    ):
        refused = make(*keys)
        assert refused.exit_code == 2 and "SE545" in refused.stderr


ALTERED: tuple[tuple[str, str], ...] = (("nothing", "all"), ("nothing", "bootloader"), ("bootloader", "all"))


@pytest.mark.parametrize(("said", "altered"), ALTERED)
def test_plan_that_promises_more_signatures_is_found_out(
    make: Callable[..., Result],
    signing_keys: dict[str, Path],
    digest: Callable[[str], bytes],
    run_cli: Run,
    tmp_path: Path,
    *,
    said: str,
    altered: str,
) -> None:
    """`verify` and the boot check ask the images, and not the plan alone."""
    assert make(str(signing_keys["rsa_0"]), entry(signing_keys["rsa_1"], said)).exit_code == 0
    path = tmp_path / "out" / "plan.json"
    plan: dict[str, Any] = json.loads(path.read_bytes())
    for step in plan["steps"]:
        if step.get("signs") == said:
            step["signs"] = altered
    path.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    checked = json.loads(run_cli("verify", tmp_path / "out", "--format", "json").stdout)
    wrong = {check["name"] for check in checked["checks"] if check["outcome"] == "failed"}
    assert "image-signatures" in wrong
    assert digest("rsa_1") not in signed_by(tmp_path / "out")["sample"]


class TestSignaturesOfTheBuild:
    """An image that the build has signed: what does not go together with the keys, the doctor says by name."""

    @pytest.fixture
    def signed_build(self, new_build: Build, signing_keys: dict[str, Path]) -> Callable[..., Path]:
        """A build whose app and bootloader are signed by the keys of these names; none leaves an image unsigned."""

        def build(app: tuple[str, ...], bootloader: tuple[str, ...] = (), chip: str = "esp32c3") -> Path:
            folder = new_build(chip, SECURE_BOOT)
            for path, names in ((folder / "sample.bin", app), (folder / "bootloader" / "bootloader.bin", bootloader)):
                if names:
                    private = [load_signing_key(signing_keys[name]) for name in names]
                    path.write_bytes(sign(path.read_bytes(), private, place=path.name))
            return folder

        return build

    @pytest.mark.parametrize(
        ("app", "bootloader", "places"),
        [
            (("rsa_3",), (), {"sample.bin"}),
            ((), ("rsa_3",), {"bootloader/bootloader.bin"}),
            (("rsa_0",), ("rsa_3",), {"bootloader/bootloader.bin"}),
            (("rsa_3",), ("rsa_0",), {"sample.bin"}),
            (("rsa_0", "rsa_3"), (), {"sample.bin"}),
            (("rsa_3",), ("rsa_3",), {"sample.bin", "bootloader/bootloader.bin"}),
            (("ecdsa256",), (), {"sample.bin"}),
            (("rsa_0",), ("rsa_0",), set()),
        ],
    )
    def test_image_of_another_key(
        self,
        make: Callable[..., Result],
        signed_build: Callable[..., Path],
        signing_keys: dict[str, Path],
        *,
        app: tuple[str, ...],
        bootloader: tuple[str, ...],
        places: set[str],
    ) -> None:
        build = signed_build(app, bootloader)
        looked = make(str(signing_keys["rsa_0"]), build=build, command="doctor")
        findings = json.loads(looked.stdout)["findings"]
        found = [finding for finding in findings if finding["code"] == "SP151"]
        assert {finding["place"] for finding in found} == places
        assert looked.exit_code == (1 if places else 0)
        for finding in found:
            assert "CONFIG_SECURE_BOOT_BUILD_SIGNED_BINARIES=n" in finding["cure"]
            assert "CONFIG_SECURE_BOOT_SIGNING_KEY" in finding["cure"]
        kept = {finding["place"] for finding in findings if finding["code"] == "SP012"}
        assert not kept & places
        made = make(str(signing_keys["rsa_0"]), build=build)
        assert made.exit_code == (1 if places else 0), made.stderr

    def test_public_half_is_enough_to_see_it(
        self, make: Callable[..., Result], signed_build: Callable[..., Path], public_keys: dict[str, Path]
    ) -> None:
        build = signed_build(("rsa_3",))
        looked = make(str(public_keys["rsa_0"]), build=build, command="doctor")
        assert "SP151" in {finding["code"] for finding in json.loads(looked.stdout)["findings"]}

    def test_more_signatures_than_an_image_holds(
        self, make: Callable[..., Result], signed_build: Callable[..., Path], signing_keys: dict[str, Path]
    ) -> None:
        """Two of one key leave no room for the two that are missing."""
        build = signed_build(("rsa_0",))
        path = build / "sample.bin"
        block = path.read_bytes()[-0x1000:][:1216]
        path.write_bytes(path.read_bytes()[:-0x1000] + (block * 2).ljust(0x1000, b"\xff"))
        looked = make(*(str(signing_keys[f"rsa_{n}"]) for n in range(3)), build=build, command="doctor")
        (found,) = (f for f in json.loads(looked.stdout)["findings"] if f["code"] == "SP151")
        assert "2 signatures" in found["cause"]

    def test_image_that_was_changed_after_signing(
        self, make: Callable[..., Result], signed_build: Callable[..., Path], signing_keys: dict[str, Path]
    ) -> None:
        build = signed_build(("rsa_0",))
        path = build / "sample.bin"
        content = bytearray(path.read_bytes())
        content[-0x1000 + 900] ^= 1
        path.write_bytes(content)
        looked = make(str(signing_keys["rsa_0"]), build=build, command="doctor")
        assert "SP151" in {finding["code"] for finding in json.loads(looked.stdout)["findings"]}

    def test_key_that_cannot_be_looked_at_may_have_signed(
        self, make: Callable[..., Result], signed_build: Callable[..., Path]
    ) -> None:
        """A generated key, one in a token, a locked file: nobody is accused; the bundle says it when it has the key."""
        build = signed_build(("rsa_3",))
        looked = make("generate", build=build, command="doctor")
        assert "SP151" not in {finding["code"] for finding in json.loads(looked.stdout)["findings"]}
        made = make("generate", build=build)
        assert made.exit_code == 1 and "SE529" in made.stderr and "BUILD_SIGNED_BINARIES=n" in made.stderr


class TestWithoutAKey:
    """`doctor` and `plan` look at a build without a signing key; a bundle needs one."""

    def test_doctor_and_plan_look_all_the_same(self, new_build: Build, run_cli: Run) -> None:
        build = new_build("esp32c3", SECURE_BOOT)
        words = ("-B", build, "--accept", "SP023", "--format", "json")
        looked = run_cli("doctor", *words)
        assert looked.exit_code == 0, looked.stderr
        (found,) = (f for f in json.loads(looked.stdout)["findings"] if f["code"] == "SP152")
        assert "no signing key is given" in found["cause"]
        planned = run_cli("plan", *words)
        assert planned.exit_code == 0, planned.stderr
        steps = [step["id"] for step in json.loads(planned.stdout)["plan"]["steps"]]
        assert "burn-key-secure-boot-digest-0" in steps and "burn-secure-boot-key-revoke1" in steps
        assert "no key given yet" in run_cli("plan", *words[:-2]).stdout

    @pytest.mark.parametrize("more", [("-o", "out"), ("--to-be-signed", "to-sign")])
    def test_bundle_needs_it(self, new_build: Build, run_cli: Run, tmp_path: Path, more: tuple[str, str]) -> None:
        build = new_build("esp32c3", SECURE_BOOT)
        refused = run_cli("bundle", "-B", build, "--accept", "SP023", more[0], tmp_path / more[1])
        assert refused.exit_code == 3 and "SE318" in refused.stderr
        assert not (tmp_path / more[1]).exists()

    def test_a_public_key_will_do(self, new_build: Build, run_cli: Run, public_keys: dict[str, Path]) -> None:
        build = new_build("esp32c3", SECURE_BOOT)
        words = ("-B", build, "--accept", "SP023", "--signing-key", public_keys["rsa_0"], "--format", "json")
        looked = run_cli("doctor", *words)
        assert looked.exit_code == 0
        assert "SP152" not in {finding["code"] for finding in json.loads(looked.stdout)["findings"]}
        assert run_cli("plan", *words).exit_code == 0


def test_generated_spare_is_kept_in_the_bundle(
    make: Callable[..., Result], signing_keys: dict[str, Path], digest: Callable[[str], bytes], tmp_path: Path
) -> None:
    """`generate` with `signs: nothing`: the key is made and kept, and has signed nothing."""
    assert make(str(signing_keys["rsa_0"]), entry("generate", "nothing")).exit_code == 0
    made = load_verification_key(tmp_path / "out" / "keys" / "secure_boot_signing_key_1.pem")
    assert (tmp_path / "out" / "digests" / "secure_boot_digest_1.bin").read_bytes() == public_key_digest(made)
    assert all(names == [digest("rsa_0")] for names in signed_by(tmp_path / "out").values())


def test_locked_and_damaged_spares_are_refused_as_others(
    make: Callable[..., Result], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "none.pem").write_text("no key", encoding="utf-8")
    refused = make(str(signing_keys["rsa_0"]), entry(tmp_path / "none.pem", "nothing"))
    assert refused.exit_code == 3 and "SE602" in refused.stderr
    twice = make(str(signing_keys["rsa_0"]), entry(signing_keys["rsa_0"], "nothing"))
    assert twice.exit_code == 2 and "SE711" in twice.stderr
