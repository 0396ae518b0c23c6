"""SummaryWriter: curves, histograms, pictures and hyperparameters for TensorBoard, with PyTorch's calls.

A run is a folder, and TensorBoard shows all runs below the folder that it is started in::

    tensorboard --logdir=runs

The file in that folder is a list of *events*: a time, a step, and a value under a tag. tensorboardX, a light package
without TensorFlow, knows how an event looks; `tinynn.io.event_file` writes the file.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from tinynn.io.event_file import EventFile
from tinynn.tensor import Tensor


class SummaryWriter:
    """Writes what a training reports to a folder that TensorBoard shows.

    Parameters
    ----------
    log_dir : str or path-like, optional
        The folder of this run; by default ``runs/DATE_HOST``, a new one at each start. Runs in neighbouring
        folders are drawn into the same axes.
    comment : str
        Appended to the default `log_dir`.
    purge_step : int, optional
        Of a run that is continued in the same folder: hide what was written before for this step and later.
    max_queue, flush_secs : int, float
        Events are handed to the operating system when `max_queue` of them wait, or the oldest has waited
        for `flush_secs` seconds when the next comes.
    filename_suffix : str
        Appended to the names of the event files.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.

    Notes
    -----
    Values are tinynn Tensors, arrays, or numbers. TensorBoard keeps curves in single precision. In a
    function compiled by `tinynn.compile`, return what is to be reported and report it outside.

    Examples
    --------
    >>> import tempfile, tinynn
    >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
    ...     for step in range(3):
    ...         writer.add_scalar("Loss/train", tinynn.tensor(0.5) ** step, step)
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        _tensorboardx()
        if log_dir is None:
            log_dir = os.path.join("runs", f"{datetime.now():%b%d_%H-%M-%S}_{socket.gethostname()}{comment}")
        self.log_dir = os.fspath(log_dir)
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self._files: dict[str, EventFile] = {}
        self._finalizer = weakref.finalize(self, _close_all, self._files)  # also at the end of the program
        self._file()

    # -------------------------------------------------------------------------------------------- what to report

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, walltime: Any = None) -> None:
        """Add a point to a curve.

        Parameters
        ----------
        tag : str
            Name of the curve; those that share the part before a slash (``Loss/train``, ``Loss/val``) are
            grouped.
        scalar_value : number, array or Tensor of one element
        global_step : int, optional
            Where on the horizontal axis; usually the number of the update or the epoch.
        walltime : float, optional
            Seconds since the epoch of Unix, in place of the present time.

        Raises
        ------
        TypeError, ValueError
            If the value is not one number.
        """
        value = _number("add_scalar", tag, scalar_value)
        self._add(_tensorboardx().summary.scalar(tag, value), global_step, walltime)

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: int | None = None, walltime: Any = None
    ) -> None:
        """Add a point to each of several curves in the same axes; each becomes a run of its own.

        Parameters
        ----------
        main_tag : str
            Name of the axes.
        tag_scalar_dict : dict from the name of a curve to its value

        Examples
        --------
        >>> import tempfile
        >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
        ...     writer.add_scalars("Loss", {"train": 0.5, "val": 0.7}, 1)
        """
        values = {tag: _number("add_scalars", f"{main_tag}/{tag}", v) for tag, v in tag_scalar_dict.items()}
        walltime = time.time() if walltime is None else walltime
        for tag, value in values.items():
            folder = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{tag}")
            self._add(_tensorboardx().summary.scalar(main_tag, value), global_step, walltime, folder)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: Any = "tensorflow",
        walltime: Any = None,
        max_bins: int | None = None,
    ) -> None:
        """Add the distribution of many numbers, such as a layer's weights, gradients or activations.

        Parameters
        ----------
        values : array or Tensor, not empty, all finite
        bins : str or sequence
            Edges, or how `numpy.histogram` chooses them; by default they grow by a tenth from one to the next,
            from 1e-12 on, so that nothing must be known of the values.
        max_bins : int, optional
            Join neighbouring bins down to about this number.

        Examples
        --------
        >>> import tempfile, tinynn
        >>> model = tinynn.nn.Linear(3, 4)
        >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
        ...     for name, parameter in model.named_parameters():
        ...         writer.add_histogram(name, parameter, 0)
        """
        array = _array("add_histogram", tag, values).astype(float)
        if not array.size or not np.isfinite(array).all():
            what = "there are no values" if not array.size else f"{np.sum(~np.isfinite(array))} values are not finite"
            raise ValueError(f"add_histogram: {tag!r}: {what}")
        edges = _growing_bins() if isinstance(bins, str) and bins == "tensorflow" else bins
        self._add(_tensorboardx().summary.histogram(tag, array, edges, max_bins=max_bins), global_step, walltime)

    def add_figure(
        self, tag: str, figure: Any, global_step: int | None = None, close: bool = True, walltime: Any = None
    ) -> None:
        """Add a matplotlib figure, or a list of them of one size, as a picture; with `close`, it is closed then."""
        from tensorboardX.utils import figure_to_image

        several = isinstance(figure, list)
        image = figure_to_image(figure, close)
        (self.add_images if several else self.add_image)(tag, image, global_step, walltime)

    def add_image(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: Any = None, dataformats: str = "CHW"
    ) -> None:
        """Add a picture: integers 0 ... 255 (uint8), or floating-point numbers 0 ... 1.

        Parameters
        ----------
        img_tensor : array or Tensor
            One grey (1), coloured (3) or partly transparent (4 channels) picture, with axes as in `dataformats`.
        dataformats : str
            ``"CHW"``, ``"HWC"``, or ``"HW"`` for a grey picture: channel, height, width.
        """
        image = _pixels("add_image", tag, img_tensor, dataformats)
        self._add(_tensorboardx().summary.image(tag, image, dataformats=dataformats), global_step, walltime)

    def add_images(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: Any = None, dataformats: str = "NCHW"
    ) -> None:
        """Add several pictures of one size, side by side; see `add_image`. N in `dataformats` counts them."""
        images = _pixels("add_images", tag, img_tensor, dataformats)
        self._add(_tensorboardx().summary.image(tag, images, dataformats=dataformats), global_step, walltime)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None, walltime: Any = None) -> None:
        """Add a text, which is shown as Markdown."""
        self._add(_tensorboardx().summary.text(tag, str(text_string)), global_step, walltime)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Mapping[str, Sequence[Any]] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Add a line to TensorBoard's table of hyperparameters: what was chosen, and what came of it.

        Parameters
        ----------
        hparam_dict : dict of numbers, strings and bools (None: left out)
        metric_dict : dict of numbers
            Take names that no curve has.
        hparam_domain_discrete : dict of lists, optional
            All values that a hyperparameter may take, to filter the table by.
        run_name : str, optional
            The line's folder below `log_dir`; by default the present time.

        Raises
        ------
        TypeError
            If a hyperparameter is none of these.

        Examples
        --------
        >>> import tempfile
        >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
        ...     for lr in (1e-3, 1e-2):
        ...         writer.add_hparams({"lr": lr, "optimizer": "Adam"}, {"best/val": 0.1 / lr})
        """
        for what, given in (("hparam_dict", hparam_dict), ("metric_dict", metric_dict)):
            if not isinstance(given, Mapping):
                raise TypeError(f"add_hparams: {what} must be a dict, not a {type(given).__name__}: {given!r}")
        chosen = {name: _plain(name, value) for name, value in hparam_dict.items()}
        metrics = {name: _number("add_hparams", name, value) for name, value in metric_dict.items()}
        folder = os.path.join(self.log_dir, run_name or str(time.time()))
        for summary in _hyperparameters(chosen, metrics, hparam_domain_discrete or {}):
            self._add(summary, global_step, None, folder)
        for name, value in metrics.items():
            self._add(_tensorboardx().summary.scalar(name, value), global_step, None, folder)
        self._files.pop(folder).close()

    # ------------------------------------------------------------------------------------------------- the files

    def flush(self) -> None:
        """Put everything that was added so far on the disk."""
        for file in self._files.values():
            file.flush(to_disk=True)

    def close(self) -> None:
        """Flush and close the files. What is added later opens new ones."""
        _close_all(self._files)

    def get_logdir(self) -> str:
        """The folder of this run."""
        return self.log_dir

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SummaryWriter({self.log_dir!r})"

    def _add(self, summary: Any, step: Any, walltime: Any, folder: str | None = None) -> None:
        from tensorboardX.proto.event_pb2 import Event

        event = Event(wall_time=time.time() if walltime is None else float(walltime), summary=summary)
        if step is not None:
            event.step = int(step)
        self._file(folder).write(event)

    def _file(self, folder: str | None = None) -> EventFile:
        """The open file of a folder; a new one where there is none, or where it belongs to the parent of a fork."""
        folder = self.log_dir if folder is None else folder
        file = self._files.get(folder)
        if file is None or file.process != os.getpid():
            purge = self.purge_step if folder == self.log_dir else None
            file = EventFile(folder, self.max_queue, self.flush_secs, self.filename_suffix, purge)
            self._files[folder] = file
        return file


def _close_all(files: dict[str, EventFile]) -> None:
    while files:
        files.popitem()[1].close()


# ------------------------------------------------------------------------------------------------ what is given


def _tensorboardx() -> Any:
    if "tensorboardX" in sys.modules:
        return sys.modules["tensorboardX"]
    # tensorboardX imports PyTorch, where that is installed, for the name of a type in an annotation: seconds, and
    # hundreds of megabytes. With None in its place, that import fails at once, and tensorboardX goes on without.
    held_back = "torch" not in sys.modules
    try:
        if held_back:
            sys.modules["torch"] = None  # type: ignore[assignment]
        import tensorboardX
    except ImportError as error:
        raise ImportError(
            "SummaryWriter writes TensorBoard's files by means of tensorboardX, which is not installed: "
            "pip install 'tinynn[tensorboard]' (and `pip install tensorboard` to look at them)"
        ) from error
    finally:
        if held_back:
            sys.modules.pop("torch", None)
    return tensorboardX


def _array(call: str, tag: str, value: Any) -> np.ndarray[Any, Any]:
    """Tensors (of any device, with a graph or without), arrays, lists and numbers as a NumPy array of numbers."""
    value = value.detach() if isinstance(value, Tensor) else value
    array = np.asarray(value.numpy() if isinstance(value, Tensor) else getattr(value, "get", lambda: value)())
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{call}: {tag!r}: a number, array or Tensor of real numbers, not {value!r}")
    return array


def _number(call: str, tag: str, value: Any) -> float:
    array = _array(call, tag, value)
    if array.size != 1:
        raise ValueError(f"{call}: {tag!r}: one number is needed, not {array.size} (shape {array.shape}); reduce them")
    return float(array.reshape(()))


def _pixels(call: str, tag: str, value: Any, dataformats: str) -> np.ndarray[Any, Any]:
    """Pixels in the form that tensorboardX takes: uint8 as they are, others as float within 0 ... 1."""
    array = _array(call, tag, value)
    if array.ndim != len(dataformats):
        raise ValueError(f"{call}: {tag!r}: shape {array.shape} has not the axes of dataformats={dataformats!r}")
    return array if array.dtype == np.uint8 else np.clip(np.nan_to_num(array.astype(float)), 0.0, 1.0)


def _plain(name: str, value: Any) -> Any:
    """A hyperparameter as a Python number, string or bool; a function or class by its name."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic) and value.size == 1:
        return value.detach().item() if isinstance(value, Tensor) else value.item()
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    raise TypeError(
        f"add_hparams: {name!r} is a {type(value).__name__}: {value!r}; hyperparameters are numbers, strings or bools "
        "(a list of layer sizes could be the string '64-64')"
    )


def _growing_bins() -> list[float]:
    """..., -1.1e-12, -1e-12, 0, 1e-12, 1.1e-12, ..., 1e20, as TensorFlow has them."""

    def positive() -> Iterator[float]:
        edge = 1e-12
        while edge < 1e20:
            yield edge
            edge *= 1.1

    edges = list(positive())
    return [*(-edge for edge in reversed(edges)), 0.0, *edges]


def _hyperparameters(
    chosen: dict[str, Any], metrics: dict[str, float], domains: Mapping[str, Sequence[Any]]
) -> list[Any]:
    """The three summaries that make a line of the table: which columns there are, the values, and "it is done"."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
    from tensorboardX.summary import hparams

    for name, values in domains.items():
        if name not in chosen or not all(isinstance(v, type(chosen[name])) for v in values):
            raise TypeError(
                f"add_hparams: hparam_domain_discrete[{name!r}] = {values!r} must be a list of values of the type of "
                f"hparam_dict[{name!r}] = {chosen.get(name)!r}"
            )
    experiment, start, end = hparams(chosen, metrics)
    plugin = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin.content)
    for info in content.experiment.hparam_infos:
        if info.name in domains:
            info.domain_discrete.extend(list(domains[info.name]))
    plugin.content = content.SerializeToString()
    return [experiment, start, end]
