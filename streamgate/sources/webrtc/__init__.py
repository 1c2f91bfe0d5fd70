"""Receiving video by WebRTC: aiortc carries ICE, DTLS and SRTP; what is done with RTP is ours.

aiortc's own receiver is not used: its queues have no bound, it holds a stream for 512 packets when
one is lost for good, it feeds its decoder across gaps, and errors of its decoder go no further than
a log line. `receiver.VideoReceiver` takes its place behind the same peer connection.
"""
