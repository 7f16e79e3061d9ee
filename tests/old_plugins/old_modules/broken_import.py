"""A module that lacks what it imports."""

import a_framework_that_is_not_installed


def predict():
    return 1
