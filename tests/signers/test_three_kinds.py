# SPDX-License-Identifier: Apache-2.0
"""Three signers of three kinds sign the same images, in the order of the profile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from signer_world import WORDS, decrypted, lock, public_halves, shared_hsm, valid_blocks  # noqa: F401 (two fixtures)
from soft_hsm import PIN, SoftHsm

from secure_ext.formats.secure_boot import public_key_digest
from secure_ext.keys.signing import load_signing_key, load_verification_key
from secure_ext.station.fingerprint import fingerprint

Run = Callable[..., subprocess.CompletedProcess[str]]
PROFILE = """
schema: 1
secure_boot:
  keys: [elsewhere.pem, "pkcs11:token=factory;object=boot-rsa", locked.pem]
"""


def test_three_kinds_on_one_image(
    hsm: SoftHsm,
    *,
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    public_keys: dict[str, Path],
    tmp_path: Path,
    run_script: Run,
) -> None:
    (tmp_path / "profile.yaml").write_text(PROFILE, encoding="utf-8")
    (tmp_path / "elsewhere.pem").write_bytes(public_keys["rsa_1"].read_bytes())
    lock(signing_keys["rsa_2"], tmp_path / "locked.pem")
    words = ("bundle", "-B", sample_project("esp32c3") / "build", "--profile", tmp_path / "profile.yaml")
    asked = run_script(*words, "--to-be-signed", tmp_path / "to-sign")  # neither passphrase nor token is needed
    assert asked.returncode == 0, asked.stderr
    elsewhere = load_signing_key(signing_keys["rsa_1"])
    for path in (tmp_path / "to-sign").glob("*.key1.digest"):
        path.with_suffix(".sig").write_bytes(elsewhere.sign(path.read_bytes()))
    environment = {**hsm.environment, "SECURE_PROVISION_PASSPHRASE": WORDS}
    out = tmp_path / "out"
    made = run_script(*words, "--signatures", tmp_path / "to-sign", "-o", out, environment=environment)
    assert made.returncode == 0, made.stderr
    assert WORDS not in made.stdout + made.stderr and PIN not in made.stdout + made.stderr

    digest = run_script("keys", "digest", "pkcs11:token=factory;object=boot-rsa", environment=environment)
    first, third = (public_key_digest(load_verification_key(public_keys[name])) for name in ("rsa_1", "rsa_2"))
    expected = [first.hex(), digest.stdout.split()[1], third.hex()]
    burned = [(out / "digests" / f"secure_boot_digest_{slot}.bin").read_bytes() for slot in range(3)]
    assert [one.hex() for one in burned] == expected
    plan = (out / "plan.json").read_text(encoding="utf-8")
    assert sorted(range(3), key=lambda slot: plan.index(fingerprint(burned[slot]))) == [0, 1, 2]
    keys = {key["role"]: key["fingerprint"] for key in json.loads((out / "manifest.json").read_bytes())["keys"]}
    for slot in range(3):
        assert keys[f"secure_boot_digest_{slot}"] == fingerprint(burned[slot])
    for image in decrypted(out, tmp_path).values():
        assert valid_blocks(image) == expected
