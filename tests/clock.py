"""A clock that stands still until somebody sleeps; then it is later at once."""

START = 1_700_000_000_000_000_000


class FakeClock:
    """The time, in ns since 1970, the sleeps it was asked for, and a salt that counts."""

    def __init__(self, start=START):
        self.ns = start
        self.slept = []
        self.salted = 0

    def now(self):
        """The time, the same until somebody sleeps."""
        return self.ns

    def salt(self):
        """Another number at each call, the same ones for each new clock."""
        self.salted += 1
        return self.salted

    def sleep(self, seconds):
        """It is later now; nobody waited."""
        assert seconds >= 0, "time never runs backwards"
        self.slept.append(seconds)
        self.ns += round(seconds * 1e9)

    @property
    def seconds(self):
        """How much time has passed."""
        return (self.ns - START) / 1e9
