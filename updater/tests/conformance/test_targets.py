"""Signed files: delegations, the search through them, and what is downloaded."""

import pytest
from repository import days
from tuf.api.metadata import DelegatedRole, Delegations, SuccinctRoles, Targets


def test_download(repo, client):
    repo.add("targets", "file.txt", b"content").add("targets", "path/to/file.txt", b"other")
    repo.publish_all()
    assert client.download("file.txt")
    assert client.download("path/to/file.txt")
    assert client.downloaded() == [b"content", b"other"]


def test_a_download_is_not_repeated(repo, client):
    repo.add("targets", "file.txt", b"content").publish_all()
    assert client.download("file.txt") and client.download("file.txt")
    assert sum(p.startswith("targets/") for p in repo.requests) == 1


def test_a_file_that_changes(repo, client):
    for n in range(3):
        content = f"content {n}".encode()
        repo.add("targets", "file.txt", content).publish_all()
        assert client.download("file.txt")
        assert client.downloaded() == [content]
        # Another file under the signed name is refused, and what is there stays.
        repo.add("targets", "file.txt", content + b"!")
        repo.publish_all()
        repo.files[repo.served] = b"evil"
        assert not client.download("file.txt")
        assert client.downloaded() == [content]


@pytest.mark.parametrize("served", [b"Content", b"content and more", b"cont", b""])
def test_another_file_than_signed(repo, client, served):
    repo.add("targets", "file.txt", b"content").publish_all()
    repo.files[repo.served] = served
    assert not client.download("file.txt")
    assert client.downloaded() == []


def test_a_delegated_file(repo, client):
    repo.delegate("targets", "other", paths=["other/*"])
    repo.delegate("targets", "release", paths=["channels/*/*/*"])
    repo.add("release", "channels/a/b/c.json", b"content").publish_all()
    assert client.download("channels/a/b/c.json")
    assert client.downloaded() == [b"content"]
    # Only the role that may speak for the path was asked.
    assert repo.asked()[4:] == ["1.release"]
    assert client.stored("release") == repo.files["metadata/1.release.json"]


@pytest.mark.parametrize("path", ["channels/a/b/c/d.json", "channels/a/b", "elsewhere/a/b/c.json"])
def test_a_path_that_was_not_delegated(repo, client, path):
    repo.delegate("targets", "release", paths=["channels/*/*/*"])
    repo.add("release", path, b"content").publish_all()
    assert not client.download(path)
    assert client.downloaded() == []
    assert repo.asked()[4:] == []


def test_roles_are_asked_in_order(repo, client):
    for role in ("a", "b", "c"):
        repo.delegate("targets", role)
    repo.add("b", "file", b"of b")
    repo.add("c", "file", b"of c")
    repo.publish_all()
    assert client.download("file")
    assert client.downloaded() == [b"of b"]
    assert repo.asked()[4:] == ["1.a", "1.b"]


def test_a_terminating_role_ends_the_search(repo, client):
    repo.delegate("targets", "a", terminating=True)
    repo.delegate("targets", "b")
    repo.add("b", "file", b"of b").publish_all()
    assert not client.download("file")
    assert repo.asked()[4:] == ["1.a"]


def test_a_delegated_role_with_a_wrong_signature(repo, client):
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content")
    other = repo.signers["release"]
    repo.signers["release"] = repo.signers["targets"]
    repo.publish_all()
    assert not client.download("file")
    repo.signers["release"] = other
    repo.publish_all()
    assert client.download("file")


def test_an_expired_delegated_role(repo, client):
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content").publish_all()
    assert client.download("file")
    repo.roles["release"].expires = days(-1)
    repo.add("release", "file", b"changed").publish_all()
    assert not client.download("file")
    assert client.version("release") == 1
    assert client.downloaded() == [b"content"]


def test_rollback_of_a_delegated_role(repo, client):
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content").publish_all()
    repo.add("release", "file", b"changed").publish_all()
    assert client.download("file")
    repo.roles["release"].version = 1
    repo.publish("release", bump=False).publish("snapshot", "timestamp")
    assert not client.download("file")
    assert client.version("release") == 2


def test_another_version_of_a_delegated_role_than_named(repo, client):
    repo.with_hashes = False
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content").publish_all()
    repo.roles["release"].version = 2
    repo.serve("release", repo.sign("release"), version=1)
    assert not client.download("file")
    assert client.version("release") is None


def test_another_file_of_a_delegated_role_than_named(repo, client):
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content").publish_all()
    repo.add("release", "file", b"changed")
    repo.serve("release", repo.sign("release"))
    assert not client.download("file")


def test_rotation_of_a_delegated_key(repo, client):
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content").publish_all()
    assert client.download("file")
    old = repo.signers["release"]
    repo.roles["targets"].revoke_key(old[0].public_key.keyid, "release")
    repo.delegate("targets", "release")
    fresh = repo.signers["release"]
    repo.signers["release"] = old
    repo.add("release", "file", b"by a thief").publish_all()
    assert not client.download("file")
    repo.signers["release"] = fresh
    repo.add("release", "file", b"changed").publish_all()
    assert client.download("file")
    assert client.downloaded() == [b"changed"]


def test_a_delegated_role_that_the_snapshot_does_not_name(repo, client):
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content").publish_all()
    del repo.roles["snapshot"].meta["release.json"]
    repo.publish("snapshot", "timestamp")
    assert not client.download("file")


# Beyond what this client does on purpose


def test_a_role_below_a_delegated_role(repo, client):
    repo.delegate("targets", "a")
    repo.delegate("a", "b")
    repo.add("b", "file", b"content").publish_all()
    assert client.download("file")


def test_search_is_depth_first(repo, client):
    repo.delegate("targets", "a")
    repo.delegate("targets", "b")
    repo.delegate("a", "c")
    repo.add("c", "file", b"of c").add("b", "file", b"of b").publish_all()
    assert client.download("file")
    assert client.downloaded() == [b"of c"]


def test_hash_prefixes_choose_the_role(repo, client):
    repo.delegate("targets", "a")
    role = repo.roles["targets"].delegations.roles["a"]
    prefixes = [f"{n:x}" for n in range(16)]
    repo.roles["targets"].delegations.roles["a"] = DelegatedRole("a", role.keyids, 1, False, None, prefixes)
    repo.add("a", "file", b"content").publish_all()
    assert client.download("file")


def test_succinct_hash_bins(repo, client):
    bins = SuccinctRoles([], 1, 1, "bin")
    repo.roles["targets"].delegations = Delegations({}, None, bins)
    signer = repo.signers["targets"][0]
    repo.roles["targets"].add_key(signer.public_key)
    for name in bins.get_roles():
        repo.roles[name] = Targets(expires=days(9))
        repo.signers[name] = [signer]
    repo.add(bins.get_role_for_target("file"), "file", b"content").publish_all()
    assert client.download("file")


@pytest.mark.parametrize("name", ["a role", "..", "r\u00f6le", "a/b", "?"])
def test_role_names_with_odd_characters(repo, client, name):
    repo.delegate("targets", name)
    repo.add(name, "file", b"content").publish_all()
    assert client.download("file")
