"""Threads from the cores that are free; the load is faked, once it is real."""

import os
import platform
import subprocess
import sys

import psutil
import pytest
import torch

from helpers import device


def machine(monkeypatch, busy, mine=None, quota="max 100000"):
    """Pretend a machine: how busy each core is in %, and which ones we may use."""
    mine = set(range(len(busy))) if mine is None else mine
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: mine, raising=False)
    monkeypatch.setattr(psutil, "cpu_percent", lambda *a, **k: list(busy))
    monkeypatch.setattr(
        device, "QUOTA", type("F", (), {"read_text": lambda s, encoding: quota})()
    )


@pytest.mark.parametrize(
    "busy, mine, quota, cores",
    [
        ([0, 0, 0, 0], None, "max 100000", 4),
        ([5, 9, 3, 7], None, "max 100000", 4),  # a desktop that idles
        ([100, 0, 0, 0], None, "max 100000", 3),
        ([50, 50, 50, 50], None, "max 100000", 2),
        ([100, 100], None, "max 100000", 1),
        ([0], None, "max 100000", 1),
        ([0, 100, 0, 100], {1, 3}, "max 100000", 1),
        ([0, 100, 0, 100], {0, 2}, "max 100000", 2),
        ([0, 0], {6, 7}, "max 100000", 2),  # a container that numbers cores anew
        ([100, 100], {6, 7}, "max 100000", 1),
        ([0] * 8, None, "150000 100000", 1),
        ([0] * 8, None, "400000 100000", 4),
        ([90] * 8, None, "400000 100000", 1),
        ([0] * 8, None, "", 8),
    ],
)
def test_free_cores(monkeypatch, busy, mine, quota, cores):
    machine(monkeypatch, busy, mine, quota)
    assert device.free_cores() == cores


def test_a_system_that_tells_nothing(monkeypatch):
    def silent(*args, **kwargs):
        raise PermissionError("/proc/stat")

    machine(monkeypatch, [0, 0, 0])
    monkeypatch.setattr(psutil, "cpu_percent", silent)
    assert device.free_cores() == 3


@pytest.fixture
def eight_threads(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    monkeypatch.setenv(device.THREADS, "")  # and put back after the test
    yield
    torch.set_num_threads(before)


def test_threads_are_set_once(monkeypatch, eight_threads):
    machine(monkeypatch, [100] * 5 + [0] * 3)
    assert device.set_threads() == torch.get_num_threads() == 3
    assert os.environ[device.THREADS] == "3"  # faiss and scikit-learn read it
    machine(monkeypatch, [100] * 8)
    assert device.set_threads() == 3


def test_your_own_number_of_threads_stays(monkeypatch, eight_threads):
    machine(monkeypatch, [100] * 8)
    monkeypatch.setenv(device.THREADS, "8")
    assert device.set_threads() == 8


def test_more_threads_than_torch_would_take_are_never_set(monkeypatch, eight_threads):
    machine(monkeypatch, [0] * 64)
    assert device.set_threads() == 8


def test_real_work_beside_us_is_seen():
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    if not mine:
        pytest.skip("this system does not say which cores are ours")
    burn = [sys.executable, "-c", "print('on', flush=True)\nwhile True: pass"]
    others = [subprocess.Popen(burn, stdout=subprocess.PIPE) for _ in range(mine)]
    try:
        for other in others:
            other.stdout.readline()
        assert device.free_cores(0.5) == 1
    finally:
        for other in others:
            other.kill()
            other.wait()
            other.stdout.close()


COUNT_FAULTS = """
import resource, torch
from helpers import device

def faults():  # pages that the system had to give this process
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    return [torch.ones(2**22) for _ in range(8)] and None  # 128 MB in all

device.keep_memory()
for _ in range(4):  # until the heap has grown to its size
    work()
before = faults()
for _ in range(4):
    work()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone")
def test_memory_that_is_free_again_is_used_again():
    """In a process of its own: the holes of other tests would be counted too."""
    pytest.importorskip("resource")
    run = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 2**14  # given back each time, it would be 2**17


@pytest.mark.parametrize(
    "libc", [object(), OSError("no library"), TypeError("NoneType")]
)
def test_without_glibc_nothing_happens(monkeypatch, libc):
    def load(name):
        if isinstance(libc, Exception):
            raise libc
        return libc

    monkeypatch.setattr(device.ctypes, "CDLL", load)
    assert device.keep_memory() is None
