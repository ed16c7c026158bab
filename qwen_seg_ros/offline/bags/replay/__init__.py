"""`qwen-seg replay`: a recording answered as the node would answer it, kept in files, and compared with what is expected.

Not to be mixed up with the segmenter of that name (`segmentation/replay.py`), which gives stored answers in place of a network.
"""
