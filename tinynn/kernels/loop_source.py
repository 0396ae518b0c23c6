"""Print a `LoopSpec` as the Python source of a kernel: nested loops, made to be read and stepped through.

Every operand is read in the outermost loop in which it is known, and so is every named subexpression computed there.

Sums run along the innermost loops into a local variable, in blocks of 4096 terms; the blocks' sums are summed, so that
the rounding error of a long sum is that of a short one. Where a reduced loop runs outside a kept one (the sums of a
matrix's columns), partial sums stand in the output, which is set to zero before; the innermost loop then runs over
neighbouring sums, and is vectorised.

Large results (`LoopSpec.streamed`) are written through a `past_caches` pointer.
"""

from __future__ import annotations

import re

from tinynn.kernels.loops import OTHER_KINDS, Access, LoopSpec, accumulates_in_memory, stride_axes
from tinynn.kernels.printer import NUMBA, VECTOR_MATH, WITH_GAUSSIAN, Language, NumbaLanguage, docstring, print_lines
from tinynn.kernels.rewrites import in_order, with_shared_gaussians
from tinynn.kernels.symbols import Symbol

_BLOCK = 4096
_JOIN = {"sum": "add_reassociated", "max": "maximum", "min": "minimum"}
_START = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}
_POINTER = {"bool": "as_bool", "int": "as_int64", **{kind: f"as_{kind}" for kind in OTHER_KINDS}}


class _Double(NumbaLanguage):
    """As for Numba, but a float64 constant needs no conversion."""

    def constant(self, value: float | bool | str | None) -> str:
        text = super().constant(value)
        return text.removeprefix("real(").removesuffix(")") if text.startswith("real(") else text


_DOUBLE = _Double(NUMBA.templates, NUMBA.needs_names, NUMBA.cast)


def loop_source(spec: LoopSpec, name: str, comment: str = "") -> str:
    """Print a kernel.

    Examples
    --------
    >>> a0, a1 = Symbol.variable("a0"), Symbol.variable("a1")
    >>> spec = LoopSpec("float32", 2, (Access((1, 1)), Access((0, 1))), (a0 * a1,), (Access((1, 0)),), ("sum",), (-1,))
    >>> print(loop_source(spec, "products", "sum of a0 a1 over rows"))
    import numpy as np
    from tinynn.kernels.native import add_reassociated, as_float32, kernel
    <BLANKLINE>
    real = np.float32
    <BLANKLINE>
    <BLANKLINE>
    @kernel
    def products(row):
        \"\"\"sum of a0 a1 over rows\"\"\"
        n0, n1 = row[2], row[3]
        p0, p0_s0 = as_float32(row[4], 0), row[5]
        p1 = as_float32(row[6], 1)
        p2, p2_s0 = as_float32(row[7], 2), row[8]
        for i0 in range(n0):
            p0_at0 = i0 * p0_s0
            p2_at0 = i0 * p2_s0
            sum0_1 = real(0.0)
            for b1 in range(0, n1, 4096):
                part0_1 = real(0.0)
                for i1 in range(b1, min(b1 + 4096, n1)):
                    a0 = p0[p0_at0 + i1]
                    a1 = p1[i1]
                    part0_1 = add_reassociated(part0_1, a0 * a1)
                sum0_1 = add_reassociated(sum0_1, part0_1)
            p2[p2_at0] = sum0_1
    <BLANKLINE>
    """
    return _Printer(spec).source(name, comment)


class _Printer:
    """Collects the statements of each level: level d is inside d loops, before or after the next loop."""

    def __init__(self, spec: LoopSpec) -> None:
        self.spec = spec
        self.language: Language = _DOUBLE if spec.dtype == "float64" else NUMBA
        self.before: list[list[str]] = [[] for _ in range(spec.rank + 1)]
        self.after: list[list[str]] = [[] for _ in range(spec.rank + 1)]
        self.head: list[str] = []
        # Of each loop that is run in blocks: statements before and after each block.
        self.blocks: list[list[tuple[str, str]]] = [[] for _ in range(spec.rank)]
        self.names = {"kernel", "drain"} if spec.streamed else {"kernel"}
        self.after[0] += ["drain()"] if spec.streamed else []
        self.index: list[str] = []  # of each operand: where its element is, at the level at which it is known

    def source(self, name: str, comment: str) -> str:
        spec = self.spec
        expressions = with_shared_gaussians(spec.expressions)
        lines = print_lines(expressions, self.language)
        self._operands()
        levels = self._inputs(expressions)
        for label, _, content in lines.named:
            level = max((levels[v] for v in re.findall(r"\b[at]\d+\b", content)), default=0)
            levels[label] = level
            self.before[level].append(f"{label} = {content}")
        new = len(spec.inputs)
        for k, content in enumerate(lines.outputs):
            number = spec.inout[k]
            if number < 0:
                number, new = new, new + 1
            if expressions[k].is_bool and spec.outputs[k].kind != "bool":
                content = self.language.cast.format(content)
            self._output(k, f"p{number}", self.index[number], content)
        text = ["import numpy as np", f"from tinynn.kernels.native import {', '.join(sorted(self.names))}"]
        if lines.functions & {*VECTOR_MATH, *WITH_GAUSSIAN}:
            text += ["", "import tinynn.kernels.vectormath as vm"]
        text += ["", f"real = np.{spec.dtype}", "", "", "@kernel", f"def {name}(row):"]
        about = docstring(comment or f"{name.replace('_', ' ')}")
        text += [f"    {line}".rstrip() for line in about.splitlines()]
        text += [f"    {line}" for line in self.head]
        self._nest(text, 0)
        return "\n".join(text) + "\n"

    def _nest(self, text: list[str], level: int) -> None:
        """Append what is at a level, and the loops within."""
        spec, indent = self.spec, "    " * (level + 1)
        text += [indent + line for line in self.before[level]]
        if level == spec.rank:
            return
        blocks = self.blocks[level]
        if blocks:
            text.append(f"{indent}for b{level} in range(0, n{level}, {_BLOCK}):")
            text += [f"{indent}    {first}" for first, _ in blocks]
            text.append(f"{indent}    for i{level} in range(b{level}, min(b{level} + {_BLOCK}, n{level})):")
            inner: list[str] = []
            self._nest(inner, level + 1)
            text += ["    " + line for line in inner]
            text += [f"{indent}    {last}" for _, last in blocks]
        else:
            text.append(f"{indent}for i{level} in range(n{level}):")
            self._nest(text, level + 1)
        text += [indent + line for line in self.after[level]]

    def _operands(self) -> None:
        """Sizes, pointers and strides from the row; where every operand's element is."""
        spec = self.spec
        sizes = [f"row[{2 + axis}]" for axis in range(spec.rank)]
        if spec.is_flat:
            self.names.add("whole")
            sizes[0] = f"whole(row[2], {spec.lanes})"
        self.head.append(f"{', '.join(f'n{axis}' for axis in range(spec.rank))} = {', '.join(sizes)}")
        word = 2 + spec.rank
        fresh = [j for j, over in enumerate(spec.inout) if over < 0]
        streamed = {len(spec.inputs) + fresh.index(j) for j in spec.streamed}
        for k, access in enumerate(spec.operands):
            pointer = _POINTER.get(access.kind, f"as_{spec.dtype}")
            self.names.add(pointer)
            targets, values = [f"p{k}"], [f"{pointer}(row[{word}], {k})"]
            if k in streamed:
                self.names.add("past_caches")
                values = [f"past_caches({values[0]})"]
            axes = stride_axes(access)
            targets += [f"p{k}_s{axis}" for axis in axes]
            values += [f"row[{word + 1 + position}]" for position in range(len(axes))]
            self.head.append(f"{', '.join(targets)} = {', '.join(values)}")
            word += 1 + len(axes)
            self.index.append(self._walk(k, access, axes))

    def _walk(self, k: int, access: Access, axes: list[int]) -> str:
        """Keep track of where an operand is, loop by loop; return the index of its element."""
        index = ""
        for axis, moves in enumerate(access.axes):
            if moves:
                step = f"i{axis} * p{k}_s{axis}" if axis in axes else f"i{axis}"
                index = f"{index} + {step}" if index else step
                if axis < self.spec.rank - 1:
                    self.before[axis + 1].append(f"p{k}_at{axis} = {index}")
                    index = f"p{k}_at{axis}"
        return index or "0"

    def _inputs(self, expressions: list[Symbol]) -> dict[str, int]:
        """Read every input that is used, as soon as it is known; return the level of each."""
        used = {str(v.value): v for v in in_order(expressions) if v.function == "variable"}
        levels = {}
        for k, access in enumerate(self.spec.inputs):
            variable = used.get(f"a{k}")
            if variable is not None:
                element = f"p{k}[{self.index[k]}]"
                if variable.is_bool and access.kind != "bool":
                    element = f"{element} != 0"
                elif not variable.is_bool and access.kind != "real":
                    element = f"real({element})"
                levels[f"a{k}"] = _level(access)
                self.before[_level(access)].append(f"a{k} = {element}")
        return levels

    def _output(self, k: int, pointer: str, index: str, content: str) -> None:
        spec, access, reduction = self.spec, self.spec.outputs[k], self.spec.reductions[k]
        target, level, innermost = f"{pointer}[{index}]", _level(self.spec.outputs[k]), self.spec.rank - 1
        if not reduction:
            self.before[spec.rank].append(f"{target} = {content}")
            return
        join, start = _JOIN[reduction], self.language.constant(_START[reduction])
        self.names.add(join)
        if level < spec.rank:
            statements, value = self.before[spec.rank], content
            for axis in range(innermost, level - 1, -1):
                total = part = f"{reduction}{k}_{axis}"
                self.before[axis].append(f"{total} = {start}")
                if reduction == "sum":
                    part = f"part{k}_{axis}"
                    self.blocks[axis].append((f"{part} = {start}", f"{total} = {join}({total}, {part})"))
                statements.append(f"{part} = {join}({part}, {value})")
                statements, value = self.after[axis], total
            content = f"{reduction}{k}_{level}"
        scale = spec.scales[k] if spec.scales else 1.0
        if scale != 1.0:
            content = f"{self.language.constant(scale)} * {content if content.isidentifier() else f'({content})'}"
        statements = self.after[level] if level < spec.rank else self.before[level]
        if accumulates_in_memory(access.axes):
            self._set_to(start, pointer, access)
            statements.append(f"{target} = {join}({target}, {content})")
        else:
            statements.append(f"{target} = {content}")

    def _set_to(self, start: str, pointer: str, access: Access) -> None:
        """Set the part of an output over which a reduced loop is about to run."""
        first = access.axes.index(0)
        index = f"{pointer}_at{first - 1}" if first else ""
        axes = stride_axes(access)
        depth = 0
        for axis in range(first + 1, len(access.axes)):
            if access.axes[axis]:
                self.before[first].append("    " * depth + f"for j{axis} in range(n{axis}):")
                step = f"j{axis} * {pointer}_s{axis}" if axis in axes else f"j{axis}"
                index = f"{index} + {step}" if index else step
                depth += 1
        self.before[first].append("    " * depth + f"{pointer}[{index}] = {start}")


def _level(access: Access) -> int:
    """Inside how many loops an operand's element is known."""
    return max((axis + 1 for axis, moves in enumerate(access.axes) if moves), default=0)
