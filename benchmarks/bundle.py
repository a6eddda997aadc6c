# SPDX-License-Identifier: Apache-2.0
"""A whole bundle beside the chain of espsecure commands that makes the same images, in one run; and the doctor.

The bundle reads the build, examines it, signs two images, encrypts four, proves all of them and writes everything; the
chain signs two and encrypts four. The doctor does nothing that espsecure does: beside it stands one that only shows its
help. All are timed as whole processes, as a build server starts them.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.keys.symmetric import generate_secret
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

RUNS = 5
CHIP = "esp32c6"


def timed(*commands: list[str]) -> float:
    """Seconds of wall clock for all commands, one after the other."""
    start = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def processor_time(command: list[str]) -> float:
    """Seconds of CPU of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    timed(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def espsecure_chain(
    folder: Path, images: list[dict[str, object]], build: Path, key: Path, pem: Path
) -> list[list[str]]:
    """The espsecure (5.x) commands that make the same images."""
    espsecure = [sys.executable, "-m", "espsecure"]
    commands = []
    for image in images:
        source = build / str(image["source"])
        if image["signed"]:
            signed = folder / f"{image['name']}-signed.bin"
            commands.append(
                [*espsecure, "sign-data", "--version", "2", "--keyfile", str(pem), "--output", str(signed), str(source)]
            )
            source = signed
        output = folder / f"{image['name']}.bin"
        commands.append(
            [*espsecure, "encrypt-flash-data", "--aes-xts", "--keyfile", str(key), "--address", str(image["offset"]),
             "--output", str(output), str(source)]
        )  # fmt: skip
    return commands


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = make_sample_build(
            folder, CHIP, options=SampleOptions(flash_encryption="release", secure_boot=True, app_size=1_000_000)
        )
        pem, key = folder / "key.pem", folder / "fe.bin"
        write_secret_file(pem, generate_signing_key(SignatureScheme.RSA3072))
        write_secret_file(key, generate_secret("flash_encryption", 32).data)
        bundle = [sys.executable, "-m", "secure_ext", "bundle", "-B", str(build), "--signing-key", str(pem)]
        bundle += ["--flash-encryption-key", str(key), "-o", str(folder / "bundle")]
        timed(bundle)
        images = json.loads((folder / "bundle" / "manifest.json").read_text())["images"]
        chain = espsecure_chain(folder, images, build, key, pem)
        ours, theirs, doctor, shows_help = [], [], [], []
        for _ in range(RUNS):
            ours.append(timed(bundle))
            theirs.append(timed(*chain))
            doctor.append(processor_time([sys.executable, "-m", "secure_ext", "doctor", "-B", str(build)]))
            shows_help.append(processor_time([sys.executable, "-m", "espsecure", "--help"]))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, median of {RUNS} runs")
    print(f"bundle (sign 2, encrypt 4, check, write): {statistics.median(ours):6.2f} s")
    print(f"{len(chain)} espsecure commands:             {statistics.median(theirs):6.2f} s")
    print(f"doctor, seconds of CPU:                 {statistics.median(doctor):6.2f} s")
    print(f"espsecure --help, seconds of CPU:       {statistics.median(shows_help):6.2f} s")
    print(f"ratio: {statistics.median(t / o for o, t in zip(ours, theirs, strict=True)):.1f}")


if __name__ == "__main__":
    main()
