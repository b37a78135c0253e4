"""The embedding store: round trips, many writers at once, what can befall a file."""

import contextlib
import multiprocessing
import os
import pathlib
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import warnings

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from skclipad._store import EmbeddingStore, open_store, store_key

PACKAGE = pathlib.Path(__file__).parents[1]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux calls")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "memory") as store:
        yield store


def put_numbered(store, numbers, prefix="k"):
    """Put, under the key of each number, a small array that holds the number."""
    numbers = list(numbers)
    put = [np.full((3, 2), number, dtype=np.float32) for number in numbers]
    store.put_many([f"{prefix}{number}" for number in numbers], put)


def numbered(store, numbers, prefix="k"):
    """Read what `put_numbered` put: the number of each key, None where it is absent."""
    found = store.get_many([f"{prefix}{number}" for number in numbers])
    assert all(array is None or array.shape == (3, 2) for array in found)
    assert all(array is None or len(np.unique(array)) == 1 for array in found)
    return [None if array is None else int(array[0, 0]) for array in found]


@contextlib.contextmanager
def sqlite(path):
    """Open the file behind the store's back."""
    connection = sqlite3.connect(path)
    with contextlib.closing(connection), connection:
        yield connection


PROLOGUE = """
import os, sys, warnings
import numpy as np
from skclipad._store import open_store, store_key

def put_numbered(store, numbers, prefix="k"):
    numbers = list(numbers)
    put = [np.full((3, 2), number, dtype=np.float32) for number in numbers]
    store.put_many([f"{prefix}{number}" for number in numbers], put)

folder = sys.argv[1]
"""


def start(program, *arguments):
    """Run a program in another process, with the helpers above."""
    return subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + program, *map(str, arguments)],
        cwd=PACKAGE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process):
    """Wait for a process of `start`; return the lines it printed."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.splitlines()


# Opening


def test_no_memory_is_no_store():
    assert open_store(None) is None
    assert open_store(joblib.Memory(None)) is None


def test_a_folder_is_made_with_its_parents(tmp_path):
    store = open_store(str(tmp_path / "a" / "b"))
    assert store.path == str(tmp_path / "a" / "b" / "skclipad-embeddings.sqlite")
    put_numbered(store, [1])
    assert os.listdir(tmp_path / "a" / "b")[0].startswith("skclipad-embeddings.sqlite")


def test_str_path_and_joblib_memory_open_one_store(tmp_path):
    put_numbered(open_store(str(tmp_path)), [5])
    memory = joblib.Memory(tmp_path, verbose=0)
    assert numbered(open_store(tmp_path), [5]) == [5]
    assert numbered(open_store(memory), [5]) == [5]
    assert open_store(memory).path == open_store(tmp_path).path


def test_a_relative_folder_stays_where_it_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store("here")
    monkeypatch.chdir("/")
    put_numbered(store, [1])
    assert numbered(open_store(tmp_path / "here"), [1]) == [1]


@pytest.mark.parametrize("memory", [5, True, b"folder", ["folder"], object()])
def test_other_types_of_memory_are_refused(memory):
    with pytest.raises(TypeError, match=r"Got memory=.*expected None, a folder"):
        open_store(memory)


def test_a_file_is_refused_as_folder(tmp_path):
    (tmp_path / "file").write_text("text")
    for memory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError, match="expected a folder"):
            open_store(memory)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path):
    with pytest.raises(OSError, match=r"Got memory='.*xxx'.*cannot be made"):
        open_store(str(tmp_path / ("x" * 5000)))


# Arrays and keys


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    array=arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int16, np.uint8, bool]),
        array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    )
)
def test_arrays_come_back_as_float32_copies_in_their_shape(store_of_module, array):
    with np.errstate(over="ignore"):
        store_of_module.put_many(["key"], [array])
        expected = array.astype(np.float32)
    first, again = store_of_module.get_many(["key", "key"])
    np.testing.assert_array_equal(first, expected)
    for found in (first, again):
        assert found.dtype == np.float32
        assert found.shape == array.shape
        assert found.flags.c_contiguous and found.flags.writeable
    assert not np.shares_memory(first, again)


@pytest.fixture(scope="module")
def store_of_module(tmp_path_factory):
    with open_store(tmp_path_factory.mktemp("memory")) as store:
        yield store


def test_strided_and_big_endian_arrays_and_lists_are_kept_by_value(store):
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    given_arrays = [base[::2, ::-3], base.T, base.astype(">f4"), [1, 2.5], 7]
    store.put_many(list("abcde"), given_arrays)
    for found, put in zip(store.get_many(list("abcde")), given_arrays, strict=True):
        np.testing.assert_array_equal(found, put)


def test_order_is_that_of_the_keys_and_absent_ones_are_none(store):
    put_numbered(store, range(10))
    assert numbered(store, [7, 99, 0, 7, -1]) == [7, None, 0, 7, None]
    assert store.get_many([]) == []


def test_the_last_array_of_a_key_stays(store):
    store.put_many(["a", "b", "a"], [[1.0], [2.0], [3.0, 4.0]])
    store.put_many(["b"], [[5.0]])
    store.put_many(["b"], [[5.0]])
    assert [array.tolist() for array in store.get_many(["a", "b"])] == [[3, 4], [5]]
    assert len(store) == 2


def test_more_keys_than_one_query_takes(store):
    put_numbered(store, range(1000))
    numbers = range(300_000)  # SQLite takes 250,000 where it is built to take most
    found = numbered(store, numbers)
    assert found[:1000] == list(range(1000))
    assert found[1000:] == [None] * 299_000


def test_any_str_is_a_key(store):
    keys = ["", "\0", "a\0b", "ä", "caf\udce9.png", "k' OR 1=1 --", "x" * 10_000]
    store.put_many(keys, np.arange(len(keys)))
    assert [int(array) for array in store.get_many(keys)] == list(range(len(keys)))


def test_keys_that_are_not_strings_are_refused(store):
    for keys in ("abc", [1], [b"a"], [None]):
        with pytest.raises(TypeError, match="expected a sequence of str"):
            store.get_many(keys)
        with pytest.raises(TypeError, match="expected a sequence of str"):
            store.put_many(keys, [[1.0]])


@pytest.mark.parametrize(
    "array",
    [np.zeros((1, 1, 1, 1)), ["word"], [1j], [None], np.array([{}], dtype=object)],
    ids=["4-D", "text", "complex", "None", "object"],
)
def test_arrays_of_other_content_are_refused_and_nothing_is_put(store, array):
    with pytest.raises(ValueError, match="expected real numbers in at most 3"):
        store.put_many(["good", "bad"], [[1.0], array])
    assert len(store) == 0


def test_each_key_needs_its_array(store):
    with pytest.raises(ValueError, match="Got 2 keys and 1 arrays"):
        store.put_many(["a", "b"], [[1.0]])


# The object


def test_entries_outlive_the_store(store):
    put_numbered(store, range(5))
    store.close()
    again = EmbeddingStore(os.path.dirname(store.path))
    assert numbered(again, range(5)) == list(range(5))


def test_a_closed_store_opens_again_when_used(store):
    put_numbered(store, [1])
    store.close()
    store.close()
    assert numbered(store, [1]) == [1]


def test_closing_leaves_one_file(store):
    put_numbered(store, range(100))
    store.close()
    assert os.listdir(os.path.dirname(store.path)) == ["skclipad-embeddings.sqlite"]


def test_only_the_path_is_pickled(store):
    put_numbered(store, [1])
    dump = pickle.dumps(store)
    assert len(dump) < len(store.path) + 100
    assert numbered(pickle.loads(dump), [1]) == [1]


def test_size_is_shown_with_the_log(store):
    assert store.nbytes == 0
    store.put_many(["a"], [np.zeros(500_000)])
    assert 2_000_000 < store.nbytes < 8_000_000
    assert store.nbytes == sum(
        os.path.getsize(store.path + suffix) for suffix in ("", "-wal")
    )
    shown = f"EmbeddingStore({store.path!r}, 1 entries, {store.nbytes / 1e6:.1f} MB)"
    assert repr(store) == shown


def test_clear_removes_entries_and_gives_back_the_space(store):
    store.put_many(["a"], [np.zeros(500_000)])
    pathlib.Path(store.path + ".corrupt").write_bytes(b"an old one")
    store.clear()
    assert len(store) == 0
    assert store.get_many(["a"]) == [None]
    assert store.nbytes < 100_000
    assert not os.path.exists(store.path + ".corrupt")


# Names of entries


def test_a_key_is_the_same_in_every_process_and_version():
    key = store_key("a.png", 240, 0.5, None, ("single", (1, 2)))
    assert key == "4d2ca5b9eb25a2b9c22a562cfeec1dc3d8537679c013a0baad901c4fd6f71da3"


def test_keys_tell_parts_apart_by_type_length_and_nesting():
    groups = [
        *[(), (None,), (None, None), ("",), (0,), (0.0,), (-0.0,), ((),), ("None",)],
        *[("ab", "c"), ("a", "bc"), ("abc",), (("ab", "c"),), (("ab",), "c")],
        *[(1, 23), (12, 3), (123,), (1.0,), ("1",), (-1,), (float("inf"),)],
        *[("s1:a",), ("a", "s1:a"), ("caf\udce9",), ("café",), (10**5000,)],
    ]
    assert len({store_key(*parts) for parts in groups}) == len(groups)


parts = st.recursive(
    st.none() | st.text(max_size=3) | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(one=st.tuples(parts, parts), other=st.tuples(parts, parts))
def test_keys_are_equal_exactly_if_the_parts_are(one, other):
    # repr tells 1 from 1.0 and 0.0 from -0.0, as keys do.
    assert (store_key(*one) == store_key(*other)) == (repr(one) == repr(other))


def test_numpy_numbers_make_the_keys_of_python_ones():
    assert store_key(np.int64(3), np.float64(0.1)) == store_key(3, 0.1)


@pytest.mark.parametrize("part", [b"bytes", ["list"], {"a": 1}, np.zeros(2), 1j])
def test_other_parts_of_a_key_are_refused(part):
    with pytest.raises(TypeError, match="as a part of a store key"):
        store_key("a", (1, part))


# Many at once


def test_eight_threads_write_and_read_at_once(store):
    wrong = []

    def work(thread):
        for start_at in range(0, 40, 10):
            own = range(1000 * thread + start_at, 1000 * thread + start_at + 10)
            put_numbered(store, own)
            put_numbered(store, range(10), prefix="shared")
            if numbered(store, own) != list(own):
                wrong.append(own)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(store) == 8 * 40 + 10
    for thread in range(8):
        own = range(1000 * thread, 1000 * thread + 40)
        assert numbered(store, own) == list(own)


def test_four_processes_write_and_read_at_once(store):
    program = """
store, own = open_store(folder), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for batch in range(20):
        put_numbered(store, range(10 * batch, 10 * batch + 10), prefix=f"{own}-")
        put_numbered(store, range(10), prefix="shared")
        assert store.get_many([f"{own}-{10 * batch}"])[0][0, 0] == 10 * batch
        if batch % 5 == own:
            store.close()
"""
    folder = os.path.dirname(store.path)
    processes = [start(program, folder, number) for number in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        output_of(process)
    assert len(store) == 4 * 200 + 10
    for number in range(4):
        assert numbered(store, range(200), prefix=f"{number}-") == list(range(200))


def test_a_store_is_used_in_a_spawned_process(store):
    put_numbered(store, [1])
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(numbered, (store, [1, 2])) == [1, None]
        pool.apply(put_numbered, (store, [2]))
    assert numbered(store, [1, 2]) == [1, 2]


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks_use_the_store_while_threads_write(store):
    put_numbered(store, [0])
    finished = threading.Event()

    def churn(number):
        while not finished.is_set():
            put_numbered(store, range(20), prefix=f"thread{number}-")

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    statuses = []
    try:
        for child in range(10):
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)  # where it would wait for ever
                with contextlib.suppress(BaseException):
                    put_numbered(store, [child], prefix="child")
                    os._exit(0 if numbered(store, [0]) == [0] else 1)
                os._exit(2)
            statuses.append(os.waitpid(pid, 0)[1])
    finally:
        finished.set()
        for thread in threads:
            thread.join()
    assert statuses == [0] * 10
    assert numbered(store, range(10), prefix="child") == list(range(10))
    assert numbered(store, range(20), prefix="thread0-") == list(range(20))


def test_a_connection_of_another_process_is_not_used(store, monkeypatch):
    put_numbered(store, [1])
    pid = os.getpid()
    inherited = store._file._connection
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    assert numbered(store, [1]) == [1]
    assert store._file._connection is not inherited
    inherited.execute("SELECT 1")  # nor closed


# Killed writers


def test_a_killed_writer_leaves_each_batch_whole_or_absent(tmp_path):
    program = """
print("starts", flush=True)
store = open_store(folder)
for batch in range(100_000):
    keys = [f"{batch}/{row}" for row in range(50)]
    store.put_many(keys, np.full((50, 640), batch, dtype=np.float32))
    if batch == 0:
        print("has put", flush=True)
    if batch % 50 == 49:
        store.close()
"""
    moments = random.Random(0)
    n_batches = []
    for n_lines in (1, 1, 2, 2, 2, 2):
        writer = start(program, tmp_path)
        for _ in range(n_lines):
            writer.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(moments.uniform(0.0, 0.1))
        writer.kill()
        writer.communicate()
        with warnings.catch_warnings(), open_store(tmp_path) as store:
            # One killed while it makes the file may leave an empty one.
            warnings.filterwarnings("ignore", ".*it is empty.*")
            n_batches.append(len(store) // 50)
            assert len(store) == 50 * n_batches[-1]
            for batch in range(n_batches[-1]):
                found = store.get_many([f"{batch}/{row}" for row in range(50)])
                np.testing.assert_array_equal(found, np.full((50, 640), batch))
        with sqlite(store.path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert max(n_batches) > 0


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
    monkeypatch.setattr("skclipad._cache_file._TIMEOUT", 0.05)
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
