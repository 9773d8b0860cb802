"""Detection, landmarks, cropping and alignment of faces."""
