"""What the GPU's machine does to a program before it is planned: planning computes with NumPy, and knows one device."""

from __future__ import annotations

from dataclasses import replace

from tinynn.backends import convert
from tinynn.compiler.expand import Expander
from tinynn.compiler.formulas import LARGEST
from tinynn.compiler.plan import Plan, held_by_nobody_else, make_plan
from tinynn.compiler.program import Instruction, Program
from tinynn.compiler.rows import SAME
from tinynn.ops.draw import Draw
from tinynn.ops.transfer import Move

__all__ = ["plan_for_gpu", "registers_on_cpu"]


def plan_for_gpu(program: Program, recompute: bool = False) -> Plan:
    """The plan of a program on tensors of the GPU."""
    return make_plan(_ForGpu(_on_the_host(program)).expanded(), recompute=recompute)


class _ForGpu(Expander):
    """Operations are written out whatever their size: what is one kernel on the CPU would break a graph."""

    def size(self, register: int) -> int:
        return min(super().size(register), LARGEST)


def _on_the_host(program: Program) -> Program:
    """The program with constants in the CPU's memory, where the planner computes with them, and without moves."""
    constants = {register: convert.to_host(value) for register, value in program.constants.items()}
    alone = held_by_nobody_else(program.state)
    constants.update({register: convert.to_host(tensor.array) for register, tensor in alone.items()})
    state = {register: tensor for register, tensor in program.state.items() if register not in alone}
    instructions = [
        Instruction(SAME, i.inputs, i.outputs, i.made_at) if isinstance(i.op, Move) else i for i in program.instructions
    ]
    return replace(program, constants=constants, state=state, instructions=instructions)


def registers_on_cpu(program: Program) -> set[int]:
    """Registers that a recorded call had in the CPU's memory: those that were moved there, and what follows of them."""
    on_cpu = {r for r, t in program.state.items() if t.ndim and convert.device_of(t.array) == "cpu"}
    on_gpu = {r for r in program.arguments if r is not None}
    on_gpu |= {r for r, t in program.state.items() if r not in on_cpu and convert.device_of(t.array) != "cpu"}
    for instruction in program.instructions:
        op, inputs = instruction.op, set(instruction.inputs)
        if isinstance(op, Move):
            to_cpu = op.device == "cpu"
        else:
            to_cpu = isinstance(op, Draw) or (bool(inputs & on_cpu) and not inputs & on_gpu)
        (on_cpu if to_cpu else on_gpu).update(instruction.outputs)
    return on_cpu
