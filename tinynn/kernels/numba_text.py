"""A kernel in Python as text in LLVM's language, by Numba.

Numba's own way to a C callback compiles twice (each function, then all that is linked), prepares for exceptions that
kernels do not raise, and makes machine code for a process, to be kept beside its own bookkeeping. Here Numba finds the
types and writes LLVM's language; functions that are called are linked in, LLVM's passes run once, and
`tinynn.kernels.machine_code` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import compiler, registry
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock

from tinynn.kernels.llvm_vectors import INT
from tinynn.kernels.machine_code import Written

__all__ = ["written_by_numba"]

_PASSES = 2  # 3 takes a tenth longer, and gains nothing in any kind of loop


class _Untouched(JITCodeLibrary):
    """What Numba writes, as it writes it."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout


@global_compiler_lock
def written_by_numba(function: Callable[[Any], None], row: Any, options: dict[str, Any]) -> Written:
    """Compile a function of one row as far as LLVM's language.

    Parameters
    ----------
    function : callable
    row : numba type
        A pointer to int64.
    options : dict
        As of ``numba.njit``.

    Raises
    ------
    numba.core.errors.TypingError
        And what else Numba has to say of the function.
    """
    target = registry.cpu_target
    flags = compiler.Flags()
    target.options.parse_as_flags(flags, options)
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
    flags.enable_pyobject = False
    context = target.target_context
    library = _Untouched(context.codegen(), function.__name__)
    result = compiler.compile_extra(
        target.typing_context, context, function, (row,), types.void, flags, {}, library=library
    )
    module = library._final_module
    for each in dict.fromkeys(library._linking_libraries):
        module.link_in(each._get_module_for_linking(), preserve=True)
    module.link_in(llvm.parse_assembly(_entry(result.fndesc.mangled_name)))
    return Written(str(module), "entry", passes=_PASSES)


def _entry(native: str) -> str:
    """A function ``void entry(i64* row)`` that calls Numba's, which also has places for a result and an exception."""
    module = ir.Module()
    pointer = ir.IntType(8).as_pointer()
    inner = ir.Function(module, ir.FunctionType(ir.IntType(32), [pointer, pointer, INT.as_pointer()]), native)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT.as_pointer()]), "entry")
    builder = ir.IRBuilder(function.append_basic_block())
    places = [builder.bitcast(builder.alloca(pointer), pointer) for _ in range(2)]
    builder.call(inner, [*places, function.args[0]])
    builder.ret_void()
    return str(module)
