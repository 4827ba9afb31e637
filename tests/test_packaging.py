"""What `pip install` of a built wheel brings is the whole product, the web client included."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parent.parent


SOURCES = ("LICENSE", "README.md", "hatch_build.py", "pyproject.toml", "web", "zvonim_sfu")


def test_what_is_tracked_is_of_no_one_machine() -> None:
    """No links, which lead out of a checkout, and no paths of whoever made one."""
    assert (ROOT / ".git").exists(), "run the tests in a checkout"
    listed = subprocess.check_output(["git", "ls-files", "--stage", "-z"], cwd=ROOT, text=True)
    modes = {name: head.split()[0] for head, name in (entry.split("\t") for entry in listed.split("\0") if entry)}
    assert "pyproject.toml" in modes
    assert {name: mode for name, mode in modes.items() if mode not in ("100644", "100755")} == {}
    # A path of one name, such as /src, is a part of others.
    own = [f"{path}/".encode() for path in (Path.home(), ROOT) if len(path.parts) > 2]
    files = [path for path in (ROOT / name for name in modes) if path.is_file()]
    assert [str(path) for path in files if any(name in path.read_bytes() for name in own)] == []


@pytest.mark.parametrize("kernel", ["compiled", "python"])
def test_a_built_wheel_serves_the_web_client(kernel: str, tmp_path: Path) -> None:
    """With a compiler or, as well, without."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(source, checkout)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(checkout)]
    built_with = {} if kernel == "compiled" else {"CC": "false"}
    subprocess.run(build, check=True, capture_output=True, timeout=100, env=os.environ | built_with)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl") == (kernel == "python")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    # The unpacked wheel goes before the checkout, which is not the current directory either.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZVONIM_")}
    environment["PYTHONPATH"] = str(installed)
    where = [sys.executable, "-c", "import zvonim_sfu; print(zvonim_sfu.__file__)"]
    assert subprocess.check_output(where, cwd=tmp_path, env=environment, text=True).startswith(str(installed))
    command = [sys.executable, "-m", "zvonim_sfu", "--port", "0", "--media-host", "127.0.0.1", "--media-port", "0"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert server.stdout is not None
        match = re.search(r"Open (http://\S+/)", server.stdout.readline())
        assert match is not None
        page = urlopen(match[1], timeout=10).read().decode()
        assert page == (ROOT / "web" / "index.html").read_text()
        script = re.search(r'<script[^>]* src="/([^"]+)"', page)
        assert script is not None
        assert urlopen(match[1] + script[1], timeout=10).status == 200
    finally:
        server.terminate()
        assert server.wait(10) == 0
        if server.stdout is not None:
            server.stdout.close()
    assert f"kernel={kernel}" in (tmp_path / "log").read_text()
