"""Helpers of the workbook: one folder a topic, nothing happens on import."""

from .device import pick_device

__all__ = ["pick_device"]
