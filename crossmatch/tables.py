def is_table(path):
    return False


def is_v1(path):
    return False
