"""Object cloud and scene in, ranked grasps out."""
