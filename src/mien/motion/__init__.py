"""Motion of a face in a clip: magnification, optical flow, strain, dynamic images, and the apex frame."""
