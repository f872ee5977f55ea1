"""Models that go on from one image of a group to the next (FORMAT.md, "The group")."""

from declared import Grammar


class Kept:
    """Lends models by name: new ones, or where they are kept those that the last image left."""

    def __init__(self, on=False):
        self.on, self.models = on, {}

    def lend(self, name, make):
        if not self.on:
            return make()
        if name not in self.models:
            self.models[name] = make()
        return self.models[name]

    def grammar(self, section):
        """The models of a section of FORMAT-models.md."""
        return self.lend(section, lambda: Grammar(section))
