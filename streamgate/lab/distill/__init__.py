"""Distillation: a small network with honest BatchNorm statistics out of a recogniser that has none.

GraFIQs reads BatchNorm statistics, and many recognisers are black boxes or have theirs folded
away. So a small IResNet is taught to embed as the recogniser does and to put away, at its last
BatchNorm, the faces that the recogniser would not know again.
"""
