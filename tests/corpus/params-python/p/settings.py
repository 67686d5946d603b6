BOOL = True


class Train:
    epochs = 3
    lr = 0.1
