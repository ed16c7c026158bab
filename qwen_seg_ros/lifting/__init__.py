"""The 3-D stage: masks and depth in, object clouds with oriented boxes out. Everything in the camera's optical frame."""
