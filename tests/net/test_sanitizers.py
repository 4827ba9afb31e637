"""The compiled kernel under AddressSanitizer and UndefinedBehaviorSanitizer: its tests, and random calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from hatch_build import compile_kernel

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT: Final = Path(__file__).parents[2]
FLAGS: Final = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1")
SECONDS: Final = 60
SEED: Final = 5764
TESTS: Final = (
    "bandwidth/test_detector.py",
    "bandwidth/test_estimator.py",
    "bandwidth/test_queueing.py",
    "bandwidth/test_rates.py",
    "bandwidth/test_recorded.py",
    "bandwidth/test_reports.py",
    "net/test_intake.py",
    "net/test_kernel.py",
    "net/test_kernel_twins.py",
    "net/test_loop.py",
    "net/test_receiving.py",
    "rtp/test_arrivals_twins.py",
    "rtp/test_h264_twins.py",
    "rtp/test_intake_twins.py",
    "rtp/test_packet_twins.py",
    "rtp/test_transport_cc.py",
    "rtp/test_vp8_twins.py",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its tests, compiled with sanitizers."""
    root = tmp_path_factory.mktemp("sanitized")
    shutil.copy(ROOT / "pyproject.toml", root)
    for name in ("zvonim_sfu", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    compile_kernel(root, FLAGS)
    return root


def run(checkout: Path, *arguments: str) -> str:
    library = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True).strip()
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "LD_PRELOAD": library,
        # Python itself leaks on purpose; its own allocator would hide what lies beyond a bytes object.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    }
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-10_000:]
    return ended.stdout


def test_the_sanitizer_sees_the_kernel(checkout: Path) -> None:
    script = "import zvonim_sfu.net.sending_compiled as m; print(m.__file__); print(open('/proc/self/maps').read())"
    said = run(checkout, "-c", script)
    assert said.startswith(str(checkout))
    assert "libasan" in said


def test_the_kernels_tests_find_no_fault(checkout: Path) -> None:
    assert " passed" in run(
        checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in TESTS)
    )


def test_random_calls_find_no_fault(checkout: Path) -> None:
    assert "rounds" in run(checkout, "-m", "tests.net.random_calls", str(SECONDS), str(SEED))
