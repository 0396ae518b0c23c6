"""What SummaryWriter writes, as TensorBoard itself reads it; and what it says to values that it cannot write."""

from __future__ import annotations

import builtins
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynn
from tinynn import nn, optim
from tinynn.compiler.errors import TraceError
from tinynn.data import DataLoader, TensorDataset
from tinynn.io import SummaryWriter

pytest.importorskip("tensorboardX")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def read(folder: Any) -> Any:
    """The events of one run, read by TensorBoard."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(
        str(folder), size_guidance=dict.fromkeys(("scalars", "histograms", "images", "tensors"), 0)
    )
    return events.Reload()


def scalars(folder: Any, tag: str) -> tuple[list[int], list[float]]:
    found = read(folder).Scalars(tag)
    return [event.step for event in found], [event.value for event in found]


# ------------------------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize(
    "value",
    [0.25, 1, True, np.float32(0.5), np.array([2.0]), np.int64(7), tinynn.tensor(0.75), tinynn.tensor([[3]])],
    ids=repr,
)
def test_scalars_of_every_kind(tmp_path: Path, value: Any) -> None:
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("Loss/train", value, 3)
        writer.add_scalar("Loss/train", value, 4, walltime=1000.0)
    events = read(tmp_path).Scalars("Loss/train")
    assert [event.step for event in events] == [3, 4]
    assert events[1].wall_time == 1000.0
    assert [event.value for event in events] == [np.asarray(value).item()] * 2


def test_a_loss_with_its_graph_is_a_number(tmp_path: Path) -> None:
    w = tinynn.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("loss", loss, 0)
        writer.add_histogram("w", w, 0)
        writer.add_scalar("nan", float("nan"), 0)
    assert scalars(tmp_path, "loss") == ([0], [5.0])
    assert np.isnan(scalars(tmp_path, "nan")[1][0])
    loss.backward()  # the graph is still there
    assert w.grad is not None


def test_several_curves_in_the_same_axes(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        for step in range(3):
            writer.add_scalars("Loss/both", {"train": 1.0 / (step + 1), "val": tinynn.tensor(2.0)}, step)
    assert scalars(tmp_path / "Loss_both_train", "Loss/both") == ([0, 1, 2], pytest.approx([1, 1 / 2, 1 / 3]))
    assert scalars(tmp_path / "Loss_both_val", "Loss/both") == ([0, 1, 2], [2.0] * 3)


def test_histograms_count_every_number(tmp_path: Path) -> None:
    values = tinynn.randn(500)
    with SummaryWriter(tmp_path) as writer:
        writer.add_histogram("layer/weight", values, 5)
        writer.add_histogram("ten", values.numpy(), 5, bins=10)
        writer.add_histogram("joined", values, 5, max_bins=30)
    events = read(tmp_path)
    for tag in ("layer/weight", "ten", "joined"):
        (event,) = events.Histograms(tag)
        found = event.histogram_value
        assert event.step == 5
        assert found.num == sum(found.bucket) == 500
        assert (found.min, found.max) == (values.numpy().min(), values.numpy().max())
        assert found.sum == pytest.approx(values.sum().item())
        assert found.sum_squares == pytest.approx((values * values).sum().item())
    assert len(events.Histograms("ten")[0].histogram_value.bucket) <= 11


def test_figures_and_images(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    figures = pytest.importorskip("matplotlib.figure")
    figure = figures.Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot([1, 2])
    grey = np.linspace(0, 1, 20).reshape(4, 5)
    with SummaryWriter(tmp_path) as writer:
        writer.add_figure("figure", figure, 1)
        writer.add_figure("figures", [figure, figure], 1)
        writer.add_image("grey", tinynn.tensor(grey), 1, dataformats="HW")
        writer.add_image("colour", np.full((3, 4, 5), 255, np.uint8), 1)
        writer.add_images("batch", tinynn.rand(6, 1, 4, 5), 1)
    events = read(tmp_path)
    sizes = {tag: (event.height, event.width) for tag in events.Tags()["images"] for event in events.Images(tag)}
    assert sizes.pop("figures") == (50, 200)
    assert sizes.pop("batch")[0] % 4 == 0
    assert sizes == {"figure": (50, 100), "grey": (4, 5), "colour": (4, 5)}
    assert all(event.encoded_image_string.startswith(b"\x89PNG") for event in events.Images("figure"))


def test_pixels_beyond_the_range_do_not_wrap_around(tmp_path: Path) -> None:
    import io

    image = pytest.importorskip("PIL.Image")
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("x", np.array([[-0.5, 0.0, 1.0, 1.5, np.nan]]), dataformats="HW")
    (event,) = read(tmp_path).Images("x")
    pixels = np.asarray(image.open(io.BytesIO(event.encoded_image_string)).convert("L"))
    assert pixels.tolist() == [[0, 0, 255, 255, 0]]


def test_texts(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        writer.add_text("notes", "*three* hidden layers, Δ", 2)
    (event,) = read(tmp_path).Tensors("notes/text_summary")
    assert event.step == 2
    assert event.tensor_proto.string_val[0].decode() == "*three* hidden layers, Δ"


def test_hyperparameters_as_the_plugin_reads_them(tmp_path: Path) -> None:
    metadata = pytest.importorskip("tensorboard.plugins.hparams.metadata")
    with SummaryWriter(tmp_path) as writer:
        for number, lr in enumerate((1e-3, 1e-2)):
            writer.add_hparams(
                {"lr": tinynn.tensor(lr), "n": np.int64(32), "bn": False, "opt": "Adam", "act": nn.GELU, "no": None},
                {"best/val": tinynn.tensor(0.5 + number), "steps": 7},
                hparam_domain_discrete={"opt": ["Adam", "SGD"]},
                run_name=f"run{number}",
            )
    for number, lr in enumerate((1e-3, 1e-2)):
        events = read(tmp_path / f"run{number}")
        content = events.PluginTagToContent("hparams")
        start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
        assert start.hparams["lr"].number_value == lr
        assert start.hparams["n"].number_value == 32
        assert start.hparams["bn"].bool_value is False
        assert start.hparams["opt"].string_value == "Adam"
        assert start.hparams["act"].string_value == "GELU"
        assert "no" not in start.hparams
        experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
        columns = {info.name: info for info in experiment.hparam_infos}
        assert [v.string_value for v in columns["opt"].domain_discrete.values] == ["Adam", "SGD"]
        assert {info.name.tag for info in experiment.metric_infos} == {"best/val", "steps"}
        metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
        assert scalars(tmp_path / f"run{number}", "best/val") == ([0], [0.5 + number])


def test_tensorboard_itself_serves_curves_and_the_table(tmp_path: Path) -> None:
    """``tensorboard --logdir=runs`` as a process, asked what its page asks."""
    pytest.importorskip("tensorboard")
    with SummaryWriter(tmp_path / "runs" / "fit") as writer:
        for step in range(3):
            writer.add_scalar("Loss/train", 1.0 / (step + 1), step)
        for lr in (1e-3, 1e-2):
            writer.add_hparams({"lr": lr}, {"best/val": 10 * lr})
    command = ["-m", "tensorboard.main", "--logdir=runs", "--port=0", "--load_fast=false", "--reload_interval=1"]
    with subprocess.Popen([sys.executable, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = next(found[0] for line in process.stderr if (found := re.search(r"http://[^/ ]+:[0-9]+/", line)))

            def ask(path: str, body: Any = None) -> Any:
                data = None if body is None else json.dumps(body).encode()
                headers = {"Content-Type": "application/json"}
                with urllib.request.urlopen(urllib.request.Request(address + path, data, headers), timeout=60) as got:
                    return json.load(got)

            end = time.monotonic() + 60
            while len(ask("data/plugin/scalars/tags")) < 3 and time.monotonic() < end:
                time.sleep(0.2)
            points = ask("data/plugin/scalars/scalars?run=fit&tag=Loss%2Ftrain")
            wanted = {"startIndex": 0, "sliceSize": 10, "allowedStatuses": ["STATUS_SUCCESS"], "includeMetrics": True}
            groups = ask("data/plugin/hparams/session_groups", wanted)["sessionGroups"]
        finally:
            process.terminate()
    assert [(step, value) for _, step, value in points] == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    rows = sorted((group["hparams"]["lr"], group["metricValues"][0]["value"]) for group in groups)
    assert rows == [(1e-3, pytest.approx(1e-2)), (1e-2, pytest.approx(1e-1))]


# --------------------------------------------------------------------------------------------- the training loop


def test_the_loop_of_the_courses_runs_unchanged(tmp_path: Path) -> None:
    """PyTorch's introduction, `train_one_epoch(epoch_index, tb_writer)`, with a report every 10 batches."""
    x = tinynn.randn(200, 3)
    training_loader = DataLoader(TensorDataset(x, (x**2).sum(axis=1, keepdims=True)), batch_size=4, shuffle=True)
    model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
    loss_fn = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    def train_one_epoch(epoch_index, tb_writer):
        running_loss = 0.0
        last_loss = 0.0

        # Here, we use enumerate(training_loader) instead of
        # iter(training_loader) so that we can track the batch
        # index and do some intra-epoch reporting
        for i, data in enumerate(training_loader):
            # Every data instance is an input + label pair
            inputs, labels = data

            # Zero your gradients for every batch!
            optimizer.zero_grad()

            # Make predictions for this batch
            outputs = model(inputs)

            # Compute the loss and its gradients
            loss = loss_fn(outputs, labels)
            loss.backward()

            # Adjust learning weights
            optimizer.step()

            # Gather data and report
            running_loss += loss.item()
            if i % 10 == 9:
                last_loss = running_loss / 10  # loss per batch
                tb_x = epoch_index * len(training_loader) + i + 1
                tb_writer.add_scalar("Loss/train", last_loss, tb_x)
                running_loss = 0.0

        return last_loss

    writer = SummaryWriter(str(tmp_path / "runs" / "fashion_trainer"))
    last = [train_one_epoch(epoch, writer) for epoch in range(3)]
    writer.add_scalars("Training vs. Validation Loss", {"Training": last[-1], "Validation": 1.5 * last[-1]}, 3)
    writer.flush()
    steps, losses = scalars(tmp_path / "runs" / "fashion_trainer", "Loss/train")
    assert steps == list(range(10, 151, 10))
    assert losses[4::5] == pytest.approx(last, rel=1e-6)
    assert losses[-1] < 0.5 * losses[0]
    writer.close()


def test_a_compiled_step_reports_outside(tmp_path: Path) -> None:
    writer = SummaryWriter(tmp_path)

    @tinynn.compile(machine="numpy")
    def outside(x: Any) -> Any:
        return (x * x).sum()

    @tinynn.compile(machine="numpy")
    def inside(x: Any) -> Any:
        writer.add_scalar("loss", (x * x).sum(), 0)
        return x * x

    for step in range(4):
        writer.add_scalar("loss", outside(tinynn.tensor([1.0, step])), step)
    with pytest.raises(TraceError, match=r"numpy\(\)"):
        inside(tinynn.tensor([1.0]))
    writer.close()
    assert scalars(tmp_path, "loss") == ([0, 1, 2, 3], [1.0, 2.0, 5.0, 10.0])


# ------------------------------------------------------------------------------------------------------ the files


def test_what_is_flushed_can_be_read_while_the_writer_is_open(tmp_path: Path) -> None:
    writer = SummaryWriter(tmp_path, max_queue=5)
    for step in range(4):
        writer.add_scalar("x", step, step)
    assert "x" not in read(tmp_path).Tags()["scalars"]
    writer.flush()
    assert scalars(tmp_path, "x")[0] == [0, 1, 2, 3]
    for step in range(4, 9):
        writer.add_scalar("x", step, step)
    assert scalars(tmp_path, "x")[0] == list(range(9))  # five were waiting
    writer.close()
    impatient = SummaryWriter(tmp_path / "other", flush_secs=0)
    impatient.add_scalar("x", 1.0, 0)
    assert scalars(tmp_path / "other", "x")[0] == [0]
    impatient.close()


def test_two_writers_in_one_folder_keep_apart_and_one_opens_again(tmp_path: Path) -> None:
    first, second = SummaryWriter(tmp_path), SummaryWriter(tmp_path, filename_suffix=".second")
    first.add_scalar("a", 1.0, 0)
    second.add_scalar("b", 2.0, 0)
    first.close()
    first.close()
    first.add_scalar("a", 3.0, 1)
    for writer in (first, second):
        writer.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3
    assert sum(name.endswith(".second") for name in names) == 1
    assert scalars(tmp_path, "a") == ([0, 1], [1.0, 3.0])
    assert scalars(tmp_path, "b") == ([0], [2.0])


def test_a_program_that_fails_leaves_its_report(tmp_path: Path) -> None:
    code = f"""
from tinynn.io import SummaryWriter
writer = SummaryWriter({str(tmp_path)!r})
writer.add_scalar("x", 1.5, 1)
raise SystemExit(3)
"""
    root = Path(tinynn.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 3
    assert scalars(tmp_path, "x") == ([1], [1.5])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_writes_a_file_of_its_own(tmp_path: Path) -> None:
    code = f"""
import os
from tinynn.io import SummaryWriter
writer = SummaryWriter({str(tmp_path)!r})
writer.add_scalar("before", 1.0, 0)
child = os.fork()
if child == 0:
    writer.add_scalar("child", 2.0, 0)
else:
    os.waitpid(child, 0)
    writer.add_scalar("parent", 3.0, 0)
"""
    root = Path(tinynn.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
    assert len(list(tmp_path.iterdir())) == 2
    for tag, value in (("before", 1.0), ("child", 2.0), ("parent", 3.0)):
        assert scalars(tmp_path, tag) == ([0], [value])


def test_a_run_that_is_continued_hides_what_it_repeats(tmp_path: Path) -> None:
    for start, purge in ((0, None), (3, 3)):
        with SummaryWriter(tmp_path, purge_step=purge) as writer:
            for step in range(start, 5):
                writer.add_scalar("x", 10 * start + step, step)
        time.sleep(1.1)  # files are read in the order of their names: the second in which they were made
    assert scalars(tmp_path, "x") == ([0, 1, 2, 3, 4], [0.0, 1.0, 2.0, 33.0, 34.0])


def test_the_default_folder_has_the_date_and_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(comment="_lr0.1") as writer:
        writer.add_scalar("x", 1.0)
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_.+_lr0\.1", folder.name)
    assert writer.get_logdir() == writer.log_dir == os.path.join("runs", folder.name)
    assert scalars(folder, "x") == ([0], [1.0])


# ----------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("call", "arguments", "kind", "message"),
    [
        ("add_scalar", ("Loss/train", tinynn.ones(3)), ValueError, r"'Loss/train': one number is needed, not 3"),
        ("add_scalar", ("Loss/train", "0.5"), TypeError, r"'Loss/train': a number, array or Tensor.*not '0.5'"),
        ("add_scalar", ("Loss/train", None), TypeError, "not None"),
        ("add_scalars", ("Loss", {"val": [1, 2]}), ValueError, "'Loss/val': one number"),
        ("add_histogram", ("w", tinynn.zeros(0)), ValueError, "'w': there are no values"),
        ("add_histogram", ("w", np.array([1.0, np.nan, np.inf])), ValueError, "2 values are not finite"),
        ("add_image", ("p", np.zeros((3, 3))), ValueError, r"'p': shape \(3, 3\).*'CHW'"),
        ("add_hparams", ([1], {}), TypeError, "hparam_dict must be a dict, not a list"),
        ("add_hparams", ({"sizes": [64, 64]}, {}), TypeError, "'sizes' is a list.*'64-64'"),
        ("add_hparams", ({"lr": 1.0}, {}, {"lr": ["high"]}), TypeError, r"hparam_domain_discrete\['lr'\]"),
    ],
)
def test_what_cannot_be_written_is_named(
    tmp_path: Path, call: str, arguments: tuple[Any, ...], kind: type[Exception], message: str
) -> None:
    with SummaryWriter(tmp_path) as writer, pytest.raises(kind, match=message):
        getattr(writer, call)(*arguments)
    assert read(tmp_path).Tags()["scalars"] == []


def test_without_tensorboardx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "tensorboardX":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"pip install 'tinynn\[tensorboard\]'"):
        SummaryWriter(tmp_path)
    assert not list(tmp_path.iterdir())


def test_importing_the_library_does_not_import_tensorboardx() -> None:
    code = "import sys, tinynn.io; print('tensorboardX' in sys.modules, 'google.protobuf' in sys.modules)"
    root = Path(tinynn.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_writer_does_not_bring_pytorch_and_does_not_keep_it_away(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("here = True")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from tinynn.io import SummaryWriter
SummaryWriter({str(tmp_path / "run")!r}).close()
assert "torch" not in sys.modules
import torch
print(torch.here)
"""
    root = Path(tinynn.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
