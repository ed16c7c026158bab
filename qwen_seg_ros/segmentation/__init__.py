"""The 2-D stage: an image and an instruction in, instances with masks out."""
