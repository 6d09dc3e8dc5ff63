"""How many hidden layers a Step-ReLU network must have to stay within eps of a target."""

from approx.depth._bound import DepthBound, depth_lower_bound

__all__ = ["DepthBound", "depth_lower_bound"]
