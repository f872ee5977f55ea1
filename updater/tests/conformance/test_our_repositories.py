"""The other way round: the reference implementation's client reads repositories that elfup signs."""

import json
import subprocess

import pytest
from repository import Repository, Server
from tuf.api.exceptions import RepositoryError
from tuf.ngclient import Updater


class Farm:
    def __init__(self, elfup, directory):
        self.elfup, self.directory = elfup, directory
        self.keys, self.repo, self.tree = directory / "keys", directory / "repo", directory / "tree"
        self.run("keys", "init", self.keys, "--root-keys", "2")
        self.run("repo", "init", self.repo, "--keys", self.keys, "--root-threshold", "2")
        self.tree.mkdir()

    def run(self, *arguments):
        subprocess.run([self.elfup, "--quiet", *arguments], check=True, stdout=subprocess.DEVNULL)

    def publish(self, release):
        (self.tree / "file").write_text(release)
        self.run(
            "publish", "--repo", self.repo, "--keys", self.keys, "--product", "demo", "--arch", "x86_64",
            "--release", release, self.tree,
        )  # fmt: skip


@pytest.fixture
def farm(pytestconfig, tmp_path):
    return Farm(pytestconfig.getoption("--elfup"), tmp_path)


@pytest.fixture
def updater(farm, tmp_path):
    served = Repository()
    server = Server(served)
    root = (farm.repo / "tuf/1.root.json").read_bytes()

    def make():
        served.files.clear()
        for path in farm.repo.rglob("*"):
            if path.is_file():
                served.files[str(path.relative_to(farm.repo))] = path.read_bytes()
        for name in ("metadata", "downloads"):
            (tmp_path / name).mkdir(exist_ok=True)
        return Updater(
            str(tmp_path / "metadata"), f"{server.url}/tuf", str(tmp_path / "downloads"), server.url, bootstrap=root
        )

    yield make
    server.stop()


def channel(updater):
    found = updater.get_targetinfo("channels/demo/stable/x86_64.json")
    with open(updater.download_target(found), encoding="utf-8") as file:
        return [r["release"] for r in json.load(file)["releases"]]


def test_reference_client_follows_a_farm(farm, updater):
    farm.publish("r1")
    assert channel(updater()) == ["r1"]
    farm.publish("r2")
    assert channel(updater()) == ["r1", "r2"]
    farm.run("repo", "refresh", farm.repo, "--keys", farm.keys)
    assert channel(updater()) == ["r1", "r2"]


def test_reference_client_follows_every_rotation(farm, updater):
    farm.publish("r1")
    assert channel(updater()) == ["r1"]
    for n, role in enumerate(["timestamp", "snapshot", "targets", "release", "root"], 2):
        farm.run("keys", "rotate", role, "--keys", farm.keys, "--repo", farm.repo)
        farm.publish(f"r{n}")
        assert len(channel(updater())) == n, role


def test_reference_client_refuses_a_farm_that_goes_back(farm, updater):
    farm.publish("r1")
    old = (farm.repo / "tuf/timestamp.json").read_bytes()
    farm.publish("r2")
    assert channel(updater()) == ["r1", "r2"]
    (farm.repo / "tuf/timestamp.json").write_bytes(old)
    with pytest.raises(RepositoryError):
        updater().refresh()
