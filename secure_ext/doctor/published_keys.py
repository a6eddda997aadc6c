# SPDX-License-Identifier: Apache-2.0
"""Private keys that anybody can download, by the SHA-256 of their DER bytes: they lie in public source trees for tests.

Collected from ESP-IDF v5.5, v6.0 and v6.1 (``tools/test_apps``, ``components/*/test_apps``) and esptool
(``test/secure_images``): those that could sign for secure boot (RSA-3072, P-256, P-384).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

_PEM = re.compile(rb"-----BEGIN (?:RSA |EC )?PRIVATE KEY-----\s(.*?)-----END ", re.DOTALL)

PUBLISHED_KEYS = frozenset(
    {
        "0a466e6dd3da862f7a4799367de596ce4f077d707080b2c4a651cb4c4347df8f",
        "1cf8f5162dee6d5899baac218e624ffba89081d8a4818dcfe3b3077cbc8f39f5",
        "1f4b82bc7f3b3384ab5ae68c9096f27f20854449e4fdcf7d538b43478ee41adf",
        "260711baef5c56267d75faa4083bb1ba228d01352f97e7c20d691a438e093395",
        "2712c6a8b0fbaef7308d472265fceb1418f90e0bf7a937aaa895e875c1db566b",
        "2c560ef4a547ee817b57a8c482e0f506d2073bc7f2c68b1fc72856aa43ab4340",
        "304f5206a8dc8dd653a55d5c01d2d5f3d0c7a9824ffd7baff6cc77a125c47bf9",
        "32a4d799ca31966ceaa9752fc08c22c745319f0ed743f8d79ac91961b25f617b",
        "38d379863433feaeb0b93a8c1dd1f6fb1e8e91181725bd9400d2e882ca68e5b9",
        "3bee8ae3c4213373b6168b3fbedaa02cbcf5f0d13d1e9fc17a1b5028ae7196f9",
        "3f4b31fa64db34c6c43e98ca05c96f01799feb6239f70c70104ff5eb29bd8cde",
        "40d8b192c6e86e5cd0b703ec94c84d5e51761a0a8bb65d77f3852bcc3d3a8c5f",
        "424def93934bfb96c9acd4287f5f4037e75f05a1e8d1fd9f80effec930202327",
        "54217ec2bf5477f675dfe6c563e3367dc72bacdd18864c0d74b716d04fced8e2",
        "5a6bb567a50aecf7e24e22391c0b6976ac8c98490a47b9ec6bae6daf2d6b376f",
        "68384ed73c65c14dcf53fe07de0022b7b9bb584246282fc625ad0045bb93b125",
        "698ddd4c4e91112ec859277a57e996fd67890a42feb439f5ee9b6fd6581b1de1",
        "75dfb681a7b403472261aabe8b77c2724ef1d82b207ff99621dc576b1f33251f",
        "7c127d013a313ccc526fc01f259ca2b95bbeb5b34a3391b2b067b423bf82b81d",
        "8107840892fd95eac1c04a86af3f7d59b3b775af7f921c60568bb24fa2c10db5",
        "8b6308dca3eb8ae0fc6cd6097c9846d30299474d86e26613f55779a1afb735f9",
        "8e45211960e9ca63112c68c2bb5d8f16d182fa087a4e26cf459478789206bb08",
        "b14efb29fb80b7c88fc5b9677f6946bcbe0e349afdfc8dcba25c26512bc93ec4",
        "b6009ca57361ae44d271f2234df8b027f52ce143182701a30b11dcbdcadb7be8",
        "b932c53454972923d1d87b9d097e42a369d44e707a5a48c29f24fce3373e82fd",
        "c606da49ae0869d6d9d7e3df0c5ed69032851ddbf9c7a69d9a76c87e592ac0e5",
        "cd6d0f8733b139b8940dd2101b0b73b785791bccfe0002e4a988260da25b6657",
        "cdb56e57c3715089c3c1d55475e6443c71ade0777fd80e1fbd7164f69b3fb1c0",
        "decf2e1acf7cc251f052559e2864a1ddd6f1b20e0bb3be14703e653c60e8f57c",
        "e27e6a5a7c6ccdf114e83662c4093fbf37f302ad867de904f5b7b1ea5f750e57",
        "e4d76e968bb770d3f7eaef6e513451a7130e6121fc2dea33664be9015c08911c",
        "f2971bb89bd05acec2dc4001b3c71b2ec518fde29e5fa6b11a3f50bd936b5fa5",
    }
)


def is_published(pem: bytes) -> bool:
    """Whether a private key in this PEM text is one of `PUBLISHED_KEYS`."""
    for body in _PEM.findall(pem):
        try:
            der = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error:
            continue
        if hashlib.sha256(der).hexdigest() in PUBLISHED_KEYS:
            return True
    return False
