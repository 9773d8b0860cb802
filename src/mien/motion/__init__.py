"""Motion between two moments of a face: optical flow, strain, the apex frame."""
