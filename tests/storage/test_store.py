"""The embedding store: round trips, many writers at once, what can befall a file."""

import contextlib
import multiprocessing
import os
import pathlib
import pickle
import random
import signal
import subprocess
import threading
import warnings

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from stores import (
    needs_fork,
    numbered,
    output_of,
    put_numbered,
    sqlite,
    start,
)

from skclipad._storage.store import EmbeddingStore, open_store, store_key

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
