"""A Docker image is looked at in its registry, here one on loopback, before jobs need it."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osgbatch.errors import SpecError
from osgbatch.packing.container import packed_image
from osgbatch.packing.container_registry import image_architectures
from osgbatch.spec_model import Environment, Place, UserPath

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DIGEST = "sha256:" + "12" * 32


def platform(architecture: str, system: str = "linux") -> dict[str, Any]:
    return {"digest": DIGEST, "platform": {"architecture": architecture, "os": system}}


class Registry(http.server.ThreadingHTTPServer):
    """Manifests and blobs over HTTP, as the distribution specification has them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.documents: dict[str, tuple[str, dict[str, Any]]] = {}
        self.secret, self.silent = "", False
        self.at = f"127.0.0.1:{self.server_address[1]}"

    def manifest(self, name: str, tag: str, kind: str, document: dict[str, Any]) -> None:
        self.documents[f"/v2/{name}/manifests/{tag}"] = (kind, document)

    def image(self, name: str, tag: str, architecture: str) -> None:
        """An image for one architecture, which stands in its configuration."""
        self.manifest(name, tag, MANIFEST, {"schemaVersion": 2, "config": {"digest": DIGEST}})
        config = {"architecture": architecture, "os": "linux"}
        self.documents[f"/v2/{name}/blobs/{DIGEST}"] = ("application/octet-stream", config)


class Answers(http.server.BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        secret = self.server.secret
        if self.server.silent:
            time.sleep(60)
        elif self.path.startswith("/token?service=ours&scope=repository%3Aada%2Ftool%3Apull"):
            self.say(200, {"token": secret})
        elif secret and self.headers["Authorization"] != f"Bearer {secret}":
            realm = f'Bearer realm="http://{self.server.at}/token",service="ours",scope="x"'
            self.say(401, {"errors": [{"code": "UNAUTHORIZED"}]}, challenge=realm)
        elif self.path not in self.server.documents:
            self.say(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})
        else:
            kind, document = self.server.documents[self.path]
            self.say(200, document, kind)

    def say(
        self, code: int, document: object, kind: str = "application/json", challenge: str = ""
    ) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the tests' stderr."""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_index_names_all_architectures(registry: Registry) -> None:
    platforms = [platform("amd64"), platform("arm64"), platform("unknown", "unknown")]
    registry.manifest("ada/tool", "1.2", INDEX, {"manifests": [*platforms, platform("x", "win")]})
    found = image_architectures(f"docker://{registry.at}/ada/tool:1.2")
    assert found == {"x86_64", "aarch64"}


def test_an_image_for_one_architecture_says_it_in_its_configuration(registry: Registry) -> None:
    registry.image("tool", "latest", "arm64")
    registry.image("other", DIGEST, "s390x")
    assert image_architectures(f"docker://{registry.at}/tool") == {"aarch64"}
    assert image_architectures(f"docker://{registry.at}/other:1@{DIGEST}") == {"s390x"}


def test_a_registry_that_wants_a_token_gives_one_to_everybody(registry: Registry) -> None:
    registry.secret = "abc"
    registry.image("ada/tool", "latest", "amd64")
    assert image_architectures(f"docker://{registry.at}/ada/tool") == {"x86_64"}
    assert image_architectures(f"docker://{registry.at}/ada/private") is None


def test_what_cannot_be_known_is_not_waited_for(registry: Registry) -> None:
    began = time.monotonic()
    assert image_architectures("docker://127.0.0.1:9/nobody/there") is None
    assert image_architectures("docker://Odd Name") is None
    registry.silent = True
    assert image_architectures(f"docker://{registry.at}/tool", seconds=0.3) is None
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("document", [{}, {"manifests": []}, {"config": {"digest": "x"}}, []])
def test_an_answer_without_sense_is_none(registry: Registry, document: Any) -> None:
    registry.manifest("tool", "latest", INDEX, document)
    assert image_architectures(f"docker://{registry.at}/tool") is None


def refused(text: str, folder: Path, *arch: str) -> str:
    wanted = Environment("container", UserPath(text, Place("sweep.yaml", 1, 14)))
    with pytest.raises(SpecError) as caught:
        packed_image(wanted, folder, folder, pytest.fail, arch)
    return str(caught.value)


def test_an_image_for_another_architecture_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.manifest("tool", "1", INDEX, {"manifests": [platform("arm64"), platform("s390x")]})
    text = f"docker://{registry.at}/tool:1"
    said = refused(text, tmp_path, "x86_64")
    assert f'sweep.yaml:1:14: "{text}" is an image for aarch64, s390x; the jobs run on' in said
    wanted = Environment("container", UserPath(text, Place("sweep.yaml", 1, 14)))
    assert packed_image(wanted, tmp_path, tmp_path, pytest.fail, ("aarch64",)) is None


def test_an_image_that_its_registry_does_not_have_is_refused(
    registry: Registry, tmp_path: Path
) -> None:
    text = f"docker://{registry.at}/tool:1"
    assert f'its registry has no image "{text}"' in refused(text, tmp_path)
