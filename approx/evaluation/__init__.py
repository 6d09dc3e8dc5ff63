"""Evaluation: how far a network is from its target in the sup norm, and whether it does what its cover says."""

from approx.evaluation._agreement import Agreement, captured, compare_with_cover
from approx.evaluation._report import SupError
from approx.evaluation._sup_error import sup_error

__all__ = ["Agreement", "SupError", "captured", "compare_with_cover", "sup_error"]
