"""Offline multi-agent data: what a data set is on disk, how it is made, checked and converted.

`dataset` holds the data set itself, `card` what is known about it, `tasks` the named ones that are
made on the fly, `environments` the batched environments that they come from and are evaluated in.
`names` is importable at no cost.
"""
