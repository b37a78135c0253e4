"""Painted photographs of surfaces and objects, whole and damaged."""
