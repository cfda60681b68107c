"""A model that needs no data."""


class Optimizer:
    def __init__(self, weight, lr):
        self.weight = weight
        self.lr = lr


class Linear:
    def __init__(self, width, optimizer):
        self.width = width
        self.optimizer = optimizer(weight=0.0)

    def accuracy(self, epoch):
        return round(self.width * self.optimizer.lr + epoch / 10, 6)
