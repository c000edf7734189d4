"""A driver for machines without one: what `nvidia-ml-py` would answer."""

from types import SimpleNamespace


class Driver:
    """NVML's functions, as `nvidia-ml-py` names them, for a machine with two devices."""

    class NVMLError(Exception):
        pass

    def __init__(self, processes, energy=(5_000_000, None)):
        self.processes, self.energy = processes, energy

    nvmlInit = staticmethod(lambda: None)
    nvmlDeviceGetCount = staticmethod(lambda: 2)
    nvmlDeviceGetHandleByIndex = staticmethod(lambda number: number)
    nvmlDeviceGetName = staticmethod(lambda number: b"H100" if number else "H100")
    nvmlDeviceGetUUID = staticmethod(lambda number: f"GPU-{number}")
    nvmlDeviceGetMemoryInfo = staticmethod(lambda number: SimpleNamespace(total=80 * 2**30, used=(30 - number) * 2**30))

    def nvmlDeviceGetComputeRunningProcesses(self, number):
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.processes[number]]

    def nvmlDeviceGetTotalEnergyConsumption(self, number):
        if self.energy[number] is None:
            raise self.NVMLError
        return self.energy[number]
