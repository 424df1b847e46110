"""How much of a machine others may use before figures of it do not count."""

#: Processor: cores, or a share of all cores on larger machines.
OTHERS_CORES = 0.2
OTHERS_SHARE = 0.1
#: The share of time in which the GPU of a host at rest may work.
GPU_IDLE = 0.1
