"""Arrays, cameras, transforms, boxes, masks, clouds and planes: numpy and OpenCV only, no state."""
