"""One rank alone; what is refused; what is missing; and NCCL's calls, made to a stand-in."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import distributed, nn, optim
from tinynn.compiler.errors import TraceError
from tinynn.data import DataLoader
from tinynn.distributed import DistributedSampler, group, launch

from .conftest import ROOT, needs_mpi


@pytest.fixture
def no_group(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process."""
    monkeypatch.setattr(group, "_group", None)
    yield
    distributed.destroy_process_group()


# ------------------------------------------------------------------------------------------------------ one rank


@needs_mpi
def test_one_rank_alone_trains_as_usual(no_group: None) -> None:
    assert not distributed.is_initialized()
    distributed.init_process_group()
    assert distributed.is_available()
    assert distributed.is_initialized()
    assert (distributed.get_rank(), distributed.get_world_size()) == (0, 1)
    results = []
    for wrap in (lambda x: x, distributed.DistributedOptimizer):
        tinynn.manual_seed(0)
        model = nn.Linear(3, 1)
        distributed.broadcast_parameters(model)
        optimizer = wrap(optim.SGD(model.parameters(), lr=0.1))
        model(tinynn.ones(2, 3)).sum().backward()
        optimizer.step()
        distributed.average_buffers(model)
        distributed.check_same_parameters(model)
        results.append(model.weight.detach().numpy().copy())
    np.testing.assert_array_equal(*results)
    for value in (tinynn.tensor([1.0, 2.0]), np.array([True]), 3, 2.5, np.float32(1.5)):
        for found in (distributed.all_reduce(value), distributed.broadcast(value)):
            assert type(found) is type(value)
            np.testing.assert_array_equal(np.asarray(found), np.asarray(value))
    assert distributed.all_gather_object({"a": 1}) == [{"a": 1}]
    distributed.barrier()


@needs_mpi
def test_what_is_refused(no_group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'mpi' or 'nccl', not 'gloo'"):
        distributed.init_process_group("gloo")
    distributed.init_process_group()
    with pytest.raises(RuntimeError, match="joined already"):
        distributed.init_process_group()
    with pytest.raises(ValueError, match="op must be one of 'sum', 'mean', 'max', 'min', not 'product'"):
        distributed.all_reduce(1.0, "product")
    with pytest.raises(ValueError, match=r"src=1, but the ranks are 0 \.\.\. 0"):
        distributed.broadcast(1.0, src=1)
    model = nn.BatchNorm1d(2)
    for call in (
        distributed.barrier,
        lambda: distributed.broadcast(tinynn.ones(2)),
        lambda: distributed.all_gather_object(1),
        lambda: distributed.broadcast_parameters(model),
        lambda: distributed.average_buffers(model),
        lambda: distributed.check_same_parameters(model),
        distributed.init_process_group,
    ):
        with pytest.raises(TraceError):
            tinynn.compile(lambda x, call=call: (call(), x)[1])(tinynn.ones(1))


@needs_mpi
def test_a_foreign_mpiexec_is_noticed(no_group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(RuntimeError, match=r"the launcher started 4 processes .*another MPI library"):
        distributed.init_process_group()


def test_without_mpi4py_the_extra_is_named(no_group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "mpi4py":
            raise ImportError("No module named 'mpi4py'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mpi4py"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"pip install 'tinynn\[mpi\]'"):
        distributed.get_rank()
    assert not distributed.is_initialized()


def test_importing_brings_neither_mpi_nor_cupy() -> None:
    code = "import sys, tinynn.distributed; print('mpi4py' in sys.modules, 'cupy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_without_mpiexec_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynn.distributed import launch as function

    monkeypatch.setattr(sys.modules[function.__module__], "find_mpiexec", lambda: None)
    with pytest.raises(FileNotFoundError, match="pip install mpich"):
        launch(["script.py"], 2)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        launch(["script.py"], 0)


# ------------------------------------------------------------------------------------------------------- sampler


@pytest.mark.parametrize(("n", "ranks", "drop_last"), [(12, 3, False), (10, 4, False), (10, 4, True), (3, 7, False)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_samples_are_shared_out(n: int, ranks: int, drop_last: bool, shuffle: bool) -> None:
    samplers = [DistributedSampler(range(n), ranks, rank, shuffle, 7, drop_last) for rank in range(ranks)]
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])} == {n // ranks if drop_last else -(-n // ranks)}
    together = [i for row in zip(*parts) for i in row]
    assert len(set(together[:n])) == min(n, len(together))  # before it wraps around, nobody's twice
    assert together[n:] == (together[:n] * ranks)[: max(0, len(together) - n)]
    if not shuffle:
        assert together[:n] == list(range(min(n, len(together))))


@pytest.mark.peers
@pytest.mark.parametrize(("n", "ranks", "drop_last"), [(12, 3, False), (10, 4, False), (10, 4, True), (3, 7, False)])
def test_as_in_pytorch(n: int, ranks: int, drop_last: bool) -> None:
    torch = pytest.importorskip("torch.utils.data.distributed")
    for rank in range(ranks):
        theirs = torch.DistributedSampler(range(n), ranks, rank, shuffle=False, drop_last=drop_last)
        ours = DistributedSampler(range(n), ranks, rank, shuffle=False, drop_last=drop_last)
        assert list(ours) == list(theirs)
        assert len(ours) == len(theirs)


def test_every_epoch_has_an_order_of_its_own() -> None:
    sampler = DistributedSampler(range(50), 2, 0, seed=3)
    first, second = list(sampler), list(sampler)
    assert first != second
    sampler.set_epoch(0)
    assert list(sampler) == first
    loader = DataLoader(np.arange(50), batch_size=5, sampler=sampler)
    assert len(loader) == 5
    assert [i for batch in loader for i in batch.tolist()] == second
    loader.epoch = 0
    assert [i for batch in loader for i in batch.tolist()] == first


def test_two_ranks_batches_are_one_batch_of_a_single_process() -> None:
    data = np.arange(48)
    alone = DataLoader(data, batch_size=8, shuffle=True, seed=11)
    ranks = [DataLoader(data, batch_size=4, sampler=DistributedSampler(data, 2, r, seed=11)) for r in (0, 1)]
    for _ in range(2):
        for whole, *parts in zip(alone, *ranks):
            assert sorted(whole.tolist()) == sorted(parts[0].tolist() + parts[1].tolist())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_replicas": 2, "rank": 2}, r"rank=2, but with num_replicas=2 ranks are 0 \.\.\. 1"),
        ({"num_replicas": 0, "rank": 0}, "num_replicas must be at least 1"),
        ({"num_replicas": 4, "rank": 0, "drop_last": True}, "3 samples are not enough for 4 ranks"),
        ({"num_replicas": 2, "rank": 0, "seed": -1}, "seed must be in"),
    ],
)
def test_samplers_that_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistributedSampler(range(3), **arguments)


# ---------------------------------------------------------------------------------------------------------- NCCL


STAND_IN = '''
    """CuPy's names that NCCLGroup uses. "GPU" arrays are NumPy's in disguise; NCCL works on raw addresses, over MPI."""
    import ctypes, sys, types
    import numpy as np
    from mpi4py import MPI

    class Array:
        def __init__(self, array):
            self.array = array
            self.dtype, self.size, self.shape = array.dtype, array.size, array.shape
            self.data = types.SimpleNamespace(ptr=array.ctypes.data)
        def copy(self): return Array(self.array.copy())
        def __truediv__(self, other): return Array(self.array / other)
        def get(self): return self.array

    TYPES = {7: ctypes.c_float, 8: ctypes.c_double, 4: ctypes.c_int64, 2: ctypes.c_int32}
    OPS = {0: MPI.SUM, 2: MPI.MAX, 3: MPI.MIN}
    def at(pointer, count, kind):
        return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(TYPES[kind])), (count,))

    class NcclCommunicator:
        def __init__(self, size, identity, rank):
            assert identity == ("unique", 0), identity
            self.comm = MPI.COMM_WORLD.Dup()
            assert (size, rank) == (self.comm.size, self.comm.rank)
        def allReduce(self, send, receive, count, kind, op, stream):
            assert stream == 99
            self.comm.Allreduce(at(send, count, kind), at(receive, count, kind), OPS[op])
        def bcast(self, buffer, count, kind, root, stream):
            assert stream == 99
            self.comm.Bcast(at(buffer, count, kind), root)

    used = []
    cupy, cuda, nccl = types.ModuleType("cupy"), types.ModuleType("cupy.cuda"), types.ModuleType("cupy.cuda.nccl")
    cupy.ascontiguousarray = lambda x: x
    cupy.empty_like = lambda x: Array(np.empty_like(x.array))
    cuda.runtime = types.SimpleNamespace(getDeviceCount=lambda: DEVICES)
    cuda.Device = lambda number: types.SimpleNamespace(use=lambda: used.append(number))
    cuda.get_current_stream = lambda: types.SimpleNamespace(ptr=99)
    nccl.available = True
    nccl.NCCL_FLOAT32, nccl.NCCL_FLOAT64, nccl.NCCL_INT64, nccl.NCCL_INT32 = 7, 8, 4, 2
    nccl.NCCL_SUM, nccl.NCCL_MAX, nccl.NCCL_MIN = 0, 2, 3
    nccl.get_unique_id = lambda: ("unique", MPI.COMM_WORLD.rank)
    nccl.NcclCommunicator = NcclCommunicator
    cupy.cuda, cuda.nccl = cuda, nccl
    sys.modules |= {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.nccl": nccl}
'''


@needs_mpi
def test_the_calls_to_nccl(on_two_ranks: Callable) -> None:
    code = (
        STAND_IN.replace("DEVICES", "2")
        + """
    from tinynn.distributed.nccl import NCCLGroup

    group = NCCLGroup()
    rank = group.rank
    assert used == [rank]
    for dtype in ("float64", "float32", "int64", "int32"):
        mine = Array(np.arange(1, 5, dtype=dtype).reshape(2, 2) * (rank + 1))
        for op, factor in (("sum", 3), ("max", 2), ("min", 1)):
            total = group.all_reduce(mine, op)
            assert isinstance(total, Array) and total.dtype == dtype, total
            np.testing.assert_array_equal(total.array, factor * np.arange(1, 5).reshape(2, 2))
        np.testing.assert_array_equal(mine.array, np.arange(1, 5).reshape(2, 2) * (rank + 1))
        np.testing.assert_array_equal(group.broadcast(mine, 1).array, 2 * np.arange(1, 5).reshape(2, 2))
    np.testing.assert_array_equal(group.all_reduce(Array(np.ones(3) * rank), "mean").array, 0.5)
    assert group.all_reduce(np.ones(2), "sum").tolist() == [2.0, 2.0]  # what lies on the host goes over MPI
    if rank == 0:
        print("all right")
    """
    )
    done = on_two_ranks(code)
    assert done.returncode == 0, done.stderr
    assert "all right" in done.stdout


@needs_mpi
def test_nccl_needs_a_gpu_for_each_rank(on_two_ranks: Callable) -> None:
    code = STAND_IN.replace("DEVICES", "1") + "\n    from tinynn import distributed\n"
    done = on_two_ranks(code + "    distributed.init_process_group('nccl')\n")
    assert done.returncode != 0
    assert "rank 1 is number 1 on this machine, which has 1 GPUs" in done.stderr


@needs_mpi
def test_nccl_without_cupy_is_said(no_group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"init_process_group\('nccl'\) needs CuPy"):
        distributed.init_process_group("nccl")
