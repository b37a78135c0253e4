"""Anything that is an image to RGB pixels, and the crops of one."""
