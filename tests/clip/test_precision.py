"""Number formats: what "auto" is, and what the processor has for them."""

import pytest
import torch

from skclipad._clip import precision
from skclipad._clip.precision import cpu_name, cpu_units, resolve_precision

AMX = "flags\t\t: fpu avx512_bf16 amx_bf16 avx512_vnni amx_tile amx_int8\n"
VNNI = "model name\t: A Processor 9000\nflags\t\t: fpu avx512_vnni avx512_bf16\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Let the machine be one with such a file, and torch tell what it is given."""

    def be(cpuinfo=None, told=None):
        file = tmp_path / "cpuinfo"
        if cpuinfo is not None:
            file.write_text(cpuinfo)
        monkeypatch.setattr(precision, "CPUINFO", file)
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
        if told is not None:
            monkeypatch.setattr(
                torch.cpu, "get_capabilities", lambda: told, raising=False
            )

    return be


def test_auto_is_the_same_whatever_a_processor_has(machine):
    for cpuinfo in (AMX, VNNI, None):
        machine(cpuinfo)
        assert resolve_precision("auto", torch.device("cpu")) == "fp32"
        assert resolve_precision("auto", torch.device("cuda:1")) == "fp16"
        assert resolve_precision("bf16", torch.device("cpu")) == "bf16"


def test_linux_tells_of_units(machine):
    machine(VNNI)
    assert cpu_units() == ("avx512_bf16", "avx512_vnni")
    assert cpu_name() == "A Processor 9000"
    machine(AMX)
    expected = ("amx_bf16", "avx512_bf16", "amx_int8", "avx512_vnni")
    assert cpu_units() == expected
    machine("flags : fpu sse2\n")
    assert cpu_units() == ()


def test_torch_tells_elsewhere(machine):
    machine(None, {"avx_vnni": True, "avx512_bf16": False, "l1d_cache_size": 1})
    assert cpu_units() == ("avx_vnni",)


def test_nothing_is_said_where_nobody_tells(machine):
    machine()
    assert cpu_units() is None
    machine("processor : 0\nFeatures : fp asimd\n")
    assert cpu_units() is None
