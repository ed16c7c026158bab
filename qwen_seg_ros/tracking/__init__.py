"""Objects keep their id while the camera moves: masks carried from frame to frame, answers matched to known objects."""
