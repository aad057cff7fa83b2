"""Files in a folder and in a bucket: whole or not at all."""

import hashlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.storage import Storage
from worker import errors, settings, storage

TEXT = "text/csv; charset=utf-8"
BIG = [b"x" * 3_000_000] * 4


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """An S3-compatible store."""
    with Storage(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def place(request, configured, tmp_path) -> str:
    """Both kinds of storage in turn, set up."""
    if request.param == "folder":
        configured(STORAGE_URL=f"file://{tmp_path}/files")
    else:
        configured(**request.getfixturevalue("bucket").environment())
    return request.param


def breaking(chunks):
    """Yield chunks, then break."""
    yield from chunks
    raise LookupError


def answer(server: Storage, path: str) -> tuple[int, str, bytes]:
    """Ask the bucket's server for something, as a stranger: status, content type, body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    told = response.status, response.getheader("Content-Type", ""), response.read()
    connection.close()
    return told


def test_a_file_is_counted_and_hashed_on_its_way(place):
    """Size and SHA-1 are those of what can be read back, in one part or many."""
    for name, chunks in (("a/1.csv", [b"one,", b"two"]), ("a/2.csv", BIG), ("a/3.csv", [])):
        stored = storage.put(name, iter(chunks), TEXT)

        whole = b"".join(chunks)
        expected = (len(whole), hashlib.sha1(whole, usedforsecurity=False).hexdigest(), name)
        assert expected == (stored.size, stored.sha1, stored.path)
        assert whole == b"".join(storage.read(name))


@pytest.mark.parametrize("chunks", [[], [b"little"], BIG])
def test_a_broken_stream_leaves_nothing(place, chunks):
    """What breaks the stream comes out as it is, and neither a file nor half of one is there."""
    with pytest.raises(LookupError):
        storage.put("a/broken.csv", breaking(chunks), TEXT)

    with pytest.raises(errors.StorageMisconfigured):
        list(storage.read("a/broken.csv"))


def test_a_broken_stream_leaves_no_litter(configured, bucket, tmp_path):
    """Neither a temporary file in the folder nor an unfinished upload in the bucket."""
    configured(STORAGE_URL=f"file://{tmp_path}/files")
    with pytest.raises(LookupError):
        storage.put("a/broken.csv", breaking(BIG), TEXT)
    configured(**bucket.environment())
    with pytest.raises(LookupError):
        storage.put("a/broken.csv", breaking(BIG), TEXT)

    assert [path for path in Path(tmp_path, "files").rglob("*") if path.is_file()] == []
    assert b"<UploadId>" not in answer(bucket, "/exports?uploads")[2]


def test_deleting_twice_is_fine(place):
    """A file that is not there need not be deleted."""
    storage.put("a/gone.csv", [b"x"], TEXT)

    storage.delete("a/gone.csv")
    storage.delete("a/gone.csv")

    with pytest.raises(errors.StorageMisconfigured):
        list(storage.read("a/gone.csv"))


def test_a_folder_is_cleared_of_what_is_unwanted(place):
    """What is wanted stays, so do other folders, and clearing what is not there is fine."""
    for path in ("a/1.csv", "a/2.csv", "ab/1.csv"):
        storage.put(path, [b"x"], TEXT)

    cleared = [storage.clear("a", lambda name: name == "1.csv") for _ in range(2)] + [storage.clear("b", bool)]

    assert ([1, 0, 0], [False, True, True]) == (
        cleared,
        [storage.holds(path) for path in ("a/1.csv", "a/2.csv", "ab/1.csv")],
    )


def test_a_bucket_serves_a_signed_link_and_a_folder_has_none(configured, bucket, tmp_path):
    """The link gives the bytes with their content type."""
    configured(STORAGE_URL=f"file://{tmp_path}/files")
    assert storage.signed("a/1.csv", seconds=60) is None
    configured(**bucket.environment())
    stored = storage.put("a/1.csv", [b"one"], TEXT)

    link = storage.signed("a/1.csv", seconds=60)
    assert link is not None
    assert answer(bucket, link.removeprefix(bucket.endpoint)) == (200, TEXT, b"one")
    assert (stored.provider, stored.bucket) == ("s3", "exports")


def test_a_prefix_in_the_address_goes_before_every_file(configured, bucket):
    """One bucket can serve several installations."""
    configured(**bucket.environment() | {"STORAGE_URL": "s3://exports/here"})
    storage.put("a/1.csv", [b"prefixed"], TEXT)

    assert answer(bucket, "/exports/here/a/1.csv")[2] == b"prefixed"


def test_a_missing_bucket_is_for_the_operator_to_mend(configured, bucket):
    """Waiting will not make it appear."""
    configured(**bucket.environment() | {"STORAGE_URL": "s3://nowhere"})

    with pytest.raises(errors.StorageMisconfigured):
        storage.put("a/1.csv", [b"x"], TEXT)


def test_a_storage_that_does_not_answer_may_come_back(configured, bucket):
    """A refused connection is an outage."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    configured(**bucket.environment() | {"STORAGE_ENDPOINT": f"http://127.0.0.1:{port}"})

    with pytest.raises(errors.StorageUnavailable):
        storage.put("a/1.csv", [b"x"], TEXT)


def test_a_folder_that_cannot_be_made_is_an_outage(configured, tmp_path):
    """A file stands where the folder should: for all we know a disk that is not mounted."""
    Path(tmp_path, "files").write_text("")
    configured(STORAGE_URL=f"file://{tmp_path}/files")

    with pytest.raises(errors.StorageUnavailable):
        storage.put("a/1.csv", [b"x"], TEXT)


def test_without_keys_the_machines_own_role_is_asked(configured, bucket, monkeypatch):
    """No key of ours is sent along, so the library's own chain decides."""
    configured(**bucket.environment() | {"STORAGE_ACCESS_KEY": "", "STORAGE_SECRET_KEY": ""})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "role")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    storage.forget()

    assert settings.current().storage_access_key.get_secret_value() == ""
    assert storage.put("a/1.csv", [b"x"], TEXT).size == 1
