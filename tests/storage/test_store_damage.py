"""Damaged, removed and read-only stores lose entries, never a run."""

import os
import pathlib
import random
import sqlite3
import warnings

import pytest
from stores import linux_only, numbered, output_of, put_numbered, sqlite, start

from skclipad._storage.store import EmbeddingStore, open_store

# Damage


@pytest.mark.parametrize(
    "change",
    [
        "data = zeroblob(24)",
        "data = substr(data, 1, 20)",
        "data = data || x'00000000'",
        "data = CAST(x'ffff' AS TEXT)",
        "data = 5",
        "data = x'80049528632e'",  # begins like a pickle
        "digest = zeroblob(16)",
        "digest = x''",
        "d0 = 2, d1 = 3",
        "d0 = 6, d1 = NULL",
        "d0 = -1",
        "d0 = 'three'",
        "d2 = 1",
        "(digest, data) = (SELECT digest, data FROM embeddings WHERE key = x'6b31')",
    ],
)
def test_a_damaged_row_is_absent_and_removed(store, change):
    put_numbered(store, range(3))
    store.close()
    with sqlite(store.path) as connection:
        assert connection.execute(
            f"UPDATE embeddings SET {change} WHERE key = CAST('k2' AS BLOB)"
        ).rowcount
    assert numbered(store, range(3)) == [0, 1, None]
    assert len(store) == 2
    put_numbered(store, [2])
    assert numbered(store, range(3)) == [0, 1, 2]


def scramble(path):
    path.write_bytes(random.Random(0).randbytes(20_000))


def empty(path):
    path.write_bytes(b"")


def keep_half(path):
    os.truncate(path, path.stat().st_size // 2)


def keep_header(path):
    os.truncate(path, 100)


def write_text(path):
    path.write_text("These are the notes of somebody else.\n")


def change_columns(path):
    with sqlite(path) as connection:
        connection.execute("ALTER TABLE embeddings ADD COLUMN extra")


def drop_table(path):
    with sqlite(path) as connection:
        connection.execute("DROP TABLE embeddings")


def raise_version(path):
    with sqlite(path) as connection:
        connection.execute("PRAGMA user_version = 99")


DAMAGES = [
    scramble,
    empty,
    keep_half,
    keep_header,
    write_text,
    change_columns,
    drop_table,
    raise_version,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_moved_aside_with_one_warning(store, damage):
    path = pathlib.Path(store.path)
    put_numbered(store, range(300))
    store.close()
    damage(path)
    found_damaged = path.read_bytes()
    with pytest.warns(RuntimeWarning) as log:
        assert numbered(store, range(300)) == [None] * 300
    assert len(log) == 1
    assert str(path) in str(log[0].message)
    assert "no sound embedding store" in str(log[0].message)
    assert pathlib.Path(store.path + ".corrupt").read_bytes() == found_damaged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put_numbered(store, range(300))
        assert numbered(EmbeddingStore(path.parent), range(300)) == list(range(300))


def test_damage_at_random_places_never_gives_a_wrong_array(store):
    path = pathlib.Path(store.path)
    put_numbered(store, range(500))
    store.close()
    sound = path.read_bytes()
    rng = random.Random(0)
    n_lost = 0
    for _ in range(30):
        damaged = bytearray(sound)
        for _ in range(5):
            start_at = rng.randrange(len(damaged))
            damaged[start_at : start_at + 50] = rng.randbytes(50)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            found = numbered(store, range(500))
            store.close()
        assert all(f is None or f == number for number, f in enumerate(found))
        n_lost += found.count(None)
    assert n_lost > 0


def test_a_damaged_log_costs_its_entries_alone(store):
    put_numbered(store, range(100))
    store.close()
    program = """
store = open_store(folder)
put_numbered(store, range(100, 200))
os._exit(0)  # leaves its log behind
"""
    output_of(start(program, os.path.dirname(store.path)))
    with open(store.path + "-wal", "r+b") as log:
        log.seek(200)
        log.write(random.Random(0).randbytes(2000))
    assert numbered(store, range(200)) == [*range(100), *[None] * 100]


def test_processes_that_find_it_damaged_at_once_move_it_once(store):
    program = """
print("ready", flush=True)
sys.stdin.readline()
with warnings.catch_warnings(record=True) as log, open_store(folder) as store:
    warnings.simplefilter("always")
    put_numbered(store, range(50), prefix=sys.argv[2])
for warning in log:
    print(warning.message)
"""
    put_numbered(store, range(10))
    store.close()
    scramble(pathlib.Path(store.path))
    folder = os.path.dirname(store.path)
    processes = [start(program, folder, name) for name in "abcd"]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    warned = [line for process in processes for line in output_of(process)]
    assert len(warned) == 1
    assert "no sound embedding store" in warned[0]
    for name in "abcd":
        assert numbered(store, range(50), prefix=name) == list(range(50))


def test_what_another_process_has_healed_is_not_moved_again(store):
    other = EmbeddingStore(os.path.dirname(store.path))
    scramble(pathlib.Path(store.path))
    with pytest.raises(sqlite3.DatabaseError) as caught:
        store._file._connect()
    with pytest.warns(RuntimeWarning, match="no sound embedding store"):
        put_numbered(other, range(10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store._file._move_aside(caught.value)
        assert numbered(store, range(10)) == list(range(10))


def test_a_file_removed_while_another_process_uses_it_is_begun_anew(store):
    program = """
warnings.simplefilter("error")
store = open_store(folder)
for first in (0, 100):
    put_numbered(store, range(first, first + 50), prefix="other")
    print("has put", flush=True)
    sys.stdin.readline()
"""
    other = start(program, os.path.dirname(store.path))
    assert other.stdout.readline() == "has put\n"
    os.remove(store.path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        put_numbered(store, range(50))
        other.stdin.write("go on\n")
        other.stdin.flush()
        assert other.stdout.readline() == "has put\n"
        assert numbered(store, range(50)) == list(range(50))
        found = numbered(store, [0, 100, 149], prefix="other")
        assert found == [None, 100, 149]
    output_of(other)


@pytest.mark.parametrize("log_too", [False, True])
def test_a_file_removed_under_an_open_store_is_begun_anew(store, log_too):
    put_numbered(store, range(10))
    os.remove(store.path)
    if log_too:
        os.remove(store.path + "-wal")
        os.remove(store.path + "-shm")
    assert numbered(store, range(10)) == [None] * 10
    put_numbered(store, range(5))
    assert numbered(EmbeddingStore(os.path.dirname(store.path)), [4]) == [4]


def test_an_open_store_follows_the_file_that_took_the_name(store, tmp_path):
    put_numbered(store, range(10))
    with open_store(tmp_path / "other") as other:
        put_numbered(other, range(10, 20))
    os.replace(other.path, store.path)
    for suffix in ("-wal", "-shm"):
        os.remove(store.path + suffix)
    assert numbered(store, [1, 11]) == [None, 11]


def test_a_folder_removed_under_an_open_store_is_made_again(store):
    put_numbered(store, [1])
    for name in os.listdir(os.path.dirname(store.path)):
        os.remove(os.path.join(os.path.dirname(store.path), name))
    os.rmdir(os.path.dirname(store.path))
    put_numbered(store, [2])
    assert numbered(store, [1, 2]) == [None, 2]


# What may not be written


def use_in_vain(store):
    """Use a store that cannot be used; return its warnings."""
    with warnings.catch_warnings(record=True) as log:
        warnings.simplefilter("always")
        for _ in range(3):
            put_numbered(store, [1])
            assert numbered(store, [1]) == [None]
            assert len(store) == 0
    return [str(warning.message) for warning in log]


def test_a_file_that_cannot_be_opened_warns_once_and_the_run_goes_on(store):
    os.mkdir(store.path)
    (message,) = use_in_vain(store)
    assert store.path in message
    assert "the run goes on" in message


def test_a_writer_that_never_ends_warns_once_and_the_run_goes_on(store, monkeypatch):
    monkeypatch.setattr("skclipad._storage.database._TIMEOUT", 0.05)
    put_numbered(store, [0])
    store.close()
    with sqlite(store.path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.warns(RuntimeWarning, match="locked") as log:
            put_numbered(store, [1])
            put_numbered(store, [2])
        assert len(log) == 1
        assert numbered(store, [0, 1]) == [0, None]
        with pytest.raises(OSError, match=r"could not be cleared .*locked"):
            store.clear()
    put_numbered(store, [1])
    assert numbered(store, [0, 1]) == [0, 1]


# The superuser may write anywhere, so the process gives up that privilege: capset(2)
# with version 3 of its header, this process, and three empty sets.
UNPRIVILEGED = """
import ctypes
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0
"""


@linux_only
@pytest.mark.parametrize("still_open", [False, True])
def test_a_read_only_folder_is_read_and_warns_once_when_put_to(store, still_open):
    program = """
with warnings.catch_warnings(record=True) as log:
    warnings.simplefilter("always")
    store = open_store(folder)
    print([float(array[0, 0]) for array in store.get_many(["k1", "k2"])], len(store))
    print(len(log))
    put_numbered(store, [3])
    put_numbered(store, [3])
    print(store.get_many(["k3"]), store.get_many(["k1"])[0][0, 0])
    print(len(log), log[0].message)
try:
    store.clear()
except OSError as error:
    print(error)
"""
    put_numbered(store, [1, 2])
    if not still_open:
        store.close()
    folder = os.path.dirname(store.path)
    os.chmod(folder, 0o555)
    try:
        lines = output_of(start(UNPRIVILEGED + program, folder))
    finally:
        os.chmod(folder, 0o755)
    assert lines[:3] == ["[1.0, 2.0] 2", "0", "[None] 1.0"]
    assert lines[3].startswith(f"1 {store.path} could not be used")
    assert "could not be cleared" in lines[4]
    put_numbered(store, [3])
    assert numbered(store, [1, 2, 3]) == [1, 2, 3]


@linux_only
def test_a_damaged_file_in_a_read_only_folder_stays_and_reads_as_absent(store):
    program = """
with warnings.catch_warnings(record=True) as log:
    warnings.simplefilter("always")
    print(open_store(folder).get_many(["k1"]), len(log), log[0].message)
"""
    scramble(pathlib.Path(store.path))
    folder = os.path.dirname(store.path)
    os.chmod(folder, 0o555)
    try:
        (line,) = output_of(start(UNPRIVILEGED + program, folder))
    finally:
        os.chmod(folder, 0o755)
    assert line.startswith("[None] 1 ")
    assert "not a database" in line
    assert os.listdir(folder) == ["skclipad-embeddings.sqlite"]


@linux_only
def test_a_read_only_folder_without_a_store_is_refused(tmp_path):
    program = """
for memory in (folder, os.path.join(folder, "below")):
    try:
        open_store(memory)
    except PermissionError as error:
        print(error)
"""
    os.chmod(tmp_path, 0o555)
    try:
        lines = output_of(start(UNPRIVILEGED + program, tmp_path))
    finally:
        os.chmod(tmp_path, 0o755)
    assert len(lines) == 2
    assert "without a store that may not be written" in lines[0]
    assert "cannot be made (Permission denied)" in lines[1]


@linux_only
def test_a_full_disk_warns_once_and_the_run_goes_on(tmp_path):
    program = """
import resource
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)

def disk_holds(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))

with warnings.catch_warnings(record=True) as log:
    warnings.simplefilter("always")
    disk_holds(1000)
    full = open_store(os.path.join(folder, "full"))
    put_numbered(full, [1])
    put_numbered(full, [1])
    print(full.get_many(["k1"]), len(log), os.listdir(os.path.dirname(full.path)))
    disk_holds(200_000)
    filling = open_store(folder)
    put_numbered(filling, [1])
    filling.put_many(["big"], [np.zeros(100_000)])
    print(filling.get_many(["big"]), filling.get_many(["k1"])[0][0, 0], len(log))
    disk_holds(most)
    for store in (full, filling):
        put_numbered(store, [2])
        store.put_many(["big"], [np.zeros(100_000)])
        print([array.size for array in store.get_many(["k2", "big"])], len(log))
"""
    assert output_of(start(program, tmp_path)) == [
        "[None] 1 []",
        "[None] 1.0 2",
        "[6, 100000] 2",
        "[6, 100000] 2",
    ]
