"""The benchmark: rnnzoo beside what a user would take instead; see `tools/benchmark.py`.

`timing` times in turn, `inputs` makes what goes in, `families` says how each family reads it,
`peers` has the engines, `rows` what is measured, `record` keeps it as JSON and table, `picture`
draws it. The modules named `torch_*` build the networks of a config and its arrays alone and import
neither TensorFlow nor rnnzoo, so that a process of PyTorch's own can be weighed.
"""
