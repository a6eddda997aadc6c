# SPDX-License-Identifier: Apache-2.0
"""A sample ESP-IDF build, made on the spot, for the demo and the tests."""

from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

__all__ = ["SampleOptions", "make_sample_build"]
