"""Where compiled code finds things: the header, and the columns of the tables.

A program is a table of segments, each with the batch norms that are made ready before it and the
operations that every tile goes through; an operation reads and writes views. `writer.py` gathers
them, `interpreter.py` runs them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

# All that a session works on lies in four arrays, since compiled functions that hand on many take
# minutes to compile: `integers` (tables and indices), `floats` (weights and activations),
# `doubles` (sums) and the images themselves. The header, the first integers, says what is where.
N_TILES = 0  # tiles of a batch
N_IMAGES = 1  # images of a batch, or of this worker's share of it
N_SUMS = 2  # sums of a tile
N_AFFINE = 3  # scales and shifts of a variant
VIEWS, OPERATIONS, NORMS, SEGMENTS = range(4, 8)  # tables, in the integers
BATCHES = 8  # [n_batches, N_IMAGES], positions of the images, in the integers
LABELS = 9  # [n_batches, N_TILES x LANES], class numbers, -1 in empty lanes, in the floats
SUMS_AT = 10  # [N_VARIANTS, N_TILES, N_SUMS], in the doubles
AFFINE = 11  # [n_threads, N_VARIANTS, N_AFFINE], in the floats
SCRATCH = 12  # [n_threads, LANES, LANES], in the floats
# from here on for channels; `visiting` goes on behind them, and `last_linear` has others instead
WEIGHTS_PER_CHANNEL = 13  # of the visited parameter
RAW = 14  # [n_weights], the visited parameter in its own order, in the floats
PLACES = 15  # [WEIGHTS_PER_CHANNEL], the CHANGE_PLACE of each, in the integers
# the changes of weights that set a variant of the visited channel apart from the kept one; every
# thread sets up variants of its own, since each may be at another tile:
CHANGE_FIRST, CHANGE_END = 16, 17  # [n_threads, N_VARIANTS], positions in those below
CHANGE_WEIGHT = 18  # [..], position in the visited parameter, in the integers
CHANGE_PLACE = 19  # [..], from the first tap of the visited weights to that of the changed one
CHANGE_DELTA = 20  # [..], in the floats
CHANGE_NEGATED = 21  # [..], minus CHANGE_DELTA, in the floats
CHANGE_SCALE = 22  # [n_threads, N_VARIANTS, 2], added to a visited batch norm's parameters
IS_UPDATE = 23  # [n_threads], whether the changes are carried into what is kept, in the integers
ROW_DELTA = 24  # [n_threads, WEIGHTS_PER_CHANNEL], changes by rows of taps, in the floats
ROW_PLACE = 25  # [n_threads, WEIGHTS_PER_CHANNEL], the CHANGE_PLACE of their first taps
# 26 to 35 are what `visiting` adds
N_ALL_IMAGES = 36  # images of a batch, those of other workers included
GROUP = 37  # the table of `exchange`, in the integers; 0 where no other worker shares the batches
GROUP_SUMS = 38  # [..], what is added up over the workers, in the doubles
EXCHANGE = 39  # [2, ..], a message that is sent and one that is received, in the doubles
N_HEADER = 40

N_VARIANTS = 4
"""Of the visited channel: as it is, and the candidates."""

# the columns of the table of views: an offset in memory, then what is added to it ...
BASE = 0
PER_SLOT = 1  # ... for every slot before that in which the batch's activations are kept
PER_TILE = 2
PER_VARIANT = 3
PER_CHANNEL = 4  # ... for every channel before the one that is visited
PER_THREAD = 5
PLANE = 6  # from channel to channel
ROW = 7  # from row to row
N_VIEW_COLUMNS = 8

# the columns of the table of operations
CODE = 0
SOURCE, OTHER, TARGET = 1, 2, 3  # views; -1 for none
CHANNELS = 4  # of the target
HEIGHT, WIDTH = 5, 6  # of the target
KERNEL_Y, KERNEL_X, STRIDE_Y, STRIDE_X, DILATION_Y, DILATION_X, PADDING_Y, PADDING_X = range(7, 15)
WEIGHT, BIAS = 15, 16  # offsets in the weights; -1 for none
INPUTS = 17  # channels of the source
FUNCTION = 18  # code of a pointwise function
SCALES = 19  # offset in the affine coefficients of a variant; -1 for none
SUMS = 20  # offset in the sums of a tile
SOURCE_HEIGHT, SOURCE_WIDTH = 21, 22
FLAG = 23  # ADD: the sign; MAXIMUM: whether a ReLU comes first; CHANGE: the next two
OF_BIAS, RECOMPUTED = 1, 2
ARGUMENTS = 24  # offset of the pointwise function's two in the floats
POOL_Y, POOL_X = 25, 26  # the average pool through which a CHANGE goes
N_OPERATION_COLUMNS = 27

(
    IMAGES, CONVOLVE, SHARE, TRANSFORM, AVERAGE, MAXIMUM, ADD, ADD_CHANNEL, CHANGE, STATISTICS,
    LOSS, BORDER, CHANNEL, SOFTMAX,
) = range(14)  # fmt: skip

# the columns of the table of batch norms
NORM_SUMS, NORM_CHANNELS, NORM_GAMMA, NORM_BETA, NORM_SCALES, NORM_PIXELS, NORM_ONE = range(7)
NORM_EPSILON = 7  # offset in the floats
N_NORM_COLUMNS = 8

# the columns of the table of segments
FIRST_NORM, END_NORM, FIRST_OPERATION, END_OPERATION = range(4)
N_SEGMENT_COLUMNS = 4
