"""A TUF repository made with the reference implementation, served on loopback, and the client that is judged by it."""

import datetime
import http.server
import json
import os
import subprocess
import threading
import urllib.parse

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

TOP = ["root", "timestamp", "snapshot", "targets"]


def days(n):
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    return now + datetime.timedelta(days=n)


class Repository:
    """Holds the roles as they are to be signed next (`roles`) and what is served (`files`)."""

    def __init__(self, with_hashes=True):
        self.with_hashes = with_hashes
        self.files = {}
        self.requests = []
        self.signers = {}
        self.published = set()
        self.roles = {
            "root": Root(expires=days(30)),
            "timestamp": Timestamp(expires=days(30)),
            "snapshot": Snapshot(expires=days(30)),
            "targets": Targets(expires=days(30)),
        }
        for role in TOP:
            self.new_key(role)
        self.publish(*TOP)
        self.first_root = self.files["metadata/1.root.json"]

    # Keys

    def new_key(self, role, signer=None):
        signer = signer or CryptoSigner.generate_ed25519()
        self.signers.setdefault(role, []).append(signer)
        self.roles["root"].add_key(signer.public_key, role)
        return signer

    def rotate(self, role):
        for keyid in list(self.roles["root"].roles[role].keyids):
            self.roles["root"].revoke_key(keyid, role)
        self.signers[role] = []
        self.new_key(role)

    # Publishing

    def sign(self, role, signers=None):
        metadata = Metadata(self.roles[role])
        for signer in self.signers[role] if signers is None else signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes(JSONSerializer())

    def publish(self, *names, bump=True, signers=None):
        """Signs and serves roles, delegated and targets first, each described in the one above it."""
        top = [n for n in ("targets", "snapshot", "timestamp", "root") if n in names]
        order = [n for n in names if n not in TOP] + top
        for role in order:
            signed = self.roles[role]
            if bump and role in self.published:
                signed.version += 1
            self.published.add(role)
            data = self.sign(role, signers)
            self.serve(role, data)
            described = MetaFile(signed.version)
            if self.with_hashes:
                described = MetaFile.from_data(signed.version, data, ["sha256"])
            if role == "snapshot":
                self.roles["timestamp"].snapshot_meta = described
            elif role not in ("root", "timestamp"):
                self.roles["snapshot"].meta[f"{role}.json"] = described
        return self

    def publish_all(self):
        """Everything below the root."""
        return self.publish(*[r for r in self.roles if r != "root"])

    def serve(self, role, data, version=None):
        name = role if role == "timestamp" else f"{version or self.roles[role].version}.{role}"
        self.files[f"metadata/{name}.json"] = data

    # Targets

    def delegate(self, by, role, paths=("*",), terminating=False, signer=None):
        signer = signer or CryptoSigner.generate_ed25519()
        self.signers[role] = [signer]
        self.roles.setdefault(role, Targets(expires=days(30)))
        above = self.roles[by]
        if above.delegations is None:
            above.delegations = Delegations({}, {})
        above.delegations.roles[role] = DelegatedRole(role, [], 1, terminating, list(paths))
        above.add_key(signer.public_key, role)

    def add(self, role, path, content):
        target = TargetFile.from_data(path, content, ["sha256"])
        self.roles[role].targets[path] = target
        directory, _, name = path.rpartition("/")
        self.served = f"targets/{directory + '/' if directory else ''}{target.hashes['sha256']}.{name}"
        self.files[self.served] = content
        return self

    # What was asked for

    def asked(self):
        """Metadata requests since the last call, as `2.root`."""
        seen = [p[len("metadata/"):-len(".json")] for p in self.requests if p.startswith("metadata/")]
        self.requests.clear()
        return seen


class Server:
    def __init__(self, repository):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = urllib.parse.unquote(self.path.lstrip("/"))
                repository.requests.append(path)
                body = repository.files.get(path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


class Client:
    """The client under test, driven as conformance suites do."""

    def __init__(self, command, directory, url):
        self.command, self.url = command, url
        self.metadata, self.targets = directory / "metadata", directory / "targets"
        self.metadata.mkdir()
        self.targets.mkdir()
        self.directory = directory
        # As faketime takes it, such as `+9d`; none: the machine's.
        self.clock = None

    def run(self, *arguments):
        faked = ["faketime", "-f", self.clock] if self.clock else []
        command = [*faked, self.command, "--metadata-dir", self.metadata, *arguments]
        done = subprocess.run(command, timeout=60, stderr=subprocess.PIPE, text=True)
        assert done.returncode in (0, 1), done.stderr
        self.said = done.stderr
        return done.returncode == 0

    def init(self, root):
        path = self.directory / "root.json"
        path.write_bytes(root)
        return self.run("init", path)

    def refresh(self):
        return self.run("--metadata-url", f"{self.url}/metadata", "refresh")

    def download(self, name):
        return self.run(
            "--metadata-url", f"{self.url}/metadata", "--target-name", name, "--target-dir", self.targets,
            "--target-base-url", f"{self.url}/targets", "download",
        )  # fmt: skip

    def stored(self, role):
        path = self.metadata / f"{role}.json"
        return path.read_bytes() if path.exists() else None

    def version(self, role):
        stored = self.stored(role)
        return json.loads(stored)["signed"]["version"] if stored else None

    def versions(self):
        return tuple(self.version(role) for role in TOP)

    def downloaded(self):
        return [p.read_bytes() for p in sorted(self.targets.iterdir(), key=os.path.getmtime)]
