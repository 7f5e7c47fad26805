"""Landmark models by maker, one file each, behind the Protocols of `tracking.engine`."""
