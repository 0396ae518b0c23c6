"""Machine code on disk: kept, found again, repaired, never mistaken; and called from Python without a detour."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from tinynn.kernels import disk_cache, machine_code
from tinynn.kernels.machine_code import Written, address_of

pytestmark = pytest.mark.skipif(machine_code.interpreted(), reason="looks at machine code")

# A kernel that adds a number to row[2], the process that runs it, and what it prints: whether it had to be written.
PROGRAM = """
import os, sys, time
{before}
import numpy as np
from llvmlite import ir
from tinynn.kernels.llvm_vectors import kernel_text, number
from tinynn.kernels.machine_code import Written, address_of, was_kept
from tinynn.kernels.python_calls import bound

def emit(builder, row):
    place = builder.gep(row, [number(2)])
    builder.store(builder.add(builder.load(place), number({amount})), place)

written = []
def write():
    written.append(True)
    return Written(kernel_text("add", emit), "add")

row = np.array([0, 3, 40])
address = address_of("add", "adds {amount}", write)
bound(address, row)()
assert row[2] == 40 + {amount}, row
assert was_kept(address) != bool(written)
assert address_of("add", "adds {amount}", write) == address
{after}
print("written" if written else "kept")
"""


def start(cache, before="", after="", amount=2, **environment):
    program = PROGRAM.format(before=before, after=after, amount=amount)
    environment = {**os.environ, disk_cache.VARIABLE: str(cache), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


def run(cache, *args, **kwargs):
    return finish(start(cache, *args, **kwargs))


def files(cache, name="add"):
    return sorted(cache.glob(f"{name}_*.machine"))


def test_a_later_process_finds_it(tmp_path):
    assert run(tmp_path) == "written"
    assert run(tmp_path) == "kept"
    assert run(tmp_path, amount=3) == "written"  # another recipe, another file
    assert len(files(tmp_path)) == 2
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other format", "longer"])
def test_a_damaged_file_is_written_anew(tmp_path, damage):
    assert run(tmp_path) == "written"
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
            "empty": b"",
            "other format": b"something else" + whole,
            "longer": whole + b"\0",
        }[damage]
    )
    assert run(tmp_path) == "written"
    assert path.read_bytes() == whole
    assert run(tmp_path) == "kept"


def test_processes_race(tmp_path):
    begin = f"while time.time() < {time.time() + 2.0}: pass"
    processes = [start(tmp_path, before=begin) for _ in range(4)]
    assert set(map(finish, processes)) <= {"written", "kept"}
    assert len(files(tmp_path)) == 1
    assert not list(tmp_path.glob("*.part"))
    assert run(tmp_path) == "kept"


@pytest.mark.parametrize(
    "change",
    [
        "import llvmlite; llvmlite.__version__ = '0.0'",
        "import tinynn.kernels.machine_code as m; m._numba_version = lambda: b'0.0'",
        "import tinynn.kernels.disk_cache as d; d.callees = lambda: b'other sources'",
    ],
)
def test_another_version_compiles_its_own(tmp_path, change):
    assert run(tmp_path) == "written"
    assert run(tmp_path, before=change) == "written"
    assert run(tmp_path, before=change) == "kept"
    assert run(tmp_path) == "kept"


def test_another_processor_compiles_its_own(tmp_path):
    assert run(tmp_path) == "written"
    assert run(tmp_path, NUMBA_CPU_NAME="generic") == "written"
    assert run(tmp_path, NUMBA_ENABLE_AVX="0") == "written"
    assert run(tmp_path) == "kept"


def test_a_missing_symbol_is_noticed_before_loading(tmp_path):
    """LLVM would end the process."""
    needs = """
machine = sys.modules["tinynn.kernels.machine_code"]
code = machine._read(next(p for p in machine.disk_cache.directory().glob("add_*")))
needing = b'["no_such_function"]' + code[code.index(b"\\n"):]
import hashlib
path = next(machine.disk_cache.directory().glob("add_*"))
path.write_bytes(machine._FORMAT + hashlib.sha256(needing).digest() + needing)
"""
    assert run(tmp_path, after=needs) == "written"
    assert run(tmp_path) == "written"
    assert run(tmp_path) == "kept"


def test_comments_do_not_count(tmp_path):
    source = "from tinynn.kernels.native import kernel\n\n@kernel\ndef f(row):\n    '''{}.'''\n    row[2] = {}\n"
    program = (
        f"source = {source!r}.replace(\"'''\", chr(34) * 3)\n"
        "from tinynn.kernels.kernel_sources import printed_kernel\n"
        "for words in (('one', 1), ('two', 1), ('two', 2)):\n"
        "    print(printed_kernel(source.format(*words), 'f').cache_hits, end=' ')\n"
    )
    environment = {**os.environ, disk_cache.VARIABLE: str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert result == "0 0 0"
    assert len(files(tmp_path, "f")) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_calls_and_loads(tmp_path):
    child = """
pid = os.fork()
if pid == 0:
    bound(address, row)()
    another = address_of("add_again", "again", write)
    bound(another, row)()
    os._exit(0 if row[2] == 46 else 1)
assert os.waitpid(pid, 0)[1] == 0
assert row[2] == 42
written[1:] = []
"""
    assert run(tmp_path, after=child) == "written"
    assert run(tmp_path, after="written.append(1)\n" + child) == "written"


def test_a_folder_that_cannot_be_written_to(tmp_path):
    broken = """
import tinynn.kernels.disk_cache as d
def full(path, content):
    raise OSError(28, "No space left on device")
d.write = full
"""
    assert run(tmp_path, before=broken) == "written"
    assert not files(tmp_path)


def test_a_warm_process_does_without_numba(tmp_path):
    program = """
import sys
import numpy as np
import tinynn
from tinynn import nn

model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.1), nn.Linear(5, 4))
optimizer = tinynn.optim.Adam(model.parameters())
loss_of = nn.CrossEntropyLoss()

@tinynn.compile
def step(x, y):
    optimizer.zero_grad()
    loss = loss_of(model(x), y)
    loss.backward()
    optimizer.step()
    return loss

x, y = tinynn.tensor(np.ones((6, 3))), tinynn.tensor(np.arange(6) % 4)
losses = [float(step(x, y)) for _ in range(4)]
assert losses[-1] < 10
print("numba" in sys.modules)
"""
    environment = {**os.environ, disk_cache.VARIABLE: str(tmp_path)}
    results = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert results == ["True", "False"]


# ---------------------------------------------------------------------------------------------- from Python


def doubling():
    from tinynn.kernels.native import kernel

    @kernel
    def double(row):
        row[2] = 2 * row[2]

    return double.address


@pytest.mark.parametrize("unlocked", [False, True])
def test_a_bound_kernel(unlocked):
    from tinynn.kernels.python_calls import bound

    row = np.array([0, 3, 1])
    call = bound(doubling(), row, unlocked)
    before = sys.getrefcount(None)
    for _ in range(1000):
        row[2] = 1
        assert call() is None
    assert abs(sys.getrefcount(None) - before) < 100
    assert row[2] == 2
    with pytest.raises(TypeError, match="takes no arguments"):
        call(1)


def test_a_bound_kernel_keeps_its_row():
    from tinynn.kernels.python_calls import bound

    row = np.array([0, 3, 1])
    seen, call = weakref.ref(row), bound(doubling(), row)
    del row
    gc.collect()
    assert seen() is not None
    call()
    assert seen()[2] == 2
    del call
    gc.collect()
    assert seen() is None


def test_other_threads_run_meanwhile():
    from tinynn.kernels.native import kernel
    from tinynn.kernels.python_calls import bound

    @kernel
    def compute(row):  # what LLVM cannot shorten, for about a second
        row[3] = 1
        x = row[2]
        for _ in range(300_000_000):
            x = x * 6364136223846793005 + 1442695040888963407
        row[2], row[4] = x, 1

    row = np.array([0, 5, 1, 0, 0])
    thread = threading.Thread(target=bound(compute.address, row, unlocked=True))
    thread.start()
    while not row[3]:
        time.sleep(0.001)
    assert not row[4]  # this thread runs before that one has ended
    thread.join()
    assert row[4]


def test_kernels_without_a_recipe_are_told_apart():
    from tinynn.kernels.llvm_vectors import kernel_text, number
    from tinynn.kernels.python_calls import bound

    def adding(amount):
        def emit(builder, row):
            builder.store(number(amount), builder.gep(row, [number(2)]))

        return address_of("same", None, lambda: Written(kernel_text("same", emit), "same"))

    addresses = [adding(amount) for amount in range(3)]
    row = np.zeros(3, np.int64)
    for amount, address in enumerate(addresses):
        bound(address, row)()
        assert row[2] == amount


def test_errors_of_the_compiler_are_its_own():
    from numba.core.errors import TypingError

    from tinynn.kernels.native import kernel

    @kernel
    def wrong(row):
        row[2] = "text"

    with pytest.raises(TypingError):
        _ = wrong.address
    assert doubling()
