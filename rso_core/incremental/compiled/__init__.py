"""What numba compiles: vectors, kernels on tiles of images, and the loops over weights.

`simd` and `blocks` are vectors and blocks of them in registers; `convolution`, `changes`,
`functions` and `kernels` what is done to a tile, and `tables` where things are; `interpreter` runs
programs of such operations over a batch; `visiting` and `last_linear` are the loops over the
weights of a parameter; `threads` lets several threads run them side by side, and `compilation`
keeps the compiled code between processes.
"""
