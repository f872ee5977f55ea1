"""Edges of the specification: thresholds as they change, odd key ids and hashes, clocks, roles that lost their mandate."""

import hashlib
import shutil

import pytest
from repository import days
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Key, Metadata, MetaFile
from tuf.api.serialization.json import JSONSerializer

LOWER = ["timestamp", "snapshot", "targets"]


# Thresholds


def five_root_keys(repo, threshold):
    """A second root with five keys, which the first key and all of them sign."""
    for _ in range(4):
        repo.new_key("root")
    repo.roles["root"].roles["root"].threshold = threshold
    repo.publish("root")
    return repo.signers["root"]


@pytest.mark.parametrize("count", range(6))
def test_three_of_five_root_keys(repo, client, count):
    keys = five_root_keys(repo, 3)
    repo.publish("root", signers=keys[5 - count:])
    assert client.refresh() == (count >= 3)
    assert client.version("root") == (3 if count >= 3 else 2)


@pytest.mark.parametrize("old, new, good", [(3, 3, True), (2, 5, False), (5, 2, False), (3, 5, True), (5, 3, True)])
def test_all_five_root_keys_are_replaced(repo, client, old, new, good):
    before = list(five_root_keys(repo, 3))
    repo.rotate("root")
    for _ in range(4):
        repo.new_key("root")
    repo.roles["root"].roles["root"].threshold = 3
    repo.publish("root", signers=before[:old] + repo.signers["root"][:new])
    assert client.refresh() == good
    # What the old keys alone sign is worth nothing from then on.
    if good:
        repo.publish("root", signers=before)
        assert not client.refresh()
        assert client.version("root") == 3


@pytest.mark.parametrize("kept, fresh, good", [(3, 0, True), (2, 1, False), (2, 3, False), (3, 2, True)])
def test_two_of_five_root_keys_are_replaced(repo, client, kept, fresh, good):
    """A key that stays counts for the old root and for the new one."""
    keys = list(five_root_keys(repo, 3))
    for gone in keys[3:]:
        repo.roles["root"].revoke_key(gone.public_key.keyid, "root")
    repo.signers["root"] = keys[:3]
    new = [repo.new_key("root"), repo.new_key("root"), repo.new_key("root")]
    repo.publish("root", signers=keys[:kept] + new[:fresh])
    assert client.refresh() == good


@pytest.mark.parametrize("count", [3, 4, 5])
def test_a_root_threshold_is_raised(repo, client, count):
    keys = five_root_keys(repo, 3)
    repo.roles["root"].roles["root"].threshold = 5
    repo.publish("root", signers=keys[:count])
    assert client.refresh() == (count == 5)


@pytest.mark.parametrize("count", [1, 4, 5])
def test_a_root_threshold_is_lowered(repo, client, count):
    keys = five_root_keys(repo, 5)
    repo.roles["root"].roles["root"].threshold = 1
    repo.publish("root", signers=keys[:count])
    assert client.refresh() == (count == 5)
    if count == 5:
        repo.publish("root", signers=keys[:1])
        assert client.refresh()
        assert client.version("root") == 4


@pytest.mark.parametrize("role", LOWER)
def test_a_threshold_follows_the_root(repo, client, role):
    repo.with_hashes = False
    for _ in range(4):
        repo.new_key(role)
    for threshold, count, good in [(3, 3, True), (5, 5, True), (5, 4, False), (4, 4, True), (1, 1, True), (5, 1, False)]:
        repo.roles["root"].roles[role].threshold = threshold
        repo.publish("root").publish_all()
        repo.serve(role, repo.sign(role, repo.signers[role][:count]))
        assert client.refresh() == good, (threshold, count)


@pytest.mark.parametrize("role", LOWER)
def test_a_threshold_above_the_number_of_keys(repo, client, role):
    repo.roles["root"].roles[role].threshold = 2
    repo.publish("root").publish_all()
    assert not client.refresh()


# Signatures and key ids


@pytest.mark.parametrize("role", ["root", *LOWER])
@pytest.mark.parametrize("bad", ["", "zz", "00" * 64, "ab" * 32])
def test_a_bad_signature_beside_a_good_one(repo, client, role, bad):
    """It counts for nothing, and spoils nothing, whether its key is known or not."""
    known = CryptoSigner.generate_ed25519()
    repo.new_key(role, known)
    repo.publish("root").publish_all()
    repo.with_hashes = False
    if role == "root":
        repo.publish("root")
    repo.publish_all()
    metadata = Metadata.from_bytes(repo.sign(role))
    good = next(iter(metadata.signatures.values()))
    for keyid in (known.public_key.keyid, "f" * 64):
        metadata.signatures[keyid] = type(good)(keyid, bad)
    repo.serve(role, metadata.to_bytes(JSONSerializer()))
    assert client.refresh()
    assert client.version(role) == repo.roles[role].version


def with_id(key, keyid, **fields):
    return Key.from_dict(keyid, {**key.to_dict(), **fields})


@pytest.mark.parametrize("role", LOWER)
@pytest.mark.parametrize("kind", ["deprecated", "opaque"])
def test_key_ids_that_are_not_the_hash_of_the_key(repo, client, role, kind):
    """Ids are names: old repositories hash a list of algorithms in, others may call a key as they like."""
    repo.rotate(role)
    signer = repo.signers[role][0]
    plain = signer.public_key
    repo.roles["root"].revoke_key(plain.keyid, role)
    if kind == "deprecated":
        fields = {"keyid_hash_algorithms": ["sha256", "sha512"]}
        keyid = hashlib.sha256(encode_canonical({**plain.to_dict(), **fields}).encode()).hexdigest()
    else:
        fields, keyid = {}, "a name"
    key = with_id(plain, keyid, **fields)
    repo.roles["root"].add_key(key, role)
    repo.signers[role] = [CryptoSigner(signer._private_key, key)]
    repo.publish("root").publish_all()
    assert client.refresh()
    # Not every key under that name will do.
    repo.with_hashes = False
    repo.publish_all()
    other = CryptoSigner.generate_ed25519()
    repo.serve(role, repo.sign(role, [CryptoSigner(other._private_key, with_id(other.public_key, keyid))]))
    assert not client.refresh()


# Hashes


def hashed(repo, path, content, *algorithms):
    repo.add("targets", path, content)
    target = repo.roles["targets"].targets[path]
    known = {"sha256": hashlib.sha256(content).hexdigest(), "sha512": hashlib.sha512(content).hexdigest()}
    target.hashes = {a: known.get(a, "c0ffee") for a in algorithms}
    for digest in target.hashes.values():
        repo.files[f"targets/{digest}.{path}"] = content


def test_hashes_of_other_kinds_beside_one_that_is_known(repo, client):
    hashed(repo, "file", b"content", "sha512", "blake2b", "sha256")
    repo.publish_all()
    assert client.download("file")
    assert client.downloaded() == [b"content"]


@pytest.mark.parametrize("algorithms", [("sha512",), ("blake2b",), ("sha512", "blake2b")])
def test_a_file_without_a_known_hash_spoils_no_other(repo, client, algorithms):
    hashed(repo, "odd", b"odd", *algorithms)
    hashed(repo, "file", b"content", "sha256")
    repo.publish_all()
    assert client.download("file")
    assert client.downloaded() == [b"content"]


@pytest.mark.parametrize("algorithm", ["blake2b", "md5"])
def test_a_file_without_a_known_hash_is_refused(repo, client, algorithm):
    hashed(repo, "odd", b"odd", algorithm)
    repo.publish_all()
    assert not client.download("odd")
    assert client.downloaded() == []


def test_a_file_with_a_longer_hash_only(repo, client):
    hashed(repo, "file", b"content", "sha512")
    repo.publish_all()
    assert client.download("file")


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_metadata_described_by_an_unknown_hash_only(repo, client, role):
    """A hash that cannot be checked is not one that may be left out."""
    described = MetaFile(repo.roles[role].version, hashes={"blake2b": "c0ffee"})
    if role == "snapshot":
        repo.roles["timestamp"].snapshot_meta = described
    else:
        repo.roles["snapshot"].meta["targets.json"] = described
        repo.publish("snapshot")
    repo.publish("timestamp")
    assert not client.refresh()


# Clocks


needs_faketime = pytest.mark.skipif(not shutil.which("faketime"), reason="faketime is not installed")


@needs_faketime
@pytest.mark.parametrize("role", ["root", *LOWER, "release"])
def test_a_clock_beyond_the_expiry(repo, client, role):
    repo.delegate("targets", "release")
    for name, signed in repo.roles.items():
        signed.expires = days(10 if name == role else 60)
    repo.add("release", "file", b"content")
    repo.publish("root").publish_all()
    assert client.download("file")
    client.clock = "+9d"
    assert client.download("file")
    client.clock = "+11d"
    assert not client.download("file")
    repo.roles[role].expires = days(60)
    repo.publish(role) if role == "root" else repo.publish_all()
    assert client.download("file")
    # A clock that stepped back is no reason to refuse what was good.
    client.clock = "-400d"
    assert client.download("file")


@needs_faketime
def test_expired_local_metadata_still_guards_against_rollback(repo, client):
    for name in LOWER:
        repo.roles[name].expires = days(7)
    repo.publish_all().publish_all()
    assert client.refresh()
    version = client.version("timestamp")
    client.clock = "+10d"
    for name in LOWER:
        repo.roles[name].expires = days(30)
        repo.roles[name].version = 1
    repo.publish("targets", "snapshot", "timestamp", bump=False)
    assert not client.refresh()
    assert client.version("timestamp") == version


# Mandates


def test_a_cached_role_that_the_delegator_no_longer_vouches_for(repo, client):
    """Its metadata stays the same, and still in the snapshot; the delegator only names another key."""
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content").publish_all()
    assert client.download("file")
    old = repo.signers["release"][0]
    repo.roles["targets"].revoke_key(old.public_key.keyid, "release")
    repo.roles["targets"].add_key(CryptoSigner.generate_ed25519().public_key, "release")
    repo.publish("targets", "snapshot", "timestamp")
    for path in client.targets.iterdir():
        path.unlink()
    assert client.refresh()
    assert not client.download("file")
    assert client.downloaded() == []


def test_a_cached_role_of_a_raised_threshold(repo, client):
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content").publish_all()
    assert client.download("file")
    targets = repo.roles["targets"]
    targets.add_key(CryptoSigner.generate_ed25519().public_key, "release")
    targets.delegations.roles["release"].threshold = 2
    repo.publish("targets", "snapshot", "timestamp")
    assert not client.download("file")


def test_a_cached_role_whose_delegation_is_gone(repo, client):
    repo.delegate("targets", "release")
    repo.delegate("targets", "other", paths=["other/*"])
    repo.add("release", "file", b"content").publish_all()
    assert client.download("file")
    del repo.roles["targets"].delegations.roles["release"]
    repo.publish("targets", "snapshot", "timestamp")
    assert not client.download("file")


def test_a_cached_role_whose_paths_shrink(repo, client):
    repo.delegate("targets", "release")
    repo.add("release", "file", b"content").publish_all()
    assert client.download("file")
    repo.roles["targets"].delegations.roles["release"].paths = ["elsewhere/*"]
    repo.publish("targets", "snapshot", "timestamp")
    assert not client.download("file")
