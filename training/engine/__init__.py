"""The trainer of any-to-any models: one loop for a CPU, a GPU and many of them.

loop           a step, and a run of them, resumed where it was killed
parallel       which processes there are, and how a model is laid over them
optimiser      AdamW, what decays, the learning rate of a step
checkpoints    sharded, whole or not there, for any number of processes; the weights at the end
meter          what the log says: losses, tokens a second, share of the device's arithmetic
flops, log     what a step costs, and where it is written down
"""
