"""Distillation: a small network with BatchNorm statistics, made from a recogniser without them.

GraFIQs reads BatchNorm statistics. Many recognisers are closed, or have their BatchNorm layers
merged into the convolutions. So a small IResNet, the student, is trained to embed as the recogniser
does, and to show unusual statistics at its last BatchNorm for faces that the recogniser would not
match.
"""
