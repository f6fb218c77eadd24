"""MNIST (LeCun, Cortes and Burges) as its authors publish it: four gzip files, no code.

`rso_core.dataset_files` unpacks them, so that MNIST needs no network.
"""
