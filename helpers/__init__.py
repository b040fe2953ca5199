"""Helpers of the workbook: one topic a module, nothing happens on import."""

from .device import pick_device

__all__ = ["pick_device"]
