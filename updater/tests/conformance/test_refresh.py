"""The workflow of a refresh, section 5 of the TUF specification: order, versions, expiry, signatures, rollback."""

import json
import time

import pytest
from repository import Repository, days
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile
from tuf.api.serialization.json import JSONSerializer


# The order of things


def test_first_refresh(repo, client):
    assert client.refresh()
    assert repo.asked() == ["2.root", "timestamp", "1.snapshot", "1.targets"]
    for name in ("1.root", "timestamp", "1.snapshot", "1.targets"):
        assert client.stored(name.split(".")[-1]) == repo.files[f"metadata/{name}.json"], "byte for byte"


def test_refresh_asks_for_what_is_new_only(repo, client):
    assert client.refresh() and client.refresh()
    assert repo.asked()[4:] == ["2.root", "timestamp"]
    repo.publish("timestamp")
    assert client.refresh()
    assert repo.asked() == ["2.root", "timestamp"]
    repo.publish("snapshot", "timestamp")
    assert client.refresh()
    assert repo.asked() == ["2.root", "timestamp", "2.snapshot"]
    assert client.versions() == (1, 3, 2, 1)


def test_download_refreshes(repo, client):
    assert not client.download("nothing")
    assert repo.asked()[:4] == ["2.root", "timestamp", "1.snapshot", "1.targets"]
    assert client.versions() == (1, 1, 1, 1)


def test_a_role_that_cannot_be_had(repo, client):
    for name in ("timestamp", "1.snapshot", "1.targets"):
        kept = repo.files.pop(f"metadata/{name}.json")
        assert not client.refresh()
        assert client.version(name.split(".")[-1]) is None
        repo.files[f"metadata/{name}.json"] = kept
    assert client.refresh()


def test_unknown_fields_are_signed_too(repo, client):
    root = repo.roles["root"]
    root.unrecognized_fields["more"] = {"a": [1, "x", None], "b": True}
    root.roles["root"].unrecognized_fields["also"] = "value"
    root.keys[root.roles["root"].keyids[0]].unrecognized_fields["keyid_hash_algorithms"] = ["md5"]
    repo.roles["timestamp"].unrecognized_fields["tab\t\u00e9\\\"\n"] = "\u0001"
    repo.publish("root").publish_all()
    assert client.refresh()
    assert client.versions() == (2, 2, 2, 2)


@pytest.mark.parametrize("role", ["2.root", "timestamp", "1.snapshot", "1.targets"])
@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"signed":{},"signatures":[]}', b"\xff" * 100, b"[" * 50_000])
def test_junk(repo, client, role, junk):
    repo.files[f"metadata/{role}.json"] = junk
    assert not client.refresh()
    assert client.version(role.split(".")[-1]) in (None, 1)


def test_metadata_without_end(repo, client):
    repo.files["metadata/timestamp.json"] += b" " * (1 << 20)
    assert not client.refresh()
    assert client.version("timestamp") is None


def test_metadata_of_another_role(repo, client):
    repo.files["metadata/timestamp.json"] = repo.files["metadata/1.targets.json"]
    assert not client.refresh()


def test_a_later_specification(repo, client):
    for version, good in (("1.0.99", True), ("1.9.0", True), ("2.0.0", False), ("", False)):
        signed = json.loads(repo.sign("timestamp"))["signed"] | {"spec_version": version}
        signed["version"] = repo.roles["timestamp"].version = repo.roles["timestamp"].version + 1
        from securesystemslib.formats import encode_canonical

        signer = repo.signers["timestamp"][0]
        signature = signer.sign(encode_canonical(signed).encode())
        repo.serve("timestamp", json.dumps({"signed": signed, "signatures": [signature.to_dict()]}).encode())
        assert client.refresh() == good, version


# Root


def test_an_initial_root_that_is_none(repo, client, tmp_path):
    for damage in ("version", "roles", "expires"):
        root = json.loads(repo.first_root)
        del root["signed"][damage]
        (client.metadata / "state").unlink(missing_ok=True)
        client.init(json.dumps(root).encode())
        assert not client.refresh()
    root = json.loads(repo.first_root)
    root["signatures"][0]["sig"] = "00" * 64
    client.init(json.dumps(root).encode())
    assert not client.refresh()
    assert repo.asked() == []


def test_a_broken_chain_of_roots(repo, client):
    for _ in range(3):
        # Each is signed by its own key and not by the one before.
        repo.rotate("root")
        repo.publish("root")
    assert not client.refresh()
    assert client.version("root") == 1


def test_rotation_of_root_keys(repo, client):
    for version in range(2, 6):
        before = list(repo.signers["root"])
        repo.rotate("root")
        repo.publish("root", signers=before + repo.signers["root"])
        assert version % 2 == 0 or client.refresh()
    assert client.refresh()
    assert client.version("root") == 5


def test_a_root_that_its_own_keys_did_not_sign(repo, client):
    before = list(repo.signers["root"])
    repo.rotate("root")
    repo.publish("root", signers=before)
    assert not client.refresh()
    assert client.version("root") == 1


def test_threshold_of_root(repo, client):
    repo.roles["root"].roles["root"].threshold = 2
    second = repo.new_key("root")
    repo.publish("root", signers=repo.signers["root"][:1])
    assert not client.refresh()
    repo.publish("root", bump=False)
    assert client.refresh()
    # From now on the old threshold counts as well.
    repo.roles["root"].roles["root"].threshold = 1
    repo.publish("root", signers=[second])
    assert not client.refresh()
    assert client.version("root") == 2


@pytest.mark.parametrize("version", [1, 3])
def test_a_root_of_another_version_than_its_name(repo, client, version):
    repo.roles["root"].version = version
    repo.serve("root", repo.sign("root"), version=2)
    assert not client.refresh()
    assert client.version("root") == 1


def test_expired_roots(repo, client):
    assert client.refresh()
    repo.roles["root"].expires = days(-1)
    repo.publish("root")
    repo.publish_all()
    assert not client.refresh()
    # It is kept, nothing below it is asked for.
    assert client.versions() == (2, 1, 1, 1)
    assert repo.asked()[4:] == ["2.root", "3.root"]
    # One that is followed by a fresh one is a link of the chain like any other.
    repo.roles["root"].expires = days(9)
    repo.publish("root")
    assert client.refresh()
    assert client.versions() == (3, 2, 2, 2)


# Timestamp and snapshot


def test_timestamp_rollback(repo, client):
    old = repo.files["metadata/timestamp.json"]
    repo.publish("timestamp")
    assert client.refresh()
    repo.files["metadata/timestamp.json"] = old
    assert not client.refresh()
    assert client.version("timestamp") == 2


def test_a_timestamp_that_changes_without_a_new_version(repo, client):
    assert client.refresh()
    kept = client.stored("timestamp")
    repo.roles["timestamp"].snapshot_meta = MetaFile(100)
    repo.publish("timestamp", bump=False)
    assert client.refresh()
    assert client.stored("timestamp") == kept


@pytest.mark.parametrize("hashes", [False, True])
def test_snapshot_rollback(client, repo, hashes):
    repo.with_hashes = hashes
    repo.publish("snapshot", "timestamp")
    assert client.refresh()
    repo.roles["snapshot"].version = 1
    repo.publish("snapshot", bump=False).publish("timestamp")
    assert not client.refresh()
    assert client.versions()[1:3] == (2, 2)


@pytest.mark.parametrize("hashes", [False, True])
def test_targets_rollback_in_the_snapshot(client, repo, hashes):
    repo.with_hashes = hashes
    repo.publish_all()
    assert client.refresh()
    repo.roles["targets"].version = 1
    repo.publish("targets", bump=False).publish("snapshot", "timestamp")
    assert not client.refresh()
    assert client.versions()[2:] == (2, 2)


def test_a_role_that_vanishes_from_the_snapshot(repo, client):
    repo.delegate("targets", "more")
    repo.publish_all()
    assert client.refresh()
    del repo.roles["snapshot"].meta["more.json"]
    repo.publish("snapshot", "timestamp")
    assert not client.refresh()
    assert client.version("snapshot") == 2


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_another_version_than_named(repo, client, role):
    repo.roles[role].version = 2
    repo.serve(role, repo.sign(role), version=1)
    assert not client.refresh()
    assert client.version(role) is None


@pytest.mark.parametrize("role", ["snapshot", "targets"])
@pytest.mark.parametrize("lie", ["hash", "length", "too long"])
def test_another_file_than_named(repo, client, role, lie):
    above = repo.roles["timestamp"] if role == "snapshot" else repo.roles["snapshot"]
    named = above.snapshot_meta if role == "snapshot" else above.meta["targets.json"]
    if lie == "hash":
        named.hashes["sha256"] = "0" * 64
    else:
        named.length += 1 if lie == "length" else -1
        named.hashes = None
    repo.publish(*(["timestamp"] if role == "snapshot" else ["snapshot", "timestamp"]))
    assert not client.refresh()
    assert client.version(role) is None


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_expired_metadata_is_not_kept(repo, client, role):
    assert client.refresh()
    repo.roles[role].expires = days(-5)
    repo.publish_all()
    assert not client.refresh()
    assert "stale" in client.said
    assert client.version(role) == 1
    # And it is still so at the next try: an expired state is never taken for "nothing new".
    assert not client.refresh()
    assert client.version(role) == 1


def test_expired_local_metadata_leads_to_newer(repo, client):
    repo.roles["timestamp"].expires = days(0) + (days(3) - days(0)) / 86_400
    repo.publish_all()
    assert client.refresh()
    while client.refresh():
        time.sleep(0.5)
    repo.roles["timestamp"].expires = days(9)
    repo.publish_all()
    assert client.refresh()
    assert client.versions() == (1, 3, 3, 3)


# Signatures


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("named", ["as itself", "as the right key"])
def test_wrong_signatures(repo, client, role, named):
    repo.with_hashes = False
    repo.publish_all()
    stranger = CryptoSigner.generate_ed25519()
    forged = repo.sign(role, [stranger])
    if named == "as the right key":
        right = repo.signers[role][0].public_key.keyid
        forged = forged.replace(stranger.public_key.keyid.encode(), right.encode())
    repo.serve(role, forged)
    assert not client.refresh()
    assert client.version(role) is None


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_thresholds(repo, client, role):
    repo.roles["root"].roles[role].threshold = 3
    for _ in range(3):
        repo.new_key(role)
    repo.with_hashes = False
    repo.publish("root").publish_all()
    assert client.refresh()
    repo.publish_all()
    repo.serve(role, repo.sign(role, repo.signers[role][:2]))
    assert not client.refresh()
    assert client.version(role) == 2


def test_a_threshold_that_one_key_under_many_names_meets(repo, client):
    root, key = repo.roles["root"], repo.signers["snapshot"][0].public_key
    for n in range(4):
        double = key.from_dict(f"{n:064x}", key.to_dict())
        root.add_key(double, "snapshot")
    root.roles["snapshot"].threshold = 3
    repo.publish("root")
    repo.publish_all()
    metadata = Metadata.from_bytes(repo.sign("snapshot"))
    signature = next(iter(metadata.signatures.values()))
    for n in range(4):
        metadata.signatures[f"{n:064x}"] = type(signature)(f"{n:064x}", signature.signature)
    repo.with_hashes = False
    repo.publish("timestamp")
    repo.roles["timestamp"].snapshot_meta = MetaFile(repo.roles["snapshot"].version)
    repo.publish("timestamp")
    repo.serve("snapshot", metadata.to_bytes(JSONSerializer()))
    assert not client.refresh()
    assert client.version("snapshot") is None


def test_keys_in_the_root_that_have_not_signed(repo, client):
    assert client.refresh()
    for _ in range(4):
        repo.roles["root"].add_key(CryptoSigner.generate_ed25519().public_key, "snapshot")
    repo.roles["root"].roles["snapshot"].threshold = 2
    repo.publish("root")
    repo.publish_all()
    assert not client.refresh()
    assert client.versions()[0] == 2


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_rotation_disowns_the_old_key(repo, client, role):
    assert client.refresh()
    old = list(repo.signers[role])
    repo.rotate(role)
    repo.publish("root")
    repo.with_hashes = False
    repo.publish_all()
    repo.serve(role, repo.sign(role, old))
    assert not client.refresh()
    repo.publish_all()
    assert client.refresh()
    assert client.versions() == (2, 3, 3, 3)


# A thief of online keys drove versions up; new keys begin anew


def test_fast_forward_of_the_timestamp(repo, client):
    repo.roles["timestamp"].version = 99_999
    repo.publish("timestamp", bump=False)
    assert client.refresh()
    repo.rotate("timestamp")
    repo.publish("root")
    repo.roles["timestamp"].version = 1
    repo.publish("timestamp", bump=False)
    assert client.refresh()
    assert client.versions() == (2, 1, 1, 1)


def test_fast_forward_of_the_snapshot(repo, client):
    repo.roles["snapshot"].version = 99_999
    repo.publish("snapshot", bump=False).publish("timestamp")
    assert client.refresh()
    repo.rotate("timestamp")
    repo.rotate("snapshot")
    repo.publish("root")
    repo.roles["snapshot"].version = 1
    repo.publish("snapshot", bump=False).publish("timestamp")
    assert client.refresh()
    assert client.version("snapshot") == 1


def test_fast_forward_of_targets(repo, client):
    repo.roles["targets"].version = 99_999
    repo.publish("targets", bump=False).publish("snapshot", "timestamp")
    assert client.refresh()
    repo.rotate("snapshot")
    repo.publish("root")
    repo.roles["targets"].version = 1
    repo.publish("targets", bump=False).publish("snapshot", "timestamp")
    assert client.refresh()
    assert client.version("targets") == 1


# Beyond what this client does on purpose


def test_a_repository_without_consistent_snapshots(repo, client):
    repo.roles["root"].consistent_snapshot = False
    repo.publish("root")
    for role in ("snapshot", "targets"):
        repo.files[f"metadata/{role}.json"] = repo.files[f"metadata/1.{role}.json"]
    assert client.refresh()


@pytest.mark.parametrize("make", [CryptoSigner.generate_ecdsa, CryptoSigner.generate_rsa])
def test_keys_of_other_kinds(repo, client, make):
    repo.rotate("timestamp")
    repo.roles["root"].revoke_key(repo.signers["timestamp"].pop().public_key.keyid, "timestamp")
    repo.new_key("timestamp", make())
    repo.publish("root").publish("timestamp")
    assert client.refresh()


def test_without_hashes(client, repo):
    other = Repository(with_hashes=False)
    repo.files.clear()
    repo.files.update(other.files)
    (client.metadata / "state").unlink()
    assert client.init(other.first_root)
    assert client.refresh()
    assert client.versions() == (1, 1, 1, 1)
