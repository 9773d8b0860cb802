"""Optical flow by the method "Classic+NL-fast", and by its Lorentzian forerunner "Classic-L".

The flow (u, v) minimises, over the texture of both pictures,

    sum rho(I2(x + u, y + v) - I1(x, y)) + lambda sum rho(du/dx) + rho(du/dy) + rho(dv/dx) + rho(dv/dy),

from coarse to fine, with a median over the flow after each step, which near edges of the flow weighs neighbours by
distance, likeness of colour and visibility. Each step linearises the pictures once and the penalties once, which leaves
a linear system with two unknowns a pixel: see `solve`.

As published, lambda is 3 whatever the pictures, and noise and light count as motion where a face has little texture.
Here the pictures are first freed of both, lambda follows the noise (see `prepare`), the penalty is Classic-L's and the
robust stage is at full size only: on smooth faces this halves the error, at sharp edges of the motion it is about the
same. `published=True` leaves that out. In either case the first, quadratic stage has a plain median only, and the
linear systems are solved to a residual instead of by elimination.

Sources: Sun, Roth and Black, "Secrets of optical flow estimation and their principles", CVPR 2010, and "A quantitative
analysis of current practices in optical flow estimation and the principles behind them", IJCV 106, 2014. Texture:
Wedel, Pock, Zach, Bischof and Cremers, "An improved algorithm for TV-L1 optical flow", 2009.
"""

from mien.motion.classic_nl.method import PENALTIES, classic_nl

__all__ = ["PENALTIES", "classic_nl"]
