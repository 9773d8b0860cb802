"""The face in a picture: found, marked with landmarks, cropped and brought to one shape."""
