"""TD3's loop, with metrics of its subnetworks."""

from tenfold.algorithms.omnet.algorithm import SubnetworkAlgorithm
from tenfold.algorithms.td3.algorithm import TD3


class OMNetTD3(SubnetworkAlgorithm, TD3):
    """TD3 with subnetworks in critic and policy; its values are those of the greedy policy."""

    values_exploring = False
